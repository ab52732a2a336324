"""The tables. What they mean to the rest of the house is in the modules that query them.

Every constraint has a name by convention: a migration can only change what it can name. A change here needs
a revision under `migrations/versions/` and a new `HEAD` in `schema.py`; a test compares the two.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import ForeignKey, Index, MetaData, Text, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from driftwatch.model import (
    DRIFTWATCH,
    FindingEventKind,
    FindingKind,
    FindingStatus,
    JobState,
    Method,
    ProposalKind,
    ProposalState,
    Severity,
    Trigger,
    Verdict,
)
from driftwatch.store.columns import BIG_INTEGER, DOCUMENT, UtcDateTime, choice
from driftwatch.store.values import ProposalEventKind

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class MessageState(StrEnum):
    """The life of a message. `DEAD` is one that nobody will try again."""

    WAITING = "waiting"
    SENT = "sent"
    DEAD = "dead"


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: BIG_INTEGER,
        str: Text(),
        datetime: UtcDateTime(),
        FindingKind: choice(FindingKind, "kind"),
        FindingStatus: choice(FindingStatus, "status"),
        FindingEventKind: choice(FindingEventKind, "event"),
        JobState: choice(JobState, "state"),
        MessageState: choice(MessageState, "state"),
        Method: choice(Method, "method"),
        ProposalEventKind: choice(ProposalEventKind, "event"),
        ProposalKind: choice(ProposalKind, "kind"),
        ProposalState: choice(ProposalState, "state"),
        Severity: choice(Severity, "severity"),
        Trigger: choice(Trigger, "trigger"),
        Verdict: choice(Verdict, "verdict"),
        dict[str, Any]: DOCUMENT,
        list[Any]: DOCUMENT,
    }


class SchemaInfo(Base):
    """One row: which driftwatch last changed the schema, so that an older one can name it."""

    __tablename__ = "schema_info"

    id: Mapped[int] = mapped_column(primary_key=True)
    written_by: Mapped[str]


class RepositoryRow(Base):
    """`commit_sha` is the last good one; `error` is that of the latest fetch, None where it went well."""

    __tablename__ = "repositories"

    name: Mapped[str] = mapped_column(primary_key=True)
    url: Mapped[str | None]
    branch: Mapped[str | None]
    commit_sha: Mapped[str | None]
    fetched_at: Mapped[datetime | None]
    last_good_at: Mapped[datetime | None]
    error: Mapped[dict[str, Any] | None]


class StackRow(Base):
    """`token` is the fencing token of the latest claim, `verdict` to `error` are the latest check's.

    An apply takes a token, too, where it begins and where it ends.

    `allowed_age` is how many seconds may pass without a good check, as the daemon reads the schedule.
    `name` is for people and globs, and not quite unique: `a@b` is a directory, or the workspace b of a.
    """

    __tablename__ = "stacks"
    __table_args__ = (UniqueConstraint("repository", "path", "workspace"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    repository: Mapped[str] = mapped_column(ForeignKey("repositories.name"))
    path: Mapped[str]
    workspace: Mapped[str]
    labels: Mapped[dict[str, Any]]
    owners: Mapped[list[Any]]
    declared_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]
    next_due_at: Mapped[datetime | None]
    token: Mapped[int] = mapped_column(server_default=text("0"))
    verdict: Mapped[Verdict | None]
    method: Mapped[Method | None]
    commit_sha: Mapped[str | None]
    checked_at: Mapped[datetime | None]
    last_good_at: Mapped[datetime | None]
    error: Mapped[dict[str, Any] | None]
    open_findings: Mapped[int] = mapped_column(server_default=text("0"))
    allowed_age: Mapped[float | None]


class CheckRow(Base):
    """`key` is the same for the same result however often it is written: a replay finds itself."""

    __tablename__ = "checks"
    __table_args__ = (
        Index(None, "stack_id", "id"),
        Index(None, "started_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    stack_id: Mapped[int] = mapped_column(ForeignKey("stacks.id"))
    trigger: Mapped[Trigger]
    commit_sha: Mapped[str | None]
    verdict: Mapped[Verdict]
    method: Mapped[Method]
    method_reason: Mapped[str]
    started_at: Mapped[datetime]
    duration_seconds: Mapped[float]
    engine: Mapped[dict[str, Any] | None]
    inputs: Mapped[dict[str, Any]]
    error_code: Mapped[str | None]
    error: Mapped[dict[str, Any] | None]
    mass_deletion: Mapped[str | None]
    findings_total: Mapped[int]
    findings_counted: Mapped[int]


class FindingRow(Base):
    """One resource address of a stack that differs or once did; `document` is the finding as last seen.

    The index over statuses holds all that a page is chosen by, so that choosing one reads no row.
    """

    __tablename__ = "findings"
    __table_args__ = (
        UniqueConstraint("stack_id", "identity"),
        Index(None, "status", "id", "counted", "stack_id"),
        Index(None, "until"),
        Index(None, "first_check_id"),
        Index(None, "last_check_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    stack_id: Mapped[int] = mapped_column(ForeignKey("stacks.id"))
    identity: Mapped[str]
    address: Mapped[str]
    type: Mapped[str]
    kind: Mapped[FindingKind]
    severity: Mapped[Severity]
    fingerprint: Mapped[str]
    counted: Mapped[bool]
    status: Mapped[FindingStatus]
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]
    first_check_id: Mapped[int] = mapped_column(ForeignKey("checks.id"))
    last_check_id: Mapped[int] = mapped_column(ForeignKey("checks.id"))
    resolved_at: Mapped[datetime | None]
    resolution: Mapped[str | None]
    document: Mapped[dict[str, Any]]
    opened_at: Mapped[datetime]
    clean_at: Mapped[datetime | None]
    until: Mapped[datetime | None]
    acceptance: Mapped[dict[str, Any] | None]
    turns: Mapped[list[Any] | None]
    flapping_since: Mapped[datetime | None]
    story: Mapped[str] = mapped_column(server_default="")


class FindingEventRow(Base):
    """One step in a finding's life, with the finding as it was then, by whom and why.

    What a person or the time did has no check, nor has the end of a removed stack's.
    """

    __tablename__ = "finding_events"
    __table_args__ = (Index(None, "finding_id", "id"), Index(None, "check_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    finding_id: Mapped[int] = mapped_column(ForeignKey("findings.id"))
    check_id: Mapped[int | None] = mapped_column(ForeignKey("checks.id"))
    event: Mapped[FindingEventKind]
    at: Mapped[datetime]
    document: Mapped[dict[str, Any]]
    actor: Mapped[str] = mapped_column(server_default=DRIFTWATCH)
    reason: Mapped[str | None]
    until: Mapped[datetime | None]


class JobRow(Base):
    """One unit of work. The two partial indexes are the promise: one queued and one running per stack.

    `token` is 0 until the job is claimed. `check_id` names the check that came of it and is no foreign key:
    checks are pruned without asking jobs.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index(
            "uq_jobs_queued_stack_id",
            "stack_id",
            unique=True,
            sqlite_where=text("state = 'queued'"),
            postgresql_where=text("state = 'queued'"),
        ),
        Index(
            "uq_jobs_running_stack_id",
            "stack_id",
            unique=True,
            sqlite_where=text("state = 'running'"),
            postgresql_where=text("state = 'running'"),
        ),
        Index(None, "state", "priority", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    stack_id: Mapped[int] = mapped_column(ForeignKey("stacks.id"))
    state: Mapped[JobState]
    trigger: Mapped[Trigger]
    priority: Mapped[int]
    requested_by: Mapped[str | None]
    created_at: Mapped[datetime]
    attempts: Mapped[int]
    token: Mapped[int]
    node: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    check_id: Mapped[int | None]


class MessageRow(Base):
    """One announcement for one channel. `receipt` is what the channel answered.

    What belongs to one `thread` keeps its order on its channel, and may go out together. `incident_id` is no
    foreign key: incidents are pruned without asking messages that were sent.
    """

    __tablename__ = "messages"
    __table_args__ = (
        Index(None, "state", "channel", "thread", "id"),
        Index(None, "channel", "thread", "id"),
        Index(None, "episode"),
        Index(None, "incident_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    channel: Mapped[str]
    dedupe_key: Mapped[str] = mapped_column(unique=True)
    stack: Mapped[str]
    episode: Mapped[str]
    state: Mapped[MessageState]
    announcement: Mapped[dict[str, Any]]
    attempts: Mapped[int]
    created_at: Mapped[datetime]
    next_attempt_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    receipt: Mapped[dict[str, Any] | None]
    reason: Mapped[str | None]
    thread: Mapped[str]
    incident_id: Mapped[int | None]


class IncidentRow(Base):
    """What came from one cause. `key` says which; each time it comes anew it is one generation later."""

    __tablename__ = "incidents"
    __table_args__ = (
        UniqueConstraint("key", "generation"),
        Index(None, "closed_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str]
    generation: Mapped[int]
    title: Mapped[str | None]
    opened_at: Mapped[datetime]
    joined_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class MemberRow(Base):
    """One stack's part in an incident, by the episode that it is told in.

    `story` is the key of the stack's findings that belong to it, None where it is about the detector. `rank`
    is that of the worst severity, `channels` who was told, `document` the latest announcement.
    """

    __tablename__ = "incident_members"

    episode: Mapped[str] = mapped_column(primary_key=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incidents.id"), index=True)
    stack_id: Mapped[int] = mapped_column(ForeignKey("stacks.id"), index=True)
    story: Mapped[str | None]
    rank: Mapped[int]
    channels: Mapped[list[Any]]
    document: Mapped[dict[str, Any]]
    over_at: Mapped[datetime | None]


class AuditRow(Base):
    """Who asked for what, by which way, and what came of it. Rows are only ever added.

    `key` is that of the request, so that one which comes twice is taken once; `digest` covers the row and the
    digest of the row before it.
    """

    __tablename__ = "audit"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str]
    via: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    outcome: Mapped[str]
    reason: Mapped[str | None]
    key: Mapped[str | None] = mapped_column(unique=True)
    digest: Mapped[str]


class ToldRow(Base):
    """What a stack's people last heard of a story, and its episodes: of drift, of failing checks."""

    __tablename__ = "told"

    stack_id: Mapped[int] = mapped_column(ForeignKey("stacks.id"), primary_key=True, autoincrement=False)
    story: Mapped[str] = mapped_column(primary_key=True, server_default="")
    document: Mapped[dict[str, Any]]
    episode: Mapped[str | None] = mapped_column(index=True)
    outage: Mapped[str | None] = mapped_column(index=True)


class BaselineRow(Base):
    """The inputs of a stack's last check that was in sync."""

    __tablename__ = "baselines"
    __table_args__ = (Index(None, "check_id"),)

    stack_id: Mapped[int] = mapped_column(ForeignKey("stacks.id"), primary_key=True, autoincrement=False)
    check_id: Mapped[int] = mapped_column(ForeignKey("checks.id"))
    inputs: Mapped[dict[str, Any]]


class ProposalRow(Base):
    """A proposal with its life.

    The two partial indexes are the promise: per stack one that is being applied, and of each kind one that is
    to be decided.

    `begun_at` to `exit_code` are its run's, for asking by; `check_id` names the check that said whether it
    helped and is no foreign key: checks are pruned without asking proposals.
    """

    __tablename__ = "proposals"
    __table_args__ = (
        Index(
            "uq_proposals_applying_stack_id",
            "stack_id",
            unique=True,
            sqlite_where=text("state = 'applying'"),
            postgresql_where=text("state = 'applying'"),
        ),
        Index(
            "uq_proposals_pending_stack_id_kind",
            "stack_id",
            "kind",
            unique=True,
            sqlite_where=text("state IN ('proposed', 'approved', 'waiting')"),
            postgresql_where=text("state IN ('proposed', 'approved', 'waiting')"),
        ),
        Index(None, "stack_id", "id"),
        Index(None, "state", "id"),
        Index(None, "begun_at"),
        Index(None, "ended_at"),
        Index(None, "check_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    stack_id: Mapped[int] = mapped_column(ForeignKey("stacks.id"))
    kind: Mapped[ProposalKind]
    state: Mapped[ProposalState]
    digest: Mapped[str]
    automatic: Mapped[bool]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    draft: Mapped[dict[str, Any]]
    decisions: Mapped[list[Any]]
    held: Mapped[dict[str, Any] | None]
    held_until: Mapped[datetime | None]
    run: Mapped[dict[str, Any] | None]
    begun_at: Mapped[datetime | None]
    exit_code: Mapped[int | None]
    check_id: Mapped[int | None]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    superseded_by: Mapped[int | None] = mapped_column(ForeignKey("proposals.id"))


class ProposalEventRow(Base):
    """One step in a proposal's life, by whom, and in words why."""

    __tablename__ = "proposal_events"
    __table_args__ = (Index(None, "proposal_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    proposal_id: Mapped[int] = mapped_column(ForeignKey("proposals.id"))
    at: Mapped[datetime]
    actor: Mapped[str]
    event: Mapped[ProposalEventKind]
    detail: Mapped[str | None]


class SuspensionRow(Base):
    """Nothing is applied in `scope` until `until`, or until somebody ends it. One of a scope at a time."""

    __tablename__ = "suspensions"
    __table_args__ = (
        Index(
            "uq_suspensions_lasting_scope",
            "scope",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    scope: Mapped[str]
    actor: Mapped[str]
    at: Mapped[datetime]
    reason: Mapped[str]
    until: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None]


class PinRow(Base):
    """The commit at which a stack stays that was rolled back."""

    __tablename__ = "pins"

    stack_id: Mapped[int] = mapped_column(ForeignKey("stacks.id"), primary_key=True, autoincrement=False)
    commit_sha: Mapped[str]
    actor: Mapped[str]
    at: Mapped[datetime]
    reason: Mapped[str]


class WishRow(Base):
    """A repair that a person asked for, until a daemon has proposed it or said why it cannot be."""

    __tablename__ = "wishes"
    __table_args__ = (Index(None, "done_at"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    stack_id: Mapped[int] = mapped_column(ForeignKey("stacks.id"))
    kind: Mapped[ProposalKind]
    commit_sha: Mapped[str | None]
    revert: Mapped[bool]
    actor: Mapped[str]
    reason: Mapped[str | None]
    at: Mapped[datetime]
    done_at: Mapped[datetime | None]
    proposal_id: Mapped[int | None]
    error: Mapped[str | None]


class AdoptionRow(Base):
    """Drift that is to be brought into the code, until a daemon has tried, and what came of it after that."""

    __tablename__ = "adoptions"
    __table_args__ = (Index(None, "done_at"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    stack_id: Mapped[int] = mapped_column(ForeignKey("stacks.id"))
    findings: Mapped[list[Any]]
    marks: Mapped[list[Any]]
    imports: Mapped[dict[str, Any]]
    actor: Mapped[str]
    reason: Mapped[str | None]
    at: Mapped[datetime]
    done_at: Mapped[datetime | None]
    outcome: Mapped[dict[str, Any] | None]


class TokenRow(Base):
    """A token for the API: a digest of its secret, whose it is, and what of their rights it has."""

    __tablename__ = "tokens"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(unique=True)
    user: Mapped[str]
    rights: Mapped[list[Any] | None]
    stacks: Mapped[list[Any] | None]
    note: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    revoked_by: Mapped[str | None]
    used_at: Mapped[datetime | None]
