"""One cause over many stacks is one thread: by the store, the sender, and a server that plays Slack."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.config.notify import NotifySettings, RouteSettings
from driftwatch.drift import Acknowledge, Press
from driftwatch.drift.fingerprint import fingerprint_of
from driftwatch.drift.routing import Routing
from driftwatch.model import (
    AttributeChange,
    Cause,
    CheckResult,
    Commit,
    ErrorReport,
    Evidence,
    Finding,
    FindingKind,
    InputKind,
    Inputs,
    Method,
    Movement,
    Severity,
    StackDeclaration,
    StackId,
    TransitionKind,
    Trigger,
    Verdict,
)
from driftwatch.notify import Sender, channels
from driftwatch.store import Store, Voice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from driftwatch.config.notify import SlackSettings

AUTHORED = datetime(2026, 1, 1, tzinfo=UTC)
COMMIT = Commit(id="ab" * 20, author="Carol", at=AUTHORED, subject="Encrypt every queue")
OTHER = Commit(id="cd" * 20, author="Dave", at=AUTHORED, subject="Tag every bucket")
EXPIRED = ErrorReport(code="credentials_expired", message="The token has expired.", advice="Renew it.")
FORTY = range(40)


def stack(number: int) -> StackId:
    return StackId(repository="platform", path=f"envs/s{number:03}")


def a_finding(
    address: str = "aws_sqs_queue.jobs",
    *,
    cause: Cause = Cause.OUT_OF_BAND,
    commit: Commit | None = None,
    actual: Any = 90,
    severity: Severity = Severity.MEDIUM,
    movements: tuple[Movement, ...] = (),
) -> Finding:
    change = AttributeChange(
        path="/delay_seconds",
        before=0 if cause is Cause.OUT_OF_BAND else actual,
        actual=actual,
        after=0,
        sensitive=False,
        cause=cause,
    )
    return Finding(
        address=address,
        type=address.partition(".")[0],
        kind=FindingKind.MODIFIED,
        action="update",
        causes=(cause,),
        severity=severity,
        fingerprint=fingerprint_of(
            address=address, kind=FindingKind.MODIFIED, attributes=(change,), counted=True
        ),
        counted=True,
        attributes=(change,),
        evidence=Evidence(movements=movements, commits=(commit,) if commit else ()),
    )


def waiting(commit: Commit = COMMIT, address: str = "aws_sqs_queue.jobs") -> Finding:
    """What the code of a commit wants and nobody has applied."""
    return a_finding(address, cause=Cause.UNAPPLIED_COMMIT, commit=commit)


class House:
    """A store, its sender, and a fleet of stacks to be checked."""

    def __init__(self, directory: Path, settings: NotifySettings, clock: Any) -> None:
        self._directory, self._settings, self.clock = directory, settings, clock
        self.enter()
        self.store.sync_stacks("platform", [self.declared(number) for number in FORTY], clock())

    def enter(self, gather: timedelta = timedelta(0)) -> None:
        voice = Voice(channels=("slack",), routing=Routing.compile(self._settings), gather=gather)
        self.store = Store.open(state_dir=self._directory, database=None, voice=voice)
        self.sender = Sender(self.store, channels(self._settings, self.clock), self.clock, paces={})

    def leave(self) -> None:
        self.store.close()

    def declared(self, number: int) -> StackDeclaration:
        return StackDeclaration(id=stack(number), owners=(f"@team-{number % 3}",))

    def check(
        self,
        number: int,
        *findings: Finding,
        error: ErrorReport | None = None,
        inputs: Inputs | None = None,
        mass_deletion: str | None = None,
    ) -> tuple[str, ...]:
        self.clock.advance(1)
        verdict = Verdict.ERROR if error else Verdict.DRIFTED if findings else Verdict.IN_SYNC
        recorded = self.store.record_check(
            CheckResult(
                stack=stack(number),
                commit="ee" * 20,
                trigger=Trigger.SCHEDULE,
                verdict=verdict,
                method=Method.PLAN,
                method_reason="no_recording",
                started_at=self.clock(),
                duration_seconds=1.0,
                findings=findings,
                error=error,
                inputs=inputs or Inputs(commit="ee" * 20),
                mass_deletion=mass_deletion,
            ),
            declaration=self.declared(number),
            channels=["slack"],
        )
        return tuple(each.kind for each in recorded.announcements)

    def tell(self, seconds: float = 1) -> int:
        self.clock.advance(seconds)
        return self.sender.drain()


@pytest.fixture
def house(tmp_path: Path, slack_settings: SlackSettings, clock: Any) -> Iterator[House]:
    made = House(tmp_path, NotifySettings(slack=slack_settings), clock)
    yield made
    made.leave()


def threads(slack: Any) -> list[dict[str, Any]]:
    """The messages that stand in the channel, as they were posted."""
    return [post for post in slack.posts if not post.get("thread_ts")]


def shown(slack: Any) -> str:
    """All text of the message that stands in the channel now."""
    call = [each for each in slack.calls if not each.json.get("thread_ts")][-1]
    return str(call.json["blocks"])


def test_one_commit_that_forty_stacks_wait_for_is_one_thread(house: House, slack: Any) -> None:
    """One change that breaks 40 stacks is one alert with 40 lines, however the checks come in."""
    for number in FORTY:
        house.check(number, waiting())
        if number % 7 == 0:
            house.tell()
    house.tell()

    (head,) = threads(slack)
    replies = [post for post in slack.posts if post.get("thread_ts")]
    assert {post["thread_ts"] for post in replies} == {"1700000000.000001"}
    assert len(slack.posts) < 10, "what waits together is told together"
    text = shown(slack)
    assert "commit ababababab is not applied" in text
    assert "Encrypt every queue" in text
    assert "40 stacks, 40 open" in text
    for number in FORTY:
        assert str(stack(number)) in text
    assert head["channel"] == "#infra-drift"


def test_the_thread_ends_green_when_the_last_stack_is_in_sync(house: House, slack: Any) -> None:
    for number in FORTY:
        house.check(number, waiting())
    house.tell()
    for number in FORTY:
        house.check(number)
        house.tell()

    assert len(threads(slack)) == 1
    assert "40 stacks, none open" in shown(slack)
    assert house.store.incident(1) is not None
    incident = house.store.incident(1)
    assert incident is not None
    assert (incident.open, incident.total) == (0, 40)
    assert incident.closed_at is not None


def test_gathering_waits_for_the_others_before_the_first_message(house: House, slack: Any) -> None:
    """Ten seconds of patience, and forty stacks are one post and nothing else."""
    house.leave()
    house.enter(gather=timedelta(seconds=60))
    for number in FORTY:
        house.check(number, waiting())
        house.tell(0)
    assert slack.calls == []
    house.tell(60)
    assert slack.methods() == ["chat.postMessage"]
    assert "40 stacks, 40 open" in shown(slack)
    house.enter()


@pytest.mark.row(53)
def test_an_hour_without_slack_loses_nothing_and_repeats_nothing(
    house: House, slack: Any, a_reply: Callable[..., Any]
) -> None:
    """Row 53: found before, changed and resolved during, another cause during, a restart in the middle."""
    for number in range(20):
        house.check(number, waiting())
    house.tell()
    before = len(slack.calls)

    slack.script.extend(a_reply(status=503) for _ in range(10_000))
    for number in range(20, 40):
        house.check(number, waiting())
        house.tell(30)
    for number in range(5):
        house.check(number)
        house.tell(30)
    house.check(39, waiting(), waiting(OTHER, "aws_s3_bucket.logs"))
    house.leave()
    house.enter()
    for _ in range(80):
        house.tell(30)
    assert house.store.outbox_depth()["dead"] == 0
    assert house.store.outbox_depth()["waiting"] >= 25
    refused = len(slack.calls)

    slack.script.clear()
    for _ in range(60):
        house.tell(30)
    assert house.store.outbox_depth() == {"waiting": 0, "dead": 0}

    after = slack.calls[refused:]
    posts = [call.json for call in after if call.method == "chat.postMessage"]
    assert len([post for post in posts if not post.get("thread_ts")]) == 1, "only the other cause is new"
    ids = [post["client_msg_id"] for post in posts]
    assert len(ids) == len(set(ids))
    told = " ".join(str(post) for post in posts)
    for number in (*range(5), *range(20, 40)):
        assert f"`{stack(number)}`" in told, "each has its line in a reply"
    head = [call for call in after if call.method == "chat.update"][-1]
    assert "40 stacks, 35 open" in str(head.json["blocks"])
    quiet = len(slack.calls)
    for _ in range(20):
        house.tell(60)
    assert len(slack.calls) == quiet
    assert before < refused < quiet


def test_what_somebody_did_by_hand_is_not_mixed_up_with_a_commit(house: House, slack: Any) -> None:
    """A stack that waits for a commit and was also changed by hand is in two threads, each with its own."""
    by_hand = a_finding("aws_security_group.web", severity=Severity.CRITICAL)
    house.check(1, waiting())
    house.check(2, waiting(), by_hand)
    house.tell()

    first, second = threads(slack)
    assert "is not applied" in str(first) or "is not applied" in str(second)
    alone = second if "is not applied" in str(first) else first
    assert "aws_security_group.web" in str(alone)
    assert "aws_sqs_queue.jobs" not in str(alone)
    house.check(2, waiting())
    house.tell()
    assert "resolved" in str(slack.updates[-1]["text"]), "the change by hand is gone, the commit still waits"
    commits = house.store.open_in(1)
    assert [each.stack for each in commits] == [stack(1), stack(2)]


def test_two_commits_are_two_incidents(house: House, slack: Any) -> None:
    house.check(1, waiting(COMMIT))
    house.check(2, waiting(OTHER))
    house.tell()
    assert len(threads(slack)) == 2


def test_the_same_change_by_hand_at_about_the_same_time_is_one_incident(house: House, slack: Any) -> None:
    """And a day later it is another, and a different change is another at once."""
    for number in range(3):
        house.check(number, a_finding())
    house.check(3, a_finding(actual=5))
    house.tell()
    assert len(threads(slack)) == 2
    house.clock.advance(24 * 3600)
    house.check(4, a_finding())
    house.tell()
    assert len(threads(slack)) == 3


def test_expired_credentials_are_one_alert_for_all_stacks(house: House, slack: Any) -> None:
    for number in FORTY:
        assert house.check(number, error=EXPIRED) == (TransitionKind.CHECK_FAILING,)
    house.tell()
    assert len(threads(slack)) == 1
    assert "40 stacks, 40 open" in shown(slack)
    for number in FORTY:
        house.check(number)
    house.tell()
    assert "none open" in shown(slack)
    assert len(threads(slack)) == 1


def test_a_mass_deletion_in_several_stacks_is_one_alert(house: House, slack: Any) -> None:
    """A wrong account makes everything look deleted, everywhere."""
    for number in range(5):
        gone = replace(a_finding(f"aws_sqs_queue.q{number}"), kind=FindingKind.DELETED)
        house.check(number, gone, mass_deletion="1 of 1 resources is gone: is this the right account?")
    house.tell()
    assert len(threads(slack)) == 1


def test_outputs_that_moved_upstream_are_one_incident_downstream(house: House, slack: Any) -> None:
    name = "data.terraform_remote_state.network.outputs.vpc_id"
    moved = Movement(input=InputKind.UPSTREAM_OUTPUT, name=name)
    for number in range(6):
        inputs = Inputs(read_digests={name: f"asked-the-same:answer-{number}"})
        house.check(number, a_finding(cause=Cause.INPUT_CHANGE, movements=(moved,)), inputs=inputs)
    other = Inputs(read_digests={name: "asked-another:answer"})
    house.check(7, a_finding(cause=Cause.INPUT_CHANGE, movements=(moved,)), inputs=other)
    house.tell()
    assert len(threads(slack)) == 2
    incident = house.store.incident(1)
    assert incident is not None
    assert incident.total == 6
    assert "data.terraform_remote_state.network" in (incident.title or "")


def test_a_provider_upgrade_is_one_incident(house: House, slack: Any) -> None:
    moved = Movement(
        input=InputKind.PROVIDER, name="registry.terraform.io/hashicorp/aws", before="5.1.0", after="5.2.0"
    )
    for number in range(6):
        house.check(number, a_finding(cause=Cause.PROVIDER_UPGRADE, movements=(moved,)))
    house.tell()
    assert len(threads(slack)) == 1
    assert "from 5.1.0 to 5.2.0" in shown(slack)


def test_a_stack_that_is_removed_no_longer_keeps_an_incident_open(house: House, slack: Any) -> None:
    house.check(1, waiting())
    house.check(2, waiting())
    house.tell()
    rest = [house.declared(number) for number in FORTY if number not in (1, 2)]
    house.store.sync_stacks("platform", rest, house.clock())
    incident = house.store.incident(1)
    assert incident is not None
    assert (incident.open, incident.closed_at) == (0, house.clock())


def test_what_a_person_did_is_told_in_the_thread_and_in_the_message(house: House, slack: Any) -> None:
    for number in range(3):
        house.check(number, waiting())
    house.tell()
    open_now = house.store.open_in(1)
    seen = {each.id: each.fingerprint for each in open_now}
    press = Press(action=Acknowledge(), actor="anna", at=house.clock(), reason="rolling out")
    done = house.store.act_on_all(seen, press)
    assert len(done.acted) == 3
    assert house.tell() == 1, "three stacks, one reply"
    assert "anna looks after" in str(slack.posts[-1])
    assert slack.posts[-1]["thread_ts"] == "1700000000.000001"


def test_ten_thousand_findings_at_once_are_bounded(house: House, slack: Any) -> None:
    """One message, below every limit of Slack's, with the true number in it; and in seconds."""
    many = [a_finding(f"aws_sqs_queue.q{number}", actual=number) for number in range(10_000)]
    house.check(1, *many)
    house.tell()
    (head,) = threads(slack)
    assert len(str(head["blocks"])) < 20_000
    assert len(head["blocks"]) <= 50
    assert "10000 findings" in head["text"] or "10,000 findings" in head["text"]


