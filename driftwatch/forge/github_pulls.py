"""Pull requests, comments, commit statuses and reports of one repository on GitHub."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from driftwatch import log
from driftwatch.errors import ForgeError, ForgeRefusedError
from driftwatch.forge.answers import PAGE, TIMEOUT_SECONDS, checked_token, number_of
from driftwatch.forge.github import GithubApi, links, listed, without_pull_requests
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
    latest,
    marked,
    one_line,
    shown,
    text_of,
)
from driftwatch.model import PullRequest, Remark

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from driftwatch.config.gitops import ForgeSettings
    from driftwatch.model import CommitStatus

_FORGE = "GitHub"
_LONGEST_TEXT = 65_536
_LONGEST_DESCRIPTION = 140
_WHO = "query { viewer { databaseId } }"
_EDITS = "query($ids: [ID!]!) { nodes(ids: $ids) { ... on IssueComment { lastEditedAt } } }"
_COMMAND = "/driftwatch"
_KNOWN = 1000
"""Comments of which it is kept in memory that they are as their authors wrote them."""

logger = log.get("forge")


class GithubPulls:
    """One repository, whose other names it does not follow.

    Needs a token that may read and write pull requests, issues and commit statuses. It asks once whose token
    that is: a comment counts as driftwatch's own by the number of its author's account, as anybody can write
    one that begins like it. The token of an App's installation has no account to ask for. GitHub's other API
    tells the App's; where that is refused, too, what any Bot wrote counts, for which no person can pass.

    The times of comments are whole seconds, in one of which a program can edit what somebody just wrote. So
    that other API is asked, too, whether what may be a command was ever edited; where it does not say, it
    counts as edited.
    """

    def __init__(self, settings: ForgeSettings, *, timeout: int = TIMEOUT_SECONDS) -> None:
        self._root = f"/repos/{quote(settings.project)}"
        self._owner = settings.project.partition("/")[0]
        self._api = GithubApi(
            checked_token(settings.token, KEY),
            settings.api_url,
            timeout=timeout,
            advice=ADVICE,
            follows_renames=False,
        )
        self._asked_who = False
        self._account: int | None = None
        self._unedited: dict[tuple[int, str], None] = {}
        self._told_of_edits = True

    def close(self) -> None:
        self._api.close()

    def pull_request(self, number: int) -> PullRequest | None:
        """None where there is none of that number."""
        with self._api.translated():
            try:
                answer, _ = self._api.ask("GET", f"{self._root}/pulls/{number:d}")
            except ForgeRefusedError as refusal:
                if refusal.status != HTTPStatus.NOT_FOUND:
                    raise
                # So it also answers where the repository may not be seen: then that is what is wrong.
                self._api.ask("GET", self._root)
                return None
            return _pull_request(answer)

    def open_pull_requests(self) -> list[PullRequest]:
        """Those that are open, the most recently updated first, up to 300."""
        asked = {"state": "open", "sort": "updated", "direction": "desc", "per_page": PAGE}
        found: list[PullRequest] = []
        for page in listed(self._api, f"{self._root}/pulls", asked, pages=PAGES_OF_PULL_REQUESTS):
            with self._api.translated():
                found += [_pull_request(answer) for answer in page]
        return [each for each in found if each.is_open]

    def remarks(self, number: int) -> list[Remark]:
        """The comments, the oldest first; of more than a few hundred, the latest and driftwatch's own."""
        found: list[Remark] = []
        names: dict[int, str] = {}
        for page in self._pages(number):
            with self._api.translated():
                found += [self._remark(comment) for comment in page]
                names |= {number_of(each, "id"): str(each.get("node_id") or "") for each in page}
        return self._with_edits(latest(found), names)

    def say(self, number: int, mark: str, body: str) -> None:
        """Writes driftwatch's one comment: the one of its own that begins with `mark`, or a new one."""
        text = fitted(marked(mark, body), _LONGEST_TEXT, _FORGE)
        path = f"{self._root}/issues/{number:d}/comments"
        for page in listed(self._api, path, {"per_page": PAGE}, pages=PAGES_TO_OUR_COMMENT):
            with self._api.translated():
                for comment in page:
                    known = self._remark(comment)
                    if known.own and known.body.startswith(mark):
                        if known.body != text:
                            own = f"{self._root}/issues/comments/{known.id:d}"
                            self._api.ask("PATCH", own, body={"body": text})
                        return
        with self._api.translated():
            self._api.ask("POST", path, body={"body": text})

    def set_status(self, commit: str, status: CommitStatus) -> None:
        """Sets one status of a commit."""
        asked = {
            "state": status.state.value,
            "context": status.context,
            "description": one_line(status.description, _LONGEST_DESCRIPTION),
        }
        asked |= {"target_url": status.url} if status.url else {}
        with self._api.translated():
            self._api.ask("POST", f"{self._root}/statuses/{quote(commit, safe='')}", body=asked)

    def offer(self, *, branch: str, base: str, title: str, body: str) -> str:
        """Opens a pull request of a branch and returns its URL; that of the one that is open already."""
        asked = {
            "title": one_line(title, LONGEST_TITLE),
            "body": fitted(body, _LONGEST_TEXT, _FORGE),
            "head": branch,
            "base": base,
        }
        with self._api.translated():
            try:
                return address_of(self._api.ask("POST", f"{self._root}/pulls", body=asked)[0], "html_url")
            except ForgeError as error:
                if error.status != HTTPStatus.UNPROCESSABLE_ENTITY:
                    raise
                known = self._offered(branch, base)
                if known is None:
                    raise
                return known

    def report(self, *, mark: str, title: str, body: str) -> str:
        """Opens an issue, or updates the open one of driftwatch's whose body begins with `mark`."""
        asked = {
            "title": one_line(title, LONGEST_TITLE),
            "body": fitted(marked(mark, body), _LONGEST_TEXT, _FORGE),
        }
        path = f"{self._root}/issues"
        known = self._reported(mark)
        with self._api.translated():
            if known is None:
                answer, _ = self._api.ask("POST", path, body=asked)
            else:
                answer, _ = self._api.ask("PATCH", f"{path}/{known:d}", body=asked)
            return address_of(answer, "html_url")

    def _offered(self, branch: str, base: str) -> str | None:
        asked = {"state": "open", "head": f"{self._owner}:{branch}", "base": base, "per_page": PAGE}
        answer, _ = self._api.ask("GET", f"{self._root}/pulls", parameters=asked)
        for each in answer:
            # A filter that GitHub does not understand, it passes over.
            fits = each["head"]["ref"] == branch and each["base"]["ref"] == base
            if fits and not _is_from_fork(each):
                return address_of(each, "html_url")
        return None

    def _reported(self, mark: str) -> int | None:
        asked = {"state": "open", "sort": "created", "direction": "desc", "per_page": PAGE}
        for page in listed(self._api, f"{self._root}/issues", asked, pages=PAGES_OF_ISSUES):
            with self._api.translated():
                for issue in without_pull_requests(page):
                    if str(issue.get("body") or "").startswith(mark) and self._is_own(issue):
                        return number_of(issue, "number")
        return None

    def _pages(self, number: int) -> Iterator[Sequence[Mapping[str, Any]]]:
        """The pages of comments where driftwatch's own may be, and the latest; the oldest first."""
        path = f"{self._root}/issues/{number:d}/comments"
        with self._api.translated():
            first, headers = self._api.ask("GET", path, parameters={"per_page": PAGE})
            following = links(headers)
            last = int(following.get("last", following.get("next", {})).get("page", "1"))
        yield first
        first_pages = range(2, min(last, PAGES_TO_OUR_COMMENT) + 1)
        latest_pages = range(max(2, last - PAGES_OF_REMARKS + 1), last + 1)
        for page in sorted({*first_pages, *latest_pages}):
            with self._api.translated():
                answer, _ = self._api.ask("GET", path, parameters={"per_page": PAGE, "page": page})
            yield answer

    def _with_edits(self, remarks: Sequence[Remark], names: Mapping[int, str]) -> list[Remark]:
        """What may be a command counts as edited, unless it surely is as its author wrote it."""
        asked = [
            each
            for each in remarks
            if each.body.startswith(_COMMAND)
            and not (each.own or each.edited or (each.id, each.body) in self._unedited)
        ]
        for place in range(0, len(asked), PAGE):
            some = asked[place : place + PAGE]
            for remark, is_as_written in zip(
                some, self._as_written([names[each.id] for each in some]), strict=True
            ):
                if is_as_written:
                    self._unedited[remark.id, remark.body] = None
        doubtful = {each.id for each in asked if (each.id, each.body) not in self._unedited}
        while len(self._unedited) > _KNOWN:
            del self._unedited[next(iter(self._unedited))]
        return [replace(each, edited=True) if each.id in doubtful else each for each in remarks]

    def _as_written(self, names: Sequence[str]) -> list[bool]:
        """Of each comment, given by its name in the other API, whether it was surely never edited."""
        url = self._api.requester.graphql_url
        nodes: Sequence[Mapping[str, Any] | None] = ()
        with self._api.translated():
            try:
                answer, _ = self._api.ask("POST", url, body={"query": _EDITS, "variables": {"ids": [*names]}})
                nodes = (answer.get("data") or {}).get("nodes") or ()
            except ForgeRefusedError as refusal:
                logger.debug(f"GitHub does not tell of edits: {refusal.message}")
            if len(nodes) == len(names):
                self._told_of_edits = True
                return [each is not None and each.get("lastEditedAt", "") is None for each in nodes]
        if self._told_of_edits:  # said when it begins, and not at each look
            self._told_of_edits = False
            logger.warning("GitHub does not tell whether comments were edited: none counts as a command.")
        return [False] * len(names)

    def _remark(self, comment: Mapping[str, Any]) -> Remark:
        return Remark(
            id=number_of(comment, "id"),
            author=_login(comment),
            body=encodable(str(comment.get("body") or "")),
            own=self._is_own(comment),
            edited=comment.get("updated_at") != comment.get("created_at"),
        )

    def _is_own(self, written: Mapping[str, Any]) -> bool:
        """Whether a comment or issue is driftwatch's."""
        author = written.get("user")
        if not author:
            return False
        account = self._whose_token()
        if account is None:
            return bool(author["type"] == "Bot")
        return number_of(author, "id") == account

    def _whose_token(self) -> int | None:
        """The account that the token writes as; None where GitHub tells that to nobody."""
        if not self._asked_who:
            self._account = self._ask_who()
            self._asked_who = True
        return self._account

    def _ask_who(self) -> int | None:
        try:
            return number_of(self._api.ask("GET", "/user")[0], "id")
        except ForgeRefusedError as refusal:
            if refusal.status != HTTPStatus.FORBIDDEN:
                raise
        try:
            answer, _ = self._api.ask("POST", self._api.requester.graphql_url, body={"query": _WHO})
        except ForgeRefusedError:
            return None
        viewer = (answer.get("data") or {}).get("viewer")
        return number_of(viewer, "databaseId") if viewer else None


def _pull_request(answer: Mapping[str, Any]) -> PullRequest:
    return PullRequest(
        number=number_of(answer, "number"),
        title=shown(text_of(answer, "title"))[:LONGEST_TITLE],
        author=_login(answer),
        head=commit_of(answer["head"], "sha"),
        base=text_of(answer["base"], "ref"),
        from_fork=_is_from_fork(answer),
        is_open=text_of(answer, "state") == "open",
        url=address_of(answer, "html_url"),
    )


def _is_from_fork(answer: Mapping[str, Any]) -> bool:
    """True where its branch is another repository's, and where that is gone."""
    there, here = answer["head"].get("repo"), answer["base"].get("repo")
    if not there or not here:
        return True
    return number_of(there, "id") != number_of(here, "id")


def _login(answer: Mapping[str, Any]) -> str:
    author = answer.get("user")
    return shown(text_of(author, "login")) if author else GHOST
