"""An announcement as Slack's Block Kit: what is said, and that it fits.

Pure: an announcement in, blocks out. Two forms: `message` is the one that stands in the channel and is
updated in place, `reply` the short one in its thread that says what just happened.

Limits of Slack: 50 blocks, 150 characters in a header, 3,000 in a section
(https://docs.slack.dev/reference/block-kit/blocks). All blocks together are refused as
`msg_blocks_too_long` from about 11,000 characters on, which is written nowhere; hence `MESSAGE_LIMIT`.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from driftwatch.model import Cause, FindingKind, TransitionKind, Verdict
from driftwatch.notify.text import code, escaped, literal, plain, units

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from driftwatch.model import Announcement, AttributeChange, Finding

Block: TypeAlias = "dict[str, Any]"

HEADER_LIMIT = 150
SECTION_LIMIT = 3000
BLOCK_LIMIT = 50
MESSAGE_LIMIT = 8000
"""Characters of all blocks together, well below where Slack was seen to refuse."""

FALLBACK_LIMIT = 900
ADDRESS_LIMIT = 180
PATH_LIMIT = 90
VALUE_LIMIT = 70
SENTENCE_LIMIT = 400
ATTRIBUTES_SHOWN = (4, 2, 0)
"""How many attributes of a finding are shown: the first of these with which all findings fit."""

ADDRESSES_SHOWN = 5
RESOLVED_SHOWN = 12

_VERDICTS = {
    Verdict.IN_SYNC: "in sync",
    Verdict.DRIFTED: "drifted",
    Verdict.PENDING: "changes not applied",
    Verdict.MIXED: "drifted, and changes not applied",
    Verdict.ERROR: "unknown",
    Verdict.SKIPPED: "not checked",
}
_KINDS = {
    FindingKind.MODIFIED: "modified",
    FindingKind.DELETED: "deleted in the cloud",
    FindingKind.CREATED: "in the code, not yet in the cloud",
    FindingKind.REPLACED: "would be replaced",
    FindingKind.DESTROYED: "gone from the code, would be destroyed",
    FindingKind.UNMANAGED: "unmanaged",
    FindingKind.OUTPUT: "output differs",
    FindingKind.CHECK_FAILED: "check failed",
}
_CAUSES = {
    Cause.OUT_OF_BAND: "changed outside Terraform",
    Cause.UNAPPLIED_COMMIT: "commit not applied",
    Cause.PROVIDER_UPGRADE: "provider upgrade",
    Cause.INPUT_CHANGE: "an input changed",
    Cause.STATE_EDIT: "state edited",
    Cause.NOISE: "noise",
    Cause.UNDETERMINED: "cause unknown",
}
_ICONS = {
    TransitionKind.DRIFT_FOUND: "\N{LARGE RED CIRCLE}",
    TransitionKind.DRIFT_CHANGED: "\N{LARGE RED CIRCLE}",
    TransitionKind.RESOLVED: "\N{LARGE GREEN CIRCLE}",
    TransitionKind.CHECK_FAILING: "\N{LARGE YELLOW CIRCLE}",
    TransitionKind.RECOVERED: "\N{LARGE GREEN CIRCLE}",
    TransitionKind.REPLAY_DISAGREED: "\N{LARGE YELLOW CIRCLE}",
    TransitionKind.STALE: "\N{LARGE YELLOW CIRCLE}",
    TransitionKind.REMINDER: "\N{LARGE RED CIRCLE}",
}

_OUTCOMES = {
    TransitionKind.REPLAY_DISAGREED: "a replay was wrong",
    TransitionKind.STALE: "nobody watches it any more",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """`text` is what notifications and screen readers say; `blocks` what the channel shows."""

    text: str
    blocks: tuple[Block, ...]


def message(announcement: Announcement) -> Rendered:
    """The message that stands in the channel and always tells the stack's present condition."""
    opening = [_header(announcement), *_warnings(announcement)]
    closing = [_where_to_look(announcement), _who(announcement)]
    room = MESSAGE_LIMIT - _length(opening) - _length(closing)
    return Rendered(text=fallback(announcement), blocks=(*opening, *_body(announcement, room), *closing))


def reply(announcement: Announcement) -> Rendered:
    """The short message in the thread: what happened just now."""
    said = _happened(announcement)
    return Rendered(text=said, blocks=(_section(said),))


