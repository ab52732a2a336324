"""Whether a draft of the code brings it to the cloud, by two plans: without it, and with it.

Pure. The draft holds where what was to be adopted is no change any more, and nothing else has become one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from driftwatch.policy.guards import PlanFacts, PlannedResource


@dataclass(frozen=True, slots=True, kw_only=True)
class Unproved:
    """What speaks against a draft. `address` is what was to be adopted, None where it is about another."""

    address: str | None
    sentence: str


def unproved(
    before: PlanFacts,
    after: PlanFacts,
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
    before: PlanFacts,
    after: PlanFacts,
    adopted: Mapping[str, frozenset[str] | None],
    following: Collection[str],
) -> Iterator[Unproved]:
    known = {each.address: each for each in before.changes}
    for change in after.changes:
        if change.address in adopted:
            said = _still(change, known.get(change.address), adopted[change.address])
            if said:
                yield Unproved(address=change.address, sentence=said)
        elif not _was(change, known.get(change.address)):
            sentence = f"{change.address} would be touched then ({_words(change)})"
            yield Unproved(address=None, sentence=sentence)
    for name in after.outputs:
        if name not in before.outputs and name not in following:
            yield Unproved(address=None, sentence=f"the output {name} would change then")


def _still(
    change: PlannedResource, before: PlannedResource | None, paths: frozenset[str] | None
) -> str | None:
    """What is left of something that was to be adopted."""
    if paths is None:
        silent = change.actions == ("forget",) or (change.importing and change.actions == ("no-op",))
        return None if silent else f"the plan would still touch it ({_words(change)})"
    left = [each for each in change.attributes if any(_within(each, path) for path in paths)]
    if left:
        return f"the plan still shows a difference at {', '.join(left)}"
    return None if _was(change, before) else f"the plan would do something else to it ({_words(change)})"


def _was(change: PlannedResource, before: PlannedResource | None) -> bool:
    """Whether the plan without the draft does as much."""
    if before is None:
        return False
    milder = change.actions == ("update",) and set(before.actions) >= {"delete", "create"}
    return (milder or change.actions == before.actions) and set(change.attributes) <= set(before.attributes)


def _within(pointer: str, path: str) -> bool:
    return pointer == path or pointer.startswith(f"{path}/") or path.startswith(f"{pointer}/")


def _words(change: PlannedResource) -> str:
    return " and ".join(change.actions)
