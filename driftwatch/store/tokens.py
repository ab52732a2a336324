"""Tokens as rows. Of a secret only its SHA-256 is kept: it is random and long, nothing slower is needed."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from driftwatch.model import Right, Token
from driftwatch.store.names import LARGEST_ID
from driftwatch.store.proposals import told
from driftwatch.store.tables import TokenRow

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from driftwatch.store.engine import AnyRow

USED_EVERY = timedelta(minutes=1)
"""How often it is written that a token was used: not with every request."""


def add(connection: Connection, token: Token, *, secret: str) -> Token:
    """Keeps a token, and gives it its id."""
    added = connection.execute(
        insert(TokenRow).values(
            digest=_digest(secret),
            user=token.user,
            rights=None if token.rights is None else [right.value for right in token.rights],
            stacks=None if token.stacks is None else list(token.stacks),
            note=told(token.note),
            created_by=told(token.created_by),
            created_at=token.created_at,
            expires_at=token.expires_at,
        )
    )
    assert added.inserted_primary_key is not None  # noqa: S101  (for the type checker)
    return _stored(_row(connection, added.inserted_primary_key[0]))


def use(connection: Connection, secret: str, at: datetime) -> Token | None:
    """The token of a secret, if it is good for anything now."""
    row = connection.execute(select(TokenRow).where(TokenRow.digest == _digest(secret))).first()
    if row is None:
        return None
    token = _stored(row)
    return token if token.works(at) else None


def note_use(connection: Connection, token: Token, at: datetime) -> None:
    """Notes that it was used."""
    connection.execute(update(TokenRow).where(TokenRow.id == token.id).values(used_at=at))


def revoke(connection: Connection, token_id: int, *, by: str, at: datetime) -> bool:
    """Makes a token good for nothing; False where it is not known, or was revoked before."""
    if abs(token_id) > LARGEST_ID:
        return False
    ended = connection.execute(
        update(TokenRow)
        .where(TokenRow.id == token_id, TokenRow.revoked_at.is_(None))
        .values(revoked_at=at, revoked_by=told(by))
    )
    return ended.rowcount == 1


def every(connection: Connection) -> list[Token]:
    """All there ever were, the oldest first."""
    return [_stored(row) for row in connection.execute(select(TokenRow).order_by(TokenRow.id))]


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _row(connection: Connection, token_id: int) -> AnyRow:
    return connection.execute(select(TokenRow).where(TokenRow.id == token_id)).one()


def _stored(row: AnyRow) -> Token:
    return Token(
        id=row.id,
        user=row.user,
        rights=None if row.rights is None else tuple(map(Right, row.rights)),
        stacks=None if row.stacks is None else tuple(row.stacks),
        note=row.note,
        created_by=row.created_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        revoked_by=row.revoked_by,
        used_at=row.used_at,
    )
