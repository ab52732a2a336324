"""Provider processes: started right, bounded in number, shared with nobody else's, and gone when we are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from driftwatch.errors import (
    PoolFullError,
    PoolUnavailableError,
    ProviderNotStartedError,
    ProviderProtocolError,
    WarmError,
)
from driftwatch.warm.packages import Package
from driftwatch.warm.pool import Limits, Pool, environment_identity, sweep
from driftwatch.warm.process import ProviderProcess, environment_for_provider, read_handshake

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def never() -> threading.Event:
    return threading.Event()


def script(directory: Path, text: str, address: str = "example.test/some/provider") -> Package:
    """A provider that is a shell script."""
    binary = directory / "terraform-provider-some"
    binary.write_text("#!/bin/sh\n" + textwrap.dedent(text))
    binary.chmod(0o755)
    return Package(address=address, version="1.0.0", binary=binary, digest=f"h1:{text}")


def take(pool: Pool, package: Package, directory: Path, **more: Any) -> ProviderProcess:
    key = pool.key(package, {"PATH": os.environ["PATH"]}, directory)
    return pool.take(key, {"PATH": os.environ["PATH"]}, stop=never(), **more)


@pytest.fixture
def listening(tmp_path: Path) -> Package:
    """Says a handshake and sleeps: enough where nobody calls it."""
    return script(tmp_path, "echo '1|6|unix|/nowhere|grpc|'\nexec sleep 600")


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("exit 3", ProviderNotStartedError, "exit 3"),
        ("echo hello; sleep 60", ProviderNotStartedError, "no handshake: 'hello'"),
        ("echo '1|4|unix|/x|grpc|'; sleep 60", ProviderProtocolError, "1/4"),
        ("echo '2|6|unix|/x|grpc|'; sleep 60", ProviderProtocolError, "2/6"),
        ("echo '1|5|unix|/x|netrpc|'; sleep 60", ProviderProtocolError, "netrpc"),
        ("echo '1|5|tcp|127.0.0.1:9|grpc|'; sleep 60", ProviderProtocolError, "tcp"),
        ("echo '1|5|unix|/x|grpc|!!'; sleep 60", ProviderProtocolError, "certificate"),
        ("exec sleep 60", ProviderNotStartedError, "within 0.5 s"),
        ("yes x | tr -d '\\n'", ProviderNotStartedError, "ended before|within"),
    ],
)
def test_what_is_no_provider_is_a_named_error(
    tmp_path: Path, text: str, error: type[Exception], says: str, clock: Callable[[], datetime]
) -> None:
    """And nothing of it stays."""
    with Pool(Limits(start_seconds=0.5), clock) as pool:
        with pytest.raises(error, match=says):
            take(pool, script(tmp_path, text), tmp_path)
        assert pool.stats().processes == 0


def test_a_binary_that_is_not_there_is_a_named_error(pool: Pool, tmp_path: Path) -> None:
    package = Package(address="a/b/c", version="1", binary=tmp_path / "none", digest="h1:x")
    with pytest.raises(WarmError):
        take(pool, package, tmp_path)


def test_what_a_broken_provider_said_is_told(tmp_path: Path, clock: Callable[[], datetime]) -> None:
    with Pool(Limits(start_seconds=5), clock) as pool:
        with pytest.raises(ProviderNotStartedError) as caught:
            take(pool, script(tmp_path, "echo 'no such library' >&2; sleep 0.2; exit 127"), tmp_path)
        assert caught.value.detail == "no such library"


def test_a_handshake_with_more_fields_is_one() -> None:
    """go-plugin 1.6 adds whether it multiplexes."""
    found = read_handshake("1|5|unix|/tmp/plugin1|grpc||false\n", "it")
    assert (found.protocol, found.socket, found.certificate) == (5, "/tmp/plugin1", None)


def test_a_process_is_used_again_only_for_what_it_was_configured_for(
    pool: Pool, listening: Package, tmp_path: Path
) -> None:
    first = take(pool, listening, tmp_path, configured=b"ada")
    first.configured = b"ada"
    pool.give_back(first)
    other = take(pool, listening, tmp_path, configured=b"bob")
    assert other is not first
    assert take(pool, listening, tmp_path, configured=b"ada") is first


def test_the_environment_and_the_directory_keep_processes_apart(
    pool: Pool, listening: Package, tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    keys = [
        pool.key(listening, environment, directory)
        for environment in ({"A": "1"}, {"A": "2"})
        for directory in (one, two)
    ]
    assert len({key.identity for key in keys}) == 4


def test_a_directory_made_anew_is_another_one(pool: Pool, listening: Package, tmp_path: Path) -> None:
    """A process whose directory was removed would find none of its files."""
    place = tmp_path / "tree"
    place.mkdir()
    process = take(pool, listening, place)
    pool.give_back(process)
    place.rmdir()
    (tmp_path / "between").mkdir()
    place.mkdir()
    assert take(pool, listening, place) is not process


def test_a_big_clouds_provider_serves_every_directory(pool: Pool, tmp_path: Path) -> None:
    """Unless its environment names something that is there."""
    package = script(tmp_path, "exit 1", address="registry.example/hashicorp/aws")
    (tmp_path / "credentials").write_text("")
    assert pool.key(package, {"AWS_REGION": "eu-west-1"}, tmp_path).directory is None
    named = pool.key(package, {"AWS_SHARED_CREDENTIALS_FILE": "credentials"}, tmp_path)
    assert named.directory is not None
    upwards = pool.key(package, {"AWS_SHARED_CREDENTIALS_FILE": "../credentials"}, tmp_path)
    assert upwards.directory is not None


def test_the_oldest_idle_one_makes_room_and_no_busy_one_does(
    listening: Package, tmp_path: Path, clock: Callable[[], datetime]
) -> None:
    with Pool(Limits(processes=2), clock) as pool:
        first, second = (take(pool, listening, tmp_path, configured=name) for name in (b"1", b"2"))
        with pytest.raises(PoolFullError):
            take(pool, listening, tmp_path, configured=b"3")
        first.configured, second.configured = b"1", b"2"
        pool.give_back(second)
        pool.give_back(first)
        take(pool, listening, tmp_path, configured=b"3")
        assert not second.is_usable
        assert first.is_usable
        assert pool.stats().retired == {"room": 1}


@pytest.mark.parametrize("is_busy", [True, False])
def test_an_old_one_goes_also_where_it_is_always_in_use(
    listening: Package, tmp_path: Path, is_busy: bool
) -> None:
    """It may hold answers of its cloud in memory; nobody may be told the same from there for ever."""
    now = [datetime(2026, 11, 23, tzinfo=UTC)]
    with Pool(Limits(short_life_seconds=60, idle_seconds=600), lambda: now[0]) as pool:
        first = take(pool, listening, tmp_path)
        pool.give_back(first)
        now[0] += timedelta(seconds=59)
        pool.maintain()
        assert take(pool, listening, tmp_path) is first
        if not is_busy:
            pool.give_back(first)
        now[0] += timedelta(seconds=2)
        pool.maintain()
        if is_busy:
            assert pool.stats().processes == 1
            pool.give_back(first)
        assert pool.stats().processes == 0
        assert pool.stats().retired == {"age": 1}


def test_idle_dead_and_heavy_ones_go(listening: Package, tmp_path: Path) -> None:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    with Pool(Limits(idle_seconds=60, memory_mb=1000), lambda: now[0]) as pool:
        pool.give_back(take(pool, listening, tmp_path))
        now[0] += timedelta(seconds=61)
        pool.maintain()
        assert pool.stats().retired == {"idle": 1}

        process = take(pool, listening, tmp_path)
        pool.give_back(process)
        os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: not process.is_usable)
        assert take(pool, listening, tmp_path) is not process, "a dead one is given to nobody"

    with Pool(Limits(memory_mb=0), lambda: now[0]) as pool:
        busy, idle = (take(pool, listening, tmp_path, configured=name) for name in (b"1", b"2"))
        pool.give_back(idle)
        pool.maintain()
        assert pool.stats().retired == {"memory": 1}
        assert busy.is_usable


def test_what_is_retired_in_use_goes_when_it_comes_back(
    pool: Pool, listening: Package, tmp_path: Path
) -> None:
    """Credentials that expire, a binary that changed, a provider in quarantine."""
    process = take(pool, listening, tmp_path)
    assert pool.retire("credentials", lambda key: key.package.address == listening.address) == 1
    assert process._child.poll() is None
    pool.give_back(process)
    assert process._child.poll() is not None
    assert pool.stats().retired == {"credentials": 1}


def test_a_closed_pool_is_a_named_error_and_has_no_process(
    listening: Package, tmp_path: Path, clock: Callable[[], datetime]
) -> None:
    pool = Pool(Limits(), clock)
    process = take(pool, listening, tmp_path)
    pool.close()
    pool.close()
    assert not process.is_usable
    assert not pool.directory.exists()
    with pytest.raises(PoolUnavailableError):
        take(pool, listening, tmp_path)


PARENT = """
import sys, threading, time
from datetime import UTC, datetime
from pathlib import Path
from driftwatch.warm.packages import Package
from driftwatch.warm.pool import Limits, Pool, environment_identity, sweep

