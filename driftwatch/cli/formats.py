"""The forms in which results are printed: JSON (the contract), Markdown, JUnit and SARIF.

Pure: results in, text out. Nothing secret reaches this module; what it does is escape, since addresses and
messages may hold anything that a resource key can.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from driftwatch import __version__
from driftwatch.drift.explain import explain
from driftwatch.errors import Exit
from driftwatch.log import redact
from driftwatch.model import Severity, TransitionKind, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from driftwatch.model import (
        Announcement,
        AttributeChange,
        CheckResult,
        ErrorReport,
        Finding,
        Incident,
        IncidentLine,
        JsonValue,
        StackStatus,
        StoredFinding,
    )
    from driftwatch.store import AuditEntry, FindingEvent

SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_SARIF_LEVELS = {
    Severity.INFO: "note",
    Severity.LOW: "note",
    Severity.MEDIUM: "warning",
    Severity.HIGH: "error",
    Severity.CRITICAL: "error",
}


_UNSEEN = re.compile("[\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufffe\uffff]")
"""Invisible, or the direction of text, or no character at all: half a surrogate pair, from a file's name."""


class Listing(StrEnum):
    """What `--format` takes where something is listed or shown."""

    TABLE = "table"
    JSON = "json"


class Format(StrEnum):
    """What `--format` takes where something is checked."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"
    JUNIT = "junit"
    SARIF = "sarif"


def exit_code(results: Sequence[CheckResult]) -> int:
    """1 where anything could not be checked, else 2 where anything differs, else 0."""
    verdicts = {result.verdict for result in results}
    if Verdict.ERROR in verdicts:
        return Exit.ERROR
    if verdicts & {Verdict.DRIFTED, Verdict.PENDING, Verdict.MIXED}:
        return Exit.DIFFERENCES
    return Exit.OK


def render(results: Sequence[CheckResult], form: Format) -> str:
    """`results` in any form but the table, which needs a terminal."""
    writers = {
        Format.JSON: lambda: to_json(checks_document(results)),
        Format.MARKDOWN: lambda: markdown(results),
        Format.JUNIT: lambda: junit(results),
        Format.SARIF: lambda: to_json(sarif(results)),
    }
    return writers[form]()


def plain(text: str) -> str:
    """`text` on one line, without secrets and without anything that steers a terminal or turns text round."""
    return visible(text).replace("\n", "\\n").replace("\t", " ")


def visible(text: str) -> str:
    """As `plain`, of a text that may have lines."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found.group()):04x}", redact(text))


def to_json(document: Mapping[str, Any]) -> str:
    """JSON that any reader and any terminal takes: ASCII only, so that no name can steer a terminal."""
    return json.dumps(document, indent=2, allow_nan=False)


# ---- JSON ----------------------------------------------------------------------------------------------


def checks_document(results: Sequence[CheckResult]) -> dict[str, Any]:
    """What `check --format json` prints."""
    counts = Counter(result.verdict for result in results)
    return {
        "checks": [_check(result) for result in results],
        "summary": {verdict.value: counts[verdict] for verdict in Verdict},
    }


def findings_document(findings: Sequence[StoredFinding], following: int | None) -> dict[str, Any]:
    """What `findings list --format json` prints; `following` is the next page's id."""
    return {"findings": [stored(item) for item in findings], "next": following}


def stacks_document(stacks: Sequence[StackStatus]) -> dict[str, Any]:
    """What `stacks list --format json` prints."""
    return {"stacks": [stack_document(status) for status in stacks]}


def stored(item: StoredFinding) -> dict[str, Any]:
    """One stored finding: as in a check, with its id and its life."""
    return {
        "id": item.id,
        "stack": str(item.stack),
        "status": item.status.value,
        "first_seen": timestamp(item.first_seen),
        "last_seen": timestamp(item.last_seen),
        **_finding(item.finding),
    }


