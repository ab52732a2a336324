"""Issues of one repository on GitHub, through PyGithub.

Requests go through PyGithub's requester and not its objects: those take a redirect, or half an answer, for an
issue without a number. Its pauses between requests and its retries are off.
"""

from __future__ import annotations

import json
import re
from math import ceil
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

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
    from collections.abc import Iterator, Mapping, Sequence

    from github.Requester import Requester

    from driftwatch.config.notify import GithubIssuesSettings

_FORGE = "GitHub"
_ACCEPT = {"Accept": "application/vnd.github+json"}
_NEXT = re.compile(r'<([^<>]*)>[^,<>]*;\s*rel="next"')


class GithubTracker:
    """The issues of one repository. Needs a token that may read and write issues and set their labels.

    GitHub drops the labels of a token that may not set them without a word.
    """

    def __init__(self, settings: GithubIssuesSettings, *, timeout: int = TIMEOUT_SECONDS) -> None:
        self._root = f"/repos/{quote(settings.repository)}/issues"
        self._requester = _requester(settings, timeout)

    def open(self, title: str, body: str, labels: Sequence[str]) -> str:
        """Opens an issue and returns its number."""
        asked = {"title": title, "body": body, "labels": list(labels)}
        with translated(_FORGE):
            return number_of(self._ask("POST", self._root, body=asked)[0], "number")

    def edit(self, reference: str, title: str, body: str, *, closed: bool | None) -> None:
        """Replaces title and body; closes or re-opens, or with None leaves that as it is."""
        state = {} if closed is None else {"state": "closed" if closed else "open"}
        with translated(_FORGE):
            answer, _ = self._ask("PATCH", self._path(reference), body={"title": title, "body": body} | state)
            number_of(answer, "number")

    def comment(self, reference: str, body: str) -> None:
        with translated(_FORGE):
            self._ask("POST", f"{self._path(reference)}/comments", body={"body": body})

    def count_open(self, labels: Sequence[str], at_most: int) -> int:
        """How many issues with all these labels are open; counts no further than `at_most`."""
        count = 0
        for _ in self._listed(labels, "open", pages=ceil(at_most / PAGE)):
            count += 1
            if count >= at_most:
                break
        return count

    def find(self, mark: str, labels: Sequence[str]) -> str | None:
        """The issue, open or closed, whose body begins with `mark`, among the newest with these labels."""
        for issue in self._listed(labels, "all", pages=PAGES_LOOKED_THROUGH):
            if str(issue.get("body") or "").startswith(mark):
                with translated(_FORGE):
                    return number_of(issue, "number")
        return None

    def _listed(self, labels: Sequence[str], state: str, *, pages: int) -> Iterator[Mapping[str, Any]]:
        """Issues, the newest first. GitHub lists pull requests among them."""
        asked: dict[str, Any] = {"state": state, "sort": "created", "direction": "desc", "per_page": PAGE}
        asked |= {"labels": ",".join(labels)} if labels else {}
        for _ in range(pages):
            with translated(_FORGE):
                answer, headers = self._ask("GET", self._root, parameters=asked)
                issues = [issue for issue in answer if "pull_request" not in issue]
                following = _NEXT.search(headers.get("link", ""))
            yield from issues
            if following is None:
                return
            # Only what it asks for is taken from the link, never where to.
            asked = dict(parse_qsl(urlsplit(following[1]).query))

    def _path(self, reference: str) -> str:
        return f"{self._root}/{quote(reference, safe='')}"

    def _ask(
        self,
        verb: str,
        path: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> tuple[Any, Mapping[str, str]]:
        """One request, within `translated`: the answer and its headers, their names in small letters."""
        status, headers, text = self._requester.requestJson(
            verb, path, dict(parameters or {}), dict(_ACCEPT), body
        )
        judge(_FORGE, status, headers, _said(text))
        answer = json.loads(text)
        if not isinstance(answer, list if verb == "GET" else dict):
            raise ValueError("the answer is of another kind than was asked for")  # noqa: TRY004  (the forge's)
        return answer, headers


def _requester(settings: GithubIssuesSettings, timeout: int) -> Requester:
    token = checked_token(settings.token, "notify.github")
    try:
        from github import Auth, Consts, Github
    except ImportError as error:
        raise package_missing("github") from error
    return Github(
        auth=Auth.Token(token),
        base_url=settings.api_url or Consts.DEFAULT_BASE_URL,
        timeout=timeout,
        user_agent=USER_AGENT,
        retry=None,
        seconds_between_requests=None,
        seconds_between_writes=None,
    ).requester


def _said(text: str) -> str:
    """GitHub's own words for a refusal, where it gave any."""
    try:
        answer = json.loads(text)
    except ValueError:
        return ""
    return str(answer.get("message", "")) if isinstance(answer, dict) else ""
