"""Drafts of edits: commits that only the mirror knows, tried like any other, offered as a branch."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from driftwatch.errors import (
    NotMergedError,
    RemoteRefusedError,
    RepositoryError,
    RepositoryTooLargeError,
    UnsafeRepositoryError,
)
from driftwatch.git.branches import MOST_BRANCHES, Opened
from driftwatch.git.drafting import Edits

from .conftest import ROOT, refs, tree

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Clock, MakeMirror, Mirror, Publish, Upstream

BRANCH = "driftwatch/adopt-prod"


@pytest.fixture
def mirror(bare: Upstream, make_mirror: MakeMirror) -> Mirror:
    """Of the bare remote."""
    return make_mirror(bare.url)


def edits(onto: str, files: dict[str, bytes | None], message: str = "Adopt what is there\n") -> Edits:
    return Edits(onto=onto, files=files, message=message)


def in_the_mirror(tmp_path: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "--git-dir", tmp_path / "state/platform/mirror.git", *arguments],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout.strip()


# ---- a draft -------------------------------------------------------------------------------------------


def test_a_draft_has_just_the_edits_and_all_else_as_it_is(
    upstream: Upstream, bare: Upstream, mirror: Mirror, publish: Publish
) -> None:
    """Edited, new and deleted files, empty ones, modes, names beyond ASCII, line ends as they are given."""
    upstream.write({"envs/prod/run.sh": "#!/bin/sh\n", "envs/prod/gone.tf": "# x\n", "a.tf": "# a\r\n"})
    (upstream.path / "envs/prod/run.sh").chmod(0o755)
    upstream.write({".gitattributes": "* filter=evil\n"})
    head = upstream.commit()
    publish()
    mirror.fetch()
    before = refs(bare)

    draft = mirror.draft(
        edits(
            head,
            {
                "envs/prod/main.tf": b"# edited\n\xff",
                "envs/prod/run.sh": b"#!/bin/sh\necho\n",
                "envs/prod/gone.tf": None,
                "envs/prod/never-was.tf": None,
                "envs/neu/überall.tf": b"",
            },
        )
    )

    assert draft != head
    assert refs(bare) == before
    assert mirror.head() == head
    assert mirror.read(draft, "envs/prod/main.tf") == b"# edited\n\xff"
    assert mirror.read(draft, "envs/prod/gone.tf") is None
    assert mirror.read(draft, "envs/neu/überall.tf") == b""
    assert mirror.listing(draft).entries["envs/prod/run.sh"].mode == "100755"
    assert mirror.changed(head, draft) == (
        *("envs/neu/überall.tf", "envs/prod/gone.tf", "envs/prod/main.tf", "envs/prod/run.sh"),
    )
    with mirror.checkout(draft) as path:
        assert (path / "envs/prod/main.tf").read_bytes() == b"# edited\n\xff"
        assert (path / "a.tf").exists()


def test_stacks_are_discovered_in_a_draft(mirror: Mirror, publish: Publish) -> None:
    publish()
    head = mirror.fetch().commit
    draft = mirror.draft(edits(head, {"envs/new/main.tf": ROOT.encode()}))
    assert [root.path for root in mirror.discover(draft, ["**"])] == ["envs/new", "envs/prod"]
    assert [root.path for root in mirror.discover(head, ["**"])] == ["envs/prod"]


def test_a_draft_outlives_tidying_fetches_and_a_restart(
    upstream: Upstream,
    bare: Upstream,
    mirror: Mirror,
    make_mirror: MakeMirror,
    publish: Publish,
    tmp_path: Path,
) -> None:
    publish()
    draft = mirror.draft(edits(mirror.fetch().commit, {"envs/prod/main.tf": b"# edited\n"}))
    in_the_mirror(tmp_path, "gc", "--quiet", "--prune=now")
    upstream.commit({"elsewhere.tf": "# later\n"})
    publish()
    mirror.fetch()
    again = make_mirror(bare.url)
    with again.checkout(draft) as path:
        assert (path / "envs/prod/main.tf").read_text() == "# edited\n"
    assert again.publish(draft, BRANCH).is_new


def test_the_oldest_drafts_go_when_there_are_many(
    mirror: Mirror, publish: Publish, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the clock stands, the one just made stays."""
    monkeypatch.setattr("driftwatch.git.mirror._LOCAL_COMMITS_KEPT", 2)
    publish()
    head = mirror.fetch().commit
    drafts = [mirror.draft(edits(head, {"a.tf": bytes([number])})) for number in range(65, 70)]
    kept = in_the_mirror(tmp_path, "for-each-ref", "--format=%(objectname)", "refs/driftwatch/drafts").split()
    assert len(kept) == 2
    assert drafts[-1] in kept
    with pytest.raises(RepositoryError, match="is no draft"):
        mirror.publish(next(draft for draft in drafts if draft not in kept), BRANCH)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("../outside.tf", "leaves the checkout"),
        ("/etc/passwd", "is absolute"),
        (".git/config", "enters .git"),
        ("envs/.GIT/hooks/pre-push", "enters .git"),
        ("", "is not the file's own path"),
        (".", "is not the file's own path"),
        ("envs/./prod/main.tf", "is not the file's own path"),
        ("link", "is not the file's own path"),
        ("linked/main.tf", "is not the file's own path"),
        ("envs/prod", "is a directory"),
        ("envs/prod/main.tf/below.tf", "would have to give way"),
        ("vendor/main.tf", "lies in a submodule"),
        ("vendor", "is no file"),
        ("line\nfeed.tf", "holds control characters"),
    ],
)
@pytest.mark.parametrize("content", [b"x", None])
def test_only_files_of_the_repository_itself_are_written(
    upstream: Upstream,
    mirror: Mirror,
    publish: Publish,
    path: str,
    why: str,
    content: bytes | None,
) -> None:
    """And nothing is deleted, or gives way, that is none."""
    (upstream.path / "link").symlink_to("envs/prod/main.tf")
    (upstream.path / "linked").symlink_to("envs/prod")
    upstream.git("add", "--all")
    upstream.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},vendor")
    upstream.git("commit", "--quiet", "-m", "links")
    head = publish()
    mirror.fetch()
    if content is None and why in ("would have to give way", "holds control characters"):
        assert mirror.changed(head, mirror.draft(edits(head, {path: None}))) == ()
        return
    with pytest.raises(UnsafeRepositoryError, match=why):
        mirror.draft(edits(head, {path: content}))


