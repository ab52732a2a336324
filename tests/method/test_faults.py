"""Whatever goes wrong in the warm way: a plain plan or a named error ends it, never a wrong verdict."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.errors import (
    CloudThrottledError,
    CredentialsExpiredError,
    EngineInterruptedError,
    EngineTimeoutError,
    ReplayImpossibleError,
)
from driftwatch.model import Approach
from driftwatch.sandbox.cloud import Fault, Kind
from driftwatch.sandbox.mirror import install
from driftwatch.warm.gateway import Gateway
from driftwatch.warm.pool import Limits

if TYPE_CHECKING:
    from tests.method.conftest import Stand

REPLAY = ("replay", "reads_same")


def start_badly(stand: Stand, how: str) -> None:
    """A provider that starts as terraform wants it, and behaves like `how` where we start it.

    Terraform gives its plugins a client certificate, and we do not.
    """
    stand.mirror = install(stand.root / "mirror")
    (binary,) = stand.mirror.rglob("terraform-provider-sandbox*")
    good = binary.with_name("good")
    good.write_bytes(binary.read_bytes())
    good.chmod(0o755)
    binary.write_text(f'#!/bin/sh\n[ -z "$PLUGIN_CLIENT_CERT" ] || exec "$(dirname "$0")/good"\n{how}\n')


BAD_STARTS = {
    "ends at once": "echo no >&2; exit 3",
    "never says anything": "exec sleep 600",
    "prints no handshake": "echo hello; exec sleep 600",
    "speaks an unknown protocol": 'echo "1|9|unix|/nowhere|grpc|"; exec sleep 600',
    "listens on TCP": 'echo "1|6|tcp|127.0.0.1:1|grpc|"; exec sleep 600',
    "listens where nobody is": 'echo "1|6|unix|/nowhere|grpc|"; exec sleep 600',
    "says more than a line can hold": "yes | tr -d '\\n' | head -c 200000; exec sleep 600",
}


@pytest.mark.parametrize("name", BAD_STARTS)
def test_a_provider_that_starts_badly_is_left_to_terraform(stand: Stand, name: str) -> None:
    """The verdict is the plain plan's, and from then on nobody tries again until a release."""
    stand.limits = Limits(start_seconds=2)
    start_badly(stand, BAD_STARTS[name])
    first = stand.check()
    assert first.how == ("plan", "warm_failed")
    assert first.verdict == "in_sync"
    stand.open_port()
    second = stand.check()
    assert second.how == ("plan", "no_recording")
    assert second.differing == {"sandbox_firewall.web"}
    assert stand.check().how == ("plan", "quarantined")
    assert [entry.address for entry in stand.house.quarantine.entries()] == [
        "sandbox.driftwatch.local/driftwatch/sandbox"
    ]


def test_a_provider_that_crashes_in_a_plan_is_planned_without(stand: Stand) -> None:
    stand.cloud.inject(Fault(kind="crash", operation="read", times=1))
    first = stand.check()
    assert first.how == ("plan", "warm_failed")
    assert first.verdict == "in_sync"
    assert stand.house.quarantine.entries()[0].reason == "a plan failed through it and worked without"


def test_a_provider_that_always_crashes_is_an_error_and_no_quarantine(stand: Stand) -> None:
    """It crashes for terraform too: that is the provider's, and the error says so."""
    stand.cloud.inject(Fault(kind="crash", operation="read"))
    question = stand.question()
    with pytest.raises(Exception, match=r"[Pp]lugin|provider") as raised:
        stand.examiner.examine(question)
    assert getattr(raised.value, "code", None) == "provider_crashed"
    assert stand.house.quarantine.entries() == ()


def test_a_crash_in_a_replay_is_followed_by_a_plan(recorded: Stand) -> None:
    recorded.cloud.inject(Fault(kind="crash", operation="read", times=1))
    assert recorded.check().how == ("plan", "replay_failed")
    assert recorded.check().how == REPLAY


def test_a_hang_in_a_replay_is_followed_by_a_plan(recorded: Stand) -> None:
    recorded.settings = recorded.settings.model_validate({"replay_timeout": "2s", "shadow_every": 0})
    recorded.with_settings()
    recorded.cloud.inject(Fault(kind="hang", operation="read", times=1))
    started = time.monotonic()
    assert recorded.check().how == ("plan", "replay_timed_out")
    assert time.monotonic() - started < 15
    assert recorded.check().how == REPLAY


