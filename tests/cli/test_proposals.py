"""Proposals at a terminal: seen whole, asked for, decided on the record, applied, and waited for."""

from __future__ import annotations

import getpass
import json
import re
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.cli import repair
from driftwatch.cli.clock import now
from driftwatch.errors import Exit
from driftwatch.model import (
    ApplyRun,
    Cause,
    Decision,
    Hold,
    Pin,
    PlannedChange,
    PlanSummary,
    Proposal,
    ProposalDraft,
    ProposalKind,
    ProposalState,
    StackId,
    Suspension,
    Trigger,
    Verdict,
)
from driftwatch.service import StateLock, node_name
from driftwatch.store import Store
from tests.cli.test_listings import HOSTILE, drift

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from driftwatch.model import Wish
    from tests.cli.conftest import Estate, Ran

DNS = StackId(repository="platform", path="dns")
COMMIT = "0f3d" * 10
DIGEST = "d1" * 32
REPLACED = PlannedChange(
    address="cloud_record.www",
    type="cloud_record",
    actions=("delete", "create"),
    attributes=tuple(f"/values/{number}" for number in range(14)),
)


@dataclass(frozen=True, slots=True)
class Desk:
    """The command line on platform/dns, and its database as a daemon has it."""

    cli: Callable[..., Ran]
    estate: Estate

    def __call__(self, *words: str | int) -> Ran:
        return self.cli(*map(str, words), "-c", self.estate.config)

    def json(self, *words: str | int) -> Any:
        ran = self(*words, "-f", "json")
        assert ran.out, ran.err
        return json.loads(ran.out)

    @contextmanager
    def store(self) -> Iterator[Store]:
        with closing(Store.open(state_dir=self.estate.state, database=None)) as store:
            yield store

    def propose(self, **words: Any) -> Proposal:
        standard: dict[str, Any] = {
            "stack": DNS,
            "kind": ProposalKind.REVERT,
            "commit": COMMIT,
            "digest": DIGEST,
            "findings": (drift("x.y").fingerprint,),
            "addresses": ("x.y",),
            "summary": PlanSummary(adds=1, updates=0, destroys=0, replaces=1, changes=(REPLACED,)),
            "reason": "The stack's on_drift says propose.",
            "created_by": "driftwatch",
            "created_at": now(),
            "expires_at": now() + timedelta(days=7),
            "automatic": False,
            "risks": ("It destroys 0 and replaces 1 resources.",),
            "author": None,
        }
        with self.store() as store:
            return store.propose(ProposalDraft(**(standard | words)))

    def begin(self, number: int, node: str = "one") -> None:
        run = ApplyRun(
            id=f"p{number}-1",
            node=node,
            plan_sha256="5ha",
            state_lineage=None,
            state_serial=7,
            started_at=now(),
        )
        with self.store() as store:
            assert store.begin_apply(number, run, now())

    def end(self, number: int, state: ProposalState, outcome: str = "applied", output: str = "done") -> None:
        code = 0 if state is ProposalState.APPLIED else 1
        with self.store() as store:
            assert store.end_apply(number, state, at=now(), exit_code=code, output=output, outcome=outcome)

    def audit(self) -> list[tuple[str, ...]]:
        """Who, by which way, what, about what, and what came of it; the oldest first."""
        names = ("actor", "via", "action", "subject", "outcome", "reason")
        entries = self.json("audit", "list")["entries"]
        return [tuple(each[name] for name in names) for each in reversed(entries)]


@pytest.fixture
def desk(cli: Callable[..., Ran], estate: Estate) -> Desk:
    estate.record("dns", drift("x.y"), verdict=Verdict.DRIFTED)
    return Desk(cli, estate)


