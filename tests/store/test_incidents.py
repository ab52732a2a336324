"""Incidents as rows: who joins which, how each stands, what goes out together, and what is kept."""

from __future__ import annotations

import random
import shutil
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from driftwatch.config.notify import NotifySettings
from driftwatch.drift import Acknowledge, Press, Reopen, Snooze
from driftwatch.drift.routing import Routing
from driftwatch.drift.stories import NEARBY
from driftwatch.model import (
    INCIDENT_LINES,
    Cause,
    Commit,
    ErrorReport,
    Evidence,
    Finding,
    FindingStatus,
    Incident,
    InputKind,
    Inputs,
    Movement,
    Severity,
    StackDeclaration,
)
from driftwatch.store import Store, Voice, checks, incidents
from driftwatch.store.outbox import CARRIED
from tests.store.samples import START, after, declared, failure, finding, result, stack_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from driftwatch.model import CheckResult, Message
    from tests.store.conftest import Place

LATER = after(100_000)
AUTHORED = datetime(2026, 1, 1, tzinfo=UTC)
COMMIT = Commit(id="ab" * 20, author="Carol", at=AUTHORED, subject="Encrypt every queue")
HUGE = 2**70


def waiting(address: str = "cloud_queue.jobs", commit: Commit = COMMIT, **words: Any) -> Finding:
    """What the code of a commit wants and nobody has applied."""
    return finding(address, causes=(Cause.UNAPPLIED_COMMIT,), evidence=Evidence(commits=(commit,)), **words)


def expired(number: int, at: datetime = START) -> CheckResult:
    error = ErrorReport(code="credentials_expired", message=f"The token of {number} has expired.")
    return replace(failure(number, at=at), error=error)


@pytest.fixture
def speaking(place: Place) -> Iterator[Callable[..., Store]]:
    """Opens the store with a voice of its own."""
    opened: list[Store] = []

    def open_(*routes: dict[str, Any], gather: float = 0, **words: Any) -> Store:
        routing = Routing.compile(
            NotifySettings.model_validate(
                {
                    "slack": {"token": "xoxb-canary-of-incidents", "channel": "#all"},
                    "webhooks": [{"name": "ops", "url": "http://127.0.0.1:1/", "secret": "canary-of-a-hook"}],
                    "routes": routes,
                }
            )
        )
        voice = Voice(channels=("slack",), routing=routing, gather=timedelta(seconds=gather), **words)
        opened.append(Store.open(state_dir=place.state_dir, database=place.database, voice=voice))
        return opened[-1]

    yield open_
    for each in opened:
        each.close()


def put(store: Store, check: CheckResult, channels: Sequence[str] = ("slack",)) -> list[str]:
    declaration = StackDeclaration(id=check.stack)
    recorded = store.record_check(check, declaration=declaration, channels=list(channels))
    return [str(each.kind) for each in recorded.announcements]


def incident(store: Store, number: int = 1) -> Incident:
    found = store.incident(number)
    assert found is not None
    return found


def sizes(store: Store) -> list[tuple[int, int]]:
    """How many stacks each incident is about, and in how many of them it goes on; the oldest first."""
    return [(each.total, each.open) for each in reversed(store.incidents(open_only=False).items)]


def send(store: Store, at: datetime = LATER, ts: str = "1.1") -> list[Message]:
    """Sends all that is due, a round after the other."""
    sent = []
    while due := store.due_messages(at=at, limit=100):
        for message in due:
            whole = store.whole_message(message, at=at)
            store.message_sent(whole.id, {"ts": f"{ts}.{whole.id}"}, at=at, carried=whole.carried)
            sent.append(whole)
    return sent


def sql(store: Store, statement: str, **values: Any) -> Any:
    def run(connection: Any) -> Any:
        answer = connection.execute(text(statement), values)
        return answer.all() if answer.returns_rows else None

    return store._database.write(run)


# ---- Who joins which -----------------------------------------------------------------------------------


def test_stacks_of_one_commit_join_however_much_later(store: Store) -> None:
    """A cause that is known to be the same has no time limit."""
    for number, minutes in enumerate((0, 5, 50_000), 1):
        put(store, result(number, waiting(), at=after(minutes)))
    assert sizes(store) == [(3, 3)]
    assert incident(store).opened_at == START


