"""Which provider binaries a stack's `init` selected, each proved to be what the dependency lock file allows.

terraform checks a package against the lock file before it starts it, but not where it is told to use a
provider that runs already. So that is done here, in the same way: the `h1:` hash over a package's files
(golang.org/x/mod/sumdb/dirhash). It is also what names a binary from then on.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

_LOCKED = re.compile(r'^provider\s+"(?P<address>[^"\s]+)"\s*\{(?P<body>.*?)^\}', re.MULTILINE | re.DOTALL)
_VERSION = re.compile(r'^\s*version\s*=\s*"([^"\s]+)"', re.MULTILINE)
_HASH = re.compile(r'"(h1:[A-Za-z0-9+/=]+)"')
_PREFIX = "terraform-provider-"
_CHUNK = 1 << 20

_Files: TypeAlias = "tuple[tuple[str, int, int, int, int], ...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One provider as it lies on this machine. `digest` is its `h1:` hash."""

    address: str
    version: str
    binary: Path
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a stack's lock file selects. `left_out` are the providers that terraform must start by itself.

    What those read is in no recording, so that with any of them there is none.
    """

    packages: Mapping[str, Package]
    left_out: frozenset[str]

    def without(self, addresses: Collection[str]) -> Selection:
        """The same with these started by terraform: a provider in quarantine."""
        return Selection(
            packages={name: each for name, each in self.packages.items() if name not in addresses},
            left_out=self.left_out | (self.packages.keys() & set(addresses)),
        )


class Packages:
    """Finds packages, and remembers what they hash to as long as no file of theirs changes.

    A big provider has 700 MB: hashing it takes a second. Safe to use from many threads.
    """

    def __init__(self) -> None:
        self._digests: dict[tuple[Path, _Files], str] = {}
        self._lock = threading.Lock()

    def selected(self, data: Path, lock_file: Path) -> Selection:
        """The packages below the data directory `data` (`.terraform`) that `lock_file` allows, by address.

        One that is not there, has no single binary, or has none of the allowed hashes is left out. Without a
        lock file nothing is known, and all (`*`) are.
        """
        try:
            text = lock_file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return Selection(packages={}, left_out=frozenset({"*"}))
        found = {
            match["address"]: self._package(data, match["address"], match["body"])
            for match in _LOCKED.finditer(text)
        }
        return Selection(
            packages={address: package for address, package in found.items() if package is not None},
            left_out=frozenset(address for address, package in found.items() if package is None),
        )

    def digest(self, directory: Path) -> str:
        """The `h1:` hash of the package in `directory`. Raises OSError."""
        files = tuple(_files(directory))
        key = (directory, files)
        with self._lock:
            known = self._digests.get(key)
        if known is None:
            known = _hash(directory, [name for name, *_ in files])
            with self._lock:
                for old in [each for each in self._digests if each[0] == directory]:
                    del self._digests[old]
                self._digests[key] = known
        return known

    def _package(self, data: Path, address: str, body: str) -> Package | None:
        version = _VERSION.search(body)
        if version is None:
            return None
        place = data / "providers" / address / version[1]
        for platform in sorted(place.iterdir()) if place.is_dir() else ():
            directory = platform.resolve()
            binaries = [path for path in sorted(directory.glob(f"{_PREFIX}*")) if os.access(path, os.X_OK)]
            if len(binaries) == 1 and (digest := self._allowed(directory, body)):
                return Package(address=address, version=version[1], binary=binaries[0], digest=digest)
        return None

    def _allowed(self, directory: Path, body: str) -> str | None:
        try:
            digest = self.digest(directory)
        except OSError:
            return None
        return digest if digest in _HASH.findall(body) else None


def _files(directory: Path) -> Iterator[tuple[str, int, int, int, int]]:
    """Each file below `directory`: its name, and what changes when it does."""
    for parent, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118  (os.walk's own kind of path)
            status = os.stat(path)  # noqa: PTH116  (as above)
            relative = os.path.relpath(path, directory)
            yield relative, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _hash(directory: Path, names: list[str]) -> str:
    listing = hashlib.sha256()
    for name in sorted(names):
        content = hashlib.sha256()
        with (directory / name).open("rb") as file:
            while chunk := file.read(_CHUNK):
                content.update(chunk)
        listing.update(f"{content.hexdigest()}  {name}\n".encode())
    return f"h1:{base64.b64encode(listing.digest()).decode()}"
