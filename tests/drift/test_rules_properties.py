"""What holds for any rules and any findings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from driftwatch.config.rule_files import shipped
from driftwatch.config.rules import RulesSettings
from driftwatch.drift.rules import Rules
from driftwatch.model import AttributeChange, Cause, Finding, FindingKind, Severity
from tests.drift.rule_samples import STACK, apply, found

SETTINGS = settings(max_examples=200, deadline=None, derandomize=True)
DIGEST = "sensitive:hmac-sha256:0123456789abcdef"

PATHS = st.sampled_from(
    ["/a", "/tags/x", "/tags/y", "/policy", "/ingress", "/version", "/desired_capacity", ""]
)
POINTERS = st.sampled_from(["/a", "/tags", "/tags/x", "/*/x", "/polic?", "/ingress", "/version"])
TYPES = st.sampled_from(
    ["aws_thing", "aws_security_group", "aws_ssm_parameter", "aws_autoscaling_group", "output"]
)
TEXTS = st.sampled_from(["", "x", "0.0.0.0/0", '{"Statement": []}', '{"Statement":[]}', DIGEST, "Suspended"])
VALUES = st.one_of(st.none(), st.booleans(), st.integers(0, 3), TEXTS, st.lists(TEXTS, max_size=3))


@st.composite
def attributes(draw: st.DrawFn) -> AttributeChange:
    return AttributeChange(
        path=draw(PATHS),
        before=draw(VALUES),
        actual=draw(VALUES),
        after=draw(VALUES),
        sensitive=draw(st.booleans()),
        cause=draw(st.sampled_from(Cause)),
    )


@st.composite
def findings(draw: st.DrawFn) -> Finding:
    changes = draw(st.lists(attributes(), max_size=4, unique_by=lambda change: change.path))
    whole = draw(st.lists(st.sampled_from(Cause), max_size=1))
    return found(
        *changes,
        type_=draw(TYPES),
        kind=draw(st.sampled_from(FindingKind)),
        action=draw(st.sampled_from(["update", "replace", "forget", "create", "no-op"])),
        causes=tuple(whole),
    )


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    test = draw(
        st.sampled_from(
            [
                {"equals": "x"},
                {"equals": DIGEST},
                {"matches": ".*"},
                {"contains": ["x", DIGEST]},
                {"empty": True},
                {"empty": False},
                {"gains": ["0.0.0.0/0", DIGEST]},
                {"widens": ["action"]},
            ]
        )
    )
    if {"gains", "widens"} & test.keys():
        return test
    return {**test, "value": draw(st.sampled_from(["before", "actual", "after", "from", "to"]))}


def of(sort: str, *, conditional: bool = False) -> st.SearchStrategy[dict[str, Any]]:
    always: dict[str, Any] = {"id": st.text("abcdef", min_size=6, max_size=6)}
    if sort == "ignore":
        always |= {"reason": st.just("r"), "owner": st.just("o")}
    if sort == "severity":
        always |= {"severity": st.sampled_from(list(map(str, Severity))), "override": st.booleans()}
    if conditional:
        always["when"] = conditions()
    narrow = st.fixed_dictionaries(
        {**always, "type": TYPES},
        optional={} if conditional else {"attribute": POINTERS, "when": conditions()},
    )
    by_path = st.fixed_dictionaries({**always, "attribute": POINTERS})
    return st.one_of(narrow, by_path)


@st.composite
def sections(draw: st.DrawFn, sorts: tuple[str, ...] = ("ignore", "watch", "severity")) -> dict[str, Any]:
    drawn: dict[str, Any] = {"noise": {"autoscaling": draw(st.booleans())}}
    taken: set[str] = set()
    for sort in sorts:
        some = draw(st.lists(of(sort), max_size=4))
        drawn[sort] = [rule for rule in some if not (rule["id"] in taken or taken.add(rule["id"]))]
    return drawn


def compiled(words: dict[str, Any]) -> Rules:
    return Rules.compile(RulesSettings.model_validate(words), shipped())


@SETTINGS
@given(sections(), findings())
def test_no_rule_hides_what_is_gone_replaced_created_or_failed(
    words: dict[str, Any], finding: Finding
) -> None:
    (after,) = apply(compiled(words), finding).findings
    if finding.kind not in (FindingKind.MODIFIED, FindingKind.OUTPUT):
        assert after.counted >= finding.counted
        assert set(after.causes) >= set(finding.causes) - {Cause.NOISE}
        for was, now in zip(finding.attributes, after.attributes, strict=True):
            assert was.cause is Cause.NOISE or now == was


@SETTINGS
@given(sections(), st.lists(findings(), max_size=3))
def test_applying_again_changes_nothing(words: dict[str, Any], several: list[Finding]) -> None:
    under = compiled(words)
    once = apply(under, *several)
    assert apply(under, *once.findings).findings == once.findings


@SETTINGS
@given(sections(), findings(), st.randoms(use_true_random=False))
def test_the_order_of_rules_means_nothing(words: dict[str, Any], finding: Finding, random: Any) -> None:
    shuffled = {
        sort: random.sample(rules, len(rules)) if isinstance(rules, list) else rules
        for sort, rules in words.items()
    }
    assert apply(compiled(words), finding) == apply(compiled(shuffled), finding)


@SETTINGS
@given(sections(), findings())
def test_what_no_rule_fits_is_unchanged(words: dict[str, Any], finding: Finding) -> None:
    """All but the severity: also values, paths, order, and where nothing changed, the fingerprint."""
    under = compiled(words)
    governed = apply(under, finding)
    (after,) = governed.findings
    acted = {fit.path for fit in under.fits(finding, stack=STACK, today=None) if fit.effect != "grades"}
    for was, now in zip(finding.attributes, after.attributes, strict=True):
        assert now == was or was.path in acted
        assert replace(now, cause=was.cause, rule=was.rule) == was
    if not acted:
        assert replace(after, severity=finding.severity, rule=None) == finding


@SETTINGS
@given(sections(("ignore", "severity")), findings())
def test_without_a_watch_rule_nothing_begins_to_count(words: dict[str, Any], finding: Finding) -> None:
    (after,) = apply(compiled(words), finding).findings
    assert after.counted <= finding.counted
    assert set(after.causes) - {Cause.NOISE} <= set(finding.causes)
    assert (after.severity is Severity.INFO) or after.counted


@SETTINGS
@given(
    st.lists(of("ignore", conditional=True), max_size=3, unique_by=lambda rule: rule["id"]),
    findings(),
    VALUES,
    VALUES,
)
def test_conditions_never_see_a_sensitive_value(
    ignore: list[dict[str, Any]], finding: Finding, one: Any, other: Any
) -> None:
    """Whatever the secrets are, rules with conditions do the same, and nothing to them."""
    under = compiled({"ignore": ignore})

    def holding(value: Any) -> Finding:
        secret = [
            replace(each, sensitive=True, before=value, actual=value, after=value)
            for each in finding.attributes
        ]
        return replace(finding, attributes=tuple(secret))

    def causes(value: Any) -> list[tuple[Cause, bool]]:
        (after,) = apply(under, holding(value)).findings
        return [(each.cause, each.rule in {rule["id"] for rule in ignore}) for each in after.attributes]

    assert not any(by_rule for _, by_rule in causes(one))
    assert causes(one) == causes(other)


@SETTINGS
@given(sections(), findings())
def test_a_finding_counts_exactly_while_anything_in_it_does(words: dict[str, Any], finding: Finding) -> None:
    (after,) = apply(compiled(words), finding).findings
    assert after.counted == (after.causes != (Cause.NOISE,))
    assert {each.cause for each in after.attributes} - {Cause.NOISE} <= set(after.causes)
    assert (Cause.NOISE in after.causes) == (not after.counted)
