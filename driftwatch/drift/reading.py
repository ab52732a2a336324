"""The one question that a check asks of a plan document: what does it mean?"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from driftwatch.drift import plan as plans
from driftwatch.drift.breaker import mass_deletion
from driftwatch.drift.causes import Comparison, is_default
from driftwatch.drift.classify import findings_of, identity_of_check, verdict_of
from driftwatch.drift.values import is_object
from driftwatch.model import (
    Cause,
    Commit,
    Finding,
    Inputs,
    ProviderConfiguration,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from driftwatch.drift.redaction import Digester
    from driftwatch.model import JsonValue

_REMOTE_STATE = "data.terraform_remote_state."
_REGIONS = ("region", "location")
_LONGEST_REGION = 40

_NOT_A_PLACE = (
    "default_tags",
    "ignore_tags",
    "default_labels",
    "features",
    "insecure",
    "user_agent*",
    "*retr*",
    "skip_*",
    "*timeout*",
    "*proxy*",
    "*token*",
    "*secret*",
    "*password*",
    "*_key",
    "credentials",
)
"""Arguments of a provider that say how it works or who asks, and not where. Credentials change by the hour
where they are short-lived, and a check makes sure of the account by itself."""

_IN_MODULE = ":"
"""In the key of a provider configuration that a module has of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a plan means. `inputs` are those given, completed with digests of variables and data reads.

    `unjudged` are the identities of findings that the plan can say nothing of.
    """

    verdict: Verdict
    findings: tuple[Finding, ...]
    mass_deletion: str | None
    inputs: Inputs
    unjudged: tuple[str, ...] = ()


def read_plan(
    document: Mapping[str, Any], *, digest: Digester, inputs: Inputs, baseline: Inputs | None
) -> Reading:
    """Reads a `show -json` document; nothing sensitive is left in the result.

    Args:
        document: as parsed, best by `parse_document`, which is stricter than `json.loads`.
        digest: stands in for sensitive values and inputs.
        inputs: those of this check, as far as they are known.
        baseline: those of the last check that was in sync, None where there is none.

    Raises:
        PlanUnreadableError: the document is errored, incomplete, of another format, broken or contradictory.
    """
    plan = plans.read(document, engine=inputs.engine.name if inputs.engine else None)
    completed = _completed(inputs, plan, digest)
    findings = findings_of(plan, comparison=Comparison(completed, baseline), digest=digest)
    return Reading(
        verdict=verdict_of(findings),
        findings=findings,
        mass_deletion=_mass_deletion(plan),
        inputs=completed,
        unjudged=tuple(identity_of_check(address) for address in plan.undecided),
    )


def with_commits(reading: Reading, commits: tuple[Commit, ...]) -> Reading:
    """The same with the commits since the baseline as evidence, at the findings that a commit explains."""
    return replace(reading, findings=tuple(_with_commits(each, commits) for each in reading.findings))


def waits_for_a_commit(finding: Finding) -> bool:
    """True where the commits since the baseline are evidence."""
    return Cause.UNAPPLIED_COMMIT in finding.causes and finding.evidence is not None


def _with_commits(finding: Finding, commits: tuple[Commit, ...]) -> Finding:
    if finding.evidence is None or not waits_for_a_commit(finding):
        return finding
    return replace(finding, evidence=replace(finding.evidence, commits=commits))


def _mass_deletion(plan: plans.Plan) -> str | None:
    """The state before the refresh is the one that knew them all: what is still there, and what is not."""
    deleted = {drift.address for drift in plan.drift if drift.change.actions == ("delete",)}
    return mass_deletion(len(deleted), len(plan.managed | deleted))


def _completed(inputs: Inputs, plan: plans.Plan, digest: Digester) -> Inputs:
    reads: list[JsonValue] = [[read.address, read.values] for read in plan.data_reads]
    return replace(
        inputs,
        variables=digest.hex(dict(plan.variables)),
        data_reads=digest.hex(reads),
        variable_digests={name: digest.hex(value) for name, value in sorted(plan.variables.items())},
        read_digests=dict(_read_digests(plan.data_reads, digest)),
        provider_configurations=_provider_configurations(plan, digest),
    )


def _read_digests(reads: Iterable[plans.DataRead], digest: Digester) -> Iterator[tuple[str, str]]:
    """`<what is asked>:<what was answered>` by address; of a state of others, one for each of its outputs."""
    for read in reads:
        asked = digest.hex(read.asked)
        outputs = read.values.get("outputs") if is_object(read.values) else None
        if _REMOTE_STATE in read.address and is_object(outputs):
            for name, value in outputs.items():
                yield f"{read.address}.outputs.{name}", f"{asked}:{digest.hex(value)}"
        else:
            yield read.address, f"{asked}:{digest.hex(read.values)}"


def _provider_configurations(plan: plans.Plan, digest: Digester) -> dict[str, ProviderConfiguration]:
    users: defaultdict[str, list[str]] = defaultdict(list)
    for address, key in plan.placed.items():
        if not is_default(key):
            users[key].append(address)
    return {
        key: _provider_configuration(plan, key, tuple(sorted(users[key])), digest) for key in plan.providers
    }


def _provider_configuration(
    plan: plans.Plan, key: str, resources: tuple[str, ...], digest: Digester
) -> ProviderConfiguration:
    block = plan.providers[key]
    placing = {name: each for name, each in block.expressions.items() if not _says_nothing_of_place(name)}
    read = frozenset[str]().union(*map(plans.references, placing.values()))
    variables = {} if _IN_MODULE in key else plan.variables
    values = {name: value for name, value in variables.items() if f"var.{name}" in read}
    known = ("path.", "terraform.", *(f"var.{name}" for name in values))
    return ProviderConfiguration(
        source=block.source,
        digest=digest.hex([placing, values]),
        region=_region(placing, values, plan.secrets),
        opaque=not all(each.startswith(known) for each in read),
        resources=resources,
    )


def _says_nothing_of_place(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in _NOT_A_PLACE)


def _region(
    placing: Mapping[str, JsonValue], values: Mapping[str, JsonValue], secrets: frozenset[str]
) -> str | None:
    """The region that a provider is set to, where the document says, for people to read."""
    for name in _REGIONS:
        expression = placing.get(name)
        if is_object(expression):
            (variable, *_) = (*plans.references(expression), "")
            region = expression.get("constant_value", values.get(variable.removeprefix("var.")))
            if isinstance(region, str) and len(region) <= _LONGEST_REGION and region not in secrets:
                return region
    return None
