"""One daemon per state directory."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from service_doubles import MORNING, Clock

from driftwatch.errors import StateDirectoryHeldError, UsageError
from driftwatch.service.lock import LOCK_FILE, StateLock, last_holder

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from driftwatch.service.lock import StateLock

lock = StateLock.acquire(Path(sys.argv[1]), clock=lambda: datetime(2026, 11, 17, 8, 0, tzinfo=UTC))
print("held", flush=True)
time.sleep(60)
"""


def test_the_second_is_told_who_holds_it(tmp_path: Path) -> None:
    with StateLock.acquire(tmp_path, clock=Clock()), pytest.raises(StateDirectoryHeldError) as caught:
        StateLock.acquire(tmp_path, clock=Clock())
    assert (
        f"process {os.getpid()} on {socket.gethostname()} since 2026-11-17T08:00:00" in caught.value.message
    )
    assert caught.value.advice


def test_a_released_directory_is_free_and_releasing_twice_is_harmless(tmp_path: Path) -> None:
    lock = StateLock.acquire(tmp_path, clock=Clock())
    lock.release()
    lock.release()
    StateLock.acquire(tmp_path, clock=Clock()).release()


def test_the_kernel_releases_it_when_the_holder_is_killed(tmp_path: Path) -> None:
    """Kill -9 leaves the file; who comes next takes the directory, and the file says so."""
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StateDirectoryHeldError, match=f"process {holder.pid} on "):
            StateLock.acquire(tmp_path, clock=Clock())
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert last_holder(tmp_path).pid == holder.pid
    with StateLock.acquire(tmp_path, clock=Clock()):
        assert last_holder(tmp_path).pid == os.getpid()
        assert last_holder(tmp_path).since == MORNING


def test_children_do_not_inherit_it(tmp_path: Path) -> None:
    """A terraform that outlives the daemon must not hold the directory."""
    lock = StateLock.acquire(tmp_path, clock=Clock())
    command = [sys.executable, "-c", "print('up', flush=True); input()"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, close_fds=False, **pipes) as child:
        assert child.stdout.readline() == b"up\n"
        lock.release()
        StateLock.acquire(tmp_path, clock=Clock()).release()
        child.communicate(b"\n")


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"pid": "x"}', "\x00\xff"])
def test_a_lock_file_that_says_something_else_is_no_obstacle(tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK_FILE).write_text(content, encoding="latin-1")
    assert last_holder(tmp_path) is None
    with StateLock.acquire(tmp_path, clock=Clock()):
        assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()


def test_the_file_and_the_directory_are_for_nobody_else(tmp_path: Path) -> None:
    with StateLock.acquire(tmp_path / "new" / "state", clock=Clock()):
        assert (tmp_path / "new" / "state").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "new" / "state" / LOCK_FILE).stat().st_mode & 0o777 == 0o600


def test_a_directory_that_cannot_be_used_is_a_mistake_in_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be used") as caught:
        StateLock.acquire(tmp_path / "file", clock=Clock())
    assert "state_dir" in caught.value.advice
