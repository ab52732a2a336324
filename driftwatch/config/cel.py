"""Conditions in the Common Expression Language, the one home of the extra `cel`.

An expression is compiled and type-checked when a file is loaded. Evaluating one is bounded: the library stops
after a number of iterations and at a depth, its regular expressions take linear time, and what is left, loops
in loops that copy texts, is held small by the length of an expression and the number of its macros.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from driftwatch.model import JsonValue

LONGEST = 500
_MOST_MACROS = 3
_DEEPEST = 64
"""Levels of a value. The library converts values by recursion in C++, which nothing else would stop."""

_MACRO = re.compile(r"\.\s*(all|exists|exists_one|map|filter)\s*\(")


class Expression:
    """A condition over `before`, `actual`, `after`, `address`, `resource_type`, `path` and `kind`."""

    def __init__(self, program: Any) -> None:
        self._program = program

    def holds(self, facts: Mapping[str, JsonValue]) -> bool:
        """Whether it is true of an attribute; false too where it cannot be evaluated."""
        if any(_is_deep(value, _DEEPEST) for value in facts.values()):
            return False
        try:
            return self._program.eval(data=dict(facts)).value() is True
        except (RuntimeError, TypeError, ValueError, ArithmeticError):
            return False  # a number or a text that the library cannot take, or too many iterations


@lru_cache(maxsize=1024)
def compiled(text: str) -> Expression:
    """Compiles an expression; raises ValueError where it is wrong, or the extra is not installed."""
    if len(text) > LONGEST or len(_MACRO.findall(text)) > _MOST_MACROS:
        raise ValueError(
            f"is too large: at most {LONGEST} characters and {_MOST_MACROS} loops (all, exists …)"
        )
    try:
        program = _environment().compile(text)
    except RuntimeError as exc:
        raise ValueError(f"is no CEL expression: {_said(str(exc))}") from None
    result = program.return_type().name()
    if result not in ("BOOL", "DYN"):
        raise ValueError(f"must be true or false, and this is {result.lower()}")
    return Expression(program)


@lru_cache(maxsize=1)
def _environment() -> Any:
    try:
        from cel_expr_python import cel
    except ImportError:
        raise ValueError("needs the extra `cel`: pip install 'driftwatch[cel]'") from None
    anything, text = cel.Type.DYN, cel.Type.STRING
    return cel.NewEnv(
        variables={
            **dict.fromkeys(("before", "actual", "after"), anything),
            **dict.fromkeys(("address", "resource_type", "path", "kind"), text),
        }
    )


def _said(text: str) -> str:
    """The library's first line, without its status and its drawing of the place."""
    first = text.split("\n", 1)[0]
    return re.sub(r"^[A-Z_]+: (ERROR: <input>:)?| \[[A-Z_]+\]$", "", first)


def _is_deep(value: JsonValue, left: int) -> bool:
    if left == 0:
        return isinstance(value, dict | list)
    if isinstance(value, dict):
        return any(_is_deep(member, left - 1) for member in value.values())
    return isinstance(value, list) and any(_is_deep(element, left - 1) for element in value)
