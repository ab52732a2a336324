"""Runs one program to its end: in a session of its own, with streamed and bounded output and a deadline.

This is the only place that starts and stops terraform. It knows nothing of what terraform says. A command
that is stopped goes down a ladder: SIGINT to the program alone (a signal to the group would take its
providers first, and it would report their deaths as errors), another one, SIGKILL to the whole group. The
last rung is needed: a provider that is stopped makes terraform ignore any number of interrupts.

Nothing started here outlives a kill of this process for long: where util-linux' `setpriv` is there, the
kernel interrupts the program when the *thread* that started it ends. `run()` waits in that very thread, so
that this cannot happen early; whoever calls it must not do so from a thread that can vanish meanwhile.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import StrEnum
from io import FileIO
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_CHUNK = 1 << 16
_TICK = 0.1
"""Seconds between two looks at the stop event; output wakes the loop at once."""

_ABOUT_TO_END = 0.005
"""Seconds between looks at a program that has closed its output: it is on its way out."""

_ORPHANED_OUTPUT = 0.5
"""Seconds that output is still read after the program has ended, while a child of its keeps the pipe open."""

_TAIL = 1 << 16
_LONGEST_LINE = 1 << 20


class Stopped(StrEnum):
    """Why a program did not end by itself."""

    DEADLINE = "deadline"
    REQUEST = "request"
    TOO_MUCH = "too_much"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Seconds that each rung has before the next: after the first SIGINT, after the second, after SIGKILL."""

    first: float = 30.0
    second: float = 10.0
    reap: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a program ended. `returncode` is negative where a signal ended it, None where nothing could."""

    returncode: int | None
    stopped: Stopped | None


class Sink(Protocol):
    """Takes output as it comes; False means that it has had more than it will take."""

    def feed(self, chunk: bytes) -> bool: ...


class Tail:
    """Keeps the last 64 KiB, in constant memory however much comes."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0

    def feed(self, chunk: bytes) -> bool:
        self._chunks.append(chunk)
        self._size += len(chunk)
        while self._size - len(self._chunks[0]) >= _TAIL:
            self._size -= len(self._chunks.popleft())
        return True

    @property
    def text(self) -> str:
        return b"".join(self._chunks)[-_TAIL:].decode(errors="replace")


class Lines(Tail):
    """Hands over each line, besides keeping the tail; of a line over 1 MiB the rest is dropped."""

    def __init__(self, each: Callable[[bytes], None]) -> None:
        super().__init__()
        self._each = each
        self._open = bytearray()

    def feed(self, chunk: bytes) -> bool:
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            self._extend(part)
            self.finish()
        self._extend(rest)
        return super().feed(chunk)

    def finish(self) -> None:
        """Hands over what stands on the last line, which need not end."""
        line = bytes(self._open)
        self._open.clear()
        if line:
            self._each(line)

    def _extend(self, part: bytes) -> None:
        self._open += part[: _LONGEST_LINE - len(self._open)]


