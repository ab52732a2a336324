"""The scheduler on the real APScheduler loop: what falls due when, across restarts and steps of the clock."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

import pytest
import time_machine
from service_doubles import CONTINUOUS, MORNING, ScriptedWork, eventually, every, fleet, replay, wall_clock

from driftwatch.config.settings import Schedule
from driftwatch.model import JobState, StackId, Trigger
from driftwatch.service import scheduler as scheduler_module
from driftwatch.service.cadence import FIRST_CHECK_WITHIN, next_slot
from driftwatch.service.continuous import Continuous, Limits
from driftwatch.service.intake import Intake
from driftwatch.service.scheduler import Scheduler
from driftwatch.service.systemd import Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from service_doubles import Lines, MemoryStore
    from time_machine import Coordinates

QUARTER = every(900)
ROUND = 0.02
LIMITS = Limits(min_interval=30, plan_interval=900, reads=10, cpu=1e6, workers=50, lease=60)


@pytest.fixture(autouse=True)
def _fast_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler_module, "ROUND_SECONDS", ROUND)


@pytest.fixture
def wall() -> Iterator[Coordinates]:
    """The machine's clock, which APScheduler reads, to be set by the test; it goes on by itself."""
    with time_machine.travel(MORNING, tick=True) as travel:
        yield travel


class Pings(Notifier):
    """A service manager that counts."""

    def __init__(self, watchdog: timedelta | None = None) -> None:
        super().__init__(None, watchdog)
        self.heard = 0

    def ping(self) -> None:
        self.heard += 1


class Plan:
    """A scheduler on a store; what it owes is paid by `pay`, as the intake's thread would."""

    def __init__(self, store: MemoryStore, stacks: Sequence[StackId], schedule: Schedule = QUARTER) -> None:
        self.seconds = 0.0
        store.declare(stacks)
        self.store = store
        self.work = ScriptedWork(store, dict.fromkeys(stacks, schedule))
        self.polled: list[str] = []
        self.pings = Pings()
        self.intake = Intake(store, store, clock=wall_clock, on_queued=lambda: None)
        self.continuous = Continuous(
            LIMITS, intake=self.intake, clock=wall_clock, cpu=lambda: 0, passed=lambda: self.seconds
        )
        self.scheduler = Scheduler(
            work=self.work,
            dues=store,
            intake=self.intake,
            continuous=self.continuous,
            polls={"platform": timedelta(hours=1)},
            poll=self.polled.append,
            notifier=self.pings,
            clock=wall_clock,
        )

    def __enter__(self) -> Self:
        self.scheduler.reconcile()
        self.scheduler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.scheduler.close()

    def queued(self) -> list[StackId]:
        """After some rounds of the loop, what is in the queue."""
        self.rounds(3)
        self.intake.pay()
        return [job.stack for job in self.store.jobs(JobState.QUEUED)]

    def rounds(self, count: int) -> None:
        for _ in range(count):
            before = self.scheduler.heartbeat._last
            assert eventually(lambda before=before: self.scheduler.heartbeat._last != before)


def test_a_new_small_fleet_is_checked_at_once_and_then_by_schedule(
    wall: Coordinates, memory: MemoryStore
) -> None:
    stacks = fleet(3)
    with Plan(memory, stacks) as plan:
        assert sorted(map(str, plan.queued())) == sorted(map(str, stacks))
        assert memory.dues == {one: next_slot(QUARTER, MORNING, one) for one in stacks}


def test_checks_that_fall_due_say_why(wall: Coordinates, memory: MemoryStore) -> None:
    with Plan(memory, fleet(1)) as plan:
        plan.queued()
        (job,) = memory.jobs(JobState.QUEUED)
        assert (job.trigger, job.requested_by) == (Trigger.SCHEDULE, None)


def test_a_new_large_fleet_is_spread(wall: Coordinates, memory: MemoryStore) -> None:
    with Plan(memory, fleet(200)) as plan:
        assert len(plan.queued()) < 20
        dues = set(memory.dues.values())
        assert len(dues) > 100
        assert max(dues) < MORNING + timedelta(minutes=16)


