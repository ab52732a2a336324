"""What comes from one cause is told together, and nothing is lost, mixed up or repeated by that."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwatch.drift import (
    SEEN,
    Accept,
    Acknowledge,
    Reopen,
    Snooze,
    Step,
    Told,
    advance,
    announce,
    announce_all,
    announce_between,
    episode_of,
    expire,
    remind,
    standing,
)
from driftwatch.drift.bounds import LONGEST_TEXT, LONGEST_VALUE, MOST_ATTRIBUTES, bounded
from driftwatch.drift.stories import LONGEST_KEY, LONGEST_TITLE, NEARBY, OWN, names_cause, origin_of, story_of
from driftwatch.model import (
    Announcement,
    AttributeChange,
    Cause,
    CheckResult,
    Commit,
    ErrorReport,
    Evidence,
    Finding,
    FindingKind,
    FindingStatus,
    InputKind,
    Inputs,
    Movement,
    TransitionKind,
    Trigger,
    Verdict,
)
from tests.drift.lives import DECLARATION, FLAPPING, Life, check, finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from driftwatch.drift import Occasion

AUTHORED = datetime(2026, 1, 1, tzinfo=UTC)
COMMIT = Commit(id="ab" * 20, author="Carol", at=AUTHORED, subject="Encrypt every queue")
OTHER = Commit(id="cd" * 20, author="Dave", at=AUTHORED, subject="Tag every bucket")
UPGRADE = Movement(input=InputKind.PROVIDER, name="hashicorp/aws", before="5.1.0", after="5.2.0")
ROTATED = Movement(input=InputKind.VARIABLE, name="image")
READ = Movement(input=InputKind.DATA_READ, name="data.aws_ami.base")
VPC = Movement(input=InputKind.UPSTREAM_OUTPUT, name="data.terraform_remote_state.network.outputs.vpc_id")
ZONE = Movement(input=InputKind.UPSTREAM_OUTPUT, name="data.terraform_remote_state.network.outputs.zone")
DNS = Movement(input=InputKind.UPSTREAM_OUTPUT, name="data.terraform_remote_state.dns.outputs.zone")
INPUTS = Inputs(
    variable_digests={"image": "0f0f"},
    read_digests={
        "data.aws_ami.base": "ask:answer",
        "data.terraform_remote_state.network.outputs.vpc_id": "network:1",
        "data.terraform_remote_state.network.outputs.zone": "network:2",
        "data.terraform_remote_state.dns.outputs.zone": "dns:3",
    },
)


def caused(
    cause: Cause | tuple[Cause, ...],
    *movements: Movement,
    commits: tuple[Commit, ...] = (),
    name: str = "a",
    **words: Any,
) -> Finding:
    """A finding with these causes, and what moved behind it."""
    causes = cause if isinstance(cause, tuple) else (cause,)
    evidence = Evidence(movements=movements, commits=commits)
    return replace(finding(name, **words), causes=causes, evidence=evidence)


def told_of(
    *findings: Finding, kind: TransitionKind = TransitionKind.DRIFT_FOUND, **words: Any
) -> Announcement:
    standard: dict[str, Any] = {
        "stack": "platform/envs/prod",
        "verdict": Verdict.DRIFTED,
        "commit": None,
        "trigger": Trigger.SCHEDULE,
        "at": AUTHORED,
        "total": len(findings),
    }
    return Announcement(kind=kind, findings=findings, **(standard | words))


# ---- The story in which a finding begins ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "story"),
    [
        (caused(Cause.UNAPPLIED_COMMIT, commits=(COMMIT, OTHER)), f"commit:{COMMIT.id}"),
        (caused(Cause.UNAPPLIED_COMMIT), OWN),
        (replace(finding(), causes=(Cause.UNAPPLIED_COMMIT,)), OWN),
        (caused(Cause.PROVIDER_UPGRADE, UPGRADE), "provider:hashicorp/aws:5.1.0:5.2.0"),
        (caused(Cause.PROVIDER_UPGRADE, ROTATED, UPGRADE), "provider:hashicorp/aws:5.1.0:5.2.0"),
        (caused(Cause.PROVIDER_UPGRADE, UPGRADE, replace(UPGRADE, name="hashicorp/random")), OWN),
        (caused(Cause.PROVIDER_UPGRADE, Movement(input=InputKind.LOCK_FILE)), OWN),
        (caused(Cause.INPUT_CHANGE, ROTATED), "variable:image:0f0f"),
        (caused(Cause.INPUT_CHANGE, replace(ROTATED, name="unknown")), OWN),
        (caused(Cause.INPUT_CHANGE, replace(ROTATED, name=None)), OWN),
        (caused(Cause.INPUT_CHANGE, READ), "data:ask:answer"),
        (caused(Cause.INPUT_CHANGE, replace(READ, name="data.aws_ami.unknown")), OWN),
        (caused(Cause.INPUT_CHANGE, READ, ROTATED), OWN),
        (caused(Cause.INPUT_CHANGE, VPC), "upstream:network"),
        (caused(Cause.INPUT_CHANGE, VPC, ZONE), "upstream:network"),
        (caused(Cause.INPUT_CHANGE, VPC, DNS), OWN),
        (caused(Cause.INPUT_CHANGE, VPC, READ), OWN),
        (caused(Cause.INPUT_CHANGE, replace(VPC, name="data.terraform_remote_state.x.outputs.y")), OWN),
        (caused(Cause.INPUT_CHANGE, Movement(input=InputKind.STATE)), OWN),
        (caused(Cause.INPUT_CHANGE), OWN),
        (caused(Cause.OUT_OF_BAND, UPGRADE, commits=(COMMIT,)), OWN),
        (caused(Cause.STATE_EDIT, commits=(COMMIT,)), OWN),
        (caused(Cause.UNDETERMINED, commits=(COMMIT,)), OWN),
        (caused((Cause.UNAPPLIED_COMMIT, Cause.OUT_OF_BAND), commits=(COMMIT,)), OWN),
        (caused((Cause.UNAPPLIED_COMMIT, Cause.PROVIDER_UPGRADE), UPGRADE, commits=(COMMIT,)), OWN),
        (caused((), commits=(COMMIT,)), OWN),
        (caused(Cause.UNAPPLIED_COMMIT, commits=(COMMIT,), counted=False), OWN),
    ],
)
def test_the_story_is_that_of_the_one_cause_where_it_is_known(found: Finding, story: str) -> None:
    """Whatever is in doubt is the stack's own: two causes, none that is named, none that is known."""
    assert story_of(found, INPUTS) == story


