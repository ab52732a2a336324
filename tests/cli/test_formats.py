"""The printed forms keep their contracts, whatever a resource is called."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftwatch.cli.formats import Format, exit_code, render
from driftwatch.documents.drift import checks_document, timestamp
from driftwatch.errors import Exit, PlanFailedError
from driftwatch.model import (
    AttributeChange,
    Cause,
    CheckResult,
    Engine,
    Finding,
    FindingKind,
    Method,
    Severity,
    StackId,
    Trigger,
    Verdict,
)


def finding(address: str = "aws_security_group.web", *, counted: bool = True) -> Finding:
    return Finding(
        address=address,
        type="aws_security_group",
        kind=FindingKind.MODIFIED,
        action="update",
        causes=(Cause.OUT_OF_BAND,),
        severity=Severity.CRITICAL,
        fingerprint="f00d",
        counted=counted,
        attributes=(
            AttributeChange(
                path="/ingress",
                before=[],
                actual=[{"from_port": 22}],
                after=[],
                sensitive=False,
                cause=Cause.OUT_OF_BAND,
            ),
        ),
    )


def result(verdict: Verdict = Verdict.DRIFTED, *findings: Finding, failed: bool = False) -> CheckResult:
    return CheckResult(
        stack=StackId(repository="platform", path="envs/prod/network"),
        commit="0f3d" * 10,
        trigger=Trigger.MANUAL,
        verdict=verdict,
        method=Method.PLAN,
        method_reason="no_recording",
        started_at=datetime(2026, 11, 23, 9, 30, tzinfo=UTC),
        duration_seconds=4.1,
        engine=Engine(name="terraform", version="1.11.4", providers={"registry/hashicorp/aws": "5.100.0"}),
        findings=findings,
        error=PlanFailedError("no", advice="look").report() if failed else None,
    )


def test_the_json_document_is_the_contract() -> None:
    """Key for key what other programs were promised."""
    assert checks_document([result(Verdict.DRIFTED, finding())]) == {
        "checks": [
            {
                "stack": "platform/envs/prod/network",
                "commit": "0f3d" * 10,
                "trigger": "manual",
                "verdict": "drifted",
                "method": "plan",
                "method_reason": "no_recording",
                "started_at": "2026-11-23T09:30:00.000Z",
                "duration_seconds": 4.1,
                "engine": {
                    "name": "terraform",
                    "version": "1.11.4",
                    "providers": {"registry/hashicorp/aws": "5.100.0"},
                },
                "findings": [
                    {
                        "address": "aws_security_group.web",
                        "type": "aws_security_group",
                        "kind": "modified",
                        "action": "update",
                        "causes": ["out_of_band"],
                        "severity": "critical",
                        "fingerprint": "f00d",
                        "counted": True,
                        "attributes": [
                            {
                                "path": "/ingress",
                                "before": [],
                                "after": [],
                                "actual": [{"from_port": 22}],
                                "sensitive": False,
                                "cause": "out_of_band",
                            }
                        ],
                    }
                ],
                "error": None,
            }
        ],
        "summary": {"in_sync": 0, "drifted": 1, "pending": 0, "mixed": 0, "error": 0, "skipped": 0},
    }


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([Verdict.IN_SYNC], Exit.OK),
        ([Verdict.IN_SYNC, Verdict.DRIFTED], Exit.DIFFERENCES),
        ([Verdict.PENDING], Exit.DIFFERENCES),
        ([Verdict.MIXED], Exit.DIFFERENCES),
        ([Verdict.DRIFTED, Verdict.ERROR], Exit.ERROR),
    ],
)
def test_exit_codes(verdicts: list[Verdict], code: int) -> None:
    """A check that could not be made outweighs a difference: unknown is never passed off as known."""
    assert exit_code([result(verdict) for verdict in verdicts]) == code


def test_an_error_names_its_class_and_what_to_do() -> None:
    check = checks_document([result(Verdict.ERROR, failed=True)])["checks"][0]
    assert check["error"] == {"class": "plan_failed", "message": "no", "advice": "look", "detail": None}


def test_junit_counts_differences_as_failures_and_failed_checks_as_errors() -> None:
    text = render(
        [result(Verdict.DRIFTED, finding()), result(Verdict.IN_SYNC), result(Verdict.ERROR, failed=True)],
        Format.JUNIT,
    )
    suite = ET.fromstring(text).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    assert "aws_security_group.web" in (suite.findtext("testcase/failure") or "")


def test_sarif_has_a_result_per_counted_finding() -> None:
    document = json.loads(
        render([result(Verdict.DRIFTED, finding(), finding("x", counted=False))], Format.SARIF)
    )
    (run,) = document["runs"]
    assert [item["partialFingerprints"] for item in run["results"]] == [{"driftwatch/v1": "f00d"}]
    assert run["results"][0]["ruleId"] in {rule["id"] for rule in run["tool"]["driver"]["rules"]}


@given(st.text(min_size=1, max_size=40), st.sampled_from([Format.JSON, Format.JUNIT, Format.SARIF]))
def test_any_address_leaves_the_form_readable(address: str, form: Format) -> None:
    """Resource keys hold any Unicode there is; readers of JSON and XML must not choke on them."""
    text = render([result(Verdict.DRIFTED, finding(f'x["{address}"]'))], form)
    if form is Format.JUNIT:
        ET.fromstring(text)
    else:
        json.loads(text)
    text.encode("utf-8", errors="strict")


def test_markdown_cannot_be_broken_out_of() -> None:
    text = render([result(Verdict.DRIFTED, finding('x["`|<script>\n# head"]'))], Format.MARKDOWN)
    row = next(line for line in text.splitlines() if line.startswith("| critical"))
    assert row.count(" | ") == 4
    assert "\n# head" not in text


def test_timestamps_are_utc_with_a_z() -> None:
    assert timestamp(datetime.fromisoformat("2026-11-23T10:00:00+01:00")) == "2026-11-23T09:00:00.000Z"
