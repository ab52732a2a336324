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
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from driftwatch.cli import terminal
from driftwatch.cli.clock import now
from driftwatch.cli.formats import Format, exit_code, plain, render
from driftwatch.config.rule_files import shipped
from driftwatch.config.rules import RulesSettings
from driftwatch.config.settings import TerraformSettings, WarmSettings
from driftwatch.drift import Digester
from driftwatch.drift.rules import Rules
from driftwatch.errors import UsageError
from driftwatch.git import describe
from driftwatch.model import DEFAULT_WORKSPACE, Approach, StackId
from driftwatch.pipeline import check as pipeline
from driftwatch.pipeline.method import Examiner
from driftwatch.terraform import Planner, PlanRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from driftwatch.git import WorkingCopy
    from driftwatch.model import CheckResult, JsonValue

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""How people and systems ask a command to end."""


def check_directory(
    targets: Sequence[str],
    form: Format,
    *,
    var_files: Sequence[str],
    variables: Sequence[str],
    workspace: str,
    approach: Approach = Approach.AUTO,
) -> int:
    """Checks one root module with the person's own environment; needs no configuration and no database."""
    directory = _one_directory(targets)
    scratch = Path(tempfile.mkdtemp(prefix="driftwatch-"))
    try:
        haste = threading.Event()
        planner = Planner(
            TerraformSettings(),
            cache=scratch / "cache",
            runs=scratch / "runs",
            environment=dict(os.environ),
            hurry=haste,
        )
        working_copy = describe(directory)
        workspace = workspace or _selected_workspace(directory, os.environ)
        with (
            stoppable(haste=haste) as stop,
            progress_line(f"Planning {targets[0]}") as progress,
            _examiner(planner, approach) as examiner,
        ):
            result = pipeline.check_directory(
                PlanRequest(
                    module=directory,
                    checkout=working_copy.root if working_copy else directory,
                    workdir=scratch / "work",
                    workspace=workspace,
                    engine="auto",
                    var_files=tuple(var_files),
                    variables=_parsed(variables),
                    backend_config={},
                    environment={},
                    personal=True,
                ),
                stack=_name(directory, working_copy, workspace),
                commit=working_copy.commit if working_copy else None,
                examiner=examiner,
                rules=Rules.compile(RulesSettings(), shipped()),
                clock=now,
                stop=stop,
                approach=approach,
                progress=progress,
            )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if working_copy and working_copy.dirty and form is Format.TABLE:
        terminal.stderr.print("The working copy has uncommitted changes, and was checked with them.")
    return print_results([result], form)


@contextmanager
def _examiner(planner: Planner, approach: Approach) -> Iterator[Examiner]:
    """One that keeps nothing; with warm providers only where they were asked for."""
    key = secrets.token_bytes(32)
    with ExitStack() as stack:
        house = None
        if approach in (Approach.PLAN, Approach.REPLAY):
            from driftwatch.warm.house import House
            from driftwatch.warm.pool import Limits
            from driftwatch.warm.quarantine import Quarantine
            from driftwatch.warm.shelf import Shelf

            shelf = Shelf(None, key, limit=1 << 30)
            house = stack.enter_context(House(Limits(), shelf, Quarantine(None), clock=now))
        yield Examiner(planner, house, WarmSettings(), digest=Digester(key), clock=now)


def _one_directory(targets: Sequence[str]) -> Path:
    if len(targets) != 1:
        raise UsageError(
            "name one directory, or give --config to check configured stacks",
            advice="driftwatch check DIR · driftwatch check --config FILE [STACK…]",
        )
    directory = Path(targets[0])
    if directory.is_file():
        raise UsageError(
            f"{directory} is a file", advice="Name the directory of a root module: driftwatch check DIR."
        )
    if not directory.is_dir():
        raise UsageError(f"no such directory: {directory}", advice="Name the directory of a root module.")
    return directory.resolve()


def _selected_workspace(directory: Path, environment: Mapping[str, str]) -> str:
    """The one that terraform would use there; it is part of the stack's name."""
    if named := environment.get("TF_WORKSPACE"):
        return named
    try:
        selected = directory / environment.get("TF_DATA_DIR", ".terraform") / "environment"
        return selected.read_text(encoding="utf-8").strip() or DEFAULT_WORKSPACE
    except (OSError, UnicodeDecodeError):
        return DEFAULT_WORKSPACE  # none was ever selected there


def _name(directory: Path, working_copy: WorkingCopy | None, workspace: str) -> StackId:
    """The id that a stack of this directory would have in a configuration named after the working copy."""
    repository, path = directory.parent.name or "local", directory.name or "."
    if working_copy is not None:
        repository, path = working_copy.root.name, working_copy.path
    return StackId(repository=repository, path=path, workspace=workspace)


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
def stoppable(
    *, stop: threading.Event | None = None, haste: threading.Event | None = None
) -> Iterator[threading.Event]:
    """Ctrl-C, SIGTERM and a closed terminal set `stop`: terraform has a session of its own.

    The second time sets `haste`: a plan only reads, and may be killed.
    """
    ending = stop or threading.Event()

    def asked(*_: object) -> None:
        if ending.is_set() and haste:
            haste.set()
        ending.set()

    previous = {number: signal.signal(number, asked) for number in ENDINGS}
    try:
        yield ending
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def progress_line(title: str) -> Iterator[Callable[[str], None] | None]:
    """A line that lives on stderr while terraform works, where somebody sees it."""
    if not terminal.is_interactive():
        yield None
        return
    with terminal.stderr.status(Text(plain(title))) as status:
        yield lambda line: status.update(Text(plain(f"{title}: {line}")[:120]))


def print_results(results: Sequence[CheckResult], form: Format) -> int:
    """Prints in the form that was asked for and returns the exit code."""
    if form is Format.TABLE:
        terminal.show_results(results)
    else:
        sys.stdout.write(render(results, form) + ("" if form in (Format.MARKDOWN, Format.JUNIT) else "\n"))
    return exit_code(results)
