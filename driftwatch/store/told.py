"""What a stack's people last heard: decided by `driftwatch.drift`, kept here, and put in the outbox.

Whoever tells holds the stack's row, so that two that have something to say see what the other has said.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from driftwatch.drift import Told, announce, announce_between, announce_stale, episode_of, remind
from driftwatch.store import outbox
from driftwatch.store.codec import dump, load
from driftwatch.store.tables import ToldRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import Connection

    from driftwatch.drift import Occasion, Step
    from driftwatch.model import Announcement, CheckResult, StackDeclaration


def tell(
    connection: Connection,
    result: CheckResult,
    steps: Sequence[Step],
    *,
    declaration: StackDeclaration,
    channels: Sequence[str],
    stack_id: int,
    check_id: int,
    key: str,
) -> tuple[Announcement, ...]:
    """Decides what is news, writes a message for each channel, and remembers what was told."""
    before = heard(connection, stack_id)
    news, after = announce(before, result, steps, declaration)
    announced = tuple(replace(announcement, check_id=check_id) for announcement in news)
    return _say(connection, stack_id, announced, before, after, channels=channels, key=key)


def tell_between(
    connection: Connection,
    occasion: Occasion,
    steps: Sequence[Step],
    *,
    declaration: StackDeclaration,
    channels: Sequence[str],
    stack_id: int,
) -> tuple[Announcement, ...]:
    """As `tell`, where no check was made. `steps` are those of all findings that are not resolved."""
    before = heard(connection, stack_id)
    news, after = announce_between(before, occasion, steps, declaration)
    return _say(connection, stack_id, news, before, after, channels=channels, key=_key(stack_id, occasion.at))


def tell_stale(
    connection: Connection,
    occasion: Occasion,
    *,
    sentence: str,
    declaration: StackDeclaration,
    channels: Sequence[str],
    stack_id: int,
) -> tuple[Announcement, ...]:
    """Tells, once, that nobody watches this stack any more."""
    before = heard(connection, stack_id)
    news, after = announce_stale(before, occasion, declaration, sentence=sentence)
    return _say(connection, stack_id, news, before, after, channels=channels, key=_key(stack_id, occasion.at))


def tell_again(
    connection: Connection,
    occasion: Occasion,
    steps: Sequence[Step],
    *,
    after: timedelta,
    declaration: StackDeclaration,
    channels: Sequence[str],
    stack_id: int,
) -> tuple[Announcement, ...]:
    """Reminds of what was last spoken of longer than `after` ago. `steps` are as for `tell_between`."""
    before = heard(connection, stack_id)
    news, now = remind(before, occasion, steps, declaration, after=after)
    return _say(connection, stack_id, news, before, now, channels=channels, key=_key(stack_id, occasion.at))


def heard(connection: Connection, stack_id: int) -> Told:
    """What the people of a stack last heard."""
    document = connection.scalar(select(ToldRow.document).where(ToldRow.stack_id == stack_id))
    return Told() if document is None else load(Told, document)


def running(connection: Connection) -> dict[int, Told]:
    """What was last heard of the stacks with a story that goes on, by the stack's row id."""
    rows = connection.execute(
        select(ToldRow.stack_id, ToldRow.document)
        .where(ToldRow.episode.is_not(None) | ToldRow.outage.is_not(None))
        .order_by(ToldRow.stack_id)
    )
    return {row.stack_id: load(Told, row.document) for row in rows}


def _say(
    connection: Connection,
    stack_id: int,
    announced: tuple[Announcement, ...],
    before: Told,
    after: Told,
    *,
    channels: Sequence[str],
    key: str,
) -> tuple[Announcement, ...]:
    for announcement in announced:
        episode = episode_of(announcement, before, after)
        outbox.put(connection, announcement, episode=episode, channels=channels, key=key)
    if after != before:
        _keep(connection, stack_id, after)
    return announced


def _key(stack_id: int, at: datetime) -> str:
    return f"between:{stack_id}:{at.isoformat()}"


def _keep(connection: Connection, stack_id: int, told: Told) -> None:
    kept: dict[str, Any] = {"document": dump(told), "episode": told.episode, "outage": told.outage}
    changed = connection.execute(update(ToldRow).where(ToldRow.stack_id == stack_id).values(**kept))
    if not changed.rowcount:
        connection.execute(insert(ToldRow).values(stack_id=stack_id, **kept))
