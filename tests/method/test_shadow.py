"""The shadow: now and then a plain plan is asked what it says to a replay, and has the last word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from driftwatch import metrics
from driftwatch.warm.replay import Answer

if TYPE_CHECKING:
    from tests.method.conftest import Stand

REPLAY = ("replay", "reads_same")
SHADOW = ("plan", "shadow")


def test_one_replay_in_so_many_is_followed_by_a_plain_plan(recorded: Stand) -> None:
    recorded.with_settings(shadow_every=3)
    ways = [recorded.check().how for _ in range(9)]
    assert ways.count(SHADOW) == 3
    assert ways.count(REPLAY) == 6
    first = ways.index(SHADOW)
    assert [place for place, way in enumerate(ways) if way == SHADOW] == [first, first + 3, first + 6]
    assert recorded.house.quarantine.entries() == ()


def test_stacks_are_not_all_shadowed_in_the_same_round(stand: Stand) -> None:
    """A fleet that starts at once must not plan at once."""
    stand.with_settings(shadow_every=10)
    rounds = []
    for number in range(40):
        question = stand.question()
        object.__setattr__(question, "stack", f"platform/s{number}")
        rounds.append(next(at for at in range(1, 11) if stand.examiner._is_shadowed(question)))
    assert len(set(rounds)) > 5


def test_a_replay_that_was_wrong_takes_its_provider_out_and_is_told(recorded: Stand, replaced: Any) -> None:
    """Here a recording of the drifted cloud that says in sync: what a blind provider would come to."""
    known = recorded.house.shelf.peek("platform/stack")
    assert known
    recorded.open_port()
    recorded.check()
    drifted = recorded.house.shelf.peek("platform/stack")
    assert drifted
    recorded.house.shelf.put("platform/stack", replaced(drifted, reading=known.reading))
    assert recorded.check().verdict == "in_sync"
    recorded.with_settings(shadow_every=1)
    before = counted()
    wrong = recorded.check()
    assert (wrong.how, wrong.verdict) == (SHADOW, "drifted")
    assert wrong.seen.disagreement
    assert "platform/stack" in wrong.seen.disagreement
    assert "driftwatch/sandbox" in wrong.seen.disagreement
    assert counted() == before + 1
    assert [entry.address for entry in recorded.house.quarantine.entries()] == [
        "sandbox.driftwatch.local/driftwatch/sandbox"
    ]
    after = recorded.check()
    assert after.how == ("plan", "no_recording")
    assert after.seen.disagreement is None
    assert after.verdict == "drifted"
    assert recorded.check().how == ("plan", "quarantined")


def counted() -> float:
    """Disagreements so far."""
    return metrics.REPLAY_DISAGREEMENTS.labels("sandbox.driftwatch.local/driftwatch/sandbox")._value.get()


def test_a_cloud_that_moves_after_the_replay_is_no_disagreement(recorded: Stand) -> None:
    """The plan sees what came later; a replay now sees it too."""
    recorded.with_settings(shadow_every=1)
    house = recorded.house
    asked: list[Answer] = []
    ask = house.replay

    def move_after_the_first(*arguments: Any, **options: Any) -> Any:
        outcome = ask(*arguments, **options)
        asked.append(outcome.answer)
        if len(asked) == 1:
            recorded.open_port()
        return outcome

    house.replay = move_after_the_first  # type: ignore[method-assign]
    seen = recorded.check()
    assert asked == [Answer.SAME, Answer.DIFFERS]
    assert (seen.how, seen.verdict) == (SHADOW, "drifted")
    assert seen.seen.disagreement is None
    assert house.quarantine.entries() == ()


def test_a_cloud_that_moves_and_moves_back_is_no_disagreement(recorded: Stand) -> None:
    """Between replay and replay all was as recorded, and another plan says so too."""
    recorded.with_settings(shadow_every=1)
    asked: list[Answer] = []
    ask = recorded.house.replay
    before = recorded.cloud.directory / "firewall"
    kept = {path: path.read_bytes() for path in before.iterdir()}

    def meddle(*arguments: Any, **options: Any) -> Any:
        if asked:
            for path, content in kept.items():
                path.write_bytes(content)
        outcome = ask(*arguments, **options)
        asked.append(outcome.answer)
        if len(asked) == 1:
            recorded.open_port()
        return outcome

    recorded.house.replay = meddle  # type: ignore[method-assign]
    seen = recorded.check()
    assert asked == [Answer.SAME, Answer.SAME]
    assert (seen.how, seen.verdict) == (SHADOW, "in_sync")
    assert seen.seen.disagreement is None
    assert recorded.house.quarantine.entries() == ()
