"""A check adds who wrote what is not applied yet, and is as good where that cannot be known."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from driftwatch.drift.explain import explain
from driftwatch.errors import RepositoryError
from driftwatch.model import CheckResult, Inputs, Trigger, Verdict
from driftwatch.pipeline.check import check
from tests.drift import samples
from tests.pipeline.conftest import DNS, FIRST, SECOND, Worlds

if TYPE_CHECKING:
    import pytest

WAITING = samples.plan(samples.change({"ttl": 300}, {"ttl": 60}))
BY_HAND = samples.plan(
    samples.change({"ttl": 5}, {"ttl": 300}), drift=(samples.change({"ttl": 300}, {"ttl": 5}),)
)


def _checked(estate: Worlds, patch: pytest.MonkeyPatch, baseline: Inputs | None) -> CheckResult:
    patch.setattr(estate.ledger, "baseline", lambda _stack: baseline)
    estate.source.remote_commit = SECOND
    estate.inventory.refresh("platform")
    return check(DNS, Trigger.SCHEDULE, estate.workshop, threading.Event())


def test_a_finding_that_a_commit_explains_names_it(estate: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    estate.planner.outcome = WAITING

    result = _checked(estate, monkeypatch, Inputs(commit=FIRST, tree="before"))

    (finding,) = result.findings
    assert result.verdict is Verdict.PENDING
    assert finding.evidence is not None
    assert [each.id for each in finding.evidence.commits] == [SECOND]
    assert "(Ada Example, 23 Nov 2026, “Open 8443”) is not applied yet" in explain(finding)[0]
    assert estate.ledger.results == [result]


def test_history_that_cannot_be_read_takes_nothing_from_the_verdict(
    estate: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RepositoryError("a damaged mirror")

    estate.planner.outcome = WAITING
    monkeypatch.setattr(estate.source, "history", fail)

    result = _checked(estate, monkeypatch, Inputs(commit=FIRST, tree="before"))

    (finding,) = result.findings
    assert (result.verdict, result.error) == (Verdict.PENDING, None)
    assert finding.evidence is not None
    assert finding.evidence.commits == ()
    assert f"commit {SECOND[:7]} is not applied yet" in explain(finding)[0]


def test_history_is_asked_for_only_where_it_is_evidence(
    estate: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for a hand in the cloud, nor with nothing to compare with: a check may run every minute."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("nobody needs to know")

    monkeypatch.setattr(estate.source, "history", fail)
    estate.planner.outcome = BY_HAND
    assert _checked(estate, monkeypatch, Inputs(commit=FIRST, tree="before")).verdict is Verdict.DRIFTED
    estate.planner.outcome = WAITING
    assert _checked(estate, monkeypatch, None).verdict is Verdict.PENDING
