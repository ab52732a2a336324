"""A press in Slack comes in: whether Slack sent it, what it says, and a queue between it and the database.

    endpoint → receive_http → signature → receive → queue → run → take
    socket   ───────────────────────────→ receive ┘

Slack waits three seconds for an acknowledgement, and a database may take longer. So what is heard is read,
put into a short queue and acknowledged; one thread (`run`) hands on what is in there. Where the queue is full
nothing is acknowledged, and Slack tells the person.

Nothing that comes in is believed but that Slack sent it: names and numbers must look like Slack's, a reason
is made safe to show and to store, and an address to answer to is never taken from outside. Whether the person
may, and whether there is still something to do, is for whoever takes the press; so is doing it once, by its
`key`.
"""

from __future__ import annotations

import hashlib
import json
import queue
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from slack_sdk.signature import Clock, SignatureVerifier

from driftwatch import log
from driftwatch.notify.buttons import ACTION_PREFIX, Aim, Button, read_value, value_of
from driftwatch.notify.text import plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from driftwatch.config.notify import SlackSettings

LARGEST_BODY = 256 * 1024
"""Bytes of a request. Slack's have a few thousand, and with all of a large message in them 40,000."""

ROOM = 100
"""Presses that wait at most: what one thread does within a minute, and nobody waits longer for an answer."""

VALID_SECONDS = 300
"""How far from now a request may be dated, as Slack advises; slack-sdk's verifier has it built in."""

SIGNATURES_KEPT = 4096
"""Signatures that are remembered, ten a second while they are valid. Only Slack can make one; and should it
make more, a replay of one that is forgotten is still the same press, by its key."""

ACCEPT_VIEW: Final = f"{ACTION_PREFIX}accept"
"""The `callback_id` of the modal that asks why something is accepted."""
REASON: Final = "reason"
EXPIRY: Final = "expiry"
"""Both name a block and the action in it."""
REASON_LIMIT = 1000
EXPIRIES: Mapping[str, tuple[str, int | None]] = {
    "7": ("1 week", 7),
    "30": ("30 days", 30),
    "90": ("90 days", 90),
    "never": ("For good", None),
}
"""How long something may be accepted: an option's value, what it says, and the days."""

_TURN_SECONDS = 0.5
_LAST_TURNS_SECONDS = 3.0
"""What was acknowledged is still taken when the end is asked for; the daemon waits five seconds for it."""
_QUIET = timedelta(minutes=1)

_TIMESTAMP = re.compile(r"[0-9]{1,12}\Z", re.ASCII)
_SIGNATURE = re.compile(r"v0=[0-9a-f]{64}\Z", re.ASCII)
_MEMBER = re.compile(r"[UW][A-Z0-9]{1,31}\Z", re.ASCII)
_CHANNEL = re.compile(r"[CDG][A-Z0-9]{1,31}\Z", re.ASCII)
_MOMENT = re.compile(r"[0-9]{1,12}\.[0-9]{1,12}\Z", re.ASCII)
_TRIGGER = re.compile(r"[0-9A-Za-z._-]{1,255}\Z", re.ASCII)

