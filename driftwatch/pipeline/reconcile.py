"""Reconcile: from a proposal that may be applied to one that is applied and proved.

    due? → admit → plan under the lock → the same? → admit again → write → apply → end → prove → tell

There is no other way to an apply. What must survive a crash is a row before it is done: the run is written
before terraform starts, and its process right after. Nobody waits for an apply: each round looks at those
that run, so that a daemon that starts again finds its own by their records and writes how they ended, once.
One that is gone without a word is `interrupted`, and its stack is suspended until a person has looked.

What is said of a proposal follows from where it stands, so that what a crash kept from being said is said
after it. Nothing here ends an apply, and none waits for us.
"""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from threading import Event, Lock
from typing import TYPE_CHECKING, Protocol

from driftwatch import log
from driftwatch.config.durations import format_duration
from driftwatch.errors import (
    DriftwatchError,
    EngineCrashedError,
    EngineInterruptedError,
    ProviderCrashedError,
    StoreError,
    UnknownStackError,
    sentence,
)
from driftwatch.model import (
    DRIFTWATCH,
    ApplyRun,
    Hold,
    Pin,
    Proposal,
    ProposalDraft,
    ProposalKind,
    ProposalState,
    Suspension,
    Trigger,
    Verdict,
)
from driftwatch.pipeline.order import MOST, Order
from driftwatch.pipeline.propose import announced, counted
from driftwatch.pipeline.revert import revert_in_git
from driftwatch.pipeline.subjects import apply_request, subject_of
from driftwatch.policy.admission import Held
from driftwatch.policy.guards import named
from driftwatch.terraform import ApplyState

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
    from datetime import datetime

    from driftwatch.config.repair import RepairSettings
    from driftwatch.model import Cancellation, Decision, StackId, StackStatus, Wish
    from driftwatch.pipeline.admissions import Clerk
    from driftwatch.pipeline.adopt import Adopter
    from driftwatch.pipeline.inventory import Subject
    from driftwatch.pipeline.propose import Proposer
    from driftwatch.store import Page, Proof, ProposalEvent
    from driftwatch.terraform import Look, Outcome, PlanRequest, Prepared, Progress, Started, Unsaved

ROUND_SECONDS = 2.0
"""Between two looks: a window that opens, or an approval, is acted on within that time."""

LOOK_FOR_WORK = timedelta(seconds=15)
"""Between two looks for findings of which nothing is proposed yet."""

AT_ONCE = 4
"""Stacks that are worked on at once. Each is a terraform, which waits for a cloud most of the time."""

ADOPTED_AT_ONCE = 1
"""Adoptions have a place of their own, and an apply never waits for one: it is many plans, and not urgent."""

AGAIN = timedelta(seconds=10)
"""How soon something that waits is looked at again, where nothing says when that may end."""

REST = timedelta(minutes=5)
"""After something failed on the way, how long its stack is left alone."""

LONG = timedelta(hours=1)
"""An apply that takes longer is told of: databases are made within that time, and who waits wants to know."""

LATELY = timedelta(days=7)
"""What happened within that time is said at the start if nothing kept it from being but a crash."""

_MOVED = "the branch is at another commit now."
_UNPROVED = "no check has proved it in time"

REMAINS = timedelta(days=30)
"""How long what an interrupted apply left is kept; a state that is nowhere else, until somebody says so."""

_OUTDATED = frozenset({"digest_changed", "nothing_to_apply", "plan_of_another"})
"""Reasons after which a proposal is worth nothing any more."""

logger = log.get("repair")


class Starter(Protocol):
    """How an apply of terraform's begins."""

    def prepare(self, request: PlanRequest, apply_id: str, stop: threading.Event) -> Prepared: ...

    def start(self, prepared: Prepared) -> Started: ...


class Watcher(Protocol):
    """What is known of applies that were begun, by this daemon or an earlier one."""

    def known(self) -> Sequence[str]: ...

    def look(self, apply_id: str) -> Look: ...

    def recognise(self, request: PlanRequest) -> None: ...

    def follow(self, apply_id: str) -> Progress: ...

    def cancel(self, apply_id: str) -> bool: ...

    def outcome(self, apply_id: str) -> Outcome: ...

    def unsaved(self, apply_id: str) -> Unsaved | None: ...

    def discard(self, apply_id: str, *, state_too: bool = False) -> None: ...


class Applier(Starter, Watcher, Protocol):
    """terraform's apply."""

    def recognise(self, request: PlanRequest) -> None:
        """Makes a stack's secrets unprintable: of an apply that an earlier daemon has prepared."""


