"""Hints until they are looked at: many of the same are one look, soon at first and seldom later."""

from __future__ import annotations

import threading
import time

import pytest
import structlog

from driftwatch.model import Hint
from driftwatch.pipeline.hints import LONGEST_GAP_SECONDS, MOST, SETTLE_SECONDS, HintBox

PUSH = Hint(repository="platform")
REQUEST = Hint(repository="platform", pull_request=7)


class Desk:
    """A box whose time the test moves, and what it had looked at."""

    def __init__(self) -> None:
        self.now = 0.0
        self.looks: list[tuple[float, str]] = []
        self.box = HintBox(
            poll=lambda name: self.looks.append((self.now, name)),
            look_at=lambda name, number: self.looks.append((self.now, f"{name}#{number}")),
            clock=lambda: self.now,
        )

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.box.look()


def test_a_hint_settles_before_it_is_looked_at() -> None:
    desk = Desk()
    desk.box.take(PUSH, "github")
    desk.pass_time(SETTLE_SECONDS - 0.1)
    assert desk.looks == []
    desk.pass_time(0.1)
    desk.pass_time(100)
    assert desk.looks == [(SETTLE_SECONDS, "platform")]


@pytest.mark.row(57)
def test_a_burst_is_one_look() -> None:
    """Row 57: a thousand deliveries of the same, from many threads."""
    desk = Desk()
    threads = [
        threading.Thread(target=lambda: [desk.box.take(PUSH, "github") for _ in range(100)])
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with structlog.testing.capture_logs() as logs:
        desk.pass_time(SETTLE_SECONDS)
    assert desk.looks == [(SETTLE_SECONDS, "platform")]
    assert (logs[0]["via"], logs[0]["hints"]) == ("github", 1000)


@pytest.mark.row(57)
def test_a_storm_is_looked_at_less_and_less_often_and_not_forgotten() -> None:
    """Row 57: ten a second for five minutes; the last one is looked at as well."""
    desk = Desk()
    for _ in range(3000):
        desk.box.take(PUSH, "github")
        desk.pass_time(0.1)
    assert len(desk.looks) <= 5 + 300 / LONGEST_GAP_SECONDS + 1
    last = desk.now
    desk.pass_time(LONGEST_GAP_SECONDS)
    assert desk.looks[-1][0] >= last


def test_two_pushes_apart_are_both_looked_at_soon() -> None:
    desk = Desk()
    for _ in range(2):
        desk.box.take(PUSH, "github")
        desk.pass_time(SETTLE_SECONDS)
        desk.pass_time(3)
    assert [round(at, 1) for at, _ in desk.looks] == [1.0, 5.0]


def test_quiet_makes_it_quick_again() -> None:
    desk = Desk()
    for _ in range(600):
        desk.box.take(PUSH, "github")
        desk.pass_time(0.1)
    desk.pass_time(LONGEST_GAP_SECONDS)
    desk.pass_time(2 * LONGEST_GAP_SECONDS)
    desk.looks.clear()
    desk.box.take(PUSH, "github")
    desk.pass_time(SETTLE_SECONDS)
    assert len(desk.looks) == 1


def test_branches_and_pull_requests_are_looked_at_each() -> None:
    desk = Desk()
    for hint in (REQUEST, Hint(repository="billing"), PUSH, REQUEST):
        desk.box.take(hint, "gitlab")
    desk.pass_time(SETTLE_SECONDS)
    assert [what for _, what in desk.looks] == ["billing", "platform", "platform#7"]


def test_a_look_that_fails_stops_no_other() -> None:
    looked: list[str] = []

    def poll(name: str) -> None:
        if name == "a":
            raise RuntimeError("no")
        looked.append(name)

    now = [0.0]
    box = HintBox(poll=poll, look_at=lambda *_: None, clock=lambda: now[0])
    for name in ("a", "b"):
        box.take(Hint(repository=name), "api")
    now[0] = 5.0
    with structlog.testing.capture_logs() as logs:
        box.look()
    assert looked == ["b"]
    assert [each["repository"] for each in logs if each["log_level"] == "error"] == ["a"]


def test_what_waits_is_bounded_and_no_branch_is_ever_left_out() -> None:
    desk = Desk()
    for number in range(1, MOST + 10):
        desk.box.take(Hint(repository="platform", pull_request=number), "github")
    desk.box.take(PUSH, "github")
    desk.pass_time(SETTLE_SECONDS)
    assert len(desk.looks) == MOST + 1
    assert desk.looks[0][1] == "platform"


def test_it_runs_as_a_part_of_the_daemon() -> None:
    looked, stop = threading.Event(), threading.Event()
    box = HintBox(poll=lambda _name: looked.set(), look_at=lambda *_: None, settle=0.01)
    thread = threading.Thread(target=box.run, args=(stop,))
    thread.start()
    box.take(PUSH, "api")
    assert looked.wait(5)
    stop.set()
    began = time.monotonic()
    thread.join(5)
    assert time.monotonic() - began < 1
