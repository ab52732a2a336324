"""What looks like a secret though nobody has marked it: by the name that it stands under, or by its form.

Pure. Code is for everybody who can read a repository, so that what is in doubt is not written there, and not
printed either. Providers mark few of the places where people put secrets: the variables of a function, the
environment in a container's definition, tags.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import TYPE_CHECKING

from driftwatch.config.patterns import steps
from driftwatch.log import REDACTED, redact

if TYPE_CHECKING:
    from driftwatch.model import JsonValue

_WORDS = frozenset(
    {
        *("password", "passwords", "passwd", "passphrase", "pwd", "secret", "secrets", "token"),
        *("tokens", "credential", "credentials", "bearer", "authorization", "apikey", "accesskey"),
        *("secretkey", "privatekey", "connectionstring", "htpasswd", "dsn"),
    }
)
_KEYS = frozenset(
    {
        *("private", "access", "api", "secret", "encryption", "signing", "shared", "auth", "master"),
        *("account", "storage", "session", "webhook", "client", "deploy", "admin", "license", "ssh"),
        *("tls", "ssl", "jwt", "hmac", "cookie", "decryption", "service", "subscription", "function"),
    }
)
"""What makes a key of those that are to be kept: `api_key`, and not `key_name` or `kms_key_id`."""

_ABOUT = frozenset(
    {
        *("arn", "name", "names", "type", "types", "version", "versions", "length", "ttl", "policy"),
        *("policies", "enabled", "days", "hours", "minutes", "seconds", "age", "count", "rotation"),
        *("expiry", "expiration", "prevention", "reuse", "validity", "format", "source", "status"),
        *("usage", "url", "uri", "endpoint"),
    }
)
"""How a name ends that only says something of a secret."""

_ENDS = ("password", "passwd", "passphrase", "apikey", "token", "secret")
"""How a word ends that was written together: `PGPASSWORD`."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_ASSIGNED = re.compile(
    r"""["']?([A-Za-z][\w.-]{1,100})\\?["']?[ \t]*(?:=>|[:=])[ \t]*\\?["']?([^\s"',;}\\]+)"""
)
_NO_VALUE = re.compile(r"null|true|false|\{|\[|\(.*|[\[{]+[\]}]*", re.IGNORECASE)
_FORMS = (
    re.compile(r"-----BEGIN [A-Z0-9 ]+-----"),
    re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}"),
)
_AWS = re.compile(r"(?<![A-Za-z0-9/+=])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])")
_LARGEST_DOCUMENT = 1 << 17
_DEEPEST = 50


def is_secret_name(name: str) -> bool:
    """Whether a name is one under which a secret is kept: `DB_PASSWORD`, `apiKey`, and not `secret_arn`."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or words[-1] in _ABOUT:
        return False
    pairs = list(pairwise(words))
    if any(one in _KEYS and other in ("key", "keys") for one, other in pairs):
        return True
    said = {*words, *("".join(pair) for pair in pairs)}
    return bool(said & _WORDS) or any(word.endswith(_ENDS) for word in words)


def is_secret_path(path: str) -> bool:
    """Whether any step of a pointer is such a name."""
    return any(map(is_secret_name, steps(path)))


def looks_secret(value: JsonValue, depth: int = 0) -> bool:
    """Whether a value holds what looks like a secret, at whatever depth, also in JSON inside of a text."""
    if depth > _DEEPEST:
        return True
    if isinstance(value, dict):
        return _is_named_so(value) or any(
            (is_secret_name(key) and _says_something(each))
            or looks_secret(key, depth + 1)
            or looks_secret(each, depth + 1)
            for key, each in value.items()
        )
    if isinstance(value, list):
        return any(looks_secret(each, depth + 1) for each in value)
    return isinstance(value, str) and _is_secret_text(value, depth)


def _is_named_so(value: dict[str, JsonValue]) -> bool:
    """`{name: "DB_PASSWORD", value: "…"}`, as environments are written."""
    named = {key.lower(): each for key, each in value.items()}
    names = [named.get("name"), named.get("key")]
    return _says_something(named.get("value")) and any(
        isinstance(each, str) and is_secret_name(each) for each in names
    )


def _says_something(value: JsonValue) -> bool:
    if isinstance(value, dict):
        return any(map(_says_something, value.values()))
    if isinstance(value, list):
        return any(map(_says_something, value))
    return value not in (None, "", True, False)


def _is_secret_text(text: str, depth: int) -> bool:
    if redact(text).count(REDACTED) > text.count(REDACTED) or any(form.search(text) for form in _FORMS):
        return True
    if any(is_secret_name(name) and not _NO_VALUE.fullmatch(said) for name, said in _ASSIGNED.findall(text)):
        return True
    if any(_is_mixed(each) for each in _AWS.findall(text)):
        return True
    return _is_secret_document(text, depth)


def _is_mixed(text: str) -> bool:
    """Upper case, lower case and digits: a digest, which has no upper case, is none."""
    return all(re.search(kind, text) for kind in ("[A-Z]", "[a-z]", "[0-9]"))


def _is_secret_document(text: str, depth: int) -> bool:
    if text.lstrip()[:1] not in ("{", "[") or len(text) > _LARGEST_DOCUMENT:
        return False
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return looks_secret(document, depth + 1)
