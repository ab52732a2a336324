"""What people look back on: the audit, whose rows vouch for each other, and the list of incidents."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, event, text

from driftwatch.log import REDACTED, register_secret
from driftwatch.model import INCIDENT_LINES, TransitionKind
from driftwatch.store.incidents import LISTED_LINES
from tests.store.samples import START, after, failure, finding, result

if TYPE_CHECKING:
    from collections.abc import Callable

    from driftwatch.store import Store

HUGE = 2**70


@pytest.fixture
def note(store: Store) -> Callable[..., bool]:
    """Adds a row: Alice acknowledged finding 1, unless it is said otherwise."""

    def write(**words: Any) -> bool:
        said: dict[str, Any] = {
            "at": START,
            "actor": "alice",
            "via": "terminal",
            "action": "acknowledge",
            "subject": "finding 1",
            "outcome": "done",
        }
        return store.note(**(said | words))

    return write


def meddle(store: Store, statement: str, **values: Any) -> None:
    """Does what somebody with a shell on the database can."""
    store._database.write(lambda connection: connection.execute(text(statement), values))


# ---- The audit -----------------------------------------------------------------------------------------


def test_rows_come_newest_first_and_in_pages(store: Store, note: Callable[..., bool]) -> None:
    for number in range(5):
        assert note(at=after(number), subject=f"finding {number}")
    first = store.audit(limit=2)
    second = store.audit(limit=2, after=first.next)
    third = store.audit(limit=2, after=second.next)
    pages = [[entry.subject for entry in page.items] for page in (first, second, third)]
    assert pages == [["finding 4", "finding 3"], ["finding 2", "finding 1"], ["finding 0"]]
    assert third.next is None
    assert store.audit(limit=2, after=HUGE).items == first.items
    entry = third.items[0]
    assert (entry.at, entry.actor, entry.via, entry.action) == (START, "alice", "terminal", "acknowledge")
    assert (entry.outcome, entry.reason, len(entry.digest)) == ("done", None, 64)


def test_a_request_that_comes_twice_is_written_once(store: Store, note: Callable[..., bool]) -> None:
    assert note(key="slack:1")
    assert not note(key="slack:1", actor="mallory")
    assert note(key="slack:2")
    assert note()
    assert note()
    assert [entry.actor for entry in store.audit().items] == ["alice"] * 4
    assert store.audit_damage() is None


def test_words_are_redacted_and_can_always_be_written(store: Store, note: Callable[..., bool]) -> None:
    """Row and digest are of the same text, also where a database refuses what somebody wrote."""
    register_secret("canary-of-the-audit")
    note(actor="a\x00\ud800", subject="s canary-of-the-audit", reason="r canary-of-the-audit\x1b[31m")
    (entry,) = store.audit().items
    assert (entry.subject, entry.reason) == (f"s {REDACTED}", f"r {REDACTED}")
    assert "\x00" not in entry.actor
    assert store.audit_damage() is None


@pytest.mark.parametrize(
    "meddling",
    [
        "UPDATE audit SET actor = 'mallory' WHERE id = 3",
        "UPDATE audit SET via = 'slack' WHERE id = 3",
        "UPDATE audit SET action = 'accept' WHERE id = 3",
        "UPDATE audit SET subject = 'finding 2' WHERE id = 3",
        "UPDATE audit SET outcome = 'refused: open' WHERE id = 3",
        "UPDATE audit SET reason = 'by design' WHERE id = 3",
        "UPDATE audit SET reason = NULL, key = 'r' WHERE id = 3",
        "UPDATE audit SET at = (SELECT at FROM audit WHERE id = 2) WHERE id = 3",
        "UPDATE audit SET digest = (SELECT digest FROM audit WHERE id = 2) WHERE id = 3",
        "DELETE FROM audit WHERE id = 2",
        "DELETE FROM audit WHERE id < 3",
    ],
)
def test_whoever_changes_or_removes_a_row_is_found_out(
    store: Store, note: Callable[..., bool], meddling: str
) -> None:
    for number in range(5):
        note(at=after(number), reason="r")
    assert store.audit_damage() is None
    meddle(store, meddling)
    assert store.audit_damage() == 3


def test_an_empty_audit_is_whole(store: Store) -> None:
    assert (store.audit_damage(), store.audit().items, store.audit().next) == (None, [], None)


def test_those_who_write_at_once_make_one_chain(store: Store, note: Callable[..., bool]) -> None:
    threads = [
        threading.Thread(target=lambda name=name: [note(actor=name) for _ in range(5)]) for name in "abcd"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.audit().items) == 20
    assert store.audit_damage() is None


# ---- The list of incidents -----------------------------------------------------------------------------


def test_incidents_come_newest_first_and_those_that_are_over_when_asked_for(
    store: Store, record: Callable[..., Any]
) -> None:
    record(result(1, finding("a.a", actual=1)))
    record(result(2, finding("b.b", actual=2), at=after(1)))
    record(result(3, finding("c.c", actual=3), at=after(2)))
    record(result(2, at=after(3)))
    everything = store.incidents(open_only=False)
    assert [incident.id for incident in everything.items] == [3, 2, 1]
    assert [incident.id for incident in store.incidents().items] == [3, 1]
    over = everything.items[1]
    assert (over.total, over.open, over.closed_at) == (1, 0, after(3))
    assert [(line.over, line.announcement.kind) for line in over.lines] == [(True, TransitionKind.RESOLVED)]


def test_pages_of_incidents_follow_each_other(store: Store, record: Callable[..., Any]) -> None:
    for number in range(1, 6):
        record(result(number, finding(f"a{number}.a", actual=number)))
    first = store.incidents(limit=2)
    second = store.incidents(limit=2, after=first.next)
    third = store.incidents(limit=2, after=second.next)
    pages = [[incident.id for incident in page.items] for page in (first, second, third)]
    assert (pages, third.next) == ([[5, 4], [3, 2], [1]], None)
    assert store.incidents(limit=2, after=HUGE).items == first.items
    assert store.incidents(after=1).items == []


def test_what_concerns_many_stacks_is_one_with_its_worst_and_the_true_total(
    store: Store, record: Callable[..., Any]
) -> None:
    """As one incident by itself is shown, but for the number of lines."""
    for number in range(1, LISTED_LINES + 3):
        record(result(number, finding()))
    record(result(4, at=after(1)))
    record(failure(1, at=after(1), message="no such bucket"))
    failing, shared = store.incidents().items
    whole = store.incident(shared.id)
    assert whole is not None
    assert (shared.total, shared.open, len(shared.lines)) == (12, 11, LISTED_LINES)
    assert shared == replace(whole, lines=whole.lines[:LISTED_LINES])
    assert [line.over for line in whole.lines] == [False] * 11 + [True]
    assert len(whole.lines) <= INCIDENT_LINES
    assert failing == store.incident(failing.id)
    assert failing.lines[0].announcement.kind is TransitionKind.CHECK_FAILING


def test_a_long_list_takes_no_more_questions_than_a_short_one(
    store: Store, record: Callable[..., Any]
) -> None:
    asked: list[str] = []

    def count(*call: Any) -> None:
        asked.append(call[2])

    def listed() -> int:
        asked.clear()
        store.incidents()
        return len(asked)

    event.listen(Engine, "before_cursor_execute", count)
    try:
        record(result(1, finding("a.a", actual=1)))
        short = listed()
        for number in range(2, 9):
            record(result(number, finding(f"a{number}.a", actual=number)))
        assert listed() == short
    finally:
        event.remove(Engine, "before_cursor_execute", count)


def test_no_incident_is_none_and_a_list_of_none_is_empty(store: Store) -> None:
    assert [store.incident(number) for number in (1, 0, -1, HUGE, -HUGE)] == [None] * 5
    assert (store.incidents().items, store.incidents().next) == ([], None)
