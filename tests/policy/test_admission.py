"""Admission: one thing against it is enough, the first is the answer, and nothing unknown passes."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from driftwatch.config.repair import RepairSettings
from driftwatch.config.settings import PersonSettings, WindowSettings
from driftwatch.model import (
    Decision,
    FindingKind,
    Health,
    Pin,
    PlanSummary,
    Proposal,
    ProposalDraft,
    ProposalKind,
    ProposalState,
    StackId,
    Suspension,
)
from driftwatch.policy import windows
from driftwatch.policy.admission import (
    APPLICABLE,
    TERMINAL,
    Actor,
    Admission,
    Admitted,
    Detector,
    Held,
    Lock,
    Request,
    Statement,
    admit,
    reasons,
)
from driftwatch.policy.course import Course, Then
from driftwatch.policy.guards import Facts, PlanFacts, PlannedResource, Repaired
from driftwatch.policy.rights import People

NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
STACK = StackId(repository="platform", path="envs/prod")
HOUR = timedelta(hours=1)
DIGEST = "sha256:" + "0" * 64


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """As the windows' own."""

    allowed: bool = True
    reason: str = "in_window"
    window: str | None = "nights"
    until: datetime | None = NOW + HOUR
    sentence: str = "Window nights allows it."
    manual: bool = True


OPEN = Ruling()
CLOSED = Ruling(
    allowed=False, reason="outside_window", sentence="It opens at night.", until=NOW + 9 * HOUR, manual=False
)
LENIENT = replace(CLOSED, manual=True)
FREEZE = replace(CLOSED, reason="deny_window", window="freeze", sentence="Window freeze forbids it.")
NONE = Ruling(
    allowed=False, reason="no_window", window=None, until=None, sentence="No window allows it.", manual=True
)

USERS = {
    "anna": PersonSettings(slack=("U00000ANNA",), rights=("approve", "apply", "override_window")),
    "ben": PersonSettings(slack=("U00000BEN",), rights=("approve",)),
    "cleo": PersonSettings(slack=("U00000CLEO",), rights=("view", "apply")),
    "dana": PersonSettings(slack=("U00000DANA",), rights=("admin",), stacks=("other/*",)),
    "eve": PersonSettings(slack=("U00000EVE",), rights=("admin",)),
}
PEOPLE = People.compile(USERS)
SETTINGS = RepairSettings(automatic=True)

FACTS = Facts(
    stack=STACK,
    labels={},
    kind=ProposalKind.REVERT,
    automatic=True,
    at=NOW,
    course=Course(then=Then.APPLY, reason="on_drift", sentence="The stack's on_drift says apply."),
    plan=PlanFacts(
        changes=(PlannedResource(address="a.b", type="a", actions=("update",), attributes=("/size",)),),
        outputs=(),
        known=3,
        mass_deletion=None,
        complete=True,
    ),
    findings=(
        Repaired(
            address="a.b",
            fingerprint="print",
            kind=FindingKind.MODIFIED,
            action="update",
            by_hand=True,
            attributes=frozenset({"/size"}),
            since=NOW - 2 * HOUR,
            returns=0,
        ),
    ),
    following=frozenset(),
    ignored={},
    applied=(),
    failures=0,
    failed_before=(),
)
DRAFT = ProposalDraft(
    stack=STACK,
    kind=ProposalKind.REVERT,
    commit="c0ffee",
    digest=DIGEST,
    findings=("print",),
    addresses=("a.b",),
    summary=PlanSummary(adds=0, updates=1, destroys=0, replaces=0),
    reason="It drifted.",
    created_by="driftwatch",
    created_at=NOW - HOUR,
    expires_at=NOW + 24 * HOUR,
    automatic=True,
    author="cleo",
)
PROPOSAL = Proposal(id=1, state=ProposalState.PROPOSED, draft=DRAFT)
DETECTOR = Detector(
    health=Health.FRESH,
    last_good_at=NOW - timedelta(minutes=5),
    allowed_age=HOUR,
    identity=True,
    mass_deletion=None,
)
AUTOMATIC = Request(
    proposal=PROPOSAL,
    at=NOW,
    automatic=True,
    starting=False,
    by=None,
    suspensions=(),
    pin=None,
    in_review=None,
    detector=DETECTOR,
    facts=FACTS,
    expected=timedelta(minutes=10),
    digest=DIGEST,
    lock=Lock.FREE,
)


def approval(by: str = "ben", *, approves: bool = True, **other: Any) -> Decision:
    return Decision(
        **{"by": by, "at": NOW - HOUR, "via": "slack", "approves": approves, "digest": DIGEST, **other}
    )


def decided(*decisions: Decision, request: Request | None = None, **draft: Any) -> Request:
    """A request of people: so they decided."""
    request = request or BY_PEOPLE
    proposal = replace(request.proposal, decisions=decisions, draft=replace(DRAFT, **draft))
    return replace(request, proposal=proposal)


