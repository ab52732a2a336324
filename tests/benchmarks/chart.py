"""Draws bars in groups as an SVG: for a README, without fonts, scripts or pictures from elsewhere.

Pure: figures in, text out. It looks right on light and on dark pages, since it brings its own ground and
follows the reader's colour scheme, and it says in words (`<desc>`) what the bars show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from itertools import accumulate

WIDTH = 720
_MARGIN = 24
_LABELS = 70
"""For the names of the groups, left of the first panel."""
_GUTTER = 36
_NUMBERS = 88
"""For what is written behind the longest bar."""
_BAR = 14
_STEP = 18
_BETWEEN_GROUPS = 16
_HEAD = 134
"""Down to where the bars begin: title, subtitle, legend, titles of the panels."""
_LINE = 17

_STYLE = """
  text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; \
font-size: 12px; fill: #1f2328 }
  .title { font-size: 18px; font-weight: 600 }
  .head { font-size: 13px; font-weight: 600 }
  .soft { fill: #59636e }
  .note { font-size: 11.5px }
  .right { text-anchor: end }
  .middle { text-anchor: middle }
  .value { paint-order: stroke; stroke: #ffffff; stroke-width: 4px; stroke-linejoin: round }
  .ground { fill: #ffffff; stroke: #d1d9e0 }
  .grid { stroke: #e4e8ec }
  .axis { stroke: #818b98 }
  .bar0 { fill: #6e7781 }
  .bar1 { fill: #c4560a }
  .bar2 { fill: #0969da }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .soft { fill: #9da7b3 }
    .value { stroke: #0d1117 }
    .ground { fill: #0d1117; stroke: #3d444d }
    .grid { stroke: #262c34 }
    .axis { stroke: #6b7480 }
    .bar0 { fill: #8b949e }
    .bar1 { fill: #f0883e }
    .bar2 { fill: #58a6ff }
  }
"""
"""Grey, orange and blue: told apart with every kind of colour vision, and 3 to 1 at least on their ground."""

_COLOURS = 3
_NEARLY = 1 - 1e-9
"""Against a division that comes out a hair above a whole number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One bar in each group. Values are not negative."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One axis and its bars. The first series is what the others are shares of."""

    title: str
    axis: str
    series: tuple[Series, ...]

    @property
    def highest(self) -> float:
        return max(value for each in self.series for value in each.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Panels side by side, with the same groups and the same series in each."""

    title: str
    subtitle: str
    group_title: str
    groups: tuple[str, ...]
    panels: tuple[Panel, ...]
    notes: tuple[str, ...] = ()


def number(value: float) -> str:
    """As one reads it behind a bar: three digits that count, at most three behind the point."""
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def share(value: float, whole: float) -> str:
    """`value` in percent of `whole`; with a digit behind the point where it is small, empty of nothing."""
    if whole <= 0:
        return ""
    percent = 100 * value / whole
    return f"{percent:.0f} %" if percent >= 9.95 else f"{percent:.1f} %"


def ticks(highest: float) -> tuple[float, ...]:
    """Three to five round values from 0, the last of which is `highest` or more."""
    if highest <= 0:
        return (0.0, 1.0)
    rough = highest / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * _NEARLY)
    last = math.ceil(highest / step * _NEARLY)
    return tuple(float(f"{index * step:.12g}") for index in range(last + 1))


def draw(chart: Chart) -> str:
    """The picture as one SVG document. Raises ValueError where bars are missing, or too many."""
    _expect_complete(chart)
    bottom = _HEAD + _group_tops(chart)[-1] - _BETWEEN_GROUPS
    height = bottom + 64 + _LINE * len(chart.notes)
    width = (WIDTH - 2 * _MARGIN - _LABELS - _GUTTER * (len(chart.panels) - 1)) // len(chart.panels)
    parts = [*_header(chart), *_legend(chart.panels[0]), *_group_names(chart)]
    for index, panel in enumerate(chart.panels):
        left = _MARGIN + _LABELS + index * (width + _GUTTER)
        parts += _panel(chart, panel, left=left, width=width, bottom=bottom)
    for index, note in enumerate(chart.notes):
        parts.append(_text(_MARGIN, bottom + 62 + _LINE * index, note, "soft note"))
    return _document(chart, height, parts)


def _expect_complete(chart: Chart) -> None:
    names = [tuple(each.name for each in panel.series) for panel in chart.panels]
    if not chart.groups or not names or len(set(names)) != 1 or not 0 < len(names[0]) <= _COLOURS:
        raise ValueError(f"a chart has groups and panels, each of the same one to {_COLOURS} series")
    if any(len(each.values) != len(chart.groups) for panel in chart.panels for each in panel.series):
        raise ValueError("each series has one value for each group")


def _group_tops(chart: Chart) -> list[int]:
    """Where each group begins, from the top of the bars, and where one more would."""
    height = _STEP * len(chart.panels[0].series) + _BETWEEN_GROUPS
    return list(accumulate([height] * len(chart.groups), initial=0))


def _document(chart: Chart, height: int, parts: list[str]) -> str:
    lines = "\n".join(f"  {part}" for part in parts)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" \
viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title desc">
  <title id="title">{escape(chart.title)}</title>
  <desc id="desc">{escape(_in_words(chart))}</desc>
  <style>{_STYLE}  </style>
  <rect class="ground" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>
{lines}
</svg>
"""


def _in_words(chart: Chart) -> str:
    return " ".join(
        f"{panel.title}, {chart.group_title} {group}: "
        + ", ".join(f"{each.name} {number(each.values[index])}" for each in panel.series)
        + "."
        for panel in chart.panels
        for index, group in enumerate(chart.groups)
    )


def _text(x: float, y: float, words: str, classes: str = "") -> str:
    kind = f' class="{classes}"' if classes else ""
    return f'<text x="{x:g}" y="{y:g}"{kind}>{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, classes: str) -> str:
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" class="{classes}"/>'


def _rect(x: float, y: float, width: float, height: float, colour: int) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:.2f}" height="{height:g}" rx="1.5" class="bar{colour}"/>'


def _header(chart: Chart) -> list[str]:
    return [
        _text(_MARGIN, 36, chart.title, "title"),
        _text(_MARGIN, 57, chart.subtitle, "soft"),
    ]


def _legend(panel: Panel) -> list[str]:
    """Beside each other; a letter is taken for 7 px wide."""
    widths = [36 + 7 * len(each.name) for each in panel.series]
    places = accumulate(widths, initial=_MARGIN)
    return [
        part
        for colour, (each, x) in enumerate(zip(panel.series, places, strict=False))
        for part in (_rect(x, 74, 12, 12, colour), _text(x + 18, 84.5, each.name))
    ]


def _group_names(chart: Chart) -> list[str]:
    right = _MARGIN + _LABELS - 10
    middle = (_STEP * len(chart.panels[0].series) - (_STEP - _BAR)) / 2
    return [
        _text(right, _HEAD - 16, chart.group_title, "soft right"),
        *(
            _text(right, _HEAD + top + middle + 4.5, name, "head right")
            for name, top in zip(chart.groups, _group_tops(chart), strict=False)
        ),
    ]


def _panel(chart: Chart, panel: Panel, *, left: int, width: int, bottom: int) -> list[str]:
    marks = ticks(panel.highest)
    per_unit = (width - _NUMBERS) / panel.highest if panel.highest > 0 else 0.0
    marks = tuple(mark for mark in marks if mark * per_unit <= width)
    parts = [_text(left, _HEAD - 16, panel.title, "head")]
    for mark in marks:
        x = left + mark * per_unit
        parts += [
            _line(x, _HEAD - 6, x, bottom + 4, "grid" if mark else "axis"),
            _text(x, bottom + 18, f"{mark:g}", "soft note middle"),
        ]
    parts.append(_text(left, bottom + 36, panel.axis, "soft note"))
    for index, top in enumerate(_group_tops(chart)[:-1]):
        parts += _group(panel, index, left=left, top=_HEAD + top, per_unit=per_unit)
    return parts


def _group(panel: Panel, index: int, *, left: int, top: int, per_unit: float) -> list[str]:
    parts = []
    whole = panel.series[0].values[index]
    for colour, each in enumerate(panel.series):
        value = each.values[index]
        y = top + colour * _STEP
        length = max(value * per_unit, 1.0)  # what is measured is never invisible
        percent = share(value, whole) if colour else ""
        parts += [_rect(left, y, length, _BAR, colour), _label(left + length + 6, y + 11.5, value, percent)]
    return parts


def _label(x: float, y: float, value: float, percent: str) -> str:
    """The value, and softly its share of the first bar."""
    more = f' <tspan class="soft">{percent}</tspan>' if percent else ""
    return f'<text x="{x:.2f}" y="{y:g}" class="value">{number(value)}{more}</text>'
