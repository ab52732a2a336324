"""`driftwatch config init | check | schema`: the configuration file from the terminal.

pydantic and the rest of the configuration are imported when a command runs, not when the command line is
built.
"""

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from driftwatch.errors import Exit, UsageError
from driftwatch.log import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from driftwatch.config.loading import Examined
    from driftwatch.config.problems import Problem
    from driftwatch.config.settings import Schedule, Settings

app = typer.Typer(help="The configuration file.", no_args_is_help=True)

DEFAULT_FILE = Path("driftwatch.yaml")


class CheckFormat(StrEnum):
    """How `check` prints what it found."""

    TABLE = "table"
    JSON = "json"


@app.command("init")
def init(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write it.")] = DEFAULT_FILE,
    *,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write a commented configuration to start from."""
    from importlib.resources import files

    starter = files("driftwatch.config").joinpath("starter.yaml").read_text(encoding="utf-8")
    try:
        with output.open("w" if force else "x", encoding="utf-8") as file:
            file.write(starter)
    except FileExistsError:
        raise UsageError(f"{output} is there already", advice="Add --force to overwrite it.") from None
    except OSError as exc:
        raise UsageError(f"{output} cannot be written: {exc.strerror}") from exc
    typer.echo(f"Wrote {output}. Name your repository in it, then: driftwatch config check {output}")


@app.command("check")
def check(
    file: Annotated[
        Path, typer.Argument(help="The configuration file.", envvar="DRIFTWATCH_CONFIG")
    ] = DEFAULT_FILE,
    output: Annotated[
        CheckFormat, typer.Option("--format", "-f", help="How to print it.")
    ] = CheckFormat.TABLE,
) -> None:
    """Tell every problem of a configuration, or what was understood.

    Exit codes: 0 it is accepted, 64 it is not.
    """
    from driftwatch.config.loading import examine

    examined = examine(file, os.environ)
    if output is CheckFormat.JSON:
        typer.echo(json.dumps(_document(file, examined), indent=2))
    else:
        _show(file, examined)
    raise typer.Exit(Exit.OK if examined.settings else Exit.USAGE)


@app.command("schema")
def schema() -> None:
    """Print the configuration's JSON Schema, for editors."""
    from driftwatch.config.json_schema import schema as json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


def _document(file: Path, examined: "Examined") -> dict[str, Any]:
    settings = examined.settings
    return {
        "file": str(file),
        "accepted": settings is not None,
        "problems": _lines(examined.problems),
        "warnings": _lines(examined.warnings),
        "understood": _clean(_understood(settings)) if settings else None,
    }


def _lines(problems: "Sequence[Problem]") -> list[dict[str, Any]]:
    return [
        {"line": problem.line, "key": problem.dotted_key, "sentence": redact(problem.sentence)}
        for problem in problems
    ]


def _understood(settings: "Settings") -> dict[str, Any]:
    """What a person wants to see confirmed; no key that holds a secret."""
    return {
        "state_dir": str(settings.state_dir),
        "database": "postgresql" if settings.database else "sqlite",
        "repositories": {
            name: {
                "url": repository.url,
                "branch": repository.branch,
                "stacks": [
                    {
                        "path": stack.path,
                        "workspaces": list(stack.workspaces),
                        "engine": stack.engine,
                        "schedule": _words(stack.schedule),
                    }
                    for stack in repository.stacks
                ],
            }
            for name, repository in settings.repositories.items()
        },
        "channels": _channels(settings),
        "windows": [window.name for window in settings.windows],
        "listen": settings.web.listen,
    }


def _clean(value: Any) -> Any:
    """`value` without secrets: any text of the configuration may have come from a reference."""
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return redact(value) if isinstance(value, str) else value


def _channels(settings: "Settings") -> list[str]:
    slack = settings.notify.slack
    names = [f"slack {slack.channel}"] if slack else []
    return [*names, *sorted(settings.notify.channel_names - {"slack"})]


def _words(schedule: "Schedule") -> str:
    from driftwatch.config.durations import format_duration

    if schedule.continuous:
        return "continuous"
    if schedule.every:
        return f"every {format_duration(schedule.every)}"
    return f"{schedule.cron} {schedule.timezone}"


def _show(file: Path, examined: "Examined") -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    for problem in examined.problems:
        console.print(problem.render(str(file)), style="red")
    for warning in examined.warnings:
        console.print(f"{warning.render(str(file))} (warning)", style="yellow")
    if examined.settings:
        console.print(f"{redact(str(file))} is accepted.", style="green")
        _show_understood(_clean(_understood(examined.settings)), console)
    else:
        console.print(f"Not accepted: {len(examined.problems)} to correct.")


def _show_understood(understood: dict[str, Any], console: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print(f"State in {understood['state_dir']}, database {understood['database']}.")
    table = Table(box=None, pad_edge=False)
    for heading in ("repository", "branch", "stacks", "workspaces", "engine", "schedule"):
        table.add_column(heading, overflow="fold")
    for name, repository in understood["repositories"].items():
        for stack in repository["stacks"]:
            row = (name, repository["branch"], stack["path"], ", ".join(stack["workspaces"]))
            table.add_row(*map(Text, (*row, stack["engine"], stack["schedule"])))
    console.print(table)
    console.print(f"Told: {', '.join(understood['channels']) or 'nobody'}.")