logger = log.get("slack")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressed:
    """A person pressed a button, or filled in what was asked after that.

    `key` is the same in every delivery of one press and another for every other press. `thread` is the ts of
    the thread's first message, None where the button's message has no replies yet: in a thread that is not
    there, Slack shows no answer that is for one person only. `reason` and `expires_days` come from the modal;
    with a reason and no days something is accepted for good.
    """

    aim: Aim
    member: str
    key: str
    channel: str | None
    thread: str | None
    trigger: str | None
    reason: str | None = None
    expires_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """What is wrong with a field of the modal, said in it."""

    field: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What Slack is told: nothing where it was not `taken`, else perhaps an `answer` for the modal."""

    taken: bool
    answer: Mapping[str, Any] | None = None


class SlackIntake:
    """Hears presses on any thread; `take` gets them one after the other, on that of `run`."""

    def __init__(
        self,
        settings: SlackSettings,
        take: Callable[[Pressed], None],
        clock: Callable[[], datetime],
        *,
        room: int = ROOM,
    ) -> None:
        self._take = take
        self._queue: queue.Queue[Pressed] = queue.Queue(room)
        self._gate = threading.Lock()
        self._is_over = False
        secret = settings.signing_secret.get_secret_value() if settings.signing_secret else None
        log.register_secret(secret)
        self._seals = _Seals(secret, clock) if secret else None
        self._refused = _Tally("Requests to /hooks/slack were refused.", "slack_refused", clock)
        self._full = _Tally("Presses in Slack were not taken: too many wait.", "presses_full", clock)

    @property
    def takes_http(self) -> bool:
        """Whether there is a signing secret, without which nobody could be told from Slack."""
        return self._seals is not None

    def receive_http(self, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Answers a request to the endpoint with a status and a body, JSON or nothing; never waits."""
        if self._seals is None:
            return HTTPStatus.NOT_FOUND, b""
        if len(body) > LARGEST_BODY:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b""
        given = {name.lower(): value for name, value in headers.items()}
        if fault := self._seals.break_open(given, body):
            self._refused.add(fault)
            return HTTPStatus.UNAUTHORIZED, b""
        status, answer = self._read(given.get("content-type", ""), body)
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            self._seals.forget(given)
        return status, json.dumps(answer).encode() if answer else b""

    def receive(self, payload: Mapping[str, Any]) -> Receipt:
        """Reads what Slack is known to have sent, and queues a press; never waits, never raises."""
        heard = read(payload)
        if isinstance(heard, Objection):
            errors = {"response_action": "errors", "errors": {heard.field: heard.sentence}}
            return Receipt(taken=True, answer=errors)
        if heard is None:
            logger.info("Something from Slack is not for us, or cannot be read.", action="press_ignored")
            return Receipt(taken=True)
        return Receipt(taken=self._queue_up(heard))

    def run(self, stop: threading.Event) -> None:
        """Hands presses on until `stop` is set, then those that wait; what comes after that is not taken."""
        with self._gate:
            self._is_over = False
        while not stop.is_set():
            self._take_next(_TURN_SECONDS)
            self._refused.tell()
            self._full.tell()
        with self._gate:
            self._is_over = True
        deadline = time.monotonic() + _LAST_TURNS_SECONDS
        while time.monotonic() < deadline and self._take_next(0):
            pass

    def _read(self, content_type: str, body: bytes) -> tuple[HTTPStatus, Mapping[str, Any] | None]:
        try:
            is_press, document = _opened(content_type, body)
        except (ValueError, RecursionError):
            logger.info("A request that Slack signed cannot be read.", action="press_unreadable")
            return HTTPStatus.BAD_REQUEST, None
        if not is_press:
            return HTTPStatus.OK, _challenge(document)
        receipt = self.receive(document)
        return HTTPStatus.OK if receipt.taken else HTTPStatus.SERVICE_UNAVAILABLE, receipt.answer

    def _queue_up(self, pressed: Pressed) -> bool:
        with self._gate:
            if self._is_over:
                return False
            try:
                self._queue.put_nowait(pressed)
            except queue.Full:
                self._full.add("full")
                return False
        return True

    def _take_next(self, seconds: float) -> bool:
        """Takes the next press, waiting for one so long; False where none came."""
        try:
            pressed = self._queue.get(timeout=seconds) if seconds else self._queue.get_nowait()
        except queue.Empty:
            return False
        try:
            self._take(pressed)
        except Exception as error:  # noqa: BLE001  (one press must not cost the others)
            logger.error(  # noqa: TRY400  (its text and trace may hold what somebody typed)
                "A press in Slack could not be dealt with.",
                action="press_failed",
                error=type(error).__name__,
                button=pressed.aim.button.value,
                incident=pressed.aim.incident,
            )
        return True


