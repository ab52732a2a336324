"""A revert, opened as a branch: some paths as they were at an earlier commit, on top of the branch's head.

    what differs → a tree → is there such a branch? → a commit → push

All of it happens in the bare mirror, with an index of its own: no file of the repository is written to the
disk, and none of its hooks, filters and settings has a say. What is pushed is one new branch, whose name is
made here; never by force, and never the branch that stacks are deployed from.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  (dataclass fields are read at run time)
from typing import TYPE_CHECKING

from driftwatch.errors import RemoteRefusedError, RepositoryError
from driftwatch.git.command import Ending
from driftwatch.git.listing import TREE, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from driftwatch.git.command import Git, Output
    from driftwatch.git.listing import Entry, Listing
    from driftwatch.git.remote import Remote

MOST_BRANCHES = 9
"""Of one stack and commit. Whoever needs more has not looked at those that are there."""

AUTHOR = ("driftwatch", "driftwatch@localhost")

_LONGEST_SLUG = 80
_LONGEST_REASON = 200
_LARGEST_ANSWER = 1 << 20
_SEEN = "refs/driftwatch/revert"
"""Where a branch that is there already is fetched to, for as long as it is looked at."""


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
        slug = re.sub(r"[^a-z0-9]+", "-", self.stack.lower())[:_LONGEST_SLUG].strip("-")
        return f"driftwatch/revert-{slug or 'stack'}-{self.commit[:7]}"

    @property
    def branches(self) -> tuple[str, ...]:
        """The names that it may have, in the order in which they are tried."""
        more = (f"{self.branch}-{number}" for number in range(2, MOST_BRANCHES + 1))
        return (self.branch, *more)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The branch that has the revert; None where nothing differs. `is_new`: it was not there before."""

    branch: str | None
    is_new: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverter:
    """Opens reverts in one mirror, whose lock is held. `scratch` is a directory that nobody else uses.

    `settings` is a file with git's settings for the other end of a push, where that is on this machine.
    """

    git: Git
    remote: Remote
    lock: int
    scratch: Path
    settings: Path
    seconds: float
    listing: Callable[[str], Listing]
    too_large: Callable[[], bool]
    clock: Callable[[], datetime]

    def open(self, revert: Revert) -> Opened:
        """Raises RemoteUnreachableError, RemoteRefusedError and others of RepositoryError."""
        changes = _changes(self.listing(revert.onto), self.listing(revert.commit), revert.paths)
        if not changes:
            return Opened(branch=None)
        tree = self._tree(revert, changes)
        there = self._there(revert.branch)
        for branch in revert.branches:
            if branch == self.remote.branch:
                continue
            if branch not in there:
                self._push(self._commit(revert, tree), branch)
                return Opened(branch=branch, is_new=True)
            if self._tree_of(branch) == tree:
                return Opened(branch=branch)
        raise RepositoryError(
            f"the remote has {MOST_BRANCHES} branches {revert.branch} already, and none with these files",
            advice="Delete those that nobody needs any more.",
        )

    # ---- the commit ------------------------------------------------------------------------------------

    def _tree(self, revert: Revert, changes: Mapping[str, Entry | None]) -> str:
        shutil.rmtree(self.scratch, ignore_errors=True)  # what a crash has left
        self.scratch.mkdir(mode=0o700)
        try:
            git = self.git.having(variables={"GIT_INDEX_FILE": str(self.scratch / "index")})
            git.ask("read-tree", revert.onto, seconds=self.seconds)
            lines = b"".join(_index_lines(changes, len(revert.onto)))
            git.ask("update-index", "-z", "--index-info", stdin=lines, seconds=self.seconds)
            tree = git.ask("write-tree", seconds=self.seconds).decode().strip()
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)
        self._expect_nothing_else(revert, tree)
        return tree

    def _expect_nothing_else(self, revert: Revert, tree: str) -> None:
        """A file that has come where a directory was, or the other way, would have to give way unasked."""
        printed = self.git.ask(
            *("diff-tree", "-r", "-z", "--no-renames", "--name-only", revert.onto, tree),
            seconds=self.seconds,
        )
        touched = [name.decode(errors="surrogateescape") for name in printed.split(b"\0") if name]
        within = _within(revert.paths)
        if others := [path for path in touched if not within(path)]:
            raise RepositoryError(
                f"the files of {printable(revert.stack)} cannot be put back alone:"
                f" {printable(others[0])}, which the stack does not read, is in their way",
                advice="Revert in Git by hand.",
            )

    def _commit(self, revert: Revert, tree: str) -> str:
        name, address = AUTHOR
        at = self.clock().isoformat()
        git = self.git.having(
            variables={
                f"GIT_{role}_{what}": value
                for role in ("AUTHOR", "COMMITTER")
                for what, value in (("NAME", name), ("EMAIL", address), ("DATE", at))
            }
        )
        message = revert.message.encode(errors="replace")
        return git.ask("commit-tree", tree, "-p", revert.onto, stdin=message).decode().strip()

    # ---- the remote ------------------------------------------------------------------------------------

    def _there(self, branch: str) -> frozenset[str]:
        """The remote's branches whose names begin so."""
        output = self._talk("ls-remote", "--", self.remote.url, f"refs/heads/{branch}*")
        if not output.succeeded:
            raise self._failure(output)
        refs = [line.partition("\t")[2] for line in output.stdout.decode(errors="replace").splitlines()]
        return frozenset(ref.removeprefix("refs/heads/") for ref in refs)

    def _tree_of(self, branch: str) -> str | None:
        """What a branch of the remote holds; None where that is too large to be what we would push."""
        try:
            output = self._talk(
                *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--"),
                *(self.remote.url, f"+refs/heads/{branch}:{_SEEN}"),
                over_the_cap=self.too_large,
            )
            if output.ending is Ending.OVER_THE_CAP:
                return None
            if not output.succeeded:
                raise self._failure(output)
            return self.git.ask("rev-parse", "--verify", "--quiet", f"{_SEEN}^{{tree}}").decode().strip()
        finally:
            self.git.run("update-ref", "-d", _SEEN)

    def _push(self, commit: str, branch: str) -> None:
        output = self._talk(
            *("push", "--porcelain", "--no-verify", "--no-signed", "--no-follow-tags"),
            *("--recurse-submodules=no", "--", self.remote.url, f"{commit}:refs/heads/{branch}"),
            variables={"GIT_CONFIG_GLOBAL": str(self.settings)},
        )
        if output.succeeded:
            return
        if said := _rejection(output):
            where = f"the remote of {self.remote.name} ({self.remote.shown})"
            raise RemoteRefusedError(
                f"{where} did not take the branch {branch}: {said}",
                advice="Let driftwatch's token or key push branches below driftwatch/.",
                detail=output.detail or None,
            )
        raise self._failure(output)

    def _talk(
        self,
        *arguments: str,
        variables: Mapping[str, str] | None = None,
        over_the_cap: Callable[[], bool] = lambda: False,
    ) -> Output:
        git = self.git.having(
            settings=self.remote.settings, variables={**self.remote.variables, **(variables or {})}
        )
        return git.run(
            *arguments,
            seconds=self.seconds,
            limit=_LARGEST_ANSWER,
            over_the_cap=over_the_cap,
            holding=self.lock,
        )

    def _failure(self, output: Output) -> RepositoryError:
        return self.remote.failure(output, seconds=self.seconds, cap_mb=0, received=0)


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


def _index_lines(changes: Mapping[str, Entry | None], width: int) -> Iterator[bytes]:
    """What `update-index -z --index-info` reads; mode 0 removes."""
    for path, entry in changes.items():
        mode, name = (entry.mode, entry.object) if entry else ("0", "0" * width)
        yield f"{mode} {name}\t".encode() + path.encode(errors="surrogateescape") + b"\0"


def _rejection(output: Output) -> str | None:
    """Why a remote did not take a branch, in its own words; None where it did not say."""
    for line in output.stdout.decode(errors="replace").splitlines():
        if line.startswith("!\t"):
            return printable(line.rpartition("\t")[2])[:_LONGEST_REASON]
    return None
