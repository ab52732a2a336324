"""Continuous checks: which stacks to check again now, so that each is as fresh as the budgets allow.

    each round:   ripe stacks, the longest unchecked first → room, CPU, reads → owed to the intake
    a check ends: what it was like → when its stack is due next, how fast its scopes may be read

Place in the flow: beside APScheduler in the scheduler's round, before the intake. `Pacer` decides, from
seconds that are passed in; it knows no clock, no lock and no thread. `Continuous`, the shell around it, does
what was decided. Neither asks the store anything: a round must cost next to nothing.

A stack is ripe `min_interval` after its last check began, or `plan_interval` where the next one is a plan. Of
those that are ripe, the longest unchecked goes first, and what holds all of them back is, in this order:

- room: few are owed or under way at once, so that the queue stays short for others;
- CPU: none starts while driftwatch has taken more than its share, but for one now and then;
- reads: none starts while a scope that it reads (an account and region) is used up. The next one whose scopes
  are not goes instead; who is passed over keeps its place.

Where the cloud throttles a check, its scope is read half as fast from then on, and comes back slowly.
"""

from __future__ import annotations

import math
import os
import threading
from dataclasses import dataclass
from datetime import timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Self

from driftwatch import log
from driftwatch.model import Trigger
from driftwatch.service.cadence import next_continuous
from driftwatch.service.pulse import Outage, elapsed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from driftwatch.config.settings import Settings
    from driftwatch.model import StackId
    from driftwatch.service.intake import Intake
    from driftwatch.service.ports import Checked

BURST_SECONDS = 5.0
"""What a budget saves up: enough to use a round that came late, too little to be a burst for the cloud."""

PER_WORKER = 4
"""Room for each worker, in replays: so many take a fraction of the time to the next round."""

ROOM_OF_A_PLAN = 2
"""In replays: of plans there is one that runs, and one for when that ends within a round."""

TAKEN_SECONDS = 5.0
"""By then an idle worker of ours would have a job from the queue: it looks every 2 s, and we ring for it."""

LEASES_UNHEARD = 2
"""After so many leases without news, somebody else has done the check, or died with it."""

SLOWEST = 1 / 64
"""Least part of a scope's usual rate; even that finds out within minutes that the cloud has calmed down."""

RECOVERY_PER_MINUTE = 1.1
"""A halved rate is back after seven minutes: slower than the cloud's own limits refill."""

PENALTY_SECONDS = 10.0
"""How long a throttled scope is not read at all, at least."""

LONGEST_MEMORY = 3600.0
"""Seconds after which a slow scope that nothing was heard of is like any other: it may be gone for good."""

LONGEST_OTHERS = 60.0
"""Seconds' worth of reads that other checks can use up in advance: the limit is one per minute."""

LONGEST_CPU_DEBT = 300.0
"""Seconds' worth of CPU that is paid off at most: after an hour of other work, checks go on in minutes."""

STARVING_SECONDS = {True: 10.0, False: 60.0}
"""By whether it is a replay: how often one starts even in debt of CPU. A plan takes half a minute of it."""

logger = log.get("continuous")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What holds continuous checks back; in seconds, and amounts per second."""

    min_interval: float
    plan_interval: float
    reads: float
    """Per second and scope."""
    cpu: float
    """Seconds of CPU per second."""
    workers: int
    lease: float

    @classmethod
    def of(cls, settings: Settings, *, lease: timedelta) -> Self:
        """As configured, on the cores that this process may use."""
        own = settings.continuous
        return cls(
            min_interval=own.min_interval.total_seconds(),
            plan_interval=own.plan_interval.total_seconds(),
            reads=own.reads_per_minute / 60,
            cpu=own.cpu_share * cores(),
            workers=settings.service.workers,
            lease=lease.total_seconds(),
        )

    def interval(self, *, replayable: bool) -> float:
        """From the beginning of one check to when the stack is ripe again."""
        return self.min_interval if replayable else self.plan_interval

    def patience(self, *, replayable: bool) -> float:
        """From when a check was owed to when it is owed again, if nothing is heard of it."""
        return max(LEASES_UNHEARD * self.lease, self.interval(replayable=replayable))


class Bucket:
    """Fills evenly, up to BURST_SECONDS' worth; what is taken beyond that is a debt and is paid off first."""

    __slots__ = ("_filled_at", "level", "rate")

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self.level = self.most
        self._filled_at = now

    @property
    def most(self) -> float:
        return self.rate * BURST_SECONDS

    def fill(self, now: float) -> None:
        self.level = min(self.most, self.level + self.rate * (now - self._filled_at))
        self._filled_at = now


