"""What `doctor` says of warm providers and replay: what the daemon that runs tells of itself.

A daemon keeps its counts in memory and serves them as metrics; this reads them from there. Without a daemon
there is nothing that could be warm, and what is on disk is all that there is to say.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECONDS = 3.0
_LARGEST = 64 << 20
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104  (replaced by loopback)


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmth:
    """Since the daemon's start; memory is in bytes."""

    busy: int = 0
    idle: int = 0
    memory: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    remembered: Counter[str] = field(default_factory=Counter)
    reused: int = 0
    launched: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    disagreements: Counter[str] = field(default_factory=Counter)
    shadows: int = 0
    fallbacks: int = 0
    seconds_saved: float = 0.0

    @property
    def replays(self) -> int:
        return sum(self.answers.values())

    def sentences(self) -> Iterator[str]:
        """What there is to say, the most important first."""
        yield (
            f"{self.busy + self.idle} provider processes ({self.busy} busy) with {self.memory >> 20} MB;"
            f" {self.launched} were started, {self.reused} uses found one that ran"
        )
        same = self.answers["same"]
        yield (
            f"{self.replays} replays: {same} same, {self.answers['differs']} different,"
            f" {self.answers['failed']} failed; {self.seconds_saved:.0f} s saved"
        )
        hits, misses = self.remembered["yes"], self.remembered["no"]
        yield f"answers from memory: {hits} of {hits + misses}"
        if self.refusals:
            reasons = ", ".join(f"{reason} {count}" for reason, count in self.refusals.most_common())
            yield f"plans in place of replays: {reasons}"
        yield (
            f"{self.shadows} replays were compared with a plain plan, {sum(self.disagreements.values())}"
            f" disagreed; {self.fallbacks} plans worked only without warm providers"
        )


def ask(listen: str) -> Warmth | None:
    """Asks the daemon on `listen` (`HOST:PORT`); None where none answers."""
    host, _, port = listen.rpartition(":")
    name = host.strip("[]")
    connection = HTTPConnection(_ANY_ADDRESS.get(name, name), int(port), timeout=_SECONDS)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        if answer.status != HTTPStatus.OK:
            return None
        return read(answer.read(_LARGEST).decode(errors="replace"))
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()


def read(text: str) -> Warmth | None:
    """From metrics in Prometheus' form; None where they are not driftwatch's. Raises ValueError."""
    seen: dict[str, Counter[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            label = next(iter(sample.labels.values()), "")
            seen.setdefault(sample.name, Counter())[label] += sample.value  # type: ignore[assignment]
    if "driftwatch_warm_launches_total" not in seen:
        return None

    def of(name: str) -> Counter[str]:
        return Counter({label: int(value) for label, value in seen.get(name, Counter()).items()})

    def total(name: str) -> int:
        return sum(of(name).values())

    processes = of("driftwatch_warm_processes")
    return Warmth(
        busy=processes["busy"],
        idle=processes["idle"],
        memory=total("driftwatch_warm_memory_bytes"),
        answers=of("driftwatch_replays_total"),
        remembered=of("driftwatch_warm_answers_total"),
        reused=total("driftwatch_warm_reuses_total"),
        launched=total("driftwatch_warm_launches_total"),
        refusals=of("driftwatch_replay_refusals_total"),
        disagreements=of("driftwatch_replay_disagreements_total"),
        shadows=total("driftwatch_replay_shadows_total"),
        fallbacks=total("driftwatch_warm_fallbacks_total"),
        seconds_saved=sum(seen.get("driftwatch_replay_seconds_saved_total", Counter()).values()),
    )
