"""A replay says "same" only of a cloud in which nothing that the plan read has moved."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from driftwatch.sandbox.cloud import Cloud, Fault, Kind
from driftwatch.warm.pool import Limits, Pool
from driftwatch.warm.replay import replay

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from driftwatch.warm.replay import Outcome
    from tests.warm.conftest import Recorded, Stack


def test_an_untouched_stack_is_the_same_every_time(
    stack: Stack, pool: Pool, ask_again: Callable[..., Outcome]
) -> None:
    """Also after the pool has lost all its processes: the recording stands by itself."""
    _, recording = stack.plan_warm(pool)
    for _ in range(5):
        outcome = ask_again(recording, pool)
        assert (outcome.answer, outcome.reads, outcome.types) == ("same", 6, {})
    assert pool.stats().launched == 2
    assert pool.retire("test", lambda _key: True) == 2
    assert pool.stats().processes == 0
    assert ask_again(recording, pool).answer == "same"


CHANGES: dict[str, tuple[Callable[[Cloud], object], set[str]]] = {
    "an argument": (
        lambda cloud: cloud.update(Kind.FIREWALL, "local-1/web", {"description": "by hand"}),
        {"sandbox_firewall"},
    ),
    "a nested block more": (
        lambda cloud: cloud.update(
            Kind.BUCKET,
            "logs",
            {"lifecycle_rule": [{"prefix": "tmp/", "expire_days": 1, "storage_class": None}]},
        ),
        {"sandbox_bucket"},
    ),
    "one tag": (
        lambda cloud: cloud.update(Kind.BUCKET, "logs", {"tags": {"team": "platform", "tier": "hot"}}),
        {"sandbox_bucket"},
    ),
    "a deletion": (lambda cloud: cloud.delete(Kind.DATABASE, "orders"), {"sandbox_database"}),
    "the other region": (
        lambda cloud: cloud.update(Kind.BUCKET, "far", {"versioning": True}),
        {"sandbox_bucket"},
    ),
    "a sensitive value": (
        lambda cloud: cloud.update(Kind.DATABASE, "orders", {"password": "canary-by-hand"}),
        {"sandbox_database"},
    ),
    "what only a data source reads": (
        lambda cloud: cloud.update(Kind.BUCKET, "by-hand", {"tags": {"owner": "nobody"}}),
        {"sandbox_bucket"},
    ),
    "only a revision": (
        lambda cloud: cloud.touch(Kind.DATABASE, "orders"),
        {"sandbox_database"},
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_by_hand_differs(
    recorded: Recorded, pool: Pool, ask_again: Callable[..., Outcome], change: Any
) -> None:
    """Whatever it is; types are named, values never."""
    make, types = change
    recording = recorded.recording
    make(recorded.cloud)
    outcome = ask_again(recording, pool)
    assert (outcome.answer, set(outcome.types)) == ("differs", types)
    assert "canary" not in repr(outcome)
    assert ask_again(recording, pool).answer == "differs", "it is not forgotten"


def test_a_recording_shows_nothing_of_what_it_holds(recorded: Recorded, pool: Pool) -> None:
    recording = recorded.recording
    assert any(b"canary-hunter2" in read.response for each in recording.conversations for read in each.reads)
    assert "canary" not in repr(recording)


def test_a_throttled_read_is_asked_again(
    recorded: Recorded, pool: Pool, ask_again: Callable[..., Outcome]
) -> None:
    recording = recorded.recording
    recorded.cloud.inject(Fault(kind="throttled", operation="read", times=2))
    assert ask_again(recording, pool).answer == "same"


def test_an_error_that_stays_is_a_failure_and_never_the_same(
    recorded: Recorded, pool: Pool, ask_again: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftwatch.warm.replay._FIRST_PAUSE", 0.05)
    recording = recorded.recording
    recorded.cloud.inject(Fault(kind="access_denied", operation="read_data"))
    outcome = ask_again(recording, pool)
    assert (outcome.answer, outcome.reason) == ("failed", "provider_refused")
    assert "AccessDenied" in outcome.message


def test_credentials_that_are_gone_fail_at_configure(
    recorded: Recorded, pool: Pool, ask_again: Callable[..., Outcome]
) -> None:
    recording = recorded.recording
    recorded.cloud.inject(Fault(kind="expired_credentials", operation="configure"))
    outcome = ask_again(recording, pool)
    assert (outcome.answer, outcome.reason) == ("failed", "provider_refused")
    assert "ExpiredToken" in outcome.message


@pytest.mark.parametrize("kind", ["crash", "crash_after"])
def test_a_provider_that_crashes_meanwhile_is_a_failure(
    recorded: Recorded, pool: Pool, ask_again: Callable[..., Outcome], kind: str
) -> None:
    """And the next replay has a new process."""
    recording = recorded.recording
    recorded.cloud.inject(Fault(kind=kind, operation="read", type="sandbox_dns_record", times=1))
    outcome = ask_again(recording, pool)
    assert (outcome.answer, outcome.reason) == ("failed", "provider_lost")
    assert ask_again(recording, pool).answer == "same"


def test_a_provider_that_is_killed_meanwhile_is_a_failure(
    recorded: Recorded, pool: Pool, ask_again: Callable[..., Outcome]
) -> None:
    recording = recorded.recording
    recorded.cloud.inject(Fault(kind="delay", operation="read", seconds=5))

    def kill() -> None:
        for member in list(pool._members):
            os.kill(member.process.pid, signal.SIGKILL)

    threading.Timer(2.0, kill).start()
    outcome = ask_again(recording, pool)
    assert (outcome.answer, outcome.reason) == ("failed", "provider_lost")
    assert outcome.seconds < 5


def test_a_provider_that_hangs_is_given_up_at_the_deadline(
    recorded: Recorded, pool: Pool, ask_again: Callable[..., Outcome]
) -> None:
    recording = recorded.recording
    recorded.cloud.inject(Fault(kind="hang", operation="read", type="sandbox_database", times=1))
    outcome = ask_again(recording, pool, seconds=1.5)
    assert (outcome.answer, outcome.reason) == ("failed", "timeout")
    assert outcome.seconds < 3
    assert ask_again(recording, pool).answer == "same"


def test_a_stop_ends_it_at_once(recorded: Recorded, pool: Pool) -> None:
    recording = recorded.recording
    recorded.cloud.inject(Fault(kind="hang", operation="read", type="sandbox_database", times=1))
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    began = time.monotonic()
    outcome = replay(recording, pool, seconds=60, parallelism=10, stop=stop)
    assert (outcome.answer, outcome.reason) == ("failed", "interrupted")
    assert time.monotonic() - began < 3


def test_recordings_of_others_are_not_replayed(
    recorded: Recorded, pool: Pool, ask_again: Callable[..., Outcome]
) -> None:
    recording = recorded.recording
    for wrong in (
        dataclasses.replace(recording, version=99),
        dataclasses.replace(recording, unusable=("errors",)),
    ):
        assert ask_again(wrong, pool).answer == "failed"


def test_a_pool_that_is_full_or_closed_is_a_failure(
    recorded: Recorded, pool: Pool, ask_again: Callable[..., Outcome]
) -> None:
    recording = recorded.recording
    with Pool(Limits(processes=1), lambda: datetime.now(UTC)) as small:
        outcome = ask_again(recording, small)
        assert (outcome.answer, outcome.reason) == ("failed", "pool_full")
        assert small.stats().busy == 0
    assert ask_again(recording, small).reason == "pool_unavailable"


def test_many_at_once_share_nothing(recorded: Recorded, pool: Pool) -> None:
    """Replays of one recording in parallel have processes of their own, and leave none busy."""
    recording = recorded.recording
    answers: list[str] = []

    def one() -> None:
        outcome = replay(recording, pool, seconds=30, parallelism=4, stop=threading.Event())
        answers.append(outcome.answer)

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["same"] * 3
    assert pool.stats().busy == 0
