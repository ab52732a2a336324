"""A state read from S3: against moto, servers that misbehave, and what real terraform wrote."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import http.client
import ipaddress
import json
import os
import re
import ssl
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from moto.server import ThreadedMotoServer

from driftwatch.aws import S3State, StoredState
from driftwatch.errors import (
    CloudThrottledError,
    CloudUnreachableError,
    CredentialsExpiredError,
    CredentialsMissingError,
    EngineError,
    Remedy,
    StateUnreadableError,
)
from driftwatch.warm.state import backend_of, identity_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OTHER = "111122223333"
ROLE = f"arn:aws:iam::{OTHER}:role/READER"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "canary-aws-secret-key"}
KEY = "network/terraform.tfstate"
STATE = b'{"version": 4, "serial": 7, "lineage": "l"}'
ETAG = '"0123456789abcdef"'
NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a server was asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: str = ""

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body).items()}

    @property
    def signer(self) -> str | None:
        """The access key id that signed it."""
        found = re.search(r"Credential=([^/]+)/", self.headers.get("authorization", ""))
        return found and found[1]

    @property
    def region(self) -> str:
        """The region that it was signed for."""
        found = re.search(r"Credential=[^/]+/\d+/([^/]+)/", self.headers["authorization"])
        assert found
        return found[1]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a server says. `cut` announces that many bytes more than it sends; None announces nothing."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = 0


def the_state(_: Request) -> Answer:
    return Answer(body=STATE, headers={"ETag": ETAG})


def failure(status: int, code: str, message: str = "no") -> Callable[[Request], Answer]:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return lambda _: Answer(status=status, body=body.encode())


def sts_failure(status: int, code: str, message: str = "no") -> Answer:
    body = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    return Answer(status=status, body=body.encode())


class Aws:
    """A loopback server in the place of S3, STS or a proxy: says what it is told to, keeps what it heard."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.s3: Callable[[Request], Answer] = the_state
        self.sts: Callable[[Request], Answer] = self._role
        self.heard: list[Request] = []
        self.hold: threading.Event | None = None
        self.lifetime = dt.timedelta(hours=1)
        aws = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                request = Request(
                    method=self.command,
                    path=self.path,
                    headers={name.lower(): value for name, value in self.headers.items()},
                    body=self.rfile.read(length).decode(),
                )
                aws.heard.append(request)
                if aws.hold:
                    aws.hold.wait(10)
                    self.close_connection = True
                    return
                self.say(aws.sts(request) if request.form.get("Action") else aws.s3(request))

            def say(self, answer: Answer) -> None:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if answer.cut is not None:
                    self.send_header("Content-Length", str(len(answer.body) + answer.cut))
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_POST = do_HEAD = do_CONNECT = answer  # noqa: N815  (http.server's names)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        if tls:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self.port = self._http.server_address[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()

    def _role(self, request: Request) -> Answer:
        action, ends = request.form["Action"], dt.datetime.now(dt.UTC) + self.lifetime
        return Answer(
            body=(
                f"<{action}Response><{action}Result><Credentials>"
                f"<AccessKeyId>ASIA{request.form['RoleArn'].rpartition('/')[2]}</AccessKeyId>"
                "<SecretAccessKey>canary-role-secret</SecretAccessKey><SessionToken>t</SessionToken>"
                f"<Expiration>{ends:%Y-%m-%dT%H:%M:%SZ}</Expiration>"
                f"</Credentials></{action}Result></{action}Response>"
            ).encode()
        )

    def asked_of(self, service: str) -> list[Request]:
        return [request for request in self.heard if bool(request.form) == (service == "sts")]

    def close(self) -> None:
        if self.hold:
            self.hold.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def aws() -> Iterator[Aws]:
    server = Aws()
    yield server
    server.close()


