"""What follows a finding, and what is proposed for a stack.

    a finding → the first course that fits, else on_drift or on_commit → what is proposed for the stack

Pure. An apply does all that its plan says, so what is proposed for a stack is done for all of its findings or
for none: the most careful course among them counts. Where a stack has both drift and commits that are not
applied, putting the drift back would carry the commits along, and the other way round: nothing is then done
without a person, whatever the courses say. (The guard `only_findings` says the same of the plan itself.)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from driftwatch.config.patterns import is_among
from driftwatch.model import Cause, FindingKind, ProposalKind, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from driftwatch.config.repair import CourseSettings
    from driftwatch.model import Finding


class Then(StrEnum):
    """What follows, the most careful first."""

    NOTIFY = "notify"
    ADOPT = "adopt"
    """The code is brought to the cloud: whoever says so wants nothing put back."""
    PROPOSE = "propose"
    APPLY = "apply"

    @property
    def rank(self) -> int:
        return list(Then).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What follows, with a word for machines and a sentence that says why."""

    then: Then
    reason: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """What is to be proposed for a stack, if its course says so, and for which findings."""

    kind: ProposalKind
    course: Course
    findings: tuple[Finding, ...]


_WAITS_FOR_CODE = frozenset({Cause.UNAPPLIED_COMMIT, Cause.PROVIDER_UPGRADE, Cause.INPUT_CHANGE})
_CLEAR = _WAITS_FOR_CODE | {Cause.OUT_OF_BAND}
"""Causes that say which way an apply would go; of the others nobody knows what it would undo."""

_BEYOND_APPLY = frozenset({FindingKind.CHECK_FAILED, FindingKind.UNMANAGED})
"""No apply is for these: a check fails by what it looks at, and what is unmanaged is not in the code."""


def course_of(
    finding: Finding,
    *,
    stack: str,
    labels: Mapping[str, str],
    on_drift: str,
    on_commit: str,
    rules: Sequence[CourseSettings],
) -> Course:
    """What follows one finding of a stack, given by its id.

    Args:
        finding: as it is now.
        stack: the stack's id.
        labels: the stack's.
        on_drift: the stack's own word for what was changed by hand: notify, propose, apply or adopt.
        on_commit: that for all else: notify, propose or apply.
        rules: `repair.courses`, in their order.
    """
    if not finding.counted:
        return Course(then=Then.NOTIFY, reason="noise", sentence="It is noise, and nothing follows.")
    if finding.kind in _BEYOND_APPLY:
        sentence = "No apply is for a finding of this kind: a person has to look at it."
        return Course(then=Then.NOTIFY, reason="no_apply_helps", sentence=sentence)
    rule = next((each for each in rules if _fits(each, finding, stack, labels)), None)
    if rule is None:
        return _within_reason(_by_stack(finding, on_drift, on_commit), finding)
    place = rules.index(rule) + 1
    sentence = f"Course {place} of `repair.courses` says {rule.then}."
    return _within_reason(Course(then=Then(rule.then), reason="course", sentence=sentence), finding)


def suggested(
    findings: Iterable[Finding],
    *,
    stack: str,
    labels: Mapping[str, str],
    on_drift: str,
    on_commit: str,
    rules: Sequence[CourseSettings],
) -> tuple[Suggestion, ...]:
    """What is to be proposed for a stack: to revert what was changed by hand, to deploy what waits.

    `findings` are its open ones: what somebody accepted or snoozed is not to be repaired. One that is neither
    by hand nor by the code stands with what waits, and is never applied without a person.
    """
    wanted = [each for each in findings if each.counted and each.kind not in _BEYOND_APPLY]
    by_hand = tuple(each for each in wanted if Cause.OUT_OF_BAND in each.causes)
    waiting = tuple(each for each in wanted if set(each.causes) - {Cause.OUT_OF_BAND, Cause.NOISE})
    mixed = bool(by_hand and waiting)
    found = []
    for kind, group in ((ProposalKind.REVERT, by_hand), (ProposalKind.DEPLOY, waiting)):
        courses = [
            course_of(each, stack=stack, labels=labels, on_drift=on_drift, on_commit=on_commit, rules=rules)
            for each in group
        ]
        if courses:
            course = min(courses, key=lambda course: course.then.rank)
            found.append(Suggestion(kind=kind, course=_apart(course) if mixed else course, findings=group))
    return tuple(found)


def _by_stack(finding: Finding, on_drift: str, on_commit: str) -> Course:
    """The stack's own word; of both, where both have one to say or neither does, the more careful."""
    drift = Course(then=Then(on_drift), reason="on_drift", sentence=f"The stack's on_drift says {on_drift}.")
    commit = Course(
        then=Then(on_commit), reason="on_commit", sentence=f"The stack's on_commit says {on_commit}."
    )
    causes = set(finding.causes) - {Cause.NOISE}
    if causes == {Cause.OUT_OF_BAND}:
        return drift
    if causes <= _WAITS_FOR_CODE:
        return commit
    return min(drift, commit, key=lambda course: course.then.rank)


def _within_reason(course: Course, finding: Finding) -> Course:
    """A course that goes no further than the finding's causes bear."""
    causes = set(finding.causes) - {Cause.NOISE}
    if course.then is Then.ADOPT and causes != {Cause.OUT_OF_BAND}:
        sentence = "Only what was changed by hand can be adopted."
        return Course(then=Then.NOTIFY, reason="not_by_hand", sentence=sentence)
    if course.then is not Then.APPLY:
        return course
    if not causes or not causes <= _CLEAR:
        sentence = "It is not known what made the difference, so a person decides."
        return Course(then=Then.PROPOSE, reason="cause_unknown", sentence=sentence)
    if Cause.OUT_OF_BAND in causes and len(causes) > 1:
        return _apart(course)
    return course


def _apart(course: Course) -> Course:
    """What follows where somebody changed something by hand and the code waits as well."""
    if course.then is not Then.APPLY:
        return course
    sentence = (
        "The stack has drift and also changes in the code that are not applied. One apply would do both, "
        "so a person decides."
    )
    return Course(then=Then.PROPOSE, reason="mixed", sentence=sentence)


def _fits(rule: CourseSettings, finding: Finding, stack: str, labels: Mapping[str, str]) -> bool:
    return (
        is_among(stack, rule.stacks)
        and all(labels.get(key) == value for key, value in rule.labels.items())
        and (not rule.causes or set(finding.causes) - {Cause.NOISE} <= set(rule.causes))
        and (not rule.kinds or finding.kind in rule.kinds)
        and finding.severity.rank >= Severity(rule.severity).rank
    )
