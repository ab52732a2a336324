"""Plans one unit of terragrunt, through the terragrunt that is on PATH.

    the unit's files → a tree to work in → `terragrunt plan` of this unit alone → plan file → show → read

One unit at a time: nothing here runs many, whose exit code says of none of them how it is. Nor is the exit
code of one believed: a plan counts when it left a plan file and a whole document, as everywhere.

What terragrunt runs as terraform is a gate, a script that passes on what looks and nothing that changes: an
apply in a hook is refused, and so is a plan that is told to leave something out (`-target`,
`-refresh=false`), be it in `extra_arguments` or TF_CLI_ARGS: it would say "in sync" of what it did not look
at. When the plan is made, the gate has terraform show it where it was made, with the environment that
terragrunt gave it, so that nothing depends on how terragrunt prints. Hooks and `run_cmd` run, as data sources
do: whoever sets `engine: terragrunt` says that they may. Units are planned, never applied.

terragrunt's options are given in its environment, under the names that its version knows: those from 0.73 on
begin with TG_, those before with TERRAGRUNT_ (docs: "CLI redesign").
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from driftwatch import hcl
from driftwatch.drift import parse_document
from driftwatch.errors import (
    NotARootModuleError,
    PlanFailedError,
    PlanTooLargeError,
    PlanUnreadableError,
    ProviderUnavailableError,
    TerragruntMissingError,
    UnitUnsupportedError,
    UnsafeRepositoryError,
)
from driftwatch.hcl.terragrunt import UNIT_FILE, Unit, closure, read_unit
from driftwatch.log import redact
from driftwatch.model import DEFAULT_WORKSPACE, Engine
from driftwatch.terraform.command import Finished, alone, ended_early
from driftwatch.terraform.failures import InitNeededError, failure, from_text
from driftwatch.terraform.init import locked_providers
from driftwatch.terraform.module import LOCK_FILE, Module, files_in, var_file
from driftwatch.terraform.process import Lines, Stopped, Tail, run
from driftwatch.terraform.request import Planned
from driftwatch.terraform.runs import RUN_VARIABLE
from driftwatch.terraform.session import (
    Work,
    complete,
    environment_of,
    state_identity,
    write_cli_configuration,
    write_secret,
)
from driftwatch.terraform.tree import lay_out
from driftwatch.terraform.versions import Version
from driftwatch.terraform.workdir import digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from driftwatch.terraform.request import PlanRequest

ENGINE = "terragrunt"
"""The `engine` of a stack that is a unit."""

_SINCE_TG = Version(segments=(0, 73, 0))
"""From here on there is `terragrunt run --`, and the environment's names begin with TG_."""

_OPTIONS = re.compile(r"TG_\w+|TERRAGRUNT_\w+")
_OPTIONS_OF_A_STACK = re.compile(r"\w+_(?:IAM_\w+|FEATURES?|AUTH_PROVIDER_CMD)")
"""Of terragrunt's own variables, those that a stack may set: who it is. What runs is ours to say."""

_LOOKS = (
    "version",
    "init",
    "get",
    "plan",
    "show",
    "output",
    "validate",
    "providers",
    "graph",
    "fmt",
    "metadata",
)
_LOOKS_AWAY = "refresh*|target*|exclude*|destroy*"
"""Flags of a plan that leave something out of it, or make it another than the one of the code, as `case` has
them: without their hyphens, of which Go takes one or two."""

_LOOKS_AT_ALL = "refresh|" + "|".join(f"refresh={yes}" for yes in ("1", "t", "T", "true", "TRUE", "True"))
"""What says with one of them what would be so anyway; the values are those of Go's strconv.ParseBool."""

_SAY_HOW = (
    "-parallelism=*|-lock=*|-lock-timeout=*|-input=*|-no-color|-compact-warnings|-concise|-detailed-exitcode"
)
"""What TF_CLI_ARGS may have for a plan of ours. It is not passed on: how a plan is made is ours to say."""

_SECONDS = 30.0
_LOCK_TIMEOUT = "5s"
_VERSION = re.compile(r"\bv?(\d+\.\d+\.\d+(?:-[\w.]+)?)\b")
_LOG = re.compile(
    r"^(?:time=\S+\s+)?(?:[\d:.]{8,15}\s+)?(?:level=\w+\s+)?(?:[A-Z]{4,6}\s+)?(?:\[[^\]]*\]\s*)?(?:msg=)?"
)
"""What stands before each line of terragrunt's log, in its newer form and in its older one."""

