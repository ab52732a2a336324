"""Reverts in Git: a branch with a stack's files as they were, all else untouched, and nothing forced."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from driftwatch.errors import (
    NotMergedError,
    RemoteRefusedError,
    RemoteUnreachableError,
    RepositoryError,
    UnsafeRepositoryError,
)
from driftwatch.git.branches import MOST_BRANCHES, Opened
from driftwatch.git.reverting import Revert

from .conftest import refs, tree

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import GitHttp, MakeMirror, Mirror, Publish, Upstream

STACK = "platform/envs/prod"
PATHS = ("envs/prod", "modules/net", "envs/common.tfvars", "envs/prod/.terraform-version", "nowhere")
TOKEN = "canary-of-a-revert"


@pytest.fixture
def mirror(bare: Upstream, make_mirror: MakeMirror) -> Mirror:
    """Of the bare remote."""
    return make_mirror(bare.url)


def wanted(commit: str, onto: str, **changes: Any) -> Revert:
    standard: dict[str, Any] = {"stack": STACK, "paths": PATHS, "message": "Put it back\n"}
    return Revert(commit=commit, onto=onto, **(standard | changes))


def branch_of(commit: str, more: str = "") -> str:
    return f"driftwatch/revert-platform-envs-prod-{commit[:7]}{more}"


def is_read(path: str) -> bool:
    return path in PATHS or path.startswith(("envs/prod/", "modules/net/"))


def hook(bare: Upstream, name: str, script: str) -> None:
    path = bare.path / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


# ---- what is on the branch -----------------------------------------------------------------------------


def test_the_files_of_the_stack_are_as_they_were_and_all_else_is_as_it_is(
    upstream: Upstream, bare: Upstream, mirror: Mirror, publish: Publish
) -> None:
    """Changes, renames, deletions, additions, executable bits, links, names beyond ASCII."""
    (upstream.path / "envs/prod/übersicht").mkdir()
    upstream.write(
        {
            "envs/prod/main.tf": "# then\n",
            "envs/prod/übersicht/café ☕.tf": "# then\n",
            "envs/prod/run.sh": "#!/bin/sh\n",
            "envs/prod/gone.tf": "# deleted since\n",
            "envs/prod/dir": "a file then\n",
            "envs/prod/file/a.tf": "# a directory then\n",
            "envs/prod/old name.tf": "renamed\n" * 20,
            "modules/net/main.tf": "# then\n",
            "modules/net/data.bin": bytes(range(256)),
            "envs/common.tfvars": 'a = "then"\n',
            "envs/prod-eu/main.tf": "# another stack\n",
            "shared.tf": "# another\n",
        }
    )
    (upstream.path / "envs/prod/run.sh").chmod(0o755)
    (upstream.path / "envs/prod/link").symlink_to("main.tf")
    then = upstream.commit()
    for name in ("gone.tf", "dir", "file/a.tf", "run.sh", "link"):
        (upstream.path / "envs/prod" / name).unlink()
    (upstream.path / "envs/prod/file").rmdir()
    (upstream.path / "envs/prod/old name.tf").rename(upstream.path / "envs/prod/new name.tf")
    (upstream.path / "envs/prod/link").symlink_to("run.sh")
    upstream.write(
        {
            "envs/prod/main.tf": "# now\r\n",
            "envs/prod/übersicht/café ☕.tf": "# now\n",
            "envs/prod/run.sh": "#!/bin/sh\n",
            "envs/prod/dir/b.tf": "# a directory now\n",
            "envs/prod/file": "a file now\n",
            "envs/prod/ñew.tf": "# added since\n",
            "envs/prod/.gitattributes": "* text eol=crlf filter=evil\n",
            "modules/net/main.tf": "# now\n",
            "modules/net/data.bin": b"\0now",
            "envs/common.tfvars": 'a = "now"\n',
            "envs/prod-eu/main.tf": "# another stack, now\n",
            "shared.tf": "# another, now\r\n",
            ".gitattributes": "*.tf text eol=lf\n",
        }
    )
    now = upstream.commit()
    publish()
    assert mirror.fetch().commit == now

    opened = mirror.open_revert(wanted(then, now))

    assert opened == Opened(branch=branch_of(then), is_new=True)
    before, after, reverted = tree(bare, then), tree(bare, now), tree(bare, branch_of(then))
    assert {path for path in before if is_read(path)} != {path for path in after if is_read(path)}
    assert {path: each for path, each in reverted.items() if is_read(path)} == {
        path: each for path, each in before.items() if is_read(path)
    }
    assert {path: each for path, each in reverted.items() if not is_read(path)} == {
        path: each for path, each in after.items() if not is_read(path)
    }
    assert reverted["envs/prod/run.sh"].startswith("100755 ")
    assert reverted["envs/prod/link"].startswith("120000 ")
    assert bare.git("log", "-1", "--format=%P", branch_of(then)) == now


def test_a_submodule_stays_the_submodule_it_is(
    upstream: Upstream, bare: Upstream, mirror: Mirror, publish: Publish
) -> None:
    """Of the stack, the one of then; elsewhere, the one of now. Neither is fetched."""
    blob = upstream.blob(b"# then\n")
    entry = f"100644,{blob},envs/prod/more.tf"
    heads = []
    for number in "12":
        upstream.git("update-index", "--add", "--cacheinfo", f"160000,{number * 40},envs/prod/vendor")
        upstream.git("update-index", "--add", "--cacheinfo", f"160000,{number * 40},elsewhere/vendor")
        upstream.git("update-index", "--add", "--cacheinfo", entry)
        upstream.git("commit", "--quiet", "-m", f"vendor {number}")
        heads.append(publish())
    mirror.fetch()

    mirror.open_revert(wanted(*heads))

    reverted = tree(bare, branch_of(heads[0]))
    assert reverted["envs/prod/vendor"] == f"160000 commit {'1' * 40}"
    assert reverted["elsewhere/vendor"] == f"160000 commit {'2' * 40}"


def test_a_stack_at_the_root_is_reverted_whole(
    upstream: Upstream, bare: Upstream, mirror: Mirror, publish: Publish
) -> None:
    then = upstream.head()
    upstream.commit({"more/main.tf": "# added\n", "envs/prod/main.tf": "# now\n"})
    now = publish()
    mirror.fetch()
    opened = mirror.open_revert(wanted(then, now, paths=(".",)))
    assert tree(bare, str(opened.branch)) == tree(bare, then)


def test_a_colleague_who_merges_the_branch_has_the_old_content(
    upstream: Upstream, bare: Upstream, mirror: Mirror, publish: Publish
) -> None:
    """And keeps what was done elsewhere since the branch was opened."""
    then = upstream.head()
    upstream.commit({"envs/prod/main.tf": "# now\n", "envs/prod/more.tf": "# now\n"})
    now = publish()
    mirror.fetch()
    mirror.open_revert(wanted(then, now))
    upstream.commit({"elsewhere.tf": "# later\n"})
    upstream.git("fetch", "--quiet", "origin")
    upstream.git("merge", "--quiet", "--no-edit", f"origin/{branch_of(then)}")
    merged = publish()

    assert tree(bare, merged) == tree(bare, then) | {
        "elsewhere.tf": tree(bare, merged)["elsewhere.tf"],
    }
    mirror.fetch()
    assert mirror.open_revert(wanted(then, merged)) == Opened(branch=None)


def test_the_commit_says_who_made_it_when_and_what_it_was_given(
    upstream: Upstream, bare: Upstream, mirror: Mirror, publish: Publish
) -> None:
    """In any language, and whatever the environment would have it say."""
    then = upstream.head()
    upstream.commit({"envs/prod/main.tf": "# now\n"})
    now = publish()
    mirror.fetch()
    mirror.open_revert(wanted(then, now, message="Zurück ☕\n\n- a line\n"))
    said = bare.git("log", "-1", "--format=%an <%ae>|%cn <%ce>|%cI|%B", branch_of(then))
    made = "driftwatch <driftwatch@localhost>"
    assert said == f"{made}|{made}|2026-03-01T12:00:00+00:00|Zurück ☕\n\n- a line"


def test_nothing_of_the_repository_runs_and_no_file_of_it_is_written(
    upstream: Upstream, mirror: Mirror, publish: Publish, tmp_path: Path
) -> None:
    """Filters that its attributes name have no say, and no worktree or index is left."""
    then = upstream.head()
    upstream.commit({"envs/prod/main.tf": "# now, unique-content\n", ".gitattributes": "* filter=evil\n"})
    now = publish()
    mirror.fetch()
    (tmp_path / "state/platform/mirror.git/hooks").mkdir(exist_ok=True)
    for name in ("pre-push", "reference-transaction", "post-index-change", "pre-commit"):
        path = tmp_path / "state/platform/mirror.git/hooks" / name
        path.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n")
        path.chmod(0o755)
    assert mirror.open_revert(wanted(then, now)).is_new
    assert not (tmp_path / "ran").exists()
    left = {path.name for path in (tmp_path / "state/platform").iterdir()}
    assert left == {"mirror.git", "fetch.lock", "gitconfig", "gitconfig.push"}


def test_what_a_crash_has_left_is_in_nobodys_way(
    upstream: Upstream, mirror: Mirror, publish: Publish, tmp_path: Path
) -> None:
    then = upstream.head()
    upstream.commit({"envs/prod/main.tf": "# now\n"})
    now = publish()
    mirror.fetch()
    scratch = tmp_path / "state/platform/scratch"
    scratch.mkdir()
    (scratch / "index").write_bytes(b"half an index")
    (scratch / "index.lock").touch()
    assert mirror.open_revert(wanted(then, now)).is_new
    assert not scratch.exists()


def test_nothing_is_opened_where_nothing_differs(
    upstream: Upstream, bare: Upstream, mirror: Mirror, publish: Publish
) -> None:
    then = upstream.head()
    upstream.commit({"elsewhere.tf": "# now\n"})
    now = publish()
    mirror.fetch()
    before = refs(bare)
    assert mirror.open_revert(wanted(then, now)) == Opened(branch=None)
    assert refs(bare) == before


def test_a_file_that_is_not_the_stacks_never_gives_way(
    upstream: Upstream, bare: Upstream, mirror: Mirror, publish: Publish
) -> None:
    """Where the module's directory was, there is a file of somebody now."""
    then = upstream.commit({"modules/net/main.tf": "# then\n"})
    shutil.rmtree(upstream.path / "modules")
    now = upstream.commit({"modules": "a file now\n"})
    publish()
    mirror.fetch()
    before = refs(bare)
    with pytest.raises(RepositoryError, match="modules, which the stack does not read, is in their way"):
        mirror.open_revert(wanted(then, now))
    assert refs(bare) == before


