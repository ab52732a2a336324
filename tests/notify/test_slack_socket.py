"""Socket Mode against a Slack on loopback that loses, refuses, hangs up and falls silent."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import structlog
from pydantic import SecretStr
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve
from werkzeug import Response

from driftwatch.config.notify import SlackSettings
from driftwatch.log import redact
from driftwatch.notify import slack_socket
from driftwatch.notify.slack_intake import Receipt
from driftwatch.notify.slack_socket import Paces, SlackSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_httpserver import HTTPServer
    from websockets.sync.server import Server, ServerConnection

APP_TOKEN = "xapp-canary-app-token-0123456789"
TICKET = "canary-ticket-0123456789"
QUICK = Paces(
    look=0.02,
    ping=0.05,
    silent=1.0,
    opening=2.0,
    first_pause=0.02,
    longest_pause=0.2,
    refused=0.2,
    settled=0.06,
)


class Listener:
    """An intake that takes everything, or nothing, and knows what it heard."""

    def __init__(self) -> None:
        self.heard: list[Mapping[str, Any]] = []
        self.receipt = Receipt(taken=True)

    def receive(self, payload: Mapping[str, Any]) -> Receipt:
        self.heard.append(payload)
        return self.receipt


class Slack:
    """Gives out addresses over HTTP and speaks WebSocket; `plays` says how each connection goes on."""

    def __init__(self, http: HTTPServer) -> None:
        self.connections: list[ServerConnection] = []
        self.acknowledged: list[Any] = []
        self.tokens: list[str | None] = []
        self.refusals: list[Response] = []
        self.plays: list[Callable[[ServerConnection], object]] = []
        self._server: Server = serve(self._speak, "127.0.0.1", 0, ping_interval=None, close_timeout=1)
        self.url = f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}/link?ticket={TICKET}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        http.expect_request("/api/apps.connections.open").respond_with_handler(self._open)
        self.settings = SlackSettings(
            token=SecretStr("xoxb-1"),
            channel="#c",
            app_token=SecretStr(APP_TOKEN),
            base_url=http.url_for("/api/"),
        )

    def _open(self, request: Any) -> Response:
        self.tokens.append(request.headers.get("Authorization"))
        if self.refusals:
            return self.refusals.pop(0)
        return answered({"ok": True, "url": self.url})

    def _speak(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        connection.send(json.dumps({"type": "hello", "num_connections": 1}))
        if self.plays:
            self.plays.pop(0)(connection)
        try:
            for message in connection:
                self.acknowledged.append(json.loads(message))
        except ConnectionClosed:
            return  # the client hangs up without a word

    def send(self, document: Any, *, connection: int = -1) -> None:
        self.connections[connection].send(json.dumps(document))

    def close(self) -> None:
        self._server.shutdown()
        for connection in self.connections:
            connection.close_socket()
        self._thread.join(5)


def answered(document: Any, status: int = 200, **headers: str) -> Response:
    return Response(json.dumps(document), status, headers, content_type="application/json")


def refused(code: str) -> Response:
    return answered({"ok": False, "error": code})


def an_envelope(number: int = 1, kind: str = "interactive", **other: Any) -> dict[str, Any]:
    payload = {"type": "block_actions", "number": number}
    return {"type": kind, "envelope_id": f"e{number}", "payload": payload, **other}


def waited_for(done: Callable[[], object], seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if done():
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def server(httpserver: HTTPServer) -> Iterator[Slack]:
    server = Slack(httpserver)
    yield server
    server.close()


@contextmanager
def listening(settings: SlackSettings, intake: Any, paces: Paces = QUICK) -> Iterator[SlackSocket]:
    """A socket that runs; ends within the five seconds that the daemon waits for it."""
    part, stop = SlackSocket(settings, intake, paces=paces), threading.Event()
    thread = threading.Thread(target=part.run, args=(stop,))
    thread.start()
    try:
        yield part
    finally:
        stop.set()
        thread.join(5)
        assert not thread.is_alive()


@pytest.fixture
def intake() -> Listener:
    return Listener()


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as logs:
        yield logs


def closed(connection: ServerConnection) -> bool:
    try:
        connection.ping().wait(0.2)
    except ConnectionClosed:
        return True
    return False


# The ordinary way


def test_a_press_is_acknowledged_once_it_is_queued(server: Slack, intake: Listener) -> None:
    with listening(server.settings, intake):
        assert waited_for(lambda: server.connections)
        server.send(an_envelope())
        assert waited_for(lambda: server.acknowledged)

    assert intake.heard == [{"type": "block_actions", "number": 1}]
    assert server.acknowledged == [{"envelope_id": "e1"}]
    assert server.tokens == [f"Bearer {APP_TOKEN}"]


def test_a_press_that_could_not_be_queued_is_not_acknowledged(server: Slack, intake: Listener) -> None:
    intake.receipt = Receipt(taken=False)
    with listening(server.settings, intake):
        assert waited_for(lambda: server.connections)
        server.send(an_envelope(1))
        assert waited_for(lambda: intake.heard)
        intake.receipt = Receipt(taken=True)
        server.send(an_envelope(1, retry_attempt=1))
        assert waited_for(lambda: server.acknowledged)

    assert len(intake.heard) == 2
    assert server.acknowledged == [{"envelope_id": "e1"}]


def test_an_objection_goes_back_with_the_acknowledgement(server: Slack, intake: Listener) -> None:
    errors = {"response_action": "errors", "errors": {"reason": "Please say why."}}
    intake.receipt = Receipt(taken=True, answer=errors)
    with listening(server.settings, intake):
        assert waited_for(lambda: server.connections)
        server.send(an_envelope(accepts_response_payload=True))
        assert waited_for(lambda: server.acknowledged)

    assert server.acknowledged == [{"envelope_id": "e1", "payload": errors}]


@pytest.mark.parametrize("kind", ["events_api", "slash_commands", "something_new"])
def test_what_is_no_interaction_is_acknowledged_and_ignored(
    server: Slack, intake: Listener, kind: str
) -> None:
    with listening(server.settings, intake):
        assert waited_for(lambda: server.connections)
        server.send(an_envelope(1, kind))
        assert waited_for(lambda: server.acknowledged)

    assert intake.heard == []


@pytest.mark.parametrize(
    "junk", ["", "pong", "{", "[]", '{"type": "interactive"}', '{"type": 7, "envelope_id": 1, "payload": 2}']
)
def test_junk_on_the_line_costs_nothing(server: Slack, intake: Listener, junk: str) -> None:
    with listening(server.settings, intake):
        assert waited_for(lambda: server.connections)
        server.connections[0].send(junk)
        server.send(an_envelope())
        assert waited_for(lambda: server.acknowledged)

    assert len(server.connections) == 1
    assert len(intake.heard) == 1


def test_a_press_with_a_large_message_in_it_comes_whole(server: Slack, intake: Listener) -> None:
    with listening(server.settings, intake):
        assert waited_for(lambda: server.connections)
        server.send({"type": "interactive", "envelope_id": "e1", "payload": {"message": "x" * 1_000_000}})
        assert waited_for(lambda: server.acknowledged)

    assert [len(payload["message"]) for payload in intake.heard] == [1_000_000]


# When the connection ends


@pytest.mark.parametrize("reason", ["warning", "refresh_requested"])
def test_when_slack_asks_to_leave_the_next_connection_is_there_before_the_last_is_closed(
    server: Slack, intake: Listener, logs: list[Any], reason: str
) -> None:
    with listening(server.settings, intake):
        assert waited_for(lambda: server.connections)
        server.send({"type": "disconnect", "reason": reason})
        assert waited_for(lambda: len(server.connections) == 2)
        server.send(an_envelope(2), connection=1)
        assert waited_for(lambda: server.acknowledged)
        assert waited_for(lambda: closed(server.connections[0]))

    assert len(server.connections) == 2
    assert not [entry for entry in logs if entry["log_level"] != "info"]


def test_a_press_that_comes_while_the_connection_is_replaced_is_acknowledged(
    server: Slack, intake: Listener
) -> None:
    """On the last connection, as long as there is no other."""
    server.refusals = [answered({"ok": True, "url": server.url}), *[refused("internal_error")] * 3]
    with listening(server.settings, intake):
        assert waited_for(lambda: server.connections)
        server.send({"type": "disconnect", "reason": "warning"})
        assert waited_for(lambda: len(server.tokens) >= 2)
        server.send(an_envelope(1), connection=0)
        assert waited_for(lambda: server.acknowledged)
        assert waited_for(lambda: len(server.connections) == 2)

    assert server.acknowledged == [{"envelope_id": "e1"}]


def test_a_press_whose_acknowledgement_was_lost_comes_again_on_the_next_connection(
    server: Slack, intake: Listener
) -> None:
    """Both deliveries are heard and acknowledged: that they are one press, their key says."""

    def cut_off(connection: ServerConnection) -> None:
        connection.send(json.dumps(an_envelope()))
        assert waited_for(lambda: intake.heard)
        connection.close_socket()

    server.plays = [cut_off, lambda connection: connection.send(json.dumps(an_envelope(retry_attempt=1)))]
    with listening(server.settings, intake):
        assert waited_for(lambda: len(intake.heard) == 2)
        assert waited_for(lambda: server.acknowledged)

    assert intake.heard[0] == intake.heard[1]


def test_a_connection_that_slack_closes_is_replaced(server: Slack, intake: Listener) -> None:
    with listening(server.settings, intake):
        assert waited_for(lambda: server.connections)
        server.connections[0].close()
        assert waited_for(lambda: len(server.connections) == 2)
        server.send(an_envelope())
        assert waited_for(lambda: server.acknowledged)


def test_connections_that_end_at_once_are_not_opened_as_fast_as_they_end(
    server: Slack, intake: Listener, logs: list[Any]
) -> None:
    server.plays = [lambda connection: connection.close()] * 1000
    with listening(server.settings, intake, replace(QUICK, settled=10, first_pause=0.2, longest_pause=0.4)):
        time.sleep(1.1)

    assert 2 <= len(server.connections) <= 6
    assert [entry["error"] for entry in logs] == ["connections_end"]


# When Slack falls silent


class SilentServer:
    """Shakes hands, or not even that, and never says a word."""

    def __init__(self, *, shakes_hands: bool) -> None:
        self.accepted: list[socket.socket] = []
        self._shakes_hands = shakes_hands
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}/link?ticket={TICKET}"
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed, which is the end
            self.accepted.append(connection)
            if self._shakes_hands:
                connection.sendall(self._hand(connection.recv(65536)))

    def _hand(self, request: bytes) -> bytes:
        key = request.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
        digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
        answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        return answer + b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        for connection in self.accepted:
            connection.close()
        # Who still waits for a handshake gives up now, and not during another test.
        assert waited_for(lambda: "slack-socket-opening" not in {each.name for each in threading.enumerate()})


@pytest.fixture
def silent() -> Iterator[SilentServer]:
    server = SilentServer(shakes_hands=True)
    yield server
    server.close()


@pytest.fixture
def dumb() -> Iterator[SilentServer]:
    server = SilentServer(shakes_hands=False)
    yield server
    server.close()


@pytest.mark.parametrize(("ping", "silence"), [(0.1, 60), (60, 0.5)])
def test_a_connection_that_falls_silent_is_replaced(
    server: Slack, intake: Listener, silent: SilentServer, ping: float, silence: float
) -> None:
    """Whether slack-sdk sees it (a ping has no answer) or not (it is wedged, and sends none)."""
    server.refusals = [answered({"ok": True, "url": silent.url})]
    with listening(server.settings, intake, replace(QUICK, ping=ping, silent=silence)):
        assert waited_for(lambda: server.connections)
        server.send(an_envelope())
        assert waited_for(lambda: server.acknowledged)

    assert len(silent.accepted) == 1


def test_a_connection_that_is_cut_is_replaced_without_keeping_a_core_busy(
    server: Slack, intake: Listener, silent: SilentServer
) -> None:
    """slack-sdk reads on at full speed from a connection that ended without a word, until a ping fails."""
    server.refusals = [answered({"ok": True, "url": silent.url})]
    with listening(
        server.settings, intake, replace(QUICK, ping=60, silent=60, first_pause=1.5, longest_pause=1.5)
    ):
        assert waited_for(lambda: silent.accepted)
        time.sleep(0.3)
        before = time.process_time()
        silent.accepted[0].shutdown(socket.SHUT_WR)
        assert waited_for(lambda: server.connections)
        used = time.process_time() - before

    assert used < 0.75


def test_a_connection_with_nothing_to_say_is_kept(server: Slack, intake: Listener) -> None:
    """Answers to pings are signs of life enough."""
    with listening(server.settings, intake, replace(QUICK, silent=0.4)):
        time.sleep(1.0)

    assert len(server.connections) == 1


# A socket that slack-sdk could not use is closed by the garbage collector, which says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_handshake_that_does_not_come_is_not_waited_for(
    server: Slack, intake: Listener, dumb: SilentServer, logs: list[Any]
) -> None:
    server.refusals = [answered({"ok": True, "url": dumb.url})]
    with listening(server.settings, intake, replace(QUICK, opening=0.5)):
        assert waited_for(lambda: server.connections)
        server.send(an_envelope())
        assert waited_for(lambda: server.acknowledged)

    assert [entry["error"] for entry in logs if entry["log_level"] == "warning"] == ["TimeoutError"]


def test_an_attempt_that_succeeds_too_late_leaves_no_connection_behind(
    server: Slack, intake: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slack would send presses to it, and nobody would read them."""
    opened, is_slow, may_open = SlackSocket._open, threading.Event(), threading.Event()

    def open_slowly(self: SlackSocket) -> Any:
        if not is_slow.is_set():
            is_slow.set()
            may_open.wait(10)
        return opened(self)

    monkeypatch.setattr(SlackSocket, "_open", open_slowly)
    with listening(server.settings, intake, replace(QUICK, opening=1.0)):
        assert waited_for(lambda: server.connections)
        may_open.set()
        assert waited_for(lambda: len(server.connections) == 2)
        assert waited_for(lambda: closed(server.connections[1]))
        assert not closed(server.connections[0])


