"""The schema: models and migrations agree; an upgrade happens whole, with a copy, or not at all."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from driftwatch import __version__
from driftwatch.errors import StoreCorruptError, StoreError, StoreNewerError
from driftwatch.store import Store, schema
from driftwatch.store.sqlite import DATABASE_FILE
from driftwatch.store.tables import Base
from tests.store.conftest import Place
from tests.store.samples import declared, finding, result

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from tests.store.conftest import Postgres

ADDED = """
import os, signal
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "9999", "{head}", None, None


def upgrade():
    with op.batch_alter_table("findings") as table:
        table.add_column(sa.Column("note", sa.Text(), nullable=True))
        table.create_index("ix_findings_note", ["note"])
    {fault}
    with op.batch_alter_table("stacks") as table:
        table.alter_column("path", new_column_name="directory")
"""


def add_revision(monkeypatch: pytest.MonkeyPatch, directory: Path, *, fault: str = "pass") -> None:
    """Makes this process a driftwatch whose newest schema is 9999."""
    migrations = directory / "migrations"
    shutil.copytree(schema.MIGRATIONS, migrations)
    (migrations / "versions" / "r9999_added.py").write_text(ADDED.format(fault=fault, head=schema.HEAD))
    monkeypatch.setattr(schema, "MIGRATIONS", migrations)
    monkeypatch.setattr(schema, "HEAD", "9999")


def filled(place: Place) -> None:
    store = place.open()
    store.record_check(result(1, finding()), declaration=declared(1), channels=["slack"])
    store.close()


def rows_of(place: Place) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(place.state_dir / DATABASE_FILE)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: connection.execute(f"SELECT * FROM {name}").fetchall()  # noqa: S608  (names of our own)
            for name in sorted(names)
        }


def checks_of(connection: Connection) -> dict[str, set[tuple[str | None, str]]]:
    """CHECK constraints by table, which Alembic does not compare."""
    inspector = inspect(connection)
    return {
        table: {(check["name"], check["sqltext"]) for check in inspector.get_check_constraints(table)}
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }


def test_models_and_migrations_agree(place: Place, store: Store) -> None:
    """What `alembic check` would say, and the CHECK constraints, which it leaves out."""

    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))

    assert store._database.read(differences) == []
    made_by_models = create_engine("sqlite://")
    with made_by_models.begin() as connection:
        Base.metadata.create_all(connection)
        wanted = checks_of(connection)
    made_by_models.dispose()
    found = store._database.read(checks_of)
    assert {table: {name for name, _ in checks} for table, checks in found.items()} == {
        table: {name for name, _ in checks} for table, checks in wanted.items()
    }
    if place.database is None:
        assert found == wanted


def test_the_newest_revision_is_the_one_the_code_names(store: Store) -> None:
    config = store._database.read(schema.alembic_config)
    assert ScriptDirectory.from_config(config).get_current_head() == schema.HEAD


def test_every_constraint_that_a_migration_may_want_to_change_has_a_name(sqlite_store: Store) -> None:
    def names(connection: Connection) -> list[Any]:
        inspector = inspect(connection)
        found = []
        for table in Base.metadata.tables:
            found += [item["name"] for item in inspector.get_foreign_keys(table)]
            found += [item["name"] for item in inspector.get_unique_constraints(table)]
        return found

    assert all(sqlite_store._database.read(names))


def test_a_value_outside_its_enumeration_is_refused_by_the_database(place: Place, store: Store) -> None:
    with pytest.raises(StoreError):
        store._database.write(
            lambda connection: connection.exec_driver_sql(
                "INSERT INTO messages (channel, dedupe_key, stack, episode, state, announcement, attempts, "
                "created_at, next_attempt_at) VALUES ('c', 'k', 's', 'e', 'lost', '{}', 0, "
                "'2026-01-01 00:00:00', '2026-01-01 00:00:00')"
            )
        )


def test_a_new_database_is_made_at_the_newest_schema(tmp_path: Path) -> None:
    store = Store.open(state_dir=tmp_path / "a" / "b", database=None)
    assert (store.upgraded.before, store.upgraded.after, store.upgraded.copy) == (None, schema.HEAD, None)
    store.close()


def test_opening_a_database_that_is_up_to_date_takes_no_time(place: Place) -> None:
    """Under 300 ms of processor time, and without Alembic."""
    took = []
    for _ in range(3):
        begun = time.process_time()
        place.open().close()
        took.append(time.process_time() - begun)
    assert min(took) < 0.3


@pytest.mark.postgres
def test_an_empty_postgresql_is_made_once_by_whoever_comes_first(postgres: Postgres, tmp_path: Path) -> None:
    place = Place(tmp_path, postgres.url(postgres.new_database(empty=True)))
    with ThreadPoolExecutor(3) as pool:
        stores = list(pool.map(lambda _: place.open(), range(3)))
    assert sorted(store.upgraded.changed for store in stores) == [False, False, True]
    for store in stores:
        store.close()


def test_a_new_file_is_made_once_by_whoever_comes_first(tmp_path: Path) -> None:
    place = Place(tmp_path / "state", None)
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: place.open(), range(4)))
    assert sorted(store.upgraded.changed for store in stores) == [False, False, False, True]
    for store in stores:
        store.close()


@pytest.mark.row(78)
def test_an_upgrade_keeps_every_row_and_a_copy_of_the_file(
    sqlite_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 78 at the store: N to N+1."""
    filled(sqlite_place)
    before, head = rows_of(sqlite_place), schema.HEAD
    add_revision(monkeypatch, tmp_path)
    store = sqlite_place.open()
    store.close()
    copy = sqlite_place.state_dir / f"{DATABASE_FILE}.{head}"
    assert (store.upgraded.before, store.upgraded.after, store.upgraded.copy) == (head, "9999", copy)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in sqlite_place.state_dir.iterdir()} == {DATABASE_FILE, copy.name}
    upgraded = rows_of(sqlite_place)
    assert {name: len(rows) for name, rows in upgraded.items()} == {
        name: len(rows) for name, rows in before.items()
    }
    assert upgraded["alembic_version"] == [("9999",)]
    copy.rename(sqlite_place.state_dir / DATABASE_FILE)
    assert rows_of(sqlite_place) == before