# ---- which branch --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stack", "slug"),
    [
        ("platform/envs/prod@blue", "platform-envs-prod-blue"),
        ("--force/../..;rm", "force-rm"),
        ("Ünïcode/ЖЖ", "n-code"),
        ("ЖЖ/☕", "stack"),
        ("a\n\x1b[31m/b.lock", "a-31m-b-lock"),
        ("x" * 300, "x" * 80),
    ],
)
def test_its_name_is_made_of_letters_digits_and_dashes(stack: str, slug: str) -> None:
    name = wanted("0f3d" * 10, "1" * 40, stack=stack).branch
    assert name == f"driftwatch/revert-{slug}-0f3d0f3"


def test_a_branch_with_the_same_files_is_enough(
    upstream: Upstream, bare: Upstream, mirror: Mirror, make_mirror: MakeMirror, publish: Publish
) -> None:
    """Also where another mirror has opened it, or a person."""
    then = upstream.head()
    upstream.commit({"envs/prod/main.tf": "# now\n"})
    now = publish()
    mirror.fetch()
    mirror.open_revert(wanted(then, now))
    before = refs(bare)
    assert mirror.open_revert(wanted(then, now, message="Again\n")) == Opened(branch=branch_of(then))
    other = make_mirror(bare.url, at="other")
    other.fetch()
    assert other.open_revert(wanted(then, now)) == Opened(branch=branch_of(then))
    assert refs(bare) == before


