"""What people do about proposals at a terminal: look, ask for one, decide, and have one applied.

    ask → (the daemon plans) → approve or reject → (the daemon admits, applies, proves) → see how it ended

Nothing is planned or applied here: a daemon has the state directory. What is asked for is a row that it reads
within seconds, and what came of it is a row that is waited for.
"""

from __future__ import annotations

import os
import re
import time
from glob import escape
from typing import TYPE_CHECKING

from rich.text import Text

from driftwatch.cli import terminal
from driftwatch.cli.clock import now
from driftwatch.cli.compose import Rooms, opened_store, read_settings
from driftwatch.cli.formats import Listing, plain, visible
from driftwatch.cli.outlook import in_the_way
from driftwatch.cli.people import VIA, actor, reason_of, said
from driftwatch.cli.repair_lines import hold_sentence, proposal_in_full, proposals_list
from driftwatch.cli.stacks import matching, nobody_works, one_stack, print_json
from driftwatch.documents.repair import hold_document, proposals_document, shown_proposal, waits_for
from driftwatch.drift import Refused
from driftwatch.errors import Exit, UsageError
from driftwatch.model import (
    DRIFTWATCH,
    Cancellation,
    Decision,
    ProposalKind,
    ProposalState,
    Suspension,
    Wish,
)
from driftwatch.pipeline.admissions import MASS_DELETION, OVERRIDE
from driftwatch.pipeline.reconcile import words
from driftwatch.policy.course import suggested
from driftwatch.service import node_name
from driftwatch.terraform import discard_apply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from driftwatch.config.settings import Settings
    from driftwatch.model import ApplyRun, Granted, Hold, Proposal, StackStatus, StoredFinding
    from driftwatch.store import Store

ROUND_SECONDS = 0.25
"""Between two looks for what a daemon has written; it looks for what we wrote every two seconds."""

GROUPS = {
    "open": tuple(state for state in ProposalState if state.is_open),
    "all": tuple(ProposalState),
}
"""What `--state` takes beside the states themselves."""

_WHOLE_COMMIT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_SHORT_COMMIT = re.compile("[0-9a-f]{7,63}")
_GOOD_ENDS = (ProposalState.VERIFIED, ProposalState.APPLIED)
_NO_DAEMON = "No daemon is running here: it is {} when `driftwatch run` is started."


# ---- looking -------------------------------------------------------------------------------------------


def list_proposals(
    config: Path, *, stack: str | None, state: str, limit: int, after: int | None, form: Listing
) -> int:
    """Prints one page of proposals; a stack that nobody knows is an error, and not free of proposals."""
    states = _states(state)
    settings = read_settings(config, os.environ)
    with opened_store(settings) as store:
        page = store.proposals(stack=stack, states=states, limit=limit, after=after)
        if stack and not page.items:
            matching(store, [stack], settings)
    if form is Listing.JSON:
        print_json(proposals_document(page.items, page.next, needed=settings.repair.approvals.needed))
        return Exit.OK
    if not page.items:
        terminal.stdout.print("No proposals.")
        return Exit.OK
    terminal.stdout.print(proposals_list(page.items, now()))
    if page.next is not None:
        terminal.stdout.print(f"More: --after {page.next}", style="dim")
    return Exit.OK


def show_proposal(config: Path, number: int, form: Listing) -> int:
    """Prints one proposal: what, why, by whom, its plan, how it stands, and every step of its life."""
    settings = read_settings(config, os.environ)
    with opened_store(settings) as store:
        proposal = _proposal(store, number)
        if form is Listing.JSON:
            print_json(_document(store, settings, proposal))
        else:
            _show(store, settings, proposal)
    return Exit.OK


# ---- asking for one ------------------------------------------------------------------------------------