def test_edits_are_made_on_top_of_the_branch_only(mirror: Mirror, publish: Publish) -> None:
    with pytest.raises(NotMergedError):
        mirror.draft(edits("1" * 40, {"a.tf": b"x"}))
    publish()
    mirror.fetch()
    with pytest.raises(NotMergedError):
        mirror.draft(edits("1" * 40, {"a.tf": b"x"}))
    with pytest.raises(UnsafeRepositoryError):
        mirror.draft(edits("--output=x", {"a.tf": b"x"}))


def test_a_draft_over_the_caps_is_refused(bare: Upstream, make_mirror: MakeMirror, publish: Publish) -> None:
    publish()
    mirror = make_mirror(bare.url, max_size_mb=1)
    head = mirror.fetch().commit
    with pytest.raises(RepositoryTooLargeError):
        mirror.draft(edits(head, {"big.bin": b"x" * (2 << 20)}))


# ---- publishing ----------------------------------------------------------------------------------------


def test_a_draft_becomes_a_branch_with_one_commit(bare: Upstream, mirror: Mirror, publish: Publish) -> None:
    publish()
    head = mirror.fetch().commit
    draft = mirror.draft(edits(head, {"envs/prod/main.tf": b"# edited\n"}, "Füge an\n\n- eine Zeile\n"))
    before = refs(bare)
    assert mirror.publish(draft, BRANCH) == Opened(branch=BRANCH, is_new=True)
    assert refs(bare) == before | {f"refs/heads/{BRANCH}": draft}
    made = "driftwatch <driftwatch@localhost>"
    said = bare.git("log", "-1", "--format=%an <%ae>|%cn <%ce>|%cI|%P|%B", BRANCH)
    assert said == f"{made}|{made}|2026-03-01T12:00:00+00:00|{head}|Füge an\n\n- eine Zeile"


