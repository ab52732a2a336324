"""Hints that something has happened to a repository, until it is looked at: many of the same become one look.

    webhook | CI job | API → take → settle → poll the repository · look at the pull request

A hint is worth a look and no more: what is there, the daemon fetches by itself. So hints may be folded,
repeated and, with the daemon, lost: polling finds what none was sent for. Of hints that keep coming, the
first is looked at within a second, and the later ones less and less often.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from driftwatch import log

if TYPE_CHECKING:
    from collections.abc import Callable

    from driftwatch.model import Hint

SETTLE_SECONDS = 1.0
"""A push brings several deliveries within a moment; who pushed wants it looked at within a few seconds."""

LONGEST_GAP_SECONDS = 30.0
"""Between two looks for hints that do not end: below the minute after which polling looks anyway."""

TICK_SECONDS = 0.25
MOST = 1000
"""So many different hints wait at most: one for each repository, and room for the day of a mass update."""

logger = log.get("hints")


class Hints(Protocol):
    """Who takes hints."""

    def take(self, hint: Hint, via: str) -> None:
        """Takes note of a hint that came `via` somewhere; returns at once and never fails."""


@dataclass(slots=True)
class _Waiting:
    """A hint that is to be looked at when it is `due`, and after which time the next one like it may be."""

    due: float
    gap: float
    via: str
    count: int = 1


class HintBox:
    """Takes hints from any thread and has them looked at, each once for many; a part of the daemon.

    `poll` and `look_at` are called on the box's own thread and must return soon; what they raise is logged.
    """

    def __init__(
        self,
        *,
        poll: Callable[[str], object],
        look_at: Callable[[str, int], object],
        settle: float = SETTLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._poll = poll
        self._look_at = look_at
        self._settle = settle
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[Hint, _Waiting] = {}
        self._looked: dict[Hint, tuple[float, float]] = {}

    def take(self, hint: Hint, via: str) -> None:
        with self._lock:
            waiting = self._waiting.get(hint)
            if waiting is not None:
                waiting.count += 1
                return
            is_full = len(self._waiting) >= MOST and hint.pull_request is not None
            if not is_full:
                self._waiting[hint] = self._arrived(hint, via)
        if is_full:
            logger.warning(
                "Too many hints wait; this pull request is looked at when its repository is.",
                action="hint",
                repository=hint.repository,
                pull_request=hint.pull_request,
            )

    def run(self, stop: threading.Event) -> None:
        """Has looked at what is due until `stop` is set; what waits then is found by polling."""
        while not stop.wait(TICK_SECONDS):
            self.look()

    def look(self) -> None:
        """Has looked at all that is due now, branches first."""
        for hint, waiting in sorted(self._due(), key=lambda each: each[0].pull_request or 0):
            logger.info(
                "A look because of a hint.",
                action="hint",
                repository=hint.repository,
                pull_request=hint.pull_request,
                via=waiting.via,
                hints=waiting.count,
            )
            try:
                if hint.pull_request is None:
                    self._poll(hint.repository)
                else:
                    self._look_at(hint.repository, hint.pull_request)
            except Exception:
                logger.exception(
                    "A look because of a hint failed.", action="hint", repository=hint.repository
                )

    def _arrived(self, hint: Hint, via: str) -> _Waiting:
        now = self._clock()
        at, gap = self._looked.get(hint, (now, 0.0))
        if gap == 0.0 or now - at > LONGEST_GAP_SECONDS:
            return _Waiting(now + self._settle, self._settle, via)
        return _Waiting(max(now + self._settle, at + gap), min(gap * 2, LONGEST_GAP_SECONDS), via)

    def _due(self) -> list[tuple[Hint, _Waiting]]:
        with self._lock:
            now = self._clock()
            due = [(hint, waiting) for hint, waiting in self._waiting.items() if waiting.due <= now]
            for hint, waiting in due:
                del self._waiting[hint]
                self._looked[hint] = (now, waiting.gap)
            for hint, (at, _) in list(self._looked.items()) if due else ():
                if now - at > LONGEST_GAP_SECONDS:
                    del self._looked[hint]
        return due
