"""SQLite in trouble: locked, full, read-only. Each is one error of its class, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import tempfile
import threading
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from driftwatch.errors import DiskFullError, DriftwatchError, StoreLockedError, StoreUnavailableError
from driftwatch.store import Spool, Store
from driftwatch.store.sqlite import DATABASE_FILE
from tests.store.conftest import Place
from tests.store.samples import START, after, declared, finding, result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def locked(place: Place) -> Iterator[sqlite3.Connection]:
    """Another program in the middle of a write."""
    other = sqlite3.connect(
        place.state_dir / DATABASE_FILE, isolation_level=None, check_same_thread=False, timeout=5
    )
    with closing(other):
        other.execute("BEGIN IMMEDIATE")
        yield other
        if other.in_transaction:
            other.execute("ROLLBACK")


def record(store: Store, number: int = 1) -> None:
    store.record_check(result(number, finding()), declaration=declared(number), channels=["slack"])


@pytest.mark.row(47)
def test_a_lock_that_outlasts_the_busy_timeout_is_waited_for_and_nothing_is_lost(sqlite_place: Place) -> None:
    """Row 47: a second connection holds BEGIN IMMEDIATE for longer than we wait at a time."""
    store = sqlite_place.open(patience=0.1)
    with locked(sqlite_place) as other:
        release = threading.Timer(0.5, lambda: other.execute("ROLLBACK"))
        release.start()
        record(store)
        release.join()
    assert len(store.findings().items) == 1
    store.close()


@pytest.mark.row(47)
def test_a_lock_that_stays_is_named_and_the_result_is_kept(sqlite_place: Place) -> None:
    """Row 47: readers go on meanwhile, and the result that was kept aside is written once."""
    store, spool = sqlite_place.open(patience=0.05), Spool(sqlite_place.state_dir)
    with locked(sqlite_place):
        with pytest.raises(StoreLockedError) as caught:
            record(store)
        assert str(sqlite_place.state_dir / DATABASE_FILE) in caught.value.message
        assert "another process holds it" in caught.value.message
        assert store.findings().items == []
        spool.save(result(1, finding()), declaration=declared(1), channels=["slack"])
    assert len(spool.drain(store).recorded) == 1
    assert len(store.findings().items) == 1
    store.close()


def test_closing_ends_the_waiting(sqlite_place: Place) -> None:
    store = sqlite_place.open(patience=0.05)
    with locked(sqlite_place):
        store.close()
        with pytest.raises(StoreLockedError):
            record(store)
    store.close()


@pytest.mark.row(47)
def test_a_writer_that_read_first_does_not_fail_beside_another(sqlite_place: Place) -> None:
    """Row 47, R12: the write lock is taken at BEGIN, so that no one has to give up what they read."""
    first, second = sqlite_place.open(), sqlite_place.open()
    numbers = range(12)
    threads = [
        threading.Thread(target=record, args=(store, number))
        for number in numbers
        for store in (first, second)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(first.findings().items) == len(numbers)
    first.close()
    second.close()


def test_the_connection_is_set_up_to_survive_a_power_cut(sqlite_store: Store) -> None:
    def pragmas(connection: Any) -> dict[str, Any]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names}

    assert sqlite_store._database.read(pragmas) == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 5000,
    }


@pytest.mark.row(48)
def test_a_full_disk_is_named_and_what_is_stored_stays_readable(sqlite_place: Place) -> None:
    """Row 48, with SQLite's own limit on the size of the file."""
    store = sqlite_place.open()
    record(store)
    engine = store._database.backend.engine
    engine.dispose()

    def limit(connection: sqlite3.Connection, _record: Any) -> None:
        connection.execute("PRAGMA max_page_count = 1")

    event.listen(engine, "connect", limit)
    with pytest.raises(DiskFullError, match="no space left"):
        fill(store)
    event.remove(engine, "connect", limit)
    engine.dispose()
    assert len(store.findings(stack="platform/envs/s001").items) == 1
    record(store, 2)
    store.close()


@pytest.mark.row(48)
def test_a_full_file_system_is_named_and_driftwatch_recovers_by_itself(small_disk: Path) -> None:
    """Row 48: SQLite on a tmpfs of 1 MB, filled by somebody else."""
    place = Place(small_disk / "state", None)
    store = place.open()
    record(store)
    ballast = small_disk / "ballast"
    fill_disk(ballast)
    with pytest.raises(DiskFullError, match="no space left"):
        fill(store)
    with pytest.raises(DiskFullError):
        Spool(place.state_dir).save(
            result(1, *[finding(f"cloud_bucket.b{number}") for number in range(99)]),
            declaration=declared(1),
            channels=[],
        )
    assert len(store.findings(stack="platform/envs/s001").items) == 1
    ballast.unlink()
    record(store, 99)
    assert store.damage() == ()
    store.close()