def headline(announcement: Announcement, limit: int = HEADER_LIMIT) -> str:
    """Stack, verdict and how many, in at most `limit` characters; the stack's name gives way first."""
    icon, outcome = _ICONS[announcement.kind], _outcome(announcement)
    return f"{icon} {escaped(plain(announcement.stack), limit - len(outcome) - 6)}: {outcome}"


def fallback(announcement: Announcement) -> str:
    """The message without any blocks; it must do alone where those are not shown or not taken."""
    parts = [headline(announcement)]
    if announcement.mass_deletion:
        parts.append(escaped(plain(announcement.mass_deletion), SENTENCE_LIMIT))
    if announcement.error:
        parts.append(escaped(plain(announcement.error.message), SENTENCE_LIMIT // 2))
    if announcement.kind is TransitionKind.REPLAY_DISAGREED:
        parts.append(_disagreement(announcement, SENTENCE_LIMIT))
    elif announcement.findings:
        named = (finding.address for finding in announcement.findings)
        parts.append(_addresses(named, announcement.total, shown=3))
    return _joined(parts, FALLBACK_LIMIT)


def _outcome(announcement: Announcement) -> str:
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
            return _OUTCOMES.get(announcement.kind) or _condition(announcement)


def _condition(announcement: Announcement) -> str:
    words = _VERDICTS[announcement.verdict]
    found = f", {_counted(announcement.total, 'finding')}" if announcement.total else ""
    return f"{words}{found}{_aside(announcement)}"


def _aside(announcement: Announcement) -> str:
    return f", {announcement.set_aside} snoozed or accepted" if announcement.set_aside else ""


def _error_code(announcement: Announcement) -> str:
    return escaped(plain(announcement.error.code), 40) if announcement.error else "no reason given"


def _header(announcement: Announcement) -> Block:
    text = {"type": "plain_text", "text": headline(announcement), "emoji": False}
    return {"type": "header", "text": text}


def _warnings(announcement: Announcement) -> list[Block]:
    if not announcement.mass_deletion:
        return []
    sentence = escaped(plain(announcement.mass_deletion), SENTENCE_LIMIT)
    return [_section(f"\N{WARNING SIGN} *So much is gone that this may not be true.* {sentence}")]


def _body(announcement: Announcement, room: int) -> list[Block]:
    if announcement.kind in (TransitionKind.CHECK_FAILING, TransitionKind.STALE):
        return [_failure(announcement)]
    if announcement.kind is TransitionKind.RESOLVED:
        return _gone(announcement)
    if announcement.kind is TransitionKind.REPLAY_DISAGREED:
        return [_section(_disagreement(announcement, SENTENCE_LIMIT * 2))]
    restless = _flapping(announcement)
    return [*restless, *_findings(announcement, room - _length(restless))]


def _flapping(announcement: Announcement) -> list[Block]:
    if not announcement.flapping:
        return []
    named = _addresses(announcement.flapping, len(announcement.flapping), shown=ADDRESSES_SHOWN)
    return [_section(f"*Comes and goes:* {named}. You hear of it again when it has settled.")]


def _disagreement(announcement: Announcement, limit: int) -> str:
    said = plain(announcement.disagreement or "")
    return escaped(said if said.strip() else "No more is known.", limit)


def _failure(announcement: Announcement) -> Block:
    lines = [f"*{_error_code(announcement)}*"]
    if announcement.error:
        lines.append(escaped(plain(announcement.error.message), SENTENCE_LIMIT * 2))
    if announcement.error and announcement.error.advice:
        lines.append(f"*What to do:* {escaped(plain(announcement.error.advice), SENTENCE_LIMIT * 2)}")
    lines.append("Until it works again, nothing new is known of this stack; findings stay as they were.")
    return _section("\n".join(lines))


def _gone(announcement: Announcement) -> list[Block]:
    if not announcement.resolved:
        return []
    lines = [f"~{code(address, ADDRESS_LIMIT)}~ gone" for address in announcement.resolved[:RESOLVED_SHOWN]]
    hidden = len(announcement.resolved) - RESOLVED_SHOWN
    return [_section("\n".join([*lines, f"… and {hidden} more"] if hidden > 0 else lines))]


def _findings(announcement: Announcement, room: int) -> list[Block]:
    """All findings with as much detail as fits; without any detail, as many as fit, and the true total."""
    room -= SENTENCE_LIMIT
    for attributes in ATTRIBUTES_SHOWN:
        sections = [_section(_finding(finding, attributes)) for finding in announcement.findings]
        if _fitting(sections, room) == len(sections):
            break
    shown = _fitting(sections, room)
    return [*sections[:shown], *_hidden(shown, announcement.total)]


def _fitting(sections: Sequence[Block], room: int) -> int:
    """How many of the sections, from the first on, fit into `room` characters and Slack's count of blocks."""
    for count, section in enumerate(sections[: BLOCK_LIMIT - 6]):
        room -= _length([section])
        if room < 0:
            return count
    return min(len(sections), BLOCK_LIMIT - 6)


def _hidden(shown: int, total: int) -> list[Block]:
    return [_section(f"These are {shown} of *{total}* findings.")] if shown < total else []


def _finding(finding: Finding, attributes: int) -> str:
    causes = ", ".join(_CAUSES[cause] for cause in finding.causes)
    what = f"{_KINDS[finding.kind]}: {causes}" if causes else _KINDS[finding.kind]
    lines = [f"*{finding.severity.upper()}* {code(finding.address, ADDRESS_LIMIT)} {what}"]
    if finding.message:
        lines.append(escaped(plain(finding.message), SENTENCE_LIMIT // 2))
    lines += [_attribute(change) for change in finding.attributes[:attributes]]
    hidden = len(finding.attributes) - attributes
    return "\n".join(
        [*lines, f"… and {_counted(hidden, 'attribute')} more"] if attributes and hidden > 0 else lines
    )


def _attribute(change: AttributeChange) -> str:
    path = code(change.path, PATH_LIMIT)
    if change.sensitive:
        return f"• {path}: (sensitive, changed)"
    return (
        f"• {path}: {code(literal(change.actual), VALUE_LIMIT)} → {code(literal(change.after), VALUE_LIMIT)}"
    )


def _where_to_look(announcement: Announcement) -> Block:
    stack = shlex.quote(plain(announcement.stack))
    listed = code(f"driftwatch findings list --stack {stack}", SENTENCE_LIMIT)
    again = code(f"driftwatch trigger {stack}", SENTENCE_LIMIT)
    return _section(f"Look: {listed}\nCheck again: {again}")


def _who(announcement: Announcement) -> Block:
    owners = ", ".join(plain(owner) for owner in announcement.owners) or "no owners declared"
    parts = [
        f"Owners: {escaped(owners, SENTENCE_LIMIT // 2)}",
        f"commit {code(announcement.commit[:10], 14)}" if announcement.commit else "no commit",
        f"trigger {announcement.trigger}",
        f"{announcement.at:%Y-%m-%d %H:%M} UTC",
    ]
    return {"type": "context", "elements": [_mrkdwn(" · ".join(parts))]}


def _happened(announcement: Announcement) -> str:
    parts = [headline(announcement, SENTENCE_LIMIT // 2)]
    parts += [
        f"{words}: {_addresses(addresses, len(addresses), shown=ADDRESSES_SHOWN)}"
        for words, addresses in (
            ("New", announcement.opened),
            ("Changed", announcement.changed),
            ("Gone", announcement.resolved),
            ("Comes and goes; told again when it has settled", announcement.flapping),
        )
        if addresses
    ]
    return _joined(parts, SECTION_LIMIT)


def _addresses(addresses: Iterable[str], total: int, *, shown: int) -> str:
    named = [code(address, ADDRESS_LIMIT) for address in addresses][:shown]
    more = f" and {total - len(named)} more" if total > len(named) else ""
    return ", ".join(named) + more


def _joined(parts: Iterable[str], limit: int) -> str:
    """Whole parts, a line each, as many as fit."""
    text = ""
    for part in parts:
        if units(text) + units(part) + 1 > limit:
            break
        text = f"{text}\n{part}" if text else part
    return text


def _section(text: str) -> Block:
    return {"type": "section", "text": _mrkdwn(text)}


def _mrkdwn(text: str) -> Block:
    # Verbatim: Slack shall not make links or mentions out of what merely looks like one.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _length(blocks: Iterable[Block]) -> int:
    return sum(units(part["text"]) for block in blocks for part in (block.get("elements") or [block["text"]]))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
