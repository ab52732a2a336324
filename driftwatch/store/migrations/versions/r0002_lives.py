"""The life of findings: what people say of them, who did what and why, how long it took; allowed ages.

Of what was resolved before, every end is called `gone`, since nobody asked by what: that is `undetermined`
now. All statuses stay.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Frozen as of this revision, as in the first.
DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)

STATUSES = ("open", "changed", "reopened", "resolved", "acknowledged", "snoozed", "accepted", "flapping")
EVENTS = (
    *("opened", "changed", "reopened", "resolved", "stack_removed"),
    *("acknowledged", "snoozed", "accepted", "flapping", "settled"),
)

OPENED_AT = """
    UPDATE findings SET opened_at = coalesce(
        (SELECT max(at) FROM finding_events
         WHERE finding_id = findings.id AND event IN ('opened', 'reopened')),
        first_seen)
"""


def upgrade() -> None:
    """Adds the columns, fills them, and then has the tables rebuilt where they must be."""
    op.add_column("stacks", sa.Column("allowed_age", sa.Double(), nullable=True))
    op.add_column("findings", sa.Column("opened_at", MOMENT, nullable=True))
    op.add_column("findings", sa.Column("clean_at", MOMENT, nullable=True))
    op.add_column("findings", sa.Column("until", MOMENT, nullable=True))
    op.add_column("findings", sa.Column("acceptance", DOCUMENT, nullable=True))
    op.add_column("findings", sa.Column("turns", DOCUMENT, nullable=True))
    op.add_column("findings", sa.Column("flapping_since", MOMENT, nullable=True))
    op.add_column(
        "finding_events", sa.Column("actor", sa.Text(), server_default="driftwatch", nullable=False)
    )
    op.add_column("finding_events", sa.Column("reason", sa.Text(), nullable=True))
    op.add_column("finding_events", sa.Column("until", MOMENT, nullable=True))
    op.execute(OPENED_AT)
    op.execute("UPDATE findings SET resolution = 'undetermined' WHERE resolution = 'gone'")
    op.drop_index(op.f("ix_findings_status_counted_id"), "findings")
    with op.batch_alter_table("findings") as findings:
        findings.alter_column("opened_at", nullable=False)
        findings.drop_constraint(op.f("ck_findings_status"), type_="check")
        findings.create_check_constraint(op.f("ck_findings_status"), _among("status", STATUSES))
    with op.batch_alter_table("finding_events") as events:
        events.drop_constraint(op.f("ck_finding_events_event"), type_="check")
        events.create_check_constraint(op.f("ck_finding_events_event"), _among("event", EVENTS))
    op.create_index(
        op.f("ix_findings_status_id_counted_stack_id"), "findings", ["status", "id", "counted", "stack_id"]
    )
    op.create_index(op.f("ix_findings_until"), "findings", ["until"])


def _among(column: str, values: tuple[str, ...]) -> sa.TextClause:
    return sa.text(f"{column} IN ({', '.join(repr(value) for value in values)})")
