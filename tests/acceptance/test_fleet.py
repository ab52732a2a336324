"""A fleet under `schedule: continuous`: every stack is looked at again and again, a change is found soon.

CI plays it small and short. `deploy/test --all` plays 200 stacks for ten minutes, and `python -m pytest
tests/acceptance/test_fleet.py -m slow` that alone.
"""

from __future__ import annotations

import json
import os
import statistics
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from driftwatch.sandbox import colleague, estate
from driftwatch.sandbox.cloud import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.acceptance.conftest import House

FIRST = "s000"
MODULE = """
terraform {{
  required_providers {{
    sandbox = {{ source = "sandbox.driftwatch.local/driftwatch/sandbox" }}
  }}
  backend "local" {{
    path = "{states}/s000.tfstate"
  }}
}}

provider "sandbox" {{
  cloud = "{cloud}"
}}

resource "sandbox_bucket" "data" {{
  name = "bucket-s000"
  tags = {{ stack = "s000" }}
}}

resource "sandbox_dns_record" "www" {{
  zone   = "example.test"
  name   = "s000"
  type   = "A"
  values = ["203.0.113.1"]
}}

resource "sandbox_database" "main" {{
  name     = "database-s000"
  engine   = "postgres"
  version  = "15"
  password = "canary-fleet-s000"
}}
"""


@dataclass
class Fleet:
    """A daemon on many small stacks that were all applied."""

    house: House
    names: list[str] = field(default_factory=list)

    @classmethod
    def made(cls, house: House, count: int) -> Fleet:
        """Applies one stack with terraform, and gives all others the like of its state and its objects."""
        states = house.directory / "states"
        text = MODULE.format(states=states, cloud=house.cloud.directory)
        names = [f"s{number:03}" for number in range(count)]
        files = {f"fleet/{name}/main.tf": text.replace(FIRST, name) for name in names}
        estate.commit(house.repository, files, "Add the fleet")
        colleague.apply(
            house.binary,
            house.repository / "fleet" / FIRST,
            cli_config=house.cli_config,
            scratch=house.directory / "scratch",
        )
        state = (states / f"{FIRST}.tfstate").read_text()
        lineage = json.loads(state)["lineage"]
        objects = list(house.cloud.directory.rglob(f"*{FIRST}*.json"))
        for name in names[1:]:
            own = state.replace(FIRST, name).replace(lineage, str(uuid.uuid4()))
            (states / f"{name}.tfstate").write_text(own)
            for path in objects:
                path.with_name(path.name.replace(FIRST, name)).write_text(
                    path.read_text().replace(FIRST, name)
                )
        return cls(house, names)

    def replayed(self) -> int:
        """How many stacks have been checked by replay."""
        rows = self.house.rows("SELECT DISTINCT stack_id FROM checks WHERE method = 'replay'")
        return len(rows)

    def begun(self, since: float) -> dict[str, list[float]]:
        """When each stack's good checks began, as seconds of the epoch."""
        rows = self.house.rows(
            "SELECT s.path, c.started_at, c.verdict FROM checks c JOIN stacks s ON s.id = c.stack_id"
            " WHERE s.path LIKE 'fleet/%' ORDER BY c.id"
        )
        found: dict[str, list[float]] = {f"fleet/{name}": [] for name in self.names}
        for path, started_at, verdict in rows:
            assert verdict != "error", path
            at = _epoch(started_at)
            if at >= since:
                found[path].append(at)
        return found

    def meddle(self, name: str) -> None:
        self.house.cloud.update(Kind.BUCKET, f"bucket-{name}", {"tags": {"stack": "somebody else's"}})

    def found(self) -> set[str]:
        """The stacks with a finding that counts."""
        rows = self.house.rows(
            "SELECT s.path FROM findings f JOIN stacks s ON s.id = f.stack_id"
            " WHERE f.status = 'open' AND f.counted"
        )
        return {str(path).removeprefix("fleet/") for (path,) in rows}

    def memory(self, pid: int) -> int:
        """Resident bytes of the daemon and all that it has started."""
        return sum(_resident(each) for each in (pid, *_descendants(pid)))


