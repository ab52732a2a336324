"""When people are told: at transitions of a stack, and never the same content twice in a row.

Pure: the store keeps one `Told` per stack, calls `announce` inside its transaction, and writes the messages
with the check. What was told, not what happened, decides what is told next, so that a message can neither be
repeated nor skipped by a restart.

Two stories run side by side, each from its beginning to its end an episode whose messages belong together:
the drift (found, changed …, resolved) and the detector (check failing, recovered). A failing check says
nothing of the drift: what was told of it stays. A replay that was wrong is a story of one message.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from driftwatch.model import (
    ANNOUNCED_FINDINGS,
    Announcement,
    CheckResult,
    StackDeclaration,
    TransitionKind,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from driftwatch.drift.lifecycle import Event, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the people of a stack last heard.

    `counted` are the fingerprints of the findings they know of, `episode` names the running story of them.
    `failing` is true where they know that checks fail, `outage` names that story.
    """

    episode: str | None = None
    counted: frozenset[str] = frozenset()
    failing: bool = False
    outage: str | None = None


_DETECTOR = frozenset(
    {TransitionKind.CHECK_FAILING, TransitionKind.RECOVERED, TransitionKind.REPLAY_DISAGREED}
)


def announce(
    told: Told, result: CheckResult, steps: Sequence[Step], declaration: StackDeclaration
) -> tuple[tuple[Announcement, ...], Told]:
    """What to say after a check, and what people know then. `steps` are those of `advance` for this check."""
    if result.verdict is Verdict.ERROR:
        return _after_failure(told, result, declaration)
    if not result.verdict.is_good:
        return (), told
    now = _now(told, result)
    kinds = tuple(_kinds(told, now))
    if result.disagreement:
        kinds = (*kinds, TransitionKind.REPLAY_DISAGREED)
    return tuple(_announcement(kind, result, steps, declaration) for kind in kinds), now


def episode_of(announcement: Announcement, before: Told, after: Told) -> str:
    """The episode that an announcement belongs to: the one it began, runs in, or ended."""
    if announcement.kind is TransitionKind.REPLAY_DISAGREED:
        return f"shadow:{announcement.stack}:{announcement.at.isoformat()}"
    if announcement.kind in _DETECTOR:
        return after.outage or before.outage or ""
    return after.episode or before.episode or ""


def _after_failure(
    told: Told, result: CheckResult, declaration: StackDeclaration
) -> tuple[tuple[Announcement, ...], Told]:
    if told.failing:
        return (), told
    failing = _announcement(TransitionKind.CHECK_FAILING, result, (), declaration)
    return (failing,), replace(told, failing=True, outage=_name("outage", result))


def _now(told: Told, result: CheckResult) -> Told:
    counted = frozenset(finding.fingerprint for finding in result.counted)
    running = told.episode or _name("drift", result)
    return Told(counted=counted, episode=running if counted else None)


def _kinds(told: Told, now: Told) -> Iterator[TransitionKind]:
    if told.failing:
        yield TransitionKind.RECOVERED
    if told.counted == now.counted:
        return
    if not told.counted:
        yield TransitionKind.DRIFT_FOUND
    else:
        yield TransitionKind.DRIFT_CHANGED if now.counted else TransitionKind.RESOLVED


def _name(story: str, result: CheckResult) -> str:
    """Unique per stack: a story begins with one check."""
    return f"{story}:{result.stack}:{result.started_at.isoformat()}"


def _announcement(
    kind: TransitionKind, result: CheckResult, steps: Sequence[Step], declaration: StackDeclaration
) -> Announcement:
    worst_first = sorted(result.counted, key=lambda finding: (-finding.severity.rank, finding.address))
    news = () if kind in _DETECTOR else steps
    return Announcement(
        kind=kind,
        stack=str(result.stack),
        verdict=result.verdict,
        commit=result.commit,
        trigger=result.trigger,
        at=result.started_at,
        findings=tuple(worst_first[:ANNOUNCED_FINDINGS]),
        total=len(worst_first),
        opened=_addresses(news, "opened", "reopened"),
        changed=_addresses(news, "changed"),
        resolved=_addresses(news, "resolved"),
        owners=declaration.owners,
        error=result.error,
        mass_deletion=result.mass_deletion,
        disagreement=result.disagreement,
    )


def _addresses(steps: Sequence[Step], *events: Event) -> tuple[str, ...]:
    return tuple(step.finding.address for step in steps if step.event in events and step.finding.counted)
