"""Guards: what holds back an apply that nobody has approved, whatever the window says.

Pure. Each guard looks at the same facts and holds, with a word for machines and a sentence that names what it
is about, or says nothing. They are asked in order and all of them are told; the first one is the reason. What
is not known holds. An approval covers what a plan does, so that people are held by `conditions` alone, which
are over every apply.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from driftwatch.config.durations import format_duration
from driftwatch.config.patterns import matches_text, steps
from driftwatch.model import Cause, FindingKind, ProposalKind
from driftwatch.policy.course import Then
from driftwatch.policy.digests import differing, is_done, is_unknown, pointer, says

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from driftwatch.config.repair import RepairSettings
    from driftwatch.model import Finding, JsonValue, StackId, StoredFinding
    from driftwatch.policy import digests
    from driftwatch.policy.course import Course

NAMED = 3
"""Addresses in a sentence; the rest is counted."""

LONGEST_NAME = 120
"""Characters of an address in a sentence: a key of `for_each` may be a whole text."""

NEVER_BY_ITSELF = frozenset({ProposalKind.ROLLBACK})
"""Somebody chose the commit, so somebody answers for it."""


# ---- what guards look at ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedResource:
    """What an apply would do to one resource.

    `attributes` are pointers to what would differ, without what a provider computes anew by itself. `address`
    is as findings show it, with the key of a deposed object behind it.
    """

    address: str
    type: str
    actions: tuple[str, ...]
    attributes: tuple[str, ...] = ()
    importing: bool = False
    moved: bool = False

    @property
    def destroys(self) -> bool:
        """True for a replacement too, in either order, and where the state would forget it."""
        return bool({"delete", "forget"} & set(self.actions))

    @property
    def action(self) -> str:
        """In the words of a finding."""
        if len(self.actions) > 1:
            return "replace"
        return "import" if self.importing and self.actions == ("no-op",) else self.actions[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFacts:
    """A plan, as far as guards look at it: what would be done, and nothing of what stays.

    `outputs` are the names of those that would change. `known` counts the resources that the state knew of,
    before the refresh. `mass_deletion` is a sentence where suspiciously many of them are gone. `complete` is
    false for a plan that errored or was interrupted.
    """

    changes: tuple[PlannedResource, ...]
    outputs: tuple[str, ...]
    known: int
    mass_deletion: str | None
    complete: bool

    @property
    def is_empty(self) -> bool:
        return not self.changes and not self.outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """One finding that is to be repaired, with what of its life matters here.

    `attributes` are the pointers at which it is to be repaired; None where it is about the whole resource.
    `since` is when it came, or last changed, as far as is known. `returns` is how often it was there again
    within `returns_within`; `restless` is true of one that counts as coming and going.
    """

    address: str
    fingerprint: str
    kind: FindingKind
    action: str
    by_hand: bool
    attributes: frozenset[str] | None
    since: datetime | None
    returns: int | None
    restless: bool = False

    @classmethod
    def of(
        cls,
        stored: StoredFinding,
        kind: ProposalKind,
        *,
        returns: int | None,
        changed_at: datetime | None = None,
    ) -> Repaired:
        """From a stored finding. `changed_at` is when its content last became another one, if ever."""
        times = [each for each in (stored.opened_at, stored.first_seen, changed_at) if each is not None]
        return cls(
            address=stored.finding.address,
            fingerprint=stored.finding.fingerprint,
            kind=stored.finding.kind,
            action=stored.finding.action,
            by_hand=Cause.OUT_OF_BAND in stored.finding.causes,
            attributes=_repairable(stored.finding, kind),
            since=max(times, default=None),
            returns=returns,
            restless=stored.flapping_since is not None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that guards look at. What is None is not known, and holds.

    `following` are the names of outputs that only pass on what is repaired. `ignored` maps addresses to the
    pointers that an ignore rule hides there (see `ignored_in`). `applied` are the stacks that were applied
    automatically in this opening of the window, `failures` counts the failed applies in the fleet within
    `breaker_within`. `failed_before` are the fingerprints of what an apply was to repair, and failed at.
    `opens_next` is when the next window opens, where one does within a month. `repaired_by` are the earlier
    proposals that were applied to an address, as evidence.
    """

    stack: StackId
    labels: Mapping[str, str]
    kind: ProposalKind
    automatic: bool
    at: datetime
    course: Course | None
    plan: PlanFacts
    findings: tuple[Repaired, ...]
    following: frozenset[str]
    ignored: Mapping[str, Collection[str]] | None
    applied: Collection[StackId] | None
    failures: int | None
    failed_before: Collection[str] | None
    opens_next: datetime | None = None
    repaired_by: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """Why a guard holds: its key under `repair`, a word, a sentence, and when that may change by itself."""

    guard: str
    reason: str
    sentence: str
    until: datetime | None = None


