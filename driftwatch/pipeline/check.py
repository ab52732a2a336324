"""Check: one examination of one stack, from its code to a recorded verdict.

    locate → identify → replay, or check out and plan → read → record → tell

Whatever a stack's check can meet becomes an `error` verdict with its class; it never stops other stacks, and
it leaves the last good result standing. This module decides nothing: whether a replay will do is
`driftwatch.pipeline.method`'s, reading is `driftwatch.drift`'s, the life of findings is the store's
transaction.
"""

from __future__ import annotations

import errno
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from driftwatch import log, metrics
from driftwatch.drift.reading import waits_for_a_commit, with_commits
from driftwatch.errors import (
    DiskFullError,
    DriftwatchError,
    EngineInterruptedError,
    RepositoryError,
    StoreLockedError,
    StoreUnavailableError,
    SubmoduleMissingError,
)
from driftwatch.model import (
    Approach,
    CheckResult,
    ErrorReport,
    Inputs,
    Method,
    StackDeclaration,
    StackId,
    Trigger,
    Verdict,
)
from driftwatch.pipeline.method import Question, Trail
from driftwatch.pipeline.subjects import environment_of, plan_request, subject_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from driftwatch.drift import Reading
    from driftwatch.drift.rules import Rules
    from driftwatch.model import Job
    from driftwatch.pipeline.inventory import Inventory, Subject
    from driftwatch.pipeline.method import Examiner, Seen
    from driftwatch.pipeline.ports import Checkouts, Identities, Ledger, Spool
    from driftwatch.terraform import PlanRequest

logger = log.get("check")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """The worlds that a check works with, put together once by the application."""

    inventory: Inventory
    checkouts: Mapping[str, Checkouts]
    examiner: Examiner
    identities: Identities
    ledger: Ledger
    spool: Spool
    rules: Rules
    work: Path
    inherited: Mapping[str, str]
    """What plans get of the daemon's own environment, by `terraform.inherit_environment`."""
    channels: Sequence[str]
    clock: Callable[[], datetime]
    pinned: Callable[[StackId], str | None] = lambda _stack: None
    """The commit that a stack is held at, where it was rolled back."""


def check(
    stack: StackId,
    trigger: Trigger,
    workshop: Workshop,
    stop: threading.Event,
    *,
    job: Job | None = None,
    approach: Approach = Approach.AUTO,
) -> CheckResult:
    """Checks one configured stack and records it, whatever came of it.

    `job` is the claim that it runs under, if any. A replay that was asked for and cannot be is not recorded:
    the question was about driftwatch, not about the stack. Raises UnknownStackError where the stack is gone,
    EngineInterruptedError where it was stopped on the way (nothing is recorded: the job is queued again), and
    StoreError where the database is away before anything is done, or the result can neither be recorded nor
    kept aside.
    """
    subject = subject_of(stack, workshop)
    # Before the plan: a database that goes away during it must not make an error of what it finds.
    baseline = workshop.ledger.baseline(stack)
    examination = _Examination(
        stack=stack, commit=subject.commit, trigger=trigger, started_at=workshop.clock()
    )
    with structlog.contextvars.bound_contextvars(stack=str(stack)):
        question = _question(subject, baseline, approach, workshop, stop)
        result = examination.run(lambda trail: _examine(subject, replace(question, trail=trail), workshop))
        if approach is not Approach.REPLAY or result.error is None:
            _record(result, subject.declaration, job, workshop)
            _tell(result)
    return result


def check_directory(
    request: PlanRequest,
    *,
    stack: StackId,
    commit: str | None,
    examiner: Examiner,
    rules: Rules,
    clock: Callable[[], datetime],
    stop: threading.Event,
    approach: Approach = Approach.AUTO,
    progress: Callable[[str], None] | None = None,
) -> CheckResult:
    """The same examination of a directory on disk: nothing to compare with and nothing kept."""
    examination = _Examination(stack=stack, commit=commit, trigger=Trigger.MANUAL, started_at=clock())

    def examine(trail: Trail) -> Seen:
        question = Question(
            stack=str(stack),
            inputs=Inputs(commit=commit),
            baseline=None,
            request=lambda _checkout: request,
            checkout=lambda: nullcontext(request.checkout),
            stop=stop,
            approach=approach,
            trail=trail,
            progress=progress,
        )
        seen = examiner.examine_once(question)
        return replace(seen, reading=rules.govern(seen.reading, stack=stack, now=clock()))

    return examination.run(examine)


def _question(
    subject: Subject, baseline: Inputs | None, approach: Approach, workshop: Workshop, stop: threading.Event
) -> Question:
    checkouts = workshop.checkouts[subject.stack.repository]
    return Question(
        stack=str(subject.stack),
        inputs=Inputs(commit=subject.commit, tree=subject.tree),
        baseline=baseline,
        request=lambda checkout: plan_request(subject, checkout, workshop.work),
        checkout=lambda: checkouts.checkout(subject.commit),
        stop=stop,
        approach=approach,
    )


def _examine(subject: Subject, question: Question, workshop: Workshop) -> Seen:
    checkouts = workshop.checkouts[subject.stack.repository]
    _expect_submodules(subject, checkouts)
    if account := subject.options.identity.aws_account:
        workshop.identities.expect({**workshop.inherited, **environment_of(subject)}, account)
    seen = workshop.examiner.examine(question)
    # After a replay too: a rule that was written or ran out since acts on what was recorded.
    reading = workshop.rules.govern(seen.reading, stack=subject.stack, now=workshop.clock())
    return replace(seen, reading=_with_history(reading, subject, question.baseline, checkouts))


