"""What the section `hooks` takes: secrets that are some, and jobs that nobody else can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from driftwatch.config.loading import Loaded

START = "repositories: {p: {url: /srv/p}}\nhooks:\n"
JOB = (
    "  oidc:\n"
    "    - {{name: ci, issuer: {issuer}, audience: us, claims: {claims}, repositories: {repositories}}}\n"
)


def job(issuer: str = "https://ci.example", claims: str = "{ref: [main]}", repositories: str = "[p]") -> str:
    return START + JOB.format(issuer=issuer, claims=claims, repositories=repositories)


def test_without_it_there_is_no_hook(accepts: Callable[..., Loaded]) -> None:
    hooks = accepts("repositories: {p: {url: /srv/p}}").settings.hooks
    assert (hooks.github_secret, hooks.gitlab_token, hooks.generic_secret, hooks.oidc) == (None,) * 3 + ((),)


@pytest.mark.parametrize("key", ["github_secret", "gitlab_token", "generic_secret"])
def test_a_secret_that_can_be_guessed_is_none(refuses: Callable[..., list[str]], key: str) -> None:
    (problem,) = refuses(f"{START}  {key}: ${{env:S}}\n", {"S": "canary-is-short"})
    assert f"hooks.{key}: is not accepted" in problem
    assert "canary" not in problem


@pytest.mark.parametrize("key", ["github_secret", "gitlab_token", "gitlab_signing_token", "generic_secret"])
def test_a_secret_stands_in_no_file(refuses: Callable[..., list[str]], key: str) -> None:
    problems = refuses(f"{START}  {key}: canary-canary-canary-0123\n")
    assert all(f"hooks.{key}: " in problem for problem in problems)
    assert "canary-canary" not in "".join(problems)


@pytest.mark.parametrize("token", ["canary-0123456789-0123", "whsec_%%%", "whsec_", "whsec_Y2FuYXJ5"])
def test_a_signing_token_is_one_of_gitlabs(refuses: Callable[..., list[str]], token: str) -> None:
    (problem,) = refuses(f"{START}  gitlab_signing_token: ${{env:S}}\n", {"S": token})
    assert "hooks.gitlab_signing_token: is not accepted" in problem


def test_jobs_are_told_by_issuer_audience_and_claims(accepts: Callable[..., Loaded]) -> None:
    (entry,) = accepts(job()).settings.hooks.oidc
    assert (entry.issuer, entry.audience, entry.claims) == ("https://ci.example", "us", {"ref": ("main",)})
    assert accepts(job(issuer="http://127.0.0.1:9/")).settings.hooks.oidc


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (job(claims="{}"), "claims"),
        (job(claims="{ref: []}"), "claims"),
        (job(repositories="[]"), "repositories"),
        (job(repositories="[q]"), "is no name under `repositories`"),
        (job(issuer="http://ci.example"), "must be https"),
        (job(issuer="http://127.evil.example"), "must be https"),
        (job(issuer="https://169.254.169.254"), "link-local, metadata or reserved"),
        (job(issuer="file:///etc/keys"), "https://"),
        (job() + JOB.format(issuer="https://b", claims="{a: [b]}", repositories="[p]")[8:], "earlier entry"),
    ],
)
def test_an_entry_that_would_let_others_in_is_refused(
    refuses: Callable[..., list[str]], text: str, says: str
) -> None:
    assert says in "\n".join(refuses(text))
