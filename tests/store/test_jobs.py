"""The queue: never two of one stack, never one twice, nothing lost with its worker."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.errors import UnknownStackError
from driftwatch.model import JobState, Trigger
from tests.store.samples import LEASE, START, after, declared, failure, finding, result, stack_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from driftwatch.model import Job
    from driftwatch.store import Enqueued, Store
    from tests.store.conftest import Place

WORKER = Path(__file__).with_name("worker.py")


@pytest.fixture
def fleet(store: Store) -> Store:
    store.sync_stacks("platform", [declared(number) for number in range(1, 5)], START)
    return store


def queue(store: Store, number: int, trigger: Trigger = Trigger.SCHEDULE, by: str | None = None) -> Enqueued:
    return store.enqueue(stack_id(number), trigger, requested_by=by, at=START)


def claim(store: Store, *, at: float = 0, node: str = "one") -> Job | None:
    return store.claim(node, at=after(at), lease=LEASE)


def must_claim(store: Store, **words: Any) -> Job:
    job = claim(store, **words)
    assert job is not None
    return job


def test_a_stack_is_queued_once_and_the_stronger_reason_wins(fleet: Store) -> None:
    first = queue(fleet, 1)
    again = queue(fleet, 1, Trigger.MANUAL, by="ann")
    weaker = queue(fleet, 1, Trigger.COMMIT)
    assert first.created
    assert (again.job_id, again.created) == (weaker.job_id, weaker.created) == (first.job_id, False)
    job = must_claim(fleet)
    assert (job.trigger, job.requested_by) == (Trigger.MANUAL, "ann")
    assert claim(fleet) is None


def test_manual_goes_before_commit_before_schedule_and_then_first_come_first_served(fleet: Store) -> None:
    queue(fleet, 1)
    queue(fleet, 2, Trigger.COMMIT)
    queue(fleet, 3, Trigger.MANUAL)
    queue(fleet, 4)
    order = [must_claim(fleet).stack for _ in range(4)]
    assert order == [stack_id(3), stack_id(2), stack_id(1), stack_id(4)]


def test_a_running_stack_may_be_queued_once_more_and_waits_for_its_turn(fleet: Store) -> None:
    queue(fleet, 1)
    running = must_claim(fleet)
    assert queue(fleet, 1, Trigger.MANUAL).created
    assert claim(fleet) is None
    assert fleet.queue_depth() == {JobState.QUEUED: 1, JobState.RUNNING: 1}
    fleet.finish(running, JobState.DONE, at=after(1))
    second = must_claim(fleet)
    assert second.token > running.token


def test_a_stack_that_nobody_declared_cannot_be_queued(fleet: Store) -> None:
    with pytest.raises(UnknownStackError, match="platform/envs/s099"):
        queue(fleet, 99)


def test_a_recorded_check_ends_its_job(fleet: Store, record: Callable[..., Any]) -> None:
    queue(fleet, 1)
    record(result(1, finding()), job=must_claim(fleet))
    assert fleet.queue_depth() == {JobState.QUEUED: 0, JobState.RUNNING: 0}
    assert fleet.recover(node="one", at=after(60)) == 0


def test_a_lease_that_is_renewed_lasts(fleet: Store) -> None:
    queue(fleet, 1)
    job = must_claim(fleet)
    assert fleet.renew(job, at=after(4), lease=LEASE)
    assert fleet.recover(node=None, at=after(6)) == 0
    assert fleet.recover(node=None, at=after(10)) == 1
    assert not fleet.renew(job, at=after(10), lease=LEASE)


@pytest.mark.row(1)
def test_a_restart_takes_back_what_the_node_was_running_once(fleet: Store) -> None:
    """Row 1 at the store: the run is interrupted and its stack queued once."""
    queue(fleet, 1, Trigger.MANUAL, by="ann")
    queue(fleet, 2)
    first, other = must_claim(fleet), must_claim(fleet, node="two")
    assert fleet.recover(node="one", at=after(1)) == 1
    assert fleet.recover(node="one", at=after(1)) == 0
    retry = must_claim(fleet)
    assert (retry.stack, retry.trigger, retry.requested_by) == (first.stack, Trigger.RETRY, "ann")
    assert (retry.attempts, retry.id == first.id) == (2, False)
    assert fleet.renew(other, at=after(1), lease=LEASE)


def test_a_retry_keeps_the_rank_of_what_it_repeats(fleet: Store) -> None:
    queue(fleet, 1, Trigger.MANUAL)
    must_claim(fleet)
    queue(fleet, 2, Trigger.COMMIT)
    fleet.recover(node="one", at=after(1))
    assert must_claim(fleet).stack == stack_id(1)


@pytest.mark.row(45)
def test_what_kills_its_worker_three_times_is_given_up_and_told(
    fleet: Store, record: Callable[..., Any]
) -> None:
    """Row 45 at the store: a poisoned job ends as failed, and the others run."""
    queue(fleet, 1)
    for attempt in (1, 2, 3):
        assert must_claim(fleet).attempts == attempt
        assert fleet.given_up() == []
        fleet.recover(node="one", at=after(attempt))
    assert claim(fleet) is None
    (job,) = fleet.given_up()
    assert (job.stack, job.attempts) == (stack_id(1), 3)
    record(failure(1, at=after(9)), job=job)
    assert fleet.given_up() == []
    queue(fleet, 1)
    assert must_claim(fleet).attempts == 1


def test_a_queued_job_stands_for_the_retry_and_inherits_its_attempts(fleet: Store) -> None:
    queue(fleet, 1)
    must_claim(fleet)
    waiting = queue(fleet, 1, Trigger.COMMIT)
    fleet.recover(node="one", at=after(1))
    job = must_claim(fleet)
    assert (job.id, job.trigger, job.attempts) == (waiting.job_id, Trigger.COMMIT, 2)
    assert claim(fleet) is None


def test_an_interrupted_job_is_queued_again_and_may_be_tried_as_often(fleet: Store) -> None:
    queue(fleet, 1)
    for _ in range(5):
        job = must_claim(fleet)
        assert job.attempts == 1
        fleet.finish(job, JobState.INTERRUPTED, at=after(1))
    assert fleet.queue_depth()[JobState.QUEUED] == 1


def test_finishing_what_is_no_longer_ones_own_has_no_effect(fleet: Store) -> None:
    queue(fleet, 1)
    late = must_claim(fleet)
    fleet.recover(node="one", at=after(1))
    current = must_claim(fleet, at=1)
    fleet.finish(late, JobState.FAILED, at=after(2))
    assert fleet.renew(current, at=after(2), lease=LEASE)


def test_a_result_that_nobody_overtook_makes_its_retry_needless(
    fleet: Store, record: Callable[..., Any]
) -> None:
    queue(fleet, 1)
    job = must_claim(fleet)
    fleet.recover(node=None, at=after(6))
    record(result(1, finding()), job=job, late=True)
    assert claim(fleet, at=7) is None
    assert fleet.queue_depth() == {JobState.QUEUED: 0, JobState.RUNNING: 0}


def test_many_threads_claim_each_job_once(store: Store) -> None:
    store.sync_stacks("platform", [declared(number) for number in range(40)], START)
    for number in range(40):
        queue(store, number)

    def work(name: int) -> list[int]:
        mine = []
        while job := claim(store, node=f"thread-{name}"):
            mine.append(job.id)
        return mine

    with ThreadPoolExecutor(6) as pool:
        claimed = [job for jobs in pool.map(work, range(6)) for job in jobs]
    assert len(claimed) == len(set(claimed)) == 40


def test_many_threads_queue_one_stack_once(fleet: Store) -> None:
    with ThreadPoolExecutor(6) as pool:
        queued = list(pool.map(lambda _: queue(fleet, 1), range(18)))
    assert len({item.job_id for item in queued}) == 1
    assert sum(item.created for item in queued) == 1


def start_worker(place: Place, node: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), str(place.state_dir), place.database or "", node, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def let_go(*workers: subprocess.Popen[str]) -> None:
    """Waits until all have opened the database, then lets them work."""
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()


@pytest.mark.row(42)
def test_two_processes_on_one_database_do_each_of_200_stacks_once(place: Place, store: Store) -> None:
    """Row 42: each job once, with both processes at it."""
    store.sync_stacks("platform", [declared(number) for number in range(200)], START)
    for number in range(200):
        queue(store, number)
    workers = [start_worker(place, node) for node in ("one", "two")]
    let_go(*workers)
    done = [worker.communicate(timeout=120)[0].split() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert all(done)
    assert sorted(done[0] + done[1]) == sorted(str(stack_id(number)) for number in range(200))
    assert all(status.verdict for status in store.stacks(now=START))
    assert store.outbox_depth()["waiting"] == 200


@pytest.mark.row(1)
def test_a_process_killed_at_any_moment_leaves_whole_transactions(place: Place, store: Store) -> None:
    """Row 1 at the store: kill -9 while it works; after the restart each stack is checked and told once."""
    store.sync_stacks("platform", [declared(number) for number in range(40)], START)
    for number in range(40):
        queue(store, number)
    for last in ("envs/s007", "envs/s019"):
        victim = start_worker(place, "one")
        let_go(victim)
        assert victim.stdout is not None
        while last not in victim.stdout.readline():
            """Until it is at that one."""
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
        store.recover(node="one", at=START)
    survivor = start_worker(place, "one")
    let_go(survivor)
    survivor.communicate(timeout=60)
    items = store.findings(limit=100).items
    assert len(items) == 40
    assert {len(store.finding_events(item.id)) for item in items} == {1}
    assert store.outbox_depth()["waiting"] == 40
    assert store.queue_depth() == {JobState.QUEUED: 0, JobState.RUNNING: 0}


@pytest.mark.row(42)
def test_what_a_killed_process_was_doing_is_taken_over_after_its_lease(place: Place, store: Store) -> None:
    """Row 42: kill one, and the other takes over when the lease is over, not before."""
    store.sync_stacks("platform", [declared(1)], START)
    queue(store, 1)
    victim = start_worker(place, "victim", "--hang")
    let_go(victim)
    assert victim.stdout is not None
    assert victim.stdout.readline().split() == [str(stack_id(1))]
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert store.recover(node=None, at=START + LEASE - timedelta(seconds=1)) == 0
    assert claim(store, node="other") is None
    assert store.recover(node=None, at=START + LEASE + timedelta(seconds=1)) == 1
    assert must_claim(store, node="other").attempts == 2
