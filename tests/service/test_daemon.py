"""The daemon's life in one process: the order of its start and its end, and what goes on in between."""

from __future__ import annotations

import os
import threading
from collections import Counter
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import REGISTRY
from service_doubles import (
    CONTINUOUS,
    Quiet,
    Refreshed,
    ScriptedWork,
    SqliteStore,
    eventually,
    every,
    fleet,
    plan,
    replay,
    settings,
    stack,
    wall_clock,
)

from driftwatch.errors import (
    ConfigError,
    StateDirectoryHeldError,
    StoreUnavailableError,
    UsageError,
)
from driftwatch.model import ErrorReport, JobState, Trigger
from driftwatch.service import Daemon, Notifier, StateLock
from driftwatch.service import daemon as daemon_module
from driftwatch.service import intake as intake_module
from driftwatch.service import scheduler as scheduler_module
from driftwatch.service.lock import last_holder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service_doubles import Lines, MemoryStore

HOURLY = every(3600)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler_module, "ROUND_SECONDS", 0.02)
    monkeypatch.setattr(daemon_module, "RESTART_SECONDS", 0.02)
    monkeypatch.setattr(intake_module, "RETRY_SECONDS", 0.05)


class Diary(Notifier):
    """A service manager that keeps what it is told, between the events of the test."""

    def __init__(self, events: list[str]) -> None:
        super().__init__("@nobody")
        self.events = events

    def _send(self, message: str) -> None:
        self.events.append(message.split("\n", maxsplit=1)[0])


class Web:
    """An extra part, told apart by its events."""

    def __init__(self, events: list[str], error: Exception | None = None) -> None:
        self.events = events
        self.error = error
        self.runs = 0

    def run(self, stop: threading.Event) -> None:
        self.runs += 1
        self.events.append("web up")
        if self.error is not None and self.runs < 3:
            raise self.error
        stop.wait()
        self.events.append("web down")


class House:
    """A daemon on doubles, run in a thread."""

    def __init__(self, store: Any, state_dir: Path, **given: Any) -> None:
        service = {"shutdown_grace": "30s", **given.pop("service", {})}
        self.events: list[str] = []
        self.store = store
        self.work: ScriptedWork = given.pop("work", None) or ScriptedWork(store)
        self.sender = Quiet()
        self.sender.log = self.events
        self.error: BaseException | None = None
        self.code: int | None = None
        self.daemon = Daemon(
            settings(
                state_dir,
                given.pop("repositories", ("platform",)),
                continuous=given.pop("continuous", None),
                **service,
            ),
            work=self.work,
            jobs=store,
            dues=store,
            depths=store,
            clock=wall_clock,
            sender=self.sender,
            notifier=Diary(self.events),
            **given,
        )
        self.thread = threading.Thread(target=self._run, name="daemon under test")

    def watch(self, *stacks: Any, schedule: Any = HOURLY) -> House:
        self.store.declare(stacks)
        self.work.plans = dict.fromkeys(stacks, schedule)
        return self

    def _run(self) -> None:
        try:
            self.code = self.daemon.run()
        except BaseException as error:  # noqa: BLE001  the test looks at it
            self.error = error

    @property
    def is_ready(self) -> bool:
        return self.daemon.health.readiness()[0]

    @contextmanager
    def up(self) -> Iterator[House]:
        self.thread.start()
        try:
            assert eventually(lambda: self.is_ready or not self.thread.is_alive())
            yield self
        finally:
            for _ in range(2):
                self.daemon.stop()
            assert self.gone()

    def gone(self, within: float = 10) -> bool:
        self.thread.join(within)
        return not self.thread.is_alive()


