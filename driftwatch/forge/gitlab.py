"""Issues of one project on GitLab, through python-gitlab.

Each response is judged as it comes in, before the library looks at it: it would follow a redirect with the
token in hand, sleep through a limit, and drop the headers that say how long to wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from driftwatch.errors import ForgeError
from driftwatch.forge.issues import (
    PAGE,
    PAGES_LOOKED_THROUGH,
    TIMEOUT_SECONDS,
    USER_AGENT,
    checked_token,
    judge,
    number_of,
    package_missing,
    translated,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from gitlab import Gitlab

    from driftwatch.config.notify import GitlabIssuesSettings

_FORGE = "GitLab"


class GitlabTracker:
    """The issues of one project. Needs a token with the scope `api` and the right to set labels."""

    def __init__(self, settings: GitlabIssuesSettings, *, timeout: float = TIMEOUT_SECONDS) -> None:
        # Lazy: the project itself is not asked for. The library quotes its path.
        self._issues = _client(settings, timeout).projects.get(settings.project, lazy=True).issues

    def open(self, title: str, body: str, labels: Sequence[str]) -> str:
        """Opens an issue and returns its number within the project."""
        asked = {"title": title, "description": body} | _labelled(labels)
        with _translated():
            return number_of(self._issues.create(asked).attributes, "iid")

    def edit(self, reference: str, title: str, body: str, *, closed: bool | None) -> None:
        """Replaces title and body; closes or re-opens, or with None leaves that as it is."""
        state = {} if closed is None else {"state_event": "close" if closed else "reopen"}
        with _translated():
            number_of(self._issues.update(reference, {"title": title, "description": body} | state), "iid")

    def comment(self, reference: str, body: str) -> None:
        with _translated():
            self._issues.get(reference, lazy=True).notes.create({"body": body})

    def count_open(self, labels: Sequence[str], at_most: int) -> int:
        """How many issues with all these labels are open; counts no further than `at_most`."""
        with _translated():
            listed = self._issues.list(state="opened", per_page=1, iterator=True, **_labelled(labels))
            if listed.total is not None:
                return min(listed.total, at_most)
            # Of more than 10,000, GitLab does not say how many.
            return 0 if next(iter(listed), None) is None else at_most

    def find(self, mark: str, labels: Sequence[str]) -> str | None:
        """The issue, open or closed, whose body begins with `mark`, among the newest with these labels."""
        for page in range(1, PAGES_LOOKED_THROUGH + 1):
            with _translated():
                listed = self._issues.list(
                    state="all",
                    order_by="created_at",
                    sort="desc",
                    page=page,
                    per_page=PAGE,
                    get_all=False,
                    **_labelled(labels),
                )
                for issue in listed:
                    if str(issue.attributes.get("description") or "").startswith(mark):
                        return number_of(issue.attributes, "iid")
            if len(listed) < PAGE:
                return None
        return None


def _client(settings: GitlabIssuesSettings, timeout: float) -> Gitlab:
    token = checked_token(settings.token, "notify.gitlab")
    try:
        import gitlab
    except ImportError as error:
        raise package_missing("gitlab") from error
    client = gitlab.Gitlab(
        url=settings.url, private_token=token, timeout=timeout, user_agent=USER_AGENT, keep_base_url=True
    )
    client.session.hooks["response"].append(_judged)
    return client


def _judged(response: Any, *_: Any, **__: Any) -> None:
    try:
        judge(_FORGE, response.status_code, response.headers, _said(response))
    except ForgeError:
        # Nobody else will: its body, of a redirect say, would keep the connection.
        response.close()
        raise


def _said(response: Any) -> str:
    """GitLab's own words for a refusal, where it gave any: a text, or one for each field."""
    if response.ok:
        return ""
    try:
        answer = response.json()
    except ValueError:
        return ""
    return str(answer.get("message") or answer.get("error") or "") if isinstance(answer, dict) else ""


def _labelled(labels: Sequence[str]) -> dict[str, Any]:
    return {"labels": ",".join(labels)} if labels else {}


def _translated() -> AbstractContextManager[None]:
    from gitlab.exceptions import GitlabError

    return translated(_FORGE, GitlabError)
