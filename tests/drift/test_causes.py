"""Why the code wants something else than the cloud has, when nobody changed the cloud."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from driftwatch.drift.causes import KEPT_MOVEMENTS, Comparison
from driftwatch.model import Cause, Engine, Evidence, InputKind, Inputs, ProviderConfiguration

AWS, GOOGLE = "registry.example.test/hashicorp/aws", "registry.example.test/hashicorp/google"
REMOTE = "data.terraform_remote_state.net.outputs"
BASELINE = Inputs(
    commit="c1",
    tree="t1",
    lock_file="l1",
    engine=Engine(name="terraform", version="1.11.4", providers={AWS: "5.0.0", GOOGLE: "6.0.0"}),
    variables="v1",
    data_reads="d1",
    state_lineage="s",
    state_serial=7,
)
UPGRADED = Engine(name="terraform", version="1.11.4", providers={AWS: "5.1.0", GOOGLE: "6.0.0"})


def _cause(inputs: Inputs, baseline: Inputs | None = BASELINE, **where: Any) -> Cause:
    return Comparison(inputs, baseline).cause(AWS, **where)


@pytest.mark.parametrize(
    ("moved", "cause"),
    [
        ({}, Cause.UNDETERMINED),
        ({"tree": "t2", "commit": "c2"}, Cause.UNAPPLIED_COMMIT),
        ({"commit": "c2"}, Cause.UNDETERMINED),
        ({"commit": "c2", "tree": None}, Cause.UNAPPLIED_COMMIT),
        ({"engine": UPGRADED}, Cause.PROVIDER_UPGRADE),
        ({"lock_file": "l2", "engine": None}, Cause.PROVIDER_UPGRADE),
        ({"lock_file": "l2"}, Cause.UNDETERMINED),
        ({"variables": "v2"}, Cause.INPUT_CHANGE),
        ({"data_reads": "d2"}, Cause.INPUT_CHANGE),
        ({"state_serial": 8}, Cause.STATE_EDIT),
        ({"state_lineage": "other"}, Cause.STATE_EDIT),
        ({"tree": "t2", "variables": "v2", "state_serial": 8}, Cause.UNAPPLIED_COMMIT),
        ({"variables": "v2", "state_serial": 8}, Cause.INPUT_CHANGE),
        ({"engine": UPGRADED, "variables": "v2"}, Cause.PROVIDER_UPGRADE),
    ],
)
def test_what_moved_since_the_stack_was_in_sync_is_the_cause(moved: dict[str, object], cause: Cause) -> None:
    """A commit elsewhere in a monorepo leaves the tree; a lock file may move for another provider."""
    assert _cause(replace(BASELINE, **moved)) is cause


def test_an_upgrade_that_was_committed_explains_what_the_code_does_not_say() -> None:
    """A lock file lies in the tree: what the code sets was changed by the commit, the rest was not."""
    both = replace(BASELINE, tree="t2", lock_file="l2", engine=UPGRADED)

    assert _cause(both, configured=True) is Cause.UNAPPLIED_COMMIT
    assert _cause(both, configured=False) is Cause.PROVIDER_UPGRADE


def test_what_reads_no_input_does_not_differ_because_of_one() -> None:
    moved = replace(BASELINE, data_reads="d2", state_serial=8)

    assert _cause(moved) is Cause.INPUT_CHANGE
    assert _cause(moved, references=frozenset()) is Cause.STATE_EDIT


KNOWN = replace(
    BASELINE,
    variable_digests={"team": "1", "size": "1"},
    read_digests={"data.ami.it": "a:1", "module.m.data.ami.it": "a:1", f"{REMOTE}.subnet": "r:1"},
)
TEAM = {"variables": "v2", "variable_digests": {"team": "2", "size": "1"}}
IMAGE = {
    "data_reads": "d2",
    "read_digests": {"data.ami.it": "a:2", "module.m.data.ami.it": "a:1", f"{REMOTE}.subnet": "r:1"},
}
OTHER_IMAGE = {**IMAGE, "read_digests": {**IMAGE["read_digests"], "data.ami.it": "b:2"}}
SUBNET = {"data_reads": "d2", "read_digests": {**KNOWN.read_digests, f"{REMOTE}.subnet": "r:2"}}


@pytest.mark.parametrize(
    ("moved", "references", "moves_it"),
    [
        (TEAM, {"var.team"}, True),
        (TEAM, {"var.team[0]", "var.team"}, True),
        (TEAM, {"var.size"}, False),
        (TEAM, {"var.size", "path.module"}, False),
        (TEAM, {"var.size", "local.it"}, True),
        (TEAM, {"thing_box.other.id", "thing_box.other"}, True),
        (IMAGE, {"data.ami.it.id", "data.ami.it"}, True),
        (IMAGE, {"data.ami.item.id", "data.ami.item"}, False),
        (IMAGE, {"var.team"}, False),
        (SUBNET, {f"{REMOTE}.subnet", REMOTE, "data.terraform_remote_state.net"}, True),
        (SUBNET, {f"{REMOTE}.zone", REMOTE, "data.terraform_remote_state.net"}, False),
        (SUBNET, {REMOTE, "data.terraform_remote_state.net"}, True),
        ({"variables": "v2", "variable_digests": None}, {"var.size"}, True),
    ],
)
def test_only_an_input_that_an_attribute_can_have_read_is_its_cause(
    moved: dict[str, Any], references: set[str], moves_it: bool
) -> None:
    """What is hidden behind a local or another resource may be anything; so is what is not told apart."""
    now = replace(KNOWN, state_serial=8, **moved)

    cause = Comparison(now, KNOWN).cause(AWS, references=frozenset(references))

    assert cause is (Cause.INPUT_CHANGE if moves_it else Cause.STATE_EDIT)


@pytest.mark.parametrize(
    ("references", "cause"),
    [
        ({"var.team"}, Cause.INPUT_CHANGE),
        ({"var.size"}, Cause.PROVIDER_UPGRADE),
        ({"local.it"}, Cause.PROVIDER_UPGRADE),
        (set(), Cause.PROVIDER_UPGRADE),
        (None, Cause.PROVIDER_UPGRADE),
    ],
)
def test_an_upgrade_does_not_explain_what_the_code_takes_from_an_input_that_moved(
    references: set[str] | None, cause: Cause
) -> None:
    """Where the input is named; what is hidden is more likely the provider's doing."""
    now = replace(KNOWN, engine=UPGRADED, **TEAM)
    named = None if references is None else frozenset(references)

    assert Comparison(now, KNOWN).cause(AWS, references=named) is cause
    assert Comparison(now, KNOWN).cause(AWS, references=named, configured=False) is Cause.PROVIDER_UPGRADE


