"""A vote is for exactly what was seen, by who may, once; enough make it go on, one against ends it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.config.repair import ApprovalSettings
from driftwatch.errors import StoreUnavailableError
from driftwatch.log import REDACTED, register_secret
from driftwatch.model import (
    ApplyRun,
    Hold,
    PlanSummary,
    Proposal,
    ProposalDraft,
    ProposalKind,
    ProposalState,
    Right,
    StackDeclaration,
    TransitionKind,
)
from driftwatch.pipeline.votes import Counted, Vote, Votes
from driftwatch.policy.rights import Person
from driftwatch.store import Store, Voice
from driftwatch.store.sqlite import DATABASE_FILE
from tests.store.samples import START, after, finding, result, stack_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DIGEST = "sha256:" + "ab" * 32
SEEN = "ab" * 32
State = ProposalState


def person(name: str = "anna", *rights: Right, stacks: tuple[str, ...] = ("*",)) -> Person:
    return Person(name=name, rights=frozenset(rights or (Right.APPROVE,)), stacks=stacks)


ANNA, BOB, CAROL = person("anna"), person("bob"), person("carol")


class Poll:
    """Votes on what is proposed in a real store, and what becomes of them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = after(10)
        self.ask()

    def ask(self, **terms: Any) -> None:
        """Who must agree, from now on."""
        settings = ApprovalSettings.model_validate(terms)
        self.votes = Votes(book=self.store, terms=settings, people={}, clock=lambda: self.now)

    def propose(self, digest: str = DIGEST, **words: Any) -> int:
        standard: dict[str, Any] = {
            "stack": stack_id(1),
            "kind": ProposalKind.REVERT,
            "commit": "c0ffee",
            "digest": digest,
            "findings": (finding().fingerprint,),
            "addresses": (finding().address,),
            "summary": PlanSummary(adds=0, updates=1, destroys=0, replaces=0),
            "reason": "somebody opened the port",
            "created_by": "driftwatch",
            "created_at": START,
            "expires_at": after(2880),
            "automatic": False,
        }
        return self.store.propose(ProposalDraft(**(standard | words))).id

    def cast(self, who: Person = ANNA, number: int = 1, *, approves: bool = True, **words: Any) -> Counted:
        given = {"seen": SEEN, "via": "slack"} | words
        return self.votes.cast(Vote(proposal=number, approves=approves, **given), who)

    def proposal(self, number: int = 1) -> Proposal:
        found = self.store.proposal(number)
        assert found is not None
        return found

    def audited(self) -> list[tuple[str, str, str]]:
        return [(row.actor, row.action, row.outcome) for row in reversed(self.store.audit().items)]

    def told(self) -> list[str | None]:
        """What was said in the thread of the findings."""
        (due,) = self.store.due_messages(at=after(9000), limit=9)
        whole = self.store.whole_message(due, at=after(9000))
        return [each.said for each in whole.all_told if each.kind is TransitionKind.REPAIR]


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file that has the schema already."""
    directory = tmp_path_factory.mktemp("upgraded")
    Store.open(state_dir=directory, database=None).close()
    return directory / DATABASE_FILE


@pytest.fixture
def poll(tmp_path: Path, upgraded: Path) -> Iterator[Poll]:
    """One stack with a finding that was told, and a proposal to revert it."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    shutil.copy(upgraded, state)
    store = Store.open(state_dir=state, database=None, voice=Voice(channels=("slack",)))
    check = result(1, finding())
    store.record_check(check, declaration=StackDeclaration(id=check.stack), channels=["slack"])
    made = Poll(store)
    made.propose()
    yield made
    store.close()


# ---- Who may, and for what -----------------------------------------------------------------------------


@pytest.mark.parametrize("approves", [True, False])
@pytest.mark.parametrize(
    "who",
    [
        *(person("x", right) for right in Right if right not in (Right.APPROVE, Right.ADMIN)),
        person("x", Right.APPROVE, stacks=("other/*",)),
        person("x", Right.APPROVE, stacks=()),
    ],
)
def test_nobody_decides_without_the_right_to_for_that_stack(
    poll: Poll, who: Person, *, approves: bool
) -> None:
    answer = poll.cast(who, approves=approves)
    assert answer.outcome == "refused: no_right"
    assert answer.sentence == "Not done: you have no right to approve for platform/envs/s001."
    assert (poll.proposal().state, poll.proposal().decisions) == (State.PROPOSED, ())
    assert poll.audited() == [("x", "approve" if approves else "reject", "refused: no_right")]
    assert poll.told() == []


