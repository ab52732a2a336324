"""Recording a check: everything that follows from one result, in one transaction.

    hold the stack → known already? → fence → check row → findings → messages → baseline → stack → job

What the steps and announcements are is decided by `driftwatch.drift`; here they become rows.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from sqlalchemy import Text, delete, func, insert, select, type_coerce, union, update

from driftwatch.drift import advance
from driftwatch.model import Inputs, Verdict
from driftwatch.store import findings, jobs, stacks, told
from driftwatch.store.codec import dump, load_optional
from driftwatch.store.names import is_stack
from driftwatch.store.tables import BaselineRow, CheckRow, FindingEventRow, FindingRow, StackRow
from driftwatch.store.values import Recorded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, CompoundSelect, Connection

    from driftwatch.drift import Flapping, Step
    from driftwatch.model import Announcement, CheckResult, Job, StackDeclaration, StackId
    from driftwatch.store.engine import AnyRow
    from driftwatch.store.values import Voice

_GOOD = tuple(verdict for verdict in Verdict if verdict.is_good)


def record(
    connection: Connection,
    result: CheckResult,
    *,
    declaration: StackDeclaration,
    voice: Voice,
    job: Job | None,
    late: bool,
    flapping: Flapping,
) -> Recorded:
    """Writes a result and all that follows from it. See `Store.record_check`."""
    stack = stacks.hold(connection, declaration, result.started_at)
    key = key_of(result, job)
    if known := connection.scalar(select(CheckRow.id).where(CheckRow.key == key)):
        waiting = findings.count_open(connection, stack.id)
        return Recorded(check_id=known, announcements=(), open_findings=waiting)
    if job is not None:
        jobs.fence(job, stack)
    check_id = _insert(connection, stack.id, key, result)
    announced: tuple[Announcement, ...] = ()
    if _is_news(stack, result, late=late):
        steps = _advance(connection, stack, check_id, result, flapping)
        announced = told.tell(
            connection,
            result,
            steps,
            declaration=declaration,
            voice=voice,
            stack_id=stack.id,
            check_id=check_id,
            key=key,
        )
        _keep_baseline(connection, stack.id, check_id, result)
        stacks.note_check(connection, stack.id, result)
    if job is not None:
        ended = result.started_at + timedelta(seconds=result.duration_seconds)
        jobs.close(connection, job, check_id=check_id, at=ended)
    waiting = findings.count_open(connection, stack.id)
    return Recorded(check_id=check_id, announcements=announced, open_findings=waiting)


def key_of(result: CheckResult, job: Job | None) -> str:
    """What makes it the same check when it is written again: its claim, or else all that it says."""
    what = ["claim", result.stack, job.id, job.token] if job else ["result", result]
    return hashlib.sha256(to_json(what)).hexdigest()[:32]


def baseline(connection: Connection, stack: StackId) -> Inputs | None:
    """The inputs of the stack's last check that was in sync."""
    document = connection.scalar(
        select(BaselineRow.inputs).join(StackRow, StackRow.id == BaselineRow.stack_id).where(is_stack(stack))
    )
    return load_optional(Inputs, document)


def mass_deletion_of(connection: Connection, stack: StackId) -> str | None:
    """What the latest good check of a stack says of a mass deletion."""
    found: str | None = connection.scalar(
        select(CheckRow.mass_deletion)
        .join(StackRow, StackRow.id == CheckRow.stack_id)
        .where(is_stack(stack), CheckRow.verdict.in_(_GOOD))
        .order_by(CheckRow.id.desc())
        .limit(1)
    )
    return found


def commits_of(connection: Connection, stack: StackId, prefix: str) -> list[str]:
    """The commits at which a stack was checked and that begin so, in hexadecimal."""
    found = connection.scalars(
        select(CheckRow.commit_sha)
        .join(StackRow, StackRow.id == CheckRow.stack_id)
        .where(is_stack(stack), CheckRow.commit_sha.startswith(prefix, autoescape=True))
        .distinct()
        .order_by(CheckRow.commit_sha)
    )
    return [commit for commit in found if commit is not None]


def prunable(connection: Connection, before: datetime) -> list[int]:
    """Checks that began before a moment and that nothing refers to."""
    query = select(CheckRow.id).where(CheckRow.started_at < before, CheckRow.id.not_in(_kept()))
    return list(connection.scalars(query))


