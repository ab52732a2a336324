"""`driftwatch audit list | verify`: who asked for what, what came of it, and whether it is as it was written.

The store is imported when a command runs, not when the command line is built.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from driftwatch.cli.formats import Listing, to_json
from driftwatch.documents.drift import audit_document, audit_entry
from driftwatch.errors import Exit

app = typer.Typer(help="Who asked for what, and what came of it; by itself it lists.")

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="The configuration file.", envvar="DRIFTWATCH_CONFIG")
]
ListingOption = Annotated[Listing, typer.Option("--format", "-f", help="How to print it.")]
DEFAULT_CONFIG = Path("driftwatch.yaml")


@app.command("list")
def list_entries(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
    after: Annotated[
        int | None, typer.Option(min=1, help="The `next` of the page before.", show_default=False)
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """List what people asked for, the newest first."""
    from driftwatch.cli import terminal
    from driftwatch.cli.compose import opened_store, read_settings

    with opened_store(read_settings(config, os.environ)) as store:
        page = store.audit(limit=limit, after=after)
    if output is Listing.JSON:
        typer.echo(to_json(audit_document(page.items, page.next)))
        return
    if not page.items:
        terminal.stdout.print("Nobody has asked for anything.")
    for entry in page.items:
        terminal.stdout.print(terminal.audit_line(entry))
    if page.next is not None:
        terminal.stdout.print(f"More: --after {page.next}", style="dim")


@app.command("verify")
def verify(config: ConfigOption = DEFAULT_CONFIG, output: ListingOption = Listing.TABLE) -> None:
    """Tell whether every row is as it was written, and none before another is gone.

    Rows removed from the end leave no trace but here: whoever keeps the digest of the newest row elsewhere
    can tell. Exit codes: 0 all is as it was written, 1 it is not.
    """
    from driftwatch.cli.compose import opened_store, read_settings

    with opened_store(read_settings(config, os.environ)) as store:
        damaged = store.audit_damage()
        newest = next(iter(store.audit(limit=1).items), None)
    if output is Listing.JSON:
        document = {
            "intact": damaged is None,
            "damaged": damaged,
            "newest": audit_entry(newest) if newest else None,
        }
        typer.echo(to_json(document))
    elif damaged is not None:
        typer.echo(f"Row {damaged} of the audit is not as it was written, or one before it is gone.")
    else:
        typer.echo("The audit is as it was written.")
        if newest:
            typer.echo(f"Its newest row is {newest.id}, with the digest {newest.digest}.")
    raise typer.Exit(Exit.OK if damaged is None else Exit.ERROR)
