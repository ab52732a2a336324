"""The digest by which two checks agree that they saw the same difference.

It covers address, kind and the attributes that count, with their values. It leaves out the cause (evidence
may grow while the difference stays), severity, messages (they may hold times) and, on a finding that counts,
attributes that are noise (many change with every read). Lists are digested without order, as sets have none.
A finding that is noise altogether is known by its paths alone, for the same reason.

An acceptance is narrower: per attribute what the cloud has and what the code wants. What the state remembers
is left out there: a refresh moves it while the difference stays.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from driftwatch.drift.values import canonical
from driftwatch.model import Acceptance, AttributeChange, Cause, Finding, FindingKind, JsonValue

if TYPE_CHECKING:
    from collections.abc import Iterable


def fingerprint_of(
    *, address: str, kind: FindingKind, attributes: Iterable[AttributeChange], counted: bool, extra: str = ""
) -> str:
    """32 hex digits. `extra` is content that is no attribute: the status and number of a check's problems."""
    covered = [
        _content(attribute) if counted else attribute.path
        for attribute in attributes
        if not counted or attribute.cause is not Cause.NOISE
    ]
    text = canonical([{"address": address, "kind": kind, "extra": extra, "counted": counted}, *covered])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def accepted_values(finding: Finding) -> dict[str, str]:
    """What an acceptance of a finding would hold: a digest of the values at each attribute that counts."""
    return {
        attribute.path: _digest([attribute.actual, attribute.after])
        for attribute in finding.attributes
        if attribute.cause is not Cause.NOISE
    }


def covers(acceptance: Acceptance, finding: Finding) -> bool:
    """True where everything that counts of a finding is as it was accepted."""
    if acceptance.kind is not finding.kind:
        return False
    values = accepted_values(finding)
    if not values:
        return acceptance.fingerprint == finding.fingerprint
    return values.items() <= acceptance.values.items()


def _digest(value: JsonValue) -> str:
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:32]


def _content(attribute: AttributeChange) -> JsonValue:
    return {
        "path": attribute.path,
        "before": attribute.before,
        "actual": attribute.actual,
        "after": attribute.after,
    }
