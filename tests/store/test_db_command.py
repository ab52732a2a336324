"""`driftwatch db upgrade`, as a person runs it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from driftwatch.store.sqlite import DATABASE_FILE

if TYPE_CHECKING:
    from pathlib import Path


def run(directory: Path) -> subprocess.CompletedProcess[str]:
    config = directory / "driftwatch.yaml"
    config.write_text(
        f"state_dir: {directory / 'state'}\n"
        "repositories: {platform: {url: https://git.example.com/acme/platform.git}}\n"
    )
    command = [sys.executable, "-m", "driftwatch", "db", "upgrade", "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_database_is_made_once(tmp_path: Path) -> None:
    made, again = run(tmp_path), run(tmp_path)
    file = tmp_path / "state" / DATABASE_FILE
    assert (made.returncode, made.stdout) == (0, f"Made {file} with schema 0001.\n")
    assert (again.returncode, again.stdout) == (0, f"{file} is at schema 0001 already.\n")


@pytest.mark.row(49)
def test_a_newer_one_is_refused_in_words(tmp_path: Path) -> None:
    """Row 49: exit 1, the two schemas and what to do, and no traceback."""
    run(tmp_path)
    with closing(sqlite3.connect(tmp_path / "state" / DATABASE_FILE)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0099'")
        connection.commit()
    refused = run(tmp_path)
    assert refused.returncode == 1
    assert "0099" in refused.stderr
    assert "Run the newer driftwatch" in " ".join(refused.stderr.split())
    assert "Traceback" not in refused.stderr