Guard: TypeAlias = "Callable[[Facts, RepairSettings], Violation | None]"


class Plan(Protocol):
    """A plan that was read (see `driftwatch.drift.plan`)."""

    @property
    def drift(self) -> tuple[digests.ResourceChange, ...]: ...

    @property
    def managed(self) -> frozenset[str]: ...

    @property
    def changes(self) -> tuple[digests.ResourceChange, ...]: ...

    @property
    def outputs(self) -> Mapping[str, digests.Change]: ...

    @property
    def configured(self) -> Mapping[str, Mapping[str, frozenset[str]]]: ...

    @property
    def time(self) -> str | None: ...


def facts_of(plan: Plan, *, mass_deletion: str | None) -> PlanFacts:
    """What guards look at in a plan that was read: none is read that errored or is incomplete.

    `mass_deletion` is what the reading of the same plan says of it.
    """
    gone = {each.address for each in plan.drift if each.change.actions == ("delete",)}
    outputs = (name for name, change in plan.outputs.items() if change.actions != ("no-op",))
    return PlanFacts(
        changes=tuple(_planned(plan, each) for each in plan.changes if is_done(each)),
        outputs=tuple(sorted(outputs)),
        known=len(plan.managed | gone),
        mass_deletion=mass_deletion,
        complete=True,
    )


def ignored_in(findings: Iterable[Finding], rules: Collection[str]) -> dict[str, frozenset[str]]:
    """The attributes that one of these ignore rules (by id) hides, by the address that they are of."""
    found: dict[str, frozenset[str]] = {}
    for finding in findings:
        hidden = frozenset(
            each.path for each in finding.attributes if each.cause is Cause.NOISE and each.rule in rules
        )
        if hidden:
            found[finding.address] = found.get(finding.address, frozenset()) | hidden
    return found


def violations(facts: Facts, settings: RepairSettings) -> Iterator[Violation]:
    """All that hold, in the order in which they are asked."""
    for guard in GUARDS if facts.automatic else (conditions,):
        violation = guard(facts, settings)
        if violation is not None:
            yield violation


# ---- the guards ------------------------------------------------------------------------------------------


def automatic(_facts: Facts, settings: RepairSettings) -> Violation | None:
    """The switch that stops them all."""
    if settings.automatic:
        return None
    sentence = "Nothing is applied without a person: `repair.automatic` is false."
    return Violation(guard="automatic", reason="automatic_off", sentence=sentence)


def asked_for(facts: Facts, _settings: RepairSettings) -> Violation | None:
    """The other switch: what follows these findings must be an apply."""
    if facts.kind in NEVER_BY_ITSELF:
        sentence = f"A {facts.kind} is never applied without a person."
        return Violation(guard="courses", reason="never_automatic", sentence=sentence)
    if facts.course is not None and facts.course.then is Then.APPLY:
        return None
    said = "What follows is not known." if facts.course is None else facts.course.sentence
    sentence = f"It is not to be applied without a person. {said}"
    return Violation(guard="courses", reason="not_asked_for", sentence=sentence)


def breaker(facts: Facts, settings: RepairSettings) -> Violation | None:
    """Failed applies in the fleet stop all automatic ones."""
    most, within = settings.guards.breaker_failures, _words(settings.guards.breaker_within)
    if facts.failures is None:
        return _unknown("breaker_failures", "How many applies failed lately is not known.")
    if facts.failures < most:
        return None
    sentence = f"{facts.failures} applies failed within {within}, and {most} stop all automatic ones."
    return Violation(guard="breaker_failures", reason="breaker_open", sentence=sentence)


def budget(facts: Facts, settings: RepairSettings) -> Violation | None:
    """Only so many stacks are applied in one opening; one that was among them takes no second place."""
    most = settings.guards.stacks_per_window
    if facts.applied is None:
        return _unknown("stacks_per_window", "How many stacks this window has had is not known.")
    others = set(facts.applied) - {facts.stack}
    if len(others) < most:
        return None
    sentence = f"{len(others)} other stacks were applied in this window, and {most} are allowed."
    if facts.opens_next is not None:
        sentence += " It waits for the next opening."
    return Violation(
        guard="stacks_per_window", reason="budget_spent", sentence=sentence, until=facts.opens_next
    )


def retry(facts: Facts, _settings: RepairSettings) -> Violation | None:
    """What failed once is not done again blindly: it may have been done by half."""
    if facts.failed_before is None:
        return _unknown("retry", "Whether an apply of the same has failed before is not known.")
    again = [each.address for each in facts.findings if each.fingerprint in facts.failed_before]
    if not again:
        return None
    sentence = f"An apply failed that was to repair {named(again)}: a person looks at it first."
    return Violation(guard="retry", reason="failed_before", sentence=sentence)


