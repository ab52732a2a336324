"""The many services that apprise knows: chats, pagers, telephones. One attempt per message, to one URL.

Which services is a list (`_SERVICES`), so that what a later apprise adds is looked at before it may be used.
Not in it are those that act on this machine: desktops (dbus, qt, kde, glib, gio, gnome, macosx, windows), a
lamp (blink1), the machine's log (syslog), keys and subscriptions in files (vapid, and fcm's key files);
those that never learn whether anybody got it (rsyslog over UDP, growl); public radio (aprs, dapnet); mailto,
as `notify.email` is there; and apprise's own server, which may do any of it. Nor may a URL name a template,
which is a file. Files are read, attached or written nowhere, and no plugin of others is loaded.

Text goes out as text: markup is escaped by apprise for services that read any, and an `@` that would call a
whole room is replaced by one that only looks like it. apprise would retry, sleep between requests, count an
optional service as told, and log; none of it is for a channel. It has no limit on an attempt as a whole, so
one runs in a thread of its own: a service that hangs for `ATTEMPT_SECONDS` is left behind and not asked again
before that attempt has ended, and what it does take so late is told twice.
"""

from __future__ import annotations

import logging
import re
import threading
import warnings
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from driftwatch.errors import UsageError
from driftwatch.log import register_secret
from driftwatch.model import TransitionKind
from driftwatch.notify import prose
from driftwatch.notify.channel import DeliveryDeferred, person_needed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from driftwatch.config.notify import AppriseSettings
    from driftwatch.model import Message

ATTEMPT_SECONDS = 30.0
BODY_LIMIT = 1500
"""A telephone's worth."""

_LISTED = """
    46elks acs amqp amqps atalk awswhatsapp azure bale bark barks betterstack bluesky brevo bsky bulksms
    bulkvs burstsms chanify clickatell clicksend cliq cm d7sms deltachat deltachats dingtalk discord dot
    eight00com elks emby embys enigma2 enigma2s evolution evolutions exotel feishu firehydrant flock
    flowtriq flowtriqs fluxer fluxers form forms freemobile gchat github goalert goalerts gorush gorushs
    gotify gotifys groundmail groupme guilded gupshup hassio hassios httpsms humhub humhubs ifttt ilert
    incidentio infobip instagram irc ircs jellyfin jellyfins jira join json jsons kakao kakaotalk kaleyra
    kavenegar klr kodi kodis kook kudosity kumulos lametric lametrics lark lauther lfg line mailersend
    mailgun mastodon mastodons matrix matrixs misskey misskeys mmost mmosts mobilemessage mobilemsg mqtt
    mqtts msg91 msgbird ncloud nclouds nctalk nctalks nexmo nostr notica noticas notifiarr notifico
    notificos notifyapp notifyre ntfy ntfys o365 octopush onebot onebots onesignal opsgenie opsimate
    opsimates pagerduty pagertree parsep parseps pbul pinglet pinglets pingram pjet pjets plivo postmark
    pover prowl psafer psafers push pushdeer pushdeers pushed pushme pushplus pushward pushy qq reddit
    resend revolt ringc rocket rockets ryver schan sendgrid sendpulse serwersms ses session sessions seven
    sfr signal signalgrid signals signl4 simplepush sinch slack smpp smpps smsc smseagle smseagles
    smsmanager smsmgr smstunnel smtp2go sns sogs sparkpost spike splunk spugpush spush squadcast
    stackfield strmlabs synology synologys telesign telnyx tgram threema toot toots trigv trigvs tweet
    twilio twist twitter viber victorops voipms vonage webex wechat wecom wecombot whapi whatsapp workflow
    workflows wpush wxpusher wxteams x xbmc xbmcs xmatters xml xmls xmpp xmpps youlmk zalo zcliq zohocliq
    zoom zulip
"""
_SERVICES = frozenset(_LISTED.split())
"""URL schemes of apprise 2.3 whose services are elsewhere, and answer."""

