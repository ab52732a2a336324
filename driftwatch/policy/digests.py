"""What an approval is bound to: one digest over all that would be done, and over all that it stands on.

It covers the findings, the plan, the commit, the state, the engine and the providers. Right before an apply a
new plan is made; only where its digest is the approved one is that plan applied. So two rules decide what is
in it:

- **All that an apply would do is in it**, and what it would do it to: each resource with its actions, each
  value that would change, from what and to what, in exact terms (`[1, 2]` is not `[2, 1]`), moves, imports,
  replacements and outputs. A cloud that moved since the approval has another digest.
- **What is another in every plan is not**: times, the order of the document, resources that stay as they
  are, and what the refresh finds in attributes that stay. What a provider computes, and only an apply will
  tell, is in it as just that: neither code nor person said what was there before.

Values are digested with the instance's key, since the plan holds secrets in clear: nobody can guess at one
with the digest at hand. The digest of two instances is never the same.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from driftwatch.model import UNKNOWN_VALUE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from driftwatch.model import Engine, JsonValue, StackId

    Digest: TypeAlias = Callable[[str], str]
    """A keyed digest of a text, such as `driftwatch.drift.redaction.Digester`."""

FORMAT = 1
"""Of what is digested. Another one voids every approval, as it must: nobody can tell what it was of."""

PLAN_TIME = "(time of the plan)"
_PASSES = 4
"""A keyed digest may be as short as 64 bits, which somebody could search: four of different texts are not."""

_INDEX = re.compile(r'\[(?:\d+|"(?:\\.|[^"\\])*")\]')
_IDENTITY = ("id",)
"""What a resource that is given up is known by, beside what the code says of it."""

Steps: TypeAlias = "tuple[str, ...]"


class Change(Protocol):
    """What happens to one object, as `driftwatch.drift.plan` reads it."""

    @property
    def actions(self) -> tuple[str, ...]: ...

    @property
    def before(self) -> JsonValue: ...

    @property
    def after(self) -> JsonValue: ...

    @property
    def importing(self) -> bool: ...


class ResourceChange(Protocol):
    """What happens to one resource."""

    @property
    def address(self) -> str: ...

    @property
    def previous_address(self) -> str | None: ...

    @property
    def type(self) -> str: ...

    @property
    def provider(self) -> str | None: ...

    @property
    def deposed(self) -> str | None: ...

    @property
    def reason(self) -> str | None: ...

    @property
    def change(self) -> Change: ...


class Plan(Protocol):
    """A plan that was read: no errored, incomplete or contradictory one is."""

    @property
    def changes(self) -> tuple[ResourceChange, ...]: ...

    @property
    def outputs(self) -> Mapping[str, Change]: ...

    @property
    def configured(self) -> Mapping[str, Mapping[str, frozenset[str]]]: ...

    @property
    def time(self) -> str | None: ...


def approval_digest(
    *,
    stack: StackId,
    findings: Iterable[str],
    plan: Plan,
    replaced: Mapping[str, JsonValue],
    commit: str,
    state_lineage: str | None,
    state_serial: int | None,
    engine: Engine,
    provider_hashes: Mapping[str, Collection[str]] | None,
    digest: Digest,
) -> str:
    """`sha256:` and 64 hex digits: the same for the same content, another for any difference in it.

    Args:
        stack: whose plan it is.
        findings: the fingerprints of those that it would close, in any order.
        plan: as read from its document.
        replaced: what `replace_paths_of` says of that document.
        commit: what was planned.
        state_lineage: None where there is no state yet, as for `state_serial`.
        state_serial: that of the state that was planned against.
        engine: with the versions of the providers.
        provider_hashes: those of the binaries, by source address; None where they are not known, which is
            another content than any that is known.
        digest: keyed, and the same key for all that is to be compared.
    """
    content: dict[str, JsonValue] = {
        "format": FORMAT,
        "stack": str(stack),
        "findings": [*sorted(findings)],
        "plan": _plan(plan, replaced),
        "commit": commit,
        "state": [state_lineage, state_serial],
        "engine": [engine.name, engine.version, dict(engine.providers)],
        "hashes": None
        if provider_hashes is None
        else {source: [*sorted(hashes)] for source, hashes in provider_hashes.items()},
    }
    return f"sha256:{_sealed(exact(content), digest)}"


def replace_paths_of(document: Mapping[str, Any]) -> dict[str, JsonValue]:
    """Which attributes make a resource be replaced, by its address, as a `show -json` document says it."""
    found: dict[str, JsonValue] = {}
    for entry in document.get("resource_changes") or ():
        paths = entry["change"].get("replace_paths")
        if paths:
            found[f"{entry['address']} {entry.get('deposed') or ''}".rstrip()] = sorted(paths, key=exact)
    return found


def values_done(plan: Plan, resource: ResourceChange) -> dict[str, str]:
    """What would change of a resource, from what to what, by pointer: in exact terms, as it is approved."""
    return {pointer(steps): exact([before, after]) for steps, before, after in _values(plan, resource)}


def outputs_done(plan: Plan) -> dict[str, str]:
    """Which outputs would change, from what to what, by name: in exact terms, as it is approved."""
    return {name: exact(said) for name, said in _outputs(plan).items()}


def is_done(resource: ResourceChange) -> bool:
    """Whether an apply would do anything to it, be it only in the state."""
    moves = resource.previous_address not in (None, resource.address)
    return resource.change.actions != ("no-op",) or resource.change.importing or moves


def differing(before: JsonValue, after: JsonValue) -> Iterator[tuple[Steps, JsonValue, JsonValue]]:
    """Where two values differ, with what is there, in the order of the paths.

    Objects are entered, null standing for an empty one; lists are one value, as in `driftwatch.drift.paths`.
    """
    return _walk((), before, after)


def pointer(steps: Steps) -> str:
    """RFC 6901, as in findings."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def says(plan: Plan, resource: ResourceChange) -> Collection[str] | None:
    """The attributes that the code sets of a resource; None where the code has no such resource."""
    return plan.configured.get(_INDEX.sub("", resource.address))


