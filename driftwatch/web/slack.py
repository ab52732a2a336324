"""`/hooks/slack`: where Slack says that somebody pressed a button. What it says is read elsewhere.

Looking at it has threads of its own: those that other requests share may all hang on a database, and Slack
waits three seconds for its answer.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from driftwatch.web.bodies import bounded_body

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request, Response

PATH = "/hooks/slack"

LARGEST_BODY = 256 * 1024
BODY_SECONDS = 2.0
THREADS = 4


class SlackReceiver(Protocol):
    """Who reads what Slack sends."""

    @property
    def takes_http(self) -> bool:
        """Whether requests can be told from forged ones; without that there is no endpoint."""

    def receive_http(self, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Answers with a status and a body, which is JSON or empty. Must not wait for anything."""


def add_slack_hook(app: FastAPI, slack: SlackReceiver) -> None:
    """Adds the endpoint, for POST only."""
    import anyio
    from anyio.to_thread import run_sync
    from fastapi import Response

    limiter = anyio.CapacityLimiter(THREADS)

    async def hook(request: Request) -> Response:
        body = await bounded_body(request.scope, request.receive, most=LARGEST_BODY, seconds=BODY_SECONDS)
        if isinstance(body, HTTPStatus):
            return Response(status_code=body)
        headers = dict(request.headers)
        status, answer = await run_sync(slack.receive_http, headers, body, limiter=limiter)
        return Response(answer, status_code=status, media_type="application/json" if answer else None)

    app.router.add_route(PATH, hook, methods=["POST"])