class CpuShare(Bucket):
    """What is left of driftwatch's share of the CPU; all that it takes counts, whatever for."""

    __slots__ = ("_measured",)

    def __init__(self, rate: float, now: float) -> None:
        super().__init__(rate, now)
        self._measured: float | None = None

    def measure(self, cpu: float, now: float) -> None:
        """`cpu` is the CPU time so far. It can fall, when a process whose time was in it has ended."""
        if self._measured is not None:
            self.level -= max(cpu - self._measured, 0.0)
        self._measured = cpu
        self.fill(now)
        self.level = max(self.level, -self.rate * LONGEST_CPU_DEBT)


class Scope(Bucket):
    """What is left of the reads of one account and region. Filled before anything else is asked of it."""

    __slots__ = ("_changed_at", "_heard_at", "_slowed_at", "_usual")

    def __init__(self, usual: float, now: float) -> None:
        super().__init__(usual, now)
        self._usual = usual
        self._slowed_at = -math.inf
        self._changed_at = self._heard_at = now

    def is_forgettable(self, now: float) -> bool:
        """True where a new one would be the same, or that it is slow was so long ago that it says nothing."""
        is_usual = self.rate == self._usual or now - self._heard_at > LONGEST_MEMORY
        return is_usual and self.level == self.most

    def wait(self, reads: float) -> float:
        """Seconds until `reads` can start: they must be there, or all that can be there at once."""
        return max((self.needed(reads) - self.level) / self.rate, 0.0)

    def needed(self, reads: float) -> float:
        return min(reads, self.most)

    def take(self, reads: float) -> None:
        self.level -= reads

    def note(self, reads: float) -> None:
        """Takes what somebody else has read, without asking; such a debt ends after a minute."""
        self.level = max(self.level - reads, min(self.level, -self.rate * LONGEST_OTHERS))

    def heed(self, now: float, *, throttled: bool, began: float) -> None:
        """Learns from a check. One that began before the latest slowing says nothing about the rate now."""
        self._heard_at = now
        if began < self._slowed_at:
            return
        if throttled:
            self.rate = max(self.rate / 2, self._usual * SLOWEST)
            self.level = min(self.level, -self.rate * PENALTY_SECONDS)
            self._slowed_at = self._changed_at = now
        elif self.rate < self._usual:
            minutes = min((now - self._changed_at) / 60, 1.0)
            self.rate = min(self.rate * RECOVERY_PER_MINUTE**minutes, self._usual)
            self._changed_at = now


