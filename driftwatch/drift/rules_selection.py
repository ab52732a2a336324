"""What a rule is about: which findings it selects, and which of their attributes.

The same for rules of all sorts. A selector that a rule does not have selects everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from driftwatch.config.patterns import is_among, matches_pointer, matches_text
from driftwatch.drift.rules_conditions import holds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date

    from driftwatch.config.rules import Rule
    from driftwatch.model import AttributeChange, Finding


_MOST_TYPES = 4096
"""How many types are remembered: more than all providers of a large fleet have together."""


class _Typed(Protocol):
    @property
    def type(self) -> tuple[str, ...]: ...


R = TypeVar("R", bound=_Typed)


class ByType(Generic[R]):
    """Rules, found by the type of a finding. Most are about a few types, and many findings have one."""

    def __init__(self, rules: Iterable[R]) -> None:
        self._rules = tuple(rules)
        self._known: dict[str, tuple[R, ...]] = {}

    def __iter__(self) -> Iterator[R]:
        return iter(self._rules)

    def of(self, type_: str) -> tuple[R, ...]:
        """Those that may be about such a resource, in their order."""
        found = self._known.get(type_)
        if found is None:
            if len(self._known) >= _MOST_TYPES:
                self._known.clear()
            found = self._known[type_] = tuple(rule for rule in self._rules if _any(rule.type, type_))
        return found


def is_in_force(rule: Rule, today: date | None) -> bool:
    """False after the rule's last day; without a day, every rule is."""
    return today is None or rule.expires is None or today <= rule.expires


def selects(rule: Rule, finding: Finding, stack: str) -> bool:
    """Whether a rule, found by type, is about this resource of this stack."""
    return _any(rule.address, finding.address) and (not rule.stacks or is_among(stack, rule.stacks))


def names(rule: Rule, attribute: AttributeChange, finding: Finding) -> bool:
    """Whether a rule that selects the finding is about this attribute with its values."""
    return points_at(rule.attribute, attribute) and holds(rule.when, attribute, finding)


def names_whole(rule: Rule) -> bool:
    """Whether a rule that selects a finding is about it as a whole, and not about some attribute."""
    return not rule.attribute and rule.when is None


def points_at(pointers: Sequence[str], attribute: AttributeChange) -> bool:
    """Whether any of the pointers names the attribute or something above it; none at all names all."""
    return not pointers or any(matches_pointer(pointer, attribute.path) for pointer in pointers)


def _any(globs: Sequence[str], text: str) -> bool:
    return not globs or any(matches_text(glob, text) for glob in globs)