@pytest.fixture
def other() -> Iterator[Aws]:
    server = Aws()
    yield server
    server.close()


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def s3(moto: str) -> Any:
    """A client that fills the bucket `states` of the server that plays AWS."""
    client = boto3.client(
        "s3",
        region_name="eu-west-1",
        endpoint_url=moto,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    client.create_bucket(Bucket="states", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return client


@pytest.fixture
def decoy(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """What boto3 would take from the daemon's own process: all wrong, and leading to one server."""
    server = Aws()
    home = tmp_path_factory.mktemp("decoy")
    (home / ".aws").mkdir()
    profile = (
        f"[default]\naws_access_key_id = DECOY\naws_secret_access_key = decoy\nendpoint_url = {server.url}\n"
    )
    (home / ".aws" / "config").write_text(profile, encoding="utf-8")
    (home / ".aws" / "credentials").write_text(profile, encoding="utf-8")
    for name, value in {
        "HOME": str(home),
        "AWS_ACCESS_KEY_ID": "AKIADECOYDECOYDECOY0",
        "AWS_SECRET_ACCESS_KEY": "decoy",
        "AWS_SESSION_TOKEN": "decoy",
        "AWS_PROFILE": "no-such-profile",
        "AWS_CONFIG_FILE": str(home / ".aws" / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / ".aws" / "credentials"),
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ENDPOINT_URL_S3": server.url,
        "AWS_ENDPOINT_URL_STS": server.url,
        "AWS_S3_ENDPOINT": server.url,
        "AWS_ROLE_ARN": f"arn:aws:iam::{OTHER}:role/decoy",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{server.url}/container",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url,
        "AWS_EC2_METADATA_DISABLED": "false",
        "AWS_REGION": "eu-decoy-1",
        "AWS_DEFAULT_REGION": "eu-decoy-1",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_SSE_CUSTOMER_KEY": "decoy",
        "AWS_CA_BUNDLE": "/nonexistent/decoy.pem",
        "REQUESTS_CA_BUNDLE": "/nonexistent/decoy.pem",
        "HTTP_PROXY": server.url,
        "HTTPS_PROXY": server.url,
        "http_proxy": server.url,
    }.items():
        monkeypatch.setenv(name, value)
    yield server
    server.close()


def state(
    at: str | None,
    environment: Any = None,
    /,
    *,
    workspace: str = "default",
    directory: Path = Path("/nonexistent"),
    timeout: float = 1,
    **config: object,
) -> S3State:
    """A state of the bucket `states`, at an endpoint for S3 and STS alike unless `config` says otherwise."""
    where = {"endpoints": {"s3": at, "sts": at}} if at else {}
    return S3State(
        {"bucket": "states", "key": KEY, "region": "eu-west-1", "use_path_style": True, **where, **config},
        workspace,
        KEYS if environment is None else environment,
        directory=directory,
        timeout=timeout,
    )


def files(directory: Path, **contents: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (directory / name).write_text(content, encoding="utf-8")
    return directory


def profile(name: str, key: str, **settings: str) -> str:
    lines = {"aws_access_key_id": key, "aws_secret_access_key": "canary-profile-secret", **settings}
    return f"[{name}]\n" + "".join(f"{setting} = {value}\n" for setting, value in lines.items())


# What lies in the bucket


@pytest.mark.parametrize(
    ("workspace", "config", "key"),
    [
        ("default", {}, KEY),
        ("prod", {}, f"env:/prod/{KEY}"),
        ("prod", {"workspace_key_prefix": "teams/a"}, f"teams/a/prod/{KEY}"),
        ("prod", {"workspace_key_prefix": ""}, f"prod/{KEY}"),
    ],
)
def test_each_workspaces_state_is_found(moto: str, s3: Any, workspace: str, config: Any, key: str) -> None:
    s3.put_object(Bucket="states", Key=key, Body=key.encode())

    stored = state(moto, workspace=workspace, **config).read()

    assert stored.content == key.encode()
    assert stored.etag == s3.head_object(Bucket="states", Key=key)["ETag"]


def test_a_state_that_did_not_move_is_not_sent_again(moto: str, s3: Any) -> None:
    s3.put_object(Bucket="states", Key="moving", Body=b"first")
    reader = state(moto, key="moving")
    first = reader.read()

    assert reader.read(first.etag) == StoredState(etag=first.etag, content=None)
    s3.put_object(Bucket="states", Key="moving", Body=b"second")
    assert reader.read(first.etag).content == b"second"
    s3.delete_object(Bucket="states", Key="moving")
    assert reader.read(first.etag) == StoredState(etag=None, content=b"")


def test_the_known_etag_is_what_is_asked_with(aws: Aws) -> None:
    reader = state(aws.url)

    assert reader.read() == StoredState(etag=ETAG, content=STATE)
    aws.s3 = lambda _: Answer(status=304)
    assert reader.read(ETAG) == StoredState(etag=ETAG, content=None)
    assert [request.headers.get("if-none-match") for request in aws.heard] == [None, ETAG]


def test_nothing_new_is_no_answer_to_a_question_without_an_etag(aws: Aws) -> None:
    aws.s3 = lambda _: Answer(status=304)

    with pytest.raises(StateUnreadableError):
        state(aws.url).read()


def test_a_state_that_is_not_there_is_none_yet(moto: str, s3: Any) -> None:
    assert state(moto, key="never-written").read() == StoredState(etag=None, content=b"")


def test_a_bucket_that_is_not_there_is_named(moto: str, s3: Any) -> None:
    """And is not taken for a state that is not there."""
    with pytest.raises(StateUnreadableError, match=f"s3://no-such-bucket/{KEY}.*NoSuchBucket"):
        state(moto, bucket="no-such-bucket").read()


def test_a_404_of_something_else_is_no_empty_state(aws: Aws) -> None:
    aws.s3 = lambda _: Answer(status=404, body=b"<html>nginx</html>")

    with pytest.raises(StateUnreadableError, match="404"):
        state(aws.url).read()


def test_a_client_is_made_once(aws: Aws) -> None:
    """Making one costs more than reading; one connection serves all readings, too."""
    reader = state(aws.url, assume_role={"role_arn": ROLE})
    for _ in range(3):
        reader.read()

    assert len(aws.asked_of("sts")) == 1
    assert len(aws.asked_of("s3")) == 3


def test_an_encrypted_state_is_asked_for_with_its_key(aws: Aws) -> None:
    key = base64.b64encode(b"k" * 32).decode()

    state(aws.url, encrypt=True, sse_customer_key=key).read()

    headers = aws.heard[0].headers
    assert headers["x-amz-server-side-encryption-customer-algorithm"] == "AES256"
    assert headers["x-amz-server-side-encryption-customer-key"] == key


# Whose credentials


def test_keys_of_the_configuration_go_before_the_environments(aws: Aws) -> None:
    state(aws.url, access_key="AKIACONFIGURED", secret_key="canary-secret", token="canary-token").read()

    assert aws.heard[0].signer == "AKIACONFIGURED"
    assert aws.heard[0].headers["x-amz-security-token"] == "canary-token"


def test_keys_of_the_environment_are_used(aws: Aws) -> None:
    state(aws.url).read()

    assert (aws.heard[0].signer, aws.heard[0].region) == (KEYS["AWS_ACCESS_KEY_ID"], "eu-west-1")


def test_a_profile_of_the_configuration_goes_before_the_environments_keys(aws: Aws, tmp_path: Path) -> None:
    """And one that AWS_PROFILE names goes after them."""
    files(tmp_path, shared=profile("prod", "AKIAPROFILE"))
    environment = {**KEYS, "AWS_PROFILE": "prod", "AWS_SHARED_CREDENTIALS_FILE": "shared"}

    state(aws.url, environment, directory=tmp_path, profile="prod").read()
    state(aws.url, environment, directory=tmp_path).read()

    assert [request.signer for request in aws.heard] == ["AKIAPROFILE", KEYS["AWS_ACCESS_KEY_ID"]]


@pytest.mark.parametrize(
    "config",
    [
        {"shared_credentials_files": ["shared"]},
        {"shared_credentials_file": "shared"},
        {"shared_config_files": ["shared"]},
    ],
    ids=lambda config: next(iter(config)),
)
def test_files_of_the_configuration_lie_beside_the_code(aws: Aws, tmp_path: Path, config: Any) -> None:
    files(tmp_path, shared=profile("default", "AKIASHARED"))

    state(aws.url, {}, directory=tmp_path, **config).read()

    assert aws.heard[0].signer == "AKIASHARED"


def test_files_of_the_environment_lie_there_too(aws: Aws, tmp_path: Path) -> None:
    """As terraform runs in the directory, whatever directory the daemon was started in."""
    files(
        tmp_path,
        token="a.b.c",
        config=f"[profile web]\nrole_arn = {ROLE}\nweb_identity_token_file = token\n"
        f"[profile helper]\ncredential_process = {sys.executable} helper.py\n",
    )
    printed = {"Version": 1, "AccessKeyId": "AKIAHELPER", "SecretAccessKey": "x"}
    (tmp_path / "helper.py").write_text(f"print({json.dumps(json.dumps(printed))})", encoding="utf-8")
    variables = {"AWS_WEB_IDENTITY_TOKEN_FILE": "token", "AWS_ROLE_ARN": f"{ROLE}/VARIABLE"}

    state(aws.url, variables, directory=tmp_path).read()
    state(aws.url, {"AWS_CONFIG_FILE": "config"}, directory=tmp_path, profile="web").read()
    state(aws.url, {"AWS_CONFIG_FILE": "config"}, directory=tmp_path, profile="helper", timeout=5).read()

    signers = [request.signer for request in aws.asked_of("s3")]
    assert signers == ["ASIAVARIABLE", "ASIAREADER", "AKIAHELPER"]


def test_a_web_identity_of_the_environment_goes_before_its_profile(aws: Aws, tmp_path: Path) -> None:
    """In the order of Terraform's SDK, which is not botocore's."""
    files(tmp_path, token="a.b.c", shared=profile("base", "AKIABASE"))
    (tmp_path / "config").write_text(
        f"[profile base]\n[profile prod]\nrole_arn = {ROLE}/PROFILED\nsource_profile = base\n",
        encoding="utf-8",
    )
    environment = {
        "AWS_PROFILE": "prod",
        "AWS_CONFIG_FILE": "config",
        "AWS_SHARED_CREDENTIALS_FILE": "shared",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "token",
        "AWS_ROLE_ARN": f"{ROLE}/VARIABLE",
    }

    state(aws.url, environment, directory=tmp_path).read()
    state(aws.url, environment, directory=tmp_path, profile="prod").read()

    assert [request.signer for request in aws.asked_of("s3")] == ["ASIAVARIABLE", "ASIAPROFILED"]


def test_keys_by_their_older_names_are_used(aws: Aws) -> None:
    state(aws.url, {"AWS_ACCESS_KEY": "AKIAOLDER", "AWS_SECRET_KEY": "canary-secret"}).read()

    assert aws.heard[0].signer == "AKIAOLDER"


def test_empty_variables_are_as_good_as_none(aws: Aws) -> None:
    empty = dict.fromkeys(
        ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "HTTP_PROXY", "AWS_CA_BUNDLE"), ""
    )

    state(aws.url, {**KEYS, **empty}).read()

    assert "x-amz-security-token" not in aws.heard[0].headers


def test_an_assumed_role_reads_and_nobody_else(moto: str, s3: Any, aws: Aws) -> None:
    """Through a server that hands everything on to the one that plays AWS, and keeps who signed what."""
    s3.put_object(Bucket="states", Key="roles", Body=STATE)
    given: list[str] = []

    def handed_on(request: Request) -> Answer:
        connection = http.client.HTTPConnection(moto.removeprefix("http://"))
        connection.request(request.method, request.path, request.body, request.headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        given.extend(re.findall(r"<AccessKeyId>(.*?)</AccessKeyId>", content.decode()))
        return Answer(status=answer.status, body=content, headers={"ETag": answer.headers.get("ETag", "")})

    aws.s3 = aws.sts = handed_on

    stored = state(aws.url, key="roles", assume_role={"role_arn": ROLE, "session_name": "driftwatch"}).read()

    assert stored.content == STATE
    assert [request.signer for request in aws.asked_of("sts")] == [KEYS["AWS_ACCESS_KEY_ID"]]
    assert [request.signer for request in aws.asked_of("s3")] == given
    assert given[0].startswith("ASIA")


def test_a_role_is_asked_for_with_all_that_the_configuration_says(aws: Aws) -> None:
    state(
        aws.url,
        sts_region="eu-central-1",
        assume_role={
            "role_arn": ROLE,
            "duration": "30m",
            "external_id": "e-1",
            "policy": '{"Version":"2012-10-17"}',
            "policy_arns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"],
            "session_name": "watcher",
            "source_identity": "ada",
            "tags": {"team": "a"},
            "transitive_tag_keys": ["team"],
        },
    ).read()

    asked = aws.asked_of("sts")[0]
    assert asked.region == "eu-central-1"
    assert asked.form == {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": ROLE,
        "DurationSeconds": "1800",
        "ExternalId": "e-1",
        "Policy": '{"Version":"2012-10-17"}',
        "PolicyArns.member.1.arn": "arn:aws:iam::aws:policy/ReadOnlyAccess",
        "RoleSessionName": "watcher",
        "SourceIdentity": "ada",
        "Tags.member.1.Key": "team",
        "Tags.member.1.Value": "a",
        "TransitiveTagKeys.member.1": "team",
    }
    assert aws.asked_of("s3")[0].region == "eu-west-1"


def test_a_role_at_the_top_level_is_assumed_from_static_keys(aws: Aws) -> None:
    state(aws.url, access_key="AKIACONFIGURED", secret_key="canary-secret", role_arn=ROLE).read()

    assert [request.signer for request in aws.heard] == ["AKIACONFIGURED", "ASIAREADER"]


def test_a_web_identity_of_the_configuration_carries_a_role(aws: Aws, tmp_path: Path) -> None:
    files(tmp_path, token="a.b.c")
    identity = {"role_arn": f"{ROLE}/OUTSIDER", "web_identity_token_file": "token", "duration": "1h"}

    state(aws.url, directory=tmp_path, assume_role_with_web_identity=identity).read()
    identity = {"role_arn": f"{ROLE}/OUTSIDER", "web_identity_token": "d.e.f"}
    state(
        aws.url, assume_role_with_web_identity=identity, assume_role={"role_arn": f"{ROLE}/DEEPEST1"}
    ).read()

    exchanged, again, assumed = aws.asked_of("sts")
    assert (exchanged.form["Action"], exchanged.signer) == ("AssumeRoleWithWebIdentity", None)
    assert (exchanged.form["WebIdentityToken"], exchanged.form["DurationSeconds"]) == ("a.b.c", "3600")
    assert again.form["WebIdentityToken"] == "d.e.f"
    assert (assumed.form["Action"], assumed.signer) == ("AssumeRole", "ASIAOUTSIDER")
    assert [request.signer for request in aws.asked_of("s3")] == ["ASIAOUTSIDER", "ASIADEEPEST1"]


def test_a_roles_credentials_are_renewed_before_they_expire(aws: Aws) -> None:
    aws.lifetime = dt.timedelta(minutes=5)
    reader = state(aws.url, assume_role={"role_arn": ROLE})

    reader.read()
    reader.read()

    assert len(aws.asked_of("sts")) == 2


def test_credentials_that_a_person_renewed_are_found(aws: Aws, tmp_path: Path) -> None:
    """The same object reads again after what it lacked is there."""
    reader = state(aws.url, {}, directory=tmp_path, shared_credentials_files=["shared"])

    with pytest.raises(CredentialsMissingError):
        reader.read()
    files(tmp_path, shared=profile("default", "AKIARENEWED"))
    assert reader.read().content == STATE


def test_a_sign_on_is_exchanged_at_its_own_endpoint(aws: Aws, other: Aws, tmp_path: Path) -> None:
    """With the token that `aws sso login` left below the environment's HOME."""
    start, far = "https://sso.test/start", "2099-01-01T00:00:00Z"
    cached = {"startUrl": start, "region": "eu-west-1", "accessToken": "canary-sso", "expiresAt": far}
    cache = tmp_path / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    (cache / f"{hashlib.sha1(start.encode(), usedforsecurity=False).hexdigest()}.json").write_text(
        json.dumps(cached), encoding="utf-8"
    )
    files(
        tmp_path / ".aws",
        config=f"[profile prod]\nsso_start_url = {start}\nsso_region = eu-west-1\n"
        f"sso_account_id = {OTHER}\nsso_role_name = reader\n",
    )
    given = {
        "accessKeyId": "ASIASSO",
        "secretAccessKey": "x",
        "sessionToken": "t",
        "expiration": 4070908800000,
    }
    other.s3 = lambda _: Answer(body=json.dumps({"roleCredentials": given}).encode())

    state(None, {"HOME": str(tmp_path)}, profile="prod", endpoints={"s3": aws.url, "sso": other.url}).read()

    assert aws.heard[0].signer == "ASIASSO"
    assert other.heard[0].path.startswith("/federation/credentials?")


def test_the_metadata_service_is_asked_only_where_the_configuration_says_so(aws: Aws, other: Aws) -> None:
    document = {
        "Code": "Success",
        "AccessKeyId": "ASIAMACHINE",
        "SecretAccessKey": "x",
        "Token": "t",
        "Expiration": "2099-01-01T00:00:00Z",
    }
    other.s3 = lambda request: Answer(
        body=json.dumps(document).encode() if request.path.endswith("/reader") else b"reader"
    )
    asked = {"ec2_metadata_service_endpoint": other.url}

    with pytest.raises(CredentialsMissingError):
        state(aws.url, {}, skip_metadata_api_check=True, **asked).read()
    assert (aws.heard, other.heard) == ([], [])
    state(aws.url, {}, **asked).read()
    assert aws.heard[0].signer == "ASIAMACHINE"


def test_nothing_of_our_own_process_is_read(decoy: Aws, aws: Aws) -> None:
    """The daemon's own variables, files, proxies, endpoints and metadata are not the stack's."""
    role = {"role_arn": ROLE}

    assert state(aws.url, assume_role=role, encrypt=True).read().content == STATE
    assert state(None, {**KEYS, "AWS_ENDPOINT_URL": aws.url}, assume_role=role).read().content == STATE
    for environment in ({}, {"HOME": "/nonexistent"}):
        with pytest.raises(CredentialsMissingError):
            state(aws.url, environment).read()
    with pytest.raises(StateUnreadableError, match="`region`"):
        state(aws.url, region=None).read()

    assert decoy.heard == []
    assert {request.region for request in aws.heard} == {"eu-west-1"}
    signers = {request.signer for request in aws.heard}
    assert signers == {KEYS["AWS_ACCESS_KEY_ID"], "ASIAREADER"}


# Where it is asked for


@pytest.mark.parametrize(
    ("region", "environment", "used"),
    [
        ("eu-west-1", {"AWS_REGION": "eu-west-2"}, "eu-west-1"),
        (None, {"AWS_REGION": "eu-west-2", "AWS_DEFAULT_REGION": "eu-west-3"}, "eu-west-2"),
        ("", {"AWS_DEFAULT_REGION": "eu-west-3"}, "eu-west-3"),
        (None, {}, "eu-north-1"),
    ],
)
def test_the_region_is_the_configurations_the_environments_or_the_profiles(
    aws: Aws, tmp_path: Path, region: str | None, environment: Any, used: str
) -> None:
    files(tmp_path, shared="[default]\nregion = eu-north-1\n")
    environment = {**KEYS, "AWS_CONFIG_FILE": "shared", **environment}

    state(aws.url, environment, directory=tmp_path, region=region).read()

    assert aws.heard[0].region == used


def test_without_a_region_nothing_is_guessed(aws: Aws) -> None:
    with pytest.raises(StateUnreadableError, match="`region`"):
        state(aws.url, region=None).read()

    assert aws.heard == []


@pytest.mark.parametrize(
    ("config", "environment"),
    [
        ({"endpoints": {"s3": "HERE"}}, {"AWS_ENDPOINT_URL_S3": NOWHERE}),
        ({"endpoint": "HERE"}, {"AWS_ENDPOINT_URL_S3": NOWHERE}),
        ({}, {"AWS_ENDPOINT_URL_S3": "HERE", "AWS_S3_ENDPOINT": NOWHERE, "AWS_ENDPOINT_URL": NOWHERE}),
        ({}, {"AWS_S3_ENDPOINT": "HERE", "AWS_ENDPOINT_URL": NOWHERE}),
        ({}, {"AWS_ENDPOINT_URL": "HERE"}),
        ({}, {"AWS_CONFIG_FILE": "shared"}),
        ({"use_fips_endpoint": True, "use_dualstack_endpoint": True}, {"AWS_ENDPOINT_URL": "HERE"}),
    ],
)
def test_the_endpoint_is_found_in_terraforms_order(
    aws: Aws, tmp_path: Path, config: Any, environment: Any
) -> None:
    files(tmp_path, shared=f"[default]\nendpoint_url = {aws.url}\n")
    config = json.loads(json.dumps(config).replace("HERE", aws.url))
    environment = {name: value.replace("HERE", aws.url) for name, value in environment.items()}

    assert state(None, {**KEYS, **environment}, directory=tmp_path, **config).read().content == STATE


def test_the_endpoint_of_sts_is_its_own(aws: Aws, other: Aws) -> None:
    role = {"role_arn": ROLE}

    state(None, endpoint=aws.url, sts_endpoint=other.url, assume_role=role).read()
    state(None, {**KEYS, "AWS_STS_ENDPOINT": other.url}, endpoint=aws.url, assume_role=role).read()
    state(None, {**KEYS, "AWS_ENDPOINT_URL": other.url}, endpoint=aws.url, assume_role=role).read()

    assert len(aws.asked_of("s3")) == len(other.asked_of("sts")) == 3
    assert (aws.asked_of("sts"), other.asked_of("s3")) == ([], [])


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"use_path_style": True}, f"http://s3.test/states/{KEY}"),
        ({"use_path_style": None, "force_path_style": True}, f"http://s3.test/states/{KEY}"),
        ({"use_path_style": False}, f"http://states.s3.test/{KEY}"),
        ({"use_path_style": None}, f"http://states.s3.test/{KEY}"),
    ],
)
def test_the_bucket_is_in_the_path_only_where_asked_for(aws: Aws, config: Any, path: str) -> None:
    state("http://s3.test", {**KEYS, "HTTP_PROXY": aws.url}, **config).read()

    assert [request.path for request in aws.heard] == [path]


