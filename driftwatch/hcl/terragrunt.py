"""Reads what terragrunt's files say of a unit: where its code is, what it includes, what it depends on.

A unit is a directory with a `terragrunt.hcl` that names a source, or includes another file that may, or lies
beside code. Nothing is evaluated but paths, and of these only what is written in literals and the functions
that say where a file lies (`find_in_parent_folders`, `get_terragrunt_dir`, `dirname` and their like). Where a
path is made of anything else, the unit says so of itself: `certain` is false.

It does no I/O: `read(path)` gives a file's content, None where there is none; paths are relative to the
repository's root, with `/` between their parts.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from driftwatch.hcl.reading import FILE_FUNCTIONS, SUFFIXES
from driftwatch.hcl.syntax import (
    BOM,
    bare,
    blocks_of,
    calls_in,
    children_of,
    given_in,
    labels_of,
    parse,
    strings_in,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tree_sitter import Node

UNIT_FILE = "terragrunt.hcl"
STACK_FILE = "terragrunt.stack.hcl"
"""A generator of units, which are nowhere in the repository."""

Read: TypeAlias = Callable[[str], bytes | None]

_READERS = FILE_FUNCTIONS | {
    "read_terragrunt_config",
    "read_tfvars_file",
    "sops_decrypt_file",
    "mark_as_read",
}
_VAR_FILES = ("required_var_files", "optional_var_files")
_VAR_FILE = re.compile(r"--?var-file=(?P<path>.*)", re.DOTALL)
_NAMES_VAR_FILE = re.compile(r'"--?var-file"')
"""One argument, whose value is the next one."""

_TAKES_VALUE = re.compile(r'"--?(?:var|target|replace|parallelism|lock-timeout)"')
_OTHER_FLAG = re.compile(r'"--?(?!var-file[="])[a-z][a-z-]*[="]')
"""An argument as it is written, of which one can tell that it names no file, whatever its value is."""

_VERSION, _BINARY = "terraform_version_constraint", "terraform_binary"
_FILES_KEPT = 4096
_DEEPEST = 12
_MOST_UNITS = 500
"""Of dependencies that are followed; more than that are no unit's."""

_ROOT = "/@"
"""Stands for the repository's root, so that no path that is made of it is mistaken for a relative one."""

_CALL = re.compile(r"(?P<name>\w+)\s*\((?P<arguments>.*)\)", re.DOTALL)
_LOCAL = re.compile(r"local\.(?P<name>[\w-]+)")
_REMOTE = re.compile(r"^(?:[\w+.-]+::|[\w+.-]+://|tfr:|git@|[\w-]+(?:\.[\w-]+)+/)")
"""Sources that are fetched from elsewhere, as go-getter tells them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFile:
    """What one of terragrunt's files says, as it is written: expressions, not values.

    `var_files` are those of its `extra_arguments`, and `arguments` what they may name more of them in.
    """

    sources: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    var_files: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    locals: tuple[tuple[str, str], ...] = ()
    versions: tuple[str, ...] = ()
    binaries: tuple[str, ...] = ()
    broken: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One unit. All paths are relative to the repository's root.

    `code` are the directories of local code that is copied and run, `module` the one of them that is its root
    module, None where that is fetched from elsewhere. `files` are the files that it reads beside its own
    directory, its includes among them. `binary` is the `terraform_binary` that it names. `certain` is whether
    that is all.
    """

    directory: str
    module: str | None
    code: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    binary: str | None = None
    certain: bool = True

    @property
    def reads(self) -> tuple[str, ...]:
        """What its plan depends on, of what the repository holds: everything, where that is not certain."""
        if not self.certain:
            return (self.directory, ".")
        return tuple(dict.fromkeys((self.directory, *self.code, *self.files, *self.dependencies)))


