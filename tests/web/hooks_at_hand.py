"""What the tests of webhooks share: payloads as forges document them, signatures, and a server."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
from pydantic import SecretStr

from driftwatch.config.gitops import ForgeSettings
from driftwatch.config.hooks import (
    GenericHookSettings,
    GithubHookSettings,
    GitlabHookSettings,
    HooksSettings,
)
from driftwatch.config.settings import RepositorySettings
from driftwatch.web import Hooks, Server, create_app

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from driftwatch.model import Hint
    from driftwatch.pipeline.hints import Hints

SECRET = "canary-github-secret-0123456789"
TOKEN = "canary-gitlab-token-0123456789"
KEY = b"canary-signing-key-of-32-bytes-x"
SIGNING_TOKEN = "whsec_" + base64.b64encode(KEY).decode()
GENERIC_SECRET = "canary-generic-secret-0123456789"


def forge(kind: str, project: str) -> ForgeSettings:
    return ForgeSettings.model_validate(
        {"kind": kind, "project": project, "token": SecretStr("canary-forge-token")}
    )


REPOSITORIES = {
    "platform": RepositorySettings(
        url="git@GitHub.com:Acme/platform.git", forge=forge("github", "acme/platform")
    ),
    "release": RepositorySettings(
        url="https://github.com/acme/platform/", branch="release", forge=forge("github", "acme/platform")
    ),
    "billing": RepositorySettings(
        url="ssh://git@gitlab.example.com:2222/group/sub/billing.git",
        forge=forge("gitlab", "group/sub/billing"),
    ),
    "moved": RepositorySettings(url="https://mirror.example.com/x.git", forge=forge("gitlab", "4711")),
    "tagged": RepositorySettings(url="https://github.com/acme/tagged"),
}


class Source:
    """A daemon that is well."""

    def liveness(self) -> Any:
        return True, {}

    def readiness(self) -> Any:
        return True, {}

    def refresh_metrics(self) -> None:
        """Nothing to refresh."""


class Taken:
    """Hints and notes, as they came."""

    def __init__(self) -> None:
        self.hints: list[tuple[Hint, str]] = []
        self.notes: list[dict[str, Any]] = []
        self.offset = timedelta()
        self.passed_to: Hints | None = None

    def take(self, hint: Hint, via: str) -> None:
        self.hints.append((hint, via))
        if self.passed_to is not None:
            self.passed_to.take(hint, via)

    def note(self, **words: Any) -> bool:
        self.notes.append(words)
        return True

    def clock(self) -> datetime:
        return datetime.now(UTC) + self.offset

    @property
    def named(self) -> list[str]:
        return [
            hint.repository + (f"#{hint.pull_request}" if hint.pull_request else "") for hint, _ in self.hints
        ]


def all_hooks(**other: Any) -> HooksSettings:
    sections: dict[str, Any] = {
        "github": GithubHookSettings(secret=SecretStr(SECRET)),
        "gitlab": GitlabHookSettings(token=SecretStr(TOKEN)),
        "generic": GenericHookSettings(secret=SecretStr(GENERIC_SECRET)),
    }
    return HooksSettings(**(sections | other))


class Place:
    """A server with webhooks."""

    def __init__(self, settings: HooksSettings | None = None) -> None:
        self.taken = Taken()
        self.hooks = Hooks(
            settings if settings is not None else all_hooks(),
            REPOSITORIES,
            hints=self.taken,
            notes=self.taken,
            clock=self.taken.clock,
        )
        self.server = Server(partial(create_app, Source(), hooks=self.hooks), "127.0.0.1:0")

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server.address()[1]}/hooks/{name}"

    def connect(self) -> socket.socket:
        import socket

        return socket.create_connection(self.server.address(), timeout=5)

    def post(self, name: str, body: bytes, headers: dict[str, str]) -> httpx2.Response:
        return httpx2.post(self.url(name), content=body, headers=headers, trust_env=False)

    def health(self) -> int:
        return httpx2.get(
            f"http://127.0.0.1:{self.server.address()[1]}/healthz", trust_env=False, timeout=3
        ).status_code

    def receive(self, name: str, body: bytes, headers: dict[str, str], address: str = "192.0.2.1") -> Any:
        """Without HTTP, as the endpoint has it."""
        lowered = {key.lower(): value for key, value in headers.items()}
        return self.hooks.receive(name, address, lowered, body)


@contextmanager
def serving(place: Place) -> Iterator[Place]:
    stop = threading.Event()
    thread = threading.Thread(target=place.server.run, args=(stop,), daemon=True)
    thread.start()
    try:
        yield place
    finally:
        stop.set()
        thread.join(5)
        assert not thread.is_alive()


def encoded(payload: Any) -> bytes:
    return json.dumps(payload).encode()


def github(
    body: bytes, event: str = "push", *, secret: str = SECRET, delivery: str = "72d3162e"
) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": delivery,
        "X-Hub-Signature": "sha1=" + hmac.new(secret.encode(), body, hashlib.sha1).hexdigest(),
        "X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
    }


def gitlab(event: str = "Push Hook", *, token: str = TOKEN, key: str | None = None) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "X-Gitlab-Event": event, "X-Gitlab-Token": token}
    headers["X-Gitlab-Event-UUID"] = "13792a34-cac6-4fda-95a8-c58e00a3954e"
    return headers if key is None else {**headers, "Idempotency-Key": key}


def signed_by_gitlab(
    body: bytes, *, key: bytes = KEY, delivery: str = "f5e5f430", at: float | None = None
) -> dict[str, str]:
    timestamp = str(int(at if at is not None else time.time()))
    content = f"{delivery}.{timestamp}.".encode() + body
    digest = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return {
        "Content-Type": "application/json",
        "X-Gitlab-Event": "Push Hook",
        "webhook-id": delivery,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{digest}",
    }


def generic(body: bytes, *, secret: str = GENERIC_SECRET, at: float | None = None) -> dict[str, str]:
    timestamp = str(int(at if at is not None else time.time()))
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Driftwatch-Signature": f"t={timestamp},v1={digest}"}


def github_push(ref: str = "refs/heads/main", name: str = "acme/platform", **other: Any) -> dict[str, Any]:
    """https://docs.github.com/en/webhooks/webhook-events-and-payloads#push, what of it matters."""
    return {
        "ref": ref,
        "before": "0" * 40,
        "after": "0f3d" * 10,
        "deleted": False,
        "repository": {
            "id": 186853002,
            "full_name": name,
            "html_url": f"https://github.com/{name}",
            "git_url": f"git://github.com/{name}.git",
            "ssh_url": f"git@github.com:{name}.git",
            "clone_url": f"https://github.com/{name}.git",
        },
        "sender": {"login": "octocat"},
        **other,
    }


