"""What the store answers: frozen values without a connection behind them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Generic, TypeVar

from driftwatch.drift.routing import Routing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from driftwatch.drift import Refused
    from driftwatch.model import (
        Announcement,
        ErrorReport,
        Finding,
        FindingEventKind,
        FindingStatus,
        JobState,
        Method,
        StackId,
        StoredFinding,
        Trigger,
        Verdict,
    )

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """How people are told: by which channels, who of what and when, and how soon.

    `gather` is how long the first message of what may concern several stacks waits for the others;
    `failing_checks` how many checks must fail in a row before an error that may pass is told.
    """

    channels: tuple[str, ...] = ()
    routing: Routing = field(default_factory=Routing.everything)
    gather: timedelta = timedelta()
    failing_checks: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueued:
    """`created` is False where the stack had a queued job already, which now also stands for this one."""

    job_id: int
    created: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCheck:
    """A check as it is kept: what it came to, without its findings, which go on changing."""

    id: int
    stack: StackId
    commit: str | None
    trigger: Trigger
    verdict: Verdict
    method: Method
    method_reason: str
    started_at: datetime
    duration_seconds: float
    findings: int
    counted: int
    error: ErrorReport | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptJob:
    """A unit of work as it stands: `check` is what came of it, None until something has."""

    id: int
    stack: StackId
    trigger: Trigger
    state: JobState
    requested_by: str | None
    created_at: datetime
    finished_at: datetime | None
    check: KeptCheck | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What the first good check after an apply saw: the findings that count and go on, by what they are.

    `addresses` are those of findings that wait for somebody: neither accepted nor put aside.
    """

    check_id: int
    verdict: Verdict
    fingerprints: frozenset[str]
    addresses: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncedStacks:
    """What a new commit's list of stacks changed."""

    added: tuple[StackId, ...]
    removed: tuple[StackId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A written check. A replay of one that was written before has nothing to announce.

    `open_findings` are those of its stack that wait for somebody now.
    """

    check_id: int
    announcements: tuple[Announcement, ...]
    open_findings: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Item]):
    """Some items in the order of their ids; `next` is what `after` must be for those that follow."""

    items: Sequence[Item]
    next: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingEvent:
    """One step in a finding's life, with the finding as it was then. `check_id`: None where none ran.

    `actor` is a person or driftwatch itself; `until` is when what it says ends.
    """

    id: int
    event: FindingEventKind
    at: datetime
    check_id: int | None
    finding: Finding
    actor: str
    reason: str | None
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """What an action made of a finding. `was` is its status before."""

    was: FindingStatus
    finding: StoredFinding


@dataclass(frozen=True, slots=True, kw_only=True)
class ActedOnAll:
    """What an action made of the findings of an incident. `refused` are the sentences why not, each once."""

    acted: tuple[StoredFinding, ...]
    refused: tuple[Refused, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """Who asked for what, by which way (`terminal`, `slack`), and what came of it."""

    id: int
    at: datetime
    actor: str
    via: str
    action: str
    subject: str
    outcome: str
    reason: str | None
    digest: str


class ProposalEventKind(StrEnum):
    """What happened to a proposal: the state that it came to, or that somebody agreed."""

    PROPOSED = "proposed"
    AGREED = "agreed"
    """A vote for it; whether that is enough is not said by it."""
    APPROVED = "approved"
    WAITING = "waiting"
    APPLYING = "applying"
    APPLIED = "applied"
    VERIFIED = "verified"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"
    EXPIRED = "expired"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalEvent:
    """One step in a proposal's life. `actor` is a person or driftwatch itself; `detail` is a sentence."""

    id: int
    event: ProposalEventKind
    at: datetime
    actor: str
    detail: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryStatus:
    """What is known of a repository. `commit` is the last good one; `error` is the latest fetch's."""

    name: str
    url: str | None
    branch: str | None
    commit: str | None
    fetched_at: datetime | None
    last_good_at: datetime | None
    error: ErrorReport | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgraded:
    """What an upgrade did: `before` is None for a new database; `copy` is the file as it was before."""

    before: str | None
    after: str
    copy: Path | None

    @property
    def changed(self) -> bool:
        return self.before != self.after