@pytest.fixture
def daemon(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """`daemon(work)` has `work(store)` done again and again beside the command, as a daemon does."""
    monkeypatch.setattr(repair, "ROUND_SECONDS", 0.02)
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def start(work: Callable[[Store], None]) -> None:
        def loop() -> None:
            with desk.store() as store:
                while not stop.is_set():
                    work(store)
                    stop.wait(0.02)

        threads.append(threading.Thread(target=loop))
        threads[-1].start()

    with StateLock.acquire(desk.estate.state, clock=now):
        yield start
        stop.set()
        for thread in threads:
            thread.join()


def needs(desk: Desk, approvals: int) -> None:
    more = f"repair: {{approvals: {{needed: {approvals}}}}}\n"
    desk.estate.config.write_text(desk.estate.config.read_text() + more)


def forbid(desk: Desk, *, manual: bool) -> None:
    """A freeze of everything, which people may override or not."""
    window = (
        "{name: freeze, kind: deny, from: '2020-01-01T00:00:00', to: '2090-01-01T00:00:00', stacks: ['*']"
    )
    more = f"windows: [{window}, manual: {json.dumps(manual)}}}]\n"
    desk.estate.config.write_text(desk.estate.config.read_text() + more)


# ---- looking -------------------------------------------------------------------------------------------


def test_a_list_names_what_is_open_and_for_what_it_waits(desk: Desk) -> None:
    desk.propose()
    (first, second) = desk("proposals", "list").out.splitlines()
    assert "proposed     platform/dns  revert: 1 to add, 1 to replace" in first
    assert "at 0f3d0f3d0f · by driftwatch · " in second
    with desk.store() as store:
        assert hasattr(
            store.decide(1, Decision(by="a", at=now(), via="slack", approves=True, digest=DIGEST)), "id"
        )
        assert store.approved(1)
        until = now() + timedelta(hours=1)
        assert store.hold(1, Hold(reason="deny_window", sentence="The freeze lasts.", until=until), now())
    third = desk("proposals", "list", "--state", "waiting").out.splitlines()[2]
    assert third.strip().startswith("The freeze lasts. (deny_window) It may change at ")


def test_a_list_is_paged_and_narrowed(desk: Desk) -> None:
    desk.propose()
    desk.propose(digest="d2" * 32)
    desk.propose(kind=ProposalKind.DEPLOY)
    document = desk.json("proposals", "list", "--limit", 1)
    assert ([each["id"] for each in document["proposals"]], document["next"]) == ([3], 3)
    assert [each["id"] for each in desk.json("proposals", "list", "--after", 3)["proposals"]] == [2]
    everything = desk.json("proposals", "list", "--state", "all", "--stack", "plat*")["proposals"]
    assert [(each["id"], each["state"], each["superseded_by"]) for each in everything] == [
        (3, "proposed", None),
        (2, "proposed", None),
        (1, "superseded", 2),
    ]
    assert desk("proposals", "list", "--state", "failed").out == "No proposals.\n"


def test_a_proposal_is_shown_with_all_that_one_decides_by(desk: Desk) -> None:
    desk.propose(author="mallory")
    shown = desk("proposals", "show", 1).out
    for part in (
        "Proposal 1  revert platform/dns  proposed",
        "why       The stack's on_drift says propose.",
        f"commit    {COMMIT}",
        "made by   driftwatch, ",
        "author    mallory",
        f"digest    {DIGEST}",
        "approved  0 of 1",
        "expires   ",
        "risk      It destroys 0 and replaces 1 resources.",
        "plan      1 to add, 1 to replace",
        "± cloud_record.www  delete, create",
        "/values/11\n        and 2 more attributes",
        "and 1 resources more",
        "closes    finding 1  high  x.y  open",
        "proposed by driftwatch: The stack's on_drift says propose.",
    ):
        assert part in shown, part


def test_the_documents_have_plain_names_and_times(desk: Desk) -> None:
    proposal = desk.propose()
    row = desk.json("proposals", "list")["proposals"][0]
    document = desk.json("proposals", "show", 1)
    assert {key: document[key] for key in row} == row
    assert set(document) - set(row) == {
        "resources",
        "radius",
        "risks",
        "findings",
        "decisions",
        "run",
        "events",
    }
    assert (row["stack"], row["kind"], row["state"], row["commit"]) == (
        "platform/dns",
        "revert",
        "proposed",
        COMMIT,
    )
    assert row["summary"] == {"adds": 1, "changes": 0, "destroys": 0, "replaces": 1, "outputs": []}
    assert (row["approved_by"], row["approvals_needed"], row["held"]) == ([], 1, None)
    assert row["created_at"] == proposal.draft.created_at.isoformat(timespec="milliseconds").replace(
        "+00:00", "Z"
    )
    assert document["resources"][0]["actions"] == ["delete", "create"]
    assert document["findings"] == [
        {"id": 1, "address": "x.y", "kind": "modified", "severity": "high", "status": "open"}
    ]
    assert [each["event"] for each in document["events"]] == ["proposed"]


def test_a_run_is_shown_with_its_end(desk: Desk) -> None:
    desk.propose(automatic=True, expires_at=None)
    desk.begin(1)
    assert "it runs still, or nobody knows" in desk("proposals", "show", 1).out
    assert desk.json("proposals", "show", 1)["run"]["exit_code"] is None
    desk.end(1, ProposalState.FAILED, "no route to host", "Error: no route\n  on main.tf")
    shown = desk("proposals", "show", 1).out
    told = r"on one: took \d+ s, exit code 1\n      Error: no route\n        on main.tf\n"
    assert re.search(told, shown), shown
    assert "outcome   no route to host" in shown
    run = desk.json("proposals", "show", 1)["run"]
    assert (run["exit_code"], run["output"]) == (1, "Error: no route\n  on main.tf")
    assert 0 <= run["duration_seconds"] < 60


def test_one_that_is_applied_by_itself_needs_nobody(desk: Desk) -> None:
    desk.propose(automatic=True, expires_at=None)
    assert "not needed: it is applied by itself" in desk("proposals", "show", 1).out
    assert "to be applied by itself" in desk("proposals", "list").out
    assert desk.json("proposals", "show", 1)["approvals_needed"] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", 9), "no proposal 9"),
        (("show", 2**70), f"no proposal {2**70}"),
        (("list", "--state", "nope"), "no such state: nope"),
        (("list", "--stack", "nope"), "no stack matches nope"),
        (("list", "--limit", 0), "--limit"),
        (("approve", 9), "there is no proposal 9"),
        (("reject", 1), "--reason"),
        (("reject", 1, "--reason", " "), "must not be empty"),
        (("approve", 1, "--reason", "r" * 1001), "too long"),
        (("approve", 1, "--as", "a\x1b[31m"), "control or invisible characters"),
        (("approve", 1, "--digest", "d2" * 32), "look at it again first"),
        (("apply", 9), "there is no proposal 9"),
        (("apply", 1, "--override-window"), "--override-window needs a reason"),
        (("apply", 1, "--acknowledge-mass-deletion"), "--acknowledge-mass-deletion needs a reason"),
        (("apply", 1, "--wait", -1), "--wait"),
        (("create", "platform/nope"), "no stack matches platform/nope"),
        (("create", "platform/dns", "--kind", "rollback"), "rollback"),
    ],
)
def test_what_cannot_be_is_refused_and_decides_nothing(
    desk: Desk, words: tuple[str | int, ...], said: str
) -> None:
    desk.propose()
    ran = desk("proposals", *words)
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert said in ran.err
    document = desk.json("proposals", "show", 1)
    assert (document["state"], document["decisions"]) == ("proposed", [])


