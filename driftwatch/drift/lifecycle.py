"""The life of findings from check to check: opened, changed, resolved, reopened.

Pure: the store calls `advance` inside its transaction and writes what it says.

Only a check that came to know something moves anything; a failed or skipped one resolves nothing. A finding
is the same one in the next check when its identity is the same (address and sort), whatever has become of its
attributes by then.

Noise has a life of its own, so that it is kept, but it never continues the life of a finding that counted: a
counted finding that turns into noise is resolved, as it was last seen, and stays so until it counts again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from driftwatch.model import CheckResult, Finding, FindingStatus, StoredFinding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Event: TypeAlias = Literal["opened", "changed", "reopened", "resolved", "seen"]

_STATUS: dict[Event, FindingStatus] = {
    "opened": FindingStatus.OPEN,
    "changed": FindingStatus.CHANGED,
    "reopened": FindingStatus.REOPENED,
    "resolved": FindingStatus.RESOLVED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one check did to one finding. `before` is None for one that was never known.

    `status` and `finding` are what is to be stored. `seen` is no news: only "last seen" moves.
    """

    identity: str
    before: StoredFinding | None
    status: FindingStatus
    finding: Finding
    event: Event


def advance(known: Sequence[StoredFinding], result: CheckResult) -> tuple[Step, ...]:
    """The steps from what is known of a stack (resolved findings included) to a check's result.

    `known` has at most one finding of each identity, the latest. Every finding of the result has a step,
    save noise at an identity whose counted finding is resolved: that stays in the check's own record.
    """
    if not result.verdict.is_good:
        return ()
    by_identity = {stored.finding.identity: stored for stored in known}
    current = {finding.identity: finding for finding in result.findings}
    steps = [*_seen(by_identity, current), *_gone(by_identity, current)]
    return tuple(sorted(steps, key=lambda step: step.identity))


def _seen(known: dict[str, StoredFinding], current: dict[str, Finding]) -> Iterator[Step]:
    for identity, finding in current.items():
        before = known.get(identity)
        if before is not None and before.finding.counted and not finding.counted:
            continue
        event = _event(before, finding)
        status = before.status if before is not None and event == "seen" else _STATUS[event]
        yield Step(identity=identity, before=before, status=status, finding=finding, event=event)


def _event(before: StoredFinding | None, finding: Finding) -> Event:
    if before is None or (finding.counted and not before.finding.counted):
        return "opened"  # nobody was told of it as long as it was noise
    if not before.status.is_active:
        return "reopened"
    return "seen" if before.finding.fingerprint == finding.fingerprint else "changed"


def _gone(known: dict[str, StoredFinding], current: dict[str, Finding]) -> Iterator[Step]:
    for identity, before in known.items():
        now = current.get(identity)
        stays = now is not None and (now.counted or not before.finding.counted)
        if before.status.is_active and not stays:
            yield Step(
                identity=identity,
                before=before,
                status=FindingStatus.RESOLVED,
                finding=before.finding,
                event="resolved",
            )
