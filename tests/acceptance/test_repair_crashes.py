"""A crash at any step of a repair loses nothing, doubles nothing, and is told.

The daemon is killed with -9 at a step that the test names; what comes after it is the real daemon.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from driftwatch.model import ProposalState
from driftwatch.sandbox.cloud import Fault, Kind
from tests.acceptance.repairs_seen import (
    AUTOMATIC,
    RECORD,
    applied,
    created,
    proposals,
    record,
    repairing,
    steps,
    told,
    wait_for_proposal,
    wait_for_words,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from driftwatch.store import Store
    from tests.acceptance.conftest import House

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


def crash_at(house: House, step: str) -> None:
    """Runs a daemon until it has killed itself there."""
    house.environment["TEST_CRASH_AT"] = step
    house.environment["TEST_LOCK_FILE"] = str(house.directory / "states/dns/.terraform.tfstate.lock.info")
    daemon = house.start(CRASHING)
    assert daemon.wait(timeout=60) == -9, house.log()[-4000:]


@pytest.mark.row(1)
@pytest.mark.row(2)
@pytest.mark.row(13)
def test_a_daemon_that_is_killed_at_every_step_in_turn_repairs_once_and_tells_each_thing_once(
    drifted: House, store: Store
) -> None:
    """One proposal, one apply to its end, one object made, one proof, whatever was killed between."""
    house = drifted
    house.cloud.inject(
        Fault(kind="delay", operation="create", seconds=12), Fault(kind="delay", operation="read", seconds=1)
    )
    before = created(house)
    for step in BEFORE_IT_BEGINS:
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
