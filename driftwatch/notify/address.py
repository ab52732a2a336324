"""Which network addresses may be connected to where the configuration, or somebody's DNS, names the host.

driftwatch is self-hosted, and so is much of what listens to it: private networks are as good as any. Not so
the addresses at which clouds answer a machine's questions about itself, credentials included
(169.254.169.254 and its kin), and those that name no host at all. This machine is meant only where it is
written so: `localhost`, 127.0.0.1 or ::1, and no name that somebody has made to point there. A name is
resolved once, every address it has is looked at, and the connection goes to what was looked at: a name that
points elsewhere a moment later gains nothing.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeAlias

from driftwatch.config.hosts import Address, refusal, unwrapped

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Network, IPv6Network

Network: TypeAlias = "IPv4Network | IPv6Network"


class NotAllowedError(ValueError):
    """A host that may not be connected to; the sentence says why."""


def reachable(host: str, port: int, allowed: Sequence[Network] = ()) -> list[Address]:
    """All addresses of `host`, in the order in which to try them, each one looked at.

    Raises NotAllowedError where any of them that is not `allowed` is refused, and OSError where it has none.
    """
    addresses = resolve(host, port)
    if why := refusal(host, [each for each in addresses if not _is_among(each, allowed)]):
        raise NotAllowedError(f"{host} {why}")
    return addresses


def resolve(host: str, port: int) -> list[Address]:
    """All addresses of `host`, in the order in which to try them. Raises OSError where it has none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # A scope (fe80::1%eth0) only link-local addresses have, which the check refuses or the settings allow
    # as they are.
    return list(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


def _is_among(address: Address, networks: Sequence[Network]) -> bool:
    return any(unwrapped(address) in network for network in networks)