def test_a_modules_variable_may_hide_any_input() -> None:
    now = replace(KNOWN, state_serial=8, **TEAM)

    cause = Comparison(now, KNOWN).cause(AWS, references=frozenset({"var.size"}), module="module.m.")

    assert cause is Cause.INPUT_CHANGE


@pytest.mark.parametrize(
    ("moved", "module", "says", "cause"),
    [
        (IMAGE, "", True, Cause.INPUT_CHANGE),
        (IMAGE, "", False, Cause.UNAPPLIED_COMMIT),
        (IMAGE, "module.m.", True, Cause.UNAPPLIED_COMMIT),
        (OTHER_IMAGE, "", True, Cause.UNAPPLIED_COMMIT),
        (TEAM, "", True, Cause.UNAPPLIED_COMMIT),
    ],
)
def test_beside_a_commit_only_a_new_answer_to_the_same_question_explains(
    moved: dict[str, Any], module: str, says: bool, cause: Cause
) -> None:
    """Where the commit asks for something else, the new answer is the commit's."""
    found = Comparison(replace(KNOWN, tree="t2", **moved), KNOWN).cause(
        AWS, references=frozenset({"data.ami.it.id", "data.ami.it"}), module=module, says=lambda _reads: says
    )

    assert found is cause


def _placed(**configurations: ProviderConfiguration) -> Inputs:
    return replace(
        BASELINE,
        provider_configurations={name.replace("__", "."): one for name, one in configurations.items()},
    )


EAST = ProviderConfiguration(source=AWS, digest="east", region="eu-east-1")
WEST = ProviderConfiguration(source=AWS, digest="west", region="eu-west-1", resources=("aws_a.it",))
HIDDEN = replace(EAST, digest="?", opaque=True)


@pytest.mark.parametrize(
    ("then", "now", "moved"),
    [
        (_placed(aws=EAST), _placed(aws=EAST), False),
        (_placed(aws=EAST), _placed(aws=replace(EAST, digest="south")), True),
        (_placed(aws=EAST), _placed(aws=EAST, aws__west=WEST), True),
        (_placed(aws=EAST), _placed(aws=EAST, aws__again=replace(WEST, digest="east")), False),
        (_placed(aws=EAST), _placed(aws=EAST, aws__west=replace(WEST, resources=("aws_b.it",))), False),
        (_placed(aws=EAST), _placed(other=replace(EAST, source=GOOGLE)), False),
        (_placed(aws=HIDDEN), _placed(aws=HIDDEN), False),
        (_placed(aws=HIDDEN), replace(_placed(aws=HIDDEN), tree="t2"), None),
        (_placed(aws=HIDDEN), replace(_placed(aws=HIDDEN), variables="v2"), None),
        (BASELINE, _placed(aws=EAST, aws__west=WEST), False),
    ],
)
def test_a_resource_is_looked_for_elsewhere_where_its_provider_configuration_says_something_else(
    then: Inputs, now: Inputs, moved: bool | None
) -> None:
    """Another name for the same is nothing; what a baseline does not know is no evidence."""
    assert Comparison(now, then).place_moved("aws_a.it", AWS) is moved


