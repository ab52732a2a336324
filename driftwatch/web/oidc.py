"""A CI job's own token (OIDC) in place of a secret: whose job it is, and of which repositories it may speak.

    token → whose issuer? → its keys → signature, times, audience → claims → job

A token is a JWT that the CI system has signed for one job. Only RS256 and ES256 count, by keys of the issuer
that the configuration names, and an entry's audience and claims must all be there: of a public issuer,
anybody can have a token. Nothing that is in a token is looked at over the network; the issuer's keys are had
from where the configuration says, over https, without redirects, from an address that was looked at first
(`driftwatch.notify.address`), and kept for an hour.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httpx2
import jwt

from driftwatch import log
from driftwatch.config.values import is_loopback_url, service_url
from driftwatch.notify.address import NotAllowedError, reachable
from driftwatch.web.door import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from driftwatch.config.hooks import OidcSettings

ALGORITHMS = ("RS256", "ES256")
LEEWAY_SECONDS = 30
LONGEST_TOKEN = 16 * 1024
LATEST = 2**40
"""Seconds since 1970 after which no time makes sense."""

_REQUIRED = ("exp", "iat", "iss", "aud", "jti")

KEYS_SECONDS = 3600.0
STALE_SECONDS = 24 * 3600.0
"""So long the keys that we have count while the issuer does not answer."""

AGAIN_SECONDS = 60.0
"""Between two questions to an issuer: tokens with made-up keys must not become requests to it."""

FIRST_AGAIN_SECONDS = 5.0
"""The same while we have none of its keys: until then no job is let in."""

FETCH_SECONDS = 5.0
LARGEST_ANSWER = 256 * 1024
MOST_KEYS = 50
_PORTS = {"http": 80, "https": 443}
_DISCOVERY = "/.well-known/openid-configuration"

logger = log.get("web")


class KeysUnavailableError(Exception):
    """An issuer's keys cannot be had; the sentence says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobIdentity:
    """Whom a token speaks for. `key` is the token's own, `lasts` how many seconds it is good for yet."""

    name: str
    repositories: frozenset[str]
    key: str
    lasts: float


