"""terraform's commands, by way of python-terraform: one subclass, with the traps of the original closed.

Only `generate_cmd_string` is used of it, which turns options into an argument vector. Upstream (0.10.1, the
last there will be) has no deadline and no environment per call, keeps all output in memory, takes `plan`'s
exit code 2 for a failure, loads state files (with credentials in them) into itself, and turns every misspelt
method into a terraform command. Here a command is one of those listed, runs once, and ends in time.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from python_terraform import IsFlagged, Terraform

from driftwatch.errors import EngineInterruptedError, EngineTimeoutError, NoBinaryError
from driftwatch.log import redact
from driftwatch.terraform.process import Ended, Leash, Lines, Sink, Stopped, Tail, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_COMMANDS = frozenset({"version", "init", "get", "plan", "show", "state pull", "workspace list"})
"""All that is ever run here. None of them changes infrastructure or state."""

_SECONDS = 30.0
"""For commands that nobody set a deadline for."""

_LONGEST_DETAIL = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A command that ended by itself, or that had too much to say."""

    command: str
    returncode: int
    stdout: str
    stderr: str
    too_much: bool = False

    @property
    def output(self) -> str:
        return f"{self.stdout}\n{self.stderr}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where and how a command runs. `chdir` is given as `-chdir`, so that `path.cwd` stays `directory`."""

    directory: Path
    environment: Mapping[str, str]
    leash: Leash
    chdir: Path | None = None
    deadlines: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    """By command: seconds, and the name of the setting that says so."""


