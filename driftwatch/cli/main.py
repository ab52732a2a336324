"""The command line: which commands there are, and how errors become exit codes.

Every command's work is in a module of its own, imported when the command runs: `driftwatch --version` must
not pay for SQLAlchemy, boto3 or FastAPI.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from typer.core import TyperGroup

from driftwatch import __version__, log
from driftwatch.cli import audit as audit_commands
from driftwatch.cli import config as config_commands
from driftwatch.cli import db as db_commands
from driftwatch.cli import incidents as incident_commands
from driftwatch.cli import notify as notify_commands
from driftwatch.cli import proposals as proposal_commands
from driftwatch.cli import tokens as token_commands
from driftwatch.cli import tools as tool_commands
from driftwatch.cli import windows as window_commands
from driftwatch.cli.formats import Format, Listing
from driftwatch.errors import DriftwatchError, EngineInterruptedError, Exit, UsageError
from driftwatch.log import redact
from driftwatch.model import Approach

CLICK_USAGE = 2
"""What Click exits with on a wrong command line. Ours is 64, since 2 says that differences were found."""
CLICK_INTERRUPTED = 130
"""What Typer returns after a Ctrl-C. Ours is 1: nothing was concluded."""


class ListsByDefault(TyperGroup):
    """A group that lists where no subcommand is named: `driftwatch audit --format json`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # the context is Typer's own
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="driftwatch",
    help="Drift detection and GitOps reconciliation for Terraform and OpenTofu.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
stacks_app = typer.Typer(help="The stacks that are watched.", no_args_is_help=True)
findings_app = typer.Typer(help="What differs between code, state and cloud.", no_args_is_help=True)
app.add_typer(stacks_app, name="stacks")
app.add_typer(findings_app, name="findings")
rules_app = typer.Typer(help="What is noise, what counts, and how much it matters.", no_args_is_help=True)
app.add_typer(rules_app, name="rules")
app.add_typer(config_commands.app, name="config")
app.add_typer(db_commands.app, name="db")
app.add_typer(notify_commands.app, name="notify")
app.add_typer(incident_commands.app, name="incidents", cls=ListsByDefault)
app.add_typer(audit_commands.app, name="audit", cls=ListsByDefault)
app.add_typer(window_commands.app, name="windows")
app.add_typer(proposal_commands.app, name="proposals")
app.add_typer(token_commands.app, name="token")
app.add_typer(tool_commands.app, name="tools")
bench_app = typer.Typer(help="Measure on stacks of your own.", no_args_is_help=True)
app.add_typer(bench_app, name="bench")

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="The configuration file.", envvar="DRIFTWATCH_CONFIG")
]
OptionalConfig = Annotated[
    Optional[Path],  # noqa: UP045  (Typer evaluates it)
    typer.Option("--config", "-c", help="The configuration file.", envvar="DRIFTWATCH_CONFIG"),
]
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="How to print the result.")]
ListingOption = Annotated[Listing, typer.Option("--format", "-f", help="How to print it.")]
FindingArgument = Annotated[int, typer.Argument(metavar="ID", help="The finding's id.")]
ReasonOption = Annotated[
    Optional[str],  # noqa: UP045  (Typer evaluates it)
    typer.Option("--reason", metavar="WORDS", help="Why, for the record.", show_default=False),
]
AsOption = Annotated[
    Optional[str],  # noqa: UP045  (Typer evaluates it)
    typer.Option("--as", metavar="NAME", help="Who says it; by default your user name.", show_default=False),
]
ScopeArgument = Annotated[
    str, typer.Argument(metavar="SCOPE", help="A stack id, a repository's name, or '*' for everything.")
]
DEFAULT_CONFIG = Path("driftwatch.yaml")
ADOPT_SECONDS = 180.0
"""How long `adopt` waits: it is two plans, and more where not all holds."""


def _version(show: bool) -> None:
    if show:
        typer.echo(f"driftwatch {__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[  # noqa: ARG001  (its callback acts)
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")] = False,
) -> None:
    """Drift detection and GitOps reconciliation for Terraform and OpenTofu."""
    log.configure(json=not sys.stderr.isatty(), level="info" if verbose else "warning")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without `→`, or a name that is no text: say it
            stream.reconfigure(errors="backslashreplace")  # in ASCII, rather than nothing


