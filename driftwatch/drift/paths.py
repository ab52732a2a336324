"""Where three views of one resource differ: the state's memory, the cloud, and what the code wants.

Paths are RFC 6901 pointers. Their granularity is stable, because findings are compared by them:

- maps and objects are entered (`/tags/Name`, `/settings/engine`), a null standing for an empty one;
- lists and sets, of scalars and of nested blocks alike, are one attribute (`/ingress`): elements of a set
  have no place of their own, and an element that moves would make every later one differ;
- a container that is sensitive as a whole, or only known after an apply, is one attribute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from driftwatch.drift.redaction import Mask, member_mask
from driftwatch.drift.values import alike, is_list, is_object, same, says_nothing
from driftwatch.model import UNKNOWN_VALUE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from driftwatch.model import JsonValue

    _Views: TypeAlias = tuple[JsonValue, JsonValue, JsonValue]
    _Present: TypeAlias = tuple[bool, bool, bool]

_EVERYWHERE = (True, True, True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One path where not all three are the same. The values are raw, secrets too; `mask` says where.

    `present` says in which of the three the path is there at all: the key of a map may be absent, which is
    something else than an empty text.
    """

    path: tuple[str, ...]
    state: JsonValue
    actual: JsonValue
    wanted: JsonValue
    mask: Mask
    present: _Present = _EVERYWHERE

    @property
    def pointer(self) -> str:
        return pointer(self.path)

    @property
    def drifted(self) -> bool:
        """The cloud is not what the state remembered."""
        in_state, in_cloud, _ = self.present
        return _differ(self.state, self.actual, both=in_state == in_cloud)

    @property
    def changes(self) -> bool:
        """The code wants something else than the cloud has."""
        _, in_cloud, in_code = self.present
        return _differ(self.actual, self.wanted, both=in_cloud == in_code)

    @property
    def has_unknown(self) -> bool:
        """Only an apply will know what the code wants, or a part of it."""
        return _has_unknown(self.wanted)


def _differ(left: JsonValue, right: JsonValue, *, both: bool) -> bool:
    """`both` is false where one of them is an absent key."""
    return not alike(left, right) if both else not (says_nothing(left) and says_nothing(right))


def _has_unknown(value: JsonValue) -> bool:
    if is_object(value):
        return any(map(_has_unknown, value.values()))
    if is_list(value):
        return any(map(_has_unknown, value))
    return value == UNKNOWN_VALUE


def pointer(path: tuple[str, ...]) -> str:
    """RFC 6901: `~` and `/` inside a step are escaped; the whole document is the empty string."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in path)


def differences(
    state: JsonValue, actual: JsonValue, wanted: JsonValue, mask: Mask = False
) -> tuple[Difference, ...]:
    """All differences in the order of their paths, cosmetic ones (null against `{}`) among them."""
    return tuple(_walk((), (state, actual, wanted), mask, _EVERYWHERE))


def _walk(path: tuple[str, ...], views: _Views, mask: Mask, present: _Present) -> Iterator[Difference]:
    state, actual, wanted = views
    if same(state, actual) and same(actual, wanted):
        return
    below = list(_below(path, views, mask)) if _can_enter(views, mask) else []
    yield from below or [
        Difference(path=path, state=state, actual=actual, wanted=wanted, mask=mask, present=present)
    ]


def _can_enter(views: _Views, mask: Mask) -> bool:
    return mask is not True and all(view is None or is_object(view) for view in views)


def _below(path: tuple[str, ...], views: _Views, mask: Mask) -> Iterator[Difference]:
    state, actual, wanted = (view if is_object(view) else {} for view in views)
    for key in sorted(state.keys() | actual.keys() | wanted.keys()):
        views_below = (state.get(key), actual.get(key), wanted.get(key))
        present = (key in state, key in actual, key in wanted)
        yield from _walk((*path, key), views_below, member_mask(mask, key), present)