def github_pull_request(action: str = "opened", base: str = "main", number: int = 2) -> dict[str, Any]:
    """https://docs.github.com/en/webhooks/webhook-events-and-payloads#pull_request."""
    request = {"number": number, "state": "open", "head": {"ref": "changes"}, "base": {"ref": base}}
    return github_push() | {"action": action, "number": number, "pull_request": request}


def github_comment(body: str = "/driftwatch plan", *, on_request: bool = True) -> dict[str, Any]:
    """https://docs.github.com/en/webhooks/webhook-events-and-payloads#issue_comment."""
    issue: dict[str, Any] = {"number": 2, "title": "Spelling"}
    if on_request:
        issue["pull_request"] = {"url": "https://api.github.com/repos/acme/platform/pulls/2"}
    return github_push() | {"action": "created", "issue": issue, "comment": {"id": 1, "body": body}}


def gitlab_push(
    ref: str = "refs/heads/main", path: str = "group/sub/billing", number: int = 15
) -> dict[str, Any]:
    """https://docs.gitlab.com/user/project/integrations/webhook_events/#push-events."""
    return {
        "object_kind": "push",
        "ref": ref,
        "checkout_sha": "0f3d" * 10,
        "project": {
            "id": number,
            "web_url": f"https://gitlab.example.com/{path}",
            "git_ssh_url": f"ssh://git@gitlab.example.com:2222/{path}.git",
            "git_http_url": f"https://gitlab.example.com/{path}.git",
            "path_with_namespace": path,
        },
    }


def gitlab_merge_request(action: str = "open", target: str = "main") -> dict[str, Any]:
    """https://docs.gitlab.com/user/project/integrations/webhook_events/#merge-request-events."""
    attributes = {"iid": 3, "action": action, "target_branch": target, "source_branch": "changes"}
    return gitlab_push() | {"object_kind": "merge_request", "object_attributes": attributes}


def gitlab_note(note: str = "/driftwatch approve") -> dict[str, Any]:
    """https://docs.gitlab.com/user/project/integrations/webhook_events/#comment-events."""
    attributes = {"note": note, "noteable_type": "MergeRequest"}
    request = {"iid": 3, "target_branch": "main"}
    return gitlab_push() | {"object_kind": "note", "object_attributes": attributes, "merge_request": request}
