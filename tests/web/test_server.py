"""The health server over real HTTP: what it answers, what it bears, and how it starts and stops."""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
import psutil
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from driftwatch.errors import Exit, UsageError
from driftwatch.log import register_secret
from driftwatch.metrics import QUEUE_LENGTH
from driftwatch.web import Server, create_app

if TYPE_CHECKING:
    from collections.abc import Iterator


class Source:
    """A daemon whose health is whatever the test says."""

    def __init__(self) -> None:
        self.alive = (True, {"stalled": []})
        self.ready = (True, {"phase": "running"})
        self.refresh = lambda: None

    def liveness(self) -> Any:
        return self.alive

    def readiness(self) -> Any:
        if isinstance(self.ready, Exception):
            raise self.ready
        return self.ready

    def refresh_metrics(self) -> None:
        self.refresh()


@contextmanager
def serving(source: Any, **other: object) -> Iterator[Any]:
    server, stop = Server(partial(create_app, source), "127.0.0.1:0", **other), threading.Event()
    thread = threading.Thread(target=server.run, args=(stop,))
    thread.start()
    try:
        yield server.address()[1]
    finally:
        stop.set()
        thread.join(5)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def source() -> Any:
    return Source()


@pytest.fixture(scope="module")
def port(source: Any) -> Iterator[Any]:
    with serving(source, request_seconds=1.5) as port:
        yield port


@pytest.fixture(autouse=True)
def _well_again(source: Any) -> None:
    source.__init__()


@pytest.fixture
def client(port: Any) -> Iterator[Any]:
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        yield client


# Answers


def test_alive_is_200_and_a_stalled_loop_is_503_and_named(client: Any, source: Any) -> None:
    assert client.get("/healthz").status_code == 200

    source.alive = (False, {"stalled": ["scheduler"], "scheduler_age_seconds": 93.5})
    answer = client.get("/healthz")

    assert answer.status_code == 503
    assert answer.json() == {"ok": False, "stalled": ["scheduler"], "scheduler_age_seconds": 93.5}


def test_ready_says_what_it_rests_on(client: Any, source: Any) -> None:
    assert client.get("/readyz").json() == {"ok": True, "phase": "running"}

    source.ready = (False, {"phase": "starting", "failing": ["the database is away"]})

    assert client.get("/readyz").status_code == 503


def test_metrics_are_refreshed_and_readable_by_prometheus(client: Any, source: Any) -> None:
    source.refresh = lambda: QUEUE_LENGTH.labels(state="queued").set(7)

    answer = client.get("/metrics")

    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert [
        sample.value
        for sample in families["driftwatch_queue_jobs"].samples
        if sample.labels["state"] == "queued"
    ] == [7]


def test_metrics_that_cannot_be_refreshed_are_served_as_they_are(client: Any, source: Any) -> None:
    def refresh() -> None:
        raise RuntimeError("database is away")

    source.refresh = refresh

    with structlog.testing.capture_logs() as logs:
        assert client.get("/metrics").status_code == 200
    assert logs[0]["reason"] == "RuntimeError: database is away"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_may_use_head(client: Any, path: Any) -> None:
    answer = client.head(path)

    assert answer.status_code == 200
    assert answer.content == b""


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/docs",
        "/redoc",
        "/openapi.json",
        "/healthz/",
        "/metrics/x",
        "/..%2fetc/passwd",
        "/%00",
        "//healthz",
    ],
)
def test_there_is_nothing_else_and_that_is_said_in_json(client: Any, path: Any) -> None:
    answer = client.get(path)

    assert answer.status_code == 404
    assert answer.json() == {"detail": "Not Found"}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_changed(client: Any, method: Any) -> None:
    answer = client.request(method, "/healthz")

    assert answer.status_code == 405
    assert answer.json() == {"detail": "Method Not Allowed"}


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/nothing"])
def test_every_answer_forbids_a_browser_to_make_something_of_it(client: Any, path: Any) -> None:
    headers = client.get(path).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"
    assert "Server" not in headers


def test_any_host_name_will_do(client: Any) -> None:
    assert client.get("/healthz", headers={"Host": "driftwatch.internal:1"}).status_code == 200


