"""When stacks are due: slots, clock changes, first checks, and what a restart makes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from service_doubles import MORNING, every, fleet, stack

from driftwatch.config.settings import Schedule
from driftwatch.errors import ConfigError
from driftwatch.service.cadence import (
    CRON_SPREAD,
    FIRST_CHECK_WITHIN,
    SMALL_FLEET,
    PollTrigger,
    StackTrigger,
    next_continuous,
    next_due,
    next_poll,
    next_slot,
    spread,
)

if TYPE_CHECKING:
    from driftwatch.model import StackId

BERLIN, LORD_HOWE, NEW_YORK = "Europe/Berlin", "Australia/Lord_Howe", "America/New_York"

moments = st.datetimes(min_value=datetime(2024, 1, 1), max_value=datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
intervals = st.integers(min_value=1, max_value=40 * 86400).map(every)
crons = st.sampled_from(
    ["* * * * *", "*/15 * * * *", "0 * * * *", "30 2 * * *", "15 1,2,3 * * *", "0 3 * * 1-5", "0 0 1 * *"]
)
zones = st.sampled_from(["UTC", BERLIN, LORD_HOWE, NEW_YORK, "Asia/Kathmandu", "Antarctica/Troll"])
cron_schedules = st.builds(lambda cron, zone: Schedule(cron=cron, timezone=zone), crons, zones)
schedules = intervals | cron_schedules
stacks = st.integers(0, 10_000).map(lambda number: stack(f"envs/{number}"))


@given(schedules, moments, stacks)
def test_a_slot_lies_ahead_and_none_is_skipped_on_the_way_to_it(
    schedule: Schedule, now: datetime, one: StackId
) -> None:
    """Looking from any moment before a slot leads to that slot, or to an earlier one."""
    slot = next_slot(schedule, now, one)
    assert slot > now
    middle = now + (slot - now) / 2
    assert next_slot(schedule, middle, one) == slot
    assert next_slot(schedule, slot, one) > slot


@given(intervals, moments, stacks)
def test_an_interval_is_elapsed_time(schedule: Schedule, now: datetime, one: StackId) -> None:
    first = next_slot(schedule, now, one)
    assert first - now <= schedule.every
    assert next_slot(schedule, first, one) - first == schedule.every


@given(schedules, moments, stacks, st.none() | moments)
def test_a_due_time_is_never_beyond_the_next_slot(
    schedule: Schedule, now: datetime, one: StackId, known: datetime | None
) -> None:
    """Row 51: a due time that another clock has written never puts a stack off."""
    due = next_due(schedule, known, now, one, fleet=1000)
    assert due <= max(next_slot(schedule, now, one), now + FIRST_CHECK_WITHIN)
    if known is not None and known <= now:
        assert due == known


@given(schedules, moments, stacks)
def test_a_due_time_that_is_still_ahead_survives_a_restart(
    schedule: Schedule, now: datetime, one: StackId
) -> None:
    due = next_slot(schedule, now, one)
    later = now + (due - now) / 3
    assert next_due(schedule, due, later, one, fleet=1) == due


def test_intervals_spread_a_fleet_evenly() -> None:
    """Each tenth of the interval gets about a tenth of the stacks."""
    due = [next_slot(every(900), MORNING, one) - MORNING for one in fleet(1000)]
    tenths = [sum(1 for wait in due if wait // timedelta(seconds=90) == part) for part in range(10)]
    assert min(tenths) > 60
    assert max(tenths) < 150


def test_the_spread_is_the_same_in_every_process() -> None:
    """The digest is no hash of Python's, which differs from process to process."""
    assert next_slot(every(900), MORNING, stack("envs/prod")) == datetime(2026, 11, 17, 8, 13, 28, tzinfo=UTC)


@pytest.mark.parametrize("fleet_size", [1, SMALL_FLEET])
def test_a_small_fleet_that_is_new_is_checked_at_once(fleet_size: int) -> None:
    assert next_due(every(86400), None, MORNING, stack("a"), fleet=fleet_size) == MORNING


