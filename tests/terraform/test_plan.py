"""A daemon's plans, with the real terraform: what goes in, what comes out, and what is left."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from driftwatch.config.settings import TerraformSettings
from driftwatch.errors import (
    ConfigurationInvalidError,
    EngineInterruptedError,
    NotARootModuleError,
    VariableMissingError,
    WorkspaceMissingError,
)
from driftwatch.sandbox.address import ADDRESS
from driftwatch.terraform import Planner, PlanRequest

if TYPE_CHECKING:
    from conftest import Bench

    from driftwatch.sandbox.cloud import Cloud

LOCAL = 'resource "terraform_data" "a" {\n  input = "one"\n}\n'


KEPT_BACKEND = "work/.terraform/tree/.terraform/terraform.tfstate"
BUCKET = 'resource "sandbox_bucket" "b" {\n  name = "b"\n}\n'


def sandbox(bench: Bench, cloud: Cloud) -> str:
    return bench.requiring(ADDRESS, f'cloud = "{cloud.directory}"')


def state_backend(bench: Bench) -> str:
    state = bench.root / "state"
    return (
        f'terraform {{\n  backend "local" {{\n    path = "{state}/terraform.tfstate"\n'
        f'    workspace_dir = "{state}/workspaces"\n  }}\n}}\n'
    )


def actions(planned: object) -> dict[str, list[str]]:
    document = planned.document  # type: ignore[attr-defined]
    return {change["address"]: change["change"]["actions"] for change in document["resource_changes"]}


def snapshot(directory: Path) -> dict[str, tuple[int, str]]:
    return {
        str(path.relative_to(directory)): (
            path.stat().st_mode,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in directory.rglob("*")
    }


def test_a_plan_is_complete_and_nothing_is_left_or_written_into_the_checkout(real: Bench) -> None:
    real.write("main.tf", LOCAL)
    before = snapshot(real.checkout)
    planned = real.plan()
    assert actions(planned) == {"terraform_data.a": ["create"]}
    assert planned.document["complete"] is True
    assert (planned.engine.name, planned.engine.providers) == ("terraform", {})
    assert (planned.state_lineage, planned.state_serial, planned.lock_file) == (None, None, None)
    assert snapshot(real.checkout) == before
    assert real.leftovers() == []
    assert any("Plan: 1 to add" in line for line in real.said)


def test_lineage_and_serial_are_those_of_the_state(real: Bench) -> None:
    real.write("main.tf", state_backend(real) + LOCAL)
    real.terraform("init")
    real.terraform("apply", "-auto-approve")
    state = json.loads((real.root / "state" / "terraform.tfstate").read_text())
    planned = real.plan()
    assert (planned.state_lineage, planned.state_serial) == (state["lineage"], state["serial"])
    assert actions(planned) == {"terraform_data.a": ["no-op"]}


def test_init_runs_when_what_it_works_from_changed_and_not_otherwise(real: Bench) -> None:
    def initialised() -> bool:
        real.said.clear()
        real.plan()
        return any("Initializing" in line for line in real.said)

    real.write("main.tf", state_backend(real) + LOCAL)
    assert initialised()
    assert not initialised()
    real.write("other.tf", 'resource "terraform_data" "b" {}\n')
    assert not initialised()
    real.write("module.tf", 'module "m" {\n  source = "./m"\n}\n')
    real.write("m/main.tf", LOCAL)
    assert initialised()
    real.write("main.tf", state_backend(real).replace("terraform.tfstate", "other.tfstate") + LOCAL)
    assert initialised()
    assert not initialised()


def test_what_only_terraform_knows_to_need_an_init_gets_one(sandboxed: Bench, sandbox_cloud: Cloud) -> None:
    """A provider that a commit newly requires is in no file that is looked at beforehand."""
    sandboxed.write("main.tf", LOCAL)
    sandboxed.plan()
    sandboxed.write("bucket.tf", sandbox(sandboxed, sandbox_cloud) + BUCKET)
    planned = sandboxed.plan()
    assert actions(planned)["sandbox_bucket.b"] == ["create"]
    assert planned.engine.providers == {ADDRESS: "1.0.0"}


def test_without_a_lock_file_one_of_our_own_is_kept(sandboxed: Bench, sandbox_cloud: Cloud) -> None:
    sandboxed.write("main.tf", sandbox(sandboxed, sandbox_cloud))
    first = sandboxed.plan()
    assert first.lock_file
    sandboxed.said.clear()
    second = sandboxed.plan()
    assert second.lock_file == first.lock_file
    assert not any("Initializing" in line for line in sandboxed.said)
    assert not (sandboxed.checkout / ".terraform.lock.hcl").exists()


def test_a_committed_lock_file_is_obeyed_and_stays_as_it_is(sandboxed: Bench, sandbox_cloud: Cloud) -> None:
    sandboxed.write("main.tf", sandbox(sandboxed, sandbox_cloud))
    sandboxed.plan()
    lock = next(sandboxed.root.glob("work/.terraform/.terraform.lock.hcl"))
    committed = sandboxed.write(".terraform.lock.hcl", "# ours\n" + lock.read_text())
    before = snapshot(sandboxed.checkout)
    planned = sandboxed.plan()
    assert planned.lock_file == hashlib.sha256(committed.read_bytes()).hexdigest()
    assert planned.engine.providers == {ADDRESS: "1.0.0"}
    assert snapshot(sandboxed.checkout) == before


@pytest.mark.parametrize("personal", [False, True])
def test_a_downloaded_module_is_where_terraform_has_it_by_itself(real: Bench, *, personal: bool) -> None:
    """`path.module` ends up in attributes: another one would be a drift of our own making."""
    module = real.root / "module"
    (module / "sub").mkdir(parents=True)
    nested = 'module "sub" {\n  source = "./sub"\n}\n'
    (module / "main.tf").write_text(
        nested + 'output "paths" {\n  value = [path.module, module.sub.path]\n}\n', encoding="utf-8"
    )
    (module / "sub/main.tf").write_text('output "path" {\n  value = path.module\n}\n', encoding="utf-8")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], cwd=module, check=True)
    real.write("main.tf", f'module "m" {{\n  source = "git::file://{module}"\n}}\n')
    real.write("outputs.tf", 'output "p" {\n  value = module.m.paths\n}\n')
    for _ in range(2):
        planned = real.plan(personal=personal)
        assert planned.document["output_changes"]["p"]["after"] == [
            ".terraform/modules/m",
            ".terraform/modules/m/sub",
        ]
    assert not any("Initializing" in line for line in real.said[-3:])


def test_stacks_fill_the_provider_cache_together_without_harm(sandboxed: Bench, sandbox_cloud: Cloud) -> None:
    for number in range(3):
        sandboxed.write(f"s{number}/main.tf", sandbox(sandboxed, sandbox_cloud))
    failed: list[BaseException] = []
    planner = sandboxed.planner()

    def plan(stack: str) -> None:
        try:
            planner.plan(sandboxed.request(stack), sandboxed.stop)
        except BaseException as problem:  # noqa: BLE001  (told below, in the test's own thread)
            failed.append(problem)

    threads = [threading.Thread(target=plan, args=(f"s{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(list((sandboxed.cache / "providers").glob(f"{ADDRESS}/1.0.0/*"))) == 1


@pytest.mark.row(75)
def test_a_broken_provider_in_the_cache_is_replaced(sandboxed: Bench, sandbox_cloud: Cloud) -> None:
    """Row 75, of the provider cache: a truncated plugin is noticed and installed again."""
    sandboxed.write("main.tf", sandbox(sandboxed, sandbox_cloud))
    sandboxed.plan()
    package = next((sandboxed.cache / "providers").glob(f"{ADDRESS}/1.0.0/*"))
    package.unlink()  # a link into the mirror; the broken copy must not be the mirror's
    package.mkdir()
    broken = package / "terraform-provider-sandbox_v1.0.0"
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o755)
    assert sandboxed.plan().engine.providers == {ADDRESS: "1.0.0"}
    # A stack that never saw the good one, with no lock file to notice by: terraform runs it, and fails.
    next((sandboxed.cache / "providers").glob(f"{ADDRESS}/1.0.0/*")).unlink()
    package.mkdir()
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o755)
    sandboxed.write("other/main.tf", sandbox(sandboxed, sandbox_cloud))
    assert sandboxed.plan("other").engine.providers == {ADDRESS: "1.0.0"}


def test_variables_var_files_and_their_order(real: Bench) -> None:
    real.write(
        "envs/main.tf",
        'variable "a" {}\nvariable "b" {}\nvariable "c" {}\nvariable "d" { default = "" }\n'
        'output "all" {\n  value = [var.a, var.b, var.c, var.d]\n}\n',
    )
    real.write("common.tfvars", 'a = "common"\nb = "common"\nc = "common"\n')
    real.write("envs/prod.tfvars", 'b = "prod"\nc = "prod"\n')
    planned = real.plan(
        "envs",
        var_files=("../common.tfvars", "prod.tfvars"),
        variables={"c": {"${not}": ["a template"]}},
        environment={"TF_VAR_d": "environment"},
    )
    assert planned.document["output_changes"]["all"]["after"] == [
        "common",
        "prod",
        {"${not}": ["a template"]},
        "environment",
    ]


def test_backend_configuration_is_given_in_a_file_and_taken_literally(real: Bench) -> None:
    state = real.root / "${state}" / "x.tfstate"
    real.write("main.tf", 'terraform {\n  backend "local" {}\n}\n' + LOCAL)
    real.plan(backend_config={"path": str(state)})
    backend = json.loads((real.root / KEPT_BACKEND).read_text())
    assert backend["backend"]["config"]["path"] == str(state)
    real.said.clear()
    real.plan(backend_config={"path": str(real.root / "other.tfstate")})
    assert any("Initializing the backend" in line for line in real.said)


@pytest.mark.row(68)
def test_secrets_are_in_no_argument_and_in_no_file_afterwards(real: Bench) -> None:
    """Row 68, of terraform: argv, temporary files and progress."""
    program = real.play(f'echo "$@" >> "{real.root}/argv"; exec {real.settings["binary"]} "$@"')
    assert program.exists()
    real.write("main.tf", 'terraform {\n  backend "local" {}\n}\nvariable "s" {\n  sensitive = true\n}\n')
    real.write("leak.tf", 'output "e" {\n  value = file("/proc/self/environ")\n}\n')
    planned = real.plan(
        variables={"s": "canary-variable"},
        backend_config={"path": str(real.root / "s.tfstate"), "workspace_dir": "canary-backend"},
        environment={"DB_PASSWORD": "canary-environment"},
    )
    assert planned.document["variables"]["s"]["value"] == "canary-variable"
    kept = [path for path in real.root.rglob("*") if path.is_file() and b"canary" in path.read_bytes()]
    # terraform's own note of the backend in use is needed for the next plan, and is our user's alone.
    assert kept == [real.root / KEPT_BACKEND]
    assert kept[0].stat().st_mode & 0o077 == 0
    assert (real.root / "work/.terraform").stat().st_mode & 0o077 == 0
    assert "canary" not in "".join(real.said)


@pytest.mark.row(41)
def test_code_that_is_planned_sees_only_what_it_is_given(real: Bench) -> None:
    """Row 41: the environment holds what is listed, and none of the daemon's secrets."""
    real.own |= {"SLACK_BOT_TOKEN": "xoxb-canary", "AWS_CA_BUNDLE": "/etc/ca", "TF_CLI_ARGS_plan": "-destroy"}
    real.own |= {"NAMED": "by the settings"}
    real.write("main.tf", 'output "e" {\n  value = split("\\u0000", file("/proc/self/environ"))\n}\n')
    planned = real.plan(settings={"inherit_environment": ("NAMED",)}, environment={"STACKS": "own"})
    seen = dict(
        entry.partition("=")[::2] for entry in planned.document["output_changes"]["e"]["after"] if entry
    )
    assert set(seen) == {
        "PATH",
        "LANG",
        "HOME",
        "TMPDIR",
        "TF_IN_AUTOMATION",
        "TF_INPUT",
        "CHECKPOINT_DISABLE",
        "TF_CLI_CONFIG_FILE",
        "TF_DATA_DIR",
        "TF_PLUGIN_CACHE_DIR",
        "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE",
        "DRIFTWATCH_RUN",
        "NAMED",
        "STACKS",
    }
    assert not Path(seen["HOME"]).exists()


