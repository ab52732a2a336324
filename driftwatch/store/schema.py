"""The schema's revision: brought up to date in one transaction, or refused.

Alembic is only loaded where there is something to do: what a start usually needs is one comparison.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import insert, inspect, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from driftwatch import __version__
from driftwatch.errors import StoreNewerError
from driftwatch.store.tables import SchemaInfo
from driftwatch.store.values import Upgraded

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

    from driftwatch.store.engine import Backend, Database

HEAD = "0006"
"""The newest revision under `migrations/versions/`; a test holds them together."""

MIGRATIONS = Path(__file__).parent / "migrations"

_VERSION_TABLE = "alembic_version"


def upgrade(database: Database) -> Upgraded:
    """Makes the database that of this driftwatch: new, upgraded, or as it is.

    Raises StoreNewerError where a newer driftwatch wrote it, and StoreCorruptError where it is damaged. A
    SQLite file that holds something is copied before its schema changes.
    """
    backend = database.backend

    def look(connection: Connection) -> str | None:
        backend.refuse_damage(connection)
        return revision_of(connection)

    found = database.read(look)
    if found == HEAD:
        return Upgraded(before=found, after=HEAD, copy=None)
    with backend.upgrading() as connection:
        return _upgrade(connection, backend)


def revision_of(connection: Connection) -> str | None:
    """The revision of the schema; None where there is none yet."""
    if not inspect(connection).has_table(_VERSION_TABLE):
        return None
    revision: str | None = connection.scalar(text(f"SELECT version_num FROM {_VERSION_TABLE}"))  # noqa: S608  (a constant)
    return revision


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration without an alembic.ini, which a wheel has no good place for."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection, backend: Backend) -> Upgraded:
    from alembic import command

    found = revision_of(connection)  # another process may have been faster
    if found == HEAD:
        return Upgraded(before=found, after=HEAD, copy=None)
    config = alembic_config(connection)
    if found is not None:
        _refuse_unknown(connection, backend, found, config)
    copy = backend.keep_copy(found) if found is not None else None
    command.upgrade(config, HEAD)
    _sign(connection)
    return Upgraded(before=found, after=HEAD, copy=copy)


def _refuse_unknown(connection: Connection, backend: Backend, found: str, config: Config) -> None:
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found in known:
        return
    writer = _writer_of(connection)
    raise StoreNewerError(
        f"the database {backend.place} has schema {found}{writer}, "
        f"and this driftwatch {__version__} knows schemas up to {HEAD}",
        advice="Run the newer driftwatch again, or restore the copy that was made before its upgrade.",
    )


def _writer_of(connection: Connection) -> str:
    """Who wrote it, where the newer schema still says so in the way that we know."""
    try:
        with connection.begin_nested():
            version = connection.scalar(select(SchemaInfo.written_by))
    except SQLAlchemyError:
        return ""
    return f" of driftwatch {version}" if version else ""


def _sign(connection: Connection) -> None:
    signed = connection.execute(update(SchemaInfo).values(written_by=__version__))
    if not signed.rowcount:
        connection.execute(insert(SchemaInfo).values(id=1, written_by=__version__))
