"""Guards: each holds what it is for, names it, and lets the rest be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftwatch.config.repair import RepairSettings
from driftwatch.drift import plan as plans
from driftwatch.drift import read_plan
from driftwatch.drift.redaction import Digester
from driftwatch.model import (
    AttributeChange,
    Cause,
    Finding,
    FindingKind,
    FindingStatus,
    Inputs,
    ProposalKind,
    StackId,
    StoredFinding,
)
from driftwatch.policy import guards
from driftwatch.policy.course import Course, Then
from driftwatch.policy.guards import (
    GUARDS,
    Facts,
    PlanFacts,
    PlannedResource,
    Repaired,
    Violation,
    facts_of,
    ignored_in,
    named,
    violations,
)
from tests.drift.samples import ADDRESS, change, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
STACK = StackId(repository="platform", path="envs/prod")
OTHERS = [StackId(repository="platform", path=f"envs/{number}") for number in range(9)]
DIGESTER = Digester(b"a key of thirty-two bytes length")
ALLOWED = RepairSettings(automatic=True)

UPDATE = PlannedResource(address=ADDRESS, type="thing_box", actions=("update",), attributes=("/size",))
REPAIRED = Repaired(
    address=ADDRESS,
    fingerprint="print",
    kind=FindingKind.MODIFIED,
    action="update",
    by_hand=True,
    attributes=frozenset({"/size"}),
    since=NOW - timedelta(hours=2),
    returns=0,
)
PLAN = PlanFacts(changes=(UPDATE,), outputs=(), known=8, mass_deletion=None, complete=True)
FACTS = Facts(
    stack=STACK,
    labels={"tier": "prod"},
    kind=ProposalKind.REVERT,
    automatic=True,
    at=NOW,
    course=Course(then=Then.APPLY, reason="on_drift", sentence="The stack's on_drift says apply."),
    plan=PLAN,
    findings=(REPAIRED,),
    following=frozenset(),
    ignored={},
    applied=(),
    failures=0,
    failed_before=(),
)


def settings(**guard: Any) -> RepairSettings:
    return RepairSettings.model_validate({"automatic": True, "guards": guard})


def planned(*changes: PlannedResource, **other: Any) -> Facts:
    return replace(FACTS, plan=replace(PLAN, changes=changes, **other))


def held(facts: Facts, terms: RepairSettings = ALLOWED) -> dict[str, Violation]:
    return {each.reason: each for each in violations(facts, terms)}


def test_a_small_repair_that_everybody_wants_is_held_by_none() -> None:
    assert held(FACTS) == {}


# ---- each by itself --------------------------------------------------------------------------------------


def test_the_switch_stops_them_all() -> None:
    violation = held(FACTS, RepairSettings())["automatic_off"]
    assert violation.sentence == "Nothing is applied without a person: `repair.automatic` is false."
    assert next(violations(FACTS, RepairSettings())) == violation


@pytest.mark.parametrize("then", [Then.NOTIFY, Then.ADOPT, Then.PROPOSE])
def test_what_nobody_wants_applied_is_not(then: Then) -> None:
    course = Course(then=then, reason="on_drift", sentence=f"The stack's on_drift says {then}.")
    violation = held(replace(FACTS, course=course))["not_asked_for"]
    assert course.sentence in violation.sentence
    assert "not_asked_for" in held(replace(FACTS, course=None))


def test_a_rollback_is_a_persons() -> None:
    assert "never_automatic" in held(replace(FACTS, kind=ProposalKind.ROLLBACK))


@pytest.mark.row(72)
@pytest.mark.parametrize(
    "actions", [("delete",), ("delete", "create"), ("create", "delete"), ("forget",), ("create", "forget")]
)
def test_nothing_is_lost_by_itself(actions: tuple[str, ...]) -> None:
    """Replacements in either order, and what the state forgets, are as good as destroyed."""
    violation = held(planned(replace(UPDATE, actions=actions)))["destroys"]
    assert ADDRESS in violation.sentence
    assert violation.guard == "allow_destroy"
    allowed = planned(replace(UPDATE, actions=actions))
    assert "destroys" not in held(allowed, settings(allow_destroy=True))


@pytest.mark.parametrize("actions", [("create",), ("update",), ("no-op",)])
def test_what_stays_is_not_lost(actions: tuple[str, ...]) -> None:
    assert "destroys" not in held(planned(replace(UPDATE, actions=actions)))


def test_a_repair_is_small() -> None:
    many = [replace(UPDATE, address=f"thing_box.a{number}") for number in range(11)]
    violation = held(planned(*many))["too_many_resources"]
    assert violation.sentence == (
        "The plan changes 11 resources, and 10 are allowed: thing_box.a0, thing_box.a1, thing_box.a10 and "
        "8 more."
    )
    assert "too_many_resources" not in held(planned(*many[:10]))
    assert "too_many_resources" in held(planned(*many[:2]), settings(max_resources=1))


def test_only_types_that_are_allowed() -> None:
    assert "type_not_allowed" in held(FACTS, settings(types=["aws_*"]))
    assert "type_not_allowed" not in held(FACTS, settings(types=["aws_*", "thing_*"]))
    assert "type_not_allowed" not in held(planned(), settings(types=["aws_*"]))


@pytest.mark.row(22)
def test_with_an_empty_state_nothing_is_built_again_by_itself() -> None:
    """The wrong state's key looks like a stack that was never applied; a person knows which it is."""
    made = replace(UPDATE, actions=("create",))
    assert "nothing_in_state" in held(planned(made, known=0))
    assert "nothing_in_state" not in held(planned(made, known=1))
    assert "nothing_in_state" not in held(planned(known=0))


