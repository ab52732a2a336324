"""Globs, pointers and expressions of rules: what they match, and that none can take long."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwatch.config import patterns

SETTINGS = settings(max_examples=200, deadline=None, derandomize=True)
LIMIT = 1.0
"""Seconds for the worst that is accepted, on a machine that is busy with something else."""


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/tags", "/tags", True),
        ("/tags", "/tags/Name", True),
        ("/tags", "/tags_all", False),
        ("/tags/Name", "/tags", False),
        ("/*/Name", "/tags/Name", True),
        ("/*", "", False),
        ("/t*s/N?me", "/tags/Name", True),
        ("/tags/a~1b", "/tags/a~1b", True),
        ("/tags/a~1b", "/tags/a/b", False),
        ("/tags/a~0b", "/tags/a~0b", True),
        ("/tags/*", "/tags/a~1b/c", True),
        ("/tags/[ab]", "/tags/a", False),
        ("/tags/[ab]", "/tags/[ab]", True),
        ("/Tags", "/tags", False),
    ],
)
def test_pointers_name_steps_and_all_below(pattern: str, path: str, matches: bool) -> None:
    assert patterns.matches_pointer(patterns.attribute_pointer(pattern), path) is matches


@SETTINGS
@given(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=4))
def test_a_pointer_without_stars_names_itself(steps: list[str]) -> None:
    path = "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)
    assert patterns.steps(path) == tuple(steps)
    if not set("*?") & set(path):
        assert patterns.matches_pointer(path, path)
        assert patterns.matches_pointer(path, f"{path}/more")


@pytest.mark.parametrize("text", ["*", "**", "?*", "/*", "/*/*", "*.*", "*/*"])
def test_patterns_that_name_everything_are_known(text: str) -> None:
    assert patterns.is_wild(text)
    assert not patterns.is_wild(f"{text}a")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * 201,
        "(a*)*",
        "(a|ab)*",
        "(a?){30}",
        "a?" * 20,
        ".*.*.*",
        "(.*a){20}",
        "a{0,400}a{0,400}a{0,400}",
        "(a)\\1",
        "(?<!a)b",
        "[",
        "a{2,1}",
        "(?P<x>a)(?(x)b|c)",
        "a\x00",
        "[[a]",
        "((a{1,9}){1,9}){1,9}",
    ],
)
def test_expressions_that_are_wrong_or_could_take_long_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        patterns.expression(text)


@pytest.mark.parametrize(
    ("text", "hit", "miss"),
    [
        ("arn:aws:(iam|sts)::[0-9]{12}:role/.*", "arn:aws:iam::123456789012:role/x", "arn:aws:s3:::x"),
        (".*prod.*", "a-prod-b", "a-test-b"),
        ("(?i)yes|no", "YES", "yes no"),
        ("v[0-9]+\\.[0-9]+", "v1.20", "v1"),
        ("(ab){2,3}", "abab", "ab"),
        ("a++b", "aab", "ab2"),
    ],
)
def test_usual_expressions_are_taken_and_match_whole_texts(text: str, hit: str, miss: str) -> None:
    assert patterns.fits(patterns.expression(text), hit)
    assert not patterns.fits(text, miss)
    assert not patterns.fits(text, f"{hit}\n{miss}")


@pytest.mark.parametrize(
    "text",
    [
        ".*.*x",
        "a*a*b",
        ".*a{99}.*b",
        "(a|b)*a*c",
        "a?a?a?a?a?a?a?a?a*b",
        "(?:a{50}b?){1}.*c",
        "(a|aa)(b|c)?.*b",
    ],
)
def test_the_worst_that_is_accepted_ends_soon(text: str) -> None:
    started = time.perf_counter()
    assert not patterns.fits(patterns.expression(text), "a" * patterns.LONGEST_SUBJECT)
    assert time.perf_counter() - started < LIMIT


def test_the_worst_globs_end_soon() -> None:
    started = time.perf_counter()
    assert not patterns.matches_text("*a" * 100 + "b", "a" * 20_000)
    assert not patterns.matches_pointer("/" + "*a" * 100 + "b", "/" + "a" * 20_000)
    assert time.perf_counter() - started < LIMIT


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(alphabet="ab.*+?|(){},0123[]^$\\", max_size=14))
def test_whatever_is_accepted_ends_soon_and_means_what_python_means(text: str) -> None:
    try:
        patterns.expression(text)
    except ValueError:
        return
    started = time.perf_counter()
    patterns.fits(text, "ab" * (patterns.LONGEST_SUBJECT // 2))
    patterns.fits(text, "a" * patterns.LONGEST_SUBJECT)
    assert time.perf_counter() - started < LIMIT
    assert patterns.fits(text, "ab") == bool(re.fullmatch(text, "ab"))
