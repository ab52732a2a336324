"""The generic webhook: what a receiver gets, how it knows that it is ours, and where we refuse to send."""

from __future__ import annotations

import json
import logging
import re
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr

from driftwatch.config.hosts import is_off_limits
from driftwatch.config.notify import NotifySettings, WebhookSettings
from driftwatch.errors import UsageError
from driftwatch.log import register_secret
from driftwatch.model import ErrorReport, TransitionKind, Verdict
from driftwatch.notify import DeliveryDeferred, DeliveryRefused, channels, webhook
from driftwatch.notify.address import NotAllowedError, reachable
from driftwatch.notify.webhook import MAX_BODY_BYTES, WebhookChannel, body, signed_headers, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from driftwatch.config.notify import SlackSettings
    from driftwatch.model import Announcement, AttributeChange, Finding, Message

SECRET = "canary-webhook-secret"


def settings(url: str, **other: object) -> Any:
    return WebhookSettings(name="pager", url=url, secret=SecretStr(SECRET), **other)


@pytest.fixture
def channel(receiver: Any, clock: Any) -> Any:
    return WebhookChannel(
        settings(f"http://127.0.0.1:{receiver.port}/hook?token=canary-in-url"), clock, timeout=2
    )


def test_a_delivery_is_one_signed_post(
    receiver: Any, channel: Any, a_message: Callable[..., Message], clock: Any
) -> None:
    receipt = channel.deliver(a_message())

    (call,) = receiver.calls
    assert call.headers["Content-Type"] == "application/json"
    assert call.headers["Host"] == f"127.0.0.1:{receiver.port}"
    assert call.headers["X-Driftwatch-Timestamp"] == str(int(clock().timestamp()))
    assert verify(SECRET, call.headers, call.body, clock())
    assert receipt == {"status": "204"}


def test_the_body_is_the_announcement_as_documented(
    receiver: Any,
    channel: Any,
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
) -> None:
    told = an_announcement(
        findings=(a_finding(message="why"),),
        total=57,
        set_aside=2,
        opened=("a",),
        changed=("b",),
        resolved=("c",),
        flapping=("d",),
        said="anna snoozed it",
    )

    channel.deliver(a_message(3, told, channel="webhook:pager"))

    assert receiver.calls[0].json == {
        "version": 1,
        "id": "platform/envs/prod/network#3",
        "event": "drift_found",
        "episode": "e1",
        "stack": "platform/envs/prod/network",
        "verdict": "drifted",
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "trigger": "schedule",
        "at": "2026-01-02T12:00:00Z",
        "check_id": 42,
        "owners": ["@platform"],
        "total": 57,
        "set_aside": 2,
        "findings": [
            {
                "address": "aws_sqs_queue.jobs",
                "type": "aws_sqs_queue",
                "kind": "modified",
                "action": "update",
                "causes": ["out_of_band"],
                "severity": "high",
                "fingerprint": "fp-aws_sqs_queue.jobs",
                "counted": True,
                "message": "why",
                "attributes": [
                    {
                        "path": "/delay_seconds",
                        "before": 0,
                        "actual": 90,
                        "after": 0,
                        "sensitive": False,
                        "cause": "out_of_band",
                    }
                ],
            }
        ],
        "opened": ["a"],
        "changed": ["b"],
        "resolved": ["c"],
        "flapping": ["d"],
        "said": "anna snoozed it",
        "error": None,
        "mass_deletion": None,
        "truncated": False,
    }


@pytest.mark.parametrize("kind", TransitionKind)
def test_every_event_is_named_as_documented(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement], kind: TransitionKind
) -> None:
    document = json.loads(body(a_message(1, an_announcement(kind))))

    assert document["version"] == 1
    assert re.search(rf"[| \"]{document['event']}[ |\",]", webhook.__doc__ or "")


@pytest.mark.parametrize("kind", [TransitionKind.HANDLED, TransitionKind.REPAIR])
def test_what_was_done_is_told_as_a_sentence(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement], kind: TransitionKind
) -> None:
    document = json.loads(body(a_message(1, an_announcement(kind, said="Proposal 12 is applied."))))

    assert (document["event"], document["said"]) == (kind.value, "Proposal 12 is applied.")


