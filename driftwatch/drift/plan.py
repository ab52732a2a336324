"""From a `terraform show -json` document to a frozen `Plan`, or to `PlanUnreadableError` and nothing else.

Only the fields named here are read, by name: the document holds every secret of the stack (variables, state,
provider configuration), and what is not taken cannot leak. Unknown fields are ignored within format 1, as the
format promises; an unknown major version, an unknown action or a document that contradicts itself is refused,
because whatever it means, it does not mean "in sync".
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from driftwatch.drift.redaction import Mask, mask_of, secrets_in, union
from driftwatch.drift.values import is_list, is_object
from driftwatch.errors import PlanUnreadableError
from driftwatch.log import registered_secrets
from driftwatch.model import UNKNOWN_VALUE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from driftwatch.model import JsonValue

MAX_DEPTH = 200
"""Terraform's own types nest far less; a deeper document is an attack on the reader's stack."""

_RELEASE = re.compile(r"(?P<major>\d{1,3})\.(?P<minor>\d{1,3})(?:\.|$)", re.ASCII)
_SAYS_ERRORED = (1, 4)
_SAYS_COMPLETE = (1, 8)
_NEWEST = (999, 999)
_FORMAT = re.compile(r"(?P<major>\d{1,9})\.\d{1,9}")
_SUPPORTED_MAJOR = "1"
_INDEX = re.compile(r'\[(?:\d+|"(?:\\.|[^"\\])*")\]')
_ADVICE = "Run the check again; if it stays, the engine is newer than this driftwatch can read."

NO_OP = ("no-op",)
REPLACEMENTS = frozenset(
    {("delete", "create"), ("create", "delete"), ("create", "forget"), ("forget", "create")}
)
_ACTIONS = REPLACEMENTS | {NO_OP, ("create",), ("update",), ("delete",), ("forget",)}
_MODES = frozenset({"managed", "data", "ephemeral"})
_CHECK_STATUSES = frozenset({"pass", "fail", "error", "unknown"})
_FAILING = frozenset({"fail", "error"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happens to one object. `after` has `UNKNOWN_VALUE` wherever only an apply will tell."""

    actions: tuple[str, ...]
    before: JsonValue
    after: JsonValue
    mask: Mask
    importing: bool = False

    @property
    def is_no_op(self) -> bool:
        return self.actions == NO_OP

    @property
    def is_replacement(self) -> bool:
        return self.actions in REPLACEMENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceChange:
    """One entry of `resource_changes` or `resource_drift`, of a managed resource."""

    address: str
    previous_address: str | None
    type: str
    provider: str | None
    deposed: str | None
    reason: str | None
    change: Change


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingCheck:
    """A check block, condition or validation that did not hold; the messages are Terraform's, unredacted."""

    address: str
    kind: str
    status: str
    messages: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderBlock:
    """How the code configures a provider; `expressions` are the document's, literals and all."""

    source: str
    expressions: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRead:
    """What a data source said, and `asked`, what the code asks it: the document's expressions."""

    address: str
    values: JsonValue
    asked: JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a plan document says, as far as a verdict needs it.

    `managed` are the addresses in the refreshed state. `dependencies` maps such an address to the
    configuration addresses that it depends on, directly or not. `relevant` are the attributes that the
    engine says contributed to a change. `configured` maps a configuration address to the attributes that the
    code sets, and each of these to what its expression refers to; `output_references` does so for outputs.
    `secrets` are the sensitive texts of the whole document, for looking them up where they are not marked,
    and those that driftwatch was given: code need not say that what it gets is sensitive. `time` is what
    `plantimestamp()` gave in this plan. `undecided` are the objects whose checks can only be judged in an
    apply. `providers` are the provider blocks by their key, and `placed` maps a configuration address to it.
    """

    drift: tuple[ResourceChange, ...]
    changes: tuple[ResourceChange, ...]
    outputs: Mapping[str, Change]
    checks: tuple[FailingCheck, ...]
    undecided: tuple[str, ...]
    variables: Mapping[str, JsonValue]
    data_reads: tuple[DataRead, ...]
    managed: frozenset[str]
    dependencies: Mapping[str, frozenset[str]]
    relevant: tuple[tuple[str, tuple[str, ...]], ...]
    configured: Mapping[str, Mapping[str, frozenset[str]]]
    output_references: Mapping[str, frozenset[str]]
    providers: Mapping[str, ProviderBlock]
    placed: Mapping[str, str]
    secrets: frozenset[str]
    time: str | None


def parse_document(text: bytes | str) -> Mapping[str, Any]:
    """Parses the output of `show -json`, strictly.

    Raises:
        PlanUnreadableError: not UTF-8, not JSON, not an object, with NaN or infinite numbers, a duplicate
            key, or nested too deeply. Python's own parser lets most of these pass.
    """
    try:
        document = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
        )
    except (ValueError, RecursionError) as error:
        raise PlanUnreadableError(
            f"The plan document is not JSON ({type(error).__name__}).", advice=_ADVICE
        ) from None  # the error quotes the document
    return _object(document, "document")


def read(document: Mapping[str, Any], *, engine: str | None = None) -> Plan:
    """Reads a whole plan document. `engine` is terraform or tofu, None where it is not known.

    Raises:
        PlanUnreadableError: errored or incomplete plans, future formats, wrong types, contradictions.
    """
    document = dict(document)
    _check_sound(document)
    _check_format(document)
    _check_outcome(document, engine)
    prior = _object(document.get("prior_state"), "prior_state")
    resources = _resources(_object(prior.get("values"), "prior_state.values"), "prior_state")
    planned = _present(document, "planned_values")
    configuration = _present(document, "configuration")
    root = _object(configuration.get("root_module"), "configuration root_module")
    declared = dict(_declared(root, ""))
    plan = Plan(
        drift=_resource_changes(document, "resource_drift"),
        changes=_resource_changes(document, "resource_changes"),
        outputs=_output_changes(document),
        checks=_failing_checks(document),
        undecided=tuple(_undecided(document)),
        variables=_variables(document),
        data_reads=_data_reads(resources, declared),
        managed=frozenset(_managed_addresses(resources)),
        dependencies=_dependencies(resources),
        relevant=_relevant(document),
        configured=_configured(declared),
        output_references=_output_references(root),
        providers=_providers(configuration),
        placed=_placed(declared),
        secrets=registered_secrets().union(_secrets(document, resources, root)),
        time=_optional_text(document.get("timestamp"), "the timestamp"),
    )
    _check_consistent(document, plan, planned)
    return plan


def without_indexes(address: str) -> str:
    """The configuration address of an instance: `module.a["x"].t.n[0]` is `module.a.t.n`."""
    return _INDEX.sub("", address)


def _refuse(what: str) -> NoReturn:
    raise PlanUnreadableError(f"The plan document cannot be trusted: {what}.", advice=_ADVICE)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate key")
    return members


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("number out of range")
    return number


def _check_sound(document: object) -> None:
    """Refuses what is no JSON value or nests too deeply, so that everything after may recurse freely."""
    pending: list[tuple[object, int]] = [(document, 0)]
    while pending:
        value, depth = pending.pop()
        if depth > MAX_DEPTH:
            _refuse(f"it nests deeper than {MAX_DEPTH} levels")
        if is_object(value):
            if not all(isinstance(key, str) for key in value):
                _refuse("an object has a key that is no text")
            pending.extend((member, depth + 1) for member in value.values())
        elif is_list(value):
            pending.extend((element, depth + 1) for element in value)
        elif isinstance(value, float):
            if not math.isfinite(value):
                _refuse("a number is not finite")
        elif value is not None and not isinstance(value, (str, int)):
            _refuse(f"a value is a {type(value).__name__}")


def _check_format(document: Mapping[str, Any]) -> None:
    version = document.get("format_version")
    match = _FORMAT.fullmatch(version) if isinstance(version, str) else None
    if match is None:
        _refuse("it has no format_version")
    if match["major"] != _SUPPORTED_MAJOR:
        raise PlanUnreadableError(
            f"The plan document is of format {match[0]}; this driftwatch reads format {_SUPPORTED_MAJOR}.",
            advice="Upgrade driftwatch, or use an engine version that writes format 1.",
        )


def _check_outcome(document: Mapping[str, Any], engine: str | None) -> None:
    """An interrupted or failed plan also writes a document, with no changes in it.

    Older engines say less: before 1.4 Terraform wrote no plan file where planning failed and so has no
    `errored`; before 1.8 a document may lack `complete` and `applyable`, and so may all of OpenTofu's, which
    forked before them. What an engine that knows a word leaves out is refused.
    """
    version = _release(document)
    if document.get("errored", version >= _SAYS_ERRORED) is not False:
        _refuse("the plan errored")
    if "complete" not in document and (engine == "tofu" or version < _SAYS_COMPLETE):
        return
    if "complete" not in document:
        _refuse("it does not say whether it is complete")
    if document["complete"] is not True:
        _refuse("the plan is not complete")
    if not isinstance(document.get("applyable"), bool):
        _refuse("it does not say whether it is applyable")


def _release(document: Mapping[str, Any]) -> tuple[int, int]:
    """Major and minor version of the engine that planned; the newest there can be, where it does not say."""
    match = _RELEASE.match(str(document.get("terraform_version", "")))
    return (int(match["major"]), int(match["minor"])) if match else _NEWEST


def _check_consistent(document: Mapping[str, Any], plan: Plan, planned: Mapping[str, Any]) -> None:
    """Terraform names every resource of state and code in `resource_changes`, untouched ones as no-op."""
    wanted = _managed_addresses(_resources(planned, "planned_values"))
    missing = plan.managed.union(wanted) - {change.address for change in plan.changes}
    if missing:
        _refuse(f"it says nothing of {len(missing)} of the resources in the state and the code")
    if "output_changes" not in document and _object(planned.get("outputs"), "planned outputs"):
        _refuse("it says nothing of the outputs")
    if document.get("applyable") is False and any(not change.change.is_no_op for change in plan.changes):
        _refuse("it has changes and says that there is nothing to apply")


def _present(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    if key not in document:
        _refuse(f"it has no {key}")
    return _object(document[key], key)


def _object(value: object, where: str) -> Mapping[str, Any]:
    """An object, or an empty one for an absent one."""
    if value is None:
        return {}
    if not is_object(value):
        _refuse(f"{where} is no object")
    return value


def _list(value: object, where: str) -> tuple[Any, ...]:
    """The elements of a list, none for an absent one."""
    if value is None:
        return ()
    if not is_list(value):
        _refuse(f"{where} is no list")
    return tuple(value)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value:
        _refuse(f"{where} is no text")
    return value


def _optional_text(value: object, where: str) -> str | None:
    return None if value is None else _text(value, where)


def _resource_changes(document: Mapping[str, Any], key: str) -> tuple[ResourceChange, ...]:
    entries = [_object(entry, f"an entry of {key}") for entry in _list(document.get(key), key)]
    changes = tuple(_resource_change(entry, key) for entry in entries if _mode(entry, key) == "managed")
    if len({(change.address, change.deposed) for change in changes}) != len(changes):
        _refuse(f"{key} names a resource twice")
    return changes


def _mode(entry: Mapping[str, Any], where: str) -> str:
    mode = _text(entry.get("mode"), f"a mode in {where}")
    if mode not in _MODES:
        _refuse(f"an entry of {where} has an unknown mode")
    return mode


def _resource_change(entry: Mapping[str, Any], where: str) -> ResourceChange:
    return ResourceChange(
        address=_text(entry.get("address"), f"an address in {where}"),
        previous_address=_optional_text(entry.get("previous_address"), f"a previous_address in {where}"),
        type=_text(entry.get("type"), f"a type in {where}"),
        provider=_optional_text(entry.get("provider_name"), f"a provider_name in {where}"),
        deposed=_optional_text(entry.get("deposed"), f"a deposed key in {where}"),
        reason=_optional_text(entry.get("action_reason"), f"an action_reason in {where}"),
        change=_change(_object(entry.get("change"), f"a change in {where}"), where),
    )


def _change(raw: Mapping[str, Any], where: str) -> Change:
    actions = tuple(_text(action, f"an action in {where}") for action in _list(raw.get("actions"), "actions"))
    if actions not in _ACTIONS:
        _refuse(f"{where} has an action that driftwatch does not know")
    return Change(
        actions=actions,
        before=raw.get("before"),
        after=_with_unknowns(raw.get("after"), raw.get("after_unknown")),
        mask=union((mask_of(raw.get("before_sensitive")), mask_of(raw.get("after_sensitive")))),
        importing=raw.get("importing") is not None,
    )


def _with_unknowns(after: JsonValue, unknown: JsonValue) -> JsonValue:
    """Terraform leaves unknown values out of `after` and says where they were in a mask of its own."""
    if unknown is True:
        return UNKNOWN_VALUE
    if is_object(unknown):
        known = dict(after) if is_object(after) else {}
        overlaid = {key: _with_unknowns(known.get(key), mask) for key, mask in unknown.items()}
        marked = {key: value for key, value in overlaid.items() if key in known or value is not None}
        return {**known, **marked} if marked or is_object(after) else after
    if is_list(unknown) and is_list(after):
        padded = [*unknown, *[None] * (len(after) - len(unknown))]
        return [_with_unknowns(element, mask) for element, mask in zip(after, padded, strict=False)]
    if is_list(unknown) and any(unknown):
        return UNKNOWN_VALUE
    return after


def _output_changes(document: Mapping[str, Any]) -> Mapping[str, Change]:
    outputs = _object(document.get("output_changes"), "output_changes")
    return {
        name: _change(_object(raw, "an output change"), "output_changes") for name, raw in outputs.items()
    }


def _failing_checks(document: Mapping[str, Any]) -> tuple[FailingCheck, ...]:
    found = [
        failing
        for entry in _list(document.get("checks"), "checks")
        for failing in _failing_instances(_object(entry, "an entry of checks"))
    ]
    if len({failing.address for failing in found}) != len(found):
        _refuse("checks names an object twice")
    return tuple(found)


def _failing_instances(entry: Mapping[str, Any]) -> Iterator[FailingCheck]:
    address = _object(entry.get("address"), "a check's address")
    kind = _text(address.get("kind"), "a check's kind")
    instances = [_object(raw, "a check's instance") for raw in _list(entry.get("instances"), "instances")]
    for raw in instances:
        if _status(raw) in _FAILING:
            yield _failing_check(raw, kind)
    if not instances and _status(entry) in _FAILING:
        yield _failing_check(entry, kind)


def _undecided(document: Mapping[str, Any]) -> Iterator[str]:
    """Objects whose checks wait for an apply: a data source that depends on a change is not read before."""
    for raw in _list(document.get("checks"), "checks"):
        entry = _object(raw, "an entry of checks")
        instances = [_object(one, "a check's instance") for one in _list(entry.get("instances"), "instances")]
        for each in instances or [entry]:
            if _status(each) == "unknown":
                address = _object(each.get("address"), "a check's address")
                yield _text(address.get("to_display"), "a check's to_display")


def _status(raw: Mapping[str, Any]) -> str:
    status = _text(raw.get("status"), "a check's status")
    if status not in _CHECK_STATUSES:
        _refuse("a check has an unknown status")
    return status


def _failing_check(raw: Mapping[str, Any], kind: str) -> FailingCheck:
    problems = [_object(problem, "a check's problem") for problem in _list(raw.get("problems"), "problems")]
    address = _object(raw.get("address"), "a check's address")
    return FailingCheck(
        address=_text(address.get("to_display"), "a check's to_display"),
        kind=kind,
        status=_status(raw),
        messages=tuple(str(problem.get("message") or "") for problem in problems),
    )


def _variables(document: Mapping[str, Any]) -> Mapping[str, JsonValue]:
    variables = _object(document.get("variables"), "variables")
    return {name: _object(raw, "a variable").get("value") for name, raw in variables.items()}


def _resources(values: Mapping[str, Any], where: str) -> list[Mapping[str, Any]]:
    return list(_resources_below(_object(values.get("root_module"), f"{where} root_module")))


def _resources_below(module: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for resource in _list(module.get("resources"), "resources of a module"):
        yield _object(resource, "a resource in the state")
    for child in _list(module.get("child_modules"), "child_modules"):
        yield from _resources_below(_object(child, "a child module"))


def _managed_addresses(resources: list[Mapping[str, Any]]) -> Iterator[str]:
    for resource in resources:
        if _mode(resource, "the state") == "managed":
            yield _text(resource.get("address"), "an address in the state")


def _dependencies(resources: list[Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    return {
        _text(resource.get("address"), "an address in prior_state"): frozenset(
            _text(address, "a dependency") for address in _list(resource.get("depends_on"), "depends_on")
        )
        for resource in resources
    }


def _data_reads(
    resources: list[Mapping[str, Any]], declared: Mapping[str, Mapping[str, Any]]
) -> tuple[DataRead, ...]:
    reads = []
    for resource in resources:
        if resource.get("mode") == "data":
            address = _text(resource.get("address"), "an address in the state")
            asked = declared.get(without_indexes(address), {}).get("expressions")
            reads.append(DataRead(address=address, values=resource.get("values"), asked=asked))
    return tuple(reads)


def _relevant(document: Mapping[str, Any]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    entries = [
        _object(entry, "a relevant attribute")
        for entry in _list(document.get("relevant_attributes"), "relevant_attributes")
    ]
    return tuple(
        (
            _text(entry.get("resource"), "a relevant resource"),
            tuple(str(step) for step in _list(entry.get("attribute"), "a relevant attribute")),
        )
        for entry in entries
    )


def _declared(module: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All resources and data sources of the code, by configuration address."""
    for raw in _list(module.get("resources"), "configured resources"):
        resource = _object(raw, "a configured resource")
        yield prefix + _text(resource.get("address"), "a configured address"), resource
    for name, raw in _object(module.get("module_calls"), "module_calls").items():
        call = _object(raw, "a module call")
        yield from _declared(_object(call.get("module"), "a called module"), f"{prefix}module.{name}.")


