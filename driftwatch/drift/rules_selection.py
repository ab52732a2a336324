"""What a rule is about: which findings it selects, and which of their attributes.

The same for rules of all sorts. A selector that a rule does not have selects everything.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from driftwatch.config.patterns import matches_pointer, matches_text
from driftwatch.drift.rules_conditions import holds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from driftwatch.config.rules import Rule
    from driftwatch.model import AttributeChange, Finding


def is_in_force(rule: Rule, today: date | None) -> bool:
    """False after the rule's last day; without a day, every rule is."""
    return today is None or rule.expires is None or today <= rule.expires


def selects(rule: Rule, finding: Finding, stack: str) -> bool:
    """Whether the rule is about this resource of this stack."""
    return (
        _any(rule.type, finding.type)
        and _any(rule.address, finding.address)
        and (not rule.stacks or any(stack == glob or fnmatchcase(stack, glob) for glob in rule.stacks))
    )


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