def test_a_failing_check_carries_its_error_without_detail(
    a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    error = ErrorReport(code="state_locked", message="Held.", advice="Wait.", detail="output of terraform")
    told = an_announcement(TransitionKind.CHECK_FAILING, verdict=Verdict.ERROR, error=error)

    document = json.loads(body(a_message(1, told)))

    assert document["error"] == {"code": "state_locked", "message": "Held.", "advice": "Wait."}


def test_every_attempt_has_the_same_id_and_a_time_of_its_own(
    receiver: Any, channel: Any, a_message: Callable[..., Message], clock: Any, a_reply: Callable[..., Any]
) -> None:
    receiver.then(a_reply(status=500))
    with pytest.raises(DeliveryDeferred):
        channel.deliver(a_message())
    clock.advance(600)
    channel.deliver(a_message())

    first, second = (call.headers for call in receiver.calls)
    assert (
        first["X-Driftwatch-Delivery"] == second["X-Driftwatch-Delivery"] == "platform/envs/prod/network%231"
    )
    assert int(second["X-Driftwatch-Timestamp"]) - int(first["X-Driftwatch-Timestamp"]) == 600


def test_an_id_cannot_smuggle_a_header(
    receiver: Any, channel: Any, a_message: Callable[..., Message]
) -> None:
    channel.deliver(a_message(dedupe_key="a\r\nX-Evil: 1/ü"))

    assert receiver.calls[0].headers["X-Driftwatch-Delivery"] == "a%0D%0AX-Evil:%201/%C3%BC"
    assert "X-Evil" not in receiver.calls[0].headers


def test_a_body_that_is_too_large_leaves_the_attributes_out_and_says_so(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
) -> None:
    change = a_change(actual="x" * 100_000)
    findings = tuple(a_finding(f"aws_sqs_queue.jobs[{number}]", attributes=(change,)) for number in range(20))

    content = body(a_message(1, an_announcement(findings=findings, total=20)))

    assert len(content) < MAX_BODY_BYTES
    document = json.loads(content)
    assert document["truncated"] is True
    assert [finding["address"] for finding in document["findings"]] == [
        finding.address for finding in findings
    ]


@pytest.mark.row(68)
def test_a_registered_secret_does_not_reach_a_receiver(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    a_change: Callable[..., AttributeChange],
) -> None:
    """Row 68: not in a value, not in a key, not in an address."""
    canary = "canary-s3cr3t-webhook"
    register_secret(canary)
    change = a_change(path=f"/{canary}", before=[canary], actual={canary: canary}, after=canary)

    content = body(a_message(1, an_announcement(findings=(a_finding(canary, attributes=(change,)),))))

    assert canary.encode() not in content


# Signatures


def test_a_signature_is_over_timestamp_and_body() -> None:
    """A vector for those who write a receiver in another language."""
    headers = signed_headers("secret", "1", b'{"version":1}', datetime.fromtimestamp(1_700_000_000, UTC))

    # printf '1700000000.{"version":1}' | openssl dgst -sha256 -hmac secret
    assert headers["X-Driftwatch-Signature"] == (
        "sha256=6c49492c841520e805df0f6652ac4859b2bf8a94b97b7fe2664f0c02e62d2c85"
    )


def test_verifying_needs_the_secret_the_body_and_the_time(noon: datetime) -> None:
    headers = signed_headers(SECRET, "1", b"{}", noon)

    assert verify(SECRET, headers, b"{}", noon)
    assert verify(SECRET, {key.upper(): value for key, value in headers.items()}, b"{}", noon)
    assert verify(SECRET, headers, b"{}", noon + timedelta(seconds=300))
    assert not verify(SECRET, headers, b"{}", noon + timedelta(seconds=301))
    assert not verify(SECRET, headers, b"{}", noon - timedelta(seconds=301))
    assert not verify(SECRET, headers, b"{ }", noon)
    assert not verify("another", headers, b"{}", noon)
    assert not verify(
        SECRET, headers | {"X-Driftwatch-Timestamp": str(int(noon.timestamp()) + 1)}, b"{}", noon
    )


def test_an_empty_secret_verifies_nothing(noon: datetime) -> None:
    assert not verify("", signed_headers("", "1", b"{}", noon), b"{}", noon)


@hypothesis_settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["X-Driftwatch-Timestamp", "X-Driftwatch-Signature", "other"]),
        st.text(max_size=80) | st.just("1767355200"),
    ),
    st.binary(max_size=40),
)
def test_forged_headers_verify_as_false_and_never_raise(noon: datetime, headers: Any, content: Any) -> None:
    assert verify(SECRET, headers, content, noon) is False


