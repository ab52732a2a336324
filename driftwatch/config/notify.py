"""The section `notify:`: who is told, by which way, when, and of what.

Secrets stand in a file only as references. What a route means is `driftwatch.drift.routing`; what a channel
does is in `driftwatch.notify`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping  # noqa: TC003  (pydantic reads annotations at run time)
from datetime import time, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from driftwatch.config import values
from driftwatch.config.durations import Duration  # noqa: TC001  (as above)
from driftwatch.config.section import (
    BY_REFERENCE,
    Contradiction,
    Name,
    Secret,
    Section,
    ServiceUrl,
    StackPattern,
    Text,
    WebUrl,
    Whole,
    Zone,
    again_in,
    once,
)

LocalTime = Annotated[
    time,
    BeforeValidator(values.local_time),
    PlainSerializer(lambda moment: f"{moment:%H:%M}", return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": values.LOCAL_TIME}),
]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
EVERY_DAY: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Grade = Literal["info", "low", "medium", "high", "critical"]
MailAddress = Annotated[str, AfterValidator(values.mail_address)]


class SlackSettings(Section):
    """Where Slack is and where to speak."""

    token: Secret = Field(
        description="Bot token, only as ${env:NAME} or ${file:PATH}. No default.",
        json_schema_extra={BY_REFERENCE: True},
    )
    channel: Annotated[str, AfterValidator(values.channel)] = Field(
        description='Channel id or name, in quotes: "#infra-drift" (without them, YAML reads a comment). '
        "No default.",
    )
    base_url: WebUrl | None = Field(
        default=None,
        description="Another address of Slack's API, for gateways and tests. Default none: Slack's own.",
    )
    app_token: Secret | None = Field(
        default=None,
        description="App-level token (xapp-…, scope connections:write) for buttons by Socket Mode, which "
        "needs no address that Slack can reach; only as ${env:NAME} or ${file:PATH}. Default none: messages "
        "have no buttons, unless `signing_secret` is set.",
        json_schema_extra={BY_REFERENCE: True},
    )
    signing_secret: Secret | None = Field(
        default=None,
        description="The app's signing secret, for buttons through `/hooks/slack`, which Slack must be able "
        "to reach; only as ${env:NAME} or ${file:PATH}. Default none, as for `app_token`.",
        json_schema_extra={BY_REFERENCE: True},
    )

    @property
    def has_buttons(self) -> bool:
        """Whether there is a way for a press to come back."""
        return self.app_token is not None or self.signing_secret is not None


class WebhookSettings(Section):
    """A generic webhook, signed with HMAC-SHA256 over the raw body."""

    name: Name = Field(description="Names the channel `webhook:<name>` in logs and metrics. No default.")
    url: WebUrl = Field(description="Where messages are posted to. No default.")
    secret: Secret = Field(
        description="Key of the signature, only as ${env:NAME} or ${file:PATH}. No default.",
        json_schema_extra={BY_REFERENCE: True},
    )
    allow_addresses: tuple[Annotated[str, AfterValidator(values.network)], ...] = Field(
        default=(),
        description="Link-local or metadata addresses or networks, in quotes, that this webhook may "
        "reach. Default none: a cloud's metadata service answers there, and credentials are what it tells.",
    )


class EmailSettings(Section):
    """E-mail through an SMTP server."""

    name: Name = Field(
        description="Names the channel `email:<name>` in routes, logs and metrics. No default."
    )
    host: Annotated[str, AfterValidator(values.host_name)] = Field(
        description="The SMTP server's name or address. No default."
    )
    port: Whole = Field(
        default=587, ge=1, le=65535, description="Its port. Default 587: that for submission, with STARTTLS."
    )
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        description="`starttls`, `tls` from the first byte (usually on port 465), or `none`, which sends "
        "everything in clear and takes no password. Default starttls; a server that does not offer it is an "
        "error, never a reason to go on without.",
    )
    username: Text | None = Field(
        default=None, description="Who signs in. Default nobody: a relay inside often asks for none."
    )
    password: Secret | None = Field(
        default=None,
        description="Goes with `username`; only as ${env:NAME} or ${file:PATH}. Default none, as for it.",
        json_schema_extra={BY_REFERENCE: True},
    )
    from_: MailAddress = Field(alias="from", description="The sender's address. No default.")
    to: Annotated[tuple[MailAddress, ...], AfterValidator(once)] = Field(
        min_length=1, description="The addresses that are written to. No default."
    )

    @classmethod
    def contradictions(cls, given: Mapping[str, Any]) -> Iterator[Contradiction]:
        if (given.get("username") is None) != (given.get("password") is None):
            yield (), "must have both `username` and `password`, or neither"
        if given.get("security") == "none" and given.get("password") is not None:
            yield ("security",), "must not be `none` where there is a password: it would be sent in clear"


class GithubIssuesSettings(Section):
    """Issues on GitHub: opened, updated and closed with what they tell of. Needs the extra `github`."""

    name: Name = Field(
        description="Names the channel `github:<name>` in routes, logs and metrics. No default."
    )
    repository: Annotated[str, AfterValidator(values.github_repository)] = Field(
        description="OWNER/NAME of the repository in which issues are opened. No default."
    )
    token: Secret = Field(
        description="A token that may read and write its issues; only as ${env:NAME} or ${file:PATH}. "
        "No default.",
        json_schema_extra={BY_REFERENCE: True},
    )
    api_url: ServiceUrl | None = Field(
        default=None, description="The API of a GitHub Enterprise server. Default none: GitHub's own."
    )
    labels: tuple[Text, ...] = Field(
        default=("drift",), description="Labels of new issues. Default [drift], to find them by."
    )
    most_open: Whole = Field(
        default=50,
        ge=1,
        description="So many issues of driftwatch's are open at most; what comes then waits until one is "
        "closed. Default 50: more than that nobody works off, and a bad day must not bury a tracker.",
    )


class GitlabIssuesSettings(Section):
    """Issues on GitLab: opened, updated and closed with what they tell of. Needs the extra `gitlab`."""

    name: Name = Field(
        description="Names the channel `gitlab:<name>` in routes, logs and metrics. No default."
    )
    project: Annotated[str, AfterValidator(values.gitlab_project)] = Field(
        description="Path or number of the project in which issues are opened, in quotes. No default."
    )
    token: Secret = Field(
        description="A token with the scope `api`; only as ${env:NAME} or ${file:PATH}. No default.",
        json_schema_extra={BY_REFERENCE: True},
    )
    url: ServiceUrl | None = Field(
        default=None, description="Another GitLab than gitlab.com. Default none: that one."
    )
    labels: tuple[Text, ...] = Field(
        default=("drift",), description="Labels of new issues. Default [drift], as for GitHub."
    )
    most_open: Whole = Field(
        default=50, ge=1, description="Most issues of driftwatch's open at once. Default 50, as for GitHub."
    )


class AppriseSettings(Section):
    """One of the many services that apprise knows. Needs the extra `apprise`."""

    name: Name = Field(
        description="Names the channel `apprise:<name>` in routes, logs and metrics. No default."
    )
    url: Secret = Field(
        description="The service's address as apprise writes it (`workflows://…`, `pagerduty://…`), which "
        "holds secrets: only as ${env:NAME} or ${file:PATH}. No default.",
        json_schema_extra={BY_REFERENCE: True},
    )


class QuietHours(Section):
    """When nobody is to be woken: what comes then waits until they are over, and goes out together."""

    from_: LocalTime = Field(alias="from", description='Local time at which they begin, "22:00". No default.')
    to: LocalTime = Field(
        description='Local time at which they end, "07:00"; on the next day where it is not later than '
        "`from`. No default."
    )
    timezone: Zone = Field(
        default="UTC", description="IANA zone of `from` and `to`. Default UTC: it has no change of clocks."
    )
    days: Annotated[tuple[Weekday, ...], AfterValidator(once)] = Field(
        default=EVERY_DAY,
        min_length=1,
        description="Days on which they begin. Default every day.",
    )
    unless: Grade | None = Field(
        default="critical",
        description="From this severity on they do not hold. Default critical; null makes them hold for all.",
    )


class DigestSettings(Section):
    """Everything that comes is told together, at a time of the day."""

    at: LocalTime = Field(description='Local time of the digest, "09:00". No default.')
    timezone: Zone = Field(default="UTC", description="IANA zone of `at`. Default UTC, as for quiet hours.")
    days: Annotated[tuple[Weekday, ...], AfterValidator(once)] = Field(
        default=EVERY_DAY, min_length=1, description="Days of the week with a digest. Default every day."
    )
    unless: Grade | None = Field(
        default="critical",
        description="From this severity on it is told at once. Default critical; null waits with all.",
    )


class RouteSettings(Section):
    """Who is told of what: the channels of every route that fits are told; where none fits, all are."""

    channels: Annotated[tuple[Annotated[str, AfterValidator(values.outlet)], ...], AfterValidator(once)] = (
        Field(
            description="`slack` (its own channel), `slack:#another`, `webhook:<name>`, `email:<name>`, "
            "`github:<name>`, `gitlab:<name>`, `apprise:<name>`; an empty list tells nobody, on purpose. "
            "No default.",
        )
    )
    stacks: tuple[StackPattern, ...] = Field(
        default=("*",), min_length=1, description='Stack ids or globs. Default ["*"], all.'
    )
    labels: dict[Text, Text] = Field(
        default_factory=dict, description="Only stacks with all these labels. Default none: all stacks."
    )
    owners: tuple[Text, ...] = Field(
        default=(), description="Only stacks with one of these owners. Default none: all stacks."
    )
    severity: Grade = Field(
        default="info",
        description="Only differences of which one is at least this severe. That checks fail or do not come "
        "is told whatever this says. Default info: all.",
    )
    causes: Annotated[
        tuple[
            Literal[
                "out_of_band",
                "unapplied_commit",
                "provider_upgrade",
                "input_change",
                "state_edit",
                "undetermined",
            ],
            ...,
        ],
        AfterValidator(once),
    ] = Field(
        default=(),
        description="Only differences of which one has one of these causes; as for `severity`. Default none: "
        "all.",
    )
    quiet_hours: QuietHours | None = Field(
        default=None, description="When nobody is woken. Default none: whoever is told is told at once."
    )
    digest: DigestSettings | None = Field(
        default=None, description="Tells everything together at a time of the day. Default none, as above."
    )

    @classmethod
    def contradictions(cls, given: Mapping[str, Any]) -> Iterator[Contradiction]:
        if given.get("quiet_hours") is not None and given.get("digest") is not None:
            yield ("quiet_hours",), "has no meaning with `digest`, which has a time of its own"


class NotifySettings(Section):
    """Who is told."""

    slack: SlackSettings | None = Field(
        default=None, description="Slack. Default none: alerts are then only logged and stored."
    )
    webhooks: tuple[WebhookSettings, ...] = Field(
        default=(), description="Generic webhooks. Default none, as for slack."
    )
    email: tuple[EmailSettings, ...] = Field(default=(), description="E-mail. Default none, as for slack.")
    github: tuple[GithubIssuesSettings, ...] = Field(
        default=(), description="Issues on GitHub. Default none, as for slack."
    )
    gitlab: tuple[GitlabIssuesSettings, ...] = Field(
        default=(), description="Issues on GitLab. Default none, as for slack."
    )
    apprise: tuple[AppriseSettings, ...] = Field(
        default=(), description="Services that apprise knows. Default none, as for slack."
    )
    routes: tuple[RouteSettings, ...] = Field(
        default=(),
        description="Who is told of what. Default none: every channel is told of everything.",
    )
    gather: Duration = Field(
        default=timedelta(seconds=10),
        description="How long the first message of what may concern several stacks waits for the others; a "
        "duration, 0s for not at all. Default 10s: one commit, one upgrade or one outage is then one alert "
        "and not one for each stack.",
    )

    @property
    def channel_names(self) -> frozenset[str]:
        """What routes may name, beside `slack:<channel>` where there is Slack."""
        return frozenset(_named({key: getattr(self, key) for key in ("slack", *_SORTS)}))

    @classmethod
    def contradictions(cls, given: Mapping[str, Any]) -> Iterator[Contradiction]:
        for section, sort in _SORTS.items():
            for key in again_in(given, section, "name"):
                yield key, f"is the name of an earlier {sort} too"
        known = _named(given)
        routes = given.get("routes")
        for place, route in enumerate(routes if isinstance(routes, list | tuple) else ()):
            outlets = route.get("channels") if isinstance(route, dict) else getattr(route, "channels", ())
            for position, outlet in enumerate(outlets if isinstance(outlets, list | tuple) else ()):
                if isinstance(outlet, str) and not _is_known(outlet, known):
                    yield ("routes", place, "channels", position), "names a channel that is not configured"


_SORTS = {
    "webhooks": "webhook",
    "email": "email",
    "github": "github",
    "gitlab": "gitlab",
    "apprise": "apprise",
}


def _named(given: Mapping[str, Any]) -> set[str]:
    """The channels of a section that is not validated yet."""
    found = {"slack"} if given.get("slack") is not None else set()
    for key, sort in _SORTS.items():
        many = given.get(key)
        for one in many if isinstance(many, list | tuple) else ():
            found.add(f"{sort}:{one.get('name') if isinstance(one, dict) else getattr(one, 'name', None)}")
    return found


def _is_known(outlet: str, known: set[str]) -> bool:
    return outlet in known or (outlet.startswith("slack:") and "slack" in known)
