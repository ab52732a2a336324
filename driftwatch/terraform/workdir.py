"""A stack's own directory: what is kept of it between plans, and the lock that keeps two plans apart."""

from __future__ import annotations

import fcntl
import hashlib
import secrets
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from driftwatch.errors import DiskFullError, EngineInterruptedError, EngineTimeoutError
from driftwatch.terraform.module import LOCK_FILE

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

_LONGEST_SOCKET_DIRECTORY = 70
"""Providers make a Unix socket in TMPDIR, whose whole path may have 107 bytes (103 on macOS)."""

_TRY_AGAIN = 0.2

DATA_DIRECTORY = ".terraform"
"""TF_DATA_DIR, where terraform has it by itself: `path.module` of a downloaded module begins with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir:
    """`root` is the stack's alone. Its parts are made when they are needed."""

    root: Path

    @property
    def tree(self) -> Path:
        """The stack's copy of its directory, which is made anew for every plan."""
        return self.root / "tree"

    @property
    def _data(self) -> Path:
        """The data directory, while the tree is made anew."""
        return self.root / "data"

    @property
    def lock_file(self) -> Path:
        """The dependency lock file that `init` made, for code that comes with none."""
        return self.root / LOCK_FILE

    @property
    def _initialised(self) -> Path:
        return self.root / "initialised"

    @property
    def initialised_from(self) -> str | None:
        """Names the last successful `init` here, another one each time; None where there was none."""
        try:
            return self._initialised.read_text(encoding="ascii")
        except FileNotFoundError:
            return None

    def is_initialised(self, digest: str) -> bool:
        """Whether the last successful `init` here worked from the same inputs."""
        return (self.initialised_from or "").partition(" ")[0] == digest

    def remember(self, digest: str) -> None:
        """What it downloaded may be new, though all that it worked from is the same."""
        self._initialised.write_text(f"{digest} {secrets.token_hex(8)}", encoding="ascii")

    def forget(self) -> None:
        """The next plan begins with an `init`."""
        self._initialised.unlink(missing_ok=True)

    def set_aside(self, place: Path) -> None:
        """Takes the data directory out of the tree at `place`, if there is one."""
        if (place / DATA_DIRECTORY).is_dir():
            shutil.rmtree(self._data, ignore_errors=True)
            (place / DATA_DIRECTORY).rename(self._data)

    def put_back(self, place: Path, *, lock_file: bool) -> None:
        """Puts it into the new tree, and with `lock_file` the lock file of our own too."""
        if self._data.is_dir():
            self._data.rename(place / DATA_DIRECTORY)
        if lock_file and self.lock_file.exists():
            shutil.copyfile(self.lock_file, place / LOCK_FILE)


@contextmanager
def held(path: Path, stop: threading.Event, seconds: float, *, shared_by: str) -> Iterator[IO[str]]:
    """Holds the lock file `path`, waiting for it at most `seconds`; whoever inherits it holds it too.

    Raises EngineTimeoutError naming `shared_by`, or EngineInterruptedError where `stop` comes first.
    """
    give_up = time.monotonic() + seconds
    with path.open("a", encoding="ascii") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                _wait(stop, give_up, shared_by)
        yield file


def _wait(stop: threading.Event, give_up: float, shared_by: str) -> None:
    if stop.wait(_TRY_AGAIN):
        raise EngineInterruptedError(f"stopped while waiting for {shared_by}")
    if time.monotonic() >= give_up:
        raise EngineTimeoutError(
            f"{shared_by} was in use for too long", advice="See what else runs; it is tried again later."
        )


def prepare(root: Path, cache: Path, least_free: int) -> Workdir:
    """Makes the directory, its owner's alone.

    Raises DiskFullError where it or the cache of providers has less than `least_free` bytes of free space.

    Everything lies below `.terraform`, a name that no stack's path can have in it: directories of stacks may
    lie inside each other, as their paths do.
    """
    workdir = existing(root)
    workdir.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for directory in (workdir.root, cache):
        expect_space(directory, least_free)
    return workdir


def existing(root: Path) -> Workdir:
    """The directory as `prepare` makes it, made or not."""
    return Workdir(root=root / ".terraform")


def expect_space(directory: Path, least: int) -> None:
    """Raises DiskFullError where fewer than `least` bytes are free; the directory need not be there."""
    there = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < least:
        raise DiskFullError(
            f"only {free >> 20} MB are free where {directory} is; work starts with {least >> 20} MB",
            advice="Free some space, or lower `terraform.min_free_mb`; the last good result stands.",
        )


def fits_sockets(directory: Path) -> bool:
    """Whether providers can put their Unix sockets there."""
    return len(str(directory).encode()) <= _LONGEST_SOCKET_DIRECTORY


def digest_of(path: Path) -> str | None:
    """The SHA-256 of a file, None where there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None
