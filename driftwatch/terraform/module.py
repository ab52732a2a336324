"""What a root module's directory holds, read before terraform does: enough to pick an engine and to prepare.

`local_modules` are the directories of the modules that it uses by a relative path, and those that they use in
turn: their files are as much a part of it as its own.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from driftwatch import hcl
from driftwatch.errors import (
    ConfigurationInvalidError,
    InitFailedError,
    LfsNotFetchedError,
    NotARootModuleError,
    UnsafeRepositoryError,
)
from driftwatch.hcl.terragrunt import UNIT_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from driftwatch.terraform.request import Place, PlanRequest

LOCK_FILE = ".terraform.lock.hcl"

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_INSTALLED_MODULES = "modules/modules.json"
"""Below the data directory (`internal/modsdir/manifest.go`)."""

_LARGEST_TEMPLATE = 16 << 20
_NO_TEMPLATES = (".git", ".terraform")

_BACKEND_WORDS = (b"backend", b"cloud")
_LOCAL_STATES = ("terraform.tfstate", "terraform.tfstate.d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One root module, with the local modules that it uses.

    `remote_sources` is whether anything must be downloaded for its modules; `init_digest` changes when its
    backend or its modules' sources do.
    """

    directory: Path
    checkout: Path
    facts: hcl.ModuleFacts
    has_tofu_files: bool
    local_modules: frozenset[Path]
    required_versions: tuple[str, ...]
    remote_sources: bool
    init_digest: str
    var_files: tuple[Path, ...]

    @property
    def lock_file(self) -> Path:
        """Where the dependency lock file would be; it need not be there."""
        return self.directory / LOCK_FILE

    @property
    def is_remote(self) -> bool:
        """Whether its plans run in HCP Terraform, which needs the workspace's name from `init` on."""
        return self.facts.cloud or self.facts.backend == "remote"

    @property
    def stray_state(self) -> tuple[Path, ...]:
        """Local states that lie beside code with a backend elsewhere: `init` would ask to migrate them."""
        if self.facts.backend in (None, "local") and not self.facts.cloud:
            return ()
        return tuple(path for name in _LOCAL_STATES if (path := self.directory / name).exists())

    @property
    def needs_init(self) -> bool:
        """Whether terraform would certainly refuse to plan it before an init."""
        return bool(
            self.facts.backend or self.facts.cloud or self.facts.module_sources or self.lock_file.exists()
        )


