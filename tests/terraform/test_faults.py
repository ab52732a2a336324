"""The faults of the matrix, done to a real terraform wherever one can be had."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from werkzeug import Response

from driftwatch.errors import (
    BackendRefusedError,
    CloudThrottledError,
    CredentialsExpiredError,
    CredentialsMissingError,
    DiskFullError,
    DriftwatchError,
    EngineCrashedError,
    EngineInterruptedError,
    EngineTimeoutError,
    NoBinaryError,
    PlanFailedError,
    PlanTooLargeError,
    PlanUnreadableError,
    ProviderCrashedError,
    ProviderUnavailableError,
    Remedy,
    StateLockedError,
    StateUnreadableError,
)
from driftwatch.sandbox.address import ADDRESS
from driftwatch.sandbox.cloud import Cloud, Fault
from driftwatch.terraform import session
from driftwatch.terraform.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import psutil
    from conftest import Bench
    from pytest_httpserver import HTTPServer
    from werkzeug import Request

LOCAL = 'resource "terraform_data" "a" {\n  input = "one"\n}\n'
DOCUMENT = '{"terraform_version": "1.11.4", "complete": true, "errored": false, "resource_changes": []'


READS = 'data "sandbox_region" "r" {\n  name = "local-1"\n}\n'


def http_backend(address: str) -> str:
    return f'terraform {{\n  backend "http" {{\n    address = "{address}"\n    retry_max = 0\n  }}\n}}\n'


@pytest.fixture
def reading(sandboxed: Bench, sandbox_cloud: Cloud) -> Bench:
    """A stack that reads the sandbox's cloud when it is planned."""
    provider = sandboxed.requiring(ADDRESS, f'cloud = "{sandbox_cloud.directory}"')
    sandboxed.write("main.tf", provider + READS)
    return sandboxed


@contextmanager
def while_planning(bench: Bench, act: Callable[[], None]) -> Iterator[None]:
    """Does `act` once terraform reads the cloud."""

    def watch() -> None:
        give_up = time.monotonic() + 20
        while time.monotonic() < give_up and not any("data.sandbox" in line for line in bench.said):
            time.sleep(0.05)
        time.sleep(0.2)
        act()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        watcher.join()


def providers(running: Callable[[], list[psutil.Process]]) -> list[psutil.Process]:
    return [process for process in running() if "driftwatch.sandbox.provider" in " ".join(process.cmdline())]


def engines(running: Callable[[], list[psutil.Process]]) -> list[psutil.Process]:
    return [process for process in running() if process.name() == "terraform"]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where somebody listens and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.row(6)
def test_a_flood_from_terraform_ends_in_an_error_and_not_in_a_full_memory(bench: Bench) -> None:
    """Row 6: no line end in 60 MB, then a failure."""
    bench.play("case $1 in plan) head -c 60000000 /dev/zero | tr '\\0' x; exit 1;; esac")
    bench.write("main.tf", "")
    with pytest.raises(PlanFailedError) as raised:
        bench.plan()
    assert len(raised.value.detail or "") < 10_000


@pytest.mark.row(6)
def test_a_plan_document_of_64_mb_on_one_line_arrives_whole(bench: Bench) -> None:
    """Row 6: not a byte is lost."""
    filling = "head -c 67108864 /dev/zero | tr '\\0' x"
    bench.play_plan(f"printf '%s' '{DOCUMENT}, \"x\": \"'; {filling}; printf '\"}}'")
    bench.write("main.tf", "")
    assert len(bench.plan().document["x"]) == 64 << 20


@pytest.mark.row(30)
def test_a_plan_document_over_the_limit_is_told_as_such(bench: Bench) -> None:
    """Row 30: an explicit "too large", at the cost of the limit."""
    bench.play_plan("cat /dev/zero")
    bench.write("main.tf", "")
    with pytest.raises(PlanTooLargeError, match="larger than 2 MB"):
        bench.plan(settings={"max_plan_mb": 2})


@pytest.mark.row(7)
def test_a_lack_of_memory_is_a_crash_and_never_a_difference(real: Bench) -> None:
    """Row 7: Go exits with 2 then, as a plan with changes does."""
    real.play(f'[ "$1" = plan ] && ulimit -v 500000; exec {real.settings["binary"]} "$@"')
    real.write("main.tf", LOCAL)
    with pytest.raises(EngineCrashedError, match="memory"):
        real.plan()
    assert real.leftovers() == []


@pytest.mark.row(8)
def test_a_panic_is_a_crash(bench: Bench) -> None:
    """Row 8: exit code 11, and no diagnostics."""
    bench.play('[ "$1" != plan ] || { echo "!!!!! TERRAFORM CRASH !!!!!" >&2; exit 11; }')
    bench.write("main.tf", "")
    with pytest.raises(EngineCrashedError):
        bench.plan()


