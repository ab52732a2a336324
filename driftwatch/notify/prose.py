"""A message as plain text, for mail and for whatever else knows no blocks: a subject and a body.

Pure: a message in, text out. The body says first how things stand now, then what is new, then each finding
(or stack, or announcement) with as much detail as fits, then where to look. What does not fit is counted, and
the totals are the true ones. No name and no value can begin a new line.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import UTC
from itertools import chain
from typing import TYPE_CHECKING

from driftwatch.model import TransitionKind
from driftwatch.notify.text import literal, plain
from driftwatch.notify.words import CAUSES, KINDS, OUTCOMES, VERDICTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from driftwatch.model import Announcement, AttributeChange, Finding, Incident, IncidentLine, Message

SUBJECT_LIMIT = 150
"""As much as a list of mails or a telephone's screen shows at the very most."""

ADDRESS_LIMIT = 180
LISTED_ADDRESS_LIMIT = 90
PATH_LIMIT = 90
VALUE_LIMIT = 70
SENTENCE_LIMIT = 400
COMMAND_LIMIT = 400
ATTRIBUTES_SHOWN = (4, 2, 0)
"""How many attributes of a finding are shown: the first of these with which all findings fit."""

ADDRESSES_SHOWN = 3
SAID_SHOWN = 3
_COUNT_ROOM = 40
"""Kept free for the line that counts what is not shown."""

_ELLIPSIS = "…"
_DIGEST = "digest:"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """A body before it is fitted: `items` are the paragraphs in the middle, of which `total` exist in truth.

    `items` takes how many attributes each may show. The opening's first line says the total, too.
    """

    opening: Sequence[str]
    items: Callable[[int], Iterator[str]]
    total: int
    closing: Sequence[str]


def subject(message: Message) -> str:
    """What it is about in one line of at most `SUBJECT_LIMIT` characters, the same as the body's first."""
    if is_digest(message):
        stacks = len({told.stack for told in message.all_told})
        return f"Digest: {_counted(len(message.all_told), 'message')} on {_counted(stacks, 'stack')}"
    if message.incident and message.incident.total > 1:
        return _incident_headline(message.incident)
    return _headline(present(message), SUBJECT_LIMIT)


def body(message: Message, limit: int) -> str:
    """All that there is to say, in at most `limit` characters."""
    if is_digest(message):
        return _fitted(_digest(message), limit)
    if message.incident and message.incident.total > 1:
        return _fitted(_several_stacks(message, message.incident), limit)
    return _fitted(_one_stack(message), limit)


def present(message: Message) -> Announcement:
    """The announcement that tells how things stand now: the worst stack's, or the latest."""
    if message.incident and message.incident.lines:
        return message.incident.lines[0].announcement
    return message.all_told[-1]


def is_digest(message: Message) -> bool:
    """Whether the message tells of whatever came since the last digest, and of no one incident."""
    return message.incident is None and message.thread.startswith(_DIGEST)


def cut(text: str, limit: int) -> str:
    """`text` in at most `limit` characters, the last an ellipsis where something is missing."""
    if len(text) <= limit:
        return text
    return text[: limit - 1].rstrip() + _ELLIPSIS if limit > 0 else ""


def _one_stack(message: Message) -> _Page:
    now = present(message)
    opening = [
        _headline(now, SUBJECT_LIMIT),
        *_shared_cause(message.incident),
        *_warnings(now),
        *_said(message.all_told),
        *_failure(now),
        *_news(message.all_told),
    ]
    findings = () if _is_without_findings(now) else now.findings
    return _Page(
        opening=opening,
        items=lambda attributes: (_finding(finding, attributes) for finding in findings),
        total=now.total if findings else 0,
        closing=[f"Look: {_command(now)}", *_who(now)],
    )


def _several_stacks(message: Message, incident: Incident) -> _Page:
    worst = present(message)
    return _Page(
        opening=[_incident_headline(incident), *_said(message.all_told), *_news(message.all_told)],
        items=lambda _: (_stack_line(line) for line in incident.lines),
        total=incident.total,
        closing=[f"Look, for the first: {_command(worst)}", f"At: {_time(message.all_told[-1])}"],
    )