@pytest.mark.parametrize(
    ("config", "host"),
    [
        ({}, "states.s3.eu-west-1.amazonaws.com"),
        ({"use_path_style": True}, "s3.eu-west-1.amazonaws.com"),
        ({"region": "us-east-1"}, "states.s3.us-east-1.amazonaws.com"),
        ({"region": "us-east-1", "use_fips_endpoint": True}, "states.s3-fips.us-east-1.amazonaws.com"),
        ({"use_dualstack_endpoint": True}, "states.s3.dualstack.eu-west-1.amazonaws.com"),
        ({"region": "cn-north-1"}, "states.s3.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_awss_own_endpoints_are_asked_through_the_proxy(aws: Aws, config: Any, host: str) -> None:
    """A proxy on loopback that refuses: nothing leaves this machine."""
    aws.s3 = lambda _: Answer(status=502)

    with pytest.raises(CloudUnreachableError):
        state(None, **{"use_path_style": None, "https_proxy": aws.url, "max_retries": 1, **config}).read()

    assert [(request.method, request.path) for request in aws.heard] == [("CONNECT", f"{host}:443")]


@pytest.mark.parametrize(
    ("config", "environment"),
    [
        ({"http_proxy": "HERE"}, {"HTTP_PROXY": NOWHERE}),
        ({"http_proxy": "HERE", "no_proxy": "10.0.0.0/8,sts.test"}, {"NO_PROXY": "*"}),
        ({}, {"HTTP_PROXY": "HERE", "http_proxy": NOWHERE, "NO_PROXY": "3.test"}),
    ],
)
def test_a_proxy_of_the_configuration_goes_before_the_environments(
    aws: Aws, config: Any, environment: Any
) -> None:
    config = {name: value.replace("HERE", aws.url) for name, value in config.items()}
    environment = {name: value.replace("HERE", aws.url) for name, value in environment.items()}

    state("http://s3.test", {**KEYS, **environment}, **config).read()

    assert [request.path for request in aws.heard] == [f"http://s3.test/states/{KEY}"]


@pytest.mark.parametrize(
    ("at", "exceptions"),
    [
        ("127.0.0.1", ""),
        ("localhost", ""),
        ("s3.test", "s3.test"),
        ("s3.test", ".test"),
        ("10.1.2.3", "10.0.0.0/8"),
        (None, "amazonaws.com"),
    ],
)
def test_a_host_that_is_excepted_is_asked_directly(aws: Aws, at: str | None, exceptions: str) -> None:
    """Seen by what botocore is given: nobody but this machine may be asked here."""
    reader = state(
        at and f"http://{at}", {**KEYS, "HTTP_PROXY": aws.url}, http_proxy=aws.url, no_proxy=exceptions
    )

    assert reader._connected().meta.config.proxies == {}


def test_an_empty_proxy_takes_the_environments_away(aws: Aws) -> None:
    reader = state("http://s3.test", {**KEYS, "HTTP_PROXY": aws.url}, http_proxy="")

    assert reader._connected().meta.config.proxies == {}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody signed but itself; beside it its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "played S3")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    directory = tmp_path_factory.mktemp("tls")
    (directory / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return directory / "ca.pem"


@pytest.fixture
def tls(certificate: Path) -> Iterator[Aws]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    server = Aws(context)
    yield server
    server.close()


def test_certificates_are_checked_as_the_configuration_says(tls: Aws, certificate: Path) -> None:
    role, here = {"role_arn": ROLE}, certificate.parent

    assert state(tls.url, directory=here, custom_ca_bundle="ca.pem", assume_role=role).read().content == STATE
    assert state(tls.url, {**KEYS, "AWS_CA_BUNDLE": "ca.pem"}, directory=here).read().content == STATE
    heard = len(tls.heard)
    with pytest.raises(CloudUnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
        state(tls.url, max_retries=1).read()
    assert len(tls.heard) == heard


def test_certificates_are_not_checked_where_the_configuration_says_so(tls: Aws) -> None:
    assert state(tls.url, insecure=True, assume_role={"role_arn": ROLE}).read().content == STATE


# What is said instead


@pytest.mark.row(23)
@pytest.mark.parametrize(("status", "code"), [(400, "ExpiredToken"), (403, "RequestExpired")])
def test_expired_credentials_are_told_apart(aws: Aws, status: int, code: str) -> None:
    """Row 23: a class of its own, with what to do."""
    aws.s3 = failure(status, code, "The provided token has expired.")

    with pytest.raises(CredentialsExpiredError, match="has expired") as caught:
        state(aws.url).read()

    assert "new credentials" in (caught.value.advice or "")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "AccessDenied"),
        (403, "InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch"),
        (400, "InvalidToken"),
        (401, "Unauthorized"),
    ],
)
def test_refused_credentials_need_a_person(aws: Aws, status: int, code: str) -> None:
    aws.s3 = failure(status, code)

    with pytest.raises(CredentialsMissingError, match=f"s3://states/{KEY}.*{code}") as caught:
        state(aws.url).read()

    assert caught.value.remedy is Remedy.PERSON


@pytest.mark.row(24)
@pytest.mark.parametrize(
    ("status", "code"),
    [(503, "SlowDown"), (500, "InternalError"), (503, "ServiceUnavailable"), (429, "TooManyRequests")],
)
def test_a_throttled_or_failing_cloud_is_tried_again_once_and_then_by_the_next_check(
    aws: Aws, status: int, code: str
) -> None:
    """Row 24: throttling and 5xx are an error to retry, and no state."""
    aws.s3 = failure(status, code)

    with pytest.raises(CloudThrottledError) as caught:
        state(aws.url).read()

    assert caught.value.remedy is Remedy.RETRY
    assert len(aws.heard) == 2


@pytest.mark.parametrize(("config", "attempts"), [({"max_retries": 1}, 1), ({"max_retries": 3}, 3)])
def test_the_configuration_may_say_how_often(aws: Aws, config: Any, attempts: int) -> None:
    aws.s3 = failure(500, "InternalError")

    with pytest.raises(CloudThrottledError):
        state(aws.url, **config, retry_mode="adaptive").read()

    assert len(aws.heard) == attempts


def test_a_failure_that_passes_is_not_told(aws: Aws) -> None:
    def first_fails(request: Request) -> Answer:
        return (the_state if len(aws.heard) > 1 else failure(500, "InternalError"))(request)

    aws.s3 = first_fails

    assert state(aws.url).read().content == STATE


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "InvalidObjectState"),
        (400, "InvalidRequest"),
        (400, "KMS.DisabledException"),
        (405, "MethodNotAllowed"),
        (418, "SomethingOfNextYear"),
    ],
)
def test_what_no_credentials_would_change_is_about_the_state(aws: Aws, status: int, code: str) -> None:
    aws.s3 = failure(status, code)

    with pytest.raises(StateUnreadableError, match=f"s3://states/{KEY}.*{code}"):
        state(aws.url).read()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"bucket": "no bucket!"}, "Invalid bucket name"),
        ({"region": "no region!"}, "supported format"),
        ({"assume_role": {"role_arn": "arn"}}, "RoleArn"),
    ],
)
def test_what_aws_would_never_take_is_about_the_state(aws: Aws, config: Any, said: str) -> None:
    with pytest.raises(StateUnreadableError, match=said):
        state(aws.url, **config).read()

    assert aws.heard == []


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (403, "AccessDenied", CredentialsMissingError),
        (400, "ValidationError", CredentialsMissingError),
        (403, "ExpiredToken", CredentialsExpiredError),
        (400, "Throttling", CloudThrottledError),
    ],
)
def test_a_role_that_is_not_given_is_about_credentials(
    aws: Aws, caplog: pytest.LogCaptureFixture, status: int, code: str, error: Any
) -> None:
    """Said once: botocore would log it, too, and not redacted."""
    aws.sts = lambda _: sts_failure(status, code)

    with pytest.raises(error, match=f"AssumeRole.*{code}|{code}.*AssumeRole"):
        state(aws.url, assume_role={"role_arn": ROLE}).read()

    assert aws.asked_of("s3") == []
    assert caplog.records == []


