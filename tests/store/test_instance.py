"""The instance key: secret, made once, never silently another."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from driftwatch.errors import StoreCorruptError, StoreUnavailableError
from driftwatch.store import instance_key

if TYPE_CHECKING:
    from pathlib import Path


def test_the_key_is_made_once_and_ours_alone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    key = instance_key(state)
    assert len(key) == 32
    assert instance_key(state) == key
    (file,) = state.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert instance_key(tmp_path / "other") != key


def test_whoever_asks_first_all_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: instance_key(tmp_path / "state"), range(24)))
    assert len(set(keys)) == 1


def test_a_damaged_key_is_told_and_not_replaced(tmp_path: Path) -> None:
    instance_key(tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"short")
    with pytest.raises(StoreCorruptError, match="5 bytes instead of 32"):
        instance_key(tmp_path)
    assert file.read_bytes() == b"short"


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(StoreUnavailableError, match="state"):
        instance_key(tmp_path / "state")
