"""The corners of the table that the corpus has no document for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.drift import Digester, Reading, read_plan
from driftwatch.model import Cause, Engine, FindingKind, Inputs, Severity, Verdict
from tests.drift import samples

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = Inputs(commit="2")
THEN = Inputs(commit="1")


def _read(document: dict[str, Any], *, inputs: Inputs = NOW, baseline: Inputs | None = THEN) -> Reading:
    return read_plan(document, digest=Digester(b"key"), inputs=inputs, baseline=baseline)


def _causes(result: Reading) -> dict[str, Cause]:
    (finding,) = result.findings
    return {attribute.path: attribute.cause for attribute in finding.attributes}


@pytest.mark.parametrize("actions", [("delete", "create"), ("create", "delete"), ("create", "forget")])
def test_a_replacement_is_one_in_either_order(actions: tuple[str, ...]) -> None:
    """And it weighs as much as a destroy."""
    (finding,) = _read(samples.plan(samples.change({"a": 1}, {"a": 2}, actions=actions))).findings

    assert (finding.kind, finding.action) == (FindingKind.REPLACED, "replace")
    assert finding.severity is Severity.HIGH


def test_a_tainted_resource_is_replaced_for_no_attributes_sake() -> None:
    document = samples.plan(
        samples.change({"id": "1"}, {}, actions=("delete", "create"), unknown={"id": True}),
        configured={samples.ADDRESS: ("name",)},
    )
    document["resource_changes"][0]["action_reason"] = "replace_because_tainted"

    (finding,) = _read(document).findings

    assert finding.attributes == ()
    assert finding.causes == (Cause.UNAPPLIED_COMMIT,)
    assert finding.message == "Marked as tainted in the state."


def test_an_update_that_shows_no_difference_still_is_pending() -> None:
    """Terraform plans one when only the marking as sensitive changes."""
    result = _read(samples.plan(samples.change({"a": 1}, {"a": 1}, after_sensitive={"a": True})))

    assert result.verdict is Verdict.PENDING
    assert result.findings[0].attributes == ()


@pytest.mark.parametrize(("actual", "wanted"), [(None, {}), ([], None), ("", None), ({"a": ""}, {"a": None})])
def test_an_update_that_is_only_cosmetic_never_counts(actual: Any, wanted: Any) -> None:
    result = _read(samples.plan(samples.change({"it": actual}, {"it": wanted})))

    assert result.verdict is Verdict.IN_SYNC
    assert [finding.counted for finding in result.findings] == [False]


@pytest.mark.parametrize(
    ("with_it", "without"), [({"by": ""}, {}), ({"by": ""}, None), ({"by": "", "a": "1"}, {"a": "1"})]
)
@pytest.mark.parametrize("mask", [False, True])
def test_a_tag_without_a_value_that_comes_or_goes_is_drift(with_it: Any, without: Any, mask: bool) -> None:
    """AWS allows empty values, terraform would undo it, and so it is no null against `""`."""
    for state, actual in ((without, with_it), (with_it, without)):
        document = samples.plan(
            samples.change({"tags": actual}, {"tags": state}, before_sensitive={"tags": mask}),
            drift=(samples.change({"tags": state}, {"tags": actual}),),
        )
        result = _read(document)

        assert result.verdict is Verdict.DRIFTED
        assert _causes(result) == {"/tags" if mask else "/tags/by": Cause.OUT_OF_BAND}


def test_a_computed_value_that_an_apply_will_make_anew_is_not_told_beside_others() -> None:
    document = samples.plan(
        samples.change({"size": 1, "etag": "x"}, {"size": 2}, unknown={"etag": True}),
        configured={samples.ADDRESS: ("size",)},
    )

    assert _causes(_read(document)) == {"/size": Cause.UNAPPLIED_COMMIT}


def test_a_computed_value_is_told_where_there_is_nothing_else_to_tell() -> None:
    document = samples.plan(
        samples.change({"size": 1, "etag": "x"}, {"size": 1}, unknown={"etag": True}),
        configured={samples.ADDRESS: ("size",)},
    )

    assert _causes(_read(document)) == {"/etag": Cause.UNAPPLIED_COMMIT}


def test_a_computed_scalar_that_moved_by_itself_is_noise_beside_a_pending_change() -> None:
    """A time of last modification moves; that must not turn a pending stack into a mixed one."""
    document = samples.plan(
        samples.change({"size": 1, "seen": "b"}, {"size": 2}, unknown={"seen": True}),
        drift=(samples.change({"size": 1, "seen": "a"}, {"size": 1, "seen": "b"}),),
        configured={samples.ADDRESS: ("size",)},
    )
    result = _read(document)

    assert result.verdict is Verdict.PENDING
    assert _causes(result) == {"/seen": Cause.NOISE, "/size": Cause.UNAPPLIED_COMMIT}


def test_a_container_that_moved_is_drift_though_the_code_seems_not_to_set_it() -> None:
    """The document's configuration leaves dynamic blocks out: what looks computed may be a rule by hand."""
    document = samples.plan(
        samples.change({"size": 1, "rules": ["b"]}, {"size": 2}, unknown={"rules": True}),
        drift=(samples.change({"size": 1, "rules": []}, {"size": 1, "rules": ["b"]}),),
        configured={samples.ADDRESS: ("size",)},
    )

    assert _causes(_read(document)) == {"/rules": Cause.OUT_OF_BAND, "/size": Cause.UNAPPLIED_COMMIT}


