"""How results look to a person at a terminal: rich tables, colours where there is a terminal to show them."""

from __future__ import annotations

import sys
from datetime import UTC
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console, Group
from rich.text import Text

from driftwatch.cli.formats import brief, plain, visible
from driftwatch.documents.drift import about, open_in, timestamp, what_was_told, worst
from driftwatch.model import Cause, FindingKind, FindingStatus, Health, Resolution, Severity, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from driftwatch.errors import DriftwatchError
    from driftwatch.model import (
        Acceptance,
        AttributeChange,
        CheckResult,
        ErrorReport,
        Finding,
        Incident,
        IncidentLine,
        JsonValue,
        StackId,
        StackStatus,
        StoredFinding,
    )
    from driftwatch.store import AuditEntry, FindingEvent

SHOWN_ATTRIBUTES = 12
"""Per finding, in a table; `--format json` has them all."""

STACK_COLUMNS = ("stack", "verdict", "health", "findings", "checked", "next check")
LONGEST_REASON = 200
"""Why a stack is not fresh, in a list; `stacks show` has all of it."""

NAMED_STACKS = 3
"""Of an incident, in a list; `incidents show` names them."""

NAMED_FINDINGS = 10
"""Per stack of an incident, by their ids; `findings list --stack` has them all."""

VERDICT_STYLES = {
    Verdict.IN_SYNC: "green",
    Verdict.DRIFTED: "bold red",
    Verdict.PENDING: "yellow",
    Verdict.MIXED: "bold magenta",
    Verdict.ERROR: "bold white on red",
    Verdict.SKIPPED: "dim",
}
HEALTH_STYLES = {Health.FRESH: "", Health.STALE: "yellow", Health.BLIND: "bold red"}
SEVERITY_STYLES = {
    Severity.INFO: "dim",
    Severity.LOW: "cyan",
    Severity.MEDIUM: "yellow",
    Severity.HIGH: "red",
    Severity.CRITICAL: "bold red",
}
KIND_SIGNS = {
    FindingKind.MODIFIED: "~",
    FindingKind.DELETED: "-",
    FindingKind.CREATED: "+",
    FindingKind.REPLACED: "±",
    FindingKind.DESTROYED: "-",
    FindingKind.UNMANAGED: "?",
    FindingKind.OUTPUT: "→",
    FindingKind.CHECK_FAILED: "!",
}
CAUSE_WORDS = {
    Cause.OUT_OF_BAND: "changed by hand",
    Cause.UNAPPLIED_COMMIT: "merged, not applied",
    Cause.PROVIDER_UPGRADE: "provider upgraded",
    Cause.INPUT_CHANGE: "an input changed",
    Cause.STATE_EDIT: "state edited",
    Cause.NOISE: "noise",
    Cause.UNDETERMINED: "not applied",
}

RESOLUTION_WORDS = {
    Resolution.REPAIR: "by an apply",
    Resolution.CODE: "by a commit",
    Resolution.HAND: "put back outside driftwatch",
    Resolution.GONE: "the resource is gone",
    Resolution.NOISE: "what is left is noise",
    Resolution.STACK_REMOVED: "stack removed",
    Resolution.UNDETERMINED: "nobody knows how",
}

stdout = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
stderr = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


def words(verdict: Verdict | None) -> str:
    """A verdict as people say it."""
    return verdict.replace("_", " ") if verdict else "never checked"


def show_results(results: Sequence[CheckResult], *, console: Console = stdout) -> None:
    """One block per stack, the worst findings first, then a line that counts."""
    for result in results:
        _show_result(result, console)
    if len(results) > 1:
        counts = {verdict: sum(1 for r in results if r.verdict is verdict) for verdict in Verdict}
        console.print(", ".join(f"{count} {words(verdict)}" for verdict, count in counts.items() if count))


def _show_result(result: CheckResult, console: Console) -> None:
    head = Text.assemble(
        (plain(str(result.stack)), "bold"),
        "  ",
        (words(result.verdict), VERDICT_STYLES[result.verdict]),
        (f"  {_aside(result)}", "dim"),
    )
    console.print(head)
    if result.mass_deletion:
        console.print(indented(Text(visible(result.mass_deletion), "bold red"), 2))
    if result.error:
        show_error(result.error, console)
    for finding in sorted(result.counted, key=lambda item: -item.severity.rank):
        _show_finding(finding, console)
    hidden = len(result.findings) - len(result.counted)
    if hidden:
        plural = "difference is" if hidden == 1 else "differences are"
        console.print(f"  {hidden} {plural} noise and not counted (--format json shows them)", style="dim")


