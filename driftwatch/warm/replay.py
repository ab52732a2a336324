"""Asks again what a recorded plan asked its providers, and says whether anything is different.

    lease a process per configuration → configure it → all reads at once, bounded → compare

It never says that something *is* drift: "differs" means that a plan must say what it means, and "failed" that
nothing is known. "Same" is said only when every read was answered, without an error, and with the same.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

import grpc

from driftwatch.errors import ProviderLostError, ProviderRefusedError, WarmError
from driftwatch.log import redact
from driftwatch.warm import wire
from driftwatch.warm.location import is_stateless
from driftwatch.warm.recording import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from driftwatch.warm.pool import Pool
    from driftwatch.warm.process import ProviderProcess
    from driftwatch.warm.recording import Conversation, Read, Recording

_T = TypeVar("_T")

_ATTEMPTS = 4
_FIRST_PAUSE = 0.5
"""Seconds before the second attempt at a read; doubled for each one after that."""

_TICK = 0.2
_THROTTLED = re.compile(
    r"throttl|too ?many ?requests|rate ?(?:limit|exceeded)|slow ?down|requestlimit|quota ?exceeded|\b429\b",
    re.IGNORECASE,
)
_EXPIRED = re.compile(
    r"expired ?token|token[^.]{0,40}expired|credentials? (?:have|has|are) expired", re.IGNORECASE
)
_LOST = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DATA_LOSS,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)


class Answer(StrEnum):
    """What a replay says."""

    SAME = "same"
    DIFFERS = "differs"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A replay's end. `types` counts what differs by resource type; there are no values and no addresses.

    `reason` is a machine's word for why it failed, `message` a sentence, redacted.
    """

    answer: Answer
    reads: int
    seconds: float
    types: dict[str, int] = field(default_factory=dict)
    reason: str | None = None
    message: str | None = None
    providers: tuple[str, ...] = ()
    """The providers that were asked, by source address."""
    throttled: frozenset[str] = frozenset()
    """The scopes in which the cloud asked to slow down, even where another attempt then worked."""
    expired: bool = False
    """Whether a provider said that its credentials have expired."""