def test_a_restart_does_not_check_the_fleet_again(wall: Coordinates, memory: MemoryStore) -> None:
    """Due times are in the store: a new daemon goes on where the old one was."""
    with Plan(memory, fleet(40)) as plan:
        plan.queued()
    memory.rows.clear()
    before = dict(memory.dues)
    with Plan(memory, fleet(40)) as plan:
        assert plan.queued() == []
        assert memory.dues == before
        assert plan.scheduler.due_times() == before


def test_what_was_missed_while_nobody_ran_comes_once(wall: Coordinates, memory: MemoryStore) -> None:
    """Down for ten intervals: one check each, and the next one by the schedule."""
    stacks = fleet(5)
    with Plan(memory, stacks) as plan:
        plan.queued()
    memory.rows.clear()
    wall.shift(timedelta(minutes=150))
    with Plan(memory, stacks) as plan:
        assert len(plan.queued()) == 5
        memory.rows.clear()
        assert plan.queued() == []
        assert all(due > wall_clock() for due in memory.dues.values())


def test_a_busy_loop_loses_no_tick(wall: Coordinates, memory: MemoryStore) -> None:
    """APScheduler by default skips what is a second late: here everything is an hour late."""
    with Plan(memory, fleet(40)) as plan:
        plan.queued()
        memory.rows.clear()
        plan.scheduler._watch = _Blind()
        wall.shift(timedelta(hours=1))
        assert len(plan.queued()) == 40


class _Blind:
    """A watch that sees no step: the clock went on while the loop did not, as on a machine that sleeps."""

    def step(self) -> None:
        return None


@pytest.mark.row(51)
@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(days=365)], ids=["1h", "1y"])
def test_a_clock_that_is_set_forward_starts_no_storm(
    wall: Coordinates, memory: MemoryStore, jump: timedelta
) -> None:
    """Row 51: everything seems overdue, but no time has passed: it is spread over the schedule's period."""
    stacks = fleet(300)
    with Plan(memory, stacks) as plan:
        plan.queued()
        memory.rows.clear()
        wall.shift(jump)
        assert len(plan.queued()) < 20
        dues = plan.scheduler.due_times()
        assert all(wall_clock() - timedelta(minutes=1) < due for due in dues.values())
        assert all(due < wall_clock() + timedelta(minutes=16) for due in dues.values())
        assert plan.polled == []


@pytest.mark.row(51)
@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(days=365)], ids=["1h", "1y"])
def test_a_clock_that_is_set_back_stops_no_checks(
    wall: Coordinates, memory: MemoryStore, jump: timedelta
) -> None:
    """Row 51: nobody waits for the old time to come again; and nothing is checked twice at once either."""
    with Plan(memory, fleet(100)) as plan:
        plan.queued()
        memory.rows.clear()
        wall.shift(-jump)
        assert len(plan.queued()) < 10
        assert all(due < wall_clock() + timedelta(minutes=16) for due in plan.scheduler.due_times().values())
        plan.intake.pay()
        assert memory.dues == plan.scheduler.due_times()
        poll = plan.scheduler._loop.get_job("poll:platform").next_run_time
        assert poll < wall_clock() + timedelta(hours=1.2)


def test_stacks_that_appear_go_and_change_are_followed(wall: Coordinates, memory: MemoryStore) -> None:
    one, two, three = fleet(3)
    with Plan(memory, [one, two]) as plan:
        plan.queued()
        memory.rows.clear()
        memory.declare([three])
        plan.work.plans = {two: Schedule(cron="0 3 * * *", timezone="Europe/Berlin"), three: QUARTER}
        plan.scheduler.reconcile()
        assert plan.queued() == [three]
        assert set(plan.scheduler.due_times()) == {two, three}
        wall.shift(timedelta(minutes=15))
        plan.scheduler._watch.step()
        plan.queued()
        berlin = memory.dues[two].astimezone(UTC)
        assert (berlin.hour, berlin.minute) == (2, 0), "3 o'clock in Berlin, in winter"