def returns(facts: Facts, settings: RepairSettings) -> Violation | None:
    """What comes back again and again is done by something, and not to be undone for ever."""
    most, within = settings.guards.returns, _words(settings.guards.returns_within)
    unknown = [each.address for each in facts.findings if each.returns is None]
    if unknown:
        return _unknown("returns", f"How often it came back is not known of {named(unknown)}.")
    restless = [each for each in facts.findings if each.restless or (each.returns or 0) >= most]
    if not restless:
        return None
    often = max(each.returns or 0 for each in restless)
    times = f"{often} times" if often >= most else "again and again"
    addresses = named(each.address for each in restless)
    sentence = f"Something fights back: {addresses} came back {times} within {within}."
    numbers = sorted({number for each in restless for number in facts.repaired_by.get(each.address, ())})
    if numbers:
        sentence += f" It was repaired by {named(f'proposal {number}' for number in numbers)}."
    return Violation(guard="returns", reason="fights_back", sentence=sentence)


def grace(facts: Facts, settings: RepairSettings) -> Violation | None:
    """Somebody who changes things by hand may have a reason that is minutes old."""
    needed = settings.guards.grace
    by_hand = [each for each in facts.findings if each.by_hand]
    unknown = [each.address for each in by_hand if each.since is None]
    if unknown:
        return _unknown("grace", f"Since when it differs is not known of {named(unknown)}.")
    young = {each.address: each.since + needed for each in by_hand if each.since is not None}
    young = {address: over for address, over in young.items() if over > facts.at}
    if not young:
        return None
    sentence = (
        f"{named(young)} differs for less than {_words(needed)}: whoever changed it may still be at work."
    )
    return Violation(guard="grace", reason="too_young", sentence=sentence, until=max(young.values()))


def only_findings(facts: Facts, settings: RepairSettings) -> Violation | None:
    """Nothing in the plan beyond what is repaired, not even another attribute of the same resource."""
    if not settings.guards.only_findings:
        return None
    beyond = [each.address for each in facts.plan.changes if not _is_repair(each, facts)]
    told = {each.address for each in facts.findings}
    beyond += [
        address
        for name in facts.plan.outputs
        if name not in facts.following and (address := f"output.{name}") not in told
    ]
    if not beyond:
        return None
    sentence = f"The plan does more than repair these findings: {named(beyond)}."
    return Violation(guard="only_findings", reason="beyond_findings", sentence=sentence)


def nothing_known(facts: Facts, _settings: RepairSettings) -> Violation | None:
    """With an empty state, or another one than is meant, everything looks as if it had to be made."""
    made = [each.address for each in facts.plan.changes if "create" in each.actions]
    if facts.plan.known or not made:
        return None
    sentence = f"The state knows of no resource, and the plan makes all anew: {named(made)}."
    return Violation(guard="state", reason="nothing_in_state", sentence=sentence)


def destroys(facts: Facts, settings: RepairSettings) -> Violation | None:
    """What is gone does not come back; a replacement is a destroy, and so is what the state forgets."""
    lost = [each.address for each in facts.plan.changes if each.destroys]
    if settings.guards.allow_destroy or not lost:
        return None
    sentence = f"The plan destroys, replaces or forgets {named(lost)}."
    return Violation(guard="allow_destroy", reason="destroys", sentence=sentence)


def types(facts: Facts, settings: RepairSettings) -> Violation | None:
    """Only types that are allowed."""
    others = [
        each.address
        for each in facts.plan.changes
        if not any(matches_text(glob, each.type) for glob in settings.guards.types)
    ]
    if not others:
        return None
    sentence = f"The plan changes resources of types that are not allowed: {named(others)}."
    return Violation(guard="types", reason="type_not_allowed", sentence=sentence)


def size(facts: Facts, settings: RepairSettings) -> Violation | None:
    """A repair is small."""
    most, number = settings.guards.max_resources, len(facts.plan.changes)
    if number <= most:
        return None
    sentence = (
        f"The plan changes {number} resources, and {most} are allowed: "
        f"{named(each.address for each in facts.plan.changes)}."
    )
    return Violation(guard="max_resources", reason="too_many_resources", sentence=sentence)


