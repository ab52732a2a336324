"""What the configuration's tests share: a file to write, and a log that forgets their canaries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from driftwatch import log
from driftwatch.config.loading import load_with_warnings
from driftwatch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from driftwatch.config.loading import Loaded

ROOT = Path(__file__).parents[2]

SHIPPED_ENVIRONMENT = {
    "PLATFORM_GIT_TOKEN": "git-token-canary",
    "PLATFORM_FORGE_TOKEN": "forge-token-canary",
    "PROD_READER_KEY_ID": "key-id-canary",
    "PROD_READER_SECRET": "reader-secret-canary",
    "PROD_WRITER_KEY_ID": "writer-key-id-canary",
    "PROD_WRITER_SECRET": "writer-secret-canary",
    "SLACK_BOT_TOKEN": "slack-token-canary",
    "INCIDENTS_WEBHOOK_SECRET": "webhook-secret-canary",
    "SLACK_APP_TOKEN": "app-token-canary",
    "SMTP_PASSWORD": "smtp-password-canary",
    "GITHUB_ISSUES_TOKEN": "github-token-canary",
    "GITLAB_ISSUES_TOKEN": "gitlab-token-canary",
    "GITHUB_HOOK_SECRET": "github-hook-canary",
    "GITLAB_HOOK_TOKEN": "gitlab-hook-canary",
    "GITLAB_HOOK_SIGNING_TOKEN": "whsec_Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5LTAxMjM=",
    "GENERIC_HOOK_SECRET": "generic-hook-canary",
    "APPRISE_TEAMS_URL": "apprise-url-canary",
}


@pytest.fixture(autouse=True, scope="module")
def _forgets_canaries() -> Iterator[None]:
    """Secrets are registered for the whole process: other folders' tests must not see `default` redacted."""
    before = set(log._secrets)
    yield
    log._secrets.clear()
    log._secrets.update(before)


@pytest.fixture
def shipped() -> Path:
    """The configuration that shows every key."""
    return ROOT / "config" / "driftwatch.yaml"


@pytest.fixture
def shipped_environment() -> dict[str, str]:
    """What it refers to."""
    return dict(SHIPPED_ENVIRONMENT)


@pytest.fixture
def accepts(tmp_path: Path) -> Callable[..., Loaded]:
    """Loads a text that must be accepted."""

    def load_text(text: str, environment: Mapping[str, str] | None = None) -> Loaded:
        file = tmp_path / "driftwatch.yaml"
        file.write_text(text, encoding="utf-8")
        return load_with_warnings(file, environment or {})

    return load_text


@pytest.fixture
def refuses(tmp_path: Path) -> Callable[..., list[str]]:
    """Loads a text (or bytes) that must be refused; gives the problems, without the directory."""

    def problems_of(text: str | bytes, environment: Mapping[str, str] | None = None) -> list[str]:
        file = tmp_path / "driftwatch.yaml"
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        with pytest.raises(ConfigError) as refusal:
            load_with_warnings(file, environment or {})
        assert refusal.value.exit_code == 64
        return [problem.replace(f"{tmp_path}/", "") for problem in refusal.value.problems]

    return problems_of
