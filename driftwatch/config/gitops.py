"""What a repository's host may do and be asked: the forge, previews of pull requests, signatures, webhooks.

The hosts' own words are kept: what GitHub calls a pull request and GitLab a merge request is a pull request
here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from driftwatch.config import signing, values
from driftwatch.config.logins import forge_host
from driftwatch.config.places import LocalPath  # noqa: TC001  (pydantic reads annotations at run time)
from driftwatch.config.section import (
    BY_REFERENCE,
    Contradiction,
    Secret,
    Section,
    ServiceUrl,
    StackPattern,
    Whole,
)


def _signer(line: str) -> str:
    return signing.ssh_signer(line).line


def _key(text: str) -> str:
    signing.key_fingerprint(values.plain_text(text))
    return text.strip()


class ForgeSettings(Section):
    """Where a repository is hosted, for pull requests, comments, commit statuses and issues."""

    kind: Literal["github", "gitlab"] = Field(
        description="Which API it speaks. Needs the extra of that name. No default."
    )
    project: Annotated[str, AfterValidator(values.plain_text)] = Field(
        description="OWNER/NAME on GitHub; path or number, in quotes, on GitLab. Where several repositories "
        "name the same, the status of each is `driftwatch/<its name>`, else it is `driftwatch`. No default."
    )
    token: Secret = Field(
        description="A token that may read and write its pull requests, issues and commit statuses (GitLab: "
        "the scope `api`); only as ${env:NAME} or ${file:PATH}. No default.",
        json_schema_extra={BY_REFERENCE: True},
    )
    api_url: ServiceUrl | None = Field(
        default=None,
        description="The API of a GitHub Enterprise server, https://HOST/api/v3, or another GitLab than "
        "gitlab.com, https://HOST. Default none: the host's own.",
    )

    @property
    def host(self) -> str:
        """Where people have their accounts."""
        return forge_host(self.kind, self.api_url)

    @classmethod
    def contradictions(cls, given: Mapping[str, Any]) -> Iterator[Contradiction]:
        check = {"github": values.github_repository, "gitlab": values.gitlab_project}.get(
            str(given.get("kind"))
        )
        if check is not None and isinstance(given.get("project"), str):
            try:
                check(given["project"])
            except ValueError as problem:
                yield ("project",), str(problem)


class PreviewSettings(Section):
    """Speculative plans of pull requests: what a merge would do, said before it."""

    enabled: bool = Field(
        default=True,
        description="Whether pull requests are planned. Default true: whoever names a forge wants to know "
        "before the merge.",
    )
    most_stacks: Whole = Field(
        default=25,
        ge=1,
        le=1000,
        description="A pull request that touches more stacks than this is not planned until somebody with "
        "the right asks for it. Default 25: a push must not keep the workers from the watching.",
    )
    stacks: tuple[StackPattern, ...] = Field(
        default=("*",),
        min_length=1,
        description='Stack ids or globs that are previewed. Default ["*"], all of the repository.',
    )
    required_for_destroy: bool = Field(
        default=True,
        description="Whether the status of a plan that destroys or replaces something stays failed until "
        "somebody with the right comments `/driftwatch approve`. Default true: it is what reviews miss.",
    )


class SigningSettings(Section):
    """Whose signatures count where a repository asks for them."""

    ssh: tuple[Annotated[str, AfterValidator(_signer)], ...] = Field(
        default=(),
        description="Allowed SSH signers, each a line as in ssh-keygen's allowed signers file, with "
        "`valid-after` and `valid-before` where wanted: `ada@example.com ssh-ed25519 AAAA…`. Default none.",
    )
    ssh_revoked: tuple[Annotated[str, AfterValidator(_key)], ...] = Field(
        default=(),
        description="Public SSH keys that count for nothing any more, whatever `ssh` says: `ssh-ed25519 "
        "AAAA…`. Default none.",
    )
    pgp: tuple[LocalPath, ...] = Field(
        default=(),
        description="Files with the public PGP keys that are allowed, armoured or not, relative to this "
        "file. A key that is revoked in there, or has expired, counts for nothing. Default none.",
    )


def names_signers(signers: object) -> bool:
    """Whether somebody is named in what may not be validated yet."""
    if isinstance(signers, SigningSettings):
        return bool(signers.ssh or signers.pgp)
    return isinstance(signers, Mapping) and bool(signers.get("ssh") or signers.get("pgp"))