# ---- only findings ---------------------------------------------------------------------------------------


def test_a_resource_that_no_finding_is_about_is_beyond() -> None:
    other = replace(UPDATE, address="thing_box.other")
    violation = held(planned(UPDATE, other))["beyond_findings"]
    assert violation.sentence == "The plan does more than repair these findings: thing_box.other."
    assert "beyond_findings" not in held(planned(UPDATE, other), settings(only_findings=False))


def test_another_attribute_of_the_same_resource_is_beyond() -> None:
    """A commit that touches the drifted resource elsewhere."""
    assert "beyond_findings" in held(planned(replace(UPDATE, attributes=("/size", "/color"))))
    below = replace(UPDATE, attributes=("/size/at/depth",))
    assert "beyond_findings" not in held(planned(below))
    assert "beyond_findings" in held(planned(replace(UPDATE, attributes=("/sizes",))))


def test_another_action_is_beyond() -> None:
    again = settings(allow_destroy=True)
    assert "beyond_findings" in held(planned(replace(UPDATE, actions=("delete", "create"))), again)
    assert "beyond_findings" in held(planned(replace(UPDATE, actions=("no-op",), importing=True)), again)


def test_a_whole_resource_that_is_made_again_is_its_finding() -> None:
    gone = replace(REPAIRED, kind=FindingKind.DELETED, action="create", attributes=None)
    made = replace(UPDATE, actions=("create",), attributes=("/id", "/size"))
    assert held(replace(planned(made), findings=(gone,))) == {}


def test_an_output_is_beyond_unless_it_follows_or_is_a_finding() -> None:
    facts = planned(UPDATE, outputs=("url",))
    assert "output.url" in held(facts)["beyond_findings"].sentence
    assert held(replace(facts, following=frozenset({"url"}))) == {}
    output = replace(REPAIRED, address="output.url", kind=FindingKind.OUTPUT)
    assert held(replace(facts, findings=(REPAIRED, output))) == {}


def test_a_new_address_comes_with_a_deployment_and_with_nothing_else() -> None:
    moved = replace(UPDATE, actions=("no-op",), attributes=(), moved=True)
    assert "beyond_findings" in held(planned(moved))
    assert "beyond_findings" in held(planned(replace(UPDATE, moved=True)))
    deploy = replace(planned(moved, replace(UPDATE, moved=True)), kind=ProposalKind.DEPLOY)
    assert "beyond_findings" not in held(deploy)


def test_without_findings_everything_is_beyond() -> None:
    assert "beyond_findings" in held(replace(FACTS, findings=()))


# ---- what is hidden --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hidden", "path", "touched"),
    [
        ("/size", "/size", True),
        ("/tags/backup:*", "/tags/backup:job", True),
        ("/tags/backup:*", "/tags/team", False),
        ("/tags", "/tags/team", True),
        ("/tags/team", "/tags", True),
        ("/*", "/size", True),
        ("/size", "/sizes", False),
        ("/a~1b", "/a~1b", True),
    ],
)
def test_what_an_ignore_rule_hides_is_left_alone(hidden: str, path: str, *, touched: bool) -> None:
    """Patterns and pointers; also where one lies below the other."""
    facts = replace(planned(replace(UPDATE, attributes=(path,))), ignored={ADDRESS: (hidden,)})
    assert ("touches_ignored" in held(facts)) is touched
    assert "touches_ignored" not in held(facts, settings(touch_ignored=True))
    elsewhere = replace(facts, ignored={"thing_box.other": (hidden,)})
    assert "touches_ignored" not in held(elsewhere)


