"""The spool: results that the database could not take, kept as private files until it can.

One file per result, numbered, whole on disk before `save` returns. They are replayed in their order; what was
already written finds itself in the database, so that a crash between the two doubles nothing.
"""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from pydantic import TypeAdapter, ValidationError

from driftwatch import log
from driftwatch.errors import FencedOffError, Remedy, StoreError
from driftwatch.model import CheckResult, Job, StackDeclaration  # noqa: TC001  (pydantic reads the fields)
from driftwatch.store.codec import writable_result
from driftwatch.store.files import (
    make_private_directory,
    sweep_partial,
    sync_directory,
    translated_files,
    write_private,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from driftwatch.store.values import Recorded

SPOOL_DIRECTORY = "spool"
_SUFFIX = ".json"
_ASIDE = ".unreadable"

logger = log.get("spool")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """All that `record_check` needs to know."""

    result: CheckResult
    declaration: StackDeclaration
    channels: tuple[str, ...]
    job: Job | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """What a drain did: what was recorded, how many a later check made needless, what is unreadable."""

    recorded: tuple[Recorded, ...] = ()
    overtaken: int = 0
    set_aside: tuple[Path, ...] = ()


class Recorder(Protocol):
    """Where results belong; the store is one."""

    def record_check(
        self,
        result: CheckResult,
        *,
        declaration: StackDeclaration,
        channels: Sequence[str],
        job: Job | None = None,
        late: bool = False,
    ) -> Recorded: ...


class Spool:
    """The results that wait in one state directory. Thread-safe."""

    def __init__(self, state_dir: Path) -> None:
        self.directory = state_dir / SPOOL_DIRECTORY
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with translated_files(self.directory):
            return len(self._waiting())

    def save(
        self,
        result: CheckResult,
        *,
        declaration: StackDeclaration,
        channels: Sequence[str],
        job: Job | None = None,
    ) -> Path:
        """Keeps a result, safe on disk when this returns. Raises DiskFullError or StoreUnavailableError."""
        entry = _Entry(
            result=writable_result(result), declaration=declaration, channels=tuple(channels), job=job
        )
        content = TypeAdapter(_Entry).dump_json(entry)
        with self._lock, translated_files(self.directory):
            make_private_directory(self.directory)
            return self._write(content)

    def drain(self, store: Recorder) -> Drained:
        """Writes what waits, oldest first, each once.

        A file that is no result is set aside and told in the log; it does not hold up the others. Raises what
        the store raises while it still cannot write: what waits goes on waiting.
        """
        drained = Drained()
        with self._lock, translated_files(self.directory), self._alone() as mine:
            if mine:
                sweep_partial(self.directory)
            for path in self._waiting() if mine else ():
                drained = self._replay(path, store, drained)
        return drained

    def _replay(self, path: Path, store: Recorder, drained: Drained) -> Drained:
        try:
            entry = TypeAdapter(_Entry).validate_json(path.read_bytes())
            recorded = store.record_check(
                entry.result,
                declaration=entry.declaration,
                channels=entry.channels,
                job=entry.job,
                late=True,
            )
        except FencedOffError as problem:
            logger.info(
                "A kept result was overtaken by a later check.", action="spool", reason=problem.message
            )
            self._remove(path)
            return replace(drained, overtaken=drained.overtaken + 1)
        except (ValidationError, StoreError) as problem:
            if isinstance(problem, StoreError) and problem.remedy is Remedy.RETRY:
                raise
            return replace(drained, set_aside=(*drained.set_aside, self._set_aside(path, problem)))
        self._remove(path)
        return replace(drained, recorded=(*drained.recorded, recorded))

    def _set_aside(self, path: Path, problem: Exception) -> Path:
        aside = path.with_name(f"{path.name}{_ASIDE}")
        path.replace(aside)
        sync_directory(self.directory)
        logger.error(
            "A kept result cannot be written and is set aside; the next check of its stack makes up for it.",
            action="spool",
            file=str(aside),
            reason=problem.message if isinstance(problem, StoreError) else "it is not a result",
        )
        return aside

    def _remove(self, path: Path) -> None:
        path.unlink()
        sync_directory(self.directory)

    def _waiting(self) -> list[Path]:
        return sorted(self.directory.glob(f"[0-9]*{_SUFFIX}"))

    def _write(self, content: bytes) -> Path:
        """Takes the next free number; another process may be taking it too."""
        while True:
            names = sorted(self.directory.glob("[0-9]*"))
            number = int(names[-1].name.partition(".")[0]) + 1 if names else 1
            path = self.directory / f"{number:012d}{_SUFFIX}"
            try:
                write_private(path, content)
            except FileExistsError:
                continue
            return path

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """False where another process drains already, or where nothing was ever kept."""
        if not self.directory.is_dir():
            yield False
            return
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield True
        except BlockingIOError:
            yield False
        finally:
            os.close(descriptor)
