"""Where what an expression says is from: what it refers to, and the files that its functions read.

For whoever must know before anything is run. Nothing is evaluated: a path is known where it is one literal,
at most behind `${path.module}` or `${path.root}`, and a reference is whatever looks like one.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from driftwatch.hcl.reading import FILE_FUNCTIONS
from driftwatch.hcl.structure import Kind, Token, UnreadableError, calls, literal_of, read_template, said

if TYPE_CHECKING:
    from collections.abc import Sequence

HIDDEN = frozenset({".git", ".terraform", "terraform.d"})
"""Directories in which nothing lies that code has a reason to read."""

_PLAIN_PATTERN = re.compile(r"[\w*./ -]+")
_UNLIKELY = re.compile(r"[\x00-\x1f\\]")
_HERE = (("path", ".", "module"), ("path", ".", "root"))


def refers_to(tokens: Sequence[Token]) -> frozenset[tuple[str, ...]]:
    """What an expression takes its value from: all names that stand before a point, with what comes after."""
    line = [each for each in tokens if each.kind is not Kind.END]
    found: set[tuple[str, ...]] = set()
    for at, each in enumerate(line):
        if each.kind is not Kind.NAME or (at and line[at - 1].kind is Kind.SIGN and line[at - 1].text == "."):
            continue
        names = [each.text]
        for dot, name in zip(line[at + 1 : at + 5 : 2], line[at + 2 : at + 6 : 2], strict=False):
            if dot.kind is not Kind.SIGN or dot.text != "." or name.kind is not Kind.NAME:
                break
            names.append(name.text)
        if len(names) > 1:
            found.add(_named(names))
    return frozenset(found)


def _named(names: Sequence[str]) -> tuple[str, ...]:
    match names:
        case ["local" | "var" | "module", _, *_]:
            return tuple(names[:2])
        case ["data", _, _]:
            return tuple(names)
    return ("resource", *names[:2])


def _given(arguments: Sequence[Sequence[Token]]) -> tuple[tuple[str, ...] | None, str] | None:
    """The first argument: what it is relative to, None where that is not said, and the path.

    None where it is computed.
    """
    given = [each for each in arguments[0] if each.kind is not Kind.END] if arguments else []
    if tuple(each.text for each in given) in _HERE and all(each.kind is not Kind.TEXT for each in given):
        return tuple(each.text for each in given), ""
    if (plain := literal_of(given)) is not None:
        return None, plain
    marks, here, rest = given[:2], tuple(each.text for each in given[2:5]), given[5:]
    if [each.text for each in marks] != ['"', "${"] or here not in _HERE or len(rest) < 2:
        return None
    if any(each.kind is Kind.TEXT for each in given[:6]) or rest[0].text != "}":
        return None
    path = literal_of([marks[0], *rest[1:]])
    if path is None or (path and not path.startswith("/")):
        return None
    return here, path.lstrip("/")


def path_of(arguments: Sequence[Sequence[Token]], here: str, root: str) -> str | None:
    """The path from the repository's root that a file function is given; None where it is computed."""
    given = _given(arguments)
    if given is None or given[1].startswith(("/", "~")):
        return None
    base = here if given[0] is not None and given[0][-1] == "module" else root
    return posixpath.normpath(posixpath.join(base, given[1]))


def stays_here(
    name: str, arguments: Sequence[Sequence[Token]], here: str, root: str, *, climbs: bool
) -> bool:
    """Whether what a file function reads lies in the repository, whatever a plan makes of it."""
    given, path = _given(arguments), path_of(arguments, here, root)
    if given is None or path is None or path.startswith(("..", "/")):
        return False
    parts = [part for part in given[1].split("/") if part not in ("", ".")]
    inner = [part for part in parts if part != ".."]
    if parts[len(parts) - len(inner) :] != inner or (len(inner) < len(parts) and not climbs):
        return False
    if any(part.lower() in HIDDEN for part in (*parts, *path.split("/"))) or re.search(
        r"[\x00-\x1f\\]", given[1]
    ):
        return False
    if name == "fileset":
        pattern = literal_of(arguments[1]) if len(arguments) == 2 else None
        return pattern is not None and bool(_PLAIN_PATTERN.fullmatch(pattern)) and ".." not in pattern
    return True


def is_computed(arguments: Sequence[Sequence[Token]]) -> bool:
    """Whether only a plan knows the path, and it is not one that is surely below the module's directory."""
    return _given(arguments) is None


def may_read_files(text: bytes) -> bool:
    """Whether a file, were it a template, would call a function that reads files."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False  # no template is other than UTF-8
    try:
        tokens = read_template(text)
    except UnreadableError:
        return True
    return any(name in FILE_FUNCTIONS or name == "templatestring" for name, _, _ in calls(tokens)) or any(
        each.kind is Kind.SIGN and each.text == "::" for each in tokens
    )


def said_by(arguments: Sequence[Sequence[Token]]) -> tuple[str, ...]:
    """What a function is given, wherever that stands."""
    return tuple(text for each in arguments for text in (*said(each), ","))