def test_what_is_only_taken_to_be_shared_joins_nearby_in_time(store: Store) -> None:
    """Each that joins keeps the door open for as long again; the moment itself still counts."""
    hour = NEARBY.total_seconds() / 60
    for number, minutes in enumerate((0, hour, 2 * hour, 3 * hour + 0.1), 1):
        put(store, result(number, finding(), at=after(minutes)))
    assert sizes(store) == [(3, 3), (1, 1)]


def test_a_check_that_comes_late_joins_and_does_not_shut_the_door(store: Store) -> None:
    put(store, result(1, finding(), at=after(50)))
    put(store, result(2, finding(), at=after(0)))
    put(store, result(3, finding(), at=after(109)))
    assert sizes(store) == [(3, 3)]


def test_nobody_joins_what_is_over(store: Store) -> None:
    """The same commit later is told anew: the next generation of its incident."""
    put(store, result(1, waiting()))
    put(store, result(1, at=after(1)))
    put(store, result(2, waiting(), at=after(2)))
    put(store, result(1, waiting(), at=after(3)))
    assert sizes(store) == [(1, 0), (2, 2)]
    assert (incident(store, 1).closed_at, incident(store, 2).closed_at) == (after(1), None)
    assert [row.generation for row in sql(store, "SELECT generation FROM incidents ORDER BY id")] == [1, 2]


def test_a_stack_that_comes_back_is_one_line(store: Store) -> None:
    """Not two, of which one is over: three stacks are three."""
    for number in (1, 2, 3):
        put(store, result(number, waiting()))
    for round_ in range(1, 4):
        put(store, result(2, at=after(2 * round_)))
        assert sizes(store) == [(3, 2)]
        put(store, result(2, waiting(), at=after(2 * round_ + 1)))
        assert sizes(store) == [(3, 3)]
    lines = incident(store).lines
    assert sorted(line.announcement.stack for line in lines) == [str(stack_id(each)) for each in (1, 2, 3)]
    again = store.open_in(1, fingerprint=waiting().fingerprint)
    assert [each.stack for each in again] == [stack_id(1), stack_id(2), stack_id(3)]


def test_errors_of_machines_are_one_and_what_a_stack_did_wrong_is_its_own(store: Store) -> None:
    for number in (1, 2, 3):
        put(store, expired(number))
    for number in (4, 5):
        put(store, failure(number, message=f"no such file in {number}"))
    assert sizes(store) == [(3, 3), (1, 1), (1, 1)]
    assert [each.title for each in store.incidents().items] == [
        None,
        None,
        "checks fail: credentials_expired",
    ]


def test_drift_and_the_detector_are_told_apart_in_one_stack(store: Store) -> None:
    put(store, result(1, finding()))
    put(store, expired(1, at=after(1)))
    assert sizes(store) == [(1, 1), (1, 1)]
    assert [each.stack for each in store.open_in(1)] == [stack_id(1)]
    assert store.open_in(2) == []
    put(store, result(1, finding(), at=after(2)))
    assert sizes(store) == [(1, 1), (1, 0)]


def test_a_stack_that_is_removed_leaves_all_its_incidents(store: Store) -> None:
    store.sync_stacks("platform", [declared(number) for number in (1, 2)], START)
    for number in (1, 2):
        put(store, result(number, waiting(), finding(f"own.n{number}", actual=number)))
    assert sizes(store) == [(2, 2), (1, 1), (1, 1)] or sizes(store) == [(1, 1), (2, 2), (1, 1)]
    store.sync_stacks("platform", [declared(1)], after(5))
    still = {each.title: (each.total, each.open) for each in store.incidents().items}
    assert still == {
        f"commit {COMMIT.id[:10]} is not applied (Encrypt every queue, by Carol)": (2, 1),
        None: (1, 1),
    }
    store.sync_stacks("platform", [], after(6))
    assert store.incidents().items == []
    assert {each.closed_at for each in store.incidents(open_only=False).items} == {after(5), after(6)}
    store.sync_stacks("platform", [declared(1)], after(7))
    put(store, result(1, waiting(), at=after(8)))
    assert [each.total for each in store.incidents().items] == [1], "it begins anew"


