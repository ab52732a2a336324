"""What driftwatch reads of the plugin protocol's messages, which otherwise pass as the bytes they are.

Messages are protobuf, values within them msgpack. Compiled stubs would have to be those of every protocol
version there will be, and would drop what they do not know. So this reads protobuf's wire format itself: a
field is a key (number and kind), then a number, eight bytes, four bytes, or a length and that many bytes.
Field numbers are from tfplugin5.5 to 5.10 and tfplugin6.5 to 6.10, which agree in all that is named here.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import msgpack

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

Field: TypeAlias = "tuple[int, int | bytes]"

PURE = {
    "GetSchema": 4,
    "GetProviderSchema": 4,
    "GetMetadata": 2,
    "GetFunctions": 2,
    "GetResourceIdentitySchemas": 2,
    "PrepareProviderConfig": 2,
    "ValidateProviderConfig": 2,
    "ValidateResourceTypeConfig": 1,
    "ValidateResourceConfig": 1,
    "ValidateDataSourceConfig": 1,
    "ValidateDataResourceConfig": 1,
    "ValidateEphemeralResourceConfig": 1,
}
"""Calls whose response is a function of their request, and where in the response the diagnostics are."""

OF_THE_BINARY = frozenset(
    {"GetSchema", "GetProviderSchema", "GetMetadata", "GetFunctions", "GetResourceIdentitySchemas"}
)
"""Of the pure calls those that say what the binary is: no directory can make a difference to them."""

CONFIGURE = frozenset({"Configure", "ConfigureProvider"})
STOP = frozenset({"Stop", "StopProvider"})
READS = frozenset({"ReadResource", "ReadDataSource"})
PLAN = "PlanResourceChange"

UNARY = frozenset(
    {
        *PURE,
        *CONFIGURE,
        *STOP,
        *READS,
        "UpgradeResourceState",
        "UpgradeResourceIdentity",
        "PlanResourceChange",
        "ApplyResourceChange",
        "ImportResourceState",
        "GenerateResourceConfig",
        "MoveResourceState",
        "CallFunction",
        "OpenEphemeralResource",
        "RenewEphemeralResource",
        "CloseEphemeralResource",
        "ValidateListResourceConfig",
        "PlanAction",
        "ValidateActionConfig",
    }
)
"""Calls with one request and one response. Any other may stream, in either direction."""

SCHEMA = frozenset({"GetSchema", "GetProviderSchema"})
_SCHEMAS_BY_TYPE = (2, 3)
"""resource_schemas and data_source_schemas, in both protocols."""

TYPED = frozenset(
    {
        *READS,
        "ValidateResourceTypeConfig",
        "ValidateResourceConfig",
        "ValidateDataSourceConfig",
        "ValidateDataResourceConfig",
        "UpgradeResourceState",
        "UpgradeResourceIdentity",
        "PlanResourceChange",
        "ImportResourceState",
    }
)
"""Calls about one type of resource or data source, which is the first field of their requests."""

CONFIGURE_DIAGNOSTICS = 1
DIAGNOSTICS = {"ReadResource": 2, "ReadDataSource": 2, PLAN: 4}
"""Of what can be asked again: where in the response the diagnostics are."""

_STATE = 1
_DEFERRED = {"ReadResource": 4, "ReadDataSource": 3, PLAN: 6}

_SEVERITY, _ERROR = 1, 1
_SUMMARY, _DETAIL = 2, 3
_MSGPACK = 1

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


class MalformedMessageError(ValueError):
    """Bytes that are no protobuf message, or none that this protocol has."""


def name_of(method: str) -> str:
    """`/tfplugin6.Provider/ReadResource` → `ReadResource`."""
    return method.rpartition("/")[2]


def fields(message: bytes) -> Iterator[Field]:
    """The fields of a message in their order: number, and an integer or the bytes.

    Raises MalformedMessageError.
    """
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        kind = key & 7
        if kind == _VARINT:
            value, position = _varint(message, position)
            yield key >> 3, value
            continue
        if kind == _LENGTH:
            length, position = _varint(message, position)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise MalformedMessageError(f"field kind {kind}")
        if position + length > len(message):
            raise MalformedMessageError("a field ends after its message")
        yield key >> 3, message[position : position + length]
        position += length


def trim_schema(response: bytes, types: Collection[str]) -> bytes:
    """A provider's schema without the resources and data sources that are not among `types`.

    terraform takes a second of CPU to read all of a big provider's, of which a stack uses a few. Everything
    else of the schema stays. Raises MalformedMessageError.
    """
    kept = bytearray()
    wanted = {name.encode() for name in types}
    for number, value in fields(response):
        if number in _SCHEMAS_BY_TYPE and isinstance(value, bytes) and _entry_key(value) not in wanted:
            continue
        kept += _field(number, value)
    return bytes(kept)


def _entry_key(entry: bytes) -> bytes | int | None:
    """Of an entry of a map: its key, which is always first on the wire where there is one."""
    number, value = next(fields(entry), (0, 0))
    return value if number == 1 else None


def _field(number: int, value: int | bytes) -> bytes:
    """One field on the wire. Of a schema's none is of a fixed size."""
    if isinstance(value, int):
        return _number(number << 3 | _VARINT) + _number(value)
    return _number(number << 3 | _LENGTH) + _number(len(value)) + value