def read(payload: Mapping[str, Any]) -> Pressed | Objection | None:
    """What an interaction says, None where it is none of ours or does not look like Slack's."""
    if payload.get("type") == "block_actions":
        return _press(payload)
    if payload.get("type") == "view_submission":
        return _acceptance(payload)
    return None


def metadata_of(pressed: Pressed) -> str:
    """What the modal remembers of the press that it was opened for."""
    told = {"aim": value_of(pressed.aim), "channel": pressed.channel, "thread": pressed.thread}
    return json.dumps(told, sort_keys=True)


def _press(payload: Mapping[str, Any]) -> Pressed | None:
    action = _our_action(payload)
    value = _text(action, "value") or _text(action, "selected_option", "value")
    aim, moment = read_value(value), _matching(_MOMENT, _text(action, "action_ts"))
    member = _matching(_MEMBER, _text(payload, "user", "id"))
    if value is None or aim is None or moment is None or member is None:
        return None
    threads = (_text(payload, "message", "thread_ts"), _text(payload, "container", "thread_ts"))
    channels = (_text(payload, "container", "channel_id"), _text(payload, "channel", "id"))
    return Pressed(
        aim=aim,
        member=member,
        key=_key(payload, "press", member, moment, value),
        channel=_matching(_CHANNEL, *channels),
        thread=_matching(_MOMENT, *threads),
        trigger=_matching(_TRIGGER, _text(payload, "trigger_id")),
    )


