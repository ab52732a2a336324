"""GitHub or GitLab on loopback: a server that plays their REST APIs from what is documented, and can fail.

For any test: `from tests.forge.played import PlayedForge, PlayedPull` (the folders of tests are no packages,
but the root of the repository is importable). It needs nothing but the standard library.

    forge = PlayedForge("github")
    forge.pulls[7] = PlayedPull("Wider network", "ada", head=commit, base="main")
    forge.add_comment(7, "/driftwatch plan", author="ada")
    …ForgeSettings(kind="github", project=forge.project, token=TOKEN, api_url=forge.api_url)
    assert forge.statuses[commit]["driftwatch/net"].state == "success"
    forge.then(Reply(status=500))  # the next request is answered with that
    forge.always(r"POST .*/statuses/", forge.no(403, "Nothing for you"))  # and these, till told otherwise
    forge.close()

What is written down is in the words of neither forge, but for a status's state, which is as it was sent.

GitHub: https://docs.github.com/rest (pulls, issues, issues/comments, commits/statuses, users). GitLab:
https://docs.gitlab.com/api (merge_requests, notes, issues, commits, users).
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

TOKEN = "canary-token-0123456789-abcdef"
LOGIN = "driftwatch-bot"

# ---- the server ----------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Reply:
    """An answer. `fault`: `reset`, `hang`, `half` (of a body), None; or done all the same: `lost`, `late`."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: str | None = None


@dataclass(kw_only=True)
class Call:
    """A request as the forge got it; `path` is as it was sent, still quoted."""

    verb: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


