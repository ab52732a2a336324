"""The spool: what the database could not take is kept, private, and written once and in order."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.errors import StoreUnavailableError
from driftwatch.log import register_secret
from driftwatch.model import StackDeclaration, Trigger, Verdict
from driftwatch.store import Spool, Store
from driftwatch.store.sqlite import DATABASE_FILE
from tests.store.samples import LEASE, START, after, declared, failure, finding, result, stack_id

if TYPE_CHECKING:
    from pathlib import Path

    from driftwatch.model import CheckResult, Job
    from tests.store.conftest import Place, Postgres

WEB = finding("cloud_firewall.web")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "state")


def record(
    store: Store,
    spool: Spool,
    check: CheckResult,
    job: Job | None = None,
    channels: tuple[str, ...] = ("slack",),
) -> bool:
    """As the pipeline does: into the database, or else aside. True where the database took it."""
    declaration = StackDeclaration(id=check.stack)
    try:
        store.record_check(check, declaration=declaration, channels=channels, job=job)
    except StoreUnavailableError:
        spool.save(check, declaration=declaration, channels=channels, job=job)
        return False
    return True


def claimed(store: Store, number: int = 1) -> Job:
    store.sync_stacks("platform", [declared(number)], START)
    store.enqueue(stack_id(number), Trigger.SCHEDULE, requested_by=None, at=START)
    job = store.claim("one", at=START, lease=LEASE)
    assert job is not None
    return job


def proved_written_once(store: Store, spool: Spool) -> None:
    drained = spool.drain(store)
    assert len(drained.recorded) == 2
    assert [item.kind for recorded in drained.recorded for item in recorded.announcements] == [
        "drift_found",
        "resolved",
    ]
    assert len(spool) == 0
    assert spool.drain(store).recorded == ()
    (stored,) = store.findings().items
    assert (stored.status, stored.first_seen, stored.resolved_at) == ("resolved", START, after(5))
    assert store.outbox_depth()["waiting"] == 2
    assert store.queue_depth() == {"queued": 0, "running": 0}


@pytest.mark.row(46)
def test_a_sqlite_file_that_is_taken_away_loses_nothing(sqlite_store: Store, spool: Spool) -> None:
    """Row 46: rename the file in mid-run; what is found meanwhile is written once, when it is back."""
    job = claimed(sqlite_store)
    file = spool.directory.parent / DATABASE_FILE
    hidden = file.rename(file.with_name("elsewhere"))
    assert not record(sqlite_store, spool, result(1, WEB), job)
    assert not record(sqlite_store, spool, result(1, at=after(5)))
    with pytest.raises(StoreUnavailableError, match="cannot be reached"):
        spool.drain(sqlite_store)
    assert not file.exists(), "a database that vanished must not come back empty"
    hidden.rename(file)
    proved_written_once(sqlite_store, spool)


@pytest.mark.row(46)
def test_a_sqlite_file_that_is_replaced_is_not_written_to(sqlite_store: Store, spool: Spool) -> None:
    """Row 46: another file under the same name is somebody's restored copy, and takes a restart."""
    file = spool.directory.parent / DATABASE_FILE
    file.rename(file.with_name("elsewhere"))
    file.touch()
    with pytest.raises(StoreUnavailableError, match="was replaced") as caught:
        sqlite_store.queue_depth()
    assert caught.value.advice == "Restart driftwatch to use that one."


@pytest.mark.postgres
@pytest.mark.row(46)
def test_a_postgresql_that_stops_loses_nothing(postgres: Postgres, spool: Spool) -> None:
    """Row 46: stop the server in mid-run, start it again."""
    database = postgres.url(postgres.new_database())
    store = Store.open(state_dir=spool.directory.parent, database=database)
    job = claimed(store)
    postgres.stop()
    try:
        assert not record(store, spool, result(1, WEB), job)
        assert not record(store, spool, result(1, at=after(5)))
        with pytest.raises(StoreUnavailableError, match="PostgreSQL at"):
            spool.drain(store)
    finally:
        postgres.start()
    proved_written_once(store, spool)
    store.close()


