"""Words of others made safe to pass on: no secrets, no control characters, no markup, no endless lines.

Names of resources, attributes, commits and errors come from repositories and clouds. Whoever may write
those must not be able to call everybody in a channel, forge a link, or turn a line round with a
bidirectional mark.
"""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING, Any

from driftwatch.log import redact
from driftwatch.model import UNKNOWN_VALUE

if TYPE_CHECKING:
    from driftwatch.model import JsonValue

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
"""Slack's three control characters; https://docs.slack.dev/messaging/formatting-message-text#escaping."""

_ELLIPSIS = "…"


def plain(text: str) -> str:
    """`text` as one line that shows as what it is: redacted, and without invisible characters."""
    shown = redact(text)
    if not shown.isprintable():
        shown = "".join(_visible(character) for character in shown)
    return " ".join(shown.split())


def escaped(text: str, limit: int) -> str:
    """`text` with Slack's control characters as entities, cut with an ellipsis at `limit` UTF-16 units.

    Counts as JavaScript does, the larger of the counts that Slack might mean, and never cuts an entity in
    two.
    """
    # Nothing is shorter escaped than it was: of a value of megabytes, only its beginning is looked at.
    pieces = [_ENTITIES.get(character, character) for character in text[: limit + 1]]
    if units("".join(pieces)) <= limit:
        return "".join(pieces)
    kept, room = [], limit - 1
    for piece in pieces:
        room -= units(piece)
        if room < 0:
            break
        kept.append(piece)
    return "".join(kept) + _ELLIPSIS


def code(text: str, limit: int) -> str:
    """`text` as a code span, in which Slack reads no markup, no emoji and no mention."""
    inner = escaped(plain(text).replace("`", "\N{MODIFIER LETTER GRAVE ACCENT}"), limit - 2)
    return f"`{inner or ' '}`"


def literal(value: JsonValue) -> str:
    """A value as one would write it down: JSON, except for the words that stand for an unknown one."""
    if value == UNKNOWN_VALUE:
        return UNKNOWN_VALUE
    return json.dumps(redacted(value), ensure_ascii=False, sort_keys=True)


def redacted(value: Any) -> Any:
    """A JSON value with every string in it, keys too, redacted and writable as UTF-8."""
    if isinstance(value, str):
        return redact(value).encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {redacted(str(key)): redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return value


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cs":
        return "\N{REPLACEMENT CHARACTER}"
    return "" if category == "Cf" else character


def units(text: str) -> int:
    """The length of `text` in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