def test_it_starts_in_order_and_ends_in_order(memory: MemoryStore, tmp_path: Path) -> None:
    """Nothing is checked before what an earlier daemon left is cleared up; messages go out last."""
    events: list[str] = []
    house = House(
        memory,
        tmp_path,
        catch_up=lambda: events.append(f"catch up, lock held: {last_holder(tmp_path).pid == os.getpid()}"),
        sweep=lambda: events.append("sweep"),
    ).watch(stack("one"))
    house.events = house.sender.log = house.daemon._notifier.events = memory.log = events
    house.work.on_refresh = lambda name: events.append(f"refresh {name}") or Refreshed()
    house.work.during = lambda _job, _stop: events.append("check")
    house.daemon.attach(Web(events))
    with house.up():
        assert eventually(lambda: "check" in events)
        assert eventually(lambda: "web up" in events)
        house.daemon.stop()
        assert house.gone()
    order = [
        event for event in events if event.split()[0] not in ("enqueue", "schedule", "STATUS=recovering")
    ]
    start = order[: order.index("READY=1")]
    assert start[0] == "catch up, lock held: True"
    assert start[1].startswith("recover ")
    assert start[2:6] == ["sweep", "STATUS=refreshing repositories", "refresh platform", "due_times"]
    assert set(start[6:]) <= {"run", "web up", "check"}
    end = order[order.index("STOPPING=1") :]
    assert end == ["STOPPING=1", "stopped", "drain", "web down"]
    assert house.code == 0


def test_a_stack_is_checked_by_schedule_and_the_queue_is_empty_after_that(
    memory: MemoryStore, tmp_path: Path
) -> None:
    stacks = fleet(10)
    with House(memory, tmp_path).watch(*stacks).up() as house:
        assert eventually(lambda: len(house.work.done) == 10)
        assert memory.queue_depth() == {JobState.QUEUED: 0, JobState.RUNNING: 0}
        assert {job.trigger for job in house.work.done} == {Trigger.SCHEDULE}


def test_a_repository_is_asked_when_somebody_says_so(memory: MemoryStore, tmp_path: Path) -> None:
    """Long before its next poll. A name that is not configured does nothing."""
    one = stack("one")
    house = House(memory, tmp_path).watch(one)
    with house.up():
        assert eventually(lambda: house.work.refreshed == ["platform"])
        house.daemon.poll("elsewhere")
        house.daemon.poll("platform")
        assert eventually(lambda: house.work.refreshed == ["platform"] * 2)


def test_a_restart_does_not_check_the_fleet_again(tmp_path: Path) -> None:
    """Due times survive in the database."""
    state = tmp_path / "state"
    stacks = fleet(10)
    for checked in (10, 0):
        store = SqliteStore(state)
        with House(store, state).watch(*stacks).up() as house:
            assert eventually(lambda house=house, checked=checked: len(house.work.done) == checked)
            assert not eventually(lambda house=house, checked=checked: len(house.work.done) > checked, 0.3)
            assert eventually(lambda store=store: None not in store.due_times().values())
        store.close()


def test_continuous_stacks_are_checked_again_and_again(memory: MemoryStore, tmp_path: Path) -> None:
    """Those that can be replayed; one of which only plans are to be had comes rarely."""
    one, two, three = fleet(3)
    house = House(memory, tmp_path, continuous={"min_interval": "50ms", "cpu_share": 1}, cpu=lambda: 0)
    house.watch(one, two, three, schedule=CONTINUOUS)
    house.work.tells = lambda job: replay(eu=1) if job.stack != three else plan(eu=1)
    with house.up():
        assert eventually(lambda: len(house.work.done) > 12, within=15)
        counts = Counter(job.stack for job in house.work.done)
        assert counts[three] == 1
        assert abs(counts[one] - counts[two]) <= 1
        assert {job.trigger for job in house.work.done} == {Trigger.SCHEDULE}
        assert house.work.overlaps == []
        assert len(house.daemon._scheduler.due_times()) == 3


def test_continuous_checks_of_work_that_says_nothing_are_plans(memory: MemoryStore, tmp_path: Path) -> None:
    house = House(memory, tmp_path, continuous={"min_interval": "1ms"})
    with house.watch(*fleet(4), schedule=CONTINUOUS).up():
        assert eventually(lambda: len(house.work.done) == 4)
        assert not eventually(lambda: len(house.work.done) > 4, within=0.3)


