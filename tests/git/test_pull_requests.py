"""Pull requests in the mirror: their head as it was asked for, merged here, looked at before it counts."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from driftwatch.errors import (
    BranchMissingError,
    MergeConflictError,
    PullRequestMovedError,
    RemoteRefusedError,
    RemoteUnreachableError,
    RepositoryError,
    RepositoryTooLargeError,
    UnsafeRepositoryError,
)

from .conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Clock, GitHttp, MakeMirror, Mirror, Upstream


def propose(
    upstream: Upstream, files: dict[str, str | bytes], *, number: int = 7, ref: str = "refs/pull/{}/head"
) -> str:
    """Commits on a branch of its own, that only the forge's ref knows."""
    upstream.git("checkout", "--quiet", "-B", "topic", "main")
    head = upstream.commit(files)
    upstream.git("update-ref", ref.format(number), head)
    upstream.git("checkout", "--quiet", "main")
    upstream.git("branch", "--quiet", "-D", "topic")
    return head


def refs_of_the_mirror(tmp_path: Path) -> dict[str, str]:
    printed = subprocess.run(
        ["git", "-C", tmp_path / "state/platform/mirror.git", "show-ref"],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    return {ref: commit for commit, ref in map(str.split, printed.splitlines())}


@pytest.mark.parametrize(
    ("kind", "ref"), [("github", "refs/pull/{}/head"), ("gitlab", "refs/merge-requests/{}/head")]
)
def test_what_the_branch_would_be_with_it_merged(
    upstream: Upstream, mirror: Mirror, kind: str, ref: str, tmp_path: Path
) -> None:
    """The branch has moved on since: both are in the merge, and only the proposal's changes are named."""
    head = propose(upstream, {"envs/prod/main.tf": ROOT + "# proposed\n", "envs/new/main.tf": ROOT}, ref=ref)
    base = upstream.commit({"elsewhere.tf": "# later\n"})
    mirror.fetch()

    merged = mirror.fetch_pull_request(7, kind=kind, head=head)

    assert (merged.base, merged.head) == (base, head)
    assert merged.changed == ("envs/new/main.tf", "envs/prod/main.tf")
    assert mirror.read(merged.commit, "elsewhere.tf") == b"# later\n"
    assert mirror.read(merged.commit, "envs/prod/main.tf") == (ROOT + "# proposed\n").encode()
    assert [root.path for root in mirror.discover(merged.commit, ["**"])] == ["envs/new", "envs/prod"]
    with mirror.checkout(merged.commit) as path:
        assert (path / "envs/new/main.tf").read_text() == ROOT
    assert mirror.head() == base
    assert not mirror.is_merged(merged.commit)
    assert set(refs_of_the_mirror(tmp_path)) == {
        "refs/driftwatch/fetched/main",
        "refs/driftwatch/good/main",
        f"refs/driftwatch/pulls/{merged.commit}",
    }


def test_the_same_merge_is_the_same_commit(upstream: Upstream, mirror: Mirror, clock: Clock) -> None:
    """So what was said of it holds, also later; on another base it is another."""
    head = propose(upstream, {"a.tf": "# proposed\n"})
    mirror.fetch()
    first = mirror.fetch_pull_request(7, kind="github", head=head)
    clock.now = clock.now.replace(year=2027)
    assert mirror.fetch_pull_request(7, kind="github", head=head) == first
    upstream.commit({"elsewhere.tf": "# later\n"})
    mirror.fetch()
    assert mirror.fetch_pull_request(7, kind="github", head=head).commit != first.commit


def test_renames_and_deletions_name_both_paths(upstream: Upstream, mirror: Mirror) -> None:
    """Also paths that are no text."""
    upstream.commit({"modules/a/main.tf": "# long enough to be a rename\n" * 9, "gone.tf": "# x\n"})
    upstream.git("checkout", "--quiet", "-b", "topic")
    (upstream.path / "modules/b").mkdir()
    (upstream.path / "modules/a/main.tf").rename(upstream.path / "modules/b/main.tf")
    (upstream.path / "gone.tf").unlink()
    with open(os.fsencode(upstream.path) + b"/caf\xe9.tf", "wb") as file:  # noqa: PTH123  (no text, no Path)
        file.write(b"# latin\n")
    head = upstream.commit()
    upstream.git("update-ref", "refs/pull/7/head", head)
    upstream.git("checkout", "--quiet", "main")
    mirror.fetch()
    changed = mirror.fetch_pull_request(7, kind="github", head=head).changed
    assert set(changed) == {"modules/a/main.tf", "modules/b/main.tf", "gone.tf", "caf\udce9.tf"}


def test_a_head_that_is_another_by_now_is_not_taken(
    upstream: Upstream, mirror: Mirror, tmp_path: Path
) -> None:
    """What was looked at, or agreed to, is one commit; what came after it is another."""
    asked = propose(upstream, {"a.tf": "# proposed\n"})
    now = propose(upstream, {"a.tf": "# pushed since\n"})
    mirror.fetch()
    with pytest.raises(PullRequestMovedError, match=f"is at {now[:10]} by now, not at {asked[:10]}"):
        mirror.fetch_pull_request(7, kind="github", head=asked)
    assert not [ref for ref in refs_of_the_mirror(tmp_path) if "pull" in ref]


def test_one_that_conflicts_says_where(upstream: Upstream, mirror: Mirror) -> None:
    many = {f"stack{number}.tf": "# proposed\n" for number in range(8)}
    head = propose(upstream, {**many, "envs/prod/main.tf": "# proposed\n"})
    upstream.commit({**dict.fromkeys(many, "# ours\n"), "envs/prod/main.tf": "# ours\n"})
    mirror.fetch()
    with pytest.raises(MergeConflictError) as caught:
        mirror.fetch_pull_request(7, kind="github", head=head)
    assert caught.value.message == (
        "pull request 7 does not merge with the branch: envs/prod/main.tf, stack0.tf, stack1.tf, stack2.tf,"
        " stack3.tf and 4 more conflict"
    )


def test_one_without_a_common_history_does_not_merge(upstream: Upstream, mirror: Mirror) -> None:
    upstream.git("checkout", "--quiet", "--orphan", "stranger")
    head = upstream.commit({"other.tf": "# another repository\n"})
    upstream.git("update-ref", "refs/pull/7/head", head)
    upstream.git("checkout", "--quiet", "main")
    mirror.fetch()
    with pytest.raises(MergeConflictError, match="shares no history"):
        mirror.fetch_pull_request(7, kind="github", head=head)


def test_a_git_that_is_too_old_to_merge_without_a_checkout_says_so(
    upstream: Upstream, mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = propose(upstream, {"a.tf": "# proposed\n"})
    mirror.fetch()
    old = tmp_path / "old" / "git"
    old.parent.mkdir()
    old.write_text(
        '#!/bin/sh\nfor word; do [ "$word" != merge-tree ] || exit 129; done\n'
        f'exec "{shutil.which("git")}" "$@"\n'
    )
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{old.parent}:{os.environ['PATH']}")
    with pytest.raises(RepositoryError, match="this machine's git does not know how") as caught:
        mirror.fetch_pull_request(7, kind="github", head=head)
    assert caught.value.advice == "Install git 2.38 or newer."


def test_one_that_is_merged_already_changes_nothing(upstream: Upstream, mirror: Mirror) -> None:
    upstream.git("update-ref", "refs/pull/7/head", upstream.head())
    head = upstream.head()
    upstream.commit({"elsewhere.tf": "# later\n"})
    mirror.fetch()
    assert mirror.fetch_pull_request(7, kind="github", head=head).changed == ()


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside", "envs/../../outside", ".git/config"])
def test_a_symlink_that_leads_out_is_refused_before_anything_is_on_the_disk(
    upstream: Upstream, mirror: Mirror, tmp_path: Path, target: str
) -> None:
    (upstream.path / "link").symlink_to(target)
    head = propose(upstream, {})
    mirror.fetch()
    with pytest.raises(UnsafeRepositoryError, match="link is a symlink that"):
        mirror.fetch_pull_request(7, kind="github", head=head)
    assert not [ref for ref in refs_of_the_mirror(tmp_path) if "pull" in ref]
    assert not list((tmp_path / "state/platform/worktrees").glob("*"))


def test_a_merge_driver_and_filters_that_it_names_have_no_say(upstream: Upstream, mirror: Mirror) -> None:
    """Its attributes may name programs; none is configured, and none is run."""
    head = propose(
        upstream,
        {".gitattributes": "* filter=evil merge=evil diff=evil\n", "envs/prod/main.tf": "# proposed\n"},
    )
    mirror.fetch()
    merged = mirror.fetch_pull_request(7, kind="github", head=head)
    with mirror.checkout(merged.commit) as path:
        assert (path / "envs/prod/main.tf").read_text() == "# proposed\n"


@pytest.mark.parametrize(
    ("number", "kind", "head"),
    [
        (0, "github", "1" * 40),
        (-1, "github", "1" * 40),
        ("--upload-pack=touch x", "github", "1" * 40),
        (True, "github", "1" * 40),
        (7, "bitbucket", "1" * 40),
        (7, "--exec", "1" * 40),
        (7, "github", "--output=x"),
        (7, "github", "HEAD"),
    ],
)
def test_what_could_be_taken_for_an_option_never_gets_to_git(
    mirror: Mirror, number: int, kind: str, head: str
) -> None:
    mirror.fetch()
    with pytest.raises(UnsafeRepositoryError):
        mirror.fetch_pull_request(number, kind=kind, head=head)


def test_a_proposal_from_a_branch_named_like_an_option_is_one_like_any_other(
    upstream: Upstream, mirror: Mirror
) -> None:
    """Git itself would make no such branch; a forge has seen some."""
    head = propose(upstream, {"a.tf": "# proposed\n"})
    (upstream.path / ".git/refs/heads/--force").write_text(f"{head}\n")
    mirror.fetch()
    assert mirror.fetch_pull_request(7, kind="github", head=head).changed == ("a.tf",)


def test_one_that_is_not_there_is_missing(mirror: Mirror) -> None:
    mirror.fetch()
    with pytest.raises(BranchMissingError, match="has no pull request 9") as caught:
        mirror.fetch_pull_request(9, kind="gitlab", head="1" * 40)
    assert "forge.kind" in str(caught.value.advice)


def test_there_is_nothing_to_merge_with_before_the_first_fetch(mirror: Mirror) -> None:
    with pytest.raises(RepositoryError, match="no good commit of platform yet"):
        mirror.fetch_pull_request(7, kind="github", head="1" * 40)


def test_a_huge_one_is_refused_and_leaves_the_mirror_as_it_was(
    upstream: Upstream, make_mirror: MakeMirror, tmp_path: Path
) -> None:
    """It costs neither the disk nor the branch's own room, and is not fetched again and again."""
    head = propose(upstream, {"big.bin": os.urandom(3 << 20)})
    mirror = make_mirror(upstream.url, max_size_mb=1)
    mirror.fetch()
    for away in (False, True):
        if away:
            upstream.path.rename(tmp_path / "away")
        with pytest.raises(RepositoryTooLargeError, match="pull request 7 of platform does not fit"):
            mirror.fetch_pull_request(7, kind="github", head=head)
    (tmp_path / "away").rename(upstream.path)
    packs = (tmp_path / "state/platform/mirror.git/objects/pack").glob("*")
    assert sum(path.stat().st_size for path in packs) < 1 << 20
    later = upstream.commit({"elsewhere.tf": "# later\n"})
    assert mirror.fetch().commit == later


def test_many_of_them_together_never_keep_the_branch_from_being_fetched(
    upstream: Upstream, make_mirror: MakeMirror
) -> None:
    """Each fits; those that were looked at give way to the newer one, and to the branch."""
    mirror = make_mirror(upstream.url, max_size_mb=1)
    mirror.fetch()
    for number in (1, 2, 3):
        head = propose(upstream, {f"{number}.bin": os.urandom(500 << 10)}, number=number)
        assert mirror.fetch_pull_request(number, kind="github", head=head).changed == (f"{number}.bin",)
    later = upstream.commit({"branch.bin": os.urandom(500 << 10)})
    assert mirror.fetch().commit == later


def test_only_so_many_merges_are_kept(
    upstream: Upstream, mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftwatch.git.mirror._LOCAL_COMMITS_KEPT", 2)
    mirror.fetch()
    for number in (1, 2, 3):
        head = propose(upstream, {"a.tf": f"# {number}\n"}, number=number)
        merged = mirror.fetch_pull_request(number, kind="github", head=head)
    kept = [ref for ref in refs_of_the_mirror(tmp_path) if "pulls" in ref]
    assert len(kept) == 2
    assert f"refs/driftwatch/pulls/{merged.commit}" in kept


def test_a_merge_outlives_tidying_and_a_restart(
    upstream: Upstream, mirror: Mirror, make_mirror: MakeMirror, tmp_path: Path
) -> None:
    head = propose(upstream, {"a.tf": "# proposed\n"})
    mirror.fetch()
    merged = mirror.fetch_pull_request(7, kind="github", head=head)
    subprocess.run(
        ["git", "--git-dir", tmp_path / "state/platform/mirror.git", "gc", "--quiet", "--prune=now"],
        env={"PATH": "/usr/bin:/bin"},
        check=True,
    )
    with make_mirror(upstream.url).checkout(merged.commit) as path:
        assert (path / "a.tf").read_text() == "# proposed\n"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((401, {"WWW-Authenticate": 'Basic realm="git"'}), RemoteRefusedError),
        ((404, {}), RemoteRefusedError),
        ((429, {}), RemoteUnreachableError),
        ((500, {}), RemoteUnreachableError),
    ],
)
def test_a_host_that_refuses_or_is_in_trouble_is_told_apart(
    upstream: Upstream,
    make_mirror: MakeMirror,
    host: GitHttp,
    answer: tuple[int, dict[str, str]],
    error: type[Exception],
) -> None:
    head = propose(upstream, {"a.tf": "# proposed\n"})
    mirror = make_mirror(host.url("upstream/.git"), token=SecretStr("canary-of-a-proposal"))
    base = mirror.fetch().commit
    host.answer = answer
    with pytest.raises(error) as caught:
        mirror.fetch_pull_request(7, kind="github", head=head)
    assert "canary-of-a-proposal" not in f"{caught.value} {vars(caught.value)}"
    host.answer = None
    assert mirror.fetch_pull_request(7, kind="github", head=head).base == base


def test_a_remote_that_is_gone_changes_nothing(upstream: Upstream, mirror: Mirror, tmp_path: Path) -> None:
    head = propose(upstream, {"a.tf": "# proposed\n"})
    base = mirror.fetch().commit
    shutil.move(upstream.path, tmp_path / "moved")
    with pytest.raises(RemoteRefusedError):
        mirror.fetch_pull_request(7, kind="github", head=head)
    assert mirror.head() == base


def test_commits_that_nobody_knows_cannot_be_compared(mirror: Mirror) -> None:
    head = mirror.fetch().commit
    with pytest.raises(RepositoryError, match="does not know the commit 1111111111"):
        mirror.changed("1" * 40, head)
    with pytest.raises(UnsafeRepositoryError):
        mirror.changed("--output=x", head)


def test_more_changes_than_there_may_be_files_are_refused(
    upstream: Upstream, make_mirror: MakeMirror
) -> None:
    base = upstream.head()
    head = upstream.commit({f"many/{number}.tf": "" for number in range(30)})
    mirror = make_mirror(upstream.url)
    mirror.fetch()
    assert len(mirror.changed(base, head)) == 30
    small = make_mirror(upstream.url, max_files=10)
    with pytest.raises(RepositoryTooLargeError):
        small.changed(base, head)
