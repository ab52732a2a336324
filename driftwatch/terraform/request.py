"""What goes into a plan and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003  (a dataclass field)
from typing import Any, Literal, TypeAlias

from driftwatch.model import DEFAULT_WORKSPACE, Engine, JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """One root module in one workspace, to be planned.

    `module` lies in `checkout` (or is it); neither is written to. `workdir` is this stack's alone and is kept
    between plans; no other stack's may lie inside it. Paths in `var_files` are relative to the module.

    `personal` is a person at a terminal (`check DIR`): their environment and CLI configuration hold, as with
    terraform itself. Otherwise nothing is inherited but what the settings name, and `environment`,
    `backend_config` and `variables` are all that the plan gets.
    """

    module: Path
    checkout: Path
    workdir: Path
    workspace: str = DEFAULT_WORKSPACE
    engine: Literal["auto", "terraform", "tofu", "terragrunt"] = "auto"
    var_files: tuple[str, ...] = ()
    variables: Mapping[str, JsonValue] = field(default_factory=dict)
    backend_config: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    personal: bool = False
    generates: bool = False
    """Whether terraform writes configuration for `import` blocks whose resource has none: see `Planned`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a stack's terraform works, once it is initialised there, and with what.

    `directory` is its working directory, somewhere below `root`, and `data` its data directory. `environment`
    is what its providers get, without what is only one run's. `engine` is a digest over the programs that
    there are to choose from and names the last `init`; `binary` is the one that was chosen, None before a
    plan has done so.
    """

    directory: Path
    root: Path
    data: Path
    lock_file: Path
    environment: Mapping[str, str] = field(repr=False)
    workspace: str
    engine: str
    binary: Path | None = None


Attach: TypeAlias = Callable[[Place], AbstractContextManager[Mapping[str, str]]]
"""Runs the providers of one plan, for as long as it takes; gives the variables that tell terraform so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A complete plan: `document` is what `show -json` says of it, secrets and all.

    `lock_file` is the SHA-256 of the dependency lock file in force, None where there is none. `state_lineage`
    and `state_serial` are those of the state that was planned against, None where there is no state yet.
    `place` is where it was planned. `generated` is the configuration that was written for imports, if any was
    asked for.
    """

    document: Mapping[str, Any]
    engine: Engine
    lock_file: str | None
    state_lineage: str | None
    state_serial: int | None
    place: Place | None = None
    generated: bytes | None = field(default=None, repr=False)
