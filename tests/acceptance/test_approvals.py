"""Approvals in Slack, end to end: a proposal is shown, decided on there, applied, proved and told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from driftwatch.model import ProposalState
from driftwatch.sandbox.cloud import Kind
from tests.acceptance.phone import ANNA, BOB, SIGNING_SECRET, STRANGER, Phone, has_buttons

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from driftwatch.model import Proposal
    from driftwatch.store import Store
    from tests.acceptance.conftest import House

RECORD = "example.test/api/A"
OTHER_RECORD = "example.test/www/A"
ADDRESS = 'sandbox_dns_record.host["api"]'
CAROL = "U0CAROL004"

USERS = f"""
users:
  anna: {{slack: [{ANNA}], rights: [view, acknowledge, approve]}}
  bob: {{slack: [{BOB}], rights: [view, acknowledge, apply]}}
  carol: {{slack: [{CAROL}], rights: [approve], stacks: ["platform/*"]}}
"""


@pytest.fixture
def store(house: House) -> Iterator[Store]:
    opened = house.store()
    yield opened
    opened.close()


@pytest.fixture
def phone(house: House) -> Iterator[Callable[..., Phone]]:
    """Somebody in Slack, and a daemon that has found one drift and shown what would put it back."""

    def started(needed: int = 1) -> Phone:
        text = house.config.read_text()
        house.config.write_text(
            text.replace("schedule: {every: 4s}}", "schedule: {every: 4s}, on_drift: propose}")
        )
        has_buttons(house, f"{USERS}\nrepair:\n  approvals: {{needed: {needed}}}\n")
        house.apply("dns")
        house.start()
        house.wait_for_verdicts(dns="in_sync")
        house.cloud.delete(Kind.DNS_RECORD, RECORD)
        slack = Phone(house)
        house.wait_for("the proposal to be shown", lambda: "approve" in slack.values())
        return slack

    yield started
    for daemon in house.daemons:
        assert house.stop(daemon) == 0
    assert SIGNING_SECRET not in house.log()


def only(store: Store) -> Proposal:
    """The newest proposal."""
    found: Proposal = store.proposals().items[0]
    return found


def replies(house: House) -> str:
    """What was said in threads."""
    return "\n".join(
        str(form["text"])
        for method, form in house.slack.calls
        if method == "chat.postMessage" and form.get("thread_ts")
    )


def title(house: House) -> str:
    """Of the message that stands in the channel, as it was last written anew."""
    updates = [form for method, form in house.slack.calls if method == "chat.update"]
    return str(updates[-1]["blocks"][0]["text"]["text"]) if updates else ""


def audited(house: House, *, asked: bool = False) -> list[tuple[str, str, str]]:
    rows = house.rows("SELECT actor, action, outcome FROM audit WHERE via = 'slack' ORDER BY id")
    return [(actor, action, outcome) for actor, action, outcome in rows if asked or outcome != "asked"]


@pytest.mark.row(55)
@pytest.mark.row(74)
def test_a_press_by_who_may_applies_what_is_shown_and_all_of_it_is_told(
    house: House, store: Store, phone: Callable[..., Phone]
) -> None:
    """Rows 55 and 74: nobody else's press does anything; the message ends green, in one thread."""
    slack = phone()
    shown = str(slack.blocks())
    assert "*Proposal 1* to revert: 1 to add; destroys nothing" in shown
    assert ADDRESS in shown
    assert "*Waits to be approved.*" in shown
    assert "Applies to platform/dns at commit" in shown
    value = slack.values()["approve"]

    assert slack.press(value, STRANGER) == 200
    assert "nobody here knows you" in slack.answer(1)
    assert slack.press(value, BOB) == 200
    assert "you have no right to approve for platform/dns" in slack.answer(2)
    assert slack.press(value.replace(value[-8:], "00000000")) == 200
    assert "is not what you saw" in slack.answer(3)
    assert only(store).state is ProposalState.PROPOSED
    assert house.cloud.read(Kind.DNS_RECORD, RECORD) is None

    assert slack.press(value) == 200
    assert slack.answer(4) == "You approved proposal 1. It is applied as soon as it may be."
    assert slack.press(value) == 200
    assert "Not done: " in slack.answer(5)
    house.wait_for("the proof", lambda: only(store).state is ProposalState.VERIFIED)
    assert house.cloud.read(Kind.DNS_RECORD, RECORD) is not None
    house.wait_for("the thread to be told", lambda: "is applied; the check after it" in replies(house))
    assert "anna approved proposal 1" in replies(house)
    house.wait_for("the message to be green", lambda: title(house).startswith("\N{LARGE GREEN CIRCLE}"))
    assert "approve" not in slack.values()
    house.wait_for("the proof to be told in the thread", lambda: "is proved" in replies(house))

    done = audited(house)
    assert done[:4] == [
        (f"slack:{STRANGER}", "approve", "refused: unknown_person"),
        ("bob", "approve", "refused: no_right"),
        ("anna", "approve", "refused: outdated"),
        ("anna", "approve", "approved"),
    ]
    assert done[4][2].startswith("refused: already")
    assert [outcome for _, _, outcome in audited(house, asked=True)].count("asked") == 5


