"""What people say of findings holds exactly as long as it should, and is never said twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.drift import Accept, Acknowledge, Refused, Reopen, Snooze, Step, announce_stale
from driftwatch.model import (
    DRIFTWATCH,
    Cause,
    FindingEventKind,
    FindingKind,
    FindingStatus,
    Inputs,
    Resolution,
    TransitionKind,
    Trigger,
    Verdict,
)
from tests.drift.lives import DECLARATION, START, Life, finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from driftwatch.model import Announcement

FOUND, CHANGED, RESOLVED = (
    TransitionKind.DRIFT_FOUND,
    TransitionKind.DRIFT_CHANGED,
    TransitionKind.RESOLVED,
)
REMOVALS = [FindingKind.DELETED, FindingKind.REPLACED, FindingKind.DESTROYED]
OTHER = {"/port": 2}
MORE = {"/port": 1, "/tags/Name": 5}


@pytest.fixture
def life() -> Life:
    """A finding that is open and told."""
    opened = Life()
    opened.check()
    assert kinds(opened.check(finding())) == [FOUND]
    return opened


def kinds(said: Sequence[Announcement]) -> list[TransitionKind]:
    return [announcement.kind for announcement in said]


def snoozed(life: Life, **span: float) -> Snooze:
    return Snooze(until=life.now + timedelta(**span))


def test_each_action_has_its_status_and_leaves_who_and_why(life: Life) -> None:
    for action, status in (
        (Acknowledge(), FindingStatus.ACKNOWLEDGED),
        (Reopen(), FindingStatus.REOPENED),
        (snoozed(life, hours=2), FindingStatus.SNOOZED),
        (Accept(owner="@net"), FindingStatus.ACCEPTED),
        (Reopen(), FindingStatus.REOPENED),
    ):
        step = life.press(action, reason=f"because of {status}")
        assert isinstance(step, Step)
        assert life.row().status is status
        assert life.events[-1][2:] == ("alice", f"because of {status}")
    assert life.row().acceptance is None
    assert life.row().until is None


def test_what_is_put_aside_is_no_news_and_not_open(life: Life) -> None:
    for action in (snoozed(life, hours=2), Accept()):
        life.press(action)
        assert not life.row().status.is_open
        assert life.row().status.is_active
        assert life.check(finding()) == ()


def test_an_acknowledged_finding_stays_open_and_its_changes_are_news(life: Life) -> None:
    life.press(Acknowledge())
    assert life.check(finding()) == ()
    assert life.row().status is FindingStatus.ACKNOWLEDGED
    assert life.row().status.is_open
    (changed,) = life.check(finding(values=OTHER))
    assert (changed.kind, changed.changed) == (CHANGED, ("thing.a",))
    assert life.row().status is FindingStatus.CHANGED


def test_a_snooze_ends_at_its_time_without_a_check(life: Life) -> None:
    life.press(snoozed(life, hours=2))
    life.passes(hours=1.9)
    assert life.tick() == ()
    life.passes(hours=0.2)
    (again,) = life.tick()
    assert (again.kind, again.opened, again.total) == (CHANGED, ("thing.a",), 1)
    assert life.row().status is FindingStatus.REOPENED
    assert life.events[-1][1:] == (FindingEventKind.REOPENED, DRIFTWATCH, "the snooze ended")
    assert life.tick() == ()
    assert life.check(finding()) == ()


def test_a_check_ends_a_snooze_too(life: Life) -> None:
    life.press(snoozed(life, hours=2))
    life.passes(hours=3)
    (said,) = life.check(finding())
    assert (said.kind, said.opened) == (CHANGED, ("thing.a",))
    assert life.row().status is FindingStatus.REOPENED


@pytest.mark.parametrize("action", ["snooze", "accept"])
def test_an_end_is_the_first_moment_that_is_no_longer_in_it(life: Life, action: str) -> None:
    ends = life.now + timedelta(minutes=1)
    life.press(Snooze(until=ends) if action == "snooze" else Accept(expires=ends))
    life.check(finding())
    assert life.now == ends
    assert life.row().status is FindingStatus.REOPENED
    assert life.row().acceptance is None


def test_the_same_values_of_another_kind_were_not_accepted(life: Life) -> None:
    life.press(Accept())
    assert kinds(life.check(finding(kind=FindingKind.CREATED))) == [CHANGED]
    assert life.row().status is FindingStatus.REOPENED


@pytest.mark.parametrize("action", ["snooze", "accept"])
@pytest.mark.parametrize("kind", REMOVALS)
def test_a_deletion_is_never_hidden(life: Life, action: str, kind: FindingKind) -> None:
    """Whatever the person said, it was said of a resource that was there."""
    life.press(snoozed(life, hours=2) if action == "snooze" else Accept())
    (said,) = life.check(finding(kind=kind))
    assert said.kind is CHANGED
    assert said.opened == ("thing.a",)
    assert said.findings[0].kind is kind
    assert life.row().status is FindingStatus.REOPENED
    assert life.row().acceptance is None


def test_a_deletion_that_keeps_its_attributes_is_not_what_was_accepted(life: Life) -> None:
    """Not even where the digests of its values are the same, nor once it is modified again."""
    life.press(Accept())
    life.check(finding(kind=FindingKind.DELETED))
    life.check(finding())
    assert life.row().status is FindingStatus.CHANGED


@pytest.mark.parametrize("values", [OTHER, MORE, {"/tags/Name": 1}])
def test_another_value_or_attribute_reopens_what_was_accepted(life: Life, values: dict[str, Any]) -> None:
    life.press(Accept())
    (said,) = life.check(finding(values=values))
    assert (said.kind, said.opened) == (CHANGED, ("thing.a",))
    assert life.row().status is FindingStatus.REOPENED
    assert life.events[-1][3] == "what differs is not what was accepted"


def test_the_accepted_values_are_accepted_again_as_long_as_the_difference_lasts(life: Life) -> None:
    life.press(Accept())
    life.check(finding(values=MORE))
    (said,) = life.check(finding())
    assert (said.kind, said.total, said.set_aside) == (RESOLVED, 0, 1)
    assert life.row().status is FindingStatus.ACCEPTED
    assert life.events[-1][2:] == (DRIFTWATCH, "all that is left was accepted by alice: on purpose")


def test_what_comes_again_after_a_repair_was_not_accepted(life: Life) -> None:
    life.press(Accept())
    assert kinds(life.check()) == [RESOLVED]
    assert kinds(life.check(finding())) == [FOUND]
    assert life.row().status is FindingStatus.REOPENED


def test_what_the_state_remembers_is_no_part_of_what_was_accepted(life: Life) -> None:
    """A refresh writes the cloud's value into the state; the difference to the code is the same."""
    life.press(Accept())
    refreshed = finding()
    remembered = tuple(replace(each, before=1) for each in refreshed.attributes)
    assert life.check(replace(refreshed, attributes=remembered, fingerprint="other")) == ()
    assert life.row().status is FindingStatus.ACCEPTED
    assert kinds(life.check()) == [RESOLVED]


