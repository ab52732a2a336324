"""`driftwatch demo`: the product at work on a small cloud of its own.

    prepare → apply → watch → meddle → find → tell → propose → repair → resolve

Everything is real but the cloud: Git, terraform or tofu, the daemon as a process of its own, its database,
and a local HTTP server that plays Slack. Each step says what it shows, and fails loudly when it does not.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs

from rich.padding import Padding
from rich.text import Text

from driftwatch.cli import terminal
from driftwatch.cli.clock import now
from driftwatch.cli.compose import opened_store, read_settings
from driftwatch.cli.repair_lines import proposals_list
from driftwatch.cli.stacks import ACTIVE
from driftwatch.config.settings import TerraformSettings
from driftwatch.errors import DriftwatchError, Exit, StateDirectoryHeldError, UsageError
from driftwatch.log import redact
from driftwatch.model import FindingStatus, ProposalState, Verdict
from driftwatch.service import StateLock, last_holder
from driftwatch.service.lock import LOCK_FILE
from driftwatch.terraform import Planner
from driftwatch.terraform.embedded import is_shim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from driftwatch.model import Proposal, StackStatus, StoredFinding
    from driftwatch.sandbox.cloud import Cloud
    from driftwatch.sandbox.colleague import Meddling
    from driftwatch.store import Store

T = TypeVar("T")
MARKER = ".driftwatch-demo"
REPOSITORY = "platform"
PATIENCE_SECONDS = 180.0
"""For one step: a plan of the sandbox takes two seconds, a loaded machine may take many times that."""

HURRY_SECONDS = 60.0
"""An interrupted daemon's plans end within this: the ladder takes 40 s for one that does not listen."""

CONFIGURATION = """\
# Written by `driftwatch demo`: the same file that you would write for a real estate.
state_dir: ./state
repositories:
  {repository}:
    url: {url}
    poll: 5s
    stacks:
      - path: "envs/*/*"
        owners: ["@platform"]
        schedule: {{every: 20s}}
        on_drift: propose
      - path: "**"
        schedule: {{every: 20s}}
        on_drift: propose
terraform:
  binary: {binary}
  provider_mirrors: [{mirror}]
notify:
  slack: {{token: "${{file:slack-token}}", channel: "#infra-drift", base_url: "{slack}"}}
web: {{listen: "127.0.0.1:{port}"}}
service: {{workers: 2}}
"""


class DemoFailedError(DriftwatchError):
    """A step of the demo did not show what it should."""

    code = "demo_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where the demo plays."""

    directory: Path
    binary: Path
    config: Path
    cloud: Cloud
    repository: Path
    cli_config: Path
    slack: SlackStandIn


def run(*, once: bool, directory: Path | None) -> int:
    """Plays one round; goes on running after that unless `once`."""
    with _ended_by_signals(), _fresh(directory or Path("state/demo")) as home, _slack() as slack:
        stage = _prepare(home, slack)
        _apply_all(stage)
        with _daemon(stage) as daemon, opened_store(read_settings(stage.config, os.environ)) as store:
            _watch(store, daemon)
            meddlings = _meddle(stage)
            _find(store, daemon, meddlings)
            _hear(stage, daemon, {item.stack for item in meddlings}, "drift")
            if is_shim(stage.binary):
                _repair_by_hand(stage, meddlings)
            else:
                _approve(stage, _propose(store, daemon, meddlings))
                _repair(store, daemon, meddlings)
            _resolve(store, daemon)
            _hear(stage, daemon, {item.stack for item in meddlings}, "resolved")
            if not once:
                _go_on(stage, daemon)
        _say("The daemon stopped when it was told to.", style="green")
    _say("Every step showed what it should.", style="bold green")
    return Exit.OK


# ---- the steps -----------------------------------------------------------------------------------------