@pytest.mark.row(8)
def test_sigquit_is_a_crash_and_never_a_difference(
    reading: Bench, sandbox_cloud: Cloud, descendants: Callable[[], list[psutil.Process]]
) -> None:
    """Row 8: exit code 2 again."""
    sandbox_cloud.inject(Fault(kind="hang", operation="read_data"))

    def quit_all() -> None:
        for process in engines(descendants):
            process.send_signal(signal.SIGQUIT)

    with while_planning(reading, quit_all), pytest.raises(EngineCrashedError):
        reading.plan()
    assert descendants() == []
    assert reading.leftovers() == []


@pytest.mark.row(9)
def test_a_killed_provider_is_told_as_such(
    reading: Bench, sandbox_cloud: Cloud, descendants: Callable[[], list[psutil.Process]]
) -> None:
    """Row 9: by its process; what terraform says of it is kept."""
    sandbox_cloud.inject(Fault(kind="hang", operation="read_data"))

    def kill_providers() -> None:
        for process in providers(descendants):
            process.kill()

    with while_planning(reading, kill_providers), pytest.raises(ProviderCrashedError) as raised:
        reading.plan()
    assert raised.value.message.startswith(("Plugin did not respond", "Request cancelled"))
    assert "ReadDataSource" in (raised.value.detail or "")
    assert raised.value.remedy is Remedy.RETRY


@pytest.mark.row(9)
def test_a_provider_that_dies_by_itself_is_told_as_such(reading: Bench, sandbox_cloud: Cloud) -> None:
    """Row 9, by its own doing."""
    sandbox_cloud.inject(Fault(kind="crash", operation="read_data"))
    with pytest.raises(ProviderCrashedError):
        reading.plan()


@pytest.mark.row(10)
@pytest.mark.parametrize("how", ["hang", "stopped"])
def test_a_hung_provider_is_killed_with_its_group_at_the_deadline(
    reading: Bench, sandbox_cloud: Cloud, descendants: Callable[[], list[psutil.Process]], how: str
) -> None:
    """Row 10: one that hears nothing, and one that SIGSTOP has stopped; the next plan works."""
    sandbox_cloud.inject(Fault(kind="hang", operation="read_data"))

    def stop_providers() -> None:
        for process in providers(descendants) if how == "stopped" else ():
            process.suspend()

    with while_planning(reading, stop_providers), pytest.raises(EngineTimeoutError) as raised:
        reading.plan(settings={"plan_timeout": timedelta(seconds=3)})
    assert raised.value.message.startswith("terraform plan did not finish within 3 s")
    assert "plan_timeout" in (raised.value.advice or "")
    assert descendants() == []
    assert reading.leftovers() == []
    sandbox_cloud.inject()
    reading.plan()


@pytest.mark.row(11)
@pytest.mark.parametrize("what", ["module", "git", "backend"])
def test_an_init_that_hangs_is_stopped_with_its_children(
    real: Bench, silent_port: int, descendants: Callable[[], list[psutil.Process]], what: str
) -> None:
    """Row 11: nobody answers, and terraform has no deadline of its own; the step is named."""
    address = f"http://127.0.0.1:{silent_port}/x"
    real.write(
        "main.tf",
        {
            "module": f'module "x" {{\n  source = "{address}.zip"\n}}\n',
            "git": f'module "x" {{\n  source = "git::{address}.git"\n}}\n',
            "backend": http_backend(address),
        }[what],
    )
    with pytest.raises(EngineTimeoutError, match=r"terraform (init|get) did not finish within 1 s"):
        real.plan(settings={"init_timeout": timedelta(seconds=1)})
    assert descendants() == []
    assert real.leftovers() == []


def locked_state(real: Bench) -> Path:
    """A stack whose state is there, in a backend of its own."""
    state = real.root / "state" / "terraform.tfstate"
    state.parent.mkdir()
    content = {"version": 4, "terraform_version": "1.11.4", "serial": 3, "lineage": "l", "resources": []}
    state.write_text(json.dumps(content), encoding="utf-8")
    real.write("main.tf", f'terraform {{\n  backend "local" {{\n    path = "{state}"\n  }}\n}}\n' + LOCAL)
    return state


