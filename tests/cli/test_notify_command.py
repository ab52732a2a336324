"""The ways to people, tried and explained at the terminal: what arrives, what is wrong, nothing secret."""

from __future__ import annotations

import email
import json
import socket
import sqlite3
import sys
import threading
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import time_machine
from aiosmtpd.controller import Controller

from driftwatch.cli import compose
from driftwatch.cli.notify import TEST_SENTENCE, TEST_STACK
from driftwatch.errors import Exit
from driftwatch.notify import DeliveryRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.cli.conftest import Ran

TOKEN = "xoxb-canary-0123456789-abcdef"
HOOK_SECRET = "canary-hook-secret-0123456789"
HOOK_PATH = "canary-path-of-the-hook-0123"
FORGE_TOKEN = "canary-forge-token-0123456789"
SECRETS = (TOKEN, HOOK_SECRET, HOOK_PATH, FORGE_TOKEN)
NIGHT = "2026-11-23T23:30:00Z"

ROUTES = """
  routes:
    - {channels: ["slack:#network", "webhook:hook"], stacks: ["platform/net*"], severity: high,
       quiet_hours: {from: "22:00", to: "07:00"}}
    - {channels: ["email:ops"], labels: {tier: prod}, digest: {at: "09:00", days: [tue, thu]}}
    - {channels: ["slack"], owners: ["@dba"], causes: [out_of_band]}
    - {channels: [], stacks: ["platform/play*"]}
"""


@dataclass
class Call:
    verb: str
    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass
class World:
    """Slack, a webhook's receiver, GitHub and GitLab on loopback. `broken` are answers by path's ending."""

    calls: list[Call] = field(default_factory=list)
    broken: dict[str, tuple[int, Any]] = field(default_factory=dict)
    url: str = ""

    def answer(self, call: Call) -> tuple[int, Any]:
        self.calls.append(call)
        for ending, answer in self.broken.items():
            if call.path.endswith(ending):
                return answer
        if "/chat." in call.path:
            return 200, {"ok": True, "channel": "C042", "ts": f"1700000000.{len(self.calls):06}"}
        if call.verb == "GET":
            return 200, []
        return 201, {"number": 7, "iid": 7, "id": 9007, "body": "", "title": "", "state": ""}

    def of(self, ending: str) -> list[Any]:
        """The bodies that were sent to where."""
        return [call.body for call in self.calls if call.path.endswith(ending)]

    def asked(self) -> list[str]:
        return [f"{call.verb} {call.path}" for call in self.calls]


