"""Where three views of a resource differ, and by which path that is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwatch.drift.paths import differences, pointer
from driftwatch.drift.values import alike, canonical, same

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=4)),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "~/"]), inner, max_size=3)
    ),
    max_leaves=10,
)
SETTINGS = settings(deadline=None, derandomize=True)


def _paths(state: Any, actual: Any, wanted: Any, mask: Any = False) -> list[str]:
    return [found.pointer for found in differences(state, actual, wanted, mask)]


@pytest.mark.parametrize(
    ("state", "actual", "paths"),
    [
        ({"size": 1}, {"size": 2}, ["/size"]),
        ({"size": 1}, {"size": 1.0}, []),
        ({"on": True}, {"on": 1}, ["/on"]),
        ({"tags": {"a": "1", "b": "2"}}, {"tags": {"a": "1", "b": "3"}}, ["/tags/b"]),
        ({"tags": None}, {"tags": {"a": "1"}}, ["/tags/a"]),
        ({"tags": None}, {"tags": {}}, ["/tags"]),
        ({"tags": None}, {"tags": {"a": None}}, ["/tags"]),
        ({"deep": {"er": {"still": 1}}}, {"deep": {"er": {"still": 2}}}, ["/deep/er/still"]),
        ({"cidrs": ["a"]}, {"cidrs": ["a", "b"]}, ["/cidrs"]),
        ({"ingress": [{"port": 1}]}, {"ingress": [{"port": 2}]}, ["/ingress"]),
        ({"it": {"a": 1}}, {"it": [1]}, ["/it"]),
        ({"it": {"a": 1}}, {"it": "text"}, ["/it"]),
        ({"a/b": 1, "c~d": 1}, {"a/b": 2, "c~d": 2}, ["/a~1b", "/c~0d"]),
        ({"": 1}, {"": 2}, ["/"]),
        ("old", "new", [""]),
    ],
)
def test_the_granularity_of_paths(state: Any, actual: Any, paths: list[str]) -> None:
    """Maps and objects are entered, lists and sets are not; steps are escaped as RFC 6901 says."""
    assert _paths(state, actual, actual) == paths


def test_a_container_that_is_sensitive_as_a_whole_is_not_entered() -> None:
    """Even which of its keys changed may be a secret."""
    state, actual = {"tags": {"key": "a"}}, {"tags": {"key": "b"}}

    assert _paths(state, actual, actual, {"tags": True}) == ["/tags"]
    assert _paths(state, actual, actual, {"tags": {"key": True}}) == ["/tags/key"]


def test_drifted_and_changing_are_told_apart() -> None:
    by_hand, pending, both = differences(
        {"a": 1, "b": 1, "c": 1}, {"a": 2, "b": 1, "c": 2}, {"a": 2, "b": 3, "c": 3}
    )

    assert (by_hand.drifted, by_hand.changes) == (True, False)
    assert (pending.drifted, pending.changes) == (False, True)
    assert (both.drifted, both.changes) == (True, True)


@SETTINGS
@given(state=VALUES, actual=VALUES, wanted=VALUES)
def test_there_is_a_difference_exactly_where_the_views_are_not_the_same(
    state: Any, actual: Any, wanted: Any
) -> None:
    found = differences(state, actual, wanted)

    assert bool(found) == (not (same(state, actual) and same(actual, wanted)))
    assert len({each.path for each in found}) == len(found)


@SETTINGS
@given(path=st.lists(st.text(max_size=3), max_size=4))
def test_a_pointer_can_be_read_back(path: list[str]) -> None:
    steps = pointer(tuple(path)).split("/")[1:]

    assert [step.replace("~1", "/").replace("~0", "~") for step in steps] == path


@pytest.mark.parametrize("left", [None, {}, [], ""])
@pytest.mark.parametrize("right", [None, {}, [], ""])
def test_the_empty_values_are_alike(left: Any, right: Any) -> None:
    assert alike(left, right)
    assert alike({"a": left, "b": 1}, {"a": right, "b": 1})
    assert alike([{"a": left}], [{"a": right}])


@pytest.mark.parametrize("left", [None, {}, [], {"b": None}])
def test_an_absent_key_is_like_an_empty_value(left: Any) -> None:
    assert alike({"a": left}, {})


def test_a_tag_without_a_value_is_a_tag() -> None:
    """An object has all its keys in every view: where one is missing, it is a map, and its texts count."""
    assert not alike({"a": ""}, {})
    assert not alike([{"tags": {"a": ""}}], [{"tags": {}}])
    assert not alike({"a": ""}, None)


@pytest.mark.parametrize("empty", [None, {}, [], ""])
@pytest.mark.parametrize("full", [False, 0, "0", " ", [None], {"a": False}])
def test_false_and_zero_are_not_empty(empty: Any, full: Any) -> None:
    assert not alike(empty, full)


@SETTINGS
@given(left=VALUES, right=VALUES)
def test_what_is_the_same_is_alike_and_has_one_canonical_text(left: Any, right: Any) -> None:
    assert same(left, left)
    if same(left, right):
        assert alike(left, right)
        assert canonical(left) == canonical(right)
