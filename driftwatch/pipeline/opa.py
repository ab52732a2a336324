"""Own rules in Rego: asks the user's `opa` about the plan that is about to be applied.

    plan → stdin of `opa eval` → what it denies → held, or nothing said

Asked by the clerk once admission has said yes, under the state lock; it can hold, and never admit. Whatever
is not clearly allowed is held: a typo in the query, or a program that is not there, must not let everything
through. A plan holds secrets, so it goes to the program's stdin alone: never a file, an argument or a log.
What the program says comes from rules that read these secrets, and is told without them.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from driftwatch.config.durations import format_duration
from driftwatch.drift.redaction import scrub
from driftwatch.errors import UsageError
from driftwatch.pipeline.admissions import is_automatic
from driftwatch.policy.admission import Held

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from typing import IO

    from driftwatch.config.repair import OpaSettings
    from driftwatch.model import Proposal
    from driftwatch.pipeline.inventory import Subject
    from driftwatch.pipeline.rehearsal import Rehearsal

MOST_MESSAGES = 5
"""Of what is denied so many messages are told; who wants them all asks `opa`."""

LONGEST_MESSAGE = 300
"""Characters of one message, or of what the program says where it fails."""

LARGEST_ANSWER = 1 << 20
"""Bytes on stdout: an answer is a few messages. A query for all of `data` is none."""

_INHERITED = ("PATH", "HOME")
"""What the program may have of this process's environment: no credentials, and no OPA_* of anybody's."""

_COMPLAINTS = 1 << 16
"""Bytes of stderr that are kept, the last ones: rules may `print` a whole plan there."""

_CHUNK = 1 << 16
_ABOUT_TO_END = 0.005
"""Seconds between looks at a program that has closed its output."""

_REAP = 10.0
"""Seconds that a killed program has to be gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opa:
    """Own rules, asked through the program. `environment` is all that the program gets."""

    settings: OpaSettings
    environment: Mapping[str, str]

    @classmethod
    def of(cls, settings: OpaSettings, environment: Mapping[str, str]) -> Opa:
        """Raises UsageError where the rules are not there: every apply would be held over that."""
        if not settings.policy.exists():
            raise UsageError(
                f"repair.opa.policy: there is no file or directory {settings.policy}",
                advice="Put the rules there, name where they are, or set repair.opa to null.",
            )
        inherited = {name: environment[name] for name in _INHERITED if name in environment}
        return cls(settings=settings, environment=inherited)

    def __call__(self, proposal: Proposal, subject: Subject, rehearsal: Rehearsal) -> Held | None:
        """Why the rules hold this plan; None where they allow it."""
        about = {
            "stack": str(proposal.draft.stack),
            "kind": proposal.draft.kind.value,
            "automatic": is_automatic(proposal),
            "labels": dict(subject.options.labels),
            "commit": proposal.draft.commit,
        }
        return self.judge({**rehearsal.planned.document, "driftwatch": about}, rehearsal.plan.secrets)

    def judge(self, document: Mapping[str, Any], secrets: Collection[str]) -> Held | None:
        """The same of any document; `secrets` are the texts in it that must not be told."""
        try:
            ended = _run(
                self._argv(),
                given=json.dumps(document).encode(),
                environment=self.environment,
                seconds=self.settings.timeout.total_seconds(),
            )
        except OSError as problem:
            return _failed(f"`{self.settings.binary}` cannot be started: {problem.strerror}.")
        if ended.stopped is not None:
            return _failed(self._why_stopped(ended.stopped))
        answer = _read(ended.stdout)
        if ended.status != 0 or answer is None or answer.get("errors"):
            return _failed(f"it ended with status {ended.status}: {_complaint(ended, answer, secrets)}")
        return self._verdict(answer, secrets)

    def _argv(self) -> list[str]:
        """As `opa eval --help` has it; input that is read from stdin is never a file.

        Without `--strict-builtin-errors` a rule in which a function fails would say nothing, and so allow.
        """
        options = ("--format", "json", "--strict-builtin-errors", "--stdin-input")
        return [
            *(self.settings.binary, "eval", *options),
            *("--data", str(self.settings.policy), self.settings.query),
        ]

    def _why_stopped(self, stopped: _Stopped) -> str:
        if stopped is _Stopped.DEADLINE:
            return f"it did not end within {format_duration(self.settings.timeout)}."
        return "its answer is over 1 MiB: the query must ask for what is denied, and no more."

    def _verdict(self, answer: Mapping[str, Any], secrets: Collection[str]) -> Held | None:
        query = self.settings.query
        if not answer.get("result"):
            sentence = f"`{query}` is undefined: no rule of that name says anything about this plan."
            return Held(reason="opa_undefined", sentence=sentence)
        try:
            denials = [each for value in _values(answer["result"]) for each in _denials(value)]
        except _UnreadableError:
            return _failed(f"`{query}` is neither true or false, nor a list of messages.")
        if not denials:
            return None
        return Held(reason="opa_denied", sentence=_told(query, denials, secrets))


