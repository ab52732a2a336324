"""That a stack is gone from what is watched, told to people: its resources are not gone with it.

    the stacks are synced → which were there and are not any more? → one message each, or one for many

It is written in the transaction in which the stack's row is marked, so it is told once, and never not at all.
Nothing is destroyed, planned or applied because of it: without its code nobody can tell what it should be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from driftwatch.log import redact
from driftwatch.model import Announcement, TransitionKind, Trigger, Verdict
from driftwatch.store import outbox, stacks
from driftwatch.store.names import is_stack
from driftwatch.store.tables import StackRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from driftwatch.model import StackDeclaration, StackId
    from driftwatch.store.values import SyncedStacks, Voice

_ONE_BY_ONE = 5
"""Stacks that are told of in a message each. A directory of a hundred that is moved is one piece of news."""
_NAMED = 20

_UNWATCHED = (
    "It is not among the stacks that are watched any more. Nothing was destroyed: what it made is still "
    "there, and so is its state."
)


def sync(
    connection: Connection,
    repository: str,
    declared: Sequence[StackDeclaration],
    at: datetime,
    *,
    gone: Mapping[StackId, str],
    voice: Voice,
) -> SyncedStacks:
    """Makes a repository's stacks those declared, as `stacks.sync` does, and tells which are not any more.

    `gone` says why, in sentences, where that is known.
    """
    synced = stacks.sync(connection, repository, declared, at)
    said = {stack: gone.get(stack, _UNWATCHED) for stack in synced.removed}
    if len(said) <= _ONE_BY_ONE:
        for stack, sentence in said.items():
            _tell(connection, _of_stack(connection, stack, sentence, at), voice)
    else:
        _tell(connection, _of_many(repository, said, at), voice)
    return synced


def _of_stack(connection: Connection, stack: StackId, sentence: str, at: datetime) -> Announcement:
    row = connection.execute(
        select(StackRow.labels, StackRow.owners, StackRow.commit_sha).where(is_stack(stack))
    ).one()
    return Announcement(
        kind=TransitionKind.STACK_REMOVED,
        stack=str(stack),
        verdict=Verdict.SKIPPED,
        commit=row.commit_sha,
        trigger=Trigger.COMMIT,
        at=at,
        owners=tuple(row.owners),
        labels=row.labels,
        said=redact(sentence),
    )


def _of_many(repository: str, said: Mapping[StackId, str], at: datetime) -> Announcement:
    """One for all: its stack is the glob of all of the repository's, by which routes choose."""
    names = sorted(map(str, said))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    sentence = (
        f"{len(names)} stacks are not watched any more. Nothing was destroyed: what they made is still "
        f"there, and so are their states. They are {', '.join(names[:_NAMED])}{more}."
    )
    return Announcement(
        kind=TransitionKind.STACK_REMOVED,
        stack=f"{repository}/*",
        verdict=Verdict.SKIPPED,
        commit=None,
        trigger=Trigger.COMMIT,
        at=at,
        said=redact(sentence),
    )


def _tell(connection: Connection, announcement: Announcement, voice: Voice) -> None:
    episode = f"removed:{announcement.stack}:{announcement.at.isoformat()}"
    outbox.put(
        connection,
        announcement,
        episode=episode,
        part=None,
        outlets=voice.routing.outlets(announcement, voice.channels, ()),
        now=announcement.at,
        gather=voice.gather,
        key=episode,
    )
