"""The rules that driftwatch ships: `config/rules/*.yaml`, read as strictly as the configuration is.

In a wheel they lie inside this package, in a checkout at its top. They are a part of the program, like its
code: read once, and the same for everybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

from pydantic import Field, ValidationError

from driftwatch.config.document import Limits, read_document
from driftwatch.config.problems import in_order, refusal
from driftwatch.config.rules import Grade, Kind, Pointers, SeverityRule
from driftwatch.config.section import Name, Section, Text
from driftwatch.config.wording import translated

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

LIMITS = Limits(size=256 * 1024, values=20_000)
_IN_WHEEL = "shipped_rules"

T = TypeVar("T", bound=Section)


class NoiseRule(Section):
    """One shipped sort of noise: how it is known, and at which attributes of which types."""

    id: Name = Field(description="Names the rule, after `noise:`. No default.")
    about: Text = Field(description="What it is, in a sentence. No default.")
    compare: Literal["reading", "unordered", "policy", "json", "computed", "numbers"] = Field(
        description="What makes a difference noise: `reading` (known when the plan is read), `unordered` "
        "(lists of the same elements), `policy` (policies that mean the same), `json` (documents that are "
        "equal), `computed` (the code asks for nothing else), `numbers` (nothing but numbers differ). "
        "No default.",
    )
    switch: Literal["autoscaling"] | None = Field(
        default=None, description="Which key of `rules.noise` turns it on. Default none: it is always on."
    )
    attributes: dict[str, Pointers] = Field(
        default_factory=dict, description="Globs of types, with pointers. Default none: at no attribute."
    )


class NoiseFile(Section):
    """`noise.yaml`."""

    version: Literal[1] = Field(description="Of the file's form. No default.")
    rules: tuple[NoiseRule, ...] = Field(description="The rules. No default.")


class ShippedSeverityRule(SeverityRule):
    """A shipped severity rule. `override` stands above the other shipped ones, never above one's own."""

    selectors: ClassVar[tuple[str, ...]] = (*SeverityRule.selectors, "actions")

    actions: tuple[Text, ...] = Field(
        default=(), description="What an apply would do, such as forget. Default none: anything."
    )


class SeverityFile(Section):
    """`severity.yaml`."""

    version: Literal[1] = Field(description="Of the file's form. No default.")
    kinds: dict[Kind, Grade] = Field(description="What a kind of finding is worth by itself. No default.")
    sensitive: Grade = Field(description="What a changed secret is worth. No default.")
    rules: tuple[ShippedSeverityRule, ...] = Field(description="The rules. No default.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """Both files."""

    noise: NoiseFile
    severity: SeverityFile


@lru_cache(maxsize=1)
def shipped() -> Shipped:
    """The shipped rules; raises ConfigError where somebody broke them."""
    return Shipped(noise=_read("noise.yaml", NoiseFile), severity=_read("severity.yaml", SeverityFile))


def read_rule_file(name: str, content: bytes, model: type[T]) -> T:
    """Reads one file of rules; raises ConfigError with every problem of it."""
    document = read_document(content, LIMITS)
    problems = list(document.problems)
    try:
        file = model.model_validate(document.value)
    except ValidationError as exc:
        raise refusal(name, in_order([*problems, *translated(exc, document, model)])) from None
    if problems:
        raise refusal(name, in_order(problems))
    return file


def _read(name: str, model: type[T]) -> T:
    return read_rule_file(name, _folder().joinpath(name).read_bytes(), model)


def _folder() -> Traversable:
    packaged = files("driftwatch.config").joinpath(_IN_WHEEL)
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "config" / "rules"
