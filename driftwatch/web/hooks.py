"""`/hooks/github`, `/hooks/gitlab`, `/hooks/generic`: where others say that something is worth a look.

    body, bounded → signed? → new? → what does it hint at? → take the hints → answer

Each endpoint is there only where its secret is configured. What is refused is logged and audited, at most
once in a minute for a sender, without a word of what was sent: whoever forges must not fill a disk. A flood
is told to come back later; the hints of what is signed are taken all the same: many of the same are one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from driftwatch import log
from driftwatch.errors import DriftwatchError
from driftwatch.web.bodies import Room, Share, bounded_body
from driftwatch.web.deliveries import Generic, Github, Gitlab, Ignored, Watched
from driftwatch.web.door import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from fastapi import FastAPI, Request, Response

    from driftwatch.config.hooks import HooksSettings
    from driftwatch.config.settings import RepositorySettings
    from driftwatch.pipeline.hints import Hints
    from driftwatch.web.deliveries import Endpoint

PREFIX = "/hooks"

LARGEST_BODY = 1024 * 1024
BODY_SECONDS = 5.0
ROOM = 16 * LARGEST_BODY
"""For all bodies of an endpoint that are held at once: of the largest, a few."""

THREADS = 4
"""For each endpoint, so that one which waits for an issuer's keys does not keep another waiting."""

MINUTE = 60.0
MOST_REMEMBERED = 10_000
MOST_SENDERS = 1000
MOST_NOTES = 30
"""Refusals in the audit in a minute, from however many addresses."""

_NOT_READ = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("too_large", f"A delivery has at most {LARGEST_BODY} bytes."),
    HTTPStatus.REQUEST_TIMEOUT: ("too_slow", f"A delivery is all there within {BODY_SECONDS:g} seconds."),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ("packed", "A delivery is sent as it is, without Content-Encoding."),
    HTTPStatus.BAD_REQUEST: ("cut_off", "The delivery ended before its end."),
    HTTPStatus.SERVICE_UNAVAILABLE: ("no_room", "Too much is being delivered at once."),
}

logger = log.get("web")


class Notes(Protocol):
    """The audit."""

    def note(
        self, *, at: datetime, actor: str, via: str, action: str, subject: str, outcome: str
    ) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is answered to a delivery."""

    status: int
    document: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


class Counter:
    """How much there was from each sender in the minute that runs. From any thread; of many, the latest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def is_over(self, sender: str, at: float) -> bool:
        """Counts one more; True where that is too many."""
        with self._lock:
            since, count = self._counts.pop(sender, (at, 0))
            if not 0 <= at - since < MINUTE:
                since, count = at, 0
            self._counts[sender] = (since, count + 1)
            while len(self._counts) > MOST_SENDERS:
                self._counts.popitem(last=False)
            return count >= self._most