@pytest.mark.parametrize(
    ("schedule", "within"),
    [
        (every(900), timedelta(minutes=15)),
        (every(86400), FIRST_CHECK_WITHIN),
        (Schedule(cron="0 3 * * 1"), FIRST_CHECK_WITHIN),
    ],
    ids=["15m", "daily", "weekly"],
)
def test_a_large_fleet_that_is_new_is_spread_and_soon_known(schedule: Schedule, within: timedelta) -> None:
    due = [next_due(schedule, None, MORNING, one, fleet=1000) - MORNING for one in fleet(200)]
    assert max(due) < within
    assert len(set(due)) > 100


def test_a_missed_slot_is_made_up_for_at_once() -> None:
    due = MORNING - timedelta(hours=5)
    assert next_due(every(900), due, MORNING, stack("a"), fleet=1000) == due


def occurrences(cron: str, zone: str, start: str, count: int) -> list[str]:
    """Slots from a local moment on, without this stack's own seconds, as local times with their offset."""
    schedule, one = Schedule(cron=cron, timezone=zone), stack("envs/prod")
    at = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    found = []
    for _ in range(count):
        at = next_slot(schedule, at, one)
        assert at - at.replace(second=0) < CRON_SPREAD
        found.append(at.replace(second=0).astimezone(ZoneInfo(zone)).isoformat(timespec="minutes"))
    return found


@pytest.mark.row(52)
@pytest.mark.parametrize(
    ("cron", "zone", "start", "expected"),
    [
        pytest.param(
            "30 2 * * *",
            BERLIN,
            "2026-03-28T12:00",
            ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"],
            id="Berlin, gap: the first instant after it",
        ),
        pytest.param(
            "*/15 2 * * *",
            BERLIN,
            "2026-03-28T12:00",
            ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"],
            id="Berlin, several in the gap: once",
        ),
        pytest.param(
            "0 0 * * *",
            BERLIN,
            "2026-03-28T12:00",
            ["2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00", "2026-03-31T00:00+02:00"],
            id="Berlin, the day after the gap is not lost",
        ),
        pytest.param(
            "30 2 * * *",
            BERLIN,
            "2026-10-24T12:00",
            ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"],
            id="Berlin, overlap: once, the first time",
        ),
        pytest.param(
            "0 * * * *",
            BERLIN,
            "2026-10-25T00:30",
            [
                "2026-10-25T01:00+02:00",
                "2026-10-25T02:00+02:00",
                "2026-10-25T02:00+01:00",
                "2026-10-25T03:00+01:00",
            ],
            id="Berlin, overlap: hourly goes on every hour",
        ),
        pytest.param(
            "0 1-3 * * *",
            BERLIN,
            "2026-10-25T00:30",
            ["2026-10-25T01:00+02:00", "2026-10-25T02:00+02:00", "2026-10-25T03:00+01:00"],
            id="Berlin, overlap: named hours come once",
        ),
        pytest.param(
            "15 2 * * *",
            LORD_HOWE,
            "2026-10-03T12:00",
            ["2026-10-04T02:30+11:00", "2026-10-05T02:15+11:00"],
            id="Lord Howe, gap of half an hour",
        ),
        pytest.param(
            "0 0 * * *",
            LORD_HOWE,
            "2026-10-03T12:00",
            ["2026-10-04T00:00+10:30", "2026-10-05T00:00+11:00", "2026-10-06T00:00+11:00"],
            id="Lord Howe, the day after the gap is not lost",
        ),
        pytest.param(
            "45 1 * * *",
            LORD_HOWE,
            "2026-04-04T12:00",
            ["2026-04-05T01:45+11:00", "2026-04-06T01:45+10:30"],
            id="Lord Howe, overlap of half an hour: once",
        ),
        pytest.param(
            "*/15 * * * *",
            LORD_HOWE,
            "2026-04-05T01:20",
            [
                "2026-04-05T01:30+11:00",
                "2026-04-05T01:45+11:00",
                "2026-04-05T01:30+10:30",
                "2026-04-05T01:45+10:30",
                "2026-04-05T02:00+10:30",
            ],
            id="Lord Howe, overlap: every quarter goes on",
        ),
        pytest.param(
            "30 2 * * *",
            NEW_YORK,
            "2026-03-07T12:00",
            ["2026-03-08T03:00-04:00", "2026-03-09T02:30-04:00"],
            id="New York, gap",
        ),
        pytest.param(
            "30 1 * * 0",
            NEW_YORK,
            "2026-10-31T12:00",
            ["2026-11-01T01:30-04:00", "2026-11-08T01:30-05:00"],
            id="New York, overlap of a weekly one: once",
        ),
    ],
)
def test_cron_keeps_its_promise_across_clock_changes(
    cron: str, zone: str, start: str, expected: list[str]
) -> None:
    """Row 52 (schedules): a gap runs once, at its end; an overlap runs once; nothing after it is lost."""
    assert occurrences(cron, zone, start, len(expected)) == expected


