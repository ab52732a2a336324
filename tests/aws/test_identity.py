"""Whose credentials these are: from the mapping alone, against moto's STS and servers that misbehave."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from moto.server import ThreadedMotoServer

from driftwatch.aws import AwsIdentities, account_of, expect
from driftwatch.errors import (
    CloudThrottledError,
    CloudUnreachableError,
    CredentialsExpiredError,
    CredentialsMissingError,
    EngineError,
    IdentityMismatchError,
    Remedy,
)
from driftwatch.log import register_secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OURS = "123456789012"
"""The account that moto gives to keys it does not know."""

OTHER = "111122223333"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "canary-aws-secret-key"}


class Sts:
    """A loopback server in the place of AWS, a proxy or a metadata service: says what it is told to say."""

    def __init__(self) -> None:
        self.status, self.body = 200, b""
        self.paths = []
        self.hold = None
        sts = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                sts.paths.append(self.path)
                if sts.hold:
                    sts.hold.wait(10)
                    return
                content = sts.body(self.path) if callable(sts.body) else sts.body
                self.send_response(sts.status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = answer  # noqa: N815  (http.server's names)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()

    def says(self, account: Any) -> None:
        self.body = (
            "<GetCallerIdentityResponse><GetCallerIdentityResult>"
            f"<Account>{account}</Account><Arn>a</Arn><UserId>u</UserId>"
            "</GetCallerIdentityResult></GetCallerIdentityResponse>"
        ).encode()

    def refuses(self, status: int, code: str, message: Any = "no") -> None:
        self.status = status
        self.body = (
            "<ErrorResponse><Error><Type>Sender</Type>"
            f"<Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
        ).encode()

    def close(self) -> None:
        if self.hold:
            self.hold.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def sts() -> Iterator[Any]:
    server = Sts()
    yield server
    server.close()


@pytest.fixture
def decoy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """What boto3 would take from the daemon's own process: all wrong, and leading to one server."""
    server = Sts()
    server.says("999999999999")
    home = tmp_path / "decoy"
    (home / ".aws").mkdir(parents=True)
    profile = (
        f"[default]\naws_access_key_id = DECOY\naws_secret_access_key = decoy\nendpoint_url = {server.url}\n"
    )
    (home / ".aws" / "config").write_text(profile, encoding="utf-8")
    (home / ".aws" / "credentials").write_text(profile, encoding="utf-8")
    token = home / "token"
    token.write_text("decoy", encoding="utf-8")
    for name, value in {
        "HOME": str(home),
        "AWS_ACCESS_KEY_ID": "AKIADECOYDECOYDECOY0",
        "AWS_SECRET_ACCESS_KEY": "decoy",
        "AWS_SESSION_TOKEN": "decoy",
        "AWS_PROFILE": "no-such-profile",
        "AWS_CONFIG_FILE": str(home / ".aws" / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / ".aws" / "credentials"),
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ENDPOINT_URL_STS": server.url,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "AWS_ROLE_ARN": f"arn:aws:iam::{OTHER}:role/decoy",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{server.url}/container",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url,
        "AWS_EC2_METADATA_DISABLED": "false",
        "AWS_DEFAULT_REGION": "eu-decoy-1",
        "AWS_CA_BUNDLE": "/nonexistent/decoy.pem",
        "REQUESTS_CA_BUNDLE": "/nonexistent/decoy.pem",
        "HTTP_PROXY": server.url,
        "HTTPS_PROXY": server.url,
        "http_proxy": server.url,
    }.items():
        monkeypatch.setenv(name, value)
    yield server
    server.close()


@pytest.fixture(scope="module")
def moto() -> Iterator[Any]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def in_home(directory: Any, **files: object) -> Any:
    """A HOME with `.aws/config` and `.aws/credentials` as given."""
    (directory / ".aws").mkdir()
    for name, content in files.items():
        (directory / ".aws" / name).write_text(content, encoding="utf-8")
    return {"HOME": str(directory)}


def profile(**settings: object) -> Any:
    return "".join(f"{key} = {value}\n" for key, value in settings.items())


STATIC = profile(aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="canary-aws-secret-key")


# Where credentials come from


def test_keys_in_the_mapping_are_asked_about(moto: Any) -> None:
    assert account_of({**KEYS, "AWS_ENDPOINT_URL": moto}) == OURS


