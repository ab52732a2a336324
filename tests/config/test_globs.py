"""Globs over stack paths: `*` stays within one level, `**` does not, and no glob takes long."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftwatch.config.globs import covers, matches


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        ("envs/*/*", "envs/prod/network", True),
        ("envs/*/*", "envs/prod", False),
        ("envs/*/*", "envs/prod/network/sub", False),
        ("envs/**", "envs/prod/network/sub", True),
        ("envs/**", "envs", True),
        ("**", "anything/at/all", True),
        ("**", ".", True),
        (".", ".", True),
        ("*", ".", False),
        (".", "a", False),
        ("**/network", "envs/prod/network", True),
        ("**/network", "network", True),
        ("a/**/b/**/c", "a/x/b/c", True),
        ("a/**/b/**/c", "a/x/c", False),
        ("env?/[pt]*", "envs/prod", True),
        ("envs/prod", "ENVS/prod", False),
        ("*", "a/b", False),
        ("a**", "a/b", False),
    ],
)
def test_matches(glob: str, path: str, expected: bool) -> None:
    assert matches(glob, path) is expected


@given(st.lists(st.sampled_from(["a", "b", "envs"]), min_size=1, max_size=6))
def test_a_path_matches_itself_and_everything_matches_double_star(parts: list[str]) -> None:
    path = "/".join(parts)
    assert matches(path, path)
    assert matches("**", path)
    assert matches("/".join(["**", *parts, "**"]), path)


def test_a_hostile_glob_is_answered_at_once() -> None:
    """A repository's own file may hold any glob; its match must not take exponential time."""
    started = time.perf_counter()
    assert not matches("/".join(["**", "a"] * 60), "/".join(["a"] * 59 + ["b"] * 60))
    assert not matches("*a" * 120 + "c", "a" * 250)
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    ("globs", "path", "expected"),
    [
        (["policies"], "policies/a.rego", True),
        (["policies"], "policies/deep/a.rego", True),
        (["policies"], "policies", True),
        (["policies"], "policies-old/a.rego", False),
        (["envs/*"], "envs/prod/dns/main.tf", True),
        (["a", "b"], "b/c", True),
        (["."], "any/where.tf", True),
        (["*"], "any/where.tf", True),
        (["*.tf"], "any/where.tf", False),
        ([], "a", False),
    ],
)
def test_a_glob_covers_what_lies_below_a_directory_that_it_names(
    globs: list[str], path: str, expected: bool
) -> None:
    assert covers(globs, path) is expected
