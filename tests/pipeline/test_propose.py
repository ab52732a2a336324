"""What is proposed: once for what is the same, anew for what came back or failed, and never blindly again."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.config.repair import RepairSettings
from driftwatch.drift import Digester
from driftwatch.errors import DriftwatchError, MirrorDamagedError, UnitUnsupportedError
from driftwatch.model import (
    ApplyRun,
    Cause,
    Finding,
    FindingKind,
    FindingStatus,
    Inputs,
    PlanSummary,
    Proposal,
    ProposalDraft,
    ProposalKind,
    ProposalState,
    Severity,
    StackId,
    StoredFinding,
    Wish,
)
from driftwatch.pipeline.propose import Proposer, announced
from driftwatch.policy.graph import graph_of
from driftwatch.store import Page
from tests.pipeline.conftest import worlds

if TYPE_CHECKING:
    from collections.abc import Collection

    from conftest import Worlds

State = ProposalState
MORNING = datetime.fromisoformat("2026-11-23T08:00:00+00:00")
FIRST, SECOND = "1" * 40, "2" * 40
DNS = StackId(repository="platform", path="dns")
DELETED = json.loads((Path(__file__).parents[1] / "drift" / "corpus" / "delete.json").read_text())
STOP = threading.Event()


def finding(address: str = "cloud_record.api") -> StoredFinding:
    """One that somebody deleted by hand."""
    found = Finding(
        address=address,
        type="cloud_record",
        kind=FindingKind.DELETED,
        action="create",
        causes=(Cause.OUT_OF_BAND,),
        severity=Severity.HIGH,
        fingerprint=address,
        counted=True,
        attributes=(),
    )
    return StoredFinding(
        id=1, stack=DNS, finding=found, status=FindingStatus.OPEN, first_seen=MORNING, last_seen=MORNING
    )


def proposal(state: ProposalState, *, automatic: bool = True, began: bool = True, **draft: Any) -> Proposal:
    """The latest one, of what `finding` is about."""
    standard: dict[str, Any] = {
        "stack": DNS,
        "kind": ProposalKind.REVERT,
        "commit": FIRST,
        "digest": "d0",
        "findings": ("cloud_record.api",),
        "addresses": ("cloud_record.api",),
        "summary": PlanSummary(adds=1, updates=0, destroys=0, replaces=0, changes=()),
        "reason": "on_drift says apply",
        "created_by": "driftwatch",
        "created_at": MORNING - timedelta(hours=1),
        "expires_at": None,
        "automatic": automatic,
    }
    run = ApplyRun(
        id="p1-ab12cd34",
        node="here",
        plan_sha256="5ha",
        state_lineage="lineage",
        state_serial=1,
        started_at=MORNING - timedelta(minutes=50),
        finished_at=MORNING - timedelta(minutes=49),
    )
    return Proposal(id=1, state=state, draft=ProposalDraft(**(standard | draft)), run=run if began else None)


@dataclass
class FakeBook:
    """Findings and proposals, as each test has them."""

    findings: list[StoredFinding] = field(default_factory=lambda: [finding()])
    latest: list[Proposal] = field(default_factory=list)
    earlier: list[Proposal] = field(default_factory=list)
    checked: bool = True
    queued: list[StackId] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def findings_of(self, stack: StackId) -> list[StoredFinding]:
        return [each for each in self.findings if each.stack == stack]

    def latest_proposals(self, stack: StackId) -> list[Proposal]:
        return [each for each in self.latest if each.draft.stack == stack]

    def proposals(self, *, stack: str, states: Collection[State] | None = None, limit: int) -> Page[Proposal]:
        assert limit > 1
        mine = [each for each in (*self.latest, *self.earlier) if str(each.draft.stack) == stack]
        mine = [each for each in mine if states is None or each.state in states]
        return Page(items=mine, next=None)

    def proved(self, _proposal: Proposal) -> object | None:
        return "a check" if self.checked else None

    def propose(self, draft: ProposalDraft) -> Proposal:
        made = Proposal(id=2, state=State.PROPOSED, draft=draft)
        self.latest = [made]
        return made

    def enqueue(self, stack: StackId, *_: object, **__: object) -> None:
        self.queued.append(stack)

    def tell_repair(self, proposal: int, *, said: str, at: datetime) -> None:
        assert (proposal, at) == (2, MORNING)
        self.said.append(said)


@pytest.fixture
def book() -> FakeBook:
    return FakeBook()


@pytest.fixture
def proposer(estate: Worlds, book: FakeBook) -> Proposer:
    """Of a stack that may be applied by itself, and whose plan makes a record anew."""
    assert estate.inventory.refresh("platform").error is None
    estate.planner.outcome = DELETED
    settings = RepairSettings.model_validate({"automatic": True, "courses": [{"then": "apply"}]})
    return Proposer(
        workshop=estate.workshop,
        book=book,
        planner=estate.planner,
        settings=settings,
        digester=Digester(b"k" * 32),
        clock=lambda: MORNING,
    )


@pytest.fixture
def in_sync(estate: Worlds) -> Any:
    """The plan of a stack of which nothing is to be done."""
    return type(estate.planner)().outcome


def test_what_follows_is_planned_bound_and_told(proposer: Proposer, book: FakeBook) -> None:
    made = proposer.follow_up(DNS, STOP)
    assert made is not None
    assert (made.draft.commit, made.draft.findings) == (FIRST, ("cloud_record.api",))
    assert made.draft.automatic
    assert made.draft.expires_at is None
    assert made.draft.digest
    assert book.said == [announced(made)]
    assert proposer.follow_up(DNS, STOP) is None, "it is proposed already"


def waiting() -> StoredFinding:
    """One of a commit that is not applied."""
    found = finding()
    return replace(found, finding=replace(found.finding, causes=(Cause.UNAPPLIED_COMMIT,)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (("dns/main.tf",), None),
        (("policies/deep/a.rego",), "It comes with a change of policies/deep/a.rego, which needs people."),
        (("dns/main.tf", "ci/deploy.yaml"), "It comes with a change of ci/deploy.yaml, which needs people."),
        (
            MirrorDamagedError("it is broken"),
            "Whether it touches a protected path cannot be told: it is broken.",
        ),
    ],
)
def test_a_change_of_a_protected_path_is_deployed_by_people_alone(
    proposer: Proposer,
    book: FakeBook,
    estate: Worlds,
    changes: tuple[str, ...] | Exception,
    said: str | None,
) -> None:
    """Also where nobody can tell what the commits change. The proposal says why it waits."""
    book.findings = [waiting()]
    estate.source.changes = changes
    estate.ledger.last_in_sync = Inputs(commit=SECOND)
    made = replace(proposer, protected={"platform": ("ci/**", "policies")}).follow_up(DNS, STOP)
    assert made is not None
    assert made.draft.kind is ProposalKind.DEPLOY
    assert made.draft.automatic is (said is None)
    assert (said in made.draft.risks) is (said is not None)


@pytest.mark.parametrize(
    ("state", "kind", "approved"),
    [
        (State.VERIFIED, ProposalKind.DEPLOY, False),
        (State.APPLIED, ProposalKind.DEPLOY, False),
        (State.FAILED, ProposalKind.DEPLOY, True),
        (State.REJECTED, ProposalKind.DEPLOY, True),
        (State.VERIFIED, ProposalKind.REVERT, True),
    ],
)
def test_a_check_in_sync_settles_no_protected_change_after_a_deploy(
    proposer: Proposer,
    book: FakeBook,
    estate: Worlds,
    state: State,
    kind: ProposalKind,
    approved: bool,
) -> None:
    """The file may be one that no plan reads: what counts is the last commit that was deployed."""
    book.findings = [waiting()]
    book.earlier = [proposal(state, kind=kind, commit=SECOND, findings=("other",))]
    estate.source.changes = ("ci/deploy.yaml",)
    estate.ledger.last_in_sync = Inputs(commit=FIRST)
    made = replace(proposer, protected={"platform": ("ci/**",)}).follow_up(DNS, STOP)
    assert made is not None
    assert made.draft.automatic is approved


def test_what_was_changed_by_hand_is_put_back_whatever_the_code_has_protected(
    proposer: Proposer, estate: Worlds
) -> None:
    """A revert brings no commit along."""
    estate.source.changes = ("ci/deploy.yaml",)
    estate.ledger.last_in_sync = Inputs(commit=SECOND)
    made = replace(proposer, protected={"platform": ("ci/**",)}).follow_up(DNS, STOP)
    assert made is not None
    assert made.draft.automatic


@pytest.mark.parametrize("automatic", [True, False])
@pytest.mark.parametrize(
    ("state", "is_news"),
    [
        (State.PROPOSED, False),
        (State.APPROVED, False),
        (State.WAITING, False),
        (State.APPLYING, False),
        (State.APPLIED, False),
        (State.REJECTED, False),
        (State.SUPERSEDED, True),
        (State.EXPIRED, True),
        (State.FAILED, True),
        (State.INTERRUPTED, True),
        (State.VERIFIED, True),
    ],
)
def test_the_same_is_proposed_again_once_it_came_back_or_failed(
    proposer: Proposer, book: FakeBook, state: ProposalState, is_news: bool, automatic: bool
) -> None:
    """Whoever was behind the last one: an approved apply that failed must not be the end of it."""
    book.latest = [proposal(state, automatic=automatic)]
    assert (proposer.due(DNS) is not None) is is_news


@pytest.mark.parametrize("state", list(State))
def test_something_else_is_news_but_while_an_apply_is_unproved(
    proposer: Proposer, book: FakeBook, state: ProposalState
) -> None:
    """The same at another commit is something else, but for somebody's no."""
    book.latest = [proposal(state, commit=SECOND)]
    assert (proposer.due(DNS) is None) is (state in (State.APPLYING, State.APPLIED, State.REJECTED))
    book.latest = [proposal(state)]
    book.findings = [finding(), finding("cloud_record.other")]
    assert (proposer.due(DNS) is None) is (state in (State.APPLYING, State.APPLIED))


