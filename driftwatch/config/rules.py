"""The section `rules:`: what is noise here, what counts all the same, and how much it matters.

What a rule may say is decided here, with file, line and key; what it does is `driftwatch.drift.rules`. The
shipped rules are written in the same words (see `driftwatch.config.rule_files`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping  # noqa: TC003  (pydantic reads annotations at run time)
from datetime import date
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from driftwatch.config import cel, patterns
from driftwatch.config.problems import KeyPath  # noqa: TC001
from driftwatch.config.section import Contradiction, Name, Section, StackPattern, Text
from driftwatch.model import JsonValue

MOST_RULES = 1000
"""Of one sort: more were not written by people, and every finding is held against all of them."""


def _listed(check: Callable[[str], str]) -> BeforeValidator:
    """One text stands for a list of it; what is wrong with it is then told without a place."""
    return BeforeValidator(lambda value: (check(value),) if isinstance(value, str) else value)


def _some(items: tuple[Any, ...]) -> tuple[Any, ...]:
    if not items:
        raise ValueError("must have at least one item")
    return items


def _scalar(value: object) -> object:
    if not isinstance(value, bool | int | float | str):
        raise ValueError("must be a text, a number, true or false")  # noqa: TRY004  (pydantic collects only it)
    return value


def _checked_cel(text: str) -> str:
    cel.compiled(text)
    return text


def _narrows(given: object) -> bool:
    """Whether a selector, as it stands in the file, leaves anything out."""
    if isinstance(given, str):
        return not patterns.is_wild(given)
    if isinstance(given, list | tuple):
        return bool(given) and all(map(_narrows, given))
    return given is not None


def _either(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _schema_of(item: str) -> WithJsonSchema:
    many = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    return WithJsonSchema({"description": item, "anyOf": [{"type": "string"}, many]})


AddressGlobs = Annotated[
    tuple[Annotated[str, AfterValidator(patterns.address_glob)], ...],
    _listed(patterns.address_glob),
    _schema_of("A glob of resource addresses, or several."),
]
TypeGlobs = Annotated[
    tuple[Annotated[str, AfterValidator(patterns.type_glob)], ...],
    _listed(patterns.type_glob),
    _schema_of("A glob of resource types, or several."),
]
Pointers = Annotated[
    tuple[Annotated[str, AfterValidator(patterns.attribute_pointer)], ...],
    _listed(patterns.attribute_pointer),
    _schema_of("A pointer to an attribute, or several."),
]
Scalars = Annotated[
    tuple[
        Annotated[
            JsonValue, BeforeValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})
        ],
        ...,
    ],
    AfterValidator(_some),
]
Day = Annotated[
    date,
    BeforeValidator(patterns.day),
    PlainSerializer(date.isoformat, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": patterns.DAY}),
]
Grade: TypeAlias = Literal["info", "low", "medium", "high", "critical"]
Kind: TypeAlias = Literal[
    "modified", "deleted", "created", "replaced", "destroyed", "unmanaged", "output", "check_failed"
]
Reason: TypeAlias = Literal[
    "out_of_band", "unapplied_commit", "provider_upgrade", "input_change", "state_edit", "undetermined"
]

_TESTS = ("equals", "matches", "contains", "empty", "gains", "widens", "cel")


class Condition(Section):
    """What an attribute's value must be. Of a sensitive attribute only digests are kept: none holds there.

    `from` and `to` are the way it moved: by hand, from what the state remembered to what the cloud has; by
    the code, from what the cloud has to what the code wants.
    """

    value: Literal["before", "actual", "after", "from", "to"] = Field(
        default="to",
        description="Which value is looked at: `before` (state), `actual` (cloud), `after` (code), `from` or "
        "`to` (the way it moved). Default to: what is new is what matters.",
    )
    equals: JsonValue = Field(
        default=None, description="Any YAML value that it must be equal to. Default none: one test is given."
    )
    matches: Annotated[str, AfterValidator(patterns.expression)] | None = Field(
        default=None,
        description="A regular expression for the whole text, of at most 500 characters; no looking around, "
        "at most two repetitions without limit. Default none, as for `equals`.",
    )
    contains: Scalars | None = Field(
        default=None,
        description="Values of which one must be in it, at any depth. Default none, as for `equals`.",
    )
    empty: bool | None = Field(
        default=None,
        description='Whether it must be null, `{}`, `[]` or "". Default none, as for `equals`.',
    )
    gains: Scalars | None = Field(
        default=None,
        description="Values of which one must be in `to`, at any depth, and not in `from`. Default none, as "
        "for `equals`.",
    )
    widens: Annotated[tuple[Literal["action", "principal"], ...], AfterValidator(_some)] | None = Field(
        default=None,
        description="`to` is an IAM policy that allows every action, or everybody, as `from` does not. "
        "Default none, as for `equals`.",
    )
    cel: Annotated[str, AfterValidator(_checked_cel)] | None = Field(
        default=None,
        description="An expression in the Common Expression Language over before, actual, after, address, "
        "resource_type, path and kind; needs the extra `cel`. Default none, as for `equals`.",
    )

    @classmethod
    def contradictions(cls, given: Mapping[str, Any]) -> Iterator[Contradiction]:
        tests = [key for key in _TESTS if given.get(key) is not None]
        if len(tests) != 1:
            yield (), f"must hold exactly one of {', '.join(_TESTS)}"
        if "value" in given and {"gains", "widens", "cel"} & set(tests):
            yield ("value",), f"has no meaning with `{tests[0]}`"


class Rule(Section):
    """What rules of all sorts have in common: a name, and what they are about."""

    selectors: ClassVar[tuple[str, ...]] = ("address", "type", "attribute", "stacks")

    id: Name = Field(description="Names the rule in findings and in `rules test`. No default.")
    address: AddressGlobs = Field(
        default=(),
        description="Globs of resource addresses; `*` takes dots and brackets too. Default none: any.",
    )
    type: TypeGlobs = Field(
        default=(), description="Globs of resource types, such as aws_instance. Default none: any type."
    )
    attribute: Pointers = Field(
        default=(),
        description="Pointers such as /tags/Name or /settings/*; what lies below is meant too. Lists and "
        "sets are one attribute. Default none: any attribute.",
    )
    stacks: tuple[StackPattern, ...] = Field(
        default=(), description="Stack ids or globs. Default none: every stack."
    )
    when: Condition | None = Field(
        default=None, description="What the attribute's value must be. Default none: whatever it is."
    )
    reason: Text | None = Field(
        default=None, description="Why, for whoever reads it later. Default none: it hides nothing."
    )
    owner: Text | None = Field(
        default=None, description="Who can say whether it is still needed. Default none, as for `reason`."
    )
    expires: Day | None = Field(
        default=None,
        description="The last day on which it acts, in UTC. Default none: it acts until it is taken out.",
    )

    @classmethod
    def contradictions(cls, given: Mapping[str, Any]) -> Iterator[Contradiction]:
        if not any(map(_narrows, map(given.get, cls.selectors))):
            yield (), f"names everything: it must say {_either(cls.selectors)}, and not only `*`"


class IgnoreRule(Rule):
    """Makes attributes noise. It never hides that a resource is deleted, replaced, created or destroyed."""

    reason: Text = Field(description="Why it may be hidden. No default: nobody else can know.")
    owner: Text = Field(description="Who can say whether it is still needed. No default.")


class WatchRule(Rule):
    """Makes attributes count that would be noise, such as those under `ignore_changes`."""


class SeverityRule(Rule):
    """Says how much a finding matters. Of several that fit, the highest counts."""

    selectors: ClassVar[tuple[str, ...]] = (
        "address",
        "type",
        "attribute",
        "stacks",
        "when",
        "kinds",
        "causes",
    )

    severity: Grade = Field(description="How much it matters. No default.")
    kinds: tuple[Kind, ...] = Field(
        default=(), description="Kinds of findings, such as deleted or replaced. Default none: every kind."
    )
    causes: tuple[Reason, ...] = Field(
        default=(),
        description="Causes, such as out_of_band or unapplied_commit. Default none: every cause.",
    )
    sensitive: bool | None = Field(
        default=None,
        description="Whether the attribute must be sensitive, or must not. Default none: either.",
    )
    override: bool = Field(
        default=False,
        description="Whether the shipped rules say nothing where this one fits, so that it may lower what "
        "they say. Default false: a rule of one's own only raises.",
    )


class NoiseSwitches(Section):
    """Shipped noise rules that are off unless somebody wants them."""

    autoscaling: bool = Field(
        default=False,
        description="Whether capacities that autoscalers move are noise. Default false: without an "
        "autoscaler a changed capacity is drift, and only you know which is the case.",
    )


class RulesSettings(Section):
    """What is noise here, what counts all the same, and how much it matters."""

    noise: NoiseSwitches = Field(
        default=NoiseSwitches(), description="Shipped noise rules to turn on. Default: see each key."
    )
    ignore: tuple[IgnoreRule, ...] = Field(
        default=(),
        max_length=MOST_RULES,
        description="Attributes that are noise here. Default none: whatever differs is told.",
    )
    watch: tuple[WatchRule, ...] = Field(
        default=(),
        max_length=MOST_RULES,
        description="Attributes that count though they would be noise. Default none: noise is not told.",
    )
    severity: tuple[SeverityRule, ...] = Field(
        default=(),
        max_length=MOST_RULES,
        description="How much findings matter, beside the shipped rules. Default none: those alone say it.",
    )

    @classmethod
    def contradictions(cls, given: Mapping[str, Any]) -> Iterator[Contradiction]:
        seen: dict[str, KeyPath] = {}
        for key, name in _names(given):
            first = seen.setdefault(name, key)
            if first != key:
                yield key, f"is the id of an earlier rule under `{first[0]}` too"


def _names(given: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    for sort in ("ignore", "watch", "severity"):
        rules = given.get(sort)
        for place, rule in enumerate(rules if isinstance(rules, list | tuple) else ()):
            name = rule.get("id") if isinstance(rule, dict) else getattr(rule, "id", None)
            if isinstance(name, str):
                yield (sort, place, "id"), name