BY_PEOPLE = replace(
    AUTOMATIC,
    automatic=False,
    facts=replace(FACTS, automatic=False),
    proposal=replace(PROPOSAL, state=ProposalState.APPROVED, decisions=(approval(),)),
    by=Actor(name="anna", via="slack"),
)
BOTH = pytest.mark.parametrize("request_", [AUTOMATIC, BY_PEOPLE], ids=["automatic", "by people"])
MASS = "12 of 14 resources are gone."


def ask(
    request: Request,
    ruling: Ruling | None = OPEN,
    settings: RepairSettings = SETTINGS,
    people: People | None = PEOPLE,
) -> Admission:
    """The answer, which is also the first of all that holds."""
    answer = admit(request, ruling=ruling, settings=settings, people=people)
    every = reasons(request, ruling=ruling, settings=settings, people=people)
    assert every[:1] == ((answer,) if isinstance(answer, Held) else ())
    return answer


def held(request: Request, *args: Any, **kwargs: Any) -> Held:
    answer = ask(request, *args, **kwargs)
    assert isinstance(answer, Held)
    return answer


def with_plan(request: Request, **other: Any) -> Request:
    assert request.facts is not None
    return replace(request, facts=replace(request.facts, plan=replace(request.facts.plan, **other)))


# ---- what passes -----------------------------------------------------------------------------------------


def test_an_automatic_apply_passes_in_its_window() -> None:
    assert ask(AUTOMATIC) == Admitted(
        sentence="No guard holds it. Window nights allows it.", until=NOW + HOUR
    )


def test_an_approved_one_passes_and_says_by_whom() -> None:
    assert ask(BY_PEOPLE) == Admitted(sentence="Approved by ben.", until=NOW + HOUR)
    two = decided(approval("eve"), approval("ben"))
    assert ask(two) == Admitted(sentence="Approved by ben, eve.", until=NOW + HOUR)


@BOTH
@pytest.mark.parametrize("state", sorted(APPLICABLE))
def test_it_passes_while_nothing_is_decided_otherwise(request_: Request, state: ProposalState) -> None:
    assert isinstance(ask(replace(request_, proposal=replace(request_.proposal, state=state))), Admitted)


def test_driftwatch_goes_on_with_what_was_approved() -> None:
    """The window opens at night, and nobody has to be awake."""
    assert isinstance(ask(replace(BY_PEOPLE, by=None)), Admitted)


@BOTH
def test_right_before_the_start_the_lock_must_be_ours(request_: Request) -> None:
    assert isinstance(ask(replace(request_, starting=True, lock=Lock.OURS)), Admitted)
    assert held(replace(request_, starting=True, lock=Lock.FREE)).reason == "not_locked"


# ---- suspended -------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.row(73)
@pytest.mark.parametrize("scope", ["*", "platform", "platform/envs/prod"])
def test_what_is_suspended_is_suspended_for_all(request_: Request, scope: str) -> None:
    until = NOW + HOUR
    suspension = Suspension(scope=scope, by="eve", at=NOW - HOUR, reason="Audit.", until=until)
    answer = held(replace(request_, suspensions=(suspension,)))
    assert (answer.reason, answer.until, answer.overridable) == ("suspended", until, False)
    assert "eve: Audit." in answer.sentence
    over = replace(suspension, until=NOW)
    assert isinstance(ask(replace(request_, suspensions=(over,))), Admitted)
    for_good = replace(suspension, until=None)
    assert held(replace(request_, suspensions=(over, for_good))).until is None


@BOTH
@pytest.mark.parametrize("scope", ["other", "platform/envs", "platform/envs/test", "plat"])
def test_what_is_suspended_elsewhere_is_no_matter(request_: Request, scope: str) -> None:
    suspension = Suspension(scope=scope, by="eve", at=NOW - HOUR, reason="Audit.")
    assert isinstance(ask(replace(request_, suspensions=(suspension,))), Admitted)


@BOTH
def test_what_an_apply_left_behind_is_looked_at_first(request_: Request) -> None:
    answer = held(replace(request_, in_review="An apply was interrupted."))
    assert (answer.reason, answer.sentence) == ("in_review", "An apply was interrupted.")


@BOTH
def test_a_pinned_stack_stays_at_its_commit(request_: Request) -> None:
    pin = Pin(stack=STACK, commit="badcafe0badcafe0", by="eve", at=NOW, reason="Broken.")
    assert held(replace(request_, pin=pin)).reason == "pinned"
    assert isinstance(ask(replace(request_, pin=replace(pin, commit="c0ffee"))), Admitted)