@pytest.mark.parametrize(
    ("environment", "config"),
    [
        ({}, {}),
        ({}, {"assume_role": {"role_arn": ROLE}}),
        ({}, {"profile": "no-such-profile"}),
        ({"AWS_PROFILE": "no-such-profile"}, {}),
        ({"AWS_ACCESS_KEY_ID": "AKIAX"}, {}),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "no-such-token", "AWS_ROLE_ARN": ROLE}, {}),
        (KEYS, {"assume_role_with_web_identity": {"role_arn": ROLE, "web_identity_token_file": "none"}}),
    ],
)
def test_half_credentials_and_wrong_names_are_missing_credentials(
    aws: Aws, environment: Any, config: Any
) -> None:
    with pytest.raises(CredentialsMissingError):
        state(aws.url, environment, **config).read()

    assert aws.heard == []


def test_credentials_that_say_when_they_expire_and_have_are_expired(aws: Aws, tmp_path: Path) -> None:
    printed = {
        "Version": 1,
        "AccessKeyId": "AKIAX",
        "SecretAccessKey": "x",
        "SessionToken": "t",
        "Expiration": "2020-01-01T00:00:00Z",
    }
    (tmp_path / "helper.py").write_text(f"print({json.dumps(json.dumps(printed))})", encoding="utf-8")
    files(tmp_path, config=f"[default]\ncredential_process = {sys.executable} helper.py\n")

    with pytest.raises(CredentialsExpiredError):
        state(aws.url, {"AWS_CONFIG_FILE": "config"}, directory=tmp_path, timeout=5).read()