def test_noise_beside_accepted_values_does_not_reopen_them(life: Life) -> None:
    life.press(Accept())
    noisy = finding(values=MORE)
    attributes = tuple(
        replace(each, cause=Cause.NOISE) if each.path == "/tags/Name" else each for each in noisy.attributes
    )
    assert life.check(replace(noisy, attributes=attributes, fingerprint=finding().fingerprint)) == ()
    assert life.row().status is FindingStatus.ACCEPTED


def test_an_acceptance_expires(life: Life) -> None:
    life.press(Accept(expires=life.now + timedelta(days=1)))
    assert life.row().until == life.now + timedelta(days=1)
    life.passes(days=2)
    assert kinds(life.tick()) == [CHANGED]
    assert (life.row().status, life.row().acceptance) == (FindingStatus.REOPENED, None)
    assert life.check(finding()) == ()
    assert life.row().status is FindingStatus.REOPENED


def test_some_attributes_may_be_accepted_and_the_rest_keeps_it_open(life: Life) -> None:
    life.check(finding(values=MORE))
    life.press(Accept(attributes=("/port",)))
    assert life.row().status is FindingStatus.CHANGED
    assert life.check(finding(values=MORE)) == ()
    (said,) = life.check(finding())
    assert (said.kind, said.total, said.set_aside) == (RESOLVED, 0, 1)
    assert life.row().status is FindingStatus.ACCEPTED


