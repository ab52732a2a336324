"""PostgreSQL, through psycopg 3 (extra `postgres`).

Transactions are READ COMMITTED, whatever the server's default, with row locks where order matters. One that
collides with another all the same (a deadlock, a serialization failure, a race for the same new row) runs
again as a whole. Dead connections are found before use and replaced.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json
from sqlalchemy import URL, Connection, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from driftwatch.errors import (
    ConfigError,
    DiskFullError,
    DriftwatchError,
    StoreCorruptError,
    StoreError,
    StoreLockedError,
    StoreUnavailableError,
)
from driftwatch.log import redact, register_secret
from driftwatch.store.engine import WRITES, translated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

UPGRADE_LOCK = 0x6472_6966_7477  # "driftw"
"""Key of the advisory lock that one upgrade at a time holds: any number that no other program uses."""

_CONNECT_TIMEOUT = 10
"""Seconds until a server that does not answer counts as gone."""

_KEEPALIVE = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""A server that vanished without a word is noticed after a minute and not after the kernel's two hours."""

_TRANSACTION_LIMIT = 120
"""Seconds. Ours take milliseconds; one that hangs must not hold its row locks for ever."""

_CONTENTION = frozenset({"40001", "40P01", "23505"})
"""serialization_failure, deadlock_detected, unique_violation: the last is what losing a race for the same row
looks like here; run again, the transaction sees the winner's."""

_CLASSES: tuple[tuple[tuple[str, ...], type[DriftwatchError], str], ...] = (
    (
        ("55P03", "57014", *_CONTENTION),
        StoreLockedError,
        "Look for a transaction that holds driftwatch's tables.",
    ),
    (("53100",), DiskFullError, "Free some space on the database server."),
    (("XX",), StoreCorruptError, "See the server's log; restore the database from a backup."),
    (("28", "3D", "42501"), StoreUnavailableError, "Check user, password and rights in `database`."),
    (
        ("08", "53", "57"),
        StoreUnavailableError,
        "Check that the server runs and that `database` is right; driftwatch goes on by itself.",
    ),
)
"""How SQLSTATEs begin, what they are to us, and what to do. The first that fits counts."""

_UNREACHABLE = "08006"
"""connection_failure; libpq gives no state at all for a server that it cannot reach."""


class PostgresBackend:
    """A database that somebody else runs."""

    is_shared = True
    attempts = 8
    """Collisions are over in milliseconds; who lost one may lose the next."""

    def __init__(self, database: str, *, patience: float) -> None:
        url = _parse(database)
        register_secret(str(url.password) if url.password else None)
        self.place = f"{url.host or 'local socket'}/{url.database or ''}"
        self._patience = patience
        defaults = {"connect_timeout": _CONNECT_TIMEOUT, "application_name": "driftwatch", **_KEEPALIVE}
        try:
            self.engine = create_engine(
                url,
                connect_args={key: value for key, value in defaults.items() if key not in url.query},
                isolation_level="READ COMMITTED",
                pool_pre_ping=True,
                pool_size=5,
                max_overflow=10,
                pool_timeout=patience,
                hide_parameters=True,
                json_deserializer=from_json,
            )
        except ImportError as problem:
            raise StoreUnavailableError(
                "the configuration names PostgreSQL, and its driver is not installed",
                advice="Install it: pip install 'driftwatch[postgres]'.",
            ) from problem
        event.listen(self.engine, "connect", self._set_limits)

    def turn(self) -> AbstractContextManager[None]:
        return nullcontext()

    @contextmanager
    def upgrading(self) -> Iterator[Connection]:
        engine = self.engine.execution_options(**{WRITES: True})
        with translated(self), engine.connect() as connection, connection.begin():
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
            yield connection

    def keep_copy(self, revision: str) -> Path | None:  # noqa: ARG002  (as in Backend)
        """Backups of a server are its owner's, and the upgrade is one transaction."""
        return None

    def refuse_damage(self, connection: Connection) -> None:
        """PostgreSQL looks after its own pages and says so when one is read."""

    def damage(self, connection: Connection) -> tuple[str, ...]:  # noqa: ARG002  (as in Backend)
        return ()

    def is_contention(self, problem: DBAPIError) -> bool:
        return _state_of(problem) in _CONTENTION

    def translate(self, problem: SQLAlchemyError) -> DriftwatchError:
        if isinstance(problem, PoolTimeoutError):
            return StoreLockedError(f"{self.place}: all connections of this process are in use")
        if not isinstance(problem, DBAPIError):
            return StoreError(f"{self.place}: {redact(str(problem))}")
        kind, advice = _class_of(problem)
        return kind(f"PostgreSQL at {self.place}: {_first_line(problem)}", advice=advice)

    def _set_limits(self, connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = '{int(self._patience * 1000)}ms'")
            cursor.execute(f"SET idle_in_transaction_session_timeout = '{_TRANSACTION_LIMIT}s'")
        connection.commit()


def _parse(database: str) -> URL:
    """The URL, with the short scheme that others write for it allowed too."""
    try:
        url = make_url(database)
    except ArgumentError as problem:
        raise _refused("is not a URL") from problem
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise _refused(f"names {url.drivername}")
    return url.set(drivername="postgresql+psycopg")


def _refused(why: str) -> ConfigError:
    message = f"database: {why}, expected postgresql://user:password@host/name"
    return ConfigError(
        message, problems=(message,), advice="Leave `database` out to use a file in state_dir."
    )


def _class_of(problem: DBAPIError) -> tuple[type[DriftwatchError], str | None]:
    state = _state_of(problem)
    if not state and (problem.connection_invalidated or isinstance(problem, OperationalError)):
        state = _UNREACHABLE
    for beginnings, kind, advice in _CLASSES:
        if state.startswith(beginnings):
            return kind, advice
    return StoreError, None


def _state_of(problem: DBAPIError) -> str:
    return getattr(problem.orig, "sqlstate", None) or ""


def _first_line(problem: DBAPIError) -> str:
    return redact(str(problem.orig).strip().partition("\n")[0])
