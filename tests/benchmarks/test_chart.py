"""The picture of the figures: whole, honest, legible, and of nothing but itself."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.chart import WIDTH, Chart, Panel, Series, draw, number, share, ticks

SVG = "{http://www.w3.org/2000/svg}"
WIDEST_LETTER = 8.0
"""Pixels, of the 12 px that all values are set in."""


def panel(title: str, *values: tuple[float, ...]) -> Panel:
    names = ("plan", "warm plan", "replay")
    series = tuple(Series(name=name, values=each) for name, each in zip(names, values, strict=True))
    return Panel(title=title, axis="seconds", series=series)


CHART = Chart(
    title="What a check costs",
    subtitle="Shorter is better.",
    group_title="Resources",
    groups=("1", "200"),
    panels=(
        panel("Wall time", (4.0, 10.0), (1.0, 5.0), (0.012, 2.5)),
        panel("CPU time", (5.0, 8.0), (0.5, 2.0), (0.01, 0.2)),
    ),
    notes=("2 cores, terraform 1.11.4",),
)


@pytest.fixture(scope="module")
def picture() -> ET.Element:
    return ET.fromstring(draw(CHART))


def bars(picture: ET.Element, series: int) -> list[float]:
    """The lengths of one series' bars: of the first panel by group, then of the second."""
    found = [each for each in picture.iter(f"{SVG}rect") if each.get("class") == f"bar{series}"]
    return [float(each.attrib["width"]) for each in found if each.get("height") == "14"]


def words(picture: ET.Element) -> list[str]:
    return ["".join(each.itertext()) for each in picture.iter(f"{SVG}text")]


def test_the_picture_says_what_it_is_to_who_cannot_see_it(picture: ET.Element) -> None:
    assert picture.get("role") == "img"
    named = {each.get("id"): each.text for each in picture if each.get("id")}
    assert picture.attrib["aria-labelledby"].split() == list(named)
    assert named["title"] == "What a check costs"
    assert named["desc"] is not None
    assert "Wall time, Resources 200: plan 10.0, warm plan 5.00, replay 2.50." in named["desc"]
    assert named["desc"].count("replay") == 4


def test_titles_axes_legend_and_notes_are_written_once_or_for_each_panel(
    picture: ET.Element,
) -> None:
    said = words(picture)
    for text in (
        "What a check costs",
        "Shorter is better.",
        "Resources",
        "Wall time",
        "CPU time",
        "1",
        "200",
    ):
        assert said.count(text) == 1, text
    for text in ("plan", "warm plan", "replay", "2 cores, terraform 1.11.4"):
        assert said.count(text) == 1, text
    assert said.count("seconds") == 2


def test_each_bar_has_its_value_and_its_share_of_the_first(picture: ET.Element) -> None:
    values = [each for each in picture.iter(f"{SVG}text") if each.get("class") == "value"]
    assert ["".join(each.itertext()) for each in values] == [
        *("4.00", "1.00 25 %", "0.012 0.3 %", "10.0", "5.00 50 %", "2.50 25 %"),
        *("5.00", "0.50 10 %", "0.010 0.2 %", "8.00", "2.00 25 %", "0.20 2.5 %"),
    ]


def test_bars_are_as_long_as_their_values(picture: ET.Element) -> None:
    plan, warm = bars(picture, 0), bars(picture, 1)
    assert plan[1] == pytest.approx(2.5 * plan[0], abs=0.02)
    assert warm[0] == pytest.approx(plan[0] / 4, abs=0.02)
    assert warm[1] == pytest.approx(plan[1] / 2, abs=0.02)
    assert warm[3] == pytest.approx(plan[3] / 4, abs=0.02)


def test_what_is_next_to_nothing_is_still_seen(picture: ET.Element) -> None:
    assert min(bars(picture, 2)) == 1.0


def test_no_value_runs_into_the_next_panel_or_over_the_edge(picture: ET.Element) -> None:
    height = float(picture.attrib["height"])
    second = next(float(each.attrib["x"]) for each in picture.iter(f"{SVG}text") if each.text == "CPU time")
    for each in picture.iter(f"{SVG}text"):
        left, words_ = float(each.attrib["x"]), "".join(each.itertext())
        right = left + WIDEST_LETTER * len(words_)
        assert 0 < float(each.attrib["y"]) < height
        if each.get("class") == "value":
            assert right <= (second if left < second else WIDTH), words_


def test_no_two_bars_cover_each_other(picture: ET.Element) -> None:
    placed = sorted(
        (float(each.attrib["x"]), float(each.attrib["y"]))
        for each in picture.iter(f"{SVG}rect")
        if each.get("height") == "14"
    )
    assert len(set(placed)) == 12
    for (x, y), (next_x, next_y) in pairwise(placed):
        assert x != next_x or next_y - y > 14


