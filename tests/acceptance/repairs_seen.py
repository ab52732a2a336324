"""What tests of repairs configure, decide and look at, on a house of `conftest`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from driftwatch.model import Decision, ProposalState
from driftwatch.sandbox.cloud import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from driftwatch.model import Proposal
    from driftwatch.sandbox.cloud import Record
    from driftwatch.store import Store
    from tests.acceptance.conftest import House

RECORD = "example.test/api/A"
DNS = "platform/dns"

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


def repairing(house: House, on_drift: str, more: str, *, on_commit: str = "propose") -> None:
    """Configures what follows a drift."""
    text = house.config.read_text().replace(
        "schedule: {every: 4s}}",
        f"schedule: {{every: 3s}}, on_drift: {on_drift}, on_commit: {on_commit}}}",
    )
    house.config.write_text(text.replace("web:", "  gather: 0s\nweb:") + more)


def proposals(store: Store) -> list[Proposal]:
    """All there are, the oldest first."""
    return list(reversed(store.proposals(limit=100).items))


def wait_for_proposal(
    house: House, store: Store, *states: ProposalState, after: int = 0, patience: float = 60
) -> Proposal:
    """The first proposal in one of these states with a higher id than `after`."""
    found: Any = house.wait_for(
        f"a proposal after {after} to be {' or '.join(states)}",
        lambda: [each for each in proposals(store) if each.state in states and each.id > after],
        patience,
    )
    proposal: Proposal = found[0]
    return proposal


def decide(store: Store, proposal: Proposal, *, approves: bool = True, via: str = "terminal") -> None:
    """Anna says yes or no."""
    vote = Decision(
        by="anna",
        at=datetime.now(UTC),
        via=via,
        approves=approves,
        digest=proposal.draft.digest,
        reason="it must be there",
    )
    said = store.decide(proposal.id, vote)
    assert hasattr(said, "draft"), said
    if approves:
        assert store.approved(proposal.id)


def steps(store: Store, proposal: Proposal) -> list[str]:
    """The steps of its life."""
    return [each.event.value for each in store.proposal_events(proposal.id)]


def told(house: House) -> list[str]:
    """Every sentence about a proposal that was put in the outbox, in order."""
    rows = house.rows("SELECT announcement FROM messages ORDER BY id")
    said = [house.as_json(row[0])["said"] for row in rows]
    return [each for each in said if each]


def wait_for_words(house: House, *wanted: str) -> None:
    """Waits until the chat has heard all of these."""
    house.wait_for(
        f"the chat to hear {wanted}",
        lambda: all(any(each in text for text in house.slack.posted) for each in wanted),
        30,
    )


def record(house: House) -> Record | None:
    return house.cloud.read(Kind.DNS_RECORD, RECORD)


def created(house: House) -> int:
    """How many objects the cloud has ever made."""
    return int((house.cloud.directory / ".serial").read_text())


def applied(store: Store) -> Sequence[Proposal]:
    """All proposals that an apply was begun for."""
    return store.applies(limit=100).items
