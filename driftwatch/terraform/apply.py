"""An apply: the plan under the state lock that decides about it, and terraform's run of that very plan file.

    prepare → (the caller compares and admits) → start → wait or look → outcome → discard

An apply is sacred: interrupted in a create, it leaves a resource in the cloud that no state knows. So nothing
ends it but itself, and `cancel`. It runs in a session of its own, its output goes to a file (a pipe without a
reader kills terraform in its middle), the kernel is not asked to end it with us, no deadline is set, and
`sweep` does not know it. A daemon that starts again finds it by its record (`driftwatch.terraform.applies`).

A small shell program watches over terraform: it outlives us, writes down how terraform ended, and holds the
lock of the stack's workdir as long as terraform runs, so that no plan lays out that place anew meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import threading
from collections import deque
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from driftwatch.errors import (
    ApplyFailedError,
    ApplyLostError,
    ApplyRunningError,
    EngineInterruptedError,
    NoBinaryError,
    PlanStaleError,
    PlanTamperedError,
    Remedy,
    StateLockedError,
    StateNotKeptError,
    StateNotSavedError,
)
from driftwatch.log import redact
from driftwatch.model import DEFAULT_WORKSPACE
from driftwatch.terraform import environment as surroundings
from driftwatch.terraform.applies import (
    APPLY_VARIABLE,
    ERRORED_STATE,
    ApplyState,
    Kept,
    Look,
    Record,
    Unsaved,
    known,
)
from driftwatch.terraform.applies import discard as remove
from driftwatch.terraform.command import Finished
from driftwatch.terraform.embedded import is_shim
from driftwatch.terraform.failures import Diagnostic, failure, from_json
from driftwatch.terraform.plan import Planner, disk_faults
from driftwatch.terraform.process import Lines
from driftwatch.terraform.runs import Started
from driftwatch.terraform.session import in_tree, message
from driftwatch.terraform.terragrunt import refuse_apply
from driftwatch.terraform.workdir import expect_space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from driftwatch.config.settings import TerraformSettings
    from driftwatch.errors import DriftwatchError
    from driftwatch.terraform.process import Ladder
    from driftwatch.terraform.request import Planned, PlanRequest
    from driftwatch.terraform.session import Launch, Work

_WATCH = """
read -r go <&1 || exit 1
exec >&2
directory=$1 rescued=$2 move=$3
shift 3
trap : HUP INT TERM
"$0" -c 'echo $$ >"$0/pid" && exec "$@"' "$directory" "$@" </dev/null
code=$?
[ ! -e errored.tfstate ] || "$move" -f errored.tfstate "$rescued"
"$move" "$directory/running" "$directory/exit.$code"
"""
"""Watches over terraform.

