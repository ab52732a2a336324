"""Incidents: which stacks' stories are one alert, how each stands, and what is open in it.

Whether a story joins an incident is decided by its origin (`driftwatch.drift.stories`); here that becomes
rows. Whoever writes holds the stack's row; on PostgreSQL, also the origin's key, so that two stacks that meet
the same cause at the same moment do not make two incidents of it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, exists, func, insert, select, text, update

from driftwatch.drift.stories import OWN, Origin, names_cause, origin_of
from driftwatch.log import redact
from driftwatch.model import (
    INCIDENT_LINES,
    INCIDENT_PROPOSALS,
    Announcement,
    FindingStatus,
    Incident,
    IncidentLine,
    StackId,
    TransitionKind,
)
from driftwatch.store import proposals
from driftwatch.store.codec import dump, load, writable
from driftwatch.store.names import LARGEST_ID, id_of
from driftwatch.store.tables import FindingRow, IncidentRow, MemberRow, MessageRow, ProposalRow, StackRow
from driftwatch.store.values import Page

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Select

    from driftwatch.model import Proposal
    from driftwatch.store.engine import AnyRow

LISTED_LINES = 10
"""Of each incident in a list; whoever wants to know them all asks for one."""

_OPEN = tuple(status for status in FindingStatus if status.is_open)
_BEGINNINGS = (
    TransitionKind.DRIFT_FOUND,
    TransitionKind.CHECK_FAILING,
    TransitionKind.STALE,
    TransitionKind.REPLAY_DISAGREED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A stack's part in an incident.

    `channels` are those that were told of it; `gathers` is true where the incident has just begun, and others
    may come.
    """

    incident_id: int
    channels: tuple[str, ...]
    gathers: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFinding:
    """A finding that is open in an incident, as far as an action on it needs to know."""

    id: int
    stack: StackId
    fingerprint: str


def take_part(
    connection: Connection,
    announcement: Announcement,
    *,
    episode: str,
    story: str,
    stack_id: int,
    over: bool = False,
) -> Part:
    """The part that an announcement belongs to, begun where it begins, and noted as it stands now.

    It ends with an announcement that says so, or with `over`.
    """
    member = connection.execute(select(MemberRow).where(MemberRow.episode == episode)).first()
    begins = False
    if member is None:
        incident_id, begins = _incident(connection, announcement, episode=episode, story=story)
        channels = _told(connection, episode)
        _join(
            connection,
            announcement,
            incident_id,
            episode=episode,
            story=story,
            stack_id=stack_id,
            channels=channels,
        )
        _adopt(connection, episode, incident_id)
    else:
        incident_id, channels = member.incident_id, tuple(member.channels)
    _note(connection, announcement, incident_id, episode, over=over or announcement.kind.is_end)
    return Part(incident_id=incident_id, channels=channels, gathers=begins)


def note_channels(connection: Connection, episode: str, channels: Iterable[str]) -> None:
    """Notes who was told of a part: they are told of the rest of it, too."""
    connection.execute(
        update(MemberRow).where(MemberRow.episode == episode).values(channels=sorted(set(channels)))
    )


def part(connection: Connection, episode: str) -> AnyRow | None:
    """The row of a part."""
    return connection.execute(select(MemberRow).where(MemberRow.episode == episode)).first()


def standing(connection: Connection, incident_id: int) -> Incident | None:
    """How an incident stands now."""
    if abs(incident_id) > LARGEST_ID:
        return None
    row = connection.execute(select(IncidentRow).where(IncidentRow.id == incident_id)).first()
    return _standing(connection, [row], lines=INCIDENT_LINES)[0] if row else None


def page(connection: Connection, *, open_only: bool, limit: int, after: int | None) -> Page[Incident]:
    """Some incidents as they stand now, the newest first, each with its worst stacks."""
    query = select(IncidentRow).order_by(IncidentRow.id.desc()).limit(limit + 1)
    if open_only:
        query = query.where(IncidentRow.closed_at.is_(None))
    if after is not None:
        query = query.where(IncidentRow.id < min(after, LARGEST_ID))
    rows = connection.execute(query).all()
    items = _standing(connection, rows[:limit], lines=LISTED_LINES)
    return Page(items=items, next=items[-1].id if len(rows) > limit else None)


