"""Providers that are out of warm service, because a replay or a warm plan of theirs was found to be wrong.

One is out until the next release of either: of the provider, which is another package then, or of driftwatch.
Kept in a file, since a restart mends neither.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from driftwatch import __version__, log

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from driftwatch.warm.packages import Package, Selection

logger = log.get("warm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One provider that is out. `package` is its `h1:` hash, `driftwatch` the version that put it there."""

    address: str
    version: str
    package: str
    reason: str
    driftwatch: str


class Quarantine:
    """Thread-safe. Without a file it is forgotten at the end."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._entries = {each.package: each for each in _read(file)} if file else {}

    def add(self, packages: Iterable[Package], reason: str) -> tuple[Entry, ...]:
        """Takes these out and returns those that were in."""
        with self._lock:
            added = tuple(
                Entry(
                    address=each.address,
                    version=each.version,
                    package=each.digest,
                    reason=reason,
                    driftwatch=__version__,
                )
                for each in packages
                if each.digest not in self._entries
            )
            self._entries |= {each.package: each for each in added}
            if added and self._file:
                _write(self._file, tuple(self._entries.values()))
        return added

    def entries(self) -> tuple[Entry, ...]:
        with self._lock:
            return tuple(self._entries.values())

    def affected(self, selection: Selection) -> frozenset[str]:
        """The addresses in `selection` of providers that are out."""
        with self._lock:
            return frozenset(
                address for address, each in selection.packages.items() if each.digest in self._entries
            )


def _read(file: Path) -> tuple[Entry, ...]:
    """What an earlier run of this very version wrote; a file that cannot be read says nothing."""
    try:
        entries = [Entry(**each) for each in json.loads(file.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError) as problem:
        logger.warning(
            f"The list of providers out of warm service cannot be read: {problem}.", action="quarantine"
        )
        return ()
    return tuple(each for each in entries if each.driftwatch == __version__)


def _write(file: Path, entries: tuple[Entry, ...]) -> None:
    draft = file.with_suffix(".draft")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(draft, "w", encoding="utf-8", opener=_private) as written:
            json.dump([asdict(each) for each in entries], written)
        draft.replace(file)
    except OSError as problem:
        logger.warning(
            f"The list of providers out of warm service cannot be kept: {problem.strerror}.",
            action="quarantine",
        )


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