@pytest.mark.parametrize(
    ("upstream", "verdict"),
    [(("delete", "create"), Verdict.DRIFTED), (("update", "update"), Verdict.DRIFTED)],
)
def test_who_points_to_what_was_changed_by_hand_is_not_pending(
    upstream: tuple[str, str], verdict: Verdict
) -> None:
    """The dependency may go through locals and modules: the state knows it, whatever the code looks like."""
    drifted, planned = upstream
    target = 'module.net["a"].thing_vpc.it'
    gone = drifted == "delete"
    document = samples.plan(
        samples.change(
            None if gone else {"cidr": "by hand"}, {"cidr": "x"}, actions=(planned,), address=target
        ),
        samples.change({"vpc": "1"}, {}, unknown={"vpc": True}),
        drift=(
            samples.change(
                {"cidr": "x"}, None if gone else {"cidr": "by hand"}, actions=(drifted,), address=target
            ),
        ),
        configured={samples.ADDRESS: ("vpc",)},
        depends_on={samples.ADDRESS: ("module.net.thing_vpc.it", "thing_other.it")},
    )

    assert _read(document).verdict is verdict


def test_who_points_to_what_a_commit_changes_is_pending() -> None:
    """Of two things that it depends on one was changed by hand and one by a commit: nobody can tell which."""
    by_hand, by_commit = "thing_a.it", "thing_b.it"
    document = samples.plan(
        samples.change({"x": 2}, {"x": 1}, address=by_hand),
        samples.change({"x": 1}, {"x": 2}, address=by_commit),
        samples.change({"vpc": "1"}, {}, unknown={"vpc": True}),
        drift=(samples.change({"x": 1}, {"x": 2}, address=by_hand),),
        configured={samples.ADDRESS: ("vpc",)},
        depends_on={samples.ADDRESS: (by_hand, by_commit)},
    )
    causes = {finding.address: finding.causes for finding in _read(document).findings}

    assert causes[samples.ADDRESS] == (Cause.UNAPPLIED_COMMIT,)
    assert causes[by_hand] == (Cause.OUT_OF_BAND,)


def test_a_known_value_that_moved_elsewhere_is_not_blamed_on_the_cloud_where_a_commit_moved_too() -> None:
    address = "thing_ip.it"
    document = samples.plan(
        samples.change({"ip": "2"}, {"ip": "2"}, actions=("no-op",), address=address),
        samples.change({"target": "1"}, {"target": "2"}),
        drift=(samples.change({"ip": "1"}, {"ip": "2"}, address=address),),
        depends_on={samples.ADDRESS: (address,)},
        relevant_attributes=[{"resource": address, "attribute": ["ip"]}],
    )

    assert _read(document, inputs=THEN).verdict is Verdict.DRIFTED
    assert _read(document, inputs=NOW).verdict is Verdict.PENDING


