"""Whether a recording may stand in for a plan: pure decisions, each with a machine's reason.

A verdict is a function of the stack's files, its inputs, the engine, the providers, the state, and what was
read. A replay asks for the last again; here all the others are compared, and code that reads what a replay
cannot see is found. What is not known is never equal to anything.
"""

from __future__ import annotations

import json
import posixpath
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from driftwatch import hcl
from driftwatch.model import DEFAULT_WORKSPACE
from driftwatch.warm.recording import VERSION

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from datetime import datetime, timedelta

    from driftwatch.model import Engine
    from driftwatch.warm.recording import Recording
    from driftwatch.warm.state import StateIdentity


class Refusal(StrEnum):
    """Why a plan runs and not a replay. The words go into `method_reason` and the metrics."""

    NO_RECORDING = "no_recording"
    RECORDING_VERSION = "recording_version"
    NOT_PROVED = "not_proved"
    FULL_PLAN_DUE = "full_plan_due"
    FILES_CHANGED = "files_changed"
    VARIABLES_CHANGED = "variables_changed"
    ENGINE_CHANGED = "engine_changed"
    PROVIDERS_CHANGED = "providers_changed"
    ENVIRONMENT_CHANGED = "environment_changed"
    STATE_CHANGED = "state_changed"
    STATE_UNKNOWN = "state_unknown"
    REMOTE_STATE = "remote_state"
    EPHEMERAL = "ephemeral"
    PENDING_IMPORT = "pending_import"
    PENDING_MOVE = "pending_move"
    TIMESTAMP_FUNCTION = "timestamp_function"
    RANDOM_FUNCTION = "random_function"
    OUTSIDE_FILES = "outside_files"
    UNWATCHED_PROVIDER = "unwatched_provider"
    """One that terraform started by itself: what it read was not recorded."""
    QUARANTINED = "quarantined"
    """A provider of the stack's is out of warm service."""
    PROVIDER_FUNCTION = "provider_function"
    """One of a provider's own: what it depends on is not known."""
    UNKNOWN_TEMPLATE = "unknown_template"
    """A template that comes from elsewhere, and may call anything."""
    FILES_ELSEWHERE = "files_elsewhere"
    """No refusal by itself: the code reads files of the repository that are not its own."""
    UNREAD = "unread"
    """The plan did not read all that is in the state, or read it elsewhere."""
    DEFERRED = "deferred"
    ERRORS = "errors"
    FAULT = "fault"
    UNKNOWN_CALL = "unknown_call"
    RECORDING_TOO_LARGE = "recording_too_large"
    UNUSABLE = "unusable"
    """Of a recording that names a reason which this version does not know."""


_FUNCTIONS = {
    "timestamp": Refusal.TIMESTAMP_FUNCTION,
    "plantimestamp": Refusal.TIMESTAMP_FUNCTION,
    "uuid": Refusal.RANDOM_FUNCTION,
    "bcrypt": Refusal.RANDOM_FUNCTION,
    "pathexpand": Refusal.OUTSIDE_FILES,
}
_BLOCKS = {
    "ephemeral": Refusal.EPHEMERAL,
    "action": Refusal.UNKNOWN_CALL,
}
_TEMPLATES = frozenset({"templatefile", "templatestring"})
_REMOTE_STATE = "terraform_remote_state"
_BUILTIN = "terraform.io/builtin/terraform"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that a verdict is a function of, beside the cloud. Digests are opaque; None is "not known".

    `files` covers the stack's directory, the local and remote modules that it uses, and its var files;
    `commit` is all of the repository.
    `providers` are the `h1:` hashes by source address. `upstreams` are the states that
    `terraform_remote_state` reads, by a name of the caller's; None where they cannot be read. `blind` is what
    `examine` says of the code.
    """

    files: str | None
    variables: str | None
    engine: str | None
    providers: Mapping[str, str]
    environment: str | None
    state: StateIdentity | None
    blind: frozenset[Refusal] = frozenset()
    upstreams: Mapping[str, StateIdentity | None] | None = None
    commit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """A stack's last real plan: what went into it, and what was recorded."""

    facts: Facts
    recording: Recording = field(repr=False)
    planned_at: datetime
    proved: bool
    """Whether a replay right after the plan gave the same answers."""
    reading: bytes = field(default=b"", repr=False)
    """What the plan meant, as whoever read it wrote it down."""
    engine: Engine | None = None
    binary: str | None = None
    upstreams: tuple[Upstream, ...] = ()
    types: frozenset[str] = frozenset()
    """The types of resources and data sources that the plan asked anything about."""
    plan_seconds: float = 0.0


