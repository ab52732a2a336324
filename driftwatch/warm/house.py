"""All that is kept warm, in one place: processes, what they are called for, recordings, and who is out.

The pipeline asks here for a plan's providers and for what it remembers of a stack; which of it may be used is
decided in `driftwatch.warm.conditions`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from driftwatch import log, metrics
from driftwatch.warm.gateway import Gateway
from driftwatch.warm.packages import Packages
from driftwatch.warm.pool import NO_PROCESSES, Limits, Pool
from driftwatch.warm.replay import Outcome, replay

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime
    from pathlib import Path

    from driftwatch.warm.conditions import Refusal, Remembered
    from driftwatch.warm.packages import Package, Selection
    from driftwatch.warm.pool import Key, PoolStats
    from driftwatch.warm.quarantine import Quarantine
    from driftwatch.warm.recording import Recording
    from driftwatch.warm.shelf import Shelf

logger = log.get("warm")


class House:
    """The pool is started when it is first needed. `close()` it, or leave it as a context manager."""

    def __init__(
        self, limits: Limits, shelf: Shelf, quarantine: Quarantine, *, clock: Callable[[], datetime]
    ) -> None:
        self.shelf = shelf
        self.quarantine = quarantine
        self._limits = limits
        self._clock = clock
        self._packages = Packages()
        self._binaries: dict[Path, str] = {}
        self._pool: Pool | None = None
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pool(self) -> Pool:
        """Raises PoolUnavailableError where this machine has no place for one."""
        with self._lock:
            if self._pool is None:
                self._pool = Pool(self._limits, self._clock)
                if self._closed:
                    self._pool.close()
            return self._pool

    @property
    def started_pool(self) -> Pool | None:
        """The pool, if there is one already."""
        return self._pool

    def observe(self) -> None:
        """Has the metrics tell of this house, whenever they are read."""
        metrics.WARM_PROCESSES.labels("busy").set_function(lambda: self._stats().busy)
        metrics.WARM_PROCESSES.labels("idle").set_function(
            lambda: (stats := self._stats()).processes - stats.busy
        )
        metrics.WARM_MEMORY.set_function(lambda: self._stats().memory)
        metrics.QUARANTINED.set_function(lambda: len(self.quarantine.entries()))

    @property
    def cpu_seconds(self) -> float:
        """Of the processes that there are now."""
        return self._stats().cpu_seconds

    def _stats(self) -> PoolStats:
        return self._pool.stats() if self._pool else NO_PROCESSES

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._pool is not None:
                self._pool.close()

    def selected(self, data: Path, lock_file: Path) -> Selection:
        """The packages that a stack's `init` selected, whoever is in quarantine.

        A binary that has become another one since it was last looked at loses its processes.
        """
        selection = self._packages.selected(data, lock_file)
        for package in selection.packages.values():
            before = self._binaries.get(package.binary)
            self._binaries[package.binary] = package.digest
            if before not in (None, package.digest) and self._pool is not None:
                self._retire(self._pool, "binary_changed", {str(before)})
        return selection

    def gateway(
        self,
        selection: Selection,
        *,
        environment: Mapping[str, str],
        directory: Path,
        parallelism: int,
        types: Collection[str] | None,
        stop: threading.Event,
    ) -> Gateway:
        """One plan's gateway, without the providers that are out. `environment` is the plan's."""
        return Gateway(
            self.pool,
            selection.without(self.quarantine.affected(selection)),
            environment=self.pool.environment(environment),
            directory=directory,
            stop=stop,
            parallelism=parallelism,
            types=types,
        )

    def remembered(
        self, stack: str, environment: Mapping[str, str], directory: Path
    ) -> Remembered | Refusal | None:
        """What is remembered of a stack, ready to be asked again with this environment in this directory."""
        provided = self.pool.environment(environment)

        def key(package: Package, bound: bool) -> Key:
            found = self.pool.key(package, provided, directory)
            return self.pool.bind(found, directory) if bound else found

        return self.shelf.get(stack, key=key, environment=provided)

    def replay(
        self, recording: Recording, *, seconds: float, parallelism: int, stop: threading.Event
    ) -> Outcome:
        outcome = replay(recording, self.pool, seconds=seconds, parallelism=parallelism, stop=stop)
        if outcome.expired:
            self.retire_environments({each.key.environment for each in recording.conversations})
        return outcome

    def retire_environments(self, environments: Collection[str]) -> None:
        """Takes out the processes of credentials that have expired."""
        self.pool.retire("credentials_expired", lambda key: key.environment in environments)

    def isolate(self, packages: Collection[Package], reason: str) -> bool:
        """Takes providers out of warm service until the next release; False where all were out before."""
        added = self.quarantine.add(packages, reason)
        for entry in added:
            logger.warning(
                f"{entry.address} {entry.version} is out of warm service until its next release, or ours:"
                f" {reason}. Plans start it as terraform does.",
                action="quarantine",
                provider=entry.address,
            )
        if self._pool is not None and added:
            self._retire(self._pool, "quarantine", {entry.package for entry in added})
        return bool(added)

    @staticmethod
    def _retire(pool: Pool, reason: str, digests: Collection[str]) -> None:
        pool.retire(reason, lambda key: key.package.digest in digests)
