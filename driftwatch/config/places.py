"""Where a configuration file lies, and the paths in it made absolute with that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, ValidationInfo

from driftwatch.config import values


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a configuration file lies, and whose `~` it means."""

    directory: Path
    home: Path | None

    def resolve(self, path: str) -> Path:
        """An absolute path; raises ValueError for a `~` that cannot be expanded."""
        if path == "~" or path.startswith("~/"):
            if self.home is None:
                raise ValueError("starts with `~`, and the environment has no HOME")
            return self.home / path[2:]
        if path.startswith("~"):
            raise ValueError("may start with `~/`, but not with another user's `~name`")
        return self.directory / path


def resolved(value: object, info: ValidationInfo) -> object:
    """A path from where the file lies; raises ValueError for what is none."""
    if not isinstance(value, str | Path):
        return value
    if not str(value) or values.has_invisible(str(value)):
        raise ValueError("must be a path")
    return info.context.resolve(str(value)) if isinstance(info.context, Place) else value


LocalPath = Annotated[Path, BeforeValidator(resolved)]
