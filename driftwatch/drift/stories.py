"""Which findings are told together: those that come from one cause, in one stack and over many.

Pure. Within a stack, findings with a shared cause (a commit that is not applied, a provider's upgrade, an
input that moved) have a story of their own, so that a commit that forty stacks wait for is never mixed up
with what somebody did by hand in one of them. All others share the stack's own story, whose key is empty. A
finding stays in the story in which it began, until somebody changes it by hand.

Over stacks, stories of the same origin are one incident: one alert with a line for each stack.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from driftwatch.drift.values import canonical
from driftwatch.model import Cause, Evidence, InputKind, TransitionKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from driftwatch.model import Announcement, Commit, ErrorReport, Finding, Inputs, JsonValue, Movement

OWN = ""
"""The key of a stack's own story."""

NEARBY = timedelta(hours=1)
"""How long after the last stack of it another one may join an incident whose cause is only taken to be
shared: what happens at once has one reason, what happens a day later has another."""

LONGEST_TITLE = 200
LONGEST_NAME = 150
"""Characters of a name in a title: the verb behind it is to be read, too."""

LONGEST_KEY = 300
"""Characters. Names are the repository's, and of any length; what an index of PostgreSQL takes is not."""

_OF_MACHINES = frozenset(
    {
        *("backend_refused", "cloud_throttled", "cloud_unreachable", "credentials_expired"),
        *("credentials_refused", "disk_full", "identity_mismatch", "machine_failed", "no_binary", "no_git"),
        *("provider_unavailable", "timeout"),
    }
)
"""Errors that say something of what all stacks share, and not of the one that met them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an incident comes from. `key` is None where it is nobody else's.

    `title` names a shared cause in words. Another stack joins while the incident is open, and not later than
    `within` after the last one did, where that is given.
    """

    key: str | None = None
    title: str | None = None
    within: timedelta | None = None


def story_of(finding: Finding, inputs: Inputs) -> str:
    """The key of the story in which a finding begins. `inputs` are those of the check that saw it."""
    if not finding.counted or len(finding.causes) != 1 or finding.evidence is None:
        return OWN
    match finding.causes[0]:
        case Cause.UNAPPLIED_COMMIT:
            commits = finding.evidence.commits
            return f"commit:{commits[0].id}" if commits else OWN
        case Cause.PROVIDER_UPGRADE:
            return _of_upgrade(finding.evidence.movements)
        case Cause.INPUT_CHANGE:
            return _of_input(finding.evidence.movements, inputs)
        case _:
            return OWN


def origin_of(announcement: Announcement, story: str) -> Origin:
    """Where the incident comes from that an announcement begins. `story` is the key of its story."""
    match announcement.kind:
        case TransitionKind.CHECK_FAILING:
            return _of_failure(announcement.error)
        case TransitionKind.STALE:
            return Origin(key="stale", title="no good check comes any more", within=NEARBY)
        case TransitionKind.REPLAY_DISAGREED | TransitionKind.RECOVERED:
            return Origin()
        case _ if story != OWN:
            return Origin(key=story, title=_title(story, announcement.findings))
        case _:
            return _of_change_by_hand(announcement)


def names_cause(key: str) -> bool:
    """Whether the title of an origin says something where only one stack is concerned: what the cause is."""
    return key.partition(":")[0] in ("commit", "provider", "upstream", "data", "variable")


def _of_upgrade(movements: Iterable[Movement]) -> str:
    moved = [each for each in movements if each.input is InputKind.PROVIDER]
    if len(moved) != 1:
        return OWN
    return _key("provider", str(moved[0].name), str(moved[0].before), str(moved[0].after))


def _of_input(movements: Sequence[Movement], inputs: Inputs) -> str:
    """By what an upstream state was asked for, and by what else was answered: digests, no values."""
    upstream = {
        _digests(inputs, each.name).partition(":")[0]
        for each in movements
        if each.input is InputKind.UPSTREAM_OUTPUT
    }
    others = [each for each in movements if each.input in (InputKind.DATA_READ, InputKind.VARIABLE)]
    if len(upstream) == 1 and not others and (asked := upstream.pop()):
        return f"upstream:{asked}"
    if len(others) != 1 or upstream:
        return OWN
    (moved,) = others
    if moved.input is InputKind.DATA_READ:
        answered = _digests(inputs, moved.name)
        return f"data:{answered}" if answered else OWN
    digest = (inputs.variable_digests or {}).get(moved.name or "")
    return _key("variable", str(moved.name), digest) if digest else OWN