def test_a_difference_without_attributes_is_accepted_as_a_whole() -> None:
    """A check that fails has none: its problems are in the fingerprint alone."""
    life, failing = Life(), finding(kind=FindingKind.CHECK_FAILED, values={})
    life.check(failing)
    life.press(Accept(), failing.identity)
    assert life.check(failing) == ()
    assert life.row(failing.identity).status is FindingStatus.ACCEPTED
    assert kinds(life.check(replace(failing, fingerprint="two problems"))) == [CHANGED]
    assert life.row(failing.identity).status is FindingStatus.REOPENED


def test_the_story_ends_when_nothing_of_it_is_left(life: Life) -> None:
    """Whoever accepted it hears of the end once, where the story was told."""
    episode = life.told.episode
    life.press(Accept())
    assert life.check(finding()) == ()
    assert life.told.episode == episode
    assert kinds(life.check()) == [RESOLVED]
    assert life.told.episode is None


def test_the_story_ends_when_all_that_was_open_is_resolved(life: Life) -> None:
    life.check(finding(), finding("b"))
    life.press(Accept(), "b")
    (said,) = life.check(finding("b"))
    assert (said.kind, said.resolved, said.set_aside) == (RESOLVED, ("thing.a",), 1)
    assert life.check(finding("b")) == ()
    assert life.check() == ()


def test_what_was_never_told_and_is_put_aside_needs_no_end() -> None:
    """It was accepted before the next check could tell of it."""
    life = Life()
    life.check(finding())
    life.press(Accept())
    life.told = replace(life.told, counted=frozenset(), episode=None)
    assert life.check(finding()) == ()
    assert life.check() == ()


def test_what_a_person_reopens_is_told(life: Life) -> None:
    life.press(Accept())
    life.check(finding())
    life.press(Reopen())
    (said,) = life.check(finding())
    assert (said.kind, said.opened) == (CHANGED, ("thing.a",))


def test_a_press_that_is_taken_back_before_the_next_check_is_no_news(life: Life) -> None:
    life.press(Accept())
    life.press(Reopen())
    assert life.check(finding()) == ()


def test_reminders_stop_where_everything_is_looked_after(life: Life) -> None:
    day = timedelta(days=1)
    assert life.remind(day) == ()
    life.passes(days=2)
    assert kinds(life.remind(day)) == [TransitionKind.REMINDER]
    assert life.remind(day) == ()
    life.passes(days=2)
    life.press(Acknowledge())
    assert life.remind(day) == ()
    life.check(finding(values=OTHER))
    life.passes(days=2)
    assert kinds(life.remind(day)) == [TransitionKind.REMINDER]
    life.check()
    life.passes(days=2)
    assert life.remind(day) == ()


def refusal(step: Step | Refused) -> str:
    assert isinstance(step, Refused)
    return f"{step.reason}: {step.sentence}"