class _Stopped(Exception):  # noqa: N818  (no error: somebody said so)
    """By the stop event, the deadline, or another read's failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Deadline:
    stop: threading.Event
    given_up: threading.Event
    ends: float
    throttled: set[str] = field(default_factory=set)

    def left(self) -> float:
        """Seconds; raises where there are none."""
        if self.given_up.is_set() or self.passed:
            raise _Stopped
        return self.ends - time.monotonic()

    @property
    def passed(self) -> str | None:
        """Why nothing may be waited for any more, if that is so; it may be the reason of other failures."""
        if self.stop.is_set():
            return "interrupted"
        return "timeout" if time.monotonic() >= self.ends else None

    def pause(self, seconds: float) -> None:
        ends = time.monotonic() + min(seconds, self.left())
        while (rest := ends - time.monotonic()) > 0:
            self.given_up.wait(min(rest, _TICK))
            self.left()


def replay(
    recording: Recording, pool: Pool, *, seconds: float, parallelism: int, stop: threading.Event
) -> Outcome:
    """Replays `recording` within `seconds`, with at most `parallelism` reads at once. Raises nothing.

    The caller has made sure that nothing else has moved: see `driftwatch.warm.conditions`.
    """
    started = time.monotonic()
    deadline = _Deadline(stop=stop, given_up=threading.Event(), ends=started + seconds)
    answer, reason, message = Answer.FAILED, None, None
    types: dict[str, int] = {}
    try:
        types = _replay(recording, pool, deadline, parallelism)
        answer = Answer.DIFFERS if types else Answer.SAME
    except (WarmError, wire.MalformedMessageError, _Stopped) as problem:
        reason = deadline.passed or _code(problem)
        message = problem.message if isinstance(problem, WarmError) else None
    return Outcome(
        answer=answer,
        reads=recording.reads,
        seconds=time.monotonic() - started,
        types=types,
        reason=reason,
        message=message,
        providers=tuple(dict.fromkeys(each.key.package.address for each in recording.conversations)),
        throttled=frozenset(deadline.throttled),
        expired=bool(message and _EXPIRED.search(message)),
    )


def _replay(recording: Recording, pool: Pool, deadline: _Deadline, parallelism: int) -> dict[str, int]:
    """What differs, by type; empty where all is the same."""
    if recording.version != VERSION or recording.unusable:
        raise ProviderRefusedError("this recording is none that can be replayed")
    deadline.left()
    with ExitStack() as stack:
        workers = max(1, min(parallelism, recording.reads + len(recording.conversations)))
        executor = stack.enter_context(ThreadPoolExecutor(workers, thread_name_prefix="replay"))
        leases = [
            stack.enter_context(_lease(pool, conversation, deadline))
            for conversation in recording.conversations
        ]
        stack.callback(deadline.given_up.set)
        ready = [
            executor.submit(_configure, process, conversation, deadline)
            for process, conversation in zip(leases, recording.conversations, strict=True)
        ]
        _all(ready, deadline)
        reads = [
            executor.submit(_compare, process, conversation, read, deadline)
            for process, conversation in zip(leases, recording.conversations, strict=True)
            for read in conversation.reads
        ]
        return dict(Counter(name for name in _all(reads, deadline) if name))


def _code(problem: Exception) -> str:
    if isinstance(problem, WarmError):
        return problem.code
    return "cancelled" if isinstance(problem, _Stopped) else "malformed"


@contextmanager
def _lease(pool: Pool, conversation: Conversation, deadline: _Deadline) -> Iterator[ProviderProcess]:
    """A process for one conversation; not used again where anything may be left under way in it."""
    process = pool.take(
        conversation.key,
        conversation.environment,
        configured=conversation.configure,
        seconds=deadline.left(),
        stop=deadline.stop,
    )
    try:
        yield process
    except BaseException:
        process.spoil("replay_failed")
        raise
    finally:
        pool.give_back(process)


def _all(futures: Sequence[Future[_T]], deadline: _Deadline) -> list[_T]:
    """The results of all; the first that fails ends the others."""
    pending = set(futures)
    results: list[_T] = []
    try:
        while pending:
            done, pending = wait(pending, timeout=min(_TICK, deadline.left()), return_when=FIRST_COMPLETED)
            results += [each.result() for each in done]
    except BaseException:
        deadline.given_up.set()
        for each in pending:
            each.cancel()
        raise
    return results


def _configure(process: ProviderProcess, conversation: Conversation, deadline: _Deadline) -> None:
    """Configures it, also when it was before: that ends what a provider remembers, and it may remember.

    Of those that do not, one that is configured so stays as it is: its clients are half of what a read costs.
    """
    if process.configured == conversation.configure and is_stateless(process.package.address):
        return
    process.configured = conversation.configure
    response = _call(process, conversation.configure_method, conversation.configure, deadline)
    if errors := wire.errors(response, wire.CONFIGURE_DIAGNOSTICS):
        process.spoil("not_configured")
        raise _refused(conversation, "be configured", errors)


def _compare(
    process: ProviderProcess, conversation: Conversation, read: Read, deadline: _Deadline
) -> str | None:
    """Reads again: the type's name where the answer differs, None where it is the same.

    An error is asked about again, more slowly each time, as a cloud that throttles wants it.
    """
    pause, diagnostics = _FIRST_PAUSE, wire.DIAGNOSTICS[wire.name_of(read.method)]
    for attempt in range(_ATTEMPTS):
        response = _call(process, read.method, read.request, deadline)
        if response == read.response:
            return None
        errors = wire.errors(response, diagnostics)
        if not errors:
            same = wire.canonical(response, diagnostics) == wire.canonical(read.response, diagnostics)
            return None if same else read.type_name or "?"
        if any(map(_THROTTLED.search, errors)):
            deadline.throttled.add(conversation.scope)
        if attempt + 1 < _ATTEMPTS:
            deadline.pause(pause)
            pause *= 2
    raise _refused(conversation, f"read {read.type_name}", errors)


def _refused(conversation: Conversation, what: str, errors: tuple[str, ...]) -> ProviderRefusedError:
    return ProviderRefusedError(
        f"{conversation.key.package.address} cannot {what}: {redact(errors[0])[:300]}"
    )


def _call(process: ProviderProcess, method: str, request: bytes, deadline: _Deadline) -> bytes:
    """Raises ProviderLostError where there is no answer, ProviderRefusedError for an error of gRPC's."""
    try:
        call = process.call(method).future(request, timeout=deadline.left())
    except ValueError as problem:  # gRPC's, of a channel that somebody has closed
        raise ProviderLostError(f"{process.package.address} was ended") from problem
    try:
        while True:
            try:
                return call.result(timeout=min(_TICK, deadline.left()))
            except grpc.FutureTimeoutError:
                continue
    except _Stopped:
        call.cancel()
        process.spoil("cancelled")
        raise
    except grpc.FutureCancelledError as problem:
        raise _Stopped from problem
    except grpc.RpcError as problem:
        process.spoil("lost")
        if problem.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            deadline.left()
        kind = ProviderLostError if problem.code() in _LOST else ProviderRefusedError
        raise kind(
            f"{process.package.address} did not answer:"
            f" {redact(problem.details() or problem.code().name)[:300]}"
        ) from problem