class Journal(Protocol):
    """Where proposals live, as an apply sees it."""

    def proposal(self, id: int) -> Proposal | None: ...  # noqa: A002  (the seam's)

    def hold(self, id: int, hold: Hold, at: datetime) -> bool: ...  # noqa: A002  (the seam's)

    def begin_apply(self, id: int, run: ApplyRun, at: datetime) -> bool: ...  # noqa: A002  (the seam's)

    def note_process(self, id: int, pid: int, pid_started: int) -> bool: ...  # noqa: A002  (the seam's)

    def note_output(self, id: int, output: str) -> bool: ...  # noqa: A002  (the seam's)

    def end_apply(
        self,
        id: int,  # noqa: A002  (the seam's)
        state: ProposalState,
        *,
        at: datetime,
        exit_code: int | None,
        output: str | None,
        outcome: str,
        downstream: Sequence[StackId] = (),
    ) -> bool:
        """`downstream` are checked after it, too."""


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

    def suspend(self, suspension: Suspension) -> object: ...

    def pin(self, pin: Pin) -> None: ...

    def unpin(self, stack: StackId) -> bool: ...


class Agenda(Protocol):
    """What there is to do."""

    def actionable(self, at: datetime, limit: int) -> Sequence[Proposal]: ...

    def expire_proposals(self, at: datetime) -> Sequence[Proposal]: ...

    def running_applies(self) -> Sequence[Proposal]: ...

    def applied_unproved(self) -> Sequence[Proposal]: ...

    def wishes(self) -> Mapping[int, Wish]: ...

    def enqueue(self, stack: StackId, trigger: Trigger, *, requested_by: str | None, at: datetime) -> object:
        """Queues a check."""


class News(Protocol):
    """What is told and noted."""

    def tell_repair(self, proposal: int, *, said: str, at: datetime, topic: str = "") -> object: ...

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

    def proved(self, proposal: Proposal) -> Proof | None:
        """What the first good check after an apply saw; None yet."""


class Past(Protocol):
    """What has happened, for what is said of it."""

    def proposals(self, *, states: Collection[ProposalState] | None = None, limit: int) -> Page[Proposal]:
        """The newest first."""

    def latest_proposals(self, stack: StackId) -> Sequence[Proposal]: ...

    def status_of(self, stack: StackId, now: datetime) -> StackStatus | None: ...

    def proposal_events(self, id: int) -> Sequence[ProposalEvent]: ...  # noqa: A002  (the seam's)


class Book(Journal, Ends, Agenda, News, Past, Protocol):
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
    adopter: Adopter | None = None
    """Brings code to the cloud; None where nobody does."""
    alone: bool
    """Whether no other daemon can be there: then every apply is ours, whatever this machine was called."""
    leads: Callable[[], bool]
    clock: Callable[[], datetime]


