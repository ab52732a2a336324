"""What is running, written down beside the work, so that a restart can end what a killed daemon left.

Each plan is a run: a record of who started it, of the program's process id and start time, and of the
directories that hold its secrets. A process id alone proves nothing, as numbers are used again; with the
start time and the machine's boot it is one process. What that process started carries the run's id in its
environment, and is found even where its parent is gone.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftwatch import log
from driftwatch.terraform.workdir import fits_sockets

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN_VARIABLE = "DRIFTWATCH_RUN"
"""Names the run in the environment of everything that it starts."""

_PROC = Path("/proc")
_BOOT = _PROC / "sys/kernel/random/boot_id"
_SCRATCH_PREFIX = "dw-"
_GONE_WITHIN = 5.0
_LOOK_AGAIN = 0.05

logger = log.get("terraform")


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """One process, told from a later one of its number by its start time and the machine's boot."""

    pid: int
    pid_started: str | None
    boot: str

    @classmethod
    def of(cls, pid: int) -> Started:
        return cls(pid=pid, pid_started=_start_time(pid), boot=_boot())

    def lives(self) -> bool:
        """Whether it is there and no zombie."""
        started = _start_time(self.pid) if self.boot == _boot() else None
        return started is not None and started == self.pid_started


@dataclass(slots=True, kw_only=True)
class Run:
    """One run in progress. `scratch` holds what must not stay: plan file, variables, credentials."""

    id: str
    scratch: Path
    _record: Path
    _short: list[Path] = field(default_factory=list)
    _process: dict[str, Any] | None = None

    def started(self, pid: int) -> None:
        """Notes the program that runs now; one at a time."""
        self._process = {"pid": pid, "started": _start_time(pid)}
        self.write()

    def short_directory(self) -> Path:
        """A directory with a path short enough for Unix sockets in it, which providers put into TMPDIR."""
        import tempfile

        directory = Path(tempfile.mkdtemp(prefix=_SCRATCH_PREFIX))
        self._short.append(directory)
        self.write()
        return directory

    def write(self) -> None:
        document = {
            "run": self.id,
            "boot": _boot(),
            "owner": {"pid": os.getpid(), "started": _start_time(os.getpid())},
            "process": self._process,
            "scratch": [str(directory) for directory in self.directories],
        }
        draft = self._record.with_suffix(".draft")
        draft.write_text(json.dumps(document), encoding="utf-8")
        draft.replace(self._record)

    def home(self) -> Path:
        """A HOME that ends with the run."""
        home = self.scratch / "home"
        home.mkdir(exist_ok=True)
        return home

    def temporary(self) -> Path:
        """A TMPDIR that ends with the run."""
        return self.scratch if fits_sockets(self.scratch) else self.short_directory()

    @property
    def directories(self) -> tuple[Path, ...]:
        return (self.scratch, *self._short)

    def forget(self) -> None:
        for directory in self.directories:
            shutil.rmtree(directory, ignore_errors=True)
        self._record.unlink(missing_ok=True)


@contextmanager
def begin(runs: Path, parent: Path) -> Iterator[Run]:
    """A run with a scratch directory below `parent`, which is its owner's alone; both are gone at the end."""
    identity = secrets.token_hex(8)
    scratch = parent / f"{_SCRATCH_PREFIX}{identity}"
    runs.mkdir(mode=0o700, parents=True, exist_ok=True)
    run = Run(id=identity, scratch=scratch, _record=runs / f"{identity}.json")
    try:
        run.write()
        scratch.mkdir(mode=0o700)
        yield run
    finally:
        run.forget()


def sweep(runs: Path) -> int:
    """Ends what earlier daemons left running, removes what they left lying, and returns how many runs it was.

    For the start of a daemon, before its first run. Runs whose owner still lives are let be.
    """
    swept = 0
    for record in sorted(runs.glob("*.json")):
        document = _read(record)
        if _lives(document["owner"], document):
            continue
        _end(document)
        for directory in map(Path, document["scratch"]):
            if directory.name.startswith(_SCRATCH_PREFIX):
                shutil.rmtree(directory, ignore_errors=True)
        record.unlink(missing_ok=True)
        swept += 1
    for draft in runs.glob("*.draft"):
        draft.unlink(missing_ok=True)
    if swept:
        logger.warning(
            f"An earlier daemon left {swept} runs of terraform behind; they are ended.",
            action="sweep",
            runs=swept,
        )
    return swept


def _read(record: Path) -> dict[str, Any]:
    """A record; of one that is damaged nothing is known, and nothing is done for it."""
    nothing: dict[str, Any] = {"run": "", "boot": "", "owner": None, "process": None, "scratch": []}
    try:
        return {**nothing, **json.loads(record.read_text(encoding="utf-8"))}
    except (ValueError, TypeError, OSError):
        return nothing


def _end(document: dict[str, Any]) -> None:
    """Kills the run's program with its group, and whatever else carries the run's id."""
    process = document["process"]
    if _lives(process, document):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process["pid"], signal.SIGKILL)
    give_up = time.monotonic() + _GONE_WITHIN
    while (left := _carrying(document["run"])) and time.monotonic() < give_up:
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_LOOK_AGAIN)


def _lives(process: dict[str, Any] | None, document: dict[str, Any]) -> bool:
    if process is None or document["boot"] != _boot():
        return False
    started = _start_time(process["pid"])
    return started is not None and started == process["started"]


def _carrying(run: str) -> list[int]:
    """The processes of a run that are not dead yet; nothing where there is no /proc."""
    processes = (int(entry.name) for entry in _PROC.glob("[0-9]*")) if run else ()
    return [pid for pid in processes if carries(pid, RUN_VARIABLE, run)]


def carries(pid: int, variable: str, value: str) -> bool:
    """Whether a process has that in its environment and is not dead yet; False where there is no /proc."""
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"{variable}={value}".encode() in environment and _state(pid) != "Z"


def _start_time(pid: int) -> str | None:
    """What tells a process from a later one of its number: clock ticks since boot; None where it is gone."""
    if _PROC.joinpath("self").exists():
        fields = _stat(pid)
        return fields[19] if fields and fields[0] != "Z" else None
    shown = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout.strip() or None


def _state(pid: int) -> str | None:
    fields = _stat(pid)
    return fields[0] if fields else None


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: the second may hold blanks and brackets."""
    try:
        return (
            (_PROC / str(pid) / "stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()
        )
    except OSError:
        return []


def _boot() -> str:
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""
