"""What Alembic runs: the migrations, in the transaction that `driftwatch.store.schema` opened."""

from __future__ import annotations

from alembic import context

from driftwatch.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    # SQLite can undo DDL; Alembic's default for it comes from a driver that began transactions too late.
    transactional_ddl=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