class Remembered:
    """Deliveries that were taken, each as long as it might come again. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: OrderedDict[str, float] = OrderedDict()

    def is_new(self, key: str, at: float, lasts: float) -> bool:
        """Takes note of a delivery; False where it was there before."""
        with self._lock:
            if self._until.get(key, at) > at:
                return False
            self._until[key] = at + lasts
            self._until.move_to_end(key)
            if len(self._until) > MOST_REMEMBERED:
                # Only what is signed gets here, so nobody else can push others out.
                for other in [each for each, until in self._until.items() if until <= at]:
                    del self._until[other]
                while len(self._until) > MOST_REMEMBERED:
                    self._until.popitem(last=False)
            return True


class Hooks:
    """Reads deliveries and passes their hints on."""

    def __init__(
        self,
        settings: HooksSettings,
        repositories: Mapping[str, RepositorySettings],
        *,
        hints: Hints,
        notes: Notes,
        clock: Callable[[], datetime],
    ) -> None:
        self.endpoints = _endpoints(settings, Watched(repositories))
        self._hints, self._notes, self._clock = hints, notes, clock
        self._paces = {name: Counter(settings.per_minute) for name in self.endpoints}
        self._remembered = {name: Remembered() for name in self.endpoints}
        self._noted, self._notes_in_all = Counter(1), Counter(MOST_NOTES)

    def receive(self, name: str, address: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """What to answer to a delivery. Never raises; may ask an issuer for its keys."""
        at = self._clock()
        is_over = self._paces[name].is_over(address, at.timestamp())
        try:
            document = self._read(name, headers, body, at)
        except Refusal as refusal:
            self._put_down(name, address, refusal.code, at)
            if not is_over:
                return _refused(refusal)
        else:
            if not is_over:
                status = HTTPStatus.ACCEPTED if "hints" in document else HTTPStatus.OK
                return Answer(status=status, document=document)
        return _refused(
            Refusal(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too_many",
                "Too many deliveries; what was signed of them is looked at.",
                **{"Retry-After": "60"},
            )
        )

    def not_read(self, name: str, address: str, status: HTTPStatus) -> Answer:
        """What to answer where a body was not even listened to."""
        code, message = _NOT_READ[status]
        self._put_down(name, address, code, self._clock())
        # Nobody goes on listening to the rest of it.
        return _refused(Refusal(status, code, message, Connection="close"))

    def _read(self, name: str, headers: Mapping[str, str], body: bytes, at: datetime) -> dict[str, Any]:
        endpoint = self.endpoints[name]
        vouched = endpoint.vouch(headers, body, at)
        found = endpoint.hints(headers, body, vouched)
        if not self._remembered[name].is_new(vouched.key, at.timestamp(), vouched.lasts):
            if vouched.is_replay:
                raise Refusal(HTTPStatus.CONFLICT, "replay", "This was sent before, and is good for once.")
            return {"ignored": "it came before"}
        if isinstance(found, Ignored):
            return {"ignored": found.why}
        for hint in found:
            self._hints.take(hint, f"{name}:{vouched.by}" if vouched.by != name else name)
        return {
            "hints": [{"repository": hint.repository, "pull_request": hint.pull_request} for hint in found]
        }

    def _put_down(self, name: str, address: str, code: str, at: datetime) -> None:
        """Logs and audits a refusal, unless this sender's last one was a moment ago."""
        moment = at.timestamp()
        if self._noted.is_over(f"{name} {address}", moment) or self._notes_in_all.is_over("", moment):
            return
        logger.warning("A delivery was refused.", action="hook", endpoint=name, sender=address, reason=code)
        try:
            self._notes.note(
                at=at,
                actor=address or "unknown",
                via=name,
                action="hook",
                subject=f"{PREFIX}/{name}",
                outcome=f"refused: {code}",
            )
        except DriftwatchError as problem:
            logger.warning(
                f"A refusal is in the log alone: {problem.message}.", action="hook", error=problem.code
            )


def add_hooks(app: FastAPI, hooks: Hooks) -> None:
    """Adds the endpoints that are configured, for POST only."""
    for name in hooks.endpoints:
        app.router.add_route(f"{PREFIX}/{name}", _endpoint(hooks, name), methods=["POST"])


def _endpoint(hooks: Hooks, name: str) -> Any:
    import anyio
    from anyio.to_thread import run_sync
    from fastapi.responses import JSONResponse

    limiter, room = anyio.CapacityLimiter(THREADS), Room(ROOM)

    async def hook(request: Request) -> Response:
        address = request.client.host if request.client else ""
        with Share(room) as share:
            body = await bounded_body(
                request.scope, request.receive, most=LARGEST_BODY, seconds=BODY_SECONDS, share=share
            )
            if isinstance(body, HTTPStatus):
                share.give_back()  # the next one needs it, and putting this down may take a while
                answer = await run_sync(hooks.not_read, name, address, body, limiter=limiter)
            else:
                headers = dict(request.headers)
                answer = await run_sync(hooks.receive, name, address, headers, body, limiter=limiter)
        return JSONResponse(answer.document, status_code=answer.status, headers=dict(answer.headers))

    return hook


def _endpoints(settings: HooksSettings, watched: Watched) -> dict[str, Endpoint]:
    found: dict[str, Endpoint] = {}
    if settings.github is not None:
        found["github"] = Github(settings.github, watched)
    if settings.gitlab is not None:
        found["gitlab"] = Gitlab(settings.gitlab, watched)
    if settings.generic is not None:
        jobs = None
        if settings.generic.oidc:
            from driftwatch.web.oidc import JobTokens

            jobs = JobTokens(settings.generic.oidc)
        found["generic"] = Generic(settings.generic, jobs, watched)
    return found


def _refused(refusal: Refusal) -> Answer:
    return Answer(
        status=refusal.status,
        document={"error": refusal.code, "message": refusal.message},
        headers=refusal.headers,
    )
