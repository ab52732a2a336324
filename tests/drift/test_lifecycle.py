"""Rows of findings through any history of checks: none lost, none resolved blindly, nothing told twice."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from driftwatch.drift import Step, Told, advance, announce, episode_of
from driftwatch.model import (
    ANNOUNCED_FINDINGS,
    Announcement,
    Cause,
    CheckResult,
    ErrorReport,
    Finding,
    FindingKind,
    FindingStatus,
    Method,
    Severity,
    StackDeclaration,
    StackId,
    StoredFinding,
    TransitionKind,
    Trigger,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

START = datetime(2026, 3, 1, tzinfo=UTC)
STACK = StackId(repository="platform", path="envs/prod")
DECLARATION = StackDeclaration(id=STACK, owners=("@platform",))
FOUND, CHANGED, RESOLVED, FAILING, RECOVERED = (
    TransitionKind.DRIFT_FOUND,
    TransitionKind.DRIFT_CHANGED,
    TransitionKind.RESOLVED,
    TransitionKind.CHECK_FAILING,
    TransitionKind.RECOVERED,
)


def finding(
    name: str,
    content: int = 0,
    *,
    counted: bool = True,
    kind: FindingKind = FindingKind.MODIFIED,
    severity: Severity = Severity.MEDIUM,
) -> Finding:
    return Finding(
        address=f"thing.{name}",
        type="thing",
        kind=kind,
        action="update",
        causes=(Cause.OUT_OF_BAND if counted else Cause.NOISE,),
        severity=severity,
        fingerprint=f"{name} {kind} {content} {counted}",
        counted=counted,
    )


def check(*findings: Finding, verdict: Verdict | None = None, at: int = 0) -> CheckResult:
    """The verdict is that of the findings unless another one is given."""
    drifted = any(each.counted for each in findings)
    return CheckResult(
        stack=STACK,
        commit="c1",
        trigger=Trigger.SCHEDULE,
        verdict=verdict or (Verdict.DRIFTED if drifted else Verdict.IN_SYNC),
        method=Method.PLAN,
        method_reason="no_recording",
        started_at=START + timedelta(minutes=at),
        duration_seconds=1.0,
        findings=findings,
        error=ErrorReport(code="timeout", message="It took too long.") if verdict is Verdict.ERROR else None,
    )


@dataclass
class Ledger:
    """A store in memory that does what the steps say and nothing else."""

    rows: dict[str, StoredFinding] = field(default_factory=dict)
    told: Told = field(default_factory=Told)
    checks: int = 0

    def record(self, result: CheckResult) -> tuple[tuple[Step, ...], tuple[Announcement, ...]]:
        self.checks += 1
        result = replace(result, started_at=START + timedelta(minutes=self.checks))
        steps = advance(list(self.rows.values()), result)
        for step in steps:
            self.rows[step.identity] = self._stored(step, result)
        announced, self.told = announce(self.told, result, steps, DECLARATION)
        return steps, announced

    def active(self, *, counted: bool) -> set[str]:
        return {
            identity
            for identity, row in self.rows.items()
            if row.status.is_active and row.finding.counted == counted
        }

    def _stored(self, step: Step, result: CheckResult) -> StoredFinding:
        assert step.identity == step.finding.identity
        first = step.before.first_seen if step.before else result.started_at
        return StoredFinding(
            id=step.before.id if step.before else len(self.rows) + 1,
            stack=STACK,
            status=step.status,
            first_seen=first,
            last_seen=result.started_at,
            finding=step.finding,
        )


def _events(steps: Sequence[Step]) -> dict[str, str]:
    return {step.identity: step.event for step in steps}


FINDINGS = st.builds(
    finding,
    st.sampled_from(["a", "b", "c"]),
    st.integers(0, 2),
    counted=st.booleans(),
    kind=st.sampled_from([FindingKind.MODIFIED, FindingKind.DELETED, FindingKind.CHECK_FAILED]),
)
RESULTS = st.one_of(
    st.lists(FINDINGS, max_size=4, unique_by=lambda each: each.identity).map(lambda found: check(*found)),
    st.sampled_from([check(verdict=Verdict.ERROR), check(verdict=Verdict.SKIPPED)]),
)
HISTORIES = st.lists(RESULTS, max_size=12)
SETTINGS = settings(max_examples=80, deadline=None, derandomize=True)


@SETTINGS
@given(history=HISTORIES)
def test_no_history_loses_a_finding_or_keeps_one_that_is_gone(history: list[CheckResult]) -> None:
    """After a good check the active counted findings are exactly those it saw, as it saw them."""
    ledger = Ledger()
    for result in history:
        before = dict(ledger.rows)

        ledger.record(result)

        if result.verdict.is_good:
            assert ledger.active(counted=True) == {each.identity for each in result.counted}
            for each in result.counted:
                assert ledger.rows[each.identity].finding == each
        else:
            assert ledger.rows == before


@SETTINGS
@given(history=HISTORIES)
def test_noise_is_kept_and_never_hides_what_counted(history: list[CheckResult]) -> None:
    """A row that once counted keeps what counted; noise elsewhere is active exactly while it is seen."""
    ledger = Ledger()
    for result in history:
        steps, _ = ledger.record(result)

        seen = {each.identity for each in result.findings if not each.counted}
        if result.verdict.is_good:
            assert ledger.active(counted=False) <= seen
            counted_once = {
                identity
                for identity, row in ledger.rows.items()
                if row.status is FindingStatus.RESOLVED and row.finding.counted
            }
            assert seen == ledger.active(counted=False) | (seen & counted_once)
        assert not [step for step in steps if step.event == "seen" and not step.status.is_active]


@SETTINGS
@given(history=HISTORIES)
def test_every_step_is_one_that_its_row_can_take(history: list[CheckResult]) -> None:
    """Opened once, resolved only while active, reopened only after that, changed only with new content."""
    ledger = Ledger()
    for result in history:
        steps, _ = ledger.record(result)
        for step in steps:
            before = step.before
            if step.event == "opened":
                assert before is None or not before.finding.counted
            else:
                assert before is not None
                assert before.status.is_active == (step.event != "reopened")
            if before is not None and step.event in ("changed", "seen"):
                same = before.finding.fingerprint == step.finding.fingerprint
                assert same == (step.event == "seen")


@SETTINGS
@given(history=HISTORIES)
def test_nothing_is_told_twice_and_nothing_is_kept_back(history: list[CheckResult]) -> None:
    """People who hear every message know, after each good check, exactly what it saw."""
    ledger = Ledger()
    heard: frozenset[str] = frozenset()
    failing = False
    for result in history:
        _, announced = ledger.record(result)
        kinds = [announcement.kind for announcement in announced]
        now = frozenset(each.fingerprint for each in result.counted)
        if result.verdict is Verdict.ERROR:
            assert kinds == ([] if failing else [FAILING])
            failing = True
        elif result.verdict is Verdict.SKIPPED:
            assert kinds == []
        else:
            expected = [RECOVERED] if failing else []
            if now != heard:
                expected.append(FOUND if not heard else CHANGED if now else RESOLVED)
            assert kinds == expected
            heard, failing = now, False


@SETTINGS
@given(history=HISTORIES)
def test_the_same_check_again_says_nothing(history: list[CheckResult]) -> None:
    ledger = Ledger()
    for result in history:
        ledger.record(result)
        steps, announced = ledger.record(result)

        assert announced == ()
        assert {step.event for step in steps} <= {"seen"}


@SETTINGS
@given(history=HISTORIES)
def test_messages_of_one_story_share_an_episode_and_no_two_stories_do(history: list[CheckResult]) -> None:
    ledger = Ledger()
    running: dict[str, str | None] = {"drift": None, "detector": None}
    ended: set[str] = set()
    for result in history:
        before = ledger.told
        _, announced = ledger.record(result)
        for announcement in announced:
            story = "detector" if announcement.kind in (FAILING, RECOVERED) else "drift"
            episode = episode_of(announcement, before, ledger.told)
            assert episode
            assert episode not in ended
            assert running[story] in (None, episode)
            running[story] = episode
            if announcement.kind in (RESOLVED, RECOVERED):
                ended.add(episode)
                running[story] = None


@SETTINGS
@given(history=HISTORIES)
def test_what_was_told_can_be_stored_and_read_back(history: list[CheckResult]) -> None:
    """The store keeps it as JSON between two checks."""
    adapter = TypeAdapter(Told)
    ledger = Ledger()
    for result in history:
        ledger.record(result)
        assert adapter.validate_json(adapter.dump_json(ledger.told)) == ledger.told


def test_the_life_of_a_finding() -> None:
    ledger = Ledger()
    story = [
        (check(finding("a")), "opened", FindingStatus.OPEN),
        (check(finding("a")), "seen", FindingStatus.OPEN),
        (check(finding("a", 1)), "changed", FindingStatus.CHANGED),
        (check(finding("a", 1)), "seen", FindingStatus.CHANGED),
        (check(), "resolved", FindingStatus.RESOLVED),
        (check(finding("a", 1)), "reopened", FindingStatus.REOPENED),
        (check(finding("a", 1)), "seen", FindingStatus.REOPENED),
    ]
    for result, event, status in story:
        (step,), _ = ledger.record(result)

        assert (step.event, step.status) == (event, status)


def test_a_resource_that_was_changed_and_then_deleted_is_one_finding() -> None:
    ledger = Ledger()
    ledger.record(check(finding("a")))
    steps, announced = ledger.record(check(finding("a", kind=FindingKind.DELETED)))

    assert _events(steps) == {"resource:thing.a": "changed"}
    assert [announcement.kind for announcement in announced] == [CHANGED]


def test_what_a_check_could_not_judge_stays_as_it_was() -> None:
    """A failing check block whose data an apply reads: neither resolved, nor told, nor told again."""
    ledger, failing = Ledger(), finding("a", kind=FindingKind.CHECK_FAILED)
    assert [each.kind for each in ledger.record(check(failing))[1]] == [FOUND]
    put_off = replace(check(), unjudged=(failing.identity,))
    for result in (put_off, put_off, check(failing)):
        steps, announced = ledger.record(result)
        assert _events(steps) == {failing.identity: "seen"}
        assert announced == ()
    assert _events(ledger.record(check())[0]) == {failing.identity: "resolved"}


@pytest.mark.parametrize("verdict", [Verdict.ERROR, Verdict.SKIPPED])
def test_a_check_that_knows_nothing_resolves_nothing(verdict: Verdict) -> None:
    ledger = Ledger()
    ledger.record(check(finding("a")))

    assert ledger.record(check(verdict=verdict))[0] == ()
    assert ledger.active(counted=True) == {"resource:thing.a"}
    assert ledger.told.counted


def test_what_is_now_noise_resolves_as_it_was_last_seen() -> None:
    """Repaired, and the provider still reads null as {}: the history must show what was repaired."""
    ledger = Ledger()
    ledger.record(check(finding("a")))
    (step,), announced = ledger.record(check(finding("a", counted=False)))

    assert (step.event, step.finding.counted) == ("resolved", True)
    assert [announcement.kind for announcement in announced] == [RESOLVED]
    assert announced[0].resolved == ("thing.a",)
    assert ledger.record(check(finding("a", counted=False))) == ((), ())
    assert _events(ledger.record(check(finding("a")))[0]) == {"resource:thing.a": "reopened"}


def test_noise_that_begins_to_count_is_opened_and_told() -> None:
    ledger = Ledger()
    assert ledger.record(check(finding("a", counted=False)))[1] == ()
    (step,), (announcement,) = ledger.record(check(finding("a")))

    assert (step.event, step.status) == ("opened", FindingStatus.OPEN)
    assert (announcement.kind, announcement.opened) == (FOUND, ("thing.a",))


def test_an_announcement_says_what_is_new_what_changed_and_what_is_gone() -> None:
    ledger = Ledger()
    ledger.record(check(finding("gone"), finding("same"), finding("other")))
    _, (announcement,) = ledger.record(check(finding("new"), finding("same"), finding("other", 1)))

    assert announcement.kind is CHANGED
    assert announcement.opened == ("thing.new",)
    assert announcement.changed == ("thing.other",)
    assert announcement.resolved == ("thing.gone",)
    assert announcement.owners == ("@platform",)
    assert announcement.stack == "platform/envs/prod"


def test_the_worst_findings_come_first_and_all_are_counted() -> None:
    """A message is for reading: noise is not in it, and of many findings only some are."""
    many = [finding(f"{index:03}") for index in range(50)]
    worst = finding("zzz", severity=Severity.CRITICAL)
    _, (announcement,) = Ledger().record(check(*many, worst, finding("noise", counted=False)))

    assert announcement.findings[0] == worst
    assert len(announcement.findings) == ANNOUNCED_FINDINGS
    assert announcement.total == 51


def test_a_failing_detector_says_why_and_leaves_the_drift_as_it_was_told() -> None:
    ledger = Ledger()
    ledger.record(check(finding("a")))
    told = ledger.told
    _, (failing,) = ledger.record(check(verdict=Verdict.ERROR))

    assert failing.kind is FAILING
    assert failing.error is not None
    assert failing.error.code == "timeout"
    assert failing.resolved == ()
    assert ledger.told == replace(told, failing=True, outage=ledger.told.outage, failures=1)


def test_drift_that_went_away_while_checks_failed_is_told_after_the_recovery() -> None:
    ledger = Ledger()
    ledger.record(check(finding("a")))
    ledger.record(check(verdict=Verdict.ERROR))
    _, announced = ledger.record(check())

    assert [announcement.kind for announcement in announced] == [RECOVERED, RESOLVED]
    assert announced[0].resolved == ()
    assert announced[1].resolved == ("thing.a",)


def test_a_mass_deletion_is_told_with_its_sentence() -> None:
    result = replace(check(finding("a")), mass_deletion="11 of 12 resources are gone.")
    _, (announcement,) = Ledger().record(result)

    assert announcement.mass_deletion == "11 of 12 resources are gone."