def _digest(message: Message) -> _Page:
    told = message.all_told
    return _Page(
        opening=[subject(message)],
        items=lambda _: (f"{_time(each)}  {_headline(each, SUBJECT_LIMIT)}" for each in told),
        total=len(told),
        closing=["Look: driftwatch findings list"],
    )


def _incident_headline(incident: Incident) -> str:
    count = f"{_counted(incident.total, 'stack')}, {incident.open:,} still open"
    title = plain(incident.title or "") or "The same difference"
    return f"{cut(title, SUBJECT_LIMIT - len(count) - 2)}: {count}"


def _headline(announcement: Announcement, limit: int) -> str:
    """Stack, verdict and how many; the stack's name gives way first, by its beginning."""
    outcome = _outcome(announcement)
    name, room = plain(announcement.stack), limit - len(outcome) - 2
    return f"{name if len(name) <= room else _ELLIPSIS + name[1 - room :]}: {outcome}"


def _outcome(announcement: Announcement) -> str:
    match announcement.kind:
        case TransitionKind.RESOLVED:
            return f"resolved{_aside(announcement)}"
        case TransitionKind.REMINDER:
            return f"still {_condition(announcement)}"
        case TransitionKind.CHECK_FAILING:
            code = cut(plain(announcement.error.code), 40) if announcement.error else "no reason given"
            return f"the check fails ({code})"
        case TransitionKind.RECOVERED:
            return f"the check works again, {_condition(announcement)}"
        case _:
            return OUTCOMES.get(announcement.kind) or _condition(announcement)


def _condition(announcement: Announcement) -> str:
    found = f", {_counted(announcement.total, 'finding')}" if announcement.total else ""
    return f"{VERDICTS[announcement.verdict]}{found}{_aside(announcement)}"


def _aside(announcement: Announcement) -> str:
    return f", {announcement.set_aside:,} snoozed or accepted" if announcement.set_aside else ""


def _shared_cause(incident: Incident | None) -> list[str]:
    title = plain(incident.title or "") if incident else ""
    return [f"Why: {cut(title, SENTENCE_LIMIT)}"] if title else []


def _warnings(announcement: Announcement) -> list[str]:
    if not announcement.mass_deletion:
        return []
    sentence = cut(plain(announcement.mass_deletion), SENTENCE_LIMIT)
    return [f"So much is gone that this may not be true. {sentence}"]


def _said(told: Sequence[Announcement]) -> list[str]:
    """What people did, or what became of a repair: of each stack the latest words, of those the last."""
    latest: dict[str, str] = {}
    for announcement in told:
        if announcement.said:
            latest.pop(announcement.stack, None)
            latest[announcement.stack] = announcement.said
    named = len({announcement.stack for announcement in told}) > 1
    shown = list(latest.items())[-SAID_SHOWN:]
    hidden = len(latest) - len(shown)
    return [
        *([f"In {_counted(hidden, 'more stack')} something was done, too."] if hidden else []),
        *(cut(plain(f"{stack}: {said}" if named else said), SENTENCE_LIMIT) for stack, said in shown),
    ]


def _failure(announcement: Announcement) -> list[str]:
    if announcement.kind is TransitionKind.REPLAY_DISAGREED:
        return [cut(plain(announcement.disagreement or ""), SENTENCE_LIMIT) or "No more is known."]
    if not _is_without_findings(announcement) or announcement.kind is TransitionKind.RESOLVED:
        return []
    error = announcement.error
    lines = [cut(plain(f"{error.code}: {error.message}"), SENTENCE_LIMIT)] if error else []
    if error and error.advice:
        lines.append(f"What to do: {cut(plain(error.advice), SENTENCE_LIMIT)}")
    return [*lines, "Until it works again, nothing new is known of this stack; findings stay as they were."]


def _is_without_findings(announcement: Announcement) -> bool:
    """Whether it tells of something else, and the findings are no news or not there."""
    return announcement.kind in (
        TransitionKind.CHECK_FAILING,
        TransitionKind.STALE,
        TransitionKind.REPLAY_DISAGREED,
        TransitionKind.RESOLVED,
    )


