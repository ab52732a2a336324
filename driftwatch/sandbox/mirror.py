"""Installs the sandbox's provider where terraform finds it with no network: a filesystem mirror.

The provider's binary is a launcher of three lines, the same bytes for the same interpreter, so that the
hashes in lock files stay equal between installs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import shlex
import sys
from typing import TYPE_CHECKING

from driftwatch.sandbox.address import ADDRESS, HOST, NAMESPACE, TYPE, VERSION

if TYPE_CHECKING:
    from pathlib import Path

_BINARY = f"terraform-provider-{TYPE}_v{VERSION}"
_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def install(directory: Path) -> Path:
    """Writes the mirror into `directory`, again if need be, and returns it. Safe while terraform uses it."""
    package = directory / HOST / NAMESPACE / TYPE / VERSION / _platform()
    binary = package / _BINARY
    content = _launcher()
    if not binary.exists() or binary.read_text(encoding="utf-8") != content:
        package.mkdir(parents=True, exist_ok=True)
        draft = directory / f".{_BINARY}.{os.getpid()}"
        draft.write_text(content, encoding="utf-8")
        draft.chmod(0o755)
        draft.replace(binary)
    return directory


def cli_config(mirror: Path) -> str:
    """A CLI configuration that knows `mirror` and nothing else: no registry is ever asked.

    Terraform reads it as HCL 1, whose strings are JSON's and know no `$${`.
    """
    return (
        "disable_checkpoint = true\n\n"
        "provider_installation {\n"
        "  filesystem_mirror {\n"
        f"    path = {json.dumps(str(mirror.absolute()), ensure_ascii=False)}\n"
        "  }\n"
        "}\n"
    )


def lock_file() -> str:
    """A `.terraform.lock.hcl` for a root module that uses this provider and no other."""
    return (
        '# This file is maintained automatically by "terraform init".\n'
        "# Manual edits may be lost in future updates.\n\n"
        f'provider "{ADDRESS}" {{\n'
        f'  version     = "{VERSION}"\n'
        f'  constraints = "~> {VERSION.rpartition(".")[0]}"\n'
        "  hashes = [\n"
        f'    "{_package_hash()}",\n'
        "  ]\n"
        "}\n"
    )


def hcl_string(text: str) -> str:
    """`text` as a quoted HCL string without interpolation."""
    return json.dumps(text, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def _launcher() -> str:
    """The launcher's text.

    `-I`: terraform runs providers in directories that strangers fill, and with an environment that may name
    anything; neither may decide what is imported. Nothing is looked up on PATH or under HOME.
    """
    return (
        "#!/bin/sh\n"
        "# The provider of the driftwatch sandbox.\n"
        f'exec {shlex.quote(sys.executable)} -I -m driftwatch.sandbox.provider "$@"\n'
    )


def _package_hash() -> str:
    """The package's `h1:` hash: of the list of its files, as golang.org/x/mod/sumdb/dirhash makes it."""
    content = hashlib.sha256(_launcher().encode()).hexdigest()
    listing = hashlib.sha256(f"{content}  {_BINARY}\n".encode()).digest()
    return f"h1:{base64.b64encode(listing).decode()}"


def _platform() -> str:
    machine = platform.machine().lower()
    return f"{platform.system().lower()}_{_ARCHITECTURES.get(machine, machine)}"
