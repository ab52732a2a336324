"""The workers: threads that take jobs from the queue and check, and one that keeps their leases.

Idle workers do not all watch the queue: one stands at it, the others wait behind it without waking. Who gets
a job leaves the place to the next. The threads live as long as the daemon, because the kernel ends a
terraform process with the thread that started it (PR_SET_PDEATHSIG).

A lease that was lost means that the job is somebody else's: its check is told to stop, and the store refuses
its result by the fencing token. Two checks of one stack never run at once in this process either: the later
one waits until the earlier one is gone.
"""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from driftwatch import log
from driftwatch.errors import DiskFullError, EngineInterruptedError, FencedOffError, StoreError
from driftwatch.model import JobState
from driftwatch.service.pulse import ClockWatch, Outage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from driftwatch.model import Job, StackId
    from driftwatch.service.ports import Checked, Jobs, Work

LEASE = timedelta(seconds=60)
"""How long a job stays with a worker that is not heard of; another daemon takes it over after that."""

RENEWALS_PER_LEASE = 3
"""Two renewals may fail before a lease is lost."""

QUEUE_POLL_SECONDS = 2.0
"""How long a job that another process has queued may lie before it is seen; ours ring the bell."""

_NOT_WRITTEN = (StoreError, DiskFullError)
"""What keeps a check's end from being written down; its job is then queued again after its lease."""

logger = log.get("worker")