def test_a_name_of_any_length_can_be_written(store: Store) -> None:
    """What a repository calls its variables must not make its checks unwritable."""
    letters = random.Random(7)  # noqa: S311  (no secret)
    name = "".join(letters.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=9000))
    moved = Movement(input=InputKind.VARIABLE, name=name)
    found = finding(causes=(Cause.INPUT_CHANGE,), evidence=Evidence(movements=(moved,)))
    inputs = Inputs(variable_digests={name: "0f0f"})
    for number in (1, 2):
        assert put(store, result(number, found, inputs=inputs)) == ["drift_found"]
    assert sizes(store) == [(2, 2)]
    assert (incident(store).title or "").endswith("has moved")


# ---- How it stands -------------------------------------------------------------------------------------


def test_the_worst_stacks_come_first_and_those_that_are_over_last(store: Store) -> None:
    """Sixty stacks are counted, fifty shown."""
    grades = list(Severity)
    for number in range(1, 61):
        put(store, result(number, waiting(severity=grades[number % 5])))
    for number in (5, 10, 4, 9):
        put(store, result(number, at=after(1)))
    found = incident(store)
    assert (found.total, found.open, len(found.lines)) == (60, 56, INCIDENT_LINES)
    ranks = [line.announcement.findings[0].severity.rank for line in found.lines]
    assert ranks == sorted(ranks, reverse=True)
    assert not any(line.over for line in found.lines)
    for number in range(11, 61):
        put(store, result(number, at=after(2)))
    found = incident(store)
    assert (found.total, found.open, len(found.lines)) == (60, 6, INCIDENT_LINES)
    assert [line.over for line in found.lines] == [False] * 6 + [True] * 44


def test_a_title_is_said_where_it_says_something(store: Store) -> None:
    """A commit by its name; a change by hand only where somebody else has it too."""
    put(store, result(1, waiting()))
    put(store, result(2, finding()))
    assert (incident(store, 1).title or "").startswith("commit ababababab")
    assert incident(store, 2).title is None
    put(store, result(3, finding()))
    assert incident(store, 2).title == "the same change by hand: cloud_firewall modified"


def test_what_was_seen_is_another_digest_with_every_change_of_what_is_open(store: Store) -> None:
    """Found, changed, put aside, back, resolved; what only one person looks after is the same for all."""

    def seen() -> str:
        return incident(store).seen

    digests = []
    put(store, result(1, waiting()))
    digests.append(seen())
    put(store, result(2, waiting("cloud_queue.other"), at=after(1)))
    digests.append(seen())
    put(store, result(2, waiting("cloud_queue.other", actual=5), at=after(2)))
    digests.append(seen())
    (_, second) = store.open_in(1)
    store.act(second.id, Press(action=Snooze(until=after(60)), actor="a", at=after(3)))
    digests.append(seen())
    assert digests[3] == digests[0], "what is left is what was there first"
    put(store, result(1, at=after(4)))
    digests.append(seen())
    assert len(set(digests)) == 4
    store.act(second.id, Press(action=Reopen(), actor="a", at=after(5)))
    assert seen() not in digests
    before = seen()
    store.act(second.id, Press(action=Acknowledge(), actor="a", at=after(6)))
    assert seen() == before
    put(store, expired(2, at=after(7)))
    assert seen() == before, "a failed check changes nothing"
    put(store, result(2, waiting("cloud_queue.other", actual=5), at=after(8)))
    assert seen() == before
    assert seen() == incidents.digest_of(each.fingerprint for each in store.open_in(1))