def test_where_a_resource_is_made_nothing_hidden_is_reverted() -> None:
    facts = replace(planned(replace(UPDATE, actions=("create",))), ignored={ADDRESS: ("/size",)})
    assert "touches_ignored" not in held(facts)


def test_what_rules_hide_is_read_from_findings(finding: Callable[..., Finding]) -> None:
    def attribute(path: str, rule: str | None, cause: Cause = Cause.NOISE) -> AttributeChange:
        return AttributeChange(
            path=path, before=1, actual=2, after=1, sensitive=False, cause=cause, rule=rule
        )

    found = finding(
        attributes=(
            attribute("/mine", "mine"),
            attribute("/shipped", "noise:tags"),
            attribute("/plan", None),
            attribute("/counts", "mine", Cause.OUT_OF_BAND),
        )
    )
    assert ignored_in([found, finding("thing_box.other")], {"mine", "other"}) == {ADDRESS: {"/mine"}}
    assert ignored_in([found], set()) == {}


# ---- time and number -------------------------------------------------------------------------------------


@pytest.mark.parametrize("minutes", [0, 1, 29])
def test_a_fresh_change_by_hand_is_left_alone(minutes: int) -> None:
    since = NOW - timedelta(minutes=minutes)
    violation = held(replace(FACTS, findings=(replace(REPAIRED, since=since),)))["too_young"]
    assert violation.until == since + timedelta(minutes=30)
    assert ADDRESS in violation.sentence


def test_an_old_one_is_not_and_what_waits_for_code_never_is() -> None:
    exactly = replace(REPAIRED, since=NOW - timedelta(minutes=30))
    assert held(replace(FACTS, findings=(exactly,))) == {}
    waiting = replace(REPAIRED, since=NOW, by_hand=False)
    assert held(replace(FACTS, findings=(waiting,))) == {}
    assert held(replace(FACTS, findings=(replace(REPAIRED, since=NOW),)), settings(grace="0s")) == {}


def test_the_youngest_says_until_when() -> None:
    ages = (5, 20, 50)
    several = tuple(replace(REPAIRED, address=f"a.{age}", since=NOW - timedelta(minutes=age)) for age in ages)
    violation = held(replace(FACTS, findings=several))["too_young"]
    assert violation.until == NOW + timedelta(minutes=25)
    assert "a.20 and a.5 differs" in violation.sentence


def test_a_clock_that_was_put_back_lets_nothing_through() -> None:
    ahead = replace(REPAIRED, since=NOW + timedelta(days=1))
    assert "too_young" in held(replace(FACTS, findings=(ahead,)))


@pytest.mark.row(71)
def test_what_failed_is_not_done_again_blindly() -> None:
    """Another commit, or another difference, is another matter."""
    violation = held(replace(FACTS, failed_before={"print", "other"}))["failed_before"]
    assert violation.sentence == (
        f"An apply failed that was to repair {ADDRESS}: a person looks at it first."
    )
    assert held(replace(FACTS, failed_before={"other"})) == {}


@pytest.mark.row(70)
def test_what_fights_back_is_named_and_left() -> None:
    for number in (0, 2):
        assert held(replace(FACTS, findings=(replace(REPAIRED, returns=number),))) == {}
    violation = held(replace(FACTS, findings=(replace(REPAIRED, returns=3),)))["fights_back"]
    assert violation.sentence == f"Something fights back: {ADDRESS} came back 3 times within 1d."
    earlier = {ADDRESS: [9, 7], "other.x": [8]}
    facts = replace(FACTS, findings=(replace(REPAIRED, returns=3),), repaired_by=earlier)
    assert held(facts)["fights_back"].sentence.endswith("It was repaired by proposal 7 and proposal 9.")
    restless = replace(REPAIRED, restless=True)
    assert "again and again" in held(replace(FACTS, findings=(restless,)))["fights_back"].sentence


