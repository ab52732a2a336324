"""Findings and their events: written as `driftwatch.drift` decides, read in pages.

Whoever changes one holds its stack's row (see `stacks.hold`): a check and a person never decide at once.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, union_all, update

from driftwatch.drift import SEEN
from driftwatch.model import (
    DRIFTWATCH,
    Acceptance,
    Finding,
    FindingEventKind,
    FindingStatus,
    Resolution,
    StoredFinding,
)
from driftwatch.store.codec import dump, load, load_optional, writable
from driftwatch.store.names import LARGEST_ID, id_of, ids_matching, is_stack, with_stack
from driftwatch.store.tables import FindingEventRow, FindingRow, StackRow
from driftwatch.store.values import FindingEvent, Page

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Select

    from driftwatch.drift import Step
    from driftwatch.model import StackId
    from driftwatch.store.engine import AnyRow

_ACTIVE = tuple(status for status in FindingStatus if status.is_active)
_OPEN = tuple(status for status in FindingStatus if status.is_open)
_AT_ONCE = 500
"""Ids in one question: a statement takes only so many."""

_BEGINNINGS = (FindingEventKind.OPENED, FindingEventKind.REOPENED, FindingEventKind.FLAPPING)


def of_stack(connection: Connection, stack_id: int) -> list[StoredFinding]:
    """All findings that a stack ever had: one that was resolved may come back."""
    rows = connection.execute(
        with_stack(FindingRow).where(FindingRow.stack_id == stack_id).order_by(FindingRow.id)
    )
    return [_stored(row) for row in rows]


def active_of_stack(connection: Connection, stack_id: int) -> list[StoredFinding]:
    """A stack's findings that are not resolved."""
    rows = connection.execute(
        with_stack(FindingRow)
        .where(FindingRow.stack_id == stack_id, FindingRow.status.in_(_ACTIVE))
        .order_by(FindingRow.id)
    )
    return [_stored(row) for row in rows]


def active_of(connection: Connection, stack: StackId) -> list[StoredFinding]:
    """As `active_of_stack`, by the stack's id."""
    rows = connection.execute(
        with_stack(FindingRow).where(is_stack(stack), FindingRow.status.in_(_ACTIVE)).order_by(FindingRow.id)
    )
    return [_stored(row) for row in rows]


def take(
    connection: Connection,
    stack_id: int,
    steps: Sequence[Step],
    *,
    check_id: int,
    at: datetime,
    clean_at: datetime | None,
) -> None:
    """Writes what a check's steps mean: rows new and changed, and an event for each but the seen.

    `clean_at` is when the stack's last good check before this one was.
    """
    move = partial(_moved, check_id=check_id, at=at, clean_at=clean_at)
    opened = [step for step in steps if step.before is None]
    if opened:
        connection.execute(
            insert(FindingRow),
            [{"stack_id": stack_id, "identity": step.identity, **move(step)} for step in opened],
        )
    ids = _ids(connection, stack_id)
    seen = [ids[step.identity] for step in steps if _merely_seen(step)]
    _touch(connection, seen, check_id=check_id, at=at)
    for step in steps:
        if step.before is not None and not _merely_seen(step):
            connection.execute(update(FindingRow).where(FindingRow.id == step.before.id).values(**move(step)))
    _add_events(
        connection,
        [_event(ids[step.identity], step, at=at, check_id=check_id) for step in steps if step.event != SEEN],
    )


def last_event(connection: Connection, finding_id: int) -> int:
    """The id of the latest step in a finding's life."""
    found: int | None = connection.scalar(
        select(func.max(FindingEventRow.id)).where(FindingEventRow.finding_id == finding_id)
    )
    return found or 0


def put(connection: Connection, step: Step, *, at: datetime) -> None:
    """Writes what a person or the time did to a finding: nobody saw it by that."""
    assert step.before is not None  # noqa: S101  (for the type checker)
    connection.execute(
        update(FindingRow).where(FindingRow.id == step.before.id).values(status=step.status, **_life(step))
    )
    _add_events(connection, [_event(step.before.id, step, at=at, check_id=None)])


def ended(connection: Connection, at: datetime) -> list[int]:
    """The ids of the stacks that have a finding whose snooze or acceptance is over."""
    return list(
        connection.scalars(
            select(FindingRow.stack_id).where(FindingRow.until <= at).distinct().order_by(FindingRow.stack_id)
        )
    )