def create(
    config: Path,
    stack: str,
    *,
    kind: ProposalKind | None,
    reason: str | None,
    name: str | None,
    wait: float,
    form: Listing,
) -> int:
    """Asks the daemon to propose that a stack is reverted or deployed, and waits for its answer."""
    by, why, settings = actor(name), reason_of(reason), read_settings(config, os.environ)
    with opened_store(settings) as store:
        status = one_stack(store, stack, settings)
        wish = Wish(stack=status.id, kind=kind or _kind_of_what_is_open(store, status), by=by, reason=why)
        return _ask(store, settings, wish, wait=wait, form=form)


def rollback(
    config: Path,
    stack: str,
    *,
    to: str,
    revert: bool = False,
    reason: str | None,
    name: str | None,
    wait: float,
    form: Listing,
) -> int:
    """Asks the daemon to propose that an earlier commit of a stack is applied, and waits for its answer.

    With `revert`, it also opens a branch in Git that brings the stack's code back.
    """
    by, why, settings = actor(name), reason_of(reason), read_settings(config, os.environ)
    with opened_store(settings) as store:
        status = one_stack(store, stack, settings)
        commit = _commit(store, status, to)
        wish = Wish(
            stack=status.id, kind=ProposalKind.ROLLBACK, by=by, reason=why, commit=commit, revert=revert
        )
        return _ask(store, settings, wish, wait=wait, form=form)


def _kind_of_what_is_open(store: Store, status: StackStatus) -> ProposalKind:
    """What would close the stack's open findings. Raises UsageError where nothing would, or two things."""
    found = suggested(
        [found.finding for found in store.findings_of(status.id) if found.is_to_be_closed],
        stack=str(status.id),
        labels=status.labels,
        on_drift="notify",
        on_commit="notify",
        rules=(),
    )
    kinds = [each.kind for each in found]
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        raise UsageError(
            f"{status.id} has drift and also changes in the code that are not applied: say which is meant",
            advice="--kind revert puts back what was changed by hand, --kind deploy applies the code.",
        )
    raise UsageError(
        f"nothing is open in {status.id} that an apply would close",
        advice=f"`driftwatch trigger {status.id}` looks at it again; --kind asks for one all the same.",
    )


def _commit(store: Store, status: StackStatus, text: str) -> str:
    """The whole name of a commit. Raises UsageError where an abbreviated one names none, or several."""
    wanted = text.lower()
    if _WHOLE_COMMIT.fullmatch(wanted):
        return wanted
    if not _SHORT_COMMIT.fullmatch(wanted):
        raise UsageError(
            f"--to: not a commit: {text!r}",
            advice="Name it by its hash, whole or at least the first 7 digits; branches and tags move.",
        )
    applied = store.applies(stack=escape(str(status.id)), limit=1000).items
    known = {each.draft.commit for each in applied if each.draft.commit.startswith(wanted)}
    known |= set(store.commits_of(status.id, wanted))
    if len(known) == 1:
        return known.pop()
    if known:
        raise UsageError(f"--to: {text} is short for {', '.join(sorted(known))}", advice="Give more digits.")
    raise UsageError(
        f"--to: {status.id} was never checked or applied at a commit {text}",
        advice="Give the whole hash: `git rev-parse` prints it.",
    )


def _ask(store: Store, settings: Settings, wish: Wish, *, wait: float, form: Listing) -> int:
    at = now()
    number = store.wish(wish, at)
    store.note(
        at=at,
        actor=wish.by,
        via=VIA,
        action="rollback" if wish.kind is ProposalKind.ROLLBACK else "propose",
        subject=_wished(wish),
        outcome=f"asked for, wish {number}",
        reason=wish.reason,
    )
    alone = nobody_works(settings)
    granted = _answer(lambda: store.granted(number), 0.0 if alone else wait)
    proposal = store.proposal(granted.proposal) if granted and granted.proposal is not None else None
    if form is Listing.JSON:
        document = _document(store, settings, proposal) if proposal else None
        error, note = (granted.error, granted.note) if granted else (None, None)
        print_json({"wish": number, "proposal": document, "error": error, "note": note})
    elif proposal is not None:
        _show(store, settings, proposal)
        if granted and granted.note:
            terminal.stdout.print(Text(plain(granted.note)))
    if granted is None:
        terminal.stderr.print(_unanswered(alone=alone, wait=wait))
        return Exit.OK if wait == 0 else Exit.ERROR
    if proposal is None:
        terminal.stderr.print(Text(f"Nothing is proposed: {plain(granted.error or 'nobody said why')}"))
        return Exit.ERROR
    return Exit.OK