def _with_history(
    reading: Reading, subject: Subject, baseline: Inputs | None, checkouts: Checkouts
) -> Reading:
    """Adds who wrote what is not applied yet. Without it, the findings are as true."""
    if baseline is None or not any(map(waits_for_a_commit, reading.findings)):
        return reading
    try:
        commits = checkouts.history(baseline.commit, subject.commit, subject.reads, tree=baseline.tree)
    except RepositoryError as problem:
        logger.info(
            f"The commits that are not applied yet cannot be named: {problem.message}", action="history"
        )
        return reading
    return with_commits(reading, commits)


def _expect_submodules(subject: Subject, checkouts: Checkouts) -> None:
    """Terraform would only say that a directory is empty; this says why."""
    if subject.submodules:
        return
    for submodule in checkouts.submodules(subject.commit):
        for path in subject.reads:
            if path == submodule or path.startswith(f"{submodule}/"):
                raise SubmoduleMissingError(
                    f"{path}, which the stack reads, lies in the submodule {submodule}, "
                    "and submodules are not checked out"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Examination:
    """Turns what an examination saw, or the error it met, into a result."""

    stack: StackId
    commit: str | None
    trigger: Trigger
    started_at: datetime

    def run(self, examine: Callable[[Trail], Seen]) -> CheckResult:
        started, trail = time.monotonic(), Trail()
        try:
            seen = examine(trail)
        except EngineInterruptedError:
            raise
        except DriftwatchError as problem:
            return self._failed(problem.report(), started, trail)
        except OSError as problem:
            return self._failed(_of_machine(problem), started, trail)
        except Exception as problem:  # a fault of ours is this stack's error, not the fleet's end
            logger.exception(
                "A check failed for a reason of driftwatch's own.", action="check", stack=str(self.stack)
            )
            return self._failed(_of_ours(problem), started, trail)
        reading = seen.reading
        return replace(
            self._blank(started, trail),
            verdict=reading.verdict,
            engine=seen.engine,
            findings=reading.findings,
            inputs=reading.inputs,
            mass_deletion=reading.mass_deletion,
            disagreement=seen.disagreement,
            unjudged=reading.unjudged,
        )

    def _failed(self, error: ErrorReport, started: float, trail: Trail) -> CheckResult:
        return replace(self._blank(started, trail), error=error)

    def _blank(self, started: float, trail: Trail) -> CheckResult:
        return CheckResult(
            stack=self.stack,
            commit=self.commit,
            trigger=self.trigger,
            verdict=Verdict.ERROR,
            method=trail.method,
            method_reason=trail.reason,
            started_at=self.started_at,
            duration_seconds=round(time.monotonic() - started, 3),
        )


def _of_machine(problem: OSError) -> ErrorReport:
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(
            f"no space left: {problem.filename or problem}",
            advice="Free some space; the last good result stands.",
        ).report()
    return ErrorReport(
        code="machine_failed",
        message=log.redact(str(problem)),
        advice="Check the rights and the free space of the state directory.",
    )


def _of_ours(problem: Exception) -> ErrorReport:
    return ErrorReport(
        code="internal_error",
        message=log.redact(f"{type(problem).__name__}: {problem}"),
        advice="This is a fault in driftwatch; the log of this moment says where. Please report it.",
    )


def _record(result: CheckResult, declaration: StackDeclaration, job: Job | None, workshop: Workshop) -> None:
    """Writes the result, or lays it aside where the database cannot be written just now."""
    try:
        recorded = workshop.ledger.record_check(
            result, declaration=declaration, channels=workshop.channels, job=job
        )
    except (StoreUnavailableError, StoreLockedError, DiskFullError) as problem:
        workshop.spool.save(result, declaration=declaration, channels=workshop.channels, job=job)
        logger.warning(
            "The result could not be written to the database; it is kept aside and will be written later.",
            action="record",
            reason=problem.message,
        )
        return
    for announcement in recorded.announcements:
        metrics.TRANSITIONS.labels(announcement.kind).inc()
    metrics.OPEN_FINDINGS.labels(str(result.stack)).set(recorded.open_findings)


def _tell(result: CheckResult) -> None:
    metrics.CHECKS.labels(result.verdict, result.method).inc()
    metrics.CHECK_SECONDS.labels(result.method).observe(result.duration_seconds)
    if result.error is None:
        metrics.LAST_GOOD_CHECK.labels(str(result.stack)).set(result.started_at.timestamp())
        # A replay says that nothing is new, and may say so every minute.
        say = logger.debug if result.method is Method.REPLAY else logger.info
        say(
            f"Checked: {result.verdict}, {len(result.counted)} findings.",
            action="check",
            verdict=result.verdict,
            method=result.method,
            reason=result.method_reason,
            commit=result.commit,
            seconds=result.duration_seconds,
        )
        return
    metrics.CHECK_ERRORS.labels(result.error.code).inc()
    logger.warning(
        result.error.message,
        action="check",
        verdict=result.verdict,
        error=result.error.code,
        commit=result.commit,
    )
