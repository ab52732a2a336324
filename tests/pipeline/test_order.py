"""The order of repairs: what a stack depends on comes before it."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from driftwatch.errors import UnknownStackError
from driftwatch.model import (
    PlanSummary,
    Proposal,
    ProposalDraft,
    ProposalKind,
    ProposalState,
    StackId,
)
from driftwatch.pipeline.reconcile import Reconciler, Tools

NETWORK, DNS, APP = (StackId(repository="platform", path=path) for path in ("network", "dns", "app"))


def proposal(number: int, stack: StackId, state: ProposalState, *, automatic: bool = True) -> Proposal:
    draft = ProposalDraft(
        stack=stack,
        kind=ProposalKind.REVERT,
        commit="c" * 40,
        digest="sha256:0",
        findings=(),
        addresses=(),
        summary=PlanSummary(adds=1, updates=0, destroys=0, replaces=0),
        reason="r",
        created_by="driftwatch",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        expires_at=None,
        automatic=automatic,
    )
    return Proposal(id=number, state=state, draft=draft)


class House:
    """Stacks with what they depend on, and the proposals that there are."""

    def __init__(self, depends_on: dict[StackId, tuple[str, ...]], *proposals: Proposal) -> None:
        self._depends_on = depends_on
        self._proposals = proposals
        workshop = SimpleNamespace(inventory=self)
        tools = SimpleNamespace(book=self, proposer=SimpleNamespace(workshop=workshop))
        self.reconciler = Reconciler(cast("Tools", tools))

    def proposals(self, *, states: Any, limit: int) -> Any:
        return SimpleNamespace(items=[each for each in self._proposals if each.state in states][:limit])

    def subject(self, stack: StackId) -> Any:
        if stack not in self._depends_on:
            raise UnknownStackError(f"no stack {stack}")
        return SimpleNamespace(stack=stack, options=SimpleNamespace(depends_on=self._depends_on[stack]))

    def first(self, one: Proposal) -> str | None:
        held = self.reconciler._first(one, self.subject(one.draft.stack))
        return held.sentence if held else None


def test_what_a_stack_depends_on_is_repaired_before_it() -> None:
    """As long as that is decided on and not proved, whatever it waits for itself."""
    mine = proposal(1, APP, ProposalState.APPROVED)
    for state in (ProposalState.WAITING, ProposalState.APPLYING, ProposalState.APPLIED):
        house = House({APP: ("platform/net*",)}, mine, proposal(7, NETWORK, state))
        assert house.first(mine) == (
            "Proposal 7 of platform/network comes first: platform/app depends on that stack."
        )
    done = House({APP: ("platform/net*",)}, mine, proposal(7, NETWORK, ProposalState.VERIFIED))
    assert done.first(mine) is None


def test_nothing_waits_for_what_nobody_has_decided_on() -> None:
    mine = proposal(1, APP, ProposalState.APPROVED)
    undecided = proposal(7, NETWORK, ProposalState.PROPOSED, automatic=False)
    assert House({APP: ("platform/network",)}, mine, undecided).first(mine) is None
    by_itself = proposal(7, NETWORK, ProposalState.PROPOSED)
    assert House({APP: ("platform/network",)}, mine, by_itself).first(mine) is not None


def test_others_and_a_stack_itself_are_no_reason_to_wait() -> None:
    mine = proposal(1, APP, ProposalState.APPROVED)
    house = House({APP: ("platform/network", "platform/app")}, mine, proposal(7, DNS, ProposalState.APPLYING))
    assert house.first(mine) is None


def test_two_that_depend_on_each_other_do_not_wait_for_ever() -> None:
    one, other = proposal(1, APP, ProposalState.APPROVED), proposal(2, NETWORK, ProposalState.APPROVED)
    house = House({APP: ("platform/network",), NETWORK: ("platform/app",)}, one, other)
    assert house.first(one) is None
    assert (
        house.first(other)
        == "Proposal 1 of platform/app comes first: platform/network depends on that stack."
    )


def test_a_stack_that_is_gone_depends_on_nothing() -> None:
    one, other = proposal(1, APP, ProposalState.APPROVED), proposal(2, NETWORK, ProposalState.APPROVED)
    assert House({APP: ("platform/network",)}, one, other).first(one) is not None
