"""One daemon per state directory: a kernel lock on `daemon.lock`, and in the file, who holds it.

The kernel releases the lock when the process is gone, however it went; the file stays and says nothing then.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from driftwatch.errors import DiskFullError, StateDirectoryHeldError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

LOCK_FILE = "daemon.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who wrote the lock file last."""

    pid: int
    host: str
    since: datetime

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since.isoformat(timespec='seconds')}"


class StateLock:
    """A state directory that is ours until `release()`; see `StateLock.acquire`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, state_dir: Path, *, clock: Callable[[], datetime]) -> Self:
        """Takes the lock at once or raises StateDirectoryHeldError, which says who has it.

        Raises UsageError where the directory cannot be made or written, DiskFullError where it is full.
        """
        path = state_dir / LOCK_FILE
        try:
            state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise _unusable(state_dir, exc) from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write(descriptor, Holder(pid=os.getpid(), host=socket.gethostname(), since=clock()))
        except BlockingIOError as exc:
            os.close(descriptor)
            raise _held(state_dir) from exc
        except OSError as exc:
            os.close(descriptor)
            raise _unusable(state_dir, exc) from exc
        return cls(descriptor)

    def release(self) -> None:
        """Gives the directory free; safe to call again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def node_name(state_dir: Path) -> str:
    """What the store knows the daemon of this state directory by: the machine's name and the directory."""
    return f"{socket.gethostname()}:{state_dir.resolve()}"


def last_holder(state_dir: Path) -> Holder | None:
    """Who wrote the lock file last, alive or not; None where nobody did or the file says something else."""
    try:
        content = json.loads((state_dir / LOCK_FILE).read_text())
        since = datetime.fromisoformat(content["since"])
        return Holder(pid=int(content["pid"]), host=str(content["host"]), since=since.astimezone(UTC))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(descriptor: int, holder: Holder) -> None:
    content = {"pid": holder.pid, "host": holder.host, "since": holder.since.isoformat()}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(content).encode() + b"\n", 0)


def _held(state_dir: Path) -> StateDirectoryHeldError:
    holder = last_holder(state_dir)
    return StateDirectoryHeldError(
        f"another daemon holds the state directory {state_dir}: {holder or 'it has not said who it is'}",
        advice="Stop that one first, or give this one a `state_dir` of its own.",
    )


def _unusable(state_dir: Path, error: OSError) -> UsageError | DiskFullError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(f"no space left for the state directory {state_dir}")
    return UsageError(
        f"the state directory {state_dir} cannot be used: {error.strerror}",
        advice="Set `state_dir` to a directory that this user may write.",
    )
