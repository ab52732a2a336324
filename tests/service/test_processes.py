"""The daemon in a process of its own, on the real store: what signals do to it, and what it costs."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from service_doubles import ScriptedWork, SqliteStore, eventually, every, fleet, settings, wall_clock

from driftwatch.model import JobState, Trigger
from driftwatch.service import Daemon, last_holder
from driftwatch.service.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(__file__).with_name("daemon_program.py")
PATIENCE = 60.0
"""Seconds. A disk that others keep busy makes a commit wait for many of them."""


class Process:
    """A daemon, and what it has said so far."""

    def __init__(self, pid: int, out: Path) -> None:
        self.pid = pid
        self._out = out

    @property
    def said(self) -> list[str]:
        return self._out.with_suffix(".said").read_text().splitlines()

    @property
    def log(self) -> list[dict[str, Any]]:
        lines = self._out.with_suffix(".log").read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def hears(self, beginning: str) -> bool:
        return eventually(lambda: any(line.startswith(beginning) for line in self.said), PATIENCE)

    def logs(self, action: str) -> bool:
        return eventually(lambda: any(line["action"] == action for line in self.log), PATIENCE)

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    @property
    def code(self) -> int | None:
        end = self._out.with_suffix(".exit")
        return int(end.read_text()) if end.exists() else None

    def ends(self) -> int | None:
        eventually(lambda: self.code is not None, PATIENCE)
        return self.code


class Nursery:
    """Where daemons come from: a process that has imported everything and forks."""

    def __init__(self, process: subprocess.Popen[str], scratch: Path) -> None:
        self._process = process
        self._scratch = scratch
        self._count = itertools.count()

    @contextmanager
    def __call__(self, state_dir: Path, **given: Any) -> Iterator[Process]:
        out = self._scratch / f"daemon-{next(self._count)}"
        for suffix in (".said", ".log"):
            out.with_suffix(suffix).touch()
        order = {"state_dir": str(state_dir), "out": str(out), **given}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        process = Process(int(self._process.stdout.readline()), out)
        try:
            yield process
        finally:
            if process.code is None:
                process.send(signal.SIGKILL)
                process.ends()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, str(PROGRAM)], text=True, **pipes) as process:
        yield Nursery(process, tmp_path_factory.mktemp("daemons"))
        process.stdin.close()


def depth(state_dir: Path) -> dict[JobState, int]:
    store = SqliteStore(state_dir)
    try:
        return store.queue_depth()
    finally:
        store.close()


@contextmanager
def next_daemon(state_dir: Path, database: Path | None = None, stacks: int = 1) -> Iterator[ScriptedWork]:
    """The daemon that starts after that one, here in this process: what it begins is in its `begun`."""
    store = SqliteStore(database or state_dir)
    work = ScriptedWork(store, dict.fromkeys(fleet(stacks), every(3600)))
    it = Daemon(settings(state_dir), work=work, jobs=store, dues=store, clock=wall_clock)
    thread = threading.Thread(target=it.run)
    thread.start()
    try:
        yield work
    finally:
        it.stop()
        thread.join(10)
        store.close()
        assert not thread.is_alive()


WAITING = {JobState.QUEUED: 1, JobState.RUNNING: 0}
EMPTY = {JobState.QUEUED: 0, JobState.RUNNING: 0}


def test_a_running_check_is_finished_and_the_exit_code_is_0(daemon: Nursery, tmp_path: Path) -> None:
    with daemon(tmp_path, seconds=0.5, queue=True) as it:
        assert it.hears("begun")
        it.send(signal.SIGTERM)
        assert it.ends() == 0
        assert it.said[-1].startswith("done")
    assert depth(tmp_path) == EMPTY


@pytest.mark.row(4)
def test_after_the_grace_a_check_is_told_to_stop_and_comes_again(daemon: Nursery, tmp_path: Path) -> None:
    """Row 4 (for plans): no new work, the grace, then one word to stop; the state is consistent, exit 0."""
    with daemon(tmp_path, seconds=30, grace="300ms", queue=True) as it:
        assert it.hears("begun")
        it.send(signal.SIGTERM)
        assert it.ends() == 0
        assert it.said[-1].startswith("stopped")
    assert depth(tmp_path) == WAITING
    with next_daemon(tmp_path) as work:
        assert eventually(lambda: work.done)
    assert [job.attempts for job in work.begun] == [1], "a stop is no failed attempt"


def test_a_second_signal_hurries_and_a_third_kills_nothing(daemon: Nursery, tmp_path: Path) -> None:
    """The ladder of terraform is not to be shortened: the check still ends in order."""
    with daemon(tmp_path, seconds=30, reluctant=0.7, queue=True) as it:
        assert it.hears("begun")
        it.send(signal.SIGTERM)
        assert it.logs("stop")
        before = time.monotonic()
        it.send(signal.SIGTERM)
        assert it.logs("interrupt")
        it.send(signal.SIGTERM)
        assert it.ends() == 0
        assert 0.5 < time.monotonic() - before < 10
        assert it.said[-1].startswith("stopped")
    assert depth(tmp_path) == WAITING


@pytest.mark.row(1)
def test_after_kill_9_the_check_runs_again_once(daemon: Nursery, tmp_path: Path) -> None:
    """Row 1 (the queue's part): nothing is lost and nothing doubled; its lease need not pass first."""
    with daemon(tmp_path, seconds=30, queue=True) as it:
        assert it.hears("begun")
        it.send(signal.SIGKILL)
        assert it.ends() == -signal.SIGKILL
    with next_daemon(tmp_path) as work:
        assert eventually(lambda: work.done)
        assert eventually(lambda: depth(tmp_path) == EMPTY)
    assert [(job.attempts, job.trigger) for job in work.begun] == [(2, Trigger.RETRY)]


def test_a_second_daemon_says_who_holds_the_directory(daemon: Nursery, tmp_path: Path) -> None:
    with next_daemon(tmp_path):
        assert eventually(lambda: last_holder(tmp_path) is not None)
        with daemon(tmp_path) as second:
            assert second.ends() == 1
            assert second.said[-1].startswith("error state_dir_held")
            assert f"process {os.getpid()} on {socket.gethostname()} since 20" in second.said[-1]


def test_sighup_without_anything_to_read_again_is_survived(daemon: Nursery, tmp_path: Path) -> None:
    """And Ctrl-C at a terminal is an orderly end, like SIGTERM."""
    with daemon(tmp_path, seconds=0) as it:
        assert it.hears("ready")
        it.send(signal.SIGHUP)
        assert it.logs("reload")
        it.send(signal.SIGINT)
        assert it.ends() == 0
        assert it.logs("stopped")


@pytest.mark.row(42)
def test_the_work_of_a_daemon_that_was_killed_goes_to_the_other(
    daemon: Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 42: two daemons share one database; when one dies, the other takes over after the lease."""
    monkeypatch.setitem(Workers.__init__.__kwdefaults__, "lease", timedelta(seconds=1))
    shared = tmp_path / "database"
    given = {"store": str(shared), "seconds": 30, "lease": 1, "queue": True}
    with daemon(tmp_path / "a", **given) as first:
        assert first.hears("begun")
        with next_daemon(tmp_path / "b", shared) as second:
            time.sleep(2)
            assert second.begun == [], "the lease is being kept"
            first.send(signal.SIGKILL)
            assert eventually(lambda: second.done, 15)
    assert [job.attempts for job in second.begun] == [2]
    assert depth(shared) == EMPTY


def test_systemd_hears_of_readiness_of_life_and_of_the_end(daemon: Nursery, tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        inbox.settimeout(15)
        inbox.bind(str(address))
        environment = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "1000000"}
        with daemon(tmp_path / "state", environment=environment, seconds=0) as it:
            heard: list[str] = []
            while "WATCHDOG=1" not in heard:
                heard.append(inbox.recv(4096).decode())
            it.send(signal.SIGTERM)
            assert it.ends() == 0
            while not heard[-1].startswith("STOPPING=1"):
                heard.append(inbox.recv(4096).decode())
    ready = [line for line in heard if line.startswith("READY=1")]
    assert ready == ["READY=1\nSTATUS=watching 1 stacks"]
    assert "EXTEND_TIMEOUT_USEC=" in heard[-1]


@pytest.mark.row(76)
def test_being_killed_again_and_again_loses_and_doubles_nothing(daemon: Nursery, tmp_path: Path) -> None:
    """Row 76 (part): the queue is in order after each kill -9, at whatever moment it came."""
    stacks = 5
    for moment in (0.0, 0.1):
        with daemon(tmp_path, stacks=stacks, seconds=0.1) as it:
            assert it.hears("ready")
            time.sleep(moment)
            it.send(signal.SIGKILL)
            it.ends()
    with next_daemon(tmp_path, stacks=stacks) as work:
        assert eventually(lambda: depth(tmp_path) == EMPTY, 15)
    begun = [job.stack for job in work.begun]
    assert len(begun) == len(set(begun))
    assert set(begun) <= set(fleet(stacks))


def wake_ups(pid: int) -> int:
    """How often any of a process's threads has begun to wait so far."""
    lines = [
        line
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for line in (thread / "status").read_text().splitlines()
    ]
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def test_an_idle_daemon_costs_next_to_nothing(daemon: Nursery, tmp_path: Path) -> None:
    """On 1,000 stacks, hourly: under 200 MB, under 2 % of a core, and few wake-ups.

    A check that takes no time, every few seconds, is part of it.
    """
    seconds = 4
    with daemon(tmp_path, stacks=1000, every=3600, seconds=0) as it:
        assert it.hears("ready watching 1000 stacks")
        time.sleep(1)
        process = psutil.Process(it.pid)
        before, switches = process.cpu_times(), wake_ups(it.pid)
        time.sleep(seconds)
        after = process.cpu_times()
        cpu = (after.user + after.system - before.user - before.system) / seconds
        wakes = (wake_ups(it.pid) - switches) / seconds
        memory = process.memory_info().rss / 1e6
    print(f"{memory:.0f} MB, {cpu:.2%} of a core, {wakes:.1f} wake-ups a second")
    assert memory < 200
    assert cpu < 0.02
    assert wakes < 20