# When Slack refuses


def test_a_token_that_slack_refuses_is_said_once_and_tried_again(
    server: Slack, intake: Listener, logs: list[Any]
) -> None:
    server.refusals = [refused("invalid_auth")] * 3
    with listening(server.settings, intake):
        started = time.monotonic()
        assert waited_for(lambda: server.connections)
        passed = time.monotonic() - started
        assert waited_for(lambda: len(logs) == 2)

    assert passed >= 3 * QUICK.refused
    assert [(entry["log_level"], entry.get("error")) for entry in logs] == [
        ("warning", "invalid_auth"),
        ("info", None),
    ]
    assert "notify.slack.app_token" in logs[0]["advice"]
    assert len(server.tokens) == 4


def test_a_token_that_slack_refuses_is_tried_every_five_minutes() -> None:
    assert Paces().refused == 300


@pytest.mark.parametrize(
    "trouble",
    [
        Response("<html>", 502),
        Response("no JSON", 200),
        Response("[]", 200),
        answered({"ok": True}),
        answered({"ok": True, "url": 7}),
        answered({"ok": True, "url": "ws://127.0.0.1:1/link"}),
        answered({"ok": True, "url": "wss://127.0.0.1:8443/link"}),
        answered({"ok": True, "url": "ws:///link"}),
        answered({"ok": True, "url": "ws://[x/link"}),
        answered({"ok": True, "url": "http://127.0.0.1:1/"}),
        answered({"ok": False, "error": "internal_error"}),
        answered({"ok": False, "error": "<html>"}),
        answered({"ok": False, "error": "ratelimited"}, 429, **{"Retry-After": "0"}),
    ],
    ids=lambda response: f"{response.status_code} {response.get_data(as_text=True)[:40]}",
)
def test_whatever_is_wrong_is_said_once_and_tried_again(
    server: Slack, intake: Listener, logs: list[Any], trouble: Response
) -> None:
    server.refusals = [trouble] * 2
    with listening(server.settings, intake):
        assert waited_for(lambda: server.connections)
        assert waited_for(lambda: len(logs) == 2)

    assert [entry["log_level"] for entry in logs] == ["warning", "info"]
    assert logs[0]["advice"] is None