# ---- deciding ------------------------------------------------------------------------------------------


def test_an_approval_says_what_follows(desk: Desk, daemon: Callable[..., None]) -> None:
    desk.propose()
    ran = desk("proposals", "approve", 1, "--as", "Alice", "--reason", "it must be there")
    assert (ran.code, ran.err) == (Exit.OK, "")
    assert ran.out == (
        "Proposal 1 is approved by Alice. "
        "It is applied within seconds, unless the daemon finds what holds it.\n"
    )
    document = desk.json("proposals", "show", 1)
    assert (document["state"], document["approved_by"]) == ("approved", ["Alice"])
    (decision,) = document["decisions"]
    assert (decision["via"], decision["of_this_content"], decision["reason"]) == (
        "terminal",
        True,
        "it must be there",
    )
    assert desk.audit() == [
        (
            "Alice",
            "terminal",
            "approve",
            "proposal 1 (platform/dns at 0f3d0f3d0f)",
            "done",
            "it must be there",
        )
    ]


def test_an_approval_without_a_daemon_says_so(desk: Desk) -> None:
    desk.propose()
    assert "No daemon is running here: it is applied when" in desk("proposals", "approve", 1).out
    document = desk.json("proposals", "approve", 1)
    assert (document["daemon"], document["in_the_way"], document["approved_by"]) == (
        False,
        None,
        [getpass.getuser()],
    )


def test_as_many_must_approve_as_the_configuration_says(desk: Desk) -> None:
    needs(desk, 2)
    desk.propose()
    first = desk("proposals", "approve", 1, "--as", "Alice").out
    assert "It waits: 2 people have to approve it, and 1 did. (too_few_approvals)" in first
    desk("proposals", "approve", 1, "--as", "Alice")
    assert desk.json("proposals", "show", 1)["state"] == "proposed"
    assert "approved  1 of 2, by Alice" in desk("proposals", "show", 1).out
    desk("proposals", "approve", 1, "--as", "Bob", "--digest", DIGEST)
    assert desk.json("proposals", "show", 1)["state"] == "approved"


@pytest.mark.parametrize("manual", [True, False])
def test_an_approval_says_for_which_window_it_waits(desk: Desk, manual: bool) -> None:
    forbid(desk, manual=manual)
    desk.propose()
    said = desk("proposals", "approve", 1).out
    assert "It waits: Window freeze forbids it until 2090-01-01" in said
    assert ("--override-window" in said) is manual
    hold = desk.json("proposals", "approve", 1)["in_the_way"]
    assert (hold["reason"], hold["until"]) == ("deny_window", "2090-01-01T00:00:00.000Z")


def test_an_approval_says_what_else_stands_in_the_way(desk: Desk) -> None:
    """A suspension, a pin, and that one's own approval of one's own change is none."""
    desk.propose(author=" Mallory")

    def in_the_way(name: str = "Alice") -> str:
        return str(desk.json("proposals", "approve", 1, "--as", name)["in_the_way"]["reason"])

    assert in_the_way("mallory") == "approved_by_author"
    assert desk.json("proposals", "approve", 1, "--as", "Alice")["in_the_way"] is None
    with desk.store() as store:
        store.pin(Pin(stack=DNS, commit="a" * 40, by="bob", at=now(), reason="rolled back"))
    assert in_the_way() == "pinned"
    with desk.store() as store:
        store.suspend(Suspension(scope="platform", by="bob", at=now(), reason="we move"))
    assert in_the_way() == "suspended"


def test_a_rejection_is_the_end_of_it(desk: Desk) -> None:
    desk.propose()
    ran = desk("proposals", "reject", 1, "--as", "Alice", "--reason", "we keep it")
    assert (ran.code, ran.out) == (Exit.OK, "Proposal 1 is rejected.\n")
    document = desk.json("proposals", "show", 1)
    assert (document["state"], document["outcome"]) == ("rejected", "rejected by Alice: we keep it")
    refused = desk("proposals", "approve", 1)
    assert (refused.code, "proposal 1 is rejected" in refused.err) == (Exit.USAGE, True)
    assert [(each[2], each[4]) for each in desk.audit()] == [
        ("reject", "done"),
        ("approve", "refused: already_rejected"),
    ]


