"""The first schema: repositories, stacks, checks, findings, jobs, messages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Frozen as of this revision: what the application's types become later is a later revision's matter.
BIG_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)

MESSAGE_STATES = ("waiting", "sent", "dead")
VERDICTS = ("in_sync", "drifted", "pending", "mixed", "error", "skipped")
METHODS = ("plan", "replay")
TRIGGERS = ("schedule", "commit", "manual", "cloud_event", "upstream", "post_apply", "retry")
JOB_STATES = ("queued", "running", "done", "failed", "interrupted")
KINDS = ("modified", "deleted", "created", "replaced", "destroyed", "unmanaged", "output", "check_failed")
SEVERITIES = ("info", "low", "medium", "high", "critical")
STATUSES = ("open", "changed", "reopened", "resolved")
EVENTS = ("opened", "changed", "reopened", "resolved", "stack_removed")


def _choice(name: str, values: tuple[str, ...]) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)


def upgrade() -> None:
    """Makes all tables."""
    op.create_table(
        "messages",
        sa.Column("id", BIG_INTEGER, nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("dedupe_key", sa.Text(), nullable=False),
        sa.Column("stack", sa.Text(), nullable=False),
        sa.Column("episode", sa.Text(), nullable=False),
        sa.Column("state", _choice("state", MESSAGE_STATES), nullable=False),
        sa.Column("announcement", DOCUMENT, nullable=False),
        sa.Column("attempts", BIG_INTEGER, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("next_attempt_at", MOMENT, nullable=False),
        sa.Column("sent_at", MOMENT, nullable=True),
        sa.Column("receipt", DOCUMENT, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.UniqueConstraint("dedupe_key", name=op.f("uq_messages_dedupe_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_messages_channel_episode_id"), "messages", ["channel", "episode", "id"], unique=False
    )
    op.create_index(
        op.f("ix_messages_state_channel_stack_id"),
        "messages",
        ["state", "channel", "stack", "id"],
        unique=False,
    )
    op.create_table(
        "repositories",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("branch", sa.Text(), nullable=True),
        sa.Column("commit_sha", sa.Text(), nullable=True),
        sa.Column("fetched_at", MOMENT, nullable=True),
        sa.Column("last_good_at", MOMENT, nullable=True),
        sa.Column("error", DOCUMENT, nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_repositories")),
    )
    op.create_table(
        "schema_info",
        sa.Column("id", BIG_INTEGER, nullable=False),
        sa.Column("written_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schema_info")),
    )
    op.create_table(
        "stacks",
        sa.Column("id", BIG_INTEGER, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("repository", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("labels", DOCUMENT, nullable=False),
        sa.Column("owners", DOCUMENT, nullable=False),
        sa.Column("declared_at", MOMENT, nullable=False),
        sa.Column("removed_at", MOMENT, nullable=True),
        sa.Column("suspended", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("next_due_at", MOMENT, nullable=True),
        sa.Column("token", BIG_INTEGER, server_default=sa.text("0"), nullable=False),
        sa.Column("verdict", _choice("verdict", VERDICTS), nullable=True),
        sa.Column("method", _choice("method", METHODS), nullable=True),
        sa.Column("commit_sha", sa.Text(), nullable=True),
        sa.Column("checked_at", MOMENT, nullable=True),
        sa.Column("last_good_at", MOMENT, nullable=True),
        sa.Column("error", DOCUMENT, nullable=True),
        sa.Column("open_findings", BIG_INTEGER, server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository"], ["repositories.name"], name=op.f("fk_stacks_repository_repositories")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stacks")),
        sa.UniqueConstraint(
            "repository", "path", "workspace", name=op.f("uq_stacks_repository_path_workspace")
        ),
    )
    op.create_table(
        "checks",
        sa.Column("id", BIG_INTEGER, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("stack_id", BIG_INTEGER, nullable=False),
        sa.Column("trigger", _choice("trigger", TRIGGERS), nullable=False),
        sa.Column("commit_sha", sa.Text(), nullable=True),
        sa.Column("verdict", _choice("verdict", VERDICTS), nullable=False),
        sa.Column("method", _choice("method", METHODS), nullable=False),
        sa.Column("method_reason", sa.Text(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("duration_seconds", sa.Double(), nullable=False),
        sa.Column("engine", DOCUMENT, nullable=True),
        sa.Column("inputs", DOCUMENT, nullable=False),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error", DOCUMENT, nullable=True),
        sa.Column("mass_deletion", sa.Text(), nullable=True),
        sa.Column("findings_total", BIG_INTEGER, nullable=False),
        sa.Column("findings_counted", BIG_INTEGER, nullable=False),
        sa.ForeignKeyConstraint(["stack_id"], ["stacks.id"], name=op.f("fk_checks_stack_id_stacks")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checks")),
        sa.UniqueConstraint("key", name=op.f("uq_checks_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_checks_stack_id_id"), "checks", ["stack_id", "id"], unique=False)
    op.create_index(op.f("ix_checks_started_at"), "checks", ["started_at"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("id", BIG_INTEGER, nullable=False),
        sa.Column("stack_id", BIG_INTEGER, nullable=False),
        sa.Column("state", _choice("state", JOB_STATES), nullable=False),
        sa.Column("trigger", _choice("trigger", TRIGGERS), nullable=False),
        sa.Column("priority", BIG_INTEGER, nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("attempts", BIG_INTEGER, nullable=False),
        sa.Column("token", BIG_INTEGER, nullable=False),
        sa.Column("node", sa.Text(), nullable=True),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("check_id", BIG_INTEGER, nullable=True),
        sa.ForeignKeyConstraint(["stack_id"], ["stacks.id"], name=op.f("fk_jobs_stack_id_stacks")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_jobs_state_priority_id"), "jobs", ["state", "priority", "id"], unique=False)
    op.create_index(
        "uq_jobs_queued_stack_id",
        "jobs",
        ["stack_id"],
        unique=True,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "uq_jobs_running_stack_id",
        "jobs",
        ["stack_id"],
        unique=True,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_table(
        "told",
        sa.Column("stack_id", BIG_INTEGER, autoincrement=False, nullable=False),
        sa.Column("document", DOCUMENT, nullable=False),
        sa.Column("episode", sa.Text(), nullable=True),
        sa.Column("outage", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["stack_id"], ["stacks.id"], name=op.f("fk_told_stack_id_stacks")),
        sa.PrimaryKeyConstraint("stack_id", name=op.f("pk_told")),
    )
    op.create_index(op.f("ix_told_episode"), "told", ["episode"], unique=False)
    op.create_index(op.f("ix_told_outage"), "told", ["outage"], unique=False)
    op.create_table(
        "baselines",
        sa.Column("stack_id", BIG_INTEGER, autoincrement=False, nullable=False),
        sa.Column("check_id", BIG_INTEGER, nullable=False),
        sa.Column("inputs", DOCUMENT, nullable=False),
        sa.ForeignKeyConstraint(["check_id"], ["checks.id"], name=op.f("fk_baselines_check_id_checks")),
        sa.ForeignKeyConstraint(["stack_id"], ["stacks.id"], name=op.f("fk_baselines_stack_id_stacks")),
        sa.PrimaryKeyConstraint("stack_id", name=op.f("pk_baselines")),
    )
    op.create_index(op.f("ix_baselines_check_id"), "baselines", ["check_id"], unique=False)
    op.create_table(
        "findings",
        sa.Column("id", BIG_INTEGER, nullable=False),
        sa.Column("stack_id", BIG_INTEGER, nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("kind", _choice("kind", KINDS), nullable=False),
        sa.Column("severity", _choice("severity", SEVERITIES), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("status", _choice("status", STATUSES), nullable=False),
        sa.Column("first_seen", MOMENT, nullable=False),
        sa.Column("last_seen", MOMENT, nullable=False),
        sa.Column("first_check_id", BIG_INTEGER, nullable=False),
        sa.Column("last_check_id", BIG_INTEGER, nullable=False),
        sa.Column("resolved_at", MOMENT, nullable=True),
        sa.Column("resolution", sa.Text(), nullable=True),
        sa.Column("document", DOCUMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["first_check_id"], ["checks.id"], name=op.f("fk_findings_first_check_id_checks")
        ),
        sa.ForeignKeyConstraint(
            ["last_check_id"], ["checks.id"], name=op.f("fk_findings_last_check_id_checks")
        ),
        sa.ForeignKeyConstraint(["stack_id"], ["stacks.id"], name=op.f("fk_findings_stack_id_stacks")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_findings")),
        sa.UniqueConstraint("stack_id", "identity", name=op.f("uq_findings_stack_id_identity")),
    )
    op.create_index(op.f("ix_findings_first_check_id"), "findings", ["first_check_id"], unique=False)
    op.create_index(op.f("ix_findings_last_check_id"), "findings", ["last_check_id"], unique=False)
    op.create_index(
        op.f("ix_findings_status_counted_id"), "findings", ["status", "counted", "id"], unique=False
    )
    op.create_table(
        "finding_events",
        sa.Column("id", BIG_INTEGER, nullable=False),
        sa.Column("finding_id", BIG_INTEGER, nullable=False),
        sa.Column("check_id", BIG_INTEGER, nullable=True),
        sa.Column("event", _choice("event", EVENTS), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("document", DOCUMENT, nullable=False),
        sa.ForeignKeyConstraint(["check_id"], ["checks.id"], name=op.f("fk_finding_events_check_id_checks")),
        sa.ForeignKeyConstraint(
            ["finding_id"], ["findings.id"], name=op.f("fk_finding_events_finding_id_findings")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_finding_events")),
    )
    op.create_index(op.f("ix_finding_events_check_id"), "finding_events", ["check_id"], unique=False)
    op.create_index(
        op.f("ix_finding_events_finding_id_id"), "finding_events", ["finding_id", "id"], unique=False
    )
