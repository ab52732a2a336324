"""`driftwatch stacks explain`: all that stands between a stack and its repair."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.cli.clock import now
from driftwatch.errors import Exit
from driftwatch.model import (
    CheckResult,
    Decision,
    Hold,
    Inputs,
    Method,
    PlannedChange,
    PlanSummary,
    ProposalDraft,
    ProposalKind,
    StackDeclaration,
    StackId,
    Suspension,
    Trigger,
    Verdict,
)
from driftwatch.store import Store
from tests.cli.test_listings import drift

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Estate, Ran

DNS = StackId(repository="platform", path="dns")
NIGHTS = "windows: [{name: nights, kind: allow, cron: '0 22 * * *', duration: 4h, timezone: UTC}]\n"
ALWAYS = "windows: [{name: always, kind: allow, cron: '* * * * *', duration: 1h}]\n"
AUTOMATIC = "repair: {automatic: true, guards: {grace: 0s}}\n"


@dataclass(frozen=True, slots=True)
class Desk:
    cli: Callable[..., Ran]
    estate: Estate

    def explain(self, *words: str) -> Ran:
        return self.cli("stacks", "explain", str(DNS), *words, "-c", self.estate.config)

    def reasons(self, *words: str) -> list[str]:
        import json

        return [each["reason"] for each in json.loads(self.explain(*words, "-f", "json").out)["held"]]

    def configure(self, more: str) -> None:
        self.estate.config.write_text(self.estate.config.read_text() + more)

    def propose(self, *, automatic: bool = True, changes: int = 1) -> None:
        draft = ProposalDraft(
            stack=DNS,
            kind=ProposalKind.REVERT,
            commit="c0ffee",
            digest="d1",
            findings=(drift("x.y").fingerprint,),
            addresses=("x.y",),
            summary=PlanSummary(
                adds=0,
                updates=changes,
                destroys=0,
                replaces=0,
                changes=tuple(
                    PlannedChange(
                        address="x.y" if not place else f"x.z{place}", type="x", actions=("update",)
                    )
                    for place in range(changes)
                ),
            ),
            reason="The stack's on_drift says apply.",
            created_by="driftwatch",
            created_at=now(),
            expires_at=None,
            automatic=automatic,
        )
        with closing(Store.open(state_dir=self.estate.state, database=None)) as store:
            store.propose(draft)


@pytest.fixture
def desk(cli: Callable[..., Ran], estate: Estate) -> Desk:
    """A stack that was found drifted just now."""
    check = CheckResult(
        stack=DNS,
        commit="c0ffee",
        trigger=Trigger.SCHEDULE,
        verdict=Verdict.DRIFTED,
        method=Method.PLAN,
        method_reason="no_recording",
        started_at=now(),
        duration_seconds=1.0,
        findings=(drift("x.y"),),
        inputs=Inputs(commit="c0ffee", state_serial=7),
    )
    with closing(Store.open(state_dir=estate.state, database=None)) as store:
        store.record_check(check, declaration=StackDeclaration(id=DNS), channels=[])
    return Desk(cli, estate)


def test_where_nothing_is_proposed_it_says_so_and_what_the_windows_say(desk: Desk) -> None:
    ran = desk.explain()
    assert ran.code == Exit.OK
    assert ran.out.startswith("Nothing is proposed for platform/dns.\nWindows: ")


def test_where_nothing_holds_it_that_is_said(desk: Desk) -> None:
    desk.configure(AUTOMATIC + ALWAYS)
    desk.propose()
    ran = desk.explain()
    assert (ran.code, "nothing that is known holds it" in ran.out) == (Exit.OK, True), ran.out
    assert desk.reasons() == []


def test_all_that_holds_it_is_named_in_order(desk: Desk) -> None:
    desk.configure(NIGHTS)
    desk.propose(changes=11)
    with closing(Store.open(state_dir=desk.estate.state, database=None)) as store:
        store.suspend(Suspension(scope="platform", by="ben", at=now(), reason="we move"))
    ran = desk.explain("--at", "2090-01-01T12:00Z")
    assert ran.code == Exit.HELD
    assert "suspended by ben: we move" in ran.out
    assert desk.reasons("--at", "2090-01-01T12:00Z") == [
        "suspended",
        "automatic_off",
        "beyond_findings",
        "too_many_resources",
        "outside_window",
    ]


def test_at_another_time_the_windows_and_what_has_an_end_are_others(desk: Desk) -> None:
    desk.configure(AUTOMATIC + NIGHTS)
    desk.propose()
    with closing(Store.open(state_dir=desk.estate.state, database=None)) as store:
        until = now() + timedelta(days=1)
        store.suspend(Suspension(scope="*", by="ben", at=now(), reason="we move", until=until))
    assert "suspended" in desk.reasons()
    assert desk.reasons("--at", "2090-01-01T23:00Z") == []
    assert desk.reasons("--at", "2090-01-01T21:59Z") == ["outside_window"]


@pytest.mark.parametrize(
    ("reason", "shown"), [("upstream_first", True), ("in_review", True), ("too_young", False)]
)
def test_what_only_the_daemon_knows_is_as_it_last_said(desk: Desk, reason: str, shown: bool) -> None:
    """All else is asked anew, and may be otherwise by now."""
    desk.configure(AUTOMATIC + ALWAYS)
    desk.propose()
    with closing(Store.open(state_dir=desk.estate.state, database=None)) as store:
        assert store.hold(1, Hold(reason=reason, sentence="Proposal 7 comes first."), now())
    assert desk.reasons() == ([reason] if shown else [])
    assert ("Proposal 7 comes first." in desk.explain().out) is shown


def test_what_people_are_to_decide_waits_for_them(desk: Desk) -> None:
    desk.propose(automatic=False)
    assert desk.reasons() == ["not_approved"]
    vote = Decision(by="ann", at=now(), via="terminal", approves=True, digest="d1")
    with closing(Store.open(state_dir=desk.estate.state, database=None)) as store:
        store.decide(1, vote)
        assert store.approved(1)
    assert desk.reasons() == []


@pytest.mark.parametrize(
    ("words", "says"), [(("--at", "soon"), "--at"), (("--at", "2026-02-30"), "no such time")]
)
def test_what_is_no_time_is_refused(desk: Desk, words: tuple[str, ...], says: str) -> None:
    ran: Any = desk.explain(*words)
    assert (ran.code, says in ran.err) == (Exit.USAGE, True)
