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


def channels(
    settings: NotifySettings, clock: Callable[[], datetime] = _now, *, approvals: int = 1
) -> tuple[Channel, ...]:
    """The configured channels, but for the issues of forges; what nobody configured is not even imported.

    Slack channels that only a route names are among them. `approvals` is how many a proposal needs.
    """
    found: list[Channel] = []
    if settings.slack:
        from driftwatch.notify.slack import SlackChannel

        names = (None, *_more_of_slack(settings))
        found += [SlackChannel(settings.slack, name, approvals=approvals) for name in names]
    if settings.webhooks:
        from driftwatch.notify.webhook import WebhookChannel

        found += [WebhookChannel(webhook, clock) for webhook in settings.webhooks]
    if settings.email:
        from driftwatch.notify.mail import EmailChannel

        found += [EmailChannel(mailbox, clock) for mailbox in settings.email]
    if settings.apprise:
        from driftwatch.notify.services import AppriseChannel

        found += [AppriseChannel(service) for service in settings.apprise]
    return tuple(found)


def _more_of_slack(settings: NotifySettings) -> list[str]:
    """The channels that routes name beside Slack's own."""
    named = (outlet for route in settings.routes for outlet in route.channels)
    return [outlet.removeprefix("slack:") for outlet in dict.fromkeys(named) if outlet.startswith("slack:")]