def test_whoever_may_do_everything_may_decide(poll: Poll) -> None:
    assert poll.cast(person("root", Right.ADMIN, stacks=("platform/envs/*",))).outcome == "approved"


@pytest.mark.parametrize("number", [0, 7, 10**15, 2**70, -1])
def test_a_proposal_that_is_not_known_is_not_decided_on(poll: Poll, number: int) -> None:
    answer = poll.cast(number=number)
    assert answer.outcome == "refused: gone"
    assert f"nothing is known of proposal {number}" in answer.sentence
    assert poll.audited() == [("anna", "approve", "refused: gone")]


@pytest.mark.parametrize("seen", ["", "ab", "cd" * 32, SEEN.upper(), f"{SEEN}0"])
@pytest.mark.parametrize("approves", [True, False])
def test_a_vote_on_something_else_than_what_stands_there_is_refused(
    poll: Poll, seen: str, *, approves: bool
) -> None:
    assert poll.cast(seen=seen, approves=approves).outcome == "refused: outdated"
    assert (poll.proposal().state, poll.proposal().decisions) == (State.PROPOSED, ())


def test_the_whole_digest_is_taken_as_well_as_what_a_button_carries(poll: Poll) -> None:
    assert poll.cast(seen=DIGEST).outcome == "approved"
    assert poll.proposal().decisions[0].digest == DIGEST


def test_what_was_superseded_names_what_took_its_place(poll: Poll) -> None:
    poll.propose("sha256:" + "cd" * 32)
    answer = poll.cast()
    assert answer.outcome == "refused: outdated"
    assert "proposal 1 is void, and proposal 2 took its place: look at that one" in answer.sentence
    assert poll.proposal(2).decisions == ()


# ---- What a vote does ----------------------------------------------------------------------------------


def test_an_approval_is_enough_where_one_is_asked_for(poll: Poll) -> None:
    """It is kept, told in the thread, in the audit, and the proposal goes on."""
    answer = poll.cast(reason="seen in the console")
    follows = "approved proposal 1: seen in the console. It is applied as soon as it may be."
    assert answer == Counted(outcome="approved", sentence=f"You {follows}")
    assert poll.told() == [f"anna {follows}"]
    proposal = poll.proposal()
    assert (proposal.state, proposal.approvers) == (State.APPROVED, ("anna",))
    assert (proposal.decisions[0].via, proposal.decisions[0].at) == ("slack", after(10))
    (row,) = poll.store.audit().items
    assert (row.actor, row.via, row.action, row.outcome, row.reason) == (
        "anna",
        "slack",
        "approve",
        "approved",
        "seen in the console",
    )
    assert row.subject == "proposal 1 (platform/envs/s001 at c0ffee)"


@pytest.mark.parametrize("needed", [2, 3])
def test_so_many_people_have_to_approve_each_once(poll: Poll, needed: int) -> None:
    poll.ask(needed=needed)
    people = [ANNA, BOB, CAROL][:needed]
    for place, who in enumerate(people[:-1], start=1):
        answer = poll.cast(who)
        left = needed - place
        more = "one more person has" if left == 1 else f"{left} more people have"
        assert answer.outcome == "counted"
        assert answer.sentence.endswith(f"{place} of {needed} approvals: {more} to approve it.")
        assert poll.cast(who).outcome == "refused: already"
        assert poll.cast(replace(who, name=who.name.upper())).outcome == "refused: already"
        assert poll.proposal().state is State.PROPOSED
    assert poll.cast(people[-1]).outcome == "approved"
    assert poll.proposal().state is State.APPROVED
    assert len(poll.told()) == needed


def test_who_made_the_change_needs_somebody_else(poll: Poll) -> None:
    number = poll.propose("sha256:" + "cd" * 32, author="Anna")
    answer = poll.cast(number=number, seen="cd" * 32)
    assert answer.outcome == "counted"
    assert "Somebody who did not make the change has to approve it, too." in answer.sentence
    assert poll.proposal(number).state is State.PROPOSED
    assert poll.cast(BOB, number, seen="cd" * 32).outcome == "approved"


def test_who_rolls_back_needs_somebody_else(poll: Poll) -> None:
    number = poll.propose("sha256:" + "cd" * 32, kind=ProposalKind.ROLLBACK, findings=(), created_by="anna")
    assert poll.cast(number=number, seen="cd" * 32).outcome == "counted"
    poll.ask(not_by_author=False)
    assert poll.cast(BOB, number, seen="cd" * 32).outcome == "approved"


