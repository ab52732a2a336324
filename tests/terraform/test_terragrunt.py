"""A unit of terragrunt is planned by itself, and what cannot be told of it is an error, never in sync.

terragrunt is played by `terragrunt_played.py`; the terraform behind it is real.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.config.settings import TerraformSettings
from driftwatch.errors import (
    ConfigurationInvalidError,
    EngineTimeoutError,
    NoBinaryError,
    NotARootModuleError,
    PlanFailedError,
    PlanTooLargeError,
    PlanUnreadableError,
    TerragruntMissingError,
    UnitUnsupportedError,
    UnsafeRepositoryError,
    VersionMismatchError,
)
from driftwatch.terraform import Applier, Planner, PlanRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from driftwatch.terraform import Planned
    from tests.terraform.conftest import Bench

PLAYED = Path(__file__).with_name("terragrunt_played.py")

APP = """
variable "name" {}
variable "vpc_id" { default = "none" }
resource "terraform_data" "app" {
  input = "${var.name} in ${var.vpc_id}"
}
output "id" { value = "the-id" }
"""


@dataclass(kw_only=True)
class Live:
    """A repository with a root configuration, a module and two units, and a machine with terragrunt."""

    bench: Bench
    terraform: Path
    program: Path
    settings: dict[str, Any] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def write(self, name: str, text: str) -> None:
        self.bench.write(name, text)

    def play(self, *, version: str = "1.1.3", mode: str = "") -> None:
        (self.program.parent / "version").write_text(version, encoding="utf-8")
        (self.program.parent / "mode").write_text(mode, encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(self.program.parent), str(self.terraform.parent), os.environ["PATH"]])
        return {"PATH": path, **self.own}

    def planner(self) -> Planner:
        return Planner(
            TerraformSettings(**{"min_free_mb": 1, **self.settings}),
            cache=self.bench.cache,
            runs=self.bench.runs,
            environment=self.environment,
        )

    def request(self, unit: str, **options: Any) -> PlanRequest:
        return self.bench.request(unit, engine="terragrunt", **options)

    def plan(self, unit: str = "live/app", **options: Any) -> Planned:
        return self.planner().plan(self.request(unit, **options), threading.Event(), self.said.append)

    def asked(self) -> tuple[list[str], dict[str, str]]:
        """What terragrunt was called with: arguments and environment."""
        arguments, environment = json.loads((self.program.parent / "asked").read_bytes())
        return arguments, environment


@pytest.fixture
def live(bench: Bench, terraform_binary: Path) -> Live:
    program = bench.root / "bin" / "terragrunt"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {program}.py "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    program.with_name("terragrunt.py").write_bytes(PLAYED.read_bytes())
    bench.write(
        "root.hcl", f'remote_state {{\n  path = "{bench.root}/states/${{path_relative_to_include()}}"\n}}\n'
    )
    bench.write("modules/app/main.tf", APP)
    bench.write(
        "live/app/terragrunt.hcl",
        'include "root" {\n  path = find_in_parent_folders("root.hcl")\n}\n'
        'terraform {\n  source = "../../modules//app"\n}\n'
        'inputs = {\n  name = "shop" # input\n}\n',
    )
    return Live(bench=bench, terraform=terraform_binary, program=program)


def changes(planned: Planned) -> dict[str, Any]:
    return {
        each["address"]: (each["change"]["actions"], (each["change"]["after"] or {}).get("input"))
        for each in planned.document["resource_changes"]
    }


def test_a_unit_is_planned_with_its_inputs_where_its_source_was_copied_to(live: Live) -> None:
    """The verdict is the plan's document; the checkout is not written to."""
    before = sorted(path for path in live.bench.checkout.rglob("*"))
    planned = live.plan()
    assert changes(planned) == {"terraform_data.app": (["create"], "shop in none")}
    assert planned.engine.name == "terraform"
    assert planned.place is None
    assert sorted(path for path in live.bench.checkout.rglob("*")) == before
    assert live.bench.leftovers() == []


def test_it_is_told_in_its_environment_how_to_run_and_changes_nothing_on_the_way(live: Live) -> None:
    """Neither a lock nor a bucket for the state; what the daemon has in its environment is not passed on."""
    live.own = {"TG_BACKEND_BOOTSTRAP": "true", "TG_ALL": "true", "SECRET": "x"}
    live.plan(environment={"TG_WORKING_DIR": "/", "TG_IAM_ASSUME_ROLE": "arn:role"})
    arguments, environment = live.asked()
    assert arguments[0] == "plan"
    assert "-lock=false" in arguments
    assert not any("all" in each for each in arguments)
    assert environment["TG_BACKEND_BOOTSTRAP"] == "false"
    assert environment["TG_NON_INTERACTIVE"] == "true"
    assert environment["TG_IAM_ASSUME_ROLE"] == "arn:role"
    assert {"TG_ALL", "TG_WORKING_DIR", "TERRAGRUNT_TFPATH"}.isdisjoint(environment)


