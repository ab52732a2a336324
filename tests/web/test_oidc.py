"""Tokens of CI jobs: whose they are, by real keys of a local issuer, and in how many ways one is not good."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import structlog
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from driftwatch.config.hooks import GenericHookSettings, OidcSettings
from driftwatch.web import oidc
from driftwatch.web.door import Refusal
from driftwatch.web.oidc import IssuerKeys, JobTokens, KeysUnavailableError, fetch
from tests.notify.test_webhook import self_signed
from tests.web.hooks_at_hand import GENERIC_SECRET, Place, all_hooks, encoded, generic, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

AUDIENCE = "driftwatch.example.com"
BODY = encoded({"repository": "platform", "commit": "0f3d" * 10})


class Keys:
    """Key pairs, made once: real ones take a while."""

    ours = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    curve = ec.generate_private_key(ec.SECP256R1())
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  (to be refused)


def jwk(key: Any, kid: str, **other: Any) -> dict[str, Any]:
    is_rsa = isinstance(key, rsa.RSAPrivateKey)
    sort = jwt.algorithms.RSAAlgorithm if is_rsa else jwt.algorithms.ECAlgorithm
    made = sort.to_jwk(key.public_key(), as_dict=True)
    return {**made, "kid": kid, "use": "sig", **other}


class Issuer:
    """Plays a CI system's issuer on loopback: its description and its keys."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.keys: list[Any] = [
            jwk(Keys.ours, "r1", alg="RS256"),
            jwk(Keys.curve, "e1"),
            jwk(Keys.weak, "w1"),
            {"kty": "oct", "kid": "o1", "k": "Y2FuYXJ5", "alg": "HS256"},
        ]
        self.answers: dict[str, Callable[[Any], None]] = {}
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                if self.path in issuer.answers:
                    issuer.answers[self.path](self)
                    return
                content = json.dumps(issuer.document(self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Nothing: the tests look at what was asked."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.jwks_uri = f"{self.url}/keys"
        self.says = self.url

    def document(self, path: str) -> Any:
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.says, "jwks_uri": self.jwks_uri}
        return {"keys": self.keys}

    def entry(self, **other: Any) -> OidcSettings:
        words: dict[str, Any] = {
            "name": "platform-ci",
            "issuer": self.url,
            "audience": AUDIENCE,
            "claims": {"repository": ("acme/platform",), "ref": ("refs/heads/main", "refs/heads/next")},
            "repositories": ("platform",),
        }
        return OidcSettings(**(words | other))

    def claims(self, **other: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "repo:acme/platform:ref:refs/heads/main",
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "jti": f"{time.monotonic_ns()}",
            "repository": "acme/platform",
            "ref": "refs/heads/main",
        } | other
        return {key: value for key, value in claims.items() if value is not None}

    def token(self, *, key: Any = None, kid: str = "r1", alg: str = "RS256", **claims: Any) -> str:
        return jwt.encode(self.claims(**claims), key or Keys.ours, algorithm=alg, headers={"kid": kid})


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    playing = Issuer()
    thread = threading.Thread(target=playing.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield playing
    playing.server.shutdown()
    playing.server.server_close()
    thread.join()


@pytest.fixture
def place(issuer: Issuer) -> Place:
    return place_of(issuer.entry())


def place_of(*entries: OidcSettings, secret: str | None = None) -> Place:
    section = GenericHookSettings(secret=SecretStr(secret) if secret else None, oidc=entries)
    return Place(all_hooks(generic=section))


def sent(place: Place, token: str, body: bytes = BODY) -> tuple[int, Any]:
    answer = place.receive("generic", body, {"Authorization": f"Bearer {token}"})
    return answer.status, answer.document


def test_a_job_may_say_what_its_entry_lists(issuer: Issuer, place: Place) -> None:
    assert sent(place, issuer.token())[0] == 202
    assert sent(place, issuer.token(key=Keys.curve, kid="e1", alg="ES256", ref="refs/heads/next"))[0] == 202
    assert sent(place, issuer.token(aud=["others", AUDIENCE]))[0] == 202
    assert place.taken.named == ["platform"] * 3
    assert {via for _, via in place.taken.hints} == {"generic:platform-ci"}
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]


def test_over_http_and_beside_a_secret(issuer: Issuer) -> None:
    with serving(place_of(issuer.entry(), secret=GENERIC_SECRET)) as place:
        token = issuer.token()
        answer = place.post("generic", BODY, {"Authorization": f"bearer {token}"})
        assert answer.json() == {"hints": [{"repository": "platform", "pull_request": None}]}
        assert place.post("generic", BODY, generic(BODY)).status_code == 202
        refused = place.post("generic", BODY, {"Authorization": "Bearer canary"})
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    with serving(place_of(issuer.entry())) as place:
        assert place.post("generic", BODY, generic(BODY)).status_code == 401


def test_a_job_may_not_speak_of_other_repositories(issuer: Issuer, place: Place) -> None:
    status, document = sent(place, issuer.token(), encoded({"repository": "billing"}))
    assert (status, document["error"]) == (403, "not_theirs")
    assert place.taken.hints == []
    assert place.taken.notes[-1]["outcome"] == "refused: not_theirs"


def test_several_entries_of_one_issuer_are_each_for_their_own(issuer: Issuer) -> None:
    place = place_of(
        issuer.entry(),
        issuer.entry(
            name="b", audience="b", claims={"repository": ("acme/billing",)}, repositories=("billing",)
        ),
    )
    billing = encoded({"repository": "billing"})
    assert sent(place, issuer.token(aud="b", repository="acme/billing"), billing)[0] == 202
    assert sent(place, issuer.token(aud="b", repository="acme/platform"), billing)[0] == 401
    assert sent(place, issuer.token(aud=AUDIENCE, repository="acme/billing"), billing)[0] == 401
    assert sent(place, issuer.token(), billing)[0] == 403
    assert place.taken.named == ["billing"]


NOW = time.time()


@pytest.mark.row(56)
@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "https://elsewhere.example"},
        {"iss": None},
        {"iss": ["a"]},
        {"aud": "another"},
        {"aud": None},
        {"aud": []},
        {"exp": int(NOW) - 60},
        {"exp": None},
        {"exp": True},
        {"exp": "9999999999"},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": 10**400},
        {"nbf": float("nan")},
        {"iat": -1},
        {"nbf": int(NOW) + 3600},
        {"iat": int(NOW) + 3600},
        {"iat": None},
        {"jti": None},
        {"jti": ""},
        {"jti": 5},
        {"repository": "acme/other"},
        {"repository": ["acme/platform"]},
        {"repository": None},
        {"ref": "refs/heads/main2"},
        {"ref": None},
    ],
    ids=lambda wrong: next(iter(wrong)),  # nothing of the time, which each worker has its own of
)
def test_a_token_that_says_something_else_is_not_good(
    issuer: Issuer, place: Place, wrong: dict[str, Any]
) -> None:
    """Row 56: signed by the issuer, and of another time, for others, or of another job."""
    payload = issuer.claims(**wrong)
    signer = jwt.PyJWS()
    token = signer.encode(json.dumps(payload).encode(), Keys.ours, algorithm="RS256", headers={"kid": "r1"})
    status, document = sent(place, token)
    assert (status, document["error"]) == (401, "unauthorized")
    assert place.taken.hints == []
    assert [note["outcome"] for note in place.taken.notes] == ["refused: unauthorized"]


