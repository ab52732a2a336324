"""A person's terminal with terraform in it, and a sample of every kind of resource, applied once."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.sandbox.cloud import Cloud

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEADER = """
terraform {
  required_providers {
    sandbox = { source = "sandbox.driftwatch.local/driftwatch/sandbox" }
  }
}
"""

EVERYTHING = """
provider "sandbox" {}

resource "sandbox_firewall" "web" {
  name        = "web"
  description = "edge"
  ingress {
    port     = 443
    protocol = "tcp"
    cidrs    = ["192.168.0.0/16", "10.0.0.0/8"]
  }
  ingress {
    port        = 80
    protocol    = "tcp"
    cidrs       = ["10.0.0.0/8"]
    description = "redirect"
  }
}

resource "sandbox_bucket" "logs" {
  name = "logs"
  tags = { team = "platform", tier = "cold" }
  lifecycle_rule {
    prefix      = "raw/"
    expire_days = 30
  }
  lifecycle_rule {
    prefix      = "daily/"
    expire_days = 7
  }
}

resource "sandbox_database" "orders" {
  name        = "orders"
  engine      = "postgres"
  version     = "15.4"
  password    = "canary-hunter2"
  parameters  = { max_connections = "100" }
  maintenance = { day = "sunday", hour = 3 }
}

resource "sandbox_dns_record" "www" {
  zone   = "example.test"
  name   = "www"
  type   = "A"
  values = ["203.0.113.2", "203.0.113.1"]
}

data "sandbox_region" "here" {}

data "sandbox_bucket" "logs" {
  name = sandbox_bucket.logs.name
}

output "zones" { value = data.sandbox_region.here.zones }
output "arn" { value = data.sandbox_bucket.logs.arn }
output "endpoint" { value = sandbox_database.orders.endpoint }
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What `show -json` says, asked as a test asks it."""

    document: dict[str, Any]

    def changes(self) -> dict[str, list[str]]:
        """What an apply would do: the addresses that differ, each with its actions."""
        return self._differing("resource_changes")

    def drift(self) -> dict[str, list[str]]:
        """What moved in the cloud since the state was written."""
        return self._differing("resource_drift")

    def change(self, address: str) -> dict[str, Any]:
        return self._one("resource_changes", address)

    def drifted(self, address: str) -> dict[str, Any]:
        return self._one("resource_drift", address)

    def _differing(self, part: str) -> dict[str, list[str]]:
        actions = {entry["address"]: entry["change"]["actions"] for entry in self.document.get(part, [])}
        return {address: todo for address, todo in actions.items() if todo not in (["no-op"], ["read"])}

    def _one(self, part: str, address: str) -> dict[str, Any]:
        (found,) = [entry["change"] for entry in self.document[part] if entry["address"] == address]
        return dict(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """One root module, its cloud and an environment in which nothing is inherited."""

    binary: Path
    root: Path
    module: Path
    cli_config: Path

    @property
    def cloud(self) -> Cloud:
        return Cloud(self.root / "cloud")

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.root / "nobody"),
            "TMPDIR": str(self.root / "tmp"),
            "TF_CLI_CONFIG_FILE": str(self.cli_config),
            "TF_DATA_DIR": str(self.root / "data"),
            "SANDBOX_CLOUD": str(self.root / "cloud"),
            **more,
        }

    def write(self, hcl: str) -> None:
        (self.module / "main.tf").write_text(HEADER + hcl)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.binary), *arguments],
            cwd=self.module,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def must(self, *arguments: str, **environment: str) -> str:
        done = self.run(*arguments, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def fail(self, *arguments: str, **environment: str) -> str:
        """Runs what has to fail, and returns what it said in one line: terraform wraps at 80 columns."""
        done = self.run(*arguments, "-no-color", **environment)
        assert done.returncode == 1, done.stdout + done.stderr
        return " ".join(done.stderr.replace("│", " ").split())

    def init(self) -> None:
        self.must("init", "-input=false", "-no-color")

    def apply(self, *arguments: str) -> str:
        return self.must("apply", "-auto-approve", "-input=false", "-no-color", *arguments)

    def plan(self, **environment: str) -> Plan:
        file = str(self.root / "plan")
        self.must("plan", "-input=false", "-no-color", f"-out={file}", **environment)
        return Plan(json.loads(self.must("show", "-json", file)))


def open_terminal(binary: Path, root: Path, cli_config: Path, module: Path | None = None) -> Terminal:
    terminal = Terminal(binary=binary, root=root, module=module or root / "module", cli_config=cli_config)
    for directory in (root / "cloud", root / "tmp", terminal.module):
        directory.mkdir(parents=True, exist_ok=True)
    return terminal


@pytest.fixture(scope="session")
def terminal_at(terraform_binary: Path, sandbox_cli_config: Path) -> Callable[..., Terminal]:
    """Opens a terminal with its files under a directory, and its module there or elsewhere."""

    def open_at(root: Path, module: Path | None = None) -> Terminal:
        return open_terminal(terraform_binary, root, sandbox_cli_config, module)

    return open_at


@pytest.fixture
def terminal(terminal_at: Callable[..., Terminal], tmp_path: Path) -> Terminal:
    """An empty module and an empty cloud."""
    return terminal_at(tmp_path / "terminal")


@pytest.fixture(scope="session")
def _applied_once(terminal_at: Callable[..., Terminal], tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    terminal = terminal_at(tmp_path_factory.mktemp("applied") / "it")
    terminal.write(EVERYTHING)
    terminal.init()
    terminal.apply()
    return terminal


@pytest.fixture
def applied(_applied_once: Terminal, terminal_at: Callable[..., Terminal], tmp_path: Path) -> Terminal:
    """`EVERYTHING`, applied: a copy of module, state and cloud of the test's own."""
    root = tmp_path / "applied"
    shutil.copytree(_applied_once.root, root, symlinks=True)
    return terminal_at(root)