def close_removed(connection: Connection, stack_ids: Sequence[int], at: datetime) -> None:
    """Ends the active findings of stacks that are no longer declared."""
    rows = connection.execute(
        select(FindingRow.id, FindingRow.document).where(
            FindingRow.stack_id.in_(stack_ids), FindingRow.status.in_(_ACTIVE)
        )
    ).all()
    connection.execute(
        update(FindingRow)
        .where(FindingRow.stack_id.in_(stack_ids), FindingRow.status.in_(_ACTIVE))
        .values(
            status=FindingStatus.RESOLVED,
            resolved_at=at,
            resolution=Resolution.STACK_REMOVED,
            until=None,
            acceptance=None,
        )
    )
    connection.execute(
        update(FindingRow).where(FindingRow.stack_id.in_(stack_ids)).values(turns=None, flapping_since=None)
    )
    _add_events(
        connection,
        [
            {
                "finding_id": row.id,
                "check_id": None,
                "event": FindingEventKind.STACK_REMOVED,
                "at": at,
                "document": row.document,
                "actor": DRIFTWATCH,
                "reason": None,
                "until": None,
            }
            for row in rows
        ],
    )


def count_open(connection: Connection, stack_id: int) -> int:
    """Counted findings of a stack that wait for somebody."""
    found: int | None = connection.scalar(
        select(func.count()).where(
            FindingRow.stack_id == stack_id, FindingRow.counted, FindingRow.status.in_(_OPEN)
        )
    )
    return found or 0


def page(
    connection: Connection,
    *,
    stack: str | None,
    statuses: Iterable[FindingStatus] | None,
    counted: bool | None,
    limit: int,
    after: int | None,
) -> Page[StoredFinding]:
    """Some findings in the order of their ids, the newest first."""
    wanted = tuple(dict.fromkeys(FindingStatus if statuses is None else statuses))
    stacks = None if stack is None else ids_matching(connection, stack)
    if not wanted or stacks == []:
        return Page(items=[], next=None)
    found = _chosen(connection, wanted, stacks, counted=counted, limit=limit + 1, after=after)
    rows = connection.execute(
        with_stack(FindingRow).where(FindingRow.id.in_(found[:limit])).order_by(FindingRow.id.desc())
    )
    items = [_stored(row) for row in rows]
    return Page(items=items, next=items[-1].id if len(found) > limit else None)


def _chosen(
    connection: Connection,
    statuses: Sequence[FindingStatus],
    stacks: Sequence[int] | None,
    *,
    counted: bool | None,
    limit: int,
    after: int | None,
) -> list[int]:
    """The ids of a page: the newest of each status, read from the index alone, and the newest of those."""
    within = None
    if stacks is not None:
        within = select(StackRow.id).where(StackRow.id.in_(stacks)).cte("within")
    newest = []
    for status in statuses:
        query: Select[int] = select(FindingRow.id).where(FindingRow.status == status)
        if counted is not None:
            query = query.where(FindingRow.counted == counted)
        if after is not None:
            query = query.where(FindingRow.id < min(after, LARGEST_ID))
        if within is not None:
            query = query.where(FindingRow.stack_id.in_(select(within.c.id)))
        newest.append(query.order_by(FindingRow.id.desc()).limit(limit).subquery())
    together = union_all(*(select(each.c.id) for each in newest)).subquery()
    return list(connection.scalars(select(together.c.id).order_by(together.c.id.desc()).limit(limit)))


def one(connection: Connection, finding_id: int) -> StoredFinding | None:
    """The finding of that id."""
    if finding_id > LARGEST_ID:
        return None
    row = connection.execute(with_stack(FindingRow).where(FindingRow.id == finding_id)).first()
    return _stored(row) if row else None


def events(connection: Connection, finding_id: int) -> list[FindingEvent]:
    """A finding's life, oldest step first."""
    rows = connection.execute(
        select(FindingEventRow).where(FindingEventRow.finding_id == finding_id).order_by(FindingEventRow.id)
    )
    return [
        FindingEvent(
            id=row.id,
            event=row.event,
            at=row.at,
            check_id=row.check_id,
            finding=load(Finding, row.document),
            actor=row.actor,
            reason=row.reason,
            until=row.until,
        )
        for row in rows
    ]


