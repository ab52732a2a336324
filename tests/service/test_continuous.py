"""Continuous checks: what the pacer promises, in virtual seconds, and the shell that does what it decides."""

from __future__ import annotations

import random
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import settings as how
from hypothesis import strategies as st
from service_doubles import MORNING, Clock, fleet, plan, replay, settings, stack

from driftwatch.model import JobState, Trigger
from driftwatch.service import continuous as continuous_module
from driftwatch.service.continuous import (
    BURST_SECONDS,
    LONGEST_CPU_DEBT,
    LONGEST_MEMORY,
    LONGEST_OTHERS,
    PENALTY_SECONDS,
    PER_WORKER,
    SLOWEST,
    STARVING_SECONDS,
    TAKEN_SECONDS,
    Continuous,
    Limits,
    Pacer,
    Scope,
    own_cpu,
)
from driftwatch.service.intake import Intake

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from service_doubles import Lines, MemoryStore

    from driftwatch.model import StackId
    from driftwatch.service import Checked

ONE, TWO, THREE = fleet(3)
WIDE = Limits(min_interval=30, plan_interval=900, reads=1e6, cpu=1e6, workers=2, lease=60)
"""Limits that hold nothing back but intervals and room."""


def limits(**given: float) -> Limits:
    values = {name: getattr(WIDE, name) for name in Limits.__dataclass_fields__}
    return Limits(**{**values, **given})


def pacer(stacks: Sequence[StackId], limits: Limits = WIDE, checked: Checked | None = None) -> Pacer:
    """Stacks that are due at second 0, of each of which `checked` is known."""
    pacer = Pacer(limits, 0)
    for one in stacks:
        pacer.add(one, 0)
        if checked is not None:
            pacer.checked(one, checked, 0)
            pacer.add(one, 0)
    return pacer


def started(pacer: Pacer, now: float, cpu: float = 0) -> list[StackId]:
    return [start.stack for start in pacer.decide(now, cpu)]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What each check of a stack is like."""

    checked: Checked
    seconds: int = 0
    cpu: float = 0.0


@dataclass
class Days:
    """A daemon with its queue and workers, in virtual seconds; `paces` is the pacer under test."""

    kinds: dict[StackId, Kind]
    limits: Limits
    now: float = 0
    cpu: float = 0
    queue: list[StackId] = field(default_factory=list)
    running: dict[StackId, float] = field(default_factory=dict)
    begun_at: dict[StackId, list[float]] = field(default_factory=lambda: defaultdict(list))
    owed: list[tuple[float, StackId]] = field(default_factory=list)
    age: dict[StackId, float] = field(default_factory=dict)
    due: dict[StackId, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.paces = Pacer(self.limits, self.now)
        for place, (one, kind) in enumerate(self.kinds.items()):
            self.due[one] = self.now + place
            self.paces.add(one, self.now)
            self.paces.checked(one, kind.checked, self.now)
            self.paces.add(one, self.due[one])
            self.age[one] = self.due[one] - self.limits.interval(replayable=kind.checked.replayable)
        self.now += LONGEST_OTHERS  # until what was noted above is forgotten

    def go_on(self, seconds: float) -> Days:
        """Rounds, one a second."""
        end = self.now + seconds
        while self.now < end:
            self.next_second()
            self.start()
        return self

    def next_second(self) -> None:
        """In which some checks end."""
        self.now += 1
        for one in [one for one, ends in self.running.items() if ends <= self.now]:
            del self.running[one]
            self.due[one] = self.paces.checked(one, self.kinds[one].checked, self.now)

    def start(self) -> list[StackId]:
        """One round, and what the workers take of it."""
        starts = started(self.paces, self.now, self.cpu)
        self.owed += [(self.now, one) for one in starts]
        self.queue += starts
        for one in starts:
            self.age[one] = self.now
        while self.queue and len(self.running) < self.limits.workers:
            self._begin(self.queue.pop(0))
        return starts

    def _begin(self, one: StackId) -> None:
        self.paces.begun(one, self.now)
        self.running[one] = self.now + self.kinds[one].seconds
        self.cpu += self.kinds[one].cpu
        self.begun_at[one].append(self.now)
        self.age[one] = self.now

    @property
    def waiting(self) -> dict[StackId, float]:
        """Stacks that could start now, as far as their intervals go, and when they were last checked."""
        return {
            one: self.age[one]
            for one, due in self.due.items()
            if due <= self.now and one not in self.queue and one not in self.running
        }

    def reads(self, scope: str) -> list[tuple[float, int]]:
        kinds = [(at, self.kinds[one].checked.reads.get(scope, 0)) for at, one in self.owed]
        return [(at, number) for at, number in kinds if number]


scopes = st.sampled_from(["eu", "us", "ap"])
some_limits = st.builds(
    Limits,
    min_interval=st.integers(2, 60).map(float),
    plan_interval=st.integers(60, 300).map(float),
    reads=st.sampled_from([0.5, 1.0, 10.0, 33.3]),
    cpu=st.just(1e6),
    workers=st.integers(1, 4),
    lease=st.just(1e6),
)


def kinds(reads: st.SearchStrategy[dict[str, int]]) -> st.SearchStrategy[dict[StackId, Kind]]:
    checks = st.builds(lambda reads, is_plan: (plan if is_plan else replay)(**reads), reads, st.booleans())
    one = st.builds(Kind, checked=checks, seconds=st.sampled_from([0, 0, 1, 5, 20]))
    return st.lists(one, min_size=1, max_size=9).map(lambda some: dict(zip(fleet(9), some, strict=False)))


in_one_scope = st.builds(lambda scope, number: {scope: number}, scopes, st.integers(1, 80))
in_some_scopes = st.dictionaries(scopes, st.integers(1, 80), max_size=3)


@given(kinds(in_some_scopes), some_limits)
def test_no_scope_is_read_above_its_budget_over_any_window(
    kinds: dict[StackId, Kind], limits: Limits
) -> None:
    """What the rate gives, and a burst of some seconds or of one stack's own reads on top."""
    days = Days(kinds, limits).go_on(400)
    for scope in ("eu", "us", "ap"):
        largest = max((kind.checked.reads.get(scope, 0) for kind in kinds.values()), default=0)
        burst = max(limits.reads * BURST_SECONDS, largest)
        reads = days.reads(scope)
        for first, (begin, _) in enumerate(reads):
            total = 0
            for at, number in reads[first:]:
                total += number
                assert total <= limits.reads * (at - begin) + burst + 1e-6


