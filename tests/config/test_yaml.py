"""The reader of YAML: what it takes a text for, and that nothing in a file can hurt it."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwatch.config.document import Document, Limits, read_document
from driftwatch.config.loading import LIMITS
from driftwatch.config.repository_file import read_repository_file
from driftwatch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NEVER_RUN = "driftwatch-was-here"


def read(text: str | bytes, limits: Limits = LIMITS) -> Document:
    return read_document(text.encode() if isinstance(text, str) else text, limits)


def complaint(text: str | bytes) -> str:
    """The only problem of a text, with its line."""
    document = read(text)
    assert document.value is None
    (problem,) = document.problems
    return f"{problem.line}: {problem.sentence}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: off", "off"),
        ("a: no", "no"),
        ("a: true", True),
        ("a: False", False),
        ("a: null", None),
        ("a: ~", None),
        ("a:", None),
        ("a: 12", 12),
        ("a: -3", -3),
        ("a: 0o17", 15),
        ("a: 0x1F", 31),
        ("a: 012345670123", "012345670123"),
        ("a: 1.5", 1.5),
        ("a: .5", 0.5),
        ("a: 1e3", 1000.0),
        ("a: e3", "e3"),
        ("a: 1e999", "1e999"),
        ("a: .inf", ".inf"),
        ("a: .nan", ".nan"),
        ("a: 1:30", "1:30"),
        ("a: 1_000", "1_000"),
        ("a: 2026-12-20", "2026-12-20"),
        ("a: " + "9" * 5000, "9" * 5000),
        ('a: "12"', "12"),
        ("a: !!str 12", "12"),
        ("a: |\n  x\n  y\n", "x\ny\n"),
        ("a: x\ty", "x\ty"),
        ("\ufeffa: bom", "bom"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    """`off` is a word, an account id keeps its zero, and a date is text: nothing is guessed."""
    assert read(text).value == {"a": value}


def test_lines_are_those_of_the_keys() -> None:
    document = read("a:\n  b: 1\n  c:\n    - x\n    - d: 2\n")
    assert document.lines["a",] == 1
    assert document.lines["a", "b"] == 2
    assert document.lines["a", "c", 0] == 4
    assert document.lines["a", "c", 1, "d"] == 5
    assert document.line(("a", "c", 1, "missing", "deeper")) == 5


def test_duplicate_keys_are_all_told_with_both_lines() -> None:
    document = read("a: 1\nb: {x: 1, x: 2}\na: 3\n")
    assert [(problem.line, problem.key, problem.sentence) for problem in document.problems] == [
        (2, ("b", "x"), "is a second time here; the first is in line 2"),
        (3, ("a",), "is a second time here; the first is in line 1"),
    ]


def test_aliases_and_merge_keys_work_as_people_use_them() -> None:
    text = "base: &base {x: 1, y: 1}\none:\n  <<: *base\n  y: 2\ntwo:\n  <<: [*base, {x: 9, z: 9}]\n"
    text += "list: &l [1]\nsame: *l\n"
    assert read(text).value == {
        "base": {"x": 1, "y": 1},
        "one": {"x": 1, "y": 2},
        "two": {"x": 1, "y": 1, "z": 9},
        "list": [1],
        "same": [1],
    }
    assert read(text).problems == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: b: c", "1: is not YAML: mapping values are not allowed"),
        ("a: [1,\nb", "is not YAML"),
        ("a: 1\n\tb: 2", "2: is indented with a tab"),
        ("a:\n  b: 1\n\tc: 2", "3: is indented with a tab"),
        ("a: 1\n---\nb: 2", "2: holds a second document"),
        ("%YAML 1.1\n---\na: 1", "1: holds a YAML directive"),
        ("a: \x07", "1: holds a control character"),
        (b"a: 1\nb: \xff\xfe", "2: is not UTF-8"),
        ("a: *x", "1: the alias *x names an anchor that is unknown"),
        ("a: &x [*x]", "1: the alias *x names an anchor that is the value that it stands in"),
        ("a: !custom 1", "1: has the tag !custom; tags are refused"),
        ("a: !!map {}", "tags are refused"),
        ("a: !!binary aGk=", "tags are refused"),
    ],
)
def test_what_is_not_read_has_a_line_and_a_reason(text: str | bytes, says: str) -> None:
    assert says in complaint(text)


@pytest.mark.parametrize("text", ["1: x", "true: x", "~: x", "[a]: x", "{a: b}: x", '"": x', "? {a: 1}\n: x"])
def test_keys_are_text(text: str) -> None:
    (problem,) = read(f"a:\n  {text}" if "?" not in text else text).problems
    assert "a key that is not text" in problem.sentence


def test_a_merge_of_something_else_is_told() -> None:
    (problem,) = read("a:\n  <<: 5\n").problems
    assert "`<<` takes a mapping" in problem.sentence


BOMBS = {
    "laughs": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(12)),
    "merges": "a: &m0 {k: v}\n"
    + "".join(
        f"m{number + 1}: &m{number + 1} {{x: {{<<: [{','.join([f'*m{number}'] * 9)}]}}, y: *m{number}}}\n"
        for number in range(14)
    ),
    "long text": f"a: &a {'x' * 500_000}\nb: [{','.join(['*a'] * 50_000)}]\n",
    "deep flow": "a: " + "[" * 500_000,
    "deep mappings": "a: " + "{a: " * 100_000,
    "deep block": "\n".join(" " * depth + "a:" for depth in range(1000)),
    "deep aliases": "a: &a0 [1]\n" + "".join(f"b{i}: &a{i + 1} [*a{i}]\n" for i in range(200)),
    "many values": "a: [" + "1," * 500_000 + "1]",
    "many keys": "{" + ",".join(f"k{number}" for number in range(120_000)) + "}",
}


@pytest.mark.row(61)
@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused_at_once(bomb: str) -> None:
    """Row 61: a YAML bomb of any kind is refused fast."""
    started = time.perf_counter()
    document = read(BOMBS[bomb])
    assert time.perf_counter() - started < 3
    assert document.value is None
    assert "which is refused" in document.problems[0].sentence


@pytest.mark.row(61)
@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system",
        "!!python/object/new:os.system",
        "!!python/name:os.system",
        "!!python/module:os",
        "!!python/object:os.x",
        "!<tag:yaml.org,2002:python/object/apply:os.system>",
    ],
)
@pytest.mark.parametrize("shape", ["{tag} [touch {marker}]", "{tag} ''", "{tag} {{}}"])
def test_python_objects_are_refused(tag: str, shape: str, tmp_path: Path) -> None:
    """Row 61: `!!python/object` is refused by name, and runs nothing."""
    marker = tmp_path / NEVER_RUN
    assert "tags are refused" in complaint("a: " + shape.format(tag=tag, marker=marker))
    assert not marker.exists()


@pytest.mark.row(61)
def test_a_huge_file_is_refused_without_reading_it(refuses: Callable[..., list[str]]) -> None:
    """Row 61: 50 MB are refused fast."""
    started = time.perf_counter()
    (problem,) = refuses(b"a: [1, 2, 3]\n" * 4_000_000)
    assert "1: is larger than 1024 KiB" in problem
    assert time.perf_counter() - started < 3


MEASURE = """
import pathlib, resource, sys
from driftwatch.config.loading import examine
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
first, *rest = map(pathlib.Path, sys.argv[1:])
assert examine(first, {}).settings
before = peak()
assert not any(examine(file, {}).settings for file in rest)
print(peak() - before)
"""


@pytest.mark.row(61)
def test_memory_stays_flat(tmp_path: Path) -> None:
    """Row 61: none of it costs memory: all the bombs and 50 MB together take less than 64 MiB."""
    good = tmp_path / "good.yaml"
    good.write_text("repositories: {p: {url: /srv/p}}", encoding="utf-8")
    files = [good]
    for place, bomb in enumerate(BOMBS.values()):
        files.append(tmp_path / f"{place}.yaml")
        files[-1].write_text(bomb, encoding="utf-8")
    files.append(tmp_path / "huge.yaml")
    with files[-1].open("wb") as huge:
        huge.write(b"a: 1\n")
        huge.truncate(50_000_000)
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, files)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert int(run.stdout) < 64


GARBAGE = st.binary(max_size=200) | st.text(max_size=200).map(
    lambda text: text.encode("utf-8", "surrogatepass")
)
FRAGMENTS = st.sampled_from(
    [
        "a",
        "stacks",
        "path",
        ":",
        ": ",
        "- ",
        "\n",
        "  ",
        "\t",
        "[",
        "]",
        "{",
        "}",
        ",",
        "&a ",
        "*a",
        "!!str ",
        "!x ",
        "'",
        '"',
        "|",
        ">",
        "#",
        "---",
        "...",
        "%TAG",
        "<<",
        "? ",
        "null",
        "1",
        "0x1",
        "1e5",
        "${env:X}",
        "\x00",
        "\ufeff",
        "é",
        "\u2028",
    ]
)


@settings(max_examples=300, deadline=None)
@given(GARBAGE | st.lists(FRAGMENTS, max_size=30).map(lambda parts: "".join(parts).encode()))
def test_garbage_never_crashes(content: bytes) -> None:
    """Whatever is in a file, the answer is a ConfigError or a value."""
    document = read_document(content, LIMITS)
    assert document.value is None or not any(problem.line < 1 for problem in document.problems)
    with contextlib.suppress(ConfigError):
        read_repository_file(content, ["labels"])


# YAML 1.1, which PyYAML writes, takes 1e3 for text and leaves its quotes out; in 1.2 it is a number.
TEXTS = st.text().filter(lambda text: not re.fullmatch(r"[-+]?(\d+\.?|\.\d)\d*[eE][-+]?\d+|0o[0-7]+", text))

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS.filter(bool), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(JSON_VALUES)
def test_what_a_yaml_library_writes_is_read_as_the_same(value: Any) -> None:
    """The reader is not only safe but right: it agrees with PyYAML's own writer on every JSON value."""
    document = read(yaml.safe_dump({"value": value}, allow_unicode=False))
    assert document.problems == ()
    assert document.value == {"value": value}
