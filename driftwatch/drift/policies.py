"""Policy documents as their cloud understands them: which of them mean the same, and which open a door.

Clouds give policies back in words of their own: one text for a list of one, statements and members in
another order, keys sorted, spaces gone. For AWS, the rules are those of IAM's grammar of policies
(docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html); for Google's bindings, the order
of roles and members means nothing, and `etag` only counts.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from driftwatch.drift.values import canonical, is_list, is_object

if TYPE_CHECKING:
    from collections.abc import Iterator

    from driftwatch.model import JsonValue

_EVERYBODY: dict[str, JsonValue] = {"AWS": ["*"]}


def same_document(left: JsonValue, right: JsonValue) -> bool:
    """Whether two texts are the same JSON document, whatever their spaces and the order of their keys."""
    one, other = parsed(left), parsed(right)
    return one is not None and json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def same_policy(left: JsonValue, right: JsonValue) -> bool:
    """Whether two texts are policies that mean the same."""
    one, other = parsed(left), parsed(right)
    return is_object(one) and is_object(other) and canonical(_policy(one)) == canonical(_policy(other))


def opens_to(value: JsonValue, what: str) -> bool:
    """Whether an IAM policy allows every `action`, or every `principal` without a condition."""
    document = parsed(value)
    allowing = (each for each in _statements(document) if is_object(each) and each.get("Effect") == "Allow")
    return any(_allows_all(each, what) for each in allowing)


def parsed(value: JsonValue) -> JsonValue:
    """The document of a text; None for what is none, or is nested without end."""
    if not isinstance(value, str):
        return None
    try:
        document: JsonValue = json.loads(value)
        canonical(document)
    except (ValueError, RecursionError):
        return None
    return document if is_object(document) or is_list(document) else None


def _statements(document: JsonValue) -> list[JsonValue]:
    return _many(document.get("Statement", [])) if is_object(document) else []


def _allows_all(statement: dict[str, JsonValue], what: str) -> bool:
    if what == "action":
        return any(action in ("*", "*:*") for action in _many(statement.get("Action")))
    return "Condition" not in statement and "*" in _principals(statement.get("Principal"))


def _principals(principal: JsonValue) -> list[JsonValue]:
    if is_object(principal):
        return [each for member in principal.values() for each in _many(member)]
    return _many(principal)


def _policy(document: dict[str, JsonValue]) -> JsonValue:
    if "Statement" in document:
        return {**document, "Statement": [_statement(each) for each in _statements(document)]}
    return {key: member for key, member in document.items() if key != "etag"}


def _statement(statement: JsonValue) -> JsonValue:
    return dict(_members(statement)) if is_object(statement) else statement


def _members(statement: dict[str, JsonValue]) -> Iterator[tuple[str, JsonValue]]:
    for key, member in statement.items():
        if key in ("Action", "NotAction"):
            yield key, _unique([each.lower() if isinstance(each, str) else each for each in _many(member)])
        elif key in ("Resource", "NotResource"):
            yield key, _unique(_many(member))
        elif key in ("Principal", "NotPrincipal"):
            yield key, _principal(member)
        elif key == "Condition" and is_object(member):
            yield key, {operator: _condition(keys) for operator, keys in member.items()}
        else:
            yield key, member


def _principal(member: JsonValue) -> JsonValue:
    if member == "*":
        member = _EVERYBODY
    if not is_object(member):
        return member
    return {kind: _unique([_account(each) for each in _many(names)]) for kind, names in member.items()}


def _account(name: JsonValue) -> JsonValue:
    """An account stands for its root: AWS gives the one back for the other."""
    is_account = isinstance(name, str) and len(name) == 12 and name.isdecimal()
    return f"arn:aws:iam::{name}:root" if is_account else name


def _condition(keys: JsonValue) -> JsonValue:
    if not is_object(keys):
        return keys
    return {key: _unique([_as_text(each) for each in _many(wanted)]) for key, wanted in keys.items()}


def _as_text(value: JsonValue) -> JsonValue:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _many(value: JsonValue) -> list[JsonValue]:
    return value if is_list(value) else [value]


def _unique(values: list[JsonValue]) -> list[JsonValue]:
    return list({canonical(value): value for value in values}.values())
