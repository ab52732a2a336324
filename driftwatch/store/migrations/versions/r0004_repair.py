"""Proposals and their lives, suspensions, pins.

A stack that was marked as suspended has a suspension of its own now.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Frozen as of this revision, as in the first.
BIG_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)

KINDS = ("revert", "deploy", "rollback")
STATES = (
    *("proposed", "approved", "waiting", "applying", "applied", "verified"),
    *("failed", "superseded", "rejected", "expired", "interrupted"),
)
EVENTS = (
    *("proposed", "agreed", "approved", "waiting", "applying", "applied", "verified"),
    *("failed", "superseded", "rejected", "expired", "interrupted"),
)

KEEP_SUSPENDED = """
    INSERT INTO suspensions (scope, actor, at, reason)
    SELECT DISTINCT name, 'somebody', CURRENT_TIMESTAMP, 'suspended before the upgrade'
    FROM stacks WHERE suspended
"""


def upgrade() -> None:
    """Makes the tables, and turns the mark on stacks into suspensions."""
    _make_proposals()
    _make_suspensions()
    op.create_table(
        "pins",
        sa.Column("stack_id", BIG_INTEGER, autoincrement=False, nullable=False),
        sa.Column("commit_sha", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["stack_id"], ["stacks.id"], name=op.f("fk_pins_stack_id_stacks")),
        sa.PrimaryKeyConstraint("stack_id", name=op.f("pk_pins")),
    )
    op.create_table(
        "wishes",
        sa.Column("id", BIG_INTEGER, nullable=False),
        sa.Column("stack_id", BIG_INTEGER, nullable=False),
        sa.Column("kind", _choice("kind", KINDS), nullable=False),
        sa.Column("commit_sha", sa.Text(), nullable=True),
        sa.Column("revert", sa.Boolean(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("done_at", MOMENT, nullable=True),
        sa.Column("proposal_id", BIG_INTEGER, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["stack_id"], ["stacks.id"], name=op.f("fk_wishes_stack_id_stacks")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wishes")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_wishes_done_at"), "wishes", ["done_at"])
    op.execute(KEEP_SUSPENDED)
    with op.batch_alter_table("stacks") as stacks:
        stacks.drop_column("suspended")


def _make_proposals() -> None:
    op.create_table(
        "proposals",
        sa.Column("id", BIG_INTEGER, nullable=False),
        sa.Column("stack_id", BIG_INTEGER, nullable=False),
        sa.Column("kind", _choice("kind", KINDS), nullable=False),
        sa.Column("state", _choice("state", STATES), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("automatic", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=True),
        sa.Column("draft", DOCUMENT, nullable=False),
        sa.Column("decisions", DOCUMENT, nullable=False),
        sa.Column("held", DOCUMENT, nullable=True),
        sa.Column("held_until", MOMENT, nullable=True),
        sa.Column("run", DOCUMENT, nullable=True),
        sa.Column("begun_at", MOMENT, nullable=True),
        sa.Column("exit_code", BIG_INTEGER, nullable=True),
        sa.Column("check_id", BIG_INTEGER, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("superseded_by", BIG_INTEGER, nullable=True),
        sa.ForeignKeyConstraint(["stack_id"], ["stacks.id"], name=op.f("fk_proposals_stack_id_stacks")),
        sa.ForeignKeyConstraint(
            ["superseded_by"], ["proposals.id"], name=op.f("fk_proposals_superseded_by_proposals")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposals")),
        sqlite_autoincrement=True,
    )
    _make_unique("uq_proposals_applying_stack_id", "proposals", ["stack_id"], "state = 'applying'")
    _make_unique(
        "uq_proposals_pending_stack_id_kind",
        "proposals",
        ["stack_id", "kind"],
        "state IN ('proposed', 'approved', 'waiting')",
    )
    op.create_index(op.f("ix_proposals_stack_id_id"), "proposals", ["stack_id", "id"])
    op.create_index(op.f("ix_proposals_state_id"), "proposals", ["state", "id"])
    op.create_index(op.f("ix_proposals_begun_at"), "proposals", ["begun_at"])
    op.create_index(op.f("ix_proposals_ended_at"), "proposals", ["ended_at"])
    op.create_index(op.f("ix_proposals_check_id"), "proposals", ["check_id"])
    op.create_table(
        "proposal_events",
        sa.Column("id", BIG_INTEGER, nullable=False),
        sa.Column("proposal_id", BIG_INTEGER, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("event", _choice("event", EVENTS), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["proposal_id"], ["proposals.id"], name=op.f("fk_proposal_events_proposal_id_proposals")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposal_events")),
    )
    op.create_index(op.f("ix_proposal_events_proposal_id_id"), "proposal_events", ["proposal_id", "id"])


def _make_suspensions() -> None:
    op.create_table(
        "suspensions",
        sa.Column("id", BIG_INTEGER, nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("until", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suspensions")),
    )
    _make_unique("uq_suspensions_lasting_scope", "suspensions", ["scope"], "ended_at IS NULL")


def _make_unique(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(
        op.f(name), table, columns, unique=True, sqlite_where=condition, postgresql_where=condition
    )


def _choice(name: str, values: tuple[str, ...]) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)
