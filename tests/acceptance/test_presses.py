"""Buttons in Slack, end to end: the daemon's own message, a signed press, and what comes of it."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from websockets.sync.server import serve

from driftwatch.sandbox.cloud import Kind
from tests.acceptance.phone import ANNA, BOB, SIGNING_SECRET, STRANGER, Phone, has_buttons, pressed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.server import ServerConnection

    from tests.acceptance.conftest import House

RECORD = "example.test/api/A"
ADDRESS = 'sandbox_dns_record.host["api"]'

USERS = f"""
users:
  anna: {{slack: [{ANNA}], rights: [view, acknowledge, accept, apply]}}
  bob: {{slack: [{BOB}], rights: [view]}}
"""


@pytest.fixture
def phone(house: House) -> Iterator[Phone]:
    """A daemon that has found one drift and told it, with buttons."""
    has_buttons(house, USERS)
    house.apply("dns")
    daemon = house.start()
    house.wait_for_verdicts(dns="in_sync")
    house.cloud.delete(Kind.DNS_RECORD, RECORD)
    house.wait_for("the alert", lambda: house.slack.posted)
    yield Phone(house)
    assert house.stop(daemon) == 0
    assert SIGNING_SECRET not in house.log()


def status(house: House) -> str:
    (finding,) = house.json("findings", "list", "--status", "unresolved")["findings"]
    return str(finding["status"])


def audited(house: House) -> list[tuple[str, str, str]]:
    return [
        (str(actor), str(action), str(outcome))
        for actor, action, outcome in house.rows("SELECT actor, action, outcome FROM audit ORDER BY id")
    ]


@pytest.mark.row(55)
def test_every_button_does_what_it_says_and_is_audited(house: House, phone: Phone) -> None:
    """Row 55: by whom, once, with what was seen; the message tells it, and so does the thread."""
    assert set(phone.values()) == {"acknowledge", "snooze", "accept", "repair", "details"}

    assert phone.press(phone.values()["details"]) == 200
    assert ADDRESS in phone.answer(1)
    assert "Somebody deleted it outside of Terraform" in phone.answer(1)

    assert phone.press(phone.values()["acknowledge"]) == 200
    assert f"You look after {ADDRESS} in platform/dns" in phone.answer(2)
    assert status(house) == "acknowledged"
    house.wait_for("the reply in the thread", lambda: "anna looks after" in str(house.slack.posted[-1:]))
    house.wait_for("the message to tell it", lambda: "anna looks after" in str(phone.blocks()))

    assert phone.press(phone.values()["repair"]) == 200
    assert "A proposal to revert platform/dns is being made." in phone.answer(3)
    house.wait_for("the proposal to stand in the message", lambda: "approve" in phone.values())

    assert phone.press(phone.option("Snooze 1 week")) == 200
    assert "You snoozed" in phone.answer(4)
    assert status(house) == "snoozed"
    assert house.driftwatch("findings", "reopen", "1", "--config", str(house.config)).returncode == 0
    house.wait_for("the message to say so, with buttons anew", lambda: "re-opened" in str(phone.blocks()))

    assert phone.press(phone.values()["accept"]) == 200
    house.wait_for("the question why", lambda: "views.open" in [method for method, _ in house.slack.calls])
    assert status(house) == "reopened", "nothing is accepted without a reason"
    assert phone.fill_in("moved to the other zone, see DNS-12") == 200
    assert "You accepted" in phone.answer(5)
    assert status(house) == "accepted"
    shown = house.json("findings", "show", "1")
    assert (shown["acceptance"]["by"], shown["acceptance"]["reason"]) == (
        "anna",
        "moved to the other zone, see DNS-12",
    )

    outcomes = [(action, outcome) for actor, action, outcome in audited(house) if actor == "anna"]
    assert outcomes == [
        ("details", "asked"),
        ("details", "shown"),
        ("acknowledge", "asked"),
        ("acknowledge", "done"),
        ("repair", "asked"),
        ("repair", "done"),
        ("snooze", "asked"),
        ("snooze", "done"),
        ("accept", "asked"),
        ("accept", "asked for a reason"),
        ("accept", "asked"),
        ("accept", "done"),
    ]


@pytest.mark.row(55)
def test_whoever_may_not_is_told_so_and_nothing_is_done(house: House, phone: Phone) -> None:
    """Row 55: forged and old requests, strangers, a missing right, double clicks, a press on old news."""
    value = phone.values()["acknowledge"]

    forged = {"type": "block_actions", "user": {"id": ANNA}, "actions": []}
    assert phone.send(forged, secret="guessed") == 401
    assert phone.send(forged, age=301) == 401
    assert phone.send(forged, timestamp="soon") == 401
    assert phone.post(b"payload=%7B%7D", str(int(time.time())), "") == 401
    assert audited(house) == []

    assert phone.press(value, STRANGER) == 200
    assert "nobody here knows you" in phone.answer(1)
    assert phone.press(value, BOB) == 200
    assert "you have no right to acknowledge for platform/dns" in phone.answer(2)
    assert status(house) == "open"

    assert phone.press(value) == 200
    phone.answer(3)
    assert phone.press(value, again=True) in (200, 401), (
        "delivered twice, or a replay of the very same request"
    )
    assert phone.press(value) == 200
    assert "already" in phone.answer(4) or "changed since" in phone.answer(4)
    done = [outcome for actor, _, outcome in audited(house) if actor == "anna"]
    assert done.count("done") == 1

    house.wait_for("the message to be written anew", lambda: "anna looks after" in str(phone.blocks()))
    outdated = phone.values()["snooze"]
    house.cloud.delete(Kind.DNS_RECORD, "example.test/www/A")
    house.wait_for("the second finding", lambda: len(house.json("findings", "list")["findings"]) == 2)
    assert phone.press(outdated) == 200
    assert "has changed since" in phone.answer(5)
    refused = {(actor, outcome) for actor, _, outcome in audited(house) if outcome.startswith("refused")}
    assert ("anna", "refused: outdated") in refused
    assert ("bob", "refused: no_right") in refused
    assert (f"slack:{STRANGER}", "refused: unknown_person") in refused


class Socket:
    """Slack's end of Socket Mode: sends envelopes and keeps what is acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: list[str] = []
        self._lines: list[ServerConnection] = []
        self._server = serve(self._speak, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}/link"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _speak(self, line: ServerConnection) -> None:
        line.send(json.dumps({"type": "hello", "num_connections": 1}))
        self._lines.append(line)
        for answer in line:
            self.acknowledged.append(str(json.loads(answer)["envelope_id"]))

    def is_connected(self) -> bool:
        return bool(self._lines)

    def deliver(self, envelope: str, payload: dict[str, Any]) -> None:
        told = {"type": "interactive", "envelope_id": envelope, "payload": payload}
        self._lines[-1].send(json.dumps(told | {"accepts_response_payload": True}))

    def close(self) -> None:
        self._server.shutdown()


