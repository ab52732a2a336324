"""Suspensions and pins: where nothing is applied, and which stacks stay at an earlier commit.

A suspension that has ended, by itself or by a person, stays as a row: somebody may ask who stopped what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, delete, insert, or_, select, text, update

from driftwatch.model import DRIFTWATCH, Pin, Suspension
from driftwatch.store.names import id_of, is_stack
from driftwatch.store.proposals import told
from driftwatch.store.tables import PinRow, StackRow, SuspensionRow

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from driftwatch.model import StackId
    from driftwatch.store.engine import AnyRow

EVERYWHERE = "*"


def suspend(connection: Connection, suspension: Suspension) -> bool:
    """Puts a suspension in force, in place of one of the same scope. See `Store.suspend`."""
    actor = told(suspension.by)
    if connection.dialect.name == "postgresql":  # SQLite's writers come one after the other anyway
        connection.execute(text("LOCK TABLE suspensions IN SHARE ROW EXCLUSIVE MODE"))
    ours = select(SuspensionRow.id).where(
        SuspensionRow.scope == suspension.scope,
        SuspensionRow.actor == DRIFTWATCH,
        _in_force(suspension.at),
    )
    if actor != DRIFTWATCH and connection.scalar(ours) is not None:
        return False
    connection.execute(
        update(SuspensionRow)
        .where(SuspensionRow.scope == suspension.scope, SuspensionRow.ended_at.is_(None))
        .values(ended_at=suspension.at, ended_by=actor)
    )
    connection.execute(
        insert(SuspensionRow).values(
            scope=suspension.scope,
            actor=actor,
            at=suspension.at,
            reason=told(suspension.reason),
            until=suspension.until,
        )
    )
    return True


def resume(connection: Connection, scope: str, *, by: str, at: datetime) -> bool:
    """Ends the suspension of just this scope; False where none is in force."""
    ended = connection.execute(
        update(SuspensionRow)
        .where(SuspensionRow.scope == scope, _in_force(at))
        .values(ended_at=at, ended_by=told(by))
    )
    return ended.rowcount == 1


def in_force(connection: Connection, at: datetime) -> list[Suspension]:
    """The suspensions that are in force, by scope."""
    rows = connection.execute(select(SuspensionRow).where(_in_force(at)).order_by(SuspensionRow.scope))
    return [_stored(row) for row in rows]


def of_stack(connection: Connection, stack: StackId, at: datetime) -> Suspension | None:
    """The most specific one in force: the stack's own, its repository's, or that of everything."""
    scopes = scopes_of(stack)
    rows = connection.execute(select(SuspensionRow).where(_in_force(at), SuspensionRow.scope.in_(scopes)))
    found = {row.scope: row for row in rows}
    return next((_stored(found[scope]) for scope in scopes if scope in found), None)


def stops(connection: Connection, stack: StackId, at: datetime) -> bool:
    """True where nothing may begin in a stack; nobody can suspend it until the transaction ends.

    Without that, an apply could be seen to begin after `suspend` has returned.
    """
    if connection.dialect.name == "postgresql":  # SQLite's writers come one after the other anyway
        connection.execute(text("LOCK TABLE suspensions IN SHARE MODE"))
    return of_stack(connection, stack, at) is not None


def scopes_of(stack: StackId) -> tuple[str, str, str]:
    """The scopes that a stack is in, the most specific first. Repositories have no slash in their names."""
    return str(stack), stack.repository, EVERYWHERE


def pin(connection: Connection, wanted: Pin) -> bool:
    """Keeps a stack at a commit, in place of an earlier pin; False where no such stack is declared."""
    stack_id = connection.scalar(
        select(StackRow.id)
        .where(is_stack(wanted.stack), StackRow.removed_at.is_(None))
        .with_for_update(key_share=True)
    )
    if stack_id is None:
        return False
    connection.execute(delete(PinRow).where(PinRow.stack_id == stack_id))
    connection.execute(
        insert(PinRow).values(
            stack_id=stack_id,
            commit_sha=wanted.commit,
            actor=told(wanted.by),
            at=wanted.at,
            reason=told(wanted.reason),
        )
    )
    return True


def unpin(connection: Connection, stack: StackId) -> bool:
    """Takes a stack's pin out; False where there is none."""
    mine = select(StackRow.id).where(is_stack(stack)).with_for_update(key_share=True)
    return connection.execute(delete(PinRow).where(PinRow.stack_id == connection.scalar(mine))).rowcount == 1


def pins(connection: Connection) -> dict[StackId, Pin]:
    """All pins. One of a stack that is no longer declared stays: it may come back."""
    rows = connection.execute(
        select(PinRow, StackRow.repository, StackRow.path, StackRow.workspace)
        .join(StackRow, StackRow.id == PinRow.stack_id)
        .order_by(StackRow.name)
    )
    return {
        id_of(row): Pin(stack=id_of(row), commit=row.commit_sha, by=row.actor, at=row.at, reason=row.reason)
        for row in rows
    }


def _in_force(at: datetime) -> ColumnElement[bool]:
    lasts = or_(SuspensionRow.until.is_(None), SuspensionRow.until > at)
    return and_(SuspensionRow.ended_at.is_(None), lasts)


def _stored(row: AnyRow) -> Suspension:
    return Suspension(scope=row.scope, by=row.actor, at=row.at, reason=row.reason, until=row.until)
