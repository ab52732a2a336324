"""What a check costs by each method, and whether that is within the limits.

    python -m tests.benchmarks.replay [--runs N] [--sizes 1,10,50,200] [--json] [--svg FILE] [--mirror DIR]

terraform's plan with show, the same through warm providers, a replay of its reads, and the same reads with
nothing around them: one after the other, in turn, so that a busy machine slows all of them, and the median of
each. First on the AWS lab (two regions, data sources), which is held to the limits, then on generated stacks
of so many resources. Each has a stand-in for AWS of its own, since that slows down with what it holds. CPU is
that of all processes but the stand-in's. Exits 1 where a limit does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driftwatch import log
from driftwatch.warm.gateway import Gateway
from driftwatch.warm.packages import Packages
from driftwatch.warm.pool import Limits, Pool
from driftwatch.warm.replay import Answer, replay
from tests.benchmarks.chart import Chart, Panel, Series, draw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from driftwatch.warm.recording import Recording

LAB = Path(__file__).parent.parent / "acceptance/aws/lab"
PROVIDER = "registry.terraform.io/hashicorp/aws"
IMPLIED_MIRRORS = (
    Path.home() / ".terraform.d/plugins",
    Path.home() / ".local/share/terraform/plugins",
    Path("/usr/local/share/terraform/plugins"),
    Path("/usr/share/terraform/plugins"),
    *Path("/opt").glob("*"),
)
PACKAGES = Packages()
PARALLELISM = 10
"""Terraform's own default for reads at once."""

SECONDS = 600.0
"""For one command of terraform's, and for one replay."""

WARM_WALL, WARM_CPU = 0.30, 0.16
REPLAY_WALL, REPLAY_CPU = 0.12, 0.02
"""At most so much of what terraform's plan takes."""

REPLAY_OF_READS = 1.25
"""Or at most so many times the bare reads' wall time, where what they wait for is the limit.

In the lab they wait for the provider, which watches a bucket's versioning for more than a second.
"""

HEADER = """\
terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "testing"
  secret_key                  = "testing"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  max_retries                 = 5
}
"""
PATIENCE = """\
provider "aws" {
  max_retries = 5
}

provider "aws" {
  alias       = "us"
  max_retries = 5
}
"""
"""For the lab: a busy stand-in drops a connection now and then, which shall not end the measuring."""

TYPES = {
    "aws_ssm_parameter": 'name  = "/bench/${count.index}"\n  type  = "String"\n  value = "on"',
    "aws_sqs_queue": 'name  = "bench-${count.index}"',
    "aws_cloudwatch_log_group": 'name  = "/bench/${count.index}"',
    "aws_sns_topic": 'name  = "bench-${count.index}"',
}
"""What generated stacks are made of: types that cost the provider and the stand-in little."""


class Method(StrEnum):
    """The ways to check a stack, and what no replay can be cheaper than."""

    PLAN = "plan"
    FIRST = "first warm plan"
    """Of a stack of which nothing is known yet, so that terraform gets the whole schema."""
    WARM = "warm plan"
    REPLAY = "replay"
    READS = "bare reads"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """In seconds."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One stack's medians."""

    resources: int
    reads: int
    costs: Mapping[Method, Cost]

    def share(self, method: Method) -> Cost:
        """What a method costs, as a part of what the plan does."""
        cost, plan = self.costs[method], self.costs[Method.PLAN]
        return Cost(wall=cost.wall / plan.wall, cpu=cost.cpu / plan.cpu)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One promise about the lab: a share of the plan, and what it may be at most."""

    what: str
    measured: float
    allowed: float

    @property
    def holds(self) -> bool:
        return self.measured <= self.allowed

    def __str__(self) -> str:
        verdict = "ok" if self.holds else "MISSED"
        return f"{self.what:16} {self.measured:.3f} of the plan's, at most {self.allowed:.3f}  {verdict}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where it was measured, and with what."""

    cores: int
    architecture: str
    terraform: str
    provider: str

    def __str__(self) -> str:
        kind = f"{self.cores} cores ({self.architecture})"
        return f"{kind}, terraform {self.terraform}, AWS provider {self.provider}"


