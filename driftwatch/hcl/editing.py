"""Edits HCL in place, by byte ranges: comments, order and formatting stay what they were, byte for byte.

    a body → the attribute or block at a path → what differs there → splices → parsed once more

Only literals are written over. What a value is computed from, a reader of one file cannot know: then nothing
is edited, and the refusal says where and why. A value that is just a variable is neither: it is written
somewhere else, and the answer says which variable (`Through`).

Everything here is a function of bytes. Values are as in a plan's document; `now` is what the code comes to,
`wanted` what it is to come to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, TypeAlias

from driftwatch.hcl.literals import (
    UNLIKE,
    as_blocks,
    as_dict,
    attributes_of,
    blocks_named,
    body_of,
    canonical,
    comment_in,
    elements_of,
    fits,
    in_order_of,
    is_all_of,
    is_native,
    key_of,
    line_of,
    literal,
    name_of,
    paired,
    references,
    same,
    take,
    value_of,
    why_foreign,
)
from driftwatch.hcl.syntax import BOM, bare, blocks_of, children_of, labels_of, parse, text_of
from driftwatch.hcl.writing import as_heredoc, block_lines, removed_block, rendered, written_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tree_sitter import Node

    from driftwatch.model import JsonValue

DIGESTS = ("sensitive:hmac-sha256:", "digest:hmac-sha256:")
"""How a digest begins that stands for a value: a secret, or a large one (`driftwatch.drift.redaction`)."""

_LONGEST_SHOWN = 80
_BRACKETS = 2
"""Nodes that an empty object or list has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why something is not edited: a word for machines, a sentence, the place, and the value it wanted there.

    `file` and `line` are empty and 0 where there is no place to name. `path` points into the resource.
    """

    reason: str
    sentence: str
    file: str = ""
    line: int = 0
    path: str = ""
    wanted: JsonValue = None

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """A file's new content, and the line where it begins to differ."""

    file: str
    content: bytes
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Through:
    """The value is that of a variable: at `path` below it, what is `now` is to become `wanted`."""

    variable: str
    path: tuple[str, ...]
    now: JsonValue
    wanted: JsonValue
    file: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a value is set: at `path` in the block with these labels, or in the file itself without any.

    `("resource", "aws_instance", "web")`, `("module", "network")`, `("variable", "size")`.
    """

    labels: tuple[str, ...]
    path: tuple[str, ...]


Answer: TypeAlias = "Edited | Through | Refusal"


def steps(pointer: str) -> tuple[str, ...]:
    """The steps of an RFC 6901 pointer."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def set_value(files: Mapping[str, bytes], target: Target, *, now: JsonValue, wanted: JsonValue) -> Answer:
    """Sets one value in the files of one directory, given by name; null removes the attribute.

    Never raises for what a file may hold.
    """
    try:
        _expect_no_secret(wanted, now)
        found = _find(files, target.labels)
        edit = _Edit(found)
        edit.at(found.body_of, target.path, now, wanted)
        return _spliced(found, edit)
    except _Stop as stop:
        return replace(stop.refusal, wanted=wanted)
    except _Passed as passed:
        return passed.through


def forget(files: Mapping[str, bytes], kind: str, name: str) -> Edited | Refusal:
    """Puts a `removed` block in a resource's place: the state then forgets it, and nothing is destroyed."""
    try:
        found = _find(files, ("resource", kind, name))
        _expect_one(found)
        _expect_unused(files, (kind, name), but=found)
        edit = _Edit(found)
        assert found.block is not None  # noqa: S101  (labels were given)
        edit.splice(found.block.start_byte, found.block.end_byte, removed_block(kind, name, found.newline))
        return _spliced(found, edit, whole=True)
    except _Stop as stop:
        return stop.refusal


def repeated(files: Mapping[str, bytes], labels: tuple[str, ...]) -> Refusal | None:
    """Why a block is no single one: there is none, several, one that cannot be read, or a count."""
    try:
        _expect_one(_find(files, labels))
    except _Stop as stop:
        return stop.refusal
    return None