def life_document(item: StoredFinding) -> dict[str, Any]:
    """What `findings show --format json` adds to a finding: why it is, how it stands, how long it took."""
    accepted = item.acceptance
    return {
        "explanation": list(explain(item.finding)),
        "opened_at": timestamp(item.opened_at),
        "resolved_at": timestamp(item.resolved_at),
        "resolution": item.resolution and item.resolution.value,
        "until": timestamp(item.until),
        "flapping_since": timestamp(item.flapping_since),
        "seconds_to_detect": _seconds(item.time_to_detect),
        "seconds_to_resolve": _seconds(item.time_to_resolve),
        "acceptance": accepted
        and {
            "by": accepted.by,
            "at": timestamp(accepted.at),
            "reason": accepted.reason,
            "owner": accepted.owner,
            "expires": timestamp(accepted.expires),
            "attributes": sorted(accepted.values),
        },
    }


def event_document(event: FindingEvent) -> dict[str, Any]:
    """One step of a finding's life."""
    return {
        "event": event.event.value,
        "at": timestamp(event.at),
        "check": event.check_id,
        "actor": event.actor,
        "reason": event.reason,
        "until": timestamp(event.until),
    }


def incidents_document(incidents: Sequence[Incident], following: int | None) -> dict[str, Any]:
    """What `incidents list --format json` prints; `following` is the next page's id."""
    return {"incidents": [incident_document(incident) for incident in incidents], "next": following}


def incident_document(incident: Incident) -> dict[str, Any]:
    """One row of `incidents list --format json`; `stacks` are the worst of them, the open ones first."""
    severity = worst(incident.lines)
    return {
        "id": incident.id,
        "title": incident.title,
        "about": about(incident),
        "severity": severity and severity.value,
        "opened_at": timestamp(incident.opened_at),
        "closed_at": timestamp(incident.closed_at),
        "open_stacks": incident.open,
        "total_stacks": incident.total,
        "stacks": [line.announcement.stack for line in incident.lines],
    }


