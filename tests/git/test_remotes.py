"""Who is asked, with which credentials, and what their refusals mean."""

from __future__ import annotations

import base64
import os
import socket
import threading
import time
from contextlib import nullcontext, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from pydantic import SecretStr

from driftwatch.errors import (
    DriftwatchError,
    Remedy,
    RemoteRefusedError,
    RemoteUnreachableError,
    UnsafeRepositoryError,
)
from driftwatch.git import remote
from driftwatch.log import redact

from .conftest import GitHttp, MakeMirror, Upstream

if TYPE_CHECKING:
    from driftwatch.git import Mirror

TOKEN = "canary-token-8f31c2d9"
PAIR = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()


@pytest.mark.row(31)
def test_a_remote_that_refuses_connections_leaves_the_last_good_commit(
    upstream: Upstream, make_mirror: MakeMirror
) -> None:
    """Row 31: nothing listens there; the head stays, and the error says to try again."""
    good = make_mirror(upstream.url).fetch().commit
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    mirror = make_mirror(f"http://127.0.0.1:{port}/x.git")
    with pytest.raises(RemoteUnreachableError, match="cannot be reached") as caught:
        mirror.fetch()
    assert caught.value.remedy is Remedy.RETRY
    assert mirror.head() == good
    with mirror.checkout(good) as checkout:
        assert (checkout / "envs/prod/main.tf").exists()


@pytest.mark.row(31)
def test_a_remote_that_never_answers_is_left_at_the_deadline(
    upstream: Upstream, make_mirror: MakeMirror, silent_port: int
) -> None:
    """Row 31: the connection is taken and nothing comes; git and its helper are gone afterwards."""
    good = make_mirror(upstream.url).fetch().commit
    mirror = make_mirror(f"http://127.0.0.1:{silent_port}/x.git", timeout=timedelta(seconds=1))
    started = time.monotonic()
    with pytest.raises(RemoteUnreachableError, match=r"did not answer|cannot be reached"):
        mirror.fetch()
    assert time.monotonic() - started < 5
    assert mirror.head() == good
    left = [child.name() for child in psutil.Process().children(recursive=True)]
    assert not [name for name in left if name.startswith("git")], left


@pytest.mark.row(31)
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_remote_in_trouble_is_unreachable(
    make_mirror: MakeMirror, host: GitHttp, upstream: Upstream, status: int
) -> None:
    """Row 31: a Git host that answers with its own errors heals by itself."""
    host.answer = (status, {})
    with pytest.raises(RemoteUnreachableError):
        make_mirror(host.url("upstream/.git")).fetch()


def test_https_hosts_are_given_the_token_as_a_header(
    upstream: Upstream, make_mirror: MakeMirror, host: GitHttp
) -> None:
    host.wanted = f"Basic {PAIR}"
    mirror = make_mirror(host.url("upstream/.git"), token=SecretStr(TOKEN))
    assert mirror.fetch().commit == upstream.head()
    assert {given for _, given in host.asked} == {f"Basic {PAIR}"}


@pytest.mark.row(33)
@pytest.mark.parametrize("token", [None, SecretStr("the-wrong-token")])
def test_refused_credentials_are_a_matter_for_a_person(
    upstream: Upstream, make_mirror: MakeMirror, host: GitHttp, token: SecretStr | None
) -> None:
    """Row 33: revoked or missing credentials are told apart from a remote that is away."""
    good = make_mirror(upstream.url).fetch().commit
    host.wanted = f"Basic {PAIR}"
    mirror = make_mirror(host.url("upstream/.git"), token=token)
    with pytest.raises(RemoteRefusedError) as caught:
        mirror.fetch()
    assert caught.value.remedy is Remedy.PERSON
    assert "the-wrong-token" not in str(caught.value.report())
    assert mirror.head() == good


@pytest.mark.row(33)
def test_a_repository_that_is_not_there_is_refused(make_mirror: MakeMirror, host: GitHttp) -> None:
    """Row 33: the host answers that it has no such repository."""
    with pytest.raises(RemoteRefusedError):
        make_mirror(host.url("nothing.git")).fetch()


