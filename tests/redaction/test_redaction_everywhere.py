"""Row 68: no sensitive leaf of a plan survives, at any depth, in anything that driftwatch says or keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings

from tests.redaction.canaries import leaks
from tests.redaction.documents import BEACON, BEACON_ADDRESS, CHECK, SKETCHES, Planting, Sketch
from tests.redaction.outputs import baseline_of, reading_of, result_of, said_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.redaction.outputs import House

PURE = settings(max_examples=100, deadline=None, derandomize=True, database=None)
STORED = settings(max_examples=20, deadline=None, derandomize=True, database=None)


@pytest.mark.row(68)
@PURE
@given(sketch=SKETCHES)
def test_no_secret_of_a_plan_is_in_anything_that_is_printed_or_sent(sketch: Sketch) -> None:
    """Row 68: the forms of a check, findings, explanations, and the messages of every channel."""
    text = Planting(sketch).text()
    first = reading_of(text)
    compared = reading_of(text, baseline_of(first.inputs))

    for reading in (first, compared):
        outputs = said_of(result_of(reading)) | {"repr of the reading": repr(reading)}

        assert leaks(outputs) == {}
        assert BEACON in outputs["check --format json"]
        assert BEACON in outputs["explanation"]
        assert CHECK in outputs["check"]


@pytest.mark.row(68)
@STORED
@given(sketch=SKETCHES)
def test_no_secret_of_a_plan_is_in_anything_that_is_kept_logged_or_measured(
    sketch: Sketch, a_house: Callable[[], AbstractContextManager[House]]
) -> None:
    """Row 68: the database's file and rows, the spool, the log, metrics, commands, messages and answers."""
    text = Planting(sketch).text()

    with a_house() as house:
        outputs = house.outputs(text, more=[text.replace('"errored": false', '"errored": true')])

    assert leaks(outputs) == {}
    assert BEACON in outputs["rows"]
    assert BEACON in outputs["commands, json"]
    assert BEACON_ADDRESS in outputs["answers in Slack"]
    assert "Checked: " in outputs["log"]
    assert 'driftwatch_check_errors_total{code="plan_unreadable"}' in outputs["metrics"]
    assert any(BEACON in said for name, said in outputs.items() if name.startswith("file spool"))
    assert any(BEACON in said for name, said in outputs.items() if name.endswith("webhook"))
