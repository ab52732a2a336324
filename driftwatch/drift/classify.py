"""From a plan to findings: what differs, in which way, and whose doing it is.

`resource_drift` says how the cloud moved since the state was written; `resource_changes` says what an apply
would do. They are matched by address, then attribute by attribute:

| cloud moved | apply would change | origin |
|---|---|---|
| yes | yes | `CLOUD`: changed by hand, `out_of_band` |
| no | yes, to a known value | `CODE`: pending; `causes.Comparison` says why |
| no | yes, to a value that only an apply will know | `FOLLOWS`: a consequence of something else |
| yes | no | `NOISE`: kept, not counted (ignored by the code, or computed) |
| null, `{}`, `[]` and `""` for one another | the same | `NOISE` |
| a computed map repeats what the code says in another | the same | `NOISE` |

A consequence has the cause of what it follows from: where everything that the resource depends on and that
changes was changed by hand, so was this. A resource that nobody touched is not "pending" because the one
it points to was deleted and will have a new id. The state knows who depends on whom. A known value is a
consequence where nothing but the cloud moved since the baseline, or where it differs from what there is only
in a text that moved in the cloud.

Whole resources: deleted in the cloud and wanted by the code is `deleted`, wanted and never there `created`,
in the state and not in the code `destroyed` (also `forget`, which leaves it in the cloud), delete and create
in either order `replaced`. Their attributes are not listed, save those of a replacement. A move alone is no
finding. An import is `created` with action `import`: in code, not yet in the state. Data sources are none.
Where the resource's provider configuration moved, it is looked for where it never was: what differs is the
code's doing, and one that is not there is `created`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

from driftwatch.drift.fingerprint import fingerprint_of
from driftwatch.drift.paths import Difference, differences, pointer
from driftwatch.drift.plan import FailingCheck, Plan, ResourceChange, without_indexes
from driftwatch.drift.redaction import (
    Digester,
    bounded,
    hide,
    scrub,
    step_without_secrets,
    union,
    without_secrets,
)
from driftwatch.drift.severity import severity_of
from driftwatch.drift.values import alike, canonical, is_list, is_object, same
from driftwatch.model import AttributeChange, Cause, Finding, FindingKind, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from driftwatch.drift.causes import Comparison
    from driftwatch.drift.plan import Change
    from driftwatch.model import Evidence, JsonValue

PLAN_TIME = "(time of the plan)"
MAX_MESSAGE = 2000
"""Characters of a failing check's messages: conditions may print whole values."""

_DELETE = ("delete",)
_TAINTED = "replace_because_tainted"
_NOT_PENDING = frozenset({Cause.OUT_OF_BAND, Cause.NOISE})
_REASONS = {
    "replace_because_tainted": "Marked as tainted in the state.",
    "replace_by_request": "Replacement was asked for.",
    "replace_by_triggers": "Replaced because of a resource named in replace_triggered_by.",
    "delete_because_no_resource_config": "No longer in the code.",
    "delete_because_no_module": "Its module is no longer in the code.",
    "delete_because_wrong_repetition": "The code's count or for_each no longer has this instance.",
    "delete_because_count_index": "The code's count no longer has this instance.",
    "delete_because_each_key": "The code's for_each no longer has this instance.",
    "delete_because_no_move_target": "Moved to an address that is not in the code.",
}


class Origin(Enum):
    """Whose doing a difference is; the table of the module's docstring."""

    CLOUD = "cloud"
    CODE = "code"
    FOLLOWS = "follows"
    NOISE = "noise"


_OPAQUE = ("local.", "module.", "data.")
"""What an expression may read a resource through."""

_TELLING = 4
"""A shorter text that moved from one value to another may have done so by chance at two places."""

_MEMBER = 2
"""Steps of the path of a map's member, in a map that is an attribute of the resource."""

_OWN_STEPS = 2
"""Steps of a configuration address that are the resource's own: its type and its name."""