@pytest.mark.row(67)
@pytest.mark.parametrize("token", [None, SecretStr(TOKEN)])
def test_no_redirect_is_followed(
    make_mirror: MakeMirror, host: GitHttp, tmp_path: Path, token: SecretStr | None
) -> None:
    """Row 67: neither the token nor anything else goes where nobody here has said."""
    with GitHttp(tmp_path) as thief:
        threading.Thread(target=thief.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        host.answer = (302, {"Location": thief.url("upstream/.git/info/refs?service=git-upload-pack")})
        with pytest.raises(RemoteRefusedError, match="redirects") as caught:
            make_mirror(host.url("upstream/.git"), token=token).fetch()
        assert "final address" in (caught.value.advice or "")
        assert thief.asked == []
        thief.shutdown()


@pytest.mark.row(67)
@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/info/refs?service=git-upload-pack",
        "http://[fd00:ec2::254]/info/refs?service=git-upload-pack",
        "file:///etc/info/refs?service=git-upload-pack",
    ],
)
def test_no_redirect_leads_to_metadata_or_to_a_file(
    make_mirror: MakeMirror, host: GitHttp, location: str
) -> None:
    """Row 67: the same, where it would do harm."""
    host.answer = (302, {"Location": location})
    with pytest.raises(RemoteRefusedError, match="redirects"):
        make_mirror(host.url("upstream/.git")).fetch()


