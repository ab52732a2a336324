"""Findings and rules in few words, for the tests of the rules."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from driftwatch.config.rule_files import shipped
from driftwatch.config.rules import RulesSettings
from driftwatch.drift.classify import verdict_of
from driftwatch.drift.fingerprint import fingerprint_of
from driftwatch.drift.rules import Rules
from driftwatch.model import AttributeChange, Cause, Finding, FindingKind, Severity, StackId

if TYPE_CHECKING:
    from driftwatch.drift.rules import Governed
    from driftwatch.model import JsonValue, Verdict

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
STACK = StackId(repository="platform", path="envs/prod/shop")


def rules(**sections: Any) -> Rules:
    """Rules from the words of a configuration, beside the shipped ones."""
    return Rules.compile(RulesSettings.model_validate(sections), shipped())


def by_hand(
    path: str,
    before: JsonValue,
    actual: JsonValue,
    *,
    cause: Cause = Cause.OUT_OF_BAND,
    sensitive: bool = False,
) -> AttributeChange:
    """Somebody moved it in the cloud; the code wants it back."""
    return AttributeChange(
        path=path, before=before, actual=actual, after=before, sensitive=sensitive, cause=cause
    )


def by_code(
    path: str, actual: JsonValue, after: JsonValue, cause: Cause = Cause.UNAPPLIED_COMMIT
) -> AttributeChange:
    """The code wants something else by now."""
    return AttributeChange(path=path, before=actual, actual=actual, after=after, sensitive=False, cause=cause)


def noise(path: str, before: JsonValue, actual: JsonValue) -> AttributeChange:
    """It moved in the cloud, and an apply would leave it."""
    return AttributeChange(
        path=path, before=before, actual=actual, after=actual, sensitive=False, cause=Cause.NOISE
    )


def found(
    *attributes: AttributeChange,
    type_: str = "aws_instance",
    address: str | None = None,
    kind: FindingKind = FindingKind.MODIFIED,
    action: str = "update",
    causes: tuple[Cause, ...] = (),
) -> Finding:
    """A finding as reading a plan gives it; `causes` are those of the whole."""
    telling = {*causes, *(attribute.cause for attribute in attributes)} - {Cause.NOISE}
    where = address or f"{type_}.it"
    return Finding(
        address=where,
        type=type_,
        kind=kind,
        action=action,
        causes=tuple(cause for cause in Cause if cause in telling) or (Cause.NOISE,),
        severity=Severity.MEDIUM if telling else Severity.INFO,
        fingerprint=fingerprint_of(address=where, kind=kind, attributes=attributes, counted=bool(telling)),
        counted=bool(telling),
        attributes=attributes,
    )


def apply(under: Rules, *findings: Finding, stack: StackId = STACK, now: datetime = NOW) -> Governed:
    """What the rules make of findings."""
    return under.apply(findings, stack=stack, now=now)


def one(under: Rules, finding: Finding, **more: Any) -> Finding:
    """What the rules make of one finding."""
    (governed,) = apply(under, finding, **more).findings
    return governed


def verdict(governed: Governed) -> Verdict:
    """The verdict made anew, as a check makes it."""
    return verdict_of(governed.findings)
