"""Pure decisions: what a plan means, what became of a finding, what people are told."""

from driftwatch.drift.announce import Told, announce, episode_of
from driftwatch.drift.lifecycle import Step, advance
from driftwatch.drift.plan import parse_document
from driftwatch.drift.reading import Reading, read_plan
from driftwatch.drift.redaction import Digester

__all__ = [
    "Digester",
    "Reading",
    "Step",
    "Told",
    "advance",
    "announce",
    "episode_of",
    "parse_document",
    "read_plan",
]
