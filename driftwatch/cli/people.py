"""Who says something at a terminal, and what they write of themselves for the record."""

from __future__ import annotations

import getpass

from driftwatch.config.values import plain_text
from driftwatch.errors import UsageError

VIA = "terminal"
"""The way by which somebody decides here; admission gives whoever does the rights of the machine."""


def actor(name: str | None) -> str:
    """Whom the record names: the one of `--as`, else the user. Raises UsageError."""
    if name is not None:
        return said("--as", name)
    try:
        return getpass.getuser()
    except (OSError, KeyError) as exc:
        raise UsageError("nobody knows who you are here", advice="Say it with --as NAME.") from exc


def said(option: str, text: str) -> str:
    """What a person wrote: a line of plain text. Raises UsageError."""
    try:
        return plain_text(text)
    except ValueError as exc:
        raise UsageError(f"{option}: {exc}") from exc


def reason_of(text: str | None) -> str | None:
    """What `--reason` says, where it says anything. Raises UsageError."""
    return None if text is None else said("--reason", text)