def test_a_finding_of_five_megabytes_is_told_by_its_size(house: House, slack: Any) -> None:
    house.check(1, a_finding(actual="x" * 5_000_000))
    (message,) = house.store.due_messages(at=house.clock(), limit=9)
    assert len(str(message.announcement)) < 50_000
    house.tell()
    (head,) = threads(slack)
    assert len(str(head["blocks"])) < 20_000
    (kept,) = house.store.findings().items
    assert len(str(kept.finding.attributes[0].actual)) == 5_000_000, "what is stored is whole"


def test_routes_and_quiet_hours_hold_in_the_outbox(
    tmp_path: Path, slack_settings: SlackSettings, slack: Any, clock: Any
) -> None:
    """What is quiet waits and goes out together; what is critical goes at once and takes it along."""
    quiet = RouteSettings.model_validate(
        {"channels": ["slack:#night"], "quiet_hours": {"from": "11:00", "to": "13:00"}}
    )
    house = House(tmp_path / "routed", NotifySettings(slack=slack_settings, routes=(quiet,)), clock)
    house.check(1, waiting())
    house.check(2, waiting())
    house.tell(60)
    assert slack.calls == []
    house.check(3, a_finding("aws_security_group.web", severity=Severity.CRITICAL))
    house.tell()
    assert [post["channel"] for post in slack.posts] == ["#night"]
    assert "aws_security_group.web" in str(slack.posts[0])
    house.check(4, replace(waiting(), severity=Severity.CRITICAL))
    house.tell()
    assert "3 stacks, 3 open" in str(slack.posts[-1]["blocks"]), "the thread goes out as a whole"
    house.leave()


def test_a_digest_tells_all_of_a_day_in_one_message(
    tmp_path: Path, slack_settings: SlackSettings, slack: Any, clock: Any
) -> None:
    daily = RouteSettings.model_validate({"channels": ["slack"], "digest": {"at": "15:00"}})
    house = House(tmp_path / "daily", NotifySettings(slack=slack_settings, routes=(daily,)), clock)
    house.check(1, waiting())
    house.check(2, a_finding())
    house.check(2)
    house.tell(60)
    assert slack.calls == []
    house.tell(3 * 3600)
    assert slack.methods() == ["chat.postMessage"]
    text = str(slack.posts[0]["blocks"])
    assert str(stack(1)) in text
    assert str(stack(2)) in text
    house.leave()
