"""Repositories and stacks: what is declared, when it is due, and what its latest check said."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, select, update

from driftwatch.config.durations import format_duration
from driftwatch.errors import DependencyCycleError
from driftwatch.log import redact
from driftwatch.model import ErrorReport, Health, StackId, StackStatus, Verdict
from driftwatch.store import findings, heads, incidents, jobs, proposals, suspensions
from driftwatch.store.codec import dump_error, load_optional, writable
from driftwatch.store.names import id_of, is_stack, matching
from driftwatch.store.tables import RepositoryRow, StackRow, ToldRow
from driftwatch.store.values import RepositoryStatus, SyncedStacks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from driftwatch.model import CheckResult, StackDeclaration
    from driftwatch.store.engine import AnyRow
    from driftwatch.store.values import Voice

NEVER_CHECKED = "not checked yet"

_OF_WHAT_WAS_READ = frozenset({DependencyCycleError.code})
"""Errors that are the repository's and shown as such, while its fetch was good: its commit is in use."""


def record_fetch(
    connection: Connection,
    repository: str,
    *,
    url: str,
    branch: str,
    commit: str | None,
    error: ErrorReport | None,
    at: datetime,
    voice: Voice | None = None,
) -> None:
    """Notes a fetch, and tells it where that is news; what was last good stays where this brought nothing."""
    _hold_repository(connection, repository)
    mine = RepositoryRow.name == repository
    before = connection.scalar(select(RepositoryRow.error).where(mine))
    failed = error if error is not None and error.code not in _OF_WHAT_WAS_READ else None
    if voice is not None and (failed is not None or before is not None):
        heads.tell(connection, repository, commit=commit, error=failed, at=at, voice=voice)
    seen: dict[str, Any] = {
        "url": redact(url),
        "branch": branch,
        "fetched_at": at,
        "error": dump_error(error),
    }
    if commit is not None:
        seen["commit_sha"] = commit
    if failed is None:
        seen["last_good_at"] = at
    connection.execute(update(RepositoryRow).where(mine).values(**seen))


def repositories(connection: Connection) -> list[RepositoryStatus]:
    """All repositories, by name."""
    rows = connection.execute(select(RepositoryRow).order_by(RepositoryRow.name))
    return [
        RepositoryStatus(
            name=row.name,
            url=row.url,
            branch=row.branch,
            commit=row.commit_sha,
            fetched_at=row.fetched_at,
            last_good_at=row.last_good_at,
            error=load_optional(ErrorReport, row.error),
        )
        for row in rows
    ]


def sync(
    connection: Connection, repository: str, declared: Sequence[StackDeclaration], at: datetime
) -> SyncedStacks:
    """Makes the stacks of a repository those that are declared.

    A stack that is gone keeps its rows: its findings end as "stack removed", its queued job goes, and so do
    its open proposals. One that comes back starts anew, due at once.
    """
    _hold_repository(connection, repository)
    known = {id_of(row): row for row in connection.execute(_of_repository(repository))}
    wanted = {item.id: item for item in declared}
    new = [item for stack, item in wanted.items() if stack not in known]
    back = [item for stack, item in wanted.items() if stack in known and known[stack].removed_at]
    gone = [row for stack, row in known.items() if stack not in wanted and row.removed_at is None]
    if new:
        connection.execute(insert(StackRow), [_declared(item, at) for item in new])
    _redeclare(connection, [item for stack, item in wanted.items() if _differs(known.get(stack), item)])
    _revive(connection, [known[item.id].id for item in back], at)
    _remove(connection, [row.id for row in gone], at)
    return SyncedStacks(added=tuple(item.id for item in (*new, *back)), removed=tuple(map(id_of, gone)))


def hold(connection: Connection, declaration: StackDeclaration, at: datetime) -> AnyRow:
    """The stack's row, locked until the transaction ends; made where nobody declared the stack before."""
    query = select(StackRow).where(is_stack(declaration.id)).with_for_update(key_share=True)
    row = connection.execute(query).first()
    if row is None:
        _hold_repository(connection, declaration.id.repository)
        connection.execute(insert(StackRow), [_declared(declaration, at)])
        row = connection.execute(query).one()
    return row


def hold_row(connection: Connection, stack_id: int) -> AnyRow:
    """The row of that id, locked until the transaction ends."""
    return connection.execute(
        select(StackRow).where(StackRow.id == stack_id).with_for_update(key_share=True)
    ).one()


