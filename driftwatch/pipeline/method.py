"""Method: how a check comes to its verdict, by the cheapest way that proves enough.

    remembered? → may it stand? → ask again → the recorded verdict stands ───────────┬→ seen
        └ no ─────────┴ no ──────────┴ differs → plan through warm providers → prove ┘
                                                   └ fails → plan without them

A replay says that nothing moved, and no more; all else is for a plan to say, and the trail's reason says why
one ran. Whatever goes wrong in the warm way ends in the plain plan, so that nothing here makes a verdict.
"""

from __future__ import annotations

import random
import time
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from driftwatch import log, metrics
from driftwatch.drift import Reading, read_plan
from driftwatch.errors import (
    BackendRefusedError,
    CloudThrottledError,
    CloudUnreachableError,
    CredentialsExpiredError,
    CredentialsMissingError,
    DiskFullError,
    DriftwatchError,
    EngineError,
    EngineInterruptedError,
    EngineTimeoutError,
    PoolFullError,
    PoolUnavailableError,
    ReplayImpossibleError,
    StateLockedError,
    StateUnreadableError,
    VariableMissingError,
    WarmError,
    WorkspaceMissingError,
)
from driftwatch.model import Approach, Inputs, Method
from driftwatch.pipeline.facts import FactFinder
from driftwatch.warm.conditions import Refusal, Remembered, is_provable, refuse
from driftwatch.warm.replay import Answer

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime

    from driftwatch.config.settings import WarmSettings
    from driftwatch.drift import Digester
    from driftwatch.model import Engine, Finding
    from driftwatch.pipeline.ports import Planner, StoredStates
    from driftwatch.terraform import Place, Planned, PlanRequest
    from driftwatch.warm.conditions import Facts
    from driftwatch.warm.gateway import Fault
    from driftwatch.warm.house import House
    from driftwatch.warm.packages import Package, Selection
    from driftwatch.warm.recording import Recording
    from driftwatch.warm.replay import Outcome

NO_RECORDING = Refusal.NO_RECORDING.value
FORCED = "forced"
DISABLED = "warm_disabled"
UNAVAILABLE = "warm_unavailable"
FALLBACK = "warm_failed"
SUSPECT = "warm_timed_out"
READS_SAME = "reads_same"
READS_DIFFER = "reads_differ"
SHADOW = "shadow"

CROWDED_FOR = timedelta(hours=1)
"""How long a stack that found the pool too small is planned without it."""

STRIKES_WITHIN = timedelta(days=1)

_NO_PROVIDERS = (
    BackendRefusedError,
    CloudThrottledError,
    CloudUnreachableError,
    CredentialsExpiredError,
    CredentialsMissingError,
    DiskFullError,
    StateLockedError,
    StateUnreadableError,
    VariableMissingError,
    WorkspaceMissingError,
)
"""What a plan fails with for somebody else's sake: without a gateway it would fail again."""

_OF_THE_MACHINE = (PoolFullError, PoolUnavailableError, OSError, MemoryError, RuntimeError)
"""What passes, and says nothing of a provider. RuntimeError: no thread can be started."""

_NO_CODE = Path("checkout")
"""Stands for a checkout where none is needed: a replay reads no code."""

logger = log.get("check")