_DONE = {"lost": "reset", "late": "hang"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # With the usual 5, whoever comes sixth tries again after a second.
    request_queue_size = 64


class Loopback:
    """A server of one thread per request; answers as scripted, else as `answer` says."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.script: deque[Reply] = deque()
        self.standing: list[tuple[re.Pattern[str], Reply]] = []
        self.clients: list[Any] = []
        self.released = threading.Event()
        self.lock = threading.RLock()
        played = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:
                    self.close_connection = True

            def do_GET(self) -> None:
                played.serve(self)

            do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815  (the base class's names)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class's name)
                """Says nothing."""

        self._http = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.004,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.released.set()
        for client in self.clients:
            client.close()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def then(self, *replies: Reply) -> None:
        """The next requests are answered with these, one each, whatever they ask for."""
        self.script.extend(replies)

    def always(self, pattern: str, reply: Reply | None) -> None:
        """From now on, answers so what looks like `VERB /path` of a pattern; None: as usual again."""
        with self.lock:
            self.standing = [each for each in self.standing if each[0].pattern != pattern]
            self.standing += [(re.compile(pattern), reply)] if reply else []

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        call = _call(handler)
        with self.lock:
            self.calls.append(call)
            scripted = self.script.popleft() if self.script else self._standing(call)
            if scripted is None or scripted.fault in _DONE:
                reply = self.answer(call)
                reply.fault = _DONE[scripted.fault] if scripted and scripted.fault else None
            else:
                reply = scripted
        _send(handler, reply, self.released)

    def _standing(self, call: Call) -> Reply | None:
        asked = f"{call.verb} {call.path}"
        return next((reply for pattern, reply in self.standing if pattern.search(asked)), None)

    def answer(self, call: Call) -> Reply:
        raise NotImplementedError


def _call(handler: BaseHTTPRequestHandler) -> Call:
    parts = urlsplit(handler.path)
    content = handler.rfile.read(int(handler.headers.get("Content-Length", "0")))
    query = {key: unquote(values[-1]) for key, values in parse_qs(parts.query).items()}
    body = json.loads(content) if content else None
    return Call(verb=handler.command, path=parts.path, query=query, headers=dict(handler.headers), body=body)


def _send(handler: BaseHTTPRequestHandler, reply: Reply, released: threading.Event) -> None:
    if reply.fault == "hang":
        released.wait(10)
        return
    if reply.fault == "reset":
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()
        raise ConnectionResetError
    content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
    handler.send_response_only(reply.status)
    for name, value in {"Content-Type": "application/json", **reply.headers}.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(content) + (100 if reply.fault == "half" else 0)))
    handler.end_headers()
    handler.wfile.write(content)


# ---- what a forge knows --------------------------------------------------------------------------------


@dataclass
class PlayedPull:
    """A pull request. `head` is a commit, `base` a branch, `branch` that of the head.

    `fork` where the head is another repository's, `gone` where that was deleted since. The larger
    `updated`, the later. Where `author` is None, GitHub shows nobody, as after a deletion.
    """

    title: str
    author: str | None
    head: str | None
    base: str = "main"
    fork: bool = False
    open: bool = True
    merged: bool = False
    gone: bool = False
    branch: str = "change"
    body: str | None = None
    updated: int = 0


@dataclass
class PlayedComment:
    """A comment. `app` is the slug of the GitHub App that wrote it; `system` where GitLab itself did.

    `edited` once somebody has, whoever it was; `at_once` where that was within the second of its making,
    which GitHub's times do not show.
    """

    id: int
    author: str | None
    body: str | None
    app: str | None = None
    system: bool = False
    edited: bool = False
    at_once: bool = False

    @property
    def times(self) -> dict[str, str]:
        return {
            "created_at": "2026-01-02T12:00:00Z",
            "updated_at": "2026-01-02T12:05:00Z" if self.edited else "2026-01-02T12:00:00Z",
        }


class PlayedStatus(NamedTuple):
    """A status as it was set last; `state` in the forge's own words."""

    state: str
    description: str
    url: str | None


@dataclass
class PlayedIssue:
    """An issue."""

    title: str
    body: str | None
    author: str | None = LOGIN
    open: bool = True


class PlayedForge(Loopback):
    """One repository on GitHub or GitLab.

    `login` is the token's own account; on GitHub None plays the token of an App's installation, which is
    nobody there and writes as `<app>[bot]`. `token` is the only one that is taken. `archived` and
    `readable_only` refuse what writes; `visible` false plays a repository that the token may not see.
    `branch_head` tells the commit of a branch that a pull request is opened of, or None where there is no
    such branch; by default every name is one.
    """

    def __init__(self, kind: str, *, project: str = "acme/infra", token: str = TOKEN) -> None:
        self.kind = kind
        self.project = project
        self.token = token
        self.login: str | None = LOGIN
        self.app = "driftwatch"
        self.archived = False
        self.readable_only = False
        self.visible = True
        self.branch_head: Callable[[str], str | None] = _any_branch
        self.pulls: dict[int, PlayedPull] = {}
        self.comments: dict[int, list[PlayedComment]] = {}
        self.statuses: dict[str, dict[str, PlayedStatus]] = {}
        self.issues: dict[int, PlayedIssue] = {}
        self._ids = count(7001)
        super().__init__()

    @property
    def api_url(self) -> str:
        """What a client is configured with."""
        return f"{self.url}/api/v3" if self.kind == "github" else self.url

    @property
    def root(self) -> str:
        """Where what belongs to the repository begins."""
        return (
            f"/api/v3/repos/{self.project}"
            if self.kind == "github"
            else f"/api/v4/projects/{quote(self.project, safe='')}"
        )

    @property
    def itself(self) -> str:
        """The login under which the token writes."""
        return self.login or f"{self.app}[bot]"

    def add_comment(
        self, number: int, body: str | None, *, author: str | None = "ada", app: str | None = None
    ) -> PlayedComment:
        """Somebody comments."""
        comment = PlayedComment(next(self._ids), author, body, app)
        self.comments.setdefault(number, []).append(comment)
        return comment

    def bodies(self, number: int) -> list[str]:
        """The comments' texts, the oldest first."""
        return [comment.body or "" for comment in self.comments.get(number, ())]

    def push(self, number: int, head: str) -> None:
        """A pull request gets another head."""
        pull = self.pulls[number]
        pull.head = head
        pull.updated = max(each.updated for each in self.pulls.values()) + 1

    def told(self, number: int) -> dict[str, Any]:
        """A pull request as it is answered."""
        return self._plays().told(number)

    def asked(self) -> list[str]:
        """What was asked for, without where."""
        return [f"{call.verb} {call.path.removeprefix(self.root)}".strip() for call in self.calls]

    def no(self, status: int, said: str) -> Reply:
        """A refusal in this forge's manner."""
        if self.kind == "github":
            return Reply(
                status=status, body={"message": said, "documentation_url": "https://docs.example.com"}
            )
        return Reply(status=status, body={"message": f"{status} {said}"})

    def id_of(self, login: str) -> int:
        """The number of an account."""
        return int(hashlib.sha256(login.encode()).hexdigest()[:6], 16)

    def page(self, found: Sequence[Any], call: Call) -> Reply:
        """One page of a list, with the headers that lead to the others."""
        number, size = int(call.query.get("page", 1)), min(int(call.query.get("per_page", 20)), 100)
        last = max(-(-len(found) // size), 1)
        links = {"next": number + 1, "last": last} if number < last else {}
        # Another address, as behind a gateway: a client that follows it as it is goes astray.
        there = "http://127.0.0.1:9/elsewhere"
        headers = {
            "Link": ", ".join(
                f'<{there}?{urlencode({**call.query, "page": page})}>; rel="{name}"'
                for name, page in links.items()
            )
        }
        if self.kind == "gitlab":
            headers |= {"X-Next-Page": str(number + 1) if links else "", "X-Page": str(number)}
            headers |= {"X-Total": str(len(found)), "X-Total-Pages": str(last), "X-Per-Page": str(size)}
        return Reply(body=found[(number - 1) * size : number * size], headers=headers)

    def next_number(self) -> int:
        """GitHub counts pull requests among the issues; so does this GitLab, which harms nobody."""
        return max([0, *self.pulls, *self.issues]) + 1

    def answer(self, call: Call) -> Reply:
        plays = self._plays()
        if plays.token_in(call.headers) != self.token:
            return self.no(401, "Bad credentials" if self.kind == "github" else "Unauthorized")
        if not call.path.startswith(self.root):
            return plays.elsewhere(call)
        if not self.visible:
            return self.no(404, "Not Found" if self.kind == "github" else "Project Not Found")
        if call.verb != "GET" and (self.archived or self.readable_only):
            return plays.read_only()
        return plays.within(call, [unquote(part) for part in call.path[len(self.root) :].split("/")[1:]])

    def _plays(self) -> _Github | _Gitlab:
        return _Github(self) if self.kind == "github" else _Gitlab(self)


def _any_branch(name: str) -> str | None:
    return hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()


# ---- GitHub --------------------------------------------------------------------------------------------


class _Github:
    def __init__(self, forge: PlayedForge) -> None:
        self._forge = forge

    def token_in(self, headers: Mapping[str, str]) -> str:
        return headers.get("Authorization", "").partition(" ")[2]

    def read_only(self) -> Reply:
        if self._forge.archived:
            return self._forge.no(403, "Repository was archived so is read-only.")
        return self._forge.no(403, "Resource not accessible by personal access token")

    def elsewhere(self, call: Call) -> Reply:
        forge = self._forge
        if call.path == "/api/v3/user" and forge.login is None:
            return forge.no(403, "Resource not accessible by integration")
        if call.path == "/api/v3/user":
            return Reply(body=self._user(forge.login))
        if call.path == "/api/graphql" and "viewer" in call.body["query"]:
            viewer = {"login": forge.itself, "databaseId": forge.id_of(forge.itself)}
            return Reply(body={"data": {"viewer": viewer}})
        if call.path == "/api/graphql" and "lastEditedAt" in call.body["query"]:
            return self._edits(call.body["variables"]["ids"])
        return forge.no(404, "Not Found")

    def within(self, call: Call, path: Sequence[str]) -> Reply:
        forge = self._forge
        match [call.verb, *path]:
            case ["GET"]:
                return Reply(body={"id": 1, "full_name": forge.project, "archived": forge.archived})
            case [_, "pulls", *rest]:
                return self._within_pulls(call, rest)
            case ["PATCH", "issues", "comments", number]:
                return self._edited(int(number), call.body["body"])
            case [_, "issues", *rest]:
                return self._within_issues(call, rest)
            case ["POST", "statuses", commit]:
                return self._status(commit, call.body)
        return forge.no(404, "Not Found")

    def _within_pulls(self, call: Call, path: Sequence[str]) -> Reply:
        match [call.verb, *path]:
            case ["GET"]:
                return self._pulls(call)
            case ["POST"]:
                return self._opened(call.body)
            case ["GET", number] if int(number) in self._forge.pulls:
                return Reply(body=self.told(int(number)))
        return self._forge.no(404, "Not Found")

    def _within_issues(self, call: Call, path: Sequence[str]) -> Reply:
        forge = self._forge
        match [call.verb, *path]:
            case ["GET"]:
                return self._issues(call)
            case ["POST"]:
                number = forge.next_number()
                forge.issues[number] = PlayedIssue(call.body["title"], call.body["body"], forge.itself)
                return Reply(status=201, body=self._issue(number))
            case ["PATCH", number] if int(number) in forge.issues:
                issue = forge.issues[int(number)]
                issue.title, issue.body = call.body["title"], call.body["body"]
                return Reply(body=self._issue(int(number)))
            case [_, number, "comments"] if int(number) in forge.pulls:
                return self._commented(int(number), call)
        return forge.no(404, "Not Found")

    def _pulls(self, call: Call) -> Reply:
        found = list(self._forge.pulls.items())
        if call.query.get("state", "open") != "all":
            found = [each for each in found if each[1].open == (call.query.get("state", "open") == "open")]
        if "base" in call.query:
            found = [each for each in found if each[1].base == call.query["base"]]
        owner, colon, branch = call.query.get("head", "").partition(":")
        # A filter without an owner is passed over, as GitHub does.
        if colon:
            own = owner == self._forge.project.partition("/")[0]
            found = [each for each in found if each[1].branch == branch and each[1].fork != own]
        by_update = call.query.get("sort") == "updated"
        found.sort(key=lambda each: (each[1].updated if by_update else 0, each[0]), reverse=True)
        return self._forge.page([self.told(number) for number, _ in found], call)

    def _opened(self, asked: Mapping[str, Any]) -> Reply:
        forge = self._forge
        branch = asked["head"].rpartition(":")[2]
        commit = forge.branch_head(branch)
        if commit is None:
            return self._invalid({"resource": "PullRequest", "field": "head", "code": "invalid"})
        for pull in forge.pulls.values():
            if pull.open and not pull.fork and (pull.branch, pull.base) == (branch, asked["base"]):
                said = f"A pull request already exists for {forge.project.partition('/')[0]}:{branch}."
                return self._invalid({"resource": "PullRequest", "code": "custom", "message": said})
        number = forge.next_number()
        forge.pulls[number] = PlayedPull(
            asked["title"], forge.itself, commit, asked["base"], branch=branch, body=asked["body"]
        )
        return Reply(status=201, body=self.told(number))

    def _invalid(self, error: Mapping[str, str]) -> Reply:
        reply = self._forge.no(422, "Validation Failed")
        reply.body["errors"] = [error]
        return reply

    def _status(self, commit: str, asked: Mapping[str, Any]) -> Reply:
        if len(asked["description"]) > 140:
            said = "description is too long (maximum is 140 characters)"
            return self._invalid({"resource": "Status", "code": "custom", "message": said})
        assert asked["state"] in ("error", "failure", "pending", "success")
        status = PlayedStatus(asked["state"], asked["description"], asked.get("target_url"))
        self._forge.statuses.setdefault(commit, {})[asked["context"]] = status
        return Reply(status=201, body={"id": next(self._forge._ids), **asked})

    def _commented(self, number: int, call: Call) -> Reply:
        forge = self._forge
        if call.verb == "GET":
            return forge.page([self._comment(each) for each in forge.comments.get(number, ())], call)
        if len(call.body["body"]) > 65_536:
            said = "body is too long (maximum is 65536 characters)"
            return self._invalid({"resource": "IssueComment", "code": "custom", "message": said})
        app = forge.app if forge.login is None else None
        comment = forge.add_comment(number, call.body["body"], author=forge.itself, app=app)
        return Reply(status=201, body=self._comment(comment))

    def _edits(self, names: Sequence[str]) -> Reply:
        """Of what is none, there is a null in its place, and an error beside it."""
        known = {f"IC_{each.id}": each for comments in self._forge.comments.values() for each in comments}
        found = [known.get(name) for name in names]
        edits = [
            {"lastEditedAt": "2026-01-02T12:00:00Z" if each.edited or each.at_once else None}
            if each
            else None
            for each in found
        ]
        return Reply(body={"data": {"nodes": edits}})

    def _edited(self, wanted: int, body: str) -> Reply:
        for comments in self._forge.comments.values():
            for comment in comments:
                if comment.id == wanted:
                    comment.body = body
                    return Reply(body=self._comment(comment))
        return self._forge.no(404, "Not Found")

    def _issues(self, call: Call) -> Reply:
        forge = self._forge
        shown = {number: self._issue(number) for number, issue in forge.issues.items() if issue.open}
        shown |= {
            number: {"number": number, "title": pull.title, "body": pull.body, "pull_request": {}}
            for number, pull in forge.pulls.items()
            if pull.open
        }
        return forge.page([shown[number] for number in sorted(shown, reverse=True)], call)

    def _issue(self, number: int) -> dict[str, Any]:
        issue = self._forge.issues[number]
        return {
            "number": number,
            "title": issue.title,
            "body": issue.body,
            "state": "open" if issue.open else "closed",
            "user": self._user(issue.author),
            "html_url": f"{self._forge.url}/{self._forge.project}/issues/{number}",
        }

    def told(self, number: int) -> dict[str, Any]:
        forge, pull = self._forge, self._forge.pulls[number]
        here = {"id": 1, "full_name": forge.project, "fork": False}
        there = {"id": 2, "full_name": f"{pull.author}/infra", "fork": True} if pull.fork else here
        return {
            "id": 90_000 + number,
            "number": number,
            "title": pull.title,
            "body": pull.body,
            "state": "open" if pull.open else "closed",
            "merged_at": "2026-01-02T12:00:00Z" if pull.merged else None,
            "user": self._user(pull.author),
            "head": {"ref": pull.branch, "sha": pull.head, "repo": None if pull.gone else there},
            "base": {"ref": pull.base, "sha": "b" * 40, "repo": here},
            "html_url": f"{forge.url}/{forge.project}/pull/{number}",
        }

    def _comment(self, comment: PlayedComment) -> dict[str, Any]:
        app = {"id": 4, "slug": comment.app} if comment.app else None
        user = self._user(comment.author)
        return {
            "id": comment.id,
            "node_id": f"IC_{comment.id}",
            "body": comment.body,
            "user": user,
            "performed_via_github_app": app,
            **comment.times,
        }

    def _user(self, login: str | None) -> dict[str, Any] | None:
        kind = "Bot" if (login or "").endswith("[bot]") else "User"
        return {"login": login, "id": self._forge.id_of(login), "type": kind} if login else None


# ---- GitLab --------------------------------------------------------------------------------------------


class _Gitlab:
    def __init__(self, forge: PlayedForge) -> None:
        self._forge = forge

    def token_in(self, headers: Mapping[str, str]) -> str:
        return next((value for name, value in headers.items() if name.lower() == "private-token"), "")

    def read_only(self) -> Reply:
        if self._forge.archived:
            return self._forge.no(403, "Forbidden")
        return Reply(status=403, body={"error": "insufficient_scope", "scope": "api"})

    def elsewhere(self, call: Call) -> Reply:
        if call.path == "/api/v4/user":
            return Reply(body=self._user(self._forge.itself))
        return Reply(status=404, body={"error": "404 Not Found"})

    def within(self, call: Call, path: Sequence[str]) -> Reply:
        forge = self._forge
        match [call.verb, *path]:
            case ["GET"]:
                return Reply(body={"id": 1, "path_with_namespace": forge.project, "archived": forge.archived})
            case [_, "merge_requests", *rest]:
                return self._within_requests(call, rest)
            case [_, "issues", *rest]:
                return self._within_issues(call, rest)
            case ["POST", "statuses", commit]:
                return self._status(commit, call.body)
            case ["GET", "repository", "commits", commit, what]:
                return forge.page(self._of_commit(commit, what, call.query), call)
        return forge.no(404, "Not found")

    def _within_requests(self, call: Call, path: Sequence[str]) -> Reply:
        match [call.verb, *path]:
            case ["GET"]:
                return self._requests(call)
            case ["POST"]:
                return self._opened(call.body)
            case ["GET", number] if int(number) in self._forge.pulls:
                return Reply(body=self.told(int(number)))
            case [_, number, "notes", *rest] if int(number) in self._forge.pulls:
                return self._notes(int(number), call, rest)
        return self._forge.no(404, "Not found")

    def _within_issues(self, call: Call, path: Sequence[str]) -> Reply:
        forge = self._forge
        match [call.verb, *path]:
            case ["GET"]:
                return self._issues(call)
            case ["POST"]:
                number = forge.next_number()
                forge.issues[number] = PlayedIssue(call.body["title"], call.body["description"], forge.itself)
                return Reply(status=201, body=self._issue(number))
            case ["PUT", number] if int(number) in forge.issues:
                issue = forge.issues[int(number)]
                issue.title, issue.body = call.body["title"], call.body["description"]
                return Reply(body=self._issue(int(number)))
        return forge.no(404, "Not found")

    def _requests(self, call: Call) -> Reply:
        found = list(self._forge.pulls.items())
        if call.query.get("state", "all") != "all":
            found = [each for each in found if self._state(each[1]) == call.query["state"]]
        if "source_branch" in call.query:
            found = [each for each in found if each[1].branch == call.query["source_branch"]]
        if "target_branch" in call.query:
            found = [each for each in found if each[1].base == call.query["target_branch"]]
        by_update = call.query.get("order_by") == "updated_at"
        found.sort(key=lambda each: (each[1].updated if by_update else 0, each[0]), reverse=True)
        return self._forge.page([self.told(number) for number, _ in found], call)

    def _opened(self, asked: Mapping[str, Any]) -> Reply:
        forge = self._forge
        branch, base = asked["source_branch"], asked["target_branch"]
        for number, pull in forge.pulls.items():
            if pull.open and not pull.fork and (pull.branch, pull.base) == (branch, base):
                said = f"Another open merge request already exists for this source branch: !{number}"
                return Reply(status=409, body={"message": [said]})
        commit = forge.branch_head(branch)
        if commit is None:
            return Reply(status=400, body={"message": {"source_branch": ["does not exist"]}})
        number = forge.next_number()
        forge.pulls[number] = PlayedPull(
            asked["title"], forge.itself, commit, base, branch=branch, body=asked["description"]
        )
        return Reply(status=201, body=self.told(number))

    def _status(self, commit: str, asked: Mapping[str, Any]) -> Reply:
        if len(asked["description"]) > 255:
            return Reply(
                status=400, body={"message": {"description": ["is too long (maximum is 255 characters)"]}}
            )
        assert asked["state"] in ("pending", "running", "success", "failed", "canceled")
        if self._is_of_a_fork(commit):
            return self._forge.no(404, "References for commit Not Found")
        known = self._forge.statuses.setdefault(commit, {})
        before = known.get(asked["name"])
        if asked["state"] == "pending" and before is not None and before.state in ("pending", "running"):
            said = f"Cannot transition status via :enqueue from :{before.state}"
            said += ' (Reason(s): Status cannot transition via "enqueue")'
            return Reply(status=400, body={"message": said})
        known[asked["name"]] = PlayedStatus(asked["state"], asked["description"], asked.get("target_url"))
        return Reply(
            status=201, body={"id": next(self._forge._ids), "sha": commit, **asked, "status": asked["state"]}
        )

    def _is_of_a_fork(self, commit: str) -> bool:
        proposed = [pull.fork for pull in self._forge.pulls.values() if pull.head == commit]
        return bool(proposed) and all(proposed)

    def _of_commit(self, commit: str, what: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        if what == "refs":
            return [] if self._is_of_a_fork(commit) else [{"type": "branch", "name": "change"}]
        return [
            {"sha": commit, "name": name, "status": status.state, "description": status.description}
            for name, status in self._forge.statuses.get(commit, {}).items()
            if query.get("name", name) == name
        ]

    def _notes(self, number: int, call: Call, rest: Sequence[str]) -> Reply:
        forge = self._forge
        comments = forge.comments.setdefault(number, [])
        match [call.verb, *rest]:
            case ["GET"]:
                newest_first = call.query.get("sort", "desc") == "desc"
                shown = [self._note(each) for each in comments]
                return forge.page(shown[::-1] if newest_first else shown, call)
            case ["POST"] if len(call.body["body"]) <= 1_000_000:
                return Reply(
                    status=201,
                    body=self._note(forge.add_comment(number, call.body["body"], author=forge.itself)),
                )
            case ["POST"]:
                return Reply(
                    status=400, body={"message": {"note": ["is too long (maximum is 1000000 characters)"]}}
                )
            case ["PUT", wanted]:
                for comment in comments:
                    if comment.id == int(wanted):
                        comment.body = call.body["body"]
                        return Reply(body=self._note(comment))
        return forge.no(404, "Note Not Found")

    def _issues(self, call: Call) -> Reply:
        shown = [
            self._issue(number)
            for number, issue in sorted(self._forge.issues.items(), reverse=True)
            if issue.open or call.query.get("state") != "opened"
        ]
        if "author_id" in call.query:
            shown = [each for each in shown if str(each["author"]["id"]) == call.query["author_id"]]
        return self._forge.page(shown, call)

    def _issue(self, number: int) -> dict[str, Any]:
        issue = self._forge.issues[number]
        return {
            "id": 9000 + number,
            "iid": number,
            "title": issue.title,
            "description": issue.body,
            "state": "opened" if issue.open else "closed",
            "author": self._user(issue.author or "ghost"),
            "web_url": f"{self._forge.url}/{self._forge.project}/-/issues/{number}",
        }

    def told(self, number: int) -> dict[str, Any]:
        pull = self._forge.pulls[number]
        return {
            "id": 90_000 + number,
            "iid": number,
            "title": pull.title,
            "description": pull.body,
            "state": self._state(pull),
            "author": self._user(pull.author or "ghost"),
            "sha": pull.head,
            "source_branch": pull.branch,
            "target_branch": pull.base,
            "project_id": 1,
            "source_project_id": None if pull.gone else 2 if pull.fork else 1,
            "target_project_id": 1,
            "web_url": f"{self._forge.url}/{self._forge.project}/-/merge_requests/{number}",
        }

    def _state(self, pull: PlayedPull) -> str:
        return "merged" if pull.merged else "opened" if pull.open else "closed"

    def _note(self, comment: PlayedComment) -> dict[str, Any]:
        author = self._user(comment.author or "ghost")
        return {
            "id": comment.id,
            "body": comment.body,
            "author": author,
            "system": comment.system,
            **comment.times,
        }

    def _user(self, login: str) -> dict[str, Any]:
        return {"id": self._forge.id_of(login), "username": login, "state": "active"}
