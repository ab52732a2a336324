"""The life of findings: what checks, people and time do to them.

    opened → changed → resolved → reopened → … flapping → settled
       └ acknowledged · snoozed until · accepted with a reason → reopened

Pure: the store calls `advance` (a check), `act` (a person) and `expire` (time) inside its transaction and
writes what they say.

Only a check that came to know something resolves anything; a failed or skipped one moves nothing. A finding
is the same one in the next check when its identity is the same (address and sort), whatever has become of its
attributes by then.

Noise has a life of its own, so that it is kept, but it never continues the life of a finding that counted: a
counted finding that turns into noise is resolved, as it was last seen, and stays so until it counts again.

What a person put aside comes back by itself: a snooze at its time or when anything changes, an acceptance
when it expires or when anything is there that was not accepted. An acceptance holds for its values as long
as the difference lasts: what comes again after a repair is somebody's new change. A resource that is now
deleted or would be replaced is always news.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias

from driftwatch.drift.classify import is_unjudged
from driftwatch.drift.fingerprint import accepted_values, covers
from driftwatch.drift.stories import OWN, story_of
from driftwatch.model import (
    DRIFTWATCH,
    Acceptance,
    Cause,
    CheckResult,
    Finding,
    FindingEventKind,
    FindingKind,
    FindingStatus,
    Inputs,
    Resolution,
    StoredFinding,
    Trigger,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

SEEN: Literal["seen"] = "seen"

Event: TypeAlias = FindingEventKind | Literal["seen"]
"""`SEEN` is no news and leaves no event: only "last seen" moves."""

LONGEST_REASON = 1000
"""Characters of what a person says of a finding: a sentence and a link, not a log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flapping:
    """A finding that comes back `turns` times `within` a time comes and goes: that is told once.

    It has settled when it has stayed, or stayed away, for that time.
    """

    turns: int = 3
    within: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one check, one person or the time did to one finding. `before` is None for one never known.

    All but `identity` and `before` is what is to be stored; `actor` and `reason` are the event's alone.
    `story` is the key of that in which it is told.
    """

    identity: str
    before: StoredFinding | None
    status: FindingStatus
    finding: Finding
    event: Event
    actor: str = DRIFTWATCH
    reason: str | None = None
    until: datetime | None = None
    acceptance: Acceptance | None = None
    resolution: Resolution | None = None
    turns: tuple[datetime, ...] = ()
    flapping_since: datetime | None = None
    story: str = OWN

    @property
    def is_loud(self) -> bool:
        """True where people are to know of it: it is there, counts, and nobody put it aside."""
        return self.finding.counted and self.status.is_open


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge:
    """Somebody looks after it: reminders stop until it changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snooze:
    """Nobody wants to hear of it, as it is now, until a time."""

    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """It may stay as it is: all of it, or the attributes at these pointers."""

    owner: str | None = None
    expires: datetime | None = None
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopen:
    """It is everybody's again: the opposite of the others."""


Action: TypeAlias = Acknowledge | Snooze | Accept | Reopen

ACTION_NAMES: Mapping[type[Action], str] = {
    Acknowledge: "acknowledge",
    Snooze: "snooze",
    Accept: "accept",
    Reopen: "reopen",
}
"""How the audit names what is asked for, wherever it is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """An action as a person asked for it. `seen` is the fingerprint of what they saw, where that is known."""

    action: Action
    actor: str
    at: datetime
    reason: str | None = None
    seen: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why an action cannot be: a word for machines and a sentence for the person."""

    reason: str
    sentence: str


def advance(
    known: Sequence[StoredFinding],
    result: CheckResult,
    *,
    last: Inputs | None = None,
    flapping: Flapping | None = None,
) -> tuple[Step, ...]:
    """The steps from what is known of a stack (resolved findings included) to a check's result.

    `known` has at most one finding of each identity, the latest. `last` are the inputs of the stack's good
    check before this one: what has moved since then says by what a finding was resolved. Every finding of the
    result has a step, save noise at an identity whose counted finding is resolved: that stays in the check's
    own record.
    """
    if not result.verdict.is_good:
        return ()
    course = _Course(
        at=result.started_at,
        trigger=result.trigger,
        last=last,
        now=result.inputs,
        flapping=flapping or Flapping(),
        unjudged=result.unjudged,
    )
    by_identity = {stored.finding.identity: stored for stored in known}
    current = {finding.identity: finding for finding in result.findings}
    steps = [*_seen(by_identity, current, course), *_gone(by_identity, current, course)]
    return tuple(sorted(steps, key=lambda step: step.identity))