def test_findings_are_found_by_their_content_as_long_as_they_are_not_resolved(store: Store) -> None:
    put(store, result(1, waiting()))
    put(store, result(2, waiting(), waiting("cloud_queue.other")))
    one = waiting().fingerprint
    assert [each.stack for each in store.open_in(1, fingerprint=one)] == [stack_id(1), stack_id(2)]
    store.act(1, Press(action=Snooze(until=after(60)), actor="a", at=after(1)))
    assert [each.id for each in store.open_in(1)] == [2, 3]
    assert [each.id for each in store.open_in(1, fingerprint=one)] in ([1, 2], [1, 3])
    put(store, result(1, at=after(2)))
    assert [each.stack for each in store.open_in(1, fingerprint=one)] == [stack_id(2)]
    assert store.open_in(1, fingerprint="another") == []
    assert store.open_in(2, fingerprint=one) == []


def test_noise_and_other_stories_are_in_no_incident_of_theirs(store: Store) -> None:
    noise = finding("cloud_noise.it", counted=False, causes=(Cause.NOISE,))
    put(store, result(1, waiting(), finding(), noise))
    both = [store.open_in(number) for number in (1, 2)]
    assert sorted(len(each) for each in both) == [1, 1]
    assert store.open_in(1, fingerprint=noise.fingerprint) == []


def test_no_incident_has_no_findings(store: Store) -> None:
    for number in (7, 0, -1, HUGE, -HUGE):
        assert store.open_in(number) == []
        assert store.open_in(number, fingerprint="f") == []


# ---- What goes out together ----------------------------------------------------------------------------


def test_what_waits_in_a_thread_goes_out_together(store: Store) -> None:
    for number in range(1, 8):
        put(store, result(number, waiting()))
    (message,) = store.due_messages(at=LATER, limit=9)
    whole = store.whole_message(message, at=LATER)
    assert [each.stack for each in whole.all_told] == [str(stack_id(number)) for number in range(1, 8)]
    assert whole.incident == incident(store)
    store.message_sent(whole.id, {"ts": "1"}, at=LATER, carried=whole.carried)
    assert store.outbox_depth() == {"waiting": 0, "dead": 0}
    put(store, result(8, waiting(), at=after(1)))
    (later,) = send(store)
    assert (later.anchor, len(later.all_told)) == ({"ts": "1"}, 1)


def test_more_than_fifty_go_out_in_several_messages_and_in_order(store: Store) -> None:
    for number in range(1, 121):
        put(store, result(number, waiting()))
    sent = send(store)
    assert [len(message.all_told) for message in sent] == [CARRIED, CARRIED, 20]
    told = [said.stack for message in sent for said in message.all_told]
    assert told == [str(stack_id(number)) for number in range(1, 121)]
    assert [message.anchor for message in sent[1:]] == [{"ts": f"1.1.{sent[0].id}"}] * 2


def test_a_batch_that_failed_is_tried_again_with_all_that_came_meanwhile(store: Store) -> None:
    for number in (1, 2, 3):
        put(store, result(number, waiting()))
    (message,) = store.due_messages(at=after(1), limit=9)
    store.message_failed(message.id, reason="503", retry_at=after(10))
    put(store, result(4, waiting(), at=after(2)))
    put(store, result(1, at=after(3)))
    assert store.due_messages(at=after(9), limit=9) == [], "nothing overtakes it"
    (again,) = store.due_messages(at=after(10), limit=9)
    assert (again.id, again.attempts) == (message.id, 1)
    whole = store.whole_message(again, at=after(10))
    assert [str(each.kind) for each in whole.all_told] == ["drift_found"] * 4 + ["resolved"]


def test_of_a_batch_that_is_refused_only_the_first_is_given_up(store: Store) -> None:
    for number in (1, 2, 3):
        put(store, result(number, waiting()))
    (message,) = store.due_messages(at=LATER, limit=9)
    store.message_failed(message.id, reason="msg_too_long", retry_at=None)
    assert store.outbox_depth() == {"waiting": 2, "dead": 1}
    (next_,) = send(store)
    assert [each.stack for each in next_.all_told] == [str(stack_id(2)), str(stack_id(3))]
    put(store, result(1, at=after(1)))
    (last,) = send(store)
    assert last.anchor == {"ts": f"1.1.{next_.id}"}


