"""Admission: whether something may be applied now. The one way to an apply, automatic or not.

    suspended? → detector fresh? → guards → windows: deny, allow, does it fit? → approval valid? → stack lock

Pure, and asked twice: when a proposal is due, and again right before terraform starts, with the plan that
was just made. The first step that holds is the answer: a word for machines, a sentence for people, and when
it may change by itself. Whatever is not known holds.

Who stands behind an apply changes three things and no more. An automatic one is held by the guards, and needs
a window that allows it; it needs no approval, for which they stand. One that people approved is not held by
the guards (but by `conditions`), and may go through a closed window if a person with the right to says why
and the window lets them. Suspended stacks, stale detectors, other plans than the approved one and locks hold
everybody; a mass deletion holds everybody but whoever says in so many words that it is one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeAlias

from driftwatch.config.durations import format_duration
from driftwatch.model import Health, ProposalKind, ProposalState, Right
from driftwatch.policy.authors import only_authors, who
from driftwatch.policy.guards import violations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime, timedelta

    from driftwatch.config.repair import RepairSettings
    from driftwatch.model import Decision, Pin, Proposal, StackId, Suspension
    from driftwatch.policy.guards import Facts
    from driftwatch.policy.rights import Person

TERMINAL = "terminal"
"""Whoever is at a terminal of the machine has the rights that the machine gives them."""

NO_WINDOW = "no_window"
"""A ruling's reason where no window is for the stack: an automatic apply waits, a person need not."""

APPLICABLE = frozenset({ProposalState.PROPOSED, ProposalState.APPROVED, ProposalState.WAITING})
"""Nothing was done yet, and nobody said no."""


# ---- what is asked ---------------------------------------------------------------------------------------


class Ruling(Protocol):
    """What the windows say of an automatic apply that takes so long (see `driftwatch.policy.windows`).

    Where it is allowed, `until` is the last moment at which it still fits.
    """

    @property
    def allowed(self) -> bool: ...

    @property
    def reason(self) -> str: ...

    @property
    def window(self) -> str | None: ...

    @property
    def until(self) -> datetime | None: ...

    @property
    def sentence(self) -> str: ...

    @property
    def manual(self) -> bool: ...


class People(Protocol):
    """Those under `users:` (`driftwatch.policy.rights`)."""

    @property
    def by_name(self) -> Mapping[str, Person]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Somebody, by the name under `users:`; `via` is slack, terminal and so on."""

    name: str
    via: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What somebody says, in so many words, for something to be done in spite of something."""

    by: Actor
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """Whether the detector can be believed; what is None is not known.

    `identity` is true where the credentials are those of the account that is expected, or none is; false
    where they are another's. `mass_deletion` is what the latest check says of one.
    """

    health: Health | None
    last_good_at: datetime | None
    allowed_age: timedelta | None
    identity: bool | None
    mass_deletion: str | None


