"""Installs the sandbox's provider where terraform finds it with no network: a filesystem mirror.

The provider's binary is a launcher of three lines, the same bytes for the same interpreter, so that the hashes
in lock files stay equal between installs.
"""

from __future__ import annotations

import os
import platform
import shlex
import sys
from typing import TYPE_CHECKING

from driftwatch.sandbox.address import HOST, NAMESPACE, TYPE, VERSION

if TYPE_CHECKING:
    from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def install(directory: Path) -> Path:
    """Writes the mirror into `directory`, again if need be, and returns it. Safe while terraform uses it."""
    machine = platform.machine().lower()
    target = f"{platform.system().lower()}_{_ARCHITECTURES.get(machine, machine)}"
    package = directory / HOST / NAMESPACE / TYPE / VERSION / target
    package.mkdir(parents=True, exist_ok=True)
    binary = package / f"terraform-provider-{TYPE}_v{VERSION}"
    content = launcher()
    if not binary.exists() or binary.read_text(encoding="utf-8") != content:
        draft = package.parent / f".{binary.name}.{os.getpid()}"
        draft.write_text(content, encoding="utf-8")
        draft.chmod(0o755)
        draft.replace(binary)
    return directory


def launcher() -> str:
    """The launcher's text.

    `-I`: terraform runs providers in directories that strangers fill, and with an environment that may name
    anything; neither may decide what is imported. Nothing is looked up on PATH or under HOME.
    """
    return f'#!/bin/sh\n# The driftwatch sandbox provider.\nexec {shlex.quote(sys.executable)} -I -m driftwatch.sandbox.provider "$@"\n'


def cli_config(mirror: Path) -> str:
    """A CLI configuration that knows `mirror` and nothing else: no registry is ever asked."""
    return (
        "disable_checkpoint = true\n"
        "provider_installation {\n"
        f"  filesystem_mirror {{\n    path = {_hcl_string(str(mirror))}\n  }}\n"
        "}\n"
    )


def _hcl_string(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")
