"""Runs git through GitPython such that neither a repository nor this process's environment has a say in it.

Every git process of driftwatch starts here. It gets a session of its own, a deadline, bounded output and the
hardening below. Secrets go to it by environment, never by argument; what it prints is redacted before it
becomes part of an error. No `Repo` is ever kept: GitPython's leak processes and descriptors in a daemon.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping  # noqa: TC003  (dataclass fields are read at run time)
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path  # noqa: TC003
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from driftwatch.errors import (
    DiskFullError,
    GitMissingError,
    RepositoryError,
    RepositoryInterruptedError,
)
from driftwatch.log import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HARDENING = (
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.symlinks", "true"),
    ("core.protectHFS", "true"),
    ("core.protectNTFS", "true"),
    ("core.alternateRefsCommand", ""),
    ("safe.bareRepository", "explicit"),
    ("credential.helper", ""),
    ("protocol.file.allow", "user"),
    ("transfer.credentialsInUrl", "die"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("advice.detachedHead", "false"),
    # Nothing works on in the background once the lock is given back; `Mirror` tidies up itself.
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("gc.worktreePruneExpire", "never"),
    # Packs only: their size can be watched while they arrive, and thousands of loose objects never pile up.
    ("fetch.unpackLimit", "1"),
)
"""Settings that a repository's own configuration cannot override: they rank as on the command line."""

_VARIABLES = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_PAGER": "cat",
    "GCM_INTERACTIVE": "never",
}

