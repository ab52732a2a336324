"""What admission is told of a stack's earlier applies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from driftwatch.config.repair import RepairSettings
from driftwatch.config.rule_files import shipped
from driftwatch.config.rules import RulesSettings
from driftwatch.model import (
    Decision,
    FindingEventKind,
    PlanSummary,
    Proposal,
    ProposalDraft,
    ProposalKind,
    ProposalState,
    StackId,
)
from driftwatch.pipeline.admissions import EARLIER_APPLIES, OVERRIDE, Clerk, hiding
from driftwatch.store import Page

if TYPE_CHECKING:
    from driftwatch.policy.admission import Statement

State = ProposalState
MORNING = datetime.fromisoformat("2026-11-23T08:00:00+00:00")
FIRST, SECOND = "1" * 40, "2" * 40
DNS = StackId(repository="platform", path="envs/[prod]")


def proposal(
    state: ProposalState, *findings: str, commit: str = FIRST, stack: StackId = DNS, number: int = 1
) -> Proposal:
    draft = ProposalDraft(
        stack=stack,
        kind=ProposalKind.REVERT,
        commit=commit,
        digest="d1",
        findings=findings,
        addresses=findings,
        summary=PlanSummary(adds=1, updates=0, destroys=0, replaces=0, changes=()),
        reason="on_drift says apply",
        created_by="driftwatch",
        created_at=MORNING,
        expires_at=None,
        automatic=True,
    )
    return Proposal(id=number, state=state, draft=draft)


@dataclass
class FakeBook:
    """Earlier applies, the newest first."""

    earlier: list[Proposal]

    def applies(self, *, stack: str, limit: int) -> Page[Proposal]:
        assert limit == EARLIER_APPLIES
        mine = [each for each in self.earlier if fnmatchcase(str(each.draft.stack), stack)]
        return Page(items=mine, next=None)


def failed_before(*earlier: Proposal) -> set[str]:
    unused: dict[str, Any] = dict.fromkeys(
        ("workshop", "windows", "people", "settings", "course", "allowed_age", "clock")
    )
    clerk = Clerk(book=cast("Any", FakeBook(list(earlier))), ignoring=frozenset(), **unused)
    return set(clerk._failed_before(proposal(State.PROPOSED, "f1")))


@pytest.mark.parametrize("state", list(State))
def test_only_a_bad_end_is_a_failure(state: ProposalState) -> None:
    failed = {"f1", "f2"} if state in (State.FAILED, State.INTERRUPTED) else set()
    assert failed_before(proposal(state, "f1", "f2")) == failed


def test_what_another_commit_failed_at_is_not_forgotten() -> None:
    """Any commit comes to the branch of a busy repository; nobody knows that it mended just that."""
    assert failed_before(proposal(State.FAILED, "f1", commit=SECOND)) == {"f1"}


def statement(*decisions: Decision, at: datetime = MORNING) -> Statement | None:
    unused: dict[str, Any] = dict.fromkeys(
        ("book", "workshop", "windows", "people", "course", "allowed_age", "clock")
    )
    clerk = Clerk(settings=RepairSettings(), ignoring=frozenset(), **unused)
    decided = replace(proposal(State.APPROVED, "f1"), decisions=decisions)
    return clerk._statement(decided, OVERRIDE, at)


def decision(by: str, via: str = f"terminal{OVERRIDE}", **words: Any) -> Decision:
    standard: dict[str, Any] = {"approves": True, "digest": "d1", "reason": "prod is down", "at": MORNING}
    return Decision(by=by, via=via, **(standard | words))


def test_what_somebody_said_in_spite_of_a_window_holds_as_long_as_their_approval() -> None:
    """Somebody else's later approval does not go through on it."""
    lasts = RepairSettings().approvals.expire
    first, later = decision("anna"), decision("ben", via="terminal", at=MORNING + lasts)
    known = statement(first, later, at=MORNING + lasts - timedelta(seconds=1))
    assert known is not None
    assert known.by.name == "anna"
    assert statement(first, later, at=MORNING + lasts) is None
    assert statement(decision("anna", digest="d0")) is None, "it was of something else"
    assert statement(decision("anna", approves=False)) is None


def test_what_hides_what_an_apply_would_change_is_known() -> None:
    """One's own rules, and the shipped ones that were switched on; the others hide what is the same."""
    own = RulesSettings.model_validate(
        {"ignore": [{"id": "mine", "type": "aws_*", "attribute": "/tags", "reason": "x", "owner": "y"}]}
    )
    known = hiding(own, shipped())
    assert {"mine", "noise:autoscaled-aws", "noise:autoscaled-azure", "noise:autoscaled-google"} == known


@dataclass
class Lives:
    """Findings with their lives."""

    events: list[Any]

    def finding_events(self, number: int) -> list[Any]:
        assert number == 7
        return self.events


def test_a_fresh_change_of_what_is_open_for_long_is_fresh() -> None:
    """Somebody is at work: the grace is counted from there."""
    unused: dict[str, Any] = dict.fromkeys(
        ("workshop", "windows", "people", "settings", "course", "allowed_age", "clock")
    )

    def changed_at(*events: FindingEventKind) -> datetime | None:
        life = [
            cast("Any", SimpleNamespace(event=event, at=MORNING + timedelta(hours=place)))
            for place, event in enumerate(events)
        ]
        clerk = Clerk(book=cast("Any", Lives(life)), ignoring=frozenset(), **unused)
        return clerk._changed_at(cast("Any", SimpleNamespace(id=7)))

    kinds = FindingEventKind
    assert changed_at(kinds.OPENED) is None
    assert changed_at(kinds.OPENED, kinds.CHANGED, kinds.CHANGED, kinds.ACKNOWLEDGED) == (
        MORNING + timedelta(hours=2)
    )


def test_what_was_repaired_since_is_no_failure_any_more_and_all_else_is() -> None:
    later, earlier = proposal(State.VERIFIED, "f1"), proposal(State.FAILED, "f1", "f2")
    assert failed_before(later, earlier) == {"f2"}
    assert failed_before(earlier, later) == {"f1", "f2"}


def test_only_the_stack_itself_counts_though_its_name_reads_like_a_glob() -> None:
    """`envs/[prod]` as a glob is `envs/p`, and not itself."""
    other = replace(DNS, path="envs/p")
    assert failed_before(proposal(State.FAILED, "f9", stack=other), proposal(State.FAILED, "f1")) == {"f1"}
