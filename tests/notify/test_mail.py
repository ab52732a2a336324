"""E-mail: what arrives, how mails hang together, that TLS is never given up, and what each refusal means."""

from __future__ import annotations

import email
import logging
import re
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.policy import default
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr

from driftwatch.config.notify import EmailSettings
from driftwatch.errors import UsageError
from driftwatch.log import redact
from driftwatch.model import TransitionKind
from driftwatch.notify import DeliveryDeferred, DeliveryRefused, mail
from driftwatch.notify.channel import PERSON_NEEDED_SECONDS
from driftwatch.notify.mail import EmailChannel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from email.message import EmailMessage
    from pathlib import Path

    from driftwatch.model import Announcement, Message

PASSWORD = "canary-mail-password-77"
STACK = "platform/envs/prod/network"


@dataclass
class Postbox:
    """Takes mail as aiosmtpd's handler, or answers as `says` for a command and `refuses` for an address."""

    says: dict[str, str] = field(default_factory=dict)
    refuses: dict[str, str] = field(default_factory=dict)
    taken: list[tuple[list[str], bytes]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    secured: list[bool] = field(default_factory=list)

    async def handle_EHLO(self, _server: Any, session: Any, _envelope: Any, hostname: str, lines: Any) -> Any:  # noqa: N802  (the hook)
        session.host_name = hostname
        self.names.append(hostname)
        return lines

    async def handle_MAIL(self, _server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802  (the hook)
        self.secured.append(session.ssl is not None)
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return self.says.get("MAIL", "250 OK")

    async def handle_RCPT(  # noqa: N802  (the hook)
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        answer = self.refuses.get(address, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802  (the hook)
        answer = self.says.get("DATA", "250 OK")
        if answer.startswith("250"):
            self.taken.append((list(envelope.rcpt_tos), envelope.content))
        return answer

    async def handle_QUIT(self, _server: Any, _session: Any, _envelope: Any) -> str:  # noqa: N802  (the hook)
        return self.says.get("QUIT", "221 Bye")

    @property
    def mails(self) -> list[EmailMessage]:
        return [email.message_from_bytes(content, policy=default) for _, content in self.taken]


class Office(Controller):
    """An SMTP server on loopback, with aiosmtpd's options; `implicit` is for TLS from the first byte."""

    def __init__(self, postbox: Postbox, *, implicit: ssl.SSLContext | None = None, **options: Any) -> None:
        self.options = {"enable_SMTPUTF8": False, **options}
        super().__init__(
            postbox,
            hostname="127.0.0.1",
            port=0,
            ssl_context=implicit,
            ready_timeout=10.0,
        )

    def factory(self) -> SMTP:
        return SMTP(self.handler, **self.options)

    @property
    def bound(self) -> int:
        return int(self.server.sockets[0].getsockname()[1])

    def _trigger_server(self) -> None:
        # The base class connects to port 0 to see whether the server answers.
        self.port = self.bound
        super()._trigger_server()


@pytest.fixture
def postbox() -> Postbox:
    return Postbox()


@pytest.fixture
def office(postbox: Postbox) -> Iterator[Callable[..., int]]:
    """Opens servers that put what they take into the postbox, and gives their ports."""
    opened: list[Office] = []

    def open_one(**options: Any) -> int:
        server = Office(postbox, **options)
        server.start()
        opened.append(server)
        return server.bound

    yield open_one
    for server in opened:
        server.stop()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `good.pem` for 127.0.0.1 and `other.pem` for another name, each its own issuer."""
    directory = tmp_path_factory.mktemp("certificates")
    (directory / "good.pem").write_bytes(_certificate(x509.IPAddress(ip_address("127.0.0.1"))))
    (directory / "other.pem").write_bytes(_certificate(x509.DNSName("elsewhere.example")))
    return directory


def _certificate(name: x509.GeneralName) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def tls(certificates: Path, name: str = "good.pem") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / name)
    return context


@pytest.fixture
def trusted(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "good.pem"))


def settings(port: int, **other: Any) -> Any:
    given: dict[str, Any] = {
        "name": "team",
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "from": "driftwatch@example.com",
        "to": ("a@example.com",),
    }
    return EmailSettings(**given | other)


def signing_in(port: int, **other: Any) -> Any:
    return settings(port, security="starttls", username="bot", password=SecretStr(PASSWORD), **other)


def deferral(channel: EmailChannel, message: Message) -> DeliveryDeferred:
    with pytest.raises(DeliveryDeferred) as caught:
        channel.deliver(message)
    return caught.value


def is_for_a_person(error: DeliveryDeferred) -> bool:
    return error.retry_after == PERSON_NEEDED_SECONDS and bool(error.advice)


def test_a_message_arrives_as_one_plain_text_mail(
    office: Any, postbox: Postbox, clock: Any, a_message: Callable[..., Message]
) -> None:
    channel = EmailChannel(settings(office(), to=("a@example.com", "b@example.com")), clock)

    receipt = channel.deliver(a_message())

    ((recipients, _),) = postbox.taken
    (arrived,) = postbox.mails
    assert recipients == ["a@example.com", "b@example.com"]
    assert arrived["Subject"] == f"{STACK}: drifted, 1 finding"
    assert arrived["From"] == "driftwatch@example.com"
    assert arrived["To"] == "a@example.com, b@example.com"
    assert arrived.get_content_type() == "text/plain"
    lines = arrived.get_content().splitlines()
    assert lines[:3] == [f"{STACK}: drifted, 1 finding", "", "HIGH aws_sqs_queue.jobs"]
    assert "  /delay_seconds: 90 → 0" in lines
    assert receipt == {"message_id": arrived["Message-ID"], "subject": arrived["Subject"]}
    assert channel.name == "email:team"


def test_a_mail_says_that_a_program_wrote_it_when_and_about_what(
    office: Any, postbox: Postbox, clock: Any, a_message: Callable[..., Message], an_announcement: Any
) -> None:
    EmailChannel(settings(office()), clock).deliver(
        a_message(announcement=an_announcement(stack="p/größe\r\nBcc: x@example.com"))
    )

    (arrived,) = postbox.mails
    assert arrived["Auto-Submitted"] == "auto-generated"
    assert arrived["X-Auto-Response-Suppress"] == "All"
    assert arrived["X-Driftwatch-Stack"] == "p/gr%C3%B6%C3%9Fe%20Bcc%3A%20x@example.com"
    assert parsedate_to_datetime(arrived["Date"]) == clock()
    assert arrived["Bcc"] is None


def test_a_mail_about_several_stacks_names_none_of_them_in_its_headers(
    office: Any, postbox: Postbox, clock: Any, a_message: Callable[..., Message], an_announcement: Any
) -> None:
    digest = a_message(more=(an_announcement(stack="p/other"),), thread="digest:2026-01-02")

    EmailChannel(settings(office()), clock).deliver(digest)

    (arrived,) = postbox.mails
    assert arrived["X-Driftwatch-Stack"] is None
    assert arrived["Subject"] == "Digest: 2 messages on 2 stacks"


def test_the_server_hears_the_senders_domain_as_our_name(
    office: Any, postbox: Postbox, clock: Any, a_message: Callable[..., Message]
) -> None:
    EmailChannel(settings(office()), clock).deliver(a_message())

    assert postbox.names == ["example.com"]


def test_every_attempt_has_the_same_id_and_every_message_its_own(
    office: Any, postbox: Postbox, clock: Any, a_message: Callable[..., Message]
) -> None:
    channel = EmailChannel(settings(office()), clock)
    same = replace(a_message(), attempts=3)

    channel.deliver(a_message())
    channel.deliver(same)
    channel.deliver(a_message(2))
    channel.deliver(replace(a_message(), carried=(2, 3)))

    ids = [arrived["Message-ID"] for arrived in postbox.mails]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3, "a mail that tells more than the one before must not be dropped as its copy"
    assert all(re.fullmatch(r"<[0-9a-f]{32}@example\.com>", each) for each in ids)


def test_later_mails_of_a_thread_refer_to_the_first_and_keep_its_subject(
    office: Any, postbox: Postbox, clock: Any, a_message: Callable[..., Message], an_announcement: Any
) -> None:
    channel = EmailChannel(settings(office()), clock)
    first = channel.deliver(a_message())
    over = a_message(2, an_announcement(TransitionKind.RESOLVED), anchor=first)

    second = channel.deliver(over)
    channel.deliver(replace(over, id=3, dedupe_key="third", anchor=second))

    assert second == first, "an outbox may hand on the first receipt or the latest"
    for arrived in postbox.mails[1:]:
        assert arrived["In-Reply-To"] == arrived["References"] == first["message_id"]
        assert arrived["Message-ID"] != first["message_id"]
        assert arrived["Subject"] == f"Re: {STACK}: drifted, 1 finding"
        assert arrived.get_content().splitlines()[0] == f"{STACK}: resolved"


@pytest.mark.parametrize(
    "anchor",
    [
        {"channel": "C042", "ts": "1700000000.1"},
        {"message_id": "<x@y>\r\nBcc: z@example.com", "subject": "s"},
        {"message_id": f"<{'0' * 32}@example.com>"},
        {},
    ],
)
def test_an_anchor_that_is_none_of_ours_begins_a_new_thread(
    office: Any, postbox: Postbox, clock: Any, a_message: Callable[..., Message], anchor: Mapping[str, str]
) -> None:
    EmailChannel(settings(office()), clock).deliver(a_message(anchor=anchor))

    (arrived,) = postbox.mails
    assert arrived["In-Reply-To"] is None
    assert arrived["Bcc"] is None
    assert not arrived["Subject"].startswith("Re:")


def test_ids_of_long_domains_are_not_broken(
    office: Any, postbox: Postbox, clock: Any, a_message: Callable[..., Message]
) -> None:
    domain = ".".join(["notifications-of-the-platform-team"] * 5)
    channel = EmailChannel(settings(office(), **{"from": f"driftwatch@{domain}.com"}), clock)

    receipt = channel.deliver(a_message())
    channel.deliver(a_message(2, anchor=receipt))

    assert f"\r\nReferences: {receipt['message_id']}\r\n".encode() in postbox.taken[1][1]


@pytest.mark.parametrize(
    "stack",
    [
        "p/x\r\nBcc: evil@example.com\r\n\r\nbody",
        "p/\x00\u202e\u2028x",
        "p/=?utf-8?q?a=0D=0ABcc:_evil@example.com?=",
        "p/" + "ü" * 5_000_000,
        "p/\ud800",
        "p/😀" * 50,
    ],
)
def test_no_name_can_add_a_header(
    office: Any,
    postbox: Postbox,
    clock: Any,
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    stack: str,
) -> None:
    channel = EmailChannel(settings(office()), clock)

    receipt = channel.deliver(a_message(announcement=an_announcement(stack=stack)))
    channel.deliver(a_message(2, an_announcement(stack=stack), anchor=receipt))

    for (_, content), arrived in zip(postbox.taken, postbox.mails, strict=True):
        assert arrived["Bcc"] is None
        assert len(arrived["Subject"]) <= 154
        assert max(map(len, content.split(b"\r\n"))) < 998
        assert content.isascii()


@hypothesis_settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    stack=st.text(st.characters(), min_size=1, max_size=200), subject=st.text(st.characters(), max_size=200)
)
def test_any_name_makes_a_mail_with_exactly_our_headers(
    stack: str, subject: str, clock: Any, a_message: Callable[..., Message], an_announcement: Any
) -> None:
    channel = EmailChannel(settings(25), clock)
    anchor = {"message_id": f"<{'0' * 32}@example.com>", "subject": subject}
    message = a_message(announcement=an_announcement(stack=stack), anchor=anchor)

    content = channel._mail(message, mail._thread_of(message) or channel._new_thread(message))

    arrived = email.message_from_bytes(content, policy=default)
    names = set(arrived.keys())
    assert names - {"In-Reply-To", "References"} == {
        *("Date", "Message-ID", "Auto-Submitted", "X-Auto-Response-Suppress", "X-Driftwatch-Stack"),
        *("From", "To", "Subject", "Content-Type", "Content-Transfer-Encoding", "MIME-Version"),
    }
    assert len(arrived.keys()) == len(names)
    assert all(ord(character) >= 32 for character in arrived["Subject"])


def test_starttls_is_used_and_signed_in_over(
    office: Any,
    postbox: Postbox,
    clock: Any,
    certificates: Path,
    trusted: None,
    a_message: Callable[..., Message],
) -> None:
    seen = []

    def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        seen.append((data.login, data.password))
        return AuthResult(success=True)

    port = office(tls_context=tls(certificates), authenticator=authenticate, auth_required=True)
    EmailChannel(signing_in(port), clock).deliver(a_message())

    assert seen == [(b"bot", PASSWORD.encode())]
    assert postbox.secured == [True]
    assert len(postbox.taken) == 1


def test_tls_from_the_first_byte_is_used(
    office: Any,
    postbox: Postbox,
    clock: Any,
    certificates: Path,
    trusted: None,
    a_message: Callable[..., Message],
) -> None:
    EmailChannel(settings(office(implicit=tls(certificates)), security="tls"), clock).deliver(a_message())

    assert len(postbox.taken) == 1


def test_a_server_without_starttls_gets_neither_password_nor_mail(
    office: Any, postbox: Postbox, clock: Any, a_message: Callable[..., Message]
) -> None:
    error = deferral(EmailChannel(signing_in(office()), clock), a_message())

    assert error.message == "email:team: the server does not offer STARTTLS"
    assert is_for_a_person(error)
    assert postbox.secured == []


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize(("name", "trust"), [("other.pem", "other.pem"), ("good.pem", "other.pem")])
def test_a_certificate_of_another_name_or_issuer_is_a_persons_business(
    office: Any,
    postbox: Postbox,
    clock: Any,
    certificates: Path,
    monkeypatch: pytest.MonkeyPatch,
    a_message: Callable[..., Message],
    security: str,
    name: str,
    trust: str,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / trust))
    context = tls(certificates, name)
    port = office(implicit=context) if security == "tls" else office(tls_context=context)

    error = deferral(EmailChannel(settings(port, security=security), clock), a_message())

    assert error.message == "email:team: the server's certificate is not valid for it"
    assert is_for_a_person(error)
    assert postbox.taken == []


def test_tls_with_a_server_that_speaks_none_is_told_apart(
    office: Any, clock: Any, a_message: Callable[..., Message]
) -> None:
    error = deferral(EmailChannel(settings(office(), security="tls"), clock, timeout=2), a_message())

    assert error.message == "email:team: no TLS with the server (SSLError)"
    assert "465" in str(error.advice)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("535 5.7.8 no: {password}", "the server refuses username and password (535)"),
        ("534 5.7.9 no", "the server refuses username and password (534)"),
        ("454 4.7.0 later", "the server cannot let us sign in now (454)"),
    ],
)
def test_a_refused_sign_in_is_told_without_the_servers_words(
    office: Any,
    clock: Any,
    certificates: Path,
    trusted: None,
    a_message: Callable[..., Message],
    answer: str,
    words: str,
) -> None:
    def authenticate(server: Any, *_: Any) -> AuthResult:
        return AuthResult(success=False, handled=False, message=answer.format(password=PASSWORD))

    port = office(tls_context=tls(certificates), authenticator=authenticate, auth_required=True)
    error = deferral(EmailChannel(signing_in(port), clock), a_message())

    assert error.message == f"email:team: {words}"
    assert is_for_a_person(error) is (not answer.startswith("4"))
    assert PASSWORD not in f"{error!r} {error} {error.advice}"
    assert error.__cause__ is None
    assert error.__suppress_context__


def test_a_server_that_knows_no_way_to_sign_in_is_a_persons_business(
    office: Any, clock: Any, certificates: Path, trusted: None, a_message: Callable[..., Message]
) -> None:
    port = office(tls_context=tls(certificates), auth_exclude_mechanism=["PLAIN", "LOGIN"])

    error = deferral(EmailChannel(signing_in(port), clock), a_message())

    assert error.message == "email:team: the server offers no way to sign in that we know"
    assert is_for_a_person(error)


@pytest.mark.parametrize(
    ("answer", "words", "person"),
    [
        ("421 4.3.2 closing", "the server takes no mail now (421)", False),
        ("450 4.1.1 later", "the server takes no mail now (450)", False),
        ("451 4.3.0 later", "the server takes no mail now (451)", False),
        ("452 4.3.1 full", "the server takes no mail now (452)", False),
        ("530 5.7.0 sign in", "the server wants us to sign in (530)", True),
        ("550 5.7.1 no", "the server refuses the sender's address (550)", True),
        ("553 5.1.8 no", "the server refuses the sender's address (553)", True),
    ],
)
def test_what_is_said_to_the_sender_is_kept_apart(
    office: Any,
    postbox: Postbox,
    clock: Any,
    a_message: Callable[..., Message],
    answer: str,
    words: str,
    person: bool,
) -> None:
    postbox.says["MAIL"] = answer

    error = deferral(EmailChannel(settings(office()), clock), a_message())

    assert error.message == f"email:team: {words}"
    assert error.whole_channel
    assert is_for_a_person(error) is person


def test_a_mail_too_large_for_the_server_is_refused(
    office: Any, clock: Any, a_message: Callable[..., Message]
) -> None:
    channel = EmailChannel(settings(office(data_size_limit=200)), clock)

    with pytest.raises(DeliveryRefused, match=r"larger than the server takes \(552\)"):
        channel.deliver(a_message())


@pytest.mark.parametrize(
    ("answers", "words", "person"),
    [
        (["550 5.1.1 who?", "550 5.1.1 who?"], "the server refuses every recipient (550)", True),
        (["553 5.1.3 no", "554 5.7.1 no"], "the server refuses every recipient (553)", True),
        (["550 5.1.1 who?", "450 4.2.0 later"], "the server takes no mail now (450)", False),
        (["421 4.3.2 closing", "250 OK"], "the server takes no mail now (421)", False),
    ],
)
def test_where_nobody_is_reached_the_codes_say_whose_business_it_is(
    office: Any,
    postbox: Postbox,
    clock: Any,
    a_message: Callable[..., Message],
    answers: list[str],
    words: str,
    person: bool,
) -> None:
    addresses = ("a@example.com", "b@example.com")
    postbox.refuses = dict(zip(addresses, answers, strict=True))

    error = deferral(EmailChannel(settings(office(), to=addresses), clock), a_message())

    assert error.message == f"email:team: {words}"
    assert is_for_a_person(error) is person
    assert postbox.taken == []


def test_where_some_are_refused_the_others_are_told_and_the_receipt_says_who_was_not(
    office: Any, postbox: Postbox, clock: Any, a_message: Callable[..., Message]
) -> None:
    addresses = ("c@example.com", "a@example.com", "b@example.com")
    postbox.refuses = {"c@example.com": "550 who?", "b@example.com": "450 later"}

    receipt = EmailChannel(settings(office(), to=addresses), clock).deliver(a_message())

    assert [recipients for recipients, _ in postbox.taken] == [["a@example.com"]]
    assert receipt["refused"] == "b@example.com, c@example.com"


@pytest.mark.parametrize("code", [550, 552, 554])
def test_a_mail_whose_content_is_refused_is_given_up(
    office: Any, postbox: Postbox, clock: Any, a_message: Callable[..., Message], code: int
) -> None:
    postbox.says["DATA"] = f"{code} 5.7.1 looks like spam"

    with pytest.raises(DeliveryRefused) as caught:
        EmailChannel(settings(office()), clock).deliver(a_message())

    assert caught.value.message == f"email:team: the server does not take this mail ({code})"


@pytest.mark.parametrize(("code", "whole"), [(451, True), (421, True), (571, False)])
def test_a_mail_that_is_not_taken_now_waits(
    office: Any, postbox: Postbox, clock: Any, a_message: Callable[..., Message], code: int, whole: bool
) -> None:
    postbox.says["DATA"] = f"{code} no"

    error = deferral(EmailChannel(settings(office()), clock), a_message())

    assert f"({code})" in error.message
    assert error.whole_channel is whole
    assert not is_for_a_person(error)


def test_a_goodbye_that_goes_wrong_does_not_undo_a_delivery(
    office: Any, postbox: Postbox, clock: Any, a_message: Callable[..., Message]
) -> None:
    postbox.says["QUIT"] = "500 no"

    assert EmailChannel(settings(office()), clock).deliver(a_message())["message_id"]
    assert len(postbox.taken) == 1


def test_a_refused_connection_waits(clock: Any, a_message: Callable[..., Message]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    error = deferral(EmailChannel(settings(port), clock), a_message())

    assert error.message == "email:team: the server cannot be reached (ConnectionRefusedError)"


class Stranger:
    """A server on loopback that answers each line with the next of `script`; what is no bytes is a fault.

    `hang` says nothing more, `reset` breaks the connection, `trickle` says a byte ten times a second, `flood`
    never stops.
    """

    def __init__(self, *script: bytes | str) -> None:
        self._script = script
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.heard: list[bytes] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rb") as lines:
            for step in self._script:
                try:
                    if isinstance(step, str):
                        self._fail(connection, step)
                        return
                    connection.sendall(step)
                    self.heard.append(lines.readline())
                except OSError:
                    return

    def _fail(self, connection: socket.socket, fault: str) -> None:
        if fault == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        while fault in ("hang", "trickle", "flood") and not self._over.wait(0 if fault == "flood" else 0.1):
            if fault != "hang":
                connection.sendall(b"2" if fault == "trickle" else b"250-more\r\n" * 1000)

    def close(self) -> None:
        self._over.set()
        self._listener.close()
        self._thread.join()


@pytest.fixture
def stranger() -> Iterator[Callable[..., Stranger]]:
    opened = []

    def open_one(*script: bytes | str) -> Stranger:
        opened.append(Stranger(*script))
        return opened[-1]

    yield open_one
    for server in opened:
        server.close()


HELLO, YES = b"220 hello\r\n", b"250 yes\r\n"


@pytest.mark.parametrize("said", [(), (HELLO,), (HELLO, YES), (HELLO, YES, YES), (HELLO, YES, YES, YES)])
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("hang", "did not answer in time"),
        # The very first reset may come while the connection is still made.
        ("reset", r"(ended the connection|cannot be reached \(Connection\w+Error\))"),
        ("close", "ended the connection"),
    ],
)
def test_silence_and_broken_connections_wait_wherever_they_happen(
    stranger: Any,
    clock: Any,
    a_message: Callable[..., Message],
    said: tuple[bytes, ...],
    fault: str,
    words: str,
) -> None:
    server = stranger(*said, fault)

    error = deferral(EmailChannel(settings(server.port), clock, timeout=0.2), a_message())

    assert re.fullmatch(f"email:team: the server {words}", error.message)
    assert not is_for_a_person(error)


@pytest.mark.parametrize("said", [(), (HELLO, YES)])
def test_a_server_that_trickles_does_not_hold_us_for_longer_than_an_attempt(
    stranger: Any,
    clock: Any,
    a_message: Callable[..., Message],
    monkeypatch: pytest.MonkeyPatch,
    said: tuple[bytes, ...],
) -> None:
    monkeypatch.setattr(mail, "ATTEMPT_SECONDS", 0.5)
    server = stranger(*said, "trickle")

    started = time.monotonic()
    error = deferral(EmailChannel(settings(server.port), clock, timeout=0.4), a_message())

    assert time.monotonic() - started < 2
    assert error.message == "email:team: the server did not answer in time"


def test_a_server_that_never_stops_talking_is_left(
    stranger: Any, clock: Any, a_message: Callable[..., Message]
) -> None:
    server = stranger(HELLO, "flood")

    started = time.monotonic()
    error = deferral(EmailChannel(settings(server.port), clock, timeout=5), a_message())

    assert time.monotonic() - started < 4
    assert error.message == "email:team: the server ended the connection"


@pytest.mark.parametrize(
    "greeting", [b"554 no\r\n", b"421 busy\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff\r\n"]
)
def test_a_server_that_greets_otherwise_waits(
    stranger: Any, clock: Any, a_message: Callable[..., Message], greeting: bytes
) -> None:
    error = deferral(EmailChannel(settings(stranger(greeting).port), clock, timeout=1), a_message())

    assert "takes no mail now" in error.message
    assert not is_for_a_person(error)


@pytest.mark.parametrize(("answer", "person"), [(b"502 no\r\n", True), (b"454 later\r\n", False)])
def test_a_starttls_that_is_offered_and_refused_ends_the_attempt(
    stranger: Any, clock: Any, a_message: Callable[..., Message], answer: bytes, person: bool
) -> None:
    server = stranger(HELLO, b"250-hi\r\n250 STARTTLS\r\n", answer)

    error = deferral(EmailChannel(signing_in(server.port), clock, timeout=1), a_message())

    assert is_for_a_person(error) is person
    assert server.heard[1] == b"STARTTLS\r\n"
    assert not [line for line in server.heard if line.startswith((b"AUTH", b"MAIL"))]


def test_the_password_is_in_no_log_error_or_repr(
    office: Any,
    clock: Any,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    a_message: Callable[..., Message],
) -> None:
    caplog.set_level(logging.DEBUG)
    channel = EmailChannel(signing_in(office()), clock)
    error = deferral(channel, a_message())

    printed = capfd.readouterr()
    shown = f"{error!r} {error.report()} {channel!r} {caplog.text} {printed.out} {printed.err}"
    assert PASSWORD not in shown
    assert PASSWORD not in redact(f"it is {PASSWORD}")


def test_a_password_that_smtp_cannot_send_is_refused_at_once_and_not_named(clock: Any) -> None:
    wrong = SecretStr("canary-pässword")

    with pytest.raises(UsageError) as caught:
        EmailChannel(settings(587, security="tls", username="bot", password=wrong), clock)

    assert "'team' must be ASCII" in caught.value.message
    assert "pässword" not in repr(caught.value)
