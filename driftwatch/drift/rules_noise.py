"""The shipped noise rules: which differences mean nothing, at which attributes of which types.

What can be told from the plan alone (null against `{}`, a tag without a value against no tag, the order of a
set) is told by `classify`, which still knows which keys are there; these rules know what single attributes of
single types mean. All but `numbers` are differences that an apply would leave, or make without an effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from driftwatch.drift.policies import same_document, same_policy
from driftwatch.drift.rules_conditions import is_readable, leaves
from driftwatch.drift.rules_selection import points_at
from driftwatch.drift.values import canonical, is_list, is_object, same
from driftwatch.model import UNKNOWN_VALUE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from driftwatch.config.rule_files import NoiseFile
    from driftwatch.config.rules import NoiseSwitches
    from driftwatch.model import AttributeChange, JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseAt:
    """One noise rule at one glob of types."""

    id: str
    type: tuple[str]
    pointers: tuple[str, ...]
    compare: str

    def fits(self, attribute: AttributeChange) -> bool:
        """Whether this difference, at a resource of the type, means nothing."""
        return points_at(self.pointers, attribute) and _means_nothing(self.compare, attribute)


def noise_rules(file: NoiseFile, switches: NoiseSwitches) -> Iterator[NoiseAt]:
    """Those that are on, by id; those that reading a plan decides are not among them."""
    wanted = switches.model_dump()
    for rule in sorted(file.rules, key=lambda rule: rule.id):
        if rule.compare == "reading" or (rule.switch is not None and not wanted[rule.switch]):
            continue
        for type_, pointers in rule.attributes.items():
            yield NoiseAt(id=f"noise:{rule.id}", type=(type_,), pointers=pointers, compare=rule.compare)


def _means_nothing(compare: str, attribute: AttributeChange) -> bool:
    actual, after = attribute.actual, attribute.after
    if compare == "computed":
        return same(actual, after) or UNKNOWN_VALUE in leaves(after)
    return is_readable(attribute) and _EQUAL[compare](actual, after)


def _same_elements(left: JsonValue, right: JsonValue) -> bool:
    return is_list(left) and is_list(right) and canonical(left) == canonical(right)


def _same_but_for_numbers(left: JsonValue, right: JsonValue) -> bool:
    return same(_without_numbers(left), _without_numbers(right))


def _without_numbers(value: JsonValue) -> JsonValue:
    if is_object(value):
        return {key: _without_numbers(member) for key, member in value.items()}
    if is_list(value):
        return [_without_numbers(element) for element in value]
    return 0 if isinstance(value, int | float) and not isinstance(value, bool) else value


_EQUAL: Mapping[str, Callable[[JsonValue, JsonValue], bool]] = {
    "unordered": _same_elements,
    "policy": same_policy,
    "json": same_document,
    "numbers": _same_but_for_numbers,
}