def uses_of(files: Mapping[str, bytes], *names: str) -> int:
    """How often a reference such as `var.size` stands in the files, wherever it is.

    In JSON, whatever looks like it counts.
    """
    text = ".".join(names).encode()
    native = sum(1 for file in files if is_native(file) for _ in references(files[file], names))
    return native + sum(files[file].count(text) for file in files if not is_native(file))


def sets(files: Mapping[str, bytes], labels: tuple[str, ...], name: str) -> bool:
    """Whether a block, or the file itself, has an attribute of that name."""
    try:
        found = _find(files, labels)
    except _Stop:
        return False
    return any(name_of(each) == name for each in attributes_of(found.body_of))


def text_at(files: Mapping[str, bytes], labels: tuple[str, ...], name: str) -> str | None:
    """An attribute's value where that is a plain string."""
    try:
        found = _find(files, labels)
    except _Stop:
        return None
    values = [literal(value_of(each)) for each in attributes_of(found.body_of) if name_of(each) == name]
    return values[0] if len(values) == 1 and isinstance(values[0], str) else None


def module_sources(files: Mapping[str, bytes]) -> list[str]:
    """The sources of all `module` blocks, as often as they stand there, where they are plain strings."""
    found = []
    for file in sorted(files):
        root = parse(files[file].removeprefix(BOM)) if is_native(file) else None
        for block in blocks_of(root) if root is not None else ():
            if labels_of(block)[:1] == ["module"]:
                values = [
                    literal(value_of(each)) for each in attributes_of(block) if name_of(each) == "source"
                ]
                found += [each for each in values if isinstance(each, str)]
    return found


def shown(value: JsonValue) -> str:
    """A value as it would be written, cut short where it is long."""
    text = " ".join(rendered(value, "", "\n").split())
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"


# ---- finding a place -----------------------------------------------------------------------------------


class _Stop(Exception):  # noqa: N818  (it is an answer on its way)
    def __init__(self, reason: str, sentence: str, *, file: str = "", line: int = 0) -> None:
        super().__init__(sentence)
        self.refusal = Refusal(reason=reason, sentence=sentence, file=file, line=line)