def limits(lab: Figures) -> tuple[Limit, ...]:
    """What the lab's figures are held to."""
    warm, again, reads = (lab.share(method) for method in (Method.WARM, Method.REPLAY, Method.READS))
    slowest = max(REPLAY_WALL, REPLAY_OF_READS * reads.wall)
    return (
        Limit(what="warm plan, wall", measured=warm.wall, allowed=WARM_WALL),
        Limit(what="warm plan, CPU", measured=warm.cpu, allowed=WARM_CPU),
        Limit(what="replay, wall", measured=again.wall, allowed=slowest),
        Limit(what="replay, CPU", measured=again.cpu, allowed=REPLAY_CPU),
    )


def medians(rounds: Sequence[Mapping[Method, Cost]]) -> dict[Method, Cost]:
    """Of wall and CPU by themselves."""
    return {
        method: Cost(
            wall=statistics.median(each[method].wall for each in rounds),
            cpu=statistics.median(each[method].cpu for each in rounds),
        )
        for method in Method
    }


def of_rounds(runs: int) -> str:
    return f"medians of {runs} rounds" if runs > 1 else "one round"


def root_module(resources: int) -> str:
    """The code of a stack of so many resources, as many of each type; the first types get what is left."""
    blocks = [HEADER]
    for index, (name, body) in enumerate(TYPES.items()):
        if count := len(range(index, resources, len(TYPES))):
            blocks.append(f'resource "{name}" "it" {{\n  count = {count}\n  {body}\n}}\n')
    return "\n".join(blocks)


def table(name: str, figures: Figures) -> str:
    """Seconds and shares by method."""
    head = f"{name}: resources {figures.resources}, reads {figures.reads}"
    lines = [f"{head:40}{'wall s':>8}{'CPU s':>8}{'of wall':>9}{'of CPU':>9}"]
    for method, cost in figures.costs.items():
        share = figures.share(method)
        lines.append(f"  {method:38}{cost.wall:8.2f}{cost.cpu:8.3f}{share.wall:9.3f}{share.cpu:9.4f}")
    return "\n".join(lines)


def picture(sizes: Sequence[Figures], machine: Machine, runs: int) -> str:
    """The stacks by size as an SVG."""
    names = {
        Method.PLAN: "terraform plan and show",
        Method.WARM: "the same, providers kept warm",
        Method.REPLAY: "replay of the plan's reads",
    }

    def panel(title: str, value: Callable[[Cost], float]) -> Panel:
        series = tuple(
            Series(name=name, values=tuple(value(each.costs[method]) for each in sizes))
            for method, name in names.items()
        )
        return Panel(title=title, axis="seconds", series=series)

    return draw(
        Chart(
            title="What a check costs, by the number of resources",
            subtitle="Shorter is better; percent of terraform's plan. AWS is a stand-in on the same machine.",
            group_title="Resources",
            groups=tuple(str(each.resources) for each in sizes),
            panels=(panel("Wall time", lambda cost: cost.wall), panel("CPU time", lambda cost: cost.cpu)),
            notes=(
                f"{machine}; {of_rounds(runs)}, taken in turn.",
                "CPU is that of terraform, its providers and driftwatch, without the stand-in's.",
            ),
        )
    )