def act(found: StoredFinding, press: Press) -> Step | Refused:
    """What an action makes of a finding, or why it makes nothing of it."""
    refused = _unfit(found, press)
    if refused is not None:
        return refused
    match press.action:
        case Acknowledge():
            return _acknowledged(found, press)
        case Snooze(until=until):
            return _snoozed(found, press, until)
        case Accept():
            return _accepted(found, press, press.action)
        case Reopen():
            return _reopened_by_hand(found, press)


def expire(found: StoredFinding, at: datetime) -> Step | None:
    """The finding back among the open ones where its snooze or acceptance has ended, else None."""
    if not found.status.is_quiet or not _has_ended(found, at):
        return None
    kept = replace(standing(found), acceptance=_lasting(found.acceptance, at))
    return _back(kept, _ENDED[found.status])


def standing(found: StoredFinding) -> Step:
    """No step at all: a finding as it stands, for whoever must know of all of a stack's."""
    return Step(
        identity=found.finding.identity,
        before=found,
        status=found.status,
        finding=found.finding,
        event=SEEN,
        until=found.until,
        acceptance=found.acceptance,
        resolution=found.resolution,
        turns=found.turns,
        flapping_since=found.flapping_since,
        story=found.story,
    )


# ---- checks --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """What all findings of one check have in common."""

    at: datetime
    trigger: Trigger
    last: Inputs | None
    now: Inputs
    flapping: Flapping
    unjudged: tuple[str, ...]
    """What the check could say nothing of: it stays as it was."""


def _seen(known: dict[str, StoredFinding], current: dict[str, Finding], course: _Course) -> Iterator[Step]:
    for identity, finding in current.items():
        before = known.get(identity)
        if before is None or (finding.counted and not before.finding.counted):
            yield _opened(before, finding, course)  # nobody was told of it as long as it was noise
        elif before.finding.counted and not finding.counted:
            continue
        elif before.status.is_active:
            yield _met(before, finding, course)
        else:
            yield _returned(before, finding, course)


def _opened(before: StoredFinding | None, finding: Finding, course: _Course) -> Step:
    return Step(
        identity=finding.identity,
        before=before,
        status=FindingStatus.OPEN,
        finding=finding,
        event=FindingEventKind.OPENED,
        story=story_of(finding, course.now),
    )


def _met(before: StoredFinding, finding: Finding, course: _Course) -> Step:
    """One that was there at the last good check, and still is."""
    lost = finding.kind.is_removal and finding.kind is not before.finding.kind
    acceptance = None if lost else _lasting(before.acceptance, course.at)
    stays = replace(
        standing(before), finding=finding, acceptance=acceptance, story=_story_now(before, finding)
    )
    same = before.finding.fingerprint == finding.fingerprint
    if acceptance is not None and covers(acceptance, finding):
        return _covered(stays, acceptance)
    if before.status.is_quiet:
        if before.status is FindingStatus.SNOOZED and same and not _has_ended(before, course.at):
            return stays
        return _back(stays, _why_back(before, finding, course.at, lost=lost))
    if before.flapping_since is not None and not lost:
        return _restless(stays, before, course)
    if same:
        return stays
    return replace(
        stays,
        status=FindingStatus.CHANGED,
        event=FindingEventKind.CHANGED,
        flapping_since=None,
        turns=() if before.flapping_since else before.turns,
    )


def _story_now(before: StoredFinding, finding: Finding) -> str:
    """Where it is told on: what somebody changes by hand must not hide in a story of what waits anyway."""
    by_hand = Cause.OUT_OF_BAND in finding.causes and Cause.OUT_OF_BAND not in before.finding.causes
    return OWN if by_hand else before.story


def _covered(stays: Step, acceptance: Acceptance) -> Step:
    if stays.status is FindingStatus.ACCEPTED:
        return stays
    return replace(
        stays,
        status=FindingStatus.ACCEPTED,
        event=FindingEventKind.ACCEPTED,
        reason=f"all that is left was accepted by {acceptance.by}: {acceptance.reason}",
        until=acceptance.expires,
        turns=(),
        flapping_since=None,
    )


def _restless(stays: Step, before: StoredFinding, course: _Course) -> Step:
    """One that comes and goes: it may change without a word until it has stayed for long enough."""
    if course.at - max(before.turns, default=course.at) >= course.flapping.within:
        return replace(
            stays,
            status=FindingStatus.OPEN if before.status is FindingStatus.FLAPPING else before.status,
            event=FindingEventKind.SETTLED,
            reason="it has stayed",
            turns=(),
            flapping_since=None,
        )
    if before.finding.fingerprint == stays.finding.fingerprint:
        return stays
    return replace(stays, event=FindingEventKind.CHANGED)


