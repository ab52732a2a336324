"""A repair is done once, in its turn, and by the one way; what became of it is written and told once.

The store is real; terraform, the proposer and admission are played.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self, cast

import pytest

from driftwatch.config.repair import RepairSettings
from driftwatch.errors import (
    ApplyRunningError,
    DriftwatchError,
    EngineError,
    EngineInterruptedError,
    PlanTamperedError,
    PlanUnreadableError,
    ProviderCrashedError,
    RemoteUnreachableError,
    StateLockedError,
    StoreUnavailableError,
    UnknownStackError,
)
from driftwatch.model import (
    AdoptionWish,
    ApplyRun,
    Cancellation,
    Cause,
    CheckResult,
    Decision,
    Finding,
    FindingKind,
    Inputs,
    Method,
    PlanSummary,
    Proposal,
    ProposalDraft,
    ProposalKind,
    ProposalState,
    Severity,
    StackDeclaration,
    StackId,
    Trigger,
    Verdict,
    Wish,
)
from driftwatch.pipeline import reconcile
from driftwatch.pipeline.reconcile import AGAIN, AT_ONCE, LONG, REST, Reconciler, Tools, words
from driftwatch.policy.admission import Admitted, Held
from driftwatch.policy.graph import Node, graph_of
from driftwatch.store import Proof, Store, Voice
from driftwatch.store.sqlite import DATABASE_FILE
from driftwatch.terraform import ApplyState, Look, Outcome, Unsaved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Worlds

    from driftwatch.policy.admission import Admission

State = ProposalState
MORNING = datetime.fromisoformat("2026-11-23T08:00:00+00:00")
FIRST, SECOND = "1" * 40, "2" * 40
DNS = StackId(repository="platform", path="dns")
NETWORK = StackId(repository="platform", path="network")
HERE, ELSEWHERE = "here:/state", "elsewhere:/state"

ENDED_WELL = Look(state=ApplyState.ENDED, exit_code=0)
RUNNING = Look(state=ApplyState.RUNNING)


def outcome(exit_code: int | None = 0, **words: Any) -> Outcome:
    standard: dict[str, Any] = {
        "exit_code": exit_code,
        "error": None,
        "output": "Apply complete!",
        "errored_state": None,
        "state_in_log": False,
        "cancelled": False,
        "log": Path("/nowhere/log"),
    }
    return Outcome(**(standard | words))


@dataclass
class FakePrepared:
    id: str
    applier: FakeApplier
    plan_sha256: str = "5ha"
    planned: Any = field(default_factory=lambda: SimpleNamespace(state_lineage="lineage", state_serial=7))

    def release(self) -> None:
        self.applier.said.append("release")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """`release` is what tests look at."""


@dataclass
class FakeApplier:
    """Plays terraform: what it was asked is in `said`; an apply runs until `ends`."""

    said: list[str] = field(default_factory=list)
    looks: dict[str, Look] = field(default_factory=dict)
    ends: Outcome = field(default_factory=outcome)
    output: str = ""
    can_cancel: bool = True
    kept: dict[str, Unsaved] = field(default_factory=dict)
    failure: Exception | None = None
    on_prepare: Callable[[], object] = lambda: None
    on_start: Callable[[], object] = lambda: None

    def prepare(self, request: Any, apply_id: str, stop: threading.Event) -> Any:
        assert request.workdir.parts[-2:] in (("platform", "dns"), ("platform", "network"))
        assert isinstance(stop, threading.Event)
        self.said.append("prepare")
        self.on_prepare()
        if self.failure:
            raise self.failure
        self.looks[apply_id] = Look(state=ApplyState.PREPARED)
        return FakePrepared(apply_id, self)

    def start(self, prepared: Any) -> Any:
        self.said.append("start")
        self.on_start()
        self.looks[prepared.id] = RUNNING
        return SimpleNamespace(pid=42, pid_started="4711")

    def known(self) -> list[str]:
        return sorted(self.looks)

    def look(self, apply_id: str) -> Look:
        return self.looks.get(apply_id, Look(state=ApplyState.GONE))

    def recognise(self, _request: Any) -> None:
        self.said.append("recognise")

    def follow(self, apply_id: str) -> Any:
        self.said.append(f"follow {apply_id[:2]}")
        return SimpleNamespace(output=lambda: self.output)

    def cancel(self, apply_id: str) -> bool:
        self.said.append(f"cancel {apply_id[:2]}")
        return self.can_cancel

    def outcome(self, apply_id: str) -> Outcome:
        assert self.look(apply_id) is not RUNNING
        self.said.append("outcome")
        return self.ends

    def unsaved(self, apply_id: str) -> Unsaved | None:
        return self.kept.get(apply_id)

    def discard(self, apply_id: str, *, state_too: bool = False) -> None:
        assert state_too or apply_id not in self.kept
        self.kept.pop(apply_id, None)
        if self.look(apply_id) is RUNNING:
            raise ApplyRunningError("it runs")
        self.said.append("discard")
        self.looks.pop(apply_id, None)

    def end(self, look: Look = ENDED_WELL, ends: Outcome | None = None) -> None:
        """All that run end so."""
        self.ends = ends or outcome(look.exit_code)
        self.looks = {name: look if each is RUNNING else each for name, each in self.looks.items()}


@dataclass
class FakeClerk:
    """Admits, unless it is told otherwise."""

    first: Admission = field(default_factory=lambda: Admitted(sentence="No guard holds it."))
    second: Admission = field(default_factory=lambda: Admitted(sentence="No guard holds it."))
    identity: Exception | None = None

    def before_plan(self, *_: object) -> Admission:
        return self.first

    def before_apply(self, *_: object, in_review: str | None = None) -> Admission:
        return Held(reason="in_review", sentence=in_review) if in_review else self.second

    def expect_identity(self, _subject: object) -> None:
        if self.identity:
            raise self.identity


@dataclass
class FakeProposer:
    workshop: Any
    due_now: set[StackId] = field(default_factory=set)
    followed: list[StackId] = field(default_factory=list)
    answer: Any = None

    def due(self, stack: StackId) -> object:
        return "something" if stack in self.due_now else None

    def follow_up(self, stack: StackId, _stop: threading.Event) -> None:
        self.followed.append(stack)
        if isinstance(self.answer, Exception):
            raise self.answer

    def grant(self, _wish: Wish, _stop: threading.Event) -> Proposal:
        if isinstance(self.answer, Exception):
            raise self.answer
        return cast("Proposal", self.answer)

    def read(self, *_: object) -> object:
        return "rehearsal"


class AtOnce(ThreadPoolExecutor):
    """Does what is submitted before it returns."""

    def submit(self, fn: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        fn(*arguments, **named)
        return Future()


class Later(ThreadPoolExecutor):
    """Keeps what is submitted: `go` does it, in its order."""

    def __init__(self) -> None:
        super().__init__(1)
        self.waiting: list[tuple[Any, tuple[Any, ...]]] = []

    def submit(self, fn: Any, /, *arguments: Any, **_named: Any) -> Future[Any]:
        self.waiting.append((fn, arguments))
        return Future()

    def go(self) -> None:
        waiting, self.waiting = self.waiting, []
        for fn, arguments in waiting:
            fn(*arguments)

    @property
    def stacks(self) -> list[StackId]:
        """Of which something is to be done, in order."""
        return [arguments[0] for _, arguments in self.waiting]


@dataclass
class Site:
    """A reconciler and all around it."""

    store: Store
    applier: FakeApplier
    clerk: FakeClerk
    proposer: FakeProposer
    worlds: Worlds
    settings: RepairSettings = field(default_factory=RepairSettings)
    now: datetime = MORNING
    leads: bool = True
    alone: bool = False

    def __post_init__(self) -> None:
        self.pool = AtOnce(1)
        self.reconciler = self.another()

    def another(self) -> Reconciler:
        """As a daemon that starts again has it."""
        return Reconciler(
            Tools(
                proposer=cast("Any", self.proposer),
                applier=cast("Any", self.applier),
                book=self.store,
                clerk=cast("Any", self.clerk),
                settings=self.settings,
                node=HERE,
                alone=self.alone,
                leads=lambda: self.leads,
                clock=lambda: self.now,
            )
        )

    def round(self, times: int = 1, *, seconds: float = 2) -> None:
        for _ in range(times):
            self.now += timedelta(seconds=seconds)
            self.reconciler._round(self.pool)

    def propose(self, stack: StackId = DNS, **changes: Any) -> int:
        standard: dict[str, Any] = {
            "stack": stack,
            "kind": ProposalKind.REVERT,
            "commit": FIRST,
            "digest": "d1",
            "findings": ("f1",),
            "addresses": ("dns_record.api",),
            "summary": PlanSummary(adds=1, updates=0, destroys=0, replaces=0, changes=()),
            "reason": "on_drift says apply",
            "created_by": "driftwatch",
            "created_at": self.now,
            "expires_at": None,
            "automatic": True,
        }
        return self.store.propose(ProposalDraft(**(standard | changes))).id

    def begun_elsewhere(self, number: int) -> None:
        run = ApplyRun(
            id=f"p{number}-ab12cd34",
            node=ELSEWHERE,
            plan_sha256="5ha",
            state_lineage="lineage",
            state_serial=7,
            started_at=self.now,
        )
        assert self.store.begin_apply(number, run, self.now)

    def proposal(self, number: int) -> Proposal:
        found = self.store.proposal(number)
        assert found is not None
        return found

    def state(self, number: int) -> ProposalState:
        return self.proposal(number).state

    def check(self, stack: StackId = DNS, verdict: Verdict = Verdict.IN_SYNC) -> None:
        """A check that finds nothing is recorded."""
        self.now += timedelta(seconds=5)
        result = CheckResult(
            stack=stack,
            commit=FIRST,
            trigger=Trigger.POST_APPLY,
            verdict=verdict,
            method=Method.PLAN,
            method_reason="no_recording",
            started_at=self.now,
            duration_seconds=1.0,
            findings=(),
            inputs=Inputs(commit=FIRST, state_serial=7),
        )
        self.store.record_check(result, declaration=StackDeclaration(id=stack), channels=["slack"])

    def heed_pins(self) -> None:
        def pinned(stack: StackId) -> str | None:
            pin = self.store.pins().get(stack)
            return pin.commit if pin else None

        self.proposer.workshop = replace(self.proposer.workshop, pinned=pinned)

    def drift(self, fingerprint: str) -> None:
        """A check finds that a record differs."""
        self.now += timedelta(seconds=5)
        found = Finding(
            address="dns_record.api",
            type="dns_record",
            kind=FindingKind.MODIFIED,
            action="update",
            causes=(Cause.OUT_OF_BAND,),
            severity=Severity.HIGH,
            fingerprint=fingerprint,
            counted=True,
            attributes=(),
        )
        result = CheckResult(
            stack=DNS,
            commit=FIRST,
            trigger=Trigger.POST_APPLY,
            verdict=Verdict.DRIFTED,
            method=Method.PLAN,
            method_reason="no_recording",
            started_at=self.now,
            duration_seconds=1.0,
            findings=(found,),
            inputs=Inputs(commit=FIRST, state_serial=7),
        )
        self.store.record_check(result, declaration=StackDeclaration(id=DNS), channels=["slack"])

    def approve(self, number: int) -> None:
        digest = self.proposal(number).draft.digest
        vote = Decision(by="anna", at=self.now, via="terminal", approves=True, digest=digest, reason="yes")
        self.store.decide(number, vote)
        assert self.store.approved(number)

    def told(self) -> list[str]:
        """What was put into the outbox, in order."""
        with closing(sqlite3.connect(self.store_file)) as connection:
            rows = connection.execute("SELECT announcement FROM messages ORDER BY id").fetchall()
        return [said for row in rows if (said := json.loads(row[0])["said"])]

    store_file: Path = Path()


@pytest.fixture
def site(tmp_path: Path, estate: Worlds) -> Iterator[Site]:
    store = Store.open(state_dir=tmp_path, database=None, voice=Voice(channels=("slack",)))
    stacks = [StackDeclaration(id=stack) for stack in (DNS, NETWORK)]
    store.sync_stacks("platform", stacks, at=MORNING)
    assert estate.inventory.refresh("platform").error is None
    made = Site(store, FakeApplier(), FakeClerk(), FakeProposer(estate.workshop), estate)
    made.store_file = tmp_path / DATABASE_FILE
    yield made
    store.close()


# ---- the one way ---------------------------------------------------------------------------------------


def test_an_apply_is_written_before_it_starts_and_proved_after_it_ended(site: Site) -> None:
    number = site.propose()
    seen: list[ApplyRun | None] = []

    def on_start() -> None:
        proposal = site.proposal(number)
        assert proposal.state is State.APPLYING
        seen.append(proposal.run)

    site.applier.on_start = on_start
    site.round()
    run = site.proposal(number).run
    assert run is not None
    assert seen[0] is not None
    assert (seen[0].id, seen[0].pid, run.pid, run.pid_started) == (run.id, None, 42, 4711)
    assert (run.node, run.plan_sha256, run.state_serial) == (HERE, "5ha", 7)
    site.round(3)
    assert site.state(number) is State.APPLYING
    site.applier.end()
    site.round()
    assert site.state(number) is State.APPLIED
    site.check()
    site.round(2)
    assert site.state(number) is State.VERIFIED
    assert site.applier.said == [
        "prepare",
        "start",
        "recognise",
        "follow p1",
        "recognise",
        "outcome",
        "discard",
    ]
    assert site.told() == [
        "Proposal 1, to revert: 1 to add. It is applied by itself as soon as it may be.",
        "Proposal 1 is being applied (1 to add). No guard holds it.",
        "Proposal 1 is applied; the check after it says whether it helped.",
        "Proposal 1 was applied and is proved by a check: nothing differs any more.",
    ]
    assert [(each.action, each.outcome) for each in site.store.audit().items] == [
        ("verify", "verified"),
        ("apply", "applied"),
        ("apply", "begun"),
    ]


def test_what_is_about_to_start_is_not_taken_for_one_that_never_did(site: Site) -> None:
    """Between the row and terraform's start, a round of the same daemon looks at the apply."""
    number = site.propose()

    def on_start() -> None:
        site.reconciler._round(AtOnce(1))
        assert site.state(number) is State.APPLYING

    site.applier.on_start = on_start
    site.round()
    assert "discard" not in site.applier.said
    assert site.state(number) is State.APPLYING


