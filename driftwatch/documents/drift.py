"""Checks, stacks, findings, incidents and the audit as JSON documents: the contract that others build on.

Pure. What is secret never comes here; who prints a document escapes what steers a terminal.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from driftwatch.drift.explain import explain
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
        StackStatus,
        StoredFinding,
    )
    from driftwatch.store import AuditEntry, FindingEvent


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
        "error": error_document(told.error),
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
        "error": error_document(result.error),
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


def error_document(error: ErrorReport | None) -> dict[str, Any] | None:
    """An error as its class, its sentences redacted once more."""
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
        "error": error_document(status.error),
    }
