"""What people say of findings at a terminal: done, on the record, or refused with what to do."""

from __future__ import annotations

import getpass
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from driftwatch.cli.moments import length, moment
from driftwatch.errors import Exit, UsageError
from driftwatch.model import AttributeChange, Cause, Verdict
from tests.cli.test_listings import HOSTILE, drift

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tests.cli.conftest import Estate, Ran

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
def press(cli: Callable[..., Ran], estate: Estate) -> Callable[..., Ran]:
    """`press("ack", 1)` on the one finding of platform/dns."""
    estate.record("dns", drift("x.y"), verdict=Verdict.DRIFTED)
    return lambda *words: cli("findings", words[0], *words[1:], "-c", estate.config)


def shown(press: Callable[..., Ran], number: int = 1) -> Any:
    return json.loads(press("show", number, "-f", "json").out)


def test_each_command_says_what_it_did(press: Callable[..., Ran]) -> None:
    where = "Finding 1 (x.y in platform/dns)"
    assert press("ack", 1).out == f"{where} is acknowledged.\n"
    snoozed = press("snooze", 1, "--for", "2h")
    assert re.fullmatch(
        re.escape(where) + r" is snoozed until \d{4}-\d\d-\d\d \d\d:\d\d UTC\.\n", snoozed.out
    )
    accepted = press("accept", 1, "--reason", "by design", "--expires", "2030-01-02T03:04Z")
    assert accepted.out == f"{where} is accepted until 2030-01-02 03:04 UTC.\n"
    assert press("accept", 1, "--reason", "by design").out == f"{where} is accepted for good.\n"
    assert press("reopen", 1).out == f"{where} is open again.\n"
    assert {snoozed.code, accepted.code} == {Exit.OK}


def test_the_actor_is_the_user_or_whom_they_name(press: Callable[..., Ran]) -> None:
    press("ack", 1)
    press("accept", 1, "--reason", "by design", "--as", "Alice", "--owner", "@net")
    events = shown(press)["events"]
    assert [(event["event"], event["actor"], event["reason"]) for event in events] == [
        ("opened", "driftwatch", None),
        ("acknowledged", getpass.getuser(), None),
        ("accepted", "Alice", "by design"),
    ]
    assert shown(press)["acceptance"] == {
        "by": "Alice",
        "at": events[-1]["at"],
        "reason": "by design",
        "owner": "@net",
        "expires": None,
        "attributes": ["/input"],
    }


def test_show_tells_the_life_with_who_when_and_why(press: Callable[..., Ran]) -> None:
    press("snooze", 1, "--until", "2030-01-02T03:04Z", "--reason", "incident 7", "--as", "Alice")
    printed = press("show", 1).out
    assert "status    snoozed until 2030-01-02 03:04 UTC" in printed
    assert re.search(r"Z  snoozed until 2030-01-02 03:04 UTC by Alice: incident 7", printed)
    assert re.search(r"Z  opened by driftwatch, check 1", printed)
    press("accept", 1, "--reason", "by design", "--as", "Alice", "--owner", "@net")
    assert "accepted  /input for good, by Alice, owned by @net: by design" in press("show", 1).out
    document = shown(press)
    assert {"opened_at", "until", "seconds_to_detect", "seconds_to_resolve", "resolution"} < set(document)


def test_a_finding_that_is_put_aside_is_listed_only_when_asked_for(
    press: Callable[..., Ran], cli: Callable[..., Ran], estate: Estate
) -> None:
    press("accept", 1, "--reason", "by design")

    def listed(*words: str) -> int:
        return len(json.loads(press("list", "-f", "json", *words).out)["findings"])

    counts = {status: listed("--status", status) for status in ("accepted", "unresolved", "all", "snoozed")}
    assert counts == {"accepted": 1, "unresolved": 1, "all": 1, "snoozed": 0}
    assert listed() == 0
    assert "accepted for good · first seen" in press("list", "--status", "accepted").out
    stacks = json.loads(cli("stacks", "list", "-c", estate.config, "-f", "json").out)["stacks"]
    assert [(stack["open_findings"], stack["verdict"]) for stack in stacks] == [(0, "drifted")]
    refused = press("list", "--status", "nope")
    assert refused.code == Exit.USAGE
    assert "acknowledged" in refused.err