def test_one_thing_is_done_about_a_stack_at_a_time(site: Site) -> None:
    """Two proposals and a wish, in however many rounds: the second begins when the first is done."""
    site.propose()
    site.propose(kind=ProposalKind.DEPLOY, digest="d2")
    other = site.propose(NETWORK)
    site.store.wish(Wish(stack=DNS, kind=ProposalKind.REVERT, by="anna"), site.now)
    site.proposer.answer = EngineError("it cannot be planned")
    pool = Later()
    site.reconciler._round(pool)
    site.reconciler._round(pool)
    assert pool.stacks == [DNS, NETWORK]
    pool.go()
    assert site.applier.said == ["prepare", "start"]
    assert site.state(other) is State.APPLYING
    site.reconciler._round(pool)
    assert pool.stacks == [NETWORK, DNS]
    pool.go()
    running = site.store.running_applies()
    assert sorted(str(each.draft.stack) for each in running) == ["platform/dns", "platform/network"]
    site.reconciler._round(pool)
    pool.go()
    assert len(site.store.applies().items) == 2


def test_canaries_are_first_and_then_what_is_oldest(site: Site) -> None:
    site.settings = RepairSettings.model_validate({"canary": ["platform/net*"]})
    site.reconciler = site.another()
    site.propose()
    site.propose(NETWORK)
    pool = Later()
    site.reconciler._round(pool)
    assert pool.stacks == [NETWORK, DNS]


