"""So much deleted at once that the detector is likelier to look in the wrong place."""

from __future__ import annotations

import pytest

from driftwatch.drift.breaker import mass_deletion


@pytest.mark.parametrize(
    ("deleted", "total", "trips"),
    [
        (0, 0, False),
        (0, 1, False),
        (1, 1, False),
        (2, 2, True),
        (3, 4, False),
        (4, 4, True),
        (1, 5, False),
        (2, 5, True),
        (2, 10, False),
        (3, 10, True),
        (10, 50, False),
        (10, 1000, False),
        (11, 1000, True),
    ],
)
def test_over_a_fifth_or_over_ten_trips_it(deleted: int, total: int, trips: bool) -> None:
    """In a state with fewer than five resources only all of them do, and more than one."""
    assert (mass_deletion(deleted, total) is not None) == trips


def test_the_sentence_names_the_likely_reasons() -> None:
    sentence = mass_deletion(11, 40)

    assert sentence is not None
    assert sentence.startswith("11 of 40 resources in the state (28%)")
    for reason in ("account", "region", "endpoint"):
        assert reason in sentence
