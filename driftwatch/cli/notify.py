"""`driftwatch notify list | test | route`: who is told, whether it arrives, and who would be told of what.

None of them opens the database or uses the outbox: a way to people can be tried before there is either, and
beside a daemon at work. What they need is imported when a command runs, not when the command line is built.
"""

import os
import time
import uuid
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from driftwatch.cli.formats import Listing, plain, to_json
from driftwatch.documents.drift import timestamp
from driftwatch.errors import DriftwatchError, Exit, UsageError
from driftwatch.model import (
    Announcement,
    Cause,
    Finding,
    FindingKind,
    Incident,
    IncidentLine,
    Message,
    Severity,
    StackId,
    TransitionKind,
    Trigger,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from driftwatch.config.notify import NotifySettings, RouteSettings
    from driftwatch.config.settings import Settings
    from driftwatch.drift.routing import Outlet
    from driftwatch.notify import Channel

app = typer.Typer(help="Who is told of what differs, and by which way.", no_args_is_help=True)

TEST_STACK = "driftwatch/notify-test"
TEST_SENTENCE = "This is a test of driftwatch's notifications; nothing has drifted."
TEST_ADDRESS = "notify_test"

_SAID = "Somebody tries whether driftwatch's notifications arrive: nothing has drifted."
_STAY_OPEN = ("slack", "github:", "gitlab:")
"""Where a test would go on looking like something that waits for somebody."""

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="The configuration file.", envvar="DRIFTWATCH_CONFIG")
]
ListingOption = Annotated[Listing, typer.Option("--format", "-f", help="How to print it.")]
DEFAULT_CONFIG = Path("driftwatch.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How a test message fared on one channel. `reason` is None where it arrived."""

    channel: str
    ok: bool
    seconds: float
    reason: str | None = None
    advice: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why one attempt did not get through, and what to do."""

    reason: str
    advice: str | None


@app.command("list")
def list_channels(config: ConfigOption = DEFAULT_CONFIG, output: ListingOption = Listing.TABLE) -> None:
    """List the channels, and which routes lead to each."""
    notify = _settings(config).notify
    if output is Listing.JSON:
        _print_json({"channels": [_channel_document(name, notify) for name in _names(notify)]})
        return
    if not _names(notify):
        typer.echo("Nobody is told: no channel is configured.")
    for name in _names(notify):
        typer.echo(plain(name))
        for line in _ways_to(name, notify):
            typer.echo(f"  {plain(line)}")


@app.command("test")
def try_channels(
    channels: Annotated[
        list[str] | None,
        typer.Argument(metavar="CHANNEL…", help="Names or globs; all, if none is given.", show_default=False),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Send a test message by each channel, now, and say how it went.

    Slack and trackers of issues are told right after it that it is over, so that nothing seems to be open.
    Exit codes: 0 it arrived everywhere, 1 it did not, 64 no such channel.
    """
    from driftwatch.cli.compose import outlets

    chosen = _chosen(outlets(_settings(config).notify), channels or [])
    width = max(len(plain(channel.name)) for channel in chosen)
    trials = []
    for channel in chosen:
        trial = _try(channel)
        trials.append(trial)
        if output is Listing.TABLE:
            _show(trial, width)
    if output is Listing.JSON:
        _print_json({"channels": [asdict(trial) for trial in trials]})
    raise typer.Exit(Exit.OK if all(trial.ok for trial in trials) else Exit.ERROR)


@app.command("route")
def route(
    *,
    stack: Annotated[str, typer.Option("--stack", "-s", metavar="ID", help="The stack that would differ.")],
    severity: Annotated[Severity, typer.Option(help="How much it would matter.")] = Severity.MEDIUM,
    cause: Annotated[Cause, typer.Option(help="Why it would differ.")] = Cause.OUT_OF_BAND,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--label", metavar="NAME=VALUE", help="One more label of the stack.", show_default=False
        ),
    ] = None,
    owners: Annotated[
        list[str] | None,
        typer.Option("--owner", metavar="WHO", help="One more owner of the stack.", show_default=False),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Show who would be told if a stack differed now, and when. Nothing is sent.

    Labels and owners are those that the configuration gives the stack, and those given here: what the
    repository's own .driftwatch.yaml adds is not looked up.
    """
    from driftwatch.cli.clock import now

    if cause is Cause.NOISE:
        raise UsageError("nobody is told of noise")
    settings = _settings(config)
    announcement = _supposed(settings, stack, severity, cause, at=now())
    announcement = replace(
        announcement,
        labels={**announcement.labels, **_pairs(labels or [])},
        owners=tuple(dict.fromkeys((*announcement.owners, *(owners or ())))),
    )
    told = _told(settings.notify, announcement)
    if output is Listing.JSON:
        _print_json(_route_document(announcement, told))
    else:
        _show_route(announcement, told)


# ---- What is sent --------------------------------------------------------------------------------------


def _chosen(found: "Sequence[Channel]", patterns: "Sequence[str]") -> "list[Channel]":
    """The channels that any of `patterns` names; all without one. Raises UsageError for one without any."""
    names = [channel.name for channel in found]
    if not found:
        raise UsageError(
            "no channel is configured", advice="Set notify.slack, or another one below `notify`."
        )
    for pattern in patterns:
        if not any(_is_meant(name, pattern) for name in names):
            raise UsageError(f"no channel matches {pattern}", advice=f"There are: {', '.join(names)}.")
    return [
        channel
        for channel in found
        if not patterns or any(_is_meant(channel.name, pattern) for pattern in patterns)
    ]


def _is_meant(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def _try(channel: "Channel") -> Trial:
    """Tells one channel that this is a test and, where that would stay open, that it is over."""
    from driftwatch.cli.clock import now

    begun = time.monotonic()
    first = trial_message(channel.name, now())
    outcome = _attempt(channel, first)
    if not isinstance(outcome, Failure) and channel.name.startswith(_STAY_OPEN):
        outcome = _attempt(channel, over(first, outcome))
        if isinstance(outcome, Failure):
            outcome = replace(outcome, reason=f"the test arrived, but not that it is over: {outcome.reason}")
    failure = outcome if isinstance(outcome, Failure) else _left_out(outcome)
    return Trial(
        channel=channel.name,
        ok=failure is None,
        seconds=round(time.monotonic() - begun, 3),
        reason=failure.reason if failure else None,
        advice=failure.advice if failure else None,
    )


def _attempt(channel: "Channel", message: Message) -> "Mapping[str, str] | Failure":
    """The channel's receipt, or why there is none."""
    try:
        return channel.deliver(message)
    except DriftwatchError as problem:
        return Failure(reason=problem.message, advice=problem.advice)
    except Exception as error:  # noqa: BLE001  (one channel's fault must not keep the others from being tried)
        # What it says may hold a URL, and a URL secrets.
        return Failure(
            reason=f"{channel.name} failed unexpectedly ({type(error).__name__})",
            advice="This is a fault of driftwatch; please report it.",
        )


def _left_out(receipt: "Mapping[str, str]") -> Failure | None:
    """Of a mail, to whom it did not go."""
    refused = receipt.get("refused")
    if not refused:
        return None
    return Failure(
        reason=f"the server took it, but not for {refused}",
        advice="Correct the address below notify.email, or have the server take it.",
    )


def trial_message(channel: str, at: "datetime") -> Message:
    """A message that says that it is a test; no two are taken for the same."""
    key = f"notify-test:{uuid.uuid4().hex}"
    finding = Finding(
        address=TEST_ADDRESS,
        type=TEST_ADDRESS,
        kind=FindingKind.MODIFIED,
        action="update",
        causes=(Cause.UNDETERMINED,),
        severity=Severity.INFO,
        fingerprint=key,
        counted=True,
        message=TEST_SENTENCE,
    )
    announcement = Announcement(
        kind=TransitionKind.DRIFT_FOUND,
        stack=TEST_STACK,
        verdict=Verdict.DRIFTED,
        commit=None,
        trigger=Trigger.MANUAL,
        at=at,
        findings=(finding,),
        total=1,
        opened=(TEST_ADDRESS,),
        said=_SAID,
    )
    return Message(
        id=0,
        channel=channel,
        dedupe_key=key,
        episode=key,
        announcement=announcement,
        attempts=0,
        created_at=at,
        thread=key,
    )


def over(first: Message, receipt: "Mapping[str, str]") -> Message:
    """The message that ends the test that `first` began, where the channel answered with `receipt`."""
    announcement = replace(
        first.announcement,
        kind=TransitionKind.RESOLVED,
        verdict=Verdict.IN_SYNC,
        findings=(),
        total=0,
        opened=(),
        resolved=(TEST_ADDRESS,),
    )
    incident = Incident(
        id=0,
        title=None,
        opened_at=announcement.at,
        closed_at=announcement.at,
        lines=(IncidentLine(announcement=announcement, over=True),),
        total=1,
        open=0,
        seen="",
    )
    return replace(
        first,
        dedupe_key=f"{first.dedupe_key}:over",
        announcement=announcement,
        anchor=receipt,
        incident=incident,
    )


def _show(trial: Trial, width: int) -> None:
    name = f"{plain(trial.channel):<{width}}"
    if trial.ok:
        typer.echo(f"{name}  ok, {trial.seconds:.1f} s")
        return
    typer.echo(f"{name}  failed after {trial.seconds:.1f} s: {plain(trial.reason or '')}")
    if trial.advice:
        typer.echo(f"{'':{width}}  → {plain(trial.advice)}")


# ---- Who is told ---------------------------------------------------------------------------------------


def _names(notify: "NotifySettings") -> list[str]:
    """The configured channels, and those of Slack that only routes name."""
    from driftwatch.drift.routing import Routing

    return [*sorted(notify.channel_names), *Routing.compile(notify).channels]


def _routes_to(name: str, notify: "NotifySettings") -> "list[tuple[int, RouteSettings]]":
    return [(number, route) for number, route in enumerate(notify.routes, 1) if name in route.channels]


def _channel_document(name: str, notify: "NotifySettings") -> dict[str, Any]:
    """`otherwise`: whether it is told of what no route fits."""
    routes = [
        {"number": number, **route.model_dump(mode="json", by_alias=True, exclude={"channels"})}
        for number, route in _routes_to(name, notify)
    ]
    return {"channel": name, "routes": routes, "otherwise": name in notify.channel_names}


def _ways_to(name: str, notify: "NotifySettings") -> "Iterable[str]":
    if not notify.routes:
        yield "told of everything"
        return
    for number, route in _routes_to(name, notify):
        waits = "" if name.startswith("webhook:") else _waits(route)
        yield f"route {number}: {_asks(route)}{waits}"
    if name in notify.channel_names:
        yield "told of what no route fits"


def _asks(route: "RouteSettings") -> str:
    """What a route is about."""
    parts = ["all stacks" if route.stacks == ("*",) else ", ".join(route.stacks)]
    parts += [f"label {label}={value}" for label, value in route.labels.items()]
    if route.owners:
        parts.append(f"owned by {' or '.join(route.owners)}")
    if Severity(route.severity) is not Severity.INFO:
        parts.append(f"from {route.severity} on")
    if route.causes:
        parts.append(f"caused by {' or '.join(route.causes)}")
    return "; ".join(parts)


def _waits(route: "RouteSettings") -> str:
    """When it does not tell at once."""
    if quiet := route.quiet_hours:
        when = f"quiet {quiet.from_:%H:%M} to {quiet.to:%H:%M} {quiet.timezone}, {_days(quiet.days)}"
        return f"; {when}{_unless(quiet.unless)}"
    if digest := route.digest:
        return (
            f"; digest at {digest.at:%H:%M} {digest.timezone}, {_days(digest.days)}{_unless(digest.unless)}"
        )
    return ""


def _days(days: "Sequence[str]") -> str:
    from driftwatch.config.notify import EVERY_DAY

    return "every day" if set(days) == set(EVERY_DAY) else " ".join(days)


def _unless(severity: str | None) -> str:
    return f", but at once from {severity} on" if severity else ""


def _supposed(
    settings: "Settings", stack: str, severity: Severity, cause: Cause, *, at: "datetime"
) -> Announcement:
    """What would be told of a stack, with the labels and owners that the configuration gives it."""
    from driftwatch.config.globs import matches

    try:
        named = StackId.parse(stack)
    except ValueError as exc:
        raise UsageError(f"--stack: {exc}") from exc
    repository = settings.repositories.get(named.repository)
    declared = [each for each in repository.stacks if matches(each.path, named.path)] if repository else []
    if not declared:
        typer.echo(f"The configuration names no stack {plain(stack)}: it has no labels or owners.", err=True)
    supposed = trial_message("", at).announcement
    return replace(
        supposed,
        stack=str(named),
        findings=(replace(supposed.findings[0], severity=severity, causes=(cause,)),),
        labels=declared[0].labels if declared else {},
        owners=declared[0].owners if declared else (),
    )


def _pairs(labels: "Sequence[str]") -> dict[str, str]:
    pairs = {}
    for label in labels:
        name, equals, value = label.partition("=")
        if not (name and equals):
            raise UsageError(f"--label: not NAME=VALUE: {label}")
        pairs[name] = value
    return pairs


def _told(notify: "NotifySettings", announcement: Announcement) -> "tuple[Outlet, ...]":
    from driftwatch.drift.routing import Routing

    return Routing.compile(notify).outlets(announcement, sorted(notify.channel_names), ())


def _route_document(announcement: Announcement, told: "Sequence[Outlet]") -> dict[str, Any]:
    (finding,) = announcement.findings
    return {
        "stack": announcement.stack,
        "severity": finding.severity.value,
        "cause": finding.causes[0].value,
        "labels": dict(announcement.labels),
        "owners": list(announcement.owners),
        "at": timestamp(announcement.at),
        "told": [
            {
                "channel": outlet.channel,
                "not_before": timestamp(outlet.not_before),
                "at_once": outlet.not_before <= announcement.at,
                "digest": _is_digest(outlet),
            }
            for outlet in told
        ],
    }


def _show_route(announcement: Announcement, told: "Sequence[Outlet]") -> None:
    labels = ", ".join(f"{name}={value}" for name, value in announcement.labels.items())
    for word, value in (("labels", labels), ("owners", ", ".join(announcement.owners))):
        if value:
            typer.echo(plain(f"{word}: {value}"))
    if not told:
        typer.echo("Nobody is told.")
    width = max((len(plain(outlet.channel)) for outlet in told), default=0)
    for outlet in told:
        typer.echo(f"{plain(outlet.channel):<{width}}  {_when(outlet, announcement.at)}")


def _when(outlet: "Outlet", at: "datetime") -> str:
    from driftwatch.cli.terminal import minute

    if _is_digest(outlet):
        return f"in the digest of {minute(outlet.not_before)}"
    if outlet.not_before <= at:
        return "at once"
    return f"after its quiet hours, at {minute(outlet.not_before)}"


def _is_digest(outlet: "Outlet") -> bool:
    return bool(outlet.thread) and str(outlet.thread).startswith("digest:")


def _settings(config: Path) -> "Settings":
    from driftwatch.cli.compose import read_settings

    return read_settings(config, os.environ)


def _print_json(document: dict[str, Any]) -> None:
    """One JSON document on stdout; any text of the configuration may have come from a reference."""
    from driftwatch.notify.text import redacted

    typer.echo(to_json(redacted(document)))