class _Passed(Exception):  # noqa: N818  (so is this)
    def __init__(self, through: Through) -> None:
        super().__init__(through.variable)
        self.through = through


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A block, or a whole file where `block` is None. Ranges are those of `text`, which has no BOM."""

    file: str
    text: bytes
    bom: bytes
    root: Node
    block: Node | None

    @property
    def newline(self) -> str:
        return "\r\n" if b"\r\n" in self.text else "\n"

    @property
    def body_of(self) -> Node:
        return self.block if self.block is not None else self.root


def _find(files: Mapping[str, bytes], labels: tuple[str, ...]) -> _Found:
    """The one block with these labels, or the only file. Raises _Stop."""
    found, broken, foreign = [], [], []
    for file in sorted(files):
        bom, text = (BOM, files[file][3:]) if files[file].startswith(BOM) else (b"", files[file])
        if not is_native(file):
            foreign += [file] if _may_say(text, labels) else []
            continue
        root = parse(text)
        if root is None or root.has_error:
            broken.append(file)
            continue
        if not labels:
            found.append(_Found(file=file, text=text, bom=bom, root=root, block=None))
        found += [
            _Found(file=file, text=text, bom=bom, root=root, block=block)
            for block in blocks_of(root)
            if tuple(labels_of(block)) == labels
        ]
    what = " ".join(labels)
    if broken:
        raise _Stop("unparsable", f"{broken[0]} cannot be parsed", file=broken[0], line=1)
    if len(found) == 1 and not foreign:
        return found[0]
    if len(found) > 1:
        raise _Stop(
            "set_twice",
            f"{what} stands in {found[0].file} and again in {found[1].file}",
            file=found[1].file,
            line=line_of(found[1].block),
        )
    if foreign:
        raise _Stop("json", f"{foreign[0]} is JSON, which is not edited", file=foreign[0], line=1)
    raise _Stop("not_found", f"there is no block {what} in the code")


def _may_say(text: bytes, labels: tuple[str, ...]) -> bool:
    return not labels or all(f'"{label}"'.encode() in text for label in labels)


def _expect_one(found: _Found) -> None:
    for attribute in attributes_of(found.body_of):
        if (name := name_of(attribute)) in ("count", "for_each"):
            raise _Stop(
                "repeated",
                f"it is one of several that one block makes by {name}, and an edit would change them all",
                file=found.file,
                line=line_of(attribute),
            )


def _expect_no_secret(*values: JsonValue) -> None:
    if any(map(_is_secret, values)):
        raise _Stop("sensitive", "only a digest of it is known, as it is sensitive or very large")


def _expect_unused(files: Mapping[str, bytes], names: tuple[str, str], *, but: _Found) -> None:
    """What is referred to elsewhere cannot go."""
    if used := _use(files, names, but=but):
        file, line = used
        raise _Stop("referenced", f"{'.'.join(names)} is used at {file}:{line}", file=file, line=line)


def _use(files: Mapping[str, bytes], names: tuple[str, str], *, but: _Found) -> tuple[str, int] | None:
    """Where else something is referred to: file and line."""
    inside = (line_of(but.block), but.block.end_point[0] + 1) if but.block is not None else (0, 0)
    for file in sorted(files):
        if not is_native(file):
            if ".".join(names).encode() in files[file]:
                return file, 1
            continue
        for line in references(files[file], names):
            if file != but.file or not inside[0] <= line <= inside[1]:
                return file, line
    return None


# ---- splicing ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Edit:
    """Splices in the making, by byte range."""

    found: _Found
    splices: list[tuple[int, int, bytes]] = field(default_factory=list)

    def splice(self, start: int, end: int, text: str) -> None:
        self.splices.append((start, end, text.encode()))

    def refuse(self, reason: str, sentence: str, node: Node) -> _Stop:
        return _Stop(reason, sentence, file=self.found.file, line=line_of(node))

    # ---- bodies --------------------------------------------------------------------------------------

    def at(
        self, block: Node, path: tuple[str, ...], now: JsonValue, wanted: JsonValue, *, lenient: bool = False
    ) -> None:
        """Has the value at a path of a body become another. `lenient`: what is not there may stay away."""
        name, rest = path[0], path[1:]
        attributes = [each for each in attributes_of(block) if name_of(each) == name]
        blocks = blocks_named(block, name)
        dynamic = [each for each in blocks_named(block, "dynamic") if labels_of(each)[1:2] == [name]]
        if dynamic:
            raise self.refuse("dynamic_block", f"{name} is made by a dynamic block", dynamic[0])
        if len(attributes) > 1 or (attributes and blocks):
            raise self.refuse("set_twice", f"{name} is set in two places", (attributes + blocks)[-1])
        if attributes:
            self._attribute(attributes[0], rest, now, wanted)
        elif blocks:
            self._nested(block, blocks, rest, now, wanted)
        else:
            self._absent(block, path, wanted, lenient=lenient)

    def _attribute(self, attribute: Node, rest: tuple[str, ...], now: JsonValue, wanted: JsonValue) -> None:
        value = value_of(attribute)
        if rest or wanted is not None:
            self._expression(value, rest, now, wanted)
        elif literal(value) is UNLIKE:
            self._foreign(value, rest, now, wanted)
        else:
            self._cut_lines(attribute.start_byte, attribute.end_byte)

    def _nested(
        self, parent: Node, blocks: list[Node], rest: tuple[str, ...], now: JsonValue, wanted: JsonValue
    ) -> None:
        if rest and rest[0].isdigit() and int(rest[0]) < len(blocks):
            if len(rest) > 1:
                self.at(blocks[int(rest[0])], rest[1:], now, wanted)
                return
            blocks, rest = [blocks[int(rest[0])]], ()
        if rest and len(blocks) == 1:
            self.at(blocks[0], rest, now, wanted)
        elif rest:
            raise self.refuse("ambiguous_blocks", "there are several blocks of that name", blocks[1])
        else:
            self._blocks(parent, blocks, as_blocks(now), as_blocks(wanted))

    def _absent(self, block: Node, path: tuple[str, ...], wanted: JsonValue, *, lenient: bool) -> None:
        name, rest = path[0], path[1:]
        if wanted is None or (lenient and wanted in ("", [], {})):
            if lenient:
                return
            raise self.refuse("not_in_code", f"the code does not set {name}", block)
        value: JsonValue = wanted
        for step in reversed(rest):
            value = {step: value}
        if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
            for each in value:
                self._add_block(block, name, as_dict(each))
        else:
            self._add_attribute(block, name, value)

    # ---- expressions ---------------------------------------------------------------------------------

    def _expression(self, node: Node, rest: tuple[str, ...], now: JsonValue, wanted: JsonValue) -> None:
        if not rest and same(now, wanted):
            return
        inner = bare(node)
        if inner.type == "object" and (rest or isinstance(wanted, dict)):
            self._object(inner, rest, now, wanted)
        elif inner.type == "tuple" and not rest and isinstance(wanted, list):
            self._tuple(inner, now if isinstance(now, list) else [], wanted)
        elif not rest and literal(inner) is not UNLIKE:
            self._over(inner, wanted)
        else:
            self._foreign(node, rest, now, wanted)

    def _foreign(self, node: Node, rest: tuple[str, ...], now: JsonValue, wanted: JsonValue) -> None:
        """A variable's value is written somewhere else; of anything else it is not known where."""
        whole = re.fullmatch(rb"var\s*\.\s*([A-Za-z_][\w-]*)", node.text or b"")
        if whole:
            raise _Passed(
                Through(
                    variable=whole[1].decode(),
                    path=rest,
                    now=now,
                    wanted=wanted,
                    file=self.found.file,
                    line=line_of(node),
                )
            )
        raise self.refuse(*why_foreign(node), node)

    def _over(self, node: Node, wanted: JsonValue) -> None:
        """Writes a literal over another; what was on one line with something in it stays on one."""
        self._expect_no_comment(node)
        text = None
        if node.type in ("object", "tuple") and self._is_flat(node) and node.named_child_count > _BRACKETS:
            text = rendered(wanted, "", " ")
        if node.type == "heredoc_template" and isinstance(wanted, str) and "\r" not in self.found.newline:
            text = as_heredoc(node, wanted)
        indent = self._indent(node.start_byte)
        self.splice(node.start_byte, node.end_byte, text or rendered(wanted, indent, self.found.newline))

    def _expect_no_comment(self, node: Node) -> None:
        """What a person wrote beside the values is not written over."""
        if comment := comment_in(node):
            raise self.refuse("comment", "a comment stands inside of it, and would be lost", comment)

    def _object(self, node: Node, rest: tuple[str, ...], now: JsonValue, wanted: JsonValue) -> None:
        members = list(children_of(node, "object_elem"))
        keys = [key_of(each) for each in members]
        if rest:
            self._member(node, members, rest, now, wanted)
            return
        old, new = as_dict(now), as_dict(wanted)
        changed = [key for key in {**old, **new} if not same(old.get(key), new.get(key))]
        gone = [key for key in changed if new.get(key) is None and key in keys]
        come = [key for key in changed if new.get(key) is not None and key not in keys]
        if (gone or come) and self._is_flat(node):
            order = [key for key in keys if key in new] + [key for key in new if key not in keys]
            self._over(node, {key: new[key] for key in order if new[key] is not None})
            return
        left = [member for member, key in zip(members, keys, strict=True) if key not in gone]
        if come and not left:
            self._over(node, {key: each for key, each in new.items() if each is not None})
            return
        for key in changed:
            if key in keys:
                self._member(node, members, (key,), old.get(key), new.get(key))
            elif key in come:
                self._member(node, left, (key,), None, new[key])

    def _is_flat(self, node: Node) -> bool:
        """Whether it is a literal on one line, which is as good as its text."""
        return node.start_point[0] == node.end_point[0] and literal(node) is not UNLIKE

    def _member(
        self,
        node: Node,
        members: list[Node],
        rest: tuple[str, ...],
        now: JsonValue,
        wanted: JsonValue,
    ) -> None:
        key, below = rest[0], rest[1:]
        keys = [key_of(each) for each in members]
        places = [member for member, said in zip(members, keys, strict=True) if said == key]
        if len(places) > 1:
            raise self.refuse("set_twice", f"{key} is set in two places", places[1])
        if places:
            value = places[0].named_children[-1]
            if below or wanted is not None:
                self._expression(value, below, now, wanted)
            elif literal(value) is UNLIKE:
                self._foreign(value, below, now, wanted)
            elif len(members) == 1 and node.start_point[0] == node.end_point[0]:
                self._expect_no_comment(node)
                self.splice(node.start_byte, node.end_byte, "{}")
            else:
                self._cut_item(places[0])
            return
        if None in keys:
            raise self.refuse("expression", "a key beside it is computed", members[keys.index(None)])
        if wanted is None:
            raise self.refuse("not_in_code", f"the code does not set {key}", node)
        for step in reversed(below):
            wanted = {step: wanted}
        in_quotes = any(bare(each.named_children[0]).type != "variable_expr" for each in members)
        self._add_member(node, members, written_key(key, in_quotes=in_quotes), wanted)

    def _tuple(self, node: Node, now: list[JsonValue], wanted: list[JsonValue]) -> None:
        items = elements_of(node)
        said = [literal(each) for each in items]
        if len(said) != len(wanted) and self._is_flat(node):
            self._over(node, in_order_of(said, now, wanted))
            return
        in_order = len(said) == len(now) and all(
            each is UNLIKE or same(each, value) for each, value in zip(said, now, strict=True)
        )
        if in_order:
            self._list(node, items, now, wanted)
            return
        if len(said) != len(now) and any(each is UNLIKE for each in said):
            raise self.refuse("expression", "an element beside it is computed", node)
        left = list(now)
        for each in said:
            if each is not UNLIKE:
                take(left, each)
        values = [left.pop(0) if each is UNLIKE and len(left) == 1 else each for each in said]
        if any(each is UNLIKE for each in values):
            raise self.refuse("expression", "elements beside it are computed", node)
        self._set(node, items, values, wanted)

    def _list(self, node: Node, items: list[Node], now: list[JsonValue], wanted: list[JsonValue]) -> None:
        """Elements whose order counts, or is the code's already."""
        old, new = [canonical(each) for each in now], [canonical(each) for each in wanted]
        steps_there = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        if self._is_flat(node) and any(j - i != m - k for _, i, j, k, m in steps_there):
            self._over(node, wanted)
            return
        added: list[JsonValue] = []
        for what, i, j, k, m in steps_there:
            if what == "equal":
                continue
            for at in range(max(j - i, m - k)):
                if at < j - i and at < m - k:
                    self._expression(items[i + at], (), now[i + at], wanted[k + at])
                elif at < j - i:
                    self._cut_literal(items[i + at], now[i + at])
                elif j == len(items):
                    added.append(wanted[k + at])
                else:
                    self.splice(
                        items[j].start_byte, items[j].start_byte, f"{rendered(wanted[k + at], '', ' ')}, "
                    )
        self._add_items(node, items, added)

    def _set(self, node: Node, items: list[Node], now: list[JsonValue], wanted: list[JsonValue]) -> None:
        """Elements without an order."""
        missing = list(wanted)
        gone = [index for index, value in enumerate(now) if not take(missing, value)]
        for index in gone:
            if missing:
                self._expression(items[index], (), now[index], missing.pop(0))
            else:
                self._cut_literal(items[index], now[index])
        self._add_items(node, items, missing)

    def _cut_literal(self, item: Node, now: JsonValue) -> None:
        if literal(item) is UNLIKE:
            self._foreign(item, (), now, None)
        self._cut_item(item)

    # ---- blocks --------------------------------------------------------------------------------------

    def _blocks(
        self,
        parent: Node,
        blocks: list[Node],
        now: list[dict[str, JsonValue]],
        wanted: list[dict[str, JsonValue]],
    ) -> None:
        """Has the blocks of one name become others: those that only differ are edited, not replaced."""
        elements = self._matched(blocks, now)
        in_order = [canonical(each) for each in elements] == [canonical(each) for each in now]
        pairs, gone, missing = paired(elements, wanted, by_place=in_order and len(now) == len(wanted))
        for index, at in pairs:
            for key in sorted(elements[index].keys() | wanted[at].keys()):
                old, new = elements[index].get(key), wanted[at].get(key)
                if not same(old, new):
                    self.at(blocks[index], (key,), old, new, lenient=True)
        for index in gone:
            self._cut_lines(blocks[index].start_byte, blocks[index].end_byte)
        for at in missing:
            self._add_block(parent, labels_of(blocks[0])[0], wanted[at], like=blocks[-1])

    def _matched(self, blocks: list[Node], now: list[dict[str, JsonValue]]) -> list[dict[str, JsonValue]]:
        """Which element each block is. Terraform writes sets in an order of its own."""
        if len(blocks) != len(now):
            raise self.refuse("ambiguous_blocks", "its blocks are not those that the plan shows", blocks[0])
        if all(fits(block, element) for block, element in zip(blocks, now, strict=True)):
            return now
        left, found = list(now), []
        for block in blocks:
            loose = [element for element in left if fits(block, element)]
            fitting = [element for element in loose if is_all_of(block, element)] or loose
            if len({canonical(each) for each in fitting}) != 1:
                raise self.refuse("ambiguous_blocks", "it is not certain which block it is", block)
            left.remove(fitting[0])
            found.append(fitting[0])
        return found

    # ---- adding --------------------------------------------------------------------------------------

    def _add_block(
        self, parent: Node, name: str, values: Mapping[str, JsonValue], like: Node | None = None
    ) -> None:
        newline = self.found.newline
        indent = self._indent(like.start_byte) if like else f"{self._indent(parent.start_byte)}  "
        known = {name_of(each) for each in attributes_of(like)} if like is not None else set()
        body = "".join(block_lines(values, f"{indent}  ", newline, known))
        text = f"{name} {{{newline}{body}{indent}}}"
        siblings = blocks_named(parent, name)
        if siblings:
            after = siblings[-1].end_byte
            dense = len(siblings) > 1 and siblings[-1].start_point[0] == siblings[-2].end_point[0] + 1
            gap = newline if dense else newline * 2
            self.splice(self._line_end(after), self._line_end(after), f"{gap}{indent}{text}")
            return
        self._insert(parent, text, apart=True)

    def _add_attribute(self, block: Node, name: str, value: JsonValue) -> None:
        attributes = attributes_of(block)
        text = rendered(value, f"{self._indent(block.start_byte)}  ", self.found.newline)
        if not attributes or not self._stands_alone(attributes[-1], block):
            width = max((len(name_of(each)) for each in attributes), default=0)
            self._insert(block, f"{name:<{width}} = {text}", width=len(name))
            return
        last, newline = attributes[-1], self.found.newline
        indent = self._indent(last.start_byte)
        text = rendered(value, indent, newline)
        column = last.children[1].start_byte - last.start_byte
        fits = len(name) < column and newline not in text and b"\n" not in (last.text or b"")
        pad = " " * (column - len(name)) if fits else " "
        end = self._line_end(last.end_byte)
        gap = newline if fits else newline * 2
        self.splice(end, end, f"{gap}{indent}{name}{pad}= {text}")

    def _insert(self, block: Node, text: str, *, apart: bool = False, width: int = 0) -> None:
        """Writes something at the end of a block; `width` is that of a name to align with on one line."""
        newline = self.found.newline
        end = next(children_of(block, "block_end"), None)
        start = next(children_of(block, "block_start"), None)
        if end is None or start is None:  # a whole file
            size = len(self.found.text)
            lead = "" if not size or self.found.text.endswith(b"\n") else newline
            self.splice(size, size, f"{lead}{text}{newline}")
            return
        outer = self._indent(block.start_byte)
        if start.start_point[0] == end.start_point[0]:
            inner = self.found.text[start.end_byte : end.start_byte].decode().strip()
            inner = re.sub(r"^([\w-]+) *=", lambda name: f"{name[1]:<{width}} =", inner)
            kept = f"{newline}{outer}  {inner}" if inner else ""
            gap = newline if apart and inner else ""
            self.splice(
                start.end_byte, end.start_byte, f"{kept}{gap}{newline}{outer}  {text}{newline}{outer}"
            )
            return
        at = self._line_start(end.start_byte)
        gap = newline if apart and body_of(block) is not None else ""
        self.splice(at, at, f"{gap}{outer}  {text}{newline}")

    def _stands_alone(self, attribute: Node, block: Node) -> bool:
        """Whether an attribute has its line to itself."""
        end = next(children_of(block, "block_end"), None)
        return end is None or end.start_point[0] != attribute.end_point[0]

    def _add_member(self, node: Node, members: list[Node], key: str, value: JsonValue) -> None:
        newline, text = self.found.newline, self.found.text
        if not members:
            self._expect_no_comment(node)
            self.splice(node.start_byte, node.end_byte, f"{{ {key} = {rendered(value, '', ' ')} }}")
            return
        last = members[-1]
        if not _is_last_on_line(text, last.end_byte) or node.start_point[0] == node.end_point[0]:
            self.splice(last.end_byte, last.end_byte, f", {key} = {rendered(value, '', ' ')}")
            return
        indent = self._indent(last.start_byte)
        separator = last.children[1]
        column = separator.start_byte - last.start_byte
        written = rendered(value, indent, newline)
        pad = " " * max(column - len(key), 1)
        commas = any(child.type == "," for child in node.children)
        closed = last.next_sibling is not None and last.next_sibling.type == ","
        if commas and not closed:
            self.splice(last.end_byte, last.end_byte, ",")
        end = self._line_end(last.end_byte)
        sign = text_of(separator)
        self.splice(
            end, end, f"{newline}{indent}{key}{pad}{sign} {written}{',' if commas and closed else ''}"
        )

    def _add_items(self, node: Node, items: list[Node], values: list[JsonValue]) -> None:
        if not values:
            return
        newline = self.found.newline
        if not items:
            self._expect_no_comment(node)
            written = ", ".join(rendered(each, "", " ") for each in values)
            self.splice(node.start_byte, node.end_byte, f"[{written}]")
            return
        last = items[-1]
        if node.start_point[0] == node.end_point[0] or not _is_last_on_line(self.found.text, last.end_byte):
            more = "".join(f", {rendered(each, '', ' ')}" for each in values)
            self.splice(last.end_byte, last.end_byte, more)
            return
        closed = last.next_sibling is not None and last.next_sibling.type == ","
        indent = self._indent(last.start_byte)
        if not closed:
            self.splice(last.end_byte, last.end_byte, ",")
        end = self._line_end(last.end_byte)
        lines = [f"{newline}{indent}{rendered(each, indent, newline)}" for each in values]
        self.splice(end, end, ",".join(lines) + ("," if closed else ""))

    # ---- removing ------------------------------------------------------------------------------------

    def _cut_lines(self, start: int, end: int) -> None:
        """Removes something, and its lines where nothing else is on them."""
        if not self._has_its_lines(start, end):
            self.splice(start, end, "")
            return
        last = self._line_end(end)
        after = self.found.text[last : last + 2]
        self.splice(self._line_start(start), last + (2 if after == b"\r\n" else len(after[:1])), "")

    def _has_its_lines(self, start: int, end: int) -> bool:
        """Whether nothing else is on the lines of something, but a comment after it."""
        before = self.found.text[self._line_start(start) : start]
        after = self.found.text[end : self._line_end(end)]
        return not before.strip() and re.fullmatch(rb"\s*(#.*|//.*)?", after) is not None

    def _cut_item(self, item: Node) -> None:
        """Removes a member of an object or an element of a list, with its comma."""
        text = self.found.text
        start, end = item.start_byte, item.end_byte
        comma = item.next_sibling if item.next_sibling is not None and item.next_sibling.type == "," else None
        if comma is not None:
            end = comma.end_byte
        if self._has_its_lines(start, end):
            self._cut_lines(start, end)
            return
        if comma is not None:
            while text[end : end + 1] in (b" ", b"\t"):
                end += 1
        elif item.prev_sibling is not None and item.prev_sibling.type == ",":
            start = item.prev_sibling.start_byte
        self.splice(start, end, "")

    # ---- lines ---------------------------------------------------------------------------------------

    def _line_start(self, at: int) -> int:
        return self.found.text.rfind(b"\n", 0, at) + 1

    def _line_end(self, at: int) -> int:
        """Before the line break."""
        end = self.found.text.find(b"\n", at)
        end = len(self.found.text) if end < 0 else end
        return end - 1 if self.found.text[end - 1 : end] == b"\r" and end > at else end

    def _indent(self, at: int) -> str:
        line = self.found.text[self._line_start(at) : at].decode(errors="replace")
        return line[: len(line) - len(line.lstrip(" \t"))]


