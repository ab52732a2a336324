"""Which directories of a commit are stacks.

A root module is a directory with a backend, a `cloud` block or a provider block; or one that is *declared*:
named by a glob without wildcards. A directory that another one uses as a module is no stack unless declared,
and what lies in hidden directories (`.terraform`, `.github`) is none, unless declared; in `.terraform` never.

Globs are relative to the repository's root. `*`, `?` and `[…]` stay within one segment; `**` as a whole
segment takes any number of them, none too: `envs/**` matches `envs`; `**` the root as well, written `.`.

Globs of units match units of terragrunt (`driftwatch.git.units`) and nothing else, all others no unit that is
not a root module besides.
"""

from __future__ import annotations

import posixpath
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence  # noqa: TC003  (dataclass fields are read at run time)
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from driftwatch import hcl, log
from driftwatch.config.globs import matches
from driftwatch.errors import RepositoryTooLargeError
from driftwatch.git.listing import LINK, LeavesCheckoutError, Listing, printable
from driftwatch.git.units import units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from driftwatch.git.listing import Entry
    from driftwatch.hcl.terragrunt import Unit

_Content: TypeAlias = "tuple[tuple[str, str], ...]"
"""A directory's configuration files: names with blobs."""

_LARGEST_READ = 8 << 20
"""Bytes. A larger file is data, whatever its name, and says nothing of its directory."""
_LARGEST_ALTOGETHER = 256 << 20
"""Bytes of configuration in one commit, read at once. Large monorepos have a few dozen megabytes."""
_DIRECTORIES_KNOWN = 50_000
"""Whose facts are kept: a few hundred bytes each, and more than the largest monorepos have."""

logger = log.get("git")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadState:
    """A state whose outputs are read, and the directory of the module that reads them."""

    module: str
    state: hcl.RemoteState


@dataclass(frozen=True, slots=True, kw_only=True)
class RootModule:
    """A stack's directory, the glob that matched it first, as given, and the directories that it reads.

    `reads` are the directory itself, the local modules that it uses, straight or through another, and files
    beside these that they read. `backend` and `backend_config` are what the directory says of its state,
    `remote_states` whose outputs it and its modules read, `units` the directories of units whose outputs it
    reads, where it is one.
    """

    path: str
    glob: str
    reads: tuple[str, ...]
    backend: str | None = None
    backend_config: hcl.Given = ()
    remote_states: tuple[ReadState, ...] = ()
    units: tuple[str, ...] = ()


@dataclass(slots=True)
class _Directories:
    """The facts of every directory that holds configuration, and who uses whom."""

    facts: Mapping[str, hcl.ModuleFacts]
    uses: Mapping[str, tuple[str, ...]]
    used: frozenset[str] = field(default=frozenset())

    def is_root(self, path: str) -> bool:
        facts = self.facts[path]
        return bool(facts.backend or facts.cloud or facts.providers) and path not in self.used

    def modules(self, path: str) -> tuple[str, ...]:
        """The directory itself, and those of the local modules that it uses, straight or through another."""
        reached, todo = {path}, [path]
        while todo:
            fresh = set(self.uses.get(todo.pop(), ())) - reached
            reached |= fresh
            todo += fresh
        return (path, *sorted(reached - {path}))

    def root_module(self, path: str, glob: str, listing: Listing) -> RootModule:
        modules, facts = self.modules(path), self.facts[path]
        known = [(module, self.facts[module]) for module in modules if module in self.facts]
        beside = {
            where
            for module, said in known
            for file in said.files
            # Terraform reads a path without `path.module` from the root module's directory.
            for start in {module, path}
            if (where := _resolved(listing, f"{start}/{file}")) is not None
        }
        return RootModule(
            path=path,
            glob=glob,
            reads=(*modules, *sorted(beside.difference(modules))),
            backend=facts.backend,
            backend_config=facts.backend_config,
            remote_states=tuple(
                ReadState(module=module, state=state)
                for module, said in known
                for state in said.remote_states
            ),
        )