class IssuerKeys:
    """The keys of one issuer, fetched when they are needed. From any thread; one asks at a time."""

    def __init__(
        self, issuer: str, jwks_url: str | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._issuer, self._jwks_url = issuer, jwks_url
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched: float | None = None
        self._asked: float | None = None

    def key(self, key_id: str) -> jwt.PyJWK | None:
        """The key of that id, None where the issuer has none. Raises KeysUnavailableError."""
        with self._lock:
            now = self._clock()
            is_fresh = self._fetched is not None and now - self._fetched < KEYS_SECONDS
            pause = AGAIN_SECONDS if self._keys else FIRST_AGAIN_SECONDS
            may_ask = self._asked is None or now - self._asked >= pause
            if may_ask and not (is_fresh and key_id in self._keys):
                self._asked = now
                self._refresh(now)
            if self._fetched is None or now - self._fetched > STALE_SECONDS:
                raise KeysUnavailableError("the issuer's keys cannot be had")
            return self._keys.get(key_id)

    def _refresh(self, now: float) -> None:
        try:
            url = self._jwks_url or self._discovered()
            self._keys = _signing_keys(fetch(url, local=is_loopback_url(self._issuer)))
            self._fetched = now
        except KeysUnavailableError as problem:
            logger.warning(f"Keys for CI jobs' tokens: {problem}.", action="hook", issuer=self._issuer)

    def _discovered(self) -> str:
        described = fetch(self._issuer.rstrip("/") + _DISCOVERY, local=is_loopback_url(self._issuer))
        url = described.get("jwks_uri")
        if described.get("issuer") != self._issuer or not isinstance(url, str):
            raise KeysUnavailableError("the issuer describes itself as another one, or not at all")
        try:
            return service_url(url)
        except ValueError:
            raise KeysUnavailableError("the issuer names an address of keys that is refused") from None


class JobTokens:
    """Verifies tokens after the entries of `hooks.generic.oidc`."""

    def __init__(
        self, entries: Sequence[OidcSettings], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._entries = tuple(entries)
        self._keys = {
            entry.issuer: IssuerKeys(entry.issuer, entry.jwks_url, clock=clock) for entry in reversed(entries)
        }

    def verify(self, token: str, at: datetime) -> JobIdentity:
        """Whom a token speaks for. Raises Refusal, which says no more than that it is not good."""
        if len(token) > LONGEST_TOKEN:
            raise _refused("it is too long")
        try:
            claims = self._claims(token, at)
        except jwt.PyJWTError as problem:
            raise _refused(type(problem).__name__) from problem
        except (ValueError, TypeError, RecursionError, KeyError, AttributeError, OverflowError):
            raise _refused("it cannot be read") from None
        except KeysUnavailableError as problem:
            raise Refusal(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "keys_unavailable",
                "The issuer's keys cannot be had now.",
                **{"Retry-After": "60"},
            ) from problem
        entries = [entry for entry in self._entries if _fits(entry, claims)]
        if not entries:
            raise _refused("its audience or claims are not those of an entry")
        key = hashlib.sha256(f"{claims['iss']} {claims['jti']}".encode("utf-8", "replace")).hexdigest()
        return JobIdentity(
            name="/".join(entry.name for entry in entries),
            repositories=frozenset(name for entry in entries for name in entry.repositories),
            key=key,
            lasts=max(float(claims["exp"]) - at.timestamp() + LEEWAY_SECONDS, 0.0) + 1.0,
        )

    def _claims(self, token: str, at: datetime) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        if header.get("alg") not in ALGORITHMS or not isinstance(header.get("kid"), str):
            raise _refused("only RS256 and ES256 count, by a key that is named")
        # Read before it is verified, for one thing: whose keys it is to be verified with.
        said = jwt.decode(token, options={"verify_signature": False}).get("iss")
        keys = self._keys.get(said) if isinstance(said, str) else None
        if keys is None:
            raise _refused("its issuer is none of those that count")
        key = keys.key(header["kid"])
        if key is None:
            raise _refused("its key is none of the issuer's")
        claims = jwt.decode(
            token,
            key,
            algorithms=list(ALGORITHMS),
            issuer=said,
            audience=[entry.audience for entry in self._entries if entry.issuer == said],
            # The times are compared with our clock, which is given.
            options={
                "require": list(_REQUIRED),
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "enforce_minimum_key_length": True,
            },
        )
        _in_time(claims, at.timestamp())
        if not isinstance(claims["jti"], str) or not claims["jti"]:
            raise _refused("it has no id of its own")
        return claims


def fetch(url: str, *, local: bool) -> dict[str, Any]:
    """The JSON object at a URL, without redirects, bounded in size and time. Raises KeysUnavailableError.

    With `local`, this machine may be meant, where the URL says so.
    """
    if not url.startswith("https://") and not (local and is_loopback_url(url)):
        raise KeysUnavailableError("they are not at an https:// URL")
    if is_loopback_url(url) and not local:
        raise KeysUnavailableError("a public issuer's keys are not on this machine")
    try:
        document = json.loads(_get(httpx2.URL(url), time.monotonic() + FETCH_SECONDS))
    except NotAllowedError as refusal:
        raise KeysUnavailableError(str(refusal)) from refusal
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as problem:
        raise KeysUnavailableError(f"the issuer cannot be reached ({type(problem).__name__})") from problem
    except (ValueError, RecursionError):
        raise KeysUnavailableError("the issuer's answer is no JSON") from None
    if not isinstance(document, dict):
        raise KeysUnavailableError("the issuer's answer is no JSON object")
    return document


def _get(url: httpx2.URL, deadline: float) -> bytes:
    """What is there, from the first of the host's addresses that lets us connect."""
    host = url.raw_host.decode("ascii")
    addresses = reachable(host, url.port or _PORTS[url.scheme])
    trust = httpx2.create_ssl_context() if url.scheme == "https" else False
    with httpx2.Client(
        timeout=FETCH_SECONDS, follow_redirects=False, trust_env=False, verify=trust
    ) as client:
        for place, address in enumerate(addresses, 1):
            try:
                with client.stream(
                    "GET",
                    url.copy_with(host=str(address)),
                    headers={"Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity"},
                    extensions={"sni_hostname": host},
                ) as answer:
                    return _bounded(answer, deadline)
            except httpx2.ConnectError:
                if place == len(addresses) or time.monotonic() > deadline:
                    raise
    raise KeysUnavailableError("the issuer has no address")


def _bounded(answer: httpx2.Response, deadline: float) -> bytes:
    if answer.status_code != HTTPStatus.OK:
        raise KeysUnavailableError(f"the issuer answered {answer.status_code}")
    content = bytearray()
    for chunk in answer.iter_raw():
        content += chunk
        if len(content) > LARGEST_ANSWER or time.monotonic() > deadline:
            raise KeysUnavailableError("the issuer's answer is too large or too slow")
    return bytes(content)


def _signing_keys(document: Mapping[str, Any]) -> dict[str, jwt.PyJWK]:
    """The keys with an id that sign as we verify; others, secret ones too, are left out."""
    found: dict[str, jwt.PyJWK] = {}
    entries = document.get("keys")
    for entry in entries[:MOST_KEYS] if isinstance(entries, list) else ():
        if not isinstance(entry, dict) or entry.get("kty") not in ("RSA", "EC"):
            continue
        if not isinstance(entry.get("kid"), str) or entry.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK(entry)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            continue  # an issuer may have keys of sorts that we do not know
        if key.algorithm_name in ALGORITHMS:
            found[entry["kid"]] = key
    if not found:
        raise KeysUnavailableError("the issuer has no key of a sort that counts")
    return found


def _fits(entry: OidcSettings, claims: Mapping[str, Any]) -> bool:
    audience = claims["aud"]
    audiences = audience if isinstance(audience, list) else [audience]
    return (
        claims["iss"] == entry.issuer
        and entry.audience in audiences
        and all(
            isinstance(claims.get(claim), str) and claims[claim] in good
            for claim, good in entry.claims.items()
        )
    )


def _in_time(claims: Mapping[str, Any], now: float) -> None:
    times = {claim: claims[claim] for claim in ("exp", "iat", "nbf") if claim in claims}
    if not all(map(_is_time, times.values())):
        raise _refused("its times are no numbers")
    if times["exp"] <= now - LEEWAY_SECONDS:
        raise _refused("it has expired")
    if times["iat"] > now + LEEWAY_SECONDS or times.get("nbf", 0) > now + LEEWAY_SECONDS:
        raise _refused("it is not good yet")


def _is_time(value: object) -> bool:
    """JSON has numbers that are none (NaN, which is never too late), and any size of them."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LATEST


def _refused(why: str) -> Refusal:
    return Refusal(
        HTTPStatus.UNAUTHORIZED,
        "unauthorized",
        f"This token is not good: {why}.",
        **{"WWW-Authenticate": "Bearer"},
    )
