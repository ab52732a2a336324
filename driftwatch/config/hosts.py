"""Which network addresses are nobody's: those at which a cloud answers a machine's questions about itself.

Pure: what a name stands for, the resolver says when it is connected to (`driftwatch.notify.address`,
`driftwatch.git.remote`), and it is judged here. So is what is written in a file as an address, in whatever
spelling, when it is read.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection

Address: TypeAlias = IPv4Address | IPv6Address

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
_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+", re.IGNORECASE | re.ASCII)


def refusal(host: str, addresses: Collection[Address]) -> str | None:
    """Why nothing connects to `host`, as what it does, where it stands for these addresses; None for nothing.

    This machine is meant only where it is written so, by an address or `localhost`.
    """
    if any(map(is_off_limits, addresses)):
        return "has a link-local, metadata or reserved address"
    if not is_loopback_name(host) and any(unwrapped(each).is_loopback for each in addresses):
        return "points to this machine, which its name does not say"
    return None


def is_off_limits(address: Address) -> bool:
    """True for link-local, metadata, multicast, reserved and unspecified addresses, in IPv6 clothes too."""
    address = unwrapped(address)
    if address.is_loopback:
        return False
    nobodys = address.is_link_local or address.is_multicast or address.is_unspecified or address.is_reserved
    return nobodys or any(address in network for network in _METADATA)


def names_off_limits(host: str) -> bool:
    """Whether a host, as it is written in a URL, is such an address or the usual name of one."""
    address = _written(host.strip("[]"))
    if address is not None:
        return is_off_limits(address)
    return host.rstrip(".").lower().removesuffix(".ec2.internal") in _NAMES


def is_loopback_name(host: str) -> bool:
    """Whether a host is written as this machine: only then is it meant, whatever a resolver may say."""
    address = _written(host.strip("[]"))
    return address.is_loopback if address is not None else host.rstrip(".").lower() == "localhost"


def _written(host: str) -> Address | None:
    """The address that a resolver reads there without asking anybody; also 0xa9fea9fe and 127.1."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        pass  # no address as we write them; perhaps one of the old spellings
    parts = host.rstrip(".").split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    try:
        *first, last = map(_number, parts)
    except ValueError:
        return None
    room = 4 - len(first)
    if any(part > 255 for part in first) or last >= 1 << (8 * room):
        return None
    value = sum(part << (8 * (3 - place)) for place, part in enumerate(first)) + last
    return IPv4Address(value)


def _number(part: str) -> int:
    if part[:2].lower() == "0x":
        return int(part[2:] or "0", 16)
    return int(part, 8 if part.startswith("0") and len(part) > 1 else 10)


def unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if not isinstance(address, IPv6Address):
        return address
    if address in _NAT64:
        return ip_address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