def test_a_branch_with_other_files_is_left_alone(
    upstream: Upstream, bare: Upstream, mirror: Mirror, publish: Publish
) -> None:
    """Even one that could be forwarded to ours; the next free name is taken, and found again."""
    then = upstream.head()
    upstream.commit({"envs/prod/main.tf": "# now\n"})
    now = publish()
    mirror.fetch()
    bare.git("update-ref", f"refs/heads/{branch_of(then)}", now)
    bare.git("update-ref", f"refs/heads/{branch_of(then, '-2')}", then + "^{commit}")
    upstream.git("checkout", "--quiet", "-b", "somebody")
    theirs = upstream.commit({"envs/prod/main.tf": "# somebody's own\n"})
    upstream.git("push", "--quiet", "origin", f"somebody:refs/heads/{branch_of(then, '-3')}")

    opened = mirror.open_revert(wanted(then, now))

    # The second is at the old commit itself: just what the revert comes to, but to merge it does nothing.
    assert opened == Opened(branch=branch_of(then, "-4"), is_new=True)
    assert mirror.open_revert(wanted(then, now)) == Opened(branch=branch_of(then, "-4"))
    there = refs(bare)
    assert there[f"refs/heads/{branch_of(then)}"] == now
    assert there[f"refs/heads/{branch_of(then, '-2')}"] == then
    assert there[f"refs/heads/{branch_of(then, '-3')}"] == theirs
    assert there["refs/heads/main"] == now