_LONGEST_SENTENCE = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Terragrunt:
    """The terragrunt of this machine."""

    path: Path
    version: str

    @property
    def is_redesigned(self) -> bool:
        return Version.parse(self.version).compare(_SINCE_TG) >= 0

    def __str__(self) -> str:
        return f"terragrunt {self.version} ({self.path})"


def find(search_path: str, environment: Mapping[str, str]) -> Terragrunt:
    """The first on PATH. Raises TerragruntMissingError where there is none that works."""
    found = shutil.which(ENGINE, path=search_path)
    if found is None:
        raise TerragruntMissingError("terragrunt is not on PATH: its units cannot be checked")
    out = Tail()
    own = {name: value for name, value in environment.items() if not _OPTIONS.fullmatch(name)}
    try:
        run(
            [found, "--version"],
            directory=Path.cwd(),
            environment=own,
            stdout=out,
            stderr=Tail(),
            seconds=_SECONDS,
            leash=alone(),
        )
    except OSError as problem:
        raise TerragruntMissingError(f"{found} cannot be started: {problem.strerror}") from problem
    version = _VERSION.search(out.text)
    if version is None:
        raise TerragruntMissingError(f"{found} does not say which version of terragrunt it is")
    return Terragrunt(path=Path(found), version=version[1])


def read_unit_module(request: PlanRequest) -> tuple[Module, Literal["auto", "terraform", "tofu"]]:
    """What a unit is planned from, as a module whose `local_modules` are all directories that it reads.

    With it the engine that its files name. Where they name none it is tofu, where that is there and would do:
    terragrunt's own order.

    Raises NotARootModuleError, UnsafeRepositoryError, UnitUnsupportedError, and for var files as
    `module.read_module`.
    """
    _expect_supported(request)
    directory, checkout = request.module.resolve(), request.checkout.resolve()
    if not directory.is_relative_to(checkout):
        raise UnsafeRepositoryError(f"{request.module} leads out of the repository")

    def read(path: str) -> bytes | None:
        place = (checkout / path).resolve()
        return place.read_bytes() if place.is_relative_to(checkout) and place.is_file() else None

    names = [path.name for path in directory.iterdir()] if directory.is_dir() else []
    unit = read_unit(directory.relative_to(checkout).as_posix(), read, beside=names)
    if unit is None:
        raise NotARootModuleError(
            f"{request.module} holds no unit of terragrunt",
            advice=f"Name a directory with a {UNIT_FILE} that has a source or an include, or take"
            " `engine: terragrunt` from the stack.",
        )
    used = closure(unit, read)
    paths = {each for one in used for each in (one.directory, *one.code)}
    places = {checkout / each for each in paths if (checkout / each).resolve().is_relative_to(checkout)}
    files = files_in(checkout / unit.module) if unit.module is not None else {}
    facts = hcl.read_module(files)
    module = Module(
        directory=directory,
        checkout=checkout,
        facts=facts,
        has_tofu_files=True,
        local_modules=frozenset(place for place in places if place.is_dir()),
        required_versions=tuple(dict.fromkeys((*unit.versions, *facts.required_versions))),
        remote_sources=True,
        init_digest=_digest(unit, places, checkout),
        var_files=tuple(var_file(directory, checkout, name, request) for name in request.var_files),
    )
    return module, _engine_of(unit)


def _engine_of(unit: Unit) -> Literal["auto", "terraform", "tofu"]:
    if unit.binary is None:
        return "auto"
    return "tofu" if "tofu" in Path(unit.binary).name else "terraform"


def _expect_supported(request: PlanRequest) -> None:
    if request.workspace != DEFAULT_WORKSPACE:
        raise UnitUnsupportedError(
            "a unit of terragrunt has no workspaces here",
            advice="Take `workspaces` from the stack: terragrunt keeps states apart by itself.",
        )
    if request.backend_config:
        raise UnitUnsupportedError(
            "a unit of terragrunt configures its backend by itself",
            advice="Take `backend_config` from the stack, and use `remote_state` in terragrunt's files.",
        )
    if request.generates:
        raise UnitUnsupportedError("nothing is adopted into a unit of terragrunt: its code is generated")


def refuse_apply(request: PlanRequest) -> None:
    """Raises UnitUnsupportedError for a unit: its plan is not applied by driftwatch."""
    if request.engine == ENGINE:
        raise UnitUnsupportedError(
            "driftwatch does not apply units of terragrunt",
            advice="Apply it with terragrunt; the next check sees that it is in sync.",
        )


