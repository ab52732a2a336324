"""Versions and constraints mean what they mean to terraform."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftwatch.terraform.versions import Constraint, Version, allowed_by_all

if TYPE_CHECKING:
    from pathlib import Path

number = st.integers(min_value=0, max_value=40)
release = st.tuples(number, number, number).map(lambda parts: ".".join(map(str, parts)))
word = st.sampled_from(["alpha1", "beta1", "beta2", "rc1", "1", "2", "11", "dev"])
version = st.builds(lambda text, pre: f"{text}-{pre}" if pre else text, release, st.none() | word)


def allows(constraint: str, text: str) -> bool:
    return Constraint.parse(constraint).allows(Version.parse(text))


@given(version, version)
def test_order_is_total_and_the_same_from_both_sides(one: str, other: str) -> None:
    left, right = Version.parse(one), Version.parse(other)
    assert left.compare(right) == -right.compare(left)
    assert (left.compare(right) == 0) == (one == other)


@given(version, version, version)
def test_order_is_transitive(first: str, second: str, third: str) -> None:
    a, b, c = (Version.parse(text) for text in (first, second, third))
    if a.compare(b) <= 0 <= c.compare(b):
        assert a.compare(c) <= 0


@given(number, number, number, release)
def test_the_pessimistic_operator_is_a_range(major: int, minor: int, patch: int, text: str) -> None:
    assert allows(f"~> {major}.{minor}.{patch}", text) == allows(
        f">= {major}.{minor}.{patch}, < {major}.{minor + 1}.0", text
    )
    assert allows(f"~> {major}.{minor}", text) == allows(f">= {major}.{minor}, < {major + 1}", text)
    assert allows(f"~> {major}", text) == allows(f">= {major}", text)


@given(release, release)
def test_opposite_constraints_exclude_each_other(wanted: str, text: str) -> None:
    assert allows(f"= {wanted}", text) != allows(f"!= {wanted}", text)
    assert allows(f"> {wanted}", text) != allows(f"<= {wanted}", text)
    assert allows(f"< {wanted}", text) != allows(f">= {wanted}", text)


@given(release, word, release)
def test_a_pre_release_is_in_no_range_of_releases(base: str, pre: str, wanted: str) -> None:
    for operator in (">=", "<=", ">", "<", "~>"):
        assert not allows(f"{operator} {wanted}", f"{base}-{pre}")


@pytest.mark.parametrize(
    ("constraint", "text", "expected"),
    [
        ("1.5.7", "1.5.7", True),
        ("v1.5.7", "1.5.7", True),
        ("1.5", "1.5.0", True),
        ("1.5", "1.5.1", False),
        (">= 1.5, < 2", "1.11.4", True),
        (">=1.5,<1.11", "1.11.4", False),
        ("~> 1.5", "1.11.4", True),
        ("~> 1.5.0", "1.11.4", False),
        ("~> 1.6.0-beta1", "1.6.0-beta2", True),
        ("~> 1.6.0-beta1", "1.6.0", False),
        (">= 1.6.0-beta1", "1.6.0-alpha1", False),
        (">= 1.6.0-beta1", "1.6.0", True),
        (">= 1.6.0-beta1", "1.7.0-beta1", False),
        ("1.0.0-beta2", "1.0.0-beta11", False),
    ],
)
def test_known_cases(constraint: str, text: str, *, expected: bool) -> None:
    assert allows(constraint, text) is expected


@pytest.mark.parametrize("text", ["", "latest", "~>", ">> 1", "1.2.x", "1..2", ">= 1.5 < 2", "^1.5"])
def test_what_is_no_constraint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a version"):
        Constraint.parse(text)


def test_a_pre_release_of_the_engine_counts_as_its_release_for_required_version() -> None:
    assert allowed_by_all("1.12.0-beta1", ["~> 1.12.0"])
    assert not allowed_by_all("1.12.0-beta1", ["< 1.12"])


def test_what_cannot_be_judged_is_left_for_terraform_to_say() -> None:
    assert allowed_by_all("1.11.4", ["nonsense", ">= 2.0.0-beta1"])


@pytest.mark.parametrize(
    "constraint",
    [
        "~> 1.5",
        "~> 1.11.0",
        "~> 1",
        "1.11.4",
        "!= 1.11.4",
        ">= 1.5, < 1.11.4",
        "> 1.11.3",
        "<= 1.11",
        "~> 1.11.5",
    ],
)
def test_terraform_itself_agrees(constraint: str, tmp_path: Path, terraform_binary: Path) -> None:
    (tmp_path / "main.tf").write_text(
        f'terraform {{\n  required_version = "{constraint}"\n}}\n', encoding="utf-8"
    )

    def said(*arguments: str) -> str:
        command = [terraform_binary, *arguments]
        ran = subprocess.run(
            command, cwd=tmp_path, env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=False
        )
        return ran.stdout + ran.stderr

    refused = "Core version" in said("get", "-no-color")
    version = json.loads(said("version", "-json"))["terraform_version"]
    assert allowed_by_all(version, [constraint]) is not refused