def fill(store: Store) -> None:
    """More than fits: the write-ahead log takes every page that is touched."""
    for number in range(2, 60):
        many = [finding(f"cloud_bucket.b{index}") for index in range(40)]
        store.record_check(result(number, *many), declaration=declared(number), channels=["slack"])


def fill_disk(ballast: Path) -> None:
    try:
        with ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        return


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0755", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip(
            "no right to mount a small file system here: a full disk is only tested with SQLite's limit"
        )
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_the_database_is_ours_alone(tmp_path: Path) -> None:
    store = Store.open(state_dir=tmp_path / "state", database=None)
    record(store)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}
    assert modes == dict.fromkeys((DATABASE_FILE, f"{DATABASE_FILE}-wal", f"{DATABASE_FILE}-shm"), 0o600)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    store.close()


def test_what_was_open_to_others_is_closed_to_them(sqlite_place: Place) -> None:
    sqlite_place.state_dir.chmod(0o755)
    (sqlite_place.state_dir / DATABASE_FILE).chmod(0o644)
    sqlite_place.open().close()
    assert stat.S_IMODE(sqlite_place.state_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((sqlite_place.state_dir / DATABASE_FILE).stat().st_mode) == 0o600


def test_a_shared_directory_is_not_taken_from_the_others_in_it(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    (shared / "somebody-elses").touch()
    Store.open(state_dir=shared, database=None).close()
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755
    assert stat.S_IMODE((shared / DATABASE_FILE).stat().st_mode) == 0o600


def error_of(action: Callable[[], Any]) -> DriftwatchError | None:
    try:
        action()
    except DriftwatchError as problem:
        return problem
    return None


def as_nobody(action: Callable[[], Any]) -> str:
    """The error's code and message of an action that runs without root's rights over other people's files."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        if not os.geteuid():
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        problem = error_of(action)
        os.write(writer, f"{problem.code}: {problem.message}".encode() if problem else b"no error")
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A directory that others can get to: pytest's own are closed to them from the top."""
    directory = Path(tempfile.mkdtemp(prefix="driftwatch-rights-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.mark.row(46)
def test_a_state_directory_without_rights_is_named(reachable: Path) -> None:
    """Row 46: no right to enter it, or no right to write in it."""
    for mode, name in ((0o000, "closed"), (0o555, "read-only")):
        directory = reachable / name
        directory.mkdir()
        directory.chmod(mode)
        opened = partial(Store.open, state_dir=directory, database=None)
        text = as_nobody(opened)
        directory.chmod(0o700)
        assert text.startswith("store_unavailable: ")
        assert f"{name}/{DATABASE_FILE} cannot be used: Permission denied" in text


@pytest.mark.row(46)
def test_a_file_that_turned_read_only_is_named(reachable: Path, upgraded_file: Path) -> None:
    """Row 46: chmod of the file, in mid-run and before a start."""
    place = Place(reachable / "state", None)
    place.state_dir.mkdir()
    file = place.state_dir / DATABASE_FILE
    shutil.copy(upgraded_file, file)
    for path in (place.state_dir, file):
        if not os.geteuid():
            shutil.chown(path, 65534, 65534)

    def chmod_in_mid_run() -> None:
        store = place.open()
        record(store)
        store._database.backend.engine.dispose()
        file.chmod(0o400)
        record(store, 2)

    text = as_nobody(chmod_in_mid_run)
    assert text.startswith("store_unavailable: ")
    assert str(file) in text
    text = as_nobody(place.open)
    assert text.startswith("store_unavailable: ")
    assert f"{DATABASE_FILE} cannot be used: Permission denied" in text


def test_a_state_directory_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(StoreUnavailableError, match="state"):
        Store.open(state_dir=tmp_path / "state", database=None)


def test_naive_moments_are_refused(sqlite_store: Store) -> None:
    from driftwatch.errors import StoreError

    sqlite_store.sync_stacks("platform", [declared(1)], START)
    with pytest.raises(StoreError, match="time zone"):
        sqlite_store.schedule({declared(1).id: after(1).replace(tzinfo=None)})
