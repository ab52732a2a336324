"""Facts: all that a verdict is a function of beside the cloud, as they are now and as a plan found them.

Cheap ones come from what the last plan left behind and from the commit's listing; no code is read and nothing
is run. The state's identity is read where the backend lets one: a file, an object in S3, else `state pull`.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftwatch import log
from driftwatch.errors import DriftwatchError, EngineInterruptedError, StateUnreadableError
from driftwatch.terraform import sources
from driftwatch.warm.conditions import Facts, Refusal, examine, is_all_read, pending, unwatched, upstreams
from driftwatch.warm.state import Backend, StateIdentity, backend_of, identity_of, local_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from driftwatch.model import Inputs
    from driftwatch.pipeline.ports import Planner, StoredState, StoredStates
    from driftwatch.terraform import Place, Planned, PlanRequest
    from driftwatch.warm.conditions import Remembered, Upstream
    from driftwatch.warm.house import House
    from driftwatch.warm.packages import Selection
    from driftwatch.warm.recording import Recording

_LOCAL, _S3 = "local", "s3"
_MOST_STORED = 1000
"""Sources of stored states that are kept, each with a client of its own (half a megabyte)."""

logger = log.get("check")


@dataclass(slots=True)
class _Known:
    """What a stored state was when it was last looked at."""

    source: StoredState
    whose: str
    """The identity of the environment that it is read with."""
    etag: str | None = None
    identity: StateIdentity | None = None


class FactFinder:
    """Safe to use from many threads, for different stacks."""

    def __init__(self, planner: Planner, house: House, stored_states: StoredStates | None) -> None:
        self._planner = planner
        self._house = house
        self._stored_states = stored_states
        self._stored: dict[str, _Known] = {}
        self._lock = threading.Lock()

    def planned(
        self,
        request: PlanRequest,
        inputs: Inputs,
        planned: Planned,
        recorded: tuple[Selection, Recording],
        stop: threading.Event,
    ) -> tuple[Facts, tuple[Upstream, ...]]:
        """As a plan found them, and the states of others that it read.

        States are looked at after the plan. One that has moved meanwhile is not what the plan has read, and
        is not known then.
        """
        assert planned.place is not None  # noqa: S101  (a planner's plan has one)
        place, document, (selection, recording) = planned.place, planned.document, recorded
        facts = self._common(request, inputs, place, selection)
        blind = facts.blind | self._blind(document, place, selection, recording)
        read = upstreams(document) if Refusal.REMOTE_STATE in blind else ()
        state = None
        if planned.state_lineage is not None and planned.state_serial is not None:
            named = StateIdentity(lineage=planned.state_lineage, serial=planned.state_serial)
            there = self._state(request, place, planned.place.binary, stop)
            state = there if there is not None and there.is_named_as(named) else None
        return replace(
            facts,
            state=state,
            blind=blind,
            upstreams={each.address: self._as_read(each, place) for each in read or ()},
        ), read or ()

    @staticmethod
    def _blind(
        document: Mapping[str, Any], place: Place, selection: Selection, recording: Recording
    ) -> frozenset[Refusal]:
        found = sources(place)
        blind = examine(found.modules, templates=found.templates()) | pending(document)
        if found.leads_out:
            blind |= {Refusal.OUTSIDE_FILES}
        if unwatched(document, selection.packages):
            blind |= {Refusal.UNWATCHED_PROVIDER}
        if not (recording.unusable or is_all_read(document, recording)):
            blind |= {Refusal.UNREAD}
        return blind

    def present(self, request: PlanRequest, inputs: Inputs, place: Place, known: Remembered) -> Facts:
        """As they are now, but for states, of which what is known is taken over."""
        selection = self._house.selected(place.data, place.lock_file)
        facts = self._common(request, inputs, place, selection)
        return replace(
            facts,
            state=known.facts.state,
            blind=facts.blind | known.facts.blind,
            upstreams=known.facts.upstreams,
        )

    def with_states(
        self,
        facts: Facts,
        request: PlanRequest,
        place: Place,
        known: Remembered,
        stop: threading.Event,
    ) -> Facts:
        """The same with the states as they are now; one that cannot be read is not known."""
        return replace(
            facts,
            state=self._state(request, place, Path(known.binary) if known.binary else None, stop),
            upstreams={each.address: self._upstream(each, place) for each in known.upstreams},
        )

    def _common(self, request: PlanRequest, inputs: Inputs, place: Place, selection: Selection) -> Facts:
        pool = self._house.pool
        out = self._house.quarantine.affected(selection)
        return Facts(
            files=inputs.tree,
            commit=inputs.commit,
            variables=_variables(request),
            engine=place.engine,
            providers={address: each.digest for address, each in selection.packages.items()},
            environment=pool.identity(pool.environment(place.environment)),
            state=None,
            blind=frozenset({Refusal.QUARANTINED} if out else ()),
        )

    def _state(
        self, request: PlanRequest, place: Place, binary: Path | None, stop: threading.Event
    ) -> StateIdentity | None:
        try:
            backend = backend_of(place.data)
            try:
                return self._read(backend, place, place.workspace)
            except StateUnreadableError:
                if backend.type == _LOCAL or binary is None:
                    raise
            return identity_of(self._planner.pull_state(request, place, binary, stop), "the state")
        except EngineInterruptedError:
            raise
        except (DriftwatchError, OSError) as problem:
            logger.info(f"Which state there is, is not known: {log.redact(str(problem))}.", action="replay")
            return None

    def _upstream(self, upstream: Upstream, place: Place) -> StateIdentity | None:
        try:
            return self._read(_backend(upstream), place, upstream.workspace)
        except (DriftwatchError, OSError) as problem:
            _tell_unknown(upstream, problem)
            return None

    def _as_read(self, upstream: Upstream, place: Place) -> StateIdentity | None:
        """Of a state that a plan has just read, unless it is another one by now."""
        try:
            content = self._content(upstream, place)
            return identity_of(content, upstream.address) if upstream.is_read_from(content) else None
        except (DriftwatchError, OSError) as problem:
            _tell_unknown(upstream, problem)
            return None

    def _content(self, upstream: Upstream, place: Place) -> bytes:
        backend = _backend(upstream)
        if backend.type == _LOCAL:
            return local_state(backend, place.directory, upstream.workspace).read()
        if backend.type == _S3 and self._stored_states is not None:
            environment = self._house.pool.environment(place.environment)
            source = self._stored_states.s3(
                backend.config, upstream.workspace, environment, directory=place.directory
            )
            return source.read().content or b""
        raise StateUnreadableError(f"a state in the backend {backend.type} is terraform's to read")

    def _read(self, backend: Backend, place: Place, workspace: str) -> StateIdentity | None:
        """Raises StateUnreadableError where only terraform can read it."""
        if backend.type == _LOCAL:
            return local_state(backend, place.directory, workspace).identity()
        if backend.type == _S3 and self._stored_states is not None:
            return self._from_s3(self._stored_states, backend, place, workspace)
        raise StateUnreadableError(f"a state in the backend {backend.type} is terraform's to read")

    def _from_s3(
        self, stored_states: StoredStates, backend: Backend, place: Place, workspace: str
    ) -> StateIdentity | None:
        """Reads the object only where it is another than the last time."""
        environment = self._house.pool.environment(place.environment)
        what = [dict(backend.config), workspace, str(place.directory)]
        name = hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()
        whose = self._house.pool.identity(environment)
        with self._lock:
            known = self._stored.pop(name, None)
        if known is None or known.whose != whose:
            source = stored_states.s3(backend.config, workspace, environment, directory=place.directory)
            known = _Known(source, whose)
        found = known.source.read(known.etag)
        if found.content is not None:
            known.identity = identity_of(found.content, "the state in S3")
            known.etag = found.etag
        with self._lock:
            self._stored[name] = known
            while len(self._stored) > _MOST_STORED:
                del self._stored[next(iter(self._stored))]
        return known.identity


def _backend(upstream: Upstream) -> Backend:
    return Backend(type=upstream.backend, config=upstream.config)


def _tell_unknown(upstream: Upstream, problem: Exception) -> None:
    logger.info(
        f"The state behind {upstream.address} cannot be followed: {log.redact(str(problem))}.",
        action="replay",
    )


def _variables(request: PlanRequest) -> str:
    """A digest over what a plan is given beside its files."""
    given = [
        dict(request.variables),
        list(request.var_files),
        dict(request.backend_config),
        request.workspace,
    ]
    return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()
