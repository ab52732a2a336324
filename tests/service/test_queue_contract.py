"""What the daemon relies on the queue for, held by the double and by the real store alike."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from service_doubles import MORNING, fleet

from driftwatch.errors import UnknownStackError
from driftwatch.model import Job, JobState, StackId, Trigger

if TYPE_CHECKING:
    from datetime import datetime

    from service_doubles import MemoryStore, SqliteStore

LEASE = timedelta(minutes=1)
ONE, TWO, THREE = fleet(3)


class Desk:
    """The queue at one moment, in short words."""

    def __init__(self, store: MemoryStore | SqliteStore) -> None:
        self.store = store
        self.at: datetime = MORNING
        store.declare([ONE, TWO, THREE])

    def put(self, stack: StackId, trigger: Trigger = Trigger.SCHEDULE, by: str | None = None) -> None:
        self.store.enqueue(stack, trigger, requested_by=by, at=self.at)

    def take(self, node: str = "here") -> Job | None:
        return self.store.claim(node, at=self.at, lease=LEASE)

    def renew(self, job: Job) -> bool:
        return self.store.renew(job, at=self.at, lease=LEASE)

    def finish(self, job: Job, state: JobState = JobState.DONE) -> None:
        self.store.finish(job, state, at=self.at)

    def depth(self) -> tuple[int, int]:
        depth = self.store.queue_depth()
        return depth[JobState.QUEUED], depth[JobState.RUNNING]


@pytest.fixture
def desk(queue: MemoryStore | SqliteStore) -> Desk:
    return Desk(queue)


def test_manual_goes_before_commit_before_schedule(desk: Desk) -> None:
    desk.put(ONE, Trigger.SCHEDULE)
    desk.put(TWO, Trigger.COMMIT)
    desk.put(THREE, Trigger.MANUAL, by="ana")
    taken = [desk.take() for _ in range(3)]
    assert [(job.stack, job.requested_by) for job in taken] == [(THREE, "ana"), (TWO, None), (ONE, None)]
    assert desk.take() is None


def test_within_one_rank_it_is_first_come_first_served(desk: Desk) -> None:
    for one in (TWO, THREE, ONE):
        desk.put(one)
    assert [desk.take().stack for _ in range(3)] == [TWO, THREE, ONE]


def test_a_stack_waits_once_and_takes_over_the_higher_rank(desk: Desk) -> None:
    desk.put(ONE)
    desk.put(TWO)
    desk.put(TWO, Trigger.MANUAL, by="ana")
    desk.put(TWO)
    assert desk.depth() == (2, 0)
    job = desk.take()
    assert (job.stack, job.trigger, job.requested_by) == (TWO, Trigger.MANUAL, "ana")


def test_a_stack_never_runs_twice_at_once(desk: Desk) -> None:
    desk.put(ONE)
    running = desk.take()
    desk.put(ONE, Trigger.MANUAL)
    assert desk.take("elsewhere") is None
    desk.finish(running)
    assert desk.take("elsewhere").stack == ONE


def test_only_the_holder_renews(desk: Desk) -> None:
    desk.put(ONE)
    job = desk.take()
    assert desk.renew(job)
    desk.finish(job)
    assert not desk.renew(job)


def test_an_interrupted_job_is_queued_again_in_one_step(desk: Desk) -> None:
    desk.put(ONE, Trigger.MANUAL, by="ana")
    desk.put(TWO, Trigger.COMMIT)
    job = desk.take()
    desk.finish(job, JobState.INTERRUPTED)
    assert desk.depth() == (2, 0)
    again = desk.take()
    assert (again.stack, again.requested_by, again.attempts) == (ONE, "ana", 1)
    assert again.token > job.token


def test_finishing_what_is_done_changes_nothing(desk: Desk) -> None:
    desk.put(ONE)
    job = desk.take()
    desk.finish(job)
    desk.finish(job, JobState.INTERRUPTED)
    assert desk.depth() == (0, 0)


def test_what_runs_on_a_node_that_starts_anew_is_queued_again(desk: Desk) -> None:
    desk.put(ONE)
    desk.put(TWO)
    mine = desk.take("here")
    theirs = desk.take("there")
    assert desk.store.recover(node="here", at=desk.at) == 1
    assert not desk.renew(mine)
    assert desk.renew(theirs)
    again = desk.take("here")
    assert (again.stack, again.attempts, again.trigger) == (ONE, 2, Trigger.RETRY)


def test_what_is_not_renewed_is_queued_again(desk: Desk) -> None:
    desk.put(ONE)
    late = desk.take("there")
    desk.at += LEASE
    assert desk.store.recover(node=None, at=desk.at) == 0
    desk.at += timedelta(seconds=1)
    assert desk.store.recover(node=None, at=desk.at) == 1
    assert desk.take("here").token > late.token
    assert not desk.renew(late)


def test_what_kills_its_worker_each_time_is_given_up(desk: Desk) -> None:
    desk.put(ONE)
    for attempt in (1, 2, 3):
        assert desk.take("here").attempts == attempt
        assert desk.store.recover(node="here", at=desk.at) == 1
    assert desk.depth() == (0, 0)


def test_due_times_are_kept(desk: Desk) -> None:
    assert desk.store.due_times() == {ONE: None, TWO: None, THREE: None}
    desk.store.schedule({ONE: MORNING, THREE: MORNING + LEASE})
    desk.store.schedule({fleet(9)[8]: MORNING})
    assert desk.store.due_times() == {ONE: MORNING, TWO: None, THREE: MORNING + LEASE}


def test_a_stack_that_is_not_there_cannot_be_queued(desk: Desk) -> None:
    with pytest.raises(UnknownStackError):
        desk.put(fleet(9)[8])


def test_the_daily_is_not_starved_by_the_hourly(desk: Desk) -> None:
    """With too few workers every stack still gets its turn, though the others come again and again."""
    for one in (ONE, TWO, THREE):
        desk.put(one)
    turns = []
    while not turns or turns[-1] != THREE:
        job = desk.take()
        desk.finish(job)
        desk.put(job.stack)
        turns.append(job.stack)
    assert turns == [ONE, TWO, THREE]