def test_reconciling_what_has_not_changed_asks_the_store_nothing(
    wall: Coordinates, memory: MemoryStore
) -> None:
    with Plan(memory, fleet(3)) as plan:
        plan.queued()
        memory.log.clear()
        plan.scheduler.reconcile()
        plan.intake.pay()
        assert memory.log == []


def test_a_schedule_that_names_no_time_is_told_once_and_stops_nothing(
    wall: Coordinates, memory: MemoryStore, lines: Lines
) -> None:
    one, two = fleet(2)
    with Plan(memory, [one, two]) as plan:
        plan.queued()
        plan.work.plans[one] = Schedule.model_construct(cron="0 0 30 2 *", timezone="UTC")
        plan.scheduler.reconcile()
        plan.scheduler.reconcile()
        assert set(plan.scheduler.due_times()) == {two}
        assert [line["stack"] for line in lines if line["action"] == "schedule"] == [str(one)]
        plan.work.plans[one] = QUARTER
        plan.scheduler.reconcile()
        assert set(plan.scheduler.due_times()) == {one, two}


def test_repositories_are_polled_by_the_clock(wall: Coordinates, memory: MemoryStore) -> None:
    with Plan(memory, []) as plan:
        plan.scheduler._watch = _Blind()
        plan.queued()
        assert plan.polled == []
        wall.shift(timedelta(hours=1.2))
        plan.queued()
        assert plan.polled == ["platform"]


def test_a_loop_that_stalls_is_not_alive(memory: MemoryStore) -> None:
    """Only a fault could stall the loop; that is seen from outside, and systemd is not told otherwise."""
    plan = Plan(memory, fleet(1))
    plan.pings.watchdog = timedelta(seconds=ROUND)
    plan.scheduler.heartbeat.stalls_after = timedelta(seconds=0.2)
    gate = threading.Event()
    with plan:
        assert eventually(lambda: plan.pings.heard > 1)
        assert plan.scheduler.heartbeat.is_alive
        plan.scheduler._poll = lambda _: gate.wait(10)
        plan.scheduler._loop.add_job(gate.wait, args=(10,), id="stalls", next_run_time=wall_clock())
        assert eventually(lambda: not plan.scheduler.heartbeat.is_alive)
        heard = plan.pings.heard
        time.sleep(0.1)
        assert plan.pings.heard == heard
        gate.set()
        assert eventually(lambda: plan.scheduler.heartbeat.is_alive and plan.pings.heard > heard)


def test_the_watchdog_is_not_fed_while_nothing_gets_into_the_queue(memory: MemoryStore) -> None:
    plan = Plan(memory, [])
    plan.pings.watchdog = timedelta(seconds=ROUND)
    plan.intake.heartbeat.stalls_after = timedelta(seconds=-1)
    with plan:
        plan.rounds(5)
        assert plan.pings.heard == 0


def test_a_paused_scheduler_beats_but_starts_nothing(wall: Coordinates, memory: MemoryStore) -> None:
    """That is how it is while the daemon stops."""
    with Plan(memory, fleet(1)) as plan:
        plan.queued()
        memory.rows.clear()
        plan.scheduler.pause()
        plan.scheduler._watch = _Blind()
        wall.shift(timedelta(hours=1))
        assert plan.queued() == []


def test_first_checks_of_rare_schedules_come_soon(wall: Coordinates, memory: MemoryStore) -> None:
    with Plan(memory, fleet(60), Schedule(cron="0 3 * * 1")) as plan:
        plan.queued()
        assert all(
            due < datetime.now(UTC) + FIRST_CHECK_WITHIN for due in plan.scheduler.due_times().values()
        )


def test_continuous_stacks_are_paced_beside_those_with_slots(wall: Coordinates, memory: MemoryStore) -> None:
    """Both kinds are planned, and known to those who look; only slots are APScheduler's."""
    one, two = fleet(2)
    plan = Plan(memory, [one, two])
    plan.work.plans[two] = CONTINUOUS
    with plan:
        assert set(plan.queued()) == {one, two}
        memory.rows.clear()
        plan.continuous.checked(two, replay())
        assert plan.queued() == []
        assert set(plan.scheduler.due_times()) == {one, two}
        for dues in (plan.scheduler.due_times(), memory.dues):
            assert timedelta(seconds=25) < dues[two] - wall_clock() <= timedelta(seconds=30)
        assert plan.scheduler._loop.get_job(f"stack:{two}") is None
        plan.seconds += 30
        assert plan.queued() == [two]


