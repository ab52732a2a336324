"""Versions and constraints mean what they mean to terraform."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import suppress
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftwatch.terraform.versions import Constraint, Version, allowed_by_all, example, newest_first

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
        (">= 1.5 , != 1.6.0,<2", "1.6.0", False),
        ("  ~>1.5  ", "1.11.4", True),
        ("= v1.5.7+build.5", "1.5.7", True),
        ("1.5.7", "v1.5.7+other", True),
        ("!= 1.5.7", "1.5.7+build", False),
        ("~> 1.5.0.1", "1.5.0", False),
        ("~> 1.5.0.0", "1.5.0", False),
        (">= 1.5.0.0", "1.5.0", True),
        ("= 1.6.0beta1", "1.6.0-beta1", True),
        ("> 1.6.0-beta", "1.6.0-beta.1", True),
        ("> 1.6.0-beta", "1.6.0-beta.x", False),
        ("> 1.6.0-beta.2", "1.6.0-beta.11", True),
        ("> 1.6.0-1", "1.6.0-alpha", True),
        ("= 1.6.0-beta", "1.6.0.0", True),  # where the number of segments differs it looks at nothing else
        (">= 1.6.0-beta", "1.6.0", True),
        ("~> 1.6-beta", "1.6.0-beta", True),
        ("!= 1.6.0-beta", "1.7.0-beta", True),
    ],
)
def test_known_cases(constraint: str, text: str, *, expected: bool) -> None:
    assert allows(constraint, text) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "latest",
        "~>",
        ">> 1",
        "1.2.x.y!",
        "1..2",
        ">= 1.5 < 2",
        "^1.5",
        "= = 1",
        "1,",
        "\u0661.\u0662",
        f"1.{2**63}",
    ],
)
def test_what_is_no_constraint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a version"):
        Constraint.parse(text)


@pytest.mark.parametrize(
    ("required", "named"),
    [
        (["~> 1.6.2, != 1.6.3"], "1.6.2"),
        ([">= 1.3", ">= 1.5.1, < 2"], "1.5.1"),
        (["1.5"], "1.5.0"),
        (["< 1.5"], None),
        (["> 1.5", "< 1.4"], None),
        (["nonsense"], None),
        ([">= 2.0.0-beta1"], None),
    ],
)
def test_a_version_to_install_is_one_that_the_code_names_and_takes(
    required: list[str], named: str | None
) -> None:
    assert example(required) == named


@given(st.lists(st.tuples(st.sampled_from(["=", ">=", "~>", "<=", "!="]), release), min_size=1, max_size=4))
def test_a_version_to_install_would_be_accepted(terms: list[tuple[str, str]]) -> None:
    required = [f"{operator} {text}" for operator, text in terms]
    named = example(required)
    assert named is None or allowed_by_all(named, required)


@given(st.lists(version))
def test_the_newest_comes_first(texts: list[str]) -> None:
    found = [Version.parse(text) for text in sorted(texts, key=newest_first)]
    assert all(one.compare(other) >= 0 for one, other in pairwise(found))


@given(st.text(max_size=30))
def test_no_text_breaks_the_readers(text: str) -> None:
    """What is none is refused with a ValueError, and comes last in order."""
    for read in (Version.parse, Constraint.parse):
        with suppress(ValueError):
            read(text)
    assert sorted([text, "0.0.0-0"], key=newest_first)


def test_a_pre_release_of_the_engine_counts_as_its_release_for_required_version() -> None:
    assert allowed_by_all("1.12.0-beta1", ["~> 1.12.0"])
    assert not allowed_by_all("1.12.0-beta1", ["< 1.12"])


def test_what_cannot_be_judged_is_left_for_terraform_to_say() -> None:
    assert allowed_by_all("1.11.4", ["nonsense", ">= 2.0.0-beta1"])


def asked_of_terraform(directory: Path, program: Path, constraints: list[str]) -> dict[str, str]:
    """What terraform says to each of them, in one run: every one is in a file of its own."""
    for number, constraint in enumerate(constraints):
        text = f"terraform {{\n  required_version = {json.dumps(constraint)}\n}}\n"
        (directory / f"c{number:03}.tf").write_text(text, encoding="utf-8")
    ran = subprocess.run(
        [program, "get", "-no-color"],
        cwd=directory,
        env={"HOME": str(directory), "CHECKPOINT_DISABLE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = re.split(r"^(?:. )?Error: ", ran.stdout + ran.stderr, flags=re.MULTILINE)[1:]
    places = ((re.search(r"\bc(\d{3})\.tf line", text), text.splitlines()[0]) for text in said)
    return {constraints[int(place[1])]: title for place, title in places if place}


def near(version: str, random: Random) -> str:
    """A constraint that terraform of this version may or may not satisfy."""
    major, minor, patch = (int(part) for part in version.split("-", maxsplit=1)[0].split("."))
    terms = []
    for _ in range(random.choice([1, 1, 2, 3])):
        parts = [
            major,
            max(0, minor + random.choice([-2, -1, 0, 0, 1])),
            max(0, patch + random.choice([-1, 0, 1])),
        ]
        text = ".".join(map(str, parts[: random.choice([1, 2, 3, 3])]))
        before = random.choice(["", "v"])
        after = random.choice(["", "", "+build.7"])
        operator = random.choice(["=", "", "!=", ">", "<", ">=", "<=", "~>", "~>"])
        terms.append(f"{operator}{random.choice(['', ' ', '  '])}{before}{text}{after}")
    return random.choice([",", ", ", " , "]).join(terms)


def test_terraform_itself_agrees(tmp_path: Path, terraform_binary: Path) -> None:
    """On 200 constraints close to its own version, of all forms."""
    ran = subprocess.run([terraform_binary, "version", "-json"], capture_output=True, check=True)
    version = str(json.loads(ran.stdout)["terraform_version"])
    random = Random(6)  # noqa: S311  (the same ones in each run)
    constraints = list(dict.fromkeys(near(version, random) for _ in range(200)))
    refused = asked_of_terraform(tmp_path, terraform_binary, constraints)
    assert set(refused.values()) == {"Unsupported Terraform Core version"}
    ours = {constraint for constraint in constraints if not allowed_by_all(version, [constraint])}
    assert set(refused) == ours
    assert 0 < len(ours) < len(constraints)


def test_terraform_itself_agrees_on_what_is_none(tmp_path: Path, terraform_binary: Path) -> None:
    malformed = [
        "latest",
        ">> 1",
        "1..2",
        ">= 1.5 < 2",
        "^1.5",
        "= = 1",
        "1,",
        "1.2.3+",
        "a1",
        "~>",
    ]
    refused = asked_of_terraform(tmp_path, terraform_binary, malformed)
    assert set(refused) == set(malformed)
    for text in malformed:
        with pytest.raises(ValueError, match="not a version"):
            Constraint.parse(text)