def test_no_more_are_begun_than_are_applied_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert AT_ONCE > 1
    monkeypatch.setattr(reconcile, "AT_ONCE", 1)
    first = site.propose()
    site.round()
    second = site.propose(NETWORK)
    site.round(3)
    assert (site.state(first), site.state(second)) == (State.APPLYING, State.PROPOSED)
    site.applier.end()
    site.round(2)
    assert (site.state(first), site.state(second)) == (State.APPLIED, State.APPLYING)


def test_nothing_is_planned_of_another_commit(site: Site) -> None:
    number = site.propose(commit=SECOND)
    site.round()
    assert site.state(number) is State.SUPERSEDED
    assert site.applier.said == []
    assert "Proposal 1 is void: the branch is at another commit now." in site.told()[-1]


@pytest.mark.parametrize("reason", ["digest_changed", "nothing_to_apply", "plan_of_another"])
def test_a_plan_that_came_to_something_else_is_not_applied(site: Site, reason: str) -> None:
    number = site.propose()
    site.clerk.second = Held(reason=reason, sentence="What would be applied now is not what was proposed.")
    site.round()
    assert site.state(number) is State.SUPERSEDED
    assert site.applier.said == ["prepare", "release", "discard"]
    assert site.told()[-1].startswith("Proposal 1 is void: What would be applied now is not")


# ---- what waits ----------------------------------------------------------------------------------------


def test_what_waits_is_told_once_for_each_reason(site: Site) -> None:
    number = site.propose()
    site.clerk.first = Held(reason="deny_window", sentence="The freeze lasts.")
    site.round(5)
    assert site.state(number) is State.WAITING
    site.now += AGAIN
    until = site.now + timedelta(minutes=5)
    site.clerk.first = Held(reason="no_window", sentence="No window is open.", until=until)
    site.round(2)
    assert site.applier.said == []
    assert site.told()[1:] == [
        "Proposal 1 waits. The freeze lasts.",
        f"Proposal 1 waits. No window is open. Until {until:%Y-%m-%d %H:%M} UTC, as far as is known.",
    ]
    site.clerk.first = Admitted(sentence="The window is open.")
    site.round()
    assert site.state(number) is State.WAITING
    site.now = until
    site.round()
    assert site.state(number) is State.APPLYING


def test_what_a_guard_holds_after_the_plan_is_not_planned_again_every_round(site: Site) -> None:
    """A plan takes the state lock, and people need that too; but whoever approves does not wait."""
    number = site.propose()
    site.clerk.second = Held(reason="touches_ignored", sentence="It changes what a rule hides.")
    site.round(10)
    assert site.applier.said == ["prepare", "release", "discard"]
    site.now += REST
    site.round(2)
    assert site.applier.said.count("prepare") == 2
    site.approve(number)
    site.clerk.second = Admitted(sentence="Approved by anna.")
    site.round()
    assert site.state(number) is State.APPLYING
    assert sum("It changes what a rule hides" in each for each in site.told()) == 1


@pytest.mark.parametrize("where", ["plan", "identity"])
def test_a_plan_that_fails_is_told_once_and_made_again_after_a_rest(site: Site, where: str) -> None:
    number = site.propose()
    failure = StateLockedError("the state is locked by bob since 9:00")
    site.applier.failure = failure if where == "plan" else None
    site.clerk.identity = failure if where == "identity" else None
    site.round(20)
    assert site.state(number) is State.WAITING
    assert site.applier.said.count("prepare") == (where == "plan")
    site.now += REST
    site.round(2)
    assert [each for each in site.told() if "waits" in each] == [
        "Proposal 1 waits. the state is locked by bob since 9:00."
    ]
    site.applier.failure = site.clerk.identity = None
    site.now += REST
    site.round()
    assert site.state(number) is State.APPLYING


def test_what_has_expired_is_told(site: Site) -> None:
    number = site.propose(automatic=False, expires_at=site.now + timedelta(hours=1))
    site.round()
    site.now += timedelta(hours=2)
    site.round(2)
    assert site.state(number) is State.EXPIRED
    assert site.told()[1:] == ["Proposal 1 has expired: nobody decided on it in time."]


# ---- what follows --------------------------------------------------------------------------------------


def test_what_is_due_is_proposed_and_a_failure_rests(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.store, "drifting", lambda: [DNS, NETWORK])
    site.proposer.due_now = {DNS}
    site.round(5)
    assert site.proposer.followed == [DNS], "once within `LOOK_FOR_WORK`"
    site.proposer.answer = EngineError("terraform plan failed")
    site.now += timedelta(seconds=20)
    site.round(10, seconds=20)
    assert len(site.proposer.followed) == 2
    site.now += REST
    site.round()
    assert len(site.proposer.followed) == 3


