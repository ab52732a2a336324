"""Who may tell driftwatch that something has happened: forges, CI jobs and scripts, by webhooks.

Each endpoint is there only where its secret is. What comes in is a hint and no more: which repository is
worth a look. What is in it, driftwatch fetches by itself.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping  # noqa: TC003  (pydantic reads annotations at run time)
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, WithJsonSchema

from driftwatch.config import values
from driftwatch.config.section import (
    BY_REFERENCE,
    Contradiction,
    Name,
    Secret,
    Section,
    ServiceUrl,
    Text,
    Whole,
    again_in,
    items_of,
    once,
    part_of,
)

SHORTEST_SECRET = 16
_SIGNING_TOKEN = "whsec_"  # noqa: S105  (how GitLab's begin)


def _long_enough(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < SHORTEST_SECRET:
        raise ValueError(f"is too short to be a secret: at least {SHORTEST_SECRET} characters")
    return value


def _signing_token(value: SecretStr) -> SecretStr:
    if len(signing_key(value)) < SHORTEST_SECRET:
        raise ValueError("must be `whsec_` and the key in base64, as GitLab shows it")
    return value


def signing_key(token: SecretStr) -> bytes:
    """The key in a signing token; empty where it is none."""
    text = token.get_secret_value()
    if not text.startswith(_SIGNING_TOKEN):
        return b""
    try:
        return base64.b64decode(text.removeprefix(_SIGNING_TOKEN), validate=True)
    except ValueError:  # binascii.Error is one
        return b""


HookSecret = Annotated[Secret, AfterValidator(_long_enough)]
RepositoryName = Annotated[
    str,
    AfterValidator(values.repository_name),
    WithJsonSchema({"type": "string", "pattern": values.REPOSITORY_NAME}),
]


class OidcSettings(Section):
    """CI jobs that may knock with a token of their own instead of a secret: an OIDC token of the job."""

    name: Name = Field(description="Names these jobs in the log and the audit. No default.")
    issuer: ServiceUrl = Field(
        description="Who signs the tokens, just as the claim `iss` says it, such as "
        "https://token.actions.githubusercontent.com; https, or http on this machine. No default."
    )
    audience: Text = Field(
        description="The claim `aud` that the job asks for; one that means nobody but this driftwatch. No "
        "default."
    )
    claims: dict[Text, Annotated[tuple[Text, ...], Field(min_length=1)]] = Field(
        min_length=1,
        description="Claims that a token must have, each with the values that are good. No default: anybody "
        "can have a token of a public issuer, so say which repository's jobs, and on which `ref`.",
    )
    repositories: Annotated[tuple[RepositoryName, ...], AfterValidator(once)] = Field(
        min_length=1,
        description="Names under `repositories` of which these jobs may speak. No default.",
    )
    jwks_url: ServiceUrl | None = Field(
        default=None,
        description="Where the issuer's keys are. Default none: its own "
        "`/.well-known/openid-configuration` says it.",
    )

    @classmethod
    def contradictions(cls, given: Mapping[str, Any]) -> Iterator[Contradiction]:
        for key in ("issuer", "jwks_url"):
            url = given.get(key)
            if isinstance(url, str) and url.startswith("http://") and not values.is_loopback_url(url):
                yield (key,), "must be https: whoever can change what http brings can sign as anybody"


class GithubHookSettings(Section):
    """GitHub's webhooks, at /hooks/github."""

    secret: HookSecret = Field(
        description="The secret that its webhooks are signed with, at least 16 characters; only as "
        "${env:NAME} or ${file:PATH}. No default.",
        json_schema_extra={BY_REFERENCE: True},
    )


class GitlabHookSettings(Section):
    """GitLab's webhooks, at /hooks/gitlab: a secret token, a signing token, or both."""

    token: HookSecret | None = Field(
        default=None,
        description="Their secret token, as for GitHub. Default none, where there is a `signing_token`.",
        json_schema_extra={BY_REFERENCE: True},
    )
    signing_token: Annotated[Secret, AfterValidator(_signing_token)] | None = Field(
        default=None,
        description="Their signing token, `whsec_…`, only by reference. Default none: not every GitLab "
        "signs. Where it is given, what is not signed is refused, with the secret token too.",
        json_schema_extra={BY_REFERENCE: True},
    )

    @classmethod
    def contradictions(cls, given: Mapping[str, Any]) -> Iterator[Contradiction]:
        if given.get("token") is None and given.get("signing_token") is None:
            yield (), "must hold a `token`, a `signing_token`, or both"


class GenericHookSettings(Section):
    """Scripts that sign, and CI jobs with a token of their own, at /hooks/generic."""

    secret: HookSecret | None = Field(
        default=None,
        description="The secret of scripts that sign what they send, as for GitHub. Default none, where "
        "there is `oidc`.",
        json_schema_extra={BY_REFERENCE: True},
    )
    oidc: tuple[OidcSettings, ...] = Field(
        default=(),
        description="CI jobs that may come with an OIDC token of their own instead. Default none.",
    )

    @classmethod
    def contradictions(cls, given: Mapping[str, Any]) -> Iterator[Contradiction]:
        if given.get("secret") is None and not given.get("oidc"):
            yield (), "must hold a `secret`, `oidc`, or both"
        for key in again_in(given, "oidc", "name"):
            yield key, "is the name of an earlier entry too"


class HooksSettings(Section):
    """Webhooks: what forges, CI jobs and scripts may tell."""

    github: GithubHookSettings | None = Field(
        default=None, description="GitHub's webhooks. Default none: there is no /hooks/github."
    )
    gitlab: GitlabHookSettings | None = Field(
        default=None, description="GitLab's webhooks. Default none: there is no /hooks/gitlab."
    )
    generic: GenericHookSettings | None = Field(
        default=None, description="Scripts and CI jobs. Default none: there is no /hooks/generic."
    )
    per_minute: Whole = Field(
        default=120,
        ge=1,
        le=100_000,
        description="Deliveries from one address to one endpoint in a minute; what is beyond is told to come "
        "back later, and its hint is kept all the same. Default 120: above what a busy organisation "
        "pushes, and a flood costs next to nothing.",
    )


def unknown_repositories(given: Mapping[str, Any]) -> Iterator[Contradiction]:
    """What jobs may speak of, and the configuration does not know; of all of it, not validated yet."""
    known = given.get("repositories")
    generic = part_of(given.get("hooks"), "generic")
    for place, entry in enumerate(items_of(part_of(generic, "oidc"))):
        for number, name in enumerate(items_of(part_of(entry, "repositories"))):
            if isinstance(name, str) and isinstance(known, dict) and name not in known:
                key = ("hooks", "generic", "oidc", place, "repositories", number)
                yield key, "is no name under `repositories`"
