"""`driftwatch trigger`: checks that the daemon takes first, and what came of them for whoever waits.

The command queues and the daemon checks: beside a daemon nothing else works on a stack. What comes of a job
is a row, and that is what is waited for.
"""

from __future__ import annotations

import getpass
import os
import time
from typing import TYPE_CHECKING

from rich.text import Text

from driftwatch.cli import terminal
from driftwatch.cli.clock import now
from driftwatch.cli.compose import opened_store, read_settings
from driftwatch.cli.formats import Listing, exit_of, plain
from driftwatch.cli.stacks import matching, nobody_works, print_json
from driftwatch.documents.drift import timestamp
from driftwatch.documents.work import kept_job
from driftwatch.errors import Exit
from driftwatch.model import JobState, Trigger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from driftwatch.model import StackId
    from driftwatch.store import Enqueued, KeptJob, Store

ROUND_SECONDS = 0.25
"""Between two looks at what the daemon has written."""

_ENDED = (JobState.DONE, JobState.FAILED, JobState.INTERRUPTED)


def trigger(
    config: Path, patterns: Sequence[str], form: Listing, *, wait: bool = False, seconds: float = 0.0
) -> int:
    """Queues a check of every stack that matches; with `wait`, returns as `check` does, after them all.

    Whoever waits for a daemon that is not there, or longer than `seconds`, gets 1: nothing was concluded.
    """
    settings = read_settings(config, os.environ)
    with opened_store(settings) as store:
        queued = [
            (status.id, store.enqueue(status.id, Trigger.MANUAL, requested_by=getpass.getuser(), at=now()))
            for status in matching(store, patterns, settings)
        ]
        is_alone = nobody_works(settings)
        if form is Listing.TABLE:
            for stack, job in queued:
                said = "queued" if job.created else "was queued already"
                terminal.stdout.print(f"{plain(str(stack))}: {said}")
        jobs = _followed(store, queued, seconds, quiet=form is Listing.JSON) if wait and not is_alone else []
    if form is Listing.JSON:
        ids = [{"stack": str(stack), "job": job.job_id, "created": job.created} for stack, job in queued]
        done = {"jobs": [kept_job(job) for job in jobs]} if wait else {}
        print_json({"queued": ids, "at": timestamp(now()), **done})
    if is_alone:
        terminal.stderr.print("No daemon is running here: it is checked when `driftwatch run` is started.")
    if not wait:
        return Exit.OK
    return _exit_of(queued, jobs, seconds, is_alone=is_alone)


def _followed(
    store: Store, queued: Sequence[tuple[StackId, Enqueued]], seconds: float, *, quiet: bool
) -> list[KeptJob]:
    """The jobs that ended within `seconds`, each told as it ends."""
    deadline = time.monotonic() + seconds
    open_ends = [job.job_id for _, job in queued]
    ended: list[KeptJob] = []
    while True:
        for number in tuple(open_ends):
            job = store.job(number)
            if job is not None and job.state not in _ENDED:
                continue
            open_ends.remove(number)
            if job is None:
                continue  # no longer kept: nobody will say what came of it
            ended.append(job)
            if not quiet:
                terminal.stdout.print(Text(_line(job)))
        if not open_ends or time.monotonic() >= deadline:
            return ended
        time.sleep(ROUND_SECONDS)


def _line(job: KeptJob) -> str:
    stack, check = plain(str(job.stack)), job.check
    if check is None:
        return f"{stack}: {job.state.value}, without a check"
    at = f" at {plain(check.commit[:10])}" if check.commit else ""
    said = f"{stack}: {terminal.words(check.verdict)}{at}"
    if check.error is not None:
        return f"{said}: {plain(check.error.message)}"
    return f"{said}, {check.counted} findings" if check.counted else said


def _exit_of(
    queued: Sequence[tuple[StackId, Enqueued]], jobs: Sequence[KeptJob], seconds: float, *, is_alone: bool
) -> int:
    if len(jobs) < len(queued):
        if not is_alone:
            missing = len(queued) - len(jobs)
            terminal.stderr.print(
                f"{missing} of {len(queued)} have not ended within {seconds:g} s; they go on."
            )
        return Exit.ERROR
    if any(job.check is None for job in jobs):
        return Exit.ERROR
    return exit_of([job.check.verdict for job in jobs if job.check is not None])
