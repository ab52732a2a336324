"""Why the code wants something else than the cloud has, when nobody changed the cloud."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from driftwatch.drift.causes import Comparison
from driftwatch.model import Cause, Engine, Inputs

AWS, GOOGLE = "registry.example.test/hashicorp/aws", "registry.example.test/hashicorp/google"
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
