"""The queue: per stack at most one queued and one running job, claimed under a lease and a fencing token.

    enqueue → claim → (renew …) → record_check or finish
                        └ the worker is gone → recover → claim again, at most MOST_ATTEMPTS times

The token is the stack's and grows with every claim. Who claimed earlier and comes late holds an older one,
and nothing of theirs is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, exists, func, insert, or_, select, update
from sqlalchemy.orm import aliased

from driftwatch.errors import FencedOffError
from driftwatch.model import Job, JobState, ProposalState, Trigger
from driftwatch.store.names import id_of, known_id, with_stack
from driftwatch.store.tables import JobRow, ProposalRow, StackRow
from driftwatch.store.values import Enqueued

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import Connection

    from driftwatch.model import StackId
    from driftwatch.store.engine import AnyRow, AnySelect

PRIORITIES = {
    Trigger.MANUAL: 100,  # somebody waits
    Trigger.POST_APPLY: 90,
    Trigger.COMMIT: 80,
    Trigger.CLOUD_EVENT: 70,
    Trigger.UPSTREAM: 60,
    Trigger.RETRY: 40,
    Trigger.SCHEDULE: 20,
}
"""Higher goes first; within one, first come, first served."""

MOST_ATTEMPTS = 3
"""Claims of one job until it is given up: what kills its worker three times would kill it for ever."""

_ENDED = (JobState.DONE, JobState.FAILED, JobState.INTERRUPTED)


def enqueue(
    connection: Connection, stack: StackId, trigger: Trigger, *, requested_by: str | None, at: datetime
) -> Enqueued | None:
    """Puts a check of the stack in the queue; None where no such stack is declared.

    Where one is queued already it stands for this one too, and takes over the higher priority.
    """
    stack_id = known_id(connection, stack)
    if stack_id is None:
        return None
    queued = _queued(connection, stack_id)
    if queued is None:
        job_id = _insert(
            connection,
            stack_id,
            trigger,
            priority=PRIORITIES[trigger],
            requested_by=requested_by,
            at=at,
            attempts=0,
        )
        return Enqueued(job_id=job_id, created=True)
    if PRIORITIES[trigger] > queued.priority:
        raised = {"trigger": trigger, "priority": PRIORITIES[trigger], "requested_by": requested_by}
        connection.execute(update(JobRow).where(JobRow.id == queued.id).values(**raised))
    return Enqueued(job_id=queued.id, created=False)


def claim(connection: Connection, node: str, *, at: datetime, lease: timedelta) -> Job | None:
    """The next job to run, now this node's until the lease ends; None where nothing can run."""
    row = connection.execute(_next()).first()
    if row is None:
        return None
    connection.execute(update(StackRow).where(StackRow.id == row.stack_id).values(token=StackRow.token + 1))
    token = connection.scalar(select(StackRow.token).where(StackRow.id == row.stack_id)) or 0
    claimed = {
        "state": JobState.RUNNING,
        "attempts": row.attempts + 1,
        "token": token,
        "node": node,
        "lease_until": at + lease,
        "started_at": at,
    }
    connection.execute(update(JobRow).where(JobRow.id == row.id).values(**claimed))
    return _job(row, attempts=row.attempts + 1, token=token)


def renew(connection: Connection, job: Job, *, at: datetime, lease: timedelta) -> bool:
    """False where the job is no longer this worker's: it must stop and not write."""
    renewed = connection.execute(update(JobRow).where(_still(job)).values(lease_until=at + lease))
    return renewed.rowcount == 1


def finish(connection: Connection, job: Job, state: JobState, *, at: datetime) -> None:
    """Ends a job of which no check came. An interrupted one is queued again and may be tried as often.

    Nothing happens where the job is no longer this worker's.
    """
    row = connection.execute(select(JobRow).where(_still(job)).with_for_update()).first()
    if row is None:
        return
    _end(connection, row.id, state, at)
    if state is JobState.INTERRUPTED:
        _requeue(connection, row, at, attempts=row.attempts - 1)


def recover(connection: Connection, *, node: str | None, at: datetime) -> int:
    """Ends the jobs whose worker is gone: this node's, and those whose lease is over. Returns how many.

    Each is queued once more as a retry, or given up after `MOST_ATTEMPTS` claims (see `given_up`).
    """
    gone = JobRow.lease_until < at
    lost = connection.execute(
        select(JobRow)
        .where(JobRow.state == JobState.RUNNING, or_(gone, JobRow.node == node) if node else gone)
        .with_for_update(skip_locked=True)
    ).all()
    for row in lost:
        if row.attempts >= MOST_ATTEMPTS:
            _end(connection, row.id, JobState.FAILED, at)
        else:
            _end(connection, row.id, JobState.INTERRUPTED, at)
            _requeue(connection, row, at, attempts=row.attempts)
    return len(lost)


def given_up(connection: Connection) -> list[Job]:
    """Jobs that failed with no check to say so: whoever runs the queue records one, with the error."""
    rows = connection.execute(
        with_stack(JobRow)
        .where(
            JobRow.state == JobState.FAILED,
            JobRow.check_id.is_(None),
            JobRow.token == StackRow.token,
            JobRow.attempts >= MOST_ATTEMPTS,
        )
        .order_by(JobRow.id)
    )
    return [_job(row, attempts=row.attempts, token=row.token) for row in rows]


