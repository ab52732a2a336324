"""The detector's own health: how long a stack may go without a good check before nobody watches it.

Pure. `fresh`, `stale` and `blind` follow from it in the store, which knows when the last good check was.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from croniter import croniter

from driftwatch.config.globs import matches

if TYPE_CHECKING:
    from driftwatch.config.settings import FindingsSettings, Schedule, Settings
    from driftwatch.model import StackId

LEAST_AGE = timedelta(minutes=15)
"""A stack that is checked every minute is not stale because one of its plans took ten."""

_SLOTS = 60
"""Of a cron expression: two months of a daily one, five years of a monthly one."""

_FIRST_LOOK = datetime(2024, 1, 1, tzinfo=UTC)
"""Fixed, so that the same schedule always allows the same."""


def allowed_age(schedule: Schedule, findings: FindingsSettings, plan_interval: timedelta) -> timedelta:
    """How old the last good check of a stack may be: so many periods of its schedule, or what is configured.

    Of a cron expression the longest periods in a row count: a stack that is checked on weekdays is not stale
    on a Sunday. `plan_interval` is the period of a continuous schedule.
    """
    if findings.allowed_age is not None:
        return findings.allowed_age
    if schedule.cron is not None:
        return max(LEAST_AGE, _longest_run(schedule.cron, schedule.timezone, findings.allowed_periods))
    return max(LEAST_AGE, (schedule.every or plan_interval) * findings.allowed_periods)


def configured_age(stack: StackId, settings: Settings) -> timedelta:
    """As `allowed_age`, from the configuration alone: for whoever has not read the repository's own words."""
    repository = settings.repositories.get(stack.repository)
    options = next(
        (
            options
            for options in (repository.stacks if repository else ())
            if matches(options.path, stack.path)
        ),
        None,
    )
    interval = settings.continuous.plan_interval
    if options is None:  # no longer watched, or not known yet: as if nothing were said of it
        return settings.findings.allowed_age or max(LEAST_AGE, interval * settings.findings.allowed_periods)
    return allowed_age(options.schedule, settings.findings, interval)


@lru_cache(maxsize=256)
def _longest_run(expression: str, zone: str, periods: int) -> timedelta:
    times = croniter(expression, _FIRST_LOOK.astimezone(ZoneInfo(zone)))
    slots: list[datetime] = [times.get_next(datetime) for _ in range(_SLOTS + periods)]
    gaps = [(later - earlier) for earlier, later in pairwise(slot.astimezone(UTC) for slot in slots)]
    return max(sum(gaps[start : start + periods], timedelta()) for start in range(_SLOTS))