@pytest.mark.row(68)
def test_what_is_kept_is_private_and_redacted(spool: Spool) -> None:
    """Row 68 at the spool."""
    register_secret("canary-in-the-spool")
    check = failure(1, message="failed with canary-in-the-spool")
    path = spool.save(check, declaration=declared(1), channels=["slack"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(spool.directory.stat().st_mode) == 0o700
    assert b"canary" not in path.read_bytes()
    assert b"failed with [redacted]" in path.read_bytes()


def test_what_the_database_took_before_the_connection_broke_is_not_doubled(
    sqlite_store: Store, spool: Spool
) -> None:
    job = claimed(sqlite_store)
    assert record(sqlite_store, spool, result(1, WEB), job)
    spool.save(result(1, WEB), declaration=declared(1), channels=["slack"], job=job)
    (replayed,) = spool.drain(sqlite_store).recorded
    assert replayed.announcements == ()
    assert sqlite_store.outbox_depth()["waiting"] == 1


def test_a_corrupt_file_is_set_aside_told_and_blocks_nothing(
    sqlite_store: Store, spool: Spool, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2, 3):
        spool.save(result(number, WEB), declaration=declared(number), channels=["slack"])
    first, second, _ = sorted(spool.directory.iterdir())
    first.write_bytes(first.read_bytes()[:100])
    second.write_bytes(b'{"result": {"stack": "\xff')
    drained = spool.drain(sqlite_store)
    assert [path.name for path in drained.set_aside] == [
        f"{first.name}.unreadable",
        f"{second.name}.unreadable",
    ]
    assert len(drained.recorded) == 1
    assert "set aside" in "".join(capsys.readouterr())
    assert len(spool) == 0
    assert spool.drain(sqlite_store).set_aside == ()


def test_what_a_later_check_overtook_is_dropped(sqlite_store: Store, spool: Spool) -> None:
    late = claimed(sqlite_store)
    spool.save(result(1, WEB), declaration=declared(1), channels=["slack"], job=late)
    sqlite_store.recover(node=None, at=after(6))
    current = sqlite_store.claim("two", at=after(6), lease=LEASE)
    drained = spool.drain(sqlite_store)
    assert (drained.overtaken, drained.recorded, len(spool)) == (1, (), 0)
    assert record(sqlite_store, spool, result(1, at=after(7)), current)
    assert sqlite_store.stacks(now=START)[0].verdict is Verdict.IN_SYNC


def test_files_are_replayed_in_the_order_they_were_kept_across_restarts(
    sqlite_store: Store, spool: Spool
) -> None:
    spool.save(result(1, WEB), declaration=declared(1), channels=[])
    again = Spool(spool.directory.parent)
    again.save(result(1, at=after(1)), declaration=declared(1), channels=[])
    again.drain(sqlite_store)
    assert sqlite_store.findings().items[0].status == "resolved"


def test_nothing_kept_is_nothing_done(sqlite_store: Store, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "new")
    assert spool.drain(sqlite_store).recorded == ()
    assert len(spool) == 0
    assert not spool.directory.exists()


KILLED_WHILE_SAVING = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from driftwatch.store import Spool
from tests.store.samples import declared, result
os.link = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
Spool(Path(sys.argv[1])).save(result(1), declaration=declared(1), channels=[])
"""


@pytest.mark.row(76)
def test_what_a_killed_process_left_half_written_is_swept(
    sqlite_store: Store, spool: Spool, request: Any
) -> None:
    """Row 76: kill -9 in the middle of a save leaves no file behind for ever, and no half result."""
    command = [
        sys.executable,
        "-c",
        KILLED_WHILE_SAVING,
        str(spool.directory.parent),
        str(request.config.rootpath),
    ]
    assert subprocess.run(command, check=False).returncode < 0
    assert len(list(spool.directory.iterdir())) == 1
    assert spool.drain(sqlite_store).recorded == ()
    assert list(spool.directory.iterdir()) == []


@pytest.mark.row(76)
def test_opening_and_closing_leaves_no_file_descriptor(sqlite_place: Place) -> None:
    """Row 76: descriptors do not pile up."""
    sqlite_place.open().close()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  (a list of numbers)
    for number in range(10):
        store, spool = sqlite_place.open(), Spool(sqlite_place.state_dir)
        spool.save(result(1, at=after(number)), declaration=declared(1), channels=[])
        spool.drain(store)
        store.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208  (as above)
