"""A mirror follows its branch wherever it goes, and keeps the last good commit when it cannot."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from driftwatch.errors import (
    BranchMissingError,
    DriftwatchError,
    GitMissingError,
    Remedy,
    RemoteRefusedError,
    RepositoryBusyError,
    RepositoryInterruptedError,
    RepositoryTooLargeError,
)
from driftwatch.git import Fetched, Mirror
from driftwatch.git.lock import locked

from .conftest import ROOT, Clock, MakeMirror, Upstream


def test_the_first_fetch_brings_the_branch(upstream: Upstream, mirror: Mirror) -> None:
    assert mirror.head() is None
    fetched = mirror.fetch()
    assert fetched == Fetched(commit=upstream.head(), previous=None, changed=True, rewritten=False)
    assert mirror.head() == upstream.head()


def test_a_fetch_of_nothing_new_says_so(upstream: Upstream, mirror: Mirror) -> None:
    mirror.fetch()
    assert mirror.fetch() == Fetched(
        commit=upstream.head(), previous=upstream.head(), changed=False, rewritten=False
    )


def test_new_commits_are_followed(upstream: Upstream, mirror: Mirror) -> None:
    first = mirror.fetch().commit
    second = upstream.commit({"a": "b"})
    assert mirror.fetch() == Fetched(commit=second, previous=first, changed=True, rewritten=False)


def test_the_head_survives_a_restart(upstream: Upstream, make_mirror: MakeMirror) -> None:
    commit = make_mirror(upstream.url).fetch().commit
    shutil.rmtree(upstream.path)
    later = make_mirror(upstream.url)
    assert later.head() == commit
    assert later.read(commit, "envs/prod/main.tf") == ROOT.encode()


@pytest.mark.row(32)
@pytest.mark.parametrize("how", ["amended", "reset to an older commit", "unrelated history"])
def test_a_rewritten_branch_is_followed_and_flagged(upstream: Upstream, mirror: Mirror, how: str) -> None:
    """Row 32: a force-push is fetched, flagged as rewritten, and checked out."""
    old = upstream.head()
    before = upstream.commit({"x": "1"})
    mirror.fetch()
    with mirror.checkout(before) as in_use:
        match how:
            case "amended":
                upstream.git("commit", "--quiet", "--amend", "-m", "another", "--allow-empty")
            case "reset to an older commit":
                upstream.git("reset", "--quiet", "--hard", old)
            case _:
                upstream.git("checkout", "--quiet", "--orphan", "fresh")
                upstream.commit({"y": "2"})
                upstream.git("branch", "-M", "main")
        after = upstream.head()
        assert mirror.fetch() == Fetched(commit=after, previous=before, changed=True, rewritten=True)
        assert (in_use / "x").read_text() == "1"
        with mirror.checkout(after) as checkout:
            assert (checkout / "envs/prod/main.tf").exists()
    assert mirror.head() == after


@pytest.mark.row(33)
def test_a_deleted_branch_leaves_the_last_good_commit(upstream: Upstream, make_mirror: MakeMirror) -> None:
    """Row 33: a deleted branch is a clear error, the last good commit stays, and its return heals."""
    upstream.git("branch", "live")
    mirror = make_mirror(upstream.url, branch="live")
    good = mirror.fetch().commit
    upstream.git("branch", "-D", "live")
    upstream.commit({"a": "1"})
    for _ in range(2):
        with pytest.raises(BranchMissingError, match="no branch live") as caught:
            mirror.fetch()
    assert "main" in (caught.value.advice or "")
    assert mirror.head() == good
    with mirror.checkout(good) as checkout:
        assert (checkout / "envs/prod/main.tf").exists()
    upstream.git("branch", "live", "main")
    assert mirror.fetch().previous == good


@pytest.mark.row(33)
def test_a_renamed_branch_is_recognised_by_its_commit(upstream: Upstream, mirror: Mirror) -> None:
    """Row 33: when the branch has another name now, the advice says which."""
    mirror.fetch()
    upstream.git("branch", "-m", "main", "trunk")
    with pytest.raises(BranchMissingError) as caught:
        mirror.fetch()
    assert "renamed" in (caught.value.advice or "")
    assert "`branch: trunk`" in (caught.value.advice or "")


@pytest.mark.row(33)
def test_an_empty_repository_says_what_to_do(tmp_path: Path, make_mirror: MakeMirror) -> None:
    """Row 33: a remote without any branch."""
    empty = Upstream(tmp_path / "empty")
    mirror = make_mirror(empty.url)
    with pytest.raises(BranchMissingError) as caught:
        mirror.fetch()
    assert "no branches yet" in (caught.value.advice or "")
    assert mirror.head() is None


@pytest.mark.row(33)
def test_a_repository_that_is_gone_leaves_the_last_good_commit(upstream: Upstream, mirror: Mirror) -> None:
    """Row 33: the whole repository is gone."""
    good = mirror.fetch().commit
    upstream.path.rename(upstream.path.with_name("elsewhere"))
    with pytest.raises(RemoteRefusedError):
        mirror.fetch()
    assert mirror.head() == good


def test_branches_with_slashes_do_not_get_in_each_others_way(
    upstream: Upstream, make_mirror: MakeMirror
) -> None:
    upstream.git("branch", "live")
    make_mirror(upstream.url, branch="live").fetch()
    upstream.git("branch", "-m", "live", "live/new")
    assert make_mirror(upstream.url, branch="live/new").fetch().previous is None


def test_another_branch_in_the_settings_does_not_inherit_the_head(
    upstream: Upstream, make_mirror: MakeMirror
) -> None:
    make_mirror(upstream.url).fetch()
    assert make_mirror(upstream.url, branch="other").head() is None


def test_only_the_branch_is_fetched(upstream: Upstream, mirror: Mirror, tmp_path: Path) -> None:
    upstream.git("tag", "v1")
    upstream.git("branch", "other")
    mirror.fetch()
    refs = (tmp_path / "state/platform/mirror.git").rglob("*")
    assert {path.name for path in refs if "refs" in path.parts and path.is_file()} == {"main"}


@pytest.mark.parametrize("form", ["file://{}", "{}", "{}/.git", "file://{}-link", "{}-bare"])
def test_local_repositories_of_other_users_are_served(
    upstream: Upstream, make_mirror: MakeMirror, tmp_path: Path, form: str
) -> None:
    """Git itself refuses them since 2.39.4 unless told that this one is meant."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a repository away")
    (tmp_path / "upstream-link").symlink_to(upstream.path)
    upstream.git("clone", "--quiet", "--bare", upstream.url, f"{upstream.path}-bare.git")
    for path in [*upstream.path.rglob("*"), *tmp_path.iterdir(), *tmp_path.glob("upstream-bare.git/**/*")]:
        os.lchown(path, 54321, 54321)
    assert make_mirror(form.format(upstream.path)).fetch().commit


