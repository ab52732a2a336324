"""Writes values as HCL: literals, blocks and heredocs, as `terraform fmt` would leave them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from driftwatch.hcl.literals import HEREDOC, as_blocks
from driftwatch.hcl.syntax import ESCAPED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tree_sitter import Node

    from driftwatch.model import JsonValue

_NAME = re.compile(r"[A-Za-z_][\w-]*")
_WORDS = {char: f"\\{name}" for name, char in ESCAPED.items()}
_LAST_SHORT = 0xFFFF


def quoted(text: str) -> str:
    """A string literal, in which nothing is computed."""
    said = "".join(_WORDS.get(char) or (char if char.isprintable() else _code(char)) for char in text)
    return '"' + said.replace("${", "$${").replace("%{", "%%{") + '"'


def _code(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) <= _LAST_SHORT else f"\\U{ord(char):08x}"


def written_key(key: str, *, in_quotes: bool = False) -> str:
    """A key of an object: bare where it may be, unless it is to be in quotes."""
    is_name = _NAME.fullmatch(key) and key not in ("null", "true", "false", "for")
    return key if is_name and not in_quotes else quoted(key)


def rendered(value: JsonValue, indent: str, newline: str) -> str:
    """A literal. `newline` is a blank for one that is to stay on its line."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, dict):
        return _rendered_object(value, indent, newline)
    if isinstance(value, list):
        if newline == " " or not any(isinstance(each, dict) for each in value):
            return f"[{', '.join(rendered(each, indent, ' ') for each in value)}]"
        lines = [f"{indent}  {rendered(each, f'{indent}  ', newline)},{newline}" for each in value]
        return f"[{newline}{''.join(lines)}{indent}]"
    return json.dumps(value)


def _rendered_object(value: Mapping[str, JsonValue], indent: str, newline: str) -> str:
    if not value:
        return "{}"
    keys = {key: written_key(key) for key in value}
    if newline == " ":
        members = [f"{keys[key]} = {rendered(each, '', ' ')}" for key, each in value.items()]
        return f"{{ {', '.join(members)} }}"
    width = max(map(len, keys.values()))
    lines = [
        f"{indent}  {keys[key]:<{width}} = {rendered(each, f'{indent}  ', newline)}{newline}"
        for key, each in value.items()
    ]
    return f"{{{newline}{''.join(lines)}{indent}}}"


def block_lines(values: Mapping[str, JsonValue], indent: str, newline: str, known: set[str]) -> Iterator[str]:
    """The lines of a block's body: what is set, aligned, and after it the blocks inside."""
    inner = {
        key: value
        for key, value in values.items()
        if isinstance(value, list) and value and all(isinstance(each, dict) for each in value)
    }
    plain = {
        key: value
        for key, value in values.items()
        if key not in inner and value is not None and (value not in ([], {}) or key in known)
    }
    width = max(map(len, plain), default=0)
    for key, value in plain.items():
        yield f"{indent}{key:<{width}} = {rendered(value, indent, newline)}{newline}"
    for key, blocks in inner.items():
        for each in as_blocks(blocks):
            yield f"{newline}{indent}{key} {{{newline}"
            yield from block_lines(each, f"{indent}  ", newline, set())
            yield f"{indent}}}{newline}"


def as_heredoc(node: Node, wanted: str) -> str | None:
    """A text in the heredoc that was there; None where it does not fit into one."""
    parts = HEREDOC.fullmatch(node.text or b"")
    if parts is None or not wanted.endswith("\n") or "\r" in wanted:
        return None
    dash, marker, body = (part.decode(errors="replace") for part in parts.groups())
    marker, old = marker.strip(), body.split("\n")
    lines = wanted[:-1].split("\n")
    if any(line.strip() == marker for line in lines):
        return None
    indent = ""
    if dash:
        indents = [line[: len(line) - len(line.lstrip(" \t"))] for line in old[:-1] if line.strip()]
        indent = min(indents, key=len, default="")
        if (
            indent
            and any(line[:1] in (" ", "\t") for line in lines)
            and all(line[:1] in (" ", "\t") or not line for line in lines)
        ):
            return None  # all of them indented: `<<-` would take that away
    escaped = [line.replace("${", "$${").replace("%{", "%%{") for line in lines]
    written = "\n".join(f"{indent}{line}" if line else "" for line in escaped)
    return f"<<{dash}{marker}\n{written}\n{old[-1]}"


def removed_block(kind: str, name: str, newline: str) -> str:
    """What has a resource leave the state, and nothing destroyed."""
    lines = ("removed {", f"  from = {kind}.{name}", "", "  lifecycle {", "    destroy = false", "  }", "}")
    return newline.join(lines)
