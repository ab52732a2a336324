"""A lock that other processes respect too, and that a dead holder gives back by dying.

Git processes that are started under it hold it with us (`Git.run(holding=…)`): whoever gets the lock knows
that no earlier git is still at work, so any lock file of git's that is left is a leftover.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from driftwatch.errors import RepositoryBusyError, RepositoryInterruptedError

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

_PAUSE = 0.02


@contextmanager
def locked(path: Path, *, seconds: float, stop: threading.Event) -> Iterator[int]:
    """Holds the lock file at `path` and gives its descriptor; waits for it up to `seconds`.

    Raises RepositoryBusyError when the time is over, RepositoryInterruptedError when `stop` is set meanwhile.
    """
    descriptor = _open(path)
    try:
        deadline = time.monotonic() + seconds
        while not _taken(descriptor):
            if time.monotonic() > deadline:
                raise RepositoryBusyError(
                    f"another process has held {path} for more than {seconds:g} s",
                    advice="Nothing is lost: the next poll tries again.",
                )
            if stop.wait(_PAUSE):
                raise RepositoryInterruptedError(f"stopped while waiting for {path}")
        yield descriptor
    finally:
        os.close(descriptor)


def try_lock(path: Path) -> int | None:
    """The descriptor of the lock file at `path`, ours until it is closed; None where somebody holds it."""
    descriptor = _open(path)
    if _taken(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
