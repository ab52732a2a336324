"""Apprise: what a service gets, which services are used at all, and that nothing of a URL gets out."""

from __future__ import annotations

import importlib
import logging
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from apprise import NotificationManager
from pydantic import SecretStr

from driftwatch.config.notify import AppriseSettings
from driftwatch.errors import UsageError
from driftwatch.log import redact
from driftwatch.model import ErrorReport, Incident, IncidentLine, TransitionKind, Verdict
from driftwatch.notify import DeliveryDeferred, services
from driftwatch.notify.channel import PERSON_NEEDED_SECONDS
from driftwatch.notify.services import AppriseChannel

if TYPE_CHECKING:
    from collections.abc import Callable

    from driftwatch.model import Announcement, Finding, Message

# What apprise imports first of all warns once, on Python 3.11 and 3.12.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

STACK = "platform/envs/prod/network"
TOKEN = "canaryTokenInAPath0123"
PASSWORD = "canary-pw"


def settings(url: str) -> AppriseSettings:
    return AppriseSettings(name="pager", url=SecretStr(url))


@pytest.fixture
def url(receiver: Any) -> str:
    return f"json://bot:{PASSWORD}@127.0.0.1:{receiver.port}/{TOKEN}/"


@pytest.fixture
def channel(url: str) -> AppriseChannel:
    return AppriseChannel(settings(url), timeout=5)


