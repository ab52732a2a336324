"""A rehearsal: one plan made for a repair, what it says, and what an approval of it is bound to.

Made twice: when something is proposed, and again under the state lock right before it is applied. Only where
both have the same digest is the second one applied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from driftwatch.drift import plan as plans
from driftwatch.drift.plan import without_indexes
from driftwatch.drift.reading import read_plan
from driftwatch.model import SUMMARY_CHANGES, Inputs, PlannedChange, PlanSummary
from driftwatch.policy.digests import approval_digest, replace_paths_of
from driftwatch.policy.guards import facts_of, ignored_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from driftwatch.drift import Digester, Reading
    from driftwatch.model import Engine, Finding, StackId
    from driftwatch.pipeline.check import Workshop
    from driftwatch.policy.guards import PlanFacts, PlannedResource
    from driftwatch.terraform import Planned


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What a plan says. `digest_for` binds an approval to it."""

    stack: StackId
    commit: str
    planned: Planned
    plan: plans.Plan
    reading: Reading
    facts: PlanFacts
    replaced: Mapping[str, object]
    digester: Digester

    @property
    def summary(self) -> PlanSummary:
        """The plan as people read it."""
        return summary_of(self.facts)

    @property
    def engine(self) -> Engine:
        return self.planned.engine

    def digest_for(self, findings: Iterable[str]) -> str:
        """The digest of this plan as a repair of these findings (fingerprints)."""
        lock = self.planned.lock_file
        return approval_digest(
            stack=self.stack,
            findings=findings,
            plan=self.plan,
            replaced=self.replaced,  # type: ignore[arg-type]  # JSON, as the document has it
            commit=self.commit,
            state_lineage=self.planned.state_lineage,
            state_serial=self.planned.state_serial,
            engine=self.planned.engine,
            # The lock file in force has the hashes of all that may have been installed.
            provider_hashes={"lock file": [lock]} if lock else None,
            digest=self.digester.hex,
        )

    def ignored(self, rules: Collection[str]) -> dict[str, frozenset[str]]:
        """What ignore rules, given by their ids, hide of it."""
        return ignored_in(self.reading.findings, rules)

    def following(self, findings: Iterable[Finding]) -> frozenset[str]:
        """The outputs that only pass on what these findings are about."""
        repaired = {without_indexes(finding.address) for finding in findings}
        return frozenset(name for name in self.facts.outputs if self._passes_on(name, repaired))

    def _passes_on(self, name: str, repaired: Collection[str]) -> bool:
        read = {without_indexes(each) for each in self.plan.output_references.get(name, ())}
        return bool(read) and all(
            any(each == one or each.startswith(f"{one}.") for one in repaired) for each in read
        )


def rehearse(
    planned: Planned,
    *,
    stack: StackId,
    commit: str,
    tree: str | None,
    workshop: Workshop,
    digester: Digester,
    now: datetime,
) -> Rehearsal:
    """Reads a plan by the workshop's rules, and by what was last in sync. Raises PlanUnreadableError."""
    inputs = Inputs(
        commit=commit,
        tree=tree,
        lock_file=planned.lock_file,
        engine=planned.engine,
        state_lineage=planned.state_lineage,
        state_serial=planned.state_serial,
    )
    baseline = workshop.ledger.baseline(stack)
    reading = read_plan(planned.document, digest=digester, inputs=inputs, baseline=baseline)
    plan = plans.read(planned.document, engine=planned.engine.name)
    return Rehearsal(
        stack=stack,
        commit=commit,
        planned=planned,
        plan=plan,
        reading=workshop.rules.govern(reading, stack=stack, now=now),
        facts=facts_of(plan, mass_deletion=reading.mass_deletion),
        replaced=replace_paths_of(planned.document),
        digester=digester,
    )


def summary_of(facts: PlanFacts) -> PlanSummary:
    """Counts and changes, what destroys first."""
    done = [each for each in facts.changes if each.actions != ("read",)]
    worst_first = sorted(done, key=lambda each: (not each.destroys, each.address))
    replaces = [each for each in done if "delete" in each.actions and "create" in each.actions]
    return PlanSummary(
        adds=sum(each.actions == ("create",) for each in done),
        updates=sum(each.actions == ("update",) for each in done),
        destroys=sum(each.destroys for each in done) - len(replaces),
        replaces=len(replaces),
        changes=tuple(
            PlannedChange(
                address=each.address, type=each.type, actions=_told(each), attributes=each.attributes[:20]
            )
            for each in worst_first[:SUMMARY_CHANGES]
        ),
        outputs=facts.outputs,
    )


def _told(change: PlannedResource) -> tuple[str, ...]:
    """Terraform's actions, but for what it does in the state alone, for which it has none."""
    if change.actions != ("no-op",):
        return change.actions
    return ("import",) if change.importing else ("move",)