@given(kinds(in_one_scope), some_limits)
def test_within_a_scope_the_longest_unchecked_goes_first(kinds: dict[StackId, Kind], limits: Limits) -> None:
    days = Days(kinds, limits)
    for _ in range(300):
        days.next_second()
        waiting = days.waiting
        starts = days.start()
        for scope in ("eu", "us", "ap"):
            ages = [waiting[one] for one in starts if scope in kinds[one].checked.reads]
            passed_over = [
                age for one, age in waiting.items() if scope in kinds[one].checked.reads and one not in starts
            ]
            assert ages == sorted(ages)
            assert not ages or ages[-1] <= min(passed_over, default=ages[-1])


@given(kinds(in_some_scopes), some_limits)
@example(
    # Each scope is free only while the other is not: who needs both would wait for ever, had it no place.
    {
        ONE: Kind(checked=replay(eu=20)),
        TWO: Kind(checked=replay(us=20)),
        THREE: Kind(checked=replay(eu=20, us=20)),
    },
    Limits(min_interval=2, plan_interval=900, reads=10, cpu=1e6, workers=4, lease=1e6),
)
@example(
    # The same with more reads than the budget has in minutes.
    {
        ONE: Kind(checked=replay(eu=80)),
        TWO: Kind(checked=replay(us=77)),
        THREE: Kind(checked=replay(eu=1, us=1)),
    },
    Limits(min_interval=2, plan_interval=900, reads=0.5, cpu=1e6, workers=4, lease=1e6),
)
@how(deadline=None)
def test_no_stack_starves(kinds: dict[StackId, Kind], limits: Limits) -> None:
    """Each is checked within its interval and what all the others together need for one check each."""
    needs = [
        max(kind.checked.reads.values(), default=0) / limits.reads + BURST_SECONDS + kind.seconds + 2
        for kind in kinds.values()
    ]
    longest = limits.plan_interval + 2 * sum(needs)
    days = Days(kinds, limits).go_on(3 * longest)
    for one in kinds:
        times = [0, *days.begun_at[one], days.now]
        assert max(later - earlier for earlier, later in pairwise(times)) <= longest


@given(kinds(in_some_scopes), some_limits)
def test_no_stack_is_checked_again_before_its_interval(kinds: dict[StackId, Kind], limits: Limits) -> None:
    days = Days(kinds, limits).go_on(400)
    for one, times in days.begun_at.items():
        interval = limits.interval(replayable=kinds[one].checked.replayable)
        assert all(later - earlier >= interval for earlier, later in pairwise(times))


