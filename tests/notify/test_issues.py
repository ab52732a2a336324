"""When an issue is opened, updated, closed and re-opened, and what becomes of a forge's troubles."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.errors import ForgeRefusedError, ForgeUnavailableError, UsageError
from driftwatch.model import TransitionKind
from driftwatch.notify.channel import PERSON_NEEDED_SECONDS, DeliveryDeferred
from driftwatch.notify.issues import IssuesChannel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from driftwatch.model import Announcement, Incident, Message

ANCHOR = {"issue": "1"}


@dataclass
class Issue:
    title: str
    body: str
    labels: tuple[str, ...]
    open: bool = True
    comments: list[str] = field(default_factory=list)


@dataclass
class MemoryTracker:
    """Issues in memory. `script` holds an error for each of the next calls, or None; `lost` ones are done."""

    issues: dict[str, Issue] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    script: deque[Exception | None] = field(default_factory=deque)
    lost: bool = False

    def open(self, title: str, body: str, labels: Sequence[str]) -> str:
        lost = self._lost("open")
        reference = str(len(self.issues) + 1)
        self.issues[reference] = Issue(title, body, tuple(labels))
        if lost:
            raise lost
        return reference

    def edit(self, reference: str, title: str, body: str, *, closed: bool | None) -> None:
        self._ask(f"edit {reference}")
        issue = self._issue(reference)
        issue.title, issue.body = title, body
        issue.open = issue.open if closed is None else not closed

    def comment(self, reference: str, body: str) -> None:
        self._ask(f"comment {reference}")
        self._issue(reference).comments.append(body)

    def count_open(self, labels: Sequence[str], at_most: int) -> int:
        self._ask("count")
        count = sum(issue.open and set(labels) <= set(issue.labels) for issue in self.issues.values())
        return min(count, at_most)

    def find(self, mark: str, labels: Sequence[str]) -> str | None:
        self._ask("find")
        for reference, issue in reversed(self.issues.items()):
            if issue.body.startswith(mark) and set(labels) <= set(issue.labels):
                return reference
        return None

    def _issue(self, reference: str) -> Issue:
        if reference not in self.issues:
            raise ForgeRefusedError("answered 404", status=404)
        return self.issues[reference]

    def _ask(self, what: str) -> None:
        if error := self._lost(what):
            raise error

    def _lost(self, what: str) -> Exception | None:
        self.asked.append(what)
        error = self.script.popleft() if self.script else None
        if error and not self.lost:
            raise error
        return error


@pytest.fixture
def tracker() -> MemoryTracker:
    return MemoryTracker()


@pytest.fixture
def channel(tracker: MemoryTracker) -> IssuesChannel:
    return IssuesChannel("github:infra", tracker, labels=("drift",), most_open=3)


@pytest.fixture
def told(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    an_incident: Callable[..., Incident],
) -> Callable[..., Message]:
    """A message of one announcement of this kind, in an incident of one stack that stands as it says."""

    def tell(kind: TransitionKind = TransitionKind.DRIFT_FOUND, id: int = 1, **other: Any) -> Message:  # noqa: A002  (the model's)
        announcement = an_announcement(kind)
        given: dict[str, Any] = {"thread": "incident:7", "incident": an_incident(announcement)}
        return a_message(id, announcement, **given | other)

    return tell


def later(message: Message, **other: Any) -> Message:
    return replace(message, anchor=ANCHOR, **other)


# An incident's life.


def test_the_first_message_opens_an_issue_and_its_number_is_the_receipt(
    channel: IssuesChannel, tracker: MemoryTracker, told: Callable[..., Message]
) -> None:
    assert channel.deliver(told()) == {"issue": "1"}

    issue = tracker.issues["1"]
    assert issue.title == "platform/envs/prod/network: drifted, 1 finding"
    assert issue.body.startswith("<!-- driftwatch:")
    assert issue.labels == ("drift",)
    assert issue.open
    assert issue.comments == []
    assert tracker.asked == ["count", "open"]


def test_a_later_message_updates_the_issue_and_adds_one_comment_for_all(
    channel: IssuesChannel,
    tracker: MemoryTracker,
    told: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
) -> None:
    channel.deliver(told())
    more = (
        an_announcement(TransitionKind.REMINDER),
        an_announcement(TransitionKind.HANDLED, said="Ada: mine"),
    )

    receipt = channel.deliver(later(told(TransitionKind.DRIFT_CHANGED, 2), more=more))

    assert receipt == {"issue": "1"}
    assert tracker.asked[2:] == ["edit 1", "comment 1"]
    (comment,) = tracker.issues["1"].comments
    assert comment.count("- `platform/envs/prod/network`") == 3
    assert "`Ada: mine`" in comment


def test_the_end_of_an_incident_closes_the_issue_and_its_return_reopens_it(
    channel: IssuesChannel, tracker: MemoryTracker, told: Callable[..., Message]
) -> None:
    channel.deliver(told())

    channel.deliver(later(told(TransitionKind.RESOLVED, 2)))
    assert not tracker.issues["1"].open
    assert "resolved" in tracker.issues["1"].title

    channel.deliver(later(told(TransitionKind.DRIFT_FOUND, 3)))
    assert tracker.issues["1"].open
    assert len(tracker.issues["1"].comments) == 2


def test_one_stack_of_several_that_is_over_does_not_close_the_issue(
    channel: IssuesChannel,
    tracker: MemoryTracker,
    told: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    an_incident: Callable[..., Incident],
) -> None:
    channel.deliver(told())
    over = an_announcement(TransitionKind.RESOLVED)
    incident = an_incident(an_announcement(stack="platform/other"), over)

    channel.deliver(later(told(TransitionKind.RESOLVED, 2), incident=incident))

    assert tracker.issues["1"].open


@pytest.mark.parametrize(
    "kind",
    [TransitionKind.DRIFT_CHANGED, TransitionKind.REMINDER, TransitionKind.HANDLED, TransitionKind.STALE],
)
def test_what_a_person_closed_stays_closed_and_is_kept_up_to_date(
    channel: IssuesChannel, tracker: MemoryTracker, told: Callable[..., Message], kind: TransitionKind
) -> None:
    channel.deliver(told())
    tracker.issues["1"].open = False

    channel.deliver(later(told(kind, 2)))

    assert not tracker.issues["1"].open
    assert len(tracker.issues["1"].comments) == 1


@pytest.mark.parametrize("kind", [TransitionKind.DRIFT_FOUND, TransitionKind.CHECK_FAILING])
def test_something_that_begins_again_reopens_also_where_it_waits_behind_another(
    channel: IssuesChannel,
    tracker: MemoryTracker,
    told: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    kind: TransitionKind,
) -> None:
    channel.deliver(told())
    tracker.issues["1"].open = False

    channel.deliver(later(told(TransitionKind.REMINDER, 2), more=(an_announcement(kind),)))

    assert tracker.issues["1"].open


def test_an_incident_that_was_over_before_it_could_be_told_leaves_a_closed_issue(
    channel: IssuesChannel,
    tracker: MemoryTracker,
    told: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    an_incident: Callable[..., Incident],
) -> None:
    resolved = an_announcement(TransitionKind.RESOLVED)

    channel.deliver(told(more=(resolved,), incident=an_incident(resolved)))

    assert not tracker.issues["1"].open
    assert "resolved" in tracker.issues["1"].body


def test_a_message_without_an_incident_goes_by_what_it_tells(
    channel: IssuesChannel, tracker: MemoryTracker, told: Callable[..., Message]
) -> None:
    channel.deliver(told(incident=None))
    channel.deliver(later(told(TransitionKind.REMINDER, 2, incident=None)))
    assert tracker.issues["1"].open

    channel.deliver(later(told(TransitionKind.RESOLVED, 3, incident=None)))
    assert not tracker.issues["1"].open


def test_an_anchor_of_another_kind_is_none(
    channel: IssuesChannel, tracker: MemoryTracker, told: Callable[..., Message]
) -> None:
    assert channel.deliver(replace(told(), anchor={"ts": "1"})) == {"issue": "1"}
    assert tracker.asked == ["count", "open"]


# Lost answers and deleted issues.


def test_a_lost_answer_opens_no_second_issue(
    channel: IssuesChannel, tracker: MemoryTracker, told: Callable[..., Message]
) -> None:
    tracker.lost = True
    tracker.script.extend([None, ForgeUnavailableError("no answer")])
    with pytest.raises(DeliveryDeferred):
        channel.deliver(told())
    assert len(tracker.issues) == 1

    receipt = channel.deliver(told(attempts=1))

    assert receipt == {"issue": "1"}
    assert len(tracker.issues) == 1
    assert tracker.issues["1"].comments == []
    assert tracker.asked == ["count", "open", "find", "edit 1"]


def test_an_issue_found_again_is_brought_up_to_date(
    channel: IssuesChannel,
    tracker: MemoryTracker,
    told: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    an_incident: Callable[..., Incident],
) -> None:
    channel.deliver(told())
    resolved = an_announcement(TransitionKind.RESOLVED)

    channel.deliver(told(attempts=3, more=(resolved,), incident=an_incident(resolved)))

    assert "resolved" in tracker.issues["1"].title
    assert not tracker.issues["1"].open


def test_a_first_attempt_looks_for_nothing_and_a_second_opens_what_is_not_there(
    channel: IssuesChannel, tracker: MemoryTracker, told: Callable[..., Message]
) -> None:
    channel.deliver(told(attempts=1))

    assert tracker.asked == ["find", "count", "open"]


def test_marks_tell_incidents_and_channels_apart(
    tracker: MemoryTracker, told: Callable[..., Message]
) -> None:
    one = IssuesChannel("github:infra", tracker, labels=(), most_open=9)
    other = IssuesChannel("github:security", tracker, labels=(), most_open=9)

    one.deliver(told())
    other.deliver(told(attempts=1))
    one.deliver(told(attempts=1, thread="incident:8"))
    one.deliver(told(attempts=1, thread="", dedupe_key="a"))
    one.deliver(told(attempts=1, thread="", dedupe_key="b"))

    assert len(tracker.issues) == 5
    assert len({issue.body.splitlines()[0] for issue in tracker.issues.values()}) == 5


def test_no_thread_gets_out_of_the_mark(
    channel: IssuesChannel, tracker: MemoryTracker, told: Callable[..., Message]
) -> None:
    channel.deliver(told(thread="--> @octocat \ud800"))

    assert "octocat" not in tracker.issues["1"].body


@pytest.mark.parametrize("status", [404, 410])
def test_where_the_issue_was_deleted_another_is_opened_and_used_from_then_on(
    channel: IssuesChannel, tracker: MemoryTracker, told: Callable[..., Message], status: int
) -> None:
    channel.deliver(told())
    tracker.asked.clear()
    tracker.issues["1"].body = "gone"
    tracker.script.append(ForgeRefusedError("gone", status=status))

    assert channel.deliver(later(told(TransitionKind.DRIFT_CHANGED, 2))) == {"issue": "2"}
    # The outbox goes on naming the first receipt.
    assert channel.deliver(later(told(TransitionKind.REMINDER, 3))) == {"issue": "2"}

    assert tracker.asked == ["edit 1", "find", "count", "open", "edit 2", "comment 2"]
    assert len(tracker.issues["2"].comments) == 1


def test_after_a_restart_the_issue_that_took_its_place_is_found_and_told(
    channel: IssuesChannel, tracker: MemoryTracker, told: Callable[..., Message]
) -> None:
    channel.deliver(told())
    tracker.issues["2"] = tracker.issues.pop("1")
    restarted = IssuesChannel("github:infra", tracker, labels=("drift",), most_open=3)

    assert restarted.deliver(later(told(TransitionKind.DRIFT_CHANGED, 2))) == {"issue": "2"}

    assert list(tracker.issues) == ["2"]
    assert len(tracker.issues["2"].comments) == 1


def test_an_issue_that_is_listed_but_gone_is_not_taken_for_its_successor(
    channel: IssuesChannel, tracker: MemoryTracker, told: Callable[..., Message]
) -> None:
    channel.deliver(told())
    tracker.script.append(ForgeRefusedError("gone", status=410))

    assert channel.deliver(later(told(TransitionKind.DRIFT_CHANGED, 2))) == {"issue": "2"}


def test_an_issue_deleted_between_edit_and_comment_is_opened_anew(
    channel: IssuesChannel, tracker: MemoryTracker, told: Callable[..., Message]
) -> None:
    channel.deliver(told())
    tracker.script.extend([None, ForgeRefusedError("gone", status=404)])

    assert channel.deliver(later(told(TransitionKind.DRIFT_CHANGED, 2))) == {"issue": "2"}


# Too many.


def test_as_many_as_may_be_open_make_the_next_wait_without_holding_up_the_channel(
    channel: IssuesChannel, tracker: MemoryTracker, told: Callable[..., Message]
) -> None:
    for thread in "abc":
        channel.deliver(told(thread=thread))

    with pytest.raises(DeliveryDeferred, match="3 issues") as caught:
        channel.deliver(told(thread="d"))

    assert caught.value.retry_after == 3600
    assert not caught.value.whole_channel
    assert "Close issues" in str(caught.value.advice)
    assert len(tracker.issues) == 3


def test_updates_go_on_while_new_issues_wait_and_a_closed_one_makes_room(
    channel: IssuesChannel, tracker: MemoryTracker, told: Callable[..., Message]
) -> None:
    for thread in "abc":
        channel.deliver(told(thread=thread))

    channel.deliver(later(told(TransitionKind.RESOLVED, 2, thread="a")))

    assert channel.deliver(told(thread="d", attempts=4)) == {"issue": "4"}


def test_a_digest_waits_for_room_too(
    channel: IssuesChannel, tracker: MemoryTracker, told: Callable[..., Message]
) -> None:
    for thread in "abc":
        channel.deliver(told(thread=thread))

    with pytest.raises(DeliveryDeferred):
        channel.deliver(told(thread="digest:0:2026-03-04", incident=None))


# Digests.


def test_a_digest_is_an_issue_of_its_own_that_is_never_closed_here(
    channel: IssuesChannel, tracker: MemoryTracker, told: Callable[..., Message]
) -> None:
    digest = told(TransitionKind.RESOLVED, thread="digest:0:2026-03-04T08:00:00+00:00", incident=None)

    receipt = channel.deliver(digest)

    assert receipt == {"issue": "1"}
    assert tracker.issues["1"].title == "Drift digest, 2026-03-04"
    assert tracker.issues["1"].open


def test_what_comes_late_to_a_digest_is_added_and_replaces_nothing(
    channel: IssuesChannel, tracker: MemoryTracker, told: Callable[..., Message]
) -> None:
    digest = told(thread="digest:0:2026-03-04", incident=None)
    channel.deliver(digest)
    body = tracker.issues["1"].body

    channel.deliver(later(told(TransitionKind.RESOLVED, 2, thread=digest.thread, incident=None)))

    assert tracker.issues["1"].body == body
    assert len(tracker.issues["1"].comments) == 1
    assert tracker.issues["1"].open


# What a forge's troubles become.


@pytest.mark.parametrize("retry_after", [None, 90.0])
def test_a_forge_that_cannot_answer_defers_the_channel_as_long_as_it_asks(
    channel: IssuesChannel, tracker: MemoryTracker, told: Callable[..., Message], retry_after: float | None
) -> None:
    tracker.script.append(ForgeUnavailableError("GitHub asks to slow down", retry_after=retry_after))

    with pytest.raises(DeliveryDeferred, match="slow down") as caught:
        channel.deliver(told())

    assert caught.value.retry_after == retry_after
    assert caught.value.whole_channel


@pytest.mark.parametrize("status", [401, 403, 404, 410, 405, 301, None])
def test_a_forge_that_refuses_waits_for_a_person(
    channel: IssuesChannel, tracker: MemoryTracker, told: Callable[..., Message], status: int | None
) -> None:
    tracker.script.append(ForgeRefusedError("GitHub answered no", status=status, advice="Mend it."))

    with pytest.raises(DeliveryDeferred, match="answered no") as caught:
        channel.deliver(told())

    assert caught.value.retry_after == PERSON_NEEDED_SECONDS
    assert caught.value.whole_channel
    assert caught.value.advice == "Mend it."


def test_a_refusal_without_advice_gets_some(
    channel: IssuesChannel, tracker: MemoryTracker, told: Callable[..., Message]
) -> None:
    tracker.script.append(ForgeRefusedError("GitHub answered no"))

    with pytest.raises(DeliveryDeferred) as caught:
        channel.deliver(told())

    assert "notify" in str(caught.value.advice)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_of_one_message_lets_the_others_pass(
    channel: IssuesChannel, tracker: MemoryTracker, told: Callable[..., Message], status: int
) -> None:
    tracker.script.extend([None, ForgeRefusedError("GitHub answered no", status=status)])

    with pytest.raises(DeliveryDeferred) as caught:
        channel.deliver(told())

    assert not caught.value.whole_channel


@pytest.mark.parametrize("status", [401, 403, 422])
def test_a_refusal_of_an_update_is_no_reason_to_open_anew(
    channel: IssuesChannel, tracker: MemoryTracker, told: Callable[..., Message], status: int
) -> None:
    channel.deliver(told())
    tracker.script.append(ForgeRefusedError("no", status=status))

    with pytest.raises(DeliveryDeferred):
        channel.deliver(later(told(TransitionKind.DRIFT_CHANGED, 2)))

    assert list(tracker.issues) == ["1"]


def test_a_label_with_a_comma_is_refused_as_it_would_be_read_as_two(tracker: MemoryTracker) -> None:
    with pytest.raises(UsageError, match="comma"):
        IssuesChannel("gitlab:infra", tracker, labels=("drift, prod",), most_open=3)


def test_the_channel_goes_by_its_name(channel: IssuesChannel) -> None:
    assert channel.name == "github:infra"
