"""Slack, through slack-sdk: one message per incident, updated in place, its story in the thread.

What is told first of an incident is posted to the channel; the receipt (channel id and ts) anchors the rest.
Whatever comes later updates that message and posts one short reply under it, which also shows in the channel
where something critical is new. Where the message is gone, it is posted anew and becomes the anchor; every
receipt names the anchor as it is now. What a first message has no room to name follows as its first reply. A
digest is one post of its own.

At least once: when Slack took a message and its answer was lost, the same message is posted again. Each
post carries a `client_msg_id` made from the outbox rows that it tells of. Slack names that argument only in
the errors of chat.postMessage (`duplicate_message_not_found`), so it lowers the odds of a second copy and
promises nothing. An update can be repeated without harm.

slack-sdk's retry handlers are off, as they sleep in the thread, and its logger is silent, as errors are
raised here. It honours HTTPS_PROXY as the daemon finds it. The app needs the scope chat:write and an
invitation to the channel (or chat:write.public).
"""

from __future__ import annotations

import logging
import re
import uuid
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackRequestError

from driftwatch.log import register_secret
from driftwatch.notify import render_incident
from driftwatch.notify.channel import DeliveryDeferred, DeliveryRefused, person_needed
from driftwatch.notify.retry_after import seconds_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slack_sdk.web import SlackResponse

    from driftwatch.config.notify import SlackSettings
    from driftwatch.model import Message
    from driftwatch.notify.blocks import Rendered

TIMEOUT_SECONDS = 10
"""Slack answers within one second or is in trouble; the sender has other channels to serve."""

_NAMESPACE = uuid.UUID("5d0c1f0e-5b1a-4f6e-9c55-7f2d7b8a3a11")
_ERROR_CODE = re.compile(r"[a-z][a-z0-9_]{1,79}\Z")