def test_what_cannot_be_is_refused_with_a_sentence(life: Life) -> None:
    past = life.now - timedelta(minutes=1)
    assert "must end in the future" in refusal(life.press(Snooze(until=past)))
    assert "must expire in the future" in refusal(life.press(Accept(expires=past)))
    assert "needs a reason" in refusal(life.press(Accept(), reason=" "))
    assert "needs a reason" in refusal(life.press(Accept(), reason=None))
    assert "/nope does not differ in finding 1; what differs: /port" in refusal(
        life.press(Accept(attributes=("/nope", "/port")))
    )
    assert "open already" in refusal(life.press(Reopen()))
    assert refusal(life.press(Acknowledge(), reason="x" * 1001)).startswith("reason_too_long")
    assert refusal(life.press(Acknowledge(), seen="what it was")).startswith("outdated")
    life.press(Acknowledge())
    assert refusal(life.press(Acknowledge())).startswith("already_acknowledged")
    life.press(Accept())
    for action in (Acknowledge(), snoozed(life, hours=1)):
        assert "reopen it first" in refusal(life.press(action))
    life.check()
    for action in (Acknowledge(), snoozed(life, hours=1), Accept(), Reopen()):
        assert refusal(life.press(action)).startswith("resolved")


def test_noise_is_nothing_to_act_on() -> None:
    life = Life()
    life.check(finding(counted=False))
    assert refusal(life.press(Accept())).startswith("noise")


# ---- coming and going ----------------------------------------------------------------------------------


def restless(life: Life) -> list[TransitionKind]:
    """It comes back three times; the fixture's was the first time that it came."""
    said: list[TransitionKind] = []
    for _ in range(3):
        said += kinds(life.check())
        said += kinds(life.check(finding()))
    return said


def test_one_that_comes_and_goes_is_told_once_and_not_at_every_turn(life: Life) -> None:
    assert restless(life) == [RESOLVED, FOUND] * 3
    assert life.heard[-1].flapping == ("thing.a",)
    assert life.row().status is FindingStatus.FLAPPING
    assert life.row().status.is_open
    for _ in range(5):
        assert life.check() == ()
        assert life.row().status is FindingStatus.RESOLVED
        assert life.check(finding(values=OTHER)) == ()
        assert life.row().status is FindingStatus.FLAPPING


def test_it_settles_where_it_stays(life: Life) -> None:
    restless(life)
    life.passes(hours=23)
    assert life.check(finding()) == ()
    life.passes(hours=2)
    (said,) = life.check(finding())
    assert (said.kind, said.changed) == (CHANGED, ("thing.a",))
    assert (life.row().status, life.row().flapping_since) == (FindingStatus.OPEN, None)
    assert kinds(life.check()) == [RESOLVED]


def test_it_settles_where_it_stays_away(life: Life) -> None:
    restless(life)
    assert life.check() == ()
    life.passes(hours=25)
    (said,) = life.check()
    assert (said.kind, said.resolved) == (RESOLVED, ("thing.a",))
    assert life.events[-1][1] is FindingEventKind.SETTLED
    assert life.check() == ()


def test_slow_turns_are_news_each_time(life: Life) -> None:
    for _ in range(6):
        life.passes(hours=20)
        assert kinds(life.check()) == [RESOLVED]
        assert kinds(life.check(finding())) == [FOUND]
    assert life.row().status is FindingStatus.REOPENED


@pytest.mark.parametrize("while_there", [True, False])
def test_one_that_comes_and_goes_and_is_then_deleted_is_told(life: Life, while_there: bool) -> None:
    restless(life)
    if not while_there:
        assert life.check() == ()
    (said,) = life.check(finding(kind=FindingKind.DELETED))
    assert said.findings[0].kind is FindingKind.DELETED
    assert (life.row().status.is_open, life.row().flapping_since) == (True, None)


def test_one_that_comes_and_goes_can_be_put_aside(life: Life) -> None:
    restless(life)
    life.press(Accept())
    assert life.row().flapping_since is None
    assert life.check(finding()) == ()
    assert kinds(life.check()) == [RESOLVED]


def test_one_that_somebody_looks_after_goes_on_coming_and_going(life: Life) -> None:
    restless(life)
    life.press(Acknowledge())
    assert life.check(finding()) == ()
    assert life.check() == ()
    assert life.check(finding()) == ()
    assert life.row().status is FindingStatus.FLAPPING


# ---- endings -------------------------------------------------------------------------------------------

BASE = Inputs(commit="c1", tree="t1", state_lineage="l", state_serial=1)


