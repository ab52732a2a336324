"""Propose: from open findings, or a person's wish, to a proposal that people can decide on.

    what follows these findings? → plan → read → bind → write → tell

Level-triggered: a look takes only the identity of a stack and reads where it stands, so that a look too many
does nothing. The plan that is made here is only read; the one that is applied is made later, under the state
lock, and must come to the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from glob import escape
from typing import TYPE_CHECKING, Protocol

from driftwatch import log
from driftwatch.config.globs import covers
from driftwatch.errors import DriftwatchError, NotMergedError, RepositoryError, UnitUnsupportedError
from driftwatch.model import (
    DRIFTWATCH,
    Proposal,
    ProposalDraft,
    ProposalKind,
    ProposalState,
    Trigger,
)
from driftwatch.pipeline.rehearsal import rehearse
from driftwatch.pipeline.subjects import plan_request, subject_of
from driftwatch.policy.course import Then, suggested
from driftwatch.policy.guards import named

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from driftwatch.config.repair import RepairSettings
    from driftwatch.drift import Digester
    from driftwatch.model import Commit, Finding, PlanSummary, StackId, StoredFinding, Wish
    from driftwatch.pipeline.check import Workshop
    from driftwatch.pipeline.inventory import Subject
    from driftwatch.pipeline.ports import Planner
    from driftwatch.pipeline.rehearsal import Rehearsal
    from driftwatch.policy.course import Course, Suggestion
    from driftwatch.store import Page
    from driftwatch.terraform import Planned

DECIDE_WITHIN = timedelta(days=7)
"""How long a proposal waits for people. A week: whoever is on holiday has somebody who is not."""

STEADY = timedelta(hours=1)
"""An automatic proposal that was void sooner is not proposed as one again: something under it is moving."""

EARLIER = 50
"""How many earlier proposals of a stack are looked at for a "no", or a bad end."""

MOST_DEPLOYED = 500
"""How many applied proposals of a stack are looked at for its last deploy: reverts stand between."""

logger = log.get("propose")


class Book(Protocol):
    """Where findings and proposals are kept."""

    def findings_of(self, stack: StackId) -> Sequence[StoredFinding]:
        """Those of a stack that are not resolved."""

    def latest_proposals(self, stack: StackId) -> Sequence[Proposal]:
        """The latest one of each kind."""

    def proposals(
        self, *, stack: str, states: Collection[ProposalState] | None = None, limit: int
    ) -> Page[Proposal]:
        """Those of the stacks that a glob matches, the newest first."""

    def proved(self, proposal: Proposal) -> object | None:
        """The first good check after its apply has ended."""

    def propose(self, draft: ProposalDraft) -> Proposal: ...

    def enqueue(self, stack: StackId, trigger: Trigger, *, requested_by: str | None, at: datetime) -> object:
        """Queues a check."""

    def tell_repair(self, proposal: int, *, said: str, at: datetime) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposer:
    """Makes proposals. `protected` are, by repository, the globs of paths of which a change needs people."""

    workshop: Workshop
    book: Book
    planner: Planner
    settings: RepairSettings
    digester: Digester
    clock: Callable[[], datetime]
    protected: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def due(self, stack: StackId) -> Suggestion | None:
        """What is to be proposed for a stack now, by its findings and their courses; None where nothing is.

        Looks only at what is written down. Raises UnknownStackError for a stack that is gone. For a unit of
        terragrunt nothing ever is, whatever the courses say: nobody here could apply it.
        """
        subject = subject_of(stack, self.workshop)
        if subject.options.engine == "terragrunt":
            return None
        latest = {each.draft.kind: each for each in self.book.latest_proposals(stack)}
        if any(self._is_unseen(each) for each in latest.values()):
            return None
        for suggestion in self._suggestions(subject):
            if suggestion.course.then in (Then.PROPOSE, Then.APPLY) and _is_news(
                suggestion, subject, latest.get(suggestion.kind)
            ):
                return suggestion
        return None

    def follow_up(self, stack: StackId, stop: threading.Event) -> Proposal | None:
        """Proposes what follows a stack's findings, where anything does. Raises as a plan does."""
        suggestion = self.due(stack)
        if suggestion is None:
            return None
        subject = subject_of(stack, self.workshop)
        latest = {each.draft.kind: each for each in self.book.latest_proposals(stack)}
        before = latest.get(suggestion.kind)
        alone = suggestion.course.then is Then.APPLY and not (
            (before and self._calls_for_people(before)) or self._was_refused(stack, suggestion)
        )
        return self._propose(
            subject,
            suggestion.kind,
            suggestion.findings,
            stop,
            by=DRIFTWATCH,
            reason=suggestion.course.sentence,
            automatic=alone and self.settings.automatic,
        )

    def grant(self, wish: Wish, stop: threading.Event) -> Proposal:
        """Proposes what a person asked for.

        Raises as a plan does, UnknownStackError, UnitUnsupportedError before anything is planned for a unit
        of terragrunt, and DriftwatchError where there is nothing to apply.
        """
        if self.workshop.inventory.subject(wish.stack).options.engine == "terragrunt":
            raise UnitUnsupportedError(
                f"driftwatch does not apply units of terragrunt, and {wish.stack} is one: apply it with"
                " terragrunt, and the next check sees that it is in sync"
            )
        commit = wish.commit if wish.kind is ProposalKind.ROLLBACK else None
        if commit is not None and not self.workshop.checkouts[wish.stack.repository].is_merged(commit):
            raise NotMergedError(
                f"{commit[:10]} is no commit of the branch that {wish.stack} is deployed from"
            )
        subject = subject_of(
            wish.stack, self.workshop, commit=commit, pinned=wish.kind is ProposalKind.REVERT
        )
        findings = () if wish.kind is ProposalKind.ROLLBACK else self._wanted(subject, wish.kind)
        made = self._propose(
            subject,
            wish.kind,
            findings,
            stop,
            by=wish.by,
            reason=wish.reason or f"{wish.by} asked for it.",
            automatic=False,
        )
        if made is None:
            raise DriftwatchError(f"there is nothing to apply to {wish.stack}")
        return made

    def course(self, proposal: Proposal, subject: Subject) -> Course | None:
        """What follows the findings of a stack by which a proposal of this kind is made; None: nothing."""
        found = {each.kind: each.course for each in self._suggestions(subject)}
        return found.get(proposal.draft.kind)

    def rehearse(self, subject: Subject, stop: threading.Event) -> Rehearsal:
        """A plan of a stack, made with what it is looked at with. Raises as a plan does."""
        checkouts = self.workshop.checkouts[subject.stack.repository]
        with checkouts.checkout(subject.commit) as checkout:
            planned = self.planner.plan(plan_request(subject, checkout, self.workshop.work), stop)
        return self.read(planned, subject)

    def read(self, planned: Planned, subject: Subject) -> Rehearsal:
        """What a plan of a stack says. Raises PlanUnreadableError."""
        return rehearse(
            planned,
            stack=subject.stack,
            commit=subject.commit,
            tree=subject.tree,
            workshop=self.workshop,
            digester=self.digester,
            now=self.clock(),
        )

    def _propose(
        self,
        subject: Subject,
        kind: ProposalKind,
        findings: Sequence[Finding],
        stop: threading.Event,
        *,
        by: str,
        reason: str,
        automatic: bool,
    ) -> Proposal | None:
        """None where the findings are out of date and nothing is to be done: a check is asked for instead."""
        protected = self._protected(subject) if kind is ProposalKind.DEPLOY else None
        automatic = automatic and protected is None
        rehearsal = self.rehearse(subject, stop)
        if rehearsal.facts.is_empty:
            self.book.enqueue(subject.stack, Trigger.MANUAL, requested_by=DRIFTWATCH, at=self.clock())
            return None
        fingerprints = tuple(sorted(each.fingerprint for each in findings))
        at = self.clock()
        before = self._open_one(subject.stack, kind)
        draft = ProposalDraft(
            stack=subject.stack,
            kind=kind,
            commit=subject.commit,
            digest=rehearsal.digest_for(fingerprints),
            findings=fingerprints,
            addresses=tuple(sorted(each.address for each in findings)),
            summary=rehearsal.summary,
            reason=reason,
            created_by=by,
            created_at=at,
            expires_at=None if automatic else at + DECIDE_WITHIN,
            automatic=automatic,
            risks=(*_risks(rehearsal), *([protected] if protected else [])),
            author=_author(findings),
            radius=self._radius(subject, rehearsal),
            authors=tuple(sorted({each.author for each in _commits(findings)})),
        )
        proposal = self.book.propose(draft)
        if proposal.draft == draft:
            self.book.tell_repair(proposal.id, said=announced(proposal, instead_of=before), at=at)
            logger.info(
                "A repair is proposed.", action="propose", stack=str(subject.stack), proposal=proposal.id
            )
        return proposal

    def _protected(self, subject: Subject) -> str | None:
        """Why the commits that wait need people, where they touch a protected path, or may have.

        It is about what is deployed. What a changed `.driftwatch.yaml` says of labels, owners and schedules
        holds from its commit on, as far as the configuration lets the repository say it.
        """
        globs = self.protected.get(subject.stack.repository, ())
        since = self._settled(subject.stack) if globs else None
        if since in (None, subject.commit):
            return None
        try:
            paths = self.workshop.checkouts[subject.stack.repository].changed(str(since), subject.commit)
        except RepositoryError as problem:
            return f"Whether it touches a protected path cannot be told: {problem.message}."
        touched = sorted(path for path in paths if covers(globs, path))
        return f"It comes with a change of {named(touched)}, which needs people." if touched else None

    def _settled(self, stack: StackId) -> str | None:
        """The commit up to which no protected change is left that nobody has approved.

        That is the last one that was deployed: by a person, or by itself, which it could only where there was
        no such change since the one before. A check in sync does not settle it: a protected file may be one
        that no plan reads. Only where nothing was ever deployed there is but the last check in sync.
        """
        done = (ProposalState.APPLIED, ProposalState.VERIFIED)
        for each in self.book.proposals(stack=escape(str(stack)), states=done, limit=MOST_DEPLOYED).items:
            if each.draft.kind is ProposalKind.DEPLOY:
                return each.draft.commit
        baseline = self.workshop.ledger.baseline(stack)
        return baseline.commit if baseline else None

    def _calls_for_people(self, before: Proposal) -> bool:
        """Whether what follows it needs a person: it ended badly, or its plan came to something else at once.

        Of a plan that comes to something else each time, nobody would ever hear the end.
        """
        void = before.state is ProposalState.SUPERSEDED and before.superseded_by is None
        return before.state.ended_badly or (
            void and before.draft.automatic and self.clock() - before.draft.created_at < STEADY
        )

    def _was_refused(self, stack: StackId, suggestion: Suggestion) -> bool:
        """Whether somebody said no to a repair of any of this, or one ended badly, and none has helped since.

        At whatever commit, and whatever was proposed after it: a "no" is not undone by somebody's next push.
        """
        repaired: set[str] = set()
        refused: set[str] = set()
        for each in self.book.proposals(stack=escape(str(stack)), limit=EARLIER).items:
            if each.state is ProposalState.VERIFIED:
                repaired |= set(each.draft.findings)
            elif each.state.ended_badly or each.state is ProposalState.REJECTED:
                refused |= set(each.draft.findings) - repaired
        return any(each.fingerprint in refused for each in suggestion.findings)

    def _radius(self, subject: Subject, rehearsal: Rehearsal) -> str:
        """How far it reaches: how much of the stack it touches, and who depends on that."""
        touched = rehearsal.summary.total
        things = "resource" if touched == 1 else "resources"
        said = f"It touches {touched} {things}; the state knows {rehearsal.facts.known}."
        below = [str(each) for each in self.workshop.inventory.graph().downstream.get(subject.stack, ())]
        if not below:
            return said
        verb = "depends" if len(below) == 1 else "depend"
        return f"{said} {named(below)} {verb} on this stack."

    def _is_unseen(self, proposal: Proposal) -> bool:
        """Whether no check has seen yet what its apply left: till then the findings are those before it."""
        return proposal.run is not None and proposal.state.ended_badly and self.book.proved(proposal) is None

    def _open_one(self, stack: StackId, kind: ProposalKind) -> int | None:
        """The proposal whose place a new one takes, if there is one."""
        latest = {each.draft.kind: each for each in self.book.latest_proposals(stack)}.get(kind)
        return latest.id if latest and latest.state.is_open else None

    def _suggestions(self, subject: Subject) -> tuple[Suggestion, ...]:
        options = subject.options
        return suggested(
            [found.finding for found in self._open(subject.stack)],
            stack=str(subject.stack),
            labels=options.labels,
            on_drift=options.on_drift,
            on_commit=options.on_commit,
            rules=self.settings.courses,
        )

    def _wanted(self, subject: Subject, kind: ProposalKind) -> tuple[Finding, ...]:
        found = {each.kind: each.findings for each in self._suggestions(subject)}
        return found.get(kind, ())

    def _open(self, stack: StackId) -> list[StoredFinding]:
        """Neither accepted nor snoozed: what somebody wants to keep is not put back."""
        return [found for found in self.book.findings_of(stack) if found.is_to_be_closed]


