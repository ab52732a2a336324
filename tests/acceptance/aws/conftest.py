"""The AWS lab: moto's server plays AWS, the real provider talks to it, a working copy holds the code.

Needs the AWS provider in a local mirror; without one these tests are skipped, and say so.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import boto3
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

LAB = Path(__file__).parent / "lab"
PROVIDER = Path("registry.terraform.io/hashicorp/aws")
IMPLIED_MIRRORS = (
    Path.home() / ".terraform.d/plugins",
    Path.home() / ".local/share/terraform/plugins",
    Path("/usr/local/share/terraform/plugins"),
    Path("/usr/share/terraform/plugins"),
    *Path("/opt").glob("*"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """An applied copy of the lab."""

    directory: Path
    endpoint: str
    environment: dict[str, str]
    binary: Path

    def terraform(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(self.binary), *arguments],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def client(self, service: str, region: str = "eu-west-1") -> Any:
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.endpoint,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def check(self) -> tuple[int, dict[str, Any]]:
        """`driftwatch check DIR --format json`, as a person would run it: exit code and document."""
        done = subprocess.run(
            [sys.executable, "-m", "driftwatch", "check", str(self.directory), "--format", "json"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)["checks"][0]

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com", *arguments],
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()


@pytest.fixture(scope="session")
def aws_mirror() -> Path:
    """A filesystem mirror that holds the AWS provider."""
    for directory in IMPLIED_MIRRORS:
        if (directory / PROVIDER).is_dir():
            return directory
    pytest.skip(f"no {PROVIDER} in any implied mirror directory: the AWS tests need one")


@pytest.fixture(scope="session")
def aws_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that plays AWS, on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path_factory.mktemp("moto") / "log").open("wb")
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=log,
        stderr=log,
    )
    try:
        _await_port(port, server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()
        log.close()


def _await_port(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, "the AWS stand-in ended before it listened"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    pytest.fail("the AWS stand-in does not listen")


@pytest.fixture
def lab(tmp_path: Path, aws_mirror: Path, aws_endpoint: str, terraform_binary: Path) -> Lab:
    """The lab, committed to Git, initialised and applied to a cloud that was emptied for it."""
    with urlopen(Request(f"{aws_endpoint}/moto-api/reset", method="POST"), timeout=30) as answer:
        assert answer.status == 200
    directory = tmp_path / "infrastructure"
    shutil.copytree(LAB, directory)
    config = tmp_path / "terraformrc"
    config.write_text(
        f'provider_installation {{\n  filesystem_mirror {{\n    path = "{aws_mirror}"\n  }}\n}}\n'
    )
    made = Lab(
        directory=directory,
        endpoint=aws_endpoint,
        binary=terraform_binary,
        environment={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "TF_CLI_CONFIG_FILE": str(config),
            "AWS_ENDPOINT_URL": aws_endpoint,
            "CHECKPOINT_DISABLE": "1",
            "NO_PROXY": "127.0.0.1",
        },
    )
    made.git("init", "-q", "-b", "main")
    (directory / ".gitignore").write_text(".terraform/\n*.tfstate*\n")
    made.terraform("init", "-input=false")
    made.git("add", ".")
    made.git("commit", "-q", "-m", "Add the lab")
    made.terraform("apply", "-auto-approve", "-input=false")
    return made
