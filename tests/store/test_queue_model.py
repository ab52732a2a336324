"""The queue and the outbox against a model: whatever happens in whatever order, the promises hold."""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from driftwatch.errors import FencedOffError
from driftwatch.model import Job, JobState, Trigger
from driftwatch.store import Store
from driftwatch.store.sqlite import DATABASE_FILE
from driftwatch.store.tables import JobRow
from tests.store.samples import LEASE, START, declared, finding, result, stack_id

if TYPE_CHECKING:
    from hypothesis.stateful import MultipleResults

STACKS = st.integers(min_value=1, max_value=3)
NODES = st.sampled_from(["one", "two"])


class Machine(RuleBasedStateMachine):
    """Three stacks, two nodes, and a clock that only goes on."""

    template: Path
    jobs: Bundle[Job] = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="driftwatch-model-"))
        shutil.copy(self.template, self.directory / DATABASE_FILE)
        self.store = Store.open(state_dir=self.directory, database=None)
        self.store.sync_stacks("platform", [declared(number) for number in (1, 2, 3)], START)
        self.now = START
        self.tokens: dict[str, int] = {}
        self.recorded: set[int] = set()
        self.heard: list[tuple[str, str]] = []

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.directory)

    @rule(stack=STACKS, trigger=st.sampled_from(list(Trigger)))
    def enqueue(self, stack: int, trigger: Trigger) -> None:
        self.store.enqueue(stack_id(stack), trigger, requested_by=None, at=self.now)

    @rule(target=jobs, node=NODES)
    def claim(self, node: str) -> Job | MultipleResults[Job]:
        job = self.store.claim(node, at=self.now, lease=LEASE)
        if job is None:
            return multiple()
        assert job.token > self.tokens.get(str(job.stack), 0), "a fencing token only grows"
        assert 1 <= job.attempts <= 3
        self.tokens[str(job.stack)] = job.token
        return job

    @rule(job=jobs)
    def renew(self, job: Job) -> None:
        if self.store.renew(job, at=self.now, lease=LEASE):
            assert self.tokens[str(job.stack)] == job.token, "only the latest claim can be renewed"

    @rule(job=jobs, state=st.sampled_from([JobState.DONE, JobState.FAILED, JobState.INTERRUPTED]))
    def finish(self, job: Job, state: JobState) -> None:
        self.store.finish(job, state, at=self.now)

    @rule(job=jobs, drifted=st.booleans())
    def record(self, job: Job, drifted: bool) -> None:
        number = int(job.stack.path[-3:])
        check = result(number, *([finding()] if drifted else []), at=self.now)
        try:
            self.store.record_check(check, declaration=declared(number), channels=["slack"], job=job)
        except FencedOffError:
            assert self.tokens[str(job.stack)] > job.token
            assert job.id not in self.recorded
        else:
            assert self.tokens[str(job.stack)] == job.token or job.id in self.recorded
            self.recorded.add(job.id)
            assert not self.store.renew(job, at=self.now, lease=LEASE), "a recorded check ends its job"

    @rule(node=st.none() | NODES)
    def recover(self, node: str | None) -> None:
        self.store.recover(node=node, at=self.now)
        assert self.store.recover(node=node, at=self.now) == 0

    @rule(minutes=st.integers(min_value=1, max_value=7))
    def wait(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(sent=st.booleans())
    def send(self, sent: bool) -> None:
        for message in self.store.due_messages(at=self.now, limit=2):
            if sent:
                self.store.message_sent(message.id, {"ts": str(message.id)}, at=self.now)
                self.heard.append((message.announcement.stack, message.announcement.kind))
            else:
                later = self.now + timedelta(minutes=2)
                self.store.message_failed(message.id, reason="503", retry_at=later)

    @invariant()
    def at_most_one_waits_and_one_runs_per_stack(self) -> None:
        open_states = (JobState.QUEUED, JobState.RUNNING)
        rows = self.rows(select(JobRow.stack_id, JobRow.state).where(JobRow.state.in_(open_states)))
        assert len(rows) == len(set(rows))

    @invariant()
    def people_hear_of_each_stack_in_turn(self) -> None:
        for stack in {stack for stack, _ in self.heard}:
            kinds = [kind for of, kind in self.heard if of == stack]
            wanted = ["drift_found", "resolved"] * len(kinds)
            assert kinds == wanted[: len(kinds)]

    def rows(self, query: Any) -> list[Any]:
        return self.store._database.read(lambda connection: list(connection.execute(query)))


@pytest.mark.row(42)
def test_the_queue_keeps_its_promises_whatever_happens(upgraded_file: Path) -> None:
    """Row 42: no job twice, no late result, no message out of turn."""
    Machine.template = upgraded_file
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Machine,
        settings=settings(
            max_examples=10,
            stateful_step_count=20,
            deadline=None,
            database=None,
            # A failing example says enough as it is: to shrink it takes minutes.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
