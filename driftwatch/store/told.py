"""What a stack's people last heard: decided by `driftwatch.drift`, kept here, and put in the outbox."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from driftwatch.drift import Told, announce, episode_of
from driftwatch.store import outbox
from driftwatch.store.codec import dump, load
from driftwatch.store.tables import ToldRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from driftwatch.drift import Step
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
    document = connection.scalar(select(ToldRow.document).where(ToldRow.stack_id == stack_id))
    before = Told() if document is None else load(Told, document)
    news, after = announce(before, result, steps, declaration)
    announced = tuple(replace(announcement, check_id=check_id) for announcement in news)
    for announcement in announced:
        episode = episode_of(announcement, before, after)
        outbox.put(connection, announcement, episode=episode, channels=channels, key=key)
    if after != before or document is None:
        _keep(connection, stack_id, after)
    return announced


def _keep(connection: Connection, stack_id: int, told: Told) -> None:
    kept: dict[str, Any] = {"document": dump(told), "episode": told.episode, "outage": told.outage}
    changed = connection.execute(update(ToldRow).where(ToldRow.stack_id == stack_id).values(**kept))
    if not changed.rowcount:
        connection.execute(insert(ToldRow).values(stack_id=stack_id, **kept))
