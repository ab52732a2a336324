"""A boto3 session made of one environment and of nothing else.

boto3 takes what it finds: variables of its own process, `~/.aws`, proxies, at last the machine's metadata
service. In a daemon that plans many stacks each of these belongs to somebody else. Here each is read from
the mapping that the stack's terraform gets: keys, token, web identity, profile with its files (below the
mapping's HOME), container credentials, region, endpoints, proxies and CA bundle. The metadata service is
asked only where the mapping says so.

Uses botocore's own providers, each given the mapping, in botocore's order; what botocore loads from its own
package is shared between sessions.
"""

from __future__ import annotations

import os
import signal
import subprocess
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import botocore.session
from botocore import configprovider, credentials
from botocore.config import Config
from botocore.httpsession import URLLib3Session
from botocore.loaders import Loader
from botocore.utils import InstanceMetadataFetcher, JSONFileCache

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_REGION = "us-east-1"
"""Where the caller's identity is asked for when no region is set: the `aws` partition answers alike
everywhere."""

ATTEMPTS = 2


class EnvironmentSession(botocore.session.Session):  # type: ignore[misc]  # botocore ships no types
    """A botocore session whose clients read `environment`; `timeout` is in seconds for each attempt."""

    def __init__(self, environment: Mapping[str, str], *, timeout: float) -> None:
        super().__init__()
        self._mapping = dict(environment)
        self.register_component("data_loader", _packaged_models())
        self.register_component("config_store", _config_store(self, self._mapping))
        self.register_component("credential_provider", _resolver(self, self._mapping, timeout))
        self._limits = Config(
            connect_timeout=timeout,
            read_timeout=timeout,
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
            ignore_configured_endpoint_urls=True,
        )

    def create_client(self, service_name: str, *args: Any, **kwargs: Any) -> Any:
        """A client with the mapping's endpoint and proxies; botocore's providers come through here, too."""
        endpoint = kwargs.pop("endpoint_url", None) or self._endpoint_of(service_name)
        limits = self._limits.merge(Config(proxies=_proxies(self._mapping, endpoint)))
        config = limits.merge(kwargs.pop("config", None) or Config())
        return super().create_client(service_name, *args, endpoint_url=endpoint, config=config, **kwargs)

    def _endpoint_of(self, service_name: str) -> str | None:
        if self.get_config_variable("ignore_configured_endpoint_urls"):
            return None
        found = configprovider.ConfiguredEndpointProvider(
            full_config=self.full_config,
            scoped_config=self.get_scoped_config(),
            client_name=service_name,
            environ=self._mapping,
        )
        endpoint: str | None = found.provide()
        return endpoint


@cache
def _packaged_models() -> Any:
    """What botocore brings along; no directory of the person who runs us."""
    return Loader(include_default_search_paths=False, extra_search_paths=[Loader.BUILTIN_DATA_PATH])