@pytest.mark.row(68)
def test_a_mistake_of_ours_is_a_plain_500_and_a_log_line(
    client: Any, source: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 68: no detail of an exception reaches the answer, and no secret the log."""
    register_secret("canary-in-health")
    source.ready = RuntimeError("canary-in-health in a path")

    with structlog.testing.capture_logs() as logs:
        answer = client.get("/readyz")

    assert answer.status_code == 500
    assert answer.json() == {"detail": "Internal Server Error"}
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert logs[0]["action"] == "request"
    assert "canary" not in caplog.text


@pytest.mark.row(68)
def test_a_secret_in_the_detail_is_redacted(client: Any, source: Any) -> None:
    """Row 68: what a part says about its trouble may hold what it was given."""
    register_secret("canary-in-detail")
    source.ready = (False, {"failing": ["https://user:pw@host: canary-in-detail"], "canary-in-detail": None})

    assert client.get("/readyz").json() == {
        "ok": False,
        "failing": ["https://[redacted]@host: [redacted]"],
        "[redacted]": None,
    }


# What it bears


def connect(port: Any) -> Any:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def closed_within(connection: Any, seconds: Any) -> Any:
    """Whether the other side ends the connection in time, whatever it says before."""
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
    return True


def cut_off_within(connection: socket.socket, drop: bytes, seconds: float) -> bool:
    """Whether the other side ends the connection in time, although something arrives all the while."""
    started = time.monotonic()
    try:
        while time.monotonic() - started < seconds:
            connection.sendall(drop)
            time.sleep(0.05)
    except OSError:
        return True
    return False


@pytest.mark.row(58)
@pytest.mark.parametrize("opening", [b"", b"GET /healthz HTTP/1.1\r\n", b"GET /hea"])
def test_a_request_that_does_not_come_is_not_waited_for(port: Any, opening: Any) -> None:
    """Row 58: slowloris, in its patient form."""
    with connect(port) as connection:
        connection.sendall(opening)
        assert closed_within(connection, 5)


@pytest.mark.row(58)
def test_a_request_that_comes_drop_by_drop_is_not_waited_for(port: Any) -> None:
    """Row 58: slowloris: each byte arrives in time, the request never does."""
    with connect(port) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nX-A: ")
        assert cut_off_within(connection, b"a", 6)


@pytest.mark.row(58)
def test_a_body_that_never_ends_is_not_listened_to(port: Any) -> None:
    """Row 58: the answer is given before the body, and the rest of it not waited for."""
    with connect(port) as connection:
        connection.sendall(b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert cut_off_within(connection, b"1\r\na\r\n", 6)


@pytest.mark.row(58)
def test_a_large_body_costs_no_memory(port: Any) -> None:
    """Row 58: 100 MB to a server that wants none."""
    before = psutil.Process().memory_info().rss
    block = b"x" * 1_000_000
    with connect(port) as connection:
        connection.sendall(b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
        try:
            for _ in range(100):
                connection.sendall(block)
        except OSError:
            pass  # it was refused half way, which is as good

    assert psutil.Process().memory_info().rss - before < 30_000_000


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GARBAGE\r\n\r\n",
    ],
    ids=["headers", "path", "TLS", "two lengths", "garbage"],
)
def test_what_is_no_request_is_refused_without_a_word_in_the_log(
    port: Any, request_line: Any, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    with connect(port) as connection:
        connection.sendall(request_line)
        connection.settimeout(3)
        assert connection.recv(1000).startswith(b"HTTP/1.1 400")

    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]
    assert capfd.readouterr() == ("", "")


@pytest.mark.row(58)
def test_health_answers_while_others_dawdle(port: Any, client: Any) -> None:
    """Row 58: a hundred slow clients do not keep a probe waiting."""
    dawdlers = [connect(port) for _ in range(100)]
    try:
        started = time.monotonic()
        assert client.get("/healthz").status_code == 200
        assert time.monotonic() - started < 3
    finally:
        for dawdler in dawdlers:
            dawdler.close()


def test_health_answers_while_what_asks_the_database_hangs(source: Any, port: Any, client: Any) -> None:
    """Liveness shares no thread with the rest, which may use all of them up."""
    release = threading.Event()
    source.refresh = lambda: release.wait(20)
    hanging = [connect(port) for _ in range(45)]
    for connection in hanging:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    try:
        time.sleep(0.3)
        assert client.get("/healthz").status_code == 200
    finally:
        release.set()
        for connection in hanging:
            assert connection.recv(12) == b"HTTP/1.1 200"
            connection.close()


# Life


def test_it_stops_within_two_seconds_also_with_clients_at_hand(source: Any) -> None:
    with serving(source) as port:
        idle, asking = connect(port), connect(port)
        asking.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        asking.recv(1000)
        started = time.monotonic()
    assert time.monotonic() - started < 2
    idle.close()
    asking.close()
    with pytest.raises(ConnectionRefusedError):
        connect(port)


def test_it_can_be_run_again(source: Any) -> None:
    server = Server(partial(create_app, source), "127.0.0.1:0")
    for _ in range(2):
        stop = threading.Event()
        thread = threading.Thread(target=server.run, args=(stop,))
        thread.start()
        assert (
            httpx2.get(f"http://127.0.0.1:{server.address()[1]}/healthz", trust_env=False).status_code == 200
        )
        stop.set()
        thread.join(3)
        assert not thread.is_alive()


def test_ipv6_addresses_are_written_in_brackets(source: Any) -> None:
    if not socket.has_ipv6:
        pytest.skip("NO IPv6 ON THIS MACHINE")
    server, stop = Server(partial(create_app, source), "[::1]:0"), threading.Event()
    thread = threading.Thread(target=server.run, args=(stop,))
    thread.start()
    host, port = server.address()
    assert host == "::1"
    assert httpx2.get(f"http://[::1]:{port}/healthz", trust_env=False).status_code == 200
    stop.set()
    thread.join(3)


def test_an_address_in_use_is_named_with_how_to_find_who_has_it(source: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError) as caught:
            Server(partial(create_app, source), f"127.0.0.1:{port}").run(threading.Event())

    assert caught.value.exit_code == Exit.USAGE
    assert f"127.0.0.1:{port} is in use" in caught.value.message
    assert f"sport = :{port}" in caught.value.advice


@pytest.mark.parametrize("listen", ["203.0.113.7:8080", "no-such-host.invalid:8080"])
def test_an_address_that_is_not_ours_is_named(
    source: Any, listen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "invalid" in listen:

        def unknown(*_args: object, **_kwargs: object) -> None:
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)

    with pytest.raises(UsageError, match="cannot listen on") as caught:
        Server(partial(create_app, source), listen).run(threading.Event())

    assert listen in caught.value.message
    assert "web.listen" in caught.value.advice


def test_a_port_of_roots_is_explained(source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)

    with pytest.raises(UsageError, match="may not listen") as caught:
        Server(partial(create_app, source), "127.0.0.1:80").run(threading.Event())

    assert "1023" in caught.value.advice


def test_nobody_waits_for_an_address_for_ever(source: Any) -> None:
    with pytest.raises(TimeoutError):
        Server(partial(create_app, source), "127.0.0.1:0").address(0.01)


PROGRAM = """
import signal, sys, threading
from functools import partial
import driftwatch.log
import driftwatch.web
driftwatch.log.configure(json=True)
assert "fastapi" not in sys.modules and "uvicorn" not in sys.modules, "imported too early"
class Source:
    def liveness(self): return True, {}
    def readiness(self): return True, {}
    def refresh_metrics(self): pass
def handle(number, frame):
    print("mine", number, flush=True)
signal.signal(signal.SIGTERM, handle)
server = driftwatch.web.Server(partial(driftwatch.web.create_app, Source()), "127.0.0.1:0")
stop = threading.Event()
def report():
    print(server.address()[1], flush=True)
    sys.stdin.readline()
    stop.set()
threading.Thread(target=report).start()
server.run(stop)
assert signal.getsignal(signal.SIGTERM) is handle
print("stopped", flush=True)
"""


def test_it_touches_no_signal_handler_and_idles_cheaply() -> None:
    """In a process of its own, on its main thread, where uvicorn would take the signals over."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        port = int(program.stdout.readline())
        process = psutil.Process(program.pid)
        assert httpx2.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200
        program.send_signal(signal.SIGTERM)
        assert program.stdout.readline() == f"mine {int(signal.SIGTERM)}\n"
        assert httpx2.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200
        before = process.cpu_times()
        time.sleep(1)
        after = process.cpu_times()
        used = after.user + after.system - before.user - before.system
        rss = process.memory_info().rss
        program.stdin.write("\n")
        program.stdin.flush()
        assert program.stdout.readline() == "stopped\n"
        assert program.wait(5) == 0
    assert used < 0.05
    assert rss < 120_000_000