class _Known:
    """What directories say, by their content. The same files say the same in every commit and repository."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._facts: dict[_Content, hcl.ModuleFacts] = {}

    def facts(
        self,
        files: Mapping[str, Mapping[str, str]],
        read_blobs: Callable[[Iterable[str]], Mapping[str, bytes]],
    ) -> dict[str, hcl.ModuleFacts]:
        """The facts of directories, each given as its files' names with their blobs.

        Only what was not read before is read and parsed: from one commit to the next that is a few files.
        """
        contents = {path: tuple(names.items()) for path, names in files.items()}
        with self._lock:
            found = {content: self._facts.get(content) for content in contents.values()}
        missing = [content for content, facts in found.items() if facts is None]
        blobs = read_blobs({blob for content in missing for _, blob in content}) if missing else {}
        read = {
            content: hcl.read_module({name: blobs.get(blob, b"") for name, blob in content})
            for content in missing
        }
        with self._lock:
            self._facts |= read
            while len(self._facts) > _DIRECTORIES_KNOWN:
                del self._facts[next(iter(self._facts))]
        known = {**found, **read}
        return {path: facts for path, content in contents.items() if (facts := known[content]) is not None}


_known = _Known()


def discover(
    listing: Listing,
    globs: Sequence[str],
    read_blobs: Callable[[Iterable[str]], Mapping[str, bytes]],
    *,
    unit_globs: Collection[str] = (),
) -> tuple[RootModule, ...]:
    """The root modules that `globs` name, ordered by path. `read_blobs` gives contents by object hash.

    `unit_globs` are those of `globs` that name units of terragrunt.
    """
    directories = _read(listing, read_blobs)
    known = units(listing, read_blobs) if unit_globs else {}
    directories.used |= {unit.module for unit in known.values() if unit.module and unit.module not in known}
    found = []
    for path in sorted({*directories.facts, *known}):
        is_module = path in directories.facts
        glob = _first_match(
            path,
            globs,
            root=is_module and directories.is_root(path),
            module=is_module,
            unit=path in known,
            unit_globs=unit_globs,
        )
        if glob is None or not _is_expressible(path, listing.commit):
            continue
        if glob in unit_globs:
            found.append(_unit_module(known[path], glob, directories, listing))
        else:
            found.append(directories.root_module(path, glob, listing))
    return tuple(found)


def _unit_module(unit: Unit, glob: str, directories: _Directories, listing: Listing) -> RootModule:
    """A unit reads what its code reads, too."""
    module = unit.module if unit.module in directories.facts else None
    code = directories.root_module(module, glob, listing) if module is not None else None
    return RootModule(
        path=unit.directory,
        glob=glob,
        reads=tuple(dict.fromkeys((*unit.reads, *(code.reads if code else ())))),
        remote_states=code.remote_states if code else (),
        units=unit.dependencies,
    )


def _read(listing: Listing, read_blobs: Callable[[Iterable[str]], Mapping[str, bytes]]) -> _Directories:
    files: dict[str, dict[str, str]] = {}
    sizes: dict[str, int] = {}
    for path, entry in _configuration(listing):
        files.setdefault(posixpath.dirname(path) or ".", {})[posixpath.basename(path)] = entry.object
        sizes[entry.object] = entry.size
    if sum(sizes.values()) > _LARGEST_ALTOGETHER:
        raise RepositoryTooLargeError(
            f"commit {listing.commit} has more than {_LARGEST_ALTOGETHER >> 20} MB of configuration files"
        )
    facts = _known.facts(files, read_blobs)
    uses = {path: tuple(_local_modules(listing, path, said)) for path, said in facts.items()}
    used = frozenset(target for path, targets in uses.items() for target in targets if target != path)
    return _Directories(facts=facts, uses=uses, used=used)


def _configuration(listing: Listing) -> Iterator[tuple[str, Entry]]:
    """Every configuration file with the entry that holds its content: a symlink's is where it leads."""
    for path, entry in listing.entries.items():
        if not path.endswith(hcl.SUFFIXES) or not hcl.is_configuration(posixpath.basename(path)):
            continue
        content = listing.find(path) if entry.mode == LINK else entry
        if content is not None and content.is_file and content.size <= _LARGEST_READ:
            yield path, content


def _local_modules(listing: Listing, path: str, facts: hcl.ModuleFacts) -> Iterator[str]:
    for source in facts.module_sources:
        if hcl.is_local(source) and (where := _resolved(listing, f"{path}/{source}")) is not None:
            yield where


def _resolved(listing: Listing, path: str) -> str | None:
    """Where a path leads; None where that is out of the checkout: terraform will say that it is not there."""
    try:
        return listing.resolve(path)
    except LeavesCheckoutError:
        return None


def _first_match(
    path: str, globs: Sequence[str], *, root: bool, module: bool, unit: bool, unit_globs: Collection[str]
) -> str | None:
    """The first glob that takes the directory, for what it is: a module at least, a root module, a unit."""
    hidden = any(part.startswith(".") for part in path.split("/") if path != ".")
    if ".terraform" in path.split("/"):
        return None
    for glob in globs:
        tidy = glob.removeprefix("./").rstrip("/") or "."
        declared = not any(character in tidy for character in "*?[")
        of_module = module if declared else root
        fits = unit if glob in unit_globs else of_module
        if fits and (tidy == path if declared else not hidden and matches(tidy, path)):
            return glob
    return None


def _is_expressible(path: str, commit: str) -> bool:
    """False for a directory whose name is no text: no row, message or page could name such a stack."""
    try:
        path.encode()
    except UnicodeEncodeError:
        logger.warning(
            f"The root module {printable(path)} is passed over: its path is not UTF-8.",
            action="discover",
            commit=commit,
        )
        return False
    return True
