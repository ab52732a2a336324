"""What is wrong with a file, as values: where, under which key, and one sentence.

A sentence never holds a value that came through a secret reference; whoever makes one sees to that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from driftwatch.errors import ConfigError
from driftwatch.log import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

KeyPath: TypeAlias = tuple[str | int, ...]
"""From the file's top to a value: mapping keys as text, places in lists as numbers."""

MOST_TOLD = 200
"""Of one file in one error: it is logged, and a repository's own file may be made to have any number."""

_LONGEST_KEY = 60
"""A key that somebody pasted a document into is cut: the line number finds it."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """One thing that is wrong, or (as a warning) that a person should know. Sorts by line."""

    line: int
    sentence: str
    key: KeyPath = ()

    @property
    def dotted_key(self) -> str:
        return dotted(self.key)

    def render(self, file: str) -> str:
        """`FILE:LINE: key.path: sentence`, without secrets and control characters."""
        where = f"{dotted(self.key)}: " if self.key else ""
        return redact(f"{file}:{self.line}: {where}{self.sentence}").replace("\n", " ")


def dotted(path: KeyPath) -> str:
    """A key path as people write it: `repositories.platform.stacks[0].path`."""
    text = ""
    for part in path:
        name = f"[{part}]" if isinstance(part, int) else shortened(part)
        text += name if isinstance(part, int) or not text else f".{name}"
    return redact(text)


def shortened(text: str) -> str:
    """A piece of the file that is fit for a sentence."""
    return text if len(text) <= _LONGEST_KEY else f"{text[:_LONGEST_KEY]}…"


def related(one: KeyPath, other: KeyPath) -> bool:
    """True where one key holds the other, or both are the same."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """By line, each once (an alias repeats what is wrong with its anchor)."""
    return tuple(
        sorted(set(problems), key=lambda problem: (problem.line, dotted(problem.key), problem.sentence))
    )


def refusal(file: str, problems: Sequence[Problem]) -> ConfigError:
    """The error that tells them all at once."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    told = [problem.render(file) for problem in problems[:MOST_TOLD]]
    if len(problems) > MOST_TOLD:
        told.append(f"{redact(file)}: and {len(problems) - MOST_TOLD} more")
    return ConfigError(
        f"{redact(file)} is not accepted: {count}",
        problems=tuple(told),
        advice="Correct the lines named; `driftwatch config schema` describes every key.",
    )
