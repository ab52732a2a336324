"""An apply is sacred: nothing ends it but itself and a named person, and it is found again after a crash."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import signal
import stat
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from werkzeug import Response

from driftwatch.errors import (
    ApplyExistsError,
    ApplyFailedError,
    ApplyLostError,
    ApplyRunningError,
    DiskFullError,
    EngineInterruptedError,
    EngineTimeoutError,
    NoBinaryError,
    PlanStaleError,
    PlanTamperedError,
    ProviderCrashedError,
    StateLockedError,
    StateNotKeptError,
    StateNotSavedError,
)
from driftwatch.log import register_secret
from driftwatch.sandbox.address import ADDRESS
from driftwatch.sandbox.cloud import Cloud, Fault, Kind
from driftwatch.terraform import (
    Applier,
    ApplyState,
    Look,
    Outcome,
    Unsaved,
    apply,
    discard_apply,
    session,
    sweep,
)
from driftwatch.terraform.applies import APPLY_VARIABLE, Kept
from driftwatch.terraform.guard import Guard
from driftwatch.terraform.runs import RUN_VARIABLE, Started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Bench
    from pytest_httpserver import HTTPServer
    from werkzeug import Request

ENDED_WELL = Look(state=ApplyState.ENDED, exit_code=0)

DAEMON = """
import json, os, sys, threading, time
from datetime import timedelta
from pathlib import Path
from driftwatch.config.settings import TerraformSettings
from driftwatch.terraform import Applier, PlanRequest

root, name, binary, path, mirrors, until = sys.argv[1:]
root = Path(root)
applier = Applier(
    TerraformSettings(binary=binary, provider_mirrors=tuple(json.loads(mirrors)), min_free_mb=1),
    cache=root / "cache", runs=root / "runs", applies=root / "applies", environment={"PATH": path},
)
request = PlanRequest(module=root / "checkout", checkout=root / "checkout", workdir=root / "work" / ".")
prepared = applier.prepare(request, name, threading.Event())
if until == "started":
    applier.start(prepared)
print(until, flush=True)
time.sleep(600)
"""


def data(name: str, *, seconds: float = 0, after: str = "") -> str:
    """A resource whose creation takes that long."""
    wait = f'provisioner "local-exec" {{\n    command = "sleep {seconds}"\n  }}' if seconds else ""
    depends = f"depends_on = [terraform_data.{after}]" if after else ""
    return f'resource "terraform_data" "{name}" {{\n  input = "{name}"\n  {depends}\n  {wait}\n}}\n'


def resources(state: Path) -> set[str]:
    return {f"{each['type']}.{each['name']}" for each in json.loads(state.read_text())["resources"]}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def until(true: Callable[[], object], within: float = 60) -> None:
    give_up = time.monotonic() + within
    while not true():
        assert time.monotonic() < give_up, "it did not come about"
        time.sleep(0.05)


@pytest.fixture
def name() -> Iterator[str]:
    """The id of an apply; what carries it is gone at the end."""
    found = f"test-{secrets.token_hex(6)}"
    yield found
    for process in carrying(found):
        process.kill()


def carrying(name: str) -> list[psutil.Process]:
    """The processes of an apply and what they started, whatever became of their parents."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(APPLY_VARIABLE, "").startswith(name) and (
                process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def terraform_of(name: str) -> psutil.Process:
    (found,) = [process for process in carrying(name) if process.name() == "terraform"]
    return found


def watch_of(bench: Bench, name: str) -> psutil.Process:
    record = json.loads((bench.applies / name / "record.json").read_text())
    return psutil.Process(record["process"]["pid"])


def applied(bench: Bench, name: str, stack: str = ".", **settings: Any) -> Outcome:
    applier = bench.applier(**settings)
    applier.start(applier.prepare(bench.request(stack), name, bench.stop))
    applier.wait(name, bench.stop)
    return applier.outcome(name)