@app.command()
def check(
    targets: Annotated[
        Optional[list[str]],  # noqa: UP045  (Typer evaluates it)
        typer.Argument(
            metavar="DIR | STACK…",
            help="A root module's directory; with --config, stack ids or globs (all, if none is given).",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Optional[Path],  # noqa: UP045  (Typer evaluates it)
        typer.Option(  # not from the environment: there, it would turn every DIR into a stack's name
            "--config", "-c", help="The configuration file.", metavar="FILE", show_default=False
        ),
    ] = None,
    output: FormatOption = Format.TABLE,
    var_file: Annotated[
        Optional[list[str]],  # noqa: UP045  (Typer evaluates it)
        typer.Option(
            "--var-file", metavar="FILE", help="With DIR: a var file, relative to DIR. May be given again."
        ),
    ] = None,
    var: Annotated[
        Optional[list[str]],  # noqa: UP045  (Typer evaluates it)
        typer.Option("--var", metavar="NAME=VALUE", help="With DIR: a variable. May be given again."),
    ] = None,
    workspace: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="With DIR: the workspace; by default the selected one.",
            show_default=False,
        ),
    ] = "",
    method: Annotated[
        Approach,
        typer.Option(
            help="Force one: `plan` through warm providers, `plain` as terraform does it, or only a `replay`."
        ),
    ] = Approach.AUTO,
) -> None:
    """Check one directory, or configured stacks, once.

    Exit codes: 0 in sync, 1 a check failed, 2 drift or pending changes, 64 wrong usage.
    """
    if config is not None:
        if var_file or var or workspace:
            raise UsageError(
                "--var, --var-file and --workspace are for `check DIR`",
                advice="Configured stacks have theirs under `stacks:`: variables, var_files, workspaces.",
            )
        from driftwatch.cli.sweep import check_configured

        raise typer.Exit(check_configured(config, targets or [], output, method))

    from driftwatch.cli.check import check_directory

    raise typer.Exit(
        check_directory(
            targets or [],
            output,
            var_files=var_file or [],
            variables=var or [],
            workspace=workspace,
            approach=method,
        )
    )