def _aside(result: CheckResult) -> str:
    parts = [f"{result.duration_seconds:.1f} s"]
    if result.engine:
        parts.append(f"{result.engine.name} {result.engine.version}")
    if result.commit:
        parts.append(result.commit[:8])
    return " · ".join(parts)


def _show_finding(finding: Finding, console: Console) -> None:
    causes = ", ".join(CAUSE_WORDS[cause] for cause in finding.causes)
    console.print(
        Text.assemble(
            f"  {KIND_SIGNS[finding.kind]} ",
            (f"{finding.severity:<8} ", SEVERITY_STYLES[finding.severity]),
            (plain(finding.address), "bold"),
            f"  {finding.kind.replace('_', ' ')}",
            (f"  {causes}", "dim"),
        )
    )
    if finding.message:
        console.print(indented(Text(visible(finding.message)), 6))
    for change in finding.attributes[:SHOWN_ATTRIBUTES]:
        console.print(indented(attribute_line(change), 6))
    if len(finding.attributes) > SHOWN_ATTRIBUTES:
        console.print(f"      and {len(finding.attributes) - SHOWN_ATTRIBUTES} more attributes", style="dim")


def attribute_line(change: AttributeChange) -> Text:
    """`/path: what the cloud has, what the code wants`; of two lists, what one has and the other lacks."""
    line = Text(plain(change.path) or "value", "cyan")  # an output's own value has no path
    if change.sensitive:
        return line.append(" (sensitive, differs)", "dim")
    actual, after = change.actual, change.after
    if isinstance(actual, list) and isinstance(after, list):
        extra = [item for item in actual if item not in after]
        missing = [item for item in after if item not in actual]
        if extra or missing:
            return _difference(line, extra, missing)
    line.append(": ", "default").append(brief(actual), "red").append(" in the cloud, ", "dim")
    return line.append(brief(after), "green").append(" in the code", "dim")


def _difference(line: Text, extra: list[JsonValue], missing: list[JsonValue]) -> Text:
    for items, style, place in ((extra, "red", "only in the cloud"), (missing, "green", "only in the code")):
        if items:
            line.append(": " if line.plain.count(":") == 0 else ", ", "default")
            line.append(", ".join(brief(item, 100) for item in items), style).append(f" {place}", "dim")
    return line


def indented(text: Text, columns: int) -> Text:
    """`text` with each of its lines moved to the right; long ones are the terminal's to wrap."""
    space = " " * columns
    return Text("\n").join(Text(space).append_text(line) for line in text.split("\n", allow_blank=True))


def show_error(error: ErrorReport, console: Console) -> None:
    """Why a stack could not be checked, and what to do."""
    console.print(indented(Text.assemble((error.code, "bold red"), ": ", visible(error.message)), 2))
    if detail := unsaid(error.detail, error.message):
        console.print(indented(Text(detail, "dim"), 4))
    if error.advice:
        console.print(indented(Text(f"→ {visible(error.advice)}"), 2))


def show_problem(problem: DriftwatchError) -> None:
    """An error that ends the command, on stderr: what, the details, what to do."""
    stderr.print(Text.assemble(("Error", "bold red"), f" ({problem.code}): ", visible(problem.message)))
    if detail := unsaid(problem.detail, problem.message):
        stderr.print(indented(Text(detail), 2))
    if problem.advice:
        stderr.print(f"→ {visible(problem.advice)}")


def unsaid(detail: str | None, message: str) -> str | None:
    """`detail`, where it says more than `message` does."""
    return None if detail is None or detail.strip() in message else visible(detail.rstrip())


