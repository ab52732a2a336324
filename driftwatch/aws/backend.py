"""What a `backend "s3"` says: raw configuration in, frozen values out, with Terraform's own meaning.

Follows `internal/backend/remote-state/s3/backend.go` of Terraform 1.11 and hashicorp/aws-sdk-go-base v2; the
arguments that only older versions (a role at the top level, `endpoint`, `force_path_style`) or OpenTofu have
are read, too. The configuration is what `init` wrote into `.terraform/terraform.tfstate`, where unset
arguments are null, or the `config` of a `terraform_remote_state`.

Nothing is guessed: an argument that is not known here, or has another shape than Terraform's, is refused by
name, and whoever asked has terraform read the state. Reads no file and asks nobody.
"""

from __future__ import annotations

import base64
import binascii
import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from driftwatch.aws.settings import Keys, Role, Settings, WebIdentity
from driftwatch.errors import StateUnreadableError
from driftwatch.log import register_secret
from driftwatch.model import DEFAULT_WORKSPACE

if TYPE_CHECKING:
    from pathlib import Path

MOST_ATTEMPTS = 5
"""Terraform's default. More patience than that is meant for an apply; a check is repeated anyway."""

_PREFIX = "env:"
_RETRY_MODES = ("standard", "adaptive")
_CUSTOMER_KEY_BYTES = 32

_OF_NO_EFFECT = (
    # On writing and locking.
    "acl",
    "dynamodb_endpoint",
    "dynamodb_table",
    "kms_key_id",
    "lock_tags",
    "state_tags",
    "use_lockfile",
    # On checks that Terraform makes before: the bucket, the key and the endpoint say which state it is.
    "allowed_account_ids",
    "forbidden_account_ids",
    "iam_endpoint",
    "skip_credentials_validation",
    "skip_region_validation",
    "skip_requesting_account_id",
)
_ENDPOINT_VARIABLES = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_S3_ENDPOINT"),
    "sts": ("AWS_ENDPOINT_URL_STS", "AWS_STS_ENDPOINT"),
    "sso": ("AWS_ENDPOINT_URL_SSO",),
}
_DURATION = re.compile(r"(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+")
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>[^}]*)\}|(?P<bare>\w+))")


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Backend:
    """Where a state's workspaces lie, and how they are reached.

    `attempts` is None where nobody says how many. `environment` is the stack's, with what Terraform itself
    puts there. `customer_key` decrypts the object (SSE-C).
    """

    bucket: str
    key: str
    workspace_key_prefix: str
    path_style: bool
    checksums: bool
    attempts: int | None
    retry_mode: str
    settings: Settings
    environment: Mapping[str, str] = field(repr=False)
    customer_key: bytes | None = field(repr=False)

    def object_key(self, workspace: str) -> str:
        """Where a workspace's state is in the bucket (`backend_state.go`, `path`)."""
        if workspace == DEFAULT_WORKSPACE:
            return self.key
        return posixpath.normpath(posixpath.join(self.workspace_key_prefix, workspace, self.key))


def s3_backend(config: Mapping[str, Any], environment: Mapping[str, str], directory: Path) -> S3Backend:
    """Reads a backend's configuration; relative files lie in `directory`.

    Raises StateUnreadableError, which names the argument that is not understood.
    """
    block = _Block(config)
    block.ignore(*_OF_NO_EFFECT)
    if block.flag("use_legacy_workflow"):
        raise _refused("use_legacy_workflow", "prefers other credentials than Terraform does now")
    backend = S3Backend(
        bucket=block.required("bucket"),
        key=_object_path(block, "key", block.required("key")),
        workspace_key_prefix=_prefix(block),
        path_style=_path_style(block),
        checksums=not block.flag("skip_s3_checksum"),
        attempts=_attempts(block),
        retry_mode=_retry_mode(block, environment),
        settings=_settings(block, environment, directory),
        environment=_environment(block, environment),
        customer_key=_customer_key(block, environment),
    )
    block.end()
    return backend