def test_a_stack_that_rests_still_has_its_wishes_and_its_applies_looked_at(site: Site) -> None:
    site.propose()
    site.round()
    site.reconciler._rest[f"repair:{DNS}"] = site.now + timedelta(days=1)
    wish = site.store.wish(Wish(stack=DNS, kind=ProposalKind.REVERT, by="anna"), site.now)
    site.proposer.answer = EngineError("there is nothing to put back")
    site.applier.end()
    site.round(2)
    granted = site.store.granted(wish)
    assert granted is not None
    assert granted.error == "there is nothing to put back"
    assert site.state(1) is State.APPLIED


def test_a_wish_is_answered_once_with_a_proposal_or_with_why_not(site: Site) -> None:
    number = site.propose(automatic=False)
    first = site.store.wish(Wish(stack=DNS, kind=ProposalKind.REVERT, by="anna"), site.now)
    site.proposer.answer = site.proposal(number)
    site.round()
    site.proposer.answer = UnknownStackError("there is no such stack")
    second = site.store.wish(Wish(stack=NETWORK, kind=ProposalKind.REVERT, by="anna"), site.now)
    site.round(2)
    answers = [site.store.granted(first), site.store.granted(second)]
    assert [(each.proposal, each.error) for each in answers if each] == [
        (number, None),
        (None, "there is no such stack"),
    ]
    assert site.store.wishes() == {}


@pytest.mark.parametrize("problem", [StoreUnavailableError("gone"), EngineInterruptedError("stopped")])
def test_a_wish_that_could_not_be_looked_at_stays(site: Site, problem: DriftwatchError) -> None:
    wish = site.store.wish(Wish(stack=DNS, kind=ProposalKind.REVERT, by="anna"), site.now)
    site.proposer.answer = problem
    site.round()
    assert site.store.granted(wish) is None
    site.proposer.answer = EngineError("it cannot be planned")
    site.now += REST
    site.round()
    assert site.store.granted(wish) is not None


def test_a_branch_that_moved_while_it_was_planned_is_noticed(site: Site) -> None:
    number = site.propose()

    def moves() -> None:
        site.worlds.source.remote_commit = SECOND
        site.worlds.inventory.refresh("platform")

    site.applier.on_prepare = moves
    site.round()
    assert site.state(number) is State.SUPERSEDED
    assert "start" not in site.applier.said
    assert site.applier.known() == []


def test_the_remote_is_asked_once_more_right_before_an_apply_is_planned(site: Site) -> None:
    """What was pushed since it was last polled counts; what it touches is looked at, as after a poll."""
    number = site.propose()
    site.worlds.source.remote_commit = SECOND
    site.worlds.source.trees[SECOND] = {"dns": "changed", "network": "a"}
    site.round()
    assert site.state(number) is State.SUPERSEDED
    assert site.applier.said == []
    job = site.store.claim("here", at=site.now, lease=timedelta(minutes=1))
    assert job is not None
    assert (job.stack, job.trigger) == (DNS, Trigger.COMMIT)


def test_a_remote_that_does_not_answer_keeps_no_repair_waiting(site: Site) -> None:
    number = site.propose()
    site.worlds.source.failure = RemoteUnreachableError("nobody answers")
    site.round()
    assert site.state(number) is State.APPLYING


def test_nothing_is_left_of_a_plan_that_cannot_be_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is full of secrets, and one more would be left with every try."""

    def unreadable(*_: object) -> object:
        raise PlanUnreadableError("it says nothing of its resources")

    monkeypatch.setattr(site.proposer, "read", unreadable)
    number = site.propose()
    site.round()
    assert site.proposal(number).held is not None
    assert site.applier.known() == []
    assert "release" in site.applier.said


def test_what_a_row_names_is_kept_though_the_store_goes_away_right_after(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it is known not to have begun: without it, nobody would know how far it came."""
    number = site.propose()
    with monkeypatch.context() as away:
        away.setattr(site.store, "note", _raising(StoreUnavailableError("gone")))
        site.round()
    assert site.state(number) is State.APPLYING
    assert "start" not in site.applier.said
    site.now += REST
    site.round(2)
    assert site.state(number) is State.FAILED
    assert "it was never started, and nothing was applied" in (site.proposal(number).outcome or "")
    assert site.store.suspensions(site.now) == []


# ---- what an apply says --------------------------------------------------------------------------------


def output_of(site: Site, number: int) -> str | None:
    run = site.proposal(number).run
    return run.output if run else None


def test_what_terraform_says_is_on_record_while_it_says_it(site: Site) -> None:
    number = site.propose()
    site.round(2)
    assert output_of(site, number) is None
    for said in ("x.y: Creating...", "x.y: Creating...\nx.y: Still creating..."):
        site.applier.output = said
        site.round()
        assert output_of(site, number) == said
    assert site.applier.said.count("follow p1") == 1, "read on, and not anew each time"
    assert "recognise" in site.applier.said[: site.applier.said.index("follow p1")], "its secrets first"


def test_one_that_an_earlier_daemon_began_is_followed_too(site: Site) -> None:
    number = site.propose()
    site.round(2)
    site.reconciler = site.another()
    site.applier.output = "x.y: Creating..."
    site.round()
    assert output_of(site, number) == "x.y: Creating..."


