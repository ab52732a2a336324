"""What stands in a syntax tree: attributes and blocks by name, literals as values, and how values compare.

An expression is a literal or it is not: nothing is evaluated. Values are as in a plan's document.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from driftwatch.hcl.syntax import (
    BOM,
    bare,
    blocks_of,
    children_of,
    labels_of,
    parse,
    text_of,
    unescaped,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tree_sitter import Node

    from driftwatch.model import JsonValue

HEREDOC = re.compile(rb"<<(-?)([^\r\n]+)\r?\n(.*)", re.DOTALL)
UNLIKE: Any = object()
"""Stands for a value that is no literal."""

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_LONGEST_NUMBER = 100
"""Digits of one that anybody means; what is longer is left alone."""


def body_of(block: Node) -> Node | None:
    """The body of a block, or of a whole file; None where it has nothing in it."""
    return next(children_of(block, "body"), None)


def attributes_of(block: Node) -> list[Node]:
    """The attributes of a body, in order."""
    body = body_of(block)
    return list(children_of(body, "attribute")) if body is not None else []


def blocks_named(block: Node, name: str) -> list[Node]:
    """The blocks of that type in a body, in order."""
    return [each for each in blocks_of(block) if labels_of(each)[:1] == [name]]


def name_of(attribute: Node) -> str:
    """An attribute's name."""
    return text_of(attribute.named_children[0])


def value_of(attribute: Node) -> Node:
    """An attribute's expression."""
    return attribute.named_children[-1]


def line_of(node: Node | None) -> int:
    """The line that something begins at, from 1."""
    return node.start_point[0] + 1 if node is not None else 1


def references(text: bytes, names: Sequence[str]) -> Iterator[int]:
    """The lines at which a traversal begins with these names."""
    root = parse(text.removeprefix(BOM))
    ahead = [root] if root is not None else []
    while ahead:
        node = ahead.pop()
        ahead += node.named_children
        if node.type == "variable_expr" and traversal(node)[: len(names)] == list(names):
            yield line_of(node)


def traversal(first: Node) -> list[str]:
    """`["var", "x", "y"]`, as far as there are only names; what follows an index is left out."""
    said = [text_of(first)]
    node = first.next_named_sibling
    while node is not None and node.type == "get_attr":
        said.append(text_of(node.named_children[-1]))
        node = node.next_named_sibling
    return said


def comment_in(node: Node) -> Node | None:
    """The first comment inside of something."""
    ahead = [node]
    while ahead:
        each = ahead.pop()
        if each.type == "comment":
            return each
        ahead += reversed(each.children)
    return None


def literal(node: Node) -> Any:  # noqa: PLR0911  (one for each kind of literal)
    """What a literal says; `UNLIKE` for every other expression."""
    node = bare(node)
    text = text_of(node)
    match node.type:
        case "string_lit" | "quoted_template":
            inner = [child.type for child in node.named_children]
            plain = all(kind.startswith(("template_literal", "quoted_template_")) for kind in inner)
            return unescaped(text[1:-1]) if plain else UNLIKE  # the grammar drops blanks at its ends
        case "numeric_lit":
            return _number(text)
        case "bool_lit":
            return text == "true"
        case "null_lit":
            return None
        case "operation":
            number = _number(text[1:].lstrip()) if text.startswith("-") else UNLIKE
            return number if number is UNLIKE else -number
        case "tuple":
            values = [literal(each) for each in elements_of(node)]
            return UNLIKE if any(each is UNLIKE for each in values) else values
        case "object":
            return _literal_object(node)
        case "heredoc_template":
            return _heredoc_text(node)
    return UNLIKE


def _literal_object(node: Node) -> Any:
    said: dict[str, Any] = {}
    for member in children_of(node, "object_elem"):
        key, value = key_of(member), literal(member.named_children[-1])
        if key is None or value is UNLIKE:
            return UNLIKE
        said[key] = value
    return said


def _number(text: str) -> Any:
    """A number as one is written, no sum of some; `UNLIKE` for all else, and for one beyond all bounds."""
    if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        return UNLIKE
    number = int(text) if text.isdecimal() else float(text)
    return number if math.isfinite(number) else UNLIKE


def elements_of(tuple_node: Node) -> list[Node]:
    """The elements of a list."""
    return list(children_of(tuple_node, "expression"))


def key_of(member: Node) -> str | None:
    """The key of an object's member; None where it is computed."""
    node = bare(member.named_children[0])
    if node.type == "variable_expr":
        return text_of(node)
    value = literal(node)
    return value if isinstance(value, str) else None


