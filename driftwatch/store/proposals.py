"""Proposals and the steps of their lives as rows: read in pages, counted, and written as `repairs` says.

Whoever changes one holds its stack's row (see `stacks.hold_row`): two people, a person and the time, or two
daemons never decide at once. The partial indexes of the table hold the same promises once more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, exists, func, insert, or_, select, update
from sqlalchemy.orm import aliased

from driftwatch.log import redact
from driftwatch.model import (
    DRIFTWATCH,
    ApplyRun,
    Decision,
    FindingEventKind,
    FindingStatus,
    Hold,
    Proposal,
    ProposalDraft,
    ProposalState,
    Trigger,
    Verdict,
)
from driftwatch.store.codec import dump, load, load_optional, writable
from driftwatch.store.names import LARGEST_ID, id_of, ids_matching, is_stack
from driftwatch.store.tables import (
    CheckRow,
    FindingEventRow,
    FindingRow,
    ProposalEventRow,
    ProposalRow,
    StackRow,
)
from driftwatch.store.values import Page, Proof, ProposalEvent, ProposalEventKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from driftwatch.model import StackId
    from driftwatch.store.engine import AnyRow

PENDING = (ProposalState.PROPOSED, ProposalState.APPROVED, ProposalState.WAITING)
"""Nothing was done yet, and something may still be decided."""

IN_FLIGHT = (ProposalState.APPLYING, ProposalState.APPLIED)
"""Something was done, and what came of it is not known yet."""

KEPT_DURATIONS = 50
"""How long an apply takes is read from that many: what was a year ago says little."""

_COMEBACKS = (FindingEventKind.REOPENED, FindingEventKind.FLAPPING)


# ---- reading -------------------------------------------------------------------------------------------


def page(
    connection: Connection,
    *,
    stack: str | None,
    states: Iterable[ProposalState] | None,
    limit: int,
    after: int | None,
    applied: bool = False,
) -> Page[Proposal]:
    """Some proposals in the order of their ids, the newest first; with `applied`, those that had a run."""
    query = select(ProposalRow).order_by(ProposalRow.id.desc()).limit(limit + 1)
    if stack is not None:
        query = query.where(ProposalRow.stack_id.in_(ids_matching(connection, stack)))
    if states is not None:
        query = query.where(ProposalRow.state.in_(tuple(states)))
    if applied:
        query = query.where(ProposalRow.begun_at.is_not(None))
    if after is not None:
        query = query.where(ProposalRow.id < min(after, LARGEST_ID))
    rows = connection.execute(query).all()
    items = [stored(row) for row in rows[:limit]]
    return Page(items=items, next=items[-1].id if len(rows) > limit else None)


def one(connection: Connection, proposal_id: int) -> Proposal | None:
    """The proposal of that id."""
    row = row_of(connection, proposal_id)
    return stored(row) if row else None


def row_of(connection: Connection, proposal_id: int) -> AnyRow | None:
    """The row of that id."""
    if abs(proposal_id) > LARGEST_ID:
        return None
    return connection.execute(select(ProposalRow).where(ProposalRow.id == proposal_id)).first()


def events(connection: Connection, proposal_id: int) -> list[ProposalEvent]:
    """The steps of a proposal's life, oldest first."""
    if abs(proposal_id) > LARGEST_ID:
        return []
    rows = connection.execute(
        select(ProposalEventRow)
        .where(ProposalEventRow.proposal_id == proposal_id)
        .order_by(ProposalEventRow.id)
    )
    return [
        ProposalEvent(id=row.id, event=row.event, at=row.at, actor=row.actor, detail=row.detail)
        for row in rows
    ]


def actionable(connection: Connection, *, at: datetime, limit: int) -> list[Proposal]:
    """Those that may have to be done now, oldest first; of a stack where none is being applied."""
    other = aliased(ProposalRow)
    query = (
        select(ProposalRow)
        .where(
            _is_ripe(at),
            ~is_expired(at),
            ~exists().where(other.stack_id == ProposalRow.stack_id, other.state == ProposalState.APPLYING),
        )
        .order_by(ProposalRow.id)
        .limit(limit)
    )
    return [stored(row) for row in connection.execute(query)]


