"""Suspensions and pins, and the schema that brought them: what was marked before is suspended now."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from sqlalchemy import MetaData, insert, select

from driftwatch.errors import UnknownStackError
from driftwatch.log import REDACTED, register_secret
from driftwatch.model import DRIFTWATCH, Pin, StackDeclaration, StackId, Suspension
from driftwatch.store import schema
from driftwatch.store.engine import Database
from driftwatch.store.store import _backend
from driftwatch.store.tables import SuspensionRow
from tests.store.conftest import Place
from tests.store.samples import START, after, declared, stack_id

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection, Table

    from driftwatch.store import Store

ONE = str(stack_id(1))
ELSEWHERE = StackId(repository="other", path="envs/s001")


@pytest.fixture
def fleet(store: Store) -> Store:
    store.sync_stacks("platform", [declared(1), declared(2)], START)
    store.sync_stacks("other", [StackDeclaration(id=ELSEWHERE)], START)
    return store


def suspension(scope: str = "*", **words: Any) -> Suspension:
    return Suspension(scope=scope, **({"by": "ann", "at": after(1), "reason": "incident"} | words))


def pin(number: int = 1, **words: Any) -> Pin:
    standard = {"commit": "0ld", "by": "ann", "at": after(1), "reason": "the new one is broken"}
    return Pin(stack=stack_id(number), **(standard | words))


def suspended(store: Store, at: float = 2) -> list[str]:
    return [str(each.id) for each in store.stacks(now=after(at)) if each.suspended]


# ---- suspensions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "stopped"),
    [
        (ONE, [ONE]),
        ("platform", [ONE, str(stack_id(2))]),
        ("*", ["other/envs/s001", ONE, str(stack_id(2))]),
        ("platform/envs", []),
        ("plat", []),
        ("elsewhere", []),
    ],
)
def test_a_suspension_holds_for_just_its_scope(fleet: Store, scope: str, stopped: list[str]) -> None:
    """A stack, a repository or everything: by their whole names."""
    fleet.suspend(suspension(scope))
    assert suspended(fleet) == stopped
    for stack in (stack_id(1), stack_id(2), ELSEWHERE):
        found = fleet.suspension_of(stack, after(2))
        assert found == (suspension(scope) if str(stack) in stopped else None)
    assert fleet.resume(scope, "bob", after(3))
    assert suspended(fleet) == []


def test_the_most_specific_suspension_is_the_one_that_is_named(fleet: Store) -> None:
    scopes = ("*", "platform", ONE)
    for scope in scopes:
        fleet.suspend(suspension(scope, reason=f"because of {scope}"))
        found = fleet.suspension_of(stack_id(1), after(2))
        assert found is not None
        assert (found.scope, found.reason) == (scope, f"because of {scope}")
    assert [each.scope for each in fleet.suspensions(after(2))] == sorted(scopes)
    assert fleet.resume("platform", "bob", after(3))
    found = fleet.suspension_of(stack_id(2), after(3))
    assert found is not None
    assert found.scope == "*", "what is resumed is one scope, and not what lies around it"


def test_a_workspace_is_a_stack_of_its_own(fleet: Store) -> None:
    fleet.suspend(suspension(f"{ONE}@staging"))
    assert fleet.suspension_of(stack_id(1), after(2)) is None
    staging = StackId(repository="platform", path=stack_id(1).path, workspace="staging")
    assert fleet.suspension_of(staging, after(2)) is not None


def test_a_suspension_ends_by_itself(fleet: Store) -> None:
    fleet.suspend(suspension(until=after(60)))
    assert len(suspended(fleet, 59)) == 3
    assert suspended(fleet, 60) == []
    assert fleet.suspensions(after(60)) == []
    assert fleet.suspension_of(stack_id(1), after(60)) is None
    assert not fleet.resume("*", "bob", after(60)), "there was nothing to end"
    fleet.suspend(suspension(at=after(70)))
    assert fleet.suspensions(after(70)) == [suspension(at=after(70))]


def test_a_later_suspension_of_a_scope_takes_the_place_of_the_earlier(fleet: Store) -> None:
    fleet.suspend(suspension(until=after(60)))
    fleet.suspend(suspension(by="bob", at=after(2), reason="worse", until=None))
    assert fleet.suspensions(after(90)) == [suspension(by="bob", at=after(2), reason="worse")]
    assert fleet.resume("*", "cyd", after(91))
    assert not fleet.resume("*", "cyd", after(92))
    query = select(SuspensionRow).order_by(SuspensionRow.id)
    rows = fleet._database.read(lambda connection: connection.execute(query).all())
    ends = [(row.actor, row.ended_at, row.ended_by) for row in rows]
    assert ends == [("ann", after(2), "bob"), ("bob", after(91), "cyd")], "who stopped what stays known"


def test_two_that_suspend_at_once_leave_one_suspension(fleet: Store) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda who: fleet.suspend(suspension(by=f"p{who}")), range(6)))
    assert len(fleet.suspensions(after(2))) == 1
    with ThreadPoolExecutor(6) as pool:
        ended = list(pool.map(lambda who: fleet.resume("*", f"p{who}", after(3)), range(6)))
    assert sum(ended) == 1


def test_what_people_say_is_redacted(fleet: Store) -> None:
    register_secret("c4nary-hunter2")
    fleet.suspend(suspension(by="ann c4nary-hunter2", reason="it is c4nary-hunter2\x00\ud800"))
    fleet.pin(pin(by="ann c4nary-hunter2", reason="it is c4nary-hunter2\x00\ud800"))
    said = f"{fleet.suspensions(after(2))!r} {fleet.pins()!r}"
    assert "hunter2" not in said
    assert said.count(REDACTED) == 4


# ---- pins ----------------------------------------------------------------------------------------------


def test_a_pin_stays_until_it_is_taken_out(fleet: Store) -> None:
    assert fleet.pins() == {}
    fleet.pin(pin(1))
    fleet.pin(pin(2, commit="0lder"))
    assert fleet.pins() == {stack_id(1): pin(1), stack_id(2): pin(2, commit="0lder")}
    fleet.pin(pin(1, commit="0ldest", by="bob"))
    assert fleet.pins()[stack_id(1)] == pin(1, commit="0ldest", by="bob")
    assert fleet.unpin(stack_id(1))
    assert not fleet.unpin(stack_id(1))
    assert not fleet.unpin(stack_id(99))
    assert list(fleet.pins()) == [stack_id(2)]


def test_a_pin_outlives_that_its_stack_is_away(fleet: Store) -> None:
    """A branch without it for an hour must not roll it forward when it comes back."""
    fleet.pin(pin(1))
    fleet.sync_stacks("platform", [declared(2)], after(2))
    assert fleet.pins() == {stack_id(1): pin(1)}
    with pytest.raises(UnknownStackError):
        fleet.pin(pin(1))
    fleet.sync_stacks("platform", [declared(1), declared(2)], after(3))
    assert fleet.pins() == {stack_id(1): pin(1)}
    fleet.sync_stacks("platform", [declared(2)], after(4))
    assert fleet.unpin(stack_id(1))


def test_two_that_pin_at_once_leave_one_pin(fleet: Store) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda who: fleet.pin(pin(1, by=f"p{who}")), range(6)))
    assert list(fleet.pins()) == [stack_id(1)]


def test_only_a_declared_stack_is_pinned(fleet: Store) -> None:
    with pytest.raises(UnknownStackError, match="no stack platform/envs/s099"):
        fleet.pin(pin(99))


# ---- the schema before ---------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def before(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Place, dict[str, list[dict[str, Any]]]]:
    """A database of the schema 0003 with something in every table, and all that is in it."""
    url = None
    if request.param == "postgres":
        server = request.getfixturevalue("postgres")
        url = server.url(server.new_database(empty=True))
    place = Place(tmp_path / "state", url)
    database = Database(_backend(place.state_dir, place.database, 5.0))
    with database.backend.upgrading() as connection:
        command.upgrade(schema.alembic_config(connection), "0003")
        fill(connection)
        rows = everything(connection)
    database.close()
    return place, rows


def fill(connection: Connection) -> None:
    """Each table as it was then, and not as the models have it now."""
    known = MetaData()
    known.reflect(connection)

    def put(table: str, **row: Any) -> None:
        connection.execute(insert(known.tables[table]).values(**row))

    put("schema_info", id=1, written_by="0.0.3")
    put("repositories", name="platform", commit_sha="c0ffee")
    for number in (1, 2, 3):
        stack = stack_id(number)
        put(
            "stacks",
            id=number,
            name=str(stack),
            repository=stack.repository,
            path=stack.path,
            workspace=stack.workspace,
            labels={"tier": "prod"},
            owners=["@platform"],
            declared_at=START,
            suspended=number == 2,
            next_due_at=after(30),
            token=number,
            verdict="drifted",
            method="plan",
            open_findings=1,
            allowed_age=2700.0,
        )
    put(
        "checks",
        id=1,
        key="k",
        stack_id=1,
        trigger="schedule",
        verdict="drifted",
        method="plan",
        method_reason="no_recording",
        started_at=START,
        duration_seconds=1.5,
        inputs={},
        findings_total=1,
        findings_counted=1,
    )
    put("baselines", stack_id=1, check_id=1, inputs={})
    put(
        "findings",
        id=1,
        stack_id=1,
        identity="resource:a.b",
        address="a.b",
        type="a",
        kind="modified",
        severity="high",
        fingerprint="f",
        counted=True,
        status="open",
        first_seen=START,
        last_seen=START,
        first_check_id=1,
        last_check_id=1,
        document={},
        opened_at=START,
    )
    put("finding_events", id=1, finding_id=1, check_id=1, event="opened", at=START, document={})
    put(
        "jobs",
        id=1,
        stack_id=2,
        state="queued",
        trigger="schedule",
        priority=20,
        created_at=START,
        attempts=0,
        token=0,
    )
    put(
        "messages",
        id=1,
        channel="slack",
        dedupe_key="k",
        stack=ONE,
        episode="e",
        state="sent",
        announcement={},
        attempts=1,
        created_at=START,
        next_attempt_at=START,
        thread="t",
        incident_id=1,
    )
    put("incidents", id=1, key="k", generation=1, opened_at=START, joined_at=START)
    put(
        "incident_members",
        episode="e",
        incident_id=1,
        stack_id=1,
        rank=3,
        channels=["slack"],
        document={},
    )
    put(
        "audit",
        id=1,
        at=START,
        actor="ann",
        via="terminal",
        action="ack",
        subject="1",
        outcome="done",
        digest="d",
    )
    put("told", stack_id=1, document={}, episode="e")


def everything(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    known = MetaData()
    known.reflect(connection)
    return {table.name: rows_of(connection, table) for table in known.sorted_tables}


def rows_of(connection: Connection, table: Table) -> list[dict[str, Any]]:
    rows = connection.execute(select(table).order_by(*table.primary_key.columns))
    return [dict(row) for row in rows.mappings()]


@pytest.mark.row(78)
def test_the_upgrade_keeps_every_row_and_what_was_suspended(
    before: tuple[Place, dict[str, list[dict[str, Any]]]],
) -> None:
    """Row 78 at the store, from 0003: the mark on a stack is a suspension now, and all else as it was."""
    place, was = before
    assert all(was.values()), "nothing in a table proves nothing"
    store = place.open()
    assert (store.upgraded.before, store.upgraded.after) == ("0003", schema.HEAD)
    now = store._database.read(everything)
    for table in ("alembic_version", "schema_info"):
        assert len(now[table]) == len(was.pop(table)) == 1
    for row in was["stacks"]:
        del row["suspended"]
    assert {table: now[table] for table in was} == was
    assert all(now[table] == [] for table in ("proposals", "proposal_events", "pins"))
    (kept,) = store.suspensions(START.replace(year=2100))
    assert (kept.scope, kept.by, kept.until) == (str(stack_id(2)), "somebody", None)
    assert suspended(store) == [str(stack_id(2))]
    assert store.resume(str(stack_id(2)), "ann", after(1))
    assert suspended(store) == []
    store.close()


def test_an_upgraded_database_takes_what_is_new(
    before: tuple[Place, dict[str, list[dict[str, Any]]]],
) -> None:
    place, _ = before
    store = place.open()
    store.suspend(suspension(str(stack_id(2)), until=after(60)))
    assert suspended(store, 60) == [], "the old mark is gone with what took its place"
    store.suspend(suspension("platform"))
    store.pin(pin(3))
    assert (len(suspended(store)), list(store.pins())) == (3, [stack_id(3)])
    store.sync_stacks("platform", [declared(1)], after(2))
    assert suspended(store, 3) == [ONE]
    store.close()


def test_what_waits_for_somebody_to_look_is_replaced_by_nobody(fleet: Store) -> None:
    """Else a short one would end it, and an interrupted apply be followed by the next."""
    review = suspension(by=DRIFTWATCH, at=after(1), reason="look at the state")
    assert fleet.suspend(review)
    assert not fleet.suspend(suspension(by="ben", at=after(2), until=after(10)))
    assert [each.by for each in fleet.suspensions(after(20))] == [DRIFTWATCH]
    assert fleet.suspend(suspension(by=DRIFTWATCH, at=after(3), reason="another apply"))
    assert fleet.resume(suspension().scope, "ann", after(4))
    assert fleet.suspend(suspension(by="ben", at=after(5), until=after(10)))
    assert fleet.suspensions(after(20)) == []


def test_it_takes_the_place_of_what_somebody_said(fleet: Store) -> None:
    assert fleet.suspend(suspension(by="ben", until=after(10)))
    assert fleet.suspend(suspension(by=DRIFTWATCH, at=after(1), reason="look at the state"))
    assert [each.by for each in fleet.suspensions(after(20))] == [DRIFTWATCH]
