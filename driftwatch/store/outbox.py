"""The outbox: messages written with the check that they tell of, sent at least once and in order.

On one channel, what belongs to one thread never overtakes: "resolved" is not handed out while "found" still
waits. What waits in the thread of an incident or a digest goes out together, so that a stack more is a line
more and not a message more.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, exists, func, insert, select, update
from sqlalchemy.orm import aliased

from driftwatch.log import redact
from driftwatch.model import Announcement, Incident, Message
from driftwatch.store import incidents
from driftwatch.store.codec import dump, load, writable
from driftwatch.store.tables import IncidentRow, MessageRow, MessageState, ToldRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import Connection

    from driftwatch.drift.routing import Outlet
    from driftwatch.store.engine import AnyRow
    from driftwatch.store.incidents import Part

CARRIED = 50
"""Announcements that go out together at the most: so many lines a message has room for."""

_GATHERED = ("incident:", "digest:")
"""How the threads begin whose messages go out together."""


def put(
    connection: Connection,
    announcement: Announcement,
    *,
    episode: str,
    part: Part | None,
    outlets: Sequence[Outlet],
    now: datetime,
    gather: timedelta,
    key: str,
) -> None:
    """Writes one message per channel; `key` names the check, so that a message is known by it for ever.

    What has no `part` in an incident has the thread of its episode. The first message of what may concern
    several stacks waits for the others for as long as `gather`, from `now` on, when the check that it tells
    of is over.
    """
    document = writable(dump(announcement))
    own = incidents.thread_of(part.incident_id) if part else episode
    rows = []
    for outlet in outlets:
        at_once = outlet.not_before <= announcement.at
        waits = bool(gather) and part is not None and part.gathers and outlet.thread is None and at_once
        thread = outlet.thread or own
        rows.append(
            {
                "channel": outlet.channel,
                "dedupe_key": f"{key}:{announcement.kind}:{outlet.channel}",
                "stack": announcement.stack,
                "episode": episode,
                "thread": thread,
                "incident_id": part.incident_id if part else None,
                "state": MessageState.WAITING,
                "announcement": document,
                "attempts": 0,
                "created_at": announcement.at,
                "next_attempt_at": now + gather if waits else outlet.not_before,
            }
        )
        if at_once:
            _wake(connection, outlet.channel, thread, at=announcement.at, unless_by=now + gather)
    if rows:
        connection.execute(insert(MessageRow), rows)


def has(connection: Connection, key: str) -> bool:
    """Whether anything was written with such a key, sent or not."""
    query = select(MessageRow.id).where(MessageRow.dedupe_key.startswith(f"{key}:", autoescape=True)).limit(1)
    return connection.scalar(query) is not None


def due(connection: Connection, *, at: datetime, limit: int) -> list[Message]:
    """What may be sent now, the oldest first: of every channel and thread only the first that waits.

    What goes out with each is added by `whole`.
    """
    earlier = aliased(MessageRow)
    overtakes = exists().where(
        earlier.channel == MessageRow.channel,
        earlier.thread == MessageRow.thread,
        earlier.state == MessageState.WAITING,
        earlier.id < MessageRow.id,
    )
    rows = connection.execute(
        select(MessageRow)
        .where(MessageRow.state == MessageState.WAITING, MessageRow.next_attempt_at <= at, ~overtakes)
        .order_by(MessageRow.id)
        .limit(limit)
    )
    return [_message(row) for row in rows]


def whole(connection: Connection, message: Message, *, at: datetime) -> Message:
    """The message with what goes out with it: those behind it, how its incident stands, and its anchor."""
    message = replace(message, anchor=_anchor(connection, message))
    if not message.thread.startswith(_GATHERED):
        return message
    rows = connection.execute(
        select(MessageRow.id, MessageRow.announcement, MessageRow.next_attempt_at)
        .where(
            MessageRow.channel == message.channel,
            MessageRow.thread == message.thread,
            MessageRow.state == MessageState.WAITING,
            MessageRow.id > message.id,
        )
        .order_by(MessageRow.id)
        .limit(CARRIED - 1)
    ).all()
    # What waits for its time holds back what came after it here, too.
    ready = list(takewhile(lambda row: row.next_attempt_at <= at, rows))
    return replace(
        message,
        more=tuple(load(Announcement, row.announcement) for row in ready),
        carried=tuple(row.id for row in ready),
        incident=_incident(connection, message),
    )


def sent(
    connection: Connection,
    message_id: int,
    receipt: Mapping[str, str],
    *,
    at: datetime,
    carried: Sequence[int] = (),
) -> None:
    """Notes what the channel answered to a message and those that went out with it."""
    connection.execute(
        update(MessageRow)
        .where(MessageRow.id.in_([message_id, *carried]))
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
    heard = exists().where((ToldRow.episode == MessageRow.episode) | (ToldRow.outage == MessageRow.episode))
    # The first message of an incident is the anchor of all that follow, whichever stack it told of; of what
    # was over lately, the end may still wait to be sent.
    lately = IncidentRow.closed_at.is_(None) | (IncidentRow.closed_at >= before)
    is_open = exists().where(IncidentRow.id == MessageRow.incident_id, lately)
    gone = connection.execute(
        delete(MessageRow).where(MessageRow.created_at < before, ~goes_on, ~heard, ~is_open)
    ).rowcount
    incidents.prune(connection, before)
    return gone


def _wake(connection: Connection, channel: str, thread: str, *, at: datetime, unless_by: datetime) -> None:
    """What waits in a thread for quiet hours to end goes out with what may not wait for that."""
    connection.execute(
        update(MessageRow)
        .where(
            MessageRow.channel == channel,
            MessageRow.thread == thread,
            MessageRow.state == MessageState.WAITING,
            MessageRow.attempts == 0,
            MessageRow.next_attempt_at > unless_by,
        )
        .values(next_attempt_at=at)
    )


def _anchor(connection: Connection, message: Message) -> Mapping[str, str] | None:
    """What the channel answered to the first message of the thread that it took."""
    row = connection.execute(
        select(MessageRow.receipt)
        .where(
            MessageRow.channel == message.channel,
            MessageRow.thread == message.thread,
            MessageRow.state == MessageState.SENT,
        )
        .order_by(MessageRow.id)
        .limit(1)
    ).first()
    return row.receipt if row else None


def _incident(connection: Connection, message: Message) -> Incident | None:
    own = connection.scalar(select(MessageRow.incident_id).where(MessageRow.id == message.id))
    if own is None or message.thread != incidents.thread_of(own):
        return None
    return incidents.standing(connection, own)


def _message(row: AnyRow) -> Message:
    return Message(
        id=row.id,
        channel=row.channel,
        dedupe_key=row.dedupe_key,
        episode=row.episode,
        announcement=load(Announcement, row.announcement),
        attempts=row.attempts,
        created_at=row.created_at,
        thread=row.thread,
    )
