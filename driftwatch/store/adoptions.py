"""Adoptions: drift that is to be brought into the code, for whom, and what a daemon made of it.

One that is not answered waits for a daemon. Those that are answered say what driftwatch has tried by itself
already, so that it does so once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import insert, update

from driftwatch.model import Adopted, Adoption, AdoptionWish
from driftwatch.store.codec import dump, load_optional
from driftwatch.store.names import LARGEST_ID, id_of, is_stack, known_id, with_stack
from driftwatch.store.proposals import told
from driftwatch.store.tables import AdoptionRow

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from driftwatch.model import StackId
    from driftwatch.store.engine import AnyRow


def ask(connection: Connection, wish: AdoptionWish, *, at: datetime) -> int | None:
    """Writes what is wanted; None where its stack is not known."""
    stack_id = known_id(connection, wish.stack)
    if stack_id is None:
        return None
    added = connection.execute(
        insert(AdoptionRow).values(
            stack_id=stack_id,
            findings=list(wish.findings),
            marks=list(wish.marks),
            imports=dict(wish.imports),
            actor=told(wish.by),
            reason=None if wish.reason is None else told(wish.reason),
            at=at,
        )
    )
    assert added.inserted_primary_key is not None  # noqa: S101  (for the type checker)
    number: int = added.inserted_primary_key[0]
    return number


def asked(connection: Connection) -> dict[int, AdoptionWish]:
    """Those that nobody has answered yet, the oldest first."""
    rows = connection.execute(
        with_stack(AdoptionRow).where(AdoptionRow.done_at.is_(None)).order_by(AdoptionRow.id)
    )
    return {row.id: _wish(row) for row in rows}


def newest(
    connection: Connection, *, stack: StackId | None, by: str | None, limit: int | None
) -> list[Adoption]:
    """What was wanted, of a stack and by somebody where they are given, answered or not; the newest first."""
    query = with_stack(AdoptionRow).order_by(AdoptionRow.id.desc()).limit(limit)
    if stack is not None:
        query = query.where(is_stack(stack))
    if by is not None:
        query = query.where(AdoptionRow.actor == by)
    return [_adoption(row) for row in connection.execute(query)]


def one(connection: Connection, number: int) -> Adoption | None:
    """One by its number; None where there is none."""
    if abs(number) > LARGEST_ID:
        return None
    row = connection.execute(with_stack(AdoptionRow).where(AdoptionRow.id == number)).first()
    return _adoption(row) if row else None


def answer(connection: Connection, number: int, adopted: Adopted, *, at: datetime) -> None:
    """Writes what came of one."""
    clean = replace(
        adopted,
        edits=tuple(map(told, adopted.edits)),
        error=None if adopted.error is None else told(adopted.error),
        refused=tuple(
            replace(each, sentence=told(each.sentence), wanted=told(each.wanted)) for each in adopted.refused
        ),
    )
    connection.execute(
        update(AdoptionRow).where(AdoptionRow.id == number).values(done_at=at, outcome=dump(clean))
    )


def _adoption(row: AnyRow) -> Adoption:
    return Adoption(
        number=row.id,
        wish=_wish(row),
        at=row.at,
        done_at=row.done_at,
        adopted=load_optional(Adopted, row.outcome),
    )


def _wish(row: AnyRow) -> AdoptionWish:
    return AdoptionWish(
        stack=id_of(row),
        by=row.actor,
        findings=tuple(row.findings),
        marks=tuple(row.marks),
        imports=dict(row.imports),
        reason=row.reason,
    )
