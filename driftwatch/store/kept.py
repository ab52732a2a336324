"""Checks and jobs as they are kept, for whoever asks what became of something."""

from __future__ import annotations

from typing import TYPE_CHECKING

from driftwatch.model import ErrorReport
from driftwatch.store.codec import load_optional
from driftwatch.store.names import LARGEST_ID, id_of, ids_matching, with_stack
from driftwatch.store.tables import CheckRow, JobRow
from driftwatch.store.values import KeptCheck, KeptJob, Page

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from driftwatch.store.engine import AnyRow


def checks(connection: Connection, *, stack: str | None, limit: int, after: int | None) -> Page[KeptCheck]:
    """Some checks, the newest first."""
    query = with_stack(CheckRow).order_by(CheckRow.id.desc()).limit(limit + 1)
    if stack is not None:
        query = query.where(CheckRow.stack_id.in_(ids_matching(connection, stack)))
    if after is not None:
        query = query.where(CheckRow.id < min(after, LARGEST_ID))
    rows = connection.execute(query).all()
    items = [_check(row) for row in rows[:limit]]
    return Page(items=items, next=items[-1].id if len(rows) > limit else None)


def check(connection: Connection, check_id: int) -> KeptCheck | None:
    """The check of that id, if it is kept yet."""
    if abs(check_id) > LARGEST_ID:
        return None
    row = connection.execute(with_stack(CheckRow).where(CheckRow.id == check_id)).first()
    return _check(row) if row else None


def job(connection: Connection, job_id: int) -> KeptJob | None:
    """How the job of that id stands, if it is kept yet."""
    if abs(job_id) > LARGEST_ID:
        return None
    row = connection.execute(with_stack(JobRow).where(JobRow.id == job_id)).first()
    if row is None:
        return None
    return KeptJob(
        id=row.id,
        stack=id_of(row),
        trigger=row.trigger,
        state=row.state,
        requested_by=row.requested_by,
        created_at=row.created_at,
        finished_at=row.finished_at,
        check=None if row.check_id is None else check(connection, row.check_id),
    )


def _check(row: AnyRow) -> KeptCheck:
    return KeptCheck(
        id=row.id,
        stack=id_of(row),
        commit=row.commit_sha,
        trigger=row.trigger,
        verdict=row.verdict,
        method=row.method,
        method_reason=row.method_reason,
        started_at=row.started_at,
        duration_seconds=row.duration_seconds,
        findings=row.findings_total,
        counted=row.findings_counted,
        error=load_optional(ErrorReport, row.error),
    )
