"""Fixtures of the daemon's tests. The doubles are a module of this folder, which is no package."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from structlog.testing import LogCapture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service_doubles import Lines, MemoryStore, SqliteStore

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def lines() -> Iterator[Lines]:
    """All that is logged during a test, as dictionaries."""
    capture = LogCapture()
    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.add_log_level, capture], cache_logger_on_first_use=False
    )
    logging.getLogger("apscheduler").setLevel(logging.WARNING)
    yield capture.entries
    structlog.configure(**before)


@pytest.fixture
def memory() -> MemoryStore:
    from service_doubles import MemoryStore

    return MemoryStore()


@pytest.fixture(params=["memory", "sqlite"])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MemoryStore | SqliteStore]:
    """The queue in memory, and the real store on SQLite: both keep the same promises."""
    from service_doubles import MemoryStore, SqliteStore

    if request.param == "memory":
        yield MemoryStore()
        return
    store = SqliteStore(tmp_path / "state")
    yield store
    store.close()
