"""What Slack gets, in which form and how often, and what each of its answers and failures leads to."""

from __future__ import annotations

import json
import logging
import socket
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from driftwatch.config.notify import SlackSettings
from driftwatch.errors import Remedy
from driftwatch.log import redact
from driftwatch.model import ErrorReport, TransitionKind, Verdict
from driftwatch.notify import DeliveryDeferred, DeliveryRefused
from driftwatch.notify.slack import SlackChannel

if TYPE_CHECKING:
    from collections.abc import Callable

    from driftwatch.model import Announcement, Finding, Message

ANCHOR = {"channel": "C042", "ts": "1699999999.000007"}


@pytest.fixture
def channel(slack_settings: SlackSettings) -> Any:
    return SlackChannel(slack_settings, timeout=5)


def test_the_first_message_of_an_episode_is_one_post_to_the_channel(
    slack: Any, channel: Any, a_message: Callable[..., Message], token: str
) -> None:
    receipt = channel.deliver(a_message())

    assert slack.methods() == ["chat.postMessage"]
    post = slack.posts[0]
    assert post["channel"] == "#infra-drift"
    assert "thread_ts" not in post
    assert post["text"].startswith("🔴 platform/envs/prod/network: drifted, 1 finding")
    assert [block["type"] for block in post["blocks"]] == ["header", "section", "section", "context"]
    assert slack.calls[0].headers["Authorization"] == f"Bearer {token}"
    assert receipt == {"channel": "C042", "ts": "1700000000.000001"}


