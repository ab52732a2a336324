"""Stacks are found from a commit's trees alone, by stated rules, exactly and fast."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from driftwatch.errors import RepositoryTooLargeError
from driftwatch.git import Mirror, RootModule

from .conftest import MODULE, ROOT, MakeMirror, Upstream

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PROVIDER = 'provider "aws" {}\n'


def uses(*sources: str) -> str:
    return "".join(f'module "m{n}" {{\n  source = "{source}"\n}}\n' for n, source in enumerate(sources))


def found(mirror: Mirror, upstream: Upstream, *globs: str) -> dict[str, str]:
    upstream.commit()
    commit = mirror.fetch().commit
    return {module.path: module.glob for module in mirror.discover(commit, globs)}


ROOTS: tuple[dict[str, str], ...] = (
    {"main.tf": 'terraform {\n  backend "s3" {}\n}\n'},
    {"main.tf": 'terraform {\n  cloud {\n    organization = "acme"\n  }\n}\n'},
    {"main.tf": PROVIDER},
    {"main.tofu": PROVIDER},
    {"main.tf.json": '{"provider": {"aws": {}}}'},
    {"a.tf": MODULE, "b.tf": ROOT},
    {"main.tf": 'provider "aws" {\n  region = \n'},
)
NO_ROOTS: tuple[dict[str, str], ...] = (
    {"main.tf": MODULE},
    {"main.tf": "terraform {\n  required_providers {\n    aws = {}\n  }\n}\n"},
    {"main.tf": 'resource "x" "y" {}\n'},
    {"prod.tfvars": PROVIDER},
    {"main.tf.bak": PROVIDER},
)


def test_what_makes_a_root_module(upstream: Upstream, mirror: Mirror) -> None:
    """A backend, a cloud block or a provider block, in any file that terraform reads; broken HCL too."""
    for kind, cases in {"root": ROOTS, "none": NO_ROOTS}.items():
        for number, files in enumerate(cases):
            upstream.write({f"{kind}/{number}/{name}": content for name, content in files.items()})
    assert set(found(mirror, upstream, "root/*", "none/*")) == {f"root/{n}" for n in range(len(ROOTS))}


def test_a_module_used_by_another_is_no_stack(upstream: Upstream, mirror: Mirror) -> None:
    upstream.write(
        {
            "envs/prod/main.tf": ROOT
            + uses("../../modules/network", "./local", "terraform-aws-modules/vpc/aws"),
            "envs/prod/local/main.tf": PROVIDER,
            "modules/network/main.tf": PROVIDER + uses("../subnet/"),
            "modules/subnet/main.tf.json": '{"provider": {"aws": {}}}',
            "modules/unused/main.tf": PROVIDER,
        }
    )
    assert found(mirror, upstream, "**") == {"envs/prod": "**", "modules/unused": "**"}


def test_a_declared_path_is_a_stack_whatever_it_is(upstream: Upstream, mirror: Mirror) -> None:
    """A glob without wildcards names its directory; only one with no configuration at all is none."""
    upstream.write(
        {
            "envs/prod/main.tf": ROOT + uses("../../modules/network"),
            "modules/network/main.tf": MODULE,
            ".hidden/live/main.tf": MODULE,
            "envs/prod/.terraform/modules/x/main.tf": ROOT,
            "docs/README.md": "",
        }
    )
    globs = (
        "modules/*",
        "./modules/network/",
        ".hidden/live",
        "docs",
        "envs/prod/.terraform/modules/x",
        "gone",
    )
    assert found(mirror, upstream, *globs) == {
        "modules/network": "./modules/network/",
        ".hidden/live": ".hidden/live",
    }


def test_hidden_directories_hold_no_stacks(upstream: Upstream, mirror: Mirror) -> None:
    upstream.write(
        {".github/x/main.tf": ROOT, "envs/.old/prod/main.tf": ROOT, ".terraform/modules/m/main.tf": ROOT}
    )
    assert found(mirror, upstream, "**", ".github/*", "envs/.old/**") == {"envs/prod": "**"}


GLOBS: tuple[tuple[list[str], dict[str, str]], ...] = (
    (["**"], {".": "**", "a": "**", "a/b": "**", "a/b/c": "**", "x": "**"}),
    (["*"], {"a": "*", "x": "*"}),
    (["a/*"], {"a/b": "a/*"}),
    (["a/**"], {"a": "a/**", "a/b": "a/**", "a/b/c": "a/**"}),
    (["**/b"], {"a/b": "**/b"}),
    (["a/**/c"], {"a/b/c": "a/**/c"}),
    (["."], {".": "."}),
    (["?"], {"a": "?", "x": "?"}),
    (["[a-c]/[!x]"], {"a/b": "[a-c]/[!x]"}),
    (["A/*"], {}),
    (["a/b", "a/*"], {"a/b": "a/b"}),
    (["x", "**", "a/b"], {".": "**", "a": "**", "a/b": "**", "a/b/c": "**", "x": "x"}),
    ([], {}),
)


def test_globs_mean_what_they_say(upstream: Upstream, mirror: Mirror) -> None:
    """`*` stays within a segment, `**` takes any number of them; of several globs the first counts."""
    upstream.git("rm", "-r", "--quiet", "envs")
    upstream.write({f"{path}main.tf": ROOT for path in ("", "a/", "a/b/", "a/b/c/", "x/")})
    commit = upstream.commit()
    mirror.fetch()
    for globs, expected in GLOBS:
        assert {module.path: module.glob for module in mirror.discover(commit, globs)} == expected, globs


def test_what_a_stack_reads_is_its_directory_and_the_local_modules_in_use(
    upstream: Upstream, mirror: Mirror
) -> None:
    upstream.write(
        {
            "envs/prod/main.tf": ROOT
            + uses("../../modules/b", "../../../outside", "/absolute", "git::https://x"),
            "modules/b/main.tf": uses("../c"),
            "modules/c/main.tf": uses("../b"),
            "modules/d/main.tf": MODULE,
        }
    )
    commit = upstream.commit()
    mirror.fetch()
    assert mirror.discover(commit, ["envs/*"]) == (
        RootModule(
            path="envs/prod", glob="envs/*", reads=("envs/prod", "modules/b", "modules/c"), backend="local"
        ),
    )


def test_files_and_modules_behind_symlinks_count(upstream: Upstream, mirror: Mirror) -> None:
    """Shared backend and provider files are often symlinked into every stack."""
    upstream.write(
        {"common/backend.tf": ROOT, "shared/net/main.tf": PROVIDER, "envs/b/main.tf": uses("./mods/net")}
    )
    (upstream.path / "envs/b/backend.tf").symlink_to("../../common/backend.tf")
    (upstream.path / "envs/b/mods").symlink_to("../../shared")
    (upstream.path / "envs/b/broken.tf").symlink_to("nowhere.tf")
    commit = upstream.commit()
    mirror.fetch()
    modules = mirror.discover(commit, ["envs/*", "shared/**"])
    assert [(module.path, module.reads) for module in modules] == [
        ("envs/b", ("envs/b", "shared/net")),
        ("envs/prod", ("envs/prod",)),
    ]


def test_a_directory_whose_name_is_no_text_is_passed_over(upstream: Upstream, mirror: Mirror) -> None:
    name = b"caf\xe9".decode(errors="surrogateescape")
    upstream.write({f"{name}/main.tf": ROOT})
    assert found(mirror, upstream, "**") == {"envs/prod": "**"}


def test_names_of_all_scripts_are_found(upstream: Upstream, mirror: Mirror) -> None:
    upstream.write({"umgebungen/größe 1/main.tf": ROOT, "環境/本番/main.tf": ROOT})
    assert set(found(mirror, upstream, "**")) == {"envs/prod", "umgebungen/größe 1", "環境/本番"}


def test_configuration_without_end_is_refused(
    upstream: Upstream, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftwatch.git.discovery._LARGEST_ALTOGETHER", 1000)
    upstream.write({"a/main.tf": "#" * 600, "b/main.tf": " " * 600})
    with pytest.raises(RepositoryTooLargeError):
        found(mirror, upstream, "**")


def test_a_thousand_stacks_are_found_in_well_under_two_seconds(upstream: Upstream, mirror: Mirror) -> None:
    body = ROOT + uses("../../../modules/network") + 'resource "aws_sqs_queue" "q" {\n  name = "q"\n}\n' * 10
    files: dict[str, str | bytes] = {
        f"envs/r{number // 100}/s{number}/{name}.tf": f"# {number}\n{content}"
        for number in range(1000)
        for name, content in {"main": body, "variables": MODULE * 5, "versions": PROVIDER}.items()
    }
    commit = upstream.commit({**files, "modules/network/main.tf": MODULE})
    mirror.fetch()
    started = time.process_time(), time.monotonic()
    modules = mirror.discover(commit, ["envs/*/*"])
    spent, passed = time.process_time() - started[0], time.monotonic() - started[1]
    assert len(modules) == 1000
    assert modules == tuple(sorted(modules, key=lambda module: module.path))
    assert spent < 2
    assert passed < 8  # another's load on the machine counts here, and not above
    started = time.process_time(), time.monotonic()
    assert len({mirror.tree(commit, module.reads) for module in modules}) == 1000
    assert time.process_time() - started[0] < 1


def test_the_digest_follows_content_and_nothing_else(upstream: Upstream, make_mirror: MakeMirror) -> None:
    upstream.write({"envs/prod/sub/x": "1", "modules/a/main.tf": MODULE, "vars/prod.tfvars": "a = 1"})
    first = upstream.commit()
    elsewhere = upstream.commit({"docs/README.md": "hello"})
    module = upstream.commit({"modules/a/main.tf": MODULE * 2})
    variables = upstream.commit({"vars/prod.tfvars": "a = 2"})
    mirror = make_mirror(upstream.url)
    mirror.fetch()
    reads = ["envs/prod", "modules/a", "vars/prod.tfvars"]
    trees = [mirror.tree(commit, reads) for commit in (first, elsewhere, module, variables)]
    assert trees[0] == trees[1]
    assert len(set(trees)) == 3
    assert mirror.tree(first, reads[::-1]) == trees[0]
    assert mirror.tree(first, ["envs/prod/", "./modules/a", "envs/../vars/prod.tfvars"]) == trees[0]
    assert mirror.tree(first, ["."]) != mirror.tree(elsewhere, ["."])
    assert mirror.tree(first, ["missing"]) != mirror.tree(first, ["envs"])


def test_the_digest_follows_symlinks_to_what_they_lead_to(upstream: Upstream, mirror: Mirror) -> None:
    """A stack whose provider file is a link changes when the file that it leads to does."""
    upstream.write({"common/deep/provider.tf": "1", "other/x": "1"})
    (upstream.path / "envs/prod/provider.tf").symlink_to("../../linked/provider.tf")
    (upstream.path / "linked").symlink_to("common/deep")
    (upstream.path / "common/deep/more").symlink_to("../../other")
    before = upstream.commit()
    same = upstream.commit({"unrelated": "1"})
    direct = upstream.commit({"common/deep/provider.tf": "2"})
    mirror.fetch()
    assert mirror.tree(before, ["envs/prod"]) == mirror.tree(same, ["envs/prod"])
    assert mirror.tree(same, ["envs/prod"]) != mirror.tree(direct, ["envs/prod"])
    assert mirror.tree(same, ["linked"]) == mirror.tree(same, ["common/deep"])
    indirect = upstream.commit({"other/x": "2"})
    mirror.fetch()
    assert mirror.tree(direct, ["linked"]) != mirror.tree(indirect, ["linked"])


def test_files_are_read_from_the_commit(
    upstream: Upstream, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.write({".driftwatch.yaml": "labels: {}\n", "empty": "", "binary": bytes(range(256))})
    (upstream.path / "linked.yaml").symlink_to(".driftwatch.yaml")
    commit = upstream.commit()
    mirror.fetch()
    assert mirror.read(commit, ".driftwatch.yaml") == b"labels: {}\n"
    assert mirror.read(commit, "linked.yaml") == b"labels: {}\n"
    assert mirror.read(commit, "empty") == b""
    assert mirror.read(commit, "binary") == bytes(range(256))
    assert mirror.read(commit, "envs/prod") is None
    assert mirror.read(commit, "missing") is None
    monkeypatch.setattr("driftwatch.git.mirror._LARGEST_READ", 5)
    with pytest.raises(RepositoryTooLargeError):
        mirror.read(commit, ".driftwatch.yaml")


def test_files_beside_a_stack_are_read_too_as_far_as_the_code_says_where_they_are(
    upstream: Upstream, mirror: Mirror
) -> None:
    upstream.write(
        {
            "envs/prod/main.tf": ROOT
            + uses("../../modules/b")
            + 'locals {\n  a = file("../../shared/a.json")\n  b = file("../../../outside")\n}\n',
            "modules/b/main.tf": 'locals {\n  t = templatefile("${path.module}/../t/${var.x}.tpl", {})\n}\n',
        }
    )
    commit = upstream.commit()
    mirror.fetch()
    (found,) = mirror.discover(commit, ["envs/prod"])
    assert found.reads[:2] == ("envs/prod", "modules/b")
    assert {"shared/a.json", "modules/t"} <= set(found.reads)


def test_whose_state_a_stack_reads_is_found_in_its_modules_too(upstream: Upstream, mirror: Mirror) -> None:
    reading = 'data "terraform_remote_state" "net" {\n  backend = "s3"\n  config = { key = "net" }\n}\n'
    upstream.write(
        {
            "envs/prod/main.tf": 'terraform {\n  backend "s3" {\n    key = "prod"\n  }\n}\n'
            + uses("../../modules/b"),
            "modules/b/main.tf": reading,
        }
    )
    commit = upstream.commit()
    mirror.fetch()
    (found,) = mirror.discover(commit, ["envs/prod"])
    assert (found.backend, found.backend_config) == ("s3", (("key", "prod"),))
    assert [(each.module, each.state.name, each.state.config) for each in found.remote_states] == [
        ("modules/b", "net", (("key", "net"),))
    ]


def test_what_was_read_once_is_not_read_again(
    upstream: Upstream, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From one commit to the next, only directories that changed are parsed."""
    upstream.write({f"a/{number}/main.tf": f"{ROOT}# once {number}\n" for number in range(20)})
    commit = upstream.commit()
    mirror.fetch()
    before = mirror.discover(commit, ["a/*"])
    asked: list[str] = []
    read = Mirror._blobs

    def watched(self: Mirror, objects: Iterable[str]) -> Mapping[str, bytes]:
        wanted = list(objects)
        asked.extend(wanted)
        return read(self, wanted)

    monkeypatch.setattr(Mirror, "_blobs", watched)
    commit = upstream.commit({"a/3/main.tf": 'provider "aws" {}\n# changed\n'})
    mirror.fetch()
    after = mirror.discover(commit, ["a/*"])
    assert asked == [upstream.git("rev-parse", "HEAD:a/3/main.tf")]
    assert [each.path for each in after if each not in before] == ["a/3"]
