"""What the tests of notify stand on: a Slack on loopback that can fail, an outbox in memory, a clock."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from driftwatch.config.notify import SlackSettings
from driftwatch.model import (
    Announcement,
    AttributeChange,
    Cause,
    Finding,
    FindingKind,
    Incident,
    IncidentLine,
    Message,
    Severity,
    TransitionKind,
    Trigger,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
TOKEN = "xoxb-canary-0123456789-abcdef"


@dataclass
class Clock:
    """A clock that stands still unless it is told to go on."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass(kw_only=True)
class Reply:
    """How the stand-in answers one request. `fault`: `reset`, `hang`, `half` (of a body) or None."""

    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: str | None = None


def _refusal(code: str) -> Reply:
    """Slack's way of saying no: HTTP 200 and a code."""
    return Reply(body=json.dumps({"ok": False, "error": code}).encode())


@dataclass
class Call:
    """A request as the server got it."""

    method: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """A loopback HTTP server that records what it gets and answers as scripted, else as `usual`."""

    def __init__(self, usual: Callable[[Call], Reply]) -> None:
        self.calls: list[Call] = []
        self.script: deque[Reply] = deque()
        self.released = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                call = Call(self.path.rsplit("/", 1)[-1], dict(self.headers), self.rfile.read(length))
                server.calls.append(call)
                answer(self, server.script.popleft() if server.script else usual(call), server.released)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class's name)
                """Says nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/api/"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def then(self, *replies: Reply) -> None:
        self.script.extend(replies)

    def methods(self) -> list[str]:
        return [call.method for call in self.calls]

    def close(self) -> None:
        self.released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def answer(handler: BaseHTTPRequestHandler, reply: Reply, released: threading.Event) -> None:
    if reply.fault == "hang":
        released.wait(10)
        return
    if reply.fault == "reset":
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()
        handler.wfile = handler.rfile = _Closed()  # type: ignore[assignment]
        return
    content = reply.body or b""
    handler.send_response_only(reply.status)
    for name, value in reply.headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(content) + (100 if reply.fault == "half" else 0)))
    handler.end_headers()
    handler.wfile.write(content)


class _Closed:
    """Stands in for the files of a connection that was reset."""

    closed = True

    def flush(self) -> None: ...

    def close(self) -> None: ...


class FakeSlack(Server):
    """Plays chat.postMessage and chat.update with channel ids, timestamps and deleted messages."""

    def __init__(self) -> None:
        self.deleted: set[str] = set()
        self._count = 0
        super().__init__(self._usual)

    def _usual(self, call: Call) -> Reply:
        if call.method == "chat.update" and call.json["ts"] in self.deleted:
            return _refusal("message_not_found")
        self._count += 1
        ts = call.json["ts"] if call.method == "chat.update" else f"1700000000.{self._count:06}"
        return Reply(body=json.dumps({"ok": True, "channel": "C042", "ts": ts}).encode())

    @property
    def posts(self) -> list[Any]:
        return [call.json for call in self.calls if call.method == "chat.postMessage"]

    @property
    def updates(self) -> list[Any]:
        return [call.json for call in self.calls if call.method == "chat.update"]


@dataclass
class MemoryOutbox:
    """The outbox as the store keeps it, without a database; `broken` makes every call fail."""

    messages: dict[int, Message] = field(default_factory=dict)
    due_at: dict[int, datetime] = field(default_factory=dict)
    receipts: dict[int, Mapping[str, str]] = field(default_factory=dict)
    dead: dict[int, str] = field(default_factory=dict)
    broken: Exception | None = None
    looks: list[int] = field(default_factory=list)

    def add(self, *messages: Message) -> None:
        for message in messages:
            self.messages[message.id] = message
            self.due_at[message.id] = message.created_at

    def due_messages(self, *, at: datetime, limit: int) -> list[Message]:
        self._check()
        self.looks.append(limit)
        due = [self._anchored(self.messages[key]) for key, moment in self.due_at.items() if moment <= at]
        return sorted(due, key=lambda message: message.id)[:limit]

    def whole_message(self, message: Message, *, at: datetime) -> Message:
        """Those of an incident's thread that wait behind it go out with it."""
        self._check()
        if not message.thread.startswith("incident:"):
            return message
        behind = [
            each
            for key, each in sorted(self.messages.items())
            if key > message.id
            and (each.channel, each.thread) == (message.channel, message.thread)
            and self.due_at.get(key, at + timedelta(1)) <= at
        ]
        return replace(
            message,
            more=tuple(each.announcement for each in behind),
            carried=tuple(each.id for each in behind),
        )

    def message_sent(
        self,
        id: int,  # noqa: A002  (the seam's)
        receipt: Mapping[str, str],
        *,
        at: datetime,  # noqa: ARG002  (the seam's)
        carried: Sequence[int] = (),
    ) -> None:
        self._check()
        for each in (id, *carried):
            del self.due_at[each]
            self.receipts[each] = receipt

    def message_failed(self, id: int, *, reason: str, retry_at: datetime | None) -> None:  # noqa: A002  (the seam's)
        self._check()
        self.messages[id] = replace(self.messages[id], attempts=self.messages[id].attempts + 1)
        if retry_at is None:
            del self.due_at[id]
            self.dead[id] = reason
        else:
            self.due_at[id] = retry_at

    def _check(self) -> None:
        if self.broken:
            raise self.broken

    def _anchored(self, message: Message) -> Message:
        mates = [
            receipt
            for key, receipt in self.receipts.items()
            if (self.messages[key].channel, self.messages[key].thread) == (message.channel, message.thread)
        ]
        return replace(message, anchor=mates[-1]) if mates else message


