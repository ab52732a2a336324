"""Webhooks of forges and scripts: who is heard, what of it is a hint, and what none of it may do."""

from __future__ import annotations

import gzip
import hmac
import json
import threading
import time
from contextlib import closing
from datetime import timedelta
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import httpx2
import psutil
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

import driftwatch.web.hooks
from driftwatch.config.hooks import GitlabHookSettings, HooksSettings
from driftwatch.errors import StoreUnavailableError
from driftwatch.model import Hint
from driftwatch.pipeline.hints import HintBox
from driftwatch.web.deliveries import DEEPEST, same_place
from tests.web.hooks_at_hand import (
    GENERIC_SECRET,
    KEY,
    REPOSITORIES,
    SECRET,
    SIGNING_TOKEN,
    TOKEN,
    Place,
    Taken,
    all_hooks,
    encoded,
    generic,
    github,
    github_comment,
    github_pull_request,
    github_push,
    gitlab,
    gitlab_merge_request,
    gitlab_note,
    gitlab_push,
    serving,
    signed_by_gitlab,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 1024 * 1024


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture(scope="module")
def one_server() -> Iterator[Place]:
    with serving(Place()) as there:
        yield there


@pytest.fixture
def server(one_server: Place) -> Place:
    """The server, with nothing left of the test before."""
    one_server.taken.__init__()
    one_server.hooks.__init__(
        all_hooks(),
        REPOSITORIES,
        hints=one_server.taken,
        notes=one_server.taken,
        clock=one_server.taken.clock,
    )
    return one_server


# What is a hint


@pytest.mark.parametrize(
    ("event", "payload", "named"),
    [
        ("push", github_push(), ["platform"]),
        ("push", github_push("refs/heads/release"), ["release"]),
        ("push", github_push(deleted=True, after="0" * 40), ["platform"]),
        ("pull_request", github_pull_request(), ["platform#2"]),
        ("pull_request", github_pull_request("synchronize"), ["platform#2"]),
        ("pull_request", github_pull_request("closed", base="release"), ["release#2"]),
        ("issue_comment", github_comment("/driftwatch plan\r\nplease"), ["platform#2", "release#2"]),
    ],
)
def test_what_github_says_is_a_hint(place: Place, event: str, payload: Any, named: list[str]) -> None:
    body = encoded(payload)
    answer = place.receive("github", body, github(body, event))
    assert answer.status == 202
    assert place.taken.named == named
    assert {via for _, via in place.taken.hints} == {"github"}
    assert place.taken.notes == []


@pytest.mark.parametrize(
    ("event", "payload", "named"),
    [
        ("Push Hook", gitlab_push(), ["billing"]),
        ("Push Hook", gitlab_push(path="elsewhere/now", number=4711), ["moved"]),
        ("Merge Request Hook", gitlab_merge_request(), ["billing#3"]),
        ("Merge Request Hook", gitlab_merge_request("update"), ["billing#3"]),
        ("Note Hook", gitlab_note(), ["billing#3"]),
    ],
)
def test_what_gitlab_says_is_a_hint(place: Place, event: str, payload: Any, named: list[str]) -> None:
    answer = place.receive("gitlab", encoded(payload), gitlab(event))
    assert (answer.status, place.taken.named) == (202, named)


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        ({"repository": "platform"}, ["platform"]),
        ({"repository": "platform", "branch": "main", "commit": "0f3d" * 10}, ["platform"]),
        ({"repository": "release", "commit": "0f3d" * 16}, ["release"]),
        ({"repository": "billing", "pull_request": 9}, ["billing#9"]),
    ],
)
def test_what_a_script_says_is_a_hint(place: Place, payload: Any, named: list[str]) -> None:
    body = encoded(payload)
    answer = place.receive("generic", body, generic(body))
    assert (answer.status, place.taken.named) == (202, named)


