"""What is owed to the queue gets there, in the right order, whatever the store does meanwhile."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from service_doubles import MORNING, Clock, MemoryStore, eventually, stack

from driftwatch.errors import DiskFullError
from driftwatch.model import JobState, Trigger
from driftwatch.service import intake as intake_module
from driftwatch.service.intake import Intake

if TYPE_CHECKING:
    from service_doubles import Lines

    from driftwatch.model import StackId

ONE, TWO = stack("one"), stack("two")
NEXT = MORNING + timedelta(minutes=15)


class Bell:
    def __init__(self) -> None:
        self.rung = 0

    def __call__(self) -> None:
        self.rung += 1


@pytest.fixture
def intake(memory: MemoryStore) -> Intake:
    memory.declare([ONE, TWO])
    return Intake(memory, memory, clock=Clock(), on_queued=Bell())


def test_a_check_is_queued_before_the_next_due_time_is_kept(intake: Intake, memory: MemoryStore) -> None:
    """A crash in between makes it come twice, which the queue folds; the other way round it would be lost."""
    intake.owe(ONE, Trigger.SCHEDULE)
    intake.move(ONE, NEXT)
    intake.pay()
    assert memory.log == [f"enqueue {ONE}", "schedule 1"]
    assert memory.dues[ONE] == NEXT


def test_the_same_debt_twice_is_one(intake: Intake, memory: MemoryStore) -> None:
    intake.owe(ONE, Trigger.SCHEDULE)
    intake.owe(ONE, Trigger.SCHEDULE)
    intake.pay()
    intake.pay()
    assert memory.log == [f"enqueue {ONE}"]


def test_a_commit_is_not_hidden_by_a_schedule(intake: Intake, memory: MemoryStore) -> None:
    intake.owe(ONE, Trigger.SCHEDULE)
    intake.owe(ONE, Trigger.COMMIT)
    intake.pay()
    assert [job.trigger for job in memory.jobs(JobState.QUEUED)] == [Trigger.COMMIT]


def test_a_due_time_waits_for_a_check_that_is_owed_in_the_meantime(memory: MemoryStore) -> None:
    """Also where it falls due just while others are being queued."""
    memory.declare([ONE, TWO])

    def meanwhile() -> None:
        if NEXT not in intake._moved.values():
            intake.owe(TWO, Trigger.SCHEDULE)
            intake.move(TWO, NEXT)

    intake = Intake(memory, memory, clock=Clock(), on_queued=meanwhile)
    intake.owe(ONE, Trigger.SCHEDULE)
    intake.pay()
    assert memory.dues[TWO] is None
    intake.pay()
    assert memory.dues[TWO] == NEXT


@pytest.mark.row(46)
def test_what_is_owed_while_the_store_is_away_is_paid_later(
    intake: Intake, memory: MemoryStore, lines: Lines
) -> None:
    """Row 46: nothing is lost, the due time stays until the check is queued, and it is said once."""
    memory.is_down = True
    intake.owe(ONE, Trigger.SCHEDULE)
    intake.move(ONE, NEXT)
    for _ in range(3):
        intake.pay()
    assert intake.outage.error is not None
    memory.is_down = False
    intake.pay()
    assert [job.stack for job in memory.jobs(JobState.QUEUED)] == [ONE]
    assert memory.dues[ONE] == NEXT
    assert [line["action"] for line in lines] == ["outage", "recovered"]


@pytest.mark.row(17)
def test_what_is_owed_while_the_disk_is_full_is_paid_later(memory: MemoryStore) -> None:
    """Row 17: a slot is not lost because the database had no space for it."""

    class Full(MemoryStore):
        is_full = True

        def enqueue(self, stack: StackId, trigger: Trigger, **rest: Any) -> Any:
            if self.is_full:
                raise DiskFullError("no space left for the database")
            return super().enqueue(stack, trigger, **rest)

    store = Full()
    store.declare([ONE])
    intake = Intake(store, store, clock=Clock(), on_queued=Bell())
    intake.owe(ONE, Trigger.SCHEDULE)
    intake.pay()
    assert isinstance(intake.outage.error, DiskFullError)
    store.is_full = False
    intake.pay()
    assert [job.stack for job in store.jobs(JobState.QUEUED)] == [ONE]


def test_one_stack_that_cannot_be_queued_does_not_stop_the_others(memory: MemoryStore, lines: Lines) -> None:
    class Poisoned(MemoryStore):
        def enqueue(self, stack: StackId, trigger: Trigger, **rest: Any) -> Any:
            if stack == ONE:
                raise KeyError("a fault of ours")
            return super().enqueue(stack, trigger, **rest)

    store = Poisoned()
    store.declare([ONE, TWO])
    intake = Intake(store, store, clock=Clock(), on_queued=Bell())
    intake.owe(ONE, Trigger.SCHEDULE)
    intake.owe(TWO, Trigger.SCHEDULE)
    intake.pay()
    assert [job.stack for job in store.jobs(JobState.QUEUED)] == [TWO]
    assert [line["log_level"] for line in lines] == ["error"]
    assert intake.outage.error is None


def test_a_stack_that_is_gone_is_not_checked(intake: Intake, memory: MemoryStore, lines: Lines) -> None:
    intake.owe(stack("gone"), Trigger.COMMIT)
    intake.pay()
    intake.pay()
    assert memory.jobs(JobState.QUEUED) == []
    assert [line["log_level"] for line in lines] == ["info"]


def test_an_errand_is_run_until_it_works(intake: Intake) -> None:
    tries = []

    def errand() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise RuntimeError("not yet")

    intake.ask(errand)
    intake.ask(errand)
    for _ in range(5):
        intake.pay()
    assert len(tries) == 3


def test_the_thread_pays_at_once_and_for_the_last_time_at_the_end(
    intake: Intake, memory: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It recovers by itself after an outage, and what is owed at the end is paid before it goes."""
    monkeypatch.setattr(intake_module, "RETRY_SECONDS", 0.02)
    stop = threading.Event()
    thread = threading.Thread(target=intake.run, args=(stop,))
    thread.start()
    memory.is_down = True
    intake.owe(ONE, Trigger.SCHEDULE)
    assert eventually(lambda: intake.outage.error is not None)
    memory.is_down = False
    assert eventually(lambda: len(memory.jobs(JobState.QUEUED)) == 1)
    assert eventually(lambda: intake.outage.error is None)
    with memory.lock:
        intake.owe(TWO, Trigger.SCHEDULE)
        stop.set()
        intake.ring()
    thread.join(timeout=5)
    assert len(memory.jobs(JobState.QUEUED)) == 2
