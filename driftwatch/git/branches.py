"""Branches that driftwatch opens on a remote for people to look at and to merge.

    is there such a branch? → does it say the same? → push

What is pushed is one new branch below `driftwatch/`: never by force, and never the branch that stacks are
deployed from. A branch that is there already is left as it is, whoever made it.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  (dataclass fields are read at run time)
from typing import TYPE_CHECKING

from driftwatch.config import values
from driftwatch.errors import RemoteRefusedError, RepositoryError, UnsafeRepositoryError
from driftwatch.git.command import Ending
from driftwatch.git.listing import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from driftwatch.git.command import Git, Output
    from driftwatch.git.remote import Remote

MOST_BRANCHES = 9
"""Of one name. Whoever needs more has not looked at those that are there."""

PLACE = "driftwatch/"
"""What the names of our branches begin with."""

_LONGEST_REASON = 200
_LARGEST_ANSWER = 1 << 20
_SEEN = "refs/driftwatch/seen"
_DEPLOYED = "refs/driftwatch/deployed"
"""Where a branch that is there already, and the one that stacks are deployed from, are fetched to for as long
as they are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The branch that has the changes; None where nothing differs. `is_new`: it was not there before."""

    branch: str | None
    is_new: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Branches:
    """The branches of one mirror's remote; the mirror's lock is held.

    `settings` is a file with git's settings for the other end of a push, where that is on this machine.
    """

    git: Git
    remote: Remote
    lock: int
    settings: Path
    seconds: float
    too_large: Callable[[], bool]

    def open(self, commit: str, branch: str) -> Opened:
        """Opens a branch at `commit`, which has one parent, under this name or the next free one.

        Raises RemoteUnreachableError, RemoteRefusedError and others of RepositoryError.
        """
        branch = _ours(branch)
        if self._tree(commit) == self._tree(f"{commit}^"):
            return Opened(branch=None)
        there = self._there(branch)
        for name in names(branch):
            if name == self.remote.branch:
                continue
            if name not in there:
                self._push(commit, name)
                return Opened(branch=name, is_new=True)
            if self._says_the_same(name, commit):
                return Opened(branch=name)
        raise RepositoryError(
            f"the remote has {MOST_BRANCHES} branches {branch} already, and none with these files",
            advice="Delete those that nobody needs any more.",
        )

    def _tree(self, commit: str) -> str:
        return self.git.ask("rev-parse", "--verify", "--quiet", f"{commit}^{{tree}}").decode().strip()

    def _there(self, branch: str) -> frozenset[str]:
        """The remote's branches whose names begin so."""
        output = self._talk("ls-remote", "--", self.remote.url, f"refs/heads/{branch}*")
        if not output.succeeded:
            raise self._failure(output)
        refs = [line.partition("\t")[2] for line in output.stdout.decode(errors="replace").splitlines()]
        return frozenset(ref.removeprefix("refs/heads/") for ref in refs)

    def stands(self, branch: str) -> bool:
        """Whether a branch of ours is on offer: it is there, and has something that is not deployed yet.

        One that was merged as one commit of another's, or whose changes came otherwise, has nothing.
        """
        if branch not in self._there(_ours(branch)):
            return False
        with self._looked_at(branch) as is_whole:
            if not is_whole:
                return True
            if self._is_merged():
                return False
            base = self._base(_DEPLOYED)
            return base is None or not self._changes(base, _SEEN) <= self._changes(base, _DEPLOYED)

    def _says_the_same(self, branch: str, commit: str) -> bool:
        """Whether a branch of the remote has our files; or our changes, on top of another commit.

        The branch that stacks are deployed from moves on, and what was offered yesterday is still on offer;
        but not what was merged. One that is too large to be what we would push is another.
        """
        with self._looked_at(branch) as is_whole:
            if not is_whole or self._is_merged():
                return False
            if self._tree(_SEEN) == self._tree(commit):
                return True
            base = self._base(f"{commit}^")
            return base is not None and self._changes(base, _SEEN) == self._changes(f"{commit}^", commit)

    @contextmanager
    def _looked_at(self, branch: str) -> Iterator[bool]:
        """A branch of the remote and what it would be merged into, as they are now; false for a large one."""
        heads = ((branch, _SEEN), (self.remote.branch, _DEPLOYED))
        try:
            output = self._talk(
                *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", self.remote.url),
                *(f"+refs/heads/{name}:{ref}" for name, ref in heads),
                over_the_cap=self.too_large,
            )
            if output.ending is not Ending.OVER_THE_CAP and not output.succeeded:
                raise self._failure(output)
            yield output.ending is not Ending.OVER_THE_CAP
        finally:
            for _, ref in heads:
                self.git.run("update-ref", "-d", ref)

    def _is_merged(self) -> bool:
        return self.git.run("merge-base", "--is-ancestor", _SEEN, _DEPLOYED, seconds=self.seconds).succeeded

    def _base(self, commit: str) -> str | None:
        found = self.git.run("merge-base", _SEEN, commit, seconds=self.seconds)
        return found.stdout.decode().strip() if found.succeeded else None

    def _changes(self, old: str, new: str) -> frozenset[tuple[bytes, bytes, bytes]]:
        """Each path that differs, with what it becomes: its mode and its object."""
        printed = self.git.ask(
            "diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", old, new, seconds=self.seconds
        ).split(b"\0")
        return frozenset(
            (path, *_becomes(words)) for words, path in zip(printed[::2], printed[1::2], strict=False)
        )

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
            settings=self.remote.looked_at(), variables={**self.remote.variables, **(variables or {})}
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


def branch_of(what: str, stack: str, mark: str, *, longest: int) -> str:
    """What a branch about a stack is called: `longest` characters of the stack, and a mark of its content."""
    slug = re.sub(r"[^a-z0-9]+", "-", stack.lower())[:longest].strip("-")
    return f"{PLACE}{what}-{slug or 'stack'}-{mark}"


def names(branch: str) -> tuple[str, ...]:
    """What a branch may be called, in the order in which the names are tried."""
    return (branch, *(f"{branch}-{number}" for number in range(2, MOST_BRANCHES + 1)))


def _ours(branch: str) -> str:
    """The name, if it is one that git allows and ours to give."""
    shown = f"the branch {printable(branch)[:_LONGEST_REASON]} is not opened: its name"
    try:
        values.branch(branch)
    except ValueError as exc:
        raise UnsafeRepositoryError(f"{shown} {exc}") from exc
    if not branch.startswith(PLACE):
        raise UnsafeRepositoryError(f"{shown} is not below {PLACE}")
    return branch


def _becomes(words: bytes) -> tuple[bytes, bytes]:
    """Reads `:old-mode new-mode old-object new-object status`."""
    _, mode, _, name, _ = words.split(b" ")
    return mode, name


def _rejection(output: Output) -> str | None:
    """Why a remote did not take a branch, in its own words; None where it did not say."""
    for line in output.stdout.decode(errors="replace").splitlines():
        if line.startswith("!\t"):
            return printable(line.rpartition("\t")[2])[:_LONGEST_REASON]
    return None