@given(kinds(in_some_scopes), some_limits)
def test_the_queue_stays_short(kinds: dict[StackId, Kind], limits: Limits) -> None:
    days = Days(kinds, limits)
    for _ in range(200):
        days.go_on(1)
        assert len(days.queue) + len(days.running) <= PER_WORKER * limits.workers


def test_replays_come_soon_and_plans_rarely() -> None:
    both = {ONE: Kind(checked=replay(eu=1), seconds=1), TWO: Kind(checked=plan(), seconds=20)}
    days = Days(both, WIDE).go_on(1000)
    assert len(days.begun_at[ONE]) == 1000 // 30 + 1
    assert len(days.begun_at[TWO]) == 2


def test_one_that_was_never_checked_counts_as_a_plan_until_more_is_known() -> None:
    paces = pacer([ONE])
    assert started(paces, 0) == [ONE]
    assert paces.checked(ONE, None, 10) == 10 + 900
    assert paces.checked(ONE, replay(), 20) == 20 + 30
    assert paces.checked(ONE, None, 40) == 40 + 30, "what was known stays"
    assert paces.checked(ONE, plan(), 60) == 60 + 900


def test_the_interval_counts_from_the_beginning_whoever_asked_for_the_check() -> None:
    paces = pacer([ONE], checked=replay())
    paces.begun(ONE, 100)
    assert started(paces, 110) == [], "it is being checked"
    assert paces.checked(ONE, replay(), 120) == 130
    assert started(paces, 129) == []
    assert started(paces, 130) == [ONE]


def test_an_unreported_check_comes_again_after_two_leases() -> None:
    """Another daemon on the same database has done it, or died with it. Only then its due time is told."""
    paces = pacer([ONE], checked=replay())
    (first,) = paces.decide(0, 0)
    assert first.due is None
    assert started(paces, 119) == []
    (again,) = paces.decide(120, 0)
    assert (again.stack, again.due) == (ONE, 150)
    assert paces.due() == {ONE: 150}
    paces.checked(ONE, replay(), 130)
    (third,) = paces.decide(160, 0)
    assert third.due is None


def test_an_unreported_plan_gets_its_whole_interval() -> None:
    paces = pacer([ONE])
    paces.decide(0, 0)
    assert started(paces, 899) == []
    assert started(paces, 900) == [ONE]


def test_one_that_runs_here_is_waited_for_however_long_it_takes() -> None:
    paces = pacer([ONE], checked=replay())
    paces.decide(0, 0)
    paces.begun(ONE, 1)
    assert started(paces, 10_000) == []


def test_what_another_daemon_has_taken_makes_room() -> None:
    """The queue is served in order: where a later one begins here, the earlier ones have been taken."""
    stacks = fleet(10)
    paces = pacer(stacks, checked=plan())
    assert started(paces, 0) == stacks[:4]
    paces.begun(stacks[2], 1)
    assert started(paces, 1) == stacks[4:6]
    paces.begun(stacks[1], 1)
    assert started(paces, 1) == [], "another worker of ours was slow to say so"


def test_what_no_idle_worker_has_taken_is_with_another_daemon() -> None:
    stacks = fleet(10)
    paces = pacer(stacks, checked=plan())
    assert started(paces, 0) == stacks[:4]
    paces.begun(stacks[0], 1)
    assert started(paces, TAKEN_SECONDS - 1) == []
    assert started(paces, TAKEN_SECONDS) == stacks[4:7]


def test_a_worker_between_two_checks_is_not_idle() -> None:
    paces = pacer(fleet(10), limits(workers=1), checked=plan())
    one, two = started(paces, 0)
    paces.begun(one, 1)
    paces.checked(one, plan(), 20)
    assert len(started(paces, 20)) == 1
    paces.begun(two, 20)
    assert len(started(paces, 21)) == 0


def test_while_all_workers_are_busy_what_is_owed_is_in_the_queue() -> None:
    stacks = fleet(10)
    paces = pacer(stacks, checked=plan())
    paces.decide(0, 0)
    paces.begun(stacks[0], 1)
    paces.begun(stack("by cron"), 1)
    assert started(paces, 60) == []
    paces.checked(stacks[0], plan(), 60)
    paces.begun(stacks[1], 60)
    assert started(paces, 61) == []
    paces.checked(stack("by cron"), None, 62)
    paces.begun(stacks[2], 62)
    assert started(paces, 62) == stacks[4:5]


