"""Nothing grows for ever, and what is still spoken of stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from driftwatch.model import JobState, Trigger
from driftwatch.store.tables import CheckRow, JobRow, MessageRow
from tests.store.samples import LEASE, START, after, declared, failure, finding, result, stack_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from driftwatch.store import Store


def ids(store: Store, table: Any = CheckRow) -> list[int]:
    return store._database.read(
        lambda connection: list(connection.scalars(select(table.id).order_by(table.id)))
    )


def test_old_checks_go_but_for_the_last_the_last_good_and_those_that_findings_name(
    store: Store, record: Callable[..., Any]
) -> None:
    checks = [
        record(result(1, at=after(0))),
        record(result(1, at=after(1))),  # the baseline, and the last good one before the drift
        record(result(1, finding(), at=after(2))),  # opened
        record(result(1, finding(), at=after(3))),  # seen, until it was seen again
        record(result(1, finding(), at=after(4))),  # last seen, last good
        record(failure(1, at=after(5))),
        record(failure(1, at=after(6))),  # the latest
    ]
    kept = [checks[number].check_id for number in (1, 2, 4, 6)]
    assert store.prune_checks(after(60)) == 3
    assert ids(store) == kept
    assert store.prune_checks(after(60)) == 0
    recorded = record(result(1, at=after(61)))
    assert recorded.check_id > kept[-1]


def test_young_checks_stay(store: Store, record: Callable[..., Any]) -> None:
    for minutes in range(4):
        record(failure(1, at=after(minutes)))
    assert store.prune_checks(after(2)) == 2
    assert len(ids(store)) == 2


def test_runs_that_say_the_same_shrink_to_their_ends(store: Store, record: Callable[..., Any]) -> None:
    verdicts = [failure, failure, failure, result, result, failure, failure, failure, failure]
    checks = [record(make(1, at=after(minutes))).check_id for minutes, make in enumerate(verdicts)]
    record(failure(2, at=after(1)))
    assert store.coalesce_checks(after(60)) == 3
    kept = [checks[number] for number in (0, 2, 3, 4, 5, 8)]
    assert ids(store)[: len(kept)] == kept


def test_a_run_of_other_commits_is_no_repetition(store: Store, record: Callable[..., Any]) -> None:
    for minutes in range(4):
        record(result(1, at=after(minutes), commit=f"c{minutes}"))
    assert store.coalesce_checks(after(60)) == 0


def test_ended_jobs_go_and_open_ones_stay(store: Store, record: Callable[..., Any]) -> None:
    store.sync_stacks("platform", [declared(1), declared(2)], START)
    for number in (1, 2):
        store.enqueue(stack_id(number), Trigger.SCHEDULE, requested_by=None, at=START)
    job = store.claim("one", at=START, lease=LEASE)
    assert job is not None
    store.finish(job, JobState.FAILED, at=after(1))
    store.claim("one", at=START, lease=LEASE)
    assert store.prune_jobs(after(1)) == 0
    assert store.prune_jobs(after(2)) == 1
    assert len(ids(store, JobRow)) == 1


def test_old_messages_go_when_their_story_is_over(store: Store, record: Callable[..., Any]) -> None:
    record(result(1, finding()))
    record(result(1, at=after(1)))
    record(result(2, finding(actual=2)))
    record(result(3, finding(actual=3)))
    while messages := store.due_messages(at=after(9), limit=9):
        for message in messages:
            if message.announcement.stack != str(stack_id(3)):
                store.message_sent(message.id, {"ts": "1"}, at=after(9))
        if len(messages) == 1:
            break
    assert len(ids(store, MessageRow)) == 4
    assert store.prune_messages(after(1)) == 0
    assert store.prune_messages(after(60)) == 2
    assert len(ids(store, MessageRow)) == 2
    record(result(2, at=after(61)))
    whole = (store.whole_message(each, at=after(61)) for each in store.due_messages(at=after(61), limit=9))
    told = [message for message in whole if message.anchor]
    assert [message.announcement.kind for message in told] == ["resolved"]
