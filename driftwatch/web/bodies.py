"""How much of a request's body is listened to, and for how long: the same for everybody who may send one.

Anybody may knock. So a body is bounded in size and in time before anybody looks at it: refused by what it
says of itself, or as soon as too much of it has come. One that is packed is refused unseen, since a little
may unpack to very much.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from starlette.types import Receive, Scope


class Room:
    """How many bytes of bodies are held at once, by all requests that share it; on the event loop alone."""

    def __init__(self, most: int) -> None:
        self._left = most

    def take(self, count: int) -> bool:
        """Takes room for so many bytes; False, and nothing taken, where there is none."""
        if count > self._left:
            return False
        self._left -= count
        return True

    def give_back(self, count: int) -> None:
        self._left += count


class Share:
    """What one request holds of a room, given back at its end."""

    def __init__(self, room: Room) -> None:
        self._room, self._held = room, 0

    def take(self, count: int) -> bool:
        if not self._room.take(count):
            return False
        self._held += count
        return True

    def give_back(self) -> None:
        self._room.give_back(self._held)
        self._held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()


async def bounded_body(
    scope: Scope, receive: Receive, *, most: int, seconds: float, share: Share | None = None
) -> bytes | HTTPStatus:
    """The body, or what to answer where it is too large, too slow, packed, or its sender has gone.

    With `share`, also where no room is left for it.
    """
    headers = dict(scope["headers"])
    if headers.get(b"content-encoding", b"identity").lower() not in (b"identity", b""):
        return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared[:20]) > most:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    try:
        async with asyncio.timeout(seconds):
            return await _body(receive, most, share)
    except TimeoutError:
        return HTTPStatus.REQUEST_TIMEOUT


async def _body(receive: Receive, most: int, share: Share | None) -> bytes | HTTPStatus:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return HTTPStatus.BAD_REQUEST  # nobody will read it
        chunk = message.get("body", b"")
        if len(body) + len(chunk) > most:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        if share is not None and not share.take(len(chunk)):
            return HTTPStatus.SERVICE_UNAVAILABLE
        body += chunk
        if not message.get("more_body", False):
            return bytes(body)
