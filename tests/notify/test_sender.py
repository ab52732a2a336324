"""The sender: order, pauses, patience, and that nothing is lost or sent twice without need."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from driftwatch.errors import StoreUnavailableError
from driftwatch.model import TransitionKind
from driftwatch.notify import DeliveryDeferred, DeliveryRefused, Sender
from driftwatch.notify.sender import GIVE_UP_AFTER, LONGEST_PAUSE, PATIENCE
from driftwatch.notify.slack import SlackChannel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping

    from driftwatch.config.notify import SlackSettings
    from driftwatch.model import Announcement, Message


class Recording:
    """A channel that remembers what it was given and does as `faults` say, first come first served."""

    def __init__(self, name: str = "slack") -> None:
        self.name = name
        self.seen = []
        self.delivered = []
        self.faults = []

    def deliver(self, message: Any) -> Any:
        self.seen.append(message.id)
        if self.faults and (fault := self.faults.pop(0)):
            raise fault
        self.delivered.append(message)
        return {"channel": "C042", "ts": f"ts-{message.id}"}


@pytest.fixture
def channel() -> Any:
    return Recording()


@pytest.fixture
def logs() -> Iterator[Any]:
    with structlog.testing.capture_logs() as captured:
        yield captured


@pytest.fixture
def sender(outbox: Any, channel: Any, clock: Any) -> Any:
    return Sender(outbox, [channel], clock, chance=lambda: 1.0, paces={})


def delivered(channel: Any) -> Any:
    return [message.id for message in channel.delivered]


def deferred(seconds: Any = None, **other: object) -> Any:
    return DeliveryDeferred(seconds, **other)


def test_what_is_due_is_delivered_and_its_receipt_is_written(
    sender: Sender, outbox: Any, channel: Any, a_message: Callable[..., Message]
) -> None:
    outbox.add(a_message(1, episode="a"), a_message(2, episode="b"))

    assert sender.drain() == 2
    assert outbox.receipts == {1: {"channel": "C042", "ts": "ts-1"}, 2: {"channel": "C042", "ts": "ts-2"}}
    assert sender.drain() == 0
    assert delivered(channel) == [1, 2]


def test_messages_of_one_episode_go_in_order_and_know_their_anchor(
    sender: Sender, outbox: Any, channel: Any, a_message: Callable[..., Message]
) -> None:
    outbox.add(*(a_message(number) for number in (1, 2, 3)))

    assert sender.drain() == 3
    assert delivered(channel) == [1, 2, 3]
    assert [message.anchor for message in channel.delivered] == [
        None,
        {"channel": "C042", "ts": "ts-1"},
        {"channel": "C042", "ts": "ts-2"},
    ]


def test_what_waits_holds_back_what_comes_after_it_in_its_episode_only(
    sender: Sender, outbox: Any, channel: Any, clock: Any, a_message: Callable[..., Message]
) -> None:
    channel.faults = [deferred(whole_channel=False)]
    outbox.add(a_message(1, episode="a"), a_message(2, episode="a"), a_message(3, episode="b"))

    assert sender.drain() == 1
    assert delivered(channel) == [3]
    clock.advance(1)
    assert sender.drain() == 0
    clock.advance(1)
    assert sender.drain() == 2
    assert delivered(channel) == [3, 1, 2]


def test_a_dead_letter_lets_the_next_of_its_episode_go(
    sender: Sender,
    outbox: Any,
    channel: Any,
    a_message: Callable[..., Message],
    logs: list[MutableMapping[str, Any]],
) -> None:
    channel.faults = [DeliveryRefused("Slack does not take this message: no_text")]
    outbox.add(a_message(1), a_message(2))

    sender.drain()
    sender.drain()

    assert outbox.dead == {1: "Slack does not take this message: no_text"}
    assert delivered(channel) == [2]
    (line,) = [line for line in logs if line["action"] == "message_refused"]
    assert line["log_level"] == "error"
    assert line["stack"] == "platform/envs/prod/network"
    assert line["reason"] == "Slack does not take this message: no_text"


@pytest.mark.row(53)
def test_a_channel_is_left_alone_as_long_as_it_asks_and_others_go_on(
    outbox: Any, clock: Any, a_message: Callable[..., Message]
) -> None:
    """Row 53: Retry-After is kept, per channel."""
    slack, pager = Recording(), Recording("webhook:pager")
    slack.faults = [deferred(30)]
    sender = Sender(outbox, [slack, pager], clock, paces={})
    outbox.add(*(a_message(number, episode=f"e{number}") for number in range(1, 4)))
    outbox.add(*(a_message(number, episode=f"e{number}", channel="webhook:pager") for number in range(4, 7)))

    assert sender.drain() == 3
    clock.advance(29)
    assert sender.drain() == 0
    assert slack.seen == [1]
    assert delivered(pager) == [4, 5, 6]
    clock.advance(1)
    assert sender.drain() == 3
    assert delivered(slack) == [1, 2, 3]


@pytest.mark.row(53)
def test_pauses_double_up_to_a_quarter_of_an_hour_and_end_with_success(
    sender: Sender, outbox: Any, channel: Any, clock: Any, a_message: Callable[..., Message]
) -> None:
    """Row 53: the backoff, and that a dead channel costs one attempt per pause however much waits for it."""
    channel.faults = [deferred()] * 12
    outbox.add(*(a_message(number, episode=f"e{number}") for number in range(1, 31)))
    pauses, tried = [], clock()
    while channel.faults:
        clock.advance(1)
        before = len(channel.seen)
        sender.drain()
        if len(channel.seen) > before:
            pauses.append((clock() - tried).total_seconds())
            tried = clock()

    assert pauses[1:] == [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]
    assert len(channel.seen) == 12
    clock.advance(900)
    assert sender.drain() == 30
    assert sorted(delivered(channel)) == list(range(1, 31))
    channel.faults = [deferred()]
    outbox.add(a_message(31, episode="e31", created_at=clock()))
    sender.drain()
    clock.advance(2)
    assert sender.drain() == 1


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_a_pause_is_spread_over_half_of_itself(
    outbox: Any, channel: Any, clock: Any, a_message: Callable[..., Message], chance: Any
) -> None:
    channel.faults = [deferred()]
    outbox.add(a_message())

    Sender(outbox, [channel], clock, chance=lambda: chance, paces={}).drain()

    assert outbox.due_at[1] - clock() == timedelta(seconds=1 + chance)


def test_one_that_always_fails_lets_the_others_pass_in_the_end(
    sender: Sender, outbox: Any, channel: Any, clock: Any, a_message: Callable[..., Message]
) -> Any:
    """A message at which the receiver falls over each time must not be the only one that is ever tried."""
    outbox.add(
        a_message(1, episode="poison"), *(a_message(number, episode=f"e{number}") for number in (2, 3))
    )
    original = channel.deliver

    def deliver(message: Any) -> Any:
        if message.id == 1:
            channel.seen.append(1)
            raise deferred()
        return original(message)

    channel.deliver = deliver
    for _ in range(PATIENCE + 1):
        sender.drain()
        clock.advance(LONGEST_PAUSE.total_seconds())

    assert delivered(channel) == [2, 3]


def test_in_an_outage_the_oldest_is_still_the_first(
    sender: Sender, outbox: Any, channel: Any, clock: Any, a_message: Callable[..., Message]
) -> None:
    channel.faults = [deferred()] * (PATIENCE - 1)
    outbox.add(*(a_message(number, episode=f"e{number}") for number in range(1, 6)))

    for _ in range(PATIENCE):
        sender.drain()
        clock.advance(LONGEST_PAUSE.total_seconds())

    assert delivered(channel) == [1, 2, 3, 4, 5]


def test_what_a_person_must_mend_is_logged_once_with_advice_and_loses_nothing(
    sender: Sender,
    outbox: Any,
    channel: Any,
    clock: Any,
    a_message: Callable[..., Message],
    logs: list[MutableMapping[str, Any]],
) -> None:
    fault = deferred(3600, reason="Slack refuses messages: not_in_channel", advice="Invite the app.")
    channel.faults = [fault] * 3
    outbox.add(*(a_message(number, episode=f"e{number}") for number in range(1, 4)))

    for _ in range(3):
        sender.drain()
        clock.advance(3600)
    assert [line["advice"] for line in logs if line["action"] == "message_deferred"] == ["Invite the app."]

    assert sender.drain() == 3
    assert not outbox.dead
    assert [line["action"] for line in logs].count("channel_recovered") == 1


def test_slack_gets_one_message_a_second_and_others_are_not_slowed(
    outbox: Any, a_message: Callable[..., Message]
) -> None:
    """With the real clock: what `drain` waits for is a channel's next turn, and nothing else."""
    slack, pager = Recording(), Recording("webhook:pager")
    times = []
    deliver = slack.deliver
    slack.deliver = lambda message: (times.append(datetime.now(UTC)), deliver(message))[1]
    paces = {"slack": timedelta(seconds=0.1)}
    sender = Sender(outbox, [slack, pager], lambda: datetime.now(UTC), paces=paces)
    outbox.add(*(a_message(number, episode=f"e{number}") for number in range(1, 5)))
    outbox.add(*(a_message(number, episode=f"e{number}", channel="webhook:pager") for number in range(5, 9)))

    assert sender.drain() == 8
    assert delivered(pager) == [5, 6, 7, 8]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(timedelta(seconds=0.1) <= gap < timedelta(seconds=1) for gap in gaps)


