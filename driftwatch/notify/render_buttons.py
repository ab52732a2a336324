"""What can be pressed under an incident, beside a finding and under a proposal, as Slack's Block Kit.

Pure. What a press says when it comes back is `driftwatch.notify.buttons`; whether somebody may press is asked
then, and not here: everybody in a channel sees the same buttons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from driftwatch.notify.buttons import ACTION_PREFIX, Aim, Button, read_value, seen_of, value_of
from driftwatch.notify.text import escaped, plain, units
from driftwatch.notify.words import counted

if TYPE_CHECKING:
    from driftwatch.model import Finding, Incident, Proposal
    from driftwatch.notify.blocks import Block

DAY = 24
WEEK = 7 * DAY
"""Of a snooze, in hours."""

CONFIRM_LIMIT = 300
"""Characters that Slack takes in the text of a question."""

_UNDER_AN_INCIDENT = (
    ("Acknowledge", Button.ACKNOWLEDGE, None),
    ("Snooze 1 day", Button.SNOOZE, DAY),
    ("Accept…", Button.ACCEPT, None),
    ("Repair", Button.REPAIR, None),
    ("Details", Button.DETAILS, None),
)
_BESIDE_A_FINDING = (
    ("Acknowledge", Button.ACKNOWLEDGE, None),
    ("Snooze 1 day", Button.SNOOZE, DAY),
    ("Snooze 1 week", Button.SNOOZE, WEEK),
    ("Accept…", Button.ACCEPT, None),
    ("Details", Button.DETAILS, None),
)
"""An overflow menu takes five at most."""

_AT_ONCE = {
    Button.ACKNOWLEDGE: "acknowledges all that is open",
    Button.SNOOZE: "snoozes for a day all that is open",
}
"""What is done without another question, and so is asked about where it concerns more than one stack."""


def actions(incident: Incident) -> list[Block]:
    """The row of buttons under an incident; none where a press could not be read again."""
    aims = [
        (label, Aim(button=button, incident=incident.id, seen=incident.seen, hours=hours))
        for label, button, hours in _UNDER_AN_INCIDENT
    ]
    if not all(_comes_back(aim) for _, aim in aims):
        return []
    return [{"type": "actions", "elements": [_button(label, aim, incident.open) for label, aim in aims]}]


def votes(proposal: Proposal, does: str) -> list[Block]:
    """The buttons under a proposal, of which it `does` something; none where a press could not be read."""
    seen = seen_of(proposal.draft.digest)
    approve, reject = (
        Aim(button=button, incident=proposal.id, seen=seen) for button in (Button.APPROVE, Button.REJECT)
    )
    if not (_comes_back(approve) and _comes_back(reject)):
        return []
    asked = _asked_before(proposal, does)
    elements = [
        _plain_button("Approve", approve) | {"style": "primary", "confirm": asked},
        _plain_button("Reject", reject) | {"style": "danger"},
    ]
    return [{"type": "actions", "elements": elements}]


def _asked_before(proposal: Proposal, does: str) -> Block:
    """What an approval sets going, said once more; the name of the stack gives way."""
    tail = f" at commit {escaped(plain(proposal.draft.commit[:10]), 14)}: {does}."
    stack = escaped(plain(str(proposal.draft.stack)), CONFIRM_LIMIT - len("Applies to ") - units(tail))
    return {
        "title": _label(f"Approve proposal {proposal.id}?"),
        "text": _label(f"Applies to {stack}{tail}"),
        "confirm": _label("Approve"),
        "deny": _label("Cancel"),
    }


def menu(finding: Finding, incident: Incident) -> Block | None:
    """The menu beside a finding; None where a press could not be read again."""
    seen = finding.fingerprint
    aims = [
        (label, Aim(button=button, incident=incident.id, seen=seen, fingerprint=seen, hours=hours))
        for label, button, hours in _BESIDE_A_FINDING
    ]
    if not all(_comes_back(aim) for _, aim in aims):
        return None
    options = [{"text": _label(label), "value": value_of(aim)} for label, aim in aims]
    return {"type": "overflow", "action_id": f"{ACTION_PREFIX}finding", "options": options}


def _button(label: str, aim: Aim, stacks: int) -> Block:
    block = _plain_button(label, aim)
    asked = stacks > 1 and aim.button in _AT_ONCE
    return block | {"confirm": _confirm(label, aim.button, stacks)} if asked else block


def _plain_button(label: str, aim: Aim) -> Block:
    return {
        "type": "button",
        "action_id": f"{ACTION_PREFIX}{aim.button}",
        "text": _label(label),
        "value": value_of(aim),
    }


def _confirm(label: str, button: Button, stacks: int) -> Block:
    return {
        "title": _label(f"{label}?"),
        "text": _label(f"This {_AT_ONCE[button]} in {counted(stacks, 'stack')}."),
        "confirm": _label(label),
        "deny": _label("Cancel"),
    }


def _comes_back(aim: Aim) -> bool:
    return read_value(value_of(aim)) == aim


def _label(text: str) -> Block:
    return {"type": "plain_text", "text": text, "emoji": False}