def _digest(unit: Unit, places: set[Path], checkout: Path) -> str:
    """Over all files that the unit is made of, as far as they are known."""
    digest = hashlib.sha256()
    paths = [checkout / each for each in unit.files]
    for place in places:
        for parent, below, names in os.walk(place):
            below[:] = [name for name in below if not name.startswith(".")]
            paths += [Path(parent, name) for name in names]
    for path in sorted(set(paths)):
        name, content = str(path.relative_to(checkout)), digest_of(path) if path.is_file() else None
        digest.update(repr((name, content)).encode())
    return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class UnitPlan:
    """One plan of one unit."""

    work: Work
    terragrunt: Terragrunt

    def plan(self) -> Planned:
        """Raises as `Planner.plan` does. What was downloaded before is used while the unit is the same."""
        kept = self.work.workdir.root / "units"
        made_from = self.work.workdir.root / "units.digest"
        digest = f"{self.work.module.init_digest} {self.work.binary} {self.terragrunt}"
        if not (made_from.is_file() and made_from.read_text(encoding="utf-8") == digest):
            _forget(kept, made_from)
        fresh = not kept.exists()
        try:
            planned = self._plan(kept)
        except (InitNeededError, ProviderUnavailableError):
            _forget(kept, made_from)
            if fresh:
                raise
            planned = self._plan(kept)
        except Exception:
            _forget(kept, made_from)
            raise
        made_from.write_text(digest, encoding="utf-8")
        return planned

    def _plan(self, downloads: Path) -> Planned:
        work = self.work
        place = self._tree()
        gate = Gate(
            terraform=work.binary.path,
            directory=work.run.scratch,
            plan_file=work.plan_file,
            limit=work.settings.max_plan_mb << 20,
            parallelism=work.settings.parallelism,
        )
        gate.build()
        work.plan_file.unlink(missing_ok=True)
        finished = self._run(place, gate, downloads)
        if (argument := gate.refused) is not None:
            raise UnitUnsupportedError(
                f"the unit has its plan leave something out, or be another one, with {argument}",
                advice="Take it from the `arguments` and `env_vars` that terragrunt's files give the plan:"
                " what a check does not look at is not in sync.",
            )
        if finished.returncode not in (0, 2) or not gate.has_shown:
            raise self._failure(finished, gate)
        document = complete(parse_document(gate.document()), work.binary)
        lineage, serial = state_identity(work.plan_file)
        lock_file = gate.place / LOCK_FILE
        return Planned(
            document=document,
            engine=Engine(
                name=work.binary.name,
                version=str(document.get("terraform_version") or work.binary.version),
                providers=locked_providers(lock_file),
            ),
            lock_file=digest_of(lock_file),
            state_lineage=lineage,
            state_serial=serial,
        )

    def _tree(self) -> Path:
        """A copy of the unit and all that it reads, since terragrunt writes beside what it runs."""
        tree = self.work.workdir.tree
        place = lay_out(tree, self.work.module, personal=False)
        # For `get_repo_root`: a repository with nothing in it, rather than the way into the mirror.
        git = tree / ".git"
        if git.is_symlink() or git.is_file():
            git.unlink()
        if not git.exists():
            for part in ("objects", "refs"):
                (git / part).mkdir(parents=True)
            (git / "HEAD").write_text("ref: refs/heads/main\n", encoding="utf-8")
        return place

    def _run(self, place: Path, gate: Gate, downloads: Path) -> Finished:
        work, settings = self.work, self.work.settings
        out, err = Lines(self._hear), Lines(self._hear)
        seconds = (settings.init_timeout + settings.plan_timeout).total_seconds()
        try:
            ended = run(
                self._argv(),
                directory=place,
                environment=self._environment(gate, downloads),
                stdout=out,
                stderr=err,
                seconds=seconds,
                leash=work.leash,
            )
        except OSError as problem:
            raise TerragruntMissingError(
                f"{self.terragrunt.path} cannot be started: {problem.strerror}"
            ) from problem
        out.finish()
        err.finish()
        if ended.stopped in (Stopped.REQUEST, Stopped.DEADLINE):
            raise ended_early("plan", ended, seconds, "plan_timeout", said=[out, err])
        return Finished(
            command="plan",
            returncode=-1 if ended.returncode is None else ended.returncode,
            stdout=out.text,
            stderr=err.text,
        )

    def _argv(self) -> list[str]:
        work = self.work
        before = ["run", "--"] if self.terragrunt.is_redesigned else []
        given = work.request.variables
        variables = [write_secret(work.run.scratch / "variables.tfvars.json", given)] if given else []
        locking = ["-lock=true", f"-lock-timeout={_LOCK_TIMEOUT}"] if work.locks else ["-lock=false"]
        return [
            str(self.terragrunt.path),
            *before,
            "plan",
            "-input=false",
            "-no-color",
            *locking,
            f"-out={work.plan_file}",
            *(f"-var-file={path}" for path in (*work.module.var_files, *variables)),
        ]

    def _environment(self, gate: Gate, downloads: Path) -> dict[str, str]:
        work = self.work
        cli = write_cli_configuration(work.settings, work.room.scratch)
        whole = environment_of(work.settings, work.own, work.request, work.room, cli)
        given = {
            name: value
            for name, value in whole.items()
            if name != "TF_DATA_DIR" and (not _OPTIONS.fullmatch(name) or _OPTIONS_OF_A_STACK.fullmatch(name))
        }
        return {
            **given,
            **self._options(gate.program, downloads),
            # Hooks that call terraform by its name meet the gate, too.
            "PATH": os.pathsep.join([str(gate.program.parent), given["PATH"]]),
            RUN_VARIABLE: work.run.id,
        }

    def _options(self, terraform: Path, downloads: Path) -> dict[str, str]:
        """A check makes no bucket for a state, and no table: that would be a change."""
        if self.terragrunt.is_redesigned:
            return {
                "TG_TF_PATH": str(terraform),
                "TG_DOWNLOAD_DIR": str(downloads),
                "TG_NON_INTERACTIVE": "true",
                "TG_NO_COLOR": "true",
                "TG_NO_AUTO_PROVIDER_CACHE_DIR": "true",
                "TG_DISABLE_BUCKET_UPDATE": "true",
                "TG_BACKEND_BOOTSTRAP": "false",
                "TG_BACKEND_REQUIRE_BOOTSTRAP": "true",
            }
        return {
            "TERRAGRUNT_TFPATH": str(terraform),
            "TERRAGRUNT_DOWNLOAD": str(downloads),
            "TERRAGRUNT_NON_INTERACTIVE": "true",
            "TERRAGRUNT_NO_COLOR": "true",
            "TERRAGRUNT_DISABLE_BUCKET_UPDATE": "true",
            "TERRAGRUNT_FAIL_ON_STATE_BUCKET_CREATION": "true",
        }

    def _hear(self, line: bytes) -> None:
        self.work.tell(line.decode(errors="replace"))

    def _failure(self, finished: Finished, gate: Gate) -> Exception:
        """What terraform said, where it said anything; else what terragrunt did."""
        if gate.is_too_large:
            limit = self.work.settings.max_plan_mb
            return PlanTooLargeError(
                f"the plan's document is larger than {limit} MB",
                advice="Split the unit, or raise `terraform.max_plan_mb` where the memory for it is there.",
            )
        if finished.returncode in (0, 2):
            return PlanUnreadableError(
                "terragrunt ended well, and left no plan",
                advice="Look whether the unit is excluded or skipped; nothing is known of it.",
                detail=redact(finished.output).strip()[-2000:] or None,
            )
        said = gate.errors()
        if from_text(said):
            by_terraform = Finished(command="plan", returncode=finished.returncode, stdout="", stderr=said)
            return failure(by_terraform, [], engine=self.work.binary.name)
        if finished.returncode < 0:
            return failure(finished, [], engine=ENGINE)
        lines = [plain for line in finished.output.splitlines() if (plain := _LOG.sub("", line).strip())]
        sentence = redact(lines[-1])[-_LONGEST_SENTENCE:] if lines else f"exit code {finished.returncode}"
        return PlanFailedError(
            f"terragrunt failed: {sentence}",
            advice="See what it says before that; run it in the unit's directory to look closer.",
            detail=redact(finished.output).strip()[-2000:] or None,
        )


