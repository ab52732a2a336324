"""The life of a proposal: each step in one transaction, or not at all.

    propose → decide … approved → (hold …) → begin → note_process → (note_output …) → end_apply → verify
        └ superseded, rejected, expired         └ the stack's checks are fenced off

Every step holds the stack, reads where the proposal stands, and only then writes: of two that come at once
one finds that the other was faster. Whether something *may* be applied is `driftwatch.policy`'s to say; what
is refused here is what must never be, whoever asks: two applies of one stack, an apply that ends twice, an
approval of other content, an apply in what is suspended.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from driftwatch.drift import Refused
from driftwatch.model import ApplyRun, Hold, JobState, ProposalState, Trigger
from driftwatch.store import jobs, proposals, stacks, suspensions
from driftwatch.store.codec import dump, load, load_optional, writable
from driftwatch.store.names import id_of, is_stack
from driftwatch.store.proposals import PENDING, told
from driftwatch.store.tables import JobRow, StackRow
from driftwatch.store.values import ProposalEventKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from driftwatch.model import Cancellation, Decision, Proposal, ProposalDraft, StackId
    from driftwatch.store.engine import AnyRow

_ENDS_OF_APPLY = (ProposalState.APPLIED, ProposalState.FAILED, ProposalState.INTERRUPTED)
_ENDS = (ProposalState.SUPERSEDED, ProposalState.REJECTED, ProposalState.EXPIRED, ProposalState.FAILED)
_UNVERIFIED_ENDS = (ProposalState.EXPIRED, ProposalState.FAILED)
"""How one that was applied may end where no check ever says whether it helped."""


# ---- proposing and deciding ----------------------------------------------------------------------------


def propose(connection: Connection, draft: ProposalDraft) -> Proposal | None:
    """The proposal that stands for a draft; None where its stack is not declared. See `Store.propose`."""
    query = select(StackRow.id).where(is_stack(draft.stack), StackRow.removed_at.is_(None))
    stack_id = connection.scalar(query)
    if stack_id is None or stacks.hold_row(connection, stack_id).removed_at is not None:
        return None
    known = proposals.open_of_kind(connection, stack_id, draft)
    for row in known:
        stands = row.digest == draft.digest and not _is_over(row, draft.created_at)
        if stands or row.state in proposals.IN_FLIGHT:
            return proposals.stored(row)
    for row in known:
        proposals.close(
            connection, row.id, ProposalState.SUPERSEDED, outcome="superseded", at=draft.created_at
        )
    new = proposals.add(connection, stack_id, draft)
    for row in known:
        proposals.put(connection, row.id, superseded_by=new)
    return proposals.one(connection, new)


def decide(connection: Connection, proposal_id: int, decision: Decision) -> Proposal | Refused:
    """Takes a person's vote, or says why it cannot be. See `Store.decide`."""
    row = _held(connection, proposal_id)
    if row is None:
        return Refused(reason="unknown", sentence=f"there is no proposal {proposal_id}")
    refused = _unfit(row, decision)
    if refused is not None:
        return refused
    decision = replace(
        decision, by=told(decision.by), reason=told(decision.reason) if decision.reason else None
    )
    others = [each for each in row.decisions if each["by"] != decision.by]
    proposals.put(connection, row.id, decisions=[*others, writable(dump(decision))])
    if decision.approves:
        proposals.note(
            connection,
            row.id,
            ProposalEventKind.AGREED,
            at=decision.at,
            actor=decision.by,
            detail=decision.reason,
        )
    else:
        proposals.close(
            connection,
            row.id,
            ProposalState.REJECTED,
            outcome=f"rejected by {decision.by}" + (f": {decision.reason}" if decision.reason else ""),
            at=decision.at,
            actor=decision.by,
        )
    return _now(connection, row.id)


def _unfit(row: AnyRow, decision: Decision) -> Refused | None:
    if row.state not in PENDING:
        return Refused(
            reason=f"already_{row.state}",
            sentence=f"proposal {row.id} is {row.state}: nothing is to be decided",
        )
    if decision.digest != row.digest:
        return Refused(
            reason="outdated",
            sentence=f"what you saw is not what proposal {row.id} would do now: look at it again first",
        )
    if _is_over(row, decision.at):
        return Refused(reason="expired", sentence=f"proposal {row.id} has expired: a new check proposes anew")
    return None


