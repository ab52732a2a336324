"""`driftwatch token create | list | revoke`: what lets a machine act as a user over HTTP.

The store is imported when a command runs, not when the command line is built.
"""

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Optional

import typer

from driftwatch.cli.formats import Listing, plain, to_json
from driftwatch.documents.drift import timestamp
from driftwatch.errors import UsageError
from driftwatch.model import Right, Token

app = typer.Typer(help="Tokens for the API: each speaks for a user, with at most their rights.")

PREFIX = "driftwatch_"
"""So that whoever finds one in a log, or in a commit, knows what it is."""

LONGEST = timedelta(days=366)
DEFAULT_CONFIG = Path("driftwatch.yaml")

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="The configuration file.", envvar="DRIFTWATCH_CONFIG")
]
ListingOption = Annotated[Listing, typer.Option("--format", "-f", help="How to print it.")]
AsOption = Annotated[
    Optional[str],  # noqa: UP045  (Typer evaluates it)
    typer.Option("--as", metavar="NAME", help="Who says it; by default your user name.", show_default=False),
]


@app.command("create")
def create(
    user: Annotated[str, typer.Argument(metavar="USER", help="Whom it speaks for: one of `users`.")],
    *,
    note: Annotated[str, typer.Option(metavar="WORDS", help="What it is for; for who reads it later.")],
    rights: Annotated[
        Optional[list[Right]],  # noqa: UP045  (Typer evaluates it)
        typer.Option(
            "--right", help="Only this of the user's rights. May be given again.", show_default=False
        ),
    ] = None,
    stacks: Annotated[
        Optional[list[str]],  # noqa: UP045  (Typer evaluates it)
        typer.Option(
            "--stack",
            metavar="STACK",
            help="Only for these stacks (ids or globs). May be given again.",
            show_default=False,
        ),
    ] = None,
    span: Annotated[str, typer.Option("--for", metavar="TIME", help="How long it is good.")] = "90d",
    name: AsOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    output: ListingOption = Listing.TABLE,
) -> None:
    """Make a token and print it, this once: only a digest of it is kept."""
    import secrets

    from driftwatch.cli import terminal
    from driftwatch.cli.clock import now
    from driftwatch.cli.compose import opened_store, read_settings
    from driftwatch.cli.moments import length
    from driftwatch.cli.people import VIA, actor, said

    settings, by, why, at = read_settings(config, os.environ), actor(name), said("--note", note), now()
    lasts = length("--for", span)
    if lasts > LONGEST:
        raise UsageError("--for: a token is good for at most a year", advice="Make the next one then.")
    if user not in settings.users:
        known = ", ".join(settings.users) or "none so far"
        raise UsageError(
            f"{plain(user)} is no user of {plain(str(config))}",
            advice=f"Add them under `users:` with the rights they are to have; there are: {plain(known)}.",
        )
    secret = PREFIX + secrets.token_urlsafe(32)
    wanted = Token(
        id=0,
        user=user,
        rights=tuple(dict.fromkeys(rights)) if rights else None,
        stacks=tuple(said("--stack", each) for each in stacks) if stacks else None,
        note=why,
        created_by=by,
        created_at=at,
        expires_at=at + lasts,
    )
    with opened_store(settings) as store:
        token = store.add_token(wanted, secret=secret)
        store.note(
            at=at,
            actor=by,
            via=VIA,
            action="token_create",
            subject=f"token {token.id} of {user}",
            outcome="done",
            reason=why,
        )
    if output is Listing.JSON:
        typer.echo(to_json({"token": secret, **_document(token)}))
        return
    typer.echo(secret)
    terminal.stderr.print(
        f"Token {token.id} speaks for {plain(user)} until {timestamp(token.expires_at)}; it is shown once."
    )


@app.command("list")
def list_tokens(config: ConfigOption = DEFAULT_CONFIG, output: ListingOption = Listing.TABLE) -> None:
    """List all tokens there ever were; what they are is not kept."""
    from driftwatch.cli import terminal
    from driftwatch.cli.clock import now
    from driftwatch.cli.compose import opened_store, read_settings

    settings = read_settings(config, os.environ)
    with opened_store(settings) as store:
        tokens = store.tokens()
    if output is Listing.JSON:
        typer.echo(to_json({"tokens": [_document(token) for token in tokens]}))
        return
    if not tokens:
        terminal.stdout.print("No tokens.")
    for token in tokens:
        limits = [*(token.rights or ()), *(token.stacks or ())]
        only = f" · only {', '.join(map(str, limits))}" if limits else ""
        gone = "" if token.user in settings.users else " · of a user who is known no more"
        terminal.stdout.print(
            plain(f"{token.id:>5}  {token.user}  {_standing(token, now())}{gone}{only} · {token.note}")
        )


@app.command("revoke")
def revoke(
    token: Annotated[int, typer.Argument(metavar="ID", help="The token's id, as `list` prints it.")],
    name: AsOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Make a token good for nothing, at once."""
    from driftwatch.cli.clock import now
    from driftwatch.cli.compose import opened_store, read_settings
    from driftwatch.cli.people import VIA, actor

    settings, by, at = read_settings(config, os.environ), actor(name), now()
    with opened_store(settings) as store:
        done = store.revoke_token(token, by=by, at=at)
        store.note(
            at=at,
            actor=by,
            via=VIA,
            action="token_revoke",
            subject=f"token {token}",
            outcome="done" if done else "refused: unknown",
        )
    if not done:
        raise UsageError(
            f"there is no token {token} that is good", advice="`driftwatch token list` has them."
        )
    typer.echo(f"Token {token} is good for nothing any more.")


def _standing(token: Token, at: datetime) -> str:
    if token.revoked_at is not None:
        return f"revoked by {token.revoked_by}"
    if not token.works(at):
        return "expired"
    return f"until {timestamp(token.expires_at)}"


def _document(token: Token) -> dict[str, object]:
    return {
        "id": token.id,
        "user": token.user,
        "rights": None if token.rights is None else [right.value for right in token.rights],
        "stacks": None if token.stacks is None else list(token.stacks),
        "note": token.note,
        "created_by": token.created_by,
        "created_at": timestamp(token.created_at),
        "expires_at": timestamp(token.expires_at),
        "revoked_at": timestamp(token.revoked_at),
        "revoked_by": token.revoked_by,
        "used_at": timestamp(token.used_at),
    }
