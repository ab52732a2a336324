"""The provider processes that are kept alive between plans, and who uses which.

A process is for one binary, one environment and, but for the providers of `driftwatch.warm.location`, one
working directory. It is configured at most once in its life, so that no stack ever meets another's
credentials in it, and one lease at a time has it. The pool is bounded in number and in memory: what is idle
longest goes first.

All processes are started by one thread that lives as long as the pool: the kernel kills them when it ends,
which is how they die with us, however we die (`setpriv --pdeathsig`).
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import os
import queue
import shutil
import stat
import subprocess
import tempfile
import threading
import time
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias

from driftwatch import log, metrics
from driftwatch.errors import PoolFullError, PoolUnavailableError
from driftwatch.warm.answers import Answers
from driftwatch.warm.location import Surroundings, is_independent, is_stateless
from driftwatch.warm.process import ProviderProcess, environment_for_provider, launch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from driftwatch.warm.packages import Package

_MAINTENANCE_SECONDS = 5.0
"""Between two looks at what is idle, dead or too big."""

_SOCKET_PATH_LIMIT = 107
"""Bytes in `sockaddr_un.sun_path` on Linux, less the final zero."""

_LONGEST_SOCKET_NAME = 48
"""The pool's directory, a process' own in it, `/plugin` and the random number that go-plugin adds."""

_HOME_NAME = 16
_HOME_SECONDS = 3600.0

_OF_ONE_RUN = frozenset(
    {
        "DRIFTWATCH_RUN",
        "TF_CLI_CONFIG_FILE",
        "TF_DATA_DIR",
        "TF_PLUGIN_CACHE_DIR",
        "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE",
        "TF_REATTACH_PROVIDERS",
        "TF_WORKSPACE",
        "TMPDIR",
    }
)
"""Variables that are for terraform, or differ from run to run. Providers read none of them but TMPDIR."""

logger = log.get("warm")

_Spawn: TypeAlias = "Callable[[], subprocess.Popen[bytes]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the pool may take. Memory is resident, of all its processes together."""

    processes: int = 12
    memory_mb: int = 6144
    idle_seconds: float = 1800.0
    """Longer than the usual time between two checks of a stack, else nothing would ever be warm."""
    life_seconds: float = 3600.0
    """A provider may leak; a new one costs a second or two."""
    short_life_seconds: float = 300.0
    """Of those that may keep answers of their cloud in memory: nobody may be told the same from there."""
    start_seconds: float = 60.0
    message_mb: int = 256
    """terraform's own limit (plugin6/grpc_provider.go)."""
    answers_mb: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """A working directory as such: one that was made anew under the same name is another one."""

    path: Path
    device: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Directory:
        """Raises OSError."""
        status = path.stat()
        return cls(path=path, device=status.st_dev, inode=status.st_ino)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What makes two processes interchangeable before they are configured. No directory: any will do."""

    package: Package
    environment: str
    directory: Directory | None

    @property
    def identity(self) -> tuple[str, str, Directory | None]:
        return self.package.digest, self.environment, self.directory


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """For `doctor`, the metrics and measurements. `memory` in bytes; CPU of the processes there are now."""

    processes: int
    busy: int
    memory: int
    cpu_seconds: float
    launched: int
    reused: int
    retired: Mapping[str, int]


NO_PROCESSES = PoolStats(processes=0, busy=0, memory=0, cpu_seconds=0.0, launched=0, reused=0, retired={})
"""Of a pool that was never needed."""


@dataclass(slots=True)
class _Member:
    process: ProviderProcess
    key: Key
    started_at: datetime
    used_at: datetime
    busy: bool = True


@dataclass(slots=True)
class _Counts:
    launched: int = 0
    reused: int = 0
    retired: dict[str, int] = field(default_factory=dict)


_CREDENTIALS_AT_HOME = (
    ".aws/config",
    ".aws/credentials",
    ".azure/azureProfile.json",
    ".azure/msal_token_cache.json",
    ".config/gcloud/application_default_credentials.json",
)
"""Files that the big clouds' providers read without being told to."""


