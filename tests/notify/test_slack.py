"""What Slack gets, in which form and how often, and what each of its answers and failures leads to."""

from __future__ import annotations

import json
import logging
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from driftwatch.config.notify import SlackSettings
from driftwatch.errors import Remedy
from driftwatch.log import redact
from driftwatch.model import ErrorReport, Severity, TransitionKind, Verdict
from driftwatch.notify import DeliveryDeferred, DeliveryRefused
from driftwatch.notify.slack import SlackChannel

if TYPE_CHECKING:
    from collections.abc import Callable

    from driftwatch.model import Announcement, Finding, Incident, Message

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


# Incidents.


@pytest.fixture
def pressable(slack_settings: SlackSettings) -> Any:
    """A channel of an app whose presses can come back."""
    return SlackChannel(slack_settings.model_copy(update={"signing_secret": SecretStr("5ecret")}), timeout=5)


@pytest.fixture
def over_stacks(
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    an_incident: Callable[..., Incident],
) -> Callable[..., Message]:
    """A message that tells of so many stacks of one incident at once."""

    def made(number: int, kind: TransitionKind = TransitionKind.DRIFT_FOUND, **other: Any) -> Message:
        told = [an_announcement(kind, stack=f"platform/s{place:03}") for place in range(number)]
        incident = an_incident(*told)
        given = {"incident": replace(incident, lines=incident.lines[:50]), "thread": "incident:7"}
        return a_message(1, told[0], more=tuple(told[1:]), **given | other)

    return made


def kinds(sent: Any) -> list[str]:
    return [block["type"] for block in sent["blocks"]]


def test_one_cause_over_forty_stacks_is_one_post(
    slack: Any, channel: Any, over_stacks: Callable[..., Message]
) -> None:
    receipt = channel.deliver(over_stacks(40))

    assert slack.methods() == ["chat.postMessage"]
    assert slack.posts[0]["text"].startswith("🔴 the same change in 40 stacks: 40 open")
    assert slack.posts[0]["blocks"][1]["text"]["text"].count("\n") == 39
    assert receipt == {"channel": "C042", "ts": "1700000000.000001"}


def test_what_a_first_message_cannot_name_follows_as_its_first_reply(
    slack: Any, channel: Any, over_stacks: Callable[..., Message]
) -> None:
    receipt = channel.deliver(over_stacks(60))

    assert slack.methods() == ["chat.postMessage", "chat.postMessage"]
    head, reply = slack.posts
    assert "These are 50 of *60* stacks." in json.dumps(head["blocks"])
    assert reply["thread_ts"] == receipt["ts"]
    assert reply["reply_broadcast"] is False
    named = [line.split("`")[1] for line in reply["text"].splitlines()]
    assert named == [f"platform/s{place:03}" for place in range(50, 60)]


def test_a_first_reply_that_did_not_get_through_does_not_repeat_the_message(
    slack: Any, channel: Any, over_stacks: Callable[..., Message], a_reply: Callable[..., Any]
) -> None:
    """The outbox knows of no anchor yet: what stands is updated, and all is told in its thread."""
    posted = {"ok": True, "channel": "C042", "ts": "1700000000.000009"}
    slack.then(a_reply(body=json.dumps(posted).encode()), a_reply(status=429, headers={"Retry-After": "1"}))

    with pytest.raises(DeliveryDeferred):
        channel.deliver(over_stacks(60))
    receipt = channel.deliver(over_stacks(60))

    assert slack.methods() == ["chat.postMessage", "chat.postMessage", "chat.update", "chat.postMessage"]
    assert slack.updates[0]["ts"] == slack.posts[2]["thread_ts"] == receipt["ts"] == posted["ts"]


def test_what_once_got_through_is_not_remembered_for_another_message(
    slack: Any, channel: Any, over_stacks: Callable[..., Message]
) -> None:
    channel.deliver(over_stacks(2))
    channel.deliver(over_stacks(2))

    assert slack.methods() == ["chat.postMessage", "chat.postMessage"]
    assert all("thread_ts" not in post for post in slack.posts)


def test_where_no_replies_are_allowed_the_first_message_stands_alone(
    slack: Any,
    channel: Any,
    over_stacks: Callable[..., Message],
    refusal: Callable[[str], Any],
    a_reply: Callable[..., Any],
) -> None:
    posted = {"ok": True, "channel": "C042", "ts": "1700000000.000009"}
    slack.then(a_reply(body=json.dumps(posted).encode()), refusal("restricted_action_thread_locked"))

    assert channel.deliver(over_stacks(60))["ts"] == posted["ts"]
    assert slack.methods() == ["chat.postMessage", "chat.postMessage"]


def test_what_came_meanwhile_is_one_update_and_one_reply(
    slack: Any, channel: Any, over_stacks: Callable[..., Message]
) -> None:
    channel.deliver(over_stacks(5, anchor=ANCHOR))

    assert slack.methods() == ["chat.update", "chat.postMessage"]
    assert slack.posts[0]["thread_ts"] == ANCHOR["ts"]
    assert len(slack.posts[0]["text"].splitlines()) == 5


def test_what_waits_behind_a_lost_message_is_not_taken_for_a_copy_of_it(
    slack: Any, channel: Any, over_stacks: Callable[..., Message], a_reply: Callable[..., Any]
) -> None:
    slack.then(a_reply(fault="reset"))

    with pytest.raises(DeliveryDeferred):
        channel.deliver(over_stacks(2, carried=(2,)))
    channel.deliver(over_stacks(2, carried=(2,)))
    channel.deliver(over_stacks(3, carried=(2, 3)))

    lost, again, more = (post["client_msg_id"] for post in slack.posts)
    assert lost == again != more


