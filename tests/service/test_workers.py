"""Workers on the queue: who gets what, what a lost lease means, and how they stop."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from service_doubles import MORNING, ScriptedWork, eventually, fleet, replay, stack, wall_clock

from driftwatch.errors import (
    DiskFullError,
    DriftwatchError,
    EngineInterruptedError,
    FencedOffError,
    StoreUnavailableError,
)
from driftwatch.model import Job, JobState, StackId, Trigger
from driftwatch.service import workers as workers_module
from driftwatch.service.pulse import ClockWatch
from driftwatch.service.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from service_doubles import Lines, MemoryStore, SqliteStore

    from driftwatch.service import Checked

ONE = stack("one")
SHORT = timedelta(seconds=0.15)


@pytest.fixture(autouse=True)
def _fast_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "QUEUE_POLL_SECONDS", 0.02)


@contextmanager
def at_work(
    work: ScriptedWork,
    count: int = 2,
    *,
    node: str = "here",
    lease: timedelta = timedelta(minutes=1),
    **rest: Any,
) -> Iterator[Workers]:
    hooks = {
        "on_idle": lambda: None,
        "catch_up": lambda: None,
        "on_begun": lambda _stack: None,
        "on_checked": lambda _stack, _checked: None,
        **rest,
    }
    workers = Workers(work, work.store, count=count, node=node, clock=wall_clock, lease=lease, **hooks)
    workers.start()
    try:
        yield workers
    finally:
        workers.drain()
        workers.interrupt()
        assert eventually(workers.is_idle)
        workers.close()


class Told:
    """Who wants to know how checks go; `error` is what goes wrong with that."""

    def __init__(self, error: Exception | None = None) -> None:
        self.heard: list[tuple[object, ...]] = []
        self.error = error

    def begun(self, stack: StackId) -> None:
        self.heard.append(("begun", stack))

    def checked(self, stack: StackId, checked: Checked | None) -> None:
        self.heard.append(("checked", stack, checked))
        if self.error is not None:
            raise self.error


def put(
    store: MemoryStore | SqliteStore, stacks: Iterable[StackId], trigger: Trigger = Trigger.SCHEDULE
) -> None:
    for one in stacks:
        store.enqueue(one, trigger, requested_by=None, at=wall_clock())


def test_every_job_is_done_once_and_never_two_on_one_stack(queue: MemoryStore | SqliteStore) -> None:
    """Whatever is queued while a check of the same stack runs comes after it."""
    stacks = fleet(8)
    queue.declare(stacks)
    work = ScriptedWork(queue, seconds=0.01)
    work.during = lambda job, _stop: (
        put(queue, [job.stack]) if job.attempts == 1 and len(work.begun) <= 8 else None
    )
    put(queue, stacks)
    with at_work(work, 4):
        assert eventually(lambda: len(work.done) == 16, within=15)
    assert work.overlaps == []
    assert queue.queue_depth() == {JobState.QUEUED: 0, JobState.RUNNING: 0}
    assert sorted(str(job.stack) for job in work.done) == sorted(map(str, [*stacks, *stacks]))


@pytest.mark.row(42)
def test_two_daemons_on_one_queue_share_the_work(queue: MemoryStore | SqliteStore) -> None:
    """Row 42: 200 stacks, two nodes; each job is done once, by one of them."""
    stacks = fleet(200)
    queue.declare(stacks)
    put(queue, stacks)
    works = ScriptedWork(queue), ScriptedWork(queue)
    with at_work(works[0], node="a"), at_work(works[1], node="b"):
        assert eventually(lambda: len(works[0].done) + len(works[1].done) == 200, within=30)
    done = [str(job.stack) for work in works for job in work.done]
    assert sorted(done) == sorted(map(str, stacks))


def test_workers_run_side_by_side_up_to_their_number(memory: MemoryStore) -> None:
    stacks = fleet(5)
    memory.declare(stacks)
    put(memory, stacks)
    work, gate = ScriptedWork(memory), threading.Event()
    work.during = lambda _job, _stop: gate.wait(5)
    with at_work(work, 3) as workers:
        assert eventually(lambda: len(workers.running) == 3)
        assert not eventually(lambda: len(workers.running) > 3, within=0.1)
        gate.set()
        assert eventually(lambda: len(work.done) == 5)


def test_idle_workers_do_not_all_watch_the_queue(memory: MemoryStore) -> None:
    """One asks, the others sleep: eight workers cost an idle daemon what one does."""
    asked = []
    memory.claim = lambda *_args, **_rest: asked.append(threading.current_thread().name)
    with at_work(ScriptedWork(memory), 8):
        assert eventually(lambda: len(asked) > 5)
    assert len(set(asked)) == 1


def test_the_bell_is_heard_at_once(memory: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only jobs of other processes wait for the next look at the queue."""
    monkeypatch.setattr(workers_module, "QUEUE_POLL_SECONDS", 30)
    memory.declare([ONE])
    work = ScriptedWork(memory)
    with at_work(work) as workers:
        put(memory, [ONE])
        workers.ring()
        assert eventually(lambda: len(work.done) == 1)


