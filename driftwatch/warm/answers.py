"""Answers to calls that are pure functions of their request, remembered for when the same bytes come again.

Keyed by the binary, the method and the request, and by the environment and the directory where those count:
not for what the binary says of itself. Requests hold credentials, so that their digest stands for them. An
answer with an error in it is not remembered.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from driftwatch import metrics
from driftwatch.warm import wire

if TYPE_CHECKING:
    from driftwatch.warm.pool import Key


class Answers:
    """Bounded by the bytes that it holds; what was not asked for longest goes first. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self.hits = 0
        self.misses = 0
        self._limit = limit
        self._size = 0
        self._known: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Answers({len(self._known)} of {self._size} bytes)"

    def recall(self, key: Key, method: str, request: bytes) -> bytes | None:
        """The answer that this call had before."""
        name = _name(key, method, request)
        with self._lock:
            known = self._known.get(name)
            metrics.WARM_ANSWERS.labels("no" if known is None else "yes").inc()
            if known is None:
                self.misses += 1
                return None
            self.hits += 1
            self._known.move_to_end(name)
            return known

    def remember(self, key: Key, method: str, request: bytes, response: bytes) -> None:
        """Keeps a good answer, unless it alone is larger than all may be together."""
        if len(response) > self._limit or not _is_good(wire.name_of(method), response):
            return
        name = _name(key, method, request)
        with self._lock:
            self._size += len(response) - len(self._known.pop(name, b""))
            self._known[name] = response
            while self._size > self._limit:
                _, dropped = self._known.popitem(last=False)
                self._size -= len(dropped)

    def forget(self) -> None:
        with self._lock:
            self._known.clear()
            self._size = 0


def _name(key: Key, method: str, request: bytes) -> bytes:
    where = None if wire.name_of(method) in wire.OF_THE_BINARY else (key.environment, key.directory)
    digest = hashlib.sha256(repr((key.package.digest, where, method)).encode())
    digest.update(hashlib.sha256(request).digest())
    return digest.digest()


def _is_good(name: str, response: bytes) -> bool:
    try:
        return not wire.errors(response, wire.PURE[name])
    except wire.MalformedMessageError:
        return False
