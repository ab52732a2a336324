"""Dependencies that go in a circle where the configuration alone shows it: between stacks named by their ids.

What globs match, and what the code says, is known only when the repositories have been read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from driftwatch.config.cycles import circle, spelt, tangles
from driftwatch.config.section import items_of, part_of
from driftwatch.model import DEFAULT_WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from driftwatch.config.section import Contradiction


def declared_cycles(repositories: object) -> Iterator[Contradiction]:
    """The cycles among stacks that are named without wildcards. `repositories` may not be valid yet."""
    before: dict[str, list[str]] = {}
    places: dict[str, tuple[str | int, ...]] = {}
    for name, place, entry in _entries(repositories):
        wanted = [each for each in items_of(part_of(entry, "depends_on")) if isinstance(each, str)]
        for stack in _ids(name, entry):
            if stack not in before:  # of several entries for one directory, the first counts
                before[stack] = [each for each in wanted if each != stack]
                places[stack] = ("repositories", name, "stacks", place, "depends_on")
    for tangle in tangles(before):
        way = circle(tangle, before)
        yield places[way[0]], f"goes in a circle: {spelt(way)}"


def _entries(repositories: object) -> Iterator[tuple[str, int, object]]:
    for name, repository in repositories.items() if isinstance(repositories, dict) else ():
        for place, entry in enumerate(items_of(part_of(repository, "stacks"))):
            yield str(name), place, entry


def _ids(repository: str, entry: object) -> Iterator[str]:
    path = part_of(entry, "path")
    if not isinstance(path, str) or any(wild in path for wild in "*?["):
        return
    path = path.removeprefix("./").rstrip("/") or "."
    for workspace in items_of(part_of(entry, "workspaces")) or (DEFAULT_WORKSPACE,):
        if isinstance(workspace, str):
            tail = "" if workspace == DEFAULT_WORKSPACE else f"@{workspace}"
            yield f"{repository}/{path}{tail}"
