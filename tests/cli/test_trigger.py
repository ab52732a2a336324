"""Checks that are asked for at a terminal: queued once, and waited for where that is asked."""

from __future__ import annotations

import json
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.cli import trigger
from driftwatch.cli.clock import now
from driftwatch.errors import Exit
from driftwatch.model import (
    CheckResult,
    ErrorReport,
    JobState,
    Method,
    StackDeclaration,
    Trigger,
    Verdict,
)
from driftwatch.service import StateLock
from driftwatch.store import Store
from tests.cli.test_listings import drift

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from driftwatch.model import Job
    from tests.cli.conftest import Estate, Ran

COMMIT = "0f3d" * 10


@dataclass(slots=True)
class Daemon:
    """Takes jobs out of the database as a daemon does, and ends each as it is told to."""

    estate: Estate
    ends: dict[str, Verdict | JobState | None] = field(default_factory=dict)
    seen: list[Job] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        with closing(Store.open(state_dir=self.estate.state, database=None)) as store:
            while not stop.wait(0.02):
                job = store.claim("here", at=now(), lease=timedelta(minutes=1))
                if job is not None:
                    self.seen.append(job)
                    self.end(store, job, self.ends.get(job.stack.path, Verdict.IN_SYNC))

    def end(self, store: Store, job: Job, end: Verdict | JobState | None) -> None:
        if isinstance(end, JobState):
            store.finish(job, end, at=now())
        elif end is not None:
            error = ErrorReport(code="plan_failed", message="it broke") if end is Verdict.ERROR else None
            result = CheckResult(
                stack=job.stack,
                commit=COMMIT,
                trigger=Trigger.MANUAL,
                verdict=end,
                method=Method.PLAN,
                method_reason="forced",
                started_at=now(),
                duration_seconds=1.0,
                findings=(drift("x.y"),) if end is Verdict.DRIFTED else (),
                error=error,
            )
            store.record_check(result, declaration=StackDeclaration(id=job.stack), channels=[], job=job)


@contextmanager
def working(estate: Estate, **ends: Any) -> Iterator[Daemon]:
    daemon, stop = Daemon(estate, ends), threading.Event()
    thread = threading.Thread(target=daemon.run, args=(stop,))
    with StateLock.acquire(estate.state, clock=now):
        thread.start()
        try:
            yield daemon
        finally:
            stop.set()
            thread.join()


@pytest.fixture
def ask(cli: Callable[..., Ran], estate: Estate, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    monkeypatch.setattr(trigger, "ROUND_SECONDS", 0.02)
    estate.record("dns")
    return lambda *words: cli("trigger", *words, "-c", estate.config)


def test_several_stacks_are_queued_by_id_and_glob(ask: Callable[..., Ran], estate: Estate) -> None:
    for path in ("network", "a[b]"):
        estate.record(path)
    ran = ask("platform/n*", "platform/a[b]", "platform/network")
    assert ran.code == Exit.OK
    assert sorted(ran.out.splitlines()) == ["platform/a[b]: queued", "platform/network: queued"]
    assert "platform/network: was queued already" in ask("platform/network").out
    with closing(Store.open(state_dir=estate.state, database=None)) as store:
        job = store.claim("here", at=now(), lease=timedelta(minutes=1))
    assert job is not None
    assert job.trigger is Trigger.MANUAL


def test_a_stack_that_nobody_knows_queues_nothing(ask: Callable[..., Ran], estate: Estate) -> None:
    ran = ask("platform/dns", "platform/dnz", "--wait")
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert "no stack matches platform/dnz" in ran.err
    with closing(Store.open(state_dir=estate.state, database=None)) as store:
        assert store.claim("here", at=now(), lease=timedelta(minutes=1)) is None
    assert ask().code == Exit.USAGE


@pytest.mark.parametrize(
    ("end", "code", "line"),
    [
        (Verdict.IN_SYNC, Exit.OK, "platform/dns: in sync at 0f3d0f3d0f"),
        (Verdict.DRIFTED, Exit.DIFFERENCES, "platform/dns: drifted at 0f3d0f3d0f, 1 findings"),
        (Verdict.PENDING, Exit.DIFFERENCES, "platform/dns: pending at 0f3d0f3d0f"),
        (Verdict.ERROR, Exit.ERROR, "platform/dns: error at 0f3d0f3d0f: it broke"),
        (JobState.FAILED, Exit.ERROR, "platform/dns: failed, without a check"),
        (JobState.INTERRUPTED, Exit.ERROR, "platform/dns: interrupted, without a check"),
    ],
)
def test_whoever_waits_gets_what_check_would_give(
    ask: Callable[..., Ran], estate: Estate, end: Any, code: int, line: str
) -> None:
    with working(estate, dns=end):
        ran = ask("platform/dns", "--wait")
    assert (ran.code, ran.err) == (code, "")
    assert ran.out.splitlines() == ["platform/dns: queued", line]


def test_the_worst_of_several_counts(ask: Callable[..., Ran], estate: Estate) -> None:
    estate.record("network")
    with working(estate, dns=Verdict.DRIFTED) as daemon:
        assert ask("platform/*", "--wait").code == Exit.DIFFERENCES
        daemon.ends["network"] = Verdict.ERROR
        assert ask("platform/*", "--wait").code == Exit.ERROR
        assert len(daemon.seen) == 4


def test_a_program_reads_the_jobs_with_their_commits(ask: Callable[..., Ran], estate: Estate) -> None:
    with working(estate, dns=Verdict.DRIFTED):
        ran = ask("platform/dns", "--wait", "-f", "json")
    document = json.loads(ran.out)
    assert ran.code == Exit.DIFFERENCES
    (job,) = document["jobs"]
    assert (job["stack"], job["state"], job["trigger"]) == ("platform/dns", "done", "manual")
    assert (job["check"]["verdict"], job["check"]["commit"], job["check"]["counted"]) == (
        "drifted",
        COMMIT,
        1,
    )
    assert document["queued"] == [{"stack": "platform/dns", "job": job["id"], "created": True}]
    assert "jobs" not in json.loads(ask("platform/dns", "-f", "json").out)


def test_nobody_waits_for_ever(ask: Callable[..., Ran], estate: Estate) -> None:
    with working(estate, dns=None):
        began = time.monotonic()
        ran = ask("platform/dns", "--wait", "--timeout", "0.4")
        assert time.monotonic() - began < 5
    assert ran.code == Exit.ERROR
    assert "1 of 1 have not ended within 0.4 s" in ran.err


def test_nobody_waits_for_a_daemon_that_is_not_there(ask: Callable[..., Ran]) -> None:
    began = time.monotonic()
    ran = ask("platform/dns", "--wait")
    assert time.monotonic() - began < 5
    assert (ran.code, ran.out) == (Exit.ERROR, "platform/dns: queued\n")
    assert "No daemon is running here" in ran.err
