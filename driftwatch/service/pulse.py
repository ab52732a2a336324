"""Whether the daemon's loops go round, and whether the clock on the wall can be trusted.

Nothing here reads the wall clock to measure a duration: that is what steps of it would break.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from driftwatch.errors import DriftwatchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

JUMP = timedelta(seconds=30)
"""Less than this per look is slewing, or a busy machine; what is scheduled to the second does not mind it."""


def elapsed() -> float:
    """Seconds that have passed since some moment, the machine's sleep included.

    Plain monotonic time stands still while the machine sleeps: waking up would look like a step of the clock.
    """
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


class Heartbeat:
    """Tells since when a loop has not gone round."""

    def __init__(self, stalls_after: timedelta, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.stalls_after = stalls_after
        self._monotonic = monotonic
        self._last = monotonic()

    def beat(self) -> None:
        self._last = self._monotonic()

    @property
    def age(self) -> timedelta:
        return timedelta(seconds=self._monotonic() - self._last)

    @property
    def is_alive(self) -> bool:
        return self.age <= self.stalls_after


class ClockWatch:
    """Sees steps of the wall clock by comparing it with time that only passes."""

    def __init__(self, clock: Callable[[], datetime], *, passed: Callable[[], float] = elapsed) -> None:
        self._clock = clock
        self._passed = passed
        self._seen = (clock(), passed())

    def step(self) -> timedelta | None:
        """By how much the clock was set since the last look; None if it was not."""
        wall, passed = self._seen
        self._seen = (self._clock(), self._passed())
        step = (self._seen[0] - wall) - timedelta(seconds=self._seen[1] - passed)
        return step if abs(step) > JUMP else None


class Outage:
    """Something that fails for a while: said once when it begins and once when it is over."""

    def __init__(self, logger: FilteringBoundLogger, what: str) -> None:
        self._logger = logger
        self._what = what
        self.error: Exception | None = None
        """What failed last; None while all is well."""

    def failed(self, error: Exception) -> None:
        """Takes note of a failure. Where it is no error of a named class, its trace is worth logging."""
        if self.error is None:
            self._logger.error(
                f"{self._what} failed; trying again until it works: {error}",
                action="outage",
                error=getattr(error, "code", type(error).__name__),
                exc_info=None if isinstance(error, DriftwatchError) else error,
            )
        self.error = error

    def over(self) -> None:
        """Takes note of a success."""
        if self.error is not None:
            self._logger.info(f"{self._what} works again.", action="recovered")
        self.error = None
