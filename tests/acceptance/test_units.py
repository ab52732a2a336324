"""Units of terragrunt under the real command line: real Git, real terraform, and a played terragrunt."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from driftwatch.errors import Exit

PLAYED = Path(__file__).parents[1] / "terraform" / "terragrunt_played.py"
INCLUDE = 'include "root" {\n  path = find_in_parent_folders("root.hcl")\n}\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A repository with two units, one of which reads the other's outputs, and a machine with terragrunt."""

    root: Path
    terraform: Path

    @property
    def repository(self) -> Path:
        return self.root / "live-code"

    @property
    def terragrunt(self) -> Path:
        return self.root / "bin" / "terragrunt"

    def write(self, name: str, text: str) -> None:
        path = self.repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def commit(self) -> None:
        who = ("-c", "user.name=ada", "-c", "user.email=ada@example.com")
        for words in (("init", "-q", "-b", "main"), ("add", "--all"), (*who, "commit", "-qm", "A change")):
            subprocess.run(["git", *words], cwd=self.repository, check=True, capture_output=True)

    def apply(self, module: str, unit: str, **variables: str) -> None:
        """What somebody applies; by terraform, into the state that the unit has."""
        place = self.root / "applied" / unit
        shutil.copytree(self.repository / "modules" / module, place, dirs_exist_ok=True)
        state = self.root / "states" / unit / "terraform.tfstate"
        (place / "backend.tf").write_text(
            f'terraform {{\n  backend "local" {{\n    path = "{state}"\n  }}\n}}\n'
        )
        given = {f"TF_VAR_{name}": value for name, value in variables.items()}
        for words in (("init", "-input=false"), ("apply", "-auto-approve", "-input=false")):
            subprocess.run(
                [self.terraform, *words],
                cwd=place,
                env={"PATH": os.environ["PATH"], "HOME": str(self.root), **given},
                check=True,
                capture_output=True,
            )

    def driftwatch(self, *words: str) -> subprocess.CompletedProcess[str]:
        programs = [str(self.terragrunt.parent), str(self.terraform.parent), os.environ["PATH"]]
        return subprocess.run(
            [sys.executable, "-m", "driftwatch", *words, "-c", "driftwatch.yaml"],
            cwd=self.root,
            env={"PATH": os.pathsep.join(programs), "HOME": str(self.root)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def check(self) -> tuple[int, dict[str, Any]]:
        ran = self.driftwatch("check", "--format", "json")
        checks = json.loads(ran.stdout)["checks"]
        return ran.returncode, {each["stack"]: each for each in checks}


@pytest.fixture
def machine(tmp_path: Path, terraform_binary: Path) -> Machine:
    machine = Machine(root=tmp_path, terraform=terraform_binary)
    machine.terragrunt.parent.mkdir()
    machine.terragrunt.write_text(f'#!/bin/sh\nexec {sys.executable} "$0.py" "$@"\n', encoding="utf-8")
    machine.terragrunt.chmod(0o755)
    machine.terragrunt.with_name("terragrunt.py").write_bytes(PLAYED.read_bytes())
    states = f'  path = "{tmp_path}/states/${{path_relative_to_include()}}"\n'
    machine.write("root.hcl", f"remote_state {{\n{states}}}\n")
    machine.write("modules/vpc/main.tf", 'output "id" {\n  value = "vpc-1"\n}\n')
    machine.write(
        "modules/app/main.tf",
        app_code("${var.vpc_id}"),
    )
    vpc, app = (f'terraform {{\n  source = "../../modules//{each}"\n}}\n' for each in ("vpc", "app"))
    machine.write("live/vpc/terragrunt.hcl", INCLUDE + vpc)
    machine.write(
        "live/app/terragrunt.hcl", INCLUDE + app + 'dependency "vpc" {\n  config_path = "../vpc"\n}\n'
    )
    machine.commit()
    (tmp_path / "driftwatch.yaml").write_text(
        "state_dir: ./state\n"
        "repositories:\n"
        "  platform:\n"
        f"    url: {machine.repository}\n"
        "    stacks: [{path: 'live/**', engine: terragrunt}, {path: '**'}]\n"
        "terraform: {min_free_mb: 1}\n",
        encoding="utf-8",
    )
    machine.apply("vpc", "vpc")
    machine.apply("app", "app", vpc_id="vpc-1")
    return machine


def test_units_are_checked_one_by_one_and_their_code_is_no_stack_of_its_own(machine: Machine) -> None:
    """In sync, then not, as an input has changed; and without terragrunt nothing is known."""
    code, checks = machine.check()
    assert {stack: each["verdict"] for stack, each in checks.items()} == {
        "platform/live/vpc": "in_sync",
        "platform/live/app": "in_sync",
    }
    assert code == Exit.OK
    machine.write("modules/app/main.tf", app_code("${var.vpc_id} and more"))
    machine.commit()
    code, checks = machine.check()
    assert code == Exit.DIFFERENCES
    assert checks["platform/live/vpc"]["verdict"] == "in_sync"
    (finding,) = checks["platform/live/app"]["findings"]
    assert finding["address"] == "terraform_data.app"
    graph = json.loads(machine.driftwatch("stacks", "graph", "-f", "json").stdout)
    assert [(each["upstream"], each["downstream"]) for each in graph["edges"]] == [
        ("platform/live/vpc", "platform/live/app")
    ]
    machine.terragrunt.unlink()
    code, checks = machine.check()
    assert code == Exit.ERROR
    assert {each["error"]["class"] for each in checks.values()} == {"no_terragrunt"}
    assert "in_sync" not in {each["verdict"] for each in checks.values()}


def app_code(value: str) -> str:
    return f'variable "vpc_id" {{}}\nresource "terraform_data" "app" {{\n  input = "{value}"\n}}\n'
