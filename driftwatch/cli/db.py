"""`driftwatch db upgrade`: the database from the terminal.

The daemon upgrades what it opens by itself; this is for who wants to see it happen first, with the daemon
stopped. SQLAlchemy is imported when the command runs, not when the command line is built.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The database.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """The database."""


@app.command("upgrade")
def upgrade(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="The configuration file.", envvar="DRIFTWATCH_CONFIG")
    ] = Path("driftwatch.yaml"),
) -> None:
    """Make the database, or bring it to this driftwatch's schema. Safe to run again."""
    from driftwatch.cli.compose import opened_store, read_settings

    with opened_store(read_settings(config, os.environ)) as store:
        done = store.upgraded
    if not done.changed:
        typer.echo(f"The schema is up to date ({done.after}).")
        return
    typer.echo(f"Upgraded from {done.before or 'nothing'} to {done.after}.")
    if done.copy:
        typer.echo(f"The database as it was before: {done.copy}")