def _is_ripe(at: datetime) -> ColumnElement[bool]:
    state = ProposalRow.state
    return or_(
        state == ProposalState.APPROVED,
        and_(state == ProposalState.PROPOSED, ProposalRow.automatic),
        and_(
            state == ProposalState.WAITING,
            or_(ProposalRow.held_until.is_(None), ProposalRow.held_until <= at),
        ),
    )


def is_expired(at: datetime) -> ColumnElement[bool]:
    """The condition that a proposal is past its time, whether anybody noted that yet or not."""
    return and_(ProposalRow.expires_at.is_not(None), ProposalRow.expires_at <= at)


def expired(connection: Connection, at: datetime) -> list[tuple[int, int]]:
    """Stack and id of each proposal that is past its time, in the order in which their stacks are held."""
    rows = connection.execute(
        select(ProposalRow.stack_id, ProposalRow.id)
        .where(ProposalRow.state.in_(PENDING), is_expired(at))
        .order_by(ProposalRow.stack_id, ProposalRow.id)
    )
    return [(row.stack_id, row.id) for row in rows]


def latest(connection: Connection, stack: StackId) -> list[Proposal]:
    """The latest proposal of each kind of a stack."""
    newest = (
        select(func.max(ProposalRow.id))
        .join(StackRow, StackRow.id == ProposalRow.stack_id)
        .where(is_stack(stack))
        .group_by(ProposalRow.kind)
    )
    rows = connection.execute(select(ProposalRow).where(ProposalRow.id.in_(newest)).order_by(ProposalRow.id))
    return [stored(row) for row in rows]


def unproved(connection: Connection) -> list[Proposal]:
    """Those that are applied and of which no check has said yet whether it helped."""
    rows = connection.execute(
        select(ProposalRow).where(ProposalRow.state == ProposalState.APPLIED).order_by(ProposalRow.id)
    )
    return [stored(row) for row in rows]


def proof(connection: Connection, proposal: Proposal) -> Proof | None:
    """What the first good check saw that began after an apply ended."""
    ended = proposal.run.finished_at if proposal.run else None
    row = row_of(connection, proposal.id)
    if ended is None or row is None:
        return None
    good = tuple(verdict for verdict in Verdict if verdict.is_good)
    check = connection.execute(
        select(CheckRow.id, CheckRow.verdict)
        .where(CheckRow.stack_id == row.stack_id, CheckRow.started_at >= ended, CheckRow.verdict.in_(good))
        .order_by(CheckRow.id)
        .limit(1)
    ).first()
    if check is None:
        return None
    active = tuple(status for status in FindingStatus if status.is_active)
    left = connection.execute(
        select(FindingRow.fingerprint, FindingRow.identity, FindingRow.status).where(
            FindingRow.stack_id == row.stack_id, FindingRow.counted, FindingRow.status.in_(active)
        )
    ).all()
    return Proof(
        check_id=check.id,
        verdict=check.verdict,
        fingerprints=frozenset(each.fingerprint for each in left),
        addresses=frozenset(each.identity.partition(":")[2] for each in left if each.status.is_open),
    )


def running(connection: Connection) -> list[Proposal]:
    """Those that are being applied, oldest first."""
    rows = connection.execute(
        select(ProposalRow).where(ProposalRow.state == ProposalState.APPLYING).order_by(ProposalRow.id)
    )
    return [stored(row) for row in rows]


def is_applying(connection: Connection, stack_id: int) -> bool:
    """True where one of the stack's proposals is being applied."""
    query = select(ProposalRow.id).where(
        ProposalRow.stack_id == stack_id, ProposalRow.state == ProposalState.APPLYING
    )
    return connection.scalar(query) is not None


def open_of_kind(connection: Connection, stack_id: int, draft: ProposalDraft) -> list[AnyRow]:
    """The rows of a stack's open proposals of the draft's kind."""
    states = (*PENDING, *IN_FLIGHT)
    return list(
        connection.execute(
            select(ProposalRow)
            .where(
                ProposalRow.stack_id == stack_id,
                ProposalRow.kind == draft.kind,
                ProposalRow.state.in_(states),
            )
            .order_by(ProposalRow.id)
        )
    )


