"""`driftwatch incidents list | show`: what came from one cause, over as many stacks as it concerns.

The store is imported when a command runs, not when the command line is built.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from driftwatch.cli.formats import Listing, to_json
from driftwatch.documents.drift import incidents_document, shown_incident
from driftwatch.errors import UsageError

app = typer.Typer(help="What came from one cause, over all its stacks; by itself it lists.")

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="The configuration file.", envvar="DRIFTWATCH_CONFIG")
]
ListingOption = Annotated[Listing, typer.Option("--format", "-f", help="How to print it.")]
DEFAULT_CONFIG = Path("driftwatch.yaml")


@app.command("list")
def list_incidents(
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
    after: Annotated[
        int | None, typer.Option(min=1, help="The `next` of the page before.", show_default=False)
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """List the incidents that are not over, the newest first."""
    from driftwatch.cli import terminal
    from driftwatch.cli.clock import now
    from driftwatch.cli.compose import opened_store, read_settings

    with opened_store(read_settings(config, os.environ)) as store:
        page = store.incidents(open_only=not everything, limit=limit, after=after)
    if output is Listing.JSON:
        typer.echo(to_json(incidents_document(page.items, page.next)))
        return
    if not page.items:
        terminal.stdout.print("No incidents.")
        return
    terminal.stdout.print(terminal.incidents_list(page.items, now()))
    if page.next is not None:
        terminal.stdout.print(f"More: --after {page.next}", style="dim")


@app.command("show")
def show_incident(
    number: Annotated[int, typer.Argument(metavar="ID", help="The incident's id.")],
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Show one incident: how each of its stacks stands, and what is open there."""
    from driftwatch.cli import terminal
    from driftwatch.cli.clock import now
    from driftwatch.cli.compose import opened_store, read_settings

    with opened_store(read_settings(config, os.environ)) as store:
        incident = store.incident(number)
        found = store.open_in(number) if incident else []
    if incident is None:
        raise UsageError(f"no incident {number}", advice="`driftwatch incidents list --all` shows their ids.")
    waiting: dict[str, list[int]] = {}
    for each in found:
        waiting.setdefault(str(each.stack), []).append(each.id)
    if output is Listing.JSON:
        typer.echo(to_json(shown_incident(incident, waiting)))
    else:
        terminal.stdout.print(terminal.incident_in_full(incident, waiting, now()))