def test_stop_ends_a_drain_between_two_messages(
    outbox: Any, channel: Any, clock: Any, a_message: Callable[..., Message]
) -> None:
    stop = threading.Event()
    original = channel.deliver
    channel.deliver = lambda message: (stop.set(), original(message))[1]
    outbox.add(*(a_message(number, episode=f"e{number}") for number in range(1, 4)))

    assert Sender(outbox, [channel], clock, paces={}).drain(stop) == 1


def test_a_clock_set_back_does_not_silence_a_channel(
    sender: Sender, outbox: Any, channel: Any, clock: Any, a_message: Callable[..., Message]
) -> None:
    channel.faults = [deferred(600)]
    outbox.add(a_message(1, episode="a", created_at=clock() - timedelta(days=400)))
    sender.drain()

    clock.advance(-365 * 86400)
    outbox.due_at[1] = clock()

    assert sender.drain() == 1


def test_no_receiver_can_ask_for_more_than_an_hour(
    sender: Sender, outbox: Any, channel: Any, clock: Any, a_message: Callable[..., Message]
) -> None:
    channel.faults = [deferred(10.0**9)]
    outbox.add(a_message())

    sender.drain()
    clock.advance(3600)

    assert sender.drain() == 1


def test_a_mistake_of_ours_in_one_message_keeps_no_other_back(
    sender: Sender,
    outbox: Any,
    channel: Any,
    clock: Any,
    a_message: Callable[..., Message],
    logs: list[MutableMapping[str, Any]],
) -> None:
    channel.faults = [ZeroDivisionError("oops")]
    outbox.add(a_message(1, episode="a"), a_message(2, episode="b"))

    assert sender.drain() == 1
    clock.advance(2)
    assert sender.drain() == 1
    assert delivered(channel) == [2, 1]
    assert logs[0]["reason"] == "ZeroDivisionError: oops"


