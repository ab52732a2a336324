"""What is GitHub's alone about pull requests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from driftwatch.config.gitops import ForgeSettings
from driftwatch.errors import ForgeRefusedError, ForgeUnavailableError
from driftwatch.forge.github_pulls import GithubPulls
from tests.forge.played import PlayedForge, PlayedIssue, PlayedPull, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = "a" * 40
MARK = "<!-- driftwatch:preview:0123 -->"


@pytest.fixture
def asks(on_github: PlayedForge, client: Callable[..., Any]) -> GithubPulls:
    on_github.pulls[7] = PlayedPull("Wider network", "ada", HEAD, "main")
    made: GithubPulls = client(on_github)
    return made


def test_by_default_it_is_githubs_own_api() -> None:
    settings = ForgeSettings(kind="github", project="acme/infra", token=SecretStr("long-enough-token"))

    asks = GithubPulls(settings)

    assert asks._api.requester.base_url == "https://api.github.com"
    asks.close()


def test_the_token_of_an_apps_installation_finds_its_own_comments(
    on_github: PlayedForge, asks: GithubPulls
) -> None:
    """It has no /user: what it writes as, the GraphQL API tells."""
    on_github.login = None
    on_github.add_comment(7, f"{MARK}\nFaked by another App", author="other[bot]", app="other")
    on_github.add_comment(7, f"{MARK}\nFaked by a person", author="mallory")

    asks.say(7, MARK, "Plan")
    asks.say(7, MARK, "Other plan")

    assert on_github.bodies(7)[2:] == [f"{MARK}\nOther plan"]
    assert [remark.own for remark in asks.remarks(7)] == [False, False, True]
    assert [call.path for call in on_github.calls].count("/api/graphql") == 1


@pytest.mark.parametrize(
    "told",
    [
        Reply(status=403, body={"message": "Resource not accessible by integration"}),
        Reply(status=404, body={"message": "Not Found"}),
        Reply(body={"data": {"viewer": None}, "errors": [{"message": "no"}]}),
        Reply(body={"errors": [{"message": "no"}]}),
    ],
)
def test_where_github_tells_nobody_who_writes_bots_count_and_people_do_not(
    on_github: PlayedForge, asks: GithubPulls, told: Reply
) -> None:
    on_github.login = None
    on_github.add_comment(7, f"{MARK}\nFaked by a person", author="mallory")
    ours = on_github.add_comment(7, f"{MARK}\nPlan", author="driftwatch[bot]", app="driftwatch")
    on_github.then(
        Reply(body=_listed(on_github)),
        on_github.no(403, "Resource not accessible by integration"),
        told,
    )

    asks.say(7, MARK, "Other plan")

    assert on_github.bodies(7) == [f"{MARK}\nFaked by a person", f"{MARK}\nOther plan"]
    assert [remark.id for remark in asks.remarks(7) if remark.own] == [ours.id]


def _listed(forge: PlayedForge) -> list[dict[str, Any]]:
    return [
        {
            "id": comment.id,
            "body": comment.body,
            "user": {
                "login": comment.author,
                "id": forge.id_of(str(comment.author)),
                "type": "Bot" if comment.app else "User",
            },
        }
        for comment in forge.comments[7]
    ]


def test_whoever_is_gone_is_a_ghost_and_never_driftwatch(on_github: PlayedForge, asks: GithubPulls) -> None:
    on_github.pulls[7].author = None
    on_github.add_comment(7, f"{MARK}\nPlan", author=None)

    found = asks.pull_request(7)

    assert found is not None
    assert found.author == "ghost"
    assert [(remark.author, remark.own) for remark in asks.remarks(7)] == [("ghost", False)]


def test_pages_are_followed_by_what_a_link_asks_for_and_not_to_where_it_leads(
    on_github: PlayedForge, asks: GithubPulls
) -> None:
    """Where the links of the played GitHub lead, nobody answers."""
    for number in range(250):
        on_github.add_comment(7, f"Comment {number}")

    asks.say(7, MARK, "Plan")

    assert {call.path for call in on_github.calls} <= {
        f"{on_github.root}/issues/7/comments",
        "/api/v3/user",
    }
    assert [call.query.get("page") for call in on_github.calls if call.query] == [None, "2", "3"]


@pytest.mark.parametrize("link", ["", "<>", "garbage; rel=last", '<http://127.0.0.1:9/>; rel="last"'])
def test_a_link_that_says_nothing_leads_nowhere(on_github: PlayedForge, asks: GithubPulls, link: str) -> None:
    on_github.then(Reply(body=[], headers={"Link": link}))

    assert asks.remarks(7) == []
    assert len(on_github.calls) == 1


def test_a_link_to_a_page_without_a_number_cannot_be_read(on_github: PlayedForge, asks: GithubPulls) -> None:
    on_github.then(Reply(body=[], headers={"Link": '<http://127.0.0.1:9/?page=x>; rel="last"'}))

    with pytest.raises(ForgeUnavailableError, match="cannot be read"):
        asks.remarks(7)


def test_an_answer_that_is_not_ready_is_not_waited_for(on_github: PlayedForge, asks: GithubPulls) -> None:
    """PyGithub would sleep, and ask until it is."""
    on_github.then(Reply(status=202, body={}))
    began = time.monotonic()

    with pytest.raises(ForgeUnavailableError, match="no answer yet"):
        asks.pull_request(7)

    assert len(on_github.calls) == 1
    assert time.monotonic() - began < 1


def test_pull_requests_are_no_reports(on_github: PlayedForge, asks: GithubPulls) -> None:
    on_github.pulls[7].body = MARK
    on_github.issues[8] = PlayedIssue("Empty", None)

    assert asks.report(mark=MARK, title="By hand", body="Three things").endswith("/issues/9")


def test_a_filter_that_github_passes_over_finds_nobody_elses_pull_request(
    on_github: PlayedForge, asks: GithubPulls
) -> None:
    other = asks._api.ask("GET", f"{asks._root}/pulls/7")[0]
    on_github.then(on_github.no(422, "Validation Failed"), Reply(body=[other]))

    with pytest.raises(ForgeRefusedError, match="Validation Failed"):
        asks.offer(branch="driftwatch/adopt-1", base="main", title="T", body="B")


def test_what_is_wrong_in_detail_is_told(on_github: PlayedForge, asks: GithubPulls) -> None:
    said = {
        "message": "Validation Failed",
        "errors": [{"message": "No commits between main and x"}, "odd", 7],
    }
    on_github.then(Reply(status=422, body=said))

    with pytest.raises(ForgeRefusedError, match="Validation Failed: No commits between main and x"):
        asks.offer(branch="x", base="main", title="T", body="B")


@pytest.mark.parametrize("commit", ["../../pulls/7", "abc/../../x", "a?b=c", "a#b"])
def test_a_commit_stays_below_the_statuses(on_github: PlayedForge, asks: GithubPulls, commit: str) -> None:
    from driftwatch.model import CommitState, CommitStatus

    on_github.then(on_github.no(422, "No commit found for SHA"))
    with pytest.raises(ForgeRefusedError):
        asks.set_status(commit, CommitStatus(context="c", state=CommitState.ERROR, description="d"))

    assert on_github.calls[0].path.startswith(f"{on_github.root}/statuses/")
    assert on_github.calls[0].path.count("/") == on_github.root.count("/") + 2


def test_a_command_that_was_edited_within_the_second_of_its_making_is_told_as_that(
    on_github: PlayedForge, asks: GithubPulls
) -> None:
    """Its times are the same: a program could have somebody say what they never said."""
    honest = on_github.add_comment(7, "/driftwatch plan", author="ada")
    forged = on_github.add_comment(7, "/driftwatch approve d1d1", author="bob")
    forged.at_once = True
    on_github.add_comment(7, "LGTM", author="bob").at_once = True

    for _ in range(2):
        told = {remark.id: remark.edited for remark in asks.remarks(7)}
        assert (told[honest.id], told[forged.id]) == (False, True)
    asked = [call.body["variables"]["ids"] for call in on_github.calls if call.path == "/api/graphql"]
    assert asked == [[f"IC_{honest.id}", f"IC_{forged.id}"], [f"IC_{forged.id}"]]


def test_what_was_not_edited_is_asked_again_once_it_says_something_else(
    on_github: PlayedForge, asks: GithubPulls
) -> None:
    comment = on_github.add_comment(7, "/driftwatch plan", author="ada")
    assert [remark.edited for remark in asks.remarks(7)] == [False]
    comment.body, comment.at_once = "/driftwatch approve d1d1", True
    assert [remark.edited for remark in asks.remarks(7)] == [True]


@pytest.mark.parametrize(
    "told",
    [
        Reply(status=403, body={"message": "Resource not accessible by integration"}),
        Reply(status=404, body={"message": "Not Found"}),
        Reply(body={"data": None, "errors": [{"message": "no"}]}),
        Reply(body={"data": {"nodes": [None]}, "errors": [{"message": "no"}]}),
        Reply(body={"data": {"nodes": [{}]}}),
        Reply(body={"data": {"nodes": []}}),
    ],
)
def test_where_github_does_not_tell_of_edits_nothing_is_a_command(
    on_github: PlayedForge, asks: GithubPulls, told: Reply
) -> None:
    on_github.add_comment(7, "/driftwatch plan", author="ada")
    on_github.add_comment(7, "Fine", author="ada")
    on_github.always("POST /api/graphql", told)

    assert [remark.edited for remark in asks.remarks(7)] == [True, False]

    on_github.always("POST /api/graphql", None)
    assert [remark.edited for remark in asks.remarks(7)] == [False, False]


def test_trouble_while_edits_are_asked_for_passes(on_github: PlayedForge, asks: GithubPulls) -> None:
    on_github.add_comment(7, "/driftwatch plan", author="ada")
    on_github.always("POST /api/graphql", Reply(status=502, body={"message": "away"}))

    with pytest.raises(ForgeUnavailableError):
        asks.remarks(7)
