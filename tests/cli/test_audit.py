"""What was asked for is on the record, at the terminal too, and the record shows when it was meddled with."""

from __future__ import annotations

import getpass
import json
import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.errors import Exit
from driftwatch.model import Verdict
from driftwatch.store import Store
from tests.cli.conftest import NOON
from tests.cli.test_listings import drift

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Estate, Ran

NAMES = ("id", "at", "actor", "via", "action", "subject", "outcome", "reason", "digest")


@pytest.fixture
def audit(cli: Callable[..., Ran], estate: Estate) -> Callable[..., Ran]:
    """`audit("verify")`, with one finding of platform/dns that can be pressed."""
    estate.record("dns", drift("x.y"), verdict=Verdict.DRIFTED)
    return lambda *words: cli("audit", *words, "-c", estate.config)


@pytest.fixture
def press(cli: Callable[..., Ran], estate: Estate) -> Callable[..., Ran]:
    return lambda *words: cli("findings", *words, "-c", estate.config)


def note(estate: Estate, count: int = 1, **words: Any) -> None:
    said: dict[str, Any] = {
        "at": NOON,
        "actor": "alice",
        "via": "slack",
        "action": "acknowledge",
        "subject": "incident 7, all that is open",
        "outcome": "done",
    }
    with closing(Store.open(state_dir=estate.state, database=None)) as store:
        for _ in range(count):
            store.note(**(said | words))


def meddle(estate: Estate, statement: str) -> None:
    (database,) = estate.state.glob("*.db")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement)


def entries(audit: Callable[..., Ran], *words: str) -> Any:
    return json.loads(audit("list", "-f", "json", *words).out)["entries"]


def test_every_press_at_the_terminal_is_on_the_record(
    audit: Callable[..., Ran], press: Callable[..., Ran]
) -> None:
    press("ack", 1, "--as", "Alice", "--reason", "on it")
    press("snooze", 1, "--for", "2h")
    press("accept", 1, "--reason", "by design", "--as", "Bob")
    press("reopen", 1)
    told = [[each[name] for name in NAMES[2:8]] for each in reversed(entries(audit))]
    me = getpass.getuser()
    assert told == [
        ["Alice", "terminal", "acknowledge", "finding 1", "done", "on it"],
        [me, "terminal", "snooze", "finding 1", "done", None],
        ["Bob", "terminal", "accept", "finding 1", "done", "by design"],
        [me, "terminal", "reopen", "finding 1", "done", None],
    ]
    assert audit("verify").code == Exit.OK


def test_what_was_refused_is_on_the_record_with_why(
    audit: Callable[..., Ran], press: Callable[..., Ran]
) -> None:
    assert press("reopen", 1).code == Exit.USAGE
    assert press("ack", 99, "--reason", "r").code == Exit.USAGE
    assert press("accept", 1, "--reason", "r", "--attribute", "/nope").code == Exit.USAGE
    told = [(each["subject"], each["outcome"], each["reason"]) for each in reversed(entries(audit))]
    assert told == [
        ("finding 1", "refused: open", None),
        ("finding 99", "refused: unknown", "r"),
        ("finding 1", "refused: no_such_attribute", "r"),
    ]


def test_what_was_never_asked_is_not_on_the_record(
    audit: Callable[..., Ran], press: Callable[..., Ran]
) -> None:
    """A command line that says nothing that can be done asks for nothing, and neither does looking."""
    press("snooze", 1, "--for", "2")
    press("accept", 1)
    press("show", 1)
    press("list")
    assert entries(audit) == []
    assert audit().out == "Nobody has asked for anything.\n"


def test_audit_alone_lists(audit: Callable[..., Ran], cli: Callable[..., Ran], estate: Estate) -> None:
    note(estate, reason="late night")
    listed = audit("list")
    assert listed.code == Exit.OK
    assert listed.out == (
        "    1  2026-11-23T12:00:00.000Z  alice (slack)  acknowledge incident 7, all that is open: done "
        "(late night)\n"
    )
    assert audit().out == listed.out
    assert json.loads(audit("--format", "json").out) == json.loads(audit("list", "-f", "json").out)
    assert "verify" in cli("audit", "--help").out
    assert (audit("lst").code, audit("--nope").code) == (Exit.USAGE, Exit.USAGE)


