"""What code has run, or reads, or sends: which items may, what they refer to, and what their functions read.

For whoever must know before anything is run. Nothing is evaluated: a path is known where it is one literal,
at most behind `${path.module}` or `${path.root}`, and a reference is whatever looks like one.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from driftwatch.hcl.items import Item, is_labelled_data, module_of, within
from driftwatch.hcl.reading import FILE_FUNCTIONS
from driftwatch.hcl.structure import (
    Kind,
    Member,
    Token,
    UnreadableError,
    calls,
    literal_of,
    read_template,
    said,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

HIDDEN = frozenset({".git", ".terraform", "terraform.d"})
"""Directories in which nothing lies that code has a reason to read."""

SETTINGS = frozenset({"required_version", "required_providers", "//"})
"""What code says in its `terraform` blocks that is looked at by itself, or does nothing."""

_PLAIN_PROVIDER = frozenset(
    {
        *("alias", "region", "version", "project", "zone", "location", "features", "default_tags"),
        *("ignore_tags", "default_labels", "max_retries", "//"),
    }
)
"""What the block of a provider that is well known may say, and leads nowhere by that."""

_WELL_KNOWN = frozenset({"aws", "google", "google-beta", "azurerm"})

_PLAIN_OF_ANY = frozenset({"alias", "version", "//"})

_RISKY_DATA = re.compile(
    r"^(?:external|terraform_remote_state|archive_file|tls_certificate|dns_|vault_|sops_)"
    r"|http|rest|graphql|curl|shell|command|script|exec|external|invocation|_file\b|_file$|template|tunnel|ssh"
)
"""Data sources that run something, ask an address that the code gives, or read files."""

_RUN_BY_DATA = re.compile(r"external|shell|command|script|exec")

_FILES_OF_PROVIDERS = re.compile(r"(?<!pro)file|path|config|credential|cert|key$|token$|exec")

_UNIT_CALLS_THAT_RUN = frozenset({"run_cmd"})

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
    if any(part.lower() in HIDDEN for part in (*parts, *path.split("/"))) or _UNLIKELY.search(given[1]):
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


# ---- items -----------------------------------------------------------------------------------------------


def is_plain(provider: Member, part: Member) -> bool:
    """Whether a setting neither starts anything, nor signs in, nor leads anywhere else."""
    known = _PLAIN_PROVIDER if provider.words[1:] and provider.words[1] in _WELL_KNOWN else _PLAIN_OF_ANY
    return part.words[0] in known


def is_risky_data(item: Item) -> bool:
    """Whether a data source runs something, asks an address that the code gives, or reads files."""
    if item.kind == "check":
        return any(each.words[0] == "data" and not is_labelled_data(each) for each in item.member.members)
    return item.kind == "data" and bool(_RISKY_DATA.search(item.member.words[1]))


def is_sensitive(item: Item) -> bool:
    """Whether what it is given decides what is started, or where something is sent or read."""
    if item.is_value:
        return False
    if item.is_units:
        return runs(item)
    computes = any(
        name == "templatestring" or (name in FILE_FUNCTIONS and is_computed(arguments))
        for name, _, arguments in calls(item.member.tokens)
    )
    match item.kind:
        case "provider":
            sensitive = any(not is_plain(item.member, each) for each in item.member.members)
        case "terraform":
            sensitive = any(each.words[0] not in SETTINGS for each in item.member.members)
        case "module":
            sensitive = not module_of(item.member)[0]
        case _:
            sensitive = item.kind == "ephemeral" or is_risky_data(item)
    return sensitive or computes


def runs(item: Item) -> bool:
    """Whether something in a file of terragrunt's is a program to be run."""
    hooks = any(each.words[0].endswith("_hook") for each in within(item.member))
    return hooks or any(name in _UNIT_CALLS_THAT_RUN for name, _, _ in calls(item.member.tokens))


def takes_files(item: Item) -> bool:
    """Whether something that it names may be a file of the repository, which is run or heeded."""
    if any(name in FILE_FUNCTIONS for name, _, _ in calls(item.member.tokens)):
        return True
    if item.is_units:
        return runs(item)
    if item.kind == "provider":
        return any(
            _FILES_OF_PROVIDERS.search(each.words[-1] + each.words[0]) and _may_name_a_file(each)
            for each in item.member.members
            if not is_plain(item.member, each)
        )
    return item.kind == "check" or (item.kind == "data" and bool(_RUN_BY_DATA.search(item.member.words[1])))


def _may_name_a_file(part: Member) -> bool:
    literal = literal_of(part.tokens)
    if literal is not None:
        return not literal.startswith(("/", "~"))
    return any(
        each.kind is Kind.TEXT or (each.kind is Kind.NAME and each.text in ("local", "var", "path"))
        for each in part.tokens
    )
