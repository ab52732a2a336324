"""A plan through the gateway is the plan that terraform makes without it, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from driftwatch.errors import PoolUnavailableError
from driftwatch.model import Verdict
from driftwatch.sandbox.cloud import Fault, Kind
from driftwatch.warm.conditions import unwatched
from driftwatch.warm.gateway import Gateway
from driftwatch.warm.pool import Limits, Pool

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from driftwatch.drift import Reading
    from tests.warm.conftest import Stack


def same_plans(one: dict, other: dict) -> bool:
    return {**one, "timestamp": ""} == {**other, "timestamp": ""}


def test_the_same_document_cold_warm_and_trimmed(stack: Stack, pool: Pool) -> None:
    """To the byte what terraform says by itself, the time apart; the second plan starts no process."""
    plain = stack.plan()
    cold, recording = stack.plan_warm(pool)
    launched = pool.stats().launched
    with stack.gateway(pool) as gateway:
        warm = stack.plan(TF_REATTACH_PROVIDERS=gateway.reattach())
        types = gateway.types
    trimmed, _ = stack.plan_warm(pool, types=types)
    assert same_plans(plain, cold)
    assert same_plans(plain, warm)
    assert same_plans(plain, trimmed)
    assert launched == pool.stats().launched == 2, "one process for each configuration"
    assert pool.stats().busy == 0
    assert (len(recording.conversations), recording.reads, recording.unusable) == (2, 6, ())


def test_changes_by_hand_read_the_same(stack: Stack, pool: Pool, read: Callable[..., Reading]) -> None:
    """Two regions, a nested block, a deletion: findings as of a plain plan."""
    stack.plan_warm(pool)
    stack.cloud.update(Kind.FIREWALL, "local-1/web", {"description": "by hand"})
    stack.cloud.delete(Kind.BUCKET, "far")
    stack.cloud.update(Kind.BUCKET, "by-hand", {"tags": {"owner": "nobody"}})
    plain = stack.plan()
    warm, _ = stack.plan_warm(pool)
    assert read(warm) == read(plain)
    assert read(warm).verdict is not Verdict.IN_SYNC
    assert {finding.address for finding in read(warm).findings} >= {
        "sandbox_firewall.web",
        "sandbox_bucket.far",
    }


def test_pure_calls_are_answered_from_memory(stack: Stack, pool: Pool) -> None:
    stack.plan_warm(pool)
    misses = pool.answers.misses
    stack.plan_warm(pool)
    assert pool.answers.misses == misses
    assert "canary" not in repr(pool.answers)


def test_a_trimmed_schema_with_a_type_too_few_is_an_error_and_no_verdict(stack: Stack, pool: Pool) -> None:
    with stack.gateway(pool, types={"sandbox_bucket"}) as gateway:
        done = stack.run("plan", "-input=false", TF_REATTACH_PROVIDERS=gateway.reattach())
        assert gateway.is_trimmed
    assert done.returncode == 1


def test_two_environments_never_share_a_process(stack: Stack, pool: Pool) -> None:
    """Shown by the providers' own environment: each has its own canary, and never the other's."""
    for who in ("ada", "bob"):
        environment = {**stack.provider_environment, "WHO": f"canary-{who}"}
        with stack.gateway(pool, environment) as gateway:
            stack.plan(TF_REATTACH_PROVIDERS=gateway.reattach())
    found = [_environment(member.process.pid) for member in pool._members]
    assert len(found) == 4
    assert sorted(each["WHO"] for each in found) == ["canary-ada"] * 2 + ["canary-bob"] * 2


def _environment(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_text(encoding="utf-8").split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


def test_sockets_are_ours_alone(stack: Stack, pool: Pool) -> None:
    with stack.gateway(pool) as gateway:
        (provider,) = gateway._providers.values()
        place = provider.address.parent
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert stat.S_IMODE(pool.directory.stat().st_mode) == 0o700
    assert not place.exists()


def test_a_peer_of_another_user_is_refused(stack: Stack, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    with stack.gateway(pool) as gateway:
        (provider,) = gateway._providers.values()
        monkeypatch.setattr(os, "getuid", lambda: 12345)
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.settimeout(10)
            stranger.connect(str(provider.address))
            assert stranger.recv(1) == b""
        assert [fault.code for fault in gateway.faults] == ["strange_peer"]


@pytest.mark.parametrize("kind", ["crash", "crash_after"])
def test_a_provider_that_crashes_is_a_fault_and_not_a_verdict(stack: Stack, pool: Pool, kind: str) -> None:
    """The plan fails, the gateway says that it may be its fault, and the process is gone from the pool."""
    stack.cloud.inject(Fault(kind=kind, operation="read", type="sandbox_database", times=1))
    with stack.gateway(pool) as gateway:
        done = stack.run("plan", "-input=false", TF_REATTACH_PROVIDERS=gateway.reattach())
        assert done.returncode == 1
        assert {fault.code for fault in gateway.faults} == {"unavailable"}
        recording = gateway.recording()
    assert recording.conversations == ()
    assert "fault" in recording.unusable
    assert pool.stats().retired
    document, _ = stack.plan_warm(pool)
    assert not document["errored"]


def test_an_error_of_the_cloud_is_terraforms_to_tell(stack: Stack, pool: Pool) -> None:
    """No fault of the gateway's; but nothing that could be replayed."""
    stack.cloud.inject(Fault(kind="access_denied", operation="read", times=1))
    with stack.gateway(pool) as gateway:
        done = stack.run("plan", "-input=false", "-no-color", TF_REATTACH_PROVIDERS=gateway.reattach())
        assert done.returncode == 1
        assert "AccessDenied" in done.stderr
        assert gateway.faults == ()
        assert "errors" in gateway.recording().unusable


