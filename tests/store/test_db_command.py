"""`driftwatch db upgrade`, as a person runs it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from driftwatch.cli.db import upgrade
from driftwatch.store.schema import HEAD
from driftwatch.store.sqlite import DATABASE_FILE

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "driftwatch.yaml"
    file.write_text(
        f"state_dir: {tmp_path / 'state'}\n"
        "repositories: {platform: {url: https://git.example.com/acme/platform.git}}\n"
    )
    return file


def test_a_database_is_made_once(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    upgrade(config)
    upgrade(config)
    assert capsys.readouterr().out.splitlines() == [
        f"Upgraded from nothing to {HEAD}.",
        f"The schema is up to date ({HEAD}).",
    ]
    assert (config.parent / "state" / DATABASE_FILE).exists()


@pytest.mark.row(49)
def test_a_newer_one_is_refused_in_words(config: Path) -> None:
    """Row 49: exit 1, the two schemas and what to do, and no traceback."""
    upgrade(config)
    with closing(sqlite3.connect(config.parent / "state" / DATABASE_FILE)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0099'")
        connection.commit()
    command = [sys.executable, "-m", "driftwatch", "db", "upgrade", "--config", str(config)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "0099" in refused.stderr
    assert "Run the newer driftwatch" in " ".join(refused.stderr.split())
    assert "Traceback" not in refused.stderr