def test_an_older_one_gets_the_names_that_it_knows(live: Live) -> None:
    live.play(version="0.67.16")
    assert changes(live.plan()) == {"terraform_data.app": (["create"], "shop in none")}
    _, environment = live.asked()
    assert environment["TERRAGRUNT_FAIL_ON_STATE_BUCKET_CREATION"] == "true"
    assert not any(name.startswith("TG_") for name in environment)


def test_a_dependencys_outputs_are_read_for_it(live: Live) -> None:
    live.write("modules/vpc/main.tf", 'output "id" { value = "vpc-1" }\n')
    live.write(
        "live/vpc/terragrunt.hcl",
        'include "root" {\n  path = find_in_parent_folders("root.hcl")\n}\n'
        'terraform {\n  source = "../../modules//vpc"\n}\n',
    )
    unit = live.bench.checkout / "live/app/terragrunt.hcl"
    unit.write_text(unit.read_text() + 'dependency "vpc" {\n  config_path = "../vpc"\n}\n')
    live.bench.settings["binary"] = str(live.terraform)
    state = live.bench.root / "states" / "vpc" / "terraform.tfstate"
    state.parent.mkdir(parents=True)
    state.write_text(
        json.dumps(
            {
                "version": 4,
                "terraform_version": "1.0.0",
                "serial": 1,
                "lineage": "a",
                "outputs": {"id": {"value": "vpc-1", "type": "string"}},
                "resources": [],
            }
        )
    )
    assert changes(live.plan()) == {"terraform_data.app": (["create"], "shop in vpc-1")}


def test_what_was_downloaded_is_kept_while_the_unit_is_the_same_and_then_is_not(live: Live) -> None:
    live.plan()
    units = live.bench.root / "work/live/app/.terraform/units"
    (marker,) = units.glob("*/app/.terraform")
    (marker / "marker").touch()
    live.plan()
    assert (marker / "marker").exists()
    live.write("modules/app/main.tf", APP.replace("shop", "mall") + "# changed\n")
    live.plan()
    assert not (marker / "marker").exists()


def test_variables_and_var_files_of_the_stack_are_given(live: Live) -> None:
    live.write("live/app/more.tfvars", 'vpc_id = "vpc-9"\n')
    planned = live.plan(var_files=("more.tfvars",), variables={"name": "mall"})
    assert changes(planned) == {"terraform_data.app": (["create"], "mall in vpc-9")}


def test_without_terragrunt_nothing_is_known(live: Live) -> None:
    live.program.unlink()
    with pytest.raises(TerragruntMissingError, match="cannot be checked") as raised:
        live.plan()
    assert raised.value.report().code == "no_terragrunt"
    assert not raised.value.report().passing


def test_a_program_that_is_no_terragrunt_is_told(live: Live) -> None:
    live.program.write_text("#!/bin/sh\necho hello\n")
    with pytest.raises(TerragruntMissingError, match="does not say which version"):
        live.plan()


@pytest.mark.parametrize("mode", ["skips", "lies"])
def test_that_it_ended_well_says_nothing(live: Live, mode: str) -> None:
    """An excluded unit ends with 0 and no plan; so does one whose terraform failed and was not heard."""
    live.play(mode=mode)
    live.write("modules/app/main.tf", APP + 'resource "terraform_data" "broken" {\n  nonsense = 1\n}\n')
    with pytest.raises(PlanUnreadableError, match="left no plan"):
        live.plan()


def test_a_hook_that_fails_after_the_plan_is_a_failure(live: Live) -> None:
    live.play(mode="fails after")
    with pytest.raises(PlanFailedError, match="terragrunt failed"):
        live.plan()


@pytest.mark.parametrize("command", ["apply", "destroy", "import", "taint", "init -migrate-state"])
def test_a_hook_that_would_change_something_is_refused(live: Live, command: str) -> None:
    unit = live.bench.checkout / "live/app/terragrunt.hcl"
    words = json.dumps(command.split())
    unit.write_text(
        unit.read_text() + f'terraform {{\n  before_hook "x" {{\n    execute = {words}\n  }}\n}}\n'
    )
    with pytest.raises(PlanFailedError, match=f"no terraform {command} in a check"):
        live.plan()
    assert not (live.bench.root / "states").exists()


