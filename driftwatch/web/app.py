"""What is served over HTTP: `/healthz`, `/readyz` and `/metrics`, `/hooks/…`, and `/api/v1`.

Nothing of the health is secret and nothing of it can be changed, so nobody is asked who they are; what Slack
and forges send carries a signature, and requests to the API a token. Answers are JSON, errors too; every one
forbids a browser to make a page of it.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from driftwatch import log
from driftwatch.log import redact
from driftwatch.web.hooks import add_hooks
from driftwatch.web.slack import add_slack_hook

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from driftwatch.model import JsonValue
    from driftwatch.web.door import Door
    from driftwatch.web.hooks import Hooks
    from driftwatch.web.slack import SlackReceiver

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

logger = log.get("web")


class HealthSource(Protocol):
    """Who knows how the daemon is. Each answer is a verdict and what it rests on."""

    def liveness(self) -> tuple[bool, dict[str, JsonValue]]:
        """False when a loop has stalled, which the detail names. Must answer at once: no I/O, no lock."""

    def readiness(self) -> tuple[bool, dict[str, JsonValue]]:
        """True while work is taken on."""

    def refresh_metrics(self) -> None:
        """Brings the gauges up to date before they are read; may ask the database."""


def create_app(
    health: HealthSource,
    *,
    slack: SlackReceiver | None = None,
    door: Door | None = None,
    hooks: Hooks | None = None,
) -> FastAPI:
    """The application; with `/hooks/slack` where `slack` can tell Slack's requests from forged ones.

    With `door`, it has the API; with `hooks`, the other webhooks that are configured.

    FastAPI is imported here, so that commands without a server do without it.
    """
    from fastapi import FastAPI, Response
    from fastapi.responses import JSONResponse
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    app = FastAPI(title="driftwatch", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_middleware(_Shield)

    def verdict(good: bool, detail: dict[str, JsonValue]) -> JSONResponse:
        status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
        return JSONResponse({"ok": good, **_redacted(detail)}, status_code=status)

    # On the event loop and not in a thread: when all threads hang on something, this one still answers.
    @app.api_route("/healthz", methods=["GET", "HEAD"])
    async def healthz() -> JSONResponse:
        return verdict(*health.liveness())

    @app.api_route("/readyz", methods=["GET", "HEAD"])
    def readyz() -> JSONResponse:
        return verdict(*health.readiness())

    @app.api_route("/metrics", methods=["GET", "HEAD"])
    def metrics() -> Response:
        _refresh(health)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    if slack is not None and slack.takes_http:
        add_slack_hook(app, slack)
    if hooks is not None:
        add_hooks(app, hooks)
    if door is not None:
        from driftwatch.web.api import add_api

        add_api(app, door)
    return app


def _refresh(health: HealthSource) -> None:
    """Old gauges are better than none: the counters beside them are what tells of the trouble."""
    try:
        health.refresh_metrics()
    except Exception as error:  # noqa: BLE001  (whatever is wrong with the source, the scrape goes on)
        reason = redact(f"{type(error).__name__}: {error}")
        logger.warning("The metrics are not up to date.", action="metrics", reason=reason)


class _Shield:
    """Adds the headers to every answer, and makes one of an exception: logged here, without detail there."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_on(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": [*message.get("headers", ()), *self._headers]}
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        except Exception:
            logger.exception("A request failed.", action="request", path=scope["path"])
            if started:
                raise
            await _failed(scope, receive, send_on)


async def _failed(scope: Scope, receive: Receive, send: Send) -> None:
    from fastapi.responses import JSONResponse

    await JSONResponse({"detail": "Internal Server Error"}, status_code=500)(scope, receive, send)


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact(str(key)): _redacted(item) for key, item in value.items()}
    return [_redacted(item) for item in value] if isinstance(value, list | tuple) else value