def test_the_document_is_the_contract(audit: Callable[..., Ran], estate: Estate) -> None:
    note(estate)
    document = json.loads(audit("-f", "json").out)
    assert (list(document), document["next"]) == (["entries", "next"], None)
    (entry,) = document["entries"]
    assert tuple(entry) == NAMES
    assert (entry["id"], entry["at"], entry["via"]) == (1, "2026-11-23T12:00:00.000Z", "slack")


def test_pages_follow_each_other_from_the_newest_on(audit: Callable[..., Ran], estate: Estate) -> None:
    note(estate, 5)
    page = audit("--limit", "2")
    assert [line.split()[0] for line in page.out.splitlines()] == ["5", "4", "More:"]
    assert page.out.endswith("More: --after 4\n")
    assert [each["id"] for each in entries(audit, "--limit", "2", "--after", "4")] == [3, 2]
    assert json.loads(audit("--after", "2", "-f", "json").out)["next"] is None
    assert [each["id"] for each in entries(audit, "--limit", "1", "--after", str(2**70))] == [5]


@pytest.mark.parametrize("words", [("--limit", "0"), ("--limit", "1001"), ("--after", "0"), ("-f", "sarif")])
def test_a_page_that_cannot_be_is_refused(audit: Callable[..., Ran], words: tuple[str, ...]) -> None:
    ran = audit("list", *words)
    assert (ran.code, ran.out) == (Exit.USAGE, "")


def test_verify_tells_whether_the_record_is_as_it_was_written(
    audit: Callable[..., Ran], estate: Estate
) -> None:
    empty = audit("verify")
    assert (empty.code, empty.out) == (Exit.OK, "The audit is as it was written.\n")
    note(estate, 3)
    whole = audit("verify")
    assert whole.code == Exit.OK
    assert re.fullmatch(
        r"The audit is as it was written\.\nIts newest row is 3, with the digest [0-9a-f]{64}\.\n", whole.out
    )
    document = json.loads(audit("verify", "-f", "json").out)
    assert (document["intact"], document["damaged"], document["newest"]["id"]) == (True, None, 3)
    assert document["newest"]["digest"] in whole.out


@pytest.mark.parametrize(
    "meddling",
    ["UPDATE audit SET actor = 'mallory' WHERE id = 2", "DELETE FROM audit WHERE id = 1"],
)
def test_verify_names_the_row_that_was_meddled_with(
    audit: Callable[..., Ran], estate: Estate, meddling: str
) -> None:
    note(estate, 3)
    meddle(estate, meddling)
    ran = audit("verify")
    assert (ran.code, ran.out) == (
        Exit.ERROR,
        "Row 2 of the audit is not as it was written, or one before it is gone.\n",
    )
    document = json.loads(audit("verify", "-f", "json").out)
    assert (document["intact"], document["damaged"]) == (False, 2)


@pytest.mark.row(69)
def test_nobody_who_is_on_the_record_steers_the_terminal(audit: Callable[..., Ran], estate: Estate) -> None:
    """Row 69, also for rows that another program wrote into the database: one line each, as they are."""
    hostile = "\x1b[31m[bold]a\u202e\u2066\nFORGED :smile:"
    note(estate, actor=hostile, subject=hostile, reason=hostile)
    meddle(estate, "UPDATE audit SET outcome = char(27) || '[2Jdone' || char(10) || 'x', action = char(8238)")
    ran = audit()
    assert ran.code == Exit.OK
    (line,) = ran.out.splitlines()
    assert not [sign for sign in "\x1b\u202e\u2066" if sign in line]
    assert line.count("[bold]a\\u202e\\u2066\\nFORGED :smile:") == 3
    printed = audit("-f", "json").out + audit("verify", "-f", "json").out
    assert printed.isascii()
    assert "\x1b" not in printed


def test_a_database_that_is_not_there_yet_has_an_empty_record(
    cli: Callable[..., Ran], estate: Estate
) -> None:
    ran = cli("audit", "verify", "-c", estate.config)
    assert (ran.code, ran.out) == (Exit.OK, "The audit is as it was written.\n")
