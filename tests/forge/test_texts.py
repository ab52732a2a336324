"""How texts are made to fit into what a forge takes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwatch.forge.pulls import fitted, marked, one_line

LIMIT = 2_000


def test_what_fits_is_left_as_it_is() -> None:
    text = "x" * LIMIT

    assert fitted(text, LIMIT, "GitHub") == text


def test_what_is_cut_says_how_much_is_missing() -> None:
    cut = fitted("".join(f"line {number}\n" for number in range(1_000)), LIMIT, "GitHub")

    kept, _, note = cut.rpartition("\n**")
    whole = len("".join(f"line {number}\n" for number in range(1_000)))
    missing = whole - len(kept.rstrip("\n"))
    assert note == f"GitHub takes no more than 2,000 characters: {missing:,} are missing here.**"


def test_lines_are_cut_between_and_not_within() -> None:
    cut = fitted("twelve chars\n" * 1_000, LIMIT, "GitHub")

    assert set(cut.rpartition("\n**")[0].strip().splitlines()) == {"twelve chars"}


@pytest.mark.parametrize(
    ("opened", "closed"),
    [
        ("```\n", "\n```\n"),
        ("````diff\n```\n", "\n````\n"),
        ("~~~\n```\n", "\n~~~\n"),
        ("<details><summary>Plan</summary>\n\n", "\n</details>\n"),
        ("<details>\n\n```\n", "\n```\n</details>\n"),
        ("```\nx\n```\n", "x\n\n**"),
        ("<details>\n</details>\n", "x\n\n**"),
    ],
)
def test_what_was_open_at_the_cut_is_closed(opened: str, closed: str) -> None:
    cut = fitted(opened + "x\n" * LIMIT, LIMIT, "GitHub")

    assert closed in cut[-200:]
    assert cut.endswith("missing here.**")


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="`~<details>/ \nxé😀", min_size=401, max_size=3_000), st.integers(401, 3_000))
def test_whatever_it_is_fits(text: str, limit: int) -> None:
    assert len(fitted(text, limit, "GitHub")) <= limit


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=400), st.integers(1, 300))
def test_one_line_is_one_that_fits(text: str, limit: int) -> None:
    line = one_line(text, limit)

    assert len(line) <= limit
    assert line.isprintable()


def test_a_body_begins_with_its_mark_once() -> None:
    assert marked("<!-- m -->", "Plan") == marked("<!-- m -->", "<!-- m -->\nPlan") == "<!-- m -->\nPlan"
