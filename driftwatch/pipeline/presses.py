"""A press: somebody outside the terminal wants something of a finding, of an incident, or of a proposal.

    taken once → who is it? → may they? → is it still what they saw? → do it → audit → answer

Default deny: whoever is not under `users:` may do nothing, and is told so. Each press is in the audit twice:
that it came, before anything is done, which is also what makes one that is delivered twice be taken once; and
what came of it. Nothing is applied from here: a press for a repair leaves a wish, of which the daemon makes a
proposal, and a vote on a proposal is counted (`driftwatch.pipeline.votes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from driftwatch import log
from driftwatch.drift import Accept, Acknowledge, Press, Reopen, Snooze
from driftwatch.drift.explain import explain
from driftwatch.errors import DriftwatchError
from driftwatch.model import Cause, Proposal, ProposalKind, ProposalState, Right, Wish
from driftwatch.notify.buttons import Button
from driftwatch.pipeline.votes import Vote

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from driftwatch.drift.lifecycle import Action, Refused
    from driftwatch.model import Incident, StackId, StoredFinding
    from driftwatch.notify.slack_intake import Pressed
    from driftwatch.pipeline.votes import Votes
    from driftwatch.policy.rights import People, Person

USUAL_SNOOZE = timedelta(days=1)
LONGEST_SNOOZE = timedelta(days=366)
"""What nobody wants to hear of for longer is accepted, with a reason. Our own buttons say a week at most."""
DETAILS_SHOWN = 10
"""Findings in an answer; it is for one person's eyes and for reading."""
REFUSALS_SHOWN = 3
REPAIRS_AT_ONCE = 50
"""Stacks of which one press asks for a repair: each is a plan, and a proposal that somebody decides on."""

NEEDED: Mapping[Button, Right] = {
    Button.ACKNOWLEDGE: Right.ACKNOWLEDGE,
    Button.SNOOZE: Right.ACKNOWLEDGE,
    Button.REOPEN: Right.ACKNOWLEDGE,
    Button.ACCEPT: Right.ACCEPT,
    Button.REPAIR: Right.APPLY,
    Button.DETAILS: Right.VIEW,
    Button.APPROVE: Right.APPROVE,
    Button.REJECT: Right.APPROVE,
}
"""The right that each button asks for."""

logger = log.get("presses")


class Aimed(Protocol):
    """A finding that a press is about."""

    @property
    def id(self) -> int: ...

    @property
    def stack(self) -> StackId: ...

    @property
    def fingerprint(self) -> str: ...


class Done(Protocol):
    """What an action made of several findings."""

    @property
    def acted(self) -> Sequence[StoredFinding]: ...

    @property
    def refused(self) -> Sequence[Refused]: ...


class Repairs(Protocol):
    """Where proposals are kept, and what is wished for."""

    def findings_of(self, stack: StackId) -> Sequence[StoredFinding]: ...

    def latest_proposals(self, stack: StackId) -> Sequence[Proposal]: ...

    def wishes(self) -> Mapping[int, Wish]: ...

    def wish(self, wish: Wish, at: datetime) -> int: ...


class Ledger(Repairs, Protocol):
    """Where incidents, findings and the audit are kept."""

    def incident(self, id: int) -> Incident | None: ...  # noqa: A002  (the seam's)

    def open_in(self, incident: int, *, fingerprint: str | None = None) -> Sequence[Aimed]: ...

    def finding(self, id: int) -> StoredFinding | None: ...  # noqa: A002  (the seam's)

    def act_on_all(self, seen: Mapping[int, str], press: Press) -> Done: ...

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
        key: str | None = None,
    ) -> bool: ...


