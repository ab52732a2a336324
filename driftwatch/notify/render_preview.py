"""What a pull request would do, as the one comment that driftwatch keeps in it.

Pure: a preview in, Markdown out. Whatever outsiders wrote (names, values, sentences, paths, logins) stands in
code spans and nowhere else, as in issues (`driftwatch.notify.markdown`, which says why). The comment begins
with a mark that readers do not see. What does not fit is left out from the end, with its true count; that a
stack is there, and how it stands, comes before all details.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from typing import TYPE_CHECKING

from driftwatch.drift.losses import lost_with
from driftwatch.model import CommitState
from driftwatch.notify.markdown import (
    BODY_LIMIT,
    NAME_LIMIT,
    PATH_LIMIT,
    SENTENCE_LIMIT,
    VALUE_LIMIT,
    code,
)
from driftwatch.notify.text import literal
from driftwatch.notify.words import CAUSES, KINDS, counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from driftwatch.model import AttributeChange, ErrorReport, Finding, PlannedChange, PlanSummary
    from driftwatch.policy.admission import Held

CHANGES_SHOWN = 40
"""Resources of one stack; what destroys comes first."""

ATTRIBUTES_SHOWN = 8
ALREADY_SHOWN = 10
HOLDS_SHOWN = 8
WAITS_SHOWN = 12
RESOURCES_SHOWN = 12
STACKS_SHOWN = 400
COMMIT_DIGITS = 10

UNHEARD = "Somebody asked for something here, and nobody who did has the right to."
"""All that is said to those without the right."""

_SIGNS: Mapping[tuple[str, ...], str] = {
    ("create",): "adds",
    ("update",): "changes",
    ("delete",): "**destroys**",
    ("forget",): "**forgets**",
    ("import",): "imports",
    ("move",): "moves",
}
_REPLACES = "**replaces**"
_STATES: Mapping[CommitState, str] = {
    CommitState.PENDING: "being planned",
    CommitState.SUCCESS: "good",
    CommitState.FAILURE: "**not good yet**",
    CommitState.ERROR: "**unknown**",
}


class Step(StrEnum):
    """How far a preview has come."""

    PLANNING = "planning"
    WAITING = "waiting"
    """Nothing is run until somebody with the right has said so."""
    CONFLICT = "conflict"
    FAILED = "failed"
    """It could not be looked at at all."""
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Why nothing is run by itself: a sentence of ours, and the place and the line that it is about."""

    sentence: str
    path: str | None = None
    line: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StackPreview:
    """What the merge would do to one stack.

    `said` is one line in our own words. `findings` are those of the plan, with their attributes; `already`
    the open ones that are there without it. `after` says what follows the merge, `held` what would hold that,
    and `denied` is whether rules of one's own are among those. `approval` is whether people must agree to
    what it destroys, `approved` who did.
    """

    stack: str
    state: CommitState
    said: str
    summary: PlanSummary | None = None
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    already: tuple[Finding, ...] = ()
    after: str = ""
    held: tuple[Held, ...] = ()
    denied: bool = False
    approval: bool = False
    approved: tuple[str, ...] = ()
    error: ErrorReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoneStack:
    """A stack whose directory would be no more: what its code declares stays in the cloud."""

    stack: str
    resources: tuple[str, ...] = ()
    open_findings: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """All that is said of a pull request.

    `head` and `base` are commits, `base` None where it was not merged with anything yet. `digest` is what an
    approval names. `answers` are what became of what people asked for, in sentences that may hold their
    words. `unheard` is whether somebody without the right asked for something.
    """

    step: Step
    head: str
    base: str | None = None
    branch: str = "main"
    stacks: tuple[StackPreview, ...] = ()
    gone: tuple[GoneStack, ...] = ()
    waits: tuple[Wait, ...] = ()
    error: ErrorReport | None = None
    digest: str = ""
    answers: tuple[str, ...] = ()
    unheard: bool = False
    own_file: bool = False
    needed: int = 1

    @property
    def state(self) -> CommitState:
        """Of all together: the worst that there is."""
        if self.step is Step.PLANNING:
            return CommitState.PENDING
        if self.step is Step.FAILED:
            return CommitState.ERROR
        if self.step is Step.CONFLICT:
            return CommitState.FAILURE
        if self.step is Step.WAITING:
            return CommitState.PENDING
        found = {each.state for each in self.stacks}
        worst = (CommitState.FAILURE, CommitState.ERROR, CommitState.PENDING)
        return next((state for state in worst if state in found), CommitState.SUCCESS)

    @property
    def passing(self) -> bool:
        """Whether a stack failed for a reason that may pass by itself."""
        return any(each.error is not None and each.error.passing for each in self.stacks)

    @property
    def said(self) -> str:
        """All together in one line, in our own words."""
        match self.step:
            case Step.PLANNING:
                return f"Planning {counted(len(self.stacks), 'stack')}."
            case Step.WAITING:
                return "Nothing is planned until somebody with the right has said so."
            case Step.CONFLICT:
                return "It does not merge with the branch."
            case Step.FAILED:
                return "It could not be looked at."
        return _of_all(self.stacks, self.gone)