@dataclass(slots=True)
class _Pace:
    """What is known of one stack."""

    stack: StackId
    due: float
    checked_at: float
    """When its last check began, as far as is known; the order of the stacks."""
    replayable: bool = False
    reads: Mapping[str, int] | None = None
    """By scope; None where none of its checks has said so yet."""
    paid: Mapping[str, int] | None = None
    """What the check that is owed or under way was charged."""
    unheard: bool = False
    """Nothing was heard of its last check in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A check that is to begin."""

    stack: StackId
    due: float | None
    """When the stack is due next, unless something is heard of this check; None where that is waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """What younger stacks have to leave in a scope for one that was passed over."""

    left: float
    wait: float
    """Seconds until that one can start."""


class Pacer:
    """All continuous stacks, and what is left of the budgets. `now` is in seconds that only grow."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._paces: dict[StackId, _Pace] = {}
        self._owed: dict[StackId, float] = {}
        """Since when, until something is heard of it."""
        self._queued: dict[StackId, float] = {}
        """Of those, what nobody has taken out of the queue, as far as can be told from here; in its order."""
        self._running: dict[StackId, float] = {}
        """Since when; all that this daemon's workers are at."""
        self._idle_since = now
        self._cpu = CpuShare(limits.cpu, now)
        self._scopes: dict[str, Scope] = {}
        self._started = dict.fromkeys(STARVING_SECONDS, -math.inf)

    def add(self, stack: StackId, due: float) -> None:
        """Takes on a stack, or a new due time of one; what is known of it already is kept."""
        pace = self._paces.setdefault(stack, _Pace(stack, due, due))
        pace.due, pace.checked_at = due, due - self._interval(pace)

    def drop(self, stack: StackId) -> None:
        for known in (self._paces, self._owed, self._queued):
            known.pop(stack, None)

    @property
    def is_empty(self) -> bool:
        return not self._paces

    def due(self) -> Mapping[StackId, float]:
        """When each stack is due; in the past for those that wait for a budget, or are under way."""
        return {stack: pace.due for stack, pace in self._paces.items()}

    def decide(self, now: float, cpu: float) -> list[Start]:
        """The checks that are to begin now, given the CPU time that driftwatch has taken so far."""
        self._cpu.measure(cpu, now)
        kinds = self._startable_kinds(now)
        room = self._room(now)
        if room <= 0 or not kinds:
            return []
        self._fill_scopes(now)
        ripe = sorted(self._ripe(kinds, now), key=attrgetter("checked_at"))
        if self._cpu.level < 0:
            room = min(room, 1)
        return [self._start(pace, now) for pace in self._affordable(ripe, room, now)]

    def begun(self, stack: StackId, now: float) -> None:
        """A worker of ours has begun to check a stack, whoever has asked for that."""
        self._running[stack] = now
        self._owed.pop(stack, None)
        if stack in self._queued:  # first come, first served: what was before it was taken too, if not by us
            while next(iter(self._queued)) != stack:
                del self._queued[next(iter(self._queued))]
            del self._queued[stack]
        if len(self._running) >= self._limits.workers:
            self._idle_since = math.inf

    def checked(self, stack: StackId, checked: Checked | None, now: float) -> float | None:
        """A check has ended. When its stack is due next, if it is one of ours."""
        began = self._running.pop(stack, now)
        self._owed.pop(stack, None)
        self._queued.pop(stack, None)
        if len(self._running) < self._limits.workers:
            self._idle_since = min(self._idle_since, now)
        pace = self._paces.get(stack)
        if checked is not None:
            self._learn(stack, pace, checked, began=began, now=now)
        if pace is None:
            return None
        if checked is not None:
            pace.replayable, pace.reads = checked.replayable, checked.reads
        pace.paid, pace.unheard = None, False
        pace.checked_at, pace.due = began, began + self._interval(pace)
        return pace.due

    def _interval(self, pace: _Pace) -> float:
        return self._limits.interval(replayable=pace.replayable)

    def _startable_kinds(self, now: float) -> frozenset[bool]:
        """Whether replays and plans may start: both, or in debt those of which none has started for long."""
        if self._cpu.level >= 0:
            return frozenset(self._started)
        return frozenset(
            kind for kind, started in self._started.items() if now - started >= STARVING_SECONDS[kind]
        )

    def _room(self, now: float) -> int:
        """How many more may be owed."""
        for stack in [stack for stack, since in self._owed.items() if self._is_unheard(stack, since, now)]:
            del self._owed[stack]
            self._queued.pop(stack, None)
            self._paces[stack].paid, self._paces[stack].unheard = None, True
        if now - self._idle_since >= TAKEN_SECONDS:
            self._queued = {
                stack: since for stack, since in self._queued.items() if now - since < TAKEN_SECONDS
            }
        taken = sum(map(self._size, (*self._running, *self._queued)))
        return PER_WORKER * self._limits.workers - taken

    def _size(self, stack: StackId) -> int:
        """The room that a check takes; of what others have asked for nothing is known."""
        pace = self._paces.get(stack)
        return 1 if pace is not None and pace.replayable else ROOM_OF_A_PLAN

    def _fill_scopes(self, now: float) -> None:
        """Also forgets some: credentials come and go, and their scopes with them."""
        for scope in self._scopes.values():
            scope.fill(now)
        self._scopes = {name: scope for name, scope in self._scopes.items() if not scope.is_forgettable(now)}

    def _is_unheard(self, stack: StackId, since: float, now: float) -> bool:
        return now - since >= self._limits.patience(replayable=self._paces[stack].replayable)

    def _ripe(self, kinds: frozenset[bool], now: float) -> list[_Pace]:
        return [
            pace
            for stack, pace in self._paces.items()
            if pace.due <= now
            and pace.replayable in kinds
            and stack not in self._owed
            and stack not in self._running
        ]

    def _affordable(self, ripe: list[_Pace], room: int, now: float) -> Iterator[_Pace]:
        """The first of `ripe` whose scopes can be read now; each is paid for as it is found.

        One that is passed over holds its place in all its scopes: younger ones get there only what does not
        make it wait longer, or those that need less would start for ever instead of it. (EASY backfilling:
        D. Lifka, The ANL/IBM SP scheduling system, 1995.)
        """
        exhausted: set[str] = set()
        places: dict[str, _Place] = {}
        for pace in ripe:
            reads = self._reads_of(pace)
            if not exhausted.isdisjoint(reads):
                continue
            wait = self._wait(reads, places, now)
            if wait > 0:
                exhausted.update(name for name in reads if self._scopes[name].wait(reads[name]) >= wait)
                self._hold_place(reads, wait, places)
                continue
            pace.paid = reads
            for name, number in reads.items():
                self._scopes[name].take(number)
            yield pace
            room -= 1 if pace.replayable else ROOM_OF_A_PLAN
            if room <= 0:
                return

    def _wait(self, reads: Mapping[str, int], places: Mapping[str, _Place], now: float) -> float:
        """Seconds until all of `reads` can start."""
        waits = [0.0]
        for name, number in reads.items():
            scope, place = self._scope(name, now), places.get(name)
            waits.append(scope.wait(number))
            if place is not None and scope.level - number < place.left:
                waits.append(place.wait)
        return max(waits)

    def _hold_place(self, reads: Mapping[str, int], wait: float, places: dict[str, _Place]) -> None:
        for name, number in reads.items():
            scope = self._scopes[name]
            left = scope.needed(number) - scope.rate * wait
            if name not in places or left > places[name].left:
                places[name] = _Place(left=left, wait=wait)

    def _start(self, pace: _Pace, now: float) -> Start:
        due = None
        if pace.unheard:
            due = pace.due = now + self._interval(pace)
        pace.checked_at, pace.unheard = now, False
        self._owed[pace.stack] = self._queued[pace.stack] = now
        self._started[pace.replayable] = now
        return Start(stack=pace.stack, due=due)

    def _reads_of(self, pace: _Pace) -> Mapping[str, int]:
        """What a check of the stack reads, by scope.

        Where that is not known (after a restart, say) it might be any scope: all such stacks of a repository
        pay afterwards into one that is nobody's, so that together they read no more than one scope allows.
        """
        return pace.reads if pace.reads is not None else {_unknown(pace.stack): 0}

    def _learn(
        self, stack: StackId, pace: _Pace | None, checked: Checked, *, began: float, now: float
    ) -> None:
        """Charges the check what it has not paid, and takes its word for how fast its scopes can be read.

        It gets nothing back: that its stack reads less from now on does not mean that it has read less.
        """
        reads, throttled = dict(checked.reads), checked.throttled
        paid = pace.paid if pace else None
        if paid is not None and _unknown(stack) in paid:
            reads[_unknown(stack)] = max(reads.values(), default=0)
            throttled |= {_unknown(stack)} if throttled else set()
        for name in reads.keys() | throttled | (paid or {}).keys():
            scope = self._scope(name, now)
            scope.fill(now)
            if paid is None:
                scope.note(reads.get(name, 0))
            else:
                scope.take(max(reads.get(name, 0) - paid.get(name, 0), 0))
            scope.heed(now, throttled=name in throttled, began=began)

    def _scope(self, name: str, now: float) -> Scope:
        if name not in self._scopes:
            self._scopes[name] = Scope(self._limits.reads, now)
        return self._scopes[name]


