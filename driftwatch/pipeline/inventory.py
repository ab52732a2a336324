"""Inventory: which stacks there are, at which commit, under which options.

    fetch → discover → declare → compare → keep

Its place in the flow is before the queue: the poller refreshes a repository, and what comes back names the
stacks that the new commit touches. An unreachable remote changes nothing: the last good commit stays in use,
and the error is recorded and returned. It never runs terraform.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from driftwatch import log, metrics
from driftwatch.config.repository_file import RepositoryFile, apply_repository_file, read_repository_file
from driftwatch.errors import ConfigError, DependencyCycleError, DriftwatchError, UnknownStackError
from driftwatch.model import ErrorReport, StackDeclaration, StackId
from driftwatch.policy.graph import Graph, Node, StateAt, StateRead, graph_of, state_at, state_read_by
from driftwatch.terraform import PIN_FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from driftwatch.config.settings import Schedule, Settings, StackSettings
    from driftwatch.git import RootModule
    from driftwatch.pipeline.ports import Register, Source

REPOSITORY_FILE = ".driftwatch.yaml"

_PLACES_KEPT = 50_000
"""Stacks of which it is kept where their states are, one for each way in which their code ever said so."""

logger = log.get("inventory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One stack as it can be checked now.

    `reads` are the paths, from the repository's root, whose content a verdict depends on: the stack's
    directory, the local modules it uses, its var files, and files above it that pin the engine's version;
    not all of them need be there. `tree` is the digest over them.
    """

    stack: StackId
    commit: str
    options: StackSettings
    reads: tuple[str, ...]
    tree: str
    submodules: bool = False
    """Whether those of its repository are checked out too."""
    state: StateAt | None = None
    """Where its state is kept, as far as the code and the configuration say it before any plan."""
    states_read: tuple[StateRead, ...] = ()
    """The states whose outputs its code reads, of which that is known."""
    units: tuple[str, ...] = ()
    """Directories of the units of terragrunt whose outputs it reads, where it is one."""

    @property
    def declaration(self) -> StackDeclaration:
        return StackDeclaration(id=self.stack, labels=self.options.labels, owners=self.options.owners)

    @property
    def node(self) -> Node:
        """What it says of itself and others, for the graph."""
        return Node(
            stack=self.stack,
            depends_on=(
                *self.options.depends_on,
                *(f"{self.stack.repository}/{directory}" for directory in self.units),
            ),
            depends_on_labels=self.options.depends_on_labels,
            labels=self.options.labels,
            state=self.state,
            reads=self.states_read,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What a refresh brought: the stacks that the new commit touches, or why there is none."""

    repository: str
    commit: str | None
    touched: tuple[StackId, ...] = ()
    error: ErrorReport | None = None


@dataclass(slots=True)
class _Shelf:
    """What is known of one repository. `remembered` are the stacks of before, until stock is taken."""

    commit: str | None = None
    subjects: dict[StackId, Subject] = field(default_factory=dict)
    remembered: dict[StackId, Subject] | None = None

    @property
    def is_unread(self) -> bool:
        return self.commit is None and self.remembered is None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spoken:
    """What one content of the repository's own file makes of the options of its stacks."""

    content: bytes | None
    words: RepositoryFile
    stacks: Sequence[StackSettings]
    known: dict[tuple[str, str], StackSettings] = field(default_factory=dict)
    placed: dict[object, tuple[StateAt | None, tuple[StateRead, ...]]] = field(default_factory=dict)

    def states(self, stack: StackId, module: RootModule) -> tuple[StateAt | None, tuple[StateRead, ...]]:
        """Where a stack's state is kept, and which others it reads."""
        asked = (stack, module.glob, module.backend, module.backend_config, module.remote_states)
        if asked not in self.placed:
            options = self.options(module)
            self.placed[asked] = _state_of(stack, module, options), tuple(_states_read(stack, module))
        return self.placed[asked]

    def options(self, module: RootModule) -> StackSettings:
        asked = (module.path, module.glob)
        if asked not in self.known:
            given = next(options for options in self.stacks if options.path == module.glob)
            self.known[asked] = apply_repository_file(given, module.path, self.words)
        return self.known[asked]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    """A graph, and what it was drawn from: how often stock had been taken by then, and what that came to."""

    stock: int
    also: frozenset[StackId]
    nodes: Mapping[StackId, Node]
    unread: frozenset[str]
    graph: Graph


class Inventory:
    """All stacks of all repositories. Thread-safe: pollers refresh while workers look stacks up."""

    def __init__(
        self,
        settings: Settings,
        sources: Mapping[str, Source],
        register: Register,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._sources = sources
        self._register = register
        self._clock = clock
        self._lock = threading.Lock()
        self._spoken: dict[str, _Spoken] = {}
        self._stock = 0
        self._drawn: _Drawn | None = None
        self._warned: set[tuple[StackId, str]] = set()
        self._failing: dict[str, str | None] = {}
        self._shelves = {name: _Shelf() for name in settings.repositories}

    def refresh(self, repository: str) -> Refreshed:
        """Fetches and takes stock. Never raises for what a repository can do wrong: that is in `error`."""
        previous, error = self._sources[repository].head(), None
        try:
            self._fetch(repository)
        except DriftwatchError as problem:
            error = problem.report()
        commit = self._sources[repository].head()
        try:
            touched = self._take_stock(repository, commit, previous) if commit else ()
        except DriftwatchError as problem:
            touched, error = (), error or problem.report()
        error = error or self._look_for_cycles(repository)
        self._record(repository, commit, error)
        return Refreshed(repository=repository, commit=commit, touched=touched, error=error)

    def recall(self) -> tuple[str, ...]:
        """Takes stock of the last good commits: asks no remote, writes nothing, and tells nobody.

        Returns the repositories of which nothing was ever fetched.
        """
        unread = []
        for repository, source in self._sources.items():
            commit = source.head()
            if commit is None:
                unread.append(repository)
                continue
            subjects = self._discover(repository, commit)
            with self._lock:
                self._shelves[repository] = _Shelf(commit=commit, subjects=subjects)
                self._stock += 1
        return tuple(unread)

    def remember(self) -> None:
        """Has the graph know the stacks of the last good commits, until each repository is read.

        For the start of a daemon: what comes before what is known before anything is applied, whichever
        repository is read first, and whichever is away. Nothing is checked or listed for it. What cannot be
        remembered is as good as never read.
        """
        for repository in self._settings.repositories:
            try:
                commit = self._sources[repository].head()
                subjects = self._discover(repository, commit) if commit else None
            except DriftwatchError as problem:
                logger.warning(
                    f"What the last good commit held is not known before it is read: {problem.message}.",
                    action="discover",
                    repository=repository,
                    error=problem.code,
                )
                continue
            with self._lock:
                self._shelves[repository].remembered = subjects
                self._stock += 1

    def subject(self, stack: StackId) -> Subject:
        """The stack as of the last refresh; raises UnknownStackError for one that is not there."""
        with self._lock:
            shelf = self._shelves.get(stack.repository)
            subject = shelf.subjects.get(stack) if shelf else None
        if subject is None:
            raise UnknownStackError(
                f"no stack {stack}", advice="`driftwatch stacks list` shows those that are known."
            )
        return subject

    def subjects(self) -> tuple[Subject, ...]:
        with self._lock:
            return tuple(subject for shelf in self._shelves.values() for subject in shelf.subjects.values())

    def at(self, repository: str, commit: str) -> Mapping[StackId, Subject]:
        """The stacks of another commit than the head, such as what a pull request would make of the branch.

        What `.driftwatch.yaml` says is taken from the head all the same: a pull request must not give itself
        the labels that rules and windows go by. Raises what a commit can be refused for.
        """
        with self._lock:
            head = self._shelves[repository].commit
        head = head or self._sources[repository].head()
        return self._discover(repository, commit, words_of=head or commit)

    def graph(self, also: Collection[StackId] = ()) -> Graph:
        """Which stacks come before which, in all repositories, as of their last refreshes, or as remembered.

        `also` are stacks that are gone from the code, and that others may still name.
        """
        with self._lock:
            stock, drawn, shelves = self._stock, self._drawn, dict(self._shelves)
        gone = frozenset(also)
        if drawn is not None and drawn.stock == stock and drawn.also == gone:
            return drawn.graph
        unread = frozenset(name for name, shelf in shelves.items() if shelf.is_unread)
        nodes = {
            stack: subject.node
            for shelf in shelves.values()
            for stack, subject in (shelf.subjects if shelf.commit else shelf.remembered or {}).items()
        }
        nodes |= {stack: Node(stack=stack) for stack in sorted(gone, key=str) if stack not in nodes}
        # Most commits change nothing of it.
        is_same = drawn is not None and drawn.nodes == nodes and drawn.unread == unread
        graph = drawn.graph if drawn is not None and is_same else graph_of(nodes.values(), unread)
        with self._lock:
            self._drawn = _Drawn(stock=stock, also=gone, nodes=nodes, unread=unread, graph=graph)
        return graph

    def schedules(self) -> Mapping[StackId, Schedule]:
        return {subject.stack: subject.options.schedule for subject in self.subjects()}

    def _look_for_cycles(self, repository: str) -> ErrorReport | None:
        """The cycle that stacks of the repository are in; what does not exist is only warned about."""
        graph = self.graph()
        self._warn_of_unknown(graph)
        cycle = graph.cycle_of(repository)
        if cycle is None:
            return None
        return DependencyCycleError(
            f"stacks of {repository} depend on each other in a circle: {cycle}"
        ).report()

    def _warn_of_unknown(self, graph: Graph) -> None:
        """Warns once of each dependency on a stack that there is not, when all repositories were read."""
        with self._lock:
            if any(shelf.commit is None for shelf in self._shelves.values()):
                return
            unknown = {(each.stack, each.wanted) for each in graph.unknown}
            news = unknown - self._warned
            self._warned = unknown
        for stack, wanted in sorted(news, key=str):
            logger.warning(
                f"{stack} depends on {wanted}, and there is no such stack.",
                action="discover",
                stack=str(stack),
            )

    def _fetch(self, repository: str) -> None:
        try:
            fetched = self._sources[repository].fetch()
        except DriftwatchError:
            metrics.FETCHES.labels(repository, "failed").inc()
            raise
        metrics.FETCHES.labels(repository, "changed" if fetched.changed else "unchanged").inc()
        if fetched.rewritten:
            logger.warning(
                "The branch was rewritten; its new history is followed.",
                action="fetch",
                repository=repository,
                commit=fetched.commit,
            )

    def _take_stock(self, repository: str, commit: str, previous: str | None) -> tuple[StackId, ...]:
        """Keeps the stacks of `commit` and returns those that it touches.

        After a restart nothing is on the shelf yet. Then only what came since `previous`, the commit in use
        before the fetch, counts as touched: a restart must not re-check the fleet.
        """
        with self._lock:
            shelf = self._shelves[repository]
            if shelf.commit == commit:
                return ()
            before = dict(shelf.subjects)
            first = shelf.commit is None
        if first and previous not in (None, commit):
            before = self._discover(repository, str(previous))
        subjects = self._discover(repository, commit)
        self._register.sync_stacks(
            repository,
            [item.declaration for item in subjects.values()],
            self._clock(),
            gone=_farewells(before, subjects, commit),
        )
        with self._lock:
            self._shelves[repository] = _Shelf(commit=commit, subjects=subjects)
            self._stock += 1
        if first and not before:
            return ()  # new to us: the schedule finds them due
        return tuple(stack for stack, now in subjects.items() if _moved(before.get(stack), now))

    def _discover(
        self, repository: str, commit: str, *, words_of: str | None = None
    ) -> dict[StackId, Subject]:
        """The stacks of a commit, with what the repository's own file says at `words_of`, else there."""
        source, settings = self._sources[repository], self._settings.repositories[repository]
        spoken = self._words(repository, source.read(words_of or commit, REPOSITORY_FILE))
        found: dict[StackId, Subject] = {}
        for module in source.discover(commit, [options.path for options in settings.stacks]):
            options = spoken.options(module)
            reads = (*module.reads, *_var_files(module.path, options.var_files), *_pins(module.path))
            tree = source.tree(commit, reads)
            for workspace in options.workspaces:
                stack = StackId(repository=repository, path=module.path, workspace=workspace)
                state, states_read = spoken.states(stack, module)
                found[stack] = Subject(
                    stack=stack,
                    commit=commit,
                    options=options,
                    reads=reads,
                    tree=tree,
                    submodules=settings.submodules,
                    units=module.units,
                    state=state,
                    states_read=states_read,
                )
        return found

    def _words(self, repository: str, content: bytes | None) -> _Spoken:
        """What the configuration and the repository's own file say of its stacks together.

        It is worked out once for each stack: most commits do not touch that file.
        """
        with self._lock:
            spoken = self._spoken.get(repository)
        if spoken is None or spoken.content != content:
            spoken = _Spoken(
                content=content,
                words=self._repository_file(repository, content),
                stacks=self._settings.repositories[repository].stacks,
                # Where states are kept is not for the repository's own file to say.
                placed=spoken.placed if spoken and len(spoken.placed) < _PLACES_KEPT else {},
            )
            with self._lock:
                self._spoken[repository] = spoken
        return spoken

    def _repository_file(self, repository: str, content: bytes | None) -> RepositoryFile:
        """The repository's own `.driftwatch.yaml`; a refused one is told and has no effect."""
        if content is None:
            return RepositoryFile()
        try:
            return read_repository_file(content, self._settings.repository_may_set)
        except ConfigError as problem:
            logger.warning(
                f"The repository's {REPOSITORY_FILE} is refused and has no effect: {problem.message}",
                action="discover",
                repository=repository,
                problems=list(problem.problems),
            )
            return RepositoryFile()

    def _tell(self, repository: str, commit: str | None, error: ErrorReport | None) -> None:
        """Logs on transitions only: a remote that is away for a day is said once, not every minute."""
        with self._lock:
            before = self._failing.get(repository)
            self._failing[repository] = error.code if error else None
        if error and error.code != before:
            meanwhile = "the last good commit stays in use" if commit else "nothing of it can be checked"
            if error.code == DependencyCycleError.code:
                meanwhile = "what closes it has no effect"
            logger.warning(
                f"{error.message}; {meanwhile}.",
                action="fetch",
                repository=repository,
                error=error.code,
                commit=commit,
            )
        elif before and not error:
            logger.info("The repository can be read again.", action="fetch", repository=repository)

    def _record(self, repository: str, commit: str | None, error: ErrorReport | None) -> None:
        settings = self._settings.repositories[repository]
        self._tell(repository, commit, error)
        try:
            self._register.record_fetch(
                repository,
                url=log.redact(settings.url),
                branch=settings.branch,
                commit=commit,
                error=error,
                at=self._clock(),
            )
        except DriftwatchError as problem:  # what the commit touches must not be lost for a line in a table
            logger.warning(problem.message, action="fetch", repository=repository, error=problem.code)


def _state_of(stack: StackId, module: RootModule, options: StackSettings) -> StateAt | None:
    return state_at(
        module.backend or "local",  # terraform's own, where the code says nothing
        module.backend_config,
        workspace=stack.workspace,
        repository=stack.repository,
        directory=stack.path,
        secretly={key: value.get_secret_value() for key, value in options.backend_config.items()},
    )


def _states_read(stack: StackId, module: RootModule) -> Iterator[StateRead]:
    for read in module.remote_states:
        at = state_read_by(read.state, stack=stack, module=read.module)
        if at is not None:
            yield StateRead(name=read.state.name, at=at)


@lru_cache(maxsize=1 << 14)
def _var_files(directory: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Var files as paths from the repository's root; one that would leave it is the plan's to refuse."""
    return tuple(
        str(path) for name in names if (path := _normal(PurePosixPath(directory) / name)) is not None
    )


@lru_cache(maxsize=1 << 14)
def _pins(directory: str) -> tuple[str, ...]:
    """Where an engine's version may be pinned above a stack's own directory."""
    above = PurePosixPath(directory).parents if directory != "." else ()
    return tuple(str(parent / name) for parent in above for name in PIN_FILES)


def _normal(path: PurePosixPath) -> PurePosixPath | None:
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and not parts:
            return None
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return PurePosixPath(*parts)


def _farewells(
    before: Mapping[StackId, Subject], now: Mapping[StackId, Subject], commit: str
) -> dict[StackId, str]:
    """What people are told of the stacks that a commit has taken out of the code: nothing is destroyed."""
    heirs = {each.state.address: each.stack for each in now.values() if each.state is not None}
    return {stack: _farewell(subject, commit, heirs) for stack, subject in before.items() if stack not in now}


def _farewell(subject: Subject, commit: str, heirs: Mapping[str, StackId]) -> str:
    state = subject.state
    since = f"It is no stack in the code any more since commit {commit[:10]}."
    if state is not None and state.address in heirs:
        return (
            f"{since} {heirs[state.address]} has its state now ({state.words}): what it made goes on as "
            "that stack's."
        )
    where = f"in its state ({state.words})" if state is not None else "in its state, wherever that is kept"
    return (
        f"{since} Nothing was destroyed: what it made is still there, and {where}, and nobody watches it. "
        "Bring the code back to go on with it, or to destroy it."
    )


def _moved(before: Subject | None, now: Subject) -> bool:
    """A commit elsewhere in the repository does not touch a stack."""
    if before is None or before.tree != now.tree:
        return True
    return before.options is not now.options and before.options != now.options