def _heredoc_text(node: Node) -> Any:
    if any(child.type.startswith(("template_interp", "template_dir")) for child in node.named_children):
        return UNLIKE
    parts = HEREDOC.fullmatch(node.text or b"")
    if parts is None:
        return UNLIKE
    lines = parts[3].decode(errors="replace").split("\n")[:-1]
    if parts[1]:
        indents = [len(line) - len(line.lstrip(" \t")) for line in lines if line.strip()]
        least = min(indents, default=0)
        lines = [line[least:] for line in lines]
    text = "".join(f"{line}\n" for line in lines)
    return text.replace("$${", "${").replace("%%{", "%{")


def why_foreign(node: Node) -> tuple[str, str]:
    """Why an expression is not edited: a word and a sentence."""
    whole, node = node, bare(node)
    first = whole.named_children[0] if whole.named_children else node
    if node.type == "function_call":
        return "function_call", f"it is computed by {text_of(node.named_children[0])}()"
    if node.type in ("quoted_template", "heredoc_template"):
        return "template", "it is a text with something computed inside"
    if first.type == "variable_expr":
        return "reference", f"it is taken from {'.'.join(traversal(first)[:3])}"
    return "expression", "it is computed"


def is_native(file: str) -> bool:
    """False for the JSON form, which is not edited."""
    return not file.endswith(".json")


# ---- comparing -----------------------------------------------------------------------------------------


def canonical(value: JsonValue) -> str:
    """The same text for the same value: 1 is 1.0, and true is neither."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list):
        return f"[{','.join(canonical(each) for each in value)}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{json.dumps(key)}:{canonical(value[key])}' for key in sorted(value))}}}"
    return json.dumps(value)


def same(left: JsonValue, right: JsonValue) -> bool:
    """Equality in Terraform's terms."""
    return canonical(left) == canonical(right)


def in_order_of(said: list[JsonValue], now: list[JsonValue], wanted: list[JsonValue]) -> list[JsonValue]:
    """The elements that are wanted; where the code has an order of its own, that goes on."""
    if [canonical(each) for each in said] == [canonical(each) for each in now]:
        return wanted
    left = list(wanted)
    kept = [each for each in said if take(left, each)]
    return kept + left


def take(values: list[JsonValue], wanted: JsonValue) -> bool:
    """Takes one value out of a list; false where it is not in there."""
    for index, value in enumerate(values):
        if same(value, wanted):
            del values[index]
            return True
    return False


def fits(block: Node, element: Mapping[str, JsonValue]) -> bool:
    """Whether a block may be the one that this element of the plan came from."""
    for attribute in attributes_of(block):
        said, value = literal(value_of(attribute)), element.get(name_of(attribute))
        if said is not UNLIKE and not _alike(said, value):
            return False
    return True


def is_all_of(block: Node, element: Mapping[str, JsonValue]) -> bool:
    """Whether a block sets all that this element has: nothing of it is a default, or computed."""
    body = body_of(block)
    set_here = [each for each in body.named_children if each.type != "comment"] if body is not None else []
    names = {name_of(each) for each in set_here}
    return all(value in (None, "", [], {}) or key in names for key, value in element.items())


def _alike(said: JsonValue, value: JsonValue) -> bool:
    if isinstance(said, list) and isinstance(value, list):
        return sorted(map(canonical, said)) == sorted(map(canonical, value))
    if isinstance(value, str) and isinstance(said, int | float) and not isinstance(said, bool):
        return str(said) == value
    return same(said, value)


def likeness(left: Mapping[str, JsonValue], right: Mapping[str, JsonValue]) -> int:
    """How many attributes two blocks have in common."""
    return sum(left.get(key) is not None and same(left[key], right.get(key)) for key in left)


def paired(
    elements: list[dict[str, JsonValue]], wanted: list[dict[str, JsonValue]], *, by_place: bool
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Which element becomes which, by their indexes; which go; and which are new."""
    gone, missing = list(range(len(elements))), list(range(len(wanted)))
    for index in list(gone):
        twins = [at for at in missing if same(elements[index], wanted[at])]
        if twins:
            gone.remove(index)
            missing.remove(twins[0])
    pairs = [(at, at) for at in gone if by_place and at in missing]
    missing = [at for at in missing if (at, at) not in pairs]
    for index in [each for each in gone if (each, each) not in pairs]:
        near = max(missing, key=lambda at: likeness(elements[index], wanted[at]), default=None)
        if near is not None:
            pairs.append((index, near))
            missing.remove(near)
    done = {one for one, _ in pairs}
    return pairs, [index for index in gone if index not in done], missing


def as_blocks(value: JsonValue) -> list[dict[str, JsonValue]]:
    """The blocks that a value of the plan stands for."""
    if isinstance(value, dict):
        return [value]
    return [as_dict(each) for each in value] if isinstance(value, list) else []


def as_dict(value: JsonValue) -> dict[str, JsonValue]:
    """A map, empty where there is none."""
    return value if isinstance(value, dict) else {}
