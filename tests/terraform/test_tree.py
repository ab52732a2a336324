"""A stack's own copy of its directory means what the checkout means, and nothing is written back."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from driftwatch.errors import (
    ConfigurationInvalidError,
    LfsNotFetchedError,
    NotARootModuleError,
    UnsafeRepositoryError,
)
from driftwatch.terraform.module import read_module
from driftwatch.terraform.tree import lay_out

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Bench

FILES = {
    "envs/prod/main.tf": 'module "net" {\n  source = "../../modules/net"\n}\n'
    'output "path" {\n  value = [module.net.path, path.module, path.root]\n}\n'
    'output "files" {\n  value = [for each in fileset("${path.root}/../..", "**/*.txt") : each]\n}\n'
    'output "read" {\n  value = [file("a.txt"), file("sub/b.txt"), file("../../common.txt")]\n}\n'
    'output "far" {\n  value = module.net.read\n}\n',
    "envs/prod/a.txt": "a",
    "envs/prod/sub/b.txt": "b",
    "envs/stage/s.txt": "s",
    "common.txt": "c",
    "modules/net/main.tf": 'module "sub" {\n  source = "../sub"\n}\n'
    'output "path" {\n  value = [path.module, module.sub.path]\n}\n'
    'output "read" {\n  value = file("${path.module}/n.txt")\n}\n',
    "modules/net/n.txt": "n",
    "modules/sub/main.tf": 'output "path" {\n  value = path.module\n}\n',
}


def outputs(terraform: Path, directory: Path, data: Path) -> dict[str, object]:
    """The module's outputs, from a plan made right there."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(data), "TF_DATA_DIR": str(data)}

    def run(*arguments: str) -> bytes:
        command = [terraform, *arguments]
        return subprocess.run(
            command, cwd=directory, env=environment, check=True, stdout=subprocess.PIPE
        ).stdout

    run("init")
    run("plan", f"-out={data}/plan")
    shown = json.loads(run("show", "-json", f"{data}/plan"))
    return {name: change["after"] for name, change in shown["output_changes"].items()}


@pytest.mark.parametrize("personal", [False, True])
def test_paths_and_files_are_the_same_as_in_the_checkout(
    bench: Bench, terraform_binary: Path, *, personal: bool
) -> None:
    """`path.module` ends up in attributes: were it another one, the tree would be a drift of its own."""
    for name, text in FILES.items():
        bench.write(name, text)
    module = read_module(bench.request("envs/prod", personal=personal))
    place = lay_out(bench.root / "tree", module, personal=personal)
    expected = outputs(terraform_binary, bench.checkout / "envs/prod", bench.root / "data-checkout")
    assert outputs(terraform_binary, place, bench.root / "data-tree") == expected


def test_links_in_the_repository_stay_links(bench: Bench) -> None:
    bench.write("common/versions.tf", "")
    bench.write("envs/prod/main.tf", 'module "x" {\n  source = "../../linked/x"\n}\n')
    bench.write("modules/x/main.tf", "")
    (bench.checkout / "linked").symlink_to("modules")
    (bench.checkout / "envs/prod/versions.tf").symlink_to("../../common/versions.tf")
    module = read_module(bench.request("envs/prod"))
    place = lay_out(bench.root / "tree", module, personal=False)
    assert (place / "versions.tf").readlink() == (bench.checkout / "envs/prod/versions.tf").readlink()
    assert (place / "versions.tf").exists()
    assert (place / "../../linked/x/main.tf").resolve() == (bench.root / "tree/modules/x/main.tf").resolve()


@pytest.mark.row(40)
def test_what_terraform_would_run_from_the_repository_is_left_out(bench: Bench) -> None:
    """Row 40: neither `.terraform` nor `terraform.d/plugins` of a repository is where terraform looks."""
    bench.write("main.tf", "")
    bench.write(".terraform/providers/x", "")
    bench.write("terraform.d/plugins/x", "")
    bench.write("files/terraform.d/kept", "")
    module = read_module(bench.request())
    place = lay_out(bench.root / "tree", module, personal=False)
    assert sorted(path.name for path in place.iterdir()) == ["files", "main.tf"]
    assert (place / "files/terraform.d/kept").exists()


def test_what_is_written_in_the_tree_is_not_written_in_the_checkout(bench: Bench) -> None:
    """`archive_file` writes beside the code, over what may be committed there."""
    bench.write("main.tf", "")
    committed = bench.write("lambda.zip", "committed")
    committed.chmod(0o444)
    script = bench.write("run.sh", "")
    script.chmod(0o555)
    place = lay_out(bench.root / "tree", read_module(bench.request()), personal=False)
    (place / "lambda.zip").write_text("another", encoding="utf-8")
    assert committed.read_text(encoding="utf-8") == "committed"
    assert os.access(place / "run.sh", os.X_OK)


