"""What both trackers promise: what they ask of a forge, and what each of its answers and failures means."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.errors import ForgeRefusedError, ForgeUnavailableError, Remedy, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

LABELS = ("drift", "prod")
MARK = "<!-- driftwatch:0123 -->"
AT_NOON = "Fri, 02 Jan 2026 12:00:00 GMT"
NOON = 1767355200

OPERATIONS: list[tuple[str, Callable[[Any], object]]] = [
    ("open", lambda tracker: tracker.open("Title", "Body", LABELS)),
    ("edit", lambda tracker: tracker.edit("1", "Title", "Body", closed=None)),
    ("comment", lambda tracker: tracker.comment("1", "Words")),
    ("count_open", lambda tracker: tracker.count_open(LABELS, 50)),
    ("find", lambda tracker: tracker.find(MARK, LABELS)),
]
every_operation = pytest.mark.parametrize(
    "operation", [operation for _, operation in OPERATIONS], ids=[name for name, _ in OPERATIONS]
)
every_operation_but_comments = pytest.mark.parametrize(
    "operation",
    [operation for name, operation in OPERATIONS if name != "comment"],
    ids=[name for name, _ in OPERATIONS if name != "comment"],
)


def test_an_issue_is_opened_with_title_body_and_labels(forge: Any) -> None:
    reference = forge.tracker().open("It drifted", "How things stand", LABELS)

    assert reference == "1"
    assert forge.asked() == ["POST"]
    issue = forge.issues[1]
    assert (issue.title, issue.body, issue.labels) == ("It drifted", "How things stand", ["drift", "prod"])


def test_an_issue_may_have_no_labels(forge: Any) -> None:
    forge.tracker().open("It drifted", "How things stand", ())

    assert forge.issues[1].labels == []


def test_an_edit_replaces_title_and_body_and_leaves_open_or_closed_as_it_is(forge: Any) -> None:
    forge.add(open=False)

    forge.tracker().edit("1", "It drifted more", "How things stand now", closed=None)

    issue = forge.issues[1]
    assert (issue.title, issue.body, issue.open) == ("It drifted more", "How things stand now", False)


@pytest.mark.parametrize("was_open", [True, False])
@pytest.mark.parametrize("closed", [True, False])
def test_an_edit_closes_and_reopens_however_the_issue_was(forge: Any, was_open: bool, closed: bool) -> None:
    forge.add(open=was_open)

    forge.tracker().edit("1", "Title", "Body", closed=closed)

    assert forge.issues[1].open is not closed


def test_a_comment_is_added(forge: Any) -> None:
    forge.add()
    tracker = forge.tracker()

    tracker.comment("1", "First")
    tracker.comment("1", "Second")

    assert forge.issues[1].comments == ["First", "Second"]


def test_open_issues_with_all_labels_are_counted(forge: Any) -> None:
    forge.add(3, labels=["prod", "drift"])
    forge.add(2, labels=["drift"])
    forge.add(4, labels=["drift", "prod"], open=False)

    assert forge.tracker().count_open(LABELS, 50) == 3
    assert forge.tracker().count_open((), 50) == 5


def test_counting_ends_where_nobody_needs_to_know_more(forge: Any) -> None:
    forge.add(7)

    assert forge.tracker().count_open(("drift",), 5) == 5
    assert len(forge.calls) == 1


def test_an_issue_is_found_by_the_mark_that_begins_its_body_also_when_closed(forge: Any) -> None:
    forge.add(5)
    forge.add(body=f"{MARK}\n\nHow things stand", open=False)
    forge.add(5)

    assert forge.tracker().find(MARK, ("drift",)) == "6"


def test_a_mark_that_somebody_quotes_is_no_mark(forge: Any) -> None:
    forge.add(body=f"Look at `{MARK}`")

    assert forge.tracker().find(MARK, ("drift",)) is None


def test_an_issue_without_a_body_is_passed_over(forge: Any) -> None:
    forge.add(body=None)

    assert forge.tracker().find(MARK, ("drift",)) is None


def test_looking_for_a_mark_ends_after_the_newest_two_hundred(forge: Any) -> None:
    forge.add(body=MARK)
    forge.add(199)
    tracker = forge.tracker()
    assert tracker.find(MARK, ("drift",)) == "1"

    forge.add()

    assert tracker.find(MARK, ("drift",)) is None
    assert [call.query.get("per_page") for call in forge.calls] == ["100"] * 4


@every_operation
@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "token"),
        (403, "right to read and write issues"),
        (404, "repository or project"),
        (410, "Switch issues on"),
        (422, "labels"),
    ],
)
def test_a_no_is_for_a_person_and_says_what_to_do(
    forge: Any, a_reply: Any, operation: Callable[[Any], object], status: int, advice: str
) -> None:
    forge.add()
    forge.then(forge.no(status, "For a reason"))

    with pytest.raises(ForgeRefusedError) as caught:
        operation(forge.tracker())

    assert caught.value.status == status
    assert caught.value.remedy is Remedy.PERSON
    assert f"answered {status}" in caught.value.message
    assert "For a reason" in caught.value.message
    assert advice in str(caught.value.advice)


@every_operation
@pytest.mark.parametrize("status", [429, 403])
def test_a_limit_says_how_long_to_wait_and_nobody_sleeps_meanwhile(
    forge: Any, operation: Callable[[Any], object], status: int
) -> None:
    forge.add()
    reply = forge.no(status, "You have exceeded a secondary limit")
    reply.headers = {"Retry-After": "37"}
    forge.then(reply)
    began = time.monotonic()

    with pytest.raises(ForgeUnavailableError) as caught:
        operation(forge.tracker())

    assert caught.value.retry_after == 37
    assert caught.value.remedy is Remedy.RETRY
    assert len(forge.calls) == 1
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("prefix", "status"), [("X-RateLimit", 403), ("X-RateLimit", 429), ("RateLimit", 429), ("RateLimit", 403)]
)
def test_a_limit_that_names_its_end_is_waited_for_by_the_forges_own_clock(
    forge: Any, prefix: str, status: int
) -> None:
    reply = forge.no(status, "Limit")
    reply.headers = {f"{prefix}-Remaining": "0", f"{prefix}-Reset": str(NOON + 90), "Date": AT_NOON}
    forge.then(reply)

    with pytest.raises(ForgeUnavailableError) as caught:
        forge.tracker().open("Title", "Body", LABELS)

    assert caught.value.retry_after == 90


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-RateLimit-Remaining": "0"},
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(NOON)},
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(NOON), "Date": "today"},
        {"Retry-After": "-5"},
        {"Retry-After": "9" * 400},
        {"Retry-After": "nan"},
    ],
)
def test_a_limit_that_names_no_time_means_a_minute(forge: Any, headers: dict[str, str]) -> None:
    reply = forge.no(403, "You have exceeded a secondary rate limit. Please wait a few minutes.")
    reply.headers = headers
    forge.then(reply)

    with pytest.raises(ForgeUnavailableError) as caught:
        forge.tracker().open("Title", "Body", LABELS)

    assert caught.value.retry_after == 60


def test_a_limit_that_is_over_by_their_clock_is_waited_for_a_moment(forge: Any) -> None:
    reply = forge.no(429, "Limit")
    reply.headers = {"RateLimit-Remaining": "0", "RateLimit-Reset": str(NOON - 5), "Date": AT_NOON}
    forge.then(reply)

    with pytest.raises(ForgeUnavailableError) as caught:
        forge.tracker().comment("1", "Words")

    assert caught.value.retry_after == 1


def test_a_refusal_with_requests_left_is_no_limit(forge: Any) -> None:
    reply = forge.no(403, "Resource not accessible by personal access token")
    reply.headers = {"X-RateLimit-Remaining": "4999", "X-RateLimit-Reset": str(NOON + 90), "Date": AT_NOON}
    forge.then(reply)

    with pytest.raises(ForgeRefusedError, match="not accessible"):
        forge.tracker().open("Title", "Body", LABELS)


@every_operation
@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 409, 423])
def test_trouble_over_there_passes_and_is_asked_once(
    forge: Any, a_reply: Any, operation: Callable[[Any], object], status: int
) -> None:
    forge.then(a_reply(status=status, body=b"<html>sorry</html>", headers={"Content-Type": "text/html"}))

    with pytest.raises(ForgeUnavailableError, match=f"answered {status}") as caught:
        operation(forge.tracker())

    assert caught.value.retry_after is None
    assert len(forge.calls) == 1


@pytest.mark.parametrize("fault", ["reset", "half"])
@every_operation
def test_a_broken_answer_passes_and_is_asked_once(
    forge: Any, a_reply: Any, operation: Callable[[Any], object], fault: str
) -> None:
    forge.then(a_reply(body={"number": 1, "iid": 1}, fault=fault))

    with pytest.raises(ForgeUnavailableError, match="cannot be"):
        operation(forge.tracker())

    assert len(forge.calls) == 1


def test_no_answer_in_time_passes(forge: Any, a_reply: Any) -> None:
    forge.then(a_reply(fault="hang"))
    began = time.monotonic()

    with pytest.raises(ForgeUnavailableError, match="cannot be reached"):
        forge.tracker(timeout=1).open("Title", "Body", LABELS)

    assert time.monotonic() - began < 5
    assert len(forge.calls) == 1


def test_nobody_there_passes(forge: Any) -> None:
    tracker = forge.tracker()
    forge.close()

    with pytest.raises(ForgeUnavailableError, match="cannot be reached"):
        tracker.open("Title", "Body", LABELS)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"\xff\xfe", b"null", b'"words"', b"7", b"[7]", b"[null]", b'{"number": "x"}', b"{"],
)
@every_operation_but_comments
def test_an_answer_that_is_none_passes(
    forge: Any, a_reply: Any, operation: Callable[[Any], object], body: bytes
) -> None:
    forge.then(a_reply(body=body))

    with pytest.raises(ForgeUnavailableError, match="cannot be read"):
        operation(forge.tracker())


def test_an_opened_issue_without_a_number_is_not_taken_for_one(forge: Any, a_reply: Any) -> None:
    forge.then(a_reply(status=201, body={"title": "It drifted"}))

    with pytest.raises(ForgeUnavailableError, match="cannot be read"):
        forge.tracker().open("Title", "Body", LABELS)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@every_operation
def test_no_redirect_takes_the_token_to_another_host(
    forge: Any, a_reply: Any, operation: Callable[[Any], object], status: int
) -> None:
    # Another name for the same server: whatever arrives there is seen.
    there = forge.url.replace("127.0.0.1", "localhost") + "/elsewhere"
    forge.then(a_reply(status=status, body={}, headers={"Location": there}))

    with pytest.raises(ForgeRefusedError, match=r"redirects elsewhere|answered 3") as caught:
        operation(forge.tracker())

    assert len(forge.calls) == 1
    assert "address" in str(caught.value.advice)


@pytest.mark.parametrize("status", [200, 401, 403, 404, 422, 500, 302])
@every_operation
def test_the_token_is_in_no_error_no_log_and_no_repr(
    forge: Any,
    a_reply: Any,
    token: str,
    caplog: pytest.LogCaptureFixture,
    operation: Callable[[Any], object],
    status: int,
) -> None:
    caplog.set_level(logging.DEBUG)
    tracker = forge.tracker()
    forge.then(a_reply(status=status, body={"message": f"No such token: {token}", "iid": None}))
    try:
        operation(tracker)
    except (ForgeRefusedError, ForgeUnavailableError) as error:
        said = "".join(traceback.format_exception(error)) + repr(error) + str(error.report())
        assert token not in said
    assert token not in caplog.text + repr(tracker) + str(tracker)


@pytest.mark.parametrize("bad", ["", "two words", "line\nfeed-canary", "übel-canary", "bell\x07-canary"])
def test_a_token_that_no_header_can_carry_is_refused_without_showing_it(forge: Any, bad: str) -> None:
    with pytest.raises(UsageError, match="token") as caught:
        forge.tracker(token=bad)
    assert not bad or bad not in "".join(traceback.format_exception(caught.value))


def test_a_missing_package_is_named_with_how_to_get_it(forge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    package = type(forge).__name__.lower()
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(UsageError, match=rf"pip install 'driftwatch\[{package}\]'"):
        forge.tracker()


def test_what_a_forge_says_is_cut_and_on_one_line(forge: Any) -> None:
    forge.then(forge.no(422, "Line\n" * 10_000))

    with pytest.raises(ForgeRefusedError) as caught:
        forge.tracker().open("Title", "Body", LABELS)

    assert len(caught.value.message) < 300
    assert "\n" not in caught.value.message