@app.command()
def run(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Run the daemon in the foreground. SIGTERM stops it gently, a second one quickly."""
    from driftwatch.cli.run import run as command

    log.configure(json=not sys.stderr.isatty(), level="info")  # its log is all that one sees of a daemon
    raise typer.Exit(command(config))


@app.command()
def demo(
    *,
    once: Annotated[bool, typer.Option("--once", help="Do one round and exit 0 if every step held.")] = False,
    directory: Annotated[
        Optional[Path],  # noqa: UP045  (Typer evaluates it)
        typer.Option("--directory", help="Where the demo plays; emptied first.", show_default="state/demo"),
    ] = None,
) -> None:
    """Watch driftwatch find and tell real drift in a small cloud of its own: no account, no network."""
    from driftwatch.cli.demo import run as command

    raise typer.Exit(command(once=once, directory=directory))


@app.command()
def trigger(
    stacks: Annotated[list[str], typer.Argument(metavar="STACK…", help="Stack ids or globs.")],
    *,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the results, and exit as `check` does.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="With --wait: how long, at most.")
    ] = 900.0,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Queue checks of stacks; the daemon takes them first.

    Exit codes: 0 queued; with --wait 0 in sync, 1 a check failed or has not ended, 2 drift or pending
    changes; 64 wrong usage.
    """
    from driftwatch.cli.trigger import trigger as command

    raise typer.Exit(command(config, stacks, output, wait=wait, seconds=timeout))


@app.command()
def rollback(
    stack: Annotated[str, typer.Argument(help="A stack id.")],
    to: Annotated[str, typer.Option(metavar="COMMIT", help="The commit to apply: its hash.")],
    *,
    reason: ReasonOption = None,
    name: AsOption = None,
    wait: proposal_commands.WaitOption = proposal_commands.PLAN_SECONDS,
    revert: Annotated[
        bool, typer.Option("--revert", help="Also open the revert in Git: a branch to look at and to merge.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Have the daemon plan an earlier commit of a stack and propose it; applied, the stack stays there.

    Exit codes: 0 it is proposed, 1 it is not, or not yet, 64 wrong usage.
    """
    from driftwatch.cli.repair import rollback as command

    raise typer.Exit(
        command(config, stack, to=to, revert=revert, reason=reason, name=name, wait=wait, form=output)
    )


@app.command()
def adopt(
    findings: Annotated[
        Optional[list[int]],  # noqa: UP045  (Typer evaluates it)
        typer.Argument(metavar="FINDING…", help="Findings by their ids.", show_default=False),
    ] = None,
    *,
    imports: Annotated[
        Optional[list[str]],  # noqa: UP045  (Typer evaluates it)
        typer.Option(
            "--import",
            metavar="ADDRESS=ID",
            help="Also write code for what was made by hand: the address that it shall have, and its id.",
            show_default=False,
        ),
    ] = None,
    stack: Annotated[
        Optional[str],  # noqa: UP045  (Typer evaluates it)
        typer.Option("--stack", "-s", help="The stack that an import is for.", show_default=False),
    ] = None,
    listed: Annotated[
        bool,
        typer.Option("--list", help="List what was adopted lately, also by itself, and what came of it."),
    ] = False,
    show: Annotated[
        Optional[int],  # noqa: UP045  (Typer evaluates it)
        typer.Option("--show", metavar="NUMBER", help="Show one of these in full.", show_default=False),
    ] = None,
    reason: ReasonOption = None,
    name: AsOption = None,
    wait: proposal_commands.WaitOption = ADOPT_SECONDS,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Have the daemon bring the code to the cloud: a pull request, or a branch, that a plan has proved.

    Exit codes: 0 all of it is there to be merged, 1 not all, or not yet, 64 wrong usage.
    """
    if show is not None or listed:
        from driftwatch.cli.adopt import list_adoptions, show_adoption

        if findings or imports or (listed and show is not None):
            raise UsageError("--list and --show adopt nothing", advice="Give one of them, and no findings.")
        if show is not None:
            raise typer.Exit(show_adoption(config, show, form=output))
        raise typer.Exit(list_adoptions(config, stack=stack, form=output))
    from driftwatch.cli.adopt import adopt as command

    raise typer.Exit(
        command(
            config,
            findings or [],
            imports=imports or [],
            stack=stack,
            reason=reason,
            name=name,
            wait=wait,
            form=output,
        )
    )


@app.command()
def doctor(config: OptionalConfig = None, output: ListingOption = Listing.TABLE) -> None:
    """Look at this machine and the configuration, and say what would go wrong."""
    from driftwatch.cli.doctor import doctor as command

    raise typer.Exit(command(config, output))


@bench_app.callback()
def bench() -> None:
    """Measure on stacks of your own."""


@bench_app.command("replay")
def bench_replay(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="An initialised root module; only read.")],
    rounds: Annotated[int, typer.Option(min=1, max=100, help="How often each is measured.")] = 3,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Measure a plan, the same plan through warm providers, and a replay of its reads, in turn."""
    from driftwatch.cli.bench import replay as command

    raise typer.Exit(command(directory, rounds, output))


@stacks_app.command("list")
def stacks_list(
    patterns: Annotated[
        Optional[list[str]],  # noqa: UP045  (Typer evaluates it)
        typer.Argument(metavar="STACK…", help="Stack ids or globs.", show_default=False),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """List the stacks with their verdicts, the detector's health and when they are due."""
    from driftwatch.cli.stacks import list_stacks as command

    raise typer.Exit(command(config, patterns or [], output))


@stacks_app.command("show")
def stacks_show(
    stack: Annotated[str, typer.Argument(help="A stack id.")],
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Show one stack: its latest check, its error if it has one, and its open findings."""
    from driftwatch.cli.stacks import show_stack as command

    raise typer.Exit(command(config, stack, output))


@stacks_app.command("graph")
def stacks_graph(config: ConfigOption = DEFAULT_CONFIG, output: ListingOption = Listing.TABLE) -> None:
    """Show which stacks come before which, and why.

    Exit codes: 0 all is well, 1 some depend on each other in a circle, 64 wrong usage.
    """
    from driftwatch.cli.graph import show_graph as command

    raise typer.Exit(command(config, output))


@stacks_app.command("explain")
def stacks_explain(
    stack: Annotated[str, typer.Argument(help="A stack id.")],
    at: Annotated[
        Optional[str],  # noqa: UP045  (Typer evaluates it)
        typer.Option(metavar="TIME", help="When, past or future; by default now.", show_default=False),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Tell all that holds the repair that is proposed for a stack: windows, guards, approvals, and more.

    Exit codes: 0 nothing holds it, or nothing is proposed, 3 it is held, 64 wrong usage.
    """
    from driftwatch.cli.clock import now
    from driftwatch.cli.explain import explain as command
    from driftwatch.cli.windows import moment_of

    when = moment_of(at, now()) if at is not None else None
    raise typer.Exit(command(config, stack, at=when, form=output))


@stacks_app.command("history")
def stacks_history(
    stack: Annotated[str, typer.Argument(help="A stack id.")],
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    after: Annotated[
        Optional[int],  # noqa: UP045  (Typer evaluates it)
        typer.Option(help="The `next` of the page before.", show_default=False),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """List what driftwatch applied to a stack: which commit, by whom, what, and how it ended."""
    from driftwatch.cli.suspensions import history as command

    raise typer.Exit(command(config, stack, limit=limit, after=after, form=output))


@stacks_app.command("suspend")
def stacks_suspend(
    scope: ScopeArgument,
    reason: Annotated[str, typer.Option(metavar="WORDS", help="Why; for who wonders later.")],
    until: Annotated[
        Optional[str],  # noqa: UP045  (Typer evaluates it)
        typer.Option(metavar="TIME", help="When it ends: 2026-12-31, or with a time.", show_default=False),
    ] = None,
    span: Annotated[
        Optional[str],  # noqa: UP045  (Typer evaluates it)
        typer.Option("--for", metavar="DURATION", help="How long it lasts: 2h, 3d.", show_default=False),
    ] = None,
    name: AsOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Stop all applies to a stack, a repository's stacks or everything. Checks go on."""
    from driftwatch.cli.suspensions import suspend as command

    raise typer.Exit(command(config, scope, reason=reason, until=until, span=span, name=name, form=output))


@stacks_app.command("resume")
def stacks_resume(
    scope: ScopeArgument,
    reason: ReasonOption = None,
    name: AsOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """End a suspension."""
    from driftwatch.cli.suspensions import resume as command

    raise typer.Exit(command(config, scope, reason=reason, name=name, form=output))


@stacks_app.command("unpin")
def stacks_unpin(
    stack: Annotated[str, typer.Argument(help="A stack id.")],
    reason: ReasonOption = None,
    name: AsOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Let a stack that was rolled back follow its branch again."""
    from driftwatch.cli.suspensions import unpin as command

    raise typer.Exit(command(config, stack, reason=reason, name=name, form=output))


@findings_app.command("list")
def findings_list(
    stack: Annotated[
        Optional[str],  # noqa: UP045  (Typer evaluates it)
        typer.Option("--stack", "-s", help="Only of these stacks (id or glob).", show_default=False),
    ] = None,
    status: Annotated[
        str,
        typer.Option(
            help="open, changed, reopened, acknowledged, flapping: `active` for these; snoozed, accepted: "
            "`unresolved` for these too; resolved; `all`."
        ),
    ] = "active",
    noise: Annotated[bool, typer.Option("--noise", help="Also those that are not counted.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
    after: Annotated[
        Optional[int],  # noqa: UP045  (Typer evaluates it)
        typer.Option(help="The `next` of the page before.", show_default=False),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """List findings, the newest first."""
    from driftwatch.cli.findings import list_findings as command

    raise typer.Exit(
        command(config, stack=stack, status=status, noise=noise, limit=limit, after=after, form=output)
    )


@findings_app.command("show")
def findings_show(
    finding: Annotated[int, typer.Argument(help="The finding's id.")],
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Show one finding: what differs, why, and its life so far."""
    from driftwatch.cli.findings import show_finding as command

    raise typer.Exit(command(config, finding, output))


@findings_app.command("ack")
def findings_ack(
    finding: FindingArgument,
    reason: ReasonOption = None,
    name: AsOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Say that you look after a finding: nobody is reminded of it until it changes."""
    from driftwatch.cli.findings import acknowledge as command

    raise typer.Exit(command(config, finding, reason=reason, name=name, form=output))


@findings_app.command("snooze")
def findings_snooze(
    finding: FindingArgument,
    until: Annotated[
        Optional[str],  # noqa: UP045  (Typer evaluates it)
        typer.Option(metavar="TIME", help="When it ends: 2026-12-31, or with a time.", show_default=False),
    ] = None,
    span: Annotated[
        Optional[str],  # noqa: UP045  (Typer evaluates it)
        typer.Option("--for", metavar="DURATION", help="How long it lasts: 2h, 3d.", show_default=False),
    ] = None,
    reason: ReasonOption = None,
    name: AsOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Put a finding aside for a while; it comes back then, or as soon as it changes."""
    from driftwatch.cli.findings import snooze as command

    raise typer.Exit(command(config, finding, until=until, span=span, reason=reason, name=name, form=output))


@findings_app.command("accept")
def findings_accept(
    finding: FindingArgument,
    reason: Annotated[str, typer.Option(metavar="WORDS", help="Why it may be; for who reads it later.")],
    owner: Annotated[
        Optional[str],  # noqa: UP045  (Typer evaluates it)
        typer.Option(metavar="WHO", help="Who answers for it.", show_default=False),
    ] = None,
    expires: Annotated[
        Optional[str],  # noqa: UP045  (Typer evaluates it)
        typer.Option(metavar="DATE", help="When it is to be looked at again.", show_default=False),
    ] = None,
    attribute: Annotated[
        Optional[list[str]],  # noqa: UP045  (Typer evaluates it)
        typer.Option(
            metavar="POINTER",
            help="Only this attribute, such as /tags/Name. May be given again.",
            show_default=False,
        ),
    ] = None,
    name: AsOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Let a difference be, with exactly its present values: any other one is told again."""
    from driftwatch.cli.findings import accept as command

    raise typer.Exit(
        command(
            config,
            finding,
            reason=reason,
            owner=owner,
            expires=expires,
            attributes=attribute or [],
            name=name,
            form=output,
        )
    )


@findings_app.command("reopen")
def findings_reopen(
    finding: FindingArgument,
    reason: ReasonOption = None,
    name: AsOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Take back what was said of a finding: it is open again."""
    from driftwatch.cli.findings import reopen as command

    raise typer.Exit(command(config, finding, reason=reason, name=name, form=output))


@rules_app.command("list")
def rules_list(config: ConfigOption = DEFAULT_CONFIG, output: ListingOption = Listing.TABLE) -> None:
    """List the rules, one's own and the shipped ones, with what each says."""
    from driftwatch.cli.rules import list_rules as command

    raise typer.Exit(command(config, output))


@rules_app.command("test")
def rules_test(
    rule: Annotated[
        Optional[str],  # noqa: UP045  (Typer evaluates it)
        typer.Option("--rule", metavar="ID", help="Only this rule.", show_default=False),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Show what each rule would have hidden, raised or graded of the findings that are stored.

    Rules that fit none, and rules that have expired, are named. Exit code: 0.
    """
    from driftwatch.cli.rules import try_rules as command

    raise typer.Exit(command(config, rule, output))


def main() -> None:
    """The entry point of `driftwatch`: runs a command and exits with one of the designed codes."""
    sys.exit(_run())


def _run() -> int:
    from driftwatch.cli.terminal import show_problem

    try:
        outcome = app(standalone_mode=False)
        if sys.stdout:  # None where it was closed by whoever started us
            sys.stdout.flush()
    except typer.TyperException as wrong:
        show = getattr(wrong, "show", None)
        if show:
            show()
        return Exit.USAGE if wrong.exit_code == CLICK_USAGE else wrong.exit_code
    except (EngineInterruptedError, typer.Abort, KeyboardInterrupt):
        return _interrupted()
    except DriftwatchError as problem:
        show_problem(problem)
        return problem.exit_code
    except OSError as problem:
        return _unprintable(problem)
    if outcome == CLICK_INTERRUPTED:
        return _interrupted()
    return outcome if isinstance(outcome, int) else Exit.OK


def _interrupted() -> int:
    sys.stderr.write("Interrupted; nothing was concluded.\n")
    return Exit.ERROR


def _unprintable(problem: OSError) -> int:
    """Ends after output that nobody takes: its reader has left, or there is no space."""
    if problem.errno != errno.EPIPE:
        sys.stderr.write(f"Error (machine_failed): {redact(str(problem))}\n")
    # What is left in the buffer would fail once more when Python ends, with a traceback.
    if sys.stdout:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Exit.ERROR