def test_a_rollback_may_leave_a_pin_behind() -> None:
    pin = Pin(stack=STACK, commit="badcafe0badcafe0", by="eve", at=NOW, reason="Broken.")
    back = decided(approval(), kind=ProposalKind.ROLLBACK, created_by="anna")
    assert back.facts is not None
    back = replace(back, pin=pin, facts=replace(back.facts, kind=ProposalKind.ROLLBACK))
    assert isinstance(ask(back), Admitted)


# ---- the detector ----------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"health": Health.STALE}, "detector_stale"),
        ({"health": Health.BLIND}, "detector_blind"),
        ({"last_good_at": NOW - HOUR - timedelta(seconds=1)}, "detector_stale"),
        ({"last_good_at": NOW + HOUR}, "detector_ahead"),
        ({"identity": False}, "identity_wrong"),
    ],
)
@pytest.mark.row(21)
def test_a_detector_that_cannot_be_believed_holds_all(
    request_: Request, other: dict[str, Any], reason: str
) -> None:
    answer = held(replace(request_, detector=replace(DETECTOR, **other)))
    assert (answer.reason, answer.overridable) == (reason, False)


@BOTH
def test_a_check_may_be_just_as_old_as_allowed(request_: Request) -> None:
    detector = replace(DETECTOR, last_good_at=NOW - HOUR)
    assert isinstance(ask(replace(request_, detector=detector)), Admitted)


@pytest.mark.row(21)
@pytest.mark.parametrize("of_plan", [True, False])
def test_a_mass_deletion_is_never_repaired_by_itself(*, of_plan: bool) -> None:
    def deleted(request: Request) -> Request:
        if of_plan:
            return with_plan(request, mass_deletion=MASS)
        return replace(request, detector=replace(DETECTOR, mass_deletion=MASS))

    answer = held(deleted(AUTOMATIC))
    assert (answer.reason, answer.overridable) == ("mass_deletion", True)
    assert answer.sentence == f"{MASS} Nothing is applied automatically."
    said = Statement(by=Actor(name="ben", via="slack"), reason="We deleted them.")
    assert held(replace(deleted(AUTOMATIC), acknowledged=said)).reason == "mass_deletion"
    assert held(deleted(BY_PEOPLE)).reason == "mass_deletion"
    assert isinstance(ask(replace(deleted(BY_PEOPLE), acknowledged=said)), Admitted)
    blank = replace(said, reason=" ")
    assert held(replace(deleted(BY_PEOPLE), acknowledged=blank)).reason == "mass_deletion_without_reason"
    cleo = replace(said, by=Actor(name="cleo", via="slack"))
    assert held(replace(deleted(BY_PEOPLE), acknowledged=cleo)).reason == "mass_deletion_without_right"


# ---- plan and guards -------------------------------------------------------------------------------------


@BOTH
def test_a_plan_that_errored_or_does_nothing_is_not_applied(request_: Request) -> None:
    assert held(with_plan(request_, complete=False)).reason == "plan_incomplete"
    assert held(with_plan(request_, changes=())).reason == "nothing_to_apply"
    assert held(with_plan(request_, changes=(), outputs=())).reason == "nothing_to_apply"


@BOTH
@pytest.mark.parametrize(
    "other",
    [
        {"stack": StackId(repository="platform", path="envs/test")},
        {"kind": ProposalKind.DEPLOY},
        {"at": NOW - HOUR},
    ],
)
def test_facts_of_something_else_are_none(request_: Request, other: dict[str, Any]) -> None:
    assert request_.facts is not None
    assert held(replace(request_, facts=replace(request_.facts, **other))).reason == "plan_of_another"


def test_facts_that_say_that_a_person_is_there_are_not_believed() -> None:
    """Else the guards would let pass what they are for."""
    assert held(replace(AUTOMATIC, facts=replace(FACTS, automatic=False))).reason == "plan_of_another"


def test_a_guard_holds_what_is_automatic_and_not_what_is_approved() -> None:
    gone = (PlannedResource(address="a.b", type="a", actions=("delete", "create")),)
    answer = held(with_plan(AUTOMATIC, changes=gone))
    assert (answer.reason, answer.overridable) == ("beyond_findings", True)
    assert isinstance(ask(with_plan(BY_PEOPLE, changes=gone * 50)), Admitted)


def test_a_guard_says_until_when() -> None:
    young = replace(FACTS.findings[0], since=NOW - timedelta(minutes=10))
    answer = held(replace(AUTOMATIC, facts=replace(FACTS, findings=(young,))))
    assert (answer.reason, answer.until) == ("too_young", NOW + timedelta(minutes=20))


@pytest.mark.row(73)
def test_the_kill_switch_holds_the_automatic_ones_and_no_person() -> None:
    off = RepairSettings()
    assert held(AUTOMATIC, settings=off).reason == "automatic_off"
    assert isinstance(ask(BY_PEOPLE, settings=off), Admitted)


def test_what_was_proposed_to_people_is_not_applied_without_one() -> None:
    answer = held(decided(request=AUTOMATIC, automatic=False))
    assert (answer.reason, answer.overridable) == ("not_automatic", True)