Its standard input is the workdir's lock, which terraform does not get: what a provisioner leaves running
would hold it for ever. By its standard output, a pipe, comes the word to begin: once its process id is on
record, and not at all when nobody is left to send it. Signals that are trapped by `:` are not ignored by
terraform, as they would be if they were trapped by ''.
"""

_LOOK_AGAIN = 0.1
_CHUNK = 1 << 16
_OUTPUT = 4096
_MOST_LINES = 400
_MOST_DIAGNOSTICS = 50
_STAYS = "What it did till then stays. A new check says what is left to do; it is not begun again by itself."
"""What passes by itself for a plan does not for an apply, but where terraform refused to begin."""

_STATE_DUMP = b'"Emergency state dump"'
"""A state that can be written nowhere is printed, in one line (`internal/command/views/operation.go`)."""


@dataclass(slots=True, kw_only=True, eq=False)
class Prepared:
    """A plan that may be applied, in a place that is held for it until it is started or released.

    `planned` and the plan file hold secrets. It can be started only by the process that prepared it.
    """

    id: str
    plan_sha256: str
    planned: Planned = field(repr=False)
    launch: Launch = field(repr=False)
    kept: Kept = field(repr=False)
    space: tuple[Path, ...] = field(repr=False)
    lock: IO[str] = field(repr=False)
    held: ExitStack = field(default_factory=ExitStack, repr=False)

    def release(self) -> None:
        """Gives the stack's workdir back; what was prepared can no longer be started then."""
        self.held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an apply that runs no more.

    `exit_code` is as in `Look`. `error` says what failed, None where nothing did. `output` are the last 4 KB
    of what it told people, redacted; `log` has all of it, raw. With `errored_state`, or where the state is in
    the log (`state_in_log`), what was applied is in no backend: the stack must wait until a person pushed it.
    """

    exit_code: int | None
    error: DriftwatchError | None
    output: str
    errored_state: Path | None
    state_in_log: bool
    cancelled: bool
    log: Path


class Applier:
    """Applies plans. Safe to use from many threads, and by several processes for different ids."""

    def __init__(
        self,
        settings: TerraformSettings,
        *,
        cache: Path,
        runs: Path,
        applies: Path,
        environment: Mapping[str, str],
        ladder: Ladder | None = None,
        hurry: threading.Event | None = None,
        tools: Path | None = None,
    ) -> None:
        """`applies` is where they are kept; the rest is as for `Planner`, whose workdirs are shared.

        `ladder` and `hurry` are for the plan of `prepare` alone.
        """
        self._settings = settings
        self._planner = Planner(
            settings,
            cache=cache,
            runs=runs,
            environment=environment,
            ladder=ladder,
            hurry=hurry,
            tools=tools,
        )
        self._applies = applies.absolute()
        path = environment.get("PATH", os.defpath)
        # By their full paths: a stack's environment may have another PATH.
        self._shell = shutil.which("sh", path=path) or "/bin/sh"
        self._move = shutil.which("mv", path=path) or "/bin/mv"

    def prepare(
        self,
        request: PlanRequest,
        apply_id: str,
        stop: threading.Event,
        progress: Callable[[str], None] | None = None,
    ) -> Prepared:
        """Plans under the state lock, with real providers, and keeps the plan file and the stack's workdir.

        Raises as `Planner.plan` does, ApplyExistsError, StateNotKeptError where the state would not last, and
        UnitUnsupportedError for units of terragrunt.
        """
        if request.personal:
            raise ValueError("nobody's own directory is applied")
        refuse_apply(request)
        kept = Kept(self._applies, apply_id)
        with ExitStack() as held, disk_faults():
            kept.make()
            undo = held.enter_context(ExitStack())
            undo.callback(kept.remove)
            workdir, lock = held.enter_context(self._planner.holding(request, stop))
            with self._planner.working(request, workdir, stop, progress, kept=kept) as work:
                prepared = _plan(work, kept, lock)
            undo.pop_all()
            prepared.held.push(held.pop_all())
            return prepared

    def start(self, prepared: Prepared) -> Started:
        """Starts terraform on the plan file that was prepared, and returns at once.

        Raises PlanTamperedError, DiskFullError, ApplyRunningError where it was started before, and
        ApplyFailedError where it cannot be started; nothing has been applied then.
        """
        if prepared.kept.look().state is not ApplyState.PREPARED:
            raise ApplyRunningError(f"the apply {prepared.id} was started before")
        if prepared.lock.closed:
            raise ValueError(f"the apply {prepared.id} was released")
        with disk_faults():
            for directory in prepared.space:
                expect_space(directory, self._settings.min_free_mb << 20)
            if not prepared.kept.is_planned_as(prepared.plan_sha256):
                raise PlanTamperedError(
                    f"the plan file of the apply {prepared.id} is not the one that was made"
                )
            started = self._start(prepared)
        prepared.release()  # it is held by what was started now
        return started

    def look(self, apply_id: str) -> Look:
        """How it stands. PREPARED is one that was never started: nothing was applied."""
        return Kept(self._applies, apply_id).look()

    def wait(
        self, apply_id: str, stop: threading.Event, progress: Callable[[str], None] | None = None
    ) -> Look:
        """Waits until it ends, or until `stop` is set: then it goes on, and is RUNNING.

        `progress` hears what it said from its beginning, and then what it says.
        """
        kept = Kept(self._applies, apply_id)

        def hear(line: bytes) -> None:
            if progress is not None and (said := _said(line)):
                progress(redact(said))

        lines = Lines(hear)
        with _reading(kept.log) as log:
            while True:
                look = kept.look()
                while chunk := log.read(_CHUNK):
                    lines.feed(chunk)
                if look.state is not ApplyState.RUNNING or stop.is_set():
                    lines.finish()
                    return look
                stop.wait(_LOOK_AGAIN)

    def outcome(self, apply_id: str) -> Outcome:
        """What came of it; takes the state that could not be written into safety. Raises ApplyRunningError.

        In another process than the one that prepared it, `recognise` its secrets first.
        """
        kept = Kept(self._applies, apply_id)
        look = kept.look()
        if look.state is ApplyState.RUNNING:
            raise ApplyRunningError(f"the apply {apply_id} still runs")
        account = _Account.of(kept.log)
        return Outcome(
            exit_code=look.exit_code,
            error=_error(look, account, kept),
            output=account.output,
            errored_state=kept.keep_errored_state(),
            state_in_log=account.state_dumped,
            cancelled=kept.was_cancelled,
            log=kept.log,
        )

    def follow(self, apply_id: str) -> Progress:
        """What it says while it runs. In another process than the one that prepared it, `recognise` first."""
        return Progress(Kept(self._applies, apply_id).log)

    def unsaved(self, apply_id: str) -> Unsaved | None:
        """The state of an apply that runs no more and that no backend has, as far as it left one."""
        kept = Kept(self._applies, apply_id)
        if kept.look().state is ApplyState.RUNNING:
            return None
        return kept.unsaved() or (Unsaved(path=kept.log) if _Account.of(kept.log).state_dumped else None)

    def cancel(self, apply_id: str) -> bool:
        """Interrupts terraform, once and never again; only ever for a person who asked for it by name.

        False where it does not run, has only just begun, or was interrupted before.
        """
        kept = Kept(self._applies, apply_id)
        terraform = kept.terraform()
        if kept.look().state is not ApplyState.RUNNING or terraform is None or not kept.mark_cancelled():
            return False
        try:
            os.kill(terraform, signal.SIGINT)
        except ProcessLookupError:
            kept.unmark_cancelled()
            return False
        return True

    def discard(self, apply_id: str, *, state_too: bool = False) -> None:
        """Removes all that is kept of it.

        Raises ApplyRunningError, and without `state_too` StateNotSavedError where that would lose a state.
        """
        if not state_too and self.unsaved(apply_id):
            raise StateNotSavedError(
                f"the state of the apply {apply_id} is only in its directory",
                advice="Push it with `state push`, then discard it.",
            )
        remove(self._applies, apply_id)

    def known(self) -> list[str]:
        """The ids of all applies that anything is kept of, prepared, running, and ended ones."""
        return known(self._applies)

    def recognise(self, request: PlanRequest) -> None:
        """Makes a stack's secrets unprintable, as `prepare` does; for what an earlier daemon has prepared."""
        surroundings.register_inputs(request.backend_config, request.variables)
        surroundings.of_stack({}, (), request.environment)

    def _start(self, prepared: Prepared) -> Started:
        kept, record = prepared.kept, prepared.kept.read()
        if record is None:
            raise ValueError(f"the apply {prepared.id} was discarded")
        (record.directory / ERRORED_STATE).unlink(missing_ok=True)
        kept.running.touch(mode=0o600)
        with _pipe() as (ear, mouth), kept.open_log() as log:
            child = self._watch(prepared, record, ear, log)
            threading.Thread(target=child.wait, name=f"apply-{kept.id}", daemon=True).start()  # no zombie
            started = Started.of(child.pid)
            kept.started(started)
            ear.close()
            try:
                mouth.write(b"go\n")
            except BrokenPipeError as problem:
                kept.started(None)
                raise ApplyFailedError(
                    "terraform could not be started", detail=redact(_Account.of(kept.log).text) or None
                ) from problem
        return started

    def _watch(
        self, prepared: Prepared, record: Record, ear: IO[bytes], log: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        kept, launch = prepared.kept, prepared.launch
        # Not `signed`: that would have the kernel interrupt it when we end.
        name = self._planner.guard.named(kept.signature)
        watch = (self._shell, "-c", _WATCH, self._shell)
        return subprocess.Popen(
            [*name, *watch, str(kept.directory), str(record.rescued), self._move, *launch.argv],
            cwd=launch.directory,
            env={**launch.environment, APPLY_VARIABLE: kept.id},
            stdin=prepared.lock,
            stdout=ear,
            stderr=log,
            start_new_session=True,
            umask=0o077,
        )


def _plan(work: Work, kept: Kept, lock: IO[str]) -> Prepared:
    if is_shim(work.binary.path):
        raise NoBinaryError(
            "only the embedded terraform is here, which plans and does not apply",
            advice="Install terraform or tofu: a state that the embedded one wrote may be too new for it.",
        )
    session = in_tree(work)
    planned = session.initialise_and_plan()
    states = _state_directory(work, planned)
    sha256 = hashlib.sha256(kept.plan_file.read_bytes()).hexdigest()
    launch = session.launch(planned, kept.plan_file)
    kept.write(
        Record(
            workdir=work.workdir.root,
            directory=launch.directory,
            rescued=work.workdir.root / f"errored-{kept.id}.tfstate",
            engine=work.binary.name,
            plan_sha256=sha256,
            elsewhere=kept.elsewhere,
        )
    )
    return Prepared(
        id=kept.id,
        plan_sha256=sha256,
        planned=planned,
        launch=launch,
        kept=kept,
        space=tuple(filter(None, (kept.directory, work.workdir.root, states))),
        lock=lock,
    )


def _state_directory(work: Work, planned: Planned) -> Path | None:
    """Where a `local` backend keeps the state; None for any other backend.

    Raises StateNotKeptError where that is beside the code, of which the next plan makes a new copy.
    """
    backend = _backend(planned)
    if backend is not None and backend.get("type") != "local":
        return None
    config = (backend or {}).get("config") or {}
    in_default = work.request.workspace == DEFAULT_WORKSPACE
    path = Path(config.get("path" if in_default else "workspace_dir") or "terraform.tfstate")
    passing = (work.workdir.root.resolve(), work.module.checkout)
    if not path.is_absolute() or any(path.resolve().is_relative_to(place) for place in passing):
        raise StateNotKeptError("the stack keeps its state beside its code, where it would be lost")
    return path.parent


def _backend(planned: Planned) -> Mapping[str, Any] | None:
    """What `init` wrote down of the backend; nothing where the code names none."""
    if planned.place is None:
        return None
    try:
        backend = json.loads((planned.place.data / "terraform.tfstate").read_bytes()).get("backend")
    except FileNotFoundError:
        return None
    return backend if isinstance(backend, dict) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    """What a log tells: its last lines for people, the errors in it, and what came as plain text."""

    said: deque[str] = field(default_factory=lambda: deque(maxlen=_MOST_LINES))
    errors: list[Diagnostic] = field(default_factory=list)
    plain: deque[str] = field(default_factory=lambda: deque(maxlen=_MOST_LINES))
    dumps: list[bool] = field(default_factory=list)

    @classmethod
    def of(cls, log: Path) -> _Account:
        account = cls()
        lines = Lines(account.hear)
        with _reading(log) as file:
            while chunk := file.read(_CHUNK):
                lines.feed(chunk)
        lines.finish()
        return account

    def hear(self, line: bytes) -> None:
        if (found := from_json(line)) and len(self.errors) < _MOST_DIAGNOSTICS:
            self.errors.append(found)
        if _STATE_DUMP in line:
            self.dumps.append(True)
        elif said := _said(line):
            self.said.append(said)
            if not line.startswith(b"{"):
                self.plain.append(said)

    @property
    def output(self) -> str:
        """What it told people, redacted: as many of its last lines as fit into 4 KB."""
        told = redact("\n".join(self.said))
        return told if len(told) <= _OUTPUT else told[-_OUTPUT:].partition("\n")[2] or told[-_OUTPUT:]

    @property
    def state_dumped(self) -> bool:
        return bool(self.dumps)

    @property
    def text(self) -> str:
        return "\n".join(self.plain)


class Progress:
    """What an apply has told people so far. It reads on from where it came to; for one thread at a time."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._read = 0
        self._account = _Account()
        self._lines = Lines(self._account.hear)

    def output(self) -> str:
        """The last 4 KB of it, in whole lines, redacted. A line counts once it has ended."""
        with _reading(self._log) as file:
            file.seek(self._read)
            while chunk := file.read(_CHUNK):
                self._read += len(chunk)
                self._lines.feed(chunk)
        return self._account.output


def _said(line: bytes) -> str | None:
    """What a line says to people. Of what cannot be read nothing: it may be a piece of a state."""
    if found := from_json(line):
        return str(found)
    return message(line) if line.startswith(b"{") else line.decode(errors="replace").rstrip()


def _error(look: Look, account: _Account, kept: Kept) -> DriftwatchError | None:
    if look.state is ApplyState.PREPARED:
        return EngineInterruptedError(f"the apply {kept.id} was prepared and never started")
    if look.exit_code is None:
        return ApplyLostError(f"the apply {kept.id} ended, and nobody saw how", detail=account.output or None)
    if look.exit_code == 0 and not account.errors:
        return None
    record = kept.read()
    finished = Finished(command="apply", returncode=look.exit_code, stdout="", stderr=account.text)
    error = failure(finished, account.errors, engine=record.engine if record else "terraform")
    if error.remedy is Remedy.RETRY and not isinstance(error, (PlanStaleError, StateLockedError)):
        error.advice = _STAYS
    return error


@contextmanager
def _reading(log: Path) -> Iterator[IO[bytes]]:
    """The log from its beginning; an empty one where there is none."""
    try:
        file: IO[bytes] = log.open("rb", buffering=0)
    except FileNotFoundError:
        file = BytesIO()
    with file:
        yield file


@contextmanager
def _pipe() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Both ends: to hear by, and to speak into."""
    ear, mouth = os.pipe()
    with os.fdopen(ear, "rb", buffering=0) as reader, os.fdopen(mouth, "wb", buffering=0) as writer:
        yield reader, writer