def test_a_long_check_keeps_its_lease(queue: MemoryStore | SqliteStore) -> None:
    queue.declare([ONE])
    put(queue, [ONE])
    work = ScriptedWork(queue, seconds=5 * SHORT.total_seconds())
    with at_work(work, lease=SHORT):
        assert eventually(lambda: len(work.done) == 1)
    assert len(work.begun) == 1


@pytest.mark.row(43)
def test_a_lost_lease_stops_the_check(queue: MemoryStore | SqliteStore, lines: Lines) -> None:
    """Row 43 (part): the job went to somebody else; its check here is told to stop, and settles nothing."""
    queue.declare([ONE])
    put(queue, [ONE])
    work = ScriptedWork(queue, seconds=30)
    with at_work(work, lease=SHORT):
        assert eventually(lambda: len(work.begun) == 1)
        queue.recover(node="here", at=wall_clock())
        other = queue.claim("there", at=wall_clock(), lease=timedelta(hours=1))
        assert eventually(lambda: len(work.stopped) == 1)
        assert other.stack == ONE
        assert queue.renew(other, at=wall_clock(), lease=timedelta(hours=1)), "the other one still has it"
    assert [line["action"] for line in lines if line["log_level"] == "warning"] == ["lease_lost"]


def test_a_stack_that_comes_back_waits_for_its_earlier_check(queue: MemoryStore | SqliteStore) -> None:
    """The lease was lost to this very daemon: the earlier check is gone before the later one starts."""
    queue.declare([ONE])
    put(queue, [ONE])
    work = ScriptedWork(queue)
    ending = threading.Event()

    def during(job: Job, stop: threading.Event) -> None:
        if len(work.begun) == 1:
            stop.wait(10)
            ending.wait(10)

    work.during = during
    with at_work(work, 2):
        assert eventually(lambda: len(work.begun) == 1)
        queue.recover(node="here", at=wall_clock())
        assert not eventually(lambda: len(work.begun) == 2, within=0.3)
        ending.set()
        assert eventually(lambda: len(work.done) == 1)
    assert len(work.begun) == 2
    assert work.overlaps == []


@pytest.mark.row(42)
def test_what_a_dead_daemon_had_is_taken_over(queue: MemoryStore | SqliteStore, lines: Lines) -> None:
    """Row 42: nobody renews the lease; when it has passed, somebody else does the check."""
    queue.declare([ONE])
    put(queue, [ONE])
    queue.claim("dead", at=wall_clock() - timedelta(minutes=2), lease=timedelta(minutes=1))
    work = ScriptedWork(queue)
    caught_up: list[int] = []
    with at_work(work, lease=SHORT, catch_up=lambda: caught_up.append(len(work.begun))):
        assert eventually(lambda: len(work.done) == 1)
    assert caught_up[0] == 0, "what was laid aside is written before jobs are taken over"
    assert any(line["action"] == "recover" for line in lines)


