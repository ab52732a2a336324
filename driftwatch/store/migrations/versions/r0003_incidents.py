"""Incidents over several stacks, threads that gather their messages, stories within a stack, and the audit.

Of what was told before, each stack has one story; messages that wait go on in the thread of their episode.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Frozen as of this revision, as in the first.
BIG_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Makes the tables, gives the old rows what they stand for, and changes the keys."""
    _make_incidents()
    _make_audit()
    op.add_column("findings", sa.Column("story", sa.Text(), server_default="", nullable=False))
    op.add_column("told", sa.Column("story", sa.Text(), server_default="", nullable=False))
    with op.batch_alter_table("told") as told:
        told.drop_constraint(op.f("pk_told"), type_="primary")
        told.create_primary_key(op.f("pk_told"), ["stack_id", "story"])
    op.add_column("messages", sa.Column("thread", sa.Text(), nullable=True))
    op.add_column("messages", sa.Column("incident_id", BIG_INTEGER, nullable=True))
    op.execute(
        "UPDATE messages SET thread = CASE WHEN channel LIKE 'webhook:%' THEN 'stack:' || stack"
        " ELSE episode END"
    )
    op.drop_index(op.f("ix_messages_state_channel_stack_id"), "messages")
    op.drop_index(op.f("ix_messages_channel_episode_id"), "messages")
    with op.batch_alter_table("messages") as messages:
        messages.alter_column("thread", nullable=False)
    op.create_index(
        op.f("ix_messages_state_channel_thread_id"), "messages", ["state", "channel", "thread", "id"]
    )
    op.create_index(op.f("ix_messages_channel_thread_id"), "messages", ["channel", "thread", "id"])
    op.create_index(op.f("ix_messages_episode"), "messages", ["episode"])
    op.create_index(op.f("ix_messages_incident_id"), "messages", ["incident_id"])


def _make_incidents() -> None:
    op.create_table(
        "incidents",
        sa.Column("id", BIG_INTEGER, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("generation", BIG_INTEGER, nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("joined_at", MOMENT, nullable=False),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incidents")),
        sa.UniqueConstraint("key", "generation", name=op.f("uq_incidents_key_generation")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_incidents_closed_at"), "incidents", ["closed_at"])
    op.create_table(
        "incident_members",
        sa.Column("episode", sa.Text(), nullable=False),
        sa.Column("incident_id", BIG_INTEGER, nullable=False),
        sa.Column("stack_id", BIG_INTEGER, nullable=False),
        sa.Column("story", sa.Text(), nullable=True),
        sa.Column("rank", BIG_INTEGER, nullable=False),
        sa.Column("channels", DOCUMENT, nullable=False),
        sa.Column("document", DOCUMENT, nullable=False),
        sa.Column("over_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incidents.id"], name=op.f("fk_incident_members_incident_id_incidents")
        ),
        sa.ForeignKeyConstraint(
            ["stack_id"], ["stacks.id"], name=op.f("fk_incident_members_stack_id_stacks")
        ),
        sa.PrimaryKeyConstraint("episode", name=op.f("pk_incident_members")),
    )
    op.create_index(op.f("ix_incident_members_incident_id"), "incident_members", ["incident_id"])
    op.create_index(op.f("ix_incident_members_stack_id"), "incident_members", ["stack_id"])


def _make_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", BIG_INTEGER, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sa.UniqueConstraint("key", name=op.f("uq_audit_key")),
        sqlite_autoincrement=True,
    )
