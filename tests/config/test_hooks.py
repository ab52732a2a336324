"""What the section `hooks` takes: secrets that are some, and jobs that nobody else can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from driftwatch.config.loading import Loaded

START = "repositories: {p: {url: /srv/p}}\nhooks:\n"
JOB = (
    "  generic:\n"
    "    oidc:\n"
    "    - {{name: ci, issuer: {issuer}, audience: us, claims: {claims}, repositories: {repositories}}}\n"
)
SECRETS = ["github: {{secret: '{}'}}", "gitlab: {{token: '{}'}}", "generic: {{secret: '{}'}}"]
SIGNING = "gitlab: {{signing_token: '{}'}}"


def job(issuer: str = "https://ci.example", claims: str = "{ref: [main]}", repositories: str = "[p]") -> str:
    return START + JOB.format(issuer=issuer, claims=claims, repositories=repositories)


def test_without_it_there_is_no_hook(accepts: Callable[..., Loaded]) -> None:
    hooks = accepts("repositories: {p: {url: /srv/p}}").settings.hooks
    assert (hooks.github, hooks.gitlab, hooks.generic) == (None, None, None)


@pytest.mark.parametrize("key", SECRETS)
def test_a_secret_that_can_be_guessed_is_none(refuses: Callable[..., list[str]], key: str) -> None:
    (problem,) = refuses(f"{START}  {key.format('${env:S}')}\n", {"S": "canary-is-short"})
    assert f"hooks.{key.partition(':')[0]}." in problem
    assert "is not accepted" in problem
    assert "canary" not in problem


@pytest.mark.parametrize("key", [*SECRETS, SIGNING])
def test_a_secret_stands_in_no_file(refuses: Callable[..., list[str]], key: str) -> None:
    problems = refuses(f"{START}  {key.format('canary-canary-canary-0123')}\n")
    assert all(f"hooks.{key.partition(':')[0]}." in problem for problem in problems)
    assert "canary-canary" not in "".join(problems)


@pytest.mark.parametrize("token", ["canary-0123456789-0123", "whsec_%%%", "whsec_", "whsec_Y2FuYXJ5"])
def test_a_signing_token_is_one_of_gitlabs(refuses: Callable[..., list[str]], token: str) -> None:
    (problem,) = refuses(f"{START}  {SIGNING.format('${env:S}')}\n", {"S": token})
    assert "hooks.gitlab.signing_token: is not accepted" in problem


@pytest.mark.parametrize("empty", ["github: {}", "gitlab: {}", "generic: {}", "generic: {oidc: []}"])
def test_an_endpoint_without_a_secret_is_refused(refuses: Callable[..., list[str]], empty: str) -> None:
    assert f"hooks.{empty.partition(':')[0]}" in refuses(f"{START}  {empty}\n")[0]


def test_jobs_are_told_by_issuer_audience_and_claims(accepts: Callable[..., Loaded]) -> None:
    (entry,) = accepts(job()).settings.hooks.generic.oidc
    assert (entry.issuer, entry.audience, entry.claims) == ("https://ci.example", "us", {"ref": ("main",)})
    assert accepts(job(issuer="http://127.0.0.1:9/")).settings.hooks.generic


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
        (
            job()
            + JOB.format(issuer="https://b", claims="{a: [b]}", repositories="[p]").partition("oidc:\n")[2],
            "earlier entry",
        ),
    ],
)
def test_an_entry_that_would_let_others_in_is_refused(
    refuses: Callable[..., list[str]], text: str, says: str
) -> None:
    assert says in "\n".join(refuses(text))
