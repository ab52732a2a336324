"""`stacks graph` says what comes before what and why, from what was fetched, without asking any remote."""

from __future__ import annotations

import json
import shutil
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from driftwatch.cli.compose import Rooms, read_settings
from driftwatch.cli.sweep import _read
from driftwatch.errors import DependencyCycleError, DriftwatchError, RemoteUnreachableError
from driftwatch.git import Mirror
from tests.git.conftest import Upstream

from .conftest import NOON

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Ran

S3 = 'terraform {\n  backend "s3" {\n    bucket = "states"\n    key    = "net"\n  }\n}\n'
READS = (
    'terraform {\n  backend "local" {}\n}\n'
    'data "terraform_remote_state" "net" {\n  backend = "s3"\n'
    '  config = {\n    bucket = "states"\n    key = "net"\n  }\n}\n'
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Two repositories that were fetched once and are away now, and one that never was."""
    upstreams = {name: Upstream(tmp_path / name) for name in ("network", "apps")}
    upstreams["network"].commit({"vpc/main.tf": S3, "dns/main.tf": S3.replace("net", "dns")})
    upstreams["apps"].commit({"web/main.tf": READS})
    file = tmp_path / "driftwatch.yaml"
    file.write_text(
        f"""
state_dir: {tmp_path / "state"}
repositories:
  network:
    url: {upstreams["network"].url}
    stacks:
      - {{path: vpc, labels: {{tier: network}}}}
      - {{path: dns, depends_on: ["network/v*", network/gone]}}
  apps:
    url: {upstreams["apps"].url}
    stacks: [{{path: "**", depends_on_labels: {{tier: network}}}}]
  new:
    url: {tmp_path / "nowhere"}
"""
    )
    settings = read_settings(file, {})
    for name, upstream in upstreams.items():
        mirror = Mirror(
            name,
            settings.repositories[name],
            Rooms(state=settings.state_dir).mirrors / name,
            clock=lambda: NOON,
        )
        mirror.fetch()
        shutil.rmtree(upstream.path)
    return file


def test_every_edge_has_its_reason(cli: Callable[..., Ran], config: Path) -> None:
    ran = cli("stacks", "graph", "--config", config)
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "apps/web",
        "  after network/vpc: it depends on what is labelled tier=network",
        "  after network/vpc: data.terraform_remote_state.net reads its state",
        "network/dns",
        "  after network/vpc: it declares to depend on network/v*",
    ]
    assert ran.err.splitlines() == [
        "network/dns depends on network/gone, and there is no such stack.",
        "new was not read yet: `driftwatch run` or `driftwatch check --config` does that.",
    ]


def test_programs_read_the_same_as_json(cli: Callable[..., Ran], config: Path) -> None:
    ran = cli("stacks", "graph", "--format", "json", "--config", config)
    said = json.loads(ran.out)
    assert said["edges"][0] == {
        "upstream": "network/vpc",
        "downstream": "apps/web",
        "reason": "labels",
        "sentence": "it depends on what is labelled tier=network",
        "in_cycle": False,
    }
    assert said["order"] == ["network/vpc", "apps/web", "network/dns"]
    assert said["unknown"] == [{"stack": "network/dns", "wanted": "network/gone"}]
    assert (said["cycles"], said["unread"]) == ([], ["new"])


def test_a_circle_is_named_and_is_an_error(cli: Callable[..., Ran], config: Path) -> None:
    config.write_text(config.read_text().replace("path: vpc,", 'path: vpc, depends_on: ["*/web"],'))
    ran = cli("stacks", "graph", "--config", config)
    assert ran.code == 1
    assert "In a circle: apps/web → network/vpc → apps/web" in ran.err.splitlines()
    assert "  after apps/web: it declares to depend on */web\n" in ran.out
    assert "depends on what is labelled tier=network (no effect: it is in a circle)" in ran.out
    said = json.loads(cli("stacks", "graph", "--format", "json", "--config", config).out)
    assert said["cycles"] == [["apps/web", "network/vpc"]]


def test_without_any_dependency_it_says_so(cli: Callable[..., Ran], config: Path, tmp_path: Path) -> None:
    config.write_text(f"state_dir: {tmp_path}\nrepositories:\n  network: {{url: {tmp_path}}}\n")
    ran = cli("stacks", "graph", "--config", config)
    assert (ran.code, ran.out) == (0, "No stack depends on another, as far as is known.\n")


@pytest.mark.parametrize(
    ("problem", "unread"),
    [(DependencyCycleError("a → b → a"), False), (RemoteUnreachableError("no answer"), True)],
)
def test_a_check_of_a_repository_with_a_circle_says_it_and_goes_on(
    problem: DriftwatchError, unread: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was read as it is: the commit in use is no earlier one."""
    refreshed = SimpleNamespace(error=problem.report(), commit="1" * 40)
    subject = SimpleNamespace(stack=SimpleNamespace(repository="apps"))
    inventory = SimpleNamespace(refresh=lambda _name: refreshed, subjects=lambda: (subject,))
    app = SimpleNamespace(inventory=inventory, ending=threading.Event())
    assert _read(cast("Any", app), "apps")
    said = capsys.readouterr().err
    assert problem.message in said
    assert ("could not be read" in said) == unread