def test_a_restart_leaves_continuous_stacks_their_due_times(wall: Coordinates, memory: MemoryStore) -> None:
    stacks = fleet(40)
    with Plan(memory, stacks, CONTINUOUS) as plan:
        assert set(plan.queued()) == set(stacks)
        for one in stacks:
            plan.continuous.checked(one, replay())
        plan.intake.pay()
    memory.rows.clear()
    before = dict(memory.dues)
    with Plan(memory, stacks, CONTINUOUS) as plan:
        assert plan.queued() == []
        assert memory.dues == before


@pytest.mark.parametrize("first", [QUARTER, CONTINUOUS], ids=["to continuous", "from continuous"])
def test_a_stack_that_changes_its_kind_of_schedule_has_one_plan(
    wall: Coordinates, memory: MemoryStore, first: Schedule
) -> None:
    """Of the earlier one nothing is left; the check that is due is neither lost nor done twice."""
    (one,) = fleet(1)
    second = CONTINUOUS if first is QUARTER else QUARTER
    with Plan(memory, [one], first) as plan:
        assert plan.queued() == [one]
        plan.continuous.checked(one, None)
        plan.intake.pay()
        memory.rows.clear()
        plan.work.plans[one] = second
        plan.scheduler.reconcile()
        assert plan.queued() == []
        assert (plan.scheduler._loop.get_job(f"stack:{one}") is None) is second.continuous
        assert set(plan.scheduler.due_times()) == {one}
        plan.scheduler._watch = _Blind()
        wall.shift(timedelta(minutes=16))
        plan.seconds += 16 * 60
        assert plan.queued() == [one]


def test_continuous_stacks_that_go_are_checked_no_more(wall: Coordinates, memory: MemoryStore) -> None:
    one, two = fleet(2)
    with Plan(memory, [one, two], CONTINUOUS) as plan:
        plan.queued()
        memory.rows.clear()
        del plan.work.plans[one]
        plan.scheduler.reconcile()
        plan.seconds += 3600
        assert plan.queued() == [two]
        assert set(plan.scheduler.due_times()) == {two}


def test_planning_anew_takes_the_stores_due_times_and_keeps_what_is_known(
    wall: Coordinates, memory: MemoryStore
) -> None:
    """This daemon has become the one that says what is due: another one has kept count so far."""
    one, two = fleet(2)
    plan = Plan(memory, [one, two])
    plan.work.plans[two] = CONTINUOUS
    with plan:
        plan.queued()
        plan.continuous.checked(two, replay())
        plan.intake.pay()
        memory.rows.clear()
        soon = wall_clock().replace(microsecond=0) + timedelta(seconds=10)
        memory.dues = dict.fromkeys([one, two], soon)
        plan.scheduler.reload()
        assert all(abs(due - soon) < timedelta(seconds=5) for due in plan.scheduler.due_times().values())
        plan.seconds += 8
        assert plan.queued() == []
        plan.seconds += 2.1
        assert plan.queued() == [two]
        plan.continuous.checked(two, None)
        memory.rows.clear()
        plan.seconds += 30
        assert plan.queued() == [two], "it is still known to be replayable"


@pytest.mark.row(51)
def test_a_clock_that_is_set_moves_no_continuous_stack(wall: Coordinates, memory: MemoryStore) -> None:
    """Row 51: it has no slots that a step could make overdue."""
    with Plan(memory, fleet(5), CONTINUOUS) as plan:
        plan.queued()
        memory.rows.clear()
        wall.shift(timedelta(days=365))
        assert plan.queued() == []


def test_a_paused_scheduler_starts_no_continuous_checks(wall: Coordinates, memory: MemoryStore) -> None:
    with Plan(memory, fleet(1), CONTINUOUS) as plan:
        plan.queued()
        memory.rows.clear()
        plan.scheduler.pause()
        plan.seconds += 3600
        assert plan.queued() == []