@pytest.fixture
def world() -> Iterator[World]:
    here = World()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            body = json.loads(content) if content else None
            call = Call(self.command, self.path.partition("?")[0], dict(self.headers), body)
            status, answer = here.answer(call)
            sent = json.dumps(answer).encode()
            self.send_response_only(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_POST = do_PUT = do_PATCH = do_GET  # noqa: N815  (the base class's names)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class's name)
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    here.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield here
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class Postbox:
    """Takes mail for all but those whom it `refuses`."""

    mails: list[Any] = field(default_factory=list)
    refuses: tuple[str, ...] = ()

    async def handle_RCPT(  # noqa: N802  (the hook)
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if address in self.refuses:
            return "550 No such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802  (the hook)
        self.mails.append(email.message_from_bytes(envelope.content, policy=default))
        return "250 OK"


class Office(Controller):
    """An SMTP server on a port of its own."""

    def _trigger_server(self) -> None:
        # The base class connects to port 0 to see whether the server answers.
        self.port = int(self.server.sockets[0].getsockname()[1])
        super()._trigger_server()


@pytest.fixture
def postbox() -> Postbox:
    return Postbox()


@pytest.fixture
def office(postbox: Postbox) -> Iterator[Office]:
    server = Office(postbox, hostname="127.0.0.1", port=0, ready_timeout=10.0, server_hostname="x")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def notify(cli: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`notify(section)("test", …)`: the commands on a configuration with this section `notify`."""
    monkeypatch.setenv("SLACK", TOKEN)
    monkeypatch.setenv("HOOK", HOOK_SECRET)
    monkeypatch.setenv("FORGE", FORGE_TOKEN)

    def configured(section: str) -> Callable[..., Ran]:
        config = tmp_path / "driftwatch.yaml"
        config.write_text(
            "state_dir: ./state\n"
            "repositories:\n"
            f"  platform:\n    url: {tmp_path / 'gone'}\n    stacks:\n"
            "      - {path: 'net*', labels: {tier: prod}, owners: ['@net']}\n"
            "      - {path: '**'}\n"
            f"notify:\n{section}",
            encoding="utf-8",
        )

        def run(*words: str) -> Ran:
            ran = cli("notify", *words, "-c", config)
            assert not [secret for secret in SECRETS if secret in ran.out + ran.err]
            assert not (tmp_path / "state").exists(), "it works without a database"
            return ran

        return run

    return configured


def slack(world: World) -> str:
    return f"  slack: {{token: '${{env:SLACK}}', channel: '#drift', base_url: '{world.url}/api/'}}\n"


def hook(world: World) -> str:
    where = f"{world.url}/{HOOK_PATH}/hook"
    return f"  webhooks: [{{name: hook, url: '{where}', secret: '${{env:HOOK}}'}}]\n"


def mailbox(port: int, *to: str) -> str:
    return (
        f"  email: [{{name: ops, host: 127.0.0.1, port: {port}, security: none, from: d@example.com, "
        f"to: [{', '.join(to or ('ops@example.com',))}]}}]\n"
    )


def forges(world: World) -> str:
    return (
        f"  github: [{{name: infra, repository: acme/infra, token: '${{env:FORGE}}', "
        f"api_url: '{world.url}/api/v3'}}]\n"
        f"  gitlab: [{{name: infra, project: 'acme/infra', token: '${{env:FORGE}}', url: '{world.url}'}}]\n"
    )


def everywhere(world: World, office: Office) -> str:
    return slack(world) + hook(world) + mailbox(office.port) + forges(world)


# ---- test ----------------------------------------------------------------------------------------------


def test_every_channel_gets_a_message_that_says_that_it_is_a_test(
    notify: Callable[..., Any], world: World, office: Office, postbox: Postbox
) -> None:
    ran = notify(everywhere(world, office))("test")
    assert ran.code == Exit.OK, ran.out
    lines = ran.out.splitlines()
    names = ["slack", "webhook:hook", "email:ops", "github:infra", "gitlab:infra"]
    assert [line.split()[0] for line in lines] == names
    assert all("  ok, " in line for line in lines)
    (mail,) = postbox.mails
    (hooked,) = world.of("/hook")
    texts = [
        str(world.of("/chat.postMessage")[0]),
        hooked["findings"][0]["message"],
        mail.get_content(),
        world.of("/repos/acme/infra/issues")[1]["body"],
        str(next(call.body for call in world.calls if call.verb == "POST" and "/v4/" in call.path)),
    ]
    assert [TEST_SENTENCE in text for text in texts] == [True] * 5
    assert (hooked["event"], hooked["stack"], hooked["findings"][0]["severity"]) == (
        "drift_found",
        TEST_STACK,
        "info",
    )


def test_nothing_seems_to_be_open_after_it(
    notify: Callable[..., Any], world: World, office: Office, postbox: Postbox
) -> None:
    """A test issue is closed again and Slack's message turns green; mails and webhooks come once."""
    notify(everywhere(world, office))("test")
    (edited,) = [call.body for call in world.calls if call.verb == "PATCH"]
    (changed,) = [call.body for call in world.calls if call.verb == "PUT"]
    assert (edited["state"], changed["state_event"]) == ("closed", "close")
    assert [body["body"].count("resolved") for body in world.of("/issues/7/comments")] == [1]
    (updated,) = world.of("/chat.update")
    assert (updated["channel"], updated["ts"], "resolved" in updated["text"]) == (
        "C042",
        "1700000000.000001",
        True,
    )
    assert [post.get("thread_ts") for post in world.of("/chat.postMessage")] == [None, "1700000000.000001"]
    assert (len(postbox.mails), len(world.of("/hook"))) == (1, 1)
    assert "actions" not in {
        block["type"] for post in world.of("/chat.postMessage") for block in post["blocks"]
    }


def test_two_tests_are_two_messages(
    notify: Callable[..., Any], world: World, office: Office, postbox: Postbox
) -> None:
    """No receiver may drop the second as a copy of the first."""
    run = notify(hook(world) + mailbox(office.port))
    run("test")
    run("test")
    assert len({body["id"] for body in world.of("/hook")}) == 2
    assert len({mail["Message-ID"] for mail in postbox.mails}) == 2


@pytest.mark.parametrize(
    ("named", "told"),
    [
        (["slack"], ["slack"]),
        (["github:*", "webhook:hook"], ["webhook:hook", "github:infra"]),
        (["*:infra", "github:infra"], ["github:infra", "gitlab:infra"]),
        (["slack:#network"], ["slack:#network"]),
        (["slack*"], ["slack", "slack:#network"]),
    ],
)
def test_channels_are_named_or_matched_and_tried_once(
    notify: Callable[..., Any], world: World, office: Office, named: list[str], told: list[str]
) -> None:
    section = everywhere(world, office) + '  routes: [{channels: ["slack:#network"]}]\n'
    ran = notify(section)("test", *named, "-f", "json")
    tried = json.loads(ran.out)["channels"]
    assert (ran.code, [each["channel"] for each in tried]) == (Exit.OK, told)
    assert list(tried[0]) == ["channel", "ok", "seconds", "reason", "advice"]
    assert [(each["ok"], each["reason"], each["advice"]) for each in tried] == [(True, None, None)] * len(
        told
    )
    assert all(0 <= each["seconds"] < 30 for each in tried)


def test_a_channel_that_only_a_route_names_is_where_the_route_says(
    notify: Callable[..., Any], world: World
) -> None:
    notify(slack(world) + '  routes: [{channels: ["slack:#network"]}]\n')("test", "slack:#network")
    assert world.of("/chat.postMessage")[0]["channel"] == "#network"


def test_one_that_fails_keeps_no_other_from_being_tried(
    notify: Callable[..., Any], world: World, office: Office
) -> None:
    world.broken["/chat.postMessage"] = (200, {"ok": False, "error": "not_in_channel"})
    world.broken["/repos/acme/infra/issues"] = (401, {"message": "Bad credentials"})
    world.broken["/hook"] = (410, {})
    run = notify(everywhere(world, office))
    ran = run("test", "-f", "json")
    tried = {each["channel"]: each for each in json.loads(ran.out)["channels"]}
    assert ran.code == Exit.ERROR
    assert [name for name, each in tried.items() if each["ok"]] == ["email:ops", "gitlab:infra"]
    assert tried["slack"]["reason"] == "Slack refuses messages: not_in_channel"
    assert tried["slack"]["advice"].startswith("Invite the app to the channel")
    assert tried["webhook:hook"]["reason"] == "webhook:hook answered 410"
    assert tried["github:infra"]["advice"]
    table = run("test", "slack", "email:ops")
    assert table.code == Exit.ERROR
    assert "slack      failed after 0.0 s: Slack refuses messages: not_in_channel\n" in table.out
    assert "\n           → Invite the app to the channel" in table.out
    assert "email:ops  ok, " in table.out


def test_a_channel_that_nobody_answers_on_fails(notify: Callable[..., Any]) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        ran = notify(mailbox(deaf.getsockname()[1]))("test")
    assert ran.code == Exit.ERROR
    assert "email:ops: the server cannot be reached (ConnectionRefusedError)" in ran.out


def test_an_issue_that_cannot_be_closed_again_is_a_failure_that_says_so(
    notify: Callable[..., Any], world: World
) -> None:
    world.broken["/issues/7"] = (403, {"message": "Must have admin rights"})
    ran = notify(forges(world))("test", "github:infra", "-f", "json")
    (trial,) = json.loads(ran.out)["channels"]
    assert (ran.code, trial["ok"]) == (Exit.ERROR, False)
    assert trial["reason"].startswith("the test arrived, but not that it is over: ")


def test_a_mail_that_goes_to_some_only_is_a_failure_that_names_the_others(
    notify: Callable[..., Any], office: Office, postbox: Postbox
) -> None:
    postbox.refuses = ("gone@example.com",)
    ran = notify(mailbox(office.port, "ops@example.com", "gone@example.com"))("test", "-f", "json")
    (trial,) = json.loads(ran.out)["channels"]
    assert (ran.code, trial["reason"]) == (
        Exit.ERROR,
        "the server took it, but not for gone@example.com",
    )
    assert len(postbox.mails) == 1


def test_a_fault_of_ours_is_named_without_what_it_says(
    notify: Callable[..., Any], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its text may hold a URL, and the URL a secret that nobody has registered."""

    class Broken:
        name = "webhook:broken"

        def deliver(self, _message: object) -> Mapping[str, str]:
            raise KeyError(f"http://127.0.0.1/{HOOK_PATH}")

    monkeypatch.setattr(compose, "outlets", lambda _settings: (Broken(),))
    ran = notify(slack(world))("test")
    assert ran.code == Exit.ERROR
    assert "webhook:broken failed unexpectedly (KeyError)" in ran.out
    assert "Traceback" not in ran.err


@pytest.mark.row(69)
def test_what_a_receiver_says_steers_no_terminal(
    notify: Callable[..., Any], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 69, of a reason and an advice, as a table and as a document."""

    class Hostile:
        name = "webhook:\x1b[31mred\u202e"

        def deliver(self, _message: object) -> Mapping[str, str]:
            raise DeliveryRefused(f"no\x1b[2J\nok \u202e{TOKEN}", advice="do\x07\r\u2066 it")

    monkeypatch.setattr(compose, "outlets", lambda _settings: (Hostile(),))
    run = notify(slack(world))
    for ran in (run("test"), run("test", "-f", "json")):
        assert ran.code == Exit.ERROR
        assert not [sign for sign in "\x1b\x07\r\u202e\u2066" if sign in ran.out]
    assert len(run("test").out.splitlines()) == 2


@pytest.mark.parametrize(
    ("section", "words", "said"),
    [
        ("slack", ("test", "slak"), "no channel matches slak"),
        ("slack", ("test", "slack", "email:*"), "no channel matches email:*"),
        ("none", ("test",), "no channel is configured"),
        ("none", ("test", "slack"), "no channel is configured"),
        ("slack", ("test", "-f", "sarif"), "sarif"),
        ("slack", ("route",), "--stack"),
        ("slack", ("route", "--stack", "platform"), "not a stack id"),
        ("slack", ("route", "--stack", "platform/a", "--severity", "dire"), "dire"),
        ("slack", ("route", "--stack", "platform/a", "--cause", "noise"), "nobody is told of noise"),
        ("slack", ("route", "--stack", "platform/a", "--label", "prod"), "not NAME=VALUE"),
    ],
)
def test_what_cannot_be_is_refused_and_sends_nothing(
    notify: Callable[..., Any], world: World, section: str, words: tuple[str, ...], said: str
) -> None:
    ran = notify({"slack": slack(world), "none": "  routes: []\n"}[section])(*words)
    assert (ran.code, ran.out, world.calls) == (Exit.USAGE, "", [])
    assert said in ran.err


def test_it_leaves_the_outbox_of_a_daemon_alone(
    cli: Callable[..., Ran], notify: Callable[..., Any], world: World, tmp_path: Path
) -> None:
    notify(slack(world))
    config = tmp_path / "driftwatch.yaml"
    cli("db", "upgrade", "-c", config)
    assert cli("notify", "test", "-c", config).code == Exit.OK
    (database,) = (tmp_path / "state").glob("*.db")
    with closing(sqlite3.connect(database)) as connection:
        (counted,) = connection.execute(
            "SELECT (SELECT count(*) FROM messages) + (SELECT count(*) FROM incidents)"
        )
    assert counted == (0,)


# ---- list ----------------------------------------------------------------------------------------------


def test_the_list_tells_how_each_channel_comes_to_be_told(
    notify: Callable[..., Any], world: World, office: Office
) -> None:
    quiet = "quiet 22:00 to 07:00 UTC, every day"
    run = notify(slack(world) + hook(world) + mailbox(office.port) + ROUTES)
    assert run("list").out.splitlines() == [
        "email:ops",
        "  route 2: all stacks; label tier=prod; digest at 09:00 UTC, tue thu, but at once from critical on",
        "  told of what no route fits",
        "slack",
        "  route 3: all stacks; owned by @dba; caused by out_of_band",
        "  told of what no route fits",
        "webhook:hook",
        "  route 1: platform/net*; from high on",
        "  told of what no route fits",
        "slack:#network",
        f"  route 1: platform/net*; from high on; {quiet}, but at once from critical on",
    ]
    assert world.calls == []


def test_the_list_is_a_document_too(notify: Callable[..., Any], world: World, office: Office) -> None:
    document = json.loads(
        notify(slack(world) + hook(world) + mailbox(office.port) + ROUTES)("list", "-f", "json").out
    )
    listed = {each["channel"]: each for each in document["channels"]}
    assert list(listed) == ["email:ops", "slack", "webhook:hook", "slack:#network"]
    assert [each["otherwise"] for each in listed.values()] == [True, True, True, False]
    (route,) = listed["slack:#network"]["routes"]
    assert set(route) == {
        *("number", "stacks", "labels", "owners", "severity", "causes", "quiet_hours", "digest"),
    }
    assert (route["number"], route["severity"], route["digest"]) == (1, "high", None)
    assert (route["quiet_hours"]["from"], route["quiet_hours"]["unless"]) == ("22:00", "critical")


def test_without_routes_every_channel_is_told_of_everything(notify: Callable[..., Any], world: World) -> None:
    assert notify(slack(world))("list").out == "slack\n  told of everything\n"


def test_nobody_is_told_where_no_channel_is_configured(notify: Callable[..., Any]) -> None:
    run = notify("  routes: []\n")
    assert run("list").out == "Nobody is told: no channel is configured.\n"
    assert json.loads(run("list", "-f", "json").out) == {"channels": []}


def test_a_list_needs_no_package_of_a_service(
    notify: Callable[..., Any], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It only reads the configuration: what is not installed is not asked for."""
    monkeypatch.setitem(sys.modules, "github", None)
    ran = notify(forges(world))("list")
    assert (ran.code, ran.out.splitlines()[0]) == (Exit.OK, "github:infra")


# ---- route ---------------------------------------------------------------------------------------------


@pytest.fixture
def routed(notify: Callable[..., Any], world: World, office: Office) -> Callable[..., list[tuple[str, str]]]:
    """Who is told, and when, of a difference at night in a stack."""
    run = notify(slack(world) + hook(world) + mailbox(office.port) + ROUTES)

    def ask(*words: str) -> list[tuple[str, str]]:
        with time_machine.travel(NIGHT, tick=False):
            told = json.loads(run("route", "-f", "json", *words).out)["told"]
        assert world.calls == []
        return [(each["channel"], each["not_before"][5:16]) for each in told]

    return ask


def test_a_route_is_told_with_its_time(routed: Callable[..., Any]) -> None:
    """Quiet hours end at seven, the digest is on Tuesday at nine; a webhook is never kept waiting."""
    assert routed("--stack", "platform/net1", "--severity", "high") == [
        ("email:ops", "11-24T09:00"),
        ("webhook:hook", "11-23T23:30"),
        ("slack:#network", "11-24T07:00"),
    ]


def test_what_is_critical_breaks_in(routed: Callable[..., Any]) -> None:
    told = routed("--stack", "platform/net1", "--severity", "critical")
    assert Counter(when for _, when in told) == {"11-23T23:30": 3}


def test_where_no_route_fits_all_are_told_and_where_one_is_silent_nobody(routed: Callable[..., Any]) -> None:
    assert [name for name, _ in routed("--stack", "platform/dns")] == ["email:ops", "slack", "webhook:hook"]
    assert routed("--stack", "platform/play1") == []


def test_labels_and_owners_come_from_the_configuration_and_the_command(routed: Callable[..., Any]) -> None:
    assert [name for name, _ in routed("--stack", "platform/net1")] == ["email:ops"]
    assert [name for name, _ in routed("--stack", "platform/dns", "--label", "tier=prod")] == ["email:ops"]
    assert [name for name, _ in routed("--stack", "platform/dns", "--owner", "@dba")] == ["slack"]
    # A cause that the route does not ask for.
    told = routed("--stack", "platform/dns", "--owner", "@dba", "--cause", "unapplied_commit")
    assert len(told) == 3


def test_a_route_reads_well(notify: Callable[..., Any], world: World, office: Office) -> None:
    run = notify(slack(world) + hook(world) + mailbox(office.port) + ROUTES)
    with time_machine.travel(NIGHT, tick=False):
        ran = run("route", "--stack", "platform/net1", "--severity", "high")
        silent = run("route", "--stack", "platform/play1")
    assert ran.out.splitlines() == [
        "labels: tier=prod",
        "owners: @net",
        "email:ops       in the digest of 2026-11-24 09:00 UTC",
        "webhook:hook    at once",
        "slack:#network  after its quiet hours, at 2026-11-24 07:00 UTC",
    ]
    assert (silent.code, silent.out) == (Exit.OK, "Nobody is told.\n")


def test_a_stack_that_the_configuration_does_not_name_is_said_to_be_none(
    notify: Callable[..., Any], world: World
) -> None:
    ran = notify(slack(world))("route", "--stack", "elsewhere/\x1b[31mdns\u202e")
    assert (ran.code, ran.out) == (Exit.OK, "slack  at once\n")
    assert "The configuration names no stack elsewhere/dns\\u202e" in ran.err
    assert "\x1b" not in ran.err