def _wished(wish: Wish) -> str:
    to = f" to {wish.commit}" if wish.commit else ""
    return f"{wish.kind} {wish.stack}{to}" + (", with a revert in Git" if wish.revert else "")


def _answer(look: Callable[[], Granted | None], seconds: float) -> Granted | None:
    deadline = time.monotonic() + seconds
    while (found := look()) is None and time.monotonic() < deadline:
        time.sleep(ROUND_SECONDS)
    return found


def _unanswered(*, alone: bool, wait: float) -> str:
    if alone:
        return _NO_DAEMON.format("planned and proposed")
    waited = f"No answer within {wait:g} s. " if wait else ""
    return f"{waited}It is asked for; `driftwatch proposals list` shows what comes of it."


# ---- deciding ------------------------------------------------------------------------------------------


def approve(
    config: Path, number: int, *, reason: str | None, name: str | None, digest: str | None, form: Listing
) -> int:
    """Says that a proposal may be applied, and prints what follows."""
    by, why, settings = actor(name), reason_of(reason), read_settings(config, os.environ)
    with opened_store(settings) as store:
        proposal = _vote(store, settings, number, by=by, reason=why, digest=digest)
        hold = in_the_way(store, settings, proposal, now())
        alone = nobody_works(settings)
        if form is Listing.JSON:
            document = _document(store, settings, proposal)
            print_json({**document, "in_the_way": hold_document(hold), "daemon": not alone})
            return Exit.OK
    terminal.stdout.print(
        Text(f"Proposal {proposal.id} is approved by {plain(by)}. {_prospect(hold, alone)}")
    )
    return Exit.OK


def reject(config: Path, number: int, *, reason: str, name: str | None, form: Listing) -> int:
    """Says that a proposal is not to be applied; that is its end."""
    by, why, settings = actor(name), said("--reason", reason), read_settings(config, os.environ)
    with opened_store(settings) as store:
        proposal = _vote(store, settings, number, by=by, reason=why, approves=False)
        if form is Listing.JSON:
            print_json(_document(store, settings, proposal))
            return Exit.OK
    terminal.stdout.print(f"Proposal {proposal.id} is rejected.")
    return Exit.OK


def apply(
    config: Path,
    number: int,
    *,
    override: bool,
    mass_deletion: bool,
    reason: str | None,
    name: str | None,
    wait: float,
    form: Listing,
) -> int:
    """Approves a proposal, in spite of a window or a mass deletion if so said, and waits for its end."""
    if (override or mass_deletion) and reason is None:
        option = "--override-window" if override else "--acknowledge-mass-deletion"
        raise UsageError(f"{option} needs a reason", advice="Say with --reason why it cannot wait.")
    by, why, settings = actor(name), reason_of(reason), read_settings(config, os.environ)
    marks = (OVERRIDE if override else "") + (MASS_DELETION if mass_deletion else "")
    with opened_store(settings) as store:
        proposal = _vote(store, settings, number, by=by, reason=why, action="apply", marks=marks)
        alone, few = nobody_works(settings), len(proposal.approvers) < settings.repair.approvals.needed
        hold = in_the_way(store, settings, proposal, now()) if few else None
        if not (alone or few):
            try:
                proposal = _follow(store, proposal, wait, quiet=form is Listing.JSON)
            except KeyboardInterrupt:
                terminal.stderr.print(
                    f"The approval stands; `driftwatch proposals show {number}` tells its end."
                )
                raise
        if form is Listing.JSON:
            print_json({**_document(store, settings, proposal), "in_the_way": hold_document(hold)})
    hold = hold or waits_for(proposal)
    if form is not Listing.JSON:
        terminal.stdout.print(Text(_standing(proposal, hold, alone=alone)))
    return _exit_of(proposal, hold, wait)


