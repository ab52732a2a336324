"""The scheduler: APScheduler, told by us when each stack and each repository is due; and a pacer beside it.

Its jobs live in memory and are rebuilt from the store's due times at every start, so that schedules have one
home. They only say what is due (see `intake` and `polling`); none does any work, so that none can be late
for another's sake. The loop goes round once a second, which shows that the daemon is alive, and looks whether
the clock was set. Stacks whose schedule is `continuous` have no slots: once a round, `continuous` decides
which of them to check.

After a step of the clock nothing is made up for at once: no time has passed. What lies in the past is spread
over its period, and what lies too far ahead comes back to the schedule's grid.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from apscheduler.executors.debug import DebugExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import STATE_RUNNING, STATE_STOPPED

from driftwatch import log, metrics
from driftwatch.errors import ConfigError
from driftwatch.model import Trigger
from driftwatch.service.cadence import PollTrigger, StackTrigger, next_due, next_poll, next_slot, spread
from driftwatch.service.pulse import ClockWatch, Heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from driftwatch.config.settings import Schedule
    from driftwatch.model import StackId
    from driftwatch.service.continuous import Continuous
    from driftwatch.service.intake import Intake
    from driftwatch.service.ports import Dues, Work
    from driftwatch.service.systemd import Notifier

ROUND_SECONDS = 1.0
"""Due times are whole seconds; going round more often would only cost."""

STALLS_AFTER = timedelta(seconds=30)
"""A round takes milliseconds; a machine that swaps may still need some seconds for one."""

logger = log.get("scheduler")


class Scheduler:
    """What is due when, for all stacks and repositories."""

    def __init__(
        self,
        *,
        work: Work,
        dues: Dues,
        intake: Intake,
        continuous: Continuous,
        polls: Mapping[str, timedelta],
        poll: Callable[[str], None],
        notifier: Notifier,
        clock: Callable[[], datetime],
    ) -> None:
        self.heartbeat = Heartbeat(STALLS_AFTER)
        self._work = work
        self._dues = dues
        self._intake = intake
        self._continuous = continuous
        self._polls = polls
        self._poll = poll
        self._notifier = notifier
        self._pinged = 0.0
        self._clock = clock
        self._watch = ClockWatch(clock)
        self._lock = threading.Lock()
        self._planned: dict[StackId, Schedule] = {}
        self._refused: dict[StackId, Schedule] = {}
        self._loop = _Loop(self._go_round)

    def start(self) -> None:
        """Begins with what `reconcile` has planned by now."""
        for name, interval in self._polls.items():
            self._loop.add_job(
                self._poll, PollTrigger(interval), args=(name,), id=f"poll:{name}", name=f"poll {name}"
            )
        self.heartbeat.beat()
        self._loop.start()

    def reconcile(self) -> None:
        """Makes the plan what the stacks' schedules say now; raises StoreError where due times cannot be had.

        Only one thread may be in here at a time.
        """
        self._follow(anew=False)

    def reload(self) -> None:
        """Plans everything anew from the due times that the store has; raises StoreError where it is away."""
        self._follow(anew=True)

    def due_times(self) -> Mapping[StackId, datetime]:
        """What is planned, for those who look."""
        with self._lock:
            by_slots = [stack for stack, schedule in self._planned.items() if not schedule.continuous]
            due = {stack: self._loop.get_job(_job_id(stack)).next_run_time for stack in by_slots}
        return due | self._continuous.due_times()

    def pause(self) -> None:
        """Nothing becomes due any more; the loop goes on beating."""
        if self._loop.state == STATE_RUNNING:
            self._loop.pause()

    def close(self) -> None:
        if self._loop.state != STATE_STOPPED:
            self._loop.shutdown(wait=False)

    def _follow(self, *, anew: bool) -> None:
        wanted = self._work.schedules()
        changed = {
            stack: schedule
            for stack, schedule in wanted.items()
            if self._is_news(stack, schedule) or (anew and stack in self._planned)
        }
        known = self._dues.due_times() if changed else {}  # not under our lock: the loop may need that one
        with self._lock:
            for stack in self._planned.keys() - wanted.keys():
                self._forget(stack)
            for stack, schedule in changed.items():
                self._plan(stack, schedule, known.get(stack), fleet=len(wanted))

    def _is_news(self, stack: StackId, schedule: Schedule) -> bool:
        known = self._planned.get(stack) or self._refused.get(stack)
        return known is not schedule and known != schedule

    def _plan(self, stack: StackId, schedule: Schedule, known: datetime | None, *, fleet: int) -> None:
        before = self._planned.get(stack)
        if before is not None and before.continuous != schedule.continuous:
            self._forget(stack)
        if schedule.continuous:
            self._accept(stack, schedule)
            self._continuous.plan(stack, known)
        else:
            self._plan_slots(stack, schedule, known, fleet=fleet)

    def _plan_slots(self, stack: StackId, schedule: Schedule, known: datetime | None, *, fleet: int) -> None:
        try:
            due = next_due(schedule, known, self._clock(), stack, fleet=fleet)
        except ConfigError as error:
            self._refuse(stack, schedule, error)
            return
        self._accept(stack, schedule)
        self._loop.add_job(
            self._fall_due,
            StackTrigger(schedule, stack),
            args=(stack, schedule),
            id=_job_id(stack),
            name=str(stack),
            next_run_time=due,
            replace_existing=True,
        )
        if due != known:
            self._intake.move(stack, due)

    def _accept(self, stack: StackId, schedule: Schedule) -> None:
        self._refused.pop(stack, None)
        self._planned[stack] = schedule

    def _refuse(self, stack: StackId, schedule: Schedule, error: ConfigError) -> None:
        if stack in self._planned:
            self._forget(stack)
        self._refused[stack] = schedule
        logger.error(
            f"The stack is not checked by schedule: {error.message}", action="schedule", stack=str(stack)
        )

    def _forget(self, stack: StackId) -> None:
        if self._planned.pop(stack).continuous:
            self._continuous.forget(stack)
        else:
            self._loop.remove_job(_job_id(stack))

    def _fall_due(self, stack: StackId, schedule: Schedule) -> None:
        """Owed first, moved then: see `intake` for why in this order."""
        self._intake.owe(stack, Trigger.SCHEDULE)
        self._intake.move(stack, next_slot(schedule, self._clock(), stack))

    def _go_round(self) -> None:
        self.heartbeat.beat()
        metrics.SCHEDULER_BEAT.set(self._clock().timestamp())
        self._ping()
        if self._loop.state == STATE_RUNNING:
            self._continuous.go_round()
        step = self._watch.step()
        if step is not None:
            logger.warning(
                "The clock was set; due times are spread anew.",
                action="clock_step",
                seconds=step.total_seconds(),
            )
            self._replan()

    def _ping(self) -> None:
        """At half of the watchdog's time, and only while what is due also gets into the queue."""
        if self._notifier.watchdog is None or not self._intake.heartbeat.is_alive:
            return
        if time.monotonic() - self._pinged >= self._notifier.watchdog.total_seconds() / 2:
            self._pinged = time.monotonic()
            self._notifier.ping()

    def _replan(self) -> None:
        """Continuous stacks stay as they are: the wall's clock has no part in when they are checked."""
        now = self._clock()
        with self._lock:
            for stack, schedule in self._planned.items():
                if schedule.continuous:
                    continue
                job = self._loop.get_job(_job_id(stack))
                due = _after_step(schedule, job.next_run_time, now, stack)
                if due != job.next_run_time:
                    job.modify(next_run_time=due)
                    self._intake.move(stack, due)
        for name, interval in self._polls.items():
            self._loop.modify_job(f"poll:{name}", next_run_time=next_poll(interval, now))


class _Loop(BackgroundScheduler):  # type: ignore[misc]  # APScheduler ships no types
    """APScheduler's loop, in its own thread, with a round of ours in it."""

    def __init__(self, go_round: Callable[[], None]) -> None:
        super().__init__(
            timezone=UTC,
            jobstores={"default": MemoryJobStore()},
            # Runs jobs in the loop's own thread: ours take microseconds, a pool's hand-over takes longer.
            executors={"default": DebugExecutor()},
            # The defaults lose what is late by more than a second.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._go_round = go_round

    def wakeup(self) -> None:
        """Does nothing: a job that was just added has until the next second."""

    def _main_loop(self) -> None:
        while self.state != STATE_STOPPED:
            self._event.wait(ROUND_SECONDS)
            self._event.clear()
            self._go_round()
            self._process_jobs()


def _after_step(schedule: Schedule, due: datetime, now: datetime, stack: StackId) -> datetime:
    if due <= now:
        return spread(schedule, now, stack)
    return min(due, next_slot(schedule, now, stack))


def _job_id(stack: StackId) -> str:
    return f"stack:{stack}"
