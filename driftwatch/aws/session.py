"""A boto3 session made of one environment and of nothing else.

boto3 takes what it finds: variables of its own process, `~/.aws`, proxies, at last the machine's metadata
service. In a daemon that plans many stacks each of these belongs to somebody else. Here each is read from
the mapping that the stack's terraform gets: keys, token, web identity, profile with its files (below the
mapping's HOME), container credentials, region, endpoints, proxies and CA bundle. The metadata service is
asked only where the mapping says so. What a configuration says itself (`Settings`) goes before the mapping.

Uses botocore's own providers, each given the mapping, in the order of the SDK that terraform and its
providers use (aws-sdk-go-v2, `config/resolve_credentials.go`); what botocore loads from its own package is
shared between sessions.
"""

from __future__ import annotations

import ipaddress
import logging
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
from botocore.exceptions import NoCredentialsError
from botocore.httpsession import URLLib3Session
from botocore.loaders import Loader
from botocore.utils import (
    FileWebIdentityTokenLoader,
    InstanceMetadataFetcher,
    JSONFileCache,
    resolve_imds_endpoint_mode,
)
from urllib3 import disable_warnings
from urllib3.exceptions import InsecureRequestWarning

from driftwatch.aws.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from driftwatch.aws.settings import Role

ATTEMPTS = 2

# Credentials that cannot be renewed are logged with what AWS said, and raised: once, and redacted, is enough.
logging.getLogger("botocore.credentials").setLevel(logging.CRITICAL)


class EnvironmentSession(botocore.session.Session):  # type: ignore[misc]  # botocore ships no types
    """A botocore session whose clients read `environment`; `timeout` is in seconds for each attempt."""

    _credentials: Any

    def __init__(
        self, environment: Mapping[str, str], *, timeout: float, settings: Settings | None = None
    ) -> None:
        super().__init__()
        self.environment = dict(environment)
        self.settings = settings or Settings()
        if self.settings.ca_bundle is False:
            disable_warnings(InsecureRequestWarning)  # it was asked for, as of terraform, which says nothing
        # To all but botocore an empty variable is as good as none.
        self._mapping = {name: value for name, value in environment.items() if value}
        self.register_component("data_loader", _packaged_models())
        self.register_component("config_store", _config_store(self, self._mapping, self.settings))
        self.register_component("credential_provider", _resolver(self, self._mapping, self.settings, timeout))
        self._limits = Config(
            connect_timeout=timeout,
            read_timeout=timeout,
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
            ignore_configured_endpoint_urls=True,
        )

    def create_client(self, service_name: str, *args: Any, **kwargs: Any) -> Any:
        """A client with the mapping's endpoint and proxies; botocore's providers come through here, too."""
        if service_name == "sts" and self.settings.sts_region:
            kwargs["region_name"] = self.settings.sts_region
        endpoint = kwargs.pop("endpoint_url", None) or self._endpoint_of(service_name)
        ours = self._limits.merge(
            Config(proxies=self._proxies(service_name, endpoint), **_variants(endpoint))
        )
        config = ours.merge(kwargs.pop("config", None) or Config())
        return super().create_client(service_name, *args, endpoint_url=endpoint, config=config, **kwargs)

    def get_credentials(self) -> Any:
        """The credentials, once found; None where there are none. A role of the settings is put on top."""
        if self._credentials is None:
            found = _given(self) or super().get_credentials()
            role = self.settings.role
            self._credentials = _assumed(self, found, role) if role else found
        return self._credentials

    def _endpoint_of(self, service_name: str) -> str | None:
        if chosen := self.settings.endpoints.get(service_name):
            return chosen
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

    def _proxies(self, service_name: str, endpoint: str | None) -> dict[str, str]:
        proxies = {**_proxy_variables(self._mapping), **self.settings.proxies}
        named = {scheme: proxies[scheme] for scheme in ("http", "https") if proxies.get(scheme)}
        if not named:
            return {}
        host = urlsplit(endpoint or self._usual(service_name)).hostname
        return {} if _excepted(host or "", proxies.get("no", "")) else named

    def _usual(self, service_name: str) -> str:
        """Where AWS itself has a service, for its name in NO_PROXY."""
        resolver = self._get_internal_component("endpoint_resolver")
        found = resolver.construct_endpoint(service_name, self.get_config_variable("region"))
        return f"https://{found['hostname']}" if found else ""


def _variants(endpoint: str | None) -> dict[str, bool]:
    """An endpoint that somebody names is used as named; botocore would refuse it together with these."""
    return {"use_fips_endpoint": False, "use_dualstack_endpoint": False} if endpoint else {}


@cache
def _packaged_models() -> Any:
    """What botocore brings along; no directory of the person who runs us."""
    return Loader(include_default_search_paths=False, extra_search_paths=[Loader.BUILTIN_DATA_PATH])


