"""What a rule asks of an attribute's values.

A condition never sees a secret: of a sensitive attribute, and of a value in which any text was replaced by a
digest or was too large to be kept, no condition holds, not even one that something is *not* so. Otherwise the
digests of two instances, or a guess in a condition, would tell what the value was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from driftwatch.config import cel, patterns
from driftwatch.drift.policies import opens_to
from driftwatch.drift.values import alike, is_list, is_object, same, says_nothing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from driftwatch.config.rules import Condition
    from driftwatch.model import AttributeChange, Finding, JsonValue

_DIGESTS = ("sensitive:hmac-sha256:", "digest:hmac-sha256:")


def holds(condition: Condition | None, attribute: AttributeChange, finding: Finding) -> bool:
    """Whether the attribute's values are as the condition wants them; true where there is none."""
    if condition is None:
        return True
    if not is_readable(attribute):
        return False
    if condition.cel is not None:
        return cel.compiled(condition.cel).holds(_facts(attribute, finding))
    before, now = moved(attribute)
    if condition.gains is not None:
        return _has(now, condition.gains) and not _has(before, condition.gains)
    if condition.widens is not None:
        return any(opens_to(now, what) and not opens_to(before, what) for what in condition.widens)
    return _is_so(condition, _value(condition.value, attribute))


def is_readable(attribute: AttributeChange) -> bool:
    """False where a digest stands for a value or for a part of it."""
    values = (attribute.before, attribute.actual, attribute.after)
    return not attribute.sensitive and not any(
        isinstance(leaf, str) and leaf.startswith(_DIGESTS) for value in values for leaf in leaves(value)
    )


def moved(attribute: AttributeChange) -> tuple[JsonValue, JsonValue]:
    """From what to what: by hand in the cloud, or by what the code wants.

    Told by the values and not by the cause, which rules change: a condition must say the same again.
    """
    if alike(attribute.before, attribute.actual):
        return attribute.actual, attribute.after
    return attribute.before, attribute.actual


def leaves(value: JsonValue) -> Iterator[JsonValue]:
    """The scalars of a value, keys not among them."""
    if is_object(value):
        for member in value.values():
            yield from leaves(member)
    elif is_list(value):
        for element in value:
            yield from leaves(element)
    else:
        yield value


def _value(which: str, attribute: AttributeChange) -> JsonValue:
    if which in ("from", "to"):
        return moved(attribute)[which == "to"]
    value: JsonValue = getattr(attribute, which)
    return value


def _is_so(condition: Condition, value: JsonValue) -> bool:
    if condition.matches is not None:
        return isinstance(value, str) and patterns.fits(condition.matches, value)
    if condition.contains is not None:
        return _has(value, condition.contains)
    if condition.empty is not None:
        return (value == "" or says_nothing(value)) is condition.empty
    return same(value, condition.equals)


def _has(value: JsonValue, wanted: Collection[JsonValue]) -> bool:
    return any(same(leaf, each) for leaf in leaves(value) for each in wanted)


def _facts(attribute: AttributeChange, finding: Finding) -> dict[str, JsonValue]:
    return {
        "before": attribute.before,
        "actual": attribute.actual,
        "after": attribute.after,
        "address": finding.address,
        "resource_type": finding.type,
        "path": attribute.path,
        "kind": finding.kind.value,
    }
