"""Somebody in Slack, for the tests in which one presses: what is shown to them, and what they send."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from tests.acceptance.conftest import House

SIGNING_SECRET = "signing-canary-77aa12"
ANNA, BOB, STRANGER = "U0ANNA0001", "U0BOB00002", "U0STRANGE3"


class Phone:
    """Somebody in Slack: sees what stands in the channel, and presses what is under it."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.url = f"http://127.0.0.1:{house.port}/hooks/slack"
        self._presses = 0

    def blocks(self) -> list[dict[str, Any]]:
        """Those of the message that stands in the channel, as it was last written."""
        written = [
            form
            for method, form in self._house.slack.calls
            if method in ("chat.postMessage", "chat.update") and not form.get("thread_ts")
        ]
        blocks: list[dict[str, Any]] = written[-1]["blocks"] if written else []
        return blocks

    def values(self) -> dict[str, str]:
        """What the buttons carry, by what they do."""
        found = {}
        for block in self.blocks():
            for element in block.get("elements", ()) if block["type"] == "actions" else ():
                found[element["action_id"].removeprefix("driftwatch:")] = element["value"]
        return found

    def option(self, word: str) -> str:
        """What an entry of a single finding's menu carries."""
        (menu,) = [block["accessory"] for block in self.blocks() if "accessory" in block]
        return next(str(each["value"]) for each in menu["options"] if word in each["text"]["text"])

    def press(self, value: str, member: str = ANNA, *, again: bool = False) -> int:
        self._presses += 0 if again else 1
        return self.send(pressed(value, member, self._presses))

    def fill_in(self, reason: str, *, days: str = "30", member: str = ANNA) -> int:
        """Sends the modal that was opened last."""
        (*_, view) = [form["view"] for method, form in self._house.slack.calls if method == "views.open"]
        view = json.loads(view) if isinstance(view, str) else view
        values = {
            "reason": {"reason": {"type": "plain_text_input", "value": reason}},
            "expiry": {"expiry": {"type": "static_select", "selected_option": {"value": days}}},
        }
        return self.send(
            {
                "type": "view_submission",
                "team": {"id": "T1"},
                "user": {"id": member},
                "view": {
                    "id": "V1",
                    "hash": "h1",
                    "callback_id": view["callback_id"],
                    "private_metadata": view["private_metadata"],
                    "state": {"values": values},
                },
            }
        )

    def send(
        self,
        payload: dict[str, Any],
        *,
        secret: str = SIGNING_SECRET,
        age: int = 0,
        timestamp: str | None = None,
    ) -> int:
        body = urlencode({"payload": json.dumps(payload)}).encode()
        stamp = timestamp or str(int(time.time()) - age)
        digest = hmac.new(secret.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256)
        return self.post(body, stamp, f"v0={digest.hexdigest()}")

    def post(self, body: bytes, stamp: str, signature: str) -> int:
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": signature,
        }
        began = time.monotonic()
        try:
            with urlopen(Request(self.url, body, headers), timeout=10) as answer:
                status = int(answer.status)
        except HTTPError as refused:
            status = refused.code
        assert time.monotonic() - began < 3, "Slack waits for three seconds"
        return status

    def answers(self) -> list[str]:
        """What was said for one person's eyes."""
        return [
            str(form["text"]) for method, form in self._house.slack.calls if method == "chat.postEphemeral"
        ]

    def answer(self, number: int) -> str:
        self._house.wait_for(f"answer {number}", lambda: len(self.answers()) >= number)
        return self.answers()[number - 1]


def pressed(value: str, member: str, number: int) -> dict[str, Any]:
    """What Slack sends when somebody presses a button."""
    return {
        "type": "block_actions",
        "team": {"id": "T1"},
        "user": {"id": member},
        "trigger_id": f"{number}.trigger",
        "container": {"channel_id": "C1", "message_ts": "1.1"},
        "actions": [
            {
                "action_id": f"driftwatch:{value.partition(':')[0]}",
                "value": value,
                "action_ts": f"1700000000.{number:06}",
            }
        ],
    }


def has_buttons(house: House, more: str) -> None:
    """Configures Slack with buttons whose presses come by HTTP, and `more`, without waiting for others."""
    text = house.config.read_text().replace(
        'channel: "#infra-drift",', 'channel: "#infra-drift", signing_secret: "${env:SLACK_SIGNING_SECRET}",'
    )
    house.config.write_text(text.replace("web:", "  gather: 0s\nweb:") + more)
    house.environment["SLACK_SIGNING_SECRET"] = SIGNING_SECRET