def cancel(config: Path, number: int, *, reason: str, name: str | None, form: Listing) -> int:
    """Has an apply interrupted, once, by the daemon on whose machine it runs."""
    by, why, settings = actor(name), said("--reason", reason), read_settings(config, os.environ)
    with opened_store(settings) as store:
        proposal, at = _proposal(store, number), now()
        run = _running(proposal)
        done = store.cancel_apply(number, Cancellation(by=by, at=at, reason=why))
        store.note(
            at=at,
            actor=by,
            via=VIA,
            action="cancel",
            subject=_subject(number, proposal),
            outcome="asked for" if done else "it was asked for before, or has ended",
            reason=why,
        )
        proposal = _proposal(store, number)
        if form is Listing.JSON:
            print_json(_document(store, settings, proposal))
            return Exit.OK
    stands = proposal.run.cancel if proposal.run else None
    if stands is None:
        terminal.stdout.print(f"Proposal {number} has ended meanwhile: it is {proposal.state}.")
    elif done:
        terminal.stdout.print(
            Text(
                f"The apply of proposal {number} is interrupted within seconds by the daemon on "
                f"{plain(run.node)}: terraform stops what it is at, writes its state, begins no more. "
                f"Then nothing is applied to {proposal.draft.stack} until it is resumed."
            )
        )
    else:
        terminal.stdout.print(Text(f"{plain(stands.by)} wanted that before: {plain(stands.reason)}"))
    return Exit.OK


def abandon(config: Path, number: int, *, node: str, reason: str, name: str | None, form: Listing) -> int:
    """Ends an apply as interrupted because its machine is gone; its stack is suspended until it is resumed.

    Only a person can know that nothing runs there any more: `node` is what they say they have looked at.
    """
    by, why, settings = actor(name), said("--reason", reason), read_settings(config, os.environ)
    with opened_store(settings) as store:
        proposal, at = _proposal(store, number), now()
        run = _lost(proposal, node, settings)
        outcome = f"its machine is gone, says {by}: {why}"
        # First: after a crash between the two it is done once more, and nothing is applied meanwhile.
        store.suspend(
            Suspension(
                scope=str(proposal.draft.stack),
                by=DRIFTWATCH,
                at=at,
                reason=f"{by} abandoned the apply of proposal {number} on {run.node} ({why}): look at the "
                "state, then resume the stack",
            )
        )
        done = store.end_apply(
            number, ProposalState.INTERRUPTED, at=at, exit_code=None, output=None, outcome=outcome
        )
        store.note(
            at=at,
            actor=by,
            via=VIA,
            action="abandon",
            subject=_subject(number, proposal),
            outcome="done" if done else "it has ended meanwhile",
            reason=why,
        )
        proposal = _proposal(store, number)
        if done:
            store.tell_repair(number, said=words(proposal) or outcome, at=at)
        if form is Listing.JSON:
            print_json(_document(store, settings, proposal))
            return Exit.OK
    ended = "is interrupted" if done else f"has ended meanwhile: it is {proposal.state}"
    terminal.stdout.print(
        Text(
            f"Proposal {number} {ended}. Nothing is applied to {proposal.draft.stack} until "
            f"`driftwatch stacks resume {proposal.draft.stack}`: look at its state first."
        )
    )
    return Exit.OK