_ROOTS = frozenset({Origin.CLOUD, Origin.CODE})
_ALSO = frozenset({Cause.UNAPPLIED_COMMIT, Cause.PROVIDER_UPGRADE, Cause.INPUT_CHANGE})
"""Causes that something must have moved for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """One attribute with its origin.

    `configured`: the code sets it, as far as is known. `references`: what it says there refers to, None where
    that is not known.
    """

    difference: Difference
    origin: Origin
    configured: bool
    references: frozenset[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A resource that differs. `whole` is its origin where that is no matter of attributes."""

    address: str
    resource: ResourceChange
    kind: FindingKind
    action: str
    judged: tuple[_Judged, ...]
    whole: Origin | None
    elsewhere: bool = False
    """It is looked for elsewhere than it was."""

    @property
    def configuration(self) -> str:
        return without_indexes(self.resource.address)

    @property
    def module(self) -> str:
        """The configuration address of its module with a full stop behind it, empty for the root module."""
        return "".join(f"{step}." for step in self.configuration.split(".")[:-_OWN_STEPS])

    @property
    def origins(self) -> frozenset[Origin]:
        own = frozenset(judged.origin for judged in self.judged)
        return own if self.whole is None else own | {self.whole}

    @property
    def counted(self) -> bool:
        return bool(self.origins - {Origin.NOISE})


def findings_of(plan: Plan, *, comparison: Comparison, digest: Digester) -> tuple[Finding, ...]:
    """All findings, noise among them with `counted` false, redacted, ordered by address."""
    drafts = _where_they_are_looked_for(tuple(_drafts(plan)), plan, comparison)
    context = _Context(plan, drafts, comparison, digest)
    resources = [context.resource_finding(draft) for draft in drafts]
    outputs = [context.output_finding(name, change) for name, change in plan.outputs.items()]
    checks = [_check_finding(check, plan.secrets) for check in plan.checks]
    found = [*resources, *(output for output in outputs if output is not None), *checks]
    return tuple(sorted(found, key=lambda finding: (finding.address, finding.kind)))


def identity_of_check(address: str) -> str:
    """The identity of the finding that a failing check is."""
    return f"{FindingKind.CHECK_FAILED}:{address}"


def is_unjudged(identity: str, unjudged: Iterable[str]) -> bool:
    """Whether a finding is among those that a check could say nothing of, by itself or with all instances."""
    return bool({identity, without_indexes(identity)} & set(unjudged))


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """What the findings mean together; those that do not count mean nothing."""
    counted = [finding for finding in findings if finding.counted]
    checks = [finding for finding in counted if finding.kind is FindingKind.CHECK_FAILED]
    causes = {cause for finding in counted if finding not in checks for cause in finding.causes}
    drifted = bool(checks) or Cause.OUT_OF_BAND in causes
    if causes - _NOT_PENDING:
        return Verdict.MIXED if drifted else Verdict.PENDING
    return Verdict.DRIFTED if drifted else Verdict.IN_SYNC


def _drafts(plan: Plan) -> Iterator[_Draft]:
    drifts = {drift.address: drift for drift in plan.drift if drift.deposed is None}
    for resource in plan.changes:
        drift = None
        if resource.deposed is None:
            drift = drifts.pop(resource.address, None) or drifts.pop(resource.previous_address or "", None)
        draft = _draft(resource, drift, plan)
        if draft is not None:
            yield draft
    for drift in drifts.values():
        yield _gone_from_both(drift)


def _where_they_are_looked_for(
    drafts: tuple[_Draft, ...], plan: Plan, comparison: Comparison
) -> tuple[_Draft, ...]:
    """Takes what differs for the code's doing, where the code has the provider look somewhere else."""
    if not comparison.compares:
        return drafts
    found = {plan.placed.get(without_indexes(address)) for address in plan.managed}
    return tuple(
        _elsewhere(draft)
        if Origin.CLOUD in draft.origins and _is_elsewhere(draft, plan, comparison, found)
        else draft
        for draft in drafts
    )


