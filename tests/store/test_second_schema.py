"""From the second schema, with messages under way: nothing is lost, and each thread goes on as it was."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from sqlalchemy import text

from driftwatch.drift import Acknowledge, Press, Told
from driftwatch.model import Announcement, FindingStatus, StackDeclaration, TransitionKind, Trigger, Verdict
from driftwatch.store import Acted, Store, Voice, schema, told
from driftwatch.store.codec import dump
from driftwatch.store.engine import Database
from driftwatch.store.store import _backend
from tests.store.conftest import Place
from tests.store.samples import START, after, failure, finding, result, stack_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from driftwatch.model import Message

SLACK, HOOK = "slack", "webhook:ops"
CHANNELS = (SLACK, HOOK)
DRIFTING, FAILING, ASLEEP, OVER = 1, 2, 3, 4
"""Stacks: one whose drift is told and has changed since, one whose checks fail, one whose finding is snoozed,
and one of which neither beginning nor end went out."""

NEW_WORDS = ("labels", "said")
"""What announcements did not have then."""


def episode(number: int, sort: str = "drift") -> str:
    return f"{sort}:{stack_id(number)}:{START.isoformat()}"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def second(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A database of the second schema, as a daemon left it while Slack was away."""
    url = None
    if request.param == "postgres":
        server = request.getfixturevalue("postgres")
        url = server.url(server.new_database(empty=True))
    place = Place(tmp_path / "state", url)
    database = Database(_backend(place.state_dir, place.database, 5.0))
    with database.backend.upgrading() as connection:
        command.upgrade(schema.alembic_config(connection), "0002")
        fill(connection)
    database.close()
    return place


@pytest.fixture
def store(second: Place) -> Iterator[Store]:
    voice = Voice(channels=CHANNELS)
    opened = Store.open(state_dir=second.state_dir, database=second.database, voice=voice)
    assert (opened.upgraded.before, opened.upgraded.after) == ("0002", schema.HEAD)
    yield opened
    opened.close()


def fill(connection: Connection) -> None:
    put(connection, "schema_info", id=1, written_by="0.0.2")
    put(connection, "repositories", name="platform")
    for number in (DRIFTING, FAILING, ASLEEP, OVER):
        fill_stack(connection, number)
    fill_finding(connection, DRIFTING, "a.now", actual=2)
    fill_finding(connection, ASLEEP, "a.asleep", status="snoozed", until=after(60))
    seen = {"spoken_at": after(1)}
    tell(connection, DRIFTING, Told(episode=episode(1), counted=prints("a.now", 2), **seen))
    tell(connection, FAILING, Told(failing=True, outage=episode(2, "outage")))
    tell(connection, ASLEEP, Told(episode=episode(3), set_aside=prints("a.asleep"), **seen))
    tell(connection, OVER, Told())
    write(connection, DRIFTING, TransitionKind.DRIFT_FOUND, sent=True)
    write(connection, FAILING, TransitionKind.CHECK_FAILING, sort="outage", sent=True)
    write(connection, ASLEEP, TransitionKind.DRIFT_FOUND, sent=True)
    write(connection, OVER, TransitionKind.DRIFT_FOUND)
    write(connection, DRIFTING, TransitionKind.DRIFT_CHANGED)
    write(connection, OVER, TransitionKind.RESOLVED)


def fill_stack(connection: Connection, number: int) -> None:
    put(
        connection,
        "stacks",
        id=number,
        name=str(stack_id(number)),
        repository="platform",
        path=stack_id(number).path,
        workspace="default",
        labels="{}",
        owners="[]",
        declared_at=START,
        verdict="error" if number == FAILING else "drifted",
        last_good_at=after(1),
        checked_at=after(1),
        open_findings=1,
    )
    put(
        connection,
        "checks",
        id=number,
        key=f"k{number}",
        stack_id=number,
        trigger="schedule",
        verdict="drifted",
        method="plan",
        method_reason="no_recording",
        started_at=after(1),
        duration_seconds=1.0,
        inputs="{}",
        findings_total=1,
        findings_counted=1,
    )


