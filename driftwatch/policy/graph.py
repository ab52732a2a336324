"""The graph: which stacks come before which, and why. Pure.

    what each stack says and reads → edges with their reasons → cycles → upstream, downstream, order

A stack depends on others that it declares (`depends_on`), that have certain labels (`depends_on_labels`), or
whose state it reads (`terraform_remote_state` with a literal configuration, which is that of the other
one's backend). The edges of a cycle are told and have no effect: what waits for itself would wait for ever.
What is declared is judged first and alone: what is only found in code or in labels, which more people may
write, cannot close a circle such that a declared order is lost.
"""

from __future__ import annotations

import hashlib
import heapq
import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence  # noqa: TC003  (dataclass fields)
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from driftwatch.config.cycles import circle, spelt, tangles
from driftwatch.config.patterns import is_among
from driftwatch.hcl import IN_THIS_MODULE, THIS_WORKSPACE
from driftwatch.log import redact
from driftwatch.model import DEFAULT_WORKSPACE, StackId

if TYPE_CHECKING:
    from driftwatch.hcl import Given, RemoteState

_WHERE: Mapping[str, Mapping[str, str | None]] = {
    "azurerm": {"storage_account_name": None, "container_name": None, "key": None},
    "consul": {"path": None, "address": ""},
    "gcs": {"bucket": None, "prefix": ""},
    "http": {"address": None},
    "local": {"path": "terraform.tfstate"},
    "pg": {"conn_str": None, "schema_name": "terraform_remote_state"},
    "s3": {"bucket": None, "key": None},
}
"""The keys that say where a backend keeps a state, with what counts where they are not given; None: they must
be. From the backends' own documentation; regions, roles and profiles say who looks, not where."""

_UNSAID = frozenset({"conn_str"})
"""Keys that are never put into words: they may hold a password."""


_IN_REPOSITORY = "${repository}/"
"""How a path begins that starts at the repository's top. No literal does."""


class Reason(StrEnum):
    """Why a stack comes before another."""

    DECLARED = "declared"
    LABELS = "labels"
    REMOTE_STATE = "remote_state"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateAt:
    """Where a state is kept. `address` is the same for the same place and says nothing; `words` are shown."""

    address: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRead:
    """A data source that reads a state: its name, and where that is."""

    name: str
    at: StateAt


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What a stack says of itself and of others. `depends_on` holds ids or globs."""

    stack: StackId
    depends_on: Sequence[str] = ()
    depends_on_labels: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    state: StateAt | None = None
    reads: Sequence[StateRead] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """`upstream` comes before `downstream`. `sentence` says why, in words."""

    upstream: StackId
    downstream: StackId
    reason: Reason
    sentence: str
    in_cycle: bool = False
    """Then it has no effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """What a stack declares to depend on, and no stack that is known is."""

    stack: StackId
    wanted: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """All stacks with what comes before and after each, directly, by the edges that have an effect.

    `cycles` are those that were found, the shortest of each tangle: each stack depends on the next, the last
    on the first. `order` has every stack after all that it depends on; those beside each other by name.
    """

    edges: tuple[Edge, ...] = ()
    cycles: tuple[tuple[StackId, ...], ...] = ()
    unknown: tuple[Unknown, ...] = ()
    upstream: Mapping[StackId, tuple[StackId, ...]] = field(default_factory=dict)
    downstream: Mapping[StackId, tuple[StackId, ...]] = field(default_factory=dict)
    order: tuple[StackId, ...] = ()
    unread: Mapping[StackId, str] = field(default_factory=dict)
    """By stack, a repository of which nothing is known yet, and that may have what the stack depends on."""

    @property
    def in_the_dark(self) -> frozenset[StackId]:
        """The stacks that name others which are not known: gone, or never there."""
        return frozenset(each.stack for each in self.unknown)

    def cycle_of(self, repository: str) -> str | None:
        """The first cycle that a stack of this repository is in, spelt out; None where there is none."""
        mine = (way for way in self.cycles if any(each.repository == repository for each in way))
        return next((spelt(way) for way in mine), None)


