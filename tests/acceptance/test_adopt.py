"""Drift brought into code, end to end: by itself into a bare remote, and by a person's wish to a forge."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from driftwatch.cli.adopt import _imports
from driftwatch.errors import Exit, UsageError
from driftwatch.sandbox.cloud import Kind
from tests.forge.played import TOKEN, PlayedForge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.conftest import House

STACK = "platform/dns"
MAIL = "example.test/@/MX"
API = "example.test/api/A"


def git(directory: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=directory, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def remote(house: House) -> Path:
    """The estate in a bare repository, from which the house is watched."""
    bare = house.directory / "remote.git"
    git(house.directory, "clone", "-q", "--bare", str(house.repository), str(bare))
    house.config.write_text(
        house.config.read_text().replace(f'"{house.repository}"', f'"{bare}"').replace("4s}}", "2s}}")
    )
    house.apply("dns")
    return bare


@pytest.fixture
def forge(house: House) -> Iterator[PlayedForge]:
    played = PlayedForge("github")
    house.environment["FORGE_TOKEN"] = TOKEN
    lines = (
        f'{{kind: github, project: {played.project}, token: "${{env:FORGE_TOKEN}}", '
        f"api_url: {played.api_url}}}"
    )
    text = house.config.read_text()
    house.config.write_text(text.replace("    poll: 2s\n", f"    poll: 2s\n    forge: {lines}\n"))
    yield played
    played.close()


def branches(remote: Path) -> list[str]:
    found = git(remote, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/driftwatch")
    return found.split()


def test_by_itself_drift_becomes_a_branch_and_its_merge_ends_the_drift(house: House, remote: Path) -> None:
    """Without a forge the branch is all; what nobody may edit safely stays a finding."""
    house.config.write_text(
        house.config.read_text().replace('{path: "dns",', '{path: "dns", on_drift: adopt,')
    )
    daemon = house.start()
    house.wait_for_verdicts(dns="in_sync")
    house.cloud.update(Kind.DNS_RECORD, MAIL, {"ttl": 1800})
    house.wait_for_verdicts(dns="drifted")
    (branch,) = house.wait_for("a branch", lambda: branches(remote))
    assert branch.startswith("driftwatch/adopt-platform-dns-")
    before, after = (git(remote, "show", f"{name}:dns/main.tf") for name in ("main", branch))
    assert after == before.replace("ttl    = 3600", "ttl    = 1800")
    assert git(remote, "diff", "--name-only", "main", branch) == "dns/main.tf"
    git(remote, "update-ref", "refs/heads/main", branch)
    house.wait_for_verdicts(dns="in_sync")
    assert house.rows("select count(*) from adoptions") == [(1,)]
    (entry,) = [each for each in house.json("audit", "list")["entries"] if each["action"] == "adopt"]
    assert (entry["actor"], entry["outcome"]) == ("driftwatch", f"1 edits in {branch}")
    (listed,) = house.json("adopt", "--list")["adoptions"]
    shown = house.driftwatch("adopt", "--show", str(listed["adoption"]), "--config", str(house.config))
    assert (listed["by"], listed["branch"], listed["stack"]) == ("driftwatch", branch, STACK)
    assert f"merge the branch {branch}" in shown.stdout
    assert "ttl: 3600 becomes 1800" in shown.stdout
    assert house.stop(daemon) == 0


@pytest.mark.slow
def test_a_person_has_findings_adopted_and_reads_where_and_what_was_refused(
    house: House, remote: Path, forge: PlayedForge
) -> None:
    forge.branch_head = lambda name: git(remote, "rev-parse", name) if name in branches(remote) else None
    daemon = house.start()
    house.wait_for_verdicts(dns="in_sync")
    house.cloud.update(Kind.DNS_RECORD, MAIL, {"ttl": 1800})
    house.cloud.update(Kind.DNS_RECORD, API, {"values": ["203.0.113.99"]})
    house.wait_for("both findings", lambda: len(found(house)) == 2)
    ids = found(house)
    asked = house.json("adopt", *ids.values(), "--as", "anna", "--reason", "it is right so")
    (adoption,) = asked["adoptions"]
    (branch,) = branches(remote)
    assert (adoption["branch"], adoption["done"], adoption["error"]) == (branch, True, None)
    (number, pull), *_ = forge.pulls.items()
    assert adoption["url"].endswith(f"/{number}")
    assert pull.head == git(remote, "rev-parse", branch)
    assert [(each["address"], each["reason"]) for each in adoption["refused"]] == [
        ('sandbox_dns_record.host["api"]', "repeated")
    ]
    (issue,) = forge.issues.values()
    assert 'sandbox_dns_record.host["api"]' in (issue.body or "")

    again = house.driftwatch(
        "adopt", ids["sandbox_dns_record.mail"], "--as", "ben", "--config", str(house.config)
    )
    assert again.returncode == Exit.OK, again.stderr
    assert adoption["url"] in again.stdout
    assert branches(remote) == [branch]
    assert len(forge.pulls) == 1
    entries = [
        (each["actor"], each["action"], each["reason"]) for each in house.json("audit", "list")["entries"]
    ]
    assert ("anna", "adopt", "it is right so") in entries
    assert TOKEN not in house.log()
    assert house.stop(daemon) == 0

    alone = house.driftwatch("adopt", ids["sandbox_dns_record.mail"], "--config", str(house.config))
    assert alone.returncode == Exit.ERROR
    assert "No daemon is running here" in alone.stderr


def found(house: House) -> dict[str, str]:
    """The ids of the findings, by address."""
    return {each["address"]: str(each["id"]) for each in house.json("findings", "list")["findings"]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(("7",), "no finding 7", id="unknown"),
        pytest.param((), "adopt what?", id="nothing", marks=pytest.mark.slow),
        pytest.param(("--show", "7"), "no adoption 7", id="show", marks=pytest.mark.slow),
        pytest.param(("--list", "7"), "adopt nothing", id="both", marks=pytest.mark.slow),
        pytest.param(("--import", "a.b=c"), "belong together", id="whose", marks=pytest.mark.slow),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(house: House, words: tuple[str, ...], said: str) -> None:
    done = house.driftwatch("adopt", *words, "--config", str(house.config))
    assert done.returncode == Exit.USAGE
    assert said in done.stderr


@pytest.mark.parametrize(
    ("given", "said"), [(["a.b"], "names no resource"), (["a.b=c", "a.b=d"], "is given twice")]
)
def test_what_is_imported_has_an_address_and_one_name(given: list[str], said: str) -> None:
    assert _imports(["a.b=c=d"]) == {"a.b": "c=d"}
    with pytest.raises(UsageError, match=said):
        _imports(given)