def discard(config: Path, number: int, *, reason: str, name: str | None) -> int:
    """Removes what an interrupted apply has left on this machine: its state is in order, says somebody."""
    by, why, settings = actor(name), said("--reason", reason), read_settings(config, os.environ)
    with opened_store(settings) as store:
        proposal = _proposal(store, number)
        run = proposal.run
        if proposal.state is not ProposalState.INTERRUPTED or run is None:
            raise UsageError(
                f"nothing is kept of proposal {number}: it is {proposal.state}",
                advice="Only what an interrupted apply has left is discarded.",
            )
        done = discard_apply(Rooms(state=settings.state_dir).applies, run.id)
        store.note(
            at=now(),
            actor=by,
            via=VIA,
            action="discard",
            subject=_subject(number, proposal),
            outcome="done" if done else "refused: nothing is here",
            reason=why,
        )
    if not done:
        raise UsageError(
            f"nothing of proposal {number} is kept on this machine",
            advice=f"It was being applied on {plain(run.node)}.",
        )
    terminal.stdout.print(Text(f"What the apply of proposal {number} has left is removed."))
    return Exit.OK


def _lost(proposal: Proposal, node: str, settings: Settings) -> ApplyRun:
    """The apply that is to be given up. Raises UsageError where there is none, or where it can be found."""
    number, run = proposal.id, _running(proposal)
    if run.node == node_name(settings.state_dir):
        raise UsageError(
            f"the apply of proposal {number} is this machine's own",
            advice="Start the daemon here: it finds the apply, and says how it ended.",
        )
    if run.node != node:
        raise UsageError(
            f"--node: proposal {number} is being applied on {plain(run.node)}",
            advice="See to it that no terraform runs there any more, and name it just so.",
        )
    return run


def _running(proposal: Proposal) -> ApplyRun:
    """The apply that runs. Raises UsageError where none does."""
    if proposal.state is not ProposalState.APPLYING or proposal.run is None:
        raise UsageError(
            f"proposal {proposal.id} is not being applied: it is {proposal.state}",
            advice=f"`driftwatch proposals show {proposal.id}` tells what became of it.",
        )
    return proposal.run


def _vote(
    store: Store,
    settings: Settings,
    number: int,
    *,
    by: str,
    reason: str | None,
    digest: str | None = None,
    approves: bool = True,
    action: str | None = None,
    marks: str = "",
) -> Proposal:
    """Writes what somebody says of a proposal, into the audit too, and tells it. Raises UsageError."""
    at, shown = now(), store.proposal(number)
    decision = Decision(
        by=by,
        at=at,
        via=VIA + marks,
        approves=approves,
        digest=digest or (shown.draft.digest if shown else ""),
        reason=reason,
    )
    decided = store.decide(number, decision)
    store.note(
        at=at,
        actor=by,
        via=VIA,
        action=action or ("approve" if approves else "reject"),
        subject=_subject(number, shown),
        outcome=f"refused: {decided.reason}" if isinstance(decided, Refused) else _outcome(marks),
        reason=reason,
    )
    if isinstance(decided, Refused):
        known = f"driftwatch proposals show {number}" if shown else "`driftwatch proposals list --state all`"
        raise UsageError(decided.sentence, advice=known)
    if approves and len(decided.approvers) >= settings.repair.approvals.needed:
        store.approved(number)
    word, why = "approved" if approves else "rejected", f": {reason}" if reason else "."
    store.tell_repair(number, said=f"{by} {word} proposal {number}{why}", at=at)
    return _proposal(store, number)


def _subject(number: int, proposal: Proposal | None) -> str:
    if proposal is None:
        return f"proposal {number}"
    return f"proposal {number} ({proposal.draft.stack} at {proposal.draft.commit[:10]})"


def _outcome(marks: str) -> str:
    spites = [
        word
        for mark, word in ((OVERRIDE, "the windows"), (MASS_DELETION, "a mass deletion"))
        if mark in marks
    ]
    return f"done, in spite of {' and '.join(spites)}" if spites else "done"