@pytest.mark.parametrize(("severity", "loud"), [(Severity.CRITICAL, True), (Severity.HIGH, False)])
def test_a_reply_shows_in_the_channel_where_something_critical_is_new(
    slack: Any,
    channel: Any,
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
    severity: Severity,
    loud: bool,
) -> None:
    told = an_announcement(
        TransitionKind.DRIFT_CHANGED, findings=(a_finding(severity=severity),), opened=("aws_sqs_queue.jobs",)
    )

    channel.deliver(a_message(2, told, anchor=ANCHOR))

    assert slack.posts[0]["reply_broadcast"] is loud


def test_a_first_message_is_no_broadcast(
    slack: Any,
    channel: Any,
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
) -> None:
    critical = (a_finding(severity=Severity.CRITICAL),)

    channel.deliver(a_message(2, an_announcement(findings=critical, opened=("aws_sqs_queue.jobs",))))

    assert "reply_broadcast" not in slack.posts[0]


def test_a_digest_is_one_post_of_its_own_each_time(
    slack: Any, channel: Any, over_stacks: Callable[..., Message]
) -> None:
    """It never overwrites an earlier one, and what it has no room for is counted."""
    channel.deliver(over_stacks(300, incident=None, thread="digest:2026-01-02", anchor=ANCHOR))

    assert slack.methods() == ["chat.postMessage"]
    assert "thread_ts" not in slack.posts[0]
    assert slack.posts[0]["blocks"][0]["text"]["text"] == "Drift digest"
    assert "of *300* messages." in json.dumps(slack.posts[0]["blocks"])


def test_another_channel_has_a_name_of_its_own_and_is_posted_to(
    slack: Any, slack_settings: SlackSettings, a_message: Callable[..., Message]
) -> None:
    other = SlackChannel(slack_settings, "#other", timeout=5)

    other.deliver(a_message())

    assert other.name == "slack:#other"
    assert SlackChannel(slack_settings).name == "slack"
    assert slack.posts[0]["channel"] == "#other"


@pytest.mark.parametrize("code", ["channel_not_found", "is_archived"])
def test_the_advice_names_the_setting_that_names_the_channel(
    slack: Any,
    slack_settings: SlackSettings,
    a_message: Callable[..., Message],
    refusal: Callable[[str], Any],
    code: str,
) -> None:
    for channel, setting in ((None, "notify.slack.channel"), ("#other", "notify.routes")):
        slack.then(refusal(code))
        with pytest.raises(DeliveryDeferred) as caught:
            SlackChannel(slack_settings, channel, timeout=5).deliver(a_message())
        assert caught.value.advice is not None
        assert f"let {setting} name" in caught.value.advice.replace("Let", "let")


@pytest.mark.parametrize("secret", ["app_token", "signing_secret"])
def test_buttons_are_there_where_a_press_can_come_back(
    slack: Any, slack_settings: SlackSettings, over_stacks: Callable[..., Message], secret: str
) -> None:
    settings = slack_settings.model_copy(update={secret: SecretStr("5ecret")})

    for number in (1, 2):
        SlackChannel(settings, timeout=5).deliver(over_stacks(number))
        SlackChannel(slack_settings, timeout=5).deliver(over_stacks(number))

    assert ["actions" in kinds(post) for post in slack.posts] == [True, False, True, False]


def test_an_update_renews_the_buttons_and_the_end_takes_them_away(
    slack: Any, pressable: Any, over_stacks: Callable[..., Message]
) -> None:
    message = over_stacks(2, anchor=ANCHOR)
    pressable.deliver(replace(message, incident=replace(message.incident, seen="beef" * 8)))
    pressable.deliver(over_stacks(2, TransitionKind.RESOLVED, anchor=ANCHOR))

    first, last = slack.updates
    row = first["blocks"][kinds(first).index("actions")]
    assert all(button["value"].split(":")[2] == f"all.{'beef' * 8}" for button in row["elements"])
    assert "actions" not in kinds(last)
    assert "actions" not in {kind for post in slack.posts for kind in kinds(post)}


def test_where_slack_refuses_the_blocks_there_are_no_buttons(
    slack: Any, pressable: Any, over_stacks: Callable[..., Message], refusal: Callable[[str], Any]
) -> None:
    slack.then(refusal("invalid_blocks"))
    pressable.deliver(over_stacks(2))
    slack.then(refusal("invalid_blocks"))
    pressable.deliver(over_stacks(2, anchor=ANCHOR))

    assert "actions" in kinds(slack.posts[0])
    assert "blocks" not in slack.posts[1]
    assert slack.updates[1]["blocks"] == []


@pytest.mark.row(54)
def test_an_incident_full_of_mentions_reaches_slack_as_text(
    slack: Any,
    pressable: Any,
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    an_incident: Callable[..., Incident],
) -> None:
    """Row 54: titles, owners and what was said, in the message, its reply and its buttons."""
    names = "<!channel> <@U1> <javascript:alert(1)|x>"
    told = an_announcement(stack=names, owners=(names,), said=names, opened=(names,), mass_deletion=names)
    incident = an_incident(told, told, title=names)

    pressable.deliver(a_message(1, told, more=(told,), incident=incident, anchor=ANCHOR))

    assert slack.methods() == ["chat.update", "chat.postMessage"]
    assert all(b"<" not in call.body and b"&lt;!channel&gt;" in call.body for call in slack.calls)
