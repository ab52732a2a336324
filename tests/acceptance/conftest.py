"""Drift as users live it: the real command line, real Git, real terraform, a real database.

The cloud is the sandbox's, and Slack is a local HTTP server that remembers what it was told.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from driftwatch.sandbox import colleague, estate
from driftwatch.sandbox.cloud import Cloud
from driftwatch.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE = 120.0


class SlackServer:
    """Plays Slack's API and keeps every call; `status` and `headers` let it refuse."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
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
                answer = json.dumps(
                    {
                        "ok": server.status == 200,
                        "channel": "C1",
                        "ts": form.get("ts") or f"{time.time():.6f}",
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

    def start(self) -> subprocess.Popen[bytes]:
        """Starts a daemon; its log is `daemon.log`."""
        with (self.directory / "daemon.log").open("ab") as log:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "driftwatch", "--verbose", "run", "--config", str(self.config)],
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
        return Store.open(state_dir=self.state, database=None)

    def wait_for(self, what: str, look: Callable[[], Any], patience: float = PATIENCE) -> Any:
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if seen := look():
                return seen
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


def configure(house: House, mirror: Path, stacks: dict[str, str], port: int) -> None:
    """Writes the configuration: `stacks` maps paths to their schedules."""
    lines = [f"      - {{path: {json.dumps(path)}, schedule: {every}}}" for path, every in stacks.items()]
    house.config.write_text(
        CONFIGURATION.format(
            repository=json.dumps(str(house.repository)),
            stacks="\n".join(lines),
            binary=json.dumps(str(house.binary)),
            mirror=json.dumps(str(mirror)),
            slack=house.slack.url,
            port=port,
        )
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def house(
    tmp_path: Path, terraform_binary: Path, sandbox_mirror: Path, sandbox_cli_config: Path
) -> Iterator[House]:
    """An estate in Git, nothing applied yet, and a configuration that checks `dns` every few seconds."""
    cloud = Cloud(tmp_path / "cloud")
    slack = SlackServer()
    made = House(
        directory=tmp_path,
        cloud=cloud,
        repository=estate.create_repository(tmp_path / "infrastructure", cloud, tmp_path / "states"),
        config=tmp_path / "driftwatch.yaml",
        binary=terraform_binary,
        cli_config=sandbox_cli_config,
        slack=slack,
        environment={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path / "home"),
            "SLACK_TOKEN": "xoxb-test-canary-1f9d",
        },
    )
    configure(made, sandbox_mirror, {"dns": "{every: 4s}"}, free_port())
    yield made
    for daemon in made.daemons:
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()
    slack.close()
