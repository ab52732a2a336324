"""`driftwatch findings`."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING

from rich.text import Text

from driftwatch.cli import terminal
from driftwatch.cli.clock import now
from driftwatch.cli.compose import opened_store, read_settings
from driftwatch.cli.formats import Listing, plain, visible
from driftwatch.cli.moments import length, moment
from driftwatch.cli.stacks import ACTIVE, matching, print_json
from driftwatch.config.values import plain_text
from driftwatch.documents.drift import event_document, findings_document, life_document, stored
from driftwatch.drift import Accept, Acknowledge, Press, Refused, Reopen, Snooze
from driftwatch.drift.explain import explain
from driftwatch.drift.lifecycle import ACTION_NAMES
from driftwatch.errors import Exit, UsageError
from driftwatch.model import FindingStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from driftwatch.drift.lifecycle import Action
    from driftwatch.model import StoredFinding
    from driftwatch.store import Acted, FindingEvent, Store

GROUPS = {
    "active": ACTIVE,
    "unresolved": tuple(status for status in FindingStatus if status.is_active),
    "all": tuple(FindingStatus),
}
"""What `--status` takes beside the statuses themselves."""


def list_findings(
    config: Path, *, stack: str | None, status: str, noise: bool, limit: int, after: int | None, form: Listing
) -> int:
    """Prints one page of findings; a stack that nobody knows is an error, and not free of findings."""
    statuses = _statuses(status)
    settings = read_settings(config, os.environ)
    with opened_store(settings) as store:
        page = store.findings(
            stack=stack, statuses=statuses, counted=None if noise else True, limit=limit, after=after
        )
        if stack and not page.items:
            matching(store, [stack], settings)
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
        raise _unknown(number)
    if form is Listing.JSON:
        print_json(_document(item, events))
        return Exit.OK
    _show(item)
    for event in events:
        terminal.stdout.print(terminal.event_line(event))
    return Exit.OK


def acknowledge(config: Path, number: int, *, reason: str | None, name: str | None, form: Listing) -> int:
    """Says that somebody looks after a finding."""
    return _press(config, number, Acknowledge(), at=now(), reason=reason, name=name, form=form)


def snooze(
    config: Path,
    number: int,
    *,
    until: str | None,
    span: str | None,
    reason: str | None,
    name: str | None,
    form: Listing,
) -> int:
    """Puts a finding aside until a time."""
    at = now()
    if (until is None) == (span is None):
        raise UsageError("a snooze ends: give either --until or --for", advice="For example --for 2h.")
    ends = moment("--until", until, at) if until is not None else at + length("--for", span or "")
    return _press(config, number, Snooze(until=ends), at=at, reason=reason, name=name, form=form)


def accept(
    config: Path,
    number: int,
    *,
    reason: str,
    owner: str | None,
    expires: str | None,
    attributes: Sequence[str],
    name: str | None,
    form: Listing,
) -> int:
    """Lets a finding be as it is, or some of its attributes."""
    at = now()
    terms = Accept(
        owner=_said("--owner", owner),
        expires=moment("--expires", expires, at) if expires is not None else None,
        attributes=tuple(attributes),
    )
    return _press(config, number, terms, at=at, reason=reason, name=name, form=form)


def reopen(config: Path, number: int, *, reason: str | None, name: str | None, form: Listing) -> int:
    """Makes a finding everybody's again."""
    return _press(config, number, Reopen(), at=now(), reason=reason, name=name, form=form)


def _press(
    config: Path,
    number: int,
    action: Action,
    *,
    at: datetime,
    reason: str | None,
    name: str | None,
    form: Listing,
) -> int:
    press = Press(action=action, actor=_actor(name), at=at, reason=_said("--reason", reason))
    with opened_store(read_settings(config, os.environ)) as store:
        acted = store.act(number, press)
        _note(store, number, press, acted)
        if acted is None:
            raise _unknown(number)
        if isinstance(acted, Refused):
            raise UsageError(acted.sentence, advice=f"driftwatch findings show {number}")
        events = store.finding_events(number) if form is Listing.JSON else []
    if form is Listing.JSON:
        print_json(_document(acted.finding, events))
    else:
        terminal.stdout.print(Text(plain(_outcome(acted, action))))
    return Exit.OK


