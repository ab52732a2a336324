"""Slack's endpoint over real HTTP: who is heard, how much of it and how long, and how soon it answers."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import socket
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx2
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

import driftwatch.web.slack
from driftwatch.config.notify import SlackSettings
from driftwatch.notify.buttons import Aim, Button, value_of
from driftwatch.notify.slack_intake import Pressed, SlackIntake
from driftwatch.web import Server, create_app

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "canary-signing-secret-0123456789"
AIM = Aim(button=Button.ACKNOWLEDGE, incident=7, seen="0123abcd")
LIMIT = 256 * 1024


class Source:
    """A daemon that is well; its metrics wait as long as they are told to."""

    def __init__(self) -> None:
        self.metrics_may_come = threading.Event()
        self.metrics_may_come.set()

    def liveness(self) -> Any:
        return True, {}

    def readiness(self) -> Any:
        return True, {}

    def refresh_metrics(self) -> None:
        self.metrics_may_come.wait(20)


class Place:
    """The server with an intake behind it that may be held up."""

    def __init__(self, secret: str | None = SECRET) -> None:
        self.taken: list[Pressed] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.source = Source()
        self.settings = SlackSettings(
            token=SecretStr("xoxb-1"), channel="#c", signing_secret=SecretStr(secret) if secret else None
        )
        self.intake = SlackIntake(self.settings, self._take, lambda: datetime.now(UTC))
        self.server = Server(partial(create_app, self.source, slack=self.intake), "127.0.0.1:0")

    def _take(self, pressed: Pressed) -> None:
        self.may_go_on.wait(20)
        self.taken.append(pressed)

    def is_idle(self) -> bool:
        """Whether all that was heard is taken, but for what a thread has in hand."""
        return self.intake._queue.empty()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.server.address(), timeout=5)

    def url(self, path: str = "/hooks/slack") -> str:
        return f"http://127.0.0.1:{self.server.address()[1]}{path}"

    def post(self, body: bytes, headers: dict[str, str]) -> Any:
        return httpx2.post(self.url(), content=body, headers=headers, trust_env=False)


@contextmanager
def serving(place: Place) -> Iterator[Place]:
    stop = threading.Event()
    threads = [
        threading.Thread(target=part.run, args=(stop,), daemon=True) for part in (place.server, place.intake)
    ]
    for thread in threads:
        thread.start()
    try:
        yield place
    finally:
        place.may_go_on.set()
        place.source.metrics_may_come.set()
        stop.set()
        for thread in threads:
            thread.join(5)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def one_place() -> Iterator[Place]:
    with serving(Place()) as place:
        yield place


@pytest.fixture
def place(one_place: Place) -> Iterator[Place]:
    """The server, with nothing left of the test before."""
    one_place.taken.clear()
    yield one_place
    one_place.source.metrics_may_come.set()
    one_place.may_go_on.set()
    assert waited_for(one_place.is_idle)


_moments = itertools.count(1)


def a_body() -> bytes:
    """A press, each time another: the same request twice is a replay."""
    moment = f"1767355200.{next(_moments)}"
    action = {"action_id": "driftwatch:acknowledge", "value": value_of(AIM), "action_ts": moment}
    payload = {"type": "block_actions", "user": {"id": "U042ANA"}, "actions": [action]}
    return urlencode({"payload": json.dumps(payload)}).encode()


def signed(body: bytes, *, ago: float = 0, kind: str = "application/x-www-form-urlencoded") -> dict[str, str]:
    timestamp = str(int(time.time() - ago))
    digest = hmac.new(SECRET.encode(), f"v0:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": kind,
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": f"v0={digest}",
    }


def waited_for(done: Any, seconds: float = 3) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if done():
            return True
        time.sleep(0.01)
    return False


def status_of(connection: socket.socket, seconds: float = 5) -> int:
    connection.settimeout(seconds)
    return int(connection.recv(12).split()[1])


def head(**headers: object) -> bytes:
    lines = [b"POST /hooks/slack HTTP/1.1", b"Host: x"]
    lines += [f"{name.replace('_', '-')}: {value}".encode() for name, value in headers.items()]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def test_a_press_comes_in_and_is_taken(place: Place) -> None:
    body = a_body()

    answer = place.post(body, signed(body))

    assert (answer.status_code, answer.content) == (200, b"")
    assert waited_for(lambda: [pressed.aim for pressed in place.taken] == [AIM])


def test_an_answer_with_content_is_json(place: Place) -> None:
    body = json.dumps({"type": "url_verification", "challenge": "3eZbrw1a"}).encode()

    answer = place.post(body, signed(body, kind="application/json"))

    assert answer.json() == {"challenge": "3eZbrw1a"}
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.row(55)
def test_forged_replayed_and_old_requests_are_refused(place: Place) -> None:
    """Row 55: each is 401 without a word, and nothing is taken."""
    body = a_body()
    good = signed(body)

    with structlog.testing.capture_logs():
        answers = [
            place.post(body, {"Content-Type": good["Content-Type"]}),
            place.post(body, good | {"X-Slack-Signature": "v0=" + "0" * 64}),
            place.post(body + b"&x=1", good),
            place.post(body, signed(body, ago=302)),
            place.post(body, good),
            place.post(body, good),
        ]

    assert [answer.status_code for answer in answers] == [401, 401, 401, 401, 200, 401]
    assert {answer.content for answer in answers} == {b""}
    assert waited_for(lambda: len(place.taken) == 1)


@pytest.mark.row(55)
def test_slack_is_answered_within_three_seconds_while_the_database_hangs(place: Place) -> None:
    """Row 55: the acknowledgement waits neither for what is pressed nor for other requests."""
    place.may_go_on.clear()
    place.source.metrics_may_come.clear()
    hanging = [place.connect() for _ in range(45)]
    for connection in hanging:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(0.3)
    durations = []
    for _ in range(5):
        body = a_body()
        started = time.monotonic()
        assert place.post(body, signed(body)).status_code == 200
        durations.append(time.monotonic() - started)

    assert max(durations) < 3
    assert place.taken == []
    place.source.metrics_may_come.set()
    for connection in hanging:
        assert connection.recv(12) == b"HTTP/1.1 200"
        connection.close()
    place.may_go_on.set()
    assert waited_for(lambda: len(place.taken) == 5)


def test_where_too_many_wait_slack_is_told_to_tell_the_person(place: Place) -> None:
    place.may_go_on.clear()

    with structlog.testing.capture_logs():
        answers = []
        with httpx2.Client(trust_env=False) as client:
            for _ in range(103):
                body = a_body()
                answers.append(client.post(place.url(), content=body, headers=signed(body)).status_code)

    assert answers[:100] == [200] * 100
    assert answers[-1] == 503


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_a_post_is_heard(place: Place, method: str) -> None:
    assert httpx2.request(method, place.url(), trust_env=False).status_code == 405


@pytest.mark.parametrize("path", ["/hooks/slack/", "/hooks/slack/x", "/hooks", "/hooks/github"])
def test_there_is_nothing_beside_it(place: Place, path: str) -> None:
    assert httpx2.post(place.url(path), trust_env=False).status_code == 404


def test_without_a_signing_secret_there_is_no_endpoint() -> None:
    with serving(Place(secret=None)) as place:
        assert place.post(b"", {}).status_code == 404
        assert httpx2.get(place.url(), trust_env=False).status_code == 404


def test_without_slack_there_is_no_endpoint() -> None:
    paths = [getattr(route, "path", "") for route in create_app(Source()).routes]

    assert "/healthz" in paths
    assert "/hooks/slack" not in paths


def test_every_answer_forbids_a_browser_to_make_something_of_it(place: Place) -> None:
    body = a_body()
    with structlog.testing.capture_logs():
        answers = [
            place.post(body, signed(body)),
            place.post(body, {}),
            httpx2.get(place.url(), trust_env=False),
        ]

    assert [answer.status_code for answer in answers] == [200, 401, 405]
    for answer in answers:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert answer.headers["Cache-Control"] == "no-store"


# How much and how long it listens


def test_a_body_of_the_largest_size_is_heard(place: Place) -> None:
    body = a_body() + b"&x="
    body += b"x" * (LIMIT - len(body))

    assert place.post(body, signed(body)).status_code == 200
    assert place.post(body + b"x", signed(body + b"x")).status_code == 413


def test_a_body_that_says_it_is_too_large_is_not_waited_for(place: Place) -> None:
    with place.connect() as connection:
        connection.sendall(head(Content_Length=LIMIT + 1))
        assert status_of(connection, 1) == 413


def test_a_body_that_does_not_say_how_large_it_is_is_read_to_the_limit_alone(place: Place) -> None:
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    with place.connect() as connection:
        connection.sendall(head(Transfer_Encoding="chunked"))
        for _ in range(5):
            connection.sendall(chunk)
        assert status_of(connection) == 413


def test_a_body_that_is_longer_than_it_says_is_no_press(place: Place) -> None:
    """What is beyond the length it gave belongs to no request; what is within it was not signed."""
    body = a_body()
    headers = {name.replace("-", "_"): value for name, value in signed(body).items()}
    with place.connect() as connection, structlog.testing.capture_logs():
        connection.sendall(head(**headers, Content_Length=len(body) - 10) + body)
        assert status_of(connection) == 401

    assert place.taken == []


def test_a_body_that_comes_too_slowly_is_given_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driftwatch.web.slack, "BODY_SECONDS", 0.3)
    with place.connect() as connection:
        connection.sendall(head(Content_Length=1000) + b"payload=")
        started = time.monotonic()
        connection.sendall(b"x")
        assert status_of(connection) == 408
    assert time.monotonic() - started < 2


def test_listening_and_looking_together_leave_time_for_the_answer() -> None:
    assert driftwatch.web.slack.BODY_SECONDS < 2.5


def test_who_goes_away_half_way_is_no_mistake_of_ours(place: Place) -> None:
    with structlog.testing.capture_logs() as logs:
        with place.connect() as connection:
            connection.sendall(head(Content_Length=1000) + b"payload=")
        body = a_body()
        assert place.post(body, signed(body)).status_code == 200

    assert logs == []


HEADERS = st.dictionaries(
    st.sampled_from(
        ["Content-Type", "X-Slack-Signature", "X-Slack-Request-Timestamp", "X-Slack-Retry-Num", "Cookie"]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80).map(str.strip),
)


@pytest.mark.row(55)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(headers=HEADERS, body=st.binary(max_size=300), genuine=st.booleans())
def test_whatever_a_stranger_sends_is_refused_and_never_a_mistake_of_ours(
    place: Place, headers: dict[str, str], body: bytes, genuine: bool
) -> None:
    """Row 55: no header and no body makes an error of ours, is taken, or brings the secret out."""
    sent = a_body() if genuine else body
    with structlog.testing.capture_logs() as logs:
        answer = place.post(sent, signed(a_body()) | {"X-Slack-Signature": "v0=" + "f" * 64} | headers)

    assert answer.status_code == 401
    assert place.taken == []
    assert SECRET not in repr(logs)
    assert not [entry for entry in logs if entry["log_level"] == "error"]
