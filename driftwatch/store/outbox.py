"""The outbox: messages written with the check that they tell of, sent at least once and in order.

On one channel the messages of one stack never overtake: "resolved" is not handed out while "found" still
waits, nor the next story's "found" while this one's "resolved" does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, exists, func, insert, or_, select, tuple_, update
from sqlalchemy.orm import aliased

from driftwatch.log import redact
from driftwatch.model import Announcement, Message
from driftwatch.store.codec import dump, load, writable
from driftwatch.store.tables import MessageRow, MessageState, ToldRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

Thread = tuple[str, str]
"""A channel and an episode."""


def put(
    connection: Connection,
    announcement: Announcement,
    *,
    episode: str,
    channels: Sequence[str],
    key: str,
) -> None:
    """Writes one message per channel; `key` names the check, so that a message is known by it for ever."""
    document = dump(announcement)
    rows = [
        {
            "channel": channel,
            "dedupe_key": f"{key}:{announcement.kind}:{channel}",
            "stack": announcement.stack,
            "episode": episode,
            "state": MessageState.WAITING,
            "announcement": document,
            "attempts": 0,
            "created_at": announcement.at,
            "next_attempt_at": announcement.at,
        }
        for channel in channels
    ]
    if rows:
        connection.execute(insert(MessageRow), rows)


def due(connection: Connection, *, at: datetime, limit: int) -> list[Message]:
    """What may be sent now, the oldest first: of every channel and stack only the first that waits."""
    earlier = aliased(MessageRow)
    overtakes = exists().where(
        earlier.channel == MessageRow.channel,
        earlier.stack == MessageRow.stack,
        earlier.state == MessageState.WAITING,
        earlier.id < MessageRow.id,
    )
    rows = connection.execute(
        select(MessageRow)
        .where(MessageRow.state == MessageState.WAITING, MessageRow.next_attempt_at <= at, ~overtakes)
        .order_by(MessageRow.id)
        .limit(limit)
    ).all()
    anchors = _anchors(connection, {(row.channel, row.episode) for row in rows})
    return [_message(row, anchors.get((row.channel, row.episode))) for row in rows]


def sent(connection: Connection, message_id: int, receipt: Mapping[str, str], *, at: datetime) -> None:
    """Notes what the channel answered."""
    connection.execute(
        update(MessageRow)
        .where(MessageRow.id == message_id)
        .values(
            state=MessageState.SENT,
            sent_at=at,
            receipt=writable(dict(receipt)),
            reason=None,
            attempts=MessageRow.attempts + 1,
        )
    )


def failed(connection: Connection, message_id: int, *, reason: str, retry_at: datetime | None) -> None:
    """Puts a message off until `retry_at`; None makes it a dead letter, which holds nothing back any more."""
    later: dict[str, Any] = {"reason": writable(redact(reason)), "attempts": MessageRow.attempts + 1}
    if retry_at is None:
        later["state"] = MessageState.DEAD
    else:
        later["next_attempt_at"] = retry_at
    connection.execute(
        update(MessageRow)
        .where(MessageRow.id == message_id, MessageRow.state == MessageState.WAITING)
        .values(**later)
    )


def depth(connection: Connection) -> dict[str, int]:
    """Messages that wait and dead letters, by state."""
    states = (MessageState.WAITING, MessageState.DEAD)
    rows = connection.execute(
        select(MessageRow.state, func.count()).where(MessageRow.state.in_(states)).group_by(MessageRow.state)
    )
    return {str(state): 0 for state in states} | {str(state): number for state, number in rows}


def prune(connection: Connection, before: datetime) -> int:
    """Deletes messages older than a moment once their whole episode is, and nothing more will come of it."""
    younger = aliased(MessageRow)
    goes_on = exists().where(
        younger.channel == MessageRow.channel,
        younger.episode == MessageRow.episode,
        (younger.created_at >= before) | (younger.state == MessageState.WAITING),
    )
    heard = [ToldRow.episode == MessageRow.episode, ToldRow.outage == MessageRow.episode]
    return connection.execute(
        delete(MessageRow).where(MessageRow.created_at < before, ~goes_on, ~exists().where(or_(*heard)))
    ).rowcount


def _anchors(connection: Connection, threads: Iterable[Thread]) -> dict[Thread, Mapping[str, str]]:
    """What each channel answered to the first message of an episode that it took."""
    rows = connection.execute(
        select(MessageRow.channel, MessageRow.episode, MessageRow.receipt)
        .where(
            tuple_(MessageRow.channel, MessageRow.episode).in_(list(threads)),
            MessageRow.state == MessageState.SENT,
        )
        .order_by(MessageRow.id.desc())
    )
    return {(row.channel, row.episode): row.receipt for row in rows}


def _message(row: Row[Any], anchor: Mapping[str, str] | None) -> Message:
    return Message(
        id=row.id,
        channel=row.channel,
        dedupe_key=row.dedupe_key,
        episode=row.episode,
        announcement=load(Announcement, row.announcement),
        attempts=row.attempts,
        created_at=row.created_at,
        anchor=anchor,
    )
