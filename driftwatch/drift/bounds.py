"""How much of a finding is sent to people: a message is for reading, and a value may have megabytes.

What is stored as a finding stays whole; this is for copies of it that go out, one for each channel.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from driftwatch.model import AttributeChange, Finding, JsonValue

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
        message=finding.message[:LONGEST_TEXT] if finding.message else finding.message,
        attributes=tuple(map(_bounded, kept)),
    )


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
