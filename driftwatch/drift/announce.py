"""When people are told: at transitions of a stack, and never the same content twice in a row.

Pure: the store keeps one `Told` per stack, calls this inside its transaction, and writes the messages with
what they tell of. What was told, not what happened, decides what is told next, so that a message can neither
be repeated nor skipped by a restart.

Two stories run side by side, each from its beginning to its end an episode whose messages belong together:
the drift (found, changed …, reminded of, resolved) and the detector (check failing, stale, recovered). A
failing check says nothing of the drift: what was told of it stays. A replay that was wrong is a story of one
message.

What a person snoozed or accepted is no news as long as it is, and the story that it is part of goes on: it
is told of again there if it comes back, and the story ends when nothing is left. A finding that comes and
goes is told of when that is noticed, and again when it has settled.

A stack has as many stories of drift as its findings have shared causes, beside its own
(`driftwatch.drift.stories`): one `Told` each. The own one also holds what is told of the detector.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta  # noqa: TC003  (dataclass fields are read at run time)
from typing import TYPE_CHECKING

from driftwatch.drift.bounds import bounded
from driftwatch.drift.lifecycle import Accept, Acknowledge, Reopen, Snooze
from driftwatch.drift.stories import OWN
from driftwatch.model import (
    ANNOUNCED_FINDINGS,
    Announcement,
    CheckResult,
    ErrorReport,
    FindingEventKind,
    FindingStatus,
    StackDeclaration,
    StackId,
    TransitionKind,
    Trigger,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from driftwatch.drift.lifecycle import Press, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the people of a stack last heard.

    `counted` are the fingerprints of the open findings they know of, `flapping` the identities of those that
    come and go, `set_aside` the fingerprints of those they know of and somebody put aside since. `episode`
    names the running story of them, `spoken_at` is when it was last told of. `failing` is true where they
    know that checks fail, `stale` where they know that none comes; `outage` names that story. `failures`
    counts the checks that failed in a row.
    """

    episode: str | None = None
    counted: frozenset[str] = frozenset()
    failing: bool = False
    outage: str | None = None
    flapping: frozenset[str] = frozenset()
    set_aside: frozenset[str] = frozenset()
    spoken_at: datetime | None = None
    stale: bool = False
    failures: int = 0

    @property
    def is_silent(self) -> bool:
        """True where there is nothing to remember."""
        return self == Told(spoken_at=self.spoken_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """Of which stack is spoken, as of when: a check that was made, or the latest one where none was."""

    stack: StackId
    verdict: Verdict
    commit: str | None
    trigger: Trigger
    at: datetime
    error: ErrorReport | None = None
    mass_deletion: str | None = None
    disagreement: str | None = None
    story: str = OWN


_DID = {
    Acknowledge: "looks after",
    Snooze: "snoozed",
    Accept: "accepted",
    Reopen: "re-opened",
}

_DETECTOR = frozenset(kind for kind in TransitionKind if kind.is_of_detector)


def announce_all(
    heard: Mapping[str, Told],
    result: CheckResult,
    steps: Sequence[Step],
    declaration: StackDeclaration,
    *,
    failing_checks: int = 1,
) -> Iterator[tuple[str, tuple[Announcement, ...], Told]]:
    """What to say after a check in each story of its stack: its key, what is said, what is known then.

    `heard` is what is known of each story, by its key. What only concerns the detector is the own story's.
    """
    for story in sorted({OWN, *heard, *(step.story for step in steps)}):
        before = heard.get(story, Told())
        mine = [step for step in steps if step.story == story]
        # One that comes and goes needs no step to stay in a story; one that is told elsewhere now has left.
        left = frozenset(step.identity for step in steps if step.story != story)
        before = replace(before, flapping=before.flapping - left)
        if story != OWN and result.verdict.is_good:
            # What is said of the whole stack is said once.
            quiet = replace(result, disagreement=None, mass_deletion=None)
            yield story, *announce(before, quiet, mine, declaration, story=story)
        elif story == OWN:
            yield story, *announce(before, result, mine, declaration, failing_checks=failing_checks)


def announce(
    told: Told,
    result: CheckResult,
    steps: Sequence[Step],
    declaration: StackDeclaration,
    *,
    story: str = OWN,
    failing_checks: int = 1,
) -> tuple[tuple[Announcement, ...], Told]:
    """What to say after a check in one story, and what people know then.

    `steps` are those of `advance` for this check that belong to the story. An error that may pass by itself
    is told of when `failing_checks` checks have failed in a row.
    """
    occasion = replace(_of_check(result), story=story)
    if result.verdict is Verdict.ERROR:
        return _after_failure(told, occasion, declaration, failing_checks=failing_checks)
    if not result.verdict.is_good:
        return (), told
    now = _now(told, occasion, steps)
    kinds = tuple(_kinds(told, now, steps))
    if result.disagreement:
        kinds = (*kinds, TransitionKind.REPLAY_DISAGREED)
    said = tuple(_announcement(kind, occasion, told, steps, declaration) for kind in kinds)
    return said, _spoken(told, now, kinds, occasion.at)


def announce_between(
    told: Told, occasion: Occasion, steps: Sequence[Step], declaration: StackDeclaration
) -> tuple[tuple[Announcement, ...], Told]:
    """What to say where no check was made, and what people know then: a snooze is over.

    `steps` are those of all findings of the stack that are not resolved.
    """
    now = replace(
        _now(told, occasion, steps),
        failing=told.failing,
        stale=told.stale,
        outage=told.outage,
        failures=told.failures,
    )
    kinds = tuple(_drift_kinds(told, now, steps))
    said = tuple(_announcement(kind, occasion, told, steps, declaration) for kind in kinds)
    return said, _spoken(told, now, kinds, occasion.at)


def remind(
    told: Told,
    occasion: Occasion,
    steps: Sequence[Step],
    declaration: StackDeclaration,
    *,
    after: timedelta,
) -> tuple[tuple[Announcement, ...], Told]:
    """A reminder of what was last spoken of longer than `after` ago, and what people know then.

    What everybody knows that somebody looks after is nothing to be reminded of. `steps` are as above.
    """
    waiting = [step for step in steps if step.is_loud and step.status is not FindingStatus.ACKNOWLEDGED]
    if told.episode is None or not waiting:
        return (), told
    if told.spoken_at is None:
        return (), replace(told, spoken_at=occasion.at)  # told before it was noted when
    if occasion.at - told.spoken_at < after:
        return (), told
    said = _announcement(TransitionKind.REMINDER, occasion, told, steps, declaration)
    return (said,), replace(told, spoken_at=occasion.at)


def announce_stale(
    told: Told, occasion: Occasion, declaration: StackDeclaration, *, sentence: str
) -> tuple[tuple[Announcement, ...], Told]:
    """That nobody watches this stack any more, once; the next good check says that it is watched again."""
    if told.stale:
        return (), told
    unwatched = replace(occasion, error=_stale(occasion, sentence))
    said = _announcement(TransitionKind.STALE, unwatched, told, (), declaration)
    return (said,), replace(told, stale=True, outage=told.outage or _name("outage", occasion))


def handled(
    told: Told, occasion: Occasion, steps: Sequence[Step], declaration: StackDeclaration, *, said: str
) -> tuple[Announcement, ...]:
    """That a person did something with findings of a story that people know of; what is known stays.

    `steps` are all of the story's findings that are not resolved, as they are then.
    """
    if told.episode is None:
        return ()
    announcement = _announcement(TransitionKind.HANDLED, occasion, told, steps, declaration)
    return (replace(announcement, said=said, opened=(), changed=(), resolved=(), flapping=()),)


def repaired(
    told: Told, occasion: Occasion, steps: Sequence[Step], declaration: StackDeclaration, *, said: str
) -> Announcement:
    """That something became of a proposal for a story; what is known of the story stays.

    `steps` are as for `handled`.
    """
    announcement = _announcement(TransitionKind.REPAIR, occasion, told, steps, declaration)
    return replace(announcement, said=said, opened=(), changed=(), resolved=(), flapping=())


def said_of(steps: Sequence[Step], press: Press) -> str:
    """What a person did with findings of one story, as a sentence: `anna snoozed aws_x.y until …: reason`."""
    first = steps[0]
    what = first.finding.address if len(steps) == 1 else f"{len(steps)} findings"
    until = f" until {first.until:%Y-%m-%d %H:%M} UTC" if first.until else ""
    why = f": {press.reason}" if press.reason else ""
    return f"{press.actor} {_DID[type(press.action)]} {what}{until}{why}"


def episode_of(announcement: Announcement, before: Told, after: Told) -> str:
    """The episode that an announcement belongs to: the one it began, runs in, or ended."""
    if announcement.kind is TransitionKind.REPLAY_DISAGREED:
        return f"shadow:{announcement.stack}:{announcement.at.isoformat()}"
    if announcement.kind in _DETECTOR:
        return after.outage or before.outage or ""
    return after.episode or before.episode or ""


def _of_check(result: CheckResult) -> Occasion:
    return Occasion(
        stack=result.stack,
        verdict=result.verdict,
        commit=result.commit,
        trigger=result.trigger,
        at=result.started_at,
        error=result.error,
        mass_deletion=result.mass_deletion,
        disagreement=result.disagreement,
    )


def _after_failure(
    told: Told, occasion: Occasion, declaration: StackDeclaration, *, failing_checks: int
) -> tuple[tuple[Announcement, ...], Told]:
    told = replace(told, failures=told.failures + 1)
    passing = occasion.error is not None and occasion.error.passing
    if told.failing or (passing and told.failures < failing_checks):
        return (), told
    failing = _announcement(TransitionKind.CHECK_FAILING, occasion, told, (), declaration)
    return (failing,), replace(told, failing=True, outage=told.outage or _name("outage", occasion))


def _now(told: Told, occasion: Occasion, steps: Sequence[Step]) -> Told:
    """What people know once all is said that is to be said of these steps."""
    flapping = _flapping(told, steps)
    loud = frozenset(
        step.finding.fingerprint for step in steps if step.is_loud and step.identity not in flapping
    )
    known = told.counted | told.set_aside
    aside = frozenset[str]().union(
        *(
            _prints(step)
            for step in steps
            if step.status.is_quiet and (_prints(step) & known or step.identity in told.flapping)
        )
    )
    if not (loud or flapping) and _loud_before(told, steps):
        aside = frozenset()  # all that was open is resolved: the story ends, whatever was put aside
    goes_on = bool(loud or flapping or aside)
    return Told(
        counted=loud,
        flapping=flapping,
        set_aside=aside,
        episode=(told.episode or _name("drift", occasion)) if goes_on else None,
        spoken_at=told.spoken_at,
    )


def _prints(step: Step) -> frozenset[str]:
    """A finding as people may have heard of it: as it is now, and as it was before this step.

    Where a check found that only what was accepted is left, the rest that they heard of has ended.
    """
    now = frozenset({step.finding.fingerprint})
    if step.before is None or step.event is FindingEventKind.ACCEPTED:
        return now
    return now | {step.before.finding.fingerprint}


def _flapping(told: Told, steps: Sequence[Step]) -> frozenset[str]:
    """Those that come and go: one that is away for now has no step in this check."""
    moved = {step.identity for step in steps}
    restless = {
        step.identity for step in steps if step.flapping_since is not None and not step.status.is_quiet
    }
    return frozenset((told.flapping - moved) | restless)


def _loud_before(told: Told, steps: Sequence[Step]) -> bool:
    """Whether people knew of anything open that nobody has put aside since."""
    quiet = [step for step in steps if step.status.is_quiet]
    prints = frozenset[str]().union(*map(_prints, quiet))
    return bool(told.counted - prints or told.flapping - {step.identity for step in quiet})


def _kinds(told: Told, now: Told, steps: Sequence[Step]) -> Iterator[TransitionKind]:
    if told.failing or told.stale:
        yield TransitionKind.RECOVERED
    yield from _drift_kinds(told, now, steps)


def _drift_kinds(told: Told, now: Told, steps: Sequence[Step]) -> Iterator[TransitionKind]:
    if told.episode is None:
        if now.episode is not None:
            yield TransitionKind.DRIFT_FOUND
    elif now.episode is None:
        yield TransitionKind.RESOLVED
    elif _more(told, now, steps) or _fewer(told, now, steps):
        yield TransitionKind.DRIFT_CHANGED


def _more(told: Told, now: Told, steps: Sequence[Step]) -> bool:
    """Something is open that was not told of, or that somebody had put aside since."""
    back = any(_is_back(step) and step.identity not in told.flapping for step in steps)
    return bool(back or now.counted - told.counted or now.flapping - told.flapping)


def _fewer(told: Told, now: Told, steps: Sequence[Step]) -> bool:
    """Something that was told of is gone, or has settled, and not because somebody put it aside."""
    settled = {step.identity for step in steps if step.event is FindingEventKind.SETTLED}
    return bool(told.counted - now.counted - now.set_aside or settled & told.flapping)


def _spoken(told: Told, now: Told, kinds: Iterable[TransitionKind], at: datetime) -> Told:
    """A story that has begun or gone on was spoken of now; one that has ended is forgotten."""
    if now.episode is None:
        return replace(now, spoken_at=None)
    return replace(now, spoken_at=at if set(kinds) - _DETECTOR else told.spoken_at)


def _stale(occasion: Occasion, sentence: str) -> ErrorReport:
    failing = occasion.error
    return ErrorReport(
        code="stale",
        message=f"{sentence}; the latest one failed: {failing.message}" if failing else sentence,
        advice=(failing.advice if failing else None)
        or "See whether the daemon runs and its queue moves: driftwatch doctor, driftwatch stacks list.",
    )


def _name(story: str, occasion: Occasion) -> str:
    """Unique: of one sort and cause, a story of a stack begins at one moment."""
    which = f":{occasion.story}" if occasion.story else ""
    return f"{story}:{occasion.stack}:{occasion.at.isoformat()}{which}"


def _announcement(
    kind: TransitionKind,
    occasion: Occasion,
    told: Told,
    steps: Sequence[Step],
    declaration: StackDeclaration,
) -> Announcement:
    loud = [step.finding for step in steps if step.is_loud]
    worst_first = sorted(loud, key=lambda finding: (-finding.severity.rank, finding.address))
    news = () if kind in _DETECTOR else tuple(step for step in steps if not _is_old(step, told))
    return Announcement(
        kind=kind,
        stack=str(occasion.stack),
        verdict=occasion.verdict,
        commit=occasion.commit,
        trigger=occasion.trigger,
        at=occasion.at,
        findings=tuple(map(bounded, worst_first[:ANNOUNCED_FINDINGS])),
        total=len(worst_first),
        opened=_addresses(step for step in news if step.is_loud and not _is_change(step)),
        changed=_addresses(step for step in news if step.is_loud and _is_change(step)),
        resolved=_addresses(step for step in news if _is_end(step)),
        flapping=_addresses(step for step in news if step.event is FindingEventKind.FLAPPING),
        owners=declaration.owners,
        error=occasion.error,
        mass_deletion=occasion.mass_deletion,
        disagreement=occasion.disagreement,
        set_aside=sum(step.status.is_quiet and step.finding.counted for step in steps),
        labels=declaration.labels,
    )


def _is_old(step: Step, told: Told) -> bool:
    """People know of it as it is; one that comes and goes they know of in whatever state it is just now."""
    if step.identity in told.flapping and step.event is not FindingEventKind.SETTLED:
        return step.flapping_since is not None
    return step.is_loud and step.finding.fingerprint in told.counted and not _is_back(step)


def _is_back(step: Step) -> bool:
    return step.is_loud and step.event is FindingEventKind.REOPENED


def _is_change(step: Step) -> bool:
    return step.event in (FindingEventKind.CHANGED, FindingEventKind.SETTLED)


def _is_end(step: Step) -> bool:
    settled = step.event is FindingEventKind.SETTLED and not step.status.is_active
    return settled or step.event is FindingEventKind.RESOLVED


def _addresses(steps: Iterable[Step]) -> tuple[str, ...]:
    return tuple(step.finding.address for step in steps if step.finding.counted)