@pytest.mark.postgres
@pytest.mark.row(49)
def test_an_upgrade_of_postgresql_is_one_transaction(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 49: a step that fails undoes those before it, and the next run does them all."""
    place = Place(tmp_path, postgres.url(postgres.new_database()))
    with monkeypatch.context() as broken:
        add_revision(broken, tmp_path / "broken", fault='op.execute("SELECT no_such_function()")')
        with pytest.raises(StoreError, match="no_such_function"):
            place.open()
    place.open().close()
    head = schema.HEAD
    add_revision(monkeypatch, tmp_path)
    store = place.open()
    assert (store.upgraded.before, store.upgraded.after) == (head, "9999")
    store.close()


UPGRADE_IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
from driftwatch.store import Store, schema
schema.MIGRATIONS, schema.HEAD = Path(sys.argv[2]), "9999"
Store.open(state_dir=Path(sys.argv[1]), database=None)
"""


@pytest.mark.row(49)
def test_a_process_killed_in_the_middle_of_an_upgrade_leaves_the_old_schema(
    sqlite_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 49: kill -9 within a step; the old driftwatch still runs, and the upgrade can run again."""
    filled(sqlite_place)
    before = rows_of(sqlite_place)
    with monkeypatch.context() as deadly:
        add_revision(deadly, tmp_path / "deadly", fault="os.kill(os.getpid(), signal.SIGKILL)")
        arguments = [str(sqlite_place.state_dir), str(schema.MIGRATIONS)]
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(UPGRADE_IN_ANOTHER_PROCESS), *arguments], check=False
        )
    assert done.returncode == -signal.SIGKILL
    assert rows_of(sqlite_place) == before
    store = sqlite_place.open()
    assert len(store.findings().items) == 1
    store.close()
    add_revision(monkeypatch, tmp_path)
    store = sqlite_place.open()
    assert store.upgraded.changed
    store.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def own_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A database whose schema no other test needs as it was."""
    if request.param == "sqlite":
        return cast("Place", request.getfixturevalue("sqlite_place"))
    server: Postgres = request.getfixturevalue("postgres")
    return Place(tmp_path / "state", server.url(server.new_database()))


@pytest.mark.row(49)
def test_a_newer_schema_is_refused_and_says_what_to_do(
    own_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 49: bump the version; the message names both and nothing is changed."""
    with monkeypatch.context() as newer:
        add_revision(newer, tmp_path)
        own_place.open().close()
    with pytest.raises(StoreNewerError) as caught:
        own_place.open()
    assert f"has schema 9999 of driftwatch {__version__}" in caught.value.message
    assert f"knows schemas up to {schema.HEAD}" in caught.value.message
    assert caught.value.advice is not None
    assert "Run the newer driftwatch" in caught.value.advice


def flip(file: Path, start: int, length: int) -> None:
    content = bytearray(file.read_bytes())
    for place in range(start, start + length):
        content[place] ^= 0xFF
    file.write_bytes(content)


@pytest.mark.parametrize(("start", "length"), [(0, 16), (4096 * 3, 12), (100, 40)])
@pytest.mark.row(49)
def test_a_damaged_file_is_refused_with_advice_and_left_as_it_is(
    sqlite_place: Place, start: int, length: int
) -> None:
    """Row 49: flip bytes, in the header, in a page, in the table of tables."""
    filled(sqlite_place)
    file = sqlite_place.state_dir / DATABASE_FILE
    flip(file, start, length)
    damaged = file.read_bytes()
    with pytest.raises(StoreCorruptError) as caught:
        sqlite_place.open()
    assert str(file) in caught.value.message
    assert caught.value.advice is not None
    assert "put a copy in its place" in caught.value.advice
    assert file.read_bytes() == damaged


@pytest.mark.row(49)
def test_damage_that_comes_while_running_is_named_as_such(sqlite_place: Place) -> None:
    """Row 49: the page is damaged under an open store."""
    filled(sqlite_place)
    store = sqlite_place.open()
    assert store.damage() == ()
    store._database.backend.engine.dispose()
    file = sqlite_place.state_dir / DATABASE_FILE
    for page in range(2, file.stat().st_size // 4096):
        flip(file, 4096 * page, 12)
    with pytest.raises(StoreCorruptError):
        store.findings()
    store.close()
