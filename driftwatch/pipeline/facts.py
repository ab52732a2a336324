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
from typing import TYPE_CHECKING

from driftwatch import log
from driftwatch.errors import DriftwatchError, EngineInterruptedError, StateUnreadableError
from driftwatch.terraform import sources
from driftwatch.warm.conditions import Facts, Refusal, examine, is_all_read, pending, unwatched, upstreams
from driftwatch.warm.state import Backend, StateIdentity, backend_of, identity_of, local_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from driftwatch.model import Inputs
    from driftwatch.pipeline.ports import Planner, StoredState, StoredStates
    from driftwatch.terraform import Place, Planned, PlanRequest
    from driftwatch.warm.conditions import Remembered, Upstream
    from driftwatch.warm.house import House
    from driftwatch.warm.packages import Selection
    from driftwatch.warm.recording import Recording

_LOCAL, _S3 = "local", "s3"
_MOST_STORED = 1000
"""Sources of stored states that are kept, each with a client of its own."""

_VARIABLE_PREFIX = "TF_VAR_"
_VARIABLE_FILES = (".tfvars", ".tfvars.json")

logger = log.get("check")


@dataclass(slots=True)
class _Known:
    """What a stored state was when it was last looked at."""

    source: StoredState
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
        selection: Selection,
        recording: Recording,
    ) -> tuple[Facts, tuple[Upstream, ...]]:
        """As a plan found them, and the states of others that it read."""
        assert planned.place is not None  # noqa: S101  (a planner's plan has one)
        place, document = planned.place, planned.document
        facts = self._common(request, inputs, place, selection)
        blind = set(examine(sources(place), texts=_texts(request, place))) | pending(document)
        if unwatched(document, selection.packages):
            blind.add(Refusal.UNWATCHED_PROVIDER)
        if not (recording.unusable or is_all_read(document, recording)):
            blind.add(Refusal.UNREAD)
        read = upstreams(document) if Refusal.REMOTE_STATE in blind else ()
        state = (
            StateIdentity(lineage=planned.state_lineage, serial=planned.state_serial)
            if planned.state_lineage is not None and planned.state_serial is not None
            else None
        )
        return replace(
            facts,
            state=state,
            blind=facts.blind | blind,
            upstreams=self._upstreams(read or (), place),
        ), read or ()

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
            state=self._state(request, place, known, stop),
            upstreams=self._upstreams(known.upstreams, place),
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
        self, request: PlanRequest, place: Place, known: Remembered, stop: threading.Event
    ) -> StateIdentity | None:
        try:
            backend = backend_of(place.data)
            try:
                return self._read(backend, place, place.workspace)
            except StateUnreadableError:
                if backend.type == _LOCAL or known.binary is None:
                    raise
            content = self._planner.pull_state(request, place, Path(known.binary), stop)
            return identity_of(content, "the state")
        except EngineInterruptedError:
            raise
        except (DriftwatchError, OSError) as problem:
            logger.info(f"Which state there is, is not known: {log.redact(str(problem))}.", action="replay")
            return None

    def _upstreams(self, read: tuple[Upstream, ...], place: Place) -> dict[str, StateIdentity | None]:
        return {each.address: self._upstream(each, place) for each in read}

    def _upstream(self, upstream: Upstream, place: Place) -> StateIdentity | None:
        try:
            backend = Backend(type=upstream.backend, config=upstream.config)
            return self._read(backend, place, upstream.workspace)
        except (DriftwatchError, OSError) as problem:
            logger.info(
                f"The state behind {upstream.address} cannot be followed: {log.redact(str(problem))}.",
                action="replay",
            )
            return None

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
        pool = self._house.pool
        environment = pool.environment(place.environment)
        what = [dict(backend.config), workspace, pool.identity(environment), str(place.directory)]
        name = hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()
        with self._lock:
            known = self._stored.get(name)
        if known is None:
            source = stored_states.s3(backend.config, workspace, environment, directory=place.directory)
            known = _Known(source)
        found = known.source.read(known.etag)
        if found.content is not None:
            known.identity = identity_of(found.content, "the state in S3")
            known.etag = found.etag
        with self._lock:
            self._stored[name] = known
            while len(self._stored) > _MOST_STORED:
                del self._stored[next(iter(self._stored))]
        return known.identity


def _variables(request: PlanRequest) -> str:
    """A digest over what a plan is given beside its files."""
    given = [
        dict(request.variables),
        list(request.var_files),
        dict(request.backend_config),
        request.workspace,
    ]
    return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()


def _texts(request: PlanRequest, place: Place) -> Iterator[str]:
    """Everything that a variable's value may come from."""
    yield json.dumps(dict(request.variables))
    yield from (value for name, value in place.environment.items() if name.startswith(_VARIABLE_PREFIX))
    own = (path for path in place.directory.iterdir() if path.name.endswith(_VARIABLE_FILES))
    for path in (*own, *(place.directory / name for name in request.var_files)):
        yield path.read_text(encoding="utf-8", errors="replace")