def _news(told: Sequence[Announcement]) -> list[str]:
    """What came, changed and went, over all that is told at once."""
    found = (
        ("New", [announcement.opened for announcement in told]),
        ("Changed", [announcement.changed for announcement in told]),
        ("Gone", [announcement.resolved for announcement in told]),
        ("Comes and goes; told again when it has settled", [each.flapping for each in told]),
    )
    return [f"{words}: {_addresses(chain.from_iterable(many))}" for words, many in found if any(many)]


def _addresses(addresses: Iterable[str]) -> str:
    each = list(dict.fromkeys(addresses))
    named = [cut(plain(address), LISTED_ADDRESS_LIMIT) for address in each[:ADDRESSES_SHOWN]]
    hidden = len(each) - len(named)
    return ", ".join(named) + (f" and {hidden:,} more" if hidden else "")


def _finding(finding: Finding, attributes: int) -> str:
    causes = ", ".join(CAUSES[cause] for cause in finding.causes)
    what = f"{KINDS[finding.kind]}: {causes}" if causes else KINDS[finding.kind]
    lines = [f"{finding.severity.upper()} {cut(plain(finding.address), ADDRESS_LIMIT)}", f"  {what}"]
    if finding.message:
        lines.append(f"  {cut(plain(finding.message), SENTENCE_LIMIT // 2)}")
    lines += [f"  {_attribute(change)}" for change in finding.attributes[:attributes]]
    hidden = len(finding.attributes) - attributes
    if attributes and hidden > 0:
        lines.append(f"  and {_counted(hidden, 'attribute')} more")
    return "\n".join(lines)


def _attribute(change: AttributeChange) -> str:
    path = cut(plain(change.path), PATH_LIMIT)
    if change.sensitive:
        return f"{path}: (sensitive, changed)"
    actual, after = (cut(plain(literal(value)), VALUE_LIMIT) for value in (change.actual, change.after))
    return f"{path}: {actual} → {after}"


def _stack_line(line: IncidentLine) -> str:
    return f"{'over' if line.over else 'open'}  {_headline(line.announcement, SUBJECT_LIMIT)}"


def _command(announcement: Announcement) -> str:
    return cut(f"driftwatch findings list --stack {shlex.quote(plain(announcement.stack))}", COMMAND_LIMIT)


def _who(announcement: Announcement) -> list[str]:
    owners = ", ".join(plain(owner) for owner in announcement.owners) or "none declared"
    return [
        f"Owners: {cut(owners, SENTENCE_LIMIT // 2)}",
        f"Commit: {plain(announcement.commit or 'none')[:10]}",
        f"At: {_time(announcement)}",
    ]


def _time(announcement: Announcement) -> str:
    return f"{announcement.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _fitted(page: _Page, limit: int) -> str:
    """All items with as much detail as fits; without any detail, as many as fit, and the count of the others.

    Where there is little room, as in a text message, the closing gives way, then the end of the opening.
    """
    opening, closing = "\n".join(page.opening), "\n".join(page.closing)
    room = limit - len(opening) - _COUNT_ROOM
    if room < 0:
        return _first_lines(page.opening, limit)
    if room < len(closing):
        closing = ""
    shown, all_fit = _as_many_as_fit(page.items(ATTRIBUTES_SHOWN[0]), room - len(closing))
    for attributes in ATTRIBUTES_SHOWN[1:]:
        if not all_fit:
            shown, all_fit = _as_many_as_fit(page.items(attributes), room - len(closing))
    hidden = page.total - len(shown)
    more = [f"and {hidden:,} more"] if shown and hidden > 0 else []
    return "\n\n".join(part for part in (opening, "\n".join([*shown, *more]), closing) if part)


def _as_many_as_fit(items: Iterator[str], room: int) -> tuple[list[str], bool]:
    """The first of `items` that fit into `room`, and whether these are all. No more are made than that."""
    shown: list[str] = []
    for item in items:
        room -= len(item) + 1
        if room < 0:
            return shown, False
        shown.append(item)
    return shown, True


def _first_lines(lines: Sequence[str], limit: int) -> str:
    text = cut(lines[0], limit)
    for line in lines[1:]:
        if len(text) + len(line) + 1 > limit:
            break
        text = f"{text}\n{line}"
    return text


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