def test_a_plan_that_is_interrupted_leaves_no_stopped_process(stack: Stack, pool: Pool) -> None:
    """A provider that terraform says Stop to stays stopped: nobody gets it again."""
    stack.cloud.inject(Fault(kind="delay", operation="read", seconds=20))
    with stack.gateway(pool) as gateway:
        child = _start_plan(stack, gateway)
        child.send_signal(signal.SIGINT)
        assert child.wait(15) == 1
        assert "stopped" in gateway.recording().unusable
    assert pool.stats().retired["stopped"] >= 1
    stack.cloud.inject()
    stack.plan_warm(pool)


def test_a_provider_that_hangs_is_left_behind_when_terraform_is_killed(stack: Stack, pool: Pool) -> None:
    """The gateway closes at once, and nobody gets that process."""
    stack.cloud.inject(Fault(kind="hang", operation="read"))
    with stack.gateway(pool) as gateway:
        child = _start_plan(stack, gateway)
        child.kill()
        child.wait()
        closing = time.monotonic()
    assert time.monotonic() - closing < 5
    pool.maintain()
    assert pool.stats().processes <= 1, "at most the one that had nothing to read yet"
    stack.cloud.inject()
    stack.plan_warm(pool)


def _start_plan(stack: Stack, gateway: Gateway) -> subprocess.Popen[bytes]:
    """A plan that is at work in a provider."""
    child = subprocess.Popen(
        [str(stack.binary), "plan", "-input=false"],
        cwd=stack.module,
        env={
            **stack.provider_environment,
            "TF_CLI_CONFIG_FILE": str(stack.cli_config),
            "TF_DATA_DIR": str(stack.root / "data"),
            "TF_REATTACH_PROVIDERS": gateway.reattach(),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not any(each._under_way for each in _connections(gateway)):
        assert child.poll() is None
        time.sleep(0.05)
    time.sleep(0.3)
    return child


def _connections(gateway: Gateway) -> list:
    return [each for provider in gateway._providers.values() for each in provider._connections]


@pytest.mark.parametrize("limits", [Limits(message_mb=1)])
def test_a_message_over_the_cap_is_a_fault(stack: Stack, limits: Limits, pool: Pool) -> None:
    """A tag of 2 MB in the cloud: the answer does not pass, and says so by name."""
    stack.cloud.update(Kind.BUCKET, "logs", {"tags": {"huge": "x" * (2 << 20)}})
    with stack.gateway(pool) as gateway:
        done = stack.run("plan", "-input=false", TF_REATTACH_PROVIDERS=gateway.reattach())
        assert done.returncode == 1
        assert {fault.code for fault in gateway.faults} == {"resource_exhausted"}


def test_a_recording_over_its_cap_is_none(stack: Stack, pool: Pool) -> None:
    _, recording = stack.plan_warm(pool, recording_limit=100)
    assert recording.unusable == ("recording_too_large",)


def test_without_a_place_for_sockets_there_is_a_named_error(stack: Stack, pool: Pool, tmp_path: Path) -> None:
    pool.directory = tmp_path / "gone"
    with pytest.raises(PoolUnavailableError, match="sockets"), stack.gateway(pool):
        pass
    assert pool.stats().busy == 0


def test_a_pool_that_is_full_is_a_fault(stack: Stack, clock: Callable[[], datetime]) -> None:
    with Pool(Limits(processes=1), clock) as small, stack.gateway(small) as gateway:
        done = stack.run("plan", "-input=false", TF_REATTACH_PROVIDERS=gateway.reattach())
        assert done.returncode == 1
        assert {fault.code for fault in gateway.faults} == {"pool_full"}


def test_gateways_leave_no_threads(stack: Stack, pool: Pool) -> None:
    stack.plan_warm(pool)
    before = set(threading.enumerate())
    stack.plan_warm(pool)
    deadline = time.monotonic() + 10
    while len(left := set(threading.enumerate()) - before) > 1 and time.monotonic() < deadline:
        time.sleep(0.05)  # a thread that has done its work may not have ended yet
    assert len(left) <= 1, left


def test_a_configuration_that_names_a_path_runs_where_terraform_does(stack: Stack, pool: Pool) -> None:
    """`cloud = "../cloud"` means what it means to terraform, though the sandbox is on the shared list."""
    main = stack.module / "main.tf"
    main.write_text(
        main.read_text().replace('provider "sandbox" {}', 'provider "sandbox" { cloud = "../cloud" }')
    )
    plain = stack.plan()
    warm, recording = stack.plan_warm(pool)
    assert same_plans(plain, warm)
    places = {each.key.directory and each.key.directory.path for each in recording.conversations}
    assert places == {None, stack.module}


def test_without_descriptors_a_connection_is_a_fault_and_the_next_one_works(
    stack: Stack, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever accepts goes on accepting."""
    from driftwatch.warm import gateway as module

    with stack.gateway(pool) as gateway:
        (provider,) = gateway._providers.values()

        class Full:
            def __init__(self, *_: object) -> None:
                raise OSError(24, "Too many open files")

        with monkeypatch.context() as patch:
            patch.setattr(module, "_Connection", Full)
            with socket.socket(socket.AF_UNIX) as caller:
                caller.settimeout(10)
                caller.connect(str(provider.address))
                assert caller.recv(1) == b""
        stack.plan(TF_REATTACH_PROVIDERS=gateway.reattach())
        assert [fault.code for fault in gateway.faults] == ["no_connection"]
        assert gateway.recording().unusable == ("fault",)


def test_a_provider_that_terraform_starts_itself_leaves_no_recording(stack: Stack, pool: Pool) -> None:
    """Its reads did not pass here; a plan's document names it, too."""
    selection = stack.packages()
    (address,) = selection.packages
    without = selection.without({address})
    with Gateway(
        pool,
        without,
        environment=stack.provider_environment,
        directory=stack.module,
        stop=threading.Event(),
    ) as gateway:
        document = stack.plan(TF_REATTACH_PROVIDERS=gateway.reattach())
        assert gateway.recording().unusable == ("unwatched_provider",)
    assert unwatched(document, without.packages) == {address}
    assert unwatched(document, selection.packages) == set()
