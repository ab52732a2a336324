"""Addresses that are nobody's, in whatever spelling: what a file may not name, and what is this machine."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwatch.config import values
from driftwatch.config.hosts import is_loopback_name, names_off_limits

if TYPE_CHECKING:
    from collections.abc import Callable

METADATA = [
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "0.0.0.0",  # noqa: S104  (refused, not bound to)
    "0",
    "metadata.google.internal",
    "Metadata.Google.Internal.",
]


@pytest.mark.row(67)
@pytest.mark.parametrize("host", METADATA)
def test_no_repository_is_at_a_metadata_address(host: str, refuses: Callable[..., list[str]]) -> None:
    """Row 67: refused when the file is read, by https, ssh and the short form; nothing is asked there."""
    for url in (f"https://{host}/a.git", f"ssh://git@{host}/a.git", f"git@{host}:a.git"):
        (problem,) = refuses(f"repositories: {{p: {{url: '{url}'}}}}")
        assert "link-local, metadata or reserved" in problem or "no valid host" in problem


@pytest.mark.row(67)
@pytest.mark.parametrize("host", METADATA)
def test_no_api_is_at_a_metadata_address(host: str) -> None:
    """Row 67: that of a forge gets a token."""
    with pytest.raises(ValueError, match="link-local, metadata or reserved"):
        values.service_url(f"https://{host}/api/v3")


@pytest.mark.parametrize(
    "host", ["git.example.com", "10.0.0.7", "127.0.0.1", "localhost", "192.168.1.1", "[::1]"]
)
def test_private_hosts_and_this_machine_are_as_good_as_any(host: str) -> None:
    assert values.repository_url(f"https://{host}/a.git")
    assert values.service_url(f"http://{host}:3000/api")


@pytest.mark.row(67)
@pytest.mark.parametrize(
    "host", ["127.evil.example", "127.0.0.1.evil.example", "localhost.example", "1.2.3.4", ""]
)
def test_only_this_machine_is_taken_for_this_machine(host: str) -> None:
    """Row 67: a name that begins like a loopback address is anybody's; no token goes there in clear."""
    assert not is_loopback_name(host)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "::1", "[::1]", "localhost", "LOCALHOST."]
)
def test_this_machine_is_known_in_every_spelling(host: str) -> None:
    assert is_loopback_name(host)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.integers(0, 2**33).flatmap(
            lambda n: st.sampled_from([str(n % 300), str(n), hex(n), f"0{n % 512:o}"])
        ),
        min_size=1,
        max_size=5,
    )
)
def test_addresses_are_read_as_the_c_library_reads_them(parts: list[str]) -> None:
    """What connects asks `inet_aton`; what judges must come to the same address, or to none where it does."""
    host = ".".join(parts)
    try:
        theirs = socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        assert not names_off_limits(host)
        assert not is_loopback_name(host)
    else:
        assert names_off_limits(host) == names_off_limits(theirs)
        assert is_loopback_name(host) == theirs.startswith("127.")