def test_a_draft_that_changes_nothing_opens_nothing(bare: Upstream, mirror: Mirror, publish: Publish) -> None:
    publish()
    draft = mirror.draft(edits(mirror.fetch().commit, {"envs/prod/main.tf": ROOT.encode()}))
    before = refs(bare)
    assert mirror.publish(draft, BRANCH) == Opened(branch=None)
    assert refs(bare) == before


def test_what_is_on_offer_already_is_not_offered_again(
    upstream: Upstream, bare: Upstream, mirror: Mirror, make_mirror: MakeMirror, publish: Publish
) -> None:
    """Also by another mirror, and after the deployed branch has moved on with something else."""
    publish()
    wanted: dict[str, bytes | None] = {"envs/prod/main.tf": b"# edited\n"}
    mirror.publish(mirror.draft(edits(mirror.fetch().commit, wanted)), BRANCH)
    upstream.commit({"elsewhere.tf": "# later\n"})
    publish()
    before = refs(bare)
    for one in (mirror, make_mirror(bare.url, at="other")):
        draft = one.draft(edits(one.fetch().commit, wanted, "In other words\n"))
        assert one.publish(draft, BRANCH) == Opened(branch=BRANCH)
    assert refs(bare) == before


def test_a_branch_that_says_something_else_is_left_alone(
    upstream: Upstream, bare: Upstream, mirror: Mirror, publish: Publish
) -> None:
    """A person has added a commit to it; or it has nothing to do with ours."""
    publish()
    head = mirror.fetch().commit
    draft = mirror.draft(edits(head, {"envs/prod/main.tf": b"# edited\n"}))
    mirror.publish(draft, BRANCH)
    upstream.git("fetch", "--quiet", "origin")
    upstream.git("checkout", "--quiet", "-b", "theirs", f"origin/{BRANCH}")
    theirs = upstream.commit({"more.tf": "# a person's\n"})
    upstream.git("push", "--quiet", "origin", f"theirs:refs/heads/{BRANCH}")
    bare.git("update-ref", f"refs/heads/{BRANCH}-2", head)

    assert mirror.publish(draft, BRANCH) == Opened(branch=f"{BRANCH}-3", is_new=True)
    assert mirror.publish(draft, BRANCH) == Opened(branch=f"{BRANCH}-3")
    there = refs(bare)
    assert there[f"refs/heads/{BRANCH}"] == theirs
    assert there[f"refs/heads/{BRANCH}-2"] == head
    assert tree(bare, f"{BRANCH}-3") == tree(bare, head) | {
        "envs/prod/main.tf": tree(bare, draft_of(bare, 3))["envs/prod/main.tf"]
    }


def test_a_branch_that_was_merged_is_not_on_offer(
    upstream: Upstream, bare: Upstream, mirror: Mirror, publish: Publish
) -> None:
    """The same drift comes again, and its edit with it: merged once, a branch offers nothing any more."""
    publish()
    head = mirror.fetch().commit
    wanted: dict[str, bytes | None] = {"envs/prod/main.tf": b"# edited\n"}
    draft = mirror.draft(edits(head, wanted))
    mirror.publish(draft, BRANCH)
    assert mirror.stands(BRANCH)
    bare.git("update-ref", "refs/heads/main", draft)
    assert not mirror.stands(BRANCH)
    upstream.git("fetch", "--quiet", "origin")
    upstream.git("reset", "--quiet", "--hard", "origin/main")
    upstream.commit({"envs/prod/main.tf": ROOT})
    upstream.git("push", "--quiet", "origin", "HEAD:refs/heads/main")
    again = mirror.draft(edits(mirror.fetch().commit, wanted))
    assert mirror.publish(again, BRANCH) == Opened(branch=f"{BRANCH}-2", is_new=True)
    assert mirror.publish(again, BRANCH) == Opened(branch=f"{BRANCH}-2")
    assert mirror.stands(f"{BRANCH}-2")
    assert not mirror.stands(f"{BRANCH}-3")


def test_a_branch_whose_changes_came_as_another_commit_is_not_on_offer(
    upstream: Upstream, mirror: Mirror, publish: Publish
) -> None:
    """As when a pull request is merged as one commit, and its branch is left."""
    publish()
    mirror.publish(mirror.draft(edits(mirror.fetch().commit, {"envs/prod/main.tf": b"# edited\n"})), BRANCH)
    upstream.commit({"elsewhere.tf": "# later\n"})
    publish()
    assert mirror.stands(BRANCH)
    upstream.commit({"envs/prod/main.tf": "# edited\n"})
    publish()
    assert not mirror.stands(BRANCH)