def test_a_condition_holds_both_and_no_approval_helps() -> None:
    pytest.importorskip("cel_expr_python")
    never = RepairSettings.model_validate(
        {"automatic": True, "conditions": [{"name": "never", "cel": "false", "says": "Never."}]}
    )
    for request in (AUTOMATIC, BY_PEOPLE):
        answer = held(request, settings=never)
        assert (answer.reason, answer.overridable) == ("condition_not_met", False)


# ---- windows ---------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("ruling", [CLOSED, FREEZE, replace(CLOSED, reason="does_not_fit")])
def test_a_closed_window_holds_all(request_: Request, ruling: Ruling) -> None:
    answer = held(request_, ruling)
    assert (answer.reason, answer.sentence, answer.until) == (ruling.reason, ruling.sentence, ruling.until)
    assert not answer.overridable
    assert held(request_, replace(ruling, manual=True)).overridable


def test_without_a_window_an_automatic_apply_waits_and_a_person_need_not() -> None:
    assert held(AUTOMATIC, NONE).reason == "no_window"
    assert isinstance(ask(BY_PEOPLE, NONE), Admitted)


def test_nothing_is_applied_by_itself_unless_a_window_names_itself() -> None:
    assert held(AUTOMATIC, replace(OPEN, window=None)).reason == "no_window"


def test_a_person_goes_through_with_right_and_reason_where_the_window_lets_them() -> None:
    anna = Statement(by=Actor(name="anna", via="slack"), reason="Customers are down.")
    through = replace(BY_PEOPLE, override=anna)
    answer = ask(through, LENIENT)
    assert isinstance(answer, Admitted)
    assert answer.reason == "overridden"
    assert answer.sentence == "anna goes on in spite of the windows: Customers are down."
    assert held(through, CLOSED).reason == "outside_window"
    assert held(through, FREEZE).reason == "deny_window"
    no_reason = replace(through, override=replace(anna, reason="\n"))
    assert held(no_reason, LENIENT).reason == "outside_window_without_reason"
    ben = replace(through, override=replace(anna, by=Actor(name="ben", via="slack")))
    answer = held(ben, LENIENT)
    assert answer.reason == "outside_window_without_right"
    assert (answer.until, answer.overridable) == (LENIENT.until, True)
    elsewhere = replace(through, override=replace(anna, by=Actor(name="dana", via="slack")))
    assert held(elsewhere, LENIENT).reason == "outside_window_without_right"
    unknown = replace(through, override=replace(anna, by=Actor(name="U00000ANNA", via="slack")))
    assert held(unknown, LENIENT).reason == "outside_window_without_right"


def test_an_override_opens_nothing_for_an_automatic_apply() -> None:
    anna = Statement(by=Actor(name="anna", via="slack"), reason="Customers are down.")
    assert held(replace(AUTOMATIC, override=anna), LENIENT).reason == "outside_window"


def test_an_override_lifts_a_window_and_nothing_else() -> None:
    anna = Statement(by=Actor(name="anna", via="slack"), reason="Customers are down.")
    through = replace(BY_PEOPLE, override=anna)
    assert held(replace(through, digest="other"), LENIENT).reason == "digest_changed"
    assert held(replace(through, lock=Lock.OTHERS), LENIENT).reason == "locked"
    stale = replace(through, detector=replace(DETECTOR, health=Health.STALE))
    assert held(stale, LENIENT).reason == "detector_stale"
    assert ask(through).reason == "admitted"


def test_it_starts_only_what_can_end_in_time() -> None:
    """The ruling's `until` is the last moment at which it fits: one that was given before is none now."""
    for request in (AUTOMATIC, BY_PEOPLE):
        assert isinstance(ask(request, replace(OPEN, until=NOW)), Admitted)
        assert isinstance(ask(request, replace(OPEN, until=None)), Admitted)
        late = held(request, replace(OPEN, until=NOW - timedelta(seconds=1)))
        assert (late.reason, late.overridable) == ("does_not_fit", True)
    assert held(replace(AUTOMATIC, expected=None)).reason == "duration_unknown"


def test_before_a_freeze_a_person_starts_only_what_ends_before_it() -> None:
    soon = replace(NONE, until=NOW + timedelta(minutes=9))
    assert held(BY_PEOPLE, soon).reason == "does_not_fit"
    assert held(replace(BY_PEOPLE, expected=None), soon).reason == "duration_unknown"
    assert isinstance(ask(BY_PEOPLE, replace(NONE, until=NOW + timedelta(minutes=10))), Admitted)
    assert isinstance(ask(replace(BY_PEOPLE, expected=None), NONE), Admitted)
    anna = Statement(by=Actor(name="anna", via="slack"), reason="Customers are down.")
    assert ask(replace(BY_PEOPLE, override=anna), soon).reason == "overridden"


