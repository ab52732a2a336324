"""What becomes of a proposal, told where its findings were told: in the thread of their incident.

A proposal that closes no finding that anybody was told of, such as a rollback, has a thread of its own, which
ends with it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import select

from driftwatch.drift import Occasion, Told, repaired, standing
from driftwatch.drift.stories import OWN
from driftwatch.log import redact
from driftwatch.model import Cause, ErrorReport, ProposalKind, StackDeclaration, Trigger, Verdict
from driftwatch.store import findings, outbox, proposals, stacks, told, wishes
from driftwatch.store.codec import load_optional
from driftwatch.store.names import id_of
from driftwatch.store.tables import MessageRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from driftwatch.drift import Step
    from driftwatch.model import Announcement, Proposal
    from driftwatch.store.engine import AnyRow
    from driftwatch.store.values import Voice


def tell(
    connection: Connection, proposal_id: int, *, said: str, at: datetime, voice: Voice, topic: str = ""
) -> tuple[Announcement, ...]:
    """Tells what became of a proposal, `said` in a sentence.

    Nothing where there is no such proposal, and where its latest step was told before: whoever is not sure
    whether a crash came between a step and its message tells it again. A `topic` is a word for something else
    that is to be told of the same step, once too.
    """
    row = proposals.row_of(connection, proposal_id)
    if row is None:
        return ()
    stack = stacks.hold_row(connection, row.stack_id)
    key = f"repair:{proposal_id}:{_number(connection, proposal_id)}" + (f"+{topic}" if topic else "")
    if outbox.has(connection, key):
        return ()
    proposal = proposals.one(connection, proposal_id)
    assert proposal is not None  # noqa: S101  (it was there, and is never deleted while its stack is held)
    steps = [standing(found) for found in findings.active_of_stack(connection, stack.id)]
    known = told.all_heard(connection, stack.id)
    story = _story(proposal, steps, known)
    heard = known.get(story, Told())
    announcement = _announced(stack, story, heard, steps, said=said, at=at)
    episode, over = _episode(connection, heard, proposal)
    told.send_repair(
        connection,
        announcement,
        episode=episode,
        over=over,
        story=story,
        stack_id=stack.id,
        voice=voice,
        key=key,
    )
    return (replace(announcement, check_id=None),)


def refuse(connection: Connection, number: int, *, said: str, at: datetime, voice: Voice) -> None:
    """Answers a wish with why nothing is proposed, and tells it where the stack's findings were told.

    Nothing is told where nobody heard of any: whoever asked at a terminal reads the answer there.
    """
    wish = wishes.waiting(connection).get(number)
    if wish is None:
        return
    stack = stacks.hold_row(connection, wishes.stack_of(connection, number))
    wishes.grant(connection, number, proposal=None, error=said, at=at)
    steps = [standing(found) for found in findings.active_of_stack(connection, stack.id)]
    known = {story: heard for story, heard in told.all_heard(connection, stack.id).items() if heard.episode}
    story = _story_of_kind(wish.kind, [step for step in steps if step.story in known])
    if story is None:
        return
    heard = known[story]
    sentence = f"{wish.by} asked to {wish.kind} {wish.stack}, but nothing is proposed: {said}"
    told.send_repair(
        connection,
        _announced(stack, story, heard, steps, said=sentence, at=at),
        episode=heard.episode or "",
        over=False,
        story=story,
        stack_id=stack.id,
        voice=voice,
        key=f"wish:{number}",
    )


def _story_of_kind(kind: ProposalKind, steps: Sequence[Step]) -> str | None:
    """The story that a repair of this kind would have ended; else any that goes on."""
    for step in steps:
        by_hand = Cause.OUT_OF_BAND in step.finding.causes
        if by_hand == (kind is ProposalKind.REVERT):
            return step.story
    return steps[0].story if steps else None


def _announced(
    stack: AnyRow, story: str, heard: Told, steps: Sequence[Step], *, said: str, at: datetime
) -> Announcement:
    occasion = Occasion(
        stack=id_of(stack),
        verdict=stack.verdict or Verdict.SKIPPED,
        commit=stack.commit_sha,
        trigger=Trigger.MANUAL,
        at=at,
        error=load_optional(ErrorReport, stack.error),
        story=story,
    )
    declaration = StackDeclaration(id=id_of(stack), labels=stack.labels, owners=tuple(stack.owners))
    mine = [step for step in steps if step.story == story]
    return repaired(heard, occasion, mine, declaration, said=redact(said))


def _episode(connection: Connection, heard: Told, proposal: Proposal) -> tuple[str, bool]:
    """The episode in which it is told, and whether that is over.

    That of its findings; where those are closed, the one in which the proposal was told so far: that it
    helped is proved by the check that closed them.
    """
    if heard.episode is not None:
        return heard.episode, False
    own = f"repair:{proposal.draft.stack}:{proposal.id}"
    earlier: str | None = connection.scalar(
        select(MessageRow.episode)
        .where(MessageRow.dedupe_key.like(f"repair:{proposal.id}:%"))
        .order_by(MessageRow.id)
        .limit(1)
    )
    if earlier is not None and earlier != own:
        return earlier, True
    return own, not proposal.state.is_open


def _story(proposal: Proposal, steps: Sequence[Step], known: dict[str, Told]) -> str:
    """That of the findings it would close; where they are closed, the one in which they were told."""
    wanted = set(proposal.draft.findings)
    for step in steps:
        if step.finding.fingerprint in wanted:
            return step.story
    for story, heard in known.items():
        if wanted & (heard.counted | heard.set_aside):
            return story
    return OWN


def _number(connection: Connection, proposal_id: int) -> int:
    events = proposals.events(connection, proposal_id)
    return events[-1].id if events else 0
