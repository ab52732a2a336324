"""What is GitLab's alone."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from driftwatch.config.notify import GitlabIssuesSettings
from driftwatch.errors import ForgeRefusedError
from driftwatch.forge.gitlab import GitlabTracker


def test_the_projects_path_is_quoted_and_the_project_itself_not_asked_for(gitlab: Any) -> None:
    gitlab.tracker().open("Title", "Body", ("drift",))

    assert [call.path for call in gitlab.calls] == ["/api/v4/projects/acme%2Fplatform%2Finfra/issues"]


def test_the_number_is_the_one_that_people_see(gitlab: Any) -> None:
    """`iid` counts within the project; `id` is the instance's."""
    gitlab.add(4)

    assert gitlab.tracker().open("Title", "Body", ("drift",)) == "5"


def test_counting_fetches_one_issue_and_not_all(gitlab: Any) -> None:
    gitlab.add(30)

    assert gitlab.tracker().count_open(("drift",), 50) == 30
    assert gitlab.calls[0].query["per_page"] == "1"
    assert len(gitlab.calls) == 1


def test_more_than_gitlab_counts_is_as_many_as_may_be(gitlab: Any) -> None:
    """Above 10,000, GitLab leaves the total out."""
    gitlab.says_total = False
    gitlab.add(3)

    assert gitlab.tracker().count_open(("drift",), 50) == 50


def test_a_refusal_by_field_is_told_in_its_words(gitlab: Any, a_reply: Any) -> None:
    gitlab.then(a_reply(status=400, body={"message": {"labels": ["is too long"]}}))

    with pytest.raises(ForgeRefusedError, match="is too long") as caught:
        gitlab.tracker().open("Title", "Body", ("drift",))
    assert caught.value.status == 400


def test_a_refusal_in_the_manner_of_oauth_is_told_in_its_words(gitlab: Any, a_reply: Any) -> None:
    gitlab.then(a_reply(status=403, body={"error": "insufficient_scope"}))

    with pytest.raises(ForgeRefusedError, match="insufficient_scope"):
        gitlab.tracker().open("Title", "Body", ("drift",))


def test_by_default_it_is_gitlab_com() -> None:
    settings = GitlabIssuesSettings(name="infra", project="4711", token=SecretStr("long-enough-token"))

    issues = GitlabTracker(settings)._issues

    assert issues.gitlab.url == "https://gitlab.com"
    assert issues.path == "/projects/4711/issues"