def _prepare(home: Path, slack: SlackStandIn) -> Stage:
    _step("Prepare", "a small cloud in files, its Terraform provider, and a Git repository of six stacks")
    from driftwatch.sandbox import estate, mirror
    from driftwatch.sandbox.cloud import Cloud

    cloud = Cloud(home / "cloud")
    plugins = mirror.install(home / "plugins")
    repository = estate.create_repository(home / "infrastructure", cloud, home / "states")
    cli_config = home / "terraformrc"
    cli_config.write_text(mirror.cli_config(plugins), encoding="utf-8")
    binary = _binary(home)
    token = home / "slack-token"
    token.touch(mode=0o600)
    token.write_text("the-stand-in-takes-any-token\n", encoding="utf-8")
    config = home / "driftwatch.yaml"
    config.write_text(
        CONFIGURATION.format(
            repository=REPOSITORY,
            url=json.dumps(str(repository)),
            binary=json.dumps(str(binary)),
            mirror=json.dumps(str(plugins)),
            slack=slack.url,
            port=_free_port(),
        ),
        encoding="utf-8",
    )
    _say(f"in {home}")
    return Stage(
        directory=home,
        binary=binary,
        config=config,
        cloud=cloud,
        repository=repository,
        cli_config=cli_config,
        slack=slack,
    )


def _apply_all(stage: Stage) -> None:
    from driftwatch.sandbox.estate import STACKS

    _step("Apply", f"a colleague applies all {len(STACKS)} stacks at a terminal")
    for stack in STACKS:
        _apply(stage, stack)
        _say(f"applied {stack}")


def _watch(store: Store, daemon: Daemon) -> None:
    from driftwatch.sandbox.estate import STACKS

    _step("Watch", "driftwatch finds the stacks in the repository and checks them")

    def all_in_sync() -> list[StackStatus] | None:
        stacks = store.stacks(now=now())
        done = len(stacks) == len(STACKS) and all(item.verdict is Verdict.IN_SYNC for item in stacks)
        return stacks if done else None

    stacks = daemon.wait_for("all stacks to be in sync", all_in_sync)
    terminal.stdout.print(Padding(terminal.stacks_list(stacks, now()), (0, 0, 0, 2)))


def _meddle(stage: Stage) -> tuple[Meddling, ...]:
    from driftwatch.sandbox.colleague import meddle

    _step("Meddle", "somebody changes the cloud by hand")
    meddlings = meddle(stage.cloud)
    for item in meddlings:
        _say(item.sentence, style="yellow")
    return meddlings


def _find(store: Store, daemon: Daemon, meddlings: tuple[Meddling, ...]) -> None:
    _step("Find", "the next checks see it, with no help")
    expected = {
        (f"{REPOSITORY}/{item.stack}", item.address, item.kind, frozenset(item.attributes))
        for item in meddlings
    }

    def all_found() -> Sequence[StoredFinding] | None:
        items = store.findings(statuses=ACTIVE).items
        return items if {_seen(item) for item in items} == expected else None

    found = daemon.wait_for(f"exactly {len(expected)} findings", all_found)
    terminal.stdout.print(terminal.findings_list(found, now()))
    for item in found:
        for change in item.finding.attributes:
            line = Text.assemble((f"{item.finding.address} ", "bold"), terminal.attribute_line(change))
            terminal.stdout.print(terminal.indented(line, 2))


def _seen(item: StoredFinding) -> tuple[str, str, str, frozenset[str]]:
    finding = item.finding
    paths = frozenset(change.path for change in finding.attributes if finding.kind == "modified")
    return (str(item.stack), finding.address, finding.kind, paths)


def _hear(stage: Stage, daemon: Daemon, stacks: set[str], word: str) -> None:
    _step("Tell", f"Slack hears it, once per stack: {word}")

    def all_told() -> list[str] | None:
        texts = [text for text in stage.slack.heard if word in text.lower()]
        told = {stack for stack in stacks for text in texts if f"{REPOSITORY}/{stack}" in text}
        return texts if told == stacks else None

    for text in daemon.wait_for(f"a message about each of {len(stacks)} stacks", all_told):
        _say(f"#infra-drift  {text}", style="cyan")