WAS, IS_NOW = "203.0.113.1", "203.0.113.2"
MOVED_IP = {
    "drift": (samples.change({"ip": WAS}, {"ip": IS_NOW}, address="thing_ip.it"),),
    "relevant_attributes": [{"resource": "thing_ip.it", "attribute": ["ip"]}],
}
SAME_IP = samples.change({"ip": IS_NOW}, {"ip": IS_NOW}, actions=("no-op",), address="thing_ip.it")


def _pointing(configured: str, there: Any, wanted: Any) -> dict[str, Any]:
    """A document in which an address moved in the cloud, and a record that depends on it is to change."""
    return samples.plan(
        SAME_IP,
        samples.change({"target": there}, {"target": wanted}),
        depends_on={samples.ADDRESS: ("thing_ip.it",)},
        configured={samples.ADDRESS: (configured,)},
        **MOVED_IP,
    )


@pytest.mark.parametrize(
    ("document", "cause"),
    [
        (_pointing("target", WAS, IS_NOW), Cause.OUT_OF_BAND),
        (_pointing("target", [f"{WAS}:80"], [f"{IS_NOW}:80"]), Cause.OUT_OF_BAND),
        (_pointing("target", {"a": WAS, "b": "1"}, {"a": WAS, "b": "2"}), Cause.UNDETERMINED),
        (_pointing("target", "other", IS_NOW), Cause.UNDETERMINED),
        (_pointing("target=", WAS, IS_NOW), Cause.UNDETERMINED),
    ],
)
def test_with_no_baseline_only_what_is_passed_on_is_blamed_on_the_cloud(
    document: dict[str, Any], cause: Cause
) -> None:
    """Else a commit that nobody applied would be drift wherever something moved beside it."""
    causes = {finding.address: finding.causes for finding in _read(document, baseline=None).findings}

    assert causes[samples.ADDRESS] == (cause,)


def test_what_is_passed_on_is_blamed_on_the_cloud_though_a_commit_moved_as_well() -> None:
    assert _read(_pointing("target", WAS, IS_NOW)).verdict is Verdict.DRIFTED
    assert _read(_pointing("target", WAS, "elsewhere")).verdict is Verdict.PENDING


@pytest.mark.parametrize(
    ("references", "verdict"),
    [
        (["thing_ip.it.ip", "thing_ip.it"], Verdict.IN_SYNC),
        (["thing_ip.it[0].ip"], Verdict.IN_SYNC),
        (["local.ip"], Verdict.IN_SYNC),
        (["module.net.ip"], Verdict.IN_SYNC),
        (["thing_ip.item"], Verdict.PENDING),
        (["var.ip"], Verdict.PENDING),
        ([], Verdict.PENDING),
    ],
)
def test_only_an_output_that_may_read_what_moved_passes_it_on(
    references: list[str], verdict: Verdict
) -> None:
    """One that reads something else changed with the code, and is pending, not noise."""
    output = samples.change("1", "2", actions=("update",))["change"]
    document = samples.plan(SAME_IP, outputs={"it": output}, **MOVED_IP)
    expression = {"references": references} if references else {}
    document["configuration"]["root_module"]["outputs"] = {"it": {"expression": expression}}

    assert _read(document, baseline=None).verdict is verdict


def test_the_time_of_the_plan_is_no_other_difference_in_every_plan() -> None:
    """What `plantimestamp()` gives is known, and another text in each plan."""

    def seen(time: str) -> Reading:
        change = samples.change({"at": ["made x"]}, {"at": [f"made {time}"]})
        output = samples.change("x", {"at": time})["change"]
        return _read(samples.plan(change, outputs={"it": output}, timestamp=time))

    first, second = seen("2026-05-01T10:00:00Z"), seen("2026-05-01T11:00:00Z")

    assert first == second
    assert first.verdict is Verdict.PENDING
    assert first.findings[-1].attributes[0].after == ["made (time of the plan)"]


