"""PostgreSQL in trouble: connections cut, transactions that collide, a server that refuses."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from driftwatch.errors import ConfigError, StoreLockedError, StoreUnavailableError
from driftwatch.model import Trigger
from driftwatch.store import Store
from tests.store.conftest import Place
from tests.store.samples import LEASE, START, after, declared, finding, result, stack_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from tests.store.conftest import Postgres

pytestmark = pytest.mark.postgres

CUT = text("SELECT pg_terminate_backend(pg_backend_pid())")


@pytest.fixture
def pg_place(postgres: Postgres, tmp_path: Path) -> Place:
    return Place(tmp_path / "state", postgres.url(postgres.new_database()))


@pytest.fixture
def pg_store(pg_place: Place) -> Iterator[Store]:
    opened = pg_place.open()
    yield opened
    opened.close()


def record(store: Store, number: int, minutes: float = 0) -> Any:
    check = result(number, finding(), at=after(minutes))
    return store.record_check(check, declaration=declared(number), channels=["slack"])


@pytest.mark.row(50)
def test_connections_that_were_cut_while_idle_are_replaced(pg_store: Store, postgres: Postgres) -> None:
    """Row 50: pg_terminate_backend on every connection, then the next call."""
    record(pg_store, 1)
    postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'driftwatch'"
    )
    assert len(pg_store.findings().items) == 1
    record(pg_store, 2)


@pytest.mark.row(50)
def test_a_server_that_was_restarted_is_found_again(pg_store: Store, postgres: Postgres) -> None:
    """Row 50: restart."""
    record(pg_store, 1)
    postgres.stop()
    postgres.start()
    record(pg_store, 2)
    assert len(pg_store.findings().items) == 2


@pytest.mark.row(50)
def test_a_transaction_that_was_cut_in_the_middle_runs_again_whole(pg_store: Store) -> None:
    """Row 50: what was undone with its connection is done once."""
    runs = []

    def work(connection: Connection) -> int | None:
        runs.append(connection)
        connection.execute(text("INSERT INTO repositories (name) VALUES ('twice')"))
        if len(runs) == 1:
            connection.execute(CUT)
        return connection.scalar(text("SELECT count(*) FROM repositories"))

    assert pg_store._database.write(work) == 1
    assert len(runs) == 2


def test_a_claim_that_is_cut_before_its_commit_claims_one_job(pg_store: Store) -> None:
    pg_store.sync_stacks("platform", [declared(1), declared(2)], START)
    for number in (1, 2):
        pg_store.enqueue(stack_id(number), Trigger.SCHEDULE, requested_by=None, at=START)
    job = pg_store.claim("one", at=START, lease=LEASE)
    assert job is not None
    assert pg_store.queue_depth() == {"queued": 1, "running": 1}


@pytest.mark.row(50)
def test_a_serialization_failure_is_undone_and_run_again(pg_place: Place, pg_store: Store) -> None:
    """Row 50: 40001, because somebody changed the row after this transaction's snapshot was taken."""
    pg_store.sync_stacks("platform", [declared(1)], START)
    other = pg_place.open()
    take = text("UPDATE stacks SET token = token + 1")
    runs = []

    def work(connection: Connection) -> None:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        connection.execute(text("SELECT * FROM stacks"))
        runs.append(connection)
        if len(runs) == 1:
            other._database.write(lambda theirs: theirs.execute(take))
        connection.execute(take)

    pg_store._database.write(work)
    assert len(runs) == 2
    assert other._database.read(lambda connection: connection.scalar(text("SELECT token FROM stacks"))) == 2
    other.close()


@pytest.mark.row(50)
def test_a_stricter_servers_default_makes_no_collisions(pg_place: Place, postgres: Postgres) -> None:
    """Row 50: many at once on few stacks, on a server set to serializable; nothing is lost or doubled."""
    assert pg_place.database is not None
    name = pg_place.database.partition("@/")[2].partition("?")[0]
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    store = pg_place.open()
    store.sync_stacks("platform", [declared(number) for number in range(4)], START)

    def work(minutes: int) -> None:
        store.enqueue(stack_id(minutes % 4), Trigger.SCHEDULE, requested_by=None, at=START)
        record(store, minutes % 4, minutes)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(24)))
    assert len(store.findings().items) == 4
    assert store.queue_depth()["queued"] == 4
    assert store.outbox_depth()["waiting"] == 4
    store.close()


@pytest.mark.row(50)
def test_a_deadlock_is_undone_and_run_again(pg_store: Store) -> None:
    """Row 50: two transactions take two rows in opposite order."""
    pg_store.sync_stacks("platform", [declared(1), declared(2)], START)
    take = text("UPDATE stacks SET token = token + 1 WHERE name = :name")

    def work(names: tuple[str, str]) -> None:
        def steps(connection: Connection) -> None:
            for name in names:
                connection.execute(take, {"name": name})
                connection.execute(text("SELECT pg_sleep(0.2)"))

        pg_store._database.write(steps)

    first, second = str(stack_id(1)), str(stack_id(2))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, [(first, second), (second, first)]))
    tokens = pg_store._database.read(
        lambda connection: list(connection.scalars(text("SELECT token FROM stacks")))
    )
    assert tokens == [2, 2]


@pytest.mark.row(47)
def test_a_row_that_somebody_holds_is_waited_for_and_then_named(pg_place: Place) -> None:
    """Row 47, on PostgreSQL."""
    holder, store = pg_place.open(), pg_place.open(patience=0.05)
    holder.sync_stacks("platform", [declared(1)], START)

    def hold(connection: Connection) -> None:
        connection.execute(text("SELECT * FROM stacks FOR UPDATE"))
        with pytest.raises(StoreLockedError, match="lock timeout"):
            record(store, 1)

    holder._database.write(hold)
    record(store, 1)
    for each in (holder, store):
        each.close()


@pytest.mark.row(46)
def test_a_server_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    """Row 46: down at start is a clear error."""
    with pytest.raises(StoreUnavailableError) as caught:
        Store.open(state_dir=tmp_path, database="postgresql://driftwatch:s3cret-word@127.0.0.1:1/none")
    told = f"{caught.value.message} {caught.value.advice} {caught.value.detail}"
    assert "127.0.0.1" in told
    assert "s3cret-word" not in told


def test_a_database_that_does_not_exist_is_named(postgres: Postgres, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match='"nowhere" does not exist'):
        Store.open(state_dir=tmp_path, database=postgres.url("nowhere"))


def test_a_role_without_rights_is_named(pg_place: Place, pg_store: Store, postgres: Postgres) -> None:
    assert pg_place.database is not None
    postgres.execute("CREATE ROLE guest LOGIN")
    url = pg_place.database.replace("driftwatch@", "guest@")
    with pytest.raises(StoreUnavailableError, match="permission denied") as caught:
        Store.open(state_dir=pg_place.state_dir, database=url)
    assert caught.value.advice is not None
    assert "rights" in caught.value.advice


@pytest.mark.parametrize("url", ["mysql://a/b", "not a url", "sqlite:///x.db"])
def test_another_kind_of_database_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="postgresql://") as caught:
        Store.open(state_dir=tmp_path, database=url)
    assert caught.value.problems


def test_a_missing_driver_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreUnavailableError) as caught:
        Store.open(state_dir=tmp_path, database="postgresql://driftwatch@127.0.0.1/x")
    assert caught.value.advice == "Install it: pip install 'driftwatch[postgres]'."
