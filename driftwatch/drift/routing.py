"""Who is told of an announcement, in which thread, and not before when.

Pure: the store asks this inside the transaction in which it writes the messages, one for each `Outlet`. What
a route may say is `driftwatch.config.notify`; how messages of one thread go out together is the store's.

Every route that fits adds its channels. A route fits where it names the stack, its labels and one of its
owners and, for what is said of drift, where one and the same finding is severe enough and has one of the
causes. Where none fits, and nobody was told of the story before, every channel is told, at once: a hole in
the routes must not swallow an alert. A route without channels fits like any other, and tells nobody on
purpose.

Whoever was told of the beginning is told of the rest, whether a route still fits or not: nobody is left with
an alert that seems to be open. For the same reason an end, which has no findings to be judged by, is for them
alone. What a person did with it (`HANDLED`) only they are told, and not where each press would be one more
mail.

Webhooks are told at once, whatever their routes say of quiet hours and digests, and in a thread of their own
per stack, in which they get each announcement by itself: a program is not woken and reads no digest, and what
it computes from the order of events has to stay right.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import count, islice
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from driftwatch.config.notify import EVERY_DAY
from driftwatch.config.patterns import is_among
from driftwatch.config.zones import first_instant
from driftwatch.model import Cause, Severity, TransitionKind

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from driftwatch.config.notify import DigestSettings, NotifySettings, QuietHours, RouteSettings, Weekday
    from driftwatch.model import Announcement, Finding

_LONGEST_QUIET = timedelta(days=7)
"""Quiet hours that fill the whole week hold a message for so long, and then until they end next."""

_A_DAY = timedelta(days=1)
_WEBHOOK = "webhook:"
_NOT_FOR_EACH_PRESS = ("email:", "apprise:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlet:
    """One channel that is told, in which thread, and not before when.

    A `thread` of None is that of the incident, which the store names. `not_before` is in UTC, and the
    announcement's `at` where it may go at once.
    """

    channel: str
    thread: str | None
    not_before: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _QuietHours:
    begins: time
    ends: time
    zone: ZoneInfo
    days: frozenset[int]

    @classmethod
    def compile(cls, settings: QuietHours) -> _QuietHours:
        return cls(
            begins=settings.from_,
            ends=settings.to,
            zone=ZoneInfo(settings.timezone),
            days=_numbers(settings.days),
        )

    def over(self, at: datetime) -> datetime:
        """The first instant from `at` on that is not quiet."""
        latest = at + _LONGEST_QUIET
        while at < latest and (end := self._end(at)) is not None:
            at = end
        return at

    def _end(self, at: datetime) -> datetime | None:
        """When the quiet hours end in which `at` lies; None where it lies in none."""
        today = at.astimezone(self.zone).date()
        # The day after, too: a clock that is put back over midnight shows the day before once more.
        around = (today + _A_DAY * step for step in (-1, 0, 1))
        spans = (self._span(day) for day in around if day.weekday() in self.days)
        return next((end for begin, end in spans if begin <= at < end), None)

    def _span(self, day: date) -> tuple[datetime, datetime]:
        last = day if self.ends > self.begins else day + _A_DAY
        return _instant(day, self.begins, self.zone), _instant(last, self.ends, self.zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Digest:
    at: time
    zone: ZoneInfo
    days: frozenset[int]

    @classmethod
    def compile(cls, settings: DigestSettings) -> _Digest:
        return cls(at=settings.at, zone=ZoneInfo(settings.timezone), days=_numbers(settings.days))

    def following(self, at: datetime) -> datetime:
        """The next slot after `at`: what comes at the very time of a digest is for the next one."""
        today = at.astimezone(self.zone).date()
        days = (day for step in count() if (day := today + _A_DAY * step).weekday() in self.days)
        return next(slot for day in days if (slot := _instant(day, self.at, self.zone)) > at)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    """`number` is its place in the settings, from 0; `unless` is that of its quiet hours or its digest."""

    number: int
    channels: tuple[str, ...]
    stacks: tuple[str, ...]
    labels: Mapping[str, str]
    owners: frozenset[str]
    severity: Severity
    causes: frozenset[Cause]
    waits: _QuietHours | _Digest | None
    unless: Severity | None

    @classmethod
    def compile(cls, number: int, settings: RouteSettings) -> _Route:
        timing = settings.quiet_hours or settings.digest
        return cls(
            number=number,
            channels=settings.channels,
            stacks=settings.stacks,
            labels=settings.labels,
            owners=frozenset(settings.owners),
            severity=Severity(settings.severity),
            causes=frozenset(map(Cause, settings.causes)),
            waits=_waits(settings),
            unless=Severity(timing.unless) if timing and timing.unless else None,
        )

    def fits(self, announcement: Announcement) -> bool:
        return self.is_about(announcement) and (
            announcement.kind.is_of_detector or self._asks_for(announcement.findings)
        )

    def is_about(self, announcement: Announcement) -> bool:
        """Whether it names the stack, whatever is said of it."""
        stack = announcement.stack
        return (
            is_among(stack, self.stacks)
            and all(announcement.labels.get(name) == value for name, value in self.labels.items())
            and (not self.owners or not self.owners.isdisjoint(announcement.owners))
        )

    def _asks_for(self, findings: Sequence[Finding]) -> bool:
        # An announcement has the worst findings only. If any is severe enough, the worst is; but a cause that
        # only those have that were left out goes unseen. Then others are told of the stack: another route's
        # channels, or all of them.
        if findings:
            return any(map(self._asks_for_one, findings))
        # There is nothing to ask: what asks for nothing fits, and so does what keeps silent, as it may have
        # done so at the beginning.
        return not self.channels or (self.severity is Severity.INFO and not self.causes)

    def _asks_for_one(self, finding: Finding) -> bool:
        return finding.severity.rank >= self.severity.rank and (
            not self.causes or not self.causes.isdisjoint(_causes(finding))
        )

    def outlet(self, channel: str, announcement: Announcement) -> Outlet:
        """How this route tells a channel that it names."""
        at = announcement.at.astimezone(UTC)
        if self.waits is None or self._breaks_in(announcement):
            return Outlet(channel=channel, thread=None, not_before=at)
        if isinstance(self.waits, _QuietHours):
            return Outlet(channel=channel, thread=None, not_before=self.waits.over(at))
        slot = self.waits.following(at)
        return Outlet(channel=channel, thread=f"digest:{self.number}:{slot.isoformat()}", not_before=slot)

    def _breaks_in(self, announcement: Announcement) -> bool:
        """Whether something is so severe that it does not wait; that the detector is in trouble never is."""
        if self.unless is None or announcement.kind.is_of_detector:
            return False
        return any(finding.severity.rank >= self.unless.rank for finding in announcement.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """The routes, compiled from the settings once.

    `channels` are those that only routes name, beside the configured ones: `slack:#network`.
    """

    routes: tuple[_Route, ...] = ()
    channels: tuple[str, ...] = ()

    @classmethod
    def compile(cls, settings: NotifySettings) -> Routing:
        named = dict.fromkeys(channel for route in settings.routes for channel in route.channels)
        return cls(
            routes=tuple(_Route.compile(number, route) for number, route in enumerate(settings.routes)),
            channels=tuple(channel for channel in named if channel not in settings.channel_names),
        )

    @classmethod
    def everything(cls) -> Routing:
        """Without routes: every channel is told of everything, at once."""
        return cls()

    def outlets(
        self, announcement: Announcement, channels: Sequence[str], told: Collection[str]
    ) -> tuple[Outlet, ...]:
        """Who is told of it, each channel once, in the order of `channels`, then in that of the routes.

        `channels` are all that are configured, `told` those that were told of the same story before. One of
        them that is not configured any more is left out: there is nobody to deliver it.
        """
        named = (channel for route in self.routes for channel in route.channels)
        known = tuple(dict.fromkeys((*channels, *named)))
        heard = frozenset(known).intersection(told)
        fitting = self._fitting(announcement, heard)
        wanted = self._wanted(announcement, fitting, heard, channels)
        return tuple(
            _outlet(channel, announcement, self._routes_to(channel, announcement, fitting, heard))
            for channel in known
            if channel in wanted
        )

    def _fitting(self, announcement: Announcement, heard: frozenset[str]) -> tuple[_Route, ...]:
        nothing_to_judge = not (announcement.kind.is_of_detector or announcement.findings)
        if nothing_to_judge and heard:
            return ()
        return tuple(route for route in self.routes if route.fits(announcement))

    def _wanted(
        self,
        announcement: Announcement,
        fitting: Sequence[_Route],
        heard: frozenset[str],
        channels: Sequence[str],
    ) -> frozenset[str]:
        if announcement.kind is TransitionKind.HANDLED:
            return frozenset(channel for channel in heard if not channel.startswith(_NOT_FOR_EACH_PRESS))
        if not self.routes:
            return frozenset(channels)
        if not fitting and not heard:
            return frozenset(channels) - frozenset(self.channels)
        return heard.union(*(route.channels for route in fitting))

    def _routes_to(
        self, channel: str, announcement: Announcement, fitting: Sequence[_Route], heard: frozenset[str]
    ) -> Sequence[_Route]:
        """By which a channel is told: all that fit, else, as the story goes on, the first about its stack."""
        ways = [route for route in fitting if channel in route.channels]
        if ways or channel not in heard:
            return ways
        about = (route for route in self.routes if route.is_about(announcement))
        return list(islice((route for route in about if channel in route.channels), 1))


def _outlet(channel: str, announcement: Announcement, routes: Sequence[_Route]) -> Outlet:
    """How a channel is told that these routes name: by the one that lets it go first, at once without any."""
    at = announcement.at.astimezone(UTC)
    if channel.startswith(_WEBHOOK):
        return Outlet(channel=channel, thread=f"stack:{announcement.stack}", not_before=at)
    ways = [route.outlet(channel, announcement) for route in routes]
    at_once = Outlet(channel=channel, thread=None, not_before=at)
    return min(ways, key=lambda way: (way.not_before, way.thread is not None), default=at_once)


def _causes(finding: Finding) -> frozenset[Cause]:
    """All of them, with the second ones that stand behind the first at the same attribute."""
    beside = (attribute.also for attribute in finding.attributes if attribute.also is not None)
    return frozenset((*finding.causes, *beside))


def _waits(settings: RouteSettings) -> _QuietHours | _Digest | None:
    if settings.quiet_hours is not None:
        return _QuietHours.compile(settings.quiet_hours)
    return _Digest.compile(settings.digest) if settings.digest is not None else None


def _numbers(days: Sequence[Weekday]) -> frozenset[int]:
    """As `date.weekday()` counts them."""
    return frozenset(map(EVERY_DAY.index, days))


def _instant(day: date, clock: time, zone: ZoneInfo) -> datetime:
    return first_instant(datetime.combine(day, clock), zone)