# ---- what it answers -------------------------------------------------------------------------------------


class _UnreadableError(Exception):
    """An answer that neither allows nor denies."""


def _read(stdout: bytes) -> dict[str, Any] | None:
    """The document on stdout, None where it is none."""
    try:
        answer = json.loads(stdout)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _values(result: Any) -> list[Any]:
    """The value of each expression, in each of the ways to satisfy the query; there is at least one."""
    try:
        values = [expression["value"] for row in result for expression in row["expressions"]]
    except (TypeError, KeyError, IndexError):
        raise _UnreadableError from None
    if not values:
        raise _UnreadableError
    return values


def _denials(value: Any) -> list[str]:
    """What one value denies, a message each, empty where it gives none; no item where it allows."""
    if value is True:
        return [""]
    if value is False:
        return []
    if isinstance(value, list):
        return [_message(item) for item in value]
    if isinstance(value, dict):
        return [_message(value)] if value else []
    if isinstance(value, str) and value:
        return [value]
    raise _UnreadableError


def _message(item: Any) -> str:
    said = item.get("msg") if isinstance(item, dict) else item
    return said if isinstance(said, str) else ""


def _told(query: str, denials: Sequence[str], secrets: Collection[str]) -> str:
    """The first few messages, each once, and how many more there are."""
    messages = list(dict.fromkeys(filter(None, denials)))
    shown = [said for each in messages[:MOST_MESSAGES] if (said := _safe(each, secrets))]
    if not shown:
        return f"`{query}` denies it, without a message."
    if len(messages) > MOST_MESSAGES:
        shown.append(f"and {len(messages) - MOST_MESSAGES} more")
    return f"`{query}` denies it: {'; '.join(shown)}"


def _failed(why: str) -> Held:
    return Held(reason="opa_failed", sentence=f"The rules of `repair.opa` could not be evaluated: {why}")


def _complaint(ended: _Ended, answer: Mapping[str, Any] | None, secrets: Collection[str]) -> str:
    """What is wrong: `opa` says it on stdout, in JSON, or where it does not come that far on stderr."""
    errors = answer.get("errors") if answer else None
    first = errors[0] if isinstance(errors, list) and errors else None
    said = first.get("message") if isinstance(first, dict) else None
    text = said if isinstance(said, str) else ended.stderr
    return _safe(text, secrets) or "what it printed is no answer."


def _safe(text: str, secrets: Collection[str]) -> str:
    """On one line, without secrets, and only then bounded: half a secret would not be known as one."""
    line = " ".join(scrub(text, secrets).split())
    return line if len(line) <= LONGEST_MESSAGE else f"{line[: LONGEST_MESSAGE - 1]}…"


# ---- how it runs -----------------------------------------------------------------------------------------


class _Stopped(StrEnum):
    """Why the program did not end by itself."""

    DEADLINE = "deadline"
    TOO_MUCH = "too_much"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """How the program ended, and what it said; `stderr` may hold secrets."""

    status: int | None
    stopped: _Stopped | None
    stdout: bytes
    stderr: str


