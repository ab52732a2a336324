"""Stacks by name: the globs that people write, and the id that a row stands for."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, select

from driftwatch.model import StackId
from driftwatch.store.tables import StackRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, Connection

    from driftwatch.store.engine import AnyRow, AnySelect

LARGEST_ID = 2**63 - 1
"""No row has another number, and a database is not asked for one."""


def ids_matching(connection: Connection, pattern: str) -> list[int]:
    """The row ids of the stacks, removed ones too, whose name matches a glob."""
    rows = connection.execute(select(StackRow.id, StackRow.name)).all()
    wanted = matching([pattern], (row.name for row in rows))
    return [row.id for row in rows if row.name in wanted]


def matching(patterns: Iterable[str], names: Iterable[str]) -> set[str]:
    """The names that at least one glob matches; `*` also matches the slashes in a stack's path."""
    patterns = list(patterns)
    return {name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)}


def is_stack(stack: StackId) -> ColumnElement[bool]:
    """The condition that a row of `stacks` is that of `stack`."""
    return and_(
        StackRow.repository == stack.repository,
        StackRow.path == stack.path,
        StackRow.workspace == stack.workspace,
    )


def known_id(connection: Connection, stack: StackId) -> int | None:
    """The row id of a stack that is watched; None for one that is not, or not any more."""
    return connection.scalar(select(StackRow.id).where(is_stack(stack), StackRow.removed_at.is_(None)))


def with_stack(table: Any) -> AnySelect:
    """The rows of a table that has a `stack_id`, each with what `id_of` reads."""
    return select(table, StackRow.repository, StackRow.path, StackRow.workspace).join(
        StackRow, StackRow.id == table.stack_id
    )


def id_of(row: AnyRow) -> StackId:
    """The stack that a row with these three columns belongs to."""
    return StackId(repository=row.repository, path=row.path, workspace=row.workspace)
