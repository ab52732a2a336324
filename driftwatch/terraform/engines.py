"""Finds terraform and tofu on the machine, asks their versions, and picks the one that a stack asks for.

Whoever asks most closely is heard: the stack's `engine`, then `.opentofu-version` and `.terraform-version`,
then `.tool-versions`, then `required_version`. Programs of version managers are run, their hooks and
downloads are not: what is not installed is a mismatch, told with both versions.

Programs are those on PATH and those that `driftwatch tools install` has put below the state directory, or the
one that `terraform.binary` names. Of several that would do, the newest is taken where anything asks for a
version; where nothing does, the first on PATH, so that an installation for one stack moves no other.
"""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from driftwatch.errors import NoBinaryError, VersionMismatchError
from driftwatch.terraform import embedded
from driftwatch.terraform.installed import installed
from driftwatch.terraform.versions import Constraint, Version, allowed_by_all, example, newest_first

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from driftwatch.terraform.module import Module

NAMES = ("terraform", "tofu")
_TOOLS = {"terraform": "terraform", "opentofu": "tofu", "tofu": "tofu"}
"""Names in .tool-versions (asdf, mise) and the engines they mean."""

_PIN_FILES = ((".opentofu-version", "tofu"), (".terraform-version", "terraform"))
_TOOL_VERSIONS = ".tool-versions"
PIN_FILES = (*(name for name, _ in _PIN_FILES), _TOOL_VERSIONS)
"""Files that say which engine a stack wants, in its directory or any above it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """A program that plans. `name` is terraform or tofu; `source` is how it was found."""

    name: str
    version: str
    path: Path
    source: str

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({self.path})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A version that a file in the repository asks for; `source` is the file, relative to the checkout."""

    engine: str
    version: str
    source: str

    def allows(self, binary: Binary) -> bool:
        return binary.name == self.engine and Constraint.parse(self.version).allows(
            Version.parse(binary.version)
        )

    def __str__(self) -> str:
        return f"{self.source} asks for {self.engine} {self.version}"


class Engines:
    """The binaries of this machine. Versions are asked once per file, and again when it has changed."""

    def __init__(
        self,
        binary: str,
        search_path: str,
        cache: Path,
        ask: Callable[[Path, Path], str | None],
        *,
        tools: Path | None = None,
    ) -> None:
        """`binary` is the setting; `ask(path, directory)` runs `version -json` there, None where it fails.

        `tools` is where versions are installed, if anywhere.
        """
        self._binary = binary
        self._search_path = search_path
        self._cache = cache
        self._ask = ask
        self._tools = tools
        self._known: dict[tuple[Path, int, int], str] = {}
        self._intact: dict[tuple[Path, int, int], bool] = {}
        self._lock = threading.Lock()

    def found(self, directory: Path) -> tuple[Binary, ...]:
        """All of them, the preferred one first; raises NoBinaryError where there is none.

        `directory` is where a version manager's script is asked: its answer depends on that.
        """
        binaries = tuple(self._installed(directory)) or tuple(self._carried(directory))
        if not binaries:
            raise NoBinaryError(self._none())
        return binaries

    def _installed(self, directory: Path) -> Iterator[Binary]:
        for path, source in self._paths():
            if version := self._version(path, directory):
                yield Binary(name=_engine_of(path), version=version, path=path, source=source)
        if self._binary == "auto" and self._tools is not None:
            yield from self._verified(self._tools)

    def _verified(self, tools: Path) -> Iterator[Binary]:
        """What was installed and is still what was verified then: else it is not even asked its version."""
        for each in installed(tools):
            try:
                status = each.program.stat()
            except FileNotFoundError:
                continue
            key = (each.program, status.st_mtime_ns, status.st_size)
            with self._lock:
                if key not in self._intact:
                    self._intact[key] = each.is_intact()
                intact = self._intact[key]
            if intact:
                yield Binary(
                    name=each.receipt.engine,
                    version=each.receipt.version,
                    path=each.program,
                    source="tools",
                )

    def _carried(self, directory: Path) -> Iterator[Binary]:
        """The one in the `embedded` extra; never instead of one that the settings name."""
        path = embedded.shim(self._cache) if self._binary == "auto" else None
        if path is not None and (version := self._version(path, directory)):
            yield Binary(name="terraform", version=version, path=path, source="embedded")

    def _paths(self) -> Iterator[tuple[Path, str]]:
        if self._binary != "auto":
            named = shutil.which(self._binary, path=self._search_path)
            if named:
                yield Path(named), "terraform.binary"
            return
        seen = set()
        for name in NAMES:
            for directory in self._search_path.split(os.pathsep):
                path = Path(directory) / name
                if directory and path.is_file() and os.access(path, os.X_OK) and path.resolve() not in seen:
                    seen.add(path.resolve())
                    yield path, "PATH"

    def _version(self, path: Path, directory: Path) -> str | None:
        if _is_script(path) and not embedded.is_shim(path):
            return self._ask(path, directory)
        status = path.stat()
        key = (path, status.st_mtime_ns, status.st_size)
        with self._lock:
            if key not in self._known:
                version = self._ask(path, directory)
                if version is None:
                    return None
                self._known[key] = version
            return self._known[key]

    def _none(self) -> str:
        if self._binary != "auto":
            return f"`terraform.binary` names {self._binary}, and no such program works here"
        return "neither terraform nor tofu is on PATH"