def test_other_checks_take_room_too() -> None:
    """A commit that touches many stacks is not followed by continuous checks in the queue."""
    for checked, others in ((plan(), 4), (replay(), 8)):
        paces = pacer(fleet(10), limits(workers=4), checked=checked)
        for number in range(4):
            paces.begun(stack(f"by commit {number}"), 0)
        assert len(started(paces, 1)) == others


def test_a_stack_with_more_reads_than_the_budget_is_checked_and_paid_off() -> None:
    paces = pacer([ONE, TWO], limits(reads=10), checked=replay(eu=1000))
    assert started(paces, 1000) == [ONE]
    assert started(paces, 1000 + 99) == []
    assert started(paces, 1000 + 105) == [TWO]


def test_a_scope_that_is_used_up_does_not_hold_up_others() -> None:
    paces = pacer([ONE, TWO], limits(reads=10), checked=replay(eu=1000))
    paces.add(THREE, 0)
    paces.checked(THREE, replay(us=10), 0)
    assert started(paces, 1000) == [ONE, THREE]


def test_who_was_passed_over_goes_before_those_who_need_less() -> None:
    """Else many small stacks would keep a large one from ever starting."""
    paces = pacer([ONE], limits(reads=10, workers=50), checked=replay(eu=50))
    small = fleet(40, "other")
    for one in small:
        paces.add(one, 0)
        paces.checked(one, replay(eu=2), 0)
    paces.checked(TWO, replay(eu=45), 970)  # somebody else's: 45 are taken, 5 are left
    assert started(paces, 970) == []
    assert started(paces, 975)[0] == ONE


def test_a_scope_is_not_held_for_one_that_waits_long_for_another() -> None:
    """Whoever is passed over holds its place for when it can start, not from now on."""
    checks = {one: Kind(checked=replay(eu=50)) for one in fleet(30, "other")}
    days = Days({THREE: Kind(checked=replay(eu=20, us=20)), **checks}, limits(reads=10, min_interval=1))
    days.paces._scope("us", days.now).take(2000)
    days.go_on(100)
    assert days.begun_at[THREE] == []
    assert sum(number for _, number in days.reads("eu")) >= 950
    days.go_on(110)
    assert len(days.begun_at[THREE]) == 1


def test_one_that_has_to_wait_for_an_older_one_does_not_hold_up_the_younger() -> None:
    """The second would make the first wait, the others would not: they start before both."""
    first, second, *others = fleet(30)
    checks = {
        first: Kind(checked=replay(eu=20, us=20)),
        second: Kind(checked=replay(eu=3000)),
        **{one: Kind(checked=replay(eu=50)) for one in others},
    }
    days = Days(checks, limits(reads=10, min_interval=1))
    days.paces._scope("us", days.now).take(2000)
    days.go_on(100)
    assert (days.begun_at[first], days.begun_at[second]) == ([], [])
    assert sum(number for _, number in days.reads("eu")) >= 950
    days.go_on(130)
    assert len(days.begun_at[first]) == 1
    assert len(days.begun_at[second]) == 1


def test_what_another_daemon_was_charged_for_does_not_pay_for_a_check_here() -> None:
    paces = pacer([ONE, TWO], limits(reads=10, cpu=1), checked=replay(eu=20))
    paces.decide(100, 0)
    paces.checked(TWO, replay(eu=20), 105)
    assert started(paces, 215, cpu=1e6) == [TWO], "the one that starts even now"
    paces.checked(TWO, replay(eu=20), 215)
    assert started(paces, 220, cpu=1e6) == [], "nothing was heard of the other one in time"
    paces.begun(ONE, 300)
    paces.checked(ONE, replay(eu=20), 301)
    assert paces._scopes["eu"].level == 50 - 20


def test_reads_that_nobody_knew_of_are_charged_when_they_are_known() -> None:
    """After a restart: together they read no more than one scope allows, whichever it is."""
    stacks = fleet(200)
    days = Days({one: Kind(checked=replay(eu=20)) for one in stacks}, limits(reads=10))
    days.paces = Pacer(days.limits, days.now)
    for one in stacks:
        days.paces.add(one, days.now)
    days.go_on(300)
    read = sum(number for _, number in days.reads("eu"))
    assert 0.9 * 3000 < read <= 3000 + 10 * BURST_SECONDS + 4 * 20


