"""The engine that a stack asks for is found, or its absence is told with both versions."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from driftwatch.errors import NoBinaryError, VersionMismatchError
from driftwatch.terraform.engines import Binary, Engines, choose
from driftwatch.terraform.module import Module, read_module
from driftwatch.terraform.request import PlanRequest


def program(directory: Path, name: str, text: bytes = b"\x7fELF") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_bytes(text)
    path.chmod(0o755)
    return path


@dataclass
class Oracle:
    """Answers versions, and remembers who asked."""

    versions: dict[str, str | None]

    def __post_init__(self) -> None:
        self.asked: list[tuple[Path, Path]] = []

    def __call__(self, path: Path, directory: Path) -> str | None:
        self.asked.append((path, directory))
        return self.versions.get(str(path), self.versions.get(path.name))


def engines(
    *directories: Path, binary: str = "auto", cache: Path, oracle: Oracle | None = None
) -> tuple[Engines, Oracle]:
    answers = oracle or Oracle({"terraform": "1.11.4", "tofu": "1.10.0"})
    return Engines(binary, os.pathsep.join(map(str, directories)), cache, answers), answers


def test_both_names_are_found_along_the_path_terraform_first(tmp_path: Path) -> None:
    program(tmp_path / "a", "tofu")
    program(tmp_path / "b", "terraform")
    program(tmp_path / "c", "terraform")
    (tmp_path / "c" / "tofu").write_text("may not be run", encoding="utf-8")
    found, _ = engines(tmp_path / "a", tmp_path / "b", tmp_path / "c", cache=tmp_path)
    assert [(each.name, each.version, each.path) for each in found.found(tmp_path)] == [
        ("terraform", "1.11.4", tmp_path / "b" / "terraform"),
        ("terraform", "1.11.4", tmp_path / "c" / "terraform"),
        ("tofu", "1.10.0", tmp_path / "a" / "tofu"),
    ]


def test_the_same_program_twice_on_the_path_is_one(tmp_path: Path) -> None:
    program(tmp_path / "a", "terraform")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    found, _ = engines(tmp_path / "a", tmp_path / "b", cache=tmp_path)
    assert len(found.found(tmp_path)) == 1


def test_a_link_named_terraform_that_leads_to_tofu_is_tofu(tmp_path: Path) -> None:
    real = program(tmp_path / "opt", "tofu")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "terraform").symlink_to(real)
    found, _ = engines(tmp_path / "bin", cache=tmp_path)
    assert [each.name for each in found.found(tmp_path)] == ["tofu"]


@pytest.mark.parametrize("absolute", [True, False])
def test_a_setting_names_the_only_one_that_counts(tmp_path: Path, *, absolute: bool) -> None:
    program(tmp_path, "terraform")
    named = program(tmp_path, "terraform-1.5")
    found, _ = engines(
        tmp_path,
        binary=str(named) if absolute else "terraform-1.5",
        cache=tmp_path,
        oracle=Oracle({"terraform-1.5": "1.5.7"}),
    )
    assert [(each.path, each.source) for each in found.found(tmp_path)] == [(named, "terraform.binary")]


def test_a_setting_that_names_nothing_is_told_by_its_name(tmp_path: Path) -> None:
    program(tmp_path, "terraform")
    found, _ = engines(tmp_path, binary="terraform-9", cache=tmp_path)
    with pytest.raises(NoBinaryError, match="terraform-9"):
        found.found(tmp_path)


def test_a_version_is_asked_once_and_again_when_the_file_has_changed(tmp_path: Path) -> None:
    path = program(tmp_path, "terraform")
    found, oracle = engines(tmp_path, cache=tmp_path)
    found.found(tmp_path)
    found.found(tmp_path)
    assert len(oracle.asked) == 1
    path.write_bytes(b"\x7fELF, newer")
    oracle.versions["terraform"] = "1.12.0"
    assert found.found(tmp_path)[0].version == "1.12.0"


def test_a_version_managers_script_is_asked_in_each_directory(tmp_path: Path) -> None:
    """What it answers depends on the directory, so that nothing may be remembered."""
    program(tmp_path / "bin", "terraform", b"#!/bin/sh\n")
    found, oracle = engines(tmp_path / "bin", cache=tmp_path)
    found.found(tmp_path)
    found.found(tmp_path / "bin")
    assert [directory for _, directory in oracle.asked] == [tmp_path, tmp_path / "bin"]


def test_a_program_that_does_not_answer_is_none(tmp_path: Path) -> None:
    program(tmp_path / "a", "terraform")
    program(tmp_path / "b", "terraform")
    answers = Oracle({str(tmp_path / "b" / "terraform"): "1.9.0"})
    found, _ = engines(tmp_path / "a", tmp_path / "b", cache=tmp_path, oracle=answers)
    assert [each.version for each in found.found(tmp_path)] == ["1.9.0"]


OLD = Binary(name="terraform", version="1.5.7", path=Path("/old/terraform"), source="PATH")
NEW = Binary(name="terraform", version="1.11.4", path=Path("/new/terraform"), source="PATH")
TOFU = Binary(name="tofu", version="1.10.0", path=Path("/bin/tofu"), source="PATH")
ALL = (NEW, OLD, TOFU)


def module(root: Path, files: dict[str, str], stack: str = "envs/prod") -> Module:
    for name, text in {f"{stack}/main.tf": "", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return read_module(PlanRequest(module=root / stack, checkout=root, workdir=root))


REQUIRES_OLD = 'terraform {\n  required_version = "~> 1.5.0"\n}\n'


@pytest.mark.parametrize(
    ("files", "engine", "expected"),
    [
        ({}, "auto", NEW),
        ({}, "tofu", TOFU),
        ({"envs/prod/main.tf": REQUIRES_OLD}, "auto", OLD),
        ({"envs/prod/x.tofu": ""}, "auto", TOFU),
        ({".terraform-version": "1.5.7\n"}, "auto", OLD),
        ({"envs/prod/.terraform-version": "v1.5.7"}, "auto", OLD),
        ({"envs/prod/.terraform-version": "1.5.7", ".terraform-version": "1.11.4"}, "auto", OLD),
        (
            {".terraform-version": "1.5.7", "envs/prod/main.tf": 'terraform { required_version = "> 1.9" }'},
            "auto",
            OLD,
        ),
        ({".terraform-version": "latest:^1.5"}, "auto", NEW),
        ({".terraform-version": "1.5.7", ".opentofu-version": "1.10.0"}, "auto", TOFU),
        ({".terraform-version": "1.5.7", ".opentofu-version": "1.10.0"}, "terraform", OLD),
        ({".terraform-version": "1.5.7"}, "tofu", TOFU),
        ({".tool-versions": "# tools\nnodejs 22.1.0\nterraform 1.5.7 # old\n"}, "auto", OLD),
        ({".tool-versions": "opentofu 1.10.0\n"}, "auto", TOFU),
        ({".tool-versions": "terraform 1.5.7\n", "envs/.terraform-version": "1.11.4"}, "auto", NEW),
    ],
)
def test_whoever_asks_most_closely_is_heard(
    tmp_path: Path, files: dict[str, str], engine: str, expected: Binary
) -> None:
    assert choose(ALL, engine, module(tmp_path, files)) == expected


MIDDLE = Binary(name="terraform", version="1.9.8", path=Path("/tools/terraform"), source="tools")
NEWEST = Binary(name="terraform", version="1.14.0", path=Path("/tools/newest/terraform"), source="tools")
SAME = Binary(name="terraform", version="1.5.7", path=Path("/tools/old/terraform"), source="tools")
PRE = Binary(name="terraform", version="1.12.0-beta1", path=Path("/tools/pre/terraform"), source="tools")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"envs/prod/main.tf": 'terraform { required_version = "< 1.11" }'}, MIDDLE),
        ({"envs/prod/main.tf": 'terraform { required_version = ">= 1.5" }'}, NEWEST),
        ({"envs/prod/main.tf": 'terraform { required_version = "~> 1.12.0" }'}, PRE),
        ({".terraform-version": "1.5.7"}, OLD),
        ({}, OLD),
        ({"envs/prod/x.tofu": "", "envs/prod/main.tf": 'terraform { required_version = "> 1.6" }'}, TOFU),
    ],
)
def test_the_newest_that_would_do_is_taken_where_anything_asks(
    tmp_path: Path, files: dict[str, str], expected: Binary
) -> None:
    """Of the same version the one on PATH; where nothing asks, the first on PATH, whatever is installed."""
    found = (OLD, TOFU, MIDDLE, NEWEST, SAME, PRE)
    assert choose(found, "auto", module(tmp_path, files)) == expected


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({".terraform-version": "1.6.1"}, "driftwatch tools install 1.6.1`"),
        ({".opentofu-version": "1.6.1"}, "driftwatch tools install 1.6.1 --engine tofu`"),
        (
            {"envs/prod/main.tf": 'terraform { required_version = "~> 1.6.2" }'},
            "driftwatch tools install 1.6.2`",
        ),
        (
            {"envs/prod/main.tf": 'terraform { required_version = "< 0.12" }'},
            "driftwatch tools install VERSION`",
        ),
    ],
)
def test_a_mismatch_says_what_would_install_it(tmp_path: Path, files: dict[str, str], command: str) -> None:
    with pytest.raises(VersionMismatchError) as raised:
        choose(ALL, "auto", module(tmp_path, files))
    assert command in str(raised.value.advice)


def test_a_local_module_asks_too(tmp_path: Path) -> None:
    asking = module(
        tmp_path,
        {
            "envs/prod/main.tf": 'module "x" {\n  source = "../../modules/x"\n}\n',
            "modules/x/main.tf": REQUIRES_OLD,
        },
    )
    assert choose(ALL, "auto", asking) == OLD


@pytest.mark.row(27)
@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"envs/prod/main.tf": 'terraform {\n  required_version = "~> 1.6.0"\n}\n'}, '"~> 1.6.0"'),
        ({"envs/.terraform-version": "1.6.1\n"}, "envs/.terraform-version asks for terraform 1.6.1"),
        ({".opentofu-version": "1.6.1\n"}, ".opentofu-version asks for tofu 1.6.1"),
    ],
)
def test_a_mismatch_names_what_is_wanted_and_what_is_there(
    tmp_path: Path, files: dict[str, str], wanted: str
) -> None:
    """Row 27: both versions are named."""
    with pytest.raises(VersionMismatchError) as raised:
        choose(ALL, "auto", module(tmp_path, files))
    assert wanted in raised.value.message
    assert all(each.version in raised.value.message for each in ALL)
    assert raised.value.advice


def test_an_engine_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoBinaryError, match=r"engine is tofu; found only terraform 1\.5\.7"):
        choose((OLD,), "tofu", module(tmp_path, {}))


def test_a_version_file_outside_of_the_checkout_is_not_heard(tmp_path: Path) -> None:
    (tmp_path / ".terraform-version").write_text("1.5.7", encoding="utf-8")
    assert choose(ALL, "auto", module(tmp_path / "checkout", {})) == NEW
