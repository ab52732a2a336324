"""What the daemon costs while it has nothing to do: memory and CPU on 1,000 stacks.

    python tests/benchmarks/idle.py [--stacks N] [--seconds S]

Makes a Git repository with so many root modules, lets the real daemon (`driftwatch run`, SQLite) take stock
of it with no stack due, and then watches the process. Prints JSON, and exits 1 over 200 MB or 2 % of a core.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from driftwatch.model import StackDeclaration, StackId
from driftwatch.store import Store

ALLOWED_MB = 200
ALLOWED_CPU = 0.02
SETTLE_SECONDS = 10


def build(root: Path, count: int, port: int) -> Path:
    """A repository of `count` root modules, a configuration for it, and a database in which none is due."""
    repository = root / "repository"
    for number in range(count):
        module = repository / f"stacks/{number:04d}"
        module.mkdir(parents=True)
        (module / "main.tf").write_text(
            'terraform {\n  backend "local" {}\n}\n\nresource "terraform_data" "it" {}\n'
        )
    environment = {"PATH": os.environ["PATH"], "HOME": str(root)}
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "All stacks"],
    ):
        subprocess.run(["git", *command], cwd=repository, env=environment, check=True)
    config = root / "driftwatch.yaml"
    config.write_text(
        "state_dir: ./state\nrepositories:\n  platform:\n"
        f"    url: {json.dumps(str(repository))}\n"
        '    stacks: [{path: "stacks/*", schedule: {every: 1d}}]\n'
        f'web: {{listen: "127.0.0.1:{port}"}}\n'
    )
    _nothing_due(root / "state", count)
    return config


def _nothing_due(state_dir: Path, count: int) -> None:
    now = datetime.now(UTC)
    stacks = [StackId(repository="platform", path=f"stacks/{number:04d}") for number in range(count)]
    store = Store.open(state_dir=state_dir, database=None)
    store.sync_stacks("platform", [StackDeclaration(id=stack) for stack in stacks], now)
    store.schedule({stack: now + timedelta(hours=12) for stack in stacks})
    store.close()


def watch(config: Path, port: int, seconds: float) -> dict[str, float | bool]:
    """Runs the daemon and measures it once it is ready."""
    daemon = subprocess.Popen(
        [sys.executable, "-m", "driftwatch", "run", "--config", str(config)], stdin=subprocess.DEVNULL
    )
    try:
        _await_ready(port, daemon)
        time.sleep(SETTLE_SECONDS)
        process = psutil.Process(daemon.pid)
        before, started = process.cpu_times(), time.monotonic()
        time.sleep(seconds)
        after, elapsed = process.cpu_times(), time.monotonic() - started
        used = (after.user - before.user + after.system - before.system) / elapsed
        memory = process.memory_info().rss / 1e6
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(timeout=60)
    return {
        "memory_mb": round(memory, 1),
        "cpu_of_one_core": round(used, 4),
        "holds": memory < ALLOWED_MB and used < ALLOWED_CPU,
    }


def _await_ready(port: int, daemon: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and daemon.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.5)
    raise SystemExit("the daemon did not become ready")


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="The daemon's cost while idle.")
    parser.add_argument("--stacks", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--port", type=int, default=18080)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        config = build(Path(scratch), arguments.stacks, arguments.port)
        figures = watch(config, arguments.port, arguments.seconds)
    print(json.dumps({"stacks": arguments.stacks, **figures}, indent=2))
    return 0 if figures["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
