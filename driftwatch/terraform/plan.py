"""From a root module to a complete plan document, or to the error that says why there is none.

    read the module → pick the engine → lay out a place to work → init if needed → plan → show → read

`Planner` is what the rest of driftwatch sees of terraform. Call `Planner.plan` from a thread that lives on:
see `driftwatch.terraform.process`.
"""

from __future__ import annotations

import errno
import os
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from driftwatch.errors import DiskFullError, EngineError
from driftwatch.terraform import runs as records
from driftwatch.terraform.command import Command, Setting, alone
from driftwatch.terraform.engines import Binary, Engines, choose
from driftwatch.terraform.guard import Guard
from driftwatch.terraform.module import read_module
from driftwatch.terraform.process import Ladder, Leash
from driftwatch.terraform.session import Work, plan_for_daemon, plan_for_person
from driftwatch.terraform.workdir import held, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from driftwatch.config.settings import TerraformSettings
    from driftwatch.terraform.request import Planned, PlanRequest

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Planner:
    """Plans root modules. Safe to use from many threads; two plans in one workdir wait for each other."""

    def __init__(
        self,
        settings: TerraformSettings,
        *,
        cache: Path,
        runs: Path,
        environment: Mapping[str, str],
        ladder: Ladder | None = None,
        hurry: threading.Event | None = None,
    ) -> None:
        """`cache` is shared by all stacks, `runs` holds the records for `sweep`; both may not exist yet.

        `environment` is this process' own, of which plans get what `PlanRequest.personal` says. Once `hurry`
        is set, stopped plans are killed at once.
        """
        self._settings = settings
        self._cache = cache.absolute()  # terraform works in another directory than we do
        self._runs = runs.absolute()
        self._environment = dict(environment)
        self._ladder = ladder or Ladder()
        self._hurry = hurry or threading.Event()
        path = environment.get("PATH", os.defpath)
        self._guard = Guard(path)
        self._engines = Engines(settings.binary, path, self._cache, self._ask_version)

    def binaries(self) -> tuple[Binary, ...]:
        """The engines on this machine, the preferred one first; raises NoBinaryError where there is none."""
        return self._engines.found(Path.cwd())

    def plan(
        self,
        request: PlanRequest,
        stop: threading.Event,
        progress: Callable[[str], None] | None = None,
    ) -> Planned:
        """Plans, and returns only a complete plan; `progress` hears what goes on, line by line.

        `stop` ends it early, with EngineInterruptedError. All else that can go wrong is one of the
        EngineErrors, or DiskFullError, UnsafeRepositoryError for paths that leave the checkout.
        """
        settings = self._settings
        with ExitStack() as stack:
            stack.enter_context(_disk_faults())
            workdir = prepare(request.workdir.absolute(), self._cache, settings.min_free_mb << 20)
            wait = (settings.init_timeout + settings.plan_timeout).total_seconds()
            stack.enter_context(held(workdir.root / "held", stop, wait, shared_by=str(workdir.root)))
            module = read_module(request)
            run = stack.enter_context(records.begin(self._runs, workdir.root))
            work = Work(
                settings=settings,
                request=request,
                module=module,
                binary=choose(self._engines.found(module.directory), request.engine, module),
                workdir=workdir,
                run=run,
                leash=self._leash(stop, run),
                guard=self._guard,
                own=self._environment,
                cache=self._cache,
                progress=progress,
            )
            return plan_for_person(work) if request.personal else plan_for_daemon(work)

    def _leash(self, stop: threading.Event, run: records.Run) -> Leash:
        return Leash(
            stop=stop,
            hurry=self._hurry,
            ladder=self._ladder,
            guard=self._guard.orphaned,
            started=run.started,
        )

    def _ask_version(self, path: Path, directory: Path) -> str | None:
        """The version of the program at `path`; None where it is none that works."""
        own = {name: value for name, value in self._environment.items() if not name.startswith("TF_")}
        setting = Setting(directory=directory, environment={**own, "CHECKPOINT_DISABLE": "1"}, leash=alone())
        try:
            return Command(path, setting).version()
        except EngineError:
            return None


@contextmanager
def _disk_faults() -> Iterator[None]:
    """Tells a full disk from every other fault of the machine."""
    try:
        yield
    except OSError as problem:
        if problem.errno in _FULL:
            raise DiskFullError(
                f"no space left for {problem.filename or 'what a plan must write'}",
                advice="Free some space where driftwatch keeps its state; the last good result stands.",
            ) from problem
        raise
