"""Windows against a walk through time minute by minute, which knows the rules only by their definition."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwatch.config.settings import WindowSettings
from driftwatch.policy.windows import FOR_GOOD, IN_SIGHT, Ruling, Windows, _days_named

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

SETTINGS = settings(max_examples=150, deadline=None, derandomize=True)

A_MINUTE = timedelta(minutes=1)
BEFORE, AHEAD = timedelta(days=4), timedelta(days=5)
"""What is walked over around a change of clocks: windows of up to two days, and rulings for three."""

CHANGES = [
    ("Europe/Paris", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Europe/Paris", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ("America/New_York", datetime(2027, 3, 14, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2027, 11, 7, 6, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    ("America/Sao_Paulo", datetime(2018, 11, 4, 3, tzinfo=UTC)),
    ("America/Sao_Paulo", datetime(2019, 2, 17, 2, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
    ("America/St_Johns", datetime(2010, 11, 7, 2, 31, tzinfo=UTC)),
    ("America/Havana", datetime(2026, 11, 1, 5, tzinfo=UTC)),
    ("Africa/Casablanca", datetime(2026, 2, 15, 2, tzinfo=UTC)),
    ("Antarctica/Troll", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Asia/Kathmandu", datetime(2028, 2, 29, 12, tzinfo=UTC)),
    ("UTC", datetime(2027, 12, 31, 23, 59, tzinfo=UTC)),
]

CRONS = [
    "30 2 * * *",
    "0 0 * * *",
    "45 23 * * *",
    "15 1,2,3 * * *",
    "*/20 1-3 * * *",
    "0 22 * * 1-5",
    "30 0 * * 0",
    "0 2 * * 7",
    "0 * * * *",
    "*/30 * * * *",
    "59 */6 * * *",
    "10 9 29,30,31 * *",
    "0 3 1 * 6",
    "0 12 29 2 *",
    "5 0 * 3,11 *",
]

MINUTES = st.sampled_from([1, 10, 20, 30, 59, 60, 61, 90, 240, 720, 1439, 1440, 1500, 2880])


# ---- the walk ------------------------------------------------------------------------------------------
# Minutes are counted from the beginning of what is walked over.

WALKED = int((BEFORE + AHEAD) / A_MINUTE)
LONGEST = 2880
TWO_DAYS = 2880


@lru_cache
def numbers(field: str, low: int, high: int) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return frozenset(found)


@lru_cache
def weekdays(field: str) -> frozenset[int]:
    return frozenset(number % 7 for number in numbers(field, 0, 7))


def names(fields: Sequence[str], local: datetime) -> bool:
    """Whether a cron expression names a local time, as crontab(5) says."""
    minute, hour, day, month, weekday = fields
    if local.minute not in numbers(minute, 0, 59) or local.hour not in numbers(hour, 0, 23):
        return False
    by_date = local.day in numbers(day, 1, 31)
    by_weekday = local.isoweekday() % 7 in weekdays(weekday)
    both = day != "*" and weekday != "*"
    return local.month in numbers(month, 1, 12) and (
        by_date or by_weekday if both else by_date and by_weekday
    )


@lru_cache
def walk(zone: str, begin: datetime) -> tuple[tuple[tuple[datetime, ...], bool], ...]:
    """For every minute: the local times that happen in it, also skipped ones, and if for the first time."""
    where, seen = ZoneInfo(zone), set[datetime]()
    found = []
    last = (begin - A_MINUTE).astimezone(where).replace(tzinfo=None)
    for step in range(WALKED):
        now = (begin + A_MINUTE * step).astimezone(where).replace(tzinfo=None)
        local = [now, *(now - A_MINUTE * back for back in range(1, int((now - last) / A_MINUTE)))]
        last = now
        found.append((tuple(local), now not in seen))
        seen.update(local)
    return tuple(found)


@lru_cache(maxsize=1024)
def opened(cron: str, minutes: int, zone: str, begin: datetime) -> frozenset[int]:
    """The minutes in which a window is open."""
    fields = cron.split()
    again = "*" in fields[1]
    found = set[int]()
    known = 0
    for minute, (local, first) in enumerate(walk(zone, begin)):
        if (first or again) and any(names(fields, each) for each in local):
            found.update(range(max(minute, known), minute + minutes))
            known = minute + minutes
    return frozenset(found)


def spans(minutes: AbstractSet[int]) -> list[tuple[int, int]]:
    """The minutes as intervals."""
    begins = sorted(at for at in minutes if at - 1 not in minutes)
    ends = sorted(at + 1 for at in minutes if at + 1 not in minutes)
    return list(zip(begins, ends, strict=True))


@dataclass(frozen=True)
class Plan:
    """A window as the walk knows it."""

    name: str
    kind: str
    cron: str
    minutes: int

    def settings(self, zone: str) -> WindowSettings:
        return WindowSettings.model_validate(
            {
                "name": self.name,
                "kind": self.kind,
                "cron": self.cron,
                "duration": f"{self.minutes}m",
                "timezone": zone,
            }
        )


@dataclass(frozen=True)
class Case:
    """Some windows around a change of clocks, and a minute at which somebody asks."""

    zone: str
    begin: datetime
    plans: tuple[Plan, ...]
    now: int

    @property
    def at(self) -> datetime:
        return self.instant(self.now)

    @property
    def windows(self) -> Windows:
        return Windows.compile([plan.settings(self.zone) for plan in self.plans])

    def instant(self, minute: int) -> datetime:
        return self.begin + A_MINUTE * minute

    def minute(self, at: datetime) -> int:
        """Which minute begins at an instant; what is far away is put outside."""
        count, rest = divmod(at - self.begin, A_MINUTE)
        assert not rest
        return count

    def open(self, plan: Plan) -> frozenset[int]:
        return opened(plan.cron, plan.minutes, self.zone, self.begin)

    def verdicts(self, needs: int = 0) -> list[tuple[bool, str]]:
        """By the minute, up to where the walk knows enough."""
        allows, denies = (
            frozenset[int]().union(*(self.open(plan) for plan in self.plans if plan.kind == kind))
            for kind in ("allow", "deny")
        )
        unheard = not any(plan.kind == "allow" for plan in self.plans)
        found, lasts = [], 0
        for minute in reversed(range(WALKED)):
            lasts = lasts + 1 if minute in allows and minute not in denies else 0
            found.append(
                (False, "deny_window")
                if minute in denies
                else (False, "no_window")
                if unheard
                else (False, "outside_window")
                if minute not in allows
                else (False, "does_not_fit")
                if lasts < needs
                else (True, "in_window")
            )
        return found[::-1][: WALKED - needs]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    zone, change = draw(st.sampled_from(CHANGES))
    plans = [
        Plan(
            name=f"w{place}",
            kind=draw(st.sampled_from(["allow", "allow", "deny"])),
            cron=draw(st.sampled_from(CRONS)),
            minutes=draw(MINUTES),
        )
        for place in range(draw(st.integers(1, 4)))
    ]
    now = int(BEFORE / A_MINUTE) + draw(st.integers(-18 * 60, 30 * 60))
    return Case(zone, change - BEFORE, tuple(plans), now)


def answer(ruling: Ruling) -> tuple[bool, str]:
    return ruling.allowed, ruling.reason


# ---- what holds ----------------------------------------------------------------------------------------


@pytest.mark.row(52)
@SETTINGS
@given(cases())
def test_a_ruling_is_what_the_walk_finds_and_until_is_when_that_changes(case: Case) -> None:
    verdicts = case.verdicts()
    ruling = case.windows.rule("platform/app", {}, case.at)
    assert answer(ruling) == verdicts[case.now]
    changed = next((at for at in range(case.now, WALKED) if verdicts[at] != verdicts[case.now]), None)
    if changed is not None:
        assert ruling.until == case.instant(changed)
    else:
        assert ruling.until is None or ruling.until >= case.instant(WALKED)


@pytest.mark.row(52)
@SETTINGS
@given(cases(), st.sampled_from([1, 15, 45, 60, 150, 600]))
def test_with_a_need_it_is_allowed_where_each_of_its_minutes_is(case: Case, needs: int) -> None:
    """Where it does not fit, `until` is when it does; where it does, the last moment at which it does."""
    verdicts = case.verdicts(needs)
    ruling = case.windows.rule("platform/app", {}, case.at, needs=A_MINUTE * needs)
    assert answer(ruling) == verdicts[case.now]
    known = len(verdicts)
    ahead = range(case.now, known)
    if ruling.reason == "does_not_fit":
        changed = next((at for at in ahead if verdicts[at][0]), None)
    elif ruling.allowed:
        changed = next((at - 1 for at in ahead if not verdicts[at][0]), None)
    else:
        changed = next((at for at in ahead if verdicts[at] != verdicts[case.now]), None)
    if changed is not None:
        assert ruling.until == case.instant(changed)
    else:
        assert ruling.until is None or ruling.until >= case.instant(known - 1)


@pytest.mark.row(52)
@SETTINGS
@given(cases())
def test_openings_are_the_intervals_of_the_walk(case: Case) -> None:
    """None opens twice, closes in its middle or is lost; each has its length, or is joined to others."""
    last = case.now + TWO_DAYS
    found = list(case.windows.openings(after=case.at, until=case.instant(last)))
    assert [each.begins for each in found] == sorted(each.begins for each in found)
    for plan in case.plans:
        mine = [each for each in found if each.window == plan.name]
        assert all(each.kind == plan.kind for each in mine)
        assert all(one.ends < other.begins for one, other in pairwise(mine))
        shown = [
            (case.minute(max(each.begins, case.at)), case.minute(min(each.ends, case.instant(last))))
            for each in mine
        ]
        assert shown == spans(case.open(plan) & set(range(case.now, last)))


@pytest.mark.row(52)
@SETTINGS
@given(cases())
def test_an_opening_is_told_whole(case: Case) -> None:
    """Also what is open already, and what stays open beyond what was asked for."""
    found = list(case.windows.openings(after=case.at, until=case.instant(case.now + 1)))
    for plan in case.plans:
        known = [span for span in spans(case.open(plan)) if span[0] <= case.now < span[1]]
        mine = [each for each in found if each.window == plan.name]
        assert len(mine) == len(known)
        for opening, (begins, ends) in zip(mine, known, strict=True):
            if begins > LONGEST:
                assert opening.begins == case.instant(begins)
            if ends < WALKED:
                assert opening.ends == case.instant(ends)


@pytest.mark.row(52)
@SETTINGS
@given(cases())
def test_the_next_edge_is_the_first_minute_in_which_any_window_is_not_as_before(case: Case) -> None:
    sets = [case.open(plan) for plan in case.plans]
    edges = (
        at for at in range(case.now + 1, WALKED) if any((at in each) != (at - 1 in each) for each in sets)
    )
    expected, found = next(edges, None), case.windows.next_edge(case.at)
    if expected is not None:
        assert found == case.instant(expected)
    else:
        assert found is None or found >= case.instant(WALKED)


@SETTINGS
@given(cases(), st.integers(0, 59_999_999))
def test_within_a_minute_nothing_changes_that_is_made_of_minutes(case: Case, microseconds: int) -> None:
    windows = case.windows
    inside = case.at + timedelta(microseconds=microseconds)
    assert windows.rule("platform/app", {}, inside) == windows.rule("platform/app", {}, case.at)


@SETTINGS
@given(cases())
def test_an_active_deny_beats_any_allow(case: Case) -> None:
    freeze = WindowSettings.model_validate(
        {"name": "freeze", "kind": "deny", "from": "2000-01-01T00:00", "to": "2050-01-01T00:00"}
    )
    frozen = Windows.compile([*(plan.settings(case.zone) for plan in case.plans), freeze])
    ruling = frozen.rule("platform/app", {}, case.at)
    assert (ruling.allowed, ruling.reason, ruling.window) == (False, "deny_window", "freeze")


@pytest.mark.row(52)
@SETTINGS
@given(cases())
def test_whoever_wakes_at_until_misses_no_change(case: Case) -> None:
    windows, verdicts, last = case.windows, case.verdicts(), case.instant(case.now + TWO_DAYS)
    at: datetime | None = case.at
    seen = []
    while at is not None and at < last:
        ruling = windows.rule("platform/app", {}, at)
        seen.append((case.minute(at), answer(ruling)))
        assert ruling.until is None or ruling.until > at
        at = ruling.until
    walked = list(enumerate(verdicts))[case.now : case.now + TWO_DAYS]
    assert seen == walked[:1] + [now for before, now in pairwise(walked) if before[1] != now[1]]


@SETTINGS
@given(cases())
def test_a_change_to_the_same_windows_changes_nothing(case: Case) -> None:
    """To none, everything closes; from none, everything opens."""
    nothing, span = Windows.compile([]), {"after": case.at, "until": case.instant(case.now + TWO_DAYS)}
    assert case.windows.changes(case.windows, **span) == []
    openings = sorted(
        (each.window, max(each.begins, span["after"]), min(each.ends, span["until"]))
        for each in case.windows.openings(**span)
    )
    for changes, opens in (
        (case.windows.changes(nothing, **span), False),
        (nothing.changes(case.windows, **span), True),
    ):
        assert {change.opens for change in changes} <= {opens}
        assert sorted((each.window, each.begins, each.ends) for each in changes) == openings


@SETTINGS
@given(cases(), st.sampled_from(CRONS), MINUTES)
def test_a_change_is_the_difference_of_the_minutes(case: Case, cron: str, minutes: int) -> None:
    first, *others = case.plans
    moved = Plan(first.name, first.kind, cron, minutes)
    new = Windows.compile([plan.settings(case.zone) for plan in (moved, *others)])
    changes = case.windows.changes(new, after=case.at, until=case.instant(case.now + TWO_DAYS))
    walked = set(range(case.now, case.now + TWO_DAYS))
    was, will = case.open(first) & walked, case.open(moved) & walked
    for opens, expected in ((True, will - was), (False, was - will)):
        found = [
            (case.minute(each.begins), case.minute(each.ends)) for each in changes if each.opens is opens
        ]
        assert found == spans(expected)


# ---- days against croniter -----------------------------------------------------------------------------

DAYS = [
    "* * *",
    "*/2 * *",
    "1-7 * MON",
    "31 * *",
    "29 2 *",
    "L * *",
    "L,15 * 0",
    "15W * *",
    "W1 * *",
    "31W 2,4 *",
    "15W * 1",
    "* * 5#2",
    "* * 1#1,3#5",
    "* * L5",
    "1 * 1#1",
    "15W * 5#3",
    "? * 1-5",
    "* 12-2 *",
    "* JAN-JAN SUN-SUN",
    "* * FRI-MON",
    "13 * 5",
    "*/10 */5 6,7",
    "30 2 3",
]


@pytest.mark.parametrize("fields", DAYS)
def test_days_are_those_that_croniter_names(fields: str) -> None:
    """Schedules are read by croniter: what names a day there names it here, forwards and backwards."""
    first, last = date(2023, 1, 1), date(2029, 12, 31)
    times: Any = croniter(f"0 0 {fields}", datetime(2022, 12, 31, 12))  # noqa: DTZ001
    expected = []
    while (day := times.get_next(datetime).date()) <= last:
        expected.append(day)
    days = _days_named(fields)
    assert list(takewhile(lambda day: day <= last, days.onward_from(first))) == expected
    assert list(takewhile(lambda day: day >= first, days.back_from(last))) == expected[::-1]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.sampled_from(DAYS),
    st.dates(min_value=date(2023, 1, 1), max_value=date(2029, 12, 31)),
)
def test_onward_and_back_meet_at_a_day(fields: str, day: date) -> None:
    days = _days_named(fields)
    ahead, behind = next(days.onward_from(day)), next(days.back_from(day))
    assert behind <= day <= ahead
    assert (ahead == day) == (behind == day)


# ---- what goes on and on -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cron", "minutes", "zone"),
    [
        ("* * * * *", 1, "Europe/Paris"),
        ("*/10 * * * *", 10, "America/New_York"),
        ("0 0 * * *", 1440, "UTC"),
        ("0 0 * * *", 1500, "Europe/Paris"),
        ("0 0 * * 1", 10_080, "Asia/Kathmandu"),
        ("0 0 1 * *", 44_640, "UTC"),
        ("0 0 1 1 *", 600_000, "Europe/Paris"),
        ("0 5 * * *", 5_000_000, "Europe/Paris"),
    ],
)
@pytest.mark.row(52)
def test_longer_than_its_period_it_is_always_open(cron: str, minutes: int, zone: str) -> None:
    """At every hour of a year, also when clocks change: no end is in sight, and no edge comes."""
    windows = Windows.compile([Plan("w", "deny", cron, minutes).settings(zone)])
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    for day in range(0, 366, 5):
        at = begin + timedelta(days=day, hours=day % 24)
        ruling = windows.rule("s", {}, at)
        assert (ruling.reason, ruling.until) == ("deny_window", None)
        assert windows.next_edge(at) is None
    (opening,) = windows.openings(after=begin, until=begin + timedelta(days=30))
    assert opening.begins <= begin - IN_SIGHT
    assert opening.ends == FOR_GOOD
