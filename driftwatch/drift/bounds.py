"""How much of a finding is sent to people: a message is for reading, and a value may have megabytes.

What is stored as a finding stays whole; this is for copies of it that go out, one for each channel.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from driftwatch.model import AttributeChange, Evidence, Finding, JsonValue

LONGEST_VALUE = 4096
"""Characters of JSON: a policy document fits, a bundle of certificates does not."""

MOST_ATTRIBUTES = 100

LONGEST_TEXT = 4096
"""Characters of an address or a message."""


def bounded(finding: Finding) -> Finding:
    """The finding with long values replaced by their size, and no more attributes than anybody reads."""
    kept = finding.attributes[:MOST_ATTRIBUTES]
    return replace(
        finding,
        address=finding.address[:LONGEST_TEXT],
        message=_text(finding.message),
        attributes=tuple(map(_bounded, kept)),
        evidence=_evidence(finding.evidence) if finding.evidence else None,
    )


def _evidence(evidence: Evidence) -> Evidence:
    """What moved may be named by the key of an instance, which is as long as a value."""
    moved = tuple(
        replace(each, name=_text(each.name), before=_text(each.before), after=_text(each.after))
        for each in evidence.movements
    )
    return replace(evidence, movements=moved)


def _text(text: str | None) -> str | None:
    return text[:LONGEST_TEXT] if text else text


def _bounded(change: AttributeChange) -> AttributeChange:
    return replace(
        change,
        path=change.path[:LONGEST_TEXT],
        before=_value(change.before),
        actual=_value(change.actual),
        after=_value(change.after),
    )


def _value(value: JsonValue) -> JsonValue:
    if not isinstance(value, str | list | dict):
        return value
    length = len(value) if isinstance(value, str) else len(json.dumps(value, ensure_ascii=False))
    return value if length <= LONGEST_VALUE else f"({length:,} characters)"