def stack_of(connection: Connection, finding_id: int) -> int | None:
    """The row id of the stack that a finding is of."""
    if finding_id > LARGEST_ID:
        return None
    found: int | None = connection.scalar(select(FindingRow.stack_id).where(FindingRow.id == finding_id))
    return found


def by_stack(connection: Connection, ids: Sequence[int]) -> dict[int, list[int]]:
    """Ids of findings by the row id of their stack."""
    found: dict[int, list[int]] = {}
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        rows = connection.execute(
            select(FindingRow.id, FindingRow.stack_id).where(FindingRow.id.in_(some)).order_by(FindingRow.id)
        )
        for row in rows:
            found.setdefault(row.stack_id, []).append(row.id)
    return found


def _stored(row: AnyRow) -> StoredFinding:
    return StoredFinding(
        id=row.id,
        stack=id_of(row),
        status=row.status,
        first_seen=row.first_seen,
        last_seen=row.last_seen,
        finding=load(Finding, row.document),
        resolved_at=row.resolved_at,
        resolution=Resolution(row.resolution) if row.resolution else None,
        opened_at=row.opened_at,
        clean_at=row.clean_at,
        until=row.until,
        acceptance=load_optional(Acceptance, row.acceptance),
        turns=tuple(datetime.fromisoformat(turn) for turn in row.turns or ()),
        flapping_since=row.flapping_since,
        story=row.story,
    )


def _ids(connection: Connection, stack_id: int) -> Mapping[str, int]:
    rows = connection.execute(
        select(FindingRow.identity, FindingRow.id).where(FindingRow.stack_id == stack_id)
    )
    return {row.identity: row.id for row in rows}


def _merely_seen(step: Step) -> bool:
    """True where nothing of the row moves but when it was seen; a new rule may move more than the plan."""
    return (
        step.event == SEEN
        and step.before is not None
        and step.before.finding == step.finding
        and step.before.acceptance == step.acceptance
    )


def _touch(connection: Connection, ids: Sequence[int], *, check_id: int, at: datetime) -> None:
    if ids:
        connection.execute(
            update(FindingRow).where(FindingRow.id.in_(ids)).values(last_seen=at, last_check_id=check_id)
        )


def _moved(step: Step, *, check_id: int, at: datetime, clean_at: datetime | None) -> dict[str, Any]:
    if step.status is FindingStatus.RESOLVED:
        ends = {"resolved_at": at} if step.event == FindingEventKind.RESOLVED else {}
        return {"status": step.status, "resolution": step.resolution, **ends, **_life(step)}
    finding = step.finding
    born: dict[str, Any] = {}
    if step.event in _BEGINNINGS and not (step.before and step.before.status.is_active):
        born |= {"opened_at": at, "clean_at": clean_at}
    if step.event == FindingEventKind.OPENED:
        # One that was noise and now counts begins its life here: nobody was told of it before.
        born |= {"opened_at": at, "clean_at": clean_at, "first_seen": at, "first_check_id": check_id}
    return {
        **born,
        "status": step.status,
        "address": finding.address,
        "type": finding.type,
        "kind": finding.kind,
        "severity": finding.severity,
        "fingerprint": finding.fingerprint,
        "counted": finding.counted,
        "document": dump(finding),
        "last_seen": at,
        "last_check_id": check_id,
        "resolved_at": None,
        "resolution": None,
        **_life(step),
    }


def _life(step: Step) -> dict[str, Any]:
    return {
        "until": step.until,
        "acceptance": writable(dump(step.acceptance)),
        "turns": [turn.isoformat() for turn in step.turns] or None,
        "flapping_since": step.flapping_since,
        "story": step.story,
    }


def _event(finding_id: int, step: Step, *, at: datetime, check_id: int | None) -> dict[str, Any]:
    return {
        "finding_id": finding_id,
        "check_id": check_id,
        "event": FindingEventKind(step.event),
        "at": at,
        "document": dump(step.finding),
        "actor": writable(step.actor),
        "reason": writable(step.reason),
        "until": step.until,
    }


def _add_events(connection: Connection, events: Sequence[dict[str, Any]]) -> None:
    if events:
        connection.execute(insert(FindingEventRow), list(events))
