"""The channel over both forges, by HTTP: what people find in the tracker, whatever goes wrong on the way."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from driftwatch.model import (
    Announcement,
    AttributeChange,
    Cause,
    Finding,
    FindingKind,
    Incident,
    IncidentLine,
    Message,
    Severity,
    TransitionKind,
    Trigger,
    Verdict,
)
from driftwatch.notify.channel import DeliveryDeferred
from driftwatch.notify.issues import IssuesChannel

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def a_finding(address: str, value: str) -> Finding:
    change = AttributeChange(
        path="/tags", before="", actual=value, after="", sensitive=False, cause=Cause.OUT_OF_BAND
    )
    return Finding(
        address=address,
        type="aws_sqs_queue",
        kind=FindingKind.MODIFIED,
        action="update",
        causes=(Cause.OUT_OF_BAND,),
        severity=Severity.HIGH,
        fingerprint="fp",
        counted=True,
        attributes=(change,),
    )


def told(
    kind: TransitionKind = TransitionKind.DRIFT_FOUND, *, name: str = "network", value: str = "x"
) -> Announcement:
    over = kind is TransitionKind.RESOLVED
    return Announcement(
        kind=kind,
        stack=f"platform/{name}",
        verdict=Verdict.IN_SYNC if over else Verdict.DRIFTED,
        commit="0123456789abcdef",
        trigger=Trigger.SCHEDULE,
        at=NOON,
        findings=() if over else (a_finding(f"aws_sqs_queue.{name}", value),),
        total=0 if over else 1,
        owners=("@platform",),
    )


def a_message(*announcements: Announcement, thread: str = "incident:7", **other: Any) -> Message:
    """Of these announcements, the last of which says how things stand."""
    now = IncidentLine(announcement=announcements[-1], over=announcements[-1].kind.is_end)
    incident = Incident(
        id=7,
        title=None,
        opened_at=NOON,
        closed_at=None,
        lines=(now,),
        total=1,
        open=int(not now.over),
        seen="s",
    )
    message = Message(
        id=1,
        channel="github:infra",
        dedupe_key="k",
        episode="e",
        announcement=announcements[0],
        more=announcements[1:],
        attempts=0,
        created_at=NOON,
        thread=thread,
        incident=incident,
    )
    return replace(message, **other)


@pytest.fixture
def channel(forge: Any) -> IssuesChannel:
    return IssuesChannel("github:infra", forge.tracker(), labels=("drift",), most_open=3)


def test_an_incident_is_one_issue_from_its_beginning_to_its_end_and_back(
    forge: Any, channel: IssuesChannel
) -> None:
    receipt = channel.deliver(a_message(told()))
    issue = forge.issues[1]
    assert receipt == {"issue": "1"}
    assert issue.title == "platform/network: drifted, 1 finding"
    assert "aws_sqs_queue.network" in issue.body
    assert issue.labels == ["drift"]

    channel.deliver(a_message(told(TransitionKind.DRIFT_CHANGED, value="y"), anchor=receipt))
    assert '`"y"` → `""`' in issue.body
    assert issue.open

    channel.deliver(a_message(told(TransitionKind.REMINDER), told(TransitionKind.RESOLVED), anchor=receipt))
    assert issue.title == "platform/network: resolved"
    assert not issue.open

    channel.deliver(a_message(told(), anchor=receipt))
    assert issue.open
    assert len(issue.comments) == 3
    assert issue.comments[1].count("- `platform/network`") == 2
    assert len(forge.issues) == 1


@pytest.mark.parametrize("fault", ["lost", "reset", "half"])
def test_an_issue_whose_opening_got_no_answer_is_there_once(
    forge: Any, channel: IssuesChannel, a_reply: Any, fault: str
) -> None:
    forge.then(a_reply(body=[]), a_reply(fault=fault, body={}))
    with pytest.raises(DeliveryDeferred):
        channel.deliver(a_message(told()))

    receipt = channel.deliver(a_message(told(), attempts=1))

    assert receipt == {"issue": "1"}
    assert len(forge.issues) == 1


def test_an_answer_that_comes_too_late_opens_no_second_issue(forge: Any, a_reply: Any) -> None:
    channel = IssuesChannel("github:infra", forge.tracker(timeout=1), labels=("drift",), most_open=3)
    forge.then(a_reply(body=[]), a_reply(fault="late"))
    with pytest.raises(DeliveryDeferred, match="cannot be reached"):
        channel.deliver(a_message(told()))
    assert len(forge.issues) == 1

    assert channel.deliver(a_message(told(), attempts=1)) == {"issue": "1"}
    assert len(forge.issues) == 1


def test_a_comment_that_could_not_be_written_is_written_with_the_next_attempt(
    forge: Any, channel: IssuesChannel, a_reply: Any
) -> None:
    receipt = channel.deliver(a_message(told()))
    forge.then(a_reply(status=502, body=b""))
    again = a_message(told(TransitionKind.DRIFT_CHANGED), anchor=receipt)
    with pytest.raises(DeliveryDeferred):
        channel.deliver(again)

    channel.deliver(replace(again, attempts=1))

    assert len(forge.issues[1].comments) == 1


def test_a_deleted_issue_has_a_successor_that_outlives_a_restart(forge: Any, channel: IssuesChannel) -> None:
    receipt = channel.deliver(a_message(told()))
    forge.issues[1].deleted = True

    assert channel.deliver(a_message(told(TransitionKind.DRIFT_CHANGED), anchor=receipt)) == {"issue": "2"}
    restarted = IssuesChannel("github:infra", forge.tracker(), labels=("drift",), most_open=3)
    assert restarted.deliver(a_message(told(TransitionKind.RESOLVED), anchor=receipt)) == {"issue": "2"}

    assert len(forge.issues) == 2
    assert not forge.issues[2].open


def test_a_repository_without_issues_waits_for_a_person_and_not_for_ever_anew(
    forge: Any, channel: IssuesChannel
) -> None:
    """Its 410 looks like that of a deleted issue."""
    forge.then(*[forge.no(410, "Issues are disabled for this repo") for _ in range(9)])

    with pytest.raises(DeliveryDeferred, match="Issues are disabled") as caught:
        channel.deliver(a_message(told(), anchor={"issue": "1"}))

    assert caught.value.retry_after == 3600
    assert "Switch issues on" in str(caught.value.advice)
    assert len(forge.calls) == 2


def test_a_limit_is_waited_for_as_long_as_the_forge_asks(forge: Any, channel: IssuesChannel) -> None:
    limit = forge.no(403, "You have exceeded a secondary rate limit")
    limit.headers = {"Retry-After": "120"}
    forge.then(limit)

    with pytest.raises(DeliveryDeferred, match="slow down") as caught:
        channel.deliver(a_message(told()))

    assert caught.value.retry_after == 120
    assert caught.value.whole_channel


def test_no_more_are_opened_than_may_be_open(forge: Any, channel: IssuesChannel) -> None:
    for number in range(3):
        channel.deliver(a_message(told(name=f"s{number}"), thread=f"incident:{number}"))
    waiting = a_message(told(name="late"), thread="incident:99")
    with pytest.raises(DeliveryDeferred, match="3 issues"):
        channel.deliver(waiting)

    forge.issues[2].open = False

    assert channel.deliver(waiting) == {"issue": "4"}


def test_ten_thousand_lines_of_megabytes_are_taken(forge: Any, channel: IssuesChannel) -> None:
    large = told(value="@octocat " * 600_000)
    incident = Incident(
        id=7,
        title="the same change by hand",
        opened_at=NOON,
        closed_at=None,
        lines=(IncidentLine(announcement=large, over=False),) * 10_000,
        total=10_000,
        open=10_000,
        seen="s",
    )

    channel.deliver(a_message(large, incident=incident))
    channel.deliver(a_message(*[large] * 10_000, incident=incident, anchor={"issue": "1"}))

    assert len(forge.issues[1].body) <= 60_000
    assert len(forge.issues[1].comments[0]) <= 20_000
    assert "open in 10,000 of 10,000 stacks" in forge.issues[1].title


@pytest.mark.parametrize("status", [201, 401, 403, 404, 410, 422, 429, 500])
def test_the_token_is_in_no_deferral_and_no_log(
    forge: Any,
    channel: IssuesChannel,
    token: str,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    status: int,
) -> None:
    caplog.set_level(logging.DEBUG)
    forge.then(forge.no(status, f"What a token: {token}"))

    with pytest.raises(DeliveryDeferred) as caught:
        channel.deliver(a_message(told()))

    shown = capsys.readouterr()
    error: BaseException | None = caught.value
    while error:
        assert token not in f"{error}{error!r}"
        error = error.__cause__
    assert token not in caplog.text + repr(channel) + shown.out + shown.err
