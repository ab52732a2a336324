"""Reads YAML that nobody vouches for: bounded, without surprises, with the line of every key.

PyYAML delivers events only; the tree is put together here, because its own constructors build Python objects
from tags, let a later key silently replace an earlier one, expand aliases without bound, recurse as deep as
the text asks for, and read `off` as false. What is read is YAML 1.2's core: `off`, `no`, dates and numbers
with a leading zero are text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import yaml

from driftwatch.config.problems import KeyPath, Problem, in_order, shortened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from driftwatch.model import JsonValue

DEEPEST = 40
"""Levels of nesting. The configuration has about eight, variables a few more."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's parser where PyYAML was built with it: thirty times as fast. Only its events are used."""

_NOT_TEXT = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DIRECTIVE = re.compile(r"^%(YAML|TAG)\b", re.MULTILINE)
_TAB_INDENT = re.compile(r"[ ]*\t")
_LONGEST_NUMBER = 40

_TEXT_PER_VALUE = 64
"""Characters that weigh as much as one more value: a thousand aliases of one long text are a bomb too."""

_NULL = re.compile(r"|~|null|Null|NULL")
_BOOL = re.compile(r"true|True|TRUE|(false|False|FALSE)")
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")
_DIGIT = re.compile(r"[0-9]")

_STRING_TAGS = ("!", "tag:yaml.org,2002:str")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of a file is read: bytes of it, and values in it once aliases are written out."""

    size: int
    values: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file's content; `lines` has the line of every key and list item."""

    value: JsonValue
    lines: dict[KeyPath, int]
    problems: tuple[Problem, ...] = ()

    def at(self, path: KeyPath) -> JsonValue:
        """The value of a key; None for one that is not there."""
        value = self.value
        for part in path:
            if isinstance(value, dict) and isinstance(part, str):
                value = value.get(part)
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                return None
        return value

    def line(self, path: KeyPath) -> int:
        """The line of a key, or of the closest key above it that is in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class _UnreadableError(Exception):
    """Reading cannot go on."""

    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(sentence)
        self.problem = Problem(line=line, sentence=sentence)


@dataclass(slots=True, eq=False)
class _Node:
    """A value of the file before aliases are written out. `weight` counts its values, `height` its levels."""

    line: int
    kind: Literal["scalar", "list", "mapping"]
    scalar: bool | int | float | str | None = None
    children: list[_Node] = field(default_factory=list)
    weight: int = 1
    height: int = 1
    is_merge: bool = False


def read_document(content: bytes, limits: Limits) -> Document:
    """Never raises for what is in the content: a file that cannot be read has one problem and no value."""
    try:
        return _Writer().document(_Composer(_text(content, limits), limits).root())
    except _UnreadableError as exc:
        return Document(value=None, lines={}, problems=(exc.problem,))


def _text(content: bytes, limits: Limits) -> str:
    if len(content) > limits.size:
        raise _UnreadableError(1, f"is larger than {limits.size // 1024} KiB, which no such file needs")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise _UnreadableError(line, "is not UTF-8 text") from None
    for pattern, sentence in (
        (_NOT_TEXT, "holds a control character"),
        (_DIRECTIVE, "holds a YAML directive"),
    ):
        if found := pattern.search(text):
            raise _UnreadableError(text.count("\n", 0, found.start()) + 1, f"{sentence}, which is refused")
    return text


class _Composer:
    """Puts the parser's events together to a tree, without recursion and within the limits."""

    def __init__(self, text: str, limits: Limits) -> None:
        self._text = text
        self._limits = limits
        self._open: list[_Node] = []
        self._anchors: dict[str, _Node] = {}
        self._count = 0
        self._root: _Node | None = None

    def root(self) -> _Node:
        try:
            for event in yaml.parse(self._text, Loader=_LOADER):
                self._take(event)
        except yaml.YAMLError as exc:
            raise self._not_yaml(exc) from None
        return self._root or _Node(1, "scalar")

    def _take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent) and self._root:
            raise _UnreadableError(line, "holds a second document (`---`); one file is one configuration")
        if isinstance(event, yaml.AliasEvent):
            self._attach(self._aliased(event.anchor or "", line), line)
        elif isinstance(event, yaml.ScalarEvent):
            self._begin(self._scalar(event, line), event.anchor)
            self._end()
        elif isinstance(event, yaml.CollectionStartEvent):
            if event.tag is not None:
                raise _UnreadableError(line, f"has the tag {shortened(event.tag)}; tags are refused")
            kind: Literal["list", "mapping"] = (
                "list" if isinstance(event, yaml.SequenceStartEvent) else "mapping"
            )
            self._begin(_Node(line, kind), event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end()

    def _begin(self, node: _Node, anchor: str | None) -> None:
        self._count += 1
        self._check(self._count, len(self._open), node.line)
        self._open.append(node)
        if anchor is not None:
            self._anchors[anchor] = node

    def _end(self) -> None:
        node = self._open.pop()
        self._attach(node, node.line)

    def _attach(self, node: _Node, line: int) -> None:
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        parent.children.append(node)
        parent.weight += node.weight
        parent.height = max(parent.height, node.height + 1)
        self._check(parent.weight, parent.height + len(self._open), line)

    def _aliased(self, anchor: str, line: int) -> _Node:
        node = self._anchors.get(anchor)
        if node is None or node in self._open:
            what = "unknown" if node is None else "the value that it stands in"
            raise _UnreadableError(line, f"the alias *{shortened(anchor)} names an anchor that is {what}")
        return node

    def _check(self, count: int, depth: int, line: int) -> None:
        if count > self._limits.values:
            raise _UnreadableError(
                line, f"holds more than {self._limits.values} values (aliases written out), which is refused"
            )
        if depth > DEEPEST:
            raise _UnreadableError(line, f"is nested more than {DEEPEST} levels deep, which is refused")

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> _Node:
        if event.tag is not None and event.tag not in _STRING_TAGS:
            raise _UnreadableError(line, f"has the tag {shortened(event.tag)}; tags are refused")
        plain = event.tag is None and event.implicit[0]
        value = _plain_value(event.value) if plain else event.value
        weight = 1 + len(event.value) // _TEXT_PER_VALUE
        return _Node(line, "scalar", value, weight=weight, is_merge=plain and event.value == "<<")

    def _not_yaml(self, exc: yaml.YAMLError) -> _UnreadableError:
        mark = getattr(exc, "problem_mark", None) or getattr(exc, "context_mark", None)
        line = mark.line + 1 if mark else 1
        lines = self._text.splitlines()
        if line <= len(lines) and _TAB_INDENT.match(lines[line - 1]):
            return _UnreadableError(line, "is indented with a tab; YAML wants spaces")
        said = " ".join(
            part for part in (getattr(exc, "problem", None), getattr(exc, "context", None)) if part
        )
        if "nesting depth" in said:  # PyYAML has a limit of its own from 6.0.4 on, met before ours is
            return _UnreadableError(line, f"is nested more than {DEEPEST} levels deep, which is refused")
        return _UnreadableError(line, f"is not YAML: {said or 'it cannot be parsed'}")


def _plain_value(text: str) -> bool | int | float | str | None:
    """The value of an unquoted scalar by YAML 1.2's core schema, but never infinite or not a number."""
    if _NULL.fullmatch(text):
        return None
    if found := _BOOL.fullmatch(text):
        return not found[1]
    if len(text) > _LONGEST_NUMBER or not _DIGIT.search(text):
        return text
    if _INT.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text) and abs(float(text)) < float("inf"):
        return float(text)
    return text


