"""What is GitHub's alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from driftwatch.config.notify import GithubIssuesSettings
from driftwatch.errors import ForgeRefusedError
from driftwatch.forge.github import GithubTracker

if TYPE_CHECKING:
    from collections.abc import Callable

MARK = "<!-- driftwatch:0123 -->"


def test_pull_requests_are_no_issues(github: Any) -> None:
    github.add(3)
    github.add(4, pull_request=True, body=MARK)

    assert github.tracker().count_open(("drift",), 50) == 3
    assert github.tracker().find(MARK, ("drift",)) is None


def test_pages_are_followed_by_what_a_link_asks_for_and_not_to_where_it_leads(github: Any) -> None:
    github.add(130)

    assert github.tracker().count_open(("drift",), 120) == 120
    assert [call.query.get("after") for call in github.calls] == [None, "abc="]
    assert {call.path for call in github.calls} == {github.root}
    assert {call.query["labels"] for call in github.calls} == {"drift"}


def test_counting_asks_for_no_more_pages_than_may_be_full(github: Any) -> None:
    github.add(150, pull_request=True)
    github.add(1)

    assert github.tracker().count_open(("drift",), 50) == 1
    assert len(github.calls) == 1


def test_the_newest_come_first(github: Any) -> None:
    github.add(2)

    github.tracker().find(MARK, ("drift", "prod"))

    asked = github.calls[0].query
    assert asked == {
        "state": "all",
        "sort": "created",
        "direction": "desc",
        "per_page": "100",
        "labels": "drift,prod",
    }


def test_a_moved_repository_on_the_same_host_is_followed(github: Any, a_reply: Any) -> None:
    """GitHub answers so after a rename, and the token stays where it belongs."""
    github.add()
    github.then(a_reply(status=301, body={}, headers={"Location": f"{github.url}{github.also}/1"}))

    github.tracker().edit("1", "Title", "Body", closed=None)

    assert github.issues[1].title == "Title"
    assert [call.path for call in github.calls] == [f"{github.root}/1", f"{github.also}/1"]


def test_a_circle_of_redirects_ends(github: Any, a_reply: Any) -> None:
    github.then(
        *[a_reply(status=301, body={}, headers={"Location": f"{github.url}/api/v3/{n}"}) for n in (1, 1)]
    )

    with pytest.raises(ForgeRefusedError, match="redirects"):
        github.tracker().open("Title", "Body", ())


def test_by_default_it_is_githubs_own_api() -> None:
    settings = GithubIssuesSettings(
        name="infra", repository="acme/infra", token=SecretStr("long-enough-token")
    )

    assert GithubTracker(settings)._api.requester.base_url == "https://api.github.com"


@pytest.mark.parametrize("reference", ["../../user", "1/comments?x=y", "1#2"])
def test_a_reference_stays_below_the_issues(github: Any, reference: str) -> None:
    edit: Callable[..., None] = github.tracker().edit
    github.then(github.no(404, "Not Found"))

    with pytest.raises(ForgeRefusedError):
        edit(reference, "Title", "Body", closed=None)

    assert github.calls[0].path.startswith(f"{github.root}/")
    assert github.calls[0].path.count("/") == github.root.count("/") + 1