def test_slack_may_ask_for_time(server: Slack, intake: Listener) -> None:
    server.refusals = [answered({"ok": False, "error": "ratelimited"}, 429, **{"Retry-After": "1"})]
    with listening(server.settings, intake, replace(QUICK, refused=2.0)):
        started = time.monotonic()
        assert waited_for(lambda: server.connections)

    assert time.monotonic() - started >= 1


def test_presses_are_never_sent_in_clear_where_slack_is_spoken_to_encrypted() -> None:
    """slack-sdk decides by the port; the scheme means nothing to it."""
    assert slack_socket._usable("wss://wss-primary.slack.com/link", "https://slack.com/api/")
    for url in ("ws://wss-primary.slack.com/link", "wss://wss-primary.slack.com:8443/link"):
        with pytest.raises(ValueError, match="not encrypted"):
            slack_socket._usable(url, "https://slack.com/api/")


# The end


@pytest.mark.parametrize("moment", ["connected", "leaving", "refused", "pausing"])
def test_it_ends_within_five_seconds_whatever_it_is_doing(
    server: Slack, intake: Listener, logs: list[Any], moment: str
) -> None:
    if moment == "refused":
        server.refusals = [refused("invalid_auth")] * 9
    if moment == "pausing":
        server.refusals = [Response("", 500)] * 9
    paces = Paces(first_pause=60, longest_pause=60)
    with listening(server.settings, intake, paces):
        assert waited_for(lambda: logs if server.refusals else server.connections)
        if moment == "leaving":
            server.send({"type": "disconnect"})
        time.sleep(0.2)
        started = time.monotonic()

    assert time.monotonic() - started < 3
    assert all(waited_for(lambda line=line: closed(line)) for line in server.connections)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("shakes_hands", [True, False])
