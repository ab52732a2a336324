"""Where nothing is applied, and what was: by whom, for how long, seen where one looks, and taken back."""

from __future__ import annotations

import getpass
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.cli.clock import now
from driftwatch.errors import Exit
from driftwatch.model import Decision, Pin, PlanSummary, ProposalKind, ProposalState
from tests.cli.test_listings import HOSTILE
from tests.cli.test_proposals import COMMIT, DIGEST, DNS, Desk

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Estate, Ran


@pytest.fixture
def desk(cli: Callable[..., Ran], estate: Estate) -> Desk:
    estate.record("dns")
    return Desk(cli, estate)


def suspended(desk: Desk) -> dict[str, bool]:
    return {each["id"]: each["suspended"] for each in desk.json("stacks", "list")["stacks"]}


def pin(desk: Desk, reason: str = "the new one fails") -> None:
    with desk.store() as store:
        store.pin(Pin(stack=DNS, commit=COMMIT, by="Alice", at=now(), reason=reason))


@pytest.mark.parametrize("scope", ["platform/dns", "platform/dns@default", "platform", "*"])
def test_a_suspension_stops_its_scope_and_is_seen(desk: Desk, scope: str) -> None:
    desk.estate.record("network")
    ran = desk("stacks", "suspend", scope, "--reason", "we move", "--as", "Alice")
    kept = "platform/dns" if "/" in scope else scope
    what = "everything" if scope == "*" else kept
    sentence = f"{what} is suspended by Alice: we move"
    assert (ran.code, ran.err) == (Exit.OK, "")
    assert ran.out == (
        f"{'E' if scope == '*' else what[0]}{sentence[1:]}\n"
        "Nothing is applied there until it is resumed; checks go on.\n"
    )
    assert suspended(desk) == {"platform/dns": True, "platform/network": "/" not in scope}
    assert f"    {sentence}\n" in desk("stacks", "list", "platform/dns").out
    assert desk.json("stacks", "show", "platform/dns")["suspension"]["reason"] == "we move"
    assert desk.audit() == [("Alice", "terminal", "suspend", what, "done", "we move")]


def test_a_suspension_may_end_by_itself(desk: Desk) -> None:
    document = desk.json("stacks", "suspend", "*", "--reason", "r", "--until", "2030-01-02T03:04Z")
    assert document["suspension"]["until"] == "2030-01-02T03:04:00.000Z"
    assert document["suspension"]["by"] == getpass.getuser()
    assert "suspended until 2030-01-02 03:04 UTC by" in desk("stacks", "list").out
    desk("stacks", "suspend", "*", "--reason", "r", "--for", "2h")
    with desk.store() as store:
        (kept,) = store.suspensions(now())
        assert kept.until is not None
        assert timedelta(minutes=119) < kept.until - now() <= timedelta(hours=2)
        assert store.suspensions(now() + timedelta(hours=2)) == []


def test_a_stack_that_is_suspended_is_checked_and_shows_when(desk: Desk) -> None:
    with desk.store() as store:
        store.schedule({DNS: now() + timedelta(minutes=5, seconds=30)})
    desk("stacks", "suspend", "platform/dns", "--reason", "r")
    assert "in 5 min" in desk("stacks", "list").out


def test_what_runs_goes_on_and_is_named(desk: Desk) -> None:
    """A suspension ends no apply: whoever waits for peace must know."""
    desk.propose(automatic=True, expires_at=None)
    desk.begin(1)
    ran = desk("stacks", "suspend", "platform", "--reason", "r")
    assert "Proposal 1 is being applied to platform/dns and goes on to its end." in ran.out
    assert desk.json("stacks", "suspend", "platform/dns", "--reason", "r")["running"] == [1]
    desk.estate.record("network")
    assert desk.json("stacks", "suspend", "platform/network", "--reason", "r")["running"] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("suspend", "platform/dns"), "--reason"),
        (("suspend", "platform/dns", "--reason", ""), "must not be empty"),
        (("suspend", "platform/nope", "--reason", "r"), "no stack platform/nope"),
        (("suspend", "platform/*", "--reason", "r"), "one stack's id and no glob"),
        (("suspend", "platform/", "--reason", "r"), "no stack platform/"),
        (("suspend", "plat", "--reason", "r"), "no repository plat"),
        (("suspend", "*", "--reason", "r", "--for", "2h", "--until", "2030-01-01"), "not both"),
        (("suspend", "*", "--reason", "r", "--for", "2"), "must be a duration"),
        (("suspend", "*", "--reason", "r", "--until", "2020-01-01"), "is over"),
        (("suspend", "*", "--reason", "r", "--as", "a\x1b[31m"), "control or invisible"),
        (("history", "platform/nope"), "no stack matches"),
    ],
)
def test_a_misspelt_scope_is_never_thought_to_be_safe(desk: Desk, words: tuple[str, ...], said: str) -> None:
    ran = desk("stacks", *words)
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert said in ran.err
    assert (suspended(desk), desk.audit()) == ({"platform/dns": False}, [])


def test_resume_ends_just_that_suspension_and_names_what_is_left(desk: Desk) -> None:
    for scope in ("platform/dns", "*"):
        desk("stacks", "suspend", scope, "--reason", f"for {scope}", "--as", "Alice")
    ran = desk("stacks", "resume", "platform/dns", "--as", "Bob", "--reason", "looked at it")
    assert (ran.code, ran.err) == (Exit.OK, "")
    assert ran.out == (
        "platform/dns is resumed: what is approved, and what may be by itself, is applied.\n"
        "Nothing is applied there all the same: everything is suspended by Alice: for *.\n"
    )
    assert suspended(desk) == {"platform/dns": True}
    assert desk.json("stacks", "resume", "*") == {"scope": "*", "still": []}
    assert suspended(desk) == {"platform/dns": False}
    assert ("Bob", "terminal", "resume", "platform/dns", "done", "looked at it") in desk.audit()


