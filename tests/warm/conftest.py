"""An applied stack of the sandbox, a pool, and plans with and without it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.drift import Digester, read_plan
from driftwatch.model import Inputs
from driftwatch.sandbox.cloud import Cloud, Kind
from driftwatch.warm.gateway import Gateway
from driftwatch.warm.packages import Packages, Selection
from driftwatch.warm.pool import Limits, Pool
from driftwatch.warm.replay import Outcome, replay

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from driftwatch.drift import Reading
    from driftwatch.warm.recording import Recording

STACK = """
terraform {
  required_providers {
    sandbox = { source = "sandbox.driftwatch.local/driftwatch/sandbox" }
  }
}

provider "sandbox" {}

provider "sandbox" {
  alias  = "far"
  region = "local-2"
}

resource "sandbox_firewall" "web" {
  name        = "web"
  description = "edge"
  ingress {
    port     = 443
    protocol = "tcp"
    cidrs    = ["192.168.0.0/16", "10.0.0.0/8"]
  }
}

resource "sandbox_bucket" "logs" {
  name = "logs"
  tags = { team = "platform", tier = "cold" }
  lifecycle_rule {
    prefix      = "raw/"
    expire_days = 30
  }
}

resource "sandbox_bucket" "far" {
  provider = sandbox.far
  name     = "far"
}

resource "sandbox_database" "orders" {
  name     = "orders"
  engine   = "postgres"
  version  = "15.4"
  password = "canary-hunter2"
}

resource "sandbox_dns_record" "www" {
  zone   = "example.test"
  name   = "www"
  type   = "A"
  values = ["203.0.113.2", "203.0.113.1"]
}

data "sandbox_bucket" "shared" {
  name = "by-hand"
}

output "tags" { value = data.sandbox_bucket.shared.tags }
output "endpoint" { value = sandbox_database.orders.endpoint }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A root module with its cloud and terraform."""

    root: Path
    binary: Path
    cli_config: Path

    @property
    def module(self) -> Path:
        return self.root / "module"

    @property
    def cloud(self) -> Cloud:
        return Cloud(self.root / "cloud")

    @property
    def provider_environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root / "nobody"),
            "SANDBOX_CLOUD": str(self.root / "cloud"),
        }

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.binary), *arguments],
            cwd=self.module,
            env={
                **self.provider_environment,
                "TF_CLI_CONFIG_FILE": str(self.cli_config),
                "TF_DATA_DIR": str(self.root / "data"),
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def must(self, *arguments: str, **environment: str) -> str:
        done = self.run(*arguments, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def plan(self, **environment: str) -> dict[str, Any]:
        file = str(self.root / "plan")
        self.must("plan", "-input=false", "-no-color", "-lock=false", f"-out={file}", **environment)
        document = json.loads(self.must("show", "-json", file, **environment))
        # terraform lists these in the random order of a map.
        relevant = sorted(document.get("relevant_attributes", ()), key=json.dumps)
        return {**document, "relevant_attributes": relevant}

    def packages(self) -> Selection:
        return Packages().selected(self.root / "data", self.module / ".terraform.lock.hcl")

    def gateway(self, pool: Pool, environment: Mapping[str, str] | None = None, **options: Any) -> Gateway:
        return Gateway(
            pool,
            self.packages(),
            environment=self.provider_environment if environment is None else environment,
            directory=self.module,
            stop=threading.Event(),
            **options,
        )

    def plan_warm(self, pool: Pool, **options: Any) -> tuple[dict[str, Any], Recording]:
        """A plan through a gateway in which nothing may go wrong."""
        with self.gateway(pool, **options) as gateway:
            document = self.plan(TF_REATTACH_PROVIDERS=gateway.reattach())
            assert gateway.faults == ()
            return document, gateway.recording()


def reading(document: Mapping[str, Any]) -> Reading:
    """What driftwatch makes of a plan."""
    return read_plan(document, digest=Digester(b"key"), inputs=Inputs(), baseline=None)


def again(recording: Recording, pool: Pool, *, seconds: float = 30.0) -> Outcome:
    return replay(recording, pool, seconds=seconds, parallelism=10, stop=threading.Event())


@pytest.fixture
def limits() -> Limits:
    return Limits()


@pytest.fixture
def pool(limits: Limits) -> Iterator[Pool]:
    with Pool(limits, lambda: datetime.now(UTC)) as made:
        yield made


@pytest.fixture(scope="session")
def _applied(
    terraform_binary: Path, sandbox_cli_config: Path, tmp_path_factory: pytest.TempPathFactory
) -> Stack:
    root = tmp_path_factory.mktemp("warm")
    stack = Stack(root=root, binary=terraform_binary, cli_config=sandbox_cli_config)
    stack.module.mkdir()
    (root / "cloud").mkdir()
    (stack.module / "main.tf").write_text(STACK)
    stack.cloud.create(Kind.BUCKET, {"name": "by-hand"})
    stack.must("init", "-input=false")
    stack.must("apply", "-auto-approve", "-input=false")
    return stack


@pytest.fixture
def stack(_applied: Stack, tmp_path: Path) -> Stack:
    """The stack, applied and untouched: the test's own copy."""
    root = tmp_path / "stack"
    shutil.copytree(_applied.root, root, symlinks=True)
    return Stack(root=root, binary=_applied.binary, cli_config=_applied.cli_config)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A plan's recording, with a cloud of its own to replay it against: terraform is not needed again."""

    cloud: Cloud
    recording: Recording


@pytest.fixture(scope="session")
def _recorded(_applied: Stack) -> Recording:
    with Pool(Limits(), lambda: datetime.now(UTC)) as made:
        return _applied.plan_warm(made)[1]


@pytest.fixture
def recorded(_recorded: Recording, _applied: Stack, pool: Pool, tmp_path: Path) -> Recorded:
    place = tmp_path / "cloud"
    shutil.copytree(_applied.root / "cloud", place)
    conversations = []
    for each in _recorded.conversations:
        environment = {**each.environment, "SANDBOX_CLOUD": str(place)}
        key = pool.key(each.key.package, environment, _applied.module)
        conversations.append(replace(each, environment=environment, key=key))
    return Recorded(cloud=Cloud(place), recording=replace(_recorded, conversations=tuple(conversations)))


@pytest.fixture
def read() -> Any:
    """`reading`, for tests: this file cannot be imported from."""
    return reading


@pytest.fixture
def ask_again() -> Any:
    return again


@pytest.fixture
def clock() -> Any:
    return lambda: datetime.now(UTC)
