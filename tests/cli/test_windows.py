"""`driftwatch windows`: what the commands print and how they end. What is ruled is tested elsewhere."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from driftwatch.errors import Exit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Estate, Ran

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

NIGHTS = (
    "{name: nights, kind: allow, cron: '0 22 * * 1-5', duration: 4h, timezone: Europe/Paris, "
    "stacks: ['platform/*']}"
)
FREEZE = (
    "{name: freeze, kind: deny, from: '2026-12-20T00:00:00', to: '2027-01-03T00:00:00', "
    "timezone: Europe/Paris}"
)
SMILES = (
    "{name: smiles, kind: deny, cron: '0 22 * * *', duration: 1h, labels: {tier: ':smile:'}, manual: true}"
)
ALWAYS = "{name: always, kind: deny, cron: '* * * * *', duration: 1m, stacks: ['elsewhere/*']}"


@pytest.fixture(autouse=True)
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftwatch.cli.clock.now", lambda: NOW)


@pytest.fixture
def windowed(estate: Estate) -> Estate:
    configure(estate.config, NIGHTS, FREEZE)
    return estate


def configure(config: Path, *windows: str, stacks: str = "[{path: '**'}]") -> None:
    config.write_text(
        "state_dir: ./state\n"
        "repositories:\n"
        f"  platform: {{url: {config.parent / 'gone'}, stacks: {stacks}}}\n"
        "web: {listen: '127.0.0.1:0'}\n"
        f"windows: [{', '.join(windows)}]\n",
        encoding="utf-8",
    )


# ---- explain -------------------------------------------------------------------------------------------


def test_explain_prints_exactly_the_contract(cli: Callable[..., Ran], windowed: Estate) -> None:
    windowed.record("dns")
    command = ("windows", "explain", "-c", windowed.config, "--stack", "platform/dns", "--format", "json")
    ran = cli(*command, "--at", "2026-12-24T21:30Z")
    assert (ran.code, json.loads(ran.out)) == (
        Exit.HELD,
        {
            "allowed": False,
            "reason": "deny_window",
            "window": "freeze",
            "until": "2027-01-02T23:00:00.000Z",
            "sentence": "Window freeze forbids it until 2027-01-03 00:00 Europe/Paris "
            "(2027-01-02 23:00 UTC).",
        },
    )
    assert list(json.loads(ran.out)) == ["allowed", "reason", "window", "until", "sentence"]


@pytest.mark.parametrize(
    ("at", "needs", "code", "reason", "until"),
    [
        ("2026-11-23T21:30Z", None, Exit.OK, "in_window", "2026-11-24T01:00:00.000Z"),
        ("2026-11-23 22:30+01:00", None, Exit.OK, "in_window", "2026-11-24T01:00:00.000Z"),
        ("2026-11-23T21:30:00Z", "45m", Exit.OK, "in_window", "2026-11-24T00:15:00.000Z"),
        ("2026-11-23T21:30Z", "3h31m", Exit.HELD, "does_not_fit", "2026-11-24T21:00:00.000Z"),
        ("2026-11-23T21:30Z", "5h", Exit.HELD, "does_not_fit", None),
        ("2026-11-23T12:00Z", None, Exit.HELD, "outside_window", "2026-11-23T21:00:00.000Z"),
        ("2020-01-01T21:30Z", None, Exit.OK, "in_window", "2020-01-02T01:00:00.000Z"),
        (None, None, Exit.HELD, "outside_window", "2026-11-23T21:00:00.000Z"),
    ],
)
def test_explain_answers_for_any_time(
    cli: Callable[..., Ran],
    windowed: Estate,
    at: str | None,
    needs: str | None,
    code: int,
    reason: str,
    until: str | None,
) -> None:
    """The exit code is 0 only where it is allowed; past times are for who asks why it was held."""
    windowed.record("dns")
    options = [*(("--at", at) if at else ()), *(("--needs", needs) if needs else ())]
    ran = cli("windows", "explain", "-c", windowed.config, "-s", "platform/dns", "-f", "json", *options)
    document = json.loads(ran.out)
    assert (ran.code, document["reason"], document["until"]) == (code, reason, until)
    assert document["allowed"] is (code == Exit.OK)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--at", "soon"),
        ("--at", "2026-02-30"),
        ("--at", "1492-10-12"),
        ("--at", "9999-12-31T23:59"),
        ("--at", ""),
        ("--needs", "10"),
        ("--needs", "0s"),
        ("--needs", "-5m"),
    ],
)
def test_explain_refuses_what_is_no_time(
    cli: Callable[..., Ran], windowed: Estate, option: str, value: str
) -> None:
    ran = cli("windows", "explain", "-c", windowed.config, "-s", "platform/dns", f"{option}={value}")
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert f"{option}:" in ran.err


def test_explain_says_what_a_person_may_do(cli: Callable[..., Ran], estate: Estate) -> None:
    configure(estate.config, NIGHTS, SMILES, FREEZE)
    estate.record("dns")

    def told(at: str) -> str:
        return cli("windows", "explain", "-c", estate.config, "-s", "platform/dns", "--at", at).out

    assert told("2026-11-23T21:30Z") == (
        "Allowed (in_window): Window nights allows it until 2026-11-23 23:00 Europe/Paris "
        "(2026-11-23 22:00 UTC).\n"
    )
    assert "A person with the right to may apply it all the same." in told("2026-11-23T22:30Z")
    assert "Nobody may apply it meanwhile" in told("2026-12-24T22:30Z")


def test_labels_are_those_of_the_database(cli: Callable[..., Ran], estate: Estate) -> None:
    """What a repository's own file says of a stack is known there only."""
    configure(estate.config, SMILES)
    command = ("windows", "explain", "-c", estate.config, "-f", "json", "--at", "2026-11-23T22:30Z", "-s")
    estate.record("dns")
    ran = cli(*command, "platform/dns")
    assert (json.loads(ran.out)["reason"], "not known" in ran.err) == ("deny_window", False)


