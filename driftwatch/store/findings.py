"""Findings and their events: written as `driftwatch.drift` decides, read in pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update

from driftwatch.model import Finding, FindingStatus, StoredFinding
from driftwatch.store.codec import dump, load
from driftwatch.store.names import id_of, ids_matching
from driftwatch.store.tables import EventKind, FindingEventRow, FindingRow, StackRow
from driftwatch.store.values import FindingEvent, Page

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from driftwatch.drift import Step
    from driftwatch.store.engine import AnyRow, AnySelect

GONE = "gone"
"""Resolution of a finding that a later good check no longer saw."""

STACK_REMOVED = "stack_removed"
"""Resolution of a finding whose stack is no longer declared: nobody knows what became of the resource."""

_SEEN = "seen"
_OPENED = "opened"
_ACTIVE = tuple(status for status in FindingStatus if status.is_active)


def of_stack(connection: Connection, stack_id: int) -> list[StoredFinding]:
    """All findings that a stack ever had: one that was resolved may come back."""
    rows = connection.execute(_query().where(FindingRow.stack_id == stack_id).order_by(FindingRow.id))
    return [_stored(row) for row in rows]


def take(
    connection: Connection, stack_id: int, steps: Sequence[Step], *, check_id: int, at: datetime
) -> None:
    """Writes what a check's steps mean: rows new and changed, and an event for each but the seen."""
    opened = [step for step in steps if step.before is None]
    if opened:
        connection.execute(
            insert(FindingRow),
            [_opened(step, stack_id=stack_id, check_id=check_id, at=at) for step in opened],
        )
    ids = _ids(connection, stack_id)
    seen = [ids[step.identity] for step in steps if _merely_seen(step)]
    _touch(connection, seen, check_id=check_id, at=at)
    for step in steps:
        if step.before is not None and not _merely_seen(step):
            moved = _moved(step, check_id=check_id, at=at)
            connection.execute(update(FindingRow).where(FindingRow.id == step.before.id).values(**moved))
    events = [step for step in steps if step.event != _SEEN]
    _add_events(
        connection,
        [(ids[step.identity], EventKind(step.event), dump(step.finding)) for step in events],
        check_id=check_id,
        at=at,
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
        .values(status=FindingStatus.RESOLVED, resolved_at=at, resolution=STACK_REMOVED)
    )
    _add_events(
        connection,
        [(row.id, EventKind.STACK_REMOVED, row.document) for row in rows],
        check_id=None,
        at=at,
    )


def count_open(connection: Connection, stack_id: int) -> int:
    """Counted findings of a stack that are not resolved."""
    found: int | None = connection.scalar(
        select(func.count()).where(
            FindingRow.stack_id == stack_id, FindingRow.counted, FindingRow.status.in_(_ACTIVE)
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
    """Some findings in the order of their ids."""
    query = _query().order_by(FindingRow.id.desc()).limit(limit + 1)
    if stack is not None:
        query = query.where(FindingRow.stack_id.in_(ids_matching(connection, stack)))
    if statuses is not None:
        query = query.where(FindingRow.status.in_(tuple(statuses)))
    if counted is not None:
        query = query.where(FindingRow.counted == counted)
    if after is not None:
        query = query.where(FindingRow.id < after)
    rows = connection.execute(query).all()
    items = [_stored(row) for row in rows[:limit]]
    return Page(items=items, next=items[-1].id if len(rows) > limit else None)


def one(connection: Connection, finding_id: int) -> StoredFinding | None:
    """The finding of that id."""
    row = connection.execute(_query().where(FindingRow.id == finding_id)).first()
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
        )
        for row in rows
    ]


def _query() -> AnySelect:
    return select(FindingRow, StackRow.repository, StackRow.path, StackRow.workspace).join(
        StackRow, StackRow.id == FindingRow.stack_id
    )


def _stored(row: AnyRow) -> StoredFinding:
    return StoredFinding(
        id=row.id,
        stack=id_of(row),
        status=row.status,
        first_seen=row.first_seen,
        last_seen=row.last_seen,
        finding=load(Finding, row.document),
        resolved_at=row.resolved_at,
        resolution=row.resolution,
    )


def _ids(connection: Connection, stack_id: int) -> Mapping[str, int]:
    rows = connection.execute(
        select(FindingRow.identity, FindingRow.id).where(FindingRow.stack_id == stack_id)
    )
    return {row.identity: row.id for row in rows}


def _merely_seen(step: Step) -> bool:
    """True where nothing of the row moves but when it was seen; a new rule may move more than the plan."""
    return step.event == _SEEN and step.before is not None and step.before.finding == step.finding


def _touch(connection: Connection, ids: Sequence[int], *, check_id: int, at: datetime) -> None:
    if ids:
        connection.execute(
            update(FindingRow).where(FindingRow.id.in_(ids)).values(last_seen=at, last_check_id=check_id)
        )


def _opened(step: Step, *, stack_id: int, check_id: int, at: datetime) -> dict[str, Any]:
    return {
        "stack_id": stack_id,
        "identity": step.identity,
        **_moved(step, check_id=check_id, at=at),
    }


def _moved(step: Step, *, check_id: int, at: datetime) -> dict[str, Any]:
    if step.status is FindingStatus.RESOLVED:
        return {"status": step.status, "resolved_at": at, "resolution": GONE}
    finding = step.finding
    # One that was noise and now counts begins its life here: nobody was told of it before.
    born = {"first_seen": at, "first_check_id": check_id} if step.event == _OPENED else {}
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
    }


def _add_events(
    connection: Connection,
    happened: Sequence[tuple[int, EventKind, Any]],
    *,
    check_id: int | None,
    at: datetime,
) -> None:
    if happened:
        connection.execute(
            insert(FindingEventRow),
            [
                {
                    "finding_id": finding_id,
                    "event": event,
                    "document": document,
                    "check_id": check_id,
                    "at": at,
                }
                for finding_id, event, document in happened
            ],
        )
