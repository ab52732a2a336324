"""The demo that a newcomer sees first shows all that it says it does, and leaves nothing running."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(600)
def test_a_round_finds_tells_repairs_and_proves(terraform_binary: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "driftwatch", "demo", "--once", "--directory", str(tmp_path / "demo")],
        env={"PATH": f"{terraform_binary.parent}:/usr/bin:/bin", "HOME": str(tmp_path), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    steps = [line.partition(":")[0] for line in done.stdout.splitlines() if line[:1].isupper()]
    assert steps == [
        *("Prepare", "Apply", "Watch", "Meddle", "Find", "Tell"),
        *("Propose", "Approve", "Repair", "Resolve", "Tell"),
    ]
    assert done.stdout.count("  proposed  ") == done.stdout.count("  verified  ") == 3
    assert done.stdout.count("resolved (by an apply)") == 3
    assert "Every step showed what it should." in done.stdout
    here = str(tmp_path)
    left = [each.info for each in psutil.process_iter(["pid", "cmdline"]) if here in str(each.info)]
    assert left == []