def test_it_ends_within_five_seconds_while_slack_hangs(
    server: Slack, intake: Listener, silent: SilentServer, dumb: SilentServer, shakes_hands: bool
) -> None:
    hanging = silent if shakes_hands else dumb
    server.url = hanging.url
    with listening(server.settings, intake, Paces()):
        assert waited_for(lambda: hanging.accepted)
        time.sleep(0.3)
        started = time.monotonic()

    assert time.monotonic() - started < 3


def test_it_leaves_no_thread_behind(server: Slack, intake: Listener) -> None:
    before = psutil.Process().num_threads()
    with listening(server.settings, intake):
        assert waited_for(lambda: server.connections)
        for number in range(1, 4):
            server.send({"type": "disconnect"})
            assert waited_for(lambda number=number: len(server.connections) == number + 1)

    assert waited_for(lambda: psutil.Process().num_threads() <= before)


def test_it_can_be_run_again(server: Slack, intake: Listener) -> None:
    part = SlackSocket(server.settings, intake, paces=QUICK)
    for number in (1, 2):
        stop = threading.Event()
        thread = threading.Thread(target=part.run, args=(stop,))
        thread.start()
        assert waited_for(lambda number=number: len(server.connections) == number)
        server.send(an_envelope(number))
        assert waited_for(lambda number=number: len(server.acknowledged) == number)
        stop.set()
        thread.join(5)
        assert not thread.is_alive()


# What is said


def test_no_ticket_and_no_token_is_ever_logged(
    server: Slack, intake: Listener, logs: list[Any], caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    """slack-sdk logs the address, with its ticket, where a connection cannot be had."""
    caplog.set_level(logging.DEBUG)
    server.refusals = [
        answered({"ok": True, "url": f"ws://127.0.0.1:1/link?ticket={TICKET}"}),
        refused("invalid_auth"),
        answered({"ok": True, "url": f"wss://127.0.0.1:1/link?ticket={TICKET}"}),
    ]
    with listening(server.settings, intake):
        assert waited_for(lambda: server.connections)
        assert waited_for(lambda: len(logs) == 4)

    told = repr(logs) + "".join(
        record.getMessage() for record in caplog.records if not record.name.startswith("websockets")
    )
    assert len(logs) == 4
    assert "canary" not in told + "".join(capfd.readouterr())
    assert APP_TOKEN not in redact(f"it is {APP_TOKEN}")


def test_without_an_app_token_there_is_no_socket_mode() -> None:
    with pytest.raises(ValueError, match="app_token"):
        SlackSocket(SlackSettings(token=SecretStr("xoxb-1"), channel="#c"), Listener())