def shown_incident(incident: Incident, waiting: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """What `incidents show --format json` prints; `waiting` are the ids of the open findings by stack."""
    lines = [_line(line, open_in(line, waiting)) for line in incident.lines]
    return {**incident_document(incident), "lines": lines}


def open_in(line: IncidentLine, waiting: Mapping[str, Sequence[int]]) -> Sequence[int]:
    """Those of a stack's line: one that came back has a second line, and nothing is open in the first."""
    return () if line.over else waiting.get(line.announcement.stack, ())


def _line(line: IncidentLine, waiting: Sequence[int]) -> dict[str, Any]:
    told, severity = line.announcement, worst([line])
    return {
        "stack": told.stack,
        "over": line.over,
        "told": told.kind.value,
        "verdict": told.verdict.value,
        "severity": severity and severity.value,
        "at": timestamp(told.at),
        "commit": told.commit,
        "check": told.check_id,
        "owners": list(told.owners),
        "said": told.said,
        "total": told.total,
        "set_aside": told.set_aside,
        "findings": [_finding(finding) for finding in told.findings],
        "open_findings": list(waiting),
        "resolved": list(told.resolved),
        "error": _error(told.error),
    }


def worst(lines: Sequence[IncidentLine]) -> Severity | None:
    """The worst severity of what is open; None where nothing is that has one, as where checks fail."""
    found = [finding.severity for line in lines if not line.over for finding in line.announcement.findings]
    return max(found, key=lambda severity: severity.rank, default=None)


def about(incident: Incident) -> str:
    """What an incident is about: its cause, or else what was last told of its worst stack."""
    if incident.title is not None:
        return incident.title
    return what_was_told(incident.lines[0].announcement) if incident.lines else "nothing is left of it"


def what_was_told(told: Announcement) -> str:
    """An announcement in a few words: the addresses it is about, or what is wrong with the detector."""
    match told.kind:
        case TransitionKind.CHECK_FAILING:
            return f"the check fails ({told.error.code})" if told.error else "the check fails"
        case TransitionKind.RECOVERED:
            return "the check works again"
        case TransitionKind.REPLAY_DISAGREED:
            return "a replay was wrong"
        case TransitionKind.STALE:
            return "no good check comes any more"
    addresses = [finding.address for finding in told.findings] or list(told.resolved)
    if not addresses:
        return told.said or "nothing is open"
    more = max(told.total, len(addresses)) - 1
    return f"{addresses[0]} and {more} more" if more else addresses[0]


def audit_document(entries: Sequence[AuditEntry], following: int | None) -> dict[str, Any]:
    """What `audit list --format json` prints; `following` is the next page's id."""
    return {"entries": [audit_entry(entry) for entry in entries], "next": following}


def audit_entry(entry: AuditEntry) -> dict[str, Any]:
    """One row of the audit."""
    return {
        "id": entry.id,
        "at": timestamp(entry.at),
        "actor": entry.actor,
        "via": entry.via,
        "action": entry.action,
        "subject": entry.subject,
        "outcome": entry.outcome,
        "reason": entry.reason,
        "digest": entry.digest,
    }


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds()


def timestamp(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC with a Z, to the millisecond."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _check(result: CheckResult) -> dict[str, Any]:
    document: dict[str, Any] = {
        "stack": str(result.stack),
        "commit": result.commit,
        "trigger": result.trigger.value,
        "verdict": result.verdict.value,
        "method": result.method.value,
        "method_reason": result.method_reason,
        "started_at": timestamp(result.started_at),
        "duration_seconds": result.duration_seconds,
        "engine": result.engine
        and {
            "name": result.engine.name,
            "version": result.engine.version,
            "providers": dict(result.engine.providers),
        },
        "findings": [_finding(finding) for finding in result.findings],
        "error": _error(result.error),
    }
    if result.mass_deletion:
        document["mass_deletion"] = result.mass_deletion
    return document


def _finding(finding: Finding) -> dict[str, Any]:
    document: dict[str, Any] = {
        "address": finding.address,
        "type": finding.type,
        "kind": finding.kind.value,
        "action": finding.action,
        "causes": [cause.value for cause in finding.causes],
        "severity": finding.severity.value,
        "fingerprint": finding.fingerprint,
        "counted": finding.counted,
        "attributes": [_attribute(change) for change in finding.attributes],
    }
    if finding.message is not None:
        document["message"] = finding.message
    return document


def _attribute(change: AttributeChange) -> dict[str, Any]:
    return {
        "path": change.path,
        "before": change.before,
        "after": change.after,
        "actual": change.actual,
        "sensitive": change.sensitive,
        "cause": change.cause.value,
    }


def _error(error: ErrorReport | None) -> dict[str, Any] | None:
    if error is None:
        return None
    texts = {"message": error.message, "advice": error.advice, "detail": error.detail}
    return {"class": error.code, **{name: text and redact(text) for name, text in texts.items()}}


def stack_document(status: StackStatus) -> dict[str, Any]:
    """One row of `stacks list --format json`."""
    return {
        "id": str(status.id),
        "verdict": status.verdict and status.verdict.value,
        "health": status.health.value,
        "method": status.method and status.method.value,
        "commit": status.commit,
        "checked_at": timestamp(status.checked_at),
        "next_due_at": timestamp(status.next_due_at),
        "suspended": status.suspended,
        "open_findings": status.open_findings,
    }


def shown_stack(status: StackStatus) -> dict[str, Any]:
    """What `stacks show --format json` adds to the row."""
    return {
        **stack_document(status),
        "last_good_at": timestamp(status.last_good_at),
        "owners": list(status.owners),
        "labels": dict(status.labels),
        "error": _error(status.error),
    }


# ---- Markdown ------------------------------------------------------------------------------------------


def markdown(results: Sequence[CheckResult]) -> str:
    """For a pull request or a wiki page."""
    lines: list[str] = []
    for result in results:
        lines += [f"### `{_code(str(result.stack))}`: {result.verdict.replace('_', ' ')}", ""]
        if result.mass_deletion:
            lines += [f"> **{_prose(result.mass_deletion)}**", ""]
        if result.error:
            lines += _markdown_error(result.error)
        if result.counted:
            lines += ["| severity | address | kind | cause | attributes |", "|---|---|---|---|---|"]
            lines += [_markdown_row(finding) for finding in result.counted]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _markdown_error(error: ErrorReport) -> list[str]:
    lines = [f"**{error.code}**: {_prose(error.message)}", ""]
    if error.advice:
        lines += [_prose(error.advice), ""]
    return lines


def _markdown_row(finding: Finding) -> str:
    told = [f"`{_code(change.path)}`" for change in finding.attributes]
    if finding.message:
        told.insert(0, _prose(finding.message))
    paths = "<br>".join(told)
    causes = ", ".join(cause.replace("_", " ") for cause in finding.causes)
    return f"| {finding.severity} | `{_code(finding.address)}` | {finding.kind} | {causes} | {paths} |"


def _code(text: str) -> str:
    return plain(text).replace("`", "'").replace("|", "\\|")


def _prose(text: str) -> str:
    """With no markup of its own: a message that quotes code shows neither pictures nor links."""
    escaped = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")
    return _MARKUP.sub(r"\\\g<0>", escaped)


_MARKUP = re.compile(r"[\\\[\]!*_`~|#]")


# ---- JUnit ---------------------------------------------------------------------------------------------


def junit(results: Sequence[CheckResult]) -> str:
    """One test case per stack: a difference is a failure, a check that could not be made an error."""
    code = Counter(result.verdict for result in results)
    failures = sum(1 for result in results if result.counted)
    suite = ET.Element(
        "testsuite",
        name="driftwatch",
        tests=str(len(results)),
        failures=str(failures),
        errors=str(code[Verdict.ERROR]),
        skipped=str(code[Verdict.SKIPPED]),
        time=f"{sum(result.duration_seconds for result in results):.3f}",
    )
    for result in results:
        _junit_case(suite, result)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="us-ascii", xml_declaration=True)
    return document.decode("ascii") + "\n"


def _junit_case(suite: ET.Element, result: CheckResult) -> None:
    case = ET.SubElement(
        suite, "testcase", name=_xml(str(result.stack)), time=f"{result.duration_seconds:.3f}"
    )
    case.set("classname", _xml(result.stack.repository))
    if result.error:
        problem = ET.SubElement(case, "error", type=result.error.code, message=_xml(result.error.message))
        problem.text = _xml(result.error.advice or "")
    elif result.verdict is Verdict.SKIPPED:
        ET.SubElement(case, "skipped")
    elif result.counted:
        failure = ET.SubElement(case, "failure", type=result.verdict.value)
        failure.set("message", f"{len(result.counted)} findings")
        failure.text = "\n".join(_xml(one_line(finding)) for finding in result.counted)


def one_line(finding: Finding) -> str:
    """A finding in one line of plain text."""
    causes = ", ".join(cause.replace("_", " ") for cause in finding.causes)
    paths = " ".join(change.path for change in finding.attributes)
    said = f"[{finding.severity}] {finding.address} {finding.kind} ({causes}) {paths}".rstrip()
    return plain(f"{said}: {finding.message}" if finding.message else said)


def _xml(text: str) -> str:
    """XML 1.0 has no place for most control characters, not even escaped."""
    return visible(text)


# ---- SARIF ---------------------------------------------------------------------------------------------


def sarif(results: Sequence[CheckResult]) -> dict[str, Any]:
    """SARIF 2.1.0, for code scanning pages: one rule per kind, one result per counted finding."""
    kinds = sorted({finding.kind.value for result in results for finding in result.counted})
    return {
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "driftwatch",
                        "version": __version__,
                        "rules": [
                            {"id": kind, "shortDescription": {"text": f"Resource {kind}"}} for kind in kinds
                        ],
                    }
                },
                "invocations": [
                    {
                        "executionSuccessful": all(result.error is None for result in results),
                        "toolExecutionNotifications": [
                            {
                                "level": "error",
                                "message": {"text": redact(f"{result.stack}: {result.error.message}")},
                            }
                            for result in results
                            if result.error
                        ],
                    }
                ],
                "results": [_sarif(result, finding) for result in results for finding in result.counted],
            }
        ],
    }


def _sarif(result: CheckResult, finding: Finding) -> dict[str, Any]:
    return {
        "ruleId": finding.kind.value,
        "level": _SARIF_LEVELS[finding.severity],
        "message": {"text": one_line(finding)},
        "partialFingerprints": {"driftwatch/v1": finding.fingerprint},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": quote(plain(f"{result.stack.path}/"))}},
                "logicalLocations": [{"fullyQualifiedName": finding.address, "kind": "resource"}],
            }
        ],
        "properties": {"stack": str(result.stack), "severity": finding.severity.value},
    }


def brief(value: JsonValue, limit: int = 60) -> str:
    """A value on one line of a terminal."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    text = plain(text)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
