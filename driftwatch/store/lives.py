"""What people and the time do to findings, and what is told between checks, each in one transaction.

    hold the stack → read its findings → decide (`driftwatch.drift`) → write → tell

The counterpart of `checks.record` for all that no check does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from driftwatch.drift import Occasion, Refused, act, expire, standing
from driftwatch.log import redact
from driftwatch.model import ErrorReport, StackDeclaration, Trigger, Verdict
from driftwatch.store import findings, stacks, told
from driftwatch.store.codec import load_optional
from driftwatch.store.names import id_of
from driftwatch.store.values import Acted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import Connection

    from driftwatch.drift import Press, Step
    from driftwatch.model import Announcement
    from driftwatch.store.engine import AnyRow


def press(connection: Connection, finding_id: int, pressed: Press) -> Acted | Refused | None:
    """Does what a person asked for. See `Store.act`."""
    stack_id = findings.stack_of(connection, finding_id)
    if stack_id is None:
        return None
    stacks.hold_row(connection, stack_id)
    found = findings.one(connection, finding_id)
    assert found is not None  # noqa: S101  (findings are never deleted)
    step = act(found, replace(pressed, reason=redact(pressed.reason) if pressed.reason else None))
    if isinstance(step, Refused):
        return step
    findings.put(connection, step, at=pressed.at)
    stacks.count(connection, stack_id)
    changed = findings.one(connection, finding_id)
    assert changed is not None  # noqa: S101  (as above)
    return Acted(was=found.status, finding=changed)


def reopen_ended(
    connection: Connection, stack_id: int, *, at: datetime, channels: Sequence[str]
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
        channels=channels,
        stack_id=stack_id,
    )


def tell_stale(
    connection: Connection,
    stack_id: int,
    *,
    at: datetime,
    since: datetime,
    fallback: timedelta,
    channels: Sequence[str],
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
        channels=channels,
        stack_id=stack_id,
    )


def remind(
    connection: Connection, stack_id: int, *, at: datetime, after: timedelta, channels: Sequence[str]
) -> tuple[Announcement, ...]:
    """Reminds of a stack's open findings, where it is time."""
    stack = stacks.hold_row(connection, stack_id)
    if stack.removed_at is not None or stack.suspended:
        return ()
    return told.tell_again(
        connection,
        _occasion(stack, at),
        [standing(found) for found in findings.active_of_stack(connection, stack_id)],
        after=after,
        declaration=_declaration(stack),
        channels=channels,
        stack_id=stack_id,
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
