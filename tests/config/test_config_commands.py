"""`driftwatch config init | check | schema`, as people and programs use them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from driftwatch.cli.config import app
from driftwatch.config.loading import load
from driftwatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result


@pytest.fixture
def run() -> Callable[..., Result]:
    def invoke(*arguments: str, environment: dict[str, str] | None = None) -> Result:
        return CliRunner().invoke(app, list(arguments), env=environment or {})

    return invoke


def test_init_writes_one_that_check_accepts(run: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "dw.yaml"
    assert run("init", "--output", str(file)).exit_code == 0
    assert load(file, {}).repositories
    checked = run("check", str(file))
    assert checked.exit_code == 0
    assert "is accepted" in checked.output


def test_init_overwrites_only_when_forced(run: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "dw.yaml"
    file.write_text("mine", encoding="utf-8")
    refused = run("init", "--output", str(file))
    assert isinstance(refused.exception, UsageError)
    assert refused.exception.exit_code == 64
    assert "--force" in str(refused.exception.advice)
    assert file.read_text(encoding="utf-8") == "mine"
    assert run("init", "--output", str(file), "--force").exit_code == 0
    assert "repositories:" in file.read_text(encoding="utf-8")


def test_init_where_nothing_can_be_written_says_why(run: Callable[..., Result], tmp_path: Path) -> None:
    refused = run("init", "--output", str(tmp_path / "missing" / "dw.yaml"))
    assert isinstance(refused.exception, UsageError)
    assert "No such file or directory" in refused.exception.message


def test_check_prints_every_problem_and_exits_64(run: Callable[..., Result], tmp_path: Path) -> None:
    file = tmp_path / "dw.yaml"
    file.write_text(
        "repositories:\n  p: {url: 'ext::x', poll: 5}\nweb: {listen: '[red]x'}\n", encoding="utf-8"
    )
    checked = run("check", str(file))
    assert checked.exit_code == 64
    for expected in (
        ":2: repositories.p.url: ",
        ":2: repositories.p.poll: ",
        ":3: web.listen: ",
        "3 to correct",
    ):
        assert expected in checked.output


def test_check_shows_what_was_understood_without_secrets(
    run: Callable[..., Result], shipped: Path, shipped_environment: dict[str, str]
) -> None:
    checked = run("check", str(shipped), environment=shipped_environment)
    assert checked.exit_code == 0
    for expected in ("envs/prod/*", "every 15m", "slack #infra-drift", "webhook:incidents", "email:ops"):
        assert expected in checked.output
    assert "canary" not in checked.output


def test_check_as_json(
    run: Callable[..., Result], shipped: Path, shipped_environment: dict[str, str], tmp_path: Path
) -> None:
    accepted = json.loads(
        run("check", str(shipped), "--format", "json", environment=shipped_environment).output
    )
    assert accepted["accepted"] is True
    assert accepted["problems"] == []
    assert accepted["warnings"] == []
    assert (
        accepted["understood"]["repositories"]["platform"]["stacks"][1]["schedule"]
        == "0 6 * * 1-5 Europe/Paris"
    )
    assert "canary" not in json.dumps(accepted)
    file = tmp_path / "dw.yaml"
    file.write_text("repositories: {}\n", encoding="utf-8")
    doubtful = json.loads(run("check", str(file), "--format", "json").output)
    assert [warning["key"] for warning in doubtful["warnings"]] == ["repositories"]
    assert "(warning)" in run("check", str(file)).output
    file.write_text("repositories: {}\nx: 1\n", encoding="utf-8")
    result = run("check", str(file), "--format", "json")
    assert result.exit_code == 64
    refused = json.loads(result.output)
    assert refused["understood"] is None
    assert refused["problems"] == [{"line": 2, "key": "x", "sentence": refused["problems"][0]["sentence"]}]


def test_a_value_that_came_by_reference_is_not_shown(run: Callable[..., Result], tmp_path: Path) -> None:
    """Whatever key it is for: nobody says that it is no secret."""
    file = tmp_path / "dw.yaml"
    file.write_text(
        "repositories: {p: {url: /srv/p, branch: '${env:B}', stacks: [{path: '${env:B}'}]}}\n",
        encoding="utf-8",
    )
    for form in ("table", "json"):
        assert "canary" not in run("check", str(file), "-f", form, environment={"B": "canary-branch"}).output


def test_schema_is_printed_whole(run: Callable[..., Result]) -> None:
    printed = json.loads(run("schema").output)
    Draft202012Validator.check_schema(printed)
    assert "repositories" in printed["properties"]


def test_the_command_line_is_built_without_the_configuration() -> None:
    """`driftwatch --version` does not pay for pydantic."""
    code = (
        "import driftwatch.cli.config, sys; print(sorted({'pydantic', 'yaml', 'croniter'} & {*sys.modules}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.strip() == "[]"