@pytest.mark.row(55)
def test_a_press_comes_through_socket_mode_and_once(house: House) -> None:
    """Row 55: no address that Slack must reach; an envelope that comes twice is one press."""
    socket = Socket()
    house.slack.socket = socket.url
    text = house.config.read_text().replace(
        'channel: "#infra-drift",', 'channel: "#infra-drift", app_token: "${env:SLACK_APP_TOKEN}",'
    )
    house.config.write_text(text.replace("web:", "  gather: 0s\nweb:") + USERS)
    house.environment["SLACK_APP_TOKEN"] = "xapp-canary-31b7"
    house.apply("dns")
    daemon = house.start()
    house.wait_for_verdicts(dns="in_sync")
    house.cloud.delete(Kind.DNS_RECORD, RECORD)
    house.wait_for("the alert", lambda: house.slack.posted)
    house.wait_for("the socket", socket.is_connected)

    value = Phone(house).values()["acknowledge"]
    for envelope in ("e1", "e2"):
        socket.deliver(envelope, pressed(value, ANNA, 1))
    house.wait_for("both to be acknowledged", lambda: set(socket.acknowledged) == {"e1", "e2"})
    house.wait_for("the press to be done", lambda: status(house) == "acknowledged")
    assert [outcome for _, _, outcome in audited(house)] == ["asked", "done"]
    assert house.stop(daemon) == 0
    assert "xapp-canary-31b7" not in house.log()
    socket.close()
