"""A nursery of daemons, each a process of its own, on the real store and on checks that only take time.

Reads orders from its standard input, one JSON document per line: `{"state_dir": …, "out": …, …}`; forks a
daemon for each (importing everything anew would take seconds) and answers with its process id. In `out`.said
is what happens, one event per line: `ready`, `begun STACK ATTEMPT`, `done STACK`, `stopped STACK`; in
`out`.log what is logged; in `out`.exit, at the end, the exit code or, negative, the signal. With `reluctant`,
a check needs so many seconds to end after it is told to stop.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service_doubles import ScriptedWork, SqliteStore, every, fleet, settings, wall_clock

from driftwatch import log
from driftwatch.errors import DriftwatchError
from driftwatch.model import Trigger
from driftwatch.service import Daemon, Notifier
from driftwatch.service import workers as workers_module

if TYPE_CHECKING:
    import threading

    from driftwatch.model import Job
    from driftwatch.service import Checked


def tell(*words: object) -> None:
    print(*words, flush=True)


class SpokenNotifier(Notifier):
    """Says it aloud as well."""

    def ready(self, status: str) -> None:
        super().ready(status)
        tell("ready", *status.split())


class SpokenWork(ScriptedWork):
    """Checks that say what becomes of them."""

    reluctant = 0.0

    def check(self, job: Job, stop: threading.Event) -> Checked | None:
        tell("begun", job.stack, job.attempts)
        done = len(self.done)
        checked = super().check(job, stop)
        if stop.is_set():
            time.sleep(self.reluctant)
        tell("done" if len(self.done) > done else "stopped", job.stack)
        return checked


def main(state_dir: Path, given: dict[str, Any]) -> int:
    """Runs the daemon as `given` says and returns its exit code."""
    log.configure(json=True)
    lease = timedelta(seconds=given.get("lease", 60))
    workers_module.Workers.__init__.__kwdefaults__["lease"] = lease
    store = SqliteStore(Path(given.get("store") or state_dir))
    stacks = fleet(given.get("stacks", 1))
    store.declare(stacks)
    if given.get("queue"):
        for one in stacks:
            store.enqueue(one, Trigger.MANUAL, requested_by="test", at=wall_clock())
            store.schedule({one: wall_clock() + timedelta(hours=1)})
    work = SpokenWork(
        store, dict.fromkeys(stacks, every(given.get("every", 3600))), seconds=given.get("seconds", 30)
    )
    work.reluctant = given.get("reluctant", 0)
    daemon = Daemon(
        settings(state_dir, shutdown_grace=given.get("grace", "60s"), workers=given.get("workers", 2)),
        work=work,
        jobs=store,
        dues=store,
        clock=wall_clock,
        notifier=SpokenNotifier.from_environment(os.environ),
    )
    try:
        return daemon.run()
    except DriftwatchError as error:
        tell("error", error.code, error.message)
        return error.exit_code
    finally:
        store.close()


def nursery() -> int:
    """Forks until its input ends; in a child, returns the daemon's exit code."""
    children: dict[int, Path] = {}

    def reap(_number: int, _frame: object) -> None:
        for pid in list(children):
            gone, status = os.waitpid(pid, os.WNOHANG)
            if gone:
                write(children.pop(pid).with_suffix(".exit"), str(os.waitstatus_to_exitcode(status)))

    signal.signal(signal.SIGCHLD, reap)
    for line in sys.stdin:
        order = json.loads(line)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])  # not before the child is in the list
        pid = os.fork()
        if pid == 0:
            return be(order)
        children[pid] = Path(order["out"])
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        tell(pid)
    return 0


def be(order: dict[str, Any]) -> int:
    """The life of one daemon, with streams and environment of its own."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    out = Path(order["out"])
    for number, suffix in ((1, ".said"), (2, ".log")):
        os.dup2(os.open(out.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.update(order.get("environment") or {})
    return main(Path(order["state_dir"]), order)


def write(path: Path, text: str) -> None:
    """All at once: who sees the file sees all of it."""
    path.with_suffix(".part").write_text(text)
    path.with_suffix(".part").replace(path)


if __name__ == "__main__":
    sys.exit(nursery())
