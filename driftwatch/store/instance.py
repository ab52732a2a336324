"""The instance key: what makes this installation's digests its own."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from driftwatch.errors import StoreCorruptError
from driftwatch.store.files import make_private_directory, translated_files, write_private

if TYPE_CHECKING:
    from pathlib import Path

KEY_FILE = "instance.key"
_KEY_BYTES = 32


def instance_key(state_dir: Path) -> bytes:
    """32 secret bytes, made at the first call and the same ever after, whoever asks first.

    Raises StoreCorruptError where the file holds something else: a new key would make every sensitive value
    look changed. Raises StoreUnavailableError or DiskFullError where it can be neither read nor made.
    """
    path = state_dir / KEY_FILE
    with translated_files(path):
        make_private_directory(state_dir)
        if not path.exists():
            _make(path)
        key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise StoreCorruptError(
            f"{path} holds {len(key)} bytes instead of {_KEY_BYTES}",
            advice="Restore it from a copy. Without one remove it: sensitive values then look changed once.",
        )
    return key


def _make(path: Path) -> None:
    try:
        write_private(path, secrets.token_bytes(_KEY_BYTES))
    except FileExistsError:
        return  # another process was faster, and its key is the one