def _key(sort: str, *parts: str) -> str:
    """What tells a cause from all others: in words where they are short, else by their digest."""
    key = ":".join((sort, *parts))
    if len(key) <= LONGEST_KEY:
        return key
    return f"{sort}:{hashlib.sha256(key.encode('utf-8', 'replace')).hexdigest()}"


def _digests(inputs: Inputs, name: str | None) -> str:
    """`<what was asked>:<what was answered>` of a data source; empty where it is not known."""
    return (inputs.read_digests or {}).get(name or "", "")


def _of_failure(error: ErrorReport | None) -> Origin:
    if error is None:
        return Origin()
    if error.code in _OF_MACHINES:
        return Origin(key=f"failing:{error.code}", title=f"checks fail: {error.code}", within=NEARBY)
    said = hashlib.sha256(error.message.encode("utf-8", "replace")).hexdigest()[:16]
    return Origin(key=f"failing:{error.code}:{said}", title=f"checks fail: {error.code}", within=NEARBY)


def _of_change_by_hand(announcement: Announcement) -> Origin:
    """The same change in several stacks at about the same time has one hand behind it."""
    if announcement.mass_deletion:
        return Origin(key="mass_deletion", title="so much is gone that it may not be true", within=NEARBY)
    found = announcement.findings
    if not found or any(each.causes != (Cause.OUT_OF_BAND,) for each in found):
        return Origin()
    content: list[JsonValue] = sorted((_content(each) for each in found), key=canonical)
    digest = hashlib.sha256(canonical([announcement.total, *content]).encode()).hexdigest()[:32]
    return Origin(key=f"hand:{digest}", title=f"the same change by hand: {_shown(found[0])}", within=NEARBY)


def _content(finding: Finding) -> JsonValue:
    """What somebody did, wherever it was."""
    changes: list[JsonValue] = [
        {"path": each.path, "actual": each.actual}
        for each in finding.attributes
        if each.cause is not Cause.NOISE
    ]
    return {"type": finding.type, "kind": finding.kind, "action": finding.action, "changes": changes}


def _shown(finding: Finding) -> str:
    return f"{finding.type} {finding.kind.replace('_', ' ')}"[:LONGEST_TITLE]


def _title(story: str, findings: Sequence[Finding]) -> str:
    """In words; those of others are not escaped here."""
    sort, _, rest = story.partition(":")
    evidence = (findings[0].evidence if findings else None) or Evidence()
    if sort == "commit":
        return _of_commit(rest, evidence.commits)[:LONGEST_TITLE]
    moved = next((each for each in evidence.movements if each.input is _MOVED[sort]), None)
    name = moved.name if moved and moved.name else _UNNAMED[sort]
    if sort == "provider":
        versions = f" from {moved.before} to {moved.after}" if moved else ""
        return f"upgrade of {name[:LONGEST_NAME]}{versions}"[:LONGEST_TITLE]
    if sort == "upstream":
        return f"outputs moved upstream: {name.partition('.outputs.')[0]}"[:LONGEST_TITLE]
    return f"{name[:LONGEST_NAME]} has moved"


def _of_commit(commit_id: str, commits: Iterable[Commit]) -> str:
    """By that commit: those that came after it may be known by now, too."""
    commit = next((each for each in commits if each.id == commit_id), None)
    about = f" ({commit.subject}, by {commit.author})" if commit else ""
    return f"commit {commit_id[:10]} is not applied{about}"


_MOVED = {
    "provider": InputKind.PROVIDER,
    "upstream": InputKind.UPSTREAM_OUTPUT,
    "data": InputKind.DATA_READ,
    "variable": InputKind.VARIABLE,
}
_UNNAMED = {
    "provider": "a provider",
    "upstream": "a state upstream",
    "data": "a data source",
    "variable": "a variable",
}
"""What is said where the finding that was told does not name it."""