class Whole:
    """Keeps everything, up to `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.content = bytearray()

    def feed(self, chunk: bytes) -> bool:
        if len(self.content) + len(chunk) > self._limit:
            self.content.clear()
            return False
        self.content += chunk
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Leash:
    """What holds a program: who may stop it and how.

    `stop` sends it down the ladder, `hurry` straight to the last rung. `guard` is what runs it (`setpriv …`);
    `started` hears its process id, before anything is read from it.
    """

    stop: threading.Event
    hurry: threading.Event
    ladder: Ladder = Ladder()
    guard: tuple[str, ...] = ()
    started: Callable[[int], None] | None = None


def run(
    argv: Sequence[str],
    *,
    directory: Path,
    environment: Mapping[str, str],
    stdout: Sink,
    stderr: Sink,
    seconds: float,
    leash: Leash,
) -> Ended:
    """Runs `argv` and returns when it and its group are gone.

    `seconds` is the deadline, which sends it down the ladder too. Files that it writes are its owner's alone
    (umask 077). Raises OSError where it cannot be started.
    """
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        out, out_end = _pipe(stack)
        err, err_end = _pipe(stack)
        child = subprocess.Popen(
            [*leash.guard, *argv],
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out_end,
            stderr=err_end,
            # With the reading ends it can say that it was interrupted even when this process is dead, instead
            # of dying of SIGPIPE over it and leaving its providers behind.
            pass_fds=(out.fileno(), err.fileno()),
            start_new_session=True,
            umask=0o077,
        )
        stack.callback(_bury, child, leash.ladder.reap)
        out_end.close()
        err_end.close()
        selector.register(out, selectors.EVENT_READ, stdout)
        selector.register(err, selectors.EVENT_READ, stderr)
        if leash.started is not None:
            leash.started(child.pid)
        return _Watch(child, selector, time.monotonic() + seconds, leash).until_ended()


def _pipe(stack: ExitStack) -> tuple[FileIO, FileIO]:
    """The two ends of a pipe; closing one twice does no harm to whoever has its number by then."""
    reading, writing = os.pipe()
    return stack.enter_context(FileIO(reading, "r")), stack.enter_context(FileIO(writing, "w"))


class _Watch:
    """The loop over one child: reads its output, minds the deadline, climbs down the ladder."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        selector: selectors.BaseSelector,
        deadline: float,
        leash: Leash,
    ) -> None:
        self._child = child
        self._selector = selector
        self._deadline = deadline
        self._leash = leash
        self._stopped: Stopped | None = None
        self._rungs = self._ladder()
        self._next_rung = 0.0
        self._hurried = False

    def until_ended(self) -> Ended:
        while not _has_ended(self._child.pid):
            self._read(_TICK)
            self._mind()
            if self._stopped and time.monotonic() >= self._next_rung and not self._climb_down():
                return Ended(returncode=None, stopped=self._stopped)
        self._read_rest()
        return Ended(returncode=_bury(self._child, _TICK), stopped=self._stopped)

    def _read(self, wait: float) -> None:
        if not self._selector.get_map():
            time.sleep(_ABOUT_TO_END)
            return
        for key, _ in self._selector.select(wait):
            self._take(key)

    def _take(self, key: selectors.SelectorKey) -> None:
        chunk = os.read(key.fd, _CHUNK)
        if not chunk:
            self._selector.unregister(key.fileobj)
        elif self._stopped is not Stopped.TOO_MUCH and not key.data.feed(chunk):
            self._stopped = Stopped.TOO_MUCH

    def _read_rest(self) -> None:
        give_up = time.monotonic() + _ORPHANED_OUTPUT
        while self._selector.get_map() and time.monotonic() < give_up:
            self._read(_TICK)

    def _mind(self) -> None:
        if self._stopped is None and self._leash.stop.is_set():
            self._stopped = Stopped.REQUEST
        elif self._stopped is None and time.monotonic() >= self._deadline:
            self._stopped = Stopped.DEADLINE
        in_haste = self._stopped is Stopped.TOO_MUCH or (self._stopped and self._leash.hurry.is_set())
        if in_haste and not self._hurried:
            self._hurried = True
            self._rungs = self._last_rung()
            self._next_rung = 0.0

    def _climb_down(self) -> bool:
        """Takes the next rung; False below the last one."""
        wait = next(self._rungs, None)
        if wait is not None:
            self._next_rung = time.monotonic() + wait
        return wait is not None

    def _ladder(self) -> Iterator[float]:
        self._interrupt()
        yield self._leash.ladder.first
        self._interrupt()
        yield self._leash.ladder.second
        yield from self._last_rung()

    def _last_rung(self) -> Iterator[float]:
        _kill_group(self._child.pid)
        yield self._leash.ladder.reap

    def _interrupt(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._child.pid, signal.SIGINT)


def _has_ended(pid: int) -> bool:
    """Whether it has ended. It stays a zombie, so that its number names its group until that is gone."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _bury(child: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Kills what is left of the session, then reaps its leader: till then the number is still its own."""
    if child.returncode is None:
        _kill_group(child.pid)
        with suppress(subprocess.TimeoutExpired):
            child.wait(seconds)
    return child.returncode
