"""`driftwatch bench replay`: what warm providers and replay would save on one's own root module."""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from driftwatch.cli import terminal
from driftwatch.cli.check import progress_line, stoppable
from driftwatch.cli.clock import now
from driftwatch.cli.formats import Listing
from driftwatch.cli.stacks import print_json
from driftwatch.config.settings import TerraformSettings
from driftwatch.errors import Exit, UsageError
from driftwatch.pipeline.bench import bench_replay
from driftwatch.terraform import Plain, Planner

if TYPE_CHECKING:
    from driftwatch.pipeline.bench import Cost, Figures


def replay(directory: Path, rounds: int, form: Listing) -> int:
    """Measures and prints. The directory must be initialised, and is only read."""
    if not directory.is_dir():
        raise UsageError(f"no such directory: {directory}", advice="Name the directory of a root module.")
    with tempfile.TemporaryDirectory(prefix="driftwatch-") as scratch, stoppable() as stop:
        place = Path(scratch)
        planner = Planner(
            TerraformSettings(), cache=place / "cache", runs=place / "runs", environment=dict(os.environ)
        )
        plain = Plain(
            binary=planner.binaries()[0],
            directory=directory.resolve(),
            own=dict(os.environ),
            scratch=place,
            stop=stop,
        )
        with progress_line(f"Measuring {directory}") as progress:
            figures = bench_replay(plain, rounds=rounds, clock=now, stop=stop, progress=progress)
    if form is Listing.JSON:
        document = asdict(figures)
        print_json({name: document[name] for name in ("plan", "warm_plan", "replay")})
    else:
        _show(figures)
    return Exit.OK


def _show(figures: Figures) -> None:
    table = Table("", "wall", "CPU", "of wall", "of CPU", box=None, pad_edge=False)
    for name, cost in (
        ("terraform plan", figures.plan),
        ("through warm providers", figures.warm_plan),
        (f"replay of {figures.reads} reads", figures.replay),
    ):
        table.add_row(name, *_row(cost, figures.plan))
    terminal.stdout.print(table)
    terminal.stdout.print(Text(f"medians of {figures.rounds} rounds, taken in turn", "dim"))


def _row(cost: Cost, plan: Cost) -> tuple[str, str, str, str]:
    return (
        f"{cost.wall_seconds:.2f} s",
        f"{cost.cpu_seconds:.2f} s",
        f"{cost.wall_seconds / plan.wall_seconds:.3f}",
        f"{cost.cpu_seconds / max(plan.cpu_seconds, 0.001):.3f}",
    )