# Answers


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_is_delivered(
    receiver: Any, channel: Any, a_message: Callable[..., Message], a_reply: Callable[..., Any], status: int
) -> None:
    receiver.then(a_reply(status=status))

    assert channel.deliver(a_message()) == {"status": str(status)}


def test_410_is_never_again(
    receiver: Any, channel: Any, a_message: Callable[..., Message], a_reply: Callable[..., Any]
) -> None:
    receiver.then(a_reply(status=410))

    with pytest.raises(DeliveryRefused, match="webhook:pager answered 410"):
        channel.deliver(a_message())


@pytest.mark.parametrize(
    ("status", "headers", "retry_after"),
    [
        (500, {}, None),
        (502, {}, None),
        (408, {}, None),
        (429, {"Retry-After": "12"}, 12),
        (503, {"Retry-After": "Fri, 02 Jan 2026 12:01:30 GMT", "Date": "Fri, 02 Jan 2026 12:00:00 GMT"}, 90),
        (503, {"Retry-After": "soon"}, None),
        (503, {"Retry-After": "-5"}, None),
        (503, {"Retry-After": "nan"}, None),
    ],
)
def test_a_server_in_trouble_gets_time(
    receiver: Any,
    channel: Any,
    a_message: Callable[..., Message],
    a_reply: Callable[..., Any],
    status: int,
    headers: Any,
    retry_after: Any,
) -> None:
    receiver.then(a_reply(status=status, headers=headers))

    with pytest.raises(DeliveryDeferred) as caught:
        channel.deliver(a_message())

    assert caught.value.retry_after == retry_after
    assert caught.value.whole_channel


@pytest.mark.parametrize("status", [400, 413, 418, 422])
def test_what_only_this_message_suffers_does_not_hold_up_the_others(
    receiver: Any, channel: Any, a_message: Callable[..., Message], a_reply: Callable[..., Any], status: int
) -> None:
    receiver.then(a_reply(status=status))

    with pytest.raises(DeliveryDeferred) as caught:
        channel.deliver(a_message())

    assert not caught.value.whole_channel


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_wrong_settings_wait_for_a_person(
    receiver: Any, channel: Any, a_message: Callable[..., Message], a_reply: Callable[..., Any], status: int
) -> None:
    receiver.then(a_reply(status=status))

    with pytest.raises(DeliveryDeferred) as caught:
        channel.deliver(a_message())

    assert caught.value.retry_after == 3600
    assert caught.value.advice


@pytest.mark.row(67)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(
    receiver: Any, channel: Any, a_message: Callable[..., Message], a_reply: Callable[..., Any], status: int
) -> None:
    """Row 67: a receiver cannot send the signed body elsewhere."""
    receiver.then(a_reply(status=status, headers={"Location": f"http://127.0.0.1:{receiver.port}/other"}))

    with pytest.raises(DeliveryDeferred, match=str(status)):
        channel.deliver(a_message())

    assert len(receiver.calls) == 1


@pytest.mark.parametrize("fault", ["reset", "hang"])
def test_a_receiver_that_breaks_off_or_hangs_is_put_off(
    receiver: Any, channel: Any, a_message: Callable[..., Message], a_reply: Callable[..., Any], fault: Any
) -> None:
    receiver.then(a_reply(fault=fault))

    with pytest.raises(DeliveryDeferred) as caught:
        channel.deliver(a_message())

    assert caught.value.retry_after is None


