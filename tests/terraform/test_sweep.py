"""What a killed daemon leaves behind is found and ended; what others run is let be."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from driftwatch.sandbox.address import ADDRESS
from driftwatch.sandbox.cloud import Cloud, Fault
from driftwatch.terraform import runs, sweep
from driftwatch.terraform.runs import RUN_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Bench

DAEMON = """
import json, sys, threading
from pathlib import Path
from driftwatch.config.settings import TerraformSettings
from driftwatch.terraform import Planner, PlanRequest

root, binary, mirror, path = sys.argv[1:]
root = Path(root)
planner = Planner(
    TerraformSettings(binary=binary, provider_mirrors=(mirror,), min_free_mb=1),
    cache=root / "cache",
    runs=root / "runs",
    environment={"PATH": path},
)
request = PlanRequest(
    module=root / "checkout",
    checkout=root / "checkout",
    workdir=root / "work",
    variables={"s": "canary-variable"},
)
planner.plan(request, threading.Event(), lambda line: print(line, flush=True))
"""


def marked(run: str) -> list[psutil.Process]:
    """The processes of a run, whatever became of their parents."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(RUN_VARIABLE) == run and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def killed_in_the_middle(bench: Bench, cloud: Cloud, fault: Fault) -> str:
    """Kills a daemon with -9 while its plan reads the cloud; returns the id of the run."""
    provider = bench.requiring(ADDRESS, f'cloud = "{cloud.directory}"')
    bench.write("main.tf", provider + 'variable "s" {}\ndata "sandbox_region" "r" {\n  name = "local-1"\n}\n')
    cloud.inject(fault)
    arguments = [
        str(bench.root),
        bench.settings["binary"],
        bench.settings["provider_mirrors"][0],
        os.environ["PATH"],
    ]
    daemon = subprocess.Popen([sys.executable, "-c", DAEMON, *arguments], stdout=subprocess.PIPE, text=True)
    assert daemon.stdout is not None
    for line in daemon.stdout:
        if "data.sandbox_region.r: Refreshing" in line:
            break
    time.sleep(0.3)
    (record,) = bench.runs.glob("*.json")
    run: str = json.loads(record.read_text())["run"]
    assert len(marked(run)) >= 2
    daemon.kill()
    daemon.wait()
    daemon.stdout.close()
    return run


def gone(run: str, within: float) -> bool:
    give_up = time.monotonic() + within
    while marked(run) and time.monotonic() < give_up:
        time.sleep(0.1)
    return not marked(run)


@pytest.mark.row(1)
def test_terraform_and_its_providers_end_with_a_killed_daemon(sandboxed: Bench, sandbox_cloud: Cloud) -> None:
    """Row 1: by themselves, where the kernel tells terraform; the sweep then removes what they left."""
    run = killed_in_the_middle(
        sandboxed, sandbox_cloud, Fault(kind="delay", operation="read_data", seconds=60)
    )
    assert gone(run, within=10)
    assert b"canary-variable" in b"".join(path.read_bytes() for path in sandboxed.root.rglob("variables*"))
    assert sweep(sandboxed.runs) == 1
    assert sandboxed.leftovers() == []
    assert sweep(sandboxed.runs) == 0


@pytest.mark.row(1)
@pytest.mark.row(76)
def test_what_hears_nothing_is_killed_by_the_sweep(sandboxed: Bench, sandbox_cloud: Cloud) -> None:
    """Rows 1 and 76: a hung provider, and the terraform that waits for it."""
    run = killed_in_the_middle(sandboxed, sandbox_cloud, Fault(kind="hang", operation="read_data"))
    for process in marked(run):
        if "provider" in " ".join(process.cmdline()):
            process.suspend()
    assert sweep(sandboxed.runs) == 1
    assert gone(run, within=2)
    assert sandboxed.leftovers() == []


def record(directory: Path, name: str, **content: object) -> Path:
    path = directory / f"{name}.json"
    path.write_text(
        json.dumps({"run": name, "boot": runs._boot(), "scratch": [], **content}), encoding="utf-8"
    )
    return path


def test_runs_of_a_living_daemon_are_let_be(tmp_path: Path) -> None:
    with runs.begin(tmp_path / "runs", tmp_path) as run:
        assert sweep(tmp_path / "runs") == 0
        assert run.scratch.is_dir()
    assert list(tmp_path.rglob("*")) == [tmp_path / "runs"]


def test_a_process_that_only_has_the_number_is_let_be(tmp_path: Path) -> None:
    """Numbers are used again; the start time tells."""
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        record(tmp_path, "old", owner=None, process={"pid": stranger.pid, "started": "1"})
        assert sweep(tmp_path) == 1
        assert stranger.poll() is None
        stranger.send_signal(signal.SIGKILL)


def test_children_are_found_where_their_parent_is_gone(tmp_path: Path) -> None:
    run = secrets.token_hex(8)
    environment = {"PATH": os.environ["PATH"], RUN_VARIABLE: run}
    subprocess.run(["sh", "-c", "setsid sleep 60 & setsid sleep 60 &"], env=environment, check=True)
    give_up = time.monotonic() + 5
    while len(marked(run)) < 2 and time.monotonic() < give_up:
        time.sleep(0.05)
    record(tmp_path, run, owner=None, process={"pid": 2**22 + 1, "started": "1"})
    assert sweep(tmp_path) == 1
    assert gone(run, within=2)


def test_only_directories_of_ours_are_removed(tmp_path: Path) -> None:
    for name in ("precious", "dw-scratch"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / "runs").mkdir()
    record(
        tmp_path / "runs", "x", owner=None, scratch=[str(tmp_path / "precious"), str(tmp_path / "dw-scratch")]
    )
    sweep(tmp_path / "runs")
    assert [path.name for path in tmp_path.iterdir() if path.name != "runs"] == ["precious"]


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "null"])
def test_a_record_that_cannot_be_read_stops_nobody(tmp_path: Path, content: str) -> None:
    (tmp_path / "broken.json").write_text(content, encoding="utf-8")
    assert sweep(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


def test_there_need_be_no_records_at_all(tmp_path: Path) -> None:
    assert sweep(tmp_path / "nowhere") == 0
