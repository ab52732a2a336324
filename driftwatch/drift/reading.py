"""The one question that a check asks of a plan document: what does it mean?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from driftwatch.drift import plan as plans
from driftwatch.drift.breaker import mass_deletion
from driftwatch.drift.causes import Evidence
from driftwatch.drift.classify import findings_of, verdict_of
from driftwatch.model import Finding, Inputs, Verdict  # noqa: TC001  (dataclass fields are read at run time)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from driftwatch.drift.redaction import Digester


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a plan means. `inputs` are those given, completed with digests of variables and data reads."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    mass_deletion: str | None
    inputs: Inputs


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
    completed = replace(
        inputs, variables=digest.hex(dict(plan.variables)), data_reads=digest.hex(list(plan.data_reads))
    )
    findings = findings_of(plan, evidence=Evidence(completed, baseline), digest=digest)
    return Reading(
        verdict=verdict_of(findings),
        findings=findings,
        mass_deletion=_mass_deletion(plan),
        inputs=completed,
    )


def _mass_deletion(plan: plans.Plan) -> str | None:
    """The state before the refresh is the one that knew them all: what is still there, and what is not."""
    deleted = {drift.address for drift in plan.drift if drift.change.actions == ("delete",)}
    return mass_deletion(len(deleted), len(plan.managed | deleted))
