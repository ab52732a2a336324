"""What a delivery of a webhook is: who sent it, which one it is, and what it hints at.

    headers and raw body → vouch: is it signed by who has the secret? → hints: which repository, which pull
    request?

Signatures are over the bytes as they came, and compared in constant time. Nothing of a body is read before
that. What is read is compared with the configuration, and only names of the configuration go on from here: a
payload's URL, branch or commit is never fetched, run or shown. GitHub and GitLab are read by their documented
payloads; both call it a pull request here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from driftwatch.config.hooks import signing_key
from driftwatch.log import register_secret
from driftwatch.model import Hint
from driftwatch.web.door import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pydantic import SecretStr

    from driftwatch.config.hooks import GenericHookSettings, GithubHookSettings, GitlabHookSettings
    from driftwatch.config.settings import RepositorySettings
    from driftwatch.web.oidc import JobTokens

TOLERANCE_SECONDS = 300
"""How old a signed request may be, and how far ahead a clock."""

REMEMBERED_SECONDS = 3600.0
"""How long a delivery without a time of its own is known again: forges repeat one within minutes."""

DEEPEST = 64
LARGEST_NUMBER = 2**31 - 1
COMMAND = "/driftwatch"
"""What a comment begins with that driftwatch is meant by; others, its own too, are nobody's hint."""