def _forget(downloads: Path, made_from: Path) -> None:
    made_from.unlink(missing_ok=True)
    shutil.rmtree(downloads, ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What terragrunt runs as terraform. `directory` is this run's; `limit` is the document's, in bytes."""

    terraform: Path
    directory: Path
    plan_file: Path
    limit: int
    parallelism: int

    @property
    def program(self) -> Path:
        """Its name says to terragrunt which of both it is, where it does not ask."""
        return self.directory / "gate" / ("tofu" if "tofu" in self.terraform.name else "terraform")

    @property
    def _shown(self) -> Path:
        return self.directory / "gate" / "document"

    @property
    def _status(self) -> Path:
        return self.directory / "gate" / "status"

    @property
    def _said(self) -> Path:
        return self.directory / "gate" / "errors"

    @property
    def refused(self) -> str | None:
        """What the plan was told that none of ours may be told; None where there was nothing.

        Whatever terragrunt made of it: it may try again, or say that all is well.
        """
        path = self.directory / "gate" / "refused"
        return path.read_text(encoding="utf-8", errors="replace").split("\n")[0] if path.is_file() else None

    @property
    def place(self) -> Path:
        """Where the plan was made."""
        return Path((self.directory / "gate" / "place").read_text(encoding="utf-8"))

    def build(self) -> None:
        """Writes the script anew, and takes away what an earlier run left."""
        shutil.rmtree(self.program.parent, ignore_errors=True)
        self.program.parent.mkdir(mode=0o700)
        self.program.write_text(self._script(), encoding="utf-8")
        self.program.chmod(0o700)

    def _script(self) -> str:
        quoted = {
            "real": shlex.quote(str(self.terraform)),
            "gate": shlex.quote(str(self.program.parent)),
            "out": shlex.quote(f"-out={self.plan_file}"),
            "plan": shlex.quote(str(self.plan_file)),
        }
        looks = "|".join((*_LOOKS, "-version", "--version", "-v", "-help", "--help"))
        arguments = " ".join(("TF_CLI_ARGS", *(f"TF_CLI_ARGS_{command}" for command in _LOOKS)))
        # By the gate itself, since terragrunt would take `-parallelism` for its own.
        how = f"-parallelism={self.parallelism}"
        return f"""#!/bin/sh
# Written by driftwatch for one plan: passes on to terraform what only looks.
real={quoted["real"]} gate={quoted["gate"]}
refuse() {{
  echo "Error: driftwatch runs no terraform $1 in a check" | tee -a "$gate/errors" >&2
  exit 64
}}
case "$1 $2" in
"state list"*|"state show"*|"state pull"*|"workspace list"*|"workspace show"*) exec "$real" "$@" ;;
esac
case "$1" in
{looks}) ;;
*) refuse "$1" ;;
esac
ours=
for argument in "$@"; do
  case "$argument" in
  {quoted["out"]}) ours=yes ;;
  -migrate-state*|--migrate-state*|-force-copy*|--force-copy*) refuse "$1 $argument" ;;
  esac
