"""What is GitLab's alone about merge requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from driftwatch.config.gitops import ForgeSettings
from driftwatch.errors import ForgeRefusedError, ForgeUnavailableError
from driftwatch.forge.gitlab_pulls import GitlabPulls
from driftwatch.model import CommitState, CommitStatus
from tests.forge.played import LOGIN, TOKEN, PlayedForge, PlayedPull, PlayedStatus, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = "a" * 40
MARK = "<!-- driftwatch:preview:0123 -->"
PENDING = CommitStatus(context="driftwatch/net", state=CommitState.PENDING, description="Planning")


@pytest.fixture
def asks(on_gitlab: PlayedForge, client: Callable[..., Any]) -> GitlabPulls:
    on_gitlab.pulls[7] = PlayedPull("Wider network", "ada", HEAD, "main")
    made: GitlabPulls = client(on_gitlab)
    return made


def test_by_default_it_is_gitlab_com() -> None:
    settings = ForgeSettings(kind="gitlab", project="4711", token=SecretStr("long-enough-token"))

    asks = GitlabPulls(settings)

    assert asks._api.client.api_url == "https://gitlab.com/api/v4"
    asks.close()


@pytest.mark.parametrize("end", ["", "/", "/api/v4", "/api/v4/"])
def test_its_address_may_be_that_of_the_api(on_gitlab: PlayedForge, end: str) -> None:
    on_gitlab.pulls[7] = PlayedPull("Wider network", "ada", HEAD, "main")
    settings = ForgeSettings(
        kind="gitlab", project=on_gitlab.project, token=SecretStr(TOKEN), api_url=on_gitlab.url + end
    )
    asks = GitlabPulls(settings)
    on_gitlab.clients.append(asks)

    assert asks.pull_request(7) is not None
    assert on_gitlab.calls[0].path == "/api/v4/projects/acme%2Fplatform%2Finfra/merge_requests/7"


def test_the_number_is_the_one_that_people_see(asks: GitlabPulls) -> None:
    """`iid` counts within the project; `id` is the instance's."""
    found = asks.pull_request(7)

    assert found is not None
    assert found.number == 7


def test_a_merge_request_with_nothing_in_it_yet_is_none(on_gitlab: PlayedForge, asks: GitlabPulls) -> None:
    on_gitlab.pulls[8] = PlayedPull("Empty", "ada", None, "main")

    assert asks.pull_request(8) is None
    assert [each.number for each in asks.open_pull_requests()] == [7]


def test_what_gitlab_itself_notes_is_no_comment(on_gitlab: PlayedForge, asks: GitlabPulls) -> None:
    on_gitlab.add_comment(7, f"{MARK} as said by driftwatch's push", author=LOGIN).system = True
    on_gitlab.add_comment(7, "Fine")

    asks.say(7, MARK, "Plan")

    assert [remark.body for remark in asks.remarks(7)] == ["Fine", f"{MARK}\nPlan"]
    assert on_gitlab.bodies(7)[0].endswith("push")


@pytest.mark.parametrize("begun", ["/close", "\x00/close", "/close\n/merge", "\r\n/approve", "x\x1b\n/close"])
def test_no_line_is_one_that_gitlab_would_carry_out(
    on_gitlab: PlayedForge, asks: GitlabPulls, begun: str
) -> None:
    """Titles and plans are texts of others; a quick action would run with driftwatch's rights."""
    asks.say(7, MARK, f"Plan\n{begun}\nof a/b")
    asks.offer(branch="b", base="main", title="T", body=begun)
    asks.report(mark=MARK, title="T", body=begun)

    for call in on_gitlab.calls:
        text = "".join((call.body or {}).get(key, "") for key in ("body", "description"))
        assert not any(line.startswith("/") for line in text.replace("\r", "\n").split("\n"))
    assert on_gitlab.bodies(7)[0].endswith("\nof a/b")