def refusal(url: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        AppriseChannel(settings(url))
    return caught.value


def deferral(channel: AppriseChannel, message: Message) -> DeliveryDeferred:
    with pytest.raises(DeliveryDeferred) as caught:
        channel.deliver(message)
    return caught.value


def test_a_message_is_one_notification_with_title_body_and_sort(
    receiver: Any, channel: AppriseChannel, a_message: Callable[..., Message]
) -> None:
    receipt = channel.deliver(a_message())

    (call,) = receiver.calls
    assert call.json["title"] == f"{STACK}: drifted, 1 finding"
    assert call.json["message"].splitlines()[0] == "HIGH aws_sqs_queue.jobs"
    assert "  /delay_seconds: 90 → 0" in call.json["message"].splitlines()
    assert call.json["type"] == "warning"
    assert call.json["attachments"] == []
    assert receipt == {}
    assert channel.name == "apprise:pager"


@pytest.mark.parametrize(
    ("kind", "sort"),
    [
        (TransitionKind.DRIFT_CHANGED, "warning"),
        (TransitionKind.REMINDER, "warning"),
        (TransitionKind.RESOLVED, "success"),
        (TransitionKind.RECOVERED, "success"),
        (TransitionKind.CHECK_FAILING, "failure"),
        (TransitionKind.STALE, "failure"),
        (TransitionKind.REPLAY_DISAGREED, "warning"),
    ],
)
def test_the_sort_follows_what_happened(
    receiver: Any,
    channel: AppriseChannel,
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    kind: TransitionKind,
    sort: str,
) -> None:
    channel.deliver(a_message(announcement=an_announcement(kind)))

    assert receiver.calls[0].json["type"] == sort


def test_every_kind_has_a_sort() -> None:
    assert set(services._TYPES) == set(TransitionKind)


def test_an_incident_is_told_by_how_it_stands_now(
    receiver: Any,
    channel: AppriseChannel,
    noon: Any,
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
) -> None:
    error = ErrorReport(code="credentials_expired", message="They expired.")
    lines = tuple(
        IncidentLine(
            announcement=an_announcement(
                TransitionKind.CHECK_FAILING, stack=f"p/{name}", verdict=Verdict.ERROR, error=error
            ),
            over=False,
        )
        for name in ("a", "b")
    )
    incident = Incident(
        id=1,
        title="credentials expired",
        opened_at=noon,
        closed_at=None,
        lines=lines,
        total=2,
        open=2,
        seen="x",
    )

    channel.deliver(a_message(announcement=lines[0].announcement, incident=incident))

    (call,) = receiver.calls
    assert call.json["title"] == "credentials expired: 2 stacks, 2 still open"
    assert call.json["message"].splitlines()[0] == "open  p/a: the check fails (credentials_expired)"
    assert call.json["type"] == "failure"


def test_however_much_there_is_to_say_it_is_one_short_notification(
    receiver: Any,
    channel: AppriseChannel,
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
) -> None:
    findings = tuple(a_finding(f"r.n{number}" * 20) for number in range(200))

    channel.deliver(a_message(announcement=an_announcement(findings=findings, total=200)))

    (call,) = receiver.calls
    assert len(call.json["message"]) <= services.BODY_LIMIT
    assert "more" in call.json["message"]


@pytest.mark.parametrize(("title_room", "body_room"), [(0, 160), (20, 160), (0, 67)])
def test_a_service_with_little_room_gets_what_fits(
    receiver: Any,
    channel: AppriseChannel,
    a_message: Callable[..., Message],
    title_room: int,
    body_room: int,
) -> None:
    channel._service.title_maxlen, channel._service.body_maxlen = title_room, body_room

    channel.deliver(a_message())

    (call,) = receiver.calls
    assert len(call.json["title"]) <= title_room
    assert 0 < len(call.json["message"]) <= body_room
    assert call.json["message"].startswith(f"{STACK}: drifted" if not title_room else "HIGH")


def test_text_is_neither_markup_nor_escapes_nor_emoji(
    receiver: Any,
    url: str,
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
) -> None:
    raw = r"<b>x</b> **y** \n :smile: {{app_id}}"
    channel = AppriseChannel(settings(f"{url}?format=text"), timeout=5)

    channel.deliver(a_message(announcement=an_announcement(findings=(a_finding(message=raw),))))

    assert f"  {raw}" in receiver.calls[0].json["message"].splitlines()


def test_a_service_that_reads_html_gets_it_escaped(
    receiver: Any,
    url: str,
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
    a_finding: Callable[..., Finding],
) -> None:
    channel = AppriseChannel(settings(f"{url}?format=html"), timeout=5)

    channel.deliver(
        a_message(announcement=an_announcement(findings=(a_finding(message='<img src="http://x/">'),)))
    )

    assert "<img" not in receiver.calls[0].json["message"]
    assert "&lt;img" in receiver.calls[0].json["message"]


def test_nobody_is_called_by_a_name(
    receiver: Any,
    channel: AppriseChannel,
    a_message: Callable[..., Message],
    an_announcement: Callable[..., Announcement],
) -> None:
    stack = "p/@everyone.@Here <!channel> <@U024BE7LH> x@room p/envs@blue"

    channel.deliver(a_message(announcement=an_announcement(stack=stack, owners=("@platform",))))

    said = receiver.calls[0].json["title"] + receiver.calls[0].json["message"]
    at, less = "\N{FULLWIDTH COMMERCIAL AT}", "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}"
    shown = f"p/{at}everyone.{at}Here {less}!channel> {less}{at}U024BE7LH> x{at}room p/envs@blue"
    assert shown in said
    assert f"Owners: {at}platform" in said


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 429, 500, 503])
def test_a_service_that_says_no_is_tried_again_later(
    receiver: Any,
    channel: AppriseChannel,
    a_reply: Any,
    a_message: Callable[..., Message],
    status: int,
) -> None:
    receiver.then(a_reply(status=status, headers={"Location": f"http://127.0.0.1:{receiver.port}/x"}))

    error = deferral(channel, a_message())

    assert error.message == "apprise:pager did not take it"
    assert error.advice
    assert len(receiver.calls) == 1, "one attempt, and no redirect followed"


def test_after_trouble_the_next_is_delivered_and_at_once(
    receiver: Any, channel: AppriseChannel, a_reply: Any, a_message: Callable[..., Message]
) -> None:
    receiver.then(a_reply(fault="reset"))
    deferral(channel, a_message())

    started = time.monotonic()
    channel.deliver(a_message())
    channel.deliver(a_message(2))

    assert time.monotonic() - started < 2, "no sleeping between requests"
    assert len(receiver.calls) == 3


