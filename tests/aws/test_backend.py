"""What a `backend "s3"` says: with Terraform's own meaning, or refused by the argument's name."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from driftwatch.aws.backend import MOST_ATTEMPTS, s3_backend
from driftwatch.aws.settings import Keys, Role, WebIdentity
from driftwatch.errors import StateUnreadableError
from driftwatch.log import redact

WHERE = {"bucket": "states", "key": "network/terraform.tfstate", "region": "eu-west-1"}
ROLE = "arn:aws:iam::111122223333:role/reader"
HERE = Path("/srv/stack")
CUSTOMER_KEY = base64.b64encode(b"k" * 32).decode()


def backend(environment: Any = None, /, **config: object) -> Any:
    return s3_backend({**WHERE, **config}, environment or {}, HERE)


def refusal(environment: Any = None, /, **config: object) -> str:
    with pytest.raises(StateUnreadableError) as caught:
        backend(environment, **config)
    return caught.value.message


# Where the state is


@pytest.mark.parametrize(
    ("prefix", "workspace", "key"),
    [
        (None, "default", "network/terraform.tfstate"),
        (None, "prod", "env:/prod/network/terraform.tfstate"),
        ("teams/a", "prod", "teams/a/prod/network/terraform.tfstate"),
        ("", "prod", "prod/network/terraform.tfstate"),
        ("teams//a", "prod", "teams/a/prod/network/terraform.tfstate"),
        ("teams/a", "default", "network/terraform.tfstate"),
    ],
)
def test_a_workspace_lies_where_terraform_puts_it(prefix: str | None, workspace: str, key: str) -> None:
    assert backend(workspace_key_prefix=prefix).object_key(workspace) == key


def test_the_key_of_the_default_workspace_is_left_as_it_is() -> None:
    assert backend(key="a/../b").object_key("default") == "a/../b"
    assert backend(key="a/../b").object_key("prod") == "env:/prod/b"


@pytest.mark.parametrize("missing", ["bucket", "key"])
@pytest.mark.parametrize("value", [None, ""])
def test_bucket_and_key_have_to_be_there(missing: str, value: str | None) -> None:
    assert f"`{missing}` is missing" in refusal(**{missing: value})


@pytest.mark.parametrize("path", ["/a", "a/"])
@pytest.mark.parametrize("argument", ["key", "workspace_key_prefix"])
def test_what_s3_would_take_for_a_directory_is_refused(argument: str, path: str) -> None:
    assert f"`{argument}` starts or ends with a slash" in refusal(**{argument: path})


def test_a_backend_of_nulls_leaves_everything_to_the_environment() -> None:
    """As `init` writes it: every argument is there, and null."""
    names = "access_key secret_key token profile endpoints assume_role encrypt max_retries no_such_argument"

    found = backend(**dict.fromkeys(names.split()))

    assert found == backend()
    assert found.settings.region == "eu-west-1"
    assert (found.settings.keys, found.settings.role, found.settings.endpoints) == (None, None, {})
    assert (found.path_style, found.checksums, found.attempts, found.customer_key) == (
        False,
        True,
        None,
        None,
    )


# What is not understood


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"no_such_argument": "x"}, "`no_such_argument` is unknown"),
        ({"no_such_argument": False}, "`no_such_argument` is unknown"),
        ({"endpoints": {"kms": "https://kms.test"}}, "`endpoints.kms` is unknown"),
        ({"assume_role": {"role_arn": ROLE, "serial_number": "1"}}, "`assume_role.serial_number` is unknown"),
        (
            {"assume_role_with_web_identity": {"role_arn": ROLE, "web_identity_token": "abcd", "x": 1}},
            "`assume_role_with_web_identity.x` is unknown",
        ),
        ({"use_legacy_workflow": True}, "`use_legacy_workflow` prefers"),
        ({"region": 1}, "`region` is no text"),
        ({"bucket": ["states"]}, "`bucket` is no text"),
        ({"use_path_style": "yes"}, "`use_path_style` is neither"),
        ({"insecure": 1}, "`insecure` is neither"),
        ({"insecure": []}, "`insecure` is neither"),
        ({"max_retries": -1}, "`max_retries` is no whole number"),
        ({"max_retries": 1.5}, "`max_retries` is no whole number"),
        ({"max_retries": True}, "`max_retries` is no whole number"),
        ({"max_retries": "many"}, "`max_retries` is no whole number"),
        ({"max_retries": {}}, "`max_retries` is no whole number"),
        ({"retry_mode": "legacy"}, "`retry_mode` is no mode"),
        ({"retry_mode": ""}, "`retry_mode` is no mode"),
        ({"endpoint": "s3.test"}, "`endpoints.s3` is no URL"),
        ({"endpoint": ""}, "`endpoints.s3` is no URL"),
        ({"sts_endpoint": "ftp://sts.test"}, "`endpoints.sts` is no URL"),
        ({"endpoints": {"sso": "https://[no"}}, "`endpoints.sso` is no URL"),
        ({"endpoints": "https://s3.test"}, "`endpoints` is no object"),
        ({"assume_role": "arn"}, "`assume_role` is no object"),
        ({"assume_role": [{"role_arn": ROLE}, {"role_arn": ROLE}]}, "`assume_role` is there more than once"),
        ({"assume_role": {}}, "`assume_role.role_arn` is missing"),
        ({"assume_role": {"role_arn": ROLE, "duration": "1d"}}, "`assume_role.duration` is no duration"),
        ({"assume_role": {"role_arn": ROLE, "duration": ""}}, "`assume_role.duration` is no duration"),
        ({"assume_role": {"role_arn": ROLE, "policy": "{"}}, "`assume_role.policy` is no JSON"),
        ({"assume_role": {"role_arn": ROLE, "policy_arns": "a"}}, "`assume_role.policy_arns` is no list"),
        ({"assume_role": {"role_arn": ROLE, "policy_arns": [1]}}, "`assume_role.policy_arns` is no list"),
        ({"assume_role": {"role_arn": ROLE, "tags": ["a"]}}, "`assume_role.tags` is no map"),
        ({"assume_role": {"role_arn": ROLE, "tags": {"a": None}}}, "`assume_role.tags` is no map"),
        (
            {"assume_role_with_web_identity": {"role_arn": ROLE}},
            "`assume_role_with_web_identity.web_identity_token` and its file",
        ),
        (
            {
                "assume_role_with_web_identity": {
                    "role_arn": ROLE,
                    "web_identity_token": "abcd",
                    "web_identity_token_file": "f",
                }
            },
            "`assume_role_with_web_identity.web_identity_token` and its file",
        ),
        ({"shared_config_files": ["a", "b"]}, "`shared_config_files` names more than one"),
        ({"shared_credentials_files": ["a", "b"]}, "`shared_credentials_files` names more than one"),
        ({"shared_credentials_files": ["~other/x"]}, "`shared_credentials_files` names no file"),
        ({"shared_credentials_files": ["~/x"]}, "`shared_credentials_files` names no file"),
        ({"custom_ca_bundle": ""}, "`custom_ca_bundle` names no file"),
        ({"access_key": "AKIAX"}, "`secret_key` is missing"),
        ({"secret_key": "canary-secret"}, "`access_key` is missing"),
        ({"token": "canary-token"}, "`access_key` is missing"),
        ({"encrypt": True, "sse_customer_key": "#" * 44}, "`sse_customer_key` is not base64"),
        ({"encrypt": True, "sse_customer_key": "aaaa"}, "`sse_customer_key` is no key"),
    ],
)
def test_what_is_not_understood_is_refused_by_its_name(config: Any, named: str) -> None:
    """Whoever asked has terraform read the state; nothing is guessed."""
    assert named in refusal(**config)


def test_a_configuration_that_is_no_object_is_refused() -> None:
    with pytest.raises(StateUnreadableError, match="`config` is no object"):
        s3_backend([], {}, HERE)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "config",
    [
        {"acl": "private", "kms_key_id": "alias/x", "dynamodb_table": "locks", "use_lockfile": True},
        {"endpoints": {"dynamodb": "http://127.0.0.1:9", "iam": "http://127.0.0.1:9"}},
        {"dynamodb_endpoint": "http://127.0.0.1:9", "iam_endpoint": "http://127.0.0.1:9"},
        {"skip_credentials_validation": True, "skip_region_validation": True},
        {"skip_requesting_account_id": True, "allowed_account_ids": ["1"], "forbidden_account_ids": ["2"]},
        {"state_tags": {"a": "b"}, "lock_tags": {"a": "b"}, "use_legacy_workflow": False, "encrypt": True},
        {"session_name": "s", "external_id": "e"},
    ],
)
def test_what_says_nothing_of_reading_changes_nothing(config: Any) -> None:
    assert backend(**config) == backend()


@pytest.mark.parametrize("value", [True, "true"])
def test_text_is_taken_for_what_terraform_would_convert_it_to(value: object) -> None:
    """As in the `config` of a `terraform_remote_state`."""
    assert backend(use_path_style=value, max_retries="3").path_style is True
    assert backend(max_retries="3").attempts == 3
    assert backend(max_retries=3.0).attempts == 3


# Credentials


def test_static_keys_are_taken_together() -> None:
    keys = Keys(access_key="AKIAX", secret_key="canary-secret", token="canary-token")

    assert backend(access_key="AKIAX", secret_key="canary-secret", token="canary-token").settings.keys == keys


def test_a_role_has_all_that_terraform_hands_on() -> None:
    given = {
        "role_arn": ROLE,
        "duration": "1h30m0.5s",
        "external_id": "e",
        "policy": ' {"Version": "2012-10-17"} ',
        "policy_arns": ["p"],
        "session_name": "s",
        "source_identity": "i",
        "tags": {"team": "a"},
        "transitive_tag_keys": ["team"],
    }
    role = Role(
        arn=ROLE,
        duration=5400,
        external_id="e",
        policy='{"Version": "2012-10-17"}',
        policy_arns=("p",),
        session_name="s",
        source_identity="i",
        tags={"team": "a"},
        transitive_tag_keys=("team",),
    )

    assert backend(assume_role=given).settings.role == role
    assert backend(assume_role=[given]).settings.role == role
    assert backend(assume_role=[]).settings.role is None


def test_a_role_at_the_top_level_is_the_same_role() -> None:
    """As written for Terraform before 1.10."""
    role = Role(
        arn=ROLE,
        duration=900,
        external_id="e",
        policy="{}",
        policy_arns=("p",),
        session_name="s",
        tags={"team": "a"},
        transitive_tag_keys=("team",),
    )
    older: dict[str, object] = {
        "role_arn": ROLE,
        "session_name": "s",
        "external_id": "e",
        "assume_role_duration_seconds": 900,
        "assume_role_policy": "{}",
        "assume_role_policy_arns": ["p"],
        "assume_role_tags": {"team": "a"},
        "assume_role_transitive_tag_keys": ["team"],
    }

    assert backend(**older).settings.role == role
    assert backend(**older, assume_role={"role_arn": "newer"}).settings.role == Role(arn="newer")
    assert backend(role_arn="").settings.role is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15m", 900), ("1h", 3600), ("3600s", 3600), ("1.5h", 5400), (".5h", 1800), ("900000ms", 900)],
)
def test_durations_are_gos(text: str, seconds: int) -> None:
    assert backend(assume_role={"role_arn": ROLE, "duration": text}).settings.role.duration == seconds


def test_a_web_identity_is_a_token_or_a_file() -> None:
    block = {"role_arn": ROLE, "session_name": "s"}
    role = Role(arn=ROLE, session_name="s")

    by_token = backend(assume_role_with_web_identity={**block, "web_identity_token": "canary-token"})
    by_file = backend(assume_role_with_web_identity={**block, "web_identity_token_file": "token"})

    assert by_token.settings.web_identity == WebIdentity(role=role, token="canary-token")
    assert by_file.settings.web_identity == WebIdentity(role=role, token_file="/srv/stack/token")


def test_static_keys_go_before_a_web_identity() -> None:
    found = backend(
        access_key="AKIAX",
        secret_key="canary-secret",
        assume_role_with_web_identity={"role_arn": ROLE, "web_identity_token": "abcd"},
    )

    assert found.settings.web_identity is None
    assert found.settings.keys is not None


@pytest.mark.parametrize(
    ("config", "environment", "file"),
    [
        ({"shared_credentials_files": ["a"]}, {"AWS_SHARED_CREDENTIALS_FILE": "e"}, "/srv/stack/a"),
        ({"shared_credentials_file": "a"}, {}, "/srv/stack/a"),
        ({"shared_credentials_file": "a"}, {"AWS_SHARED_CREDENTIALS_FILE": "e"}, "/srv/stack/e"),
        ({"shared_credentials_files": ["/abs/a"]}, {}, "/abs/a"),
        ({"shared_credentials_files": ["~/a"]}, {"HOME": "/people/ada"}, "/people/ada/a"),
        ({"shared_credentials_files": ["${WHERE}/$FILE$NONE"]}, {"WHERE": "/w", "FILE": "f"}, "/w/f"),
        ({}, {}, None),
    ],
)
def test_files_are_found_as_terraform_finds_them(config: Any, environment: Any, file: str | None) -> None:
    assert backend(environment, **config).settings.credentials_file == file


def test_the_config_file_may_be_named_by_terraforms_own_variable() -> None:
    assert backend({"AWS_SHARED_CONFIG_FILE": "c"}).settings.config_file == "/srv/stack/c"
    given = backend({"AWS_SHARED_CONFIG_FILE": "c"}, shared_config_files=["d"])
    assert given.settings.config_file == "/srv/stack/d"


def test_a_customer_key_counts_only_with_encryption() -> None:
    """As in Terraform, whose reading sends it only then."""
    variable = {"AWS_SSE_CUSTOMER_KEY": CUSTOMER_KEY}

    assert backend(encrypt=True, sse_customer_key=CUSTOMER_KEY).customer_key == b"k" * 32
    assert backend(variable, encrypt=True).customer_key == b"k" * 32
    assert backend(variable).customer_key is None
    assert backend(sse_customer_key=CUSTOMER_KEY).customer_key is None
    assert "`sse_customer_key` is no key" in refusal({"AWS_SSE_CUSTOMER_KEY": "aaaa"}, encrypt=True)


# Ways


@pytest.mark.parametrize(
    ("config", "environment", "endpoints"),
    [
        ({"endpoints": {"s3": "http://a"}, "endpoint": "http://b"}, {}, {"s3": "http://a"}),
        ({"endpoint": "http://b"}, {"AWS_ENDPOINT_URL_S3": "http://c"}, {"s3": "http://b"}),
        ({}, {"AWS_ENDPOINT_URL_S3": "http://c", "AWS_S3_ENDPOINT": "http://d"}, {"s3": "http://c"}),
        ({}, {"AWS_ENDPOINT_URL_S3": "", "AWS_S3_ENDPOINT": "http://d"}, {"s3": "http://d"}),
        ({"sts_endpoint": "http://e"}, {"AWS_ENDPOINT_URL_STS": "http://f"}, {"sts": "http://e"}),
        (
            {"endpoints": {"sts": "http://g", "sso": None}},
            {"AWS_STS_ENDPOINT": "http://f"},
            {"sts": "http://g"},
        ),
        ({}, {"AWS_ENDPOINT_URL_SSO": "http://h"}, {"sso": "http://h"}),
        ({}, {"AWS_ENDPOINT_URL": "http://i"}, {}),
    ],
)
def test_endpoints_are_chosen_in_terraforms_order(config: Any, environment: Any, endpoints: Any) -> None:
    """AWS_ENDPOINT_URL comes after all of these, from the session."""
    assert backend(environment, **config).settings.endpoints == endpoints


@pytest.mark.parametrize(
    ("config", "environment", "proxies"),
    [
        ({"http_proxy": "http://p"}, {}, {"http": "http://p", "https": "http://p"}),
        ({"http_proxy": "http://p"}, {"https_proxy": "http://q"}, {"http": "http://p"}),
        (
            {"http_proxy": "http://p", "https_proxy": "http://q"},
            {},
            {"http": "http://p", "https": "http://q"},
        ),
        ({"https_proxy": ""}, {"HTTPS_PROXY": "http://q"}, {"https": ""}),
        ({"no_proxy": "s3.test"}, {}, {"no": "s3.test"}),
        ({"no_proxy": ""}, {}, {}),
    ],
)
def test_proxies_are_terraforms(config: Any, environment: Any, proxies: Any) -> None:
    assert backend(environment, **config).settings.proxies == proxies


def test_path_style_has_an_older_name_that_goes_after() -> None:
    assert backend(force_path_style=True).path_style is True
    assert backend(use_path_style=True).path_style is True
    assert backend(force_path_style=True, use_path_style=False).path_style is False


def test_attempts_are_terraforms_up_to_a_bound() -> None:
    assert backend(max_retries=1).attempts == 1
    assert backend(max_retries=0).attempts is None
    assert backend(max_retries=100).attempts == MOST_ATTEMPTS
    assert backend({"AWS_RETRY_MODE": "adaptive"}).retry_mode == "adaptive"
    assert backend({"AWS_RETRY_MODE": "adaptive"}, retry_mode="standard").retry_mode == "standard"


def test_certificates_are_checked_against_the_named_bundle_or_not_at_all() -> None:
    assert backend().settings.ca_bundle is None
    assert backend({"AWS_CA_BUNDLE": "e.pem"}).settings.ca_bundle == "/srv/stack/e.pem"
    assert (
        backend({"AWS_CA_BUNDLE": "e.pem"}, custom_ca_bundle="c.pem").settings.ca_bundle == "/srv/stack/c.pem"
    )
    assert backend(custom_ca_bundle="c.pem", insecure=True).settings.ca_bundle is False


@pytest.mark.parametrize(
    ("config", "environment", "seen"),
    [
        ({}, {}, {}),
        ({"skip_metadata_api_check": True}, {}, {"AWS_EC2_METADATA_DISABLED": "true"}),
        ({"skip_metadata_api_check": False}, {}, {"AWS_EC2_METADATA_DISABLED": "false"}),
        (
            {"ec2_metadata_service_endpoint": "http://m", "ec2_metadata_service_endpoint_mode": "IPv6"},
            {},
            {
                "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://m",
                "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "IPv6",
            },
        ),
        (
            {},
            {"AWS_METADATA_URL": "http://m"},
            {"AWS_METADATA_URL": "http://m", "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://m"},
        ),
    ],
)
def test_a_machines_role_is_asked_for_as_terraform_would(config: Any, environment: Any, seen: Any) -> None:
    assert backend(environment, **config).environment == seen


# Secrets


@pytest.mark.row(68)
def test_no_secret_is_in_what_is_shown() -> None:
    """Row 68: neither in the representation of a backend nor, from now on, in any message."""
    secrets = {
        "secret_key": "canary-backend-secret",
        "token": "canary-backend-token",
        "sse_customer_key": base64.b64encode(b"canary-customer-key-of-256-bits!").decode(),
    }
    found = backend(
        {"AWS_SECRET_ACCESS_KEY": "canary-environment-secret"},
        access_key="AKIAX",
        encrypt=True,
        http_proxy="http://ada:canary-proxy@proxy.test",
        assume_role_with_web_identity={"role_arn": ROLE, "web_identity_token": "canary-web-token"},
        **secrets,
    )

    assert "canary" not in repr(found)
    assert secrets["sse_customer_key"] not in repr(found)
    for secret in (*secrets.values(), "canary-web-token"):
        assert secret not in redact(f"it was {secret}")