def test_a_hook_that_calls_terraform_by_name_meets_the_gate_too(live: Live) -> None:
    live.play(mode="calls by name")
    with pytest.raises(PlanFailedError, match="no terraform apply in a check"):
        live.plan()
    assert not (live.bench.root / "states").exists()


def given(live: Live, text: str) -> None:
    """A unit that gives each plan more arguments, or more environment."""
    unit = live.bench.checkout / "live/app/terragrunt.hcl"
    unit.write_text(
        unit.read_text()
        + f'terraform {{\n  extra_arguments "x" {{\n    commands = ["plan"]\n    {text}\n  }}\n}}\n'
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["-refresh=false"], "-refresh"),
        (["--refresh=0"], "-refresh"),
        (["-refresh=true", "-refresh=F"], "-refresh"),
        (["-refresh-only"], "-refresh-only"),
        (["-destroy"], "-destroy"),
        (["-target", "terraform_data.other"], "-target"),
        (["--target=terraform_data.other"], "-target"),
        (["-exclude=terraform_data.app"], "-exclude"),
    ],
)
def test_a_plan_that_is_told_to_look_away_is_refused(live: Live, arguments: list[str], named: str) -> None:
    """A plan of a part, or without a look at the cloud, would say "in sync" of what it did not see."""
    given(live, f"arguments = {json.dumps(arguments)}")
    with pytest.raises(UnitUnsupportedError, match=f"leave something out.* with {named}$"):
        live.plan()


def test_it_is_refused_whatever_terragrunt_makes_of_it(live: Live) -> None:
    live.play(mode="lies")
    given(live, 'arguments = ["-target=terraform_data.other"]')
    with pytest.raises(UnitUnsupportedError, match=r"with -target$"):
        live.plan()


@pytest.mark.parametrize(
    "variable",
    [
        'TF_CLI_ARGS_plan = "-refresh=false"',
        'TF_CLI_ARGS_plan = "-lock=false -destroy"',
        'TF_CLI_ARGS = "-target=terraform_data.other"',
        "TF_CLI_ARGS_plan = \"'-refresh=false'\"",
        'TF_CLI_ARGS_plan = "-var-file=other.tfvars"',
    ],
)
def test_so_is_one_that_is_told_in_its_environment(live: Live, variable: str) -> None:
    given(live, f"env_vars = {{\n      {variable}\n    }}")
    with pytest.raises(UnitUnsupportedError, match=rf"with {variable.split(maxsplit=1)[0]}$"):
        live.plan()


@pytest.mark.parametrize(
    "text",
    [
        'arguments = ["-refresh=true", "-compact-warnings", "-var", "vpc_id=none"]',
        'env_vars = {\n      TF_CLI_ARGS_plan = "-parallelism=30 -lock=true"\n    }',
        'env_vars = {\n      TF_CLI_ARGS_show = "-refresh=false nonsense"\n    }',
    ],
)
def test_what_says_only_how_to_plan_is_no_matter(live: Live, text: str) -> None:
    given(live, text)
    assert changes(live.plan()) == {"terraform_data.app": (["create"], "shop in none")}


@pytest.mark.parametrize("first", ["", "1.7.5"])
def test_a_document_that_does_not_say_that_it_is_whole_is_no_plan(live: Live, first: str) -> None:
    """Be it that the program itself says that it is of a version that would, or only its document."""
    wrapper = live.program.with_name("terraform")
    says = f'echo \'{{"terraform_version": "{first}"}}\'' if first else f"{live.terraform} version -json"
    wrapper.write_text(
        '#!/bin/sh\ncase "$1" in\n'
        f"version) {says} ;;\n"
        f"""show) {live.terraform} "$@" | sed 's/,"complete":true//' ;;\n"""
        f'*) exec {live.terraform} "$@" ;;\nesac\n',
        encoding="utf-8",
    )
    wrapper.chmod(0o755)
    with pytest.raises(PlanUnreadableError, match="not complete"):
        live.plan()


def test_what_terraform_says_is_what_is_told(live: Live) -> None:
    live.write("modules/app/main.tf", APP + 'resource "terraform_data" "broken" {\n  nonsense = 1\n}\n')
    with pytest.raises(ConfigurationInvalidError, match="nonsense"):
        live.plan()


def test_what_terragrunt_says_is_told_where_terraform_never_ran(live: Live) -> None:
    (live.bench.checkout / "root.hcl").unlink()
    with pytest.raises(
        PlanFailedError, match=r"^terragrunt failed: ParentFileNotFoundError: could not find a root\.hcl"
    ):
        live.plan()


