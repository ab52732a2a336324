"""`check`: what it is called, what it leaves, and that nothing unknown passes for in sync."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from driftwatch.cli.clock import now
from driftwatch.cli.sweep import may_hold
from driftwatch.errors import Exit
from driftwatch.sandbox.cloud import Cloud, Fault
from driftwatch.service import StateLock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Estate, Ran

MODULE = """\
terraform {
  backend "local" {}
}
variable "zone" { default = "a" }
"""
WATCHED = """\
provider "sandbox" { cloud = %s }
data "sandbox_bucket" "logs" { name = "logs" }
terraform {
  required_providers { sandbox = { source = "sandbox.driftwatch.local/driftwatch/sandbox" } }
}
"""


@pytest.fixture
def module(terraform_binary: Path, tmp_path: Path) -> Path:
    directory = tmp_path / "lab" / "my [bold]mødule"
    directory.mkdir(parents=True)
    (directory / "main.tf").write_text(MODULE)
    return directory


def content(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def test_a_directory_is_checked_and_left_alone(
    cli: Callable[..., Ran], module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a relative name with a slash, or through a symbolic link."""
    (module.parent / "link").symlink_to(module.name)
    monkeypatch.chdir(module.parent)
    scratch = module.parent.parent / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    before = content(module.parent)
    ran = cli("check", "link/", "--var", "zone=b", "--format", "json")
    assert ran.code == Exit.OK, ran
    assert json.loads(ran.out)["checks"][0]["stack"] == "lab/my [bold]mødule"
    assert "lab/my [bold]mødule  in sync" in cli("check", module.name).out
    assert content(module.parent) == before
    assert list(scratch.iterdir()) == []


def test_the_selected_workspace_is_part_of_the_name(cli: Callable[..., Ran], module: Path) -> None:
    """Its results are not those of the default one."""
    (module / ".terraform").mkdir()
    (module / ".terraform/environment").write_text("staging")
    ran = cli("check", module, "--format", "json")
    check = json.loads(ran.out)["checks"][0]
    assert check["stack"].endswith("@staging")
    assert (ran.code, check["verdict"], check["error"]["class"]) == (Exit.ERROR, "error", "workspace_missing")


def test_a_wrong_command_line_is_64(cli: Callable[..., Ran], module: Path, estate: Estate) -> None:
    for arguments in (
        (),
        (module, module),
        (module / "main.tf",),
        (module / "nowhere",),
        (module, "--var", "zone"),
        (module, "--format", "yaml"),
        ("--config", estate.config, "--var", "zone=b"),
        ("--config", estate.config, "--workspace", "x"),
    ):
        ran = cli("check", *arguments)
        assert (ran.code, ran.out) == (Exit.USAGE, ""), arguments


def test_the_environment_does_not_turn_a_directory_into_a_stack(
    cli: Callable[..., Ran], module: Path, monkeypatch: pytest.MonkeyPatch, estate: Estate
) -> None:
    monkeypatch.setenv("DRIFTWATCH_CONFIG", str(estate.config))
    assert cli("check", module).code == Exit.OK


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_check_that_is_stopped_concludes_nothing_and_leaves_nothing(
    module: Path, tmp_path: Path, sandbox_cli_config: Path, number: signal.Signals
) -> None:
    """Ctrl-C, and a terminal that is closed."""
    cloud, scratch = Cloud(tmp_path / "cloud"), tmp_path / "scratch"
    cloud.inject(Fault(kind="delay", operation="read_data", seconds=60, times=1))
    scratch.mkdir()
    (module / "main.tf").write_text(WATCHED % json.dumps(str(cloud.directory)))
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "TMPDIR": str(scratch),
        "TF_CLI_CONFIG_FILE": str(sandbox_cli_config),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "driftwatch", "check", str(module)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            started = processes_of(running, cloud)
            running.send_signal(number)
            out, err = running.communicate(timeout=30)
        finally:
            running.kill()
    assert (running.returncode, out) == (Exit.ERROR, "")
    assert "Interrupted; nothing was concluded." in err
    assert list(scratch.iterdir()) == []
    assert psutil.wait_procs(started, timeout=10)[1] == []


def processes_of(running: subprocess.Popen[str], cloud: Cloud) -> list[psutil.Process]:
    """All below it, once the plan waits for the cloud, which says so by having used its fault up."""
    fault, deadline = cloud.directory / "faults.json", time.monotonic() + 30
    while time.monotonic() < deadline and running.poll() is None:
        if not fault.exists():
            time.sleep(0.2)
            return psutil.Process(running.pid).children(recursive=True)
        time.sleep(0.05)
    raise AssertionError(f"no plan waits: {running.communicate(timeout=5)}")


@pytest.fixture
def watched(estate: Estate, module: Path) -> Estate:
    """A configuration with a repository that can be read and one that cannot."""
    repository = module.parent
    for directory in (repository / "dns", repository / "net"):
        directory.mkdir()
        (directory / "main.tf").write_text(MODULE)
    for arguments in (("init", "-q", "-b", "main"), ("add", "dns", "net"), ("commit", "-q", "-m", "x")):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@example.test", *arguments],
            cwd=repository,
            check=True,
        )
    estate.config.write_text(
        "state_dir: ./state\n"
        "repositories:\n"
        f"  lab: {{url: {repository}, stacks: [{{path: '*'}}]}}\n"
        f"  gone: {{url: {repository / 'gone'}, stacks: [{{path: '*'}}]}}\n"
    )
    return estate


def test_a_repository_of_which_nothing_can_be_read_is_no_success(
    cli: Callable[..., Ran], watched: Estate
) -> None:
    """The others are checked; and where only they are asked for, it does not matter."""
    ran = cli("check", "--config", watched.config, "--format", "json")
    assert ran.code == Exit.ERROR
    assert "gone could not be read" in ran.err
    assert [check["verdict"] for check in json.loads(ran.out)["checks"]] == ["in_sync", "in_sync"]
    ran = cli("check", "--config", watched.config, "lab/d*")
    assert (ran.code, ran.err) == (Exit.OK, "")
    assert ran.out.startswith("lab/dns  in sync")


def test_every_pattern_must_name_a_stack(cli: Callable[..., Ran], watched: Estate) -> None:
    """A stack that was misspelt was not looked at."""
    ran = cli("check", "--config", watched.config, "lab/dns", "lab/nett")
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert "no stack matches lab/nett" in ran.err


def test_while_a_daemon_works_the_way_is_to_ask_it(cli: Callable[..., Ran], watched: Estate) -> None:
    with StateLock.acquire(watched.state, clock=now):
        ran = cli("check", "--config", watched.config)
    assert ran.code == Exit.ERROR
    assert "driftwatch trigger STACK" in ran.err


@pytest.mark.parametrize(
    ("pattern", "repositories"),
    [
        ("lab/dns", "lab"),
        ("lab/*", "lab"),
        ("l*", "lab lab2"),
        ("*dns", "lab lab2 other"),
        ("lab?/x", "lab2"),
        ("", ""),
    ],
)
def test_only_repositories_that_may_hold_the_stack_are_fetched(pattern: str, repositories: str) -> None:
    held = {name for name in ("lab", "lab2", "other") if may_hold(name, [pattern])}
    assert held >= set(repositories.split())
    assert "other" not in held or pattern in ("", "*dns")
