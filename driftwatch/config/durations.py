"""Durations such as `15m` or `1h30m`: text in files, `timedelta` everywhere else.

A bare number is refused: whether seconds or minutes are meant is a guess, and guesses become outages.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
"""In milliseconds, the longest first, which is also the order in which they are written."""

LONGEST = timedelta(days=3650)
"""Ten years: beyond that it is a typing error, and dates computed with it would leave the calendar."""

SHORTEST_INTERVAL = timedelta(seconds=1)
"""Whatever is repeated more often than that keeps a machine busy with itself."""

PATTERN = r"^(?=[0-9])([0-9]{1,9}d)?([0-9]{1,9}h)?([0-9]{1,9}m(?!s))?([0-9]{1,9}s)?([0-9]{1,9}ms)?$"
"""For the JSON Schema; Python reads it the same way."""

EXPECTED = "must be a duration with its unit, such as 90s, 15m, 1h30m or 1d"


def parse_duration(text: str) -> timedelta:
    """Reads `1d2h3m4s5ms` (any of them, in this order); raises ValueError on anything else."""
    found = re.fullmatch(PATTERN.removeprefix("^").removesuffix("$"), text)
    if not found:
        raise ValueError(EXPECTED + _hint(text))
    amounts = [
        int(part.rstrip("dhms")) * unit
        for part, unit in zip(found.groups(), UNITS.values(), strict=True)
        if part
    ]
    milliseconds = sum(amounts)
    if milliseconds > LONGEST / timedelta(milliseconds=1):
        raise ValueError("is over ten years long")
    return timedelta(milliseconds=milliseconds)


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads back; fractions of a millisecond are lost."""
    rest, parts = value // timedelta(milliseconds=1), []
    for unit, size in UNITS.items():
        amount, rest = divmod(rest, size)
        if amount:
            parts.append(f"{amount}{unit}")
    return "".join(parts) or "0s"


def _hint(text: str) -> str:
    if re.fullmatch(r"[0-9.]{1,12}", text):
        return f"; {text} of what? Write {text}s or {text}m"
    if text.startswith("-"):
        return "; it cannot be negative"
    return ""


def _read(value: object) -> timedelta:
    if isinstance(value, timedelta):
        duration = value
    elif isinstance(value, str):
        duration = parse_duration(value)
    else:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        raise ValueError(  # noqa: TRY004  (pydantic collects only ValueError)
            EXPECTED + (_hint(str(value)) if number else "")
        )
    if duration < timedelta(0):
        raise ValueError("cannot be negative")
    return duration


def _read_positive(value: object) -> timedelta:
    duration = _read(value)
    if not duration:
        raise ValueError("must be longer than zero")
    return duration


def _read_interval(value: object) -> timedelta:
    duration = _read(value)
    if duration < SHORTEST_INTERVAL:
        raise ValueError(f"must be at least {format_duration(SHORTEST_INTERVAL)}")
    return duration


_AS_TEXT = PlainSerializer(format_duration, return_type=str, when_used="json")
_SCHEMA = WithJsonSchema({"type": "string", "pattern": PATTERN})

Duration = Annotated[timedelta, BeforeValidator(_read), _AS_TEXT, _SCHEMA]
"""Zero is allowed."""

Interval = Annotated[timedelta, BeforeValidator(_read_interval), _AS_TEXT, _SCHEMA]
"""Something that happens again and again."""

PositiveDuration = Annotated[timedelta, BeforeValidator(_read_positive), _AS_TEXT, _SCHEMA]
"""Zero would mean a deadline that has already passed."""
