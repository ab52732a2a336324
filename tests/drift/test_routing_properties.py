"""What holds for any routes and any announcement; quiet hours and digests against a walk minute by minute."""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import accumulate
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from driftwatch.config.notify import EVERY_DAY, NotifySettings
from driftwatch.drift.routing import Outlet, Routing
from driftwatch.model import (
    Announcement,
    Cause,
    Finding,
    FindingKind,
    Severity,
    TransitionKind,
    Trigger,
    Verdict,
)

SETTINGS = settings(max_examples=200, deadline=None, derandomize=True)

SLACK = {"token": "xoxb-canary", "channel": "#drift"}
HOOK = {"name": "incidents", "url": "https://hooks.example.com/in", "secret": "canary"}
MAIL = {"name": "ops", "host": "mail.example.com", "from": "d@example.com", "to": ["ops@example.com"]}
CONFIGURED = ("slack", "webhook:incidents", "email:ops")
EXTRA = ("slack:#network", "slack:#deploys")
KNOWN = (*CONFIGURED, *EXTRA)

A_MINUTE = timedelta(minutes=1)
ZONES = ("Europe/Paris", "America/New_York", "Australia/Lord_Howe", "UTC")


def utc(month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


CHANGES = {
    "Europe/Paris": (utc(3, 29, 1), utc(10, 25, 1)),
    "America/New_York": (utc(3, 8, 7), utc(11, 1, 6)),
    "Australia/Lord_Howe": (utc(4, 4, 15), utc(10, 3, 15, 30)),
    "UTC": (utc(3, 29, 1), utc(10, 25, 1)),
}
"""When clocks change there in 2026."""

BEFORE, AFTER = timedelta(days=12), timedelta(days=14)
"""What is walked over around a change."""


def routing(*routes: dict[str, Any]) -> Routing:
    words = {"slack": SLACK, "webhooks": [HOOK], "email": [MAIL], "routes": list(routes)}
    return Routing.compile(NotifySettings.model_validate(words))


def finding(severity: Severity, causes: tuple[Cause, ...] = (Cause.OUT_OF_BAND,)) -> Finding:
    return Finding(
        address="aws_instance.it",
        type="aws_instance",
        kind=FindingKind.MODIFIED,
        action="update",
        causes=causes,
        severity=severity,
        fingerprint="f",
        counted=True,
    )


def said(at: datetime, *findings: Finding, kind: TransitionKind = TransitionKind.DRIFT_FOUND) -> Announcement:
    return Announcement(
        kind=kind,
        stack="platform/prod",
        verdict=Verdict.DRIFTED,
        commit=None,
        trigger=Trigger.SCHEDULE,
        at=at,
        findings=findings,
        labels={"tier": "prod"},
        owners=("@platform",),
    )


# ---- The walk ------------------------------------------------------------------------------------------


class Walk:
    """Every minute around a change of clocks, with what a clock on the wall shows then."""

    def __init__(self, zone: str, middle: datetime) -> None:
        start = middle - BEFORE
        place = ZoneInfo(zone)
        self.minutes = [start + A_MINUTE * step for step in range((BEFORE + AFTER) // A_MINUTE)]
        walls = [minute.astimezone(place).replace(tzinfo=None) for minute in self.minutes]
        self._highest = list(accumulate(walls, max))
        self.days = [walls[0].date() + timedelta(days=step) for step in range(1, (BEFORE + AFTER).days - 1)]

    def first(self, day: date, clock: time) -> datetime:
        """The first minute at which the clock has got as far as this."""
        return self.minutes[bisect_left(self._highest, datetime.combine(day, clock))]

    def spans(self, begin: time, end: time, days: frozenset[str]) -> list[tuple[datetime, datetime]]:
        """All quiet hours; those of the last days would end after the walk."""
        over = timedelta(days=0 if end > begin else 1)
        return [
            (self.first(day, begin), self.first(day + over, end))
            for day in self.days[:-1]
            if EVERY_DAY[day.weekday()] in days
        ]


@lru_cache
def walk(zone: str, turn: int) -> Walk:
    return Walk(zone, CHANGES[zone][turn])


def loud(spans: list[tuple[datetime, datetime]], at: datetime) -> datetime:
    """The first moment from `at` on in no span; after a week of quiet, the next end."""
    minute = at
    while any(begin <= minute < end for begin, end in spans):
        minute = minute.replace(second=0) + A_MINUTE
        if minute >= at + timedelta(days=7):
            return min(end for _, end in spans if end >= at + timedelta(days=7))
    return minute


CLOCKS = st.one_of(
    st.sampled_from([time(0), time(1, 30), time(2), time(2, 15), time(2, 30), time(3), time(23, 59)]),
    st.times().map(lambda clock: clock.replace(second=0, microsecond=0)),
)
DAYS = st.one_of(
    st.just(frozenset(EVERY_DAY)), st.frozensets(st.sampled_from(EVERY_DAY), min_size=1, max_size=7)
)
AROUND = st.one_of(
    st.timedeltas(timedelta(hours=-4), timedelta(hours=4)),
    st.timedeltas(timedelta(days=-3), timedelta(days=3)),
).map(lambda delta: timedelta(seconds=delta // timedelta(seconds=1)))


@SETTINGS
@given(
    zone=st.sampled_from(ZONES), turn=st.integers(0, 1), begin=CLOCKS, end=CLOCKS, days=DAYS, around=AROUND
)
@example("Europe/Paris", 0, time(2, 10), time(2, 50), frozenset(EVERY_DAY), timedelta())
@example("Europe/Paris", 1, time(2, 30), time(2, 30), frozenset(EVERY_DAY), timedelta())
@example("Australia/Lord_Howe", 0, time(1, 45), time(1, 40), frozenset({"sat"}), timedelta(minutes=-20))
def test_quiet_hours_are_over_when_a_walk_by_minutes_says_so(
    zone: str, turn: int, begin: time, end: time, days: frozenset[str], around: timedelta
) -> None:
    """Around both changes of clocks, for any hours on any days."""
    at = CHANGES[zone][turn] + around
    hours = {"from": f"{begin:%H:%M}", "to": f"{end:%H:%M}", "timezone": zone, "days": sorted(days)}

    (outlet,) = routing({"channels": ["slack"], "quiet_hours": hours}).outlets(
        said(at, finding(Severity.HIGH)), CONFIGURED, ()
    )

    assert outlet.not_before == loud(walk(zone, turn).spans(begin, end, days), at)
    assert outlet.not_before <= at + timedelta(days=8, hours=1)


@SETTINGS
@given(zone=st.sampled_from(ZONES), turn=st.integers(0, 1), clock=CLOCKS, days=DAYS, around=AROUND)
@example("Europe/Paris", 0, time(2, 30), frozenset({"sun"}), timedelta())
@example("Europe/Paris", 1, time(2, 30), frozenset({"sun"}), timedelta(minutes=30))
def test_a_digest_comes_when_a_walk_by_minutes_says_so(
    zone: str, turn: int, clock: time, days: frozenset[str], around: timedelta
) -> None:
    at = CHANGES[zone][turn] + around
    words = {"at": f"{clock:%H:%M}", "timezone": zone, "days": sorted(days)}

    (outlet,) = routing({"channels": ["slack"], "digest": words}).outlets(
        said(at, finding(Severity.HIGH)), CONFIGURED, ()
    )

    walked = walk(zone, turn)
    slots = [walked.first(day, clock) for day in walked.days if EVERY_DAY[day.weekday()] in days]
    assert outlet.not_before == min(slot for slot in slots if slot > at)
    assert outlet.thread == f"digest:0:{outlet.not_before.isoformat()}"


# ---- Who -----------------------------------------------------------------------------------------------

TIMINGS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {},
        {"quiet_hours": {"from": "22:00", "to": "07:00", "timezone": "Europe/Paris"}},
        {"quiet_hours": {"from": "09:00", "to": "09:00", "unless": None}},
        {"digest": {"at": "09:00", "timezone": "America/New_York", "days": ["mon"], "unless": "high"}},
        {"digest": {"at": "12:00"}},
    ]
)


@st.composite
def routes(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "channels": draw(st.lists(st.sampled_from(KNOWN), max_size=3, unique=True)),
        "stacks": [draw(st.sampled_from(["*", "platform/*", "other/*"]))],
        "labels": draw(st.sampled_from([{}, {"tier": "prod"}, {"tier": "test"}])),
        "owners": draw(st.sampled_from([[], ["@platform"], ["@others"]])),
        "severity": draw(st.sampled_from(Severity)),
        "causes": draw(st.sampled_from([[], ["out_of_band"], ["unapplied_commit", "state_edit"]])),
        **draw(TIMINGS),
    }


@st.composite
def announcements(draw: st.DrawFn, *kinds: TransitionKind) -> Announcement:
    causes = st.sampled_from([(Cause.OUT_OF_BAND,), (Cause.UNAPPLIED_COMMIT,), (Cause.STATE_EDIT,)])
    kind = draw(st.sampled_from(kinds))
    found = draw(st.lists(st.builds(finding, st.sampled_from(Severity), causes), max_size=3))
    return said(
        datetime(2026, 11, 25, tzinfo=UTC) + timedelta(minutes=draw(st.integers(0, 3 * 24 * 60))),
        *(() if kind is TransitionKind.RESOLVED else sorted(found, key=lambda one: -one.severity.rank)),
        kind=kind,
    )


ANYTHING = announcements(*TransitionKind)
NEWS = announcements(*(kind for kind in TransitionKind if kind is not TransitionKind.HANDLED))
HANDLED = announcements(TransitionKind.HANDLED)
ROUTES = st.lists(routes(), max_size=4)
TOLD = st.sets(st.sampled_from((*KNOWN, "slack:#gone")))


def is_about(route: dict[str, Any]) -> bool:
    others = {"stacks": ["other/*"], "labels": {"tier": "test"}, "owners": ["@others"]}
    return all(route[name] != value for name, value in others.items())


def fits(route: dict[str, Any], announcement: Announcement) -> bool:
    """What a route means, said another way."""
    return is_about(route) and (
        announcement.kind.is_of_detector
        or any(
            found.severity.rank >= Severity(route["severity"]).rank
            and (not route["causes"] or not set(found.causes).isdisjoint(route["causes"]))
            for found in announcement.findings
        )
    )


def possible(written: list[dict[str, Any]]) -> frozenset[str]:
    """The channels that there are under these routes."""
    return frozenset(CONFIGURED).union(*(route["channels"] for route in written))


def outlets_of(written: list[dict[str, Any]], of: Announcement, told: set[str]) -> dict[str, Outlet]:
    outlets = routing(*written).outlets(of, CONFIGURED, told)
    found = {outlet.channel: outlet for outlet in outlets}
    assert len(found) == len(outlets), "a channel is told twice"
    return found


@SETTINGS
@given(written=ROUTES, of=NEWS, told=TOLD)
def test_nothing_is_lost(written: list[dict[str, Any]], of: Announcement, told: set[str]) -> None:
    """Somebody is told, or a route about the stack tells nobody on purpose; but for what a person did."""
    silent = any(is_about(route) and not route["channels"] for route in written)

    assert outlets_of(written, of, told) or silent


@SETTINGS
@given(written=ROUTES, of=NEWS, told=TOLD)
def test_every_channel_of_every_route_that_fits_is_told(
    written: list[dict[str, Any]], of: Announcement, told: set[str]
) -> None:
    wanted = {channel for route in written if fits(route, of) for channel in route["channels"]}

    assert wanted <= set(outlets_of(written, of, told))


@SETTINGS
@given(written=ROUTES, of=NEWS, told=TOLD)
def test_whoever_was_told_before_is_told(
    written: list[dict[str, Any]], of: Announcement, told: set[str]
) -> None:
    """But nobody who is not there any more."""
    assert told & possible(written) <= set(outlets_of(written, of, told))


@SETTINGS
@given(written=ROUTES, of=HANDLED, told=TOLD)
def test_what_a_person_did_is_for_those_who_know(
    written: list[dict[str, Any]], of: Announcement, told: set[str]
) -> None:
    """And for none of them by mail."""
    assert set(outlets_of(written, of, told)) == (told & possible(written)) - {"email:ops"}


@SETTINGS
@given(written=ROUTES.filter(bool), of=ANYTHING, told=TOLD)
def test_nobody_is_told_without_a_reason(
    written: list[dict[str, Any]], of: Announcement, told: set[str]
) -> None:
    """Where somebody was told before, only they and those whom a route that fits names."""
    heard = told & possible(written)
    wanted = {channel for route in written if fits(route, of) for channel in route["channels"]}

    assume(heard)
    assert set(outlets_of(written, of, told)) <= heard | wanted


@SETTINGS
@given(written=ROUTES, of=ANYTHING, told=TOLD)
def test_nothing_goes_before_it_happened_or_after_all_that_its_channel_may_wait_for(
    written: list[dict[str, Any]], of: Announcement, told: set[str]
) -> None:
    """Threads are those of webhooks and digests; whatever is in neither is the incident's."""
    numbers = {f"digest:{number}" for number, route in enumerate(written) if "digest" in route}
    for channel, outlet in outlets_of(written, of, told).items():
        assert of.at <= outlet.not_before <= of.at + timedelta(days=8)
        if channel.startswith("webhook:"):
            assert (outlet.thread, outlet.not_before) == (f"stack:{of.stack}", of.at)
        elif outlet.thread is not None:
            number, _, slot = outlet.thread.rpartition(":2026-")
            assert number in numbers
            assert f"2026-{slot}" == outlet.not_before.isoformat()


@SETTINGS
@given(written=ROUTES, more=routes(), of=ANYTHING, told=TOLD)
def test_another_route_delays_nothing_that_a_route_tells(
    written: list[dict[str, Any]], more: dict[str, Any], of: Announcement, told: set[str]
) -> None:
    """Of several routes that fit the soonest counts."""
    named = {channel for route in written if fits(route, of) for channel in route["channels"]}
    before, after = outlets_of(written, of, told), outlets_of([*written, more], of, told)

    for channel in named & set(before):
        assert after[channel].not_before <= before[channel].not_before


@SETTINGS
@given(written=ROUTES, of=ANYTHING, told=TOLD)
def test_channels_keep_their_order(written: list[dict[str, Any]], of: Announcement, told: set[str]) -> None:
    """And the answer is the same each time it is asked for."""
    routes_ = routing(*written)
    outlets = routes_.outlets(of, CONFIGURED, told)
    configured = [outlet.channel for outlet in outlets if outlet.channel in CONFIGURED]

    assert [outlet.channel for outlet in outlets][: len(configured)] == configured
    assert configured == sorted(configured, key=CONFIGURED.index)
    assert routes_.outlets(of, CONFIGURED, told) == outlets