def open_findings(connection: Connection, incident_id: int) -> list[OpenFinding]:
    """The findings of an incident that wait for somebody."""
    return _findings(connection, incident_id, _waits())


def findings_like(connection: Connection, incident_id: int, fingerprint: str) -> list[OpenFinding]:
    """Those of an incident with this content that are not resolved, whatever a person said of them."""
    is_it = (FindingRow.fingerprint == fingerprint) & (FindingRow.status != FindingStatus.RESOLVED)
    return _findings(connection, incident_id, is_it)


def digest_of(fingerprints: Iterable[str]) -> str:
    """What a person saw of an incident, in 32 hex digits."""
    return hashlib.sha256("\n".join(sorted(fingerprints)).encode()).hexdigest()[:32]


def leave(connection: Connection, stack_ids: Sequence[int], at: datetime) -> None:
    """Ends the parts of stacks that are no longer declared."""
    mine = MemberRow.stack_id.in_(stack_ids) & MemberRow.over_at.is_(None)
    left = set(connection.scalars(select(MemberRow.incident_id).where(mine)))
    connection.execute(update(MemberRow).where(mine).values(over_at=at))
    for incident_id in sorted(left):
        _close(connection, incident_id, at)


def prune(connection: Connection, before: datetime) -> int:
    """Deletes incidents that were over before a moment and that no message is left of."""
    told = exists().where(MessageRow.incident_id == IncidentRow.id)
    gone = list(connection.scalars(select(IncidentRow.id).where(IncidentRow.closed_at < before, ~told)))
    for start in range(0, len(gone), _AT_ONCE):
        ids = gone[start : start + _AT_ONCE]
        connection.execute(delete(MemberRow).where(MemberRow.incident_id.in_(ids)))
        connection.execute(delete(IncidentRow).where(IncidentRow.id.in_(ids)))
    return len(gone)


_AT_ONCE = 500
"""Values in one question."""

REPAIR = "repair:"
"""How the episode begins that only a proposal has: of a rollback, say, which closes no finding."""


def _standing(connection: Connection, rows: Sequence[AnyRow], *, lines: int) -> list[Incident]:
    """How incidents stand now, each with at most so many lines: few questions, however many they are."""
    ids = [row.id for row in rows]
    members, counts, seen = _lines(connection, ids, lines), _counts(connection, ids), _seen(connection, ids)
    proposed = _proposals(connection, ids)
    found = []
    for row in rows:
        total, over = counts.get(row.id, (0, 0))
        found.append(
            Incident(
                id=row.id,
                title=row.title if total > 1 or names_cause(row.key) else None,
                opened_at=row.opened_at,
                closed_at=row.closed_at,
                lines=tuple(members.get(row.id, ())),
                total=total,
                open=total - over,
                seen=digest_of(seen.get(row.id, ())),
                proposals=tuple(proposed.get(row.id, ())),
            )
        )
    return found


def _lines(connection: Connection, ids: Sequence[int], most: int) -> dict[int, list[IncidentLine]]:
    """Per incident its stacks, the worst first and those that are over last."""
    order = (MemberRow.over_at.is_not(None), MemberRow.rank.desc(), MemberRow.episode)
    place = func.row_number().over(partition_by=MemberRow.incident_id, order_by=order).label("place")
    columns = (MemberRow.incident_id, MemberRow.document, MemberRow.over_at)
    placed = select(*columns, place).where(MemberRow.incident_id.in_(ids)).subquery()
    rows = connection.execute(
        select(placed).where(placed.c.place <= most).order_by(placed.c.incident_id, placed.c.place)
    )
    found: dict[int, list[IncidentLine]] = {}
    for row in rows:
        line = IncidentLine(announcement=load(Announcement, row.document), over=row.over_at is not None)
        found.setdefault(row.incident_id, []).append(line)
    return found


