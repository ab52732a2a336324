"""`driftwatch bench replay` measures on somebody's own module, and leaves it as it was."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from driftwatch.sandbox.cloud import Kind

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import House


@pytest.fixture
def module(house: House) -> Path:
    """The `dns` stack in the colleague's clone, applied and initialised there."""
    house.apply("dns")
    house.environment["TF_CLI_CONFIG_FILE"] = str(house.cli_config)
    house.environment["TF_DATA_DIR"] = str(next((house.directory / "scratch/data").iterdir()))
    return house.repository / "dns"


def test_each_method_is_measured_and_replay_is_the_cheapest(house: House, module: Path) -> None:
    before = sorted(path.name for path in module.iterdir())
    done = house.driftwatch("bench", "replay", str(module), "--rounds", "1", "--format", "json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert {name: set(cost) for name, cost in figures.items()} == {
        name: {"wall_seconds", "cpu_seconds"} for name in ("plan", "warm_plan", "replay")
    }
    walls = {name: cost["wall_seconds"] for name, cost in figures.items()}
    assert walls["replay"] < walls["warm_plan"] < walls["plan"]
    assert sorted(path.name for path in module.iterdir()) == before


def test_a_drifted_stack_is_measured_as_well(house: House, module: Path) -> None:
    """The methods must agree on what they see, not on its being in order."""
    house.cloud.delete(Kind.DNS_RECORD, "example.test/api/A")
    done = house.driftwatch("bench", "replay", str(module), "--rounds", "1")
    assert done.returncode == 0, done.stderr
    assert "replay of" in done.stdout


def test_a_module_that_is_not_initialised_is_refused(house: House) -> None:
    done = house.driftwatch("bench", "replay", str(house.repository / "dns"))
    assert done.returncode == 64
    assert "is not initialised" in done.stderr