def test_a_stack_that_is_not_known_yet_has_the_configuration_s_labels(
    cli: Callable[..., Ran], estate: Estate
) -> None:
    configure(
        estate.config,
        SMILES,
        stacks="[{path: 'envs/*', labels: {tier: ':smile:'}}, {path: 'apps/*', workspaces: [blue]}]",
    )
    command = ("windows", "explain", "-c", estate.config, "-f", "json", "--at", "2026-11-23T22:30Z", "-s")
    ran = cli(*command, "platform/envs/prod")
    assert json.loads(ran.out)["reason"] == "deny_window"
    assert "platform/envs/prod is not known yet; it is judged by the configuration's labels." in ran.err
    for stack in ("platform/other", "platform/envs/prod@blue", "platform/apps/web"):
        ran = cli(*command, stack)
        assert json.loads(ran.out)["reason"] == "no_window"
        assert f"{stack} is not known yet; it is judged by no labels." in ran.err


@pytest.mark.parametrize("stack", ["elsewhere/dns", "platform", "platform/", "", "platform/dns@"])
def test_a_stack_of_no_repository_is_an_error(cli: Callable[..., Ran], windowed: Estate, stack: str) -> None:
    ran = cli("windows", "explain", "-c", windowed.config, f"--stack={stack}")
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert stack in ran.err


def test_a_hostile_name_steers_no_terminal(cli: Callable[..., Ran], windowed: Estate) -> None:
    ran = cli("windows", "explain", "-c", windowed.config, "-s", "platform/\x1b[31m[bold]\u202e")
    assert ran.code == Exit.HELD
    assert not set("\x1b\u202e") & set(ran.out + ran.err)
    assert "[bold]" in ran.err


# ---- list and next -------------------------------------------------------------------------------------