def test_nothing_is_passed_on_where_the_secrets_of_a_stack_are_not_known(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = site.propose()
    site.round(2)
    monkeypatch.setattr(site.reconciler, "_recognise", lambda _: False)
    monkeypatch.setattr(site.reconciler, "_followed", {})
    site.applier.output = "password: canary"
    site.round()
    assert output_of(site, number) is None


# ---- windows -------------------------------------------------------------------------------------------


def test_an_apply_under_way_ends_though_its_window_closes_and_no_other_begins(site: Site) -> None:
    first = site.propose()
    site.round(2)
    assert site.state(first) is State.APPLYING
    until = site.now + timedelta(hours=8)
    site.clerk.first = Held(reason="outside_window", sentence="The window has closed.", until=until)
    second = site.propose(NETWORK)
    site.round(5)
    assert site.state(first) is State.APPLYING
    assert "cancel p1" not in site.applier.said
    held = site.proposal(second).held
    assert held is not None
    assert (held.reason, held.until) == ("outside_window", until)
    site.applier.end()
    site.round()
    assert site.state(first) is State.APPLIED


# ---- what is on record ---------------------------------------------------------------------------------


@pytest.mark.row(73)
def test_what_driftwatch_decides_by_itself_is_on_record(site: Site) -> None:
    """Row 73: that a freeze held it, that it was void, that nobody decided, that a stack waits."""
    site.clerk.first = Held(reason="deny_window", sentence="The freeze lasts.")
    first = site.propose()
    site.round(3)
    site.now += AGAIN
    site.clerk.first = Held(reason="digest_changed", sentence="It is another plan now.")
    site.round()
    assert site.state(first) is State.SUPERSEDED
    site.propose(automatic=False, digest="d2", expires_at=site.now + timedelta(minutes=1))
    site.now += timedelta(minutes=2)
    site.round()
    site.clerk.first = Admitted(sentence="No guard holds it.")
    site.propose(digest="d3")
    site.round()
    site.applier.end(Look(state=ApplyState.GONE))
    site.round()
    entries = [
        (each.action, each.outcome)
        for each in reversed(site.store.audit().items)
        if each.actor == "driftwatch"
    ]
    assert entries == [
        ("hold", "deny_window"),
        ("supersede", "done"),
        ("expire", "done"),
        ("apply", "begun"),
        ("suspend", str(DNS)),
        ("apply", "interrupted"),
    ]


# ---- a state that no backend has -----------------------------------------------------------------------


@pytest.mark.row(15)
def test_nothing_is_applied_to_a_state_that_lacks_what_was_done_before(site: Site) -> None:
    """Row 15: until somebody has pushed it, whatever else was resumed."""
    first = site.propose()
    site.round()
    (apply_id,) = site.applier.known()
    path = Path("/state/applies/errored.tfstate")
    site.applier.kept[apply_id] = Unsaved(path=path, lineage="lineage", serial=8)
    site.applier.end(Look(state=ApplyState.ENDED, exit_code=1), outcome(1, errored_state=path))
    site.round()
    assert site.state(first) is State.INTERRUPTED
    assert site.store.resume(str(DNS), "anna", site.now)
    second = site.propose(digest="d2", automatic=False)
    site.approve(second)
    site.round()
    held = site.proposal(second).held
    assert held is not None
    assert held.reason == "in_review"
    assert f"it is in {path} on {HERE}" in held.sentence
    other = site.propose(NETWORK)
    site.round()
    assert site.state(other) is State.APPLYING, "another stack's"
    site.applier.kept[apply_id] = Unsaved(path=path, lineage="lineage", serial=7)  # as the plan's state is
    site.now += REST
    site.round()
    assert site.state(second) is State.APPLYING
    assert apply_id not in site.applier.known(), "it is of no use any more"


@pytest.mark.parametrize("days", [29, 31])
def test_what_an_interrupted_apply_left_is_kept_for_some_weeks(site: Site, days: int) -> None:
    site.propose()
    site.round()
    (apply_id,) = site.applier.known()
    site.applier.end(Look(state=ApplyState.GONE))
    site.round()
    site.now += timedelta(days=days)
    site.reconciler = site.another()
    site.round()
    assert (apply_id in site.applier.known()) is (days < 30)


# ---- one that somebody stops ---------------------------------------------------------------------------


def cancel(site: Site, number: int) -> None:
    wanted = Cancellation(by="ben", at=site.now, reason="it is the wrong region")
    assert site.store.cancel_apply(number, wanted)


def test_what_somebody_stops_is_interrupted_by_name_and_its_stack_waits(site: Site) -> None:
    number = site.propose()
    site.round(2)
    cancel(site, number)
    site.applier.can_cancel = False
    site.round(2)
    assert site.told()[2:] == [], "it has only just begun: terraform cannot be interrupted yet"
    site.applier.can_cancel = True
    site.round()
    assert site.told()[2:] == ["ben has the apply of proposal 1 interrupted: it is the wrong region."]
    site.applier.end(Look(state=ApplyState.ENDED, exit_code=1), outcome(1, cancelled=True))
    site.round(3)
    assert site.state(number) is State.INTERRUPTED
    (said,) = site.told()[3:]
    assert said == (
        "Proposal 1 was interrupted: ben had it stopped: it is the wrong region. Nothing is applied to this "
        "stack until somebody has looked at its state and resumes it."
    )
    assert [each.scope for each in site.store.suspensions(site.now)] == [str(DNS)]
    entries = [(each.action, each.actor, each.outcome) for each in site.store.audit(limit=10).items]
    assert ("cancel", "ben", "terraform was interrupted") in entries


def test_where_no_other_daemon_can_be_every_apply_is_its_own(site: Site) -> None:
    """A container that is made anew has another name, and the same state directory."""
    number = site.propose()
    site.begun_elsewhere(number)
    site.round(3)
    assert site.state(number) is State.APPLYING
    site.alone = True
    site.reconciler = site.another()
    site.round(2)
    assert site.state(number) is State.INTERRUPTED
    assert [each.scope for each in site.store.suspensions(site.now)] == [str(DNS)]


def test_only_the_daemon_on_its_machine_interrupts_an_apply(site: Site) -> None:
    number = site.propose()
    site.begun_elsewhere(number)
    cancel(site, number)
    site.round(3)
    assert "cancel p1" not in site.applier.said


def test_an_apply_that_ends_before_it_can_be_stopped_is_what_it_came_to(site: Site) -> None:
    number = site.propose()
    site.round(2)
    cancel(site, number)
    site.applier.end()
    site.round()
    assert site.state(number) is State.APPLIED
    assert site.store.suspensions(site.now) == []


# ---- how applies end -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("look", "ends", "state", "said"),
    [
        (ENDED_WELL, outcome(), State.APPLIED, "is applied; the check after it"),
        (
            Look(state=ApplyState.ENDED, exit_code=1),
            outcome(1, error=EngineError("terraform apply failed: Conflict")),
            State.FAILED,
            "failed: terraform apply failed: Conflict.",
        ),
        (Look(state=ApplyState.ENDED, exit_code=3), outcome(3), State.FAILED, "terraform ended with 3"),
        (
            ENDED_WELL,
            outcome(error=EngineError("an error was told")),
            State.FAILED,
            "was applied, but an error was told.",
        ),
        (Look(state=ApplyState.GONE), outcome(None), State.INTERRUPTED, "nobody knows how far it came"),
        (
            Look(state=ApplyState.ENDED, exit_code=-9),
            outcome(-9, error=EngineError("terraform apply failed")),
            State.INTERRUPTED,
            "was killed in its middle",
        ),
        (
            Look(state=ApplyState.ENDED, exit_code=1),
            outcome(1, error=ProviderCrashedError("a provider died")),
            State.INTERRUPTED,
            "was killed in its middle",
        ),
        (
            Look(state=ApplyState.ENDED, exit_code=1),
            outcome(1, cancelled=True),
            State.INTERRUPTED,
            "somebody stopped it",
        ),
        (
            Look(state=ApplyState.ENDED, exit_code=1),
            outcome(1, errored_state=Path("/nowhere/errored.tfstate")),
            State.INTERRUPTED,
            "its state could not be saved, and waits to be pushed from /nowhere/errored.tfstate",
        ),
        (
            Look(state=ApplyState.ENDED, exit_code=1),
            outcome(1, state_in_log=True),
            State.INTERRUPTED,
            "its state could not be saved, and waits to be taken out of",
        ),
        (Look(state=ApplyState.PREPARED), outcome(None), State.FAILED, "it was never started"),
    ],
)
def test_an_end_is_what_terraform_and_its_state_say(
    site: Site, look: Look, ends: Outcome, state: ProposalState, said: str
) -> None:
    """One that nobody knows the end of suspends its stack, and all that there is of it is kept."""
    number = site.propose()
    site.round()
    site.applier.end(look, ends)
    site.round(3)
    assert site.state(number) is state
    assert said in site.told()[2]
    assert len(site.told()) == 3
    suspended = [each.scope for each in site.store.suspensions(site.now)]
    is_interrupted = state is State.INTERRUPTED
    assert suspended == ([str(DNS)] if is_interrupted else [])
    assert ("discard" in site.applier.said) is not is_interrupted
    assert site.applier.said.count("outcome") == 1


