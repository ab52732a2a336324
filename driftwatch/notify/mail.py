"""E-mail, through an SMTP server: one plain-text mail per message, those of one thread strung together.

`Message-ID` is made from the outbox row's dedupe key and the rows that it carries, and so the same in every
attempt that tells the same: where a mail was taken and the answer was lost, many servers and clients drop the
copy. The first mail's id and subject are the
receipt; later mails of the thread carry that id in `In-Reply-To` and `References`, and that subject behind
`Re:`, which is what clients go by; how things stand now is the body's first line. `Auto-Submitted` keeps
out-of-office replies away (RFC 3834).

TLS is as the settings say or there is no mail: a server that does not offer STARTTLS, or whose certificate is
not the one of its name, is a person's business. Of what a server says only its codes are repeated: it may
echo what it was sent.

An attempt ends after `ATTEMPT_SECONDS`, however slowly a server speaks; what comes before its first word, the
look-up of its name and a connection to each of its addresses in turn, has its own limits (`timeout` each).
"""

from __future__ import annotations

import hashlib
import io
import re
import smtplib
import ssl
import time
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from driftwatch.errors import UsageError
from driftwatch.log import register_secret
from driftwatch.notify import prose
from driftwatch.notify.channel import DeliveryDeferred, DeliveryRefused, person_needed
from driftwatch.notify.text import plain

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from driftwatch.config.notify import EmailSettings
    from driftwatch.model import Message

TIMEOUT_SECONDS = 10.0
"""For a connection to one address, and for one silence of a server."""

ATTEMPT_SECONDS = 30.0
BODY_LIMIT = 20_000
STACK_HEADER_BYTES = 200
MAX_ANSWER_BYTES = 256 * 1024
"""All that a server may say in one attempt: a few hundred bytes are usual."""

_MESSAGE_ID = re.compile(r"<[0-9a-f]{32}@[A-Za-z0-9.-]{1,253}>")
_TEMPORARY = range(400, 500)
_TOO_LARGE = 552
_BAD_SENDER_CODES = frozenset({501, 503, 550, 551, 553, 554})
_CONTENT_REFUSED = frozenset({550, 552, 554})
_AUTHENTICATION_WANTED = frozenset({530, 534, 535, 538})


