"""From a root module to a complete plan document, or to the error that says why there is none.

    read the module → pick the engine → lay out a place to work → init if needed → plan → show → read

`Planner` is what the rest of driftwatch sees of terraform. Call `Planner.plan` from a thread that lives on:
see `driftwatch.terraform.process`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from driftwatch.errors import DiskFullError, EngineError, StateUnreadableError
from driftwatch.model import DEFAULT_WORKSPACE
from driftwatch.terraform import runs as records
from driftwatch.terraform import terragrunt
from driftwatch.terraform.command import Command, Setting, alone
from driftwatch.terraform.engines import Binary, Engines, choose
from driftwatch.terraform.environment import cli_configuration, of_stack
from driftwatch.terraform.failures import failure
from driftwatch.terraform.guard import Guard
from driftwatch.terraform.module import LOCK_FILE, read_module
from driftwatch.terraform.process import Ladder, Leash, Whole
from driftwatch.terraform.request import Place
from driftwatch.terraform.runs import RUN_VARIABLE
from driftwatch.terraform.session import (
    Work,
    deadlines,
    environment_of,
    in_tree,
    plan_for_person,
    write_cli_configuration,
)
from driftwatch.terraform.workdir import DATA_DIRECTORY, digest_of, existing, held, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from driftwatch.config.settings import TerraformSettings
    from driftwatch.terraform.applies import Kept
    from driftwatch.terraform.request import Attach, Planned, PlanRequest
    from driftwatch.terraform.workdir import Workdir

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
        tools: Path | None = None,
    ) -> None:
        """`cache` is shared by all stacks, `runs` holds the records for `sweep`; both may not exist yet.

        `tools` is where versions were installed (`installed.tools_in`), if anywhere.

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
        self.guard = Guard(path)
        tools = tools.absolute() if tools else None
        self._engines = Engines(settings.binary, path, self._cache, self.version_of, tools=tools)

    def binaries(self) -> tuple[Binary, ...]:
        """The engines on this machine, the preferred one first; raises NoBinaryError where there is none."""
        return self._engines.found(Path.cwd())

    def unit_runner(self) -> terragrunt.Terragrunt:
        """The terragrunt on this machine; raises TerragruntMissingError where there is none."""
        return terragrunt.find(self._environment.get("PATH", os.defpath), self._environment)

    def plan(
        self,
        request: PlanRequest,
        stop: threading.Event,
        progress: Callable[[str], None] | None = None,
        attach: Attach | None = None,
    ) -> Planned:
        """Plans, and returns only a complete plan; `progress` hears what goes on, line by line.

        With `attach` somebody else runs the providers; what it raises comes through. A unit of terragrunt
        runs its own all the same.
        `stop` ends it early, with EngineInterruptedError. All else that can go wrong is one of the
        EngineErrors, or DiskFullError, UnsafeRepositoryError for paths that leave the checkout.
        """
        program = self.unit_runner() if request.engine == terragrunt.ENGINE else None
        with (
            disk_faults(),
            self.holding(request, stop) as (workdir, _),
            self.working(request, workdir, stop, progress, attach=attach) as work,
        ):
            if program is not None:
                return terragrunt.UnitPlan(work=work, terragrunt=program).plan()
            return plan_for_person(work) if request.personal else in_tree(work).initialise_and_plan()

    @contextmanager
    def holding(self, request: PlanRequest, stop: threading.Event) -> Iterator[tuple[Workdir, IO[str]]]:
        """The stack's workdir, made if need be, and held; whoever inherits the file holds it too.

        Raises as `plan` does.
        """
        settings = self._settings
        workdir = prepare(request.workdir.absolute(), self._cache, settings.min_free_mb << 20)
        wait = (settings.init_timeout + settings.plan_timeout).total_seconds()
        with held(workdir.root / "held", stop, wait, shared_by=str(workdir.root)) as lock:
            yield workdir, lock

    @contextmanager
    def working(
        self,
        request: PlanRequest,
        workdir: Workdir,
        stop: threading.Event,
        progress: Callable[[str], None] | None,
        *,
        attach: Attach | None = None,
        kept: Kept | None = None,
    ) -> Iterator[Work]:
        """One plan, ready to begin; `kept` is where a plan that will be applied leaves what that needs."""
        engine: str = request.engine
        if engine == terragrunt.ENGINE:
            module, engine = terragrunt.read_unit_module(request)
        else:
            module = read_module(request)
        with records.begin(self._runs, workdir.root) as run:
            found = self._engines.found(module.directory)
            yield Work(
                settings=self._settings,
                request=request,
                module=module,
                binary=choose(found, engine, module),
                workdir=workdir,
                run=run,
                leash=self._leash(stop, run),
                guard=self.guard,
                own=self._environment,
                cache=self._cache,
                progress=progress,
                engine=self._engine_digest(found, request),
                attach=attach,
                kept=kept,
            )

    def standing(self, request: PlanRequest) -> Place | None:
        """Where the last plan of this stack stands initialised, without looking at its code; None if nowhere.

        For a daemon's stacks. Raises NoBinaryError. A unit of terragrunt stands nowhere: it is planned.
        """
        if request.engine == terragrunt.ENGINE:
            return None
        workdir = existing(request.workdir.absolute())
        directory = workdir.tree / request.module.relative_to(request.checkout)
        if not directory.is_dir():
            return None
        engine = self._engine_digest(self._engines.found(directory), request)
        return Place(
            directory=directory,
            root=workdir.tree,
            data=directory / DATA_DIRECTORY,
            lock_file=directory / LOCK_FILE,
            environment=of_stack(self._environment, self._settings.inherit_environment, request.environment),
            workspace=request.workspace,
            engine=f"{engine} {workdir.initialised_from}",
        )

    def pull_state(self, request: PlanRequest, place: Place, binary: Path, stop: threading.Event) -> bytes:
        """The state as `state pull` has it, for backends that only terraform knows; it holds secrets.

        Raises as `plan` does.
        """
        settings, workdir = self._settings, existing(request.workdir.absolute())
        with ExitStack() as stack:
            stack.enter_context(disk_faults())
            wait = settings.plan_timeout.total_seconds()
            stack.enter_context(held(workdir.root / "held", stop, wait, shared_by=str(workdir.root)))
            run = stack.enter_context(records.begin(self._runs, workdir.root))
            cli = write_cli_configuration(settings, run.scratch)
            environment = environment_of(settings, self._environment, request, run, cli)
            chosen = {} if request.workspace == DEFAULT_WORKSPACE else {"TF_WORKSPACE": request.workspace}
            command = Command(
                binary,
                Setting(
                    directory=place.directory,
                    environment={**environment, **chosen, RUN_VARIABLE: run.id},
                    leash=self._leash(stop, run),
                    deadlines=deadlines(settings),
                ),
            )
            content = Whole(settings.max_plan_mb << 20)
            pulled = command.pull_state(content)
        if pulled.too_much:
            raise StateUnreadableError(f"the state is larger than {settings.max_plan_mb} MB")
        if pulled.returncode != 0:
            raise failure(pulled, [], engine="terraform")
        return bytes(content.content)

    def _engine_digest(self, found: Sequence[Binary], request: PlanRequest) -> str:
        """Over what a choice of program is made from, and the CLI configuration that it runs with."""
        given = self._settings.cli_config
        cli = digest_of(given) if given else cli_configuration(self._settings.provider_mirrors)
        parts = [*map(str, found), request.engine, self._settings.binary, cli]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]

    def _leash(self, stop: threading.Event, run: records.Run) -> Leash:
        return Leash(
            stop=stop,
            hurry=self._hurry,
            ladder=self._ladder,
            guard=self.guard.orphaned,
            started=run.started,
        )

    def version_of(self, path: Path, directory: Path) -> str | None:
        """The version of the program at `path`; None where it is none that works."""
        own = {name: value for name, value in self._environment.items() if not name.startswith("TF_")}
        setting = Setting(directory=directory, environment={**own, "CHECKPOINT_DISABLE": "1"}, leash=alone())
        try:
            return Command(path, setting).version()
        except EngineError:
            return None


@contextmanager
def disk_faults() -> Iterator[None]:
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
