"""What single values may be: URLs, refs, paths, names, zones, cron expressions.

Each function takes one value, returns it (tidied where that is harmless) and raises ValueError with a
sentence that says what is expected. What ends up as an argument of git or terraform, or as a path, is decided
here, before anything uses it; the sentences never repeat a value that may hold credentials.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from datetime import UTC, datetime, time
from functools import cache
from ipaddress import ip_network
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from driftwatch.config.hosts import is_loopback_name, names_off_limits

LONGEST_PATH = 512
LONGEST_TEXT = 1000
LONGEST_REF = 244
"""Longer ones do not fit into a file name under refs/ with `.lock` behind it."""

REPOSITORY_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
IDENTIFIER = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
ENVIRONMENT_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
AWS_ACCOUNT = r"^[0-9]{12}$"
LOCAL_TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
LOCAL_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?$"

OWN_VARIABLES = re.compile(
    r"TF_(DATA_DIR|CLI_CONFIG_FILE|CLI_ARGS(_\w+)?|REATTACH_PROVIDERS|WORKSPACE|INPUT|IN_AUTOMATION"
    r"|PLUGIN_CACHE_DIR)|TERRAFORM_CONFIG"
)
"""What driftwatch sets itself, or decides by other settings; a second word would fight with the first."""

_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*)|\[[0-9A-Fa-f:.]+\])"
_SCP_LIKE = re.compile(rf"(?:[A-Za-z0-9_][A-Za-z0-9._-]*@)?(?P<host>{_HOST}):(?P<path>[^:].*)")
_LOOKALIKES = frozenset(
    "\u2024\u2025\u2026\u2044\u2215\u2216\u29f5\u29f8\u29f9\ufe52\ufe68\uff0e\uff0f\uff3c"
)
"""Dots and slashes of other scripts: some later program may fold them into the real ones."""

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_NEVER_ENTERED = frozenset({".git", ".terraform"})
_NOT_IANA = re.compile(r"(localtime|posixrules|Factory|(posix|right)/.*)")
_LONGEST_CRON = 200
_FIRST_LOOK = datetime(2024, 1, 1, tzinfo=UTC)
"""Where the search for a cron expression's next time starts: fixed, so that a file is valid or not for good.
"""


def has_invisible(text: str) -> bool:
    """True for control and formatting characters, lone surrogates and the like."""
    return any(unicodedata.category(character) in _INVISIBLE for character in text)


def _refuse_if(wrong: object, sentence: str) -> None:
    if wrong:
        raise ValueError(sentence)


def _fits(pattern: str, text: str) -> bool:
    # `$` would let a trailing newline through.
    return bool(re.fullmatch(pattern.removesuffix("$"), text))


def plain_text(text: str) -> str:
    """Not empty, and nothing in it that a terminal or a log would act on."""
    _refuse_if(not text.strip(), "must not be empty")
    _refuse_if(len(text) > LONGEST_TEXT, f"is too long: at most {LONGEST_TEXT} characters")
    _refuse_if(has_invisible(text), "holds control or invisible characters")
    return text


def repository_name(text: str) -> str:
    """A name that is also a directory below `state_dir` and the first part of stack ids."""
    _refuse_if(
        not _fits(REPOSITORY_NAME, text),
        "is no repository name: letters, digits, `.`, `_` and `-`, the first a letter or digit",
    )
    _refuse_if(len(text) > 100, "is too long for a repository name: at most 100 characters")
    return text


def identifier(text: str) -> str:
    """A name of a window or a webhook."""
    _refuse_if(
        not _fits(IDENTIFIER, text),
        "must consist of letters, digits, `_` and `-`, the first a letter or digit",
    )
    return text


def environment_name(text: str) -> str:
    """A name of an environment variable that driftwatch does not set itself."""
    _refuse_if(not _fits(ENVIRONMENT_NAME, text), "is no name of an environment variable")
    _refuse_if(
        OWN_VARIABLES.fullmatch(text),
        "is set by driftwatch itself (see `workspaces`, `terraform.cli_config`, `terraform.parallelism`)",
    )
    return text


def aws_account(text: str) -> str:
    """An AWS account id."""
    _refuse_if(not _fits(AWS_ACCOUNT, text), "must be the 12 digits of an AWS account id, in quotes")
    return text


def user_name(text: str) -> str:
    """The first half of HTTP's basic authentication, which ends at the first colon."""
    _refuse_if(":" in text, "must not hold a colon")
    return plain_text(text)