def test_what_one_receiver_never_takes_is_given_up_after_a_week(
    sender: Sender, outbox: Any, channel: Any, clock: Any, a_message: Callable[..., Message]
) -> None:
    channel.faults = [deferred(whole_channel=False, reason="webhook:x answered 422")] * 2
    outbox.add(a_message())

    sender.drain()
    clock.advance(GIVE_UP_AFTER.total_seconds() + 1)
    sender.drain()

    assert outbox.dead == {1: "webhook:x answered 422, for 7 days"}


def test_a_dead_channel_is_never_given_up(
    sender: Sender, outbox: Any, channel: Any, clock: Any, a_message: Callable[..., Message]
) -> None:
    channel.faults = [deferred()] * 2
    outbox.add(a_message())

    sender.drain()
    clock.advance(GIVE_UP_AFTER.total_seconds() * 10)
    sender.drain()
    clock.advance(LONGEST_PAUSE.total_seconds())

    assert sender.drain() == 1


def test_messages_for_a_channel_that_is_no_longer_configured_wait_a_week(
    sender: Sender,
    outbox: Any,
    clock: Any,
    a_message: Callable[..., Message],
    logs: list[MutableMapping[str, Any]],
) -> None:
    outbox.add(a_message(1, channel="webhook:gone"), a_message(2, channel="slack"))

    assert sender.drain() == 1
    assert "no channel webhook:gone is configured" in [line.get("reason") for line in logs]
    clock.advance(GIVE_UP_AFTER.total_seconds() + 1)
    sender.drain()

    assert list(outbox.dead) == [1]