@pytest.mark.parametrize("moved", [ROTATED, READ, VPC])
def test_inputs_that_nobody_digested_are_nobody_elses(moved: Movement) -> None:
    assert story_of(caused(Cause.INPUT_CHANGE, moved), Inputs()) == OWN


@pytest.mark.parametrize(
    ("found", "inputs"),
    [
        (caused(Cause.PROVIDER_UPGRADE, replace(UPGRADE, name="n" * 5000)), INPUTS),
        (
            caused(Cause.INPUT_CHANGE, replace(ROTATED, name="v" * 5000)),
            Inputs(variable_digests={"v" * 5000: "0"}),
        ),
    ],
)
def test_a_key_is_never_longer_than_an_index_takes(found: Finding, inputs: Inputs) -> None:
    """A hostile name must not make a check unwritable; its story is still told apart, and has a title."""
    story = story_of(found, inputs)
    assert story != OWN
    assert len(story) <= LONGEST_KEY
    assert story == story_of(found, inputs)
    origin = origin_of(told_of(found), story)
    assert origin.key == story
    assert names_cause(story)
    assert 0 < len(origin.title or "") <= LONGEST_TITLE


# ---- Where an incident comes from ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "title"),
    [
        (
            caused(Cause.UNAPPLIED_COMMIT, commits=(COMMIT,)),
            "commit ababababab is not applied (Encrypt every queue, by Carol)",
        ),
        (caused(Cause.PROVIDER_UPGRADE, UPGRADE), "upgrade of hashicorp/aws from 5.1.0 to 5.2.0"),
        (caused(Cause.PROVIDER_UPGRADE, ROTATED, UPGRADE), "upgrade of hashicorp/aws from 5.1.0 to 5.2.0"),
        (
            caused(Cause.INPUT_CHANGE, VPC, ZONE),
            "outputs moved upstream: data.terraform_remote_state.network",
        ),
        (caused(Cause.INPUT_CHANGE, READ), "data.aws_ami.base has moved"),
        (caused(Cause.INPUT_CHANGE, ROTATED), "image has moved"),
        (
            caused(Cause.INPUT_CHANGE, Movement(input=InputKind.STATE, name="serial"), ROTATED),
            "image has moved",
        ),
    ],
)
def test_a_shared_cause_is_named_in_words(found: Finding, title: str) -> None:
    """And another stack may join for as long as it is open."""
    story = story_of(found, INPUTS)
    origin = origin_of(told_of(found), story)
    assert (origin.key, origin.title, origin.within) == (story, title, None)
    assert names_cause(story)