@pytest.mark.parametrize("state", [State.FAILED, State.INTERRUPTED])
def test_what_failed_is_not_done_again_without_a_person(
    proposer: Proposer, book: FakeBook, state: ProposalState
) -> None:
    book.latest = [proposal(state)]
    made = proposer.follow_up(DNS, STOP)
    assert made is not None
    assert not made.draft.automatic
    assert made.draft.expires_at is not None
    assert book.said[0].endswith("It waits to be approved.")


@pytest.mark.parametrize("state", [State.FAILED, State.INTERRUPTED])
def test_after_a_bad_end_a_check_has_to_see_first_what_was_done(
    proposer: Proposer, book: FakeBook, state: ProposalState
) -> None:
    """The findings are those from before it: half of them may be gone."""
    book.latest, book.checked = [proposal(state)], False
    assert proposer.due(DNS) is None
    assert proposer.follow_up(DNS, STOP) is None
    book.latest = [replace(proposal(state, kind=ProposalKind.DEPLOY))]
    assert proposer.due(DNS) is None, "whatever it was for"
    book.checked = True
    assert proposer.due(DNS) is not None


def test_where_nothing_is_to_be_done_a_check_is_asked_for_and_nothing_proposed(
    proposer: Proposer, book: FakeBook, estate: Worlds, in_sync: Any
) -> None:
    """Somebody has repaired it meanwhile, and the findings do not know yet."""
    estate.planner.outcome = in_sync
    assert proposer.follow_up(DNS, STOP) is None
    assert book.queued == [DNS]
    wish = Wish(stack=DNS, kind=ProposalKind.REVERT, by="anna")
    with pytest.raises(DriftwatchError, match="there is nothing to apply to platform/dns"):
        proposer.grant(wish, STOP)
    assert book.said == []