def approved(connection: Connection, proposal_id: int) -> bool:
    """Makes a proposal approved, as of its latest vote for it; it needs at least one for this content.

    One that waits is looked at again at once: an approval may be what it waited for.
    """
    row = _held(connection, proposal_id)
    if row is None or row.state not in (ProposalState.PROPOSED, ProposalState.WAITING):
        return False
    found = proposals.stored(row)
    if not found.approvers:
        return False
    latest = max((each for each in found.decisions if each.approves), key=lambda each: each.at)
    proposals.put(connection, row.id, state=ProposalState.APPROVED)
    proposals.note(
        connection,
        row.id,
        ProposalEventKind.APPROVED,
        at=latest.at,
        actor=latest.by,
        detail=f"approved by {', '.join(found.approvers)}",
    )
    return True


def hold(connection: Connection, proposal_id: int, reason: Hold, *, at: datetime) -> bool:
    """Notes for what a proposal waits. True where that is news. See `Store.hold`."""
    row = _held(connection, proposal_id)
    if row is None or not _may_begin(row):
        return False
    before = load_optional(Hold, row.held)
    kept = replace(reason, sentence=told(reason.sentence))
    proposals.put(
        connection,
        row.id,
        state=ProposalState.WAITING,
        held=writable(dump(kept)),
        held_until=kept.until,
    )
    if before is not None and (before.reason, before.until) == (kept.reason, kept.until):
        return False
    proposals.note(connection, row.id, ProposalEventKind.WAITING, at=at, detail=kept.sentence)
    return True


def end(
    connection: Connection,
    proposal_id: int,
    state: ProposalState,
    *,
    outcome: str,
    at: datetime,
    by: str,
) -> bool:
    """Ends a proposal of which nothing comes any more. See `Store.end`."""
    if state not in _ENDS:
        raise ValueError(f"a proposal is not ended as {state}")
    row = _held(connection, proposal_id)
    unverified = row is not None and row.state is ProposalState.APPLIED and state in _UNVERIFIED_ENDS
    if row is None or not (row.state in PENDING or unverified):
        return False
    proposals.close(connection, row.id, state, outcome=outcome, at=at, actor=by)
    return True


def expire(connection: Connection, at: datetime) -> list[Proposal]:
    """Ends the proposals that are past their time and of which nothing was begun."""
    ended = []
    for stack_id, proposal_id in proposals.expired(connection, at):
        stacks.hold_row(connection, stack_id)
        row = proposals.row_of(connection, proposal_id)
        if row is not None and row.state in PENDING:
            proposals.close(connection, row.id, ProposalState.EXPIRED, outcome="expired", at=at)
            ended.append(_now(connection, row.id))
    return ended


# ---- applying ------------------------------------------------------------------------------------------


def begin(connection: Connection, proposal_id: int, run: ApplyRun, *, at: datetime) -> bool:
    """Writes that an apply begins, before terraform does. See `Store.begin_apply`."""
    row = _held(connection, proposal_id)
    if row is None or not _may_begin(row) or _is_over(row, at):
        return False
    stack = stacks.hold_row(connection, row.stack_id)
    if proposals.is_applying(connection, stack.id):
        return False
    if suspensions.stops(connection, id_of(stack), at):
        return False
    _fence_off(connection, stack.id, at)
    proposals.put(
        connection,
        row.id,
        state=ProposalState.APPLYING,
        run=writable(dump(run)),
        begun_at=run.started_at,
        held=None,
        held_until=None,
    )
    proposals.note(
        connection, row.id, ProposalEventKind.APPLYING, at=at, detail=f"run {run.id} on {run.node}"
    )
    return True


def note_process(connection: Connection, proposal_id: int, *, pid: int, pid_started: int) -> bool:
    """Notes the process that applies; False where nothing is being applied."""
    row = _held(connection, proposal_id)
    if row is None or row.state is not ProposalState.APPLYING:
        return False
    run = replace(load(ApplyRun, row.run), pid=pid, pid_started=pid_started)
    proposals.put(connection, row.id, run=writable(dump(run)))
    return True


def note_output(connection: Connection, proposal_id: int, *, output: str) -> bool:
    """Notes what terraform has said so far; False where nothing is being applied."""
    row = _held(connection, proposal_id)
    if row is None or row.state is not ProposalState.APPLYING:
        return False
    run = replace(load(ApplyRun, row.run), output=told(output))
    proposals.put(connection, row.id, run=writable(dump(run)))
    return True


