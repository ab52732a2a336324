"""Repositories and stacks: what is declared, due and healthy."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.model import ErrorReport, Health, StackDeclaration, StackId, Trigger
from tests.store.samples import LEASE, START, after, declared, failure, finding, result, stack_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from driftwatch.store import Store


@pytest.mark.row(31)
def test_a_failed_fetch_leaves_the_last_good_commit(store: Store) -> None:
    """Row 31 at the store: the last result stays, with the error beside it."""
    store.record_fetch("platform", url="u", branch="main", commit="a1", error=None, at=START)
    error = ErrorReport(code="remote_unreachable", message="https://bob:pw@git.example is gone")
    store.record_fetch("platform", url="u", branch="main", commit=None, error=error, at=after(1))
    (repository,) = store.repositories()
    assert (repository.commit, repository.last_good_at, repository.fetched_at) == ("a1", START, after(1))
    assert repository.error is not None
    assert repository.error.message == "https://[redacted]@git.example is gone"
    store.record_fetch("platform", url="u", branch="main", commit="b2", error=None, at=after(2))
    assert store.repositories()[0].error is None


def test_stacks_follow_what_is_declared(store: Store, record: Callable[..., Any]) -> None:
    synced = store.sync_stacks("platform", [declared(1), declared(2, owners=("@a",))], START)
    assert synced.added == (stack_id(1), stack_id(2))
    assert store.sync_stacks("platform", [declared(1), declared(2)], after(1)).added == ()
    assert [status.owners for status in store.stacks(now=START)] == [(), ()]
    record(result(1, finding()))
    synced = store.sync_stacks("platform", [declared(2, labels={"tier": "prod"})], after(2))
    assert (synced.added, synced.removed) == ((), (stack_id(1),))
    (left,) = store.stacks(now=START)
    assert (left.id, left.labels) == (stack_id(2), {"tier": "prod"})
    assert store.due_times() == {stack_id(2): None}


def test_another_repositorys_stacks_are_left_alone(store: Store) -> None:
    store.sync_stacks("platform", [declared(1)], START)
    assert store.sync_stacks("other", [], after(1)).removed == ()
    assert len(store.stacks(now=START)) == 1


@pytest.mark.row(80)
def test_a_removed_stack_ends_its_findings_as_removed_and_leaves_the_queue(
    store: Store, record: Callable[..., Any]
) -> None:
    """Row 80: a finding whose stack is gone ends as "stack_removed" and not as resolved by a check."""
    store.sync_stacks("platform", [declared(1)], START)
    record(result(1, finding()))
    store.enqueue(stack_id(1), Trigger.SCHEDULE, requested_by=None, at=START)
    store.sync_stacks("platform", [], after(3))
    (stored,) = store.findings().items
    assert (stored.status, stored.resolved_at, stored.resolution) == ("resolved", after(3), "stack_removed")
    assert store.claim("one", at=after(3), lease=LEASE) is None


def test_a_stack_that_comes_back_starts_anew(store: Store, record: Callable[..., Any]) -> None:
    store.sync_stacks("platform", [declared(1)], START)
    record(result(1, finding()))
    store.schedule({stack_id(1): after(15)})
    store.sync_stacks("platform", [], after(1))
    assert store.sync_stacks("platform", [declared(1)], after(2)).added == (stack_id(1),)
    assert store.due_times() == {stack_id(1): None}
    recorded = record(result(1, finding(), at=after(3)))
    assert [item.kind for item in recorded.announcements] == ["drift_found"]
    (stored,) = store.findings().items
    assert (stored.status, stored.first_seen) == ("reopened", START)


def test_due_times_survive_a_restart(place: Any) -> None:
    first = place.open()
    first.sync_stacks("platform", [declared(1), declared(2)], START)
    first.schedule({stack_id(1): after(15), stack_id(9): after(1)})
    first.close()
    second = place.open()
    assert second.due_times() == {stack_id(1): after(15), stack_id(2): None}
    assert second.stacks(now=START)[0].next_due_at == after(15)
    second.close()


def test_stacks_are_found_by_globs_over_their_ids(store: Store) -> None:
    workspace = StackId(repository="platform", path="envs/s001", workspace="blue")
    ids = [stack_id(1), stack_id(2), workspace]
    store.sync_stacks("platform", [declared(1), declared(2)], START)
    store.sync_stacks("platform", [declared(1), declared(2), StackDeclaration(id=workspace)], START)
    store.sync_stacks("apps", [StackDeclaration(id=StackId(repository="apps", path="web"))], START)

    def names(*patterns: str) -> list[StackId]:
        return [status.id for status in store.stacks(patterns, now=START)]

    assert names("platform/*") == [ids[0], ids[2], ids[1]]
    assert names("*@blue") == [workspace]
    assert names("apps/web", "platform/envs/s002") == [StackId(repository="apps", path="web"), ids[1]]
    assert names("nothing") == []


def test_a_directory_may_be_named_like_anothers_workspace(store: Store, record: Callable[..., Any]) -> None:
    directory = StackId(repository="platform", path="envs/a@blue")
    workspace = StackId(repository="platform", path="envs/a", workspace="blue")
    assert str(directory) == str(workspace)
    both = [StackDeclaration(id=directory), StackDeclaration(id=workspace)]
    assert store.sync_stacks("platform", both, START).added == (directory, workspace)
    store.schedule({directory: after(1), workspace: after(2)})
    assert store.due_times() == {directory: after(1), workspace: after(2)}
    record(result(stack=workspace))
    assert (store.baseline(directory), store.baseline(workspace) is None) == (None, False)


def test_health_says_fresh_stale_or_blind_and_why(store: Store, record: Callable[..., Any]) -> None:
    store.sync_stacks("platform", [declared(number) for number in (1, 2, 3, 4)], START)
    record(result(1, at=after(50)))
    record(result(2, at=START))
    record(failure(3, at=after(50)))

    def allowed(stack: StackId) -> timedelta:
        return timedelta(minutes=45)

    fresh, stale, blind, new = store.stacks(now=after(60), allowed_age=allowed)
    assert (fresh.health, fresh.health_reason) == (Health.FRESH, None)
    assert stale.health is Health.STALE
    assert stale.health_reason == "no good check for 1h, allowed are 45m"
    assert (blind.health, blind.health_reason) == (Health.BLIND, "terraform plan failed")
    assert (new.health, new.health_reason) == (Health.STALE, "not checked yet")


def test_a_thousand_stacks_are_listed_in_under_50_ms(store: Store) -> None:
    """The best of some runs, in processor time: the machine's other work is not the store's."""
    store.sync_stacks("platform", [declared(number) for number in range(1000)], START)
    took = []
    for _ in range(9):
        begun = time.process_time()
        assert len(store.stacks(now=START)) == 1000
        took.append(time.process_time() - begun)
    assert min(took) < 0.05