@pytest.mark.row(60)
@pytest.mark.parametrize(
    ("endpoint", "event", "payload"),
    [
        ("github", "push", github_push(name="acme/other")),
        ("github", "push", github_push("refs/heads/mine")),
        ("github", "push", github_push("refs/tags/main")),
        ("github", "push", github_push("main")),
        ("github", "pull_request", github_pull_request(base="mine")),
        ("github", "pull_request", github_pull_request("labeled")),
        ("github", "issue_comment", github_comment(on_request=False)),
        ("github", "issue_comment", github_comment("I like /driftwatch")),
        ("github", "issue_comment", github_comment("To be copied:\n/driftwatch plan")),
        ("github", "ping", {"zen": "Keep it logically awesome.", "hook_id": 30}),
        ("github", "workflow_run", github_push()),
        ("gitlab", "Push Hook", gitlab_push(path="group/other")),
        ("gitlab", "Push Hook", gitlab_push("refs/heads/mine")),
        ("gitlab", "Tag Push Hook", gitlab_push("refs/tags/v1")),
        ("gitlab", "Merge Request Hook", gitlab_merge_request("approved")),
        ("gitlab", "Merge Request Hook", gitlab_merge_request(target="mine")),
        ("gitlab", "Note Hook", gitlab_note("well done")),
        ("gitlab", "Pipeline Hook", gitlab_push()),
        ("generic", "", {"repository": "nobodys"}),
        ("generic", "", {"repository": "nobodys", "pull_request": 1}),
        ("github", "pull_request", github_pull_request() | github_push(name="acme/tagged")),
        ("generic", "", {"repository": "tagged", "pull_request": 1}),
        ("generic", "", {"repository": "platform", "branch": "mine"}),
        ("generic", "", {"repository": "platform", "branch": "--upload-pack=touch /tmp/x"}),
    ],
)
def test_what_is_not_watched_is_ignored(place: Place, endpoint: str, event: str, payload: Any) -> None:
    """Row 60: an unlisted repository, another branch, another event: no hint, so no clone and no look."""
    body = encoded(payload)
    headers = {"github": github(body, event), "gitlab": gitlab(event), "generic": generic(body)}[endpoint]
    answer = place.receive(endpoint, body, headers)
    assert (answer.status, list(answer.document)) == (200, ["ignored"])
    assert place.taken.hints == []


def test_tags_are_hints_where_they_count() -> None:
    tagged = REPOSITORIES["tagged"].model_copy(update={"signatures": "tags"})
    taken = Taken()
    hooks = driftwatch.web.Hooks(all_hooks(), {"tagged": tagged}, hints=taken, notes=taken, clock=taken.clock)
    body = encoded(github_push("refs/tags/v1", name="acme/tagged"))
    headers = {key.lower(): value for key, value in github(body).items()}
    assert hooks.receive("github", "", headers, body).status == 202
    assert taken.named == ["tagged"]


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/acme/platform.git",
        "https://x-access-token@GITHUB.com/Acme/Platform/",
        "ssh://git@github.com/acme/platform",
        "ssh://git@github.com:22/acme/platform.git/",
        "git@github.com:acme/platform.git",
        "git://github.com/acme/platform.git",
    ],
)
def test_a_repository_is_the_same_by_every_url(url: str) -> None:
    assert same_place(url) == "github.com/acme/platform"


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com.evil.example/acme/platform",
        "https://github.com:8443/acme/platform",
        "https://github.com/acme/platform2",
        "https://evil.example/github.com/acme/platform",
        "https://[::1/acme/platform",
        "https://github.com:99999/acme/platform",
        "",
    ],
)
def test_another_repository_is_another(url: str) -> None:
    assert same_place(url) != "github.com/acme/platform"


# Who is heard


FORGED: list[tuple[str, dict[str, str] | None]] = [
    ("github", {}),
    ("github", {"X-Hub-Signature-256": ""}),
    ("github", {"X-Hub-Signature-256": "sha256="}),
    ("github", {"X-Hub-Signature-256": "sha256=" + "0" * 64}),
    ("github", {"X-Hub-Signature-256": "sha1=" + "0" * 40}),
    ("gitlab", {}),
    ("gitlab", {"X-Gitlab-Token": ""}),
    ("gitlab", {"X-Gitlab-Token": TOKEN[:-1]}),
    ("gitlab", {"X-Gitlab-Token": TOKEN + " x"}),
    ("generic", {}),
    ("generic", {"X-Driftwatch-Signature": "t=,v1="}),
    ("generic", {"X-Driftwatch-Signature": "t=1,v1=" + "0" * 64}),
    ("generic", {"Authorization": f"Bearer {GENERIC_SECRET}"}),
]