def test_list_shows_each_with_its_next_opening(cli: Callable[..., Ran], estate: Estate) -> None:
    configure(estate.config, NIGHTS, FREEZE, SMILES, ALWAYS)
    ran = cli("windows", "list", "-c", estate.config)
    assert ran.code == Exit.OK
    assert ran.out.splitlines() == [
        "nights  allow  0 22 * * 1-5 for 4h, Europe/Paris",
        "    for platform/*",
        "    closed; opens Mon 2026-11-23 22:00 Europe/Paris (2026-11-23 21:00 UTC)",
        "freeze  deny  from 2026-12-20 00:00:00 to 2027-01-03 00:00:00, Europe/Paris",
        "    for *",
        "    closed; opens Sun 2026-12-20 00:00 Europe/Paris (2026-12-19 23:00 UTC)",
        "smiles  deny  0 22 * * * for 1h, UTC",
        "    for * tier=:smile:, people may override it",
        "    closed; opens 2026-11-23 22:00 UTC",
        "always  deny  * * * * * for 1m, UTC",
        "    for elsewhere/*",
        "    open with no end in sight",
    ]


def test_list_as_json_has_every_setting(
    cli: Callable[..., Ran], windowed: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = datetime(2027, 1, 1, 21, 30, tzinfo=UTC)
    monkeypatch.setattr("driftwatch.cli.clock.now", lambda: at)
    nights, freeze = json.loads(cli("windows", "list", "-c", windowed.config, "-f", "json").out)["windows"]
    assert nights == {
        "name": "nights",
        "kind": "allow",
        "cron": "0 22 * * 1-5",
        "duration": "4h",
        "from": None,
        "to": None,
        "timezone": "Europe/Paris",
        "stacks": ["platform/*"],
        "labels": {},
        "manual": False,
        "open": {"begins": "2027-01-01T21:00:00.000Z", "ends": "2027-01-02T01:00:00.000Z"},
        "next": {"begins": "2027-01-04T21:00:00.000Z", "ends": "2027-01-05T01:00:00.000Z"},
    }
    assert (freeze["from"], freeze["to"], freeze["cron"]) == (
        "2026-12-20T00:00:00",
        "2027-01-03T00:00:00",
        None,
    )
    assert (freeze["open"]["ends"], freeze["next"]) == ("2027-01-02T23:00:00.000Z", None)


def test_next_lists_openings_in_order_in_both_times(cli: Callable[..., Ran], windowed: Estate) -> None:
    ran = cli("windows", "next", "-c", windowed.config, "-n", "2", "-f", "json")
    first, second = json.loads(ran.out)["openings"]
    assert first == {
        "window": "nights",
        "kind": "allow",
        "open": False,
        "begins": "2026-11-23T21:00:00.000Z",
        "ends": "2026-11-24T01:00:00.000Z",
        "timezone": "Europe/Paris",
        "local_begins": "2026-11-23T22:00:00+01:00",
        "local_ends": "2026-11-24T02:00:00+01:00",
    }
    assert second["begins"] == "2026-11-24T21:00:00.000Z"
    shown = cli("windows", "next", "-c", windowed.config, "-n", "1").out
    assert shown == (
        "nights (allow) opens Mon 2026-11-23 22:00 Europe/Paris (2026-11-23 21:00 UTC), "
        "until Tue 2026-11-24 02:00 Europe/Paris (2026-11-24 01:00 UTC)\n"
    )


def test_next_names_what_is_open_first(
    cli: Callable[..., Ran], estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(estate.config, ALWAYS, NIGHTS)
    at = datetime(2026, 11, 23, 21, 30, tzinfo=UTC)
    monkeypatch.setattr("driftwatch.cli.clock.now", lambda: at)
    lines = cli("windows", "next", "-c", estate.config, "-n", "3").out.splitlines()
    assert lines[0] == "always (deny) is open, with no end in sight"
    assert lines[1].startswith("nights (allow) open since Mon 2026-11-23 22:00 Europe/Paris")
    assert lines[2].startswith("nights (allow) opens Tue 2026-11-24 22:00 Europe/Paris")
    always, *_ = json.loads(cli("windows", "next", "-c", estate.config, "-f", "json").out)["openings"]
    assert (always["open"], always["ends"], always["local_ends"]) == (True, None, None)


def test_next_of_a_stack_has_only_its_own(cli: Callable[..., Ran], estate: Estate) -> None:
    configure(estate.config, NIGHTS, SMILES, ALWAYS)
    estate.record("dns")

    def named(*options: str) -> set[str]:
        ran = cli("windows", "next", "-c", estate.config, "-n", "4", "-f", "json", *options)
        return {opening["window"] for opening in json.loads(ran.out)["openings"]}

    assert named() == {"nights", "smiles", "always"}
    assert named("--stack", "platform/dns") == {"nights", "smiles"}
    assert named("--stack", "platform/unheard") == {"nights"}


def test_without_windows_it_says_what_that_means(cli: Callable[..., Ran], estate: Estate) -> None:
    assert cli("windows", "list", "-c", estate.config).out == "No windows: nothing is applied by itself.\n"
    assert "none opens any more" in cli("windows", "next", "-c", estate.config).out
    assert json.loads(cli("windows", "list", "-c", estate.config, "-f", "json").out) == {"windows": []}
    assert json.loads(cli("windows", "next", "-c", estate.config, "-f", "json").out) == {"openings": []}


def test_list_needs_no_database(cli: Callable[..., Ran], windowed: Estate) -> None:
    cli("windows", "list", "-c", windowed.config)
    cli("windows", "next", "-c", windowed.config)
    assert not windowed.state.exists()


# ---- changes -------------------------------------------------------------------------------------------


def test_changes_tells_what_a_new_configuration_does(cli: Callable[..., Ran], windowed: Estate) -> None:
    old = windowed.config.with_name("old.yaml")
    configure(old, NIGHTS.replace("0 22", "0 23").replace("1-5", "1"), FREEZE)
    configure(windowed.config, NIGHTS.replace("1-5", "1"), FREEZE)
    document = json.loads(cli("windows", "changes", old, "-c", windowed.config, "-f", "json").out)
    assert (document["after"], document["until"]) == ("2026-11-23T12:00:00.000Z", "2026-12-23T12:00:00.000Z")
    assert len(document["changes"]) == 10
    assert document["changes"][:2] == [
        {
            "window": "nights",
            "kind": "allow",
            "change": "opens",
            "begins": "2026-11-23T21:00:00.000Z",
            "ends": "2026-11-23T22:00:00.000Z",
        },
        {
            "window": "nights",
            "kind": "allow",
            "change": "closes",
            "begins": "2026-11-24T01:00:00.000Z",
            "ends": "2026-11-24T02:00:00.000Z",
        },
    ]
    lines = cli("windows", "changes", old, "-c", windowed.config).out.splitlines()
    assert lines[0] == (
        "+ nights (allow) Mon 2026-11-23 22:00 Europe/Paris (2026-11-23 21:00 UTC) "
        "to Mon 2026-11-23 23:00 Europe/Paris (2026-11-23 22:00 UTC)"
    )
    assert lines[1].startswith("- nights (allow) Tue 2026-11-24 02:00 Europe/Paris")


def test_changes_of_nothing_says_so(cli: Callable[..., Ran], windowed: Estate) -> None:
    ran = cli("windows", "changes", windowed.config, "-c", windowed.config)
    assert (ran.code, ran.out) == (Exit.OK, "In the next 30 days, no window opens or closes otherwise.\n")


def test_changes_of_a_configuration_that_is_not_there_is_an_error(
    cli: Callable[..., Ran], windowed: Estate
) -> None:
    ran = cli("windows", "changes", windowed.config.with_name("gone.yaml"), "-c", windowed.config)
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert "gone.yaml" in ran.err
