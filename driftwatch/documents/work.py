"""Checks and jobs as JSON: what came of what somebody asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from driftwatch.documents.drift import error_document, timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from driftwatch.store import KeptCheck, KeptJob


def kept_checks(checks: Sequence[KeptCheck], following: int | None) -> dict[str, Any]:
    """A page of checks; `following` is the next page's id."""
    return {"checks": [kept_check(each) for each in checks], "next": following}


def kept_check(check: KeptCheck) -> dict[str, Any]:
    """One check, without its findings: those are the stack's, and go on changing."""
    return {
        "id": check.id,
        "stack": str(check.stack),
        "commit": check.commit,
        "trigger": check.trigger.value,
        "verdict": check.verdict.value,
        "method": check.method.value,
        "method_reason": check.method_reason,
        "started_at": timestamp(check.started_at),
        "duration_seconds": check.duration_seconds,
        "findings": check.findings,
        "counted": check.counted,
        "error": error_document(check.error),
    }


def kept_job(job: KeptJob) -> dict[str, Any]:
    """A unit of work, and the check that came of it."""
    return {
        "id": job.id,
        "stack": str(job.stack),
        "trigger": job.trigger.value,
        "state": job.state.value,
        "requested_by": job.requested_by,
        "created_at": timestamp(job.created_at),
        "finished_at": timestamp(job.finished_at),
        "check": kept_check(job.check) if job.check else None,
    }
