"""Merge requests, comments, commit statuses and reports of one project on GitLab."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from driftwatch.errors import ForgeError, ForgeRefusedError
from driftwatch.forge.answers import PAGE, TIMEOUT_SECONDS, checked_token, number_of
from driftwatch.forge.gitlab import GitlabApi, listed
from driftwatch.forge.pulls import (
    ADVICE,
    GHOST,
    KEY,
    LONGEST_TITLE,
    PAGES_OF_ISSUES,
    PAGES_OF_PULL_REQUESTS,
    PAGES_OF_REMARKS,
    PAGES_TO_OUR_COMMENT,
    address_of,
    commit_of,
    encodable,
    fitted,
    is_kept,
    latest,
    marked,
    one_line,
    shown,
    text_of,
)
from driftwatch.log import redact
from driftwatch.model import CommitState, PullRequest, Remark

if TYPE_CHECKING:
    from collections.abc import Mapping

    from driftwatch.config.gitops import ForgeSettings
    from driftwatch.model import CommitStatus

_FORGE = "GitLab"
_LONGEST_TEXT = 1_000_000
_LONGEST_DESCRIPTION = 255
_COMMAND = re.compile(r"^/(?!driftwatch (?:plan|approve) [0-9a-f]+$)", re.MULTILINE)
"""A line that GitLab may carry out; what is to be copied and said to driftwatch is no command of GitLab's."""

_STATES = {
    CommitState.PENDING: "pending",
    CommitState.SUCCESS: "success",
    CommitState.FAILURE: "failed",
    CommitState.ERROR: "failed",
}
_UNDER_WAY = ("pending", "running")