def test_one_may_be_enough_where_the_author_may_approve(poll: Poll) -> None:
    poll.ask(not_by_author=False)
    number = poll.propose("sha256:" + "cd" * 32, author="anna")
    assert poll.cast(number=number, seen="cd" * 32).outcome == "approved"


def test_an_approval_that_is_too_old_counts_no_more_and_may_be_given_again(poll: Poll) -> None:
    poll.ask(needed=2, expire="24h")
    poll.cast()
    poll.now += timedelta(hours=25)
    assert "1 of 2 approvals" in poll.cast(BOB).sentence
    assert poll.proposal().state is State.PROPOSED
    assert poll.cast().outcome == "approved"
    assert poll.proposal().state is State.APPROVED


def test_what_an_approved_one_waits_for_is_said(poll: Poll) -> None:
    poll.cast()
    assert poll.store.hold(1, Hold(reason="deny_window", sentence="The freeze lasts."), after(11))
    assert poll.cast(BOB).sentence.endswith(
        "It is applied as soon as it may be. So far it waits: The freeze lasts."
    )
    assert poll.proposal().state is State.APPROVED, "it is looked at again at once"


def test_one_who_rejects_outweighs_all_who_approved(poll: Poll) -> None:
    poll.ask(needed=3)
    poll.cast(ANNA)
    poll.cast(BOB)
    answer = poll.cast(CAROL, approves=False, reason="not on a Friday.")
    said = "rejected proposal 1: not on a Friday. Nothing of it is applied."
    assert answer == Counted(outcome="rejected", sentence=f"You {said}")
    assert poll.told()[-1] == f"carol {said}"
    assert poll.proposal().state is State.REJECTED
    late = poll.cast(ANNA)
    assert late.outcome == "refused: already_rejected"
    assert poll.proposal().state is State.REJECTED


def test_one_who_approved_may_reject_it_still(poll: Poll) -> None:
    poll.cast()
    assert poll.proposal().state is State.APPROVED
    assert poll.cast(approves=False).outcome == "rejected"
    assert poll.proposal().state is State.REJECTED


@pytest.mark.parametrize("approves", [True, False])
def test_what_is_being_applied_is_not_decided_on_any_more(poll: Poll, *, approves: bool) -> None:
    poll.cast()
    run = ApplyRun(
        id="r1", node="n", plan_sha256="0" * 64, state_lineage=None, state_serial=1, started_at=after(11)
    )
    assert poll.store.begin_apply(1, run, after(11))
    for who in (ANNA, BOB):
        assert poll.cast(who, approves=approves).outcome == "refused: already_applying"
    assert poll.proposal().state is State.APPLYING


def test_what_has_expired_is_not_decided_on_any_more(poll: Poll) -> None:
    poll.now = after(3000)
    assert poll.cast().outcome == "refused: expired"
    assert poll.proposal().decisions == ()


# ---- Crashes, and hostile words ------------------------------------------------------------------------


def test_a_vote_whose_counting_was_interrupted_is_counted_by_the_next_press(poll: Poll) -> None:
    """The vote is written, and then the database is away: it must not be lost between two presses."""

    class Away:
        def __getattr__(self, name: str) -> Any:
            if name == "approved":
                raise StoreUnavailableError("the database cannot be reached")
            return getattr(poll.store, name)

    votes = poll.votes
    poll.votes = replace(votes, book=Away())
    with pytest.raises(StoreUnavailableError):
        poll.cast()
    assert (poll.proposal().state, poll.proposal().approvers) == (State.PROPOSED, ("anna",))
    poll.votes = votes
    assert poll.cast().outcome == "refused: already"
    assert poll.proposal().state is State.APPROVED


def test_a_reason_is_kept_and_told_without_what_it_must_not_hold(poll: Poll) -> None:
    register_secret("canary-in-a-vote")
    poll.cast(reason="\x1b[31mcanary-in-a-vote\x00 \ud800 https://u:p@example.test/")
    kept = [poll.told()[0], poll.store.audit().items[0].reason, poll.proposal().decisions[0].reason]
    for each in kept:
        assert each is not None
        assert REDACTED in each
        assert "canary-in-a-vote" not in each
        assert "u:p@" not in each
        assert not {"\x00", "\x1b", "\ud800"} & set(each)