def graph_of(nodes: Iterable[Node], unread: Collection[str] = ()) -> Graph:
    """The graph of these stacks. That a stack names itself, as a glob may, counts for nothing.

    `unread` are the repositories whose stacks nobody knows yet.
    """
    known = {node.stack: node for node in nodes}
    links = _Links(known)
    found = tuple(edge for node in known.values() for edge in links.of(node))
    pairs: dict[tuple[StackId, StackId], None] = {}
    closing: set[Edge] = set()
    cycles: list[tuple[StackId, ...]] = []
    for is_declared in (True, False):
        more = [edge for edge in found if (edge.reason is Reason.DECLARED) is is_declared]
        ways = (*pairs, *((edge.upstream, edge.downstream) for edge in more))
        above = _grouped(known, ((after, before) for before, after in ways))
        knots = tangles(above)
        cycles += (circle(knot, above) for knot in knots)
        closing |= _within(knots, (edge for edge in more if (edge.upstream, edge.downstream) not in pairs))
        pairs |= {(edge.upstream, edge.downstream): None for edge in more if edge not in closing}
    edges = tuple(replace(edge, in_cycle=True) if edge in closing else edge for edge in found)
    upstream = _grouped(known, ((after, before) for before, after in pairs))
    downstream = _grouped(known, pairs)
    return Graph(
        edges=edges,
        cycles=tuple(sorted(cycles, key=spelt)),
        unknown=tuple(links.unknown),
        upstream=upstream,
        downstream=downstream,
        order=_in_order(upstream, downstream),
        unread=dict(links.unread(sorted(unread))),
    )


def _within(knots: Iterable[frozenset[StackId]], edges: Iterable[Edge]) -> set[Edge]:
    """The edges of which both ends are in one knot."""
    knot_of = {stack: number for number, knot in enumerate(knots) for stack in knot}
    return {
        edge
        for edge in edges
        if edge.upstream in knot_of and knot_of[edge.upstream] == knot_of.get(edge.downstream)
    }


def state_at(
    backend: str | None,
    config: Given | None,
    *,
    workspace: str,
    repository: str,
    directory: str,
    secretly: Mapping[str, str] | None = None,
) -> StateAt | None:
    """Where a state is kept; None where the backend is none of those known here, or only a plan knows.

    `directory` is the one that a relative path starts from, in its `repository`. `secretly` is what the
    configuration of driftwatch adds: it counts, and is not put into words.
    """
    where = _WHERE.get(backend or "")
    if where is None or config is None or backend is None:
        return None
    given = {**dict(config), **(secretly or {})}
    place = {key: given.get(key, default) for key, default in where.items()}
    if backend == "local":
        place["path"] = _path_of(place["path"], repository, directory)
    if backend == "gcs" and place["prefix"] is not None:
        place["prefix"] = place["prefix"].strip("/")
    if any(value is None for value in place.values()):
        return None
    words = ", ".join(
        f"{key} {value}"
        for key, value in place.items()
        if value and key not in _UNSAID and key not in (secretly or {})
    )
    text = "\0".join([backend, workspace, *(f"{key}={value}" for key, value in sorted(place.items()))])
    shown = redact(f"{backend}: {words}" if words else backend)
    if workspace != DEFAULT_WORKSPACE:
        shown += f", workspace {workspace}"
    return StateAt(address=hashlib.sha256(text.encode()).hexdigest(), words=shown)


def state_read_by(read: RemoteState, *, stack: StackId, module: str) -> StateAt | None:
    """Where the state is that a data source in the directory `module` reads for a stack, as `state_at`."""
    workspace = stack.workspace if read.workspace == THIS_WORKSPACE else read.workspace
    if workspace is None:
        return None
    # Terraform reads a relative path from the root module's directory; `path.module` is the module's own.
    config = (
        None if read.config is None else tuple((key, _from_root(value, module)) for key, value in read.config)
    )
    return state_at(
        read.backend, config, workspace=workspace, repository=stack.repository, directory=stack.path
    )


def _from_root(value: str | None, module: str) -> str | None:
    if value is None or not value.startswith(IN_THIS_MODULE):
        return value
    return f"{_IN_REPOSITORY}{module}/{value.removeprefix(IN_THIS_MODULE)}"


def _path_of(path: str | None, repository: str, directory: str) -> str | None:
    """A local state's path as nobody else's can be: absolute, or in its repository."""
    if path is None:
        return None
    if path.startswith("/"):
        return posixpath.normpath(path)
    if path.startswith(_IN_REPOSITORY):
        inside = posixpath.normpath(path.removeprefix(_IN_REPOSITORY))
    else:
        inside = posixpath.normpath(f"{directory}/{path.removeprefix(IN_THIS_MODULE)}")
    return None if inside.split("/")[0] == ".." else f"{repository}/{inside}"


