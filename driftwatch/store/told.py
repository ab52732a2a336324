"""What a stack's people last heard: decided by `driftwatch.drift`, kept here, and put in the outbox.

Whoever tells holds the stack's row, so that two that have something to say see what the other has said.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from driftwatch.drift import (
    Told,
    announce_all,
    announce_between,
    announce_stale,
    episode_of,
    handled,
    remind,
)
from driftwatch.drift.stories import OWN
from driftwatch.store import incidents, outbox
from driftwatch.store.codec import dump, load
from driftwatch.store.tables import ToldRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from driftwatch.drift import Occasion, Step
    from driftwatch.model import Announcement, CheckResult, StackDeclaration
    from driftwatch.store.values import Voice


def tell(
    connection: Connection,
    result: CheckResult,
    steps: Sequence[Step],
    *,
    declaration: StackDeclaration,
    voice: Voice,
    stack_id: int,
    check_id: int,
    key: str,
) -> tuple[Announcement, ...]:
    """Decides what is news in each story, writes messages, and remembers what was told."""
    known = all_heard(connection, stack_id)
    told: list[Announcement] = []
    now = result.started_at + timedelta(seconds=result.duration_seconds)
    for story, news, after in announce_all(
        known, result, steps, declaration, failing_checks=voice.failing_checks
    ):
        announced = tuple(replace(announcement, check_id=check_id) for announcement in news)
        before = known.get(story, Told())
        told += _say(
            connection,
            announced,
            before,
            after,
            stack_id=stack_id,
            story=story,
            voice=voice,
            now=now,
            key=key,
        )
    return tuple(told)


def tell_between(
    connection: Connection,
    occasion: Occasion,
    steps: Sequence[Step],
    *,
    declaration: StackDeclaration,
    voice: Voice,
    stack_id: int,
) -> tuple[Announcement, ...]:
    """As `tell`, where no check was made. `steps` are those of all findings that are not resolved."""
    told: list[Announcement] = []
    for story, before, mine in _stories(connection, stack_id, steps):
        about = replace(occasion, story=story)
        news, after = announce_between(before, about, mine, declaration)
        told += _say(
            connection,
            news,
            before,
            after,
            stack_id=stack_id,
            story=story,
            voice=voice,
            now=about.at,
            key=_key(stack_id, about),
        )
    return tuple(told)


def tell_stale(
    connection: Connection,
    occasion: Occasion,
    *,
    sentence: str,
    declaration: StackDeclaration,
    voice: Voice,
    stack_id: int,
) -> tuple[Announcement, ...]:
    """Tells, once, that nobody watches this stack any more."""
    before = heard(connection, stack_id)
    news, after = announce_stale(before, occasion, declaration, sentence=sentence)
    return _say(
        connection,
        news,
        before,
        after,
        stack_id=stack_id,
        story=OWN,
        voice=voice,
        now=occasion.at,
        key=_key(stack_id, occasion),
    )


def tell_again(
    connection: Connection,
    occasion: Occasion,
    steps: Sequence[Step],
    *,
    after: timedelta,
    declaration: StackDeclaration,
    voice: Voice,
    stack_id: int,
) -> tuple[Announcement, ...]:
    """Reminds of what was last spoken of longer than `after` ago. `steps` are as for `tell_between`."""
    told: list[Announcement] = []
    for story, before, mine in _stories(connection, stack_id, steps):
        about = replace(occasion, story=story)
        news, now = remind(before, about, mine, declaration, after=after)
        told += _say(
            connection,
            news,
            before,
            now,
            stack_id=stack_id,
            story=story,
            voice=voice,
            now=about.at,
            key=_key(stack_id, about),
        )
    return tuple(told)


def tell_handled(
    connection: Connection,
    occasion: Occasion,
    steps: Sequence[Step],
    *,
    said: str,
    declaration: StackDeclaration,
    voice: Voice,
    stack_id: int,
    number: int,
) -> tuple[Announcement, ...]:
    """Tells what a person did with findings of the story that the occasion names, where it was told of.

    `steps` are those of the story's findings that are not resolved; `number` is that of the event.
    """
    before = heard(connection, stack_id, occasion.story)
    news = handled(before, occasion, steps, declaration, said=said)
    key = f"handled:{stack_id}:{number}"
    return _say(
        connection,
        news,
        before,
        before,
        stack_id=stack_id,
        story=occasion.story,
        voice=voice,
        now=occasion.at,
        key=key,
    )


def send_repair(
    connection: Connection,
    announcement: Announcement,
    *,
    episode: str,
    over: bool,
    story: str,
    stack_id: int,
    voice: Voice,
    key: str,
) -> None:
    """Sends what became of a proposal, in the story's episode or in one that is `over` with the proposal."""
    _send(
        connection,
        announcement,
        episode=episode,
        story=story,
        stack_id=stack_id,
        voice=voice,
        now=announcement.at,
        key=key,
        over=over,
    )


