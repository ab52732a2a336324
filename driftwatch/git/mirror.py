"""One repository: a bare mirror of its branch, what is in its commits, and checkouts of them.

    fetch → compare → list and verify → keep as good

A commit becomes the mirror's head only when it has been fetched whole and is safe to materialise; until then,
and when the remote is away or the branch gone, the last good one stays. It is kept as a ref, which survives
restarts and keeps its objects. Below `directory`: `mirror.git`, `worktrees/`, lock files, git's own settings.
"""

from __future__ import annotations

import re
import shutil
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from driftwatch import log
from driftwatch.errors import (
    BranchMissingError,
    HeadRewoundError,
    MirrorDamagedError,
    NotMergedError,
    PullRequestMovedError,
    RepositoryError,
    RepositoryTooLargeError,
    SignatureMissingError,
    SignersUnusableError,
    UnsafeRepositoryError,
)
from driftwatch.git import discovery, listing, pulls
from driftwatch.git.branches import Branches
from driftwatch.git.command import Ending, Git, Output, failure, translated
from driftwatch.git.committing import Committer
from driftwatch.git.drafting import Drafter
from driftwatch.git.listing import Caps
from driftwatch.git.lock import locked
from driftwatch.git.pulls import Merged
from driftwatch.git.remote import Remote
from driftwatch.git.reverting import Reverter
from driftwatch.git.submodules import Submodules
from driftwatch.git.tags import TAGS, SignedTags
from driftwatch.git.trust import Trust
from driftwatch.git.worktrees import Worktrees
from driftwatch.model import KEPT_COMMITS, Commit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from driftwatch.config.settings import RepositorySettings
    from driftwatch.git.branches import Opened
    from driftwatch.git.discovery import RootModule
    from driftwatch.git.drafting import Edits
    from driftwatch.git.listing import Listing
    from driftwatch.git.reverting import Revert

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")

_LARGEST_READ = 16 << 20
_BYTES_PER_ENTRY = 512
"""How long a line of the listing is at most on average; a tree that unfolds without end is cut off there."""

_LISTINGS_KEPT = 4
"""The newest commit, the one that checks are still at, and those that somebody proposes."""
_MANY_PACKS = 40
_LONGEST_WORDS = 200
"""Characters of an author's name and of a subject that are kept."""
_LARGEST_HISTORY = 1 << 20
_HISTORIES_KEPT = 100
_MOST_AUTHORED = 10_000
"""Commits whose authors are told; of more, none is, as whoever is missing would count as somebody else."""
_TIDY_EVERY = timedelta(days=7)

_DRAFTS, _PULLS = "refs/driftwatch/drafts", "refs/driftwatch/pulls"
"""Where commits that only this machine knows are kept from being tidied away, each under its own hash."""
_LOCAL_COMMITS_KEPT = 300
"""Of either. What is checked out stays anyway; of the others the oldest go, and are made again if asked."""
_SIGNED = "refs/driftwatch/signed"
"""Where the good head is kept that was found to be signed, by the keys that it was judged with."""
_PULL = "refs/driftwatch/pull"
"""Where a pull request's head is fetched to, for as long as it is looked at."""

_CORRUPT = re.compile(
    r"object file .* is empty|is corrupt|bad object|unable to read (?:tree|sha1)|missing (?:blob|tree|commit)"
    r"|does not point to a valid object|pack.* (?:far too short|cannot be accessed|does not match index)"
    r"|not a git repository|bad config|index file .* is too small|inflate: data stream error|broken ref"
)

