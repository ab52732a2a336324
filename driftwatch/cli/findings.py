"""`driftwatch findings`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rich.text import Text

from driftwatch.cli import terminal
from driftwatch.cli.clock import now
from driftwatch.cli.compose import opened_store, read_settings
from driftwatch.cli.formats import Listing, findings_document, plain, stored, timestamp, visible
from driftwatch.cli.stacks import ACTIVE, matching, print_json
from driftwatch.errors import Exit, UsageError
from driftwatch.model import FindingStatus

if TYPE_CHECKING:
    from pathlib import Path

    from driftwatch.model import StoredFinding


def list_findings(
    config: Path, *, stack: str | None, status: str, noise: bool, limit: int, after: int | None, form: Listing
) -> int:
    """Prints one page of findings; a stack that nobody knows is an error, and not free of findings."""
    statuses = _statuses(status)
    with opened_store(read_settings(config, os.environ)) as store:
        page = store.findings(
            stack=stack, statuses=statuses, counted=None if noise else True, limit=limit, after=after
        )
        if stack and not page.items:
            matching(store, [stack])
    if form is Listing.JSON:
        print_json(findings_document(page.items, page.next))
        return Exit.OK
    if not page.items:
        terminal.stdout.print("No findings.")
        return Exit.OK
    terminal.stdout.print(terminal.findings_list(page.items, now()))
    if page.next is not None:
        terminal.stdout.print(f"More: --after {page.next}", style="dim")
    return Exit.OK


def show_finding(config: Path, number: int, form: Listing) -> int:
    """Prints one finding with its attributes and every step of its life."""
    with opened_store(read_settings(config, os.environ)) as store:
        item = store.finding(number)
        events = store.finding_events(number) if item else []
    if item is None:
        raise UsageError(
            f"no finding {number}", advice="`driftwatch findings list --status all` shows their ids."
        )
    if form is Listing.JSON:
        life = [
            {"event": event.event, "at": timestamp(event.at), "check": event.check_id} for event in events
        ]
        print_json({**stored(item), "events": life})
        return Exit.OK
    _show(item)
    for event in events:
        terminal.stdout.print(Text.assemble("  ", (str(timestamp(event.at)), "dim"), f"  {event.event}"))
    return Exit.OK


def _show(item: StoredFinding) -> None:
    finding = item.finding
    causes = ", ".join(terminal.CAUSE_WORDS[cause] for cause in finding.causes)
    out = terminal.stdout
    out.print(Text.assemble((plain(finding.address), "bold"), f"  {finding.kind.replace('_', ' ')}"))
    out.print(Text(f"  stack     {plain(str(item.stack))}"))
    out.print(Text.assemble("  severity  ", (finding.severity, terminal.SEVERITY_STYLES[finding.severity])))
    out.print(Text(f"  cause     {causes}"))
    out.print(Text(f"  status    {item.status}" + (f" ({item.resolution})" if item.resolution else "")))
    if finding.message:
        out.print(terminal.indented(Text(visible(finding.message)), 2))
    for change in finding.attributes:
        out.print(terminal.indented(terminal.attribute_line(change), 2))
    first, last = terminal.ago(item.first_seen, now()), terminal.ago(item.last_seen, now())
    out.print(f"  first seen {first}, last seen {last}")


def _statuses(name: str) -> tuple[FindingStatus, ...]:
    if name == "active":
        return ACTIVE
    if name == "all":
        return tuple(FindingStatus)
    try:
        return (FindingStatus(name),)
    except ValueError as exc:
        known = ", ".join([*FindingStatus, "active", "all"])
        raise UsageError(f"no such status: {name}", advice=f"One of {known}.") from exc
