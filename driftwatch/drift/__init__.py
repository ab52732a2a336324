"""Pure decisions: what a plan means, what became of a finding, what people are told."""

from driftwatch.drift.announce import (
    Occasion,
    Told,
    announce,
    announce_all,
    announce_between,
    announce_stale,
    episode_of,
    handled,
    remind,
    repaired,
    said_of,
)
from driftwatch.drift.lifecycle import (
    SEEN,
    Accept,
    Acknowledge,
    Flapping,
    Press,
    Refused,
    Reopen,
    Snooze,
    Step,
    act,
    advance,
    expire,
    standing,
)
from driftwatch.drift.plan import parse_document
from driftwatch.drift.reading import Reading, read_plan
from driftwatch.drift.redaction import Digester

__all__ = [
    "SEEN",
    "Accept",
    "Acknowledge",
    "Digester",
    "Flapping",
    "Occasion",
    "Press",
    "Reading",
    "Refused",
    "Reopen",
    "Snooze",
    "Step",
    "Told",
    "act",
    "advance",
    "announce",
    "announce_all",
    "announce_between",
    "announce_stale",
    "episode_of",
    "expire",
    "handled",
    "parse_document",
    "read_plan",
    "remind",
    "repaired",
    "said_of",
    "standing",
]
