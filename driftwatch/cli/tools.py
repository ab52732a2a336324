"""`driftwatch tools list | install`: versions of terraform and tofu beside those on PATH.

Only a person runs this: no daemon installs anything, whatever a stack asks for. Adapters are imported when a
command runs, not when the command line is built.
"""

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from driftwatch.cli.formats import Listing, plain, to_json

if TYPE_CHECKING:
    from driftwatch.config.settings import Settings
    from driftwatch.terraform import Planner

app = typer.Typer(help="Versions of terraform and tofu, installed and verified.", no_args_is_help=True)

DEFAULT_CONFIG = Path("driftwatch.yaml")

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="The configuration file.", envvar="DRIFTWATCH_CONFIG")
]
ListingOption = Annotated[Listing, typer.Option("--format", "-f", help="How to print it.")]


class EngineName(StrEnum):
    """What can be installed."""

    TERRAFORM = "terraform"
    TOFU = "tofu"


@app.command("list")
def list_tools(config: ConfigOption = DEFAULT_CONFIG, output: ListingOption = Listing.TABLE) -> None:
    """List the programs that stacks are planned with, and who vouches for those that were installed."""
    from driftwatch.cli import terminal
    from driftwatch.cli.compose import read_settings
    from driftwatch.errors import NoBinaryError
    from driftwatch.terraform.installed import installed, tools_in

    settings = read_settings(config, os.environ)
    receipts = {each.program: each.receipt for each in installed(tools_in(settings.state_dir).absolute())}
    try:
        binaries = _planner(settings).binaries()
    except NoBinaryError as problem:
        terminal.stderr.print(plain(problem.message))
        binaries = ()
    broken = [program for program in receipts if program not in {each.path for each in binaries}]
    if output is Listing.JSON:
        typer.echo(
            to_json(
                {
                    "tools": [
                        {
                            "engine": each.name,
                            "version": each.version,
                            "path": str(each.path),
                            "source": each.source,
                            "verified": receipts[each.path].verified if each.path in receipts else None,
                            "sha256": receipts[each.path].archive_sha256 if each.path in receipts else None,
                        }
                        for each in binaries
                    ],
                    "unused": sorted(map(str, broken)),
                }
            )
        )
        return
    for each in binaries:
        receipt = receipts.get(each.path)
        told = f" · verified by {receipt.verified}" if receipt else ""
        terminal.stdout.print(
            plain(f"{each.name:<10} {each.version:<12} {each.source:<16} {each.path}{told}")
        )
    for program in broken:
        terminal.stdout.print(plain(f"not used: {program} ({_why_not(settings)})"))


@app.command("install")
def install(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The whole version, such as 1.11.4.")],
    engine: Annotated[EngineName, typer.Option(help="Which program.")] = EngineName.TERRAFORM,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Fetch a version from a mirror of its vendor's releases, verify it, and put it where stacks find it."""
    from driftwatch.cli import terminal
    from driftwatch.cli.clock import now
    from driftwatch.cli.compose import read_settings
    from driftwatch.terraform.installed import tools_in
    from driftwatch.terraform.releases import Installer

    settings = read_settings(config, os.environ)
    installer = Installer(
        settings.terraform.releases,
        tools_in(settings.state_dir).absolute(),
        clock=now,
        tell=lambda line: terminal.stdout.print(plain(line)),
        ask=_planner(settings).version_of,
    )
    installer.install(engine.value, version)
    if settings.terraform.binary != "auto":
        terminal.stderr.print(
            plain(
                f"`terraform.binary` is {settings.terraform.binary}: nothing else is used until it is auto."
            )
        )


def _planner(settings: "Settings") -> "Planner":
    """One that only looks for programs."""
    from driftwatch.terraform import Planner
    from driftwatch.terraform.installed import tools_in

    nowhere = Path(os.devnull)
    return Planner(
        settings.terraform,
        cache=nowhere,
        runs=nowhere,
        environment=dict(os.environ),
        tools=tools_in(settings.state_dir),
    )


def _why_not(settings: "Settings") -> str:
    if settings.terraform.binary != "auto":
        return f"terraform.binary is {settings.terraform.binary}"
    return "it is no longer what was verified: install it again"
