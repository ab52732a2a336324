"""The sender gets what people are to be told from the outbox to them: one thread, never in the way.

An announcement is a row that was written with the check it tells of; sending happens here, later, as often
as it takes. A round looks at what is due, sends what may be sent now and writes down how each went. `drain`
makes rounds until nothing can be sent; `run` drains every second.

Order: messages of one thread on one channel go out as they were written, those of an incident that wait
together at once; one that waits holds back those behind it. Between threads the oldest goes first, except
that one which failed often (`PATIENCE`) lets the others pass. A channel in trouble is left alone as a whole,
longer each time, up to `LONGEST_PAUSE`, or as long as it asks; other channels go on. What is known of pauses
is in memory: after a restart each channel gets one try at once.

At least once: between a delivery and the row that says so lies a moment in which a crash makes a second
copy. Where only the database failed, the receipt is kept in memory and written before anything else is
sent.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from driftwatch import log
from driftwatch.log import redact
from driftwatch.metrics import MESSAGES
from driftwatch.notify.channel import PERSON_NEEDED_SECONDS, DeliveryDeferred, DeliveryRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from driftwatch.model import Message
    from driftwatch.notify.channel import Channel

ROUND_SECONDS = 1.0
"""Between two looks into the outbox. Alerts are in no greater hurry, and an idle look costs a millisecond."""

LONGEST_OUTBOX_PAUSE_SECONDS = 30.0

FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(minutes=15)
LONGEST_ASKED = timedelta(seconds=PERSON_NEEDED_SECONDS)
"""A receiver may ask for more than our own backoff, but not for ever; nor does a clock set back make a
pause longer."""

PATIENCE = 5
"""Failed attempts after which a message goes behind the others of its channel."""

GIVE_UP_AFTER = timedelta(days=7)
"""How long to try a message that its receiver alone refuses, or whose channel is no longer configured."""

BATCH = 50
LARGEST_BATCH = 5000
LOOK_FURTHER_EVERY = timedelta(seconds=30)
"""A page is read every second, the whole of a long outbox seldom: it would keep a core busy while Slack is
away."""

PACES: Mapping[str, timedelta] = dict.fromkeys(("slack", "github", "gitlab"), timedelta(seconds=1))
"""The least time between two messages of a channel, by the sort of it. Slack allows about one post a second
and channel, and GitHub asks for as much between two writes."""

logger = log.get("notify")


class Outbox(Protocol):
    """The messages to send, as the store keeps them, oldest first; no `retry_at` makes a dead letter."""

    def due_messages(self, *, at: datetime, limit: int) -> Sequence[Message]: ...

    def whole_message(self, message: Message, *, at: datetime) -> Message:
        """The message with all that goes out with it: asked for only once it is its turn."""

    def message_sent(
        self,
        id: int,  # noqa: A002  (the seam's)
        receipt: Mapping[str, str],
        *,
        at: datetime,
        carried: Sequence[int] = (),
    ) -> None: ...

    def message_failed(self, id: int, *, reason: str, retry_at: datetime | None) -> None: ...  # noqa: A002  (the seam's)


@dataclass(slots=True, kw_only=True)
class _Line:
    """What is remembered of one channel: when its next turn is, until when it rests, how often it failed."""

    channel: Channel | None
    turn_at: datetime | None = None
    free_at: datetime | None = None
    failures: int = 0
    complaint: str | None = None
    """What was last logged as wrong, so that it is not logged again with every try."""


@dataclass(slots=True, kw_only=True)
class _Waiting:
    """A message that was put off: those of its thread behind it wait, too."""

    id: int
    until: datetime


@dataclass(slots=True)
class _Memory:
    """What outlives a round."""

    lines: dict[str, _Line] = field(default_factory=dict)
    waiting: dict[tuple[str, str], _Waiting] = field(default_factory=dict)
    receipts: dict[int, tuple[Mapping[str, str], tuple[int, ...]]] = field(default_factory=dict)
    """By message, what the channel answered and the rows that went out with it."""
    look_further_at: datetime | None = None
    outbox_failures: int = 0


class Sender:
    """Sends for one process; two of them on one outbox would send everything twice."""

    def __init__(
        self,
        outbox: Outbox,
        channels: Iterable[Channel],
        clock: Callable[[], datetime],
        *,
        chance: Callable[[], float] = random.random,
        paces: Mapping[str, timedelta] = PACES,
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._chance = chance
        self._paces = paces
        self._memory = _Memory(lines={channel.name: _Line(channel=channel) for channel in channels})

    def run(self, stop: threading.Event) -> None:
        """Drains every second until `stop` is set, whatever happens in between."""
        while not stop.is_set():
            stop.wait(self._drained(stop))

    def drain(self, stop: threading.Event | None = None) -> int:
        """Sends all that can be sent now and returns how many messages were delivered.

        Waits only for a channel's next turn (`paces`), which `stop` ends; what is in trouble stays in the
        outbox. Raises only what the outbox raises.
        """
        stop, sent = stop or threading.Event(), 0
        while True:
            delivered = self._round(stop)
            sent += delivered
            turn = self._next_turn() if delivered else None
            if turn is None or stop.wait(turn):
                return sent

    def _round(self, stop: threading.Event) -> int:
        self._write_receipts()
        return sum(self._send(message) for message in self._next_messages() if not stop.is_set())

    def _next_turn(self) -> float | None:
        """Seconds until a channel that is well may send what waits for it; None where nothing waits."""
        now = self._clock()
        turns = [
            max((line.turn_at - now).total_seconds(), 0.0)
            for message in self._outbox.due_messages(at=now, limit=BATCH)
            if (line := self._line(message.channel)).turn_at and self._is_well(line, message, now)
        ]
        return min(turns, default=None)

    def _drained(self, stop: threading.Event) -> float:
        """One `drain` that survives anything; returns how long to wait before the next, in seconds."""
        try:
            self.drain(stop)
        except Exception as error:  # noqa: BLE001  (the loop outlives a lost database and our mistakes)
            return self._outbox_failed(error)
        if self._memory.outbox_failures:
            logger.info("The outbox can be used again.", action="outbox_recovered")
            self._memory.outbox_failures = 0
        return ROUND_SECONDS

    def _outbox_failed(self, error: Exception) -> float:
        self._memory.outbox_failures += 1
        if self._memory.outbox_failures == 1:
            reason = redact(f"{type(error).__name__}: {error}")
            logger.error("The outbox cannot be used; alerts wait.", action="outbox_failed", reason=reason)
        return min(ROUND_SECONDS * 2.0 ** min(self._memory.outbox_failures, 10), LONGEST_OUTBOX_PAUSE_SECONDS)

    def _write_receipts(self) -> None:
        for message_id, (receipt, carried) in list(self._memory.receipts.items()):
            self._outbox.message_sent(message_id, receipt, at=self._clock(), carried=carried)
            del self._memory.receipts[message_id]

    def _next_messages(self) -> list[Message]:
        """What may go out in this round: per channel and episode the first; oldest and patient ones first."""
        now = self._clock()
        due = self._outbox.due_messages(at=now, limit=BATCH)
        free = self._first_of_threads(due)
        if not free and len(due) >= BATCH and not _lies_ahead(self._memory.look_further_at, now):
            # A channel that rests has filled the page; others' messages may be further on.
            self._memory.look_further_at = now + LOOK_FURTHER_EVERY
            free = self._first_of_threads(self._outbox.due_messages(at=now, limit=LARGEST_BATCH))
        return sorted(free, key=lambda message: (message.attempts // PATIENCE, message.id))

    def _first_of_threads(self, due: Iterable[Message]) -> list[Message]:
        now, seen, free = self._clock(), set(), []
        for message in sorted(due, key=lambda message: message.id):
            key = (message.channel, message.thread)
            if key in seen:
                continue
            seen.add(key)
            if self._is_free(message, now):
                free.append(message)
        return free

    def _is_free(self, message: Message, now: datetime) -> bool:
        line = self._line(message.channel)
        return self._is_well(line, message, now) and not _lies_ahead(line.turn_at, now)

    def _is_well(self, line: _Line, message: Message, now: datetime) -> bool:
        """False while the channel is left alone, or an earlier message of the thread waits."""
        waiting = self._memory.waiting.get((message.channel, message.thread))
        if waiting and message.id > waiting.id and _lies_ahead(waiting.until, now):
            return False
        return not _lies_ahead(line.free_at, now)

    def _line(self, name: str) -> _Line:
        return self._memory.lines.setdefault(name, _Line(channel=None))

    def _send(self, message: Message) -> bool:
        """Delivers one message if its channel is still free, and writes down how it went."""
        line = self._line(message.channel)
        # An earlier message of this round may have used the channel's turn, or found it in trouble.
        if not self._is_free(message, self._clock()):
            return False
        if line.channel is None:
            self._channel_unknown(line, message)
            return False
        message = self._outbox.whole_message(message, at=self._clock())
        try:
            receipt = line.channel.deliver(message)
        except DeliveryRefused as refusal:
            self._dead(message, refusal.message)
        except DeliveryDeferred as deferral:
            self._deferred(line, message, deferral)
        except Exception as error:  # noqa: BLE001  (our mistake in one message must not hold up the rest)
            self._stumbled(line, message, error)
        else:
            self._delivered(line, message, receipt)
            return True
        return False

    def _delivered(self, line: _Line, message: Message, receipt: Mapping[str, str]) -> None:
        now = self._clock()
        if line.complaint:
            logger.info(
                "A channel takes messages again.", action="channel_recovered", channel=message.channel
            )
        line.failures, line.complaint, line.free_at = 0, None, None
        line.turn_at = now + self._paces.get(message.channel.partition(":")[0], timedelta(0))
        self._memory.waiting.pop((message.channel, message.thread), None)
        MESSAGES.labels(channel=message.channel, outcome="sent").inc(1 + len(message.carried))
        _log_sent(message)
        self._memory.receipts[message.id] = (receipt, message.carried)
        self._write_receipts()

    def _deferred(self, line: _Line, message: Message, deferral: DeliveryDeferred) -> None:
        if not deferral.whole_channel and self._clock() - message.created_at > GIVE_UP_AFTER:
            self._dead(message, f"{deferral.message}, for {GIVE_UP_AFTER.days} days")
            return
        self._complain(line, message, deferral.message, deferral.advice)
        failures = line.failures if deferral.whole_channel else message.attempts
        asked = deferral.retry_after
        pause = self._pause(failures) if asked is None else min(timedelta(seconds=asked), LONGEST_ASKED)
        if not deferral.whole_channel:
            self._put_off(message, self._clock() + pause, deferral.message)
            return
        line.failures += 1
        line.free_at = self._clock() + pause
        self._put_off(message, line.free_at, deferral.message)

    def _stumbled(self, line: _Line, message: Message, error: Exception) -> None:
        reason = redact(f"{type(error).__name__}: {error}")
        self._complain(line, message, reason, "This is a fault of driftwatch; please report it.")
        self._put_off(message, self._clock() + self._pause(message.attempts), reason)

    def _channel_unknown(self, line: _Line, message: Message) -> None:
        reason = f"no channel {message.channel} is configured"
        if self._clock() - message.created_at > GIVE_UP_AFTER:
            self._dead(message, reason)
            return
        self._complain(
            line, message, reason, "Configure it again under `notify`, or let its messages expire."
        )
        self._put_off(message, self._clock() + LONGEST_ASKED, reason)

    def _put_off(self, message: Message, until: datetime, reason: str) -> None:
        self._memory.waiting[message.channel, message.thread] = _Waiting(id=message.id, until=until)
        MESSAGES.labels(channel=message.channel, outcome="deferred").inc()
        self._outbox.message_failed(message.id, reason=reason, retry_at=until)

    def _dead(self, message: Message, reason: str) -> None:
        self._memory.waiting.pop((message.channel, message.thread), None)
        MESSAGES.labels(channel=message.channel, outcome="refused").inc()
        logger.error(
            "A message cannot be delivered and is given up.",
            action="message_refused",
            channel=message.channel,
            stack=message.announcement.stack,
            kind=message.announcement.kind.value,
            reason=reason,
        )
        self._outbox.message_failed(message.id, reason=reason, retry_at=None)

    def _complain(self, line: _Line, message: Message, reason: str, advice: str | None) -> None:
        """Says once what is wrong with a channel, until it is something else or right again."""
        if line.complaint == reason:
            return
        line.complaint = reason
        logger.warning(
            "A channel takes no messages for now; they wait.",
            action="message_deferred",
            channel=message.channel,
            stack=message.announcement.stack,
            reason=reason,
            advice=advice,
        )

    def _pause(self, failures: int) -> timedelta:
        """Twice as long each time, up to the longest; a random half of it, so that not all wake together."""
        longest: timedelta = min(FIRST_PAUSE * 2.0 ** min(failures, 20), LONGEST_PAUSE)
        return longest * (0.5 + 0.5 * self._chance())


def _lies_ahead(moment: datetime | None, now: datetime) -> bool:
    """False also for what lies further ahead than anything we wait for: then the clock was set back."""
    return moment is not None and timedelta(0) < moment - now <= LONGEST_ASKED


def _log_sent(message: Message) -> None:
    logger.info(
        "People were told.",
        action="message_sent",
        channel=message.channel,
        stack=message.announcement.stack,
        kind=message.announcement.kind.value,
        check=message.announcement.check_id,
        told=len(message.all_told),
    )
