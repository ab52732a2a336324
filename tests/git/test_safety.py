"""Nothing of a hostile commit reaches the disk, and nothing of a hostile repository runs."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftwatch.errors import DriftwatchError, RepositoryError, UnsafeRepositoryError
from driftwatch.git import Mirror, is_lfs_pointer, submodules
from driftwatch.git.listing import LINK, Entry, LeavesCheckoutError, Listing

from .conftest import ROOT, MakeMirror, Upstream
from .test_remotes import fake_ssh


def link(upstream: Upstream, **targets: str) -> None:
    for name, target in targets.items():
        path = upstream.path / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)


@pytest.mark.row(35)
@pytest.mark.parametrize(
    ("links", "named"),
    [
        ({"out": "/etc/passwd"}, "out"),
        ({"out": "../secret"}, "out"),
        ({"envs__prod__out": "../../../secret"}, "envs/prod/out"),
        ({"envs__prod__out": "../../envs/../../secret"}, "envs/prod/out"),
        ({"first": "second", "second": "third", "third": "../secret"}, "first"),
        ({"dir": "envs/prod", "out": "dir/../../../secret"}, "out"),
        ({"envs__up": "..", "out": "envs/up/../x"}, "out"),
        ({"loop": "loop"}, "loop"),
        ({"a": "b", "b": "a"}, "a"),
        ({"envs__dir": "../envs/dir"}, "envs/dir"),
        ({"out": ".git/config"}, "out"),
        ({"out": "envs/.GIT/x"}, "out"),
        ({"in": f"{'x/' * 700}{'../' * 701}secret"}, "in"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_links_out_of_the_checkout_are_refused(
    upstream: Upstream, mirror: Mirror, tmp_path: Path, links: dict[str, str], named: str
) -> None:
    """Row 35: absolute, relative, chained, through directories, in circles: refused by name, not written."""
    good = mirror.fetch().commit
    (tmp_path / "secret").write_text("secret")
    link(upstream, **links)
    commit = upstream.commit()
    with pytest.raises(UnsafeRepositoryError, match=rf"refused: {named} is a symlink") as caught:
        mirror.fetch()
    assert "Nothing of this commit has been written" in (caught.value.advice or "")
    assert mirror.head() == good
    with pytest.raises(UnsafeRepositoryError), mirror.checkout(commit):
        raise AssertionError("not reached")
    assert not [path for path in (tmp_path / "state").rglob("*") if path.is_symlink()]


def test_links_within_the_checkout_work(upstream: Upstream, mirror: Mirror) -> None:
    upstream.write({"common/provider.tf": 'provider "x" {}\n', "envs/prod/real": "1"})
    link(
        upstream,
        envs__prod__provider_tf="../../common/provider.tf",
        envs__live="prod",
        envs__prod__dangling="not-yet/made",
        here=".",
        chain="envs/live",
    )
    commit = upstream.commit()
    mirror.fetch()
    with mirror.checkout(commit) as checkout:
        assert (checkout / "envs/prod/provider_tf").read_text() == 'provider "x" {}\n'
        assert (checkout / "chain/real").read_text() == "1"
    assert mirror.read(commit, "here/chain/provider_tf") == b'provider "x" {}\n'


@pytest.mark.row(35)
def test_a_path_beneath_a_link_is_refused(upstream: Upstream, mirror: Mirror, tmp_path: Path) -> None:
    """Row 35: a tree in which `x` is a symlink and a directory at once would write through the link."""
    mirror.fetch()
    target, blob = upstream.blob(b"/tmp"), upstream.blob(b"evil")
    inner = upstream.git("mktree", stdin=f"100644 blob {blob}\tevil\n".encode())
    upstream.commit_tree([("120000", "blob", target, b"x"), ("40000", "tree", inner, b"x")])
    with pytest.raises(UnsafeRepositoryError):
        mirror.fetch()


@pytest.mark.row(39)
@pytest.mark.parametrize(
    "name",
    [
        *(b".git", b".GIT", b".gIt", b"git~1", b".git ", b".git.", b".g\xe2\x80\x8cit"),
        *(b".git::$INDEX_ALLOCATION", b"a\\.git\\hooks", b"..", b"."),
        *(b"line\nfeed", b"\x1b[31mred", b"bell\x07", b"\xc2\x9bcsi"),
    ],
    ids=repr,
)
def test_paths_that_mean_something_else_are_refused(
    upstream: Upstream, mirror: Mirror, tmp_path: Path, name: bytes
) -> None:
    """Row 39: names that a file system or a terminal takes for something else never get to either."""
    good = mirror.fetch().commit
    blob = upstream.blob(b"[core]\n\tfsmonitor = touch marker\n")
    inner = upstream.git("mktree", stdin=f"100644 blob {blob}\tconfig\n".encode())
    upstream.commit_tree([("40000", "tree", inner, name)])
    with pytest.raises(UnsafeRepositoryError) as caught:
        mirror.fetch()
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in caught.value.message)
    assert mirror.head() == good


@pytest.mark.row(39)
@pytest.mark.parametrize(
    "path", ["../secret", "../../secret", "/etc/passwd", "envs/../../secret", "a/.git/config"]
)
def test_paths_out_of_the_repository_are_refused(
    upstream: Upstream, mirror: Mirror, tmp_path: Path, path: str
) -> None:
    """Row 39: what leaves the repository is an error that names it, not a file."""
    (tmp_path / "secret").write_text("secret")
    commit = mirror.fetch().commit
    with pytest.raises(UnsafeRepositoryError):
        mirror.read(commit, path)
    assert mirror.tree(commit, [path]) != mirror.tree(commit, ["envs"])


ODD_PARTS = [
    *("..", "/", ".", "%2f", "\0", "\\", "\u2024", "\uff0f", "envs", "ENVS", "a", "b", "~", "-", "\n", ".git")
]
ODD = st.lists(st.sampled_from(ODD_PARTS), max_size=8).map("".join) | st.text(max_size=12)


@pytest.mark.row(39)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(path=ODD)
def test_no_path_reads_a_file_that_the_commit_does_not_have(path: str) -> None:
    """Row 39: NUL, escapes, Unicode look-alikes, case, traversal: found exactly where the commit has it."""
    entries = {name: Entry(path=name, mode="100644", object=name, size=1) for name in ("envs/a", "b")}
    listing = Listing(commit="0" * 40, entries=entries)
    try:
        found = listing.find(path)
    except LeavesCheckoutError:
        return
    assert found is None or os.path.normpath(path) == found.path
    assert len(listing.digest([path])) == 64


NAMES = st.sampled_from(["a", "b", "c"])
TARGETS = st.lists(st.sampled_from(["a", "b", "c", "..", "."]), min_size=1, max_size=5).map("/".join)


@pytest.mark.row(35)
@settings(max_examples=150, deadline=None)
@given(
    links=st.dictionaries(
        st.lists(NAMES, min_size=1, max_size=3).map("/".join), TARGETS | TARGETS.map("/".__add__), max_size=5
    )
)
def test_links_are_followed_as_the_kernel_follows_them(
    links: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Row 35: whatever the listing lets pass, the file system resolves to the same place, inside."""
    solid = {path for path in links if not any(path.startswith(f"{other}/") for other in links)}
    links = {path: links[path] for path in solid}
    entries = {path: Entry(path=path, mode=LINK, object=path, size=1) for path in links}
    listing = Listing(commit="0" * 40, entries=entries, links=links)
    root = tmp_path_factory.mktemp("links")
    for path, target in links.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).symlink_to(target)
    for path in links:
        try:
            resolved = listing.resolve(path)
        except LeavesCheckoutError:
            continue
        real = Path(os.path.realpath(root / path))
        assert real.is_relative_to(root)
        assert real == (root if resolved == "." else root / resolved)
    shutil.rmtree(root)


