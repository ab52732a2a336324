"""Recording a check: one transaction, once, and only news is told."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.errors import FencedOffError
from driftwatch.log import register_secret
from driftwatch.model import (
    AttributeChange,
    Cause,
    FindingStatus,
    Health,
    Inputs,
    Severity,
    StackDeclaration,
    TransitionKind,
    Trigger,
    Verdict,
)
from driftwatch.store import outbox
from tests.store.samples import LEASE, START, after, declared, failure, finding, result, stack_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from driftwatch.model import Message, StackStatus
    from driftwatch.store import Store

WEB, DNS = finding("cloud_firewall.web"), finding("cloud_record.www")


def status(store: Store, number: int = 1) -> StackStatus:
    (found,) = store.stacks([str(stack_id(number))], now=after(60))
    return found


def told(store: Store) -> list[TransitionKind]:
    """What the channel hears when it takes every message at once."""
    heard: list[Message] = []
    while messages := store.due_messages(at=after(10_000), limit=100):
        for message in messages:
            store.message_sent(message.id, {"ts": str(message.id)}, at=after(10_000))
        heard += messages
    return [message.announcement.kind for message in sorted(heard, key=lambda message: message.id)]


def test_a_check_its_findings_and_its_messages_are_written_together(
    store: Store, record: Callable[..., Any]
) -> None:
    recorded = record(result(1, WEB, DNS), channels=["slack", "webhook:ops"])
    page = store.findings()
    assert [stored.finding for stored in page.items] == [DNS, WEB]
    assert {stored.status for stored in page.items} == {FindingStatus.OPEN}
    assert {stored.first_seen for stored in page.items} == {START}
    (announced,) = recorded.announcements
    assert announced.kind is TransitionKind.DRIFT_FOUND
    assert announced.check_id == recorded.check_id
    messages = store.due_messages(at=START, limit=10)
    assert [message.channel for message in messages] == ["slack", "webhook:ops"]
    assert all(message.announcement == announced for message in messages)
    assert status(store).open_findings == 2
    assert status(store).verdict is Verdict.DRIFTED


def test_a_check_that_cannot_be_written_whole_leaves_nothing(
    store: Store, record: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    record(result(1, at=START))

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(outbox, "put", broken)
    with pytest.raises(RuntimeError):
        record(result(1, WEB, at=after(1)))
    monkeypatch.undo()
    assert store.findings().items == []
    assert status(store).verdict is Verdict.IN_SYNC
    assert [item.kind for item in record(result(1, WEB, at=after(1))).announcements] == ["drift_found"]


def test_the_life_of_a_finding_is_kept_step_by_step(store: Store, record: Callable[..., Any]) -> None:
    changed = finding("cloud_firewall.web", actual=443)
    checks = [
        record(result(1, WEB, at=START)),
        record(result(1, WEB, at=after(1))),
        record(result(1, changed, at=after(2))),
        record(result(1, at=after(3))),
        record(result(1, WEB, at=after(4))),
    ]
    (stored,) = store.findings().items
    assert stored.status is FindingStatus.REOPENED
    assert (stored.first_seen, stored.last_seen) == (START, after(4))
    assert stored.resolved_at is None
    events = store.finding_events(stored.id)
    assert [event.event for event in events] == ["opened", "changed", "resolved", "reopened"]
    assert [event.check_id for event in events] == [checks[number].check_id for number in (0, 2, 3, 4)]
    assert [event.finding for event in events] == [WEB, changed, changed, WEB]
    assert told(store) == ["drift_found", "drift_changed", "resolved", "drift_found"]


def test_a_finding_that_is_gone_is_resolved_at_that_check(store: Store, record: Callable[..., Any]) -> None:
    record(result(1, WEB, DNS))
    record(result(1, DNS, at=after(5)))
    active, resolved = store.findings().items
    assert (resolved.status, resolved.resolved_at, resolved.resolution) == ("resolved", after(5), "hand")
    assert resolved.last_seen == START
    assert (active.status, active.last_seen) == ("open", after(5))
    assert status(store).open_findings == 1


def test_a_failed_check_resolves_nothing_and_leaves_what_was_last_good(
    store: Store, record: Callable[..., Any]
) -> None:
    record(result(1, WEB))
    record(failure(1, at=after(5)))
    record(failure(1, at=after(6)))
    (stored,) = store.findings().items
    assert (stored.status, stored.last_seen) == ("open", START)
    now = status(store)
    assert (now.verdict, now.checked_at, now.last_good_at) == ("error", after(6), START)
    assert (now.health, now.health_reason) == (Health.BLIND, "terraform plan failed")
    assert now.open_findings == 1
    record(result(1, WEB, at=after(7)))
    assert status(store).error is None
    assert told(store) == ["drift_found", "check_failing", "recovered"]


def test_messages_of_one_story_share_an_episode(store: Store, record: Callable[..., Any]) -> None:
    record(result(1, WEB))
    record(failure(1, at=after(1)))
    record(result(1, at=after(2)))
    anchors = {}
    while messages := store.due_messages(at=after(9), limit=9):
        message = store.whole_message(min(messages, key=lambda message: message.id), at=after(1))
        anchors[message.announcement.kind] = message.anchor
        store.message_sent(message.id, {"ts": message.announcement.kind}, at=after(9))
    assert anchors == {
        "drift_found": None,
        "check_failing": None,
        "recovered": {"ts": "check_failing"},
        "resolved": {"ts": "drift_found"},
    }


def test_the_same_result_written_again_changes_nothing(store: Store, record: Callable[..., Any]) -> None:
    first = record(result(1, WEB))
    again = record(result(1, WEB))
    assert again.check_id == first.check_id
    assert again.announcements == ()
    assert told(store) == ["drift_found"]
    (stored,) = store.findings().items
    assert len(store.finding_events(stored.id)) == 1


@pytest.mark.row(43)
def test_a_result_that_comes_after_the_stack_was_claimed_again_is_refused_whole(
    store: Store, record: Callable[..., Any]
) -> None:
    """Row 43 at the store: the late worker holds an older fencing token."""
    store.sync_stacks("platform", [declared(1)], START)
    store.enqueue(stack_id(1), Trigger.SCHEDULE, requested_by=None, at=START)
    late = store.claim("one", at=START, lease=LEASE)
    store.recover(node=None, at=after(6))
    current = store.claim("two", at=after(6), lease=LEASE)
    assert late is not None
    assert current is not None
    assert current.token > late.token
    with pytest.raises(FencedOffError, match="token 1"):
        record(result(1, WEB), job=late)
    assert store.findings().items == []
    assert not store.renew(late, at=after(6), lease=LEASE)
    record(result(1, DNS, at=after(7)), job=current)
    assert [stored.finding for stored in store.findings().items] == [DNS]


def test_the_baseline_is_that_of_the_last_check_in_sync(store: Store, record: Callable[..., Any]) -> None:
    assert store.baseline(stack_id(1)) is None
    record(result(1, inputs=Inputs(commit="a", state_serial=1)))
    record(result(1, WEB, at=after(1), inputs=Inputs(commit="b", state_serial=2)))
    assert store.baseline(stack_id(1)) == Inputs(commit="a", state_serial=1)
    record(result(1, at=after(2), inputs=Inputs(commit="c", state_serial=3)))
    assert store.baseline(stack_id(1)) == Inputs(commit="c", state_serial=3)


def test_noise_is_kept_and_not_counted(store: Store, record: Callable[..., Any]) -> None:
    noise = finding("cloud_bucket.logs", counted=False, causes=(Cause.NOISE,))
    recorded = record(result(1, noise, verdict=Verdict.IN_SYNC))
    assert recorded.announcements == ()
    assert status(store).open_findings == 0
    assert store.findings().items == []
    assert [item.finding for item in store.findings(counted=False).items] == [noise]
    assert len(store.findings(counted=None).items) == 1


def test_noise_that_begins_to_count_is_born_then(store: Store, record: Callable[..., Any]) -> None:
    record(result(1, finding(counted=False), verdict=Verdict.IN_SYNC))
    record(result(1, finding(), at=after(5)))
    (stored,) = store.findings().items
    assert (stored.status, stored.first_seen) == ("open", after(5))


def test_a_rule_that_changes_severity_alone_is_stored_and_no_event(
    store: Store, record: Callable[..., Any]
) -> None:
    record(result(1, WEB))
    record(result(1, finding("cloud_firewall.web", severity=Severity.CRITICAL), at=after(1)))
    (stored,) = store.findings().items
    assert stored.finding.severity == "critical"
    assert len(store.finding_events(stored.id)) == 1


@pytest.mark.row(68)
def test_an_errors_text_is_redacted_before_it_is_written(store: Store, record: Callable[..., Any]) -> None:
    """Row 68 at the store: the last place before the disk."""
    register_secret("hunter2-hunter2")
    record(failure(1, message="login with hunter2-hunter2 at https://bob:pw@git.example failed"))
    now = status(store)
    assert now.error is not None
    assert now.error.message == "login with [redacted] at https://[redacted]@git.example failed"
    assert "hunter2" not in repr([message.announcement for message in store.due_messages(at=START, limit=9)])


def test_text_that_no_database_takes_does_not_make_a_result_unwritable(
    store: Store, record: Callable[..., Any]
) -> None:
    odd = AttributeChange(
        path="/\ud800",
        before={"a\x00": ["\udfff", math.nan]},
        actual="\x00",
        after=math.inf,
        sensitive=False,
        cause=Cause.OUT_OF_BAND,
    )
    hostile = finding('cloud_bucket.a["\x00\ud800"]', attributes=(odd,), fingerprint="x")
    record(result(1, hostile))
    record(result(1, hostile, at=after(1)))
    (stored,) = store.findings().items
    assert (stored.status, stored.last_seen) == ("open", after(1))
    assert stored.finding.attributes[0].before == {"a\ufffd": ["\ufffd", "nan"]}


def test_a_check_of_a_stack_that_nobody_declared_declares_it(
    store: Store, record: Callable[..., Any]
) -> None:
    record(result(3, WEB))
    assert status(store, 3).owners == ("@platform",)


@pytest.mark.row(80)
def test_a_check_of_a_removed_stack_is_history_only(store: Store, record: Callable[..., Any]) -> None:
    """Row 80: the finding ended with its stack and a late check does not bring it back."""
    store.sync_stacks("platform", [declared(1)], START)
    record(result(1, WEB))
    store.sync_stacks("platform", [], after(1))
    recorded = record(result(1, WEB, DNS, at=after(2)))
    assert recorded.announcements == ()
    (stored,) = store.findings().items
    assert (stored.status, stored.resolution) == ("resolved", "stack_removed")
    assert [event.event for event in store.finding_events(stored.id)] == ["opened", "stack_removed"]


def test_a_late_result_does_not_undo_a_later_check(store: Store, record: Callable[..., Any]) -> None:
    record(result(1, at=after(5)))
    recorded = record(result(1, WEB, at=START), late=True)
    assert recorded.announcements == ()
    assert store.findings().items == []
    assert status(store).checked_at == after(5)
    record(result(1, WEB, at=after(6)), late=True)
    assert status(store).verdict is Verdict.DRIFTED


@pytest.mark.row(51)
def test_a_clock_that_went_back_does_not_mute_a_stack(store: Store, record: Callable[..., Any]) -> None:
    """Row 51 at the store."""
    record(result(1, at=after(60)))
    assert [item.kind for item in record(result(1, WEB, at=START)).announcements] == ["drift_found"]


def test_two_checks_of_one_stack_at_the_same_time_open_a_finding_once(store: Store) -> None:
    gate = threading.Barrier(4)

    def write(number: int) -> None:
        gate.wait()
        store.record_check(
            result(1, WEB, DNS, at=after(number)),
            declaration=StackDeclaration(id=stack_id(1)),
            channels=["slack"],
        )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert len(store.findings().items) == 2
    assert told(store) == ["drift_found"]


def test_findings_come_in_pages_and_by_glob(store: Store, record: Callable[..., Any]) -> None:
    """The newest first: that is what somebody who was just alerted looks for."""
    for number in range(1, 6):
        record(result(number, finding(f"cloud_bucket.b{number}")))
    first = store.findings(limit=2)
    assert [stored.stack for stored in first.items] == [stack_id(5), stack_id(4)]
    assert first.next == first.items[-1].id
    rest = store.findings(limit=10, after=first.next)
    assert [stored.stack for stored in rest.items] == [stack_id(3), stack_id(2), stack_id(1)]
    assert rest.next is None
    assert len(store.findings(stack="platform/*/s00[23]").items) == 2
    assert store.findings(stack="other/*").items == []
    assert store.findings(statuses=[FindingStatus.RESOLVED]).items == []
    assert store.finding(first.items[0].id) == first.items[0]
    assert store.finding(10_000) is None