def _epoch(value: object) -> float:
    moment = datetime.fromisoformat(str(value))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _descendants(pid: int) -> Iterator[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for task in Path(f"/proc/{pid}/task").iterdir():
            if task.name != str(pid):
                children += (task / "children").read_text().split()
    except OSError:
        return
    for child in map(int, children):
        yield child
        yield from _descendants(child)


@pytest.fixture
def home(house: House) -> House:
    """With a fleet to come, in place of the one stack that others are tested with."""
    text = house.config.read_text()
    one, fleet = '{path: "dns", schedule: {every: 4s}}', "{path: fleet/*, schedule: continuous}"
    assert one in text
    limits = "continuous: {min_interval: 5s, reads_per_minute: 6000, cpu_share: 0.7}\n"
    house.config.write_text(text.replace(one, fleet) + limits)
    return house


def play(home: House, *, count: int, seconds: float, changes: int) -> dict[str, float]:
    """Runs the fleet and returns what was measured: gaps and delays in seconds, memory in MiB."""
    fleet = Fleet.made(home, count)
    daemon = home.start()
    home.wait_for("the daemon to be ready", home.is_ready)
    home.wait_for("every stack to be replayed", lambda: fleet.replayed() >= count, patience=60 + 6 * count)
    began, memory, waits = time.time(), [], {}
    at = [began + seconds * (0.1 + 0.6 * number / changes) for number in range(changes)]
    victims = fleet.names[:: max(count // changes, 1)][:changes]
    pending: dict[str, float] = {}
    while time.time() < began + seconds or pending:
        now = time.time()
        assert daemon.poll() is None, home.log()[-4000:]
        if at and now >= at[0]:
            at.pop(0)
            name = victims.pop()
            fleet.meddle(name)
            pending[name] = now
        for name in fleet.found() & pending.keys():
            waits[name] = time.time() - pending.pop(name)
        late = [name for name, since in pending.items() if now - since > 90]
        assert not late, f"changed more than 90 s ago and not found: {late}"
        memory.append(fleet.memory(daemon.pid))
        time.sleep(0.5)
    ended = time.time()
    gaps = {
        path: max(later - earlier for earlier, later in zip([began, *times], [*times, ended], strict=True))
        for path, times in fleet.begun(began).items()
    }
    assert home.stop(daemon) == 0
    part = max(len(memory) // 5, 1)
    return {
        "longest gap": max(gaps.values()),
        "median gap": statistics.median(gaps.values()),
        "longest wait for a finding": max(waits.values()),
        "memory at first": statistics.median(memory[:part]) / 2**20,
        "memory at last": statistics.median(memory[-part:]) / 2**20,
    }


def test_a_small_fleet_is_checked_continuously(home: House) -> None:
    """Twelve stacks for half a minute: each within 20 s, a change found within 30 s, and nothing in clear."""
    measured = play(home, count=12, seconds=30, changes=3)
    assert measured["longest gap"] < 20, measured
    assert measured["longest wait for a finding"] < 30, measured
    for path in home.state.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert b"canary-fleet" not in path.read_bytes() or path.name == "main.tf", path
    assert len(list((home.state / "recordings").iterdir())) == 12


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_two_hundred_stacks_are_checked_at_least_once_a_minute_each(home: House) -> None:
    """For ten minutes on two cores; memory is flat, and a change to any of them is a finding within 90 s."""
    measured = play(home, count=200, seconds=600, changes=12)
    print(json.dumps({name: round(value, 1) for name, value in measured.items()}))
    assert measured["longest gap"] <= 60, measured
    assert measured["longest wait for a finding"] <= 90, measured
    assert measured["memory at last"] <= 1.1 * measured["memory at first"], measured
