"""Admissions: everything that the one decision about an apply depends on, read at one moment.

    read what is known → `driftwatch.policy.admission.admit` → the answer

Asked twice for each apply: before a plan is made, with the plan that was proposed, and right before terraform
starts, with the plan that it is started on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from glob import escape
from math import ceil
from typing import TYPE_CHECKING, Any, Protocol

from driftwatch.model import FindingEventKind, ProposalState
from driftwatch.pipeline.subjects import apply_environment_of
from driftwatch.policy.admission import Actor, Detector, Held, Request, Statement, admit, reasons
from driftwatch.policy.admission import Lock as StackLock
from driftwatch.policy.guards import Facts, PlanFacts, PlannedResource, Repaired

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from driftwatch.config.repair import RepairSettings
    from driftwatch.config.rule_files import Shipped
    from driftwatch.config.rules import RulesSettings
    from driftwatch.model import (
        Decision,
        Pin,
        Proposal,
        StackId,
        StackStatus,
        StoredFinding,
        Suspension,
    )
    from driftwatch.pipeline.check import Workshop
    from driftwatch.pipeline.inventory import Subject
    from driftwatch.pipeline.rehearsal import Rehearsal
    from driftwatch.policy.admission import Admission
    from driftwatch.policy.course import Course
    from driftwatch.policy.rights import People
    from driftwatch.policy.windows import Ruling, Windows
    from driftwatch.store import FindingEvent, Page

USUAL_SECONDS = 600.0
"""How long an apply is taken to last of which none was seen yet."""

MONTH = timedelta(days=31)
"""So far ahead it is looked for the next opening."""

EARLIER_APPLIES = 50
"""How many of a stack's applies are looked at for one that failed: by then its commit is long another."""

OVERRIDE = "+override"
MASS_DELETION = "+mass_deletion"
"""Behind the way by which somebody decided: they meant it in spite of a window, or of a mass deletion."""


class Options(Protocol):
    """What is configured of a stack, as far as admission asks."""

    @property
    def labels(self) -> Mapping[str, str]: ...


class Governed(Protocol):
    """A stack, as far as admission asks."""

    @property
    def stack(self) -> StackId: ...

    @property
    def options(self) -> Options: ...


class Records(Protocol):
    """What is known of suspensions, pins, findings and earlier applies."""

    def suspensions(self, at: datetime) -> Sequence[Suspension]: ...

    def pins(self) -> Mapping[StackId, Pin]: ...

    def findings_of(self, stack: StackId) -> Sequence[StoredFinding]: ...

    def status_of(self, stack: StackId, now: datetime) -> StackStatus | None: ...

    def mass_deletion_of(self, stack: StackId) -> str | None: ...

    def finding_events(self, id: int) -> Sequence[FindingEvent]: ...  # noqa: A002  (the seam's)


class History(Protocol):
    """What came of earlier applies."""

    def recent_applies(self, since: datetime) -> Mapping[ProposalState, int]: ...

    def applied_stacks(self, since: datetime) -> set[StackId]: ...

    def returns(self, stack: StackId, identity: str, since: datetime) -> int: ...

    def apply_seconds(self, stack: StackId) -> Sequence[float]: ...

    def applies(self, *, stack: str, limit: int) -> Page[Proposal]:
        """Proposals that had a run, the newest first, of the stacks that a glob matches."""