def _number(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def type_name(request: bytes) -> str:
    """The resource's or data source's type in a request about one. Not a secret."""
    first = next(fields(request), (0, b""))
    return first[1].decode(errors="replace") if first[0] == 1 and isinstance(first[1], bytes) else ""


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(message[position : position + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise MalformedMessageError("a number without an end")


def errors(response: bytes, diagnostics: int) -> tuple[str, ...]:
    """What the error diagnostics in a response say; `diagnostics` is their field number.

    The texts are the provider's own and may hold secrets.
    """
    found = (value for number, value in fields(response) if number == diagnostics)
    parsed = (dict(fields(value)) for value in found if isinstance(value, bytes))
    return tuple(_sentence(each) for each in parsed if each.get(_SEVERITY) == _ERROR)


def _sentence(diagnostic: dict[int, int | bytes]) -> str:
    texts = (diagnostic.get(number) for number in (_SUMMARY, _DETAIL))
    return ": ".join(text.decode(errors="replace") for text in texts if isinstance(text, bytes))


def is_deferred(name: str, response: bytes) -> bool:
    """Whether the provider said that it cannot read this yet."""
    return any(number == _DEFERRED[name] for number, _ in fields(response))


def canonical(response: bytes, diagnostics: int) -> Any:
    """A response of what can be asked again in a form that is equal where the meaning is.

    Diagnostics are left out: errors are dealt with before, and warnings are not part of a verdict. A map's
    order has no meaning; a list's may, and of sets the wire says nothing, so that they are taken as lists.
    """
    return sorted(
        (
            number,
            canonical_value(value) if number == _STATE and isinstance(value, bytes) else repr(value),
        )
        for number, value in fields(response)
        if number != diagnostics
    )


def canonical_value(dynamic: bytes) -> str:
    """A DynamicValue by content. Types are kept apart (`1`, `1.0`, `true`), and unknown values are values."""
    return repr([_sorted(value) for value in values(dynamic)] or dynamic)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        pairs = ((repr(key), _sorted(each)) for key, each in value.items())
        return "map", sorted(pairs, key=lambda pair: pair[0])
    if isinstance(value, list):
        return [_sorted(each) for each in value]
    return value


def values(dynamic: bytes) -> Iterator[Any]:
    """The msgpack value in a DynamicValue, if it has one. Raises MalformedMessageError."""
    for number, value in fields(dynamic):
        if number == _MSGPACK and isinstance(value, bytes):
            try:
                yield msgpack.unpackb(
                    value, raw=False, strict_map_key=False, unicode_errors="surrogateescape"
                )
            except (ValueError, msgpack.UnpackException, RecursionError) as problem:
                raise MalformedMessageError("a value that is no msgpack") from problem


_LOCATIONS = ("region", "location", "project", "subscription_id")
"""Arguments of the big clouds' providers that say where their requests go."""


def location(configure: bytes) -> str:
    """Where a Configure request points to, "" where it does not say. Raises MalformedMessageError."""
    given = [value for value in _all_values(configure) if isinstance(value, dict)]
    found = (each.get(name) for each in given for name in _LOCATIONS)
    return " ".join(text for text in found if isinstance(text, str) and text)


def strings(message: bytes) -> Iterator[str]:
    """All texts in the values that a request holds directly, however deep. Raises MalformedMessageError."""
    for value in _all_values(message):
        yield from _texts(value)


def _all_values(message: bytes) -> Iterator[Any]:
    """The values that a request holds directly: a field that is none, but a plain text, does not parse."""
    for _, field in fields(message):
        if isinstance(field, bytes) and field:
            with suppress(MalformedMessageError):
                yield from values(field)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
