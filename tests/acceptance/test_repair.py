"""Repair, end to end: a change by hand is told, waits or is approved, is put back, and is proved."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.model import Decision, ProposalState
from driftwatch.sandbox.cloud import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from driftwatch.model import Proposal
    from driftwatch.store import Store
    from tests.acceptance.conftest import House

RECORD = "example.test/api/A"

AUTOMATIC = """
repair:
  automatic: true
  guards: {grace: 0s}
windows:
  - {name: always, kind: allow, cron: "* * * * *", duration: 1h}
"""

BY_PEOPLE = """
repair:
  approvals: {not_by_author: false}
"""


def repairing(house: House, on_drift: str, more: str) -> None:
    """Configures what follows a drift."""
    text = house.config.read_text().replace(
        "schedule: {every: 4s}}", f"schedule: {{every: 4s}}, on_drift: {on_drift}, on_commit: propose}}"
    )
    house.config.write_text(text.replace("web:", "  gather: 0s\nweb:") + more)


@pytest.fixture
def store(house: House) -> Iterator[Store]:
    opened = house.store()
    yield opened
    opened.close()


def the_proposal(house: House, store: Store, state: ProposalState, patience: float = 60) -> Proposal:
    """The one proposal in a state, once there is one."""
    found: Any = house.wait_for(
        f"a proposal to be {state}", lambda: store.proposals(states=[state]).items, patience
    )
    return found[0]


def decide(store: Store, proposal: Proposal, *, approves: bool = True) -> None:
    said = store.decide(
        proposal.id,
        Decision(
            by="anna",
            at=datetime.now(UTC),
            via="terminal",
            approves=approves,
            digest=proposal.draft.digest,
            reason="it must be there",
        ),
    )
    assert hasattr(said, "draft"), said
    if approves:
        assert store.approved(proposal.id)


def test_a_drift_is_put_back_by_itself_in_a_window_and_proved(house: House, store: Store) -> None:
    """From the change by hand to the proof, with nobody at the keyboard, and all of it told in one thread."""
    repairing(house, "apply", AUTOMATIC)
    house.apply("dns")
    daemon = house.start()
    house.wait_for_verdicts(dns="in_sync")
    house.cloud.delete(Kind.DNS_RECORD, RECORD)
    proposal = the_proposal(house, store, ProposalState.VERIFIED)
    assert house.cloud.read(Kind.DNS_RECORD, RECORD) is not None
    assert proposal.run is not None
    assert proposal.run.exit_code == 0
    assert proposal.draft.automatic
    house.wait_for_verdicts(dns="in_sync")
    events = [each.event.value for each in store.proposal_events(proposal.id)]
    assert events == ["proposed", "applying", "applied", "verified"]
    house.wait_for("the thread to say so", lambda: "is proved" in "\n".join(house.slack.posted))
    assert house.stop(daemon) == 0


def test_a_proposal_waits_for_an_approval_and_is_applied_with_it(house: House, store: Store) -> None:
    repairing(house, "propose", BY_PEOPLE)
    house.apply("dns")
    daemon = house.start()
    house.wait_for_verdicts(dns="in_sync")
    house.cloud.delete(Kind.DNS_RECORD, RECORD)
    proposal = the_proposal(house, store, ProposalState.PROPOSED)
    assert (proposal.draft.summary.adds, proposal.draft.summary.total) == (1, 1)
    assert house.cloud.read(Kind.DNS_RECORD, RECORD) is None
    decide(store, proposal)
    the_proposal(house, store, ProposalState.VERIFIED)
    assert house.cloud.read(Kind.DNS_RECORD, RECORD) is not None
    assert house.stop(daemon) == 0
