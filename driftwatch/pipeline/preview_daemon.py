"""The daemon's part of previews: which pull requests are looked at, and when.

A hint (`ask`) wakes it at once. Between hints it lists the open pull requests of each repository as often as
the repository is polled, and looks at those that moved: another head, another base, or one that the forge
says was touched since. One is looked at at a time, and only by the daemon that leads. A forge that does not
answer is left alone for a while, which is said once, and keeps no other repository's pull requests waiting.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from driftwatch import log
from driftwatch.errors import (
    DriftwatchError,
    EngineInterruptedError,
    ForgeRefusedError,
    ForgeUnavailableError,
)
from driftwatch.pipeline.preview import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from driftwatch.model import PullRequest
    from driftwatch.pipeline.preview import Looked, Previews

ROUND_SECONDS = 1.0
"""Between two looks at whether there is something to do; a hint does not wait for it."""

REST_SECONDS = 60.0
"""How long a forge is left alone that named no time."""

LONG_REST_SECONDS = 300.0
"""The same of one that said no: a person has to mend something."""

LONGEST_REST_SECONDS = 3600.0

AGAIN_SECONDS = 300.0
"""After which a pull request is planned again of which a stack failed for what may pass by itself."""

MOST_TRIES = 3
"""So often at one head; after that it is for a person to ask."""

SOON_SECONDS = 2.0
"""After which one that moved while it was looked at is looked at again."""

logger = log.get("preview")


@dataclass(slots=True, kw_only=True)
class _Board:
    """What is known of one repository's pull requests."""

    poll: float
    due: float = 0.0
    order: tuple[int, ...] = ()
    seen: dict[int, tuple[str, str | None]] = field(default_factory=dict)
    tries: dict[int, tuple[str, int]] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    rests_until: float = 0.0
    trouble: str | None = None


