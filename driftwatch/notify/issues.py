"""Issues on GitHub or GitLab: one per incident, whose body always tells how things stand.

The first message of an incident opens the issue; its number is the receipt. Each later one replaces title and
body and adds one comment that tells all that is new. The issue is closed when nothing of the incident is open
any more, and re-opened when something of it begins again; what people do to it in between is theirs, and not
undone. Where the issue was deleted, another is opened. A digest gets an issue of its own, which is never
closed here.

At least once: when the forge took an issue and its answer was lost, the next attempt finds it by a mark that
begins the body, and opens no second. A comment whose answer was lost is written again.
"""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from driftwatch.errors import ForgeRefusedError, ForgeUnavailableError, UsageError
from driftwatch.model import TransitionKind
from driftwatch.notify import markdown
from driftwatch.notify.channel import DeliveryDeferred, person_needed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from driftwatch.model import Message

FULL_SECONDS = 3600.0
"""When to look again whether one of the open issues was closed: that is done by people."""

_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_OF_ONE_MESSAGE = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY}
)
_BEGINNINGS = (TransitionKind.DRIFT_FOUND, TransitionKind.CHECK_FAILING, TransitionKind.HEAD_REFUSED)
_GENERAL_ADVICE = "Check the settings of this channel under `notify`."


class Tracker(Protocol):
    """The issues of one repository or project. A reference is an issue's number.

    Each method may raise ForgeUnavailableError and ForgeRefusedError, and waits for nothing but its answer.
    """

    def open(self, title: str, body: str, labels: Sequence[str]) -> str: ...

    def edit(self, reference: str, title: str, body: str, *, closed: bool | None) -> None:
        """Replaces title and body; closes or re-opens, or with None leaves that as it is."""

    def comment(self, reference: str, body: str) -> None: ...

    def count_open(self, labels: Sequence[str], at_most: int) -> int:
        """How many issues with all these labels are open; need not count further than `at_most`."""

    def find(self, mark: str, labels: Sequence[str]) -> str | None:
        """An issue, open or closed, whose body begins with `mark`, among the newest with these labels."""


class IssuesChannel:
    """`github:<name>` or `gitlab:<name>`. Without labels, the issues of others count among the open ones."""

    def __init__(self, name: str, tracker: Tracker, *, labels: Sequence[str], most_open: int) -> None:
        if any("," in label for label in labels):
            raise UsageError(f"{name}: a label may hold no comma, which is what separates labels.")
        self.name = name
        self._tracker = tracker
        self._labels = tuple(labels)
        self._most_open = most_open
        self._moved: dict[str, str] = {}

    def deliver(self, message: Message) -> Mapping[str, str]:
        """Opens or updates the issue. Returns its number as `issue`."""
        try:
            return {"issue": self._tell(message)}
        except ForgeUnavailableError as error:
            raise DeliveryDeferred(error.retry_after, reason=error.message, advice=error.advice) from error
        except ForgeRefusedError as error:
            raise _verdict_on(error) from error

    def _tell(self, message: Message) -> str:
        first = (message.anchor or {}).get("issue")
        if not first:
            return self._begin(message) if message.attempts == 0 else self._begin_again(message)
        # The outbox goes on naming the first receipt of an incident, also when its issue was deleted since.
        present = self._moved.get(first, first)
        try:
            self._go_on(message, present)
        except ForgeRefusedError as refusal:
            if refusal.status not in _GONE:
                raise
            present = self._moved[first] = self._begin_again(message, gone=present)
        return present

    def _begin(self, message: Message) -> str:
        if self._tracker.count_open(self._labels, self._most_open) >= self._most_open:
            raise DeliveryDeferred(
                FULL_SECONDS,
                reason=f"{self._most_open} issues of this channel are open, the most that it may have",
                advice="Close issues that are done with, or raise most_open: the message waits until then.",
                whole_channel=False,
            )
        title, body, closed = self._standing(message)
        reference = self._tracker.open(title, body, self._labels)
        if closed:
            self._tracker.edit(reference, title, body, closed=True)
        return reference

    def _begin_again(self, message: Message, *, gone: str | None = None) -> str:
        """Takes up the issue that an earlier attempt may have opened, or opens one."""
        found = self._tracker.find(_mark(self.name, message), self._labels)
        if found is None or found == gone:
            return self._begin(message)
        if gone:
            self._go_on(message, found)
        else:
            self._edit(message, found)
        return found

    def _go_on(self, message: Message, reference: str) -> None:
        # What a digest tells is not how anything stands: nothing of it is replaced by the next.
        if not markdown.is_digest(message):
            self._edit(message, reference)
        self._tracker.comment(reference, markdown.comment(message))

    def _edit(self, message: Message, reference: str) -> None:
        title, body, closed = self._standing(message)
        self._tracker.edit(reference, title, body, closed=closed)

    def _standing(self, message: Message) -> tuple[str, str, bool | None]:
        """Title, body, and whether the issue is to be closed or open; None to leave that to people."""
        body = markdown.body(message, _mark(self.name, message))
        return markdown.title(message), body, _closed(message)


def _mark(channel: str, message: Message) -> str:
    """A comment that nobody sees, the same in all attempts, and that of no other incident or channel.

    Hashed: the name of a thread could end the comment and go on in clear.
    """
    thread = message.thread or message.dedupe_key
    hashed = hashlib.sha256(f"{channel} {thread}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"<!-- driftwatch:{hashed[:32]} -->"


def _closed(message: Message) -> bool | None:
    if markdown.is_digest(message):
        return None
    over = message.incident.open == 0 if message.incident else message.all_told[-1].kind.is_end
    if over:
        return True
    return False if any(told.kind in _BEGINNINGS for told in message.all_told) else None


def _verdict_on(error: ForgeRefusedError) -> DeliveryDeferred:
    if error.status in _OF_ONE_MESSAGE:
        return DeliveryDeferred(reason=error.message, advice=error.advice, whole_channel=False)
    return person_needed(error.message, error.advice or _GENERAL_ADVICE)