class _Links:
    """Finds what each stack depends on. Each pattern is looked up once: a thousand stacks may share it."""

    def __init__(self, known: Mapping[StackId, Node]) -> None:
        self.unknown: list[Unknown] = []
        self._known = known
        self._by_name = {str(stack): stack for stack in known}
        self._by_state: dict[str, list[StackId]] = {}
        self._meant: dict[object, tuple[StackId, ...]] = {}
        for node in known.values():
            if node.state is not None:
                self._by_state.setdefault(node.state.address, []).append(node.stack)

    def of(self, node: Node) -> Iterator[Edge]:
        for pattern in node.depends_on:
            meant = self._named(pattern)
            if not meant:
                self.unknown.append(Unknown(stack=node.stack, wanted=pattern))
            yield from self._edges(node, meant, Reason.DECLARED, f"it declares to depend on {pattern}")
        if node.depends_on_labels:
            words = ", ".join(f"{key}={value}" for key, value in node.depends_on_labels.items())
            meant = self._labelled(node.depends_on_labels)
            if not meant:
                self.unknown.append(Unknown(stack=node.stack, wanted=f"the labels {words}"))
            yield from self._edges(node, meant, Reason.LABELS, f"it depends on what is labelled {words}")
        for read in node.reads:
            meant = self._by_state.get(read.at.address, ())
            why = f"data.terraform_remote_state.{read.name} reads its state"
            yield from self._edges(node, meant, Reason.REMOTE_STATE, why)

    def unread(self, repositories: Sequence[str]) -> Iterator[tuple[StackId, str]]:
        """Each stack that may depend on one of these repositories, with the first such one."""
        for node in self._known.values() if repositories else ():
            anywhere = node.depends_on_labels or any(
                read.at.address not in self._by_state for read in node.reads
            )
            for name in repositories:
                if anywhere or any(_may_name(pattern, name) for pattern in node.depends_on):
                    yield node.stack, name
                    break

    def _edges(self, node: Node, meant: Iterable[StackId], reason: Reason, why: str) -> Iterator[Edge]:
        return (
            Edge(upstream=stack, downstream=node.stack, reason=reason, sentence=why)
            for stack in meant
            if stack != node.stack
        )

    def _named(self, pattern: str) -> Sequence[StackId]:
        if not any(wild in pattern for wild in "*?["):
            return tuple(filter(None, [self._by_name.get(pattern)]))
        if pattern not in self._meant:
            self._meant[pattern] = tuple(
                stack for name, stack in self._by_name.items() if is_among(name, (pattern,))
            )
        return self._meant[pattern]

    def _labelled(self, labels: Mapping[str, str]) -> Sequence[StackId]:
        wanted = frozenset(labels.items())
        if wanted not in self._meant:
            self._meant[wanted] = tuple(
                stack for stack, node in self._known.items() if wanted <= node.labels.items()
            )
        return self._meant[wanted]


def _may_name(pattern: str, repository: str) -> bool:
    """Whether an id or a glob may name a stack of the repository."""
    start, literal = f"{repository}/", re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    return literal.startswith(start) or (literal != pattern and start.startswith(literal))


def _grouped(
    known: Iterable[StackId], pairs: Iterable[tuple[StackId, StackId]]
) -> dict[StackId, tuple[StackId, ...]]:
    """The second of each pair by its first, each once and by name; every stack that is known has an entry."""
    found: dict[StackId, dict[StackId, None]] = {stack: {} for stack in known}
    for key, value in pairs:
        found[key][value] = None
    return {key: tuple(sorted(its, key=str)) for key, its in found.items()}


def _in_order(
    upstream: Mapping[StackId, Sequence[StackId]], downstream: Mapping[StackId, Sequence[StackId]]
) -> tuple[StackId, ...]:
    missing = {stack: len(its) for stack, its in upstream.items()}
    free = [(str(stack), stack.workspace, stack) for stack, count in missing.items() if not count]
    heapq.heapify(free)
    order: list[StackId] = []
    while free:
        *_, stack = heapq.heappop(free)
        order.append(stack)
        for each in downstream[stack]:
            missing[each] -= 1
            if not missing[each]:
                heapq.heappush(free, (str(each), each.workspace, each))
    return tuple(order)
