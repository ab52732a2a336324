"""What the pipeline needs of the worlds around it, each a Protocol of at most five methods.

The adapters (`git`, `terraform`, `aws`, `store`) fulfil these without importing this module; `cli` puts them
together. Values that cross a port belong to the adapter that makes them or to `driftwatch.model`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from driftwatch.git import Fetched, RootModule
    from driftwatch.git.branches import Opened
    from driftwatch.git.drafting import Edits
    from driftwatch.git.pulls import Merged
    from driftwatch.git.reverting import Revert
    from driftwatch.model import (
        Announcement,
        CheckResult,
        Commit,
        CommitStatus,
        ErrorReport,
        Inputs,
        Job,
        PullRequest,
        Remark,
        StackDeclaration,
        StackId,
    )
    from driftwatch.terraform import Attach, Place, Planned, PlanRequest


class Source(Protocol):
    """Where the code comes from: one repository, as the inventory reads it."""

    def fetch(self) -> Fetched: ...

    def head(self) -> str | None: ...

    def discover(self, commit: str, globs: Sequence[str]) -> tuple[RootModule, ...]: ...

    def read(self, commit: str, path: str) -> bytes | None: ...

    def tree(self, commit: str, paths: Sequence[str]) -> str: ...


class Reverts(Protocol):
    """The same repository, where people can be given something to merge."""

    def open_revert(self, revert: Revert) -> Opened:
        """Opens a branch on the remote. Raises RepositoryError where that cannot be."""


class Drafts(Protocol):
    """The same repository, where edits of its files are tried before anybody sees them."""

    def draft(self, edits: Edits) -> str:
        """Makes a commit of edits that only this machine knows, and returns it; it can be checked out."""

    def publish(self, draft: str, branch: str) -> Opened:
        """Opens a branch on the remote at a drafted commit. Never forces, never touches another branch.

        `branch` is None in the answer where it changes nothing; `is_new` is false where a branch with just
        this content is there already.
        """


class Changes(Protocol):
    """The same repository, as far as it says what a commit changes."""

    def changed(self, base: str, commit: str) -> tuple[str, ...]:
        """The paths that differ between two commits, both names of what was renamed."""


class Proposals(Changes, Protocol):
    """The same repository, where others propose to change it."""

    def fetch_pull_request(self, number: int, *, kind: str, head: str) -> Merged:
        """Fetches a pull request's head and merges it with the branch's head, on this machine only.

        `kind` is the forge's (github, gitlab). Raises RepositoryError where it cannot be had, the head is
        another by now (`PullRequestMovedError`), or they do not merge (`MergeConflictError`).
        """


class PullRequests(Protocol):
    """A forge, as previews use it. Raises ForgeError."""

    def pull_request(self, number: int) -> PullRequest | None:
        """None where there is none of that number."""

    def open_pull_requests(self) -> Sequence[PullRequest]:
        """Those that are open, the most recently updated first; no more than a few hundred."""

    def remarks(self, number: int) -> Sequence[Remark]:
        """The comments, the oldest first; of more than a few hundred, the latest."""

    def say(self, number: int, mark: str, body: str) -> None:
        """Writes driftwatch's one comment: the one of its own that begins with `mark`, or a new one."""

    def set_status(self, commit: str, status: CommitStatus) -> None:
        """Sets one status of a commit."""


class Offers(Protocol):
    """A forge, where something is offered to people. Raises ForgeError."""

    def offer(self, *, branch: str, base: str, title: str, body: str) -> str:
        """Opens a pull request of a branch and returns its URL; that of the one that is open already."""

    def report(self, *, mark: str, title: str, body: str) -> str:
        """Opens an issue, or updates the open one whose body begins with `mark`; returns its URL."""


class Checkouts(Reverts, Changes, Protocol):
    """The same repository, as checks and repairs use it."""

    def checkout(self, commit: str) -> AbstractContextManager[Path]: ...

    def submodules(self, commit: str) -> tuple[str, ...]: ...

    def history(
        self, base: str | None, commit: str, paths: Sequence[str], *, tree: str | None = None
    ) -> tuple[Commit, ...]:
        """What touched the paths since `base`, or where that is gone, since they had the digest `tree`."""

    def tree(self, commit: str, paths: Sequence[str]) -> str: ...

    def is_merged(self, commit: str) -> bool:
        """Whether a commit is on the branch."""


class Repository(Source, Checkouts, Protocol):
    """Both at once; the git adapter's mirror is one."""


class Planner(Protocol):
    """terraform or tofu."""

    def plan(
        self,
        request: PlanRequest,
        stop: threading.Event,
        progress: Callable[[str], None] | None = None,
        attach: Attach | None = None,
    ) -> Planned: ...

    def standing(self, request: PlanRequest) -> Place | None:
        """Where the last plan of this stack stands initialised."""

    def pull_state(self, request: PlanRequest, place: Place, binary: Path, stop: threading.Event) -> bytes:
        """The state as `state pull` has it."""


class StoredObject(Protocol):
    """What lies where a state is stored: `content` None where nothing changed, empty where there is none."""

    @property
    def etag(self) -> str | None: ...

    @property
    def content(self) -> bytes | None: ...


class StoredState(Protocol):
    """One state in a store of objects."""

    def read(self, unless: str | None = None) -> StoredObject:
        """What is there now, unless it still has this etag. Raises StateUnreadableError and EngineError."""


class StoredStates(Protocol):
    """Stores that can be asked without terraform."""

    def s3(
        self, config: Mapping[str, Any], workspace: str, environment: Mapping[str, str], *, directory: Path
    ) -> StoredState:
        """Raises StateUnreadableError for a configuration that it does not understand."""


class Identities(Protocol):
    """Tells whose credentials an environment holds."""

    def expect(self, environment: Mapping[str, str], account: str) -> None:
        """Raises IdentityMismatchError where they are not `account`'s."""


class Recorded(Protocol):
    """What the ledger answers: the check's row and what people will be told."""

    @property
    def check_id(self) -> int: ...

    @property
    def announcements(self) -> Sequence[Announcement]: ...

    @property
    def open_findings(self) -> int:
        """How many findings of the stack wait for somebody now."""


class Ledger(Protocol):
    """Where checks are kept."""

    def baseline(self, stack: StackId) -> Inputs | None: ...

    def record_check(
        self,
        result: CheckResult,
        *,
        declaration: StackDeclaration,
        channels: Sequence[str],
        job: Job | None = None,
    ) -> Recorded: ...


class Spool(Protocol):
    """Where a result waits while the ledger cannot be written."""

    def save(
        self,
        result: CheckResult,
        *,
        declaration: StackDeclaration,
        channels: Sequence[str],
        job: Job | None = None,
    ) -> Any: ...


class Register(Protocol):
    """Where repositories and stacks are kept."""

    def record_fetch(
        self,
        repository: str,
        *,
        url: str,
        branch: str,
        commit: str | None,
        error: ErrorReport | None,
        at: datetime,
    ) -> None: ...

    def sync_stacks(
        self,
        repository: str,
        declared: Sequence[StackDeclaration],
        at: datetime,
        *,
        gone: Mapping[StackId, str] | None = None,
    ) -> Any:
        """`gone` has a sentence for people on each of the stacks that were there and are not any more."""