def log(bench: Bench, name: str) -> str:
    path = bench.applies / name / "log"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def daemon(bench: Bench, name: str, until: str = "started") -> subprocess.Popen[str]:
    """Another process that prepares the apply, and starts it, and then does nothing more."""
    mirrors = json.dumps(list(bench.settings.get("provider_mirrors", ())))
    arguments = [str(bench.root), name, str(bench.settings["binary"]), os.environ["PATH"], mirrors, until]
    started = subprocess.Popen(
        [sys.executable, "-c", DAEMON, *arguments], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert started.stdout is not None
    assert started.stdout.readline().strip() == until
    return started


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_what_was_planned_is_applied_and_the_state_is_written(real: Bench, name: str) -> None:
    real.write("main.tf", real.state_backend() + data("a") + 'output "o" {\n  value = "said"\n}\n')
    applier, heard = real.applier(), list[str]()
    with applier.prepare(real.request(), name, real.stop, real.said.append) as prepared:
        assert applier.look(name) == Look(state=ApplyState.PREPARED)
        assert prepared.planned.document["resource_changes"][0]["change"]["actions"] == ["create"]
        assert not real.state().exists()
        applier.start(prepared)
    assert applier.wait(name, real.stop, heard.append) == ENDED_WELL
    outcome = applier.outcome(name)
    assert (outcome.exit_code, outcome.error, outcome.errored_state) == (0, None, None)
    assert (outcome.cancelled, outcome.state_in_log) == (False, False)
    assert "Apply complete! Resources: 1 added" in outcome.output
    assert any("terraform_data.a: Creation complete" in line for line in heard)
    assert any("Plan: 1 to add" in line for line in real.said)
    assert resources(real.state()) == {"terraform_data.a"}
    assert real.leftovers() == []
    assert real.plan().document["resource_changes"][0]["change"]["actions"] == ["no-op"]


def test_the_plan_names_the_state_that_it_was_made_against(real: Bench, name: str) -> None:
    real.write("main.tf", real.state_backend() + data("a"))
    assert applied(real, f"{name}-1").error is None
    state = json.loads(real.state().read_text())
    with real.applier().prepare(real.request(), f"{name}-2", real.stop) as prepared:
        assert prepared.planned.state_lineage == state["lineage"]
        assert prepared.planned.state_serial == state["serial"]


@pytest.mark.row(2)
def test_an_apply_outlives_the_daemon_that_started_it(real: Bench, name: str) -> None:
    """Row 2: kill -9 in its middle; another process finds it again, and what it did is all there, once."""
    real.write("main.tf", real.state_backend() + data("a", seconds=1) + data("b", after="a"))
    end(daemon(real, name))
    applier = real.applier()
    assert applier.look(name) == Look(state=ApplyState.RUNNING)
    assert applier.known() == [name]
    assert applier.wait(name, real.stop) == ENDED_WELL
    assert applier.outcome(name).error is None
    assert resources(real.state()) == {"terraform_data.a", "terraform_data.b"}
    assert not list(real.state().parent.glob("*lock.info"))
    assert real.plan().document["planned_values"] != {}


@pytest.mark.row(2)
def test_the_cloud_and_the_state_agree_after_a_killed_daemon(
    sandboxed: Bench, sandbox_cloud: Cloud, name: str
) -> None:
    """Row 2: with a provider, which is in a create when the daemon dies."""
    sandbox_cloud.inject(Fault(kind="delay", operation="create", seconds=1))
    provider = sandboxed.requiring(ADDRESS, f'cloud = "{sandbox_cloud.directory}"')
    buckets = "".join(f'resource "sandbox_bucket" "{each}" {{\n  name = "{each}"\n}}\n' for each in "ab")
    sandboxed.write("main.tf", sandboxed.state_backend() + provider + buckets)
    started = daemon(sandboxed, name)
    until(lambda: "Creating..." in log(sandboxed, name))
    end(started)
    assert sandboxed.applier().wait(name, sandboxed.stop) == ENDED_WELL
    assert {record.key for record in sandbox_cloud.objects(Kind.BUCKET)} == {"a", "b"}
    assert resources(sandboxed.state()) == {"sandbox_bucket.a", "sandbox_bucket.b"}


@pytest.mark.row(3)
def test_nobody_knows_of_an_apply_that_was_killed_with_its_daemon(real: Bench, name: str) -> None:
    """Row 3: nothing says how far it came, and that is what is said."""
    real.write("main.tf", real.state_backend() + data("a", seconds=60))
    started = daemon(real, name)
    until(lambda: "Provisioning" in log(real, name))
    end(started)
    for process in carrying(name):
        process.kill()
    until(lambda: not carrying(name))
    applier = real.applier()
    until(lambda: applier.look(name).state is not ApplyState.RUNNING)  # the kernel takes a moment
    assert applier.look(name) == applier.wait(name, real.stop) == Look(state=ApplyState.GONE)
    outcome = applier.outcome(name)
    assert outcome.exit_code is None
    assert isinstance(outcome.error, ApplyLostError)
    assert "terraform_data.a: Creating..." in (outcome.error.detail or "")


@pytest.mark.row(5)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_daemons_group_does_not_reach_an_apply(
    real: Bench, name: str, number: signal.Signals
) -> None:
    """Row 5: as a supervisor that signals the group, and Ctrl-C."""
    real.write("main.tf", real.state_backend() + data("a", seconds=1))
    started = daemon(real, name)
    until(lambda: "Provisioning" in log(real, name))
    os.killpg(started.pid, number)
    started.wait(5)
    end(started)
    assert real.applier().wait(name, real.stop) == ENDED_WELL
    assert resources(real.state()) == {"terraform_data.a"}


def test_signals_to_what_watches_over_it_are_heard_and_ignored(real: Bench, name: str) -> None:
    real.write("main.tf", real.state_backend() + data("a", seconds=1))
    applier = real.applier()
    applier.start(applier.prepare(real.request(), name, real.stop))
    until(lambda: "Provisioning" in log(real, name))
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        watch_of(real, name).send_signal(number)
    assert applier.wait(name, real.stop) == ENDED_WELL


def test_an_apply_without_its_watch_still_runs_and_then_is_gone(real: Bench, name: str) -> None:
    """Nobody should kill that one alone. Terraform is found all the same; how it ended is not known."""
    real.write("main.tf", real.state_backend() + data("a", seconds=1))
    applier = real.applier()
    applier.start(applier.prepare(real.request(), name, real.stop))
    until(lambda: "Provisioning" in log(real, name))
    watch_of(real, name).kill()
    time.sleep(0.2)
    assert applier.look(name).state is ApplyState.RUNNING
    assert applier.wait(name, real.stop).state is ApplyState.GONE
    assert resources(real.state()) == {"terraform_data.a"}


def test_waiting_can_be_given_up_and_the_apply_goes_on(real: Bench, name: str) -> None:
    real.write("main.tf", real.state_backend() + data("a", seconds=1))
    applier = real.applier()
    applier.start(applier.prepare(real.request(), name, real.stop))
    stopped = threading.Event()
    stopped.set()
    assert applier.wait(name, stopped) == Look(state=ApplyState.RUNNING)
    with pytest.raises(ApplyRunningError):
        applier.outcome(name)
    with pytest.raises(ApplyRunningError):
        applier.discard(name)
    assert (real.applies / name / "plan").exists()
    assert applier.wait(name, real.stop) == ENDED_WELL


@pytest.mark.row(20)
def test_a_plan_file_that_is_not_the_one_that_was_made_is_refused(real: Bench, name: str) -> None:
    """Row 20: before terraform is started, which would not notice all of these."""
    real.write("main.tf", real.state_backend() + data("a"))
    applier = real.applier()
    with applier.prepare(real.request(), name, real.stop) as prepared:
        plan = real.applies / name / "plan"
        content = plan.read_bytes()
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        for changed in (flipped, content[:-1], b"", content + b"\0", None):
            plan.unlink() if changed is None else plan.write_bytes(changed)
            with pytest.raises(PlanTamperedError):
                applier.start(prepared)
            assert applier.look(name).state is ApplyState.PREPARED
            assert log(real, name) == ""
        plan.write_bytes(content)
        applier.start(prepared)
    assert applier.wait(name, real.stop) == ENDED_WELL


@pytest.mark.row(18)
def test_a_plan_whose_state_has_moved_since_is_stale(real: Bench, name: str) -> None:
    """Row 18: terraform refuses it, nothing is applied, and the error has a class of its own."""
    real.write("main.tf", real.state_backend() + data("a"))
    assert applied(real, f"{name}-1").error is None
    real.write("main.tf", real.state_backend() + data("a") + data("b"))
    applier = real.applier()
    prepared = applier.prepare(real.request(), f"{name}-2", real.stop)
    real.write("main.tf", real.state_backend() + data("a") + data("c"))
    real.terraform("init")
    real.terraform("apply", "-auto-approve")
    applier.start(prepared)
    assert applier.wait(f"{name}-2", real.stop).exit_code == 1
    outcome = applier.outcome(f"{name}-2")
    assert isinstance(outcome.error, PlanStaleError)
    assert "stale" in outcome.output
    assert resources(real.state()) == {"terraform_data.a", "terraform_data.c"}


@pytest.mark.row(9)
def test_a_provider_that_dies_in_an_apply_is_told_as_such(
    sandboxed: Bench, sandbox_cloud: Cloud, name: str
) -> None:
    """Row 9: what terraform says of it is kept, and what was made before it stays in the state."""
    sandbox_cloud.inject(Fault(kind="hang", operation="create", key="b"))
    provider = sandboxed.requiring(ADDRESS, f'cloud = "{sandbox_cloud.directory}"')
    first = 'resource "sandbox_bucket" "a" {\n  name = "a"\n}\n'
    second = 'resource "sandbox_bucket" "b" {\n  name = "b"\n  depends_on = [sandbox_bucket.a]\n}\n'
    sandboxed.write("main.tf", sandboxed.state_backend() + provider + first + second)
    applier = sandboxed.applier()
    applier.start(applier.prepare(sandboxed.request(), name, sandboxed.stop))
    until(lambda: "sandbox_bucket.b: Creating..." in log(sandboxed, name))
    time.sleep(0.3)
    for process in carrying(name):
        if "driftwatch.sandbox.provider" in " ".join(process.cmdline()):
            process.kill()
    assert applier.wait(name, sandboxed.stop) == Look(state=ApplyState.ENDED, exit_code=1)
    outcome = applier.outcome(name)
    assert isinstance(outcome.error, ProviderCrashedError)
    assert "ApplyResourceChange" in (outcome.error.detail or "")
    assert "ApplyResourceChange" in outcome.output
    assert "not begun again by itself" in (outcome.error.advice or "")
    assert resources(sandboxed.state()) == {"sandbox_bucket.a"}


def test_a_failure_that_no_rule_knows_is_a_failed_apply(real: Bench, name: str) -> None:
    failing = data("a").replace("}\n", '  provisioner "local-exec" {\n    command = "exit 3"\n  }\n}\n')
    real.write("main.tf", real.state_backend() + failing)
    outcome = applied(real, name)
    assert outcome.exit_code == 1
    assert isinstance(outcome.error, ApplyFailedError)
    assert "terraform_data.a" in outcome.error.message


def test_a_killed_terraform_is_a_crash_by_name(real: Bench, name: str) -> None:
    real.write("main.tf", real.state_backend() + data("a", seconds=60))
    applier = real.applier()
    applier.start(applier.prepare(real.request(), name, real.stop))
    until(lambda: "Provisioning" in log(real, name))
    terraform_of(name).kill()
    assert applier.wait(name, real.stop) == Look(state=ApplyState.ENDED, exit_code=-signal.SIGKILL)
    error = applier.outcome(name).error
    assert error is not None
    assert error.code == "engine_crashed"
    assert "terraform apply was killed by SIGKILL" in error.message


def http_backend(httpserver: HTTPServer, **more: str) -> str:
    options = "".join(f'    {option} = "{value}"\n' for option, value in more.items())
    address = httpserver.url_for("/state")
    known = f'    address = "{address}"\n    retry_max = 0\n'
    return f'terraform {{\n  backend "http" {{\n{known}{options}  }}\n}}\n'


@pytest.mark.row(3)
@pytest.mark.row(13)
def test_a_remote_lock_that_a_killed_apply_left_is_told_as_its_own(
    real: Bench, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows 3 and 13: the lock stays, since nobody knows how far it came, and it is known whose it is."""
    if not any("unshare" in word for word in Guard(os.environ["PATH"]).signed("x")):
        pytest.skip("this machine allows no host name of one's own")
    monkeypatch.setattr(session, "_APPLY_LOCK_TIMEOUT", "0s")
    name, held = "p12-0a1b2c3d", []

    def lock(request: Request) -> Response:
        if held:
            return Response(json.dumps(held[0]), status=423)
        held.append(request.get_json())
        return Response(status=200)

    def unlock(_: Request) -> Response:
        held.clear()
        return Response(status=200)

    httpserver.expect_request("/state", method="GET").respond_with_data(status=404)
    httpserver.expect_request("/state", method="POST").respond_with_data()
    httpserver.expect_request("/lock", method="LOCK").respond_with_handler(lock)
    httpserver.expect_request("/lock", method="UNLOCK").respond_with_handler(unlock)
    url = httpserver.url_for("/lock")
    backend = http_backend(httpserver, lock_address=url, unlock_address=url)
    real.write("main.tf", backend + data("a", seconds=60))
    applier = real.applier()
    applier.start(applier.prepare(real.request(), name, real.stop))
    until(lambda: "Provisioning" in log(real, name))
    for process in carrying(name):
        process.kill()
    until(lambda: applier.look(name).state is not ApplyState.RUNNING)
    assert held[0]["Who"].endswith(f"@dw-{name}")
    with pytest.raises(StateLockedError) as raised:
        applier.prepare(real.request(), "p13-0a1b2c3d", real.stop)
    assert held, "it is not broken"
    assert held[0]["ID"] in raised.value.message


def test_a_lock_that_was_lost_meanwhile_is_told_and_what_was_done_is_in_the_state(
    real: Bench, httpserver: HTTPServer, name: str
) -> None:
    """Somebody broke it: terraform says so at its end, which then is no good one."""
    saved: list[bytes] = []

    def save(request: Request) -> Response:
        saved.append(request.get_data())
        return Response(status=200)

    httpserver.expect_request("/state", method="GET").respond_with_data(status=404)
    httpserver.expect_request("/state", method="POST").respond_with_handler(save)
    httpserver.expect_request("/lock", method="LOCK").respond_with_data()
    url = httpserver.url_for("/lock")
    real.write("main.tf", http_backend(httpserver, lock_address=url, unlock_address=url) + data("a"))
    applier = real.applier()
    # The plan gives its lock back; that of the apply is gone by then.
    httpserver.expect_oneshot_request("/lock", method="UNLOCK").respond_with_data()
    httpserver.expect_request("/lock", method="UNLOCK").respond_with_data("gone", status=409)
    applier.start(applier.prepare(real.request(), name, real.stop))
    look = applier.wait(name, real.stop)
    outcome = applier.outcome(name)
    assert look.exit_code == 1
    assert outcome.error is not None
    assert "lock" in f"{outcome.error.message} {outcome.error.detail}".lower()
    assert outcome.errored_state is None
    assert "terraform_data" in saved[-1].decode()


@pytest.mark.row(15)
def test_a_state_that_its_backend_does_not_take_is_kept(
    real: Bench, httpserver: HTTPServer, name: str
) -> None:
    """Row 15: its owner's alone, out of reach of the next plan, and not discarded by accident."""
    httpserver.expect_request("/state", method="GET").respond_with_data(status=404)
    httpserver.expect_request("/state", method="POST").respond_with_data(status=500)
    real.write("main.tf", http_backend(httpserver) + data("a"))
    applier = real.applier()
    applier.start(applier.prepare(real.request(), name, real.stop))
    assert applier.wait(name, real.stop).exit_code == 1
    real.plan()  # lays out the place anew in which terraform left it
    outcome = applier.outcome(name)
    assert isinstance(outcome.error, StateNotSavedError)
    assert "state push" in (outcome.error.advice or "")
    assert outcome.errored_state == real.applies / name / "errored.tfstate"
    assert resources(outcome.errored_state) == {"terraform_data.a"}
    assert mode(outcome.errored_state) == 0o600
    assert applier.outcome(name).errored_state == outcome.errored_state
    state = json.loads(outcome.errored_state.read_text())
    assert applier.unsaved(name) == Unsaved(
        path=outcome.errored_state, lineage=state["lineage"], serial=state["serial"]
    )
    with pytest.raises(StateNotSavedError):
        applier.discard(name)
    assert outcome.errored_state.exists()
    applier.discard(name, state_too=True)
    assert applier.known() == []
    assert not list(real.root.rglob("errored*"))


@pytest.mark.parametrize(
    ("unsaved", "lineage", "serial", "pushed"),
    [
        (Unsaved(path=Path("x"), lineage="a", serial=7), "a", 6, False),
        (Unsaved(path=Path("x"), lineage="a", serial=7), "a", 7, True),
        (Unsaved(path=Path("x"), lineage="a", serial=7), "a", 9, True),
        (Unsaved(path=Path("x"), lineage="a", serial=7), "b", 9, False),
        (Unsaved(path=Path("x"), lineage="a", serial=7), None, None, False),
        (Unsaved(path=Path("x")), None, 9, False),
    ],
)
def test_a_state_is_pushed_where_it_or_a_later_one_is_there(
    unsaved: Unsaved, lineage: str | None, serial: int | None, pushed: bool
) -> None:
    assert unsaved.is_in(lineage, serial) is pushed


def test_a_damaged_state_and_one_in_the_log_are_known_to_be_there(real: Bench, name: str) -> None:
    kept = Kept(real.applies, name)
    kept.make()
    applier = real.applier()
    assert applier.unsaved(name) is None
    kept.log.write_text('{"@message":"Emergency state dump"}\n', encoding="utf-8")
    assert applier.unsaved(name) == Unsaved(path=kept.log)
    kept.errored_state.write_text("{", encoding="utf-8")
    assert applier.unsaved(name) == Unsaved(path=kept.errored_state)


def test_what_is_left_is_removed_for_who_says_so_but_not_while_it_runs(real: Bench, name: str) -> None:
    real.write("main.tf", real.state_backend() + data("a", seconds=2))
    applier = real.applier()
    applier.start(applier.prepare(real.request(), name, real.stop))
    with pytest.raises(ApplyRunningError):
        discard_apply(real.applies, name)
    applier.wait(name, real.stop)
    assert discard_apply(real.applies, name)
    assert applier.known() == []
    assert not discard_apply(real.applies, name)


@pytest.mark.row(15)
def test_an_errored_state_that_lay_in_the_code_is_none_of_ours(real: Bench, name: str) -> None:
    real.write("main.tf", real.state_backend() + data("a"))
    real.write("errored.tfstate", "{}")
    assert applied(real, name).errored_state is None


@pytest.mark.row(16)
@pytest.mark.parametrize("small", ["state", "workdir"])
def test_too_little_space_starts_nothing(real: Bench, small_disk: Path, name: str, small: str) -> None:
    """Row 16: where the state is kept too."""
    backend = real.state_backend().replace(str(real.root / "states"), str(small_disk / "states"))
    real.write("main.tf", (backend if small == "state" else real.state_backend()) + data("a"))
    workdir = {} if small == "state" else {"workdir": small_disk / "work"}
    prepared = real.applier(min_free_mb=0).prepare(real.request(**workdir), name, real.stop)
    applier = real.applier(min_free_mb=1)
    with prepared, pytest.raises(DiskFullError, match="only 0 MB are free"):
        applier.start(prepared)
    assert applier.look(name).state is ApplyState.PREPARED
    assert log(real, name) == ""


@pytest.mark.row(16)
def test_a_disk_that_fills_up_in_an_apply_loses_no_state(real: Bench, small_disk: Path, name: str) -> None:
    """Row 16: terraform prints the state then. It stays in the private log, and nobody is shown it."""
    backend = real.state_backend().replace(str(real.root / "states"), str(small_disk / "states"))
    fill = f'provisioner "local-exec" {{\n    command = "cat /dev/zero > {small_disk}/fill || true"\n  }}'
    first = data("s").replace('"s"\n', '"canary-of-the-state"\n')
    filling = data("a", after="s").replace("}\n", f"  {fill}\n}}\n")
    growing = data("b", after="a").replace('"b"\n', "range(1000)\n")  # more than the block that it has
    real.write("main.tf", backend + first + filling + growing)
    applier = real.applier(min_free_mb=0)
    applier.start(applier.prepare(real.request(workdir=small_disk / "work"), name, real.stop))
    heard: list[str] = []
    assert applier.wait(name, real.stop, heard.append).exit_code == 1
    outcome = applier.outcome(name)
    assert isinstance(outcome.error, StateNotSavedError)
    assert outcome.state_in_log
    assert outcome.errored_state is None
    assert "canary-of-the-state" in outcome.log.read_text()
    assert mode(outcome.log) == 0o600
    assert "canary-of-the-state" not in repr(outcome) + "".join(heard) + (outcome.error.detail or "")
    with pytest.raises(StateNotSavedError):
        applier.discard(name)
    assert outcome.log.exists()


@pytest.mark.row(16)
def test_how_an_apply_ended_is_known_on_a_full_disk(real: Bench, small_disk: Path, name: str) -> None:
    """Row 16: the records themselves are on it."""
    fill = f'provisioner "local-exec" {{\n    command = "cat /dev/zero > {small_disk}/fill || true"\n  }}'
    real.write("main.tf", real.state_backend() + data("a").replace("}\n", f"  {fill}\n}}\n"))
    applier = Applier(
        real.planner(min_free_mb=0)._settings,
        cache=real.cache,
        runs=real.runs,
        applies=small_disk / "applies",
        environment={"PATH": os.environ["PATH"]},
    )
    applier.start(applier.prepare(real.request(), name, real.stop))
    assert applier.wait(name, real.stop) == ENDED_WELL
    assert (small_disk / "fill").stat().st_size > 0


@pytest.mark.row(12)
def test_a_lock_of_somebody_else_ends_the_preparation(
    real: Bench, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 12: nothing of it is left, so that it can be begun again."""
    monkeypatch.setattr(session, "_LOCK_TIMEOUT", "0s")
    real.write("main.tf", real.state_backend() + data("a"))
    assert applied(real, f"{name}-1").error is None
    applier = real.applier()
    with real.state().open("r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        with pytest.raises(StateLockedError):
            applier.prepare(real.request(), f"{name}-2", real.stop)
    assert applier.known() == [f"{name}-1"]
    assert real.leftovers() == []
    applier.prepare(real.request(), f"{name}-2", real.stop).release()


@pytest.mark.row(12)
def test_a_lock_that_comes_between_plan_and_apply_is_told_as_such(
    real: Bench, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 12: terraform waits for it, and then applies nothing."""
    monkeypatch.setattr(session, "_APPLY_LOCK_TIMEOUT", "0s")
    real.state().parent.mkdir(parents=True)
    empty = {"version": 4, "terraform_version": "1.0.0", "serial": 1, "lineage": "l", "resources": []}
    real.state().write_text(json.dumps(empty), encoding="utf-8")
    real.write("main.tf", real.state_backend() + data("a"))
    applier = real.applier()
    prepared = applier.prepare(real.request(), name, real.stop)
    with real.state().open("r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        applier.start(prepared)
        assert applier.wait(name, real.stop).exit_code == 1
    error = applier.outcome(name).error
    assert isinstance(error, StateLockedError)
    assert error.advice is not None
    assert "breaks no locks" in error.advice
    assert resources(real.state()) == set()


@pytest.mark.row(13)
def test_the_state_lock_carries_the_apply_and_is_free_between_plan_and_apply(
    real: Bench, httpserver: HTTPServer, name: str
) -> None:
    """Row 13: for the plan, and for the apply again."""
    asked: list[tuple[str, str]] = []

    def lock(request: Request) -> Response:
        asked.append((request.get_json()["Operation"], request.get_json()["Who"].rpartition("@")[2]))
        return Response(status=200)

    httpserver.expect_request("/state", method="GET").respond_with_data(status=404)
    httpserver.expect_request("/state", method="POST").respond_with_data()
    httpserver.expect_request("/lock", method="LOCK").respond_with_handler(lock)
    httpserver.expect_request("/lock", method="UNLOCK").respond_with_data()
    held = httpserver.url_for("/lock")
    real.write("main.tf", http_backend(httpserver, lock_address=held, unlock_address=held) + data("a"))
    if not Guard(os.environ["PATH"]).named("x"):
        pytest.skip("this machine allows no host name of one's own")
    assert applied(real, name).error is None
    assert asked == [("OperationTypePlan", f"dw-{name}"), ("OperationTypeApply", f"dw-{name}")]


def test_a_person_may_interrupt_it_once(sandboxed: Bench, sandbox_cloud: Cloud, name: str) -> None:
    """A second interrupt would have terraform drop everything; it is not given."""
    sandbox_cloud.inject(Fault(kind="delay", operation="create", seconds=60))
    provider = sandboxed.requiring(ADDRESS, f'cloud = "{sandbox_cloud.directory}"')
    sandboxed.write(
        "main.tf",
        sandboxed.state_backend() + provider + 'resource "sandbox_bucket" "a" {\n  name = "a"\n}\n',
    )
    applier = sandboxed.applier()
    with applier.prepare(sandboxed.request(), name, sandboxed.stop) as prepared:
        assert applier.cancel(name) is False
        applier.start(prepared)
    until(lambda: "Creating..." in log(sandboxed, name))
    assert sandboxed.applier().cancel(name) is True
    assert applier.cancel(name) is False
    look = applier.wait(name, sandboxed.stop)
    assert look.state is ApplyState.ENDED
    assert look.exit_code == 1
    outcome = applier.outcome(name)
    assert outcome.cancelled
    assert outcome.error is not None
    assert "Interrupt received" in outcome.output
    assert "Two interrupts" not in log(sandboxed, name)
    assert applier.cancel(name) is False


@pytest.mark.row(10)
def test_a_hung_provider_is_nothing_that_an_apply_is_killed_for(
    sandboxed: Bench, sandbox_cloud: Cloud, name: str
) -> None:
    """Row 10: it stays as it is until a person acts; an interrupt that is not heard is followed by none."""
    sandbox_cloud.inject(Fault(kind="hang", operation="create"))
    provider = sandboxed.requiring(ADDRESS, f'cloud = "{sandbox_cloud.directory}"')
    sandboxed.write(
        "main.tf",
        sandboxed.state_backend() + provider + 'resource "sandbox_bucket" "a" {\n  name = "a"\n}\n',
    )
    short = {"plan_timeout": timedelta(seconds=10), "init_timeout": timedelta(seconds=10)}
    applier = sandboxed.applier(**short)
    applier.start(applier.prepare(sandboxed.request(), name, sandboxed.stop))
    until(lambda: "Creating..." in log(sandboxed, name))
    providers = [process for process in carrying(name) if "sandbox.provider" in " ".join(process.cmdline())]
    for process in providers:
        process.suspend()
    assert applier.cancel(name) is True
    sandboxed.hurry.set()
    time.sleep(1)
    assert applier.look(name).state is ApplyState.RUNNING
    assert applier.cancel(name) is False
    assert len(providers) >= 1
    assert all(process.is_running() for process in providers)


def test_the_sweep_of_a_new_daemon_leaves_it_and_all_that_it_uses_alone(
    sandboxed: Bench, sandbox_cloud: Cloud, name: str
) -> None:
    """Plan file, CLI configuration, HOME, TMPDIR, the cache of providers, and the tree it works in."""
    sandbox_cloud.inject(Fault(kind="delay", operation="create", seconds=1.5))
    provider = sandboxed.requiring(ADDRESS, f'cloud = "{sandbox_cloud.directory}"')
    sandboxed.write(
        "main.tf",
        sandboxed.state_backend() + provider + 'resource "sandbox_bucket" "a" {\n  name = "a"\n}\n',
    )
    started = daemon(sandboxed, name)
    until(lambda: "Creating..." in log(sandboxed, name))
    end(started)
    environment = terraform_of(name).environ()
    assert RUN_VARIABLE not in environment
    places = [environment[each] for each in ("HOME", "TMPDIR", "TF_CLI_CONFIG_FILE", "TF_PLUGIN_CACHE_DIR")]
    assert sweep(sandboxed.runs) == 0
    assert all(os.path.exists(place) for place in places)  # noqa: PTH110  (they are strings)
    assert os.path.exists(terraform_of(name).cwd())  # noqa: PTH110
    assert sandboxed.applier().wait(name, sandboxed.stop) == ENDED_WELL
    assert sandboxed.applier().outcome(name).error is None


def test_a_daemon_killed_before_it_starts_leaves_nothing_that_applies(real: Bench, name: str) -> None:
    """It is known as prepared, is not started by anybody, and can be discarded."""
    real.write("main.tf", real.state_backend() + data("a"))
    end(daemon(real, name, until="prepared"))
    sweep(real.runs)
    applier = real.applier()
    assert applier.look(name) == applier.wait(name, real.stop) == Look(state=ApplyState.PREPARED)
    assert isinstance(applier.outcome(name).error, EngineInterruptedError)
    applier.discard(name)
    assert applier.known() == []
    assert not real.state().exists()


def test_no_plan_comes_between_a_preparation_and_the_end_of_its_apply(real: Bench, name: str) -> None:
    """Not from the same process, and not from another one after the daemon's death."""
    real.write("main.tf", real.state_backend() + data("a", seconds=1))
    lock = real.root / "work" / ".terraform" / "held"

    def is_held() -> bool:
        with lock.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    prepared = daemon(real, f"{name}-1", until="prepared")
    assert is_held()
    end(prepared)
    assert not is_held()
    end(daemon(real, f"{name}-2"))
    assert is_held()
    planned = real.plan()
    assert real.applier().look(f"{name}-2") == ENDED_WELL
    assert planned.document["resource_changes"][0]["change"]["actions"] == ["no-op"]


def test_waiting_for_an_apply_has_an_end_too(real: Bench, name: str) -> None:
    """A plan of the stack gives up after its own deadlines; the apply is not touched."""
    real.write("main.tf", real.state_backend() + data("a"))
    short = {"init_timeout": timedelta(seconds=0.1), "plan_timeout": timedelta(seconds=0.2)}
    with real.applier().prepare(real.request(), name, real.stop), pytest.raises(EngineTimeoutError):
        real.plan(settings=short)


def test_what_a_provisioner_leaves_running_does_not_hold_the_stack(real: Bench, name: str) -> None:
    leave = 'provisioner "local-exec" {\n    command = "sleep 60 >/dev/null 2>&1 &"\n  }'
    real.write("main.tf", real.state_backend() + data("a").replace("}\n", f"  {leave}\n}}\n"))
    assert applied(real, name).error is None
    until(lambda: len(carrying(name)) == 1)
    real.plan()
    assert [process.name() for process in carrying(name)] == ["sleep"]


def test_secrets_are_in_no_argument_record_or_repr(real: Bench, name: str) -> None:
    """What terraform itself prints is in the raw log; people are shown it redacted."""
    echo = 'provisioner "local-exec" {\n    command = "echo $API_TOKEN; sleep 1"\n  }'
    real.write(
        "main.tf",
        real.state_backend()
        + 'variable "password" {}\n'
        + data("a").replace('"a"\n', "var.password\n").replace("}\n", f"  {echo}\n}}\n"),
    )
    secrets_of = {"API_TOKEN": "canary-environment"}
    request = real.request(environment=secrets_of, variables={"password": "canary-variable"})
    applier, heard = real.applier(), list[str]()
    prepared = applier.prepare(request, name, real.stop, heard.append)
    applier.start(prepared)
    until(lambda: "canary-environment" in log(real, name))
    shown = [" ".join(process.cmdline()) for process in carrying(name)]
    assert len(shown) >= 3
    applier.wait(name, real.stop, heard.append)
    outcome = applier.outcome(name)
    record = (real.applies / name / "record.json").read_text()
    assert "[redacted]" in outcome.output
    for text in (*shown, record, repr(prepared), repr(outcome), *heard):
        assert "canary" not in text
    assert {path.name for path in (real.applies / name).iterdir() if b"canary" in _content(path)} <= {
        "log",
        "plan",
    }
    assert not any(b"canary" in _content(path) for path in real.root.glob("work/**/*"))


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def test_another_process_can_be_told_what_to_keep_to_itself(
    real: Bench, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from driftwatch import log as house_log

    echo = 'provisioner "local-exec" {\n    command = "echo $API_TOKEN"\n  }'
    real.write("main.tf", real.state_backend() + data("a").replace("}\n", f"  {echo}\n}}\n"))
    request = real.request(environment={"API_TOKEN": "canary-of-yesterday"})
    applier = real.applier()
    applier.start(applier.prepare(request, name, real.stop))
    applier.wait(name, real.stop)
    monkeypatch.setattr(house_log, "_secrets", set())
    applier.recognise(request)
    output = applier.outcome(name).output
    assert "local-exec" in output
    assert "canary-of-yesterday" not in output


def test_all_of_it_is_its_owners_alone(real: Bench, name: str) -> None:
    real.write("main.tf", real.state_backend() + data("a"))
    assert applied(real, name).error is None
    directories = [real.applies, real.applies / name]
    inside = list((real.applies / name).rglob("*"))
    assert len(inside) >= 5
    assert {mode(path) for path in (*directories, *inside) if path.is_dir()} == {0o700}
    assert {mode(path) for path in inside if path.is_file()} == {0o600}
    assert mode(real.state()) == 0o600


def test_two_stacks_are_applied_side_by_side(real: Bench, name: str) -> None:
    for stack in ("a", "b"):
        real.write(f"{stack}/main.tf", real.state_backend(stack) + data(stack, seconds=1))
    applier = real.applier()
    for stack in ("a", "b"):
        applier.start(applier.prepare(real.request(stack), f"{name}-{stack}", real.stop))
    assert applier.look(f"{name}-a").state is applier.look(f"{name}-b").state is ApplyState.RUNNING
    assert applier.known() == [f"{name}-a", f"{name}-b"]
    for stack in ("a", "b"):
        assert applier.wait(f"{name}-{stack}", real.stop) == ENDED_WELL
        assert resources(real.state(stack)) == {f"terraform_data.{stack}"}
        applier.discard(f"{name}-{stack}")
    assert applier.known() == []
    assert list(real.applies.iterdir()) == []


def test_an_id_is_used_once(real: Bench, name: str) -> None:
    real.write("main.tf", real.state_backend() + data("a"))
    applier = real.applier()
    with applier.prepare(real.request(), name, real.stop) as prepared:
        with pytest.raises(ApplyExistsError):
            applier.prepare(real.request(), name, real.stop)
        assert applier.look(name).state is ApplyState.PREPARED
        applier.start(prepared)
        with pytest.raises(ApplyRunningError):
            applier.start(prepared)
    assert applier.wait(name, real.stop) == ENDED_WELL
    with pytest.raises(ApplyRunningError):
        applier.start(prepared)
    with pytest.raises(ApplyExistsError):
        applier.prepare(real.request(), name, real.stop)


def test_what_was_released_is_not_started(real: Bench, name: str) -> None:
    """Somebody else may plan in its place by then."""
    real.write("main.tf", real.state_backend() + data("a"))
    applier = real.applier()
    with applier.prepare(real.request(), name, real.stop) as prepared:
        pass
    with pytest.raises(ValueError, match="released"):
        applier.start(prepared)
    assert not real.state().exists()


@pytest.mark.parametrize("bad", ["", "../x", "a/b", ".", "a b", "a.b", "-a", "x" * 61, "a\n"])
def test_an_id_that_could_name_anything_else_is_refused(real: Bench, bad: str) -> None:
    with pytest.raises(ValueError, match="not the id"):
        real.applier().prepare(real.request(), bad, real.stop)
    with pytest.raises(ValueError, match="not the id"):
        real.applier().discard(bad)


def test_a_persons_directory_is_never_applied(real: Bench, name: str) -> None:
    with pytest.raises(ValueError, match="own directory"):
        real.applier().prepare(real.request(personal=True), name, real.stop)


def test_a_preparation_that_is_stopped_leaves_nothing(real: Bench, name: str) -> None:
    real.write("main.tf", real.state_backend() + data("a"))
    real.stop.set()
    with pytest.raises(EngineInterruptedError):
        real.applier().prepare(real.request(), name, real.stop)
    assert real.applier().known() == []
    assert real.leftovers() == []


@pytest.mark.parametrize(
    "backend",
    [
        "",
        'terraform {\n  backend "local" {}\n}\n',
        'terraform {\n  backend "local" {\n    path = "../../x.tfstate"\n  }\n}\n',
        'terraform {\n  backend "local" {\n    path = "CHECKOUT/x.tfstate"\n  }\n}\n',
    ],
)
def test_a_stack_whose_state_would_not_last_is_not_applied(real: Bench, name: str, backend: str) -> None:
    """The next plan makes the copy anew in which it would be written; a checkout does not last either."""
    real.write("main.tf", backend.replace("CHECKOUT", str(real.checkout)) + data("a"))
    with pytest.raises(StateNotKeptError):
        real.applier().prepare(real.request(), name, real.stop)
    assert real.applier().known() == []


def test_a_workspace_is_applied_in_its_own_state(real: Bench, name: str) -> None:
    real.write("main.tf", real.state_backend() + data("a"))
    real.terraform("init")
    real.terraform("workspace", "new", "blue")
    applier = real.applier()
    applier.start(applier.prepare(real.request(workspace="blue"), name, real.stop))
    assert applier.wait(name, real.stop) == ENDED_WELL
    assert resources(real.state().parent / "workspaces" / "blue" / "terraform.tfstate") == {
        "terraform_data.a"
    }
    assert not real.state().exists()


def test_variables_that_no_plan_file_holds_are_given_again(real: Bench, name: str) -> None:
    """Ephemeral ones: from the stack's variables, and from its files."""
    ephemeral = "".join(f'variable "{each}" {{\n  ephemeral = true\n}}\n' for each in ("e", "f"))
    real.write("main.tf", real.state_backend() + ephemeral + 'variable "n" {}\n' + data("a"))
    real.write("more.tfvars", 'f = "from a file"\n')
    request = real.request(variables={"e": "canary-ephemeral", "n": "x"}, var_files=("more.tfvars",))
    applier = real.applier()
    applier.start(applier.prepare(request, name, real.stop))
    assert applier.wait(name, real.stop) == ENDED_WELL
    assert mode(real.applies / name / "variables.tfvars.json") == 0o600
    applier.discard(name)
    assert not any(b"canary-ephemeral" in _content(path) for path in real.root.rglob("*"))


def test_home_is_the_same_for_the_plan_and_the_apply(real: Bench, name: str) -> None:
    """What was planned may have its path in it."""
    real.write("main.tf", real.state_backend() + data("a").replace('"a"\n', 'pathexpand("~/x")\n'))
    assert applied(real, name).error is None


def test_where_paths_are_too_long_for_sockets_there_is_a_short_one(real: Bench, name: str) -> None:
    """It is gone with the apply."""
    real.write("main.tf", real.state_backend() + data("a"))
    applier = Applier(
        real.planner()._settings,
        cache=real.cache,
        runs=real.runs,
        applies=real.root / ("x" * 60),
        environment={"PATH": os.environ["PATH"]},
    )
    prepared = applier.prepare(real.request(), name, real.stop)
    (short,) = prepared.kept.elsewhere
    assert mode(short) == 0o700
    assert len(str(short)) < 70
    applier.start(prepared)
    assert applier.wait(name, real.stop) == ENDED_WELL
    applier.discard(name)
    assert not short.exists()


def test_the_embedded_terraform_does_not_apply(
    real: Bench, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply, "is_shim", lambda _path: True)
    real.write("main.tf", real.state_backend() + data("a"))
    with pytest.raises(NoBinaryError, match="embedded"):
        real.applier().prepare(real.request(), name, real.stop)


def prepared_record(bench: Bench, name: str, **process: Any) -> Kept:
    """The directory of an apply that was started as `process`."""
    kept = Kept(bench.applies, name)
    kept.make()
    record = {
        "workdir": "/w",
        "directory": "/w/tree",
        "rescued": "/w/e",
        "engine": "terraform",
        "plan_sha256": "0",
        "elsewhere": [],
        "process": process or None,
    }
    (kept.directory / "record.json").write_text(json.dumps(record), encoding="utf-8")
    return kept


def test_a_process_that_only_has_the_number_is_not_the_apply(bench: Bench, name: str) -> None:
    """Numbers are used again; the start time tells, and the machine's boot."""
    us = Started.of(os.getpid())
    fields = {"pid": us.pid, "pid_started": us.pid_started, "boot": us.boot}
    assert prepared_record(bench, f"{name}-1", **fields).look().state is ApplyState.RUNNING
    other_start = {**fields, "pid_started": "1"}
    assert prepared_record(bench, f"{name}-2", **other_start).look().state is ApplyState.GONE
    other_boot = {**fields, "boot": "another"}
    assert prepared_record(bench, f"{name}-3", **other_boot).look().state is ApplyState.GONE
    kept = prepared_record(bench, f"{name}-4", **other_boot)
    (kept.directory / "pid").write_text(str(os.getpid()), encoding="ascii")
    assert kept.look().state is ApplyState.GONE


@pytest.mark.parametrize(
    ("code", "meant"), [(0, 0), (1, 1), (2, 2), (11, 11), (137, -9), (130, -2), (255, 255)]
)
def test_exit_codes_are_terraforms_and_signals_are_negative(
    bench: Bench, name: str, code: int, meant: int
) -> None:
    kept = prepared_record(bench, name, pid=2**22 + 1, pid_started="1", boot="b")
    (kept.directory / f"exit.{code}").touch()
    assert kept.look() == Look(state=ApplyState.ENDED, exit_code=meant)


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "null", "{}"])
def test_of_a_damaged_record_nobody_knows_anything(bench: Bench, name: str, content: str) -> None:
    """It is no reason to apply again, and it can be discarded."""
    kept = Kept(bench.applies, name)
    kept.make()
    (kept.directory / "record.json").write_text(content, encoding="utf-8")
    applier = bench.applier()
    assert applier.look(name).state is ApplyState.GONE
    assert isinstance(applier.outcome(name).error, ApplyLostError)
    applier.discard(name)
    assert applier.known() == []


def test_an_apply_that_nothing_is_kept_of_is_gone(bench: Bench, name: str) -> None:
    applier = bench.applier()
    assert applier.known() == []
    assert applier.look(name) == applier.wait(name, bench.stop) == Look(state=ApplyState.GONE)
    assert isinstance(applier.outcome(name).error, ApplyLostError)
    assert applier.cancel(name) is False
    applier.discard(name)


def test_without_a_word_from_us_nothing_begins(bench: Bench, name: str, tmp_path: Path) -> None:
    """A daemon that dies before it has written down what it started has started nothing."""
    kept = prepared_record(bench, name)
    kept.running.touch()
    ear, mouth = os.pipe()
    os.close(mouth)
    ran = subprocess.run(
        ["sh", "-c", apply._WATCH, "sh", str(kept.directory), "/w/e", "/bin/mv", "touch", "ran"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=ear,
        check=False,
    )
    os.close(ear)
    assert ran.returncode == 1
    assert not (tmp_path / "ran").exists()
    assert kept.look().state is ApplyState.PREPARED


def test_a_record_that_cannot_be_written_starts_nothing(
    real: Bench, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    def refuse(_kept: Kept, _process: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "record.draft")

    real.write("main.tf", real.state_backend() + data("a"))
    applier = real.applier()
    with applier.prepare(real.request(), name, real.stop) as prepared:
        with monkeypatch.context() as patch:
            patch.setattr(Kept, "started", refuse)
            with pytest.raises(DiskFullError):
                applier.start(prepared)
        until(lambda: not carrying(name))
        assert applier.look(name).state is ApplyState.PREPARED
        applier.start(prepared)
    assert applier.wait(name, real.stop) == ENDED_WELL


def test_what_cannot_be_started_has_applied_nothing(
    real: Bench, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apply, "_WATCH", "echo broken >&2; exec <&- >&-; exit 1")
    real.write("main.tf", real.state_backend() + data("a"))
    applier = real.applier()
    with applier.prepare(real.request(), name, real.stop) as prepared:
        original = Kept.started

        def slowly(kept: Kept, process: Started | None) -> None:
            original(kept, process)
            until(lambda: not carrying(name))

        monkeypatch.setattr(Kept, "started", slowly)
        with pytest.raises(ApplyFailedError) as raised:
            applier.start(prepared)
    assert "broken" in (raised.value.detail or "")
    assert applier.look(name).state is ApplyState.PREPARED
    assert not real.state().exists()


def test_output_is_short_and_holds_nothing_of_a_torn_line(bench: Bench, name: str) -> None:
    """A line that ends in its middle may be a state."""
    kept = prepared_record(bench, name, pid=2**22 + 1, pid_started="1", boot="b")
    (kept.directory / "exit.1").touch()
    line = json.dumps({"@message": "said something", "type": "x"})
    torn = '{"@message": "Emergency state", "state": {"canary-state'
    kept.log.write_text(f"{line}\n" * 2000 + torn + "\npanic: at the end\n", encoding="utf-8")
    outcome = bench.applier().outcome(name)
    assert 4000 < len(outcome.output) <= 4096
    assert outcome.output.startswith("said something\n"), "whole lines"
    assert outcome.output.endswith("said something\npanic: at the end")
    assert "canary-state" not in repr(outcome)
    assert outcome.error is not None
    assert outcome.error.code == "engine_crashed"


@pytest.mark.parametrize(
    ("summary", "error"),
    [
        ("Saved plan is stale", PlanStaleError),
        ("Saved plan does not match the given state", PlanStaleError),
        ("Failed to persist state to backend", StateNotSavedError),
        ("Can't apply incomplete plan", ApplyFailedError),
    ],
)
def test_what_only_an_apply_can_fail_of_has_classes_of_its_own(
    bench: Bench, name: str, summary: str, error: type[Exception]
) -> None:
    kept = prepared_record(bench, name, pid=2**22 + 1, pid_started="1", boot="b")
    (kept.directory / "exit.1").touch()
    diagnostic = {"severity": "error", "summary": summary, "detail": "no space left on device"}
    if error is ApplyFailedError:
        diagnostic["detail"] = ""
    said = {"@message": f"Error: {summary}", "type": "diagnostic", "diagnostic": diagnostic}
    kept.log.write_text(json.dumps(said) + "\n", encoding="utf-8")
    outcome = bench.applier().outcome(name)
    assert type(outcome.error) is error
    assert outcome.output.startswith(f"Error: {summary}")


# ---- what it says while it runs ------------------------------------------------------------------------


def test_what_it_says_is_heard_while_it_runs(real: Bench, name: str) -> None:
    real.write("main.tf", real.state_backend() + data("first") + data("slow", seconds=3, after="first"))
    applier = real.applier()
    applier.start(applier.prepare(real.request("."), name, real.stop))
    progress = applier.follow(name)
    until(lambda: "terraform_data.slow: Creating" in progress.output())
    assert applier.look(name).state is ApplyState.RUNNING
    assert "terraform_data.first: Creation complete" in progress.output()
    applier.wait(name, real.stop)
    assert progress.output() == applier.outcome(name).output
    assert "Apply complete" in progress.output()


def test_no_piece_of_a_line_no_secret_and_no_state_is_passed_on(real: Bench, name: str) -> None:
    register_secret("canary-of-progress")
    kept = Kept(real.applies, name)
    kept.make()
    progress = real.applier().follow(name)
    assert progress.output() == "", "there is no log yet"
    with kept.open_log() as log:
        log.write(b'{"@level":"info","@message":"x.y: Creating... [token=canary-of')
        assert progress.output() == ""
        log.write(b'-progress]"}\n{"@level":"info","@message":"Emergency state dump","x":{"key":"canary"}}\n')
        assert progress.output().startswith("x.y: Creating... [token=")
        assert "canary" not in progress.output()
        for number in range(2000):
            log.write(b'{"@level":"info","@message":"x.y[%d]: Creation complete"}\n' % number)
    lines = progress.output().splitlines()
    assert len("\n".join(lines)) <= 4096
    assert lines[0].startswith("x.y["), "whole lines"
    assert lines[-1] == "x.y[1999]: Creation complete"
    assert progress.output().splitlines() == lines
