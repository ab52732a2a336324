"""Edits of a repository's files, made in the mirror alone: tried first, offered when they hold.

A draft is a commit on top of one of the branch's. It is looked at like any other before it may be checked
out, and kept by a ref of ours until newer ones have taken its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from driftwatch.errors import UnsafeRepositoryError
from driftwatch.git.listing import TREE, Entry, LeavesCheckoutError, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from driftwatch.git.committing import Committer
    from driftwatch.git.listing import Listing

_PLAIN = "100644"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """What is wanted: `files` by path from the repository's root, in one commit on top of `onto`.

    Each is the whole new content; None deletes the file.
    """

    onto: str
    files: Mapping[str, bytes | None]
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafter:
    """Makes drafts in one mirror, whose lock is held."""

    committer: Committer
    listing: Callable[[str], Listing]

    def draft(self, edits: Edits) -> str:
        """The commit. Raises UnsafeRepositoryError for a path that is no file, or not ours to write."""
        now = self.listing(edits.onto)
        changes: dict[str, Entry | None] = {}
        for path, content in edits.files.items():
            before = _file(now, path)
            if content is not None:
                changes[path] = self._entry(path, before, content)
            elif before is not None:
                changes[path] = None
        tree = self.committer.tree(edits.onto, changes)
        others = set(self.committer.touched(edits.onto, tree)) - changes.keys()
        if others:
            raise _refused(min(others), "would have to give way")
        commit = self.committer.commit(tree, [edits.onto], edits.message)
        self.listing(commit)
        return commit

    def _entry(self, path: str, before: Entry | None, content: bytes) -> Entry:
        written = self.committer.git.ask("hash-object", "-w", "--stdin", "-t", "blob", stdin=content)
        mode = before.mode if before else _PLAIN
        return Entry(path=path, mode=mode, object=written.decode().strip(), size=len(content))


def _file(listing: Listing, path: str) -> Entry | None:
    """The file that is there now; None for a new one. No symlink is followed: it may be another's file."""
    try:
        straight = path not in ("", ".") and listing.resolve(path) == path
    except LeavesCheckoutError as exc:
        raise _refused(path, str(exc)) from exc
    entry = listing.entries.get(path)
    if not straight:
        raise _refused(path, "is not the file's own path")
    if listing.submodule_of(path) is not None:
        raise _refused(path, "lies in a submodule")
    if entry is not None and not entry.is_file:
        raise _refused(path, "is a directory" if entry.mode == TREE else "is no file")
    return entry


def _refused(path: str, why: str) -> UnsafeRepositoryError:
    return UnsafeRepositoryError(f"the file {printable(path)} cannot be edited: it {why}")