@pytest.mark.row(74)
def test_a_press_on_what_was_superseded_is_refused(
    house: House, store: Store, phone: Callable[..., Phone]
) -> None:
    """Row 74: what came since is proposed anew, and the old button does nothing."""
    slack = phone()
    outdated = slack.values()["approve"]
    house.cloud.delete(Kind.DNS_RECORD, OTHER_RECORD)
    house.wait_for(
        "the new proposal", lambda: slack.values().get("approve") and slack.values()["approve"] != outdated
    )
    assert "2 to add" in str(slack.blocks())
    assert slack.press(outdated) == 200
    assert "proposal 1 is void, and proposal 2 took its place" in slack.answer(1)
    assert [each.state for each in store.proposals().items] == [
        ProposalState.PROPOSED,
        ProposalState.SUPERSEDED,
    ]
    assert house.cloud.read(Kind.DNS_RECORD, RECORD) is None


@pytest.mark.row(74)
def test_two_have_to_approve_where_two_are_asked_for(
    house: House, store: Store, phone: Callable[..., Phone]
) -> None:
    """Row 74: the same person counts once, and the second one makes it start."""
    slack = phone(needed=2)
    value = slack.values()["approve"]
    assert slack.press(value) == 200
    assert "1 of 2 approvals: one more person has to approve it." in slack.answer(1)
    assert slack.press(value) == 200
    assert "already" in slack.answer(2)
    house.wait_for("the message to say so", lambda: "1 of 2 approvals, by anna" in str(slack.blocks()))
    assert only(store).state is ProposalState.PROPOSED
    assert house.cloud.read(Kind.DNS_RECORD, RECORD) is None

    assert slack.press(value, CAROL) == 200
    assert "It is applied as soon as it may be." in slack.answer(3)
    house.wait_for("the proof", lambda: only(store).state is ProposalState.VERIFIED)
    assert house.cloud.read(Kind.DNS_RECORD, RECORD) is not None
    assert only(store).approvers == ("anna", "carol")


@pytest.mark.row(74)
def test_one_who_rejects_outweighs_who_approved(
    house: House, store: Store, phone: Callable[..., Phone]
) -> None:
    """Row 74: nothing is applied, the buttons go, and it is not proposed again."""
    slack = phone(needed=2)
    values = slack.values()
    assert slack.press(values["approve"]) == 200
    slack.answer(1)
    assert slack.press(values["reject"], CAROL) == 200
    assert slack.answer(2) == "You rejected proposal 1. Nothing of it is applied."
    assert slack.press(values["approve"]) == 200
    assert "proposal 1 is rejected" in slack.answer(3)
    house.wait_for("the thread to be told", lambda: "carol rejected proposal 1" in replies(house))
    house.wait_for("the buttons to be gone", lambda: "approve" not in slack.values())
    assert [each.state for each in store.proposals().items] == [ProposalState.REJECTED]
    assert house.cloud.read(Kind.DNS_RECORD, RECORD) is None