def test_a_refused_connection_waits(a_message: Callable[..., Message]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    error = deferral(AppriseChannel(settings(f"json://127.0.0.1:{port}/{TOKEN}")), a_message())

    assert error.message == "apprise:pager did not take it"
    assert error.retry_after is None


@pytest.mark.parametrize("option", ["retry=3&wait=0", "optional=yes", "retry=1&optional=yes"])
def test_a_url_cannot_ask_for_retries_or_make_a_failure_a_success(
    receiver: Any, url: str, a_reply: Any, a_message: Callable[..., Message], option: str
) -> None:
    channel = AppriseChannel(settings(f"{url}?{option}"), timeout=5)
    receiver.then(a_reply(status=500), a_reply(status=500))

    deferral(channel, a_message())

    assert len(receiver.calls) == 1


def test_a_url_cannot_ask_for_redirects_to_be_followed(
    receiver: Any, url: str, a_reply: Any, a_message: Callable[..., Message]
) -> None:
    channel = AppriseChannel(settings(f"{url}?redirect=yes"), timeout=5)
    receiver.then(a_reply(status=307, headers={"Location": f"http://127.0.0.1:{receiver.port}/x"}))

    deferral(channel, a_message())

    assert len(receiver.calls) == 1


def test_a_service_that_hangs_is_left_behind_and_not_asked_again_before_it_ends(
    receiver: Any, url: str, a_reply: Any, a_message: Callable[..., Message]
) -> None:
    channel = AppriseChannel(settings(f"{url}?rto=8"), timeout=0.3)
    receiver.then(a_reply(fault="hang"))

    started = time.monotonic()
    first, second = deferral(channel, a_message()), deferral(channel, a_message())

    assert time.monotonic() - started < 2
    assert first.message == "apprise:pager did not answer in time"
    assert second.message == "apprise:pager still hangs on to an earlier message"
    assert len(receiver.calls) == 1
    left = channel._attempt
    assert left in threading.enumerate()
    assert left.daemon, "one that hangs must not keep the process from its end"
    receiver.released.set()
    left.join(5)
    assert channel.deliver(a_message()) == {}


@pytest.mark.parametrize(
    ("error", "retry_after", "words"),
    [
        (TypeError(f"json://{PASSWORD}"), PERSON_NEEDED_SECONDS, "apprise cannot use its URL (TypeError)"),
        (ValueError(f"json://{PASSWORD}"), PERSON_NEEDED_SECONDS, "apprise cannot use its URL (ValueError)"),
        (RuntimeError(f"json://{PASSWORD}"), None, "cannot be reached (RuntimeError)"),
    ],
)
def test_what_apprise_raises_is_told_by_its_class_alone(
    channel: AppriseChannel,
    a_message: Callable[..., Message],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    retry_after: float | None,
    words: str,
) -> None:
    def fail(**_: Any) -> bool:
        raise error

    monkeypatch.setattr(channel._apprise, "notify", fail)

    caught = deferral(channel, a_message())

    assert words in caught.message
    assert caught.retry_after == retry_after
    assert PASSWORD not in f"{caught!r}{caught.advice}"
    assert caught.__cause__ is caught.__context__ is None


@pytest.mark.parametrize(
    "url",
    [
        "dbus://",
        "qt://",
        "kde://",
        "glib://",
        "gio://",
        "gnome://",
        "macosx://",
        "windows://",
        "blink1://",
        "syslog://",
        "SysLog://local0",
        "rsyslog://127.0.0.1",
        "growl://127.0.0.1",
        "aprs://user:canary12345@N0CALL",
        "dapnet://user:canary12345@DF1ABC",
        "vapid://canary@example.com/canary@example.com",
        "fcm://canary12345/%23topic",
        "mailto://user:canary12345@example.com",
        "mailtos://user:canary12345@example.com",
        "apprise://127.0.0.1/canary12345",
    ],
)
def test_what_acts_on_this_machine_or_never_answers_is_refused_when_it_is_set_up(url: str) -> None:
    error = refusal(url)

    assert "notify.apprise: the url of apprise:pager names a service that is not used" in error.message
    assert error.advice
    assert "canary" not in f"{error!r}{error.advice}"


@pytest.mark.parametrize(
    "url",
    [
        "exec://canary12345",
        "file:///canary12345",
        "canary12345",
        "",
        "://",
        "json://",
        "https://127.0.0.1/canary12345",
        "json://[canary12345",
    ],
)
def test_what_is_no_url_of_a_service_is_refused_and_not_repeated(url: str) -> None:
    error = refusal(url)

    assert "notify.apprise:" in error.message
    assert "apprise:pager" in error.message
    assert "canary" not in f"{error!r}{error.advice}"


@pytest.mark.parametrize(
    "url",
    [
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js?template=/etc/hostname",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?template=file:///etc/hostname",
    ],
)
def test_a_url_that_names_a_file_is_refused(url: str) -> None:
    assert "names a file" in refusal(url).message


def test_every_service_of_the_installed_apprise_was_looked_at() -> None:
    """When apprise brings new ones, somebody must say of each whether it may be used."""
    refused = {
        *(
            "dbus",
            "qt",
            "kde",
            "glib",
            "gio",
            "gnome",
            "macosx",
            "windows",
            "blink1",
            "syslog",
            "vapid",
            "fcm",
        ),
        *("rsyslog", "growl", "aprs", "dapnet", "mailto", "mailtos", "apprise", "apprises"),
    }
    manager = NotificationManager()
    manager.load_modules()

    assert set(manager.schemas()) == refused | services._SERVICES


def test_no_service_in_use_starts_programs_or_speaks_to_the_desktop() -> None:
    manager = NotificationManager()
    manager.load_modules()
    local = {"subprocess", "ctypes", "winreg", "win32api", "gi", "dbus", "syslog", "hid"}

    for scheme in services._SERVICES & set(manager.schemas()):
        module = importlib.import_module(manager[scheme].__module__)
        assert not local & set(vars(module)), scheme


def test_without_apprise_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)

    error = refusal(f"json://127.0.0.1/{TOKEN}")

    assert "apprise:pager needs apprise" in error.message
    assert error.advice == "pip install 'driftwatch[apprise]'"
    assert TOKEN not in repr(error)