def _note(store: Store, number: int, press: Press, acted: Acted | Refused | None) -> None:
    """Writes into the audit what somebody asked for, and what came of it."""
    refusal = "unknown" if acted is None else acted.reason if isinstance(acted, Refused) else None
    store.note(
        at=press.at,
        actor=press.actor,
        via="terminal",
        action=ACTION_NAMES[type(press.action)],
        subject=f"finding {number}",
        outcome=f"refused: {refusal}" if refusal else "done",
        reason=press.reason,
    )


def _outcome(acted: Acted, action: Action) -> str:
    item = acted.finding
    who = f"Finding {item.id} ({item.finding.address} in {item.stack})"
    if isinstance(action, Reopen):
        return f"{who} is open again."
    if isinstance(action, Accept) and item.status is not FindingStatus.ACCEPTED:
        accepted = ", ".join(action.attributes)
        return f"{who} stays {item.status}: {accepted} is accepted, and more differs."
    return f"{who} is {item.status}{terminal.deadline(item)}."


def _actor(name: str | None) -> str:
    if name is not None:
        return _said("--as", name) or ""
    try:
        return getpass.getuser()
    except (OSError, KeyError) as exc:
        raise UsageError("nobody knows who you are here", advice="Say it with --as NAME.") from exc


def _said(option: str, text: str | None) -> str | None:
    """What a person wrote of themselves, for the record: a line of plain text."""
    if text is None:
        return None
    try:
        return plain_text(text)
    except ValueError as exc:
        raise UsageError(f"{option}: {exc}") from exc


def _unknown(number: int) -> UsageError:
    return UsageError(
        f"no finding {number}", advice="`driftwatch findings list --status all` shows their ids."
    )


def _document(item: StoredFinding, events: Sequence[FindingEvent]) -> dict[str, object]:
    return {**stored(item), **life_document(item), "events": [event_document(event) for event in events]}


def _show(item: StoredFinding) -> None:
    finding = item.finding
    causes = ", ".join(terminal.CAUSE_WORDS[cause] for cause in finding.causes)
    out = terminal.stdout
    out.print(Text.assemble((plain(finding.address), "bold"), f"  {finding.kind.replace('_', ' ')}"))
    out.print(Text(f"  stack     {plain(str(item.stack))}"))
    out.print(Text.assemble("  severity  ", (finding.severity, terminal.SEVERITY_STYLES[finding.severity])))
    out.print(Text(f"  cause     {causes}"))
    out.print(Text(f"  status    {terminal.standing(item)}"))
    if item.acceptance:
        out.print(Text(f"  accepted  {terminal.acceptance(item.acceptance)}"))
    if finding.message:
        out.print(terminal.indented(Text(visible(finding.message)), 2))
    for sentence in explain(finding):
        out.print(terminal.indented(Text(visible(sentence)), 2))
    for change in finding.attributes:
        out.print(terminal.indented(terminal.attribute_line(change), 2))
    first, last = terminal.ago(item.first_seen, now()), terminal.ago(item.last_seen, now())
    out.print(f"  first seen {first}, last seen {last}")
    for line in terminal.times(item):
        out.print(f"  {line}")


def _statuses(name: str) -> tuple[FindingStatus, ...]:
    if name in GROUPS:
        return GROUPS[name]
    try:
        return (FindingStatus(name),)
    except ValueError as exc:
        known = ", ".join([*FindingStatus, *GROUPS])
        raise UsageError(f"no such status: {name}", advice=f"One of {known}.") from exc
