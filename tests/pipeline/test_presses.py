"""A press from outside is done once, by who may, to exactly what they saw, or not at all; and is audited."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.config.repair import ApprovalSettings
from driftwatch.config.settings import PersonSettings
from driftwatch.drift.lifecycle import LONGEST_REASON
from driftwatch.errors import StoreUnavailableError, UnknownStackError
from driftwatch.log import REDACTED, register_secret
from driftwatch.model import (
    Cause,
    Commit,
    Evidence,
    Finding,
    FindingStatus,
    Hold,
    PlanSummary,
    ProposalDraft,
    ProposalKind,
    Right,
    StackDeclaration,
    TransitionKind,
    Wish,
)
from driftwatch.notify.buttons import Aim, Button
from driftwatch.notify.slack_intake import Pressed
from driftwatch.pipeline.presses import (
    DETAILS_SHOWN,
    LONGEST_SNOOZE,
    NEEDED,
    REFUSALS_SHOWN,
    REPAIRS_AT_ONCE,
    USUAL_SNOOZE,
    Desk,
)
from driftwatch.pipeline.votes import Votes
from driftwatch.policy.rights import People
from driftwatch.store import Store, Voice
from driftwatch.store.sqlite import DATABASE_FILE
from tests.store.samples import START, after, finding, result, stack_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANNA, BOB, STRANGER = "U0ANNA0001", "U0BOB00002", "U0STRANGE3"
COMMIT = Commit(id="ab" * 20, author="Carol", at=datetime(2026, 1, 1, tzinfo=UTC), subject="Encrypt")
BUTTONS = (
    *(Button.ACKNOWLEDGE, Button.SNOOZE, Button.REOPEN, Button.ACCEPT),
    *(Button.REPAIR, Button.DETAILS),
)
"""Those that are about findings."""
EVERYTHING = ("view", "check", "acknowledge", "accept", "approve", "apply")
NOW = after(10)


def waiting(address: str = "cloud_queue.jobs", **words: Any) -> Finding:
    return finding(address, causes=(Cause.UNAPPLIED_COMMIT,), evidence=Evidence(commits=(COMMIT,)), **words)


@dataclass
class Ears:
    """What a person is answered and asked."""

    answers: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)

    def answer(self, pressed: Pressed, sentences: tuple[str, ...]) -> None:
        self.answers.append((pressed.member, sentences))

    def ask_reason(self, pressed: Pressed, what: str) -> None:  # noqa: ARG002  (the seam's)
        self.questions.append(what)


class Room:
    """A desk in front of a real store, and somebody who presses."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.ears = Ears()
        self.now = NOW
        self.presses = 0
        self.allow(anna=person(ANNA))

    def allow(self, **people: PersonSettings) -> None:
        self.desk = Desk(
            ledger=self.store,
            people=People.compile(people),
            replies=self.ears,
            votes=Votes(book=self.store, terms=ApprovalSettings(), people={}, clock=lambda: self.now),
            clock=lambda: self.now,
        )

    def record(self, number: int, *findings: Finding, at: datetime = START) -> None:
        check = result(number, *findings, at=at)
        self.store.record_check(check, declaration=StackDeclaration(id=check.stack), channels=["slack"])

    def aim(self, button: Button, incident: int = 1, **words: Any) -> Aim:
        """At all that is open, as it is now."""
        found = self.store.incident(incident)
        seen = found.seen if found else "0" * 32
        return Aim(button=button, incident=incident, **({"seen": seen} | words))

    def one(self, button: Button, found: Finding, **words: Any) -> Aim:
        """At one finding."""
        return self.aim(button, seen=found.fingerprint, fingerprint=found.fingerprint, **words)

    def press(self, aim: Aim, member: str = ANNA, *, key: str | None = None, **words: Any) -> str:
        """What is answered; empty where nothing is."""
        self.presses += 1
        pressed = Pressed(
            aim=aim,
            member=member,
            key=key or f"press-{self.presses}",
            channel="C1",
            thread=None,
            trigger="1.trigger",
            **words,
        )
        before = len(self.ears.answers)
        self.desk.take(pressed)
        told = self.ears.answers[before:]
        assert len(told) <= 1, "a press has one answer"
        assert all(whom == member for whom, _ in told)
        return "\n".join(told[0][1]) if told else ""

    def wishes(self) -> list[Wish]:
        return list(self.store.wishes().values())

    def statuses(self) -> list[str]:
        return [str(each.status) for each in reversed(self.store.findings().items)]

    def audited(self) -> list[tuple[str, str, str]]:
        """Who, which button, what came of it; without that it came."""
        rows = reversed(self.store.audit(limit=1000).items)
        return [(row.actor, row.action, row.outcome) for row in rows if row.outcome != "asked"]