def test_the_windows_own_rulings_are_understood() -> None:
    """Real windows in front of it, each in its state."""
    night = {"name": "nights", "kind": "allow", "cron": "0 2 * * *", "duration": "4h"}
    freeze = {"name": "freeze", "kind": "deny", "cron": "30 3 * * *", "duration": "1h"}

    def rule(at: datetime, needs: timedelta, *all_: dict[str, str]) -> windows.Ruling:
        compiled = windows.Windows.compile([WindowSettings.model_validate(each) for each in all_])
        return compiled.rule(str(STACK), {}, at, needs=needs)

    def answer(request: Request, at: datetime, *all_: dict[str, str], needs: int = 10) -> Admission:
        assert request.facts is not None
        detector = replace(DETECTOR, last_good_at=at)
        length = timedelta(minutes=needs)
        facts = replace(request.facts, at=at)
        moved = replace(request, at=at, facts=facts, detector=detector, expected=length)
        return admit(moved, ruling=rule(at, length, *all_), settings=SETTINGS, people=PEOPLE)

    day = NOW.replace(hour=12)
    for request in (AUTOMATIC, BY_PEOPLE):
        assert answer(request, NOW, night).reason == "admitted"
        assert answer(request, NOW, night, freeze).reason == "admitted"
        assert answer(request, NOW, night, freeze, needs=31).reason == "does_not_fit"
        assert answer(request, NOW.replace(minute=40), night, freeze).reason == "deny_window"
        assert answer(request, day, night).reason == "outside_window"
    assert answer(AUTOMATIC, day).reason == "no_window"
    assert answer(AUTOMATIC, NOW, freeze).reason == "no_window"
    assert answer(BY_PEOPLE, day).reason == "admitted"
    assert answer(BY_PEOPLE, NOW, freeze, needs=31).reason == "does_not_fit"


# ---- approval --------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("state", sorted(set(ProposalState) - APPLICABLE))
def test_what_is_over_or_under_way_is_not_begun_again(request_: Request, state: ProposalState) -> None:
    answer = held(replace(request_, proposal=replace(request_.proposal, state=state)))
    assert (answer.reason, answer.overridable) == (state.value, False)


@BOTH
def test_an_expired_proposal_is_none(request_: Request) -> None:
    def until(at: datetime | None) -> Request:
        draft = replace(request_.proposal.draft, expires_at=at)
        return replace(request_, proposal=replace(request_.proposal, draft=draft))

    assert held(until(NOW)).reason == "expired"
    assert isinstance(ask(until(NOW + timedelta(seconds=1))), Admitted)
    assert isinstance(ask(until(None)), Admitted)


@BOTH
@pytest.mark.row(18)
@pytest.mark.row(19)
def test_another_plan_than_was_decided_on_is_never_applied(request_: Request) -> None:
    assert held(replace(request_, digest="sha256:other")).reason == "digest_changed"


@pytest.mark.row(74)
@pytest.mark.parametrize(
    ("decisions", "reason"),
    [
        ((), "not_approved"),
        ((approval(digest="sha256:other"),), "approved_otherwise"),
        ((approval(at=NOW - timedelta(hours=24)),), "approval_expired"),
        ((approval(at=NOW + timedelta(seconds=1)),), "approval_ahead"),
        ((approval("cleo"),), "no_right_to_approve"),
        ((approval("dana"),), "no_right_to_approve"),
        ((approval("stranger"),), "no_right_to_approve"),
        ((approval("Ben "),), "no_right_to_approve"),
        ((approval(approves=False),), "rejected"),
        ((approval("eve"), approval(approves=False)), "rejected"),
        ((approval("cleo", approves=False), approval()), "rejected"),
        ((approval(at=NOW - 2 * HOUR), approval(approves=False)), "rejected"),
    ],
)
def test_an_approval_that_is_none(decisions: tuple[Decision, ...], reason: str) -> None:
    assert held(decided(*decisions)).reason == reason


def test_whoever_thinks_better_of_it_counts_as_they_said_last() -> None:
    assert isinstance(ask(decided(approval(approves=False, at=NOW - 2 * HOUR), approval())), Admitted)


def test_one_who_rejected_holds_even_what_is_automatic() -> None:
    assert held(decided(approval(approves=False), request=AUTOMATIC)).reason == "rejected"


def test_so_many_people_and_each_once() -> None:
    two = RepairSettings.model_validate({"approvals": {"needed": 2}})
    answer = held(decided(approval("ben"), approval("ben", via=TERMINAL, at=NOW)), settings=two)
    assert answer.reason == "too_few_approvals"
    assert answer.sentence == "2 people have to approve it, and 1 did."
    assert isinstance(ask(decided(approval("ben"), approval("eve")), settings=two), Admitted)
    worthless = decided(approval("ben"), approval("cleo"), approval("eve", digest="other"))
    assert held(worthless, settings=two).reason == "too_few_approvals"


