"""More than a hundred changes by hand, one after the other: none may hide from a replay, or from a warm plan.

What a plain plan says is what is true. Before each change a replay of the last warm plan's recording finds
all the same; after it, it must not; and what the next warm plan means is what a plain one means.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from driftwatch.model import Verdict
from driftwatch.warm.pool import Limits, Pool
from driftwatch.warm.replay import Answer
from tests.acceptance.aws.mutations.changes import (
    identity,
    lookups,
    messages,
    names,
    network,
    storage,
    watching,
)
from tests.acceptance.aws.mutations.changes.kinds import Change, Effect, Kind
from tests.acceptance.aws.test_warm import ask_again, plan, plan_warm, read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from driftwatch.drift import Reading
    from driftwatch.warm.recording import Recording
    from tests.acceptance.aws.conftest import Lab
    from tests.acceptance.aws.mutations.conftest import OpenShop

pytestmark = [pytest.mark.aws, pytest.mark.xdist_group("aws")]

CHANGES: tuple[Change, ...] = (
    *lookups.changes,  # first: while all else is in sync, their verdict tells something
    *network.changes,
    *names.changes,
    *storage.changes,
    *identity.changes,
    *watching.changes,
    *messages.changes,  # last: a deleted queue makes every plan slow
)
BY_NAME = {change.name: change for change in CHANGES}


@dataclass(slots=True, kw_only=True)
class Trial:
    """Changes made to a lab, one after the other, and all that went otherwise than it should."""

    lab: Lab
    pool: Pool
    types: frozenset[str]
    recording: Recording
    reading: Reading
    answers: Counter[Answer] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, lab: Lab, pool: Pool) -> Trial:
        """Of a lab that is in sync, by a warm plan and by a plain one, which are the same to the letter."""
        document, recording, types = plan_warm(lab, pool, None)
        assert document == plan(lab)
        reading = read(document)
        assert (reading.verdict, counted(reading)) == (Verdict.IN_SYNC, frozenset())
        assert recording.unusable == ()
        return cls(lab=lab, pool=pool, types=types, recording=recording, reading=reading)

    def make(self, changes: Iterable[Change]) -> None:
        for change in changes:
            try:
                self._untouched(change)
                change.make(self.lab)
                self._replayed(change)
                self._planned(change)
            except Exception as problem:
                problem.add_note(f"at {change.name}; complaints until then: {self.complaints}")
                raise

    def _untouched(self, change: Change) -> None:
        answer, differing = ask_again(self.recording, self.pool)
        if answer is not Answer.SAME:
            self.complaints.append(f"before {change.name}: {answer}, {sorted(differing)}")

    def _replayed(self, change: Change) -> None:
        answer, differing = ask_again(self.recording, self.pool)
        self.answers[answer] += 1
        if answer is Answer.SAME:
            self.complaints.append(f"{change.name} escapes a replay")
        elif answer is Answer.DIFFERS and change.type not in differing:
            self.complaints.append(f"{change.name} is seen in {sorted(differing)} alone")

    def _planned(self, change: Change) -> None:
        document, recording, _ = plan_warm(self.lab, self.pool, self.types)
        plain = read(plan(self.lab))
        if read(document) != plain:
            self.complaints.append(f"{change.name} means something else to a warm plan than to a plain one")
        if (recording.reads, recording.unusable) != (self.recording.reads, ()):
            self.complaints.append(
                f"{change.name}: {recording.reads} reads recorded, unusable: {recording.unusable}"
            )
        said = effect(self.reading, plain)
        if said is not change.effect:
            self.complaints.append(
                f"{change.name}: of it a plan says: {said or 'nothing'}; not: {change.effect}"
            )
        self.recording, self.reading = recording, plain


def effect(before: Reading, now: Reading) -> Effect | None:
    """What happened between two plans, the gravest first; None where they say the same.

    By what is counted, because what was changed before stays, and makes any verdict "drifted".
    """
    if counted(now) != counted(before):
        return Effect.COUNTED if now.verdict is not Verdict.IN_SYNC else None
    if now.findings != before.findings:
        return Effect.KEPT
    return Effect.INPUT if now.inputs != before.inputs else None


def counted(reading: Reading) -> frozenset[str]:
    return frozenset(each.fingerprint for each in reading.findings if each.counted)


def test_the_changes_are_many_and_of_every_kind() -> None:
    """What the other tests here promise rests on this list."""
    assert len(BY_NAME) == len(CHANGES) >= 60
    assert len({change.type for change in CHANGES}) >= 20
    assert {change.kind for change in CHANGES} == set(Kind)
    assert {change.effect for change in CHANGES} == set(Effect)


@pytest.mark.timeout(240)
def test_a_few_changes_by_hand(open_shop: OpenShop) -> None:
    """The suite below in small, on a part of the lab: one change of each of four kinds."""
    some = [
        BY_NAME[name]
        for name in (
            "shared_vpc_is_tagged",
            "port_is_opened",
            "logs_are_kept_longer",
            "alarm_is_deleted",
        )
    ]
    assert len({change.kind for change in some}) == len(some) == 4
    with Pool(Limits(), lambda: datetime.now(UTC)) as pool:
        lab = open_shop("providers.tf", "lookups.tf", "network.tf", "watching.tf")
        trial = Trial.of(lab, pool)
        trial.make(some)
        assert trial.complaints == []
        assert trial.answers == {Answer.DIFFERS: len(some)}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_change_by_hand_escapes(open_shop: OpenShop) -> None:
    """All of them, over one lab; what escapes is told together, at the end."""
    with Pool(Limits(), lambda: datetime.now(UTC)) as pool:
        trial = Trial.of(open_shop(), pool)
        addresses = trial.lab.terraform("state", "list").splitlines()
        managed = [each for each in addresses if not each.startswith("data.")]
        assert trial.recording.reads == len(addresses) > len(managed) > 20
        _prove(trial)
        trial.make(CHANGES)
        assert trial.complaints == []
        assert trial.answers == {Answer.DIFFERS: len(CHANGES)}
        assert pool.stats().launched == 2


def _prove(trial: Trial) -> None:
    """That a change which escapes would be told of: one that changes nothing does."""
    trial.make([replace(CHANGES[0], name="nothing", make=lambda _lab: None)])
    assert trial.complaints == [
        "nothing escapes a replay",
        f"nothing: of it a plan says: nothing; not: {CHANGES[0].effect}",
    ]
    trial.complaints.clear()
    trial.answers.clear()
