"""Canaries: values that are nowhere but where they were put, and the search for what is left of them.

All secret ones begin alike, so that one search finds them all, those too that were cut short on the way.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

if TYPE_CHECKING:
    from collections.abc import Mapping

STEM = "kestrel"
DIGITS = "91827364"
"""Eight of them: six do come up by chance in as many digests as the tests look at."""

SHAPES = (
    "{}",
    "p\u00e4ss-{}",
    'say "{}" \\ twice',
    "-----BEGIN KEY-----\n{}\n-----END KEY-----\n",
    "<{}&amp;>",
    "{} *`_~|",
    "postgres://admin:{}@db.example.test/orders",
    '{{"password": "{}"}}',
)
"""Secrets are of any characters; what escapes them for JSON, a terminal or Slack must not set them free."""

_WOVEN_IN = re.compile(r"=\r?\n|\s+")
"""What writers put into the middle of a word: line ends of a terminal's width and of quoted-printable."""


@dataclass(slots=True)
class Canaries:
    """Hands out secrets, each once. `texts` and `numbers` are those out there."""

    texts: list[str] = field(default_factory=list)
    numbers: list[int | float] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def text(self, shape: str = "{}") -> str:
        self.texts.append(shape.format(f"{STEM}{len(self.texts):03d}end"))
        return self.texts[-1]

    def number(self, *, whole: bool = True) -> int | float:
        number = int(f"{DIGITS}{len(self.numbers):03d}")
        self.numbers.append(number if whole else number + 0.5)
        return self.numbers[-1]

    def key(self) -> str:
        self.keys.append(f"{STEM}/key{len(self.keys):03d}")
        return self.keys[-1]


def _base64_forms(text: str) -> tuple[str, ...]:
    """How a text looks within something longer in base64, at each of the three places where it may begin."""
    forms = []
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + text.encode()).decode().rstrip("=")
        forms.append(encoded[{0: 0, 1: 2, 2: 3}[before] : -1])
    return tuple(forms)


_ENCODED = tuple(
    form for text in (STEM, STEM.upper(), STEM.capitalize(), DIGITS) for form in _base64_forms(text)
)
_PLAIN = (STEM, DIGITS, STEM.encode().hex(), DIGITS.encode().hex(), STEM[::-1])


def leaks_in(text: str | bytes) -> list[str]:
    """What of a canary is in a text, in whatever way it is written, with a little of what is around it."""
    read = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    whole = _WOVEN_IN.sub("", read)
    lowered = f"{whole}\n{unquote_plus(whole)}".lower()
    found = [_around(lowered, form) for form in _PLAIN if form in lowered]
    return found + [_around(whole, form) for form in _ENCODED if form in whole]


def leaks(outputs: Mapping[str, str | bytes]) -> dict[str, list[str]]:
    """The outputs that say what they must not."""
    found = {name: leaks_in(text) for name, text in outputs.items()}
    return {name: said for name, said in found.items() if said}


def as_json(text: str) -> str:
    """A text as it stands within a JSON document, without the quotes."""
    return json.dumps(text)[1:-1]


def _around(text: str, form: str) -> str:
    place = text.index(form)
    return text[max(place - 60, 0) : place + len(form) + 40]