def unsigned(issuer: Issuer) -> str:
    return jwt.encode(issuer.claims(), None, algorithm="none", headers={"kid": "r1"})


def by_the_public_key(issuer: Issuer) -> str:
    """The old trick: the public key, as anybody may have it, taken for a shared secret."""
    public = Keys.ours.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    header = {"typ": "JWT", "alg": "HS256", "kid": "r1"}
    signed = b".".join(
        jwt.utils.base64url_encode(json.dumps(part).encode()) for part in (header, issuer.claims())
    )
    digest = hmac.new(public, signed, hashlib.sha256).digest()
    return (signed + b"." + jwt.utils.base64url_encode(digest)).decode()


@pytest.mark.row(56)
@pytest.mark.parametrize(
    "made",
    [
        unsigned,
        by_the_public_key,
        lambda issuer: issuer.token(key=Keys.other),
        lambda issuer: issuer.token(key=Keys.curve, alg="ES256"),
        lambda issuer: issuer.token(kid="e1"),
        lambda issuer: issuer.token(kid="unknown"),
        lambda issuer: issuer.token(kid="w1", key=Keys.weak),
        lambda issuer: issuer.token(alg="RS512"),
        lambda issuer: issuer.token(alg="PS256"),
        lambda issuer: issuer.token(key="Y2FuYXJ5" * 8, kid="o1", alg="HS256"),
        lambda issuer: jwt.encode(issuer.claims(), Keys.ours, algorithm="RS256"),
        lambda issuer: issuer.token() + "x",
        lambda issuer: issuer.token().rpartition(".")[0] + ".",
        lambda issuer: ".".join([issuer.token().split(".")[0], "e30", issuer.token().split(".")[2]]),
        lambda issuer: issuer.token(padding="x" * 20_000),
        lambda _issuer: "",
        lambda _issuer: "..",
        lambda _issuer: "caf\xe9.\xff.x",
    ],
)
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_a_token_that_is_not_the_issuers_is_not_good(
    issuer: Issuer, place: Place, made: Callable[[Issuer], str]
) -> None:
    """Row 56: no signature, another's, by another algorithm, by a key that is too short or unknown."""
    token = made(issuer)
    with structlog.testing.capture_logs() as logs:
        status, document = sent(place, token)
    assert (status, document["error"]) == (401, "unauthorized")
    assert place.taken.hints == []
    if token.strip("."):
        assert token not in repr(logs) + json.dumps(document)