def test_the_first_message_waits_for_the_others(speaking: Callable[..., Store]) -> None:
    """From the end of the first check on, and only where others may come."""
    store = speaking(gather=10)
    put(store, result(1, waiting(), at=START, duration_seconds=300))
    assert store.due_messages(at=after(5) + timedelta(seconds=9), limit=9) == []
    put(store, result(2, waiting(), at=after(1), duration_seconds=245))
    (message,) = store.due_messages(at=after(5) + timedelta(seconds=10), limit=9)
    assert len(store.whole_message(message, at=after(6)).all_told) == 2
    put(store, result(3, finding(causes=(Cause.UNDETERMINED,)), at=after(1)))
    assert len(store.due_messages(at=after(1), limit=9)) == 1, "what is nobody else's goes at once"


def test_who_began_earlier_and_ended_later_does_not_break_off_the_gathering(
    speaking: Callable[..., Store],
) -> None:
    store = speaking(gather=60)
    put(store, result(1, waiting(), at=after(1), duration_seconds=1))
    put(store, result(2, waiting(), at=START, duration_seconds=90))
    assert store.due_messages(at=after(2), limit=9) == []
    (message,) = store.due_messages(at=after(2) + timedelta(seconds=1), limit=9)
    assert len(store.whole_message(message, at=after(3)).all_told) == 2


QUIET = {"channels": ["slack:#night"], "quiet_hours": {"from": "08:00", "to": "10:00"}}


def test_what_waits_for_the_morning_goes_with_what_cannot_wait(speaking: Callable[..., Store]) -> None:
    store = speaking(QUIET)
    put(store, result(1, waiting()))
    put(store, result(2, waiting(), at=after(1)))
    assert store.due_messages(at=after(119), limit=9) == []
    put(store, result(3, waiting(severity=Severity.CRITICAL), at=after(2)))
    (message,) = store.due_messages(at=after(2), limit=9)
    whole = store.whole_message(message, at=after(2))
    assert [each.stack[-1] for each in whole.all_told] == ["1", "2", "3"]
    put(store, result(4, finding(), at=after(3)))
    assert len(store.due_messages(at=after(4), limit=9)) == 1, "another thread sleeps on"
    assert len(store.due_messages(at=after(120), limit=9)) == 2


def test_what_waits_for_its_time_is_not_overtaken_within_a_batch(speaking: Callable[..., Store]) -> None:
    """One that is tried again carries those behind it up to the first whose time has not come."""
    store = speaking(QUIET, gather=60)
    put(store, result(1, waiting(severity=Severity.CRITICAL), at=after(100)))
    (first,) = store.due_messages(at=after(102), limit=9)
    store.message_failed(first.id, reason="503", retry_at=after(119.5))
    put(store, result(2, waiting(), at=after(103)))
    put(store, result(2, waiting(severity=Severity.CRITICAL, actual=1), at=after(119.4)))
    (first,) = store.due_messages(at=after(119.5), limit=9)
    whole = store.whole_message(first, at=after(119.5))
    assert [each.stack[-1] for each in whole.all_told] == ["1"]
    store.message_sent(whole.id, {"ts": "1"}, at=after(119.5), carried=whole.carried)
    assert store.due_messages(at=after(119.9), limit=9) == []
    (rest,) = send(store, at=after(120))
    assert [str(each.kind) for each in rest.all_told] == ["drift_found", "drift_changed"]


def test_what_a_person_did_is_told_only_to_who_was_told_of_it(speaking: Callable[..., Store]) -> None:
    store = speaking(
        {"channels": ["slack:#queues", "webhook:ops"], "stacks": ["*s001"]},
        {"channels": ["slack:#all"], "severity": "critical"},
        {"channels": [], "stacks": ["*s002"]},
    )
    put(store, result(1, waiting()))
    put(store, result(2, waiting()))
    assert {message.channel for message in send(store)} == {"slack:#queues", "webhook:ops"}
    for each in store.open_in(1):
        store.act(each.id, Press(action=Acknowledge(), actor="anna", at=after(1), reason="on it"))
    told = send(store)
    assert {message.channel for message in told} == {"slack:#queues", "webhook:ops"}
    assert {said.said for message in told for said in message.all_told} == {
        "anna looks after cloud_queue.jobs: on it"
    }
    assert all(said.stack == str(stack_id(1)) for message in told for said in message.all_told)


