"""A stack's findings in memory: what checks, people and the time do to them, by the decisions alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from driftwatch.drift import (
    SEEN,
    Flapping,
    Occasion,
    Press,
    Refused,
    Step,
    Told,
    act,
    advance,
    announce,
    announce_between,
    expire,
    remind,
    standing,
)
from driftwatch.drift.fingerprint import fingerprint_of
from driftwatch.model import (
    Announcement,
    AttributeChange,
    Cause,
    CheckResult,
    ErrorReport,
    Finding,
    FindingEventKind,
    FindingKind,
    FindingStatus,
    Inputs,
    Method,
    Severity,
    StackDeclaration,
    StackId,
    StoredFinding,
    Trigger,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

START = datetime(2026, 3, 1, tzinfo=UTC)
STACK = StackId(repository="platform", path="envs/prod")
DECLARATION = StackDeclaration(id=STACK, owners=("@platform",))
FLAPPING = Flapping(turns=3, within=timedelta(hours=24))


def finding(
    name: str = "a",
    kind: FindingKind = FindingKind.MODIFIED,
    values: Mapping[str, Any] | None = None,
    *,
    counted: bool = True,
) -> Finding:
    """A thing that is as `values` say in the cloud, and 0 everywhere in the code."""
    changes = tuple(
        AttributeChange(
            path=path,
            before=0,
            actual=value,
            after=0,
            sensitive=False,
            cause=Cause.OUT_OF_BAND if counted else Cause.NOISE,
        )
        for path, value in sorted(({"/port": 1} if values is None else values).items())
    )
    address = f"thing.{name}"
    return Finding(
        address=address,
        type="thing",
        kind=kind,
        action="update",
        causes=(Cause.OUT_OF_BAND if counted else Cause.NOISE,),
        severity=Severity.MEDIUM,
        fingerprint=fingerprint_of(address=address, kind=kind, attributes=changes, counted=counted),
        counted=counted,
        attributes=changes,
    )


def check(
    *findings: Finding,
    verdict: Verdict | None = None,
    inputs: Inputs | None = None,
    trigger: Trigger = Trigger.SCHEDULE,
) -> CheckResult:
    """The verdict is that of the findings unless another one is given."""
    drifted = any(each.counted for each in findings)
    return CheckResult(
        stack=STACK,
        commit="c1",
        trigger=trigger,
        verdict=verdict or (Verdict.DRIFTED if drifted else Verdict.IN_SYNC),
        method=Method.PLAN,
        method_reason="no_recording",
        started_at=START,
        duration_seconds=1.0,
        findings=findings,
        error=ErrorReport(code="timeout", message="It took too long.") if verdict is Verdict.ERROR else None,
        inputs=inputs or Inputs(commit="c1", tree="t1", state_lineage="l", state_serial=1),
    )


@dataclass
class Life:
    """Does what the steps say and nothing else, on a clock of its own."""

    now: datetime = START
    rows: dict[str, StoredFinding] = field(default_factory=dict)
    told: Told = field(default_factory=Told)
    last: Inputs | None = None
    last_good: datetime | None = None
    heard: list[Announcement] = field(default_factory=list)
    events: list[tuple[str, FindingEventKind, str, str | None]] = field(default_factory=list)

    def passes(self, **span: float) -> None:
        self.now += timedelta(**span)

    def check(self, *findings: Finding, **words: Any) -> tuple[Announcement, ...]:
        self.passes(minutes=1)
        result = replace(check(*findings, **words), started_at=self.now)
        steps = advance(list(self.rows.values()), result, last=self.last, flapping=FLAPPING)
        for step in steps:
            self._store(step, by_check=True)
        said, self.told = announce(self.told, result, steps, DECLARATION)
        if result.verdict.is_good:
            self.last, self.last_good = result.inputs, self.now
        self.heard += said
        return said

    def press(self, action: Any, name: str = "a", **words: Any) -> Step | Refused:
        press = Press(action=action, actor="alice", at=self.now, **{"reason": "on purpose", **words})
        step = act(self.row(name), press)
        if isinstance(step, Step):
            self._store(step, by_check=False)
        return step

    def tick(self) -> tuple[Announcement, ...]:
        steps = []
        for row in list(self.rows.values()):
            step = expire(row, self.now)
            if step is not None:
                self._store(step, by_check=False)
            if row.status.is_active:
                steps.append(step or standing(row))
        said, self.told = announce_between(self.told, self._occasion(), steps, DECLARATION)
        self.heard += said
        return said

    def remind(self, after: timedelta) -> tuple[Announcement, ...]:
        steps = [standing(row) for row in self.rows.values() if row.status.is_active]
        said, self.told = remind(self.told, self._occasion(), steps, DECLARATION, after=after)
        return said

    def row(self, name: str = "a") -> StoredFinding:
        """The finding of that name, or of that identity."""
        return self.rows[name if ":" in name else f"resource:thing.{name}"]

    def _occasion(self) -> Occasion:
        return Occasion(
            stack=STACK, verdict=Verdict.DRIFTED, commit="c1", trigger=Trigger.SCHEDULE, at=self.now
        )

    def _store(self, step: Step, *, by_check: bool) -> None:
        before = step.before
        if step.event != SEEN:
            self.events.append((step.identity, step.event, step.actor, step.reason))
        born = before is None or step.event == FindingEventKind.OPENED
        begun = born or (by_check and step.status.is_active and not before.status.is_active)
        seen = by_check and step.status.is_active
        ended = step.event == FindingEventKind.RESOLVED
        self.rows[step.identity] = StoredFinding(
            id=before.id if before else len(self.rows) + 1,
            stack=STACK,
            status=step.status,
            first_seen=self.now if before is None or born else before.first_seen,
            last_seen=self.now if before is None or seen else before.last_seen,
            finding=step.finding,
            resolved_at=self.now if ended else before.resolved_at if before and not begun else None,
            resolution=step.resolution if step.status is FindingStatus.RESOLVED else None,
            opened_at=self.now if begun else before.opened_at if before else None,
            clean_at=self.last_good if begun else before.clean_at if before else None,
            until=step.until,
            acceptance=step.acceptance,
            turns=step.turns,
            flapping_since=step.flapping_since,
        )