class Reconciler:
    """Runs beside the daemon's other parts until it is told to stop."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._book = tools.book
        self._order = Order(
            book=tools.book,
            graph=tools.proposer.workshop.inventory.graph,
            canary=tools.settings.canary,
            clock=tools.clock,
        )
        self._lock = Lock()
        self._beginning = Lock()
        self._busy: set[Hashable] = set()
        self._rest: dict[str, datetime] = {}
        self._tried: dict[int, tuple[tuple[Decision, ...], datetime]] = {}
        self._looked_at: datetime | None = None
        self._checked: set[StackId] = set()
        self._asked_at: datetime | None = None
        self._long: set[int] = set()
        self._leases: dict[int, ExitStack] = {}
        self._followed: dict[int, Progress] = {}
        self._is_clear = False
        self._owes_words = True
        self._is_cut_off = False
        self._stop = Event()

    def run(self, stop: threading.Event) -> None:
        self._stop = stop
        pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="repair")
        desk = ThreadPoolExecutor(ADOPTED_AT_ONCE, thread_name_prefix="adopt")
        try:
            while not stop.is_set():
                self._round(pool, desk)
                stop.wait(ROUND_SECONDS)
        finally:
            for each in (pool, desk):
                each.shutdown(wait=True, cancel_futures=True)
            self._busy.clear()  # what was taken up and never begun

    def _round(self, pool: ThreadPoolExecutor, desk: ThreadPoolExecutor | None = None) -> None:
        """One look, and first, after a start or an outage of the store, what was not done then."""
        try:
            if not self._is_clear:
                self._clear_away()
                self._is_clear = True
            if self._owes_words:
                self._owes_words = False
                self._catch_up()
            self.look(pool, desk)
            self._is_cut_off = False
        except StoreError as problem:
            self._owes_words = True
            if not self._is_cut_off:
                logger.warning(problem.message, action="repair", error=problem.code)
            self._is_cut_off = True

    def look(self, pool: ThreadPoolExecutor, desk: ThreadPoolExecutor | None = None) -> None:
        """One round. What the store cannot tell now, the next round asks again; it raises StoreError.

        `desk` is where code is brought to the cloud; without one, nobody does.
        """
        book, now = self._book, self._tools.clock()
        running = book.running_applies()
        mine = [each for each in running if each.run and self._is_ours(each.run)]
        for proposal in mine:
            self._take_up(pool, proposal.draft.stack, partial(self._watch, proposal), task="watch")
        if not self._tools.leads():
            return
        for proposal in running:
            self._tell_if_long(proposal, now)
        for proposal in book.expire_proposals(now):
            self._audit(proposal, "expire", "done", "nobody decided on it in time", actor=DRIFTWATCH)
            self._say(proposal)
        for proposal in book.applied_unproved():
            self._prove(proposal, now)
        for number, wish in book.wishes().items():
            self._take_up(pool, wish.stack, partial(self._grant, number, wish), task="wish")
        for stack in self._to_look_at(now, desk):
            self._take_up(pool, stack, partial(self._follow_up, stack))
        self._take_up_adoptions(desk, {each.draft.stack for each in running})
        if len(mine) >= AT_ONCE:
            return
        taken = {each.draft.stack for each in running}
        for proposal in sorted(self._due(now, taken), key=self._turn):
            self._take_up(pool, proposal.draft.stack, partial(self._attempt, proposal.id))

    def _is_ours(self, run: ApplyRun) -> bool:
        return self._tools.alone or run.node == self._tools.node

    def _due(self, now: datetime, taken: Collection[StackId]) -> Sequence[Proposal]:
        """What may have to be done now; every so often, also what was said to wait until later.

        Until when it waits is as far as was known then: windows move with the configuration, a suspension is
        lifted, an approval comes.
        """
        found = {each.id: each for each in self._book.actionable(now, MOST)}
        if self._asked_at is None or now - self._asked_at >= LOOK_FOR_WORK:
            self._asked_at = now
            waiting = self._book.proposals(states=(ProposalState.WAITING,), limit=MOST).items
            found |= {each.id: each for each in waiting if each.draft.stack not in taken}
        return [each for each in found.values() if not self._was_tried(each)]

    def _turn(self, proposal: Proposal) -> tuple[bool, int]:
        """Canaries first, then the oldest."""
        return (not self._order.is_canary(proposal.draft.stack), proposal.id)

    def look_at(self, stack: StackId) -> None:
        """Has the next round look at a stack: it was checked. From any thread."""
        with self._lock:
            self._checked.add(stack)

    def _to_look_at(self, now: datetime, desk: ThreadPoolExecutor | None) -> Sequence[StackId]:
        """The stacks that were checked since the last round; every so often, all where anything differs."""
        with self._lock:
            stacks, self._checked = list(self._checked), set()
        if self._looked_at is None or now - self._looked_at >= LOOK_FOR_WORK:
            self._looked_at = now
            stacks = list(self._book.drifting())
        found = []
        for stack in stacks:
            if self._rest.get(_key(stack), now) <= now:
                with suppress(UnknownStackError, DriftwatchError):
                    if self._tools.proposer.due(stack) is not None:
                        found.append(stack)
            self._look_for_adoptions(stack, desk)
        return found

    def _look_for_adoptions(self, stack: StackId, desk: ThreadPoolExecutor | None) -> None:
        """Has it written down that drift is to be adopted: that asks a remote, which may take its time."""
        adopter = self._tools.adopter
        if adopter is None or desk is None:
            return
        with suppress(UnknownStackError, DriftwatchError):
            if adopter.is_due(stack):
                work = partial(adopter.follow_up, stack)
                self._take_up(desk, stack, work, task="look", place=_key(stack, "look"))

    def _take_up_adoptions(self, desk: ThreadPoolExecutor | None, running: Collection[StackId]) -> None:
        """Has drift brought into code, where somebody asked for it or a stack's course says so.

        Not while the stack is worked on: what differs then is about to be another.
        """
        adopter = self._tools.adopter
        if adopter is None or desk is None:
            return
        for number, wish in adopter.asked().items():
            task = f"adopt {number}"
            if wish.stack not in running and wish.stack not in self._busy:
                work = partial(adopter.carry_out, number, wish, self._stop)
                self._take_up(desk, wish.stack, work, task=task, place=task)

    # ---- one stack at a time ---------------------------------------------------------------------------

    def _take_up(
        self,
        pool: ThreadPoolExecutor,
        stack: StackId,
        work: Callable[[], None],
        *,
        task: str = "repair",
        place: str | None = None,
    ) -> None:
        """Has one thing done about a stack, unless anything is being done about it already.

        What failed lately is left alone for a while, but not what else there is to do about the stack. What
        has a `place` of its own keeps nothing else from being done.
        """
        now, key = self._tools.clock(), _key(stack, task)
        taken: Hashable = stack if place is None else place
        with self._lock:
            if taken in self._busy or self._rest.get(key, now) > now:
                return
            self._busy.add(taken)
        try:
            pool.submit(self._do, taken, stack, key, work)
        except RuntimeError:  # the pool is closed: the end was asked for meanwhile
            self._free(taken)

    def _do(self, place: Hashable, stack: StackId, key: str, work: Callable[[], None]) -> None:
        try:
            work()
        except EngineInterruptedError:
            logger.info("A repair was put off: the daemon stops.", action="repair", stack=str(stack))
        except StoreError as problem:
            self._owes_words = True  # something may have been written, and not said
            self._leave_alone(key, stack, problem)
        except DriftwatchError as problem:
            self._leave_alone(key, stack, problem)
        except Exception:
            self._rest[key] = self._tools.clock() + REST
            logger.exception(
                "A repair failed for a reason of driftwatch's own.", action="repair", stack=str(stack)
            )
        finally:
            self._free(place)

    def _leave_alone(self, key: str, stack: StackId, problem: DriftwatchError) -> None:
        self._rest[key] = self._tools.clock() + REST
        logger.warning(problem.message, action="repair", stack=str(stack), error=problem.code)

    def _free(self, place: Hashable) -> None:
        with self._lock:
            self._busy.discard(place)

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
        if made is not None and wish.revert:
            error = self._revert(made, wish)
        self._book.grant(number, proposal=made.id if made else None, error=error, at=self._tools.clock())

    def _revert(self, proposal: Proposal, wish: Wish) -> str:
        """Opens in Git what a rollback does to the cloud, and says what came of it."""
        said = revert_in_git(wish, proposal.draft.commit, self._tools.proposer.workshop)
        self._book.note(
            at=self._tools.clock(),
            actor=wish.by,
            via="repair",
            action="revert",
            subject=f"proposal {proposal.id} ({wish.stack} at {proposal.draft.commit[:10]})",
            outcome=said,
            reason=wish.reason,
        )
        return said

    def _attempt(self, number: int) -> None:
        """Applies a proposal, if it may be. Raises EngineInterruptedError and StoreError."""
        proposal = self._book.proposal(number)
        if proposal is None or not proposal.state.is_open:
            return
        try:
            subject = self._subject(proposal)
        except UnknownStackError:
            return
        if subject.commit != proposal.draft.commit:
            self._supersede(proposal, _MOVED)
            return
        admission = self._order.first(proposal) or self._tools.clerk.before_plan(proposal, subject)
        if isinstance(admission, Held):
            self._held(proposal, admission)
            return
        try:
            self._tools.clerk.expect_identity(subject)
            if self._has_moved(proposal, subject):
                self._supersede(proposal, _MOVED)
                return
            self._apply(proposal, subject)
        except (StoreError, EngineInterruptedError):
            raise
        except DriftwatchError as problem:
            logger.warning(
                problem.message, action="repair", stack=str(proposal.draft.stack), error=problem.code
            )
            self._held(proposal, Held(reason=problem.code, sentence=sentence(problem.message)), REST)

    def _has_moved(self, proposal: Proposal, subject: Subject) -> bool:
        """Whether the remote branch has moved since it was last asked; then what it touches is checked.

        A remote that cannot be asked has not: what is known of it is what counts everywhere.
        """
        refreshed = self._tools.proposer.workshop.inventory.refresh(subject.stack.repository)
        for stack in refreshed.touched:
            with suppress(UnknownStackError):
                self._book.enqueue(stack, Trigger.COMMIT, requested_by=None, at=self._tools.clock())
        return self._subject(proposal).commit != subject.commit

    def _downstream(self, stack: StackId) -> Sequence[StackId]:
        """The stacks that read from this one directly: what it gives them may be another by now."""
        return self._tools.proposer.workshop.inventory.graph().downstream.get(stack, ())

    def _was_tried(self, proposal: Proposal) -> bool:
        """Whether it was looked at just now, and nobody has decided anything since.

        A fleet may have a thousand that wait for the same. And a plan takes the state lock: it is not made
        every two seconds because a guard does not like what comes of it.
        """
        decisions, until = self._tried.get(proposal.id, ((), self._tools.clock()))
        return decisions == proposal.decisions and self._tools.clock() < until

    def _subject(self, proposal: Proposal) -> Subject:
        draft, workshop = proposal.draft, self._tools.proposer.workshop
        commit = draft.commit if draft.kind is ProposalKind.ROLLBACK else None
        at_pin = draft.kind is ProposalKind.REVERT or workshop.pinned(draft.stack) == draft.commit
        return subject_of(draft.stack, workshop, commit=commit, pinned=at_pin)

    def _apply(self, proposal: Proposal, subject: Subject) -> None:
        workshop, applier = self._tools.proposer.workshop, self._tools.applier
        apply_id = f"p{proposal.id}-{secrets.token_hex(4)}"
        with ExitStack() as lease:
            checkouts = workshop.checkouts[subject.stack.repository]
            checkout = lease.enter_context(checkouts.checkout(subject.commit))
            request = apply_request(subject, checkout, workshop.work)
            with applier.prepare(request, apply_id, self._stop) as prepared:
                if not self._begin(proposal, subject, prepared):
                    return
                try:
                    started = applier.start(prepared)
                except DriftwatchError as problem:
                    self._end(proposal, ProposalState.FAILED, outcome=f"not started: {problem.message}")
                    applier.discard(apply_id)
                    return
                self._leases[proposal.id] = lease.pop_all()
                self._book.note_process(proposal.id, started.pid, int(started.pid_started or 0))

    def _begin(self, proposal: Proposal, subject: Subject, prepared: Prepared) -> bool:
        """Admits the plan that was just made, and writes down that it is applied. False: it is not.

        One after the other: of two that are admitted at once, neither would count in the other's budget.
        """
        with ExitStack() as undo:
            undo.callback(self._drop, prepared)  # also where it cannot be read: it is full of secrets
            if self._stop.is_set():
                return False
            rehearsal = self._tools.proposer.read(prepared.planned, subject)
            if self._subject(proposal).commit != subject.commit:
                self._supersede(proposal, _MOVED)
                return False
            left = self._left_over(subject.stack, prepared)
            with self._beginning:
                admission = self._tools.clerk.before_apply(proposal, subject, rehearsal, in_review=left)
                if isinstance(admission, Held):
                    self._held(proposal, admission, REST)
                    return False
                kept = undo.pop_all()  # from here on a row may name it, whatever else goes wrong
                begun = self._write_down(proposal, prepared, admission.sentence)
        if not begun:
            kept.close()
        return begun

    def _drop(self, prepared: Prepared) -> None:
        """Removes what was prepared and is not applied."""
        prepared.release()
        self._tools.applier.discard(prepared.id)

    def _left_over(self, stack: StackId, prepared: Prepared) -> str | None:
        """What an earlier apply of the stack has left that is not where it belongs: its state."""
        applier, planned = self._tools.applier, prepared.planned
        for apply_id in applier.known():
            number = _number_of(apply_id)
            earlier = None if number is None else self._book.proposal(number)
            if apply_id == prepared.id or earlier is None or earlier.draft.stack != stack:
                continue
            unsaved = applier.unsaved(apply_id)
            if unsaved is None:
                continue
            if not unsaved.is_in(planned.state_lineage, planned.state_serial):
                return (
                    f"The state of proposal {number} was never saved: it is in {unsaved.path} on "
                    f"{self._tools.node}. Push it with `state push`; or, where the state is in order without "
                    f"it, `driftwatch proposals discard {number}`."
                )
            applier.discard(apply_id, state_too=True)  # somebody has pushed it
        return None

    def _write_down(self, proposal: Proposal, prepared: Prepared, sentence: str) -> bool:
        """Writes down that a plan is applied, before it is. False where something has come in between."""
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
        self._audit(proposal, "apply", "begun", sentence)
        self._say(proposal, sentence)
        return True

    def _watch(self, proposal: Proposal) -> None:
        """Writes how an apply ended, once it has."""
        applier, run = self._tools.applier, proposal.run
        if run is None:
            return
        if applier.look(run.id).state is ApplyState.RUNNING:
            self._keep_checkout(proposal)
            self._pass_on(proposal, run)
            if run.cancel is not None:
                self._cancel(proposal, run, run.cancel)
            return
        self._followed.pop(proposal.id, None)
        self._leases.pop(proposal.id, ExitStack()).close()
        knows_secrets = self._recognise(proposal)
        look, outcome = applier.look(run.id), applier.outcome(run.id)
        state, said = _ended(look, outcome, run, is_redacted=knows_secrets)
        # Before the end is written: after a crash between the two it is done once more, and not left out.
        if state is ProposalState.INTERRUPTED:
            self._block(proposal, said)
        if state is ProposalState.APPLIED:
            self._hold_at_commit(proposal)
        output = outcome.output if knows_secrets else None
        self._end(proposal, state, outcome=said, exit_code=look.exit_code, output=output)
        if state is not ProposalState.INTERRUPTED:
            applier.discard(run.id)

    def _pass_on(self, proposal: Proposal, run: ApplyRun) -> None:
        """Writes what terraform has said so far where people anywhere can read it; nothing unredacted."""
        if proposal.id not in self._followed:
            if not self._recognise(proposal):
                return
            self._followed[proposal.id] = self._tools.applier.follow(run.id)
        output = self._followed[proposal.id].output()
        if output and output != run.output:
            self._book.note_output(proposal.id, output)

    def _cancel(self, proposal: Proposal, run: ApplyRun, cancel: Cancellation) -> None:
        """Interrupts terraform, once: it stops what it is at, writes its state, and begins nothing more."""
        if self._tools.applier.cancel(run.id):
            self._audit(proposal, "cancel", "terraform was interrupted", cancel.reason, actor=cancel.by)
            said = (
                f"{cancel.by} has the apply of proposal {proposal.id} interrupted: {sentence(cancel.reason)}"
            )
            now = self._tools.clock()
            self._book.tell_repair(proposal.id, said=said, at=now, topic="cancel")

    def _keep_checkout(self, proposal: Proposal) -> None:
        """Keeps the code there that an apply may still read, a package beside the module, say.

        One that an earlier daemon began has lost it for the moments in between.
        """
        draft, workshop = proposal.draft, self._tools.proposer.workshop
        checkouts = workshop.checkouts.get(draft.stack.repository)
        if proposal.id in self._leases or checkouts is None:
            return
        with ExitStack() as lease:
            lease.enter_context(checkouts.checkout(draft.commit))
            self._leases[proposal.id] = lease.pop_all()

    def _recognise(self, proposal: Proposal) -> bool:
        """Makes a stack's secrets unprintable, as an earlier daemon may have begun it; False: not known."""
        workshop = self._tools.proposer.workshop
        try:
            subject = workshop.inventory.subject(proposal.draft.stack)
        except UnknownStackError:
            return False
        self._tools.applier.recognise(apply_request(subject, workshop.work, workshop.work))
        return True

    def _end(
        self,
        proposal: Proposal,
        state: ProposalState,
        *,
        outcome: str,
        exit_code: int | None = None,
        output: str | None = None,
    ) -> None:
        at = self._tools.clock()
        if self._book.end_apply(
            proposal.id,
            state,
            at=at,
            exit_code=exit_code,
            output=output,
            outcome=outcome,
            downstream=self._downstream(proposal.draft.stack) if state is ProposalState.APPLIED else (),
        ):
            self._audit(proposal, "apply", state, outcome)
            self._say(proposal)

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
        self._audit(proposal, "suspend", str(proposal.draft.stack), said, actor=DRIFTWATCH)

    def _hold_at_commit(self, proposal: Proposal) -> None:
        draft = proposal.draft
        if draft.kind is ProposalKind.ROLLBACK:
            pin = Pin(
                stack=draft.stack,
                commit=draft.commit,
                by=draft.created_by,
                at=self._tools.clock(),
                reason=f"rolled back by proposal {proposal.id}: {draft.reason}",
            )
            with suppress(UnknownStackError):  # it was taken out of the code meanwhile
                self._book.pin(pin)
                self._audit(proposal, "pin", draft.commit, pin.reason)
        elif draft.kind is ProposalKind.DEPLOY and self._tools.proposer.workshop.pinned(draft.stack) not in (
            None,
            draft.commit,
        ):
            self._book.unpin(draft.stack)
            self._audit(proposal, "unpin", draft.commit, "a newer commit is deployed")

    def _prove(self, proposal: Proposal, now: datetime) -> None:
        """Writes what the first good check after an apply says of it."""
        run, draft = proposal.run, proposal.draft
        proof = self._book.proved(proposal)
        if proof is None:
            ended = run.finished_at if run else None
            late = ended is not None and now - ended > self._tools.settings.verify_within
            if late and self._book.end(proposal.id, ProposalState.FAILED, _UNPROVED, now):
                self._audit(proposal, "verify", ProposalState.FAILED, _UNPROVED, actor=DRIFTWATCH)
                self._say(proposal)
            return
        ok, outcome = _proved(draft, proof)
        if self._book.verify(proposal.id, check_id=proof.check_id, ok=ok, at=now, outcome=outcome):
            state = ProposalState.VERIFIED if ok else ProposalState.FAILED
            self._audit(proposal, "verify", state, outcome, actor=DRIFTWATCH)
            self._say(proposal)

    # ---- words -----------------------------------------------------------------------------------------

    def _held(self, proposal: Proposal, held: Held, pause: timedelta = AGAIN) -> None:
        self._tried[proposal.id] = (proposal.decisions, self._tools.clock() + pause)
        if held.reason in _OUTDATED:
            self._supersede(proposal, held.sentence)
            return
        hold = Hold(reason=held.reason, sentence=held.sentence, until=held.until)
        if self._book.hold(proposal.id, hold, self._tools.clock()):
            self._audit(proposal, "hold", held.reason, held.sentence, actor=DRIFTWATCH)
            self._say(proposal)

    def _supersede(self, proposal: Proposal, why: str) -> None:
        if self._book.end(proposal.id, ProposalState.SUPERSEDED, why, self._tools.clock()):
            self._audit(proposal, "supersede", "done", why, actor=DRIFTWATCH)
            self._say(proposal)

    def _catch_up(self) -> None:
        """Says what a crash, or a store that was away, has kept from being said.

        What was said already is not said again: the store knows.
        """
        since = self._tools.clock() - LATELY
        for proposal in reversed(self._book.proposals(limit=100).items):
            last = self._book.proposal_events(proposal.id)[-1]
            if last.at >= since and last.event.value == proposal.state.value:
                self._say(proposal)

    def _clear_away(self) -> None:
        """Removes what earlier daemons left of applies. Only at the start: later one may be in the making."""
        for apply_id in self._tools.applier.known():
            self._clear_away_one(apply_id)

    def _clear_away_one(self, apply_id: str) -> None:
        """Removes what is left of an apply that never began, or whose end is written down."""
        number, applier = _number_of(apply_id), self._tools.applier
        proposal = None if number is None else self._book.proposal(number)
        is_its = proposal is not None and proposal.run is not None and proposal.run.id == apply_id
        if proposal is not None and is_its and self._is_needed(proposal):
            return
        if not is_its and applier.look(apply_id).state is not ApplyState.PREPARED:
            logger.warning(f"Nothing is known of the apply {apply_id}; it is kept.", action="repair")
            return
        try:
            applier.discard(apply_id)
        except DriftwatchError as problem:
            logger.warning(problem.message, action="repair", error=problem.code)

    def _is_needed(self, proposal: Proposal) -> bool:
        """Whether what is kept of its apply is: to be recorded, or to be looked at for some weeks."""
        if proposal.state is not ProposalState.INTERRUPTED:
            return proposal.state is ProposalState.APPLYING
        return proposal.ended_at is None or self._tools.clock() - proposal.ended_at < REMAINS

    def _tell_if_long(self, proposal: Proposal, now: datetime) -> None:
        """Tells, once, of an apply that takes long; another daemon, whose it is, may be there no more."""
        run = proposal.run
        if run is None or now - run.started_at < LONG or proposal.id in self._long:
            return
        said = f"Proposal {proposal.id} is still being applied after {format_duration(LONG)}, on {run.node}."
        if not self._is_ours(run):
            said += (
                " If no daemon is there any more, start one with the same state directory: it finds the "
                "apply and says how it ended. Nothing else is applied to this stack until then. "
                f"If that machine is gone for good, `driftwatch proposals abandon {proposal.id}` says so."
            )
        self._book.tell_repair(proposal.id, said=said, at=now, topic="long")
        self._long.add(proposal.id)

    def _say(self, proposal: Proposal, more: str = "") -> None:
        """Tells where a proposal stands now."""
        now = self._book.proposal(proposal.id)
        said = words(now) if now else None
        if said is not None:
            sentence = f"{said} {more}".strip()
            self._book.tell_repair(proposal.id, said=sentence, at=self._tools.clock())

    def _audit(
        self, proposal: Proposal, action: str, outcome: str, reason: str, *, actor: str | None = None
    ) -> None:
        self._book.note(
            at=self._tools.clock(),
            actor=actor or ", ".join(proposal.approvers) or DRIFTWATCH,
            via="repair",
            action=action,
            subject=f"proposal {proposal.id} ({proposal.draft.stack} at {proposal.draft.commit[:10]})",
            outcome=outcome,
            reason=reason,
        )