_TYPES = {
    TransitionKind.DRIFT_FOUND: "warning",
    TransitionKind.DRIFT_CHANGED: "warning",
    TransitionKind.RESOLVED: "success",
    TransitionKind.CHECK_FAILING: "failure",
    TransitionKind.RECOVERED: "success",
    TransitionKind.REPLAY_DISAGREED: "warning",
    TransitionKind.STALE: "failure",
    TransitionKind.REMINDER: "warning",
    TransitionKind.HANDLED: "info",
    TransitionKind.REPAIR: "info",
    TransitionKind.STACK_REMOVED: "warning",
    TransitionKind.HEAD_REFUSED: "failure",
    TransitionKind.HEAD_ACCEPTED: "success",
}
_CALLS = re.compile(r"(?<![\w.+-])@|@(?=everyone|here|channel|all|room)|<(?=[!@#])", re.IGNORECASE)
"""How chats write that somebody is called: `@name`, and Slack's and Discord's `<!here>` and `<@id>`."""

_SUBSTITUTES = {"@": "\N{FULLWIDTH COMMERCIAL AT}", "<": "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}"}
_FILES = frozenset({"template", "keyfile", "attach"})
_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_LONG_PART = 16
_SHORTEST_PART = 8


class AppriseChannel:
    """One service, as an apprise URL names it."""

    def __init__(self, settings: AppriseSettings, *, timeout: float = ATTEMPT_SECONDS) -> None:
        self.name = f"apprise:{settings.name}"
        self._timeout = timeout
        self._attempt: _Attempt | None = None
        url = settings.url.get_secret_value()
        for secret in _secrets_in(url):
            register_secret(secret)
        self._service, self._apprise = _service_of(self.name, url)

    def deliver(self, message: Message) -> Mapping[str, str]:
        """Sends one notification. The receipt is empty: apprise tells no more than that it was taken."""
        if self._attempt and self._attempt.is_alive():
            raise DeliveryDeferred(reason=f"{self.name} still hangs on to an earlier message")
        self._attempt = _Attempt(self._apprise, self._words(message))
        self._attempt.start()
        self._attempt.join(self._timeout)
        self._judge(self._attempt)
        return {}

    def _judge(self, attempt: _Attempt) -> None:
        if attempt.is_alive():
            raise DeliveryDeferred(reason=f"{self.name} did not answer in time")
        if isinstance(attempt.error, TypeError | ValueError):
            raise person_needed(
                f"{self.name}: apprise cannot use its URL ({type(attempt.error).__name__})",
                "Set the channel's url to one that apprise's documentation gives for the service.",
            )
        if attempt.error:
            raise DeliveryDeferred(reason=f"{self.name} cannot be reached ({type(attempt.error).__name__})")
        if not attempt.taken:
            raise DeliveryDeferred(
                reason=f"{self.name} did not take it",
                advice="Try the url with apprise's own command, which says why: apprise -vv -b test URL",
            )

    def _words(self, message: Message) -> dict[str, str]:
        """Title and body as the service has room for them: one notification, and not several in turn."""
        room = min(BODY_LIMIT, int(self._service.body_maxlen))
        title = prose.cut(prose.subject(message), max(int(self._service.title_maxlen), 0))
        body = prose.body(message, room)
        if title:
            body = body.removeprefix(prose.subject(message)).strip("\n") or body
        return {
            "title": _without_calls(title),
            "body": _without_calls(body),
            "notify_type": _TYPES[prose.present(message).kind],
        }


class _Attempt(threading.Thread):
    """One notification under way. A daemon: one that hangs does not keep the process from its end."""

    def __init__(self, apprise: Any, words: Mapping[str, str]) -> None:
        super().__init__(name="apprise", daemon=True)
        self._apprise = apprise
        self._words = words
        self.taken = False
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.taken = bool(self._apprise.notify(**self._words, body_format="text"))
        except Exception as error:  # noqa: BLE001  (plugins raise whatever their libraries do; judged by deliver)
            self.error = error


