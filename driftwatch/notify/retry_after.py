"""What a server's `Retry-After` says, in seconds."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def seconds_in(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, or None where the header is absent or unreadable.

    A date counts from the response's own `Date`, so that our clock and theirs need not agree.
    """
    lowered = {key.lower(): value for key, value in headers.items()}
    asked = lowered.get("retry-after", "").strip()
    try:
        seconds = float(asked)
    except ValueError:
        return _until(asked, lowered.get("date", ""))
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _until(asked: str, now: str) -> float | None:
    moment, reference = _date(asked), _date(now)
    return max(0.0, (moment - reference).total_seconds()) if moment and reference else None


def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
