"""Transactions: the one place where a connection is taken, a vendor's error translated, a retry decided.

A unit of work is a function of a connection. Writers run in a transaction that holds the write lock from
its start; readers see one snapshot. What the two databases do each in its own way stands in `sqlite.py` and
`postgres.py`.
"""

from __future__ import annotations

import random
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sqlalchemy import Connection, Engine, Row, Select

    from driftwatch.errors import DriftwatchError

    AnyRow: TypeAlias = Row[*tuple[Any, ...]]
    AnySelect: TypeAlias = Select[*tuple[Any, ...]]

T = TypeVar("T")

WRITES = "driftwatch_writes"
"""Execution option of a connection whose transaction will write."""

PAUSE = 0.1
"""Seconds before the second attempt, give or take half of it; each later one waits that much longer."""


class Backend(Protocol):
    """What one kind of database does in its own way."""

    engine: Engine
    place: str
    """Where the data is, as a person is told: a path, or host and database."""
    attempts: int
    """Times a whole transaction is tried."""
    is_shared: bool
    """Whether several daemons may use it at once."""

    def turn(self) -> AbstractContextManager[None]:
        """A writer's turn among the threads of this process."""

    def upgrading(self) -> AbstractContextManager[Connection]:
        """One transaction that nobody else can upgrade beside, committed at the end."""

    def keep_copy(self, revision: str) -> Path | None:
        """Copies the database as it was when `upgrading` began; None where that is not ours to do."""

    def refuse_damage(self, connection: Connection) -> None:
        """Raises StoreCorruptError where a quick look finds stored bytes damaged."""

    def damage(self, connection: Connection) -> tuple[str, ...]:
        """What a thorough look finds wrong with the stored bytes."""

    def is_contention(self, problem: DBAPIError) -> bool:
        """True where others were in the way: the transaction is undone and may run again as a whole."""

    def translate(self, problem: SQLAlchemyError) -> DriftwatchError: ...


class Database:
    """Runs units of work. Thread-safe."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._writer = backend.engine.execution_options(**{WRITES: True})
        self._closing = threading.Event()

    def close(self) -> None:
        """Gives all connections back; who waits for another attempt waits no longer."""
        self._closing.set()
        self.backend.engine.dispose()

    def read(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` on one snapshot. Raises StoreError or DiskFullError."""
        with translated(self.backend):
            return self._persist(lambda _: _run(self.backend.engine, work, _Progress()), safe=True)

    def write(self, work: Callable[[Connection], T], *, repeatable: bool = True) -> T:
        """Runs `work` in one transaction, again as a whole where others were in the way.

        With `repeatable` False it does not run again where the connection broke during the commit: nobody
        knows then whether it took effect. Raises StoreError or DiskFullError.
        """

        def attempt(progress: _Progress) -> T:
            with self.backend.turn():
                return _run(self._writer, work, progress)

        with translated(self.backend):
            return self._persist(attempt, safe=repeatable)

    def _persist(self, attempt: Callable[[_Progress], T], *, safe: bool) -> T:
        for number in range(1, self.backend.attempts):
            progress = _Progress()
            try:
                return attempt(progress)
            except DBAPIError as problem:
                if not self._may_repeat(problem, in_doubt=progress.committing and not safe):
                    raise
            spread = random.uniform(0.5, 1.5)  # noqa: S311  (who collided must not come back together)
            if self._closing.wait(number * PAUSE * spread):
                break
        return attempt(_Progress())

    def _may_repeat(self, problem: DBAPIError, *, in_doubt: bool) -> bool:
        return self.backend.is_contention(problem) or (problem.connection_invalidated and not in_doubt)


class _Progress:
    """How far an attempt came."""

    committing = False


def _run(engine: Engine, work: Callable[[Connection], T], progress: _Progress) -> T:
    with engine.connect() as connection, connection.begin():
        outcome = work(connection)
        progress.committing = True
        return outcome


@contextmanager
def translated(backend: Backend) -> Iterator[None]:
    """Turns SQLAlchemy's and the drivers' errors into ours."""
    try:
        yield
    except SQLAlchemyError as problem:
        raise backend.translate(problem) from problem