def test_a_commit_need_not_wait_behind_continuous_checks(memory: MemoryStore, tmp_path: Path) -> None:
    """However many are due, only a few of them are in the queue at once."""
    stacks = fleet(40)
    gate = threading.Event()
    house = House(memory, tmp_path, cpu=lambda: 0).watch(*stacks, schedule=CONTINUOUS)
    house.work.during = lambda _job, _stop: gate.wait(10)
    with house.up():
        assert eventually(lambda: len(house.work.begun) == 2)
        assert not eventually(lambda: memory.queue_depth()[JobState.QUEUED] > 2, within=0.3)
        house.daemon._intake.owe(stacks[-1], Trigger.COMMIT)
        assert eventually(lambda: memory.queue_depth()[JobState.QUEUED] == 3)
        gate.set()
        assert eventually(lambda: len(house.work.done) >= 3)
        assert house.work.begun[2].trigger is Trigger.COMMIT


def test_a_machine_that_is_busy_gets_no_continuous_checks_but_now_and_then(
    memory: MemoryStore, tmp_path: Path
) -> None:
    busy = iter(range(0, 10**9, 10**4))
    house = House(memory, tmp_path, continuous={"min_interval": "1ms"}, cpu=lambda: next(busy))
    house.work.tells = lambda _job: replay()
    with house.watch(*fleet(20), schedule=CONTINUOUS).up():
        assert eventually(lambda: house.work.done)
        assert not eventually(lambda: len(house.work.done) > 5, within=0.5)


def test_one_that_cannot_tell_its_cpu_time_says_so(memory: MemoryStore, tmp_path: Path) -> None:
    """Other schedules go on; it is not ready, as it does not do all that is asked of it."""

    def broken() -> float:
        raise OSError("no such process")

    one, two, three = fleet(3)
    house = House(memory, tmp_path, cpu=broken).watch(one, two, three)
    house.work.plans[three] = CONTINUOUS
    house.thread.start()
    try:
        assert eventually(lambda: {job.stack for job in house.work.done} == {one, two})
        assert eventually(lambda: "no such process" in house.daemon.health.readiness()[1]["failing"])
        assert house.daemon.health.liveness()[0]
    finally:
        house.daemon.stop()
        assert house.gone()


def test_a_commit_is_checked_at_once_and_new_stacks_are_planned(memory: MemoryStore, tmp_path: Path) -> None:
    one, two = fleet(2)
    with House(memory, tmp_path).watch(one).up() as house:
        assert eventually(lambda: len(house.work.done) == 1)
        memory.declare([two])
        house.work.plans[two] = HOURLY
        house.work.on_refresh = lambda _: Refreshed(touched=(one,))
        house.daemon._pollers.poll("platform")
        assert eventually(lambda: len(house.work.done) == 3)
        assert {(job.stack, job.trigger) for job in house.work.done[1:]} == {
            (one, Trigger.COMMIT),
            (two, Trigger.SCHEDULE),
        }