def cpu_of(pid: int) -> float:
    """Seconds that a running process used so far; 0 where there is none.

    By the process' own clock (clock_getcpuclockid(3)): /proc counts hundredths, and a replay takes one.
    """
    with suppress(OSError):
        return time.clock_gettime(~pid << 3 | 2)
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """An applied root module, and the providers that are kept warm for it."""

    directory: Path
    environment: dict[str, str]
    pool: Pool

    def terraform(self, *arguments: str, **more: str) -> str:
        done = subprocess.run(
            ["terraform", *arguments],
            cwd=self.directory,
            env={**self.environment, **more},
            check=False,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        if done.returncode:
            raise SystemExit(f"terraform {arguments[0]} failed:\n{done.stdout[-2000:]}{done.stderr}")
        return done.stdout

    def plan(self, **more: str) -> dict[str, Any]:
        """A plan's document, without what differs from run to run."""
        file = str(self.directory / ".plan")
        self.terraform("plan", "-input=false", "-lock=false", f"-out={file}", **more)
        document: dict[str, Any] = json.loads(self.terraform("show", "-json", file, **more))
        return {**document, "timestamp": "", "relevant_attributes": ()}  # of a random order

    def plan_warm(self, types: frozenset[str] | None) -> tuple[dict[str, Any], Recording, frozenset[str]]:
        """The document, what can be replayed, and the types that the stack uses."""
        data, lock_file = self.directory / ".terraform", self.directory / ".terraform.lock.hcl"
        kept = {name: value for name, value in self.environment.items() if not name.startswith("TF_")}
        gateway = Gateway(
            self.pool,
            PACKAGES.selected(data, lock_file),
            environment=kept,
            directory=self.directory,
            stop=threading.Event(),
            types=types,
        )
        with gateway:
            document = self.plan(TF_REATTACH_PROVIDERS=gateway.reattach())
            assert not gateway.faults, gateway.faults
            return document, gateway.recording(), gateway.types

    def replay(self, recording: Recording) -> None:
        stop = threading.Event()
        outcome = replay(recording, self.pool, seconds=SECONDS, parallelism=PARALLELISM, stop=stop)
        assert outcome.answer is Answer.SAME, outcome

    def read(self, recording: Recording) -> None:
        """The same reads over gRPC, as many at once, with no configuring and no comparing."""
        at_once = threading.Semaphore(PARALLELISM)
        calls = []
        for each in recording.conversations:
            process = self.pool.take(
                each.key, each.environment, configured=each.configure, stop=threading.Event()
            )
            for read in each.reads:
                at_once.acquire()
                call = process.call(read.method).future(read.request, timeout=SECONDS)
                call.add_done_callback(lambda _: at_once.release())
                calls.append(call)
            self.pool.give_back(process)
        for call in calls:
            call.result()

    def cost(self, action: Callable[[], object]) -> Cost:
        began, used = time.monotonic(), self._cpu()
        action()
        return Cost(wall=time.monotonic() - began, cpu=self._cpu() - used)

    def _cpu(self) -> float:
        """Seconds so far: ours, those of children that ended, and the warm providers'."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        warm = sum(cpu_of(member.process.pid) for member in self.pool._members)
        return time.process_time() + ended.ru_utime + ended.ru_stime + warm

    def measure(self, runs: int) -> Figures:
        """`runs` rounds of all methods, which must all see the same."""
        plain = self.plan()
        document, recording, types = self.plan_warm(None)
        assert document == plain
        assert recording.reads, recording.unusable
        actions: dict[Method, Callable[[], object]] = {
            Method.PLAN: self.plan,
            Method.FIRST: lambda: self.plan_warm(None),
            Method.WARM: lambda: self.plan_warm(types),
            Method.REPLAY: lambda: self.replay(recording),
            Method.READS: lambda: self.read(recording),
        }
        rounds = [{method: self.cost(action) for method, action in actions.items()} for _ in range(runs)]
        assert self.plan_warm(types)[0] == plain
        managed = [each for each in plain["resource_changes"] if each["mode"] == "managed"]
        return Figures(resources=len(managed), reads=recording.reads, costs=medians(rounds))

    def machine(self) -> Machine:
        version = json.loads(self.terraform("version", "-json"))
        return Machine(
            cores=os.cpu_count() or 1,
            architecture=platform.machine(),
            terraform=version["terraform_version"],
            provider=version["provider_selections"][PROVIDER],
        )


@contextmanager
def aws() -> Iterator[str]:
    """The address of an empty stand-in for AWS, on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await_port(port, server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def _await_port(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise SystemExit("the stand-in for AWS does not listen; is moto[server] installed?")


@contextmanager
def applied(files: Mapping[str, str], mirror: Path) -> Iterator[Bench]:
    """A root module of these files, applied to an empty cloud."""
    with (
        tempfile.TemporaryDirectory(prefix="dw-bench-") as root,
        aws() as endpoint,
        Pool(Limits(), lambda: datetime.now(UTC)) as pool,
    ):
        config, directory = Path(root, "terraformrc"), Path(root, "stack")
        config.write_text(
            f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n'
        )
        directory.mkdir()
        for name, code in files.items():
            (directory / name).write_text(code)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": root,
            "TF_CLI_CONFIG_FILE": str(config),
            "AWS_ENDPOINT_URL": endpoint,
            "CHECKPOINT_DISABLE": "1",
            "NO_PROXY": "127.0.0.1",
        }
        bench = Bench(directory=directory, environment=environment, pool=pool)
        bench.terraform("init", "-input=false")
        # A queue takes half a minute to be made, by waiting.
        bench.terraform("apply", "-auto-approve", "-input=false", "-parallelism=50")
        yield bench


def find_mirror(places: Sequence[Path] = IMPLIED_MIRRORS) -> Path:
    """The filesystem mirror that holds the AWS provider."""
    for directory in places:
        if (directory / PROVIDER).is_dir():
            return directory
    raise SystemExit(f"no {PROVIDER} in any implied mirror directory; name one with --mirror")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3, help="rounds of each method (3)")
    parser.add_argument("--sizes", type=_sizes, default="1,10,50,200", help="resources of each stack")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--svg", type=Path, help="draw the stacks by size into this file")
    parser.add_argument("--mirror", type=Path, help="a filesystem mirror with the AWS provider")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error("--runs must be 1 or more")
    if options.svg and not options.svg.parent.is_dir():
        parser.error(f"--svg: there is no directory {options.svg.parent}")
    return options


def _sizes(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers from 1, such as 1,10")
    return tuple(sorted({int(part) for part in text.split(",")}))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints and draws."""
    options = _options(arguments)
    log.configure(json=False, level="warning")
    mirror = (options.mirror or find_mirror()).resolve()
    _tell("the lab: init, apply, measure")
    with applied({"main.tf": (LAB / "main.tf").read_text(), "override.tf": PATIENCE}, mirror) as bench:
        machine, lab = bench.machine(), bench.measure(options.runs)
    sizes = []
    for size in options.sizes:
        _tell(f"{size} resources: init, apply, measure")
        with applied({"main.tf": root_module(size)}, mirror) as bench:
            sizes.append(bench.measure(options.runs))
    held = limits(lab)
    _report(options, machine, lab, sizes, held)
    if options.svg:
        options.svg.write_text(picture(sizes, machine, options.runs))
    return 0 if all(limit.holds for limit in held) else 1


def _report(
    options: argparse.Namespace,
    machine: Machine,
    lab: Figures,
    sizes: list[Figures],
    held: tuple[Limit, ...],
) -> None:
    if options.json:
        document = {
            "machine": asdict(machine),
            "runs": options.runs,
            "lab": asdict(lab),
            "sizes": [asdict(each) for each in sizes],
            "limits": [{**asdict(limit), "holds": limit.holds} for limit in held],
        }
        print(json.dumps(document, indent=2))
        return
    print(table("the lab", lab))
    print("\n".join(f"  {limit}" for limit in held))
    for each in sizes:
        print(table("generated", each))
    print(f"{machine}; load {os.getloadavg()[0]:.1f}; {of_rounds(options.runs)}")


if __name__ == "__main__":
    sys.exit(main())