def test_the_endpoint_of_sts_goes_before_the_general_one(moto: Any) -> None:
    assert (
        account_of({**KEYS, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ENDPOINT_URL_STS": moto}) == OURS
    )


def test_nothing_of_our_own_process_is_read(moto: Any, decoy: Any) -> None:
    """The daemon's own variables, files, proxies, endpoints and metadata are not the stack's."""
    assert account_of({**KEYS, "AWS_ENDPOINT_URL": moto}) == OURS
    assert decoy.paths == []


@pytest.mark.parametrize("environment", [{}, {"AWS_REGION": "eu-west-1"}, {"HOME": "/nonexistent"}])
def test_an_empty_mapping_has_no_credentials_whatever_we_have(decoy: Any, environment: Any) -> None:
    with pytest.raises(CredentialsMissingError) as caught:
        account_of(environment, timeout=1)

    assert decoy.paths == []
    assert "environment" in caught.value.advice


def test_a_profile_below_the_mappings_home_is_used(moto: Any, decoy: Any, tmp_path: Path) -> None:
    home = in_home(
        tmp_path, config=f"[profile prod]\nendpoint_url = {moto}\n", credentials=f"[prod]\n{STATIC}"
    )

    assert account_of({**home, "AWS_PROFILE": "prod"}) == OURS
    assert decoy.paths == []


def test_the_files_of_a_profile_may_be_named(moto: Any, decoy: Any, tmp_path: Path) -> None:
    config, credentials = tmp_path / "c", tmp_path / "s"
    config.write_text(f"[default]\nregion = eu-west-1\nendpoint_url = {moto}\n", encoding="utf-8")
    credentials.write_text(f"[default]\n{STATIC}", encoding="utf-8")
    named = {"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": "~/s", "HOME": str(tmp_path)}

    assert account_of(named) == OURS
    assert decoy.paths == []


def test_a_role_of_another_account_is_assumed_through_its_source_profile(
    moto: Any, decoy: Any, tmp_path: Path
) -> None:
    home = in_home(
        tmp_path,
        config="[profile base]\n"
        + STATIC
        + "[profile prod]\n"
        + profile(role_arn=f"arn:aws:iam::{OTHER}:role/reader", source_profile="base"),
    )

    assert account_of({**home, "AWS_PROFILE": "prod", "AWS_ENDPOINT_URL": moto}) == OTHER
    assert decoy.paths == []


def test_a_web_identity_named_by_variables_is_exchanged(moto: Any, decoy: Any, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a.b.c", encoding="utf-8")
    environment = {
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "AWS_ROLE_ARN": f"arn:aws:iam::{OTHER}:role/reader",
        "AWS_ENDPOINT_URL": moto,
    }

    assert account_of(environment) == OTHER
    assert decoy.paths == []


def helper(directory: Any, body: Any) -> Any:
    script = directory / "helper.py"
    script.write_text(f"import json, os, sys, time\n{body}\n", encoding="utf-8")
    home = in_home(directory, config=f"[default]\ncredential_process = {sys.executable} {script}\n")
    return {**home, "VISIBLE": "yes"}


PRINT_KEYS = "print(json.dumps({'Version': 1, 'AccessKeyId': 'AKIAX', 'SecretAccessKey': 'x'}))"


@pytest.mark.row(41)
def test_a_credential_process_sees_the_mapping_and_nothing_of_ours(
    moto: Any, decoy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 41: what a profile starts gets the stack's environment, and none of the daemon's secrets."""
    monkeypatch.setenv("DRIFTWATCH_CANARY", "canary")
    seen = tmp_path / "seen.json"
    home = helper(tmp_path, f"open({str(seen)!r}, 'w').write(json.dumps(dict(os.environ)))\n{PRINT_KEYS}")

    assert account_of({**home, "AWS_ENDPOINT_URL": moto}) == OURS
    environment = json.loads(seen.read_text(encoding="utf-8"))
    assert environment.keys() - {"LC_CTYPE"} == {"HOME", "VISIBLE", "AWS_ENDPOINT_URL"}


@pytest.mark.parametrize(
    "body",
    [
        "time.sleep(60)",
        "os.fork(); time.sleep(60)",
        "sys.exit('no such thing')",
        "print('no json')",
        "print('[]')",
        "print('{}')",
        "print(json.dumps({'Version': 1}))",
        "sys.stdout.buffer.write(b'\\xff')",
    ],
)
def test_a_credential_process_that_does_not_deliver_is_missing_credentials(
    moto: Any, tmp_path: Path, body: Any
) -> None:
    started = time.monotonic()

    with pytest.raises(CredentialsMissingError):
        account_of({**helper(tmp_path, body), "AWS_ENDPOINT_URL": moto}, timeout=1)

    assert time.monotonic() - started < 5


def test_container_credentials_are_asked_for_where_the_mapping_names_them(moto: Any, sts: Any) -> None:
    document = {
        "AccessKeyId": "AKIAX",
        "SecretAccessKey": "x",
        "Token": "t",
        "Expiration": "2099-01-01T00:00:00Z",
    }
    sts.body = json.dumps(document).encode()

    environment = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{sts.url}/creds", "AWS_ENDPOINT_URL": moto}

    assert account_of(environment) == OURS
    assert sts.paths == ["/creds"]


def test_the_metadata_service_is_asked_where_the_mapping_says_so(moto: Any, sts: Any, decoy: Any) -> None:
    document = {
        "Code": "Success",
        "AccessKeyId": "AKIAX",
        "SecretAccessKey": "x",
        "Token": "t",
        "Expiration": "2099-01-01T00:00:00Z",
    }
    sts.body = lambda path: (
        b"token"
        if path.endswith("token")
        else (json.dumps(document).encode() if path.endswith("/reader") else b"reader")
    )
    environment = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": sts.url, "AWS_ENDPOINT_URL": moto}

    assert account_of(environment) == OURS
    assert sts.paths[0] == "/latest/api/token"


def test_the_metadata_service_stays_off_where_the_mapping_disables_it(sts: Any) -> None:
    environment = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": sts.url, "AWS_EC2_METADATA_DISABLED": "true"}

    with pytest.raises(CredentialsMissingError):
        account_of(environment, timeout=1)

    assert sts.paths == []


def test_the_mappings_proxy_is_used_and_its_exceptions_kept(sts: Any, decoy: Any) -> None:
    sts.says(OTHER)
    environment = {**KEYS, "AWS_ENDPOINT_URL": "http://sts.test", "HTTP_PROXY": sts.url}

    assert account_of(environment) == OTHER
    assert sts.paths == ["http://sts.test/"]
    with pytest.raises(CloudUnreachableError):
        account_of({**environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "NO_PROXY": "x.test, 127.0.0.1"})
    with pytest.raises(CloudUnreachableError):
        account_of({**environment, "AWS_ENDPOINT_URL": "http://localhost:9", "no_proxy": "*"})
    assert len(sts.paths) == 1
    assert decoy.paths == []


# The expected account


@pytest.mark.row(21)
def test_the_right_account_passes_and_a_wrong_one_is_named_with_the_right_one(moto: Any) -> None:
    """Row 21: with another account's credentials nothing that is seen counts."""
    environment = {**KEYS, "AWS_ENDPOINT_URL": moto}

    expect(environment, OURS)
    with pytest.raises(IdentityMismatchError) as caught:
        expect(environment, OTHER)

    assert OURS in caught.value.message
    assert OTHER in caught.value.message
    assert "identity.aws_account" in caught.value.advice


def test_the_pipelines_way_to_ask_is_the_same(moto: Any) -> None:
    with pytest.raises(IdentityMismatchError):
        AwsIdentities().expect({**KEYS, "AWS_ENDPOINT_URL": moto}, OTHER)


# What AWS says instead


def asked(sts: Any, **other: object) -> Any:
    return account_of({**KEYS, "AWS_ENDPOINT_URL": sts.url, **other}, timeout=0.5)


@pytest.mark.row(23)
@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException", "RequestExpired"])
def test_expired_credentials_are_told_apart(sts: Any, code: str) -> None:
    """Row 23: a class of its own, with what to do."""
    sts.refuses(403, code, "The security token included in the request is expired")

    with pytest.raises(CredentialsExpiredError, match="is expired") as caught:
        asked(sts)

    assert "new credentials" in caught.value.advice


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "InvalidClientTokenId"),
        (403, "SignatureDoesNotMatch"),
        (403, "AccessDenied"),
        (401, "AuthFailure"),
        (400, "SomethingOfNextYear"),
    ],
)
def test_credentials_that_aws_does_not_take_need_a_person(sts: Any, status: int, code: str) -> None:
    sts.refuses(status, code)

    with pytest.raises(CredentialsMissingError, match=code) as caught:
        asked(sts)

    assert caught.value.remedy is Remedy.PERSON


@pytest.mark.row(24)
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "Throttling"),
        (429, "TooManyRequestsException"),
        (500, "InternalFailure"),
        (503, "ServiceUnavailable"),
    ],
)
def test_a_throttled_or_failing_cloud_is_tried_again_once_and_then_by_the_next_check(
    sts: Any, status: int, code: str
) -> None:
    """Row 24: throttling and 5xx are an error to retry, and no verdict."""
    sts.refuses(status, code)

    with pytest.raises(CloudThrottledError) as caught:
        asked(sts)

    assert caught.value.remedy is Remedy.RETRY
    assert len(sts.paths) == 2


