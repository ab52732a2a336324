"""The benchmark's own promises: what it measures, what it holds the figures to, and what it says of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import psutil
import pytest

from tests.benchmarks import replay
from tests.benchmarks.replay import TYPES, Cost, Figures, Machine, Method, limits, root_module

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MACHINE = Machine(cores=2, architecture="x86_64", terraform="1.11.4", provider="5.100.0")
GOOD = {
    Method.PLAN: Cost(wall=10.0, cpu=8.0),
    Method.FIRST: Cost(wall=5.0, cpu=4.0),
    Method.WARM: Cost(wall=2.0, cpu=0.8),
    Method.REPLAY: Cost(wall=1.0, cpu=0.08),
    Method.READS: Cost(wall=0.5, cpu=0.05),
}


def figures(resources: int = 19, /, **changed: Cost) -> Figures:
    costs = GOOD | {Method[name]: cost for name, cost in changed.items()}
    return Figures(resources=resources, reads=resources + 3, costs=costs)


def missed(lab: Figures) -> list[str]:
    return [limit.what for limit in limits(lab) if not limit.holds]


def test_good_figures_keep_every_limit() -> None:
    assert len(limits(figures())) == 4
    assert missed(figures()) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"WARM": Cost(wall=3.0, cpu=1.28)}, []),
        ({"WARM": Cost(wall=3.01, cpu=0.8)}, ["warm plan, wall"]),
        ({"WARM": Cost(wall=2.0, cpu=1.29)}, ["warm plan, CPU"]),
        ({"REPLAY": Cost(wall=1.2, cpu=0.16)}, []),
        ({"REPLAY": Cost(wall=1.21, cpu=0.08)}, ["replay, wall"]),
        ({"REPLAY": Cost(wall=1.0, cpu=0.17)}, ["replay, CPU"]),
        ({"REPLAY": Cost(wall=2.5, cpu=0.08), "READS": Cost(wall=2.0, cpu=0.05)}, []),
        ({"REPLAY": Cost(wall=2.51, cpu=0.08), "READS": Cost(wall=2.0, cpu=0.05)}, ["replay, wall"]),
        (
            {"WARM": Cost(wall=9, cpu=9), "REPLAY": Cost(wall=9, cpu=9)},
            [each.what for each in limits(figures())],
        ),
    ],
)
def test_each_limit_is_missed_by_what_is_over_it_alone(changed: dict[str, Cost], expected: list[str]) -> None:
    """A replay may be slow where the bare reads are; its CPU may not."""
    assert missed(figures(**changed)) == expected


def test_a_limit_says_whether_it_holds() -> None:
    said = [str(limit) for limit in limits(figures(REPLAY=Cost(wall=1.0, cpu=0.4)))]
    assert said[0] == "warm plan, wall  0.200 of the plan's, at most 0.300  ok"
    assert said[3] == "replay, CPU      0.050 of the plan's, at most 0.020  MISSED"


def test_medians_are_of_wall_and_cpu_by_themselves() -> None:
    """One hiccup decides nothing."""
    rounds = [
        dict.fromkeys(Method, Cost(wall=wall, cpu=cpu)) for wall, cpu in ((1.0, 9.0), (50.0, 2.0), (3.0, 1.0))
    ]
    assert replay.medians(rounds) == dict.fromkeys(Method, Cost(wall=3.0, cpu=2.0))


@pytest.mark.parametrize("resources", [1, 2, 3, 4, 10, 50, 200])
def test_a_generated_stack_has_so_many_resources_evenly_of_each_type(resources: int) -> None:
    counts = dict(re.findall(r'resource "(\w+)" "it" \{\n  count = (\d+)\n', root_module(resources)))
    numbers = [int(count) for count in counts.values()]
    assert sum(numbers) == resources
    assert list(counts) == list(TYPES)[: len(counts)]
    assert max(numbers) - min(numbers) <= 1


def test_generated_code_is_terraforms(terraform_binary: Path) -> None:
    """It can be read, and is written as terraform would write it."""
    done = subprocess.run(
        [terraform_binary, "fmt", "-check", "-diff", "-"],
        input=root_module(10),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_table_has_seconds_and_shares_of_each_method() -> None:
    lines = replay.table("generated", figures(10)).splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "generated: resources 10, reads 13 wall s CPU s of wall of CPU",
        "plan 10.00 8.000 1.000 1.0000",
        "first warm plan 5.00 4.000 0.500 0.5000",
        "warm plan 2.00 0.800 0.200 0.1000",
        "replay 1.00 0.080 0.100 0.0100",
        "bare reads 0.50 0.050 0.050 0.0063",
    ]
    assert len({len(line) for line in lines}) == 1


def test_the_picture_names_the_machine_and_the_versions() -> None:
    drawn = replay.picture([figures(1), figures(200)], MACHINE, 3)
    said = ["".join(each.itertext()) for each in ET.fromstring(drawn).iter()]
    note = "2 cores (x86_64), terraform 1.11.4, AWS provider 5.100.0; medians of 3 rounds, taken in turn."
    assert note in said
    assert {"1", "200", "terraform plan and show", "10.0", "8.00", "2.00 20 %", "0.080 1.0 %"} <= set(said)


def test_the_mirror_is_the_first_place_that_has_the_provider(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("none", "first", "second")]
    for place in places[1:]:
        (place / replay.PROVIDER).mkdir(parents=True)
    assert replay.find_mirror(places) == places[1]
    with pytest.raises(SystemExit, match="--mirror"):
        replay.find_mirror(places[:1])


def test_the_time_of_a_running_process_is_known_to_less_than_a_tick() -> None:
    before = time.process_time()
    assert before <= replay.cpu_of(os.getpid()) <= time.process_time()
    busy = "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; echo done; exec sleep 60"
    with subprocess.Popen(["sh", "-c", busy], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout
            assert child.stdout.readline() == "done\n"
            times = psutil.Process(child.pid).cpu_times()
            assert replay.cpu_of(child.pid) == pytest.approx(times.user + times.system, abs=0.03)
            assert replay.cpu_of(child.pid) > 0
        finally:
            child.kill()
    assert replay.cpu_of(child.pid) == 0


class Stacks:
    """Stands for the real ones; notes what was applied, and that one at a time was."""

    def __init__(self, lab: Figures) -> None:
        self.lab = lab
        self.applied: list[dict[str, str]] = []
        self.runs: list[int] = []
        self._open = False

    @contextmanager
    def __call__(self, files: Mapping[str, str], mirror: Path) -> Iterator[Stacks]:
        assert not self._open
        assert mirror.is_absolute()
        self.applied.append(dict(files))
        self._open = True
        yield self
        self._open = False

    def machine(self) -> Machine:
        return MACHINE

    def measure(self, runs: int) -> Figures:
        self.runs.append(runs)
        if len(self.applied) == 1:
            return self.lab
        counts = re.findall(r"count = (\d+)", self.applied[-1]["main.tf"])
        return figures(sum(map(int, counts)))


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch) -> Stacks:
    made = Stacks(figures())
    monkeypatch.setattr(replay, "applied", made)
    return made


def test_the_lab_comes_first_and_then_each_size_in_order(
    stacks: Stacks, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay.main(["--runs", "2", "--sizes", "50,1,10,1", "--mirror", str(tmp_path)]) == 0
    assert stacks.applied[0]["main.tf"] == (replay.LAB / "main.tf").read_text()
    assert [each["main.tf"] for each in stacks.applied[1:]] == [root_module(size) for size in (1, 10, 50)]
    assert stacks.runs == [2, 2, 2, 2]
    printed = capsys.readouterr().out
    assert printed.count(" ok\n") == 4
    assert re.findall(r"^(.*): resources (\d+), reads", printed, re.MULTILINE) == [
        ("the lab", "19"),
        ("generated", "1"),
        ("generated", "10"),
        ("generated", "50"),
    ]
    assert "2 cores (x86_64), terraform 1.11.4, AWS provider 5.100.0; load" in printed


def test_a_missed_limit_is_said_and_is_the_exit_code(
    stacks: Stacks, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The picture is drawn all the same: it is what shows the miss."""
    stacks.lab = figures(WARM=Cost(wall=9.0, cpu=0.8))
    file = tmp_path / "replay.svg"
    assert replay.main(["--sizes", "1", "--mirror", str(tmp_path), "--svg", str(file)]) == 1
    assert capsys.readouterr().out.count("MISSED") == 1
    assert ET.fromstring(file.read_text()).tag.endswith("svg")


def test_json_is_one_document_with_all_figures(
    stacks: Stacks, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stacks.lab = replace(stacks.lab, costs=GOOD | {Method.WARM: Cost(wall=9.0, cpu=0.8)})
    assert replay.main(["--json", "--sizes", "1,10", "--mirror", str(tmp_path)]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["machine"] == {
        "cores": 2, "architecture": "x86_64", "terraform": "1.11.4", "provider": "5.100.0"
    }  # fmt: skip
    assert document["runs"] == 3
    assert document["lab"]["costs"]["warm plan"] == {"wall": 9.0, "cpu": 0.8}
    assert [each["resources"] for each in document["sizes"]] == [1, 10]
    assert [each["holds"] for each in document["limits"]] == [False, True, True, True]


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--sizes", text] for text in ("", "0", "1,,2", "1,-2", "ten", "1, 2")),
        ["--runs", "0"],
        ["--svg", "/no such directory/replay.svg"],
    ],
    ids=" ".join,
)
def test_nonsense_is_refused_before_anything_is_measured(
    stacks: Stacks, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        replay.main(arguments)
    assert refused.value.code == 2
    assert stacks.applied == []
    assert arguments[0] in capsys.readouterr().err
