"""Comparing and canonicalising the JSON values of a plan; the ground that the other decisions stand on.

Two kinds of equality are needed. `same` is what Terraform means: equal values, where 1 and 1.0 are one number
and True is none. `alike` is what people mean: providers remember null and read back `{}`, `[]` or `""`, and
nobody changed anything.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from driftwatch.model import JsonValue


def is_list(value: object) -> TypeGuard[list[JsonValue]]:
    """True for a JSON array. Not by `Sequence`: documents are large, and abstract classes answer slowly."""
    return isinstance(value, list)


def is_object(value: object) -> TypeGuard[dict[str, JsonValue]]:
    """True for a JSON object."""
    return isinstance(value, dict)


def same(left: JsonValue, right: JsonValue) -> bool:
    """Equality in Terraform's terms: lists in order, 1 equals 1.0, True equals no number."""
    if left is right:
        return True
    if is_object(left) and is_object(right):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if is_list(left) and is_list(right):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left == right


def alike(left: JsonValue, right: JsonValue) -> bool:
    """Equality that takes null, `{}`, `[]` and `""` for one another, at every depth.

    Not in a map, where a key that is there and has an empty text is no absent one: a tag without a value is
    a tag. An object has all its keys in every view, so that a missing one tells a map.
    """
    if is_object(left) and is_object(right):
        return all(_alike_members(left, right, key) for key in left.keys() | right.keys())
    if is_list(left) and is_list(right):
        return len(left) == len(right) and all(map(alike, left, right))
    return same(left, right) or (_is_empty(left) and _is_empty(right))


def _alike_members(left: dict[str, JsonValue], right: dict[str, JsonValue], key: str) -> bool:
    if key in left and key in right:
        return alike(left[key], right[key])
    return says_nothing(left.get(key, right.get(key)))


def _is_empty(value: JsonValue) -> bool:
    return value == "" or says_nothing(value)


def says_nothing(value: JsonValue) -> bool:
    """True for null, `[]`, and objects of nothing else: what might as well be absent."""
    if is_object(value):
        return all(map(says_nothing, value.values()))
    return value is None or value == []


def canonical(value: JsonValue) -> str:
    """One text for one content: keys sorted, list elements sorted, integral floats as integers.

    Lists are sorted because Terraform writes sets as lists; whoever must tell a reordered list from an
    untouched one compares with `same` first. Lone surrogates survive as escapes, so any text can be hashed.
    """
    return json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"))


def _canonical(value: JsonValue) -> JsonValue:
    if is_object(value):
        return {key: _canonical(member) for key, member in value.items()}
    if is_list(value):
        return sorted((_canonical(element) for element in value), key=_text)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _text(value: JsonValue) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
