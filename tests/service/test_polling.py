"""Repositories are refreshed side by side, none twice at once, and none stops the others."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Never

import pytest
from service_doubles import Clock, Refreshed, ScriptedWork, eventually, stack

from driftwatch.errors import StoreUnavailableError
from driftwatch.model import ErrorReport, JobState, Trigger
from driftwatch.service.intake import Intake
from driftwatch.service.polling import POLLERS, Pollers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from service_doubles import Lines, MemoryStore


class Estate:
    """Pollers on scripted work."""

    def __init__(self, store: MemoryStore, repositories: Sequence[str]) -> None:
        self.store = store
        self.work = ScriptedWork(store)
        self.intake = Intake(store, store, clock=Clock(), on_queued=lambda: None)
        self.refreshed = threading.Semaphore(0)
        self.pollers = Pollers(
            self.work, self.intake, repositories=repositories, on_refreshed=self.refreshed.release
        )

    def __enter__(self) -> Self:
        self.pollers.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.pollers.close()
        self.pollers.join(timedelta(seconds=5))


@pytest.mark.row(31)
def test_a_hung_remote_does_not_stop_the_others(memory: MemoryStore) -> None:
    """Row 31: while one remote never answers, the others are polled, again and again."""
    answer = threading.Event()

    def refresh(repository: str) -> Refreshed:
        if repository == "hung":
            answer.wait(10)
        return Refreshed()

    with Estate(memory, ["hung", "a", "b"]) as estate:
        estate.work.on_refresh = refresh
        for _ in range(3):
            for name in ("hung", "a", "b"):
                estate.pollers.poll(name)
            assert estate.refreshed.acquire(timeout=5)
            assert estate.refreshed.acquire(timeout=5)
        assert sorted(estate.work.refreshed) == ["a", "a", "a", "b", "b", "b", "hung"]
        assert not estate.pollers.is_idle()
        answer.set()
        assert eventually(estate.pollers.is_idle)


def test_touched_stacks_are_to_be_checked_because_of_the_commit(memory: MemoryStore) -> None:
    one = stack("one")
    memory.declare([one])
    with Estate(memory, ["platform"]) as estate:
        estate.work.on_refresh = lambda _: Refreshed(touched=(one,))
        estate.pollers.poll("platform")
        assert estate.refreshed.acquire(timeout=5)
    estate.intake.pay()
    assert [(job.stack, job.trigger) for job in memory.jobs(JobState.QUEUED)] == [(one, Trigger.COMMIT)]


def test_how_a_repository_is_can_be_asked(memory: MemoryStore) -> None:
    error = ErrorReport(code="remote_unreachable", message="no answer")
    with Estate(memory, ["platform"]) as estate:
        assert estate.pollers.errors == {}
        estate.work.on_refresh = lambda _: Refreshed(error=error)
        estate.pollers.poll("platform")
        assert estate.refreshed.acquire(timeout=5)
        assert estate.pollers.errors == {"platform": error}


@pytest.mark.row(46)
def test_polling_goes_on_while_the_store_is_away(memory: MemoryStore, lines: Lines) -> None:
    """Row 46: a refresh that cannot be recorded is tried again at the next poll, and said once."""

    def away(_: str) -> Never:
        raise StoreUnavailableError("the database is away")

    with Estate(memory, ["platform"]) as estate:
        estate.work.on_refresh = away
        for _ in range(3):
            estate.pollers.poll("platform")
            assert estate.refreshed.acquire(timeout=5)
        assert estate.pollers.outages()[0].error is not None
        estate.work.on_refresh = lambda _: Refreshed()
        estate.pollers.poll("platform")
        assert estate.refreshed.acquire(timeout=5)
        assert estate.pollers.outages()[0].error is None
    assert [line["action"] for line in lines] == ["outage", "recovered"]


def test_the_pool_is_bounded(memory: MemoryStore) -> None:
    names = [f"r{number}" for number in range(POLLERS + 5)]
    inside, most, lock, gate = [], [], threading.Lock(), threading.Event()

    def refresh(repository: str) -> Refreshed:
        with lock:
            inside.append(repository)
            most.append(len(inside))
        gate.wait(5)
        with lock:
            inside.remove(repository)
        return Refreshed()

    with Estate(memory, names) as estate:
        estate.work.on_refresh = refresh
        for name in names:
            estate.pollers.poll(name)
        assert eventually(lambda: len(inside) == POLLERS)
        gate.set()
        assert eventually(estate.pollers.is_idle)
    assert max(most) == POLLERS
    assert sorted(estate.work.refreshed) == sorted(names)


def test_news_during_a_refresh_have_the_remote_asked_once_more(memory: MemoryStore) -> None:
    """The one under way may have asked before the push was there; a hundred such news are one more."""
    asked, answer = threading.Semaphore(0), threading.Semaphore(0)

    def refresh(_: str) -> Refreshed:
        asked.release()
        assert answer.acquire(timeout=5)
        return Refreshed()

    with Estate(memory, ["platform"]) as estate:
        estate.work.on_refresh = refresh
        estate.pollers.poll("platform")
        assert asked.acquire(timeout=5)
        estate.pollers.poll("platform")
        for _ in range(100):
            estate.pollers.poll("platform", news=True)
        answer.release()
        assert asked.acquire(timeout=5)
        answer.release()
        assert eventually(estate.pollers.is_idle)
        assert estate.work.refreshed == ["platform"] * 2
