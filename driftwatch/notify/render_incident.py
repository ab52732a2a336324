"""What a message of the outbox looks like in Slack: one stack, one cause over many, or a digest.

Pure, as `driftwatch.notify.render`, which says how one announcement looks. An incident has one message that
always tells how things stand (`head`), and under it what happened since (`reply`). Where one cause concerns
many stacks, each is a line; findings are shown of one of them, as an example. What is proposed for it stands
in that message, too, and is decided there.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from driftwatch.model import Severity, TransitionKind
from driftwatch.notify import render
from driftwatch.notify.blocks import (
    HEADER_LIMIT,
    MESSAGE_LIMIT,
    SECTION_LIMIT,
    Block,
    Rendered,
    context,
    header,
    joined,
    length,
    packed,
    section,
)
from driftwatch.notify.render import SENTENCE_LIMIT, hidden
from driftwatch.notify.render_buttons import actions
from driftwatch.notify.render_proposals import proposed
from driftwatch.notify.text import code, escaped, plain, units
from driftwatch.notify.words import GREEN, RED, YELLOW, counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from driftwatch.model import Announcement, Incident, IncidentLine, Message

DIGEST = "digest:"
"""How the thread of a digest begins."""

STACK_LIMIT = 140
LINES_READ = 200
"""More lines than ever fit; the rest is counted without being looked at."""

EXAMPLE_ROOM = 1500
"""What a long list of stacks leaves for the findings of one of them."""

NAMES_SHOWN = 3
OWNERS_SHOWN = 10
OWNER_LIMIT = 60


def head(message: Message, *, buttons: bool, needed: int = 1) -> Rendered:
    """What stands in the channel. It has buttons where they can be pressed and something waits for it.

    `needed` is how many people have to approve a proposal.
    """
    incident = message.incident
    if incident is None:
        return _digest(message.all_told) if is_digest(message) else render.message(present(message.all_told))
    pressed = incident if buttons and incident.open > 0 and not _is_of_detector(message) else None
    repairs = proposed(incident, buttons=buttons, needed=needed)
    if incident.total == 1 and incident.title is None:
        return render.message(present(message.all_told), pressed, repairs)
    return _many(message, incident, pressed, repairs)


def reply(announcements: Sequence[Announcement]) -> Rendered:
    """What happened just now: one announcement in full, several with a line each."""
    if len(announcements) == 1:
        return render.reply(announcements[0])
    lines = list(islice((_happened(told) for told in announcements), LINES_READ))
    sections, shown = packed(lines, MESSAGE_LIMIT - SENTENCE_LIMIT)
    more = [section(f"… and {len(announcements) - shown} more")] if shown < len(announcements) else []
    return Rendered(
        text=_listed(lines, len(announcements)),
        blocks=(*sections, *more),
        stacks=frozenset(told.stack for told in announcements[:shown]),
    )


def is_digest(message: Message) -> bool:
    """Whether it tells together what has nothing to do with each other."""
    return message.incident is None and message.thread.startswith(DIGEST)


def is_escalation(announcements: Sequence[Announcement]) -> bool:
    """Whether a reply must not stay in its thread: something critical is new."""
    return any(
        told.kind in (TransitionKind.DRIFT_FOUND, TransitionKind.DRIFT_CHANGED)
        and told.opened
        and _worst(told) is Severity.CRITICAL
        for told in announcements
    )


def present(announcements: Sequence[Announcement]) -> Announcement:
    """How one stack stands: the last that was told of it, with what people did with it since."""
    last = announcements[-1]
    found = [told for told in announcements if not told.kind.is_aside]
    if not last.kind.is_aside or not found or found[-1].kind.is_end:
        return last
    return replace(
        found[-1],
        verdict=last.verdict,
        findings=last.findings,
        total=last.total,
        set_aside=last.set_aside,
        said=last.said,
    )


def _is_of_detector(message: Message) -> bool:
    return message.announcement.kind.is_of_detector


def _many(
    message: Message, incident: Incident, pressed: Incident | None, repairs: Sequence[Block]
) -> Rendered:
    opening = [header(_headline(message, incident)), *_noted(message, incident)]
    buttons = actions(pressed) if pressed else ()
    closing = [*repairs, *buttons, _look(message, incident), _who(message, incident)]
    room = MESSAGE_LIMIT - length(opening) - length(closing)
    open_lines = [line.announcement for line in incident.lines if not line.over]
    kept = min(EXAMPLE_ROOM, room // 3) if open_lines else 0
    lines, shown = packed(map(_line, incident.lines), room - kept - SENTENCE_LIMIT)
    listed = [*lines, *hidden(shown, incident.total, "stack")]
    example = _example(open_lines[0], incident, room - length(listed), pressed) if open_lines else []
    return Rendered(
        text=_fallback(message, incident),
        blocks=(*opening, *listed, *example, *closing),
        stacks=frozenset(line.announcement.stack for line in incident.lines[:shown]),
    )


def _headline(message: Message, incident: Incident) -> str:
    """The cause and how many stacks; the words for the cause give way first."""
    stacks, title = counted(incident.total, "stack"), plain(incident.title or "")
    still = f"{incident.open} open" if incident.open else "none open"
    numbers = f": {stacks}, {still}" if title else f": {still}"
    if not title:
        title = f"the same {'failure' if _is_of_detector(message) else 'change'} in {stacks}"
    return f"{_icon(message, incident)} {escaped(title, HEADER_LIMIT - len(numbers) - 4)}{numbers}"


def _icon(message: Message, incident: Incident) -> str:
    if not incident.open:
        return GREEN
    return YELLOW if _is_of_detector(message) else RED


def _fallback(message: Message, incident: Incident) -> str:
    names = [code(line.announcement.stack, STACK_LIMIT) for line in incident.lines[:NAMES_SHOWN]]
    left = incident.total - len(names)
    parts = [_headline(message, incident), *_spoken(message), *_doubts(incident)]
    return joined(
        [*parts, ", ".join(names) + (f" and {left} more" if left > 0 else "")], render.FALLBACK_LIMIT
    )


def _noted(message: Message, incident: Incident) -> list[Block]:
    return [
        *(context(sentence) for sentence in _spoken(message)),
        *(render.doubted(doubt) for doubt in _doubts(incident)),
    ]


def _spoken(message: Message) -> list[str]:
    sentence = render.spoken(message.all_told[-1])
    return [sentence] if sentence else []


def _doubts(incident: Incident) -> list[str]:
    """That so much is gone, of the first stack of which it was said, and in how many more it is so."""
    told = [line.announcement for line in incident.lines if not line.over and line.announcement.mass_deletion]
    if not told:
        return []
    sentence = escaped(plain(told[0].mass_deletion or ""), SENTENCE_LIMIT)
    more = f" And so in {counted(len(told) - 1, 'more stack')}." if len(told) > 1 else ""
    return [f"{code(told[0].stack, STACK_LIMIT)}: {sentence}{more}"]


def _line(line: IncidentLine) -> str:
    """One stack: how bad, which, and how it stands; struck through where it is over."""
    told = line.announcement
    name, outcome = code(told.stack, STACK_LIMIT), render.outcome(told)
    if line.over:
        return f"~{name}~ {outcome}"
    worst = _worst(told)
    return f"*{worst.upper()}* {name} {outcome}" if worst else f"{name} {outcome}"


def _worst(announcement: Announcement) -> Severity | None:
    severities = (finding.severity for finding in announcement.findings)
    return max(severities, key=lambda severity: severity.rank, default=None)


def _example(told: Announcement, incident: Incident, room: int, pressed: Incident | None) -> list[Block]:
    """What differs, or fails, in one of the stacks; in the only one each finding has its menu."""
    if told.kind.is_of_detector:
        return [section(f"*For example* {code(told.stack, STACK_LIMIT)}\n{render.failure(told)}")]
    if incident.total == 1:
        return render.findings(told, room, pressed)
    title = f"*For example* {code(told.stack, STACK_LIMIT)}"
    room = min(room, SECTION_LIMIT) - units(title) - SENTENCE_LIMIT
    details = [render.Detail.of(finding) for finding in told.findings]
    for attributes, _ in render.DETAIL:
        texts = [detail.text(attributes) for detail in details]
        if units("\n".join(texts)) <= room:
            break
    shown = list(_within(texts, room))
    left = told.total - len(shown)
    more = [f"… and {counted(left, 'finding')} more"] if left > 0 else []
    return [section("\n".join([title, *shown, *more]))] if shown else []


def _within(texts: Sequence[str], room: int) -> Iterator[str]:
    for text in texts:
        room -= units(text) + 1
        if room < 0:
            return
        yield text


def _look(message: Message, incident: Incident) -> Block:
    if incident.total == 1 and incident.lines:
        return render.where_to_look(incident.lines[0].announcement.stack)
    if _is_of_detector(message):
        return section("Look: `driftwatch stacks list`")
    return section("Look: `driftwatch findings list`, or with `--stack` and the id or a glob of some")


def _who(message: Message, incident: Incident) -> Block:
    owners = dict.fromkeys(owner for line in incident.lines for owner in line.announcement.owners)
    names = [escaped(plain(owner), OWNER_LIMIT) for owner in islice(owners, OWNERS_SHOWN)]
    more = f" and {len(owners) - len(names)} more" if len(owners) > len(names) else ""
    ended = incident.closed_at
    parts = [
        f"Owners: {', '.join(names)}{more}" if names else "Owners: no owners declared",
        f"since {incident.opened_at:%Y-%m-%d %H:%M} UTC",
        f"over {ended:%Y-%m-%d %H:%M} UTC"
        if ended
        else f"as of {message.all_told[-1].at:%Y-%m-%d %H:%M} UTC",
    ]
    return context(" · ".join(parts))


def _digest(announcements: Sequence[Announcement]) -> Rendered:
    stacks = counted(len({told.stack for told in announcements}), "stack")
    numbers = f"{counted(len(announcements), 'message')} on {stacks}"
    lines = list(islice((_happened(told) for told in announcements), LINES_READ))
    closing = section("Look: `driftwatch stacks list` and `driftwatch findings list`")
    sections, shown = packed(lines, MESSAGE_LIMIT - SENTENCE_LIMIT)
    return Rendered(
        text=f"Drift digest: {numbers}\n{_listed(lines, len(announcements))}",
        blocks=(
            header("Drift digest"),
            context(numbers),
            *sections,
            *hidden(shown, len(announcements), "message"),
            closing,
        ),
        stacks=frozenset(told.stack for told in announcements[:shown]),
    )


def _happened(told: Announcement) -> str:
    """One announcement as one line."""
    stands = f"{render.icon(told)} {code(told.stack, STACK_LIMIT)} {render.outcome(told)}"
    return " · ".join([stands, *render.news(told, shown=NAMES_SHOWN)])


def _listed(lines: Sequence[str], total: int) -> str:
    """The lines as far as they fit where there are no blocks, and how many there are beside them."""
    shown = list(_within(lines, SECTION_LIMIT - SENTENCE_LIMIT))
    return "\n".join([*shown, f"… and {total - len(shown)} more"] if len(shown) < total else shown)