def test_failures_in_the_fleet_stop_all() -> None:
    assert held(replace(FACTS, failures=2)) == {}
    assert "breaker_open" in held(replace(FACTS, failures=3))
    assert "breaker_open" in held(replace(FACTS, failures=1), settings(breaker_failures=1))


def test_a_window_has_room_for_so_many_stacks() -> None:
    assert held(replace(FACTS, applied=OTHERS[:4])) == {}
    assert held(replace(FACTS, applied=[*OTHERS[:4], STACK])) == {}
    violation = held(replace(FACTS, applied=OTHERS[:5]))["budget_spent"]
    assert violation.sentence == "5 other stacks were applied in this window, and 5 are allowed."


# ---- conditions ------------------------------------------------------------------------------------------


def test_conditions_hold_people_too_and_the_other_guards_do_not() -> None:
    pytest.importorskip("cel_expr_python")
    mine = RepairSettings.model_validate(
        {
            "conditions": [
                {"name": "small", "cel": "size(resources) < 5", "says": "Too many."},
                {"name": "no-boxes", "cel": "!automatic && kind == 'deploy'", "says": "Boxes are by hand."},
                {"name": "never", "cel": "false", "says": "Never."},
            ]
        }
    )
    by_people = replace(planned(replace(UPDATE, actions=("delete",))), automatic=False)
    (violation,) = violations(by_people, mine)
    assert violation.reason == "condition_not_met"
    assert violation.guard == "conditions.no-boxes"
    assert violation.sentence == "Condition no-boxes is not met: Boxes are by hand."
    assert "automatic_off" in held(FACTS, mine)
    assert list(violations(by_people, RepairSettings())) == []


def test_a_condition_sees_resources_stack_and_labels() -> None:
    pytest.importorskip("cel_expr_python")
    cel = (
        "resources.all(r, r.address == 'thing_box.it' && r.type == 'thing_box' && r.actions == ['update']) "
        "&& size(resources) == 1 && stack == 'platform/envs/prod' && labels.tier == 'prod' && automatic"
    )
    mine = RepairSettings.model_validate(
        {"automatic": True, "conditions": [{"name": "all", "cel": cel, "says": "No."}]}
    )
    assert held(FACTS, mine) == {}
    assert "condition_not_met" in held(replace(FACTS, labels={}), mine)


# ---- what is not known -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unknown", "reason"),
    [
        ({"failures": None}, "breaker_failures_unknown"),
        ({"applied": None}, "stacks_per_window_unknown"),
        ({"ignored": None}, "touch_ignored_unknown"),
        ({"failed_before": None}, "retry_unknown"),
        ({"findings": (replace(REPAIRED, since=None),)}, "grace_unknown"),
        ({"findings": (replace(REPAIRED, returns=None),)}, "returns_unknown"),
        ({"course": None}, "not_asked_for"),
    ],
)
def test_what_is_not_known_holds(unknown: dict[str, Any], reason: str) -> None:
    assert list(held(replace(FACTS, **unknown))) == [reason]


# ---- from real values ------------------------------------------------------------------------------------


def test_a_plan_is_read_as_what_it_does() -> None:
    """Nothing of what stays; nothing of what a provider computes anew by itself."""
    document = plan(
        change({"size": 1, "etag": "a"}, {"size": 2}, unknown={"etag": True, "link": True}),
        change({"x": 1}, {"x": 1}, actions=("no-op",), address="thing_box.calm"),
        change({"x": 1}, {"x": 1}, actions=("no-op",), address="thing_box.found", importing={"id": "i"}),
        {**change({"x": 1}, None, actions=("delete",), address="thing_box.gone"), "deposed": "cafe"},
        {
            **change({}, {}, actions=("no-op",), address="thing_box.here"),
            "previous_address": "thing_box.there",
        },
        drift=(change({"x": 1}, None, actions=("delete",), address="thing_box.lost"),),
        outputs={"b": {"actions": ["create"]}, "a": {"actions": ["update"]}, "c": {"actions": ["no-op"]}},
        configured={ADDRESS: ("size", "link")},
    )
    facts = facts_of(plans.read(document), mass_deletion="much is gone")
    assert facts.changes == (
        PlannedResource(
            address=ADDRESS, type="thing_box", actions=("update",), attributes=("/link", "/size")
        ),
        PlannedResource(address="thing_box.found", type="thing_box", actions=("no-op",), importing=True),
        PlannedResource(
            address="thing_box.gone (deposed cafe)", type="thing_box", actions=("delete",), attributes=("/x",)
        ),
        PlannedResource(address="thing_box.here", type="thing_box", actions=("no-op",), moved=True),
    )
    assert facts.outputs == ("a", "b")
    assert (facts.known, facts.mass_deletion, facts.complete) == (6, "much is gone", True)
    assert [each.action for each in facts.changes] == ["update", "import", "delete", "no-op"]


