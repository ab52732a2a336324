"""One stack with something of everything in it, applied once and put back before every scenario.

Real terraform, the planner, and the sandbox's provider in two versions; what a repository would say (the
commit, the tree) is computed from the directory. The second version has another default for replicas.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003  (a dataclass field)
from typing import TYPE_CHECKING, Any

from driftwatch.config.settings import TerraformSettings
from driftwatch.drift import Digester, Reading, read_plan
from driftwatch.model import Inputs
from driftwatch.sandbox.cloud import Cloud, Kind
from driftwatch.sandbox.mirror import cli_config, install, lock_file
from driftwatch.terraform import Planner, PlanRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from driftwatch.model import JsonValue

SECRET, SECRET_BY_HAND, SECRET_IN_CODE = "canary-hunter2", "canary-by-hand", "canary-in-code"
"""Texts that no evidence and no sentence may hold."""
NEXT = "1.1.0"
BY_HAND = "by-hand"

CODE = f"""
terraform {{
  required_providers {{
    sandbox = {{ source = "sandbox.driftwatch.local/driftwatch/sandbox" }}
  }}
  backend "local" {{}}
}}

variable "team" {{ default = "platform" }}
variable "size" {{ default = 20 }}
variable "key" {{
  default   = "{SECRET}"
  sensitive = true
}}
variable "home" {{ type = string }}
variable "away" {{ type = string }}
variable "network" {{ type = string }}

locals {{ far = var.away }}

provider "sandbox" {{ cloud = var.home }}
provider "sandbox" {{
  alias = "away"
  cloud = var.away
}}
provider "sandbox" {{
  alias = "far"
  cloud = local.far
}}

data "sandbox_bucket" "shared" {{ name = "{BY_HAND}" }}
data "terraform_remote_state" "network" {{
  backend = "local"
  config  = {{ path = var.network }}
}}

resource "sandbox_bucket" "logs" {{
  name = "logs"
  tags = {{
    tier   = "cold"
    owner  = data.sandbox_bucket.shared.tags["owner"]
    subnet = data.terraform_remote_state.network.outputs.subnet
  }}
  lifecycle_rule {{
    prefix      = "raw/"
    expire_days = 30
  }}
  lifecycle_rule {{
    prefix      = "tmp/"
    expire_days = 1
  }}
}}

resource "sandbox_bucket" "team" {{
  name = "team"
  tags = {{ team = var.team }}
}}

resource "sandbox_bucket" "loose" {{
  name = "loose"
  tags = {{ by = "code" }}
  lifecycle {{ ignore_changes = [tags] }}
}}

resource "sandbox_firewall" "web" {{
  name        = "web"
  description = var.team
  ingress {{
    port     = 443
    protocol = "tcp"
    cidrs    = ["10.0.0.0/8", "192.168.0.0/16"]
  }}
}}

resource "sandbox_database" "orders" {{
  name       = "orders"
  engine     = "postgres"
  version    = "15.4"
  size       = var.size
  password   = var.key
  parameters = {{ max_connections = "100" }}
}}

resource "sandbox_dns_record" "db" {{
  zone   = "example.test"
  name   = "db"
  type   = "CNAME"
  values = [sandbox_database.orders.endpoint]
}}

resource "sandbox_dns_record" "www" {{
  zone   = "example.test"
  name   = "www"
  type   = "A"
  values = ["203.0.113.1", "203.0.113.2"]
}}

resource "sandbox_bucket" "far" {{
  count    = 2
  provider = sandbox.far
  name     = "far-${{count.index}}"
}}