def test_a_title_stands_where_all_findings_are_put_aside_or_gone() -> None:
    for found in (
        caused(Cause.UNAPPLIED_COMMIT, commits=(COMMIT,)),
        caused(Cause.PROVIDER_UPGRADE, UPGRADE),
        caused(Cause.INPUT_CHANGE, VPC),
        caused(Cause.INPUT_CHANGE, READ),
        caused(Cause.INPUT_CHANGE, ROTATED),
    ):
        assert origin_of(told_of(), story_of(found, INPUTS)).title


def test_a_commit_is_titled_by_its_own_words() -> None:
    """Also where another one came after it before anything was told."""
    found = caused(Cause.UNAPPLIED_COMMIT, commits=(OTHER, COMMIT))
    assert "Encrypt every queue, by Carol" in (origin_of(told_of(found), f"commit:{COMMIT.id}").title or "")
    gone = caused(Cause.UNAPPLIED_COMMIT, commits=(OTHER,))
    assert origin_of(told_of(gone), f"commit:{COMMIT.id}").title == "commit ababababab is not applied"


def test_a_title_is_short_whatever_people_write() -> None:
    found = caused(Cause.UNAPPLIED_COMMIT, commits=(replace(COMMIT, subject="s" * 9000),))
    assert len(origin_of(told_of(found), story_of(found, INPUTS)).title or "") == LONGEST_TITLE


def failing(code: str, message: str = "It failed.") -> Announcement:
    return told_of(kind=TransitionKind.CHECK_FAILING, error=ErrorReport(code=code, message=message))


def test_errors_of_what_all_share_are_one_and_others_only_where_they_say_the_same() -> None:
    expired = [origin_of(failing("credentials_expired", said), OWN) for said in ("one", "another")]
    assert expired[0] == expired[1]
    assert (expired[0].title, expired[0].within) == ("checks fail: credentials_expired", NEARBY)
    assert origin_of(failing("timeout"), OWN).key != expired[0].key
    same, too, other = (origin_of(failing("plan_failed", said), OWN) for said in ("a", "a", "b"))
    assert same == too
    assert same.key != other.key
    assert same.key is not None
    assert not names_cause(same.key)
    assert origin_of(failing("plan_failed", "\ud800"), OWN).key
    assert origin_of(told_of(kind=TransitionKind.CHECK_FAILING), OWN).key is None


def test_what_only_this_stack_is_told_has_no_origin() -> None:
    for kind in (TransitionKind.REPLAY_DISAGREED, TransitionKind.RECOVERED):
        assert origin_of(told_of(finding(), kind=kind), OWN).key is None
    assert origin_of(told_of(kind=TransitionKind.STALE), OWN).within == NEARBY
    for found in (
        caused(Cause.UNDETERMINED),
        caused(Cause.STATE_EDIT),
        caused((Cause.OUT_OF_BAND, Cause.UNAPPLIED_COMMIT)),
    ):
        assert origin_of(told_of(finding("b"), found), OWN).key is None
    assert origin_of(told_of(), OWN).key is None


def by_hand(name: str = "a", actual: Any = 1, path: str = "/port", **words: Any) -> Finding:
    return finding(name, values={path: actual}, **words)


def key_by_hand(*findings: Finding, **words: Any) -> str | None:
    return origin_of(told_of(*findings, **words), OWN).key