@dataclass(slots=True, kw_only=True)
class Trail:
    """By which method, and why by that; known also of an examination that fails."""

    method: Method = Method.PLAN
    reason: str = NO_RECORDING


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What the next replay of a stack costs, for whoever says when it is: reads by opaque scopes."""

    replayable: bool = False
    reads: Mapping[str, int] = field(default_factory=dict)
    throttled: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What an examination came to."""

    engine: Engine
    reading: Reading
    disagreement: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One stack at one commit, to be examined.

    `inputs` are its commit and tree. `checkout` is entered for as long as code is needed, and `request` makes
    of it what is to be planned.
    """

    stack: str
    inputs: Inputs
    baseline: Inputs | None
    request: Callable[[Path], PlanRequest]
    checkout: Callable[[], AbstractContextManager[Path]]
    stop: threading.Event
    approach: Approach = Approach.AUTO
    trail: Trail = field(default_factory=Trail)
    progress: Callable[[str], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refused:
    """Why there was no replay. `types` are all that the plan can ask about, where the code is the same."""

    reason: str
    types: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """A plan through warm providers that came to its end."""

    request: PlanRequest
    planned: Planned
    seen: Seen
    seconds: float


@dataclass(slots=True, kw_only=True)
class _Attachment:
    """The gateway of one plan, and what came of it."""

    house: House
    stop: threading.Event
    parallelism: int
    types: frozenset[str] | None
    is_used: bool = False
    environment: str | None = None
    selection: Selection | None = None
    recording: Recording | None = None
    seen: frozenset[str] = frozenset()
    faults: tuple[Fault, ...] = ()

    @contextmanager
    def attach(self, place: Place) -> Iterator[Mapping[str, str]]:
        """For `Planner.plan`. Raises WarmError where there can be no gateway."""
        self.selection = self.house.selected(place.data, place.lock_file)
        gateway = self.house.gateway(
            self.selection,
            environment=place.environment,
            directory=place.directory,
            parallelism=self.parallelism,
            types=self.types,
            stop=self.stop,
        )
        try:
            with gateway:
                self.is_used, self.environment = True, gateway.environment
                yield {"TF_REATTACH_PROVIDERS": gateway.reattach()}
                self.recording, self.seen = gateway.recording(), gateway.types
        finally:
            self.faults = gateway.faults

    @property
    def suspects(self) -> tuple[Package, ...]:
        """The providers that a failure may come from: those with a fault, or else all."""
        packages = self.selection.packages if self.selection else {}
        named = {fault.provider for fault in self.faults}
        return tuple(each for address, each in packages.items() if not named or address in named)


class Examiner:
    """Examines stacks. Safe to use from many threads, for different stacks."""

    def __init__(
        self,
        planner: Planner,
        house: House | None,
        settings: WarmSettings,
        *,
        digest: Digester,
        stored_states: StoredStates | None = None,
        parallelism: int = 10,
        clock: Callable[[], datetime],
    ) -> None:
        """Without a `house`, or with it switched off, every examination is a plain plan."""
        house = house if settings.enabled else None
        self._planner = planner
        self._house = house
        self._settings = settings
        self._digest = digest
        self._parallelism = parallelism
        self._clock = clock
        self._facts = FactFinder(planner, house, stored_states) if house else None
        self._replays: dict[str, int] = {}
        self._timed_out: set[str] = set()
        self._crowded: dict[str, datetime] = {}
        self._struck: dict[str, datetime] = {}
        self._paces: dict[str, Pace] = {}

    def pace(self, stack: str) -> Pace:
        """What the latest examination of `stack` showed of the next one's cost."""
        return self._paces.get(stack, Pace())

    def examine(self, question: Question) -> Seen:
        """Raises what a plan does, and ReplayImpossibleError where only a replay would do."""
        house, approach = self._house, question.approach
        if approach is Approach.PLAIN:
            return self._plain_for_a_person(question)
        if house is None:
            if approach is Approach.REPLAY:
                raise _impossible(question, DISABLED)
            return self._plain(question, DISABLED)
        if approach is Approach.PLAN:
            return self._plan(house, question, _Refused(reason=FORCED))
        return self._cheapest(house, question)

    def _cheapest(self, house: House, question: Question) -> Seen:
        approach = question.approach
        if approach is Approach.AUTO and question.stack in self._timed_out:
            return self._plan_after_timeout(house, question)
        if approach is Approach.AUTO and self._is_crowded(question.stack):
            return self._plain(question, UNAVAILABLE)
        replayed = self._replay(house, question)
        if isinstance(replayed, Seen):
            return replayed
        metrics.REPLAY_REFUSALS.labels(replayed.reason).inc()
        if approach is Approach.REPLAY:
            raise _impossible(question, replayed.reason)
        return self._plan(house, question, replayed)

    def examine_once(self, question: Question) -> Seen:
        """The same for a stack that nothing is remembered of, and will be: a replay follows its own plan."""
        house = self._house
        if house is None or question.approach in (Approach.AUTO, Approach.PLAIN):
            return self._plain(
                question, FORCED if question.approach is Approach.PLAIN else Refusal.NO_RECORDING
            )
        seen = self._plan(house, question, _Refused(reason=FORCED))
        if question.approach is Approach.REPLAY:
            if not self.pace(question.stack).replayable:
                raise _impossible(question, self._why_not(house, question.stack))
            question.trail.method, question.trail.reason = Method.REPLAY, READS_SAME
        return seen

    def _plain(self, question: Question, reason: str) -> Seen:
        question.trail.method, question.trail.reason = Method.PLAN, reason
        with question.checkout() as checkout:
            planned = self._planner.plan(question.request(checkout), question.stop, question.progress)
            return self._seen(question, planned)

    def _plain_for_a_person(self, question: Question) -> Seen:
        """A recording that says otherwise is not to be repeated after that."""
        seen = self._plain(question, FORCED)
        known = self._house.shelf.peek(question.stack) if self._house else None
        if self._house and not (known and _agree(seen, replace(seen, reading=_reading_of(known)))):
            self._house.shelf.forget(question.stack)
        return seen

    def _is_crowded(self, stack: str) -> bool:
        """Whether a plan of this stack lately had more configurations than there is room for processes."""
        since = self._crowded.get(stack)
        return since is not None and self._clock() - since < CROWDED_FOR

    def _seen(self, question: Question, planned: Planned) -> Seen:
        inputs = replace(
            question.inputs,
            lock_file=planned.lock_file,
            engine=planned.engine,
            state_lineage=planned.state_lineage,
            state_serial=planned.state_serial,
        )
        reading = read_plan(planned.document, digest=self._digest, inputs=inputs, baseline=question.baseline)
        return Seen(engine=planned.engine, reading=reading)

    # A replay, and whether it may be one.

    def _replay(self, house: House, question: Question) -> Seen | _Refused:
        request = question.request(_NO_CODE)
        try:
            place = self._planner.standing(request)
            if place is None:
                return _Refused(reason=NO_RECORDING)
            known = house.remembered(question.stack, place.environment, place.directory)
            if not isinstance(known, Remembered):
                return _Refused(reason=known or NO_RECORDING)
            reason = self._refusal(question, request, place, known)
            if reason is not None:
                return reason
            outcome = self._ask(house, question, known)
        except EngineInterruptedError:
            raise
        except (DriftwatchError, OSError, RuntimeError, MemoryError) as problem:
            return _unavailable(problem)
        self._note(question.stack, known.recording, outcome)
        if outcome.answer is not Answer.SAME:
            return _Refused(reason=_reason_of(outcome), types=known.types)
        return self._stands(house, question, known, outcome)

    def _refusal(
        self, question: Question, request: PlanRequest, place: Place, known: Remembered
    ) -> _Refused | None:
        """Why `known` may not stand: first what costs nothing to know, then the states."""
        assert self._facts is not None  # noqa: S101  (there is a house)
        present = self._facts.present(request, question.inputs, place, known)
        refusal = self._refuse(known, present)
        if refusal is None:
            present = self._facts.with_states(present, request, place, known, question.stop)
            refusal = self._refuse(known, present)
        if refusal is None:
            return None
        return _Refused(reason=refusal, types=known.types if _is_same_code(known.facts, present) else None)

    def _refuse(self, known: Remembered, present: Facts) -> Refusal | None:
        return refuse(known, present, now=self._clock(), full_plan_every=self._settings.full_plan_every)

    def _ask(self, house: House, question: Question, known: Remembered) -> Outcome:
        """Replays. What reads files may follow links from its directory into the checkout."""
        with question.checkout() if known.recording.is_bound else nullcontext():
            outcome = house.replay(
                known.recording,
                seconds=self._settings.replay_timeout.total_seconds(),
                parallelism=self._parallelism,
                stop=question.stop,
            )
        metrics.REPLAYS.labels(outcome.answer).inc()
        if question.stop.is_set():
            raise EngineInterruptedError("stopped before the replay could say anything")
        if outcome.answer is Answer.FAILED:
            logger.info(
                f"A replay failed ({outcome.reason}): {outcome.message or 'no more is known'}.",
                action="replay",
                stack=question.stack,
            )
        return outcome

    def _stands(
        self, house: House, question: Question, known: Remembered, outcome: Outcome
    ) -> Seen | _Refused:
        """The recorded verdict, and now and then what a plain plan says to it."""
        try:
            reading = _reading_of(known)
        except ValidationError:
            return _Refused(reason=Refusal.RECORDING_VERSION)
        assert known.engine is not None  # noqa: S101  (it was put down with the reading)
        inputs = replace(reading.inputs, commit=question.inputs.commit, tree=question.inputs.tree)
        seen = Seen(engine=known.engine, reading=replace(reading, inputs=inputs))
        if self._is_shadowed(question):
            return self._compare(house, question, known, seen)
        question.trail.method, question.trail.reason = Method.REPLAY, READS_SAME
        metrics.SECONDS_SAVED.inc(max(known.plan_seconds - outcome.seconds, 0.0))
        return seen

    # The shadow.

    def _is_shadowed(self, question: Question) -> bool:
        """Every so many replays of a stack; where it begins to count is left to chance.

        So a fleet is not planned at once, and a daemon that is started often does not always begin anew.
        """
        every = self._settings.shadow_every
        if every == 0 or question.approach is Approach.REPLAY:
            return False
        count = self._replays.get(question.stack, random.randrange(every)) + 1  # noqa: S311  (no secret)
        self._replays[question.stack] = count
        return count % every == 0

    def _compare(self, house: House, question: Question, known: Remembered, replayed: Seen) -> Seen:
        """The plain plan's word counts.

        Where it says otherwise the cloud may have moved since the replay: that is so if a replay now says so
        too, or if another plan agrees with the first replay.
        """
        try:
            plain = self._plain(question, SHADOW)
        except EngineInterruptedError:
            raise
        except (DriftwatchError, OSError) as problem:
            logger.warning(
                f"A replay could not be compared with a plan: {log.redact(str(problem))}.", action="shadow"
            )
            question.trail.method, question.trail.reason = Method.REPLAY, READS_SAME
            return replayed
        metrics.SHADOWS.inc()
        if _agree(plain, replayed) or not self._still_same(house, question):
            return plain
        again = self._plain(question, SHADOW)
        if _agree(again, replayed):
            return again
        return replace(again, disagreement=self._disagreement(house, question, known, replayed, again))

    def _still_same(self, house: House, question: Question) -> bool:
        """Whether the recording still may stand, and all that it holds is still answered the same."""
        request = question.request(_NO_CODE)
        try:
            place = self._planner.standing(request)
            known = house.remembered(question.stack, place.environment, place.directory) if place else None
            if place is None or not isinstance(known, Remembered):
                return False
            if self._refusal(question, request, place, known) is not None:
                return False  # an apply, say: the state is another one
            return self._ask(house, question, known).answer is Answer.SAME
        except EngineInterruptedError:
            raise
        except (DriftwatchError, OSError, RuntimeError, MemoryError):
            return False

    def _disagreement(
        self, house: House, question: Question, known: Remembered, replayed: Seen, plain: Seen
    ) -> str:
        """Takes the providers of what differs out of warm service, and says so."""
        differing = {each.type for each in _difference(replayed, plain)}
        blamed = {
            each.key.package
            for each in known.recording.conversations
            if any(read.type_name in differing for read in each.reads)
        } or {each.key.package for each in known.recording.conversations}
        names = ", ".join(sorted(f"{each.address} {each.version}" for each in blamed))
        for each in blamed:
            metrics.REPLAY_DISAGREEMENTS.labels(each.address).inc()
        house.isolate(blamed, "a replay said that nothing had moved, and a plain plan saw otherwise")
        house.shelf.forget(question.stack)
        sentence = (
            f"A replay said that nothing had moved in {question.stack}, and a plain plan right after it found"
            f" {plain.reading.verdict}: {names} is out of warm service until its next release, or ours."
        )
        logger.error(sentence, action="shadow", stack=question.stack)
        return sentence

    # A plan through warm providers, and without.

    def _plan(self, house: House, question: Question, refused: _Refused) -> Seen:
        question.trail.method, question.trail.reason = Method.PLAN, refused.reason
        attachment = _Attachment(
            house=house, stop=question.stop, parallelism=self._parallelism, types=refused.types
        )
        started = time.monotonic()
        with question.checkout() as checkout:
            request = question.request(checkout)
            try:
                planned = self._planner.plan(
                    request, question.stop, question.progress, attach=attachment.attach
                )
            except EngineInterruptedError:
                raise
            except (DriftwatchError, OSError, MemoryError, RuntimeError) as problem:
                if not self._may_be_the_gateway(question, attachment, problem):
                    raise
                return self._plan_without(house, question, request, attachment, problem)
            seen = self._seen(question, planned)
            done = _Done(request=request, planned=planned, seen=seen, seconds=time.monotonic() - started)
            try:
                self._remember(house, question, attachment, done)
            except EngineInterruptedError:
                raise
            except (DriftwatchError, OSError, MemoryError, RuntimeError) as problem:
                house.shelf.forget(question.stack)
                logger.warning(
                    f"What a plan read cannot be kept for a replay: {log.redact(str(problem))}.",
                    action="record",
                    stack=question.stack,
                )
            return seen

    def _may_be_the_gateway(self, question: Question, attachment: _Attachment, problem: Exception) -> bool:
        """Whether a plan that failed with `problem` may work without."""
        if isinstance(problem, EngineError) and not attachment.is_used:
            return False  # before any provider was needed
        if attachment.faults or isinstance(problem, WarmError):
            return True
        if isinstance(problem, EngineTimeoutError):
            self._timed_out.add(question.stack)  # not now: it has had all its time
            return False
        if isinstance(problem, _NO_PROVIDERS):
            if isinstance(problem, CredentialsExpiredError) and attachment.environment:
                attachment.house.retire_environments({attachment.environment})
            if isinstance(problem, CloudThrottledError):
                known = self.pace(question.stack)
                self._paces[question.stack] = replace(known, throttled=frozenset(known.reads))
            return False
        return isinstance(problem, EngineError) or not attachment.is_used

    def _plan_without(
        self,
        house: House,
        question: Question,
        request: PlanRequest,
        attachment: _Attachment,
        problem: Exception,
    ) -> Seen:
        """The plain plan; where that works, what failed was ours or the provider's."""
        said = "; ".join(f"{each.code}: {each.message}" for each in attachment.faults) or str(problem)
        planned = self._planner.plan(request, question.stop, question.progress)
        passes = isinstance(problem, _OF_THE_MACHINE) or any(each.passes for each in attachment.faults)
        question.trail.reason = UNAVAILABLE if passes else FALLBACK
        if any(each.code == PoolFullError.code for each in attachment.faults):
            self._crowded[question.stack] = self._clock()
        logger.warning(
            f"A plan failed through warm providers and works without them: {log.redact(said)[:500]}",
            action="fall_back",
            stack=question.stack,
        )
        metrics.FALLBACKS.inc()
        house.shelf.forget(question.stack)
        if not passes and (attachment.faults or attachment.types is None):
            certain = bool(attachment.faults) or isinstance(problem, WarmError)
            blamed = [each for each in attachment.suspects if certain or self._again(each)]
            house.isolate(blamed, "a plan failed through it and worked without")
        return self._seen(question, planned)

    def _again(self, package: Package) -> bool:
        """Whether it is not the first time in a while: networks fail, too, and say so through a provider."""
        now, before = self._clock(), self._struck.get(package.digest)
        self._struck[package.digest] = now
        return before is not None and now - before < STRIKES_WITHIN

    def _plan_after_timeout(self, house: House, question: Question) -> Seen:
        """The last plan through the gateway had no end; if this one has, it was the gateway."""
        seen = self._plain(question, SUSPECT)
        self._timed_out.discard(question.stack)
        with suppress(DriftwatchError, OSError):  # the plan is good, whoever is to blame
            place = self._planner.standing(question.request(_NO_CODE))
            if place is not None:
                selection = house.selected(place.data, place.lock_file)
                house.isolate(
                    selection.packages.values(), "a plan had no end through it, and had one without"
                )
        return seen

    def _remember(self, house: House, question: Question, attachment: _Attachment, done: _Done) -> None:
        """Puts down what was recorded, with whether a replay right now gives the same."""
        recording, selection, place = attachment.recording, attachment.selection, done.planned.place
        if recording is None or selection is None or place is None:
            return
        assert self._facts is not None  # noqa: S101  (there is a house)
        facts, read = self._facts.planned(
            done.request, question.inputs, done.planned, (selection, recording), question.stop
        )
        remembered = Remembered(
            facts=facts,
            recording=recording,
            planned_at=self._clock(),
            proved=False,
            reading=to_json(done.seen.reading),
            engine=done.seen.engine,
            binary=str(place.binary),
            upstreams=read,
            types=attachment.seen,
            plan_seconds=done.seconds,
        )
        throttled: frozenset[str] = frozenset()
        if is_provable(remembered):
            outcome = self._ask(house, question, remembered)
            remembered = replace(remembered, proved=outcome.answer is Answer.SAME)
            throttled = outcome.throttled
        self._paces[question.stack] = Pace(
            replayable=remembered.proved, reads=recording.scopes, throttled=throttled
        )
        house.shelf.put(question.stack, remembered)

    def _note(self, stack: str, recording: Recording, outcome: Outcome) -> None:
        self._paces[stack] = Pace(replayable=True, reads=recording.scopes, throttled=outcome.throttled)

    def _why_not(self, house: House, stack: str) -> str:
        known = house.shelf.peek(stack)
        refusal = self._refuse(known, known.facts) if known else None
        return refusal or Refusal.NOT_PROVED