def test_a_cloud_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(CloudUnreachableError) as caught:
        state(NOWHERE).read()

    assert caught.value.remedy is Remedy.RETRY


def test_a_cloud_that_hangs_is_left_after_its_attempts(aws: Aws) -> None:
    aws.hold = threading.Event()
    started = time.monotonic()

    with pytest.raises(CloudUnreachableError):
        state(aws.url, timeout=0.3, max_retries=1).read()

    assert time.monotonic() - started < 3


# A body that is not the object


def test_a_truncated_answer_is_no_state(aws: Aws) -> None:
    aws.s3 = lambda _: Answer(body=STATE[:10], headers={"ETag": ETAG, "Connection": "close"}, cut=30)

    with pytest.raises(CloudUnreachableError) as caught:
        state(aws.url).read()

    assert caught.value.remedy is Remedy.RETRY


def test_a_body_that_stops_coming_is_left(aws: Aws) -> None:
    aws.s3 = lambda _: Answer(body=STATE[:10], cut=30)
    started = time.monotonic()

    with pytest.raises(CloudUnreachableError):
        state(aws.url, timeout=0.3).read()

    assert time.monotonic() - started < 3


def test_a_body_with_another_checksum_is_no_state(aws: Aws) -> None:
    aws.s3 = lambda _: Answer(body=STATE, headers={"x-amz-checksum-crc32": "AAAAAA=="})

    with pytest.raises(CloudUnreachableError, match="checksum"):
        state(aws.url).read()
    assert state(aws.url, skip_s3_checksum=True).read().content == STATE
    asked = [request.headers.get("x-amz-checksum-mode") for request in aws.heard]
    assert asked == ["ENABLED", None]