def _is_elsewhere(draft: _Draft, plan: Plan, comparison: Comparison, found: set[str | None]) -> bool:
    """Where it is not known whether the place moved, that nothing is found there any more tells."""
    previous = draft.resource.previous_address
    before = None if previous is None else without_indexes(previous)
    moved = comparison.place_moved(draft.configuration, draft.resource.provider, before=before)
    if moved is None:
        return draft.kind is FindingKind.DELETED and plan.placed.get(draft.configuration) not in found
    return moved


def _elsewhere(draft: _Draft) -> _Draft:
    def by_code(origin: Origin) -> Origin:
        return Origin.CODE if origin is Origin.CLOUD else origin

    return replace(
        draft,
        kind=FindingKind.CREATED if draft.kind is FindingKind.DELETED else draft.kind,
        judged=tuple(replace(each, origin=by_code(each.origin)) for each in draft.judged),
        whole=None if draft.whole is None else by_code(draft.whole),
        elsewhere=True,
    )


def _draft(resource: ResourceChange, drift: ResourceChange | None, plan: Plan) -> _Draft | None:
    """None where there is nothing to tell: no difference, or nothing but a new address."""
    if drift is None and resource.change.is_no_op and not resource.change.importing:
        return None  # most of a large plan
    kind = _kind(resource.change, drift)
    judged: tuple[_Judged, ...] = ()
    if kind in (FindingKind.MODIFIED, FindingKind.REPLACED):
        judged = _telling(kind, _echoes_told(tuple(_judge_all(resource, drift, plan))))
    whole = _whole(kind, resource, judged)
    if whole is None and not judged:
        return None
    return _Draft(
        address=_shown_address(resource),
        resource=resource,
        kind=kind,
        action=_action(resource.change),
        judged=judged,
        whole=whole,
    )


def _gone_from_both(drift: ResourceChange) -> _Draft:
    """The cloud lost what the code no longer wants: only the state still knew of it."""
    kind = FindingKind.DELETED if drift.change.actions == _DELETE else FindingKind.MODIFIED
    return _Draft(
        address=drift.address, resource=drift, kind=kind, action="no-op", judged=(), whole=Origin.NOISE
    )


def _shown_address(resource: ResourceChange) -> str:
    """A deposed object is one that a replacement left behind; it shares its address with its successor."""
    return f"{resource.address} (deposed {resource.deposed})" if resource.deposed else resource.address


def _kind(change: Change, drift: ResourceChange | None) -> FindingKind:
    if change.is_replacement:
        return FindingKind.REPLACED
    if change.actions == ("create",):
        deleted = drift is not None and drift.change.actions == _DELETE
        return FindingKind.DELETED if deleted else FindingKind.CREATED
    if change.actions in (_DELETE, ("forget",)):
        return FindingKind.DESTROYED
    return FindingKind.CREATED if change.importing and change.is_no_op else FindingKind.MODIFIED


def _action(change: Change) -> str:
    if change.is_replacement:
        return "replace"
    return "import" if change.importing and change.is_no_op else change.actions[0]


def _whole(kind: FindingKind, resource: ResourceChange, judged: tuple[_Judged, ...]) -> Origin | None:
    if kind is FindingKind.DELETED:
        return Origin.CLOUD
    if kind in (FindingKind.CREATED, FindingKind.DESTROYED):
        return Origin.CODE
    explained = any(attribute.origin is not Origin.NOISE for attribute in judged)
    if resource.change.is_no_op or explained or (kind is FindingKind.MODIFIED and _is_cosmetic(judged)):
        return None
    return Origin.FOLLOWS if resource.reason == "replace_by_triggers" else Origin.CODE


def _is_cosmetic(judged: tuple[_Judged, ...]) -> bool:
    """An apply would do something, but only turn null into `{}` or the like."""
    return any(attribute.difference.actual != attribute.difference.wanted for attribute in judged)