def test_a_service_whose_package_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NotificationManager()["json"], "enabled", False)

    assert "lacks a package" in refusal(f"json://127.0.0.1/{TOKEN}").message


def test_nothing_of_the_url_is_in_a_log_an_error_or_a_repr(
    receiver: Any,
    url: str,
    a_reply: Any,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    a_message: Callable[..., Message],
) -> None:
    caplog.set_level(logging.DEBUG)
    channel = AppriseChannel(settings(url), timeout=5)
    receiver.then(a_reply(status=500))
    error = deferral(channel, a_message())
    channel.deliver(a_message())

    printed = capfd.readouterr()
    shown = f"{error!r} {error.report()} {channel!r} {caplog.text} {printed.out} {printed.err}"
    assert TOKEN not in shown
    assert PASSWORD not in shown


def test_the_url_and_its_secrets_are_redacted_and_ordinary_words_are_not(
    url: str, channel: AppriseChannel
) -> None:
    AppriseChannel(settings("json://alerts.example-company.com/infra/?+X-Key=p%40ss-w0rd-canary&method=POST"))

    words = "alerts.example-company.com 127.0.0.1 infra method POST json"
    assert redact(words) == words
    for secret in (url, TOKEN, PASSWORD, "p%40ss-w0rd-canary", "p@ss-w0rd-canary"):
        assert secret not in redact(f"it is {secret}!")


def test_nothing_is_written_to_disk(
    channel: AppriseChannel, a_message: Callable[..., Message], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    channel.deliver(a_message())

    assert channel._service.asset.storage_mode.value == "memory"
    assert list(tmp_path.rglob("*")) == []
