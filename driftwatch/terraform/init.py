"""`init`, no more often than it is needed, and never two at once into the shared provider cache.

It runs when what it works from has changed since this stack's last one: the lock file, the backend, the
sources of modules, the binary, the CLI configuration. `plan` says of itself when there is more to it (a
provider that the code newly requires); then it runs again.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from driftwatch.errors import ProviderUnavailableError
from driftwatch.log import redact
from driftwatch.terraform.failures import failure
from driftwatch.terraform.module import LOCK_FILE
from driftwatch.terraform.workdir import Workdir, digest_of, held

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from driftwatch.errors import DriftwatchError
    from driftwatch.terraform.command import Command, Finished
    from driftwatch.terraform.engines import Binary
    from driftwatch.terraform.module import Module

_LOCKED_PROVIDER = re.compile(
    r'^provider\s+"(?P<address>[^"\s]+)"\s*\{\s*version\s*=\s*"(?P<version>[^"\s]+)"', re.MULTILINE
)
_BROKEN_COPY = re.compile(
    r"checksums|exec format error|text file busy|unrecognized remote plugin message|fork/exec|shared cache",
    re.IGNORECASE,
)


def locked_providers(lock_file: Path) -> dict[str, str]:
    """The versions that a dependency lock file selects, by source address; {} where there is none."""
    try:
        text = lock_file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return {}
    return {match["address"]: match["version"] for match in _LOCKED_PROVIDER.finditer(text)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderCache:
    """The plugin cache that all stacks of a daemon share (TF_PLUGIN_CACHE_DIR).

    terraform fills it without a lock of its own (hashicorp/terraform #31964), so that whoever lacks a
    provider in it fills it while nobody else does. Who finds all of theirs there waits for nobody.
    """

    directory: Path

    def environment(self, *, locked: bool) -> dict[str, str]:
        """For terraform to use it. `locked`: the code comes with a lock file, whose hashes must stay whole.

        Without one terraform would install into the cache anew, over a provider that somebody runs.
        """
        variables = {"TF_PLUGIN_CACHE_DIR": str(self.directory)}
        if not locked:
            variables["TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE"] = "1"
        return variables

    def has_all(self, providers: Mapping[str, str]) -> bool:
        return bool(providers) and all(
            any((self.directory / address / version).glob("*_*/*")) for address, version in providers.items()
        )

    def evict(self, providers: Mapping[str, str]) -> None:
        """Removes these, whole: a copy that is in use stays until its last user ends."""
        for address, version in providers.items():
            place = self.directory / address / version
            for package in place.iterdir() if place.is_dir() else ():
                if package.is_symlink():
                    package.unlink()
                else:
                    shutil.rmtree(package, ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Initialiser:
    """One stack's `init`. `place` is where terraform works; `cache` is None for a person's plans."""

    command: Command
    binary: Binary
    module: Module
    workdir: Workdir
    place: Path
    cache: ProviderCache | None
    backend_config: Path | None
    backend_values: Mapping[str, str]
    cli_configuration: Path | None
    seconds: float
    stop: threading.Event
    progress: Callable[[str], None] | None

    @property
    def _lock_file(self) -> Path:
        return self.place / LOCK_FILE

    @property
    def _comes_with_lock_file(self) -> bool:
        return self.module.lock_file.exists()

    def digest(self) -> str:
        """Over all that `init` works from; secrets are in it only as part of the hash."""
        parts = [
            digest_of(self.module.lock_file),
            self.module.init_digest,
            dict(self.backend_values),
            str(self.binary),
            digest_of(self.cli_configuration) if self.cli_configuration else None,
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def needed(self) -> bool:
        return not self.workdir.is_initialised(self.digest())

    def run(self) -> None:
        """Initialises, or raises what its failure is; a broken provider in the cache is replaced once."""
        self.workdir.forget()
        try:
            self._run_once()
        except ProviderUnavailableError as problem:
            if not self.discard_broken(problem):
                raise
            self._run_once()
        if not self._comes_with_lock_file and self._lock_file.exists():
            shutil.copyfile(self._lock_file, self.workdir.lock_file)
        self.workdir.remember(self.digest())

    def discard_broken(self, problem: DriftwatchError) -> bool:
        """Throws away what `problem` may come from and is ours to throw away; False where nothing is."""
        said = f"{problem.message}\n{problem.detail or ''}"
        providers = locked_providers(self._lock_file)
        broken = bool(_BROKEN_COPY.search(said)) and bool(providers)
        if self.cache and broken:
            self.cache.evict(
                {name: version for name, version in providers.items() if name in said} or providers
            )
        # A lock file of our own was made by an earlier init; the code may require other versions since.
        outdated = broken or isinstance(problem, ProviderUnavailableError)
        dropped = outdated and not self._comes_with_lock_file and self._lock_file.exists()
        if dropped:
            self._lock_file.unlink()
            self.workdir.lock_file.unlink(missing_ok=True)
        return dropped or (broken and self.cache is not None)

    def _run_once(self) -> None:
        if self.cache is not None and not self.cache.has_all(locked_providers(self._lock_file)):
            self._fill(self.cache)
        self._check(self._init(backend=True))

    def _fill(self, cache: ProviderCache) -> None:
        """Has terraform fill the cache, alone; modules and backend, which may hang, are none of that."""
        give_up = time.monotonic() + self.seconds
        if self.module.remote_sources:
            self._check(self.command.get(self._hear))
        cache.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = cache.directory.parent / "providers.lock"
        with held(lock, self.stop, give_up - time.monotonic(), shared_by="the provider cache"):
            self._check(self._init(backend=False))

    def _init(self, *, backend: bool) -> Finished:
        return self.command.init(
            each=self._hear,
            read_only_lock=self._comes_with_lock_file,
            backend=backend,
            backend_config=self.backend_config,
        )

    def _check(self, finished: Finished) -> None:
        if finished.returncode != 0:
            raise failure(finished, [], engine=self.binary.name)

    def _hear(self, line: bytes) -> None:
        if self.progress is not None:
            self.progress(redact(line.decode(errors="replace")))
