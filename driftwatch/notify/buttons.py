"""What the buttons under a message say, and how that is read again when one is pressed.

A button carries what it is about in its value: the incident, and either one finding by its fingerprint or all
that is open by the incident's digest. So a press names what its person saw, and is refused where that is no
longer so. Nothing in a value is secret, and nothing in it is believed: it comes back from outside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

ACTION_PREFIX = "driftwatch:"
"""How the `action_id` of every button of ours begins."""

LONGEST_VALUE = 150
"""Characters that Slack takes in the value of an option, the shorter of its limits."""

_VALUE = re.compile(r"([a-z]{4,12}):([0-9]{1,15}):(all|one)\.([0-9a-f]{8,64})(?::([0-9]{1,5}))?\Z", re.ASCII)


class Button(StrEnum):
    """What a person may press."""

    ACKNOWLEDGE = "acknowledge"
    SNOOZE = "snooze"
    ACCEPT = "accept"
    REOPEN = "reopen"
    REPAIR = "repair"
    DETAILS = "details"
    APPROVE = "approve"
    REJECT = "reject"

    @property
    def is_vote(self) -> bool:
        """True where it is about a proposal: its number stands where others have the incident's."""
        return self in (Button.APPROVE, Button.REJECT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What a button does, and to what.

    `fingerprint` is that of one finding, None for all that is open in the incident; `seen` is what was shown:
    the incident's digest, or that fingerprint. `hours` is how long a snooze lasts. A vote names a proposal in
    place of the incident, and its digest.
    """

    button: Button
    incident: int
    seen: str
    fingerprint: str | None = None
    hours: int | None = None


def seen_of(digest: str) -> str:
    """What a vote carries of a proposal's digest: its hexadecimal digits, without the name of the method."""
    return digest.rpartition(":")[2]


def value_of(aim: Aim) -> str:
    """The value of the button."""
    scope = f"one.{aim.fingerprint}" if aim.fingerprint else f"all.{aim.seen}"
    tail = f":{aim.hours}" if aim.hours is not None else ""
    return f"{aim.button}:{aim.incident}:{scope}{tail}"


def read_value(value: object) -> Aim | None:
    """What a value says, or None where it is none of ours."""
    found = _VALUE.match(value) if isinstance(value, str) and len(value) <= LONGEST_VALUE else None
    if found is None:
        return None
    word, incident, scope, digest, hours = found.groups()
    if word not in set(Button):
        return None
    return Aim(
        button=Button(word),
        incident=int(incident),
        seen=digest,
        fingerprint=digest if scope == "one" else None,
        hours=int(hours) if hours else None,
    )
