"""How much a finding matters: rules as data, the highest that fits counts.

The shipped rules say what most people would; those of one's own stand beside them and only raise, unless
they `override`. A finding is graded by its parts, each attribute that tells something by itself, so that
labels weigh little and do not hide the open port beside them. A finding that is more than its attributes (a
resource that is gone or replaced) is graded as a whole too: there, only rules that name no attribute fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from driftwatch.drift.rules_selection import ByType, is_in_force, names, names_whole, selects
from driftwatch.model import Cause, Finding, FindingKind, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from driftwatch.config.rule_files import SeverityFile, ShippedSeverityRule
    from driftwatch.config.rules import SeverityRule
    from driftwatch.model import AttributeChange

    Part: TypeAlias = AttributeChange | None
    """An attribute, or None for the finding as a whole."""

    R = TypeVar("R", bound=SeverityRule)

_STAYS = frozenset({FindingKind.MODIFIED, FindingKind.OUTPUT})
"""Kinds that are the sum of their attributes."""


@dataclass(frozen=True, slots=True)
class Weight:
    """A severity and the rule that says so; "" is what the kind alone is worth."""

    severity: Severity
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """What a finding is worth, the rule that says so (None: its kind), and all rules that fit."""

    severity: Severity
    rule: str | None
    used: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The shipped rules and one's own."""

    kinds: Mapping[FindingKind, Severity]
    sensitive: Severity
    shipped: ByType[ShippedSeverityRule]
    own: ByType[SeverityRule]

    @classmethod
    def of(cls, file: SeverityFile, own: Sequence[SeverityRule] = ()) -> Scale:
        """A scale from the shipped file and the rules of a configuration."""
        return cls(
            kinds={FindingKind(kind): Severity(grade) for kind, grade in file.kinds.items()},
            sensitive=Severity(file.sensitive),
            shipped=ByType(file.rules),
            own=ByType(own),
        )

    def grade(self, finding: Finding, *, stack: str, today: date | None) -> Grade:
        """The severity of a finding; one that does not count weighs nothing."""
        if not finding.counted:
            return Grade(severity=Severity.INFO, rule=None, used=frozenset())
        shipped = _selected(self.shipped.of(finding.type), finding, stack, today)
        own = _selected(self.own.of(finding.type), finding, stack, today)
        weighed = [self._weigh(part, finding, shipped, own) for part in _parts(finding)]
        heaviest = _heaviest(weight for weight, _ in weighed)
        return Grade(
            severity=heaviest.severity,
            rule=heaviest.rule or None,
            used=frozenset().union(*(used for _, used in weighed)),
        )

    def fits(self, finding: Finding, *, stack: str, today: date | None) -> Iterator[tuple[str, Part]]:
        """Every rule that fits a part of a finding that counts, whether or not it decides."""
        shipped = _selected(self.shipped.of(finding.type), finding, stack, today)
        own = _selected(self.own.of(finding.type), finding, stack, today)
        for part in _parts(finding) if finding.counted else ():
            yield from ((_shipped_id(rule), part) for rule in shipped if _fits(rule, part, finding))
            yield from ((rule.id, part) for rule in own if _fits(rule, part, finding))

    def _weigh(
        self,
        part: Part,
        finding: Finding,
        shipped: Sequence[ShippedSeverityRule],
        own: Sequence[SeverityRule],
    ) -> tuple[Weight, frozenset[str]]:
        """Overriding rules stand in the place of the others of their own origin and of those before it."""
        theirs = [rule for rule in shipped if _fits(rule, part, finding)]
        ours = [rule for rule in own if _fits(rule, part, finding)]
        overriding = [rule for rule in theirs if rule.override]
        weights = [_weight(rule, _shipped_id(rule)) for rule in overriding or theirs]
        if not overriding:
            weights.append(self._bare(part, finding))
        if any(rule.override for rule in ours):
            weights = []
        weights += [_weight(rule, rule.id) for rule in ours]
        used = frozenset({*(_shipped_id(rule) for rule in theirs), *(rule.id for rule in ours)})
        return _heaviest(weights), used

    def _bare(self, part: Part, finding: Finding) -> Weight:
        """What a part is worth where no rule fits."""
        bare = Weight(self.kinds[finding.kind], "")
        if part is None or not part.sensitive:
            return bare
        return _heaviest((bare, Weight(self.sensitive, "")))


def severity_of(
    *, kind: FindingKind, type_: str, action: str, attributes: Iterable[AttributeChange], counted: bool
) -> Severity:
    """The severity that the shipped rules alone give; those of one's own come after (see `rules`)."""
    attributes = tuple(attributes)
    finding = Finding(
        address="",  # no shipped rule names one
        type=type_,
        kind=kind,
        action=action,
        causes=tuple({attribute.cause for attribute in attributes}),
        severity=Severity.INFO,
        fingerprint="",
        counted=counted,
        attributes=attributes,
    )
    return _shipped_scale().grade(finding, stack="", today=None).severity


@lru_cache(maxsize=1)
def _shipped_scale() -> Scale:
    from driftwatch.config.rule_files import shipped  # reads files that are a part of the program

    return Scale.of(shipped().severity)


def _selected(rules: Iterable[R], finding: Finding, stack: str, today: date | None) -> tuple[R, ...]:
    return tuple(rule for rule in rules if is_in_force(rule, today) and _selects(rule, finding, stack))


def _parts(finding: Finding) -> tuple[Part, ...]:
    telling: tuple[Part, ...] = tuple(
        attribute for attribute in finding.attributes if attribute.cause is not Cause.NOISE
    )
    return telling if telling and finding.kind in _STAYS else (None, *telling)


def _selects(rule: SeverityRule, finding: Finding, stack: str) -> bool:
    actions = getattr(rule, "actions", ())
    return (
        (not rule.kinds or finding.kind in rule.kinds)
        and (not actions or finding.action in actions)
        and selects(rule, finding, stack)
    )


def _fits(rule: SeverityRule, part: Part, finding: Finding) -> bool:
    if part is None:
        caused = not rule.causes or bool(set(rule.causes) & set(finding.causes))
        return caused and names_whole(rule) and rule.sensitive is None
    return (
        (not rule.causes or part.cause in rule.causes)
        and rule.sensitive in (None, part.sensitive)
        and names(rule, part, finding)
    )


def _weight(rule: SeverityRule, name: str) -> Weight:
    return Weight(Severity(rule.severity), name)


def _heaviest(weights: Iterable[Weight]) -> Weight:
    """Of several that weigh the same, the one whose rule comes first in the alphabet, its kind before all."""
    return min(weights, key=lambda weight: (-weight.severity.rank, weight.rule))


def _shipped_id(rule: ShippedSeverityRule) -> str:
    return f"severity:{rule.id}"