@pytest.mark.row(31)
def test_a_hung_remote_does_not_hold_up_the_start(
    memory: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 31: what is known of the others is checked; the hung one is taken up whenever it answers."""
    monkeypatch.setattr(daemon_module, "FIRST_REFRESH", timedelta(seconds=0.1))
    answer = threading.Event()
    one, late = stack("one", "b"), stack("late", "a")
    house = House(memory, tmp_path, repositories=("a", "b")).watch(one)

    def refresh(name: str) -> Refreshed:
        if name == "a" and answer.wait(10):
            memory.declare([late])
            house.work.plans[late] = HOURLY
        return Refreshed()

    house.work.on_refresh = refresh
    with house.up():
        assert eventually(lambda: [job.stack for job in house.work.done] == [one])
        answer.set()
        assert eventually(lambda: [job.stack for job in house.work.done] == [one, late])


def test_the_end_can_be_asked_for_during_the_start(memory: MemoryStore, tmp_path: Path) -> None:
    answer = threading.Event()
    house = House(memory, tmp_path)
    house.work.on_refresh = lambda _: Refreshed(touched=() if answer.wait(10) else (stack("x"),))
    house.thread.start()
    assert eventually(lambda: house.work.refreshed == ["platform"])
    house.daemon.stop()
    assert eventually(lambda: "STOPPING=1" in house.events)
    answer.set()
    assert house.gone()
    assert house.code == 0
    assert "READY=1" not in house.events


def test_checks_that_run_get_their_grace(memory: MemoryStore, tmp_path: Path) -> None:
    """No new work, but what runs is finished and recorded, and nobody is kept waiting after that."""
    one, two = fleet(2)
    gate = threading.Event()
    house = House(memory, tmp_path, service={"workers": 1}).watch(one, two)
    house.work.during = lambda _job, _stop: gate.wait(10)
    with house.up():
        assert eventually(lambda: house.work.begun)
        house.daemon.stop()
        assert eventually(lambda: "STOPPING=1" in house.events)
        assert not house.is_ready
        assert house.daemon.health.liveness()[0]
        gate.set()
        assert house.gone()
    assert len(house.work.done) == 1
    assert memory.queue_depth() == {JobState.QUEUED: 1, JobState.RUNNING: 0}


def test_after_the_grace_they_are_told_to_stop_and_come_again(memory: MemoryStore, tmp_path: Path) -> None:
    house = House(memory, tmp_path, service={"shutdown_grace": "100ms"}).watch(stack("one"))
    house.work.seconds = 30
    with house.up():
        assert eventually(lambda: house.work.begun)
        house.daemon.stop()
        assert house.gone()
    assert len(house.work.stopped) == 1
    assert memory.queue_depth() == {JobState.QUEUED: 1, JobState.RUNNING: 0}
    assert house.code == 0


def test_asking_twice_hurries_and_a_third_time_changes_nothing(
    memory: MemoryStore, tmp_path: Path, lines: Lines
) -> None:
    house = House(memory, tmp_path).watch(stack("one"))
    ladder = threading.Event()

    def during(_job: Any, stop: threading.Event) -> None:
        stop.wait(10)
        ladder.wait(10)

    house.work.during = during
    with house.up():
        assert eventually(lambda: house.work.begun)
        house.daemon.stop()
        house.daemon.stop()
        assert eventually(lambda: any(line["action"] == "interrupt" for line in lines))
        house.daemon.stop()
        assert not house.gone(within=0.1)
        ladder.set()
        assert house.gone()
    assert memory.queue_depth() == {JobState.QUEUED: 1, JobState.RUNNING: 0}


def test_a_check_that_never_ends_is_left_and_recovered(
    memory: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    """The state stays consistent: its job is still open on paper, and the next start queues it again."""
    monkeypatch.setattr(daemon_module, "LADDER", timedelta(seconds=0.1))
    house = House(memory, tmp_path, service={"shutdown_grace": "0s"}).watch(stack("one"))
    gate = threading.Event()
    house.work.during = lambda _job, _stop: gate.wait(20)
    with house.up():
        assert eventually(lambda: house.work.begun)
        house.daemon.stop()
        assert house.gone()
    assert any(line["action"] == "left_behind" for line in lines)
    assert memory.queue_depth() == {JobState.QUEUED: 0, JobState.RUNNING: 1}
    with House(memory, tmp_path).watch(stack("one")).up() as again:
        assert eventually(lambda: len(again.work.done) == 1)
        assert again.work.done[0].trigger is Trigger.RETRY
    gate.set()


@pytest.mark.row(46)
def test_a_store_that_is_away_at_the_start_is_a_clear_end(memory: MemoryStore, tmp_path: Path) -> None:
    """Row 46: the error of its class, and the state directory is free again."""
    memory.is_down = True
    house = House(memory, tmp_path)
    house.thread.start()
    assert house.gone()
    assert isinstance(house.error, StoreUnavailableError)
    StateLock.acquire(tmp_path, clock=wall_clock).release()


@pytest.mark.row(46)
def test_a_store_that_goes_away_makes_it_unready_and_it_recovers(memory: MemoryStore, tmp_path: Path) -> None:
    """Row 46: not ready, since nothing can be kept; alive, since a restart would mend nothing."""
    one = stack("one")
    with House(memory, tmp_path).watch(one).up() as house:
        assert eventually(lambda: len(house.work.done) == 1)
        memory.is_down = True
        house.daemon._intake.owe(one, Trigger.COMMIT)
        assert eventually(lambda: not house.is_ready)
        assert house.daemon.health.liveness()[0]
        assert "the database is away" in house.daemon.health.readiness()[1]["failing"]
        house.daemon.health.refresh_metrics()
        memory.is_down = False
        assert eventually(lambda: len(house.work.done) == 2, within=15)
        assert eventually(lambda: house.is_ready, within=15)


def test_a_second_daemon_is_told_who_holds_the_directory(memory: MemoryStore, tmp_path: Path) -> None:
    with House(memory, tmp_path).up():
        second = House(memory, tmp_path)
        second.thread.start()
        assert second.gone()
        assert isinstance(second.error, StateDirectoryHeldError)
        assert f"process {os.getpid()} on " in second.error.message


def test_a_lock_that_was_taken_before_is_used_and_given_back(memory: MemoryStore, tmp_path: Path) -> None:
    """Whoever opens a database in the directory needs the lock before that."""
    lock = StateLock.acquire(tmp_path, clock=wall_clock)
    with House(memory, tmp_path, lock=lock).up(), pytest.raises(StateDirectoryHeldError):
        StateLock.acquire(tmp_path, clock=wall_clock)
    StateLock.acquire(tmp_path, clock=wall_clock).release()


def test_a_part_that_cannot_run_as_configured_ends_the_daemon(memory: MemoryStore, tmp_path: Path) -> None:
    """An address that is in use, say: the error is the daemon's, after an orderly end."""
    house = House(memory, tmp_path)
    web = Web(house.events, UsageError("the address is in use"))
    house.daemon.attach(web)
    house.thread.start()
    assert house.gone()
    assert house.error is web.error
    assert "drain" in house.events


def test_a_part_that_fails_is_started_again(memory: MemoryStore, tmp_path: Path, lines: Lines) -> None:
    house = House(memory, tmp_path)
    web = Web(house.events, RuntimeError("a fault"))
    house.daemon.attach(web)
    with house.up():
        assert eventually(lambda: web.runs == 3)
    assert len([line for line in lines if line["action"] == "outage"]) == 1
    assert house.code == 0


@pytest.mark.row(62)
def test_a_broken_configuration_leaves_the_old_one(memory: MemoryStore, tmp_path: Path, lines: Lines) -> None:
    """Row 62 (part): a broken file is told and changes nothing; with a good one plans are made anew."""
    one, two = fleet(2)
    tries = []

    def reload() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ConfigError("line 3: unknown key")
        memory.declare([two])
        house.work.plans[two] = HOURLY

    house = House(memory, tmp_path, reload=reload).watch(one)
    with house.up():
        house.daemon._news.put(daemon_module._News.RELOAD)
        assert eventually(lambda: any(line.get("error") == "config_invalid" for line in lines))
        house.daemon._news.put(daemon_module._News.RELOAD)
        assert eventually(lambda: {job.stack for job in house.work.done} == {one, two})
        assert house.events.count("RELOADING=1") == 2


def test_its_health_names_what_is_wrong(memory: MemoryStore, tmp_path: Path) -> None:
    error = ErrorReport(code="remote_unreachable", message="no answer")
    house = House(memory, tmp_path).watch(stack("one"))
    house.work.on_refresh = lambda _: Refreshed(error=error)
    assert house.daemon.health.liveness()[0], "before the start nothing stalls"
    assert not house.is_ready
    with house.up():
        ready, details = house.daemon.health.readiness()
        assert ready, "the last good commit is in use"
        assert details["repositories"] == {"platform": "remote_unreachable"}
        house.daemon._scheduler.heartbeat.stalls_after = timedelta(seconds=-1)
        alive, details = house.daemon.health.liveness()
        assert (alive, details["stalled"]) == (False, ["scheduler"])


def test_its_metrics_say_how_long_the_queue_is(memory: MemoryStore, tmp_path: Path) -> None:
    house = House(memory, tmp_path)
    memory.declare([stack("one")])
    memory.enqueue(stack("one"), Trigger.MANUAL, requested_by="ana", at=wall_clock())
    house.daemon.health.refresh_metrics()
    assert REGISTRY.get_sample_value("driftwatch_queue_jobs", {"state": "queued"}) == 1


@pytest.mark.row(76)
def test_starting_and_stopping_leaks_nothing(memory: MemoryStore, tmp_path: Path) -> None:
    """Row 76 (part), row 77 (part): threads and file descriptors are the same after 20 lives."""

    def live() -> tuple[int, int]:
        with House(memory, tmp_path).watch(stack("one")).up():
            pass
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    first = live()
    for _ in range(20):
        last = live()
    assert last == first
