"""Reconcile: from a proposal that may be applied to one that is applied and proved.

    due? → admit → plan under the lock → the same? → admit again → write → apply → end → prove → tell

There is no other way to an apply. What must survive a crash is a row before it is done: the run is written
before terraform starts, and its process right after. A daemon that starts again finds its applies by their
records, waits for them and writes how they ended, once; one that is gone without a word is `interrupted`, and
its stack is suspended until a person has looked.

Nothing here ends an apply. When the daemon stops, whoever watches one goes, and terraform goes on.
"""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import partial
from threading import Event, Lock
from typing import TYPE_CHECKING, Protocol

from driftwatch import log
from driftwatch.errors import DriftwatchError, EngineInterruptedError, StoreError, UnknownStackError
from driftwatch.model import (
    DRIFTWATCH,
    ApplyRun,
    Hold,
    Pin,
    Proposal,
    ProposalKind,
    ProposalState,
    Suspension,
)
from driftwatch.pipeline.propose import counted
from driftwatch.pipeline.subjects import apply_request, subject_of
from driftwatch.policy.admission import Admitted, Held
from driftwatch.terraform import ApplyState

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from driftwatch.config.repair import RepairSettings
    from driftwatch.model import StackId, Verdict, Wish
    from driftwatch.pipeline.admissions import Clerk
    from driftwatch.pipeline.inventory import Subject
    from driftwatch.pipeline.propose import Proposer
    from driftwatch.pipeline.rehearsal import Rehearsal
    from driftwatch.terraform import Look, Outcome, PlanRequest, Prepared, Started

ROUND_SECONDS = 2.0
"""Between two looks: a window that opens, or an approval, is acted on within that time."""

LOOK_FOR_WORK = timedelta(seconds=15)
"""Between two looks for findings of which nothing is proposed yet."""

AT_ONCE = 4
"""Stacks that are worked on at once. Each is a terraform, which waits for a cloud most of the time."""

REST = timedelta(minutes=5)
"""After something failed on the way, how long its stack is left alone."""

_OUTDATED = frozenset({"digest_changed", "nothing_to_apply", "plan_of_another"})
"""Reasons after which a proposal is worth nothing any more."""

logger = log.get("repair")


class Applier(Protocol):
    """terraform's apply."""

    def prepare(self, request: PlanRequest, apply_id: str, stop: threading.Event) -> Prepared: ...

    def start(self, prepared: Prepared) -> Started: ...

    def wait(self, apply_id: str, stop: threading.Event) -> Look: ...

    def outcome(self, apply_id: str) -> Outcome: ...

    def discard(self, apply_id: str) -> None: ...

    def recognise(self, request: PlanRequest) -> None:
        """Makes a stack's secrets unprintable: of an apply that an earlier daemon has prepared."""


class Journal(Protocol):
    """Where proposals live, as an apply sees it."""

    def proposal(self, id: int) -> Proposal | None: ...  # noqa: A002  (the seam's)

    def hold(self, id: int, hold: Hold, at: datetime) -> bool: ...  # noqa: A002  (the seam's)

    def begin_apply(self, id: int, run: ApplyRun, at: datetime) -> bool: ...  # noqa: A002  (the seam's)

    def note_process(self, id: int, pid: int, pid_started: int) -> bool: ...  # noqa: A002  (the seam's)

    def end_apply(
        self,
        id: int,  # noqa: A002  (the seam's)
        state: ProposalState,
        *,
        at: datetime,
        exit_code: int | None,
        output: str | None,
        outcome: str,
    ) -> bool: ...


class Ends(Protocol):
    """How proposals end otherwise, and what is kept of it."""

    def end(
        self,
        id: int,  # noqa: A002  (the seam's)
        state: ProposalState,
        outcome: str,
        at: datetime,
    ) -> bool: ...

    def verify(
        self,
        id: int,  # noqa: A002  (the seam's)
        *,
        check_id: int,
        ok: bool,
        at: datetime,
        outcome: str,
    ) -> bool: ...

    def suspend(self, suspension: Suspension) -> None: ...

    def pin(self, pin: Pin) -> None: ...

    def unpin(self, stack: StackId) -> bool: ...


class Agenda(Protocol):
    """What there is to do."""

    def actionable(self, at: datetime) -> Sequence[Proposal]: ...

    def expire_proposals(self, at: datetime) -> Sequence[Proposal]: ...

    def running_applies(self) -> Sequence[Proposal]: ...

    def applied_unproved(self) -> Sequence[Proposal]: ...

    def wishes(self) -> Mapping[int, Wish]: ...


