"""What comes before what: dependencies all the way up, canaries, and nothing after what ended badly."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftwatch.model import (
    Decision,
    PlanSummary,
    Proposal,
    ProposalDraft,
    ProposalKind,
    ProposalState,
    StackId,
)
from driftwatch.pipeline.order import Order
from driftwatch.policy.graph import Graph, Node, graph_of
from driftwatch.store import Page

if TYPE_CHECKING:
    from collections.abc import Collection

    from driftwatch.policy.admission import Held

State = ProposalState
NOW = datetime.fromisoformat("2026-11-23T08:00:00+00:00")
COMMIT, OTHER = "1" * 40, "2" * 40


def stack(path: str, repository: str = "p") -> StackId:
    return StackId(repository=repository, path=path)


NET, APP, WEB, DNS = map(stack, ("net", "app", "web", "dns"))
FAR = stack("app", "q")
CHAIN = {WEB: ("p/app",), APP: ("p/n*",), NET: (), DNS: (), FAR: ()}
"""web → app → net."""


@dataclass
class FakeBook:
    """Proposals, and where stacks stand: well and at the same commit, unless a test says otherwise."""

    made: list[Proposal] = field(default_factory=list)
    commits: dict[StackId, str | None] = field(default_factory=dict)
    open_findings: dict[StackId, int] = field(default_factory=dict)

    def proposals(self, *, states: Collection[ProposalState], limit: int) -> Page[Proposal]:
        assert limit > 100
        return Page(items=[each for each in self.made if each.state in states], next=None)

    def latest_proposals(self, of: StackId) -> list[Proposal]:
        return [each for each in self.made if each.draft.stack == of]

    def status_of(self, of: StackId, now: datetime) -> Any:
        assert now == NOW
        commit = self.commits.get(of, COMMIT)
        if commit is None:
            return None
        return SimpleNamespace(commit=commit, open_findings=self.open_findings.get(of, 0), suspended=False)


def proposal(
    of: StackId,
    number: int,
    state: ProposalState = State.PROPOSED,
    *,
    kind: ProposalKind = ProposalKind.DEPLOY,
    automatic: bool = True,
    approved: bool = False,
) -> Proposal:
    draft = ProposalDraft(
        stack=of,
        kind=kind,
        commit=COMMIT,
        digest="d1",
        findings=("f1",),
        addresses=("x.y",),
        summary=PlanSummary(adds=1, updates=0, destroys=0, replaces=0),
        reason="x",
        created_by="driftwatch",
        created_at=NOW,
        expires_at=None,
        automatic=automatic,
    )
    yes = Decision(by="anna", at=NOW, via="slack", approves=True, digest="d1")
    return Proposal(id=number, state=state, draft=draft, decisions=(yes,) if approved else ())


def drawn(
    known: dict[StackId, tuple[str, ...]], gone: Collection[StackId], unread: Collection[str] = ()
) -> Graph:
    declared = [Node(stack=each, depends_on=names) for each, names in known.items()]
    return graph_of([*declared, *(Node(stack=each) for each in gone)], unread)


def held(
    mine: Proposal,
    *others: Proposal,
    canary: tuple[str, ...] = (),
    known: Any = CHAIN,
    unread: tuple[str, ...] = (),
    **book: Any,
) -> Held | None:
    order = Order(
        book=cast("Any", FakeBook(made=[mine, *others], **book)),
        graph=lambda gone: drawn(known, gone, unread),
        canary=canary,
        clock=lambda: NOW,
    )
    answer = order.first(mine)
    assert answer is None or answer.sentence.endswith(".")
    return answer


def reason(mine: Proposal, *others: Proposal, **more: Any) -> str | None:
    answer = held(mine, *others, **more)
    return answer.reason if answer else None


def sentence(mine: Proposal, *others: Proposal, **more: Any) -> str | None:
    answer = held(mine, *others, **more)
    return answer.sentence if answer else None


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("upstream", [APP, NET])
def test_what_a_stack_depends_on_comes_first_all_the_way_up(state: ProposalState, upstream: StackId) -> None:
    mine, other = proposal(WEB, 1), proposal(upstream, 2, state)
    under_way = "upstream_first" if state.is_open else None
    assert reason(mine, other) == under_way
    assert reason(proposal(upstream, 2), proposal(WEB, 1, state)) is None, "and not the other way round"


def test_what_nobody_has_said_yes_to_is_not_waited_for() -> None:
    assert reason(proposal(WEB, 1), proposal(APP, 2, automatic=False)) is None
    assert reason(proposal(WEB, 1), proposal(APP, 2, State.APPROVED, automatic=False)) == "upstream_first"


def test_what_has_nothing_to_do_with_it_is_not_waited_for() -> None:
    assert reason(proposal(WEB, 1), proposal(DNS, 2), proposal(FAR, 3)) is None


@pytest.mark.parametrize("state", [State.FAILED, State.INTERRUPTED])
def test_nothing_follows_by_itself_what_ended_badly_and_is_not_well_again(state: ProposalState) -> None:
    mine, broken = proposal(WEB, 2), proposal(NET, 1, state)
    assert reason(mine, broken, open_findings={NET: 1}) == "upstream_failed"
    assert reason(mine, broken) is None, "somebody has mended it"
    assert reason(mine, broken, proposal(NET, 3, State.VERIFIED), open_findings={NET: 1}) is None
    by_people = proposal(WEB, 2, State.APPROVED, approved=True)
    assert reason(by_people, broken, open_findings={NET: 1}) is None, "people know what they do"


@pytest.mark.parametrize("commit", [OTHER, None])
def test_a_deploy_waits_until_all_above_it_was_looked_at_at_that_commit(commit: str | None) -> None:
    """Else the one that is checked first would be applied first."""
    assert reason(proposal(WEB, 1), commits={NET: commit}) == "upstream_unseen"
    assert reason(proposal(WEB, 1, kind=ProposalKind.REVERT), commits={NET: commit}) is None
    assert reason(proposal(WEB, 1, State.APPROVED, approved=True), commits={NET: commit}) is None


@pytest.mark.parametrize("state", list(State))
def test_a_canary_is_proved_before_the_others_of_its_repository_follow(state: ProposalState) -> None:
    canary, bird = ("p/dns",), proposal(DNS, 9, state)
    assert reason(proposal(NET, 1), bird, canary=canary) == ("canary_first" if state.is_open else None)
    assert reason(proposal(FAR, 1), bird, canary=canary) is None, "another repository's"
    assert reason(bird, proposal(NET, 1, state), canary=canary) is None, "it waits for nobody"
    if state in (State.FAILED, State.INTERRUPTED):
        broken = {DNS: 1}
        assert reason(proposal(NET, 1), bird, canary=canary, open_findings=broken) == "canary_failed"
    assert reason(proposal(NET, 1), canary=canary, commits={DNS: OTHER}) == "canary_unseen"


def test_what_goes_in_a_circle_waits_for_nothing_in_it() -> None:
    """It is told where stock is taken; a fleet must not wait for itself for ever."""
    known = {NET: ("p/app",), APP: ("p/net", "p/dns"), DNS: ()}
    first, second = proposal(NET, 1), proposal(APP, 2)
    assert reason(first, second, known=known) is None
    assert reason(second, first, known=known) is None
    assert reason(second, proposal(DNS, 3), known=known) == "upstream_first"
    assert reason(first, proposal(DNS, 3), known=known) is None, "the way there is through the circle"


def test_order_holds_over_repositories() -> None:
    known = {WEB: ("q/app",), FAR: ("p/net",), NET: ()}
    assert reason(proposal(WEB, 1), proposal(NET, 2), known=known) == "upstream_first"
    assert reason(proposal(WEB, 1), proposal(FAR, 2), known=known) == "upstream_first"


def test_a_chain_of_a_thousand_is_followed_to_its_end() -> None:
    many = [stack(f"s{number}") for number in range(1000)]
    known = {each: (f"p/s{number - 1}",) if number else () for number, each in enumerate(many)}
    mine, first = proposal(many[-1], 1, approved=True), proposal(many[0], 2)
    assert reason(replace(mine, state=State.APPROVED), first, known=known) == "upstream_first"


def test_it_says_what_comes_first_and_why_whatever_that_waits_for_itself() -> None:
    mine = proposal(APP, 1, State.APPROVED)
    for state in (State.WAITING, State.APPLYING, State.APPLIED):
        assert sentence(mine, proposal(NET, 7, state)) == (
            "Proposal 7 of p/net comes first: p/app depends on that stack."
        )
    assert sentence(mine, proposal(NET, 7, State.VERIFIED)) is None


def test_a_stack_is_no_reason_to_wait_for_itself() -> None:
    mine = proposal(APP, 1, State.APPROVED)
    known = {APP: ("p/net", "p/app"), NET: (), DNS: ()}
    assert reason(mine, proposal(DNS, 7, State.APPLYING), known=known) is None
    assert reason(mine, proposal(APP, 7, State.APPLYING), known=known) is None


def test_a_stack_that_is_gone_depends_on_nothing_and_comes_first_all_the_same() -> None:
    """Whatever is applied to it is what the other one builds on."""
    known = {APP: ("p/net",)}
    one, other = (proposal(each, number, State.APPROVED) for number, each in enumerate((APP, NET), 1))
    assert reason(one, other, known=known) == "upstream_first"
    assert reason(other, one, known=known) is None


@pytest.mark.parametrize("names", [("r/net",), ("r/*",), ("*/net",), ("r*",), ("[rs]/net",)])
def test_nothing_goes_by_itself_before_what_it_may_depend_on_was_ever_read(names: tuple[str, ...]) -> None:
    """All the way up; what people have approved goes."""
    known = {WEB: ("p/app",), APP: names, DNS: ("p/x*", "q/net", "rr/net")}
    assert reason(proposal(APP, 1), known=known, unread=("r",)) == "upstream_unread"
    assert sentence(proposal(WEB, 1), known=known, unread=("r",)) == (
        "r was never read yet, and p/app may depend on a stack of it. p/web depends on p/app."
    )
    assert reason(proposal(WEB, 1, State.APPROVED, approved=True), known=known, unread=("r",)) is None
    assert reason(proposal(DNS, 1), known=known, unread=("r",)) is None, "it names none of that repository"
    assert reason(proposal(WEB, 1), known=known) is None


STACKS = [stack(letter) for letter in "abcde"]


@given(
    st.dictionaries(
        st.sampled_from(STACKS), st.lists(st.sampled_from(STACKS).map(str), max_size=3).map(tuple), min_size=1
    ),
    st.permutations(STACKS),
)
def test_however_they_depend_on_each_other_one_of_all_goes(known: Any, order: list[StackId]) -> None:
    """No fleet waits for itself for ever."""
    known = {each: known.get(each, ()) for each in STACKS}
    waiting = [proposal(each, number) for number, each in enumerate(order, 1)]
    while waiting:
        free = [
            each
            for each in waiting
            if reason(each, *(one for one in waiting if one != each), known=known) is None
        ]
        assert free
        waiting.remove(free[0])