def test_a_computed_map_that_repeats_what_the_code_says_is_noise() -> None:
    """AWS shows every tag twice; one that comes from the provider's defaults stands in `tags_all` alone."""
    state, actual = (
        {"tags": {"team": team}, "tags_all": {"team": team, "env": env}, "a": a, "b": a}
        for team, env, a in (("x", "prod", True), ("y", "dev", False))
    )
    document = samples.plan(
        samples.change(actual, state),
        drift=(samples.change(state, actual),),
        configured={samples.ADDRESS: ("tags", "a")},
    )

    assert _causes(_read(document)) == {
        "/a": Cause.OUT_OF_BAND,
        "/b": Cause.OUT_OF_BAND,
        "/tags/team": Cause.OUT_OF_BAND,
        "/tags_all/env": Cause.OUT_OF_BAND,
        "/tags_all/team": Cause.NOISE,
    }


def _default_tag(state: Any, actual: Any, wanted: Any, everywhere: tuple[Any, Any, Any]) -> dict[str, Any]:
    """A document about one tag, as AWS shows it in `tags` and in `tags_all`; None where it is not there."""
    was, is_now, will_be = (
        {"tags": {"env": env} if env else {}, "tags_all": {"env": all_} if all_ else {}}
        for env, all_ in zip((state, actual, wanted), everywhere, strict=True)
    )
    return samples.plan(
        samples.change(is_now, will_be),
        drift=(samples.change(was, is_now),),
        configured={samples.ADDRESS: ("tags=",)},
    )


@pytest.mark.parametrize(("wanted", "everywhere"), [("dev", Cause.UNAPPLIED_COMMIT), (None, Cause.NOISE)])
def test_another_default_tag_in_the_code_is_no_drift_of_every_resource(
    wanted: Any, everywhere: Cause
) -> None:
    """The provider takes the code's defaults off `tags`: the old ones seem to have come by hand."""
    result = _read(_default_tag(None, "prod", None, ("prod", "prod", wanted)))

    assert result.verdict is Verdict.PENDING
    assert _causes(result) == {"/tags/env": Cause.UNAPPLIED_COMMIT, "/tags_all/env": everywhere}


def test_a_default_tag_that_a_variable_changed_differs_because_of_it() -> None:
    """What the resource says of its tags is a literal, and the provider reads the variable."""
    (finding,) = _read(
        _default_tag(None, "prod", None, ("prod", "prod", "dev")),
        inputs=Inputs(),
        baseline=Inputs(variables="others"),
    ).findings

    assert finding.causes == (Cause.INPUT_CHANGE,)


def test_a_default_tag_that_was_changed_by_hand_is_drift_whatever_the_code_says() -> None:
    """The new default in the code waits as well, and is told beside it."""
    document = _default_tag(None, "by hand", None, ("prod", "by hand", "dev"))

    assert _read(document).verdict is Verdict.MIXED
    assert _read(document, inputs=THEN).verdict is Verdict.DRIFTED


def test_data_sources_are_no_findings() -> None:
    read = samples.change(None, {}, actions=("read",), unknown={"id": True}) | {"mode": "data"}
    document = samples.plan()
    document["resource_changes"] = [read]

    assert _read(document).findings == ()


@pytest.mark.parametrize(
    ("before", "after", "unknown", "action"),
    [(None, "x", False, "create"), ("x", None, False, "delete"), ("x", None, True, "update")],
)
def test_an_output_that_changes_is_its_own_class(before: Any, after: Any, unknown: Any, action: str) -> None:
    output = samples.change(before, after, actions=(action,), unknown=unknown)["change"]

    (finding,) = _read(samples.plan(outputs={"it": output})).findings

    assert (finding.address, finding.kind, finding.action) == ("output.it", FindingKind.OUTPUT, action)
    assert finding.severity is Severity.LOW
    assert finding.causes == (Cause.UNAPPLIED_COMMIT,)


def test_an_output_that_stays_null_is_nothing() -> None:
    output = samples.change(None, None, actions=("create",))["change"]

    assert _read(samples.plan(outputs={"it": output})).findings == ()