class Lock(StrEnum):
    """Who has the stack: our lease of it, and terraform's own lock of its state."""

    FREE = "free"
    OURS = "ours"
    OTHERS = "others"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One apply, and all that the answer depends on, read at one moment.

    `automatic` where no person stands behind it; then there need be no approval, and the guards hold. `by` is
    the person who wants it now, None where driftwatch goes on with what was approved. `starting` is true
    right before terraform is started: the stack must then be ours, and `digest` is that of the plan that was
    just made. `suspensions` are all that may be in force. `in_review` is a sentence where an earlier apply
    left something for a person to look at. `facts` and `digest` are None where no plan was made, `expected`
    where nobody knows how long it takes.
    """

    proposal: Proposal
    at: datetime
    automatic: bool
    starting: bool
    by: Actor | None
    suspensions: tuple[Suspension, ...] | None
    pin: Pin | None
    in_review: str | None
    detector: Detector
    facts: Facts | None
    expected: timedelta | None
    digest: str | None
    lock: Lock
    override: Statement | None = None
    acknowledged: Statement | None = None

    @property
    def stack(self) -> StackId:
        return self.proposal.draft.stack


# ---- what is answered ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """It may be applied now, and until then if nothing else changes."""

    sentence: str
    reason: str = "admitted"
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """It must not be applied now, until then at least, as far as is known.

    `overridable` where people could go on in spite of this, with what that takes: an approval where a guard
    holds, a right and a reason where a window does, a word where it is a mass deletion.
    """

    reason: str
    sentence: str
    until: datetime | None = None
    overridable: bool = False


Admission: TypeAlias = Admitted | Held


def admit(
    request: Request, *, ruling: Ruling | None, settings: RepairSettings, people: People | None
) -> Admission:
    """The answer to one request.

    Args:
        request: what is to be applied, and how things stand.
        ruling: of the windows at `request.at`, with `request.expected`; None where it is not known.
        settings: the section `repair`.
        people: who may do what; without them, nobody may who is not at a terminal.
    """
    case = _Case(request=request, ruling=ruling, settings=settings, people=people)
    held = next((held for step in _STEPS if (held := step(case)) is not None), None)
    return held or _admitted(case)


def reasons(
    request: Request, *, ruling: Ruling | None, settings: RepairSettings, people: People | None
) -> tuple[Held, ...]:
    """All that would hold it, in the order in which it is asked, and not only the first: for who explains.

    Nothing holds where this is empty, and `admit` admits then, and only then.
    """
    case = _Case(request=request, ruling=ruling, settings=settings, people=people)
    found: list[Held] = []
    for step in _STEPS:
        if step is _guards:
            found += _all_guards(case)
        elif (held := step(case)) is not None:
            found.append(held)
    return tuple(found)


# ---- the steps -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    request: Request
    ruling: Ruling | None
    settings: RepairSettings
    people: People | None

    def may(self, actor: Actor, right: Right) -> bool:
        if actor.via == TERMINAL:
            return True
        person = None if self.people is None else self.people.by_name.get(actor.name)
        return person is not None and person.may(right, str(self.request.stack))


_Step: TypeAlias = "Callable[[_Case], Held | None]"


def _suspension(case: _Case) -> Held | None:
    request = case.request
    if request.suspensions is None:
        return Held(reason="suspension_unknown", sentence="Whether the stack is suspended is not known.")
    scopes = ("*", request.stack.repository, str(request.stack))
    for each in request.suspensions:
        if each.scope in scopes and (each.until is None or request.at < each.until):
            return Held(reason="suspended", sentence=_suspended(each), until=each.until)
    if request.in_review is not None:
        return Held(reason="in_review", sentence=request.in_review)
    pin, draft = request.pin, request.proposal.draft
    moves_on = draft.kind is ProposalKind.DEPLOY and not request.automatic  # a person takes a newer commit
    stays = draft.kind is ProposalKind.ROLLBACK or moves_on
    if pin is not None and draft.commit != pin.commit and not stays:
        sentence = f"{pin.by} pinned the stack to commit {pin.commit[:10]}: {pin.reason}"
        return Held(reason="pinned", sentence=sentence)
    return None


def _suspended(suspension: Suspension) -> str:
    what = {"*": "Everything"}.get(suspension.scope, suspension.scope)
    return f"{what} is suspended by {suspension.by}: {suspension.reason}"


def _freshness(case: _Case) -> Held | None:
    request, detector = case.request, case.request.detector
    if detector.health is not Health.FRESH:
        said = "unknown" if detector.health is None else detector.health
        return Held(reason=f"detector_{said}", sentence=f"The detector of this stack is {said}.")
    if detector.last_good_at is None or detector.allowed_age is None:
        return Held(reason="detector_unknown", sentence="When the stack was last checked is not known.")
    age = request.at - detector.last_good_at
    if age > detector.allowed_age:
        sentence = (
            f"The last good check is {format_duration(age)} old, "
            f"and {format_duration(detector.allowed_age)} are allowed."
        )
        return Held(reason="detector_stale", sentence=sentence)
    if detector.last_good_at > request.at:
        sentence = "The last good check is later than now: the clock was put back."
        return Held(reason="detector_ahead", sentence=sentence, until=detector.last_good_at)
    return None


def _identity(case: _Case) -> Held | None:
    identity = case.request.detector.identity
    if identity is None:
        sentence = "Whose the credentials are is not known."
        return Held(reason="identity_unknown", sentence=sentence)
    if not identity:
        sentence = "The credentials are of another account than is expected."
        return Held(reason="identity_wrong", sentence=sentence)
    return None


def _mass_deletion(case: _Case) -> Held | None:
    request = case.request
    of_plan = request.facts.plan.mass_deletion if request.facts else None
    said = of_plan or request.detector.mass_deletion
    if said is None:
        return None
    if request.automatic:
        return Held(
            reason="mass_deletion", sentence=f"{said} Nothing is applied automatically.", overridable=True
        )
    return _unless_stated(
        case,
        request.acknowledged,
        Right.APPROVE,
        Held(reason="mass_deletion", sentence=said, overridable=True),
    )


def _plan(case: _Case) -> Held | None:
    request = case.request
    if request.facts is None:
        return Held(reason="plan_unknown", sentence="There is no plan of it.")
    facts, draft = request.facts, request.proposal.draft
    if (facts.stack, facts.kind, facts.automatic, facts.at) != (
        draft.stack,
        draft.kind,
        request.automatic,
        request.at,
    ):
        return Held(reason="plan_of_another", sentence="The plan at hand is of another request.")
    if not facts.plan.complete:
        return Held(reason="plan_incomplete", sentence="The plan errored or was interrupted.")
    if facts.plan.is_empty:
        return Held(reason="nothing_to_apply", sentence="There is nothing to apply any more.")
    return None


def _guards(case: _Case) -> Held | None:
    return next(_all_guards(case), None)


def _all_guards(case: _Case) -> Iterator[Held]:
    request = case.request
    if request.facts is None:
        return
    if request.automatic and not request.proposal.draft.automatic:
        sentence = "It was proposed to people, and not to be applied without one."
        yield Held(reason="not_automatic", sentence=sentence, overridable=True)
        return
    for violation in violations(request.facts, case.settings):
        yield Held(
            reason=violation.reason,
            sentence=violation.sentence,
            until=violation.until,
            overridable=request.automatic and violation.reason != "condition_not_met",
        )


def _windows(case: _Case) -> Held | None:
    """Deny before allow, and then whether it fits: the ruling has them in this order."""
    request, ruling = case.request, case.ruling
    if ruling is None:
        return Held(reason="windows_unknown", sentence="What the windows say is not known.")
    closed = Held(reason=ruling.reason, sentence=ruling.sentence, until=ruling.until)
    if ruling.allowed:
        return _without_a_name(case, ruling)
    if not request.automatic and ruling.reason == NO_WINDOW:
        return None
    return _unless_overridden(case, ruling, closed)


def _without_a_name(case: _Case, ruling: Ruling) -> Held | None:
    """Nothing is applied by itself unless a window, by its name, allows it."""
    if case.request.automatic and ruling.window is None:
        return Held(reason=NO_WINDOW, sentence="No window allows it for this stack.", overridable=True)
    return None


def _duration(case: _Case) -> Held | None:
    request, ruling = case.request, case.ruling
    if ruling is None or _goes_through(case) or (ruling.until is None and not request.automatic):
        return None
    if request.expected is None:
        sentence = "How long it takes is not known, so nobody can say whether it ends in time."
        return _unless_overridden(case, ruling, Held(reason="duration_unknown", sentence=sentence))
    if ruling.until is None:
        return None
    last = ruling.until if ruling.allowed else ruling.until - request.expected
    if request.at <= last:
        return None
    sentence = f"It takes {format_duration(request.expected)}, which no longer fits. {ruling.sentence}"
    return _unless_overridden(case, ruling, Held(reason="does_not_fit", sentence=sentence))


def _unless_overridden(case: _Case, ruling: Ruling, held: Held) -> Held | None:
    """Holds, unless a person may go on in spite of the windows, and says why."""
    held = replace(held, overridable=ruling.manual)
    if case.request.automatic or not ruling.manual:
        return held
    return _unless_stated(case, case.request.override, Right.OVERRIDE_WINDOW, held)


def _approval(case: _Case) -> Held | None:
    request, proposal = case.request, case.request.proposal
    if proposal.state not in APPLICABLE:
        return Held(reason=proposal.state.value, sentence=f"The proposal is {proposal.state}.")
    expires = proposal.draft.expires_at
    if expires is not None and request.at >= expires:
        return Held(reason="expired", sentence="The proposal has expired.")
    if request.digest is None:
        return Held(reason="digest_unknown", sentence="What would be applied is not known.")
    if request.digest != proposal.draft.digest:
        sentence = "What would be applied now is not what was proposed."
        return Held(reason="digest_changed", sentence=sentence)
    rejected = sorted({each.by for each in _newest(proposal) if not each.approves})
    if rejected:
        return Held(reason="rejected", sentence=f"{rejected[0]} rejected it.")
    return None if request.automatic else _consent(case) or _starter(case)


def _consent(case: _Case) -> Held | None:
    """Enough people who may, each once, not long ago, of just this content, and not the author alone."""
    request, terms = case.request, case.settings.approvals
    left = list(_newest(request.proposal))
    if not left:
        return Held(reason="not_approved", sentence="Nobody has approved it.")
    for keeps, reason, sentence in _tests_of_approvals(case):
        left = [each for each in left if keeps(each)]
        if not left:
            return Held(reason=reason, sentence=sentence)
    if len(left) < terms.needed:
        sentence = f"{terms.needed} people have to approve it, and {len(left)} did."
        return Held(reason="too_few_approvals", sentence=sentence)
    people = None if case.people is None else case.people.by_name
    if terms.not_by_author and only_authors((each.by for each in left), request.proposal, people):
        sentence = "Only who made the change has approved it; somebody else has to."
        return Held(reason="approved_by_author", sentence=sentence)
    return None


def _tests_of_approvals(case: _Case) -> Iterator[tuple[Callable[[Decision], bool], str, str]]:
    """What each must stand, and what is said where none does."""
    request, lasts = case.request, case.settings.approvals.expire
    yield (
        lambda each: each.digest == request.digest,
        "approved_otherwise",
        "What was approved is something else than would be applied now.",
    )
    yield (
        lambda each: each.at <= request.at,
        "approval_ahead",
        "The approval is later than now: the clock was put back.",
    )
    yield (
        lambda each: request.at < each.at + lasts,
        "approval_expired",
        f"The approval is older than {format_duration(lasts)}.",
    )
    yield (
        lambda each: case.may(Actor(name=each.by, via=each.via), Right.APPROVE),
        "no_right_to_approve",
        "Nobody approved it who has the right to.",
    )


def _starter(case: _Case) -> Held | None:
    by = case.request.by
    if by is None or case.may(by, Right.APPLY):
        return None
    sentence = f"{by.name} has no right to apply anything to this stack."
    return Held(reason="no_right_to_apply", sentence=sentence)


def _stack_lock(case: _Case) -> Held | None:
    request = case.request
    if request.lock is Lock.UNKNOWN:
        return Held(reason="lock_unknown", sentence="Whether the stack is locked is not known.")
    if request.lock is Lock.OTHERS:
        return Held(reason="locked", sentence="Somebody else has the stack locked.")
    if request.starting and request.lock is not Lock.OURS:
        return Held(reason="not_locked", sentence="The lock of the stack was lost, or never taken.")
    return None


_STEPS: tuple[_Step, ...] = (
    _suspension,
    _freshness,
    _identity,
    _mass_deletion,
    _plan,
    _guards,
    _windows,
    _duration,
    _approval,
    _stack_lock,
)


# ---- what several share ----------------------------------------------------------------------------------


def _admitted(case: _Case) -> Admitted:
    ruling, override = case.ruling, case.request.override
    if override is not None and _is_closed_without(case):
        sentence = f"{override.by.name} goes on in spite of the windows: {override.reason.strip()}"
        return Admitted(reason="overridden", sentence=sentence)
    until = None if ruling is None else ruling.until
    if case.request.automatic:
        said = ruling.sentence if ruling else ""
        return Admitted(sentence=f"No guard holds it. {said}".strip(), until=until)
    approvers = sorted({each.by for each in _newest(case.request.proposal) if each.approves})
    return Admitted(sentence=f"Approved by {', '.join(approvers)}.", until=until)


def _is_closed_without(case: _Case) -> bool:
    """Whether the windows would hold it if nobody had said anything."""
    unsaid = replace(case, request=replace(case.request, override=None))
    return _windows(unsaid) is not None or _duration(unsaid) is not None


def _goes_through(case: _Case) -> bool:
    """Whether a person has just been let through a window that is closed."""
    ruling = case.ruling
    return ruling is not None and not ruling.allowed and ruling.reason != NO_WINDOW


def _unless_stated(case: _Case, statement: Statement | None, right: Right, held: Held) -> Held | None:
    """Holds, unless somebody with a right says why not."""
    if statement is None:
        return held
    who = statement.by.name
    if not statement.reason.strip():
        sentence = f"{who} gives no reason. {held.sentence}"
        return replace(held, reason=f"{held.reason}_without_reason", sentence=sentence)
    if not case.may(statement.by, right):
        sentence = f"{who} has no right to go on in spite of it. {held.sentence}"
        return replace(held, reason=f"{held.reason}_without_right", sentence=sentence)
    return None


def _newest(proposal: Proposal) -> Iterator[Decision]:
    """What each person said last, whatever they said before."""
    last: dict[str, Decision] = {}
    for each in sorted(proposal.decisions, key=lambda decision: decision.at):
        last[who(each.by)] = each
    yield from last.values()
