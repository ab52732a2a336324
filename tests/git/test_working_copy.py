"""Where a directory on a person's disk stands, asked such that a hostile one learns nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from driftwatch.git import WorkingCopy, describe

from .conftest import ROOT, Upstream

if TYPE_CHECKING:
    from pathlib import Path


def test_a_clean_working_copy(upstream: Upstream) -> None:
    assert describe(upstream.path / "envs/prod") == WorkingCopy(
        root=upstream.path, path="envs/prod", commit=upstream.head(), dirty=False
    )
    assert describe(upstream.path) == WorkingCopy(
        root=upstream.path, path=".", commit=upstream.head(), dirty=False
    )


@pytest.mark.parametrize("change", ["edited", "new", "staged", "deleted"])
def test_a_working_copy_with_changes_is_dirty(upstream: Upstream, change: str) -> None:
    match change:
        case "edited":
            upstream.write({"envs/prod/main.tf": "other"})
        case "new":
            upstream.write({"envs/prod/new.tf": ""})
        case "staged":
            upstream.write({"envs/prod/new.tf": ""})
            upstream.git("add", "--all")
        case _:
            (upstream.path / "envs/prod/main.tf").unlink()
    described = describe(upstream.path / "envs")
    assert described is not None
    assert described.dirty


def test_what_git_ignores_makes_nothing_dirty(upstream: Upstream) -> None:
    upstream.commit({".gitignore": ".terraform/\n"})
    upstream.write({"envs/prod/.terraform/x": "1"})
    described = describe(upstream.path)
    assert described is not None
    assert not described.dirty


def test_a_directory_outside_of_git_is_none(tmp_path: Path) -> None:
    assert describe(tmp_path) is None
    assert describe(tmp_path / "missing") is None


def test_a_repository_without_commits(tmp_path: Path) -> None:
    empty = Upstream(tmp_path / "empty")
    assert describe(empty.path) == WorkingCopy(root=empty.path, path=".", commit=None, dirty=False)


def test_symlinked_directories_are_described_where_they_lie(upstream: Upstream, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(upstream.path / "envs")
    described = describe(tmp_path / "link")
    assert described is not None
    assert (described.root, described.path) == (upstream.path, "envs")


def test_a_worktree_is_described_too(upstream: Upstream, tmp_path: Path) -> None:
    upstream.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"))
    assert describe(tmp_path / "tree/envs/prod") == WorkingCopy(
        root=tmp_path / "tree", path="envs/prod", commit=upstream.head(), dirty=False
    )


@pytest.mark.row(40)
def test_a_hostile_working_copy_runs_nothing(upstream: Upstream, tmp_path: Path) -> None:
    """Row 40: fsmonitor, hooks, filters and submodules of a repository's own settings stay silent."""
    marker = tmp_path / "marker"
    command = f"touch {marker}"
    upstream.commit({".gitattributes": "* filter=evil\n*.tf filter=a.b diff=evil\n", "envs/prod/x": "1"})
    own = (upstream.path / ".git/config").read_text()
    (upstream.path / ".git/config").write_text(
        f"""{own}
[core]
    fsmonitor = {command}
    hooksPath = {tmp_path}
    sshCommand = {command}
    alternateRefsCommand = {command}
    pager = {command}
[filter "evil"]
    clean = "{command}; cat"
    smudge = "{command}; cat"
    process = {command}
    required = true
[filter "a.b"]
    clean = "{command}; cat"
[diff "evil"]
    command = {command}
    textconv = {command}
[alias]
    status = !{command}
    rev-parse = !{command}
"""
    )
    upstream.write({"envs/prod/main.tf": ROOT + "# edited\n"})
    (upstream.path / "envs/prod/x").touch()
    described = describe(upstream.path / "envs/prod")
    assert described is not None
    assert described.dirty
    assert not marker.exists()
    upstream.git("config", "--unset", "filter.evil.process")
    upstream.git("status")
    assert marker.exists(), "the bait is none: plain git does not run it either"


@pytest.mark.row(40)
def test_an_embedded_bare_repository_is_not_believed(upstream: Upstream, tmp_path: Path) -> None:
    """Row 40: a directory that is itself laid out like a bare repository gets none of its programs run."""
    marker = tmp_path / "marker"
    upstream.write(
        {
            "envs/evil/HEAD": "ref: refs/heads/main\n",
            "envs/evil/config": f"[core]\n\tbare = false\n\tworktree = .\n\tfsmonitor = touch {marker}\n",
            "envs/evil/objects/.keep": "",
            "envs/evil/refs/.keep": "",
            "envs/evil/main.tf": ROOT,
        }
    )
    upstream.commit()
    described = describe(upstream.path / "envs/evil")
    assert described is None or described.root == upstream.path
    assert not marker.exists()