def _finding(address: str = "aws_sqs_queue.jobs", **other: Any) -> Finding:
    given: dict[str, Any] = {
        "address": address,
        "type": "aws_sqs_queue",
        "kind": FindingKind.MODIFIED,
        "action": "update",
        "causes": (Cause.OUT_OF_BAND,),
        "severity": Severity.HIGH,
        "fingerprint": f"fp-{address}",
        "counted": True,
        "attributes": (_change(),),
    }
    return Finding(**given | other)


def _change(**other: Any) -> AttributeChange:
    given: dict[str, Any] = {
        "path": "/delay_seconds",
        "before": 0,
        "actual": 90,
        "after": 0,
        "sensitive": False,
        "cause": Cause.OUT_OF_BAND,
    }
    return AttributeChange(**given | other)


def _announcement(kind: TransitionKind = TransitionKind.DRIFT_FOUND, **other: Any) -> Announcement:
    given: dict[str, Any] = {
        "kind": kind,
        "stack": "platform/envs/prod/network",
        "verdict": Verdict.IN_SYNC if kind is TransitionKind.RESOLVED else Verdict.DRIFTED,
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "trigger": Trigger.SCHEDULE,
        "at": NOON,
        "owners": ("@platform",),
        "check_id": 42,
    }
    if kind in (TransitionKind.DRIFT_FOUND, TransitionKind.DRIFT_CHANGED):
        given |= {"findings": (_finding(),), "total": 1}
    return Announcement(**given | other)


def _message(id: int = 1, announcement: Announcement | None = None, **other: Any) -> Message:  # noqa: A002  (the model's)
    given: dict[str, Any] = {
        "id": id,
        "channel": "slack",
        "dedupe_key": f"platform/envs/prod/network#{id}",
        "episode": "e1",
        "announcement": announcement or _announcement(),
        "attempts": 0,
        "created_at": NOON,
    }
    given = given | other
    return Message(**{"thread": given["episode"]} | given)


def _incident(*announcements: Announcement, **other: Any) -> Incident:
    """One line for each announcement; over is what ended with its."""
    lines = tuple(IncidentLine(announcement=each, over=each.kind.is_end) for each in announcements)
    given: dict[str, Any] = {
        "id": 7,
        "title": None,
        "opened_at": NOON,
        "closed_at": None,
        "lines": lines,
        "total": len(lines),
        "open": sum(not line.over for line in lines),
        "seen": "5eed" * 8,
    }
    return Incident(**given | other)


# Test modules cannot import this one, so its makers come as fixtures; of the session, for hypothesis.


@pytest.fixture(scope="session")
def noon() -> datetime:
    return NOON


@pytest.fixture(scope="session")
def token() -> str:
    return TOKEN


@pytest.fixture(scope="session")
def a_finding() -> Callable[..., Finding]:
    return _finding


@pytest.fixture(scope="session")
def a_change() -> Callable[..., AttributeChange]:
    return _change


@pytest.fixture(scope="session")
def an_announcement() -> Callable[..., Announcement]:
    return _announcement


@pytest.fixture(scope="session")
def a_message() -> Callable[..., Message]:
    return _message


@pytest.fixture(scope="session")
def an_incident() -> Callable[..., Incident]:
    return _incident


@pytest.fixture(scope="session")
def refusal() -> Callable[[str], Reply]:
    return _refusal


@pytest.fixture(scope="session")
def a_reply() -> type[Reply]:
    return Reply


@pytest.fixture(scope="session")
def a_clock() -> type[Clock]:
    return Clock


@pytest.fixture(scope="session")
def an_outbox() -> type[MemoryOutbox]:
    return MemoryOutbox


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox() -> MemoryOutbox:
    return MemoryOutbox()


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    server = FakeSlack()
    yield server
    server.close()


@pytest.fixture
def slack_settings(slack: FakeSlack) -> SlackSettings:
    return SlackSettings(token=SecretStr(TOKEN), channel="#infra-drift", base_url=slack.url)


@pytest.fixture
def receiver() -> Iterator[Server]:
    server = Server(lambda _call: Reply(status=204))
    yield server
    server.close()