class Book(Records, History, Protocol):
    """The store, as admission sees it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clerk:
    """Gathers what admission needs, and asks it."""

    book: Book
    workshop: Workshop
    windows: Windows
    people: People
    settings: RepairSettings
    ignoring: frozenset[str]
    """The ids of the rules that hide what an apply would change (see `hiding`)."""
    course: Callable[[Proposal, Any], Course | None]
    allowed_age: Callable[[StackId], timedelta]
    clock: Callable[[], datetime]
    opa: Callable[[Proposal, Subject, Rehearsal], Held | None] | None = None
    """Rules of one's own over a plan, beside the conditions. They can hold, and never admit."""

    def before_plan(self, proposal: Proposal, subject: Governed) -> Admission:
        """Whether it is worth while to plan: as if the plan came to what was proposed."""
        facts = self._as_proposed(proposal, subject)
        return self._ask(proposal, subject, facts, digest=proposal.draft.digest, starting=False)

    def explain(self, proposal: Proposal, subject: Governed) -> tuple[Held, ...]:
        """All that would hold it now, as if the plan came to what was proposed."""
        facts = self._as_proposed(proposal, subject)
        digest = proposal.draft.digest
        request, ruling = self._request(proposal, subject, facts, digest=digest, starting=False)
        return reasons(request, ruling=ruling, settings=self.settings, people=self.people)

    def _as_proposed(self, proposal: Proposal, subject: Governed) -> Facts:
        summary = proposal.draft.summary
        plan = PlanFacts(
            changes=tuple(
                PlannedResource(
                    address=each.address,
                    type=each.type,
                    actions=("no-op",) if each.is_of_state else each.actions,
                    attributes=each.attributes,
                    importing=each.actions == ("import",),
                    moved=each.actions == ("move",),
                )
                for each in summary.changes
            ),
            outputs=summary.outputs,
            known=summary.total,
            mass_deletion=None,
            complete=True,
        )
        return self._facts(proposal, subject, plan, following=frozenset(summary.outputs), ignored={})

    def before_apply(
        self, proposal: Proposal, subject: Subject, rehearsal: Rehearsal, *, in_review: str | None = None
    ) -> Admission:
        """Whether just this plan may be applied now; the stack is ours.

        `in_review` is a sentence where an earlier apply left something for a person to look at.
        """

        def ask() -> Admission:
            found = [each.finding for each in self._repaired(proposal)]
            facts = self._facts(
                proposal,
                subject,
                rehearsal.facts,
                following=rehearsal.following(found),
                ignored=rehearsal.ignored(self.ignoring),
            )
            digest = rehearsal.digest_for(proposal.draft.findings)
            mass = rehearsal.reading.mass_deletion
            return self._ask(
                proposal,
                subject,
                facts,
                digest=digest,
                starting=True,
                mass_deletion=mass,
                in_review=in_review,
            )

        admission = ask()
        if self.opa is None or isinstance(admission, Held):
            return admission
        # The rest is asked once more: the rules may have taken so long that a window has closed meanwhile.
        return self.opa(proposal, subject, rehearsal) or ask()

    def expect_identity(self, subject: Subject) -> None:
        """Raises IdentityMismatchError where what an apply is given is another account's."""
        if account := subject.options.identity.aws_account:
            environment = {**self.workshop.inherited, **apply_environment_of(subject)}
            self.workshop.identities.expect(environment, account)

    def _ask(
        self,
        proposal: Proposal,
        subject: Governed,
        facts: Facts,
        *,
        digest: str,
        starting: bool,
        mass_deletion: str | None = None,
        in_review: str | None = None,
    ) -> Admission:
        request, ruling = self._request(
            proposal,
            subject,
            facts,
            digest=digest,
            starting=starting,
            mass_deletion=mass_deletion,
            in_review=in_review,
        )
        return admit(request, ruling=ruling, settings=self.settings, people=self.people)

    def _request(
        self,
        proposal: Proposal,
        subject: Governed,
        facts: Facts,
        *,
        digest: str,
        starting: bool,
        mass_deletion: str | None = None,
        in_review: str | None = None,
    ) -> tuple[Request, Ruling]:
        at, stack = facts.at, subject.stack
        expected = self._expected(stack)
        status = self.book.status_of(stack, at)
        request = Request(
            proposal=_as_decided(proposal),
            at=at,
            automatic=facts.automatic,
            starting=starting,
            by=None,
            suspensions=tuple(self.book.suspensions(at)),
            pin=self.book.pins().get(stack),
            in_review=in_review,
            detector=Detector(
                health=status.health if status else None,
                last_good_at=status.last_good_at if status else None,
                allowed_age=self.allowed_age(stack),
                # Each good check, and each apply before it plans, has made sure of it.
                identity=True,
                mass_deletion=mass_deletion or self.book.mass_deletion_of(stack),
            ),
            facts=facts,
            expected=expected,
            digest=digest,
            lock=StackLock.OURS if starting else StackLock.FREE,
            override=self._statement(proposal, OVERRIDE, at),
            acknowledged=self._statement(proposal, MASS_DELETION, at),
        )
        return request, self.windows.rule(str(stack), subject.options.labels, at, needs=expected)

    def _statement(self, proposal: Proposal, mark: str, at: datetime) -> Statement | None:
        """What somebody said in spite of something, the latest of it; it holds as long as their approval."""
        lasts = self.settings.approvals.expire
        said = [
            each
            for each in proposal.decisions
            if mark in each.via
            and each.approves
            and each.digest == proposal.draft.digest
            and at < each.at + lasts
        ]
        if not said:
            return None
        last = max(said, key=lambda each: each.at)
        return Statement(by=Actor(name=last.by, via=_way(last)), reason=last.reason or "")

    def _facts(
        self,
        proposal: Proposal,
        subject: Governed,
        plan: PlanFacts,
        *,
        following: frozenset[str],
        ignored: Mapping[str, frozenset[str]],
    ) -> Facts:
        at, guards, draft = self.clock(), self.settings.guards, proposal.draft
        since = at - guards.returns_within
        ended = self.book.recent_applies(at - guards.breaker_within)
        return Facts(
            stack=draft.stack,
            labels=subject.options.labels,
            kind=draft.kind,
            automatic=is_automatic(proposal),
            at=at,
            course=self.course(proposal, subject),
            plan=plan,
            findings=tuple(
                Repaired.of(
                    each,
                    draft.kind,
                    returns=self.book.returns(draft.stack, each.finding.identity, since),
                    changed_at=self._changed_at(each),
                )
                for each in self._repaired(proposal)
            ),
            following=following,
            ignored=ignored,
            applied=self.book.applied_stacks(self._opened_at(subject, at)),
            failures=sum(ended.values()),
            failed_before=self._failed_before(proposal),
            opens_next=self._opens_next(subject, at),
            repaired_by=self._repaired_by(proposal, since),
        )

    def _repaired(self, proposal: Proposal) -> list[StoredFinding]:
        """The findings that it would close, as they are now."""
        wanted = set(proposal.draft.findings)
        return [
            found
            for found in self.book.findings_of(proposal.draft.stack)
            if found.finding.fingerprint in wanted
        ]

    def _changed_at(self, found: StoredFinding) -> datetime | None:
        """When it last came to be something else: somebody is at work then, however long it is open."""
        events = self.book.finding_events(found.id)
        return max((each.at for each in events if each.event is FindingEventKind.CHANGED), default=None)

    def _failed_before(self, proposal: Proposal) -> frozenset[str]:
        """What applies failed at, but for what a later one has repaired.

        At whatever commit: of another one nobody knows that it mended that.
        """
        draft = proposal.draft
        repaired: set[str] = set()
        failed: set[str] = set()
        for each in self.book.applies(stack=escape(str(draft.stack)), limit=EARLIER_APPLIES).items:
            if each.state is ProposalState.VERIFIED:
                repaired.update(each.draft.findings)
            elif each.state.ended_badly:
                failed.update(set(each.draft.findings) - repaired)
        return frozenset(failed)

    def _opened_at(self, subject: Governed, at: datetime) -> datetime:
        """When the window opened in which it is now; a day ago where it is in none, or longer open."""
        day = timedelta(days=1)
        openings = self.windows.openings(
            after=at - day, until=at + day, stack=str(subject.stack), labels=subject.options.labels
        )
        begun = [each.begins for each in openings if each.kind == "allow" and each.begins <= at < each.ends]
        return max(min(begun, default=at - day), at - day)

    def _repaired_by(self, proposal: Proposal, since: datetime) -> dict[str, list[int]]:
        """The proposals that were applied since a moment, by the addresses that they were about."""
        found: dict[str, list[int]] = {}
        for each in self.book.applies(stack=escape(str(proposal.draft.stack)), limit=EARLIER_APPLIES).items:
            if each.id != proposal.id and each.run is not None and each.run.started_at >= since:
                for address in each.draft.addresses:
                    found.setdefault(address, []).append(each.id)
        return found

    def _opens_next(self, subject: Governed, at: datetime) -> datetime | None:
        """When the next window opens, within a month."""
        openings = self.windows.openings(
            after=at, until=at + MONTH, stack=str(subject.stack), labels=subject.options.labels
        )
        return next((each.begins for each in openings if each.kind == "allow" and each.begins > at), None)

    def _expected(self, stack: StackId) -> timedelta:
        """As long as nineteen of twenty earlier applies took."""
        took = sorted(self.book.apply_seconds(stack))
        seconds = took[ceil(len(took) * 0.95) - 1] if took else USUAL_SECONDS
        return timedelta(seconds=seconds)


def hiding(own: RulesSettings, known: Shipped) -> frozenset[str]:
    """The ids of the rules that hide what an apply would change: one's own, and those that one switched on.

    The other shipped ones hide what is the same, said otherwise.
    """
    switched = (f"noise:{rule.id}" for rule in known.noise.rules if rule.switch is not None)
    return frozenset((*(rule.id for rule in own.ignore), *switched))


def is_automatic(proposal: Proposal) -> bool:
    """Whether no person stands behind it: one that somebody approved is theirs, however it began."""
    return proposal.draft.automatic and not proposal.approvers


def _as_decided(proposal: Proposal) -> Proposal:
    """With the ways by which people decided as admission knows them."""
    return replace(proposal, decisions=tuple(replace(each, via=_way(each)) for each in proposal.decisions))


def _way(decision: Decision) -> str:
    return decision.via.partition("+")[0]