def test_a_long_queue_for_one_channel_does_not_hide_anothers(
    outbox: Any, clock: Any, a_message: Callable[..., Message]
) -> None:
    slack, pager = Recording(), Recording("webhook:pager")
    slack.faults = [deferred(600)]
    sender = Sender(outbox, [slack, pager], clock, paces={})
    outbox.add(*(a_message(number, episode=f"e{number}") for number in range(1, 400)))
    sender.drain()
    outbox.add(a_message(400, channel="webhook:pager"))

    clock.advance(30)
    sender.drain()

    assert delivered(pager) == [400]


def test_while_a_channel_is_away_the_whole_queue_is_read_seldom(
    outbox: Any, clock: Any, a_message: Callable[..., Message]
) -> None:
    slack = Recording()
    slack.faults = [deferred(600)]
    sender = Sender(outbox, [slack], clock, paces={})
    outbox.add(*(a_message(number, episode=f"e{number}") for number in range(1, 400)))

    for _ in range(60):
        sender.drain()
        clock.advance(1)

    assert sum(limit > 50 for limit in outbox.looks) <= 2


# The outbox may be away, too


def test_a_receipt_that_could_not_be_written_is_written_before_anything_is_sent(
    sender: Sender, outbox: Any, channel: Any, a_message: Callable[..., Message]
) -> None:
    outbox.add(a_message(1, episode="a"), a_message(2, episode="b"))
    original = outbox.message_sent
    outbox.message_sent = broken = failing(StoreUnavailableError("gone"))

    with pytest.raises(StoreUnavailableError):
        sender.drain()
    with pytest.raises(StoreUnavailableError):
        sender.drain()
    assert broken.calls == 2
    assert delivered(channel) == [1]
    outbox.message_sent = original
    sender.drain()

    assert delivered(channel) == [1, 2]
    assert outbox.receipts[1] == {"channel": "C042", "ts": "ts-1"}


