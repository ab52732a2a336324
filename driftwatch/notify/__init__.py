"""Telling people: the outbox's sender and its channels."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from driftwatch.notify.channel import Channel, DeliveryDeferred, DeliveryRefused
from driftwatch.notify.sender import Outbox, Sender

if TYPE_CHECKING:
    from collections.abc import Callable

    from driftwatch.config.notify import NotifySettings

__all__ = ["Channel", "DeliveryDeferred", "DeliveryRefused", "Outbox", "Sender", "channels"]


def _now() -> datetime:
    return datetime.now(UTC)


def channels(settings: NotifySettings, clock: Callable[[], datetime] = _now) -> tuple[Channel, ...]:
    """The configured channels: `slack` and `webhook:<name>`. What nobody configured is not even imported."""
    found: list[Channel] = []
    if settings.slack:
        from driftwatch.notify.slack import SlackChannel

        found.append(SlackChannel(settings.slack))
    if settings.webhooks:
        from driftwatch.notify.webhook import WebhookChannel

        found += [WebhookChannel(webhook, clock) for webhook in settings.webhooks]
    return tuple(found)
