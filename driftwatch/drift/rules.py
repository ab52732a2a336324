"""What the rules make of findings: what stays untold, what counts in spite of it, and how much it matters.

Applied to the findings of each reading of a plan, new or recorded, so that a rule that was written, taken out
or has expired acts at once. `classify` has already said what is noise by the plan alone; the rules go on from
there, attribute by attribute:

1. A **watch** rule that fits makes the attribute count, whatever else fits.
2. Else an **ignore** rule, else a shipped **noise** rule that fits makes it noise.
3. What no rule fits stays as it was.

A finding counts while anything in it does. Rules act on attributes of resources that stay (`modified`) and of
outputs; so none can hide that a resource is deleted, replaced, created or destroyed, or that a check fails.
A watch rule that names no attribute also counts a finding that has none. Then each finding is graded anew
(see `driftwatch.drift.severity`).

The order of the rules means nothing: of several that fit, the one whose id comes first is named.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeVar

from driftwatch.drift.classify import verdict_of
from driftwatch.drift.fingerprint import fingerprint_of
from driftwatch.drift.rules_noise import NoiseAt, noise_rules
from driftwatch.drift.rules_selection import ByType, is_in_force, names, names_whole, selects
from driftwatch.drift.severity import Scale
from driftwatch.drift.values import same
from driftwatch.model import AttributeChange, Cause, Finding, FindingKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date, datetime

    from driftwatch.config.rule_files import Shipped
    from driftwatch.config.rules import IgnoreRule, Rule, RulesSettings, WatchRule
    from driftwatch.drift.reading import Reading
    from driftwatch.model import StackId

    R = TypeVar("R", bound=Rule)

_HIDEABLE = frozenset({FindingKind.MODIFIED, FindingKind.OUTPUT})
"""Kinds whose attributes may become noise: what is there and stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Governed:
    """Findings after the rules, in the order they came. `used` are the ids of rules that fitted anything."""

    findings: tuple[Finding, ...]
    used: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """One rule that fits one finding, at an attribute or (path None) as a whole, and what it does there.

    `idle` is one that changes nothing by itself: the attribute was noise before, or counted before.
    """

    rule: str
    path: str | None
    effect: Literal["hides", "counts", "grades", "idle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """All rules in force, compiled once; `Rules.compile` makes them."""

    noise: ByType[NoiseAt]
    ignore: ByType[IgnoreRule]
    watch: ByType[WatchRule]
    scale: Scale

    @classmethod
    def compile(cls, settings: RulesSettings, shipped: Shipped) -> Rules:
        """The rules of a configuration, beside the shipped ones."""
        return cls(
            noise=ByType(noise_rules(shipped.noise, settings.noise)),
            ignore=ByType(sorted(settings.ignore, key=lambda rule: rule.id)),
            watch=ByType(sorted(settings.watch, key=lambda rule: rule.id)),
            scale=Scale.of(shipped.severity, settings.severity),
        )

    def apply(self, findings: tuple[Finding, ...], *, stack: StackId, now: datetime) -> Governed:
        """The findings as the rules have them; applying again changes nothing.

        `now` says which rules have expired. The verdict is to be made anew from what comes out.
        """
        done = [self._govern(finding, str(stack), now.date()) for finding in findings]
        return Governed(
            findings=tuple(finding for finding, _ in done),
            used=frozenset().union(*(used for _, used in done)),
        )

    def govern(self, reading: Reading, *, stack: StackId, now: datetime) -> Reading:
        """The same reading as these rules would have it, its verdict too."""
        findings = self.apply(reading.findings, stack=stack, now=now).findings
        return replace(reading, findings=findings, verdict=verdict_of(findings))

    def fits(self, finding: Finding, *, stack: StackId, today: date | None) -> Iterator[Fit]:
        """Every rule that fits a finding, whether or not it decides; without a day, expired ones too.

        May be asked of a finding that rules were applied to: what this rule did then is what it does.
        """
        watching, ignoring = self._selected(finding, str(stack), today)
        for attribute in finding.attributes:
            noise = attribute.cause is Cause.NOISE
            for id_ in _naming(watching, attribute, finding):
                raised = noise or attribute.rule == id_
                yield Fit(rule=id_, path=attribute.path, effect="counts" if raised else "idle")
            for id_ in self._hiding(ignoring, attribute, finding):
                hidden = not noise or attribute.rule == id_
                yield Fit(rule=id_, path=attribute.path, effect="hides" if hidden else "idle")
        for rule in watching if not finding.attributes else ():
            if names_whole(rule):
                yield Fit(rule=rule.id, path=None, effect="idle" if finding.counted else "counts")
        for id_, part in self.scale.fits(finding, stack=str(stack), today=today):
            yield Fit(rule=id_, path=None if part is None else part.path, effect="grades")

    def _govern(self, finding: Finding, stack: str, today: date) -> tuple[Finding, frozenset[str]]:
        watching, ignoring = self._selected(finding, stack, today)
        attributes, used = list[AttributeChange](), set[str]()
        for attribute in finding.attributes:
            counting = tuple(_naming(watching, attribute, finding))
            hiding = tuple(self._hiding(ignoring, attribute, finding))
            attributes.append(_decided(attribute, counting, hiding))
            used.update(counting, hiding)
        whole = _causes_of_whole(finding)
        if not finding.attributes and any(names_whole(rule) for rule in watching):
            whole = whole or {Cause.OUT_OF_BAND}
            used.update(rule.id for rule in watching if names_whole(rule))
        governed = _with(finding, tuple(attributes), whole)
        grade = self.scale.grade(governed, stack=stack, today=today)
        return replace(governed, severity=grade.severity, rule=grade.rule), grade.used | used

    def _selected(
        self, finding: Finding, stack: str, today: date | None
    ) -> tuple[tuple[WatchRule, ...], tuple[IgnoreRule, ...]]:
        """The watch and the ignore rules that may act on this finding."""
        watch, ignore = self.watch.of(finding.type), self.ignore.of(finding.type)
        hiding = ignore if finding.kind in _HIDEABLE else ()
        return _acting(watch, finding, stack, today), _acting(hiding, finding, stack, today)

    def _hiding(
        self, ignoring: tuple[IgnoreRule, ...], attribute: AttributeChange, finding: Finding
    ) -> Iterator[str]:
        """One's own rules first: they have a reason and an owner."""
        yield from _naming(ignoring, attribute, finding)
        if finding.kind in _HIDEABLE:
            yield from (rule.id for rule in self.noise.of(finding.type) if rule.fits(attribute))


def _acting(rules: tuple[R, ...], finding: Finding, stack: str, today: date | None) -> tuple[R, ...]:
    return tuple(rule for rule in rules if is_in_force(rule, today) and selects(rule, finding, stack))


def _naming(rules: Sequence[Rule], attribute: AttributeChange, finding: Finding) -> Iterator[str]:
    return (rule.id for rule in rules if names(rule, attribute, finding))


def _decided(
    attribute: AttributeChange, counting: tuple[str, ...], hiding: tuple[str, ...]
) -> AttributeChange:
    """What becomes of an attribute. One that reading the plan has made noise keeps no name of a rule."""
    is_noise = attribute.cause is Cause.NOISE
    if counting:
        if not is_noise and not hiding:
            return attribute
        cause = _cause_unhidden(attribute) if is_noise else attribute.cause
        return replace(attribute, cause=cause, rule=counting[0])
    if hiding and not is_noise:
        return replace(attribute, cause=Cause.NOISE, also=None, rule=hiding[0])
    return attribute


def _cause_unhidden(attribute: AttributeChange) -> Cause:
    """Noise is most often what moved in the cloud and what the code leaves to it."""
    moved = not same(attribute.before, attribute.actual)
    return Cause.OUT_OF_BAND if moved else Cause.UNDETERMINED


def _causes_of_whole(finding: Finding) -> set[Cause]:
    """The causes that no attribute explains: those of a resource that is gone, say."""
    return set(finding.causes) - {Cause.NOISE, *_causes_of(finding.attributes)}


def _causes_of(attributes: Iterable[AttributeChange]) -> Iterator[Cause]:
    for attribute in attributes:
        yield attribute.cause
        if attribute.also is not None:
            yield attribute.also


def _with(finding: Finding, attributes: tuple[AttributeChange, ...], whole: set[Cause]) -> Finding:
    """The finding with what became of its attributes; the fingerprint is new only where a cause is."""
    telling = {*whole, *_causes_of(attributes)} - {Cause.NOISE}
    causes = tuple(cause for cause in Cause if cause in telling) or (Cause.NOISE,)
    if attributes == finding.attributes and causes == finding.causes:
        return finding
    fingerprint = fingerprint_of(
        address=finding.address, kind=finding.kind, attributes=attributes, counted=bool(telling)
    )
    return replace(
        finding, attributes=attributes, causes=causes, counted=bool(telling), fingerprint=fingerprint
    )