def _run(argv: Sequence[str], *, given: bytes, environment: Mapping[str, str], seconds: float) -> _Ended:
    """Runs `argv` with `given` on stdin, and returns when it and its group are gone. Raises OSError."""
    deadline = time.monotonic() + seconds
    child = subprocess.Popen(
        argv,
        cwd="/",
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
        umask=0o077,
    )
    talk = _Talk(child=child, unsaid=memoryview(given), deadline=deadline)
    try:
        stopped = talk.until_ended()
    finally:
        _end(child)
    return _Ended(status=child.returncode, stopped=stopped, stdout=bytes(talk.answer), stderr=talk.complaints)


@dataclass(slots=True, kw_only=True)
class _Talk:
    """The loop over one child: says the rest of the input, and hears its output."""

    child: subprocess.Popen[bytes]
    unsaid: memoryview
    deadline: float
    answer: bytearray = field(default_factory=bytearray)
    _heard: deque[bytes] = field(default_factory=deque)

    @property
    def complaints(self) -> str:
        return b"".join(self._heard)[-_COMPLAINTS:].decode(errors="replace")

    def until_ended(self) -> _Stopped | None:
        """Why it has to be stopped, None where it has ended; it is not reaped yet."""
        with selectors.DefaultSelector() as selector:
            self._open(selector)
            while not (self._is_silent(selector) and _has_ended(self.child.pid)):
                if len(self.answer) > LARGEST_ANSWER:
                    return _Stopped.TOO_MUCH
                left = self.deadline - time.monotonic()
                if left <= 0:
                    return _Stopped.DEADLINE
                self._turn(selector, left)
        return None

    def _open(self, selector: selectors.BaseSelector) -> None:
        child = self.child
        assert child.stdin is not None  # noqa: S101  (for mypy: all three are pipes)
        assert child.stdout is not None  # noqa: S101
        assert child.stderr is not None  # noqa: S101
        os.set_blocking(child.stdin.fileno(), False)
        selector.register(child.stdin, selectors.EVENT_WRITE, self._say)
        selector.register(child.stdout, selectors.EVENT_READ, self._hear_answer)
        selector.register(child.stderr, selectors.EVENT_READ, self._hear_complaint)

    def _is_silent(self, selector: selectors.BaseSelector) -> bool:
        return not any(key.events & selectors.EVENT_READ for key in selector.get_map().values())

    def _turn(self, selector: selectors.BaseSelector, left: float) -> None:
        if self._is_silent(selector):
            time.sleep(_ABOUT_TO_END)
            return
        for key, _ in selector.select(left):
            pipe: IO[bytes] = key.fileobj  # type: ignore[assignment]  # as registered
            if not key.data(pipe.fileno()):
                selector.unregister(pipe)
                pipe.close()

    def _say(self, descriptor: int) -> bool:
        """Says some more of the input; False where all is said, or the program listens no more."""
        try:
            written = os.write(descriptor, self.unsaid[:_CHUNK])
        except BlockingIOError:
            return True
        except BrokenPipeError:
            return False
        self.unsaid = self.unsaid[written:]
        return bool(self.unsaid)

    def _hear_answer(self, descriptor: int) -> bool:
        chunk = os.read(descriptor, _CHUNK)
        self.answer += chunk
        return bool(chunk)

    def _hear_complaint(self, descriptor: int) -> bool:
        chunk = os.read(descriptor, _CHUNK)
        self._heard.append(chunk)
        while sum(map(len, self._heard)) - len(self._heard[0]) >= _COMPLAINTS:
            self._heard.popleft()
        return bool(chunk)


def _has_ended(pid: int) -> bool:
    """Whether it has ended. It stays a zombie, so that its number names its group until that is gone."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kills what is left of its session, reaps it, and closes our ends of its pipes."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        child.wait(_REAP)
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()
