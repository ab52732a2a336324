"""Durations carry their unit, or they are refused."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftwatch.config.durations import LONGEST, PATTERN, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("1h30m", 5400),
        ("1d", 86400),
        ("1d2h3m4s", 93784),
        ("0s", 0),
        ("90m", 5400),
        ("250ms", 0.25),
        ("1m250ms", 60.25),
    ],
)
def test_reads_what_people_write(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "15",
        "1.5h",
        "-5m",
        "5 m",
        " 5m",
        "5m ",
        "5m\n",
        "m",
        "5x",
        "1m1h",
        "5M",
        "1w",
        "\u0665m",
        "5mm",
        "1h1h",
        "1e3s",
    ],
)
def test_refuses_the_rest_and_says_what_it_expects(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration with its unit"):
        parse_duration(text)


def test_a_bare_number_is_asked_for_its_unit() -> None:
    with pytest.raises(ValueError, match="15 of what"):
        parse_duration("15")


@pytest.mark.parametrize("text", ["99999d", "999999999d", "999999999h"])
def test_longer_than_ten_years_is_a_typing_error(text: str) -> None:
    with pytest.raises(ValueError, match="ten years"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=LONGEST // timedelta(milliseconds=1)))
def test_round_trip(milliseconds: int) -> None:
    """What is printed is read back as the same."""
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


@given(st.text(alphabet="0123456789dhms. -", max_size=12) | st.text(max_size=12))
def test_the_schema_and_the_parser_agree(text: str) -> None:
    """An editor marks exactly what loading refuses (but for what is too long)."""
    try:
        parse_duration(text)
        accepted = True
    except ValueError as exc:
        accepted = "ten years" in str(exc)
    # JSON Schema's `$` is the end of the text; Python's also matches before a last newline.
    assert accepted == bool(re.search(PATTERN.replace("$", r"\Z"), text))