def refuse(
    known: Remembered | None, present: Facts, *, now: datetime, full_plan_every: timedelta
) -> Refusal | None:
    """Why `known` may not be replayed, the most lasting reason first; None where it may."""
    if known is None:
        return _first(_of_code(present)) or Refusal.NO_RECORDING
    return _first(_reasons(known, present, now, full_plan_every))


def is_provable(known: Remembered) -> bool:
    """Whether a replay could ever stand in, if it is proved: asking twice costs, so it must be worth it."""
    lasting = [*_of_code(known.facts), *of_recording(known.recording), *_upstream(known.facts, known.facts)]
    return not lasting and known.facts.state is not None


def _first(reasons: Iterable[Refusal]) -> Refusal | None:
    return next(iter(reasons), None)


def _reasons(
    known: Remembered, present: Facts, now: datetime, full_plan_every: timedelta
) -> Iterator[Refusal]:
    if known.recording.version != VERSION:
        yield Refusal.RECORDING_VERSION
    reads_others = known.recording.is_bound or Refusal.FILES_ELSEWHERE in present.blind
    if reads_others and not _same(known.facts.commit, present.commit):
        yield Refusal.FILES_CHANGED  # any of the repository's may be among them
    yield from _changes(known.facts, present)
    yield from _of_code(present)
    yield from of_recording(known.recording)
    yield from _upstream(known.facts, present)
    if not known.proved:
        yield Refusal.NOT_PROVED
    if not known.planned_at <= now < known.planned_at + full_plan_every:
        yield Refusal.FULL_PLAN_DUE


def _changes(before: Facts, now: Facts) -> Iterator[Refusal]:
    if not _same(before.files, now.files):
        yield Refusal.FILES_CHANGED
    if not _same(before.variables, now.variables):
        yield Refusal.VARIABLES_CHANGED
    if not _same(before.engine, now.engine):
        yield Refusal.ENGINE_CHANGED
    if dict(before.providers) != dict(now.providers):
        yield Refusal.PROVIDERS_CHANGED
    if not _same(before.environment, now.environment):
        yield Refusal.ENVIRONMENT_CHANGED
    if before.state is None or now.state is None:
        yield Refusal.STATE_UNKNOWN
    elif before.state != now.state:
        yield Refusal.STATE_CHANGED


def _same(before: str | None, now: str | None) -> bool:
    return before is not None and before == now


def _of_code(facts: Facts) -> Iterator[Refusal]:
    yield from sorted(facts.blind - {Refusal.REMOTE_STATE, Refusal.FILES_ELSEWHERE})


def _upstream(before: Facts, now: Facts) -> Iterator[Refusal]:
    """A `terraform_remote_state` is seen only through the identity of the state that it reads."""
    if Refusal.REMOTE_STATE not in now.blind:
        return
    upstreams = now.upstreams
    if not upstreams or None in upstreams.values() or dict(upstreams) != dict(before.upstreams or {}):
        yield Refusal.REMOTE_STATE


def of_recording(recording: Recording) -> Iterator[Refusal]:
    """What the plan did that a replay would not do."""
    for reason in recording.unusable:
        yield Refusal(reason) if reason in set(Refusal) else Refusal.UNUSABLE


def unwatched(document: Mapping[str, Any], watched: Collection[str]) -> frozenset[str]:
    """The providers in a plan's document (`show -json`) that are neither among `watched` nor terraform's own.

    However terraform came by them: an override in its CLI configuration is in no lock file.
    """
    configured = (document.get("configuration") or {}).get("provider_config") or {}
    changes = [*(document.get("resource_changes") or ()), *(document.get("resource_drift") or ())]
    used = {each.get("full_name") for each in configured.values()}
    used |= {each.get("provider_name") for each in changes}
    used |= set(_providers_of((document.get("prior_state") or {}).get("values") or {}))
    return frozenset(name for name in used if name and name not in watched and name != _BUILTIN)


def pending(document: Mapping[str, Any]) -> frozenset[Refusal]:
    """What a plan's document says is only to be done: a block that was applied already does no harm."""
    found = set()
    for each in document.get("resource_changes") or ():
        change = each.get("change") or {}
        if change.get("importing"):
            found.add(Refusal.PENDING_IMPORT)
        if each.get("previous_address") or "forget" in (change.get("actions") or ()):
            found.add(Refusal.PENDING_MOVE)
    if document.get("deferred_changes"):
        found.add(Refusal.DEFERRED)
    return frozenset(found)


