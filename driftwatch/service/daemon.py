"""The daemon's life: what starts in which order, what a signal means, what stops in which order.

    lock → recover jobs → sweep → refresh repositories → schedule → work → send → serve → ready
    stop asked → nothing new → running checks get their grace → they are told to stop → send → serve → unlock

The thread that calls `run` does nothing but wait for news: signals, repositories that were refreshed, workers
that went home. Handlers of signals only put a word into a queue that is safe to use from there. A check that
is stopped is queued again; what is left behind in the worst case, the next start recovers.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING

from driftwatch import log
from driftwatch.errors import DriftwatchError, Exit, UsageError
from driftwatch.service.continuous import Continuous, Limits
from driftwatch.service.health import Health, Phase
from driftwatch.service.intake import Intake
from driftwatch.service.lock import StateLock, node_name
from driftwatch.service.polling import Pollers
from driftwatch.service.pulse import Outage
from driftwatch.service.scheduler import Scheduler
from driftwatch.service.systemd import Notifier
from driftwatch.service.workers import LEASE, Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from driftwatch.config.settings import Settings
    from driftwatch.service.ports import Depths, Dues, Jobs, Runnable, Sender, Work

FIRST_REFRESH = timedelta(seconds=30)
"""How long the start waits for the remotes; those that have not answered by then are polled on."""

LADDER = timedelta(seconds=60)
"""What a check needs to end when told to stop: terraform's ladder takes 40 s, then its group is killed."""

FAREWELL = timedelta(seconds=5)
"""What the sender, the web server and the pollers get to end: nothing is lost if they do not."""

RESTART_SECONDS = 5.0
"""Pause before a part that failed is started again."""

logger = log.get("daemon")


class _News(Enum):
    """What the main thread waits for."""

    STOP = "stop"
    RELOAD = "reload"
    LOOK = "look"
    """Something has changed that somebody may be waiting for."""