@pytest.mark.row(40)
@pytest.mark.parametrize("place", ["terraform.d/plugins", ".terraform/providers"])
def test_providers_in_the_repository_are_not_run(sandboxed: Bench, place: str) -> None:
    """Row 40: a provider that the repository brings along leaves no marker."""
    package = f"{place}/evil.example.com/acme/evil/1.0.0/linux_amd64"
    program = sandboxed.write(
        f"{package}/terraform-provider-evil_v1.0.0", f"#!/bin/sh\ntouch '{sandboxed.root}/marker'\n"
    )
    program.chmod(0o755)
    sandboxed.write("main.tf", sandboxed.requiring("evil.example.com/acme/evil"))
    sandboxed.write(
        ".terraform.lock.hcl",
        'provider "evil.example.com/acme/evil" {\n  version = "1.0.0"\n  hashes = ["h1:HASH="]\n}\n'.replace(
            "HASH", "A" * 43
        )
        if place.startswith(".terraform")
        else "",
    )
    with pytest.raises(Exception, match="provider") as raised:
        sandboxed.plan()
    assert raised.value.code == "provider_unavailable"  # type: ignore[attr-defined]
    assert not (sandboxed.root / "marker").exists()


def test_a_workspace_is_planned_in_its_own_state(real: Bench) -> None:
    real.write(
        "main.tf", state_backend(real) + 'resource "terraform_data" "a" {\n  input = terraform.workspace\n}\n'
    )
    real.terraform("init")
    real.terraform("workspace", "new", "stage")
    real.terraform("apply", "-auto-approve")
    assert actions(real.plan(workspace="stage")) == {"terraform_data.a": ["no-op"]}
    assert actions(real.plan()) == {"terraform_data.a": ["create"]}