def repetitive(connection: Connection, before: datetime) -> list[int]:
    """Checks in the middle of a run that says the same again and again: its first and last say it all."""
    order: dict[str, Any] = {"partition_by": CheckRow.stack_id, "order_by": CheckRow.id}
    runs = select(
        CheckRow.id,
        CheckRow.started_at,
        _said().label("said"),
        func.lag(_said()).over(**order).label("earlier"),
        func.lead(_said()).over(**order).label("later"),
    ).subquery()
    query = select(runs.c.id).where(
        runs.c.started_at < before,
        runs.c.said == runs.c.earlier,
        runs.c.said == runs.c.later,
        runs.c.id.not_in(_kept()),
    )
    return list(connection.scalars(query))


def delete_all(connection: Connection, ids: Sequence[int]) -> int:
    """Deletes checks by id and tells how many there were."""
    return connection.execute(delete(CheckRow).where(CheckRow.id.in_(ids))).rowcount


def _is_news(stack: AnyRow, result: CheckResult, *, late: bool) -> bool:
    """False where the result is only history: of a removed stack, or overtaken while it was in the spool."""
    overtaken = late and stack.checked_at is not None and stack.checked_at > result.started_at
    return stack.removed_at is None and not overtaken


def _insert(connection: Connection, stack_id: int, key: str, result: CheckResult) -> int:
    added = connection.execute(
        insert(CheckRow).values(
            key=key,
            stack_id=stack_id,
            trigger=result.trigger,
            commit_sha=result.commit,
            verdict=result.verdict,
            method=result.method,
            method_reason=result.method_reason,
            started_at=result.started_at,
            duration_seconds=result.duration_seconds,
            engine=dump(result.engine),
            inputs=dump(result.inputs),
            error_code=result.error.code if result.error else None,
            error=dump(result.error),
            mass_deletion=result.mass_deletion,
            findings_total=len(result.findings),
            findings_counted=len(result.counted),
        )
    )
    assert added.inserted_primary_key is not None  # noqa: S101  (for the type checker)
    check_id: int = added.inserted_primary_key[0]
    return check_id


def _advance(
    connection: Connection, stack: AnyRow, check_id: int, result: CheckResult, flapping: Flapping
) -> tuple[Step, ...]:
    last = _inputs_of_last_good(connection, stack, check_id)
    steps = advance(findings.of_stack(connection, stack.id), result, last=last, flapping=flapping)
    findings.take(
        connection,
        stack.id,
        steps,
        check_id=check_id,
        at=result.started_at,
        clean_at=stack.last_good_at,
    )
    return steps


def _inputs_of_last_good(connection: Connection, stack: AnyRow, check_id: int) -> Inputs | None:
    """Those of the check that saw every finding which is now active."""
    document = connection.scalar(
        select(CheckRow.inputs)
        .where(
            CheckRow.stack_id == stack.id,
            CheckRow.verdict.in_(_GOOD),
            CheckRow.started_at == stack.last_good_at,
            CheckRow.id != check_id,
        )
        .order_by(CheckRow.id.desc())
        .limit(1)
    )
    return load_optional(Inputs, document)


def _keep_baseline(connection: Connection, stack_id: int, check_id: int, result: CheckResult) -> None:
    if result.verdict is not Verdict.IN_SYNC:
        return
    kept = {"check_id": check_id, "inputs": dump(result.inputs)}
    changed = connection.execute(update(BaselineRow).where(BaselineRow.stack_id == stack_id).values(**kept))
    if not changed.rowcount:
        connection.execute(insert(BaselineRow).values(stack_id=stack_id, **kept))


def _said() -> ColumnElement[str]:
    """What a check said, as one text: two that said the same are equal in it."""
    return (
        type_coerce(CheckRow.verdict, Text)
        + " "
        + type_coerce(CheckRow.method, Text)
        + " "
        + func.coalesce(CheckRow.error_code, "")
        + " "
        + func.coalesce(CheckRow.commit_sha, "")
    )


def _kept() -> CompoundSelect[int]:
    """What stays however old: each stack's latest and latest good check, and what something refers to."""
    latest = select(func.max(CheckRow.id)).group_by(CheckRow.stack_id)
    return union(
        latest,
        latest.where(CheckRow.verdict.in_(_GOOD)),
        select(FindingRow.first_check_id),
        select(FindingRow.last_check_id),
        select(FindingEventRow.check_id).where(FindingEventRow.check_id.is_not(None)),
        select(BaselineRow.check_id),
    )
