"""The section `repair:`: what may be applied by itself, what people must say first, what follows a finding.

What a key may say is decided here; what it does is `driftwatch.policy` (`course`, `guards`, `admission`).
Every default is the careful one: with none of these keys set, nothing is ever applied without a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping  # noqa: TC003  (pydantic reads annotations at run time)
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from driftwatch.config import cel, patterns, values
from driftwatch.config.durations import Duration, PositiveDuration  # noqa: TC001  (as above)
from driftwatch.config.rules import Grade, Kind, Reason  # noqa: TC001  (as above)
from driftwatch.config.section import Contradiction, Name, Section, StackPattern, Text, Whole, again_in, once
from driftwatch.model import JsonValue  # noqa: TC001  (as above)

Then: TypeAlias = Literal["notify", "propose", "apply", "adopt"]

_MOST_LOOPS = 3
_ALLOWS = re.compile(r"\ballow(ed)?[\"`\]\s]*$")
_LOOP = re.compile(r"\.\s*(all|exists|exists_one|map|filter)\s*\(")


@lru_cache(maxsize=256)
def compiled_condition(text: str) -> cel.Expression:
    """Compiles a condition over a plan; raises ValueError where it is wrong, or the extra is not installed.

    Bounded as those of rules are (see `driftwatch.config.cel`); a loop is over all resources of a plan.
    """
    if len(text) > cel.LONGEST or len(_LOOP.findall(text)) > _MOST_LOOPS:
        raise ValueError(
            f"is too large: at most {cel.LONGEST} characters and {_MOST_LOOPS} loops (all, exists …)"
        )
    try:
        program = _environment().compile(text)
    except RuntimeError as exc:
        raise ValueError(f"is no CEL expression: {_said(str(exc))}") from None
    result = program.return_type().name()
    if result not in ("BOOL", "DYN"):
        raise ValueError(f"must be true or false, and this is {result.lower()}")
    return cel.Expression(program)


@lru_cache(maxsize=1)
def _environment() -> Any:
    try:
        from cel_expr_python import cel as library
    except ImportError:
        raise ValueError("needs the extra `cel`: pip install 'driftwatch[cel]'") from None
    kinds = library.Type
    return library.NewEnv(
        variables={
            "resources": kinds.List(kinds.DYN),
            "labels": kinds.Map(kinds.STRING, kinds.STRING),
            "stack": kinds.STRING,
            "kind": kinds.STRING,
            "automatic": kinds.BOOL,
        }
    )


def _said(text: str) -> str:
    """The library's first line, without its status and its drawing of the place."""
    return re.sub(r"^[A-Z_]+: (ERROR: <input>:)?| \[[A-Z_]+\]$", "", text.split("\n", 1)[0])


def _checked(text: str) -> str:
    compiled_condition(text)
    return text


def _resolved(value: object, info: ValidationInfo) -> object:
    """A path below the configuration file's directory; as it stands where there is no file."""
    if not isinstance(value, str | Path):
        return value
    if not str(value) or values.has_invisible(str(value)):
        raise ValueError("must be a path")
    return value if info.context is None else info.context.resolve(str(value))


def _program(value: str, info: ValidationInfo) -> str:
    if value.startswith("-"):
        raise ValueError("must not start with a dash")
    return str(_resolved(value, info)) if "/" in value else value


def _denying(query: str) -> str:
    """Refuses what reads the other way round: its false would let everything through."""
    if query.startswith("-"):
        raise ValueError("must not start with a dash")
    if _ALLOWS.search(query):
        raise ValueError("must ask what is denied, not what is allowed: a false or an empty answer allows")
    return query


