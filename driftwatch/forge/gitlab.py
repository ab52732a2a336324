"""GitLab's API through python-gitlab, and the issues of one project.

Each response is judged as it comes in, before the library looks at it: it would follow a redirect with the
token in hand, sleep through a limit, and drop the headers that say how long to wait.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from driftwatch.errors import ForgeError
from driftwatch.forge.answers import (
    PAGE,
    TIMEOUT_SECONDS,
    USER_AGENT,
    Advice,
    checked_token,
    judge,
    number_of,
    package_missing,
    translated,
)
from driftwatch.forge.issues import ADVICE, PAGES_LOOKED_THROUGH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from gitlab import Gitlab

    from driftwatch.config.notify import GitlabIssuesSettings

_FORGE = "GitLab"


class GitlabApi:
    """Asks GitLab, each thing once."""

    def __init__(self, token: str, url: str | None, *, timeout: float, advice: Advice) -> None:
        self.client = _client(token, url, timeout)
        self.client.session.hooks["response"].append(self._judged)
        self._advice = advice

    def close(self) -> None:
        self.client.session.close()

    def translated(self) -> AbstractContextManager[None]:
        """What keeps GitLab from answering, or its answers from being read, as ours."""
        from gitlab.exceptions import GitlabError

        return translated(_FORGE, self._advice, GitlabError)

    def ask(
        self,
        verb: str,
        path: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> tuple[Any, Mapping[str, str]]:
        """One request, within `translated`: the answer and its headers, whose names may be in any letters.

        The answer to what has `parameters` is a list, any other an object.
        """
        response = self.client.http_request(
            verb.lower(), path, query_data=dict(parameters or {}), post_data=dict(body) if body else None
        )
        # Not the response's own reading of it: what that raises is an OSError, too.
        answer = json.loads(response.content)
        if not isinstance(answer, dict if parameters is None else list):
            raise ValueError("the answer is of another kind than was asked for")  # noqa: TRY004  (the forge's)
        return answer, response.headers

    def _judged(self, response: Any, *_: Any, **__: Any) -> None:
        try:
            judge(_FORGE, response.status_code, response.headers, _said(response), self._advice)
        except ForgeError:
            # Nobody else will: its body, of a redirect say, would keep the connection.
            response.close()
            raise


class GitlabTracker:
    """The issues of one project. Needs a token with the scope `api` and the right to set labels."""

    def __init__(self, settings: GitlabIssuesSettings, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self._api = GitlabApi(
            checked_token(settings.token, "notify.gitlab"), settings.url, timeout=timeout, advice=ADVICE
        )
        # Lazy: the project itself is not asked for. The library quotes its path.
        self._issues = self._api.client.projects.get(settings.project, lazy=True).issues

    def open(self, title: str, body: str, labels: Sequence[str]) -> str:
        """Opens an issue and returns its number within the project."""
        asked = {"title": title, "description": body} | _labelled(labels)
        with self._api.translated():
            return str(number_of(self._issues.create(asked).attributes, "iid"))

    def edit(self, reference: str, title: str, body: str, *, closed: bool | None) -> None:
        """Replaces title and body; closes or re-opens, or with None leaves that as it is."""
        state = {} if closed is None else {"state_event": "close" if closed else "reopen"}
        with self._api.translated():
            number_of(self._issues.update(reference, {"title": title, "description": body} | state), "iid")

    def comment(self, reference: str, body: str) -> None:
        with self._api.translated():
            self._issues.get(reference, lazy=True).notes.create({"body": body})

    def count_open(self, labels: Sequence[str], at_most: int) -> int:
        """How many issues with all these labels are open; counts no further than `at_most`."""
        with self._api.translated():
            listed = self._issues.list(state="opened", per_page=1, iterator=True, **_labelled(labels))
            if listed.total is not None:
                return min(listed.total, at_most)
            # Of more than 10,000, GitLab does not say how many.
            return 0 if next(iter(listed), None) is None else at_most

    def find(self, mark: str, labels: Sequence[str]) -> str | None:
        """The issue, open or closed, whose body begins with `mark`, among the newest with these labels."""
        for page in range(1, PAGES_LOOKED_THROUGH + 1):
            with self._api.translated():
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
                        return str(number_of(issue.attributes, "iid"))
            if len(listed) < PAGE:
                return None
        return None


def listed(
    api: GitlabApi, path: str, parameters: Mapping[str, Any], *, pages: int
) -> Iterator[Sequence[Mapping[str, Any]]]:
    """The first pages of a list."""
    page = "1"
    for _ in range(pages):
        with api.translated():
            answer, headers = api.ask("GET", path, parameters={**parameters, "per_page": PAGE, "page": page})
            page = headers.get("X-Next-Page", "")
        yield answer
        if not page.isdecimal():
            return


def _client(token: str, url: str | None, timeout: float) -> Gitlab:
    try:
        import gitlab
    except ImportError as error:
        raise package_missing("gitlab") from error
    return gitlab.Gitlab(
        url=url, private_token=token, timeout=timeout, user_agent=USER_AGENT, keep_base_url=True
    )


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
