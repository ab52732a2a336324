"""Row 68: a document that is broken in the middle is refused in words of our own that quote none of it."""

from __future__ import annotations

import json
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwatch.errors import PlanUnreadableError
from tests.drift import samples
from tests.redaction.canaries import DIGITS, STEM, leaks
from tests.redaction.documents import SKETCHES, Planting, Sketch
from tests.redaction.outputs import reading_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.redaction.outputs import House

MUTATED = settings(max_examples=150, deadline=None, derandomize=True, database=None)
SECRET = f"{STEM}-hunter2"

JUNK = st.sampled_from(
    [None, True, 0, -1, 1.5, int(DIGITS), "", SECRET, [], [SECRET], [[None]], {}, {SECRET: SECRET}, {"a": {}}]
)
WORD = samples.change({"p": SECRET}, {"p": 1}, before_sensitive={"p": True})
TEXT = json.dumps(samples.plan(WORD))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where anything stands in a document."""
    yield path
    for key, member in _members(value):
        yield from places(member, (*path, key))


def broken(document: Any, path: tuple[Any, ...], junk: Any) -> Any:
    """A copy with something else at one place."""
    if not path:
        return junk
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = broken(copy[path[0]], path[1:], junk)
    return copy


def refusal_of(text: str | bytes) -> dict[str, str]:
    """All that an error says where it is printed, logged, raised or kept; nothing where there is none.

    Anything but PlanUnreadableError is a fault of ours, and lets the test fail.
    """
    try:
        reading_of(text)  # type: ignore[arg-type]
    except PlanUnreadableError as problem:
        return {
            "str": str(problem),
            "repr": repr(problem),
            "report": repr(problem.report()),
            "traceback": "".join(traceback.format_exception(problem)),
        }
    return {}


@pytest.mark.row(68)
@MUTATED
@given(sketch=SKETCHES, data=st.data())
def test_a_document_with_something_else_at_one_place_is_refused_without_a_word_of_it(
    sketch: Sketch, data: st.DataObject
) -> None:
    """Row 68: whatever stands wherever, it is read or refused, and no other error quotes it."""
    document = Planting(sketch).document()
    path = data.draw(st.sampled_from(list(places(document))))

    assert leaks(refusal_of(json.dumps(broken(document, path, data.draw(JUNK))))) == {}


@pytest.mark.row(68)
@MUTATED
@given(sketch=SKETCHES, data=st.data())
def test_a_document_that_ends_early_or_has_bytes_too_many_is_refused_without_a_word_of_it(
    sketch: Sketch, data: st.DataObject
) -> None:
    """Row 68: what a killed engine leaves, and what a broken disk does to it."""
    content = Planting(sketch).text().encode()
    place = data.draw(st.integers(1, len(content) - 1))
    torn = content[:place] + data.draw(st.sampled_from([b"", b"\xff", b"\0", b'"', b"}"]))

    refused = refusal_of(torn)

    assert refused
    assert leaks(refused) == {}


@pytest.mark.row(68)
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(TEXT[: TEXT.index(SECRET) + 9], id="cut within the secret"),
        pytest.param(TEXT.replace(f'"{SECRET}"', f'"{SECRET}", "p": "{SECRET}"', 1), id="a key twice"),
        pytest.param(TEXT.replace(f'"{SECRET}"', f'["{SECRET}", NaN]', 1), id="no number"),
        pytest.param(TEXT.replace(f'"{SECRET}"', f'"{SECRET}" {SECRET}', 1), id="a word too many"),
        pytest.param(TEXT.replace(f'"{SECRET}"', "[" * 300 + f'"{SECRET}"' + "]" * 300, 1), id="too deep"),
        pytest.param(TEXT.replace(f'"{SECRET}"', f'"{SECRET}\xff"', 1).encode("latin-1"), id="no UTF-8"),
        pytest.param(TEXT.replace('"update"', f'"{SECRET}"'), id="an action"),
        pytest.param(TEXT.replace('"managed"', f'"{SECRET}"'), id="a mode"),
        pytest.param(TEXT.replace('"1.2"', f'"1.2{SECRET}"'), id="the format"),
        pytest.param(TEXT.replace('"errored": false', f'"errored": "{SECRET}"'), id="the outcome"),
        pytest.param(f'"{SECRET}"', id="only a text"),
        pytest.param(f'["{SECRET}"]', id="only a list"),
    ],
)
def test_a_broken_document_is_refused_without_a_word_of_it(text: str | bytes) -> None:
    """Row 68: by name, what was thought of."""
    refused = refusal_of(text)

    assert "PlanUnreadableError" in refused["traceback"]
    assert leaks(refused) == {}


@pytest.mark.row(68)
def test_nothing_of_a_broken_document_is_kept_logged_or_sent(
    a_house: Callable[[], AbstractContextManager[House]],
) -> None:
    """Row 68: the check fails, people are told, and its error is in the database, all without a secret."""
    cut = TEXT[: TEXT.index(SECRET) + 9]
    twice = TEXT.replace(f'"{SECRET}"', f'"{SECRET}", "p": "{SECRET}"', 1)

    with a_house() as house:
        outputs = house.outputs(cut, more=[twice, TEXT, TEXT.replace('"update"', f'"{SECRET}"')])

    assert leaks(outputs) == {}
    assert "plan_unreadable" in outputs["rows"]
    assert "The plan document is not JSON" in outputs["log"]
    assert any("plan_unreadable" in said for name, said in outputs.items() if name.endswith("mail"))


def _members(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)
