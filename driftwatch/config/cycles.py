"""Cycles: what goes round in a circle when each thing names those that come before it. Pure, and of any size.

Nothing here recurses: a chain of thousands is no deeper than any other.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

T = TypeVar("T", bound=Hashable)


def tangles(before: Mapping[T, Collection[T]]) -> tuple[frozenset[T], ...]:
    """The largest groups of which each one comes before each other, itself included (Tarjan, 1972).

    `before` says what comes directly before each; what it names and does not hold itself has nothing before
    it. That a thing names itself is no tangle.
    """
    search = _Search(before)
    for start in before:
        if start not in search.numbers:
            search.go(start)
    return tuple(search.found)


def circle(tangle: Collection[T], before: Mapping[T, Collection[T]]) -> tuple[T, ...]:
    """The shortest way round from the first of a tangle, by its text: each comes after the next one."""
    start = min(tangle, key=str)
    came: dict[T, T] = {}
    ahead = [start]
    while ahead:
        further: list[T] = []
        for here in ahead:
            for there in sorted(before.get(here, ()), key=str):
                if there == start and here != start:
                    return _way(start, here, came)
                if there in tangle and there not in came and there not in (start, here):
                    came[there] = here
                    further.append(there)
        ahead = further
    raise ValueError("nothing goes round here")


def spelt(way: Collection[object]) -> str:
    """A circle in words: `a → b → a`, where a depends on b."""
    names = [str(each) for each in way]
    return " → ".join([*names, *names[:1]])


def _way(start: T, last: T, came: Mapping[T, T]) -> tuple[T, ...]:
    way = [last]
    while way[-1] != start:
        way.append(came[way[-1]])
    return tuple(reversed(way))


class _Search(Generic[T]):
    """Tarjan's search, with a list in place of the calls."""

    def __init__(self, before: Mapping[T, Collection[T]]) -> None:
        self.found: list[frozenset[T]] = []
        self.numbers: dict[T, int] = {}
        self._before = before
        self._lowest: dict[T, int] = {}
        self._path: list[T] = []
        self._on_path: set[T] = set()

    def go(self, start: T) -> None:
        ahead = [(start, self._enter(start))]
        while ahead:
            here, rest = ahead[-1]
            for there in rest:
                if there not in self.numbers:
                    ahead.append((there, self._enter(there)))
                    break
                if there in self._on_path:
                    self._lowest[here] = min(self._lowest[here], self.numbers[there])
            else:
                ahead.pop()
                if ahead:
                    above = ahead[-1][0]
                    self._lowest[above] = min(self._lowest[above], self._lowest[here])
                if self._lowest[here] == self.numbers[here]:
                    self._leave(here)

    def _enter(self, here: T) -> Iterator[T]:
        self.numbers[here] = self._lowest[here] = len(self.numbers)
        self._path.append(here)
        self._on_path.add(here)
        return iter(self._before.get(here, ()))

    def _leave(self, here: T) -> None:
        group = {self._path.pop()}
        while here not in group:
            group.add(self._path.pop())
        self._on_path -= group
        if len(group) > 1:
            self.found.append(frozenset(group))
