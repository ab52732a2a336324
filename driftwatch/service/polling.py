"""Asking the remotes: a few threads that refresh repositories, so that one hung remote stops no other.

A repository that is being refreshed, or waits for it, is not taken on again: a slow remote is asked less
often, it is not asked twice at once. Whoever knows of something new has it asked once more after that.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from driftwatch import log
from driftwatch.model import Trigger
from driftwatch.service.pulse import Outage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta

    from driftwatch.model import ErrorReport
    from driftwatch.service.intake import Intake
    from driftwatch.service.ports import Work

POLLERS = 4
"""Fetching is waiting, so more than the cores; each holds a git process, so not many more."""

logger = log.get("poller")


class Pollers:
    """The threads, and which repositories they are at."""

    def __init__(
        self, work: Work, intake: Intake, *, repositories: Sequence[str], on_refreshed: Callable[[], None]
    ) -> None:
        self._work = work
        self._intake = intake
        self._on_refreshed = on_refreshed
        self._outages = {name: Outage(logger, f"Refreshing {name}") for name in repositories}
        self._errors: dict[str, ErrorReport | None] = {}
        self._waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._taken: set[str] = set()
        self._again: set[str] = set()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._go_on, name=f"poller-{number}", daemon=True)
            for number in range(min(POLLERS, len(repositories)))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def poll(self, repository: str, *, news: bool = False) -> None:
        """Has `repository` refreshed soon; returns at once.

        With `news`, a refresh that is under way is not enough: it may have asked before that was there.
        """
        with self._lock:
            if repository in self._taken:
                if news:
                    self._again.add(repository)
                return
            self._taken.add(repository)
        self._waiting.put(repository)

    def is_idle(self) -> bool:
        """True when nothing is being refreshed or waits for it."""
        with self._lock:
            return not self._taken

    @property
    def errors(self) -> Mapping[str, ErrorReport | None]:
        """How the latest refresh of each repository went; one that was never refreshed is missing."""
        with self._lock:
            return dict(self._errors)

    def outages(self) -> Sequence[Outage]:
        return tuple(self._outages.values())

    def close(self) -> None:
        """No further refreshes; one that runs is left to its end."""
        for _ in self._threads:
            self._waiting.put(None)

    def join(self, within: timedelta) -> None:
        """Waits for refreshes that still run, up to a limit: the remote may never answer."""
        deadline = time.monotonic() + within.total_seconds()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(deadline - time.monotonic(), 0))

    def _go_on(self) -> None:
        while (repository := self._waiting.get()) is not None:
            try:
                self._refresh(repository)
                self._outages[repository].over()
            except Exception as error:  # noqa: BLE001  a fault with one repository must not stop the polling
                self._outages[repository].failed(error)
            finally:
                self._ended(repository)
                self._on_refreshed()

    def _ended(self, repository: str) -> None:
        with self._lock:
            if repository in self._again:
                self._again.discard(repository)
                self._waiting.put(repository)
            else:
                self._taken.discard(repository)

    def _refresh(self, repository: str) -> None:
        refreshed = self._work.refresh(repository)
        with self._lock:
            self._errors[repository] = refreshed.error
        for stack in refreshed.touched:
            self._intake.owe(stack, Trigger.COMMIT)
