"""Which network addresses a webhook may be sent to.

driftwatch is self-hosted, and so is much of what listens to it: loopback and private networks are as good
as any. Not so the addresses at which clouds answer a machine's questions about itself, credentials included
(169.254.169.254 and its kin), and those that name no host at all. A name is resolved once, every address it
has is looked at, and the connection goes to what was looked at: a name that points elsewhere a moment later
gains nothing.
"""

from __future__ import annotations

import socket
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Address, IPv4Network, IPv6Network

Address: TypeAlias = "IPv4Address | IPv6Address"
Network: TypeAlias = "IPv4Network | IPv6Network"

_METADATA = tuple(
    ip_network(network)
    for network in (
        "100.100.100.200/32",  # Alibaba Cloud
        "168.63.129.16/32",  # Azure's wire server
        "192.0.0.192/32",  # Oracle Cloud, older images
        "fd00:ec2::/32",  # AWS over IPv6
        "fd20:ce::254/128",  # Google Cloud over IPv6
    )
)
_NAT64 = ip_network("64:ff9b::/96")


def resolve(host: str, port: int) -> list[Address]:
    """All addresses of `host`, in the order in which to try them. Raises OSError where it has none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # A scope (fe80::1%eth0) only link-local addresses have, which the check refuses or the settings allow
    # as they are.
    return list(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


def is_allowed(address: Address, allowed: Sequence[Network] = ()) -> bool:
    """False for link-local, metadata, multicast, reserved and unspecified addresses outside of `allowed`."""
    address = _unwrapped(address)
    if any(address in network for network in allowed):
        return True
    if address.is_loopback:
        return True
    refused = address.is_link_local or address.is_multicast or address.is_unspecified or address.is_reserved
    return not (refused or any(address in network for network in _METADATA))


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if not isinstance(address, IPv6Address):
        return address
    if address in _NAT64:
        return ip_address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
