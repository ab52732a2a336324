"""What rules hide, what they never hide, what they make count, and what their conditions see."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.drift.fingerprint import fingerprint_of
from driftwatch.model import Cause, FindingKind, Severity, StackId, Verdict
from tests.drift.rule_samples import NOW, STACK, apply, by_code, by_hand, found, noise, one, rules, verdict

if TYPE_CHECKING:
    from driftwatch.model import AttributeChange, Finding

STAYS_NOT = [kind for kind in FindingKind if kind not in (FindingKind.MODIFIED, FindingKind.OUTPUT)]
ON, OFF = True, False
WHY = {"reason": "It is known.", "owner": "@platform"}


def ignore(**more: Any) -> dict[str, Any]:
    return {"id": "mine", **WHY, **more}


# ---- Ignore --------------------------------------------------------------------------------------------


def test_an_ignored_attribute_is_noise_and_names_its_rule() -> None:
    """A finding of which nothing is left counts no more, weighs nothing, and makes no verdict."""
    finding = found(by_hand("/tags/job", "1", "2"))
    governed = apply(rules(ignore=[ignore(attribute="/tags")]), finding)
    (result,) = governed.findings
    assert (result.attributes[0].cause, result.attributes[0].rule) == (Cause.NOISE, "mine")
    assert (result.counted, result.causes, result.severity) == (False, (Cause.NOISE,), Severity.INFO)
    assert verdict(governed) is Verdict.IN_SYNC
    assert governed.used == {"mine"}
    assert result.fingerprint == fingerprint_of(
        address=result.address, kind=result.kind, attributes=result.attributes, counted=False
    )


def test_an_attribute_rule_never_hides_another_attribute() -> None:
    port, job = by_hand("/port", 80, 22), by_hand("/tags/job", "1", "2")
    result = one(rules(ignore=[ignore(attribute="/tags/job")]), found(port, job))
    assert result.attributes[0] == port
    assert result.counted
    assert result.causes == (Cause.OUT_OF_BAND,)


@pytest.mark.parametrize(
    ("selectors", "fits"),
    [
        ({"address": "aws_instance.it"}, True),
        ({"address": "module.*"}, False),
        ({"address": ["module.*", "*.it"]}, True),
        ({"type": "aws_*"}, True),
        ({"type": "aws_instances"}, False),
        ({"stacks": ["platform/envs/*"]}, True),
        ({"stacks": ["platform/envs/prod/shop"]}, True),
        ({"stacks": ["platform/envs/test/*"]}, False),
        ({"attribute": "/tags"}, True),
        ({"attribute": "/tags/j*"}, True),
        ({"attribute": "/*/job"}, True),
        ({"attribute": "/tag"}, False),
        ({"attribute": "/tags/job/deeper"}, False),
        ({"attribute": ["/other", "/tags/job"]}, True),
        ({"type": "aws_*", "attribute": "/other"}, False),
        ({"type": "google_*", "attribute": "/tags"}, False),
    ],
)
def test_all_selectors_must_fit(selectors: dict[str, Any], fits: bool) -> None:
    governed = apply(rules(ignore=[ignore(**selectors)]), found(by_hand("/tags/job", "1", "2")))
    assert (not governed.findings[0].counted) is fits
    assert ("mine" in governed.used) is fits


@pytest.mark.parametrize(
    ("glob", "address", "fits"),
    [
        ("aws_instance.web[0]", "aws_instance.web[0]", True),
        ("aws_instance.web[0]", "aws_instance.web0", False),
        ("aws_instance.web[*]", 'aws_instance.web["a.b"]', True),
        ("module.*.aws_instance.*", 'module.a["x"].module.b.aws_instance.web', True),
        ("aws_instance.we?", "aws_instance.web", True),
        ("AWS_instance.web", "aws_instance.web", False),
    ],
)
def test_brackets_in_addresses_are_themselves(glob: str, address: str, fits: bool) -> None:
    finding = found(by_hand("/port", 1, 2), address=address)
    assert (not one(rules(ignore=[ignore(address=glob)]), finding).counted) is fits


def test_escaped_steps_are_compared_as_what_they_mean() -> None:
    finding = found(by_hand("/parameters/log~1min~0level", "a", "b"))
    assert not one(rules(ignore=[ignore(attribute="/parameters/log~1*")]), finding).counted
    assert one(rules(ignore=[ignore(attribute="/parameters/log/*")]), finding).counted


@pytest.mark.parametrize("kind", STAYS_NOT)
@pytest.mark.parametrize("attributes", [(), (by_hand("/port", 1, 2),)])
def test_a_rule_never_hides_more_than_attributes_of_what_stays(
    kind: FindingKind, attributes: tuple[AttributeChange, ...]
) -> None:
    """A deletion, a replacement, a destruction, a creation and a failing check come through untouched."""
    finding = found(*attributes, kind=kind, causes=(Cause.OUT_OF_BAND,))
    governed = apply(
        rules(ignore=[ignore(address="aws_instance.it"), ignore(id="all", stacks=["platform/*"])]), finding
    )
    (result,) = governed.findings
    assert result == replace(finding, severity=result.severity, rule=result.rule)
    assert not governed.used & {"mine", "all"}


def test_what_is_no_attribute_of_a_modified_resource_still_counts() -> None:
    """An apply would do something that no attribute explains: hiding all attributes does not hide that."""
    finding = found(by_hand("/port", 1, 2), causes=(Cause.UNAPPLIED_COMMIT,))
    result = one(rules(ignore=[ignore(type="aws_*")]), finding)
    assert (result.counted, result.causes) == (True, (Cause.UNAPPLIED_COMMIT,))


def test_a_rule_acts_until_the_end_of_its_last_day() -> None:
    finding = found(by_hand("/port", 1, 2))
    under = rules(ignore=[ignore(type="aws_*", expires="2026-11-25")])
    assert not one(under, finding, now=NOW.replace(hour=23, minute=59)).counted
    later = apply(under, finding, now=NOW + timedelta(days=1))
    assert later.findings[0].counted
    assert "mine" not in later.used


def test_rules_of_one_stack_are_not_those_of_another() -> None:
    under = rules(ignore=[ignore(stacks=["platform/envs/prod/shop"])])
    other = StackId(repository="platform", path="envs/prod/shop", workspace="blue")
    finding = found(by_hand("/port", 1, 2))
    assert not one(under, finding).counted
    assert one(under, finding, stack=other).counted


def test_an_output_may_be_ignored_as_a_whole() -> None:
    finding = found(by_code("", "a", "b"), type_="output", address="output.url", kind=FindingKind.OUTPUT)
    assert not one(rules(ignore=[ignore(address="output.url")]), finding).counted
    assert one(rules(ignore=[ignore(address="output.url", attribute="/x")]), finding).counted


def test_of_several_rules_that_fit_the_first_in_the_alphabet_is_named_and_all_are_used() -> None:
    sections = [ignore(id=name, type="aws_*") for name in ("b", "a", "c")]
    governed = apply(rules(ignore=sections), found(by_hand("/port", 1, 2)))
    assert governed.findings[0].attributes[0].rule == "a"
    assert governed.used == {"a", "b", "c"}


# ---- Conditions ----------------------------------------------------------------------------------------

HAND = by_hand("/it", "job-1", "job-22")


@pytest.mark.parametrize(
    ("when", "attribute", "holds"),
    [
        ({"equals": "job-22"}, HAND, True),
        ({"equals": "job-1"}, HAND, False),
        ({"value": "before", "equals": "job-1"}, HAND, True),
        ({"value": "from", "equals": "job-1"}, HAND, True),
        ({"value": "after", "equals": "job-1"}, HAND, True),
        ({"value": "actual", "equals": "job-22"}, HAND, True),
        ({"value": "to", "equals": "b"}, by_code("/it", "a", "b"), True),
        ({"value": "from", "equals": "a"}, by_code("/it", "a", "b"), True),
        ({"equals": 30}, by_hand("/it", 15, 30.0), True),
        ({"equals": 1}, by_hand("/it", OFF, ON), False),
        ({"equals": False}, by_hand("/it", ON, OFF), True),
        ({"equals": [1, {"a": 2}]}, by_hand("/it", [], [1, {"a": 2}]), True),
        ({"matches": "job-[0-9]+"}, HAND, True),
        ({"matches": "job"}, HAND, False),
        ({"matches": ".*"}, by_hand("/it", "a", "x" * 501), False),
        ({"matches": "3.*"}, by_hand("/it", 15, 30), False),
        ({"contains": ["b"]}, by_hand("/it", [], [{"x": ["a", "b"]}]), True),
        ({"contains": ["x"]}, by_hand("/it", [], [{"x": ["a", "b"]}]), False),
        ({"contains": [22, 80]}, by_hand("/it", 1, 22), True),
        ({"empty": True}, by_hand("/it", [1], []), True),
        ({"empty": True}, by_hand("/it", "a", ""), True),
        ({"empty": True}, by_hand("/it", 1, 0), False),
        ({"empty": False}, by_hand("/it", 1, 0), True),
        ({"gains": ["::/0"]}, by_hand("/it", [], ["::/0"]), True),
        ({"gains": ["::/0"]}, by_hand("/it", ["::/0"], ["::/0", "10.0.0.0/8"]), False),
        ({"gains": ["::/0"]}, by_code("/it", [], ["::/0"]), True),
    ],
)
def test_conditions_hold_as_they_read(when: dict[str, Any], attribute: AttributeChange, holds: bool) -> None:
    result = one(rules(ignore=[ignore(type="aws_*", when=when)]), found(attribute))
    assert (not result.counted) is holds


@pytest.mark.parametrize(
    ("cel", "holds"),
    [
        ("actual == 'job-22'", True),
        ("before.startsWith('job-') && after == before", True),
        ("actual > 5", False),
        ("actual.nothing.here == 1", False),
        ("address == 'aws_instance.it' && resource_type == 'aws_instance' && path == '/it'", True),
        ("kind == 'modified'", True),
        ("actual.matches('(job-)+[0-9]*')", True),
    ],
)
def test_conditions_in_cel(cel: str, holds: bool) -> None:
    """What cannot be evaluated on a value does not hold."""
    pytest.importorskip("cel_expr_python")
    result = one(rules(ignore=[ignore(type="aws_*", when={"cel": cel})]), found(HAND))
    assert (not result.counted) is holds


@pytest.mark.parametrize(
    "value", [2**70, "\ud800", float("inf"), [[[]]] * 3, {"a": [None, True, 1.5]}, "x" * 16000]
)
def test_no_value_makes_cel_fail(value: Any) -> None:
    pytest.importorskip("cel_expr_python")
    under = rules(ignore=[ignore(type="aws_*", when={"cel": "actual == 'x' || actual == 1"})])
    assert one(under, found(by_hand("/it", None, value))).counted


def test_cel_ends_where_it_would_take_for_ever() -> None:
    """Loops in loops over a long list, and a value nested deeper than a stack of C++ likes."""
    pytest.importorskip("cel_expr_python")
    loops = "actual.all(a, actual.all(b, actual.all(c, a + b + c >= 0)))"
    under = rules(ignore=[ignore(type="aws_*", when={"cel": loops})])
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    assert one(under, found(by_hand("/it", [], list(range(3000))))).counted
    assert one(under, found(by_hand("/it", [], deep))).counted


@pytest.mark.parametrize(
    "when",
    [
        {"equals": "sensitive:hmac-sha256:0123456789abcdef"},
        {"matches": ".*"},
        {"contains": ["sensitive:hmac-sha256:0123456789abcdef"]},
        {"empty": False},
        {"gains": ["sensitive:hmac-sha256:0123456789abcdef"]},
        {"cel": "true"},
        {"cel": "actual != 'hunter2'"},
    ],
)
@pytest.mark.parametrize("marked", [True, False])
def test_no_condition_holds_on_what_is_a_digest(when: dict[str, Any], marked: bool) -> None:
    """Also where the plan lost the mark and driftwatch found the secret in it by itself."""
    if "cel" in when:
        pytest.importorskip("cel_expr_python")
    secret = by_hand(
        "/it", ["a"], ["sensitive:hmac-sha256:0123456789abcdef"] if not marked else "b", sensitive=marked
    )
    assert one(rules(ignore=[ignore(type="aws_*", when=when)]), found(secret)).counted


def test_without_a_condition_a_sensitive_attribute_may_be_ignored() -> None:
    secret = by_hand("/password", "a", "b", sensitive=True)
    assert not one(rules(ignore=[ignore(attribute="/password")]), found(secret)).counted


# ---- Watch ---------------------------------------------------------------------------------------------


def test_a_watched_attribute_counts_though_the_code_leaves_it() -> None:
    """The classical one: it stands under ignore_changes, and somebody wants to know all the same."""
    governed = apply(
        rules(watch=[{"id": "w", "attribute": "/desired_count"}]), found(noise("/desired_count", 1, 5))
    )
    (result,) = governed.findings
    assert (result.attributes[0].cause, result.attributes[0].rule) == (Cause.OUT_OF_BAND, "w")
    assert result.counted
    assert result.severity is Severity.MEDIUM
    assert verdict(governed) is Verdict.DRIFTED
    assert governed.used == {"w"}


def test_what_did_not_move_in_the_cloud_counts_without_a_cause() -> None:
    cosmetic = replace(noise("/tags", None, None), after={})
    result = one(rules(watch=[{"id": "w", "attribute": "/tags"}]), found(cosmetic))
    assert result.causes == (Cause.UNDETERMINED,)


def test_a_watch_rule_is_stronger_than_ignore_and_noise() -> None:
    policy = by_hand("/policy", '{"a": 1}', '{"a":1}')
    under = rules(ignore=[ignore(type="aws_*")], watch=[{"id": "w", "attribute": "/policy"}])
    governed = apply(under, found(policy, by_hand("/port", 1, 2)))
    (result,) = governed.findings
    assert [(each.cause, each.rule) for each in result.attributes] == [
        (Cause.OUT_OF_BAND, "w"),
        (Cause.NOISE, "mine"),
    ]
    assert governed.used >= {"w", "mine"}


def test_watching_what_counts_changes_nothing() -> None:
    finding = found(by_hand("/port", 1, 2))
    result = one(rules(watch=[{"id": "w", "attribute": "/port"}]), finding)
    assert result.attributes == finding.attributes
    assert result.fingerprint == finding.fingerprint


def test_watching_keeps_the_cause_of_what_would_have_been_hidden() -> None:
    pending = by_code("/note", "a", "b")
    under = rules(ignore=[ignore(type="aws_*")], watch=[{"id": "w", "attribute": "/note"}])
    assert one(under, found(pending)).attributes == (replace(pending, rule="w"),)


def test_what_reading_the_plan_made_noise_keeps_no_name_of_a_rule() -> None:
    """It would be noise without the rule, too."""
    finding = found(noise("/port", 1, 2))
    governed = apply(rules(ignore=[ignore(type="aws_*")]), finding)
    assert governed.findings == (finding,)
    assert governed.used == {"mine"}


def test_the_way_a_value_moved_is_told_by_the_values_of_noise_too() -> None:
    watch = {"id": "w", "attribute": "/port"}
    assert one(rules(watch=[{**watch, "when": {"equals": 22}}]), found(noise("/port", 80, 22))).counted
    cosmetic = replace(noise("/port", None, None), after=[])
    assert one(rules(watch=[{**watch, "when": {"equals": []}}]), found(cosmetic)).counted


def test_a_resource_that_is_gone_from_both_counts_only_where_it_is_watched_as_a_whole() -> None:
    gone = found(kind=FindingKind.DELETED, action="no-op")
    assert not one(rules(watch=[{"id": "w", "attribute": "/port"}]), gone).counted
    governed = apply(rules(watch=[{"id": "w", "type": "aws_*"}]), gone)
    assert governed.findings[0].causes == (Cause.OUT_OF_BAND,)
    assert governed.findings[0].severity is Severity.HIGH
    assert governed.used >= {"w"}


# ---- Severity ------------------------------------------------------------------------------------------


def graded(finding: Finding, *own: dict[str, Any]) -> tuple[Severity, str | None]:
    result = one(rules(severity=[{"id": f"s{place}", **rule} for place, rule in enumerate(own)]), finding)
    return result.severity, result.rule


PORT = found(by_hand("/port", 80, 22))
LOUD = {"type": "aws_instance", "severity": "critical"}


def test_without_a_rule_the_kind_decides_and_no_rule_is_named() -> None:
    assert graded(PORT) == (Severity.MEDIUM, None)


def test_a_rule_of_ones_own_raises() -> None:
    assert graded(PORT, LOUD) == (Severity.CRITICAL, "s0")


def test_a_rule_of_ones_own_lowers_only_where_it_overrides() -> None:
    low = {"type": "aws_instance", "severity": "low"}
    assert graded(PORT, low) == (Severity.MEDIUM, None)
    assert graded(PORT, {**low, "override": True}) == (Severity.LOW, "s0")


def test_overriding_silences_the_shipped_rules_and_not_ones_own() -> None:
    ingress = found(by_hand("/ingress", [], [1]), type_="aws_security_group")
    info = {"type": "aws_security_group", "severity": "info", "override": True}
    assert graded(ingress) == (Severity.CRITICAL, "severity:ingress")
    assert graded(ingress, info) == (Severity.INFO, "s0")
    assert graded(ingress, info, {"attribute": "/ingress", "severity": "high"}) == (Severity.HIGH, "s1")


def test_an_attribute_that_is_lowered_does_not_lower_the_one_beside_it() -> None:
    finding = found(by_hand("/port", 80, 22), by_hand("/note", "a", "b"))
    assert graded(finding, {"attribute": "/note", "severity": "info", "override": True})[0] is Severity.MEDIUM


def test_an_attribute_rule_does_not_lower_a_replacement() -> None:
    finding = found(by_hand("/note", "a", "b"), kind=FindingKind.REPLACED, action="replace")
    assert graded(finding, {"attribute": "/note", "severity": "info", "override": True})[0] is Severity.HIGH
    assert graded(finding, {"kinds": ["replaced"], "severity": "low", "override": True})[0] is Severity.LOW


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ({"kinds": ["modified"]}, True),
        ({"kinds": ["deleted"]}, False),
        ({"causes": ["out_of_band"]}, True),
        ({"causes": ["unapplied_commit"]}, False),
        ({"attribute": "/port", "sensitive": False}, True),
        ({"attribute": "/port", "sensitive": True}, False),
        ({"when": {"equals": 22}}, True),
        ({"when": {"equals": 80}}, False),
        ({"type": "aws_*", "expires": "2026-11-24"}, False),
        ({"type": "aws_*", "stacks": ["other/*"]}, False),
    ],
)
def test_severity_rules_select_as_they_read(rule: dict[str, Any], fits: bool) -> None:
    assert (graded(PORT, {**rule, "severity": "critical"})[0] is Severity.CRITICAL) is fits


def test_a_deleted_resource_is_graded_by_rules_that_name_no_attribute() -> None:
    gone = found(kind=FindingKind.DELETED, action="create", causes=(Cause.OUT_OF_BAND,))
    assert graded(gone, LOUD)[0] is Severity.CRITICAL
    assert graded(gone, {**LOUD, "attribute": "/port"})[0] is Severity.HIGH
    assert graded(gone, {**LOUD, "when": {"empty": True}})[0] is Severity.HIGH
    assert graded(gone, {**LOUD, "causes": ["out_of_band"]})[0] is Severity.CRITICAL


def test_noise_is_not_graded() -> None:
    assert graded(found(noise("/port", 1, 2)), LOUD) == (Severity.INFO, None)


def test_a_rule_that_was_taken_out_acts_no_more() -> None:
    """Rules are applied to what reading the plan gave, so that nothing of an earlier rule stays."""
    finding = found(by_hand("/port", 1, 2))
    assert not one(rules(ignore=[ignore(type="aws_*")]), finding).counted
    assert one(rules(), finding) == finding


def test_fits_tells_what_each_rule_does_by_itself() -> None:
    finding = found(by_hand("/tags/job", "1", "2"), noise("/size", 1, 2))
    under = rules(
        ignore=[ignore(attribute="/tags"), ignore(id="size", attribute="/size")],
        watch=[{"id": "w", "attribute": ["/size", "/tags"]}],
    )
    fits = {(fit.rule, fit.path): fit.effect for fit in under.fits(finding, stack=STACK, today=None)}
    assert fits == {
        ("mine", "/tags/job"): "hides",
        ("size", "/size"): "idle",
        ("w", "/size"): "counts",
        ("w", "/tags/job"): "idle",
        ("severity:labels", "/tags/job"): "grades",
    }


def test_fits_tells_the_same_of_what_the_rule_has_done_already() -> None:
    """Stored findings have been through the rules: there, a hidden attribute names its rule."""
    under = rules(ignore=[ignore(attribute="/tags")])
    hidden = one(under, found(by_hand("/tags/job", "1", "2")))
    assert [fit.effect for fit in under.fits(hidden, stack=STACK, today=None)] == ["hides"]


def test_expired_rules_fit_only_where_no_day_is_given() -> None:
    under = rules(ignore=[ignore(attribute="/port", expires="2020-01-01")])
    assert [fit.rule for fit in under.fits(PORT, stack=STACK, today=None)] == ["mine"]
    assert list(under.fits(PORT, stack=STACK, today=NOW.date())) == []
