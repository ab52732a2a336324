r"""A generic webhook: one signed POST per announcement, for whatever a team has that can listen.

Body, UTF-8 JSON (`version` changes only when a field is removed or changes its meaning; new fields may
appear):

    {"version": 1,
     "id": "<dedupe key, the same in every attempt>",
     "event": "drift_found | drift_changed | resolved | check_failing | recovered | replay_disagreed |
               stale | reminder | handled | repair | head_refused | head_accepted |
               stack_removed",
     "episode": "<the same from found to resolved, and from failing to recovered>",
     "stack": "platform/envs/prod/network", "verdict": "drifted", "commit": "<sha> | null",
     "trigger": "schedule", "at": "2026-01-02T03:04:05Z", "check_id": 42, "owners": ["@platform"],
     "total": 57,                      # all counted findings
     "findings": [                     # the worst first, at most 20
       {"address", "type", "kind", "action", "causes", "severity", "fingerprint", "counted", "message",
        "attributes": [{"path", "before", "actual", "after", "sensitive", "cause"}]}],
     "set_aside": 2,                   # beside those: somebody snoozed or accepted them
     "opened": ["<address>"], "changed": [], "resolved": [],      # since the last announcement
     "flapping": [],                   # from now on these come and go without a word
     "said": "<sentence>" | null,      # what somebody did (handled), became of a proposal (repair), of a
                                       # repository's newest commit (head_…, whose stack is "<repository>/*"),
                                       # or of stacks (stack_removed; of many at once, "<repository>/*")
     "error": {"code", "message", "advice"} | null,
     "mass_deletion": "<sentence>" | null,
     "truncated": false}               # true: the body was too large, and `attributes` are left out

Findings are those of `check --format json`; sensitive values are keyed digests. Headers:

    X-Driftwatch-Delivery: <the id, percent-encoded>
    X-Driftwatch-Timestamp: <Unix seconds of this attempt>
    X-Driftwatch-Signature: sha256=<hex HMAC-SHA256 of "<timestamp>.<raw body>" under the shared secret>

A receiver checks the signature over the raw bytes and the timestamp's age (`verify` does both), drops an id
that it has seen (deliveries are at least once), and answers 2xx within ten seconds. 410 says "never again
this one" and is the only answer that loses a message; anything else is tried again. Redirects are not
followed, proxies not used, and addresses looked at first (`driftwatch.notify.address`): the signature shall
reach only whom the settings name.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
from contextlib import contextmanager
from http import HTTPStatus
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx2

from driftwatch.errors import UsageError
from driftwatch.log import register_secret
from driftwatch.notify.address import NotAllowedError, reachable
from driftwatch.notify.channel import DeliveryDeferred, DeliveryRefused, person_needed
from driftwatch.notify.retry_after import seconds_in
from driftwatch.notify.text import redacted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from driftwatch.config.hosts import Address
    from driftwatch.config.notify import WebhookSettings
    from driftwatch.model import Announcement, AttributeChange, ErrorReport, Finding, Message

TIMEOUT_SECONDS = 10.0
TOLERANCE_SECONDS = 300
"""How old a signed request may be; the five minutes that Slack allows, too."""

MAX_BODY_BYTES = 512 * 1024
_PORTS = {"http": 80, "https": 443}
_DIGITS = re.compile(r"[0-9]{1,15}\Z", re.ASCII)


class WebhookChannel:
    """One configured receiver."""

    def __init__(
        self, settings: WebhookSettings, clock: Callable[[], datetime], *, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        self.name = f"webhook:{settings.name}"
        self._secret = settings.secret.get_secret_value()
        self._url = _checked_url(settings)
        self._allowed = tuple(ip_network(network, strict=False) for network in settings.allow_addresses)
        self._clock = clock
        if not self._secret:
            raise UsageError(
                f"notify.webhooks: the secret of {settings.name!r} is empty; anyone could sign with it."
            )
        register_secret(self._secret)
        # Both write whole URLs into their logs, and a webhook's may carry a token.
        for noisy in ("httpx2", "httpcore2"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        # Proxies of the environment are not used; its trust store (SSL_CERT_FILE), for private CAs, is, where
        # there is TLS: it takes 40 ms to load.
        trust = httpx2.create_ssl_context() if self._url.scheme == "https" else False
        self._client = httpx2.Client(timeout=timeout, follow_redirects=False, trust_env=False, verify=trust)

    def deliver(self, message: Message) -> Mapping[str, str]:
        """Posts once. Returns the status as receipt."""
        content = body(message)
        headers = signed_headers(self._secret, message.dedupe_key, content, self._clock())
        with _translated(self.name):
            status, answer = self._send(content, headers)
        _judge(self.name, status, answer)
        return {"status": str(status)}

    def _send(self, content: bytes, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str]]:
        """Tries the receiver's addresses in turn, until one lets us connect."""
        host = self._url.raw_host.decode("ascii")
        try:
            addresses = reachable(host, self._url.port or _PORTS[self._url.scheme], self._allowed)
        except NotAllowedError as refusal:
            raise person_needed(
                f"{self.name}: {refusal}",
                "Name another receiver, or list the address under the webhook's allow_addresses.",
            ) from refusal
        for address in addresses[:-1]:
            try:
                return self._post(address, host, content, headers)
            except httpx2.ConnectError:
                continue
        return self._post(addresses[-1], host, content, headers)

    def _post(
        self, address: Address, host: str, content: bytes, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str]]:
        request = self._client.build_request(
            "POST",
            self._url.copy_with(host=str(address)),
            content=content,
            headers={**headers, "Host": self._url.netloc.decode("ascii")},
            extensions={"sni_hostname": host},
        )
        # Streamed and then closed: nobody reads what a receiver has to say, however much it is.
        response = self._client.send(request, stream=True)
        response.close()
        return response.status_code, dict(response.headers)