class Daemon:
    """One daemon on one state directory; `run` is its whole life.

    `work`, `jobs`, `dues` and `depths` are described in `ports`. `sweep` removes at the start what an earlier
    daemon left behind (processes, scratch). `catch_up` writes results that were laid aside while the store
    was away; it is called at the start and once per lease. `reload` reads the configuration again at SIGHUP.
    `extras` run beside everything else, one thread each: the web server. `lock` is the state directory's,
    where the caller has taken it already (before it opened, and perhaps upgraded, a database in there).
    `leads` says whether this daemon, of several on one database, is the one that says what is due. `cpu`
    gives the seconds of CPU that driftwatch has taken so far; by default those of this process, and of its
    children that have ended.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        work: Work,
        jobs: Jobs,
        dues: Dues,
        clock: Callable[[], datetime],
        sender: Sender | None = None,
        extras: Sequence[Runnable] = (),
        depths: Depths | None = None,
        sweep: Callable[[], object] | None = None,
        catch_up: Callable[[], object] | None = None,
        reload: Callable[[], object] | None = None,
        notifier: Notifier | None = None,
        lock: StateLock | None = None,
        leads: Callable[[], bool] | None = None,
        cpu: Callable[[], float] | None = None,
    ) -> None:
        self._settings = settings
        self._lock = lock
        self._jobs = jobs
        self._clock = clock
        self._sweep = sweep or _nothing
        self._catch_up = catch_up or _nothing
        self._reload = reload
        self._notifier = notifier or Notifier()
        self._news: queue.SimpleQueue[_News] = queue.SimpleQueue()
        self._phase = Phase.STARTING
        self._fatal: DriftwatchError | None = None
        self._node = node_name(settings.state_dir)

        self._intake = Intake(
            jobs, dues, clock=clock, on_queued=self._ring_workers, leads=leads, on_lead=self._reload_schedules
        )
        self._pollers = Pollers(
            work,
            self._intake,
            repositories=tuple(settings.repositories),
            on_refreshed=self._repository_refreshed,
        )
        self._continuous = Continuous(
            Limits.of(settings, lease=LEASE), intake=self._intake, clock=clock, cpu=cpu
        )
        self._scheduler = Scheduler(
            work=work,
            dues=dues,
            intake=self._intake,
            continuous=self._continuous,
            polls={name: repository.poll for name, repository in settings.repositories.items()},
            poll=self._pollers.poll,
            notifier=self._notifier,
            clock=clock,
        )
        self._workers = Workers(
            work,
            jobs,
            count=settings.service.workers,
            node=self._node,
            clock=clock,
            on_idle=self._look,
            catch_up=self._catch_up,
            on_begun=self._continuous.begun,
            on_checked=self._continuous.checked,
        )
        self._intake_part = _Part("intake", self._intake.run, self._part_failed, wake=self._intake.ring)
        self._sender_part = _Part("sender", _until_drained(sender), self._part_failed) if sender else None
        self._first_to_end: list[_Part] = []
        self._extras = [_Part(type(extra).__name__, extra.run, self._part_failed) for extra in extras]
        self.health = Health(
            phase=lambda: self._phase,
            heartbeats={"scheduler": self._scheduler.heartbeat, "intake": self._intake.heartbeat},
            outages=lambda: (
                self._intake.outage,
                self._continuous.outage,
                *self._workers.outages,
                *self._pollers.outages(),
            ),
            running=lambda: self._workers.running,
            repositories=lambda: self._pollers.errors,
            depths=depths,
        )

    @property
    def node(self) -> str:
        """What this daemon is called among those that share a database: the machine and the directory."""
        return self._node

    def attach(self, extra: Runnable, *, ends_first: bool = False) -> None:
        """Adds one more part to run, before `run`: the web server, which needs `health` to be made first.

        One that `ends_first` is told to end as soon as the daemon is: it begins things.
        """
        part = _Part(type(extra).__name__, extra.run, self._part_failed)
        self._extras.append(part)
        if ends_first:
            self._first_to_end.append(part)

    def poll(self, repository: str) -> None:
        """Has a repository's remote asked now, and not when its time comes. From any thread; returns at once.

        A name that the configuration does not know is passed over.
        """
        if repository in self._settings.repositories and self._phase is not Phase.STOPPING:
            self._pollers.poll(repository, news=True)

    def stop(self) -> None:
        """Asks for the end, like SIGTERM: once for an orderly one, twice to hurry. From any thread."""
        self._news.put(_News.STOP)

    def run(self) -> int:
        """Lives until it is asked to stop and returns the exit code.

        Raises StateDirectoryHeldError where another daemon has the directory, StoreError where the store is
        not to be used at the start, and the UsageError of a part that cannot run as configured.
        """
        with self._signals(), self._lock or StateLock.acquire(self._settings.state_dir, clock=self._clock):
            try:
                if self._start():
                    self._live()
            finally:
                self._shut_down()
        if self._fatal is not None:
            raise self._fatal
        return Exit.OK

    def _start(self) -> bool:
        """False where the end was asked for before all was up."""
        logger.info("The daemon starts.", action="start", node=self._node)
        self._notifier.status("recovering")
        self._catch_up()
        if recovered := self._jobs.recover(node=self._node, at=self._clock()):
            logger.warning(f"{recovered} checks that were interrupted are queued again.", action="recover")
        self._sweep()
        self._intake.look_who_leads()
        if not self._refresh_all():
            return False
        self._scheduler.reconcile()
        self._scheduler.start()
        self._intake_part.start()
        self._workers.start()
        for part in self._voices():
            part.start()
        self._phase = Phase.RUNNING
        self._notifier.ready(f"watching {len(self._scheduler.due_times())} stacks")
        logger.info("The daemon is ready.", action="ready", stacks=len(self._scheduler.due_times()))
        return True

    def _refresh_all(self) -> bool:
        self._notifier.status("refreshing repositories")
        self._pollers.start()
        for repository in self._settings.repositories:
            self._pollers.poll(repository)
        return self._wait(self._pollers.is_idle, FIRST_REFRESH) is not _Waited.STOPPED

    def _live(self) -> None:
        while (news := self._news.get()) is not _News.STOP:
            if news is _News.RELOAD:
                self._read_again()

    def _read_again(self) -> None:
        if self._reload is None:
            logger.warning("SIGHUP has no effect: the configuration is read at the start.", action="reload")
            return
        self._notifier.reloading()
        try:
            self._reload()
        except DriftwatchError as error:
            logger.warning(f"The old configuration stays: {error}", action="reload", error=error.code)
        else:
            self._intake.ask(self._scheduler.reconcile)
        self._notifier.ready("reloaded")

    def _shut_down(self) -> None:
        """Each stage is safe for parts that never started."""
        self._phase = Phase.STOPPING
        grace = self._settings.service.shutdown_grace if self._fatal is None else timedelta()
        self._notifier.stopping("finishing running checks", within=grace + LADDER + 3 * FAREWELL)
        logger.info(
            "The daemon stops: no new checks.",
            action="stop",
            running=[str(name) for name in self._workers.running],
        )
        for part in self._first_to_end:
            part.ask_to_end()
        self._scheduler.pause()
        self._pollers.close()
        self._workers.drain()
        self._let_workers_end(grace)
        self._workers.close()
        self._intake_part.end(FAREWELL)
        for part in self._voices():
            part.end(FAREWELL)
        self._pollers.join(FAREWELL)
        self._scheduler.close()
        logger.info("The daemon has stopped.", action="stopped")

    def _let_workers_end(self, grace: timedelta) -> None:
        if self._wait(self._workers.is_idle, grace) is _Waited.DONE:
            return
        logger.warning(
            "Running checks are told to stop.",
            action="interrupt",
            running=[str(name) for name in self._workers.running],
        )
        self._workers.interrupt()
        deadline = time.monotonic() + LADDER.total_seconds()
        while (waited := self._wait(self._workers.is_idle, _until(deadline))) is _Waited.STOPPED:
            logger.info("Already hurrying: running checks end as soon as terraform does.", action="interrupt")
        if waited is _Waited.LATE:
            logger.error(
                "Checks did not end; the next start queues them again.",
                action="left_behind",
                running=[str(name) for name in self._workers.running],
            )

    def _voices(self) -> list[_Part]:
        """What speaks to the outside, in the order of the start, which is also that of the end."""
        return [*([self._sender_part] if self._sender_part else []), *self._extras]

    def _wait(self, done: Callable[[], bool], within: timedelta) -> _Waited:
        """Waits for `done`, which is looked at whenever there is news."""
        deadline = time.monotonic() + within.total_seconds()
        while not done():
            try:
                news = self._news.get(timeout=max(deadline - time.monotonic(), 0))
            except queue.Empty:
                return _Waited.LATE
            if news is _News.STOP:
                return _Waited.STOPPED
        return _Waited.DONE

    def _repository_refreshed(self) -> None:
        """Called on a poller's thread. The intake's reconciles; it begins after the start has done so."""
        self._intake.ask(self._scheduler.reconcile)
        self._look()

    def _reload_schedules(self) -> None:
        self._scheduler.reload()

    def _ring_workers(self) -> None:
        self._workers.ring()

    def _look(self) -> None:
        self._news.put(_News.LOOK)

    def _part_failed(self, error: UsageError) -> None:
        self._fatal = self._fatal or error
        self._news.put(_News.STOP)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM, SIGINT and SIGHUP are ours while this lasts, if this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        meanings = {signal.SIGTERM: _News.STOP, signal.SIGINT: _News.STOP, signal.SIGHUP: _News.RELOAD}
        before = {
            number: signal.signal(number, lambda got, _frame: self._news.put(meanings[signal.Signals(got)]))
            for number in meanings
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Waited(Enum):
    """How a wait ended."""

    DONE = "done"
    LATE = "late"
    STOPPED = "stopped"


class _Part:
    """A thread for something that runs until it is told to stop, and is started again when it fails.

    Only a UsageError is final: what is configured cannot work, and trying again would not change that.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[threading.Event], object],
        on_hopeless: Callable[[UsageError], None],
        *,
        wake: Callable[[], None] | None = None,
    ) -> None:
        self._run = run
        self._on_hopeless = on_hopeless
        self._wake = wake
        self._stop = threading.Event()
        self._outage = Outage(logger, f"The {name}")
        self._thread = threading.Thread(target=self._go_on, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask_to_end(self) -> None:
        """Without waiting for it."""
        self._stop.set()
        if self._wake is not None:
            self._wake()

    def end(self, within: timedelta) -> None:
        self.ask_to_end()
        if self._thread.ident is None:
            return
        self._thread.join(within.total_seconds())
        if self._thread.is_alive():
            logger.warning(f"The {self._thread.name} did not end in time and is left.", action="stop")

    def _go_on(self) -> None:
        while not self._stop.is_set():
            try:
                self._run(self._stop)
            except UsageError as error:
                self._on_hopeless(error)
                return
            except Exception as error:  # noqa: BLE001  one part's fault must not end the others
                self._outage.failed(error)
                self._stop.wait(RESTART_SECONDS)


def _until_drained(sender: Sender) -> Callable[[threading.Event], object]:
    """The sender's run, and one last delivery of what the last checks had to say."""

    def run(stop: threading.Event) -> None:
        sender.run(stop)
        sender.drain()

    return run


def _until(deadline: float) -> timedelta:
    return timedelta(seconds=max(deadline - time.monotonic(), 0))


def _nothing() -> None:
    """Stands for a hook that was not given."""
