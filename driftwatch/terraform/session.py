"""One plan in progress: where terraform works, with what environment, and the steps from init to document.

A plan counts when the command ended with 0 or 2 *and* left a document that is neither errored nor
incomplete. Its words and its exit code alone mean nothing: an interrupted plan prints "0 to add", one without
memory exits with 2, and one on a full disk exits with 0 and an empty plan file.
"""

from __future__ import annotations

import json
import re
import zipfile
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from driftwatch.drift import parse_document
from driftwatch.errors import (
    ConfigurationInvalidError,
    PlanTooLargeError,
    PlanUnreadableError,
    ProviderUnavailableError,
    WorkspaceMissingError,
)
from driftwatch.log import redact
from driftwatch.model import DEFAULT_WORKSPACE, Engine
from driftwatch.terraform import environment as surroundings
from driftwatch.terraform.command import Command, Setting
from driftwatch.terraform.failures import Diagnostic, InitNeededError, failure, from_json
from driftwatch.terraform.init import Initialiser, ProviderCache, locked_providers
from driftwatch.terraform.module import LOCK_FILE
from driftwatch.terraform.process import Whole
from driftwatch.terraform.request import Place, Planned
from driftwatch.terraform.runs import RUN_VARIABLE
from driftwatch.terraform.tree import lay_out, place_in
from driftwatch.terraform.versions import Version
from driftwatch.terraform.workdir import DATA_DIRECTORY, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from driftwatch.config.settings import TerraformSettings
    from driftwatch.terraform.applies import Kept
    from driftwatch.terraform.command import Finished
    from driftwatch.terraform.engines import Binary
    from driftwatch.terraform.guard import Guard
    from driftwatch.terraform.module import Module
    from driftwatch.terraform.process import Leash
    from driftwatch.terraform.request import Attach, PlanRequest
    from driftwatch.terraform.runs import Run
    from driftwatch.terraform.workdir import Workdir

_LOCK_TIMEOUT = "5s"
"""Somebody's apply takes longer than anybody should wait here; the next check tries again."""

_APPLY_LOCK_TIMEOUT = "60s"
"""For the plan of somebody who came in between. An apply that is refused the lock has changed nothing."""

_SAYS_COMPLETE = Version(segments=(1, 8, 0))
"""From this Terraform on plan documents have `complete`; OpenTofu's have it not (both: jsonplan/plan.go)."""

_HAS_EPHEMERAL = {"terraform": Version(segments=(1, 10, 0)), "tofu": Version(segments=(1, 11, 0))}
"""From these on a variable may be `ephemeral`, and is then in no plan file."""

