"""What admission is told of a stack's earlier applies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, cast

import pytest

from driftwatch.model import PlanSummary, Proposal, ProposalDraft, ProposalKind, ProposalState, StackId
from driftwatch.pipeline.admissions import EARLIER_APPLIES, Clerk
from driftwatch.store import Page

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


def test_what_another_commit_failed_at_is_forgotten() -> None:
    """With other code it may succeed."""
    assert failed_before(proposal(State.FAILED, "f1", commit=SECOND)) == set()


def test_what_was_repaired_since_is_no_failure_any_more_and_all_else_is() -> None:
    later, earlier = proposal(State.VERIFIED, "f1"), proposal(State.FAILED, "f1", "f2")
    assert failed_before(later, earlier) == {"f2"}
    assert failed_before(earlier, later) == {"f1", "f2"}


def test_only_the_stack_itself_counts_though_its_name_reads_like_a_glob() -> None:
    """`envs/[prod]` as a glob is `envs/p`, and not itself."""
    other = replace(DNS, path="envs/p")
    assert failed_before(proposal(State.FAILED, "f9", stack=other), proposal(State.FAILED, "f1")) == {"f1"}
