"""Bad input at the terminal: one clear error of a named class, with what to do, and never "in sync"."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A root module that cannot be checked, and the class its error must have."""

    code: str
    files: dict[str, str] = field(default_factory=dict)
    says: str = ""


RESOURCE = 'resource "terraform_data" "x" {}\n'
NO_SUCH_PROVIDER = """\
terraform {
  required_providers {
    nope = { source = "sandbox.driftwatch.local/no/nope" }
  }
}
"""
CLOSED_BACKEND = """\
terraform {
  backend "http" {
    address = "http://127.0.0.1:@PORT@/state"
  }
}
"""
FUTURE_STATE = '{"version": 99, "terraform_version": "9.9.9", "serial": 1, "lineage": "x"}\n'

CASES = {
    "broken HCL": Case(
        code="configuration_invalid", files={"main.tf": 'resource "terraform_data" "x" {\n'}, says="main.tf"
    ),
    "a missing variable": Case(
        code="variable_missing", files={"main.tf": 'variable "region" {\n  type = string\n}\n'}, says="region"
    ),
    "no root module": Case(code="not_a_root_module", files={"README.md": "nothing\n"}),
    "a wrong engine version": Case(
        code="version_mismatch",
        files={"main.tf": 'terraform {\n  required_version = "~> 0.11.0"\n}\n'},
        says="0.11.0",
    ),
    "a pinned version that is not there": Case(
        code="version_mismatch",
        files={"main.tf": RESOURCE, ".terraform-version": "0.12.31\n"},
        says="0.12.31",
    ),
    "a provider that cannot be had": Case(
        code="provider_unavailable", files={"main.tf": NO_SUCH_PROVIDER}, says="nope"
    ),
    "a backend that refuses": Case(code="backend_refused", files={"main.tf": CLOSED_BACKEND}),
    "a state from the future": Case(
        code="state_unreadable", files={"main.tf": RESOURCE, "terraform.tfstate": FUTURE_STATE}
    ),
    "a missing workspace": Case(code="workspace_missing", files={"main.tf": RESOURCE}, says="staging"),
}


@pytest.mark.parametrize("name", CASES)
def test_each_has_a_class_and_advice(
    name: str, tmp_path: Path, sandbox_cli_config: Path, terraform_binary: Path
) -> None:
    case = CASES[name]
    module = tmp_path / "module"
    module.mkdir()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = str(closed.getsockname()[1])
    for file, content in case.files.items():
        (module / file).write_text(content.replace("@PORT@", port))
    before = sorted(path.name for path in module.iterdir())
    extra = ["--workspace", "staging"] if case.code == "workspace_missing" else []
    code, check = run_check(module, sandbox_cli_config, tmp_path, *extra)
    assert (code, check["verdict"]) == (1, "error")
    assert check["error"]["class"] == case.code, check["error"]
    assert check["error"]["advice"]
    assert case.says in check["error"]["message"] + (check["error"]["detail"] or "")
    assert sorted(path.name for path in module.iterdir()) == before, "a check only reads"


def test_a_variable_that_nothing_declares_is_a_typo(tmp_path: Path, sandbox_cli_config: Path) -> None:
    """A verdict on other inputs than somebody meant would be worse than none."""
    module = tmp_path / "module"
    module.mkdir()
    (module / "main.tf").write_text('variable "region" {\n  default = "local-1"\n}\n')
    code, check = run_check(module, sandbox_cli_config, tmp_path, "--var", "regoin=local-2")
    assert (code, check["error"]["class"]) == (1, "configuration_invalid")
    assert "regoin" in check["error"]["message"]
    code, check = run_check(module, sandbox_cli_config, tmp_path, "--var", "region=local-2")
    assert (code, check["error"]) == (0, None)


def test_without_any_binary_it_says_what_to_install(tmp_path: Path, sandbox_cli_config: Path) -> None:
    module = tmp_path / "module"
    module.mkdir()
    (module / "main.tf").write_text('resource "terraform_data" "x" {}\n')
    tools = tmp_path / "bin"
    tools.mkdir()
    git = shutil.which("git")
    assert git
    (tools / "git").symlink_to(git)
    code, check = run_check(module, sandbox_cli_config, tmp_path, path=str(tools))
    if check["engine"] is not None:
        pytest.skip("the extra `embedded` is installed: there is a binary")
    assert (code, check["error"]["class"]) == (1, "no_binary")
    assert "Install terraform or tofu" in check["error"]["advice"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["check"], "directory"),
        (["check", "no-such-directory"], "no-such-directory"),
        (["check", "--format", "yaml", "."], "yaml"),
        (["check", "--config", "no-such-file.yaml"], "no-such-file.yaml"),
        (["frobnicate"], "frobnicate"),
        (["findings", "list", "--config", "no-such-file.yaml"], "no-such-file.yaml"),
    ],
)
def test_wrong_usage_is_64(arguments: list[str], says: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "driftwatch", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 64, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_corrupt_configuration_names_each_line(tmp_path: Path) -> None:
    (tmp_path / "driftwatch.yaml").write_text(
        "repositories:\n  platform:\n    url: ext::sh -c true\n    brunch: main\n    poll: fast\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "driftwatch", "run", "--config", "driftwatch.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 64
    for line, key in ((3, "url"), (4, "brunch"), (5, "poll")):
        assert f"driftwatch.yaml:{line}: repositories.platform.{key}" in done.stderr, done.stderr


def run_check(
    module: Path, cli_config: Path, home: Path, *extra: str, path: str | None = None
) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "driftwatch", "check", str(module), "--format", "json", *extra],
        env={
            "PATH": path or os.environ["PATH"],
            "HOME": str(home),
            "TF_CLI_CONFIG_FILE": str(cli_config),
            "CHECKPOINT_DISABLE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)["checks"][0]