class GuardSettings(Section):
    """What holds back what nobody has approved; an approval covers what a plan does, and is above these."""

    allow_destroy: bool = Field(
        default=False,
        description="Whether a plan that destroys, replaces or forgets anything may be applied "
        "automatically. Default false: what is gone does not come back.",
    )
    max_resources: Whole = Field(
        default=10,
        ge=1,
        description="Most resources that an automatic apply may change. Default 10: a repair is small; "
        "what is not is seldom one.",
    )
    types: Annotated[tuple[Annotated[str, AfterValidator(patterns.type_glob)], ...], AfterValidator(once)] = (
        Field(
            default=("*",),
            min_length=1,
            description='Globs of the resource types that may be applied automatically. Default ["*"], all: '
            "the other guards are about what is done, whatever it is done to.",
        )
    )
    only_findings: bool = Field(
        default=True,
        description="Whether everything in the plan must be a part of the findings that are repaired. "
        "Default true: the repair of a drift must not carry unapplied commits along.",
    )
    touch_ignored: bool = Field(
        default=False,
        description="Whether an automatic apply may change attributes that an ignore rule hides. Default "
        "false: who hides a difference wants it left alone, and an apply would revert it unseen.",
    )
    stacks_per_window: Whole = Field(
        default=5,
        ge=1,
        description="Most stacks that are applied automatically in one opening of a window. Default 5: a "
        "mistake that is in all of them is seen before it is everywhere.",
    )
    grace: Duration = Field(
        default=timedelta(minutes=30),
        description="A change by hand that is younger is left alone; a duration, 0s for none. Default 30m: "
        "somebody may be fighting a fire.",
    )
    returns: Whole = Field(
        default=3,
        ge=1,
        description="A finding that came back so many times within `returns_within` is no longer repaired "
        "automatically. Default 3: by then something fights back, and a person must find out what.",
    )
    returns_within: PositiveDuration = Field(
        default=timedelta(hours=24),
        description="See `returns`; a duration. Default 24h: what somebody or something sets every day is "
        "seen.",
    )
    breaker_failures: Whole = Field(
        default=3,
        ge=1,
        description="So many failed applies in the fleet within `breaker_within` stop all automatic ones. "
        "Default 3: one has a reason of its own, three have one in common.",
    )
    breaker_within: PositiveDuration = Field(
        default=timedelta(hours=1),
        description="See `breaker_failures`; a duration. Default 1h: an outage of a cloud is over by then, "
        "or a person knows of it.",
    )


class ApprovalSettings(Section):
    """Who must agree before a person's apply starts. An approval is bound to what the plan does."""

    needed: Whole = Field(
        default=1,
        ge=1,
        le=10,
        description="So many people must approve, each once. Default 1: a second pair of eyes.",
    )
    not_by_author: bool = Field(
        default=True,
        description="Whether somebody must approve who did not make the change. Default true: nobody is "
        "their own second pair of eyes.",
    )
    expire: PositiveDuration = Field(
        default=timedelta(hours=24),
        description="How long an approval holds; a duration. Default 24h: whoever looked at it then knows "
        "what has happened since.",
    )


class CourseSettings(Section):
    """What follows some findings, instead of their stack's `on_drift` or `on_commit`."""

    stacks: tuple[StackPattern, ...] = Field(
        default=("*",), min_length=1, description='Stack ids or globs. Default ["*"], all.'
    )
    labels: dict[Text, Text] = Field(
        default_factory=dict, description="Only stacks with all these labels. Default none: all stacks."
    )
    causes: Annotated[tuple[Reason, ...], AfterValidator(once)] = Field(
        default=(),
        description="Only findings all of whose causes are among these. Default none: whatever the causes.",
    )
    kinds: Annotated[tuple[Kind, ...], AfterValidator(once)] = Field(
        default=(), description="Only findings of these kinds. Default none: every kind."
    )
    severity: Grade = Field(
        default="info", description="Only findings that are at least this severe. Default info: all."
    )
    then: Then = Field(
        description="`notify`, `propose`, `apply`, or `adopt`: the code is brought there. No default.",
    )