@lru_cache(maxsize=_FILES_KEPT)
def read_unit_file(content: bytes) -> UnitFile:
    """What one file says. Never raises; of a broken one it takes what it can, and says that it is broken."""
    root = parse(content.removeprefix(BOM))
    if root is None:
        return UnitFile(broken=True)
    sources: list[str] = []
    includes: list[str] = []
    dependencies: list[str] = []
    extra: list[tuple[str, bool]] = []
    local: dict[str, str] = {}
    for block in blocks_of(root):
        given = dict(given_in(block))
        match labels_of(block):
            case ["terraform"]:
                sources += [text_of(given["source"]).strip()] if "source" in given else []
                for inner in blocks_of(block):
                    if labels_of(inner)[:1] == ["extra_arguments"]:
                        extra += _extra(inner)
            case ["include", *_] if "path" in given:
                includes.append(text_of(given["path"]).strip())
            case ["dependency", _] if "config_path" in given:
                dependencies.append(text_of(given["config_path"]).strip())
            case ["dependencies"] if "paths" in given:
                dependencies += _items(given["paths"])
            case ["locals"]:
                local |= {name: text_of(value).strip() for name, value in given.items()}
    return UnitFile(
        sources=tuple(sources),
        includes=tuple(includes),
        dependencies=tuple(dependencies),
        files=tuple(dict.fromkeys(_files(root))),
        var_files=tuple(expression for expression, is_path in extra if is_path),
        arguments=tuple(expression for expression, is_path in extra if not is_path),
        locals=tuple(local.items()),
        versions=tuple(strings_in(root, _VERSION)),
        binaries=tuple(strings_in(root, _BINARY)),
        broken=root.has_error,
    )


def _files(root: Node) -> Iterator[str]:
    for name, argument in calls_in(root):
        if name in _READERS:
            yield text_of(argument).strip() if argument is not None else ""


def _extra(block: Node) -> Iterator[tuple[str, bool]]:
    """Of one `extra_arguments`, what names var files: an expression, and whether it is a path as it is."""
    given = dict(given_in(block))
    for name in _VAR_FILES:
        if name in given:
            yield from ((each, True) for each in _items(given[name]))
    before = ""
    for each in _items(given["arguments"]) if "arguments" in given else ():
        if _NAMES_VAR_FILE.fullmatch(before):
            yield each, True
        elif not (
            _TAKES_VALUE.fullmatch(before) or _NAMES_VAR_FILE.fullmatch(each) or _OTHER_FLAG.match(each)
        ):
            yield each, False
        before = each


def _items(node: Node) -> list[str]:
    """The expressions of a list; the whole of it where it is none."""
    node = bare(node)
    if node.type != "tuple":
        return [text_of(node).strip()]
    return [text_of(each).strip() for each in children_of(node, "expression")]


def read_unit(directory: str, read: Read, *, beside: Iterable[str] = ()) -> Unit | None:
    """The unit in a directory; None where there is none.

    `beside` are the names of the files in it. That another one includes its file makes it no unit either,
    which only who has seen all of them can tell.
    """
    content = read(_joined(directory, UNIT_FILE))
    if content is None:
        return None
    said = read_unit_file(content)
    has_code = any(name.endswith(SUFFIXES) for name in beside)
    if not (said.sources or said.includes or has_code):
        return None
    gathered = _Gathered(directory=directory, read=read)
    gathered.take(_joined(directory, UNIT_FILE), said)
    return gathered.unit(has_code=has_code)


def closure(unit: Unit, read: Read) -> tuple[Unit, ...]:
    """The unit, and all that it depends on, straight or not: their outputs are read for its plan."""
    found, ahead = {unit.directory: unit}, list(unit.dependencies)
    while ahead and len(found) < _MOST_UNITS:
        directory = ahead.pop()
        if directory in found:
            continue
        if (one := read_unit(directory, read, beside=("main.tf",))) is not None:
            found[directory] = one
            ahead += one.dependencies
    return tuple(found.values())


