"""No sequence of checks, presses and hours loses a finding, resolves one blindly, or hides a deletion.

The machine knows only what the cloud is like and what people said, and says from that what must be true; it
shares no decision with what it tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from driftwatch.drift import Accept, Acknowledge, Reopen, Snooze, Step
from driftwatch.model import (
    Finding,
    FindingKind,
    FindingStatus,
    Inputs,
    StoredFinding,
    TransitionKind,
    Verdict,
)
from tests.drift.lives import Life, finding

if TYPE_CHECKING:
    from datetime import datetime

NAMES = ("a", "b")
KINDS = (FindingKind.MODIFIED, FindingKind.CREATED, FindingKind.DELETED, FindingKind.REPLACED)
VALUES = st.dictionaries(st.sampled_from(["/port", "/tags/Name"]), st.integers(1, 2), min_size=1)
CLOUDS = st.fixed_dictionaries(
    {name: st.none() | st.builds(finding, st.just(name), st.sampled_from(KINDS), VALUES) for name in NAMES}
)
"""What is wrong with each thing; None where it is as the code wants it."""

DRIFT_TOLD = (TransitionKind.DRIFT_FOUND, TransitionKind.DRIFT_CHANGED)


@dataclass
class Terms:
    """What a person accepted, in plain words."""

    kind: FindingKind
    values: dict[str, Any]
    expires: datetime | None

    def hold(self, found: Finding, now: datetime) -> bool:
        in_time = self.expires is None or now < self.expires
        return in_time and found.kind is self.kind and values_of(found).items() <= self.values.items()


def values_of(found: Finding) -> dict[str, Any]:
    return {change.path: change.actual for change in found.attributes}


class Findings(RuleBasedStateMachine):
    """Two things, drifting, and one person."""

    def __init__(self) -> None:
        super().__init__()
        self.life = Life()
        self.cloud: dict[str, Finding | None] = dict.fromkeys(NAMES)
        self.terms: dict[str, Terms] = {}
        self.put_aside: dict[str, FindingKind] = {}
        self.known_lost: set[str] = set()
        self.state = 1
        self.checked = False

    # What may happen

    @rule(cloud=CLOUDS)
    def the_cloud_moves_and_is_checked(self, cloud: dict[str, Finding | None]) -> None:
        self.cloud = cloud
        self.good_check()

    @rule()
    def it_is_checked_again(self) -> None:
        self.good_check()

    @rule(verdict=st.sampled_from([Verdict.ERROR, Verdict.SKIPPED]))
    def a_check_knows_nothing(self, verdict: Verdict) -> None:
        before = dict(self.life.rows)
        self.life.check(verdict=verdict)
        assert self.life.rows == before

    @rule(hours=st.sampled_from([1, 5, 30]))
    def time_passes(self, hours: int) -> None:
        self.life.passes(hours=hours)

    @rule()
    def the_minute_is_over(self) -> None:
        before = self.statuses()
        quiet = {name for name, status in before.items() if status.is_quiet}
        told = self.life.tick()
        back = {name for name in quiet if not self.statuses()[name].is_quiet}
        assert {name for name, status in self.statuses().items() if not status.is_active} == {
            name for name, status in before.items() if not status.is_active
        }
        assert bool(told) == bool(back)
        for name in back:
            assert f"thing.{name}" in told[0].opened
            self.forget(name, expired=before[name] is FindingStatus.ACCEPTED)

    @precondition(lambda self: self.checked)
    @rule(
        name=st.sampled_from(NAMES),
        what=st.sampled_from(["ack", "snooze", "accept", "accept one", "reopen"]),
        hours=st.sampled_from([None, 1, 20]),
    )
    def somebody_presses(self, name: str, what: str, hours: int | None) -> None:
        row = self.life.rows.get(f"resource:thing.{name}")
        if row is None:
            return
        action = self.action(row, what, hours)
        step = self.life.press(action, name)
        if not isinstance(step, Step):
            assert self.life.row(name) == row, "a refusal changes nothing"
            return
        assert self.life.row(name).status.is_active
        assert self.life.row(name).finding == row.finding
        if self.life.row(name).status.is_quiet:
            self.put_aside[name] = row.finding.kind
        if isinstance(action, Accept):
            values = values_of(row.finding)
            chosen = action.attributes or tuple(values)
            self.terms[name] = Terms(
                row.finding.kind, {path: values[path] for path in chosen}, action.expires
            )
        if isinstance(action, Reopen):
            self.forget(name, expired=True)

    def action(self, row: StoredFinding, what: str, hours: int | None) -> Any:
        from datetime import timedelta

        ends = self.life.now + timedelta(hours=hours) if hours else None
        if what == "ack":
            return Acknowledge()
        if what == "snooze":
            return Snooze(until=ends or self.life.now + timedelta(hours=3))
        if what == "reopen":
            return Reopen()
        attributes = (row.finding.attributes[0].path,) if what == "accept one" else ()
        return Accept(expires=ends, attributes=attributes)

    # What must be true after a good check

    def good_check(self) -> None:
        before = dict(self.life.rows)
        there = {name: found for name, found in self.cloud.items() if found is not None}
        self.checked = True
        told_before = self.life.told
        told = self.life.check(*there.values(), inputs=Inputs(commit="c", state_serial=self.state))
        self.nothing_is_lost_and_nothing_stays(there)
        self.acceptances_hold_exactly(there, before)
        self.deletions_are_seen(there, told, told_before)
        news = [said for said in told if said.kind in DRIFT_TOLD]
        listed = {address for said in news for address in (*said.opened, *said.changed)}
        for name in there:
            row = self.life.row(name)
            if row.status.is_open and row.flapping_since is None:
                known = row.finding.fingerprint in told_before.counted
                assert known or f"thing.{name}" in listed, "what is open is known or told"
            if row.status.is_quiet:
                assert f"thing.{name}" not in listed, "what is put aside is no news"

    def nothing_is_lost_and_nothing_stays(self, there: dict[str, Finding]) -> None:
        active = {row.finding.address: row.finding for row in self.life.rows.values() if row.status.is_active}
        assert active == {found.address: found for found in there.values()}

    def acceptances_hold_exactly(self, there: dict[str, Finding], before: dict[str, StoredFinding]) -> None:
        for name in NAMES:
            terms, found, row = (
                self.terms.get(name),
                there.get(name),
                before.get(f"resource:thing.{name}"),
            )
            if terms is None:
                assert found is None or self.life.row(name).status is not FindingStatus.ACCEPTED
                continue
            lost = found and row and found.kind.is_removal and found.kind is not row.finding.kind
            expired = terms.expires is not None and terms.expires <= self.life.now
            if found is None or lost or expired:
                self.forget(name, expired=True)
            if found is not None:
                accepted = self.life.row(name).status is FindingStatus.ACCEPTED
                assert accepted == (not lost and terms.hold(found, self.life.now))

    def deletions_are_seen(self, there: dict[str, Finding], told: Any, before: Any) -> None:
        for name in NAMES:
            found = there.get(name)
            if found is None:
                self.put_aside.pop(name, None)
                continue
            row = self.life.row(name)
            if row.status.is_quiet and found.kind.is_removal:
                accepted = self.terms.get(name)
                said = self.put_aside.get(name) or (accepted.kind if accepted else None)
                assert said is found.kind, "a deletion is put aside only by who saw it as such"
            if row.status.is_open and found.kind.is_removal and row.flapping_since is None:
                shown = {each.fingerprint for said in told for each in said.findings}
                assert found.fingerprint in shown | before.counted

    def statuses(self) -> dict[str, FindingStatus]:
        return {row.finding.address.removeprefix("thing."): row.status for row in self.life.rows.values()}

    def forget(self, name: str, *, expired: bool) -> None:
        self.put_aside.pop(name, None)
        if expired:
            self.terms.pop(name, None)

    @invariant()
    def what_was_told_is_a_story_or_none(self) -> None:
        told = self.life.told
        assert bool(told.counted or told.flapping or told.set_aside) == (told.episode is not None)

    @invariant()
    def only_what_is_put_aside_has_an_end(self) -> None:
        for row in self.life.rows.values():
            assert row.until is None or row.status.is_quiet
            assert row.status is not FindingStatus.ACCEPTED or row.acceptance is not None
            assert row.status.is_active or row.acceptance is None


TestFindings = Findings.TestCase
TestFindings.settings = settings(max_examples=300, stateful_step_count=30, deadline=None, derandomize=True)