output "owner" {{ value = sandbox_bucket.loose.tags }}
"""

WWW, LOGS, WEB, ORDERS = "example.test/www/A", "logs", "local-1/web", "orders"

_NEXT_PROVIDER = """
import driftwatch.sandbox.provider as it
next(each for each in it.Database.schema.attributes if each.name == "replicas").default = 1
it.main()
"""


@dataclass(kw_only=True)
class Estate:
    """The stack, and what can be done to it."""

    root: Path
    mirror: Path
    path: str
    variables: dict[str, JsonValue] = field(default_factory=dict)
    baseline: Reading | None = None

    def __post_init__(self) -> None:
        self.given = {name: str(self.root / name) for name in ("home", "away")}
        self.given["network"] = str(self.root / "network.tfstate")
        self._planner = Planner(
            TerraformSettings(provider_mirrors=(str(self.mirror),)),
            cache=self.root / "cache",
            runs=self.root / "runs",
            environment={"PATH": self.path},
        )

    @property
    def cloud(self) -> Cloud:
        return Cloud(self.root / "home")

    @property
    def far(self) -> Cloud:
        return Cloud(self.root / "away")

    @property
    def code(self) -> str:
        return (self._stack / "main.tf").read_text()

    @property
    def _stack(self) -> Path:
        return self.root / "repository/stack"

    @property
    def _state(self) -> Path:
        return self.root / "terraform.tfstate"

    # What people do.

    def commit(self, *replacements: tuple[str, str], add: str = "") -> None:
        text = self.code
        for old, new in replacements:
            assert old in text, old
            text = text.replace(old, new)
        (self._stack / "main.tf").write_text(text + add)

    def upgrade(self) -> None:
        """As a pull request does that brings the lock file to the provider's next version."""
        content = (self._stack / ".terraform.lock.hcl").read_text()
        for old, new in (('"1.0.0"', f'"{NEXT}"'), (_package_hash(self.mirror, "1.0.0"), self._next_hash)):
            assert old in content
            content = content.replace(old, new)
        (self._stack / ".terraform.lock.hcl").write_text(content)

    @property
    def _next_hash(self) -> str:
        return _package_hash(self.mirror, NEXT)

    def publish(self, **outputs: str) -> None:
        """What the upstream stack's last apply gave out."""
        write_upstream(self.root, **outputs)

    def edit_state(self, change: Any) -> None:
        """By hand, with the serial counted up: `change` gets the resources by address."""
        state = json.loads(self._state.read_text())
        known = {f"{one['type']}.{one['name']}": one for one in state["resources"]}
        change(known)
        state["resources"] = list(known.values())
        state["serial"] += 1
        self._state.write_text(json.dumps(state))

    # What driftwatch does.

    def check(self) -> Reading:
        """A check as the daemon makes it, against the baseline where there is one."""
        request = PlanRequest(
            module=self._stack,
            checkout=self.root / "repository",
            workdir=self.root / "work",
            variables={**self.given, **self.variables},
            backend_config={"path": str(self._state)},
        )
        planned = self._planner.plan(request, threading.Event())
        inputs = Inputs(
            commit=hashlib.sha1(self._files(), usedforsecurity=False).hexdigest(),
            tree=hashlib.sha256(self._files()).hexdigest(),
            lock_file=planned.lock_file,
            engine=planned.engine,
            state_lineage=planned.state_lineage,
            state_serial=planned.state_serial,
        )
        return read_plan(
            planned.document,
            digest=Digester(b"k" * 32),
            inputs=inputs,
            baseline=self.baseline.inputs if self.baseline else None,
        )

    def _files(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self._stack.iterdir()))

    def keep(self) -> None:
        """Makes this the state of affairs that `restore` brings back."""
        self.baseline = self.check()
        for name in _KEPT:
            _copy(self.root / name, self.root / "kept" / name)

    def restore(self) -> None:
        self.variables.clear()
        for name in _KEPT:
            _copy(self.root / "kept" / name, self.root / name)


_KEPT = ("repository", "home", "away", "terraform.tfstate", "network.tfstate")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def write_upstream(root: Path, **outputs: str) -> None:
    values = {name: {"value": value, "type": "string"} for name, value in outputs.items()}
    state = {"version": 4, "serial": 1, "lineage": "upstream", "outputs": values, "resources": []}
    (root / "network.tfstate").write_text(json.dumps(state | {"terraform_version": "1.5.0"}))


def two_versions(directory: Path) -> Path:
    """A mirror with the provider as it is, and a next version of it."""
    install(directory)
    (known,) = directory.rglob("1.0.0/*/terraform-provider-sandbox_v1.0.0")
    package = known.parents[2] / NEXT / known.parent.name
    package.mkdir(parents=True)
    binary = package / f"terraform-provider-sandbox_v{NEXT}"
    binary.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -c {shlex.quote(_NEXT_PROVIDER)}\n")
    binary.chmod(0o755)
    return directory


def _package_hash(mirror: Path, version: str) -> str:
    """The package's `h1:` hash, as golang.org/x/mod/sumdb/dirhash makes it."""
    (binary,) = mirror.rglob(f"terraform-provider-sandbox_v{version}")
    content = hashlib.sha256(binary.read_bytes()).hexdigest()
    listing = hashlib.sha256(f"{content}  {binary.name}\n".encode()).digest()
    return f"h1:{base64.b64encode(listing).decode()}"


def build(root: Path, binary: Path) -> Estate:
    """Applies the stack as somebody did, at version 1.0.0, and keeps what there is then."""
    mirror = two_versions(root / "mirror")
    stack = root / "repository/stack"
    stack.mkdir(parents=True)
    (stack / "main.tf").write_text(CODE)
    (stack / ".terraform.lock.hcl").write_text(lock_file())
    write_upstream(root, subnet="subnet-0a1b", zone="zone-a")
    Cloud(root / "away")
    Cloud(root / "home").create(Kind.BUCKET, {"name": BY_HAND, "tags": {"owner": "old-team"}})
    made = Estate(root=root, mirror=mirror, path=f"{binary.parent}:{os.environ['PATH']}")
    config = root / "terraform.rc"
    config.write_text(cli_config(mirror))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(root),
        "TF_CLI_CONFIG_FILE": str(config),
        "TF_DATA_DIR": str(root / "data"),
        **{f"TF_VAR_{name}": value for name, value in made.given.items()},
    }
    backend = f"-backend-config=path={root / 'terraform.tfstate'}"
    _run(binary, stack, environment, "init", "-input=false", "-lockfile=readonly", backend)
    _run(binary, stack, environment, "apply", "-auto-approve", "-input=false")
    made.keep()
    return made


def _run(binary: Path, directory: Path, environment: Mapping[str, str], *arguments: str) -> None:
    done = subprocess.run(
        [str(binary), *arguments],
        cwd=directory,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
