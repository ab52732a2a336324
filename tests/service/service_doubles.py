"""Doubles of what the daemon needs: a store in memory, work that does what a test says, a clock to turn.

The store keeps the promises of the real one (`test_queue_contract.py` holds both to them).
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from driftwatch.config.settings import Schedule, Settings
from driftwatch.errors import StoreUnavailableError, UnknownStackError
from driftwatch.model import ErrorReport, Job, JobState, StackDeclaration, StackId, Trigger
from driftwatch.service import Checked
from driftwatch.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

Lines = list[dict[str, Any]]
"""What was logged."""

MORNING = datetime(2026, 11, 17, 8, 0, tzinfo=UTC)
MOST_ATTEMPTS = 3
CONTINUOUS = Schedule(continuous=True)
PRIORITIES = {Trigger.MANUAL: 100, Trigger.COMMIT: 80, Trigger.RETRY: 40, Trigger.SCHEDULE: 20}


def stack(name: str, repository: str = "platform") -> StackId:
    return StackId(repository=repository, path=name)


def fleet(size: int, repository: str = "platform") -> list[StackId]:
    return [stack(f"envs/{number:04}", repository) for number in range(size)]


def every(seconds: float) -> Schedule:
    return Schedule(every=timedelta(seconds=seconds))


def replay(throttled: Iterable[str] = (), **reads: int) -> Checked:
    """A check whose next one can be a replay, with its reads by scope."""
    return Checked(replayable=True, reads=reads, throttled=frozenset(throttled))


def plan(throttled: Iterable[str] = (), **reads: int) -> Checked:
    """A check whose next one can only be a plan."""
    return Checked(replayable=False, reads=reads, throttled=frozenset(throttled))


def settings(
    state_dir: Path,
    repositories: Sequence[str] = ("platform",),
    continuous: Mapping[str, object] | None = None,
    **service: object,
) -> Settings:
    return Settings.model_validate(
        {
            "state_dir": str(state_dir),
            "repositories": {
                name: {"url": "https://git.example.com/x.git", "poll": "1h"} for name in repositories
            },
            "service": service,
            "continuous": continuous or {},
        }
    )


def eventually(condition: Callable[[], object], within: float = 5.0) -> bool:
    """Waits for a condition that other threads bring about."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


class Clock:
    """Stands still until it is turned."""

    def __init__(self, now: datetime = MORNING) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def turn(self, **by: float) -> None:
        self.now += timedelta(**by)


def wall_clock() -> datetime:
    return datetime.now(UTC)


@dataclass
class _Row:
    job: Job
    state: JobState
    priority: int
    lease_until: datetime | None = None
    node: str | None = None


