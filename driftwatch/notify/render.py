"""An announcement as Slack's Block Kit: what is said, and that it fits.

Pure: an announcement in, blocks out. Two forms: `message` is the one that stands in the channel and is
updated in place, `reply` the short one in its thread that says what just happened. What concerns several
stacks at once is put together in `driftwatch.notify.render_incident`, out of the pieces that are public here.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from driftwatch.model import TransitionKind, Verdict
from driftwatch.notify.blocks import (
    HEADER_LIMIT,
    MESSAGE_LIMIT,
    SECTION_LIMIT,
    Block,
    Rendered,
    context,
    fitting,
    header,
    joined,
    length,
    section,
)
from driftwatch.notify.render_buttons import actions, menu
from driftwatch.notify.text import code, escaped, literal, plain
from driftwatch.notify.words import CAUSES, GREEN, ICONS, KINDS, OUTCOMES, VERDICTS, counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from driftwatch.model import Announcement, AttributeChange, Finding, Incident

FALLBACK_LIMIT = 900
ADDRESS_LIMIT = 180
PATH_LIMIT = 90
VALUE_LIMIT = 70
SENTENCE_LIMIT = 400
DETAIL = ((4, True), (2, True), (0, True), (0, False))
"""How many attributes of a finding are shown, and whether there are menus: the first of these with which all
findings fit."""

FINDINGS_SHOWN = 30
"""More than an announcement has; with what stands around them they stay below Slack's count of blocks."""

MENUS_SHOWN = 10
ADDRESSES_SHOWN = 5
RESOLVED_SHOWN = 12


def message(
    announcement: Announcement, pressed: Incident | None = None, repairs: Sequence[Block] = ()
) -> Rendered:
    """The message that stands in the channel and always tells the stack's present condition.

    `pressed` is the incident that its buttons act on; without one it has none. `repairs` are what is proposed
    (`driftwatch.notify.render_proposals`).
    """
    opening = [header(headline(announcement)), *_noted(announcement)]
    buttons = actions(pressed) if pressed else []
    closing = [*repairs, *buttons, where_to_look(announcement.stack), _who(announcement)]
    room = MESSAGE_LIMIT - length(opening) - length(closing)
    return Rendered(
        text=fallback(announcement),
        blocks=(*opening, *_body(announcement, room, pressed), *closing),
        stacks=frozenset({announcement.stack}),
    )