pool = Pool(Limits(), lambda: datetime.now(UTC))
here = Path(sys.argv[1])
package = Package(address="a/b/c", version="1", binary=here / "terraform-provider-some", digest="h1:x")
environment = {"PATH": "/usr/bin:/bin"}
made = []

def start():
    made.append(pool.take(pool.key(package, environment, here), environment, stop=threading.Event()))

# The thread that asks for a process may end; only the pool's own end counts.
thread = threading.Thread(target=start)
thread.start()
thread.join()
time.sleep(0.5)
assert made[0].is_usable
print(made[0].pid, flush=True)
time.sleep(600)
"""


def test_no_process_outlives_a_kill_of_ours(listening: Package, tmp_path: Path) -> None:
    """After a kill -9 of the daemon there is nobody who could end them."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
        parent.wait()
        wait_until(lambda: not alive(pid))
    finally:
        parent.kill()
        parent.wait()
        assert parent.stdout is not None
        parent.stdout.close()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def test_providers_get_nothing_of_one_run_alone(pool: Pool) -> None:
    """So that the next run of the same stack finds its processes; and homes are shared by equals only."""
    plans = {"A": "1", "TMPDIR": "/somewhere", "DRIFTWATCH_RUN": "x"}
    first = pool.environment(plans)
    assert set(first) == {"A", "HOME"}
    assert Path(first["HOME"]).stat().st_mode & 0o777 == 0o700
    assert pool.environment({**plans, "DRIFTWATCH_RUN": "y"}) == first
    assert pool.environment({**plans, "A": "2"})["HOME"] != first["HOME"]
    assert pool.environment({**plans, "HOME": "/people/ada"})["HOME"] == "/people/ada"


