"""Windows, case by case: when they are open, and what they rule. The times were worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.config.settings import WindowSettings
from driftwatch.policy.windows import FOR_GOOD, IN_SIGHT, Change, Ruling, Windows

if TYPE_CHECKING:
    from collections.abc import Callable

PARIS, NEW_YORK, LORD_HOWE = "Europe/Paris", "America/New_York", "Australia/Lord_Howe"
SAO_PAULO, APIA, TROLL = "America/Sao_Paulo", "Pacific/Apia", "Antarctica/Troll"
HAVANA, ST_JOHNS, CASABLANCA = "America/Havana", "America/St_Johns", "Africa/Casablanca"

STACK = "platform/envs/prod/net"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def window(kind: str, name: str, words: dict[str, Any]) -> WindowSettings:
    return WindowSettings.model_validate({"name": name, "kind": kind, **words})


def cron(
    kind: str, name: str, expression: str, duration: str, zone: str = "UTC", **words: Any
) -> WindowSettings:
    return window(kind, name, {"cron": expression, "duration": duration, "timezone": zone, **words})


def once(kind: str, name: str, opens: str, closes: str, zone: str = "UTC", **words: Any) -> WindowSettings:
    return window(kind, name, {"from": opens, "to": closes, "timezone": zone, **words})


def shown(windows: Windows, after: str, until: str) -> list[str]:
    return [
        f"{each.begins:%Y-%m-%dT%H:%M:%S} {each.ends:%Y-%m-%dT%H:%M:%S}".replace(":00 ", " ").removesuffix(
            ":00"
        )
        for each in windows.openings(after=utc(after), until=utc(until))
    ]


# ---- when they are open --------------------------------------------------------------------------------

RECURRING = [
    # An ordinary night, and the hours around a change of clocks.
    ("summer", "0 22 * * *", "4h", PARIS, "2026-07-01", "2026-07-02", ["2026-07-01T20:00 2026-07-02T00:00"]),
    ("winter", "0 22 * * *", "4h", PARIS, "2026-12-01", "2026-12-01T22:00",
     ["2026-11-30T21:00 2026-12-01T01:00", "2026-12-01T21:00 2026-12-02T01:00"]),
    ("before a gap, it ends in it", "0 22 * * *", "4h", PARIS, "2026-03-28T12:00", "2026-03-29T12:00",
     ["2026-03-28T21:00 2026-03-29T01:00"]),
    ("before a repeat, it ends in it", "0 22 * * *", "4h", PARIS, "2026-10-24T12:00", "2026-10-25T12:00",
     ["2026-10-24T20:00 2026-10-25T00:00"]),
    ("over a gap it lasts four hours", "0 1 * * *", "4h", PARIS, "2026-03-28T12:00", "2026-03-29T12:00",
     ["2026-03-29T00:00 2026-03-29T04:00"]),
    ("over a repeat it neither closes nor opens again", "0 1 * * *", "4h", PARIS, "2026-10-24T12:00",
     "2026-10-25T12:00", ["2026-10-24T23:00 2026-10-25T03:00"]),
    ("New York, over a gap", "0 1 * * *", "4h", NEW_YORK, "2026-03-08", "2026-03-08T20:00",
     ["2026-03-08T06:00 2026-03-08T10:00"]),
    ("New York, over a repeat", "0 1 * * *", "4h", NEW_YORK, "2026-11-01", "2026-11-01T20:00",
     ["2026-11-01T05:00 2026-11-01T09:00"]),
    # Starts that are skipped or come twice.
    ("Paris, skipped", "30 2 * * *", "20m", PARIS, "2026-03-28T12:00", "2026-03-29T12:00",
     ["2026-03-29T01:00 2026-03-29T01:20"]),
    ("Paris, twice", "30 2 * * *", "20m", PARIS, "2026-10-24T12:00", "2026-10-25T12:00",
     ["2026-10-25T00:30 2026-10-25T00:50"]),
    ("New York, skipped", "30 2 * * *", "1h", NEW_YORK, "2026-03-08", "2026-03-08T20:00",
     ["2026-03-08T07:00 2026-03-08T08:00"]),
    ("New York, twice", "30 1 * * *", "20m", NEW_YORK, "2026-11-01", "2026-11-01T20:00",
     ["2026-11-01T05:30 2026-11-01T05:50"]),
    ("several are skipped: once", "*/15 2 * * *", "10m", PARIS, "2026-03-28T12:00", "2026-03-29T12:00",
     ["2026-03-29T01:00 2026-03-29T01:10"]),
    ("each hour, in a repeat: elapsed time", "0 * * * *", "10m", PARIS, "2026-10-24T23:30",
     "2026-10-25T02:30", ["2026-10-25T00:00 2026-10-25T00:10", "2026-10-25T01:00 2026-10-25T01:10",
     "2026-10-25T02:00 2026-10-25T02:10"]),
    ("each hour, over a gap", "0 * * * *", "10m", PARIS, "2026-03-29T00:30", "2026-03-29T02:30",
     ["2026-03-29T01:00 2026-03-29T01:10", "2026-03-29T02:00 2026-03-29T02:10"]),
    ("Lord Howe, half an hour is skipped", "15 2 * * *", "1h", LORD_HOWE, "2026-10-03T12:00", "2026-10-04",
     ["2026-10-03T15:30 2026-10-03T16:30"]),
    ("Lord Howe, half an hour comes twice", "45 1 * * *", "30m", LORD_HOWE, "2026-04-04T12:00", "2026-04-05",
     ["2026-04-04T14:45 2026-04-04T15:15"]),
    ("Lord Howe, behind the repeat", "0 2 * * *", "1h", LORD_HOWE, "2026-04-04T12:00", "2026-04-05",
     ["2026-04-04T15:30 2026-04-04T16:30"]),
    ("Sao Paulo, midnight is skipped", "0 0 * * *", "2h", SAO_PAULO, "2018-11-03T12:00", "2018-11-04T12:00",
     ["2018-11-04T03:00 2018-11-04T05:00"]),
    ("Sao Paulo, the hour before midnight comes twice", "30 23 * * *", "1h", SAO_PAULO, "2019-02-16T12:00",
     "2019-02-17T12:00", ["2019-02-17T01:30 2019-02-17T02:30"]),
    ("Sao Paulo, midnight behind the repeat", "0 0 * * *", "1h", SAO_PAULO, "2019-02-16T12:00",
     "2019-02-17T12:00", ["2019-02-17T03:00 2019-02-17T04:00"]),
    ("Apia has no 30 December", "0 9 * * *", "2h", APIA, "2011-12-29", "2012-01-01",
     ["2011-12-29T19:00 2011-12-29T21:00", "2011-12-30T10:00 2011-12-30T12:00",
     "2011-12-30T19:00 2011-12-30T21:00", "2011-12-31T19:00 2011-12-31T21:00"]),
    ("Apia, on that Friday alone", "0 9 * * 5", "2h", APIA, "2011-12-29", "2012-01-01",
     ["2011-12-30T10:00 2011-12-30T12:00"]),
    ("Troll, two hours are skipped", "30 1 * * *", "1h", TROLL, "2026-03-28T12:00", "2026-03-29T12:00",
     ["2026-03-29T01:00 2026-03-29T02:00"]),
    ("Troll, two hours come twice", "30 2 * * *", "1h", TROLL, "2026-10-24T12:00", "2026-10-25T12:00",
     ["2026-10-25T00:30 2026-10-25T01:30"]),
    ("Havana, midnight is skipped", "0 0 * * *", "1h", HAVANA, "2026-03-07T12:00", "2026-03-08T12:00",
     ["2026-03-08T05:00 2026-03-08T06:00"]),
    ("Havana, the first hour comes twice", "30 0 * * *", "1h", HAVANA, "2026-10-31T12:00",
     "2026-11-01T12:00", ["2026-11-01T04:30 2026-11-01T05:30"]),
    ("St. John's, back over midnight", "30 23 * * *", "10m", ST_JOHNS, "2010-11-06T12:00",
     "2010-11-07T12:00", ["2010-11-07T02:00 2010-11-07T02:10"]),
    ("St. John's, a midnight that comes twice", "0 0 * * *", "10m", ST_JOHNS, "2010-11-06T12:00",
     "2010-11-07T12:00", ["2010-11-07T02:30 2010-11-07T02:40"]),
    ("St. John's, each half hour goes on through it", "0,30 * * * *", "10m", ST_JOHNS, "2010-11-07T02:00",
     "2010-11-07T04:00", ["2010-11-07T02:00 2010-11-07T02:10", "2010-11-07T02:30 2010-11-07T02:40",
     "2010-11-07T03:00 2010-11-07T03:10", "2010-11-07T03:30 2010-11-07T03:40"]),
    ("St. John's, the day before once more", "0,30 * * * *", "10m", ST_JOHNS, "2010-11-07T03:05",
     "2010-11-07T03:15", ["2010-11-07T03:00 2010-11-07T03:10"]),
    ("Casablanca, back before Ramadan", "30 2 * * *", "30m", CASABLANCA, "2026-02-14T12:00",
     "2026-02-15T12:00", ["2026-02-15T01:30 2026-02-15T02:00"]),
    ("Casablanca, forward after it", "30 2 * * *", "30m", CASABLANCA, "2026-03-21T12:00", "2026-03-22T12:00",
     ["2026-03-22T02:00 2026-03-22T02:30"]),
    ("Kathmandu is a quarter of an hour off", "0 0 * * *", "1h", "Asia/Kathmandu", "2026-04-30T12:00",
     "2026-05-01T12:00", ["2026-04-30T18:15 2026-04-30T19:15"]),
    # Days.
    ("year's end", "0 22 31 12 *", "4h", PARIS, "2026-12-31", "2027-01-02",
     ["2026-12-31T21:00 2027-01-01T01:00"]),
    ("leap days", "0 12 29 2 *", "1h", "UTC", "2026-01-01", "2033-01-01",
     ["2028-02-29T12:00 2028-02-29T13:00", "2032-02-29T12:00 2032-02-29T13:00"]),
    ("2100 has none", "0 12 29 2 *", "1h", "UTC", "2097-01-01", "2105-01-01",
     ["2104-02-29T12:00 2104-02-29T13:00"]),
    ("over the end of a February", "0 0 28 2 *", "48h", "UTC", "2026-02-01", "2026-04-01",
     ["2026-02-28T00:00 2026-03-02T00:00"]),
    ("over a leap day", "0 0 28 2 *", "48h", "UTC", "2028-02-01", "2028-04-01",
     ["2028-02-28T00:00 2028-03-01T00:00"]),
    ("only months that have a 31st", "0 0 31 * *", "1h", "UTC", "2026-04-01", "2026-08-01",
     ["2026-05-31T00:00 2026-05-31T01:00", "2026-07-31T00:00 2026-07-31T01:00"]),
    ("the 13th, and Fridays", "0 0 13 * 5", "1h", "UTC", "2026-10-08", "2026-10-17",
     ["2026-10-09T00:00 2026-10-09T01:00", "2026-10-13T00:00 2026-10-13T01:00",
     "2026-10-16T00:00 2026-10-16T01:00"]),
    ("the night to Saturday is Friday's", "0 22 * * 1-5", "4h", PARIS, "2026-11-20T12:00",
     "2026-11-24T00:00", ["2026-11-20T21:00 2026-11-21T01:00", "2026-11-23T21:00 2026-11-24T01:00"]),
    ("Sunday is 7 too", "0 6 * * 7", "1h", "UTC", "2026-11-17", "2026-11-24",
     ["2026-11-22T06:00 2026-11-22T07:00"]),
    ("the last of the month", "0 20 L * *", "2h", "UTC", "2028-02-01", "2028-03-01",
     ["2028-02-29T20:00 2028-02-29T22:00"]),
    ("the first Monday", "0 6 * * 1#1", "1h", "UTC", "2026-11-01", "2026-12-01",
     ["2026-11-02T06:00 2026-11-02T07:00"]),
    ("the last Friday", "0 18 * * L5", "2h", "UTC", "2026-11-01", "2026-12-01",
     ["2026-11-27T18:00 2026-11-27T20:00"]),
    ("the working day next to the first", "0 6 1W * *", "1h", "UTC", "2026-08-01", "2026-09-01",
     ["2026-08-03T06:00 2026-08-03T07:00"]),
    # Openings that overlap or touch.
    ("they overlap", "0,30 8 * * *", "45m", "UTC", "2026-07-01", "2026-07-02",
     ["2026-07-01T08:00 2026-07-01T09:15"]),
    ("they touch", "0,30 8 * * *", "30m", "UTC", "2026-07-01", "2026-07-02",
     ["2026-07-01T08:00 2026-07-01T09:00"]),
    ("over midnight", "0 20,22,0 * * *", "2h", "UTC", "2026-07-01T12:00", "2026-07-02T12:00",
     ["2026-07-01T20:00 2026-07-02T02:00"]),
    ("a gap makes them touch", "0 1,3 * * *", "1h", PARIS, "2026-03-28T12:00", "2026-03-29T12:00",
     ["2026-03-29T00:00 2026-03-29T02:00"]),
    ("a day of 25 hours is longer than 24", "0 0 * * *", "24h", PARIS, "2026-10-24", "2026-10-25T22:30",
     ["2025-10-26T23:00 2026-10-25T22:00"]),
    ("seconds", "0 6 * * *", "90s", "UTC", "2026-07-01", "2026-07-02",
     ["2026-07-01T06:00 2026-07-01T06:01:30"]),
    ("longer than a day", "0 0 * * 6", "48h", PARIS, "2026-10-23", "2026-10-27",
     ["2026-10-23T22:00 2026-10-25T22:00"]),
    # At the ends of what is asked for.
    ("what has just ended is over", "0 8 * * *", "1h", "UTC", "2026-07-01T09:00", "2026-07-02T08:00", []),
    ("what is open is told whole", "0 8 * * *", "1h", "UTC", "2026-07-01T08:59:59", "2026-07-02T08:00:01",
     ["2026-07-01T08:00 2026-07-01T09:00", "2026-07-02T08:00 2026-07-02T09:00"]),
]  # fmt: skip

ONCE = [
    ("a freeze", "2026-12-20T00:00:00", "2027-01-03T00:00:00", PARIS, ["2026-12-19T23:00 2027-01-02T23:00"]),
    ("over a change of clocks", "2026-03-01T00:00", "2026-04-01T00:00", NEW_YORK,
     ["2026-03-01T05:00 2026-04-01T04:00"]),
    ("it opens in a gap", "2026-03-29T02:15", "2026-03-29T05:00", PARIS,
     ["2026-03-29T01:00 2026-03-29T03:00"]),
    ("it closes in a gap", "2026-03-29T00:00", "2026-03-29T02:30", PARIS,
     ["2026-03-28T23:00 2026-03-29T01:00"]),
    ("both in a gap: never", "2026-03-29T02:10", "2026-03-29T02:40", PARIS, []),
    ("it opens in a repeat", "2026-10-25T02:30", "2026-10-25T04:00", PARIS,
     ["2026-10-25T00:30 2026-10-25T03:00"]),
    ("it closes in a repeat", "2026-10-25T01:00", "2026-10-25T02:30", PARIS,
     ["2026-10-24T23:00 2026-10-25T00:30"]),
    ("a day that is missing", "2011-12-30T00:00", "2011-12-30T12:00", APIA, []),
    ("up to a day that is missing", "2011-12-29T00:00", "2011-12-31T00:00", APIA,
     ["2011-12-29T10:00 2011-12-30T10:00"]),
    ("in the zone's half hour", "2026-10-04T02:00", "2026-10-04T03:00", LORD_HOWE,
     ["2026-10-03T15:30 2026-10-03T16:00"]),
]  # fmt: skip


@pytest.mark.row(52)
@pytest.mark.parametrize(
    ("expression", "duration", "zone", "after", "until", "expected"),
    [pytest.param(*case[1:], id=case[0]) for case in RECURRING],
)
def test_a_recurring_window_is_open(
    expression: str, duration: str, zone: str, after: str, until: str, expected: list[str]
) -> None:
    windows = Windows.compile([cron("deny", "w", expression, duration, zone)])
    assert shown(windows, after, until) == expected


@pytest.mark.row(52)
@pytest.mark.parametrize(
    ("opens", "closes", "zone", "expected"), [pytest.param(*case[1:], id=case[0]) for case in ONCE]
)
def test_a_window_of_once_is_open(opens: str, closes: str, zone: str, expected: list[str]) -> None:
    windows = Windows.compile([once("deny", "w", opens, closes, zone)])
    assert shown(windows, "2000-01-01", "2050-01-01") == expected


# ---- what they rule ------------------------------------------------------------------------------------

NIGHTS = cron("allow", "nights", "0 22 * * *", "4h", PARIS, stacks=["platform/envs/*"])
FREEZE = once("deny", "freeze", "2026-12-20T00:00", "2027-01-03T00:00", PARIS)
NOON_FREEZE = once("deny", "noon", "2026-12-19T12:00", "2026-12-19T20:00", PARIS)
LEAP = cron("allow", "leap", "0 0 29 2 *", "12h")
NEW_YEAR = cron("allow", "new-year", "0 0 1 1 *", "10h")


def allow(name: str, begin: int, end: int, **words: Any) -> WindowSettings:
    """From one full hour to another, every day."""
    return cron("allow", name, f"0 {begin} * * *", f"{end - begin}h", **words)


def deny(name: str, begin: int, end: int, **words: Any) -> WindowSettings:
    return cron("deny", name, f"0 {begin} * * *", f"{end - begin}h", **words)


ALLOWED, DENIED, OUTSIDE = (True, "in_window"), (False, "deny_window"), (False, "outside_window")
NO_WINDOW, TOO_SHORT = (False, "no_window"), (False, "does_not_fit")

RULINGS = [
    # What is open and what is not: [begins, ends).
    ("inside", [NIGHTS], "2026-11-20T21:30", None, ALLOWED, "nights", "2026-11-21T01:00"),
    ("as it opens", [NIGHTS], "2026-11-20T21:00", None, ALLOWED, "nights", "2026-11-21T01:00"),
    ("just before", [NIGHTS], "2026-11-20T20:59:59.999999", None, OUTSIDE, "nights", "2026-11-20T21:00"),
    ("at the last moment", [NIGHTS], "2026-11-21T00:59:59.999999", None, ALLOWED, "nights",
     "2026-11-21T01:00"),
    ("as it closes", [NIGHTS], "2026-11-21T01:00", None, OUTSIDE, "nights", "2026-11-21T21:00"),
    ("no windows at all", [], "2026-11-20T21:30", None, NO_WINDOW, None, None),
    ("only a deny, closed", [FREEZE], "2026-11-20T21:30", None, NO_WINDOW, None, "2026-12-19T23:00"),
    ("only a deny that is over", [FREEZE], "2027-01-02T23:00", None, NO_WINDOW, None, None),
    ("only a deny, open", [FREEZE], "2026-12-25", None, DENIED, "freeze", "2027-01-02T23:00"),
    ("an allow that is over", [once("allow", "w", "2026-01-01T00:00", "2026-01-02T00:00")], "2026-11-20",
     None, OUTSIDE, None, None),
    ("an allow that is years ahead", [once("allow", "w", "2035-01-01T00:00", "2035-01-02T00:00")],
     "2026-11-20", None, OUTSIDE, "w", "2035-01-01T00:00"),
    ("the next leap day", [LEAP], "2028-02-29T12:00", None, OUTSIDE, "leap", "2032-02-29T00:00"),
    # A deny beats an allow.
    ("frozen in a night", [NIGHTS, FREEZE], "2026-12-20T21:30", None, DENIED, "freeze", "2027-01-02T23:00"),
    ("in either order", [FREEZE, NIGHTS], "2026-12-20T21:30", None, DENIED, "freeze", "2027-01-02T23:00"),
    ("a freeze cuts a night short", [NIGHTS, FREEZE], "2026-12-19T21:30", None, ALLOWED, "nights",
     "2026-12-19T23:00"),
    ("at the freeze's last moment", [NIGHTS, FREEZE], "2027-01-02T22:59:59", None, DENIED, "freeze",
     "2027-01-02T23:00"),
    ("a night goes on after the freeze", [NIGHTS, FREEZE], "2027-01-02T23:00", None, ALLOWED, "nights",
     "2027-01-03T01:00"),
    ("a freeze begins before the next night", [NIGHTS, NOON_FREEZE], "2026-12-19T10:00", None, OUTSIDE,
     "nights", "2026-12-19T11:00"),
    ("a freeze begins as a window opens", [allow("a", 8, 10), deny("d", 8, 9)], "2026-07-01T07:00", None,
     OUTSIDE, "a", "2026-07-01T08:00"),
    ("denies overlap", [deny("a", 8, 10), deny("b", 9, 12)], "2026-07-01T08:30", None, DENIED, "a",
     "2026-07-01T12:00"),
    ("of two denies, the longer", [deny("a", 8, 10), deny("b", 9, 12)], "2026-07-01T09:30", None, DENIED,
     "b", "2026-07-01T12:00"),
    ("denies touch", [deny("a", 8, 10), deny("b", 10, 12)], "2026-07-01T09:00", None, DENIED, "a",
     "2026-07-01T12:00"),
    ("a night in a long freeze", [once("deny", "long", "2026-01-01T00:00", "2030-01-01T00:00"),
     deny("d", 22, 23)], "2026-07-01", None, DENIED, "long", "2030-01-01T00:00"),
    ("a freeze for ever", [NIGHTS, once("deny", "ever", "2026-01-01T00:00", "9999-12-31T00:00")],
     "2026-07-01", None, DENIED, "ever", None),
    ("a freeze since ever", [NIGHTS, once("deny", "ever", "0001-01-01T00:00", "2026-07-02T00:00", NEW_YORK)],
     "2026-07-01", None, DENIED, "ever", "2026-07-02T04:00"),
    ("always denied", [NIGHTS, cron("deny", "all", "* * * * *", "1m")], "2026-07-01", None, DENIED, "all",
     None),
    ("always denied, in turn", [deny("a", 0, 12), deny("b", 12, 24)], "2026-07-01", None, DENIED, "a", None),
    # Allows together.
    ("allows overlap", [allow("a", 20, 22), allow("b", 21, 23)], "2026-07-01T20:30", None, ALLOWED, "a",
     "2026-07-01T23:00"),
    ("allows touch", [allow("a", 20, 22), allow("b", 22, 24)], "2026-07-01T21:00", None, ALLOWED, "a",
     "2026-07-02T00:00"),
    ("allows with a gap", [allow("a", 20, 22), allow("b", 23, 24)], "2026-07-01T21:00", None, ALLOWED, "a",
     "2026-07-01T22:00"),
    ("in that gap", [allow("a", 20, 22), allow("b", 23, 24)], "2026-07-01T22:30", None, OUTSIDE, "b",
     "2026-07-01T23:00"),
    ("an inactive allow does not matter", [allow("a", 8, 9), allow("b", 20, 22)], "2026-07-01T21:00", None,
     ALLOWED, "b", "2026-07-01T22:00"),
    ("always allowed, in turn", [allow("a", 0, 12), allow("b", 12, 24)], "2026-07-01T13:00", None, ALLOWED,
     "b", None),
    ("before a hole", [allow("a", 20, 24), deny("d", 21, 22)], "2026-07-01T20:30", None, ALLOWED, "a",
     "2026-07-01T21:00"),
    ("in a hole", [allow("a", 20, 24), deny("d", 21, 22)], "2026-07-01T21:30", None, DENIED, "d",
     "2026-07-01T22:00"),
    ("behind a hole", [allow("a", 20, 24), deny("d", 21, 22)], "2026-07-01T22:00", None, ALLOWED, "a",
     "2026-07-02T00:00"),
    # What it takes has to fit.
    ("it fits", [allow("a", 20, 22)], "2026-07-01T20:30", "1h", ALLOWED, "a", "2026-07-01T21:00"),
    ("it just fits", [allow("a", 20, 22)], "2026-07-01T21:00", "1h", ALLOWED, "a", "2026-07-01T21:00"),
    ("a second too late", [allow("a", 20, 22)], "2026-07-01T21:00:01", "1h", TOO_SHORT, "a",
     "2026-07-02T20:00"),
    ("over two that touch", [allow("a", 20, 22), allow("b", 22, 24)], "2026-07-01T21:00", "2h", ALLOWED, "a",
     "2026-07-01T22:00"),
    ("a deny is in the way", [allow("a", 20, 24), deny("d", 22, 23)], "2026-07-01T21:30", "1h", TOO_SHORT,
     "a", "2026-07-01T23:00"),
    ("and what is left behind it is too short", [allow("a", 20, 24), deny("d", 22, 23)], "2026-07-01T21:30",
     "2h", TOO_SHORT, "a", "2026-07-02T20:00"),
    ("it never fits", [allow("a", 20, 22)], "2026-07-01T20:30", "3h", TOO_SHORT, "a", None),
    ("the next that fits is months ahead", [allow("a", 20, 22), NEW_YEAR], "2026-07-01T20:30", "5h",
     TOO_SHORT, "a", "2027-01-01T00:00"),
    ("further than a year is not in sight", [allow("a", 20, 22), LEAP], "2026-07-01T20:30", "5h", TOO_SHORT,
     "a", None),
    ("within a year it is", [allow("a", 20, 22), LEAP], "2027-07-01T20:30", "5h", TOO_SHORT, "a",
     "2028-02-29T00:00"),
    ("a freeze for good leaves none that fits", [allow("a", 20, 22),
     once("deny", "ever", "2026-07-02T00:00", "9999-12-31T00:00")], "2026-07-01T21:30", "1h", TOO_SHORT, "a",
     None),
    ("always allowed, it always fits", [allow("a", 0, 12), allow("b", 12, 24)], "2026-07-01T13:00", "100h",
     ALLOWED, "b", None),
    ("outside, what it takes is not asked", [allow("a", 20, 22)], "2026-07-01T19:00", "3h", OUTSIDE, "a",
     "2026-07-01T20:00"),
    ("nor when it is denied", [allow("a", 20, 22), deny("d", 18, 21)], "2026-07-01T20:30", "3h", DENIED, "d",
     "2026-07-01T21:00"),
    ("over a gap, by elapsed time", [cron("allow", "a", "0 1 * * *", "4h", PARIS)], "2026-03-29T00:30",
     "3h30m", ALLOWED, "a", "2026-03-29T00:30"),
    # Changes of clocks.
    ("a start that is skipped", [cron("allow", "a", "30 2 * * *", "20m", PARIS)], "2026-03-29T01:10", None,
     ALLOWED, "a", "2026-03-29T01:20"),
    ("a start that comes again", [cron("allow", "a", "30 2 * * *", "20m", PARIS)], "2026-10-25T01:30", None,
     OUTSIDE, "a", "2026-10-26T01:30"),
    ("a weekend's freeze with 49 hours", [cron("deny", "d", "0 0 * * 6", "48h", PARIS)], "2026-10-25T01:30",
     None, DENIED, "d", "2026-10-25T22:00"),
    ("a freeze of hours has no hole", [cron("deny", "d", "0 * * * *", "1h", PARIS)], "2026-10-25T01:30",
     None, DENIED, "d", None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("windows", "at", "needs", "answer", "decides", "until"),
    [pytest.param(*case[1:], id=case[0]) for case in RULINGS],
)
def test_it_rules(
    windows: list[WindowSettings],
    at: str,
    needs: str | None,
    answer: tuple[bool, str],
    decides: str | None,
    until: str | None,
) -> None:
    length = cron("allow", "w", "* * * * *", needs).duration if needs else None
    ruling = Windows.compile(windows).rule(STACK, {}, utc(at), needs=length)
    assert (ruling.allowed, ruling.reason) == answer
    assert ruling.window == decides
    assert ruling.until == (utc(until) if until else None)


FOR_WHOM = [
    ("every stack by default", {}, STACK, {}, True),
    ("an id", {"stacks": [STACK]}, STACK, {}, True),
    ("a glob, over slashes", {"stacks": ["platform/*"]}, STACK, {}, True),
    ("another glob", {"stacks": ["other/*"]}, STACK, {}, False),
    ("the second of two globs", {"stacks": ["other/*", "*/net"]}, STACK, {}, True),
    ("case counts", {"stacks": ["Platform/*"]}, STACK, {}, False),
    ("an id with brackets", {"stacks": ["platform/a[b]"]}, "platform/a[b]", {}, True),
    ("brackets as a glob", {"stacks": ["platform/a[b]"]}, "platform/ab", {}, True),
    ("a workspace", {"stacks": ["platform/*@blue"]}, "platform/app@blue", {}, True),
    ("another workspace", {"stacks": ["platform/*@blue"]}, "platform/app@green", {}, False),
    ("a label", {"labels": {"tier": "prod"}}, STACK, {"tier": "prod", "team": "net"}, True),
    ("a label with another value", {"labels": {"tier": "prod"}}, STACK, {"tier": "test"}, False),
    ("a label that is missing", {"labels": {"tier": "prod"}}, STACK, {}, False),
    ("all labels", {"labels": {"tier": "prod", "team": "net"}}, STACK, {"tier": "prod", "team": "net"}, True),
    ("not all labels", {"labels": {"tier": "prod", "team": "net"}}, STACK, {"tier": "prod"}, False),
    ("a label is no glob", {"labels": {"tier": "*"}}, STACK, {"tier": "prod"}, False),
    ("stack and label", {"stacks": ["other/*"], "labels": {"tier": "prod"}}, STACK, {"tier": "prod"}, False),
]


@pytest.mark.parametrize(
    ("words", "stack", "labels", "expected"), [pytest.param(*case[1:], id=case[0]) for case in FOR_WHOM]
)
def test_a_window_is_for(
    words: dict[str, Any], stack: str, labels: dict[str, str], *, expected: bool
) -> None:
    """An allow that is not for a stack lets nothing of it through; a deny that is not holds nothing back."""
    at = utc("2026-07-01T20:30")
    allows = Windows.compile([allow("a", 20, 22, **words)])
    assert allows.rule(stack, labels, at).allowed is expected
    both = Windows.compile([allow("a", 20, 22), deny("d", 20, 22, **words)])
    assert both.rule(stack, labels, at).allowed is not expected
    found = both.openings(after=at, until=at + timedelta(hours=1), stack=stack, labels=labels)
    assert [each.window for each in found] == (["a", "d"] if expected else ["a"])


MANUAL = [
    ("allowed: nothing stands against it", [allow("a", 20, 22)], "20:30", None, True),
    ("no window", [], "20:30", None, True),
    ("only a deny, closed", [deny("d", 8, 9)], "20:30", None, True),
    ("a deny", [deny("d", 20, 22)], "20:30", None, False),
    ("a deny that lets people", [deny("d", 20, 22, manual=True)], "20:30", None, True),
    ("one of two denies does not", [deny("d", 20, 22, manual=True), deny("e", 20, 21)], "20:30", None, False),
    ("a closed deny has no say", [deny("d", 20, 22, manual=True), deny("e", 8, 9)], "20:30", None, True),
    ("both denies do", [deny("d", 20, 22, manual=True), deny("e", 20, 21, manual=True)], "20:30", None, True),
    (
        "an allow has no say in a deny",
        [allow("a", 20, 22), deny("d", 20, 22, manual=True)],
        "20:30",
        None,
        True,
    ),
    ("outside", [allow("a", 20, 22)], "12:00", None, False),
    ("outside one that lets people", [allow("a", 20, 22, manual=True)], "12:00", None, True),
    ("outside two, one does not", [allow("a", 20, 22, manual=True), allow("b", 2, 3)], "12:00", None, False),
    (
        "outside, a closed deny has no say",
        [allow("a", 20, 22, manual=True), deny("d", 2, 3)],
        "12:00",
        None,
        True,
    ),
    ("too short", [allow("a", 20, 22)], "21:30", 60, False),
    ("too short, and people may", [allow("a", 20, 22, manual=True)], "21:30", 60, True),
    ("it would run into a deny", [allow("a", 20, 22, manual=True), deny("d", 22, 23)], "21:30", 60, False),
    ("it would not reach the deny", [allow("a", 20, 22, manual=True), deny("d", 23, 24)], "21:30", 60, True),
]


@pytest.mark.parametrize(
    ("windows", "at", "needs", "expected"), [pytest.param(*case[1:], id=case[0]) for case in MANUAL]
)
def test_a_person_may_override_it(
    windows: list[WindowSettings], at: str, needs: int | None, *, expected: bool
) -> None:
    length = timedelta(minutes=needs) if needs else None
    ruling = Windows.compile(windows).rule(STACK, {}, utc(f"2026-07-01T{at}"), needs=length)
    assert ruling.manual is expected


SENTENCES = [
    (
        [NIGHTS],
        "2026-11-20T21:30",
        None,
        "Window nights allows it until 2026-11-21 02:00 Europe/Paris (2026-11-21 01:00 UTC).",
    ),
    (
        [NIGHTS],
        "2026-11-20T21:30",
        45,
        (
            "Window nights allows it until 2026-11-21 02:00 Europe/Paris (2026-11-21 01:00 UTC); it has to "
            "begin by 2026-11-21 01:15 Europe/Paris (2026-11-21 00:15 UTC)."
        ),
    ),
    (
        [NIGHTS],
        "2026-11-21T12:00",
        None,
        (
            "No window that allows it is open; window nights opens on 2026-11-21 22:00 Europe/Paris "
            "(2026-11-21 21:00 UTC)."
        ),
    ),
    (
        [NIGHTS, NOON_FREEZE],
        "2026-12-19T10:00",
        None,
        (
            "No window that allows it is open; window nights opens on 2026-12-19 22:00 Europe/Paris "
            "(2026-12-19 21:00 UTC), and on 2026-12-19 12:00 Europe/Paris (2026-12-19 11:00 UTC) one begins "
            "that forbids it."
        ),
    ),
    (
        [NIGHTS, FREEZE],
        "2026-12-25",
        None,
        "Window freeze forbids it until 2027-01-03 00:00 Europe/Paris (2027-01-02 23:00 UTC).",
    ),
    (
        [deny("a", 8, 10), deny("b", 9, 12)],
        "2026-07-01T09:30",
        None,
        "Windows b, a forbid it until 2026-07-01 12:00 UTC.",
    ),
    (
        [cron("deny", "all", "* * * * *", "1m")],
        "2026-07-01",
        None,
        "Window all forbids it, and no end is in sight.",
    ),
    (
        [cron("allow", "all", "* * * * *", "1m")],
        "2026-07-01",
        60,
        "Window all allows it, and no end is in sight.",
    ),
    (
        [allow("a", 20, 22)],
        "2026-07-01T21:29:59.5",
        45,
        "Window a allows it for 30m more, and it takes 45m; it fits on 2026-07-02 20:00 UTC.",
    ),
    (
        [allow("a", 20, 22)],
        "2026-07-01T21:30",
        180,
        "Window a allows it for 30m more, and it takes 3h; it never fits within a year.",
    ),
    ([], "2026-07-01", None, "No window allows it for this stack, so it waits for a person."),
    (
        [once("allow", "w", "2026-01-01T00:00", "2026-01-02T00:00")],
        "2026-07-01",
        None,
        "No window that allows it is open; none opens any more.",
    ),
    (
        [once("deny", "w", "2026-01-01T00:00", "2026-12-31T23:59:59")],
        "2026-07-01",
        None,
        "Window w forbids it until 2026-12-31 23:59:59 UTC.",
    ),
]


@pytest.mark.parametrize(("windows", "at", "needs", "expected"), SENTENCES)
def test_it_says_why(windows: list[WindowSettings], at: str, needs: int | None, expected: str) -> None:
    length = timedelta(minutes=needs) if needs else None
    assert Windows.compile(windows).rule(STACK, {}, utc(at), needs=length).sentence == expected


# ---- edges and changes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("windows", "after", "expected"),
    [
        pytest.param([], "2026-07-01", None, id="no windows"),
        pytest.param([NIGHTS], "2026-07-01T12:00", "2026-07-01T20:00", id="it opens"),
        pytest.param([NIGHTS], "2026-07-01T20:00", "2026-07-02T00:00", id="it closes"),
        pytest.param([NIGHTS, deny("d", 21, 23)], "2026-07-01T20:00", "2026-07-01T21:00", id="another opens"),
        pytest.param(
            [allow("a", 8, 10), allow("b", 9, 12)], "2026-07-01T09:30", "2026-07-01T10:00", id="overlap"
        ),
        pytest.param([FREEZE], "2026-12-25", "2027-01-02T23:00", id="a freeze ends"),
        pytest.param([FREEZE], "2027-01-02T23:00", None, id="it is over"),
        pytest.param([cron("deny", "all", "* * * * *", "1m")], "2026-07-01", None, id="always open"),
        pytest.param([LEAP], "2026-07-01", "2028-02-29T00:00", id="years ahead"),
        pytest.param(
            [once("deny", "w", "2026-07-02T00:00", "9999-12-31T00:00")],
            "2026-07-01",
            "2026-07-02",
            id="for good",
        ),
    ],
)
def test_the_next_edge_wakes_the_scheduler(
    windows: list[WindowSettings], after: str, expected: str | None
) -> None:
    assert Windows.compile(windows).next_edge(utc(after)) == (utc(expected) if expected else None)


def test_openings_of_several_windows_come_in_order() -> None:
    windows = Windows.compile([allow("b", 9, 12), allow("a", 8, 10), deny("c", 22, 23)])
    found = windows.openings(after=utc("2026-07-01"), until=utc("2026-07-02T08:00:01"))
    assert [(each.window, each.kind) for each in found] == [
        ("a", "allow"),
        ("b", "allow"),
        ("c", "deny"),
        ("a", "allow"),
    ]


def test_an_opening_without_an_end_in_sight_says_so() -> None:
    windows = Windows.compile([cron("allow", "all", "0 0 * * *", "25h")])
    at = utc("2026-07-01")
    (opening,) = windows.openings(after=at, until=at + timedelta(days=1))
    assert opening.begins <= at - IN_SIGHT
    assert opening.ends == FOR_GOOD


def change(name: str, kind: str, begins: str, ends: str, *, opens: bool) -> Change:
    return Change(window=name, kind=kind, begins=utc(begins), ends=utc(ends), opens=opens)


CHANGES = [
    ("nothing", [allow("a", 8, 10)], [allow("a", 8, 10)], []),
    ("another order", [allow("a", 8, 10), deny("d", 1, 2)], [deny("d", 1, 2), allow("a", 8, 10)], []),
    ("the same, written otherwise", [allow("a", 8, 10)], [cron("allow", "a", "0 8,9 * * *", "1h")], []),
    (
        "later",
        [allow("a", 8, 10)],
        [allow("a", 9, 11)],
        [
            change("a", "allow", "2026-07-01T08:00", "2026-07-01T09:00", opens=False),
            change("a", "allow", "2026-07-01T10:00", "2026-07-01T11:00", opens=True),
        ],
    ),
    (
        "gone",
        [allow("a", 8, 10)],
        [],
        [change("a", "allow", "2026-07-01T08:00", "2026-07-01T10:00", opens=False)],
    ),
    (
        "new",
        [],
        [deny("d", 8, 10)],
        [change("d", "deny", "2026-07-01T08:00", "2026-07-01T10:00", opens=True)],
    ),
    (
        "a hole",
        [cron("allow", "a", "0 8 * * *", "3h")],
        [cron("allow", "a", "0 8,10 * * *", "1h")],
        [change("a", "allow", "2026-07-01T09:00", "2026-07-01T10:00", opens=False)],
    ),
    (
        "cut to what was asked for",
        [],
        [cron("deny", "d", "0 23 * * *", "2h")],
        [
            change("d", "deny", "2026-07-01T00:00", "2026-07-01T01:00", opens=True),
            change("d", "deny", "2026-07-01T23:00", "2026-07-02T00:00", opens=True),
        ],
    ),
    (
        "from allow to deny",
        [allow("a", 8, 10)],
        [deny("a", 8, 10)],
        [
            change("a", "allow", "2026-07-01T08:00", "2026-07-01T10:00", opens=False),
            change("a", "deny", "2026-07-01T08:00", "2026-07-01T10:00", opens=True),
        ],
    ),
    (
        "for others",
        [allow("a", 8, 10)],
        [allow("a", 8, 10, stacks=["x/*"])],
        [
            change("a", "allow", "2026-07-01T08:00", "2026-07-01T10:00", opens=False),
            change("a", "allow", "2026-07-01T08:00", "2026-07-01T10:00", opens=True),
        ],
    ),
]


@pytest.mark.parametrize(
    ("before", "now", "expected"), [pytest.param(*case[1:], id=case[0]) for case in CHANGES]
)
def test_a_change_of_the_windows_changes(
    before: list[WindowSettings], now: list[WindowSettings], expected: list[Change]
) -> None:
    old, new = Windows.compile(before), Windows.compile(now)
    assert old.changes(new, after=utc("2026-07-01"), until=utc("2026-07-02")) == expected


# ---- what it takes and what it costs -------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        lambda windows, at: windows.rule(STACK, {}, at),
        lambda windows, at: windows.next_edge(at),
        lambda windows, at: list(windows.openings(after=at, until=utc("2026-07-02"))),
        lambda windows, at: windows.changes(windows, after=at, until=utc("2026-07-02")),
    ],
    ids=["rule", "next_edge", "openings", "changes"],
)
def test_a_time_without_a_zone_is_refused(ask: Callable[[Windows, datetime], object]) -> None:
    with pytest.raises(ValueError, match="without its zone"):
        ask(Windows.compile([NIGHTS]), datetime(2026, 7, 1))  # noqa: DTZ001


def test_any_zone_will_do_to_ask_in() -> None:
    windows = Windows.compile([NIGHTS])
    ruling = windows.rule(STACK, {}, datetime.fromisoformat("2026-11-20T16:30:00-05:00"))
    assert ruling == windows.rule(STACK, {}, utc("2026-11-20T21:30"))
    assert ruling.until is not None
    assert ruling.until.tzinfo is UTC


def quickest(ask: Callable[[], Ruling]) -> float:
    """In milliseconds, of a few: others use this machine too."""

    def once() -> float:
        begun = perf_counter()
        ask()
        return (perf_counter() - begun) * 1000

    return min(once() for _ in range(20))


@pytest.mark.parametrize(
    ("expression", "duration"),
    [
        ("{minute} {hour} * * 1-5", "2h"),
        ("{minute} {hour} * * *", "30h"),
        ("*/5 * * * *", "2m"),
        ("0 0 29 2 *", "1h"),
    ],
    ids=["nights", "always open", "all day long", "leap days"],
)
def test_fifty_windows_are_ruled_by_in_milliseconds(expression: str, duration: str) -> None:
    zones = [PARIS, NEW_YORK, LORD_HOWE, "Asia/Kolkata", "UTC"]
    windows = Windows.compile(
        [
            cron(
                "allow" if place % 3 else "deny",
                f"w{place}",
                expression.format(minute=place, hour=place * 7 % 24),
                duration,
                zones[place % 5],
            )
            for place in range(50)
        ]
    )
    assert quickest(lambda: windows.rule(STACK, {}, utc("2026-10-25T00:30"))) < 5


def test_a_freeze_for_good_ends_the_search() -> None:
    """Whatever else forbids it, again and again, is not walked through."""
    ever = once("deny", "ever", "2026-01-01T00:00", "9999-12-31T00:00")
    windows = Windows.compile([ever, *(deny(f"w{hour}", hour, hour + 1) for hour in range(0, 24, 2))])
    assert quickest(lambda: windows.rule(STACK, {}, utc("2026-07-01"))) < 5