@pytest.mark.parametrize("cut", [0, None])
def test_a_state_over_the_cap_is_refused(aws: Aws, monkeypatch: pytest.MonkeyPatch, cut: int | None) -> None:
    """Whether its length is announced or not."""
    monkeypatch.setattr("driftwatch.aws.state.LARGEST_BYTES", 2 * 1024 * 1024)
    aws.s3 = lambda _: Answer(body=b"x" * (2 * 1024 * 1024 + 1), cut=cut, headers={"Connection": "close"})
    reader = state(aws.url)

    with pytest.raises(StateUnreadableError, match="larger than 2 MiB"):
        reader.read()
    aws.s3 = lambda _: Answer(body=b"x" * 2 * 1024 * 1024, cut=cut, headers={"Connection": "close"})
    assert len(reader.read().content or b"") == 2 * 1024 * 1024


# What is not shown, and what is not loaded


@pytest.mark.row(68)
def test_no_secret_is_in_an_error_or_a_representation(aws: Aws) -> None:
    """Row 68: also where the answer repeats it."""
    secret, token = "canary-state-secret", "canary-state-token"
    aws.s3 = failure(403, "SignatureDoesNotMatch", f"{secret} {token} AKIAIOSFODNN7EXAMPLE")
    reader = state(aws.url, access_key="AKIAIOSFODNN7EXAMPLE", secret_key=secret, token=token)

    with pytest.raises(CredentialsMissingError) as caught:
        reader.read()
    aws.s3 = failure(400, "InvalidRequest", f"{secret} {token} AKIAIOSFODNN7EXAMPLE")
    with pytest.raises(StateUnreadableError) as other:
        reader.read()

    said = [repr(reader), repr(StoredState(etag=ETAG, content=b"canary-content"))]
    for error in (caught.value, other.value):
        said += [error.message, str(error.advice), str(error.detail)]
    for canary in (secret, token, "AKIAIOSFODNN7EXAMPLE", "canary-content"):
        assert canary not in " ".join(said)