def test_a_shallow_clone_can_be_a_remote(upstream: Upstream, make_mirror: MakeMirror, tmp_path: Path) -> None:
    commit = upstream.commit({"a": "1"})
    upstream.git("clone", "--quiet", "--depth=1", "--bare", upstream.url, str(tmp_path / "shallow.git"))
    assert make_mirror(str(tmp_path / "shallow.git")).fetch().commit == commit


def test_six_threads_fetch_at_once(upstream: Upstream, make_mirror: MakeMirror) -> None:
    """Six parallel fetches into one bare repository fail in git itself; here all succeed."""
    commit = upstream.commit({"a": "1"})
    mirrors = [make_mirror(upstream.url) for _ in range(3)] * 2
    with ThreadPoolExecutor(6) as pool:
        assert {fetched.commit for fetched in pool.map(lambda mirror: mirror.fetch(), mirrors)} == {commit}


def test_waiting_for_another_process_has_an_end(
    upstream: Upstream, make_mirror: MakeMirror, tmp_path: Path, stop: threading.Event
) -> None:
    mirror = make_mirror(upstream.url)
    mirror.fetch()
    hasty = make_mirror(upstream.url, timeout=timedelta(seconds=0.3))
    with locked(tmp_path / "state/platform/fetch.lock", seconds=1, stop=threading.Event()):
        with pytest.raises(RepositoryBusyError) as caught:
            hasty.fetch()
        assert caught.value.remedy is Remedy.RETRY
        stop.set()
        with pytest.raises(RepositoryInterruptedError):
            mirror.fetch()