def stored(found: Finding, **life: Any) -> StoredFinding:
    times: dict[str, Any] = {"first_seen": NOW - timedelta(days=9), "last_seen": NOW, **life}
    return StoredFinding(id=1, stack=STACK, status=FindingStatus.OPEN, finding=found, **times)


def test_a_finding_is_as_old_as_what_last_became_of_it(finding: Callable[..., Finding]) -> None:
    came, changed = NOW - timedelta(hours=3), NOW - timedelta(minutes=3)
    found = stored(finding(), opened_at=came)
    assert Repaired.of(found, ProposalKind.REVERT, returns=0).since == came
    assert Repaired.of(found, ProposalKind.REVERT, returns=0, changed_at=changed).since == changed
    assert Repaired.of(stored(finding()), ProposalKind.REVERT, returns=0).since == NOW - timedelta(days=9)
    restless = stored(finding(), flapping_since=NOW)
    assert Repaired.of(restless, ProposalKind.REVERT, returns=None).restless
    assert Repaired.of(restless, ProposalKind.REVERT, returns=None).returns is None


def test_to_revert_is_to_put_back_what_was_changed_by_hand_and_no_more(
    finding: Callable[..., Finding],
) -> None:
    def attribute(path: str, cause: Cause, *, after: int = 1, also: Cause | None = None) -> AttributeChange:
        return AttributeChange(
            path=path, before=1, actual=2, after=after, sensitive=False, cause=cause, also=also
        )

    found = finding(
        causes=(Cause.OUT_OF_BAND, Cause.UNAPPLIED_COMMIT),
        attributes=(
            attribute("/by_hand", Cause.OUT_OF_BAND),
            attribute("/by_code", Cause.UNAPPLIED_COMMIT),
            attribute("/by_both", Cause.OUT_OF_BAND, also=Cause.UNAPPLIED_COMMIT),
            attribute("/follows", Cause.NOISE),
            attribute("/stays", Cause.NOISE, after=2),
        ),
    )
    revert = Repaired.of(stored(found), ProposalKind.REVERT, returns=0)
    assert revert.attributes == {"/by_hand", "/follows"}
    deploy = Repaired.of(stored(found), ProposalKind.DEPLOY, returns=0)
    assert deploy.attributes == {each.path for each in found.attributes}
    gone = finding(kind=FindingKind.DELETED, action="create")
    assert Repaired.of(stored(gone), ProposalKind.REVERT, returns=0).attributes is None
    whole = finding()
    assert Repaired.of(stored(whole), ProposalKind.REVERT, returns=0).attributes is None
    by_hand = finding(kind=FindingKind.REPLACED, attributes=(attribute("/by_hand", Cause.OUT_OF_BAND),))
    assert Repaired.of(stored(by_hand), ProposalKind.REVERT, returns=0).attributes is None
    assert Repaired.of(stored(by_hand), ProposalKind.REVERT, returns=0).by_hand
    waiting = finding(causes=(Cause.UNAPPLIED_COMMIT,))
    assert not Repaired.of(stored(waiting), ProposalKind.DEPLOY, returns=0).by_hand
    replaced = finding(kind=FindingKind.REPLACED, causes=(Cause.OUT_OF_BAND, Cause.UNAPPLIED_COMMIT))
    assert Repaired.of(stored(replaced), ProposalKind.REVERT, returns=0).attributes == frozenset()


def test_the_repair_of_a_real_drift_is_held_by_none_and_with_a_commit_by_one(
    corpus_documents: Mapping[str, Any],
) -> None:
    """Findings as a check reads them from real documents, and the plan as an apply would do it."""

    def outcome(name: str) -> dict[str, Violation]:
        document = corpus_documents[name]
        reading = read_plan(document, digest=DIGESTER, inputs=Inputs(), baseline=None)
        by_hand = [each for each in reading.findings if Cause.OUT_OF_BAND in each.causes]
        facts = replace(
            FACTS,
            plan=facts_of(plans.read(document), mass_deletion=None),
            findings=tuple(Repaired.of(stored(each), ProposalKind.REVERT, returns=0) for each in by_hand),
            ignored=ignored_in(reading.findings, ()),
        )
        assert facts.plan.changes
        return held(facts)

    for name in ("delete", "nested_set_block", "sensitive_value"):
        assert outcome(name) == {}, name
    assert list(outcome("drift_and_pending")) == ["beyond_findings"]


