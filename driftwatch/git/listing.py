"""What is in a commit, read from git's tree objects before anything of it is on the disk.

A `Listing` is used only of a commit that is safe to materialise: no path that means something else to a file
system, no symlink that leads out of the checkout, nothing over the caps. Whatever is later asked about a
commit (its stacks, its content, its digests) is asked of its listing: an unsafe commit gets no further. Pure.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from driftwatch.errors import RepositoryTooLargeError, UnsafeRepositoryError
from driftwatch.log import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

TREE, LINK, SUBMODULE = "040000", "120000", "160000"
_FILES = frozenset({"100644", "100664", "100755"})

_LONGEST_TARGET = 4096
"""Linux's PATH_MAX: no longer symlink can be made."""
_ALL_TARGETS = 4 << 20
_LONGEST_CHAIN = 40
"""Linux follows no more links than this in one path (`MAXSYMLINKS`)."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HFS_IGNORES = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
"""Code points that HFS+ drops from names; git's `is_hfs_dotgit` has the same list."""

_LFS_POINTER = re.compile(rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/v\d")
_LONGEST_LFS_POINTER = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One path of a commit: `mode` as git writes it, `object` its hash, `size` in bytes (0 for no blob)."""

    path: str
    mode: str
    object: str
    size: int

    @property
    def is_file(self) -> bool:
        return self.mode in _FILES


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What a repository may cost: bytes of content and number of files of one commit."""

    bytes: int
    files: int


class LeavesCheckoutError(Exception):
    """A path that ends outside of the checkout, or nowhere."""


@dataclass(slots=True)
class Listing:
    """All paths of one commit, directories too. `links` maps each symlink's path to its target as written."""

    commit: str
    entries: Mapping[str, Entry]
    links: Mapping[str, str] = field(default_factory=dict)
    _finals: dict[str, str] = field(default_factory=dict)
    _resolved: dict[str, str] = field(default_factory=dict)
    _seen: dict[str, tuple[str, str, Sequence[str]]] = field(default_factory=dict)
    _links_under: dict[str, list[str]] = field(default_factory=dict)
    """Each directory that has symlinks somewhere below it, with these."""

    def resolve(self, path: str) -> str:
        """Where `path` really lies, every symlink on its way followed; it need not exist.

        Raises LeavesCheckoutError where it leaves the checkout in any step, enters `.git` or goes in circles.
        """
        entry = self.entries.get(path)
        if entry is not None and entry.mode != LINK:
            return path  # git has no entry whose path leads through a symlink
        known = self._resolved.get(path)
        if known is None:
            known = self._resolved[path] = self._walk(path, [], ())
        return known

    def find(self, path: str) -> Entry | None:
        """The entry that `path` leads to; None where there is none."""
        return self.entries.get(self.resolve(path))

    def digest(self, paths: Iterable[str]) -> str:
        """A digest over the content of these paths, and of all that symlinks in them lead to."""
        lines: dict[str, str] = {}
        todo = list(paths)
        while todo:
            path, content, further = self._look(todo.pop())
            if path not in lines:
                lines[path] = content
                todo += further
        text = "".join(f"{path}\0{content}\0" for path, content in sorted(lines.items()))
        return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()

    def submodules(self) -> tuple[str, ...]:
        return tuple(entry.path for entry in self.entries.values() if entry.mode == SUBMODULE)

    def submodule_of(self, path: str) -> Entry | None:
        """The submodule that `path` lies in, whose content this commit only names."""
        parts = path.split("/")
        for length in range(len(parts) - 1, 0, -1):
            entry = self.entries.get("/".join(parts[:length]))
            if entry is not None:
                return entry if entry.mode == SUBMODULE else None
        return None

    def _walk(self, path: str, at: list[str], active: tuple[str, ...]) -> str:
        if path.startswith("/"):
            raise LeavesCheckoutError("is absolute")
        for part in path.split("/"):
            if part in ("", "."):
                continue
            if part == "..":
                if not at:
                    raise LeavesCheckoutError("leaves the checkout")
                at.pop()
                continue
            if _is_dot_git(part):
                raise LeavesCheckoutError("enters .git")
            at.append(part)
            here = "/".join(at)
            if here in self.links:
                at[:] = [step for step in self._final(here, active).split("/") if step != "."]
        return "/".join(at) or "."

    def _final(self, link: str, active: tuple[str, ...]) -> str:
        if link not in self._finals:
            if link in active or len(active) >= _LONGEST_CHAIN:
                raise LeavesCheckoutError("goes in circles")
            beside = [step for step in posixpath.dirname(link).split("/") if step]
            self._finals[link] = self._walk(self.links[link], beside, (*active, link))
        return self._finals[link]

    def _look(self, asked: str) -> tuple[str, str, Sequence[str]]:
        """Where a path leads, what is there, and where symlinks below it lead.

        It is looked up once: a thousand stacks share their modules, and the places where a file could be.
        """
        if asked not in self._seen:
            path = self._resolved_or_as_written(asked)
            self._seen[asked] = path, self._content(path), self._targets_under(path)
        return self._seen[asked]

    def _resolved_or_as_written(self, path: str) -> str:
        try:
            return self.resolve(path)
        except LeavesCheckoutError:
            return path

    def _content(self, path: str) -> str:
        if path == ".":
            top = (entry for entry in self.entries.values() if "/" not in entry.path)
            return " ".join(f"{entry.path}={entry.mode}={entry.object}" for entry in top)
        entry = self.entries.get(path) or self.submodule_of(path)
        return f"{entry.mode}={entry.object}" if entry else "missing"

    def _targets_under(self, path: str) -> list[str]:
        if self.links and not self._links_under:
            self._links_under = self._indexed()
        under = self.links if path == "." else self._links_under.get(path, ())
        return [self._resolved_or_as_written(link) for link in under]

    def _indexed(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for link in self.links:
            parts = link.split("/")
            for length in range(1, len(parts)):
                found.setdefault("/".join(parts[:length]), []).append(link)
        return found


def parse(printed: bytes) -> Iterator[Entry]:
    """Reads `git ls-tree -r -t -l -z --full-tree`."""
    for record in printed.split(b"\0"):
        if record:
            words, _, path = record.partition(b"\t")
            mode, _, name, size = words.decode().split()
            yield Entry(
                path=path.decode(errors="surrogateescape"),
                mode=mode,
                object=name,
                size=0 if size == "-" else int(size),
            )


def check_entries(name: str, entries: Sequence[Entry], caps: Caps) -> None:
    """Raises UnsafeRepositoryError or RepositoryTooLargeError for what must not come onto the disk."""
    blobs = [entry for entry in entries if entry.mode != TREE]
    if len(blobs) > caps.files:
        raise too_many_files(name, caps)
    _check_sizes(name, blobs, caps)
    solid: set[str] = set()
    for entry in blobs:
        if entry.path in solid:
            raise _unsafe(name, entry.path, "is there twice")
        solid.add(entry.path)
    for entry in entries:
        _check_path(name, entry)
        if posixpath.dirname(entry.path) in solid:
            raise _unsafe(name, entry.path, "lies beneath a file or a symlink")


def too_many_files(name: str, caps: Caps) -> RepositoryTooLargeError:
    """The error for a commit that names more files than allowed."""
    return RepositoryTooLargeError(
        f"repository {name} has more files than the {caps.files} that are allowed",
        advice=f"Raise `max_files` of repositories.{name}, or make the repository smaller.",
    )


def check_links(name: str, listing: Listing) -> None:
    """Raises UnsafeRepositoryError for a symlink that leads out, straight or in any of its steps."""
    for link in listing.links:
        try:
            listing.resolve(link)
        except LeavesCheckoutError as exc:
            target = printable(listing.links[link])
            raise _unsafe(name, link, f"is a symlink that {exc} (it says {target})") from exc


def links(name: str, entries: Iterable[Entry]) -> dict[str, Entry]:
    """The symlinks by path; raises UnsafeRepositoryError where their targets are too much to look at."""
    found = {entry.path: entry for entry in entries if entry.mode == LINK}
    for entry in found.values():
        if entry.size > _LONGEST_TARGET:
            raise _unsafe(name, entry.path, f"is a symlink whose target is {entry.size} bytes long")
    if sum(entry.size for entry in found.values()) > _ALL_TARGETS:
        raise UnsafeRepositoryError(f"the symlinks of repository {name} are too many to follow")
    return found


def is_lfs_pointer(content: bytes) -> bool:
    """True where a file is not its content but Git LFS's note of where that lies."""
    return len(content) <= _LONGEST_LFS_POINTER and _LFS_POINTER.match(content) is not None


def printable(path: str) -> str:
    """A path as it may stand in a message: undecodable bytes and control characters are escaped."""
    raw = path.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return redact(_CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", raw))


def _check_sizes(name: str, blobs: Sequence[Entry], caps: Caps) -> None:
    total = sum(entry.size for entry in blobs)
    if total > caps.bytes:
        largest = max(blobs, key=lambda entry: entry.size)
        raise RepositoryTooLargeError(
            f"the files of repository {name} are {total >> 20} MB, more than the {caps.bytes >> 20} MB"
            f" that are allowed; the largest is {printable(largest.path)} with {largest.size >> 20} MB",
            advice=f"Raise `max_size_mb` of repositories.{name}, or make the repository smaller.",
        )


def _check_path(name: str, entry: Entry) -> None:
    if entry.mode not in _FILES and entry.mode not in (TREE, LINK, SUBMODULE):
        raise _unsafe(name, entry.path, f"has the unknown mode {entry.mode}")
    if _CONTROL.search(entry.path):
        raise _unsafe(name, entry.path, "holds control characters")
    for part in entry.path.split("/"):
        if part in ("", ".", "..") or _is_dot_git(part):
            raise _unsafe(name, entry.path, "is a path that git or the file system takes for another")


@lru_cache(maxsize=1 << 16)
def _is_dot_git(part: str) -> bool:
    """True for `.git` and all that some file system would open as `.git`."""
    plain = _HFS_IGNORES.sub("", part).casefold()
    return any(
        piece.split(":", 1)[0].rstrip(". ") in (".git", "git~1") for piece in plain.split("\\") if piece
    )


def _unsafe(name: str, path: str, why: str) -> UnsafeRepositoryError:
    return UnsafeRepositoryError(
        f"repository {name} is refused: {printable(path)} {why}",
        advice="Remove it from the branch. Nothing of this commit has been written to disk.",
    )