def count(connection: Connection, stack_id: int) -> None:
    """Notes how many findings of the stack are open now."""
    connection.execute(
        update(StackRow)
        .where(StackRow.id == stack_id)
        .values(open_findings=findings.count_open(connection, stack_id))
    )


def allow_ages(connection: Connection, ages: Mapping[StackId, timedelta]) -> None:
    """Notes how long each stack may go without a good check; one that is not known is passed over."""
    rows = connection.execute(select(StackRow).where(StackRow.removed_at.is_(None)))
    changed = [
        {"of": row.id, "seconds": ages[id_of(row)].total_seconds()}
        for row in rows
        if id_of(row) in ages and row.allowed_age != ages[id_of(row)].total_seconds()
    ]
    if changed:
        connection.execute(
            update(StackRow).where(StackRow.id == bindparam("of")).values(allowed_age=bindparam("seconds")),
            changed,
        )


def all_unwatched(connection: Connection, *, at: datetime, since: datetime, fallback: timedelta) -> list[int]:
    """The ids of the stacks that `unwatched` says something of."""
    rows = connection.execute(select(StackRow).where(StackRow.removed_at.is_(None)).order_by(StackRow.name))
    return [row.id for row in rows if unwatched(row, at=at, since=since, fallback=fallback)]


def unwatched(row: AnyRow, *, at: datetime, since: datetime, fallback: timedelta) -> str | None:
    """A sentence where a stack had no good check for longer than allowed, else None.

    Nobody could look before `since`, when driftwatch was started: that is not counted. A suspended stack is
    looked at like any other: only nothing is applied there.
    """
    if row.removed_at is not None:
        return None
    allowed = _allowed(row) or fallback
    if at - max(row.last_good_at or row.declared_at, since) <= allowed:
        return None
    if row.last_good_at is None:
        return f"{NEVER_CHECKED}, allowed are {_rounded(allowed)}"
    return _too_old(at - row.last_good_at, allowed)


def note_check(connection: Connection, stack_id: int, result: CheckResult) -> None:
    """Makes `result` the stack's latest check; what was last known to be good stays where it is none."""
    latest: dict[str, Any] = {
        "verdict": result.verdict,
        "method": result.method,
        "commit_sha": result.commit,
        "checked_at": result.started_at,
        "error": dump_error(result.error),
        "open_findings": findings.count_open(connection, stack_id),
    }
    if result.verdict.is_good:
        latest["last_good_at"] = result.started_at
    connection.execute(update(StackRow).where(StackRow.id == stack_id).values(**latest))


def schedule(connection: Connection, due: Mapping[StackId, datetime]) -> None:
    """Notes when stacks are next due."""
    if due:
        connection.execute(
            update(StackRow)
            .where(
                StackRow.repository == bindparam("of"),
                StackRow.path == bindparam("at"),
                StackRow.workspace == bindparam("in"),
            )
            .values(next_due_at=bindparam("due")),
            [
                {"of": stack.repository, "at": stack.path, "in": stack.workspace, "due": moment}
                for stack, moment in due.items()
            ],
        )


def due_times(connection: Connection) -> dict[StackId, datetime | None]:
    """When each declared stack is due."""
    rows = connection.execute(
        select(StackRow.repository, StackRow.path, StackRow.workspace, StackRow.next_due_at).where(
            StackRow.removed_at.is_(None)
        )
    )
    return {id_of(row): row.next_due_at for row in rows}


def statuses(
    connection: Connection,
    patterns: Sequence[str],
    *,
    now: datetime,
    allowed_age: Callable[[StackId], timedelta] | None,
) -> list[StackStatus]:
    """The declared stacks, or those that a glob matches, by name. What the daemon has noted is allowed."""
    rows = connection.execute(
        select(StackRow).where(StackRow.removed_at.is_(None)).order_by(StackRow.name)
    ).all()
    wanted = matching(patterns, (row.name for row in rows)) if patterns else None
    stopped = {suspension.scope for suspension in suspensions.in_force(connection, now)}
    return [
        _status(row, now=now, allowed_age=allowed_age, stopped=stopped)
        for row in rows
        if wanted is None or row.name in wanted
    ]


def status_of(connection: Connection, stack: StackId, *, now: datetime) -> StackStatus | None:
    """What is known of one declared stack."""
    row = connection.execute(select(StackRow).where(is_stack(stack), StackRow.removed_at.is_(None))).first()
    if row is None:
        return None
    stopped = {suspension.scope for suspension in suspensions.in_force(connection, now)}
    return _status(row, now=now, allowed_age=None, stopped=stopped)