def test_stacks_of_other_accounts_are_known_apart() -> None:
    """As soon as their scopes are known they have budgets of their own."""
    stacks = fleet(20)
    checks = {one: Kind(checked=replay(**{f"account{place}": 100})) for place, one in enumerate(stacks)}
    days = Days(checks, limits(reads=10)).go_on(300)
    assert all(len(days.begun_at[one]) in (9, 10) for one in stacks)


def test_what_others_read_is_paid_off_within_a_minute() -> None:
    """A commit that touches hundreds of stacks does not stop continuous checks for an hour."""
    paces = pacer([ONE], limits(reads=10), checked=replay(eu=1))
    for number in range(500):
        paces.checked(stack(f"by commit {number}"), plan(eu=100), 100)
    assert started(paces, 101) == []
    assert started(paces, 100 + LONGEST_OTHERS + 1) == [ONE]


@pytest.mark.parametrize(("first", "second"), [(20, 50), (50, 20)])
def test_a_check_pays_for_what_it_has_read_once(first: int, second: int) -> None:
    """Its reads are known when it is owed; a difference is paid afterwards, and nothing is given back."""
    paces = pacer([ONE], limits(reads=10), checked=replay(eu=first))
    paces.decide(100, 0)
    paces.checked(ONE, replay(eu=second), 100)
    assert paces._scopes["eu"].level == 50 - max(first, second)


def test_a_throttled_scope_is_read_half_as_fast_after_a_pause() -> None:
    paces = pacer([ONE, TWO], limits(reads=10, min_interval=1), checked=replay(eu=10))
    paces.begun(ONE, 100)
    paces.checked(ONE, replay(eu=10, throttled={"eu"}), 100)
    assert paces._scopes["eu"].rate == 5
    assert started(paces, 100 + PENALTY_SECONDS) == []
    assert started(paces, 100 + PENALTY_SECONDS + 2) == [TWO]
    assert started(paces, 100 + PENALTY_SECONDS + 3) == []
    assert started(paces, 100 + PENALTY_SECONDS + 4) == [ONE]


def test_one_throttling_halves_once_however_many_checks_it_met() -> None:
    """Those that were under way say nothing about the rate that they made slower."""
    stacks = fleet(4)
    paces = pacer(stacks, limits(reads=8, workers=4), checked=replay(eu=1))
    for one in stacks:
        paces.begun(one, 100)
    for one in stacks:
        paces.checked(one, replay(eu=1, throttled={"eu"}), 105)
    assert paces._scopes["eu"].rate == 4
    paces.begun(ONE, 110)
    paces.checked(ONE, replay(eu=1, throttled={"eu"}), 111)
    assert paces._scopes["eu"].rate == 2


def test_other_scopes_are_not_slowed() -> None:
    paces = pacer([ONE], limits(reads=8), checked=replay(eu=1, us=1))
    paces.checked(ONE, replay(eu=1, us=1, throttled={"eu"}), 100)
    assert (paces._scopes["eu"].rate, paces._scopes["us"].rate) == (4, 8)


def test_a_throttled_check_of_a_stack_that_nothing_was_known_of_slows_those_like_it() -> None:
    paces = pacer(fleet(9), limits(reads=10))
    first, *others = started(paces, 0)
    for one in others:
        paces.checked(one, None, 0)
    paces.checked(first, plan(throttled={"eu"}), 1)
    assert started(paces, PENALTY_SECONDS) == []
    assert started(paces, PENALTY_SECONDS + 1) != []


@given(
    st.lists(st.tuples(st.floats(0, 300), st.booleans()), max_size=200), st.sampled_from([0.01, 1.0, 10.0])
)
def test_a_scope_slows_and_recovers_within_bounds(checks: list[tuple[float, bool]], usual: float) -> None:
    """Halved by what is throttled, never below the floor; up by a tenth a minute at most, never above."""
    scope, now = Scope(usual, 0), 0.0
    for pause, throttled in checks:
        before, now = scope.rate, now + pause
        scope.fill(now)
        scope.heed(now, throttled=throttled, began=now)
        assert usual * SLOWEST <= scope.rate <= usual
        if throttled:
            assert scope.rate == max(before / 2, usual * SLOWEST)
            assert scope.wait(1) >= PENALTY_SECONDS
        else:
            assert before <= scope.rate <= before * 1.1 + 1e-9
        assert scope.level <= scope.most


def test_a_scope_recovers_only_while_checks_pass() -> None:
    """From the slowest rate to the usual one in three quarters of an hour."""
    scope = Scope(64, 0)
    for second in range(10):
        scope.heed(second, throttled=True, began=second)
    assert scope.rate == 1
    minutes = 0
    while scope.rate < 64:
        minutes += 1
        for half in (30, 60):
            scope.heed(10 + 60 * minutes + half, throttled=False, began=10 + 60 * minutes)
    assert 40 < minutes < 50


