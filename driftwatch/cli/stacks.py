"""`driftwatch stacks`, and what all commands need to know of stacks."""

from __future__ import annotations

import os
import socket
from fnmatch import fnmatchcase
from functools import partial
from glob import escape
from typing import TYPE_CHECKING

from driftwatch.cli import terminal
from driftwatch.cli.clock import now
from driftwatch.cli.compose import opened_store, read_settings
from driftwatch.cli.formats import Listing, plain, to_json
from driftwatch.cli.repair_lines import pin_sentence, suspension_sentence
from driftwatch.documents.drift import findings_document, shown_stack, stacks_document
from driftwatch.documents.repair import pin_document, suspension_document
from driftwatch.drift.health import configured_age
from driftwatch.errors import Exit, UnknownStackError, UsageError
from driftwatch.model import FindingStatus
from driftwatch.service import last_holder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from driftwatch.config.settings import Settings
    from driftwatch.model import StackId, StackStatus
    from driftwatch.store import Store

ACTIVE = tuple(status for status in FindingStatus if status.is_open)
"""What waits for somebody: neither resolved nor put aside."""


def list_stacks(config: Path, patterns: Sequence[str], form: Listing) -> int:
    """Prints the stacks that the database knows; a pattern that matches none is an error."""
    settings = read_settings(config, os.environ)
    with opened_store(settings) as store:
        stacks = matching(store, patterns, settings)
        notes = standing_orders(store, stacks)
        repositories = store.repositories()
    if form is Listing.JSON:
        print_json(stacks_document(stacks))
    elif stacks:
        terminal.stdout.print(terminal.stacks_list(stacks, now(), notes))
    else:
        terminal.stdout.print(
            "No stacks yet: they are found when `driftwatch run` or `driftwatch check --config` "
            "reads a repository."
        )
    concerned = {status.id.repository for status in stacks} if patterns else settings.repositories
    for each in repositories:
        if each.error and each.name in concerned:
            # Beside what was asked for: what is listed is not of the repository's newest commit.
            terminal.stderr.print(plain(f"{each.name}: {each.error.message}"))
    return Exit.OK


def show_stack(config: Path, stack: str, form: Listing) -> int:
    """Prints all that is known of one stack."""
    settings = read_settings(config, os.environ)
    with opened_store(settings) as store:
        status = one_stack(store, stack, settings)
        page = store.findings(stack=escape(str(status.id)), statuses=ACTIVE)
        suspension, pin = store.suspension_of(status.id, now()), store.pins().get(status.id)
        notes = standing_orders(store, [status])
    if form is Listing.JSON:
        orders = {"suspension": suspension_document(suspension), "pin": pin_document(pin)}
        print_json({**shown_stack(status), **orders, **findings_document(page.items, page.next)})
        return Exit.OK
    terminal.stdout.print(terminal.stacks_list([status], now(), notes))
    if status.last_good_at != status.checked_at:
        terminal.stdout.print(f"Last good check: {terminal.ago(status.last_good_at, now())}")
    for label, value in (("owners", ", ".join(status.owners)), ("labels", _pairs(status.labels))):
        if value:
            terminal.stdout.print(plain(f"{label}: {value}"))
    if status.error:
        terminal.show_error(status.error, terminal.stdout)
    if page.items:
        terminal.stdout.print(terminal.findings_list(page.items, now()))
    if page.next is not None:
        more = f"More: driftwatch findings list --stack {plain(str(status.id))} --after {page.next}"
        terminal.stdout.print(more, style="dim")
    return Exit.OK


def standing_orders(store: Store, stacks: Sequence[StackStatus]) -> dict[StackId, list[str]]:
    """What people have said of each of these stacks until further notice: suspensions and pins."""
    pins, notes = store.pins(), {}
    for status in stacks:
        suspension = store.suspension_of(status.id, now()) if status.suspended else None
        said = [suspension_sentence(suspension)] if suspension else []
        said += [pin_sentence(pins[status.id])] if status.id in pins else []
        notes[status.id] = said
    return notes


def nobody_works(settings: Settings) -> bool:
    """True where the daemon of this state directory is gone; elsewhere, or unknown, is not gone.

    Its lock is not tried: a daemon that starts at this moment would find it taken.
    """
    if settings.database is not None:
        return False
    holder = last_holder(settings.state_dir)
    if holder is None:
        return True
    return holder.host == socket.gethostname() and not _runs(holder.pid)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return True


def print_json(document: dict[str, object]) -> None:
    """One JSON document on stdout."""
    print(to_json(document))  # noqa: T201  (this is what the command is for)


def matching(store: Store, patterns: Sequence[str], settings: Settings) -> list[StackStatus]:
    """The known stacks that any of `patterns` names; all without one. Raises UnknownStackError.

    How old a good check may be, a daemon has noted; where none ran yet, the configuration says it.
    """
    stacks = store.stacks(now=now(), allowed_age=partial(configured_age, settings=settings))
    ids = expect_all([str(status.id) for status in stacks], patterns)
    return [status for status in stacks if str(status.id) in ids]


def expect_all(ids: Sequence[str], patterns: Sequence[str]) -> frozenset[str]:
    """Those of `ids` that `patterns` name, by id or glob.

    Raises UnknownStackError where any pattern names none: a stack that was misspelt was not looked at, and
    silence would say that it is well.
    """
    found = {pattern: {it for it in ids if matches(it, pattern)} for pattern in patterns}
    if missed := [pattern for pattern, its in found.items() if not its]:
        raise UnknownStackError(
            f"no stack matches {', '.join(missed)}",
            advice="Stack ids are <repository>/<path>; `driftwatch stacks list` shows those that are known.",
        )
    return frozenset().union(*found.values()) if patterns else frozenset(ids)


def matches(name: str, pattern: str) -> bool:
    """Whether `pattern` is this stack's id, which may hold brackets as its path does, or a glob for it."""
    return name == pattern or fnmatchcase(name, pattern)


def one_stack(store: Store, pattern: str, settings: Settings) -> StackStatus:
    """The one stack that is meant, by its id or a glob. Raises UsageError where that is none, or several."""
    found = matching(store, [pattern], settings)
    exact = [status for status in found if str(status.id) == pattern]
    if len(exact or found) > 1:
        raise UsageError(
            f"{pattern} matches {len(found)} stacks, and this is for one",
            advice=f"Name one of those that `driftwatch stacks list '{pattern}'` shows.",
        )
    return (exact or found)[0]


def _pairs(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items())