_MOST_DIAGNOSTICS = 50
_STATE_HEAD = 1 << 14
_SERIAL = re.compile(rb'"serial":\s*(\d+)')
_LINEAGE = re.compile(rb'"lineage":\s*"([^"]*)"')
_PROBE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """All that one plan is made of. `own` is driftwatch's environment, `cache` what all stacks share."""

    settings: TerraformSettings
    request: PlanRequest
    module: Module
    binary: Binary
    workdir: Workdir
    run: Run
    leash: Leash
    guard: Guard
    own: Mapping[str, str]
    cache: Path
    progress: Callable[[str], None] | None
    engine: str
    attach: Attach | None = None
    kept: Kept | None = None

    @property
    def room(self) -> Run | Kept:
        """Where HOME and such are: they end with the run, or with the apply that follows it."""
        return self.kept or self.run

    @property
    def plan_file(self) -> Path:
        return self.kept.plan_file if self.kept else self.run.scratch / "plan"

    @property
    def locks(self) -> bool:
        """Whether the plan takes the state lock."""
        return self.kept is not None or self.settings.plan_lock

    @property
    def signature(self) -> str:
        """The host name that its state lock carries."""
        return self.kept.signature if self.kept else f"dw-{self.run.id}"

    @property
    def deadlines(self) -> dict[str, tuple[float, str]]:
        return deadlines(self.settings)

    def tell(self, line: str) -> None:
        if self.progress is not None:
            self.progress(redact(line))

    def secret_file(self, name: str, content: Mapping[str, Any]) -> Path | None:
        """A file in scratch that holds `content` as JSON, its owner's alone; None where there is none."""
        if not content:
            return None
        return write_secret(self.run.scratch / name, content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What applies a plan: a program, where it runs, and with what. There are no secrets in `argv`."""

    argv: tuple[str, ...]
    directory: Path
    environment: Mapping[str, str] = field(repr=False)


def write_secret(path: Path, content: Mapping[str, Any]) -> Path:
    """Writes `content` as JSON, for its owner alone."""
    path.touch(mode=0o600)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def deadlines(settings: TerraformSettings) -> dict[str, tuple[float, str]]:
    """By command: seconds, and the setting that says so."""
    init = (settings.init_timeout.total_seconds(), "init_timeout")
    plan = (settings.plan_timeout.total_seconds(), "plan_timeout")
    return {"init": init, "get": init, "workspace list": init, "plan": plan, "show": plan, "state pull": plan}


def in_tree(work: Work) -> Session:
    """A daemon's: in a tree of the stack's own, with an environment that starts from nothing."""
    module = work.module
    surroundings.register_inputs(work.request.backend_config, work.request.variables)
    cache = ProviderCache(directory=work.cache / "providers")
    room = work.room
    cli_configuration = write_cli_configuration(work.settings, room.scratch)
    return Session(
        work=work,
        place=_tree(work),
        environment={
            **environment_of(work.settings, work.own, work.request, room, cli_configuration),
            **cache.environment(locked=module.lock_file.exists()),
        },
        lasting=surroundings.of_stack(work.own, work.settings.inherit_environment, work.request.environment),
        workspace=work.request.workspace,
        cache=cache,
        cli_configuration=cli_configuration,
    )


def environment_of(
    settings: TerraformSettings, own: Mapping[str, str], request: PlanRequest, room: Run | Kept, cli: Path
) -> dict[str, str]:
    """The environment of one run of a daemon, with a HOME and a TMPDIR of its own."""
    environment = surroundings.for_daemon(
        own,
        settings.inherit_environment,
        request.environment,
        home=room.home(),
        tmp=room.temporary(),
        cli=cli,
    )
    return {**environment, "TF_DATA_DIR": DATA_DIRECTORY}


def plan_for_person(work: Work) -> Planned:
    """Plans in the person's own directory where that is initialised, else in a tree that stands in for it.

    Nothing is written into their directory.
    """
    module = work.module
    surroundings.register_inputs(work.request.backend_config, work.request.variables)
    environment = surroundings.for_person(work.own, work.request.environment)
    theirs = module.directory / (environment.get("TF_DATA_DIR") or DATA_DIRECTORY)
    workspace = _persons_workspace(work, environment, theirs)
    if (theirs.is_dir() or not module.needs_init) and not work.request.backend_config:
        with suppress(InitNeededError):
            return Session(
                work=work,
                place=module.directory,
                environment=environment,
                lasting=environment,
                workspace=workspace,
            ).plan()
    return Session(
        work=work,
        place=_tree(work),
        environment={**environment, "TF_DATA_DIR": DATA_DIRECTORY},
        lasting=environment,
        workspace=workspace,
    ).initialise_and_plan()


def _persons_workspace(work: Work, environment: Mapping[str, str], data: Path) -> str:
    """The one asked for, or else the one that terraform would use there."""
    if work.request.workspace != DEFAULT_WORKSPACE:
        return work.request.workspace
    if chosen := environment.get("TF_WORKSPACE"):
        return chosen
    try:
        chosen = (data / "environment").read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return DEFAULT_WORKSPACE
    return chosen or DEFAULT_WORKSPACE


def _tree(work: Work) -> Path:
    """The stack's own copy of its directory, with what `init` left there before."""
    workdir, module, personal = work.workdir, work.module, work.request.personal
    place = place_in(workdir.tree, module, personal=personal)
    workdir.set_aside(place)
    lay_out(workdir.tree, module, personal=personal)
    workdir.put_back(place, lock_file=not module.lock_file.exists())
    return place


def write_cli_configuration(settings: TerraformSettings, directory: Path) -> Path:
    """The CLI configuration of a daemon's runs: the one given, or one made of the mirrors."""
    if settings.cli_config is not None:
        return settings.cli_config
    path = directory / "terraform.rc"
    path.touch(mode=0o600)
    path.write_text(surroundings.cli_configuration(settings.provider_mirrors), encoding="utf-8")
    return path


@dataclass(frozen=True, kw_only=True)
class Session:
    """terraform in one place. `cache` and `cli_configuration` are a daemon's.

    `lasting` is of the environment what providers get that may outlive this run.
    """

    work: Work
    place: Path
    environment: Mapping[str, str]
    lasting: Mapping[str, str]
    workspace: str
    cache: ProviderCache | None = None
    cli_configuration: Path | None = None

    def initialise_and_plan(self) -> Planned:
        initialiser = self._initialiser()
        if initialiser.needed():
            initialiser.run()
        try:
            return self.plan()
        except (InitNeededError, ProviderUnavailableError) as problem:
            if not initialiser.discard_broken(problem) and not isinstance(problem, InitNeededError):
                raise
        initialiser.run()
        return self.plan()

    def plan(self) -> Planned:
        """Raises InitNeededError where an init must come first, and whatever else the failure is."""
        self._expect_workspace()
        plan_file = self.work.plan_file
        plan_file.unlink(missing_ok=True)
        place = self._place()
        with self.work.attach(place) if self.work.attach else nullcontext({}) as attached:
            self._plan(plan_file, attached)
            document = self._document(plan_file, attached)
        self._expect_declared(document)
        lineage, serial = state_identity(plan_file)
        lock_file = self.place / LOCK_FILE
        return Planned(
            document=document,
            engine=Engine(
                name=self.work.binary.name,
                version=str(document.get("terraform_version") or self.work.binary.version),
                providers=locked_providers(lock_file),
            ),
            lock_file=digest_of(lock_file),
            state_lineage=lineage,
            state_serial=serial,
            place=place,
            generated=self._generated.read_bytes() if self._generated.exists() else None,
        )

    @property
    def _generated(self) -> Path:
        """Where terraform writes configuration for imports."""
        return self.work.run.scratch / "generated.tf"

    def launch(self, planned: Planned, plan_file: Path) -> Launch:
        """What will apply the plan that was made here; nothing may change here till then."""
        work = self.work
        command = self._command(self.workspace)
        argv = command.argv_of_apply(
            plan_file,
            var_files=self._ephemeral(planned, plan_file.parent),
            parallelism=work.settings.parallelism,
            lock_timeout=_APPLY_LOCK_TIMEOUT,
        )
        return Launch(argv=tuple(argv), directory=self.place, environment=self._environment(self.workspace))

    def _ephemeral(self, planned: Planned, directory: Path) -> list[Path]:
        """The files with variables, where some of those are not in the plan file: they must be given again.

        Others may be given with them where they are the same (`backend/local/backend_local.go`, since 1.10).
        """
        binary = self.work.binary
        configuration = planned.document.get("configuration", {}).get("root_module", {})
        missing = configuration.get("variables", {}).keys() - planned.document.get("variables", {}).keys()
        known = Version.parse(binary.version).compare(_HAS_EPHEMERAL[binary.name]) >= 0
        if not (missing and known):
            return []
        variables = self.work.request.variables
        given = [write_secret(directory / "variables.tfvars.json", variables)] if variables else []
        return [*self.work.module.var_files, *given]

    def _place(self) -> Place:
        work = self.work
        return Place(
            directory=self.place,
            root=work.workdir.tree if self.place.is_relative_to(work.workdir.tree) else work.module.checkout,
            data=self.place / self.environment.get("TF_DATA_DIR", DATA_DIRECTORY),
            lock_file=self.place / LOCK_FILE,
            environment=self.lasting,
            workspace=self.workspace,
            engine=f"{work.engine} {work.workdir.initialised_from}",
            binary=work.binary.path,
        )

    def _command(
        self, workspace: str, attached: Mapping[str, str] | None = None, *, signed: bool = False
    ) -> Command:
        """`signed`: the state lock that it takes carries the run's id. `attached` names its providers."""
        work = self.work
        environment = {**self._environment(workspace), **(attached or {}), RUN_VARIABLE: work.run.id}
        # `-chdir` only for a person: `path.cwd` is then their directory, as it is with terraform itself.
        stands_in = work.request.personal and self.place != work.module.directory
        return Command(
            work.binary.path,
            Setting(
                directory=work.module.directory if stands_in else self.place,
                chdir=self.place if stands_in else None,
                environment=environment,
                leash=replace(work.leash, guard=work.guard.signed(work.signature)) if signed else work.leash,
                deadlines=work.deadlines,
            ),
        )

    def _environment(self, workspace: str) -> dict[str, str]:
        environment = {name: value for name, value in self.environment.items() if name != "TF_WORKSPACE"}
        chosen = {} if workspace == DEFAULT_WORKSPACE else {"TF_WORKSPACE": workspace}
        return {**environment, **chosen}

    @cached_property
    def _variables(self) -> list[Path]:
        path = self.work.secret_file("variables.tfvars.json", self.work.request.variables)
        return [path] if path else []

    def _initialiser(self) -> Initialiser:
        work = self.work
        return Initialiser(
            command=self._command(self.workspace if work.module.is_remote else DEFAULT_WORKSPACE),
            binary=work.binary,
            module=work.module,
            workdir=work.workdir,
            place=self.place,
            cache=self.cache,
            backend_config=work.secret_file("backend.json", work.request.backend_config),
            backend_values=work.request.backend_config,
            cli_configuration=self.cli_configuration,
            seconds=work.settings.init_timeout.total_seconds(),
            stop=work.leash.stop,
            progress=work.progress,
        )

    def _expect_declared(self, document: Mapping[str, Any]) -> None:
        """Refuses a person's `--var` that nothing declares, as terraform does: it is a typo.

        Configured variables may be common to many stacks, and then not all declare each of them.
        """
        request = self.work.request
        root = document.get("configuration", {}).get("root_module", {})
        unknown = sorted(request.variables.keys() - root.get("variables", {}).keys())
        if request.personal and unknown:
            raise ConfigurationInvalidError(
                f"no variable is declared with the name {', '.join(unknown)}",
                advice="Mend the name given with --var, or declare the variable.",
            )

    def _expect_workspace(self) -> None:
        """Refuses a workspace that is not there: its plan would be all creations, and may even make it."""
        if self.workspace == DEFAULT_WORKSPACE:
            return
        listed = self._command(DEFAULT_WORKSPACE).workspaces()
        if listed.returncode != 0:
            raise failure(listed, [], engine=self.work.binary.name)
        names = [line.lstrip("* ").strip() for line in listed.stdout.splitlines() if line.strip()]
        if self.workspace not in names:
            raise WorkspaceMissingError(
                f"the workspace {self.workspace} does not exist; there are {', '.join(names)}",
                advice="Create it with `workspace new`, or name another; driftwatch never creates one.",
            )

    def _plan(self, plan_file: Path, attached: Mapping[str, str]) -> None:
        work = self.work
        errors: list[Diagnostic] = []

        def hear(line: bytes) -> None:
            if (found := from_json(line)) and len(errors) < _MOST_DIAGNOSTICS:
                errors.append(found)
            elif work.progress is not None and (said := message(line)):
                work.tell(said)

        finished = self._command(self.workspace, attached, signed=work.locks).plan(
            each=hear,
            out=plan_file,
            var_files=[*work.module.var_files, *self._variables],
            parallelism=work.settings.parallelism,
            lock_timeout=_LOCK_TIMEOUT if work.locks else None,
            generated=self._generated if work.request.generates else None,
        )
        if (
            finished.returncode not in (0, 2)
            or errors
            or (finished.returncode == 2 and not plan_file.exists())
        ):
            raise failure(finished, errors, engine=work.binary.name)

    def _document(self, plan_file: Path, attached: Mapping[str, str]) -> dict[str, Any]:
        limit = self.work.settings.max_plan_mb
        content = Whole(limit << 20)
        shown = self._command(self.workspace, attached).show(plan_file, content)
        if shown.too_much:
            raise PlanTooLargeError(
                f"the plan's document is larger than {limit} MB",
                advice="Split the stack, or raise `terraform.max_plan_mb` where the memory for it is there.",
            )
        if shown.returncode != 0:
            raise self._not_shown(shown)
        return complete(dict(parse_document(bytes(content.content))), self.work.binary)

    def _not_shown(self, shown: Finished) -> Exception:
        """Why `show` could not read the plan that has just been made: most likely it is not whole."""
        _probe_disk(self.work.run.scratch)
        if "Failed to read the given file" not in shown.output:
            return failure(shown, [], engine=self.work.binary.name)
        return PlanUnreadableError(
            "terraform wrote a plan file that it cannot read itself",
            advice="It is tried again with the next check.",
            detail=redact(shown.output).strip()[-2000:],
        )


def _says_complete(version: str) -> bool:
    """Whether plan documents of a terraform say `complete`; where it cannot be told, they must."""
    try:
        return Version.parse(version).compare(_SAYS_COMPLETE) >= 0
    except ValueError:
        return True


def complete(document: Any, binary: Binary) -> dict[str, Any]:
    """A plan's document that says of itself that it is whole. Raises PlanUnreadableError."""
    if not isinstance(document, dict) or document.get("errored", False) is not False:
        raise PlanUnreadableError("the plan says of itself that it failed")
    # The document's own version counts, too: a version manager may have another one where a unit is planned.
    versions = [binary.version, str(document.get("terraform_version", binary.version))]
    says = binary.name == "terraform" and any(map(_says_complete, versions))
    if document.get("complete", not says) is not True:
        raise PlanUnreadableError("the plan says of itself that it is not complete")
    return document


def message(line: bytes) -> str | None:
    """What a line of the JSON stream says to people."""
    try:
        return str(json.loads(line)["@message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def state_identity(plan_file: Path) -> tuple[str | None, int | None]:
    """Lineage and serial of the state that the plan was made against, from the plan file.

    It is a zip; its `tfstate` is the refreshed state under the header of the one that was read, so that an
    apply can tell whether it is still that one (`statemgr.PlannedStateUpdate`; `tfstate-prev` has no header).
    A plan that ran in HCP Terraform, or is encrypted, is no zip, and says nothing.
    """
    try:
        with zipfile.ZipFile(plan_file) as archive, archive.open("tfstate") as member:
            head = member.read(_STATE_HEAD)
    except (zipfile.BadZipFile, KeyError, NotImplementedError):
        return None, None
    lineage, serial = _LINEAGE.search(head), _SERIAL.search(head)
    if not (lineage and serial and lineage[1]):
        return None, None
    return lineage[1].decode(errors="replace"), int(serial[1])


def _probe_disk(directory: Path) -> None:
    """Raises the OSError of a full disk, if it is full: terraform itself does not notice (plan files)."""
    probe = directory / "probe"
    try:
        probe.write_bytes(bytes(_PROBE))
    finally:
        probe.unlink(missing_ok=True)
