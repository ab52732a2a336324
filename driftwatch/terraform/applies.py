"""What of an apply is on disk: all that it needs, and all that is known of it after a crash.

    applies/<id>/record.json       which plan of which stack, and the process once there is one
                 plan              the plan file
                 home tmp terraform.rc variables.tfvars.json      what terraform is given
                 log               all that it says, as it says it
                 pid               terraform's own process id, the child of the recorded one
                 running           renamed to exit.<code> at its end, which works on a full disk too
                 cancelled         somebody has interrupted it
                 errored.tfstate   the state that its backend did not take

All of it is its owner's alone: most of it holds secrets. Nothing here starts or signals anything.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from driftwatch.errors import ApplyExistsError, ApplyRunningError
from driftwatch.terraform.runs import Started, carries
from driftwatch.terraform.workdir import digest_of, fits_sockets

if TYPE_CHECKING:
    from collections.abc import Mapping

APPLY_VARIABLE = "DRIFTWATCH_APPLY"
"""Names the apply in the environment of all that it starts. Not the name that `sweep` ends processes by."""

ERRORED_STATE = "errored.tfstate"
"""Where terraform puts a state that its backend does not take: into its working directory."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,59}")
"""It names a directory, and with its prefix a host, which may have 64 letters."""

_SIGNALLED = 128
"""A shell adds this to the number of the signal that ended a program."""


