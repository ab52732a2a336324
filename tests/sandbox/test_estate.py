"""The sample estate and the people who work on it."""

from __future__ import annotations

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from driftwatch.errors import EngineError, GitMissingError, RepositoryError
from driftwatch.model import FindingKind
from driftwatch.sandbox import colleague, estate
from driftwatch.sandbox.cloud import Cloud, Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.sandbox.conftest import Plan, Terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class Estate:
    root: Path
    repository: Path
    cloud: Cloud


def git(repository: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(repository), *arguments], capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture(scope="session")
def applied_estate(
    terraform_binary: Path, sandbox_cli_config: Path, tmp_path_factory: pytest.TempPathFactory
) -> Estate:
    """The whole estate, applied by a colleague."""
    root = tmp_path_factory.mktemp("estate")
    cloud = Cloud(root / "cloud")
    repository = estate.create_repository(root / "repository", cloud, root / "states")

    def apply(stack: str) -> None:
        colleague.apply(
            terraform_binary, repository / stack, cli_config=sandbox_cli_config, scratch=root / "scratch"
        )

    with ThreadPoolExecutor(2) as people:
        list(people.map(apply, estate.STACKS))
    return Estate(root=root, repository=repository, cloud=cloud)


def test_every_stack_applies_and_leaves_the_working_copy_clean(applied_estate: Estate) -> None:
    assert git(applied_estate.repository, "status", "--porcelain", "--ignored") == ""
    states = applied_estate.root / "states"
    kept = {str(file.parent.relative_to(states)) for file in states.rglob("terraform.tfstate")}
    assert kept == set(estate.STACKS)
    assert {kind: len(applied_estate.cloud.objects(kind)) for kind in Kind} == {
        Kind.FIREWALL: 11,
        Kind.BUCKET: 5,
        Kind.DATABASE: 3,
        Kind.DNS_RECORD: 4,
    }


def test_plans_show_what_was_meddled_with_and_nothing_else(
    applied_estate: Estate, tmp_path: Path, terminal_at: Callable[..., Terminal]
) -> None:
    done = colleague.meddle(applied_estate.cloud)

    def look(stack: str) -> Plan:
        terminal = terminal_at(tmp_path / stack, applied_estate.repository / stack)
        terminal.init()
        return terminal.plan()

    looked_at = ("dns", "envs/prod/data", "envs/prod/network", "envs/staging/network")
    with ThreadPoolExecutor(2) as people:
        plans = dict(zip(looked_at, people.map(look, looked_at), strict=True))
    seen = {(stack, address) for stack, plan in plans.items() for address in plan.changes()}
    assert seen == {(one.stack, one.address) for one in done}
    for one in done:
        change = plans[one.stack].change(one.address)
        before, after = change["before"] or {}, change["after"]
        assert change["actions"] == (["update"] if before else ["create"])
        assert bool(before) is (one.kind is FindingKind.MODIFIED)
        differing = {name for name in before if before[name] != after[name]}
        assert differing == {path.split("/")[1] for path in one.attributes}


def test_the_repository_is_one_commit_on_main_whatever_git_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Configuration, templates and identity of the person who runs the demo do not reach it."""
    hook = tmp_path / "template" / "hooks" / "pre-commit"
    hook.parent.mkdir(parents=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    (tmp_path / ".gitconfig").write_text(
        f"[init]\ntemplateDir = {tmp_path}/template\ndefaultBranch = trunk\n"
        "[commit]\ngpgSign = true\n[user]\nname = Me\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    repository = estate.create_repository(tmp_path / "it", Cloud(tmp_path / "cloud"), tmp_path / "states")
    monkeypatch.delenv("GIT_DIR")
    assert git(repository, "log", "--format=%an <%ae>|%s", "main") == (
        f"{estate.AUTHOR}|Lay out the platform's stacks\n"
    )
    assert git(repository, "status", "--porcelain") == ""


def test_the_places_are_filled_in_as_hcl_strings(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path / 'a "cloud" ${x}')
    repository = estate.create_repository(tmp_path / "it", cloud, tmp_path / "states")
    text = (repository / "dns" / "terraform.tf").read_text(encoding="utf-8")
    assert f'cloud = "{tmp_path}/a \\"cloud\\" $${{x}}"' in text
    assert f'path          = "{tmp_path}/states/dns/terraform.tfstate"' in text
    assert not [file for file in repository.rglob("*.tf") if re.search("@[A-Z]+@", file.read_text())]


def test_a_colleague_commits_changes_and_removals(tmp_path: Path) -> None:
    repository = estate.create_repository(tmp_path / "it", Cloud(tmp_path / "cloud"), tmp_path / "states")
    first = git(repository, "rev-parse", "HEAD").strip()
    second = estate.commit(
        repository,
        {"dns/more.tf": "# more\n", "README.md": None},
        "Say more",
        author="Bob <bob@example.test>",
    )
    assert git(repository, "rev-parse", "HEAD").strip() == second != first
    changed = git(repository, "show", "--format=%an", "--name-status", second).split()
    assert changed == ["Bob", "D", "README.md", "A", "dns/more.tf"]


def test_where_git_refuses_it_says_what_git_said(tmp_path: Path) -> None:
    repository = estate.create_repository(tmp_path / "it", Cloud(tmp_path / "cloud"), tmp_path / "states")
    with pytest.raises(RepositoryError) as caught:
        estate.commit(repository, {"dns/main.tf": (repository / "dns" / "main.tf").read_text()}, "Nothing")
    assert caught.value.message == f"git commit failed in {repository} (exit 1)."
    assert "nothing to commit" in (caught.value.detail or "")


def test_without_git_the_sandbox_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitMissingError):
        estate.create_repository(tmp_path / "it", Cloud(tmp_path / "cloud"), tmp_path / "states")


def test_an_apply_that_fails_raises_with_the_last_lines(
    terraform_binary: Path, sandbox_cli_config: Path, tmp_path: Path
) -> None:
    module = tmp_path / "module"
    module.mkdir()
    (module / "main.tf").write_text('resource "sandbox_bucket" "it" {')
    with pytest.raises(EngineError) as caught:
        colleague.apply(terraform_binary, module, cli_config=sandbox_cli_config, scratch=tmp_path / "scratch")
    assert caught.value.message == f"{terraform_binary.name} init failed in {module} (exit 1)."
    assert "main.tf line 1" in (caught.value.detail or "")