def _config_store(session: Any, environment: Mapping[str, str], settings: Settings) -> Any:
    """Every setting of botocore: chosen, or read from the mapping and from the profile's file."""
    chains = configprovider.ConfigChainFactory(session, environ=environment)
    variables = dict(configprovider.BOTOCORE_DEFAUT_SESSION_VARIABLES) | {
        # Terraform's AWS provider prefers AWS_REGION, which botocore does not know.
        "region": ("region", ["AWS_REGION", "AWS_DEFAULT_REGION"], settings.default_region, None),
        "profile": (None, ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"], None, None),
        # True is the bundle that botocore brings; without it, it would look into its own process's
        # environment.
        "ca_bundle": (
            "ca_bundle",
            ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"],
            True,
            partial(_at, settings.directory),
        ),
    }
    found = {
        name: chains.create_config_chain(
            instance_name=name,
            env_var_names=variable,
            config_property_names=property_name,
            default=default,
            conversion_func=convert,
        )
        for name, (property_name, variable, default, convert) in variables.items()
    }
    chosen = {
        name: configprovider.ConstantProvider(value)
        for name, value in _chosen(environment, settings).items()
        if value is not None
    }
    return configprovider.ConfigValueStore(mapping={**found, **chosen})


def _chosen(environment: Mapping[str, str], settings: Settings) -> dict[str, Any]:
    """What no variable and no profile changes."""
    file = partial(_file, environment, settings.directory)
    return {
        "region": settings.region,
        "profile": settings.profile,
        "ca_bundle": settings.ca_bundle,
        "use_fips_endpoint": settings.fips,
        "use_dualstack_endpoint": settings.dualstack,
        "config_file": settings.config_file or file("AWS_CONFIG_FILE", "config"),
        "credentials_file": settings.credentials_file or file("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
    }


def _file(environment: Mapping[str, str], directory: Path | None, variable: str, name: str) -> str:
    """A file of the shared configuration: named, or below HOME; without either, one that is not there."""
    home = environment.get("HOME")
    named = environment.get(variable)
    if named and home and named.startswith("~/"):
        return str(Path(home) / named.removeprefix("~/"))
    if named:
        return str(_at(directory, named))
    return str(Path(home) / ".aws" / name) if home else os.devnull


def _at(directory: Path | None, file: str | bool) -> str | bool:
    """Where a file is for terraform, which runs in `directory`; no file at all is passed through."""
    return str(directory / file) if directory and isinstance(file, str) else file


def _resolver(session: Any, environment: Mapping[str, str], settings: Settings, timeout: float) -> Any:
    """Where credentials come from, in the order of Terraform's SDK.

    A profile that is chosen goes before variables, one that a variable names goes after them.
    """
    profile = session.get_config_variable("profile") or "default"
    variables = _variable_keys(environment)
    container = credentials.ContainerProvider(environ=environment)
    metadata = _metadata(session, environment, timeout)
    profiles = _Profiles(session, environment, timeout)
    assumed = credentials.AssumeRoleProvider(
        load_config=lambda: session.full_config,
        client_creator=session.create_client,
        cache={},
        profile_name=profile,
        credential_sourcer=credentials.CanonicalNameCredentialSourcer([variables, container, *metadata]),
        profile_provider_builder=profiles,
    )
    named = [] if settings.profile else [variables, _web_identity(session, environment)]
    return credentials.CredentialResolver(
        providers=[
            *named,
            assumed,
            *profiles.providers(profile, disable_env_vars=True),
            container,
            *metadata,
        ]
    )


def _variable_keys(environment: Mapping[str, str]) -> Any:
    """Keys in variables, by the names that Terraform's SDK knows them by."""
    return credentials.EnvProvider(
        environ=environment,
        mapping={
            "access_key": _first(environment, "AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"),
            "secret_key": _first(environment, "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"),
            "token": "AWS_SESSION_TOKEN",
        },
    )


def _first(environment: Mapping[str, str], *names: str) -> str:
    """The first of `names` that is set, or the first of all."""
    return next((name for name in names if name in environment), names[0])


def _web_identity(session: Any, environment: Mapping[str, str]) -> Any:
    """A token file and a role named by variables, as Kubernetes does it; handed on as if by a profile."""
    named = {
        "web_identity_token_file": environment.get("AWS_WEB_IDENTITY_TOKEN_FILE"),
        "role_arn": environment.get("AWS_ROLE_ARN"),
        "role_session_name": environment.get("AWS_ROLE_SESSION_NAME"),
    }
    given = {key: value for key, value in named.items() if value}
    return credentials.AssumeRoleWithWebIdentityProvider(
        load_config=lambda: {"profiles": {"default": given}},
        client_creator=session.create_client,
        profile_name="default",
        cache={},
        disable_env_vars=True,
        token_loader_cls=_token_file(session),
    )


def _token_file(session: Any) -> Callable[[str], Any]:
    """How botocore reads a token, looking where terraform would."""
    return lambda file: FileWebIdentityTokenLoader(_at(session.settings.directory, file))


def _given(session: Any) -> Any:
    """The credentials that the settings hold or describe, if any."""
    keys, identity = session.settings.keys, session.settings.web_identity
    if keys:
        return credentials.Credentials(keys.access_key, keys.secret_key, keys.token, method="explicit")
    if not identity:
        return None
    token = (lambda: identity.token) if identity.token else _token_file(session)(identity.token_file)
    return _renewed(
        credentials.AssumeRoleWithWebIdentityCredentialFetcher(
            client_creator=session.create_client,
            web_identity_token_loader=token,
            role_arn=identity.role.arn,
            extra_args=_arguments(identity.role),
            cache={},
        )
    )


def _assumed(session: Any, source: Any, role: Role) -> Any:
    if source is None:
        raise NoCredentialsError
    return _renewed(
        credentials.AssumeRoleCredentialFetcher(
            client_creator=session.create_client,
            source_credentials=source,
            role_arn=role.arn,
            extra_args=_arguments(role),
            cache={},
        )
    )


def _renewed(fetcher: Any) -> Any:
    """Credentials that are fetched when first needed, and again before they expire."""
    fetcher.feature_ids = set()
    return credentials.DeferredRefreshableCredentials(
        method="assume-role", refresh_using=fetcher.fetch_credentials
    )


def _arguments(role: Role) -> dict[str, Any]:
    """What STS is asked for, beside the role itself."""
    wanted = {
        "RoleSessionName": role.session_name,
        "ExternalId": role.external_id,
        "DurationSeconds": role.duration,
        "Policy": role.policy,
        "PolicyArns": [{"arn": arn} for arn in role.policy_arns],
        "Tags": [{"Key": key, "Value": value} for key, value in role.tags.items()],
        "TransitiveTagKeys": list(role.transitive_tag_keys),
        "SourceIdentity": role.source_identity,
    }
    return {name: value for name, value in wanted.items() if value}


def _metadata(session: Any, environment: Mapping[str, str], timeout: float) -> list[Any]:
    """The machine's own role, only where asked for: by its endpoint, or by saying that it is not disabled."""
    asked_for = environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "false"
    if not (asked_for or environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT")):
        return []
    fetcher = _MetadataFetcher(
        timeout=timeout,
        num_attempts=ATTEMPTS,
        env=dict(environment),
        user_agent=session.user_agent(),
        config={
            "ec2_metadata_service_endpoint": session.get_config_variable("ec2_metadata_service_endpoint"),
            "ec2_metadata_service_endpoint_mode": resolve_imds_endpoint_mode(session),
        },
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
        self._start = partial(
            _Started, env=session.environment, cwd=session.settings.directory, patience=timeout
        )

    def _create_process_provider(self, profile_name: str) -> Any:
        return credentials.ProcessProvider(
            profile_name=profile_name,
            load_config=lambda: self._session.full_config,
            popen=self._start,
        )

    def _create_web_identity_provider(self, profile_name: str, disable_env_vars: bool) -> Any:
        return credentials.AssumeRoleWithWebIdentityProvider(
            load_config=lambda: self._session.full_config,
            client_creator=self._session.create_client,
            cache={},
            profile_name=profile_name,
            disable_env_vars=disable_env_vars,
            token_loader_cls=_token_file(self._session),
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


def _proxy_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The mapping's proxies, by scheme, and under `no` the hosts without."""
    kinds = ("http", "https", "no")
    found = {
        kind: environment.get(_first(environment, f"{kind}_proxy".upper(), f"{kind}_proxy")) for kind in kinds
    }
    return {kind: value for kind, value in found.items() if value}


def _excepted(host: str, exceptions: str) -> bool:
    """Whether `host` is reached without a proxy, as terraform does it (golang.org/x/net, `http/httpproxy`).

    That is this machine, and what NO_PROXY names: the host, a domain above it, its network, or all.
    """
    address = _address(host)
    if host == "localhost" or (address and address.is_loopback):
        return True
    names = [name.strip().lower() for name in exceptions.split(",")]
    return any(name == "*" or _names(name, host, address) for name in names if name)


def _names(name: str, host: str, address: Any) -> bool:
    try:
        network = ipaddress.ip_network(name, strict=False)
    except ValueError:
        domain = name.lstrip(".")
        return host == domain or host.endswith(f".{domain}")
    return address is not None and address in network


def _address(host: str) -> Any:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