def test_nobody_approves_their_own_change_alone() -> None:
    own = {"author": "Ben"}
    assert held(decided(approval("ben"), **own)).reason == "approved_by_author"
    assert isinstance(ask(decided(approval("ben"), approval("eve"), **own)), Admitted)
    trusting = RepairSettings.model_validate({"approvals": {"not_by_author": False}})
    assert isinstance(ask(decided(approval("ben"), **own), settings=trusting), Admitted)
    assert isinstance(ask(decided(approval("ben"), author=None)), Admitted)


def test_who_rolls_back_has_chosen_the_commit() -> None:
    back = decided(approval("ben"), kind=ProposalKind.ROLLBACK, created_by="ben", author=None)
    assert back.facts is not None
    back = replace(back, facts=replace(back.facts, kind=ProposalKind.ROLLBACK))
    assert held(back).reason == "approved_by_author"
    assert isinstance(ask(decided(approval("ben"), created_by="ben", author=None)), Admitted)


def test_who_wants_it_now_must_have_the_right_to() -> None:
    for name in ("ben", "dana", "stranger"):
        answer = held(replace(BY_PEOPLE, by=Actor(name=name, via="slack")))
        assert answer.reason == "no_right_to_apply"
        assert name in answer.sentence
    assert isinstance(ask(replace(BY_PEOPLE, by=Actor(name="cleo", via="slack"))), Admitted)


def test_whoever_is_at_a_terminal_has_the_machines_rights() -> None:
    there = decided(approval("root", via=TERMINAL))
    there = replace(there, by=Actor(name="root", via=TERMINAL))
    assert isinstance(ask(there, people=None), Admitted)
    assert held(BY_PEOPLE, people=None).reason == "no_right_to_approve"


# ---- the lock --------------------------------------------------------------------------------------------


@BOTH
def test_what_somebody_else_has_locked_is_left_alone(request_: Request) -> None:
    assert held(replace(request_, lock=Lock.OTHERS)).reason == "locked"
    assert held(replace(request_, lock=Lock.UNKNOWN)).reason == "lock_unknown"
    assert isinstance(ask(replace(request_, lock=Lock.OURS)), Admitted)


# ---- what is not known -----------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("unknown", "reason"),
    [
        ({"suspensions": None}, "suspension_unknown"),
        ({"detector": replace(DETECTOR, health=None)}, "detector_unknown"),
        ({"detector": replace(DETECTOR, last_good_at=None)}, "detector_unknown"),
        ({"detector": replace(DETECTOR, allowed_age=None)}, "detector_unknown"),
        ({"detector": replace(DETECTOR, identity=None)}, "identity_unknown"),
        ({"facts": None}, "plan_unknown"),
        ({"expected": None}, "duration_unknown"),
        ({"digest": None}, "digest_unknown"),
        ({"lock": Lock.UNKNOWN}, "lock_unknown"),
    ],
)
def test_whatever_is_not_known_holds(request_: Request, unknown: dict[str, Any], reason: str) -> None:
    assert held(replace(request_, **unknown)).reason == reason


@BOTH
def test_windows_that_nobody_asked_hold(request_: Request) -> None:
    assert held(request_, None).reason == "windows_unknown"


# ---- for all ---------------------------------------------------------------------------------------------

SUSPENDED = (Suspension(scope="*", by="eve", at=NOW, reason="Audit."),)
BLOCKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("suspended", {"suspensions": SUSPENDED}),
    ("in_review", {"in_review": "Look at it."}),
    ("detector_stale", {"health": Health.STALE}),
    ("identity_wrong", {"identity": False}),
    ("mass_deletion", {"mass_deletion": MASS}),
    ("plan_unknown", {"facts": None}),
    ("deny_window", {"ruling": FREEZE}),
    ("duration_unknown", {"expected": None}),
    ("superseded", {"state": ProposalState.SUPERSEDED}),
    ("digest_changed", {"digest": "sha256:other"}),
    ("locked", {"lock": Lock.OTHERS}),
)
"""One fact of each step that holds automatic and approved applies alike, in the order of the steps."""

PASSABLE = [name for name, _ in BLOCKS].index("duration_unknown")
OF_DETECTOR = {field.name for field in fields(Detector)}


def asked(request: Request, blocks: dict[str, Any], **more: Any) -> Admission:
    blocks = dict(blocks)
    ruling = blocks.pop("ruling", OPEN)
    if "state" in blocks:
        request = replace(request, proposal=replace(request.proposal, state=blocks.pop("state")))
    detector = {name: blocks.pop(name) for name in OF_DETECTOR & blocks.keys()}
    request = replace(request, detector=replace(request.detector, **detector), **blocks)
    return ask(request, ruling, **more)


