"""How long a stack may go unwatched follows from its own schedule, unless somebody says otherwise."""

from __future__ import annotations

from datetime import timedelta

import pytest

from driftwatch.config.settings import FindingsSettings, Schedule, Settings
from driftwatch.drift.health import allowed_age, configured_age
from driftwatch.model import StackId

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def allowed(schedule: Schedule, **findings: object) -> timedelta:
    return allowed_age(schedule, FindingsSettings.model_validate(findings), 20 * MINUTE)


@pytest.mark.parametrize(
    ("schedule", "age"),
    [
        (Schedule(every=15 * MINUTE), 45 * MINUTE),
        (Schedule(every=6 * HOUR), 18 * HOUR),
        (Schedule(every=timedelta(seconds=30)), 15 * MINUTE),
        (Schedule(continuous=True), HOUR),
        (Schedule(cron="0 * * * *"), 3 * HOUR),
        (Schedule(cron="0 6 * * 1-5"), 5 * DAY),
        (Schedule(cron="0 6 * * 1"), 21 * DAY),
        (Schedule(cron="0 0 1 * *"), 92 * DAY),
        (Schedule(cron="* * * * *"), 15 * MINUTE),
    ],
)
def test_three_periods_and_fifteen_minutes_at_least(schedule: Schedule, age: timedelta) -> None:
    """Of a cron expression the longest three in a row: from Thursday to Tuesday on weekdays."""
    assert allowed(schedule) == age


def test_the_clock_change_makes_a_day_an_hour_longer() -> None:
    assert allowed(Schedule(cron="0 6 * * *", timezone="Europe/Paris"), allowed_periods=1) == DAY
    monthly = allowed(Schedule(cron="0 6 1 * *", timezone="Europe/Paris"), allowed_periods=1)
    assert monthly == 31 * DAY + HOUR


def test_what_is_configured_counts_whatever_the_schedule() -> None:
    assert allowed(Schedule(cron="0 6 * * 1"), allowed_age="2h") == 2 * HOUR
    assert allowed(Schedule(every=HOUR), allowed_periods=5) == 5 * HOUR


def test_without_the_repository_the_configuration_says_it() -> None:
    """The first glob that names a stack counts, as everywhere; what no glob names is not fresh for ever."""
    settings = Settings.model_validate(
        {
            "repositories": {
                "platform": {
                    "url": "/srv/platform",
                    "stacks": [
                        {"path": "envs/prod/*", "schedule": {"every": "5m"}},
                        {"path": "envs/*/*", "schedule": {"every": "2h"}},
                        {"path": "live/*", "schedule": "continuous"},
                    ],
                }
            }
        }
    )

    def age(path: str, repository: str = "platform") -> timedelta:
        return configured_age(StackId(repository=repository, path=path), settings)

    assert age("envs/prod/dns") == 15 * MINUTE
    assert age("envs/test/dns") == 6 * HOUR
    assert age("live/dns") == 45 * MINUTE
    assert age("elsewhere") == 45 * MINUTE
    assert age("envs/prod/dns", "gone") == 45 * MINUTE
