"""The systemd unit that is shipped."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "deploy" / "driftwatch.service"


@pytest.fixture
def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=True, interpolation=None, delimiters=("=",))
    parser.optionxform = str
    parser.read_string(UNIT.read_text())
    return parser


@pytest.mark.row(5)
def test_the_unit_signals_the_daemon_alone(unit: configparser.ConfigParser) -> None:
    """Row 5: a stop must not reach terraform: the daemon ends plans by itself, and an apply goes on."""
    assert unit["Service"]["KillMode"] == "process"


def test_the_unit_waits_for_an_orderly_stop(unit: configparser.ConfigParser) -> None:
    """Grace, terraform's ladder and farewells fit; the daemon says when it is up and that it is alive."""
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["TimeoutStopSec"] == "3min"
    assert service["WatchdogSec"]
    assert service["Restart"] == "on-failure"
    assert service["UMask"] == "0077"


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not on this machine; the unit is parsed by the other tests")
    text = UNIT.read_text().replace("/opt/driftwatch/bin/driftwatch", "/bin/true")
    copy = tmp_path / "driftwatch.service"
    copy.write_text(text)
    done = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "driftwatch.service" in line]) == (
        0,
        [],
    )
