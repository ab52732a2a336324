"""Where the wall clock of a zone meets time, also where it is put forward or back. Pure.

A clock that is put forward skips local times, one that is put back shows some twice. What happens at a local
time is settled here for schedules, windows, quiet hours and digests alike: one that is skipped happens at the
first instant after the gap; of one that comes twice the first counts, unless the caller wants both.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_A_SECOND = timedelta(seconds=1)


def wall(at: datetime, zone: ZoneInfo) -> datetime:
    """What a clock in `zone` shows at an instant, without the zone."""
    return at.astimezone(zone).replace(tzinfo=None, fold=0)


def first_instant(local: datetime, zone: ZoneInfo) -> datetime:
    """When a clock in `zone` first shows `local`, or first stands behind it where it skips it; in UTC."""
    return instants(local, zone)[0]


def instants(local: datetime, zone: ZoneInfo) -> tuple[datetime, ...]:
    """The instants at which a clock in `zone` shows `local`: one, or two, or, in a gap, the one after it."""
    early, late = sorted(local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if early == late:
        return (early,)
    if wall(early, zone) == local:
        return (early, late)
    return (_change_between(early, late, zone),)


def _change_between(early: datetime, late: datetime, zone: ZoneInfo) -> datetime:
    """The first whole second at which the offset is that of `late`."""
    offset = late.astimezone(zone).utcoffset()
    while late - early > _A_SECOND:
        middle = early + timedelta(seconds=(late - early) // _A_SECOND // 2)
        early, late = (early, middle) if middle.astimezone(zone).utcoffset() == offset else (middle, late)
    return late
