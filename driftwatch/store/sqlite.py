"""SQLite: one file in the state directory.

WAL lets readers go on beside a writer; `synchronous=FULL` makes a commit survive a power cut; writers take
the write lock at BEGIN, because a transaction that reads first and then wants to write fails at once when
another wrote in between, whatever the busy timeout. The file is made only here and never by a connection: a
database that vanished must not come back empty.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic_core import from_json
from sqlalchemy import Connection, Engine, NullPool, QueuePool, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from driftwatch.errors import (
    DiskFullError,
    DriftwatchError,
    StoreCorruptError,
    StoreError,
    StoreLockedError,
    StoreUnavailableError,
)
from driftwatch.log import redact
from driftwatch.store.engine import WRITES, translated
from driftwatch.store.files import make_private_directory, sync_directory, translated_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATABASE_FILE = "driftwatch.db"

_LEAST_FREE = 64 * 1024
"""Bytes. A failed write with less than this free is told as a full disk: SQLite calls it an I/O error."""

_QUICK_CHECK_LIMIT = 16 * 1024 * 1024
"""Bytes. Damage is best told at the start; in a larger file looking for it would make every start wait."""

_WAL_LIMIT = 64 * 1024 * 1024
"""Bytes that the write-ahead log keeps after a checkpoint; else it stays as large as it ever was."""

_RESTORE = (
    "Stop driftwatch, move the file away and put a copy in its place. Without a copy start with a new one: "
    "the next checks find the drift again, only its history is lost."
)


class SqliteBackend:
    """The file `driftwatch.db` of a state directory; made where there is none."""

    is_shared = False  # one daemon per state directory
    attempts = 4
    """Each waits for the lock: with a patience of 10 s, one that is held for 30 s costs nothing."""

    def __init__(self, state_dir: Path, *, patience: float) -> None:
        self.path = state_dir / DATABASE_FILE
        self.place = str(self.path)
        self._patience = patience
        self._turn = threading.Lock()
        with translated_files(self.path):
            make_private_directory(state_dir, ours=(DATABASE_FILE,))
            self._file = _make_private_file(self.path)
        self.engine = self._make_engine(QueuePool, foreign_keys=True)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Threads queue here: SQLite's own waiting is polling, in which a late comer may win for ever."""
        if not self._turn.acquire(timeout=self._patience * self.attempts):
            raise self._locked("another thread of this process writes")
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def upgrading(self) -> Iterator[Connection]:
        """Foreign keys are off while tables are rebuilt, and all looked at before the commit."""
        engine = self._make_engine(NullPool, foreign_keys=False).execution_options(**{WRITES: True})
        with translated(self), engine.connect() as connection, connection.begin():
            yield connection
            if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                raise StoreError(
                    f"the upgrade of {self.place} would leave rows of {broken[0]} without what they refer to",
                    advice="Nothing was changed. Please report it.",
                )

    def keep_copy(self, revision: str) -> Path | None:
        target = self.path.with_name(f"{self.path.name}.{revision}")
        partial = target.with_name(f"{target.name}.part")
        with translated_files(target):
            partial.unlink(missing_ok=True)
            _make_private_file(partial)
            try:
                # Not from `connection`: SQLite copies nothing of one that writes. It holds the lock, so that
                # what another one reads is what was there before.
                with closing(self._connect()) as source, closing(sqlite3.connect(partial)) as copy:
                    source.backup(copy)
                partial.replace(target)
            except sqlite3.Error as problem:
                raise self._of_driver(problem) from problem
            finally:
                partial.unlink(missing_ok=True)
            sync_directory(target.parent)
        return target

    def refuse_damage(self, connection: Connection) -> None:
        if self.path.stat().st_size > _QUICK_CHECK_LIMIT:
            return
        rows = connection.exec_driver_sql("PRAGMA quick_check(3)").scalars().all()
        if rows != ["ok"]:
            raise StoreCorruptError(
                f"the database {self.place} is damaged", advice=_RESTORE, detail="\n".join(map(str, rows))
            )

    def damage(self, connection: Connection) -> tuple[str, ...]:
        rows = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        return tuple(redact(str(row)) for row in rows if row != "ok")

    def is_contention(self, problem: DBAPIError) -> bool:
        return _name_of(problem.orig).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))

    def translate(self, problem: SQLAlchemyError) -> DriftwatchError:
        if isinstance(problem, PoolTimeoutError):
            return self._locked("all connections of this process are in use")
        if isinstance(problem, DBAPIError) and isinstance(problem.orig, sqlite3.Error):
            return self._of_driver(problem.orig)
        return StoreError(f"{self.place}: {redact(str(problem))}")

    def _make_engine(self, pool: type[QueuePool | NullPool], *, foreign_keys: bool) -> Engine:
        limits = {"pool_timeout": self._patience} if pool is QueuePool else {}
        engine = create_engine(
            "sqlite://",
            creator=self._connect,
            poolclass=pool,
            hide_parameters=True,
            json_deserializer=from_json,
            **limits,
        )
        event.listen(engine, "connect", _Pragmas(self._patience, foreign_keys=foreign_keys))
        event.listen(engine, "begin", self._begin)
        return engine

    def _connect(self) -> sqlite3.Connection:
        self._refuse_stranger()
        return sqlite3.connect(
            f"file:{quote(str(self.path.absolute()))}?mode=rw",
            uri=True,
            timeout=self._patience,
            isolation_level=None,
            check_same_thread=False,
        )

    def _begin(self, connection: Connection) -> None:
        self._refuse_stranger()
        writes = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    def _refuse_stranger(self) -> None:
        """An open file goes on under a name that somebody took away: what is written there would be lost."""
        try:
            found = _identity(self.path.stat())
        except OSError as problem:
            raise StoreUnavailableError(
                f"the database {self.place} cannot be reached: {problem.strerror}",
                advice="Put the file back; driftwatch goes on by itself.",
            ) from problem
        if found != self._file:
            raise StoreUnavailableError(
                f"the database {self.place} was replaced by another file while in use",
                advice="Restart driftwatch to use that one.",
            )

    def _locked(self, why: str) -> StoreLockedError:
        return StoreLockedError(
            f"the database {self.place} stayed locked for {self._patience:g} s: {why}",
            advice="Look for a program that keeps a transaction open on this file, a backup or an SQL shell.",
        )

    def _of_driver(self, problem: sqlite3.Error) -> DriftwatchError:
        name, words = _name_of(problem), redact(str(problem))
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return self._locked("another process holds it")
        if name == "SQLITE_FULL" or (name.startswith("SQLITE_IOERR") and self._is_full()):
            return DiskFullError(
                f"no space left for the database {self.place}",
                advice="Free some space; what is stored is intact, and driftwatch goes on by itself.",
            )
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return StoreCorruptError(f"the database {self.place} is damaged: {words}", advice=_RESTORE)
        if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_IOERR")):
            return StoreUnavailableError(
                f"the database {self.place} cannot be used: {words} ({name})",
                advice="driftwatch needs to read and write the file and its directory, on a local disk.",
            )
        return StoreError(f"the database {self.place} refused: {words} ({name})")

    def _is_full(self) -> bool:
        return shutil.disk_usage(self.path.parent).free < _LEAST_FREE


class _Pragmas:
    """What every new connection is told first."""

    def __init__(self, patience: float, *, foreign_keys: bool) -> None:
        self._statements = (
            f"PRAGMA busy_timeout = {int(patience * 1000)}",
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = FULL",
            f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}",
            f"PRAGMA journal_size_limit = {_WAL_LIMIT}",
        )

    def __call__(self, connection: sqlite3.Connection, _record: Any) -> None:
        for statement in self._statements:
            connection.execute(statement)


def _make_private_file(path: Path) -> tuple[int, int]:
    """Makes the file where there is none, closes it to others where it is ours, and tells which one it is."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        found = os.fstat(descriptor)
        if stat.S_IMODE(found.st_mode) & 0o077 and found.st_uid == os.geteuid():
            os.fchmod(descriptor, 0o600)
        return _identity(found)
    finally:
        os.close(descriptor)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _name_of(problem: BaseException | None) -> str:
    return getattr(problem, "sqlite_errorname", "")
