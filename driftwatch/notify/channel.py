"""What a channel is, and the two ways in which it may fail to deliver.

A channel makes one attempt and says how it went. When to try again, in which order and how often is the
sender's business (`driftwatch.notify.sender`); a channel never sleeps and never logs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from driftwatch.errors import DriftwatchError, Remedy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from driftwatch.model import Message

PERSON_NEEDED_SECONDS = 3600.0
"""How long to leave a channel alone whose settings a person has to mend: trying sooner only makes noise,
giving up would lose the alerts that are waiting."""


class Channel(Protocol):
    """One way to people: `slack`, or `webhook:<name>`.

    `deliver` returns a receipt, which comes back as `Message.anchor` with the later messages of the
    episode. It raises DeliveryDeferred or DeliveryRefused, and delivers at least once: after a timeout
    nobody knows.
    """

    @property
    def name(self) -> str: ...

    def deliver(self, message: Message) -> Mapping[str, str]: ...


class DeliveryDeferred(DriftwatchError):  # noqa: N818  (named for what is to be done, it is no fault of ours)
    """Not now. The message stays in the outbox.

    `retry_after` is in seconds, None for "as your own backoff says". `whole_channel` is false where the
    receiver refused this one message and others may well get through.
    """

    code: ClassVar[str] = "delivery_deferred"
    remedy: ClassVar[Remedy] = Remedy.RETRY

    def __init__(
        self,
        retry_after: float | None = None,
        *,
        reason: str = "the receiver cannot take messages",
        advice: str | None = None,
        whole_channel: bool = True,
    ) -> None:
        super().__init__(reason, advice=advice)
        self.retry_after = retry_after
        self.whole_channel = whole_channel


class DeliveryRefused(DriftwatchError):  # noqa: N818  (as above)
    """Never. The receiver will not take this message however often it is tried."""

    code: ClassVar[str] = "delivery_refused"
    remedy: ClassVar[Remedy] = Remedy.GIVE_UP


def person_needed(reason: str, advice: str) -> DeliveryDeferred:
    """A deferral for what only a person can mend: long, and with what to do."""
    return DeliveryDeferred(PERSON_NEEDED_SECONDS, reason=reason, advice=advice)