class Command(Terraform):  # type: ignore[misc]
    """One terraform or tofu, ready to run in one place."""

    def __init__(self, path: Path, setting: Setting) -> None:
        super().__init__(
            working_dir=str(setting.directory), terraform_bin_path=str(path), is_env_vars_included=False
        )
        self._setting = setting

    def __getattr__(self, item: str) -> Any:
        raise AttributeError(item)

    def read_state_file(self, file_path: str | None = None) -> None:
        """Does nothing: upstream would load the backend's configuration, which may hold credentials."""

    def _generate_default_options(self, input_options: dict[str, Any]) -> dict[str, Any]:
        return {"no_color": IsFlagged, **input_options}

    def cmd(
        self,
        cmd: str,
        *args: str,
        stdout: Sink | None = None,
        **options: Any,
    ) -> Finished:
        """Runs one of the known commands and returns what came of it, whatever its exit code.

        Raises EngineTimeoutError or EngineInterruptedError where it had to be stopped, and NoBinaryError
        where it cannot be started.
        """
        if cmd not in _COMMANDS:
            raise ValueError(f"not a command that driftwatch runs: {cmd}")
        argv = self.generate_cmd_string(cmd, *args, **self._generate_default_options(options))
        if self._setting.chdir is not None:
            argv.insert(1, f"-chdir={self._setting.chdir}")
        limit, named = self._setting.deadlines.get(cmd, (_SECONDS, ""))
        out, err = stdout or Tail(), Tail()
        ended = self._run(argv, out, err, limit)
        if isinstance(out, Lines):
            out.finish()
        if ended.stopped in (Stopped.REQUEST, Stopped.DEADLINE):
            raise ended_early(cmd, ended, limit, named, said=[out, err])
        return Finished(
            command=cmd,
            returncode=-1 if ended.returncode is None else ended.returncode,
            stdout=out.text if isinstance(out, Tail) else "",
            stderr=err.text,
            too_much=ended.stopped is Stopped.TOO_MUCH,
        )

    def _run(self, argv: Sequence[str], out: Sink, err: Sink, seconds: float) -> Ended:
        setting = self._setting
        try:
            return run(
                argv,
                directory=setting.directory,
                environment=setting.environment,
                stdout=out,
                stderr=err,
                seconds=seconds,
                leash=setting.leash,
            )
        except (FileNotFoundError, PermissionError) as problem:
            raise NoBinaryError(
                f"{self.terraform_bin_path} cannot be started: {problem.strerror}"
            ) from problem

    def version(self) -> str | None:
        """The version, None where the program does not answer as terraform does."""
        finished = self.cmd("version", json=IsFlagged, no_color=None)
        try:
            return str(json.loads(finished.stdout)["terraform_version"])
        except (ValueError, KeyError, TypeError):
            return None

    def init(
        self,
        *,
        each: Callable[[bytes], None],
        read_only_lock: bool,
        backend: bool = True,
        backend_config: Path | None,
    ) -> Finished:
        """`-reconfigure`: the data directory is ours, and there is never a state in it to migrate."""
        return self.cmd(
            "init",
            stdout=Lines(each),
            input=False,
            lockfile="readonly" if read_only_lock else None,
            backend=backend,
            reconfigure=IsFlagged if backend else None,
            backend_config=str(backend_config) if backend and backend_config else None,
        )

    def get(self, each: Callable[[bytes], None]) -> Finished:
        """Downloads modules, and nothing else."""
        return self.cmd("get", stdout=Lines(each))

    def plan(
        self,
        *,
        each: Callable[[bytes], None],
        out: Path,
        var_files: Sequence[Path],
        parallelism: int,
        lock_timeout: str | None,
        generated: Path | None = None,
    ) -> Finished:
        """`each` hears the lines of the JSON stream. A lock is taken where `lock_timeout` is given.

        Without `-detailed-exitcode`: a crash for lack of memory has the same exit code 2.
        """
        return self.cmd(
            "plan",
            stdout=Lines(each),
            json=IsFlagged,
            input=False,
            out=str(out),
            lock=lock_timeout is not None,
            lock_timeout=lock_timeout,
            parallelism=parallelism,
            var_file=[str(path) for path in var_files],
            generate_config_out=None if generated is None else str(generated),
        )

    def show(self, plan: Path, document: Sink) -> Finished:
        """Writes the plan's JSON document into `document`."""
        return self.cmd("show", str(plan), stdout=document, json=IsFlagged)

    def pull_state(self, content: Sink) -> Finished:
        """Writes the state into `content`, as the backend has it."""
        return self.cmd("state pull", stdout=content, no_color=None)

    def argv_of_apply(
        self, plan: Path, *, var_files: Sequence[Path], parallelism: int, lock_timeout: str
    ) -> list[str]:
        """What applies a plan file. It is not run here, where commands have deadlines: see `apply`."""
        options = {
            "json": IsFlagged,
            "input": False,
            "lock_timeout": lock_timeout,
            "parallelism": parallelism,
            "var_file": [str(path) for path in var_files],
        }
        argv: list[str] = self.generate_cmd_string(
            "apply", str(plan), **self._generate_default_options(options)
        )
        return argv

    def workspaces(self) -> Finished:
        return self.cmd("workspace list")


def alone() -> Leash:
    """For a command that nobody stops."""
    return Leash(stop=threading.Event(), hurry=threading.Event())


def ended_early(
    command: str, ended: Ended, limit: float, named: str, *, said: Sequence[Sink]
) -> EngineInterruptedError | EngineTimeoutError:
    """Why a command was stopped: somebody asked for it, or its time was up. `named` is the setting."""
    if ended.stopped is Stopped.REQUEST:
        return EngineInterruptedError(f"terraform {command} was stopped before it could say anything")
    return _too_late(command, ended, limit, named, said=said)


def _too_late(
    command: str, ended: Ended, limit: float, named: str, *, said: Sequence[Sink]
) -> EngineTimeoutError:
    unkillable = "; it could not be killed" if ended.returncode is None else ""
    output = "\n".join(sink.text for sink in said if isinstance(sink, Tail))
    return EngineTimeoutError(
        f"terraform {command} did not finish within {limit:g} s and was stopped{unkillable}",
        advice=f"See in its output what hangs; raise `terraform.{named}` if it needs longer."
        if named
        else None,
        detail=redact(output).strip()[-_LONGEST_DETAIL:] or None,
    )