def _config_store(session: Any, environment: Mapping[str, str]) -> Any:
    """Every setting of botocore, read from the mapping and from the profile's file."""
    chains = configprovider.ConfigChainFactory(session, environ=environment)
    variables = dict(configprovider.BOTOCORE_DEFAUT_SESSION_VARIABLES) | {
        # Terraform's AWS provider prefers AWS_REGION, which botocore does not know.
        "region": ("region", ["AWS_REGION", "AWS_DEFAULT_REGION"], DEFAULT_REGION, None),
        # True is the bundle that botocore brings; without it, it would look into its own process's
        # environment.
        "ca_bundle": ("ca_bundle", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"], True, None),
        "config_file": (None, None, _file(environment, "AWS_CONFIG_FILE", "config"), None),
        "credentials_file": (
            None,
            None,
            _file(environment, "AWS_SHARED_CREDENTIALS_FILE", "credentials"),
            None,
        ),
    }
    return configprovider.ConfigValueStore(
        mapping={
            name: chains.create_config_chain(
                instance_name=name,
                env_var_names=variable,
                config_property_names=property_name,
                default=default,
                conversion_func=convert,
            )
            for name, (property_name, variable, default, convert) in variables.items()
        }
    )


def _file(environment: Mapping[str, str], variable: str, name: str) -> str:
    """A file of the shared configuration: named, or below HOME; without either, one that is not there."""
    home = environment.get("HOME")
    named = environment.get(variable)
    if named and not (named.startswith("~/") and home):
        return named
    if named and home:
        return str(Path(home) / named.removeprefix("~/"))
    return str(Path(home) / ".aws" / name) if home else os.devnull


def _resolver(session: Any, environment: Mapping[str, str], timeout: float) -> Any:
    """Where credentials come from, in botocore's order."""
    profile = session.get_config_variable("profile") or "default"
    variables = credentials.EnvProvider(environ=environment)
    container = credentials.ContainerProvider(environ=environment)
    profiles = _Profiles(session, environment, timeout)
    assumed = credentials.AssumeRoleProvider(
        load_config=lambda: session.full_config,
        client_creator=session.create_client,
        cache={},
        profile_name=profile,
        credential_sourcer=credentials.CanonicalNameCredentialSourcer(
            [variables, container, *_metadata(session, environment, timeout)]
        ),
        profile_provider_builder=profiles,
    )
    return credentials.CredentialResolver(
        providers=[
            variables,
            assumed,
            *_web_identity(session, environment),
            *profiles.providers(profile, disable_env_vars=True),
            container,
            *_metadata(session, environment, timeout),
        ]
    )


def _web_identity(session: Any, environment: Mapping[str, str]) -> list[Any]:
    """A token file and a role named by variables, as Kubernetes does it; handed on as if by a profile."""
    named = {
        "web_identity_token_file": environment.get("AWS_WEB_IDENTITY_TOKEN_FILE"),
        "role_arn": environment.get("AWS_ROLE_ARN"),
        "role_session_name": environment.get("AWS_ROLE_SESSION_NAME"),
    }
    given = {key: value for key, value in named.items() if value}
    return [
        credentials.AssumeRoleWithWebIdentityProvider(
            load_config=lambda: {"profiles": {"default": given}},
            client_creator=session.create_client,
            profile_name="default",
            cache={},
            disable_env_vars=True,
        )
    ]


def _metadata(session: Any, environment: Mapping[str, str], timeout: float) -> list[Any]:
    """The machine's own role, only where asked for: by its endpoint, or by saying that it is not disabled."""
    asked_for = environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "false"
    endpoint = session.get_config_variable("ec2_metadata_service_endpoint")
    if not (asked_for or environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT")):
        return []
    fetcher = _MetadataFetcher(
        timeout=timeout,
        num_attempts=ATTEMPTS,
        env=dict(environment),
        user_agent=session.user_agent(),
        config={"ec2_metadata_service_endpoint": endpoint},
    )
    return [credentials.InstanceMetadataProvider(iam_role_fetcher=fetcher)]


class _MetadataFetcher(InstanceMetadataFetcher):  # type: ignore[misc]  # botocore ships no types
    """Asks without any proxy, as Terraform does: botocore would take that of its own process."""

    def __init__(self, *, timeout: float, **options: Any) -> None:
        super().__init__(timeout=timeout, **options)
        self._session = URLLib3Session(timeout=timeout, proxies={})


class _Profiles(credentials.ProfileProviderBuilder):  # type: ignore[misc]  # botocore ships no types
    """The providers that read profiles; what they start or cache stays within the mapping."""

    def __init__(self, session: Any, environment: Mapping[str, str], timeout: float) -> None:
        home = Path(environment.get("HOME") or os.devnull)
        super().__init__(
            session,
            cache={},
            sso_token_cache=JSONFileCache(str(home / ".aws" / "sso" / "cache")),
            login_token_cache=JSONFileCache(str(home / ".aws" / "login" / "cache")),
        )
        self._start = partial(_Started, env=dict(environment), patience=timeout)

    def _create_process_provider(self, profile_name: str) -> Any:
        return credentials.ProcessProvider(
            profile_name=profile_name,
            load_config=lambda: self._session.full_config,
            popen=self._start,
        )


class _Started(subprocess.Popen[bytes]):
    """A `credential_process`, with the mapping as its environment and an end to our patience."""

    def __init__(self, arguments: list[str], *, patience: float, **options: Any) -> None:
        super().__init__(arguments, stdin=subprocess.DEVNULL, start_new_session=True, **options)
        self._patience = patience

    def communicate(self, input: bytes | None = None, timeout: float | None = None) -> tuple[bytes, bytes]:  # noqa: A002  (the base class's)
        try:
            return super().communicate(input, timeout or self._patience)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self.wait()
            for stream in (self.stdout, self.stderr):
                if stream is not None:
                    stream.close()
            return b"", f"it did not answer within {self._patience:g} s".encode()


def _proxies(environment: Mapping[str, str], endpoint: str | None) -> dict[str, str]:
    """The mapping's proxies, by scheme; none for a host that its NO_PROXY excepts."""
    lowered = {name.lower(): value for name, value in environment.items() if value}
    if _excepted(urlsplit(endpoint or "").hostname or "", lowered.get("no_proxy", "")):
        return {}
    found = {scheme: lowered.get(f"{scheme}_proxy") for scheme in ("http", "https")}
    return {scheme: proxy for scheme, proxy in found.items() if proxy}


def _excepted(host: str, exceptions: str) -> bool:
    """Whether NO_PROXY names `host`: itself, a domain above it, or all."""
    names = [name.strip().lstrip(".").lower() for name in exceptions.split(",")]
    return "*" in names or any(host == name or host.endswith(f".{name}") for name in names if name)