def test_the_same_change_by_hand_is_known_wherever_and_in_whatever_order_it_is() -> None:
    one = key_by_hand(by_hand("a", 1), by_hand("b", {"x": [1, 2]}))
    assert one is not None
    assert one == key_by_hand(by_hand("z", {"x": [2, 1]}), by_hand("y", 1.0))
    title = origin_of(told_of(by_hand()), OWN).title
    assert title == "the same change by hand: thing modified"
    assert not names_cause(one)


@pytest.mark.parametrize(
    "others",
    [
        (by_hand("a", 2),),
        (by_hand("a", 1, "/other"),),
        (by_hand("a", True),),  # noqa: FBT003  (a value)
        (by_hand("a", 1, kind=FindingKind.DELETED),),
        (replace(by_hand("a", 1), type="another"),),
        (replace(by_hand("a", 1), action="create"),),
        (by_hand("a", 1), by_hand("b", 1)),
    ],
)
def test_another_change_by_hand_is_another_incident(others: tuple[Finding, ...]) -> None:
    assert key_by_hand(by_hand("a", 1)) != key_by_hand(*others)


def test_a_path_and_a_value_are_not_taken_for_each_other() -> None:
    assert key_by_hand(by_hand("a", "/two", "/one")) != key_by_hand(by_hand("a", "/one", "/two"))


def test_what_is_not_shown_counts_with_its_number_and_noise_not_at_all() -> None:
    assert key_by_hand(by_hand(), total=21) != key_by_hand(by_hand(), total=22)
    noise = AttributeChange(path="/etag", before=1, actual=2, after=1, sensitive=False, cause=Cause.NOISE)
    noisy = replace(by_hand(), attributes=(*by_hand().attributes, noise))
    assert key_by_hand(noisy) == key_by_hand(by_hand())


def test_a_mass_deletion_is_one_incident_whatever_is_gone() -> None:
    gone = [told_of(by_hand(name), mass_deletion="all of it is gone") for name in "ab"]
    first, second = (origin_of(each, OWN) for each in gone)
    assert first == second
    assert (first.key, first.within) == ("mass_deletion", NEARBY)


# ---- Bounds --------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5000),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(values=st.lists(JSON, min_size=1, max_size=4), repeat=st.sampled_from([1, 200]), message=st.text())
def test_a_finding_that_is_sent_is_bounded_and_the_same_one(
    values: list[Any], repeat: int, message: str
) -> None:
    """Small ones are sent as they are; none ever becomes another."""
    changes = tuple(
        AttributeChange(
            path=f"/{place}", before=each, actual=each, after=None, sensitive=False, cause=Cause.NOISE
        )
        for place, each in enumerate(values * repeat)
    )
    found = replace(finding(), attributes=changes, message=message * repeat * 100)
    sent = bounded(found)
    assert (sent.fingerprint, sent.identity) == (found.fingerprint, found.identity)
    assert len(sent.attributes) == min(len(changes), MOST_ATTRIBUTES)
    assert all(len(str(each.actual)) <= 7 * LONGEST_VALUE for each in sent.attributes)
    assert len(sent.message or "") <= LONGEST_TEXT
    small = replace(finding(), attributes=tuple(each for each in changes[:9] if len(str(each.actual)) < 500))
    assert bounded(small) == small
    assert bounded(sent) == sent


def test_evidence_is_bounded_too() -> None:
    """A data source of `for_each` carries its key in its name, and a key may have megabytes."""
    long = replace(READ, name="n" * 5_000_000, before="b" * 5_000_000, after="a" * 5_000_000)
    sent = bounded(caused(Cause.INPUT_CHANGE, long, UPGRADE, commits=(COMMIT,)))
    assert sent.evidence is not None
    assert len(repr(sent.evidence)) < 5 * LONGEST_TEXT
    assert sent.evidence.movements[1] == UPGRADE
    assert sent.evidence.commits == (COMMIT,)
    assert bounded(finding()).evidence is None


# ---- Errors that may pass ------------------------------------------------------------------------------


def kinds_of(told: Sequence[Announcement]) -> list[str]:
    return [str(each.kind) for each in told]