@BOTH
def test_the_first_in_order_is_the_answer(request_: Request) -> None:
    for (first, one), (_, other) in combinations(BLOCKS, 2):
        answer = asked(request_, {**other, **one})
        assert isinstance(answer, Held)
        assert answer.reason == first


def test_who_explains_is_told_all_that_holds_and_not_only_the_first() -> None:
    request = replace(AUTOMATIC, suspensions=SUSPENDED, facts=replace(FACTS, failures=9, course=None))
    found = reasons(request, ruling=FREEZE, settings=SETTINGS, people=PEOPLE)
    assert [each.reason for each in found] == ["suspended", "not_asked_for", "breaker_open", "deny_window"]


def test_guards_come_before_windows_and_windows_before_approval() -> None:
    off = RepairSettings()
    assert held(AUTOMATIC, FREEZE, settings=off).reason == "automatic_off"
    assert held(decided(), FREEZE).reason == "deny_window"
    assert held(replace(decided(), lock=Lock.OTHERS)).reason == "not_approved"


STATEMENTS = st.none() | st.builds(
    Statement,
    by=st.builds(Actor, name=st.sampled_from([*USERS, "stranger"]), via=st.sampled_from(["slack", TERMINAL])),
    reason=st.sampled_from(["", " ", "Because."]),
)
REQUESTS = st.sampled_from([AUTOMATIC, BY_PEOPLE])


@given(
    request=REQUESTS,
    chosen=st.sets(st.integers(0, len(BLOCKS) - 1), min_size=1),
    override=STATEMENTS,
    starting=st.booleans(),
    automatic=st.booleans(),
)
def test_no_blocking_fact_is_ever_passed(
    request: Request, chosen: set[int], override: Statement | None, starting: bool, automatic: bool
) -> None:
    """Whatever else is so, and whatever anybody says: the first of them is the reason.

    But for time that nobody knows, which a person takes upon themselves who goes through the windows.
    """
    if override is not None and not request.automatic:
        chosen = chosen - {PASSABLE}
    assume(chosen)
    first = BLOCKS[min(chosen)][0]
    blocks = {key: value for place in sorted(chosen) for key, value in BLOCKS[place][1].items()}
    request = replace(request, override=override, starting=starting)
    answer = asked(request, blocks, settings=RepairSettings(automatic=automatic))
    assert isinstance(answer, Held)
    if automatic or not request.automatic or min(chosen) <= 5:
        assert answer.reason == first or (starting and answer.reason == "not_locked")


def _facts(**other: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={key: st.sampled_from(value) for key, value in other.items()})


WORLD = _facts(
    suspensions=[(), None, SUSPENDED],
    in_review=[None, "Look at it."],
    health=[*Health, None],
    last_good_at=[NOW, NOW - HOUR, NOW - 3 * HOUR, NOW + HOUR, None],
    identity=[True, False, None],
    mass_deletion=[None, MASS],
    expected=[timedelta(0), timedelta(minutes=10), 5 * HOUR, None],
    digest=[DIGEST, "sha256:other", None],
    lock=list(Lock),
    starting=[True, False],
    by=[None, *(Actor(name=name, via="slack") for name in USERS)],
    state=list(ProposalState),
    ruling=[OPEN, CLOSED, LENIENT, FREEZE, NONE, replace(OPEN, window=None), replace(OPEN, until=None), None],
)
DECISIONS = st.lists(
    st.builds(
        approval,
        st.sampled_from([*USERS, "stranger"]),
        approves=st.booleans() | st.just(value=True),
        digest=st.sampled_from([DIGEST, DIGEST, "sha256:other"]),
        at=st.sampled_from([NOW, NOW - HOUR, NOW - 30 * HOUR, NOW + HOUR]),
        via=st.sampled_from(["slack", TERMINAL]),
    ),
    max_size=4,
)
TERMS = st.builds(
    lambda automatic, needed, own: RepairSettings.model_validate(
        {"automatic": automatic, "approvals": {"needed": needed, "not_by_author": own}}
    ),
    st.booleans(),
    st.integers(1, 3),
    st.booleans(),
)