def test_a_refused_argument_does_not_tell_its_value() -> None:
    with pytest.raises(EngineError) as caught:
        state(NOWHERE, no_such_argument="canary-value")

    assert "canary-value" not in caught.value.message


def test_botocore_is_imported_with_the_first_read_only() -> None:
    code = (
        "import sys, pathlib; from driftwatch.aws import S3State;"
        "S3State({'bucket': 'b', 'key': 'k'}, 'default', {}, directory=pathlib.Path('/'));"
        "assert not {'boto3', 'botocore', 'urllib3'} & sys.modules.keys()"
    )

    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# What terraform wrote


BACKEND = """
terraform {{
  backend "s3" {{
    bucket                      = "states"
    key                         = "written/terraform.tfstate"
    region                      = "eu-west-1"
    workspace_key_prefix        = "teams/a"
    use_path_style              = true
    encrypt                     = true
    skip_credentials_validation = true
    skip_requesting_account_id  = true
    shared_credentials_files    = ["credentials"]
    profile                     = "writer"
    endpoints                   = {{ s3 = "{endpoint}", sts = "{endpoint}" }}
    assume_role                 = {{ role_arn = "{role}", tags = {{ team = "a" }} }}
  }}
}}
resource "terraform_data" "network" {{ input = terraform.workspace }}
"""


