"""Checkouts: one read-only worktree for each commit in use, shared by the checks at that commit.

A worktree is counted in when a check enters and removed when the last one leaves, except that of the newest
good commit, which the next check will want: that one stays until the branch moves or the mirror is closed.
Each worktree's lock file is held by the process that made it, so a later process knows what a crash left.
"""

from __future__ import annotations

import os
import shutil
import stat
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003  (dataclass fields are read at run time)
from typing import TYPE_CHECKING, cast

from driftwatch import log
from driftwatch.errors import DriftwatchError
from driftwatch.git.command import translated
from driftwatch.git.lock import locked, try_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_READ_ONLY = ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
_LOCK_SECONDS = 600

logger = log.get("git")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a worktree lies, and the descriptor of the lock file that says it is ours."""

    path: Path
    descriptor: int


@dataclass(slots=True)
class _Held:
    """One commit in use. Whoever builds its worktree holds `building`, and the others wait there."""

    users: int = 0
    place: _Place | None = None
    building: threading.Lock = field(default_factory=threading.Lock)


class Worktrees:
    """The checkouts of one mirror. `build(commit, path, lock)` makes one; `prune(lock)` forgets gone ones."""

    def __init__(
        self,
        directory: Path,
        *,
        build: Callable[[str, Path, int], None],
        prune: Callable[[int], None],
        stop: threading.Event,
    ) -> None:
        self._directory = directory
        self._build = build
        self._prune = prune
        self._stop = stop
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._newest: str | None = None

    @contextmanager
    def hold(self, commit: str) -> Iterator[Path]:
        """The checkout of `commit`, built where there is none yet, until the block is left."""
        with self._lock:
            held = self._held.setdefault(commit, _Held())
            held.users += 1
        try:
            with held.building, translated():
                if held.place is None or not held.place.path.is_dir():
                    self._make(commit, held)
            place = cast("_Place", held.place)
            yield place.path
        finally:
            self._leave(commit, held)

    def keep(self, commit: str | None) -> None:
        """Names the commit whose worktree may stay while nobody uses it; removes the one of before."""
        with self._lock:
            self._newest = commit
            unused = [name for name, held in self._held.items() if not held.users and name != commit]
            gone = [self._held.pop(name) for name in unused]
        self._remove(gone)

    def sweep(self) -> int:
        """Removes the worktrees that no living process holds: those of a crash. Returns how many."""
        if not self._directory.is_dir():
            return 0
        swept = 0
        with self._locked(self._stop) as lock:
            for path in sorted(self._directory.glob("*.lock")):
                if (descriptor := try_lock(path)) is not None:
                    swept += _clear(_Place(path=path.with_suffix(""), descriptor=descriptor))
            if swept:
                self._prune(lock)
        if swept:
            logger.info("Removed worktrees that a crash had left.", action="sweep", count=swept)
        return swept

    def _make(self, commit: str, held: _Held) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked(self._stop) as lock:
            if held.place is not None:  # somebody removed the directory behind our back
                _clear(held.place)
                held.place = None
            place = self._free_place(commit)
            try:
                if place.path.exists():
                    _delete(place.path)
                self._prune(lock)
                self._build(commit, place.path, lock)
                _make_read_only(place.path)
            except BaseException:
                _clear(place)
                raise
            held.place = place

    def _free_place(self, commit: str) -> _Place:
        """The same path for the same commit wherever possible: some plans have absolute paths in them."""
        path = self._directory / commit
        number = 0
        while (descriptor := try_lock(path.with_name(f"{path.name}.lock"))) is None:
            number += 1
            path = self._directory / f"{commit}-{number}"
        return _Place(path=path, descriptor=descriptor)

    def _leave(self, commit: str, held: _Held) -> None:
        with self._lock:
            held.users -= 1
            if held.users or (commit == self._newest and held.place is not None):
                return
            self._held.pop(commit, None)
        self._remove([held])

    def _remove(self, gone: Sequence[_Held]) -> None:
        """Never raises: a check that has its result must not fail for what it leaves behind."""
        places = [held.place for held in gone if held.place is not None]
        if not places:
            return
        try:
            with translated(), self._locked(threading.Event()) as lock:
                for place in places:
                    _clear(place)
                self._prune(lock)
        except DriftwatchError as problem:
            logger.warning(
                "A worktree could not be removed; the next start tries again.",
                action="checkout",
                error=problem.code,
                reason=problem.message,
            )

    @contextmanager
    def _locked(self, stop: threading.Event) -> Iterator[int]:
        path = self._directory.with_name(f"{self._directory.name}.lock")
        with locked(path, seconds=_LOCK_SECONDS, stop=stop) as lock:
            yield lock


def _clear(place: _Place) -> bool:
    """Deletes one worktree and gives its place back; True where there was one."""
    was_there = place.path.exists()
    try:
        if was_there:
            _delete(place.path)
        place.path.with_name(f"{place.path.name}.lock").unlink(missing_ok=True)
    finally:
        os.close(place.descriptor)
    return was_there


def _make_read_only(path: Path) -> None:
    for directory, _, files in os.walk(path):
        for name in files:
            file = os.path.join(directory, name)  # noqa: PTH118  # 100,000 times: Path objects would double the time
            mode = os.lstat(file).st_mode
            if stat.S_ISREG(mode):
                os.chmod(file, stat.S_IMODE(mode) & _READ_ONLY)  # noqa: PTH101
        os.chmod(directory, stat.S_IMODE(os.stat(directory).st_mode) & _READ_ONLY)  # noqa: PTH101, PTH116


def _delete(path: Path) -> None:
    """Removes a tree whose directories may be read-only. Never follows a symlink."""
    for directory, _, _ in os.walk(path):
        with suppress(FileNotFoundError):
            os.chmod(directory, 0o700)  # noqa: PTH101
    shutil.rmtree(path)