@pytest.mark.row(57)
def test_a_token_is_good_for_once(issuer: Issuer, place: Place) -> None:
    """Row 57: replayed while it lasts; and not remembered for longer than it could be good."""
    token = issuer.token(jti="one")
    assert [sent(place, token)[0] for _ in range(3)] == [202, 409, 409]
    assert sent(place, issuer.token(jti="one", extra="another token with the same id"))[0] == 409
    place.taken.offset += timedelta(seconds=3600)
    assert sent(place, token)[0] == 401
    assert place.taken.named == ["platform"]


def test_clocks_may_differ_a_little(issuer: Issuer, place: Place) -> None:
    now = int(time.time())
    assert sent(place, issuer.token(iat=now + 20, nbf=now + 20))[0] == 202
    assert sent(place, issuer.token(exp=now - 10))[0] == 202


# Where keys come from


def test_keys_are_kept_and_a_new_one_is_found(issuer: Issuer) -> None:
    now = [0.0]
    keys = IssuerKeys(issuer.url, clock=lambda: now[0])
    assert keys.key("r1") is not None
    assert keys.key("e1") is not None
    assert issuer.asked.count("/keys") == 1
    issuer.keys = [jwk(Keys.other, "r2")]
    for _ in range(100):
        assert keys.key("r2") is None
    assert issuer.asked.count("/keys") == 1, "made-up keys are no requests to the issuer"
    now[0] = oidc.AGAIN_SECONDS
    assert keys.key("r2") is not None
    assert keys.key("r1") is None, "a key that was taken back counts no more"


def test_an_issuer_that_is_away_is_bridged_for_a_while(issuer: Issuer) -> None:
    now = [0.0]
    keys = IssuerKeys(issuer.url, clock=lambda: now[0])
    assert keys.key("r1") is not None
    issuer.answers["/keys"] = lambda handler: handler.send_error(500)
    now[0] = oidc.KEYS_SECONDS + 1
    with structlog.testing.capture_logs() as logs:
        assert keys.key("r1") is not None
    assert "answered 500" in logs[0]["event"]
    now[0] = oidc.STALE_SECONDS + 2
    with pytest.raises(KeysUnavailableError):
        keys.key("r1")


def test_without_keys_a_job_is_told_to_come_back(issuer: Issuer, place: Place) -> None:
    issuer.answers["/keys"] = lambda handler: handler.send_error(404)
    token = issuer.token()
    answer = place.receive("generic", BODY, {"Authorization": f"Bearer {token}"})
    assert (answer.status, answer.document["error"]) == (503, "keys_unavailable")
    assert answer.headers["Retry-After"] == "60"


def redirected(to: str) -> Callable[[Any], None]:
    def answer(handler: Any) -> None:
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def written(content: bytes, *, forever: bool = False) -> Callable[[Any], None]:
    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            handler.wfile.write(content)
            while forever:
                handler.wfile.write(b" ")
                time.sleep(0.05)
        except OSError:
            pass  # whoever asked has heard enough

    return answer


