"""What people and the time do to findings: one transaction each, on the record, and told where it is news."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.drift import Accept, Acknowledge, Flapping, Press, Refused, Reopen, Snooze
from driftwatch.errors import FencedOffError
from driftwatch.log import register_secret
from driftwatch.model import (
    FindingKind,
    FindingStatus,
    Health,
    Inputs,
    Resolution,
    StackDeclaration,
    Suspension,
    TransitionKind,
    Trigger,
)
from driftwatch.store import Acted, Store
from tests.store.samples import LEASE, START, after, declared, failure, finding, result, stack_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from driftwatch.model import Announcement, StoredFinding
    from tests.store.conftest import Place

WEB, DNS = finding("cloud_firewall.web"), finding("cloud_record.www")
CHANNELS = ["slack", "webhook:ops"]


def press(store: Store, action: Any, *, at: datetime = START, number: int = 1, **words: Any) -> StoredFinding:
    acted = store.act(number, Press(action=action, at=at, **{"actor": "alice", "reason": "agreed", **words}))
    assert isinstance(acted, Acted), acted
    return acted.finding


def kinds(said: Sequence[Announcement]) -> list[TransitionKind]:
    return [announcement.kind for announcement in said]


def open_findings(store: Store, number: int = 1) -> int:
    (found,) = store.stacks([str(stack_id(number))], now=START)
    return found.open_findings


def test_a_press_is_written_with_who_when_and_why(store: Store, record: Callable[..., Any]) -> None:
    record(result(1, WEB, DNS))
    assert press(store, Acknowledge(), at=after(1)).status is FindingStatus.ACKNOWLEDGED
    assert open_findings(store) == 2
    assert press(store, Snooze(until=after(60)), at=after(2), reason=None).until == after(60)
    assert open_findings(store) == 1
    accepted = press(store, Accept(owner="@net", expires=after(90)), at=after(3), actor="bob")
    assert accepted.acceptance is not None
    assert (accepted.acceptance.by, accepted.acceptance.owner) == ("bob", "@net")
    assert store.finding(1) == accepted
    press(store, Reopen(), at=after(4))
    assert open_findings(store) == 2
    assert [
        (event.event.value, event.at, event.actor, event.reason, event.until, event.check_id)
        for event in store.finding_events(1)[1:]
    ] == [
        ("acknowledged", after(1), "alice", "agreed", None, None),
        ("snoozed", after(2), "alice", None, after(60), None),
        ("accepted", after(3), "bob", "agreed", after(90), None),
        ("reopened", after(4), "alice", "agreed", None, None),
    ]
    assert store.finding_events(1)[0].actor == "driftwatch"


def test_what_cannot_be_changes_nothing(store: Store, record: Callable[..., Any]) -> None:
    record(result(1, WEB))
    assert store.act(99, Press(action=Acknowledge(), actor="alice", at=START)) is None
    refused = store.act(1, Press(action=Reopen(), actor="alice", at=START))
    assert isinstance(refused, Refused)
    assert len(store.finding_events(1)) == 1
    store.sync_stacks("platform", [], after(1))
    refused = store.act(1, Press(action=Acknowledge(), actor="alice", at=after(2)))
    assert isinstance(refused, Refused)
    assert refused.sentence == "finding 1 is resolved (stack_removed): there is nothing to do"


@pytest.mark.row(68)
def test_a_reason_is_redacted_and_can_always_be_written(store: Store, record: Callable[..., Any]) -> None:
    """Row 68 at the store: people paste what they should not."""
    register_secret("hunter2-hunter2")
    record(result(1, WEB))
    found = press(store, Accept(), reason="see hunter2-hunter2 \x00\ud800")
    assert found.acceptance is not None
    assert found.acceptance.reason == "see [redacted] \ufffd"
    assert store.finding_events(1)[-1].reason == "see [redacted] \ufffd"


def test_what_is_accepted_is_no_news_until_it_changes(store: Store, record: Callable[..., Any]) -> None:
    record(result(1, WEB))
    press(store, Accept(expires=after(600)))
    assert record(result(1, WEB, at=after(1))).announcements == ()
    assert open_findings(store) == 0
    changed = finding("cloud_firewall.web", actual=443)
    (said,) = record(result(1, changed, at=after(2))).announcements
    assert (said.kind, said.opened, said.total) == ("drift_changed", ("cloud_firewall.web",), 1)
    (stored,) = store.findings().items
    assert (stored.status, stored.until) == (FindingStatus.REOPENED, None)
    assert store.finding_events(1)[-1].reason == "what differs is not what was accepted"
    assert open_findings(store) == 1


def test_a_deletion_comes_through_whatever_was_said(store: Store, record: Callable[..., Any]) -> None:
    record(result(1, WEB, DNS))
    press(store, Accept())
    press(store, Snooze(until=after(600)), number=2)
    gone = [
        finding(each.address, kind=FindingKind.DELETED, attributes=(), fingerprint=f"{each.address} gone")
        for each in (WEB, DNS)
    ]
    (said,) = record(result(1, *gone, at=after(1))).announcements
    assert (said.kind, set(said.opened), said.total) == ("drift_changed", {WEB.address, DNS.address}, 2)
    assert open_findings(store) == 2


def test_what_was_put_aside_comes_back_at_its_time_and_is_told(
    store: Store, record: Callable[..., Any]
) -> None:
    record(result(1, WEB))
    record(result(2, DNS))
    record(result(3, finding("cloud_bucket.b")))
    press(store, Snooze(until=after(10)))
    press(store, Accept(expires=after(10)), number=2)
    press(store, Snooze(until=after(99)), number=3)
    assert store.reopen_ended(at=after(9), channels=CHANNELS) == []
    sent = len(store.due_messages(at=after(9), limit=99))
    said = store.reopen_ended(at=after(10), channels=CHANNELS)
    assert [(each.stack, each.kind, each.total) for each in said] == [
        (str(stack_id(1)), "drift_changed", 1),
        (str(stack_id(2)), "drift_changed", 1),
    ]
    assert store.reopen_ended(at=after(11), channels=CHANNELS) == []
    assert store.outbox_depth()["waiting"] == sent + len(said) * len(CHANNELS)
    assert [item.status.value for item in store.findings().items] == ["snoozed", "reopened", "reopened"]
    assert open_findings(store) == 1
    assert store.finding_events(2)[-1].reason == "the acceptance expired"
    assert record(result(1, WEB, at=after(12))).announcements == ()


def test_a_snooze_ends_for_a_stack_whose_checks_fail(store: Store, record: Callable[..., Any]) -> None:
    record(result(1, WEB))
    press(store, Snooze(until=after(10)))
    record(failure(1, at=after(5)))
    (said,) = store.reopen_ended(at=after(10), channels=CHANNELS)
    assert (said.kind, said.opened, said.verdict) == ("drift_changed", (WEB.address,), "error")


@pytest.mark.row(43)
def test_a_late_worker_moves_nothing_that_a_person_said(store: Store, record: Callable[..., Any]) -> None:
    """Row 43 at the store: what it saw is refused whole."""
    record(result(1, WEB))
    press(store, Accept())
    store.enqueue(stack_id(1), Trigger.SCHEDULE, requested_by=None, at=START)
    late = store.claim("one", at=START, lease=LEASE)
    store.recover(node=None, at=after(6))
    store.claim("two", at=after(6), lease=LEASE)
    with pytest.raises(FencedOffError):
        record(result(1, finding(WEB.address, actual=1)), job=late)
    assert [item.status.value for item in store.findings().items] == ["accepted"]


def test_of_several_who_press_at_once_one_is_first(store: Store, record: Callable[..., Any]) -> None:
    record(result(1, WEB))
    gate = threading.Barrier(4)

    def hurry(number: int) -> object:
        gate.wait()
        return store.act(1, Press(action=Acknowledge(), actor=f"p{number}", at=after(number)))

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(hurry, range(4)))
    assert sum(isinstance(answer, Acted) for answer in answers) == 1
    assert len(store.finding_events(1)) == 2


def test_a_press_and_a_check_at_once_both_count(store: Store, record: Callable[..., Any]) -> None:
    """Whichever comes first: the row ends as both would have it, one after the other."""
    for number in range(1, 9):
        record(result(number, WEB))
    gate = threading.Barrier(2)

    def check() -> None:
        gate.wait()
        for number in range(1, 9):
            record(result(number, WEB, at=after(1)))

    def accept() -> None:
        gate.wait()
        for number in range(1, 9):
            press(store, Accept(), at=after(1), number=number)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(check), pool.submit(accept)]:
            done.result()
    assert {item.status.value for item in store.findings().items} == {"accepted"}
    assert {item.last_seen for item in store.findings().items} == {after(1)}
    assert {open_findings(store, number) for number in range(1, 9)} == {0}


def test_how_long_it_took_and_by_what_it_ended(store: Store, record: Callable[..., Any]) -> None:
    record(result(1))
    record(failure(1, at=after(5)))
    record(result(1, WEB, at=after(10)))
    record(result(1, WEB, at=after(20)))
    record(result(1, at=after(30), inputs=Inputs(commit="c0ffee", state_serial=8)))
    (stored,) = store.findings().items
    assert (stored.time_to_detect, stored.time_to_resolve) == (
        timedelta(minutes=10),
        timedelta(minutes=20),
    )
    assert stored.resolution is Resolution.REPAIR
    record(result(1, WEB, at=after(60)))
    (stored,) = store.findings().items
    assert (stored.first_seen, stored.opened_at, stored.clean_at) == (after(10), after(60), after(30))
    assert (stored.time_to_detect, stored.time_to_resolve) == (timedelta(minutes=30), None)


def test_one_that_comes_and_goes_by_the_configured_measure(place: Place) -> None:
    store = Store.open(
        state_dir=place.state_dir,
        database=place.database,
        flapping=Flapping(turns=2, within=timedelta(minutes=30)),
    )
    told = []
    for minute in range(0, 12, 2):
        for check in (result(1, WEB, at=after(minute)), result(1, at=after(minute + 1))):
            recorded = store.record_check(check, declaration=declared(1), channels=["slack"])
            told += kinds(recorded.announcements)
    assert told == ["drift_found", "resolved", "drift_found", "resolved", "drift_found"]
    (stored,) = store.findings().items
    assert (stored.status, stored.flapping_since) == (FindingStatus.RESOLVED, after(4))
    recorded = store.record_check(result(1, at=after(60)), declaration=declared(1), channels=["slack"])
    assert kinds(recorded.announcements) == ["resolved"]
    assert [event.event.value for event in store.finding_events(1)][-1] == "settled"
    store.close()


# ---- the detector --------------------------------------------------------------------------------------


def stale(store: Store, at: datetime, *, since: datetime = START) -> list[tuple[str, str]]:
    said = store.tell_stale(at=at, since=since, fallback=timedelta(minutes=45), channels=CHANNELS)
    assert {each.kind for each in said} <= {TransitionKind.STALE}
    return [(each.stack, each.error.message if each.error else "") for each in said]


def test_a_stack_that_goes_stale_is_told_once_and_when_it_is_watched_again(
    store: Store, record: Callable[..., Any]
) -> None:
    record(result(1, WEB))
    record(result(2, at=after(30)))
    assert stale(store, after(45)) == []
    name = str(stack_id(1))
    assert stale(store, after(46)) == [(name, "no good check for 46m, allowed are 45m")]
    assert stale(store, after(47)) == []
    assert kinds(record(result(1, WEB, at=after(50))).announcements) == ["recovered"]
    assert stale(store, after(60)) == []
    assert [each[0] for each in stale(store, after(96))] == [name, str(stack_id(2))]


def test_failing_checks_are_no_good_checks(store: Store, record: Callable[..., Any]) -> None:
    """Both are told: that it fails, at once, and that nobody knows any more, when it has lasted."""
    record(result(1))
    assert kinds(record(failure(1, at=after(40))).announcements) == ["check_failing"]
    ((_, said),) = stale(store, after(50))
    assert said == "no good check for 50m, allowed are 45m; the latest one failed: terraform plan failed"
    assert record(failure(1, at=after(55))).announcements == ()
    assert kinds(record(result(1, at=after(56))).announcements) == ["recovered"]
    story = []
    while messages := [each for each in store.due_messages(at=after(60), limit=9) if each.channel == "slack"]:
        story += messages
        store.message_sent(messages[0].id, {"ts": "1"}, at=after(60))
    assert [each.announcement.kind for each in story] == ["check_failing", "stale", "recovered"]
    assert len({each.episode for each in story}) == 1


def test_a_stack_that_was_never_checked_goes_stale_too(store: Store) -> None:
    store.sync_stacks("platform", [declared(1)], START)
    assert stale(store, after(40)) == []
    ((_, said),) = stale(store, after(50))
    assert said == "not checked yet, allowed are 45m"


def test_what_nobody_could_look_at_is_no_alarm(store: Store, record: Callable[..., Any]) -> None:
    """The daemon was away for a day: it looks first. What is shown says all the same that it is old."""
    record(result(1))
    assert stale(store, after(1440), since=after(1430)) == []
    (shown,) = store.stacks(now=after(1440), allowed_age=lambda _: timedelta(minutes=45))
    assert (shown.health, shown.health_reason) == (Health.STALE, "no good check for 1d, allowed are 45m")
    assert len(stale(store, after(1480), since=after(1430))) == 1


def test_a_removed_stack_is_left_alone_and_a_suspended_one_is_not(store: Store) -> None:
    """Suspended is what is applied, and not what is looked at."""
    store.sync_stacks("platform", [declared(1), declared(2)], START)
    store.suspend(Suspension(scope="*", by="ann", at=START, reason="a freeze"))
    store.sync_stacks("platform", [declared(1)], after(1))
    assert [each[0] for each in stale(store, after(500))] == [str(stack_id(1))]


def test_nobody_is_reminded_of_a_suspended_stack(store: Store, record: Callable[..., Any]) -> None:
    """Somebody looks after it. When the suspension is over, there is a reminder again."""
    record(result(1, WEB))
    day = timedelta(days=1)
    store.suspend(Suspension(scope="platform", by="ann", at=START, reason="a freeze", until=START + 2 * day))
    assert store.remind(at=START + day, after=day, channels=["slack"]) == []
    (said,) = store.remind(at=START + 2 * day, after=day, channels=["slack"])
    assert said.kind is TransitionKind.REMINDER


def test_the_allowed_age_is_the_one_that_was_noted(store: Store, record: Callable[..., Any]) -> None:
    record(result(1))
    record(result(2))
    store.allow_ages({stack_id(1): timedelta(hours=12), stack_id(9): timedelta(hours=1)})
    assert [each[0] for each in stale(store, after(60))] == [str(stack_id(2))]
    first, second = store.stacks(now=after(60), allowed_age=lambda _: timedelta(minutes=5))
    assert (first.health, second.health) == (Health.FRESH, Health.STALE)
    assert len(stale(store, after(721))) == 1
    store.sync_stacks("platform", [declared(2)], after(722))
    store.sync_stacks("platform", [declared(1), declared(2)], after(723))
    assert stale(store, after(769)) != [], "one that comes back starts anew"


def test_reminders_come_when_nothing_was_said_for_long(store: Store, record: Callable[..., Any]) -> None:
    record(result(1, WEB))
    record(result(2, DNS))
    press(store, Acknowledge(), number=2)
    day = timedelta(days=1)

    def remind(minutes: float) -> list[tuple[str, TransitionKind]]:
        said = store.remind(at=after(minutes), after=day, channels=CHANNELS)
        return [(each.stack, each.kind) for each in said]

    assert remind(1400) == []
    assert remind(1440) == [(str(stack_id(1)), TransitionKind.REMINDER)]
    assert remind(1500) == []
    record(result(1, WEB, DNS, at=after(2000)))
    assert remind(2900) == [], "it was spoken of in between"
    assert remind(3500) == [(str(stack_id(1)), TransitionKind.REMINDER)]
    record(result(1, at=after(3501)))
    assert remind(9999) == []


def test_nothing_is_told_where_nobody_listens(store: Store, record: Callable[..., Any]) -> None:
    """Without channels the story goes on all the same, so that a channel added later joins it."""
    record(result(1, WEB), channels=[])
    press(store, Snooze(until=after(5)))
    assert len(store.reopen_ended(at=after(6), channels=[])) == 1
    assert store.due_messages(at=after(99), limit=9) == []


def test_a_store_is_opened_again_with_all_of_it(place: Place, tmp_path: Path) -> None:
    first = place.open()
    declaration = StackDeclaration(id=stack_id(1))
    first.record_check(result(1, WEB), declaration=declaration, channels=[])
    said = press(first, Accept(owner="@net", expires=after(9)))
    first.close()
    second = place.open()
    assert second.finding(1) == said
    second.close()