def is_unknown(value: JsonValue) -> bool:
    """Whether only an apply will know it, or a part of it."""
    if isinstance(value, dict):
        return any(map(is_unknown, value.values()))
    if isinstance(value, list):
        return any(map(is_unknown, value))
    return value == UNKNOWN_VALUE


def exact(value: JsonValue) -> str:
    """One text for one value: keys sorted, lists as they are, integral numbers without a fraction."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))


def _plan(plan: Plan, replaced: Mapping[str, JsonValue]) -> JsonValue:
    resources = [_resource(plan, each) for each in plan.changes if is_done(each)]
    return {"resources": sorted(resources, key=exact), "outputs": _outputs(plan), "replaced": dict(replaced)}


def _outputs(plan: Plan) -> dict[str, JsonValue]:
    return {
        name: [[*change.actions], change.before, _timeless(change.after, plan.time)]
        for name, change in plan.outputs.items()
        if change.actions != ("no-op",)
    }


def _resource(plan: Plan, resource: ResourceChange) -> JsonValue:
    change = resource.change
    return {
        "address": resource.address,
        "deposed": resource.deposed,
        "previous": resource.previous_address,
        "type": resource.type,
        "provider": resource.provider,
        "actions": [*change.actions],
        "reason": resource.reason,
        "importing": change.importing,
        "values": [[[*steps], before, after] for steps, before, after in _values(plan, resource)],
    }


def _values(plan: Plan, resource: ResourceChange) -> Iterator[tuple[Steps, list[JsonValue], JsonValue]]:
    """What would change at which path, from what to what.

    Of what is given up, and of what only an apply will know, what was there counts where the code speaks of
    it: a provider's computed values are others with every read.
    """
    set_by_code, change = says(plan, resource), resource.change
    given_up = change.after is None
    known = _IDENTITY if set_by_code is None else (*_IDENTITY, *set_by_code)
    for steps, before, after in differing(change.before, change.after):
        spoken_of = not steps or steps[0] in known or (set_by_code is None and not given_up)
        if given_up and not spoken_of:
            continue
        telling = spoken_of or not (given_up or is_unknown(after))
        yield steps, [before] if telling else [], _timeless(after, plan.time)


def _walk(steps: Steps, before: JsonValue, after: JsonValue) -> Iterator[tuple[Steps, JsonValue, JsonValue]]:
    if before is after or exact(before) == exact(after):
        return
    if not (_can_enter(before) and _can_enter(after)):
        yield steps, before, after
        return
    below = list(_below(steps, before, after))
    if below or (isinstance(before, dict) and isinstance(after, dict)):
        yield from below  # none at all where one has a null that the other leaves out
    else:
        yield steps, before, after


def _can_enter(value: JsonValue) -> bool:
    return value is None or isinstance(value, dict)


def _below(steps: Steps, before: JsonValue, after: JsonValue) -> Iterator[tuple[Steps, JsonValue, JsonValue]]:
    left = before if isinstance(before, dict) else {}
    right = after if isinstance(after, dict) else {}
    for key in sorted(left.keys() | right.keys()):
        yield from _walk((*steps, key), left.get(key), right.get(key))


def _timeless(value: JsonValue, time: str | None) -> JsonValue:
    """Names the plan's time where `plantimestamp()` gave it: that is another text in every plan."""
    if time is None:
        return value
    if isinstance(value, dict):
        return {key: _timeless(member, time) for key, member in value.items()}
    if isinstance(value, list):
        return [_timeless(element, time) for element in value]
    return value.replace(time, PLAN_TIME) if isinstance(value, str) else value


def _plain(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: _plain(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_plain(element) for element in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _sealed(text: str, digest: Digest) -> str:
    parts = (digest(f"{number}:{text}") for number in range(_PASSES))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