def test_scopes_that_nobody_reads_are_forgotten() -> None:
    """Credentials change, and a scope's name with them: an old one must not be kept for ever."""
    paces = pacer([ONE], limits(reads=10), checked=replay(eu=1))
    paces.checked(TWO, replay(old=10), 100)
    paces.checked(TWO, replay(slow=10, throttled={"slow"}), 100)
    paces.decide(110, 0)
    assert set(paces._scopes) == {"eu", "slow"}
    paces.decide(100 + LONGEST_MEMORY + 1, 0)
    assert "slow" not in paces._scopes


def test_no_check_starts_while_driftwatch_takes_more_than_its_share() -> None:
    paces = pacer(fleet(17), limits(cpu=1), checked=replay())
    first = started(paces, 0, cpu=0)
    assert len(first) == 8
    for one in first:
        paces.checked(one, replay(), 1)
    assert started(paces, 1, cpu=9) == [], "9 s of CPU in 1 s: that second's, the 5 saved up, and 3 more"
    assert started(paces, 3.9, cpu=9) == []
    assert len(started(paces, 4.1, cpu=9)) == 8


def test_a_check_starts_now_and_then_however_busy_the_machine_is() -> None:
    """Work that others wait for may take all there is, but nothing starves: neither replays nor plans."""
    replays, plans = fleet(20), fleet(20, "other")
    paces = pacer(replays, limits(cpu=1, workers=50), checked=replay())
    for one in (*replays, *plans):
        paces.add(one, 1)
    begun: dict[bool, list[float]] = {True: [], False: []}
    paces.decide(0, 0)
    for second in range(1, 602):
        for one in started(paces, second, cpu=1e4 + 10.0 * second):
            begun[one in replays].append(second)
            paces.checked(one, replay() if one in replays else plan(), second)
    for is_replay, pause in STARVING_SECONDS.items():
        times = begun[is_replay]
        assert {later - earlier for earlier, later in pairwise(times)} <= {pause, pause + 1}
        assert len(times) >= 600 / (pause + 1) - 1


def test_a_long_time_of_other_work_is_paid_off_in_minutes() -> None:
    paces = pacer([ONE], limits(cpu=1), checked=replay())
    paces.decide(0, 0)
    paces.checked(ONE, replay(), 0)
    paces.decide(3600, 1e6)
    paces.checked(ONE, replay(), 3600)
    assert paces._cpu.level == -LONGEST_CPU_DEBT


def test_a_daemon_that_has_worked_for_others_starts_without_debt() -> None:
    """One that becomes the one that says what is due has not measured for hours."""
    paces = pacer([ONE], limits(cpu=1), checked=replay())
    paces.decide(0, 0)
    paces.decide(10_000, 9_000)
    assert paces._cpu.level == 5


def test_cpu_time_that_falls_is_no_gain() -> None:
    """A provider's process has ended, and its time with it."""
    paces = pacer([ONE], limits(cpu=1))
    paces.decide(0, 100)
    paces.decide(1, 104)
    assert paces._cpu.level == pytest.approx(2)
    paces.decide(1, 50)
    assert paces._cpu.level == pytest.approx(2)


@given(st.integers(1, 30), st.floats(0.05, 3.0), st.sampled_from([0.5, 1.0, 2.0]))
def test_replays_keep_to_the_share_of_cpu(size: int, cost: float, share: float) -> None:
    """Over ten minutes: the share, what was saved up, and what one round's starts take before it is seen."""
    checks = {one: Kind(checked=replay(), seconds=1, cpu=cost) for one in fleet(size)}
    held = limits(cpu=share, min_interval=2)
    days = Days(checks, held).go_on(600)
    now_and_then = 600 / STARVING_SECONDS[True] * cost if cost > share * STARVING_SECONDS[True] else 0
    assert days.cpu <= share * 600 + share * BURST_SECONDS + 8 * cost + now_and_then


def test_after_a_restart_the_old_order_goes_on() -> None:
    """Those that are overdue first, the longest overdue before the others; nothing before it is due."""
    stacks = fleet(50)
    random.Random(1).shuffle(stacks)  # noqa: S311  an order, no secret
    paces = Pacer(WIDE, 1000)
    for place, one in enumerate(stacks):
        paces.add(one, 1000 + 2 * (place - 10))
    order = []
    for second in range(1000, 1100):
        for one in started(paces, second):
            order.append(one)
            assert second >= 1000 + 2 * (stacks.index(one) - 10)
            paces.checked(one, replay(), second)
    assert list(dict.fromkeys(order)) == stacks


