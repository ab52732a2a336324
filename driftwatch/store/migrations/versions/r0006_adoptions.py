"""Adoptions: drift that is to be brought into the code, and what came of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Frozen as of this revision, as in the first.
BIG_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Makes the table."""
    op.create_table(
        "adoptions",
        sa.Column("id", BIG_INTEGER, nullable=False),
        sa.Column("stack_id", BIG_INTEGER, nullable=False),
        sa.Column("findings", DOCUMENT, nullable=False),
        sa.Column("marks", DOCUMENT, nullable=False),
        sa.Column("imports", DOCUMENT, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("done_at", MOMENT, nullable=True),
        sa.Column("outcome", DOCUMENT, nullable=True),
        sa.ForeignKeyConstraint(["stack_id"], ["stacks.id"], name=op.f("fk_adoptions_stack_id_stacks")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_adoptions")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_adoptions_done_at"), "adoptions", ["done_at"])
