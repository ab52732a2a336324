"""Words of others made safe: quickly, whatever their size."""

from __future__ import annotations

import time

from driftwatch.log import redact
from driftwatch.notify.text import code, literal, redacted


def test_redacting_takes_time_by_the_length_and_not_by_its_square() -> None:
    """User data of a megabyte is a legitimate attribute; a pattern that backtracks would take hours on it."""
    started = time.process_time()

    for unit in ("x", "a.b-c+", "a://", "a:", "\x1b[3"):
        redact("://" + unit * (1_000_000 // len(unit)))

    assert time.process_time() - started < 10


def test_credentials_in_urls_of_any_scheme_are_redacted() -> None:
    text = "https://user:pa%s@host/x git+ssh://tok@h file:///x@y http://h:80/a@b"

    assert redact(text) == ("https://[redacted]@host/x git+ssh://[redacted]@h file:///x@y http://h:80/a@b")


def test_of_a_long_value_only_the_beginning_is_looked_at() -> None:
    assert code("y" * 1_000_000, 12) == "`yyyyyyyyy…`"


def test_values_are_written_as_json() -> None:
    assert literal({"b": [1, None], "a": "ü"}) == '{"a": "ü", "b": [1, null]}'


def test_a_value_can_always_be_written_as_utf8() -> None:
    assert redacted({"\ud800": ["\udfff", 1, None]}) == {"?": ["?", 1, None]}