FETCH = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from driftwatch.config.settings import RepositorySettings
from driftwatch.git import Mirror
settings = RepositorySettings(url=sys.argv[1])
mirror = Mirror("platform", settings, Path(sys.argv[2]), clock=lambda: datetime.now(UTC))
print("fetching", flush=True)
mirror.fetch()
"""


def test_a_kill_in_the_middle_of_a_fetch_leaves_the_mirror_usable(
    upstream: Upstream, make_mirror: MakeMirror, tmp_path: Path
) -> None:
    """After kill -9 of the whole process tree at several moments; the next fetch needs nobody's help."""
    good = make_mirror(upstream.url).fetch().commit
    upstream.commit({f"big{number}": os.urandom(400_000) for number in range(10)})
    for delay in (0.03, 0.15):
        child = subprocess.Popen(
            [sys.executable, "-c", FETCH, upstream.url, str(tmp_path / "state/platform")],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        mirror = make_mirror(upstream.url)
        assert mirror.head() in (good, upstream.head())
    assert mirror.fetch().commit == upstream.head()
    with mirror.checkout(upstream.head()) as checkout:
        assert (checkout / "big9").stat().st_size == 400_000


def test_what_a_killed_git_left_is_cleaned(
    upstream: Upstream, make_mirror: MakeMirror, tmp_path: Path
) -> None:
    make_mirror(upstream.url).fetch()
    git_dir = tmp_path / "state/platform/mirror.git"
    left = [
        git_dir / "HEAD.lock",
        git_dir / "packed-refs.lock",
        git_dir / "shallow.lock",
        git_dir / "refs/driftwatch/fetched/main.lock",
        git_dir / "refs/driftwatch/good/main.lock",
        git_dir / "objects/pack/tmp_pack_xyz",
    ]
    for path in left:
        path.write_bytes(b"")
    commit = upstream.commit({"a": "1"})
    assert make_mirror(upstream.url).fetch().commit == commit
    assert not any(path.exists() for path in left)


@pytest.mark.parametrize("damage", ["empty HEAD", "empty packs", "no objects", "empty refs", "broken config"])
def test_a_damaged_mirror_is_made_anew(
    upstream: Upstream, make_mirror: MakeMirror, tmp_path: Path, damage: str
) -> None:
    """A crash of the machine leaves empty files; the repository can be had again, so nobody need be asked."""
    make_mirror(upstream.url).fetch()
    git_dir = tmp_path / "state/platform/mirror.git"
    match damage:
        case "empty HEAD":
            victims = [git_dir / "HEAD"]
        case "empty packs":
            victims = list(git_dir.glob("objects/pack/*"))
        case "empty refs":
            victims = list(git_dir.glob("refs/driftwatch/*/*"))
        case "broken config":
            victims = [git_dir / "config"]
        case _:
            victims = []
            shutil.rmtree(git_dir / "objects/pack")
    for path in victims:
        path.chmod(0o600)
        path.write_bytes(b"[" if path.name == "config" else b"")
    commit = upstream.commit({"a": "1"})
    mirror = make_mirror(upstream.url)
    assert mirror.fetch().commit == commit
    assert mirror.head() == commit
    assert mirror.read(commit, "a") == b"1"


def test_a_damaged_mirror_waits_for_its_remote(
    upstream: Upstream, make_mirror: MakeMirror, tmp_path: Path
) -> None:
    """What is left is not thrown away before something better is there."""
    make_mirror(upstream.url).fetch()
    (tmp_path / "state/platform/mirror.git/HEAD").write_bytes(b"")
    upstream.path.rename(tmp_path / "away")
    with pytest.raises(DriftwatchError):
        make_mirror(upstream.url).fetch()
    (tmp_path / "away").rename(upstream.path)
    assert make_mirror(upstream.url).fetch().commit == upstream.head()


def test_packs_are_gathered_now_and_then(
    upstream: Upstream, mirror: Mirror, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftwatch.git.mirror._MANY_PACKS", 4)
    packs = tmp_path / "state/platform/mirror.git/objects/pack"
    for number in range(5):
        upstream.commit({"a": str(number)})
        mirror.fetch()
    assert len(list(packs.glob("*.pack"))) <= 2
    upstream.commit({"a": "again"})
    mirror.fetch()
    clock.now += timedelta(days=8)
    mirror.fetch()
    assert len(list(packs.glob("*.pack"))) == 1
    assert mirror.read(upstream.head(), "a") == b"again"


@pytest.mark.row(34)
def test_a_repository_over_its_size_is_refused_while_it_arrives(
    upstream: Upstream, make_mirror: MakeMirror, tmp_path: Path
) -> None:
    """Row 34: the fetch of a huge repository ends at the cap, and what came does not stay on the disk."""
    mirror = make_mirror(upstream.url, max_size_mb=1)
    good = mirror.fetch().commit
    upstream.commit({f"noise{number}": os.urandom(1 << 20) for number in range(4)})
    for _ in range(2):
        with pytest.raises(RepositoryTooLargeError, match="larger than 1 MB") as caught:
            mirror.fetch()
    assert "max_size_mb" in (caught.value.advice or "")
    assert mirror.head() == good
    packs = (tmp_path / "state/platform/mirror.git/objects/pack").glob("*")
    assert sum(path.stat().st_size for path in packs) < 1 << 20
    assert make_mirror(upstream.url).fetch().commit == upstream.head()


def test_what_nobody_refers_to_does_not_count_against_the_cap(
    upstream: Upstream, make_mirror: MakeMirror
) -> None:
    """A branch that is rewritten with large files again and again never fills the mirror."""
    mirror = make_mirror(upstream.url, max_size_mb=2)
    base = mirror.fetch().commit
    for number in range(4):
        upstream.git("reset", "--quiet", "--hard", base)
        upstream.commit({f"noise{number}": os.urandom(900_000)})
        assert mirror.fetch().commit == upstream.head()


@pytest.mark.row(34)
def test_one_huge_file_is_refused_before_it_is_written(upstream: Upstream, make_mirror: MakeMirror) -> None:
    """Row 34: a sparse file packs to nothing and would unfold to a gigabyte; its name is said."""
    with (upstream.path / "disk.img").open("wb") as file:
        file.truncate(24 << 20)
    commit = upstream.commit()
    mirror = make_mirror(upstream.url, max_size_mb=4)
    with pytest.raises(RepositoryTooLargeError, match=r"disk\.img with 24 MB"):
        mirror.fetch()
    assert mirror.head() is None
    with pytest.raises(RepositoryTooLargeError), mirror.checkout(commit):
        raise AssertionError("not reached")


@pytest.mark.row(34)
def test_too_many_files_are_refused(upstream: Upstream, make_mirror: MakeMirror) -> None:
    """Row 34: more files than allowed."""
    upstream.commit({f"files/{number}": "x" for number in range(50)})
    with pytest.raises(RepositoryTooLargeError, match="more files than the 40") as caught:
        make_mirror(upstream.url, max_files=40).fetch()
    assert "max_files" in (caught.value.advice or "")


@pytest.mark.row(34)
def test_a_tree_that_unfolds_without_end_is_cut_off(upstream: Upstream, make_mirror: MakeMirror) -> None:
    """Row 34: a few trees that name each other ten times each stand for ten billion files."""
    blob = upstream.blob(b"boom")
    entries = [("100644", "blob", blob, b"f%d" % number) for number in range(10)]
    for _ in range(10):
        commit = upstream.commit_tree(entries)
        tree = upstream.git("rev-parse", f"{commit}^{{tree}}")
        entries = [("40000", "tree", tree, b"d%d" % number) for number in range(10)]
    started = time.monotonic()
    with pytest.raises(RepositoryTooLargeError, match="more files than"):
        make_mirror(upstream.url, max_files=20_000).fetch()
    assert time.monotonic() - started < 20


def test_descriptors_and_processes_do_not_pile_up(upstream: Upstream, mirror: Mirror) -> None:
    """Fifty rounds of fetch and checkout leave as many descriptors, threads and children as one."""

    def ours() -> tuple[int, int, int]:
        children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
        return (
            sum(1 for _ in Path("/proc/self/fd").iterdir()),
            threading.active_count(),
            len(children.read_text().split()) if children.exists() else 0,
        )

    def one_round(number: int) -> None:
        if number % 5 == 0:
            upstream.commit({"a": str(number)})
        fetched = mirror.fetch()
        with mirror.checkout(fetched.commit):
            pass
        if number % 10 == 0 and fetched.previous:
            with mirror.checkout(fetched.previous):
                pass

    one_round(0)
    before = ours()
    for number in range(1, 51):
        one_round(number)
    assert ours() == before


def test_a_machine_without_git_says_so(
    upstream: Upstream, mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    for program in ("env",):
        (tmp_path / "bin" / program).symlink_to(shutil.which(program) or "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(GitMissingError):
        mirror.fetch()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(GitMissingError):
        mirror.fetch()


def test_a_machine_that_never_had_git_says_so(upstream: Upstream, tmp_path: Path) -> None:
    """GitPython looks for git when it is first imported, and fails in its own way."""
    done = subprocess.run(
        [sys.executable, "-c", FETCH, upstream.url, str(tmp_path / "state/platform")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "GitMissingError: there is no git program" in done.stderr


def test_a_stop_ends_a_running_fetch(
    make_mirror: MakeMirror, stop: threading.Event, silent_port: int
) -> None:
    """Shutdown does not wait for a remote that does not answer."""
    mirror = make_mirror(f"http://127.0.0.1:{silent_port}/x.git")
    threading.Timer(0.3, stop.set).start()
    started = time.monotonic()
    with pytest.raises(RepositoryInterruptedError):
        mirror.fetch()
    assert time.monotonic() - started < 4
