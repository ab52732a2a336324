"""Presses in Slack by Socket Mode: a connection that we open, for those whom Slack cannot reach.

    open → watch → (told to leave, hung up, silent) → open the next → close the last

slack-sdk's client speaks the protocol and is never mended, only replaced: one that reconnects by itself may
sleep for as long as Slack asks, may go on for ever on a closed session, and may leave a connection behind
that Slack sends presses to and nobody reads. So its own reconnecting is off, it is watched from outside, and
opening and closing, which may hang in a name server or a handshake, have threads of their own. Where Slack
says that it is about to close a connection, the next one is there before the last one is closed.

What is not acknowledged, Slack sends again on the next connection; `slack_intake` gives it the same key. The
client's logger is silent, as its lines hold addresses with tickets. The app needs an app-level token with the
scope connections:write, and Socket Mode turned on.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from concurrent import futures
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.builtin import SocketModeClient
from slack_sdk.socket_mode.response import SocketModeResponse

from driftwatch import log
from driftwatch.notify.retry_after import seconds_in
from driftwatch.notify.slack_replies import error_code, silent_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slack_sdk.socket_mode.client import BaseSocketModeClient
    from slack_sdk.socket_mode.request import SocketModeRequest

    from driftwatch.config.notify import SlackSettings
    from driftwatch.notify.slack_intake import Receipt

CALL_SECONDS = 10
FRAME_BYTES = 16 * 1024
"""Read at once: slack-sdk calls itself once for each piece of a message, and Python allows it a thousand."""

_PASSING = frozenset(
    {"fatal_error", "internal_error", "ratelimited", "rate_limited", "request_timeout", "service_unavailable"}
)
_ADVICE = (
    "Set notify.slack.app_token to an app-level token (xapp-…) with the scope connections:write, and turn "
    "Socket Mode on in the app's settings."
)
_WORKS = "works"
_TICK_SECONDS = 0.1
_HUNG_UP = select.POLLHUP | select.POLLERR | select.POLLNVAL
_LEAVES = getattr(select, "POLLRDHUP", 0)
"""Linux alone says so of a socket without reading from it; elsewhere a ping that fails does."""

logger = log.get("slack")


class PressReceiver(Protocol):
    """Who reads what Slack sends, and queues it."""

    def receive(self, payload: Mapping[str, Any]) -> Receipt: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Paces:
    """How often and how long, in seconds."""

    look: float = 1.0
    """Between two looks at the connection, and so the longest that a lost one goes unseen."""
    ping: float = 5.0
    """Between two pings; after four without an answer slack-sdk gives the connection up."""
    silent: float = 60.0
    """After so long without a word or an answer to a ping it is replaced, whatever slack-sdk thinks of it."""
    opening: float = 30.0
    """What opening may take before another attempt is made: three calls of ten seconds."""
    first_pause: float = 1.0
    longest_pause: float = 60.0
    """Between attempts while Slack is away: doubled each time, as people wait for their buttons."""
    refused: float = 300.0
    """Between attempts while Slack refuses us: a person has to mend that."""
    settled: float = 10.0
    """A connection that ends sooner counts as a failed attempt: we would open one after the other."""
    farewell: float = 4.0
    """What closing may take at the end; the daemon waits five seconds."""


class SlackSocket:
    """Keeps one connection to Slack and acknowledges what `intake` has queued."""

    def __init__(self, settings: SlackSettings, intake: PressReceiver, *, paces: Paces | None = None) -> None:
        if settings.app_token is None:
            raise ValueError("Socket Mode needs notify.slack.app_token")
        self._app_token = settings.app_token.get_secret_value()
        log.register_secret(self._app_token)
        self._base_url = settings.base_url or WebClient.BASE_URL
        self._intake = intake
        self._paces = paces or Paces()
        self._line: _Line | None = None
        self._failures = 0
        self._said: str | None = None
        """What was logged last: that it works, or why it does not."""

    def run(self, stop: threading.Event) -> None:
        """Hears presses until `stop` is set; ends within five seconds of that."""
        while not stop.is_set():
            fresh = self._opened(stop)
            if fresh is not None:
                self._let_go()
                self._line = fresh
                self._watch(fresh, stop)
        if closing := self._let_go():
            closing.join(self._paces.farewell)

    def _opened(self, stop: threading.Event) -> _Line | None:
        """A new connection; None where there is none, which is said and has been waited for."""
        attempt = self._attempt()
        deadline = time.monotonic() + self._paces.opening
        while not attempt.done() and time.monotonic() < deadline and not stop.is_set():
            futures.wait([attempt], _TICK_SECONDS)
        if stop.is_set() or not attempt.done():
            attempt.add_done_callback(_close_unwanted)
            self._failed(TimeoutError(), stop)
            return None
        if error := attempt.exception():
            self._failed(error, stop)
            return None
        return attempt.result()

    def _attempt(self) -> Future[_Line]:
        attempt: Future[_Line] = Future()

        def open_one() -> None:
            try:
                attempt.set_result(self._open())
            except Exception as error:  # noqa: BLE001  (whatever slack-sdk trips on, there is a next attempt)
                attempt.set_exception(error)

        threading.Thread(target=open_one, name="slack-socket-opening", daemon=True).start()
        return attempt

    def _open(self) -> _Line:
        web = WebClient(
            base_url=self._base_url, timeout=CALL_SECONDS, logger=silent_logger(), retry_handlers=[]
        )
        url = web.apps_connections_open(app_token=self._app_token).get("url")
        line = _Line(self._app_token, _usable(url, self._base_url), web, self._paces.ping)
        line.socket_mode_request_listeners.append(self._hear)
        try:
            line.connect()
        except Exception:
            line.retire()
            raise
        if not line.is_connected():
            line.retire()
            raise ConnectionError("no WebSocket")
        return line

    def _hear(self, client: BaseSocketModeClient, request: SocketModeRequest) -> None:
        """Called on a thread of the client. What is not acknowledged comes again, or its person is told."""
        answer = None
        if request.type == "interactive":
            receipt = self._intake.receive(request.payload)
            if not receipt.taken:
                return
            answer = dict(receipt.answer) if receipt.answer else None
        client.send_socket_mode_response(SocketModeResponse(request.envelope_id, answer))

    def _watch(self, line: _Line, stop: threading.Event) -> None:
        """Waits until `line` is to be replaced: it leaves, is lost, or is silent; or until the end."""
        began = heard_at = time.monotonic()
        signs, is_settled = line.signs_of_life(), False
        while not (stop.is_set() or line.leaving.is_set() or line.is_lost()):
            stop.wait(self._paces.look)
            now = time.monotonic()
            if (latest := line.signs_of_life()) != signs:
                signs, heard_at = latest, now
            if now - heard_at > self._paces.silent:
                break
            if not is_settled and heard_at - began >= self._paces.settled:
                is_settled = True
                self._works()
        if not line.leaving.is_set():
            self._let_go()
        if not is_settled:
            self._ended_early(stop)

    def _let_go(self) -> threading.Thread | None:
        """Closes the connection, if there is one; the thread that does so."""
        line, self._line = self._line, None
        return line.retire() if line else None

    def _rest(self, seconds: float, stop: threading.Event) -> None:
        """Waits, and looks after a connection that was to be replaced and is not yet."""
        deadline = time.monotonic() + seconds
        while not stop.is_set() and (left := deadline - time.monotonic()) > 0:
            if self._line is not None and self._line.is_lost():
                self._let_go()
            stop.wait(min(left, self._paces.look))

    def _works(self) -> None:
        self._failures = 0
        if self._said != _WORKS:
            logger.info("Slack's buttons come by Socket Mode.", action="slack_socket_connected")
        self._said = _WORKS

    def _ended_early(self, stop: threading.Event) -> None:
        """One may be bad luck; more of them would be opened as fast as they end."""
        self._failures += 1
        if self._failures > 1 and not stop.is_set():
            self._complain("connections_end", None)
        self._rest(self._pause(), stop)

    def _failed(self, error: BaseException, stop: threading.Event) -> None:
        """Says what is wrong, once until it is something else, and waits for the time of the next attempt."""
        if stop.is_set():
            return
        answer = error.response if isinstance(error, SlackApiError) else None
        code = error_code(error) if isinstance(error, SlackApiError) else None
        refused = code is not None and code not in _PASSING
        self._complain(code or type(error).__name__, _ADVICE if refused else None)
        self._failures += 1
        asked = (seconds_in(answer.headers) if answer is not None else None) or 0.0
        longest = self._paces.refused
        self._rest(longest if refused else max(self._pause(), min(asked, longest)), stop)

    def _complain(self, reason: str, advice: str | None) -> None:
        if self._said != reason:
            logger.warning(
                "Slack's buttons do not work: there is no connection by Socket Mode. It is tried again.",
                action="slack_socket",
                error=reason,
                advice=advice,
            )
        self._said = reason

    def _pause(self) -> float:
        doubled = self._paces.first_pause * 2.0 ** min(self._failures - 1, 20)
        return min(doubled, self._paces.longest_pause)


class _Line(SocketModeClient):
    """One connection, from its opening to its end."""

    def __init__(self, app_token: str, url: str, web: WebClient, ping: float) -> None:
        self.leaving = threading.Event()
        """Set when Slack has said that it will close this connection."""
        self._messages = 0
        super().__init__(
            app_token=app_token,
            logger=silent_logger(),
            web_client=web,
            auto_reconnect_enabled=False,
            ping_interval=ping,
            receive_buffer_size=FRAME_BYTES,
            concurrency=2,
            on_message_listeners=[self._count],
        )
        self.wss_uri = url

    def connect_to_new_endpoint(self, force: bool = False) -> None:  # noqa: ARG002  (the base class's)
        """Called when Slack asks us to leave; who watches this connection opens the next."""
        self.leaving.set()

    def signs_of_life(self) -> tuple[int, float | None]:
        """Another value whenever something was heard: a message, or an answer to a ping."""
        session = self.current_session
        return self._messages, session.last_ping_pong_time if session else None

    def is_lost(self) -> bool:
        """Whether it is closed, here or there: from one closed there slack-sdk reads on, at full speed."""
        session = self.current_session
        connection = session.sock if session else None
        return connection is None or _is_hung_up(connection)

    def retire(self) -> threading.Thread:
        """Closes it, on a thread that ends within a few seconds."""
        closing = threading.Thread(target=self._close, name="slack-socket-closing", daemon=True)
        closing.start()
        return closing

    def _close(self) -> None:
        self.closed = True
        session = self.current_session
        if session is not None and session.sock is not None:
            _shut_down(session.sock)
        self.message_queue.put(None)  # wakes the thread that waits for messages, which closing waits for
        self.close()

    def _count(self, _message: str) -> None:
        self._messages += 1


def _close_unwanted(attempt: Future[_Line]) -> None:
    """An attempt that nobody waits for any more must leave no connection: Slack would send presses to it."""
    if attempt.exception() is None:
        attempt.result().retire()


def _usable(url: object, base_url: str) -> str:
    """The address that Slack gave. slack-sdk speaks in clear with any port but 443, whatever the scheme."""
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is None or not parts.hostname:
        raise ValueError("no address")
    in_clear = parts.scheme == "ws" and urlsplit(base_url).scheme == "http"
    if not in_clear and (parts.scheme != "wss" or parts.port not in {None, 443}):
        raise ValueError("an address that is not encrypted")
    return parts.geturl()


def _is_hung_up(connection: socket.socket) -> bool:
    try:
        poll = select.poll()
        poll.register(connection.fileno(), _LEAVES)
        events = poll.poll(0)
    except (OSError, ValueError):
        return True  # closed by another thread in this moment
    return any(event & (_HUNG_UP | _LEAVES) for _, event in events)


def _shut_down(connection: socket.socket) -> None:
    """Wakes whoever reads from it and holds the lock that closing needs. Below TLS, which would wait."""
    try:
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        return  # it was closed already
