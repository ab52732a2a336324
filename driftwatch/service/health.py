"""How the daemon is, for those who ask: `/healthz`, `/readyz` and `/metrics` of the web part.

Alive means that its loops go round; whoever watches restarts it when they do not. A store or a remote that is
away is no reason for that: it makes the daemon not ready, and a restart would mend nothing.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from driftwatch import log, metrics
from driftwatch.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from driftwatch.model import ErrorReport, JsonValue, StackId
    from driftwatch.service.ports import Depths
    from driftwatch.service.pulse import Heartbeat, Outage

logger = log.get("health")


class Phase(StrEnum):
    """Where the daemon is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


class Health:
    """Reads the daemon's parts; holds nothing of its own."""

    def __init__(
        self,
        *,
        phase: Callable[[], Phase],
        heartbeats: Mapping[str, Heartbeat],
        outages: Callable[[], Sequence[Outage]],
        running: Callable[[], Sequence[StackId]],
        repositories: Callable[[], Mapping[str, ErrorReport | None]],
        depths: Depths | None,
    ) -> None:
        self._phase = phase
        self._heartbeats = heartbeats
        self._outages = outages
        self._running = running
        self._repositories = repositories
        self._depths = depths

    def liveness(self) -> tuple[bool, dict[str, JsonValue]]:
        """False when a loop stalls; before the start nothing goes round yet, and that is no stall."""
        starting = self._phase() is Phase.STARTING
        alive = {name: starting or heartbeat.is_alive for name, heartbeat in self._heartbeats.items()}
        ages: dict[str, JsonValue] = {
            f"{name}_age_seconds": round(heartbeat.age.total_seconds(), 1)
            for name, heartbeat in self._heartbeats.items()
        }
        stalled: list[JsonValue] = [name for name, is_alive in alive.items() if not is_alive]
        return not stalled, {"stalled": stalled, **ages}

    def readiness(self) -> tuple[bool, dict[str, JsonValue]]:
        """True while checks are taken on and their results can be kept."""
        failing: list[JsonValue] = [
            str(outage.error) for outage in self._outages() if outage.error is not None
        ]
        phase = self._phase()
        repositories: dict[str, JsonValue] = {
            name: error.code if error else "ok" for name, error in self._repositories().items()
        }
        return phase is Phase.RUNNING and not failing, {
            "phase": phase.value,
            "failing": failing,
            "repositories": repositories,
            "running": [str(stack) for stack in self._running()],
        }

    def refresh_metrics(self) -> None:
        """Sets the gauges that nothing else keeps up to date; they stay so while the store is away."""
        if self._depths is None:
            return
        try:
            depths = self._depths.queue_depth()
        except StoreError as error:
            logger.debug(f"The length of the queue is not known now: {error}", action="metrics")
            return
        for state, depth in depths.items():
            metrics.QUEUE_LENGTH.labels(state).set(depth)
