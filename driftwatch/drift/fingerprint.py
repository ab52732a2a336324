"""The digest by which two checks agree that they saw the same difference.

It covers address, kind and the attributes that count, with their values. It leaves out the cause (evidence
may grow while the difference stays), severity, messages (they may hold times) and, on a finding that counts,
attributes that are noise (many change with every read). Lists are digested without order, as sets have none.
A finding that is noise altogether is known by its paths alone, for the same reason.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from driftwatch.drift.values import canonical
from driftwatch.model import AttributeChange, Cause, FindingKind, JsonValue

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


def _content(attribute: AttributeChange) -> JsonValue:
    return {
        "path": attribute.path,
        "before": attribute.before,
        "actual": attribute.actual,
        "after": attribute.after,
    }
