"""Files of our own beside the database: made private, written durably, their errors translated."""

from __future__ import annotations

import errno
import os
import stat
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from driftwatch.errors import DiskFullError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


_PARTIAL = ".part"


@contextmanager
def translated_files(path: Path) -> Iterator[None]:
    """Turns what the file system says into DiskFullError or StoreUnavailableError."""
    try:
        yield
    except OSError as problem:
        place = problem.filename or path
        if problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DiskFullError(f"no space left to write {place}", advice="Free some space.") from problem
        raise StoreUnavailableError(
            f"{place} cannot be used: {problem.strerror}",
            advice="driftwatch needs to read and write its state directory.",
        ) from problem


def make_private_directory(path: Path, *, ours: Sequence[str] = ()) -> None:
    """Makes a directory that only we can enter.

    One that is there already is closed to others only where it is empty or holds one of the files `ours`: a
    state directory that somebody set to a shared place must not be taken from the others there.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.stat()
    if not stat.S_IMODE(found.st_mode) & 0o077 or found.st_uid != os.geteuid():
        return
    names = {entry.name for entry in path.iterdir()}
    if not names or names.intersection(ours):
        path.chmod(0o700)


def write_private(path: Path, content: bytes) -> None:
    """Writes a new file, readable by us alone, so that it is whole on disk before this returns.

    Raises FileExistsError where there is one of that name.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}{_PARTIAL}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    sync_directory(path.parent)


def sweep_partial(directory: Path) -> None:
    """Removes what `write_private` left half written in processes that are gone."""
    for path in directory.glob(f".*{_PARTIAL}"):
        writer = path.name.split(".")[-3]
        if writer.isdigit() and not _runs(int(writer)):
            path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # it runs, and is somebody else's
    return True


def sync_directory(path: Path) -> None:
    """Makes the names in a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
