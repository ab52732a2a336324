"""That a repository's newest commit is not used, told to people: what is watched is not what was merged.

Once for each head that is refused, and once when a good one is used again; that a remote is away is neither.
Such a message is of a whole repository: its stack is the glob of all of them, by which routes choose as they
do by a stack. It belongs to no incident, and has a thread of its own, from the first refusal to its end.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from sqlalchemy import select

from driftwatch.errors import HeadRewoundError, SignatureMissingError, SignersUnusableError
from driftwatch.log import redact
from driftwatch.model import Announcement, ErrorReport, TransitionKind, Trigger, Verdict
from driftwatch.store import outbox
from driftwatch.store.codec import load
from driftwatch.store.tables import MessageRow

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from driftwatch.store.values import Voice

_REFUSALS = frozenset({SignatureMissingError.code, SignersUnusableError.code, HeadRewoundError.code})


def tell(
    connection: Connection,
    repository: str,
    *,
    commit: str | None,
    error: ErrorReport | None,
    at: datetime,
    voice: Voice,
) -> None:
    """Tells what a fetch came to, if that is news. `commit` is the one in use; its row is held."""
    if error is not None and error.code not in _REFUSALS:
        return
    episode = _running(connection, repository)
    if error is None:
        if episode is not None:
            said = f"The newest commit of {repository}, {(commit or '')[:10]}, counts again and is in use."
            _send(
                connection,
                _announcement(TransitionKind.HEAD_ACCEPTED, repository, commit, said, at),
                episode,
                voice,
            )
        return
    said = _refusal(error, commit)
    told = _announcement(TransitionKind.HEAD_REFUSED, repository, commit, said, at)
    _send(connection, told, episode or f"{_beginning(repository)}{at.isoformat()}", voice)


def _running(connection: Connection, repository: str) -> str | None:
    """The episode in which people were told of a refusal, and of no end yet."""
    row = connection.execute(
        select(MessageRow.episode, MessageRow.announcement)
        .where(MessageRow.episode.startswith(_beginning(repository), autoescape=True))
        .order_by(MessageRow.id.desc())
        .limit(1)
    ).first()
    if row is None or load(Announcement, row.announcement).kind.is_end:
        return None
    episode: str = row.episode
    return episode


def _beginning(repository: str) -> str:
    return f"head:{repository}:"


def _refusal(error: ErrorReport, commit: str | None) -> str:
    meanwhile = f"The last good commit, {commit[:10]}, stays in use" if commit else "Nothing of it is checked"
    advice = f" {error.advice}" if error.advice else ""
    return redact(f"{error.message[:1].upper()}{error.message[1:]}. {meanwhile}.{advice}")


def _announcement(
    kind: TransitionKind, repository: str, commit: str | None, said: str, at: datetime
) -> Announcement:
    return Announcement(
        kind=kind,
        stack=f"{repository}/*",
        verdict=Verdict.SKIPPED,
        commit=commit,
        trigger=Trigger.COMMIT,
        at=at,
        said=said,
    )


def _send(connection: Connection, announcement: Announcement, episode: str, voice: Voice) -> None:
    """Writes it for each channel, unless just this was told in the episode before."""
    key = f"{episode}:{hashlib.sha256((announcement.said or '').encode()).hexdigest()[:16]}"
    if outbox.has(connection, key):
        return
    told = connection.scalars(
        select(MessageRow.channel).where(MessageRow.episode == episode).distinct()
    ).all()
    outbox.put(
        connection,
        announcement,
        episode=episode,
        part=None,
        outlets=voice.routing.outlets(announcement, voice.channels, told),
        now=announcement.at,
        gather=voice.gather,
        key=key,
    )
