"""`driftwatch stacks` and `driftwatch trigger`."""

from __future__ import annotations

import getpass
import os
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from rich.text import Text

from driftwatch.cli import terminal
from driftwatch.cli.clock import now
from driftwatch.cli.compose import opened_store, read_settings
from driftwatch.cli.formats import (
    Format,
    findings_document,
    stack_document,
    stacks_document,
    timestamp,
    to_json,
)
from driftwatch.errors import Exit, UnknownStackError, UsageError
from driftwatch.model import FindingStatus, Trigger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from driftwatch.model import StackStatus
    from driftwatch.store import Store

ACTIVE = tuple(status for status in FindingStatus if status.is_active)


def list_stacks(config: Path, patterns: Sequence[str], form: Format) -> int:
    """Prints the stacks that the database knows; patterns that match none are an error."""
    with opened_store(read_settings(config, os.environ)) as store:
        stacks = _matching(store, patterns)
    if printable(form) is Format.JSON:
        print_json(stacks_document(stacks))
    elif stacks:
        terminal.stdout.print(terminal.stacks_table(stacks, now()))
    else:
        terminal.stdout.print(
            "No stacks yet: they are found when `driftwatch run` or `check` reads a repository."
        )
    return Exit.OK


def show_stack(config: Path, stack: str, form: Format) -> int:
    """Prints all that is known of one stack."""
    with opened_store(read_settings(config, os.environ)) as store:
        status = _matching(store, [stack])[0]
        page = store.findings(stack=str(status.id), statuses=ACTIVE)
    if printable(form) is Format.JSON:
        print_json({**stack_document(status), **findings_document(page.items, page.next)})
        return Exit.OK
    terminal.stdout.print(terminal.stacks_table([status], now()))
    if status.last_good_at != status.checked_at:
        terminal.stdout.print(f"Last good check: {terminal.ago(status.last_good_at, now())}")
    for label, value in (("owners", ", ".join(status.owners)), ("labels", _pairs(status.labels))):
        if value:
            terminal.stdout.print(Text(f"{label}: {value}"))
    if status.error:
        terminal.show_error(status.error, terminal.stdout)
    if page.items:
        terminal.stdout.print(terminal.findings_list(page.items, now()))
    return Exit.OK


def trigger(config: Path, pattern: str, form: Format) -> int:
    """Queues a check of every stack that matches; the daemon takes manual ones first."""
    with opened_store(read_settings(config, os.environ)) as store:
        queued = [
            (status.id, store.enqueue(status.id, Trigger.MANUAL, requested_by=getpass.getuser(), at=now()))
            for status in _matching(store, [pattern])
        ]
    if printable(form) is Format.JSON:
        jobs = [{"stack": str(stack), "job": job.job_id, "created": job.created} for stack, job in queued]
        print_json({"queued": jobs, "at": timestamp(now())})
        return Exit.OK
    for stack, job in queued:
        terminal.stdout.print(f"{stack}: {'queued' if job.created else 'was queued already'}")
    return Exit.OK


def printable(form: Format) -> Format:
    """Listings come as a table or as JSON; the other forms are of checks."""
    if form not in (Format.TABLE, Format.JSON):
        raise UsageError(
            f"--format {form} is for `check`", advice="Use --format table or --format json here."
        )
    return form


def print_json(document: dict[str, object]) -> None:
    """One JSON document on stdout."""
    print(to_json(document))  # noqa: T201  (this is what the command is for)


def _matching(store: Store, patterns: Sequence[str]) -> list[StackStatus]:
    stacks = store.stacks(now=now())
    if not patterns:
        return stacks
    chosen = [item for item in stacks if any(fnmatchcase(str(item.id), pattern) for pattern in patterns)]
    if not chosen:
        raise UnknownStackError(
            f"no stack matches {', '.join(patterns)}",
            advice="`driftwatch stacks list` shows those that are known.",
        )
    return chosen


def _pairs(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items())
