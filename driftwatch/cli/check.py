"""`driftwatch check DIR`: one root module as it lies on disk.

It imports neither database nor chat: a check by hand should cost what the plan costs.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from driftwatch.cli import terminal
from driftwatch.cli.clock import now
from driftwatch.cli.formats import Format, exit_code, render
from driftwatch.config.settings import TerraformSettings
from driftwatch.drift import Digester
from driftwatch.errors import UsageError
from driftwatch.git import describe
from driftwatch.log import redact
from driftwatch.model import DEFAULT_WORKSPACE, StackId
from driftwatch.pipeline import check as pipeline
from driftwatch.terraform import Planner, PlanRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from driftwatch.git import WorkingCopy
    from driftwatch.model import CheckResult, JsonValue


def check_directory(
    targets: Sequence[str],
    form: Format,
    *,
    var_files: Sequence[str],
    variables: Sequence[str],
    workspace: str,
) -> int:
    """Checks one root module with the person's own environment; needs no configuration and no database."""
    directory = _one_directory(targets)
    scratch = Path(tempfile.mkdtemp(prefix="driftwatch-"))
    try:
        planner = Planner(
            TerraformSettings(), cache=scratch / "cache", runs=scratch / "runs", environment=dict(os.environ)
        )
        working_copy = describe(directory)
        with stoppable() as stop, progress_line(f"Planning {directory}") as progress:
            result = pipeline.check_directory(
                PlanRequest(
                    module=directory,
                    checkout=working_copy.root if working_copy else directory,
                    workdir=scratch / "work",
                    workspace=workspace or DEFAULT_WORKSPACE,
                    engine="auto",
                    var_files=tuple(var_files),
                    variables=_parsed(variables),
                    backend_config={},
                    environment={},
                    personal=True,
                ),
                stack=_name(directory, working_copy),
                commit=working_copy.commit if working_copy else None,
                planner=planner,
                digest=Digester(secrets.token_bytes(32)),
                clock=now,
                stop=stop,
                progress=progress,
            )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return print_results([result], form)


def _one_directory(targets: Sequence[str]) -> Path:
    if len(targets) != 1:
        raise UsageError(
            "name one directory, or give --config to check configured stacks",
            advice="driftwatch check DIR · driftwatch check --config FILE [STACK…]",
        )
    directory = Path(targets[0])
    if not directory.is_dir():
        raise UsageError(f"no such directory: {directory}", advice="Name the directory of a root module.")
    return directory.resolve()


def _name(directory: Path, working_copy: WorkingCopy | None) -> StackId:
    """The id that a stack of this directory would have in a configuration named after the working copy."""
    if working_copy is None:
        return StackId(repository=directory.parent.name or "local", path=directory.name or ".")
    return StackId(repository=working_copy.root.name, path=working_copy.path)


def _parsed(variables: Sequence[str]) -> dict[str, JsonValue]:
    """`--var NAME=VALUE`, as terraform takes it: JSON where it is JSON, else a string."""
    parsed: dict[str, JsonValue] = {}
    for given in variables:
        name, equals, value = given.partition("=")
        if not (name and equals):
            raise UsageError(
                f"--var {given!r} is not NAME=VALUE", advice="Write it as --var region=eu-west-1."
            )
        try:
            parsed[name] = json.loads(value)
        except ValueError:
            parsed[name] = value
    return parsed


@contextmanager
def stoppable() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM ask the plan to stop: terraform, in a session of its own, does not see them."""
    stop = threading.Event()
    previous = {
        number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def progress_line(title: str) -> Iterator[Callable[[str], None] | None]:
    """A line that lives on stderr while terraform works, where somebody sees it."""
    if not terminal.is_interactive():
        yield None
        return
    with terminal.stderr.status(escape(title)) as status:
        yield lambda line: status.update(escape(f"{title}: {redact(line)[:100]}"))


def print_results(results: Sequence[CheckResult], form: Format) -> int:
    """Prints in the form that was asked for and returns the exit code."""
    if form is Format.TABLE:
        terminal.show_results(results)
    else:
        sys.stdout.write(render(results, form) + ("" if form in (Format.MARKDOWN, Format.JUNIT) else "\n"))
    return exit_code(results)
