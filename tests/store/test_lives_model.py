"""The store does what was decided, and nothing else: side by side with a life in memory."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftwatch.drift import Accept, Acknowledge, Flapping, Press, Reopen, Snooze, Step
from driftwatch.model import Finding, FindingKind, Inputs, Verdict
from driftwatch.store import Acted, Store
from driftwatch.store.told import heard
from tests.drift.lives import DECLARATION, FLAPPING, Life, check, finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from driftwatch.model import StoredFinding
    from tests.store.conftest import Place

FOUND = st.builds(
    finding,
    st.sampled_from(["a", "b"]),
    st.sampled_from([FindingKind.MODIFIED, FindingKind.DELETED]),
    st.dictionaries(st.sampled_from(["/port", "/tags/Name"]), st.integers(1, 2), min_size=1),
    counted=st.booleans(),
)
CHECKS = st.tuples(
    st.just("check"),
    st.lists(FOUND, max_size=2, unique_by=lambda each: each.address),
    st.sampled_from([None, None, None, Verdict.ERROR]),
    st.builds(Inputs, commit=st.sampled_from(["c1", "c2"]), state_serial=st.sampled_from([1, 2, None])),
)
PRESSES = st.tuples(
    st.just("press"),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["ack", "snooze", "accept", "expiring", "reopen"]),
)
TIME = st.tuples(st.just("hours"), st.sampled_from([1, 7, 30]))
TICKS = st.tuples(st.just("tick"))
HISTORIES = st.lists(CHECKS | CHECKS | PRESSES | TIME | TICKS, max_size=25)


class Twins:
    """One history, lived twice."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.life = Life()

    def check(self, found: Sequence[Finding], verdict: Verdict | None, inputs: Inputs) -> None:
        said = self.life.check(*found, verdict=verdict, inputs=inputs)
        result = replace(check(*found, verdict=verdict, inputs=inputs), started_at=self.life.now)
        recorded = self.store.record_check(result, declaration=DECLARATION, channels=["slack"])
        assert [replace(each, check_id=None) for each in recorded.announcements] == list(said)

    def press(self, name: str, word: str) -> None:
        row = self.life.rows.get(f"resource:thing.{name}")
        if row is None:
            return
        soon = self.life.now + timedelta(hours=3)
        action = {
            "ack": Acknowledge(),
            "snooze": Snooze(until=soon),
            "accept": Accept(attributes=("/port",)),
            "expiring": Accept(expires=soon),
            "reopen": Reopen(),
        }[word]
        step = self.life.press(action, name)
        number = next(item.id for item in self.rows() if item.finding.address == row.finding.address)
        acted = self.store.act(
            number, Press(action=action, actor="alice", at=self.life.now, reason="on purpose")
        )
        assert isinstance(acted, Acted) == isinstance(step, Step)

    def hours(self, number: int) -> None:
        self.life.passes(hours=number)

    def tick(self) -> None:
        self.life.passes(minutes=1)
        due = any(
            row.status.is_quiet and row.until and row.until <= self.life.now
            for row in self.life.rows.values()
        )
        told = self.store.reopen_ended(at=self.life.now, channels=["slack"])
        if due:
            assert [each.kind for each in told] == [each.kind for each in self.life.tick()]
        else:
            assert told == []

    def rows(self) -> Sequence[StoredFinding]:
        return self.store.findings(counted=None, limit=99).items

    def are_alike(self) -> None:
        mine = {row.finding.identity: replace(row, id=0) for row in self.life.rows.values()}
        theirs = {row.finding.identity: replace(row, id=0) for row in self.rows()}
        assert theirs == mine
        if self.life.heard:
            assert self.store._database.read(lambda it: heard(it, 1)) == self.life.told
        for status in self.store.stacks(now=self.life.now):
            waiting = [row for row in mine.values() if row.finding.counted and row.status.is_open]
            assert status.open_findings == len(waiting)


def lived(store: Store, history: Sequence[tuple[Any, ...]]) -> Iterator[Twins]:
    twins = Twins(store)
    for what, *how in history:
        getattr(twins, what)(*how)
        yield twins


@settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(history=HISTORIES)
def test_every_history_ends_in_the_rows_that_were_decided(
    sqlite_place: Place, upgraded_file: Path, history: list[tuple[Any, ...]]
) -> None:
    state = sqlite_place.state_dir / "each"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(mode=0o700)
    shutil.copy(upgraded_file, state)
    store = Store.open(
        state_dir=state,
        database=None,
        flapping=Flapping(turns=FLAPPING.turns, within=FLAPPING.within),
    )
    try:
        for twins in lived(store, history):
            twins.are_alike()
    finally:
        store.close()