def ended_badly(connection: Connection, since: datetime) -> dict[ProposalState, int]:
    """How many applies in the fleet failed, and how many were interrupted, since a moment."""
    states = (ProposalState.FAILED, ProposalState.INTERRUPTED)
    rows = connection.execute(
        select(ProposalRow.state, func.count().label("number"))
        .where(
            ProposalRow.state.in_(states), ProposalRow.begun_at.is_not(None), ProposalRow.ended_at >= since
        )
        .group_by(ProposalRow.state)
    )
    return dict.fromkeys(states, 0) | {row.state: row.number for row in rows}


def applied_stacks(connection: Connection, since: datetime) -> set[StackId]:
    """The stacks of which an apply was begun since a moment that no person stood behind, however it ended."""
    rows = connection.execute(
        select(StackRow.repository, StackRow.path, StackRow.workspace, ProposalRow.decisions)
        .join(ProposalRow, ProposalRow.stack_id == StackRow.id)
        .where(ProposalRow.begun_at >= since, ProposalRow.automatic)
    )
    return {id_of(row) for row in rows if not any(each["approves"] for each in row.decisions)}


def apply_seconds(connection: Connection, stack: StackId) -> list[float]:
    """How long the stack's applies took that terraform ended well, the newest first."""
    documents = connection.scalars(
        select(ProposalRow.run)
        .join(StackRow, StackRow.id == ProposalRow.stack_id)
        .where(is_stack(stack), ProposalRow.exit_code == 0)
        .order_by(ProposalRow.begun_at.desc(), ProposalRow.id.desc())
        .limit(KEPT_DURATIONS)
    )
    runs = [load(ApplyRun, document) for document in documents if document is not None]
    return [max(0.0, (run.finished_at - run.started_at).total_seconds()) for run in runs if run.finished_at]


def returns(connection: Connection, stack: StackId, identity: str, since: datetime) -> int:
    """How often a finding was there again since a moment, after driftwatch had repaired it.

    It came back after the check of a repair had seen it gone, or so fast that this check still saw it.
    """
    return _comebacks(connection, stack, identity, since) + _refuted(connection, stack, identity, since)


def _comebacks(connection: Connection, stack: StackId, identity: str, since: datetime) -> int:
    proven = exists().where(ProposalRow.check_id == FindingEventRow.check_id)
    rows = connection.execute(
        select(
            FindingEventRow.event,
            FindingEventRow.at,
            or_(func.coalesce(CheckRow.trigger == Trigger.POST_APPLY, False), proven).label("by_repair"),
        )
        .join(FindingRow, FindingRow.id == FindingEventRow.finding_id)
        .join(StackRow, StackRow.id == FindingRow.stack_id)
        .outerjoin(CheckRow, CheckRow.id == FindingEventRow.check_id)
        .where(
            is_stack(stack),
            FindingRow.identity == identity,
            FindingEventRow.event.in_((FindingEventKind.RESOLVED, *_WAKES)),
        )
        .order_by(FindingEventRow.id)
    )
    repaired, number = False, 0
    for row in rows:
        if row.event in _COMEBACKS and repaired and row.at >= since:
            number += 1
        repaired = row.event is FindingEventKind.RESOLVED and row.by_repair
    return number


_WAKES = (*_COMEBACKS, FindingEventKind.OPENED, FindingEventKind.STACK_REMOVED)
"""What ends that a finding is away by a repair, besides that it is resolved otherwise."""


def _refuted(connection: Connection, stack: StackId, identity: str, since: datetime) -> int:
    """Applies that went well, and whose check then saw the address as before."""
    _, _, address = identity.partition(":")
    documents = connection.scalars(
        select(ProposalRow.draft)
        .join(StackRow, StackRow.id == ProposalRow.stack_id)
        .where(
            is_stack(stack),
            ProposalRow.state == ProposalState.FAILED,
            ProposalRow.check_id.is_not(None),
            ProposalRow.ended_at >= since,
        )
    )
    return sum(address in document["addresses"] for document in documents)


