"""The words for what a person reads: verdicts, kinds, causes, proposals, and the colour of a message.

Only tables; what is made of them is said where messages are put together (`driftwatch.notify.render`).
"""

from __future__ import annotations

from driftwatch.model import Cause, FindingKind, ProposalKind, TransitionKind, Verdict

RED, YELLOW, GREEN = "\N{LARGE RED CIRCLE}", "\N{LARGE YELLOW CIRCLE}", "\N{LARGE GREEN CIRCLE}"

VERDICTS = {
    Verdict.IN_SYNC: "in sync",
    Verdict.DRIFTED: "drifted",
    Verdict.PENDING: "changes not applied",
    Verdict.MIXED: "drifted, and changes not applied",
    Verdict.ERROR: "unknown",
    Verdict.SKIPPED: "not checked",
}
KINDS = {
    FindingKind.MODIFIED: "modified",
    FindingKind.DELETED: "deleted in the cloud",
    FindingKind.CREATED: "in the code, not yet in the cloud",
    FindingKind.REPLACED: "would be replaced",
    FindingKind.DESTROYED: "gone from the code, would be destroyed",
    FindingKind.UNMANAGED: "unmanaged",
    FindingKind.OUTPUT: "output differs",
    FindingKind.CHECK_FAILED: "check failed",
}
CAUSES = {
    Cause.OUT_OF_BAND: "changed outside Terraform",
    Cause.UNAPPLIED_COMMIT: "commit not applied",
    Cause.PROVIDER_UPGRADE: "provider upgrade",
    Cause.INPUT_CHANGE: "an input changed",
    Cause.STATE_EDIT: "state edited",
    Cause.NOISE: "noise",
    Cause.UNDETERMINED: "cause unknown",
}
PROPOSALS = {
    ProposalKind.REVERT: "revert",
    ProposalKind.DEPLOY: "deploy",
    ProposalKind.ROLLBACK: "roll back",
}
ICONS = {
    TransitionKind.DRIFT_FOUND: RED,
    TransitionKind.DRIFT_CHANGED: RED,
    TransitionKind.RESOLVED: GREEN,
    TransitionKind.CHECK_FAILING: YELLOW,
    TransitionKind.RECOVERED: GREEN,
    TransitionKind.REPLAY_DISAGREED: YELLOW,
    TransitionKind.STALE: YELLOW,
    TransitionKind.REMINDER: RED,
    TransitionKind.HANDLED: RED,
    TransitionKind.REPAIR: RED,
    TransitionKind.STACK_REMOVED: YELLOW,
    TransitionKind.HEAD_REFUSED: YELLOW,
    TransitionKind.HEAD_ACCEPTED: GREEN,
}
OUTCOMES = {
    TransitionKind.REPLAY_DISAGREED: "a replay was wrong",
    TransitionKind.STALE: "nobody watches it any more",
    TransitionKind.STACK_REMOVED: "the stack is gone, its resources are not",
    TransitionKind.HEAD_REFUSED: "the newest commit is not used",
    TransitionKind.HEAD_ACCEPTED: "the newest commit is used again",
}


def counted(number: int, noun: str) -> str:
    """`1 stack`, `2 stacks`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