@pytest.mark.row(51)
def test_a_step_of_the_clock_takes_no_lease_away(
    memory: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 51: by the new time every lease has passed; all get the time to renew before one is taken over."""
    memory.declare([ONE])
    put(memory, [ONE])
    memory.claim("other", at=MORNING, lease=timedelta(minutes=1))
    monkeypatch.setattr(ClockWatch, "step", lambda _self: timedelta(days=365))
    work = ScriptedWork(memory)
    with at_work(work, lease=SHORT):
        assert not eventually(lambda: work.begun, within=0.4)
    assert "recover None" not in memory.log


@pytest.mark.row(46)
def test_workers_outlive_a_store_that_is_away(memory: MemoryStore, lines: Lines) -> None:
    """Row 46: said once, tried again, and done when it is back."""
    memory.declare([ONE])
    put(memory, [ONE])
    memory.is_down = True
    work = ScriptedWork(memory)
    with at_work(work, lease=SHORT) as workers:
        assert eventually(lambda: all(outage.error for outage in workers.outages))
        memory.is_down = False
        assert eventually(lambda: len(work.done) == 1)
        assert eventually(lambda: not any(outage.error for outage in workers.outages))
    assert sorted(line["action"] for line in lines) == ["outage", "outage", "recovered", "recovered"]


@pytest.mark.row(46)
@pytest.mark.row(17)
@pytest.mark.parametrize("problem", [StoreUnavailableError("away"), DiskFullError("no space left")])
def test_a_check_whose_end_cannot_be_written_comes_again(
    memory: MemoryStore, lines: Lines, problem: DriftwatchError
) -> None:
    """Rows 46 and 17: its job stays open, nobody renews it, and it is queued again after the lease."""
    memory.declare([ONE])
    put(memory, [ONE])
    work = ScriptedWork(memory)

    def during(_job: Job, _stop: threading.Event) -> None:
        if len(work.begun) == 1:
            raise problem

    work.during = during
    with at_work(work, lease=SHORT):
        assert eventually(lambda: len(work.done) == 1)
    assert [job.attempts for job in work.begun] == [1, 2]


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (RuntimeError("a fault of ours"), "error"),
        (EngineInterruptedError("somebody killed terraform"), "warning"),
    ],
)
def test_a_check_that_raises_ends_its_job_and_not_the_worker(
    queue: MemoryStore | SqliteStore, lines: Lines, error: Exception, level: str
) -> None:
    two = stack("two")
    queue.declare([ONE, two])
    put(queue, [ONE, two])
    work = ScriptedWork(queue)

    def during(job: Job, _stop: threading.Event) -> None:
        if job.stack == ONE:
            raise error

    work.during = during
    with at_work(work, 1):
        assert eventually(lambda: len(work.done) == 1)
    assert queue.queue_depth() == {JobState.QUEUED: 0, JobState.RUNNING: 0}
    assert [(line["log_level"], line["stack"]) for line in lines] == [(level, str(ONE))]


def test_a_late_result_is_refused_and_that_is_the_end_of_it(memory: MemoryStore, lines: Lines) -> None:
    memory.declare([ONE])
    put(memory, [ONE])
    work = ScriptedWork(memory)

    def during(_job: Job, _stop: threading.Event) -> None:
        raise FencedOffError("the check came too late")

    work.during = during
    with at_work(work):
        assert eventually(lambda: lines)
    assert lines[0]["error"] == "fenced_off"


def test_draining_finishes_what_runs_and_begins_nothing(queue: MemoryStore | SqliteStore) -> None:
    stacks = fleet(3)
    queue.declare(stacks)
    put(queue, stacks)
    work, gate, home = ScriptedWork(queue), threading.Event(), threading.Event()
    work.during = lambda _job, _stop: gate.wait(5)
    with at_work(work, 2, on_idle=home.set) as workers:
        assert eventually(lambda: len(work.begun) == 2)
        workers.drain()
        assert not workers.is_idle()
        gate.set()
        assert home.wait(5)
        assert eventually(workers.is_idle)
    assert len(work.done) == 2
    assert queue.queue_depth() == {JobState.QUEUED: 1, JobState.RUNNING: 0}


def test_interrupted_checks_are_queued_again_with_their_rank(queue: MemoryStore | SqliteStore) -> None:
    one, two = fleet(2)
    queue.declare([one, two])
    put(queue, [one])
    put(queue, [two], Trigger.MANUAL)
    work = ScriptedWork(queue, seconds=30)
    with at_work(work, 2) as workers:
        assert eventually(lambda: len(work.begun) == 2)
        workers.drain()
        workers.interrupt()
        assert eventually(workers.is_idle)
    assert queue.queue_depth() == {JobState.QUEUED: 2, JobState.RUNNING: 0}
    assert queue.claim("next", at=wall_clock(), lease=SHORT).stack == two


def test_a_check_that_was_done_just_when_it_was_told_to_stop_is_done(
    queue: MemoryStore | SqliteStore,
) -> None:
    queue.declare([ONE])
    put(queue, [ONE])
    work = ScriptedWork(queue)

    def check(job: Job, stop: threading.Event) -> Checked:
        work.begun.append(job)
        stop.wait(10)
        queue.finish(job, JobState.DONE, at=wall_clock())
        return replay()

    work.check = check
    told = Told()
    with at_work(work, on_checked=told.checked) as workers:
        assert eventually(lambda: work.begun)
        workers.drain()
        workers.interrupt()
        assert eventually(workers.is_idle)
    assert queue.queue_depth() == {JobState.QUEUED: 0, JobState.RUNNING: 0}
    assert told.heard == [("checked", ONE, replay())]


def test_a_job_that_is_claimed_in_the_moment_of_the_end_is_put_back(memory: MemoryStore) -> None:
    memory.declare([ONE])
    put(memory, [ONE])
    work, claiming, gate = ScriptedWork(memory, seconds=30), threading.Event(), threading.Event()
    claim = memory.claim

    def slow(*args: Any, **rest: Any) -> Job | None:
        job = claim(*args, **rest)
        claiming.set()
        gate.wait(5)
        return job

    memory.claim = slow
    with at_work(work, 1) as workers:
        assert claiming.wait(5)
        workers.drain()
        workers.interrupt()
        gate.set()
        assert eventually(workers.is_idle)
    assert work.begun == []
    assert len(memory.jobs(JobState.QUEUED)) == 1


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("a fault of ours"),
        EngineInterruptedError("somebody killed terraform"),
        StoreUnavailableError("away"),
        FencedOffError("the check came too late"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_that_a_check_has_ended_is_told_however_it_ended(
    memory: MemoryStore, lines: Lines, error: Exception
) -> None:
    """What one was like, if it has said so; of one that raised, that nothing is known."""
    two = stack("two")
    memory.declare([ONE, two])
    put(memory, [ONE, two])
    work, told = ScriptedWork(memory), Told()
    work.tells = lambda _job: replay(eu=12)

    def during(job: Job, _stop: threading.Event) -> None:
        if job.stack == ONE:
            raise error

    work.during = during
    with at_work(work, 1, on_begun=told.begun, on_checked=told.checked):
        assert eventually(lambda: len(told.heard) == 4)
    assert told.heard == [
        ("begun", ONE),
        ("checked", ONE, None),
        ("begun", two),
        ("checked", two, replay(eu=12)),
    ]


def test_that_a_check_was_told_to_stop_is_told_too(memory: MemoryStore) -> None:
    memory.declare([ONE])
    put(memory, [ONE])
    work, told = ScriptedWork(memory, seconds=30), Told()
    with at_work(work, on_checked=told.checked) as workers:
        assert eventually(lambda: work.begun)
        workers.drain()
        workers.interrupt()
        assert eventually(workers.is_idle)
    assert told.heard == [("checked", ONE, None)]


def test_a_stack_that_comes_back_is_told_in_order(memory: MemoryStore) -> None:
    """That the earlier check has ended is told before the later one begins: both are of one stack."""
    memory.declare([ONE])
    put(memory, [ONE])
    work, told = ScriptedWork(memory), Told()
    work.during = lambda _job, stop: stop.wait(10) if len(work.begun) == 1 else None
    work.tells = lambda _job: replay()
    with at_work(work, 2, on_begun=told.begun, on_checked=told.checked):
        assert eventually(lambda: len(work.begun) == 1)
        memory.recover(node="here", at=wall_clock())
        assert eventually(lambda: len(told.heard) == 4)
    assert told.heard == [("begun", ONE), ("checked", ONE, None), ("begun", ONE), ("checked", ONE, replay())]


def test_a_worker_outlives_who_wants_to_know(memory: MemoryStore, lines: Lines) -> None:
    two = stack("two")
    memory.declare([ONE, two])
    put(memory, [ONE, two])
    work, told = ScriptedWork(memory), Told(RuntimeError("a fault of ours"))
    with at_work(work, 1, on_checked=told.checked):
        assert eventually(lambda: len(work.done) == 2)
    assert [line["stack"] for line in lines if line["log_level"] == "error"] == [str(ONE), str(two)]


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_child_of_a_check_lives_as_long_as_its_check(memory: MemoryStore) -> None:
    """The kernel ends a child with the thread that started it: workers' threads are there for that long."""
    memory.declare(fleet(6))
    put(memory, fleet(6))
    work, codes = ScriptedWork(memory), []
    libc = ctypes.CDLL(None)

    def during(_job: Job, _stop: threading.Event) -> None:
        command = [sys.executable, "-c", "import time; time.sleep(0.2)"]
        set_signal = lambda: libc.prctl(1, signal.SIGKILL)  # noqa: E731
        with subprocess.Popen(command, preexec_fn=set_signal) as child:  # noqa: PLW1509  what is tested
            codes.append(child.wait())

    work.during = during
    with at_work(work, 2):
        assert eventually(lambda: len(work.done) == 6, within=15)
    assert codes == [0] * 6