def _engine_of(path: Path) -> str:
    """By the name of the program that a link leads to: `terraform` is often a link to tofu."""
    return "tofu" if "tofu" in path.resolve().name or "tofu" in path.name else "terraform"


def _is_script(path: Path) -> bool:
    try:
        with path.open("rb") as program:
            return program.read(2) == b"#!"
    except PermissionError:
        return False  # it may be run and not read, as no script can


def choose(found: Sequence[Binary], engine: str, module: Module) -> Binary:
    """The binary for a stack with this `engine` setting; raises VersionMismatchError or NoBinaryError."""
    candidates = [binary for binary in found if engine in ("auto", binary.name)]
    if not candidates:
        raise NoBinaryError(f"the stack's engine is {engine}; found only {_listed(found)}")
    if pin := _pin(module, engine):
        return _newest(
            [binary for binary in candidates if pin.allows(binary)],
            f"{pin}; found {_listed(candidates)}",
            f"tools install {pin.version}{_option(pin.engine)}",
        )
    if engine == "auto" and module.has_tofu_files:
        candidates.sort(key=lambda binary: binary.name != "tofu")
    wanted = " and ".join(f'"{text}"' for text in module.required_versions)
    fitting = [binary for binary in candidates if allowed_by_all(binary.version, module.required_versions)]
    if not module.required_versions:
        return fitting[0]
    named = example(module.required_versions) or "VERSION"
    return _newest(
        fitting,
        f"the code's required_version is {wanted}; found {_listed(candidates)}",
        f"tools install {named}{_option(candidates[0].name)}",
    )


def _newest(fitting: Sequence[Binary], otherwise: str, command: str) -> Binary:
    """The newest of the first one's kind; of two that are the same version, the first."""
    if fitting:
        kind = fitting[0].name
        return min(
            (binary for binary in fitting if binary.name == kind),
            key=lambda binary: newest_first(binary.version),
        )
    raise VersionMismatchError(
        otherwise,
        advice=f"Install it: `driftwatch {command}` (counts where `terraform.binary` is auto); or put it on"
        " PATH, or ask for one that is there.",
    )


def _option(engine: str) -> str:
    return "" if engine == "terraform" else f" --engine {engine}"


def _listed(binaries: Iterable[Binary]) -> str:
    return ", ".join(map(str, binaries))


def _pin(module: Module, engine: str) -> Pin | None:
    pins = [pin for pin in _pins(module) if engine in ("auto", pin.engine)]
    return pins[0] if pins else None


def _pins(module: Module) -> Iterator[Pin]:
    for name, engine in _PIN_FILES:
        for path, words in _lines_upwards(module, name):
            if words and (pin := _exact(engine, words[0], path)):
                yield pin
    for path, words in _lines_upwards(module, _TOOL_VERSIONS):
        tool, *versions = words or [""]
        if tool in _TOOLS and versions and (pin := _exact(_TOOLS[tool], versions[0], path)):
            yield pin


def _lines_upwards(module: Module, name: str) -> Iterator[tuple[str, list[str]]]:
    """The words of each line of the files of this name, from the module's directory up to the checkout's."""
    for directory in (module.directory, *module.directory.parents):
        path = directory / name
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            for line in text.splitlines():
                yield str(path.relative_to(module.checkout)), line.partition("#")[0].split()
        if directory == module.checkout:
            return


def _exact(engine: str, text: str, source: str) -> Pin | None:
    """A pin where `text` is a version; `latest`, `min-required` and the like ask for nothing certain."""
    try:
        Version.parse(text)
    except ValueError:
        return None
    return Pin(engine=engine, version=text.removeprefix("v"), source=source)
