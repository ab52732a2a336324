"""Votes: a person approves a proposal or rejects it, whichever way they say so.

    which? → may they? → is it what they saw? → not said already? → decide → enough? → audit → tell → answer

Default deny: without the right to approve for the proposal's stack, nobody decides anything about it. A vote
is for exactly what its person saw. Whether what is approved may be applied is asked when it is due
(`driftwatch.policy.admission`); here only enough people are waited for. One who rejects outweighs all others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from driftwatch import log
from driftwatch.drift import Refused
from driftwatch.model import Decision, Proposal, ProposalState, Right
from driftwatch.notify.buttons import seen_of
from driftwatch.notify.text import plain
from driftwatch.policy.admission import APPLICABLE
from driftwatch.policy.authors import only_authors, who

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from driftwatch.config.repair import ApprovalSettings
    from driftwatch.policy.rights import Person

logger = log.get("votes")


class Book(Protocol):
    """Where proposals are kept, and what is told and noted of them."""

    def proposal(self, id: int) -> Proposal | None: ...  # noqa: A002  (the seam's)

    def decide(self, id: int, decision: Decision) -> Proposal | Refused: ...  # noqa: A002  (the seam's)

    def approved(self, id: int) -> bool: ...  # noqa: A002  (the seam's)

    def tell_repair(self, proposal: int, *, said: str, at: datetime) -> object: ...

    def note(
        self,
        *,
        at: datetime,
        actor: str,
        via: str,
        action: str,
        subject: str,
        outcome: str,
        reason: str | None = None,
    ) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """What a person says of a proposal. `seen` is its digest as they saw it; `via` is slack, terminal, …."""

    proposal: int
    approves: bool
    seen: str
    via: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What came of a vote: a word for machines, and a sentence for its person."""

    outcome: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Votes:
    """Takes votes. Raises StoreError."""

    book: Book
    terms: ApprovalSettings
    people: Mapping[str, Person]
    """All under `users`, by name."""
    clock: Callable[[], datetime]

    def cast(self, vote: Vote, person: Person) -> Counted:
        """Counts a vote, or says why it cannot be; either is in the audit."""
        at, proposal = self.clock(), self.book.proposal(vote.proposal)
        vote = replace(vote, reason=plain(vote.reason or "") or None)
        if proposal is None:
            counted = _refused("gone", f"nothing is known of proposal {vote.proposal}")
        else:
            counted = self._cast(proposal, vote, person, at)
        self.book.note(
            at=at,
            actor=person.name,
            via=vote.via,
            action="approve" if vote.approves else "reject",
            subject=f"proposal {vote.proposal}{_of(proposal)}",
            outcome=counted.outcome,
            reason=vote.reason,
        )
        return counted

    def _cast(self, proposal: Proposal, vote: Vote, person: Person, at: datetime) -> Counted:
        stack = str(proposal.draft.stack)
        if not person.may(Right.APPROVE, stack):
            return _refused("no_right", f"you have no right to {Right.APPROVE} for {stack}")
        if problem := _unfit(proposal, vote):
            return problem
        if self._has_said(proposal, person, vote, at):
            # Whoever counted it the first time may have been stopped in between.
            if proposal.state is ProposalState.PROPOSED:
                self._settle(proposal, at)
            return _refused("already", f"you have approved proposal {proposal.id} already")
        return self._decide(proposal, vote, person, at)

    def _decide(self, proposal: Proposal, vote: Vote, person: Person, at: datetime) -> Counted:
        decision = Decision(
            by=person.name,
            at=at,
            via=vote.via,
            approves=vote.approves,
            digest=proposal.draft.digest,
            reason=vote.reason,
        )
        decided = self.book.decide(proposal.id, decision)
        if isinstance(decided, Refused):
            return _refused(decided.reason, decided.sentence)
        logger.info(
            "Somebody decided on a proposal.",
            action="vote",
            proposal=proposal.id,
            person=person.name,
            approves=vote.approves,
        )
        follow = self._approve if vote.approves else self._reject
        return follow(decided, vote, person, at)

    def _approve(self, proposal: Proposal, vote: Vote, person: Person, at: datetime) -> Counted:
        lacks = self._lacks(proposal, at)
        self._settle(proposal, at)
        said = f"approved proposal {proposal.id}{_because(vote)}. {_follows(lacks)}"
        self.book.tell_repair(proposal.id, said=f"{person.name} {said}", at=at)
        waits = f" So far it waits: {proposal.held.sentence}" if proposal.held and not lacks else ""
        return Counted(outcome="counted" if lacks else "approved", sentence=f"You {said}{waits}")

    def _reject(self, proposal: Proposal, vote: Vote, person: Person, at: datetime) -> Counted:
        said = f"rejected proposal {proposal.id}{_because(vote)}. Nothing of it is applied."
        self.book.tell_repair(proposal.id, said=f"{person.name} {said}", at=at)
        return Counted(outcome="rejected", sentence=f"You {said}")

    def _has_said(self, proposal: Proposal, person: Person, vote: Vote, at: datetime) -> bool:
        """Whether they approved it before, and that holds yet."""
        counts = vote.approves and proposal.state in APPLICABLE
        return counts and who(person.name) in self._approvers(proposal, at)

    def _settle(self, proposal: Proposal, at: datetime) -> None:
        """Makes it approved where enough people have said so."""
        if proposal.state is not ProposalState.APPROVED and self._lacks(proposal, at) is None:
            self.book.approved(proposal.id)

    def _lacks(self, proposal: Proposal, at: datetime) -> str | None:
        """Whose approval is still needed; None where nobody's is."""
        people = self._approvers(proposal, at)
        left = self.terms.needed - len(people)
        if left > 0:
            return f"{len(people)} of {self.terms.needed} approvals: {_more(left)} to approve it"
        if self.terms.not_by_author and only_authors(people, proposal, self.people):
            return "somebody who did not make the change has to approve it, too"
        return None

    def _approvers(self, proposal: Proposal, at: datetime) -> set[str]:
        """Those who approved just this, not too long ago."""
        return {
            who(each.by)
            for each in proposal.decisions
            if each.approves and each.digest == proposal.draft.digest and at < each.at + self.terms.expire
        }


def _unfit(proposal: Proposal, vote: Vote) -> Counted | None:
    """Why nothing is to be decided any more, or not this."""
    if proposal.superseded_by is not None:
        other = f"proposal {proposal.superseded_by} took its place"
        return _refused("outdated", f"proposal {proposal.id} is void, and {other}: look at that one")
    if seen_of(vote.seen) != seen_of(proposal.draft.digest):
        return _refused("outdated", f"proposal {proposal.id} is not what you saw: look at it again")
    return None


def _refused(reason: str, sentence: str) -> Counted:
    return Counted(outcome=f"refused: {reason}", sentence=f"Not done: {sentence}.")


def _of(proposal: Proposal | None) -> str:
    return f" ({proposal.draft.stack} at {proposal.draft.commit[:10]})" if proposal else ""


def _because(vote: Vote) -> str:
    return f": {vote.reason.rstrip('.')}" if vote.reason else ""


def _follows(lacks: str | None) -> str:
    return f"{lacks[0].upper()}{lacks[1:]}." if lacks else "It is applied as soon as it may be."


def _more(left: int) -> str:
    return "one more person has" if left == 1 else f"{left} more people have"
