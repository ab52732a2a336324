"""Values that the store's tests are made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from driftwatch.model import (
    AttributeChange,
    Cause,
    CheckResult,
    ErrorReport,
    Finding,
    FindingKind,
    Inputs,
    Method,
    Severity,
    StackDeclaration,
    StackId,
    Trigger,
    Verdict,
)

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
LEASE = timedelta(minutes=5)


def stack_id(number: int = 1) -> StackId:
    return StackId(repository="platform", path=f"envs/s{number:03d}")


def declared(number: int = 1, **words: Any) -> StackDeclaration:
    return StackDeclaration(id=stack_id(number), **words)


def finding(address: str = "cloud_firewall.web", **words: Any) -> Finding:
    attribute = AttributeChange(
        path="/port",
        before=22,
        actual=words.pop("actual", 80),
        after=22,
        sensitive=False,
        cause=Cause.OUT_OF_BAND,
    )
    standard: dict[str, Any] = {
        "address": address,
        "type": address.partition(".")[0],
        "kind": FindingKind.MODIFIED,
        "action": "update",
        "causes": (Cause.OUT_OF_BAND,),
        "severity": Severity.HIGH,
        "fingerprint": f"{address}={attribute.actual}",
        "counted": True,
        "attributes": (attribute,),
    }
    return Finding(**(standard | words))


def result(number: int = 1, *findings: Finding, at: datetime = START, **words: Any) -> CheckResult:
    """A check of stack `number`: drifted where there are findings, else in sync."""
    standard: dict[str, Any] = {
        "stack": stack_id(number),
        "commit": "c0ffee",
        "trigger": Trigger.SCHEDULE,
        "verdict": Verdict.DRIFTED if findings else Verdict.IN_SYNC,
        "method": Method.PLAN,
        "method_reason": "no_recording",
        "started_at": at,
        "duration_seconds": 1.5,
        "findings": findings,
        "inputs": Inputs(commit="c0ffee", state_serial=7),
    }
    return CheckResult(**(standard | words))


def failure(number: int = 1, *, at: datetime = START, message: str = "terraform plan failed") -> CheckResult:
    error = ErrorReport(code="plan_failed", message=message, advice="Look at it.")
    return result(number, at=at, verdict=Verdict.ERROR, error=error, inputs=Inputs())


def after(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)