class Run:
    """One check that is under way."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.stop = threading.Event()
        self.is_lost = False
        self.checked: Checked | None = None


class Workers:
    """`count` workers on the queue of `jobs`, under the name `node`.

    `on_begun` and `on_checked` are told of every check, on its worker's thread: when it begins, and when its
    job has ended, however that was. What a check was like is None where it has not said so.
    """

    def __init__(
        self,
        work: Work,
        jobs: Jobs,
        *,
        count: int,
        node: str,
        clock: Callable[[], datetime],
        on_idle: Callable[[], None],
        catch_up: Callable[[], object],
        on_begun: Callable[[StackId], object],
        on_checked: Callable[[StackId, Checked | None], object],
        lease: timedelta = LEASE,
    ) -> None:
        self.outages = (Outage(logger, "Taking checks from the queue"), Outage(logger, "Renewing leases"))
        self._claiming, self._renewing = self.outages
        self._work = work
        self._jobs = jobs
        self._node = node
        self._clock = clock
        self._on_idle = on_idle
        self._catch_up = catch_up
        self._on_begun = on_begun
        self._on_checked = on_checked
        self._lease = lease
        self._queue_place = threading.Lock()
        self._bell = threading.Event()
        self._closing = threading.Event()
        self._ended = threading.Event()
        self._runs: list[Run] = []
        self._busy: set[StackId] = set()
        self._freed = threading.Condition()
        self._present = 0
        self._interrupted = False
        self._threads = [
            threading.Thread(target=self._work_on, name=f"worker-{number}", daemon=True)
            for number in range(count)
        ]
        self._keeper = threading.Thread(target=self._keep_leases, name="lease-keeper", daemon=True)

    def start(self) -> None:
        self._present = len(self._threads)
        for thread in (*self._threads, self._keeper):
            thread.start()

    def ring(self) -> None:
        """Says that the queue has something new."""
        self._bell.set()

    @property
    def running(self) -> Sequence[StackId]:
        with self._freed:
            return tuple(self._busy)

    def drain(self) -> None:
        """No worker takes another job; those that have one finish it."""
        self._closing.set()
        self._bell.set()

    def interrupt(self) -> None:
        """Tells every running check to stop; their jobs are queued again. After `drain`."""
        with self._freed:
            self._interrupted = True
            for run in self._runs:
                run.stop.set()

    def is_idle(self) -> bool:
        """True when every worker has gone home, which they do only after `drain`."""
        with self._freed:
            return self._present == 0

    def close(self) -> None:
        """Leases are kept up to this moment; what still runs is for the next start to recover."""
        self._ended.set()
        if self._keeper.ident is not None:
            self._keeper.join(timeout=5)

    def _work_on(self) -> None:
        while (job := self._next()) is not None:
            self._run(job)
        with self._freed:
            self._present -= 1
        self._on_idle()

    def _next(self) -> Job | None:
        """The next job, or None when there will be no more. One worker is in here, the others queue up."""
        with self._queue_place:
            while not self._closing.is_set():
                if job := self._claim():
                    return job
                self._bell.wait(QUEUE_POLL_SECONDS)
                self._bell.clear()
        return None

    def _claim(self) -> Job | None:
        try:
            job = self._jobs.claim(self._node, at=self._clock(), lease=self._lease)
        except Exception as error:  # noqa: BLE001  a worker outlives whatever the store says
            self._claiming.failed(error)
            self._closing.wait(QUEUE_POLL_SECONDS)
            return None
        self._claiming.over()
        return job

    def _run(self, job: Job) -> None:
        run = Run(job)
        self._enter(run)
        try:
            self._on_begun(job.stack)
            self._settle(run, self._check(run))
        except FencedOffError as error:
            logger.warning(error.message, action="check", stack=str(job.stack), error=error.code)
        except _NOT_WRITTEN as error:
            logger.warning(
                f"A check's end is not written; it is queued again when its lease has passed: {error}",
                action="check",
                stack=str(job.stack),
                error=error.code,
            )
        except Exception:
            logger.exception("A check came to nothing.", action="check", stack=str(job.stack))
        finally:
            self._tell(run)
            self._leave(run)

    def _check(self, run: Run) -> JobState:
        """How the job ended: DONE means that the check itself has seen to that."""
        try:
            if not run.stop.is_set():
                run.checked = self._work.check(run.job, run.stop)
        except _NOT_WRITTEN:
            raise
        except EngineInterruptedError as error:
            if not run.stop.is_set():
                logger.warning(
                    f"A check was interrupted, not by us: {error}", action="check", stack=str(run.job.stack)
                )
                return JobState.FAILED
        except Exception:
            logger.exception("A check failed.", action="check", stack=str(run.job.stack))
            return JobState.FAILED
        return JobState.INTERRUPTED if run.stop.is_set() else JobState.DONE

    def _tell(self, run: Run) -> None:
        try:
            self._on_checked(run.job.stack, run.checked)
        except Exception:
            logger.exception(
                "A check was done, and nobody took note.", action="check", stack=str(run.job.stack)
            )

    def _settle(self, run: Run, state: JobState) -> None:
        """Leaves the queue in order. Of a job whose lease is lost, nothing is ours to settle.

        A check that was done just when it was told to stop has its job finished; the store lets that stand.
        """
        if run.is_lost or state is JobState.DONE:
            return
        self._jobs.finish(run.job, state, at=self._clock())
        if state is JobState.INTERRUPTED:
            logger.info("A check was told to stop.", action="interrupt", stack=str(run.job.stack))

    def _enter(self, run: Run) -> None:
        """Waits for an earlier check of the same stack to be gone: it must have lost its lease."""
        stack = run.job.stack
        with self._freed:
            for earlier in self._runs:
                if earlier.job.stack == stack:
                    earlier.is_lost = True
                    earlier.stop.set()
            self._runs.append(run)
            if self._interrupted:  # it was claimed a moment before the end
                run.stop.set()
            self._freed.wait_for(lambda: stack not in self._busy)
            self._busy.add(stack)

    def _leave(self, run: Run) -> None:
        with self._freed:
            self._runs.remove(run)
            self._busy.discard(run.job.stack)
            self._freed.notify_all()

    def _keep_leases(self) -> None:
        watch, recover_from = ClockWatch(self._clock), 0.0
        pause = self._lease.total_seconds() / RENEWALS_PER_LEASE
        while not self._ended.wait(pause):
            if watch.step() is not None:
                # By the new time every lease seems to have passed: first everybody gets the time to renew.
                recover_from = time.monotonic() + 2 * self._lease.total_seconds()
            try:
                self._renew_all()
                if time.monotonic() >= recover_from:
                    self._recover()
                    recover_from = time.monotonic() + self._lease.total_seconds()
            except Exception as error:  # noqa: BLE001  leases are kept, whatever one round meets
                self._renewing.failed(error)
            else:
                self._renewing.over()

    def _renew_all(self) -> None:
        with self._freed:
            runs = tuple(self._runs)
        for run in runs:
            if not run.is_lost and not self._jobs.renew(run.job, at=self._clock(), lease=self._lease):
                self._lose(run)

    def _lose(self, run: Run) -> None:
        with self._freed:
            if run not in self._runs:
                return  # it was just done
            run.is_lost = True
        run.stop.set()
        logger.warning(
            "A job is not ours any more: its check is told to stop, and its result does not count.",
            action="lease_lost",
            stack=str(run.job.stack),
        )

    def _recover(self) -> None:
        """Gives jobs of daemons that are gone to others; what was laid aside is written before that."""
        self._catch_up()
        if recovered := self._jobs.recover(node=None, at=self._clock()):
            logger.warning(f"{recovered} checks whose daemon is gone are queued again.", action="recover")
            self._bell.set()
