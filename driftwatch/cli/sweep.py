"""`driftwatch check --config`: configured stacks, each once, recorded and told, without a daemon."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from rich.markup import escape

from driftwatch.cli import terminal
from driftwatch.cli.check import print_results, progress_line, stoppable
from driftwatch.cli.clock import now
from driftwatch.cli.compose import application, read_settings
from driftwatch.errors import UnknownStackError
from driftwatch.model import Trigger
from driftwatch.notify import Sender
from driftwatch.pipeline.check import check
from driftwatch.service import StateLock

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence
    from pathlib import Path

    from driftwatch.cli.compose import Application
    from driftwatch.cli.formats import Format
    from driftwatch.model import CheckResult
    from driftwatch.pipeline.inventory import Subject


def check_configured(config: Path, patterns: Sequence[str], form: Format) -> int:
    """Checks configured stacks once, one after the other, and records and announces what it finds.

    One stack's failure is recorded and the sweep goes on. Raises StateDirectoryHeldError while a daemon runs.
    """
    settings = read_settings(config, os.environ)
    with (
        StateLock.acquire(settings.state_dir, clock=now),
        application(settings, os.environ) as app,
        stoppable() as stop,
    ):
        for repository in app.settings.repositories:
            _refresh(app, repository)
        subjects = _selected(app.inventory.subjects(), patterns)
        results = [_check(app, subject, stop) for subject in subjects]
        Sender(app.store, app.channels, now).drain()
    return print_results(results, form)


def _refresh(app: Application, repository: str) -> None:
    refreshed = app.inventory.refresh(repository)
    if refreshed.error is not None:
        use = f"; {refreshed.commit[:8]}, the last good commit, is used" if refreshed.commit else ""
        terminal.stderr.print(f"[bold]{escape(repository)}[/bold] could not be read{use}:")
        terminal.show_error(refreshed.error, terminal.stderr)


def _check(app: Application, subject: Subject, stop: threading.Event) -> CheckResult:
    with progress_line(f"Checking {subject.stack}"):
        return check(subject.stack, Trigger.MANUAL, app.workshop, stop)


def _selected(subjects: Sequence[Subject], patterns: Sequence[str]) -> list[Subject]:
    chosen = [
        subject
        for subject in sorted(subjects, key=lambda item: str(item.stack))
        if not patterns or any(fnmatchcase(str(subject.stack), pattern) for pattern in patterns)
    ]
    if not chosen:
        wanted = ", ".join(patterns) or "the configuration"
        raise UnknownStackError(
            f"no stack matches {wanted}",
            advice="Stack ids are <repository>/<path>; check the globs under `stacks:` and the branch.",
        )
    return chosen