def test_an_error_that_passes_is_asked_about_again(recorded: Stand) -> None:
    """Throttled twice and then answered: nothing moved, and the pace hears of it."""
    recorded.cloud.inject(Fault(kind="throttled", operation="read", times=2))
    assert recorded.check().how == REPLAY
    pace = recorded.examiner.pace("platform/stack")
    assert pace.throttled == set(pace.reads)
    assert recorded.check().how == REPLAY
    assert recorded.examiner.pace("platform/stack").throttled == set()


def test_a_cloud_that_goes_on_throttling_is_an_error_never_in_sync(recorded: Stand) -> None:
    recorded.cloud.inject(Fault(kind="throttled", operation="read"))
    question = recorded.question()
    with pytest.raises(CloudThrottledError):
        recorded.examiner.examine(question)
    assert question.trail.reason == "replay_throttled"
    assert recorded.examiner.pace("platform/stack").throttled
    recorded.cloud.inject()
    assert recorded.check().how == REPLAY


def test_expired_credentials_take_their_processes_with_them(recorded: Stand) -> None:
    recorded.cloud.inject(Fault(kind="expired_credentials", operation="read"))
    with pytest.raises(CredentialsExpiredError):
        recorded.check()
    assert "credentials_expired" in recorded.house.pool.stats().retired
    recorded.cloud.inject()
    assert recorded.check().how == REPLAY


def test_a_process_that_was_killed_is_started_again(recorded: Stand) -> None:
    def kill() -> None:
        for member in recorded.house.pool._members:
            member.process._child.kill()
            member.process._child.wait()

    recorded.house.before_replay = kill
    assert recorded.check().how == REPLAY


def test_a_process_that_dies_while_it_is_asked_is_followed_by_a_plan(recorded: Stand) -> None:
    recorded.cloud.inject(Fault(kind="delay", operation="read", times=1, seconds=30))

    def kill_soon() -> None:
        def kill() -> None:
            time.sleep(0.5)
            for member in recorded.house.pool._members:
                member.process._child.kill()

        threading.Thread(target=kill).start()

    recorded.house.before_replay = kill_soon
    assert recorded.check().how == ("plan", "replay_failed")


def test_an_answer_that_is_too_large_is_terraforms_to_read(stand: Stand) -> None:
    """Here more than a megabyte, as the limit is lowered to it."""
    stand.limits = Limits(message_mb=1)
    stand.cloud.update(Kind.BUCKET, "by-hand", {"tags": {"blob": "x" * 3_000_000}})
    seen = stand.check()
    assert seen.how == ("plan", "warm_failed")
    assert seen.verdict == stand.check(Approach.PLAIN).verdict