def body(message: Message) -> bytes:
    """The request's body, with attributes left out where it would be larger than `MAX_BODY_BYTES`."""
    document = _document(message)
    content = _encoded(document)
    if len(content) <= MAX_BODY_BYTES:
        return content
    bare = [finding | {"attributes": []} for finding in document["findings"]]
    return _encoded(document | {"findings": bare, "truncated": True})


def signed_headers(secret: str, delivery: str, content: bytes, now: datetime) -> dict[str, str]:
    """Headers of one attempt at `now`."""
    timestamp = str(int(now.timestamp()))
    return {
        "Content-Type": "application/json",
        "User-Agent": "driftwatch",
        "X-Driftwatch-Delivery": quote(delivery, safe=":/@._-+="),
        "X-Driftwatch-Timestamp": timestamp,
        "X-Driftwatch-Signature": f"sha256={_signature(secret, timestamp, content)}",
    }


def verify(
    secret: str,
    headers: Mapping[str, str],
    content: bytes,
    now: datetime,
    *,
    tolerance: int = TOLERANCE_SECONDS,
) -> bool:
    """For receivers: whether the holder of `secret` signed these bytes within `tolerance` seconds of `now`.

    Compares in constant time. Never raises, whatever the headers hold. An empty secret verifies nothing.
    """
    lowered = {key.lower(): value for key, value in headers.items()}
    timestamp = lowered.get("x-driftwatch-timestamp", "")
    if not secret or not _DIGITS.match(timestamp) or abs(now.timestamp() - int(timestamp)) > tolerance:
        return False
    expected = f"sha256={_signature(secret, timestamp, content)}"
    given = lowered.get("x-driftwatch-signature", "")
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))


def _signature(secret: str, timestamp: str, content: bytes) -> str:
    return hmac.new(secret.encode(), timestamp.encode() + b"." + content, hashlib.sha256).hexdigest()


def _checked_url(settings: WebhookSettings) -> httpx2.URL:
    try:
        url = httpx2.URL(settings.url)
    except httpx2.InvalidURL as error:
        raise UsageError(f"notify.webhooks: the url of {settings.name!r} is none.") from error
    if url.scheme not in _PORTS or not url.host:
        raise UsageError(
            f"notify.webhooks: the url of {settings.name!r} must be http:// or https:// with a host."
        )
    return url


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Errors on the way as deferrals that never hold the URL."""
    try:
        yield
    except httpx2.TimeoutException as error:
        raise DeliveryDeferred(reason=f"{name} did not answer in time") from error
    except (httpx2.TransportError, OSError) as error:
        raise DeliveryDeferred(reason=f"{name} cannot be reached ({type(error).__name__})") from error


def _judge(name: str, status: int, headers: Mapping[str, str]) -> None:
    """Raises what a status other than 2xx means."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return
    said = f"{name} answered {status}"
    if status == HTTPStatus.GONE:
        raise DeliveryRefused(said)
    if (
        status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
        or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    ):
        raise DeliveryDeferred(seconds_in(headers), reason=said)
    if status < HTTPStatus.BAD_REQUEST:
        raise person_needed(
            said, "Set the webhook's url to where it redirects to; redirects are not followed."
        )
    if status in (
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
    ):
        raise person_needed(said, "Check the webhook's url and secret, and what the receiver asks for.")
    raise DeliveryDeferred(reason=said, advice="Look into the receiver's log.", whole_channel=False)


def _encoded(document: Mapping[str, Any]) -> bytes:
    return json.dumps(redacted(document), separators=(",", ":")).encode("ascii")


def _document(message: Message) -> dict[str, Any]:
    told: Announcement = message.announcement
    return {
        "version": 1,
        "id": message.dedupe_key,
        "event": told.kind.value,
        "episode": message.episode,
        "stack": told.stack,
        "verdict": told.verdict.value,
        "commit": told.commit,
        "trigger": told.trigger.value,
        "at": told.at.isoformat().replace("+00:00", "Z"),
        "check_id": told.check_id,
        "owners": told.owners,
        "total": told.total,
        "set_aside": told.set_aside,
        "findings": [_finding(finding) for finding in told.findings],
        "opened": told.opened,
        "changed": told.changed,
        "resolved": told.resolved,
        "flapping": told.flapping,
        "said": told.said,
        "error": _error(told.error),
        "mass_deletion": told.mass_deletion,
        "truncated": False,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "address": finding.address,
        "type": finding.type,
        "kind": finding.kind.value,
        "action": finding.action,
        "causes": [cause.value for cause in finding.causes],
        "severity": finding.severity.value,
        "fingerprint": finding.fingerprint,
        "counted": finding.counted,
        "message": finding.message,
        "attributes": [_attribute(change) for change in finding.attributes],
    }


def _attribute(change: AttributeChange) -> dict[str, Any]:
    return {
        "path": change.path,
        "before": change.before,
        "actual": change.actual,
        "after": change.after,
        "sensitive": change.sensitive,
        "cause": change.cause.value,
    }


def _error(error: ErrorReport | None) -> dict[str, Any] | None:
    return {"code": error.code, "message": error.message, "advice": error.advice} if error else None
