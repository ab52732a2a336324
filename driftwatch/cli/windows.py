"""`driftwatch windows list | next | explain | changes`: when repairs may be applied by themselves.

What is decided is `driftwatch.policy.windows`; this asks it and shows the answer. The store and the
configuration are imported when a command runs, not when the command line is built.
"""

import os
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from driftwatch.cli.formats import Listing, plain, to_json
from driftwatch.documents.drift import timestamp
from driftwatch.errors import Exit, UnknownStackError, UsageError
from driftwatch.model import StackId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from driftwatch.config.settings import Settings, WindowSettings
    from driftwatch.policy.windows import Change, Opening, Ruling

app = typer.Typer(help="When repairs may be applied by themselves, and when not.", no_args_is_help=True)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="The configuration file.", envvar="DRIFTWATCH_CONFIG")
]
ListingOption = Annotated[Listing, typer.Option("--format", "-f", help="How to print it.")]
DEFAULT_CONFIG = Path("driftwatch.yaml")

AHEAD = timedelta(days=30)
"""How far `changes` looks."""

FURTHEST = timedelta(days=3660)
"""How far `list` and `next` look: a window of 29 February may be eight years away."""

_LATEST_YEAR = 2200
"""Beyond it, `--at` is a typing error; and no rule for changing clocks is known so far ahead."""


@app.command("list")
def list_windows(config: ConfigOption = DEFAULT_CONFIG, output: ListingOption = Listing.TABLE) -> None:
    """List the windows, each with whether it is open and when it opens next."""
    from driftwatch.cli.clock import now
    from driftwatch.cli.compose import read_settings

    at = now()
    windows = read_settings(config, os.environ).windows
    rows = [(window, *_standing(window, at)) for window in windows]
    if output is Listing.JSON:
        typer.echo(to_json({"windows": [_described(*row) for row in rows]}))
        return
    for row in rows:
        for line in _window_lines(*row):
            typer.echo(plain(line))
    if not rows:
        typer.echo("No windows: nothing is applied by itself.")


