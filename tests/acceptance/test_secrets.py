"""Canaries go in wherever a secret may, and then everything that driftwatch wrote or said is searched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psutil
import pytest

from driftwatch.sandbox import estate
from driftwatch.sandbox.cloud import Kind

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.conftest import House

SECRETS = {
    "a sensitive attribute": "canary-password-4b7e",
    "the same, changed by hand": "canary-by-hand-9a01",
    "a stack's environment": "canary-environment-22c4",
    "a stack's variable": "canary-variable-7f3d",
    "the chat token": "xoxb-test-canary-1f9d",
}

MODULE = """
terraform {
  required_providers {
    sandbox = { source = "sandbox.driftwatch.local/driftwatch/sandbox" }
  }
  backend "local" {
    path = "@STATE@"
  }
}

provider "sandbox" {
  cloud = "@CLOUD@"
}

variable "password" {
  type      = string
  sensitive = true
}

variable "token" {
  type      = string
  sensitive = true
}

resource "sandbox_database" "main" {
  name     = "canary"
  engine   = "postgres"
  version  = "16"
  password = var.password
  parameters = { token = var.token }
}
"""


@pytest.mark.row(68)
def test_no_canary_leaves_its_cage(house: House) -> None:
    """Row 68: database, logs, messages, metrics, command lines and files hold none of the canaries."""
    text = MODULE.replace("@STATE@", str(house.directory / "states/canary.tfstate")).replace(
        "@CLOUD@", str(house.cloud.directory)
    )
    estate.commit(house.repository, {"canary/main.tf": text}, "Add the canary")
    config = house.config.read_text().replace(
        '{path: "dns", schedule: {every: 4s}}',
        '{path: "canary", schedule: {every: 2s}, environment: {CANARY: "${env:CANARY}"},'
        ' variables: {token: "${env:VARIABLE}", password: "${env:PASSWORD}"}}',
    )
    house.config.write_text(config)
    house.environment["CANARY"] = SECRETS["a stack's environment"]
    house.environment["PASSWORD"] = SECRETS["a sensitive attribute"]
    house.environment["VARIABLE"] = SECRETS["a stack's variable"]
    house.cloud.create(Kind.DATABASE, {"name": "unrelated", "engine": "postgres", "password": "other"})

    daemon = house.start()
    house.wait_for_verdicts(canary="pending")
    token, password = SECRETS["a stack's variable"], SECRETS["a sensitive attribute"]
    given = house.repository / "canary/terraform.tfvars"  # never committed: it is the colleague's own
    given.write_text(f'token = "{token}"\npassword = "{password}"\n')
    house.apply("canary")
    house.wait_for_verdicts(canary="in_sync")
    house.cloud.update(Kind.DATABASE, "canary", {"password": SECRETS["the same, changed by hand"]})
    house.wait_for_verdicts(canary="drifted")
    house.wait_for("the alert", lambda: len(house.slack.posted) >= 1)
    commands = [" ".join(item.cmdline()) for item in psutil.Process(daemon.pid).children(recursive=True)]
    listing = house.driftwatch(
        "findings", "list", "--status", "all", "--config", str(house.config), "-f", "json"
    )
    assert house.stop(daemon) == 0

    findings = json.loads(listing.stdout)["findings"]
    change = next(
        change for item in findings for change in item["attributes"] if change["path"] == "/password"
    )
    assert change["sensitive"] is True
    assert change["before"] != change["actual"], "a digest still tells that the value changed"
    places = {
        "messages": json.dumps(house.slack.calls),
        "command lines": "\n".join(commands),
        "the listing": listing.stdout + listing.stderr,
        "the log": house.log(),
        **files_below(house.state),
    }
    found = {
        (place, secret)
        for place, content in places.items()
        for secret, value in SECRETS.items()
        if value in content
    }
    assert found == set()


def files_below(directory: Path) -> dict[str, str]:
    """Every file of the state directory: the code itself holds none of the canaries."""
    return {
        str(path.relative_to(directory)): path.read_bytes().decode("utf-8", errors="replace")
        for path in directory.rglob("*")
        if path.is_file()
    }
