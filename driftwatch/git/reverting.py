"""A revert, opened as a branch: some paths as they were at an earlier commit, on top of the branch's head.

    what differs → a tree → a commit → a branch

All of it happens in the bare mirror, see `committing`; the branch is named and opened as `branches` does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from driftwatch.errors import RepositoryError
from driftwatch.git.branches import Opened, branch_of, names
from driftwatch.git.listing import TREE, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from driftwatch.git.branches import Branches
    from driftwatch.git.committing import Committer
    from driftwatch.git.listing import Entry, Listing

_LONGEST_SLUG = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Revert:
    """What is wanted: `paths` as they were at `commit`, in one commit on top of `onto`, under `message`.

    `stack` is only a name, of which the branch's is made.
    """

    stack: str
    commit: str
    onto: str
    paths: tuple[str, ...]
    message: str

    @property
    def branch(self) -> str:
        return branch_of("revert", self.stack, self.commit[:7], longest=_LONGEST_SLUG)

    @property
    def branches(self) -> tuple[str, ...]:
        """The names that it may have, in the order in which they are tried."""
        return names(self.branch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverter:
    """Opens reverts in one mirror, whose lock is held."""

    committer: Committer
    branches: Branches
    listing: Callable[[str], Listing]

    def open(self, revert: Revert) -> Opened:
        """Raises RemoteUnreachableError, RemoteRefusedError and others of RepositoryError."""
        changes = _changes(self.listing(revert.onto), self.listing(revert.commit), revert.paths)
        if not changes:
            return Opened(branch=None)
        tree = self.committer.tree(revert.onto, changes)
        self._expect_nothing_else(revert, tree)
        return self.branches.open(self.committer.commit(tree, [revert.onto], revert.message), revert.branch)

    def _expect_nothing_else(self, revert: Revert, tree: str) -> None:
        """A file that has come where a directory was, or the other way, would have to give way unasked."""
        within = _within(revert.paths)
        others = [path for path in self.committer.touched(revert.onto, tree) if not within(path)]
        if others:
            raise RepositoryError(
                f"the files of {printable(revert.stack)} cannot be put back alone:"
                f" {printable(others[0])}, which the stack does not read, is in their way",
                advice="Revert in Git by hand.",
            )


def _changes(now: Listing, then: Listing, paths: Sequence[str]) -> dict[str, Entry | None]:
    """What has to become of each path that differs: an entry, or None for one that was not there then."""
    here, there = _entries(now, paths), _entries(then, paths)
    gone: dict[str, Entry | None] = {path: None for path in here if path not in there}
    return gone | {
        path: entry
        for path, entry in there.items()
        if path not in here or (here[path].mode, here[path].object) != (entry.mode, entry.object)
    }


def _entries(listing: Listing, paths: Sequence[str]) -> dict[str, Entry]:
    within = _within(paths)
    return {path: entry for path, entry in listing.entries.items() if entry.mode != TREE and within(path)}


def _within(paths: Sequence[str]) -> Callable[[str], bool]:
    """Tells whether a path is one of these, or lies below one."""
    exact, below = frozenset(paths), tuple(f"{path}/" for path in paths)
    return lambda path: "." in exact or path in exact or path.startswith(below)