@pytest.mark.row(56)
@pytest.mark.parametrize(("endpoint", "headers"), FORGED)
def test_what_is_forged_is_refused_and_put_down(
    server: Place, endpoint: str, headers: dict[str, str]
) -> None:
    """Row 56: no signature or a wrong one: 401, audited, no work."""
    body = encoded(
        {"github": github_push(), "gitlab": gitlab_push()}.get(endpoint, {"repository": "platform"})
    )
    with structlog.testing.capture_logs() as logs:
        answer = server.post(
            endpoint, body, {**headers, "X-GitHub-Event": "push", "X-Gitlab-Event": "Push Hook"}
        )
    assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")
    assert server.taken.hints == []
    (note,) = server.taken.notes
    assert (note["via"], note["action"], note["outcome"]) == (endpoint, "hook", "refused: unauthorized")
    assert note["actor"] == "127.0.0.1"
    assert "canary" not in answer.text + repr(note) + repr(logs)


@pytest.mark.row(56)
@pytest.mark.parametrize("endpoint", ["github", "gitlab", "generic"])
def test_another_secret_is_none(place: Place, endpoint: str) -> None:
    """Row 56: signed, and by somebody else."""
    body = encoded({"repository": "platform"})
    headers = {
        "github": github(body, secret=GENERIC_SECRET),
        "gitlab": gitlab(token=SECRET),
        "generic": generic(body, secret=SECRET),
    }
    assert place.receive(endpoint, body, headers[endpoint]).status == 401


@pytest.mark.row(56)
def test_sha1_alone_counts_for_nothing(place: Place) -> None:
    """Row 56: the signature of before, right as it is."""
    body = encoded(github_push())
    headers = {key: value for key, value in github(body).items() if key != "X-Hub-Signature-256"}
    assert place.receive("github", body, headers).status == 401
    moved = headers | {"X-Hub-Signature-256": headers["X-Hub-Signature"]}
    assert place.receive("github", body, moved).status == 401


