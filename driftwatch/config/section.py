"""What every section of the configuration is made of: how it validates, and the words that several share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping  # noqa: TC003  (pydantic reads annotations at run time)
from typing import Annotated, Any, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ModelWrapValidatorHandler,
    SecretStr,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from driftwatch.config import values
from driftwatch.config.problems import KeyPath

Contradiction: TypeAlias = tuple[KeyPath, str]

BY_REFERENCE = "x-by-reference"
"""Marks, in the JSON Schema too, a key whose value may stand in a file only as a reference."""

_REFERENCE = r"^\$\{(env|file):[^}]+\}$"


def _whole(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a whole number")  # noqa: TRY004  (pydantic collects only ValueError)
    return value


def once(items: tuple[str, ...]) -> tuple[str, ...]:
    """The items, each only once; raises ValueError otherwise."""
    if len(set(items)) != len(items):
        raise ValueError("names one of its items twice")
    return items


Whole = Annotated[int, BeforeValidator(_whole)]
Secret = Annotated[SecretStr, WithJsonSchema({"type": "string", "pattern": _REFERENCE})]
Zone = Annotated[str, AfterValidator(values.timezone)]
WebUrl = Annotated[str, AfterValidator(values.web_url)]
ServiceUrl = Annotated[str, AfterValidator(values.service_url)]
Text = Annotated[str, AfterValidator(values.plain_text)]
StackPattern = Annotated[str, AfterValidator(values.stack_pattern)]
Name = Annotated[
    str, AfterValidator(values.identifier), WithJsonSchema({"type": "string", "pattern": values.IDENTIFIER})
]


class Section(BaseModel):
    """Base of all sections: unknown keys refused, frozen once read, values kept out of error texts.

    What is wrong between several keys of a section is reported together with what is wrong in each.
    """

    # Built when first used: `check DIR` needs one section of them all.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    @classmethod
    def contradictions(cls, given: Mapping[str, Any]) -> Iterator[Contradiction]:  # noqa: ARG003  (overridden)
        """What does not go together, as key and sentence, without values: they may be secrets.

        `given` is not validated: anything may be in it.
        """
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _all_at_once(cls, data: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        found = [_contradiction(*each) for each in cls.contradictions(data)] if isinstance(data, dict) else []
        try:
            section = handler(data)
        except ValidationError as exc:
            if not found:
                raise
            found = [*map(_again, exc.errors()), *found]
        if found:
            raise ValidationError.from_exception_data(cls.__name__, found, hide_input=True)
        return section


def _contradiction(key: KeyPath, sentence: str) -> InitErrorDetails:
    kind = PydanticCustomError("contradiction", "{sentence}", {"sentence": sentence})
    return InitErrorDetails(type=kind, loc=key, input=None)


def _again(error: Any) -> InitErrorDetails:
    # The input stays behind on purpose: it may be a secret, and nobody reads it.
    context = {**error.get("ctx", {}), "sentence": error["msg"]}
    return InitErrorDetails(
        type=PydanticCustomError(error["type"], "{sentence}", context), loc=error["loc"], input=None
    )


def part_of(section: object, key: str) -> Any:
    """A key of what may be a section already, or is to become one."""
    return section.get(key) if isinstance(section, dict) else getattr(section, key, None)


def items_of(value: object) -> list[Any]:
    """The items of what may be no list."""
    return list(value) if isinstance(value, list | tuple) else []


def again_in(given: Mapping[str, Any], where: str, key: str) -> Iterator[KeyPath]:
    """The items of the list `where` whose `key` is also that of an earlier one."""
    seen = set[str]()
    for place, item in enumerate(items_of(given.get(where))):
        value = part_of(item, key)
        if isinstance(value, str):
            if value in seen:
                yield where, place, key
            seen.add(value)