def render(preview: Preview, mark: str) -> str:
    """The whole comment, in at most `BODY_LIMIT` characters; `mark` is its first line."""
    parts = [mark, f"**driftwatch**: {preview.said}"]
    parts += [*_standing(preview), *_list_of_stacks(preview), *_gone(preview), *_approval(preview)]
    parts += [f"- {code(each, SENTENCE_LIMIT)}" for each in preview.answers]
    footer = list(_footer(preview))
    room = BODY_LIMIT - sum(len(each) + 2 for each in (*parts, *footer)) - SENTENCE_LIMIT
    return _joined([*parts, *_details(preview.stacks, room), *footer])


def _of_all(stacks: Sequence[StackPreview], gone: Sequence[GoneStack]) -> str:
    if not stacks and not gone:
        return "It touches no stack."
    sums: dict[str, int] = {}
    for each in stacks:
        if each.summary is not None:
            for word in ("adds", "updates", "destroys", "replaces"):
                sums[word] = sums.get(word, 0) + int(getattr(each.summary, word))
    said = ", ".join(
        f"{sums[word]} to {verb}"
        for word, verb in (
            ("adds", "add"),
            ("updates", "change"),
            ("destroys", "destroy"),
            ("replaces", "replace"),
        )
        if sums.get(word)
    )
    texts = [f"{counted(len(stacks), 'stack')}: {said or 'nothing to do'}"] if stacks else []
    unknown = sum(each.summary is None for each in stacks)
    texts += [f"{unknown} could not be planned"] if unknown else []
    asked = sum(each.approval and each.state is CommitState.FAILURE for each in stacks)
    texts += [f"{asked} to be approved"] if asked else []
    texts += [f"{counted(len(gone), 'stack')} would be gone"] if gone else []
    return f"{'; '.join(texts)}."


def _standing(preview: Preview) -> Iterator[str]:
    """What is to be known before anything else."""
    if preview.step is Step.WAITING:
        yield "Nothing of it has been run, for these reasons:"
        yield from map(_wait, preview.waits[:WAITS_SHOWN])
        if len(preview.waits) > WAITS_SHOWN:
            yield f"- … and {len(preview.waits) - WAITS_SHOWN} more"
        yield "Somebody with the right to check lets it be planned by this comment, with the whole hash:"
        yield f"```\n/driftwatch plan {preview.head}\n```"
    if preview.error is not None:
        yield from _error(preview.error)
    if preview.unheard:
        yield UNHEARD
    if preview.own_file:
        yield (
            "It changes `.driftwatch.yaml`. What that says has no effect before it is merged: this preview "
            "goes by what the branch says."
        )


def _wait(wait: Wait) -> str:
    where = f" {code(wait.path, NAME_LIMIT)}" if wait.path else ""
    line = f": {code(wait.line, VALUE_LIMIT)}" if wait.line else ""
    return f"- {wait.sentence}{where}{line}"