def test_a_receiver_that_talks_without_end_is_not_listened_to(
    clock: Any, a_message: Callable[..., Message]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def talk() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                try:
                    while not ended.wait(0.01):
                        connection.sendall(b"4\r\nblah\r\n")
                except OSError:
                    ended.set()

        talker = threading.Thread(target=talk)
        talker.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        started = time.monotonic()
        assert WebhookChannel(settings(url), clock).deliver(a_message()) == {"status": "200"}
        assert time.monotonic() - started < 2
        assert ended.wait(2)
        talker.join()


@pytest.mark.row(68)
@pytest.mark.parametrize("fault", [{"fault": "reset"}, {"fault": "hang"}, {"status": 500}, {"status": 404}])
def test_neither_url_nor_secret_is_in_an_error_or_log(
    receiver: Any,
    channel: Any,
    a_message: Callable[..., Message],
    a_reply: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    fault: Any,
) -> None:
    """Row 68: a webhook's URL may carry a token, and is as secret as the secret."""
    caplog.set_level(logging.DEBUG)
    receiver.then(a_reply(**fault))

    with pytest.raises(DeliveryDeferred) as caught:
        channel.deliver(a_message())

    said = f"{caught.value} {caught.value.advice} {caplog.text}"
    assert "canary" not in said


# Addresses


@pytest.mark.row(67)
@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "0.0.0.0",  # noqa: S104  (refused, not bound to)
        "::",
        "224.0.0.1",
        "255.255.255.255",
    ],
)
def test_addresses_that_are_nobodys_receiver_are_refused(address: str) -> None:
    """Row 67: metadata services, link-local, multicast, unspecified; also behind IPv6 forms of IPv4."""
    assert is_off_limits(ip_address(address))


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.1.2.3", "192.168.1.1", "fd12::1", "93.184.216.34"]
)
def test_loopback_and_private_networks_are_as_good_as_any(address: str) -> None:
    assert not is_off_limits(ip_address(address))


def test_an_address_may_be_allowed_by_name() -> None:
    allowed = [ip_network("169.254.20.0/24")]
    assert reachable("169.254.20.10", 80, allowed) == [ip_address("169.254.20.10")]
    with pytest.raises(NotAllowedError):
        reachable("169.254.169.254", 80, allowed)


