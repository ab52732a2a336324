"""Where a repository comes from: its URL, how to authenticate there, and what its refusals mean.

Credentials leave here only as environment variables of one git process, a token only as a header that git
sends to the host of the URL and to no other. Telling "it did not answer" from "it said no" matters to people:
the first heals by itself, the second waits for one of them.
"""

from __future__ import annotations

import base64
import os
import re
import shlex
import socket
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from driftwatch.config import values
from driftwatch.config.hosts import is_loopback_name, refusal
from driftwatch.errors import (
    BranchMissingError,
    RemoteRefusedError,
    RemoteUnreachableError,
    RepositoryError,
    RepositoryInterruptedError,
    RepositoryTooLargeError,
    UnsafeRepositoryError,
)
from driftwatch.git.command import Ending, failure
from driftwatch.log import redact, register_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from driftwatch.config.settings import RepositorySettings
    from driftwatch.git.command import Output

_SLOW_BYTES = "1000"
"""Bytes a second below which a transfer counts as stalled."""
_SLOW_SECONDS = 30

_REFUSED = re.compile(
    r"Authentication failed|could not read (?:Username|Password)|terminal prompts disabled|Permission denied"
    r"|[Aa]ccess denied|returned error: 40[0-9]|not found|does not appear to be a git repository"
    r"|does not exist|Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED|dubious ownership"
    r"|No such file or directory|not a git repository|could not be found|Load key"
)
_REDIRECTED = re.compile(r"returned error: 30[0-9]|unable to update url base from redirection")
_UNREACHABLE = re.compile(
    r"Could(?:n't| not) (?:resolve|connect)|Failed to connect|[Cc]onnection (?:refused|timed out|reset)"
    r"|[Cc]onnection closed|unreachable|No route to host|[Tt]imed? ?out|too slow|early EOF"
    r"|returned error: (?:5[0-9]{2}|429)"
    r"|unexpected disconnect|hung up|SSL|TLS|certificate|RPC failed|[Rr]ecv failure|[Ee]mpty reply"
    r"|kex_exchange_identification|Temporary failure|transfer closed|invalid index-pack output"
    r"|Could not read from remote repository|HTTP/?2"
)
_PORTS = {"http": 80, "https": 443, "ssh": 22}
_NO_SUCH_BRANCH = re.compile(r"couldn't find remote ref|Remote branch \S+ not found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """One remote and the branch of it that counts. `shown` is the URL as it may be printed."""

    name: str
    url: str
    branch: str
    protocol: str
    shown: str
    settings: tuple[tuple[str, str], ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, settings: RepositorySettings) -> Self:
        """Raises UnsafeRepositoryError for a URL or branch that git must not get to see.

        The configuration refuses these too. This is the last place before a process starts, and settings may
        be made by other ways than the file.
        """
        try:
            url = values.repository_url(settings.url)
            branch = values.branch(settings.branch)
        except ValueError as exc:
            raise UnsafeRepositoryError(
                f"the url or branch of repository {name} is refused: it {exc}",
                advice=f"Correct `url` or `branch` of repositories.{name}.",
            ) from exc
        protocol = protocol_of(url)
        token = settings.token.get_secret_value() if settings.token else None
        if protocol == "http" and token and not values.is_loopback_url(url):
            raise UnsafeRepositoryError(
                f"the token of repository {name} would be sent in clear: its url is http",
                advice="Use the https form of the url.",
            )
        return cls(
            name=name,
            url=url,
            branch=branch,
            protocol=protocol,
            shown=redact(url),
            settings=(*_http_settings(url, settings, token),) if protocol in ("http", "https") else (),
            variables={
                "GIT_ALLOW_PROTOCOL": protocol,
                **(_ssh_variables(settings) if protocol == "ssh" else {}),
            },
        )

    def looked_at(self) -> tuple[tuple[str, str], ...]:
        """`settings`, with the addresses that the host's name stands for now, each of them looked at.

        Raises UnsafeRepositoryError and RemoteUnreachableError.
        """
        return (*self.settings, *pinned(self.url, name=self.name, shown=self.shown))

    @property
    def local_path(self) -> Path | None:
        """Where it lies, if it lies on this machine."""
        if self.protocol != "file":
            return None
        return Path(self.url.removeprefix("file://"))

    def failure(self, output: Output, *, seconds: float, cap_mb: int, received: int) -> RepositoryError:
        """The error for a command that talked to the remote and did not do what it should.

        `received` are the bytes that had come before it was stopped: a remote that was sending is not one
        that does not answer.
        """
        detail = output.detail or None
        match output.ending:
            case Ending.OVER_THE_CAP:
                return self.too_large(cap_mb)
            case Ending.DEADLINE if received:
                return RepositoryTooLargeError(
                    f"repository {self.name} did not arrive within {seconds:g} s:"
                    f" {received / 1e6:.1f} MB had come when the time was over",
                    advice=f"Raise `timeout` of repositories.{self.name}.",
                )
            case Ending.DEADLINE:
                return RemoteUnreachableError(
                    f"the remote of {self.name} ({self.shown}) did not answer within {seconds:g} s",
                    detail=detail,
                )
            case Ending.STOPPED:
                return RepositoryInterruptedError(f"the fetch of {self.name} was stopped")
            case Ending.TOO_MUCH_OUTPUT:
                return RepositoryError(f"the remote of {self.name} ({self.shown}) printed without end")
            case Ending.EXITED:
                return self._refusal(output)

    def too_large(self, cap_mb: int) -> RepositoryTooLargeError:
        """The error for a repository that does not fit into its cap."""
        return RepositoryTooLargeError(
            f"repository {self.name} is larger than {cap_mb} MB",
            advice=f"Raise `max_size_mb` of repositories.{self.name}, or make the repository smaller.",
        )

    def _refusal(self, output: Output) -> RepositoryError:
        said, detail = output.stderr.replace(self.url, ""), output.detail or None
        where = f"the remote of {self.name} ({self.shown})"
        if _NO_SUCH_BRANCH.search(said):
            return BranchMissingError(f"{where} has no branch {self.branch}", detail=detail)
        if _REDIRECTED.search(said):
            return RemoteRefusedError(
                f"{where} redirects to another address, which nobody has vetted",
                advice=f"Set repositories.{self.name}.url to the final address; often only .git is missing.",
                detail=detail,
            )
        if re.search(r"transport '.*' not allowed", said):
            return UnsafeRepositoryError(f"{where} leads to a transport that is not allowed", detail=detail)
        if _UNREACHABLE.search(said) and not _REFUSED.search(said):
            return RemoteUnreachableError(f"{where} cannot be reached: {output.complaint}", detail=detail)
        if _REFUSED.search(said):
            return RemoteRefusedError(f"{where} refused: {output.complaint}", detail=detail)
        return failure(f"git fetch of {self.name}", output)


def pinned(url: str, *, name: str, shown: str) -> tuple[tuple[str, str], ...]:
    """What ties git to the addresses that the host of a URL stands for now, each of which is looked at.

    git is told to connect to just those, over http at least: a name that points to a machine's metadata a
    moment later gains nothing. For the same reason a name without an address is refused, unless a proxy is
    asked, which may know more than we do; ssh finds its addresses itself. This machine is meant only where it
    is written so: by an address, or `localhost`.

    Raises UnsafeRepositoryError and RemoteUnreachableError.
    """
    protocol, (host, port) = protocol_of(url), host_of(url)
    if protocol == "file" or is_loopback_name(host):
        return ()
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        if protocol == "ssh" or _is_proxied(protocol, host):
            return ()
        raise RemoteUnreachableError(
            f"the remote of {name} ({shown}) cannot be reached: its host's name has no address"
        ) from exc
    addresses = [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if why := refusal(host, addresses):
        raise UnsafeRepositoryError(
            f"the host of {name} ({shown}) {why}",
            advice=f"Find out who answers for its name, or correct `url` of repositories.{name}.",
        )
    if protocol == "ssh":
        return ()
    spelt = [f"[{each}]" if each.version == 6 else str(each) for each in dict.fromkeys(addresses)]
    return (("http.curloptResolve", f"{host}:{port}:{','.join(spelt)}"),)


def _is_proxied(protocol: str, host: str) -> bool:
    """Whether git would have a proxy find the host: curl heeds HTTP_PROXY in small letters alone."""
    names = [f"{protocol}_proxy", "all_proxy", "ALL_PROXY", *(["HTTPS_PROXY"] if protocol == "https" else [])]
    if not any(map(os.environ.get, names)):
        return False
    said = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    spared = [each.strip().lstrip(".").lower() for each in said.split(",")]
    return not any(each == "*" or f".{host.lower()}".endswith(f".{each}") for each in filter(None, spared))


def protocol_of(url: str) -> str:
    """What it is fetched by: `file`, `ssh`, or what the URL says."""
    if url.startswith("/"):
        return "file"
    return url.split("://", 1)[0].lower() if "://" in url else "ssh"


def host_of(url: str) -> tuple[str, int]:
    """Whom git connects to, and where; an empty name for a path."""
    if "://" in url:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or _PORTS.get(parts.scheme.lower(), 0)
    return url.partition("@")[2].partition(":")[0] if "@" in url else url.partition(":")[0], _PORTS["ssh"]


def _http_settings(url: str, settings: RepositorySettings, token: str | None) -> list[tuple[str, str]]:
    stalled = max(1, min(_SLOW_SECONDS, int(settings.timeout.total_seconds() / 2)))
    chosen = [
        ("http.lowSpeedLimit", _SLOW_BYTES),
        ("http.lowSpeedTime", str(stalled)),
        # git would ask whatever it is sent to, a machine's metadata too, and with the same header.
        ("http.followRedirects", "false"),
    ]
    if values.is_loopback_url(url):
        chosen.append(("http.proxy", ""))
    if token is None:
        return chosen
    pair = base64.b64encode(f"{settings.username}:{token}".encode()).decode()
    register_secret(token)
    register_secret(pair)
    parts = urlsplit(url)
    return [
        *chosen,
        (f"http.{parts.scheme}://{parts.netloc}/.extraHeader", f"Authorization: Basic {pair}"),
    ]


def _ssh_variables(settings: RepositorySettings) -> dict[str, str]:
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "ConnectTimeout": str(max(1, min(_SLOW_SECONDS, int(settings.timeout.total_seconds() / 2)))),
        "ServerAliveInterval": "10",
        "ServerAliveCountMax": "3",
        "ControlMaster": "no",
        "ControlPath": "none",
        "ClearAllForwardings": "yes",
        "ForwardAgent": "no",
        "PermitLocalCommand": "no",
    }
    command = ["ssh", "-F", "/dev/null"]
    if settings.ssh_key:
        options["IdentitiesOnly"] = "yes"
        options["IdentityAgent"] = "none"
        command += ["-i", str(settings.ssh_key)]
    if settings.ssh_known_hosts:
        known_hosts = str(settings.ssh_known_hosts).replace("%", "%%")
        options |= {"UserKnownHostsFile": f'"{known_hosts}"', "GlobalKnownHostsFile": "/dev/null"}
    command += [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
    return {"GIT_SSH_COMMAND": shlex.join(command), "GIT_SSH_VARIANT": "ssh"}