def announced(proposal: Proposal, *, instead_of: int | None = None) -> str:
    """What is said of a new proposal, and of the one whose place it takes."""
    draft = proposal.draft
    void = f" Proposal {instead_of} is void: it stands for that now." if instead_of else ""
    verb = "roll back" if draft.kind is ProposalKind.ROLLBACK else draft.kind
    what = f"Proposal {proposal.id}, to {verb}: {counted(draft.summary)}"
    if draft.automatic:
        return f"{what}. It is applied by itself as soon as it may be.{void}"
    return f"{what}. It waits to be approved.{void}"


def counted(summary: PlanSummary) -> str:
    """`2 to add, 1 to change, 0 to destroy, 1 to replace`, without what is none."""
    parts = [
        f"{number} to {word}"
        for number, word in (
            (summary.adds, "add"),
            (summary.updates, "change"),
            (summary.destroys, "destroy"),
            (summary.replaces, "replace"),
        )
        if number
    ]
    parts += summary.of_state
    if summary.outputs:
        parts.append(f"{len(summary.outputs)} outputs")
    return ", ".join(parts) or "nothing to do"


def _is_news(suggestion: Suggestion, subject: Subject, latest: Proposal | None) -> bool:
    """False where the latest proposal is about just this, and is open, or somebody said no to it."""
    if latest is None:
        return True
    if latest.state in (ProposalState.APPLYING, ProposalState.APPLIED):
        return False
    same = latest.draft.findings == tuple(sorted(each.fingerprint for each in suggestion.findings))
    if latest.state is ProposalState.REJECTED:
        return not same  # at whatever commit: what the findings say of the code is in their fingerprints
    return not (same and latest.state.is_open and latest.draft.commit == subject.commit)


def _risks(rehearsal: Rehearsal) -> Iterator[str]:
    summary = rehearsal.summary
    if summary.destroys or summary.replaces:
        yield f"It destroys {summary.destroys} and replaces {summary.replaces} resources."
    if rehearsal.reading.mass_deletion:
        yield rehearsal.reading.mass_deletion


def _author(findings: Sequence[Finding]) -> str | None:
    """Who wrote the newest commit that waits, where one does."""
    commits = _commits(findings)
    return max(commits, key=lambda commit: commit.at).author if commits else None


def _commits(findings: Sequence[Finding]) -> list[Commit]:
    """All commits that wait, as far as each finding names them."""
    return [commit for each in findings if each.evidence for commit in each.evidence.commits]