_INHERITED = frozenset(
    {
        *("PATH", "TMPDIR", "TZ", "LANG", "LC_ALL", "LC_CTYPE", "LANGUAGE", "LD_LIBRARY_PATH"),
        *("http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "SSH_AUTH_SOCK"),
    }
)
"""What a child may have of this process's environment. Cloud credentials and GIT_* are not among it."""

_TICK = 0.2
_GRACE = 2.0
"""Seconds that git has after SIGTERM to remove its lock files, before SIGKILL."""
_DETAIL_LINES = 12
_MOST_COMPLAINTS = 1 << 20
"""Bytes on stderr. A remote may write there too, and for ever."""
_NO_SUCH_PROGRAM = 127


class Ending(StrEnum):
    """How a git process ended: by itself, or stopped for a reason of ours."""

    EXITED = "exited"
    DEADLINE = "deadline"
    TOO_MUCH_OUTPUT = "too_much_output"
    OVER_THE_CAP = "over_the_cap"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What one git process did. `stderr` is not redacted yet: `detail` is."""

    ending: Ending
    status: int
    stdout: bytes
    stderr: str

    @property
    def succeeded(self) -> bool:
        return self.ending is Ending.EXITED and self.status == 0

    @property
    def detail(self) -> str:
        """The last lines that git printed, safe to show."""
        return "\n".join(redact(self.stderr).strip().splitlines()[-_DETAIL_LINES:])

    @property
    def complaint(self) -> str:
        """The one line of it that says what is wrong."""
        lines = self.detail.splitlines()
        telling = [line for line in lines if line.startswith(("fatal:", "error:"))]
        return (telling or lines[-1:] or [f"exit status {self.status}"])[0].strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """How to run git in one place: `home` is its directory, `prefix` its arguments before the subcommand."""

    home: Path
    prefix: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = HARDENING
    variables: Mapping[str, str] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def having(
        self, *, settings: Sequence[tuple[str, str]] = (), variables: Mapping[str, str] | None = None
    ) -> Git:
        """The same with more settings and variables."""
        return replace(
            self,
            settings=(*self.settings, *settings),
            variables={**self.variables, **(variables or {})},
        )

    def ask(
        self, *arguments: str, stdin: bytes = b"", seconds: float = 60, limit: int | None = None
    ) -> bytes:
        """What a local command prints; raises RepositoryError where it fails in any way."""
        output = self.run(*arguments, stdin=stdin, seconds=seconds, limit=limit)
        if output.succeeded:
            return output.stdout
        raise failure(f"git {arguments[0]}", output)

    def run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        seconds: float = 60,
        limit: int | None = None,
        over_the_cap: Callable[[], bool] = lambda: False,
        holding: int | None = None,
    ) -> Output:
        """Runs git to its end, or to the first of: the deadline, `limit` bytes, `over_the_cap()`, `stop`.

        `holding` is the descriptor of a lock that must not come free while git lives, even if we die first.
        Raises GitMissingError and DiskFullError; any other failure is in the output.
        """
        with translated(), _stdin(stdin) as given:
            process = self._start(("git", "--no-pager", *self.prefix, *arguments), given, holding)
            readers = _Reader(process.stdout, limit), _Reader(process.stderr, _MOST_COMPLAINTS)
            try:
                ending = self._wait(process, readers, time.monotonic() + seconds, over_the_cap)
            finally:
                _end(process, readers)
        output = Output(
            ending=ending,
            status=process.returncode,
            stdout=bytes(readers[0].read),
            stderr=readers[1].read.decode(errors="replace"),
        )
        _raise_for_the_machine(output)
        return output

    def _start(
        self, command: Sequence[str], stdin: BinaryIO | None, holding: int | None
    ) -> subprocess.Popen[bytes]:
        environment = self._environment()
        try:
            from git.cmd import Git as GitPython
            from git.exc import GitCommandNotFound
        except ImportError as exc:  # GitPython looks for git when it is imported
            raise GitMissingError("there is no git program on this machine") from exc
        try:
            started: Any = GitPython(self.home).execute(
                [*_without_strangers(environment), *command],
                istream=stdin,
                as_process=True,
                env=environment,
                start_new_session=True,
                pass_fds=() if holding is None else (holding,),
            )
        except GitCommandNotFound as exc:
            raise GitMissingError("git cannot be started: env is not on PATH") from exc
        process: subprocess.Popen[bytes] = started.proc
        # GitPython would terminate the process when its wrapper is collected; its end is ours to bring about.
        started.proc = None
        return process

    def _environment(self) -> dict[str, str]:
        given = {"HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home), **_VARIABLES, **self.variables}
        given["GIT_CONFIG_COUNT"] = str(len(self.settings))
        for number, (key, value) in enumerate(self.settings):
            given |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return given

    def _wait(
        self,
        process: subprocess.Popen[bytes],
        readers: Sequence[_Reader],
        deadline: float,
        over_the_cap: Callable[[], bool],
    ) -> Ending:
        while True:
            for reader in readers:
                reader.join(_TICK)
            if not any(reader.is_alive() for reader in readers) and _exited(process):
                return (
                    Ending.TOO_MUCH_OUTPUT if any(reader.overflowed for reader in readers) else Ending.EXITED
                )
            if any(reader.overflowed for reader in readers):
                return Ending.TOO_MUCH_OUTPUT
            if self.stop.is_set():
                return Ending.STOPPED
            if over_the_cap():
                return Ending.OVER_THE_CAP
            if time.monotonic() > deadline:
                return Ending.DEADLINE


class _Reader(threading.Thread):
    """Reads a pipe to its end, or until more than `limit` bytes came: then it leaves the rest."""

    def __init__(self, pipe: IO[bytes] | None, limit: int | None) -> None:
        super().__init__(name="git-output", daemon=True)
        self.read = bytearray()
        self.overflowed = False
        self._pipe = pipe
        self._limit = limit
        self.start()

    def run(self) -> None:
        if self._pipe is None:
            return
        # A pipe closed under the reader is one whose process had to be killed: what came so far counts.
        with contextlib.suppress(OSError, ValueError):
            while chunk := os.read(self._pipe.fileno(), 1 << 16):
                self.read += chunk
                if self._limit is not None and len(self.read) > self._limit:
                    self.overflowed = True
                    return


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turns what the machine raises into the error tree."""
    try:
        yield
    except OSError as exc:
        raise _of_machine(exc) from exc


def failure(what: str, output: Output) -> RepositoryError:
    """The error for a local git command that did not do what it should."""
    match output.ending:
        case Ending.STOPPED:
            return RepositoryInterruptedError(f"{what} was stopped")
        case Ending.DEADLINE:
            return RepositoryError(f"{what} did not end in time", detail=output.detail or None)
        case Ending.TOO_MUCH_OUTPUT | Ending.OVER_THE_CAP:
            return RepositoryError(f"{what} printed more than it may", detail=output.detail or None)
        case Ending.EXITED:
            return RepositoryError(f"{what} failed: {output.complaint}", detail=output.detail or None)


def _raise_for_the_machine(output: Output) -> None:
    """A full disk and a missing program are the machine's, whichever command met them."""
    if output.status == _NO_SUCH_PROGRAM and "env:" in output.stderr:
        raise GitMissingError("there is no git program on this machine")
    own = "\n".join(line for line in output.stderr.splitlines() if not line.startswith("remote:"))
    if "No space left on device" in own or "Disk quota exceeded" in own:
        raise DiskFullError("git found no space left on the disk", detail=output.detail)


def _of_machine(problem: OSError) -> DiskFullError | RepositoryError:
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(f"no space left on the disk: {redact(str(problem))}")
    return RepositoryError(f"a file of the repository cannot be used: {redact(str(problem))}")


def _without_strangers(given: Mapping[str, str]) -> list[str]:
    """The command that drops what this process's environment holds beyond the allow-list.

    GitPython hands every child a copy of the whole environment and can only add to it. Names stand on the
    command line, values do not. What is `given` would be dropped too, so it is left out.
    """
    strangers = sorted(os.environ.keys() - _INHERITED - given.keys())
    return ["env", *(part for name in strangers for part in ("-u", name))]


@contextlib.contextmanager
def _stdin(given: bytes) -> Iterator[BinaryIO | None]:
    """A file, not a pipe: git may then read at its own pace while its output is read at ours."""
    if not given:
        yield None
        return
    with tempfile.TemporaryFile() as file:
        file.write(given)
        file.seek(0)
        yield file


def _exited(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_TICK)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(process: subprocess.Popen[bytes], readers: Sequence[_Reader]) -> None:
    """Leaves no process and no descriptor behind, however the wait ended."""
    try:
        if process.poll() is None:
            _kill(process)
        for reader in readers:
            reader.join(_GRACE)
    finally:
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to all of the session, so that git removes its lock files; then SIGKILL, and reap."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    process.wait()
