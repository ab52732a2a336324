"""What a check costs by each method: `python -m tests.benchmarks.replay [--runs N] [--mirror DIR] [--json]`.

The AWS lab (two regions, data sources) against a local stand-in for AWS: terraform's plan with show, the same
through warm providers, a replay, and the same reads with nothing around them, one after the other, in turn,
so that a busy machine slows all of them. CPU is that of all processes but the stand-in's.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from driftwatch.warm.gateway import Gateway
from driftwatch.warm.packages import Packages
from driftwatch.warm.pool import Limits, Pool
from driftwatch.warm.replay import Answer, replay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from driftwatch.warm.recording import Recording

LAB = Path(__file__).parent.parent / "acceptance/aws/lab"
TICKS = os.sysconf("SC_CLK_TCK")
PARALLELISM = 10


@dataclass(slots=True)
class Measured:
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Bench:
    directory: Path
    environment: dict[str, str]
    pool: Pool

    def terraform(self, *arguments: str, **more: str) -> str:
        return subprocess.run(
            ["terraform", *arguments],
            cwd=self.directory,
            env={**self.environment, **more},
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def plan(self, **more: str) -> dict[str, object]:
        file = str(self.directory / ".plan")
        self.terraform("plan", "-input=false", "-lock=false", f"-out={file}", **more)
        document: dict[str, object] = json.loads(self.terraform("show", "-json", file, **more))
        return {**document, "timestamp": "", "relevant_attributes": ()}  # of a random order

    def gateway(self, types: frozenset[str] | None) -> Gateway:
        return Gateway(
            self.pool,
            PACKAGES.selected(self.directory / ".terraform", self.directory / ".terraform.lock.hcl"),
            environment={
                name: value for name, value in self.environment.items() if not name.startswith("TF_")
            },
            directory=self.directory,
            stop=threading.Event(),
            types=types,
        )

    def plan_warm(self, types: frozenset[str] | None) -> tuple[dict[str, object], Recording, frozenset[str]]:
        with self.gateway(types) as gateway:
            document = self.plan(TF_REATTACH_PROVIDERS=gateway.reattach())
            assert not gateway.faults, gateway.faults
            return document, gateway.recording(), gateway.types

    def replay(self, recording: Recording) -> None:
        outcome = replay(recording, self.pool, seconds=300, parallelism=PARALLELISM, stop=threading.Event())
        assert outcome.answer is Answer.SAME, outcome

    def cpu(self) -> float:
        """Seconds so far: ours, those of children that ended, and the pool's processes'."""
        times = os.times()
        warm = sum(_cpu_of(member.process.pid) for member in self.pool._members)
        return times.user + times.system + times.children_user + times.children_system + warm

    def measure(self, into: Measured, action: Callable[[], object]) -> None:
        began, used = time.monotonic(), self.cpu()
        action()
        into.wall.append(time.monotonic() - began)
        into.cpu.append(self.cpu() - used)


PACKAGES = Packages()


def _cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _bare_reads(recording: Recording, pool: Pool) -> None:
    """The same reads over gRPC, as many at once, with no configuring and no comparing."""
    at_once = threading.Semaphore(PARALLELISM)
    calls = []
    for each in recording.conversations:
        process = pool.take(each.key, each.environment, configured=each.configure, stop=threading.Event())
        for read in each.reads:
            at_once.acquire()
            call = process.call(read.method).future(read.request)
            call.add_done_callback(lambda _: at_once.release())
            calls.append(call)
        pool.give_back(process)
    for call in calls:
        call.result()


@contextmanager
def _aws() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@contextmanager
def _bench(mirror: str) -> Iterator[Bench]:
    with (
        tempfile.TemporaryDirectory(prefix="dw-bench-") as root,
        _aws() as endpoint,
        Pool(Limits(), lambda: datetime.now(UTC)) as pool,
    ):
        config = Path(root, "terraformrc")
        config.write_text(
            f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n'
        )
        directory = Path(root, "lab")
        shutil.copytree(LAB, directory)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": root,
            "TF_CLI_CONFIG_FILE": str(config),
            "AWS_ENDPOINT_URL": endpoint,
            "CHECKPOINT_DISABLE": "1",
            "NO_PROXY": "127.0.0.1",
        }
        bench = Bench(directory, environment, pool)
        bench.terraform("init", "-input=false")
        bench.terraform("apply", "-auto-approve", "-input=false")
        yield bench


def run(bench: Bench, runs: int) -> dict[str, Measured]:
    plain = bench.plan()
    document, recording, types = bench.plan_warm(None)
    assert document == plain
    found = {name: Measured() for name in ("plan", "warm plan", "warm plan, whole schema", "replay", "reads")}
    for _ in range(runs):
        bench.measure(found["plan"], bench.plan)
        bench.measure(found["warm plan, whole schema"], lambda: bench.plan_warm(None))
        bench.measure(found["warm plan"], lambda: bench.plan_warm(types))
        bench.measure(found["replay"], lambda: bench.replay(recording))
        bench.measure(found["reads"], lambda: _bare_reads(recording, bench.pool))
    assert bench.plan_warm(types)[0] == plain
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--mirror", required=True, help="a filesystem mirror with the AWS provider")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with _bench(options.mirror) as bench:
        found = run(bench, options.runs)
    medians = {
        name: (statistics.median(each.wall), statistics.median(each.cpu)) for name, each in found.items()
    }
    if options.json:
        print(json.dumps(medians))
        return
    wall, cpu = medians["plan"]
    print(f"{'':26}{'wall s':>8}{'CPU s':>8}{'of wall':>9}{'of CPU':>9}")
    for name, (each_wall, each_cpu) in medians.items():
        shares = f"{each_wall / wall:>9.3f}{each_cpu / cpu:>9.3f}"
        print(f"{name:26}{each_wall:>8.2f}{each_cpu:>8.2f}{shares}")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {options.runs} runs, medians")


if __name__ == "__main__":
    main()