done
leave_out() {{
  printf '%s\\n' "$1" >> "$gate/refused"
  echo "Error: driftwatch makes no plan with $1" | tee -a "$gate/errors" >&2
  exit 64
}}
only_how() {{
  name=$1
  set -f
  for word in $2; do
    case "$word" in
    {_SAY_HOW}) ;;
    *) leave_out "$name" ;;
    esac
  done
  set +f
}}
if [ "$1" = plan ] && [ -n "$ours" ]; then
  for argument in "$@"; do
    case "$argument" in -*) flag=${{argument#-}} flag=${{flag#-}} ;; *) continue ;; esac
    case "$flag" in
    {_LOOKS_AT_ALL}) ;;
    {_LOOKS_AWAY}) leave_out "-${{flag%%=*}}" ;;
    esac
  done
  only_how TF_CLI_ARGS "$TF_CLI_ARGS"
  only_how TF_CLI_ARGS_plan "$TF_CLI_ARGS_plan"
fi
unset {arguments}
export TF_CLI_ARGS_plan={how}
"$real" "$@" 2> "$gate/errors.$$"
code=$?
cat "$gate/errors.$$" >> "$gate/errors"
cat "$gate/errors.$$" >&2
rm -f "$gate/errors.$$"
if [ "$1" = plan ] && [ -n "$ours" ] && [ -s {quoted["plan"]} ] && {{ [ $code = 0 ] || [ $code = 2 ]; }}; then
  printf %s "$PWD" > "$gate/place"
  {{ "$real" show -json -no-color {quoted["plan"]} 2>> "$gate/errors"; echo $? > "$gate/status"; }} |
    head -c {self.limit + 1} > "$gate/document"
fi
exit $code
"""

    @property
    def is_too_large(self) -> bool:
        return self._shown.is_file() and self._shown.stat().st_size > self.limit

    @property
    def has_shown(self) -> bool:
        """Whether terraform has made the plan and shown all of it."""
        return (
            self._status.is_file()
            and self._status.read_text(encoding="ascii").strip() == "0"
            and not self.is_too_large
        )

    def document(self) -> bytes:
        return self._shown.read_bytes()

    def errors(self) -> str:
        """What terraform wrote to stderr, in all of its runs; the last of it."""
        if not self._said.is_file():
            return ""
        return self._said.read_bytes()[-(1 << 16) :].decode(errors="replace")
