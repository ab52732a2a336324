"""What nobody asks for: the store is told what to say between checks, by the clock and the schedules."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from driftwatch.config.settings import ContinuousSettings, FindingsSettings, Schedule
from driftwatch.drift import Press, Snooze
from driftwatch.model import (
    Cause,
    CheckResult,
    Finding,
    FindingKind,
    Health,
    Method,
    Severity,
    StackDeclaration,
    StackId,
    TransitionKind,
    Trigger,
    Verdict,
)
from driftwatch.pipeline.housekeeping import Housekeeping
from driftwatch.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from driftwatch.pipeline.check import Workshop

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
DNS, WEB = (StackId(repository="platform", path=path) for path in ("dns", "web"))
DRIFT = Finding(
    address="thing.a",
    type="thing",
    kind=FindingKind.MODIFIED,
    action="update",
    causes=(Cause.OUT_OF_BAND,),
    severity=Severity.HIGH,
    fingerprint="f",
    counted=True,
)


@dataclass
class House:
    """A store on disk, the schedules that the inventory would know, and a clock that is moved by hand."""

    store: Store
    now: datetime = START
    schedules: dict[StackId, Schedule] = field(
        default_factory=lambda: {stack: Schedule(every=timedelta(minutes=15)) for stack in (DNS, WEB)}
    )

    def keeping(self, **sections: Any) -> Housekeeping:
        inventory = SimpleNamespace(schedules=lambda: self.schedules)
        workshop = SimpleNamespace(inventory=inventory, channels=["slack"], ledger=self.store)
        return Housekeeping(self.store, cast("Workshop", workshop), clock=lambda: self.now, **sections)

    def check(self, stack: StackId, *findings: Finding) -> None:
        result = CheckResult(
            stack=stack,
            commit="c",
            trigger=Trigger.SCHEDULE,
            verdict=Verdict.DRIFTED if findings else Verdict.IN_SYNC,
            method=Method.PLAN,
            method_reason="no_recording",
            started_at=self.now,
            duration_seconds=1.0,
            findings=findings,
        )
        self.store.record_check(result, declaration=StackDeclaration(id=stack), channels=["slack"])

    def heard(self) -> list[tuple[str, TransitionKind]]:
        """What the channel has heard since the last time, in order."""
        said = []
        while messages := self.store.due_messages(at=self.now, limit=99):
            for message in messages:
                said.append((message.announcement.stack, message.announcement.kind))
                self.store.message_sent(message.id, {"ts": "1"}, at=self.now)
        return said


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    store = Store.open(state_dir=tmp_path, database=None)
    store.sync_stacks("platform", [StackDeclaration(id=stack) for stack in (DNS, WEB)], START)
    yield House(store)
    store.close()


def test_when_checks_stop_coming_people_hear_it_once(house: House) -> None:
    keeping = house.keeping()
    for stack in (DNS, WEB):
        house.check(stack)
    for minutes in range(0, 120, 5):
        house.now = START + timedelta(minutes=minutes)
        if minutes:
            house.check(WEB)
        keeping.tidy()
    assert house.heard() == [("platform/dns", TransitionKind.STALE)]
    house.check(DNS)
    keeping.tidy()
    assert house.heard() == [("platform/dns", TransitionKind.RECOVERED)]


def test_a_daemon_that_was_away_looks_first(house: House) -> None:
    """Yesterday's checks are old when it starts; it is an alarm when it does not come to look itself."""
    for stack in (DNS, WEB):
        house.check(stack)
    house.now += timedelta(days=1)
    keeping = house.keeping()
    keeping.tidy()
    assert house.heard() == []
    assert {status.health for status in house.store.stacks(now=house.now)} == {Health.STALE}
    house.now += timedelta(minutes=46)
    keeping.tidy()
    assert [kind for _, kind in house.heard()] == [TransitionKind.STALE] * 2


def test_the_schedule_says_how_old_a_check_may_be(house: House) -> None:
    """What is noted is what `stacks list` shows, also for a schedule that the repository itself has set."""
    house.schedules = {DNS: Schedule(cron="0 6 * * 1"), WEB: Schedule(continuous=True)}
    for stack in (DNS, WEB):
        house.check(stack)
    keeping = house.keeping(continuous=ContinuousSettings(plan_interval=timedelta(minutes=10)))
    house.now += timedelta(minutes=31)
    keeping.tidy()
    assert house.heard() == [("platform/web", TransitionKind.STALE)]
    dns, web = house.store.stacks(now=house.now)
    assert (dns.health, web.health) == (Health.FRESH, Health.STALE)
    assert web.health_reason == "no good check for 31m, allowed are 30m"


def test_a_stack_that_the_inventory_has_lost_is_not_silent(house: House) -> None:
    """Its repository cannot be read since the start: nothing is scheduled, and nobody would notice."""
    house.check(DNS)
    house.schedules = {}
    keeping = house.keeping()
    house.now += timedelta(minutes=46)
    keeping.tidy()
    assert ("platform/dns", TransitionKind.STALE) in house.heard()


def test_a_snooze_ends_in_the_minute_in_which_it_ends(house: House) -> None:
    keeping = house.keeping(findings=FindingsSettings(allowed_age=timedelta(days=9)))
    house.check(DNS, DRIFT)
    until = START + timedelta(hours=2)
    house.store.act(1, Press(action=Snooze(until=until), actor="alice", at=START))
    house.heard()
    house.now = until - timedelta(minutes=1)
    keeping.tidy()
    assert house.heard() == []
    house.now = until
    keeping.tidy()
    assert house.heard() == [("platform/dns", TransitionKind.DRIFT_CHANGED)]


@pytest.mark.parametrize(("after", "reminded"), [(timedelta(days=2), True), (timedelta(), False)])
def test_reminders_come_after_a_while_or_never(house: House, after: timedelta, reminded: bool) -> None:
    sections = FindingsSettings(remind_after=after, allowed_age=timedelta(days=9))
    keeping = house.keeping(findings=sections)
    house.check(DNS, DRIFT)
    house.heard()
    for hours in range(1, 72):
        house.now = START + timedelta(hours=hours)
        keeping.tidy()
    assert house.heard() == [("platform/dns", TransitionKind.REMINDER)] * reminded