def channel(text: str) -> str:
    """A Slack channel's id or name."""
    _refuse_if(re.search(r"\s", text), "must be one word: a channel's id or name")
    return plain_text(text)


def outlet(text: str) -> str:
    """What a route names: `slack`, `slack:#channel`, or a sort of channel and its name."""
    sort, colon, name = plain_text(text).partition(":")
    if sort == "slack":
        return text if not colon else f"slack:{channel(name)}"
    _refuse_if(
        sort not in ("webhook", "email", "github", "gitlab", "apprise") or not name,
        "must be `slack`, `slack:#channel`, or webhook, email, github, gitlab or apprise with `:<name>`",
    )
    return text


def slack_user(text: str) -> str:
    """A Slack member's id."""
    _refuse_if(not _fits(r"[UW][A-Z0-9]{5,30}", text), "must be a member id such as U024BE7LH, and no name")
    return text


def forge_login(text: str) -> str:
    """What somebody is called on GitHub or GitLab, with or without the host; a robot's ends with `[bot]`."""
    _refuse_if(
        not _fits(
            r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}(\[bot\])?",
            text,
        ),
        "must be a login such as octocat, without the `@`, or HOST/LOGIN",
    )
    return text


def mail_address(text: str) -> str:
    """One plain address, without a name beside it."""
    _refuse_if(
        len(text) > 254
        or not _fits(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", text),
        "must be one e-mail address, name@example.com",
    )
    return text


def host_name(text: str) -> str:
    """A host's name or address, without a port."""
    _refuse_if(not _fits(_HOST, text), "must be a host's name or address")
    return text


def github_repository(text: str) -> str:
    """OWNER/NAME."""
    _refuse_if(
        not _fits(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}", text)
        or text.endswith(("/.", "/..")),
        "must be OWNER/NAME",
    )
    return text


def gitlab_project(text: str) -> str:
    """A project's path with its groups, or its number."""
    _refuse_if(
        not _fits(r"[0-9]{1,15}|[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+", text),
        "must be GROUP/PROJECT, or the project's number in quotes",
    )
    return text


def local_time(value: object) -> time:
    """`HH:MM`. YAML reads 22:00 without quotes as a number of base 60."""
    if isinstance(value, time):
        return value
    text = value if isinstance(value, str) else ""
    _refuse_if(not re.match(LOCAL_TIME, text), 'must be a time in quotes, "22:00"')
    return time.fromisoformat(text)


def network(text: str) -> str:
    """An IP address, or a network in CIDR form."""
    try:
        ip_network(text, strict=False)
    except ValueError:
        raise ValueError('must be an IP address or a network such as "169.254.20.0/24"') from None
    return text


def variable_name(text: str) -> str:
    """A name of an input variable in HCL."""
    _refuse_if(not re.fullmatch(r"[^\W\d][\w-]*", text), "is no name of a Terraform variable")
    return text


def backend_key(text: str) -> str:
    """A key of a backend's configuration, as in `-backend-config=KEY=VALUE`."""
    _refuse_if(not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", text), "is no key of a backend's configuration")
    return text


def workspace(text: str) -> str:
    """A workspace's name: Terraform's own rule (nothing that needs escaping in a URL path), and no option."""
    _refuse_if(
        not re.fullmatch(r"[A-Za-z0-9_.~$&+:=][A-Za-z0-9_.~$&+:=-]*", text) or text in (".", ".."),
        "is no name of a workspace: letters, digits and any of _ . ~ $ & + : = -, the first not a dash",
    )
    return text


def branch(text: str) -> str:
    """A branch name by the rules of git-check-ref-format, that cannot be taken for an option."""
    _refuse_if(not text, "must not be empty")
    _refuse_if(text.startswith("-"), "must not start with a dash: git would take it for an option")
    _refuse_if(has_invisible(text), "holds control or invisible characters")
    _refuse_if(len(text.encode()) > LONGEST_REF, f"is too long: at most {LONGEST_REF} bytes")
    parts = text.split("/")
    _refuse_if(
        re.search(r"[ ~^:?*\[\\]|\.\.|@\{", text)
        or text in ("@", "HEAD")
        or any(not part or part.startswith(".") or part.endswith((".lock", ".")) for part in parts),
        "is no branch name that git allows",
    )
    return text


def repository_url(text: str) -> str:
    """https, ssh, `git@host:path`, file or an absolute path; never a transport that runs a program."""
    _refuse_if(not text, "must not be empty")
    _refuse_if(text.startswith("-"), "must not start with a dash: git would take it for an option")
    _refuse_if(has_invisible(text) or " " in text, "holds spaces, control or invisible characters")
    _refuse_if("\\" in text, "holds a backslash")
    _refuse_if(
        re.match(r"[A-Za-z0-9+.-]*::", text),
        "names a remote helper (`ext::` and the like), which runs programs",
    )
    if text.startswith("/"):
        return text
    if "://" in text:
        return _url_with_scheme(text)
    scp_like = _SCP_LIKE.fullmatch(text)
    _refuse_if(
        not scp_like or scp_like["path"].startswith("-"),
        "must be an https:// or ssh:// URL, git@host:path, or the absolute path of a local repository",
    )
    if scp_like:
        _refuse_off_limits(scp_like["host"])
    return text


def _url_with_scheme(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, user, secret, _ = parts.hostname or "", parts.username, parts.password, parts.port
    except ValueError:
        raise ValueError("is no URL: its host or port cannot be read") from None
    scheme = parts.scheme.lower()
    _refuse_if(
        scheme not in ("https", "http", "ssh", "file"),
        "must be https, ssh, file or git@host:path; no other scheme",
    )
    if scheme == "file":
        _refuse_if(parts.netloc or not parts.path.startswith("/"), "must be file:/// and an absolute path")
        return text
    _refuse_if(
        scheme != "ssh" and "@" in parts.netloc,
        "holds credentials: use `token: ${env:NAME}` (and `username`, where the server wants one) instead",
    )
    _refuse_if(
        secret is not None, "holds a password: use `ssh_key` with ssh, or https with `token: ${env:NAME}`"
    )
    _refuse_if(user is not None and not re.fullmatch(r"\w[\w.-]*", user), "has a user name that ssh refuses")
    _refuse_if(not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*|[0-9a-fA-F:.]+", host), "has no valid host")
    _refuse_if(parts.query or parts.fragment, "has a query or a fragment; a repository's URL has neither")
    _refuse_off_limits(host)
    return text


def _refuse_off_limits(host: str) -> None:
    _refuse_if(
        names_off_limits(host),
        "names a link-local, metadata or reserved address, where no such service is",
    )


def web_url(text: str) -> str:
    """Where a message is posted to: http or https, with a host, credentials not in clear before it."""
    _refuse_if(has_invisible(text) or " " in text, "holds spaces, control or invisible characters")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is no URL: its host or port cannot be read") from None
    _refuse_if(parts.scheme not in ("https", "http") or not host, "must be an https:// URL")
    _refuse_if("@" in parts.netloc, "holds credentials; leave them out of the URL")
    return text


def service_url(text: str) -> str:
    """The address of another service's API: as any, but where a machine is asked about itself."""
    _refuse_off_limits(urlsplit(web_url(text)).hostname or "")
    return text


def is_loopback_url(text: str) -> bool:
    """True where the traffic does not leave this machine."""
    try:
        host = urlsplit(text).hostname or ""
    except ValueError:
        return False
    return is_loopback_name(host)


def stack_path(text: str) -> str:
    """A glob of directories inside a repository. A leading `./` and a trailing `/` are taken off."""
    return _inside(text, climbing=False)


def var_file(text: str) -> str:
    """A file relative to the stack's directory; it may climb with `../`.

    Whether it stays in the checkout depends on the stack's own path (a glob, here), so that is checked when
    it is used.
    """
    tidy = _inside(text, climbing=True)
    _refuse_if(tidy.split("/")[-1] in (".", ".."), "names a directory, not a file")
    return tidy


def _inside(text: str, *, climbing: bool) -> str:
    _refuse_if(not text, "must not be empty")
    _refuse_if(len(text) > LONGEST_PATH, f"is too long: at most {LONGEST_PATH} characters")
    _refuse_if(has_invisible(text), "holds control or invisible characters")
    _refuse_if("\\" in text, "holds a backslash; directories are separated by `/`")
    _refuse_if(text.startswith(("/", "~")) or re.match(r"[A-Za-z]:", text), "must be relative")
    _refuse_if(text.startswith(":"), "must not start with a colon: git gives that a meaning of its own")
    _refuse_if(re.search(r"%[0-9A-Fa-f]{2}", text), "holds percent escapes; write the characters themselves")
    _refuse_if(
        _LOOKALIKES & set(text)
        or _dots_and_slashes(unicodedata.normalize("NFKC", text)) != _dots_and_slashes(text),
        "holds characters that only look like dots or slashes",
    )
    tidy = text.removeprefix("./").removesuffix("/") or "."
    for part in tidy.split("/") if tidy != "." else ():
        _check_segment(part, climbing=climbing)
    return tidy


def _check_segment(part: str, *, climbing: bool) -> None:
    _refuse_if(not part, "holds two slashes in a row")
    _refuse_if(part == ".." and not climbing, "must not leave the repository: no `..`")
    _refuse_if(part == ".", "holds a `.` as a directory")
    _refuse_if(part.startswith("-"), "has a part that starts with a dash, which could be taken for an option")
    _refuse_if(
        unicodedata.normalize("NFKC", part).casefold() in _NEVER_ENTERED, "points into .git or .terraform"
    )
    _refuse_if(part != part.strip(), "has a part that starts or ends with a space")


def _dots_and_slashes(text: str) -> str:
    return "".join(character for character in text if character in "./\\")


def stack_pattern(text: str) -> str:
    """A stack id or a glob of stack ids."""
    plain_text(text)
    _refuse_if(text.startswith("-"), "must not start with a dash")
    _refuse_if("\\" in text or ".." in text.split("/"), "is neither a stack id nor a glob of them")
    return text


def timezone(text: str) -> str:
    """An IANA zone, known to this machine."""
    try:
        known = bool(text) and not _NOT_IANA.fullmatch(text)
        if known:
            ZoneInfo(text)
    except (LookupError, ValueError, OSError):
        known = False
    if not known:
        near = _near_zone(text)
        raise ValueError(
            "is no IANA time zone" + (f"; did you mean {near}?" if near else ", such as Europe/Paris or UTC")
        )
    return text


def _near_zone(text: str) -> str | None:
    # Only with zones that begin alike: comparing all would take milliseconds for every wrong one in a file.
    start = text[:8].casefold()
    alike = [zone for zone in _zones() if zone.casefold().startswith(start)]
    near = difflib.get_close_matches(text[:40], alike, n=1)
    return near[0] if near else None


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def cron(text: str) -> str:
    """Five fields, and a time that comes at all (31 February never does)."""
    from croniter import CroniterError, croniter  # takes a tenth of a second, and few commands read a cron

    _refuse_if(len(text) > _LONGEST_CRON, f"is too long: at most {_LONGEST_CRON} characters")
    fields = text.split()
    _refuse_if(
        len(fields) != 5,
        f"must have five fields (minute, hour, day of month, month, day of week), not {len(fields)}",
    )
    _refuse_if(
        re.search(r"(?<![A-Za-z])[RrHh](?![A-Za-z])", text),
        "must name fixed times, not random or hashed ones",
    )
    try:
        croniter(text, _FIRST_LOOK).get_next(datetime)
    except CroniterError as exc:
        never = "next date" in str(exc)
        raise ValueError("never happens" if never else "is no cron expression that can be read") from None
    except (ValueError, KeyError, ArithmeticError, LookupError, TypeError, AttributeError):
        raise ValueError("is no cron expression that can be read") from None
    return " ".join(fields)


def listen_address(text: str) -> str:
    """`HOST:PORT`, an IPv6 host in brackets; port 0 takes any free one."""
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*):([0-9]{1,5})", text)
    _refuse_if(
        not found or int(found[2]) > 65535,
        "must be HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080",
    )
    return text


def local_moment(text: str) -> datetime:
    """A date and time on the wall clock of the window's `timezone`, without an offset."""
    try:
        if _fits(LOCAL_MOMENT, text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass  # a 30 February: said below, like every other text that is no date
    raise ValueError(
        "must be a local date and time such as 2026-12-20T00:00:00; the zone stands in `timezone`"
    )
