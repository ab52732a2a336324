"""Proposals, applies, suspensions and pins as people read them at a terminal.

Everything that a commit, a plan, an apply or a person wrote goes through `plain` or `visible`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from driftwatch.cli.formats import plain, visible
from driftwatch.cli.terminal import SEVERITY_STYLES, ago, indented, minute, span
from driftwatch.documents.drift import timestamp
from driftwatch.documents.repair import seconds_of, waits_for
from driftwatch.model import ProposalState
from driftwatch.pipeline.admissions import is_automatic
from driftwatch.pipeline.propose import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from driftwatch.model import (
        ApplyRun,
        Hold,
        Pin,
        PlannedChange,
        Proposal,
        ProposalDraft,
        StoredFinding,
        Suspension,
    )
    from driftwatch.store import ProposalEvent

STATE_STYLES = {
    ProposalState.PROPOSED: "yellow",
    ProposalState.APPROVED: "cyan",
    ProposalState.WAITING: "yellow",
    ProposalState.APPLYING: "bold cyan",
    ProposalState.APPLIED: "cyan",
    ProposalState.VERIFIED: "green",
    ProposalState.FAILED: "bold red",
    ProposalState.INTERRUPTED: "bold white on red",
}
SHOWN_POINTERS = 12
"""Per resource, in a table; `--format json` has them all."""

SIGNS = {
    ("create",): "+",
    ("update",): "~",
    ("delete",): "-",
    ("forget",): "-",
    ("delete", "create"): "±",
    ("create", "delete"): "±",
}


def proposals_list(proposals: Sequence[Proposal], now: datetime) -> Group:
    """The rows of `proposals list`: two lines each, or three where one waits."""
    return Group(*(line for proposal in proposals for line in _row(proposal, now)))


def _row(proposal: Proposal, now: datetime) -> Iterator[Text]:
    draft = proposal.draft
    yield Text.assemble(
        (f"{proposal.id:>5}  ", "dim"),
        _state(proposal, 11),
        "  ",
        (plain(str(draft.stack)), "bold"),
        f"  {draft.kind}: {plain(counted(draft.summary))}",
    )
    by = f"by {plain(draft.created_by)}{', to be applied by itself' if draft.automatic else ''}"
    yield Text(f"{'':20}at {plain(draft.commit[:10])} · {by} · {ago(draft.created_at, now)}", "dim")
    held = waits_for(proposal)
    if held is not None:
        yield Text(f"{'':20}{hold_sentence(held)}")
    elif proposal.outcome:
        yield Text(f"{'':20}{plain(proposal.outcome)}", "dim")


def _state(proposal: Proposal, width: int = 0) -> tuple[str, str]:
    return f"{proposal.state:<{width}}", STATE_STYLES.get(proposal.state, "dim")


def proposal_in_full(
    proposal: Proposal,
    events: Sequence[ProposalEvent],
    closing: Sequence[StoredFinding],
    *,
    needed: int,
    now: datetime,
) -> Group:
    """One proposal: what, why, by whom, what it would do, how it stands, and its life."""
    draft = proposal.draft
    lines = [
        Text.assemble(
            (f"Proposal {proposal.id}", "bold"),
            f"  {draft.kind} {plain(str(draft.stack))}  ",
            _state(proposal),
        ),
        *_facts(proposal, needed, now),
        *(Text(f"  risk      {plain(risk)}", "bold red") for risk in draft.risks),
        *_plan(draft),
        *_findings(closing),
    ]
    if proposal.run:
        lines += _run(proposal.run)
    return Group(*lines, *(_event(event) for event in events))


def _facts(proposal: Proposal, needed: int, now: datetime) -> Iterator[Text]:
    draft = proposal.draft
    yield Text(f"  why       {plain(draft.reason)}")
    if draft.radius:
        yield Text(f"  reach     {plain(draft.radius)}")
    yield Text(f"  commit    {plain(draft.commit)}")
    yield Text(f"  made by   {plain(draft.created_by)}, {ago(draft.created_at, now)}")
    if draft.author:
        yield Text(f"  author    {plain(draft.author)} made the change that it is about")
    yield Text(f"  digest    {plain(draft.digest)}")
    yield Text(f"  approved  {_approvals(proposal, needed)}")
    held = waits_for(proposal)
    if held is not None:
        yield Text(f"  waits     {hold_sentence(held)}", "yellow")
    if proposal.state.is_open and draft.expires_at:
        yield Text(f"  expires   {minute(draft.expires_at)}")
    if proposal.outcome:
        yield Text(f"  outcome   {plain(proposal.outcome)}")
    if proposal.superseded_by is not None:
        yield Text(f"  instead   proposal {proposal.superseded_by}")


def _approvals(proposal: Proposal, needed: int) -> str:
    names = ", ".join(plain(name) for name in proposal.approvers)
    by = f", by {names}" if names else ""
    if is_automatic(proposal):
        return "not needed: it is applied by itself as soon as it may be"
    return f"{len(proposal.approvers)} of {needed}{by}"


def _plan(draft: ProposalDraft) -> Iterator[Text]:
    summary = draft.summary
    yield Text(f"  plan      {counted(summary)}")
    for change in summary.changes:
        yield from _change(change)
    if summary.total > len(summary.changes):
        yield Text(f"    and {summary.total - len(summary.changes)} resources more", "dim")
    for output in summary.outputs:
        yield Text.assemble("    → output ", (plain(output), "bold"))


def _change(change: PlannedChange) -> Iterator[Text]:
    style = "bold red" if change.destroys else ""
    yield Text.assemble(
        (f"    {SIGNS.get(change.actions, '·')} ", style),
        (plain(change.address), "bold"),
        (f"  {plain(', '.join(change.actions))}", style or "dim"),
    )
    for pointer in change.attributes[:SHOWN_POINTERS]:
        yield Text(f"        {plain(pointer)}", "cyan")
    if len(change.attributes) > SHOWN_POINTERS:
        yield Text(f"        and {len(change.attributes) - SHOWN_POINTERS} more attributes", "dim")


def _findings(closing: Sequence[StoredFinding]) -> Iterator[Text]:
    for place, found in enumerate(closing):
        finding = found.finding
        yield Text.assemble(
            "  closes    " if place == 0 else f"{'':12}",
            f"finding {found.id}  ",
            (f"{finding.severity}  ", SEVERITY_STYLES[finding.severity]),
            plain(finding.address),
            (f"  {found.status}", "dim"),
        )


def _run(run: ApplyRun) -> Iterator[Text]:
    took = seconds_of(run)
    ended = "it runs still, or nobody knows" if took is None else f"took {span(took)}"
    code = "" if run.exit_code is None else f", exit code {run.exit_code}"
    yield Text(f"  apply     {timestamp(run.started_at)} on {plain(run.node)}: {ended}{code}")
    if run.cancel:
        yield Text(
            f"            {plain(run.cancel.by)} wants it interrupted: {plain(run.cancel.reason)}", "yellow"
        )
    if run.output:
        yield indented(Text(visible(run.output.rstrip()), "dim"), 6)


def _event(event: ProposalEvent) -> Text:
    said = f"  {event.event} by {event.actor}" + (f": {event.detail}" if event.detail else "")
    return Text.assemble("  ", (str(timestamp(event.at)), "dim"), plain(said))


def applies_list(proposals: Sequence[Proposal]) -> Group:
    """The rows of `stacks history`: two lines each."""
    return Group(*(line for proposal in proposals for line in _apply(proposal)))


def _apply(proposal: Proposal) -> Iterator[Text]:
    draft, run = proposal.draft, proposal.run
    took = seconds_of(run) if run else None
    by = ", ".join(plain(name) for name in proposal.approvers) or "driftwatch, by itself"
    yield Text.assemble(
        (f"{proposal.id:>5}  ", "dim"),
        _state(proposal, 11),
        "  ",
        (str(timestamp(run.started_at if run else None)), "dim"),
        f"  {draft.kind} to {plain(draft.commit[:10])}: {plain(counted(draft.summary))}",
    )
    length = "no end is known" if took is None else f"took {span(took)}"
    said = f" · {plain(proposal.outcome)}" if proposal.outcome else ""
    yield Text(f"{'':20}by {by} · {length}{said}", "dim")


def hold_sentence(held: Hold) -> str:
    """Why it is not applied now, with the word for machines and when that may change."""
    until = f" It may change at {minute(held.until)}." if held.until else ""
    return f"{plain(held.sentence)} ({plain(held.reason)}){until}"


def suspension_sentence(suspension: Suspension) -> str:
    """What is suspended, by whom, until when and why, on one line."""
    what = "everything" if suspension.scope == "*" else suspension.scope
    until = f" until {minute(suspension.until)}" if suspension.until else ""
    return plain(f"{what} is suspended{until} by {suspension.by}: {suspension.reason}")


def pin_sentence(pin: Pin) -> str:
    """At which commit a stack is held, by whom and why, on one line."""
    return plain(f"pinned to commit {pin.commit[:10]} by {pin.by}: {pin.reason}")