def test_an_environment_is_the_same_one_in_the_next_pool(limits: Limits, clock: Any) -> None:
    """Recordings outlive a pool, whose directory for homes does not."""
    identities = []
    for _ in range(2):
        with Pool(limits, clock) as made:
            identities.append(made.identity(made.environment({"A": "1"})))
            assert made.identity(made.environment({"A": "2"})) != identities[-1]
            assert made.identity({"A": "1", "HOME": "/people/ada"}) != identities[-1]
    assert identities[0] == identities[1]


def test_another_content_of_a_credentials_file_is_another_environment(tmp_path: Path) -> None:
    """A provider reads it once: with the old process a plan would see through the old credentials."""
    named, home = tmp_path / "named", tmp_path / "home"
    (home / ".aws").mkdir(parents=True)
    environment = {"AWS_SHARED_CREDENTIALS_FILE": str(named), "HOME": str(home)}
    seen = {environment_identity(environment)}
    for file in (named, home / ".aws/credentials"):
        for content in ("first", "longer than that"):
            file.write_text(content)
            seen.add(environment_identity(environment))
    assert len(seen) == 5
    assert environment_identity(environment) in seen


def test_what_a_killed_pool_left_is_swept_and_what_lives_is_not(
    limits: Limits, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(prefix="dw-") as short:
        place = Path(short)
        monkeypatch.setattr("driftwatch.warm.pool._places", lambda: (place,))
        killed, being_made = place / "dw-warm-killed", place / "dw-warm-being-made"
        killed.mkdir()
        (killed / "lock").touch()
        being_made.mkdir()
        with Pool(limits, clock) as alive:
            sweep()
            assert not killed.exists()
            assert alive.directory.exists()
        assert being_made.exists()


def test_providers_are_told_to_keep_their_traces_to_themselves(tmp_path: Path) -> None:
    """They hold the bodies of requests, and cost CPU; whoever asked for them in the environment gets them."""
    package = Package(address="r/hashicorp/google-beta", version="1", binary=tmp_path, digest="h1:x")
    made = environment_for_provider({"TF_LOG_SDK": "TRACE", "PLUGIN_CLIENT_CERT": "x"}, tmp_path, package)
    assert made["TF_LOG_PROVIDER"] == made["TF_LOG_PROVIDER_GOOGLE_BETA"] == "ERROR"
    assert made["TF_LOG_SDK"] == "TRACE"
    assert "PLUGIN_CLIENT_CERT" not in made