@given(request=REQUESTS, world=WORLD, decisions=DECISIONS, override=STATEMENTS, said=STATEMENTS, terms=TERMS)
def test_whatever_is_admitted_meets_every_condition(
    request: Request,
    world: dict[str, Any],
    decisions: list[Decision],
    override: Statement | None,
    said: Statement | None,
    terms: RepairSettings,
) -> None:
    """Written down a second time, as what must hold of each apply that starts."""
    request = replace(
        request,
        proposal=replace(request.proposal, decisions=tuple(decisions)),
        override=override,
        acknowledged=said,
    )
    answer = asked(request, world, settings=terms)
    assert answer.reason
    assert answer.sentence
    if isinstance(answer, Held):
        return
    ruling = world.get("ruling", OPEN)
    assert not world.get("suspensions", ())
    assert world.get("in_review") is None
    assert world.get("health", Health.FRESH) is Health.FRESH
    assert world.get("last_good_at", NOW) in (NOW, NOW - HOUR)
    assert world.get("identity", True) is True
    assert world.get("digest", DIGEST) == DIGEST
    assert world.get("state", ProposalState.PROPOSED) in APPLICABLE
    lock = world.get("lock", Lock.FREE)
    assert lock is Lock.OURS or (lock is Lock.FREE and not world.get("starting"))
    last = {each.by: each for each in sorted(decisions, key=lambda each: each.at)}
    assert all(each.approves for each in last.values())
    if request.automatic:
        assert terms.automatic
        assert ruling.allowed
        assert ruling.window
        assert world.get("mass_deletion") is None
        return
    if world.get("mass_deletion"):
        assert said is not None
        assert said.reason.strip()
    if not ruling.allowed and ruling.reason != "no_window":
        assert ruling.manual
        assert override is not None
        assert override.reason.strip()
        assert override.by.via == TERMINAL or override.by.name in ("anna", "eve")
        assert answer.reason == "overridden"
    valid = {
        each.by
        for each in last.values()
        if each.digest == DIGEST
        and NOW - 24 * HOUR < each.at <= NOW
        and (each.via == TERMINAL or each.by in ("anna", "ben", "eve"))
    }
    assert len(valid) >= terms.approvals.needed
    assert not terms.approvals.not_by_author or valid - {"cleo"}


@given(
    world=WORLD,
    trouble=_facts(
        failures=[0, 3, 9],
        applied=[(), [StackId(repository="r", path=str(number)) for number in range(6)]],
        course=[FACTS.course, None],
        failed_before=[(), {"print"}, None],
        ignored=[{}, {"a.b": ("/size",)}, None],
        findings=[FACTS.findings, (), (replace(FACTS.findings[0], returns=5),)],
    ),
    automatic=st.booleans(),
)
def test_one_more_violation_never_admits(
    world: dict[str, Any], trouble: dict[str, Any], automatic: bool
) -> None:
    """What was held stays held; and where a guard has something against it, nothing automatic passes."""
    terms = RepairSettings(automatic=automatic)
    before = asked(AUTOMATIC, world, settings=terms)
    after = asked(replace(AUTOMATIC, facts=replace(FACTS, **trouble)), world, settings=terms)
    if isinstance(before, Held):
        assert isinstance(after, Held)
    if any(trouble[key] != getattr(FACTS, key) for key in trouble):
        assert isinstance(after, Held)
    by_people = asked(replace(BY_PEOPLE, facts=replace(FACTS, automatic=False, **trouble)), world)
    assert isinstance(by_people, Held) == isinstance(asked(BY_PEOPLE, world), Held)


def pinned_elsewhere(*decisions: Decision, kind: ProposalKind, request: Request | None = None) -> Request:
    request = decided(*decisions, request=request, kind=kind)
    facts = request.facts
    assert facts is not None
    pin = Pin(stack=STACK, commit="badcafe0badcafe0", by="eve", at=NOW, reason="rolled back")
    return replace(request, pin=pin, facts=replace(facts, kind=kind))


def test_a_newer_commit_that_somebody_approved_goes_past_a_pin() -> None:
    """And nothing else does: neither what goes by itself, nor what would put the old code back."""
    assert isinstance(ask(pinned_elsewhere(approval(), kind=ProposalKind.DEPLOY)), Admitted)
    for held in (
        pinned_elsewhere(kind=ProposalKind.DEPLOY, request=AUTOMATIC),
        pinned_elsewhere(approval(), kind=ProposalKind.REVERT),
    ):
        answer = ask(held)
        assert isinstance(answer, Held)
        assert answer.reason == "pinned"
    unapproved = ask(pinned_elsewhere(kind=ProposalKind.DEPLOY))
    assert isinstance(unapproved, Held)
    assert unapproved.reason == "not_approved"


@pytest.mark.parametrize(
    ("names", "author", "authors", "held"),
    [
        ((), "Anna Example", (), False),
        (("Anna Example",), "anna  example", (), False),
        (("Anna Example",), " ANNA Example ", (), True),
        (("Anna Example", "anna@example.com"), "Ben", ("Ben", "anna@example.com"), True),
        (("Anna Example",), "Ben", ("Ben", "Carol"), False),
    ],
)
def test_an_author_is_known_by_their_names_in_git(
    names: tuple[str, ...], author: str, authors: tuple[str, ...], held: bool
) -> None:
    """Git's names are none of the configuration's: nobody would ever be their own second pair of eyes."""
    users = {
        name: settings.model_copy(update={"git": names}) if name == "anna" else settings
        for name, settings in USERS.items()
    }
    request = decided(approval("anna"), author=author, authors=authors)
    answer = ask(request, people=People.compile(users))
    assert (isinstance(answer, Held) and answer.reason == "approved_by_author") is held
