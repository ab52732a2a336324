"""Allowed SSH signers, as ssh-keygen's allowed signers file has them, a line each.

    principals [options] key-type base64-key [comment]

What ssh-keygen would pass over or take in another sense is refused here: a line that looks as if it allowed
somebody, and does not, is found out by a head that is not used. Format: ALLOWED SIGNERS in ssh-keygen(1).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from driftwatch.config import values

_KEY_TYPE = re.compile(r"(?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+")
_PRINCIPALS = re.compile(r"[^\s\"',#]+(?:,[^\s\"',#]+)*")
_OPTION = re.compile(r"(namespaces|valid-after|valid-before)=\"([^\"]*)\"(?:,|$)")
_MOMENT = re.compile(r"(\d{8})(\d{4})?(\d{2})?(Z?)")
_SHORTEST_KEY = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class SshSigner:
    """Who may sign, and from when until when; None where there is no limit.

    `line` is as it was given, `key` the fingerprint of their key.
    """

    line: str
    principals: str
    key: str
    valid_after: datetime | None = None
    valid_before: datetime | None = None


def ssh_signer(line: str) -> SshSigner:
    """Reads one line; raises ValueError for what is none."""
    principals, _, rest = values.plain_text(line).strip().partition(" ")
    if not _PRINCIPALS.fullmatch(principals) or _KEY_TYPE.fullmatch(principals):
        raise ValueError(_form("must begin with whose key it is, such as an e-mail address"))
    options, _, key = ("", "", rest.strip())
    if not _KEY_TYPE.match(key):
        options, _, key = key.partition(" ")
    given = _options(options)
    if "git" not in given.get("namespaces", "git").split(","):
        raise ValueError("allows `namespaces` without git, so that it could sign no commit")
    return SshSigner(
        line=line.strip(),
        principals=principals,
        key=key_fingerprint(key),
        valid_after=_moment(given.get("valid-after")),
        valid_before=_moment(given.get("valid-before")),
    )


def key_fingerprint(text: str) -> str:
    """The fingerprint of `key-type base64-key [comment]`; raises ValueError for what is none."""
    kind, _, rest = text.strip().partition(" ")
    encoded = rest.strip().partition(" ")[0]
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        blob = b""
    named = blob[4 : 4 + int.from_bytes(blob[:4])] if len(blob) >= _SHORTEST_KEY else b""
    if not _KEY_TYPE.fullmatch(kind) or named != kind.encode():
        raise ValueError(_form("holds no public key"))
    return fingerprint(blob)


def fingerprint(blob: bytes) -> str:
    """A key's fingerprint, as ssh-keygen shows it: `SHA256:…`."""
    return f"SHA256:{base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip('=')}"


def _options(text: str) -> dict[str, str]:
    given: dict[str, str] = {}
    at = 0
    while at < len(text):
        found = _OPTION.match(text, at)
        if found is None:
            raise ValueError(
                _form('has options other than namespaces="…", valid-after="…" and valid-before="…"')
            )
        given[found[1]] = found[2]
        at = found.end()
    return given


def _moment(text: str | None) -> datetime | None:
    """Reads YYYYMMDD[HHMM[SS]][Z]; without Z it is this machine's time, as for ssh-keygen."""
    if text is None:
        return None
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError("has a time that is not YYYYMMDD[HHMM[SS]][Z]")
    try:
        moment = datetime.strptime(f"{found[1]}{found[2] or '0000'}{found[3] or '00'}", "%Y%m%d%H%M%S")  # noqa: DTZ007
    except ValueError as exc:
        raise ValueError("has a time that no calendar has") from exc
    return moment.replace(tzinfo=UTC) if found[4] else moment.astimezone()


def _form(wrong: str) -> str:
    return f"{wrong}: an allowed signer is `ada@example.com ssh-ed25519 AAAA…`"