def depth(connection: Connection) -> dict[JobState, int]:
    """Jobs that wait and jobs that run."""
    open_states = (JobState.QUEUED, JobState.RUNNING)
    rows = connection.execute(
        select(JobRow.state, func.count().label("number"))
        .where(JobRow.state.in_(open_states))
        .group_by(JobRow.state)
    )
    return dict.fromkeys(open_states, 0) | {row.state: row.number for row in rows}


def fence(job: Job, stack: AnyRow) -> None:
    """Raises FencedOffError where the stack was claimed again since this job was."""
    if job.token != stack.token:
        raise FencedOffError(
            f"the check of {job.stack} came too late: it holds token {job.token}, "
            f"and the stack was claimed again with token {stack.token}",
            advice="Nothing is lost: the later check's result counts.",
        )


def close(connection: Connection, job: Job, *, check_id: int, at: datetime) -> None:
    """Ends the job that a check came of; one that was given up stays so. A retry of it is not needed."""
    row = connection.execute(select(JobRow.state, JobRow.stack_id).where(JobRow.id == job.id)).first()
    if row is None:
        return
    state = JobState.FAILED if row.state is JobState.FAILED else JobState.DONE
    connection.execute(
        update(JobRow).where(JobRow.id == job.id).values(state=state, check_id=check_id, finished_at=at)
    )
    if row.state is JobState.INTERRUPTED:
        connection.execute(
            delete(JobRow).where(
                JobRow.stack_id == row.stack_id,
                JobRow.state == JobState.QUEUED,
                JobRow.trigger == Trigger.RETRY,
            )
        )


def drop_queued(connection: Connection, stack_ids: Sequence[int]) -> None:
    """Takes the jobs of stacks that are no longer declared out of the queue."""
    connection.execute(delete(JobRow).where(JobRow.stack_id.in_(stack_ids), JobRow.state == JobState.QUEUED))


def prune(connection: Connection, before: datetime) -> int:
    """Deletes jobs that ended before a moment; what came of them stays in their checks."""
    return connection.execute(
        delete(JobRow).where(JobRow.state.in_(_ENDED), JobRow.finished_at < before)
    ).rowcount


def _next() -> AnySelect:
    """The queued job to run first, of a stack of which none runs and that is not being applied."""
    other = aliased(JobRow)
    applying = exists().where(
        ProposalRow.stack_id == JobRow.stack_id, ProposalRow.state == ProposalState.APPLYING
    )
    running = exists().where(other.stack_id == JobRow.stack_id, other.state == JobState.RUNNING)
    return (
        with_stack(JobRow)
        .where(JobRow.state == JobState.QUEUED, ~running, ~applying, StackRow.removed_at.is_(None))
        .order_by(JobRow.priority.desc(), JobRow.id)
        .limit(1)
        .with_for_update(of=JobRow, skip_locked=True)
    )


def _job(row: AnyRow, *, attempts: int, token: int) -> Job:
    return Job(
        id=row.id,
        stack=id_of(row),
        trigger=row.trigger,
        requested_by=row.requested_by,
        created_at=row.created_at,
        attempts=attempts,
        token=token,
    )


def _still(job: Job) -> Any:
    return and_(JobRow.id == job.id, JobRow.token == job.token, JobRow.state == JobState.RUNNING)


def _queued(connection: Connection, stack_id: int) -> AnyRow | None:
    return connection.execute(
        select(JobRow).where(JobRow.stack_id == stack_id, JobRow.state == JobState.QUEUED).with_for_update()
    ).first()


def _insert(
    connection: Connection,
    stack_id: int,
    trigger: Trigger,
    *,
    priority: int,
    requested_by: str | None,
    at: datetime,
    attempts: int,
) -> int:
    added = connection.execute(
        insert(JobRow).values(
            stack_id=stack_id,
            state=JobState.QUEUED,
            trigger=trigger,
            priority=priority,
            requested_by=requested_by,
            created_at=at,
            attempts=attempts,
            token=0,
        )
    )
    assert added.inserted_primary_key is not None  # noqa: S101  (for the type checker)
    job_id: int = added.inserted_primary_key[0]
    return job_id


def _end(connection: Connection, job_id: int, state: JobState, at: datetime) -> None:
    connection.execute(update(JobRow).where(JobRow.id == job_id).values(state=state, finished_at=at))


def _requeue(connection: Connection, row: AnyRow, at: datetime, *, attempts: int) -> None:
    """Queues a retry that keeps the rank of what it repeats; one that is queued already serves as well."""
    queued = _queued(connection, row.stack_id)
    if queued is None:
        priority = max(row.priority, PRIORITIES[Trigger.RETRY])
        _insert(
            connection,
            row.stack_id,
            Trigger.RETRY,
            priority=priority,
            requested_by=row.requested_by,
            at=at,
            attempts=attempts,
        )
        return
    connection.execute(
        update(JobRow).where(JobRow.id == queued.id).values(attempts=max(queued.attempts, attempts))
    )