def test_what_is_dropped_is_not_checked_any_more_and_nothing_is_left_of_it() -> None:
    paces = pacer([ONE, TWO], checked=replay())
    assert started(paces, 100) == [ONE, TWO]
    paces.begun(ONE, 101)
    paces.drop(ONE)
    paces.drop(TWO)
    assert paces.checked(ONE, replay(), 102) is None
    assert started(paces, 10_000) == []
    assert (paces.due(), paces._owed, paces._running) == ({}, {}, {})


def test_a_new_due_time_leaves_what_is_known_of_a_stack() -> None:
    """As when this daemon becomes the one that says what is due, and has done checks before."""
    paces = pacer([ONE], checked=replay(eu=5))
    paces.add(ONE, 500)
    assert started(paces, 499) == []
    assert started(paces, 500) == [ONE]
    assert paces.checked(ONE, None, 501) == 531, "it is still known to be replayable"


@pytest.mark.parametrize("overload", [False, True], ids=["nothing due", "all due, none affordable"])
def test_a_round_costs_next_to_nothing(overload: bool) -> None:
    """5,000 stacks in 40 scopes, some in two: below 5 ms of CPU, which is half a percent of a core."""
    paces = Pacer(limits(reads=0.01 if overload else 10), 0)
    for place, one in enumerate(fleet(5000)):
        reads = {f"scope{place % 40}": 20} | ({f"scope{place % 39}": 5} if place % 5 == 0 else {})
        paces.add(one, 0)
        paces.checked(one, replay(**reads), 0)
    costs = []
    for number in range(21):
        begin = time.thread_time()
        assert started(paces, (31 if overload else 20) + number / 100) == []
        costs.append(time.thread_time() - begin)
    assert statistics.median(costs) < 0.005


class Shell:
    """The shell on a store in memory; seconds pass, and the clock on the wall goes, only when told to."""

    def __init__(self, memory: MemoryStore, given: Limits = WIDE, leads: bool = True) -> None:
        self.memory = memory
        self.clock = Clock()
        self.seconds = 1000.0
        self.cpu = 0.0
        self.leads = leads
        self.intake = Intake(
            memory, memory, clock=self.clock, on_queued=lambda: None, leads=lambda: self.leads
        )
        self.intake.look_who_leads()
        self.continuous = Continuous(
            given, intake=self.intake, clock=self.clock, cpu=lambda: self.cpu, passed=lambda: self.seconds
        )

    def plan(self, *stacks: StackId, known: float | None = None) -> Shell:
        """Stacks that are known to be due in so many seconds."""
        self.memory.declare(stacks)
        for one in stacks:
            due = None if known is None else self.clock() + timedelta(seconds=known)
            self.continuous.plan(one, due)
        return self

    def wait(self, seconds: float) -> None:
        self.seconds += seconds
        self.clock.turn(seconds=seconds)

    def round(self) -> list[StackId]:
        """What is in the queue after one round; it is taken out of it, as if it were checked."""
        self.continuous.go_round()
        self.intake.pay()
        jobs = self.memory.jobs(JobState.QUEUED)
        self.memory.rows.clear()
        assert {job.trigger for job in jobs} <= {Trigger.SCHEDULE}
        return [job.stack for job in jobs]

    def told(self, one: StackId) -> float:
        """In how many seconds the store says that a stack is due."""
        self.intake.pay()
        return (self.memory.dues[one] - self.clock()).total_seconds()


@pytest.fixture
def shell(memory: MemoryStore) -> Shell:
    return Shell(memory)


def test_a_new_fleet_is_checked_at_once(shell: Shell) -> None:
    assert shell.plan(ONE, TWO).round() == [ONE, TWO]
    assert shell.told(ONE) == 0


def test_a_new_large_fleet_is_paced_by_its_budgets(shell: Shell) -> None:
    """All of it is due, and no more are owed at once than the workers can take."""
    shell.plan(*fleet(100))
    assert set(shell.continuous.due_times().values()) == {MORNING}
    assert 0 < len(shell.round()) < 20