def stands_for(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Every name has these addresses, as far as driftwatch is told."""
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda _host, port, **_: [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (it, port)) for it in addresses
        ],
    )


@pytest.mark.row(67)
@pytest.mark.parametrize("url", ["http://git.test/a.git", "ssh://git@git.test/a.git", "git@git.test:a.git"])
@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "fe80::1", "0.0.0.0"])  # noqa: S104
def test_a_name_that_stands_for_metadata_is_not_asked(
    make_mirror: MakeMirror, monkeypatch: pytest.MonkeyPatch, url: str, address: str
) -> None:
    """Row 67: the name is anybody's, and what it stands for is looked at before each fetch."""
    stands_for(monkeypatch, "192.0.2.1", address)
    with pytest.raises(UnsafeRepositoryError, match="metadata"):
        make_mirror(url).fetch()


@pytest.mark.row(67)
@pytest.mark.parametrize("url", ["http://git.test/a.git", "ssh://git@git.test/a.git", "git@git.test:a.git"])
@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_a_name_that_somebody_has_made_to_point_here_is_not_asked(
    make_mirror: MakeMirror, monkeypatch: pytest.MonkeyPatch, url: str, address: str
) -> None:
    """Row 67: this machine's own services are meant only where the configuration says so in as many words."""
    stands_for(monkeypatch, "192.0.2.1", address)
    with pytest.raises(UnsafeRepositoryError, match="points to this machine, which its name does not say"):
        make_mirror(url).fetch()


@pytest.mark.row(67)
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "[::1]"])
def test_this_machine_is_asked_where_it_is_written_so(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    stands_for(monkeypatch, "127.0.0.1")
    assert remote.pinned(f"http://{host}:8080/a.git", name="platform", shown="it") == ()


@pytest.mark.row(67)
@pytest.mark.parametrize(
    ("url", "variables", "refused"),
    [
        ("http://git.test/a.git", {}, True),
        ("https://git.test/a.git", {}, True),
        ("https://git.test/a.git", {"http_proxy": "http://proxy.test"}, True),
        ("https://git.test/a.git", {"HTTPS_PROXY": "http://proxy.test"}, False),
        ("http://git.test/a.git", {"http_proxy": "http://proxy.test"}, False),
        ("http://git.test/a.git", {"HTTP_PROXY": "http://proxy.test"}, True),
        ("https://git.test/a.git", {"all_proxy": "http://proxy.test"}, False),
        ("https://git.test/a.git", {"https_proxy": "http://proxy.test", "no_proxy": ".test"}, True),
        ("ssh://git@git.test/a.git", {}, False),
    ],
)
def test_a_name_without_an_address_is_left_to_nobody_but_a_proxy(
    monkeypatch: pytest.MonkeyPatch, url: str, variables: dict[str, str], refused: bool
) -> None:
    """Row 67: it may have one a moment later, and that one nobody would have looked at."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RemoteUnreachableError, match="has no address") if refused else nullcontext():
        assert remote.pinned(url, name="platform", shown=url) == ()


@pytest.mark.row(67)
def test_git_connects_to_the_address_that_was_looked_at(
    upstream: Upstream, make_mirror: MakeMirror, host: GitHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 67: and to none that the name stands for a moment later; this one stands for none elsewhere."""
    stands_for(monkeypatch, "127.0.0.1")
    monkeypatch.setattr(remote, "refusal", lambda _host, _addresses: None)  # a test serves nowhere else
    mirror = make_mirror(f"http://upstream.test:{host.server_port}/upstream/.git")
    assert mirror.fetch().commit == upstream.head()


def test_a_token_never_leaves_in_clear(make_mirror: MakeMirror) -> None:
    with pytest.raises(UnsafeRepositoryError, match="in clear"):
        make_mirror("http://git.example.com/x.git", token=SecretStr(TOKEN)).fetch()


def while_asking(host: GitHttp, mirror: Mirror) -> tuple[list[str], dict[str, str]]:
    """Fetches; gives the command lines of all git processes while it lasts, and the helper's environment."""
    host.pause.clear()
    thread = threading.Thread(target=mirror.fetch)
    thread.start()
    arguments: list[str] = []
    environment: dict[str, str] = {}
    while not environment and thread.is_alive():
        with suppress(psutil.Error):  # a process that ends while it is looked at
            for child in psutil.Process().children(recursive=True):
                arguments.append(" ".join(child.cmdline()))
                if "remote-http" in arguments[-1] and host.asked:
                    environment = child.environ()
    host.pause.set()
    thread.join()
    return arguments, environment


@pytest.mark.row(68)
def test_the_token_stands_in_no_argument_and_no_file(
    upstream: Upstream, make_mirror: MakeMirror, host: GitHttp, tmp_path: Path
) -> None:
    """Row 68, the git part: only the environment of the git process that needs it holds the token."""
    host.wanted = f"Basic {PAIR}"
    mirror = make_mirror(host.url("upstream/.git"), token=SecretStr(TOKEN))
    arguments, environment = while_asking(host, mirror)
    assert any(PAIR in value for value in environment.values())
    assert mirror.head() == upstream.head()
    files = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    everything = " ".join(arguments).encode() + b"".join(path.read_bytes() for path in files)
    assert TOKEN.encode() not in everything
    assert PAIR.encode() not in everything
    assert redact(f"{TOKEN} {PAIR}") == "[redacted] [redacted]"
    assert TOKEN not in os.environ.values()


def test_git_heeds_nothing_of_the_environment(
    upstream: Upstream,
    make_mirror: MakeMirror,
    host: GitHttp,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither GIT_* nor a person's settings, nor secrets that are none of git's business, get to a child."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-aws")
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.gitproxy'='touch marker'")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "url.file:///nowhere.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "http://")
    mirror = make_mirror(host.url("upstream/.git"))
    _, seen = while_asking(host, mirror)
    assert mirror.head() == upstream.head()
    assert "canary-aws" not in seen.values()
    assert seen["HOME"] == str(tmp_path / "state/platform")
    assert not {"GIT_TRACE", "GIT_SSH_COMMAND"} & seen.keys()
    assert not (tmp_path / "trace").exists()


FAKE_SSH = """#!/bin/sh
printf '%s\\n' "$@" > "{log}"
env > "{log}.env"
{say}
for last; do :; done
exec sh -c "$last"
"""


def fake_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say: str = "") -> Path:
    """Puts an `ssh` on PATH that notes how it is called and then serves the path from this machine."""
    log = tmp_path / "ssh.log"
    script = tmp_path / "bin/ssh"
    script.parent.mkdir()
    script.write_text(FAKE_SSH.format(log=log, say=say))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    return log


