"""Pull requests as Git has them: their head, and what the branch would be with it merged."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A pull request's `head` merged into the branch's head `base`: `commit` is known to this machine alone.

    `changed` are the paths that differ between `base` and `commit`, both names of what was renamed.
    """

    base: str
    head: str
    commit: str
    changed: tuple[str, ...]
