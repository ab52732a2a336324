"""Repair with the real AWS provider: what somebody opens by hand is closed again in its window."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from driftwatch.cli.clock import now
from driftwatch.cli.compose import application
from driftwatch.config.loading import load
from driftwatch.config.repair import RepairSettings
from driftwatch.model import ProposalKind, ProposalState, StackId
from driftwatch.pipeline.admissions import Clerk
from driftwatch.pipeline.propose import Proposer
from driftwatch.pipeline.subjects import subject_of
from driftwatch.policy.rights import People
from driftwatch.policy.windows import Windows
from driftwatch.store import Page, Store
from tests.acceptance.aws.watched import Watched
from tests.acceptance.conftest import SlackServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from driftwatch.cli.compose import Application
    from driftwatch.config.settings import Settings
    from driftwatch.model import Proposal
    from driftwatch.policy.admission import Admission
    from tests.acceptance.aws.conftest import Lab

pytestmark = [pytest.mark.aws, pytest.mark.xdist_group("aws")]

OPEN_TO_THE_WORLD = {
    "IpProtocol": "tcp",
    "FromPort": 22,
    "ToPort": 22,
    "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "quick look"}],
}
PATIENCE = 240


class Office:
    """The lab watched by a daemon, and a chat that hears of it."""

    def __init__(self, watched: Watched, directory: Path) -> None:
        self.watched = watched
        self.slack = SlackServer()
        self._log = directory / "daemon.log"
        self._daemon: subprocess.Popen[bytes] | None = None

    def configure(self, opens: datetime, **repair: Any) -> None:
        """Repairs by itself within the hour from `opens` on."""
        window = {
            "name": "night",
            "kind": "allow",
            "from": f"{opens:%Y-%m-%dT%H:%M:%S}",
            "to": f"{opens + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}",
        }
        self.watched.configure(
            {
                "repair": {"automatic": True, "guards": {"grace": "0s"}, **repair},
                "windows": [window],
                "notify": {
                    "slack": {"token": "${env:SLACK_TOKEN}", "channel": "#ops", "base_url": self.slack.url},
                    "gather": "0s",
                },
                "web": {"listen": "127.0.0.1:0"},
            },
            {"on_drift": "apply", "on_commit": "propose", "schedule": {"every": "5s"}},
        )

    def start(self) -> None:
        kept = {name: self.watched.lab.environment[name] for name in ("PATH", "HOME")}
        with self._log.open("ab") as log:
            self._daemon = subprocess.Popen(
                [
                    *(sys.executable, "-m", "driftwatch", "--verbose"),
                    *("run", "--config", str(self.watched.config)),
                ],
                env={**kept, "SLACK_TOKEN": "xoxb-canary-5d21"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def store(self) -> Store:
        return Store.open(state_dir=self.watched.config.parent / "state", database=None)

    def wait_for(self, what: str, look: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(0.5)
        pytest.fail(f"waited for {what}\n{self._log.read_text(errors='replace')[-4000:]}")

    def proposal(self, store: Store, *states: ProposalState) -> Proposal:
        found: Any = self.wait_for(f"one that is {states}", lambda: store.proposals(states=states).items)
        return found[0]

    def stop(self) -> None:
        if self._daemon is not None:
            self._daemon.send_signal(signal.SIGTERM)
            assert self._daemon.wait(timeout=120) == 0

    def close(self) -> None:
        if self._daemon is not None and self._daemon.poll() is None:
            os.killpg(self._daemon.pid, signal.SIGKILL)
            self._daemon.wait()
        self.slack.close()


@pytest.fixture
def office(lab: Lab, aws_mirror: Path, tmp_path: Path) -> Iterator[Office]:
    watched = Watched(lab, aws_mirror, tmp_path)
    watched.keep_state_in_s3()
    made = Office(watched, tmp_path)
    yield made
    made.close()


def open_by_hand(lab: Lab) -> Any:
    """Somebody opens SSH to the world; returns how to look at the group."""
    ec2 = lab.client("ec2")
    (group,) = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["lab-web"]}])[
        "SecurityGroups"
    ]
    ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[OPEN_TO_THE_WORLD])

    def ports() -> set[int]:
        now = ec2.describe_security_groups(GroupIds=[group["GroupId"]])["SecurityGroups"][0]
        return {rule["FromPort"] for rule in now["IpPermissions"]}

    assert ports() == {22, 443}
    return ports


@pytest.mark.timeout(900)
def test_what_was_opened_in_office_hours_is_closed_in_the_next_window(office: Office) -> None:
    """Told at once, waits, is closed by itself when the window opens, is proved, and the thread says so."""
    assert office.watched.check()["verdict"] == "in_sync"
    office.configure(datetime.now(UTC) + timedelta(days=1))
    ports = open_by_hand(office.watched.lab)
    office.start()
    with_store = office.store()
    waiting = office.proposal(with_store, ProposalState.WAITING)
    assert waiting.held is not None
    assert waiting.held.reason == "outside_window"
    office.wait_for("the alert and why it waits", lambda: "waits" in "\n".join(office.slack.posted))
    assert ports() == {22, 443}
    office.stop()

    office.configure(datetime.now(UTC) - timedelta(minutes=1))
    office.start()
    done = office.proposal(with_store, ProposalState.VERIFIED)
    assert done.draft.automatic
    assert ports() == {443}
    office.wait_for("the thread to say so", lambda: "is proved" in "\n".join(office.slack.posted))
    threads = {form.get("thread_ts") for method, form in office.slack.calls if method == "chat.postMessage"}
    assert len(threads) == 2, "one message, and its thread"
    office.stop()
    with_store.close()


@pytest.mark.slow  # a minute; the same is shown on the sandbox in CI
@pytest.mark.timeout(900)
def test_together_with_an_unapplied_commit_it_is_held_with_the_reason(office: Office) -> None:
    """One apply would do both, and nobody asked for the other."""
    assert office.watched.check()["verdict"] == "in_sync"
    office.configure(datetime.now(UTC) - timedelta(minutes=1))
    main = office.watched.lab.directory / "main.tf"
    name = 'name          = "lab-jobs"\n'
    office.watched.commit("main.tf", main.read_text().replace(name, name + '  tags = { a = "b" }\n', 1))
    ports = open_by_hand(office.watched.lab)
    office.start()
    with_store = office.store()
    proposal = office.proposal(with_store, ProposalState.PROPOSED)
    assert not proposal.draft.automatic
    assert "also changes in the code that are not applied" in proposal.draft.reason
    office.wait_for("people to be told", lambda: "waits to be approved" in "\n".join(office.slack.posted))
    time.sleep(10)
    assert ports() == {22, 443}
    assert with_store.applies(stack=None).items == []
    office.stop()
    with_store.close()


BASE = {"automatic": True, "guards": {"grace": "0s"}}
ALWAYS = [{"name": "always", "kind": "allow", "cron": "* * * * *", "duration": "1h"}]


def guarded(**changes: Any) -> dict[str, Any]:
    """The section `repair` with other guards."""
    return BASE | {"guards": {**BASE["guards"], **changes}}


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "nothing": (BASE, {}, "admitted"),
    "the second switch": ({"automatic": False}, {}, "automatic_off"),
    "its size": (guarded(max_resources=1), {}, "too_many_resources"),
    "its types": (guarded(types=["aws_sqs_*"]), {}, "type_not_allowed"),
    "beyond the findings": (BASE, {"fewer": True}, "beyond_findings"),
    "a fresh change by hand": (guarded(grace="2h"), {}, "too_young"),
    "a failing fleet": (BASE, {"failures": 3}, "breaker_open"),
    "a full budget": (guarded(stacks_per_window=1), {"applied": True}, "budget_spent"),
    "what fights back": (BASE, {"returns": 3}, "fights_back"),
    "what failed before": (BASE, {"failed": True}, "failed_before"),
    "what is not to be applied by itself": (BASE, {"asked_for": False}, "not_asked_for"),
    "what only a person asks for": (BASE, {"kind": ProposalKind.ROLLBACK}, "never_automatic"),
    "what a rule hides": (BASE, {"ignoring": True}, "touches_ignored"),
    "what a rule hides, if one wants it": (guarded(touch_ignored=True), {"ignoring": True}, "admitted"),
    "a condition of one's own": (
        BASE
        | {
            "conditions": [
                {
                    "name": "no-groups",
                    "cel": "!resources.exists(r, r.type == 'aws_security_group')",
                    "says": "x",
                }
            ]
        },
        {},
        "condition_not_met",
    ),
}


IGNORE = {
    "id": "patient-queue",
    "address": "aws_sqs_queue.jobs",
    "attribute": "/visibility_timeout_seconds",
    "reason": "The workers set it as they need it.",
    "owner": "platform",
}


class Asked:
    """A plan of the lab with the real provider; whether it would be admitted is what is asked."""

    def __init__(self, app: Application, settings: Settings) -> None:
        self._app, self._settings = app, settings
        stack = StackId(repository="lab", path=".")
        app.inventory.refresh("lab")
        self._proposer = Proposer(
            workshop=app.workshop,
            book=app.store,
            planner=app.planner,
            settings=settings.repair,
            digester=app.digester,
            clock=now,
        )
        proposal = self._proposer.follow_up(stack, threading.Event())
        assert proposal is not None
        assert proposal.draft.automatic
        self.proposal = proposal
        self._subject = subject_of(stack, app.workshop)
        self._rehearsal = self._proposer.rehearse(self._subject, threading.Event())

    def __call__(
        self,
        repair: dict[str, Any],
        *,
        fewer: bool = False,
        ignoring: bool = False,
        asked_for: bool = True,
        failed: bool = False,
        kind: ProposalKind = ProposalKind.REVERT,
        **facts: Any,
    ) -> Admission:
        draft = replace(self.proposal.draft, kind=kind)
        if fewer:
            draft = replace(draft, findings=draft.findings[:1])
        asked = (
            replace(self.proposal, draft=draft) if fewer or kind is ProposalKind.ROLLBACK else self.proposal
        )
        if failed:
            facts["earlier"] = [replace(self.proposal, id=0, state=ProposalState.FAILED)]
        clerk = Clerk(
            book=cast("Any", Pretended(self._app.store, **facts)),
            workshop=self._app.workshop,
            windows=Windows.compile(self._settings.windows),
            people=People.compile({}),
            settings=RepairSettings.model_validate(repair),
            ignoring=frozenset(each.id for each in self._settings.rules.ignore) if ignoring else frozenset(),
            course=self._proposer.course if asked_for else lambda *_: None,
            allowed_age=lambda _stack: timedelta(hours=1),
            clock=now,
        )
        return clerk.before_apply(asked, self._subject, self._rehearsal)


@contextmanager
def asking(lab: Lab, watched: Watched) -> Iterator[Asked]:
    """What was checked is planned, and may be asked about."""
    settings = load(watched.config, lab.environment)
    with application(settings, lab.environment) as app:
        yield Asked(app, settings)


@pytest.mark.slow  # a minute and a half; each guard has its cases in tests/policy in CI
@pytest.mark.timeout(900)
def test_each_guard_holds_a_real_plan_for_its_reason(lab: Lab, aws_mirror: Path, tmp_path: Path) -> None:
    """One plan of the real provider, asked about with each guard's case: each says what it holds."""
    watched = Watched(lab, aws_mirror, tmp_path)
    watched.keep_state_in_s3()
    watched.configure(
        {"repair": BASE, "windows": ALWAYS, "rules": {"ignore": [IGNORE]}},
        {"on_drift": "apply", "on_commit": "apply"},
    )
    assert watched.check()["verdict"] == "in_sync"

    # What a commit takes out of the code is destroyed by nobody but a person.
    main = lab.directory / "main.tf"
    whole = main.read_text()
    queue = re.search(r'resource "aws_sqs_queue" "elsewhere" \{.*?\n\}\n', whole, re.DOTALL)
    assert queue is not None
    watched.commit("main.tf", whole.replace(queue[0], ""))
    assert watched.check()["verdict"] == "pending"
    with asking(lab, watched) as asked:
        assert asked.proposal.draft.addresses == ("aws_sqs_queue.elsewhere",)
        assert asked(BASE).reason == "destroys"
        assert asked(guarded(allow_destroy=True)).reason == "admitted"
    watched.commit("main.tf", whole)
    assert watched.check()["verdict"] == "in_sync"

    open_by_hand(lab)
    sqs = lab.client("sqs")
    url = sqs.get_queue_url(QueueName="lab-jobs")["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "77", "VisibilityTimeout": "99"})
    assert watched.check()["verdict"] == "drifted"
    with asking(lab, watched) as asked:
        assert asked.proposal.draft.addresses == ("aws_security_group.web", "aws_sqs_queue.jobs")
        for name, (repair, facts, expected) in CASES.items():
            answer = asked(repair, **facts)
            assert answer.reason == expected, (name, answer)


class Pretended:
    """The store, with another past."""

    def __init__(
        self,
        store: Store,
        *,
        failures: int = 0,
        applied: bool = False,
        returns: int = 0,
        earlier: Sequence[Proposal] = (),
    ) -> None:
        self._store, self._earlier = store, earlier
        self._failures, self._applied, self._returns = failures, applied, returns

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def recent_applies(self, since: datetime) -> dict[ProposalState, int]:
        return {ProposalState.FAILED: self._failures} if self._failures else self._store.recent_applies(since)

    def applies(self, **terms: Any) -> Page[Proposal]:
        return Page(items=list(self._earlier), next=None) if self._earlier else self._store.applies(**terms)

    def applied_stacks(self, since: datetime) -> set[StackId]:
        other = StackId(repository="lab", path="other")
        return {other} if self._applied else self._store.applied_stacks(since)

    def returns(self, stack: StackId, identity: str, since: datetime) -> int:
        return self._returns or self._store.returns(stack, identity, since)