def cancel(connection: Connection, proposal_id: int, cancellation: Cancellation) -> bool:
    """Notes that somebody wants an apply interrupted, the first of all who do. See `Store.cancel_apply`."""
    row = _held(connection, proposal_id)
    if row is None or row.state is not ProposalState.APPLYING:
        return False
    run = load(ApplyRun, row.run)
    if run.cancel is not None:
        return False
    kept = replace(cancellation, by=told(cancellation.by), reason=told(cancellation.reason))
    proposals.put(connection, row.id, run=writable(dump(replace(run, cancel=kept))))
    return True


def end_apply(
    connection: Connection,
    proposal_id: int,
    state: ProposalState,
    *,
    at: datetime,
    exit_code: int | None,
    output: str | None,
    outcome: str,
    downstream: Sequence[StackId] = (),
) -> bool:
    """Writes how an apply ended, once. See `Store.end_apply`."""
    if state not in _ENDS_OF_APPLY:
        raise ValueError(f"an apply does not end as {state}")
    row = _held(connection, proposal_id)
    if row is None or row.state is not ProposalState.APPLYING:
        return False
    begun = load(ApplyRun, row.run)
    run = replace(
        begun,
        finished_at=at,
        exit_code=exit_code,
        output=begun.output if output is None else told(output),
    )
    ended = {"run": writable(dump(run)), "exit_code": exit_code}
    stack = stacks.hold_row(connection, row.stack_id)
    if state is ProposalState.APPLIED:
        proposals.put(connection, row.id, state=state, outcome=told(outcome), **ended)
        proposals.note(connection, row.id, ProposalEventKind.APPLIED, at=at, detail=outcome)
        if stack.removed_at is not None:
            proposals.close_removed(connection, [stack.id], at)
    else:
        proposals.close(connection, row.id, state, outcome=outcome, at=at, **ended)
    _fence_off(connection, stack.id, at)
    jobs.enqueue(connection, id_of(stack), Trigger.POST_APPLY, requested_by=None, at=at)
    for each in downstream:
        jobs.enqueue(connection, each, Trigger.UPSTREAM, requested_by=None, at=at)
    return True


def verify(
    connection: Connection, proposal_id: int, *, check_id: int, ok: bool, at: datetime, outcome: str
) -> bool:
    """Writes what the check after an apply proved; False where the proposal is not applied."""
    row = _held(connection, proposal_id)
    if row is None or row.state is not ProposalState.APPLIED:
        return False
    state = ProposalState.VERIFIED if ok else ProposalState.FAILED
    proposals.close(connection, row.id, state, outcome=outcome, at=at, check_id=check_id)
    return True


def _fence_off(connection: Connection, stack_id: int, at: datetime) -> None:
    """Takes a new fencing token, so that no check that was claimed before writes a result any more.

    Such a check saw the stack as it was before the apply began, or while it ran: written after it, that would
    be told as news. Its job ends here and not with its lease, because a running job keeps the check after
    the apply waiting; its worker sees that when it renews, and stops. Nothing is queued instead: that check
    stands for it.
    """
    connection.execute(update(StackRow).where(StackRow.id == stack_id).values(token=StackRow.token + 1))
    connection.execute(
        update(JobRow)
        .where(JobRow.stack_id == stack_id, JobRow.state == JobState.RUNNING)
        .values(state=JobState.INTERRUPTED, finished_at=at)
    )


# ---- where one stands ----------------------------------------------------------------------------------


def _held(connection: Connection, proposal_id: int) -> AnyRow | None:
    """The proposal's row, read after its stack is locked: nobody else changes it now."""
    row = proposals.row_of(connection, proposal_id)
    if row is None:
        return None
    stacks.hold_row(connection, row.stack_id)
    return proposals.row_of(connection, proposal_id)


def _may_begin(row: AnyRow) -> bool:
    """True where it is approved, or needs nobody's approval."""
    return row.state in (ProposalState.APPROVED, ProposalState.WAITING) or (
        row.state is ProposalState.PROPOSED and row.automatic
    )


def _is_over(row: AnyRow, at: datetime) -> bool:
    return row.expires_at is not None and row.expires_at <= at


def _now(connection: Connection, proposal_id: int) -> Proposal:
    found = proposals.one(connection, proposal_id)
    assert found is not None  # noqa: S101  (proposals are never deleted)
    return found