def words(proposal: Proposal) -> str | None:
    """What people are told of where a proposal stands; None where whoever brought it there has told them."""
    name, state, outcome = f"Proposal {proposal.id}", proposal.state, proposal.outcome or ""
    if state is ProposalState.PROPOSED:
        return announced(proposal)
    if state is ProposalState.WAITING and proposal.held is not None:
        until = proposal.held.until
        when = f" Until {until:%Y-%m-%d %H:%M} UTC, as far as is known." if until else ""
        return f"{name} waits. {proposal.held.sentence}{when}"
    if state is ProposalState.SUPERSEDED and proposal.superseded_by is None:
        return f"{name} is void: {sentence(outcome)} What follows is proposed anew."
    if state is ProposalState.FAILED and proposal.run is not None and proposal.run.exit_code == 0:
        return f"{name} was applied, but {sentence(outcome)}"
    return {
        ProposalState.APPLYING: f"{name} is being applied ({counted(proposal.draft.summary)}).",
        ProposalState.APPLIED: f"{name} is applied; the check after it says whether it helped.",
        ProposalState.VERIFIED: f"{name} was applied and is proved by a check: {sentence(outcome)}",
        ProposalState.FAILED: f"{name} failed: {sentence(outcome)}",
        ProposalState.INTERRUPTED: f"{name} was interrupted: {sentence(outcome)} Nothing is applied to this "
        "stack until somebody has looked at its state and resumes it.",
        ProposalState.EXPIRED: f"{name} has expired: nobody decided on it in time.",
    }.get(state)


