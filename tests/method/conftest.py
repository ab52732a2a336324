"""A stack of the sandbox with everything real around it: terraform, provider processes, the planner.

What a repository would say (the commit, the tree of what the stack reads) is computed from the directory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import threading
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path  # noqa: TC003  (a dataclass field)
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.config.settings import TerraformSettings, WarmSettings
from driftwatch.drift import Digester
from driftwatch.model import Approach, Inputs
from driftwatch.pipeline.method import Examiner, Question, Seen, Trail
from driftwatch.sandbox.cloud import Cloud, Kind
from driftwatch.terraform import Planner, PlanRequest
from driftwatch.warm.house import House
from driftwatch.warm.pool import Limits
from driftwatch.warm.quarantine import Quarantine
from driftwatch.warm.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

KEY = b"k" * 32

STACK = """
terraform {
  required_providers {
    sandbox = { source = "sandbox.driftwatch.local/driftwatch/sandbox" }
  }
  backend "local" {}
}

variable "team" { default = "platform" }

provider "sandbox" {}

resource "sandbox_firewall" "web" {
  name = "web"
  ingress {
    port     = 443
    protocol = "tcp"
    cidrs    = ["10.0.0.0/8"]
  }
}

resource "sandbox_database" "orders" {
  name     = "orders"
  engine   = "postgres"
  version  = "15.4"
  password = "canary-hunter2"
}

module "logs" {
  source = "../modules/logs"
  team   = var.team
}

data "sandbox_bucket" "shared" { name = "by-hand" }

output "tags" { value = data.sandbox_bucket.shared.tags }
"""

MODULE = """
terraform {
  required_providers {
    sandbox = { source = "sandbox.driftwatch.local/driftwatch/sandbox" }
  }
}
variable "team" {}
resource "sandbox_bucket" "logs" {
  name = "logs"
  tags = { team = var.team }
}
"""


class Watch(House):
    """A house in which a test may have something happen right before a replay."""

    before_replay: Callable[[], None] | None = None

    def replay(self, *arguments: Any, **options: Any) -> Any:
        happening, self.before_replay = self.before_replay, None
        if happening:
            happening()
        return super().replay(*arguments, **options)


@dataclass(kw_only=True)
class Stand:
    """One stack, and what driftwatch needs to check it."""

    root: Path
    mirror: Path
    path: str
    now: datetime = datetime(2026, 11, 23, 12, tzinfo=UTC)
    settings: WarmSettings = field(default_factory=lambda: WarmSettings(shadow_every=0))
    terraform: TerraformSettings = field(default_factory=TerraformSettings)
    environment: dict[str, str] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    var_files: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    commit: str = "1" * 40
    stored_states: Any = None
    backend: dict[str, str] | None = None
    _house: Watch | None = None

    @property
    def repository(self) -> Path:
        return self.root / "repository"

    @property
    def cloud(self) -> Cloud:
        return Cloud(self.root / "cloud")

    @property
    def state(self) -> Path:
        return self.root / "terraform.tfstate"

    @property
    def house(self) -> Watch:
        if self._house is None:
            shelf = Shelf(self.root / "state/recordings", KEY, limit=1 << 30)
            quarantine = Quarantine(self.root / "state/quarantine.json")
            self._house = Watch(self.limits, shelf, quarantine, clock=lambda: self.now)
        return self._house

    def close(self) -> None:
        """As a restart does."""
        if self._house is not None:
            self._house.close()
            self._house = None
            vars(self).pop("_examiner", None)

    @property
    def examiner(self) -> Examiner:
        if "_examiner" not in vars(self):
            planner = Planner(
                self.terraform.model_copy(update={"provider_mirrors": (str(self.mirror),)}),
                cache=self.root / "state/cache",
                runs=self.root / "state/runs",
                environment={"PATH": self.path},
            )
            self._examiner = Examiner(
                planner,
                self.house,
                self.settings,
                digest=Digester(KEY),
                stored_states=self.stored_states,
                clock=lambda: self.now,
            )
        return self._examiner

    def tree(self) -> str:
        """What Git's tree hashes of the stack, its module and its var files would come to."""
        digest = hashlib.sha256()
        for directory in ("stack", "modules"):
            for path in sorted((self.repository / directory).rglob("*")):
                if path.is_file():
                    digest.update(f"{path.relative_to(self.repository)}".encode() + path.read_bytes())
        return digest.hexdigest()

    def request(self, checkout: Path) -> PlanRequest:
        return PlanRequest(
            module=checkout / "stack",
            checkout=checkout,
            workdir=self.root / "state/work/stack",
            var_files=self.var_files,
            variables=self.variables,
            backend_config={"path": str(self.state)} if self.backend is None else self.backend,
            environment={"SANDBOX_CLOUD": str(self.cloud.directory), **self.environment},
        )

    def question(self, approach: Approach = Approach.AUTO) -> Question:
        return Question(
            stack="platform/stack",
            inputs=Inputs(commit=self.commit, tree=self.tree()),
            baseline=None,
            request=self.request,
            checkout=lambda: nullcontext(self.repository),
            stop=threading.Event(),
            approach=approach,
            trail=Trail(),
        )

    def check(self, approach: Approach = Approach.AUTO) -> Checked:
        question = self.question(approach)
        seen = self.examiner.examine(question)
        return Checked(seen, question.trail)

    def write(self, **files: str) -> None:
        """Files of the stack, `__` for a dot."""
        for name, text in files.items():
            (self.repository / "stack" / name.replace("__", ".")).write_text(text)

    def edit_state(self, **changes: Any) -> None:
        self.state.write_text(json.dumps({**json.loads(self.state.read_text()), **changes}))

    def open_port(self) -> None:
        rule = {"port": 22, "protocol": "tcp", "cidrs": ["0.0.0.0/0"], "description": None}
        self.cloud.update(Kind.FIREWALL, "local-1/web", {"ingress": [rule]})

    def with_settings(self, **changes: Any) -> None:
        self.settings = self.settings.model_copy(update=changes)
        vars(self).pop("_examiner", None)