class News(Protocol):
    """What is told and noted."""

    def tell_repair(self, proposal: int, *, said: str, at: datetime) -> object: ...

    def note(
        self,
        *,
        at: datetime,
        actor: str,
        via: str,
        action: str,
        subject: str,
        outcome: str,
        reason: str | None = None,
    ) -> bool: ...

    def grant(self, wish: int, *, proposal: int | None, error: str | None, at: datetime) -> None: ...

    def drifting(self) -> Sequence[StackId]:
        """The stacks with findings that wait for somebody."""

    def proved(self, proposal: Proposal) -> tuple[int, Verdict, Collection[str]] | None:
        """The first good check after an apply: its id, its verdict, the fingerprints still open; None yet."""


class Book(Journal, Ends, Agenda, News, Protocol):
    """The store, as a repair sees it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a repair works with."""

    proposer: Proposer
    applier: Applier
    book: Book
    clerk: Clerk
    settings: RepairSettings
    node: str
    leads: Callable[[], bool]
    clock: Callable[[], datetime]


class Reconciler:
    """Runs beside the daemon's other parts until it is told to stop."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._book = tools.book
        self._lock = Lock()
        self._busy: set[str] = set()
        self._rest: dict[str, datetime] = {}
        self._looked_at: datetime | None = None
        self._stop = Event()

    def run(self, stop: threading.Event) -> None:
        self._stop = stop
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="repair") as pool:
            while not stop.is_set():
                self.look(pool)
                stop.wait(ROUND_SECONDS)
            pool.shutdown(wait=True, cancel_futures=True)

    def look(self, pool: ThreadPoolExecutor) -> None:
        """One round. What the store cannot tell now, the next round asks again; it raises StoreError."""
        book, now = self._book, self._tools.clock()
        for proposal in book.running_applies():
            if proposal.run is not None and proposal.run.node == self._tools.node:
                self._take_up(
                    pool, f"apply:{proposal.id}", partial(self._watch, proposal.id, proposal.run.id)
                )
        if not self._tools.leads():
            return
        for proposal in book.expire_proposals(now):
            self._say(proposal.id, f"Proposal {proposal.id} has expired: nobody decided on it in time.")
        for proposal in book.applied_unproved():
            self._prove(proposal, now)
        for number, wish in book.wishes().items():
            self._take_up(pool, str(wish.stack), partial(self._grant, number, wish))
        for stack in self._to_look_at(now):
            self._take_up(pool, str(stack), partial(self._follow_up, stack))
        for proposal in sorted(book.actionable(now), key=self._turn):
            self._take_up(pool, str(proposal.draft.stack), partial(self._attempt, proposal.id))

    def _turn(self, proposal: Proposal) -> tuple[bool, int]:
        """Canaries first, then the oldest."""
        name = str(proposal.draft.stack)
        canary = any(name == glob or fnmatchcase(name, glob) for glob in self._tools.settings.canary)
        return (not canary, proposal.id)

    def _to_look_at(self, now: datetime) -> Sequence[StackId]:
        if self._looked_at is not None and now - self._looked_at < LOOK_FOR_WORK:
            return ()
        self._looked_at = now
        found = []
        for stack in self._book.drifting():
            if self._rest.get(str(stack), now) <= now:
                with suppress(UnknownStackError, DriftwatchError):
                    if self._tools.proposer.due(stack) is not None:
                        found.append(stack)
        return found

    # ---- one stack at a time ---------------------------------------------------------------------------

    def _take_up(self, pool: ThreadPoolExecutor, key: str, work: Callable[[], None]) -> None:
        """Has one thing done about a stack, unless something is being done about it already."""
        with self._lock:
            if key in self._busy or self._rest.get(key, self._tools.clock()) > self._tools.clock():
                return
            self._busy.add(key)
        try:
            pool.submit(self._do, key, work)
        except RuntimeError:  # the pool is closed: the end was asked for meanwhile
            self._busy.discard(key)

    def _do(self, key: str, work: Callable[[], None]) -> None:
        try:
            work()
        except EngineInterruptedError:
            logger.info("A repair was put off: the daemon stops.", action="repair", stack=key)
        except DriftwatchError as problem:
            self._rest[key] = self._tools.clock() + REST
            logger.warning(problem.message, action="repair", stack=key, error=problem.code)
        except Exception:
            self._rest[key] = self._tools.clock() + REST
            logger.exception("A repair failed for a reason of driftwatch's own.", action="repair", stack=key)
        finally:
            with self._lock:
                self._busy.discard(key)

    def _follow_up(self, stack: StackId) -> None:
        self._tools.proposer.follow_up(stack, self._stop)

    def _grant(self, number: int, wish: Wish) -> None:
        """Proposes what a person asked for, or says why it cannot be."""
        made, error = None, None
        try:
            made = self._tools.proposer.grant(wish, self._stop)
        except (StoreError, EngineInterruptedError):
            raise
        except DriftwatchError as problem:
            error = problem.message
        self._book.grant(number, proposal=made.id if made else None, error=error, at=self._tools.clock())

    def _attempt(self, number: int) -> None:
        """Applies a proposal, if it may be. Raises as a plan does, and StoreError."""
        proposal = self._book.proposal(number)
        if proposal is None or not proposal.state.is_open:
            return
        draft = proposal.draft
        try:
            subject = self._subject(proposal)
        except UnknownStackError:
            return
        if subject.commit != draft.commit:
            self._supersede(proposal, "the branch is at another commit now")
            return
        admission = self._tools.clerk.before_plan(proposal, subject)
        if isinstance(admission, Held):
            self._held(proposal, admission)
            return
        self._tools.clerk.expect_identity(subject)
        self._apply(proposal, subject)

    def _subject(self, proposal: Proposal) -> Subject:
        draft, workshop = proposal.draft, self._tools.proposer.workshop
        commit = draft.commit if draft.kind is ProposalKind.ROLLBACK else None
        return subject_of(draft.stack, workshop, commit=commit, pinned=draft.kind is ProposalKind.REVERT)

    def _apply(self, proposal: Proposal, subject: Subject) -> None:
        workshop, applier = self._tools.proposer.workshop, self._tools.applier
        apply_id = f"p{proposal.id}-{secrets.token_hex(4)}"
        with workshop.checkouts[subject.stack.repository].checkout(subject.commit) as checkout:
            request = apply_request(subject, checkout, workshop.work)
            with applier.prepare(request, apply_id, self._stop) as prepared:
                if not self._begin(proposal, subject, prepared):
                    prepared.release()
                    applier.discard(apply_id)
                    return
                try:
                    started = applier.start(prepared)
                except DriftwatchError as problem:
                    self._end(proposal, ProposalState.FAILED, outcome=f"not started: {problem.message}")
                    applier.discard(apply_id)
                    return
                self._book.note_process(proposal.id, started.pid, int(started.pid_started or 0))
            self._watch(proposal.id, apply_id)

    def _begin(self, proposal: Proposal, subject: Subject, prepared: Prepared) -> bool:
        """Admits the plan that was just made, and writes down that it is applied. False: it is not."""
        rehearsal = self._tools.proposer.read(prepared.planned, subject)
        admission = self._tools.clerk.before_apply(proposal, subject, rehearsal)
        if isinstance(admission, Held):
            self._held(proposal, admission)
            return False
        run = ApplyRun(
            id=prepared.id,
            node=self._tools.node,
            plan_sha256=prepared.plan_sha256,
            state_lineage=prepared.planned.state_lineage,
            state_serial=prepared.planned.state_serial,
            started_at=self._tools.clock(),
        )
        if not self._book.begin_apply(proposal.id, run, run.started_at):
            return False
        self._audit(proposal, "apply", "begun", admission.sentence)
        self._say(proposal.id, _begun(proposal, rehearsal, admission))
        return True

    def _adopt(self, proposal: Proposal) -> None:
        """Watches an apply that runs, or that an earlier daemon has left."""
        workshop = self._tools.proposer.workshop
        with suppress(UnknownStackError):
            subject = workshop.inventory.subject(proposal.draft.stack)
            self._tools.applier.recognise(apply_request(subject, workshop.work, workshop.work))
        if proposal.run is not None:
            self._watch(proposal.id, proposal.run.id)

    def _watch(self, number: int, apply_id: str) -> None:
        """Waits for an apply to end, and writes how it did. Goes away with the daemon; the apply does not."""
        look = self._tools.applier.wait(apply_id, self._stop)
        if look.state is ApplyState.RUNNING:
            return
        proposal = self._book.proposal(number)
        if proposal is None or proposal.state is not ProposalState.APPLYING:
            return
        outcome = self._tools.applier.outcome(apply_id)
        state, said = _ended(look, outcome)
        kept = self._end(proposal, state, outcome=said, exit_code=look.exit_code, output=outcome.output)
        if kept and state is ProposalState.INTERRUPTED:
            self._block(proposal, said)
        if kept and state is ProposalState.APPLIED:
            self._hold_at_commit(proposal)
        if state is not ProposalState.INTERRUPTED:
            self._tools.applier.discard(apply_id)

    def _end(
        self,
        proposal: Proposal,
        state: ProposalState,
        *,
        outcome: str,
        exit_code: int | None = None,
        output: str | None = None,
    ) -> bool:
        at = self._tools.clock()
        if not self._book.end_apply(
            proposal.id, state, at=at, exit_code=exit_code, output=output, outcome=outcome
        ):
            return False
        self._audit(proposal, "apply", state, outcome)
        words = {
            ProposalState.APPLIED: "is applied; the check after it says whether it helped",
            ProposalState.FAILED: f"failed: {outcome}",
            ProposalState.INTERRUPTED: f"was interrupted: {outcome}. Nothing is applied to this stack until "
            "somebody has looked at its state",
        }
        self._say(proposal.id, f"Proposal {proposal.id} {words[state]}.")
        return True

    def _block(self, proposal: Proposal, said: str) -> None:
        """Nothing is applied blindly after that: a resource may be tainted, or be in no state at all."""
        self._book.suspend(
            Suspension(
                scope=str(proposal.draft.stack),
                by=DRIFTWATCH,
                at=self._tools.clock(),
                reason=f"the apply of proposal {proposal.id} was interrupted ({said}): look at the state, "
                "then resume the stack",
            )
        )

    def _hold_at_commit(self, proposal: Proposal) -> None:
        draft = proposal.draft
        if draft.kind is ProposalKind.ROLLBACK:
            self._book.pin(
                Pin(
                    stack=draft.stack,
                    commit=draft.commit,
                    by=draft.created_by,
                    at=self._tools.clock(),
                    reason=f"rolled back by proposal {proposal.id}: {draft.reason}",
                )
            )
        elif draft.kind is ProposalKind.DEPLOY:
            self._book.unpin(draft.stack)

    def _prove(self, proposal: Proposal, now: datetime) -> None:
        """Writes what the first good check after an apply says of it."""
        run, draft = proposal.run, proposal.draft
        proof = self._book.proved(proposal)
        if proof is None:
            ended = run.finished_at if run else None
            if ended is not None and now - ended > self._tools.settings.verify_within:
                outcome = "no check has proved it in time"
                if self._book.end(proposal.id, ProposalState.FAILED, outcome, now):
                    self._say(proposal.id, f"Proposal {proposal.id} was applied, and {outcome}.")
            return
        check_id, verdict, still_open = proof
        left = sorted(set(draft.findings) & set(still_open))
        outcome = f"{len(left)} of its findings are still there" if left else f"the check says {verdict}"
        if self._book.verify(proposal.id, check_id=check_id, ok=not left, at=now, outcome=outcome):
            word = "did not help" if left else "is proved"
            self._say(proposal.id, f"Proposal {proposal.id} was applied and {word}: {outcome}.")

    # ---- words -----------------------------------------------------------------------------------------

    def _held(self, proposal: Proposal, held: Held) -> None:
        if held.reason in _OUTDATED:
            self._supersede(proposal, held.sentence)
            return
        hold = Hold(reason=held.reason, sentence=held.sentence, until=held.until)
        if self._book.hold(proposal.id, hold, self._tools.clock()):
            until = f" Until {held.until:%Y-%m-%d %H:%M} UTC, as far as is known." if held.until else ""
            self._say(proposal.id, f"Proposal {proposal.id} waits. {held.sentence}{until}")

    def _supersede(self, proposal: Proposal, why: str) -> None:
        at = self._tools.clock()
        if self._book.end(proposal.id, ProposalState.SUPERSEDED, why, at):
            self._say(proposal.id, f"Proposal {proposal.id} is void: {why} What follows is proposed anew.")

    def _say(self, number: int, sentence: str) -> None:
        self._book.tell_repair(number, said=sentence, at=self._tools.clock())

    def _audit(self, proposal: Proposal, action: str, outcome: str, reason: str) -> None:
        self._book.note(
            at=self._tools.clock(),
            actor=", ".join(proposal.approvers) or DRIFTWATCH,
            via="repair",
            action=action,
            subject=f"proposal {proposal.id} ({proposal.draft.stack} at {proposal.draft.commit[:10]})",
            outcome=outcome,
            reason=reason,
        )


def _begun(proposal: Proposal, rehearsal: Rehearsal, admission: Admitted) -> str:
    what = counted(rehearsal.summary)
    return f"Proposal {proposal.id} is being applied ({what}). {admission.sentence}"


def _ended(look: Look, outcome: Outcome) -> tuple[ProposalState, str]:
    """What an apply that runs no more means."""
    if look.state is ApplyState.PREPARED:
        return ProposalState.FAILED, "it was never started, and nothing was applied"
    if outcome.errored_state is not None or outcome.state_in_log:
        return ProposalState.INTERRUPTED, "its state could not be saved, and waits to be pushed"
    if look.state is ApplyState.GONE or outcome.cancelled:
        return ProposalState.INTERRUPTED, "nobody knows how far it came"
    if look.exit_code == 0 and outcome.error is None:
        return ProposalState.APPLIED, "applied"
    said = outcome.error.message if outcome.error else f"terraform ended with {look.exit_code}"
    return ProposalState.FAILED, said