def test_what_is_larger_than_code_is_linked_and_not_copied(bench: Bench) -> None:
    bench.write("main.tf", "")
    with bench.write("image.iso", "").open("wb") as image:
        image.truncate(20 << 20)
    place = lay_out(bench.root / "tree", read_module(bench.request()), personal=False)
    assert (place / "image.iso").readlink() == bench.checkout / "image.iso"


def test_a_persons_files_are_not_touched_even_in_their_inode(bench: Bench) -> None:
    path = bench.write("main.tf", "")
    before = path.stat()
    lay_out(bench.root / "tree", read_module(bench.request(personal=True)), personal=True)
    assert path.stat() == before


def test_a_tree_is_built_anew_each_time(bench: Bench) -> None:
    bench.write("main.tf", "one")
    gone = bench.write("gone.tf", "")
    lay_out(bench.root / "tree", read_module(bench.request()), personal=False)
    gone.unlink()
    bench.write("main.tf", "two")
    place = lay_out(bench.root / "tree", read_module(bench.request()), personal=False)
    assert [path.name for path in place.iterdir()] == ["main.tf"]
    assert (place / "main.tf").read_text() == "two"


@pytest.mark.row(37)
@pytest.mark.parametrize(
    "name", ["prod.tfvars", "envs/terraform.tfvars", "envs/main.tf", "envs/x.auto.tfvars"]
)
def test_a_pointer_of_git_lfs_is_told_as_such(bench: Bench, name: str) -> None:
    """Row 37: "not fetched", instead of a complaint about its syntax."""
    bench.write("envs/main.tf", "")
    bench.write("prod.tfvars", "")
    bench.write(name, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    with pytest.raises(LfsNotFetchedError) as raised:
        read_module(bench.request("envs", var_files=("../prod.tfvars",)))
    assert raised.value.message.startswith(f"{name} is a Git LFS pointer")


def test_a_directory_without_code_is_no_root_module(bench: Bench) -> None:
    bench.write("docs/README.md", "")
    with pytest.raises(NotARootModuleError):
        read_module(bench.request("docs"))
    with pytest.raises(NotARootModuleError):
        read_module(bench.request("nowhere"))


@pytest.mark.parametrize("name", ["../../secret.tfvars", "link.tfvars"])
def test_var_files_stay_in_the_repository(bench: Bench, name: str) -> None:
    bench.write("envs/main.tf", "")
    (bench.root / "secret.tfvars").write_text("", encoding="utf-8")
    (bench.checkout / "envs/link.tfvars").symlink_to(bench.root / "secret.tfvars")
    with pytest.raises(UnsafeRepositoryError):
        read_module(bench.request("envs", var_files=(name,)))
    assert read_module(bench.request("envs", var_files=(name,), personal=True)).var_files


def test_a_var_file_that_is_not_there_is_told_by_its_name(bench: Bench) -> None:
    bench.write("main.tf", "")
    with pytest.raises(ConfigurationInvalidError, match=r"prod\.tfvars does not exist"):
        read_module(bench.request(var_files=("prod.tfvars",)))


def test_a_module_may_not_lead_out_of_the_checkout(bench: Bench) -> None:
    (bench.root / "other").mkdir()
    (bench.checkout / "link").symlink_to(bench.root / "other")
    with pytest.raises(UnsafeRepositoryError):
        read_module(bench.request("link"))


def test_the_digest_for_init_sees_backends_and_sources_and_nothing_else(bench: Bench) -> None:
    bench.write("main.tf", 'module "x" {\n  source = "./x"\n}\n')
    bench.write("backend.tf", 'terraform {\n  backend "local" {\n    path = "a"\n  }\n}\n')
    bench.write("x/main.tf", 'module "y" {\n  source = "./y"\n}\n')
    bench.write("x/y/main.tf", "")

    def digest() -> str:
        return read_module(bench.request()).init_digest

    first = digest()
    bench.write("other.tf", 'resource "terraform_data" "a" {}\n')
    assert digest() == first
    bench.write("x/y/main.tf", 'module "z" {\n  source = "git::https://git.example.com/z.git?ref=v1"\n}\n')
    second = digest()
    assert second != first
    bench.write("backend.tf", 'terraform {\n  backend "local" {\n    path = "b"\n  }\n}\n')
    assert digest() not in (first, second)