def stacks_list(
    stacks: Sequence[StackStatus], now: datetime, notes: Mapping[StackId, Sequence[str]] | None = None
) -> Group:
    """The rows of `stacks list`; below a stack why it is not fresh, and what `notes` say of it.

    Nothing is cut off where the terminal is narrow: the terminal wraps, and `| grep` finds whole names.
    """
    rows = [
        [
            Text(heading, "bold")
            for heading in ("stack", "verdict", "health", "findings", "checked", "next check")
        ]
    ]
    rows += [_stack_cells(status, now) for status in stacks]
    widths = [max(cell_len(row[column].plain) for row in rows) for column in range(len(rows[0]))]
    head, *lines = [_in_columns(row, widths) for row in rows]
    shown = [head]
    for status, line in zip(stacks, lines, strict=True):
        shown.append(line)
        if status.health_reason:
            shown.append(Text(f"    {brief(status.health_reason, LONGEST_REASON)}", "dim"))
        shown += [Text(f"    {plain(note)}", "yellow") for note in (notes or {}).get(status.id, ())]
    return Group(*shown)


def _stack_cells(status: StackStatus, now: datetime) -> list[Text]:
    return [
        Text(plain(str(status.id))),
        Text(words(status.verdict), _verdict_style(status)),
        Text(status.health, HEALTH_STYLES[status.health]),
        Text(str(status.open_findings)),
        Text(ago(status.checked_at, now)),
        Text(ahead(status.next_due_at, now)),
    ]


def _verdict_style(status: StackStatus) -> str:
    """Nothing is green that nobody knows any more."""
    if status.verdict is None or (status.verdict is Verdict.IN_SYNC and status.health is not Health.FRESH):
        return "dim"
    return VERDICT_STYLES[status.verdict]


def _in_columns(cells: Sequence[Text], widths: Sequence[int]) -> Text:
    line = Text()
    for cell, width in zip(cells, widths, strict=True):
        line.append_text(cell).append(" " * (width - cell_len(cell.plain) + 2))
    line.rstrip()
    return line


def findings_list(findings: Sequence[StoredFinding], now: datetime) -> Group:
    """The rows of `findings list`: two lines each, since addresses and stacks are long and must be whole."""
    return Group(*(line for item in findings for line in _finding_lines(item, now)))


def _finding_lines(item: StoredFinding, now: datetime) -> tuple[Text, Text]:
    finding = item.finding
    causes = ", ".join(CAUSE_WORDS[cause] for cause in finding.causes)
    head = Text.assemble(
        (f"{item.id:>5}  ", "dim"),
        (f"{finding.severity:<8}  ", SEVERITY_STYLES[finding.severity]),
        (plain(finding.address), "bold"),
        f"  {finding.kind.replace('_', ' ')}, {causes}",
    )
    since = f"first seen {ago(item.first_seen, now)}"
    return head, Text(f"{'':17}{plain(str(item.stack))} · {standing(item)} · {since}", "dim")


def standing(item: StoredFinding) -> str:
    """How a finding stands: its status, by what it was resolved, until when it is put aside."""
    if item.resolution:
        return f"{item.status} ({RESOLUTION_WORDS[item.resolution]})"
    return f"{item.status}{deadline(item)}"


def deadline(item: StoredFinding) -> str:
    """Until when a person has put a finding aside; empty where nobody has."""
    if item.until is not None:
        return f" until {minute(item.until)}"
    return " for good" if item.status is FindingStatus.ACCEPTED else ""


def acceptance(accepted: Acceptance) -> str:
    """What was accepted, by whom, for how long and why."""
    what = ", ".join(accepted.values) or accepted.kind.replace("_", " ")
    owner = f", owned by {accepted.owner}" if accepted.owner else ""
    ends = f"until {minute(accepted.expires)}" if accepted.expires else "for good"
    return plain(f"{what} {ends}, by {accepted.by}{owner}: {accepted.reason}")


def times(item: StoredFinding) -> list[str]:
    """How long it took to be detected and to be resolved, where that is known."""
    lines = []
    if item.time_to_detect is not None:
        lines.append(
            f"detected within {span(item.time_to_detect.total_seconds())} of the last check without it"
        )
    if item.time_to_resolve is not None:
        lines.append(f"resolved after {span(item.time_to_resolve.total_seconds())}")
    if item.flapping_since is not None:
        lines.append(f"comes and goes since {minute(item.flapping_since)}")
    return lines


def event_line(event: FindingEvent) -> Text:
    """One step of a finding's life: when, what, by whom, why."""
    said = f"  {event.event.replace('_', ' ')}"
    if event.until is not None:
        said += f" until {minute(event.until)}"
    said += f" by {event.actor}" + (f", check {event.check_id}" if event.check_id is not None else "")
    if event.reason:
        said += f": {event.reason}"
    return Text.assemble("  ", (str(timestamp(event.at)), "dim"), plain(said))