def _impossible(question: Question, reason: str) -> ReplayImpossibleError:
    question.trail.method, question.trail.reason = Method.REPLAY, reason
    return ReplayImpossibleError(
        f"this stack cannot be replayed now: {reason}",
        advice="Leave out `--method replay`: a plan then says what there is.",
    )


def _unavailable(problem: Exception) -> _Refused:
    logger.warning(
        f"Warm providers cannot be used: {log.redact(str(problem) or type(problem).__name__)}.",
        action="replay",
    )
    return _Refused(reason=UNAVAILABLE)


def _reason_of(outcome: Outcome) -> str:
    if outcome.answer is Answer.DIFFERS:
        return READS_DIFFER
    if outcome.throttled:
        return "replay_throttled"
    return "replay_timed_out" if outcome.reason == "timeout" else "replay_failed"


def _is_same_code(before: Facts, now: Facts) -> bool:
    """Whether a plan can only ask about the same types as the one before."""
    return (before.files, before.variables, before.engine, before.environment, dict(before.providers)) == (
        now.files,
        now.variables,
        now.engine,
        now.environment,
        dict(now.providers),
    )


def _agree(one: Seen, other: Seen) -> bool:
    return one.reading.verdict == other.reading.verdict and not _difference(one, other)


def _difference(one: Seen, other: Seen) -> list[Finding]:
    """The findings that only one of them has, by content."""

    def by_content(seen: Seen) -> dict[tuple[str, str, bool], Finding]:
        return {(each.identity, each.fingerprint, each.counted): each for each in seen.reading.findings}

    first, second = by_content(one), by_content(other)
    return [each for key, each in {**first, **second}.items() if (key in first) != (key in second)]


def _reading_of(known: Remembered) -> Reading:
    """Raises ValidationError."""
    return _readings().validate_json(known.reading)


@cache
def _readings() -> TypeAdapter[Reading]:
    return TypeAdapter(Reading)