def _propose(store: Store, daemon: Daemon, meddlings: tuple[Meddling, ...]) -> Sequence[Proposal]:
    _step("Propose", "driftwatch plans the repair of each, and asks before it does anything")
    stacks = {f"{REPOSITORY}/{item.stack}" for item in meddlings}

    def all_proposed() -> Sequence[Proposal] | None:
        items = store.proposals(states=[ProposalState.PROPOSED]).items
        return items if {str(item.draft.stack) for item in items} == stacks else None

    proposals = daemon.wait_for(f"a proposal for each of {len(stacks)} stacks", all_proposed)
    terminal.stdout.print(Padding(proposals_list(proposals, now()), (0, 0, 0, 2)))
    return proposals


def _approve(stage: Stage, proposals: Sequence[Proposal]) -> None:
    _step("Approve", "somebody agrees, to just these plans")
    for proposal in sorted(proposals, key=lambda each: each.id):
        words = ("proposals", "approve", str(proposal.id), "--as", "Ada", "--reason", "undo it")
        _say(f"driftwatch {' '.join(words[:5])} --reason 'undo it'", style="bold")
        done = subprocess.run(
            [sys.executable, "-m", "driftwatch", *words, "--config", str(stage.config)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise DemoFailedError(f"proposal {proposal.id} could not be approved", detail=redact(done.stderr))


def _repair(store: Store, daemon: Daemon, meddlings: tuple[Meddling, ...]) -> None:
    _step("Repair", "driftwatch plans again under the state lock, applies just that, and checks it")
    stacks = {f"{REPOSITORY}/{item.stack}" for item in meddlings}

    def all_verified() -> Sequence[Proposal] | None:
        items = store.proposals().items
        done = {str(item.draft.stack) for item in items if item.state is ProposalState.VERIFIED}
        return items if done == stacks else None

    proposals = daemon.wait_for(f"{len(stacks)} repairs to be applied and proved", all_verified)
    terminal.stdout.print(Padding(proposals_list(proposals, now()), (0, 0, 0, 2)))


def _repair_by_hand(stage: Stage, meddlings: tuple[Meddling, ...]) -> None:
    _step("Repair", "a colleague applies the code again: the embedded terraform only plans")
    for stack in sorted({item.stack for item in meddlings}):
        _apply(stage, stack)
        _say(f"applied {stack}")


def _resolve(store: Store, daemon: Daemon) -> None:
    _step("Resolve", "nothing differs any more")

    def none_open() -> Sequence[StoredFinding] | None:
        resolved = store.findings(statuses=[FindingStatus.RESOLVED]).items
        return resolved if resolved and not store.findings(statuses=ACTIVE).items else None

    resolved = daemon.wait_for("no finding to be open", none_open)
    terminal.stdout.print(terminal.findings_list(resolved, now()))


def _go_on(stage: Stage, daemon: Daemon) -> None:
    _step("Go on", "driftwatch keeps watching; Ctrl-C ends the demo")
    _say(f"Change a file below {stage.directory / 'cloud'} and see it found. To look around:")
    for command in ("stacks list", "findings list --status all", "proposals show 1", "audit list"):
        _say(f"{_program()} {command} --config {stage.config}", style="bold")
    heard = len(stage.slack.heard)
    try:
        while daemon.is_alive():
            time.sleep(0.5)
            for text in stage.slack.heard[heard:]:
                _say(f"#infra-drift  {text}", style="cyan")
            heard = len(stage.slack.heard)
    except KeyboardInterrupt:
        _say("Stopping.")


# ---- the daemon as a process ----------------------------------------------------------------------------


class Daemon:
    """`driftwatch run`, as systemd would start it."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait_for(self, what: str, look: Callable[[], T | None]) -> T:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if not self.is_alive():
                raise DemoFailedError("the daemon ended early", detail=self._last_lines())
            if (seen := look()) is not None:
                return seen
            time.sleep(0.3)
        raise DemoFailedError(f"waited {PATIENCE_SECONDS:.0f} s for {what}", detail=self._last_lines())

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(timeout=90)
        if code != 0:
            raise DemoFailedError(f"the daemon ended with exit code {code}", detail=self._last_lines())

    def end(self) -> None:
        """Ends it after an interrupted demo: two signals ask it to hurry, and only then is it killed."""
        try:
            for seconds in (2, HURRY_SECONDS):
                if self.is_alive():
                    self._process.send_signal(signal.SIGTERM)
                    with suppress(subprocess.TimeoutExpired):
                        self._process.wait(timeout=seconds)
        finally:
            if self.is_alive():
                self._process.kill()
                self._process.wait()

    def _last_lines(self) -> str:
        with self._log.open(encoding="utf-8", errors="replace") as lines:
            return redact("".join(deque(lines, maxlen=20)))


@contextmanager
def _daemon(stage: Stage) -> Iterator[Daemon]:
    log = stage.directory / "daemon.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "driftwatch", "--verbose", "run", "--config", str(stage.config)],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,  # Ctrl-C is for the demo, which then stops the daemon as it should be
        )
    daemon = Daemon(process, log)
    try:
        yield daemon
        daemon.stop()
    finally:
        daemon.end()


# ---- Slack's part ---------------------------------------------------------------------------------------


class SlackStandIn:
    """A local HTTP server that answers as Slack's API does and remembers what it was told."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        stand_in = self

        class Api(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = stand_in.answer(self.path, body, self.headers.get("Content-Type", ""))
                content = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Keeps the demo's own output to itself."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
        self.url = f"http://127.0.0.1:{self._server.server_port}/api/"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def answer(self, path: str, body: bytes, content_type: str) -> dict[str, Any]:
        form = (
            json.loads(body)
            if "json" in content_type
            else {k: v[0] for k, v in parse_qs(body.decode()).items()}
        )
        if path.endswith("chat.postMessage"):
            self.heard.append(str(form.get("text", "")))
        return {"ok": True, "channel": "C0DEMO", "ts": form.get("ts") or f"{time.time():.6f}"}

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def _slack() -> Iterator[SlackStandIn]:
    slack = SlackStandIn()
    slack.start()
    try:
        yield slack
    finally:
        slack.close()


# ---- small things ---------------------------------------------------------------------------------------


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and a closed terminal are as Ctrl-C: the daemon must not outlive its demo."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _fresh(directory: Path) -> Iterator[Path]:
    """An empty directory that is ours: an earlier demo's is emptied, anything else is refused."""
    directory = directory.absolute()
    if directory.exists() and any(directory.iterdir()) and not (directory / MARKER).exists():
        raise UsageError(
            f"{directory} is not empty and no demo's",
            advice="Name another with --directory; the demo empties the one that it plays in.",
        )
    try:
        lock = StateLock.acquire(directory, clock=now)
    except StateDirectoryHeldError as held:
        raise UsageError(
            f"a demo plays in {directory} already: {last_holder(directory)}",
            advice="End that one first, or name another directory with --directory.",
        ) from held
    with lock:
        (directory / MARKER).touch()
        for path in directory.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name not in {MARKER, LOCK_FILE}:
                path.unlink()
        yield directory


def _binary(home: Path) -> Path:
    planner = Planner(
        TerraformSettings(), cache=home / "cache", runs=home / "runs", environment=dict(os.environ)
    )
    return Path(planner.binaries()[0].path)


def _apply(stage: Stage, stack: str) -> None:
    from driftwatch.sandbox import colleague

    colleague.apply(
        stage.binary,
        stage.repository / stack,
        cli_config=stage.cli_config,
        scratch=stage.directory / "scratch",
    )


def _program() -> str:
    """What a person types: `deploy/quickstart` puts nothing on PATH."""
    return "driftwatch" if shutil.which("driftwatch") else str(Path(sys.executable).with_name("driftwatch"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _step(name: str, says: str) -> None:
    terminal.stdout.print(Text.assemble("\n", (f"{name}: ", "bold"), says))


def _say(text: str, *, style: str = "") -> None:
    terminal.stdout.print(terminal.indented(Text(redact(text), style), 2))