_RATE_LIMITED = frozenset({"ratelimited", "rate_limited"})
_PASSING = frozenset(
    {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org"}
)
_MALFORMED = frozenset(
    {
        "attachment_payload_limit_exceeded",
        "invalid_arg_name",
        "invalid_arguments",
        "invalid_array_arg",
        "invalid_blocks",
        "invalid_blocks_format",
        "invalid_charset",
        "invalid_form_data",
        "invalid_json",
        "invalid_post_type",
        "json_not_object",
        "missing_post_type",
        "msg_blocks_too_long",
        "msg_too_long",
        "no_text",
    }
)
_BLOCKS_REFUSED = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long"})
_DUPLICATE_GONE = frozenset({"duplicate_message_not_found", "duplicate_channel_not_found"})
_ANCHOR_GONE = frozenset(
    {
        "cannot_reply_to_message",
        "cant_update_message",
        "channel_not_found",
        "edit_window_closed",
        "is_archived",
        "is_inactive",
        "message_not_found",
        "not_in_channel",
        "restricted_action_non_threadable_channel",
        "restricted_action_thread_locked",
        "thread_not_found",
    }
)

_ADVICE = {
    "account_inactive": "The app or its workspace was removed: install it again and set notify.slack.token.",
    "channel_not_found": "Let {setting} name a channel that exists, by id if it is private, and invite the "
    "app to it.",
    "invalid_auth": "Set notify.slack.token to the app's bot token (xoxb-…).",
    "is_archived": "Unarchive the channel, or let {setting} name another one.",
    "message_limit_exceeded": "The workspace is over its plan's limit of messages.",
    "missing_scope": "Give the app the scope chat:write and install it again.",
    "not_authed": "Set notify.slack.token to the app's bot token (xoxb-…).",
    "not_in_channel": "Invite the app to the channel, or give it the scope chat:write.public.",
    "token_expired": "Set notify.slack.token to a new token.",
    "token_revoked": "Install the app again and set notify.slack.token.",
}
_GENERAL_ADVICE = "Look the code up under chat.postMessage in Slack's reference and mend notify.slack."


class SlackChannel:
    """One Slack channel: that of the settings, or another one as `slack:<channel>`.

    `deliver` makes one post, preceded by one update where there is an anchor, and followed by a reply where
    not all that is told fits into a first message. Only where a press can come back are there buttons.
    `approvals` is how many people have to approve a proposal.
    """

    def __init__(
        self,
        settings: SlackSettings,
        channel: str | None = None,
        *,
        approvals: int = 1,
        timeout: int = TIMEOUT_SECONDS,
    ) -> None:
        token = settings.token.get_secret_value()
        register_secret(token)
        self.name = f"slack:{channel}" if channel else "slack"
        self._channel = channel or settings.channel
        self._set_by = "notify.routes" if channel else "notify.slack.channel"
        self._buttons = settings.has_buttons
        self._approvals = approvals
        self._moved: dict[str, Mapping[str, str]] = {}
        self._client = WebClient(
            token=token,
            base_url=settings.base_url or WebClient.BASE_URL,
            timeout=timeout,
            logger=_silent_logger(),
            retry_handlers=[],
        )

    def deliver(self, message: Message) -> Mapping[str, str]:
        """Tells the channel and returns the anchor: `channel` (id) and `ts`."""
        alone = render_incident.is_digest(message)
        try:
            receipt = self._tell(message, {} if alone else message.anchor or {})
        except SlackApiError as error:
            raise _verdict_on(error, self._set_by) from error
        self._moved.pop(message.dedupe_key, None)
        return receipt

    def _tell(self, message: Message, anchor: Mapping[str, str]) -> Mapping[str, str]:
        # The outbox goes on naming the first receipt of a thread, also when its message was deleted since;
        # and it knows of none where the first message got through and the reply under it did not.
        known_as = anchor.get("ts") or message.dedupe_key
        present = self._moved.get(known_as, anchor)
        if not (present.get("channel") and present.get("ts")):
            return self._post_anew(message, known_as)
        try:
            return self._tell_in_thread(message, present["channel"], present["ts"])
        except SlackApiError as error:
            if _code(error) not in _ANCHOR_GONE:
                raise
            return self._post_anew(message, known_as)

    def _post_anew(self, message: Message, known_as: str) -> Mapping[str, str]:
        head = self._head(message)
        response = self._post(message, head, self._channel)
        anchor = {key: value for key in ("channel", "ts") if isinstance(value := response.get(key), str)}
        if len(anchor) == 2:
            self._moved[known_as] = anchor
            self._name_the_rest(message, head, anchor)
        return anchor

    def _head(self, message: Message) -> Rendered:
        return render_incident.head(message, buttons=self._buttons, needed=self._approvals)

    def _name_the_rest(self, message: Message, head: Rendered, anchor: Mapping[str, str]) -> None:
        """Names under a first message what it had no room for; a digest is not for that."""
        unnamed = [told for told in message.all_told if told.stack not in head.stacks]
        if not unnamed or render_incident.is_digest(message):
            return
        try:
            self._post(message, render_incident.reply(unnamed), anchor["channel"], anchor["ts"])
        except SlackApiError as error:
            # Where no replies are allowed, the message stands alone: it says how many it does not name.
            if _code(error) not in _ANCHOR_GONE:
                raise

    def _tell_in_thread(self, message: Message, channel: str, ts: str) -> Mapping[str, str]:
        self._update(self._head(message), channel, ts)
        loud = render_incident.is_escalation(message.all_told)
        self._post(message, render_incident.reply(message.all_told), channel, ts, loud=loud)
        return {"channel": channel, "ts": ts}

    def _update(self, rendered: Rendered, channel: str, ts: str) -> None:
        arguments: dict[str, Any] = {
            "channel": channel,
            "ts": ts,
            "text": rendered.text,
            "blocks": rendered.blocks,
            "parse": "none",
            "link_names": False,
        }
        try:
            _call(self._client.chat_update, arguments)
        except SlackApiError as error:
            if _code(error) not in _BLOCKS_REFUSED:
                raise
            # An empty list takes the old blocks away, which would otherwise go on showing the old condition.
            _call(self._client.chat_update, arguments | {"blocks": []})

    def _post(
        self,
        message: Message,
        rendered: Rendered,
        channel: str,
        thread: str | None = None,
        *,
        loud: bool = False,
    ) -> SlackResponse:
        """Posts; and once more, plainer, where Slack refused the blocks or the id and so posted nothing.

        A `loud` reply also shows in the channel.
        """
        arguments: dict[str, Any] = {
            "channel": channel,
            "text": rendered.text,
            "blocks": rendered.blocks,
            "thread_ts": thread,
            "reply_broadcast": loud if thread else None,
            "parse": "none",
            "link_names": False,
            "unfurl_links": False,
            "unfurl_media": False,
            "client_msg_id": _post_id(message, thread),
        }
        try:
            return _call(self._client.chat_postMessage, arguments)
        except SlackApiError as error:
            if _code(error) in _BLOCKS_REFUSED:
                return _call(self._client.chat_postMessage, arguments | {"blocks": None})
            if _code(error) in _DUPLICATE_GONE:
                return _call(self._client.chat_postMessage, arguments | {"client_msg_id": None})
            raise


def _post_id(message: Message, thread: str | None) -> str:
    """The same for the same post, and another where it tells of more, or stands in another thread.

    A message posted anew is not the reply that could not be posted; and what came to wait behind a message
    whose answer was lost must not be taken for a copy of it.
    """
    carried = ",".join(map(str, message.carried))
    return str(uuid.uuid5(_NAMESPACE, f"{message.dedupe_key}/{carried}/{thread or ''}"))


def _call(method: Callable[..., SlackResponse], arguments: Mapping[str, Any]) -> SlackResponse:
    """One request. Slack's own "no" passes as SlackApiError; what kept it from answering is a deferral."""
    try:
        return method(**arguments)
    except SlackRequestError as error:
        raise person_needed(
            "Slack's address is not one for HTTP", "Set notify.slack.base_url to a URL, or leave it out."
        ) from error
    except (OSError, HTTPException) as error:
        raise DeliveryDeferred(reason=f"Slack cannot be reached ({type(error).__name__})") from error
    except (ValueError, LookupError, AttributeError) as error:
        # Not JSON, no such charset, or JSON that is no object, on which slack-sdk trips.
        raise DeliveryDeferred(reason="Slack's answer cannot be read") from error


def _verdict_on(error: SlackApiError, setting: str) -> DeliveryDeferred | DeliveryRefused:
    code, status = _code(error), error.response.status_code
    if status == 429 or code in _RATE_LIMITED:
        return DeliveryDeferred(seconds_in(error.response.headers), reason="Slack asks to slow down")
    if status >= 500 or code is None or code in _PASSING:
        reason = f"Slack is in trouble (HTTP {status}, {code or 'no readable answer'})"
        return DeliveryDeferred(seconds_in(error.response.headers), reason=reason)
    if code in _MALFORMED:
        return DeliveryRefused(f"Slack does not take this message: {code}")
    advice = _ADVICE.get(code, _GENERAL_ADVICE).replace("{setting}", setting)
    return person_needed(f"Slack refuses messages: {code}", advice)


def _code(error: SlackApiError) -> str | None:
    """Slack's error code, or None where there is none (slack-sdk puts half a web page in its place)."""
    data = error.response.data
    code = data.get("error") if isinstance(data, dict) else None
    return code if isinstance(code, str) and _ERROR_CODE.match(code) else None


def _silent_logger() -> logging.Logger:
    logger = logging.getLogger("driftwatch.notify.slack_sdk")
    logger.setLevel(logging.CRITICAL + 1)
    logger.propagate = False
    return logger