@dataclass
class MemoryStore:
    """Queue and due times, as the store keeps them."""

    rows: list[_Row] = field(default_factory=list)
    dues: dict[StackId, datetime | None] = field(default_factory=dict)
    tokens: dict[StackId, int] = field(default_factory=dict)
    is_down: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)
    log: list[str] = field(default_factory=list)

    def declare(self, stacks: Iterable[StackId]) -> None:
        for one in stacks:
            self.dues.setdefault(one, None)

    def enqueue(
        self, stack: StackId, trigger: Trigger, *, requested_by: str | None, at: datetime
    ) -> _Row | None:
        with self._up():
            if stack not in self.dues:
                raise UnknownStackError(f"no stack {stack}")
            self.log.append(f"enqueue {stack}")
            queued = self._find(stack, JobState.QUEUED)
            priority = PRIORITIES[trigger]
            if queued is None:
                return self._add(stack, trigger, priority, requested_by, at, attempts=0)
            if priority > queued.priority:
                queued.priority = priority
                queued.job = replace(queued.job, trigger=trigger, requested_by=requested_by)
            return queued

    def claim(self, node: str, *, at: datetime, lease: timedelta) -> Job | None:
        with self._up():
            free = [
                row
                for row in self.rows
                if row.state is JobState.QUEUED and not self._find(row.job.stack, JobState.RUNNING)
            ]
            if not free:
                return None
            row = min(free, key=lambda row: (-row.priority, row.job.id))
            token = self.tokens[row.job.stack] = self.tokens.get(row.job.stack, 0) + 1
            row.job = replace(row.job, token=token, attempts=row.job.attempts + 1)
            row.state, row.node, row.lease_until = JobState.RUNNING, node, at + lease
            return row.job

    def renew(self, job: Job, *, at: datetime, lease: timedelta) -> bool:
        with self._up():
            row = self._still(job)
            if row:
                row.lease_until = at + lease
            return row is not None

    def finish(self, job: Job, state: JobState, *, at: datetime) -> None:
        with self._up():
            row = self._still(job)
            if row is None:
                return
            row.state = state
            if state is JobState.INTERRUPTED:
                self._again(row, at, attempts=row.job.attempts - 1)

    def recover(self, *, node: str, at: datetime) -> int:
        with self._up():
            self.log.append(f"recover {node}")
            lost = [
                row
                for row in self.rows
                if row.state is JobState.RUNNING and (row.lease_until < at or (node and row.node == node))
            ]
            for row in lost:
                given_up = row.job.attempts >= MOST_ATTEMPTS
                row.state = JobState.FAILED if given_up else JobState.INTERRUPTED
                if not given_up:
                    self._again(row, at, attempts=row.job.attempts)
            return len(lost)

    def due_times(self) -> dict[StackId, datetime | None]:
        with self._up():
            self.log.append("due_times")
            return dict(self.dues)

    def schedule(self, due: Mapping[StackId, datetime]) -> None:
        with self._up():
            self.log.append(f"schedule {len(due)}")
            self.dues.update({stack: at for stack, at in due.items() if stack in self.dues})

    def queue_depth(self) -> dict[JobState, int]:
        with self._up():
            return {
                state: len([row for row in self.rows if row.state is state])
                for state in (JobState.QUEUED, JobState.RUNNING)
            }

    def jobs(self, state: JobState) -> list[Job]:
        with self.lock:
            return [row.job for row in self.rows if row.state is state]

    def _up(self) -> threading.RLock:
        if self.is_down:
            raise StoreUnavailableError("the database is away")
        return self.lock

    def _find(self, stack: StackId, state: JobState) -> _Row | None:
        return next((row for row in self.rows if row.job.stack == stack and row.state is state), None)

    def _still(self, job: Job) -> _Row | None:
        return next(
            (
                row
                for row in self.rows
                if row.job.id == job.id and row.job.token == job.token and row.state is JobState.RUNNING
            ),
            None,
        )

    def _again(self, row: _Row, at: datetime, *, attempts: int) -> None:
        if self._find(row.job.stack, JobState.QUEUED) is None:
            priority = max(row.priority, PRIORITIES[Trigger.RETRY])
            self._add(row.job.stack, Trigger.RETRY, priority, row.job.requested_by, at, attempts=attempts)

    def _add(
        self,
        stack: StackId,
        trigger: Trigger,
        priority: int,
        requested_by: str | None,
        at: datetime,
        *,
        attempts: int,
    ) -> _Row:
        job = Job(
            id=len(self.rows) + 1,
            stack=stack,
            trigger=trigger,
            requested_by=requested_by,
            created_at=at,
            attempts=attempts,
            token=0,
        )
        row = _Row(job=job, state=JobState.QUEUED, priority=priority)
        self.rows.append(row)
        return row


class SqliteStore:
    """The real store, with the double's way to declare stacks."""

    def __init__(self, state_dir: Path) -> None:
        self.store = Store.open(state_dir=state_dir, database=None)

    def declare(self, stacks: Iterable[StackId]) -> None:
        declared = [StackDeclaration(id=one) for one in stacks]
        self.store.sync_stacks("platform", declared, MORNING)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    touched: tuple[StackId, ...] = ()
    error: ErrorReport | None = None


class Queue(Protocol):
    """What a check ends its job with; the real store has it too."""

    def finish(self, job: Job, state: JobState, *, at: datetime) -> None: ...


class ScriptedWork:
    """Checks take `seconds` (or until told to stop) and are written down; `during` is called in each.

    What each was like, `tells` says.
    """

    def __init__(
        self, store: Queue, schedules: Mapping[StackId, Schedule] | None = None, *, seconds: float = 0.0
    ) -> None:
        self.store = store
        self.plans: dict[StackId, Schedule] = dict(schedules or {})
        self.seconds = seconds
        self.during = lambda _job, _stop: None
        self.tells: Callable[[Job], Checked | None] = lambda _job: None
        self.refreshed: list[str] = []
        self.on_refresh = lambda _repository: Refreshed()
        self.begun: list[Job] = []
        self.done: list[Job] = []
        self.stopped: list[Job] = []
        self.at_once: dict[StackId, int] = {}
        self.overlaps: list[StackId] = []
        self._lock = threading.Lock()

    def refresh(self, repository: str) -> Refreshed:
        self.refreshed.append(repository)
        return self.on_refresh(repository)

    def schedules(self) -> dict[StackId, Schedule]:
        return dict(self.plans)

    def check(self, job: Job, stop: threading.Event) -> Checked | None:
        with self._lock:
            self.begun.append(job)
            self.at_once[job.stack] = self.at_once.get(job.stack, 0) + 1
            if self.at_once[job.stack] > 1:
                self.overlaps.append(job.stack)
        try:
            self.during(job, stop)
            if stop.wait(self.seconds):
                self.stopped.append(job)
                return None
            self.store.finish(job, JobState.DONE, at=wall_clock())
            self.done.append(job)
            return self.tells(job)
        finally:
            with self._lock:
                self.at_once[job.stack] -= 1


class Quiet:
    """A sender with nothing to send; it tells what was asked of it."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def run(self, stop: threading.Event) -> None:
        self.log.append("run")
        stop.wait()
        self.log.append("stopped")

    def drain(self) -> int:
        self.log.append("drain")
        return 0