class Continuous:
    """Owes to the intake what a pacer decides. Thread-safe: workers report while the scheduler goes round."""

    def __init__(
        self,
        limits: Limits,
        *,
        intake: Intake,
        clock: Callable[[], datetime],
        cpu: Callable[[], float] | None = None,
        passed: Callable[[], float] = elapsed,
    ) -> None:
        """`cpu` gives the seconds of CPU that driftwatch has taken; `passed` those that have passed."""
        self.outage = Outage(logger, "Deciding on continuous checks")
        self._limits = limits
        self._intake = intake
        self._clock = clock
        self._cpu = cpu or own_cpu
        self._passed = passed
        self._pacer = Pacer(limits, passed())
        self._lock = threading.Lock()

    def plan(self, stack: StackId, known: datetime | None) -> None:
        """Takes a stack on, or anew; `known` is as for `cadence.next_due`."""
        longest = timedelta(seconds=max(self._limits.min_interval, self._limits.plan_interval))
        now = self._clock()
        due = next_continuous(known, now, stack, within=longest)
        with self._lock:
            self._pacer.add(stack, self._passed() + (due - now).total_seconds())
        if due != known:
            self._intake.move(stack, due)

    def forget(self, stack: StackId) -> None:
        with self._lock:
            self._pacer.drop(stack)

    def due_times(self) -> dict[StackId, datetime]:
        """When each stack is due, for those who look."""
        with self._lock:
            due = self._pacer.due()
        start = self._clock() - timedelta(seconds=self._passed())
        return {stack: _on_the_wall(start, at) for stack, at in due.items()}

    def go_round(self) -> None:
        """Owes what is to be checked now, if this daemon is the one that says so. Never raises.

        While the intake is behind, others wait for it too, or the store is away.
        """
        if self._pacer.is_empty or not self._intake.is_leading or self._intake.is_behind:
            return
        try:
            cpu = self._cpu()
            with self._lock:
                starts = self._pacer.decide(self._passed(), cpu)
            for start in starts:
                self._intake.owe(start.stack, Trigger.SCHEDULE)
                if start.due is not None:
                    self._move(start.stack, start.due)
        except Exception as error:  # noqa: BLE001  the scheduler's loop goes on, for all other stacks
            self.outage.failed(error)
        else:
            self.outage.over()

    def begun(self, stack: StackId) -> None:
        """Takes note that a worker has begun to check a stack, continuous or not."""
        with self._lock:
            self._pacer.begun(stack, self._passed())

    def checked(self, stack: StackId, checked: Checked | None) -> None:
        """Takes note of what a check was like; None where nothing is known of that."""
        with self._lock:
            due = self._pacer.checked(stack, checked, self._passed())
        if due is not None:
            self._move(stack, due)

    def _move(self, stack: StackId, due: float) -> None:
        """Only people and the next start see it: for what happens here, the wall's clock does not count."""
        self._intake.move(stack, _on_the_wall(self._clock() - timedelta(seconds=self._passed()), due))


def own_cpu() -> float:
    """Seconds of CPU of this process, and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _on_the_wall(start: datetime, seconds: float) -> datetime:
    """So many seconds after `start`; whole ones, as all due times are."""
    return (start + timedelta(seconds=seconds)).replace(microsecond=0)


def _unknown(stack: StackId) -> str:
    return f"unknown: {stack.repository}"