def test_there_is_an_end_to_the_names(
    upstream: Upstream, bare: Upstream, mirror: Mirror, publish: Publish
) -> None:
    then = upstream.head()
    upstream.commit({"envs/prod/main.tf": "# now\n"})
    now = publish()
    mirror.fetch()
    for branch in wanted(then, now).branches:
        bare.git("update-ref", f"refs/heads/{branch}", now)
    before = refs(bare)
    with pytest.raises(RepositoryError, match=f"the remote has {MOST_BRANCHES} branches driftwatch/revert-"):
        mirror.open_revert(wanted(then, now))
    assert refs(bare) == before
    assert len(wanted(then, now).branches) == MOST_BRANCHES


def test_the_branch_that_stacks_are_deployed_from_is_never_pushed_to(
    upstream: Upstream,
    bare: Upstream,
    make_mirror: MakeMirror,
    publish: Publish,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even where somebody has called it what ours would be called, and the remote does not list it."""
    monkeypatch.setattr("driftwatch.git.branches.Branches._there", lambda *_: frozenset())
    then = upstream.head()
    now = upstream.commit({"envs/prod/main.tf": "# now\n"})
    publish()
    bare.git("branch", branch_of(then), now)
    mirror = make_mirror(bare.url, branch=branch_of(then))
    mirror.fetch()
    opened = mirror.open_revert(wanted(then, now))
    assert opened == Opened(branch=branch_of(then, "-2"), is_new=True)
    assert refs(bare)[f"refs/heads/{branch_of(then)}"] == now


def test_only_a_commit_of_the_branch_is_gone_back_to(
    upstream: Upstream, bare: Upstream, mirror: Mirror, publish: Publish
) -> None:
    then = upstream.head()
    upstream.git("checkout", "--quiet", "-b", "topic")
    topic = upstream.commit({"envs/prod/main.tf": "# topic\n"})
    upstream.git("checkout", "--quiet", "main")
    now = upstream.commit({"envs/prod/main.tf": "# now\n"})
    publish()
    mirror.fetch()
    before = refs(bare)
    for commit, onto in ((topic, now), (then, topic), (now, then), ("2" * 40, now)):
        with pytest.raises(NotMergedError):
            mirror.open_revert(wanted(commit, onto))
    for commit, onto in (("--output=stolen", now), (then, "HEAD")):
        with pytest.raises(UnsafeRepositoryError):
            mirror.open_revert(wanted(commit, onto))
    assert refs(bare) == before


# ---- when the remote says no ---------------------------------------------------------------------------


def test_a_remote_whose_hook_says_no_is_refused_and_nothing_is_tried_again(
    upstream: Upstream, bare: Upstream, mirror: Mirror, publish: Publish
) -> None:
    """Its hooks run, also where the remote lies on this machine: they say what it takes."""
    then = upstream.head()
    upstream.commit({"envs/prod/main.tf": "# now\n"})
    now = publish()
    mirror.fetch()
    hook(bare, "pre-receive", f'echo "asked by {TOKEN}" >&2; cat >> asked; exit 1')
    before = refs(bare)
    with pytest.raises(RemoteRefusedError) as caught:
        mirror.open_revert(wanted(then, now))
    assert caught.value.message.endswith(
        f"did not take the branch {branch_of(then)}: [remote rejected] (pre-receive hook declined)"
    )
    assert caught.value.advice
    assert refs(bare) == before
    assert len((bare.path / "asked").read_text().splitlines()) == 1


def test_what_a_hook_of_the_remote_says_steers_no_terminal(
    upstream: Upstream, bare: Upstream, mirror: Mirror, publish: Publish
) -> None:
    then = upstream.head()
    upstream.commit({"envs/prod/main.tf": "# now\n"})
    now = publish()
    mirror.fetch()
    hook(bare, "update", "printf 'no\\033[2J https://me:s3cr3t-word@example.com/\\n' >&2; exit 1")
    with pytest.raises(RemoteRefusedError, match="hook declined") as caught:
        mirror.open_revert(wanted(then, now))
    shown = f"{caught.value.message}{caught.value.detail}"
    assert "\x1b" not in shown
    assert "s3cr3t-word" not in shown


def test_a_branch_in_whose_way_another_is_cannot_be_opened(
    upstream: Upstream, bare: Upstream, mirror: Mirror, publish: Publish
) -> None:
    """Git keeps no `driftwatch` beside a `driftwatch/…`."""
    then = upstream.head()
    upstream.commit({"envs/prod/main.tf": "# now\n"})
    now = publish()
    bare.git("branch", "driftwatch", now)
    mirror.fetch()
    with pytest.raises(RemoteRefusedError, match="did not take the branch"):
        mirror.open_revert(wanted(then, now))
    assert refs(bare)["refs/heads/driftwatch"] == now


def test_nothing_is_forced_where_somebody_is_faster(
    upstream: Upstream, bare: Upstream, mirror: Mirror, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our look and our push somebody opens a branch of that name."""
    then = upstream.head()
    upstream.commit({"envs/prod/main.tf": "# now\n"})
    now = publish()
    mirror.fetch()
    upstream.git("checkout", "--quiet", "-b", "somebody")
    theirs = upstream.commit({"envs/prod/main.tf": "# somebody's own\n"})
    upstream.git("push", "--quiet", "origin", f"somebody:refs/heads/{branch_of(then)}")
    monkeypatch.setattr("driftwatch.git.branches.Branches._there", lambda *_: frozenset())
    with pytest.raises(RemoteRefusedError, match=r"\[rejected\]"):
        mirror.open_revert(wanted(then, now))
    assert refs(bare)[f"refs/heads/{branch_of(then)}"] == theirs


def test_a_remote_that_may_only_be_read_refuses(
    upstream: Upstream, make_mirror: MakeMirror, host: GitHttp
) -> None:
    """A Git host that knows us as readers answers 403 to a push, though it lets us fetch."""
    then = upstream.head()
    now = upstream.commit({"envs/prod/main.tf": "# now\n"})
    mirror = make_mirror(host.url("upstream/.git"))
    mirror.fetch()
    before = refs(upstream)
    with pytest.raises(RemoteRefusedError, match="403"):
        mirror.open_revert(wanted(then, now))
    assert refs(upstream) == before


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((401, {"WWW-Authenticate": 'Basic realm="git"'}), RemoteRefusedError),
        ((403, {}), RemoteRefusedError),
        ((503, {}), RemoteUnreachableError),
        ((302, {"Location": "http://127.0.0.1:9/"}), RemoteRefusedError),
    ],
)
def test_a_host_that_refuses_or_is_in_trouble_is_told_apart(
    upstream: Upstream,
    make_mirror: MakeMirror,
    host: GitHttp,
    answer: tuple[int, dict[str, str]],
    error: type[Exception],
) -> None:
    then = upstream.head()
    now = upstream.commit({"envs/prod/main.tf": "# now\n"})
    mirror = make_mirror(host.url("upstream/.git"), token=SecretStr(TOKEN))
    mirror.fetch()
    host.answer = answer
    with pytest.raises(error) as caught:
        mirror.open_revert(wanted(then, now))
    assert TOKEN not in f"{caught.value} {vars(caught.value)}"