def incidents_list(incidents: Sequence[Incident], now: datetime) -> Group:
    """The rows of `incidents list`: two lines each, as of findings."""
    return Group(*(line for incident in incidents for line in _incident_lines(incident, now)))


def _incident_lines(incident: Incident, now: datetime) -> tuple[Text, Text]:
    head = Text.assemble(
        (f"{incident.id:>5}  ", "dim"), _severity(incident.lines, 8), "  ", (plain(about(incident)), "bold")
    )
    since = f"began {ago(incident.opened_at, now)}"
    if incident.closed_at:
        since += f", over since {ago(incident.closed_at, now).removesuffix(' ago')}"
    return head, Text(f"{'':17}{_stacks(incident)} · {_count(incident)} · {since}", "dim")


def _severity(lines: Sequence[IncidentLine], width: int = 0) -> tuple[str, str]:
    severity = worst(lines)
    return f"{severity or '-':<{width}}", SEVERITY_STYLES[severity] if severity else "dim"


def _stacks(incident: Incident) -> str:
    """Its worst stacks by name; the others are counted."""
    named = [plain(line.announcement.stack) for line in incident.lines[:NAMED_STACKS]]
    more = incident.total - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _count(incident: Incident) -> str:
    if incident.total == 1:
        return "open" if incident.open else "over"
    return f"{incident.open} of {incident.total} stacks open"


def incident_in_full(incident: Incident, waiting: Mapping[str, Sequence[int]], now: datetime) -> Group:
    """One incident with each of its stacks; `waiting` are the ids of the open findings by stack."""
    lines = [
        Text(plain(about(incident)), "bold"),
        Text(f"  began     {minute(incident.opened_at)}, {ago(incident.opened_at, now)}"),
    ]
    if incident.closed_at:
        lines.append(Text(f"  over      {minute(incident.closed_at)}, {ago(incident.closed_at, now)}"))
    lines += [
        Text.assemble("  severity  ", _severity(incident.lines)),
        Text(f"  stacks    {incident.open} of {incident.total} open"),
    ]
    for line in incident.lines:
        lines += _stack_lines(line, open_in(line, waiting), now)
    if incident.total > len(incident.lines):
        lines.append(Text(f"  and {incident.total - len(incident.lines)} stacks more"))
    return Group(*lines)


def _stack_lines(line: IncidentLine, waiting: Sequence[int], now: datetime) -> Iterator[Text]:
    told = line.announcement
    yield Text.assemble(
        "  ",
        (plain(told.stack), "bold"),
        "  ",
        ("over", "green") if line.over else _severity([line]),
        (f"  {plain(what_was_told(told))} · told {ago(told.at, now)}", "dim"),
    )
    if told.said:
        yield Text(f"      {plain(told.said)}")
    if told.error and not line.over:
        yield Text(f"      {brief(told.error.message, LONGEST_REASON)}", "red")
    if waiting:
        more = f" and {len(waiting) - NAMED_FINDINGS} more" if len(waiting) > NAMED_FINDINGS else ""
        ids = ", ".join(map(str, waiting[:NAMED_FINDINGS]))
        yield Text(f"      {'finding' if len(waiting) == 1 else 'findings'} {ids}{more}", "dim")


def audit_line(entry: AuditEntry) -> Text:
    """One row of the audit: when, who by which way, what, and what came of it."""
    said = f"  {entry.actor} ({entry.via})  {entry.action} {entry.subject}: {entry.outcome}"
    if entry.reason:
        said += f" ({entry.reason})"
    return Text.assemble((f"{entry.id:>5}  ", "dim"), (str(timestamp(entry.at)), "dim"), plain(said))


def minute(moment: datetime) -> str:
    """A time to the minute, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def ago(moment: datetime | None, now: datetime) -> str:
    """How long ago `moment` was."""
    return "never" if moment is None else f"{span((now - moment).total_seconds())} ago"


def ahead(moment: datetime | None, now: datetime) -> str:
    """How far ahead `moment` is."""
    if moment is None:
        return "not scheduled"
    seconds = (moment - now).total_seconds()
    return "now" if seconds <= 0 else f"in {span(seconds)}"


def span(seconds: float) -> str:
    """A length of time in the one unit that fits."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if abs(seconds) >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def is_interactive() -> bool:
    """True where somebody sees stderr."""
    return sys.stderr.isatty()
