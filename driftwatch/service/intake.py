"""The way into the queue: what has become due is owed until the store has it.

The scheduler and the pollers only say what is due, which takes no time and cannot fail; one thread here
writes it down. A job is queued before the stack's next due time is kept: a crash between the two, or a store
that is away, makes a check come twice at worst (and the queue folds the two into one), never not at all.
"""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

from driftwatch import log
from driftwatch.errors import DriftwatchError, UnknownStackError
from driftwatch.service.pulse import Heartbeat, Outage

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from driftwatch.model import StackId, Trigger
    from driftwatch.service.ports import Dues, Jobs

RETRY_SECONDS = 5.0
"""How soon what is owed is tried again; also how often this loop shows that it is alive."""

STALLS_AFTER = timedelta(minutes=5)
"""Longer than a database under lock makes us wait for one row."""

logger = log.get("intake")


class Intake:
    """What is owed to the queue, and the thread that pays it."""

    def __init__(
        self,
        jobs: Jobs,
        dues: Dues,
        *,
        clock: Callable[[], datetime],
        on_queued: Callable[[], None],
        leads: Callable[[], bool] | None = None,
        on_lead: Callable[[], None] | None = None,
    ) -> None:
        """`leads` says whether this daemon is the one that says what is due; None where it is alone.

        Where it is not, nothing is owed. `on_lead` is done like an errand when it has become the one: what is
        due has to be looked up then, since nobody here has kept count.
        """
        self.outage = Outage(logger, "Putting checks into the queue")
        self.heartbeat = Heartbeat(STALLS_AFTER)
        self._jobs = jobs
        self._dues = dues
        self._clock = clock
        self._on_queued = on_queued
        self._bell = threading.Event()
        self._lock = threading.Lock()
        self._owed: dict[tuple[StackId, Trigger], None] = {}
        self._moved: dict[StackId, datetime] = {}
        self._errands: list[Callable[[], None]] = []
        self._leads = leads
        self._on_lead = on_lead
        self._is_leader = leads is None

    @property
    def is_leading(self) -> bool:
        """Whether this daemon is the one that says what is due."""
        return self._is_leader

    @property
    def is_behind(self) -> bool:
        """Whether something that is owed is not in the queue yet."""
        return bool(self._owed)

    def owe(self, stack: StackId, trigger: Trigger) -> None:
        """Takes note that `stack` is to be checked; never blocks and never fails."""
        with self._lock:
            if not self._is_leader:
                return
            self._owed[stack, trigger] = None
        self._bell.set()

    def move(self, stack: StackId, due: datetime) -> None:
        """Takes note of when `stack` is due next."""
        with self._lock:
            if not self._is_leader:
                return
            self._moved[stack] = due
        self._bell.set()

    def ask(self, errand: Callable[[], None]) -> None:
        """Has `errand`, which needs the store, done on this thread; once if asked twice."""
        with self._lock:
            if errand not in self._errands:
                self._errands.append(errand)
        self._bell.set()

    def run(self, stop: threading.Event) -> None:
        """Pays what is owed, whenever something is; the last time when `stop` is set (and `ring`)."""
        while not stop.is_set():
            if self.outage.error is None:
                self._bell.wait(RETRY_SECONDS)
                self._bell.clear()
            else:
                stop.wait(RETRY_SECONDS)
            self.pay()
        self.pay()

    def ring(self) -> None:
        self._bell.set()

    def pay(self) -> None:
        """Writes down all that is owed now; what fails stays owed."""
        self.heartbeat.beat()
        try:
            if self.look_who_leads() and self._on_lead is not None:
                self.ask(self._on_lead)
            self._queue_owed()
            self._keep_moved()
            self._run_errands()
        except Exception as error:  # noqa: BLE001  nothing that one round meets may end the rounds
            self.outage.failed(error)
        else:
            self.outage.over()

    def look_who_leads(self) -> bool:
        """True where this daemon has just become the one that says what is due. Raises StoreError."""
        if self._leads is None:
            return False
        was, now = self._is_leader, self._leads()
        with self._lock:
            self._is_leader = now
            if not now:
                self._owed.clear()
                self._moved.clear()
        if now != was:
            said = "This daemon says what is due." if now else "Another daemon says what is due."
            logger.info(said, action="lead")
        return now and not was

    def _run_errands(self) -> None:
        while self._errands:
            self._errands[0]()
            with self._lock:
                self._errands.pop(0)

    def _queue_owed(self) -> None:
        with self._lock:
            owed = list(self._owed)
        for stack, trigger in owed:
            self._queue(stack, trigger)
            with self._lock:
                self._owed.pop((stack, trigger), None)
            self.heartbeat.beat()
            self._on_queued()

    def _queue(self, stack: StackId, trigger: Trigger) -> None:
        try:
            self._jobs.enqueue(stack, trigger, requested_by=None, at=self._clock())
        except UnknownStackError:
            logger.info("The stack is gone; its check is not queued.", action="enqueue", stack=str(stack))
        except DriftwatchError:
            raise  # the store is away, or its disk is full: it stays owed
        except Exception:
            logger.exception("A check is not queued.", action="enqueue", stack=str(stack))

    def _keep_moved(self) -> None:
        with self._lock:
            owed = {stack for stack, _ in self._owed}
            moved = {stack: due for stack, due in self._moved.items() if stack not in owed}
        if not moved:
            return
        self._dues.schedule(moved)
        with self._lock:
            for stack, due in moved.items():
                if self._moved.get(stack) == due:
                    del self._moved[stack]