class GitlabPulls:
    """One project. Needs a token with the scope `api`, and the role Developer at least.

    A comment counts as driftwatch's own by the number of its author's account, as anybody can write one that
    begins like it.
    """

    def __init__(self, settings: ForgeSettings, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self._root = f"/projects/{quote(settings.project, safe='')}"
        # Where it ends as the API's address does, it is meant as one; the library puts that end there itself.
        url = settings.api_url.rstrip("/").removesuffix("/api/v4") if settings.api_url else None
        self._api = GitlabApi(checked_token(settings.token, KEY), url, timeout=timeout, advice=ADVICE)
        self._account: int | None = None

    def close(self) -> None:
        self._api.close()

    def pull_request(self, number: int) -> PullRequest | None:
        """None where there is none of that number, or nothing in it yet."""
        with self._api.translated():
            try:
                answer, _ = self._api.ask("GET", f"{self._root}/merge_requests/{number:d}")
            except ForgeRefusedError as refusal:
                if refusal.status != HTTPStatus.NOT_FOUND:
                    raise
                # So it also answers where the project may not be seen: then that is what is wrong.
                self._api.ask("GET", self._root)
                return None
            return _pull_request(answer) if answer["sha"] else None

    def open_pull_requests(self) -> list[PullRequest]:
        """Those that are open, the most recently updated first, up to 300."""
        asked = {"state": "opened", "order_by": "updated_at", "sort": "desc"}
        found: list[PullRequest] = []
        for page in listed(self._api, f"{self._root}/merge_requests", asked, pages=PAGES_OF_PULL_REQUESTS):
            with self._api.translated():
                # One that was made before its branch has commits has no head.
                found += [_pull_request(answer) for answer in page if answer["sha"]]
        return [each for each in found if each.is_open]

    def remarks(self, number: int) -> list[Remark]:
        """The comments, the oldest first; of more than a few hundred, the latest and driftwatch's own."""
        path = f"{self._root}/merge_requests/{number:d}/notes"
        asked = {"order_by": "created_at", "sort": "desc"}
        found: list[Remark] = []
        for number_of_page, page in enumerate(listed(self._api, path, asked, pages=PAGES_TO_OUR_COMMENT)):
            with self._api.translated():
                told = [self._remark(note) for note in page if note.get("system") is not True]
            found += told if number_of_page < PAGES_OF_REMARKS else filter(is_kept, told)
        return latest(found[::-1])

    def say(self, number: int, mark: str, body: str) -> None:
        """Writes driftwatch's one comment: the one of its own that begins with `mark`, or a new one."""
        text = _text(marked(mark, body))
        path = f"{self._root}/merge_requests/{number:d}/notes"
        asked = {"order_by": "created_at", "sort": "asc"}
        for page in listed(self._api, path, asked, pages=PAGES_TO_OUR_COMMENT):
            with self._api.translated():
                for note in page:
                    known = self._remark(note)
                    if known.own and known.body.startswith(mark):
                        if known.body != text:
                            self._api.ask("PUT", f"{path}/{known.id:d}", body={"body": text})
                        return
        with self._api.translated():
            self._api.ask("POST", path, body={"body": text})

    def set_status(self, commit: str, status: CommitStatus) -> None:
        """Sets one status of a commit. One that is pending already stays as it is: GitLab sets none twice.

        A fork's commit has no status here, as GitLab keeps them with the project that has the branch; the
        comment says what there is to say.
        """
        state = _STATES[status.state]
        asked = {
            "state": state,
            "name": status.context,
            "description": one_line(status.description, _LONGEST_DESCRIPTION),
        }
        asked |= {"target_url": status.url} if status.url else {}
        with self._api.translated():
            try:
                self._api.ask("POST", f"{self._root}/statuses/{quote(commit, safe='')}", body=asked)
            except ForgeRefusedError as refusal:
                # "Cannot transition status", in whatever language.
                if refusal.status == HTTPStatus.BAD_REQUEST and state in _UNDER_WAY:
                    done = self._is_under_way(commit, status.context)
                else:
                    # "References for commit Not Found", where the commit itself is.
                    done = refusal.status == HTTPStatus.NOT_FOUND and self._is_on_no_branch(commit)
                if not done:
                    raise

    def offer(self, *, branch: str, base: str, title: str, body: str) -> str:
        """Opens a merge request of a branch and returns its URL; that of the one that is open already."""
        asked = {
            "title": one_line(title, LONGEST_TITLE),
            "description": _text(body),
            "source_branch": branch,
            "target_branch": base,
        }
        path = f"{self._root}/merge_requests"
        with self._api.translated():
            try:
                return address_of(self._api.ask("POST", path, body=asked)[0], "web_url")
            except ForgeError as error:
                if error.status != HTTPStatus.CONFLICT:
                    raise
                known = self._offered(branch, base)
                if known is None:
                    raise
                return known

    def report(self, *, mark: str, title: str, body: str) -> str:
        """Opens an issue, or updates the open one of driftwatch's whose body begins with `mark`."""
        asked = {"title": one_line(title, LONGEST_TITLE), "description": _text(marked(mark, body))}
        path = f"{self._root}/issues"
        known = self._reported(mark)
        with self._api.translated():
            if known is None:
                answer, _ = self._api.ask("POST", path, body=asked)
            else:
                answer, _ = self._api.ask("PUT", f"{path}/{known:d}", body=asked)
            return address_of(answer, "web_url")

    def _is_on_no_branch(self, commit: str) -> bool:
        path = f"{self._root}/repository/commits/{quote(commit, safe='')}/refs"
        return not self._api.ask("GET", path, parameters={"type": "branch", "per_page": 1})[0]

    def _is_under_way(self, commit: str, context: str) -> bool:
        path = f"{self._root}/repository/commits/{quote(commit, safe='')}/statuses"
        answer, _ = self._api.ask("GET", path, parameters={"name": context, "per_page": PAGE})
        return any(each.get("name") == context and each.get("status") in _UNDER_WAY for each in answer)

    def _offered(self, branch: str, base: str) -> str | None:
        asked = {"state": "opened", "source_branch": branch, "target_branch": base, "per_page": PAGE}
        answer, _ = self._api.ask("GET", f"{self._root}/merge_requests", parameters=asked)
        for each in answer:
            fits = (each.get("source_branch"), each.get("target_branch")) == (branch, base)
            if fits and not _is_from_fork(each):
                return address_of(each, "web_url")
        return None

    def _reported(self, mark: str) -> int | None:
        with self._api.translated():
            author = self._whose_token()
        asked = {"state": "opened", "order_by": "created_at", "sort": "desc", "author_id": author}
        for page in listed(self._api, f"{self._root}/issues", asked, pages=PAGES_OF_ISSUES):
            with self._api.translated():
                for issue in page:
                    if str(issue.get("description") or "").startswith(mark) and self._is_own(issue):
                        return number_of(issue, "iid")
        return None

    def _remark(self, note: Mapping[str, Any]) -> Remark:
        return Remark(
            id=number_of(note, "id"),
            author=_login(note),
            body=encodable(str(note.get("body") or "")),
            own=self._is_own(note) and note.get("system") is not True,
            edited=note.get("updated_at") != note.get("created_at"),
        )

    def _is_own(self, written: Mapping[str, Any]) -> bool:
        """Whether a comment or issue is driftwatch's."""
        author = written.get("author")
        return author is not None and number_of(author, "id") == self._whose_token()

    def _whose_token(self) -> int:
        if self._account is None:
            self._account = number_of(self._api.ask("GET", "/user")[0], "id")
        return self._account


def _pull_request(answer: Mapping[str, Any]) -> PullRequest:
    return PullRequest(
        number=number_of(answer, "iid"),
        title=shown(text_of(answer, "title"))[:LONGEST_TITLE],
        author=_login(answer),
        head=commit_of(answer, "sha"),
        base=text_of(answer, "target_branch"),
        from_fork=_is_from_fork(answer),
        is_open=text_of(answer, "state") == "opened",
        url=address_of(answer, "web_url"),
    )


def _is_from_fork(answer: Mapping[str, Any]) -> bool:
    """True where its branch is another project's, and where that is gone."""
    there = answer.get("source_project_id")
    return there is None or there != number_of(answer, "target_project_id")


def _login(answer: Mapping[str, Any]) -> str:
    author = answer.get("author")
    return GHOST if author is None else shown(text_of(author, "username"))


def _text(body: str) -> str:
    """What may be written. A line that begins with a slash, GitLab carries out, with driftwatch's rights."""
    return fitted(_COMMAND.sub("\u200b/", redact(body)), _LONGEST_TEXT, _FORGE)
