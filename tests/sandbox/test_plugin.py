"""The provider as a process: how it starts, what it leaves behind, how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from tf.gen import grpc_controller_pb2, grpc_controller_pb2_grpc, tfplugin_pb2, tfplugin_pb2_grpc

from driftwatch.sandbox import plugin
from driftwatch.sandbox.cloud import Fault, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.conftest import Terminal


@pytest.fixture
def launcher(sandbox_mirror: Path) -> Path:
    (binary,) = sandbox_mirror.rglob("terraform-provider-*")
    return binary


@contextmanager
def started(launcher: Path, scratch: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A provider started as a Go program starts one that it wants no TLS with, and its socket."""
    process = subprocess.Popen(
        [str(launcher)],
        env={plugin.COOKIE[0]: plugin.COOKIE[1], "PLUGIN_PROTOCOL_VERSIONS": "5,6", "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        fields = process.stdout.readline().strip().split("|")
        assert [*fields[:3], *fields[4:]] == ["1", "6", "unix", "grpc", ""]
        yield process, fields[3]
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def test_a_person_who_starts_it_is_told_what_it_is(launcher: Path) -> None:
    done = subprocess.run([str(launcher)], env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "This is a Terraform provider: terraform starts it, a person does not.\n"


def test_neither_directory_nor_environment_decide_what_it_imports(launcher: Path, tmp_path: Path) -> None:
    for name in ("types.py", "driftwatch.py", "grpc.py", "sitecustomize.py", "usercustomize.py"):
        (tmp_path / name).write_text("raise SystemExit('imported from the wrong place')")
    hostile = {
        "PYTHONPATH": str(tmp_path),
        "PYTHONHOME": "/nonexistent",
        "PYTHONSTARTUP": str(tmp_path / "types.py"),
    }
    done = subprocess.run(
        [str(launcher)], cwd=tmp_path, env=hostile, capture_output=True, text=True, check=False
    )
    assert "This is a Terraform provider" in done.stderr


def test_without_a_client_certificate_it_speaks_plain_grpc_and_ends_on_request(
    launcher: Path, tmp_path: Path
) -> None:
    with started(launcher, tmp_path) as (process, socket), grpc.insecure_channel(f"unix:{socket}") as channel:
        assert Path(socket).parent.stat().st_mode & 0o777 == 0o700
        schema = tfplugin_pb2_grpc.ProviderStub(channel).GetProviderSchema(
            tfplugin_pb2.GetProviderSchema.Request()
        )
        assert set(schema.resource_schemas) == {f"sandbox_{kind}" for kind in Kind}
        grpc_controller_pb2_grpc.GRPCControllerStub(channel).Shutdown(grpc_controller_pb2.Empty())
        assert process.wait(timeout=5) == 0
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_is_terraforms_business_and_sigterm_ends_it(launcher: Path, tmp_path: Path) -> None:
    with started(launcher, tmp_path) as (process, _socket):
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_provider_whose_terraform_is_gone_ends_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    parents = iter([4711, 4711, 1])
    monkeypatch.setattr(plugin, "_ORPHAN_GRACE_SECONDS", 0.01)
    monkeypatch.setattr(plugin.os, "getppid", lambda: next(parents))
    ended: Any = threading.Event()
    monkeypatch.setattr(ended, "wait", lambda _seconds: False)
    plugin._wait(ended)
    assert next(parents, None) is None


def test_a_temporary_directory_with_a_long_name_is_no_obstacle(terminal: Terminal) -> None:
    scratch = terminal.root / ("long-" * 20)
    scratch.mkdir()
    terminal.write('data "sandbox_region" "here" {}')
    terminal.init()
    terminal.must("plan", "-input=false", TMPDIR=str(scratch))
    assert list(scratch.iterdir()) == []


def test_nothing_is_written_but_state_cloud_and_terraforms_own_data(applied: Terminal) -> None:
    before = {path for path in applied.root.rglob("*") if path.is_file()}
    plugins_before = set(Path("/tmp").glob("sandbox-*"))
    applied.cloud.touch(Kind.DATABASE, "orders")
    applied.plan()
    after = {path for path in applied.root.rglob("*") if path.is_file()}
    assert {path.relative_to(applied.root).parts[0] for path in after - before} <= {"plan", "data"}
    assert list((applied.root / "tmp").iterdir()) == []
    assert not (applied.root / "nobody").exists()
    assert set(Path("/tmp").glob("sandbox-*")) <= plugins_before


def test_one_interrupt_stops_a_plan_whose_provider_waits(applied: Terminal) -> None:
    applied.cloud.inject(Fault(kind="delay", operation="read", type="sandbox_bucket", seconds=60, times=1))
    process = subprocess.Popen(
        [str(applied.binary), "plan", "-input=false", "-no-color"],
        cwd=applied.module,
        env=applied.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    started_at = time.monotonic()
    while (applied.cloud.directory / "faults.json").exists() and time.monotonic() < started_at + 20:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # all of them get it, as at a terminal
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "RequestCanceled" in output
    assert "panic" not in output
