"""What pydantic found, in words for whoever wrote the file.

Its own sentences speak of inputs and types; these speak of keys, lists and quotes. None repeats a value that
came through a reference.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, get_args, get_origin

from pydantic import BaseModel

from driftwatch.config.problems import KeyPath, Problem, related

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pydantic import ValidationError
    from pydantic.fields import FieldInfo

    from driftwatch.config.document import Document

_WITHOUT_VALUES = ("missing", "extra_forbidden", "contradiction")
"""Kinds of errors whose sentences are about keys alone."""

_TAKES_NO_NULL = (
    "string_type",
    "tuple_type",
    "dict_type",
    "model_type",
    "int_type",
    "bool_type",
    "path_type",
)

_WORDS = {
    "missing": "is required and missing",
    "string_type": "must be text; put numbers, true and false in quotes",
    "string_sub_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "is too large",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "path_type": "must be a path",
    "tuple_type": "must be a list (lines that start with `- `)",
    "dict_type": "must be a mapping (key: value lines)",
    "model_type": "must be a mapping (key: value lines)",
}


def translated(
    error: ValidationError,
    document: Document,
    model: type[BaseModel],
    *,
    secret_paths: Collection[KeyPath] = (),
    told: Collection[KeyPath] = (),
) -> Iterator[Problem]:
    """One problem for each of pydantic's errors, but for keys that are `told` already.

    At and around `secret_paths` nothing is said about values.
    """
    for each in error.errors(include_url=False):
        path = tuple(part for part in each["loc"] if part != "[key]")
        if path in told:
            continue
        hidden = each["type"] not in _WITHOUT_VALUES and any(related(path, secret) for secret in secret_paths)
        sentence = _HIDDEN if hidden else _sentence(each, path, model, document)
        yield Problem(line=document.line(path), key=path, sentence=sentence)


_HIDDEN = "is not accepted; its value comes from a reference and is not shown"


def _sentence(error: Any, path: KeyPath, model: type[BaseModel], document: Document) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(path, model)
    if kind in _TAKES_NO_NULL and document.at(path) is None:
        return "has no value (a `#` that is not in quotes starts a comment)"
    if kind in ("too_short", "too_long", "greater_than_equal", "less_than_equal"):
        return _out_of_bounds(kind, context)
    if kind == "literal_error":
        return f"must be one of {str(context.get('expected', '')).replace(' or ', ', ')}"
    return _WORDS.get(kind, str(error["msg"]).removeprefix("Value error, "))


def _out_of_bounds(kind: str, context: Mapping[str, Any]) -> str:
    if kind == "too_short":
        return "must have at least one item"
    if kind == "greater_than_equal":
        return f"must be at least {context.get('ge')}"
    return f"must be at most {context.get('le', context.get('max_length'))}"


def _unknown_key(path: KeyPath, model: type[BaseModel]) -> str:
    known = known_keys(model, path[:-1])
    near = difflib.get_close_matches(str(path[-1])[:40].lower(), known, n=1, cutoff=0.6)
    if near:
        return f"is no known key; did you mean `{near[0]}`?"
    return f"is no known key; there are {', '.join(known)}"


# Which part of the models a key path is about.


def known_keys(model: type[BaseModel], path: KeyPath) -> list[str]:
    """The keys of the section at `path`, as they are written in the file."""
    section = _section(_annotation(model, path))
    return [field.alias or name for name, field in section.model_fields.items()] if section else []


def field_at(model: type[BaseModel], path: KeyPath) -> FieldInfo | None:
    """The field that `path` names; None for items of lists and mappings, and for keys that are not known."""
    section = _section(_annotation(model, path[:-1])) if path else None
    return _field(section, path[-1]) if section else None


def _field(section: type[BaseModel], key: str | int) -> FieldInfo | None:
    return next((field for name, field in section.model_fields.items() if key == (field.alias or name)), None)


def _annotation(model: type[BaseModel], path: KeyPath) -> Any:
    annotation: Any = model
    for part in path:
        section = _section(annotation)
        if section:
            field = _field(section, part)
            annotation = field.annotation if field else None
        else:
            annotation = _item(annotation)
    return annotation


def _section(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel):
        return annotation
    sections = (
        _section(option) for option in get_args(annotation) if get_origin(annotation) not in (dict, tuple)
    )
    return next((section for section in sections if section), None)


def _item(annotation: Any) -> Any:
    options = (annotation, *get_args(annotation))
    container = next((option for option in options if get_origin(option) in (dict, tuple)), None)
    items = [argument for argument in get_args(container) if argument is not Ellipsis]
    return items[-1] if items else None