def ignored(facts: Facts, settings: RepairSettings) -> Violation | None:
    """A difference that is hidden would be reverted unseen. Where a resource is made, nothing is reverted."""
    if settings.guards.touch_ignored:
        return None
    if facts.ignored is None:
        return _unknown("touch_ignored", "Which attributes an ignore rule hides is not known.")
    touched = [
        f"{change.address} {path}"
        for change in facts.plan.changes
        if change.actions != ("create",)
        for path in change.attributes
        if any(_touches(hidden, path) for hidden in facts.ignored.get(change.address, ()))
    ]
    if not touched:
        return None
    sentence = f"The plan changes what an ignore rule hides: {named(touched)}."
    return Violation(guard="touch_ignored", reason="touches_ignored", sentence=sentence)


def conditions(facts: Facts, settings: RepairSettings) -> Violation | None:
    """One's own rules; they hold people too."""
    plan = _for_conditions(facts)
    for condition in settings.conditions:
        if not condition.holds(plan):
            sentence = f"Condition {condition.name} is not met: {condition.says}"
            return Violation(
                guard=f"conditions.{condition.name}", reason="condition_not_met", sentence=sentence
            )
    return None


GUARDS: tuple[Guard, ...] = (
    automatic,
    asked_for,
    breaker,
    budget,
    retry,
    returns,
    grace,
    nothing_known,
    only_findings,
    destroys,
    types,
    size,
    ignored,
    conditions,
)
"""In the order in which they are asked: what is about all applies first, what is about this plan after it."""


# ---- words, and what several share -----------------------------------------------------------------------


def named(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b, c and 7 more`: each once, in order, and none longer than `LONGEST_NAME`."""
    told = sorted(set(names))
    shown = [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in told[:NAMED]]
    if len(told) > NAMED:
        shown.append(f"{len(told) - NAMED} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _unknown(guard: str, sentence: str) -> Violation:
    return Violation(guard=guard, reason=f"{guard}_unknown", sentence=sentence)


def _words(length: timedelta) -> str:
    return format_duration(length)


def _planned(plan: Plan, resource: digests.ResourceChange) -> PlannedResource:
    change = resource.change
    set_by_code = says(plan, resource)
    paths = [
        pointer(path)
        for path, _, after in differing(change.before, change.after)
        if not (is_unknown(after) and path and set_by_code is not None and path[0] not in set_by_code)
    ]
    return PlannedResource(
        address=f"{resource.address} (deposed {resource.deposed})" if resource.deposed else resource.address,
        type=resource.type,
        actions=change.actions,
        attributes=tuple(paths),
        importing=change.importing,
        moved=resource.previous_address not in (None, resource.address),
    )


def _repairable(finding: Finding, kind: ProposalKind) -> frozenset[str] | None:
    """Where an apply may change a resource that stays, and close just this finding.

    To revert is to put back what was changed by hand, and what an apply does there anyway (noise that the
    plan itself explains, or that a rule hides: another guard is for that). Where the code wants something
    else than it did, it is more than that.
    """
    if finding.kind not in (FindingKind.MODIFIED, FindingKind.OUTPUT) or not finding.attributes:
        codes_too = bool(set(finding.causes) - {Cause.OUT_OF_BAND, Cause.NOISE})
        return frozenset() if codes_too and kind is ProposalKind.REVERT else None
    if kind is not ProposalKind.REVERT:
        return frozenset(each.path for each in finding.attributes)
    return frozenset(
        each.path
        for each in finding.attributes
        if (each.cause is Cause.OUT_OF_BAND and each.also is None)
        or (each.cause is Cause.NOISE and each.actual != each.after)
    )


def _is_repair(change: PlannedResource, facts: Facts) -> bool:
    """Whether all that is done to a resource is what a finding is closed by.

    A new address is no finding, and the code's doing: it comes with what is deployed, and with nothing else.
    """
    if change.moved and facts.kind is ProposalKind.REVERT:
        return False
    if change.moved and change.actions == ("no-op",) and not change.importing:
        return True
    for finding in facts.findings:
        if (finding.address, finding.action) == (change.address, change.action):
            known = finding.attributes
            return known is None or all(_lies_in(path, known) for path in change.attributes)
    return False


def _lies_in(path: str, known: Collection[str]) -> bool:
    """Whether one of the pointers is this one, or one above it."""
    return path in known or any(path.startswith(f"{each}/") for each in known)


def _touches(hidden: str, path: str) -> bool:
    """Whether a pattern names an attribute, or something below or above it."""
    return all(map(matches_text, steps(hidden), steps(path)))


def _for_conditions(facts: Facts) -> dict[str, JsonValue]:
    return {
        "resources": [
            {"address": each.address, "type": each.type, "actions": [*each.actions]}
            for each in facts.plan.changes
        ],
        "stack": str(facts.stack),
        "labels": dict(facts.labels),
        "kind": facts.kind.value,
        "automatic": facts.automatic,
    }