def _number_of(apply_id: str) -> int | None:
    """The proposal that an apply is of, by the name that we gave it; None where it is none of ours."""
    number = apply_id.partition("-")[0].removeprefix("p")
    return int(number) if number.isdecimal() else None


def _proved(draft: ProposalDraft, proof: Proof) -> tuple[bool, str]:
    """Whether an apply has helped, and in words what the check after it saw.

    What differs otherwise at the same address by then was undone just as well. A repair of no findings in
    particular, as a rollback, has helped where nothing differs.
    """
    left = len(set(draft.findings) & set(proof.fingerprints))
    if left:
        return False, f"it did not help: {left} of its findings are still there"
    again = sorted(set(draft.addresses) & set(proof.addresses))
    if again and draft.kind is ProposalKind.REVERT:
        return False, f"it did not last: {named(again)} differs again, otherwise than before"
    if proof.verdict is Verdict.IN_SYNC:
        return True, "nothing differs any more"
    verdict = str(proof.verdict).replace("_", " ")
    if not draft.findings:
        return False, f"it did not help: the stack is {verdict} still"
    return True, f"what it was about is gone; the stack is {verdict} otherwise"


def _key(stack: StackId, task: str = "repair") -> str:
    return f"{task}:{stack}"


def _ended(look: Look, outcome: Outcome, run: ApplyRun, *, is_redacted: bool) -> tuple[ProposalState, str]:
    """What an apply that runs no more means. Nothing that terraform said is repeated unless `is_redacted`."""
    if look.state is ApplyState.PREPARED:
        return ProposalState.FAILED, "it was never started, and nothing was applied"
    if why := _interrupted(look, outcome, run):
        return ProposalState.INTERRUPTED, why
    if look.exit_code == 0 and outcome.error is None:
        return ProposalState.APPLIED, "applied"
    said = outcome.error.message if outcome.error and is_redacted else None
    return ProposalState.FAILED, said or f"terraform ended with {look.exit_code}"


def _interrupted(look: Look, outcome: Outcome, run: ApplyRun) -> str | None:
    """Why a person has to look at the state before anything else is applied; None where nobody has to."""
    if outcome.errored_state is not None:
        return f"its state could not be saved, and waits to be pushed from {outcome.errored_state}"
    if outcome.state_in_log:
        return f"its state could not be saved, and waits to be taken out of {outcome.log} and pushed"
    if look.state is ApplyState.GONE:
        return "nobody knows how far it came"
    if outcome.cancelled:
        return f"{run.cancel.by} had it stopped: {run.cancel.reason}" if run.cancel else "somebody stopped it"
    killed = look.exit_code is not None and look.exit_code < 0
    if killed or isinstance(outcome.error, (EngineCrashedError, ProviderCrashedError)):
        # What it was at may be in the cloud, and in no state.
        return "terraform, or a provider of it, was killed in its middle"
    return None