@pytest.mark.row(36)
def test_submodules_are_not_followed_and_are_named(
    upstream: Upstream, mirror: Mirror, tmp_path: Path
) -> None:
    """Row 36: off by default; the paths are told, so that a message can name them."""
    other = Upstream(tmp_path / "other")
    other.commit({"main.tf": "x"})
    upstream.git("submodule", "--quiet", "add", other.url, "modules/shared")
    upstream.git("submodule", "--quiet", "add", "../other", "modules/relative")
    commit = upstream.commit(
        {"envs/prod/main.tf": f'{ROOT}module "m" {{\n  source = "../../modules/shared"\n}}\n'}
    )
    mirror.fetch()
    assert mirror.submodules(commit) == ("modules/relative", "modules/shared")
    with mirror.checkout(commit) as checkout:
        assert list((checkout / "modules/shared").iterdir()) == []
    assert mirror.read(commit, "modules/shared/main.tf") is None
    (found,) = mirror.discover(commit, ["**"])
    assert found.reads == ("envs/prod", "modules/shared")


def test_a_submodule_that_moves_changes_the_digest(
    upstream: Upstream, mirror: Mirror, tmp_path: Path
) -> None:
    other = Upstream(tmp_path / "other")
    other.commit({"main.tf": "x"})
    upstream.git("submodule", "--quiet", "add", other.url, "shared")
    before = upstream.commit()
    other.commit({"main.tf": "y"})
    upstream.git("-C", "shared", "pull", "--quiet")
    after = upstream.commit()
    mirror.fetch()
    for path in ("shared", "shared/module"):
        assert mirror.tree(before, [path]) != mirror.tree(after, [path])


