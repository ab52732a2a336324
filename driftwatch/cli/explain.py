"""`driftwatch stacks explain`: all that stands between a stack and its repair, now or at a time."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from rich.text import Text

from driftwatch.cli import terminal
from driftwatch.cli.clock import now
from driftwatch.cli.compose import opened_store, read_settings
from driftwatch.cli.formats import Listing, plain
from driftwatch.cli.stacks import one_stack, print_json
from driftwatch.cli.terminal import minute
from driftwatch.cli.windows import ruling_document
from driftwatch.config.rule_files import shipped
from driftwatch.documents.drift import timestamp
from driftwatch.documents.repair import suspension_document, waits_for
from driftwatch.drift.health import configured_age
from driftwatch.errors import Exit
from driftwatch.model import Health
from driftwatch.pipeline.admissions import Clerk, hiding, is_automatic
from driftwatch.policy.admission import Held
from driftwatch.policy.course import Course, Then
from driftwatch.policy.rights import People
from driftwatch.policy.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from driftwatch.config.settings import Settings
    from driftwatch.model import Proposal, StackId, StackStatus
    from driftwatch.store import Store


DAEMONS_OWN = ("upstream_", "canary_", "in_review")
"""How reasons begin that follow from what only the daemon has: the code of all stacks, and its applies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Labels:
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stack:
    """A stack as the store knows it: its code is the daemon's."""

    stack: StackId
    options: _Labels


class _At:
    """The store, as it will be at a time if nothing happens but checks that go on as they do."""

    def __init__(self, store: Store, present: datetime) -> None:
        self._store, self._present = store, present

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def status_of(self, stack: StackId, at: datetime) -> StackStatus | None:
        status = self._store.status_of(stack, min(at, self._present))
        if status is None or at <= self._present or status.health is not Health.FRESH:
            return status
        return replace(status, last_good_at=at)


def explain(config: Path, stack: str, *, at: datetime | None, form: Listing) -> int:
    """Prints what holds the repair that is proposed for a stack; without one, what the windows say."""
    settings, present = read_settings(config, os.environ), now()
    when = at or present
    with opened_store(settings) as store:
        status = one_stack(store, stack, settings)
        open_ones = [each for each in store.latest_proposals(status.id) if each.state.is_open]
        proposal = max(open_ones, key=lambda each: each.id, default=None)
        subject = _Stack(stack=status.id, options=_Labels(labels=status.labels))
        clerk = _clerk(store, settings, present, when)
        held = (*clerk.explain(proposal, subject), *_as_last_said(proposal)) if proposal else ()
        suspension = store.suspension_of(status.id, when)
    ruling = clerk.windows.rule(str(status.id), status.labels, when)
    holds = bool(held) or proposal is None
    if form is Listing.JSON:
        print_json(
            {
                "stack": str(status.id),
                "at": timestamp(when),
                "proposal": proposal.id if proposal else None,
                "automatic": is_automatic(proposal) if proposal else None,
                "allowed": not holds,
                "held": [_document(each) for each in held],
                "windows": ruling_document(ruling),
                "suspension": suspension_document(suspension),
            }
        )
        return Exit.HELD if held else Exit.OK
    if proposal is None:
        terminal.stdout.print(Text(f"Nothing is proposed for {plain(str(status.id))}."))
        terminal.stdout.print(Text(f"Windows: {plain(ruling.sentence)} ({ruling.reason})"))
        return Exit.OK
    _show(proposal, held, when)
    return Exit.HELD if held else Exit.OK


def _clerk(store: Store, settings: Settings, present: datetime, when: datetime) -> Clerk:
    return Clerk(
        book=cast("Any", _At(store, present)),
        workshop=cast("Any", None),  # asked for whose the credentials are, right before an apply
        windows=Windows.compile(settings.windows),
        people=People.compile(settings.users),
        settings=settings.repair,
        ignoring=hiding(settings.rules, shipped()),
        course=_course,
        allowed_age=partial(configured_age, settings=settings),
        clock=lambda: when,
    )


def _as_last_said(proposal: Proposal) -> Iterator[Held]:
    """What only the daemon knows of: what comes first, and a state that is not where it belongs."""
    held = waits_for(proposal)
    if held is not None and held.reason.startswith(DAEMONS_OWN):
        yield Held(reason=held.reason, sentence=held.sentence, until=held.until)


def _course(proposal: Proposal, _subject: object) -> Course:
    """What followed when it was proposed; what would now, the code says, which is the daemon's."""
    then = Then.APPLY if proposal.draft.automatic else Then.PROPOSE
    return Course(then=then, reason="as_proposed", sentence=proposal.draft.reason)


def _show(proposal: Proposal, held: tuple[Held, ...], when: datetime) -> None:
    who = "by itself" if is_automatic(proposal) else "by people"
    what = f"Proposal {proposal.id}, to {proposal.draft.kind} {plain(str(proposal.draft.stack))} {who}"
    if not held:
        terminal.stdout.print(Text(f"{what}: nothing that is known holds it at {minute(when)}."))
        return
    terminal.stdout.print(Text(f"{what}, is held at {minute(when)}:"))
    for each in held:
        until = f" It may change at {minute(each.until)}." if each.until else ""
        terminal.stdout.print(Text(f"  {each.reason:<22} {plain(each.sentence)}{until}"))


def _document(held: Held) -> dict[str, Any]:
    return {
        "reason": held.reason,
        "sentence": held.sentence,
        "until": timestamp(held.until),
        "overridable": held.overridable,
    }
