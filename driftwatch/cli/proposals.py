"""`driftwatch proposals list | show | create | approve | reject | apply | abandon`, as options.

`repair` does the work. The store is imported when a command runs, not when the command line is built.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from driftwatch.cli.formats import Listing
from driftwatch.model import ProposalKind

app = typer.Typer(help="What would close findings, and who says that it may.", no_args_is_help=True)

DEFAULT_CONFIG = Path("driftwatch.yaml")
PLAN_SECONDS = 60.0
"""How long a command waits for a daemon to plan; a plan that takes longer is proposed all the same."""
APPLY_SECONDS = 900.0

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="The configuration file.", envvar="DRIFTWATCH_CONFIG")
]
ListingOption = Annotated[Listing, typer.Option("--format", "-f", help="How to print it.")]
ProposalArgument = Annotated[int, typer.Argument(metavar="ID", help="The proposal's id.")]
ReasonOption = Annotated[
    str | None, typer.Option("--reason", metavar="WORDS", help="Why, for the record.", show_default=False)
]
AsOption = Annotated[
    str | None,
    typer.Option("--as", metavar="NAME", help="Who says it; by default your user name.", show_default=False),
]
WaitOption = Annotated[
    float, typer.Option("--wait", metavar="SECONDS", min=0, help="How long to wait for the daemon.")
]


class Repair(StrEnum):
    """What `create` can ask for; a rollback has a command of its own."""

    REVERT = "revert"
    DEPLOY = "deploy"


@app.command("list")
def list_proposals(
    *,
    stack: Annotated[
        str | None,
        typer.Option("--stack", "-s", help="Only of these stacks (id or glob).", show_default=False),
    ] = None,
    state: Annotated[
        str,
        typer.Option(
            help="proposed, approved, waiting, applying, applied: `open` for these; verified, failed, "
            "superseded, rejected, expired, interrupted; `all`."
        ),
    ] = "open",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
    after: Annotated[
        int | None, typer.Option(help="The `next` of the page before.", show_default=False)
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """List proposals, the newest first."""
    from driftwatch.cli.repair import list_proposals as command

    raise typer.Exit(command(config, stack=stack, state=state, limit=limit, after=after, form=output))


@app.command("show")
def show(
    proposal: ProposalArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Show one proposal: what it would do and why, who approved it, what it waits for, and its life."""
    from driftwatch.cli.repair import show_proposal as command

    raise typer.Exit(command(config, proposal, output))


@app.command("create")
def create(
    stack: Annotated[str, typer.Argument(help="A stack id.")],
    *,
    kind: Annotated[
        Repair | None,
        typer.Option(
            help="`revert` what was changed by hand, or `deploy` what is merged; by default what is open.",
            show_default=False,
        ),
    ] = None,
    reason: ReasonOption = None,
    name: AsOption = None,
    wait: WaitOption = PLAN_SECONDS,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Have the daemon plan a repair of a stack and propose it.

    Exit codes: 0 it is proposed, 1 it is not, or not yet, 64 wrong usage.
    """
    from driftwatch.cli.repair import create as command

    wanted = ProposalKind(kind) if kind is not None else None
    raise typer.Exit(command(config, stack, kind=wanted, reason=reason, name=name, wait=wait, form=output))


@app.command("approve")
def approve(
    proposal: ProposalArgument,
    *,
    reason: ReasonOption = None,
    digest: Annotated[
        str | None,
        typer.Option(
            metavar="DIGEST",
            help="That of what you looked at; where it is another by now, nothing is approved.",
            show_default=False,
        ),
    ] = None,
    name: AsOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Say that a proposal may be applied: just what it would do now, and nothing else."""
    from driftwatch.cli.repair import approve as command

    raise typer.Exit(command(config, proposal, reason=reason, name=name, digest=digest, form=output))


@app.command("reject")
def reject(
    proposal: ProposalArgument,
    reason: Annotated[str, typer.Option(metavar="WORDS", help="Why not; for who reads it later.")],
    name: AsOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Say that a proposal is not to be applied."""
    from driftwatch.cli.repair import reject as command

    raise typer.Exit(command(config, proposal, reason=reason, name=name, form=output))


@app.command("apply")
def apply(
    proposal: ProposalArgument,
    *,
    override: Annotated[
        bool, typer.Option("--override-window", help="Apply it though its windows are closed; say why.")
    ] = False,
    mass_deletion: Annotated[
        bool,
        typer.Option("--acknowledge-mass-deletion", help="Apply it though it deletes much; say why."),
    ] = False,
    reason: ReasonOption = None,
    name: AsOption = None,
    wait: WaitOption = APPLY_SECONDS,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Approve a proposal, have the daemon apply it, and wait for its end.

    Exit codes: 0 it is applied, 1 it failed or has not ended yet, 3 it is held, 64 wrong usage.
    """
    from driftwatch.cli.repair import apply as command

    raise typer.Exit(
        command(
            config,
            proposal,
            override=override,
            mass_deletion=mass_deletion,
            reason=reason,
            name=name,
            wait=wait,
            form=output,
        )
    )


@app.command("cancel")
def cancel(
    proposal: ProposalArgument,
    *,
    reason: Annotated[str, typer.Option(metavar="WORDS", help="Why; for who looks at the stack after it.")],
    name: AsOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Interrupt an apply that runs, once; its stack is suspended until somebody has looked at its state."""
    from driftwatch.cli.repair import cancel as command

    raise typer.Exit(command(config, proposal, reason=reason, name=name, form=output))


@app.command("abandon")
def abandon(
    proposal: ProposalArgument,
    *,
    node: Annotated[
        str,
        typer.Option(
            metavar="NODE",
            help="Where it was being applied, as `show` prints it; say it when nothing runs there any more.",
        ),
    ],
    reason: Annotated[str, typer.Option(metavar="WORDS", help="How you know; for who reads it later.")],
    name: AsOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Give up an apply whose machine is gone for good: it is interrupted, and its stack suspended."""
    from driftwatch.cli.repair import abandon as command

    raise typer.Exit(command(config, proposal, node=node, reason=reason, name=name, form=output))


@app.command("discard")
def discard(
    proposal: ProposalArgument,
    *,
    reason: Annotated[str, typer.Option(metavar="WORDS", help="How you know that the state is in order.")],
    name: AsOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Remove what an interrupted apply left here: plan, log, and a state that its backend did not take."""
    from driftwatch.cli.repair import discard as command

    raise typer.Exit(command(config, proposal, reason=reason, name=name))
