"""A message as an issue: a title, a body that always tells the present condition, a comment on what is new.

Pure: a message in, Markdown out. Whatever outsiders wrote (names, values, sentences, owners) stands in code
spans and nowhere else. Neither a backslash nor an entity keeps GitHub from notifying whoever is named: it
looks for mentions, references and links in what the Markdown became, and leaves alone only what is code. No
line begins with an outsider's word, which keeps GitLab's quick actions out. Titles know no code spans on
GitLab, and name people and issues there; in them such signs become others that look alike.

Limits: GitHub takes 65,536 characters in a body and 256 in a title, GitLab 1,048,576 and 255.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import UTC
from heapq import nsmallest
from typing import TYPE_CHECKING

from driftwatch.model import INCIDENT_LINES, IncidentLine, TransitionKind
from driftwatch.notify.text import literal, plain
from driftwatch.notify.words import CAUSES, KINDS, OUTCOMES, VERDICTS, counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from driftwatch.model import Announcement, AttributeChange, Finding, JsonValue, Message

BODY_LIMIT = 60_000
COMMENT_LIMIT = 20_000
TITLE_LIMIT = 200
DIGEST = "digest:"
"""How the threads of digests begin; their day follows."""

NAME_LIMIT = 240
PATH_LIMIT = 120
VALUE_LIMIT = 120
SENTENCE_LIMIT = 500
COMMAND_LIMIT = 400
ADDRESSES_SHOWN = 12
OWNERS_SHOWN = 8
ATTRIBUTES_SHOWN = ((12, 8), (30, 4), (60, 2))
"""Up to so many findings, so many attributes of each; of more findings only the names."""

READ_LIMIT = 8_192
"""So much of a text is looked at: enough to redact what is shown of it, little where it has megabytes."""

LONGEST_FENCE = 3
"""Backticks in a row that are shown as they are. GitHub and GitLab read no fence of more than 80
(MAXBACKTICKS in cmark): a longer one would be no code, and what it holds would speak."""

_ELLIPSIS = "…"
_FENCES = re.compile("`+")
_LONG_FENCES = re.compile(f"`{{{LONGEST_FENCE + 1},}}")
_LOOKALIKE = "\N{MODIFIER LETTER GRAVE ACCENT}"
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)

_SIGNS = str.maketrans({sign: chr(ord(sign) + 0xFEE0) for sign in "#!~%&$^*[]<>\\|"} | {"`": _LOOKALIKE})
"""What begins a reference in a title on GitLab (issues, labels, milestones, epics) or markup: full width."""

_MENTION = re.compile(r"(?<![A-Za-z0-9])@")
_TICKET = re.compile(r"\b([A-Z][A-Z0-9_]+|[Gg][Hh])-(?=[0-9])")
_FULL_AT, _FULL_COLON, _STIFF_HYPHEN = (
    "\N{FULLWIDTH COMMERCIAL AT}",
    "\N{FULLWIDTH COLON}",
    "\N{NON-BREAKING HYPHEN}",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """How things are now: of an incident, or of whatever stacks the announcements are of."""

    title: str | None
    lines: tuple[IncidentLine, ...]
    total: int
    open: int

    @property
    def told(self) -> tuple[IncidentLine, ...]:
        """The stacks told of in detail: those that are open, and a single one in any case."""
        return self.lines if self.total == 1 else tuple(line for line in self.lines if not line.over)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """A part of a body that is shown whole or not at all, and how many findings it tells of."""

    text: str
    findings: int = 0


def is_digest(message: Message) -> bool:
    """Whether it gathers what came since the last one, and not what has one cause."""
    return message.incident is None and message.thread.startswith(DIGEST)


def title(message: Message) -> str:
    """What the issue is called now, in at most `TITLE_LIMIT` characters, as plain text that names nobody."""
    if is_digest(message):
        return f"Drift digest, {_day(message)}"
    now = _standing(message)
    if now.title and now.total > 1:
        name, tail = now.title, f": {_spread(now)}"
    else:
        others = now.total - 1
        name = now.lines[0].announcement.stack
        tail = f": {_outcome(now.lines[0].announcement)}" + (f", and {others:,} more" if others else "")
    return _cut(_nameless(name), TITLE_LIMIT - len(tail)) + tail


def body(message: Message, mark: str) -> str:
    """How things stand, in at most `BODY_LIMIT` characters; begins with `mark`, which must be a comment."""
    now = _standing(message)
    opening = [mark, *_opening(message, now), *_stacks(now)]
    room = BODY_LIMIT - len("\n\n".join(opening)) - SENTENCE_LIMIT
    return _joined([*opening, *_details(now.told, room)])


def comment(message: Message) -> str:
    """What happened since the last one, all of it in one, in at most `COMMENT_LIMIT` characters."""
    told = message.all_told
    shown, _ = _fitting((_Piece(text=_happened(each)) for each in told), COMMENT_LIMIT - SENTENCE_LIMIT)
    hidden = len(told) - len(shown)
    return "\n".join([*(piece.text for piece in shown), *([f"- … and {hidden:,} more"] if hidden else [])])


def code(text: str, limit: int) -> str:
    """`text` as a code span of one line, cut at `limit` characters."""
    shown = plain(text[:READ_LIMIT]) + (_ELLIPSIS if len(text) > READ_LIMIT else "")
    shown = _cut(_LONG_FENCES.sub(lambda run: _LOOKALIKE * len(run[0]), shown), limit)
    fence = "`" * (1 + max((len(run) for run in _FENCES.findall(shown)), default=0))
    space = " " if not shown or shown[0] == "`" or shown[-1] == "`" else ""
    return f"{fence}{space}{shown}{space}{fence}" if shown else "` `"


def _standing(message: Message) -> _Standing:
    incident = message.incident
    if incident is not None and incident.lines:
        lines = incident.lines[:INCIDENT_LINES]
        return _Standing(title=incident.title, lines=lines, total=incident.total, open=incident.open)
    latest = {announcement.stack: announcement for announcement in message.all_told}
    each = [IncidentLine(announcement=told, over=told.kind.is_end) for told in latest.values()]
    lines = tuple(sorted(each, key=lambda line: (line.over, -_rank(line.announcement))))
    still_open = sum(not line.over for line in lines)
    return _Standing(title=None, lines=lines[:INCIDENT_LINES], total=len(lines), open=still_open)


def _rank(announcement: Announcement) -> int:
    return max((finding.severity.rank for finding in announcement.findings), default=-1)


def _day(message: Message) -> str:
    """The day of a digest, as its thread names it."""
    named = _DAY.search(message.thread)
    return named[0] if named else f"{max(told.at for told in message.all_told).astimezone(UTC):%Y-%m-%d}"


def _opening(message: Message, now: _Standing) -> list[str]:
    if is_digest(message):
        told = f"{len(message.all_told):,} announcements" if message.more else "One announcement"
        return [f"{told} since the last digest, of {counted(now.total, 'stack')}."]
    if now.total == 1:
        only = now.lines[0].announcement
        cause = [f"Why: {code(now.title, SENTENCE_LIMIT)}"] if now.title else []
        return [f"{code(only.stack, NAME_LIMIT)}: **{_outcome(only)}**.", *cause]
    return [f"{code(now.title or 'The same difference', SENTENCE_LIMIT)}: **{_spread(now)}**."]


def _spread(now: _Standing) -> str:
    return (
        f"open in {now.open:,} of {now.total:,} stacks" if now.open else f"over in all {now.total:,} stacks"
    )


def _stacks(now: _Standing) -> list[str]:
    """A line for each stack, where there are several."""
    if now.total == 1:
        return []
    lines = [
        f"- {'over' if line.over else '**open**'}: {code(line.announcement.stack, NAME_LIMIT)} "
        f"{_outcome(line.announcement)}"
        for line in now.lines
    ]
    hidden = now.total - len(lines)
    return ["### Stacks", "\n".join([*lines, f"- … and {hidden:,} more"] if hidden > 0 else lines)]


def _details(lines: Sequence[IncidentLine], room: int) -> list[str]:
    """The stacks one after the other, as far as there is room, and the true count of what is left out."""
    told = [line.announcement for line in lines]
    total = sum(_count(announcement) for announcement in told)
    listed = sum(len(_findings(announcement)) for announcement in told)
    attributes = next((shown for most, shown in ATTRIBUTES_SHOWN if listed <= most), 0)
    pieces, all_fit = _fitting(_pieces(told, attributes, headed=len(told) > 1), room)
    shown = sum(piece.findings for piece in pieces)
    texts = [piece.text for piece in pieces]
    if shown < total:
        texts.append(f"These are {shown:,} of **{total:,}** findings; `driftwatch findings list` shows all.")
    elif not all_fit:
        texts.append("More does not fit here.")
    return texts


def _pieces(told: Iterable[Announcement], attributes: int, *, headed: bool) -> Iterator[_Piece]:
    for announcement in told:
        if headed:
            yield _Piece(text=f"### {code(announcement.stack, NAME_LIMIT)}")
        yield from (_Piece(text=text) for text in _circumstances(announcement))
        for finding in _findings(announcement):
            yield _Piece(text=_finding(finding, attributes), findings=1)
        yield _Piece(text="  \n".join([*_where_to_look(announcement), _who(announcement)]))


def _fitting(pieces: Iterator[_Piece], room: int) -> tuple[list[_Piece], bool]:
    """The first that fit, and whether these are all. No more are made than that."""
    shown: list[_Piece] = []
    for piece in pieces:
        room -= len(piece.text) + 2
        if room < 0:
            return shown, False
        shown.append(piece)
    return shown, True


def _outcome(announcement: Announcement) -> str:
    """In our own words only: it stands outside of code."""
    match announcement.kind:
        case TransitionKind.RESOLVED:
            return f"resolved{_aside(announcement)}"
        case TransitionKind.REMINDER:
            return f"still {_condition(announcement)}"
        case TransitionKind.CHECK_FAILING:
            return "the check fails"
        case TransitionKind.RECOVERED:
            return f"the check works again, {_condition(announcement)}"
        case _:
            return OUTCOMES.get(announcement.kind) or _condition(announcement)


def _condition(announcement: Announcement) -> str:
    found = f", {counted(announcement.total, 'finding')}" if announcement.total else ""
    return f"{VERDICTS[announcement.verdict]}{found}{_aside(announcement)}"


def _aside(announcement: Announcement) -> str:
    return f", {announcement.set_aside} snoozed or accepted" if announcement.set_aside else ""


def _circumstances(announcement: Announcement) -> list[str]:
    """What is to be known beside the findings."""
    texts = []
    if announcement.said:
        texts.append(f"Last: {code(announcement.said, SENTENCE_LIMIT)}")
    if announcement.mass_deletion:
        sentence = code(announcement.mass_deletion, SENTENCE_LIMIT)
        texts.append(f"\N{WARNING SIGN} **So much is gone that this may not be true.** {sentence}")
    if announcement.kind is TransitionKind.REPLAY_DISAGREED:
        texts.append(f"What differs: {code(announcement.disagreement or 'nothing is known', SENTENCE_LIMIT)}")
    if announcement.kind in (TransitionKind.CHECK_FAILING, TransitionKind.STALE):
        texts.append(
            "\n".join([*_failure(announcement), "Until it works again, findings stay as they were."])
        )
    if announcement.resolved and announcement.kind is TransitionKind.RESOLVED:
        texts.append(f"Gone: {_addresses(announcement.resolved)}")
    if announcement.flapping:
        texts.append(
            f"Comes and goes, and is told again when it has settled: {_addresses(announcement.flapping)}"
        )
    return texts


def _failure(announcement: Announcement) -> list[str]:
    error = announcement.error
    if error is None:
        return []
    lines = [f"**Error** {code(error.code, PATH_LIMIT)}: {code(error.message, SENTENCE_LIMIT)}  "]
    if error.advice:
        lines.append(f"**What to do:** {code(error.advice, SENTENCE_LIMIT)}  ")
    return lines


def _findings(announcement: Announcement) -> tuple[Finding, ...]:
    """Those that are news, or there: where it tells of something else, they are neither."""
    return () if announcement.kind.is_of_detector or announcement.kind.is_end else announcement.findings


def _count(announcement: Announcement) -> int:
    found = _findings(announcement)
    return max(announcement.total, len(found)) if found else 0


def _finding(finding: Finding, attributes: int) -> str:
    causes = ", ".join(CAUSES[cause] for cause in finding.causes)
    what = f"{KINDS[finding.kind]}: {causes}" if causes else KINDS[finding.kind]
    lines = [f"- **{finding.severity.upper()}** {code(finding.address, NAME_LIMIT)} {what}"]
    if finding.message:
        lines.append(f"  - {code(finding.message, SENTENCE_LIMIT)}")
    lines += [f"  - {_attribute(change)}" for change in finding.attributes[:attributes]]
    hidden = len(finding.attributes) - attributes
    return "\n".join(
        [*lines, f"  - … and {counted(hidden, 'attribute')} more"] if attributes and hidden > 0 else lines
    )


def _attribute(change: AttributeChange) -> str:
    path = code(change.path, PATH_LIMIT)
    if change.sensitive:
        return f"{path}: (sensitive, changed)"
    actual, after = (code(literal(_beginning(value)), VALUE_LIMIT) for value in (change.actual, change.after))
    return f"{path}: {actual} → {after}"


def _where_to_look(announcement: Announcement) -> list[str]:
    stack = shlex.quote(plain(announcement.stack[:READ_LIMIT]))
    return [
        f"Look: {code(f'driftwatch findings list --stack {stack}', COMMAND_LIMIT)}",
        f"Check again: {code(f'driftwatch trigger {stack}', COMMAND_LIMIT)}",
    ]


def _who(announcement: Announcement) -> str:
    owners = _listed(announcement.owners, OWNERS_SHOWN, PATH_LIMIT) or "none declared"
    commit = f"commit {code(announcement.commit[:10], 10)}" if announcement.commit else "no commit"
    at = announcement.at.astimezone(UTC)
    return f"Owners: {owners} · {commit} · trigger {announcement.trigger} · {at:%Y-%m-%d %H:%M} UTC"


def _happened(announcement: Announcement) -> str:
    lines = [f"- {code(announcement.stack, NAME_LIMIT)}: {_outcome(announcement)}"]
    if announcement.said:
        lines.append(f"  - {code(announcement.said, SENTENCE_LIMIT)}")
    if announcement.error and announcement.kind is TransitionKind.CHECK_FAILING:
        error = announcement.error
        lines.append(f"  - {code(error.code, PATH_LIMIT)}: {code(error.message, SENTENCE_LIMIT)}")
    lines += [
        f"  - {words}: {_addresses(addresses)}"
        for words, addresses in (
            ("New", announcement.opened),
            ("Changed", announcement.changed),
            ("Gone", announcement.resolved),
            ("Comes and goes, told again when it has settled", announcement.flapping),
        )
        if addresses
    ]
    return "\n".join(lines)


def _addresses(addresses: Sequence[str]) -> str:
    return _listed(addresses, ADDRESSES_SHOWN, NAME_LIMIT)


def _listed(names: Sequence[str], most: int, limit: int) -> str:
    hidden = len(names) - most
    shown = ", ".join(code(name, limit) for name in names[:most])
    return f"{shown} and {hidden:,} more" if hidden > 0 else shown


def _nameless(text: str) -> str:
    """`text` for a title: no mention, no reference, no link on either forge, and still to be read."""
    shown = _MENTION.sub(_FULL_AT, plain(text[:READ_LIMIT]))
    shown = shown.translate(_SIGNS).replace("://", f"{_FULL_COLON}//")
    return _TICKET.sub(rf"\1{_STIFF_HYPHEN}", shown)


def _joined(texts: Iterable[str]) -> str:
    """As paragraphs; the items of a list follow one another without a gap."""
    text = ""
    for each in texts:
        gap = "\n" if each.startswith("- ") and text.rpartition("\n\n")[2].startswith("- ") else "\n\n"
        text = f"{text}{gap}{each}" if text else each
    return text


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + _ELLIPSIS


def _beginning(value: JsonValue) -> JsonValue:
    """As much of a value as is ever shown of it, whatever its size: all that is cut away is behind that."""
    return _Beginning().of(value)


@dataclass(slots=True)
class _Beginning:
    """Copies a value until more is copied than is shown; `room` is in characters of it as it is shown."""

    room: int = VALUE_LIMIT + 1

    def of(self, value: JsonValue) -> JsonValue:
        self.room -= 2
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            # Sorted, as they are shown.
            first = nsmallest(VALUE_LIMIT, value)
            return {self._text(key): self.of(value[key]) for key in first if self.room > 0}
        if isinstance(value, list | tuple):
            return [self.of(item) for item in value[:VALUE_LIMIT] if self.room > 0]
        return value

    def _text(self, text: str) -> str:
        read = text if len(text) <= READ_LIMIT else text[:READ_LIMIT] + _ELLIPSIS
        self.room -= len(plain(read))
        return read
