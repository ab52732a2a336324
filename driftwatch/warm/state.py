"""Which state a stack has: its lineage and serial, read without terraform where that can be done.

Two states with the same lineage and serial are the same state. Reading it from a file takes milliseconds,
`state pull` a second; S3 is read by `driftwatch.aws`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from driftwatch.errors import StateUnreadableError
from driftwatch.model import DEFAULT_WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOCAL = "local"
_FILE = "terraform.tfstate"
_WORKSPACES = "terraform.tfstate.d"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateIdentity:
    """Names one version of one state. `digest` is of its content, None where only its name is known.

    Lineage and serial name a state as long as everybody goes through terraform; somebody who edits the file
    itself leaves both as they are.
    """

    lineage: str
    serial: int
    digest: str | None = None

    def is_named_as(self, other: StateIdentity) -> bool:
        return (self.lineage, self.serial) == (other.lineage, other.serial)


class StateSource(Protocol):
    """Where a stack's state is."""

    def identity(self) -> StateIdentity | None:
        """Which state is there now; None where there is none yet. Raises StateUnreadableError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What `init` configured. `config` may hold credentials."""

    type: str
    config: Mapping[str, Any] = field(repr=False)


def backend_of(data: Path) -> Backend:
    """The backend that the data directory (`.terraform`) was initialised for; local where it names none.

    Raises StateUnreadableError.
    """
    file = data / _FILE
    try:
        document = json.loads(file.read_bytes())
    except FileNotFoundError:
        return Backend(type=_LOCAL, config={})
    except (OSError, ValueError) as problem:
        raise StateUnreadableError(f"{file} cannot be read: the stack needs a new init") from problem
    found = document.get("backend") if isinstance(document, dict) else None
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        return Backend(type=_LOCAL, config={})
    config = found.get("config")
    return Backend(type=found["type"], config=config if isinstance(config, dict) else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalState:
    """A state in a file."""

    path: Path

    def read(self) -> bytes:
        """What is in it, b"" where it is not there. Raises StateUnreadableError."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as problem:
            raise StateUnreadableError(
                f"the state {self.path} cannot be read: {problem.strerror}"
            ) from problem

    def identity(self) -> StateIdentity | None:
        return identity_of(self.read(), str(self.path))


def local_state(backend: Backend, directory: Path, workspace: str) -> LocalState:
    """Where the local backend keeps a workspace's state (`backend/local/backend.go`).

    `directory` is where terraform works, which relative paths are relative to.
    """
    if workspace == DEFAULT_WORKSPACE:
        return LocalState(path=directory / (backend.config.get("path") or _FILE))
    parent = Path(backend.config.get("workspace_dir") or _WORKSPACES)
    return LocalState(path=directory / parent / workspace / _FILE)


def identity_of(content: bytes, name: str) -> StateIdentity | None:
    """The identity of a state as it is stored, wherever that is; None for an empty one.

    Raises StateUnreadableError.
    """
    if not content.strip():
        return None
    try:
        document = json.loads(content)
        lineage, serial = document["lineage"], document["serial"]
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        raise StateUnreadableError(f"{name} is no state that driftwatch can read") from problem
    if not isinstance(lineage, str) or not isinstance(serial, int) or not lineage:
        raise StateUnreadableError(f"{name} says no lineage and serial of itself")
    return StateIdentity(lineage=lineage, serial=serial, digest=hashlib.sha256(content).hexdigest())
