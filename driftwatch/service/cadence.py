"""When a stack is due: pure functions of its schedule, its name and the time.

A schedule has slots. Those of an interval (`every`) lie on a grid that is shifted by a digest of the stack's
name, so that a fleet is spread evenly, and always in the same way. Those of a `cron` expression lie where the
person put them, plus less than a minute. As slots depend on nothing that was before, a clock that jumps
leads back onto the grid, and a missed slot is missed once, however many there were.

Across daylight-saving changes, in the schedule's own zone:

- a time that does not exist happens at the first instant that does (once, if several fall there);
- a time that happens twice happens the first time only, unless the hour field has a `*`: such a schedule
  means elapsed time, and would pause for an hour. Source: cron(8) of Vixie cron.

APScheduler's own CronTrigger loses a whole day after the change, and counts weekdays from Monday.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zlib import crc32
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from apscheduler.triggers.base import BaseTrigger
from croniter import CroniterError, croniter

from driftwatch.config import zones
from driftwatch.errors import ConfigError

if TYPE_CHECKING:
    from driftwatch.config.settings import Schedule
    from driftwatch.model import StackId

FIRST_CHECK_WITHIN = timedelta(hours=1)
"""A stack that was never checked is unknown: even a weekly one must not stay so for a week."""

SMALL_FLEET = 50
"""So many checks are a few minutes' work: who has just set driftwatch up sees them all at once."""

CRON_SPREAD = timedelta(minutes=1)
"""Less than what cron can say: the minute that a person wrote stays true."""

POLL_JITTER = 0.1
"""Part of a repository's interval; enough that repositories of one host do not march in step."""

_WIDEST_SHIFT = timedelta(hours=3)
"""No zone moves its clocks by more at once, but for those that crossed the date line."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def next_due(
    schedule: Schedule, known: datetime | None, now: datetime, stack: StackId, *, fleet: int
) -> datetime:
    """When `stack` is due, given when it was `known` to be (None: it was never scheduled).

    In the past or now means at once: a missed slot is made up for, once. A time that lies beyond the next
    slot was written by another clock or under another schedule, and is not believed. `fleet` is the number of
    stacks: a small one is checked at once when it is new.

    Raises ConfigError for a schedule that names no time.
    """
    if known is not None:
        return min(known, next_slot(schedule, now, stack))
    return now if fleet <= SMALL_FLEET else spread(schedule, now, stack)


def next_continuous(known: datetime | None, now: datetime, stack: StackId, *, within: timedelta) -> datetime:
    """When a stack without slots is due, given when it was `known` to be (None: it was never scheduled).

    A new one is due at once, however large the fleet: its budgets pace it. `within` is the longest time
    between two of its checks: what lies further ahead is not believed, and spread.
    """
    if known is None:
        return now
    return known if known <= now + within else now + _share(stack, min(within, FIRST_CHECK_WITHIN))


def next_slot(schedule: Schedule, after: datetime, stack: StackId) -> datetime:
    """The first slot later than `after`; raises ConfigError for a schedule that names no time."""
    if schedule.cron is not None:
        shift = _share(stack, CRON_SPREAD)
        return _cron_slot(schedule.cron, _zone(schedule.timezone), after - shift) + shift
    if schedule.every is None or schedule.every < timedelta(seconds=1):
        raise ConfigError(
            f"the schedule of {stack} names no time", advice="Give it `every` (1s or more) or `cron`."
        )
    period = timedelta(seconds=int(schedule.every.total_seconds()))
    shift = _share(stack, period)
    return _EPOCH + ((after - _EPOCH - shift) // period + 1) * period + shift


def spread(schedule: Schedule, now: datetime, stack: StackId) -> datetime:
    """A time soon after `now`, other stacks elsewhere: within one period, and FIRST_CHECK_WITHIN at most."""
    first = next_slot(schedule, now, stack)
    period = next_slot(schedule, first, stack) - first
    return now + _share(stack, min(period, FIRST_CHECK_WITHIN))


def next_poll(interval: timedelta, now: datetime) -> datetime:
    """When to ask a repository's remote again."""
    return now + interval * (1 + random.uniform(-POLL_JITTER, POLL_JITTER))  # noqa: S311  spreads, hides nothing


class StackTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """The slots of one stack, as APScheduler asks for them."""

    __slots__ = ("schedule", "stack")

    def __init__(self, schedule: Schedule, stack: StackId) -> None:
        self.schedule = schedule
        self.stack = stack

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        """Always from now on: counting on from the previous one would list every missed slot."""
        return next_slot(self.schedule, now, self.stack)


class PollTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler ships no types
    """A repository's polls."""

    __slots__ = ("interval",)

    def __init__(self, interval: timedelta) -> None:
        self.interval = interval

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        return next_poll(self.interval, now)


def _share(stack: StackId, span: timedelta) -> timedelta:
    """This stack's own part of `span`, in whole seconds; the same in every process and every year."""
    return timedelta(seconds=crc32(str(stack).encode()) % max(int(span.total_seconds()), 1))


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise ConfigError(
            f"no time zone is called {name!r}", advice="Use an IANA name: Europe/Paris."
        ) from exc


def _cron_slot(expression: str, zone: ZoneInfo, after: datetime) -> datetime:
    try:
        if _is_steady(zone, after):
            wall = croniter(expression, zones.wall(after, zone)).get_next(datetime)
            return zones.instants(wall, zone)[0]
        return _cron_slot_near_a_change(expression, zone, after)
    except CroniterError as exc:
        raise ConfigError(
            f"cron expression {expression!r} names no time: {exc}",
            advice="Use five fields, as in crontab(5): minute, hour, day of month, month, day of week.",
        ) from exc


def _is_steady(zone: ZoneInfo, at: datetime) -> bool:
    """True where no clock change is near, so that the wall clock goes with time."""
    offsets = {
        (at + step).astimezone(zone).utcoffset() for step in (-_WIDEST_SHIFT, timedelta(), _WIDEST_SHIFT)
    }
    return len(offsets) == 1


def _cron_slot_near_a_change(expression: str, zone: ZoneInfo, after: datetime) -> datetime:
    """Looks at all wall times around, as their order is not that of their instants."""
    wall = zones.wall(after, zone)
    times: Any = croniter(expression, wall - _WIDEST_SHIFT)
    by_elapsed_time = "*" in times.expressions[1]
    found: list[datetime] = []
    at = wall
    while not found or at < wall + _WIDEST_SHIFT:
        at = times.get_next(datetime)
        instants = zones.instants(at, zone)
        found += [instant for instant in instants[: None if by_elapsed_time else 1] if instant > after]
    return min(found)