def test_a_stack_is_suspended_before_its_apply_is_called_interrupted(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were it the other way round, a crash between the two would let the next apply through."""
    number = site.propose()
    site.round()
    site.applier.end(Look(state=ApplyState.GONE))
    with monkeypatch.context() as away:
        away.setattr(site.store, "end_apply", _raising(StoreUnavailableError("gone")))
        site.round()
    assert site.state(number) is State.APPLYING
    assert [each.scope for each in site.store.suspensions(site.now)] == [str(DNS)]
    site.reconciler = site.another()
    site.round()
    assert site.state(number) is State.INTERRUPTED
    assert len(site.store.suspensions(site.now)) == 1


def test_a_rollback_stays_at_its_commit_and_a_deploy_takes_the_pin_out(site: Site) -> None:
    number = site.propose(kind=ProposalKind.ROLLBACK, created_by="anna", automatic=False)
    site.approve(number)
    site.round()
    site.applier.end()
    site.round()
    assert site.store.pins()[DNS].commit == FIRST
    assert site.store.pins()[DNS].by == "anna"
    site.check()
    site.round()
    assert site.state(number) is State.VERIFIED
    site.heed_pins()
    for commit, pins in ((FIRST, [DNS]), (SECOND, [])):
        # At the pin it is about something else, as a variable; only another commit takes it out.
        site.worlds.source.remote_commit = SECOND
        assert site.worlds.inventory.refresh("platform").error is None
        deploy = site.propose(
            kind=ProposalKind.DEPLOY, digest=commit, findings=(), automatic=False, commit=commit
        )
        site.approve(deploy)
        site.round()
        assert site.state(deploy) is State.APPLYING
        site.applier.end()
        site.round()
        assert list(site.store.pins()) == pins
        site.check()
        site.round()


@pytest.mark.parametrize("exit_code", [0, 1])
def test_what_reads_from_a_stack_is_checked_after_it_was_applied_and_not_otherwise(
    site: Site, monkeypatch: pytest.MonkeyPatch, exit_code: int
) -> None:
    far = StackId(repository="platform", path="web")
    site.store.sync_stacks("platform", [StackDeclaration(id=each) for each in (DNS, NETWORK, far)], site.now)
    nodes = [
        Node(stack=DNS),
        Node(stack=NETWORK, depends_on=("platform/dns",)),
        Node(stack=far, depends_on=("platform/network",)),
    ]
    monkeypatch.setattr(site.worlds.inventory, "graph", lambda _also=(): graph_of(nodes))
    site.propose()
    site.round()
    site.applier.end(replace(ENDED_WELL, exit_code=exit_code))
    site.round()
    queued = [site.store.claim("x", at=site.now, lease=timedelta(minutes=5)) for _ in range(3)]
    assert [(job.stack, job.trigger) for job in queued if job] == [
        (DNS, Trigger.POST_APPLY),
        *([] if exit_code else [(NETWORK, Trigger.UPSTREAM)]),
    ]


def test_what_was_approved_for_a_stack_that_is_gone_is_never_applied(site: Site) -> None:
    """Its code is gone: neither the apply nor a destroy of it can be what anybody has seen."""
    number = site.propose(automatic=False)
    site.approve(number)
    site.worlds.source.trees[SECOND] = {"network": "a"}
    site.worlds.source.remote_commit = SECOND
    assert site.worlds.inventory.refresh("platform").error is None
    site.round()
    assert site.applier.said == [], "not even before the store knows"
    site.store.sync_stacks("platform", [StackDeclaration(id=NETWORK)], at=site.now)
    site.round(3)
    assert site.applier.said == []
    assert site.state(number) is State.EXPIRED


def test_the_end_of_a_rollback_is_written_though_its_stack_is_gone(site: Site) -> None:
    number = site.propose(kind=ProposalKind.ROLLBACK, created_by="anna", automatic=False)
    site.approve(number)
    site.round()
    site.store.sync_stacks("platform", [StackDeclaration(id=NETWORK)], at=site.now)
    site.applier.end()
    site.round()
    assert site.store.running_applies() == []
    assert site.store.pins() == {}


def test_what_cannot_be_started_has_failed_and_nothing_is_left(site: Site) -> None:
    number = site.propose()

    def on_start() -> None:
        raise PlanTamperedError("the plan file is not the one that was made")

    site.applier.on_start = on_start
    site.round()
    assert site.state(number) is State.FAILED
    assert "not started: the plan file is not the one that was made" in site.told()[-1]
    assert site.applier.looks == {}


def test_nothing_that_terraform_said_is_kept_where_the_secrets_are_not_known(site: Site) -> None:
    """A stack that is gone from the code has no options any more, by which its secrets would be known."""
    number = site.propose()
    site.round()
    site.worlds.source.trees[SECOND] = {"network": "a"}
    site.worlds.source.remote_commit = SECOND
    assert site.worlds.inventory.refresh("platform").error is None
    error = EngineError("the password hunter2 is wrong")
    site.applier.end(Look(state=ApplyState.ENDED, exit_code=1), outcome(1, output="hunter2", error=error))
    site.round()
    proposal = site.proposal(number)
    assert proposal.state is State.FAILED
    assert proposal.run is not None
    assert proposal.run.output is None
    assert "hunter2" not in repr(proposal) + "".join(site.told())
    assert "terraform ended with 1" in site.told()[-1]


# ---- the proof -----------------------------------------------------------------------------------------


def test_what_no_check_has_proved_in_time_is_told_as_that(site: Site) -> None:
    number = site.propose()
    site.round()
    site.applier.end()
    site.round()
    site.now += site.settings.verify_within - timedelta(minutes=1)
    site.check(verdict=Verdict.SKIPPED)
    site.round()
    assert site.state(number) is State.APPLIED
    site.now += timedelta(minutes=2)
    site.round(2)
    assert site.state(number) is State.FAILED
    assert site.told()[3:] == ["Proposal 1 was applied, but no check has proved it in time."]


def proof(verdict: Verdict, fingerprints: set[str], addresses: set[str]) -> Proof:
    return Proof(
        check_id=1, verdict=verdict, fingerprints=frozenset(fingerprints), addresses=frozenset(addresses)
    )


@pytest.mark.parametrize(
    ("changes", "saw", "state", "said"),
    [
        (
            {},
            proof(Verdict.DRIFTED, {"f1", "f2"}, {"dns_record.api"}),
            State.FAILED,
            "it did not help: 1 of its findings are still there.",
        ),
        (
            {},
            proof(Verdict.DRIFTED, {"f2"}, {"dns_record.api"}),
            State.FAILED,
            "it did not last: dns_record.api differs again, otherwise than before.",
        ),
        (
            {},
            proof(Verdict.DRIFTED, {"f2"}, {"dns_record.other"}),
            State.VERIFIED,
            "what it was about is gone; the stack is drifted otherwise.",
        ),
        (
            {"kind": ProposalKind.DEPLOY},
            proof(Verdict.DRIFTED, {"f2"}, {"dns_record.api"}),
            State.VERIFIED,
            "what it was about is gone; the stack is drifted otherwise.",
        ),
        ({}, proof(Verdict.IN_SYNC, set(), set()), State.VERIFIED, "nothing differs any more."),
        (
            {"kind": ProposalKind.ROLLBACK, "findings": (), "addresses": ()},
            proof(Verdict.DRIFTED, {"f2"}, {"dns_record.api"}),
            State.FAILED,
            "it did not help: the stack is drifted still.",
        ),
    ],
)
def test_what_a_check_after_it_saw_is_told(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    saw: Proof,
    state: ProposalState,
    said: str,
) -> None:
    number = site.propose(**changes)
    if changes:
        site.approve(number)
    site.round()
    site.applier.end()
    site.round()
    site.check()
    monkeypatch.setattr(site.store, "proved", lambda _proposal: saw)
    site.round(2)
    assert site.state(number) is state
    assert site.told()[-1].endswith(said)


@pytest.mark.row(70)
def test_a_foe_that_sets_another_value_each_time_is_seen_too(site: Site) -> None:
    """Row 70: what is repaired differs otherwise by the time of the proof, round after round."""
    for place in range(3):
        number = site.propose(findings=(f"f{place}",), digest=f"d{place}")
        site.round()
        site.applier.end()
        site.round()
        site.drift(f"f{place + 1}")
        site.round(2)
        assert site.state(number) is State.FAILED
    since = site.now - timedelta(days=1)
    assert site.store.returns(DNS, "resource:dns_record.api", since) == 3


# ---- crashes, outages, other daemons, the end ----------------------------------------------------------


def test_what_was_written_and_not_said_is_said_at_the_start_and_once(site: Site) -> None:
    site.propose()
    site.propose(NETWORK, automatic=False)
    assert site.told() == []
    site.clerk.first = Held(reason="deny_window", sentence="The freeze lasts.")
    for _ in range(3):
        site.reconciler = site.another()
        site.round(2)
    assert sorted(site.told()) == [
        "Proposal 1 waits. The freeze lasts.",
        "Proposal 1, to revert: 1 to add. It is applied by itself as soon as it may be.",
        "Proposal 2, to revert: 1 to add. It waits to be approved.",
    ]


def test_what_happened_long_ago_is_not_said_any_more(site: Site) -> None:
    site.propose(automatic=False)
    site.now += timedelta(days=8)
    site.round(2)
    assert site.told() == []


def test_what_others_have_told_is_not_said_again(site: Site) -> None:
    """Who votes, rejects, or proposes something else in its place has said so."""
    first = site.propose(automatic=False)
    site.propose(automatic=False, digest="d2")
    rejected = site.propose(NETWORK, automatic=False)
    vote = Decision(by="anna", at=site.now, via="terminal", approves=False, digest="d1", reason="no")
    site.store.decide(rejected, vote)
    site.round(2)
    assert words(site.proposal(first)) is None
    assert words(site.proposal(rejected)) is None
    assert site.told() == ["Proposal 2, to revert: 1 to add. It waits to be approved."]


def test_what_is_left_of_applies_is_cleared_away_at_the_start_only(site: Site) -> None:
    """What never began and what is written down goes; what runs, and what somebody has to look at, stays."""
    ended, interrupted = site.propose(), site.propose(NETWORK)
    site.round()
    site.applier.end(Look(state=ApplyState.GONE))
    site.round()
    kept = site.proposal(interrupted).run
    assert kept is not None
    assert site.state(ended) is State.INTERRUPTED
    site.applier.looks |= {
        f"p{ended}-prepared": Look(state=ApplyState.PREPARED),
        f"p{ended}-unknown": ENDED_WELL,
        "p99-running": RUNNING,
        "somebody-elses": Look(state=ApplyState.PREPARED),
    }
    site.round()
    assert f"p{ended}-prepared" in site.applier.looks, "it may be in the making"
    site.reconciler = site.another()
    site.round()
    first = site.proposal(ended).run
    assert first is not None
    assert set(site.applier.looks) == {first.id, kept.id, f"p{ended}-unknown", "p99-running"}


def test_an_apply_of_another_daemon_is_left_alone_and_told_when_it_takes_long(site: Site) -> None:
    number = site.propose()
    site.begun_elsewhere(number)
    deploy = site.propose(kind=ProposalKind.DEPLOY, digest="d2")
    site.round(3)
    assert site.state(deploy) is State.PROPOSED
    site.now += LONG
    site.leads = False
    site.round()
    assert not [each for each in site.told() if "still being applied" in each]
    site.leads = True
    site.round(3)
    site.reconciler = site.another()
    site.round(2)
    [told] = [each for each in site.told() if "still being applied" in each]
    assert told.startswith(f"Proposal 1 is still being applied after 1h, on {ELSEWHERE}.")
    assert "If no daemon is there any more" in told
    assert told.endswith("If that machine is gone for good, `driftwatch proposals abandon 1` says so.")
    assert site.state(number) is State.APPLYING
    assert site.applier.said == []


def test_an_apply_of_ones_own_that_takes_long_is_told_without_alarm(site: Site) -> None:
    site.propose()
    site.round()
    site.now += LONG
    site.round(2)
    assert site.told()[2:] == [f"Proposal 1 is still being applied after 1h, on {HERE}."]


def test_who_does_not_lead_only_writes_how_its_own_applies_ended(site: Site) -> None:
    first = site.propose()
    site.round()
    second = site.propose(NETWORK)
    site.leads = False
    site.applier.end()
    site.round(3)
    assert (site.state(first), site.state(second)) == (State.APPLIED, State.PROPOSED)


def test_an_outage_of_the_store_is_said_once_in_the_log_and_made_up_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message that an outage kept from being written is written after it."""
    number = site.propose()
    site.round()
    site.applier.end()
    with monkeypatch.context() as away:
        away.setattr(site.store, "tell_repair", _raising(StoreUnavailableError("gone")))
        site.round()
    assert site.state(number) is State.APPLIED
    with monkeypatch.context() as away:
        away.setattr(site.store, "running_applies", _raising(StoreUnavailableError("gone")))
        site.round(3)
    site.round()
    assert site.told()[-1] == "Proposal 1 is applied; the check after it says whether it helped."


def test_nothing_is_begun_when_the_end_was_asked_for_during_its_plan(site: Site) -> None:
    number, stop = site.propose(), threading.Event()
    site.applier.on_prepare = stop.set
    site.reconciler.run(stop)
    assert site.state(number) is State.PROPOSED
    assert site.applier.said == ["prepare", "release", "discard"]


def test_a_plan_that_the_end_interrupts_is_no_failure(site: Site) -> None:
    number, stop = site.propose(), threading.Event()
    site.applier.on_prepare = stop.set
    site.applier.failure = EngineInterruptedError("the daemon stops")
    site.reconciler.run(stop)
    assert site.proposal(number).held is None
    assert site.state(number) is State.PROPOSED


def test_the_end_waits_for_no_apply(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "ROUND_SECONDS", 0.01)
    number, stop = site.propose(), threading.Event()
    began = threading.Event()
    site.applier.on_start = began.set
    thread = threading.Thread(target=site.reconciler.run, args=[stop])
    thread.start()
    assert began.wait(10)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert site.state(number) is State.APPLYING
    assert RUNNING in site.applier.looks.values()


def test_a_fault_of_driftwatchs_own_ends_neither_the_rounds_nor_other_stacks(site: Site) -> None:
    site.propose()
    other = site.propose(NETWORK)

    def on_prepare() -> None:
        if site.applier.said.count("prepare") == 1:
            raise ZeroDivisionError

    site.applier.on_prepare = on_prepare
    site.round(3)
    assert site.state(other) is State.APPLYING
    assert site.applier.said.count("prepare") == 2


def _raising(problem: Exception) -> Callable[..., Any]:
    def raises(*_: object, **__: object) -> Any:
        raise problem

    return raises


def test_what_waits_does_not_hide_what_is_behind_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a thousand that wait, none is looked at again before its time, and the last gets its turn."""
    wants: list[int] = []
    monkeypatch.setattr(site.store, "actionable", lambda _at, limit: wants.append(limit) or [])
    site.round()
    assert wants == [reconcile.MOST]
    monkeypatch.undo()
    site.propose()
    asked: list[object] = []

    def before_plan(*arguments: object) -> Admission:
        asked.append(arguments)
        return Held(reason="breaker_open", sentence="Three applies failed.")

    monkeypatch.setattr(site.clerk, "before_plan", before_plan)
    site.round(5, seconds=1)
    assert len(asked) == 1
    site.approve(1)
    site.round()
    assert len(asked) == 2, "whoever approves does not wait"
    site.approve(1)
    site.round()
    assert len(asked) == 3, "nor does whoever says so again"
    site.round(1, seconds=AGAIN.total_seconds())
    assert len(asked) == 4


def test_rounds_that_broke_off_leave_no_stack_behind(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon starts them again; what was taken up and not begun is taken up once more."""
    number, stop = site.propose(), threading.Event()
    monkeypatch.setattr(site.store, "wishes", _raising(ZeroDivisionError()))
    site.reconciler._busy.add(DNS)
    with pytest.raises(ZeroDivisionError):
        site.reconciler.run(stop)
    monkeypatch.undo()
    site.round()
    assert site.state(number) is State.APPLYING


@dataclass
class FakeAdopter:
    """Plays an adoption that takes long; `done` are the wishes that it came to."""

    goes_on: threading.Event = field(default_factory=threading.Event)
    done: list[int] = field(default_factory=list)
    looked: list[StackId] = field(default_factory=list)

    def asked(self) -> dict[int, AdoptionWish]:
        return {number: AdoptionWish(stack=DNS, by="anna") for number in (1, 2) if number not in self.done}

    def is_due(self, stack: StackId) -> bool:
        return stack not in self.looked

    def follow_up(self, stack: StackId) -> None:
        self.looked.append(stack)

    def carry_out(self, number: int, _wish: AdoptionWish, _stop: threading.Event) -> None:
        assert self.goes_on.wait(30)
        self.done.append(number)


def test_an_apply_waits_for_no_adoption_and_an_adoption_for_each_apply(site: Site) -> None:
    """They are done one at a time and beside all else; while their stack is applied, they are not begun."""
    adopter, number = FakeAdopter(), site.propose()
    site.reconciler = Reconciler(replace(site.reconciler._tools, adopter=cast("Any", adopter)))
    with ThreadPoolExecutor(1) as desk:
        site.reconciler._round(site.pool, desk)
        assert site.state(number) is State.APPLYING
        site.reconciler.look_at(NETWORK)
        site.reconciler._round(site.pool, desk)
        adopter.goes_on.set()
    assert adopter.done == [1, 2]
    assert adopter.looked == [NETWORK]

    running = FakeAdopter()
    running.goes_on.set()
    site.reconciler = Reconciler(replace(site.reconciler._tools, adopter=cast("Any", running)))
    with ThreadPoolExecutor(1) as desk:
        site.reconciler._round(site.pool, desk)
    assert site.state(number) is State.APPLYING
    assert running.done == []


def test_what_waits_until_then_is_asked_about_before(site: Site) -> None:
    """A suspension is lifted, a window moves: it waits till then as far as was known."""
    number = site.propose(automatic=False, expires_at=site.now + timedelta(days=7))
    site.approve(number)
    site.clerk.first = Held(reason="suspended", sentence="It is.", until=site.now + timedelta(days=2))
    site.round()
    assert site.state(number) is State.WAITING
    site.clerk.first = Admitted(sentence="Approved by anna.")
    site.round(2)
    assert site.state(number) is State.WAITING
    site.round(1, seconds=30)
    assert site.state(number) is State.APPLYING


def test_a_stack_that_is_applied_elsewhere_is_not_planned_for_what_waits(site: Site) -> None:
    number = site.propose()
    site.clerk.first = Held(reason="deny_window", sentence="The freeze lasts.")
    site.round()
    deploy = site.propose(kind=ProposalKind.DEPLOY, digest="d2")
    site.begun_elsewhere(deploy)
    site.clerk.first = Admitted(sentence="No guard holds it.")
    site.round(3, seconds=60)
    assert site.state(number) is State.WAITING
    assert site.applier.said == []