def _service_of(name: str, url: str) -> tuple[Any, Any]:
    """The service that `url` names, and apprise with it alone. Raises UsageError, without the URL."""
    try:
        parsed = _checked(name, _parsed(url))
        import apprise
    except ImportError as error:
        raise UsageError(
            f"notify.apprise: {name} needs apprise, which is not installed.",
            advice="pip install 'driftwatch[apprise]'",
        ) from error
    asset = apprise.AppriseAsset(**_RESTRAINTS)
    wanted = {key: value for key, value in parsed.items() if key not in _NOT_ASKED_FOR}
    service = apprise.Apprise.instantiate(
        wanted | {"redirect": "no", "overflow": "truncate", "emojis": "no"}, asset=asset
    )
    if service is None:
        raise UsageError(
            f"notify.apprise: apprise cannot use the url of {name}, or lacks a package for its service."
        )
    service.request_rate_per_sec = 0
    return service, apprise.Apprise(service, asset=asset)


def _parsed(url: str) -> dict[str, Any] | None:
    """What apprise reads in `url`, before it is used. Raises ImportError where there is no apprise."""
    _silence()
    with warnings.catch_warnings():
        # The first look at a URL loads all of apprise's services, which warns before Python 3.13 (imghdr).
        warnings.simplefilter("ignore", DeprecationWarning)
        from apprise.plugins import url_to_dict

        parsed: dict[str, Any] | None = url_to_dict(url, secure_logging=True)  # type: ignore[no-untyped-call]
    return parsed


_NOT_ASKED_FOR = frozenset({"retry", "wait", "optional"})
"""What a URL may not ask for: one attempt is one, and counts as what it was."""

_RESTRAINTS: dict[str, Any] = {
    "app_id": "driftwatch",
    "app_desc": "driftwatch",
    "app_url": "",
    "image_url_mask": "",
    "image_url_logo": "",
    "async_mode": False,
    "body_format": "text",
    "http_redirects": False,
    "interpret_emojis": False,
    "interpret_escapes": False,
    "pem_autogen": False,
    "pgp_autogen": False,
    "secure_logging": True,
    "service_timeout": 0,
    "storage_mode": "memory",
}
"""No `service_timeout`: with one, apprise leaves threads behind that hold up the process's end."""


def _checked(name: str, parsed: dict[str, Any] | None) -> dict[str, Any]:
    """`parsed`, if it is of a service that is used, and names no file. Raises UsageError."""
    if not parsed:
        raise UsageError(f"notify.apprise: the url of {name} is none that apprise knows.")
    if str(parsed.get("schema", "")).lower() not in _SERVICES:
        raise UsageError(
            f"notify.apprise: the url of {name} names a service that is not used: it acts on this machine, "
            "never learns whether a message came, or is not known to driftwatch.",
            advice="See driftwatch/notify/services.py for the list; for e-mail there is notify.email.",
        )
    if _FILES & {*parsed, *(parsed.get("qsd") or {})}:
        raise UsageError(f"notify.apprise: the url of {name} names a file; apprise is let read none.")
    return parsed


def _silence() -> None:
    """URLs with their secrets would stand in the logs of apprise and, at DEBUG, of its HTTP client."""
    logger = logging.getLogger("apprise")
    logger.setLevel(logging.CRITICAL + 1)
    logger.propagate = False
    # Without any, Python's last resort prints what comes while apprise lowers the level for itself.
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    logging.getLogger("urllib3").setLevel(logging.WARNING)


def _secrets_in(url: str) -> Iterator[str]:
    """The URL, its user and password, and those of its parts that look like a token and not like a name."""
    yield url
    try:
        parts = urlsplit(url)
        given = (parts.username, parts.password)
    except ValueError:
        given = (None, None)
    yield from (form for part in given if part for form in {part, unquote(part)})
    for part in re.split(r"[/?&=@:,;#]+", url):
        looks_random = len(part) >= _LONG_PART or (len(part) >= _SHORTEST_PART and re.search(r"\d", part))
        if looks_random and not _HOST.fullmatch(part):
            yield from {part, unquote(part)}


def _without_calls(text: str) -> str:
    return _CALLS.sub(lambda found: _SUBSTITUTES[found[0]], text)
