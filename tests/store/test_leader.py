"""Of several daemons on one database one leads, and when it is gone another does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, text

from driftwatch.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.store.conftest import Postgres


def test_with_a_file_of_its_own_a_daemon_always_leads(tmp_path: Path) -> None:
    store = Store.open(state_dir=tmp_path, database=None)
    assert store.leads()
    store.close()


@pytest.fixture
def pg_url(postgres: Postgres) -> str:
    return postgres.url(postgres.cleared_database())


@pytest.mark.postgres
@pytest.mark.row(42)
def test_one_leads_until_it_is_gone(tmp_path: Path, pg_url: str) -> None:
    """Row 42: never two at once, and never none for long."""
    one = Store.open(state_dir=tmp_path / "one", database=pg_url)
    two = Store.open(state_dir=tmp_path / "two", database=pg_url)
    assert [one.leads(), two.leads(), one.leads(), two.leads()] == [True, False, True, False]
    one.close()
    assert two.leads()
    two.close()


@pytest.mark.postgres
@pytest.mark.row(50)
def test_a_leader_whose_connection_is_cut_asks_again(tmp_path: Path, pg_url: str) -> None:
    """Row 50: the server ends all connections; leadership is taken anew, by one of them."""
    one = Store.open(state_dir=tmp_path / "one", database=pg_url)
    two = Store.open(state_dir=tmp_path / "two", database=pg_url)
    assert one.leads()
    admin = create_engine(pg_url.replace("postgresql://", "postgresql+psycopg://", 1))
    with admin.connect() as connection:
        others = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = :name")
        connection.execute(others, {"name": "driftwatch"})
    assert sorted([two.leads(), one.leads()]) == [False, True]
    for store in (one, two):
        store.close()
    admin.dispose()
