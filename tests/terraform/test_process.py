"""Programs are run to their end, or to the end of anybody's patience, and nothing of them stays."""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from driftwatch.terraform.process import Ended, Ladder, Leash, Lines, Sink, Stopped, Tail, Whole, run

if TYPE_CHECKING:
    from collections.abc import Callable

    import psutil

QUICK = Ladder(first=0.3, second=0.3, reap=5.0)


def start(
    script: str,
    *,
    stdout: Sink | None = None,
    seconds: float = 20,
    stop: threading.Event | None = None,
    hurry: threading.Event | None = None,
    ladder: Ladder = QUICK,
    program: str = "sh",
) -> Ended:
    leash = Leash(stop=stop or threading.Event(), hurry=hurry or threading.Event(), ladder=ladder)
    argv = ["sh", "-c", script] if program == "sh" else [sys.executable, "-c", script]
    return run(
        argv,
        directory=Path.cwd(),
        environment={"PATH": os.environ["PATH"]},
        stdout=stdout or Tail(),
        stderr=Tail(),
        seconds=seconds,
        leash=leash,
    )


@pytest.mark.row(6)
@pytest.mark.parametrize("sink", [Tail(), Lines(lambda _line: None)], ids=["tail", "lines"])
def test_a_flood_without_a_line_end_neither_blocks_nor_fills_the_memory(sink: Tail) -> None:
    """Row 6: 100 MB on one line go by in constant memory; the end of them is kept."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ended = start("head -c 100000000 /dev/zero | tr '\\0' x; printf end", stdout=sink)
    assert ended == Ended(returncode=0, stopped=None)
    assert sink.text.endswith("xxend")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10  # KiB


@pytest.mark.row(6)
def test_a_line_of_64_mb_is_kept_whole_where_it_is_wanted() -> None:
    """Row 6: a plan document is one line; not a byte of it may be lost."""
    document = Whole(100 << 20)
    assert start("head -c 67108864 /dev/zero | tr '\\0' x; printf end", stdout=document).returncode == 0
    assert len(document.content) == (64 << 20) + 3
    assert document.content.endswith(b"xend")


@pytest.mark.row(6)
def test_what_exceeds_its_limit_ends_the_program() -> None:
    """Row 6: an endless document costs its limit in memory and no time."""
    document = Whole(1 << 20)
    started = time.monotonic()
    ended = start("cat /dev/zero", stdout=document)
    assert ended.stopped is Stopped.TOO_MUCH
    assert not document.content
    assert time.monotonic() - started < 5


@pytest.mark.row(6)
def test_both_outputs_at_once_do_not_block_each_other() -> None:
    """Row 6: a program that fills both pipes ends."""
    out = Tail()
    ended = start("head -c 4000000 /dev/zero >&2 & head -c 4000000 /dev/zero; wait; printf end", stdout=out)
    assert ended == Ended(returncode=0, stopped=None)
    assert out.text.endswith("end")


def test_lines_arrive_one_by_one_and_the_last_needs_no_end() -> None:
    heard: list[bytes] = []
    lines = Lines(heard.append)
    start("printf 'one\\n\\ntw'; sleep 0.2; printf 'o\\nthree'", stdout=lines)
    lines.finish()
    assert heard == [b"one", b"two", b"three"]


def test_of_a_long_line_the_beginning_is_heard() -> None:
    heard: list[bytes] = []
    lines = Lines(heard.append)
    start("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo next", stdout=lines)
    assert [len(line) for line in heard] == [1 << 20, 4]


def test_a_deadline_stops_a_program() -> None:
    assert start("exec sleep 60", seconds=0.3) == Ended(returncode=-2, stopped=Stopped.DEADLINE)


def when_ready(event: threading.Event) -> Lines:
    """Sets `event` as soon as the program says that it is ready."""
    return Lines(lambda line: event.set() if line == b"ready" else None)


def test_a_program_that_heeds_one_interrupt_gets_no_other() -> None:
    stop = threading.Event()
    out = when_ready(stop)
    ended = start(
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGINT, lambda *_: (os.write(1, b'asked\\n'), os._exit(3)))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)",
        stdout=out,
        stop=stop,
        program="python",
    )
    assert ended == Ended(returncode=3, stopped=Stopped.REQUEST)
    assert out.text == "ready\nasked\n"


def test_one_that_ignores_two_interrupts_is_killed_with_its_children(
    descendants: Callable[[], list[psutil.Process]],
) -> None:
    stop = threading.Event()
    out = when_ready(stop)
    ended = start(
        "import os, signal, subprocess, time\n"
        "signal.signal(signal.SIGINT, lambda *_: os.write(1, b'no\\n'))\n"
        "subprocess.Popen(['sh', '-c', 'trap \"\" INT; sleep 77; sleep 77'])\n"
        "time.sleep(0.3)\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(1)",
        stdout=out,
        stop=stop,
        program="python",
    )
    assert ended == Ended(returncode=-9, stopped=Stopped.REQUEST)
    assert out.text == "ready\nno\nno\n"
    assert descendants() == []


def test_a_request_to_stop_is_heard_while_nothing_is_said() -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    started = time.monotonic()
    ended = start("exec sleep 60", stop=stop)
    assert ended == Ended(returncode=-2, stopped=Stopped.REQUEST)
    assert time.monotonic() - started < 3


def test_in_a_hurry_nobody_is_asked() -> None:
    stop, hurry = threading.Event(), threading.Event()
    stop.set()
    threading.Timer(0.3, hurry.set).start()
    started = time.monotonic()
    ended = start("trap '' INT; sleep 60; sleep 60", stop=stop, hurry=hurry, ladder=Ladder())
    assert ended == Ended(returncode=-9, stopped=Stopped.REQUEST)
    assert time.monotonic() - started < 5


def test_a_child_that_keeps_the_output_open_delays_nothing(
    descendants: Callable[[], list[psutil.Process]],
) -> None:
    started = time.monotonic()
    assert start("sleep 60 & echo done") == Ended(returncode=0, stopped=None)
    assert time.monotonic() - started < 3
    assert descendants() == []


def test_a_program_that_closes_its_output_is_still_waited_for() -> None:
    started = time.monotonic()
    assert start("exec >&- 2>&-; sleep 0.5; exit 4") == Ended(returncode=4, stopped=None)
    assert time.monotonic() - started >= 0.5


def test_an_ordinary_end_costs_no_waiting() -> None:
    started = time.monotonic()
    for _ in range(30):
        start("exit 0")
    assert time.monotonic() - started < 3.0


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    start(f"echo secret > '{tmp_path}/file'; mkdir '{tmp_path}/directory'")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "directory").stat().st_mode & 0o777 == 0o700