class Replies(Protocol):
    """How a person is answered, for their eyes only."""

    def answer(self, pressed: Pressed, sentences: tuple[str, ...]) -> None: ...

    def ask_reason(self, pressed: Pressed, what: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a press: a word for machines, and sentences for the person."""

    outcome: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Takes presses."""

    ledger: Ledger
    people: People
    replies: Replies
    votes: Votes
    clock: Callable[[], datetime]

    def take(self, pressed: Pressed) -> None:
        """Does what a press asks for and answers it, or says that it could not be done."""
        try:
            self._take(pressed)
        except DriftwatchError as problem:
            logger.warning(problem.message, action="press", error=problem.code)
            self.replies.answer(pressed, (_NOT_NOW,))

    def _take(self, pressed: Pressed) -> None:
        person = self.people.in_slack(pressed.member)
        if not self._note(pressed, person, "asked", key=f"slack:{pressed.key}"):
            logger.info("A press came twice and is taken once.", action="press")
            return
        if person is not None and pressed.aim.button.is_vote:
            answer = self._vote(pressed, person)
        else:
            answer = self._answer(pressed, person)
            self._note(pressed, person, answer.outcome)
        logger.info(
            "Somebody pressed a button.",
            action="press",
            button=pressed.aim.button,
            person=person.name if person else None,
            outcome=answer.outcome,
        )
        if answer.outcome != _ASKED_WHY:
            self.replies.answer(pressed, answer.sentences)

    def _answer(self, pressed: Pressed, person: Person | None) -> Answer:
        if person is None:
            return _refusal("unknown_person", _STRANGER.format(member=pressed.member))
        # In this order: what comes in between is in the incident's digest, and not among what is acted on.
        aimed = self.ledger.open_in(pressed.aim.incident, fingerprint=pressed.aim.fingerprint)
        incident = self.ledger.incident(pressed.aim.incident)
        if incident is None:
            return _refusal("gone", "Nothing is known of this any more: the message is too old.")
        if denied := _denied(person, pressed.aim.button, incident, aimed):
            return denied
        if not aimed:
            return _refusal("outdated", _nothing_left(pressed))
        is_whole = pressed.aim.fingerprint is None and pressed.aim.button is not Button.DETAILS
        if is_whole and pressed.aim.seen != incident.seen:
            return _refusal("outdated", "This has changed since the message was shown: look at it again.")
        return self._do(pressed, person, aimed)

    def _vote(self, pressed: Pressed, person: Person) -> Answer:
        """What came of a vote; it is in the audit by then."""
        aim = pressed.aim
        vote = Vote(
            proposal=aim.incident,
            approves=aim.button is Button.APPROVE,
            seen=aim.seen,
            via="slack",
            reason=pressed.reason,
        )
        counted = self.votes.cast(vote, person)
        return Answer(outcome=counted.outcome, sentences=(counted.sentence,))

    def _do(self, pressed: Pressed, person: Person, aimed: Sequence[Aimed]) -> Answer:
        match pressed.aim.button:
            case Button.DETAILS:
                return Answer(outcome="shown", sentences=tuple(self._details(aimed)))
            case Button.REPAIR:
                return self._repair(person, aimed)
            case Button.ACCEPT if pressed.reason is None:
                self.replies.ask_reason(pressed, f"{_counted(aimed)} may stay as it is now.")
                return Answer(outcome=_ASKED_WHY, sentences=())
            case _:
                return self._act(pressed, person, aimed)

    def _act(self, pressed: Pressed, person: Person, aimed: Sequence[Aimed]) -> Answer:
        at = self.clock()
        action = _action(pressed, at)
        if isinstance(action, Snooze) and action.until - at > LONGEST_SNOOZE:
            return _refusal("too_long", "Not done: a snooze ends within a year; what is to stay is accepted.")
        press = Press(action=action, actor=person.name, at=at, reason=pressed.reason)
        done = self.ledger.act_on_all({each.id: each.fingerprint for each in aimed}, press)
        refused = tuple(dict.fromkeys(f"Not done: {each.sentence}." for each in done.refused))
        if not done.acted:
            reason = done.refused[0].reason if done.refused else "outdated"
            return Answer(outcome=f"refused: {reason}", sentences=refused[:REFUSALS_SHOWN])
        said = f"{_DONE[pressed.aim.button]} {_listed(done.acted)}{_until(action)}."
        return Answer(outcome="done", sentences=(said, *refused[:REFUSALS_SHOWN]))

    def _repair(self, person: Person, aimed: Sequence[Aimed]) -> Answer:
        """Has a repair proposed for each stack of which none is; who decides on it is asked then."""
        stacks = sorted({each.stack for each in aimed}, key=str)
        wanted = {each.id for each in aimed}
        asked_for = {wish.stack for wish in self.ledger.wishes().values()}
        open_, made = [], []
        for stack in stacks[:REPAIRS_AT_ONCE]:
            known = [each for each in self.ledger.latest_proposals(stack) if each.state.is_open]
            open_ += known
            if not known:
                kind = self._kind_of_repair(stack, wanted)
                if stack not in asked_for:
                    self.ledger.wish(Wish(stack=stack, kind=kind, by=person.name), self.clock())
                made.append(f"{_TO[kind]} {stack}")
        left = len(stacks) - REPAIRS_AT_ONCE
        return Answer(outcome="done", sentences=tuple(_repairs(open_, made, left)))

    def _kind_of_repair(self, stack: StackId, wanted: Collection[int]) -> ProposalKind:
        """To revert, where all of it was changed by hand; else what waits in the code has to go along."""
        causes = {
            cause
            for found in self.ledger.findings_of(stack)
            if found.id in wanted
            for cause in found.finding.causes
        }
        return ProposalKind.REVERT if causes - {Cause.NOISE} == {Cause.OUT_OF_BAND} else ProposalKind.DEPLOY

    def _details(self, aimed: Sequence[Aimed]) -> Iterator[str]:
        for each in islice(aimed, DETAILS_SHOWN):
            found = self.ledger.finding(each.id)
            if found is not None:
                yield f"{found.id}: {found.finding.address} in {found.stack} ({found.status})"
                yield from islice(explain(found.finding), 3)
        if len(aimed) > DETAILS_SHOWN:
            yield f"… and {len(aimed) - DETAILS_SHOWN} more: driftwatch findings list"
        yield "All of it: driftwatch findings show ID"

    def _note(self, pressed: Pressed, person: Person | None, outcome: str, *, key: str | None = None) -> bool:
        aim = pressed.aim
        which = f"finding {aim.fingerprint}" if aim.fingerprint else "all that is open"
        subject = f"proposal {aim.incident}" if aim.button.is_vote else f"incident {aim.incident}, {which}"
        return self.ledger.note(
            at=self.clock(),
            actor=person.name if person else f"slack:{pressed.member}",
            via="slack",
            action=aim.button,
            subject=subject,
            outcome=outcome,
            reason=pressed.reason,
            key=key,
        )


_ASKED_WHY = "asked for a reason"
_STRANGER = (
    "Not done: nobody here knows you. Whoever runs driftwatch can add your member id {member} under `users` "
    "in its configuration."
)
_NOT_NOW = "driftwatch cannot do anything just now, and may have done nothing of this: press again later."
_DONE = {
    Button.ACKNOWLEDGE: "You look after",
    Button.SNOOZE: "You snoozed",
    Button.ACCEPT: "You accepted",
    Button.REOPEN: "You re-opened",
}


def _refusal(reason: str, sentence: str) -> Answer:
    return Answer(outcome=f"refused: {reason}", sentences=(sentence,))


def _denied(person: Person, button: Button, incident: Incident, aimed: Sequence[Aimed]) -> Answer | None:
    """Why this person may not, for any of the stacks that it is about."""
    right = NEEDED[button]
    stacks = {str(each.stack) for each in aimed} or {line.announcement.stack for line in incident.lines}
    for stack in sorted(stacks):
        if not person.may(right, stack):
            return _refusal("no_right", f"Not done: you have no right to {right} for {stack}.")
    return None


def _nothing_left(pressed: Pressed) -> str:
    if pressed.aim.fingerprint:
        return "This finding is not as it was when the message was shown, or is resolved: look at it again."
    return "Nothing of it is open any more."


def _action(pressed: Pressed, at: datetime) -> Action:
    aim = pressed.aim
    match aim.button:
        case Button.SNOOZE:
            return Snooze(until=at + (USUAL_SNOOZE if aim.hours is None else timedelta(hours=aim.hours)))
        case Button.ACCEPT:
            days = pressed.expires_days
            return Accept(expires=at + timedelta(days=days) if days else None)
        case Button.REOPEN:
            return Reopen()
        case _:
            return Acknowledge()


def _until(action: Action) -> str:
    end = (
        action.until if isinstance(action, Snooze) else action.expires if isinstance(action, Accept) else None
    )
    return f" until {end:%Y-%m-%d %H:%M} UTC" if end else ""


def _listed(acted: Sequence[StoredFinding]) -> str:
    if len(acted) == 1:
        return f"{acted[0].finding.address} in {acted[0].stack}"
    return f"{len(acted)} findings"


def _counted(aimed: Sequence[Aimed]) -> str:
    stacks = len({each.stack for each in aimed})
    if len(aimed) == 1:
        return f"What differs in one finding of {aimed[0].stack}"
    return f"What differs in {len(aimed)} findings of {stacks} {'stack' if stacks == 1 else 'stacks'}"


_TO = {
    ProposalKind.REVERT: "to revert",
    ProposalKind.DEPLOY: "to deploy",
    ProposalKind.ROLLBACK: "to roll back",
}


def _repairs(proposals: Sequence[Proposal], made: Sequence[str], left: int) -> Iterator[str]:
    """What is proposed already, and what is going to be."""
    for proposal in proposals[:DETAILS_SHOWN]:
        draft = proposal.draft
        yield f"Proposal {proposal.id}, {_TO[draft.kind]} {draft.stack}, {_stands(proposal)}"
    if len(proposals) > DETAILS_SHOWN:
        yield f"… and {len(proposals) - DETAILS_SHOWN} proposals more: driftwatch proposals list"
    for what in made[:DETAILS_SHOWN]:
        yield f"A proposal {what} is being made."
    if len(made) > DETAILS_SHOWN:
        yield f"… and {len(made) - DETAILS_SHOWN} more."
    if made:
        yield "It appears in this thread once it is planned. Nothing is applied before it is approved."
    if left > 0:
        yield f"{left} stacks are left for the next press."


def _stands(proposal: Proposal) -> str:
    """Where an open proposal stands, and what a person can do about it."""
    match proposal.state:
        case ProposalState.APPLYING:
            return "is being applied."
        case ProposalState.APPLIED:
            return "is applied, and waits for the check that proves it."
        case ProposalState.WAITING if proposal.held:
            return f"waits: {proposal.held.sentence}"
        case ProposalState.APPROVED:
            return "is approved, and is applied as soon as it may be."
        case _ if proposal.draft.automatic:
            return "is applied by itself as soon as it may be."
        case _:
            return "waits to be approved: press Approve under it."