def test_a_resource_that_has_a_new_address_is_compared_with_the_old_one() -> None:
    then = _placed(aws=EAST, aws__west=replace(WEST, resources=("aws_old.it",)))
    comparison = Comparison(_placed(aws=EAST, aws__west=WEST), then)

    assert comparison.place_moved("aws_a.it", AWS)
    assert not comparison.place_moved("aws_a.it", AWS, before="aws_old.it")


def test_evidence_says_what_moved_from_what_to_what() -> None:
    """And of variables and data sources only which."""
    now = replace(
        _placed(aws=EAST, aws__west=WEST),
        commit="c2",
        tree="t2",
        state_serial=9,
        engine=UPGRADED,
        variable_digests=TEAM["variable_digests"],
        read_digests=SUBNET["read_digests"],
    )
    then = replace(KNOWN, provider_configurations={"aws": EAST})

    evidence = Comparison(now, then).evidence("aws_a.it", AWS)

    assert evidence is not None
    assert [(each.input, each.name, each.before, each.after) for each in evidence.movements] == [
        (InputKind.COMMIT, None, "c1", "c2"),
        (InputKind.PROVIDER, AWS, "5.0.0", "5.1.0"),
        (InputKind.PROVIDER_CONFIGURATION, AWS, "aws (eu-east-1)", "aws.west (eu-west-1)"),
        (InputKind.VARIABLE, "team", None, None),
        (InputKind.UPSTREAM_OUTPUT, f"{REMOTE}.subnet", None, None),
        (InputKind.STATE, "serial", "7", "9"),
    ]


def test_evidence_names_only_inputs_that_may_have_been_read() -> None:
    """Of two variables that changed, the one that the attribute is set from."""
    now = replace(KNOWN, variables="v2", variable_digests={"team": "2", "size": "2"})
    comparison = Comparison(now, KNOWN)

    def named(references: set[str], module: str = "") -> list[str | None]:
        evidence = comparison.evidence("a.b", AWS, references=frozenset(references), module=module)
        assert evidence is not None
        return [each.name for each in evidence.movements]

    assert named({"var.size"}) == ["size"]
    assert named({"var.size", "local.it"}) == ["size", "team"]
    assert named({"var.size"}, "module.m.") == ["size", "team"]
    assert named(set()) == []


def test_evidence_leaves_out_what_concerns_another_provider_and_is_none_without_a_baseline() -> None:
    now = replace(BASELINE, engine=replace(UPGRADED, version="1.12.0"))
    (engine,) = evidence.movements if (evidence := Comparison(now, BASELINE).evidence("g.it", GOOGLE)) else ()

    assert (engine.input, engine.before, engine.after) == (
        InputKind.ENGINE,
        "terraform 1.11.4",
        "terraform 1.12.0",
    )
    assert Comparison(now, None).evidence("g.it", GOOGLE) is None


def test_evidence_is_bounded_and_counts_what_it_leaves_out() -> None:
    """A thousand variables under another key; the state is still among what is told."""
    many = {f"v{number:04}": "1" for number in range(1_000)}
    now = replace(KNOWN, state_serial=8, variable_digests=dict.fromkeys(many, "2"))

    evidence = Comparison(now, replace(KNOWN, variable_digests=many)).evidence("aws_a.it", AWS)

    assert evidence is not None
    assert len(evidence.movements) == KEPT_MOVEMENTS + 1
    assert evidence.more == 1_000 - KEPT_MOVEMENTS
    assert evidence.movements[-1].input is InputKind.STATE


def test_a_data_source_that_came_went_or_is_put_off_has_not_answered_otherwise() -> None:
    now = replace(KNOWN, data_reads="d2", read_digests={"data.ami.new": "a:1"})

    assert Comparison(now, KNOWN).evidence("aws_a.it", AWS) == Evidence()


def test_another_providers_upgrade_explains_nothing_here() -> None:
    upgraded = replace(BASELINE, engine=UPGRADED)

    assert Comparison(upgraded, BASELINE).cause(GOOGLE) is Cause.UNDETERMINED
    assert Comparison(upgraded, BASELINE).cause(None) is Cause.PROVIDER_UPGRADE


def test_with_nothing_to_compare_with_the_cause_is_undetermined() -> None:
    assert _cause(BASELINE, None) is Cause.UNDETERMINED
    assert _cause(Inputs(), BASELINE) is Cause.UNDETERMINED
    assert _cause(BASELINE, Inputs()) is Cause.UNDETERMINED


def test_nothing_moved_is_said_only_when_nothing_is_known_to_have() -> None:
    assert Comparison(BASELINE, BASELINE).nothing_moved
    assert Comparison(BASELINE, None).nothing_moved
    assert not Comparison(replace(BASELINE, variables="v2"), BASELINE).nothing_moved
