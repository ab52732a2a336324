"""`driftwatch stacks suspend | resume | unpin | history`: where nothing is applied, and what was."""

from __future__ import annotations

import os
from glob import escape
from typing import TYPE_CHECKING

from rich.text import Text

from driftwatch.cli import terminal
from driftwatch.cli.clock import now
from driftwatch.cli.compose import opened_store, read_settings
from driftwatch.cli.formats import Listing, plain
from driftwatch.cli.moments import length, moment
from driftwatch.cli.people import VIA, actor, reason_of, said
from driftwatch.cli.repair_lines import applies_list, suspension_sentence
from driftwatch.cli.stacks import one_stack, print_json
from driftwatch.documents.repair import applies_document, pin_document, suspension_document
from driftwatch.errors import Exit, UnknownStackError, UsageError
from driftwatch.model import StackId, Suspension

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from driftwatch.config.settings import Settings
    from driftwatch.model import Proposal
    from driftwatch.store import Store

EVERYTHING = "*"


def suspend(
    config: Path,
    scope: str,
    *,
    reason: str,
    until: str | None,
    span: str | None,
    name: str | None,
    form: Listing,
) -> int:
    """Stops applies in a scope; one that runs goes on to its end, and is named."""
    at, by, why = now(), actor(name), said("--reason", reason)
    ends = _end(until, span, at)
    settings = read_settings(config, os.environ)
    with opened_store(settings) as store:
        suspension = Suspension(scope=_scope(store, settings, scope), by=by, at=at, reason=why, until=ends)
        done = store.suspend(suspension)
        refused = None if done else "in_review"
        _note(store, "suspend", suspension.scope, by=by, reason=why, at=at, refused=refused)
        if not done:
            known = next(each for each in store.suspensions(at) if each.scope == suspension.scope)
            raise UsageError(
                suspension_sentence(known),
                advice="Nothing is applied there till then. Look at its state and `driftwatch stacks resume` "
                "it; then suspend it anew if need be.",
            )
        running = [each for each in store.running_applies() if _covers(suspension.scope, each.draft.stack)]
    if form is Listing.JSON:
        print_json({"suspension": suspension_document(suspension), "running": [each.id for each in running]})
    else:
        _say_suspended(suspension, running)
    return Exit.OK


def resume(config: Path, scope: str, *, reason: str | None, name: str | None, form: Listing) -> int:
    """Ends the suspension of just this scope; says what else still stops it."""
    at, by, why = now(), actor(name), reason_of(reason)
    with opened_store(read_settings(config, os.environ)) as store:
        wanted = _canonical(scope)
        done = store.resume(wanted, by, at)
        _note(store, "resume", wanted, by=by, reason=why, at=at, refused=None if done else "not_suspended")
        wider = [each for each in store.suspensions(at) if _is_wider(each.scope, wanted)]
    if not done:
        raise UsageError(f"{wanted} is not suspended of its own", advice=_by_what(wider))
    if form is Listing.JSON:
        print_json({"scope": wanted, "still": [suspension_document(each) for each in wider]})
        return Exit.OK
    what = "Everything" if wanted == EVERYTHING else plain(wanted)
    terminal.stdout.print(
        Text(f"{what} is resumed: what is approved, and what may be by itself, is applied.")
    )
    for each in wider:
        terminal.stdout.print(Text(f"Nothing is applied there all the same: {suspension_sentence(each)}."))
    return Exit.OK


def unpin(config: Path, stack: str, *, reason: str | None, name: str | None, form: Listing) -> int:
    """Lets a stack that was rolled back follow its branch again."""
    at, by, why = now(), actor(name), reason_of(reason)
    with opened_store(read_settings(config, os.environ)) as store:
        pins = {str(each): pin for each, pin in store.pins().items()}
        pin = pins.get(_canonical(stack))
        done = pin is not None and store.unpin(pin.stack)
        _note(store, "unpin", stack, by=by, reason=why, at=at, refused=None if done else "not_pinned")
    if pin is None or not done:
        raise UsageError(f"{stack} is not pinned", advice="`driftwatch stacks list` shows those that are.")
    if form is Listing.JSON:
        print_json({"stack": str(pin.stack), "pin": pin_document(pin)})
        return Exit.OK
    stayed = f"It stayed at commit {plain(pin.commit[:10])}; the next check looks at its branch again."
    terminal.stdout.print(Text(f"{plain(str(pin.stack))} is no longer pinned. {stayed}"))
    return Exit.OK


