"""A worktree per commit in use: whole, read-only, shared, and gone when nobody uses it."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from driftwatch.errors import RepositoryInterruptedError

from .conftest import ROOT, MakeMirror, Upstream

if TYPE_CHECKING:
    from driftwatch.git import Mirror


def worktrees(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "state/platform/worktrees").iterdir()}


def test_a_checkout_is_the_whole_tree(upstream: Upstream, mirror: Mirror) -> None:
    upstream.write({"modules/a/main.tf": "a", "envs/prod/deep/er/x": "x", "run.sh": "#!/bin/sh\n"})
    (upstream.path / "run.sh").chmod(0o755)
    commit = upstream.commit()
    mirror.fetch()
    with mirror.checkout(commit) as checkout:
        assert (checkout / "envs/prod/../../modules/a/main.tf").read_text() == "a"
        assert (checkout / "envs/prod/deep/er/x").read_text() == "x"
        assert os.access(checkout / "run.sh", os.X_OK)


def test_a_checkout_is_read_only(upstream: Upstream, mirror: Mirror) -> None:
    upstream.write({"a/b/c": "1"})
    commit = upstream.commit()
    mirror.fetch()
    with mirror.checkout(commit) as checkout:
        for path in [checkout, *checkout.rglob("*")]:
            assert not stat.S_IMODE(path.lstat().st_mode) & 0o222, path
        if os.geteuid() != 0:
            with pytest.raises(PermissionError):
                (checkout / "new").write_text("x")


def test_checks_at_one_commit_share_one_worktree(upstream: Upstream, mirror: Mirror, tmp_path: Path) -> None:
    """Eight at once get the same directory, built once, and the last one out removes it."""
    old = mirror.fetch().commit
    upstream.commit({"a": "1"})
    mirror.fetch()
    inside, barrier = [], threading.Barrier(8)

    def check(_: int) -> Path:
        with mirror.checkout(old) as checkout:
            inside.append((checkout / "envs/prod/main.tf").read_text())
            barrier.wait(20)
            assert (checkout / "envs/prod/main.tf").exists()
            return checkout

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(check, range(8)))) == 1
    assert inside == [ROOT] * 8
    assert worktrees(tmp_path) == set()


def test_a_worktree_goes_when_nobody_uses_it(upstream: Upstream, mirror: Mirror, tmp_path: Path) -> None:
    """That of the head stays for the next check, until the head moves or the mirror is closed."""
    first = mirror.fetch().commit
    with mirror.checkout(first) as checkout:
        pass
    with mirror.checkout(first) as again:
        assert again == checkout
    second = upstream.commit({"a": "1"})
    with mirror.checkout(first) as in_use:
        mirror.fetch()
        with mirror.checkout(second):
            assert worktrees(tmp_path) == {first, f"{first}.lock", second, f"{second}.lock"}
        assert (in_use / "envs/prod/main.tf").exists()
    assert worktrees(tmp_path) == {second, f"{second}.lock"}
    mirror.close()
    assert worktrees(tmp_path) == set()
    assert not (tmp_path / "state/platform/mirror.git/worktrees").exists()
    with mirror.checkout(second) as checkout:
        assert (checkout / "a").read_text() == "1"


def test_a_check_that_fails_leaves_no_worktree_behind(
    upstream: Upstream, mirror: Mirror, tmp_path: Path
) -> None:
    old = mirror.fetch().commit
    upstream.commit({"a": "1"})
    mirror.fetch()
    with pytest.raises(ZeroDivisionError), mirror.checkout(old):
        raise ZeroDivisionError
    assert worktrees(tmp_path) == set()


def test_a_worktree_that_somebody_removed_is_built_again(upstream: Upstream, mirror: Mirror) -> None:
    commit = mirror.fetch().commit
    with mirror.checkout(commit) as checkout:
        pass
    for directory in [checkout, *checkout.rglob("*")]:
        directory.chmod(0o700)
    shutil.rmtree(checkout)
    with mirror.checkout(commit) as checkout:
        assert (checkout / "envs/prod/main.tf").exists()


def test_the_same_commit_has_the_same_path_after_a_restart(
    upstream: Upstream, make_mirror: MakeMirror
) -> None:
    """Absolute paths get into plans: a restart must not look like a change."""
    paths = []
    for _ in range(2):
        mirror = make_mirror(upstream.url)
        with mirror.checkout(mirror.fetch().commit) as checkout:
            paths.append(checkout)
        mirror.close()
    assert paths[0] == paths[1]


HOLD = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from driftwatch.config.settings import RepositorySettings
from driftwatch.git import Mirror
settings = RepositorySettings(url=sys.argv[1])
mirror = Mirror("platform", settings, Path(sys.argv[2]), clock=lambda: datetime.now(UTC))
with mirror.checkout(mirror.fetch().commit) as checkout:
    print(checkout, flush=True)
    sys.stdin.read()
"""


def test_two_processes_do_not_share_and_a_crash_is_swept(
    upstream: Upstream, make_mirror: MakeMirror, tmp_path: Path
) -> None:
    """A worktree of a living process is left alone; what a killed one left goes at the next start."""
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, upstream.url, str(tmp_path / "state/platform")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    theirs = Path(other.stdout.readline().strip())
    mirror = make_mirror(upstream.url)
    with mirror.checkout(mirror.fetch().commit) as ours:
        assert ours != theirs
    mirror.close()
    assert (theirs / "envs/prod/main.tf").exists()
    other.send_signal(signal.SIGKILL)
    other.communicate()
    assert theirs.exists()
    leftover = tmp_path / "state/platform/mirror.git/worktrees" / theirs.name / "index.lock"
    leftover.write_bytes(b"")
    fresh = make_mirror(upstream.url)
    fresh.fetch()
    assert worktrees(tmp_path) == set()
    assert not leftover.exists()
    with fresh.checkout(upstream.head()) as checkout:
        assert checkout == theirs


def test_a_half_built_worktree_is_built_anew(
    upstream: Upstream, make_mirror: MakeMirror, tmp_path: Path
) -> None:
    make_mirror(upstream.url).fetch()
    half = tmp_path / "state/platform/worktrees" / upstream.head()
    (half / "envs").mkdir(parents=True)
    (half / "wrong").write_text("x")
    half.with_name(f"{half.name}.lock").write_bytes(b"")
    with make_mirror(upstream.url).checkout(upstream.head()) as checkout:
        assert sorted(path.name for path in checkout.iterdir()) == [".git", "envs"]


def test_a_checkout_does_not_wait_for_a_fetch(
    upstream: Upstream, make_mirror: MakeMirror, silent_port: int, stop: threading.Event
) -> None:
    """A remote that hangs holds up its own polls, not the checks."""
    commit = make_mirror(upstream.url).fetch().commit
    hanging = make_mirror(f"http://127.0.0.1:{silent_port}/x.git")

    def poll() -> None:
        with pytest.raises(RepositoryInterruptedError):
            hanging.fetch()

    thread = threading.Thread(target=poll)
    thread.start()
    with hanging.checkout(commit) as checkout:
        assert (checkout / "envs/prod/main.tf").exists()
    assert thread.is_alive()
    stop.set()
    thread.join()
