"""Real plan documents and what each of them means.

The documents are made by `make_corpus.py` from `scenarios.py`; `test_live.py` makes some of them again and
compares, so that the corpus cannot rot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import pytest

from driftwatch.drift import Reading
from driftwatch.errors import PlanUnreadableError
from driftwatch.model import UNKNOWN_VALUE, Cause, Finding, FindingKind, Inputs, JsonValue, Severity, Verdict
from tests.drift.conftest import CORPUS, Document
from tests.drift.scenarios import CANARY, CANARY_BY_HAND, SCENARIOS

Read: TypeAlias = Callable[..., Reading]

BY_HAND, COMMIT, UNDETERMINED, NOISE, INPUT = (
    Cause.OUT_OF_BAND,
    Cause.UNAPPLIED_COMMIT,
    Cause.UNDETERMINED,
    Cause.NOISE,
    Cause.INPUT_CHANGE,
)
MODIFIED, DELETED, CREATED, REPLACED, DESTROYED, OUTPUT, CHECK_FAILED = (
    FindingKind.MODIFIED,
    FindingKind.DELETED,
    FindingKind.CREATED,
    FindingKind.REPLACED,
    FindingKind.DESTROYED,
    FindingKind.OUTPUT,
    FindingKind.CHECK_FAILED,
)


@dataclass(frozen=True, slots=True)
class Expected:
    """One finding. It counts unless its only cause is noise."""

    kind: FindingKind
    action: str
    causes: tuple[Cause, ...]
    severity: Severity
    attributes: Mapping[str, Cause] = field(default_factory=dict)


def _modified(severity: Severity, **attributes: Cause) -> Expected:
    """An update in place: keyword `tags__team` stands for `/tags/team`."""
    paths = {"/" + name.replace("__", "/"): cause for name, cause in attributes.items()}
    return _at(paths, severity)


def _at(
    paths: Mapping[str, Cause],
    severity: Severity,
    *,
    kind: FindingKind = MODIFIED,
    action: str = "update",
) -> Expected:
    causes = tuple(cause for cause in Cause if cause in set(paths.values()) - {NOISE})
    return Expected(kind, action, causes, severity, paths)


def _noise(*paths: str, kind: FindingKind = MODIFIED, action: str = "no-op") -> Expected:
    return Expected(kind, action, (NOISE,), Severity.INFO, dict.fromkeys(paths, NOISE))


LOW, MEDIUM, HIGH, CRITICAL = Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL
ORDERS, LOGS, WWW = "sandbox_database.orders", "sandbox_bucket.logs", "sandbox_dns_record.www"
GONE = Expected(DELETED, "create", (BY_HAND,), HIGH)

MEANING: dict[str, tuple[Verdict, dict[str, Expected]]] = {
    "first_apply": (
        Verdict.IN_SYNC,
        {"sandbox_bucket.plain": _noise("/tags"), "sandbox_firewall.web": _noise("/tags")},
    ),
    "never_applied": (Verdict.PENDING, {LOGS: Expected(CREATED, "create", (UNDETERMINED,), LOW)}),
    "update": (Verdict.DRIFTED, {LOGS: _modified(MEDIUM, versioning=BY_HAND)}),
    "delete": (Verdict.DRIFTED, {WWW: GONE}),
    "recreate_alike": (Verdict.IN_SYNC, {ORDERS: _noise("/endpoint")}),
    "recreate_different": (Verdict.DRIFTED, {ORDERS: _modified(MEDIUM, endpoint=NOISE, version=BY_HAND)}),
    "tags": (Verdict.DRIFTED, {LOGS: _modified(LOW, tags__by=BY_HAND, tags__team=BY_HAND)}),
    "tag_without_a_value": (
        Verdict.DRIFTED,
        {LOGS: _modified(LOW, tags__by=BY_HAND), "sandbox_bucket.plain": _modified(LOW, tags__by=BY_HAND)},
    ),
    "nested_list_block": (Verdict.DRIFTED, {LOGS: _modified(MEDIUM, lifecycle_rule=BY_HAND)}),
    "nested_set_block": (Verdict.DRIFTED, {"sandbox_firewall.web": _modified(CRITICAL, ingress=BY_HAND)}),
    "set_order": (Verdict.IN_SYNC, {}),
    "map_key": (
        Verdict.DRIFTED,
        {ORDERS: _at({"/parameters/log~1min~0level": BY_HAND, "/revision": NOISE}, MEDIUM)},
    ),
    "sensitive_value": (Verdict.DRIFTED, {ORDERS: _modified(HIGH, password=BY_HAND, revision=NOISE)}),
    "sensitive_container": (Verdict.DRIFTED, {"sandbox_bucket.vault": _modified(HIGH, tags=BY_HAND)}),
    "unknown_value": (
        Verdict.PENDING,
        {
            ORDERS: Expected(CREATED, "create", (UNDETERMINED,), LOW),
            WWW: _modified(MEDIUM, values=UNDETERMINED),
        },
    ),
    "replaced_by_commit": (
        Verdict.PENDING,
        {ORDERS: _at({"/engine": UNDETERMINED}, HIGH, kind=REPLACED, action="replace")},
    ),
    "replaced_create_first": (
        Verdict.PENDING,
        {ORDERS: _at({"/name": UNDETERMINED}, HIGH, kind=REPLACED, action="replace")},
    ),
    "replaced_by_hand": (
        Verdict.DRIFTED,
        {
            ORDERS: _at(
                {"/engine": BY_HAND, "/revision": NOISE, "/size": BY_HAND},
                HIGH,
                kind=REPLACED,
                action="replace",
            )
        },
    ),
    "destroyed": (Verdict.PENDING, {LOGS: Expected(DESTROYED, "delete", (UNDETERMINED,), HIGH)}),
    "destroyed_and_gone": (Verdict.IN_SYNC, {LOGS: _noise(kind=DELETED)}),
    "forgotten": (Verdict.PENDING, {LOGS: Expected(DESTROYED, "forget", (UNDETERMINED,), LOW)}),
    "moved": (Verdict.IN_SYNC, {}),
    "moved_and_drifted": (
        Verdict.DRIFTED,
        {"sandbox_bucket.archive": _modified(MEDIUM, versioning=BY_HAND)},
    ),
    "moved_and_deleted": (Verdict.DRIFTED, {"sandbox_bucket.archive": GONE}),
    "imported": (
        Verdict.PENDING,
        {"sandbox_bucket.shared": Expected(CREATED, "import", (UNDETERMINED,), LOW)},
    ),
    "imported_and_changed": (
        Verdict.PENDING,
        {"sandbox_bucket.shared": _modified(LOW, tags__owner=UNDETERMINED)},
    ),
    "output_only": (
        Verdict.PENDING,
        {
            "output.arn": _at({"": UNDETERMINED}, LOW, kind=OUTPUT, action="create"),
            "output.name": _at({"": UNDETERMINED}, LOW, kind=OUTPUT),
        },
    ),
    "data_source": (Verdict.PENDING, {LOGS: _modified(LOW, tags__owner=INPUT)}),
    "check_failed": (
        Verdict.DRIFTED,
        {"check.shared": Expected(CHECK_FAILED, "check", (UNDETERMINED,), MEDIUM)},
    ),
    "count": (
        Verdict.MIXED,
        {
            "sandbox_bucket.shard[0]": _modified(LOW, tags__shard=BY_HAND),
            "sandbox_bucket.shard[1]": Expected(DESTROYED, "delete", (UNDETERMINED,), HIGH),
        },
    ),
    "for_each": (
        Verdict.DRIFTED,
        {'sandbox_dns_record.host["we/ird \\"key\\""]': _modified(MEDIUM, ttl=BY_HAND)},
    ),
    "nested_modules": (
        Verdict.DRIFTED,
        {'module.shop.module.storage["us"].sandbox_bucket.this': _modified(LOW, tags__name=BY_HAND)},
    ),
    "null_against_empty": (Verdict.IN_SYNC, {"sandbox_bucket.plain": _noise("/tags")}),
    "drift_and_pending": (
        Verdict.MIXED,
        {LOGS: _modified(MEDIUM, tags__tier=COMMIT, versioning=BY_HAND)},
    ),
    "drift_and_pending_at_one_attribute": (Verdict.DRIFTED, {WWW: _modified(MEDIUM, ttl=BY_HAND)}),
    "hand_came_first": (Verdict.IN_SYNC, {LOGS: _noise("/versioning")}),
    "pending": (Verdict.PENDING, {LOGS: _modified(LOW, tags__tier=COMMIT)}),
    "ignored": (
        Verdict.IN_SYNC,
        {
            LOGS: _noise("/tags/team", "/versioning"),
            "output.tags": _noise("/team", kind=OUTPUT, action="update"),
        },
    ),
    "computed": (Verdict.IN_SYNC, {ORDERS: _noise("/revision")}),
    "follows_deletion": (
        Verdict.DRIFTED,
        {
            ORDERS: GONE,
            "sandbox_dns_record.db": _modified(MEDIUM, values=BY_HAND),
            "output.endpoint": _noise("", kind=OUTPUT, action="update"),
        },
    ),
    "follows_recreation": (
        Verdict.DRIFTED,
        {
            ORDERS: _noise("/endpoint"),
            "sandbox_dns_record.db": _modified(MEDIUM, values=BY_HAND),
            "output.endpoint": _noise("", kind=OUTPUT, action="update"),
        },
    ),
    "follows_commit": (
        Verdict.PENDING,
        {
            ORDERS: _at({"/engine": COMMIT}, HIGH, kind=REPLACED, action="replace"),
            "sandbox_dns_record.db": _modified(MEDIUM, values=COMMIT),
            "output.endpoint": _at({"": COMMIT}, LOW, kind=OUTPUT),
        },
    ),
    "passed_on_beside_a_commit": (
        Verdict.MIXED,
        {
            ORDERS: _noise("/endpoint"),
            "sandbox_bucket.labelled": _modified(LOW, tags__address=BY_HAND, tags__tier=COMMIT),
        },
    ),
    "mass_deletion": (
        Verdict.DRIFTED,
        {WWW: GONE} | {f"sandbox_bucket.many[{index}]": GONE for index in range(10)},
    ),
    "aws_first_apply": (
        Verdict.IN_SYNC,
        {
            "aws_s3_bucket.logs": _noise("/tags"),
            "aws_security_group.web": _noise("/tags"),
            "aws_sqs_queue.orders": _noise("/tags"),
            "aws_ssm_parameter.password": _noise("/tags"),
        },
    ),
    "aws_drift": (
        Verdict.DRIFTED,
        {
            "aws_cloudwatch_log_group.app": _modified(LOW, tags__by=BY_HAND, tags_all__by=NOISE),
            "aws_s3_bucket.logs": GONE,
            "aws_security_group.web": _modified(CRITICAL, ingress=BY_HAND, tags=NOISE),
            "aws_sqs_queue.orders": _modified(MEDIUM, delay_seconds=BY_HAND, tags=NOISE),
            "aws_ssm_parameter.password": _modified(HIGH, value=BY_HAND, version=NOISE, tags=NOISE),
        },
    ),
}
DEPOSED = "deposed"
REFUSED = {
    "refused_errored": "errored",
    "refused_targeted": "not complete",
    "refused_refresh_only": "says nothing of",
}
BEFORE = tuple(f"{name}.before" for name, scenario in SCENARIOS.items() if scenario.before)


def _seen(finding: Finding) -> Expected:
    attributes = {attribute.path: attribute.cause for attribute in finding.attributes}
    return Expected(finding.kind, finding.action, finding.causes, finding.severity, attributes)


def _read(reading: Read, name: str) -> Reading:
    """As the daemon would: the plan before anything happened is the baseline, and every commit has a name."""
    before = f"{name}.before"
    first = reading(before, inputs=Inputs(commit="1")).inputs if before in BEFORE else None
    return reading(name, inputs=Inputs(commit="2" if SCENARIOS[name].commit else "1"), baseline=first)


def read_scenario(reading: Read, name: str) -> Reading:
    return _read(reading, name) if name in SCENARIOS else reading(name)


@pytest.mark.parametrize("name", MEANING)
def test_each_document_means_what_happened(name: str, reading: Read) -> None:
    """Kind, action, causes, severity, attribute paths and verdict of every finding, and no finding more."""
    verdict, expected = MEANING[name]

    result = read_scenario(reading, name)

    assert {finding.address: _seen(finding) for finding in result.findings} == expected
    assert {finding.address for finding in result.findings if finding.counted} == {
        address for address, finding in expected.items() if finding.causes != (NOISE,)
    }
    assert result.verdict is verdict


def test_the_corpus_and_the_table_hold_the_same_names() -> None:
    files = {file.name.removesuffix(".json") for file in CORPUS.glob("*.json")}

    assert files == {*MEANING, DEPOSED, *REFUSED, *BEFORE}
    assert files - set(BEFORE) == {*SCENARIOS, "aws_first_apply", "aws_drift"}


@pytest.mark.parametrize("name", BEFORE)
def test_what_nobody_touched_is_in_sync(name: str, reading: Read) -> None:
    result = reading(name)

    assert result.verdict is Verdict.IN_SYNC
    assert not any(finding.counted for finding in result.findings)


@pytest.mark.row(25)
@pytest.mark.parametrize("name", ["first_apply", "null_against_empty", "aws_first_apply"])
def test_cosmetic_drift_after_a_clean_apply_is_in_sync(
    name: str, reading: Read, document: Callable[[str], Document]
) -> None:
    """Row 25: null against `{}` is in resource_drift right after an apply, is kept, and never counts."""
    assert document(name)["resource_drift"]

    result = reading(name)

    assert result.verdict is Verdict.IN_SYNC
    assert result.findings
    assert all(finding.causes == (NOISE,) for finding in result.findings)


@pytest.mark.row(26)
def test_drift_of_an_ignored_attribute_is_listed_and_does_not_count(reading: Read) -> None:
    """Row 26: an attribute under ignore_changes is kept with its values, and nobody is alarmed."""
    result = reading("ignored")
    bucket = next(finding for finding in result.findings if finding.address == LOGS)
    team = next(attribute for attribute in bucket.attributes if attribute.path == "/tags/team")

    assert result.verdict is Verdict.IN_SYNC
    assert not bucket.counted
    assert (team.before, team.actual, team.after) == ("platform", "skunkworks", "skunkworks")


@pytest.mark.row(68)
@pytest.mark.parametrize("name", [*MEANING, DEPOSED])
def test_no_secret_of_any_document_is_in_its_reading(name: str, reading: Read) -> None:
    """Row 68: canaries in attributes, containers, variables, outputs and messages are nowhere in it."""
    text = repr(reading(name))

    assert CANARY not in text
    assert CANARY_BY_HAND not in text


@pytest.mark.row(68)
@pytest.mark.parametrize("name", ["sensitive_value", "sensitive_container", "check_failed", "aws_drift"])
def test_the_canaries_are_in_the_documents(name: str) -> None:
    """Row 68: without this, the test above could pass for want of a secret."""
    assert CANARY in (CORPUS / f"{name}.json").read_text()


@pytest.mark.parametrize("name", REFUSED)
def test_a_plan_that_does_not_know_everything_is_refused(name: str, reading: Read) -> None:
    """An errored, a targeted and a refresh-only plan: each lacks changes, none may pass for in sync."""
    with pytest.raises(PlanUnreadableError, match=REFUSED[name]):
        reading(name)


def _values(result: Reading, address: str, path: str) -> tuple[JsonValue, JsonValue, JsonValue]:
    found = next(
        attribute
        for finding in result.findings
        if finding.address == address
        for attribute in finding.attributes
        if attribute.path == path
    )
    return found.before, found.actual, found.after


def test_an_attribute_tells_what_the_state_the_cloud_and_the_code_have(reading: Read) -> None:
    result = _read(reading, "drift_and_pending_at_one_attribute")

    assert _values(result, WWW, "/ttl") == (300, 5, 60)


def test_what_only_an_apply_will_know_is_said_in_terraforms_words(reading: Read) -> None:
    _, _, after = _values(reading("unknown_value"), WWW, "/values")

    assert after == ["203.0.113.2", UNKNOWN_VALUE]


def test_a_secret_that_changed_is_told_as_two_digests(reading: Read) -> None:
    before, actual, after = _values(reading("sensitive_value"), ORDERS, "/password")

    assert str(before).startswith("sensitive:hmac-sha256:")
    assert before == after != actual


def test_what_a_failed_replacement_left_behind_has_an_address_of_its_own(reading: Read) -> None:
    """A deposed object shares its address with its successor; as a finding it must not."""
    result = reading(DEPOSED)
    (finding,) = result.findings

    assert finding.address.startswith(f"{ORDERS} (deposed ")
    assert _seen(finding) == Expected(DESTROYED, "delete", (UNDETERMINED,), HIGH)
    assert result.verdict is Verdict.PENDING


def test_a_check_tells_its_message_without_the_secret_in_it(reading: Read) -> None:
    (finding,) = reading("check_failed").findings

    assert finding.message is not None
    assert "Not ours, token [redacted]." in finding.message


def test_a_cloud_without_anything_in_it_trips_the_breaker(reading: Read) -> None:
    """The verdict stays, and a sentence says what is likelier than eleven deletions."""
    result = reading("mass_deletion")

    assert result.verdict is Verdict.DRIFTED
    assert result.mass_deletion is not None
    assert "11 of 11" in result.mass_deletion
    assert "account" in result.mass_deletion


@pytest.mark.parametrize("name", [name for name in MEANING if name != "mass_deletion"])
def test_an_ordinary_drift_does_not_trip_it(name: str, reading: Read) -> None:
    assert reading(name).mass_deletion is None


def test_the_inputs_are_completed_and_tell_data_reads_apart(reading: Read) -> None:
    first, second = (reading(name).inputs for name in ("data_source.before", "data_source"))

    assert first.variables == second.variables
    assert first.data_reads is not None
    assert first.data_reads != second.data_reads
    assert first.read_digests != second.read_digests
    assert replace(first, data_reads=None, read_digests=None) == replace(
        second, data_reads=None, read_digests=None
    )


@pytest.mark.parametrize("name", [*MEANING, DEPOSED])
def test_every_finding_has_an_identity_of_its_own(name: str, reading: Read) -> None:
    findings = reading(name).findings

    assert len({finding.identity for finding in findings}) == len(findings)
    assert len({finding.fingerprint for finding in findings}) == len(findings)