def history(config: Path, stack: str, *, limit: int, after: int | None, form: Listing) -> int:
    """Prints what was applied to a stack, the newest first."""
    settings = read_settings(config, os.environ)
    with opened_store(settings) as store:
        status = one_stack(store, stack, settings)
        page = store.applies(stack=escape(str(status.id)), limit=limit, after=after)
    if form is Listing.JSON:
        print_json(applies_document(page.items, page.next))
        return Exit.OK
    if not page.items:
        terminal.stdout.print("Nothing was applied by driftwatch.")
        return Exit.OK
    terminal.stdout.print(applies_list(page.items))
    if page.next is not None:
        terminal.stdout.print(f"More: --after {page.next}", style="dim")
    return Exit.OK


def _end(until: str | None, span: str | None, at: datetime) -> datetime | None:
    if until is not None and span is not None:
        raise UsageError("give --until or --for, and not both")
    if until is not None:
        return moment("--until", until, at)
    return None if span is None else at + length("--for", span)


def _scope(store: Store, settings: Settings, text: str) -> str:
    """What is to be suspended, if it is known. Raises UsageError: nothing misspelt is thought to be safe."""
    if text == EVERYTHING:
        return text
    if "/" not in text:
        if text in settings.repositories or text in {each.name for each in store.repositories()}:
            return text
        raise UsageError(
            f"no repository {text}",
            advice="A scope is a stack's id, a repository's name, or `*` for everything.",
        )
    scope = _canonical(text)
    if scope not in {str(status.id) for status in store.stacks(now=now())}:
        raise UnknownStackError(
            f"no stack {text}",
            advice="A scope is one stack's id and no glob; a repository's name stands for all its stacks.",
        )
    return scope


def _canonical(text: str) -> str:
    """A stack's id as it is kept: `@default` is not said."""
    try:
        return str(StackId.parse(text))
    except ValueError:
        return text


def _covers(scope: str, stack: StackId) -> bool:
    return scope in (EVERYTHING, stack.repository, str(stack))


def _is_wider(scope: str, than: str) -> bool:
    """Whether what is suspended as `scope` stops all in `than` as well."""
    return scope != than and scope in (EVERYTHING, than.partition("/")[0])


def _by_what(wider: Sequence[Suspension]) -> str:
    if not wider:
        return "`driftwatch stacks list` shows what is."
    return f"{suspension_sentence(wider[0])}; `driftwatch stacks resume '{plain(wider[0].scope)}'` ends that."


def _note(
    store: Store,
    action: str,
    scope: str,
    *,
    by: str,
    reason: str | None,
    at: datetime,
    refused: str | None = None,
) -> None:
    store.note(
        at=at,
        actor=by,
        via=VIA,
        action=action,
        subject="everything" if scope == EVERYTHING else scope,
        outcome=f"refused: {refused}" if refused else "done",
        reason=reason,
    )


def _say_suspended(suspension: Suspension, running: Sequence[Proposal]) -> None:
    sentence = suspension_sentence(suspension)
    terminal.stdout.print(
        Text(f"{sentence[0].upper() if suspension.scope == EVERYTHING else sentence[0]}{sentence[1:]}")
    )
    terminal.stdout.print("Nothing is applied there until it is resumed; checks go on.")
    for each in running:
        stack = plain(str(each.draft.stack))
        terminal.stdout.print(Text(f"Proposal {each.id} is being applied to {stack} and goes on to its end."))
