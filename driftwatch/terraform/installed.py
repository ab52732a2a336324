"""The versions that a person had driftwatch install: where they lie, and whether they are what they were.

    tools/<terraform | tofu>/<version>/  the program of that name, and receipt.json, which says what it is

A directory without a receipt, or with a program that is not the one of the receipt, is passed over: nothing
runs that was not verified. Written by `driftwatch.terraform.releases`, read by the choice of an engine.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENGINES = ("terraform", "tofu")
RECEIPT = "receipt.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What was installed, and on whose word.

    `archive_sha256` is of the archive, which `verified` vouches for; `program_sha256` of what lay in it.
    """

    engine: str
    version: str
    archive: str
    url: str
    archive_sha256: str
    program_sha256: str
    verified: str
    installed_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """One installed version. `program` may be gone or changed since: see `is_intact`."""

    program: Path
    receipt: Receipt

    def is_intact(self) -> bool:
        """Whether the program is still the one that was installed. Reads all of it, some 100 MB."""
        try:
            return digest(self.program) == self.receipt.program_sha256
        except OSError:
            return False


def tools_in(state_dir: Path) -> Path:
    """Where tools are installed, below the state directory."""
    return state_dir / "tools"


def installed(tools: Path) -> Iterator[Installed]:
    """All that are installed in `tools`, which need not be there."""
    for engine in ENGINES:
        for place in sorted((tools / engine).glob("[0-9]*")):
            receipt, program = _receipt(place / RECEIPT), place / engine
            if receipt and program.is_file() and (receipt.engine, receipt.version) == (engine, place.name):
                yield Installed(program=program, receipt=receipt)


def _receipt(path: Path) -> Receipt | None:
    try:
        document = json.loads(path.read_bytes())
        return Receipt(**{name: str(document[name]) for name in Receipt.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_receipt(receipt: Receipt, directory: Path) -> None:
    """Puts a receipt beside the program that it is of."""
    path = directory / RECEIPT
    path.write_text(json.dumps(asdict(receipt), indent=2) + "\n", encoding="utf-8")
    path.chmod(0o644)


def digest(path: Path) -> str:
    """The SHA-256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
