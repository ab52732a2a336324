"""Heartbeats, steps of the clock, and outages that are told once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from service_doubles import Clock

from driftwatch import log
from driftwatch.errors import StoreUnavailableError
from driftwatch.service.pulse import ClockWatch, Heartbeat, Outage, elapsed

if TYPE_CHECKING:
    from service_doubles import Lines


class Seconds:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_loop_that_does_not_go_round_is_seen() -> None:
    seconds = Seconds()
    heartbeat = Heartbeat(timedelta(seconds=30), monotonic=seconds)
    seconds.now += 30
    assert heartbeat.is_alive
    seconds.now += 1
    assert not heartbeat.is_alive
    assert heartbeat.age == timedelta(seconds=31)
    heartbeat.beat()
    assert heartbeat.is_alive


@pytest.mark.row(51)
@pytest.mark.parametrize("jump", [3600, -3600, 365 * 86400, -365 * 86400])
def test_a_step_of_the_clock_is_seen_once(jump: float) -> None:
    """Row 51: an hour or a year, forwards or back."""
    clock, seconds = Clock(), Seconds()
    watch = ClockWatch(clock, passed=seconds)
    clock.turn(seconds=1 + jump)
    seconds.now += 1
    assert watch.step() == timedelta(seconds=jump)
    clock.turn(seconds=1)
    seconds.now += 1
    assert watch.step() is None


@pytest.mark.row(51)
def test_slewing_and_sleeping_are_no_steps() -> None:
    """Row 51: NTP's small corrections are not, and neither is a machine that slept and knows how long."""
    clock, seconds = Clock(), Seconds()
    watch = ClockWatch(clock, passed=seconds)
    for _ in range(3):
        clock.turn(seconds=1.5)
        seconds.now += 1
        assert watch.step() is None
    clock.turn(hours=3)
    seconds.now += 3 * 3600
    assert watch.step() is None


def test_elapsed_time_only_grows() -> None:
    assert elapsed() <= elapsed()


def test_an_outage_is_told_when_it_begins_and_when_it_is_over(lines: Lines) -> None:
    outage = Outage(log.get("test"), "Reading")
    for _ in range(5):
        outage.failed(StoreUnavailableError("the database is away"))
    assert outage.error is not None
    for _ in range(5):
        outage.over()
    assert outage.error is None
    assert [(line["log_level"], line["action"]) for line in lines] == [
        ("error", "outage"),
        ("info", "recovered"),
    ]
    assert lines[0]["error"] == "store_unavailable"
    assert lines[0]["exc_info"] is None


def test_a_fault_of_our_own_comes_with_its_trace(lines: Lines) -> None:
    Outage(log.get("test"), "Reading").failed(KeyError("x"))
    assert lines[0]["exc_info"]
    assert lines[0]["error"] == "KeyError"
