"""Edits of a repository's files, made in the mirror alone: tried first, offered when they hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """What is wanted: `files` by path from the repository's root, in one commit on top of `onto`.

    Each is the whole new content; None deletes the file.
    """

    onto: str
    files: Mapping[str, bytes | None]
    message: str