def environment_identity(environment: Mapping[str, str]) -> str:
    """A digest of exactly what a provider finds in its environment, and of the versions of files it names.

    A provider reads its credentials file once, when it is configured: another content is another identity.
    """
    home = environment.get("HOME")
    named = [
        part
        for name, value in environment.items()
        if name != "PATH" and value.startswith("/")
        for part in value.split(os.pathsep)
    ]
    implied = [f"{home}/{name}" for name in _CREDENTIALS_AT_HOME] if home else []
    files = [(path, version) for path in sorted({*named, *implied}) if (version := _version(path))]
    return hashlib.sha256(json.dumps([sorted(environment.items()), files]).encode()).hexdigest()


def _version(path: str) -> tuple[int, int, int] | None:
    """What changes with a file's content; None for what is no file."""
    try:
        status = os.stat(path)  # noqa: PTH116  (a value need not be a path at all)
    except (OSError, ValueError):
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


class Pool:
    """Safe to use from many threads. `close()` it, or leave it as a context manager: that ends them all."""

    def __init__(self, limits: Limits, clock: Callable[[], datetime], *, setpriv: str | None = None) -> None:
        """Raises PoolUnavailableError where there is no place for sockets."""
        self.limits = limits
        self.answers = Answers(limits.answers_mb << 20)
        self._clock = clock
        self._members: list[_Member] = []
        self._starting = 0
        self._counts = _Counts()
        self._protocols: dict[str, int] = {}
        self._lock = threading.Lock()
        found = setpriv or shutil.which("setpriv")
        self._guard = (found, "--pdeathsig", "KILL", "--") if found else ()
        self.directory = _private_directory()
        self._homes = self.directory / "home"
        self._nowhere = self.directory / "nowhere"
        self._started = itertools.count()
        try:
            self._held = _hold(self.directory)
            self._nowhere.mkdir(mode=0o500)
        except OSError as problem:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise PoolUnavailableError(
                f"nothing can be made in {self.directory}: {problem.strerror}"
            ) from problem
        self._closed = threading.Event()
        self._spawns: queue.SimpleQueue[tuple[_Spawn, Future[subprocess.Popen[bytes]]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._work, name="provider-pool", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def environment(self, plans: Mapping[str, str]) -> dict[str, str]:
        """What providers get of a plan's environment: without what is only one run's.

        Where it has no HOME they get one of the pool's, which only those with the very same environment
        share: some providers keep tokens there.
        """
        kept = {name: value for name, value in plans.items() if name not in _OF_ONE_RUN}
        if "HOME" not in kept:
            home = self._homes / environment_identity(kept)[:_HOME_NAME]
            try:
                home.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.utime(home)
            except OSError as problem:
                raise PoolUnavailableError(
                    f"there is no home for providers in {self._homes}: {problem.strerror}"
                ) from problem
            kept["HOME"] = str(home)
        return kept

    def identity(self, environment: Mapping[str, str]) -> str:
        """What tells one environment from another, in any pool: a HOME of this one's own does not count."""
        home = environment.get("HOME", "")
        ours = home.startswith(f"{self.directory}/")
        return environment_identity(
            {name: value for name, value in environment.items() if not (ours and name == "HOME")}
        )

    def key(self, package: Package, environment: Mapping[str, str], directory: Path) -> Key:
        """Where a provider that terraform runs in `directory` with `environment` belongs."""
        bound = not is_independent(package.address) or Surroundings(directory).are_named_in_environment(
            environment
        )
        return Key(
            package=package,
            environment=self.identity(environment),
            directory=_directory(directory) if bound else None,
        )

    def bind(self, key: Key, directory: Path) -> Key:
        """The same provider where it must run in `directory`. Raises PoolUnavailableError."""
        return Key(package=key.package, environment=key.environment, directory=_directory(directory))

    def take(
        self,
        key: Key,
        environment: Mapping[str, str],
        *,
        configured: bytes | None = None,
        any_configuration: bool = False,
        seconds: float | None = None,
        stop: threading.Event,
    ) -> ProviderProcess:
        """A process that nobody else uses until `give_back`: one that was configured so, or not at all yet.

        With `any_configuration` one for calls to which that makes no difference. One that must be started has
        `seconds` for it, or what the limits say where that is less. Raises PoolFullError,
        PoolUnavailableError, ProviderNotStartedError, ProviderProtocolError.
        """
        if self._closed.is_set():
            raise PoolUnavailableError("the provider pool is closed")
        with self._lock:
            member = self._pick(key, configured, any_configuration=any_configuration)
            if member is not None:
                member.busy = True
                self._counts.reused += 1
                metrics.WARM_REUSES.inc()
                return member.process
            evicted = self._make_room(1)
            self._starting += 1
        self._end(evicted, "room")
        try:
            process = self._launch(key, environment, seconds, stop)
        finally:
            with self._lock:
                self._starting -= 1
        return self._admit(process, key)

    def give_back(self, process: ProviderProcess) -> None:
        """Ends a lease; a spoiled process is retired."""
        retired: list[_Member] = []
        with self._lock:
            member = next((each for each in self._members if each.process is process), None)
            if member is None:
                return
            member.busy = False
            member.used_at = self._clock()
            is_old = self._is_old(member, member.used_at)
            if is_old or not process.is_usable:
                self._members.remove(member)
                retired.append(member)
        self._end(retired, process.spoiled or ("age" if is_old else "died"))

    def retire(self, reason: str, affected: Callable[[Key], bool]) -> int:
        """Takes out of service what `affected` names, also what is in use, and returns how many.

        For credentials that expire, a binary that changed, a provider in quarantine.
        """
        with self._lock:
            found = [member for member in self._members if affected(member.key)]
            for member in found:
                member.process.spoil(reason)
            idle = [member for member in found if not member.busy]
            self._members = [member for member in self._members if member not in idle]
        self._end(idle, reason)
        return len(found)

    def protocol(self, package: Package) -> int | None:
        """The protocol version that a binary speaks, where it has been started before."""
        return self._protocols.get(package.digest)

    def stats(self) -> PoolStats:
        with self._lock:
            members = list(self._members)
            counts = _Counts(self._counts.launched, self._counts.reused, dict(self._counts.retired))
        return PoolStats(
            processes=len(members),
            busy=sum(member.busy for member in members),
            memory=sum(member.process.memory for member in members),
            cpu_seconds=sum(member.process.cpu_seconds for member in members),
            launched=counts.launched,
            reused=counts.reused,
            retired=counts.retired,
        )

    def maintain(self) -> None:
        """Retires what is dead, too old, idle for too long or too much; the pool does so by itself, too."""
        now = self._clock()
        idle: list[_Member] = []
        dead: list[_Member] = []
        old: list[_Member] = []
        with self._lock:
            for member in [each for each in self._members if not each.busy]:
                if not member.process.is_usable:
                    dead.append(member)
                elif (now - member.used_at).total_seconds() > self.limits.idle_seconds:
                    idle.append(member)
                elif self._is_old(member, now):
                    old.append(member)
            self._members = [each for each in self._members if each not in (*idle, *dead, *old)]
        self._end(dead, "died")
        self._end(idle, "idle")
        self._end(old, "age")
        self._bound_memory()
        self._sweep_homes()

    def _sweep_homes(self) -> None:
        """Removes the homes of environments that nobody has used for long: credentials are renewed."""
        with self._lock:
            used = {member.key.environment[:_HOME_NAME] for member in self._members}
        old = time.time() - _HOME_SECONDS
        for home in self._homes.iterdir() if self._homes.is_dir() else ():
            with suppress(OSError):
                if home.name not in used and home.stat().st_mtime < old:
                    shutil.rmtree(home, ignore_errors=True)

    def _is_old(self, member: _Member, now: datetime) -> bool:
        stateless = is_stateless(member.key.package.address)
        life = self.limits.life_seconds if stateless else self.limits.short_life_seconds
        return (now - member.started_at).total_seconds() > life

    def close(self) -> None:
        """Ends every process, in use or not. The pool is of no use any more."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._spawns.put(None)
        with self._lock:
            members, self._members = self._members, []
        self._end(members, "closed")
        self._thread.join()
        shutil.rmtree(self.directory, ignore_errors=True)
        os.close(self._held)

    def _pick(self, key: Key, configured: bytes | None, *, any_configuration: bool) -> _Member | None:
        idle = [
            member
            for member in self._members
            if not member.busy and member.key.identity == key.identity and member.process.is_usable
        ]
        if any_configuration:
            fit = idle
        else:
            fit = [member for member in idle if member.process.configured in (None, configured)]
        same = [member for member in fit if member.process.configured == configured]
        return next(iter(same or fit), None)

    def _make_room(self, count: int) -> list[_Member]:
        """Takes out what is idle longest until `count` more fit, and returns it; holds the lock."""
        evicted: list[_Member] = []
        while len(self._members) + self._starting + count > self.limits.processes:
            idle = [member for member in self._members if not member.busy]
            if not idle:
                self._members += evicted
                raise PoolFullError(
                    f"all {self.limits.processes} provider processes of the pool are at work",
                    advice="Allow more of them, or fewer checks at once.",
                )
            oldest = min(idle, key=lambda member: member.used_at)
            self._members.remove(oldest)
            evicted.append(oldest)
        return evicted

    def _bound_memory(self) -> None:
        with self._lock:
            members = list(self._members)
        used = {id(member): member.process.memory for member in members}
        excess = sum(used.values()) - (self.limits.memory_mb << 20)
        heavy: list[_Member] = []
        with self._lock:
            idle = [each for each in self._members if not each.busy and id(each) in used]
            for member in sorted(idle, key=lambda each: each.used_at):
                if excess <= 0:
                    break
                excess -= used[id(member)]
                heavy.append(member)
                self._members.remove(member)
        self._end(heavy, "memory")

    def _launch(
        self, key: Key, environment: Mapping[str, str], seconds: float | None, stop: threading.Event
    ) -> ProviderProcess:
        limit = self.limits.start_seconds
        temporary = self._temporary_directory()
        with ExitStack() as failed:
            failed.callback(shutil.rmtree, temporary, ignore_errors=True)
            process = self._launched(
                key, environment, temporary, limit if seconds is None else min(seconds, limit), stop
            )
            failed.pop_all()
        process.temporary = temporary
        self._protocols[key.package.digest] = process.protocol
        return process

    def _launched(
        self, key: Key, environment: Mapping[str, str], temporary: Path, seconds: float, stop: threading.Event
    ) -> ProviderProcess:
        return launch(
            key.package,
            environment=environment_for_provider(environment, temporary, key.package),
            directory=key.directory.path if key.directory else self._nowhere,
            guard=self._guard,
            seconds=seconds,
            message_limit=self.limits.message_mb << 20,
            spawn=self._spawn,
            stop=stop,
        )

    def _temporary_directory(self) -> Path:
        """One process' own, so that none finds what another has left; with a short path, for its socket."""
        made = self.directory / f"t{next(self._started):x}"
        try:
            made.mkdir(mode=0o700)
        except OSError as problem:
            raise PoolUnavailableError(f"{made} cannot be made: {problem.strerror}") from problem
        return made

    def _admit(self, process: ProviderProcess, key: Key) -> ProviderProcess:
        with self._lock:
            self._counts.launched += 1
            metrics.WARM_LAUNCHES.inc()
            if not self._closed.is_set():
                now = self._clock()
                self._members.append(_Member(process, key, started_at=now, used_at=now))
                return process
        process.kill()
        raise PoolUnavailableError("the provider pool was closed")

    def _end(self, members: list[_Member], reason: str) -> None:
        for member in members:
            member.process.kill()
            with self._lock:
                self._counts.retired[reason] = self._counts.retired.get(reason, 0) + 1
            metrics.WARM_RETIRED.labels(reason).inc()
            logger.debug(
                f"The provider process {member.key.package.address} is retired: {reason}.",
                action="retire",
                provider=member.key.package.address,
                reason=reason,
            )

    def _spawn(self, *arguments: object, **options: object) -> subprocess.Popen[bytes]:
        """subprocess.Popen in the pool's own thread, whose end is the children's end."""
        made: Future[subprocess.Popen[bytes]] = Future()
        self._spawns.put((lambda: subprocess.Popen(*arguments, **options), made))  # type: ignore[call-overload]
        if self._closed.is_set() and not self._thread.is_alive():
            raise PoolUnavailableError("the provider pool is closed")
        return made.result()

    def _work(self) -> None:
        while True:
            try:
                job = self._spawns.get(timeout=_MAINTENANCE_SECONDS)
            except queue.Empty:
                self._look_after()
                continue
            if job is None:
                break
            spawn, made = job
            try:
                made.set_result(spawn())
            except BaseException as problem:  # noqa: BLE001  (whoever waits must hear, and this thread live on)
                made.set_exception(problem)
        self._refuse_the_rest()

    def _look_after(self) -> None:
        """Maintenance; whatever goes wrong in it must not end this thread, and with it every provider."""
        try:
            self.maintain()
        except Exception:
            logger.exception("The provider pool could not be looked after.", action="maintain")

    def _refuse_the_rest(self) -> None:
        with suppress(queue.Empty):
            while True:
                job = self._spawns.get_nowait()
                if job is not None:
                    job[1].set_exception(PoolUnavailableError("the provider pool is closed"))


def _directory(path: Path) -> Directory:
    try:
        return Directory.of(path)
    except OSError as problem:
        raise PoolUnavailableError(f"there is no directory {path} to run a provider in") from problem


_PREFIX = "dw-warm-"
_LOCK = "lock"
_BEING_MADE_SECONDS = 60.0
"""How old a directory without a lock file must be before it counts as left behind."""


def sweep() -> int:
    """Removes the directories of pools whose process was killed, and returns how many those were."""
    swept = 0
    for place in _places():
        for directory in place.glob(f"{_PREFIX}*"):
            with suppress(OSError):
                if directory.stat().st_uid == os.getuid() and _is_left_behind(directory):
                    shutil.rmtree(directory, ignore_errors=True)
                    swept += 1
    return swept


def _is_left_behind(directory: Path) -> bool:
    try:
        descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return time.time() - directory.stat().st_mtime > _BEING_MADE_SECONDS
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _hold(directory: Path) -> int:
    """Says that somebody alive uses `directory`, until the descriptor is closed or this process is gone."""
    descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def _places() -> tuple[Path, ...]:
    """Where a pool's directory may be."""
    places = (Path(tempfile.gettempdir()), Path("/tmp"))  # noqa: S108  (mkdtemp's: nobody else's, 0700)
    return tuple(dict.fromkeys(places))


def _private_directory() -> Path:
    """A directory of our own for sockets, 0700, with a path that is short enough for them."""
    refused = []
    for place in _places():
        if len(str(place)) + _LONGEST_SOCKET_NAME > _SOCKET_PATH_LIMIT:
            refused.append(f"{place} is too long a path")
            continue
        try:
            return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        except OSError as problem:
            refused.append(f"{place}: {problem.strerror}")
    raise PoolUnavailableError(
        "there is no directory for the sockets of providers: " + "; ".join(refused),
        advice="Set TMPDIR to a directory with a short path that can be written to.",
    )
