"""What looks like a secret though nobody has marked it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from driftwatch.policy.secrecy import is_secret_name, is_secret_path, looks_secret

if TYPE_CHECKING:
    from driftwatch.model import JsonValue

AWS_FORM = "wJalrXUtnFEMIK7MDENGbPxRfiCY" + "EXAMPLEKEY+9"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "password",
            "DB_PASSWORD",
            "dbPassword",
            "master-password",
            "db.passwd",
            "PGPASSWORD",
            "mydbpassword",
        ),
        *("secret", "client_secret", "ClientSecret", "token", "GITHUB_TOKEN", "authToken", "credentials"),
        *("private_key", "privateKey", "api_key", "API-KEY", "apikey", "access_key", "primary_access_key"),
        *("encryption_key", "signing_keys", "passphrase", "connection_string", "SECRET_ID", "Authorization"),
    ],
)
def test_names_of_secrets_are_known_in_whatever_way_they_are_written(name: str) -> None:
    assert is_secret_name(name)
    assert is_secret_path(f"/environment/0/{name}")
    assert looks_secret({"variables": {name: "hunter2"}})


@pytest.mark.parametrize(
    "name",
    [
        *("key_name", "kms_key_id", "key", "public_key", "hash_key", "partition_key", "name", "tags", "env"),
        *("secret_arn", "secret_name", "token_ttl", "minimum_password_length", "max_password_age", "size"),
        *("keys", "tokenizer", "secretary", "compass", "", "42", "description", "password_policy"),
    ],
)
def test_other_names_are_not(name: str) -> None:
    assert not is_secret_name(name)
    assert not looks_secret({name: "hunter2"})


@pytest.mark.parametrize(
    "value",
    [
        "DB_PASSWORD=hunter2",
        "export API_KEY='x1'\nexec run",
        "host=db;Password=hunter2;user=a",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE",
        AWS_FORM,
        f"aws {AWS_FORM} there",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc",
        "postgres://anna:hunter2@db.example/x",
        json.dumps([{"name": "web", "environment": [{"name": "DB_PASSWORD", "value": "hunter2"}]}]),
        json.dumps({"deep": {"client_secret": 12345}}),
        {"a": [{"Key": "apiKey", "Value": "hunter2"}]},
        {"tokens": ["hunter2"]},
        {"a=b": {"secret": {"x": "y"}}},
        '"password" = "hunter2"',
        '  master_password = "hunter2"\n',
        'data = { token = "hunter2" }',
    ],
)
def test_what_has_the_form_of_a_secret_is_one(value: JsonValue) -> None:
    assert looks_secret(value)


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 5, 2.5, "", "words of a person", "x=y", "size: 30", "key_name = web"),
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        '{"Version": "2012-10-17", "Statement": [{"Action": "secretsmanager:GetSecretValue"}]}',
        {"secret_arn": "arn:aws:secretsmanager:eu-west-1:1:secret:x"},
        {"allow_users_to_change_password": True, "password": None, "token": ""},
        'resource "t" "r" {\n  password = null # sensitive\n  use_token = false\n}\n',
        "{broken",
    ],
)
def test_what_has_not_is_none(value: JsonValue) -> None:
    assert not looks_secret(value)


def test_what_is_nested_beyond_reason_is_not_looked_through() -> None:
    value: JsonValue = "x"
    for _ in range(200):
        value = [value]
    assert looks_secret(value)