def _returned(before: StoredFinding, finding: Finding, course: _Course) -> Step:
    """One that was resolved, and is there again."""
    lost = finding.kind.is_removal and not before.finding.kind.is_removal
    turns = (
        *(turn for turn in before.turns if course.at - turn < course.flapping.within),
        course.at,
    )[-course.flapping.turns :]
    back = Step(
        identity=finding.identity,
        before=before,
        status=FindingStatus.REOPENED,
        finding=finding,
        event=FindingEventKind.REOPENED,
        turns=turns,
        # One that comes and goes is told where that was told; any other begins anew.
        story=story_of(finding, course.now) if before.flapping_since is None else _story_now(before, finding),
    )
    if lost or not finding.counted:
        return replace(back, turns=())
    if before.flapping_since is not None:
        return replace(back, status=FindingStatus.FLAPPING, flapping_since=before.flapping_since)
    if len(turns) < course.flapping.turns:
        return back
    return replace(
        back,
        status=FindingStatus.FLAPPING,
        event=FindingEventKind.FLAPPING,
        reason=f"it came back {len(turns)} times within {_in_words(course.flapping.within)}",
        flapping_since=course.at,
    )


def _gone(known: dict[str, StoredFinding], current: dict[str, Finding], course: _Course) -> Iterator[Step]:
    for identity, before in known.items():
        now = current.get(identity)
        if now is not None and (now.counted or not before.finding.counted):
            continue
        if now is None and is_unjudged(identity, course.unjudged):
            if before.status.is_active:
                yield standing(before)
            continue
        if before.status.is_active:
            yield Step(
                identity=identity,
                before=before,
                status=FindingStatus.RESOLVED,
                finding=before.finding,
                event=FindingEventKind.RESOLVED,
                resolution=_resolution(before.finding, now, course),
                turns=before.turns,
                flapping_since=before.flapping_since,
                story=before.story,
            )
        elif before.flapping_since is not None and _stayed_away(before, course):
            yield replace(
                standing(before),
                event=FindingEventKind.SETTLED,
                reason="it has stayed away",
                turns=(),
                flapping_since=None,
            )


def _stayed_away(before: StoredFinding, course: _Course) -> bool:
    moves = [*before.turns, *([before.resolved_at] if before.resolved_at else [])]
    return course.at - max(moves, default=course.at) >= course.flapping.within


def _resolution(finding: Finding, left: Finding | None, course: _Course) -> Resolution:
    """By what it ended: what moved between the last check that saw it and this one."""
    applied = course.trigger is Trigger.POST_APPLY or _applied(course.last, course.now)
    if finding.kind is FindingKind.DESTROYED and applied:
        return Resolution.GONE
    if _recoded(course.last, course.now):
        return Resolution.CODE
    if applied:
        return Resolution.REPAIR
    if left is not None:
        return Resolution.NOISE
    return Resolution.UNDETERMINED if applied is None else Resolution.HAND


def _recoded(last: Inputs | None, now: Inputs) -> bool:
    """The stack's own files moved; where they are not known, the commit did."""
    if last is None:
        return False
    if last.tree is not None and now.tree is not None:
        return last.tree != now.tree
    return last.commit is not None and now.commit is not None and last.commit != now.commit


def _applied(last: Inputs | None, now: Inputs) -> bool | None:
    """Whether somebody wrote the state; None where it is not known."""
    if last is None or last.state_serial is None or now.state_serial is None:
        return None
    return (last.state_lineage, last.state_serial) != (now.state_lineage, now.state_serial)


# ---- people --------------------------------------------------------------------------------------------


def _unfit(found: StoredFinding, press: Press) -> Refused | None:
    """What is wrong with an action on this finding, whichever it is."""
    if not found.status.is_active:
        resolution = f" ({found.resolution})" if found.resolution else ""
        return Refused(
            reason="resolved", sentence=f"finding {found.id} is resolved{resolution}: there is nothing to do"
        )
    if not found.finding.counted:
        return Refused(reason="noise", sentence=f"finding {found.id} is noise, which nobody is told of")
    if press.seen is not None and press.seen != found.finding.fingerprint:
        return Refused(
            reason="outdated",
            sentence=f"finding {found.id} has changed since you saw it: look at it again first",
        )
    if press.reason is not None and len(press.reason) > LONGEST_REASON:
        return Refused(
            reason="reason_too_long",
            sentence=f"the reason is over {LONGEST_REASON} characters long: give a sentence and a link",
        )
    return None