@pytest.mark.parametrize("state", ["pending", "running"])
def test_a_status_that_is_under_way_stays_as_it_is(
    on_gitlab: PlayedForge, asks: GitlabPulls, state: str
) -> None:
    """GitLab answers `Cannot transition status`: it is what was wanted."""
    on_gitlab.statuses[HEAD] = {"driftwatch/net": PlayedStatus(state, "Planning", None)}

    asks.set_status(HEAD, PENDING)

    assert [call.verb for call in on_gitlab.calls] == ["POST", "GET"]
    assert on_gitlab.statuses[HEAD]["driftwatch/net"].state == state


@pytest.mark.parametrize("state", list(CommitState))
def test_a_status_that_is_refused_and_not_as_wanted_is_told(
    on_gitlab: PlayedForge, asks: GitlabPulls, state: CommitState
) -> None:
    on_gitlab.statuses[HEAD] = {"driftwatch/other": PlayedStatus("pending", "Planning", None)}
    on_gitlab.then(on_gitlab.no(400, "Cannot transition status"))

    with pytest.raises(ForgeRefusedError, match="Cannot transition"):
        asks.set_status(HEAD, CommitStatus(context="driftwatch/net", state=state, description="d"))


def test_a_forks_commit_has_no_status_and_that_is_no_failure(
    on_gitlab: PlayedForge, asks: GitlabPulls
) -> None:
    on_gitlab.pulls[8] = PlayedPull("From afar", "mallory", "d" * 40, "main", fork=True)

    asks.set_status("d" * 40, PENDING)

    assert on_gitlab.statuses == {}
    assert [call.verb for call in on_gitlab.calls] == ["POST", "GET"]


@pytest.mark.parametrize("then", [Reply(body=[{"type": "branch", "name": "x"}]), Reply(status=404, body={})])
def test_a_commit_that_is_none_or_not_a_forks_is_told(
    on_gitlab: PlayedForge, asks: GitlabPulls, then: Reply
) -> None:
    on_gitlab.then(on_gitlab.no(404, "Commit Not Found"), then)

    with pytest.raises(ForgeRefusedError, match="answered 404"):
        asks.set_status(HEAD, PENDING)


def test_a_status_may_go_back_from_done_to_pending(on_gitlab: PlayedForge, asks: GitlabPulls) -> None:
    done = CommitStatus(context="driftwatch/net", state=CommitState.FAILURE, description="Destroys")

    for status in (PENDING, done, PENDING):
        asks.set_status(HEAD, status)

    assert on_gitlab.statuses[HEAD]["driftwatch/net"].state == "pending"


def test_a_conflict_that_is_none_of_ours_passes(on_gitlab: PlayedForge, asks: GitlabPulls) -> None:
    on_gitlab.then(Reply(status=409, body={"message": ["Conflict"]}))

    with pytest.raises(ForgeUnavailableError, match="answered 409") as caught:
        asks.offer(branch="b", base="main", title="T", body="B")
    assert caught.value.status == 409


def test_whoever_is_not_told_is_a_ghost_and_never_driftwatch(
    on_gitlab: PlayedForge, asks: GitlabPulls
) -> None:
    on_gitlab.then(Reply(body=[{"id": 1, "body": f"{MARK}\nPlan", "author": None, "system": False}]))

    assert [(remark.author, remark.own) for remark in asks.remarks(7)] == [("ghost", False)]


@pytest.mark.parametrize("command", [f"/driftwatch plan {HEAD}", "/driftwatch approve 0123456789abcdef"])
def test_what_is_to_be_copied_is_left_as_it_is(
    on_gitlab: PlayedForge, asks: GitlabPulls, command: str
) -> None:
    """Else whoever copies it says something else; to GitLab it is no command."""
    asks.say(7, MARK, f"Say:\n```\n{command}\n```\n{command} /close\n/driftwatch")

    (body,) = on_gitlab.bodies(7)
    lines = body.splitlines()
    assert lines[3] == command
    assert [line[0] for line in lines[5:]] == ["\u200b"] * 2