class EmailChannel:
    """One sender and the addresses it writes to. `deliver` sends one mail to all of them."""

    def __init__(
        self, settings: EmailSettings, clock: Callable[[], datetime], *, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        self.name = f"email:{settings.name}"
        self._settings = settings
        self._clock = clock
        self._timeout = timeout
        # What we call ourselves, too: looking this machine's name up may take long.
        self._domain = settings.from_.rpartition("@")[2]
        self._password = settings.password.get_secret_value() if settings.password else None
        register_secret(self._password)
        if not f"{settings.username or ''}{self._password or ''}".isascii():
            raise UsageError(
                f"notify.email: username and password of {settings.name!r} must be ASCII; SMTP has no other."
            )

    def deliver(self, message: Message) -> Mapping[str, str]:
        """Sends one mail. Returns `message_id` and `subject` of the thread's first one.

        `refused` in it are the addresses that the server did not take, where it took others.
        """
        thread = _thread_of(message) or self._new_thread(message)
        content = self._mail(message, thread)
        with _translated(self.name), self._conversation() as server:
            self._sign_in(server)
            refused = self._send(server, content)
        return thread | ({"refused": ", ".join(sorted(refused))} if refused else {})

    def _new_thread(self, message: Message) -> dict[str, str]:
        return {"message_id": self._message_id(message), "subject": _unencoded(prose.subject(message))}

    def _message_id(self, message: Message) -> str:
        told = "\0".join((message.dedupe_key, *map(str, message.carried)))
        digest = hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()[:32]
        return f"<{digest}@{self._domain}>"

    def _mail(self, message: Message, thread: Mapping[str, str]) -> bytes:
        mail = EmailMessage(policy=SMTP)
        mail["From"] = self._settings.from_
        mail["To"] = ", ".join(self._settings.to)
        is_first = thread["message_id"] == self._message_id(message)
        mail["Subject"] = thread["subject"] if is_first else f"Re: {thread['subject']}"
        mail.set_content(f"{prose.body(message, BODY_LIMIT)}\n", cte="quoted-printable")
        # Written by hand, as all are ASCII and the email package encodes ids that are longer than a line.
        headers = {
            "Date": format_datetime(self._clock()),
            "Message-ID": self._message_id(message),
            **({} if is_first else dict.fromkeys(("In-Reply-To", "References"), thread["message_id"])),
            "Auto-Submitted": "auto-generated",
            "X-Auto-Response-Suppress": "All",
            **_stack_header(message),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return head.encode("ascii") + mail.as_bytes()

    @contextmanager
    def _conversation(self) -> Iterator[smtplib.SMTP]:
        """A connection to the server, secured as the settings say; closed in any case."""
        server = self._connected()
        try:
            if self._settings.security == "starttls":
                _start_tls(self.name, server)
            yield server
        finally:
            server.close()

    def _connected(self) -> smtplib.SMTP:
        host = self._settings.host.strip("[]")
        given: dict[str, Any] = {"local_hostname": self._domain, "timeout": self._timeout}
        if self._settings.security == "tls":
            return _TlsServer(host, self._settings.port, context=ssl.create_default_context(), **given)
        return _Server(host, self._settings.port, **given)

    def _sign_in(self, server: smtplib.SMTP) -> None:
        if self._settings.username is None or self._password is None:
            return
        server.ehlo_or_helo_if_needed()
        advice = "Set username and password of the e-mail channel to those that its server knows."
        try:
            server.login(self._settings.username, self._password)
        except smtplib.SMTPServerDisconnected:
            raise
        except smtplib.SMTPResponseException as error:
            # Not `from error`: what it holds of the server's words may be our own password.
            if error.smtp_code in _TEMPORARY:
                reason = f"{self.name}: the server cannot let us sign in now ({error.smtp_code})"
                raise DeliveryDeferred(reason=reason) from None
            raise person_needed(
                f"{self.name}: the server refuses username and password ({error.smtp_code})", advice
            ) from None
        except smtplib.SMTPException:
            raise person_needed(
                f"{self.name}: the server offers no way to sign in that we know", advice
            ) from None

    def _send(self, server: smtplib.SMTP, content: bytes) -> set[str]:
        """Hands the mail over. Returns the addresses that were refused, where not all were."""
        try:
            refused = server.sendmail(self._settings.from_, self._settings.to, content)
        except smtplib.SMTPSenderRefused as error:
            raise self._sender_refused(error.smtp_code) from error
        except smtplib.SMTPRecipientsRefused as error:
            raise self._recipients_refused({code for code, _ in error.recipients.values()}) from error
        except smtplib.SMTPDataError as error:
            raise self._content_refused(error.smtp_code) from error
        with suppress(smtplib.SMTPException, OSError):
            # The mail is theirs by now: a goodbye that goes wrong changes nothing.
            server.quit()
        return set(refused)

    def _sender_refused(self, code: int) -> DeliveryDeferred | DeliveryRefused:
        if code == _TOO_LARGE:
            return DeliveryRefused(f"{self.name}: the mail is larger than the server takes ({code})")
        if code in _AUTHENTICATION_WANTED:
            return person_needed(
                f"{self.name}: the server wants us to sign in ({code})",
                "Set username and password of the e-mail channel, or let this machine relay.",
            )
        if code in _BAD_SENDER_CODES:
            return person_needed(
                f"{self.name}: the server refuses the sender's address ({code})",
                "Set `from` of the e-mail channel to an address that it may send for.",
            )
        return self._not_now(code)

    def _recipients_refused(self, codes: set[int]) -> DeliveryDeferred:
        code = min(codes, default=0)
        if code < _TEMPORARY.stop:
            # One that is only put off is reason enough to try again.
            return self._not_now(code)
        return person_needed(
            f"{self.name}: the server refuses every recipient ({code})",
            "Set `to` of the e-mail channel to addresses that exist, and see that the server relays to them.",
        )

    def _content_refused(self, code: int) -> DeliveryDeferred | DeliveryRefused:
        said = f"{self.name}: the server does not take this mail ({code})"
        if code in _CONTENT_REFUSED:
            return DeliveryRefused(said)
        if code >= _TEMPORARY.stop:
            return DeliveryDeferred(
                reason=said, advice="Look into the mail server's log.", whole_channel=False
            )
        return self._not_now(code)

    def _not_now(self, code: int) -> DeliveryDeferred:
        return DeliveryDeferred(reason=f"{self.name}: the server takes no mail now ({code})")


class _Server(smtplib.SMTP):
    """A server as we speak to it: within one limit on time for the whole attempt, and one on bytes."""

    def __init__(self, host: str, port: int, *, timeout: float, **others: Any) -> None:
        self._ends_at = time.monotonic() + ATTEMPT_SECONDS
        self._silence = timeout
        super().__init__(host, port, timeout=timeout, **others)

    def seconds_left(self) -> float:
        """How long the next answer may take. Raises TimeoutError where the attempt is over."""
        left = min(self._silence, self._ends_at - time.monotonic())
        if left <= 0:
            raise TimeoutError("the attempt took too long")
        return left

    def send(self, s: Any) -> None:
        if self.sock:
            self.sock.settimeout(self.seconds_left())
        super().send(s)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            # What smtplib would read from waits anew for each byte.
            self.file = io.BufferedReader(_Ear(self.sock, self.seconds_left))
        return super().getreply()


class _TlsServer(_Server, smtplib.SMTP_SSL):
    """The same with TLS from the first byte."""


class _Ear(io.RawIOBase):
    """Reads a socket with a limit on time and on bytes."""

    def __init__(self, sock: socket.socket, seconds_left: Callable[[], float]) -> None:
        super().__init__()
        self._sock = sock
        self._seconds_left = seconds_left
        self._bytes_left = MAX_ANSWER_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._seconds_left())
        count = self._sock.recv_into(buffer)
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise OSError("more was said than a mail server has to say")
        return count


def _start_tls(name: str, server: smtplib.SMTP) -> None:
    """Goes on under TLS, or not at all."""
    advice = "Set `security: tls` if the server speaks TLS from the start, or turn STARTTLS on there."
    try:
        server.ehlo_or_helo_if_needed()
        server.starttls(context=ssl.create_default_context())
    except smtplib.SMTPNotSupportedError as error:
        raise person_needed(f"{name}: the server does not offer STARTTLS", advice) from error
    except smtplib.SMTPHeloError:
        raise
    except smtplib.SMTPResponseException as error:
        if error.smtp_code in _TEMPORARY:
            raise
        raise person_needed(f"{name}: the server refuses STARTTLS ({error.smtp_code})", advice) from error


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Errors on the way as deferrals that hold no word of the server's."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise person_needed(
            f"{name}: the server's certificate is not valid for it",
            "Set `host` to the name in its certificate, and let the system or SSL_CERT_FILE trust it.",
        ) from error
    except ssl.SSLError as error:
        raise DeliveryDeferred(
            reason=f"{name}: no TLS with the server ({type(error).__name__})",
            advice="See that `security` and `port` fit: `tls` usually goes with 465, `starttls` with 587.",
        ) from error
    except smtplib.SMTPServerDisconnected as error:
        raise DeliveryDeferred(reason=f"{name}: {_silence_or_end(error)}") from error
    except smtplib.SMTPResponseException as error:
        raise DeliveryDeferred(reason=f"{name}: the server takes no mail now ({error.smtp_code})") from error
    except TimeoutError as error:
        raise DeliveryDeferred(reason=f"{name}: the server did not answer in time") from error
    except (OSError, smtplib.SMTPException) as error:
        raise DeliveryDeferred(
            reason=f"{name}: the server cannot be reached ({type(error).__name__})"
        ) from error


def _silence_or_end(error: smtplib.SMTPServerDisconnected) -> str:
    # smtplib makes one error of both, and a text of the one that it caught.
    if isinstance(error.__context__, TimeoutError):
        return "the server did not answer in time"
    return "the server ended the connection"


def _thread_of(message: Message) -> dict[str, str] | None:
    """The receipt of the thread's first mail, if it is one of ours."""
    anchor = message.anchor or {}
    first, subject = anchor.get("message_id", ""), anchor.get("subject", "")
    if not (_MESSAGE_ID.fullmatch(first) and subject):
        return None
    return {"message_id": first, "subject": _unencoded(prose.cut(plain(subject), prose.SUBJECT_LIMIT))}


def _unencoded(subject: str) -> str:
    """`subject` without encoded words: the email package would decode them, even to a newline."""
    return subject.replace("=?", "= ?")


def _stack_header(message: Message) -> dict[str, str]:
    """The stack as one ASCII word, for filters, where it is about one alone."""
    stacks = {told.stack for told in message.all_told}
    if len(stacks) != 1:
        return {}
    name = plain(stacks.pop()).encode("utf-8", "replace")[:STACK_HEADER_BYTES]
    return {"X-Driftwatch-Stack": quote(name, safe="/@._-+")}