@dataclass(frozen=True)
class Checked:
    seen: Seen
    trail: Trail

    @property
    def how(self) -> tuple[str, str]:
        return self.trail.method.value, self.trail.reason

    @property
    def verdict(self) -> str:
        return self.seen.reading.verdict.value

    @property
    def differing(self) -> set[str]:
        return {each.address for each in self.seen.reading.findings if each.counted}


def terraform(binary: Path, directory: Path, environment: Mapping[str, str], *arguments: str) -> None:
    done = subprocess.run(
        [str(binary), *arguments],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": str(directory), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def _applied(
    terraform_binary: Path, sandbox_cli_config: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The stack as somebody applied it: repository, cloud, state."""
    root = tmp_path_factory.mktemp("method")
    stack, logs = root / "repository/stack", root / "repository/modules/logs"
    for directory in (stack, logs, root / "cloud"):
        directory.mkdir(parents=True)
    (stack / "main.tf").write_text(STACK)
    (logs / "main.tf").write_text(MODULE)
    Cloud(root / "cloud").create(Kind.BUCKET, {"name": "by-hand"})
    environment = {
        "SANDBOX_CLOUD": str(root / "cloud"),
        "TF_CLI_CONFIG_FILE": str(sandbox_cli_config),
        "TF_DATA_DIR": str(root / "data"),
    }
    backend = f"-backend-config=path={root / 'terraform.tfstate'}"
    terraform(terraform_binary, stack, environment, "init", "-input=false", backend)
    terraform(terraform_binary, stack, environment, "apply", "-auto-approve", "-input=false")
    (stack / ".terraform.lock.hcl").unlink()
    shutil.rmtree(root / "data")
    return root


@pytest.fixture
def stand(_applied: Path, sandbox_mirror: Path, terraform_binary: Path, tmp_path: Path) -> Iterator[Stand]:
    """The test's own copy."""
    root = tmp_path / "stand"
    shutil.copytree(_applied, root)
    made = Stand(root=root, mirror=sandbox_mirror, path=f"{terraform_binary.parent}:{os.environ['PATH']}")
    yield made
    made.close()


@pytest.fixture
def recorded(stand: Stand) -> Stand:
    """One whose first plan was recorded and proved."""
    first = stand.check()
    assert first.how == ("plan", "no_recording")
    assert first.verdict == "in_sync"
    return stand


@pytest.fixture
def a_day() -> timedelta:
    return timedelta(days=1)


@pytest.fixture
def replaced() -> Any:
    """`dataclasses.replace`, for tests that make a recording say something else."""
    return replace