def test_a_workspace_that_is_not_there_is_told_and_not_made(real: Bench) -> None:
    real.write("main.tf", state_backend(real) + LOCAL)
    with pytest.raises(WorkspaceMissingError, match="the workspace stage does not exist; there are default"):
        real.plan(workspace="stage")
    assert not (real.root / "state").exists()
    assert not list(real.root.rglob("terraform.tfstate.d"))


def test_a_local_state_beside_code_with_a_backend_elsewhere_is_not_in_the_way(real: Bench) -> None:
    """With one there, `init` asks whether to migrate it; here is nobody to answer, and nothing to migrate."""
    real.write("main.tf", LOCAL)
    real.terraform("apply", "-auto-approve")
    real.write("backend.tf", 'terraform {\n  backend "inmem" {}\n}\n')
    for personal in (False, True):
        assert actions(real.plan(personal=personal, workdir=real.root / f"work-{personal}")) == {
            "terraform_data.a": ["create"]
        }


def test_broken_code_is_told_with_its_place(real: Bench) -> None:
    real.write("envs/broken.tf", 'resource "terraform_data" "a" {\n  inpt = 1\n}\n')
    with pytest.raises(ConfigurationInvalidError, match=r"^broken\.tf:2: Unsupported argument"):
        real.plan("envs")
    real.write("envs/broken.tf", 'resource "terraform_data" {\n')
    with pytest.raises(ConfigurationInvalidError, match=r"^broken\.tf:1: "):
        real.plan("envs")
    assert real.leftovers() == []