@given(cron_schedules, moments, stacks)
def test_cron_agrees_with_looking_at_every_minute(schedule: Schedule, now: datetime, one: StackId) -> None:
    """Where no clock change is near, the next slot is the first minute that the expression matches."""
    from croniter import croniter

    zone = ZoneInfo(schedule.timezone)
    near = {(now + timedelta(hours=hours)).astimezone(zone).utcoffset() for hours in (-4, 0, 4, 8)}
    slot = next_slot(schedule, now, one)
    if len(near) > 1 or slot - now > timedelta(hours=4):
        return
    wall = slot.replace(second=0).astimezone(zone).replace(tzinfo=None)
    assert croniter.match(schedule.cron, wall)


def test_sunday_is_sunday() -> None:
    """APScheduler's own trigger would take 0 for Monday."""
    assert occurrences("0 0 * * 0", "UTC", "2026-11-17T08:00", 1) == ["2026-11-22T00:00+00:00"]


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (Schedule.model_construct(cron="0 0 30 2 *", timezone="UTC"), "names no time"),
        (Schedule.model_construct(cron="every day", timezone="UTC"), "names no time"),
        (Schedule.model_construct(cron="0 0 * * *", timezone="Mars/Base"), "no time zone"),
        (Schedule.model_construct(), "names no time"),
        (Schedule.model_construct(every=timedelta()), "names no time"),
    ],
)
def test_a_schedule_that_names_no_time_is_refused(schedule: Schedule, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        next_slot(schedule, MORNING, stack("a"))


@given(st.integers(1, 86400), moments)
def test_polls_jitter_about_their_interval(seconds: float, now: datetime) -> None:
    interval = timedelta(seconds=seconds)
    wait = next_poll(interval, now) - now
    assert interval * 0.89 < wait < interval * 1.11


def test_triggers_look_ahead_only() -> None:
    """However long ago the last time was: what was missed in between is one time, not a list."""
    long_ago = MORNING - timedelta(days=365)
    trigger = StackTrigger(every(60), stack("a"))
    assert trigger.get_next_fire_time(long_ago, MORNING) == next_slot(every(60), MORNING, stack("a"))
    assert PollTrigger(timedelta(seconds=60)).get_next_fire_time(long_ago, MORNING) > MORNING


def test_spread_is_within_one_period() -> None:
    assert all(spread(every(60), MORNING, one) - MORNING < timedelta(seconds=60) for one in fleet(100))


@given(moments, stacks, st.integers(0, 3600))
def test_a_stack_without_slots_keeps_its_due_time(now: datetime, one: StackId, ahead: int) -> None:
    """In the past, or ahead by less than there may lie between two checks: a restart changes nothing."""
    within = timedelta(hours=1)
    for known in (now - timedelta(seconds=ahead), now + timedelta(seconds=ahead)):
        assert next_continuous(known, now, one, within=within) == known


@given(moments, stacks, st.integers(1, 3 * 86400))
def test_a_stack_without_slots_that_was_never_checked_is_due_at_once(
    now: datetime, one: StackId, longest: int
) -> None:
    assert next_continuous(None, now, one, within=timedelta(seconds=longest)) == now


def test_a_due_time_too_far_ahead_is_not_believed_without_slots_either() -> None:
    """It was written by another clock, or under another schedule; all of a fleet that was are spread."""
    within = timedelta(minutes=15)
    known = MORNING + timedelta(days=1)
    dues = {next_continuous(known, MORNING, one, within=within) for one in fleet(300)}
    assert len(dues) > 200
    assert all(MORNING <= due < MORNING + within for due in dues)