def test_what_takes_the_place_of_an_open_one_says_so(proposer: Proposer, book: FakeBook) -> None:
    book.latest = [proposal(State.WAITING, findings=("cloud_record.www",))]
    assert proposer.follow_up(DNS, STOP) is not None
    assert book.said[0].endswith("Proposal 1 is void: it stands for that now.")


def test_what_somebody_wants_to_keep_is_not_put_back(proposer: Proposer, book: FakeBook) -> None:
    for status in (FindingStatus.ACCEPTED, FindingStatus.SNOOZED, FindingStatus.FLAPPING):
        book.findings = [replace(finding(), status=status)]
        assert proposer.due(DNS) is None


def test_what_a_person_asks_for_is_never_automatic(proposer: Proposer) -> None:
    made = proposer.grant(Wish(stack=DNS, kind=ProposalKind.REVERT, by="anna"), STOP)
    assert (made.draft.created_by, made.draft.automatic) == ("anna", False)
    assert made.draft.reason == "anna asked for it."


def test_a_unit_of_terragrunt_is_never_repaired_and_never_planned_for_it(
    proposer: Proposer, book: FakeBook, tmp_path: Path
) -> None:
    """Whoever asks is told at once; what the courses say of its findings is no matter."""
    units = worlds(tmp_path / "units", engine="terragrunt")
    assert units.inventory.refresh("platform").error is None
    units.planner.outcome = DELETED
    proposer = replace(proposer, workshop=units.workshop, planner=units.planner)
    assert proposer.due(DNS) is None
    assert proposer.follow_up(DNS, STOP) is None
    for kind, commit in ((ProposalKind.REVERT, None), (ProposalKind.ROLLBACK, SECOND)):
        with pytest.raises(UnitUnsupportedError, match="and platform/dns is one: apply it with terragrunt"):
            proposer.grant(Wish(stack=DNS, kind=kind, by="anna", commit=commit), STOP)
    assert units.planner.requests == []
    assert (book.latest, book.queued) == ([], [])