def test_what_terraform_wrote_is_read_as_terraform_reads_it(
    moto: str, s3: Any, tmp_path: Path, terraform_binary: Path
) -> None:
    """Through the backend as `init` left it: the lineage and the serial that `state pull` tells."""
    (tmp_path / "main.tf").write_text(BACKEND.format(endpoint=moto, role=ROLE), encoding="utf-8")
    files(tmp_path, credentials=profile("writer", "AKIAWRITER"))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "CHECKPOINT_DISABLE": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }

    def terraform(*arguments: str) -> bytes:
        done = subprocess.run(
            [str(terraform_binary), *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def as_terraform_pulls(workspace: str) -> StoredState:
        backend = backend_of(tmp_path / ".terraform")
        assert backend.type == "s3"
        stored = S3State(backend.config, workspace, environment, directory=tmp_path).read()
        assert stored.content is not None
        pulled = identity_of(terraform("state", "pull"), "pulled")
        assert pulled is not None
        read = identity_of(stored.content, "stored")
        assert read is not None
        assert read.is_named_as(pulled)  # terraform writes it anew, so that its bytes may differ
        return stored

    terraform("init", "-input=false")
    empty = S3State(backend_of(tmp_path / ".terraform").config, "default", environment, directory=tmp_path)
    assert empty.read() == StoredState(etag=None, content=b"")
    terraform("apply", "-auto-approve", "-input=false")
    first = as_terraform_pulls("default")
    terraform("workspace", "new", "prod")
    terraform("apply", "-auto-approve", "-input=false")
    second = as_terraform_pulls("prod")

    assert first.etag != second.etag
    assert identity_of(first.content or b"", "first") != identity_of(second.content or b"", "second")
    assert empty.read(first.etag).content is None