@pytest.mark.parametrize(
    ("now", "resolution"),
    [
        (BASE, Resolution.HAND),
        (replace(BASE, state_serial=2), Resolution.REPAIR),
        (replace(BASE, state_lineage="m"), Resolution.REPAIR),
        (replace(BASE, commit="c2", tree="t2"), Resolution.CODE),
        (replace(BASE, commit="c2", tree="t2", state_serial=2), Resolution.CODE),
        (replace(BASE, commit="c2"), Resolution.HAND),
        (replace(BASE, commit="c2", tree=None), Resolution.CODE),
        (replace(BASE, commit=None, tree=None), Resolution.HAND),
        (replace(BASE, state_serial=None), Resolution.UNDETERMINED),
        (replace(BASE, state_serial=None, tree="t2"), Resolution.CODE),
        (Inputs(), Resolution.UNDETERMINED),
    ],
)
def test_by_what_a_finding_was_resolved(life: Life, now: Inputs, resolution: Resolution) -> None:
    """A commit elsewhere in the repository (the same tree) is not what did it."""
    life.check(finding(), inputs=BASE)
    life.check(inputs=now)
    assert life.row().resolution is resolution


def test_what_driftwatch_applied_itself_is_a_repair_whatever_became_of_the_state(life: Life) -> None:
    """An apply that puts back what the state remembers writes no new state."""
    life.check(finding(), inputs=BASE)
    life.check(inputs=BASE, trigger=Trigger.POST_APPLY)
    assert life.row().resolution is Resolution.REPAIR


def test_a_resource_that_is_destroyed_as_the_code_wants_is_gone() -> None:
    life = Life()
    life.check(finding(kind=FindingKind.DESTROYED), inputs=BASE)
    life.check(inputs=replace(BASE, state_serial=2))
    assert life.row().resolution is Resolution.GONE


def test_what_is_only_noise_now_was_not_put_back_by_hand(life: Life) -> None:
    life.check(finding(counted=False))
    assert life.row().resolution is Resolution.NOISE


def test_the_check_before_the_failing_ones_is_what_is_compared_with(life: Life) -> None:
    life.check(finding(), inputs=BASE)
    life.check(verdict=Verdict.ERROR, inputs=Inputs())
    life.check(inputs=replace(BASE, state_serial=2))
    assert life.row().resolution is Resolution.REPAIR


def test_how_long_it_took_is_kept(life: Life) -> None:
    life.passes(minutes=9)
    life.check(verdict=Verdict.ERROR)
    life.passes(minutes=9)
    life.check()
    assert life.row().time_to_detect == timedelta(minutes=1)
    assert life.row().time_to_resolve == timedelta(minutes=20)
    life.passes(hours=1)
    life.check(finding())
    assert life.row().time_to_detect == timedelta(hours=1, minutes=1)
    assert life.row().time_to_resolve is None


def test_of_a_first_check_nobody_knows_how_long_it_was_there() -> None:
    life = Life()
    life.check(finding())
    assert life.row().time_to_detect is None


# ---- the detector --------------------------------------------------------------------------------------


def test_a_stale_stack_is_told_once_until_a_good_check(life: Life) -> None:
    occasion = replace(life._occasion(), at=START + timedelta(days=1))
    said, life.told = announce_stale(life.told, occasion, DECLARATION, sentence="no good check for 1d")
    assert kinds(said) == [TransitionKind.STALE]
    assert said[0].error is not None
    assert (said[0].error.code, said[0].error.message) == ("stale", "no good check for 1d")
    again, life.told = announce_stale(life.told, occasion, DECLARATION, sentence="no good check for 2d")
    assert again == ()
    outage = life.told.outage
    assert kinds(life.check(verdict=Verdict.ERROR)) == [TransitionKind.CHECK_FAILING]
    assert life.told.outage == outage, "one story, whatever it is told by"
    assert kinds(life.check(finding())) == [TransitionKind.RECOVERED]
    assert (life.told.stale, life.told.failing, life.told.outage) == (False, False, None)
