"""What is proposed for an incident, as Slack's Block Kit: what it would do, why, where it stands, and a vote.

Pure, as `driftwatch.notify.render`. Each proposal that is open is a paragraph, and under it, as long as
something can be decided, the buttons to approve and to reject it. A button names the proposal and the digest
of all that it would do, so that nobody approves what they did not see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from driftwatch.model import INCIDENT_PROPOSALS, ProposalState
from driftwatch.notify.blocks import SECTION_LIMIT, Block, joined, length, section
from driftwatch.notify.render_buttons import votes
from driftwatch.notify.text import code, escaped, plain
from driftwatch.notify.words import PROPOSALS, counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from driftwatch.model import Incident, PlannedChange, PlanSummary, Proposal

PROPOSALS_SHOWN = 3
PROPOSALS_ROOM = 3600
"""Characters for all of them, what their buttons carry included: as much as leaves room for what differs."""

ADDRESSES_SHOWN = 5
RISKS_SHOWN = 3
NAMES_SHOWN = 3
ADDRESS_LIMIT = 100
STACK_LIMIT = 140
NAME_LIMIT = 60
REASON_LIMIT = 250
RISK_LIMIT = 160
RADIUS_LIMIT = 250
HOLD_LIMIT = 300
READ_LIMIT = 8_192
"""So much of a text is looked at: enough to redact what is shown of it, little where it has megabytes."""

DECIDABLE = frozenset({ProposalState.PROPOSED, ProposalState.WAITING, ProposalState.APPROVED})
"""Nothing was done yet."""


def proposed(incident: Incident, *, buttons: bool, needed: int = 1) -> list[Block]:
    """The newest proposals of an incident, as many as fit, and how many there are.

    `needed` is how many people have to approve one.
    """
    blocks: list[Block] = []
    shown = 0
    for proposal in incident.proposals[:PROPOSALS_SHOWN]:
        more = _one(proposal, named=incident.total > 1, buttons=buttons, needed=needed)
        if length([*blocks, *more]) > PROPOSALS_ROOM:
            break
        blocks += more
        shown += 1
    return [*blocks, *_hidden(shown, len(incident.proposals))]


def counts(summary: PlanSummary) -> str:
    """`1 to add, 2 to change; destroys nothing`; what would be lost is said in any case."""
    gentle = [f"{summary.adds} to add"] if summary.adds else []
    if summary.updates:
        gentle.append(f"{summary.updates} to change")
    gentle += summary.of_state
    if summary.outputs:
        gentle.append(counted(len(summary.outputs), "output"))
    lost = [f"destroys {summary.destroys}"] if summary.destroys else []
    if summary.replaces:
        lost.append(f"replaces {summary.replaces}")
    return f"{', '.join(gentle) or 'nothing to add or to change'}; {', '.join(lost) or 'destroys nothing'}"


def _one(proposal: Proposal, *, named: bool, buttons: bool, needed: int) -> list[Block]:
    decides = buttons and proposal.state in DECIDABLE
    text = joined(_lines(proposal, named=named, needed=needed), SECTION_LIMIT)
    return [section(text), *(votes(proposal, counts(proposal.draft.summary)) if decides else ())]


def _lines(proposal: Proposal, *, named: bool, needed: int) -> Iterator[str]:
    draft = proposal.draft
    where = f" {code(str(draft.stack), STACK_LIMIT)}" if named else ""
    yield f"*Proposal {proposal.id}* to {PROPOSALS[draft.kind]}{where}: {counts(draft.summary)}"
    if draft.summary.changes:
        yield _addresses(draft.summary.changes, draft.summary.total)
    yield _standing(proposal, needed)
    if draft.radius:
        yield _words(draft.radius, RADIUS_LIMIT)
    for risk in draft.risks[:RISKS_SHOWN]:
        yield f"\N{WARNING SIGN} {_words(risk, RISK_LIMIT)}"
    if len(draft.risks) > RISKS_SHOWN:
        yield f"\N{WARNING SIGN} … and {len(draft.risks) - RISKS_SHOWN} risks more"
    changed_by = f" (the change is {_name(draft.author)}'s)" if draft.author else ""
    yield f"By {_name(draft.created_by)}{changed_by}: {_words(draft.reason, REASON_LIMIT)}"


def _addresses(changes: Sequence[PlannedChange], total: int) -> str:
    shown = [
        f"{'destroy ' if change.destroys else ''}{code(change.address[:READ_LIMIT], ADDRESS_LIMIT)}"
        for change in changes[:ADDRESSES_SHOWN]
    ]
    more = f" and {total - len(shown)} more" if total > len(shown) else ""
    return ", ".join(shown) + more


def _standing(proposal: Proposal, needed: int) -> str:
    """Where it stands, and what it waits for."""
    draft, held, run = proposal.draft, proposal.held, proposal.run
    match proposal.state:
        case ProposalState.APPLYING:
            return f"*Is being applied*{f' since {_moment(run.started_at)}' if run else ''}."
        case ProposalState.APPLIED:
            return "*Is applied*, and waits for the check that proves it."
        case ProposalState.WAITING if held:
            until = f" Until {_moment(held.until)}, as far as is known." if held.until else ""
            return f"*Waits:* {_words(held.sentence, HOLD_LIMIT)}{until}{_agreed(proposal)}"
        case ProposalState.APPROVED | ProposalState.WAITING:
            return f"*Is applied as soon as it may be.*{_agreed(proposal)}"
        case _:
            by = f" Until {_moment(draft.expires_at)}." if draft.expires_at else ""
            if draft.automatic:
                return f"*Is applied by itself as soon as it may be.*{by}{_agreed(proposal)}"
            return f"*Waits to be approved.*{by}{_agreed(proposal, needed)}"


def _agreed(proposal: Proposal, needed: int = 1) -> str:
    """Who approved it so far, and of how many, where it waits for more than one."""
    people = proposal.approvers
    if not people:
        return f" 0 of {needed} approvals." if needed > 1 else ""
    names = ", ".join(_name(each) for each in people[:NAMES_SHOWN])
    more = f" and {len(people) - NAMES_SHOWN} more" if len(people) > NAMES_SHOWN else ""
    count = f"{len(people)} of {needed} approvals" if needed > 1 else counted(len(people), "approval")
    return f" {count}, by {names}{more}."


def _hidden(shown: int, known: int) -> list[Block]:
    """How many there are, where not all are shown; an incident knows the newest only."""
    if shown == known:
        return []
    total = f"{known} or more" if known >= INCIDENT_PROPOSALS else str(known)
    return [section(f"These are {shown} of *{total}* proposals: `driftwatch proposals list`")]


def _name(name: str) -> str:
    return _words(name, NAME_LIMIT)


def _words(text: str, limit: int) -> str:
    return escaped(plain(text[:READ_LIMIT]), limit)


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
