"""Proposals, applies, suspensions and pins as JSON: the contract for other programs.

Pure: values in, documents out. What resources are set to is in none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from driftwatch.documents.drift import timestamp
from driftwatch.model import ProposalState
from driftwatch.pipeline.admissions import is_automatic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from driftwatch.model import (
        ApplyRun,
        Cancellation,
        Decision,
        Hold,
        Pin,
        PlannedChange,
        PlanSummary,
        Proposal,
        StoredFinding,
        Suspension,
    )
    from driftwatch.store import ProposalEvent


def proposals_document(
    proposals: Sequence[Proposal], following: int | None, *, needed: int
) -> dict[str, Any]:
    """What `proposals list --format json` prints; `needed`: so many must approve."""
    return {"proposals": [proposal_document(each, needed=needed) for each in proposals], "next": following}


def proposal_document(proposal: Proposal, *, needed: int) -> dict[str, Any]:
    """One row of `proposals list --format json`."""
    draft = proposal.draft
    return {
        "id": proposal.id,
        "stack": str(draft.stack),
        "kind": draft.kind.value,
        "state": proposal.state.value,
        "commit": draft.commit,
        "reason": draft.reason,
        "created_by": draft.created_by,
        "created_at": timestamp(draft.created_at),
        "expires_at": timestamp(draft.expires_at),
        "automatic": draft.automatic,
        "author": draft.author,
        "summary": _counts(draft.summary),
        "addresses": list(draft.addresses),
        "digest": draft.digest,
        "approved_by": list(proposal.approvers),
        "approvals_needed": 0 if is_automatic(proposal) else needed,
        "held": hold_document(waits_for(proposal)),
        "ended_at": timestamp(proposal.ended_at),
        "outcome": proposal.outcome,
        "superseded_by": proposal.superseded_by,
    }


def shown_proposal(
    proposal: Proposal,
    events: Sequence[ProposalEvent],
    closing: Sequence[StoredFinding],
    *,
    needed: int,
) -> dict[str, Any]:
    """What `proposals show --format json` prints; `closing` are the findings that are there still."""
    summary = proposal.draft.summary
    return {
        **proposal_document(proposal, needed=needed),
        "resources": [_change(change) for change in summary.changes],
        "risks": list(proposal.draft.risks),
        "radius": proposal.draft.radius,
        "findings": [_finding(found) for found in closing],
        "decisions": [_decision(each, proposal.draft.digest) for each in proposal.decisions],
        "run": _run(proposal.run),
        "events": [_event(event) for event in events],
    }


def applies_document(proposals: Sequence[Proposal], following: int | None) -> dict[str, Any]:
    """What `stacks history --format json` prints."""
    return {"applies": [_apply(each) for each in proposals], "next": following}


def suspension_document(suspension: Suspension | None) -> dict[str, Any] | None:
    """What stops applies, and by whom."""
    if suspension is None:
        return None
    return {
        "scope": suspension.scope,
        "by": suspension.by,
        "at": timestamp(suspension.at),
        "reason": suspension.reason,
        "until": timestamp(suspension.until),
    }


def pin_document(pin: Pin | None) -> dict[str, Any] | None:
    """At which commit a stack is held, and by whom."""
    if pin is None:
        return None
    return {"commit": pin.commit, "by": pin.by, "at": timestamp(pin.at), "reason": pin.reason}


def hold_document(held: Hold | None) -> dict[str, Any] | None:
    """Why something is not applied now."""
    if held is None:
        return None
    return {"reason": held.reason, "sentence": held.sentence, "until": timestamp(held.until)}


def waits_for(proposal: Proposal) -> Hold | None:
    """For what a proposal waits; what it waited for before somebody approved it is part of its life."""
    return proposal.held if proposal.state is ProposalState.WAITING else None


def seconds_of(run: ApplyRun) -> float | None:
    """How long an apply took; None where nobody knows yet."""
    if run.finished_at is None:
        return None
    return max(0.0, (run.finished_at - run.started_at).total_seconds())


def _counts(summary: PlanSummary) -> dict[str, Any]:
    return {
        "adds": summary.adds,
        "changes": summary.updates,
        "destroys": summary.destroys,
        "replaces": summary.replaces,
        "outputs": list(summary.outputs),
    }


def _change(change: PlannedChange) -> dict[str, Any]:
    return {
        "address": change.address,
        "type": change.type,
        "actions": list(change.actions),
        "attributes": list(change.attributes),
    }


def _finding(found: StoredFinding) -> dict[str, Any]:
    finding = found.finding
    return {
        "id": found.id,
        "address": finding.address,
        "kind": finding.kind.value,
        "severity": finding.severity.value,
        "status": found.status.value,
    }


def _decision(decision: Decision, digest: str) -> dict[str, Any]:
    return {
        "by": decision.by,
        "at": timestamp(decision.at),
        "via": decision.via,
        "approves": decision.approves,
        "of_this_content": decision.digest == digest,
        "reason": decision.reason,
    }


def _run(run: ApplyRun | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {
        "id": run.id,
        "node": run.node,
        "started_at": timestamp(run.started_at),
        "finished_at": timestamp(run.finished_at),
        "duration_seconds": seconds_of(run),
        "exit_code": run.exit_code,
        "output": run.output,
        "cancel": _cancellation(run.cancel),
    }


def _cancellation(cancel: Cancellation | None) -> dict[str, Any] | None:
    return {"by": cancel.by, "at": timestamp(cancel.at), "reason": cancel.reason} if cancel else None


def _event(event: ProposalEvent) -> dict[str, Any]:
    return {
        "event": event.event.value,
        "at": timestamp(event.at),
        "actor": event.actor,
        "detail": event.detail,
    }


def _apply(proposal: Proposal) -> dict[str, Any]:
    draft, run = proposal.draft, proposal.run
    return {
        "proposal": proposal.id,
        "stack": str(draft.stack),
        "kind": draft.kind.value,
        "commit": draft.commit,
        "actors": list(proposal.approvers),
        "automatic": is_automatic(proposal),
        "started_at": timestamp(run.started_at) if run else None,
        "duration_seconds": seconds_of(run) if run else None,
        "exit_code": run.exit_code if run else None,
        "state": proposal.state.value,
        "outcome": proposal.outcome,
        "summary": _counts(draft.summary),
    }