def is_all_read(document: Mapping[str, Any], recording: Recording) -> bool:
    """Whether as many resources were read as a plan's document says that there were in the state.

    Where terraform ran elsewhere (HCP Terraform), or was told not to refresh, they were not.
    """
    prior = (document.get("prior_state") or {}).get("values") or {}
    there = {each["address"] for each in _resources_of(prior) if _is_read_by_a_provider(each)}
    drifted = document.get("resource_drift") or ()
    there |= {each.get("address") for each in drifted if _is_read_by_a_provider(each)}
    return recording.count("ReadResource") >= len(there)


def _is_read_by_a_provider(resource: Mapping[str, Any]) -> bool:
    return resource.get("mode") == "managed" and resource.get("provider_name") != _BUILTIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A state that a `terraform_remote_state` reads. `config` is as evaluated, and may hold credentials."""

    address: str
    backend: str
    config: Mapping[str, Any] = field(repr=False)
    workspace: str
    outputs: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    """What the plan has read of it; not kept."""

    def is_read_from(self, content: bytes) -> bool:
        """Whether the plan has read the state that `content` is, and not an earlier one."""
        try:
            stored = json.loads(content).get("outputs") or {}
            values = {name: each["value"] for name, each in stored.items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return False
        read = self.outputs or {}
        return all(name in read and read[name] == value for name, value in values.items())


def upstreams(document: Mapping[str, Any]) -> tuple[Upstream, ...] | None:
    """All that a plan has read; None where one is read by an apply only, or says not all of itself."""
    changes = document.get("resource_changes") or ()
    if any(each.get("type") == _REMOTE_STATE for each in changes):
        return None
    prior = (document.get("prior_state") or {}).get("values") or {}
    found = [each for each in _resources_of(prior) if each.get("type") == _REMOTE_STATE]
    if not all(isinstance((each.get("values") or {}).get("backend"), str) for each in found):
        return None
    return tuple(
        Upstream(
            address=each["address"],
            backend=each["values"]["backend"],
            config=each["values"].get("config") or {},
            workspace=each["values"].get("workspace") or DEFAULT_WORKSPACE,
            outputs=each["values"].get("outputs") or {},
        )
        for each in found
    )


def _providers_of(values: Mapping[str, Any]) -> Iterator[str]:
    return (each["provider_name"] for each in _resources_of(values))


def _resources_of(values: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The resources and data sources of a state's values, in all modules."""
    ahead = [values.get("root_module") or {}]
    while ahead:
        module = ahead.pop()
        ahead += module.get("child_modules") or ()
        yield from module.get("resources") or ()


def examine(
    modules: Mapping[str, Mapping[str, bytes]], *, templates: Iterable[bytes] = ()
) -> frozenset[Refusal]:
    """What in a stack's code a replay cannot see.

    `modules` are the root module and every module that it uses, by directory, each with its files by name.
    `templates` are all files that a template could be, wherever they lie: templates call functions too.
    """
    found = [hcl.read_uses(files) for files in modules.values()]
    reasons = {reason for uses in found for reason in _of_module(uses)}
    functions = {name for uses in found for name in uses.functions}
    if functions & _TEMPLATES:
        reasons |= set(_of_templates(templates))
    if "templatestring" in functions:
        reasons.add(Refusal.UNKNOWN_TEMPLATE)
    return frozenset(reasons)


def _of_module(uses: hcl.Uses) -> Iterator[Refusal]:
    yield from (reason for name in uses.functions if (reason := _FUNCTIONS.get(name)))
    yield from (_BLOCKS[block] for block in uses.blocks & _BLOCKS.keys())
    if _REMOTE_STATE in uses.types:
        yield Refusal.REMOTE_STATE
    if any(path is None or posixpath.isabs(path) for path in uses.paths):
        yield Refusal.OUTSIDE_FILES
    elif uses.dynamic or any(map(_leads_out, uses.paths)):
        yield Refusal.FILES_ELSEWHERE


def _of_templates(templates: Iterable[bytes]) -> Iterator[Refusal]:
    """From words that look like calls; a file that a template reads may be anywhere."""
    for content in templates:
        functions = hcl.functions_in_text(content.decode(errors="replace"))
        yield from (reason for name in functions if (reason := _FUNCTIONS.get(name)))
        if functions & hcl.FILE_FUNCTIONS:
            yield Refusal.OUTSIDE_FILES


def _leads_out(path: str | None) -> bool:
    """Whether a file function reads what is not in its module's directory."""
    return path is not None and posixpath.normpath(path or ".").startswith("..")
