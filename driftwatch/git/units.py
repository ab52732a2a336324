"""Which directories of a commit are units of terragrunt, and what each reads.

Its place in the flow is in discovery, and only for the globs of stacks whose engine is terragrunt: nothing is
taken for a unit by itself, since a plan of one runs what its files say, hooks included.

A file that another unit includes is a root configuration, not a unit. `terragrunt.stack.hcl` generates units
that are nowhere in the repository: it is told that it is passed over, and never expanded.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from driftwatch import log
from driftwatch.git.listing import LeavesCheckoutError, Listing, printable
from driftwatch.hcl.terragrunt import STACK_FILE, UNIT_FILE, Unit, read_unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from driftwatch.git.listing import Entry

_LARGEST_READ = 1 << 20
_SUFFIX, _LOCK_FILE = ".hcl", ".lock.hcl"

logger = log.get("git")


def units(listing: Listing, read_blobs: Callable[[Iterable[str]], Mapping[str, bytes]]) -> Mapping[str, Unit]:
    """The units of a commit by their directories. `read_blobs` gives contents by object hash."""
    blobs = {
        path: entry.object
        for path, entry in listing.entries.items()
        if path.endswith(_SUFFIX) and not path.endswith(_LOCK_FILE) and _is_read(entry)
    }
    contents = read_blobs(set(blobs.values())) if blobs else {}
    names: dict[str, list[str]] = {}
    for path in listing.entries:
        names.setdefault(posixpath.dirname(path) or ".", []).append(posixpath.basename(path))

    def read(path: str) -> bytes | None:
        """Of a file that is not terragrunt's own only whether it is there matters."""
        try:
            there = listing.resolve(path)
        except LeavesCheckoutError:
            return None
        if there in blobs:
            return contents.get(blobs[there], b"")
        return b"" if (entry := listing.entries.get(there)) is not None and entry.is_file else None

    found = {
        directory: unit
        for directory, beside in names.items()
        if UNIT_FILE in beside and (unit := read_unit(directory, read, beside=beside)) is not None
    }
    included = {posixpath.dirname(path) or "." for unit in found.values() for path in unit.includes}
    _tell_of_stacks(listing, names)
    return {directory: unit for directory, unit in found.items() if directory not in included}


def _is_read(entry: Entry) -> bool:
    return entry.is_file and entry.size <= _LARGEST_READ


def _tell_of_stacks(listing: Listing, names: Mapping[str, list[str]]) -> None:
    for directory, beside in names.items():
        if STACK_FILE in beside:
            logger.warning(
                f"{printable(directory)}/{STACK_FILE} is passed over: the units that it generates are in no"
                " commit. Generate them, and commit what it makes.",
                action="discover",
                commit=listing.commit,
            )