def test_some_attributes_are_accepted_and_the_rest_is_named(cli: Callable[..., Ran], estate: Estate) -> None:
    both = drift("x.y")
    other = AttributeChange(
        path="/tags/Name", before=1, actual=2, after=1, sensitive=False, cause=Cause.OUT_OF_BAND
    )
    two = type(both)(
        **{name: getattr(both, name) for name in both.__slots__} | {"attributes": (*both.attributes, other)}
    )
    estate.record("dns", two, verdict=Verdict.DRIFTED)
    ran = cli("findings", "accept", 1, "--reason", "r", "--attribute", "/input", "-c", estate.config)
    assert (ran.code, ran.out) == (
        Exit.OK,
        "Finding 1 (x.y in platform/dns) stays open: /input is accepted, and more differs.\n",
    )
    ran = cli("findings", "accept", 1, "--reason", "r", "--attribute", "input", "-c", estate.config)
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert "input does not differ in finding 1; what differs: /input, /tags/Name" in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ack", "99"), "no finding 99"),
        (("ack", str(2**70)), f"no finding {2**70}"),
        (("ack", "one"), "valid integer"),
        (("snooze", "1"), "give either --until or --for"),
        (("snooze", "1", "--for", "2h", "--until", "2030-01-01"), "give either --until or --for"),
        (("snooze", "1", "--for", "2"), "must be a duration with its unit"),
        (("snooze", "1", "--for", "0s"), "longer than zero"),
        (("snooze", "1", "--until", "tomorrow"), "not a time: 'tomorrow'"),
        (("snooze", "1", "--until", "2026-13-01"), "there is no such time"),
        (("snooze", "1", "--until", "2020-01-01"), "2020-01-01 is over"),
        (("accept", "1"), "--reason"),
        (("accept", "1", "--reason", ""), "must not be empty"),
        (("accept", "1", "--reason", "r", "--expires", "2020-01-01"), "2020-01-01 is over"),
        (("accept", "1", "--reason", "r", "--expires", "9999-12-31"), "over ten years ahead"),
        (("accept", "1", "--reason", "r", "--attribute", "/nope"), "what differs: /input"),
        (("ack", "1", "--as", "a\x1b[31m"), "control or invisible characters"),
        (("ack", "1", "--reason", "r" * 1001), "too long"),
        (("reopen", "1"), "open already"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    press: Callable[..., Ran], words: tuple[str, ...], said: str
) -> None:
    ran = press(*words)
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert said in ran.err
    assert len(shown(press)["events"]) == 1


def test_what_is_over_cannot_be_put_aside(
    cli: Callable[..., Ran], estate: Estate, press: Callable[..., Ran]
) -> None:
    estate.record("dns")
    for words in (("ack", 1), ("snooze", 1, "--for", "1h"), ("accept", 1, "--reason", "r"), ("reopen", 1)):
        ran = press(*words)
        assert (ran.code, ran.out) == (Exit.USAGE, "")
        assert "finding 1 is resolved" in ran.err
    assert "resolved (nobody knows how)" in press("show", 1).out


@pytest.mark.row(69)
def test_no_name_and_no_reason_steers_the_terminal(cli: Callable[..., Ran], estate: Estate) -> None:
    """Row 69 at the terminal, also for what another program wrote with another tool."""
    estate.record("dns", drift(HOSTILE), verdict=Verdict.DRIFTED)
    printed = cli("findings", "accept", 1, "--reason", "[red]r[/red] :smile:", "-c", estate.config).out
    printed += cli("findings", "show", 1, "-c", estate.config).out
    printed += cli("findings", "list", "--status", "all", "-c", estate.config).out
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert "[red]r[/red] :smile:" in printed


def test_a_press_prints_the_finding_as_a_document(press: Callable[..., Ran]) -> None:
    document = json.loads(press("snooze", 1, "--until", "2030-01-02T03:04Z", "-f", "json").out)
    assert (document["id"], document["status"], document["until"]) == (
        1,
        "snoozed",
        "2030-01-02T03:04:00.000Z",
    )
    assert [event["event"] for event in document["events"]] == ["opened", "snoozed"]


def test_a_stale_stack_is_not_green(cli: Callable[..., Ran], estate: Estate) -> None:
    """It was in sync when somebody last looked, long ago: no daemon has run since."""
    estate.record("dns")
    (stack,) = json.loads(cli("stacks", "list", "-c", estate.config, "-f", "json").out)["stacks"]
    assert (stack["verdict"], stack["health"]) == ("in_sync", "stale")
    assert "no good check for" in cli("stacks", "list", "-c", estate.config).out


def test_times_are_read_as_people_write_them() -> None:
    assert moment("--until", "2026-12-31T18:00Z", NOW) == datetime(2026, 12, 31, 18, tzinfo=UTC)
    assert moment("--until", "2026-12-31 18:00:30+02:00", NOW) == datetime(
        2026, 12, 31, 16, 0, 30, tzinfo=UTC
    )
    # A date alone is this machine's midnight.
    day = moment("--until", "2026-12-31", NOW)
    assert day == datetime(2026, 12, 31).astimezone(UTC)
    assert length("--for", "1h30m") == timedelta(minutes=90)
    for text in ("", "20261231", "2026-W53-1", "2026-12-31T", "2026-12-31T18:00Zx", "12:00"):
        with pytest.raises(UsageError, match="not a time"):
            moment("--until", text, NOW)