def person(
    *members: str, rights: tuple[str, ...] = EVERYTHING, stacks: tuple[str, ...] = ("*",)
) -> PersonSettings:
    return PersonSettings.model_validate({"slack": members, "rights": rights, "stacks": stacks})


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file that has the schema already."""
    directory = tmp_path_factory.mktemp("upgraded")
    Store.open(state_dir=directory, database=None).close()
    return directory / DATABASE_FILE


@pytest.fixture
def room(tmp_path: Path, upgraded: Path) -> Iterator[Room]:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    shutil.copy(upgraded, state)
    store = Store.open(state_dir=state, database=None, voice=Voice(channels=("slack",)))
    yield Room(store)
    store.close()


# ---- What each button does -----------------------------------------------------------------------------


def test_somebody_looks_after_all_that_is_open(room: Room) -> None:
    for number in (1, 2):
        room.record(number, waiting())
    assert room.press(room.aim(Button.ACKNOWLEDGE)) == "You look after 2 findings."
    assert room.statuses() == ["acknowledged", "acknowledged"]
    assert room.audited() == [("anna", "acknowledge", "done")]


def test_somebody_looks_after_one_finding(room: Room) -> None:
    room.record(1, waiting(), waiting("cloud_queue.other"))
    answer = room.press(room.one(Button.ACKNOWLEDGE, waiting()))
    assert answer == "You look after cloud_queue.jobs in platform/envs/s001."
    assert sorted(room.statuses()) == ["acknowledged", "open"]
    (row, _) = room.store.audit().items
    assert (row.subject, row.via) == (f"incident 1, finding {waiting().fingerprint}", "slack")


@pytest.mark.parametrize(
    ("hours", "span"),
    [(None, USUAL_SNOOZE), (1, timedelta(hours=1)), (168, timedelta(days=7)), (8784, LONGEST_SNOOZE)],
)
def test_a_snooze_lasts_as_long_as_the_button_says(room: Room, hours: int | None, span: timedelta) -> None:
    room.record(1, waiting())
    answer = room.press(room.aim(Button.SNOOZE, hours=hours))
    assert answer.startswith("You snoozed cloud_queue.jobs in platform/envs/s001 until ")
    (found,) = room.store.findings().items
    assert (found.status, found.until) == (FindingStatus.SNOOZED, NOW + span)


@pytest.mark.parametrize(("hours", "reason"), [(0, "past"), (8785, "too_long"), (99_999, "too_long")])
def test_a_snooze_of_nothing_or_for_ever_is_refused(room: Room, hours: int, reason: str) -> None:
    room.record(1, waiting())
    assert room.press(room.aim(Button.SNOOZE, hours=hours)).startswith("Not done: a snooze ")
    assert room.statuses() == ["open"]
    assert room.audited() == [("anna", "snooze", f"refused: {reason}")]


def test_what_was_put_aside_is_reopened(room: Room) -> None:
    """It is not open, and known by its content all the same."""
    room.record(1, waiting())
    room.press(room.one(Button.SNOOZE, waiting()))
    assert room.press(room.one(Button.REOPEN, waiting())).startswith("You re-opened cloud_queue.jobs")
    assert room.statuses() == ["reopened"]


@pytest.mark.parametrize(("days", "until"), [(30, NOW + timedelta(days=30)), (None, None)])
def test_something_is_accepted_with_a_reason(room: Room, days: int | None, until: datetime | None) -> None:
    room.record(1, waiting())
    aim = room.aim(Button.ACCEPT)
    assert room.press(aim) == ""
    assert room.ears.questions == ["What differs in one finding of platform/envs/s001 may stay as it is now."]
    assert room.statuses() == ["open"]
    assert room.press(aim, reason="see DNS-12", expires_days=days).startswith("You accepted")
    (found,) = room.store.findings().items
    assert found.acceptance is not None
    assert (found.acceptance.by, found.acceptance.reason, found.acceptance.expires) == (
        "anna",
        "see DNS-12",
        until,
    )
    assert room.audited() == [("anna", "accept", "asked for a reason"), ("anna", "accept", "done")]
    assert room.store.audit().items[0].reason == "see DNS-12"


def test_a_repair_is_wished_for_in_every_stack(room: Room) -> None:
    """What was changed by hand is reverted; where the code waits, that goes along, and so it is deployed."""
    by_hand, waits = Cause.OUT_OF_BAND, Cause.UNAPPLIED_COMMIT
    room.record(1, finding(causes=(by_hand,)), finding("cloud_queue.x", causes=(by_hand, Cause.NOISE)))
    room.record(2, finding("cloud_queue.y"), finding("cloud_queue.z", causes=(by_hand, waits)))
    room.record(3, finding("cloud_queue.w", causes=(Cause.UNDETERMINED,)))
    answers = [room.press(room.aim(Button.REPAIR, incident)) for incident in (1, 2, 3)]
    assert answers[0].split("\n") == [
        "A proposal to revert platform/envs/s001 is being made.",
        "It appears in this thread once it is planned. Nothing is applied before it is approved.",
    ]
    deploy = ProposalKind.DEPLOY
    kinds = {stack_id(1): ProposalKind.REVERT, stack_id(2): deploy, stack_id(3): deploy}
    assert room.wishes() == [Wish(stack=stack, kind=kind, by="anna") for stack, kind in kinds.items()]
    assert set(room.statuses()) == {"open"}, "nobody looks after it by that"
    assert {outcome for _, _, outcome in room.audited()} == {"done"}


def test_a_repair_that_is_being_made_is_not_asked_for_again(room: Room) -> None:
    room.record(1, finding())
    answers = {room.press(room.aim(Button.REPAIR)) for _ in range(3)}
    assert len(answers) == 1
    assert len(room.wishes()) == 1


def test_one_press_asks_for_so_many_repairs_and_the_next_for_the_rest(room: Room) -> None:
    for number in range(1, REPAIRS_AT_ONCE + 4):
        room.record(number, waiting())
    lines = room.press(room.aim(Button.REPAIR)).split("\n")
    assert len(lines) == DETAILS_SHOWN + 3
    assert f"… and {REPAIRS_AT_ONCE - DETAILS_SHOWN} more." in lines
    assert lines[-1] == "3 stacks are left for the next press."
    assert len(room.wishes()) == REPAIRS_AT_ONCE


def propose(room: Room, number: int = 1, **words: Any) -> int:
    """A proposal to revert the one finding of a stack."""
    standard: dict[str, Any] = {
        "stack": stack_id(number),
        "kind": ProposalKind.REVERT,
        "commit": "c0ffee",
        "digest": f"sha256:{number:064x}",
        "findings": (finding().fingerprint,),
        "addresses": (finding().address,),
        "summary": PlanSummary(adds=0, updates=1, destroys=0, replaces=0),
        "reason": "somebody opened the port",
        "created_by": "driftwatch",
        "created_at": START,
        "expires_at": after(1440),
        "automatic": False,
    }
    return room.store.propose(ProposalDraft(**(standard | words))).id


def test_a_repair_that_is_proposed_already_is_named_and_not_asked_for_again(room: Room) -> None:
    """Also how it stands: who asks wants to know what to do now."""
    room.record(1, finding())
    number = propose(room)
    told = f"Proposal {number}, to revert platform/envs/s001, "
    asked = "waits to be approved: press Approve under it."
    assert room.press(room.aim(Button.REPAIR)) == f"{told}{asked}"
    vote = Aim(button=Button.APPROVE, incident=number, seen=f"{1:064x}")
    assert room.press(vote).startswith(f"You approved proposal {number}.")
    assert room.press(room.aim(Button.REPAIR)) == f"{told}is approved, and is applied as soon as it may be."
    room.store.hold(number, Hold(reason="deny_window", sentence="The freeze lasts."), NOW)
    assert room.press(room.aim(Button.REPAIR)) == f"{told}waits: The freeze lasts."
    assert room.wishes() == []


def test_a_repair_that_comes_by_itself_is_said_to(room: Room) -> None:
    room.record(1, finding())
    propose(room, automatic=True)
    assert room.press(room.aim(Button.REPAIR)).endswith("is applied by itself as soon as it may be.")


# ---- Votes ---------------------------------------------------------------------------------------------


def test_a_vote_is_counted_once_and_audited_twice(room: Room) -> None:
    """That it came, and what came of it; delivered twice it is one."""
    room.allow(anna=person(ANNA, rights=("approve",)))
    room.record(1, finding())
    number = propose(room)
    vote = Aim(button=Button.APPROVE, incident=number, seen=f"{1:064x}")
    said = f"You approved proposal {number}. It is applied as soon as it may be."
    assert room.press(vote, key="k") == said
    assert room.press(vote, key="k") == ""
    rows = [(row.actor, row.action, row.outcome) for row in reversed(room.store.audit().items)]
    assert rows == [("anna", "approve", "asked"), ("anna", "approve", "approved")]
    assert {row.subject.partition(" (")[0] for row in room.store.audit().items} == {f"proposal {number}"}


@pytest.mark.parametrize("button", [Button.APPROVE, Button.REJECT])
def test_whoever_is_not_known_decides_on_nothing(room: Room, button: Button) -> None:
    """And hears nothing of what is proposed."""
    room.record(1, finding())
    number = propose(room)
    answer = room.press(Aim(button=button, incident=number, seen=f"{1:064x}"), STRANGER)
    assert answer.startswith("Not done: nobody here knows you.")
    assert room.audited() == [(f"slack:{STRANGER}", str(button), "refused: unknown_person")]
    assert room.store.proposal(number).decisions == ()  # type: ignore[union-attr]


def test_details_are_shown_for_as_many_as_anybody_reads(room: Room) -> None:
    room.record(1, *(waiting(f"cloud_queue.q{number:02}", actual=number) for number in range(25)))
    lines = room.press(room.aim(Button.DETAILS, seen="outdated")).split("\n")
    assert sum("platform/envs/s001 (open)" in line for line in lines) == DETAILS_SHOWN
    assert "… and 15 more: driftwatch findings list" in lines
    assert room.audited() == [("anna", "details", "shown")]


# ---- Who may -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("button", BUTTONS)
def test_whoever_is_not_known_may_do_nothing(room: Room, button: Button) -> None:
    """Not even see: their member id is all that they are told."""
    room.record(1, waiting())
    for people in ({}, {"anna": person(ANNA)}, {"anna": person()}):
        room.allow(**people)
        for aim in (room.aim(button), room.one(button, waiting())):
            answer = room.press(aim, STRANGER, reason="because")
            assert answer.startswith("Not done: nobody here knows you.")
            assert STRANGER in answer
            assert "queue" not in answer
            assert "platform" not in answer
    assert (room.statuses(), room.wishes(), room.ears.questions) == (["open"], [], [])
    assert set(room.audited()) == {(f"slack:{STRANGER}", str(button), "refused: unknown_person")}


@pytest.mark.parametrize("right", list(Right))
def test_each_button_takes_its_right_or_all_of_them(room: Room, right: Right) -> None:
    for button in BUTTONS:
        room.record(1, waiting(actual=str(button)), at=after(1 + BUTTONS.index(button)))
        room.allow(anna=person(ANNA, rights=(right,)))
        if button is Button.REOPEN:
            room.store.act_on_all(*snoozed(room))
        aim = room.one(button, waiting(actual=str(button)))
        answer = room.press(aim, reason="because")
        may = right in (NEEDED[button], Right.ADMIN)
        assert answer.startswith("Not done: you have no right to") == (not may), button
        assert room.audited()[-1][2] == (
            "refused: no_right" if not may else "shown" if button is Button.DETAILS else "done"
        )


def snoozed(room: Room) -> Any:
    from driftwatch.drift import Press, Snooze

    (found,) = room.store.findings().items
    press = Press(action=Snooze(until=after(5000)), actor="x", at=room.now)
    return {found.id: found.finding.fingerprint}, press


def test_a_right_is_for_some_stacks_and_an_incident_for_all_of_its_own(room: Room) -> None:
    """One stack without the right, and nothing at all is done; its own finding may be pressed by itself."""
    room.allow(anna=person(ANNA, stacks=("platform/envs/s00[12]", "other/*")))
    for number in (1, 2):
        room.record(number, waiting())
    assert room.press(room.aim(Button.ACKNOWLEDGE)).startswith("You look after 2 findings")
    room.record(3, waiting(), waiting("cloud_queue.third"))
    for aim in (room.aim(Button.SNOOZE), room.one(Button.SNOOZE, waiting())):
        answer = room.press(aim)
        assert answer == "Not done: you have no right to acknowledge for platform/envs/s003."
    assert set(room.statuses()) == {"acknowledged", "open"}
    room.record(1, waiting(), waiting("cloud_queue.mine"), at=after(1))
    assert "cloud_queue.mine" in room.press(room.one(Button.SNOOZE, waiting("cloud_queue.mine")))


def test_who_may_do_nothing_with_a_stack_learns_nothing_of_it(room: Room) -> None:
    room.allow(anna=person(ANNA, stacks=("other/*",)))
    room.record(1, waiting())
    answer = room.press(room.aim(Button.DETAILS))
    assert answer == "Not done: you have no right to view for platform/envs/s001."
    room.record(1, at=after(1))
    assert room.press(room.aim(Button.DETAILS)) == answer, "also once nothing of it is open"


# ---- Once, and only what was seen ----------------------------------------------------------------------


def test_a_press_that_is_delivered_twice_is_done_once(room: Room) -> None:
    room.record(1, waiting())
    aim = room.aim(Button.ACKNOWLEDGE)
    assert room.press(aim, key="k").startswith("You look after")
    assert room.press(aim, key="k") == ""
    assert room.press(aim, STRANGER, key="k") == ""
    assert room.audited() == [("anna", "acknowledge", "done")]
    assert "already" in room.press(aim, key="another")
    assert room.audited()[-1] == ("anna", "acknowledge", "refused: already_acknowledged")


@pytest.mark.parametrize("button", [button for button in BUTTONS if button is not Button.DETAILS])
def test_what_has_changed_since_it_was_shown_is_not_touched(room: Room, button: Button) -> None:
    room.record(1, waiting())
    aims = [room.aim(button), room.one(button, waiting())]
    room.record(1, waiting(actual=1), at=after(1))
    for aim in aims:
        assert "look at it again" in room.press(aim, reason="because")
    assert (room.statuses(), room.wishes()) == (["changed"], [])
    assert {outcome for _, _, outcome in room.audited()} == {"refused: outdated"}


def test_a_stack_that_joined_since_was_not_seen(room: Room) -> None:
    room.record(1, waiting())
    aim = room.aim(Button.ACCEPT)
    room.record(2, waiting(), at=after(1))
    assert "look at it again" in room.press(aim, reason="because")
    assert room.statuses() == ["open", "open"]


def test_what_is_resolved_is_done_with(room: Room) -> None:
    room.record(1, waiting())
    whole, one = room.aim(Button.ACKNOWLEDGE), room.one(Button.ACKNOWLEDGE, waiting())
    room.record(1, at=after(1))
    assert room.press(whole) == "Nothing of it is open any more."
    assert "is resolved" in room.press(one)
    assert room.statuses() == ["resolved"]


@pytest.mark.parametrize("incident", [0, 7, 10**15 - 1])
def test_an_incident_that_is_not_known_is_too_old(room: Room, incident: int) -> None:
    for button in BUTTONS:
        assert "too old" in room.press(room.aim(button, incident))
    assert {outcome for _, _, outcome in room.audited()} == {"refused: gone"}


def test_what_comes_between_two_looks_is_not_acted_on_unseen(room: Room) -> None:
    """A stack joins in the very moment of the press."""
    room.record(1, waiting())
    aim = room.aim(Button.ACCEPT)

    class Busy:
        def __init__(self) -> None:
            self.looks = 0

        def __getattr__(self, name: str) -> Any:
            if name in ("incident", "open_in"):
                self.looks += 1
                if self.looks == 2:
                    room.record(2, waiting(), at=after(1))
            return getattr(room.store, name)

    room.desk = replace(room.desk, ledger=Busy())
    assert "look at it again" in room.press(aim, reason="because")
    assert room.statuses() == ["open", "open"]


def test_the_second_step_of_an_acceptance_is_looked_at_anew(room: Room) -> None:
    """Minutes lie between the question and the reason: what changed, who may, whether it is there."""
    room.record(1, waiting())
    aim = room.aim(Button.ACCEPT)
    room.press(aim)
    room.allow(anna=person(ANNA, rights=("view", "acknowledge")))
    assert "no right to accept" in room.press(aim, reason="because")
    room.allow(anna=person(ANNA))
    room.record(1, replace(waiting(), fingerprint="ff" * 16), at=after(1))
    assert "look at it again" in room.press(aim, reason="because")
    room.record(1, at=after(2))
    assert room.press(aim, reason="because") == "Nothing of it is open any more."
    assert room.statuses() == ["resolved"]


def test_what_cannot_be_done_to_some_is_done_to_the_others(room: Room) -> None:
    room.record(1, *(waiting(f"cloud_queue.q{number}", actual=number) for number in range(6)))
    for number in range(5):
        room.press(room.one(Button.ACKNOWLEDGE, waiting(f"cloud_queue.q{number}", actual=number)))
    lines = room.press(room.aim(Button.ACKNOWLEDGE)).split("\n")
    assert lines[0] == "You look after cloud_queue.q5 in platform/envs/s001."
    assert len(lines) == 1 + REFUSALS_SHOWN
    assert all(line.startswith("Not done: finding ") and "already" in line for line in lines[1:])
    assert set(room.statuses()) == {"acknowledged"}


# ---- Hostile words, and a database that is away --------------------------------------------------------


def test_a_reason_is_kept_without_what_it_must_not_hold(room: Room) -> None:
    register_secret("canary-in-a-press")
    room.record(1, waiting())
    reason = "<!channel> \x1b[31mcanary-in-a-press\x00 \u202e*bold* `x` https://u:p@example.test/\ud800"
    assert room.press(room.aim(Button.ACKNOWLEDGE), reason=reason).startswith("You look after")
    (found,) = room.store.findings().items
    said = [event.reason for event in room.store.finding_events(found.id)][-1] or ""
    kept = [said, room.store.audit().items[0].reason or "", *handled(room)]
    for each in kept:
        assert "canary-in-a-press" not in each
        assert REDACTED in each
        assert not {"\x00", "\x1b", "\ud800"} & set(each)
        assert "u:p@" not in each
    assert room.store.audit_damage() is None


def handled(room: Room) -> list[str]:
    """What people are told that somebody did."""
    (due,) = room.store.due_messages(at=after(1000), limit=9)
    whole = room.store.whole_message(due, at=after(1000))
    return [said.said or "" for said in whole.all_told if said.kind is TransitionKind.HANDLED]


def test_a_reason_that_is_a_log_is_refused(room: Room) -> None:
    room.record(1, waiting())
    answer = room.press(room.aim(Button.ACCEPT), reason="x" * (LONGEST_REASON + 1))
    assert "give a sentence and a link" in answer
    assert room.press(room.aim(Button.ACCEPT), reason="  ").startswith(
        "Not done: an acceptance needs a reason"
    )
    assert room.statuses() == ["open"]


@pytest.mark.parametrize("method", ["note", "incident", "open_in", "finding", "act_on_all"])
def test_while_the_database_is_away_nothing_can_be_done_and_that_is_said(
    room: Room, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    room.record(1, waiting())

    class Away:
        def __getattr__(self, name: str) -> Any:
            if name == method:
                raise StoreUnavailableError("the database cannot be reached")
            return getattr(room.store, name)

    room.desk = replace(room.desk, ledger=Away())
    button = Button.DETAILS if method == "finding" else Button.ACKNOWLEDGE
    answer = room.press(room.aim(button), reason="a-reason-to-be-private")
    assert answer.startswith("driftwatch cannot do anything just now")
    assert room.statuses() == ["open"]
    assert "a-reason-to-be-private" not in capsys.readouterr().out


def test_a_stack_that_is_gone_meanwhile_is_not_repaired(room: Room) -> None:
    class Gone:
        def __getattr__(self, name: str) -> Any:
            return getattr(room.store, name)

        def wish(self, wish: Wish, at: datetime) -> int:  # noqa: ARG002  (the seam's)
            raise UnknownStackError(f"no stack {wish.stack}")

    room.record(1, waiting())
    room.desk = replace(room.desk, ledger=Gone())
    assert room.press(room.aim(Button.REPAIR)).startswith("driftwatch cannot do anything just now")


# ---- Many ----------------------------------------------------------------------------------------------


def test_ten_thousand_findings_are_one_press_and_one_reply_per_stack(room: Room) -> None:
    for number in range(1, 5):
        room.record(number, *(waiting(f"cloud_queue.q{each}", actual=each) for each in range(2500)))
    began = time.process_time()  # others may share the machine
    assert room.press(room.aim(Button.ACKNOWLEDGE)) == "You look after 10000 findings."
    assert time.process_time() - began < 15
    (due,) = room.store.due_messages(at=after(1000), limit=9)
    told = room.store.whole_message(due, at=after(1000)).all_told
    said = [(each.stack, each.said) for each in told if each.kind is TransitionKind.HANDLED]
    assert said == [(str(stack_id(number)), "anna looks after 2500 findings") for number in range(1, 5)]
    assert room.audited() == [("anna", "acknowledge", "done")]
    again = room.press(room.aim(Button.ACKNOWLEDGE)).split("\n")
    assert len(again) == REFUSALS_SHOWN, "what cannot be done is not said ten thousand times"
