"""Commits made in the bare mirror: an index of their own, no checkout, nothing of the repository runs.

Neither the repository's hooks nor its filters and settings have a say, and no file of it comes onto the disk.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  (dataclass fields are read at run time)
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from driftwatch.git.command import Git
    from driftwatch.git.listing import Entry

AUTHOR = ("driftwatch", "driftwatch@localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Committer:
    """Makes commits in one mirror, whose lock is held. `scratch` is a directory that nobody else uses."""

    git: Git
    scratch: Path
    seconds: float
    clock: Callable[[], datetime]

    def tree(self, onto: str, changes: Mapping[str, Entry | None]) -> str:
        """The tree of `onto` with each of these paths as said: an entry, or None for one that goes."""
        shutil.rmtree(self.scratch, ignore_errors=True)  # what a crash has left
        self.scratch.mkdir(mode=0o700)
        try:
            git = self.git.having(variables={"GIT_INDEX_FILE": str(self.scratch / "index")})
            git.ask("read-tree", onto, seconds=self.seconds)
            lines = b"".join(_index_lines(changes, len(onto)))
            git.ask("update-index", "-z", "--index-info", stdin=lines, seconds=self.seconds)
            return git.ask("write-tree", seconds=self.seconds).decode().strip()
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def commit(self, tree: str, parents: Sequence[str], message: str) -> str:
        """A commit by driftwatch, now."""
        name, address = AUTHOR
        at = self.clock().isoformat()
        git = self.git.having(
            variables={
                f"GIT_{role}_{what}": value
                for role in ("AUTHOR", "COMMITTER")
                for what, value in (("NAME", name), ("EMAIL", address), ("DATE", at))
            }
        )
        of = (part for parent in parents for part in ("-p", parent))
        return git.ask("commit-tree", tree, *of, stdin=message.encode(errors="replace")).decode().strip()

    def touched(self, old: str, new: str, *, limit: int | None = None) -> tuple[str, ...]:
        """The paths that differ between two commits or trees, both names of what was renamed."""
        printed = self.git.ask(
            *("diff-tree", "-r", "-z", "--no-renames", "--name-only", old, new),
            seconds=self.seconds,
            limit=limit,
        )
        return tuple(name.decode(errors="surrogateescape") for name in printed.split(b"\0") if name)


def _index_lines(changes: Mapping[str, Entry | None], width: int) -> Iterator[bytes]:
    """What `update-index -z --index-info` reads; mode 0 removes."""
    for path, entry in changes.items():
        mode, name = (entry.mode, entry.object) if entry else ("0", "0" * width)
        yield f"{mode} {name}\t".encode() + path.encode(errors="surrogateescape") + b"\0"