@pytest.mark.row(67)
@pytest.mark.parametrize(
    "answer",
    [
        redirected("/elsewhere"),
        redirected("http://169.254.169.254/latest/meta-data/"),
        written(b"x" * (oidc.LARGEST_ANSWER + 70_000)),
        written(b"<html>"),
        written(b"[]"),
        written(b"[" * 100_000),
        written(b'{"keys": 5}'),
        written(b'{"keys": [5, {}, {"kty": "RSA", "kid": "r1"}, {"kty": "EC", "kid": "x", "crv": "P-256"}]}'),
        written(b'{"keys": [{"kty": "oct", "kid": "r1", "k": "Y2FuYXJ5"}]}'),
        written(b"{", forever=True),
    ],
)
def test_an_answer_that_is_no_keys_lets_nobody_in(
    issuer: Issuer, answer: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 67: redirects are not followed; what is too large, too slow or of no use is none."""
    monkeypatch.setattr(oidc, "FETCH_SECONDS", 0.5)
    issuer.answers["/keys"] = answer
    with pytest.raises(KeysUnavailableError):
        IssuerKeys(issuer.url).key("r1")
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]


@pytest.mark.row(67)
@pytest.mark.parametrize(
    "uri",
    [
        "http://169.254.169.254/latest",
        "https://169.254.169.254/latest",
        "https://[fd00:ec2::254]/keys",
        "https://2852039166/keys",
        "file:///etc/passwd",
        "http://keys.example/",
        "ftp://127.0.0.1/",
        5,
    ],
)
def test_an_issuer_does_not_say_where_we_connect_to(
    issuer: Issuer, uri: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 67: what it describes itself with is looked at like what is configured."""
    fetched: list[str] = []
    real = oidc.fetch

    def watched(url: str, *, local: bool) -> dict[str, Any]:
        fetched.append(url)
        return real(url, local=local)

    monkeypatch.setattr(oidc, "fetch", watched)
    issuer.jwks_uri = uri
    with pytest.raises(KeysUnavailableError):
        IssuerKeys(issuer.url).key("r1")
    assert "/keys" not in issuer.asked


def test_an_issuer_speaks_for_itself_alone(issuer: Issuer) -> None:
    issuer.says = "https://token.actions.example"
    with pytest.raises(KeysUnavailableError):
        IssuerKeys(issuer.url).key("r1")
    assert IssuerKeys(issuer.url, f"{issuer.url}/keys").key("r1") is not None


@pytest.mark.row(67)
def test_a_public_issuer_has_no_keys_on_this_machine(issuer: Issuer) -> None:
    """Row 67: loopback only where the issuer itself is written so."""
    with pytest.raises(KeysUnavailableError, match="https"):
        fetch(f"{issuer.url}/keys", local=False)
    with pytest.raises(KeysUnavailableError, match="not on this machine"):
        fetch("https://localhost:1/keys", local=False)
    assert issuer.asked == []


@pytest.mark.row(67)
@pytest.mark.parametrize("address", ["169.254.169.254", "127.0.0.1", "::ffff:169.254.169.254", "0.0.0.0"])  # noqa: S104
def test_a_name_that_leads_to_metadata_or_here_is_not_connected_to(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Row 67: looked at after it is resolved, and connected to just that."""
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda *_args, **_kwargs: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))],
    )
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("connected"))
    with pytest.raises(KeysUnavailableError, match=r"metadata|this machine"):
        fetch("https://issuer.test/keys", local=False)


@pytest.mark.row(67)
@pytest.mark.parametrize(("name", "is_trusted"), [("localhost", True), ("other.test", False)])
def test_keys_come_over_tls_from_who_the_url_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, is_trusted: Any
) -> None:
    """Row 67: the connection goes to an address that was looked at; TLS still asks for the name."""
    certificate = self_signed(tmp_path / "issuer.pem", name)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with over_tls(certificate) as port:
        if is_trusted:
            assert fetch(f"https://localhost:{port}/keys", local=True) == {"keys": []}
        else:
            with pytest.raises(KeysUnavailableError, match="cannot be reached"):
                fetch(f"https://localhost:{port}/keys", local=True)


@contextmanager
def over_tls(certificate: Path) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200)
            self.end_headers()
            self.wfile.write(b'{"keys": []}')

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that distrusts us breaks off, which is what is tested."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = Quiet(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    part=st.integers(0, 2),
    at=st.integers(0, 10_000),
    patch=st.sampled_from(["", "A", "==", ".", "\x00", "ü", "eyJhbGciOiJub25lIn0"]),
    cut=st.integers(0, 40),
)
def test_a_token_that_was_touched_is_good_for_nothing(
    issuer: Issuer, part: int, at: int, patch: str, cut: int
) -> None:
    """Whatever is cut out of it or put into it: a refusal, and nothing else."""
    jobs = _jobs_of(issuer)
    parts = issuer.token().split(".")
    place = at % len(parts[part])
    parts[part] = parts[part][:place] + patch + parts[part][place + cut :]
    touched = ".".join(parts)
    if touched == issuer.token() or _same_bytes(parts, issuer):
        return
    with pytest.raises(Refusal) as refusal:
        jobs.verify(touched, datetime.now(UTC))
    assert refusal.value.status == 401


_known: dict[str, JobTokens] = {}


def _jobs_of(issuer: Issuer) -> JobTokens:
    return _known.setdefault(issuer.url, JobTokens([issuer.entry()]))


def _same_bytes(parts: list[str], issuer: Issuer) -> bool:
    """Whether it is a good token all the same: base64 has several spellings of its last letter."""
    try:
        signature_is_whole = len(jwt.utils.base64url_decode(parts[2])) == 256
        jwt.decode(".".join(parts), Keys.ours.public_key(), algorithms=["RS256"], audience=AUDIENCE)
    except (jwt.PyJWTError, ValueError):
        return False
    return signature_is_whole