@dataclass(slots=True)
class _Gathered:
    """A unit in the making."""

    directory: str
    read: Read
    modules: dict[str, None] = field(default_factory=dict)
    code: dict[str, None] = field(default_factory=dict)
    includes: dict[str, None] = field(default_factory=dict)
    files: dict[str, None] = field(default_factory=dict)
    dependencies: dict[str, None] = field(default_factory=dict)
    versions: dict[str, None] = field(default_factory=dict)
    binaries: dict[str, None] = field(default_factory=dict)
    relative: dict[str, None] = field(default_factory=dict)
    elsewhere: bool = False
    certain: bool = True

    def unit(self, *, has_code: bool) -> Unit:
        here = self.directory if has_code and not (self.modules or self.elsewhere) else None
        self._settle()
        return Unit(
            directory=self.directory,
            module=next(iter(self.modules), here),
            code=tuple(self.code),
            includes=tuple(self.includes),
            files=tuple(self.files),
            dependencies=tuple(each for each in self.dependencies if each != self.directory),
            versions=tuple(self.versions),
            binary=next(iter(self.binaries), None),
            certain=self.certain,
        )

    def take(self, path: str, said: UnitFile, depth: int = 0, *, merged: bool = True) -> None:
        """Adds what the file at `path` says, and what it includes and reads in turn.

        One that is `merged` speaks for the unit, and of its paths as the unit would. One that is only read
        has nothing to say but files, and is where it is.
        """
        self.certain &= not said.broken and depth < _DEEPEST
        here = posixpath.dirname(path)
        place = _Place(
            unit=self.directory if merged else here, file=here, read=self.read, locals=dict(said.locals)
        )
        if merged:
            self.versions |= dict.fromkeys(said.versions)
            self.binaries |= dict.fromkeys(said.binaries)
            for expression in said.sources:
                self._source(place.value(expression), place)
            for expression in said.dependencies:
                if (target := self._certain(place.path(place.value(expression)))) is not None:
                    unit = posixpath.dirname(target) if target.endswith(".hcl") else target
                    self.dependencies[unit] = None
            for expression in said.var_files:
                self._var_file(place.value(expression), place)
            for expression in said.arguments:
                self._argument(place.value(expression), place)
        for expression in said.includes:
            self._follow(place.path(place.value(expression)), depth, included=merged)
        for expression in said.files:
            self._follow(place.path(place.value(expression)), depth, included=False)

    def _source(self, source: str | None, place: _Place) -> None:
        """What a `source` means: a place elsewhere, or a directory here; the part before // is copied."""
        if source is None:
            self.certain = False
            return
        plain = source.partition("?")[0]
        if _REMOTE.match(plain):
            self.elsewhere = True
            return
        base, _, below = plain.partition("//")
        if (where := place.path(base)) is not None:  # from the unit, wherever it is written
            self.code[where] = None
            self.modules.setdefault(_joined(where, below) if below else where)

    def _argument(self, value: str | None, place: _Place) -> None:
        self.certain &= value is not None
        if value is not None and (found := _VAR_FILE.fullmatch(value)):
            self._var_file(found["path"], place)

    def _var_file(self, value: str | None, place: _Place) -> None:
        if value is not None and value and not value.startswith("/"):
            self.relative[value] = None
        elif (path := self._certain(place.path(value))) is not None:
            self.files[path] = None

    def _settle(self) -> None:
        """Relative var files: they start where terraform runs, in the module with the unit laid over it.

        It is a copy, out of which they lead to nothing; without a source it is the unit itself.
        """
        for value in self.relative:
            places = [_joined(each, value) for each in (self.directory, *self.modules)]
            known = [each for each in places if each != ".." and not each.startswith("../")]
            self.files |= dict.fromkeys(known)
            self.certain &= bool(known)

    def _follow(self, path: str | None, depth: int, *, included: bool) -> None:
        if self._certain(path) is None or path in self.files:
            return
        self.files[str(path)] = None
        if included:
            self.includes[str(path)] = None
        if str(path).endswith(".hcl") and depth < _DEEPEST and (content := self.read(str(path))) is not None:
            self.take(str(path), read_unit_file(content), depth + 1, merged=included)

    def _certain(self, path: str | None) -> str | None:
        self.certain &= path is not None
        return path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where an expression stands: in a file, which may be another than the unit's, and its `locals`."""

    unit: str
    file: str
    read: Read
    locals: dict[str, str]

    def path(self, value: str | None) -> str | None:
        """A value as a path from the repository's root; None where it is none, or leads out."""
        if value is None or not value:
            return None
        if not value.startswith(_ROOT):
            if value.startswith("/"):
                return None
            value = f"{_ROOT}/{self.unit}/{value}"
        tidy = posixpath.normpath(value.removeprefix(_ROOT).lstrip("/") or ".")
        return None if tidy == ".." or tidy.startswith("../") else tidy

    def value(self, expression: str, depth: int = 0) -> str | None:
        """What a path expression is; None where that is not known here."""
        text = expression.strip()
        if depth > _DEEPEST:
            return None
        if text.startswith('"') and text.endswith('"') and len(text) > 1:
            return self._template(text[1:-1], depth)
        if found := _LOCAL.fullmatch(text):
            written = self.locals.get(found["name"])
            return self.value(written, depth + 1) if written is not None else None
        if found := _CALL.fullmatch(text):
            return self._call(found["name"], found["arguments"], depth)
        return None

    def _template(self, text: str, depth: int) -> str | None:
        parts = []
        while text:
            literal, opens, rest = text.partition("${")
            if "\\" in literal or "%{" in literal or '"' in literal:
                return None
            parts.append(literal)
            if not opens:
                break
            inner, text = _interpolation(rest)
            known = self.value(inner, depth + 1) if inner is not None else None
            if known is None:
                return None
            parts.append(known)
        return "".join(parts)

    def _call(self, name: str, arguments: str, depth: int) -> str | None:
        given = [self.value(each, depth + 1) for each in _arguments(arguments)]
        known: str | None = None
        match name, given:
            case "get_terragrunt_dir" | "get_original_terragrunt_dir" | "get_working_dir", []:
                known = f"{_ROOT}/{self.unit}"
            case "get_parent_terragrunt_dir", _ if self.file != self.unit:
                known = f"{_ROOT}/{self.file}"
            case "get_repo_root", []:
                known = _ROOT
            case "dirname", [str(path)]:
                known = posixpath.dirname(path)
            case "path_relative_to_include", []:
                known = posixpath.relpath(f"/{self.unit}", f"/{self.file}")
            case "path_relative_from_include", []:
                known = posixpath.relpath(f"/{self.file}", f"/{self.unit}")
            case "find_in_parent_folders", [] | [str()] | [str(), str()]:
                known = self._above(*[each for each in given if each is not None])
        return known

    def _above(self, name: str = UNIT_FILE, otherwise: str | None = None) -> str | None:
        """A file in one of the directories above the unit's, the nearest first."""
        directory = self.unit
        while directory not in ("", "."):
            directory = posixpath.dirname(directory)
            path = _joined(directory or ".", name)
            if self.read(path) is not None:
                return f"{_ROOT}/{path}"
        return otherwise


def _joined(directory: str, name: str) -> str:
    return posixpath.normpath(name if directory in ("", ".") else f"{directory}/{name}")


def _interpolation(text: str) -> tuple[str | None, str]:
    """What stands before the brace that closes `${`, and what comes after it."""
    depth, quoted = 1, False
    for place, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        elif not quoted and character in "{}":
            depth += 1 if character == "{" else -1
            if depth == 0:
                return text[:place], text[place + 1 :]
    return None, ""


def _arguments(text: str) -> list[str]:
    """The arguments of a call, at their commas; those in brackets and quotes are part of one."""
    parts, depth, quoted = [""], 0, False
    for character in text:
        if character == '"':
            quoted = not quoted
        elif not quoted and character in "([{":
            depth += 1
        elif not quoted and character in ")]}":
            depth -= 1
        if character == "," and not quoted and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part for part in parts if part.strip()]