@pytest.mark.row(36)
@pytest.mark.parametrize("url", ["file", "path", "relative", "ext"])
def test_wanted_submodules_come_over_https_or_ssh_only(
    upstream: Upstream, make_mirror: MakeMirror, tmp_path: Path, url: str
) -> None:
    """Row 36: even where they are wanted, a submodule may not read this machine's files or run programs."""
    other = Upstream(tmp_path / "other")
    other.commit({"main.tf": "x"})
    marker = tmp_path / "marker"
    form = {
        "file": other.url,
        "path": str(other.path),
        "relative": "../other",
        "ext": f"ext::sh -c touch% {marker}",
    }[url]
    upstream.git("submodule", "--quiet", "add", other.url, "modules/shared")
    upstream.git("config", "--file", ".gitmodules", "submodule.modules/shared.url", form)
    commit = upstream.commit()
    mirror = make_mirror(upstream.url, submodules=True)
    mirror.fetch()
    with pytest.raises(RepositoryError), mirror.checkout(commit):
        raise AssertionError("not reached")
    assert not marker.exists()
    assert not list((tmp_path / "state/platform/worktrees").iterdir())


@pytest.mark.row(36)
def test_wanted_submodules_are_there_and_theirs_too(
    upstream: Upstream, make_mirror: MakeMirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 36: with `submodules: true` they come recursively; their symlinks stay plain files."""
    fake_ssh(tmp_path, monkeypatch)
    inner, outer = Upstream(tmp_path / "inner"), Upstream(tmp_path / "outer")
    inner.commit({"deep.tf": "deep"})
    link(outer, passwd="/etc/passwd")
    outer.git("submodule", "--quiet", "add", inner.url, "inner")
    outer.git("config", "--file", ".gitmodules", "submodule.inner.url", f"ssh://git.example.com{inner.path}")
    outer.commit({"main.tf": "outer"})
    upstream.git("submodule", "--quiet", "add", outer.url, "modules/shared")
    upstream.git(
        "config", "--file", ".gitmodules", "submodule.modules/shared.url", f"git.example.com:{outer.path}"
    )
    commit = upstream.commit()
    mirror = make_mirror(f"ssh://git.example.com{upstream.path}", submodules=True)
    mirror.fetch()
    with mirror.checkout(commit) as checkout:
        assert (checkout / "modules/shared/main.tf").read_text() == "outer"
        assert (checkout / "modules/shared/inner/deep.tf").read_text() == "deep"
        assert not (checkout / "modules/shared/passwd").is_symlink()


def with_submodule(upstream: Upstream, other: Upstream, url: str) -> str:
    """A commit with a submodule, wherever it says that it is."""
    upstream.git("submodule", "--quiet", "add", other.url, "shared")
    upstream.git("config", "--file", ".gitmodules", "submodule.shared.url", url)
    return upstream.commit()


@pytest.mark.row(67)
@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://169.254.169.254/x.git", "is refused"),
        ("https://metadata.google.internal/x.git", "is refused"),
        ("git@169.254.169.254:x", "is refused"),
        ("https://user:secret@git.test/x.git", "is refused"),
        ("http://git.test/x.git", "must be https or ssh"),
        ("https://127.0.0.1/x.git", "points to this machine"),
        ("ssh://git@localhost/x.git", "points to this machine"),
        ("git@localhost:x.git", "points to this machine"),
        ("https://git.test/x.git", "metadata"),
        ("git@git.test:x.git", "metadata"),
    ],
)
@pytest.mark.parametrize("is_nested", [False, True])
def test_a_submodule_leads_to_no_metadata_and_to_no_service_of_this_machine(
    upstream: Upstream,
    make_mirror: MakeMirror,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    why: str,
    is_nested: bool,
) -> None:
    """Row 67: its URL is looked at as a repository's own is, also that of a submodule's submodule."""
    log = fake_ssh(tmp_path, monkeypatch)
    other, outer = Upstream(tmp_path / "other"), Upstream(tmp_path / "outer")
    other.commit({"main.tf": "x"})
    if is_nested:
        with_submodule(outer, other, url)
        commit = with_submodule(upstream, outer, f"git.example.com:{outer.path}")
    else:
        commit = with_submodule(upstream, other, url)
    mirror = make_mirror(upstream.url, submodules=True)
    mirror.fetch()
    stand = {"git.test": "169.254.169.254", "git.example.com": "192.0.2.1"}
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *_, **__: [(socket.AF_INET, 1, 6, "", (stand[host], 0))]
    )
    with pytest.raises(UnsafeRepositoryError, match=why) as caught, mirror.checkout(commit):
        raise AssertionError("not reached")
    assert "secret" not in str(caught.value.report())
    said = log.read_text() if log.exists() else ""
    assert ("git.example.com" in said) is is_nested
    assert not [host for host in ("git.test", "localhost", "169.254") if host in said]


@pytest.mark.row(67)
def test_no_submodule_follows_a_redirect(
    upstream: Upstream, make_mirror: MakeMirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 67: git's own children do not get our settings, and know this one all the same."""
    known = tmp_path / "known"
    fake_ssh(tmp_path, monkeypatch, say=f"git config --get http.followRedirects > {known}")
    other = Upstream(tmp_path / "other")
    other.commit({"main.tf": "x"})
    commit = with_submodule(upstream, other, f"git.example.com:{other.path}")
    mirror = make_mirror(upstream.url, submodules=True)
    mirror.fetch()
    with mirror.checkout(commit) as checkout:
        assert (checkout / "shared/main.tf").read_text() == "x"
    assert known.read_text().split() == ["false"]


@pytest.mark.row(67)
def test_what_gits_children_are_told_of_addresses_git_can_read(upstream: Upstream, tmp_path: Path) -> None:
    """Row 67: each host of a submodule is tied to the addresses that were looked at."""
    pins = ["a.test:443:192.0.2.1", "b.test:443:[2001:db8::1],192.0.2.2"]
    file = tmp_path / "gitconfig"
    file.write_text(submodules._for_children([("http.curloptResolve", pin) for pin in pins]))
    asked = ("config", "--file", str(file), "--get-all")
    assert upstream.git(*asked, "http.curloptResolve").splitlines() == pins
    assert upstream.git(*asked, "core.symlinks") == upstream.git(*asked, "http.followRedirects") == "false"


def test_a_submodule_that_holds_itself_comes_to_an_end(
    upstream: Upstream, make_mirror: MakeMirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_ssh(tmp_path, monkeypatch)
    monkeypatch.setattr(submodules, "_DEEPEST", 2)
    last: Upstream | None = None
    for name in ("d", "c", "b"):
        made = Upstream(tmp_path / name)
        if last is None:
            made.commit({"main.tf": "x"})
        else:
            with_submodule(made, last, f"git.example.com:{last.path}")
        last = made
    assert last is not None
    commit = with_submodule(upstream, last, f"git.example.com:{last.path}")
    mirror = make_mirror(upstream.url, submodules=True)
    mirror.fetch()
    with pytest.raises(UnsafeRepositoryError, match="more than 2 deep"), mirror.checkout(commit):
        raise AssertionError("not reached")


@pytest.mark.row(40)
def test_repositories_within_the_repository_are_inert(
    upstream: Upstream, mirror: Mirror, tmp_path: Path
) -> None:
    """Row 40, the git part: an embedded bare repository, hooks, filters and plugins are files and no more."""
    marker = tmp_path / "marker"
    command = f"touch {marker}"
    upstream.write(
        {
            "envs/evil/HEAD": "ref: refs/heads/main\n",
            "envs/evil/config": f"[core]\n\tworktree = .\n\tfsmonitor = {command}\n\thooksPath = hooks\n",
            "envs/evil/objects/.keep": "",
            "envs/evil/refs/.keep": "",
            "envs/evil/hooks/post-checkout": f"#!/bin/sh\n{command}\n",
            "envs/evil/main.tf": ROOT,
            "hooks/post-checkout": f"#!/bin/sh\n{command}\n",
            ".gitattributes": "*.tf filter=evil\n*.txt filter=lfs\n",
            ".gitmodules": f'[submodule "x"]\n\tpath = x\n\turl = ext::{command}\n\tupdate = !{command}\n',
            ".lfsconfig": f"[lfs]\n\turl = ext::{command}\n",
            "envs/evil/terraform.d/plugins/x": "#!/bin/sh\n",
            "envs/evil/.terraform/modules/modules.json": "{}",
            "envs/evil/.terraform/modules/m/main.tf": ROOT,
        }
    )
    for hook in upstream.path.rglob("post-checkout"):
        hook.chmod(0o755)
    commit = upstream.commit()
    mirror.fetch()
    with mirror.checkout(commit) as checkout:
        assert (checkout / "envs/evil/main.tf").read_text() == ROOT
    assert [module.path for module in mirror.discover(commit, ["**"])] == ["envs/evil", "envs/prod"]
    mirror.tree(commit, ["envs/evil"])
    mirror.close()
    assert not marker.exists()


@pytest.mark.row(40)
def test_a_remotes_own_settings_and_hooks_do_not_run(
    upstream: Upstream, mirror: Mirror, tmp_path: Path
) -> None:
    """Row 40: a local remote may be hostile itself; serving it runs none of its programs."""
    marker = tmp_path / "marker"
    for name in ("post-checkout", "reference-transaction", "pre-auto-gc", "fsmonitor-watchman"):
        hook = upstream.path / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {marker}\n")
        hook.chmod(0o755)
    upstream.git("config", "core.fsmonitor", f"touch {marker}")
    upstream.git("config", "uploadpack.packObjectsHook", f"touch {marker}; exit 1")
    upstream.git("config", "core.alternateRefsCommand", f"touch {marker}")
    fetched = mirror.fetch()
    with mirror.checkout(fetched.commit):
        pass
    assert not marker.exists()


def test_a_mirror_whose_settings_were_tampered_with_runs_nothing(
    upstream: Upstream, mirror: Mirror, tmp_path: Path
) -> None:
    """What a plan may have written into the mirror's configuration ranks below our own."""
    mirror.fetch()
    marker = tmp_path / "marker"
    git_dir = tmp_path / "state/platform/mirror.git"
    hooks = git_dir / "hooks"
    hooks.mkdir()
    for name in ("post-checkout", "reference-transaction"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {marker}\n")
        (hooks / name).chmod(0o755)
    with (git_dir / "config").open("a") as file:
        file.write(f"[core]\n\tfsmonitor = touch {marker}\n\thooksPath = {hooks}\n[gc]\n\tauto = 1\n")
    commit = upstream.commit({"a": "1"})
    mirror.fetch()
    with mirror.checkout(commit):
        pass
    assert not marker.exists()


@pytest.mark.row(37)
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12\n", True),
        (b"version https://git-lfs.github.com/spec/v1\next-0-x sha256:1\noid sha256:abc\nsize 12\n", True),
        (b'version = "https://git-lfs.github.com/spec/v1"\n', False),
        (b"version https://git-lfs.github.com/spec/v1\n" + b"x" * 2000, False),
        (b"", False),
        (b'region = "eu-west-1"\n', False),
    ],
)
def test_lfs_pointers_are_told_from_content(content: bytes, expected: bool) -> None:
    """Row 37, the git part: what git would have fetched by LFS is recognised."""
    assert is_lfs_pointer(content) is expected


@pytest.mark.row(37)
def test_lfs_files_are_checked_out_as_pointers(upstream: Upstream, mirror: Mirror) -> None:
    """Row 37: nothing is fetched by LFS, and the pointer can be recognised in the checkout."""
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12\n"
    commit = upstream.commit({".gitattributes": "*.tfvars filter=lfs diff=lfs\n", "prod.tfvars": pointer})
    mirror.fetch()
    with mirror.checkout(commit) as checkout:
        assert is_lfs_pointer((checkout / "prod.tfvars").read_bytes())


def test_every_refusal_is_of_the_error_tree(upstream: Upstream, mirror: Mirror, tmp_path: Path) -> None:
    """A directory where the mirror should be writable and is not."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state/platform").write_text("a file is in the way")
    with pytest.raises(DriftwatchError):
        mirror.fetch()
    with pytest.raises(DriftwatchError), mirror.checkout(upstream.head()):
        raise AssertionError("not reached")