def fill_finding(
    connection: Connection, number: int, address: str, status: str = "open", **words: Any
) -> None:
    seen = finding(address, actual=words.pop("actual", 80))
    put(
        connection,
        "findings",
        id=number,
        stack_id=number,
        identity=seen.identity,
        address=seen.address,
        type=seen.type,
        kind=seen.kind.value,
        severity=seen.severity.value,
        fingerprint=seen.fingerprint,
        counted=True,
        status=status,
        first_seen=START,
        last_seen=after(1),
        opened_at=START,
        first_check_id=number,
        last_check_id=number,
        document=json.dumps(dump(seen)),
        **words,
    )


def prints(address: str, actual: int = 80) -> frozenset[str]:
    return frozenset({finding(address, actual=actual).fingerprint})


def tell(connection: Connection, number: int, heard: Told) -> None:
    old = {key: value for key, value in dump(heard).items() if key != "failures"}
    words = {"episode": heard.episode, "outage": heard.outage}
    put(connection, "told", stack_id=number, document=json.dumps(old), **words)


def write(
    connection: Connection, number: int, kind: TransitionKind, *, sort: str = "drift", sent: bool = False
) -> None:
    """A message for each channel, as it stood in the outbox."""
    announcement = Announcement(
        kind=kind,
        stack=str(stack_id(number)),
        verdict=Verdict.DRIFTED,
        commit="c0ffee",
        trigger=Trigger.SCHEDULE,
        at=START,
        check_id=number,
    )
    old = {key: value for key, value in dump(announcement).items() if key not in NEW_WORDS}
    for channel in CHANNELS:
        receipt = {"ts": f"old-{number}"} if channel == SLACK else {"status": "204"}
        gone = {"sent_at": after(1), "receipt": json.dumps(receipt)} if sent else {}
        put(
            connection,
            "messages",
            channel=channel,
            dedupe_key=f"k{number}:{kind}:{channel}",
            stack=str(stack_id(number)),
            episode=episode(number, sort),
            state="sent" if sent else "waiting",
            announcement=json.dumps(old),
            attempts=int(sent),
            created_at=START,
            next_attempt_at=after(2),
            **gone,
        )


def put(connection: Connection, table: str, **row: Any) -> None:
    columns, values = ", ".join(row), ", ".join(f":{column}" for column in row)
    if connection.dialect.name == "sqlite":
        row = {key: str(value)[:26] if hasattr(value, "isoformat") else value for key, value in row.items()}
    else:
        for name in ("document", "announcement", "receipt"):
            values = values.replace(f":{name}", f"CAST(:{name} AS JSON)")
    connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({values})"), row)  # noqa: S608  (our own names)


def record(store: Store, check: Any, channels: tuple[str, ...] = CHANNELS) -> list[str]:
    recorded = store.record_check(check, declaration=StackDeclaration(id=check.stack), channels=channels)
    return [str(each.kind) for each in recorded.announcements]


def send(store: Store) -> list[Message]:
    """Sends all that waits, a round after the other."""
    sent = []
    while due := store.due_messages(at=after(1000), limit=100):
        for message in due:
            whole = store.whole_message(message, at=after(1000))
            store.message_sent(whole.id, {"ts": f"new-{whole.id}"}, at=after(1000), carried=whole.carried)
            sent.append(whole)
    return sent


def outline(messages: list[Message], channel: str, number: int) -> list[tuple[list[str], str | None]]:
    """What was sent of a stack to a channel: the kinds in each message, and the ts of its thread."""
    return [
        ([str(said.kind) for said in each.all_told], (each.anchor or {}).get("ts"))
        for each in messages
        if each.channel == channel and each.announcement.stack == str(stack_id(number))
    ]


@pytest.mark.row(78)
def test_nothing_is_lost_and_nobody_is_told_anew(store: Store) -> None:
    """Row 78 at the store: from 0002, on both databases."""
    assert store.outbox_depth() == {"waiting": 6, "dead": 0}
    found = {item.finding.address: item for item in store.findings().items}
    assert {address: (item.status, item.story) for address, item in found.items()} == {
        "a.now": (FindingStatus.OPEN, ""),
        "a.asleep": (FindingStatus.SNOOZED, ""),
    }
    assert found["a.asleep"].until == after(60)
    heard = dict(store._database.read(told.running))
    assert {number: it.episode or it.outage for number, it in heard.items()} == {
        DRIFTING: episode(1),
        FAILING: episode(2, "outage"),
        ASLEEP: episode(3),
    }
    assert record(store, result(DRIFTING, finding("a.now", actual=2), at=after(3))) == []
    assert record(store, failure(FAILING, at=after(3))) == []
    assert record(store, result(ASLEEP, finding("a.asleep"), at=after(3))) == []
    assert record(store, result(OVER, at=after(3))) == []
    assert store.incidents(open_only=False).items == []
    assert store.outbox_depth() == {"waiting": 6, "dead": 0}