# ---- for all ---------------------------------------------------------------------------------------------

TROUBLES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("never_automatic", {"kind": ProposalKind.ROLLBACK}),
    ("breaker_open", {"failures": 9}),
    ("budget_spent", {"applied": OTHERS}),
    ("failed_before", {"failed_before": {"print"}}),
    ("fights_back", {"findings": (replace(REPAIRED, returns=9),)}),
    ("beyond_findings", {"following": frozenset(), "plan": replace(PLAN, outputs=("x",))}),
    ("touches_ignored", {"ignored": {ADDRESS: ("/size",)}}),
)


def test_guards_are_asked_in_their_order_and_all_are_told() -> None:
    for (first, one), (second, other) in combinations(TROUBLES, 2):
        assert [each.reason for each in violations(replace(FACTS, **one, **other), ALLOWED)] == [
            first,
            second,
        ]


def test_the_first_ones_are_about_all_applies() -> None:
    assert GUARDS[:3] == (guards.automatic, guards.asked_for, guards.breaker)
    assert len(set(GUARDS)) == len(GUARDS)


CHANGES = st.lists(
    st.builds(
        PlannedResource,
        address=st.sampled_from([ADDRESS, "thing_box.b", "aws_db.c"]),
        type=st.sampled_from(["thing_box", "aws_db"]),
        actions=st.sampled_from(
            [("create",), ("update",), ("delete",), ("delete", "create"), ("forget",), ("no-op",)]
        ),
        attributes=st.lists(st.sampled_from(["/size", "/color", "/tags/a"]), unique=True).map(tuple),
        moved=st.booleans(),
    ),
    max_size=12,
).map(tuple)


@given(
    changes=CHANGES,
    more=CHANGES,
    terms=st.sampled_from([ALLOWED, settings(max_resources=1), settings(types=["aws_*"])]),
)
def test_a_plan_that_does_more_is_held_by_no_fewer(
    changes: tuple[PlannedResource, ...], more: tuple[PlannedResource, ...], terms: RepairSettings
) -> None:
    fewer = held(planned(*changes), terms)
    assert fewer.keys() <= held(planned(*changes, *more), terms).keys()


@given(changes=CHANGES)
def test_what_no_guard_holds_changes_only_what_is_repaired(changes: tuple[PlannedResource, ...]) -> None:
    if not held(planned(*changes)):
        assert all(each.address == ADDRESS and each.actions == ("update",) for each in changes)
        assert {path for each in changes for path in each.attributes} <= {"/size"}


@given(names=st.lists(st.text(max_size=300), min_size=1, max_size=20))
def test_a_sentence_names_some_and_counts_the_rest(names: list[str]) -> None:
    text = named(names)
    distinct = len(set(names))
    assert len(text) <= 3 * 120 + 40
    assert (f"{distinct - 3} more" in text) == (distinct > 3) or any("more" in name for name in names)


def test_it_is_said_as_people_say_it() -> None:
    assert named(["b"]) == "b"
    assert named(["b", "a", "b"]) == "a and b"
    assert named("dcba") == "a, b, c and 1 more"
    assert named(["x" * 200]) == "x" * 119 + "…"
    assert named(["x" * 120]) == "x" * 120


def test_outputs_alone_are_something_to_apply() -> None:
    assert replace(PLAN, changes=()).is_empty
    assert not replace(PLAN, changes=(), outputs=("url",)).is_empty
    assert not PLAN.is_empty


def test_what_did_not_fit_into_an_opening_waits_for_the_next() -> None:
    others = [StackId(repository="platform", path=f"s{number}") for number in range(9)]
    opens = NOW + timedelta(hours=20)
    violation = held(replace(FACTS, applied=others, opens_next=opens))["budget_spent"]
    assert violation.until == opens
    assert violation.sentence.endswith("It waits for the next opening.")
    assert held(replace(FACTS, applied=others))["budget_spent"].until is None
