"""Globs over paths: `*` and `?` stay within one segment, `**` takes any number of them, none too.

Compared segment by segment with a table, never as one regular expression: a glob may come from a repository
that nobody trusts, and must not be able to make a match take exponential time.
"""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def matches(glob: str, path: str) -> bool:
    """True where `glob` names `path`; case counts. Both are relative, with `/` between segments.

    `.` is the top, which has no segments: only `.` and `**` name it.
    """
    return _matches(_segments(glob), _segments(path))


def covers(globs: Iterable[str], path: str) -> bool:
    """True where one of `globs` names `path`, or a directory that it lies in: `.` names all of them."""
    named = (path, *map(str, PurePosixPath(path).parents))
    return any(matches(glob, each) for glob in globs for each in named)


def _segments(path: str) -> tuple[str, ...]:
    return () if path == "." else tuple(path.split("/"))


@lru_cache(maxsize=4096)
def _segment(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))


def _matches(globs: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    for glob, part in zip(globs, parts, strict=False):  # most globs differ where they are plain names
        if any(wild in glob for wild in "*?["):
            break
        if glob != part:
            return False
    # reached[i]: the globs read so far can take exactly the first i parts.
    reached = [True] + [False] * len(parts)
    for glob in globs:
        reached = _after_any(reached) if glob == "**" else _after_one(reached, _segment(glob), parts)
        if True not in reached:
            return False
    return reached[-1]


def _after_any(reached: list[bool]) -> list[bool]:
    first = reached.index(True) if True in reached else len(reached)
    return [place >= first for place in range(len(reached))]


def _after_one(reached: list[bool], segment: re.Pattern[str], parts: tuple[str, ...]) -> list[bool]:
    return [
        False,
        *(before and bool(segment.match(part)) for before, part in zip(reached, parts, strict=False)),
    ]
