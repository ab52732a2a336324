"""Output that nobody takes, or that a terminal cannot show, ends in a sentence and never in a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from driftwatch.errors import Exit


def driftwatch(tail: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["/bin/sh", "-c", f'"$0" -m driftwatch {tail}', sys.executable],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk() -> None:
    done = driftwatch("config schema >/dev/full")
    assert done.returncode == Exit.ERROR
    assert done.stderr.decode().count("\n") == 1
    assert "No space left" in done.stderr.decode()


def test_a_reader_that_has_left() -> None:
    done = driftwatch("config schema | head -n 1")
    assert (done.stdout, done.stderr) == (b"{\n", b"")


def test_a_closed_stdout() -> None:
    assert b"Traceback" not in driftwatch("config schema >&-").stderr


def test_a_terminal_that_knows_no_arrows(tmp_path: Path) -> None:
    """And a directory whose name is no text at all."""
    name = b"\xff\xe9"
    (tmp_path / "x").mkdir()
    Path(str(tmp_path).encode().decode() + "/x/" + name.decode(errors="surrogateescape")).mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "driftwatch", "check", str(tmp_path / "x").encode() + b"/" + name],
        env={"PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == Exit.ERROR
    assert done.stdout.startswith(b"x/\\udcff")
    assert b"not_a_root_module" in done.stdout
    assert b"Traceback" not in done.stderr
