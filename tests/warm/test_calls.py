"""Calls that terraform makes seldom, or will one day: they pass, and a replay knows that it missed them."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from driftwatch.warm.gateway import Gateway
from driftwatch.warm.packages import Package, Selection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from driftwatch.warm.pool import Pool
    from tests.warm.conftest import Stack

ECHO = Path(__file__).with_name("echo_provider.py")


@pytest.fixture
def gateway(pool: Pool, tmp_path: Path) -> Iterator[Gateway]:
    binary = tmp_path / "terraform-provider-echo"
    binary.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ECHO}"\n')
    binary.chmod(0o755)
    package = Package(address="e/c/ho", version="1", binary=binary, digest="h1:echo")
    with Gateway(
        pool,
        Selection(packages={"e/c/ho": package}, left_out=frozenset()),
        environment={},
        directory=tmp_path,
        stop=threading.Event(),
    ) as made:
        yield made


@pytest.fixture
def channel(gateway: Gateway) -> Iterator[grpc.Channel]:
    (provider,) = gateway._providers.values()
    with grpc.insecure_channel(f"unix:{provider.address}") as made:
        yield made


def test_streams_of_any_name_pass_in_both_directions(gateway: Gateway, channel: grpc.Channel) -> None:
    call = channel.stream_stream("/tfplugin6.Provider/ListResource")(iter([b"a", b"b" * 100_000]))
    assert list(call) == [b"a", b"a", b"b" * 100_000, b"b" * 100_000]
    assert gateway.recording().unusable == ("unknown_call",)
    assert gateway.faults == ()


def test_a_call_that_ends_early_ends_the_providers(gateway: Gateway, channel: grpc.Channel) -> None:
    """Terraform may hang up in the middle of a stream."""
    hold = threading.Event()

    def endless() -> Iterator[bytes]:
        yield b"a"
        hold.wait(20)

    call = channel.stream_stream("/tfplugin6.Provider/WriteStateBytes")(endless())
    assert next(call) == b"a"
    call.cancel()
    hold.set()
    assert gateway.faults == ()


@pytest.mark.parametrize(
    ("service", "answer"),
    [("grpc.health.v1.Health/Check", b"\x08\x01"), ("plugin.GRPCController/Shutdown", b"")],
)
def test_the_plugin_frameworks_own_calls_end_here(
    gateway: Gateway, channel: grpc.Channel, service: str, answer: bytes
) -> None:
    """Shutdown is terraform's goodbye: the process stays, and serves the next plan."""
    assert channel.unary_unary(f"/{service}")(b"") == answer
    assert gateway.recording().unusable == ()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("OpenEphemeralResource", "ephemeral"),
        ("ImportResourceState", "pending_import"),
        ("SomethingNew", "unknown_call"),
    ],
)
def test_what_a_provider_does_not_know_passes_as_such(
    stack: Stack, pool: Pool, name: str, reason: str
) -> None:
    """UNIMPLEMENTED, or the provider's own error, comes from the provider; and a replay would miss it."""
    with stack.gateway(pool) as gateway:
        (provider,) = gateway._providers.values()
        with (
            grpc.insecure_channel(f"unix:{provider.address}") as channel,
            pytest.raises(grpc.RpcError) as caught,
        ):
            channel.unary_unary(f"/tfplugin6.Provider/{name}")(b"")
        assert caught.value.code() in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNKNOWN)
        assert gateway.faults == ()
        assert reason in gateway.recording().unusable


def test_a_read_before_a_configuration_is_never_answered_by_somebody_elses(stack: Stack, pool: Pool) -> None:
    """A spare process may have been configured for another stack."""
    with stack.gateway(pool) as gateway:
        (provider,) = gateway._providers.values()
        with (
            grpc.insecure_channel(f"unix:{provider.address}") as channel,
            pytest.raises(grpc.RpcError) as caught,
        ):
            channel.unary_unary("/tfplugin6.Provider/ReadResource")(b"")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert [fault.code for fault in gateway.faults] == ["provider_lost"]


@pytest.mark.parametrize("is_known", [True, False])
def test_a_function_of_a_provider_that_nothing_is_known_of_cannot_be_replayed(
    stack: Stack, pool: Pool, monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    """It may look at the clock, or at a file."""
    monkeypatch.setattr("driftwatch.warm.gateway.is_independent", lambda _: is_known)
    with stack.gateway(pool) as gateway:
        (provider,) = gateway._providers.values()
        with grpc.insecure_channel(f"unix:{provider.address}") as channel:
            channel.unary_unary("/tfplugin6.Provider/CallFunction")(b"")
        assert ("provider_function" in gateway.recording().unusable) is not is_known