def _judge_all(resource: ResourceChange, drift: ResourceChange | None, plan: Plan) -> Iterator[_Judged]:
    change = resource.change
    state = change.before if drift is None or change.importing else drift.change.before
    mask = change.mask if drift is None else union((change.mask, drift.change.mask))
    configured = plan.configured.get(without_indexes(resource.address))
    for found in differences(state, change.before, change.after, mask):
        difference = _as_remembered(found, state, change.before)
        is_set = configured is None or not difference.path or difference.path[0] in configured
        references = configured.get(difference.path[0]) if configured and difference.path else None
        yield _Judged(
            difference=difference,
            origin=_origin(difference, configured=is_set),
            configured=is_set,
            references=references if difference is found else None,  # else the provider had a say
        )


def _as_remembered(difference: Difference, state: JsonValue, actual: JsonValue) -> Difference:
    """Undoes a move of a map's member that another map, which has the same key, knows nothing of.

    AWS keeps the provider's default tags out of `tags`, by comparing the cloud with the code. Where the code
    has other defaults by now, all the old ones seem to have come to `tags` by hand; `tags_all` had them.
    """
    if len(difference.path) != _MEMBER or not difference.drifted:
        return difference
    values = (difference.state, difference.actual)
    if any(held in values for held in _held_elsewhere(difference.path, state, actual)):
        _, in_cloud, in_code = difference.present
        return replace(difference, state=difference.actual, present=(in_cloud, in_cloud, in_code))
    return difference


def _held_elsewhere(path: tuple[str, ...], state: JsonValue, actual: JsonValue) -> Iterator[str]:
    """The texts that other maps have under a member's key, in the state and in the cloud alike."""
    if not is_object(state) or not is_object(actual):
        return
    attribute, key = path
    for name in state.keys() & actual.keys() - {attribute}:
        then, now = state[name], actual[name]
        if (
            is_object(then)
            and is_object(now)
            and isinstance(then.get(key), str)
            and then.get(key) == now.get(key)
        ):
            yield str(now[key])


def _origin(difference: Difference, *, configured: bool) -> Origin:
    if not difference.changes:
        return Origin.NOISE
    if not difference.has_unknown:
        return Origin.CLOUD if difference.drifted else Origin.CODE
    if not difference.drifted:
        return Origin.FOLLOWS
    # What the provider computes may move by itself. A container may be a dynamic block, which the
    # document's configuration leaves out, so that only a scalar is known to be computed.
    is_container = any(is_list(value) or is_object(value) for value in (difference.state, difference.actual))
    return Origin.CLOUD if configured or is_container else Origin.NOISE


def _echoes_told(judged: tuple[_Judged, ...]) -> tuple[_Judged, ...]:
    """Takes members of a computed map that repeat one the code sets for noise: AWS's `tags_all` and `tags`.

    Only members of maps: that two plain attributes went from true to false may well be two changes.
    """
    said = {_content(each.difference) for each in judged if each.configured}
    return tuple(replace(each, origin=Origin.NOISE) if _is_echo(each, said) else each for each in judged)


def _is_echo(judged: _Judged, said: set[tuple[object, ...]]) -> bool:
    is_member = len(judged.difference.path) > 1
    return is_member and not judged.configured and _content(judged.difference) in said


def _content(difference: Difference) -> tuple[object, ...]:
    """What an attribute says, whatever its name: the path below it and the three values."""
    values = (difference.state, difference.actual, difference.wanted)
    return (*difference.path[1:], *map(canonical, values))


def _telling(kind: FindingKind, judged: tuple[_Judged, ...]) -> tuple[_Judged, ...]:
    """Leaves out computed values that an apply will make anew, unless they are all there is to tell."""
    told = tuple(each for each in judged if each.configured or each.origin is not Origin.FOLLOWS)
    explained = any(each.origin is not Origin.NOISE for each in told)
    return told if explained or kind is FindingKind.REPLACED else judged


