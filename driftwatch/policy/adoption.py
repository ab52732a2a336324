"""Whether a draft of the code brings it to the cloud, by two plans: without it, and with it.

Pure. The draft holds where what was to be adopted is no change any more, and nothing else has become one: all
that a plan of the draft would still do, the plan without it would do too, with just the same values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from driftwatch.policy.digests import is_done, outputs_done, values_done

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from datetime import datetime

    from driftwatch.model import Adoption
    from driftwatch.policy.guards import Plan, PlanFacts, PlannedResource


AGAIN = timedelta(days=1)
"""Between two adoptions of a stack that nobody asked for, and before one that failed is tried once more."""

SOON = timedelta(hours=1)
"""The same after one that came to nothing before anything was tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unproved:
    """What speaks against a draft. `address` is what was to be adopted, None where it is about another."""

    address: str | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deeds:
    """What a plan would do, and keyed digests of from what to what: by address and pointer, and by output."""

    facts: PlanFacts
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan, facts: PlanFacts, digest: Callable[[str], str]) -> Deeds:
        """From a plan that was read. `digest` is keyed, and the same for both that are compared."""
        return cls(
            facts=facts,
            values={
                f"{each.address} (deposed {each.deposed})" if each.deposed else each.address: {
                    path: digest(text) for path, text in values_done(plan, each).items()
                }
                for each in plan.changes
                if is_done(each)
            },
            outputs={name: digest(text) for name, text in outputs_done(plan).items()},
        )

    @property
    def changes(self) -> Mapping[str, PlannedResource]:
        """The changes by address."""
        return {each.address: each for each in self.facts.changes}

    def at(self, address: str, path: str) -> str | None:
        """The digest of what would change there."""
        return self.values.get(address, {}).get(path)


def fresh(wanted: Mapping[str, str], past: Iterable[Adoption], now: datetime) -> dict[str, str]:
    """Which findings to adopt now where nobody has asked for it: none that was offered or refused before.

    Args:
        wanted: by fingerprint, what each difference is known by.
        past: what was adopted of the stack by itself. One that was answered with an error has tried nothing.
        now: the time; for a while after each of them there is nothing to do.
    """
    tried: set[str] = set()
    for each in past:
        if each.adopted is None:
            return {}
        if now - (each.done_at or each.at) < (SOON if each.adopted.skipped else AGAIN):
            return {}
        if not each.adopted.error:
            tried.update(each.wish.marks)
    return {fingerprint: mark for fingerprint, mark in wanted.items() if mark not in tried}


def unproved(
    before: Deeds,
    after: Deeds,
    *,
    adopted: Mapping[str, frozenset[str] | None],
    following: Collection[str] = (),
) -> tuple[Unproved, ...]:
    """What still differs, or differs only now; nothing where the draft holds.

    Args:
        before: the plan of the code as it is.
        after: that of the draft.
        adopted: by address the pointers that were edited; None where it is about the whole resource.
        following: outputs that only pass on what was adopted: they change with it.
    """
    return tuple(_all(before, after, adopted, following))


def _all(
    before: Deeds, after: Deeds, adopted: Mapping[str, frozenset[str] | None], following: Collection[str]
) -> Iterator[Unproved]:
    were = before.changes
    for address, change in after.changes.items():
        other = _otherwise(change, were.get(address), before, after)
        if address in adopted:
            if said := _still(change, adopted[address], other):
                yield Unproved(address=address, sentence=said)
        elif other:
            yield Unproved(address=None, sentence=f"{address} would be touched then ({other})")
    for name in after.facts.outputs:
        if name in following:
            continue
        if name not in before.facts.outputs:
            yield Unproved(address=None, sentence=f"the output {name} would change then")
        elif before.outputs.get(name) != after.outputs.get(name):
            yield Unproved(address=None, sentence=f"the output {name} would become another then")


def _still(change: PlannedResource, paths: frozenset[str] | None, other: str | None) -> str | None:
    """What is left of something that was to be adopted; `other` is what is done to it otherwise."""
    if paths is None:
        silent = change.actions == ("forget",) or (change.importing and change.actions == ("no-op",))
        return None if silent else f"the plan would still touch it ({_words(change)})"
    left = [each for each in change.attributes if any(_within(each, path) for path in paths)]
    if left:
        return f"the plan still shows a difference at {', '.join(left)}"
    return other and f"the plan would do something else to it ({other})"


def _otherwise(
    change: PlannedResource, was: PlannedResource | None, before: Deeds, after: Deeds
) -> str | None:
    """What the plan without the draft does not do as well, in words; None where it does as much."""
    if was is None:
        return _words(change)
    milder = change.actions == ("update",) and set(was.actions) >= {"delete", "create"}
    if not (milder or change.actions == was.actions) or not set(change.attributes) <= set(was.attributes):
        return _words(change)
    if (change.importing, change.moved) != (was.importing, was.moved):
        return _words(change)
    others = [
        path
        for path in change.attributes
        if before.at(change.address, path) != after.at(change.address, path)
    ]
    return f"{_words(change)}, with another value at {', '.join(others)}" if others else None


def _within(pointer: str, path: str) -> bool:
    return pointer == path or pointer.startswith(f"{path}/") or path.startswith(f"{pointer}/")


def _words(change: PlannedResource) -> str:
    return " and ".join(change.actions)
