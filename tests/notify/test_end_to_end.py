"""From recorded checks to what stands in Slack, by the real store: once per transition, over restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.config.notify import NotifySettings
from driftwatch.model import (
    CheckResult,
    ErrorReport,
    Method,
    StackDeclaration,
    StackId,
    Trigger,
    Verdict,
)
from driftwatch.notify import Sender, channels
from driftwatch.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from driftwatch.config.notify import SlackSettings
    from driftwatch.model import Finding

STACK = StackId(repository="platform", path="envs/prod/network")


class House:
    """A store and its sender, which can be left and entered again."""

    def __init__(self, directory: Path, settings: Any, clock: Any) -> None:
        self._directory, self._settings, self._clock = directory, settings, clock
        self.declaration = StackDeclaration(id=STACK, owners=("@platform",))
        self.enter()
        self.store.sync_stacks("platform", [self.declaration], clock())

    def enter(self) -> None:
        self.store = Store.open(state_dir=self._directory, database=None)
        self.sender = Sender(self.store, channels(self._settings), self._clock, paces={})

    def leave(self) -> None:
        self.store.close()

    def check(self, verdict: Verdict, *findings: Finding, error: ErrorReport | None = None) -> None:
        self._clock.advance(60)
        result = CheckResult(
            stack=STACK,
            commit="0123456789abcdef0123456789abcdef01234567",
            trigger=Trigger.SCHEDULE,
            verdict=verdict,
            method=Method.PLAN,
            method_reason="no_recording",
            started_at=self._clock(),
            duration_seconds=4.0,
            findings=findings,
            error=error,
        )
        self.store.record_check(result, declaration=self.declaration, channels=["slack"])


@pytest.fixture
def house(tmp_path: Path, slack_settings: SlackSettings, clock: Any) -> Iterator[House]:
    made = House(tmp_path, NotifySettings(slack=slack_settings), clock)
    yield made
    made.leave()


def test_a_stack_has_one_message_that_tells_its_story_in_the_thread(
    house: House, slack: Any, a_finding: Callable[..., Finding], clock: Any
) -> None:
    queue, bucket = a_finding(), a_finding("aws_s3_bucket.logs", type="aws_s3_bucket")
    for verdict, findings in (
        (Verdict.IN_SYNC, []),
        (Verdict.DRIFTED, [queue]),
        (Verdict.DRIFTED, [queue]),
        (Verdict.DRIFTED, [queue, bucket]),
        (Verdict.DRIFTED, [bucket]),
        (Verdict.IN_SYNC, []),
        (Verdict.IN_SYNC, []),
    ):
        house.check(verdict, *findings)
        house.sender.drain()

    assert slack.methods() == ["chat.postMessage", *["chat.update", "chat.postMessage"] * 3]
    found, *replies = slack.posts
    assert "drifted, 1 finding" in found["text"]
    assert [reply["thread_ts"] for reply in replies] == ["1700000000.000001"] * 3
    assert [reply["text"].splitlines()[1] for reply in replies] == [
        "New: `aws_s3_bucket.logs`",
        "Gone: `aws_sqs_queue.jobs`",
        "Gone: `aws_s3_bucket.logs`",
    ]
    assert "resolved" in slack.updates[-1]["text"]


def test_a_failing_check_is_told_once_and_leaves_the_drift_as_it_was(
    house: House, slack: Any, a_finding: Callable[..., Finding]
) -> None:
    error = ErrorReport(code="credentials_expired", message="The token has expired.", advice="Renew it.")
    for verdict, findings, failure in (
        (Verdict.DRIFTED, [a_finding()], None),
        (Verdict.ERROR, [], error),
        (Verdict.ERROR, [], error),
        (Verdict.DRIFTED, [a_finding()], None),
    ):
        house.check(verdict, *findings, error=failure)
        house.sender.drain()

    assert slack.methods() == ["chat.postMessage", "chat.postMessage", "chat.update", "chat.postMessage"]
    assert "the check fails (credentials_expired)" in slack.posts[1]["text"]
    assert slack.updates[0]["ts"] == "1700000000.000002"
    assert "the check works again" in slack.posts[2]["text"]
    assert all("resolved" not in post["text"] for post in slack.posts)


@pytest.mark.row(53)
def test_what_a_dead_slack_kept_waiting_arrives_in_order_after_a_restart(
    house: House, slack: Any, a_finding: Callable[..., Finding], a_reply: Callable[..., Any], clock: Any
) -> None:
    """Row 53: the outbox outlives Slack's absence and the daemon's, and nothing overtakes or is repeated."""
    slack.then(a_reply(status=503), a_reply(status=503))
    house.check(Verdict.DRIFTED, a_finding())
    assert house.sender.drain() == 0
    house.check(Verdict.DRIFTED, a_finding(), a_finding("aws_sqs_queue.other"))
    assert house.sender.drain() == 0
    house.leave()

    house.enter()
    house.check(Verdict.IN_SYNC)
    sent = 0
    for _ in range(20):
        clock.advance(5)
        sent += house.sender.drain()

    assert sent == 1, "what waits in one thread goes out together"
    assert house.store.outbox_depth() == {"waiting": 0, "dead": 0}
    (delivered,) = slack.calls[2:]
    assert delivered.method == "chat.postMessage"
    assert "resolved" in delivered.json["text"]

    house.check(Verdict.DRIFTED, a_finding())
    clock.advance(5)
    house.sender.drain()
    assert slack.methods()[3:] == ["chat.postMessage"], "a new story is a message of its own"


@pytest.mark.row(53)
def test_a_delivery_that_was_not_written_down_carries_the_same_id_again(
    house: House, slack: Any, a_finding: Callable[..., Finding]
) -> None:
    """Row 53: a crash between Slack's answer and our row makes a second attempt that Slack can recognise."""
    house.check(Verdict.DRIFTED, a_finding())
    (message,) = house.store.due_messages(at=house._clock(), limit=9)
    channels(house._settings)[0].deliver(message)
    house.leave()

    house.enter()
    house.sender.drain()

    assert len({post["client_msg_id"] for post in slack.posts}) == 1
    assert len(slack.posts) == 2