# ---- Pruning -------------------------------------------------------------------------------------------


def test_the_anchor_of_an_open_incident_stays_however_old_it_is(store: Store) -> None:
    put(store, result(1, waiting()))
    put(store, result(2, waiting(), at=after(1)))
    (first,) = send(store, at=after(2))
    put(store, result(1, at=after(3)))
    send(store, at=after(4))
    assert store.prune_messages(after(1000)) == 0
    put(store, result(2, at=after(2000)))
    assert store.prune_messages(after(1000)) == 0, "its end is not sent yet"
    (last,) = send(store, at=after(2001))
    assert last.anchor == {"ts": f"1.1.{first.id}"}
    assert store.prune_messages(after(1000)) == 0
    assert store.incident(1) is not None
    assert store.prune_messages(after(3000)) == 4
    assert store.incident(1) is None
    assert sql(store, "SELECT count(*) FROM incident_members")[0][0] == 0


def test_an_end_that_waits_for_months_keeps_its_episode(store: Store) -> None:
    put(store, result(1, waiting()))
    send(store, at=after(1))
    put(store, result(1, at=after(2)))
    assert store.prune_messages(after(5000)) == 0
    (end,) = send(store, at=after(5000))
    assert end.anchor is not None
    assert store.prune_messages(after(5000)) == 2


def test_what_was_told_to_nobody_is_pruned_once_it_is_over(store: Store) -> None:
    put(store, result(1, waiting()), channels=[])
    put(store, result(2, waiting(commit=replace(COMMIT, id="cd" * 20))), channels=[])
    put(store, result(1, at=after(1)), channels=[])
    store.prune_messages(after(10))
    assert [each.id for each in store.incidents(open_only=False).items] == [2]


def test_many_incidents_are_pruned_at_once(store: Store) -> None:
    """More than a statement takes ids."""

    def fill(connection: Any) -> None:
        connection.execute(
            text(
                "INSERT INTO incidents (key, generation, opened_at, joined_at, closed_at)"
                " VALUES (:key, 1, :at, :at, :at)"
            ),
            [
                {"key": f"k{number}", "at": START if store_is_postgres(connection) else str(START)[:26]}
                for number in range(1300)
            ],
        )

    store._database.write(fill)
    store.prune_messages(after(1))
    assert store.incidents(open_only=False).items == []


def store_is_postgres(connection: Any) -> bool:
    return bool(connection.dialect.name == "postgresql")


# ---- Several at once -----------------------------------------------------------------------------------


def test_many_threads_with_one_cause_make_one_incident(place: Place) -> None:
    """Two processes' stores where the database may be shared; no check is lost, nothing hangs."""
    count = 2 if place.database else 1
    stores = [place.open(patience=20) for _ in range(count)]
    ready = threading.Barrier(24)
    problems: list[BaseException] = []

    def work(number: int) -> None:
        store = stores[number % count]
        try:
            ready.wait(30)
            put(store, result(number, waiting(), finding(), at=after(number / 100)))
            put(store, expired(number, at=after(1 + number / 100)))
            put(store, result(number, waiting(), at=after(2 + number / 100)))
        except BaseException as problem:
            problems.append(problem)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    found = {each.title: (each.total, each.open, each.closed_at is None) for each in all_of(stores[0])}
    assert found.pop(f"commit {COMMIT.id[:10]} is not applied (Encrypt every queue, by Carol)") == (
        24,
        24,
        True,
    )
    assert all(is_open == 0 and not unclosed for _, is_open, unclosed in found.values())
    totals = [(each.title, each.total) for each in all_of(stores[0]) if each.closed_at]
    assert sum(total for _, total in totals) >= 48, "each stack was in both of the others"
    for store in stores:
        store.close()


def all_of(store: Store) -> Sequence[Incident]:
    return store.incidents(open_only=False, limit=1000).items


