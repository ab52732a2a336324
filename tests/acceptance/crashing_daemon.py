"""The command line, as it is, but that it is killed with -9 at one step of a repair.

TEST_CRASH_AT names the step; a crash happens once, as the next daemon is told of another step or of none.
TEST_LOCK_FILE is a file whose appearance is the step `under the lock`, TEST_LONG the seconds after which an
apply is told of as a long one. With TEST_TAKE_ALONG, the directory of its applies, all that it has started is
killed with it, as in a power cut.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from driftwatch.cli.main import main
from driftwatch.pipeline import reconcile
from driftwatch.pipeline.propose import Proposer
from driftwatch.store import Store
from driftwatch.terraform import Applier
from driftwatch.terraform.applies import APPLY_VARIABLE, Kept

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS: dict[str, tuple[type, str, bool]] = {
    "after the draft's plan": (Proposer, "rehearse", False),
    "before the proposal is written": (Store, "propose", True),
    "after the proposal is written": (Store, "propose", False),
    "before the plan that is applied": (Applier, "prepare", True),
    "after the plan that is applied": (Applier, "prepare", False),
    "before the apply is written": (Store, "begin_apply", True),
    "after the apply is written": (Store, "begin_apply", False),
    "before the word to begin": (Kept, "started", False),
    "before the process is noted": (Store, "note_process", True),
    "before the end is written": (Store, "end_apply", True),
    "after the end is written": (Store, "end_apply", False),
    "before the proof is written": (Store, "verify", True),
    "after the proof is written": (Store, "verify", False),
}
"""Each is a method, and whether the crash comes before it or after."""

UNDER_THE_LOCK = "under the lock"


def take_along(applies: Path) -> None:
    """Kills every child, and whatever carries the name of one of the applies: that outlives us otherwise."""
    names = {path.name for path in applies.iterdir()} if applies.is_dir() else set()
    found = psutil.Process().children(recursive=True)
    for process in psutil.process_iter():
        try:
            if process.environ().get(APPLY_VARIABLE) in names:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def die() -> None:
    if applies := os.environ.get("TEST_TAKE_ALONG"):
        take_along(Path(applies))
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # the signal comes to the whole process, and not necessarily at once


def dying(method: Callable[..., Any], *, before: bool) -> Callable[..., Any]:
    @wraps(method)
    def until_there(*arguments: Any, **named: Any) -> Any:
        if before:
            die()
        result = method(*arguments, **named)
        die()
        return result

    return until_there


def die_when_there(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)
    die()


if __name__ == "__main__":
    step = os.environ.get("TEST_CRASH_AT", "")
    if step == UNDER_THE_LOCK:
        lock = Path(os.environ["TEST_LOCK_FILE"])
        threading.Thread(target=die_when_there, args=[lock], daemon=True).start()
    elif step:
        owner, name, before = STEPS[step]
        setattr(owner, name, dying(getattr(owner, name), before=before))
    if long := os.environ.get("TEST_LONG"):
        reconcile.LONG = timedelta(seconds=float(long))
    main()
