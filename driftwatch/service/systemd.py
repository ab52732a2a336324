"""Tells systemd how the daemon is: readiness, state, watchdog. Without systemd it tells nobody.

The protocol is sd_notify(3): lines of KEY=value in one datagram to the socket that NOTIFY_SOCKET names.
"""

from __future__ import annotations

import os
import socket
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from driftwatch import log

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = log.get("systemd")


class Notifier:
    """Speaks to the service manager at `address` (a path, or `@name` in the abstract namespace)."""

    def __init__(self, address: str | None = None, watchdog: timedelta | None = None) -> None:
        self._address = f"\0{address[1:]}" if address and address.startswith("@") else address
        self.watchdog = watchdog
        """How often the service manager wants to hear WATCHDOG=1 at least; None for never."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID (a watchdog of another process is not ours)."""
        microseconds = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog = timedelta(microseconds=int(microseconds)) if ours and microseconds.isdigit() else None
        return cls(environment.get("NOTIFY_SOCKET"), watchdog or None)

    def ready(self, status: str) -> None:
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str, *, within: timedelta) -> None:
        """`within` is what an orderly stop may take; systemd waits so long, whatever its unit says."""
        self._send(f"STOPPING=1\nSTATUS={status}\nEXTEND_TIMEOUT_USEC={within // timedelta(microseconds=1)}")

    def status(self, status: str) -> None:
        self._send(f"STATUS={status}")

    def ping(self) -> None:
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.settimeout(1)
                out.sendto(message.encode(), self._address)
        except OSError as error:
            logger.warning(f"systemd could not be told: {error}", action="notify", message=message)