@pytest.mark.parametrize("joins_first", [True, False])
def test_an_incident_is_not_closed_under_who_joins_it(place: Place, *, joins_first: bool) -> None:
    """The last stack leaves while another comes: whoever is first, nobody is left in what is closed."""
    if place.database is None:
        pytest.skip("SQLite's writers come one after the other")
    store = place.open()
    put(store, result(1, waiting()))
    put(store, result(2, at=START))
    leaves, joins = result(1, at=after(1)), result(2, waiting(), at=after(1))
    first, second = (joins, leaves) if joins_first else (leaves, joins)
    done, commit = threading.Event(), threading.Event()

    def hold(connection: Any) -> None:
        record = checks.record
        record(
            connection,
            first,
            declaration=StackDeclaration(id=first.stack),
            voice=Voice(channels=("slack",)),
            job=None,
            late=False,
            flapping=store._flapping,
        )
        done.set()
        assert commit.wait(30)

    one = threading.Thread(target=store._database.write, args=(hold,))
    two = threading.Thread(target=put, args=(store, second))
    one.start()
    assert done.wait(30)
    two.start()
    two.join(0.3)
    commit.set()
    one.join(30)
    two.join(30)
    for each in all_of(store):
        assert (each.open > 0) == (each.closed_at is None)
    assert sum(each.open for each in all_of(store)) == 1
    store.close()


def test_a_stack_may_be_removed_while_others_join(place: Place) -> None:
    store = place.open(patience=20)
    everything = [declared(number) for number in range(1, 17)]
    store.sync_stacks("platform", everything, START)
    for number in range(1, 9):
        put(store, result(number, waiting(), finding()))
    problems: list[BaseException] = []

    def come(number: int) -> None:
        try:
            put(store, result(number, waiting(), finding(), at=after(1)))
        except BaseException as problem:
            problems.append(problem)
            raise

    threads = [threading.Thread(target=come, args=(number,)) for number in range(9, 17)]
    threads.append(threading.Thread(target=store.sync_stacks, args=("platform", everything[8:], after(1))))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    for each in all_of(store):
        assert (each.open > 0) == (each.closed_at is None)
    assert sum(each.open for each in all_of(store)) == 16
    store.close()


def test_who_speaks_of_a_stack_holds_it(place: Place) -> None:
    """Checks and presses on one stack come one after the other: each tells what is news after the last."""
    stores = [place.open(patience=20) for _ in range(2 if place.database else 1)]
    put(stores[0], result(1, waiting(), waiting("cloud_queue.other")))
    problems: list[BaseException] = []

    def work(number: int) -> None:
        store = stores[number % len(stores)]
        try:
            if number % 3 == 0:
                press = Press(action=Snooze(until=after(500)), actor="a", at=after(number))
                store.act_on_all({each.id: each.fingerprint for each in store.open_in(1)}, press)
            else:
                put(
                    store,
                    result(1, waiting(actual=number % 4), waiting("cloud_queue.other"), at=after(number)),
                )
        except BaseException as problem:
            problems.append(problem)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    last = result(1, waiting(actual=9), waiting("cloud_queue.other"), at=after(100))
    assert put(stores[0], last) == ["drift_changed"]
    assert put(stores[0], replace(last, started_at=after(101))) == []
    assert sizes(stores[0]) == [(1, 1)]
    told = [str(each.kind) for message in send(stores[0]) for each in message.all_told]
    assert (told[0], told.count("drift_found")) == ("drift_found", 1)
    for store in stores:
        store.close()


# ---- Any history ---------------------------------------------------------------------------------------

SORTS: dict[str, tuple[tuple[Cause, ...], Evidence]] = {
    "hand": ((Cause.OUT_OF_BAND,), Evidence()),
    "commit": ((Cause.UNAPPLIED_COMMIT,), Evidence(commits=(COMMIT,))),
    "both": ((Cause.UNAPPLIED_COMMIT, Cause.OUT_OF_BAND), Evidence(commits=(COMMIT,))),
}
FLEET = (1, 2, 3)
FOUND = st.builds(
    lambda name, actual, sort: finding(
        f"cloud_queue.{name}", actual=actual, causes=SORTS[sort][0], evidence=SORTS[sort][1]
    ),
    st.sampled_from("ab"),
    st.integers(1, 2),
    st.sampled_from(list(SORTS)),
)
CHECKS = st.tuples(
    st.just("check"),
    st.sampled_from(FLEET),
    st.lists(FOUND, max_size=2, unique_by=lambda each: each.address),
)
OTHERS = st.one_of(
    st.tuples(st.just("fail"), st.sampled_from(FLEET)),
    st.tuples(st.just("press"), st.integers(0, 5), st.sampled_from([Acknowledge(), "snooze"])),
    st.tuples(st.just("declare"), st.sets(st.sampled_from(FLEET), min_size=1)),
    st.tuples(st.just("minutes"), st.sampled_from([30, 90, 2000])),
    st.tuples(st.just("deliver"), st.booleans()),
)


