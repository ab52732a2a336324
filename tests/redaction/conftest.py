"""What the tests of redaction stand on: a state directory whose database has its schema already."""

from __future__ import annotations

import shutil
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from driftwatch.store import Store
from driftwatch.store.sqlite import DATABASE_FILE
from tests.redaction.outputs import House

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


@pytest.fixture(scope="session")
def a_house(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], AbstractContextManager[House]]:
    """Makes a house for one example; of the session, for hypothesis."""
    upgraded = tmp_path_factory.mktemp("upgraded")
    Store.open(state_dir=upgraded, database=None).close()

    @contextmanager
    def make() -> Iterator[House]:
        with tempfile.TemporaryDirectory() as place:
            state, config = Path(place) / "state", Path(place) / "driftwatch.yaml"
            state.mkdir(mode=0o700)
            shutil.copy(upgraded / DATABASE_FILE, state / DATABASE_FILE)
            config.write_text(
                "state_dir: ./state\n"
                "repositories:\n"
                f"  platform: {{url: {place}/gone, stacks: [{{path: '**'}}]}}\n",
                encoding="utf-8",
            )
            yield House(directory=state, config=config, stop=threading.Event())

    return make
