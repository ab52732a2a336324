"""GitHub's API through PyGithub, and the issues of one repository.

Requests go through PyGithub's requester and not its objects: those take a redirect, or half an answer, for an
issue without a number. Its pauses between requests and its retries are off, and each response is judged as it
comes in, before PyGithub waits for one that is not ready or follows where it leads.
"""

from __future__ import annotations

import json
import re
import threading
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

from driftwatch.errors import ForgeError, ForgeUnavailableError
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

    from github.Requester import HTTPRequestsConnectionClass, HTTPSRequestsConnectionClass, Requester

    from driftwatch.config.notify import GithubIssuesSettings

_FORGE = "GitHub"
_ACCEPT = {"Accept": "application/vnd.github+json"}
_LINK = re.compile(r'<([^<>]*)>[^,<>]*;\s*rel="(\w+)"')


class GithubApi:
    """Asks GitHub one thing at a time, once each. Any thread may.

    `follows_renames` where a repository that has another name by now is used all the same. PyGithub drops
    the query on the way there: only for who can do without.
    """

    def __init__(
        self, token: str, api_url: str | None, *, timeout: int, advice: Advice, follows_renames: bool
    ) -> None:
        self.requester = _requester(token, api_url, timeout)
        self._advice = advice
        self._follows_renames = follows_renames
        self._connection = _connection(self.requester, timeout)
        self._connection.session.hooks["response"].append(self._judged)
        # A connection holds one request from its making to its answer.
        self._lock = threading.Lock()

    def close(self) -> None:
        self.requester.close()
        self._connection.close()

    def translated(self) -> AbstractContextManager[None]:
        """What keeps GitHub from answering, or its answers from being read, as ours."""
        return translated(_FORGE, self._advice)

    def ask(
        self,
        verb: str,
        path: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> tuple[Any, Mapping[str, str]]:
        """One request, within `translated`: the answer and its headers, their names in small letters.

        The answer to GET without `parameters` is an object, with them a list.
        """
        with self._lock:
            status, headers, text = self.requester.requestJson(
                verb, path, dict(parameters or {}), dict(_ACCEPT), body, cnx=self._connection
            )
        judge(_FORGE, status, headers, _said(text), self._advice)
        answer = json.loads(text)
        if not isinstance(answer, dict if parameters is None else list):
            raise ValueError("the answer is of another kind than was asked for")  # noqa: TRY004  (the forge's)
        return answer, headers

    def _judged(self, response: Any, *_: Any, **__: Any) -> None:
        status = response.status_code
        if status == HTTPStatus.MOVED_PERMANENTLY and self._follows_renames:
            return
        try:
            if status == HTTPStatus.ACCEPTED:
                raise ForgeUnavailableError(f"{_FORGE} has no answer yet", status=status)
            said = "" if response.ok else _said(response.text)
            judge(_FORGE, status, response.headers, said, self._advice)
        except ForgeError:
            # Nobody else will: its body, of a redirect say, would keep the connection.
            response.close()
            raise


class GithubTracker:
    """The issues of one repository. Needs a token that may read and write issues and set their labels.

    GitHub drops the labels of a token that may not set them without a word.
    """

    def __init__(self, settings: GithubIssuesSettings, *, timeout: int = TIMEOUT_SECONDS) -> None:
        self._root = f"/repos/{quote(settings.repository)}/issues"
        self._api = GithubApi(
            checked_token(settings.token, "notify.github"),
            settings.api_url,
            timeout=timeout,
            advice=ADVICE,
            follows_renames=True,
        )

    def open(self, title: str, body: str, labels: Sequence[str]) -> str:
        """Opens an issue and returns its number."""
        asked = {"title": title, "body": body, "labels": list(labels)}
        with self._api.translated():
            return str(number_of(self._api.ask("POST", self._root, body=asked)[0], "number"))

    def edit(self, reference: str, title: str, body: str, *, closed: bool | None) -> None:
        """Replaces title and body; closes or re-opens, or with None leaves that as it is."""
        state = {} if closed is None else {"state": "closed" if closed else "open"}
        with self._api.translated():
            answer, _ = self._api.ask(
                "PATCH", self._path(reference), body={"title": title, "body": body} | state
            )
            number_of(answer, "number")

    def comment(self, reference: str, body: str) -> None:
        with self._api.translated():
            self._api.ask("POST", f"{self._path(reference)}/comments", body={"body": body})

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
                with self._api.translated():
                    return str(number_of(issue, "number"))
        return None

    def _listed(self, labels: Sequence[str], state: str, *, pages: int) -> Iterator[Mapping[str, Any]]:
        """Issues, the newest first."""
        asked: dict[str, Any] = {"state": state, "sort": "created", "direction": "desc", "per_page": PAGE}
        asked |= {"labels": ",".join(labels)} if labels else {}
        for page in listed(self._api, self._root, asked, pages=pages):
            with self._api.translated():
                issues = without_pull_requests(page)
            yield from issues

    def _path(self, reference: str) -> str:
        return f"{self._root}/{quote(reference, safe='')}"


def listed(
    api: GithubApi, path: str, parameters: Mapping[str, Any], *, pages: int
) -> Iterator[Sequence[Mapping[str, Any]]]:
    """The first pages of a list."""
    asked: Mapping[str, Any] = parameters
    for _ in range(pages):
        with api.translated():
            answer, headers = api.ask("GET", path, parameters=asked)
            following = links(headers).get("next")
        yield answer
        if following is None:
            return
        asked = following


def links(headers: Mapping[str, str]) -> Mapping[str, Mapping[str, str]]:
    """What a list's links to its other pages ask for: only that is taken from them, never where to."""
    return {
        name: dict(parse_qsl(urlsplit(address).query))
        for address, name in _LINK.findall(headers.get("link", ""))
    }


def without_pull_requests(issues: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """GitHub lists pull requests among the issues."""
    return [issue for issue in issues if "pull_request" not in issue]


def _requester(token: str, api_url: str | None, timeout: int) -> Requester:
    try:
        from github import Auth, Consts, Github
    except ImportError as error:
        raise package_missing("github") from error
    return Github(
        auth=Auth.Token(token),
        base_url=api_url or Consts.DEFAULT_BASE_URL,
        timeout=timeout,
        user_agent=USER_AGENT,
        retry=None,
        seconds_between_requests=None,
        seconds_between_writes=None,
    ).requester


def _connection(
    requester: Requester, timeout: int
) -> HTTPRequestsConnectionClass | HTTPSRequestsConnectionClass:
    from github.Requester import HTTPRequestsConnectionClass, HTTPSRequestsConnectionClass

    base = urlsplit(requester.base_url)
    kind = HTTPSRequestsConnectionClass if base.scheme == "https" else HTTPRequestsConnectionClass
    return kind(base.hostname or "", base.port, timeout=timeout)


def _said(text: str) -> str:
    """GitHub's own words for a refusal, where it gave any: a sentence, and one for each fault."""
    try:
        answer = json.loads(text)
    except ValueError:
        return ""
    if not isinstance(answer, dict):
        return ""
    errors = answer.get("errors")
    details = (
        [str(each["message"]) for each in errors if isinstance(each, dict) and each.get("message")]
        if isinstance(errors, list)
        else []
    )
    return ": ".join([str(answer.get("message", "")), *details])
