"""uvicorn in a thread: starts clean or says why not, stops within two seconds, touches no signal and no log.

What a client may do to it is bounded: 256 connections, 16 KiB of headers, ten seconds from connecting (or
from the answer before) to the end of its next request. uvicorn knows no deadline for a request that arrives
drop by drop; `_deadlined` adds it.
"""

from __future__ import annotations

import errno
import logging
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from driftwatch import log
from driftwatch.errors import UsageError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from fastapi import FastAPI

REQUEST_SECONDS = 10.0
CONNECTIONS = 256
HEADER_BYTES = 16 * 1024
TICK_SECONDS = 0.25
"""How often the server looks whether to stop: often enough for a stop within two seconds, and next to no
work."""

logger = log.get("web")


class Server:
    """Serves what `make_app` makes on `listen`: `HOST:PORT`, an IPv6 host in brackets, port 0 for any."""

    def __init__(
        self, make_app: Callable[[], FastAPI], listen: str, *, request_seconds: float = REQUEST_SECONDS
    ) -> None:
        self._make_app = make_app
        self._listen = listen
        self._request_seconds = request_seconds
        self._bound = threading.Event()
        self._address = ("", 0)

    def address(self, timeout: float = 10.0) -> tuple[str, int]:
        """Host and port that are listened on, once they are; TimeoutError where that takes too long."""
        if not self._bound.wait(timeout):
            raise TimeoutError(f"nothing listens on {self._listen} after {timeout} s")
        return self._address

    def run(self, stop: threading.Event) -> None:
        """Serves until `stop` is set; may be run again. Raises UsageError where the address cannot be had."""
        with _listening(self._listen) as listener:
            host, port = listener.getsockname()[:2]
            server = _server(self._make_app(), stop, self._request_seconds)
            self._address = (str(host), int(port))
            self._bound.set()
            logger.info("Health and metrics are served.", action="listen", host=host, port=port)
            try:
                server.run(sockets=[listener])
            finally:
                self._bound.clear()


@contextmanager
def _listening(listen: str) -> Iterator[socket.socket]:
    host, port = _split(listen)
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=128)
    except OSError as error:
        raise _unusable(listen, port, error) from error
    # asyncio does this for sockets of its own making; this is none, and its connections inherit it. Without,
    # each answer on a connection that is kept waits 40 ms for the other side to confirm the first half.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with listener:
        yield listener


def _split(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _unusable(listen: str, port: int, error: OSError) -> UsageError:
    """Why an address cannot be listened on, and whom to ask."""
    if error.errno == errno.EADDRINUSE:
        return UsageError(
            f"web.listen: {listen} is in use by another program.",
            advice=f"`ss -ltnp 'sport = :{port}'` says which; stop it, or set web.listen to another port.",
        )
    if error.errno == errno.EACCES:
        return UsageError(
            f"web.listen: this user may not listen on {listen}.",
            advice="Set web.listen to a port above 1023, or ask this machine's administrator for "
            "CAP_NET_BIND_SERVICE.",
        )
    return UsageError(
        f"web.listen: cannot listen on {listen}: {error.strerror or error}.",
        advice="Set web.listen to an address of this machine; `ip address` lists them.",
    )


def _server(app: FastAPI, stop: threading.Event, request_seconds: float) -> Any:
    import asyncio

    import uvicorn

    class StoppableServer(uvicorn.Server):
        """Ends when `stop` is set; signals are the daemon's business."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def main_loop(self) -> None:
            while not (stop.is_set() or await self.on_tick(0)):  # noqa: ASYNC110  (another thread sets it)
                await asyncio.sleep(TICK_SECONDS)

    # uvicorn's loggers would repeat whatever a stranger sends; what matters of it is logged in the
    # application.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return StoppableServer(
        uvicorn.Config(
            app,
            http=_deadlined(request_seconds),
            loop="asyncio",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS,
            h11_max_incomplete_event_size=HEADER_BYTES,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=1,
        )
    )


def _deadlined(seconds: float) -> type[asyncio.Protocol]:
    """The protocol of uvicorn for one connection, closed where a request is not there in time."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class DeadlinedProtocol(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._expect_request()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._expect_request()

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget_deadline()
            super().connection_lost(exc)

        def _expect_request(self) -> None:
            self._forget_deadline()
            self._deadline = self.loop.call_later(seconds, self._too_late)

        def _forget_deadline(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()

        def _too_late(self) -> None:
            cycle: Any = self.cycle  # None before the first request, whatever its annotation says
            if cycle is not None and not cycle.response_complete:
                # It did ask in time, and we are slow.
                self._expect_request()
            else:
                self.transport.abort()

    return DeadlinedProtocol