def _acknowledged(found: StoredFinding, press: Press) -> Step | Refused:
    if found.status.is_quiet or found.status is FindingStatus.ACKNOWLEDGED:
        return _is_already(found)
    return _pressed(found, press, FindingStatus.ACKNOWLEDGED, FindingEventKind.ACKNOWLEDGED)


def _snoozed(found: StoredFinding, press: Press, until: datetime) -> Step | Refused:
    if found.status is FindingStatus.ACCEPTED:
        return _is_already(found)
    if until <= press.at:
        return Refused(
            reason="past", sentence=f"a snooze must end in the future, and {_shown(until)} is over"
        )
    step = _pressed(found, press, FindingStatus.SNOOZED, FindingEventKind.SNOOZED)
    return replace(step, until=until, turns=(), flapping_since=None)


def _accepted(found: StoredFinding, press: Press, terms: Accept) -> Step | Refused:
    if press.reason is None or not press.reason.strip():
        return Refused(reason="no_reason", sentence="an acceptance needs a reason, for who reads it later")
    if terms.expires is not None and terms.expires <= press.at:
        return Refused(
            reason="past",
            sentence=f"an acceptance must expire in the future, and {_shown(terms.expires)} is over",
        )
    values = accepted_values(found.finding)
    if missing := [pointer for pointer in terms.attributes if pointer not in values]:
        differ = ", ".join(values) or "none"
        return Refused(
            reason="no_such_attribute",
            sentence=f"{', '.join(missing)} does not differ in finding {found.id}; what differs: {differ}",
        )
    acceptance = Acceptance(
        kind=found.finding.kind,
        fingerprint=found.finding.fingerprint,
        values={path: values[path] for path in terms.attributes or values},
        by=press.actor,
        at=press.at,
        reason=press.reason,
        owner=terms.owner,
        expires=terms.expires,
    )
    step = replace(
        _pressed(found, press, FindingStatus.ACCEPTED, FindingEventKind.ACCEPTED), acceptance=acceptance
    )
    if covers(acceptance, found.finding):
        return replace(step, until=terms.expires, turns=(), flapping_since=None)
    # The rest keeps it where it was; once only what was accepted is left, it is accepted.
    kept = FindingStatus.REOPENED if found.status.is_quiet else found.status
    return replace(step, status=kept, until=None)


def _reopened_by_hand(found: StoredFinding, press: Press) -> Step | Refused:
    said = (FindingStatus.ACKNOWLEDGED, FindingStatus.SNOOZED, FindingStatus.ACCEPTED)
    if found.status not in said and found.acceptance is None:
        return Refused(reason="open", sentence=f"finding {found.id} is open already ({found.status})")
    step = _pressed(found, press, FindingStatus.REOPENED, FindingEventKind.REOPENED)
    return replace(step, until=None, acceptance=None, turns=(), flapping_since=None)


def _pressed(found: StoredFinding, press: Press, status: FindingStatus, event: FindingEventKind) -> Step:
    return replace(standing(found), status=status, event=event, actor=press.actor, reason=press.reason)


def _is_already(found: StoredFinding) -> Refused:
    until = f" until {_shown(found.until)}" if found.until else ""
    sentence = f"finding {found.id} is {found.status}{until} already"
    if found.status.is_quiet:
        sentence += ": reopen it first"
    return Refused(reason=f"already_{found.status}", sentence=sentence)


# ---- time ----------------------------------------------------------------------------------------------

_ENDED = {
    FindingStatus.SNOOZED: "the snooze ended",
    FindingStatus.ACCEPTED: "the acceptance expired",
}


def _has_ended(found: StoredFinding, at: datetime) -> bool:
    return found.until is not None and found.until <= at


def _lasting(acceptance: Acceptance | None, at: datetime) -> Acceptance | None:
    if acceptance is None or (acceptance.expires is not None and acceptance.expires <= at):
        return None
    return acceptance


def _why_back(before: StoredFinding, finding: Finding, at: datetime, *, lost: bool) -> str:
    if lost:
        return f"it is {finding.kind} now, which nobody has {before.status}"
    if _has_ended(before, at):
        return _ENDED[before.status]
    if before.status is FindingStatus.ACCEPTED:
        return "what differs is not what was accepted"
    return "it changed"


def _back(step: Step, reason: str) -> Step:
    """One that was put aside, and is everybody's again."""
    return replace(
        step,
        status=FindingStatus.REOPENED,
        event=FindingEventKind.REOPENED,
        reason=reason,
        until=None,
    )


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M %Z}"


def _in_words(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{hours:g} h" if hours >= 1 else f"{span.total_seconds() / 60:g} min"