def reply(announcement: Announcement) -> Rendered:
    """The short message in the thread: what happened just now."""
    happened = joined([headline(announcement, SENTENCE_LIMIT // 2), *news(announcement)], SECTION_LIMIT)
    return Rendered(text=happened, blocks=(section(happened),), stacks=frozenset({announcement.stack}))


def headline(announcement: Announcement, limit: int = HEADER_LIMIT) -> str:
    """Stack, verdict and how many, in at most `limit` characters; the stack's name gives way first."""
    told = outcome(announcement)
    return f"{icon(announcement)} {escaped(plain(announcement.stack), limit - len(told) - 6)}: {told}"


def fallback(announcement: Announcement) -> str:
    """The message without any blocks; it must do alone where those are not shown or not taken."""
    parts = [headline(announcement)]
    if sentence := spoken(announcement):
        parts.append(sentence)
    if announcement.mass_deletion:
        parts.append(escaped(plain(announcement.mass_deletion), SENTENCE_LIMIT))
    if announcement.error:
        parts.append(escaped(plain(announcement.error.message), SENTENCE_LIMIT // 2))
    if announcement.kind is TransitionKind.REPLAY_DISAGREED:
        parts.append(_disagreement(announcement, SENTENCE_LIMIT))
    elif announcement.findings:
        named = (finding.address for finding in announcement.findings)
        parts.append(addresses(named, announcement.total, shown=3))
    return joined(parts, FALLBACK_LIMIT)


def icon(announcement: Announcement) -> str:
    """The colour: where nothing is left, or somebody put all of it aside, nothing waits for anybody."""
    settled = announcement.set_aside or _is_repaired(announcement)
    rests = settled and not announcement.total and not announcement.kind.is_of_detector
    return GREEN if rests else ICONS[announcement.kind]


def _is_repaired(announcement: Announcement) -> bool:
    """Whether it tells what became of a repair, and the stack is as it should be."""
    return announcement.kind is TransitionKind.REPAIR and announcement.verdict is Verdict.IN_SYNC


def outcome(announcement: Announcement) -> str:
    """How the stack stands, in a few words."""
    match announcement.kind:
        case TransitionKind.RESOLVED:
            return f"resolved{_aside(announcement)}"
        case TransitionKind.REMINDER:
            return f"still {_condition(announcement)}"
        case TransitionKind.CHECK_FAILING:
            return f"the check fails ({_error_code(announcement)})"
        case TransitionKind.RECOVERED:
            return f"the check works again, {_condition(announcement)}"
        case _:
            return OUTCOMES.get(announcement.kind) or _condition(announcement)


def spoken(announcement: Announcement) -> str:
    """What a person did with it; empty where nobody did anything."""
    return escaped(plain(announcement.said or ""), SENTENCE_LIMIT)


def doubted(sentence: str) -> Block:
    """What may not be true, before anything else is read."""
    return section(f"\N{WARNING SIGN} *So much is gone that this may not be true.* {sentence}")


def failure(announcement: Announcement) -> str:
    """Why a check fails or does not come, and what to do."""
    lines = [f"*{_error_code(announcement)}*"]
    if announcement.error:
        lines.append(escaped(plain(announcement.error.message), SENTENCE_LIMIT * 2))
    if announcement.error and announcement.error.advice:
        lines.append(f"*What to do:* {escaped(plain(announcement.error.advice), SENTENCE_LIMIT * 2)}")
    return "\n".join(lines)


def findings(announcement: Announcement, room: int, pressed: Incident | None = None) -> list[Block]:
    """All findings with as much detail as fits; without any detail, as many as fit, and the true total."""
    room -= SENTENCE_LIMIT
    details = [Detail.of(finding) for finding in announcement.findings[:FINDINGS_SHOWN]]
    menus = _menus(announcement, pressed)
    for attributes, with_menus in DETAIL:
        sections = [
            section(detail.text(attributes), beside if with_menus else None)
            for detail, beside in zip(details, menus, strict=True)
        ]
        if fitting(sections, room) == len(sections):
            break
    shown = fitting(sections, room)
    return [*sections[:shown], *hidden(shown, announcement.total, "finding")]


def hidden(shown: int, total: int, noun: str) -> list[Block]:
    """The true total, where not all are shown."""
    return [section(f"These are {shown} of *{total}* {noun}s.")] if shown < total else []


def where_to_look(stack: str) -> Block:
    """The commands that show all of it, ready to be copied."""
    quoted = shlex.quote(plain(stack))
    listed = code(f"driftwatch findings list --stack {quoted}", SENTENCE_LIMIT)
    again = code(f"driftwatch trigger {quoted}", SENTENCE_LIMIT)
    return section(f"Look: {listed}\nCheck again: {again}")


def news(announcement: Announcement, shown: int = ADDRESSES_SHOWN) -> list[str]:
    """What happened just now, in parts: what somebody said, and which addresses are new, changed and gone."""
    sentence = spoken(announcement)
    return ([sentence] if sentence else []) + [
        f"{words}: {addresses(named, len(named), shown=shown)}"
        for words, named in (
            ("New", announcement.opened),
            ("Changed", announcement.changed),
            ("Gone", announcement.resolved),
            ("Comes and goes; told again when it has settled", announcement.flapping),
        )
        if named
    ]


def addresses(named: Iterable[str], total: int, *, shown: int) -> str:
    """The first addresses, and how many more there are."""
    spans = [code(address, ADDRESS_LIMIT) for address in named][:shown]
    more = f" and {total - len(spans)} more" if total > len(spans) else ""
    return ", ".join(spans) + more


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """A finding in words, with as many attributes as may ever be shown: values are large, and read once."""

    what: str
    attributes: tuple[str, ...]
    total: int

    @classmethod
    def of(cls, finding: Finding) -> Self:
        causes = ", ".join(CAUSES[cause] for cause in finding.causes)
        what = f"{KINDS[finding.kind]}: {causes}" if causes else KINDS[finding.kind]
        lines = [f"*{finding.severity.upper()}* {code(finding.address, ADDRESS_LIMIT)} {what}"]
        if finding.message:
            lines.append(escaped(plain(finding.message), SENTENCE_LIMIT // 2))
        most = max(count for count, _ in DETAIL)
        return cls(
            what="\n".join(lines),
            attributes=tuple(_attribute(change) for change in finding.attributes[:most]),
            total=len(finding.attributes),
        )

    def text(self, attributes: int) -> str:
        """With its first `attributes`; none at all are not even counted."""
        left = self.total - attributes
        more = [f"… and {counted(left, 'attribute')} more"] if attributes and left > 0 else []
        return "\n".join([self.what, *self.attributes[:attributes], *more])


def _attribute(change: AttributeChange) -> str:
    path = code(change.path, PATH_LIMIT)
    if change.sensitive:
        return f"• {path}: (sensitive, changed)"
    return (
        f"• {path}: {code(literal(change.actual), VALUE_LIMIT)} → {code(literal(change.after), VALUE_LIMIT)}"
    )


def _noted(announcement: Announcement) -> list[Block]:
    sentence, deletion = spoken(announcement), announcement.mass_deletion
    doubts = [doubted(escaped(plain(deletion), SENTENCE_LIMIT))] if deletion else []
    return [context(sentence), *doubts] if sentence else doubts


def _menus(announcement: Announcement, pressed: Incident | None) -> list[Block | None]:
    return [
        menu(finding, pressed) if pressed and place < MENUS_SHOWN else None
        for place, finding in enumerate(announcement.findings[:FINDINGS_SHOWN])
    ]


def _condition(announcement: Announcement) -> str:
    words = VERDICTS[announcement.verdict]
    found = f", {counted(announcement.total, 'finding')}" if announcement.total else ""
    return f"{words}{found}{_aside(announcement)}"


def _aside(announcement: Announcement) -> str:
    return f", {announcement.set_aside} snoozed or accepted" if announcement.set_aside else ""


def _error_code(announcement: Announcement) -> str:
    return escaped(plain(announcement.error.code), 40) if announcement.error else "no reason given"


def _body(announcement: Announcement, room: int, pressed: Incident | None) -> list[Block]:
    if announcement.kind in (TransitionKind.CHECK_FAILING, TransitionKind.STALE):
        meanwhile = "Until it works again, nothing new is known of this stack; findings stay as they were."
        return [section(f"{failure(announcement)}\n{meanwhile}")]
    if announcement.kind is TransitionKind.RESOLVED:
        return _gone(announcement)
    if announcement.kind is TransitionKind.REPLAY_DISAGREED:
        return [section(_disagreement(announcement, SENTENCE_LIMIT * 2))]
    restless = _flapping(announcement)
    return [*restless, *findings(announcement, room - length(restless), pressed)]


def _flapping(announcement: Announcement) -> list[Block]:
    if not announcement.flapping:
        return []
    named = addresses(announcement.flapping, len(announcement.flapping), shown=ADDRESSES_SHOWN)
    return [section(f"*Comes and goes:* {named}. You hear of it again when it has settled.")]


def _disagreement(announcement: Announcement, limit: int) -> str:
    sentence = plain(announcement.disagreement or "")
    return escaped(sentence if sentence.strip() else "No more is known.", limit)


def _gone(announcement: Announcement) -> list[Block]:
    if not announcement.resolved:
        return []
    lines = [f"~{code(address, ADDRESS_LIMIT)}~ gone" for address in announcement.resolved[:RESOLVED_SHOWN]]
    left = len(announcement.resolved) - RESOLVED_SHOWN
    return [section("\n".join([*lines, f"… and {left} more"] if left > 0 else lines))]


def _who(announcement: Announcement) -> Block:
    owners = ", ".join(plain(owner) for owner in announcement.owners) or "no owners declared"
    parts = [
        f"Owners: {escaped(owners, SENTENCE_LIMIT // 2)}",
        f"commit {code(announcement.commit[:10], 14)}" if announcement.commit else "no commit",
        f"trigger {announcement.trigger}",
        f"{announcement.at:%Y-%m-%d %H:%M} UTC",
    ]
    return context(" · ".join(parts))
