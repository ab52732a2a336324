"""A relative path means to a warm provider what it means to terraform; and two providers get along."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgpack
import pytest
from tf.gen import tfplugin_pb2 as pb

from driftwatch.sandbox.mirror import install
from driftwatch.warm.location import Surroundings, is_independent

if TYPE_CHECKING:
    from collections.abc import Callable

    from driftwatch.warm.pool import Pool
    from driftwatch.warm.replay import Outcome
    from tests.warm.conftest import Stack

PROVIDER = Path(__file__).with_name("path_provider.py")
MODULE = """
terraform {
  required_providers {
    paths   = { source = "paths.test/some/paths" }
    sandbox = { source = "sandbox.driftwatch.local/driftwatch/sandbox" }
  }
}
data "paths_text" "it" { path = "notes/it.txt" }
data "sandbox_region" "here" {}
output "it" { value = data.paths_text.it.content }
output "zones" { value = data.sandbox_region.here.zones }
"""


@pytest.fixture(scope="session")
def path_cli_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("paths")
    mirror = install(root / "mirror")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    package = mirror / f"paths.test/some/paths/1.0.0/{platform.system().lower()}_{machine}"
    package.mkdir(parents=True)
    binary = package / "terraform-provider-paths_v1.0.0"
    binary.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{PROVIDER}"\n')
    binary.chmod(0o755)
    config = root / "terraform.rc"
    config.write_text(f'provider_installation {{\n filesystem_mirror {{\n  path = "{mirror}"\n }}\n}}\n')
    return config


@pytest.fixture
def stack_that_reads(tmp_path: Path, terraform_binary: Path, path_cli_config: Path, stack: Stack) -> Callable:
    def make(name: str, text: str) -> Stack:
        made = type(stack)(root=tmp_path / name, binary=terraform_binary, cli_config=path_cli_config)
        (made.module / "notes").mkdir(parents=True)
        (made.root / "cloud").mkdir()
        (made.module / "main.tf").write_text(MODULE)
        (made.module / "notes/it.txt").write_text(text)
        made.must("init", "-input=false")
        return made

    return make


def test_each_directory_has_its_own_files(
    stack_that_reads: Callable[[str, str], Stack], pool: Pool, ask_again: Callable[..., Outcome]
) -> None:
    """Verdicts as of plain terraform, replays that see a file change, and nobody else's file."""
    one, two = stack_that_reads("one", "first"), stack_that_reads("two", "second")
    recordings = []
    for stack in (one, two):
        plain = stack.plan()
        warm, recording = stack.plan_warm(pool)
        assert {**plain, "timestamp": ""} == {**warm, "timestamp": ""}
        recordings.append(recording)
    (one.module / "notes/it.txt").write_text("changed")
    answers = [ask_again(recording, pool) for recording in recordings]
    assert [each.answer for each in answers] == ["differs", "same"]
    assert answers[0].types == {"paths_text": 1}


def test_a_provider_that_always_talks_tls(
    stack_that_reads: Callable[[str, str], Stack], pool: Pool, ask_again: Callable[..., Outcome]
) -> None:
    """Its certificate comes with the handshake, and is the only one that is trusted."""
    stack = stack_that_reads("tls", "hello")
    environment = {**stack.provider_environment, "TALK_TLS": "1"}
    with stack.gateway(pool, environment) as gateway:
        document = stack.plan(TF_REATTACH_PROVIDERS=gateway.reattach())
        assert gateway.faults == ()
        recording = gateway.recording()
    assert document["planned_values"]["outputs"]["it"]["value"] == "hello"
    assert ask_again(recording, pool).answer == "same"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("notes", True),
        ("notes/it.txt", True),
        ("./anything", True),
        ("../up", True),
        (".", True),
        ("eu-west-1", False),
        ("/absolute/path", False),
        ("some text about notes", False),
        ("x" * 100_000, False),
        ("", False),
    ],
)
def test_what_could_be_a_path(tmp_path: Path, text: str, named: bool) -> None:
    (tmp_path / "notes").mkdir()
    here = Surroundings(tmp_path)
    config = pb.DynamicValue(msgpack=msgpack.packb({"a": [{"b": text}]}))
    assert here.are_named_in_request(pb.ConfigureProvider.Request(config=config).SerializeToString()) is named


def test_the_list_of_those_who_may_run_anywhere() -> None:
    assert is_independent("registry.terraform.io/hashicorp/aws")
    assert is_independent("registry.opentofu.org/hashicorp/aws")
    assert not is_independent("registry.terraform.io/hashicorp/local")
    assert not is_independent("registry.terraform.io/somebody/aws")
