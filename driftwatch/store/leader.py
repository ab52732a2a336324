"""Who leads: of several daemons on one PostgreSQL, one says what is due and speaks; all of them work.

Leadership is an advisory lock on a connection of its own. The server gives it free the moment that connection
is gone, however its daemon went, so that no time has to pass before another takes over. It is asked for again
and again: a leader that has lost its connection learns so at the next question, and what it did until then is
at worst done twice. Behind a pooler that hands connections from one transaction to the next there is no such
lock: `database` must name the server itself, or a pooler in session mode.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from driftwatch.store.engine import translated

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from driftwatch.store.engine import Backend

LEADER_LOCK = 0x6472_6966_746C  # "driftl"
"""Key of the advisory lock: any number that no other program uses."""


class Leadership:
    """One process' claim. Thread-safe."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def held(self) -> bool:
        """True where this process leads, having taken the lead now if nobody had it. Raises StoreError."""
        with self._lock:
            if self._connection is not None and self._is_alive(self._connection):
                return True
            self._let_go()
            with translated(self._backend):
                self._connection = self._take()
            return self._connection is not None

    def close(self) -> None:
        with self._lock:
            self._let_go()

    def _take(self) -> Connection | None:
        connection = self._backend.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            if connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": LEADER_LOCK}):
                return connection
        except SQLAlchemyError:
            connection.invalidate()
            connection.close()
            raise
        connection.close()
        return None

    def _is_alive(self, connection: Connection) -> bool:
        try:
            connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            return False
        return True

    def _let_go(self) -> None:
        """The connection is ended and not given back to the pool: it would take the lock along."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