def fails(saga: Saga, *, passing: bool = True) -> list[str]:
    return kinds_of(saga.fail(passing=passing))


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_an_error_that_may_pass_is_told_when_it_did_not(patience: int) -> None:
    saga = Saga(failing_checks=patience)
    for _ in range(patience - 1):
        assert fails(saga) == []
    assert fails(saga) == ["check_failing"]
    assert fails(saga) == []
    assert fails(saga, passing=False) == []
    assert kinds_of(saga.check()) == ["recovered"]
    assert kinds_of(saga.check()) == []


def test_an_error_that_needs_a_person_is_told_at_once() -> None:
    assert fails(Saga(failing_checks=5), passing=False) == ["check_failing"]
    saga = Saga(failing_checks=5)
    assert fails(saga) == []
    assert fails(saga, passing=False) == ["check_failing"]


def test_a_good_check_in_between_starts_the_count_anew_and_says_nothing() -> None:
    """And one that could not look at all changes nothing."""
    saga = Saga(failing_checks=3)
    for _ in range(4):
        assert (fails(saga), fails(saga)) == ([], [])
        assert kinds_of(saga.check(verdict=Verdict.SKIPPED)) == []
        assert kinds_of(saga.check()) == []
    assert (fails(saga), fails(saga), fails(saga)) == ([], [], ["check_failing"])


def test_what_is_told_between_checks_does_not_start_the_count_anew() -> None:
    saga = Saga(failing_checks=2)
    saga.check(by_hand())
    saga.press(Snooze(until=saga.now + timedelta(hours=1)))
    assert fails(saga) == []
    saga.passes(hours=2)
    saga.tick()
    assert fails(saga) == ["check_failing"]


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.integers(1, 4),
    st.lists(st.sampled_from(["passing", "lasting", "good", "skipped"]), max_size=20),
)
def test_people_hear_that_checks_fail_and_that_they_do_not_in_turn(patience: int, history: list[str]) -> None:
    saga, run, known = Saga(failing_checks=patience), 0, False
    for what in history:
        if what in ("passing", "lasting"):
            run += 1
            news = not known and (what == "lasting" or run >= patience)
            assert fails(saga, passing=what == "passing") == (["check_failing"] if news else [])
            known = known or news
        elif what == "good":
            assert kinds_of(saga.check()) == (["recovered"] if known else [])
            run, known = 0, False
        else:
            assert saga.check(verdict=Verdict.SKIPPED) == ()


# ---- Stories side by side ------------------------------------------------------------------------------


@dataclass
class Saga(Life):
    """As a life, with all the stories of its stack, and what was told in each episode."""

    failing_checks: int = 1
    heard_of: dict[str, Told] = field(default_factory=dict)
    episodes: dict[str, list[TransitionKind]] = field(default_factory=dict)
    stories: dict[str, str] = field(default_factory=dict)

    def check(self, *findings: Finding, **words: Any) -> tuple[Announcement, ...]:
        self.passes(minutes=1)
        return self.take(replace(check(*findings, **words), started_at=self.now))

    def fail(self, *, passing: bool) -> tuple[Announcement, ...]:
        error = ErrorReport(code="timeout", message="It took too long.", passing=passing)
        self.passes(minutes=1)
        return self.take(replace(check(verdict=Verdict.ERROR), started_at=self.now, error=error))

    def take(self, result: CheckResult) -> tuple[Announcement, ...]:
        steps = advance(list(self.rows.values()), result, last=self.last, flapping=FLAPPING)
        for step in steps:
            self._store(step, by_check=True)
        told: list[Announcement] = []
        for story, said, now in announce_all(
            dict(self.heard_of), result, steps, DECLARATION, failing_checks=self.failing_checks
        ):
            told += self._heard(story, said, now)
        if result.verdict.is_good:
            self.last, self.last_good = result.inputs, self.now
        return tuple(told)

    def tick(self) -> tuple[Announcement, ...]:
        steps = []
        for row in list(self.rows.values()):
            step = expire(row, self.now)
            if step is not None:
                self._store(step, by_check=False)
            if row.status.is_active:
                steps.append(step or standing(row))
        told: list[Announcement] = []
        for story in sorted({OWN, *self.heard_of, *(step.story for step in steps)}):
            mine = [step for step in steps if step.story == story]
            said, now = announce_between(self._told(story), self._about(story), mine, DECLARATION)
            told += self._heard(story, said, now)
        return tuple(told)

    def remind(self, after: timedelta) -> tuple[Announcement, ...]:
        told: list[Announcement] = []
        for story in sorted(self.heard_of):
            mine = [
                standing(row) for row in self.rows.values() if row.status.is_active and row.story == story
            ]
            said, now = remind(self._told(story), self._about(story), mine, DECLARATION, after=after)
            told += self._heard(story, said, now)
        return tuple(told)

    def _about(self, story: str) -> Occasion:
        return replace(self._occasion(), story=story)

    def _told(self, story: str) -> Told:
        return self.heard_of.get(story, Told())

    def _heard(self, story: str, said: Sequence[Announcement], now: Told) -> Sequence[Announcement]:
        before = self._told(story)
        for each in said:
            episode = episode_of(each, before, now)
            assert episode, "nothing is said outside of an episode"
            assert self.stories.setdefault(episode, story) == story, "each episode is of one story"
            self.episodes.setdefault(episode, []).append(each.kind)
        self.heard_of[story] = now
        if story != OWN and now.is_silent:
            del self.heard_of[story]
        return said

    def _store(self, step: Step, *, by_check: bool) -> None:
        super()._store(step, by_check=by_check)
        self.rows[step.identity] = replace(self.rows[step.identity], story=step.story)


