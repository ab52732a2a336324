"""Who knocks at the API, and what they may do: a bearer token speaks for a user of the configuration.

    token → is it good for anything? → its user, with what it has of their rights

Default deny: a token of a user whom the configuration does not know any more is good for nothing.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from driftwatch.model import StackId
    from driftwatch.pipeline.hints import Hints
    from driftwatch.pipeline.votes import Votes
    from driftwatch.policy.rights import People, Person
    from driftwatch.store import Store

SCHEME = "Bearer"

FAILURES = 20
"""So many wrong tokens from one address within `WITHIN` are told that they are; then it is told to wait."""

WITHIN = timedelta(minutes=1)
_MOST_ADDRESSES = 1000


class Attempts:
    """Wrong tokens lately, by address. From any thread; of many addresses the latest are remembered."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._failed: OrderedDict[str, deque[datetime]] = OrderedDict()

    def fail(self, address: str, at: datetime) -> bool:
        """Notes one more; True where they are too many."""
        with self._lock:
            times = self._failed.setdefault(address, deque(maxlen=FAILURES + 1))
            self._failed.move_to_end(address)
            while len(self._failed) > _MOST_ADDRESSES:
                self._failed.popitem(last=False)
            times.append(at)
            return len(times) > FAILURES and at - times[0] < WITHIN


class Refusal(Exception):  # noqa: N818  (it is an answer, and nothing went wrong here)
    """An answer that is none: a status, a word for machines, and a sentence."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """What the API works with.

    `needed` is how many people have to approve a proposal; `hints` take what is said of `repositories`, None
    where nobody does.
    """

    store: Store
    people: People
    votes: Votes
    needed: int
    allowed_age: Callable[[StackId], timedelta]
    clock: Callable[[], datetime]
    hints: Hints | None = None
    repositories: frozenset[str] = frozenset()
    attempts: Attempts = field(default_factory=Attempts)

    def let_in(self, authorization: str, address: str) -> Person:
        """Who speaks, by the header `Authorization`. Raises Refusal, and StoreError."""
        at = self.clock()
        scheme, _, secret = authorization.partition(" ")
        if not authorization:
            raise _unauthorised("This needs a token: `Authorization: Bearer …`.")
        token = self.store.use_token(secret.strip(), at) if scheme.lower() == SCHEME.lower() else None
        person = self.people.with_token(token) if token else None
        if person is not None:
            return person
        if self.attempts.fail(address, at):
            raise Refusal(429, "too_many_attempts", "Too many wrong tokens.", **{"Retry-After": "60"})
        raise _unauthorised("This token is good for nothing: unknown, expired, revoked, or of no known user.")


def _unauthorised(message: str) -> Refusal:
    return Refusal(401, "unauthorized", message, **{"WWW-Authenticate": SCHEME})