logger = log.get("git")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What a fetch brought. `rewritten`: `previous` is no ancestor of `commit`, the branch was forced."""

    commit: str
    previous: str | None
    changed: bool
    rewritten: bool


class _Arrival:
    """How much of a fetch has come. Git removes what it was writing when it is stopped: the most counts."""

    def __init__(self, git_dir: Path, cap: int) -> None:
        self._git_dir = git_dir
        self._before = _size_of_packs(git_dir)
        self._cap = cap
        self.received = 0

    def is_too_large(self) -> bool:
        self.received = max(self.received, _size_of_packs(self._git_dir) - self._before)
        return self.received > self._cap


class Mirror:
    """One repository. Thread-safe, and safe against other processes that use the same directory.

    `stop`, once set, ends a running fetch. Nothing is touched before the first call.
    """

    def __init__(
        self,
        name: str,
        settings: RepositorySettings,
        directory: Path,
        *,
        clock: Callable[[], datetime],
        stop: threading.Event | None = None,
    ) -> None:
        self.name = name
        self._settings = settings
        self._directory = Path(directory).absolute()
        self._clock = clock
        self._stop = stop or threading.Event()
        self._seconds = settings.timeout.total_seconds()
        self._git_dir = self._directory / "mirror.git"
        self._listing_lock = threading.Lock()
        self._listings: dict[str, Listing] = {}
        self._histories: dict[tuple[object, ...], tuple[Commit, ...]] = {}
        self._swept = False
        self._too_large: str | None = None
        """The commit that did not fit. It is not fetched again and again at every poll."""
        self._large_heads: tuple[str, ...] = ()
        """The same of pull requests."""
        self._trust = (
            None
            if settings.signatures == "off"
            else Trust(name, settings.signers, self._directory / "signers", clock=clock)
        )
        self._worktrees = Worktrees(
            self._directory / "worktrees", build=self._build, prune=self._prune, stop=self._stop
        )

    def fetch(self) -> Fetched:
        """Brings the branch's newest commit, verifies it and makes it the head.

        Raises RemoteUnreachableError, RemoteRefusedError, BranchMissingError, UnsafeRepositoryError,
        RepositoryTooLargeError, SignatureMissingError, HeadRewoundError and others; the head is then what it
        was, or with signatures the last one that is good by them.
        """
        remote = Remote.of(self.name, self._settings)
        with translated():
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sweep_once()
            with self._locked() as lock:
                _write_if_other(self._directory / "gitconfig", _global_settings(remote))
                try:
                    fetched, problem = self._fetch(remote, lock)
                except MirrorDamagedError:
                    self._fetch_anew(remote, lock)
                    fetched, problem = self._fetch(remote, lock)
                self._tidy(lock)
            self._worktrees.keep(fetched.commit)
        if problem:
            raise problem
        return fetched

    def head(self) -> str | None:
        """The last good commit; None before the first. Asks no remote and survives restarts."""
        try:
            ref = Remote.of(self.name, self._settings).branch
        except UnsafeRepositoryError:
            return None
        good = self._good(ref)
        return self._resolve(good) if good else None

    def discover(self, commit: str, globs: Sequence[str]) -> tuple[RootModule, ...]:
        """The root modules of a commit, by the rules of `driftwatch.git.discovery`, ordered by path."""
        of_units = {stack.path for stack in self._settings.stacks if stack.engine == "terragrunt"}
        return discovery.discover(self.listing(commit), globs, self._blobs, unit_globs=of_units)

    def read(self, commit: str, path: str) -> bytes | None:
        """The content of one file, through symlinks; None where there is none.

        Raises UnsafeRepositoryError for a path that leaves the repository.
        """
        try:
            entry = self.listing(commit).find(path)
        except listing.LeavesCheckoutError as exc:
            raise UnsafeRepositoryError(f"the path {listing.printable(path)} {exc}") from exc
        if entry is None or not entry.is_file:
            return None
        if entry.size > _LARGEST_READ:
            raise RepositoryTooLargeError(
                f"{path} of {self.name} is too large to read: {entry.size >> 20} MB"
            )
        return self._blobs([entry.object])[entry.object]

    def contents(self, commit: str, paths: Sequence[str]) -> dict[str, bytes]:
        """The contents of files by their own paths, as they were committed: no filter has changed them."""
        entries = self.listing(commit).entries
        blobs = self._blobs(entries[path].object for path in paths)
        return {path: blobs[entries[path].object] for path in paths}

    def tree(self, commit: str, paths: Sequence[str]) -> str:
        """A digest over what these paths hold and their symlinks lead to; the order does not matter."""
        return self.listing(commit).digest(paths)

    def history(
        self, base: str | None, commit: str, paths: Sequence[str], *, tree: str | None = None
    ) -> tuple[Commit, ...]:
        """The commits since `base` that touched these paths, the newest first, at most `KEPT_COMMITS`.

        Where the branch was rewritten and `base` is gone, those since the paths last had the digest `tree`;
        where they never had, or none is given, as many as are kept.
        """
        asked = (base, commit, tuple(paths), tree)
        with self._listing_lock:
            known = self._histories.get(asked)
        if known is None:
            known = self._history(base, commit, paths, tree)
            with self._listing_lock:
                self._histories[asked] = known
                while len(self._histories) > _HISTORIES_KEPT:
                    del self._histories[next(iter(self._histories))]
        return known

    def authors(self, base: str, commit: str) -> frozenset[str]:
        """The names of all who wrote the commits since `base`, as the commits have them.

        Raises RepositoryTooLargeError where there are more commits than are gone through for that.
        """
        printed = self._git().ask(
            *("log", "-z", f"--max-count={_MOST_AUTHORED + 1}", "--format=%an"),
            *(f"{_checked(base)}..{_checked(commit)}", "--"),
            seconds=self._seconds,
            limit=_LARGEST_HISTORY,
        )
        names = printed.decode(errors="replace").split("\0")
        if len(names) > _MOST_AUTHORED:
            raise RepositoryTooLargeError(
                f"the authors of more than {_MOST_AUTHORED:,} commits of {self.name} are not told"
            )
        return frozenset(_words(name) for name in names if name)

    def submodules(self, commit: str) -> tuple[str, ...]:
        """The paths whose content is another repository's.

        In a checkout they are empty directories, unless the settings say `submodules: true`.
        """
        return self.listing(commit).submodules()

    @contextmanager
    def checkout(self, commit: str) -> Iterator[Path]:
        """The whole tree of a commit on disk, read-only and shared, for as long as the block runs."""
        self._sweep_once()
        with self._worktrees.hold(_checked(commit)) as path:
            yield path

    def open_revert(self, revert: Revert) -> Opened:
        """Opens a branch on the remote with some paths as they were at an earlier commit.

        Raises NotMergedError, RemoteUnreachableError, RemoteRefusedError and others of RepositoryError.
        """
        remote = Remote.of(self.name, self._settings)
        if not (self.is_merged(revert.onto) and self._is_ancestor(_checked(revert.commit), revert.onto)):
            raise NotMergedError(f"{revert.commit[:10]} is no commit of the branch {remote.branch}")
        with self._locked() as lock:
            return Reverter(
                committer=self._committer(), branches=self._branches_of(remote, lock), listing=self.listing
            ).open(revert)

    def draft(self, edits: Edits) -> str:
        """Makes a commit of edits that only this machine knows, and returns it; it can be checked out.

        Raises NotMergedError where `edits.onto` is not of the branch, UnsafeRepositoryError for a path that
        is no file or not ours to write, and others of RepositoryError.
        """
        if not self.is_merged(edits.onto):
            raise NotMergedError(f"{edits.onto[:10]} is no commit of the branch {self._settings.branch}")
        with self._locked():
            draft = Drafter(committer=self._committer(), listing=self.listing).draft(edits)
            self._keep(_DRAFTS, draft)
        return draft

    def publish(self, draft: str, branch: str) -> Opened:
        """Opens a branch below `driftwatch/` on the remote at a drafted commit.

        Where one of that name says something else, a numbered name is taken. Raises UnsafeRepositoryError for
        another name, RemoteUnreachableError, RemoteRefusedError and others of RepositoryError.
        """
        remote = Remote.of(self.name, self._settings)
        if self._resolve(f"{_DRAFTS}/{_checked(draft)}") is None:
            raise RepositoryError(f"{draft[:10]} is no draft that the mirror of {self.name} knows")
        with self._locked() as lock:
            return self._branches_of(remote, lock).open(draft, branch)

    def stands(self, branch: str) -> bool:
        """Whether a branch below `driftwatch/` is on the remote, with something that is not merged yet.

        Raises UnsafeRepositoryError for another name, RemoteUnreachableError and others of RepositoryError.
        """
        remote = Remote.of(self.name, self._settings)
        with self._locked() as lock:
            return self._branches_of(remote, lock).stands(branch)

    def fetch_pull_request(self, number: int, *, kind: str, head: str) -> Merged:
        """Fetches a pull request's head and merges it with the branch's good head, on this machine only.

        `kind` is the forge's (github, gitlab). Raises PullRequestMovedError where the head is another by now,
        MergeConflictError, UnsafeRepositoryError, RepositoryTooLargeError and others of RepositoryError.
        """
        ref, head = pulls.ref_of(number, kind), _checked(head)
        remote = Remote.of(self.name, self._settings)
        base = self.head()
        if base is None:
            raise RepositoryError(f"there is no good commit of {self.name} yet to merge with")
        with self._locked() as lock:
            try:
                self._receive_pull_request(remote, lock, number, ref, head)
                commit = self._merged_before(base, head)
                if commit is None:
                    commit = pulls.merge(self._committer(), number, base=base, head=head)
                self.listing(commit)
                self._keep(_PULLS, commit)
            finally:
                self._git().run("update-ref", "-d", _PULL)
        return Merged(base=base, head=head, commit=commit, changed=self.changed(base, commit))

    def changed(self, base: str, commit: str) -> tuple[str, ...]:
        """The paths that differ between two commits, both names of what was renamed, in git's order.

        Raises RepositoryTooLargeError where they are more than a repository may have files.
        """
        most = (self._settings.max_files + 1000) * _BYTES_PER_ENTRY
        for each in (base, commit):
            if self._resolve(_checked(each)) is None:
                raise RepositoryError(f"the mirror of {self.name} does not know the commit {each[:10]}")
        paths = self._committer().touched(base, commit, limit=most)
        if len(paths) > 2 * self._settings.max_files:
            raise listing.too_many_files(self.name, self._caps())
        return paths

    def close(self) -> None:
        """Removes the worktrees that nobody uses. The mirror can be used again afterwards."""
        self._worktrees.keep(None)

    def listing(self, commit: str) -> Listing:
        """All paths of a commit; raises UnsafeRepositoryError or RepositoryTooLargeError for a bad one."""
        with self._listing_lock:
            listed = self._listings.pop(commit, None) or self._list(_checked(commit))
            self._listings[commit] = listed
            for oldest in list(self._listings)[:-_LISTINGS_KEPT]:
                del self._listings[oldest]
            return listed

    # What follows runs git.

    def _git(self, git_dir: Path | None = None) -> Git:
        return Git(
            home=self._directory,
            prefix=(f"--git-dir={git_dir or self._git_dir}",),
            variables={"GIT_CONFIG_GLOBAL": str(self._directory / "gitconfig")},
            stop=self._stop,
        )

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The mirror to ourselves, as a fetch has it; gives the lock's descriptor."""
        with (
            translated(),
            locked(self._directory / "fetch.lock", seconds=self._seconds, stop=self._stop) as lock,
        ):
            yield lock

    def _committer(self) -> Committer:
        return Committer(
            git=self._git(), scratch=self._directory / "scratch", seconds=self._seconds, clock=self._clock
        )

    def _branches_of(self, remote: Remote, lock: int) -> Branches:
        settings = self._directory / "gitconfig.push"
        _write_if_other(self._directory / "gitconfig", _global_settings(remote))
        _write_if_other(settings, _settings_of_a_push(remote))
        return Branches(
            git=self._git(),
            remote=remote,
            lock=lock,
            settings=settings,
            seconds=self._seconds,
            too_large=_Arrival(self._git_dir, self._settings.max_size_mb << 20).is_too_large,
        )

    def _keep(self, place: str, commit: str) -> None:
        """Keeps a commit of this machine by a ref, and lets the oldest of its kind go."""
        git = self._git()
        git.ask("update-ref", f"{place}/{commit}", commit)
        refs = git.ask("for-each-ref", "--format=%(refname)", "--sort=-committerdate", f"{place}/")
        others = [ref for ref in refs.decode().split() if not ref.endswith(commit)]
        for ref in others[_LOCAL_COMMITS_KEPT - 1 :]:
            git.ask("update-ref", "-d", ref)

    def _drop_all(self, git_dir: Path, place: str) -> None:
        """Removes all refs below `place`; what no other leads to goes when it is packed the next time."""
        git = self._git(git_dir)
        refs = git.ask("for-each-ref", "--format=delete %(refname)", f"{place}/")
        git.ask("update-ref", "--stdin", stdin=refs)

    def _receive_pull_request(self, remote: Remote, lock: int, number: int, ref: str, head: str) -> None:
        """Fetches a pull request's head to `_PULL`, within the caps of the repository."""
        _write_if_other(self._directory / "gitconfig", _global_settings(remote))
        too_large = RepositoryTooLargeError(
            f"pull request {number} of {self.name} does not fit into the {self._settings.max_size_mb} MB"
            " that the repository may have",
            advice=f"Raise `max_size_mb` of repositories.{self.name}, or make the pull request smaller.",
        )
        if head in self._large_heads:
            raise too_large
        arrival = _Arrival(self._git_dir, self._settings.max_size_mb << 20)
        output = self._talk(
            remote,
            self._git_dir,
            lock,
            *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--update-shallow", "--"),
            *(remote.url, f"+{ref}:{_PULL}"),
            over_the_cap=arrival.is_too_large,
        )
        if output.ending is Ending.OVER_THE_CAP or (output.succeeded and not self._fits(self._git_dir)):
            _remove_leftovers(self._git_dir)
            self._git().run("update-ref", "-d", _PULL)
            self._repack(self._git_dir)
            self._large_heads = (*self._large_heads[-_LOCAL_COMMITS_KEPT:], head)
            raise too_large
        if not output.succeeded:
            _remove_leftovers(self._git_dir)
            self._raise_if_damaged(output, self._git_dir)
            raise self._without_pull_request(remote, number, output, arrival)
        if (now := self._resolve(_PULL)) != head:
            raise PullRequestMovedError(
                f"pull request {number} of {self.name} is at {str(now)[:10]} by now, not at {head[:10]}"
            )

    def _without_pull_request(
        self, remote: Remote, number: int, output: Output, arrival: _Arrival
    ) -> RepositoryError:
        problem = remote.failure(
            output, seconds=self._seconds, cap_mb=self._settings.max_size_mb, received=arrival.received
        )
        if not isinstance(problem, BranchMissingError):
            return problem
        return BranchMissingError(
            f"the remote of {self.name} ({remote.shown}) has no pull request {number}",
            advice="It may be deleted; or `forge.kind` is not what the repository's host is.",
            detail=output.detail or None,
        )

    def _merged_before(self, base: str, head: str) -> str | None:
        """The commit that merged these two an earlier time: what was said of it holds again."""
        printed = self._git().ask("for-each-ref", "--format=%(objectname) %(parent)", f"{_PULLS}/")
        known = (line.partition(" ") for line in printed.decode().splitlines())
        return next((commit for commit, _, parents in known if parents == f"{base} {head}"), None)

    def _sweep_once(self) -> None:
        if not self._swept:
            with translated():
                self._worktrees.sweep()
            self._swept = True

    def _fetch(self, remote: Remote, lock: int) -> tuple[Fetched, SignatureMissingError | None]:
        """What it brought, and what was refused of it where something that is older is used."""
        self._ready(self._git_dir)
        if self._trust and self._settings.signatures == "head":
            # What is wrong with the mirror or the keys the fetch itself finds out, and mends it or says it.
            with suppress(RepositoryError):
                self._judge_anew(self._trust, remote.branch)
        self._receive(remote, self._git_dir, lock)
        commit = self._resolve(_fetched(remote.branch))
        if commit is None:
            raise MirrorDamagedError(f"the mirror of {self.name} does not know what it has just fetched")
        previous = self._resolve(self._expect_good(remote.branch))
        problem = None
        if self._trust and self._settings.signatures == "tags":
            commit, problem = self._tagged(self._trust, commit, previous)
        elif self._trust and commit != previous:
            self._expect_signed(self._trust, commit)
            self._expect_forward(commit, previous)
        if commit == previous:
            return Fetched(commit=commit, previous=previous, changed=False, rewritten=False), problem
        self.listing(commit)
        rewritten = previous is not None and not self._is_ancestor(previous, commit)
        self._make_good(remote.branch, commit)
        return Fetched(commit=commit, previous=previous, changed=True, rewritten=rewritten), problem

    # ---- which commit counts

    def _good(self, branch: str) -> str | None:
        """The ref of the good head, by the keys as they are, or were when they could be read."""
        try:
            return self._expect_good(branch)
        except SignersUnusableError:
            digest = self._trust.last_digest() if self._trust else None
            return self._signed(branch, digest) if digest else None

    def _expect_good(self, branch: str) -> str:
        return self._signed(branch, self._trust.digest()) if self._trust else _good(branch)

    def _signed(self, branch: str, digest: str) -> str:
        # Another way of asking is another trust: what a tag made good is not good as a head.
        return f"{_SIGNED}/{self._settings.signatures}-{digest}/{_as_one_part(branch)}"

    def _make_good(self, branch: str, commit: str) -> None:
        good = self._expect_good(branch)
        self._git().ask("update-ref", good, commit)
        if self._trust:
            # Beside the mirror, too: a damaged one can be fetched again, and what was good in it cannot.
            _write_if_other(self._directory / "signed", f"{good} {commit}\n")
            for ref in self._signed_before(branch):
                if ref != good:
                    self._git().ask("update-ref", "-d", ref)

    def _signed_beside(self, ref: str) -> str | None:
        with suppress(FileNotFoundError):
            of, _, commit = (self._directory / "signed").read_text().strip().partition(" ")
            return commit if of == ref and _COMMIT.fullmatch(commit) else None
        return None

    def _signed_before(self, branch: str) -> list[str]:
        printed = self._git().ask("for-each-ref", "--format=%(refname)", f"{_SIGNED}/")
        return [ref for ref in printed.decode().split() if ref.endswith(f"/{_as_one_part(branch)}")]

    def _judge_anew(self, trust: Trust, branch: str) -> None:
        """Where the allowed keys are others than they were, what was good by those is if it is by these.

        Whoever adds a key does not lose the commit in use, whatever the remote has by now.
        """
        if self._resolve(self._expect_good(branch)) is not None:
            return
        for ref in self._signed_before(branch):
            earlier = self._resolve(ref) if ref.startswith(f"{_SIGNED}/head-") else None
            if earlier and self._refusal(trust, earlier) is None:
                self._make_good(branch, earlier)
                return

    def _expect_signed(self, trust: Trust, commit: str) -> None:
        """Raises SignatureMissingError for a head that does not count."""
        if refusal := self._refusal(trust, commit):
            shown = self._shown(commit)
            raise SignatureMissingError(f"the head of {self.name}, {shown}, is not used: {refusal}")

    def _expect_forward(self, commit: str, previous: str | None) -> None:
        """Raises HeadRewoundError for a head that was in the history of the one in use already.

        Whoever may force the branch could pick any of the signed commits of its past. A rewritten branch with
        a head that is new is followed: that one was signed as it is.
        """
        if previous is not None and self._is_ancestor(commit, previous):
            raise HeadRewoundError(
                f"the head of {self.name}, {self._shown(commit)}, is not used: the branch was put back to it"
                f" from {previous[:10]}"
            )

    def _refusal(self, trust: Trust, commit: str) -> str | None:
        content = self._git().ask("cat-file", "commit", commit, limit=_LARGEST_READ)
        return trust.refusal(self._git(), commit, content)

    def _tagged(
        self, trust: Trust, head: str, previous: str | None
    ) -> tuple[str, SignatureMissingError | None]:
        """The newest commit of the branch that a good tag points at, and what is wrong with newer ones.

        It goes forward only, as long as the branch does: that a key has expired, or that a tag was withdrawn,
        brings no older commit back. Raises SignatureMissingError where there is none.
        """
        tags = SignedTags(
            name=self.name,
            git=self._git(),
            trust=trust,
            blobs=self._blobs,
            shown=self._shown,
            seconds=self._seconds,
        )
        goes_on = previous is not None and self._is_ancestor(previous, head)
        found, problem = tags.newest(head, previous if goes_on else None)
        if found is None:
            raise problem or SignatureMissingError(
                f"no commit of the branch {self._settings.branch} of {self.name} has a tag with a valid"
                " signature"
            )
        return found, problem

    def _shown(self, commit: str) -> str:
        """A commit as people know it: its beginning, and by whom it says that it is."""
        author = self._git().ask("log", "-1", "--format=%an", commit).decode(errors="replace").strip()
        return f"{commit[:10]} by {_words(listing.printable(author)) or 'nobody'}"

    def _ready(self, git_dir: Path) -> None:
        if not (git_dir / "HEAD").exists():
            git = Git(home=self._directory, stop=self._stop)
            git.ask("init", "--quiet", "--bare", "--template=", "--initial-branch=main", "--", str(git_dir))
        _remove_leftovers(git_dir)

    def _receive(self, remote: Remote, git_dir: Path, lock: int) -> None:
        """Fetches the branch into `git_dir`, forced: the remote is right, whatever its history says."""
        if self._too_large and self._too_large == self._tip(remote, lock):
            raise remote.too_large(self._settings.max_size_mb)
        arrival = _Arrival(git_dir, self._settings.max_size_mb << 20)
        output = self._talk(
            remote,
            git_dir,
            lock,
            *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--update-shallow"),
            *(("--prune",) if self._tags_too() else ()),
            *("--", remote.url, f"+refs/heads/{remote.branch}:{_fetched(remote.branch)}"),
            *self._tags_too(),
            over_the_cap=arrival.is_too_large,
        )
        if output.succeeded and not self._fits(git_dir):
            output = replace(output, ending=Ending.OVER_THE_CAP)
        if output.succeeded:
            return
        _remove_leftovers(git_dir)
        if output.ending is Ending.OVER_THE_CAP:
            self._forget(remote, git_dir)
            self._too_large = self._tip(remote, lock)
        self._raise_if_damaged(output, git_dir)
        problem = remote.failure(
            output, seconds=self._seconds, cap_mb=self._settings.max_size_mb, received=arrival.received
        )
        if isinstance(problem, BranchMissingError):
            problem.advice = self._advice_on_branches(remote, lock)
        raise problem

    def _talk(
        self,
        remote: Remote,
        git_dir: Path,
        lock: int,
        *arguments: str,
        over_the_cap: Callable[[], bool] = lambda: False,
        limit: int | None = None,
    ) -> Output:
        git = self._git(git_dir).having(settings=remote.looked_at(), variables=remote.variables)
        return git.run(
            *arguments, seconds=self._seconds, over_the_cap=over_the_cap, limit=limit, holding=lock
        )

    def _forget(self, remote: Remote, git_dir: Path) -> None:
        """Drops what came and is too large, so that the disk does not keep what nobody may use."""
        self._git(git_dir).run("update-ref", "-d", _fetched(remote.branch))
        self._drop_all(git_dir, TAGS)
        self._repack(git_dir)

    def _tags_too(self) -> tuple[str, ...]:
        """What is fetched beside the branch; a tag that is withdrawn goes here, too."""
        return (f"+refs/tags/*:{TAGS}/*",) if self._settings.signatures == "tags" else ()

    def _fits(self, git_dir: Path) -> bool:
        """True where the mirror is within its cap, if need be after what no ref leads to is dropped."""
        cap = self._settings.max_size_mb << 20
        if _size_of_packs(git_dir) > cap:
            self._repack(git_dir)
        if _size_of_packs(git_dir) > cap and git_dir == self._git_dir:
            # What others only propose must never keep the branch from being watched.
            self._drop_all(git_dir, _PULLS)
            self._repack(git_dir)
        return _size_of_packs(git_dir) <= cap

    def _repack(self, git_dir: Path) -> None:
        self._git(git_dir).ask("repack", "-a", "-d", "-q", seconds=self._seconds)

    def _fetch_anew(self, remote: Remote, lock: int) -> None:
        """Replaces a damaged mirror by a new one; the old stays until the new one is whole."""
        fresh = self._directory / "mirror.new.git"
        shutil.rmtree(fresh, ignore_errors=True)
        self._ready(fresh)
        self._receive(remote, fresh, lock)
        ref = self._good(remote.branch)
        good = (self._resolve(ref) or self._signed_beside(ref)) if ref else None
        shutil.rmtree(self._git_dir)
        fresh.rename(self._git_dir)
        if ref and good and self._resolve(good):
            self._git().ask("update-ref", ref, good)
        logger.warning(
            "The mirror was damaged and has been fetched again.", action="fetch", repository=self.name
        )

    def _advice_on_branches(self, remote: Remote, lock: int) -> str:
        """What to set instead: the branch that holds the last good commit now, or the remote's default."""
        default, branches = self._branches(remote, lock)
        good = self._resolve(_good(remote.branch))
        renamed = sorted(name for name, commit in branches.items() if good and commit == good)
        if renamed:
            return f"It looks renamed: {renamed[0]} is at the last good commit. Set `branch: {renamed[0]}`."
        if default:
            return f"The remote's default branch is {default}: set `branch: {default}`, or push the branch."
        return "Set `branch` to one that exists." if branches else "The remote has no branches yet: push one."

    def _branches(self, remote: Remote, lock: int) -> tuple[str | None, dict[str, str]]:
        """The remote's default branch, and all of its branches with their commits."""
        output = self._talk(
            remote,
            self._git_dir,
            lock,
            *("ls-remote", "--symref", "--", remote.url, "HEAD", "refs/heads/*"),
            limit=_LARGEST_READ,
        )
        return _read_refs(output.stdout.decode(errors="replace"))

    def _tip(self, remote: Remote, lock: int) -> str | None:
        return self._branches(remote, lock)[1].get(remote.branch)

    def _tidy(self, lock: int) -> None:
        """Now and then packs what has gathered. A failure costs disk, not correctness: it is only told."""
        stamp = self._git_dir / "driftwatch-tidied"
        now = self._clock()
        packs = list((self._git_dir / "objects" / "pack").glob("*.pack"))
        if not _is_due(stamp, now) and len(packs) < _MANY_PACKS:
            return
        output = self._git().run("gc", "--quiet", seconds=self._seconds, holding=lock)
        stamp.write_text(now.isoformat())
        if not output.succeeded:
            logger.warning(
                "The mirror could not be tidied.", action="gc", repository=self.name, reason=output.complaint
            )

    def _resolve(self, ref: str) -> str | None:
        if not (self._git_dir / "HEAD").exists():
            return None
        output = self._git().run("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
        return output.stdout.decode().strip() if output.succeeded else None

    def is_merged(self, commit: str) -> bool:
        """Whether a commit is the branch's head or an ancestor of it; false for one that is not there."""
        head = self.head()
        return head is not None and self._is_ancestor(_checked(commit), head)

    def _is_ancestor(self, older: str, newer: str) -> bool:
        return self._git().run("merge-base", "--is-ancestor", older, newer).succeeded

    def _history(
        self, base: str | None, commit: str, paths: Sequence[str], tree: str | None
    ) -> tuple[Commit, ...]:
        commit, base = _checked(commit), None if base is None else _checked(base)
        known = base is not None and self._resolve(base) is not None
        commits = self._log(f"{base}..{commit}" if known else commit, paths)
        if known or tree is None:
            return commits
        new: list[Commit] = []
        for each in commits:
            if self._list(each.id).digest(paths) == tree:
                break
            new.append(each)
        return tuple(new)

    def _log(self, commits: str, paths: Sequence[str]) -> tuple[Commit, ...]:
        printed = self._git().ask(
            *("log", "-z", f"--max-count={KEPT_COMMITS}", "--format=%H%n%aI%n%an%n%s", commits, "--", *paths),
            seconds=self._seconds,
            limit=_LARGEST_HISTORY,
        )
        entries = printed.decode(errors="replace").split("\0")
        return tuple(_commit(entry) for entry in entries if entry)

    def _caps(self) -> Caps:
        return Caps(bytes=self._settings.max_size_mb << 20, files=self._settings.max_files)

    def _list(self, commit: str) -> Listing:
        caps = self._caps()
        limit = (caps.files + 1000) * _BYTES_PER_ENTRY
        output = self._git().run(
            *("ls-tree", "-r", "-t", "-l", "-z", "--full-tree", commit),
            seconds=self._seconds,
            limit=limit,
        )
        if output.ending is Ending.TOO_MUCH_OUTPUT:
            raise listing.too_many_files(self.name, caps)
        if not output.succeeded:
            self._raise_if_damaged(output, self._git_dir)
            raise failure(f"reading commit {commit} of {self.name}", output)
        entries = list(listing.parse(output.stdout))
        listing.check_entries(self.name, entries, caps)
        links = listing.links(self.name, entries)
        targets = self._blobs(entry.object for entry in links.values())
        listed = listing.Listing(
            commit=commit,
            entries={entry.path: entry for entry in entries},
            links={
                path: targets[entry.object].decode(errors="surrogateescape") for path, entry in links.items()
            },
        )
        listing.check_links(self.name, listed)
        return listed

    def _raise_if_damaged(self, output: Output, git_dir: Path) -> None:
        complains = output.ending is Ending.EXITED and _CORRUPT.search(output.stderr)
        if complains and _is_damaged(self._git(git_dir)):
            raise MirrorDamagedError(
                f"the mirror of {self.name} is damaged: {output.complaint}", detail=output.detail or None
            )

    def _blobs(self, objects: Iterable[str]) -> Mapping[str, bytes]:
        """Contents by object hash, all through one process."""
        wanted = set(objects)
        if not wanted:
            return {}
        printed = self._git().ask(
            "cat-file",
            "--batch",
            "--buffer",
            stdin="".join(f"{name}\n" for name in wanted).encode(),
            seconds=self._seconds,
        )
        found = dict(_batch(printed))
        if lost := wanted - found.keys():
            raise MirrorDamagedError(f"the mirror of {self.name} lacks the object {min(lost)}")
        return found

    def _build(self, commit: str, path: Path, lock: int) -> None:
        self.listing(commit)
        with translated():
            for leftover in (self._git_dir / "worktrees").glob("*/*.lock"):
                leftover.unlink(missing_ok=True)
            output = self._git().run(
                *("worktree", "add", "--quiet", "--force", "--detach", "--", str(path), commit),
                seconds=self._seconds,
                holding=lock,
            )
            if not output.succeeded:
                raise failure(f"checking out {commit} of {self.name}", output)
            if self._settings.submodules:
                self._add_submodules(path, lock)

    def _add_submodules(self, path: Path, lock: int) -> None:
        Submodules(
            remote=Remote.of(self.name, self._settings),
            home=self._directory,
            lock=lock,
            cap_mb=self._settings.max_size_mb,
            seconds=self._seconds,
            stop=self._stop,
        ).add(path)

    def _prune(self, lock: int) -> None:
        if (self._git_dir / "worktrees").is_dir():
            self._git().run("worktree", "prune", "--expire=now", holding=lock)


def _checked(commit: str) -> str:
    if not _COMMIT.fullmatch(commit):
        raise UnsafeRepositoryError(f"{listing.printable(commit)} is not a full commit hash")
    return commit


def _commit(entry: str) -> Commit:
    """Reads hash, date, author and subject, a line each."""
    name, at, author, subject = entry.split("\n", 3)
    return Commit(id=name, author=_words(author), at=_date(at), subject=_words(subject))


def _date(text: str) -> datetime:
    """An author may date a commit as he likes, even in the year 20000; that one is as good as undated."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)


def _words(text: str) -> str:
    return log.redact(text)[:_LONGEST_WORDS]


def _good(branch: str) -> str:
    return f"refs/driftwatch/good/{_as_one_part(branch)}"


def _fetched(branch: str) -> str:
    return f"refs/driftwatch/fetched/{_as_one_part(branch)}"


def _as_one_part(branch: str) -> str:
    """The branch without slashes: a ref `a` and a ref `a/b` cannot be there at once, and names do change."""
    return branch.replace("%", "%25").replace("/", "%2F")


def _global_settings(remote: Remote) -> str:
    """What git's own children may know too, which do not get our settings."""
    return f"{_trust(remote)}\thooksPath = /dev/null\n"


def _settings_of_a_push(remote: Remote) -> str:
    """A remote on this machine has its own hooks run, which say what it takes.

    It must not tidy up in the background while it holds our lock.
    """
    return f"{_trust(remote)}[receive]\n\tautoGC = false\n"


def _trust(remote: Remote) -> str:
    """Whose local repositories are trusted.

    Since 2.39.4 git refuses to serve a repository of another user, and listens for exceptions only here.
    """
    path = remote.local_path
    as_given_and_real = {path, path.resolve()} if path else set()
    places = sorted(
        place for one in as_given_and_real for place in (one, one / ".git", one.with_name(f"{one.name}.git"))
    )
    quoted = [str(place).replace("\\", "\\\\").replace('"', '\\"') for place in places]
    lines = ["[safe]", "\tbareRepository = explicit", *(f'\tdirectory = "{place}"' for place in quoted)]
    return "\n".join([*lines, "[core]", "\tfsmonitor = false", ""])


def _write_if_other(path: Path, text: str) -> None:
    with suppress(FileNotFoundError):
        if path.read_text() == text:
            return
    draft = path.with_name(f"{path.name}.new")
    draft.write_text(text)
    draft.replace(path)


def _remove_leftovers(git_dir: Path) -> None:
    """Removes what a killed git left. Only under the lock: it tells that no git is still at work here."""
    for pattern in ("*.lock", "gc.pid", "refs/**/*.lock", "objects/pack/tmp_*", "objects/info/**/*.lock"):
        for leftover in git_dir.glob(pattern):
            leftover.unlink(missing_ok=True)


def _size_of_packs(git_dir: Path) -> int:
    total = 0
    for path in (git_dir / "objects" / "pack").glob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def _is_damaged(git: Git) -> bool:
    """Asks git itself: what a remote says about broken objects may be about its own."""
    return not git.run("rev-list", "--objects", "--all", "--quiet", seconds=120).succeeded


def _is_due(stamp: Path, now: datetime) -> bool:
    """True a week after the last time; the first time only starts the week."""
    try:
        return now - datetime.fromisoformat(stamp.read_text()) > _TIDY_EVERY
    except (OSError, ValueError, TypeError):
        stamp.write_text(now.isoformat())
        return False


def _read_refs(printed: str) -> tuple[str | None, dict[str, str]]:
    """Reads `ls-remote --symref`: the default branch, and every branch with its commit."""
    default, found = None, {}
    for line in printed.splitlines():
        value, _, ref = line.partition("\t")
        if ref == "HEAD" and value.startswith("ref: refs/heads/"):
            default = value.removeprefix("ref: refs/heads/")
        elif ref.startswith("refs/heads/"):
            found[ref.removeprefix("refs/heads/")] = value
    return default, found


def _batch(printed: bytes) -> Iterator[tuple[str, bytes]]:
    """Reads `cat-file --batch`: hash, type, size, a line feed, the content, a line feed."""
    at = 0
    while at < len(printed):
        end = printed.index(b"\n", at)
        name, kind, *size = printed[at:end].split(b" ")
        at = end + 1
        if kind == b"missing":
            continue
        length = int(size[0])
        yield name.decode(), printed[at : at + length]
        at += length + 1
