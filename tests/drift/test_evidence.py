"""Promises about causes and evidence that hold for every document, drawn at random in Terraform's shape."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from driftwatch.drift import Digester, Reading, read_plan
from driftwatch.drift.classify import is_unjudged
from driftwatch.drift.explain import explain
from driftwatch.drift.reading import waits_for_a_commit, with_commits
from driftwatch.drift.values import same
from driftwatch.model import Cause, Commit, Engine, Finding, FindingKind, InputKind, Inputs, Verdict
from tests.drift import samples
from tests.drift.test_explain import ADA

DIGEST = Digester(b"key")
SECRET = "canary-hunter2"
HAND = Cause.OUT_OF_BAND

LEAF = st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["", "a", "b"])
VALUE = st.recursive(
    LEAF,
    lambda below: st.lists(below, max_size=2) | st.dictionaries(st.sampled_from("xy"), below, max_size=2),
    max_leaves=4,
)
NAMES = ("one", "two", "tags")
OBJECT = st.fixed_dictionaries(dict.fromkeys(NAMES, VALUE))
INPUTS = st.builds(
    Inputs,
    commit=st.sampled_from(["c1", "c2"]),
    tree=st.none() | st.sampled_from(["t1", "t2"]),
    lock_file=st.none() | st.sampled_from(["l1", "l2"]),
    engine=st.none()
    | st.builds(
        Engine,
        name=st.just("terraform"),
        version=st.sampled_from(["1.11.4", "1.12.0"]),
        providers=st.dictionaries(st.just(samples.PROVIDER), st.sampled_from(["1", "2"])),
    ),
    state_serial=st.none() | st.integers(1, 2),
    variable_digests=st.none() | st.dictionaries(st.sampled_from(["team", "key"]), st.just("0")),
    read_digests=st.none() | st.dictionaries(st.just("data.thing_ami.it"), st.just("0:0")),
)


NOTHING = Inputs()


def _read(document: dict[str, Any], inputs: Inputs = NOTHING, baseline: Inputs | None = None) -> Reading:
    return read_plan(document, digest=DIGEST, inputs=inputs, baseline=baseline)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    state=OBJECT,
    moved=st.sets(st.sampled_from(NAMES)),
    actual=OBJECT,
    wanted=OBJECT,
    configured=st.sets(st.sampled_from(NAMES)),
    inputs=INPUTS,
    baseline=st.none() | INPUTS,
)
def test_what_is_the_same_before_and_after_a_refresh_was_never_changed_by_hand(
    state: dict[str, Any],
    moved: set[str],
    actual: dict[str, Any],
    wanted: dict[str, Any],
    configured: set[str],
    inputs: Inputs,
    baseline: Inputs | None,
) -> None:
    """Nor is anything said of a hand there; and what did move and is to be put back, is told."""
    actual = {name: actual[name] if name in moved else state[name] for name in NAMES}
    document = samples.plan(
        samples.change(actual, wanted),
        drift=(samples.change(state, actual),),
        configured={samples.ADDRESS: tuple(configured)},
    )

    result = _read(document, inputs, baseline)

    for finding in result.findings:
        for each in finding.attributes:
            if each.cause is HAND:
                assert not same(each.before, each.actual)
                assert each.path.split("/")[1] in moved
            assert each.also is None or (each.cause is HAND and not same(each.before, each.after))
        if not moved:
            assert "outside of Terraform" not in " ".join(explain(finding))
    if not moved:
        assert result.verdict in (Verdict.IN_SYNC, Verdict.PENDING)


def _full_of_secrets(value: str) -> dict[str, Any]:
    """A document that holds a text wherever a secret can be, marked as Terraform marks it."""
    hidden = {"sensitive_values": {"it": True}}
    document = samples.plan(
        samples.change({"it": value}, {"it": value + "!"}, before_sensitive={"it": True}),
        configured={samples.ADDRESS: ("it",)},
        outputs={"it": samples.change(value, value + "!", before_sensitive=True)["change"]},
    )
    document["variables"] = {"key": {"value": value}}
    data = {"mode": "data", "values": {"it": value, "outputs": {"it": value}}, **hidden}
    document["prior_state"]["values"]["root_module"]["resources"] += [
        {"address": address, **data} for address in ("data.thing_ami.it", "data.terraform_remote_state.it")
    ]
    root = document["configuration"]["root_module"]
    root["variables"] = {"key": {"sensitive": True}}
    root["resources"][0]["provider_config_key"] = "thing"
    root["resources"] += [
        {"address": "data.thing_ami.it", "expressions": {"filter": {"constant_value": value}}}
    ]
    block = {"region": {"constant_value": value}, "endpoint": {"references": ["var.key"]}}
    document["configuration"]["provider_config"] = {
        "thing": {"full_name": samples.PROVIDER, "expressions": block},
        "thing.west": {"full_name": samples.PROVIDER, "expressions": {**block, "token": {"a": value}}},
    }
    return document


@pytest.mark.row(68)
@settings(max_examples=100, deadline=None, derandomize=True)
@given(inputs=INPUTS, then=INPUTS)
def test_no_secret_is_in_evidence_or_sentences(inputs: Inputs, then: Inputs) -> None:
    """Row 68: whatever moved with it, a secret of variables, data, providers, outputs or attributes."""
    baseline = _read(_full_of_secrets("canary-of-yesterday"), then).inputs

    result = _read(_full_of_secrets(SECRET), inputs, baseline)

    said = repr(result) + " ".join(" ".join(explain(each)) for each in result.findings)
    assert result.findings
    assert any(each.evidence and each.evidence.movements for each in result.findings)
    assert "canary" not in said
    assert "canary" not in repr(baseline)


def test_the_place_of_a_secret_region_is_told_without_it() -> None:
    """What is nobody's secret is said, so that the test above does not pass for want of a region."""
    then, now = (_full_of_secrets(SECRET) for _ in range(2))
    for document, region in ((then, "eu-east-1"), (now, "eu-west-1")):
        document["configuration"]["provider_config"]["thing"]["expressions"]["region"] = {
            "constant_value": region
        }

    result = _read(now, Inputs(commit="2"), _read(then, Inputs(commit="1")).inputs)
    finding = next(each for each in result.findings if each.kind is FindingKind.MODIFIED)

    assert finding.evidence is not None
    (place,) = (each for each in finding.evidence.movements if each.input is InputKind.PROVIDER_CONFIGURATION)
    assert (place.before, place.after) == ("thing (eu-east-1)", "thing (eu-west-1)")