def test_a_restart_checks_nothing_before_its_time(shell: Shell) -> None:
    shell.plan(ONE, known=20).plan(TWO, known=25)
    assert shell.round() == []
    assert "schedule" not in " ".join(shell.memory.log)
    shell.wait(20)
    assert shell.round() == [ONE]
    shell.wait(5)
    assert shell.round() == [TWO]


def test_a_due_time_that_cannot_be_is_not_believed(shell: Shell) -> None:
    """The clock was wrong, or the schedule was another one."""
    shell.plan(ONE, known=7 * 86400)
    assert 0 <= shell.told(ONE) <= 900


def test_the_due_time_is_told_when_a_check_has_ended(shell: Shell) -> None:
    """Once for each check; by the wall's clock, in whole seconds."""
    shell.plan(ONE).round()
    shell.memory.log.clear()
    shell.continuous.begun(ONE)
    shell.wait(10)
    shell.continuous.checked(ONE, replay(eu=3))
    assert shell.told(ONE) == 20
    assert shell.continuous.due_times() == shell.memory.dues
    assert shell.memory.log == ["schedule 1"]


def test_a_check_that_another_daemon_does_keeps_its_due_time_current(shell: Shell) -> None:
    shell.plan(ONE)
    shell.continuous.checked(ONE, replay())
    for _ in range(3):
        shell.wait(120)
        assert shell.round() == [ONE]
    assert shell.told(ONE) == 30


def test_only_the_one_that_leads_owes(memory: MemoryStore) -> None:
    shell = Shell(memory, leads=False).plan(ONE, known=0)
    shell.continuous.checked(ONE, replay())
    shell.wait(60)
    assert shell.round() == []
    shell.leads = True
    shell.intake.look_who_leads()
    assert shell.round() == [ONE]


def test_nothing_is_owed_while_the_intake_is_behind(shell: Shell) -> None:
    """The store is away: what comes after must not be a flood when it is back."""
    shell.plan(*fleet(40), known=0)
    shell.memory.is_down = True
    for _ in range(20):
        shell.wait(60)
        shell.continuous.go_round()
        shell.intake.pay()
    shell.memory.is_down = False
    assert len(shell.round()) == 4


@pytest.mark.row(51)
@pytest.mark.parametrize("jump", [3600, -3600, 86400 * 365])
def test_a_clock_that_is_set_changes_nothing_but_what_people_are_told(shell: Shell, jump: float) -> None:
    """Row 51: a step of the wall's clock starts no check, and stops none."""
    shell.plan(ONE).round()
    shell.continuous.checked(ONE, replay())
    shell.clock.turn(seconds=jump)
    shell.wait(29)
    assert shell.round() == []
    shell.wait(1)
    assert shell.round() == [ONE]
    shell.continuous.checked(ONE, replay())
    assert shell.told(ONE) == 30


def test_without_continuous_stacks_nothing_is_measured(shell: Shell) -> None:
    """Looking for the CPU time of many processes costs some itself."""
    shell.continuous._cpu = lambda: pytest.fail("nobody needs it")
    assert shell.round() == []
    assert shell.continuous.outage.error is None


def test_stacks_that_go_are_forgotten(shell: Shell) -> None:
    shell.plan(ONE, TWO).continuous.forget(ONE)
    assert shell.round() == [TWO]
    assert set(shell.continuous.due_times()) == {TWO}


def test_a_fault_ends_no_loop_and_is_told(shell: Shell, lines: Lines) -> None:
    shell.plan(ONE)
    shell.continuous._cpu = lambda: 1 / 0
    assert shell.round() == []
    assert isinstance(shell.continuous.outage.error, ZeroDivisionError)
    shell.continuous._cpu = own_cpu
    assert shell.round() == [ONE]
    assert shell.continuous.outage.error is None
    assert [line["action"] for line in lines] == ["lead", "outage", "recovered"][-len(lines) :]


def test_the_limits_are_those_of_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuous_module, "cores", lambda: 8)
    configured = settings(
        tmp_path,
        continuous={
            "min_interval": "45s",
            "plan_interval": "1h",
            "reads_per_minute": 300,
            "cpu_share": 0.25,
        },
        workers=3,
    )
    assert Limits.of(configured, lease=timedelta(minutes=1)) == Limits(
        min_interval=45, plan_interval=3600, reads=5, cpu=2, workers=3, lease=60
    )


def test_cpu_time_is_that_of_this_process_and_its_children() -> None:
    before = own_cpu()
    until = time.thread_time() + 0.05
    while time.thread_time() < until:
        pass
    assert 0.04 <= own_cpu() - before < 5
    assert continuous_module.cores() >= 1