def _configured(declared: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, frozenset[str]]]:
    """Only the names of what the code sets and refers to: expressions may hold literals that are secrets."""
    return {
        address: {
            name: frozenset(_references(below))
            for name, below in _object(resource.get("expressions"), "expressions").items()
        }
        for address, resource in declared.items()
    }


def _placed(declared: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {
        address: key
        for address, resource in declared.items()
        if resource.get("mode") == "managed" and isinstance(key := resource.get("provider_config_key"), str)
    }


def _providers(configuration: Mapping[str, Any]) -> dict[str, ProviderBlock]:
    blocks = _object(configuration.get("provider_config"), "provider_config")
    return {key: _provider(_object(raw, "a provider block"), key) for key, raw in blocks.items()}


def _provider(raw: Mapping[str, Any], key: str) -> ProviderBlock:
    return ProviderBlock(
        source=_optional_text(raw.get("full_name"), "a provider's full_name") or key,
        expressions=_object(raw.get("expressions"), "a provider's expressions"),
    )


def references(expression: JsonValue) -> frozenset[str]:
    """All that an expression of the document refers to."""
    return frozenset(_references(expression))


def _references(expression: JsonValue) -> Iterator[str]:
    """All references at and below an expression, which for a nested block is an object or a list of them."""
    if is_list(expression):
        for element in expression:
            yield from _references(element)
    elif is_object(expression):
        for name, below in expression.items():
            if name == "references" and is_list(below):
                yield from (reference for reference in below if isinstance(reference, str))
            elif name != "constant_value":
                yield from _references(below)


def _output_references(root: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    outputs = _object(root.get("outputs"), "configured outputs")
    return {
        name: frozenset(_references(_object(raw, "a configured output").get("expression")))
        for name, raw in outputs.items()
    }


def _secrets(
    document: Mapping[str, Any], resources: list[Mapping[str, Any]], root: Mapping[str, Any]
) -> Iterator[str]:
    for key in ("resource_drift", "resource_changes"):
        for entry in _list(document.get(key), key):
            yield from _secrets_of_change(_object(entry.get("change"), "a change"))
    for raw in _object(document.get("output_changes"), "output_changes").values():
        yield from _secrets_of_change(raw)
    for resource in resources:
        yield from secrets_in(resource.get("values"), mask_of(resource.get("sensitive_values")))
    declared = _object(root.get("variables"), "declared variables")
    for name, value in _variables(document).items():
        yield from secrets_in(value, mask_of(_object(declared.get(name), "a variable").get("sensitive")))


def _secrets_of_change(raw: Mapping[str, Any]) -> Iterator[str]:
    mask = union((mask_of(raw.get("before_sensitive")), mask_of(raw.get("after_sensitive"))))
    yield from secrets_in(raw.get("before"), mask)
    yield from secrets_in(raw.get("after"), mask)
