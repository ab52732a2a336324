"""The mirror and the files that point to it."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from driftwatch.sandbox.mirror import cli_config, hcl_string, install, lock_file

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.conftest import Terminal


def test_two_installs_hold_the_same_bytes_and_a_second_changes_nothing(tmp_path: Path) -> None:
    (one,) = [path for path in install(tmp_path / "a").rglob("*") if path.is_file()]
    (other,) = [path for path in install(tmp_path / "b").rglob("*") if path.is_file()]
    assert one.read_bytes() == other.read_bytes()
    assert stat.S_IMODE(one.stat().st_mode) == 0o755
    written = one.stat().st_mtime_ns
    install(tmp_path / "a")
    assert one.stat().st_mtime_ns == written


def test_a_damaged_launcher_is_written_anew(tmp_path: Path) -> None:
    (binary,) = [path for path in install(tmp_path).rglob("*") if path.is_file()]
    good = binary.read_bytes()
    binary.write_text("#!/bin/false\n")
    install(tmp_path)
    assert binary.read_bytes() == good


def test_the_lock_file_is_the_one_that_init_would_write(terminal: Terminal) -> None:
    terminal.write("")
    source = (terminal.module / "main.tf").read_text()
    (terminal.module / "main.tf").write_text(source.replace('sandbox" }', 'sandbox", version = "~> 1.0" }'))
    terminal.init()
    assert (terminal.module / ".terraform.lock.hcl").read_text() == lock_file()
    terminal.must("init", "-lockfile=readonly", "-input=false")


def test_a_mirror_may_lie_under_any_name(terminal: Terminal, tmp_path: Path) -> None:
    mirror = install(tmp_path / 'a "mirror" ${of} %{odd} ünïcode')
    file = tmp_path / "cli.rc"
    file.write_text(cli_config(mirror), encoding="utf-8")
    terminal.write('data "sandbox_region" "here" {}')
    terminal.must("init", "-input=false", TF_CLI_CONFIG_FILE=str(file))
    terminal.must("plan", "-input=false", TF_CLI_CONFIG_FILE=str(file))


@pytest.mark.parametrize(
    ("text", "quoted"),
    [("plain", '"plain"'), ('a"b\\c', '"a\\"b\\\\c"'), ("${x} %{y}", '"$${x} %%{y}"'), ("ü", '"ü"')],
)
def test_hcl_strings_are_literal(text: str, quoted: str) -> None:
    assert hcl_string(text) == quoted