def _spliced(found: _Found, edit: _Edit, *, whole: bool = False) -> Edited:
    """The file with its splices. Raises _Stop where there are none, or they change more than was meant."""
    if not edit.splices:
        raise _Stop("nothing_to_edit", "the code says so already", file=found.file, line=line_of(found.block))
    text, first = found.text, min(start for start, _, _ in edit.splices)
    order = sorted(enumerate(edit.splices), key=lambda each: (each[1][0], each[1][1], each[0]), reverse=True)
    bound = len(text) + 1
    for _, (start, end, new) in order:
        if end > bound:
            raise _Stop("entangled", "two edits of it overlap", file=found.file, line=line_of(found.block))
        text, bound = text[:start] + new + text[end:], start
    if text == found.text:
        raise _Stop("nothing_to_edit", "the code says so already", file=found.file, line=line_of(found.block))
    root = parse(text)
    if root is None or root.has_error or not _kept(found, root, whole=whole):
        raise _Stop(
            "not_kept", "an edit would have changed more than it", file=found.file, line=line_of(found.block)
        )
    return Edited(file=found.file, content=found.bom + text, line=found.text[:first].count(b"\n") + 1)


def _kept(found: _Found, root: Node, *, whole: bool) -> bool:
    """Whether all that stands beside the target in its file stands there as before."""
    before, after = _tops(found.root), _tops(root)
    if found.block is None:
        names = [name_of(each) for each in before if each.type == "attribute"]
        news = [name_of(each) for each in after if each.type == "attribute"]
        return len(set(names) ^ set(news)) <= 1 and abs(len(names) - len(news)) <= 1
    if len(before) != len(after):
        return False
    for old, new in zip(before, after, strict=True):
        if old.start_byte == found.block.start_byte:
            if not whole and labels_of(old) != labels_of(new):
                return False
        elif old.text != new.text:
            return False
    return True


def _tops(root: Node) -> list[Node]:
    body = body_of(root)
    return [each for each in body.named_children if each.type != "comment"] if body is not None else []


def _is_secret(value: JsonValue) -> bool:
    if isinstance(value, dict):
        return any(map(_is_secret, value.values()))
    if isinstance(value, list):
        return any(map(_is_secret, value))
    return isinstance(value, str) and value.startswith(DIGESTS)


def _is_last_on_line(text: bytes, end: int) -> bool:
    line = text[end : text.find(b"\n", end)] if b"\n" in text[end:] else text[end:]
    return re.fullmatch(rb"\s*,?\s*(#.*|//.*)?", line.rstrip(b"\r")) is not None


def block_text(text: bytes, labels: tuple[str, ...]) -> bytes | None:
    """A block of a file, as it stands there; None where there is not just one."""
    root = parse(text)
    if root is None or root.has_error:
        return None
    found = [block.text for block in blocks_of(root) if tuple(labels_of(block)) == labels]
    return found[0] if len(found) == 1 else None
