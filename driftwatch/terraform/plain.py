"""The plain commands, as a person runs them, in a module that the person has initialised: for measuring.

Nothing is interpreted here and nothing is kept: plan, show, and the document as it came. A check goes through
`Planner`, which trusts none of this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from driftwatch.drift import parse_document
from driftwatch.errors import PlanTooLargeError, UsageError
from driftwatch.terraform import environment as surroundings
from driftwatch.terraform.command import Command, Setting
from driftwatch.terraform.failures import failure, from_json
from driftwatch.terraform.module import LOCK_FILE
from driftwatch.terraform.process import Leash, Whole

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping
    from pathlib import Path

    from driftwatch.terraform.engines import Binary
    from driftwatch.terraform.failures import Diagnostic

_LARGEST_DOCUMENT = 512 << 20
_PARALLELISM = 10
"""Terraform's own default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """One initialised root module and the person's environment; `scratch` is where plan files go."""

    binary: Binary
    directory: Path
    own: Mapping[str, str]
    scratch: Path
    stop: threading.Event

    @property
    def environment(self) -> dict[str, str]:
        return surroundings.for_person(self.own, {})

    @property
    def data(self) -> Path:
        """The data directory; raises UsageError where there is none, or no lock file beside it."""
        data = self.directory / self.environment.get("TF_DATA_DIR", ".terraform")
        if not data.is_dir() or not self.lock_file.exists():
            raise UsageError(
                f"{self.directory} is not initialised",
                advice=f"Run `{self.binary.name} init` there first; only plans are to be measured.",
            )
        return data

    @property
    def lock_file(self) -> Path:
        return self.directory / LOCK_FILE

    def plan(self, reattach: str | None = None) -> Mapping[str, Any]:
        """Plans and returns the document of `show -json`. `reattach` is for TF_REATTACH_PROVIDERS.

        Raises the EngineError that says what went wrong.
        """
        plan_file = self.scratch / "plan"
        plan_file.unlink(missing_ok=True)
        command = self._command(reattach)
        errors: list[Diagnostic] = []

        def hear(line: bytes) -> None:
            if found := from_json(line):
                errors.append(found)

        planned = command.plan(
            each=hear, out=plan_file, var_files=[], parallelism=_PARALLELISM, lock_timeout=None
        )
        if planned.returncode != 0 or errors:
            raise failure(planned, errors, engine=self.binary.name)
        content = Whole(_LARGEST_DOCUMENT)
        shown = command.show(plan_file, content)
        if shown.too_much:
            raise PlanTooLargeError(f"the plan's document is larger than {_LARGEST_DOCUMENT >> 20} MB")
        if shown.returncode != 0:
            raise failure(shown, [], engine=self.binary.name)
        return parse_document(bytes(content.content))

    def _command(self, reattach: str | None) -> Command:
        extra = {} if reattach is None else {"TF_REATTACH_PROVIDERS": reattach}
        return Command(
            self.binary.path,
            Setting(
                directory=self.directory,
                environment={**self.environment, **extra},
                leash=Leash(stop=self.stop, hurry=self.stop),
            ),
        )
