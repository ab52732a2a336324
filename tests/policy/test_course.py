"""What follows a finding: the first course that fits, and never more than its causes bear."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftwatch.config.repair import CourseSettings
from driftwatch.model import Cause, Finding, FindingKind, ProposalKind, Severity
from driftwatch.policy.course import Course, Suggestion, Then, course_of, suggested

if TYPE_CHECKING:
    from collections.abc import Callable

HAND, COMMIT, PROVIDER = Cause.OUT_OF_BAND, Cause.UNAPPLIED_COMMIT, Cause.PROVIDER_UPGRADE
STACK = "platform/envs/prod"
LABELS = {"tier": "prod"}


def rule(then: str, **more: Any) -> CourseSettings:
    return CourseSettings.model_validate({"then": then, **more})


def follows(
    finding: Finding, *rules: CourseSettings, on_drift: str = "notify", on_commit: str = "notify"
) -> Course:
    return course_of(finding, stack=STACK, labels=LABELS, on_drift=on_drift, on_commit=on_commit, rules=rules)


def proposed(
    *findings: Finding,
    rules: tuple[CourseSettings, ...] = (),
    on_drift: str = "apply",
    on_commit: str = "apply",
) -> dict[ProposalKind, Suggestion]:
    found = suggested(
        findings, stack=STACK, labels=LABELS, on_drift=on_drift, on_commit=on_commit, rules=rules
    )
    assert len({each.kind for each in found}) == len(found)
    return {each.kind: each for each in found}


# ---- one finding -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("then", list(Then))
def test_without_a_course_on_drift_says_what_follows_a_drift(
    finding: Callable[..., Finding], then: Then
) -> None:
    course = follows(finding(), on_drift=then, on_commit="notify")
    assert (course.then, course.reason) == (then, "on_drift")
    assert str(then) in course.sentence


@pytest.mark.parametrize("cause", [COMMIT, PROVIDER, Cause.INPUT_CHANGE])
def test_and_on_commit_what_follows_what_waits(finding: Callable[..., Finding], cause: Cause) -> None:
    course = follows(finding(causes=(cause,)), on_drift="notify", on_commit="apply")
    assert (course.then, course.reason) == (Then.APPLY, "on_commit")


def test_nothing_follows_unless_somebody_says_so(finding: Callable[..., Finding]) -> None:
    for causes in ((HAND,), (COMMIT,), (HAND, COMMIT), (Cause.UNDETERMINED,)):
        assert follows(finding(causes=causes)).then is Then.NOTIFY


def test_the_first_course_that_fits_counts(finding: Callable[..., Finding]) -> None:
    course = follows(
        finding(), rule("apply", kinds=["deleted"]), rule("propose"), rule("apply"), on_drift="apply"
    )
    assert (course.then, course.reason) == (Then.PROPOSE, "course")
    assert course.sentence == "Course 2 of `repair.courses` says propose."


@pytest.mark.parametrize(
    ("selects", "fits"),
    [
        ({}, True),
        ({"stacks": ["platform/*"]}, True),
        ({"stacks": [STACK]}, True),
        ({"stacks": ["other/*"]}, False),
        ({"labels": {"tier": "prod"}}, True),
        ({"labels": {"tier": "prod", "region": "eu"}}, False),
        ({"labels": {"tier": "test"}}, False),
        ({"causes": ["out_of_band"]}, True),
        ({"causes": ["out_of_band", "unapplied_commit"]}, True),
        ({"causes": ["unapplied_commit"]}, False),
        ({"kinds": ["modified", "deleted"]}, True),
        ({"kinds": ["deleted"]}, False),
        ({"severity": "medium"}, True),
        ({"severity": "high"}, False),
        ({"stacks": [STACK], "kinds": ["deleted"]}, False),
    ],
)
def test_a_course_fits_where_all_that_it_names_does(
    finding: Callable[..., Finding], selects: dict[str, Any], *, fits: bool
) -> None:
    assert (follows(finding(), rule("propose", **selects)).then is Then.PROPOSE) is fits


def test_a_course_for_drift_is_none_for_what_is_also_the_codes(finding: Callable[..., Finding]) -> None:
    """All causes must be among those that it names: the apply does the other part as well."""
    both = finding(causes=(HAND, COMMIT))
    assert follows(both, rule("propose", causes=["out_of_band"])).then is Then.NOTIFY


@pytest.mark.parametrize("kind", [FindingKind.CHECK_FAILED, FindingKind.UNMANAGED])
def test_what_no_apply_helps_is_only_told(finding: Callable[..., Finding], kind: FindingKind) -> None:
    course = follows(finding(kind=kind), rule("apply"), on_drift="apply", on_commit="apply")
    assert (course.then, course.reason) == (Then.NOTIFY, "no_apply_helps")


def test_nothing_follows_noise(finding: Callable[..., Finding]) -> None:
    noise = finding(causes=(Cause.NOISE,), counted=False)
    assert follows(noise, rule("apply"), on_drift="apply").reason == "noise"
    assert proposed(noise) == {}


@pytest.mark.parametrize("cause", [Cause.UNDETERMINED, Cause.STATE_EDIT])
def test_what_nobody_can_explain_is_never_applied_by_itself(
    finding: Callable[..., Finding], cause: Cause
) -> None:
    for rules in ((), (rule("apply"),)):
        course = follows(finding(causes=(cause,)), *rules, on_drift="apply", on_commit="apply")
        assert (course.then, course.reason) == (Then.PROPOSE, "cause_unknown")


def test_a_finding_of_both_causes_is_a_persons(finding: Callable[..., Finding]) -> None:
    course = follows(finding(causes=(HAND, COMMIT)), on_drift="apply", on_commit="apply")
    assert (course.then, course.reason) == (Then.PROPOSE, "mixed")
    assert follows(finding(causes=(HAND, COMMIT)), on_drift="apply", on_commit="notify").then is Then.NOTIFY


def test_all_that_waits_for_the_code_together_is_on_commits(finding: Callable[..., Finding]) -> None:
    waiting = finding(causes=(COMMIT, PROVIDER, Cause.INPUT_CHANGE))
    assert follows(waiting, on_drift="notify", on_commit="apply").then is Then.APPLY


def test_only_drift_can_be_adopted(finding: Callable[..., Finding]) -> None:
    assert follows(finding(), rule("adopt")).then is Then.ADOPT
    assert follows(finding(causes=(COMMIT,)), rule("adopt")).reason == "not_by_hand"
    assert follows(finding(causes=(HAND, COMMIT)), on_drift="adopt", on_commit="apply").then is Then.NOTIFY


# ---- a stack ---------------------------------------------------------------------------------------------


def test_drift_is_reverted_and_what_waits_is_deployed(finding: Callable[..., Finding]) -> None:
    drift, waiting = finding("a.a"), finding("a.b", causes=(COMMIT,))
    assert proposed(drift)[ProposalKind.REVERT].findings == (drift,)
    assert proposed(drift)[ProposalKind.REVERT].course.then is Then.APPLY
    assert set(proposed(drift)) == {ProposalKind.REVERT}
    assert set(proposed(waiting)) == {ProposalKind.DEPLOY}
    assert proposed(waiting)[ProposalKind.DEPLOY].course.then is Then.APPLY


def test_a_stack_in_sync_has_nothing_to_propose() -> None:
    assert proposed() == {}


@pytest.mark.parametrize("kind", [FindingKind.CHECK_FAILED, FindingKind.UNMANAGED])
def test_nothing_is_proposed_for_what_no_apply_helps(
    finding: Callable[..., Finding], kind: FindingKind
) -> None:
    """Nor does it keep others from being repaired: it stays, whatever is applied."""
    failing = finding("a.check", kind=kind, causes=(Cause.UNDETERMINED,))
    assert proposed(failing) == {}
    assert proposed(finding("a.a"), failing)[ProposalKind.REVERT].course.then is Then.APPLY


def test_a_mixed_stack_is_a_persons_both_ways(finding: Callable[..., Finding]) -> None:
    """Reverting would carry the commits along; deploying would put back what somebody changed."""
    found = proposed(finding("a.a"), finding("a.b", causes=(COMMIT,)))
    assert set(found) == {ProposalKind.REVERT, ProposalKind.DEPLOY}
    for each in found.values():
        assert (each.course.then, each.course.reason) == (Then.PROPOSE, "mixed")
        assert "a person decides" in each.course.sentence


def test_a_mixed_stack_is_no_more_than_told_where_no_more_is_wanted(finding: Callable[..., Finding]) -> None:
    found = proposed(finding("a.a"), finding("a.b", causes=(COMMIT,)), on_commit="notify")
    assert found[ProposalKind.DEPLOY].course.then is Then.NOTIFY
    assert found[ProposalKind.REVERT].course.then is Then.PROPOSE


def test_the_most_careful_course_counts(finding: Callable[..., Finding]) -> None:
    gone = finding("a.a", kind=FindingKind.DELETED, action="create")
    grave = finding("a.b", severity=Severity.CRITICAL)
    rules = (rule("propose", severity="critical"), rule("apply"))
    assert proposed(gone, rules=rules)[ProposalKind.REVERT].course.then is Then.APPLY
    both = proposed(gone, grave, rules=rules)[ProposalKind.REVERT]
    assert both.course.then is Then.PROPOSE
    assert both.findings == (gone, grave)


def test_what_is_to_be_adopted_is_not_put_back_with_the_rest(finding: Callable[..., Finding]) -> None:
    rules = (rule("adopt", severity="critical"), rule("apply"))
    found = proposed(finding("a.a"), finding("a.b", severity=Severity.CRITICAL), rules=rules)
    assert found[ProposalKind.REVERT].course.then is Then.ADOPT


# ---- for all ---------------------------------------------------------------------------------------------

CAUSES = st.lists(st.sampled_from(list(Cause)), min_size=1, max_size=3, unique=True).map(tuple)
WORDS = st.sampled_from(["notify", "propose", "apply", "adopt"])


@st.composite
def findings(draw: st.DrawFn) -> Finding:
    causes = draw(CAUSES)
    return Finding(
        address=draw(st.sampled_from("abc")),
        type="t",
        kind=draw(st.sampled_from(list(FindingKind))),
        action="update",
        causes=causes,
        severity=draw(st.sampled_from(list(Severity))),
        fingerprint="",
        counted=set(causes) != {Cause.NOISE},
    )


RULES = st.lists(
    st.builds(
        lambda then, causes, severity: rule(then, causes=causes, severity=severity),
        WORDS,
        st.lists(st.sampled_from([cause.value for cause in Cause if cause is not Cause.NOISE]), unique=True),
        st.sampled_from([severity.value for severity in Severity]),
    ),
    max_size=3,
).map(tuple)


@given(
    found=st.lists(findings(), max_size=5),
    rules=RULES,
    on_drift=WORDS,
    on_commit=st.sampled_from(["notify", "propose", "apply"]),
)
def test_nothing_is_applied_by_itself_but_what_is_of_one_sort_and_known(
    found: list[Finding], rules: tuple[CourseSettings, ...], on_drift: str, on_commit: str
) -> None:
    """Whatever the courses say: never both sorts at once, never beyond what each finding's own course is."""
    both = proposed(*found, rules=rules, on_drift=on_drift, on_commit=on_commit)
    for each in both.values():
        assert each.findings
        assert all(finding.counted for finding in each.findings)
        own = [follows(one, *rules, on_drift=on_drift, on_commit=on_commit) for one in each.findings]
        assert each.course.then.rank <= min(course.then.rank for course in own)
        if each.course.then is Then.APPLY:
            assert len(both) == 1
            causes = {cause for finding in each.findings for cause in finding.causes} - {Cause.NOISE}
            assert causes == {HAND} or causes <= {COMMIT, PROVIDER, Cause.INPUT_CHANGE}


def test_a_person_reads_why(finding: Callable[..., Finding]) -> None:
    for causes, then, kind in product(
        ((HAND,), (COMMIT,), (HAND, COMMIT), (Cause.UNDETERMINED,)), Then, FindingKind
    ):
        course = follows(finding(causes=causes, kind=kind), rule(then))
        assert course.sentence.endswith(".")
        assert course.reason.replace("_", "").isalpha()