def test_a_push_has_the_same_credentials_as_a_fetch(
    upstream: Upstream, make_mirror: MakeMirror, host: GitHttp, tmp_path: Path
) -> None:
    """The token goes in a header, and into no file."""
    upstream.git("config", "http.receivepack", "true")
    then = upstream.head()
    now = upstream.commit({"envs/prod/main.tf": "# now\n"})
    mirror = make_mirror(host.url("upstream/.git"), token=SecretStr(TOKEN))
    mirror.fetch()
    host.asked.clear()
    assert mirror.open_revert(wanted(then, now)).is_new
    assert any("receive-pack" in path for path, _ in host.asked)
    assert {given is not None and given.startswith("Basic ") for _, given in host.asked} == {True}
    assert refs(upstream)[f"refs/heads/{branch_of(then)}"]
    for path in (tmp_path / "state").rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes()


def test_a_remote_that_is_away_is_unreachable(
    upstream: Upstream, make_mirror: MakeMirror, host: GitHttp
) -> None:
    then = upstream.head()
    now = upstream.commit({"envs/prod/main.tf": "# now\n"})
    make_mirror(upstream.url).fetch()
    mirror = make_mirror("http://127.0.0.1:1/x.git")
    with pytest.raises(RemoteUnreachableError):
        mirror.open_revert(wanted(then, now))
    assert mirror.head() == now


def test_a_repository_that_was_never_fetched_has_nothing_to_revert(mirror: Mirror) -> None:
    with pytest.raises(NotMergedError):
        mirror.open_revert(wanted("1" * 40, "2" * 40))


def test_the_mirror_fetches_on_as_before(
    upstream: Upstream, mirror: Mirror, publish: Publish, tmp_path: Path
) -> None:
    """No ref of ours stays, and what was read of an existing branch neither."""
    then = upstream.head()
    upstream.commit({"envs/prod/main.tf": "# now\n"})
    now = publish()
    mirror.fetch()
    mirror.open_revert(wanted(then, now))
    mirror.open_revert(wanted(then, now))
    later = upstream.commit({"envs/prod/main.tf": "# later\n"})
    publish()
    assert mirror.fetch().commit == later
    printed = subprocess.run(
        ["git", "--git-dir", tmp_path / "state/platform/mirror.git", "for-each-ref", "--format=%(refname)"],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
        text=True,
    )
    assert printed.stdout.split() == ["refs/driftwatch/fetched/main", "refs/driftwatch/good/main"]
