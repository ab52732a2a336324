"""The outermost things that files of Terraform and terragrunt say: what each is called, and what it is given.

    members (`driftwatch.hcl.structure`) → items: blocks, single locals, single values, what a module is given

For whoever compares two states of a stack's code without running it.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from driftwatch.hcl.reading import VALUES, is_local
from driftwatch.hcl.structure import (
    LABELS,
    Kind,
    Member,
    Token,
    UnreadableError,
    literal_of,
    object_of,
    read_json,
    read_native,
    read_values,
    scan_native,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LOCK_FILE = ".terraform.lock.hcl"
UNIT = ".hcl"
_DEFAULT_HOSTS = ("registry.terraform.io", "registry.opentofu.org")
_DEFAULT_OWNER = "hashicorp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One outermost thing that a file says; of `locals` and files of values, one of their members."""

    file: str
    member: Member
    said: tuple[str, ...]

    @property
    def directory(self) -> str:
        return posixpath.dirname(self.file)

    @property
    def kind(self) -> str:
        return self.member.words[0]

    @property
    def identity(self) -> tuple[str, tuple[str, ...]]:
        """Where two have the same, the one is the other, moved to another file at most."""
        return (self.directory, self.said)

    @property
    def is_value(self) -> bool:
        return self.file.endswith(VALUES)

    @property
    def is_units(self) -> bool:
        return self.file.endswith(UNIT) and not self.file.endswith(LOCK_FILE)


@lru_cache(maxsize=128)
def members_of(name: str, text: bytes, *, surely: bool) -> tuple[Member, ...] | None:
    """What a file says, by two readers where it must be sure; None where it cannot be read."""
    try:
        if name.endswith(VALUES):
            return read_values(text) if name.endswith(".json") else _native(text, surely=surely)
        found = read_json(text) if name.endswith(".json") else _native(text, surely=surely)
    except UnreadableError:
        return None
    is_terraform = not name.endswith(UNIT)
    return None if is_terraform and any(_is_misshapen(each) for each in found) else found


def _native(text: bytes, *, surely: bool) -> tuple[Member, ...]:
    return read_native(text) if surely else scan_native(text)


def _is_misshapen(member: Member) -> bool:
    labels = LABELS.get(member.words[0])
    return not member.is_block or (labels is not None and len(member.words) != labels + 1)


def items(file: str, members: Iterable[Member]) -> Iterator[Item]:
    """What a file says, item by item; what is given to a module stands there by itself too."""
    for member in members:
        match member.words[0]:
            case "locals" if not file.endswith(UNIT):
                yield from (_part("local", file, each) for each in member.members)
                continue
            case "module":
                yield from _arguments(file, member)
            case "inputs" if file.endswith(UNIT):
                yield from (_part("argument", file, each) for each in object_of(member.tokens) or ())
            case "check":
                yield from items(file, (each for each in member.members if is_labelled_data(each)))
        yield Item(file=file, member=member, said=member.texts)


def _part(kind: str, file: str, member: Member, *more: Token) -> Item:
    part = replace(member, words=(kind, *member.words), tokens=(*member.tokens, *more), is_block=False)
    return Item(file=file, member=part, said=part.texts)


def _arguments(file: str, module: Member) -> Iterator[Item]:
    """What a module is given, each with what it is repeated for."""
    repeated = [
        token for each in module.members if each.words in (("for_each",), ("count",)) for token in each.tokens
    ]
    for each in module.members:
        per = any(token.kind is Kind.NAME and token.text in ("each", "count") for token in each.tokens)
        yield _part("argument", file, each, *(repeated if per else ()))


def is_labelled_data(member: Member) -> bool:
    """Whether a block in a `check` is a data source as HCL writes it."""
    return member.is_block and member.words[0] == "data" and len(member.words) == LABELS["data"] + 1


def within(member: Member) -> Iterator[Member]:
    """All attributes and blocks in a block, and in those in it."""
    for each in member.members:
        yield each
        yield from within(each)


def locked_in(text: bytes) -> frozenset[str]:
    """The providers that a lock file names, by their whole source address."""
    members = members_of(LOCK_FILE, text, surely=False) or ()
    return frozenset(each.words[-1] for each in members if each.words[0] == "provider")


def address(source: str) -> str:
    """A provider's source without what goes without saying."""
    parts = source.lower().split("/")
    if len(parts) == 1:
        return f"{_DEFAULT_OWNER}/{source.lower()}"
    return "/".join(parts[1:] if parts[0] in _DEFAULT_HOSTS and len(parts) == 3 else parts)


def required(part: Member) -> Iterator[tuple[str | None, str, Member]]:
    """The providers that are required: their source, None where it is not plain, and what they are called."""
    entries = part.members if part.is_block else object_of(part.tokens)
    if entries is None:
        yield None, "", part
        return
    for each in entries:
        name = each.words[0]
        said_of = object_of(each.tokens)
        if name == "//":
            continue
        if each.is_block or said_of is None:
            yield (None if literal_of(each.tokens) is None else name), name, each
            continue
        sources = [literal_of(one.tokens) for one in said_of if one.words == ("source",)] or [name]
        yield from ((source, name, each) for source in sources)


def module_of(member: Member) -> tuple[str, tuple[str, ...]]:
    """Where a module is from, "" where that is not plain, and in which version."""
    sources = [literal_of(each.tokens) for each in member.members if each.words == ("source",)]
    where = sources[0] or "" if len(sources) == 1 else ""
    if where and is_local(where):
        return where, ()
    versions = [each.texts for each in member.members if each.words == ("version",)]
    return where, tuple(text for each in versions for text in each)


def joined(directory: str, path: str) -> str:
    """Where a relative path leads from a directory."""
    return posixpath.normpath(posixpath.join(directory, path))


def type_of(item: Item) -> str:
    """How the type of a resource begins, which says whose it is; "" for anything else."""
    is_one = item.kind in ("resource", "data", "ephemeral")
    return item.member.words[1].partition("_")[0] if is_one else ""


def defines(item: Item) -> Iterator[tuple[str, ...]]:
    """By which names others refer to it."""
    words = item.member.words
    if item.is_value:
        yield "var", words[0]
    elif item.is_units:
        if words[0] == "argument":
            yield "var", words[1]
        elif words[0] == "inputs" and object_of(item.member.tokens) is None:
            yield "var", "*"
    elif words[0] in ("variable", "argument"):
        yield "var", words[1]
    elif words[0] in ("local", "module"):
        yield words[0], words[1]
    elif words[0] in ("data", "resource"):
        yield (words[0], *words[1:])