@pytest.mark.row(12)
def test_a_lock_of_somebody_else_is_told_with_its_holder_and_left_alone(
    real: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 12: where plans take the lock; and where they do not, it is no obstacle."""
    monkeypatch.setattr(session, "_LOCK_TIMEOUT", "0s")
    state = locked_state(real)
    info = state.with_name(".terraform.tfstate.lock.info")
    info.write_text(
        '{"ID": "11-22", "Operation": "OperationTypeApply", "Who": "alice@laptop", "Version": "1.11.4",'
        ' "Created": "2020-01-01T00:00:00Z", "Path": "x", "Info": ""}',
        encoding="utf-8",
    )
    with state.open("r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        with pytest.raises(StateLockedError, match=r"locked by alice@laptop \(apply, for \d+ h") as raised:
            real.plan(settings={"plan_lock": True})
        planned = real.plan()
    assert raised.value.remedy is Remedy.RETRY
    assert (planned.state_lineage, planned.state_serial) == ("l", 3)
    assert info.exists()


@pytest.mark.row(13)
def test_a_lock_of_ours_carries_the_run_that_holds_it(real: Bench, httpserver: HTTPServer) -> None:
    """Row 13, its first half: an orphaned lock can be told to be ours, and of which run."""
    asked: list[str] = []

    def lock(request: Request) -> Response:
        asked.append(request.get_json()["Who"])
        return Response(status=200)

    httpserver.expect_request("/state", method="GET").respond_with_data(status=404)
    httpserver.expect_request("/lock", method="LOCK").respond_with_handler(lock)
    httpserver.expect_request("/lock", method="UNLOCK").respond_with_data()
    state, held = httpserver.url_for("/state"), httpserver.url_for("/lock")
    extra = f'retry_max = 0\n    lock_address = "{held}"\n    unlock_address = "{held}"'
    real.write("main.tf", http_backend(state).replace("retry_max = 0", extra) + LOCAL)
    if not any("unshare" in word for word in Guard(os.environ["PATH"]).signed("x")):
        pytest.skip("this machine allows no host name of one's own")
    real.plan(settings={"plan_lock": True})
    assert len(asked) == 1
    assert re.search(r"@dw-[0-9a-f]{16}$", asked[0])


@pytest.mark.row(14)
@pytest.mark.parametrize("lock", [False, True])
@pytest.mark.parametrize("content", ['{"version": 5}', '{"version": 4, "ser'])
def test_a_state_of_another_format_is_unreadable_and_not_locked(
    real: Bench, content: str, *, lock: bool
) -> None:
    """Row 14: although terraform speaks of the lock."""
    state = locked_state(real)
    state.write_text(content, encoding="utf-8")
    with pytest.raises(StateUnreadableError):
        real.plan(settings={"plan_lock": lock})
    assert state.read_text(encoding="utf-8") == content


@pytest.mark.row(17)
def test_too_little_space_starts_nothing(real: Bench, small_disk: Path) -> None:
    """Row 17: told before the work, with what is free and what is wanted."""
    real.write("main.tf", LOCAL)
    with pytest.raises(DiskFullError, match="only 0 MB are free"):
        real.plan(workdir=small_disk / "work")
    assert real.leftovers() == []


@pytest.mark.row(17)
def test_a_disk_that_fills_up_meanwhile_gives_no_plan(real: Bench, small_disk: Path) -> None:
    """Row 17: terraform ends with 0 and an empty plan file then; the next plan works."""
    fill = f'[ "$1" = plan ] && cat /dev/zero > "{small_disk}/fill" 2>/dev/null'
    program = real.play(f'{fill}; exec {real.settings["binary"]} "$@"')
    real.write("main.tf", LOCAL)
    with pytest.raises(DiskFullError) as raised:
        real.plan(workdir=small_disk / "work", settings={"min_free_mb": 0})
    assert raised.value.remedy is Remedy.RETRY
    assert not list((small_disk / "work").glob("**/dw-*"))
    (small_disk / "fill").unlink()
    program.write_text(program.read_text().replace("cat /dev/zero", "true"), encoding="utf-8")
    real.plan(workdir=small_disk / "work", settings={"min_free_mb": 0})


@pytest.mark.row(17)
def test_a_disk_that_is_full_for_init_is_told_as_such(real: Bench, small_disk: Path) -> None:
    """Row 17: in terraform's own words, or in ours when we cannot write."""
    real.write("main.tf", 'terraform {\n  backend "local" {}\n}\n' + LOCAL)
    (small_disk / "work").mkdir()
    with pytest.raises(OSError, match="space"):
        (small_disk / "fill").write_bytes(bytes(1 << 20))
    with pytest.raises(DiskFullError):
        real.plan(workdir=small_disk / "work", settings={"min_free_mb": 0})


@pytest.mark.row(17)
def test_a_plan_file_that_was_cut_short_is_no_plan(real: Bench) -> None:
    """Row 17, by a limit on file sizes: terraform notices nothing, and ends with 0."""
    real.play(f'[ "$1" = plan ] && ulimit -f 1; exec {real.settings["binary"]} "$@"')
    real.write("main.tf", 'resource "terraform_data" "a" {\n  count = 300\n  input = "${count.index} x"\n}\n')
    with pytest.raises(PlanUnreadableError, match="cannot read itself"):
        real.plan()


@pytest.mark.row(28)
def test_a_provider_with_another_hash_than_the_lock_files_is_refused(reading: Bench) -> None:
    """Row 28: no way round it is tried, and the lock file stays."""
    content = f'provider "{ADDRESS}" {{\n  version = "1.0.0"\n  hashes = ["h1:{"A" * 43}="]\n}}\n'
    lock = reading.write(".terraform.lock.hcl", content)
    with pytest.raises(ProviderUnavailableError, match="checksums") as raised:
        reading.plan()
    assert "lock file" in (raised.value.advice or "")
    assert lock.read_text(encoding="utf-8") == content


def test_a_provider_that_no_mirror_has_is_told_by_its_name(sandboxed: Bench) -> None:
    sandboxed.write("main.tf", sandboxed.requiring("acme/x"))
    with pytest.raises(ProviderUnavailableError, match="acme/x"):
        sandboxed.plan()


def test_a_backend_that_does_not_answer_is_told_as_such(real: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    real.write("main.tf", http_backend(f"http://127.0.0.1:{port}/state"))
    with pytest.raises(BackendRefusedError, match="connection refused"):
        real.plan()


def test_a_backend_that_says_no_is_told_as_such(real: Bench, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/state").respond_with_data("", status=403)
    real.write("main.tf", http_backend(httpserver.url_for("/state")))
    with pytest.raises(BackendRefusedError, match="invalid auth"):
        real.plan()


@pytest.mark.row(23)
@pytest.mark.row(24)
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("expired_credentials", CredentialsExpiredError),
        ("access_denied", CredentialsMissingError),
        ("throttled", CloudThrottledError),
    ],
)
def test_what_a_cloud_refuses_is_told_apart(
    reading: Bench, sandbox_cloud: Cloud, fault: str, error: type[DriftwatchError]
) -> None:
    """Rows 23 and 24: credentials, rights, and asking to slow down."""
    sandbox_cloud.inject(Fault(kind=fault, operation="read_data"))
    with pytest.raises(error):
        reading.plan()


def test_a_plan_that_is_stopped_says_nothing_and_leaves_nothing(
    reading: Bench, sandbox_cloud: Cloud, descendants: Callable[[], list[psutil.Process]]
) -> None:
    sandbox_cloud.inject(Fault(kind="delay", operation="read_data", seconds=60))
    with while_planning(reading, reading.stop.set), pytest.raises(EngineInterruptedError):
        reading.plan()
    assert descendants() == []
    assert reading.leftovers() == []


def test_a_second_signal_hurries(
    reading: Bench, sandbox_cloud: Cloud, descendants: Callable[[], list[psutil.Process]]
) -> None:
    sandbox_cloud.inject(Fault(kind="hang", operation="read_data"))

    def hurry() -> None:
        reading.stop.set()
        reading.hurry.set()

    with while_planning(reading, hurry), pytest.raises(EngineInterruptedError):
        reading.plan()
    assert descendants() == []


@pytest.mark.parametrize(
    "said",
    ["", "no", "[]", '{"complete": true, "errored": true}', '{"errored": false}', '{"complete": false}'],
)
def test_a_document_that_does_not_say_that_it_is_complete_is_no_plan(bench: Bench, said: str) -> None:
    bench.play_plan(f"printf '%s' '{said}'")
    bench.write("main.tf", "")
    with pytest.raises(PlanUnreadableError):
        bench.plan()


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_no_exit_code_makes_up_for_a_missing_plan(bench: Bench, code: int) -> None:
    """The fake `show` would be glad to print a good document."""
    bench.play(
        f"case $1 in plan) exit {code};; show) [ -e \"$4\" ] && printf '%s' '{DOCUMENT}}}' || exit 1;; esac"
    )
    bench.write("main.tf", "")
    with pytest.raises(DriftwatchError) as raised:
        bench.plan()
    assert raised.value.code in {"plan_failed", "plan_unreadable", "engine_crashed"}


def test_a_program_that_is_none_is_told_by_its_path(bench: Bench) -> None:
    program = bench.root / "terraform"
    program.write_text("#!/nonexistent\n", encoding="utf-8")
    program.chmod(0o755)
    bench.settings["binary"] = str(program)
    bench.write("main.tf", "")
    with pytest.raises(NoBinaryError, match=str(program)):
        bench.plan()
