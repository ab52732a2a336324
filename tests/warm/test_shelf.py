"""Recordings: kept in memory as far as that goes, sealed on disk, and never taken for what they are not."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftwatch.model import Engine
from driftwatch.warm import shelf as shelves
from driftwatch.warm.conditions import Facts, Refusal, Remembered, Upstream
from driftwatch.warm.packages import Package
from driftwatch.warm.pool import Directory, Key
from driftwatch.warm.recording import Conversation, Read, Recording
from driftwatch.warm.shelf import Shelf
from driftwatch.warm.state import StateIdentity

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "canary-in-a-recording"
STACK = "platform/envs/prod"
HERE = Directory(path=Path("here"), device=1, inode=2)
MUCH = 1 << 30


def remembered(size: int = 0, **changes: Any) -> Remembered:
    package = Package(address="r/hashicorp/aws", version="5.1", binary=Path("bin"), digest="h1:x")
    conversations = tuple(
        Conversation(
            key=Key(package=package, environment="before", directory=HERE if bound else None),
            environment={"AWS_SECRET_ACCESS_KEY": SECRET},
            configure_method="/tfplugin5.Provider/Configure",
            configure=SECRET.encode(),
            reads=(
                Read(
                    method="/tfplugin5.Provider/ReadResource",
                    request=b"\n\x01x",
                    response=SECRET.encode() + bytes(size),
                ),
            ),
        )
        for bound in (False, True)
    )
    whole = Remembered(
        facts=Facts(
            files="f",
            commit="c",
            variables="v",
            engine="e",
            providers={"r/hashicorp/aws": "h1:x"},
            environment="env",
            state=StateIdentity(lineage="l", serial=3),
            blind=frozenset({Refusal.REMOTE_STATE}),
            upstreams={"data.a": StateIdentity(lineage="m", serial=4), "data.b": None},
        ),
        recording=Recording(conversations=conversations),
        planned_at=datetime(2026, 11, 23, tzinfo=UTC) + timedelta(microseconds=7),
        proved=True,
        reading=f'{{"verdict": "{SECRET}"}}'.encode(),
        engine=Engine(name="terraform", version="1.11.4", providers={"r/hashicorp/aws": "5.1"}),
        binary="terraform",
        upstreams=(Upstream(address="data.a", backend="s3", config={"secret_key": SECRET}, workspace="w"),),
        types=frozenset({"aws_vpc"}),
        plan_seconds=3.5,
    )
    return replace(whole, **changes)


def key_now(package: Package, bound: bool) -> Key:
    return Key(package=package, environment="now", directory=HERE if bound else None)


def get(shelf: Shelf, stack: str = STACK) -> Remembered | Refusal | None:
    return shelf.get(stack, key=key_now, environment={"NOW": "1"})


def as_of_now(known: Remembered) -> Remembered:
    """With the keys and the environment of whoever asks."""
    conversations = tuple(
        replace(each, key=replace(each.key, environment="now"), environment={"NOW": "1"})
        for each in known.recording.conversations
    )
    return replace(known, recording=replace(known.recording, conversations=conversations))


@pytest.fixture
def new(tmp_path: Path) -> Callable[..., Shelf]:
    """A shelf as another process would open it."""

    def make(key: bytes = b"k" * 32, limit: int = MUCH) -> Shelf:
        return Shelf(tmp_path / "recordings", key, limit=limit)

    return make


def test_what_was_put_is_there_also_for_the_next_process(new: Callable[..., Shelf]) -> None:
    first = new()
    assert get(first) is None
    first.put(STACK, remembered())
    assert get(first) == as_of_now(remembered())
    assert get(new()) == as_of_now(remembered())
    first.put(STACK, remembered(proved=False))
    assert get(new()) == as_of_now(remembered(proved=False))
    first.forget(STACK)
    assert get(first) is None
    assert get(new()) is None


def test_nothing_of_it_is_on_disk_in_clear(new: Callable[..., Shelf], tmp_path: Path) -> None:
    new().put(STACK, remembered())
    (file,) = (tmp_path / "recordings").iterdir()
    content = file.read_bytes()
    for secret in (SECRET, "aws_vpc", "AWS_SECRET", STACK):
        assert secret.encode() not in content
    assert SECRET not in repr(remembered())
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_opens_only_for_its_stack_and_its_instance(new: Callable[..., Shelf], tmp_path: Path) -> None:
    """Nobody who can write there makes one stack's verdict that of another."""
    shelf = new()
    shelf.put(STACK, remembered())
    shelf.put("other", remembered())
    (tmp_path / "recordings").joinpath("x").write_bytes(b"")
    mine, others = shelf._file(tmp_path / "recordings", STACK), shelf._file(tmp_path / "recordings", "other")
    others.write_bytes(mine.read_bytes())
    assert get(new(), "other") is None
    assert get(new(key=b"z" * 32)) is None
    assert isinstance(get(new()), Remembered)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7), cut=st.booleans())
def test_a_damaged_file_is_none(new: Callable[..., Shelf], place: int, bit: int, cut: bool) -> None:
    shelf = new()
    shelf.put(STACK, remembered())
    assert shelf._directory is not None
    file = shelf._file(shelf._directory, STACK)
    content = bytearray(file.read_bytes())
    place %= len(content)
    content[place] ^= 1 << bit
    file.write_bytes(content[:place] if cut else content)
    assert get(new()) in (None, Refusal.RECORDING_VERSION)


@pytest.mark.parametrize("versions", [[0, "0.1.0"], [1, "0.0.9"]])
def test_another_versions_recording_is_refused_by_name(
    new: Callable[..., Shelf], monkeypatch: pytest.MonkeyPatch, versions: list[Any]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shelves, "_VERSIONS", versions)
        new().put(STACK, remembered())
    assert get(new()) is Refusal.RECORDING_VERSION


def test_memory_is_bounded_and_the_rest_is_read_from_disk(new: Callable[..., Shelf]) -> None:
    shelf = new(limit=3_000_000)
    for number in range(5):
        shelf.put(f"s{number}", remembered(size=500_000))
    assert shelf._size <= 3_000_000
    assert shelf.peek("s0") is None
    assert shelf.peek("s4") is not None
    for number in range(5):
        assert get(shelf, f"s{number}") == as_of_now(remembered(size=500_000))
    assert shelf._size <= 3_000_000


def test_without_a_directory_the_newest_stays_in_memory() -> None:
    shelf = Shelf(None, b"k" * 32, limit=1)
    shelf.put("a", remembered())
    shelf.put("b", remembered())
    assert get(shelf, "a") is None
    assert isinstance(get(shelf, "b"), Remembered)


def test_stacks_that_are_gone_leave_nothing(new: Callable[..., Shelf], tmp_path: Path) -> None:
    shelf = new()
    for stack in ("a", "b", "c"):
        shelf.put(stack, remembered())
    left, being_written = (tmp_path / f"recordings/{name}.recording.draft" for name in ("left", "now"))
    for draft in (left, being_written):
        draft.write_bytes(b"half of one")
    os.utime(left, (0, 0))
    assert shelf.retain({"b"}) == 3
    assert [get(new(), stack) is not None for stack in ("a", "b", "c")] == [False, True, False]
    assert get(shelf, "a") is None
    assert being_written.exists()


def test_a_full_disk_costs_a_plan_and_never_leaves_an_older_recording(
    new: Callable[..., Shelf], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = new()
    shelf.put(STACK, remembered())

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        shelf.put(STACK, remembered(proved=False))
    assert get(shelf) == as_of_now(remembered(proved=False))
    assert get(new()) is None
    assert list((tmp_path / "recordings").iterdir()) == []