SORTS: dict[str, tuple[tuple[Cause, ...], Evidence]] = {
    "hand": ((Cause.OUT_OF_BAND,), Evidence()),
    "commit": ((Cause.UNAPPLIED_COMMIT,), Evidence(commits=(COMMIT,))),
    "other commit": ((Cause.UNAPPLIED_COMMIT,), Evidence(commits=(OTHER,))),
    "upgrade": ((Cause.PROVIDER_UPGRADE,), Evidence(movements=(UPGRADE,))),
    "both": ((Cause.UNAPPLIED_COMMIT, Cause.OUT_OF_BAND), Evidence(commits=(COMMIT,))),
}


def sorted_as(found: Finding, sort: str) -> Finding:
    causes, evidence = SORTS[sort]
    return replace(found, causes=causes, evidence=evidence)


def waiting(name: str = "a", value: int = 1, sort: str = "commit") -> Finding:
    return sorted_as(by_hand(name, value), sort)


def histories(sorts: Sequence[str]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """Checks of three things that differ for these reasons, and what else may happen to a stack."""
    found = st.builds(
        sorted_as,
        st.builds(
            finding,
            st.sampled_from("abc"),
            st.sampled_from([FindingKind.MODIFIED, FindingKind.MODIFIED, FindingKind.DELETED]),
            st.fixed_dictionaries({"/port": st.integers(1, 2)}),
        ),
        st.sampled_from(sorts),
    )
    checks = st.tuples(st.just("check"), st.lists(found, max_size=3, unique_by=lambda each: each.address))
    others = st.one_of(
        st.tuples(st.just("fail"), st.booleans()),
        st.tuples(
            st.just("press"),
            st.sampled_from("abc"),
            st.sampled_from(["ack", "snooze", "accept", "expiring", "reopen"]),
        ),
        st.tuples(st.just("flaps"), found),
        st.tuples(st.just("hours"), st.sampled_from([1, 7, 30])),
        st.tuples(st.just("tick")),
        st.tuples(st.just("remind")),
    )
    return st.lists(checks | checks | others, max_size=25)


class History:
    """One history of one stack."""

    def __init__(self) -> None:
        self.saga = Saga()

    def does(self, what: str, *how: Any) -> None:
        getattr(self, what)(*how)

    def check(self, found: Sequence[Finding]) -> None:
        self.saga.check(*found)
        self.nothing_is_lost_between_the_stories()
        self.the_same_again_is_no_news(found)

    def flaps(self, found: Finding) -> None:
        for _ in range(FLAPPING.turns):
            self.check([found])
            self.check([])
        self.check([found])

    def fail(self, passing: bool) -> None:
        before = dict(self.saga.heard_of)
        self.saga.fail(passing=passing)
        for story, told in before.items():
            assert story == OWN or self.saga.heard_of[story] == told

    def press(self, name: str, word: str) -> None:
        if f"resource:thing.{name}" not in self.saga.rows:
            return
        soon = self.saga.now + timedelta(hours=3)
        action = {
            "ack": Acknowledge(),
            "snooze": Snooze(until=soon),
            "accept": Accept(),
            "expiring": Accept(expires=soon),
            "reopen": Reopen(),
        }[word]
        self.saga.press(action, name)

    def hours(self, number: int) -> None:
        self.saga.passes(hours=number)

    def tick(self) -> None:
        self.saga.passes(minutes=1)
        self.saga.tick()

    def remind(self) -> None:
        self.saga.passes(minutes=1)
        self.saga.remind(timedelta(hours=5))

    def nothing_is_lost_between_the_stories(self) -> None:
        heard = self.saga.heard_of
        for identity, row in self.saga.rows.items():
            counted = [story for story, told in heard.items() if row.finding.fingerprint in told.counted]
            flapping = [story for story, told in heard.items() if identity in told.flapping]
            if row.finding.counted and row.status.is_open:
                assert [*counted, *flapping] == [row.story], "it is known in exactly one story, its own"
            elif row.flapping_since is None:
                assert (counted, flapping) == ([], [])
        living = {row.story for row in self.saga.rows.values() if row.status.is_active or row.flapping_since}
        for story, told in heard.items():
            assert told.episode is None or story in living, "a story of nothing is over"

    def the_same_again_is_no_news(self, found: Sequence[Finding]) -> None:
        again = copy.deepcopy(self.saga)
        before = len(again.events)
        said = again.check(*found)
        if len(again.events) == before:
            assert said == ()

    def is_told_in_whole(self) -> None:
        running = {told.episode for told in self.saga.heard_of.values()}
        running |= {told.outage for told in self.saga.heard_of.values()}
        for episode, kinds in self.saga.episodes.items():
            *rest, last = kinds
            assert not any(kind.is_end for kind in rest), "an end is the last word"
            assert last.is_end == (episode not in running), "and is said exactly where it is over"
            assert kinds[0] in (TransitionKind.DRIFT_FOUND, TransitionKind.CHECK_FAILING)
            assert TransitionKind.DRIFT_FOUND not in kinds[1:]


@settings(max_examples=400, deadline=None, derandomize=True)
@given(history=histories(list(SORTS)))
def test_no_finding_is_lost_between_the_stories_and_each_is_told_to_its_end(
    history: list[tuple[Any, ...]],
) -> None:
    """What is open is known in one story, what is over is told as over, once; nothing is told twice."""
    lived = History()
    for what, *how in history:
        lived.does(what, *how)
        lived.is_told_in_whole()
    lived.check([])
    lived.saga.passes(hours=48)
    lived.check([])
    lived.is_told_in_whole()
    assert all(told.episode is None for told in lived.saga.heard_of.values()), "all is in sync, all is over"


@settings(max_examples=150, deadline=None, derandomize=True)
@given(history=histories(["hand", "both"]))
def test_without_shared_causes_all_is_told_as_one_story(history: list[tuple[Any, ...]]) -> None:
    """`announce_all` is then `announce`."""
    saga, life = History(), Life()
    for what, *how in history:
        if what == "check":
            assert saga.saga.check(*how[0]) == life.check(*how[0])
        elif what == "fail":
            assert kinds_of(saga.saga.fail(passing=False)) == kinds_of(life.check(verdict=Verdict.ERROR))
        elif what == "press" and f"resource:thing.{how[0]}" in life.rows:
            saga.press(*how)
            soon = life.now + timedelta(hours=3)
            action = {
                "ack": Acknowledge(),
                "snooze": Snooze(until=soon),
                "accept": Accept(),
                "expiring": Accept(expires=soon),
                "reopen": Reopen(),
            }[how[1]]
            life.press(action, how[0])
        elif what == "flaps":
            for found in [*([how[0]], []) * FLAPPING.turns, [how[0]]]:
                assert saga.saga.check(*found) == life.check(*found)
        elif what == "hours":
            saga.hours(*how)
            life.passes(hours=how[0])
        elif what == "tick":
            assert saga.saga.tick() == life.tick()
        assert saga.saga.heard_of.get(OWN, Told()) == life.told
    assert set(saga.saga.heard_of) <= {OWN}


def test_a_stack_tells_each_cause_in_an_episode_of_its_own() -> None:
    saga = Saga()
    found = [waiting("a", sort="commit"), waiting("b", sort="other commit"), waiting("c", sort="hand")]
    assert kinds_of(saga.check(*found)) == ["drift_found"] * 3
    assert len(set(saga.episodes)) == 3
    said = saga.check(*found[1:])
    assert [(each.kind, each.resolved) for each in said] == [(TransitionKind.RESOLVED, ("thing.a",))]


def test_what_is_changed_by_hand_leaves_the_story_of_what_waits() -> None:
    saga = Saga()
    saga.check(waiting())
    said = saga.check(waiting(value=2, sort="both"))
    assert kinds_of(said) == ["drift_found", "resolved"]
    assert saga.row().story == OWN
    assert set(saga.heard_of) == {OWN}


def flapping(saga: Saga, found: Finding) -> None:
    """Lets it come and go until that is told."""
    for _ in range(4):
        saga.check(found)
        saga.check()
    saga.check(found)
    assert saga.row().status is FindingStatus.FLAPPING


def test_one_that_comes_and_goes_leaves_its_story_when_it_is_changed_by_hand() -> None:
    """The story that it leaves is over, and does not wait for it for ever."""
    saga = Saga()
    flapping(saga, waiting())
    told = saga.check(waiting(value=2, sort="both"))
    assert sorted(kinds_of(told)) == ["drift_found", "resolved"]
    assert set(saga.heard_of) == {OWN}
    saga.check()
    saga.passes(hours=48)
    assert kinds_of(saga.check()) == ["resolved"]


def test_one_that_is_only_seen_again_keeps_its_story() -> None:
    saga = Saga()
    saga.check(waiting())
    assert saga.check(waiting(sort="upgrade")) == ()
    assert saga.row().story == f"commit:{COMMIT.id}"
    assert all(step.event == SEEN for step in [standing(saga.row())])


def test_a_finding_that_returns_begins_in_the_story_of_its_cause_of_now() -> None:
    saga = Saga()
    saga.check(waiting())
    saga.check()
    saga.check(waiting(sort="other commit"))
    assert saga.row().story == f"commit:{OTHER.id}"
    assert set(saga.heard_of) - {OWN} == {f"commit:{OTHER.id}"}


def test_what_is_said_of_the_whole_stack_is_said_once() -> None:
    said = list(
        announce_all(
            {},
            result := replace(check(waiting(), by_hand("b")), mass_deletion="gone", disagreement="otherwise"),
            advance([], result),
            DECLARATION,
        )
    )
    assert [(story, kinds_of(told)) for story, told, _ in said] == [
        (OWN, ["drift_found", "replay_disagreed"]),
        (f"commit:{COMMIT.id}", ["drift_found"]),
    ]
    assert [told[0].mass_deletion for _, told, _ in said] == ["gone", None]


def test_each_story_is_reminded_of_by_itself() -> None:
    saga = Saga()
    saga.check(waiting("a"))
    saga.passes(hours=3)
    saga.check(waiting("a"), by_hand("b"))
    saga.passes(hours=3)
    (said,) = saga.remind(timedelta(hours=5))
    assert [each.address for each in said.findings] == ["thing.a"]
    saga.passes(hours=3)
    (said,) = saga.remind(timedelta(hours=5))
    assert [each.address for each in said.findings] == ["thing.b"]


def test_announce_without_a_story_names_none() -> None:
    """Episodes that were begun before there were stories go on under their names."""
    result = check(by_hand())
    said, told = announce(Told(), result, advance([], result), DECLARATION)
    assert kinds_of(said) == ["drift_found"]
    assert told.episode == f"drift:{result.stack}:{result.started_at.isoformat()}"
