"""How much of a request's body is listened to, and for how long: the same for everybody who may send one.

Anybody may knock. So a body is bounded in size and in time before anybody looks at it: refused by what it
says of itself, or as soon as too much of it has come. One that is packed is refused unseen, since a little
may unpack to very much.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Receive, Scope


async def bounded_body(scope: Scope, receive: Receive, *, most: int, seconds: float) -> bytes | HTTPStatus:
    """The body, or what to answer where it is too large, too slow, packed, or its sender has gone."""
    headers = dict(scope["headers"])
    if headers.get(b"content-encoding", b"identity").lower() not in (b"identity", b""):
        return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared[:20]) > most:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    try:
        async with asyncio.timeout(seconds):
            return await _body(receive, most)
    except TimeoutError:
        return HTTPStatus.REQUEST_TIMEOUT


async def _body(receive: Receive, most: int) -> bytes | HTTPStatus:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return HTTPStatus.BAD_REQUEST  # nobody will read it
        body += message.get("body", b"")
        if len(body) > most:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        if not message.get("more_body", False):
            return bytes(body)