def _error(error: ErrorReport) -> Iterator[str]:
    yield f"{code(error.code, PATH_LIMIT)}: {code(error.message, SENTENCE_LIMIT)}"
    if error.advice:
        yield f"What to do: {code(error.advice, SENTENCE_LIMIT)}"


def _list_of_stacks(preview: Preview) -> list[str]:
    room = BODY_LIMIT // 2
    shown: list[str] = []
    for line in map(_line, preview.stacks[:STACKS_SHOWN]):
        room -= len(line) + 1
        if room < 0:
            break
        shown.append(line)
    hidden = len(preview.stacks) - len(shown)
    return [*shown, *([f"- … and {hidden:,} more stacks"] if hidden > 0 else [])]


def _line(each: StackPreview) -> str:
    return f"- {_STATES[each.state]}: {code(each.stack, NAME_LIMIT)} {each.said}"


def _gone(preview: Preview) -> Iterator[str]:
    for each in preview.gone[:RESOURCES_SHOWN]:
        stays = "What it made stays in the cloud, and nobody watches it any more"
        if each.resources:
            stays += f": {_listed(each.resources, RESOURCES_SHOWN)}"
        differ = (
            f" {counted(each.open_findings, 'open finding')} would be closed." if each.open_findings else ""
        )
        yield (
            f"- The directory of {code(each.stack, NAME_LIMIT)} would be gone. driftwatch destroys nothing "
            f"for that. {stays}.{differ}"
        )
    if len(preview.gone) > RESOURCES_SHOWN:
        yield f"- … and {len(preview.gone) - RESOURCES_SHOWN} more stacks would be gone"


def _approval(preview: Preview) -> Iterator[str]:
    asked = [each for each in preview.stacks if each.approval and each.state is CommitState.FAILURE]
    if not asked or not preview.digest:
        return
    who = "somebody with the right" if preview.needed == 1 else f"{preview.needed} people with the right"
    yield (
        f"What {counted(len(asked), 'stack')} would destroy or replace has to be approved, by {who} to "
        f"approve: {code(f'/driftwatch approve {preview.digest}', PATH_LIMIT)}. Another push makes that void."
    )


def _details(stacks: Sequence[StackPreview], room: int) -> list[str]:
    """The stacks one after the other, as far as there is room; of one that does not fit, as much as does."""
    shown: list[str] = []
    for place, each in enumerate(stacks):
        for piece in _detail(each):
            room -= len(piece) + 2
            if room < 0:
                left = len(stacks) - place
                return [*shown, f"More does not fit here: {counted(left, 'stack')} are not told in full."]
            shown.append(piece)
    return shown


def _detail(each: StackPreview) -> Iterator[str]:
    if each.state is CommitState.PENDING:
        return
    yield f"### {code(each.stack, NAME_LIMIT)}"
    if each.error is not None:
        yield from _error(each.error)
        if each.error.detail:
            yield f"Last words: {code(each.error.detail[-SENTENCE_LIMIT:], SENTENCE_LIMIT)}"
    for note in each.notes:
        yield f"\N{WARNING SIGN} {code(note, SENTENCE_LIMIT)}"
    if each.summary is not None:
        yield from _changes(each.summary, {found.address: found for found in each.findings})
        yield from _losses(each.summary)
    yield from _approvers(each)
    yield from _already(each.already)
    yield from _after(each)


def _changes(summary: PlanSummary, findings: Mapping[str, Finding]) -> Iterator[str]:
    for change in summary.changes[:CHANGES_SHOWN]:
        yield "\n".join([_change(change), *_attributes(change, findings.get(change.address))])
    every = max(summary.total, len(summary.changes))
    hidden = every - min(len(summary.changes), CHANGES_SHOWN)
    if hidden > 0:
        yield f"- … and {counted(hidden, 'resource')} more"
    if summary.outputs:
        yield f"- changes the outputs {_listed(summary.outputs, RESOURCES_SHOWN)}"