_DIGITS = re.compile(r"[0-9]{1,15}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""Also one that does not end, so that no text is gone over twice."""

_BRACKET = re.compile(rb"[\[\]{}]")
_DEFAULT_PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}
_PULL_REQUEST_ACTIONS = {"opened", "reopened", "synchronize", "closed", "edited", "ready_for_review"}
_MERGE_REQUEST_ACTIONS = {"open", "reopen", "update", "close", "merge"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """A delivery of somebody who may.

    `key` is the same where it is the same delivery, which is remembered for `lasts` seconds; `is_replay`
    says whether a second one is an attack and not a repetition. `repositories` are those of which it may
    speak, None for all.
    """

    key: str
    lasts: float
    is_replay: bool
    by: str
    repositories: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Ignored:
    """What is nothing for us, and why."""

    why: str


class Endpoint(Protocol):
    """One sort of sender. Both raise Refusal."""

    def vouch(self, headers: Mapping[str, str], body: bytes, at: datetime) -> Vouched:
        """Who sent it; nothing of the body is read for that."""

    def hints(self, headers: Mapping[str, str], body: bytes, vouched: Vouched) -> tuple[Hint, ...] | Ignored:
        """What it hints at."""


class Github:
    """Webhooks of GitHub: signed with a shared secret, `X-Hub-Signature-256`."""

    def __init__(self, settings: GithubHookSettings, watched: Watched) -> None:
        self._secret, self._watched = _secret(settings.secret), watched

    def vouch(self, headers: Mapping[str, str], body: bytes, at: datetime) -> Vouched:  # noqa: ARG002  (a port)
        expected = hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        given = headers.get("x-hub-signature-256", "")
        # `X-Hub-Signature`, by SHA-1, counts for nothing, beside this one or alone.
        if not _same(f"sha256={expected}".encode(), given):
            raise unsigned("X-Hub-Signature-256")
        # By the body alone, which is signed, and not by the id or the event beside it, which anybody could
        # change. GitHub's repetitions have all of them the same.
        return Vouched(key=expected, lasts=REMEMBERED_SECONDS, is_replay=False, by="github")

    def hints(
        self,
        headers: Mapping[str, str],
        body: bytes,
        vouched: Vouched,  # noqa: ARG002  (a port)
    ) -> tuple[Hint, ...] | Ignored:
        if "json" not in headers.get("content-type", "").lower():
            raise Refusal(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not_json", "Set the content type to application/json."
            )
        payload, event = read_json(body), headers.get("x-github-event", "")
        repository = _object(payload, "repository") or {}
        urls = [_text(repository, key) for key in ("clone_url", "ssh_url", "git_url", "html_url")]
        names = self._watched.of("github", urls, [_text(repository, "full_name")])
        if event == "push":
            return self._watched.pushed(names, _text(payload, "ref"))
        if event == "pull_request":
            request = _object(payload, "pull_request") or {}
            if _text(payload, "action") not in _PULL_REQUEST_ACTIONS:
                return Ignored("nothing that a plan depends on")
            base = _text(_object(request, "base") or {}, "ref")
            return self._watched.proposed(names, base, _number(request, "number"))
        if event == "issue_comment":
            issue, comment = _object(payload, "issue") or {}, _object(payload, "comment") or {}
            if _object(issue, "pull_request") is None or not _commands(_text(comment, "body")):
                return Ignored("no command on a pull request")
            return self._watched.proposed(names, None, _number(issue, "number"))
        return Ignored("no such event is asked for")


class Gitlab:
    """Webhooks of GitLab: a secret token in a header, or signed after the Standard Webhooks, or both."""

    def __init__(self, settings: GitlabHookSettings, watched: Watched) -> None:
        token, signing = settings.token, settings.signing_token
        self._token = _secret(token) if token else None
        self._key = signing_key(signing) if signing else None
        self._watched = watched

    def vouch(self, headers: Mapping[str, str], body: bytes, at: datetime) -> Vouched:
        if self._token is not None and not _same(self._token, headers.get("x-gitlab-token", "")):
            raise unsigned("X-Gitlab-Token")
        key = headers.get("idempotency-key", "")[:200]
        if self._key is not None:
            key = self._signed(self._key, headers, body, at)
        # X-Gitlab-Event-UUID will not do where there is another: what one delivery sets off has it too.
        digest = hashlib.sha256(body).hexdigest()
        key = key or f"{headers.get('x-gitlab-event-uuid', '')[:200]} {digest}"
        return Vouched(key=key, lasts=REMEMBERED_SECONDS, is_replay=False, by="gitlab")

    def hints(
        self,
        headers: Mapping[str, str],
        body: bytes,
        vouched: Vouched,  # noqa: ARG002  (a port)
    ) -> tuple[Hint, ...] | Ignored:
        payload, event = read_json(body), headers.get("x-gitlab-event", "")
        project = _object(payload, "project") or {}
        urls = [_text(project, key) for key in ("git_http_url", "git_ssh_url", "web_url")]
        number = _number(project, "id")
        paths = [_text(project, "path_with_namespace"), str(number) if number else None]
        names = self._watched.of("gitlab", urls, paths)
        if event in ("Push Hook", "Tag Push Hook"):
            return self._watched.pushed(names, _text(payload, "ref"))
        attributes = _object(payload, "object_attributes") or {}
        if event == "Merge Request Hook":
            if _text(attributes, "action") not in _MERGE_REQUEST_ACTIONS:
                return Ignored("nothing that a plan depends on")
            return self._watched.proposed(
                names, _text(attributes, "target_branch"), _number(attributes, "iid")
            )
        if event == "Note Hook":
            request = _object(payload, "merge_request")
            if request is None or not _commands(_text(attributes, "note")):
                return Ignored("no command on a merge request")
            return self._watched.proposed(names, _text(request, "target_branch"), _number(request, "iid"))
        return Ignored("no such event is asked for")

    @staticmethod
    def _signed(key: bytes, headers: Mapping[str, str], body: bytes, at: datetime) -> str:
        """The id of a signed delivery."""
        delivery, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        signed = delivery.encode() + b"." + timestamp.encode() + b"." + body
        expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        # All are compared, so that the time does not tell which one was right.
        good = [
            _same(expected.encode(), each) for each in headers.get("webhook-signature", "").split(" ")[:8]
        ]
        if not delivery or not any(good):
            raise unsigned("webhook-signature")
        _in_time(timestamp, at)
        return delivery[:200]


class Generic:
    """Scripts that sign, and CI jobs with a token of their own: what they say is the same."""

    def __init__(self, settings: GenericHookSettings, jobs: JobTokens | None, watched: Watched) -> None:
        self._secret = _secret(settings.secret) if settings.secret else None
        self._jobs, self._watched = jobs, watched

    def vouch(self, headers: Mapping[str, str], body: bytes, at: datetime) -> Vouched:
        authorization = headers.get("authorization", "")
        if self._jobs is not None and authorization[:7].lower() == "bearer ":
            job = self._jobs.verify(authorization[7:].strip(), at)
            return Vouched(
                key=job.key, lasts=job.lasts, is_replay=True, by=job.name, repositories=job.repositories
            )
        if self._secret is None:
            raise Refusal(
                HTTPStatus.UNAUTHORIZED,
                "unauthorized",
                "This needs a CI job's token: `Authorization: Bearer …`.",
                **{"WWW-Authenticate": "Bearer"},
            )
        pairs = [
            each.partition("=")[::2] for each in headers.get("x-driftwatch-signature", "").split(",")[:8]
        ]
        parts = {key.strip(): value.strip() for key, value in pairs}
        timestamp = parts.get("t", "")
        expected = hmac.new(self._secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        if not _same(expected.encode(), parts.get("v1", "")):
            raise unsigned("X-Driftwatch-Signature")
        _in_time(timestamp, at)
        return Vouched(key=expected, lasts=TOLERANCE_SECONDS * 2.0, is_replay=True, by="generic")

    def hints(
        self,
        headers: Mapping[str, str],  # noqa: ARG002  (a port)
        body: bytes,
        vouched: Vouched,
    ) -> tuple[Hint, ...] | Ignored:
        payload = read_json(body)
        if strangers := payload.keys() - {"repository", "branch", "commit", "pull_request"}:
            raise malformed(f"{len(strangers)} keys are not known")
        name, branch, commit = (_text(payload, key) for key in ("repository", "branch", "commit"))
        number = _number(payload, "pull_request")
        if name is None or (commit is not None and not _COMMIT.fullmatch(commit)):
            raise malformed("a repository by its name here, and a commit by its whole hash")
        if vouched.repositories is not None and name not in vouched.repositories:
            raise Refusal(HTTPStatus.FORBIDDEN, "not_theirs", "This job may not speak of that repository.")
        names = self._watched.named(name)
        if number is not None:
            return self._watched.proposed(names, None, number)
        return self._watched.pushed(
            names, f"refs/heads/{branch}" if branch is not None else None, any_ref=True
        )


class Watched:
    """The repositories of the configuration, as payloads name them."""

    def __init__(self, repositories: Mapping[str, RepositorySettings]) -> None:
        self._repositories = repositories
        self._by_url: dict[str, set[str]] = {}
        self._by_project: dict[tuple[str, str], set[str]] = {}
        for name, settings in repositories.items():
            self._by_url.setdefault(same_place(settings.url), set()).add(name)
            if settings.forge is not None:
                project = (settings.forge.kind, settings.forge.project.casefold())
                self._by_project.setdefault(project, set()).add(name)

    def of(self, kind: str, urls: Sequence[str | None], projects: Sequence[str | None]) -> list[str]:
        """The names under which a repository is watched: by any of its URLs, or as a forge's project."""
        found: set[str] = set()
        for url in filter(None, urls):
            found |= self._by_url.get(same_place(url), set())
        for project in filter(None, projects):
            found |= self._by_project.get((kind, project.casefold()), set())
        return sorted(found)

    def named(self, name: str) -> list[str]:
        return [name] if name in self._repositories else []

    def pushed(
        self, names: Sequence[str], ref: str | None, *, any_ref: bool = False
    ) -> tuple[Hint, ...] | Ignored:
        """Those whose branch a push may have moved; with `any_ref`, a push that names none may have."""
        if not names:
            return Ignored("no such repository is watched")
        hints = tuple(
            Hint(repository=name) for name in names if (ref is None and any_ref) or self._counts(name, ref)
        )
        return hints or Ignored("another branch")

    def proposed(
        self, names: Sequence[str], base: str | None, number: int | None
    ) -> tuple[Hint, ...] | Ignored:
        """A pull request to a branch that is watched; where that is not said, the look will tell."""
        if number is None:
            raise malformed("a pull request has a number")
        if not names:
            return Ignored("no such repository is watched")
        looked_at = [name for name in names if self._has_previews(name)]
        if not looked_at:
            return Ignored("its pull requests are not looked at")
        hints = tuple(
            Hint(repository=name, pull_request=number)
            for name in looked_at
            if base is None or base == self._repositories[name].branch
        )
        return hints or Ignored("another branch")

    def _has_previews(self, name: str) -> bool:
        settings = self._repositories[name]
        return settings.forge is not None and settings.previews.enabled

    def _counts(self, name: str, ref: str | None) -> bool:
        settings = self._repositories[name]
        if ref is not None and ref.startswith("refs/tags/"):
            return settings.signatures == "tags"
        return ref == f"refs/heads/{settings.branch}"


def same_place(url: str) -> str:
    """What is the same for a repository's URLs by https and ssh: host and path."""
    if url.startswith("/"):
        return _place("", None, url)
    if "://" not in url:
        host, _, path = url.rpartition("@")[2].partition(":")
        return _place(host, None, path)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    usual = _DEFAULT_PORTS.get(parts.scheme.lower())
    return _place(parts.hostname or "", None if port == usual else port, parts.path)


def _place(host: str, port: int | None, path: str) -> str:
    tidy = path.strip("/").removesuffix(".git").rstrip("/")
    # Hosts know no case, and of what forges keep, neither do paths.
    return f"{host.lower().rstrip('.')}{f':{port}' if port else ''}/{tidy.casefold()}"


def read_json(body: bytes) -> dict[str, Any]:
    """The object in a body. Raises Refusal for what is none, is no UTF-8, or is nested too deeply."""
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub(b"", body)):
        depth += 1 if bracket.group() in b"[{" else -1
        if depth > DEEPEST:
            raise malformed(f"at most {DEEPEST} levels")
    try:
        document = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise malformed("a JSON document in UTF-8") from None
    if not isinstance(document, dict):
        raise malformed("a JSON object")
    return document


def malformed(expected: str) -> Refusal:
    """A body that is not what it should be; nothing of it is repeated."""
    return Refusal(HTTPStatus.BAD_REQUEST, "malformed", f"This is not read: expected is {expected}.")


def unsigned(header: str) -> Refusal:
    """A delivery that is not from who has the secret."""
    return Refusal(HTTPStatus.UNAUTHORIZED, "unauthorized", f"{header} is missing or not right.")


def _secret(value: SecretStr) -> bytes:
    text = value.get_secret_value()
    register_secret(text)
    return text.encode()


def _same(expected: bytes, given: str) -> bool:
    return hmac.compare_digest(expected, given.encode("utf-8", "replace"))


def _in_time(timestamp: str, at: datetime) -> None:
    is_time = _DIGITS.fullmatch(timestamp)
    if not is_time or abs(at.timestamp() - int(timestamp)) > TOLERANCE_SECONDS:
        raise Refusal(HTTPStatus.UNAUTHORIZED, "too_old", "This was signed too long ago, or in the future.")


def _object(document: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    value = document.get(key)
    if value is not None and not isinstance(value, dict):
        raise malformed(f"an object as {key}")
    return value


def _text(document: Mapping[str, Any], key: str) -> str | None:
    value = document.get(key)
    if value is not None and not isinstance(value, str):
        raise malformed(f"text as {key}")
    return value


def _number(document: Mapping[str, Any], key: str) -> int | None:
    value = document.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= LARGEST_NUMBER:
        raise malformed(f"a number as {key}")
    return value


def _commands(comment: str | None) -> bool:
    """Only the first line can be one. Driftwatch's own comment has some further down, to be copied."""
    return (comment or "").startswith(COMMAND)