class _Context:
    """What resolving one draft needs of all the others."""

    def __init__(
        self, plan: Plan, drafts: tuple[_Draft, ...], comparison: Comparison, digest: Digester
    ) -> None:
        self._plan = plan
        self._comparison = comparison
        self._digest = digest
        self._roots = _roots_by_configuration(drafts)
        self._drifted = _relevant_drift(plan, drafts)

    def resource_finding(self, draft: _Draft) -> Finding:
        attributes = tuple(self._judged_attribute(draft, judged) for judged in draft.judged)
        whole = () if draft.whole is None else (self._cause_of_whole(draft, draft.whole),)
        return _finding(
            address=draft.address,
            type_=draft.resource.type,
            kind=draft.kind,
            action=draft.action,
            attributes=attributes,
            causes=(*whole, *_causes(attributes)),
            message=_REASONS.get(draft.resource.reason or ""),
            evidence=self._comparison.evidence(
                draft.configuration,
                draft.resource.provider,
                references=None if draft.whole or draft.elsewhere else _read_by(draft.judged),
                module=draft.module,
            ),
        )

    def output_finding(self, name: str, change: Change) -> Finding | None:
        """None for an output that stays as it is, or stays null."""
        if change.is_no_op:
            return None
        found = differences(change.before, change.before, change.after, change.mask)
        if not found:
            return None
        read = self._plan.output_references.get(name, frozenset())
        attributes = tuple(self._attribute(each, self._cause_of_output(each, read), own=0) for each in found)
        return _finding(
            address=f"output.{name}",
            type_="output",
            kind=FindingKind.OUTPUT,
            action=_action(change),
            attributes=attributes,
            causes=_causes(attributes),
            evidence=self._comparison.evidence(f"output.{name}", None, references=read),
        )

    def _judged_attribute(self, draft: _Draft, judged: _Judged) -> AttributeChange:
        cause = self._cause(draft, judged)
        also = self._cause_beside(draft, judged) if cause is Cause.OUT_OF_BAND else None
        return replace(self._attribute(judged.difference, cause), also=also)

    def _attribute(self, difference: Difference, cause: Cause, *, own: int = 1) -> AttributeChange:
        """`own` are the first steps of a path, which a provider's schema names and no secret can."""

        def shown(value: JsonValue) -> JsonValue:
            hidden = hide(value, difference.mask, self._digest)
            return bounded(without_secrets(hidden, self._plan.secrets, self._digest), self._digest)

        steps = difference.path
        keys = (step_without_secrets(step, self._plan.secrets, self._digest) for step in steps[own:])
        return AttributeChange(
            path=pointer((*steps[:own], *keys)),
            before=shown(difference.state),
            actual=shown(difference.actual),
            after=shown(self._timeless(difference.wanted)),
            sensitive=difference.mask is not False,
            cause=cause,
        )

    def _timeless(self, wanted: JsonValue) -> JsonValue:
        """Names the plan's time where `plantimestamp()` gave it: that is another text in every plan."""
        return _with(wanted, self._plan.time, PLAN_TIME) if self._plan.time else wanted

    def _cause(self, draft: _Draft, judged: _Judged) -> Cause:
        if judged.origin is Origin.NOISE:
            return Cause.NOISE
        if judged.origin is Origin.CLOUD or self._is_consequence(draft, judged):
            return Cause.OUT_OF_BAND
        return self._cause_in_code(draft, judged)

    def _cause_in_code(self, draft: _Draft, judged: _Judged) -> Cause:
        if draft.elsewhere:
            return self._comparison.cause_of_place()
        return self._comparison.cause(
            draft.resource.provider,
            configured=judged.configured,
            references=judged.references,
            module=draft.module,
            says=lambda reads: self._repeats(judged.difference, reads),
        )

    def _cause_beside(self, draft: _Draft, judged: _Judged) -> Cause | None:
        """Why the code wants something else than the state remembers, where the cloud has a third thing."""
        it = judged.difference
        if judged.origin is not Origin.CLOUD or it.has_unknown or alike(it.state, it.wanted):
            return None
        if canonical(it.state) == canonical(it.wanted):
            return None
        cause = self._cause_in_code(draft, judged)
        return cause if cause in _ALSO else None

    def _repeats(self, difference: Difference, reads: Iterable[str]) -> bool:
        """True where what the code wants has a text of one of these data sources that is not there yet."""
        texts = {text for name in reads for text in self._texts_read.get(name, ())}
        there, wanted = list(_texts(difference.actual)), list(_texts(difference.wanted))
        new = [each for each in wanted if each not in there]
        return any(text in each for text in texts if len(text) >= _TELLING for each in new)

    @cached_property
    def _texts_read(self) -> Mapping[str, tuple[str, ...]]:
        """What data sources say, by their address, and for states of others by the output's."""
        found: dict[str, tuple[str, ...]] = {}
        for read in self._plan.data_reads:
            found[read.address] = tuple(_texts(read.values))
            outputs = read.values.get("outputs") if is_object(read.values) else None
            for name, value in outputs.items() if is_object(outputs) else ():
                found[f"{read.address}.outputs.{name}"] = tuple(_texts(value))
        return found

    def _cause_of_whole(self, draft: _Draft, whole: Origin) -> Cause:
        if whole is Origin.NOISE:
            return Cause.NOISE
        if whole is Origin.CLOUD or (whole is Origin.FOLLOWS and self._upstream(draft) == {Origin.CLOUD}):
            return Cause.OUT_OF_BAND
        if draft.elsewhere:
            return self._comparison.cause_of_place()
        if draft.resource.reason == _TAINTED and self._comparison.state_moved:
            return Cause.STATE_EDIT
        return self._comparison.cause(draft.resource.provider)

    def _cause_of_output(self, difference: Difference, read: frozenset[str]) -> Cause:
        """An output only passes on: what follows from the cloud is told by the resource it comes from."""
        if not difference.changes:
            return Cause.NOISE
        if difference.has_unknown:
            follows = frozenset().union(*self._roots.values()) == {Origin.CLOUD} and _may_follow(read, "")
        else:
            sources = [address for address in self._drifted if _may_read(read, address)]
            follows = bool(sources) and (
                self._comparison.nothing_moved or self._is_passed_on(difference, sources)
            )
        if follows:
            return Cause.NOISE
        return self._comparison.cause(
            None, references=read, says=lambda reads: self._repeats(difference, reads)
        )

    def _is_consequence(self, draft: _Draft, judged: _Judged) -> bool:
        """True where the attribute changes only because something else was changed by hand."""
        if judged.references is not None and not _may_follow(judged.references, draft.resource.address):
            return False
        if judged.origin is Origin.CODE:
            sources = self._drifted.keys() & self._dependencies(draft)
            nothing_else = self._comparison.compares and self._comparison.nothing_moved
            return bool(sources) and (nothing_else or self._is_passed_on(judged.difference, sources))
        own = draft.origins & _ROOTS
        return (own if own and not judged.configured else self._upstream(draft)) == {Origin.CLOUD}

    def _is_passed_on(self, difference: Difference, sources: Iterable[str]) -> bool:
        """True where what the code wants is what there is, but for what moved in the cloud at a source."""
        for address in sources:
            for then, now in self._drifted[address]:
                if same(_with(difference.actual, then, now), difference.wanted):
                    return True
        return False

    def _upstream(self, draft: _Draft) -> frozenset[Origin]:
        """The origins of all that changes among what this resource depends on, directly or not."""
        origins = (self._roots.get(address, frozenset()) for address in self._dependencies(draft))
        return frozenset().union(*origins)

    def _dependencies(self, draft: _Draft) -> frozenset[str]:
        return self._plan.dependencies.get(draft.resource.address, frozenset())