def test_an_answer_that_is_none_is_not_taken_for_an_identity(sts: Any) -> None:
    sts.body = b"<html>login to the hotel's network</html>"

    with pytest.raises(EngineError):
        asked(sts)


def test_an_answer_that_cannot_be_read_is_no_identity(sts: Any) -> None:
    sts.body = b"\x00{]"

    with pytest.raises(CloudUnreachableError) as caught:
        asked(sts)

    assert caught.value.remedy is Remedy.RETRY


def test_a_cloud_that_hangs_is_left_after_two_timeouts(sts: Any) -> None:
    sts.hold = threading.Event()
    started = time.monotonic()

    with pytest.raises(CloudUnreachableError):
        asked(sts)

    assert time.monotonic() - started < 4


def test_a_cloud_that_is_not_there_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(CloudUnreachableError) as caught:
            account_of({**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{taken.getsockname()[1]}"}, timeout=1)

    assert "AWS_ENDPOINT_URL" in caught.value.advice


@pytest.mark.parametrize(
    "environment",
    [
        {"AWS_ACCESS_KEY_ID": "AKIAX"},
        {"AWS_PROFILE": "no-such-profile"},
        {**KEYS, "AWS_ENDPOINT_URL": "no url"},
        {**KEYS, "AWS_REGION": "no region!"},
        {"AWS_CONFIG_FILE": "/nonexistent/config"},
        {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nonexistent/token", "AWS_ROLE_ARN": "arn:aws:iam::1:role/x"},
        {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nonexistent/token"},
    ],
    ids="+".join,
)
def test_half_credentials_and_wrong_names_are_missing_credentials(environment: Any) -> None:
    with pytest.raises(CredentialsMissingError):
        account_of(environment, timeout=1)


def test_a_broken_profile_file_is_missing_credentials(tmp_path: Path) -> None:
    home = in_home(tmp_path, config="no section\n= nothing [")

    with pytest.raises(CredentialsMissingError):
        account_of(home, timeout=1)


def test_an_expired_sign_on_is_expired_credentials(tmp_path: Path, moto: Any) -> None:
    """What `aws sso login` left behind is gone: a person has to sign on again."""
    home = in_home(
        tmp_path,
        config="[default]\n"
        + profile(
            sso_start_url="https://sso.example.test/start",
            sso_region="eu-west-1",
            sso_account_id=OURS,
            sso_role_name="reader",
        ),
    )

    with pytest.raises(CredentialsExpiredError):
        account_of({**home, "AWS_ENDPOINT_URL": moto}, timeout=1)


@pytest.mark.row(68)
def test_no_secret_is_in_an_error(sts: Any) -> None:
    """Row 68: also where AWS's answer repeats it."""
    register_secret(KEYS["AWS_SECRET_ACCESS_KEY"])
    sts.refuses(
        403, "SignatureDoesNotMatch", f"with {KEYS['AWS_SECRET_ACCESS_KEY']} and AKIAIOSFODNN7EXAMPLE"
    )

    with pytest.raises(CredentialsMissingError) as caught:
        asked(sts)

    said = f"{caught.value.message} {caught.value.advice} {caught.value.detail}"
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in said
    assert "AKIAIOSFODNN7EXAMPLE" not in said


def test_many_may_ask_at_once(moto: Any, sts: Any) -> None:
    """Sessions of different stacks share nothing that tells."""
    sts.says(OTHER)
    answers = {}

    def ask(number: Any) -> None:
        url, account = (moto, OURS) if number % 2 else (sts.url, OTHER)
        answers[number] = account_of({**KEYS, "AWS_ENDPOINT_URL": url}) == account

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == dict.fromkeys(range(12), True)