def _follow(store: Store, proposal: Proposal, seconds: float, *, quiet: bool) -> Proposal:
    """Waits until an approved proposal has ended or is held, and says meanwhile how it stands.

    What terraform says is printed as it comes, unless `quiet`.
    """
    deadline, state, heard = time.monotonic() + seconds, proposal.state, ""
    while (
        proposal.state.is_open and proposal.state is not ProposalState.WAITING and time.monotonic() < deadline
    ):
        time.sleep(ROUND_SECONDS)
        proposal = _proposal(store, proposal.id)
        if proposal.state is not state and proposal.state.is_open and terminal.is_interactive():
            terminal.stderr.print(f"Proposal {proposal.id} is {proposal.state}.", style="dim")
        state = proposal.state
        said = (proposal.run and proposal.run.output) or ""
        for line in news(heard, said) if not quiet else ():
            terminal.stderr.print(Text(f"  {visible(line)}", "dim"))
        heard = said or heard
    return proposal


def news(before: str, after: str) -> list[str]:
    """The lines of `after` that `before` has not: both are the end of one text, which went on meanwhile."""
    known, lines = before.splitlines(), after.splitlines()
    for place in range(len(known)):
        kept = known[place:]
        if lines[: len(kept)] == kept:
            return lines[len(kept) :]
    return lines


def _exit_of(proposal: Proposal, hold: Hold | None, wait: float) -> int:
    if hold is not None:
        return Exit.HELD
    if proposal.state in _GOOD_ENDS or (proposal.state.is_open and wait == 0):
        return Exit.OK
    return Exit.ERROR


# ---- words ---------------------------------------------------------------------------------------------


def _standing(proposal: Proposal, hold: Hold | None, *, alone: bool) -> str:
    """How a proposal stands after somebody wanted it applied."""
    what = f"Proposal {proposal.id}"
    if hold is not None:
        return f"{what} is held: {hold_sentence(hold)}"
    match proposal.state:
        case ProposalState.APPLIED:
            return f"{what} is applied; the check after it says whether it helped."
        case ProposalState.APPLYING:
            return f"{what} is being applied still; `driftwatch proposals show {proposal.id}` tells its end."
        case ProposalState.APPROVED:
            return f"{what} is approved. {_prospect(None, alone)}"
        case ProposalState.VERIFIED:
            return f"{what} is applied and proved: {plain(proposal.outcome or 'it helped')}."
    instead = f" Proposal {proposal.superseded_by} is there instead." if proposal.superseded_by else ""
    return f"{what} is {proposal.state}: {plain(proposal.outcome or 'nobody knows why')}.{instead}"


def _prospect(hold: Hold | None, alone: bool) -> str:
    if hold is not None:
        return f"It waits: {hold_sentence(hold)}"
    if alone:
        return _NO_DAEMON.format("applied")
    return "It is applied within seconds, unless the daemon finds what holds it."


def _show(store: Store, settings: Settings, proposal: Proposal) -> None:
    terminal.stdout.print(
        proposal_in_full(
            proposal,
            store.proposal_events(proposal.id),
            _closing(store, proposal),
            needed=settings.repair.approvals.needed,
            now=now(),
        )
    )


def _document(store: Store, settings: Settings, proposal: Proposal) -> dict[str, object]:
    return shown_proposal(
        proposal,
        store.proposal_events(proposal.id),
        _closing(store, proposal),
        needed=settings.repair.approvals.needed,
    )


def _closing(store: Store, proposal: Proposal) -> list[StoredFinding]:
    """The findings that it would close, those that are there still."""
    wanted = set(proposal.draft.findings)
    return [found for found in store.findings_of(proposal.draft.stack) if found.finding.fingerprint in wanted]


def _proposal(store: Store, number: int) -> Proposal:
    found = store.proposal(number)
    if found is None:
        raise UsageError(
            f"no proposal {number}", advice="`driftwatch proposals list --state all` shows their ids."
        )
    return found


def _states(name: str) -> tuple[ProposalState, ...]:
    if name in GROUPS:
        return GROUPS[name]
    try:
        return (ProposalState(name),)
    except ValueError as exc:
        known = ", ".join([*ProposalState, *GROUPS])
        raise UsageError(f"no such state: {name}", advice=f"One of {known}.") from exc