def read_module(request: PlanRequest) -> Module:
    """Reads the files of the request's module.

    Raises NotARootModuleError, LfsNotFetchedError, and for `var_files` UnsafeRepositoryError or
    ConfigurationInvalidError.
    """
    directory, checkout = request.module.resolve(), request.checkout.resolve()
    if not directory.is_relative_to(checkout):
        raise UnsafeRepositoryError(f"{request.module} leads out of the repository")
    files = files_in(directory)
    if not files:
        is_unit = (directory / UNIT_FILE).is_file()
        raise NotARootModuleError(
            f"{request.module} holds no Terraform or OpenTofu files",
            advice="It is a unit of terragrunt: watch it under `stacks` with `engine: terragrunt`."
            if is_unit
            else None,
        )
    var_files = tuple(var_file(directory, checkout, name, request) for name in request.var_files)
    _refuse_pointers([*(directory / name for name in files), *_automatic(directory), *var_files], checkout)
    facts = hcl.read_module(files)
    local = dict(_local_modules(directory, facts, None if request.personal else checkout))
    used = [facts, *local.values()]
    return Module(
        directory=directory,
        checkout=checkout,
        facts=facts,
        has_tofu_files=any(name.endswith((".tofu", ".tofu.json")) for name in files),
        local_modules=frozenset(local),
        required_versions=tuple(dict.fromkeys(text for each in used for text in each.required_versions)),
        remote_sources=any(not hcl.is_local(source) for each in used for source in each.module_sources),
        init_digest=_init_digest(files, facts, local, directory),
        var_files=var_files,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a plan is made of. `modules` are directories with their configuration files by name.

    `templates` gives the content of every other file in or below any of them, when it is asked for.
    `leads_out` is whether a module lies where no commit says what is in it.
    """

    modules: Mapping[str, Mapping[str, bytes]]
    templates: Callable[[], Iterator[bytes]]
    leads_out: bool


def sources(place: Place) -> Sources:
    """Reads all modules of a plan at `place`. Raises InitFailedError where `init` left no list of them."""
    directories = {name: place.directory / name for name in _installed(place)}
    return Sources(
        modules={name: files_in(directory) for name, directory in directories.items()},
        templates=lambda: (content for each in directories.values() for content in _contents(each)),
        leads_out=not all(
            each.resolve().is_relative_to(place.root.resolve()) for each in directories.values()
        ),
    )


def _installed(place: Place) -> frozenset[str]:
    """The directories of the modules that `init` installed, relative to where terraform works."""
    try:
        listed = json.loads((place.data / _INSTALLED_MODULES).read_bytes())
        return frozenset({".", *(str(each["Dir"]) for each in listed["Modules"])})
    except FileNotFoundError:
        return frozenset({"."})
    except (ValueError, KeyError, TypeError) as problem:
        raise InitFailedError(f"{_INSTALLED_MODULES} cannot be read: the stack needs a new init") from problem


def _contents(directory: Path) -> Iterator[bytes]:
    """Of all files in and below a directory, hidden ones too, but for code and what `init` has put there."""
    for parent, below, names in os.walk(directory, followlinks=True):
        below[:] = [name for name in below if name not in _NO_TEMPLATES]
        for name in names:
            path = Path(parent, name)
            if hcl.is_configuration(name) or not path.is_file():
                continue
            if path.stat().st_size <= _LARGEST_TEMPLATE:
                yield path.read_bytes()


def files_in(directory: Path) -> dict[str, bytes]:
    """The configuration files of a directory by name; {} where there is none."""
    if not directory.is_dir():
        return {}
    return {
        path.name: path.read_bytes()
        for path in sorted(directory.iterdir())
        if hcl.is_configuration(path.name) and path.is_file()
    }


def _local_modules(
    directory: Path, facts: hcl.ModuleFacts, within: Path | None
) -> Iterator[tuple[Path, hcl.ModuleFacts]]:
    """All modules reached by relative paths, by the path as written and by the real one behind links."""
    seen, ahead = {directory}, [(directory, facts)]
    while ahead:
        base, known = ahead.pop()
        for source in filter(hcl.is_local, known.module_sources):
            written = Path(os.path.normpath(base / source))
            real = written.resolve()
            if written in seen or not real.is_dir() or (within and not real.is_relative_to(within)):
                continue
            found = hcl.read_module(files_in(real))
            seen |= {written, real}
            ahead.append((real, found))
            yield from {written: found, real: found}.items()


def _init_digest(
    files: Mapping[str, bytes], facts: hcl.ModuleFacts, local: Mapping[Path, hcl.ModuleFacts], directory: Path
) -> str:
    """Over what of the files `init` works from: those with a backend in them, and all sources of modules."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        if any(word in content for word in _BACKEND_WORDS):
            digest.update(repr((name, hashlib.sha256(content).hexdigest())).encode())
    for path, each in sorted({directory: facts, **local}.items()):
        digest.update(repr((os.path.relpath(path, directory), each.module_sources)).encode())
    return digest.hexdigest()


def var_file(directory: Path, checkout: Path, name: str, request: PlanRequest) -> Path:
    """Where a var file of the request lies. Raises UnsafeRepositoryError or ConfigurationInvalidError."""
    path = (directory / name).resolve()
    if not (request.personal or path.is_relative_to(checkout)):
        raise UnsafeRepositoryError(
            f"the var file {name} leads out of the repository",
            advice="Name a file in the stack's own repository, relative to the stack's directory.",
        )
    if not path.is_file():
        raise ConfigurationInvalidError(
            f"the var file {name} does not exist",
            advice="Name a file that is there, relative to the stack's directory.",
        )
    return path


def _automatic(directory: Path) -> Iterator[Path]:
    """The variable files that terraform reads without being told to."""
    for path in sorted(directory.iterdir()):
        if hcl.is_read_by_itself(path.name) and path.is_file():
            yield path


def _refuse_pointers(paths: Iterable[Path], checkout: Path) -> None:
    for path in paths:
        with path.open("rb") as file:
            if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
                name = path.relative_to(checkout) if path.is_relative_to(checkout) else path
                raise LfsNotFetchedError(
                    f"{name} is a Git LFS pointer: its content was not fetched",
                    advice="Commit this file itself: driftwatch does not fetch from LFS.",
                )