def test_contents_are_those_that_were_committed(upstream: Upstream, mirror: Mirror, publish: Publish) -> None:
    upstream.write({".gitattributes": "*.tf text eol=crlf\n", "a.tf": "# a\n"})
    head = upstream.commit()
    publish()
    mirror.fetch()
    assert mirror.contents(head, ["a.tf"]) == {"a.tf": b"# a\n"}
    assert mirror.contents(head, []) == {}
    with mirror.checkout(head) as path:
        assert (path / "a.tf").read_bytes() == b"# a\r\n"


def draft_of(bare: Upstream, number: int) -> str:
    return bare.head(f"refs/heads/{BRANCH}-{number}")


def test_there_is_an_end_to_the_names(bare: Upstream, mirror: Mirror, publish: Publish) -> None:
    publish()
    head = mirror.fetch().commit
    draft = mirror.draft(edits(head, {"envs/prod/main.tf": b"# edited\n"}))
    for name in (BRANCH, *(f"{BRANCH}-{number}" for number in range(2, MOST_BRANCHES + 1))):
        bare.git("update-ref", f"refs/heads/{name}", head)
    before = refs(bare)
    with pytest.raises(RepositoryError, match=f"has {MOST_BRANCHES} branches {BRANCH} already"):
        mirror.publish(draft, BRANCH)
    assert refs(bare) == before


@pytest.mark.parametrize(
    "name",
    [
        *("main", "--force", "driftwatch", "driftwatch/", "driftwatch/../main", "driftwatch/a b", "HEAD"),
        *("refs/heads/main", "driftwatch/x.lock", "driftwatch/a:refs/heads/main", "", "driftwatch/a\x1b[2J"),
    ],
)
def test_only_names_below_ours_are_opened(
    bare: Upstream, mirror: Mirror, publish: Publish, name: str
) -> None:
    publish()
    draft = mirror.draft(edits(mirror.fetch().commit, {"envs/prod/main.tf": b"# edited\n"}))
    before = refs(bare)
    with pytest.raises(UnsafeRepositoryError, match="is not opened") as caught:
        mirror.publish(draft, name)
    assert "\x1b" not in caught.value.message
    assert refs(bare) == before


def test_only_drafts_are_published(bare: Upstream, mirror: Mirror, publish: Publish) -> None:
    """A commit of the branch is none, nor what is no commit at all."""
    publish()
    head = mirror.fetch().commit
    before = refs(bare)
    for commit in (head, "1" * 40):
        with pytest.raises(RepositoryError, match="is no draft"):
            mirror.publish(commit, BRANCH)
    with pytest.raises(UnsafeRepositoryError):
        mirror.publish("--mirror", BRANCH)
    assert refs(bare) == before


def test_the_deployed_branch_is_never_pushed_to(
    bare: Upstream, make_mirror: MakeMirror, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even one that is called like ours, and that the remote does not list."""
    monkeypatch.setattr("driftwatch.git.branches.Branches._there", lambda *_: frozenset())
    head = publish()
    bare.git("branch", BRANCH, head)
    mirror = make_mirror(bare.url, branch=BRANCH)
    draft = mirror.draft(edits(mirror.fetch().commit, {"envs/prod/main.tf": b"# edited\n"}))
    assert mirror.publish(draft, BRANCH) == Opened(branch=f"{BRANCH}-2", is_new=True)
    assert refs(bare)[f"refs/heads/{BRANCH}"] == head


def test_a_remote_that_says_no_is_refused(bare: Upstream, mirror: Mirror, publish: Publish) -> None:
    publish()
    draft = mirror.draft(edits(mirror.fetch().commit, {"envs/prod/main.tf": b"# edited\n"}))
    hook = bare.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    before = refs(bare)
    with pytest.raises(RemoteRefusedError, match=f"did not take the branch {BRANCH}"):
        mirror.publish(draft, BRANCH)
    assert refs(bare) == before
