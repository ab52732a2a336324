"""`check DIR`: the person's own environment and directory, and nothing written into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from driftwatch.errors import WorkspaceMissingError
from driftwatch.sandbox.address import ADDRESS

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from conftest import Bench

    from driftwatch.sandbox.cloud import Cloud

BUCKET = 'resource "sandbox_bucket" "b" {\n  name = "b"\n}\n'


@pytest.fixture
def person(real: Bench, sandbox_cli_config: Path, sandbox_cloud: Cloud) -> Bench:
    """A person who has the sandbox in their CLI configuration, and a home that cannot be written."""
    home = real.root / "home"
    home.mkdir(mode=0o500)
    real.own |= {"HOME": str(home), "TF_CLI_CONFIG_FILE": str(sandbox_cli_config)}
    real.own |= {"SANDBOX_CLOUD": str(sandbox_cloud.directory)}
    return real


def listing(directory: Path) -> dict[str, Any]:
    return {str(path.relative_to(directory)): path.lstat() for path in [directory, *directory.rglob("*")]}


def without_access_times(found: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {
        name: (it.st_mode, it.st_ino, it.st_size, it.st_mtime_ns, it.st_ctime_ns)
        for name, it in found.items()
    }


def planned_actions(bench: Bench, **options: Any) -> dict[str, list[str]]:
    """Plans for the person, and holds the promise that nothing of theirs was touched."""
    before = without_access_times(listing(bench.checkout))
    bench.said.clear()
    planned = bench.plan(personal=True, **options)
    assert without_access_times(listing(bench.checkout)) == before
    assert bench.leftovers() == []
    return {
        change["address"]: change["change"]["actions"]
        for change in planned.document.get("resource_changes", ())
    }


def initialised(bench: Bench) -> bool:
    return any("Initializing" in line for line in bench.said)


@pytest.mark.row(79)
def test_what_is_initialised_is_planned_as_it_is(person: Bench) -> None:
    """No init is paid for. Row 79: with a home that cannot be written."""
    person.write("main.tf", person.requiring(ADDRESS) + BUCKET)
    person.terraform("init")
    assert planned_actions(person) == {"sandbox_bucket.b": ["create"]}
    assert not initialised(person)


def test_a_data_directory_elsewhere_is_found_where_the_person_has_it(person: Bench) -> None:
    person.write("main.tf", person.requiring(ADDRESS) + BUCKET)
    person.own["TF_DATA_DIR"] = str(person.root / "theirs")
    person.terraform("init")
    assert planned_actions(person) == {"sandbox_bucket.b": ["create"]}
    assert not initialised(person)


def test_what_is_not_initialised_is_initialised_beside_it(person: Bench) -> None:
    """Without a lock file: `init` would write one into the directory."""
    person.write(
        "main.tf", person.requiring(ADDRESS) + 'resource "sandbox_bucket" "b" {\n  name = path.cwd\n}\n'
    )
    assert planned_actions(person) == {"sandbox_bucket.b": ["create"]}
    assert initialised(person)


def test_with_a_lock_file_too(person: Bench) -> None:
    person.write("main.tf", person.requiring(ADDRESS))
    person.terraform("init", TF_DATA_DIR=str(person.root / "gone"))
    assert planned_actions(person) == {}
    assert initialised(person)


def test_an_outdated_initialisation_is_left_alone(person: Bench) -> None:
    person.write("main.tf", person.requiring(ADDRESS))
    person.terraform("init")
    person.write("m.tf", 'variable "v" {}\nmodule "m" {\n  source = "./m"\n  v = var.v\n}\n')
    person.write("m/main.tf", 'variable "v" {}\nresource "terraform_data" "a" {\n  input = var.v\n}\n')
    assert planned_actions(person, variables={"v": "1"}) == {"module.m.terraform_data.a": ["create"]}
    assert initialised(person)


def test_paths_mean_what_they_mean_to_the_person(real: Bench) -> None:
    """Where a tree stands in: the state beside the code, one above the repository, and `path.cwd`."""
    (real.root / "above.txt").write_text("above", encoding="utf-8")
    real.write(
        "main.tf",
        'terraform {\n  backend "local" {\n    path = "../state.tfstate"\n  }\n}\n'
        'resource "terraform_data" "a" {\n  input = [path.cwd, path.module, file("../above.txt")]\n}\n',
    )
    gone = {"TF_DATA_DIR": str(real.root / "gone")}
    real.terraform("init", **gone)
    real.terraform("apply", "-auto-approve", **gone)
    assert planned_actions(real) == {"terraform_data.a": ["no-op"]}
    assert initialised(real)


def test_the_persons_inputs_count(real: Bench) -> None:
    real.own |= {"TF_VAR_a": "environment", "TF_CLI_ARGS_plan": "-var-file=mine.tfvars -destroy"}
    real.write("mine.tfvars", 'b = "arguments"\n')
    (real.root / "given.tfvars").write_text('c = "given"\n', encoding="utf-8")
    real.write(
        "main.tf",
        'variable "a" {}\nvariable "b" {}\nvariable "c" {}\n'
        'output "o" {\n  value = [var.a, var.b, var.c]\n}\n',
    )
    planned = real.plan(personal=True, var_files=(str(real.root / "given.tfvars"),))
    assert planned.document["output_changes"]["o"]["after"] == ["environment", "arguments", "given"]


@pytest.mark.parametrize("way", ["selected", "environment", "asked"])
def test_the_persons_workspace_is_planned(real: Bench, way: str) -> None:
    real.write("main.tf", 'output "w" {\n  value = terraform.workspace\n}\n')
    real.terraform("workspace", "new", "stage")
    if way != "selected":
        real.terraform("workspace", "select", "default")
    if way == "environment":
        real.own["TF_WORKSPACE"] = "stage"
    planned = real.plan(personal=True, workspace="stage" if way == "asked" else "default")
    assert planned.document["output_changes"]["w"]["after"] == "stage"


def test_a_mistyped_workspace_makes_nothing_in_the_directory(real: Bench) -> None:
    real.write("main.tf", 'output "w" {\n  value = terraform.workspace\n}\n')
    with pytest.raises(WorkspaceMissingError, match="stgae"):
        real.plan(personal=True, workspace="stgae")
    assert sorted(path.name for path in real.checkout.iterdir()) == ["main.tf"]