def test_what_was_void_as_soon_as_it_was_tried_is_left_to_people(proposer: Proposer, book: FakeBook) -> None:
    """Its plan comes to something else each time: it would be proposed, and void, for ever."""
    recent = {"created_at": MORNING - timedelta(minutes=59)}
    book.latest = [proposal(State.SUPERSEDED, began=False, **recent)]
    made = proposer.follow_up(DNS, STOP)
    assert made is not None
    assert not made.draft.automatic
    for before in (
        proposal(State.SUPERSEDED, began=False, created_at=MORNING - timedelta(hours=1)),
        proposal(State.SUPERSEDED, began=False, automatic=False, **recent),
        replace(proposal(State.SUPERSEDED, began=False, **recent), superseded_by=2),
    ):
        book.latest = [before]
        made = proposer.follow_up(DNS, STOP)
        assert made is not None
        assert made.draft.automatic


# ---- what a person has said, and what has ended badly --------------------------------------------------


def push(estate: Worlds) -> None:
    """Somebody changes another stack of the repository."""
    estate.source.remote_commit = SECOND
    estate.source.trees[SECOND] = {"dns": "a", "network": "changed"}
    assert estate.inventory.refresh("platform").error is None


def test_a_no_is_not_undone_by_a_push_to_something_else(
    estate: Worlds, proposer: Proposer, book: FakeBook
) -> None:
    book.latest = [proposal(State.REJECTED, began=False)]
    assert proposer.due(DNS) is None
    push(estate)
    assert proposer.due(DNS) is None


def test_what_somebody_said_no_to_needs_somebody_when_more_is_found(
    proposer: Proposer, book: FakeBook
) -> None:
    book.latest = [proposal(State.REJECTED, began=False)]
    book.findings = [finding(), finding("cloud_record.other")]
    made = proposer.follow_up(DNS, STOP)
    assert made is not None
    assert not made.draft.automatic


@pytest.mark.parametrize("state", [State.FAILED, State.INTERRUPTED, State.REJECTED])
@pytest.mark.parametrize("helped", [False, True])
def test_a_bad_end_needs_somebody_until_a_repair_has_helped(
    estate: Worlds, proposer: Proposer, book: FakeBook, state: ProposalState, helped: bool
) -> None:
    """Whatever was proposed after it, and whatever was pushed since."""
    book.latest = [proposal(State.PROPOSED, automatic=False, began=False)]
    book.earlier = [
        *([proposal(State.VERIFIED)] if helped else []),
        proposal(state, began=state is not State.REJECTED),
    ]
    push(estate)
    made = proposer.follow_up(DNS, STOP)
    assert made is not None
    assert made.draft.commit == SECOND
    assert made.draft.automatic is helped


def test_how_far_it_reaches_is_said(
    estate: Worlds, proposer: Proposer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How much of the stack, and who builds on that."""
    made = proposer.follow_up(DNS, STOP)
    assert made is not None
    assert made.draft.radius.startswith("It touches 1 resource; the state knows ")
    assert "depend" not in made.draft.radius
    nodes = [replace(each.node, depends_on=("platform/d*",)) for each in estate.inventory.subjects()]
    monkeypatch.setattr(estate.inventory, "graph", lambda: graph_of(nodes))
    subject = estate.inventory.subject(DNS)
    said = proposer._radius(subject, proposer.rehearse(subject, STOP))
    assert said.endswith("platform/network depends on this stack.")