class Previewer:
    """Runs beside the rest of the daemon. `polls` are seconds, by repository.

    `leads` says whether this daemon is the one that previews; `now` is a clock that only goes on.
    """

    def __init__(
        self,
        previews: Previews,
        *,
        polls: Mapping[str, float],
        leads: Callable[[], bool],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._previews = previews
        self._leads = leads
        self._now = now
        self._boards = {name: _Board(poll=polls[name]) for name in previews.desks}
        self._queue: dict[tuple[str, int], tuple[float, bool]] = {}
        """When each is to be looked at, and whether what was planned is planned again."""
        self._lock = threading.Lock()
        self._wake = threading.Event()

    def ask(self, repository: str, number: int) -> None:
        """Has a pull request looked at soon; what is not previewed here is passed over. From any thread."""
        if repository in self._boards and number > 0:
            self._put(repository, number, self._now(), first=True)
            self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Goes on until it is told to stop."""
        while not stop.is_set():
            if self._leads():
                self.go_round(stop)
            self._wake.wait(ROUND_SECONDS)
            self._wake.clear()

    def go_round(self, stop: threading.Event) -> None:
        """Lists what is due to be listed, and looks at all that is due to be looked at."""
        for name, board in self._boards.items():
            if not stop.is_set() and max(board.due, board.rests_until) <= self._now():
                with self._troubled(name, None):
                    self._list(name)
        while not stop.is_set() and (due := self._next()) is not None:
            (name, number), again = due
            with self._troubled(name, number, again=again):
                self._look(name, number, stop, again=again)

    def _list(self, name: str) -> None:
        board, desk = self._boards[name], self._previews.desks[name]
        board.due = self._now() + board.poll
        pulls = [each for each in desk.forge.open_pull_requests() if each.base == desk.branch]
        base = desk.code.head()
        for pull in self._moved(board, pulls, base):
            self._put(name, pull.number, self._now())
        known = {each.number for each in pulls}
        for number in self._previews.rooms(name):
            if number not in known:
                self._put(name, number, self._now())
        board.order = tuple(each.number for each in pulls)
        board.seen = {each.number: (each.head, base) for each in pulls}
        board.tries = {number: each for number, each in board.tries.items() if number in known}

    @staticmethod
    def _moved(board: _Board, pulls: Sequence[PullRequest], base: str | None) -> list[PullRequest]:
        """Those with another head or base, and those that came forward in the forge's own order.

        The order is by when something last happened, so what was said in one brings it before the others;
        what happened to the first alone does not show in it, and so the first is always among them.
        """
        place = {number: index for index, number in enumerate(board.order)}
        furthest, forward = len(place), set[int]()
        for pull in reversed(pulls):
            index = place.get(pull.number, -1)
            if index < furthest and index >= 0:
                furthest = index
            else:
                forward.add(pull.number)
        return [
            pull
            for index, pull in enumerate(pulls)
            if index == 0 or pull.number in forward or board.seen.get(pull.number) != (pull.head, base)
        ]

    def _look(self, name: str, number: int, stop: threading.Event, *, again: bool) -> None:
        _, tries = self._tried(name, number)
        last = tries + 1 >= MOST_TRIES
        looked = self._previews.look_at(name, number, stop, again=again, last=last)
        if looked.outcome is Outcome.MOVED:
            self._put(name, number, self._now() + SOON_SECONDS)
        elif looked.passing:
            self._try_again(name, number, looked)

    def _try_again(self, name: str, number: int, looked: Looked) -> None:
        head, tries = self._tried(name, number)
        self._boards[name].tries[number] = (head, tries + 1)
        if tries + 1 < MOST_TRIES:
            planned = looked.outcome is Outcome.PLANNED
            self._put(name, number, self._now() + AGAIN_SECONDS, again=planned)

    def _tried(self, name: str, number: int) -> tuple[str, int]:
        """The head that was seen last, and how often it was tried in vain."""
        board = self._boards[name]
        head = board.seen.get(number, ("", None))[0]
        before, tries = board.tries.get(number, (head, 0))
        return head, tries if before == head else 0

    @contextmanager
    def _troubled(self, name: str, number: int | None, *, again: bool = False) -> Iterator[None]:
        """What keeps one from being looked at keeps it in the queue, and the others where it is about all."""
        board = self._boards[name]
        try:
            yield
        except EngineInterruptedError:
            return  # the daemon ends; the next one finds it as it is
        except ForgeRefusedError as problem:
            if number is None or problem.status == HTTPStatus.UNAUTHORIZED:
                self._rest(board, name, problem, LONG_REST_SECONDS)
            else:
                self._refused(board, name, number, problem)
        except ForgeUnavailableError as problem:
            self._rest(board, name, problem, problem.retry_after or REST_SECONDS)
        except DriftwatchError as problem:
            self._rest(board, name, problem, REST_SECONDS)
        except Exception:  # a fault of ours with one must not end the previews of the others
            logger.exception(
                "A preview failed for a reason of driftwatch's own.",
                action="preview",
                repository=name,
                pull_request=number,
            )
            return
        else:
            self._over(board, name, number)
            return
        if number is not None:
            self._put(name, number, max(board.rests_until, self._now() + REST_SECONDS), again=again)

    @staticmethod
    def _over(board: _Board, name: str, number: int | None) -> None:
        if board.trouble is not None:
            board.trouble = None
            logger.info("Pull requests are previewed again.", action="preview", repository=name)
        if number is not None:
            board.refused.pop(number, None)

    def _rest(self, board: _Board, name: str, problem: DriftwatchError, seconds: float) -> None:
        """Leaves a repository alone for a while; said when it begins, and not each time."""
        board.rests_until = self._now() + min(max(seconds, 1.0), LONGEST_REST_SECONDS)
        if board.trouble != problem.code:
            board.trouble = problem.code
            logger.warning(
                f"Pull requests cannot be previewed: {problem.message}",
                action="preview",
                repository=name,
                error=problem.code,
                advice=problem.advice,
            )

    def _refused(self, board: _Board, name: str, number: int, problem: DriftwatchError) -> None:
        """The forge says no to this one, a locked conversation say: the others go on."""
        if board.refused.get(number) != problem.message:
            board.refused[number] = problem.message
            logger.warning(
                f"A pull request cannot be previewed: {problem.message}",
                action="preview",
                repository=name,
                pull_request=number,
                error=problem.code,
                advice=problem.advice,
            )

    def _put(self, name: str, number: int, due: float, *, again: bool = False, first: bool = False) -> None:
        """Queues one; the earlier time holds, and a hint comes before what is only listed."""
        with self._lock:
            known = self._queue.pop((name, number), None)
            entry = (min(due, known[0]) if known else due, again or (known is not None and known[1]))
            rest = self._queue
            self._queue = {(name, number): entry, **rest} if first else {**rest, (name, number): entry}

    def _next(self) -> tuple[tuple[str, int], bool] | None:
        """The first that is due and whose forge does not rest."""
        now = self._now()
        with self._lock:
            for key, (due, again) in self._queue.items():
                if due <= now and self._boards[key[0]].rests_until <= now:
                    del self._queue[key]
                    return key, again
        return None