def _counts(connection: Connection, ids: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Per incident how many stacks it is about, and in how many of them it is over."""
    rows = connection.execute(
        select(MemberRow.incident_id, func.count(), func.count(MemberRow.over_at))
        .where(MemberRow.incident_id.in_(ids))
        .group_by(MemberRow.incident_id)
    )
    return {incident_id: (total, over) for incident_id, total, over in rows}


def _seen(connection: Connection, ids: Sequence[int]) -> dict[int, list[str]]:
    """Per incident the content of its open findings."""
    rows = connection.execute(
        _in_incidents(MemberRow.incident_id, FindingRow.fingerprint).where(
            MemberRow.incident_id.in_(ids), _waits()
        )
    )
    found: dict[int, list[str]] = {}
    for row in rows:
        found.setdefault(row.incident_id, []).append(row.fingerprint)
    return found


def _proposals(connection: Connection, ids: Sequence[int]) -> dict[int, list[Proposal]]:
    """Per incident the newest of the proposals that are open for what is open in it."""
    rows = connection.execute(
        select(
            MemberRow.incident_id,
            MemberRow.episode,
            MemberRow.story,
            ProposalRow.id,
            ProposalRow.stack_id,
            ProposalRow.draft["findings"].label("findings"),
        )
        .join(ProposalRow, ProposalRow.stack_id == MemberRow.stack_id)
        .where(
            MemberRow.incident_id.in_(ids),
            MemberRow.over_at.is_(None),
            MemberRow.story.is_not(None),
            ProposalRow.state.in_((*proposals.PENDING, *proposals.IN_FLIGHT)),
        )
        .order_by(ProposalRow.id.desc())
    ).all()
    stories = _stories(connection, rows)
    chosen: dict[int, list[int]] = {}
    for row in rows:
        mine = chosen.setdefault(row.incident_id, [])
        if _is_about(row, stories) and row.id not in mine and len(mine) < INCIDENT_PROPOSALS:
            mine.append(row.id)
    found = _by_id(connection, sorted({each for mine in chosen.values() for each in mine}))
    return {incident_id: [found[each] for each in mine] for incident_id, mine in chosen.items()}


def _is_about(row: AnyRow, stories: dict[tuple[int, str], str]) -> bool:
    """Whether a proposal is told in this part: where its findings are, or in the stack's own story."""
    if row.episode.startswith(REPAIR):
        return bool(row.episode.rpartition(":")[2] == str(row.id))
    told_in = {story for each in row.findings if (story := stories.get((row.stack_id, each))) is not None}
    return row.story in (told_in or {OWN})


def _stories(connection: Connection, rows: Iterable[AnyRow]) -> dict[tuple[int, str], str]:
    """The story of each finding that a proposal would close, by its stack and its content."""
    prints: dict[int, set[str]] = {}
    for row in rows:
        prints.setdefault(row.stack_id, set()).update(row.findings)
    wanted = [(stack_id, each) for stack_id in sorted(prints) for each in sorted(prints[stack_id])]
    found: dict[tuple[int, str], str] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        rows_of_some = connection.execute(
            select(FindingRow.stack_id, FindingRow.fingerprint, FindingRow.story).where(
                FindingRow.stack_id.in_({stack_id for stack_id, _ in some}),
                FindingRow.fingerprint.in_({each for _, each in some}),
            )
        )
        found |= {(row.stack_id, row.fingerprint): row.story for row in rows_of_some}
    return found


def _by_id(connection: Connection, ids: Sequence[int]) -> dict[int, Proposal]:
    found: dict[int, Proposal] = {}
    for start in range(0, len(ids), _AT_ONCE):
        some = select(ProposalRow).where(ProposalRow.id.in_(ids[start : start + _AT_ONCE]))
        found |= {row.id: proposals.stored(row) for row in connection.execute(some)}
    return found


def _waits() -> ColumnElement[bool]:
    """The condition that a finding of an incident waits for somebody."""
    return MemberRow.over_at.is_(None) & FindingRow.status.in_(_OPEN)


def _in_incidents(*columns: Any) -> Select[Any]:
    """These columns of the counted findings that belong to incidents."""
    is_told_in = (MemberRow.stack_id == FindingRow.stack_id) & (MemberRow.story == FindingRow.story)
    return select(*columns).select_from(FindingRow).join(MemberRow, is_told_in).where(FindingRow.counted)


def _findings(connection: Connection, incident_id: int, which: ColumnElement[bool]) -> list[OpenFinding]:
    if abs(incident_id) > LARGEST_ID:
        return []
    columns = (StackRow.repository, StackRow.path, StackRow.workspace)
    rows = connection.execute(
        _in_incidents(FindingRow.id, FindingRow.fingerprint, *columns)
        .join(StackRow, StackRow.id == FindingRow.stack_id)
        .where(MemberRow.incident_id == incident_id, which)
        .order_by(FindingRow.stack_id, FindingRow.id)
    )
    return [OpenFinding(id=row.id, stack=id_of(row), fingerprint=row.fingerprint) for row in rows]


def _incident(
    connection: Connection, announcement: Announcement, *, episode: str, story: str
) -> tuple[int, bool]:
    """The incident of an origin, one that may be joined or else a new one, and whether others may come."""
    origin = origin_of(announcement, story) if announcement.kind in _BEGINNINGS else Origin()
    key = origin.key or f"own:{episode}"
    if connection.dialect.name == "postgresql":
        lock = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big", signed=True)
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock})
    # Held, so that it is not closed by another stack meanwhile.
    latest = connection.execute(
        select(IncidentRow)
        .where(IncidentRow.key == key)
        .order_by(IncidentRow.generation.desc())
        .limit(1)
        .with_for_update(key_share=True)
    ).first()
    if latest is not None and _may_join(latest, origin, announcement.at):
        connection.execute(
            update(IncidentRow)
            .where(IncidentRow.id == latest.id)
            .values(joined_at=max(latest.joined_at, announcement.at))
        )
        return latest.id, False
    added = connection.execute(
        insert(IncidentRow).values(
            key=key,
            generation=latest.generation + 1 if latest else 1,
            title=writable(redact(origin.title)) if origin.title else None,
            opened_at=announcement.at,
            joined_at=announcement.at,
        )
    )
    assert added.inserted_primary_key is not None  # noqa: S101  (for the type checker)
    return added.inserted_primary_key[0], origin.key is not None


