"""What people and the time do to findings, and what is told between checks, each in one transaction.

    hold the stack → read its findings → decide (`driftwatch.drift`) → write → tell

The counterpart of `checks.record` for all that no check does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from driftwatch.drift import Occasion, Refused, act, expire, said_of, standing
from driftwatch.log import redact
from driftwatch.model import ErrorReport, StackDeclaration, Trigger, Verdict
from driftwatch.store import findings, stacks, suspensions, told
from driftwatch.store.codec import load_optional
from driftwatch.store.names import id_of
from driftwatch.store.values import Acted, ActedOnAll

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import Connection

    from driftwatch.drift import Press, Step
    from driftwatch.model import Announcement, StoredFinding
    from driftwatch.store.engine import AnyRow
    from driftwatch.store.values import Voice


def press(connection: Connection, finding_id: int, pressed: Press, *, voice: Voice) -> Acted | Refused | None:
    """Does what a person asked for. See `Store.act`."""
    stack_id = findings.stack_of(connection, finding_id)
    if stack_id is None:
        return None
    stacks.hold_row(connection, stack_id)
    found = findings.one(connection, finding_id)
    assert found is not None  # noqa: S101  (findings are never deleted)
    done = press_all(connection, stack_id, {finding_id: pressed.seen}, pressed, voice=voice)
    return done.refused[0] if done.refused else Acted(was=found.status, finding=done.acted[0])


def press_all(
    connection: Connection,
    stack_id: int,
    seen: Mapping[int, str | None],
    pressed: Press,
    *,
    voice: Voice,
) -> ActedOnAll:
    """Does what a person asked for with some findings of one stack, and tells it once in each story.

    `seen` are the findings by id, each with the fingerprint of what the person saw, where that is known.
    """
    stack = stacks.hold_row(connection, stack_id)
    pressed = replace(pressed, reason=redact(pressed.reason) if pressed.reason else None)
    known = {found.id: found for found in findings.active_of_stack(connection, stack_id)}
    steps: list[Step] = []
    refused: list[Refused] = []
    for finding_id, fingerprint in seen.items():
        found = known.get(finding_id) or findings.one(connection, finding_id)
        assert found is not None  # noqa: S101  (findings are never deleted)
        step = act(found, replace(pressed, seen=fingerprint))
        if isinstance(step, Refused):
            refused.append(step)
            continue
        findings.put(connection, step, at=pressed.at)
        steps.append(step)
    if not steps:
        return ActedOnAll(acted=(), refused=tuple(refused))
    stacks.count(connection, stack_id)
    now = findings.active_of_stack(connection, stack_id)
    _tell_handled(connection, stack, steps, pressed, now, voice=voice)
    moved = {step.before.id for step in steps if step.before}
    return ActedOnAll(acted=tuple(found for found in now if found.id in moved), refused=tuple(refused))


def reopen_ended(
    connection: Connection, stack_id: int, *, at: datetime, voice: Voice
) -> tuple[Announcement, ...]:
    """Re-opens a stack's findings whose snooze or acceptance is over, and tells of them."""
    stack = stacks.hold_row(connection, stack_id)
    steps: list[Step] = []
    for found in findings.active_of_stack(connection, stack_id):
        step = expire(found, at)
        if step is not None:
            findings.put(connection, step, at=at)
        steps.append(step or standing(found))
    stacks.count(connection, stack_id)
    return told.tell_between(
        connection,
        _occasion(stack, at),
        steps,
        declaration=_declaration(stack),
        voice=voice,
        stack_id=stack_id,
    )


def tell_stale(
    connection: Connection,
    stack_id: int,
    *,
    at: datetime,
    since: datetime,
    fallback: timedelta,
    voice: Voice,
) -> tuple[Announcement, ...]:
    """Tells that a stack is stale, where it still is: a check may have come in between."""
    stack = stacks.hold_row(connection, stack_id)
    sentence = stacks.unwatched(stack, at=at, since=since, fallback=fallback)
    if sentence is None:
        return ()
    return told.tell_stale(
        connection,
        _occasion(stack, at),
        sentence=sentence,
        declaration=_declaration(stack),
        voice=voice,
        stack_id=stack_id,
    )


def remind(
    connection: Connection, stack_id: int, *, at: datetime, after: timedelta, voice: Voice
) -> tuple[Announcement, ...]:
    """Reminds of a stack's open findings, where it is time."""
    stack = stacks.hold_row(connection, stack_id)
    if stack.removed_at is not None or suspensions.of_stack(connection, id_of(stack), at):
        return ()
    return told.tell_again(
        connection,
        _occasion(stack, at),
        [standing(found) for found in findings.active_of_stack(connection, stack_id)],
        after=after,
        declaration=_declaration(stack),
        voice=voice,
        stack_id=stack_id,
    )


def _tell_handled(
    connection: Connection,
    stack: AnyRow,
    steps: Sequence[Step],
    pressed: Press,
    now: Sequence[StoredFinding],
    *,
    voice: Voice,
) -> None:
    """`now` are the stack's findings that are not resolved."""
    for story in sorted({step.story for step in steps}):
        mine = [step for step in steps if step.story == story]
        last = mine[-1].before
        told.tell_handled(
            connection,
            replace(_occasion(stack, pressed.at), story=story),
            [standing(found) for found in now if found.story == story],
            said=said_of(mine, pressed),
            declaration=_declaration(stack),
            voice=voice,
            stack_id=stack.id,
            number=findings.last_event(connection, last.id) if last else 0,
        )


def _occasion(stack: AnyRow, at: datetime) -> Occasion:
    """The latest check's condition, of which is spoken now. A stack without one is not in sync."""
    return Occasion(
        stack=id_of(stack),
        verdict=stack.verdict or Verdict.SKIPPED,
        commit=stack.commit_sha,
        trigger=Trigger.SCHEDULE,
        at=at,
        error=load_optional(ErrorReport, stack.error),
    )


def _declaration(stack: AnyRow) -> StackDeclaration:
    return StackDeclaration(id=id_of(stack), labels=stack.labels, owners=tuple(stack.owners))
