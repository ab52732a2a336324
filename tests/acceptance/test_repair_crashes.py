"""A crash at any step of a repair loses nothing, doubles nothing, and is told.

The daemon is killed with -9 at a step that the test names; what comes after it is the real daemon.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from driftwatch.model import ProposalState
from driftwatch.sandbox.cloud import Fault, Kind
from driftwatch.terraform.applies import APPLY_VARIABLE
from tests.acceptance.repairs_seen import (
    AUTOMATIC,
    BY_PEOPLE,
    DNS,
    RECORD,
    applied,
    created,
    decide,
    proposals,
    record,
    repairing,
    steps,
    told,
    wait_for_proposal,
    wait_for_words,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Sequence

    from driftwatch.model import Proposal
    from driftwatch.store import Store
    from tests.acceptance.conftest import House, PostgresServer

CRASHING = (str(Path(__file__).parent / "crashing_daemon.py"),)

BEFORE_IT_BEGINS = (
    "after the draft's plan",
    "before the proposal is written",
    "after the proposal is written",
    "before the plan that is applied",
    "under the lock",
    "after the plan that is applied",
    "before the apply is written",
)
ONCE_IT_RUNS = (
    "before the process is noted",
    "before the end is written",
    "after the end is written",
    "before the proof is written",
    "after the proof is written",
)


@pytest.fixture
def store(house: House) -> Iterator[Store]:
    opened = house.store()
    yield opened
    opened.close()


@pytest.fixture
def drifted(house: House) -> House:
    """A house that repairs by itself, and whose record is gone; making it is up to the daemon."""
    repairing(house, "apply", AUTOMATIC)
    house.apply("dns")
    house.cloud.delete(Kind.DNS_RECORD, RECORD)
    return house


def crash_at(house: House, step: str, *, alone: bool = True) -> None:
    """Runs a daemon until it has killed itself there; not `alone`, all that it has started too."""
    house.environment["TEST_CRASH_AT"] = step
    house.environment["TEST_TAKE_ALONG"] = "" if alone else str(house.state / "applies")
    house.environment["TEST_LOCK_FILE"] = str(house.directory / "states/dns/.terraform.tfstate.lock.info")
    daemon = house.start(CRASHING)
    assert daemon.wait(timeout=60) == -9, house.log()[-4000:]


@pytest.mark.row(1)
@pytest.mark.row(2)
@pytest.mark.row(13)
@pytest.mark.parametrize(
    "steps_before",
    [
        ("after the proposal is written", "under the lock"),
        pytest.param(BEFORE_IT_BEGINS, marks=pytest.mark.slow),
    ],
    ids=["some", "all"],
)
def test_a_daemon_that_is_killed_at_one_step_after_the_other_repairs_once_and_tells_each_thing_once(
    drifted: House, store: Store, steps_before: Sequence[str]
) -> None:
    """One proposal, one apply to its end, one object made, one proof, whatever was killed between."""
    house = drifted
    house.cloud.inject(
        Fault(kind="delay", operation="create", seconds=10),
        Fault(kind="delay", operation="read", seconds=0.5),
    )
    before = created(house)
    for step in steps_before:
        crash_at(house, step)
        assert record(house) is None
        assert not applied(store), step
    crash_at(house, "before the process is noted")
    [begun] = applied(store)
    assert (begun.state, begun.run and begun.run.pid) == (ProposalState.APPLYING, None)

    house.environment.pop("TEST_CRASH_AT")
    while_it_runs = house.start()
    house.wait_for("the daemon to be up", house.is_ready)
    assert record(house) is None, "it was to be killed in the middle of the apply"
    while_it_runs.kill()
    while_it_runs.wait()

    for step in ONCE_IT_RUNS[1:]:
        crash_at(house, step)
    house.environment.pop("TEST_CRASH_AT")
    daemon = house.start()
    proposal = wait_for_proposal(house, store, ProposalState.VERIFIED)
    wait_for_words(house, "It is applied by itself", "is being applied", "is applied;", "is proved")

    assert [each.id for each in proposals(store)] == [proposal.id]
    assert steps(store, proposal) == ["proposed", "applying", "applied", "verified"]
    assert proposal.run is not None
    assert proposal.run.id == (begun.run and begun.run.id)
    assert proposal.run.exit_code == 0
    assert "Apply complete! Resources: 1 added" in (proposal.run.output or "")
    assert created(house) == before + 1
    assert record(house) is not None
    said = told(house)
    assert [count for count in Counter(said).values() if count > 1] == []
    assert len(said) == 4, said
    assert house.stop(daemon) == 0
    assert not list((house.state / "applies").iterdir()), "what was prepared is cleared away"
    assert not list((house.directory / "states/dns").glob(".terraform.tfstate.lock*"))


@pytest.mark.slow
@pytest.mark.row(2)
def test_an_apply_that_was_written_and_never_began_is_told_and_waits_for_a_person(
    drifted: House, store: Store
) -> None:
    """Nothing was applied, nothing is stuck, and what follows is not done by itself."""
    house, before = drifted, created(drifted)
    crash_at(house, "after the apply is written")
    assert applied(store)[0].state is ProposalState.APPLYING
    house.environment.pop("TEST_CRASH_AT")
    daemon = house.start()
    failed = wait_for_proposal(house, store, ProposalState.FAILED)
    wait_for_words(house, "it was never started, and nothing was applied")
    following = wait_for_proposal(house, store, ProposalState.PROPOSED, after=failed.id)
    assert not following.draft.automatic
    assert created(house) == before
    wait_for_words(house, f"Proposal {following.id}, to revert: 1 to add. It waits to be approved.")
    decide(store, following)
    wait_for_proposal(house, store, ProposalState.VERIFIED, after=failed.id)
    assert created(house) == before + 1
    assert house.stop(daemon) == 0
    assert not list((house.state / "applies").iterdir())


@pytest.mark.slow
@pytest.mark.row(2)
def test_an_apply_that_nobody_knows_the_beginning_of_is_taken_for_interrupted(
    drifted: House, store: Store
) -> None:
    """Its process is on record, and whether it had the word to begin nobody can say."""
    house, before = drifted, created(drifted)
    crash_at(house, "before the word to begin")
    house.environment.pop("TEST_CRASH_AT")
    daemon = house.start()
    wait_for_proposal(house, store, ProposalState.INTERRUPTED)
    assert [each.scope for each in store.suspensions(datetime.now(UTC))] == [DNS]
    assert created(house) == before
    assert house.stop(daemon) == 0


@pytest.mark.slow
@pytest.mark.row(2)
@pytest.mark.parametrize("step", ONCE_IT_RUNS)
def test_what_people_approved_is_applied_once_wherever_the_daemon_is_killed(
    house: House, store: Store, step: str
) -> None:
    repairing(house, "propose", BY_PEOPLE)
    house.apply("dns")
    house.cloud.delete(Kind.DNS_RECORD, RECORD)
    before = created(house)
    daemon = house.start()
    decide(store, wait_for_proposal(house, store, ProposalState.PROPOSED))
    daemon.kill()
    daemon.wait()
    crash_at(house, step)
    house.environment.pop("TEST_CRASH_AT")
    daemon = house.start()
    wait_for_proposal(house, store, ProposalState.VERIFIED)
    wait_for_words(house, "is proved")
    assert len(proposals(store)) == 1
    assert created(house) == before + 1
    assert [count for count in Counter(told(house)).values() if count > 1] == []
    assert house.stop(daemon) == 0


def of_apply(proposal: Proposal) -> list[psutil.Process]:
    """What runs of an apply: who watches over terraform, terraform, and its providers."""
    assert proposal.run is not None
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(APPLY_VARIABLE) == proposal.run.id:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def in_the_middle(house: House, store: Store, daemon: subprocess.Popen[bytes]) -> Proposal:
    """Waits until terraform applies; the create that it waits for takes some seconds more."""

    def look() -> list[Proposal]:
        return [each for each in store.running_applies() if each.run and each.run.pid]

    running: Any = house.wait_for("terraform to apply", look)
    house.wait_for("the cloud to be asked", lambda: not (house.cloud.directory / "faults.json").exists())
    assert daemon.poll() is None
    proposal: Proposal = running[0]
    return proposal


@pytest.mark.slow
@pytest.mark.row(3)
def test_a_daemon_and_its_terraform_that_are_killed_leave_a_stack_that_a_person_looks_at(
    drifted: House, store: Store
) -> None:
    """Interrupted, suspended and told; nothing is applied till somebody resumes the stack."""
    house = drifted
    house.cloud.inject(Fault(kind="delay", operation="create", seconds=30, times=1))
    daemon = house.start()
    proposal = in_the_middle(house, store, daemon)
    processes = of_apply(proposal)
    daemon.kill()
    for process in processes:
        process.kill()
    daemon.wait()
    psutil.wait_procs(processes, timeout=20)

    daemon = house.start()
    interrupted = wait_for_proposal(house, store, ProposalState.INTERRUPTED)
    assert interrupted.id == proposal.id
    wait_for_words(house, "was interrupted: nobody knows how far it came")
    [suspension] = store.suspensions(datetime.now(UTC))
    assert (suspension.scope, suspension.by) == (DNS, "driftwatch")
    following = wait_for_proposal(house, store, ProposalState.PROPOSED, after=proposal.id)
    assert not following.draft.automatic
    decide(store, following)
    waiting = wait_for_proposal(house, store, ProposalState.WAITING)
    assert waiting.held is not None
    assert waiting.held.reason == "suspended"
    assert [each.id for each in applied(store)] == [proposal.id]
    assert record(house) is None

    assert store.resume(DNS, by="anna", at=datetime.now(UTC))
    wait_for_proposal(house, store, ProposalState.VERIFIED, after=proposal.id)
    assert record(house) is not None
    assert house.stop(daemon) == 0


@pytest.mark.row(2)
@pytest.mark.row(3)
@pytest.mark.parametrize(
    "step",
    [
        "under the lock",
        *(
            pytest.param(step, marks=pytest.mark.slow)
            for step in (*BEFORE_IT_BEGINS, *ONCE_IT_RUNS[1:])
            if step != "under the lock"
        ),
    ],
)
def test_where_all_is_killed_and_nothing_was_in_its_middle_the_next_daemon_goes_on(
    drifted: House, store: Store, step: str
) -> None:
    """Row 3: as in a power cut. Nothing was applied yet, or all of it was: no person is needed."""
    house, before = drifted, created(drifted)
    house.cloud.inject(Fault(kind="delay", operation="read", seconds=0.5))
    crash_at(house, step, alone=False)
    house.environment.pop("TEST_CRASH_AT")
    daemon = house.start()
    proposal = wait_for_proposal(house, store, ProposalState.VERIFIED)
    wait_for_words(house, "is being applied", "is applied;", "is proved")
    assert [each.id for each in proposals(store)] == [proposal.id]
    assert created(house) == before + 1
    assert store.suspensions(datetime.now(UTC)) == []
    assert [count for count in Counter(told(house)).values() if count > 1] == []
    assert house.stop(daemon) == 0
    assert not list((house.state / "applies").iterdir())


@pytest.mark.slow
@pytest.mark.row(3)
def test_where_all_is_killed_as_it_begins_a_person_looks_at_the_stack(drifted: House, store: Store) -> None:
    """Row 3: whether it was in its middle nobody knows."""
    house, before = drifted, created(drifted)
    house.cloud.inject(Fault(kind="delay", operation="create", seconds=30, times=1))
    crash_at(house, "before the process is noted", alone=False)
    house.environment.pop("TEST_CRASH_AT")
    daemon = house.start()
    left = wait_for_proposal(house, store, ProposalState.INTERRUPTED)
    wait_for_words(house, "was interrupted: nobody knows how far it came")
    assert [each.scope for each in store.suspensions(datetime.now(UTC))] == [DNS]
    assert created(house) == before
    assert store.resume(DNS, by="anna", at=datetime.now(UTC))
    decide(store, wait_for_proposal(house, store, ProposalState.PROPOSED, after=left.id))
    wait_for_proposal(house, store, ProposalState.VERIFIED, after=left.id)
    assert created(house) == before + 1
    assert house.stop(daemon) == 0


@pytest.mark.slow
@pytest.mark.row(4)
@pytest.mark.row(5)
@pytest.mark.parametrize("to_group", [False, True], ids=["daemon", "group"])
def test_a_daemon_that_is_told_to_stop_leaves_its_apply_to_the_next(
    drifted: House, store: Store, to_group: bool
) -> None:
    """It ends within its grace, terraform hears nothing of it, and the next daemon writes how that ended."""
    house, before = drifted, created(drifted)
    house.cloud.inject(Fault(kind="delay", operation="create", seconds=15, times=1))
    daemon = house.start()
    proposal = in_the_middle(house, store, daemon)
    processes = of_apply(proposal)
    begun = time.monotonic()
    (os.killpg if to_group else os.kill)(daemon.pid, signal.SIGTERM)
    assert daemon.wait(timeout=30) == 0
    assert time.monotonic() - begun < 12, "it was to be quicker than the apply"
    assert record(house) is None
    assert [each.pid for each in of_apply(proposal)] == [each.pid for each in processes]
    assert store.running_applies()[0].run is not None

    daemon = house.start()
    verified = wait_for_proposal(house, store, ProposalState.VERIFIED)
    assert verified.run is not None
    assert (verified.id, verified.run.exit_code) == (proposal.id, 0)
    assert created(house) == before + 1
    assert steps(store, verified) == ["proposed", "applying", "applied", "verified"]
    assert house.stop(daemon) == 0


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.row(44)
def test_an_apply_whose_daemon_is_gone_is_left_alone_by_others_and_told(
    drifted: House, postgres: PostgresServer
) -> None:
    """Another node neither records nor repeats it, says so once, and the first finds it again."""
    house = drifted
    house.database = house.environment["DATABASE"] = postgres.url
    house.config.write_text('database: "${env:DATABASE}"\n' + house.config.read_text())
    before = created(house)
    house.cloud.inject(Fault(kind="delay", operation="create", seconds=10, times=1))
    store = house.store()
    first = house.start()
    proposal = in_the_middle(house, store, first)
    first.kill()
    first.wait()

    house.config.write_text(house.config.read_text().replace("state_dir: ./state", "state_dir: ./other"))
    house.environment["TEST_LONG"] = "5"
    second = house.start(CRASHING)
    wait_for_words(house, "is still being applied after 5s")
    house.wait_for("terraform to end", lambda: record(house))
    time.sleep(10)
    [still] = store.running_applies()
    assert still == store.proposal(proposal.id)
    assert [each.id for each in proposals(store)] == [proposal.id]
    assert sum("is still being applied" in each for each in told(house)) == 1
    assert house.stop(second) == 0

    house.config.write_text(house.config.read_text().replace("state_dir: ./other", "state_dir: ./state"))
    third = house.start()
    wait_for_proposal(house, store, ProposalState.VERIFIED)
    assert created(house) == before + 1
    assert house.stop(third) == 0
    store.close()
