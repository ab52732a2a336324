"""What a person who pressed a button in Slack gets to see: an answer for their eyes only, or a question.

An answer is of sentences and goes to where the button is, or where that is not known or not for them, to the
person. The question, why and for how long something is accepted, is a modal; what is filled in comes back by
`slack_intake`. An address for answers that comes with a press (`response_url`) is never used: we speak to
Slack only where we know it to be.

Nothing here raises: an answer that cannot be given is logged, and what was pressed is done or not done all
the same. The app needs the scope chat:write.
"""

from __future__ import annotations

import logging
import re
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackRequestError

from driftwatch import log
from driftwatch.notify.slack_intake import (
    ACCEPT_VIEW,
    EXPIRIES,
    EXPIRY,
    REASON,
    REASON_LIMIT,
    metadata_of,
)
from driftwatch.notify.text import escaped, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from slack_sdk.web import SlackResponse

    from driftwatch.config.notify import SlackSettings
    from driftwatch.notify.slack_intake import Pressed

TIMEOUT_SECONDS = 5
"""A trigger lives for three; and while one person is answered, the next one waits."""

TEXT_LIMIT = 3000
"""Characters of a section."""

USUAL_EXPIRY = "30"

_ERROR_CODE = re.compile(r"[a-z][a-z0-9_]{1,79}\Z")
_NOT_THERE = frozenset({"channel_not_found", "is_archived", "not_in_channel", "user_not_in_channel"})
"""Why an answer cannot be given in the channel, but can be to the person."""

logger = log.get("slack")


class SlackReplies:
    """Answers to those who press; from one thread."""

    def __init__(self, settings: SlackSettings, *, timeout: int = TIMEOUT_SECONDS) -> None:
        token = settings.token.get_secret_value()
        log.register_secret(token)
        self._client = WebClient(
            token=token,
            base_url=settings.base_url or WebClient.BASE_URL,
            timeout=timeout,
            logger=silent_logger(),
            retry_handlers=[],
        )

    def answer(self, pressed: Pressed, sentences: tuple[str, ...]) -> None:
        """Tells the person who pressed; the sentences may hold anybody's words."""
        text = escaped("\n".join(plain(sentence) for sentence in sentences), TEXT_LIMIT)
        said: dict[str, Any] = {
            "text": text,
            "blocks": [{"type": "section", "text": _mrkdwn(text)}],
            "parse": "none",
            "link_names": False,
        }
        trouble: str | None = None
        if pressed.channel:
            place = {"channel": pressed.channel, "thread_ts": pressed.thread, "user": pressed.member}
            trouble = _trouble(self._client.chat_postEphemeral, **said, **place)
        if not pressed.channel or trouble in _NOT_THERE:
            unfurl = {"unfurl_links": False, "unfurl_media": False}
            trouble = _trouble(self._client.chat_postMessage, **said, **unfurl, channel=pressed.member)
        if trouble:
            _complain("Somebody who pressed a button could not be answered.", trouble, pressed)

    def ask_reason(self, pressed: Pressed, what: str) -> None:
        """Asks why, and for how long, `what` (a sentence) is accepted; within three seconds of the press."""
        trouble = "no_trigger_id"
        if pressed.trigger:
            found = _trouble(self._client.views_open, trigger_id=pressed.trigger, view=_view(pressed, what))
            if found is None:
                return
            trouble = found
        _complain("Somebody could not be asked why they accept something.", trouble, pressed)
        self.answer(pressed, ("Nothing is accepted: Slack did not let us ask for a reason. Press again.",))


def error_code(error: SlackApiError) -> str | None:
    """Slack's own word for what is wrong, None where it has none."""
    data = error.response.data
    code = data.get("error") if isinstance(data, dict) else None
    return code if isinstance(code, str) and _ERROR_CODE.match(code) else None


def silent_logger() -> logging.Logger:
    """For slack-sdk, whose lines repeat texts and addresses with tickets; what matters is logged here."""
    quiet = logging.getLogger("driftwatch.notify.slack_sdk")
    quiet.setLevel(logging.CRITICAL + 1)
    quiet.propagate = False
    return quiet


def _trouble(method: Callable[..., SlackResponse], **arguments: Any) -> str | None:
    """Asks something of Slack; a word for what went wrong, None where nothing did."""
    try:
        method(**arguments)
    except SlackApiError as error:
        return error_code(error) or f"http_{error.response.status_code}"
    except (SlackRequestError, OSError, HTTPException, ValueError, LookupError, AttributeError) as error:
        # Not reached, or no JSON, or JSON that is no object, on which slack-sdk trips.
        return type(error).__name__
    return None


def _complain(sentence: str, trouble: str, pressed: Pressed) -> None:
    aim = pressed.aim
    logger.warning(
        sentence, action="slack_reply", error=trouble, button=aim.button.value, incident=aim.incident
    )


def _view(pressed: Pressed, what: str) -> dict[str, Any]:
    return {
        "type": "modal",
        "callback_id": ACCEPT_VIEW,
        "private_metadata": metadata_of(pressed),
        "title": _plain_text("Accept"),
        "submit": _plain_text("Accept"),
        "close": _plain_text("Cancel"),
        "blocks": [
            {"type": "section", "text": _mrkdwn(escaped(plain(what), TEXT_LIMIT))},
            _field(
                REASON,
                "Why is it fine as it is?",
                {"type": "plain_text_input", "multiline": True, "min_length": 1, "max_length": REASON_LIMIT},
            ),
            _field(
                EXPIRY,
                "For how long?",
                {
                    "type": "static_select",
                    "options": [_option(value) for value in EXPIRIES],
                    "initial_option": _option(USUAL_EXPIRY),
                },
            ),
        ],
    }


def _field(name: str, label: str, element: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "input",
        "block_id": name,
        "optional": False,
        "label": _plain_text(label),
        "element": element | {"action_id": name},
    }


def _option(value: str) -> dict[str, Any]:
    return {"text": _plain_text(EXPIRIES[value][0]), "value": value}


def _plain_text(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _mrkdwn(text: str) -> dict[str, Any]:
    # Verbatim: Slack shall not make links or mentions out of what merely looks like one.
    return {"type": "mrkdwn", "text": text, "verbatim": True}