def _may_join(latest: AnyRow, origin: Origin, at: datetime) -> bool:
    if latest.closed_at is not None:
        return False
    return origin.within is None or at - latest.joined_at <= origin.within


def _join(
    connection: Connection,
    announcement: Announcement,
    incident_id: int,
    *,
    episode: str,
    story: str,
    stack_id: int,
    channels: tuple[str, ...],
) -> None:
    """A stack that comes back is no stack more: what it was before is left to its messages."""
    was_here = (MemberRow.incident_id == incident_id) & (MemberRow.stack_id == stack_id)
    connection.execute(delete(MemberRow).where(was_here, MemberRow.over_at.is_not(None)))
    connection.execute(
        insert(MemberRow).values(
            episode=episode,
            incident_id=incident_id,
            stack_id=stack_id,
            story=None if announcement.kind.is_of_detector else story,
            rank=0,
            channels=sorted(channels),
            document=writable(dump(announcement)),
        )
    )


def _adopt(connection: Connection, episode: str, incident_id: int) -> None:
    """What was told in this episode before there were incidents stays in one thread with what follows."""
    connection.execute(
        update(MessageRow)
        .where(MessageRow.episode == episode, MessageRow.thread == episode)
        .values(thread=thread_of(incident_id), incident_id=incident_id)
    )


def _told(connection: Connection, episode: str) -> tuple[str, ...]:
    """Who was told in an episode that is of before there were incidents."""
    return tuple(
        connection.scalars(select(MessageRow.channel).where(MessageRow.episode == episode).distinct())
    )


def _note(
    connection: Connection, announcement: Announcement, incident_id: int, episode: str, *, over: bool
) -> None:
    rank = max((finding.severity.rank for finding in announcement.findings), default=0)
    connection.execute(
        update(MemberRow)
        .where(MemberRow.episode == episode)
        .values(document=writable(dump(announcement)), rank=rank, over_at=announcement.at if over else None)
    )
    if over:
        _close(connection, incident_id, announcement.at)


def _close(connection: Connection, incident_id: int, at: datetime) -> None:
    """Closes an incident that nothing is left of."""
    # Whoever joins it holds the row: only the statement after this one sees them, and not the one that waits.
    held = select(IncidentRow.id).where(IncidentRow.id == incident_id).with_for_update(key_share=True)
    connection.execute(held)
    connection.execute(
        update(IncidentRow)
        .where(IncidentRow.id == incident_id, IncidentRow.closed_at.is_(None), ~_goes_on(incident_id))
        .values(closed_at=at)
    )


def _goes_on(incident_id: int) -> ColumnElement[bool]:
    return exists().where(MemberRow.incident_id == incident_id, MemberRow.over_at.is_(None))


def thread_of(incident_id: int) -> str:
    """The thread in which an incident is told."""
    return f"incident:{incident_id}"