def _change(change: PlannedChange) -> str:
    verb = _REPLACES if len(change.actions) > 1 else _SIGNS.get(change.actions, "touches")
    return f"- {verb} {code(change.address, NAME_LIMIT)}"


def _attributes(change: PlannedChange, finding: Finding | None) -> Iterator[str]:
    """With their values where a finding has them, else by their names."""
    told = {each.path: each for each in finding.attributes} if finding else {}
    names = change.attributes if change.actions not in (("create",), ("delete",)) else ()
    for path in names[:ATTRIBUTES_SHOWN]:
        yield f"  - {_attribute(told[path])}" if path in told else f"  - {code(path, PATH_LIMIT)}"
    if len(names) > ATTRIBUTES_SHOWN:
        yield f"  - … and {counted(len(names) - ATTRIBUTES_SHOWN, 'attribute')} more"


def _attribute(change: AttributeChange) -> str:
    path = code(change.path, PATH_LIMIT)
    if change.sensitive:
        return f"{path}: (sensitive, changed)"
    return f"{path}: {_value(change.actual)} → {_value(change.after)}"


def _value(value: object) -> str:
    return code(literal(value), VALUE_LIMIT)  # type: ignore[arg-type]  # a JSON value, as findings have them


def _losses(summary: PlanSummary) -> Iterator[str]:
    """What destroying costs, in words; a replacement loses as much."""
    lost: dict[str, list[str]] = {}
    for change in summary.changes:
        if "delete" in change.actions and (words := lost_with(change.type)):
            lost.setdefault(words, []).append(change.address)
    if lost:
        yield "**Lost for good with it:**"
    for words, addresses in lost.items():
        yield f"- {_listed(addresses, RESOURCES_SHOWN)}: {words}"
    if any(change.actions == ("forget",) for change in summary.changes):
        yield "- what is forgotten stays in the cloud, and nobody watches it any more"


def _approvers(each: StackPreview) -> Iterator[str]:
    if each.approved:
        yield f"Approved by {_listed(each.approved, RESOURCES_SHOWN)}."


def _already(findings: Sequence[Finding]) -> Iterator[str]:
    if not findings:
        return
    yield f"**Differs already, without this pull request** ({counted(len(findings), 'finding')}):"
    for each in findings[:ALREADY_SHOWN]:
        causes = ", ".join(CAUSES[cause] for cause in each.causes)
        yield f"- {code(each.address, NAME_LIMIT)} {KINDS[each.kind]}{f': {causes}' if causes else ''}"
    if len(findings) > ALREADY_SHOWN:
        yield f"- … and {len(findings) - ALREADY_SHOWN} more"


def _after(each: StackPreview) -> Iterator[str]:
    if each.after:
        yield f"After the merge: {code(each.after, SENTENCE_LIMIT)}"
    for held in each.held[:HOLDS_SHOWN]:
        until = f" It may change at {held.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC." if held.until else ""
        yield f"- {code(held.reason, PATH_LIMIT)}: {code(held.sentence, SENTENCE_LIMIT)}{until}"


def _footer(preview: Preview) -> Iterator[str]:
    onto = f" merged with {code(preview.base[:COMMIT_DIGITS], PATH_LIMIT)}" if preview.base else ""
    yield (
        f"Looked at {code(preview.head[:COMMIT_DIGITS], PATH_LIMIT)}{onto}. Nothing was changed. "
        "`/driftwatch plan` as a comment has it planned anew."
    )


def _listed(names: Sequence[str], most: int) -> str:
    shown = ", ".join(code(name, NAME_LIMIT) for name in names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown


def _joined(texts: Iterable[str]) -> str:
    """As paragraphs; the items of a list follow one another without a gap."""
    text, before = "", ""
    for each in texts:
        gap = "\n" if each.startswith("- ") and before.startswith("- ") else "\n\n"
        text, before = (f"{text}{gap}{each}" if text else each), each
    return text
