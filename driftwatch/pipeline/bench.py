"""Bench: what a check costs by each method, measured on somebody's own root module.

    the plain plan → the same through warm providers → a replay of its reads, in turn, several rounds

In turn, so that a busy machine slows all of them alike; medians, so that one hiccup decides nothing. State,
cloud and directory are only read. CPU counts terraform, its providers and this process.
"""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from driftwatch.drift import Digester, read_plan
from driftwatch.errors import ReplayImpossibleError
from driftwatch.model import Inputs
from driftwatch.warm.gateway import Gateway
from driftwatch.warm.packages import Packages
from driftwatch.warm.pool import Limits, Pool
from driftwatch.warm.replay import Answer, replay

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from driftwatch.drift import Reading
    from driftwatch.terraform import Plain
    from driftwatch.warm.packages import Selection
    from driftwatch.warm.recording import Recording

REPLAY_SECONDS = 300.0
PARALLELISM = 10
"""Terraform's own default for reads at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Medians, in seconds."""

    wall_seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured. `reads` is how many a replay repeats."""

    plan: Cost
    warm_plan: Cost
    replay: Cost
    reads: int
    rounds: int


def bench_replay(
    plain: Plain,
    *,
    rounds: int,
    clock: Callable[[], datetime],
    stop: threading.Event,
    progress: Callable[[str], None] | None = None,
) -> Figures:
    """Measures `rounds` times each.

    Raises ReplayImpossibleError where this module cannot be replayed, with the reason, and where the methods
    do not see the same: then there is nothing to compare. Else what terraform or a provider says.
    """
    selection = Packages().selected(plain.data, plain.lock_file)
    with Pool(Limits(), clock) as pool:
        bench = _Bench(plain=plain, pool=pool, selection=selection, stop=stop)
        tell = progress or (lambda _line: None)
        tell("starting providers, recording")
        expected = _meaning(plain.plan())
        document, recording, types = bench.plan_warm(None)
        _expect_usable(recording)
        _expect_same(expected, document)
        costs: dict[str, list[Cost]] = {"plan": [], "warm_plan": [], "replay": []}
        for number in range(1, rounds + 1):
            tell(f"round {number} of {rounds}")
            costs["plan"].append(bench.cost(plain.plan))
            costs["warm_plan"].append(bench.cost(lambda: bench.plan_warm(types)))
            costs["replay"].append(bench.cost(lambda: bench.replay(recording)))
        _expect_same(expected, bench.plan_warm(types)[0])
    medians = {name: _median(each) for name, each in costs.items()}
    return Figures(**medians, reads=recording.reads, rounds=rounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    plain: Plain
    pool: Pool
    selection: Selection
    stop: threading.Event

    def plan_warm(self, types: frozenset[str] | None) -> tuple[Mapping[str, Any], Recording, frozenset[str]]:
        gateway = Gateway(
            self.pool,
            self.selection,
            environment=self.pool.environment(self.plain.environment),
            directory=self.plain.directory,
            stop=self.stop,
            types=types,
        )
        with gateway:
            document = self.plain.plan(gateway.reattach())
            if gateway.faults:
                raise ReplayImpossibleError(f"a provider failed: {gateway.faults[0].message}")
            return document, gateway.recording(), gateway.types

    def replay(self, recording: Recording) -> None:
        outcome = replay(
            recording, self.pool, seconds=REPLAY_SECONDS, parallelism=PARALLELISM, stop=self.stop
        )
        if outcome.answer is Answer.DIFFERS:
            raise ReplayImpossibleError(
                f"the cloud changed meanwhile, in {', '.join(sorted(outcome.types))}",
                advice="Run it again when nobody works on this stack.",
            )
        if outcome.answer is Answer.FAILED:
            raise ReplayImpossibleError(f"a replay failed ({outcome.reason}): {outcome.message or ''}")

    def cost(self, action: Callable[[], object]) -> Cost:
        began, used = time.monotonic(), self._cpu()
        action()
        return Cost(wall_seconds=time.monotonic() - began, cpu_seconds=max(self._cpu() - used, 0.0))

    def _cpu(self) -> float:
        times = os.times()
        ours = times.user + times.system + times.children_user + times.children_system
        return ours + self.pool.stats().cpu_seconds


def _meaning(document: Mapping[str, Any]) -> Reading:
    """What a plan says, without what differs from run to run."""
    return read_plan(document, digest=Digester(b"bench"), inputs=Inputs(), baseline=None)


def _expect_same(expected: Reading, document: Mapping[str, Any]) -> None:
    seen = _meaning(document)
    if (seen.verdict, seen.findings) != (expected.verdict, expected.findings):
        raise ReplayImpossibleError(
            "the plan through warm providers says something else than the plain one",
            advice="Run it again when nobody works on this stack; if it stays, please report it.",
        )


def _expect_usable(recording: Recording) -> None:
    if recording.unusable:
        raise ReplayImpossibleError(
            f"the reads of this module cannot be repeated: {', '.join(recording.unusable)}",
            advice="Such a stack is always checked by a plan.",
        )


def _median(costs: list[Cost]) -> Cost:
    return Cost(
        wall_seconds=round(statistics.median(cost.wall_seconds for cost in costs), 3),
        cpu_seconds=round(statistics.median(cost.cpu_seconds for cost in costs), 3),
    )
