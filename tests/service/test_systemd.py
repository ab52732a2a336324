"""What systemd is told."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from driftwatch.service.systemd import Notifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from service_doubles import Lines


@contextmanager
def manager(address: str) -> Iterator[Callable[[], str]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        inbox.settimeout(5)
        inbox.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        yield lambda: inbox.recv(4096).decode()


def test_it_is_told_of_readiness_and_of_the_end(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with manager(address) as heard:
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": address})
        notifier.status("recovering")
        assert heard() == "STATUS=recovering"
        notifier.ready("watching 3 stacks")
        assert heard() == "READY=1\nSTATUS=watching 3 stacks"
        notifier.reloading()
        assert heard().startswith("RELOADING=1\nMONOTONIC_USEC=")
        notifier.stopping("finishing", within=timedelta(seconds=2))
        assert heard() == "STOPPING=1\nSTATUS=finishing\nEXTEND_TIMEOUT_USEC=2000000"
        notifier.ping()
        assert heard() == "WATCHDOG=1"


def test_the_abstract_namespace_is_understood() -> None:
    address = f"@driftwatch-test-{secrets.token_hex(8)}"
    with manager(address) as heard:
        Notifier.from_environment({"NOTIFY_SOCKET": address}).ping()
        assert heard() == "WATCHDOG=1"


def test_without_systemd_nobody_is_told(lines: Lines) -> None:
    Notifier.from_environment({}).ready("up")
    assert lines == []


def test_a_manager_that_is_gone_is_no_reason_to_fail(tmp_path: Path, lines: Lines) -> None:
    Notifier.from_environment({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("up")
    assert [line["action"] for line in lines] == ["notify"]


def test_the_watchdog_is_ours_only_if_it_says_so() -> None:
    def watchdog(**environment: str) -> timedelta | None:
        return Notifier.from_environment(environment).watchdog

    assert watchdog(WATCHDOG_USEC="2000000") == timedelta(seconds=2)
    assert watchdog(WATCHDOG_USEC="2000000", WATCHDOG_PID=str(os.getpid())) == timedelta(seconds=2)
    assert watchdog(WATCHDOG_USEC="2000000", WATCHDOG_PID="1") is None
    assert watchdog(WATCHDOG_USEC="0") is None
    assert watchdog(WATCHDOG_USEC="soon") is None
    assert watchdog() is None
