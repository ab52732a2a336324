"""What the daemon needs of the rest, each a Protocol of at most five methods.

The store, the sender, the web server and the pipeline fulfil these without importing this module; `cli` puts
them together. Values that cross are those of `driftwatch.model` and `driftwatch.config`, and `Checked`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from driftwatch.config.settings import Schedule
    from driftwatch.model import ErrorReport, Job, JobState, StackId, Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check was like, for whoever decides when the next one of its stack is due.

    A scope is an opaque text for an account and region: provider, credentials, region.
    """

    replayable: bool
    """Whether the next check of this stack can be a replay: a recording is there, and it is proved."""
    reads: Mapping[str, int]
    """How many reads a replay of it makes, by scope."""
    throttled: frozenset[str]
    """Scopes in which the cloud asked to slow down during this check."""


class Refreshed(Protocol):
    """What a refresh of a repository brought."""

    @property
    def touched(self) -> Sequence[StackId]:
        """The stacks that the new commit touches: each is to be checked."""

    @property
    def error(self) -> ErrorReport | None:
        """Why the repository could not be refreshed; the last good commit stays in use then."""


class Work(Protocol):
    """What the daemon does all day; everything else here is about when."""

    def refresh(self, repository: str) -> Refreshed:
        """Fetches and takes stock; may take as long as the repository's timeout."""

    def check(self, job: Job, stop: threading.Event) -> Checked | None:
        """Checks one stack and records it; a failed check is recorded, not raised.

        With `stop` set it ends as soon as terraform can, and either records nothing or is done already. None
        where it has learned nothing of the stack: it is gone, or the check was interrupted.
        """

    def schedules(self) -> Mapping[StackId, Schedule]:
        """The schedule of every stack that is known now."""


class Jobs(Protocol):
    """The queue: per stack at most one job waits and one runs."""

    def enqueue(
        self, stack: StackId, trigger: Trigger, *, requested_by: str | None, at: datetime
    ) -> object: ...

    def claim(self, node: str, *, at: datetime, lease: timedelta) -> Job | None: ...

    def renew(self, job: Job, *, at: datetime, lease: timedelta) -> bool:
        """False where the job is not this claim's any more: finished, or given to somebody else."""

    def finish(self, job: Job, state: JobState, *, at: datetime) -> None:
        """Ends a job that no check has ended; an INTERRUPTED one is queued again, in one step."""

    def recover(self, *, node: str | None, at: datetime) -> int:
        """Queues again what runs nowhere: jobs whose lease has passed, and all of `node`, if given."""


class Dues(Protocol):
    """When each stack is due, kept over restarts."""

    def due_times(self) -> Mapping[StackId, datetime | None]: ...

    def schedule(self, due: Mapping[StackId, datetime]) -> None: ...


class Depths(Protocol):
    """How long the queue is, for the metrics."""

    def queue_depth(self) -> Mapping[JobState, int]: ...


class Runnable(Protocol):
    """Something that goes on until it is told to stop: the web server."""

    def run(self, stop: threading.Event) -> None: ...


class Sender(Runnable, Protocol):
    """What delivers messages from the outbox."""

    def drain(self) -> int:
        """Delivers what is due now and returns how many that were."""