def test_a_missing_variable_is_told_by_its_name(real: Bench) -> None:
    real.write("main.tf", 'variable "region" {}\n')
    with pytest.raises(VariableMissingError, match=r"no value for var\.region"):
        real.plan()


def test_a_directory_without_code_starts_nothing(real: Bench) -> None:
    real.write("docs/README.md", "")
    with pytest.raises(NotARootModuleError):
        real.plan("docs")
    assert real.leftovers() == []


@pytest.mark.row(79)
def test_blanks_and_letters_of_other_scripts_in_paths_do_no_harm(
    sandboxed: Bench, sandbox_cloud: Cloud
) -> None:
    """Row 79: everywhere, and longer than a Unix socket's name may be."""
    stack = "umgebung für köln/" + "x" * 80 + "/生産"
    sandboxed.write(f"{stack}/main.tf", sandbox(sandboxed, sandbox_cloud) + BUCKET)
    assert actions(sandboxed.plan(stack)) == {"sandbox_bucket.b": ["create"]}
    assert sandboxed.leftovers() == []


def test_stacks_whose_directories_lie_in_each_other_do_not_meet(real: Bench) -> None:
    stacks = ("data", "data/tree")
    for stack in stacks:
        real.write(f"{stack}/main.tf", LOCAL)
    for _ in range(2):
        for stack in stacks:
            assert actions(real.plan(stack)) == {"terraform_data.a": ["create"]}


def test_a_plan_that_shall_not_start_does_not(real: Bench) -> None:
    real.write("main.tf", LOCAL)
    real.stop.set()
    with pytest.raises(EngineInterruptedError):
        real.plan()
    assert real.leftovers() == []


def test_directories_may_be_relative(real: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Terraform works in another directory than we do."""
    monkeypatch.chdir(real.root)
    real.write("main.tf", state_backend(real) + LOCAL)
    planner = Planner(
        TerraformSettings(min_free_mb=1), cache=Path("c"), runs=Path("r"), environment=os.environ
    )
    request = PlanRequest(module=Path("checkout"), checkout=Path("checkout"), workdir=Path("w"))
    assert actions(planner.plan(request, real.stop)) == {"terraform_data.a": ["create"]}


def test_the_engines_of_the_machine_are_listed(real: Bench) -> None:
    (binary,) = real.planner().binaries()
    assert (binary.name, binary.source) == ("terraform", "terraform.binary")
    assert binary.version[0].isdigit()