class _Block:
    """One level of a configuration: takes out each argument as what it has to be, and knows what is left."""

    def __init__(self, values: Any, path: str = "") -> None:
        if not isinstance(values, Mapping):
            raise _refused(path or "config", "is no object")
        self._path = path
        self._left = {str(name): value for name, value in values.items() if value is not None}

    def name(self, argument: str) -> str:
        return f"{self._path}.{argument}" if self._path else argument

    def text(self, argument: str) -> str | None:
        value = self._left.pop(argument, None)
        if value is None or isinstance(value, str):
            return value
        raise _refused(self.name(argument), "is no text")

    def required(self, argument: str) -> str:
        value = self.text(argument)
        if not value:
            raise _refused(self.name(argument), "is missing")
        return value

    def flag(self, argument: str) -> bool:
        """False where nothing is said; text is what Terraform would convert."""
        value = self._left.pop(argument, False)
        converted = {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value
        if not isinstance(converted, bool):
            raise _refused(self.name(argument), "is neither true nor false")
        return converted

    def given(self, argument: str) -> bool:
        return argument in self._left

    def number(self, argument: str) -> int | None:
        value = self._left.pop(argument, None)
        if value is None:
            return None
        whole = isinstance(value, int | str) or (isinstance(value, float) and value.is_integer())
        if (
            isinstance(value, bool)
            or not whole
            or not re.fullmatch(r"\d{1,9}", str(value).removesuffix(".0"))
        ):
            raise _refused(self.name(argument), "is no whole number")
        return int(float(value))

    def texts(self, argument: str) -> tuple[str, ...]:
        value = self._left.pop(argument, ())
        if not isinstance(value, list | tuple | set | frozenset) or not all(
            isinstance(v, str) for v in value
        ):
            raise _refused(self.name(argument), "is no list of texts")
        return tuple(value)

    def map(self, argument: str) -> dict[str, str]:
        value = self._left.pop(argument, {})
        if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
            raise _refused(self.name(argument), "is no map of texts")
        return {str(name): text for name, text in value.items()}

    def block(self, argument: str) -> _Block | None:
        """An object within; also as a list with one, as blocks are written in JSON."""
        value = self._left.pop(argument, None)
        if isinstance(value, list | tuple):
            if len(value) > 1:
                raise _refused(self.name(argument), "is there more than once")
            value = next(iter(value), None)
        return None if value is None else _Block(value, self.name(argument))

    def ignore(self, *arguments: str) -> None:
        for argument in arguments:
            self._left.pop(argument, None)

    def end(self) -> None:
        """Refuses what nobody asked for."""
        for argument in sorted(self._left):
            raise _refused(self.name(argument), "is unknown to driftwatch")


def _refused(argument: str, why: str) -> StateUnreadableError:
    return StateUnreadableError(
        f"The S3 backend's `{argument}` {why}, so its state can only be read by terraform."
    )


def _object_path(block: _Block, argument: str, path: str) -> str:
    if path.startswith("/") or path.endswith("/"):
        raise _refused(block.name(argument), "starts or ends with a slash")
    return path


def _prefix(block: _Block) -> str:
    given = block.text("workspace_key_prefix")
    return _PREFIX if given is None else _object_path(block, "workspace_key_prefix", given)


def _path_style(block: _Block) -> bool:
    decides = block.given("use_path_style")
    force, use = block.flag("force_path_style"), block.flag("use_path_style")
    return use if decides else force


def _attempts(block: _Block) -> int | None:
    """Terraform takes `max_retries` for attempts, too, and 0 for nothing said."""
    attempts = block.number("max_retries")
    return min(attempts, MOST_ATTEMPTS) if attempts else None


def _retry_mode(block: _Block, environment: Mapping[str, str]) -> str:
    given = _first(block.text("retry_mode"), *_values(environment, ("AWS_RETRY_MODE",)))
    mode = _RETRY_MODES[0] if given is None else given
    if mode.lower() not in _RETRY_MODES:
        raise _refused("retry_mode", "is no mode that Terraform knows")
    return mode.lower()


def _environment(block: _Block, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with what Terraform sets there itself: whether and where a machine's role is had."""
    skips = block.given("skip_metadata_api_check")
    disabled = str(block.flag("skip_metadata_api_check")).lower()
    variable = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
    endpoint = environment.get(variable) or environment.get("AWS_METADATA_URL")
    over = {
        "AWS_EC2_METADATA_DISABLED": disabled if skips else None,
        variable: block.text("ec2_metadata_service_endpoint") or endpoint,
        f"{variable}_MODE": block.text("ec2_metadata_service_endpoint_mode"),
    }
    return {**environment, **{name: value for name, value in over.items() if value}}


def _customer_key(block: _Block, environment: Mapping[str, str]) -> bytes | None:
    """The key for SSE-C, which Terraform leaves unused without `encrypt`."""
    name, variable = "sse_customer_key", "AWS_SSE_CUSTOMER_KEY"
    text = _first(block.text(name), *_values(environment, (variable,)))
    register_secret(text)
    if not block.flag("encrypt") or text is None:
        return None
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise _refused(name, "is not base64") from error
    if len(key) != _CUSTOMER_KEY_BYTES:
        raise _refused(name, "is no key of 256 bits")
    return key


def _settings(block: _Block, environment: Mapping[str, str], directory: Path) -> Settings:
    keys, identity = _keys(block), _web_identity(block, environment, directory)
    return Settings(
        region=block.text("region") or None,
        sts_region=block.text("sts_region") or None,
        profile=block.text("profile") or None,
        keys=keys,
        web_identity=None if keys else identity,  # as in aws-sdk-go-base, `GetAwsConfig`
        role=_role(block),
        config_file=_config_file(block, environment, directory),
        credentials_file=_credentials_file(block, environment, directory),
        ca_bundle=_ca_bundle(block, environment, directory),
        endpoints=_endpoints(block, environment),
        proxies=_proxies(block, environment),
        # Terraform adds these to what the environment and the profile say, and takes nothing away.
        fips=block.flag("use_fips_endpoint") or None,
        dualstack=block.flag("use_dualstack_endpoint") or None,
        directory=directory,
    )


def _keys(block: _Block) -> Keys | None:
    """Whoever gives one of them gives all: none is completed from elsewhere."""
    access, secret, token = (block.text(name) or None for name in ("access_key", "secret_key", "token"))
    register_secret(secret)
    register_secret(token)
    if access and secret:
        return Keys(access_key=access, secret_key=secret, token=token)
    if access or secret or token:
        raise _refused("secret_key" if access else "access_key", "is missing beside the others")
    return None


def _web_identity(block: _Block, environment: Mapping[str, str], directory: Path) -> WebIdentity | None:
    inner = block.block("assume_role_with_web_identity")
    if inner is None:
        return None
    token, file = inner.text("web_identity_token"), inner.text("web_identity_token_file")
    register_secret(token)
    if bool(token) == bool(file):
        raise _refused(inner.name("web_identity_token"), "and its file are both there or both missing")
    path = file and _path(inner.name("web_identity_token_file"), file, environment, directory)
    identity = WebIdentity(role=_nested_role(inner), token=token or None, token_file=path or None)
    inner.end()
    return identity


def _role(block: _Block) -> Role | None:
    """A role of its own block, or (before Terraform 1.10) of the top level."""
    older = _older_role(block)
    inner = block.block("assume_role")
    if inner is None:
        return older
    role = _nested_role(inner)
    inner.end()
    return role


def _nested_role(inner: _Block) -> Role:
    return Role(
        arn=inner.required("role_arn"),
        session_name=inner.text("session_name") or None,
        external_id=inner.text("external_id") or None,
        duration=_seconds(inner, "duration"),
        policy=_policy(inner, "policy"),
        policy_arns=inner.texts("policy_arns"),
        tags=inner.map("tags"),
        transitive_tag_keys=inner.texts("transitive_tag_keys"),
        source_identity=inner.text("source_identity") or None,
    )


def _older_role(block: _Block) -> Role | None:
    role = Role(
        arn=block.text("role_arn") or "",
        session_name=block.text("session_name") or None,
        external_id=block.text("external_id") or None,
        duration=block.number("assume_role_duration_seconds") or None,
        policy=_policy(block, "assume_role_policy"),
        policy_arns=block.texts("assume_role_policy_arns"),
        tags=block.map("assume_role_tags"),
        transitive_tag_keys=block.texts("assume_role_transitive_tag_keys"),
    )
    return role if role.arn else None


def _seconds(block: _Block, argument: str) -> int | None:
    """A duration as Go writes it, such as 1h30m."""
    text = block.text(argument)
    if text is None:
        return None
    if not _DURATION.fullmatch(text):
        raise _refused(block.name(argument), "is no duration")
    return int(sum(float(amount) * _SECONDS[unit] for amount, unit in _DURATION_PART.findall(text)))


def _policy(block: _Block, argument: str) -> str | None:
    text = (block.text(argument) or "").strip()
    if not text:
        return None
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused(block.name(argument), "is no JSON") from error
    return text


def _config_file(block: _Block, environment: Mapping[str, str], directory: Path) -> str | None:
    name, variable = "shared_config_files", "AWS_SHARED_CONFIG_FILE"
    named = _only(block, name) or environment.get(variable)
    return _path(name, named, environment, directory) if named else None


def _credentials_file(block: _Block, environment: Mapping[str, str], directory: Path) -> str | None:
    """In Terraform's order, in which the variable goes before the older argument."""
    name, variable = "shared_credentials_files", "AWS_SHARED_CREDENTIALS_FILE"
    older = block.text("shared_credentials_file")
    named = _only(block, name) or environment.get(variable) or older
    return _path(name, named, environment, directory) if named else None


def _only(block: _Block, argument: str) -> str | None:
    """The one file of a set; several would have to be merged as Terraform's SDK does."""
    files = block.texts(argument)
    if len(files) > 1:
        raise _refused(argument, "names more than one file")
    return next(iter(files), None)


def _ca_bundle(block: _Block, environment: Mapping[str, str], directory: Path) -> str | bool | None:
    named = _first(block.text("custom_ca_bundle"), *_values(environment, ("AWS_CA_BUNDLE",)))
    if block.flag("insecure"):
        return False
    return None if named is None else _path("custom_ca_bundle", named, environment, directory)


def _path(argument: str, text: str, environment: Mapping[str, str], directory: Path) -> str:
    """A file with variables and `~` expanded (aws-sdk-go-base, `internal/expand`)."""
    path = _VARIABLE.sub(lambda found: environment.get(found["braced"] or found["bare"] or "", ""), text)
    if path.startswith("~/") and environment.get("HOME"):
        path = environment["HOME"] + path.removeprefix("~")
    if not path or path.startswith("~"):
        raise _refused(argument, "names no file")
    return str(directory / path)


def _endpoints(block: _Block, environment: Mapping[str, str]) -> dict[str, str]:
    """The endpoints that are named, by service; AWS_ENDPOINT_URL and the profile come after them."""
    inner = block.block("endpoints") or _Block({}, "endpoints")
    inner.ignore("dynamodb", "iam")
    older = {"s3": block.text("endpoint"), "sts": block.text("sts_endpoint")}
    chosen = {
        service: _first(inner.text(service), older.get(service), *_values(environment, variables))
        for service, variables in _ENDPOINT_VARIABLES.items()
    }
    inner.end()
    return {service: _url(service, endpoint) for service, endpoint in chosen.items() if endpoint is not None}


def _values(environment: Mapping[str, str], variables: tuple[str, ...]) -> list[str | None]:
    return [environment.get(variable) or None for variable in variables]


def _first(*texts: str | None) -> str | None:
    """The first that is said at all; one that is empty is said, too."""
    return next((text for text in texts if text is not None), None)


def _url(service: str, endpoint: str) -> str:
    """Terraform takes a bare host name, too, and OpenTofu puts https:// before it."""
    try:
        parts = urlsplit(endpoint)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise _refused(f"endpoints.{service}", "is no URL")
    return endpoint


def _proxies(block: _Block, environment: Mapping[str, str]) -> dict[str, str]:
    """The proxies that are named; one for http serves for https where nobody names another."""
    texts = {kind: block.text(f"{kind}_proxy") for kind in ("http", "https", "no")}
    given = {kind: text for kind, text in texts.items() if text is not None}
    if "http" in given and not (environment.get("HTTPS_PROXY") or environment.get("https_proxy")):
        given.setdefault("https", given["http"])
    return {kind: text for kind, text in given.items() if text or kind != "no"}
