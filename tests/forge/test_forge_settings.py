"""Where a repository is hosted, as it is configured."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from driftwatch.config.gitops import ForgeSettings


def _settings(**other: Any) -> ForgeSettings:
    given: dict[str, Any] = {"kind": "github", "project": "acme/infra", "token": SecretStr("canary-777")}
    return ForgeSettings(**given | other)


@pytest.mark.parametrize(
    ("kind", "project"),
    [
        ("github", "acme/infra"),
        ("gitlab", "acme/infra"),
        ("gitlab", "acme/platform/infra"),
        ("gitlab", "4711"),
    ],
)
def test_a_project_is_named_as_its_forge_names_it(kind: str, project: str) -> None:
    assert _settings(kind=kind, project=project).project == project


@pytest.mark.parametrize(
    ("kind", "project", "told"),
    [
        ("github", "acme/platform/infra", "must be OWNER/NAME"),
        ("github", "infra", "must be OWNER/NAME"),
        ("github", "acme/..", "must be OWNER/NAME"),
        ("gitlab", "infra", "must be GROUP/PROJECT"),
        ("gitlab", "acme/infra?x=y", "must be GROUP/PROJECT"),
        ("bitbucket", "acme/infra", "'github' or 'gitlab'"),
    ],
)
def test_a_project_that_its_forge_cannot_have_is_refused(kind: str, project: str, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        _settings(kind=kind, project=project)


@pytest.mark.parametrize("url", ["ftp://example.com", "example.com", "https://ada:secret@example.com"])
def test_an_address_that_is_none_of_the_web_or_holds_a_secret_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        _settings(api_url=url)


def test_the_token_is_not_shown() -> None:
    assert "canary-777" not in repr(_settings()) + str(_settings())
