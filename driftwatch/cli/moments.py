"""Times as a person writes them on a command line: a date, a date and a time, or a length of time."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

from driftwatch.config.durations import LONGEST, parse_duration
from driftwatch.errors import UsageError

if TYPE_CHECKING:
    from datetime import timedelta

_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_EXAMPLES = "2026-12-31, 2026-12-31T18:00 (this machine's time zone) or 2026-12-31T18:00Z"


def moment(option: str, text: str, now: datetime) -> datetime:
    """The time that `text` names; a date alone is where that day begins. Raises UsageError."""
    if not re.fullmatch(_MOMENT, text):
        raise UsageError(f"{option}: not a time: {text!r}", advice=f"Write it like {_EXAMPLES}.")
    try:
        named = datetime.fromisoformat(text).astimezone(now.tzinfo)
        far = named - now > LONGEST
    except (ValueError, OverflowError) as exc:
        raise UsageError(f"{option}: there is no such time: {text}") from exc
    if far:
        raise UsageError(f"{option}: {text} is over ten years ahead")
    if named <= now:
        raise UsageError(f"{option}: {text} is over", advice="Name a time in the future.")
    return named


def length(option: str, text: str) -> timedelta:
    """The length of time that `text` names. Raises UsageError."""
    try:
        found = parse_duration(text)
    except ValueError as exc:
        raise UsageError(f"{option}: {text!r} {exc}") from exc
    if not found:
        raise UsageError(f"{option}: must be longer than zero")
    return found