def drifting(connection: Connection) -> list[StackId]:
    """The declared stacks with findings that wait for somebody."""
    rows = connection.execute(
        select(StackRow)
        .where(StackRow.removed_at.is_(None), StackRow.open_findings > 0)
        .order_by(StackRow.id)
    )
    return [id_of(row) for row in rows]


def _hold_repository(connection: Connection, name: str) -> None:
    """Makes the repository's row where there is none, and locks it until the transaction ends."""
    query = select(RepositoryRow.name).where(RepositoryRow.name == name).with_for_update(key_share=True)
    if connection.execute(query).first() is None:
        connection.execute(insert(RepositoryRow), [{"name": name}])


def _of_repository(repository: str) -> Any:
    return select(StackRow).where(StackRow.repository == repository).order_by(StackRow.name)


def _declared(item: StackDeclaration, at: datetime) -> dict[str, Any]:
    return {
        "name": str(item.id),
        "repository": item.id.repository,
        "path": item.id.path,
        "workspace": item.id.workspace,
        "declared_at": at,
        **_words(item),
    }


def _words(item: StackDeclaration) -> dict[str, Any]:
    return {"labels": writable(dict(item.labels)), "owners": writable(list(item.owners))}


def _differs(row: AnyRow | None, item: StackDeclaration) -> bool:
    return row is not None and {"labels": row.labels, "owners": row.owners} != _words(item)


def _redeclare(connection: Connection, items: Sequence[StackDeclaration]) -> None:
    for item in items:
        connection.execute(update(StackRow).where(is_stack(item.id)).values(**_words(item)))


def _revive(connection: Connection, ids: Sequence[int], at: datetime) -> None:
    if not ids:
        return
    connection.execute(
        update(StackRow).where(StackRow.id.in_(ids)).values(removed_at=None, declared_at=at, next_due_at=None)
    )


def _remove(connection: Connection, ids: Sequence[int], at: datetime) -> None:
    if not ids:
        return
    connection.execute(
        update(StackRow)
        .where(StackRow.id.in_(ids))
        .values(removed_at=at, next_due_at=None, open_findings=0, allowed_age=None)
    )
    connection.execute(delete(ToldRow).where(ToldRow.stack_id.in_(ids)))
    jobs.drop_queued(connection, ids)
    findings.close_removed(connection, ids, at)
    incidents.leave(connection, ids, at)
    proposals.close_removed(connection, ids, at)


def _status(
    row: AnyRow, *, now: datetime, allowed_age: Callable[[StackId], timedelta] | None, stopped: set[str]
) -> StackStatus:
    stack, error = id_of(row), load_optional(ErrorReport, row.error)
    health, reason = _health(
        row,
        error,
        now - row.last_good_at if row.last_good_at else None,
        _allowed(row) or (allowed_age(stack) if allowed_age else None),
    )
    return StackStatus(
        id=stack,
        verdict=row.verdict,
        health=health,
        health_reason=reason,
        method=row.method,
        commit=row.commit_sha,
        checked_at=row.checked_at,
        last_good_at=row.last_good_at,
        next_due_at=row.next_due_at,
        suspended=not stopped.isdisjoint(suspensions.scopes_of(stack)),
        open_findings=row.open_findings,
        error=error,
        owners=tuple(row.owners),
        labels=row.labels,
    )


def _health(
    row: AnyRow, error: ErrorReport | None, age: timedelta | None, allowed: timedelta | None
) -> tuple[Health, str | None]:
    if row.verdict is Verdict.ERROR:
        return Health.BLIND, error.message if error else "the latest check failed"
    if age is None:
        return Health.STALE, NEVER_CHECKED
    if allowed is not None and age > allowed:
        return Health.STALE, _too_old(age, allowed)
    return Health.FRESH, None


def _allowed(row: AnyRow) -> timedelta | None:
    return None if row.allowed_age is None else timedelta(seconds=row.allowed_age)


def _too_old(age: timedelta, allowed: timedelta) -> str:
    return f"no good check for {_rounded(age)}, allowed are {_rounded(allowed)}"


def _rounded(age: timedelta) -> str:
    """To the second, and without the seconds of what is days old."""
    whole = timedelta(seconds=round(age.total_seconds()))
    return format_duration(whole - whole % timedelta(minutes=1) if whole >= timedelta(days=1) else whole)