# ---- writing -------------------------------------------------------------------------------------------


def add(connection: Connection, stack_id: int, draft: ProposalDraft) -> int:
    """A new proposal and the first step of its life. Returns its id."""
    kept = _told_draft(draft)
    added = connection.execute(
        insert(ProposalRow).values(
            stack_id=stack_id,
            kind=draft.kind,
            state=ProposalState.PROPOSED,
            digest=draft.digest,
            automatic=draft.automatic,
            created_at=draft.created_at,
            expires_at=draft.expires_at,
            draft=writable(dump(kept)),
            decisions=[],
        )
    )
    assert added.inserted_primary_key is not None  # noqa: S101  (for the type checker)
    proposal_id: int = added.inserted_primary_key[0]
    note(
        connection,
        proposal_id,
        ProposalEventKind.PROPOSED,
        at=draft.created_at,
        actor=kept.created_by,
        detail=kept.reason,
    )
    return proposal_id


def put(connection: Connection, proposal_id: int, **columns: Any) -> None:
    """Writes some of a proposal's columns."""
    connection.execute(update(ProposalRow).where(ProposalRow.id == proposal_id).values(**columns))


def note(
    connection: Connection,
    proposal_id: int,
    event: ProposalEventKind,
    *,
    at: datetime,
    actor: str = DRIFTWATCH,
    detail: str | None = None,
) -> None:
    """Adds a step to a proposal's life."""
    connection.execute(
        insert(ProposalEventRow).values(
            proposal_id=proposal_id,
            at=at,
            actor=told(actor),
            event=event,
            detail=None if detail is None else told(detail),
        )
    )


def close_removed(connection: Connection, stack_ids: Sequence[int], at: datetime) -> None:
    """Ends the open proposals of stacks that are no longer declared: nobody looks at those any more.

    An apply that runs is left to its end, which then is the proposal's too.
    """
    states = (*PENDING, ProposalState.APPLIED)
    ids = connection.scalars(
        select(ProposalRow.id)
        .where(ProposalRow.stack_id.in_(stack_ids), ProposalRow.state.in_(states))
        .order_by(ProposalRow.id)
    ).all()
    for proposal_id in ids:
        close(connection, proposal_id, ProposalState.EXPIRED, outcome=STACK_REMOVED, at=at)


STACK_REMOVED = "stack_removed"
"""The outcome of a proposal whose stack is no longer declared."""


def close(
    connection: Connection,
    proposal_id: int,
    state: ProposalState,
    *,
    outcome: str,
    at: datetime,
    actor: str = DRIFTWATCH,
    **columns: Any,
) -> None:
    """Ends a proposal, and notes it."""
    put(
        connection,
        proposal_id,
        state=state,
        outcome=told(outcome),
        ended_at=at,
        held=None,
        held_until=None,
        **columns,
    )
    note(connection, proposal_id, ProposalEventKind(state), at=at, actor=actor, detail=outcome)


def told(words: str) -> str:
    """A text of a person or a program, as it may be kept."""
    kept: str = writable(redact(words))
    return kept


def stored(row: AnyRow) -> Proposal:
    """The proposal that a row stands for."""
    return Proposal(
        id=row.id,
        state=row.state,
        draft=load(ProposalDraft, row.draft),
        decisions=tuple(load(Decision, each) for each in row.decisions),
        held=load_optional(Hold, row.held),
        run=load_optional(ApplyRun, row.run),
        ended_at=row.ended_at,
        outcome=row.outcome,
        superseded_by=row.superseded_by,
    )


def _told_draft(draft: ProposalDraft) -> ProposalDraft:
    return replace(
        draft,
        reason=told(draft.reason),
        created_by=told(draft.created_by),
        author=None if draft.author is None else told(draft.author),
        authors=tuple(told(each) for each in draft.authors),
        risks=tuple(told(risk) for risk in draft.risks),
        radius=told(draft.radius),
    )
