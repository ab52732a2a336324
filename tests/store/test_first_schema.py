"""From the first schema, with a life in it: nothing is lost, and the old words mean what they meant."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from sqlalchemy import text

from driftwatch.drift import Accept, Press, Told
from driftwatch.model import FindingStatus, Resolution, StackDeclaration
from driftwatch.store import Store, schema, told
from driftwatch.store.codec import dump
from driftwatch.store.engine import Database
from driftwatch.store.store import _backend
from tests.store.conftest import Place
from tests.store.samples import START, after, failure, finding, result, stack_id

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

STATUSES = ("open", "changed", "reopened", "resolved")
"""All that the first schema knew."""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def first(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A database of the first schema, with a finding in each status and the events that led there."""
    url = None
    if request.param == "postgres":
        server = request.getfixturevalue("postgres")
        url = server.url(server.new_database(empty=True))
    place = Place(tmp_path / "state", url)
    database = Database(_backend(place.state_dir, place.database, 5.0))
    with database.backend.upgrading() as connection:
        command.upgrade(schema.alembic_config(connection), "0001")
        fill(connection)
    database.close()
    return place


def fill(connection: Connection) -> None:
    put(connection, "schema_info", id=1, written_by="0.0.1")
    put(connection, "repositories", name="platform")
    words = {"repository": "platform", "workspace": "default", "labels": "{}", "owners": "[]"}
    put(
        connection,
        "stacks",
        **words,
        id=1,
        name=str(stack_id(1)),
        path=stack_id(1).path,
        declared_at=START,
        verdict="drifted",
        last_good_at=after(9),
        checked_at=after(9),
        open_findings=3,
    )
    for number in (1, 2):
        put(
            connection,
            "checks",
            id=number,
            key=f"k{number}",
            stack_id=1,
            trigger="schedule",
            verdict="drifted",
            method="plan",
            method_reason="no_recording",
            started_at=after(number),
            duration_seconds=1.0,
            inputs="{}",
            findings_total=4,
            findings_counted=4,
        )
    for number, status in enumerate(STATUSES, 1):
        fill_finding(connection, number, status)
    heard = Told(
        episode="drift:it", counted=frozenset({finding(f"a.{status}").fingerprint for status in STATUSES[:3]})
    )
    old = {
        key: value for key, value in dump(heard).items() if key in ("episode", "counted", "failing", "outage")
    }
    put(connection, "told", stack_id=1, document=json.dumps(old), episode="drift:it")


def fill_finding(connection: Connection, number: int, status: str) -> None:
    seen = finding(f"a.{status}")
    gone = {"resolved_at": after(5), "resolution": "gone"} if status == "resolved" else {}
    put(
        connection,
        "findings",
        id=number,
        stack_id=1,
        identity=seen.identity,
        address=seen.address,
        type=seen.type,
        kind=seen.kind.value,
        severity=seen.severity.value,
        fingerprint=seen.fingerprint,
        counted=True,
        status=status,
        first_seen=after(1),
        last_seen=after(9),
        first_check_id=1,
        last_check_id=2,
        document=json.dumps(dump(seen)),
        **gone,
    )
    for event, at in (("opened", 1), *([(status, 4)] if status != "open" else [])):
        put(
            connection,
            "finding_events",
            finding_id=number,
            check_id=1,
            event=event,
            at=after(at),
            document=json.dumps(dump(seen)),
        )


def put(connection: Connection, table: str, **row: Any) -> None:
    columns, values = ", ".join(row), ", ".join(f":{column}" for column in row)
    values = (
        values.replace(":document", "CAST(:document AS JSON)")
        if connection.dialect.name != "sqlite"
        else values
    )
    if connection.dialect.name == "sqlite":
        row = {key: str(value)[:26] if hasattr(value, "isoformat") else value for key, value in row.items()}
    connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({values})"), row)  # noqa: S608  (our own names)


@pytest.mark.row(78)
def test_every_row_of_the_first_schema_survives(first: Place) -> None:
    """Row 78 at the store: from 0001, on both databases."""
    store = first.open()
    assert (store.upgraded.before, store.upgraded.after) == ("0001", schema.HEAD)
    found = {item.finding.address: item for item in store.findings().items}
    assert {address: item.status.value for address, item in found.items()} == {
        f"a.{status}": status for status in STATUSES
    }
    for status, opened in zip(STATUSES, (1, 1, 4, 1), strict=True):
        item = found[f"a.{status}"]
        assert (item.first_seen, item.opened_at, item.clean_at) == (after(1), after(opened), None)
        assert (item.until, item.acceptance, item.turns, item.flapping_since) == (None, None, (), None)
        assert [event.actor for event in store.finding_events(item.id)] == ["driftwatch"] * (
            1 if status == "open" else 2
        )
    ended = found["a.resolved"]
    assert (ended.resolution, ended.time_to_resolve) == (Resolution.UNDETERMINED, after(5) - after(1))
    store.close()


def test_an_upgraded_database_goes_on_where_it_was(first: Place) -> None:
    """What was told stays told, and the new words can be written: the old constraints are gone."""
    store = first.open()
    active = [finding(f"a.{status}") for status in STATUSES[:3]]
    recorded = record(store, result(1, *active, at=after(20)))
    assert recorded.announcements == ()
    minute = after(1) - START
    assert store.remind(at=after(30), after=minute, channels=[]) == [], "nobody knows when it was told"
    assert [said.kind for said in store.remind(at=after(32), after=minute, channels=[])] == ["reminder"]
    press = Press(action=Accept(), actor="alice", at=after(40), reason="on purpose")
    assert store.act(1, press) is not None
    found = store.finding(1)
    assert found is not None
    assert found.status is FindingStatus.ACCEPTED
    assert record(store, failure(1, at=after(50))).announcements[0].kind == "check_failing"
    ((_, heard),) = store._database.read(told.running)
    assert heard.failing
    store.close()


def record(store: Store, check: Any) -> Any:
    return store.record_check(check, declaration=StackDeclaration(id=check.stack), channels=[])