@settings(max_examples=100, deadline=None, derandomize=True)
@given(state=OBJECT, wanted=OBJECT, inputs=INPUTS, then=INPUTS)
def test_a_fingerprint_knows_nothing_of_evidence(
    state: dict[str, Any], wanted: dict[str, Any], inputs: Inputs, then: Inputs
) -> None:
    """More evidence is no news: nobody is told of the same finding again."""
    document = samples.plan(samples.change(state, wanted))

    alone, compared = _read(document, inputs), _read(document, inputs, then)

    assert [each.fingerprint for each in alone.findings] == [each.fingerprint for each in compared.findings]
    told = with_commits(compared, (ADA,))
    assert [each.fingerprint for each in told.findings] == [each.fingerprint for each in compared.findings]


def test_commits_are_evidence_where_a_commit_waits_and_nowhere_else() -> None:
    """One resource was changed by hand, another waits for a commit."""
    by_hand, waiting = "thing_a.it", "thing_b.it"
    document = samples.plan(
        samples.change({"x": 2}, {"x": 1}, address=by_hand),
        samples.change({"x": 1}, {"x": 2}, address=waiting),
        drift=(samples.change({"x": 1}, {"x": 2}, address=by_hand),),
    )
    result = _read(document, Inputs(commit="2"), Inputs(commit="1"))

    first, second = with_commits(result, (ADA,)).findings

    assert [waits_for_a_commit(each) for each in (first, second)] == [False, True]
    assert first.evidence is not None
    assert second.evidence is not None
    assert (first.evidence.commits, second.evidence.commits) == ((), (ADA,))
    assert with_commits(_read(document), (ADA,)) == _read(document)


def test_what_was_stored_before_there_was_evidence_can_be_read() -> None:
    """Rows of an earlier release lack the new fields; digests of all variables still compare."""
    old = {
        "address": "a.b",
        "type": "a",
        "kind": "modified",
        "action": "update",
        "causes": ["out_of_band"],
        "severity": "low",
        "fingerprint": "f",
        "counted": True,
        "attributes": [
            {"path": "/x", "before": 1, "actual": 2, "after": 1, "sensitive": False, "cause": "out_of_band"}
        ],
    }
    inputs = TypeAdapter(Inputs).validate_python({"commit": "c", "variables": "v", "state_serial": 3})

    assert TypeAdapter(Finding).validate_python(old).evidence is None
    assert inputs.variable_digests is None
    result = _read(samples.plan(samples.change({"x": 1}, {"x": 2})), Inputs(state_serial=3), inputs)
    assert result.findings[0].causes == (Cause.INPUT_CHANGE,)


def test_what_is_stored_is_what_was_read() -> None:
    """Evidence goes through JSON and back."""
    then = _read(_full_of_secrets("canary-of-yesterday"), Inputs(commit="1", state_serial=1))
    result = _read(_full_of_secrets(SECRET), Inputs(commit="2", state_serial=2), then.inputs)
    told = with_commits(result, (ADA, Commit(id="b" * 40, author="", at=ADA.at, subject="")))
    adapter = TypeAdapter(Reading)

    assert adapter.validate_json(adapter.dump_json(told)) == told


def _with_check(status: str, *, instances: bool) -> dict[str, Any]:
    """A document with one check block and one condition of a resource that has not been expanded yet."""
    one = {"address": {"to_display": "check.it"}, "status": status}
    checks = [
        {"address": {"kind": "check", "to_display": "check.it"}, "status": status, "instances": [one]},
        {"address": {"kind": "resource", "to_display": "a.b"}, "status": "unknown"},
    ]
    return samples.plan() | {"checks": checks if instances else checks[1:]}


def test_a_check_that_is_put_off_is_unjudged_with_all_of_its_instances() -> None:
    put_off = _read(_with_check("unknown", instances=True)).unjudged

    assert put_off == ("check_failed:check.it", "check_failed:a.b")
    assert is_unjudged("check_failed:check.it", put_off)
    assert is_unjudged('check_failed:a.b["x"]', put_off)
    assert not is_unjudged("resource:a.b", put_off)
    assert _read(_with_check("pass", instances=True)).unjudged == ("check_failed:a.b",)
    assert _read(_with_check("fail", instances=False)).findings == ()