def listen(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has messages written, to a webhook that nobody sends to."""
    monkeypatch.setenv("HOOK", "s3cret-canary-77aa")
    hook = "{name: ops, url: 'https://127.0.0.1:1/x', secret: '${env:HOOK}'}"
    more = f"notify: {{gather: 0s, webhooks: [{hook}]}}\n"
    desk.estate.config.write_text(desk.estate.config.read_text() + more)


def told(desk: Desk) -> list[str]:
    """What people would read, in order."""
    said, later = [], now() + timedelta(days=1)
    with desk.store() as store:
        while messages := store.due_messages(at=later, limit=1):
            said.append(messages[0].announcement.said or "")
            store.message_sent(messages[0].id, {"ts": "1"}, at=later)
    return said


def test_what_is_decided_is_told_where_the_finding_was(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks at the thread sees that somebody has decided."""
    listen(desk, monkeypatch)
    desk.propose()
    desk("proposals", "approve", 1, "--as", "Alice", "--reason", "go")
    desk("proposals", "reject", 1, "--as", "Bob", "--reason", "no")
    assert told(desk) == ["Alice approved proposal 1: go", "Bob rejected proposal 1: no"]


# ---- what is left --------------------------------------------------------------------------------------


def test_what_an_interrupted_apply_left_is_removed_for_who_says_so(desk: Desk) -> None:
    proposal = applying(desk)
    early = desk("proposals", "discard", 1, "--reason", "pushed")
    assert (early.code, "it is applying" in early.err) == (Exit.USAGE, True)
    desk.end(proposal.id, ProposalState.INTERRUPTED, "its state waits to be pushed")
    left = desk.estate.state / "applies" / f"p{proposal.id}-1"
    left.mkdir(parents=True)
    (left / "errored.tfstate").write_text("{}")
    ran = desk("proposals", "discard", 1, "--as", "Bob", "--reason", "it is pushed")
    assert (ran.code, ran.out) == (Exit.OK, "What the apply of proposal 1 has left is removed.\n")
    assert not left.exists()
    again = desk("proposals", "discard", 1, "--reason", "x")
    assert (again.code, "nothing of proposal 1 is kept on this machine" in again.err) == (Exit.USAGE, True)
    assert [each[2] for each in desk.audit()][-2:] == ["discard", "discard"]


# ---- cancelled -----------------------------------------------------------------------------------------


def test_an_apply_is_cancelled_by_name_once(desk: Desk) -> None:
    applying(desk)
    ran = desk("proposals", "cancel", 1, "--as", "Bob", "--reason", "wrong region")
    assert ran.code == Exit.OK
    assert "is interrupted within seconds by the daemon on one: terraform stops what it is at" in ran.out
    again = desk("proposals", "cancel", 1, "--as", "Eve", "--reason", "me too")
    assert (again.code, again.out) == (Exit.OK, "Bob wanted that before: wrong region\n")
    document = desk.json("proposals", "show", 1)
    assert document["state"] == "applying"
    assert (document["run"]["cancel"]["by"], document["run"]["cancel"]["reason"]) == ("Bob", "wrong region")
    assert "Bob wants it interrupted: wrong region" in desk("proposals", "show", 1).out
    assert [(each[0], each[2], each[4]) for each in desk.audit()[1:]] == [
        ("Bob", "cancel", "asked for"),
        ("Eve", "cancel", "it was asked for before, or has ended"),
    ]


def test_only_what_is_being_applied_is_cancelled(desk: Desk) -> None:
    desk.propose()
    ran = desk("proposals", "cancel", 1, "--reason", "stop")
    assert (ran.code, "proposal 1 is not being applied: it is proposed" in ran.err) == (Exit.USAGE, True)
    assert desk("proposals", "cancel", 9, "--reason", "stop").code == Exit.USAGE


# ---- abandoned -----------------------------------------------------------------------------------------


def applying(desk: Desk) -> Proposal:
    proposal = desk.propose()
    desk("proposals", "approve", proposal.id, "--as", "Alice")
    desk.begin(proposal.id)
    return proposal


def test_an_apply_whose_machine_is_gone_is_given_up_and_its_stack_suspended(desk: Desk) -> None:
    applying(desk)
    ran = desk("proposals", "abandon", 1, "--node", "one", "--as", "Bob", "--reason", "it burnt down")
    assert ran.code == Exit.OK
    assert ran.out == (
        "Proposal 1 is interrupted. Nothing is applied to platform/dns until `driftwatch stacks resume "
        "platform/dns`: look at its state first.\n"
    )
    document = desk.json("proposals", "show", 1)
    assert (document["state"], document["outcome"]) == (
        "interrupted",
        "its machine is gone, says Bob: it burnt down",
    )
    with desk.store() as store:
        suspension = store.suspension_of(DNS, now())
        assert suspension is not None
        assert (suspension.scope, suspension.by) == ("platform/dns", "driftwatch")
        assert suspension.reason.startswith("Bob abandoned the apply of proposal 1 on one (it burnt down)")
        assert store.running_applies() == []
        job = store.claim("two", at=now(), lease=timedelta(minutes=1))
    assert job is not None
    assert (job.stack, job.trigger) == (DNS, Trigger.POST_APPLY)
    assert desk.audit()[-1] == (
        "Bob",
        "terminal",
        "abandon",
        f"proposal 1 (platform/dns at {COMMIT[:10]})",
        "done",
        "it burnt down",
    )


def test_an_abandoned_apply_is_told_where_its_finding_was(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen(desk, monkeypatch)
    applying(desk)
    desk("proposals", "abandon", 1, "--node", "one", "--as", "Bob", "--reason", "burnt")
    assert told(desk)[-1].startswith("Proposal 1 was interrupted: its machine is gone, says Bob: burnt.")


@pytest.mark.parametrize(
    ("node", "complaint"),
    [("two", "proposal 1 is being applied on one"), ("", "proposal 1 is being applied on one")],
)
def test_an_apply_is_only_abandoned_where_it_is(desk: Desk, node: str, complaint: str) -> None:
    applying(desk)
    ran = desk("proposals", "abandon", 1, "--node", node, "--reason", "gone")
    assert (ran.code, complaint in ran.err) == (Exit.USAGE, True)
    assert desk.json("proposals", "show", 1)["state"] == "applying"
    with desk.store() as store:
        assert store.suspensions(now()) == []


def test_ones_own_apply_is_found_and_not_abandoned(desk: Desk) -> None:
    proposal = desk.propose()
    desk("proposals", "approve", proposal.id)
    desk.begin(proposal.id, node=node_name(desk.estate.state))
    ran = desk("proposals", "abandon", 1, "--node", node_name(desk.estate.state), "--reason", "gone")
    assert (ran.code, "Start the daemon here" in ran.err) == (Exit.USAGE, True)


def test_only_what_is_being_applied_is_abandoned(desk: Desk) -> None:
    desk.propose()
    ran = desk("proposals", "abandon", 1, "--node", "one", "--reason", "gone")
    assert (ran.code, "proposal 1 is not being applied: it is proposed" in ran.err) == (Exit.USAGE, True)


# ---- applying ------------------------------------------------------------------------------------------


def played(desk: Desk, state: ProposalState, outcome: str) -> Callable[[Store], None]:
    """A daemon that applies what is approved; then the apply, or the check after it, ends so."""

    def work(store: Store) -> None:
        for proposal in store.actionable(now()):
            if proposal.state is ProposalState.APPROVED:
                desk.begin(proposal.id)
                first = ProposalState.APPLIED if state is ProposalState.VERIFIED else state
                desk.end(proposal.id, first, outcome)
                if state is ProposalState.VERIFIED:
                    store.verify(proposal.id, check_id=1, ok=True, at=now(), outcome=outcome)

    return work


@pytest.mark.parametrize(
    ("state", "outcome", "code", "said"),
    [
        (ProposalState.VERIFIED, "it says in_sync", Exit.OK, "is applied and proved: it says in_sync."),
        (ProposalState.FAILED, "no route", Exit.ERROR, "is failed: no route."),
        (ProposalState.INTERRUPTED, "nobody knows", Exit.ERROR, "is interrupted: nobody knows."),
    ],
)
def test_apply_waits_for_the_end_and_tells_it(
    desk: Desk,
    daemon: Callable[..., None],
    state: ProposalState,
    outcome: str,
    code: int,
    said: str,
) -> None:
    desk.propose()
    daemon(played(desk, state, outcome))
    ran = desk("proposals", "apply", 1, "--wait", 30)
    assert (ran.code, ran.out) == (code, f"Proposal 1 {said}\n")


def test_what_terraform_says_is_printed_as_it_comes_and_each_line_once(
    desk: Desk, daemon: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "ROUND_SECONDS", 0.001)
    said = [f"x.y[{number}]: Creation complete" for number in range(30)]
    upto = iter(range(1, 31))

    def apply(store: Store) -> None:
        for proposal in store.actionable(now()):
            desk.begin(proposal.id)
        for proposal in store.running_applies():
            number = next(upto, None)
            if number is not None:
                store.note_output(proposal.id, "\n".join(said[max(0, number - 10) : number]))
            else:
                output = "\n".join([*said[-3:], "Apply complete! Resources: 30 added."])
                desk.end(proposal.id, ProposalState.FAILED, "it broke", output)

    desk.propose()
    daemon(apply)
    ran = desk("proposals", "apply", 1, "--wait", 30)
    assert ran.err.splitlines() == [f"  {line}" for line in (*said, "Apply complete! Resources: 30 added.")]
    assert ran.out == "Proposal 1 is failed: it broke.\n"
    assert "x.y[29]: Creation complete" in desk("proposals", "show", 1).out


def test_with_json_nothing_else_is_printed(desk: Desk, daemon: Callable[..., None]) -> None:
    desk.propose()
    daemon(played(desk, ProposalState.FAILED, "it broke"))
    ran = desk("proposals", "apply", 1, "--wait", 30, "-f", "json")
    assert (ran.err, json.loads(ran.out)["run"]["output"]) == ("", "done")


@pytest.mark.parametrize(
    ("before", "after", "news"),
    [
        ("", "", []),
        ("", "a\nb", ["a", "b"]),
        ("a\nb", "a\nb", []),
        ("a\nb", "a\nb\nc", ["c"]),
        ("a\nb\nc", "b\nc\nd\ne", ["d", "e"]),
        ("a\nb", "x\ny", ["x", "y"]),
        ("a\na", "a\na\na", ["a"]),
        ("a\nb", "b", []),
    ],
)
def test_what_is_new_in_a_text_that_went_on(before: str, after: str, news: list[str]) -> None:
    assert repair.news(before, after) == news


def test_one_that_is_applied_and_not_proved_in_time_is_applied(
    desk: Desk, daemon: Callable[..., None]
) -> None:
    desk.propose()
    daemon(played(desk, ProposalState.APPLIED, "applied"))
    ran = desk("proposals", "apply", 1, "--wait", 2)
    assert (ran.code, ran.out) == (
        Exit.OK,
        "Proposal 1 is applied; the check after it says whether it helped.\n",
    )


def test_apply_tells_by_what_it_is_held_and_until_when(desk: Desk, daemon: Callable[..., None]) -> None:
    desk.propose()
    until = now() + timedelta(hours=1)

    def hold(store: Store) -> None:
        for proposal in store.actionable(now()):
            store.hold(proposal.id, Hold(reason="deny_window", sentence="A freeze.", until=until), now())

    daemon(hold)
    ran = desk("proposals", "apply", 1, "--wait", 30)
    assert ran.code == Exit.HELD
    assert ran.out.startswith("Proposal 1 is held: A freeze. (deny_window) It may change at ")
    document = desk.json("proposals", "apply", 1, "--wait", 30)
    assert (document["state"], document["held"]["reason"]) == ("waiting", "deny_window")


def test_apply_alone_is_held_where_two_must_agree(desk: Desk, daemon: Callable[..., None]) -> None:
    needs(desk, 2)
    desk.propose()
    ran = desk("proposals", "apply", 1, "--as", "Alice")
    assert ran.code == Exit.HELD
    assert "2 people have to approve it, and 1 did." in ran.out


@pytest.mark.parametrize(
    ("options", "via", "outcome"),
    [
        (("--override-window",), "terminal+override", "done, in spite of the windows"),
        (("--acknowledge-mass-deletion",), "terminal+mass_deletion", "done, in spite of a mass deletion"),
        (
            ("--override-window", "--acknowledge-mass-deletion"),
            "terminal+override+mass_deletion",
            "done, in spite of the windows and a mass deletion",
        ),
    ],
)
def test_in_spite_of_what_one_applies_is_on_the_record(
    desk: Desk, options: tuple[str, ...], via: str, outcome: str
) -> None:
    """Without a daemon nothing is applied, and it says so; what was said stays for the one that starts."""
    desk.propose()
    ran = desk("proposals", "apply", 1, *options, "--reason", "prod is down", "--as", "Alice")
    assert ran.code == Exit.ERROR
    assert ran.out == (
        "Proposal 1 is approved. No daemon is running here: it is applied when `driftwatch run` is started.\n"
    )
    assert [each["via"] for each in desk.json("proposals", "show", 1)["decisions"]] == [via]
    subject = "proposal 1 (platform/dns at 0f3d0f3d0f)"
    assert desk.audit() == [("Alice", "terminal", "apply", subject, outcome, "prod is down")]


def test_apply_does_not_wait_where_it_is_told_not_to(desk: Desk, daemon: Callable[..., None]) -> None:
    desk.propose()
    ran = desk("proposals", "apply", 1, "--wait", 0)
    assert (ran.code, "is approved. It is applied within seconds" in ran.out) == (Exit.OK, True)
    desk.begin(1)
    refused = desk("proposals", "apply", 1)
    assert (refused.code, "proposal 1 is applying" in refused.err) == (Exit.USAGE, True)


def test_apply_that_nobody_takes_up_in_time_is_not_done(desk: Desk, daemon: Callable[..., None]) -> None:
    desk.propose()
    ran = desk("proposals", "apply", 1, "--wait", 0.1)
    assert (ran.code, desk.json("proposals", "show", 1)["state"]) == (Exit.ERROR, "approved")


def test_whoever_stops_waiting_is_told_that_the_approval_stands(
    desk: Desk, daemon: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    desk.propose()
    monkeypatch.setattr(repair.time, "sleep", interrupted)
    ran = desk("proposals", "apply", 1)
    assert ran.code == Exit.ERROR
    assert "The approval stands; `driftwatch proposals show 1` tells its end." in ran.err
    assert desk.json("proposals", "show", 1)["approved_by"] == [getpass.getuser()]


def test_apply_tells_what_took_its_place(desk: Desk, daemon: Callable[..., None]) -> None:
    desk.propose()

    def replace_it(store: Store) -> None:
        for proposal in store.actionable(now()):
            store.propose(replace(proposal.draft, digest="d2" * 32, created_at=now()))

    daemon(replace_it)
    ran = desk("proposals", "apply", 1, "--wait", 30)
    assert (ran.code, ran.out) == (
        Exit.ERROR,
        "Proposal 1 is superseded: superseded. Proposal 2 is there instead.\n",
    )


# ---- asking for one ------------------------------------------------------------------------------------


def granting(desk: Desk, asked: list[Wish], error: str | None = None) -> Callable[[Store], None]:
    """A daemon that proposes whatever is wished for, or says why not."""

    def work(store: Store) -> None:
        for number, wish in store.wishes().items():
            asked.append(wish)
            made = (
                None
                if error
                else desk.propose(kind=wish.kind, created_by=wish.by, commit=wish.commit or COMMIT)
            )
            store.grant(number, proposal=made.id if made else None, error=error, at=now())

    return work


def test_create_asks_for_what_is_open_and_shows_what_was_proposed(
    desk: Desk, daemon: Callable[..., None]
) -> None:
    asked: list[Wish] = []
    daemon(granting(desk, asked))
    ran = desk("proposals", "create", "platform/dns", "--as", "Alice", "--reason", "put it back")
    assert (ran.code, ran.err) == (Exit.OK, "")
    assert ran.out.startswith("Proposal 1  revert platform/dns  proposed\n")
    (wish,) = asked
    assert (wish.stack, wish.kind, wish.by, wish.reason, wish.commit) == (
        DNS,
        ProposalKind.REVERT,
        "Alice",
        "put it back",
        None,
    )
    assert desk.audit() == [
        ("Alice", "terminal", "propose", "revert platform/dns", "asked for, wish 1", "put it back")
    ]
    document = desk.json("proposals", "create", "platform/dns", "--kind", "deploy")
    assert (document["wish"], document["proposal"]["kind"], document["error"]) == (2, "deploy", None)


def test_create_wants_to_know_which_where_both_are_open(desk: Desk) -> None:
    """One apply may do both: only a person can say which way is meant."""
    waiting = replace(drift("x.z"), causes=(Cause.UNAPPLIED_COMMIT,))
    desk.estate.record("dns", drift("x.y"), waiting, verdict=Verdict.MIXED)
    ran = desk("proposals", "create", "platform/dns")
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert "say which is meant" in ran.err
    assert "--kind revert" in ran.err
    assert desk.audit() == []


def test_create_says_where_nothing_is_open(desk: Desk) -> None:
    desk("findings", "snooze", 1, "--for", "2h")
    ran = desk("proposals", "create", "platform/dns")
    assert (ran.code, "nothing is open in platform/dns" in ran.err) == (Exit.USAGE, True)


def test_create_says_why_nothing_is_proposed(desk: Desk, daemon: Callable[..., None]) -> None:
    daemon(granting(desk, [], error="terraform \x1b[31mplan failed"))
    ran = desk("proposals", "create", "platform/dns")
    assert (ran.code, ran.out) == (Exit.ERROR, "")
    assert ran.err.startswith("Nothing is proposed: terraform ")
    assert "\x1b" not in ran.err
    document = desk.json("proposals", "create", "platform/dns")
    assert (document["proposal"], document["error"].endswith("plan failed")) == (None, True)


def test_create_says_that_nobody_is_there_to_answer(desk: Desk) -> None:
    """The wish stays: a daemon that is started answers it."""
    ran = desk("proposals", "create", "platform/dns")
    assert (ran.code, ran.out) == (Exit.ERROR, "")
    assert "No daemon is running here: it is planned and proposed when" in ran.err
    assert desk("proposals", "create", "platform/dns", "--wait", 0).code == Exit.OK
    with desk.store() as store:
        assert len(store.wishes()) == 2


def test_create_does_not_wait_for_ever(desk: Desk, daemon: Callable[..., None]) -> None:
    ran = desk("proposals", "create", "platform/dns", "--wait", 0.1)
    assert (ran.code, ran.out) == (Exit.ERROR, "")
    assert ran.err.startswith("No answer within 0.1 s. It is asked for;")


@pytest.mark.parametrize("to", [COMMIT, COMMIT[:7], COMMIT[:12].upper(), "ab" * 32])
def test_a_rollback_asks_for_one_commit(desk: Desk, daemon: Callable[..., None], to: str) -> None:
    """By its whole hash, or by the beginning of one at which the stack was checked."""
    asked: list[Wish] = []
    daemon(granting(desk, asked))
    ran = desk("rollback", "platform/dns", "--to", to, "--as", "Alice")
    assert (ran.code, ran.out.startswith("Proposal 1  rollback platform/dns")) == (Exit.OK, True)
    whole = COMMIT if COMMIT.startswith(to.lower()) else to
    assert [(wish.kind, wish.commit) for wish in asked] == [(ProposalKind.ROLLBACK, whole)]
    assert [each[2:4] for each in desk.audit()] == [("rollback", f"rollback platform/dns to {whole}")]


@pytest.mark.parametrize("said", ["The revert is open in Git.", "It could \x1b[31mnot be opened."])
def test_a_rollback_can_ask_for_its_revert_in_git_and_says_what_came_of_it(
    desk: Desk, daemon: Callable[..., None], said: str
) -> None:
    """The proposal stands whether or not the revert could be opened."""
    asked: list[Wish] = []

    def work(store: Store) -> None:
        for number, wish in store.wishes().items():
            asked.append(wish)
            made = desk.propose(kind=wish.kind, created_by=wish.by, commit=COMMIT)
            store.grant(number, proposal=made.id, error=said if wish.revert else None, at=now())

    daemon(work)
    plain_said = said.replace("\x1b[31m", "")
    ran = desk("rollback", "platform/dns", "--to", COMMIT, "--revert", "--as", "Alice")
    assert (ran.code, ran.err) == (Exit.OK, "")
    assert ran.out.startswith("Proposal 1  rollback platform/dns")
    assert ran.out.splitlines()[-1].replace("[31m", "") == plain_said
    assert "\x1b" not in ran.out
    document = desk.json("rollback", "platform/dns", "--to", COMMIT, "--revert")
    assert (document["proposal"]["kind"], document["error"]) == ("rollback", None)
    assert document["note"].replace("[31m", "") == plain_said
    assert desk.json("rollback", "platform/dns", "--to", COMMIT)["note"] is None
    assert [wish.revert for wish in asked] == [True, True, False]
    assert [each[3] for each in desk.audit()] == [
        f"rollback platform/dns to {COMMIT}, with a revert in Git",
        f"rollback platform/dns to {COMMIT}, with a revert in Git",
        f"rollback platform/dns to {COMMIT}",
    ]


def test_a_rollback_takes_the_beginning_of_what_was_applied(desk: Desk, daemon: Callable[..., None]) -> None:
    """Checks are pruned after a while; what was applied is known for good."""
    desk.propose(commit="beef" * 10, automatic=True, expires_at=None)
    desk.begin(1)
    desk.end(1, ProposalState.FAILED)
    asked: list[Wish] = []
    daemon(granting(desk, asked))
    assert desk("rollback", "platform/dns", "--to", "beefbee").code == Exit.OK
    assert [wish.commit for wish in asked] == ["beef" * 10]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--to", "main"), "not a commit: 'main'"),
        (("--to", "0f3d0f"), "not a commit"),
        (("--to", "0f3d0f3%"), "not a commit"),
        (("--to", "1234567"), "never checked or applied at a commit 1234567"),
        ((), "--to"),
    ],
)
def test_a_rollback_that_cannot_be_meant_is_refused(desk: Desk, words: tuple[str, ...], said: str) -> None:
    ran = desk("rollback", "platform/dns", *words)
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert said in ran.err
    assert desk.audit() == []


def test_a_rollback_to_one_of_several_commits_is_refused(desk: Desk) -> None:
    twin = f"{COMMIT[:10]}{'a' * 30}"
    desk.propose(commit=twin, automatic=True, expires_at=None)
    desk.begin(1)
    ran = desk("rollback", "platform/dns", "--to", COMMIT[:7])
    assert (ran.code, f"is short for {COMMIT}, {twin}" in ran.err) == (Exit.USAGE, True)


@pytest.mark.row(69)
def test_nothing_that_others_wrote_steers_the_terminal(desk: Desk, daemon: Callable[..., None]) -> None:
    """Row 69: names, reasons, addresses, pointers, risks, holds, outcomes and what terraform printed."""
    change = replace(REPLACED, address=HOSTILE, actions=("upd\x1b[2Jate",), attributes=(HOSTILE,))
    summary = PlanSummary(adds=0, updates=1, destroys=0, replaces=0, changes=(change,), outputs=(HOSTILE,))
    desk.estate.record("dns", drift("x.y"), drift(HOSTILE), verdict=Verdict.DRIFTED)
    prints = (drift(HOSTILE).fingerprint,)
    texts = {"reason": HOSTILE, "created_by": HOSTILE, "author": HOSTILE, "risks": (HOSTILE,)}
    desk.propose(**texts, summary=summary, findings=prints, addresses=(HOSTILE,), commit=HOSTILE)
    ran = desk("proposals", "approve", 1, "--as", "[red]a[/red]", "--reason", "[bold]r[/bold] :smile:")
    printed = ran.out + ran.err
    with desk.store() as store:
        assert store.hold(1, Hold(reason=HOSTILE, sentence=HOSTILE), now())
    printed += desk("proposals", "list").out + desk("proposals", "show", 1).out
    desk.begin(1)
    desk.end(1, ProposalState.FAILED, HOSTILE, f"{HOSTILE}\nand more")
    for words in (("proposals", "show", 1), ("proposals", "list", "--state", "all"), ("audit", "list")):
        printed += desk(*words).out
    printed += desk("stacks", "history", "platform/dns").out
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert printed.count("[bold]red[/bold]\\u202e<script>:smile:") > 20
    assert "[red]a[/red]" in printed
    assert "[bold]r[/bold] :smile:" in printed
