"""Replay for real: the AWS provider, a state in S3 behind an assumed role, and the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.aws.conftest import Lab

pytestmark = [pytest.mark.aws, pytest.mark.xdist_group("aws")]

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

EPHEMERAL = """
ephemeral "aws_secretsmanager_random_password" "once" {
  password_length = 12
}
"""


class Watched:
    """The lab in a configuration of its own, checked from the terminal."""

    def __init__(self, lab: Lab, mirror: Path, directory: Path) -> None:
        self.lab = lab
        self.config = directory / "driftwatch.yaml"
        self.config.write_text(
            json.dumps(
                {
                    "state_dir": str(directory / "state"),
                    "repositories": {
                        "lab": {
                            "url": str(lab.directory),
                            "stacks": [
                                {
                                    "path": "**",
                                    "environment": {
                                        "AWS_ENDPOINT_URL": lab.endpoint,
                                        "NO_PROXY": "127.0.0.1",
                                    },
                                }
                            ],
                        }
                    },
                    "terraform": {"provider_mirrors": [str(mirror)], "binary": str(lab.binary)},
                    "warm": {"shadow_every": 0},
                }
            )
        )

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


@pytest.fixture
def watched(lab: Lab, aws_mirror: Path, tmp_path: Path) -> Watched:
    lab.client("s3").create_bucket(
        Bucket="lab-states", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    main = lab.directory / "main.tf"
    main.write_text(main.read_text().replace('backend "local" {}', ""))
    made = Watched(lab, aws_mirror, tmp_path)
    made.commit("backend.tf", BACKEND.format(endpoint=lab.endpoint))
    lab.terraform("init", "-input=false", "-migrate-state", "-force-copy")
    return made


def how(check: dict[str, Any]) -> tuple[str, str, str]:
    return check["method"], check["method_reason"], check["verdict"]


@pytest.mark.timeout(900)
def test_a_stack_with_its_state_in_s3_is_replayed_until_something_moves(watched: Watched) -> None:
    """Across processes: each check is a run of its own, and the recording waits on disk, sealed."""
    assert how(watched.check()) == ("plan", "no_recording", "in_sync")
    replayed = watched.check()
    assert how(replayed) == ("replay", "reads_same", "in_sync")
    queue = watched.lab.client("sqs", "us-east-1")
    url = queue.get_queue_url(QueueName="lab-elsewhere")["QueueUrl"]
    queue.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "17"})
    drifted = watched.check()
    assert how(drifted) == ("plan", "reads_differ", "drifted")
    assert [finding["address"] for finding in drifted["findings"] if finding["counted"]] == [
        "aws_sqs_queue.elsewhere"
    ]
    watched.lab.terraform("apply", "-auto-approve", "-input=false")
    assert how(watched.check()) == ("plan", "state_changed", "in_sync")
    watched.commit("once.tf", EPHEMERAL)
    assert how(watched.check())[:2] == ("plan", "files_changed")
    assert how(watched.check())[:2] == ("plan", "ephemeral")
    state = watched.config.parent / "state"
    recordings = list((state / "recordings").iterdir())
    assert recordings
    for path in state.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert b"canary-lab-secret" not in path.read_bytes() or path.suffix == ".tf", path