@pytest.mark.parametrize(
    ("status", "kind", "verdict"),
    [
        ("fail", "check", Verdict.DRIFTED),
        ("error", "resource", Verdict.DRIFTED),
        ("fail", "output_value", Verdict.DRIFTED),
        ("pass", "check", Verdict.IN_SYNC),
        ("unknown", "check", Verdict.IN_SYNC),
    ],
)
def test_a_failing_check_is_drift_and_one_that_nobody_knows_of_is_not(
    status: str, kind: str, verdict: Verdict
) -> None:
    entry = {"address": {"kind": kind, "to_display": "it"}, "status": status}

    for checks in ([entry], [entry | {"instances": [{"address": {"to_display": "it"}, "status": status}]}]):
        result = _read(samples.plan(checks=checks))
        assert result.verdict is verdict
        assert [finding.kind for finding in result.findings] == (
            [FindingKind.CHECK_FAILED] if verdict is Verdict.DRIFTED else []
        )


def test_a_failing_check_beside_a_pending_change_is_mixed() -> None:
    check = {"address": {"kind": "check", "to_display": "check.it"}, "status": "fail"}

    assert _read(samples.plan(samples.change({"a": 1}, {"a": 2}), checks=[check])).verdict is Verdict.MIXED


def test_a_failing_condition_and_a_difference_at_one_address_are_two_findings() -> None:
    check = {"address": {"kind": "resource", "to_display": samples.ADDRESS}, "status": "fail"}
    result = _read(samples.plan(samples.change({"a": 1}, {"a": 2}), checks=[check]))

    assert len({finding.identity for finding in result.findings}) == 2


def test_an_upgraded_provider_explains_what_its_resources_differ_in() -> None:
    was, is_now = (
        Inputs(engine=Engine(name="terraform", version="1.11.4", providers={samples.PROVIDER: version}))
        for version in ("1.0.0", "2.0.0")
    )
    document = samples.plan(samples.change({"a": 1}, {"a": 2}))

    assert _causes(_read(document, inputs=is_now, baseline=was)) == {"/a": Cause.PROVIDER_UPGRADE}


@pytest.mark.parametrize(
    ("type_", "path", "severity"),
    [
        ("aws_security_group", "ingress", Severity.CRITICAL),
        ("sandbox_firewall", "ingress", Severity.CRITICAL),
        ("google_compute_firewall", "source_ranges", Severity.CRITICAL),
        ("aws_db_instance", "publicly_accessible", Severity.CRITICAL),
        ("aws_iam_role", "assume_role_policy", Severity.CRITICAL),
        ("aws_iam_role", "max_session_duration", Severity.HIGH),
        ("aws_s3_bucket_policy", "policy", Severity.HIGH),
        ("aws_db_instance", "storage_encrypted", Severity.HIGH),
        ("aws_sqs_queue", "delay_seconds", Severity.MEDIUM),
        ("aws_security_group", "description", Severity.LOW),
        ("aws_security_group", "tags", Severity.LOW),
    ],
)
def test_what_concerns_security_weighs_more_than_labels(type_: str, path: str, severity: Severity) -> None:
    address = f"{type_}.it"
    document = samples.plan(
        samples.change({path: "b"}, {path: "a"}, address=address),
        drift=(samples.change({path: "a"}, {path: "b"}, address=address),),
    )

    assert _read(document).findings[0].severity is severity


def test_a_protection_that_was_deleted_by_hand_is_critical() -> None:
    address = "aws_s3_bucket_public_access_block.it"
    document = samples.plan(
        samples.change(None, {"x": 1}, actions=("create",), address=address),
        drift=(samples.change({"x": 1}, None, actions=("delete",), address=address),),
    )

    assert _read(document).findings[0].severity is Severity.CRITICAL


def test_the_findings_are_in_the_order_of_their_addresses(reading: Callable[..., Reading]) -> None:
    addresses = [finding.address for finding in reading("aws_drift").findings]

    assert addresses == sorted(addresses)