class ApplyState(StrEnum):
    """How an apply stands. GONE: it ended, and nobody knows how far it came."""

    PREPARED = "prepared"
    RUNNING = "running"
    ENDED = "ended"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How an apply stands. Where it ENDED, `exit_code` is terraform's, negative where a signal ended that."""

    state: ApplyState
    exit_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsaved:
    """A state that its backend did not take: where it is, and which it is, where that can be told."""

    path: Path
    lineage: str | None = None
    serial: int | None = None

    def is_in(self, lineage: str | None, serial: int | None) -> bool:
        """Whether a state is this one, or came after it: then somebody has pushed it."""
        if self.lineage is None or self.serial is None or serial is None:
            return False
        return lineage == self.lineage and serial >= self.serial


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is written down of an apply that was prepared.

    `directory` is where terraform works, `rescued` where an errored state is put that is found there.
    `elsewhere` are directories of the apply outside of its own. `process` is None until it is started.
    """

    workdir: Path
    directory: Path
    rescued: Path
    engine: str
    plan_sha256: str
    elsewhere: tuple[Path, ...] = ()
    process: Started | None = None


class Kept:
    """One apply's directory, whether it is there or not."""

    def __init__(self, applies: Path, apply_id: str) -> None:
        """Raises ValueError where `apply_id` is not made of up to 60 letters, digits and hyphens."""
        if not _ID.fullmatch(apply_id):
            raise ValueError(f"not the id of an apply: {apply_id!r}")
        self.id = apply_id
        self.directory = applies / apply_id
        self.elsewhere: tuple[Path, ...] = ()

    def make(self) -> None:
        """Raises ApplyExistsError."""
        self.directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self.directory.mkdir(mode=0o700)
        except FileExistsError as problem:
            raise ApplyExistsError(f"the apply {self.id} is known already") from problem

    def remove(self) -> None:
        for directory in (*self._recorded_elsewhere(), *self.elsewhere):
            shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(self.directory)

    @property
    def signature(self) -> str:
        """The host name in its state lock, which is then known to be of this apply."""
        return f"dw-{self.id}"

    @property
    def scratch(self) -> Path:
        return self.directory

    @property
    def plan_file(self) -> Path:
        return self.directory / "plan"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def errored_state(self) -> Path:
        return self.directory / ERRORED_STATE

    @property
    def running(self) -> Path:
        return self.directory / "running"

    def home(self) -> Path:
        """The HOME of the plan and the apply: the same for both, as it may be in what was planned."""
        home = self.directory / "home"
        home.mkdir(mode=0o700)
        return home

    def temporary(self) -> Path:
        """The TMPDIR of both; outside of the directory where its path is too long for sockets."""
        temporary = self.directory / "tmp"
        if not fits_sockets(temporary):
            self.elsewhere = (Path(tempfile.mkdtemp(prefix="dw-apply-")),)
            return self.elsewhere[0]
        temporary.mkdir(mode=0o700)
        return temporary

    def write(self, record: Record) -> None:
        """Durably: what stands there is believed after a crash of the machine too."""
        draft = self.directory / "record.draft"
        draft.touch(mode=0o600)
        with draft.open("w", encoding="utf-8") as file:
            json.dump(asdict(record), file, default=str)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._record_file)
        descriptor = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read(self) -> Record | None:
        """None where none was written; raises ValueError where it is damaged."""
        try:
            return _record(json.loads(self._record_file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (TypeError, KeyError) as problem:
            raise ValueError("a damaged record") from problem

    def started(self, process: Started | None) -> None:
        """Writes down the process that runs it, or that there is none after all."""
        record = self.read()
        if record is None:
            raise ValueError(f"the apply {self.id} was never prepared")
        self.write(replace(record, process=process))

    def is_planned_as(self, sha256: str) -> bool:
        """Whether the plan file is the one with that digest."""
        return digest_of(self.plan_file) == sha256

    def open_log(self) -> IO[bytes]:
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(descriptor, "wb", buffering=0)

    def look(self) -> Look:
        """How it stands, seen from any process. An apply without a directory is GONE: nobody knows of it."""
        if not self.directory.is_dir():
            return Look(state=ApplyState.GONE)
        try:
            record = self.read()
        except ValueError:
            return self._ended() or Look(state=ApplyState.GONE)
        if record is None or record.process is None:
            return Look(state=ApplyState.PREPARED)
        if ended := self._ended():
            return ended
        if record.process.lives() or self._terraform_lives():
            return Look(state=ApplyState.RUNNING)
        return self._ended() or Look(state=ApplyState.GONE)  # it may have ended between the two looks

    def terraform(self) -> int | None:
        """Its process id; None until it is started."""
        try:
            return int((self.directory / "pid").read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None

    def mark_cancelled(self) -> bool:
        """True for the first to do so: a second interrupt would be an order to drop everything."""
        try:
            (self.directory / "cancelled").touch(mode=0o600, exist_ok=False)
        except FileExistsError:
            return False
        return True

    def unmark_cancelled(self) -> None:
        (self.directory / "cancelled").unlink(missing_ok=True)

    @property
    def was_cancelled(self) -> bool:
        return (self.directory / "cancelled").exists()

    def keep_errored_state(self) -> Path | None:
        """Takes an errored state into the directory; returns where it is now, None where there is none.

        It stays where it is when it cannot be moved. An empty one is none: the disk was full for it too.
        """
        for place in self._errored_states():
            if place.is_file() and not place.is_symlink() and place.stat().st_size:
                return self._take(place)
        return None

    def unsaved(self) -> Unsaved | None:
        """The state that is only here; None where there is none. A damaged one is only known to be there."""
        path = self.keep_errored_state()
        if path is None:
            return None
        try:
            state = json.loads(path.read_bytes())
            return Unsaved(path=path, lineage=str(state["lineage"]), serial=int(state["serial"]))
        except (OSError, ValueError, KeyError, TypeError):
            return Unsaved(path=path)

    def _errored_states(self) -> tuple[Path, ...]:
        try:
            record = self.read()
        except ValueError:
            record = None
        found = (record.rescued, record.directory / ERRORED_STATE) if record and record.process else ()
        return (self.errored_state, *found)

    def _take(self, place: Path) -> Path:
        if place == self.errored_state:
            return place
        draft = self.directory / "errored.draft"
        try:
            shutil.move(place, draft)
            draft.chmod(0o600)
            return draft.replace(self.errored_state)
        except OSError:
            return place

    def _ended(self) -> Look | None:
        codes = [path.suffix.removeprefix(".") for path in self.directory.glob("exit.*")]
        if not codes:
            return None
        code = int(codes[0])
        signalled = _SIGNALLED < code < _SIGNALLED + 65
        return Look(state=ApplyState.ENDED, exit_code=_SIGNALLED - code if signalled else code)

    def _terraform_lives(self) -> bool:
        """Where what watched over it is gone, as nobody ever should have ended that."""
        pid = self.terraform()
        return pid is not None and carries(pid, APPLY_VARIABLE, self.id)

    def _recorded_elsewhere(self) -> tuple[Path, ...]:
        try:
            record = self.read()
        except ValueError:
            return ()
        return record.elsewhere if record else ()

    @property
    def _record_file(self) -> Path:
        return self.directory / "record.json"


def discard(applies: Path, apply_id: str) -> bool:
    """Removes all that is kept of an apply, a state that its backend did not take included.

    For a person who says that the state is in order. False where nothing is kept; raises ApplyRunningError.
    """
    kept = Kept(applies, apply_id)
    if kept.look().state is ApplyState.RUNNING:
        raise ApplyRunningError(f"the apply {apply_id} still runs")
    found = kept.keep_errored_state()
    if found is not None and not found.is_relative_to(kept.directory):
        found.unlink()
    if not kept.directory.is_dir():
        return False
    kept.remove()
    return True


def known(applies: Path) -> list[str]:
    """The ids of all applies that anything is kept of, however little."""
    if not applies.is_dir():
        return []
    return sorted(path.name for path in applies.iterdir() if _ID.fullmatch(path.name) and path.is_dir())


def _record(document: Mapping[str, Any]) -> Record:
    process = document["process"]
    return Record(
        workdir=Path(document["workdir"]),
        directory=Path(document["directory"]),
        rescued=Path(document["rescued"]),
        engine=document["engine"],
        plan_sha256=document["plan_sha256"],
        elsewhere=tuple(map(Path, document["elsewhere"])),
        process=Started(**process) if process else None,
    )
