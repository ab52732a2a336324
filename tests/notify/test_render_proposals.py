"""What a proposal looks like in Slack: what it would do, why, where it stands, and what may be pressed."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.model import (
    INCIDENT_PROPOSALS,
    ApplyRun,
    Decision,
    Hold,
    PlannedChange,
    PlanSummary,
    Proposal,
    ProposalDraft,
    ProposalKind,
    ProposalState,
    StackId,
    TransitionKind,
)
from driftwatch.notify.blocks import BLOCK_LIMIT, MESSAGE_LIMIT, length
from driftwatch.notify.buttons import Aim, Button, read_value
from driftwatch.notify.render_incident import head
from driftwatch.notify.render_proposals import (
    ADDRESSES_SHOWN,
    DECIDABLE,
    PROPOSALS_ROOM,
    PROPOSALS_SHOWN,
    RISKS_SHOWN,
    counts,
    proposed,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from driftwatch.model import Announcement, Finding, Incident, Message

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
DIGEST = f"sha256:{'0d' * 32}"
State = ProposalState


def change(address: str = "aws_sqs_queue.jobs", *actions: str) -> PlannedChange:
    return PlannedChange(address=address, type="aws_sqs_queue", actions=actions or ("update",))


def summary(*changes: PlannedChange, **other: int) -> PlanSummary:
    given = {"adds": 0, "updates": len(changes), "destroys": 0, "replaces": 0} | other
    return PlanSummary(changes=changes, **given)


def proposal(number: int = 12, state: State = State.PROPOSED, **other: Any) -> Proposal:
    """One to revert a queue; what is not the proposal's own is its draft's."""
    own = {key: other.pop(key) for key in ("decisions", "held", "run") if key in other}
    draft: dict[str, Any] = {
        "stack": StackId(repository="platform", path="envs/prod/network"),
        "kind": ProposalKind.REVERT,
        "commit": "0123456789abcdef",
        "digest": DIGEST,
        "findings": ("fp",),
        "addresses": ("aws_sqs_queue.jobs",),
        "summary": summary(change()),
        "reason": "The stack's on_drift says propose.",
        "created_by": "driftwatch",
        "created_at": NOON,
        "expires_at": NOON + timedelta(days=7),
        "automatic": False,
    }
    return Proposal(id=number, state=state, draft=ProposalDraft(**(draft | other)), **own)


def approval(by: str, digest: str = DIGEST) -> Decision:
    return Decision(by=by, at=NOON, via="slack", approves=True, digest=digest)


@pytest.fixture(scope="session")
def with_proposals(
    an_incident: Callable[..., Incident], an_announcement: Callable[..., Announcement]
) -> Callable[..., Incident]:
    def made(*proposals: Proposal, **other: Any) -> Incident:
        return an_incident(an_announcement(), proposals=proposals, **other)

    return made


def lines(incident: Incident, *, buttons: bool = True) -> list[str]:
    """Those of the first proposal."""
    text: str = proposed(incident, buttons=buttons)[0]["text"]["text"]
    return text.splitlines()


def pressable(blocks: Any) -> list[Any]:
    return [each for block in blocks if block["type"] == "actions" for each in block["elements"]]


# ---- What it says --------------------------------------------------------------------------------------


def test_a_proposal_says_what_it_does_where_it_stands_and_why(
    with_proposals: Callable[..., Incident],
) -> None:
    made = proposal(
        summary=summary(change(), change("aws_sqs_queue.new", "create"), adds=1, updates=1),
        risks=("The queue is in use.",),
        created_by="anna",
        author="Carol",
        reason="as it was",
    )

    assert lines(with_proposals(made)) == [
        "*Proposal 12* to revert: 1 to add, 1 to change; destroys nothing",
        "`aws_sqs_queue.jobs`, `aws_sqs_queue.new`",
        "*Waits to be approved.* Until 2026-01-09 12:00 UTC.",
        "\N{WARNING SIGN} The queue is in use.",
        "By anna (the change is Carol's): as it was",
    ]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (ProposalKind.REVERT, "to revert"),
        (ProposalKind.DEPLOY, "to deploy"),
        (ProposalKind.ROLLBACK, "to roll back"),
    ],
)
def test_each_kind_has_its_words(
    with_proposals: Callable[..., Incident], kind: ProposalKind, words: str
) -> None:
    assert lines(with_proposals(proposal(kind=kind)))[0].startswith(f"*Proposal 12* {words}: ")


def test_among_several_stacks_it_names_its_own(with_proposals: Callable[..., Incident]) -> None:
    first = lines(with_proposals(proposal(), total=2))[0]

    assert first.startswith("*Proposal 12* to revert `platform/envs/prod/network`: ")


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (summary(updates=2), "2 to change; destroys nothing"),
        (summary(adds=1, destroys=2), "1 to add; destroys 2"),
        (summary(replaces=3), "nothing to add or to change; replaces 3"),
        (summary(adds=1, updates=2, destroys=3, replaces=4), "1 to add, 2 to change; destroys 3, replaces 4"),
        (replace(summary(), outputs=("a", "b")), "2 outputs; destroys nothing"),
        (summary(), "nothing to add or to change; destroys nothing"),
    ],
)
def test_what_would_be_lost_is_said_in_any_case(plan: PlanSummary, words: str) -> None:
    assert counts(plan) == words


def test_what_is_destroyed_is_marked_and_the_rest_is_counted(
    with_proposals: Callable[..., Incident],
) -> None:
    first = change("aws_x.gone", "delete"), change("aws_x.again", "create", "delete")
    others = tuple(change(f"aws_x.n{place}") for place in range(98))
    plan = summary(*first, *others, updates=200, destroys=1, replaces=1)

    named = lines(with_proposals(proposal(summary=plan)))[1]

    assert named == (
        "destroy `aws_x.gone`, destroy `aws_x.again`, `aws_x.n0`, `aws_x.n1`, `aws_x.n2` and 197 more"
    )
    assert named.count("`aws_x.") == ADDRESSES_SHOWN


def test_a_plan_of_outputs_alone_names_no_address(with_proposals: Callable[..., Incident]) -> None:
    said = lines(with_proposals(proposal(summary=replace(summary(), outputs=("endpoint",)))))

    assert said[:2] == [
        "*Proposal 12* to revert: 1 output; destroys nothing",
        "*Waits to be approved.* Until 2026-01-09 12:00 UTC.",
    ]


def test_more_risks_than_anybody_reads_are_counted(with_proposals: Callable[..., Incident]) -> None:
    said = lines(with_proposals(proposal(risks=tuple(f"risk {place}" for place in range(10)))))

    warnings = [line for line in said if line.startswith("\N{WARNING SIGN}")]
    assert len(warnings) == RISKS_SHOWN + 1
    assert warnings[-1] == "\N{WARNING SIGN} … and 7 risks more"


FREEZE = Hold(reason="deny_window", sentence="The freeze lasts.", until=NOON)
RUN = ApplyRun(
    id="r1", node="n", plan_sha256="0" * 64, state_lineage=None, state_serial=None, started_at=NOON
)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (proposal(expires_at=None), "*Waits to be approved.*"),
        (
            proposal(decisions=(approval("anna"),), expires_at=None),
            "*Waits to be approved.* 1 approval, by anna.",
        ),
        (proposal(automatic=True, expires_at=None), "*Is applied by itself as soon as it may be.*"),
        (
            proposal(state=State.APPROVED, decisions=(approval("anna"), approval("bob"))),
            "*Is applied as soon as it may be.* 2 approvals, by anna, bob.",
        ),
        (
            proposal(state=State.WAITING, held=FREEZE),
            "*Waits:* The freeze lasts. Until 2026-01-02 12:00 UTC, as far as is known.",
        ),
        (
            proposal(state=State.WAITING, held=replace(FREEZE, until=None), decisions=(approval("anna"),)),
            "*Waits:* The freeze lasts. 1 approval, by anna.",
        ),
        (proposal(state=State.WAITING), "*Is applied as soon as it may be.*"),
        (proposal(state=State.APPLYING, run=RUN), "*Is being applied* since 2026-01-02 12:00 UTC."),
        (proposal(state=State.APPLYING), "*Is being applied*."),
        (proposal(state=State.APPLIED, run=RUN), "*Is applied*, and waits for the check that proves it."),
    ],
)
def test_it_says_where_it_stands_and_what_it_waits_for(
    with_proposals: Callable[..., Incident], made: Proposal, words: str
) -> None:
    assert lines(with_proposals(made))[2] == words


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (proposal(expires_at=None), "*Waits to be approved.* 0 of 2 approvals."),
        (
            proposal(decisions=(approval("anna"),), expires_at=None),
            "*Waits to be approved.* 1 of 2 approvals, by anna.",
        ),
        (
            proposal(state=State.APPROVED, decisions=(approval("anna"), approval("bob"))),
            "*Is applied as soon as it may be.* 2 approvals, by anna, bob.",
        ),
    ],
)
def test_where_several_have_to_approve_it_says_how_many_have(
    with_proposals: Callable[..., Incident], made: Proposal, words: str
) -> None:
    blocks = proposed(with_proposals(made), buttons=False, needed=2)
    assert blocks[0]["text"]["text"].splitlines()[2] == words


def test_an_approval_of_something_else_is_not_named(with_proposals: Callable[..., Incident]) -> None:
    made = proposal(decisions=(approval("anna", "sha256:other"),), expires_at=None)

    assert lines(with_proposals(made))[2] == "*Waits to be approved.*"


def test_of_many_who_approved_some_are_named(with_proposals: Callable[..., Incident]) -> None:
    made = proposal(decisions=tuple(approval(f"p{place}") for place in range(9)), expires_at=None)

    assert lines(with_proposals(made))[2].endswith(" 9 approvals, by p0, p1, p2 and 6 more.")


# ---- What may be pressed -------------------------------------------------------------------------------


@pytest.mark.parametrize("state", State)
def test_there_are_buttons_as_long_as_it_can_be_decided_on(
    with_proposals: Callable[..., Incident], state: State
) -> None:
    blocks = proposed(with_proposals(proposal(state=state)), buttons=True)

    assert [each["text"]["text"] for each in pressable(blocks)] == (
        ["Approve", "Reject"] if state in DECIDABLE else []
    )


def test_a_button_names_the_proposal_and_all_of_its_digest(with_proposals: Callable[..., Incident]) -> None:
    approve, reject = pressable(proposed(with_proposals(proposal()), buttons=True))

    assert [read_value(each["value"]) for each in (approve, reject)] == [
        Aim(button=button, incident=12, seen="0d" * 32) for button in (Button.APPROVE, Button.REJECT)
    ]
    assert (approve["action_id"], reject["action_id"]) == ("driftwatch:approve", "driftwatch:reject")
    assert (approve["style"], reject["style"]) == ("primary", "danger")


def test_an_approval_is_asked_about_with_what_it_does(with_proposals: Callable[..., Incident]) -> None:
    plan = summary(change(), adds=1, updates=1, destroys=1)

    approve, reject = pressable(proposed(with_proposals(proposal(summary=plan)), buttons=True))

    assert approve["confirm"]["title"]["text"] == "Approve proposal 12?"
    assert approve["confirm"]["text"]["text"] == (
        "Applies to platform/envs/prod/network at commit 0123456789: 1 to add, 1 to change; destroys 1."
    )
    assert "confirm" not in reject


@pytest.mark.parametrize(
    "odd", [{"digest": "sha256:"}, {"digest": "no digits"}, {"digest": ""}, {"number": 10**15}]
)
def test_what_could_not_be_read_again_is_no_button(
    with_proposals: Callable[..., Incident], odd: dict[str, Any]
) -> None:
    blocks = proposed(with_proposals(proposal(**odd)), buttons=True)

    assert blocks[0]["type"] == "section"
    assert pressable(blocks) == []


def test_where_no_press_can_come_back_there_are_no_buttons(with_proposals: Callable[..., Incident]) -> None:
    with_, without = (proposed(with_proposals(proposal()), buttons=each) for each in (True, False))

    assert without == with_[:1]


# ---- Among the rest, and within limits -----------------------------------------------------------------


def test_without_proposals_nothing_is_said(with_proposals: Callable[..., Incident]) -> None:
    assert proposed(with_proposals(), buttons=True) == []


@pytest.mark.parametrize("known", range(1, INCIDENT_PROPOSALS + 1))
def test_the_newest_are_shown_and_all_are_counted(
    with_proposals: Callable[..., Incident], known: int
) -> None:
    """An incident knows five: that there are more it cannot exclude."""
    blocks = proposed(with_proposals(*(proposal(20 - place) for place in range(known))), buttons=True)

    named = [block["text"]["text"].partition("*")[2].partition("*")[0] for block in blocks[::2]]
    assert named[:PROPOSALS_SHOWN] == [f"Proposal {20 - place}" for place in range(min(known, 3))]
    total = {4: "4", 5: "5 or more"}.get(known)
    last = blocks[-1].get("text", {}).get("text", "")
    assert last == (f"These are 3 of *{total}* proposals: `driftwatch proposals list`" if total else "")


@pytest.mark.parametrize("stacks", [1, 2])
@pytest.mark.parametrize("title", [None, "commit 1a2b3c4d5e is not applied"])
def test_proposals_stand_in_the_message_of_their_incident(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    an_incident: Callable[..., Incident],
    stacks: int,
    title: str | None,
) -> None:
    """Behind what differs, before what can be done with it."""
    told = [an_announcement(stack=f"platform/s{place}") for place in range(stacks)]
    incident = an_incident(*told, title=title, proposals=(proposal(),))
    message = a_message(1, told[0], more=tuple(told[1:]), incident=incident)

    blocks = head(message, buttons=True).blocks

    places = [place for place, block in enumerate(blocks) if "*Proposal 12*" in str(block)]
    assert len(places) == 1
    assert [each["text"]["text"] for each in blocks[places[0] + 1]["elements"]] == ["Approve", "Reject"]
    assert blocks[places[0] + 2]["elements"][0]["text"]["text"] == "Acknowledge"
    assert "aws_sqs_queue.jobs" in str(blocks[: places[0]])


def test_a_rollback_that_has_a_message_of_its_own_can_be_decided_on_there(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    an_incident: Callable[..., Incident],
) -> None:
    told = an_announcement(TransitionKind.REPAIR, said="Proposal 12, to rollback: 1 to change.")
    incident = an_incident(told, proposals=(proposal(kind=ProposalKind.ROLLBACK, findings=()),))

    rendered = head(a_message(1, told, incident=incident), buttons=True)

    assert rendered.blocks[1]["elements"][0]["text"] == "Proposal 12, to rollback: 1 to change."
    assert "*Proposal 12* to roll back" in str(rendered.blocks)
    assert "Approve" in [each["text"]["text"] for each in pressable(rendered.blocks)]


@pytest.mark.row(54)
@pytest.mark.parametrize("total", [1, 50])
@pytest.mark.parametrize("sign", ["x", "<", "😀", "\u202e", "`", "*", "\n"])
def test_texts_of_megabytes_are_cut_and_quickly(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    an_incident: Callable[..., Incident],
    a_finding: Callable[..., Finding],
    total: int,
    sign: str,
) -> None:
    """Row 54: five megabytes in every word of others, a hundred changes, and all else is still shown."""
    large = sign * (5 * 1024 * 1024)
    plan = summary(*[change(large, "delete")] * 100, destroys=10**9, updates=10**9)
    made = proposal(
        state=State.WAITING,
        summary=plan,
        reason=large,
        created_by=large,
        author=large,
        risks=(large,) * 100,
        held=Hold(reason="x", sentence=large, until=NOON),
        decisions=tuple(approval(large[place:]) for place in range(5)),
    )
    found = tuple(a_finding(f"aws_x.n{place}") for place in range(20))
    told = [an_announcement(stack=f"platform/s{place}", findings=found, total=20) for place in range(total)]
    incident = an_incident(*told, proposals=tuple(replace(made, id=20 - place) for place in range(5)))
    began = time.process_time()

    blocks = head(a_message(1, told[0], more=tuple(told[1:]), incident=incident), buttons=True).blocks

    assert time.process_time() - began < 2
    assert len(blocks) <= BLOCK_LIMIT
    assert length(blocks) <= MESSAGE_LIMIT
    assert length(proposed(incident, buttons=True)) <= PROPOSALS_ROOM + 100
    assert "*Proposal 20*" in str(blocks), "the newest is shown whatever it says"
    assert "of *5 or more* proposals" in str(blocks)
    assert "`platform/s0`" in str(blocks) or "aws_x.n0" in str(blocks)