class _Writer:
    """Writes the tree out as plain values, aliases and merge keys too; the composer has bounded its depth."""

    def __init__(self) -> None:
        self._lines: dict[KeyPath, int] = {}
        self._problems: list[Problem] = []

    def document(self, root: _Node) -> Document:
        value = self._value(root, ())
        return Document(value=value, lines=self._lines, problems=in_order(self._problems))

    def _value(self, node: _Node, path: KeyPath) -> JsonValue:
        self._lines.setdefault(path, node.line)
        if node.kind == "list":
            return [self._value(child, (*path, place)) for place, child in enumerate(node.children)]
        if node.kind == "mapping":
            return self._mapping(node, path)
        return node.scalar

    def _mapping(self, node: _Node, path: KeyPath) -> JsonValue:
        entries: dict[str, JsonValue] = {}
        for name, (key, child) in self._entries(node, path).items():
            self._lines[*path, name] = key.line
            entries[name] = self._value(child, (*path, name))
        return entries

    def _entries(self, node: _Node, path: KeyPath) -> dict[str, tuple[_Node, _Node]]:
        own: dict[str, tuple[_Node, _Node]] = {}
        merged: dict[str, tuple[_Node, _Node]] = {}
        merge: _Node | None = None
        for key, child in zip(node.children[::2], node.children[1::2], strict=True):
            if key.is_merge:
                self._refuse_second("<<", key, merge, path)
                merged.update({} if merge else self._merged(child, path))
                merge = merge or key
            elif not isinstance(key.scalar, str) or not key.scalar or key.kind != "scalar":
                self._problem(key, path, "holds a key that is not text; put it in quotes")
            else:
                first = own.setdefault(key.scalar, (key, child))[0]
                self._refuse_second(key.scalar, key, first if first is not key else None, path)
        return {**merged, **own}

    def _refuse_second(self, name: str, key: _Node, first: _Node | None, path: KeyPath) -> None:
        if first:
            self._problem(key, (*path, name), f"is a second time here; the first is in line {first.line}")

    def _merged(self, node: _Node, path: KeyPath) -> dict[str, tuple[_Node, _Node]]:
        entries: dict[str, tuple[_Node, _Node]] = {}
        for source in self._sources(node):
            if source.kind != "mapping":
                self._problem(source, path, "`<<` takes a mapping or a list of mappings")
                continue
            entries = {**self._entries(source, path), **entries}
        return entries

    def _sources(self, node: _Node) -> Iterator[_Node]:
        yield from node.children if node.kind == "list" else (node,)

    def _problem(self, node: _Node, path: KeyPath, sentence: str) -> None:
        self._problems.append(Problem(line=node.line, key=path, sentence=sentence))