def _roots_by_configuration(drafts: Iterable[_Draft]) -> Mapping[str, frozenset[Origin]]:
    roots: defaultdict[str, frozenset[Origin]] = defaultdict(frozenset)
    for draft in drafts:
        roots[draft.configuration] |= draft.origins & _ROOTS
    return roots


def _relevant_drift(plan: Plan, drafts: Iterable[_Draft]) -> Mapping[str, tuple[tuple[str, str], ...]]:
    """Configuration addresses where an attribute moved in the cloud that some change in the plan reads.

    With each of them the texts that moved, as they were and as they are, those that tell something.
    """
    relevant: defaultdict[str, list[tuple[str, ...]]] = defaultdict(list)
    for address, path in plan.relevant:
        relevant[without_indexes(address)].append(path)
    drifted: dict[str, tuple[tuple[str, str], ...]] = {}
    for draft in drafts:
        if draft.elsewhere:
            continue
        address = draft.configuration
        moved = [judged.difference for judged in draft.judged if judged.difference.drifted]
        read = [each for each in moved if any(_overlap(each.path, path) for path in relevant[address])]
        if read:
            drifted[address] = (*drifted.get(address, ()), *_moved_texts(read))
    return drifted


def _moved_texts(moved: Iterable[Difference]) -> Iterator[tuple[str, str]]:
    for each in moved:
        if isinstance(each.state, str) and isinstance(each.actual, str) and len(each.state) >= _TELLING:
            yield each.state, each.actual