def test_what_waits_goes_out_in_order_and_into_its_thread(store: Store) -> None:
    sent = send(store)
    assert outline(sent, SLACK, DRIFTING) == [(["drift_changed"], "old-1")]
    found, end = outline(sent, SLACK, OVER)
    assert (found, end[0]) == ((["drift_found"], None), ["resolved"])
    assert (end[1] or "").startswith("new-")
    assert [kinds for kinds, _ in outline(sent, HOOK, OVER)] == [["drift_found"], ["resolved"]]
    assert all(message.incident is None for message in sent)
    assert store.outbox_depth() == {"waiting": 0, "dead": 0}


def test_what_is_told_next_stays_in_the_thread_and_takes_along_what_waits(store: Store) -> None:
    """Changed before the upgrade and resolved after it: one reply under the message of then."""
    assert record(store, result(DRIFTING, at=after(5))) == ["resolved"]
    sent = send(store)
    assert outline(sent, SLACK, DRIFTING) == [(["drift_changed", "resolved"], "old-1")]
    assert [kinds for kinds, _ in outline(sent, HOOK, DRIFTING)] == [["drift_changed"], ["resolved"]]
    incident = next(message.incident for message in sent if message.incident)
    assert (incident.total, incident.open, incident.title, incident.closed_at) == (1, 0, None, after(5))


def test_checks_that_failed_recover_in_their_thread(store: Store) -> None:
    assert record(store, result(FAILING, at=after(5))) == ["recovered"]
    assert outline(send(store), SLACK, FAILING) == [(["recovered"], "old-2")]
    assert record(store, failure(FAILING, at=after(6))) == ["check_failing"]
    assert outline(send(store), SLACK, FAILING) == [(["check_failing"], None)]


def test_a_snooze_of_then_ends_in_its_thread(store: Store) -> None:
    assert store.reopen_ended(at=after(59), channels=CHANNELS) == []
    (said,) = store.reopen_ended(at=after(61), channels=CHANNELS)
    assert said.opened == ("a.asleep",)
    assert outline(send(store), SLACK, ASLEEP) == [(["drift_changed"], "old-3")]
    (incident,) = store.incidents().items
    assert [each.fingerprint for each in store.open_in(incident.id)] == [finding("a.asleep").fingerprint]


def test_a_press_on_what_was_told_then_is_told_to_who_was_told(store: Store) -> None:
    press = Press(action=Acknowledge(), actor="anna", at=after(5))
    assert isinstance(store.act(DRIFTING, press), Acted)
    sent = send(store)
    assert outline(sent, SLACK, DRIFTING) == [(["drift_changed", "handled"], "old-1")]
    assert [kinds for kinds, _ in outline(sent, HOOK, DRIFTING)] == [["drift_changed"], ["handled"]]


def test_who_was_told_then_is_told_the_rest(store: Store) -> None:
    """By the messages of then; another stack with the same difference begins an incident of its own."""
    assert record(store, result(DRIFTING, finding("a.now", actual=3), at=after(5))) == ["drift_changed"]
    assert record(store, result(9, finding("a.now", actual=3), at=after(6))) == ["drift_found"]
    assert [each.total for each in store.incidents().items] == [1, 1]
    told_of = store._database.read(
        lambda it: it.execute(
            text("SELECT channels FROM incident_members WHERE episode = :episode"), {"episode": episode(1)}
        ).scalar()
    )
    assert sorted(json.loads(told_of) if isinstance(told_of, str) else told_of) == [SLACK, HOOK]


def test_what_was_sent_then_is_pruned_when_its_episode_is_over(store: Store) -> None:
    send(store)
    store.prune_messages(after(2000))
    assert record(store, result(DRIFTING, at=after(5))) == ["resolved"]
    assert outline(send(store), SLACK, DRIFTING) == [(["resolved"], "old-1")], "its anchor was kept"
    assert store.prune_messages(after(2000)) == 6
    assert store.incidents(open_only=False).items == []
