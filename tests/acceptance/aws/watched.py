"""The lab in a configuration of its own, its state in S3 behind an assumed role."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.acceptance.aws.conftest import Lab

BACKEND = """
terraform {{
  backend "s3" {{
    bucket                      = "lab-states"
    key                         = "lab/terraform.tfstate"
    region                      = "eu-west-1"
    access_key                  = "testing"
    secret_key                  = "testing"
    use_path_style              = true
    skip_credentials_validation = true
    skip_metadata_api_check     = true
    skip_requesting_account_id  = true
    endpoints                   = {{ s3 = "{endpoint}", sts = "{endpoint}" }}
    assume_role                 = {{ role_arn = "arn:aws:iam::123456789012:role/states" }}
  }}
}}
"""


class Watched:
    """The lab in a configuration of its own, checked from the terminal."""

    def __init__(self, lab: Lab, mirror: Path, directory: Path) -> None:
        self.lab = lab
        self._mirror = mirror
        self.config = directory / "driftwatch.yaml"
        self.configure({})

    def configure(self, more: Mapping[str, Any], stack: Mapping[str, Any] | None = None) -> None:
        """Writes the configuration, with `more` beside what is usual, and `stack` for its one stack."""
        environment = {"AWS_ENDPOINT_URL": self.lab.endpoint, "NO_PROXY": "127.0.0.1"}
        stacks = [{"path": "**", "environment": environment, **(stack or {})}]
        document = {
            "state_dir": str(self.config.parent / "state"),
            "repositories": {"lab": {"url": str(self.lab.directory), "poll": "2s", "stacks": stacks}},
            "terraform": {"provider_mirrors": [str(self._mirror)], "binary": str(self.lab.binary)},
            "warm": {"shadow_every": 0},
        }
        self.config.write_text(json.dumps({**document, **more}))

    def keep_state_in_s3(self) -> None:
        """Moves the lab's state into a bucket, and commits the backend that says so."""
        self.lab.client("s3").create_bucket(
            Bucket="lab-states", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        main = self.lab.directory / "main.tf"
        main.write_text(main.read_text().replace('backend "local" {}', ""))
        self.commit("backend.tf", BACKEND.format(endpoint=self.lab.endpoint))
        self.lab.terraform("init", "-input=false", "-migrate-state", "-force-copy")

    def check(self) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "driftwatch", "check", "--config", str(self.config), "--format", "json"],
            env={name: self.lab.environment[name] for name in ("PATH", "HOME")},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.stdout, done.stderr
        checked: dict[str, Any] = json.loads(done.stdout)["checks"][0]
        assert checked["error"] is None, checked["error"]
        return checked

    def commit(self, name: str, text: str) -> None:
        (self.lab.directory / name).write_text(text)
        self.lab.git("add", ".")
        self.lab.git("commit", "-q", "-m", f"Change {name}")