def test_where_there_is_no_place_for_sockets_plans_are_plain(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftwatch.warm.pool._places", lambda: (stand.root / "missing",))
    seen = stand.check()
    assert seen.how == ("plan", "warm_unavailable")
    assert seen.verdict == "in_sync"
    assert stand.house.quarantine.entries() == ()
    monkeypatch.undo()
    assert stand.check().how == ("plan", "no_recording")


@pytest.mark.parametrize(
    "problem", [MemoryError(), OSError(24, "Too many open files"), RuntimeError("thread")]
)
def test_a_machine_at_its_limits_plans_plainly(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    """And blames no provider for it."""

    def fail(_: Gateway) -> Gateway:
        raise problem

    monkeypatch.setattr(Gateway, "__enter__", fail)
    seen = stand.check()
    assert seen.how == ("plan", "warm_unavailable")
    assert seen.verdict == "in_sync"
    assert stand.house.quarantine.entries() == ()


def test_a_pool_that_is_full_plans_plainly(stand: Stand) -> None:
    stand.limits = Limits(processes=0)
    assert stand.check().how == ("plan", "warm_unavailable")
    assert stand.house.quarantine.entries() == ()


def test_a_pool_over_its_memory_starts_anew_each_time(stand: Stand) -> None:
    stand.limits = Limits(memory_mb=1)
    assert stand.check().how == ("plan", "no_recording")
    stand.house.pool.maintain()
    assert stand.house.pool.stats().processes == 0
    assert stand.check().how == REPLAY


def test_a_plan_without_an_end_through_the_gateway_is_an_error_and_the_next_one_plain(stand: Stand) -> None:
    """If that one ends, it was the gateway; its time was not spent twice."""
    stand.terraform = stand.terraform.model_validate({"plan_timeout": "3s"})
    stand.cloud.inject(Fault(kind="hang", operation="read", times=1))
    question = stand.question()
    with pytest.raises(EngineTimeoutError):
        stand.examiner.examine(question)
    stand.terraform = stand.terraform.model_validate({"plan_timeout": "60s"})
    planner = stand.examiner._planner
    planner._settings = planner._settings.model_copy(  # type: ignore[attr-defined]
        update={"plan_timeout": stand.terraform.plan_timeout}
    )
    assert stand.check().how == ("plan", "warm_timed_out")
    assert stand.house.quarantine.entries()[0].reason == "a plan had no end through it, and had one without"
    assert stand.check().how[0] == "plan"


@pytest.mark.parametrize("is_recorded", [True, False])
def test_what_is_stopped_says_nothing(stand: Stand, is_recorded: bool) -> None:
    if is_recorded:
        stand.check()
    question = stand.question()
    question.stop.set()
    with pytest.raises(EngineInterruptedError):
        stand.examiner.examine(question)


def test_a_recording_that_cannot_be_kept_costs_a_plan(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("driftwatch.pipeline.facts.sources", fail)
    first = stand.check()
    assert (first.how, first.verdict) == (("plan", "no_recording"), "in_sync")
    assert stand.check().how == ("plan", "no_recording")
    monkeypatch.undo()
    stand.check()
    assert stand.check().how == REPLAY


def test_a_schema_that_was_trimmed_too_far_is_made_whole(recorded: Stand, replaced: Any) -> None:
    """The types that a plan asked about are remembered; where one is missing, nobody is blamed."""
    known = recorded.house.shelf.peek("platform/stack")
    assert known
    assert known.types >= {"sandbox_firewall", "sandbox_bucket", "sandbox_database"}
    recorded.house.shelf.put("platform/stack", replaced(known, types=frozenset({"sandbox_bucket"})))
    recorded.open_port()
    seen = recorded.check()
    assert seen.how == ("plan", "warm_failed")
    assert seen.differing == {"sandbox_firewall.web"}
    assert recorded.house.quarantine.entries() == ()
    assert recorded.check().how == ("plan", "no_recording")
    assert recorded.check().how == REPLAY


def test_only_a_replay_is_refused_by_name(stand: Stand) -> None:
    question = stand.question(Approach.REPLAY)
    with pytest.raises(ReplayImpossibleError, match="no_recording"):
        stand.examiner.examine(question)
    assert (question.trail.method, question.trail.reason) == ("replay", "no_recording")
    stand.check(Approach.PLAN)
    assert stand.check(Approach.REPLAY).how == REPLAY
    stand.open_port()
    with pytest.raises(ReplayImpossibleError, match="reads_differ"):
        stand.check(Approach.REPLAY)


def test_without_warm_providers_every_check_is_a_plain_plan(stand: Stand) -> None:
    stand.with_settings(enabled=False)
    for _ in range(2):
        assert stand.check().how == ("plan", "warm_disabled")
    with pytest.raises(ReplayImpossibleError, match="warm_disabled"):
        stand.check(Approach.REPLAY)
    assert stand.house.started_pool is None


def test_no_secret_of_a_recording_is_on_disk_in_clear(recorded: Stand) -> None:
    recorded.environment["SANDBOX_TOKEN"] = "canary-token-9f3b"
    recorded.check()
    assert recorded.check().how == REPLAY
    found = [
        (path, secret)
        for path in (recorded.root / "state").rglob("*")
        if path.is_file() and not path.is_symlink()
        for secret in (b"canary-hunter2", b"canary-token-9f3b")
        if secret in path.read_bytes() and "tree" not in path.parts
    ]
    assert found == []
    assert list((recorded.root / "state/recordings").iterdir()) != []
