"""What a configuration says of a session beside its environment: values, read by `session`.

Terraform's S3 backend has settings of its own for what the environment also says (a region, a profile, files,
roles, endpoints, proxies); they go before. Kept apart from `session`, which costs botocore's import.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Static credentials."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role to be assumed; `duration` is in seconds, None for as long as STS gives by itself (an hour)."""

    arn: str
    session_name: str | None = None
    external_id: str | None = field(default=None, repr=False)
    duration: int | None = None
    policy: str | None = None
    policy_arns: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    transitive_tag_keys: tuple[str, ...] = ()
    source_identity: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebIdentity:
    """A token that is exchanged for a role: itself, or a file that is read at each exchange."""

    role: Role
    token: str | None = field(default=None, repr=False)
    token_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where a value is None or empty, the environment and the profile decide.

    `ca_bundle` False verifies nobody. `endpoints` are by botocore's name of the service. `proxies` are named
    `http`, `https` and `no`, and an empty one takes away the environment's. Files that are relative, also
    those that the environment names, lie in `directory`.
    """

    region: str | None = None
    default_region: str | None = None
    sts_region: str | None = None
    profile: str | None = None
    keys: Keys | None = None
    web_identity: WebIdentity | None = None
    role: Role | None = None
    config_file: str | None = None
    credentials_file: str | None = None
    ca_bundle: str | bool | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict)
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    fips: bool | None = None
    dualstack: bool | None = None
    directory: Path | None = None