def _with(value: JsonValue, then: str, now: str) -> JsonValue:
    """The value with one text instead of another, wherever it is in it."""
    if is_object(value):
        return {key: _with(member, then, now) for key, member in value.items()}
    if is_list(value):
        return [_with(element, then, now) for element in value]
    return value.replace(then, now) if isinstance(value, str) else value


def _read_by(judged: Iterable[_Judged]) -> frozenset[str] | None:
    """All that the code refers to where something differs; None where a part of it is not known."""
    known = [each.references for each in judged if each.origin is not Origin.NOISE]
    read = [each for each in known if each is not None]
    return frozenset[str]().union(*read) if len(read) == len(known) else None


def _texts(value: JsonValue) -> Iterator[str]:
    """All texts in a value, but for keys."""
    if is_object(value):
        for member in value.values():
            yield from _texts(member)
    elif is_list(value):
        for element in value:
            yield from _texts(element)
    elif isinstance(value, str):
        yield value


def _causes(attributes: Iterable[AttributeChange]) -> tuple[Cause, ...]:
    return tuple(
        cause for attribute in attributes for cause in (attribute.cause, attribute.also) if cause is not None
    )


def _may_follow(references: Iterable[str], address: str) -> bool:
    """False where an expression refers to nothing, or only to the root module's variables."""
    in_root = not address.startswith("module.")
    return any(not (in_root and reference.startswith("var.")) for reference in references)


def _may_read(references: Iterable[str], address: str) -> bool:
    """Whether an output may read a resource: it says so, or refers to what hides what it reads."""
    return any(
        reference.startswith(_OPAQUE)
        or reference == address
        or reference.startswith((f"{address}.", f"{address}["))
        for reference in references
    )


def _overlap(left: tuple[str, ...], right: tuple[str, ...]) -> bool:
    return all(one == other for one, other in zip(left, right, strict=False))


def _check_finding(check: FailingCheck, secrets: Iterable[str]) -> Finding:
    text = (
        " ".join(message for message in check.messages if message) or "The condition could not be evaluated."
    )
    return _finding(
        address=check.address,
        type_=check.kind,
        kind=FindingKind.CHECK_FAILED,
        action="check",
        attributes=(),
        causes=(Cause.UNDETERMINED,),
        message=scrub(text, secrets)[:MAX_MESSAGE],
        extra=f"{check.status} {len(check.messages)}",
    )


def _finding(
    *,
    address: str,
    type_: str,
    kind: FindingKind,
    action: str,
    attributes: tuple[AttributeChange, ...],
    causes: tuple[Cause, ...],
    message: str | None = None,
    extra: str = "",
    evidence: Evidence | None = None,
) -> Finding:
    telling = frozenset(causes) - {Cause.NOISE}
    counted = bool(telling)
    return Finding(
        address=address,
        type=type_,
        kind=kind,
        action=action,
        causes=tuple(cause for cause in Cause if cause in telling) or (Cause.NOISE,),
        severity=severity_of(kind=kind, type_=type_, action=action, attributes=attributes, counted=counted),
        fingerprint=fingerprint_of(
            address=address, kind=kind, attributes=attributes, counted=counted, extra=extra
        ),
        counted=counted,
        attributes=attributes,
        message=message,
        evidence=evidence if counted else None,
    )
