"""Taking secrets out of a plan before anything else sees it.

Terraform says what is sensitive by masks that have the shape of the value, with `true` at a leaf or at a
whole container. A masked value becomes a keyed digest: it still tells that the value changed, and never what
it was. The key is the instance's own, so that a digest in a chat cannot be compared with a dictionary.

Masks are read conservatively. Those of the elements of a list are merged into one for every element, because
Terraform writes sets as lists and an element of `before` need not stand where it stands in `after`. A mask
that does not fit its value hides the whole value.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from functools import reduce
from typing import TYPE_CHECKING, TypeAlias

from driftwatch.drift.values import canonical, is_list, is_object
from driftwatch.log import REDACTED, redact
from driftwatch.model import UNKNOWN_VALUE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from driftwatch.model import JsonValue

Mask: TypeAlias = "bool | dict[str, Mask] | list[Mask]"
"""False: nothing below is sensitive. True: all is. A list has one element, the mask of every element."""

MAX_VALUE_BYTES = 16 * 1024
"""A larger value (a user data script, a policy) is for no message and no row: a digest stands for it."""

SENSITIVE = "sensitive:hmac-sha256:"
"""How the digest begins that stands for a sensitive value."""

_MIN_SECRET_LENGTH = 6
"""As in `driftwatch.log`: shorter values would blank out ordinary words in a sentence."""


class Digester:
    """Makes keyed digests, `sensitive:hmac-sha256:` and 16 hex digits; lists are digested without order."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __call__(self, value: JsonValue) -> str:
        return f"{SENSITIVE}{self.hex(value)}"

    def hex(self, value: JsonValue) -> str:
        """The 16 hex digits alone, for comparing inputs that are never shown."""
        return hmac.new(self._key, canonical(value).encode(), hashlib.sha256).hexdigest()[:16]


def mask_of(raw: JsonValue) -> Mask:
    """Reads one of Terraform's masks. Anything but false, null and empty containers hides something."""
    if is_object(raw):
        members = {key: mask_of(member) for key, member in raw.items()}
        return {key: member for key, member in members.items() if member is not False} or False
    if is_list(raw):
        merged = union(mask_of(element) for element in raw)
        return merged if merged is False else [merged]
    return bool(raw)


def union(masks: Iterable[Mask]) -> Mask:
    """Hides what any of the masks hides; masks of different shapes hide everything."""
    nothing: Mask = False
    return reduce(_either, masks, nothing)


def _either(left: Mask, right: Mask) -> Mask:
    if left is False or right is False:
        return right if left is False else left
    if isinstance(left, dict) and isinstance(right, dict):
        return {key: _either(left.get(key, False), right.get(key, False)) for key in left | right}
    if isinstance(left, list) and isinstance(right, list):
        return [_either(left[0], right[0])]
    return True


def member_mask(mask: Mask, key: str) -> Mask:
    """The mask of one member of an object; a mask that is not an object's hides it."""
    return mask.get(key, False) if isinstance(mask, dict) else mask is not False


def hide(value: JsonValue, mask: Mask, digest: Digester) -> JsonValue:
    """Returns `value` with digests where the mask says so. Null and "(known after apply)" are no secrets."""
    if mask is False or value is None or value == UNKNOWN_VALUE:
        return value
    if isinstance(mask, dict) and is_object(value):
        return {key: hide(member, mask.get(key, False), digest) for key, member in value.items()}
    if isinstance(mask, list) and is_list(value):
        return [hide(element, mask[0], digest) for element in value]
    return digest(value)


def without_secrets(value: JsonValue, secrets: Collection[str], digest: Digester) -> JsonValue:
    """Returns `value` with digests for what holds one of the plan's secrets, marked or not, keys too.

    Providers lose Terraform's marks: the `output` of a `terraform_data` says in clear what its `input` hides,
    and AWS's `tags_all` has the keys of `tags`.
    """
    if is_object(value):
        return {
            step_without_secrets(key, secrets, digest): without_secrets(member, secrets, digest)
            for key, member in value.items()
        }
    if is_list(value):
        return [without_secrets(element, secrets, digest) for element in value]
    text = _text(value)
    return digest(value) if text and _holds(text, secrets) else value


def step_without_secrets(step: str, secrets: Collection[str], digest: Digester) -> str:
    """A key of a map, or a step of a path that is one; a digest where it holds a secret."""
    return digest(step) if _holds(step, secrets) else step


def _holds(text: str, secrets: Collection[str]) -> bool:
    return any(secret in text for secret in secrets)


def bounded(value: JsonValue, digest: Digester) -> JsonValue:
    """Returns `value`, or a digest with its size where it is over `MAX_VALUE_BYTES`."""
    size = len(canonical(value))
    return value if size <= MAX_VALUE_BYTES else f"digest:hmac-sha256:{digest.hex(value)} ({size} bytes)"


def secrets_in(value: JsonValue, mask: Mask) -> Iterator[str]:
    """Yields the sensitive texts and numbers of a value that are long enough to be looked for in sentences.

    Texts without the space around them, and as they stand in JSON: a key file ends in a line end, and a
    policy document that quotes a secret escapes it.
    """
    if mask is False:
        return
    if is_object(value):
        for key, member in value.items():
            yield from secrets_in(member, member_mask(mask, key))
    elif is_list(value):
        for element in value:
            yield from secrets_in(element, mask[0] if isinstance(mask, list) else True)
    else:
        text = _text(value).strip()
        yield from {text, *_in_json(text)} if len(text) >= _MIN_SECRET_LENGTH else ()


def _text(value: JsonValue) -> str:
    """A leaf as a sentence has it, empty for what can be no secret."""
    if isinstance(value, str):
        return value
    return "" if value is None or isinstance(value, bool) else canonical(value)


def _in_json(text: str) -> Iterator[str]:
    quoted = json.dumps(text, ensure_ascii=False)[1:-1]
    yield quoted
    yield quoted.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")  # as Go writes it


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Returns a sentence without the plan's own secrets, which conditions may print, and all known ones."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return redact(text)