def heard(connection: Connection, stack_id: int, story: str = OWN) -> Told:
    """What the people of a stack last heard of a story."""
    document = connection.scalar(
        select(ToldRow.document).where(ToldRow.stack_id == stack_id, ToldRow.story == story)
    )
    return Told() if document is None else load(Told, document)


def all_heard(connection: Connection, stack_id: int) -> dict[str, Told]:
    """What they last heard of each story, by its key."""
    rows = connection.execute(select(ToldRow.story, ToldRow.document).where(ToldRow.stack_id == stack_id))
    return {row.story: load(Told, row.document) for row in rows}


def running(connection: Connection) -> list[tuple[int, Told]]:
    """The stories that go on, each with its stack's row id."""
    rows = connection.execute(
        select(ToldRow.stack_id, ToldRow.document)
        .where(ToldRow.episode.is_not(None) | ToldRow.outage.is_not(None))
        .order_by(ToldRow.stack_id, ToldRow.story)
    )
    return [(row.stack_id, load(Told, row.document)) for row in rows]


def _stories(
    connection: Connection, stack_id: int, steps: Iterable[Step]
) -> Iterator[tuple[str, Told, list[Step]]]:
    known, steps = all_heard(connection, stack_id), list(steps)
    for story in sorted({OWN, *known, *(step.story for step in steps)}):
        yield story, known.get(story, Told()), [step for step in steps if step.story == story]


def _say(
    connection: Connection,
    announced: tuple[Announcement, ...],
    before: Told,
    after: Told,
    *,
    stack_id: int,
    story: str,
    voice: Voice,
    now: datetime,
    key: str,
) -> tuple[Announcement, ...]:
    for announcement in announced:
        _send(
            connection,
            announcement,
            episode=episode_of(announcement, before, after),
            story=story,
            stack_id=stack_id,
            voice=voice,
            now=now,
            key=key,
        )
    if after != before:
        _keep(connection, stack_id, story, after)
    return announced


def _send(
    connection: Connection,
    announcement: Announcement,
    *,
    episode: str,
    story: str,
    stack_id: int,
    voice: Voice,
    now: datetime,
    key: str,
    over: bool = False,
) -> None:
    part = incidents.take_part(
        connection, announcement, episode=episode, story=story, stack_id=stack_id, over=over
    )
    outlets = voice.routing.outlets(announcement, voice.channels, part.channels)
    told = {*part.channels, *(outlet.channel for outlet in outlets)}
    if told != set(part.channels):
        incidents.note_channels(connection, episode, told)
    which = f"{key}:{story}" if story else key
    outbox.put(
        connection,
        announcement,
        episode=episode,
        part=part,
        outlets=outlets,
        now=now,
        gather=voice.gather,
        key=which,
    )


def _key(stack_id: int, occasion: Occasion) -> str:
    return f"between:{stack_id}:{occasion.at.isoformat()}"


def _keep(connection: Connection, stack_id: int, story: str, told: Told) -> None:
    mine = (ToldRow.stack_id == stack_id) & (ToldRow.story == story)
    if story != OWN and told.is_silent:
        connection.execute(delete(ToldRow).where(mine))
        return
    kept: dict[str, Any] = {"document": dump(told), "episode": told.episode, "outage": told.outage}
    changed = connection.execute(update(ToldRow).where(mine).values(**kept))
    if not changed.rowcount:
        connection.execute(insert(ToldRow).values(stack_id=stack_id, story=story, **kept))