def _our_action(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    actions = payload.get("actions")
    for action in actions if isinstance(actions, list) else ():
        if (_text(action, "action_id") or "").startswith(ACTION_PREFIX):
            found: Mapping[str, Any] = action
            return found
    return {}


def _acceptance(payload: Mapping[str, Any]) -> Pressed | Objection | None:
    view = payload.get("view")
    opened = _remembered(_text(view, "private_metadata"))
    member = _matching(_MEMBER, _text(payload, "user", "id"))
    identity, version = _text(view, "id"), _text(view, "hash")
    if _text(view, "callback_id") != ACCEPT_VIEW or opened is None or member is None:
        return None
    chosen = _text(view, "state", "values", EXPIRY, EXPIRY, "selected_option", "value")
    expiry = EXPIRIES.get(chosen or "")
    if not identity or not version or expiry is None:
        return None
    typed = _text(view, "state", "values", REASON, REASON, "value") or ""
    if len(typed) > REASON_LIMIT:
        return Objection(field=REASON, sentence=f"Please say it in {REASON_LIMIT} characters.")
    reason = plain(typed)
    if not reason:
        return Objection(field=REASON, sentence="Please say why, for those who will wonder.")
    return Pressed(
        aim=opened.aim,
        member=member,
        key=_key(payload, "view", member, identity, version),
        channel=opened.channel,
        thread=opened.thread,
        trigger=_matching(_TRIGGER, _text(payload, "trigger_id")),
        reason=reason,
        expires_days=expiry[1],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """The press that a modal was opened for."""

    aim: Aim
    channel: str | None
    thread: str | None


def _remembered(metadata: str | None) -> _Opened | None:
    try:
        told = json.loads(metadata or "")
    except (ValueError, RecursionError):
        return None
    aim = read_value(_text(told, "aim"))
    if aim is None or aim.button is not Button.ACCEPT:
        return None
    channel, thread = _text(told, "channel"), _text(told, "thread")
    return _Opened(aim=aim, channel=_matching(_CHANNEL, channel), thread=_matching(_MOMENT, thread))


def _key(payload: Mapping[str, Any], *parts: str) -> str:
    """A digest, as the parts are of any length and may hold anything."""
    homes = (_text(payload, "enterprise", "id") or "", _text(payload, "team", "id") or "")
    written = json.dumps([*homes, *parts])
    return hashlib.sha256(written.encode()).hexdigest()[:40]


def _text(document: object, *path: str) -> str | None:
    """The text at the end of `path`, None where there is no such place or something else is there."""
    for name in path:
        document = document.get(name) if isinstance(document, Mapping) else None
    return document if isinstance(document, str) else None


def _matching(pattern: re.Pattern[str], *candidates: str | None) -> str | None:
    return next((each for each in candidates if each is not None and pattern.match(each)), None)


def _opened(content_type: str, body: bytes) -> tuple[bool, Mapping[str, Any]]:
    """Whether a request is an interaction, and what is in it; ValueError where that cannot be read."""
    kind, text = content_type.partition(";")[0].strip().lower(), body.decode()
    if kind == "application/json":
        return False, _object(text)
    if kind != "application/x-www-form-urlencoded":
        raise ValueError("neither a form nor JSON")
    fields = parse_qs(text, strict_parsing=True, max_num_fields=20).get("payload", [])
    if len(fields) != 1:
        raise ValueError("not one payload")
    return True, _object(fields[0])


def _object(text: str) -> Mapping[str, Any]:
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("not an object")  # noqa: TRY004  (of the text, which is what is wrong)
    return document


def _challenge(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """How Slack finds out, when the address is set in the app's settings, that somebody is there."""
    challenge = _text(document, "challenge") if document.get("type") == "url_verification" else None
    return {"challenge": challenge} if challenge else None


class _Seals:
    """Tells requests that Slack signed, just now and for the first time, from all others."""

    def __init__(self, secret: str, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._verifier = SignatureVerifier(secret, _SlackClock(clock))
        self._lock = threading.Lock()
        self._seen: dict[str, int] = {}

    def break_open(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """What is wrong with a request in one word; None where nothing is, and only once for each."""
        timestamp = headers.get("x-slack-request-timestamp", "")
        signature = headers.get("x-slack-signature", "")
        # The verifier raises on a time that is none, a signature of other letters, a body of other bytes.
        if not (_TIMESTAMP.match(timestamp) and _SIGNATURE.match(signature) and _is_utf8(body)):
            return "forged"
        now = self._clock().timestamp()
        if abs(now - int(timestamp)) > VALID_SECONDS:
            return "old"
        if not self._verifier.is_valid(body, timestamp, signature):
            return "forged"
        return None if self._is_first(signature, int(timestamp) + VALID_SECONDS, now) else "replayed"

    def forget(self, headers: Mapping[str, str]) -> None:
        """Lets a request come again, which was in order and could not be taken."""
        with self._lock:
            self._seen.pop(headers["x-slack-signature"], None)

    def _is_first(self, signature: str, until: int, now: float) -> bool:
        with self._lock:
            if signature in self._seen:
                return False
            kept = [(each, end) for each, end in self._seen.items() if end >= now]
            self._seen = dict(kept[-SIGNATURES_KEPT + 1 :])
            self._seen[signature] = until
        return True


class _SlackClock(Clock):
    """Our clock, as slack-sdk wants to be told the time."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock().timestamp()


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


class _Tally:
    """A warning that anybody can cause as often as they like: said once a minute, with how often it was."""

    def __init__(self, sentence: str, action: str, clock: Callable[[], datetime]) -> None:
        self._sentence = sentence
        self._action = action
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._told_at: datetime | None = None

    def add(self, reason: str) -> None:
        with self._lock:
            self._counts[reason] = self._counts.get(reason, 0) + 1
        self.tell()

    def tell(self) -> None:
        """Says what is still to be said, if its time has come."""
        with self._lock:
            now = self._clock()
            # Also a clock that was set back must not silence it.
            if not self._counts or (self._told_at and abs(now - self._told_at) < _QUIET):
                return
            counts, self._counts, self._told_at = self._counts, {}, now
        logger.warning(self._sentence, action=self._action, **counts)
