"""Values to JSON documents and back, and what must be true of every document that is written.

PostgreSQL refuses NUL characters and half surrogate pairs in text, SQLite takes the first and not the second,
and neither knows NaN: a resource named by a hostile repository must not be able to make a result unwritable.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from driftwatch.errors import StoreCorruptError
from driftwatch.log import redact
from driftwatch.model import CheckResult, ErrorReport

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

_adapters: dict[type[Any], TypeAdapter[Any]] = {}

_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")


def dump(value: Any) -> Any:
    """The JSON document of a dataclass; None stays None."""
    return None if value is None else _adapter(type(value)).dump_python(value, mode="json")


def load(kind: type[T], document: Mapping[str, Any]) -> T:
    """The value of a document; raises StoreCorruptError where it is none of that kind."""
    try:
        value: T = _adapter(kind).validate_python(document)
    except ValidationError as problem:
        raise StoreCorruptError(
            f"a stored {kind.__name__} cannot be read: {problem.error_count()} of its fields are wrong",
            advice="Something other than driftwatch changed the database; restore it from a copy.",
            detail=redact(str(problem.errors(include_input=False, include_url=False))),
        ) from problem
    return value


def load_optional(kind: type[T], document: Mapping[str, Any] | None) -> T | None:
    """As `load`; None stays None."""
    return None if document is None else load(kind, document)


def dump_error(error: ErrorReport | None) -> dict[str, Any] | None:
    """An error's document, redacted once more: it is the text that most easily carries what it should not."""
    document: dict[str, Any] | None = dump(error)
    if document is None:
        return None
    return {key: redact(it) if isinstance(it, str) else it for key, it in writable(document).items()}


def writable_result(result: CheckResult) -> CheckResult:
    """The same result with nothing in it that a database refuses, and its error's text redacted."""
    document = writable(dump(result))
    document["error"] = dump_error(result.error)
    return load(CheckResult, document)


def writable(value: Any) -> Any:
    """A copy of a JSON value in which every string and number can be stored."""
    if isinstance(value, str):
        return _UNWRITABLE.sub("\ufffd", value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {writable(key): writable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [writable(item) for item in value]
    return value


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """Building one costs milliseconds, so each is built once, and not before it is needed."""
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]
