"""What a button carries comes back as it was, and nothing else is taken for it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftwatch.notify.buttons import LONGEST_VALUE, Aim, Button, read_value, value_of

FINGERPRINT = "0123456789abcdef0123456789abcdef"

digests = st.text("0123456789abcdef", min_size=8, max_size=64)
numbers = st.integers(0, 10**15 - 1)
spans = st.none() | st.integers(0, 99_999)


@given(st.sampled_from(Button), numbers, digests, spans)
def test_what_is_said_of_all_in_an_incident_comes_back(
    button: Button, incident: int, seen: str, hours: int | None
) -> None:
    aim = Aim(button=button, incident=incident, seen=seen, hours=hours)

    assert read_value(value_of(aim)) == aim
    assert len(value_of(aim)) <= LONGEST_VALUE


@given(st.sampled_from(Button), numbers, digests, spans)
def test_what_is_said_of_one_finding_comes_back(
    button: Button, incident: int, fingerprint: str, hours: int | None
) -> None:
    """What was seen of a finding is its fingerprint."""
    aim = Aim(button=button, incident=incident, seen=fingerprint, fingerprint=fingerprint, hours=hours)

    assert read_value(value_of(aim)) == aim
    assert len(value_of(aim)) <= LONGEST_VALUE


def test_a_value_is_written_as_it_is_documented_to_be_read() -> None:
    """Messages that stand in a channel keep their buttons over an upgrade, so this form stays."""
    one = Aim(button=Button.SNOOZE, incident=7, seen=FINGERPRINT, fingerprint=FINGERPRINT, hours=24)
    every = Aim(button=Button.ACKNOWLEDGE, incident=7, seen=FINGERPRINT)

    assert value_of(one) == f"snooze:7:one.{FINGERPRINT}:24"
    assert value_of(every) == f"acknowledge:7:all.{FINGERPRINT}"


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        b"acknowledge:7:all.01234567",
        ["acknowledge:7:all.01234567"],
        "",
        "acknowledge",
        "destroy:7:all.01234567",
        "ACKNOWLEDGE:7:all.01234567",
        "acknowledge:-7:all.01234567",
        "acknowledge:\u0667:all.01234567",
        "acknowledge:7:some.01234567",
        "acknowledge:7:all.0123456",
        "acknowledge:7:all.fp-jobs1",
        "acknowledge:7:all.0123456G",
        "acknowledge:7:all.01234567\n",
        " acknowledge:7:all.01234567",
        "acknowledge:7:all.01234567:",
        "acknowledge:7:all.01234567:1.5",
        "acknowledge:7:all.01234567:123456",
        "acknowledge:7:all.01234567:24:24",
        "acknowledge:1234567890123456:all.01234567",
        "acknowledge:7:all." + "0" * 65,
        "acknowledge:7:all.01234567" + " " * 10**6,
    ],
)
def test_what_is_none_of_ours_is_not_read(value: Any) -> None:
    assert read_value(value) is None


nearly_ours = st.from_regex(
    r"[a-z]{4,12}:[0-9]{1,15}:(all|one)\.[0-9a-f]{8,64}(:[0-9]{1,5})?", fullmatch=True
)


@given(st.text(max_size=200) | nearly_ours)
def test_no_text_makes_it_fall_over(text: str) -> None:
    """Whatever is read says itself again, so that nothing else can pass for it."""
    aim = read_value(text)

    assert aim is None or read_value(value_of(aim)) == aim