def test_resume_of_what_is_not_suspended_tells_what_stops_it(desk: Desk) -> None:
    ran = desk("stacks", "resume", "platform/dns")
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert "platform/dns is not suspended of its own" in ran.err
    desk("stacks", "suspend", "platform", "--reason", "we move", "--as", "Alice")
    ran = desk("stacks", "resume", "platform/dns")
    assert "platform is suspended by Alice: we move" in ran.err
    assert "driftwatch stacks resume 'platform'" in ran.err
    assert [each[4] for each in desk.audit()] == ["refused: not_suspended", "done", "refused: not_suspended"]


def test_a_pin_is_seen_and_taken_out(desk: Desk) -> None:
    pin(desk)
    assert "    pinned to commit 0f3d0f3d0f by Alice: the new one fails\n" in desk("stacks", "list").out
    shown = desk.json("stacks", "show", "platform/dns")
    assert (shown["pin"]["commit"], shown["pin"]["by"], shown["suspension"]) == (COMMIT, "Alice", None)
    ran = desk("stacks", "unpin", "platform/dns", "--as", "Bob", "--reason", "mended")
    assert ran.code == Exit.OK
    assert ran.out == (
        "platform/dns is no longer pinned. "
        "It stayed at commit 0f3d0f3d0f; the next check looks at its branch again.\n"
    )
    assert "pinned" not in desk("stacks", "list").out
    ran = desk("stacks", "unpin", "platform/dns")
    assert (ran.code, "platform/dns is not pinned" in ran.err) == (Exit.USAGE, True)
    assert [each[2:5] for each in desk.audit()] == [
        ("unpin", "platform/dns", "done"),
        ("unpin", "platform/dns", "refused: not_pinned"),
    ]


def test_the_history_tells_commit_actor_plan_length_and_end(desk: Desk) -> None:
    assert desk("stacks", "history", "platform/dns").out == "Nothing was applied by driftwatch.\n"
    summary = PlanSummary(adds=2, updates=0, destroys=0, replaces=0)
    desk.propose(summary=summary)
    with desk.store() as store:
        store.decide(1, Decision(by="Alice", at=now(), via="slack", approves=True, digest=DIGEST))
        assert store.approved(1)
    desk.begin(1)
    desk.end(1, ProposalState.APPLIED, "applied")
    desk.propose(kind=ProposalKind.DEPLOY, automatic=True, expires_at=None, commit="beef" * 10)
    desk.begin(2)
    desk.propose(kind=ProposalKind.ROLLBACK)  # never applied, and so no history

    lines = desk("stacks", "history", "platform/dns").out.splitlines()
    assert len(lines) == 4
    assert "applying" in lines[0]
    assert "deploy to beefbeefbe: 1 to add, 1 to replace" in lines[0]
    assert lines[1].strip() == "by driftwatch, by itself · no end is known"
    assert "revert to 0f3d0f3d0f: 2 to add" in lines[2]
    assert lines[3].strip() == "by Alice · took 0 s · applied"

    first, second = desk.json("stacks", "history", "platform/dns")["applies"]
    assert (first["proposal"], first["automatic"], first["actors"], first["duration_seconds"]) == (
        2,
        True,
        [],
        None,
    )
    wanted: dict[str, Any] = {"commit": COMMIT, "actors": ["Alice"], "automatic": False, "state": "applied"}
    assert {key: second[key] for key in wanted} == wanted
    assert (second["exit_code"], second["summary"]["adds"]) == (0, 2)


def test_the_history_comes_in_pages_of_one_stack(desk: Desk) -> None:
    """A stack's name is no glob: `a[b]` has nothing of `ab`."""
    for path in ("a[b]", "ab"):
        desk.estate.record(path)
        stack = type(DNS)(repository="platform", path=path)
        for _ in range(2):
            number = desk.propose(stack=stack, automatic=True, expires_at=None).id
            desk.begin(number)
            desk.end(number, ProposalState.FAILED)
    ran = desk("stacks", "history", "platform/a[b]", "--limit", 1)
    assert ran.out.endswith("More: --after 2\n")
    document = desk.json("stacks", "history", "platform/a[b]", "--after", 2)
    assert ([each["proposal"] for each in document["applies"]], document["next"]) == ([1], None)


@pytest.mark.row(69)
def test_no_reason_steers_the_terminal(desk: Desk) -> None:
    """Row 69, also for what another program wrote: reasons and names are shown as they are."""
    pin(desk, HOSTILE)
    ran = desk("stacks", "suspend", "platform/dns", "--reason", "[red]r[/red] :smile:", "--as", "[b]a[/b]")
    printed = ran.out + desk("stacks", "list").out + desk("stacks", "show", "platform/dns").out
    printed += desk("stacks", "resume", "platform/dns").out + desk("stacks", "unpin", "platform/dns").out
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    assert printed.count("by [b]a[/b]: [red]r[/red] :smile:") == 3
    assert "[bold]red[/bold]\\u202e<script>:smile:" in printed
    assert json.dumps(desk.json("stacks", "show", "platform/dns")).isascii()
