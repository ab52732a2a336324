"""What is known is shown whole and as it is, and an unknown stack is never one that is well."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from driftwatch.cli import stacks as commands
from driftwatch.cli.clock import now
from driftwatch.errors import Exit
from driftwatch.model import (
    AttributeChange,
    Cause,
    ErrorReport,
    Finding,
    FindingKind,
    Severity,
    Verdict,
)
from driftwatch.service import StateLock
from driftwatch.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Estate, Ran

HOSTILE = 'terraform_data.a["\x1b[31m[bold]red[/bold]\u202e<script>:smile:"]'


def drift(address: str, value: str = "v") -> Finding:
    return Finding(
        address=address,
        type="terraform_data",
        kind=FindingKind.MODIFIED,
        action="update",
        causes=(Cause.OUT_OF_BAND,),
        severity=Severity.HIGH,
        fingerprint=f"f-{address}"[:32],
        counted=True,
        attributes=(
            AttributeChange(
                path="/input", before="b", actual=value, after="a", sensitive=False, cause=Cause.OUT_OF_BAND
            ),
        ),
    )


def test_the_documents_are_the_contract(cli: Callable[..., Ran], estate: Estate) -> None:
    estate.record("dns", drift("x.y"), verdict=Verdict.DRIFTED)
    listed = json.loads(cli("stacks", "list", "-c", estate.config, "-f", "json").out)
    assert list(listed) == ["stacks"]
    assert set(listed["stacks"][0]) == {
        *("id", "verdict", "health", "method", "commit"),
        *("checked_at", "next_due_at", "suspended", "open_findings"),
    }
    found = json.loads(cli("findings", "list", "-c", estate.config, "-f", "json").out)
    assert set(found) == {"findings", "next"}
    assert {"id", "stack", "status", "first_seen", "last_seen", "address", "attributes"} < set(
        found["findings"][0]
    )
    shown = json.loads(cli("stacks", "show", "platform/dns", "-c", estate.config, "-f", "json").out)
    assert (shown["error"], shown["owners"], len(shown["findings"])) == (None, ["@[bold]platform"], 1)


def test_no_name_is_interpreted(cli: Callable[..., Ran], estate: Estate) -> None:
    """Neither as markup, nor as an emoji, nor by the terminal, nor by the direction of text."""
    estate.record("[bold]dns:warning:", drift(HOSTILE, "\x1b[2J\u202e[red]x[/red]"), verdict=Verdict.DRIFTED)
    printed = ""
    for command in (
        ("stacks", "list"),
        ("stacks", "show", "platform/[bold]dns:warning:"),
        ("findings", "list"),
        ("findings", "show", "1"),
    ):
        ran = cli(*command, "-c", estate.config)
        assert ran.code == Exit.OK, ran.err
        printed += ran.out
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    for whole in ("platform/[bold]dns:warning:", "[bold]red[/bold]\\u202e<script>:smile:", "@[bold]platform"):
        assert whole in printed
    assert "tier=:smile:" in printed
    assert "\\u202e[red]x[/red] in the cloud" in printed


@pytest.mark.parametrize("columns", ["40", "80"])
def test_a_narrow_terminal_cuts_nothing_off(
    cli: Callable[..., Ran], estate: Estate, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    estate.record("envs/production/europe-west-1/network")
    line = cli("stacks", "list", "-c", estate.config).out.splitlines()[1]
    assert line.startswith("platform/envs/production/europe-west-1/network  in sync")
    assert line.endswith("not scheduled")


def test_a_stack_that_nobody_knows_is_an_error(cli: Callable[..., Ran], estate: Estate) -> None:
    estate.record("dns")
    for command in (
        ("stacks", "list", "platform/dns", "platform/dnz"),
        ("stacks", "show", "platform/dnz"),
        ("findings", "list", "--stack", "platform/dnz"),
        ("trigger", "platform/dnz"),
    ):
        ran = cli(*command, "-c", estate.config)
        assert (ran.code, ran.out) == (Exit.USAGE, "")
        assert "no stack matches platform/dnz" in ran.err


def test_a_repository_whose_newest_commit_is_not_used_is_named_beside_the_list(
    cli: Callable[..., Ran], estate: Estate
) -> None:
    """Also before there is any stack of it; on stderr, as programs read the list."""
    error = ErrorReport(code="signature_missing", message="the head of [bold]platform[/bold] is not used")
    store = Store.open(state_dir=estate.state, database=None)
    store.record_fetch("platform", url="u", branch="main", commit=None, error=error, at=now())
    store.close()
    for form in ("table", "json"):
        ran = cli("stacks", "list", "-c", estate.config, "-f", form)
        assert ran.code == Exit.OK
        assert "platform: the head of [bold]platform[/bold] is not used" in ran.err
        assert "not used" not in ran.out
    estate.record("dns")
    assert "is not used" in cli("stacks", "list", "platform/dns", "-c", estate.config).err


def test_show_takes_one_stack(cli: Callable[..., Ran], estate: Estate) -> None:
    """An exact id is meant as it is, also where a glob would read it otherwise."""
    for path in ("dns", "a[b]", "ab"):
        estate.record(path)
    ran = cli("stacks", "show", "platform/*", "-c", estate.config)
    assert (ran.code, "matches 3 stacks" in ran.err) == (Exit.USAGE, True)
    assert "platform/a[b]" in cli("stacks", "show", "platform/a[b]", "-c", estate.config).out


def test_a_trigger_tells_whether_anybody_works(cli: Callable[..., Ran], estate: Estate) -> None:
    estate.record("dns")
    ran = cli("trigger", "platform/dns", "-c", estate.config)
    assert (ran.code, ran.out) == (Exit.OK, "platform/dns: queued\n")
    assert "No daemon is running" in ran.err
    with StateLock.acquire(estate.state, clock=now):
        ran = cli("trigger", "platform/dns", "-c", estate.config)
    assert (ran.out, ran.err) == ("platform/dns: was queued already\n", "")


def test_a_daemon_that_has_died_is_no_daemon(estate: Estate, cli: Callable[..., Ran]) -> None:
    estate.record("dns")
    (estate.state / "daemon.lock").write_text(
        json.dumps({"pid": 2**22 + 1, "host": commands.socket.gethostname(), "since": "2026-11-23T12:00:00Z"})
    )
    assert "No daemon is running" in cli("trigger", "platform/dns", "-c", estate.config).err


def test_a_form_that_is_refused_queues_nothing(cli: Callable[..., Ran], estate: Estate) -> None:
    estate.record("dns")
    assert cli("trigger", "platform/dns", "-c", estate.config, "-f", "sarif").code == Exit.USAGE
    assert cli("trigger", "platform/dns", "-c", estate.config).out == "platform/dns: queued\n"


def test_without_a_configuration_it_says_how_to_get_one(
    cli: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = cli("stacks", "list")
    assert ran.code == Exit.USAGE
    assert "no configuration file driftwatch.yaml" in ran.err
    assert "config init" in ran.err


def test_doctor_leaves_nothing(cli: Callable[..., Ran], estate: Estate) -> None:
    """It may be run by another user than the daemon will be: what it made, the daemon could not write."""
    ran = cli("doctor", "-c", estate.config, "-f", "json")
    subjects = {item["subject"]: item for item in json.loads(ran.out)["diagnoses"]}
    assert subjects["database"]["says"].startswith("none yet")
    assert subjects["repository platform"]["state"] == "failed"
    assert (ran.code, estate.state.exists()) == (Exit.ERROR, False)
