"""Incidents at the terminal: what is one cause is one row, and each of its stacks a line when asked for."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import time_machine

from driftwatch.documents.drift import about, what_was_told, worst
from driftwatch.drift import Acknowledge, Press, Snooze
from driftwatch.errors import Exit
from driftwatch.model import (
    Announcement,
    Cause,
    CheckResult,
    Commit,
    ErrorReport,
    Evidence,
    Finding,
    Incident,
    IncidentLine,
    Method,
    Severity,
    StackDeclaration,
    StackId,
    TransitionKind,
    Trigger,
    Verdict,
)
from driftwatch.store import Store
from tests.cli.conftest import NOON
from tests.cli.test_listings import HOSTILE, drift

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Estate, Ran

COMMIT = Commit(id="1a2b3c4d5e6f", author="Alice", at=NOON, subject="Open the port")


@pytest.fixture
def incidents(cli: Callable[..., Ran], estate: Estate) -> Callable[..., Ran]:
    """`incidents("show", 1)`, three hours after noon."""

    def run(*words: object) -> Ran:
        with time_machine.travel(NOON + timedelta(hours=3), tick=False):
            return cli("incidents", *words, "-c", estate.config)

    return run


@pytest.fixture
def check(estate: Estate) -> Callable[..., None]:
    """`check("dns", finding, …)`: a check of a stack, told by one channel, minutes past noon."""

    def record(path: str, *findings: Finding, minutes: int = 0, error: ErrorReport | None = None) -> None:
        verdict = Verdict.ERROR if error else Verdict.DRIFTED if findings else Verdict.IN_SYNC
        stack = StackId(repository="platform", path=path)
        result = CheckResult(
            stack=stack,
            commit="0f3d" * 10,
            trigger=Trigger.SCHEDULE,
            verdict=verdict,
            method=Method.PLAN,
            method_reason="no_recording",
            started_at=NOON + timedelta(minutes=minutes),
            duration_seconds=1.0,
            findings=findings,
            error=error,
        )
        with closing(Store.open(state_dir=estate.state, database=None)) as store:
            store.record_check(result, declaration=StackDeclaration(id=stack), channels=["slack"])

    return record


def act(estate: Estate, number: int, action: Any, actor: str = "alice", reason: str | None = None) -> None:
    press = Press(action=action, actor=actor, at=NOON + timedelta(minutes=30), reason=reason)
    with closing(Store.open(state_dir=estate.state, database=None)) as store:
        store.act(number, press)


def unapplied(address: str = "a.b", severity: Severity = Severity.MEDIUM) -> Finding:
    """One that waits for the same commit as every other of these."""
    return replace(
        drift(address, address),
        causes=(Cause.UNAPPLIED_COMMIT,),
        severity=severity,
        evidence=Evidence(commits=(COMMIT,)),
    )


def listed(incidents: Callable[..., Ran], *words: object) -> Any:
    return json.loads(incidents("list", "-f", "json", *words).out)["incidents"]


def test_one_cause_over_many_stacks_is_one_row(
    incidents: Callable[..., Ran], check: Callable[..., None]
) -> None:
    for number in range(5):
        severity = Severity.CRITICAL if number == 3 else Severity.MEDIUM
        check(f"s{number}", unapplied(f"x.y{number}", severity))
    check("s4", minutes=60)
    check("dns", drift("by.hand"), minutes=120)
    ran = incidents("list")
    named = "platform/s3, platform/s0, platform/s1 and 2 more"
    assert ran.code == Exit.OK
    assert ran.out.splitlines() == [
        "    2  high      by.hand",
        "                 platform/dns · open · began 1 h ago",
        "    1  critical  commit 1a2b3c4d5e is not applied (Open the port, by Alice)",
        f"{'':17}{named} · 4 of 5 stacks open · began 3 h ago",
    ]


def test_the_documents_are_the_contract(incidents: Callable[..., Ran], check: Callable[..., None]) -> None:
    check("a", unapplied())
    check("b", unapplied())
    document = json.loads(incidents("-f", "json").out)
    assert (list(document), document["next"]) == (["incidents", "next"], None)
    assert document["incidents"] == [
        {
            "id": 1,
            "title": "commit 1a2b3c4d5e is not applied (Open the port, by Alice)",
            "about": "commit 1a2b3c4d5e is not applied (Open the port, by Alice)",
            "severity": "medium",
            "opened_at": "2026-11-23T12:00:00.000Z",
            "closed_at": None,
            "open_stacks": 2,
            "total_stacks": 2,
            "stacks": ["platform/a", "platform/b"],
        }
    ]
    shown = json.loads(incidents("show", 1, "-f", "json").out)
    assert {**shown, "lines": None} == {**document["incidents"][0], "lines": None}
    assert set(shown["lines"][0]) == {
        *("stack", "over", "told", "verdict", "severity", "at", "commit", "check", "owners", "said"),
        *("total", "set_aside", "findings", "open_findings", "resolved", "error"),
    }
    first, second = shown["lines"]
    assert (first["stack"], first["told"], first["over"], first["open_findings"]) == (
        "platform/a",
        "drift_found",
        False,
        [1],
    )
    assert (second["open_findings"], second["findings"][0]["address"]) == ([2], "a.b")


def test_what_is_over_is_shown_when_asked_for(
    incidents: Callable[..., Ran], check: Callable[..., None]
) -> None:
    check("dns", drift("x.y"))
    check("dns", minutes=60)
    assert incidents().out == "No incidents.\n"
    assert listed(incidents) == []
    assert incidents("--all").out.splitlines() == [
        "    1  -         x.y",
        "                 platform/dns · over · began 3 h ago, over since 2 h",
    ]
    (item,) = listed(incidents, "--all")
    assert (item["severity"], item["open_stacks"], item["closed_at"]) == (
        None,
        0,
        "2026-11-23T13:00:00.000Z",
    )
    assert incidents("show", 1).out.splitlines() == [
        "x.y",
        "  began     2026-11-23 12:00 UTC, 3 h ago",
        "  over      2026-11-23 13:00 UTC, 2 h ago",
        "  severity  -",
        "  stacks    0 of 1 open",
        "  platform/dns  over  x.y · told 2 h ago",
    ]


def test_show_has_a_line_for_each_stack_with_what_is_open_and_who_did_what(
    incidents: Callable[..., Ran], check: Callable[..., None], estate: Estate
) -> None:
    check("a", unapplied("x.one"), unapplied("x.two"))
    check("b", unapplied("x.one"))
    check("c", unapplied("x.one"))
    check("c", minutes=10)
    act(estate, 3, Acknowledge(), reason="I apply it at four")
    ran = incidents("show", 1)
    assert ran.code == Exit.OK
    lines = ran.out.splitlines()
    assert lines[:4] == [
        "commit 1a2b3c4d5e is not applied (Open the port, by Alice)",
        "  began     2026-11-23 12:00 UTC, 3 h ago",
        "  severity  medium",
        "  stacks    2 of 3 open",
    ]
    assert lines[4:6] == [
        "  platform/a  medium  x.one and 1 more · told 3 h ago",
        "      findings 1, 2",
    ]
    assert lines[6] == "  platform/b  medium  x.one · told 2 h ago"
    assert "alice" in lines[7]
    assert "I apply it at four" in lines[7]
    assert lines[8:] == ["      finding 3", "  platform/c  over  x.one · told 3 h ago"]
    said = [line["said"] for line in json.loads(incidents("show", 1, "-f", "json").out)["lines"]]
    assert [bool(each) for each in said] == [False, True, False]


def test_a_stack_that_came_back_is_one_line_still(
    incidents: Callable[..., Ran], check: Callable[..., None]
) -> None:
    check("a", unapplied())
    check("b", unapplied())
    check("a", minutes=10)
    check("a", unapplied(), minutes=20)
    lines = json.loads(incidents("show", 1, "-f", "json").out)["lines"]
    told = sorted((line["stack"], line["over"], line["open_findings"]) for line in lines)
    assert told == [("platform/a", False, [1]), ("platform/b", False, [2])]
    assert incidents("show", 1).out.count("finding 1") == 1


def test_what_somebody_put_aside_is_not_open(
    incidents: Callable[..., Ran], check: Callable[..., None], estate: Estate
) -> None:
    check("dns", drift("x.y"))
    act(estate, 1, Snooze(until=datetime(2030, 1, 1, tzinfo=UTC)))
    (line,) = json.loads(incidents("show", 1, "-f", "json").out)["lines"]
    assert (line["set_aside"], line["open_findings"], line["findings"], line["over"]) == (1, [], [], False)
    assert "finding" not in incidents("show", 1).out.splitlines()[-1]


def test_a_check_that_fails_is_shown_with_its_error(
    incidents: Callable[..., Ran], check: Callable[..., None]
) -> None:
    error = ErrorReport(code="backend_refused", message="no such bucket", advice="Make one.")
    check("a", error=error)
    assert incidents().out.startswith("    1  -         the check fails (backend_refused)\n")
    assert "      no such bucket\n" in incidents("show", 1).out
    check("b", error=error, minutes=1)
    (item,) = listed(incidents)
    assert (item["title"], item["severity"], item["total_stacks"]) == (
        "checks fail: backend_refused",
        None,
        2,
    )
    (first, _) = json.loads(incidents("show", 1, "-f", "json").out)["lines"]
    assert (first["told"], first["error"]["class"]) == ("check_failing", "backend_refused")


def test_more_stacks_and_findings_than_are_for_reading_are_counted(
    incidents: Callable[..., Ran], check: Callable[..., None]
) -> None:
    check("many", *(unapplied(f"x.y{number:02}") for number in range(12)))
    for number in range(51):
        check(f"s{number:02}", unapplied())
    (item,) = listed(incidents)
    assert (item["total_stacks"], len(item["stacks"])) == (52, 10)
    lines = incidents("show", 1).out.splitlines()
    assert lines[-1] == "  and 2 stacks more"
    assert "      findings 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more" in lines
    assert sum(line.startswith("  platform/") for line in lines) == 50


def test_pages_follow_each_other_from_the_newest_on(
    incidents: Callable[..., Ran], check: Callable[..., None]
) -> None:
    for number in range(5):
        check(f"s{number}", drift(f"x.y{number}", f"v{number}"))
    assert incidents("--limit", 2).out.endswith("More: --after 4\n")
    assert [item["id"] for item in listed(incidents, "--limit", 2, "--after", 4)] == [3, 2]
    last = json.loads(incidents("list", "--after", 2, "-f", "json").out)
    assert ([item["id"] for item in last["incidents"]], last["next"]) == ([1], None)
    assert len(listed(incidents, "--after", 2**70)) == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "7"), "no incident 7"),
        (("show", str(2**70)), f"no incident {2**70}"),
        (("show", "0"), "no incident 0"),
        (("show",), "ID"),
        (("show", "first"), "valid"),
        (("list", "--limit", "0"), "--limit"),
        (("--after", "0"), "--after"),
        (("nope",), "nope"),
    ],
)
def test_what_cannot_be_is_refused(incidents: Callable[..., Ran], words: tuple[str, ...], said: str) -> None:
    ran = incidents(*words)
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert said in ran.err


@pytest.mark.row(69)
def test_no_name_title_or_word_of_others_steers_the_terminal(
    incidents: Callable[..., Ran], check: Callable[..., None], estate: Estate
) -> None:
    """Row 69: of stacks, addresses, commits, errors, and of what a person said."""
    hostile = Commit(id="1a2b3c4d5e6f", author="\x1b[31mA\u202e", at=NOON, subject="[bold]s\nFORGED\x07")
    evil = replace(unapplied(HOSTILE), evidence=Evidence(commits=(hostile,)))
    check("[bold]a:smile:\u2066", evil)
    check("\x1b[2Jb\nFORGED", evil)
    check("c", drift(HOSTILE))
    check("d", error=ErrorReport(code="plan_failed", message="\x1b[31m[red]no[/red]\n\u202eFORGED"))
    act(estate, 1, Acknowledge(), actor="\x1b]0;x\x07mallory\u202e", reason="[red]r\nFORGED")
    printed = incidents().out + "".join(incidents("show", number).out for number in (1, 2, 3))
    assert not [sign for sign in "\x1b\x07\u202e\u2066" if sign in printed]
    assert not [line for line in printed.splitlines() if line.startswith("FORGED")]
    for whole in ("platform/[bold]a:smile:\\u2066", "[bold]s\\nFORGED", "[red]no[/red]", "mallory\\u202e"):
        assert whole in printed
    assert incidents("show", 1, "-f", "json").out.isascii()


def test_secrets_that_are_known_are_not_printed(
    incidents: Callable[..., Ran], check: Callable[..., None]
) -> None:
    token = "xoxb-canary-0123456789-abcdef"
    check("a", error=ErrorReport(code="plan_failed", message=f"refused {token}"))
    assert token not in incidents("show", 1).out + incidents("show", 1, "-f", "json").out


# ---- In words ------------------------------------------------------------------------------------------


def told(kind: TransitionKind, **other: Any) -> Announcement:
    given: dict[str, Any] = {
        "kind": kind,
        "stack": "platform/dns",
        "verdict": Verdict.DRIFTED,
        "commit": None,
        "trigger": Trigger.SCHEDULE,
        "at": NOON,
    }
    return Announcement(**given | other)


@pytest.mark.parametrize(
    ("announcement", "words"),
    [
        (told(TransitionKind.DRIFT_FOUND, findings=(drift("x.y"),), total=1), "x.y"),
        (told(TransitionKind.REMINDER, findings=(drift("x.y"),), total=40), "x.y and 39 more"),
        (told(TransitionKind.RESOLVED, resolved=("x.y", "x.z")), "x.y and 1 more"),
        (told(TransitionKind.CHECK_FAILING), "the check fails"),
        (told(TransitionKind.RECOVERED, findings=(drift("x.y"),), total=1), "the check works again"),
        (told(TransitionKind.REPLAY_DISAGREED), "a replay was wrong"),
        (told(TransitionKind.STALE), "no good check comes any more"),
        (told(TransitionKind.HANDLED, said="alice snoozed x.y"), "alice snoozed x.y"),
        (told(TransitionKind.HANDLED), "nothing is open"),
    ],
)
def test_every_announcement_has_words(announcement: Announcement, words: str) -> None:
    assert what_was_told(announcement) == words


def test_an_incident_without_stacks_has_words_too() -> None:
    """Nothing writes one; what cannot be shown must not keep the others from being listed."""
    empty = Incident(id=1, title=None, opened_at=NOON, closed_at=None, lines=(), total=0, open=0, seen="")
    assert about(empty) == "nothing is left of it"
    assert worst(empty.lines) is None


def test_the_worst_is_of_what_is_open() -> None:
    found = (replace(drift("x"), severity=Severity.LOW), replace(drift("y"), severity=Severity.HIGH))
    lines = [
        IncidentLine(announcement=told(TransitionKind.DRIFT_FOUND, findings=(found[1],)), over=True),
        IncidentLine(announcement=told(TransitionKind.DRIFT_FOUND, findings=(found[0],)), over=False),
    ]
    assert worst(lines) is Severity.LOW
