"""Real repositories, made with real git, and mirrors of them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.config.settings import RepositorySettings
from driftwatch.git import Mirror

if TYPE_CHECKING:
    from pathlib import Path

ROOT = 'terraform {\n  backend "local" {}\n}\n'
MODULE = 'variable "name" {}\n'
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@example.com",
    "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@example.com",
    "GIT_ALLOW_PROTOCOL": "file",
}


class Upstream:
    """Somebody's repository: a working copy whose commits are what mirrors fetch."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._commits = 0
        if not path.exists():
            path.mkdir(parents=True)
            self.git("init", "--quiet", "--initial-branch=main")

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    def git(self, *arguments: str, stdin: bytes | None = None, **variables: str) -> str:
        # core.protect*: hostile trees are made here on purpose.
        done = subprocess.run(
            ["git", "-c", "core.protectNTFS=false", "-c", "core.protectHFS=false", *arguments],
            cwd=self.path,
            env=_ENVIRONMENT | variables,
            input=stdin,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode(errors="surrogateescape").strip()

    def write(self, files: dict[str, str | bytes]) -> None:
        for name, content in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def commit(self, files: dict[str, str | bytes] | None = None) -> str:
        """Commits all that is in the directory, plus `files`."""
        self.write(files or {})
        self._commits += 1
        stamp = (NOW + timedelta(seconds=self._commits)).isoformat()
        self.git("add", "--all", "--force", ".")
        self.git(
            *("commit", "--quiet", "--allow-empty", "-m", f"commit {self._commits}"),
            GIT_AUTHOR_DATE=stamp,
            GIT_COMMITTER_DATE=stamp,
        )
        return self.head()

    def head(self, branch: str = "HEAD") -> str:
        return self.git("rev-parse", branch)

    def commit_tree(self, entries: list[tuple[str, str, str, bytes]]) -> str:
        """Commits a tree that no `git add` would make: (mode, type, hash, name), names as raw bytes."""
        tree = b"".join(
            mode.lstrip("0").encode() + b" " + name + b"\0" + bytes.fromhex(blob)
            for mode, _, blob, name in entries
        )
        made = self.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=tree)
        self._commits += 1
        commit = self.git("commit-tree", made, "-m", "hostile", "-p", "HEAD")
        self.git("update-ref", "refs/heads/main", commit)
        return commit

    def blob(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", stdin=content)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(autouse=True)
def _no_pollution(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a careless environment may hold; no git of driftwatch may heed any of it."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
    monkeypatch.setenv("GIT_SSH_COMMAND", "false")
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "ext")


@pytest.fixture(scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: four processes for each of two hundred tests would be felt."""
    made = Upstream(tmp_path_factory.mktemp("template") / "upstream")
    made.commit({"envs/prod/main.tf": ROOT})
    return made.path


@pytest.fixture
def upstream(tmp_path: Path, _template: Path) -> Upstream:
    return Upstream(shutil.copytree(_template, tmp_path / "upstream", symlinks=True))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


MakeMirror = Callable[..., Mirror]


@pytest.fixture
def make_mirror(tmp_path: Path, clock: Clock, stop: threading.Event) -> MakeMirror:
    """Mirrors of any URL, all in one directory unless told otherwise: a second one is a restart."""

    def make(url: str, *, at: str = "state", **settings: Any) -> Mirror:
        given = RepositorySettings.model_construct(
            **{**RepositorySettings(url="/nowhere").__dict__, "url": url, **settings}
        )
        return Mirror("platform", given, tmp_path / at / "platform", clock=clock, stop=stop)

    return make


@pytest.fixture
def mirror(upstream: Upstream, make_mirror: MakeMirror) -> Mirror:
    return make_mirror(upstream.url)


@pytest.fixture
def bare(upstream: Upstream, tmp_path: Path) -> Upstream:
    """A remote as people have it: a bare repository that `publish` brings what was committed."""
    upstream.git("clone", "--quiet", "--bare", str(upstream.path), str(tmp_path / "bare.git"))
    remote = Upstream(tmp_path / "bare.git")
    upstream.git("remote", "add", "origin", remote.url)
    return remote


Publish = Callable[[], str]


@pytest.fixture
def publish(upstream: Upstream, bare: Upstream) -> Publish:
    """Pushes what was committed, and says which commit that is."""

    def push() -> str:
        upstream.git("push", "--quiet", "origin", "main")
        return upstream.head()

    return push


def tree(repository: Upstream, commit: str) -> dict[str, str]:
    """Every path of a commit with its mode and its hash."""
    printed = repository.git("ls-tree", "-r", "-z", "--full-tree", commit)
    records = (record.partition("\t") for record in printed.split("\0") if record)
    return {path: words for words, _, path in records}


def refs(repository: Upstream) -> dict[str, str]:
    printed = repository.git("for-each-ref", "--format=%(refname) %(objectname)")
    return dict(line.split(" ") for line in printed.splitlines())


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


class GitHttp(ThreadingHTTPServer):
    """Serves the repositories below `root` over HTTP, as a Git host does; `answer` overrides what it says.

    `asked` are the requests with their Authorization header.
    """

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _GitHandler)
        self.root = root
        self.asked: list[tuple[str, str | None]] = []
        self.wanted: str | None = None
        self.answer: tuple[int, dict[str, str]] | None = None
        self.pause = threading.Event()
        self.pause.set()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class _GitHandler(BaseHTTPRequestHandler):
    server: GitHttp

    def do_GET(self) -> None:
        server = self.server
        given = self.headers.get("Authorization")
        server.asked.append((self.path, given))
        server.pause.wait(20)
        if server.answer is not None:
            self._say(*server.answer)
        elif server.wanted is not None and given != server.wanted:
            self._say(401 if given is None else 403, {"WWW-Authenticate": 'Basic realm="git"'})
        else:
            self._serve()

    do_POST = do_GET  # noqa: N815  (the names are http.server's)

    def _say(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _serve(self) -> None:
        path, _, query = self.path.partition("?")
        done = subprocess.run(
            [shutil.which("git") or "git", "http-backend"],
            env={
                **_ENVIRONMENT,
                "GIT_PROJECT_ROOT": str(self.server.root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": self.headers.get("Content-Length", "0"),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            },
            input=self.rfile.read(int(self.headers.get("Content-Length", "0"))),
            capture_output=True,
            check=True,
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self._say(int(headers.pop("Status", "200").split()[0]), headers, body)

    def log_message(self, *_: object) -> None:
        """Nothing: the tests look at `asked`."""


@pytest.fixture
def host(tmp_path: Path, upstream: Upstream) -> Iterator[GitHttp]:
    """A Git host that has `upstream` under the name it has on disk."""
    with GitHttp(tmp_path) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.pause.set()
        server.shutdown()
        thread.join()