@pytest.mark.parametrize("form", ["ssh://git@git.example.com{}", "git@git.example.com:{}"])
def test_ssh_asks_nobody_and_trusts_no_unknown_host(
    upstream: Upstream, make_mirror: MakeMirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    log = fake_ssh(tmp_path, monkeypatch)
    mirror = make_mirror(
        form.format(upstream.path),
        ssh_key=Path("/keys/deploy key"),
        ssh_known_hosts=Path("/keys/known 100% hosts"),
    )
    assert mirror.fetch().commit == upstream.head()
    arguments = log.read_text().splitlines()
    assert arguments[arguments.index("-i") + 1] == "/keys/deploy key"
    assert arguments[arguments.index("-F") + 1] == "/dev/null"
    assert {
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "StrictHostKeyChecking=yes",
        'UserKnownHostsFile="/keys/known 100%% hosts"',
        "ForwardAgent=no",
    } <= set(arguments)
    assert "git@git.example.com" in arguments


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ("git@git.example.com: Permission denied (publickey).", RemoteRefusedError),
        ("Host key verification failed.", RemoteRefusedError),
        ("ERROR: Repository not found.", RemoteRefusedError),
        ('Load key "/keys/deploy": bad permissions', RemoteRefusedError),
        (
            "ssh: Could not resolve hostname git.example.com: Name or service not known",
            RemoteUnreachableError,
        ),
        ("ssh: connect to host git.example.com port 22: Connection refused", RemoteUnreachableError),
        ("ssh: connect to host git.example.com port 22: Connection timed out", RemoteUnreachableError),
        ("ssh: connect to host git.example.com port 22: Network is unreachable", RemoteUnreachableError),
        ("Connection closed by 203.0.113.7 port 22", RemoteUnreachableError),
        ("kex_exchange_identification: read: Connection reset by peer", RemoteUnreachableError),
    ],
)
def test_what_ssh_says_is_understood(
    make_mirror: MakeMirror,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    says: str,
    error: type[DriftwatchError],
) -> None:
    fake_ssh(tmp_path, monkeypatch, say=f"echo '{says}' >&2; exit 255")
    with pytest.raises(error):
        make_mirror("git@git.example.com:x.git").fetch()


@pytest.mark.row(38)
@pytest.mark.parametrize(
    "settings",
    [
        {"branch": "--upload-pack=touch {marker}"},
        {"branch": "-upload-pack"},
        {"branch": "main:refs/heads/other"},
        {"branch": "../../../etc/passwd"},
        {"branch": "main\n--upload-pack=x"},
        {"branch": "main@{{1}}"},
        {"branch": ""},
        {"url": "--upload-pack=touch {marker}"},
        {"url": "-x"},
        {"url": "ext::sh -c touch% {marker}"},
        {"url": "fd::7"},
        {"url": "git://127.0.0.1/x.git"},
        {"url": "ssh://-oProxyCommand=touch {marker}/x"},
        {"url": "-oProxyCommand=touch@host:x"},
        {"url": "git@-oProxyCommand=x:y"},
        {"url": "https://user:secret@git.example.com/x.git"},
        {"url": "relative/path"},
        {"url": "\0/x"},
    ],
    ids=str,
)
def test_what_looks_like_an_option_is_refused_before_git_starts(
    upstream: Upstream,
    make_mirror: MakeMirror,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
) -> None:
    """Row 38: options, transports that run programs and odd refs get to no process; the marker stays away."""
    marker = tmp_path / "marker"
    monkeypatch.setenv("PATH", "/nowhere")
    given = {"url": upstream.url, **{key: value.format(marker=marker) for key, value in settings.items()}}
    mirror = make_mirror(**given)
    with pytest.raises(UnsafeRepositoryError) as caught:
        mirror.fetch()
    assert "user:secret" not in str(caught.value.report())
    assert mirror.head() is None
    assert not marker.exists()
    assert not (tmp_path / "state").exists()


@pytest.mark.row(38)
@pytest.mark.parametrize(
    "commit", ["--upload-pack=touch marker", "HEAD", "main", "-h", "", "0" * 39, "0" * 41, "A" * 40]
)
def test_only_a_full_hash_is_a_commit(upstream: Upstream, make_mirror: MakeMirror, commit: str) -> None:
    """Row 38: what is no hash is not given to git, whichever method it comes in by."""
    mirror = make_mirror(upstream.url)
    mirror.fetch()
    for use in (
        lambda: mirror.read(commit, "a"),
        lambda: mirror.tree(commit, ["."]),
        lambda: mirror.discover(commit, ["**"]),
        lambda: mirror.submodules(commit),
        lambda: mirror.checkout(commit).__enter__(),
    ):
        with pytest.raises(UnsafeRepositoryError, match="not a full commit hash"):
            use()


def test_an_unknown_commit_is_an_error_of_the_repository(upstream: Upstream, make_mirror: MakeMirror) -> None:
    mirror = make_mirror(upstream.url)
    mirror.fetch()
    with pytest.raises(DriftwatchError, match="1234567"):
        mirror.read("1234567" + "0" * 33, "a")