def test_the_loop_outlives_a_lost_database_and_says_so_once(
    outbox: Any,
    channel: Any,
    clock: Any,
    a_message: Callable[..., Message],
    logs: list[MutableMapping[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("driftwatch.notify.sender.ROUND_SECONDS", 0.01)
    monkeypatch.setattr("driftwatch.notify.sender.LONGEST_OUTBOX_PAUSE_SECONDS", 0.02)
    outbox.add(a_message())
    outbox.broken = RuntimeError("database is away")
    looked = threading.Semaphore(0)
    original = outbox.due_messages
    outbox.due_messages = lambda **asked: (looked.release(), original(**asked))[1]
    stop = threading.Event()
    thread = threading.Thread(target=Sender(outbox, [channel], clock).run, args=(stop,))
    thread.start()
    try:
        for _ in range(3):
            assert looked.acquire(timeout=5)
        outbox.broken = None
        wait_until(lambda: channel.delivered and outbox.receipts)
        for _ in range(3):
            assert looked.acquire(timeout=5)
    finally:
        stop.set()
        thread.join(5)

    assert not thread.is_alive()
    assert delivered(channel) == [1]
    actions = [line["action"] for line in logs]
    assert actions.count("outbox_failed") == 1
    assert actions.count("outbox_recovered") == 1


def test_the_loop_stops_at_once_when_told(outbox: Any, channel: Any, clock: Any) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=Sender(outbox, [channel], clock).run, args=(stop,))
    thread.start()
    stop.set()
    thread.join(1)

    assert not thread.is_alive()


def test_every_outcome_is_counted(
    sender: Sender, outbox: Any, channel: Any, clock: Any, a_message: Callable[..., Message]
) -> None:
    before = {outcome: counted(outcome) for outcome in ("sent", "deferred", "refused")}
    channel.faults = [deferred(), DeliveryRefused("no"), None]
    outbox.add(a_message(1, episode="a"), a_message(2, episode="b"))

    sender.drain()
    clock.advance(2)
    sender.drain()

    assert {outcome: counted(outcome) - before[outcome] for outcome in before} == {
        "sent": 1,
        "deferred": 1,
        "refused": 1,
    }


def counted(outcome: Any) -> Any:
    labels = {"channel": "slack", "outcome": outcome}
    return REGISTRY.get_sample_value("driftwatch_messages_total", labels) or 0


def failing(error: Any) -> Any:
    def fail(*_args: object, **_kwargs: object) -> None:
        fail.calls += 1
        raise error

    fail.calls = 0
    return fail


def wait_until(condition: Any) -> None:
    for _ in range(500):
        if condition():
            return
        threading.Event().wait(0.01)
    pytest.fail("it did not come true within 5 s")


# With a Slack that fails in every way, and any order of faults


@pytest.mark.row(53)
def test_the_outbox_drains_in_order_through_every_fault_of_slack(
    outbox: Any,
    slack: Any,
    slack_settings: SlackSettings,
    clock: Any,
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_reply: Callable[..., Any],
) -> None:
    """Row 53: 429, 5xx, timeout, reset, bad JSON in a row: all arrives, in order, and each of it once."""
    slack.then(
        a_reply(status=429, headers={"Retry-After": "7"}),
        a_reply(status=500),
        a_reply(fault="hang"),
        a_reply(fault="reset"),
        a_reply(body=b"<html>"),
    )
    outbox.add(
        a_message(1),
        a_message(2, an_announcement(TransitionKind.DRIFT_CHANGED)),
        a_message(3, an_announcement(TransitionKind.RESOLVED)),
    )
    channel = SlackChannel(slack_settings, timeout=2)
    sender = Sender(outbox, [channel], clock, chance=lambda: 1.0, paces={})

    sent = 0
    for _ in range(40):
        sent += sender.drain()
        clock.advance(2)

    assert sent == 3
    assert not outbox.due_at
    assert slack.methods() == ["chat.postMessage"] * 6 + ["chat.update", "chat.postMessage"] * 2
    assert len({post["client_msg_id"] for post in slack.posts[:6]}) == 1
    assert [post.get("thread_ts") for post in slack.posts[6:]] == [outbox.receipts[1]["ts"]] * 2
    assert "resolved" in slack.updates[-1]["text"]


@settings(max_examples=60, deadline=None)
@given(
    episodes=st.lists(st.sampled_from("abc"), min_size=1, max_size=12),
    faults=st.lists(
        st.sampled_from(
            [
                None,
                DeliveryDeferred(),
                DeliveryDeferred(40),
                DeliveryDeferred(whole_channel=False),
                ValueError("a bug"),
            ]
        ),
        max_size=25,
    ),
)
def test_whatever_fails_everything_arrives_once_and_in_order(
    a_clock: Any, an_outbox: Any, a_message: Callable[..., Message], episodes: Any, faults: Any
) -> None:
    clock, outbox, channel = a_clock(), an_outbox(), Recording()
    channel.faults = list(faults)
    outbox.add(*(a_message(number, episode=episode) for number, episode in enumerate(episodes)))
    sender = Sender(outbox, [channel], clock, paces={})

    for _ in range(len(faults) + len(episodes) + 2):
        sender.drain()
        clock.advance(LONGEST_PAUSE.total_seconds())

    assert sorted(delivered(channel)) == list(range(len(episodes)))
    for episode in set(episodes):
        mine = [message.id for message in channel.delivered if message.episode == episode]
        assert mine == sorted(mine)
    assert not outbox.dead
