"""What would follow a merge, and what would hold that: asked of the clerk as if the plan were of the branch.

The same questions as for a deploy: what the stack's course is, windows, guards, conditions, and own rules in
Rego. Nothing is proposed, noted or applied by asking.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from driftwatch.model import (
    DRIFTWATCH,
    FindingStatus,
    Proposal,
    ProposalDraft,
    ProposalKind,
    ProposalState,
    StoredFinding,
)
from driftwatch.policy.course import Then, suggested

if TYPE_CHECKING:
    from datetime import datetime

    from driftwatch.model import Finding, StackId
    from driftwatch.pipeline.admissions import Clerk
    from driftwatch.pipeline.inventory import Subject
    from driftwatch.pipeline.rehearsal import Rehearsal
    from driftwatch.policy.admission import Held
    from driftwatch.policy.course import Course, Suggestion

OWN_RULES = ("condition_not_met", "opa_")
"""How the reasons begin that one's own rules give: they hold people too, so nobody could deploy the merge."""

_FOLLOWS = {
    Then.NOTIFY: "It is told, and nothing is applied.",
    Then.ADOPT: "It is told, and nothing is applied.",
    Then.PROPOSE: "It is proposed to people, who decide.",
    Then.APPLY: "It is applied by itself, as soon as it may be.",
}
_OF_PEOPLE = frozenset({"not_approved", "not_automatic"})
"""What always holds until somebody decides: said once, in what follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What follows in a sentence, what would hold it, and whether a rule of one's own is among that."""

    after: str
    held: tuple[Held, ...] = ()

    @property
    def denied(self) -> bool:
        return any(each.reason.startswith(OWN_RULES) for each in self.held)


class _AsMerged:
    """The records, as they would be once the plan's findings were found."""

    def __init__(self, book: object, found: tuple[StoredFinding, ...]) -> None:
        self._book, self._found = book, found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._book, name)

    def findings_of(self, _stack: StackId) -> tuple[StoredFinding, ...]:
        return self._found

    def finding_events(self, _id: int) -> tuple[()]:
        return ()


def outlook(clerk: Clerk, subject: Subject, rehearsal: Rehearsal, *, protected: bool) -> Outlook:
    """Asks for one stack. `protected` is whether the change touches a path that needs people."""
    if rehearsal.facts.is_empty:
        return Outlook(after="There is nothing to apply.")
    at = clerk.clock()
    suggestion = _deploy(clerk, subject, rehearsal)
    course = suggestion.course if suggestion else None
    alone = course is not None and course.then is Then.APPLY and clerk.settings.automatic and not protected
    findings = suggestion.findings if suggestion else ()
    proposal = _proposal(subject, rehearsal, findings, automatic=alone, at=at)
    records = cast("Any", _AsMerged(clerk.book, tuple(_stored(each, subject.stack, at) for each in findings)))
    asked = replace(clerk, book=records, course=lambda _proposal, _subject: course)
    held = [each for each in asked.explain(proposal, subject) if each.reason not in _OF_PEOPLE]
    status = clerk.book.status_of(subject.stack, at)
    if status is None or status.last_good_at is None:  # a new stack: its first check follows the merge
        held = [each for each in held if not each.reason.startswith("detector_")]
    denial = clerk.opa(proposal, subject, rehearsal) if clerk.opa else None
    return Outlook(
        after=_after(course, alone=alone, protected=protected),
        held=(*held, *([denial] if denial else [])),
    )


def _deploy(clerk: Clerk, subject: Subject, rehearsal: Rehearsal) -> Suggestion | None:
    options = subject.options
    found = suggested(
        [each for each in rehearsal.reading.findings if each.counted],
        stack=str(subject.stack),
        labels=options.labels,
        on_drift=options.on_drift,
        on_commit=options.on_commit,
        rules=clerk.settings.courses,
    )
    return next((each for each in found if each.kind is ProposalKind.DEPLOY), None)


def _after(course: Course | None, *, alone: bool, protected: bool) -> str:
    if course is None:
        return "What differs is not this change's doing: nothing follows from the merge."
    if course.then is Then.APPLY and not alone:
        why = "It changes a protected path." if protected else "`repair.automatic` is false."
        return f"{_FOLLOWS[Then.PROPOSE]} {course.sentence} {why}"
    return f"{_FOLLOWS[course.then]} {course.sentence}"


def _proposal(
    subject: Subject,
    rehearsal: Rehearsal,
    findings: tuple[Finding, ...],
    *,
    automatic: bool,
    at: datetime,
) -> Proposal:
    fingerprints = tuple(sorted(each.fingerprint for each in findings))
    draft = ProposalDraft(
        stack=subject.stack,
        kind=ProposalKind.DEPLOY,
        commit=subject.commit,
        digest=rehearsal.digest_for(fingerprints),
        findings=fingerprints,
        addresses=tuple(sorted(each.address for each in findings)),
        summary=rehearsal.summary,
        reason="as if it were merged",
        created_by=DRIFTWATCH,
        created_at=at,
        expires_at=None,
        automatic=automatic,
    )
    return Proposal(id=0, state=ProposalState.PROPOSED, draft=draft)


def _stored(finding: Finding, stack: StackId, at: datetime) -> StoredFinding:
    return StoredFinding(
        id=0,
        stack=stack,
        status=FindingStatus.OPEN,
        first_seen=at,
        last_seen=at,
        opened_at=at,
        finding=finding,
    )
