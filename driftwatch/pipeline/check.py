"""Check: one examination of one stack, from its code to a recorded verdict.

    locate → check out → identify → plan → read → record → tell

Whatever a stack's check can meet becomes an `error` verdict with its class; it never stops other stacks, and
it leaves the last good result standing. This module decides nothing: reading is `driftwatch.drift`'s, the
life of findings is the store's transaction.
"""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from driftwatch import log, metrics
from driftwatch.drift import Digester, Reading, read_plan
from driftwatch.errors import (
    DiskFullError,
    DriftwatchError,
    EngineInterruptedError,
    StoreLockedError,
    StoreUnavailableError,
    SubmoduleMissingError,
)
from driftwatch.model import (
    CheckResult,
    ErrorReport,
    Inputs,
    Method,
    StackDeclaration,
    StackId,
    Trigger,
    Verdict,
)
from driftwatch.terraform import PlanRequest

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from driftwatch.model import Engine, Job
    from driftwatch.pipeline.inventory import Inventory, Subject
    from driftwatch.pipeline.ports import Checkouts, Identities, Ledger, Planner, Spool

NO_RECORDING = "no_recording"
"""Why a plan ran: there is nothing that a cheaper method could repeat."""

logger = log.get("check")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """The worlds that a check works with, put together once by the application."""

    inventory: Inventory
    checkouts: Mapping[str, Checkouts]
    planner: Planner
    identities: Identities
    ledger: Ledger
    spool: Spool
    digest: Digester
    work: Path
    inherited: Mapping[str, str]
    """What plans get of the daemon's own environment, by `terraform.inherit_environment`."""
    channels: Sequence[str]
    clock: Callable[[], datetime]


def check(
    stack: StackId,
    trigger: Trigger,
    workshop: Workshop,
    stop: threading.Event,
    *,
    job: Job | None = None,
) -> CheckResult:
    """Checks one configured stack and records it, whatever came of it.

    `job` is the claim that it runs under, if any. Raises UnknownStackError where the stack is gone,
    EngineInterruptedError where it was stopped on the way (nothing is recorded: the job is queued again), and
    StoreError where the database is away before anything is done, or the result can neither be recorded nor
    kept aside.
    """
    subject = workshop.inventory.subject(stack)
    # Before the plan: a database that goes away during it must not make an error of what it finds.
    baseline = workshop.ledger.baseline(stack)
    examination = _Examination(
        stack=stack, commit=subject.commit, trigger=trigger, started_at=workshop.clock()
    )
    with structlog.contextvars.bound_contextvars(stack=str(stack)):
        result = examination.run(lambda: _examine(subject, baseline, workshop, stop))
        _record(result, subject.declaration, job, workshop)
        _tell(result)
    return result


def check_directory(
    request: PlanRequest,
    *,
    stack: StackId,
    commit: str | None,
    planner: Planner,
    digest: Digester,
    clock: Callable[[], datetime],
    stop: threading.Event,
    progress: Callable[[str], None] | None = None,
) -> CheckResult:
    """The same examination of a directory on disk: nothing to compare with and nothing kept."""

    def examine() -> _Seen:
        planned = planner.plan(request, stop, progress)
        inputs = Inputs(commit=commit, lock_file=planned.lock_file, engine=planned.engine)
        return _Seen(
            engine=planned.engine,
            reading=read_plan(planned.document, digest=digest, inputs=inputs, baseline=None),
        )

    examination = _Examination(stack=stack, commit=commit, trigger=Trigger.MANUAL, started_at=clock())
    return examination.run(examine)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    engine: Engine
    reading: Reading


def _examine(subject: Subject, baseline: Inputs | None, workshop: Workshop, stop: threading.Event) -> _Seen:
    stack = subject.stack
    environment = {name: secret.get_secret_value() for name, secret in subject.options.environment.items()}
    checkouts = workshop.checkouts[stack.repository]
    _expect_submodules(subject, checkouts)
    with checkouts.checkout(subject.commit) as checkout:
        if account := subject.options.identity.aws_account:
            workshop.identities.expect({**workshop.inherited, **environment}, account)
        planned = workshop.planner.plan(_request(subject, checkout, environment, workshop.work), stop)
    inputs = Inputs(
        commit=subject.commit,
        tree=subject.tree,
        lock_file=planned.lock_file,
        engine=planned.engine,
        state_lineage=planned.state_lineage,
        state_serial=planned.state_serial,
    )
    reading = read_plan(planned.document, digest=workshop.digest, inputs=inputs, baseline=baseline)
    return _Seen(engine=planned.engine, reading=reading)


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


def _request(subject: Subject, checkout: Path, environment: Mapping[str, str], work: Path) -> PlanRequest:
    options, stack = subject.options, subject.stack
    return PlanRequest(
        module=checkout / stack.path,
        checkout=checkout,
        workdir=work / str(stack),
        workspace=stack.workspace,
        engine=options.engine,
        var_files=options.var_files,
        variables=options.variables,
        backend_config={key: value.get_secret_value() for key, value in options.backend_config.items()},
        environment=environment,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Examination:
    """Turns what an examination saw, or the error it met, into a result."""

    stack: StackId
    commit: str | None
    trigger: Trigger
    started_at: datetime

    def run(self, examine: Callable[[], _Seen]) -> CheckResult:
        started = time.monotonic()
        try:
            seen = examine()
        except EngineInterruptedError:
            raise
        except DriftwatchError as problem:
            return self._failed(problem.report(), started)
        except OSError as problem:
            return self._failed(_of_machine(problem), started)
        except Exception as problem:  # a fault of ours is this stack's error, not the fleet's end
            logger.exception(
                "A check failed for a reason of driftwatch's own.", action="check", stack=str(self.stack)
            )
            return self._failed(_of_ours(problem), started)
        reading = seen.reading
        return replace(
            self._blank(started),
            verdict=reading.verdict,
            engine=seen.engine,
            findings=reading.findings,
            inputs=reading.inputs,
            mass_deletion=reading.mass_deletion,
        )

    def _failed(self, error: ErrorReport, started: float) -> CheckResult:
        return replace(self._blank(started), error=error)

    def _blank(self, started: float) -> CheckResult:
        return CheckResult(
            stack=self.stack,
            commit=self.commit,
            trigger=self.trigger,
            verdict=Verdict.ERROR,
            method=Method.PLAN,
            method_reason=NO_RECORDING,
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


def _tell(result: CheckResult) -> None:
    metrics.CHECKS.labels(result.verdict, result.method).inc()
    metrics.CHECK_SECONDS.labels(result.method).observe(result.duration_seconds)
    if result.error is None:
        metrics.LAST_GOOD_CHECK.labels(str(result.stack)).set(result.started_at.timestamp())
        metrics.OPEN_FINDINGS.labels(str(result.stack)).set(len(result.counted))
        logger.info(
            f"Checked: {result.verdict}, {len(result.counted)} findings.",
            action="check",
            verdict=result.verdict,
            method=result.method,
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