class ConditionSettings(Section):
    """A rule of one's own over the plan. It holds back people too, unless it says `!automatic || …`."""

    name: Name = Field(description="Names the condition in answers. No default.")
    cel: Annotated[str, AfterValidator(_checked)] = Field(
        description="An expression in the Common Expression Language that must be true, over `resources` (a "
        "list of {address, type, actions}), `stack`, `labels`, `kind` (revert, deploy, rollback) and "
        "`automatic`; needs the extra `cel`. What cannot be evaluated is not true. No default.",
    )
    says: Text = Field(description="What is said where it is not true. No default.")

    def holds(self, facts: Mapping[str, JsonValue]) -> bool:
        """Whether it is true of a plan; false too where it cannot be evaluated."""
        return compiled_condition(self.cel).holds(facts)


class OpaSettings(Section):
    """Rules of one's own in Rego, which the program `opa` evaluates over the whole plan.

    Asked right before every apply, those of people too. A non-empty answer or `true` denies, an empty one or
    `false` allows. No answer at all (the query names no rule) denies, and so does every failure of `opa`.
    """

    binary: Annotated[Text, AfterValidator(_program)] = Field(
        default="opa",
        description="Open Policy Agent: a name on PATH, or a path. Default opa: what it is called.",
    )
    policy: Annotated[Path, BeforeValidator(_resolved)] = Field(
        default=Path("policies"),
        validate_default=True,
        description="A .rego file, or a directory of them and their data, relative to this file. Default "
        "./policies beside the file: rules are kept where the configuration is.",
    )
    query: Annotated[Text, AfterValidator(_denying)] = Field(
        default="data.driftwatch.deny",
        description="What is asked: a rule that is a list or set of messages (or of objects with `msg`), or "
        "true or false (with a `default`). `input` is the plan as `show -json` prints it, and "
        "`input.driftwatch` has `stack`, `kind`, `automatic`, `labels` and `commit`. Default "
        "data.driftwatch.deny: `deny contains msg if …` in `package driftwatch`.",
    )
    timeout: PositiveDuration = Field(
        default=timedelta(seconds=30),
        description="Longest evaluation; a duration. Default 30s: the state is locked meanwhile, and rules "
        "over one plan take well under a second.",
    )


class RepairSettings(Section):
    """What may be applied, and by whom."""

    automatic: bool = Field(
        default=False,
        description="Whether anything is applied without a person at all: the second switch beside `apply` "
        "in on_drift, on_commit or a course, and the one that stops them all. Default false: detection acts "
        "only where it is told to, twice.",
    )
    guards: GuardSettings = Field(
        default=GuardSettings(), description="What holds back automatic applies. Default: see each key."
    )
    approvals: ApprovalSettings = Field(
        default=ApprovalSettings(), description="Who must agree before others. Default: see each key."
    )
    courses: tuple[CourseSettings, ...] = Field(
        default=(),
        description="What follows by stack, cause, kind and severity; the first that fits a finding counts. "
        "Default none: its stack's on_drift and on_commit say it.",
    )
    conditions: tuple[ConditionSettings, ...] = Field(
        default=(),
        max_length=100,
        description="Rules of one's own over the plan; all must be true. Default none: the guards suffice.",
    )
    opa: OpaSettings | None = Field(
        default=None,
        description="Rules of one's own in Rego, beside the conditions. Default null: `opa` is not asked.",
    )
    verify_within: PositiveDuration = Field(
        default=timedelta(hours=1),
        description="How soon after an apply a check must have proved it, before it is told as unproved; a "
        "duration. Default 1h: longer than the longest plan may take, short enough to still know what was "
        "done.",
    )
    canary: Annotated[tuple[StackPattern, ...], AfterValidator(once)] = Field(
        default=(),
        description="Stack ids or globs that are repaired, and proved, before the others of their repository "
        "follow. Default none: no stack is there to be broken first.",
    )

    @classmethod
    def contradictions(cls, given: Mapping[str, Any]) -> Iterator[Contradiction]:
        for key in again_in(given, "conditions", "name"):
            yield key, "is the name of an earlier condition too"
