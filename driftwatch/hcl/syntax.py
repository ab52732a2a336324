"""The syntax tree of HCL: how a file becomes one, and how blocks, attributes, strings and calls stand in it.

A tree may be broken in places: that is for whoever reads it to see, by `has_error`.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import tree_sitter_hcl
from tree_sitter import Language, Parser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree_sitter import Node

BOM = b"\xef\xbb\xbf"

ESCAPED = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
"""What stands for what after a backslash in a string."""

_LANGUAGE = Language(tree_sitter_hcl.language())
_LONGEST_PARSED = 1 << 20
_LONGEST_PARSE = 0.5
"""Bytes and seconds. Two thousand lines take 20 ms; a person wrote nothing longer, and lines serve for it."""
_CHUNK = 1 << 16

_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)|\$\$\{|%%\{", re.DOTALL)


def parse(text: bytes) -> Node | None:
    """The syntax tree; None where it would take too long: the grammar is quadratic in a run of blanks."""
    if len(text) > _LONGEST_PARSED:
        return None
    deadline = time.monotonic() + _LONGEST_PARSE
    try:
        return (
            Parser(_LANGUAGE)
            .parse(
                lambda offset, _point: text[offset : offset + _CHUNK],
                progress_callback=lambda _offset, _error: time.monotonic() > deadline,
            )
            .root_node
        )
    except ValueError:
        return None


def text_of(node: Node) -> str:
    """What stands there, as it is written."""
    return (node.text or b"").decode(errors="replace")


def children_of(parent: Node, kind: str) -> Iterator[Node]:
    """The named children of one type."""
    return (child for child in parent.named_children if child.type == kind)


def blocks_of(parent: Node) -> Iterator[Node]:
    """The blocks of a body, in order."""
    for body in children_of(parent, "body"):
        yield from children_of(body, "block")


def labels_of(block: Node) -> list[str]:
    """The block's type and its labels: `["provider", "aws"]`."""
    labels = []
    for child in block.named_children:
        if child.type == "identifier":
            labels.append(text_of(child))
        elif child.type == "string_lit":
            labels.append(_unquoted(child))
        else:
            break
    return labels


def given_in(block: Node) -> Iterator[tuple[str, Node]]:
    """The attributes of a body by name, each with its expression; without those that have none."""
    for body in children_of(block, "body"):
        for attribute in children_of(body, "attribute"):
            key, *values = attribute.named_children
            if values:
                yield text_of(key), values[-1]


def strings_in(block: Node, name: str) -> Iterator[str]:
    """The values of the attribute `name`, where they are plain strings."""
    for key, value in given_in(block):
        if key == name and (literal := string_of(value)) is not None:
            yield literal


def bare(node: Node) -> Node:
    """The expression without what is only round it."""
    while node.type in ("expression", "literal_value", "collection_value", "template_expr"):
        inner = node.named_children
        if len(inner) != 1:
            break
        node = inner[0]
    return node


def string_of(node: Node) -> str | None:
    """The string that an expression is, through parentheses; None where it is anything else."""
    node = bare(node)
    return _unquoted(node) if node.type == "string_lit" else None


def _unquoted(literal: Node) -> str:
    return unescaped("".join(text_of(part) for part in children_of(literal, "template_literal")))


def unescaped(text: str) -> str:
    """What stands between the quotes of a string in which nothing is computed."""
    return _ESCAPE.sub(_unescape, text)


def _unescape(escape: re.Match[str]) -> str:
    code = escape.group(1)
    if code is None:
        return escape.group()[1:]
    if len(code) > 1:
        number = int(code[1:], 16)
        return chr(number) if number <= 0x10FFFF else "\ufffd"
    return ESCAPED.get(code, code)


def calls_in(root: Node) -> Iterator[tuple[str, Node | None]]:
    """Every call of a function: its name without where it is from, and its first argument."""
    ahead = [root]
    while ahead:
        node = ahead.pop()
        ahead += node.children
        if node.type == "function_call":
            name = text_of(node.named_children[0]).rpartition("::")[2] if node.named_children else ""
            yield name, _first_argument(node)


def _first_argument(call: Node) -> Node | None:
    arguments = next(children_of(call, "function_arguments"), None)
    return next(children_of(arguments, "expression"), None) if arguments is not None else None
