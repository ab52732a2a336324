"""What the configuration says, validated and frozen; the shape that the rest of driftwatch reads.

Every setting states its unit, its default and the reason for the default. Files are read by
`driftwatch.config.load`, which reports all problems at once; nothing reads the environment after that.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class Section(BaseModel):
    """Base of all sections: unknown keys refused, frozen once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Schedule(Section):
    """When a stack is re-checked: `every` (a duration) or `cron` (five fields, in `timezone`)."""

    every: timedelta | None = None
    cron: str | None = None
    timezone: str = "UTC"


class IdentitySettings(Section):
    """Who the credentials must belong to before a verdict counts."""

    aws_account: str | None = None


class StackSettings(Section):
    """One glob of root modules and how they are treated."""

    path: str
    workspaces: tuple[str, ...] = ("default",)
    engine: Literal["auto", "terraform", "tofu"] = "auto"
    var_files: tuple[str, ...] = ()
    variables: dict[str, object] = Field(default_factory=dict)
    environment: dict[str, SecretStr] = Field(default_factory=dict)
    backend_config: dict[str, SecretStr] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    owners: tuple[str, ...] = ()
    schedule: Schedule = Schedule(every=timedelta(minutes=15))
    on_drift: Literal["notify", "propose", "apply", "adopt"] = "notify"
    on_commit: Literal["notify", "propose", "apply"] = "notify"
    depends_on: tuple[str, ...] = ()
    identity: IdentitySettings = IdentitySettings()


class RepositorySettings(Section):
    """One Git repository."""

    url: str
    branch: str = "main"
    poll: timedelta = timedelta(seconds=60)
    signatures: Literal["off", "head", "tags"] = "off"
    token: SecretStr | None = None
    username: str = "x-access-token"
    ssh_key: Path | None = None
    ssh_known_hosts: Path | None = None
    submodules: bool = False
    max_size_mb: int = 2048
    max_files: int = 200_000
    timeout: timedelta = timedelta(minutes=5)
    stacks: tuple[StackSettings, ...] = (StackSettings(path="**"),)


class TerraformSettings(Section):
    """How terraform or tofu runs."""

    binary: str = "auto"
    provider_mirrors: tuple[str, ...] = ()
    cli_config: Path | None = None
    inherit_environment: tuple[str, ...] = ()
    parallelism: int = 10
    plan_timeout: timedelta = timedelta(minutes=30)
    init_timeout: timedelta = timedelta(minutes=10)
    plan_lock: bool = False
    max_plan_mb: int = 512
    min_free_mb: int = 256


class SlackSettings(Section):
    """Where Slack is and where to speak."""

    token: SecretStr
    channel: str
    base_url: str | None = None


class WebhookSettings(Section):
    """A generic webhook, signed with HMAC-SHA256 over the raw body."""

    name: str
    url: str
    secret: SecretStr


class NotifySettings(Section):
    """Who is told."""

    slack: SlackSettings | None = None
    webhooks: tuple[WebhookSettings, ...] = ()


class WebSettings(Section):
    """The HTTP server."""

    listen: str = "127.0.0.1:8080"


class ServiceSettings(Section):
    """The daemon itself."""

    workers: int = 2
    shutdown_grace: timedelta = timedelta(seconds=60)


class Settings(Section):
    """One whole configuration."""

    state_dir: Path = Path("state")
    database: SecretStr | None = None
    repositories: dict[str, RepositorySettings]
    terraform: TerraformSettings = TerraformSettings()
    repository_may_set: tuple[Literal["labels", "owners", "schedule"], ...] = ("labels", "owners", "schedule")
    notify: NotifySettings = NotifySettings()
    web: WebSettings = WebSettings()
    service: ServiceSettings = ServiceSettings()