def test_a_plan_that_is_too_large_is_told(live: Live) -> None:
    live.settings["max_plan_mb"] = 1
    big = "x" * (700 << 10)
    live.write("modules/app/main.tf", APP + f'resource "terraform_data" "big" {{\n  input = "{big}"\n}}\n')
    with pytest.raises(PlanTooLargeError):
        live.plan()


def test_one_that_hangs_is_stopped(live: Live, descendants: Callable[[], list[Any]]) -> None:
    live.program.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && { echo terragrunt version 1.1.3; exit 0; }\nexec sleep 60\n'
    )
    live.settings |= {"plan_timeout": "0.5s", "init_timeout": "0.5s"}
    planner = Planner(
        TerraformSettings.model_validate(
            {"min_free_mb": 1, "plan_timeout": "500ms", "init_timeout": "500ms"}
        ),
        cache=live.bench.cache,
        runs=live.bench.runs,
        environment=live.environment,
    )
    with pytest.raises(EngineTimeoutError, match="did not finish within 1 s"):
        planner.plan(live.request("live/app"), threading.Event())
    assert descendants() == []
    assert live.bench.leftovers() == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"workspace": "prod"}, "workspaces"),
        ({"backend_config": {"bucket": "b"}}, "backend"),
        ({"generates": True}, "adopted"),
    ],
)
def test_what_is_not_done_for_units_is_refused(live: Live, options: dict[str, Any], why: str) -> None:
    with pytest.raises(UnitUnsupportedError, match=why):
        live.plan(**options)


def test_a_unit_is_never_applied(live: Live) -> None:
    applier = Applier(
        TerraformSettings(min_free_mb=1),
        cache=live.bench.cache,
        runs=live.bench.runs,
        applies=live.bench.applies,
        environment=live.environment,
    )
    with pytest.raises(UnitUnsupportedError, match="does not apply units"):
        applier.prepare(live.request("live/app"), 1, threading.Event())
    assert not live.bench.applies.exists()


def test_a_directory_that_is_no_unit_is_told(live: Live) -> None:
    live.write("live/empty/readme.md", "nothing")
    with pytest.raises(NotARootModuleError, match="no unit of terragrunt"):
        live.plan("live/empty")


def test_a_unit_outside_of_the_checkout_is_refused(live: Live, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (live.bench.checkout / "live" / "link").symlink_to(outside)
    with pytest.raises(UnsafeRepositoryError):
        live.plan("live/link")


def test_the_versions_that_its_files_ask_for_are_heard(live: Live) -> None:
    """Its own constraint, a version file above it, and its module's required_version."""
    root = live.bench.checkout / "root.hcl"
    root.write_text(root.read_text() + 'terraform_version_constraint = "~> 0.11.0"\n')
    with pytest.raises(VersionMismatchError, match=r"~> 0\.11\.0"):
        live.plan()


def test_the_program_that_its_files_name_is_the_one(live: Live) -> None:
    root = live.bench.checkout / "root.hcl"
    root.write_text(root.read_text() + 'terraform_binary = "/usr/local/bin/tofu"\n')
    with pytest.raises(NoBinaryError, match="the stack's engine is tofu; found only"):
        live.plan()
    root.write_text(root.read_text().replace("tofu", "terraform"))
    assert live.plan().engine.name == "terraform"


def test_where_its_files_name_none_it_is_tofu_where_that_is_there(live: Live) -> None:
    """As terragrunt itself has it. This tofu is played; what it is called with is what counts."""
    tofu = live.program.with_name("tofu")
    tofu.write_text(f'#!/bin/sh\nexec {live.terraform} "$@"\n', encoding="utf-8")
    tofu.chmod(0o755)
    assert live.plan().engine.name == "tofu"
    (live.bench.checkout / ".terraform-version").write_text("1.0.0\n", encoding="utf-8")
    with pytest.raises(VersionMismatchError, match=r"terraform 1\.0\.0"):
        live.plan()


def test_a_person_who_checks_a_unit_is_told_what_it_is(live: Live) -> None:
    with pytest.raises(NotARootModuleError) as raised:
        live.planner().plan(live.bench.request("live/app", personal=True), threading.Event())
    assert "engine: terragrunt" in str(raised.value.advice)


def test_it_stands_nowhere_so_that_nothing_is_replayed(live: Live) -> None:
    live.plan()
    assert live.planner().standing(live.request("live/app")) is None
