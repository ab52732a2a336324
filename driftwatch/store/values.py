"""What the store answers: frozen values without a connection behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from driftwatch.model import (
        Announcement,
        ErrorReport,
        Finding,
        FindingEventKind,
        FindingStatus,
        StackId,
        StoredFinding,
    )

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Enqueued:
    """`created` is False where the stack had a queued job already, which now also stands for this one."""

    job_id: int
    created: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncedStacks:
    """What a new commit's list of stacks changed."""

    added: tuple[StackId, ...]
    removed: tuple[StackId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A written check. A replay of one that was written before has nothing to announce."""

    check_id: int
    announcements: tuple[Announcement, ...]


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