@pytest.mark.row(56)
@pytest.mark.parametrize("endpoint", ["github", "gitlab", "generic"])
def test_secrets_are_compared_in_constant_time(
    place: Place, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 56: by `compare_digest` alone, over the whole of it, whatever was sent."""
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def watched(ours: bytes, theirs: bytes) -> bool:
        compared.append((len(ours), len(theirs)))
        return real(ours, theirs)

    monkeypatch.setattr("driftwatch.web.deliveries.hmac.compare_digest", watched)
    for guess in ("0", "0" * 64):
        headers = {
            "X-Hub-Signature-256": f"sha256={guess}",
            "X-Gitlab-Token": guess,
            "X-Driftwatch-Signature": f"t=1,v1={guess}",
        }
        assert place.receive(endpoint, b"{}", headers).status == 401
    whole = {"github": 7 + 64, "gitlab": len(TOKEN), "generic": 64}[endpoint]
    assert [ours for ours, _ in compared] == [whole, whole]


@pytest.mark.row(56)
def test_where_no_secret_is_there_is_no_endpoint() -> None:
    """Row 56: nothing is taken on trust."""
    body = encoded(github_push())
    with serving(Place(HooksSettings())) as nothing:
        answers = [
            nothing.post(name, body, github(body)) for name in ("github", "gitlab", "generic", "slack")
        ]
        assert [each.status_code for each in answers] == [404] * 4
        assert nothing.taken.notes == []


def test_nothing_but_post_is_taken(server: Place) -> None:
    for method in ("GET", "PUT", "OPTIONS"):
        assert httpx2.request(method, server.url("github"), trust_env=False).status_code == 405


@pytest.mark.row(56)
def test_forgeries_fill_no_audit(place: Place) -> None:
    """Row 56: one row for a sender in a minute, and not many for all of them."""
    for number in range(300):
        place.receive("github", b"{}", {}, address="192.0.2.1")
        place.receive("github", b"{}", {}, address=f"2001:db8::{number:x}")
    assert len(place.taken.notes) <= driftwatch.web.hooks.MOST_NOTES
    assert sum(note["actor"] == "192.0.2.1" for note in place.taken.notes) == 1


def test_an_audit_that_is_away_stops_nobody(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(**_: Any) -> None:
        raise StoreUnavailableError("the database is away")

    monkeypatch.setattr(place.taken, "note", away)
    with structlog.testing.capture_logs() as logs:
        assert place.receive("github", b"{}", {}).status == 401
    assert "in the log alone" in logs[-1]["event"]


# GitLab's signatures


def signing(*, token: str | None = None) -> Place:
    section = GitlabHookSettings(
        token=SecretStr(token) if token else None, signing_token=SecretStr(SIGNING_TOKEN)
    )
    return Place(all_hooks(gitlab=section))


def test_a_signature_of_gitlab_is_good_by_itself() -> None:
    """https://docs.gitlab.com/user/project/integrations/webhooks/: HMAC-SHA256 of id, time and body."""
    place, body = signing(), encoded(gitlab_push())
    headers = signed_by_gitlab(body)
    several = headers | {"webhook-signature": f"v1,AAAA {headers['webhook-signature']} v1a,BBBB"}
    assert place.receive("gitlab", body, several).status == 202
    assert place.taken.named == ["billing"]


@pytest.mark.row(56)
@pytest.mark.parametrize(
    "wrong",
    [
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-id": "another"},
        {"webhook-id": ""},
        {"webhook-timestamp": "1"},
        {"webhook-timestamp": ""},
    ],
)
def test_a_signature_of_another_delivery_is_none(wrong: dict[str, str]) -> None:
    """Row 56: it is over the id, the time and the body."""
    place, body = signing(), encoded(gitlab_push())
    assert place.receive("gitlab", body, signed_by_gitlab(body) | wrong).status == 401
    assert place.receive("gitlab", body + b" ", signed_by_gitlab(body)).status == 401
    assert place.receive("gitlab", body, signed_by_gitlab(body, key=KEY[:-1])).status == 401


def test_where_gitlab_signs_a_token_alone_is_not_enough() -> None:
    place, body = signing(token=TOKEN), encoded(gitlab_push())
    assert place.receive("gitlab", body, gitlab()).status == 401
    assert place.receive("gitlab", body, signed_by_gitlab(body)).status == 401
    assert place.receive("gitlab", body, signed_by_gitlab(body) | {"X-Gitlab-Token": TOKEN}).status == 202


@pytest.mark.row(57)
@pytest.mark.parametrize("ago", [301, -301])
def test_a_signature_of_another_time_is_refused(ago: float) -> None:
    """Row 57: five minutes either way."""
    place, body = signing(), encoded(gitlab_push())
    headers = signed_by_gitlab(body, at=time.time() - ago)
    assert place.receive("gitlab", body, headers).document["error"] == "too_old"
    body = encoded({"repository": "platform"})
    headers = generic(body, at=time.time() - ago)
    assert place.receive("generic", body, headers).document["error"] == "too_old"
    assert place.taken.hints == []


# Once


@pytest.mark.row(57)
def test_the_same_delivery_is_taken_once(place: Place) -> None:
    """Row 57: also where somebody has changed what is not signed."""
    body = encoded(github_push())
    answers = [place.receive("github", body, github(body, delivery=name)) for name in ("a", "a", "b")]
    assert [answer.status for answer in answers] == [202, 200, 200]
    assert place.receive("github", body, github(body, "ping")).status == 200
    answers = [place.receive("gitlab", encoded(gitlab_push()), gitlab(key=key)) for key in ("a", "a", "b")]
    assert [answer.status for answer in answers] == [202, 200, 202]
    assert place.taken.named == ["platform", "billing", "billing"]


def test_what_one_delivery_of_gitlab_sets_off_is_another(place: Place) -> None:
    """They share X-Gitlab-Event-UUID, by which they are told to be each other's consequence."""
    for number in range(2):
        body = encoded(gitlab_push() | {"checkout_sha": f"{number:040x}"})
        assert place.receive("gitlab", body, gitlab()).status == 202


@pytest.mark.row(57)
def test_a_replay_is_refused(place: Place) -> None:
    """Row 57: what a script signs is good for once."""
    body = encoded({"repository": "platform"})
    headers = generic(body)
    assert place.receive("generic", body, headers).status == 202
    again = place.receive("generic", body, headers)
    assert (again.status, again.document["error"]) == (409, "replay")
    assert place.taken.named == ["platform"]
    assert place.taken.notes[-1]["outcome"] == "refused: replay"


@pytest.mark.row(57)
def test_a_storm_is_told_to_come_back_and_loses_nothing(server: Place) -> None:
    """Row 57: 1,000 deliveries in a minute over HTTP: 429 beyond the rate, and few looks at a repository."""
    codes: list[int] = []
    looks: list[str] = []
    box, stop = HintBox(poll=looks.append, look_at=lambda *_: None, settle=0.2), threading.Event()
    thread = threading.Thread(target=box.run, args=(stop,))
    thread.start()
    server.taken.passed_to = box
    with closing(HTTPConnection(*server.server.address(), timeout=10)) as connection:
        for number in range(1000):
            name = "acme/platform" if number % 2 else "acme/tagged"
            body = encoded(github_push(name=name, after=f"{number:040x}"))
            connection.request("POST", "/hooks/github", body, github(body))
            answer = connection.getresponse()
            answer.read()
            codes.append(answer.status)
    time.sleep(0.6)
    stop.set()
    thread.join()
    for name in ("platform", "tagged"):
        assert 1 <= looks.count(name) <= 10
    assert codes[:120] == [202] * 120
    assert set(codes[120:]) == {429}
    assert int(answer.headers["Retry-After"]) > 0
    assert len(server.taken.hints) == 1000
    assert set(server.taken.hints) == {
        (Hint(repository="platform"), "github"),
        (Hint(repository="tagged"), "github"),
    }


def test_the_rate_is_each_senders_own_and_each_minutes(place: Place) -> None:
    for number in range(121):
        body = encoded(github_push(after=f"{number:040x}"))
        last = place.receive("github", body, github(body))
    assert last.status == 429
    body = encoded(github_push())
    assert place.receive("github", body, github(body), address="192.0.2.2").status == 202
    assert place.receive("gitlab", encoded(gitlab_push()), gitlab()).status == 202
    place.taken.offset += timedelta(minutes=1)
    body = encoded(github_push(after="f" * 40))
    assert place.receive("github", body, github(body)).status == 202


# What it bears


@pytest.mark.row(58)
@pytest.mark.parametrize("endpoint", ["github", "gitlab", "generic"])
def test_what_is_too_large_is_not_listened_to(server: Place, endpoint: str) -> None:
    """Row 58: 100 MB, by what it says of itself, and in chunks without an end; memory stays flat."""
    before = psutil.Process().memory_info().rss
    with server.connect() as connection:
        connection.sendall(
            f"POST /hooks/{endpoint} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n".encode()
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
    with server.connect() as connection:
        head = f"POST /hooks/{endpoint} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        sent = 0
        try:
            while sent < 100_000_000:
                connection.sendall(chunk)
                sent += len(chunk)
        except OSError:
            pass  # it was refused half way, which is what it should be
        assert sent < 50_000_000, "it went on listening"
    assert psutil.Process().memory_info().rss - before < 30_000_000
    assert server.health() == 200
    assert [note["outcome"] for note in server.taken.notes] == ["refused: too_large"]
    assert server.taken.hints == []


@pytest.mark.row(58)
def test_a_body_at_the_limit_is_read(place: Place) -> None:
    """Row 58: what is not too large is not refused."""
    body = encoded(github_push(padding="x" * (LIMIT - 2000)))
    assert len(body) < LIMIT
    assert place.receive("github", body, github(body)).status == 202


@pytest.mark.row(58)
@pytest.mark.parametrize("endpoint", ["github", "gitlab", "generic"])
def test_a_body_that_drips_is_not_waited_for(
    server: Place, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 58: slowloris in a body; others are served meanwhile."""
    monkeypatch.setattr(driftwatch.web.hooks, "BODY_SECONDS", 0.3)
    drips = [server.connect() for _ in range(30)]
    for connection in drips:
        head = f"POST /hooks/{endpoint} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx"
        connection.sendall(head.encode())
    assert server.health() == 200
    for connection in drips:
        assert connection.recv(100).startswith(b"HTTP/1.1 408")
        connection.close()
    assert [note["outcome"] for note in server.taken.notes] == ["refused: too_slow"]


@pytest.mark.row(58)
def test_many_large_bodies_at_once_take_no_more_than_their_room(
    server: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 58: each is just not too large, and none ends; what small ones need is there again after them."""
    monkeypatch.setattr(driftwatch.web.hooks, "BODY_SECONDS", 1.5)
    before = psutil.Process().memory_info().rss
    body = encoded(github_push())
    head = f"POST /hooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: {LIMIT}\r\n\r\n".encode()
    senders = [server.connect() for _ in range(60)]
    answers: list[bytes] = []
    try:
        for sender in senders:
            try:
                sender.sendall(head + b"x" * (LIMIT - 1))
            except OSError:
                answers.append(b"cut off")
        assert psutil.Process().memory_info().rss - before < 45_000_000
        assert server.health() == 200
        for sender in senders:
            try:
                answers.append(sender.recv(100)[:12])
            except OSError:
                answers.append(b"cut off")
    finally:
        for sender in senders:
            sender.close()
    assert b"HTTP/1.1 503" in answers
    assert set(answers) <= {b"HTTP/1.1 408", b"HTTP/1.1 503", b"cut off", b""}
    assert server.post("github", body, github(body)).status_code == 202


def test_the_time_for_a_body_is_short() -> None:
    assert driftwatch.web.hooks.BODY_SECONDS <= 10


@pytest.mark.row(58)
@pytest.mark.parametrize("packing", ["gzip", "deflate", "br", "x-gzip", "identity, gzip"])
def test_what_is_packed_is_not_unpacked(server: Place, packing: str) -> None:
    """Row 58: a gzip bomb, signed as it is."""
    body = gzip.compress(b"0" * 50_000_000)
    answer = server.post("github", body, github(body) | {"Content-Encoding": packing})
    assert (answer.status_code, answer.json()["error"]) == (415, "packed")
    assert server.taken.hints == []


def test_a_sender_that_goes_away_is_no_error(server: Place, caplog: pytest.LogCaptureFixture) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
    assert server.health() == 200
    assert "Traceback" not in caplog.text


BAD_BODIES = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"\xff\xfe{}",
    b'{"repository": "\xc3\x28"}',
    b'{"ref": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"ref": ' + b'{"a":' * 200 + b"1" + b"}" * 200 + b"}",
    b'{"a": ' + b"9" * 10_000 + b"}",
    b'{"repository": ' + b'"\\"' * 200_000,
    b"<xml/>",
    b"payload=%7B%7D",
]


@pytest.mark.row(59)
@pytest.mark.parametrize("endpoint", ["github", "gitlab", "generic"])
@pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_what_cannot_be_read_is_400(place: Place, endpoint: str, body: bytes) -> None:
    """Row 59: signed, and malformed, deep, or no UTF-8."""
    headers = {"github": github(body), "gitlab": gitlab(), "generic": generic(body)}[endpoint]
    began = time.monotonic()
    answer = place.receive(endpoint, body, headers)
    assert (answer.status, answer.document["error"]) == (400, "malformed")
    assert time.monotonic() - began < 2
    assert place.taken.hints == []


@pytest.mark.row(59)
@pytest.mark.parametrize(
    ("endpoint", "event", "payload"),
    [
        ("github", "push", github_push(repository=["acme/platform"])),
        ("github", "push", github_push(repository={"clone_url": 1})),
        ("github", "push", github_push(ref=["refs/heads/main"])),
        ("github", "pull_request", github_pull_request(number="2; DROP")),
        ("github", "pull_request", github_pull_request(number=True)),
        ("github", "pull_request", github_pull_request(number=0)),
        ("github", "pull_request", github_pull_request(number=2**63)),
        ("github", "pull_request", github_pull_request() | {"pull_request": "x"}),
        ("github", "issue_comment", github_comment() | {"issue": {"pull_request": {}}}),
        ("gitlab", "Push Hook", gitlab_push() | {"project": "x"}),
        ("gitlab", "Push Hook", gitlab_push(number=-1)),
        ("gitlab", "Merge Request Hook", gitlab_merge_request() | {"object_attributes": [1]}),
        ("gitlab", "Note Hook", gitlab_note() | {"merge_request": "x"}),
        ("generic", "", {}),
        ("generic", "", {"repository": None}),
        ("generic", "", {"repository": 1}),
        ("generic", "", {"repository": "platform", "pull_request": "1"}),
        ("generic", "", {"repository": "platform", "pull_request": 1.5}),
        ("generic", "", {"repository": "platform", "commit": "--canary"}),
        ("generic", "", {"repository": "platform", "canary": 1}),
    ],
)
def test_what_is_of_a_wrong_type_is_400(place: Place, endpoint: str, event: str, payload: Any) -> None:
    """Row 59: signed, JSON, and not what is documented; nothing of it is repeated."""
    body = encoded(payload)
    headers = {"github": github(body, event), "gitlab": gitlab(event), "generic": generic(body)}[endpoint]
    answer = place.receive(endpoint, body, headers)
    assert (answer.status, answer.document["error"]) == (400, "malformed")
    assert "canary" not in json.dumps(answer.document)
    assert place.taken.hints == []


def test_depth_is_bounded_where_it_is_said(place: Place) -> None:
    for depth, status in ((DEEPEST - 2, 202), (DEEPEST + 1, 400)):
        body = encoded(github_push(x="]" * 10))[:-1] + b', "d": ' + b"[" * depth + b"]" * depth + b"}"
        assert place.receive("github", body, github(body)).status == status


def test_a_form_is_told_what_to_set(place: Place) -> None:
    body = b"payload=%7B%7D"
    answer = place.receive(
        "github", body, github(body) | {"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert (answer.status, answer.document["error"]) == (415, "not_json")
    assert "application/json" in answer.document["message"]


# Whatever comes


VALID: dict[str, tuple[bytes, dict[str, str]]] = {}
for _body in (encoded(github_push()), encoded(github_pull_request())):
    VALID[f"github {len(_body)}"] = (_body, github(_body))
VALID["gitlab"] = (encoded(gitlab_push()), gitlab())
_body = encoded({"repository": "platform", "pull_request": 3})
VALID["generic"] = (_body, generic(_body))
HOSTILE = st.sampled_from(
    ["", "\x00", "'; --", "{{7*7}}", "../../x", "\ud800", "$(id)", "\u0663", "-1", "a" * 5000]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    which=st.sampled_from(sorted(VALID)),
    cuts=st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=6)), max_size=3),
    headers=st.dictionaries(st.integers(0, 10), st.text(max_size=80) | HOSTILE, max_size=2),
    signs=st.booleans(),
    secret_in_body=st.booleans(),
)
def test_mutated_deliveries_do_nothing_and_break_nothing(
    which: str, cuts: Any, headers: dict[int, str], signs: bool, secret_in_body: bool
) -> None:
    """No 500, no work unless what came is signed as it came, no secret in the log, the audit, the answer."""
    place, endpoint = Place(), which.partition(" ")[0]
    original, good = VALID[which]
    body = original
    for at, patch in cuts:
        body = body[: at % (len(body) + 1)] + patch + body[at % (len(body) + 1) + len(patch) :]
    if secret_in_body:
        body += SECRET.encode()
    sent = dict(good)
    if signs:
        sent |= {"github": github(body), "gitlab": {}, "generic": generic(body)}[endpoint]
    names = sorted(sent)
    sent |= {names[place_ % len(names)]: value for place_, value in headers.items()}
    with structlog.testing.capture_logs() as logs:
        answer = place.receive(endpoint, body, sent)
    assert answer.status in (200, 202, 400, 401, 403, 409, 415)
    if place.taken.hints:
        assert answer.status == 202
        assert is_signed(endpoint, body, sent)
        assert {hint.repository for hint, _ in place.taken.hints} <= set(REPOSITORIES)
    for secret in (SECRET, TOKEN, GENERIC_SECRET):
        assert secret not in repr(logs) + repr(place.taken.notes) + json.dumps(answer.document)


def is_signed(endpoint: str, body: bytes, headers: dict[str, str]) -> bool:
    """Whether these bytes are those that somebody with the secret has signed, by a way of our own."""
    if endpoint == "github":
        return headers["X-Hub-Signature-256"] == github(body)["X-Hub-Signature-256"]
    if endpoint == "gitlab":
        return headers["X-Gitlab-Token"] == TOKEN
    parts = dict(
        each.strip().split("=", 1) for each in headers["X-Driftwatch-Signature"].split(",") if "=" in each
    )
    return parts["v1"] == generic(body, at=float(parts["t"]))["X-Driftwatch-Signature"].rpartition("=")[2]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    endpoint=st.sampled_from(["github", "gitlab", "generic"]),
    body=st.binary(max_size=300) | st.sampled_from([each for each, _ in VALID.values()]),
    headers=st.dictionaries(
        st.sampled_from(
            [
                "X-Hub-Signature-256",
                "X-Gitlab-Token",
                "X-Driftwatch-Signature",
                "Authorization",
                "Content-Type",
            ]
        ),
        st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60),
        max_size=3,
    ),
)
def test_nothing_that_a_stranger_sends_is_a_500(
    server: Place, endpoint: str, body: bytes, headers: dict[str, str]
) -> None:
    """Over HTTP: whoever has no secret is told so, or to come back, whatever it is."""
    sent = {key.encode(): value.strip().encode("latin-1") for key, value in headers.items()}
    answer = server.post(endpoint, body, sent)
    assert answer.status_code in (401, 429)
    assert server.taken.hints == []
    assert "canary" not in answer.text
