"""`driftwatch check --config`: configured stacks, each once, recorded and told, without a daemon."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.text import Text

from driftwatch.cli import terminal
from driftwatch.cli.check import print_results, progress_line, stoppable
from driftwatch.cli.clock import now
from driftwatch.cli.compose import LeadersOutbox, application, read_settings
from driftwatch.cli.stacks import expect_all, matches
from driftwatch.errors import (
    DependencyCycleError,
    EngineInterruptedError,
    Exit,
    StateDirectoryHeldError,
    UnknownStackError,
)
from driftwatch.model import Approach, Trigger
from driftwatch.notify import Sender
from driftwatch.pipeline.check import check
from driftwatch.service import StateLock

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from driftwatch.cli.compose import Application
    from driftwatch.cli.formats import Format
    from driftwatch.model import CheckResult
    from driftwatch.pipeline.inventory import Subject

GLOB = re.compile(r"[*?\[]")


def check_configured(
    config: Path, patterns: Sequence[str], form: Format, approach: Approach = Approach.AUTO
) -> int:
    """Checks configured stacks once, one after the other, and records and announces what it finds.

    One stack's failure is recorded and the sweep goes on; a repository of which nothing can be read makes the
    exit code 1. Raises StateDirectoryHeldError while a daemon runs, UnknownStackError where a pattern names
    no stack, and EngineInterruptedError where a person stopped it: what was checked until then is recorded.
    """
    settings = read_settings(config, os.environ)
    with (
        _lock(settings.state_dir),
        application(settings, os.environ, gathers=False) as app,
        stoppable(stop=app.ending, haste=app.haste) as stop,
    ):
        unread = [name for name in settings.repositories if may_hold(name, patterns) and not _read(app, name)]
        _go_on(stop)
        results = _check_all(app, _selected(app, patterns, unread), stop, approach)
        Sender(LeadersOutbox(app.store), app.channels, now).drain(stop)
    code = print_results(results, form)
    return Exit.ERROR if unread else code


@contextmanager
def _lock(state_dir: Path) -> Iterator[None]:
    try:
        lock = StateLock.acquire(state_dir, clock=now)
    except StateDirectoryHeldError as held:
        raise StateDirectoryHeldError(
            held.message,
            advice="Where it is the daemon, it checks these stacks: `driftwatch trigger STACK`.",
        ) from held
    with lock:
        yield


def may_hold(repository: str, patterns: Sequence[str]) -> bool:
    """Whether any of `patterns` may name a stack of `repository`; true without patterns."""
    start = f"{repository}/"
    literals = [GLOB.split(pattern, maxsplit=1)[0] for pattern in patterns]
    return not patterns or any(start.startswith(part) or part.startswith(start) for part in literals)


def _read(app: Application, repository: str) -> bool:
    """Fetches; false where nothing of it is there to be checked, not even from an earlier commit."""
    refreshed = app.inventory.refresh(repository)
    if refreshed.error is not None and not app.ending.is_set():
        use = f"; {refreshed.commit[:8]}, the last good commit, is used" if refreshed.commit else ""
        if refreshed.error.code != DependencyCycleError.code:  # then it was read, and is used as it is
            terminal.stderr.print(Text.assemble((repository, "bold"), f" could not be read{use}:"))
        terminal.show_error(refreshed.error, terminal.stderr)
    return refreshed.error is None or any(
        subject.stack.repository == repository for subject in app.inventory.subjects()
    )


def _selected(app: Application, patterns: Sequence[str], unread: Sequence[str]) -> list[Subject]:
    subjects = sorted(app.inventory.subjects(), key=lambda item: str(item.stack))
    known = [str(subject.stack) for subject in subjects]
    readable = [pattern for pattern in patterns if not any(may_hold(name, [pattern]) for name in unread)]
    expect_all(known, readable)
    if not (known or unread):
        raise UnknownStackError(
            "no stack was found in what the configuration names",
            advice="Check the globs under `stacks:` and the branch.",
        )
    if not patterns:
        return subjects
    return [it for it in subjects if any(matches(str(it.stack), pattern) for pattern in patterns)]


def _check_all(
    app: Application, subjects: Sequence[Subject], stop: threading.Event, approach: Approach
) -> list[CheckResult]:
    results: list[CheckResult] = []
    for subject in subjects:
        try:
            _go_on(stop)
            with progress_line(f"Checking {subject.stack} ({len(results) + 1} of {len(subjects)})"):
                results.append(check(subject.stack, Trigger.MANUAL, app.workshop, stop, approach=approach))
        except EngineInterruptedError:
            terminal.stderr.print(f"{len(results)} of {len(subjects)} stacks were checked and recorded.")
            raise
    return results


def _go_on(stop: threading.Event) -> None:
    if stop.is_set():
        raise EngineInterruptedError("stopped before everything was checked")
