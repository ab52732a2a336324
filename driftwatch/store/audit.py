"""The audit: who asked for what, and what came of it. Rows are added, never changed.

Each row's digest covers the row and the digest of the one before it, so that whoever changes or removes one
with a shell on the database would have to write all that follow anew. It shows carelessness and small lies,
not somebody who rewrites the whole table.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, text

from driftwatch.log import redact
from driftwatch.store.codec import writable
from driftwatch.store.names import LARGEST_ID
from driftwatch.store.tables import AuditRow
from driftwatch.store.values import AuditEntry, Page

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from driftwatch.store.engine import AnyRow

_COVERED = ("at", "actor", "via", "action", "subject", "outcome", "reason", "key")


def add(
    connection: Connection,
    *,
    at: datetime,
    actor: str,
    via: str,
    action: str,
    subject: str,
    outcome: str,
    reason: str | None,
    key: str | None,
) -> bool:
    """Adds a row; False where one with this key is there."""
    if connection.dialect.name == "postgresql":  # SQLite's writers come one after the other anyway
        connection.execute(text("LOCK TABLE audit IN EXCLUSIVE MODE"))
    if key is not None and connection.scalar(select(AuditRow.id).where(AuditRow.key == key)):
        return False
    row = {
        "at": at,
        "actor": _told(actor),
        "via": via,
        "action": action,
        "subject": _told(subject),
        "outcome": outcome,
        "reason": _told(reason) if reason is not None else None,
        "key": key,
    }
    before = connection.scalar(select(AuditRow.digest).order_by(AuditRow.id.desc()).limit(1))
    connection.execute(insert(AuditRow).values(**row, digest=_digest(before or "", row)))
    return True


def page(connection: Connection, *, limit: int, after: int | None) -> Page[AuditEntry]:
    """Some rows, the newest first."""
    query = select(AuditRow).order_by(AuditRow.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(AuditRow.id < min(after, LARGEST_ID))
    rows = connection.execute(query).all()
    items = [_entry(row) for row in rows[:limit]]
    return Page(items=items, next=items[-1].id if len(rows) > limit else None)


def first_damaged(connection: Connection) -> int | None:
    """The id of the first row that does not follow from the one before it."""
    before = ""
    every = select(AuditRow).order_by(AuditRow.id).execution_options(yield_per=1000)
    with connection.execute(every) as rows:
        for row in rows:
            kept = {name: getattr(row, name) for name in _COVERED}
            if row.digest != _digest(before, kept):
                return int(row.id)
            before = row.digest
    return None


def _digest(before: str, row: dict[str, object]) -> str:
    covered = [before, *(_text(row[name]) for name in _COVERED)]
    return hashlib.sha256(json.dumps(covered, ensure_ascii=True).encode()).hexdigest()


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return value.astimezone(UTC).isoformat() if hasattr(value, "astimezone") else str(value)


def _told(words: str) -> str:
    kept: str = writable(redact(words))
    return kept


def _entry(row: AnyRow) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        at=row.at,
        actor=row.actor,
        via=row.via,
        action=row.action,
        subject=row.subject,
        outcome=row.outcome,
        reason=row.reason,
        digest=row.digest,
    )
