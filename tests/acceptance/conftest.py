"""Drift as users live it: the real command line, real Git, real terraform, a real database.

The cloud is the sandbox's, and Slack is a local HTTP server that remembers what it was told.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import parse_qs
from urllib.request import urlopen

import pytest

from driftwatch.sandbox import colleague, estate
from driftwatch.sandbox.cloud import Cloud
from driftwatch.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PATIENCE = 120.0
HERE = Path(__file__).parent
AS_IT_IS = ("-m", "driftwatch")
IMPATIENT = (str(HERE / "impatient_daemon.py"),)
"""The same program with a lease of 3 s, and a ladder of 2 s."""


class SlackServer:
    """Plays Slack's API and keeps every call; `status` and `headers` let it refuse, `seconds` be slow.

    `socket` is where it says that Socket Mode is to be spoken.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.status = 200
        self.seconds = 0.0
        self.headers: dict[str, str] = {}
        self.socket: str | None = None
        server = self

        class Api(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                is_json = "json" in self.headers.get("Content-Type", "")
                form = (
                    json.loads(body) if is_json else {key: value[0] for key, value in parse_qs(body).items()}
                )
                if server.status == 200:
                    server.calls.append((self.path.rpartition("/")[2], form))
                time.sleep(server.seconds)
                answer = json.dumps(
                    {
                        "ok": server.status == 200,
                        "channel": "C1",
                        "ts": form.get("ts") or f"{time.time():.6f}",
                        "url": server.socket,
                    }
                ).encode()
                self.send_response(server.status)
                for name, value in {"Content-Type": "application/json", **server.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Tests read `calls`."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
        self.url = f"http://127.0.0.1:{self._server.server_port}/api/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def posted(self) -> list[str]:
        return [str(form["text"]) for method, form in self.calls if method == "chat.postMessage"]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass(slots=True, kw_only=True)
class House:
    """A configured driftwatch on the sandbox's estate."""

    directory: Path
    cloud: Cloud
    repository: Path
    config: Path
    binary: Path
    cli_config: Path
    slack: SlackServer
    environment: dict[str, str]
    port: int
    database: str | None = None
    daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.directory / "state"

    def apply(self, *stacks: str) -> None:
        """A colleague applies at a terminal."""
        for stack in stacks:
            colleague.apply(
                self.binary,
                self.repository / stack,
                cli_config=self.cli_config,
                scratch=self.directory / "scratch",
            )

    def driftwatch(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "driftwatch", *arguments],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    def json(self, *arguments: str) -> dict[str, Any]:
        done = self.driftwatch(*arguments, "--config", str(self.config), "--format", "json")
        assert done.stdout, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def start(
        self, program: Sequence[str] = AS_IT_IS, *, guard: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        """Starts a daemon; its log is `daemon.log`. `guard` is what runs it (`setpriv …`)."""
        with (self.directory / "daemon.log").open("ab") as log:
            daemon = subprocess.Popen(
                [*guard, sys.executable, *program, "--verbose", "run", "--config", str(self.config)],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.daemons.append(daemon)
        return daemon

    def stop(self, daemon: subprocess.Popen[bytes]) -> int:
        daemon.send_signal(signal.SIGTERM)
        return daemon.wait(timeout=90)

    def log(self) -> str:
        return (self.directory / "daemon.log").read_text(errors="replace")

    def store(self) -> Store:
        return Store.open(state_dir=self.state, database=self.database)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a person with a shell on the database would see."""
        if self.database is None:
            with closing(sqlite3.connect(self.state / "driftwatch.db", timeout=30)) as connection:
                return connection.execute(query).fetchall()
        import psycopg

        with psycopg.connect(self.database) as connection:
            return connection.execute(query).fetchall()

    @staticmethod
    def as_json(value: Any) -> Any:
        """A JSON column: SQLite gives its text."""
        return json.loads(value) if isinstance(value, str) else value

    def asked(self, path: str) -> int:
        """The status that the web server answers with; 0 for no answer at all."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return int(answer.status)
        except HTTPError as refused:
            return refused.code
        except OSError:
            return 0

    def is_ready(self) -> bool:
        return self.asked("/readyz") == 200

    def wait_for(self, what: str, look: Callable[[], Any], patience: float = PATIENCE) -> Any:
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if seen := look():
                return seen
            if self.daemons and self.daemons[-1].poll() is not None:
                pytest.fail(f"the daemon has ended, and {what} will never be\n{self.log()[-4000:]}")
            time.sleep(0.2)
        pytest.fail(f"waited {patience:.0f} s for {what}\n{self.log()[-4000:]}")

    def wait_for_verdicts(self, **verdicts: str) -> None:
        """Waits until stacks (path with `_` for `/`) have these verdicts in the database."""
        store = self.store()

        def look() -> bool:
            known = {
                item.id.path.replace("/", "_"): item.verdict for item in store.stacks(now=datetime.now(UTC))
            }
            return all(known.get(path) == verdict for path, verdict in verdicts.items())

        try:
            self.wait_for(f"verdicts {verdicts}", look)
        finally:
            store.close()


CONFIGURATION = """\
state_dir: ./state
repositories:
  platform:
    url: {repository}
    poll: 2s
    stacks:
{stacks}
terraform:
  binary: {binary}
  provider_mirrors: [{mirror}]
notify:
  slack: {{token: "${{env:SLACK_TOKEN}}", channel: "#infra-drift", base_url: "{slack}"}}
web: {{listen: "127.0.0.1:{port}"}}
service: {{workers: 2, shutdown_grace: 20s}}
"""


def configure(house: House, mirror: Path, stacks: dict[str, str]) -> None:
    """Writes the configuration: `stacks` maps paths to their schedules."""
    lines = [f"      - {{path: {json.dumps(path)}, schedule: {every}}}" for path, every in stacks.items()]
    house.config.write_text(
        CONFIGURATION.format(
            repository=json.dumps(str(house.repository)),
            stacks="\n".join(lines),
            binary=json.dumps(str(house.binary)),
            mirror=json.dumps(str(mirror)),
            slack=house.slack.url,
            port=house.port,
        )
    )
    if house.database is not None:
        house.environment["DATABASE"] = house.database
        house.config.write_text('database: "${env:DATABASE}"\n' + house.config.read_text())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def furnish(
    directory: Path, binary: Path, cli_config: Path, *, slack: SlackServer, database: str | None = None
) -> House:
    """A house in `directory` without a repository of its own yet; `configure` comes after."""
    return House(
        directory=directory,
        cloud=Cloud(directory / "cloud"),
        repository=directory / "infrastructure",
        config=directory / "driftwatch.yaml",
        binary=binary,
        cli_config=cli_config,
        slack=slack,
        environment={
            "PATH": os.environ["PATH"],
            "HOME": str(directory / "home"),
            "SLACK_TOKEN": "xoxb-test-canary-1f9d",
        },
        port=free_port(),
        database=database,
    )


def clear_out(house: House) -> None:
    for daemon in house.daemons:
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()


@pytest.fixture
def house(
    tmp_path: Path, terraform_binary: Path, sandbox_mirror: Path, sandbox_cli_config: Path
) -> Iterator[House]:
    """An estate in Git, nothing applied yet, and a configuration that checks `dns` every few seconds."""
    slack = SlackServer()
    made = furnish(tmp_path, terraform_binary, sandbox_cli_config, slack=slack)
    estate.create_repository(made.repository, made.cloud, tmp_path / "states")
    configure(made, sandbox_mirror, {"dns": "{every: 4s}"})
    yield made
    clear_out(made)
    slack.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One plan that the played terraform has begun, and when it ended, if it did."""

    stack: str
    began: float
    ended: float | None


class PlayedTerraform:
    """`fake_terraform.sh` in a directory of its own, and the files that tell it what to say."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self._directory = directory
        self.binary = directory / "terraform"
        shutil.copy(HERE / "fake_terraform.sh", self.binary)
        self.binary.chmod(0o755)
        (directory / "in_sync.json").write_text(json.dumps(IN_SYNC))
        shutil.copy(HERE.parent / "drift" / "corpus" / "delete.json", directory / "drifted.json")

    def takes(self, seconds: float) -> None:
        """How long each plan takes from now on."""
        draft = self._directory / "seconds.draft"
        draft.write_text(f"{seconds:g}")
        draft.replace(self._directory / "seconds")

    def drift(self, stack: str) -> None:
        mark = self._directory / "drifted" / stack
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()

    def repair(self, stack: str) -> None:
        (self._directory / "drifted" / stack).unlink()

    def plans(self) -> list[Ran]:
        """All plans so far, in the order in which they began."""
        path = self._directory / "plans"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        ends = {(stack, pid): float(at) for word, stack, pid, at in lines if word == "end"}
        return [
            Ran(stack=stack, began=float(at), ended=ends.get((stack, pid)))
            for word, stack, pid, at in lines
            if word == "begin"
        ]


IN_SYNC = {
    "format_version": "1.2",
    "terraform_version": "1.11.4",
    "resource_changes": [],
    "resource_drift": [],
    "output_changes": {},
    "prior_state": {"values": {"root_module": {}}},
    "planned_values": {"root_module": {}},
    "configuration": {"root_module": {}},
    "applyable": False,
    "complete": True,
    "errored": False,
}


class Fleet:
    """Houses that share a repository of many stacks, a played terraform, a chat, and perhaps a database."""

    def __init__(self, directory: Path, mirror: Path, cli_config: Path) -> None:
        self.directory = directory
        self.terraform = PlayedTerraform(directory / "bin")
        self.slack = SlackServer()
        self.houses: list[House] = []
        self.repository = estate.create_repository(
            directory / "infrastructure", Cloud(directory / "cloud"), directory / "states"
        )
        self._mirror, self._cli_config = mirror, cli_config

    def commit(self, count: int) -> list[str]:
        """Adds stacks to the repository and returns their names."""
        backend = 'terraform {\n  backend "local" {}\n}\n'
        paths = [f"fleet/s{number:03}" for number in range(count)]
        estate.commit(self.repository, {f"{path}/main.tf": backend for path in paths}, "Add the fleet")
        return [f"platform/{path}" for path in paths]

    def house(
        self, name: str = "house", *, every: str, database: str | None = None, workers: int = 2
    ) -> House:
        made = furnish(
            self.directory / name,
            self.terraform.binary,
            self._cli_config,
            slack=self.slack,
            database=database,
        )
        made.repository = self.repository
        configure(made, self._mirror, {"fleet/*": f"{{every: {every}}}"})
        made.config.write_text(made.config.read_text().replace("workers: 2", f"workers: {workers}"))
        self.houses.append(made)
        return made

    def close(self) -> None:
        for house in self.houses:
            clear_out(house)
        self.slack.close()


@pytest.fixture
def fleet(tmp_path: Path, sandbox_mirror: Path, sandbox_cli_config: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path, sandbox_mirror, sandbox_cli_config)
    yield made
    made.close()


_POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
_BARE = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


class PostgresServer:
    """A private PostgreSQL on a Unix socket, not as root; it can be stopped and started again."""

    def __init__(self, directory: Path) -> None:
        self._data, self._socket = directory / "data", directory / "socket"
        self._as = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
        for path in (directory, self._data, self._socket):
            path.mkdir(exist_ok=True)
            if self._as:
                shutil.chown(path, "nobody", "nogroup")
        self._data.chmod(0o700)
        options = ["-U", "driftwatch", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"]
        initdb = ["setpriv", *self._as] if self._as else []
        subprocess.run(
            [*initdb, _POSTGRES[0] / "initdb", "-D", self._data, *options],
            capture_output=True,
            cwd="/",
            env=_BARE,
            check=True,
        )
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(f"listen_addresses = ''\nunix_socket_directories = '{self._socket}'\n")
            file.write("fsync = off\nshared_buffers = 16MB\n")
        self.url = f"postgresql://driftwatch@/postgres?host={self._socket}"

    def start(self) -> None:
        """The server ends with this process, however that ends."""
        with (self._data / "log").open("ab") as log:
            self._server = subprocess.Popen(
                ["setpriv", "--pdeathsig", "QUIT", *self._as, _POSTGRES[0] / "postgres", "-D", self._data],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_BARE,
            )
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self._server.poll() is None, (self._data / "log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL does not come up"
            time.sleep(0.1)

    def stop(self) -> None:
        """At once, as in a power cut."""
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait()

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url).close()
        except psycopg.OperationalError:
            return False
        return True


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    if not _POSTGRES:
        pytest.skip("POSTGRESQL'S SERVER PROGRAMS ARE NOT INSTALLED: the daemon is tested on SQLite only")
    directory = Path(tempfile.mkdtemp(prefix="driftwatch-pg-"))  # pytest's own is closed to its user
    server = PostgresServer(directory)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(directory)
