"""`driftwatch stacks graph`: which stacks come before which, and why.

It reads the last good commits as the daemon fetched them, beside it or without one, and asks no remote.
"""

from __future__ import annotations

import os
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.text import Text

from driftwatch.cli import terminal
from driftwatch.cli.clock import now
from driftwatch.cli.compose import Rooms, read_settings
from driftwatch.cli.formats import Listing, plain
from driftwatch.cli.stacks import print_json
from driftwatch.config.cycles import spelt
from driftwatch.errors import Exit
from driftwatch.git import Mirror
from driftwatch.pipeline.inventory import Inventory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from driftwatch.policy.graph import Edge, Graph


class _Unwritten:
    """A register for who only reads."""

    def record_fetch(self, repository: str, **_: object) -> None:
        """Nothing is fetched."""

    def sync_stacks(self, repository: str, declared: object, at: object, **_: object) -> None:
        """Nothing is kept."""


def show_graph(config: Path, form: Listing) -> int:
    """Prints every dependency with its reason; exits 1 where some go in a circle."""
    settings = read_settings(config, os.environ)
    rooms = Rooms(state=settings.state_dir)
    mirrors = {
        name: Mirror(name, repository, rooms.mirrors / name, clock=now)
        for name, repository in settings.repositories.items()
    }
    inventory = Inventory(settings, mirrors, _Unwritten(), clock=now)
    unread = inventory.recall()
    graph = inventory.graph()
    if form is Listing.JSON:
        print_json(document(graph, unread))
    else:
        _show(graph, unread)
    return Exit.ERROR if graph.cycles else Exit.OK


def document(graph: Graph, unread: Sequence[str]) -> dict[str, Any]:
    """The graph as JSON has it: `order` names every stack after all that it depends on."""
    return {
        "edges": [
            {
                "upstream": str(edge.upstream),
                "downstream": str(edge.downstream),
                "reason": edge.reason.value,
                "sentence": edge.sentence,
                "in_cycle": edge.in_cycle,
            }
            for edge in _sorted(graph)
        ],
        "cycles": [[str(stack) for stack in way] for way in graph.cycles],
        "unknown": [{"stack": str(each.stack), "wanted": each.wanted} for each in graph.unknown],
        "order": [str(stack) for stack in graph.order],
        "unread": list(unread),
    }


def _sorted(graph: Graph) -> list[Edge]:
    return sorted(graph.edges, key=lambda edge: (str(edge.downstream), str(edge.upstream), edge.reason))


def _show(graph: Graph, unread: Sequence[str]) -> None:
    for downstream, edges in groupby(_sorted(graph), key=lambda edge: str(edge.downstream)):
        terminal.stdout.print(Text(plain(downstream)))
        for edge in edges:
            without = " (no effect: it is in a circle)" if edge.in_cycle else ""
            line = f"  after {plain(str(edge.upstream))}: {plain(edge.sentence)}{without}"
            terminal.stdout.print(Text(line))
    if not graph.edges:
        terminal.stdout.print("No stack depends on another, as far as is known.")
    for way in graph.cycles:
        terminal.stderr.print(Text(f"In a circle: {plain(spelt(way))}"))
    for each in graph.unknown:
        said = f"{plain(str(each.stack))} depends on {plain(each.wanted)}, and there is no such stack."
        terminal.stderr.print(Text(said))
    for repository in unread:
        said = f"{repository} was not read yet: `driftwatch run` or `driftwatch check --config` does that."
        terminal.stderr.print(Text(said))
