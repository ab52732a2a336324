"""Two forges on loopback that play the documented parts of GitHub's and GitLab's REST APIs, and can fail.

GitHub: https://docs.github.com/rest/issues; GitLab: https://docs.gitlab.com/api/issues and /api/notes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from driftwatch.config.gitops import ForgeSettings
from driftwatch.config.notify import GithubIssuesSettings, GitlabIssuesSettings
from driftwatch.forge.github import GithubTracker
from driftwatch.forge.github_pulls import GithubPulls
from driftwatch.forge.gitlab import GitlabTracker
from driftwatch.forge.gitlab_pulls import GitlabPulls
from tests.forge.played import TOKEN, Call, Loopback, PlayedForge, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@dataclass(kw_only=True)
class Issue:
    """An issue, in words of neither forge."""

    title: str
    body: str
    labels: list[str]
    open: bool = True
    deleted: bool = False
    pull_request: bool = False
    comments: list[str] = field(default_factory=list)


class Forge(Loopback):
    """A loopback server with issues; answers as scripted, else as the forge does."""

    root: str
    also: str
    """Another path of the same issues, to which the forge may redirect."""
    verb_of_edit: str

    def __init__(self) -> None:
        self.issues: dict[int, Issue] = {}
        super().__init__()

    def asked(self) -> list[str]:
        """What was asked for, without where."""
        return [f"{call.verb} {call.path.removeprefix(self.root)}".strip() for call in self.calls]

    def add(self, count: int = 1, **other: Any) -> None:
        for _ in range(count):
            given: dict[str, Any] = {"title": "Another", "body": "By a person.", "labels": ["drift"]}
            self.issues[len(self.issues) + 1] = Issue(**given | other)

    def answer(self, call: Call) -> Reply:
        path = call.path.replace(self.also, self.root).removeprefix(self.root)
        if not self.knows(call.headers):
            return self.no(401, "Bad credentials")
        if path.startswith("/api"):
            return self.no(404, "Not Found")
        if path == "":
            return self.opened(call.body) if call.verb == "POST" else self.listed(call.query)
        number, _, rest = path.removeprefix("/").partition("/")
        issue = self.issues.get(int(number))
        if issue is None or issue.deleted:
            return self.gone(issue)
        if rest:
            issue.comments.append(call.body["body"])
            return Reply(status=201, body={"id": 7000 + len(issue.comments), "body": call.body["body"]})
        assert call.verb == self.verb_of_edit
        self.change(issue, call.body)
        return Reply(body=self.shown(int(number)))

    def opened(self, asked: Mapping[str, Any]) -> Reply:
        number = len(self.issues) + 1
        self.issues[number] = Issue(
            title=asked["title"], body=self.body_in(asked), labels=self.labels_in(asked)
        )
        return Reply(
            status=201, body=self.shown(number), headers={"Location": f"{self.url}/somewhere/{number}"}
        )

    def listed(self, query: Mapping[str, str]) -> Reply:
        wanted = {label for label in query.get("labels", "").split(",") if label}
        found = [
            number
            for number, issue in sorted(self.issues.items(), reverse=True)
            if not issue.deleted and wanted <= set(issue.labels) and self.is_in(issue, query["state"])
        ]
        page, size = int(query.get("page", 1)), int(query.get("per_page", 20))
        part = found[(page - 1) * size : page * size]
        headers = self.headers_of(query, len(found), more=page * size < len(found))
        return Reply(body=[self.shown(number) for number in part], headers=headers)

    # What differs between the two.

    def knows(self, headers: Mapping[str, str]) -> bool:
        raise NotImplementedError

    def no(self, status: int, said: str) -> Reply:
        raise NotImplementedError

    def gone(self, issue: Issue | None) -> Reply:
        raise NotImplementedError

    def change(self, issue: Issue, asked: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def shown(self, number: int) -> dict[str, Any]:
        raise NotImplementedError

    def body_in(self, asked: Mapping[str, Any]) -> str:
        raise NotImplementedError

    def labels_in(self, asked: Mapping[str, Any]) -> list[str]:
        raise NotImplementedError

    def is_in(self, issue: Issue, state: str) -> bool:
        raise NotImplementedError

    def headers_of(self, query: Mapping[str, str], total: int, *, more: bool) -> dict[str, str]:
        raise NotImplementedError

    def tracker(self, *, token: str = TOKEN, timeout: int = 5) -> Any:
        raise NotImplementedError


class Github(Forge):
    root = "/api/v3/repos/acme/infra/issues"
    also = "/api/v3/repositories/1/issues"
    verb_of_edit = "PATCH"

    def knows(self, headers: Mapping[str, str]) -> bool:
        return headers["Authorization"] == f"token {TOKEN}"

    def no(self, status: int, said: str) -> Reply:
        return Reply(status=status, body={"message": said, "documentation_url": "https://docs.example.com"})

    def gone(self, issue: Issue | None) -> Reply:
        return self.no(410, "This issue was deleted") if issue else self.no(404, "Not Found")

    def change(self, issue: Issue, asked: Mapping[str, Any]) -> None:
        issue.title, issue.body = asked["title"], asked["body"]
        issue.open = asked.get("state", "open" if issue.open else "closed") == "open"

    def shown(self, number: int) -> dict[str, Any]:
        issue = self.issues[number]
        state = "open" if issue.open else "closed"
        shown = {"number": number, "title": issue.title, "body": issue.body, "state": state}
        return shown | ({"pull_request": {"url": "…"}} if issue.pull_request else {})

    def body_in(self, asked: Mapping[str, Any]) -> str:
        return str(asked["body"])

    def labels_in(self, asked: Mapping[str, Any]) -> list[str]:
        return list(asked["labels"])

    def is_in(self, issue: Issue, state: str) -> bool:
        return state == "all" or (state == "open") == issue.open

    def headers_of(self, query: Mapping[str, str], total: int, *, more: bool) -> dict[str, str]:  # noqa: ARG002  (GitHub does not tell)
        page = int(query.get("page", 1))
        kept = "&".join(f"{key}={value}" for key, value in query.items() if key != "page")
        # Another address, as behind a gateway: a client that follows it as it is goes astray.
        there = f"http://127.0.0.1:9/repositories/1/issues?{kept}&after=abc%3D&page={page + 1}"
        return {"Link": f'<{there}>; rel="next", <{there}>; rel="last"'} if more else {}

    def tracker(self, *, token: str = TOKEN, timeout: int = 5) -> GithubTracker:
        settings = GithubIssuesSettings(
            name="infra", repository="acme/infra", token=SecretStr(token), api_url=f"{self.url}/api/v3"
        )
        tracker = GithubTracker(settings, timeout=timeout)
        self.clients.append(tracker._api)
        return tracker


class Gitlab(Forge):
    root = "/api/v4/projects/acme%2Fplatform%2Finfra/issues"
    also = "/api/v4/projects/1/issues"
    verb_of_edit = "PUT"
    says_total = True

    def knows(self, headers: Mapping[str, str]) -> bool:
        return headers["PRIVATE-TOKEN"] == TOKEN

    def no(self, status: int, said: str) -> Reply:
        return Reply(status=status, body={"message": f"{status} {said}"})

    def gone(self, issue: Issue | None) -> Reply:  # noqa: ARG002  (GitLab does not tell which)
        return self.no(404, "Issue Not Found")

    def change(self, issue: Issue, asked: Mapping[str, Any]) -> None:
        issue.title, issue.body = asked["title"], asked["description"]
        issue.open = {"close": False, "reopen": True}.get(asked.get("state_event", ""), issue.open)

    def shown(self, number: int) -> dict[str, Any]:
        issue = self.issues[number]
        state = "opened" if issue.open else "closed"
        return {
            "id": 9000 + number,
            "iid": number,
            "title": issue.title,
            "description": issue.body,
            "state": state,
        }

    def body_in(self, asked: Mapping[str, Any]) -> str:
        return str(asked["description"])

    def labels_in(self, asked: Mapping[str, Any]) -> list[str]:
        return [label for label in asked.get("labels", "").split(",") if label]

    def is_in(self, issue: Issue, state: str) -> bool:
        return state == "all" or (state == "opened") == issue.open

    def headers_of(self, query: Mapping[str, str], total: int, *, more: bool) -> dict[str, str]:
        page = int(query.get("page", 1))
        there = f"http://elsewhere.example.com/api/v4/projects/1/issues?page={page + 1}"
        link = {"Link": f'<{there}>; rel="next"'} if more else {}
        return link | ({"X-Total": str(total)} if self.says_total else {})

    def tracker(self, *, token: str = TOKEN, timeout: int = 5) -> GitlabTracker:
        settings = GitlabIssuesSettings(
            name="infra", project="acme/platform/infra", token=SecretStr(token), url=self.url
        )
        tracker = GitlabTracker(settings, timeout=timeout)
        self.clients.append(tracker._api)
        return tracker


@pytest.fixture(scope="session")
def a_reply() -> type[Reply]:
    return Reply


@pytest.fixture(scope="session")
def token() -> str:
    return TOKEN


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both libraries honour the environment's proxies; what is asked here stays on this machine."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture
def github() -> Iterator[Github]:
    forge = Github()
    yield forge
    forge.close()


@pytest.fixture
def gitlab() -> Iterator[Gitlab]:
    forge = Gitlab()
    yield forge
    forge.close()


@pytest.fixture(params=["github", "gitlab"])
def forge(request: pytest.FixtureRequest) -> Forge:
    """Each of the two in turn: what a test says of it holds for both."""
    found: Forge = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["github", "gitlab"])
def played(request: pytest.FixtureRequest) -> Iterator[PlayedForge]:
    """A repository with pull requests, on each of the two in turn."""
    forge = PlayedForge(request.param)
    yield forge
    forge.close()


@pytest.fixture
def on_github() -> Iterator[PlayedForge]:
    forge = PlayedForge("github")
    yield forge
    forge.close()


@pytest.fixture
def on_gitlab() -> Iterator[PlayedForge]:
    forge = PlayedForge("gitlab", project="acme/platform/infra")
    yield forge
    forge.close()


@pytest.fixture
def client() -> Callable[..., GithubPulls | GitlabPulls]:
    """Makes what asks a played forge, as it is configured."""

    def made(forge: PlayedForge, *, token: str = TOKEN, timeout: int = 5) -> GithubPulls | GitlabPulls:
        settings = ForgeSettings(
            kind=forge.kind, project=forge.project, token=SecretStr(token), api_url=forge.api_url
        )
        asks = (
            GithubPulls(settings, timeout=timeout)
            if settings.kind == "github"
            else GitlabPulls(settings, timeout=timeout)
        )
        forge.clients.append(asks)
        return asks

    return made
