"""A finding in the sentences that a colleague would write: what differs, since when, and whose doing it is.

Pure, from what is stored with the finding. Names are those of repositories and clouds, as they are: whoever
prints the sentences makes them safe for the place where they go. Values that are sensitive are never said.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING

from driftwatch.drift.redaction import SENSITIVE
from driftwatch.drift.values import canonical, is_list, is_object
from driftwatch.model import KEPT_COMMITS, UNKNOWN_VALUE, Cause, FindingKind, InputKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from driftwatch.model import AttributeChange, Commit, Evidence, Finding, JsonValue, Movement

TOLD_ATTRIBUTES = 5
TOLD_COMMITS = 5
TOLD_INPUTS = 5
LONGEST_VALUE = 120
"""Characters; a policy or a script is for the list of attributes, not for a sentence."""

_DIGITS_OF_A_COMMIT = 7
_HIDDEN = "its values are sensitive and not shown"
_READS = frozenset({InputKind.VARIABLE, InputKind.DATA_READ, InputKind.UPSTREAM_OUTPUT})
_NOT_IN_SENTENCES = frozenset({Cause.OUT_OF_BAND, Cause.NOISE})


def explain(finding: Finding) -> tuple[str, ...]:
    """The sentences, the most telling first; at least one."""
    if finding.kind is FindingKind.CHECK_FAILED:
        return (f"What {finding.address} asserts does not hold.",)
    return tuple(_sentences(finding))


def _sentences(finding: Finding) -> Iterator[str]:
    yield from _by_hand(finding)
    for cause in Cause:
        if cause in finding.causes and cause not in _NOT_IN_SENTENCES:
            yield from _in_code(finding, cause)
    yield from _of_place(finding)
    yield from _uncounted(finding)


def _by_hand(finding: Finding) -> Iterator[str]:
    changed = [each for each in finding.attributes if each.cause is Cause.OUT_OF_BAND]
    if Cause.OUT_OF_BAND in finding.causes and finding.kind is FindingKind.DELETED:
        yield (
            "Somebody deleted it outside of Terraform: the state remembers it, the cloud no longer has it,"
            " and the code wants it."
        )
    elif Cause.OUT_OF_BAND in finding.causes and not changed:
        yield "It differs because something that it depends on was changed outside of Terraform."
    for each in changed[:TOLD_ATTRIBUTES]:
        yield _changed_by_hand(each)
    yield from _rest(changed, "changed outside of Terraform")


def _changed_by_hand(it: AttributeChange) -> str:
    if canonical(it.before) == canonical(it.actual):
        lead = f"{_name(it)} follows from something that was changed outside of Terraform"
        return f"{lead}: {_has_and_wants(it)}." if not it.sensitive else f"{lead}; {_HIDDEN}."
    lead = f"Somebody changed {_name(it)} outside of Terraform"
    if it.sensitive:
        return f"{lead}; {_HIDDEN}."
    return f"{lead}: the state remembered {_value(it.before)}, {_has_and_wants(it)}."


def _in_code(finding: Finding, cause: Cause) -> Iterator[str]:
    """What waits to be applied, for one cause: why, what, and what else is to be said of the why."""
    own = [each for each in finding.attributes if each.cause is cause]
    beside = [each for each in finding.attributes if each.also is cause]
    why, *more = _whys(finding.evidence, cause)
    wants = "it now plans" if cause is Cause.PROVIDER_UPGRADE else "the code wants"
    whats = [_wanted(each, wants) for each in own[:TOLD_ATTRIBUTES]]
    if (not own and not beside) or finding.kind is FindingKind.REPLACED:
        whats.insert(0, _wanted_as_a_whole(finding))
    if beside:
        names = _listed([_name(each) for each in beside], TOLD_ATTRIBUTES)
        whats.append(f"beside what was done by hand, {wants} something else at {names} than before")
    yield f"{why}: {whats[0]}."
    yield from (f"{what[:1].upper()}{what[1:]}." for what in whats[1:])
    yield from _rest(own, "to be changed")
    yield from more


def _whys(evidence: Evidence | None, cause: Cause) -> tuple[str, ...]:
    """A clause, and sentences that may follow later."""
    match cause:
        case Cause.UNAPPLIED_COMMIT:
            return _why_commit(evidence)
        case Cause.PROVIDER_UPGRADE:
            return (_why_provider(evidence),)
        case Cause.INPUT_CHANGE:
            return (_why_input(evidence),)
        case Cause.STATE_EDIT:
            return (_why_state(evidence),)
        case _:
            return (_why_unknown(evidence),)


def _why_commit(evidence: Evidence | None) -> tuple[str, ...]:
    commits = evidence.commits if evidence else ()
    if not commits:
        moved = _first(evidence, InputKind.COMMIT)
        commit = f" of commit {_short(moved.after)}" if moved and moved.after else ""
        return (f"The code{commit} is not applied yet",)
    if len(commits) == 1:
        return (f"The code of commit {_commit(commits[0])} is not applied yet",)
    many = f"At least {len(commits)}" if len(commits) >= KEPT_COMMITS else f"{len(commits)}"
    earlier = _listed([_commit(each) for each in commits[1:]], TOLD_COMMITS, between="; ")
    newest = _commit(commits[0])
    return (
        f"{many} commits that touched the stack's files are not applied yet, the newest {newest}",
        f"Before it: {earlier}.",
    )


def _why_provider(evidence: Evidence | None) -> str:
    moved = [
        f"the provider {_provider(each.name)} went from {each.before} to {each.after}"
        for each in _of(evidence, InputKind.PROVIDER)
    ]
    sentence = _listed(moved, TOLD_INPUTS) if moved else "the lock file of the providers has changed"
    return f"{sentence[:1].upper()}{sentence[1:]}"


def _why_input(evidence: Evidence | None) -> str:
    moved = [each for each in evidence.movements if each.input in _READS] if evidence else []
    if not moved:
        return "A variable or the answer of a data source has changed since the stack was last in sync"
    names = _listed([_input(each) for each in moved], TOLD_INPUTS, more=evidence.more if evidence else 0)
    verb = "has" if len(moved) == 1 else "have"
    return f"{names[:1].upper()}{names[1:]} {verb} changed since the stack was last in sync"


def _input(moved: Movement) -> str:
    if moved.input is InputKind.VARIABLE:
        return f"the variable {moved.name}"
    if moved.input is InputKind.UPSTREAM_OUTPUT:
        return f"the upstream output {moved.name}"
    return f"the answer of {moved.name}"


def _why_state(evidence: Evidence | None) -> str:
    moved = _first(evidence, InputKind.STATE)
    if moved is None:
        return "The state was written by something else than driftwatch"
    if moved.name == "lineage":
        return "The state is not the one that it was (its lineage is another)"
    return (
        "The state was written by something else than driftwatch since the stack was last in sync"
        f" (serial {moved.before}, now {moved.after}), so that somebody applied it or edited it"
    )


def _why_unknown(evidence: Evidence | None) -> str:
    if evidence is None:
        return "Why is not known, as there is no earlier check in sync to compare with"
    engine = [f"{each.before} became {each.after}" for each in _of(evidence, InputKind.ENGINE)]
    but = f" but the engine ({engine[0]})" if engine else ""
    return f"Why is not known, as nothing that driftwatch follows{but} has moved since the stack was in sync"


def _of_place(finding: Finding) -> Iterator[str]:
    """A resource that is to be made elsewhere leaves one behind where it was."""
    for moved in _of(finding.evidence, InputKind.PROVIDER_CONFIGURATION):
        if moved.before == moved.after:
            yield f"The provider configuration {moved.after} has changed: it is looked for somewhere else."
        else:
            yield (
                f"Its provider configuration was {moved.before} and is {moved.after}:"
                " it is looked for where it never was."
            )
        if finding.kind is FindingKind.CREATED:
            yield "The one that is where it was stays there, and after an apply no state knows of it."


def _wanted_as_a_whole(finding: Finding) -> str:
    match finding.kind, finding.action:
        case FindingKind.DESTROYED, "forget":
            return "the code lets go of it and leaves it in the cloud"
        case FindingKind.DESTROYED, _:
            return "the code no longer has it, and an apply would destroy it"
        case FindingKind.CREATED, "import":
            return "the code takes over what is in the cloud and not in the state yet"
        case FindingKind.CREATED, _:
            return "the code wants it, and the cloud does not have it yet"
        case FindingKind.REPLACED, _:
            return "an apply would delete it and make another one"
        case _:
            return "an apply would change it"


def _wanted(it: AttributeChange, wants: str) -> str:
    if it.sensitive:
        return f"{wants} another value at {_name(it)}, which is sensitive and not shown"
    if it.after == UNKNOWN_VALUE:
        return (
            f"{wants} {_name(it)} to be what only an apply will know, and the cloud has {_value(it.actual)}"
        )
    return f"{wants} {_name(it)} to be {_value(it.after)}, and the cloud has {_value(it.actual)}"


def _uncounted(finding: Finding) -> Iterator[str]:
    noise = [each for each in finding.attributes if each.cause is Cause.NOISE]
    for rule in sorted({each.rule for each in noise if each.rule is not None}):
        names = _listed([_name(each) for each in noise if each.rule == rule], TOLD_ATTRIBUTES)
        yield f"Not counted: {names}, by the rule {rule}."
    others = [_name(each) for each in noise if each.rule is None]
    if others:
        yield f"Not counted: {_listed(others, TOLD_ATTRIBUTES)}; an apply would change nothing there."
    if not finding.counted and not noise:
        yield "Not counted: an apply would change nothing."


def _has_and_wants(it: AttributeChange) -> str:
    if it.after == UNKNOWN_VALUE:
        return f"the cloud has {_value(it.actual)}, and what the code wants only an apply will know"
    return f"the cloud has {_value(it.actual)}, the code wants {_value(it.after)}"


def _name(it: AttributeChange) -> str:
    return _cut(it.path) or "its value"


def _value(value: JsonValue) -> str:
    if value is None:
        return "nothing"
    return _cut(json.dumps(_said(value), ensure_ascii=False, sort_keys=True))


def _said(value: JsonValue) -> JsonValue:
    """The value without the digests that stand for sensitive texts: a reader has no use for them."""
    if is_object(value):
        return {key: _said(member) for key, member in value.items()}
    if is_list(value):
        return [_said(element) for element in value]
    return "(sensitive)" if isinstance(value, str) and value.startswith(SENSITIVE) else value


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _commit(it: Commit) -> str:
    return f"{_short(it.id)} ({it.author}, {it.at.day} {it.at:%b %Y}, “{_cut(it.subject)}”)"


def _short(commit: str | None) -> str:
    return (commit or "")[:_DIGITS_OF_A_COMMIT]


def _provider(source: str | None) -> str:
    """`hashicorp/aws`: without the host of its registry, as people call it."""
    return "/".join((source or "").split("/")[-2:])


def _of(evidence: Evidence | None, kind: InputKind) -> list[Movement]:
    return [each for each in evidence.movements if each.input is kind] if evidence else []


def _first(evidence: Evidence | None, kind: InputKind) -> Movement | None:
    return next(iter(_of(evidence, kind)), None)


def _listed(names: Sequence[str], limit: int, *, more: int = 0, between: str = ", ") -> str:
    """`a`, `a and b`, `a, b and 7 more`."""
    left = max(len(names) - limit, 0) + more
    told = [*names[:limit], *([f"{left} more"] if left else [])]
    return " and ".join([between.join(told[:-1]), told[-1]]) if len(told) > 1 else told[0]


def _rest(attributes: Iterable[AttributeChange], what: str) -> Iterator[str]:
    left = sum(1 for _ in islice(attributes, TOLD_ATTRIBUTES, None))
    if left:
        yield f"{left} more attributes are {what}."
