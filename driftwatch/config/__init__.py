"""Configuration: YAML in, frozen validated settings out, and the JSON Schema of it."""

from driftwatch.config.globs import matches
from driftwatch.config.json_schema import schema
from driftwatch.config.loading import Examined, Loaded, examine, load, load_with_warnings
from driftwatch.config.problems import Problem
from driftwatch.config.repository_file import (
    RepositoryFile,
    RepositoryStack,
    apply_repository_file,
    read_repository_file,
)
from driftwatch.config.settings import (
    IdentitySettings,
    NotifySettings,
    RepositorySettings,
    Schedule,
    ServiceSettings,
    Settings,
    SlackSettings,
    StackSettings,
    TerraformSettings,
    WebhookSettings,
    WebSettings,
    WindowSettings,
)

__all__ = [
    "Examined",
    "IdentitySettings",
    "Loaded",
    "NotifySettings",
    "Problem",
    "RepositoryFile",
    "RepositorySettings",
    "RepositoryStack",
    "Schedule",
    "ServiceSettings",
    "Settings",
    "SlackSettings",
    "StackSettings",
    "TerraformSettings",
    "WebSettings",
    "WebhookSettings",
    "WindowSettings",
    "apply_repository_file",
    "examine",
    "load",
    "load_with_warnings",
    "matches",
    "read_repository_file",
    "schema",
]
