"""The outbox: in order, at least once, each message known by its key for ever."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.log import register_secret
from tests.store.samples import START, after, failure, finding, result, stack_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from driftwatch.model import Message
    from driftwatch.store import Store

LATER = after(100)


def due(store: Store, limit: int = 10) -> list[Message]:
    return store.due_messages(at=LATER, limit=limit)


def kinds(store: Store) -> list[str]:
    return [str(message.announcement.kind) for message in due(store)]


def test_a_message_is_handed_out_until_it_is_sent(store: Store, record: Callable[..., Any]) -> None:
    record(result(1, finding()))
    (first,) = due(store)
    (again,) = due(store)
    assert first == again
    assert store.due_messages(at=START - timedelta(seconds=1), limit=10) == []
    store.message_sent(first.id, {"ts": "1.1"}, at=LATER)
    assert due(store) == []
    assert store.outbox_depth() == {"waiting": 0, "dead": 0}


@pytest.mark.row(53)
def test_what_waits_holds_back_what_follows_on_the_same_stack_and_channel(
    store: Store, record: Callable[..., Any]
) -> None:
    """Row 53 at the store: "resolved" never overtakes "found", and one slow channel holds up no other."""
    channels = ["slack", "webhook:ops"]
    record(result(1, finding()), channels=channels)
    record(result(1, at=after(1)), channels=channels)
    record(result(2, finding(actual=1), at=after(2)), channels=channels)
    found = due(store)
    assert [(message.channel, message.announcement.stack[-4:]) for message in found] == [
        ("slack", "s001"),
        ("webhook:ops", "s001"),
        ("slack", "s002"),
        ("webhook:ops", "s002"),
    ]
    store.message_failed(found[0].id, reason="429", retry_at=LATER + timedelta(minutes=1))
    store.message_sent(found[1].id, {}, at=LATER)
    assert [(message.channel, str(message.announcement.kind)) for message in due(store)] == [
        ("webhook:ops", "resolved"),
        ("slack", "drift_found"),
        ("webhook:ops", "drift_found"),
    ]
    waited = store.due_messages(at=LATER + timedelta(minutes=1), limit=1)
    assert [(message.id, message.attempts) for message in waited] == [(found[0].id, 1)]


def test_the_first_receipt_of_an_episode_is_the_anchor_of_the_others(
    store: Store, record: Callable[..., Any]
) -> None:
    record(result(1, finding()))
    record(result(1, finding(actual=443), at=after(1)))
    record(result(1, at=after(2)))
    anchors = []
    for number in range(3):
        (first,) = due(store)
        # As of a moment at which none of those behind it was there yet.
        message = store.whole_message(first, at=START)
        anchors.append(message.anchor)
        store.message_sent(message.id, {"channel": "C1", "ts": str(number)}, at=LATER)
    assert anchors == [None, {"channel": "C1", "ts": "0"}, {"channel": "C1", "ts": "0"}]


def test_a_new_episode_has_no_anchor_of_the_last_one(store: Store, record: Callable[..., Any]) -> None:
    for minutes, findings in ((0, [finding()]), (1, []), (2, [finding()])):
        record(result(1, *findings, at=after(minutes)))
    first, second = due(store)
    whole = store.whole_message(first, at=LATER)
    assert [said.kind for said in whole.all_told] == ["drift_found", "resolved"]
    store.message_sent(whole.id, {"ts": "1"}, at=LATER, carried=whole.carried)
    (message,) = due(store)
    assert message == second
    assert store.whole_message(message, at=LATER).anchor is None
    assert message.announcement.kind == "drift_found"


def test_a_dead_letter_is_counted_and_holds_nothing_back(store: Store, record: Callable[..., Any]) -> None:
    record(failure(1))
    record(result(1, at=after(1)))
    (message,) = due(store)
    store.message_failed(message.id, reason="channel_not_found", retry_at=None)
    assert store.outbox_depth() == {"waiting": 1, "dead": 1}
    assert kinds(store) == ["recovered"]


def test_a_late_failure_does_not_wake_a_sent_message(store: Store, record: Callable[..., Any]) -> None:
    record(result(1, finding()))
    (message,) = due(store)
    store.message_sent(message.id, {}, at=LATER)
    store.message_failed(message.id, reason="timeout", retry_at=START)
    assert due(store) == []


def test_each_message_has_a_key_of_its_own(store: Store, record: Callable[..., Any]) -> None:
    record(result(1, finding()), channels=["slack", "webhook:ops"])
    record(result(2, finding(actual=1)), channels=["slack", "webhook:ops"])
    assert len({message.dedupe_key for message in due(store)}) == 4


def test_the_reason_of_a_failure_is_redacted(store: Store, record: Callable[..., Any], place: Any) -> None:
    register_secret("canary-in-a-reason")
    record(result(1, finding()))
    (message,) = due(store)
    store.message_failed(message.id, reason="refused canary-in-a-reason", retry_at=None)
    if place.database is None:
        stored = b"".join(path.read_bytes() for path in place.state_dir.iterdir())
        assert b"canary-in-a-reason" not in stored
        assert b"refused [redacted]" in stored


def test_only_so_many_are_handed_out_and_the_oldest_first(store: Store, record: Callable[..., Any]) -> None:
    for number in range(1, 6):
        record(result(number, finding(actual=number)))
    assert [message.announcement.stack for message in due(store, limit=2)] == [
        str(stack_id(1)),
        str(stack_id(2)),
    ]
