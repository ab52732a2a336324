"""Housekeeping: what nobody asks for and everybody misses.

Once a minute, checks that were given up are recorded as errors: a stack whose check kills its worker each
time must not look as if it were merely late. Snoozes and acceptances that are over end, people are reminded
of what they have not heard of for long, and told of stacks that nobody watches any more: nothing else would
say that checks have stopped coming.

Once a day, history is thinned: runs of checks that said the same keep their first and last, and what is older
than `HISTORY` goes, but for what findings still refer to.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from driftwatch import log, metrics
from driftwatch.config.settings import ContinuousSettings, FindingsSettings
from driftwatch.drift.health import LEAST_AGE, allowed_age
from driftwatch.errors import DriftwatchError, UnknownStackError
from driftwatch.model import CheckResult, ErrorReport, Method, StackDeclaration, Verdict

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence

    from driftwatch.model import Announcement, Job, StackId
    from driftwatch.pipeline.check import Workshop

ROUND = timedelta(minutes=1)
DAY = timedelta(days=1)
HISTORY = timedelta(days=90)
"""A quarter: what a review of an incident still asks for."""

RECENT = timedelta(days=7)
"""Within a week every check is kept as it was."""

MESSAGES = timedelta(days=30)
"""Delivered messages; those that wait are kept for as long as they wait."""

logger = log.get("housekeeping")


class Archive(Protocol):
    """What the store can thin out; each returns how many rows went."""

    def given_up(self) -> Sequence[Job]: ...

    def coalesce_checks(self, before: datetime) -> int: ...

    def prune_checks(self, before: datetime) -> int: ...

    def prune_jobs(self, before: datetime) -> int: ...

    def prune_messages(self, before: datetime) -> int: ...


class Watch(Protocol):
    """What the store tells of between checks."""

    def allow_ages(self, ages: Mapping[StackId, timedelta]) -> None: ...

    def reopen_ended(self, *, at: datetime, channels: Sequence[str]) -> Sequence[Announcement]: ...

    def remind(
        self, *, at: datetime, after: timedelta, channels: Sequence[str]
    ) -> Sequence[Announcement]: ...

    def tell_stale(
        self, *, at: datetime, since: datetime, fallback: timedelta, channels: Sequence[str]
    ) -> Sequence[Announcement]: ...


class Books(Archive, Watch, Protocol):
    """The store, as housekeeping sees it."""


class Housekeeping:
    """Runs beside the daemon's other parts until it is told to stop."""

    def __init__(
        self,
        archive: Books,
        workshop: Workshop,
        *,
        clock: Callable[[], datetime],
        forget: Callable[[], int] | None = None,
        findings: FindingsSettings | None = None,
        continuous: ContinuousSettings | None = None,
    ) -> None:
        """`forget` drops what is kept of stacks that are gone, and says how much that was.

        `findings` and `continuous` are those sections of the configuration.
        """
        self._forget = forget
        self._findings = findings or FindingsSettings()
        self._plan_interval = (continuous or ContinuousSettings()).plan_interval
        self._since = clock()
        self._archive = archive
        self._workshop = workshop
        self._clock = clock
        self._thinned_at: datetime | None = None

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(ROUND.total_seconds()):
            self.tidy()

    def tidy(self) -> None:
        """One round. Raises StoreError where the store is away; the next round makes up for it."""
        for job in self._archive.given_up():
            self._record_given_up(job)
        now = self._clock()
        self._speak(now)
        if self._thinned_at is None or now - self._thinned_at >= DAY:
            self._thin(now)
            self._thinned_at = now

    def _speak(self, now: datetime) -> None:
        """Tells what no check tells. A stack of which no schedule is known must not be silent either."""
        rules, channels = self._findings, self._workshop.channels
        schedules = self._workshop.inventory.schedules()
        self._archive.allow_ages(
            {
                stack: allowed_age(schedule, rules, self._plan_interval)
                for stack, schedule in schedules.items()
            }
        )
        said = [*self._archive.reopen_ended(at=now, channels=channels)]
        if rules.remind_after:
            said += self._archive.remind(at=now, after=rules.remind_after, channels=channels)
        fallback = rules.allowed_age or max(LEAST_AGE, self._plan_interval * rules.allowed_periods)
        said += self._archive.tell_stale(at=now, since=self._since, fallback=fallback, channels=channels)
        for announcement in said:
            metrics.TRANSITIONS.labels(announcement.kind).inc()
            logger.info(
                f"Told without a check: {announcement.kind}.", action="tell", stack=announcement.stack
            )

    def _thin(self, now: datetime) -> None:
        gone = (
            self._archive.coalesce_checks(now - RECENT)
            + self._archive.prune_checks(now - HISTORY)
            + self._archive.prune_jobs(now - RECENT)
            + self._archive.prune_messages(now - MESSAGES)
        )
        if self._forget is not None:
            self._forget()
        logger.info("History is thinned.", action="thin", rows=gone)

    def _record_given_up(self, job: Job) -> None:
        result = CheckResult(
            stack=job.stack,
            commit=None,
            trigger=job.trigger,
            verdict=Verdict.ERROR,
            method=Method.PLAN,
            method_reason="given_up",
            started_at=self._clock(),
            duration_seconds=0.0,
            error=ErrorReport(
                code="given_up",
                message=f"the check was started {job.attempts} times and its worker was gone each time",
                advice="Look at the log and the memory of the machine; `driftwatch trigger` tries again.",
            ),
        )
        try:
            self._workshop.ledger.record_check(
                result, declaration=self._declaration(job), channels=self._workshop.channels, job=job
            )
        except DriftwatchError as problem:
            logger.warning(problem.message, action="give_up", stack=str(job.stack), error=problem.code)

    def _declaration(self, job: Job) -> StackDeclaration:
        try:
            return self._workshop.inventory.subject(job.stack).declaration
        except UnknownStackError:
            return StackDeclaration(id=job.stack)
