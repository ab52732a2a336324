"""The traps of python-terraform that ours must not fall into."""

from __future__ import annotations

import copy
import logging
import threading
from typing import TYPE_CHECKING

import pytest

from driftwatch.terraform.command import Command, Setting, alone

if TYPE_CHECKING:
    from conftest import Bench


def command(bench: Bench, script: str, **environment: str) -> Command:
    program = bench.play(script)
    return Command(program, Setting(directory=bench.checkout, environment=environment, leash=alone()))


def quiet(_line: bytes) -> None:
    """Nobody listens."""


def argv(bench: Bench) -> list[str]:
    return (bench.root / "argv").read_text(encoding="utf-8").splitlines()


RECORD = 'printf "%s\\n" "$@" > ../argv'


def test_a_misspelt_command_is_no_command(bench: Bench) -> None:
    terraform = command(bench, RECORD)
    with pytest.raises(AttributeError):
        terraform.pln()
    assert not hasattr(terraform, "x")
    assert not (bench.root / "argv").exists()


@pytest.mark.parametrize("name", ["apply", "destroy", "force-unlock", "import", "state rm", "workspace new"])
def test_what_would_change_something_is_never_run(bench: Bench, name: str) -> None:
    with pytest.raises(ValueError, match="not a command"):
        command(bench, RECORD).cmd(name)
    assert not (bench.root / "argv").exists()


def test_upstreams_own_ways_to_change_things_are_closed_too(bench: Bench) -> None:
    terraform = command(bench, RECORD)
    for call in (terraform.apply, terraform.destroy):
        with pytest.raises(ValueError, match="not a command"):
            call()
    with pytest.raises(ValueError, match="not a command"):
        terraform.create_workspace("x")


def test_a_state_file_is_not_loaded(bench: Bench) -> None:
    bench.write("terraform.tfstate", "not json")
    terraform = command(bench, "echo done")
    terraform.cmd("get")
    assert terraform.tfstate is None


def test_nothing_is_inherited(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_DAEMON", "1")
    said = command(bench, "/usr/bin/env", GIVEN="2").cmd("get").stdout
    assert "GIVEN=2" in said
    assert "SECRET_OF_THE_DAEMON" not in said


def test_standard_input_is_closed(bench: Bench) -> None:
    assert command(bench, 'read answer; echo "got $?"').cmd("get").stdout == "got 1\n"


def test_bytes_that_are_no_text_are_kept_as_far_as_they_go(bench: Bench) -> None:
    assert command(bench, "printf 'a\\377b'").cmd("get").stdout == "a\ufffdb"


def test_exit_code_2_is_no_failure_of_ours(bench: Bench) -> None:
    assert command(bench, "exit 2").cmd("get").returncode == 2


def test_nothing_is_logged_and_no_handler_installed(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    before = list(logging.getLogger().handlers)
    with caplog.at_level(logging.DEBUG):
        command(bench, "echo canary >&2; exit 1").cmd("get")
    assert caplog.records == []
    assert logging.getLogger().handlers == before


def test_the_plans_options(bench: Bench) -> None:
    (bench.root / "a b.tfvars").touch()
    command(bench, RECORD).plan(
        each=quiet,
        out=bench.root / "out",
        var_files=[bench.root / "a b.tfvars"],
        parallelism=3,
        lock_timeout=None,
    )
    assert argv(bench) == [
        "plan",
        "-no-color",
        "-json",
        "-input=false",
        f"-out={bench.root}/out",
        "-lock=false",
        "-parallelism=3",
        f"-var-file={bench.root}/a b.tfvars",
    ]


def test_the_inits_options(bench: Bench) -> None:
    terraform = command(bench, RECORD)
    terraform.init(each=quiet, read_only_lock=True, backend_config=bench.root / "b.json")
    assert argv(bench) == [
        "init",
        "-no-color",
        "-input=false",
        "-lockfile=readonly",
        "-backend=true",
        "-reconfigure",
        f"-backend-config={bench.root}/b.json",
    ]
    terraform.init(each=quiet, read_only_lock=False, backend=False, backend_config=bench.root / "b.json")
    assert argv(bench) == ["init", "-no-color", "-input=false", "-backend=false"]


def test_another_directory_is_named_before_the_command(bench: Bench) -> None:
    setting = Setting(directory=bench.checkout, chdir=bench.root, environment={}, leash=alone())
    Command(bench.play('printf "%s\\n" "$@"'), setting)
    said = Command(bench.play('printf "%s\\n" "$@"'), setting).cmd("workspace list").stdout
    assert said.splitlines() == [f"-chdir={bench.root}", "workspace", "list", "-no-color"]


def test_commands_of_many_threads_do_not_meet(bench: Bench) -> None:
    program = bench.play('echo "$WHO"')
    said: dict[str, str] = {}

    def ask(name: str) -> None:
        setting = Setting(directory=bench.checkout, environment={"WHO": name}, leash=alone())
        said[name] = Command(program, setting).cmd("get").stdout.strip()

    threads = [threading.Thread(target=ask, args=(f"n{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {f"n{number}": f"n{number}" for number in range(8)}


def test_it_can_be_copied_without_running_anything(bench: Bench) -> None:
    terraform = command(bench, RECORD)
    copy.copy(terraform)
    assert not (bench.root / "argv").exists()