@pytest.mark.row(67)
@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "2852039166", "0xa9fea9fe", "0"]
)
def test_a_metadata_address_in_any_spelling_is_never_connected_to(
    clock: Any, a_message: Callable[..., Message], host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 67: the resolver decides what a host is, and its answer is looked at, not the spelling."""
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("connected"))

    with pytest.raises(DeliveryDeferred, match="link-local") as caught:
        WebhookChannel(settings(f"http://{host}/latest/"), clock).deliver(a_message())

    assert "allow_addresses" in caught.value.advice
    assert caught.value.retry_after == 3600


@pytest.mark.row(67)
def test_a_name_is_resolved_once_and_that_address_is_used(
    receiver: Any, clock: Any, a_message: Callable[..., Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 67: a name that points elsewhere a moment later (DNS rebinding) gains nothing."""
    answers = [["127.0.0.1"], ["169.254.169.254"]]
    resolve_to(monkeypatch, lambda host: answers.pop(0) if host == "flip.test" else [host])

    there = settings(f"http://flip.test:{receiver.port}/", allow_addresses=["127.0.0.0/8"])
    WebhookChannel(there, clock).deliver(a_message())

    assert receiver.calls[0].headers["Host"] == f"flip.test:{receiver.port}"
    assert len(answers) == 1


@pytest.mark.row(67)
def test_one_bad_address_among_several_is_enough(
    clock: Any, a_message: Callable[..., Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 67: a name with a good and a metadata address is refused as a whole."""
    resolve_to(monkeypatch, lambda _host: ["127.0.0.1", "169.254.169.254"])

    with pytest.raises(DeliveryDeferred, match="metadata"):
        WebhookChannel(settings("http://both.test:9/"), clock).deliver(a_message())


@pytest.mark.row(67)
@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9"])
def test_a_name_does_not_lead_to_this_machine_unless_it_says_so(
    clock: Any, a_message: Callable[..., Message], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 67: whoever owns a name's DNS must not reach what listens on loopback."""
    resolve_to(monkeypatch, lambda _host: [address])
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("connected"))

    with pytest.raises(DeliveryDeferred, match="points to this machine"):
        WebhookChannel(settings("http://rebound.test:9/"), clock).deliver(a_message())


def test_the_next_address_is_tried_where_one_does_not_answer(
    receiver: Any, clock: Any, a_message: Callable[..., Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, lambda host: ["127.0.0.9", "127.0.0.1"] if host == "two.test" else [host])

    there = settings(f"http://two.test:{receiver.port}/", allow_addresses=["127.0.0.0/8"])
    WebhookChannel(there, clock).deliver(a_message())

    assert len(receiver.calls) == 1


def test_a_name_that_does_not_exist_is_put_off(
    clock: Any, a_message: Callable[..., Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DeliveryDeferred, match="cannot be reached"):
        WebhookChannel(settings("http://nowhere.invalid/"), clock).deliver(a_message())


@pytest.mark.parametrize(("host", "trusted"), [("receiver.test", True), ("other.test", False)])
def test_a_certificate_is_checked_against_the_name_and_not_the_address(
    clock: Any,
    a_message: Callable[..., Message],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    host: str,
    trusted: Any,
) -> None:
    """The connection goes to an address that was looked at; TLS still asks for the name in the settings."""
    certificate = self_signed(tmp_path / "receiver.pem", "receiver.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    resolve_to(monkeypatch, lambda asked: ["127.0.0.1"] if asked == host else [asked])
    with tls_receiver(certificate) as port:
        there = settings(f"https://{host}:{port}/", allow_addresses=["127.0.0.0/8"])
        channel = WebhookChannel(there, clock, timeout=5)
        if trusted:
            assert channel.deliver(a_message()) == {"status": "204"}
        else:
            with pytest.raises(DeliveryDeferred, match="cannot be reached"):
                channel.deliver(a_message())


def self_signed(file: Any, name: str) -> Any:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + certificate.public_bytes(pem))
    return file


@contextmanager
def tls_receiver(certificate: Any) -> Iterator[Any]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response_only(204)
            self.end_headers()

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that distrusts us breaks off, which is what is tested."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def resolve_to(monkeypatch: pytest.MonkeyPatch, answer: Any) -> Any:
    def getaddrinfo(host: str, port: Any, *_args: object, **_kwargs: object) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answer(host)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


# Settings


def test_settings_become_channels_by_name(slack_settings: SlackSettings) -> None:
    webhooks = tuple(
        WebhookSettings(name=name, url="https://example.test/", secret=SecretStr(SECRET))
        for name in ("a", "b")
    )

    assert [
        channel.name for channel in channels(NotifySettings(slack=slack_settings, webhooks=webhooks))
    ] == [
        "slack",
        "webhook:a",
        "webhook:b",
    ]
    assert channels(NotifySettings()) == ()


@pytest.mark.parametrize(
    "url", ["ftp://example.test/", "example.test", "http://", "http://[::1", "file:///etc/passwd"]
)
def test_a_url_that_cannot_be_posted_to_is_a_mistake_in_the_settings(clock: Any, url: str) -> None:
    wrong = WebhookSettings.model_construct(name="x", url=url, secret=SecretStr(SECRET), allow_addresses=())

    with pytest.raises(UsageError, match="'x'"):
        WebhookChannel(wrong, clock)


def test_an_empty_secret_is_a_mistake_in_the_settings(clock: Any) -> None:
    wrong = WebhookSettings.model_construct(
        name="x", url="http://example.test/", secret=SecretStr(""), allow_addresses=()
    )

    with pytest.raises(UsageError, match="secret"):
        WebhookChannel(wrong, clock)