@app.command("next")
def next_openings(
    number: Annotated[int, typer.Option("--number", "-n", min=1, max=1000, help="So many.")] = 10,
    stack: Annotated[
        str | None, typer.Option("--stack", "-s", metavar="ID", help="Only this one's.", show_default=False)
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """List the next openings, what is open now first, in the window's own time and in UTC."""
    from driftwatch.cli.clock import now
    from driftwatch.cli.compose import read_settings
    from driftwatch.policy.windows import Windows

    settings, at = read_settings(config, os.environ), now()
    labels = _labels(settings, stack, at) if stack is not None else None
    openings = Windows.compile(settings.windows).openings(
        after=at, until=at + FURTHEST, stack=stack, labels=labels
    )
    found = list(islice(openings, number))
    named = {window.name: window for window in settings.windows}
    if output is Listing.JSON:
        typer.echo(to_json({"openings": [_opening(each, named[each.window], at) for each in found]}))
        return
    for each in found:
        typer.echo(plain(_opening_line(each, named[each.window], at)))
    if not found:
        typer.echo("No window is open, and none opens any more.")


@app.command("explain")
def explain(
    stack: Annotated[str, typer.Option("--stack", "-s", metavar="ID", help="The stack's id.")],
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When, past or future; by default now.", show_default=False),
    ] = None,
    needs: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="How long the apply will take: 20m.", show_default=False),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Tell whether a repair of a stack may be applied by itself, why, and when that changes.

    Exit codes: 0 it may, 3 it is held, 64 wrong usage.
    """
    from driftwatch.cli.clock import now
    from driftwatch.cli.compose import read_settings
    from driftwatch.cli.moments import length
    from driftwatch.policy.windows import Windows

    present = now()
    when = moment_of(at, present) if at is not None else present
    takes = length("--needs", needs) if needs is not None else None
    settings = read_settings(config, os.environ)
    labels = _labels(settings, stack, present)
    ruling = Windows.compile(settings.windows).rule(stack, labels, when, needs=takes)
    if output is Listing.JSON:
        typer.echo(to_json(ruling_document(ruling)))
    else:
        _show_ruling(ruling)
    raise typer.Exit(Exit.OK if ruling.allowed else Exit.HELD)


@app.command("changes")
def changes(
    old: Annotated[Path, typer.Argument(metavar="OLD_CONFIG", help="The configuration as it was.")],
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Tell what the windows of --config open and close, unlike those of OLD_CONFIG, in the next 30 days."""
    from driftwatch.cli.clock import now
    from driftwatch.cli.compose import read_settings
    from driftwatch.policy.windows import Windows

    after = now()
    before, settings = (read_settings(path, os.environ) for path in (old, config))
    found = Windows.compile(before.windows).changes(
        Windows.compile(settings.windows), after=after, until=after + AHEAD
    )
    if output is Listing.JSON:
        span = {"after": timestamp(after), "until": timestamp(after + AHEAD)}
        typer.echo(to_json({**span, "changes": [_change(each) for each in found]}))
        return
    zones = {window.name: window.timezone for window in (*before.windows, *settings.windows)}
    for each in found:
        typer.echo(plain(_change_line(each, zones[each.window])))
    if not found:
        typer.echo("In the next 30 days, no window opens or closes otherwise.")


def ruling_document(ruling: "Ruling") -> dict[str, Any]:
    """What `windows explain --format json` prints."""
    return {
        "allowed": ruling.allowed,
        "reason": ruling.reason,
        "window": ruling.window,
        "until": timestamp(ruling.until),
        "sentence": ruling.sentence,
    }


def _show_ruling(ruling: "Ruling") -> None:
    typer.echo(plain(f"{'Allowed' if ruling.allowed else 'Held'} ({ruling.reason}): {ruling.sentence}"))
    if not ruling.allowed:
        typer.echo(
            "A person with the right to may apply it all the same."
            if ruling.manual
            else "Nobody may apply it meanwhile: a window that stands against it has no `manual: true`."
        )


def moment_of(text: str, now: datetime) -> datetime:
    """The time that `--at` names, past or future; without an offset, in this machine's zone."""
    from driftwatch.cli.moments import moment

    try:
        named = datetime.fromisoformat(text)
        if not 1970 <= named.year <= _LATEST_YEAR:
            raise UsageError(f"--at: {text} is far from any window")
        return named.astimezone(UTC)
    except (ValueError, OverflowError):
        return moment("--at", text, now)


# ---- whose labels --------------------------------------------------------------------------------------


def _labels(settings: "Settings", stack: str, at: datetime) -> "Mapping[str, str]":
    """A stack's labels as the database knows them, else as the configuration gives them.

    Raises UnknownStackError for one that can be in neither.
    """
    from driftwatch.cli.compose import opened_store

    with opened_store(settings) as store:
        known = {str(status.id): status.labels for status in store.stacks(now=at)}
    return known[stack] if stack in known else _configured_labels(settings, stack)


def _configured_labels(settings: "Settings", stack: str) -> "Mapping[str, str]":
    from driftwatch.cli import terminal
    from driftwatch.config.globs import matches

    try:
        named = StackId.parse(stack)
    except ValueError as exc:
        raise UsageError(f"--stack: {exc}") from exc
    repository = settings.repositories.get(named.repository)
    if repository is None:
        raise UnknownStackError(
            f"no stack {stack}", advice="`driftwatch stacks list` shows those that are known."
        )
    entries = (
        entry
        for entry in repository.stacks
        if matches(entry.path, named.path) and named.workspace in entry.workspaces
    )
    entry = next(entries, None)
    labels = "no labels" if entry is None else "the configuration's labels"
    terminal.stderr.print(plain(f"{stack} is not known yet; it is judged by {labels}."), markup=False)
    return entry.labels if entry is not None else {}


# ---- forms ---------------------------------------------------------------------------------------------


def _standing(window: "WindowSettings", at: datetime) -> "tuple[Opening | None, Opening | None]":
    """What is open now, and what opens next."""
    from driftwatch.policy.windows import Windows

    openings = list(islice(Windows.compile([window]).openings(after=at, until=at + FURTHEST), 2))
    now = next((opening for opening in openings if opening.begins <= at), None)
    return now, next((opening for opening in openings if opening.begins > at), None)


def _described(
    window: "WindowSettings", now: "Opening | None", following: "Opening | None"
) -> dict[str, Any]:
    from driftwatch.config.durations import format_duration

    return {
        "name": window.name,
        "kind": window.kind,
        "cron": window.cron,
        "duration": window.duration and format_duration(window.duration),
        "from": window.from_ and window.from_.isoformat(),
        "to": window.to and window.to.isoformat(),
        "timezone": window.timezone,
        "stacks": list(window.stacks),
        "labels": dict(window.labels),
        "manual": window.manual,
        "open": _span(now),
        "next": _span(following),
    }


def _span(opening: "Opening | None") -> dict[str, Any] | None:
    if opening is None:
        return None
    return {"begins": timestamp(opening.begins), "ends": _end(opening.ends)}


def _end(ends: datetime) -> str | None:
    return None if ends == _for_good() else timestamp(ends)


def _opening(opening: "Opening", window: "WindowSettings", at: datetime) -> dict[str, Any]:
    zone = ZoneInfo(window.timezone)
    ends = _end(opening.ends)
    return {
        "window": opening.window,
        "kind": opening.kind,
        "open": opening.begins <= at,
        "begins": timestamp(opening.begins),
        "ends": ends,
        "timezone": window.timezone,
        "local_begins": opening.begins.astimezone(zone).isoformat(timespec="seconds"),
        "local_ends": ends and opening.ends.astimezone(zone).isoformat(timespec="seconds"),
    }


def _change(change: "Change") -> dict[str, Any]:
    return {
        "window": change.window,
        "kind": change.kind,
        "change": "opens" if change.opens else "closes",
        "begins": timestamp(change.begins),
        "ends": timestamp(change.ends),
    }


def _window_lines(
    window: "WindowSettings", now: "Opening | None", following: "Opening | None"
) -> "Sequence[str]":
    from driftwatch.config.durations import format_duration

    if window.cron and window.duration:
        when = f"{window.cron} for {format_duration(window.duration)}"
    else:
        when = f"from {window.from_} to {window.to}"
    labels = "".join(f" {key}={value}" for key, value in window.labels.items())
    state = f"open {_until(now, window)}" if now else "closed"
    if following:
        state += f"; opens {_when(following.begins, window.timezone)}"
    elif now is None or now.ends != _for_good():
        state += "; does not open again"
    return (
        f"{window.name}  {window.kind}  {when}, {window.timezone}",
        f"    for {', '.join(window.stacks)}{labels}{', people may override it' if window.manual else ''}",
        f"    {state}",
    )


def _opening_line(opening: "Opening", window: "WindowSettings", at: datetime) -> str:
    from driftwatch.policy.windows import IN_SIGHT

    if opening.begins <= at - IN_SIGHT:  # then it may have begun before the search ended
        state = "is open"
    elif opening.begins <= at:
        state = f"open since {_when(opening.begins, window.timezone)}"
    else:
        state = f"opens {_when(opening.begins, window.timezone)}"
    return f"{opening.window} ({opening.kind}) {state}, {_until(opening, window)}"


def _change_line(change: "Change", zone: str) -> str:
    sign = "+" if change.opens else "-"
    return (
        f"{sign} {change.window} ({change.kind}) {_when(change.begins, zone)} to {_when(change.ends, zone)}"
    )


def _until(opening: "Opening", window: "WindowSettings") -> str:
    if opening.ends == _for_good():
        return "with no end in sight"
    return f"until {_when(opening.ends, window.timezone)}"


def _for_good() -> datetime:
    from driftwatch.policy.windows import FOR_GOOD

    return FOR_GOOD


def _when(at: datetime, zone: str) -> str:
    if zone == "UTC":
        return _utc(at)
    return f"{at.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M} {zone} ({_utc(at)})"


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
