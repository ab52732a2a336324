"""The daemon as it is started: a webhook of a pull request, and the forge has a comment and statuses."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import httpx2
import pytest

from driftwatch.sandbox import estate
from tests.forge.played import TOKEN, PlayedForge, PlayedPull
from tests.web.hooks_at_hand import encoded, github

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.acceptance.conftest import House

SECRET = "canary-hook-secret-2b8e"
NUMBER = 7


@pytest.fixture
def forge() -> Iterator[PlayedForge]:
    played = PlayedForge("github")
    yield played
    played.close()


def configure(house: House, forge: PlayedForge) -> None:
    """Polls so seldom that whatever is seen, a hook has said."""
    hosted = (
        f'    forge: {{kind: github, project: {forge.project}, token: "${{env:FORGE_TOKEN}}",'
        f' api_url: "{forge.api_url}"}}\n'
    )
    text = house.config.read_text().replace("{every: 4s}", "{every: 1h}").replace("poll: 2s", "poll: 1h")
    text = text.replace("    poll: 1h\n", f"    poll: 1h\n{hosted}")
    house.environment |= {"HOOK_SECRET": SECRET, "FORGE_TOKEN": TOKEN, "NO_PROXY": "127.0.0.1"}
    house.config.write_text(text + 'hooks: {github: {secret: "${env:HOOK_SECRET}"}}\n')


def pushed(house: House, forge: PlayedForge, record: str) -> str:
    """Somebody pushes to the pull request, and GitHub says so."""
    name = house.repository / "dns" / f"{record}.tf"
    git = ("git", "-C", str(house.repository))
    branch = "change"
    there = subprocess.run(
        [*git, "rev-parse", "--verify", "--quiet", branch], check=False, capture_output=True
    )
    subprocess.run(
        [*git, "checkout", "--quiet", *(() if there.returncode == 0 else ("-b",)), branch], check=True
    )
    text = f'output "{record}" {{\n  value = "{record}"\n}}\n'
    head = estate.commit(house.repository, {f"dns/{name.name}": text}, f"Add {record}")
    subprocess.run([*git, "update-ref", f"refs/pull/{NUMBER}/head", head], check=True)
    subprocess.run([*git, "checkout", "--quiet", "main"], check=True)
    action = "synchronize" if NUMBER in forge.pulls else "opened"
    if action == "opened":
        forge.pulls[NUMBER] = PlayedPull("Say more", "ada", head)
    else:
        forge.push(NUMBER, head)
    body = encoded(
        {
            "action": action,
            "number": NUMBER,
            "pull_request": {"number": NUMBER, "head": {"sha": head}, "base": {"ref": "main"}},
            "repository": {"full_name": forge.project, "clone_url": str(house.repository)},
        }
    )
    answer = httpx2.post(
        f"http://127.0.0.1:{house.port}/hooks/github",
        content=body,
        headers=github(body, "pull_request", secret=SECRET, delivery=f"{time.time_ns()}"),
        trust_env=False,
    )
    assert answer.status_code == 202, answer.text
    return head


def test_a_pull_request_is_planned_and_the_next_push_too(house: House, forge: PlayedForge) -> None:
    """By hooks alone. One comment, updated in place; a status for the stack, and one over all."""
    configure(house, forge)
    house.apply("dns")
    daemon = house.start()
    house.wait_for_verdicts(dns="in_sync")

    first = pushed(house, forge, "one")
    house.wait_for("the statuses", lambda: forge.statuses.get(first, {}).get("driftwatch"))
    house.wait_for("the plan", lambda: forge.statuses[first]["driftwatch"].state == "success", 60)
    assert forge.statuses[first]["driftwatch/platform/dns"].state == "success"
    (comment,) = forge.bodies(NUMBER)
    assert "platform/dns" in comment
    assert first[:7] in comment

    second = pushed(house, forge, "two")
    house.wait_for(
        "the next plan",
        lambda: (found := forge.statuses.get(second, {}).get("driftwatch")) and found.state == "success",
        60,
    )
    (comment,) = forge.bodies(NUMBER)
    assert second[:7] in comment
    assert not house.rows(f"SELECT 1 FROM checks WHERE commit_sha IN ('{first}', '{second}')")  # noqa: S608
    for canary in (TOKEN, SECRET):
        assert canary not in house.log() + comment
    assert house.stop(daemon) == 0
