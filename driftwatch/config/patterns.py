"""What a rule selects by: globs of addresses and types, pointers of attributes, expressions over texts.

Each has a function that takes one value from a file, returns it or raises ValueError with a sentence, and one
that matches it. None of them can be made to take long: globs are matched by `fnmatch`, which never goes back
further than to its last `*`, and a regular expression is refused where it can match in very many ways.
"""

from __future__ import annotations

import re
import warnings
from datetime import date
from fnmatch import fnmatchcase, translate
from functools import lru_cache
from re import _parser  # type: ignore[attr-defined]  # there is no public way to look into an expression
from typing import TYPE_CHECKING, Any

from driftwatch.config.values import has_invisible, plain_text

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_SUBJECT = 500
"""Characters. A longer text matches no expression: policies and scripts are for `contains` and CEL."""

LONGEST_EXPRESSION = 200
_MOST_WAYS = 300_000
"""In which an expression may try one text: two `.*` are 250,000, a tenth of a second at most."""

DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_TYPE = re.compile(r"[A-Za-z0-9_*?-]+")
_BAD_ESCAPE = re.compile(r"~(?![01])")
_WILD = re.compile(r"[*?/.]+")


def address_glob(text: str) -> str:
    """A resource's address; `*` and `?` are wild, brackets are those of `count` and `for_each`."""
    plain_text(text)
    bare = _QUOTED.sub("", text)
    if '"' in bare:
        raise ValueError('holds a `"` that is not closed; keys of for_each stand as in aws_instance.web["a"]')
    if re.search(r"[\s/\\]", bare):
        raise ValueError("is no glob of resource addresses, such as module.*.aws_instance.web[0]")
    if bare.count("[") != bare.count("]"):
        raise ValueError("holds a bracket that is not closed")
    return text


def type_glob(text: str) -> str:
    """A resource type; `*` and `?` are wild."""
    if not _TYPE.fullmatch(text) or len(text) > LONGEST_EXPRESSION:
        raise ValueError("is no glob of resource types, such as aws_instance or aws_*")
    return text


def attribute_pointer(text: str) -> str:
    """An RFC 6901 pointer in which `*` is wild within one step: `/tags/kubernetes.io*`."""
    plain_text(text)
    if not text.startswith("/"):
        raise ValueError("must be a pointer that starts with `/`, such as /tags/Name")
    if _BAD_ESCAPE.search(text):
        raise ValueError("holds a `~` that is neither `~0` (a tilde) nor `~1` (a slash)")
    if "//" in text or text.endswith("/"):
        raise ValueError("has an empty step: two slashes in a row, or one at its end")
    if "**" in text:
        raise ValueError("holds `**`; `*` is one step, and what lies below the last step is always meant too")
    return text


def expression(text: str) -> str:
    """A regular expression for whole texts that cannot take long."""
    if not text or len(text) > LONGEST_EXPRESSION:
        raise ValueError(f"must have 1 to {LONGEST_EXPRESSION} characters")
    if has_invisible(text):
        raise ValueError("holds control or invisible characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(text)
            ways = _ways(_parser.parse(text))
    except (re.error, Warning, OverflowError, RecursionError) as exc:
        raise ValueError(f"is no regular expression: {exc}") from None
    if ways > _MOST_WAYS:
        raise ValueError("could take very long: use fewer `*`, `+` and `?` (at most two that have no limit)")
    return text


def day(text: object) -> date:
    """A date as in 2027-06-30."""
    if isinstance(text, date):
        return text
    try:
        if isinstance(text, str) and re.fullmatch(DAY.removesuffix("$"), text):
            return date.fromisoformat(text)
    except ValueError:
        pass  # a 30 February: said below, like every other text that is no date
    raise ValueError("must be a date such as 2027-06-30")


def is_wild(text: str) -> bool:
    """True for a pattern that names everything."""
    return bool(_WILD.fullmatch(text))


def is_among(stack: str, globs: Iterable[str]) -> bool:
    """Whether one of these is the stack's id, which may hold brackets as its path does, or a glob for it."""
    return any(stack == glob or fnmatchcase(stack, glob) for glob in globs)


def matches_text(glob: str, text: str) -> bool:
    """Whether a glob of addresses, types or steps names this one. Brackets are themselves."""
    if "*" not in glob and "?" not in glob:
        return glob == text
    return glob == "*" or bool(_compiled(glob).match(text))


def matches_pointer(pattern: str, path: str) -> bool:
    """Whether an attribute's path is what the pointer names, or lies below it."""
    return _starts_with(steps(path), steps(pattern))


@lru_cache(maxsize=16384)
def steps(pointer: str) -> tuple[str, ...]:
    """The steps of a pointer without escapes."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def fits(pattern: str, text: str) -> bool:
    """Whether the expression takes the whole text."""
    return len(text) <= LONGEST_SUBJECT and bool(re.fullmatch(pattern, text))


def _starts_with(path: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    return len(path) >= len(pattern) and all(map(matches_text, pattern, path))


@lru_cache(maxsize=16384)
def _compiled(glob: str) -> re.Pattern[str]:
    return re.compile(translate(glob.replace("[", "[[]")))


def _ways(items: Iterable[Any]) -> int:
    """In how many ways a sequence can match a text of `LONGEST_SUBJECT`, at most."""
    ways = 1
    for operation, argument in items:
        ways *= _ways_of(str(operation), argument)
    return ways


def _ways_of(operation: str, argument: Any) -> int:
    if operation == "BRANCH":
        return sum(map(_ways, argument[1]))
    if operation == "SUBPATTERN":
        return _ways(argument[-1])
    if operation == "ATOMIC_GROUP":
        return _ways(argument)
    if operation in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        return _ways_to_repeat(*argument)
    if operation in ("ASSERT", "ASSERT_NOT", "GROUPREF", "GROUPREF_EXISTS"):
        raise re.error("looking around and referring back are not for rules")
    return 1


def _ways_to_repeat(least: int, most: int, body: Any) -> int:
    ways, most = _ways(body), min(most, LONGEST_SUBJECT)
    if ways > 1 and most > 1:
        raise re.error("it repeats what can match in several ways, which could take for ever")
    return max(most - least, 0) + ways