class Fleet:
    """Three stacks, and a channel that sometimes takes messages."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = START
        self.sent: dict[str, list[Message]] = {}
        self.declare(set(FLEET))

    def check(self, number: int, found: Sequence[Finding]) -> None:
        put(self.store, result(number, *found, at=self.now))

    def fail(self, number: int) -> None:
        put(self.store, expired(number, at=self.now))

    def press(self, place: int, action: Any) -> None:
        waiting = self.store.findings(statuses=[each for each in FindingStatus if each.is_open]).items
        if not waiting:
            return
        chosen = waiting[place % len(waiting)]
        wanted = Snooze(until=self.now + timedelta(minutes=60)) if action == "snooze" else action
        self.store.act(chosen.id, Press(action=wanted, actor="anna", at=self.now))

    def declare(self, numbers: set[int]) -> None:
        self.store.sync_stacks("platform", [declared(number) for number in sorted(numbers)], self.now)

    def minutes(self, span: int) -> None:
        self.now += timedelta(minutes=span)
        self.store.reopen_ended(at=self.now, channels=["slack"])

    def deliver(self, works: bool) -> None:
        for message in self.store.due_messages(at=self.now, limit=100):
            if not works:
                self.store.message_failed(message.id, reason="503", retry_at=self.now + timedelta(minutes=5))
                continue
            whole = self.store.whole_message(message, at=self.now)
            earlier = self.sent.setdefault(whole.thread, [])
            assert (whole.anchor is None) == (not earlier), "the first message is the anchor of its thread"
            receipt = {"ts": str(whole.id)}
            self.store.message_sent(whole.id, receipt, at=self.now, carried=whole.carried)
            earlier.append(whole)

    def what_is_open_is_in_one_incident(self) -> None:
        places: list[int] = []
        for each in all_of(self.store):
            assert (each.closed_at is None) == (each.open > 0)
            assert len({line.announcement.stack for line in each.lines}) == each.total == len(each.lines)
            found = self.store.open_in(each.id)
            assert each.seen == incidents.digest_of(one.fingerprint for one in found)
            places += [one.id for one in found]
        waiting = self.store.findings(statuses=[each for each in FindingStatus if each.is_open]).items
        assert sorted(places) == sorted(each.id for each in waiting)

    def all_was_told_once_and_in_order(self) -> None:
        self.minutes(10)
        while self.store.due_messages(at=self.now, limit=1):
            self.deliver(works=True)
        assert self.store.outbox_depth() == {"waiting": 0, "dead": 0}
        for thread in self.sent.values():
            ids = [each for message in thread for each in (message.id, *message.carried)]
            assert ids == sorted(set(ids))


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(history=st.lists(CHECKS | CHECKS | OTHERS, max_size=20))
def test_in_any_history_what_is_open_is_in_one_incident_and_told_in_one_thread(
    sqlite_place: Place, upgraded_file: Path, history: list[tuple[Any, ...]]
) -> None:
    state = sqlite_place.state_dir / "each"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(mode=0o700)
    shutil.copy(upgraded_file, state)
    store = Store.open(state_dir=state, database=None, voice=Voice(channels=("slack",)))
    try:
        fleet = Fleet(store)
        for what, *how in history:
            fleet.now += timedelta(minutes=1)
            getattr(fleet, what)(*how)
            fleet.what_is_open_is_in_one_incident()
        fleet.all_was_told_once_and_in_order()
    finally:
        store.close()
