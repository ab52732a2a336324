"""What is proposed stands where its findings are told, as long as something may come of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.model import (
    INCIDENT_PROPOSALS,
    ApplyRun,
    Cause,
    Commit,
    Decision,
    Evidence,
    Finding,
    Hold,
    PlanSummary,
    ProposalDraft,
    ProposalKind,
    ProposalState,
    StackDeclaration,
)
from tests.store.samples import START, after, failure, finding, result, stack_id

if TYPE_CHECKING:
    from driftwatch.model import CheckResult
    from driftwatch.store import Store

COMMIT = Commit(id="ab" * 20, author="Carol", at=START, subject="Encrypt every queue")
State = ProposalState


def waiting(address: str = "cloud_queue.jobs", **words: Any) -> Finding:
    """What the code of a commit wants and nobody has applied."""
    return finding(address, causes=(Cause.UNAPPLIED_COMMIT,), evidence=Evidence(commits=(COMMIT,)), **words)


def put(store: Store, check: CheckResult) -> None:
    store.record_check(check, declaration=StackDeclaration(id=check.stack), channels=["slack"])


def propose(store: Store, number: int, *findings: Finding, **words: Any) -> int:
    standard: dict[str, Any] = {
        "stack": stack_id(number),
        "kind": ProposalKind.REVERT,
        "commit": "c0ffee",
        "digest": f"sha256:{number:064x}",
        "findings": tuple(sorted(each.fingerprint for each in findings)),
        "addresses": tuple(sorted(each.address for each in findings)),
        "summary": PlanSummary(adds=0, updates=1, destroys=0, replaces=0),
        "reason": "it has to be so",
        "created_by": "driftwatch",
        "created_at": after(1),
        "expires_at": None,
        "automatic": False,
    }
    return store.propose(ProposalDraft(**(standard | words))).id


def shown(store: Store, incident: int = 1) -> list[int]:
    """The proposals of an incident, by one question and by the list."""
    found = store.incident(incident)
    assert found is not None
    listed = {each.id: each for each in store.incidents(open_only=False).items}
    assert listed[incident].proposals == found.proposals
    assert all(store.proposal(each.id) == each for each in found.proposals)
    return [each.id for each in found.proposals]


def test_a_proposal_stands_where_its_findings_are_told(store: Store) -> None:
    """Two stories in one stack are two incidents, and each has its own."""
    put(store, result(1, waiting(), finding()))
    assert shown(store, 1) == shown(store, 2) == []
    of = {found.fingerprint: number for number in (1, 2) for found in store.open_in(number)}
    revert = propose(store, 1, finding())
    deploy = propose(store, 1, waiting(), kind=ProposalKind.DEPLOY)
    assert shown(store, of[finding().fingerprint]) == [revert]
    assert shown(store, of[waiting().fingerprint]) == [deploy]


def test_one_for_findings_of_both_stories_stands_in_both(store: Store) -> None:
    put(store, result(1, waiting(), finding()))
    both = propose(store, 1, waiting(), finding(), kind=ProposalKind.DEPLOY)
    assert shown(store, 1) == shown(store, 2) == [both]


def test_one_cause_over_many_stacks_has_the_newest_of_all_of_them(store: Store) -> None:
    for number in range(1, 9):
        put(store, result(number, waiting()))
    ids = [propose(store, number, waiting(), kind=ProposalKind.DEPLOY) for number in range(1, 9)]
    assert shown(store) == ids[: -INCIDENT_PROPOSALS - 1 : -1]


def test_thousands_of_findings_are_looked_up_all_the_same(store: Store) -> None:
    """More than a database takes in one question."""
    many = [finding(f"cloud_queue.q{place:04}") for place in range(2500)]
    put(store, result(1, *many))
    number = propose(store, 1, *many)
    assert shown(store) == [number]


def test_a_stack_that_is_over_in_it_brings_none(store: Store) -> None:
    for number in (1, 2):
        put(store, result(number, waiting()))
    first, second = (propose(store, number, waiting(), kind=ProposalKind.DEPLOY) for number in (1, 2))
    assert shown(store) == [second, first]
    put(store, result(1, at=after(5)))
    assert shown(store) == [second]


@pytest.mark.parametrize("state", State)
def test_it_stands_there_as_long_as_something_may_come_of_it(store: Store, state: State) -> None:
    put(store, result(1, finding()))
    number = propose(store, 1, finding())
    bring(store, number, state)
    proposal = store.proposal(number)
    assert proposal is not None
    assert proposal.state is state
    assert shown(store) == ([number] if state.is_open else [])


def bring(store: Store, number: int, state: State) -> None:
    """Takes a proposal to a state, the way that it goes there."""
    run = ApplyRun(
        id="r1", node="n", plan_sha256="0" * 64, state_lineage=None, state_serial=1, started_at=after(2)
    )
    digest = f"sha256:{1:064x}"
    said = Decision(by="anna", at=after(2), via="slack", approves=state is not State.REJECTED, digest=digest)
    if state is State.PROPOSED:
        return
    if state in (State.SUPERSEDED, State.EXPIRED):
        assert store.end(number, state, "over", after(2))
        return
    store.decide(number, said)
    if state is State.REJECTED:
        return
    assert store.approved(number)
    if state is State.WAITING:
        assert store.hold(number, Hold(reason="x", sentence="It waits."), after(2))
    if state in (State.APPROVED, State.WAITING):
        return
    assert store.begin_apply(number, run, after(2))
    if state is State.APPLYING:
        return
    end = State.APPLIED if state in (State.APPLIED, State.VERIFIED) else state
    assert store.end_apply(number, end, at=after(3), exit_code=0, output=None, outcome="as it went")
    if state is State.VERIFIED:
        assert store.verify(number, check_id=1, ok=True, at=after(4), outcome="in sync")


def test_a_finding_that_changed_since_leaves_its_proposal_with_the_stacks_own_story(store: Store) -> None:
    """What it was for is nowhere any more; it is void as soon as somebody looks at it."""
    put(store, result(1, finding()))
    number = propose(store, 1, finding(actual=81))
    assert shown(store) == [number]


def test_a_rollback_has_an_incident_of_its_own_and_no_other_proposal_stands_there(store: Store) -> None:
    put(store, result(1))
    number = propose(store, 1, kind=ProposalKind.ROLLBACK)
    store.tell_repair(number, said="Proposal 1, to rollback", at=after(1))
    other = propose(store, 1, kind=ProposalKind.DEPLOY)
    assert shown(store) == [number]
    store.tell_repair(other, said="Proposal 2, to deploy", at=after(2))
    assert shown(store, 2) == [other]
    assert store.end(number, State.EXPIRED, "over", after(3))
    store.tell_repair(number, said="Proposal 1 has expired.", at=after(3))
    assert shown(store, 1) == []
    assert shown(store, 2) == [other]


def test_what_fails_in_the_detector_has_no_proposals(store: Store) -> None:
    put(store, result(1, finding()))
    number = propose(store, 1, finding())
    put(store, failure(1, at=after(5)))
    assert shown(store, 1) == [number]
    assert shown(store, 2) == []


def test_other_stacks_proposals_are_not_its_own(store: Store) -> None:
    """Two stacks with the same content of the same address, changed at other times."""
    put(store, result(1, finding()))
    put(store, result(2, finding(), at=after(10_000)))
    second = propose(store, 2, finding())
    assert [shown(store, number) for number in (1, 2)] == [[], [second]]