def test_the_marks_of_an_axis_lie_where_their_values_do(picture: ET.Element) -> None:
    """The bar of 10.0 ends at the mark of 10."""
    bar = next(each for each in picture.iter(f"{SVG}rect") if each.get("class") == "bar0" and each.get("y"))
    left = min(float(each.attrib["x"]) for each in picture.iter(f"{SVG}rect") if each.get("height") == "14")
    mark = next(
        each for each in picture.iter(f"{SVG}text") if each.text == "10" and "middle" in each.attrib["class"]
    )
    assert bar is not None
    assert float(mark.attrib["x"]) == pytest.approx(left + bars(picture, 0)[1], abs=0.02)


def test_nothing_is_fetched_and_nothing_runs() -> None:
    drawn = draw(CHART).replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|href|url\(|@import|@font-face|<script|<image|<foreignObject", drawn)


def test_names_are_text_and_never_markup() -> None:
    spiteful = replace(CHART, title="<b> & 'more'", groups=("<1>", '"&"'), notes=("</svg>",))
    picture = ET.fromstring(draw(spiteful))
    assert {"<b> & 'more'", "<1>", '"&"', "</svg>"} <= set(words(picture))


def colours(drawn: str, *, dark: bool) -> dict[str, str]:
    """The colour of each class in one scheme: `ground`, `bar0`, `soft`, and `text`."""
    light, _, rest = drawn.partition("@media (prefers-color-scheme: dark)")
    rule = re.compile(r"^ *\.?(\w+) \{.*?\bfill: (#[0-9a-f]{6})", re.MULTILINE)
    return dict(rule.findall(rest if dark else light))


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_all_is_legible_on_light_and_on_dark_pages(*, dark: bool) -> None:
    """4.5 to 1 for text and 3 to 1 for bars, as WCAG 2.2 asks for."""
    found = colours(draw(CHART), dark=dark)
    assert set(found) == {"text", "soft", "ground", "bar0", "bar1", "bar2"}
    ground = found.pop("ground")
    for name, colour in found.items():
        assert contrast(colour, ground) >= (3.0 if name.startswith("bar") else 4.5), name


def test_values_are_legible_over_the_marks() -> None:
    """What keeps them apart from the lines behind them has the colour of the ground."""
    drawn = draw(CHART)
    light, _, dark = drawn.partition("@media")
    for part in (light, dark):
        ground = re.search(r"\.ground \{ fill: (#\w+)", part)
        value = re.search(r"\.value \{.*?stroke: (#\w+)", part)
        assert ground
        assert value
        assert ground[1] == value[1]


def test_every_class_has_a_style() -> None:
    drawn = draw(CHART)
    used = {name for found in re.findall(r'class="([^"]+)"', drawn) for name in found.split()}
    assert used <= set(re.findall(r"\.([a-z]\w*) \{", drawn))


@pytest.mark.parametrize(
    "broken",
    [
        replace(CHART, groups=()),
        replace(CHART, panels=()),
        replace(CHART, groups=("1", "10", "200")),
        replace(CHART, panels=(CHART.panels[0], replace(CHART.panels[1], series=CHART.panels[1].series[:2]))),
        replace(CHART, panels=(replace(CHART.panels[0], series=()),)),
        replace(CHART, panels=(replace(CHART.panels[0], series=CHART.panels[0].series * 2),)),
    ],
    ids=["no groups", "no panels", "values are missing", "other series", "no series", "too many series"],
)
def test_a_chart_with_holes_is_refused(broken: Chart) -> None:
    with pytest.raises(ValueError, match="series"):
        draw(broken)


def test_one_panel_and_zeros_are_drawn_as_well() -> None:
    nothing = Panel(title="Wall", axis="seconds", series=(Series(name="plan", values=(0.0,)),))
    picture = ET.fromstring(draw(replace(CHART, groups=("1",), panels=(nothing,))))
    assert bars(picture, 0) == [1.0]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0.000"),
        (0.0124, "0.012"),
        (0.1, "0.10"),
        (1.005, "1.00"),
        (9.87, "9.87"),
        (12.34, "12.3"),
        (234.5, "234"),
    ],
)
def test_numbers_have_the_digits_that_count(value: float, written: str) -> None:
    assert number(value) == written


@pytest.mark.parametrize(
    ("value", "whole", "written"),
    [
        (1, 4, "25 %"),
        (1, 1, "100 %"),
        (1, 100, "1.0 %"),
        (99.4, 1000, "9.9 %"),
        (99.6, 1000, "10 %"),
        (1, 0, ""),
    ],
)
def test_shares_are_percents(value: float, whole: float, written: str) -> None:
    assert share(value, whole) == written


@given(st.floats(min_value=1e-4, max_value=1e6))
def test_marks_are_few_even_and_reach_the_highest(highest: float) -> None:
    marks = ticks(highest)
    assert marks[0] == 0
    assert marks[-2] < highest <= marks[-1] * (1 + 1e-6)
    assert 3 <= len(marks) <= 5
    steps = [after - before for before, after in pairwise(marks)]
    assert steps == pytest.approx([steps[0]] * len(steps))
    assert f"{marks[1]:e}"[0] in "125"


def test_an_axis_of_nothing_has_marks_too() -> None:
    assert ticks(0) == (0.0, 1.0)
