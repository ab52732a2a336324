"""Wishes: repairs that people asked for, and what a daemon made of them.

Whoever is at a terminal cannot plan while a daemon has the state directory; they leave a wish, and read the
answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from driftwatch.model import Granted, Wish
from driftwatch.store.names import LARGEST_ID, id_of, known_id, with_stack
from driftwatch.store.proposals import told
from driftwatch.store.tables import WishRow

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from driftwatch.store.engine import AnyRow


def make(connection: Connection, wish: Wish, *, at: datetime) -> int | None:
    """Writes a wish; None where its stack is not known."""
    stack_id = known_id(connection, wish.stack)
    if stack_id is None:
        return None
    added = connection.execute(
        insert(WishRow).values(
            stack_id=stack_id,
            kind=wish.kind,
            commit_sha=wish.commit,
            revert=wish.revert,
            actor=told(wish.by),
            reason=None if wish.reason is None else told(wish.reason),
            at=at,
        )
    )
    assert added.inserted_primary_key is not None  # noqa: S101  (for the type checker)
    number: int = added.inserted_primary_key[0]
    return number


def waiting(connection: Connection) -> dict[int, Wish]:
    """Those that nobody has answered yet, the oldest first."""
    rows = connection.execute(with_stack(WishRow).where(WishRow.done_at.is_(None)).order_by(WishRow.id))
    return {row.id: _wish(row) for row in rows}


def one(connection: Connection, number: int) -> Wish | None:
    """The wish of that number, if it is kept yet."""
    if abs(number) > LARGEST_ID:
        return None
    row = connection.execute(with_stack(WishRow).where(WishRow.id == number)).first()
    return _wish(row) if row else None


def stack_of(connection: Connection, number: int) -> int:
    """The row id of a wish's stack."""
    found: int = connection.execute(select(WishRow.stack_id).where(WishRow.id == number)).scalar_one()
    return found


def grant(
    connection: Connection, number: int, *, proposal: int | None, error: str | None, at: datetime
) -> None:
    """Writes what came of a wish. Beside a proposal, `error` is what else there is to say."""
    connection.execute(
        update(WishRow)
        .where(WishRow.id == number)
        .values(done_at=at, proposal_id=proposal, error=None if error is None else told(error))
    )


def granted(connection: Connection, number: int) -> Granted | None:
    """What came of a wish; None where nothing did yet."""
    row = connection.execute(
        select(WishRow).where(WishRow.id == number, WishRow.done_at.is_not(None))
    ).first()
    if row is None:
        return None
    if row.proposal_id is None:
        return Granted(proposal=None, error=row.error)
    return Granted(proposal=row.proposal_id, error=None, note=row.error)


def prune(connection: Connection, before: datetime) -> int:
    """Deletes those that were answered before a moment."""
    return connection.execute(delete(WishRow).where(WishRow.done_at < before)).rowcount


def _wish(row: AnyRow) -> Wish:
    return Wish(
        stack=id_of(row),
        kind=row.kind,
        by=row.actor,
        reason=row.reason,
        commit=row.commit_sha,
        revert=row.revert,
    )