def test_nothing_in_a_post_is_parsed_linked_or_unfurled(
    slack: Any, channel: Any, a_message: Callable[..., Message]
) -> None:
    channel.deliver(a_message())

    assert {key: slack.posts[0][key] for key in ("parse", "link_names", "unfurl_links", "unfurl_media")} == {
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def test_a_change_updates_the_message_and_tells_in_its_thread_what_is_new(
    slack: Any, channel: Any, a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    told = an_announcement(TransitionKind.DRIFT_CHANGED, total=4, opened=("aws_sqs_queue.new",))

    receipt = channel.deliver(a_message(2, told, anchor=ANCHOR))

    assert slack.methods() == ["chat.update", "chat.postMessage"]
    assert slack.updates[0]["ts"] == ANCHOR["ts"]
    assert slack.updates[0]["channel"] == "C042"
    assert "4 findings" in slack.updates[0]["blocks"][0]["text"]["text"]
    assert slack.posts[0]["thread_ts"] == ANCHOR["ts"]
    assert slack.posts[0]["reply_broadcast"] is False
    assert "New: `aws_sqs_queue.new`" in slack.posts[0]["text"]
    assert receipt == ANCHOR


def test_resolved_turns_the_message_green_and_says_so_once_in_the_thread(
    slack: Any, channel: Any, a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    told = an_announcement(TransitionKind.RESOLVED, resolved=("aws_sqs_queue.jobs",))

    channel.deliver(a_message(3, told, anchor=ANCHOR))

    assert slack.methods() == ["chat.update", "chat.postMessage"]
    assert slack.updates[0]["text"] == "🟢 platform/envs/prod/network: resolved"
    assert "~`aws_sqs_queue.jobs`~ gone" in json.dumps(slack.updates[0]["blocks"])
    assert slack.posts[0]["text"].splitlines()[1] == "Gone: `aws_sqs_queue.jobs`"


def test_a_failing_check_and_its_recovery_have_a_message_of_their_own(
    slack: Any, channel: Any, a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    error = ErrorReport(code="state_locked", message="Held by ana@laptop.", advice="Wait, or ask ana.")
    failing = an_announcement(TransitionKind.CHECK_FAILING, verdict=Verdict.ERROR, error=error)
    recovered = an_announcement(TransitionKind.RECOVERED, verdict=Verdict.IN_SYNC)

    anchor = channel.deliver(a_message(1, failing, episode="failing-1"))
    channel.deliver(a_message(2, recovered, episode="failing-1", anchor=anchor))

    assert slack.methods() == ["chat.postMessage", "chat.update", "chat.postMessage"]
    assert "Wait, or ask ana." in json.dumps(slack.posts[0]["blocks"])
    assert slack.updates[0]["ts"] == anchor["ts"]
    assert "the check works again, in sync" in slack.posts[1]["text"]


@pytest.mark.parametrize("anchor", [{}, {"channel": "C042"}, {"ts": "1.2"}, {"status": "200"}])
def test_without_a_usable_anchor_the_announcement_stands_alone(
    slack: Any, channel: Any, a_message: Callable[..., Message], anchor: Any
) -> None:
    channel.deliver(a_message(anchor=anchor))

    assert slack.methods() == ["chat.postMessage"]


def test_where_the_message_is_gone_the_announcement_is_posted_anew(
    slack: Any, channel: Any, a_message: Callable[..., Message], an_announcement: Callable[..., Announcement]
) -> None:
    slack.deleted.add(ANCHOR["ts"])

    receipt = channel.deliver(a_message(2, an_announcement(TransitionKind.DRIFT_CHANGED), anchor=ANCHOR))

    assert slack.methods() == ["chat.update", "chat.postMessage"]
    assert "thread_ts" not in slack.posts[0]
    assert slack.posts[0]["channel"] == "#infra-drift"
    assert slack.posts[0]["blocks"][0]["type"] == "header"
    assert receipt == ANCHOR | {"ts": "1700000000.000001"}


def test_what_was_posted_anew_is_updated_from_then_on(
    slack: Any,
    channel: Any,
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
) -> None:
    """Also where the outbox still names the message that somebody deleted."""
    slack.deleted.add(ANCHOR["ts"])
    changed = an_announcement(TransitionKind.DRIFT_CHANGED)

    first = channel.deliver(a_message(2, changed, anchor=ANCHOR))
    second = channel.deliver(a_message(3, changed, anchor=ANCHOR))

    assert slack.updates[-1]["ts"] == slack.posts[-1]["thread_ts"] == first["ts"]
    assert second == first


@pytest.mark.parametrize(
    "code", ["cant_update_message", "channel_not_found", "edit_window_closed", "is_archived"]
)
def test_a_message_that_cannot_be_updated_counts_as_gone(
    slack: Any, channel: Any, a_message: Callable[..., Message], refusal: Callable[[str], Any], code: str
) -> None:
    slack.then(refusal(code))

    channel.deliver(a_message(anchor=ANCHOR))

    assert slack.methods() == ["chat.update", "chat.postMessage"]


def test_a_thread_that_takes_no_replies_does_not_swallow_the_announcement(
    slack: Any,
    channel: Any,
    a_message: Callable[..., Message],
    refusal: Callable[[str], Any],
    a_reply: Callable[..., Any],
) -> None:
    slack.then(a_reply(body=b'{"ok": true}'), refusal("restricted_action_thread_locked"))

    channel.deliver(a_message(anchor=ANCHOR))

    assert slack.methods() == ["chat.update", "chat.postMessage", "chat.postMessage"]
    assert "thread_ts" not in slack.posts[-1]


def test_a_second_attempt_carries_the_same_id_so_that_slack_may_drop_it(
    slack: Any, channel: Any, a_message: Callable[..., Message], a_reply: Callable[..., Any]
) -> None:
    slack.then(a_reply(fault="reset"))

    with pytest.raises(DeliveryDeferred):
        channel.deliver(a_message(7))
    channel.deliver(a_message(7))
    channel.deliver(a_message(8))

    first, second, other = (post["client_msg_id"] for post in slack.posts)
    assert first == second != other


def test_an_id_whose_message_was_deleted_is_left_out(
    slack: Any, channel: Any, a_message: Callable[..., Message], refusal: Callable[[str], Any]
) -> None:
    slack.then(refusal("duplicate_message_not_found"))

    channel.deliver(a_message())

    assert ["client_msg_id" in post for post in slack.posts] == [True, False]


def test_blocks_that_slack_refuses_are_replaced_by_plain_text(
    slack: Any, channel: Any, a_message: Callable[..., Message], refusal: Callable[[str], Any]
) -> None:
    slack.then(refusal("invalid_blocks"))

    channel.deliver(a_message())

    assert ["blocks" in post for post in slack.posts] == [True, False]
    assert slack.posts[1]["text"] == slack.posts[0]["text"]


def test_an_update_with_refused_blocks_takes_the_old_ones_away(
    slack: Any, channel: Any, a_message: Callable[..., Message], refusal: Callable[[str], Any]
) -> None:
    slack.then(refusal("msg_blocks_too_long"))

    channel.deliver(a_message(anchor=ANCHOR))

    assert slack.methods() == ["chat.update", "chat.update", "chat.postMessage"]
    assert slack.updates[1]["blocks"] == []


@pytest.mark.row(53)
def test_429_is_put_off_for_as_long_as_slack_asks(
    slack: Any, channel: Any, a_message: Callable[..., Message], a_reply: Callable[..., Any]
) -> None:
    """Row 53: 429 with Retry-After."""
    slack.then(a_reply(status=429, headers={"Retry-After": "37"}, body=b'{"ok":false,"error":"ratelimited"}'))

    with pytest.raises(DeliveryDeferred) as caught:
        channel.deliver(a_message())

    assert caught.value.retry_after == 37
    assert slack.methods() == ["chat.postMessage"]


def test_429_on_the_reply_repeats_only_what_can_be_repeated(
    slack: Any, channel: Any, a_message: Callable[..., Message], a_reply: Callable[..., Any]
) -> None:
    slack.then(a_reply(body=b'{"ok": true}'), a_reply(status=429, headers={"retry-after": "1"}))

    with pytest.raises(DeliveryDeferred):
        channel.deliver(a_message(anchor=ANCHOR))
    channel.deliver(a_message(anchor=ANCHOR))

    assert slack.methods() == ["chat.update", "chat.postMessage"] * 2


def faults() -> Any:
    page = b"<html>bad gateway</html>"
    return {
        "500": {"status": 500, "body": page},
        "503 as JSON": {"status": 503, "body": b'{"ok":false,"error":"service_unavailable"}'},
        "reset": {"fault": "reset"},
        "half an answer": {"body": b'{"ok": tr', "fault": "half"},
        "no JSON": {"body": page},
        "empty": {"body": b""},
        "a list": {"body": b"[1]"},
        "null": {"body": b"null"},
        "not UTF-8": {"body": b'{"ok": true, "x": "\xff"}'},
        "unknown charset": {"body": b"{}", "headers": {"Content-Type": "text/plain; charset=klingon"}},
        "error of no code": {"body": b'{"ok": false, "error": {"a": 1}}'},
        "internal_error": {"body": b'{"ok": false, "error": "internal_error"}'},
        "a redirect": {"status": 302, "headers": {"Location": "/elsewhere"}},
    }


@pytest.mark.row(53)
@pytest.mark.parametrize("fault", faults(), ids=str)
def test_what_passes_by_itself_is_put_off_as_the_backoff_says(
    slack: Any, channel: Any, a_message: Callable[..., Message], a_reply: Callable[..., Any], fault: Any
) -> None:
    """Row 53: 5xx, resets, half and unreadable answers are deferrals of the whole channel, and no crash."""
    slack.then(a_reply(**faults()[fault]))

    with pytest.raises(DeliveryDeferred) as caught:
        channel.deliver(a_message())

    assert caught.value.retry_after is None
    assert caught.value.whole_channel
    assert caught.value.advice is None


@pytest.mark.row(53)
def test_a_slack_that_does_not_answer_is_given_up_after_the_timeout(
    slack: Any,
    slack_settings: SlackSettings,
    a_message: Callable[..., Message],
    a_reply: Callable[..., Any],
) -> None:
    """Row 53: a timeout is a deferral."""
    slack.then(a_reply(fault="hang"))

    with pytest.raises(DeliveryDeferred, match="cannot be reached"):
        SlackChannel(slack_settings, timeout=1).deliver(a_message())


def test_a_slack_that_is_not_there_is_a_deferral(a_message: Callable[..., Message]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/api/"
        settings = SlackSettings(token=SecretStr("xoxb-nowhere"), channel="C1", base_url=url)
        with pytest.raises(DeliveryDeferred, match="cannot be reached"):
            SlackChannel(settings).deliver(a_message())


@pytest.mark.parametrize(
    "code",
    [
        "account_inactive",
        "channel_not_found",
        "invalid_auth",
        "is_archived",
        "missing_scope",
        "not_in_channel",
        "token_revoked",
        "some_code_of_next_year",
    ],
)
def test_what_a_person_can_mend_waits_an_hour_and_says_what_to_do(
    slack: Any, channel: Any, a_message: Callable[..., Message], refusal: Callable[[str], Any], code: str
) -> None:
    slack.then(refusal(code))

    with pytest.raises(DeliveryDeferred, match=code) as caught:
        channel.deliver(a_message())

    assert caught.value.retry_after == 3600
    assert caught.value.advice


@pytest.mark.parametrize("code", ["msg_too_long", "no_text", "invalid_arguments"])
def test_only_what_slack_will_never_take_is_refused(
    slack: Any, channel: Any, a_message: Callable[..., Message], refusal: Callable[[str], Any], code: str
) -> None:
    slack.then(refusal(code))

    with pytest.raises(DeliveryRefused, match=code) as caught:
        channel.deliver(a_message())

    assert caught.value.remedy is Remedy.GIVE_UP


def test_a_base_url_that_is_no_url_needs_a_person(a_message: Callable[..., Message]) -> None:
    settings = SlackSettings.model_construct(token=SecretStr("xoxb-x"), channel="C1", base_url="file:///etc/")

    with pytest.raises(DeliveryDeferred) as caught:
        SlackChannel(settings).deliver(a_message())

    assert caught.value.retry_after == 3600


@pytest.mark.row(68)
@pytest.mark.parametrize("fault", [*faults(), "refused"], ids=str)
def test_the_token_is_in_no_error_and_no_log(
    slack: Any,
    channel: Any,
    a_message: Callable[..., Message],
    a_reply: Callable[..., Any],
    refusal: Callable[[str], Any],
    token: str,
    caplog: pytest.LogCaptureFixture,
    fault: Any,
) -> None:
    """Row 68: whatever goes wrong, also where Slack's answer repeats what it was sent."""
    caplog.set_level(logging.DEBUG)
    given = faults().get(fault, {"body": json.dumps({"ok": False, "error": token, "needed": token}).encode()})
    slack.then(a_reply(**given))

    with pytest.raises(DeliveryDeferred) as caught:
        channel.deliver(a_message())

    assert token not in f"{caught.value} {caught.value.advice} {caught.value.detail}"
    assert token not in caplog.text
    assert "slack_sdk" not in caplog.text
    assert redact(f"it is {token}!") == "it is [redacted]!"


@pytest.mark.row(54)
def test_a_name_full_of_mentions_reaches_slack_as_text(
    slack: Any,
    channel: Any,
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
) -> None:
    """Row 54: what is sent over the wire holds no mention."""
    names = "<!channel> <!everyone> <@U0123> <!subteam^S1>"
    told = an_announcement(findings=(a_finding(names),), stack=names, owners=(names,))

    channel.deliver(a_message(1, told))

    assert b"<" not in slack.calls[0].body
    assert b"&lt;!channel&gt;" in slack.calls[0].body
