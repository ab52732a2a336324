"""What a person who pressed a button gets to see, and what happens where Slack will not have it."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from pydantic import SecretStr

from driftwatch.config.notify import SlackSettings
from driftwatch.log import redact
from driftwatch.notify.buttons import Aim, Button
from driftwatch.notify.slack_intake import Pressed, read
from driftwatch.notify.slack_replies import TEXT_LIMIT, SlackReplies

if TYPE_CHECKING:
    from collections.abc import Callable


def pressed(**other: Any) -> Pressed:
    given: dict[str, Any] = {
        "aim": Aim(button=Button.ACCEPT, incident=7, seen="beef0123", fingerprint="beef0123"),
        "member": "U042ANA",
        "key": "slack:1",
        "channel": "C042",
        "thread": "1767355000.000100",
        "trigger": "133452246.738474920.8088930838d88f008e0",
    }
    return Pressed(**given | other)


@pytest.fixture
def replies(slack_settings: SlackSettings) -> SlackReplies:
    return SlackReplies(slack_settings, timeout=2)


def test_an_answer_is_for_the_eyes_of_who_pressed_and_in_the_thread(
    slack: Any, replies: SlackReplies, token: str
) -> None:
    replies.answer(pressed(), ("Snoozed until tomorrow.", "Ana did that."))

    assert slack.methods() == ["chat.postEphemeral"]
    said = slack.calls[0].json
    assert (said["channel"], said["user"], said["thread_ts"]) == ("C042", "U042ANA", "1767355000.000100")
    assert said["text"] == "Snoozed until tomorrow.\nAna did that."
    text = {"type": "mrkdwn", "text": said["text"], "verbatim": True}
    assert said["blocks"] == [{"type": "section", "text": text}]
    assert (said["parse"], said["link_names"]) == ("none", False)
    assert slack.calls[0].headers["Authorization"] == f"Bearer {token}"


def test_without_a_thread_the_answer_is_in_the_channel(slack: Any, replies: SlackReplies) -> None:
    replies.answer(pressed(thread=None), ("Done.",))

    assert slack.methods() == ["chat.postEphemeral"]
    assert "thread_ts" not in slack.calls[0].json


def test_where_the_channel_is_not_known_the_person_is_written_to(slack: Any, replies: SlackReplies) -> None:
    replies.answer(pressed(channel=None), ("Done.",))

    assert slack.methods() == ["chat.postMessage"]
    said = slack.calls[0].json
    assert (said["channel"], said["text"]) == ("U042ANA", "Done.")
    assert "thread_ts" not in said
    assert (said["unfurl_links"], said["unfurl_media"]) == (False, False)


@pytest.mark.parametrize("code", ["channel_not_found", "not_in_channel", "user_not_in_channel"])
def test_who_cannot_be_answered_in_the_channel_is_written_to(
    slack: Any, replies: SlackReplies, refusal: Callable[[str], Any], code: str
) -> None:
    slack.then(refusal(code))

    with structlog.testing.capture_logs() as logs:
        replies.answer(pressed(), ("Done.",))

    assert slack.methods() == ["chat.postEphemeral", "chat.postMessage"]
    assert slack.posts[0]["channel"] == "U042ANA"
    assert logs == []


def test_anybodys_words_in_an_answer_call_nobody_and_link_nothing(slack: Any, replies: SlackReplies) -> None:
    replies.answer(
        pressed(), ("<!channel> & <https://evil.example|here>\n\u202eso\x00", "xoxb-0123456789-ab")
    )

    text = slack.calls[0].json["text"]
    assert text == "&lt;!channel&gt; &amp; &lt;https://evil.example|here&gt; so\n[redacted]"


def test_an_answer_is_bounded(slack: Any, replies: SlackReplies) -> None:
    replies.answer(pressed(), ("&" * 5000, "more"))

    assert len(slack.calls[0].json["text"]) <= TEXT_LIMIT
    assert slack.calls[0].json["text"].endswith("&amp;…")


FAILURES = [
    {"body": json.dumps({"ok": False, "error": "missing_scope"}).encode()},
    {"body": b'{"ok": false, "error": "<html> xoxb-1"}'},
    {"body": b"no JSON"},
    {"body": b"[]"},
    {"status": 500, "body": b"<html>"},
    {"status": 429, "body": b'{"ok": false, "error": "ratelimited"}', "headers": {"Retry-After": "30"}},
    {"fault": "reset"},
    {"fault": "half", "body": b"{}"},
]


@pytest.mark.parametrize("failure", FAILURES)
def test_an_answer_that_cannot_be_given_is_a_warning(
    slack: Any, replies: SlackReplies, a_reply: Callable[..., Any], failure: dict[str, Any], caplog: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    slack.then(a_reply(**failure))

    with structlog.testing.capture_logs() as logs:
        replies.answer(pressed(), ("Done, said canary-words.",))

    assert [(entry["log_level"], entry["action"]) for entry in logs] == [("warning", "slack_reply")]
    assert (logs[0]["button"], logs[0]["incident"]) == ("accept", 7)
    assert not any(word in repr(logs) for word in ("canary", "xoxb", "html", "U042ANA"))
    assert not [record for record in caplog.records if "slack" in record.name]


def test_slacks_own_code_is_in_the_warning(
    slack: Any, replies: SlackReplies, refusal: Callable[[str], Any]
) -> None:
    slack.then(refusal("missing_scope"))

    with structlog.testing.capture_logs() as logs:
        replies.answer(pressed(channel=None), ("Done.",))

    assert [entry["error"] for entry in logs] == ["missing_scope"]


def test_a_slack_that_hangs_is_not_waited_for(
    slack: Any, slack_settings: SlackSettings, a_reply: Callable[..., Any]
) -> None:
    slack.then(a_reply(fault="hang"))

    with structlog.testing.capture_logs() as logs:
        SlackReplies(slack_settings, timeout=1).answer(pressed(), ("Done.",))

    assert len(logs) == 1


def test_an_address_that_is_none_of_the_web_is_a_warning() -> None:
    settings = SlackSettings(token=SecretStr("xoxb-1"), channel="#c", base_url="http://127.0.0.1:1/api/")

    with structlog.testing.capture_logs() as logs:
        SlackReplies(settings, timeout=1).answer(pressed(), ("Done.",))

    assert len(logs) == 1


# The question


def test_the_question_is_a_modal_with_a_reason_and_how_long(slack: Any, replies: SlackReplies) -> None:
    replies.ask_reason(pressed(), "Accepts <2> differences of platform/prod.")

    assert slack.methods() == ["views.open"]
    asked = slack.calls[0].json
    assert asked["trigger_id"] == pressed().trigger
    what, reason, expiry = asked["view"]["blocks"]
    assert what["text"]["text"] == "Accepts &lt;2&gt; differences of platform/prod."
    assert (reason["optional"], reason["element"]["max_length"]) == (False, 1000)
    assert [option["text"]["text"] for option in expiry["element"]["options"]] == [
        "1 week",
        "30 days",
        "90 days",
        "For good",
    ]
    assert expiry["element"]["initial_option"] in expiry["element"]["options"]
    titles = (asked["view"][name]["text"] for name in ("title", "submit", "close"))
    assert all(len(title) <= 24 for title in titles)


def test_what_is_filled_in_comes_back_as_the_press_that_was_asked_about(
    slack: Any, replies: SlackReplies
) -> None:
    """The modal, sent back as Slack does it."""
    replies.ask_reason(pressed(), "Accepts a difference.")
    view = slack.calls[0].json["view"]
    _, reason, expiry = view["blocks"]
    values = {
        reason["block_id"]: {reason["element"]["action_id"]: {"value": "It is wanted."}},
        expiry["block_id"]: {
            expiry["element"]["action_id"]: {"selected_option": expiry["element"]["options"][0]}
        },
    }
    filled = {**view, "id": "V1", "hash": "1.a", "state": {"values": values}}

    back = read({"type": "view_submission", "user": {"id": "U042ANA"}, "view": filled})

    assert isinstance(back, Pressed)
    assert (back.aim, back.channel, back.thread) == (pressed().aim, "C042", pressed().thread)
    assert (back.reason, back.expires_days) == ("It is wanted.", 7)


@pytest.mark.parametrize(("channel", "thread"), [(None, None), ("C042", None)])
def test_a_place_that_is_not_known_comes_back_as_not_known(
    slack: Any, replies: SlackReplies, channel: str | None, thread: str | None
) -> None:
    replies.ask_reason(pressed(channel=channel, thread=thread), "Accepts a difference.")

    remembered = json.loads(slack.calls[0].json["view"]["private_metadata"])
    assert (remembered["channel"], remembered["thread"]) == (channel, thread)
    assert len(slack.calls[0].json["view"]["private_metadata"]) < 3000


@pytest.mark.parametrize("code", ["expired_trigger_id", "trigger_expired", "invalid_arguments"])
def test_a_question_that_comes_too_late_is_said_so(
    slack: Any, replies: SlackReplies, refusal: Callable[[str], Any], code: str
) -> None:
    slack.then(refusal(code))

    with structlog.testing.capture_logs() as logs:
        replies.ask_reason(pressed(), "Accepts a difference.")

    assert slack.methods() == ["views.open", "chat.postEphemeral"]
    assert "Press again." in slack.calls[1].json["text"]
    assert [entry["error"] for entry in logs] == [code]


def test_without_a_trigger_there_is_no_question(slack: Any, replies: SlackReplies) -> None:
    with structlog.testing.capture_logs() as logs:
        replies.ask_reason(pressed(trigger=None), "Accepts a difference.")

    assert slack.methods() == ["chat.postEphemeral"]
    assert [entry["error"] for entry in logs] == ["no_trigger_id"]


def test_the_token_cannot_be_logged() -> None:
    secret = "canary-bot-token-0123456789"
    SlackReplies(SlackSettings(token=SecretStr(secret), channel="#c"))

    assert secret not in redact(f"it is {secret}")
