"""What a configuration says that is accepted, and that a person should know all the same.

A setting that silently does nothing is a lie; one that a later version will act on must load all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from driftwatch.config import values
from driftwatch.config.durations import format_duration
from driftwatch.config.problems import KeyPath, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from driftwatch.config.document import Document
    from driftwatch.config.settings import RepositorySettings, Settings, StackSettings


def remarks(settings: Settings, document: Document) -> Iterator[Problem]:
    """One warning for each such setting."""
    for path, sentence in _all_remarks(settings):
        yield Problem(line=document.line(path), key=path, sentence=sentence)


def _all_remarks(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    if not settings.repositories:
        yield ("repositories",), "is empty: nothing is watched"
    yield from _repair_remarks(settings)
    slack = settings.notify.slack
    if slack and slack.base_url and _in_clear(slack.base_url):
        yield ("notify", "slack", "base_url"), "is not https: the token and the alerts travel in clear"
    for place, webhook in enumerate(settings.notify.webhooks):
        if _in_clear(webhook.url):
            yield ("notify", "webhooks", place, "url"), "is not https: the alerts travel in clear"
    for name, repository in settings.repositories.items():
        yield from _repository_remarks(repository, ("repositories", name), settings)
    if not settings.warm.enabled:
        yield from _without_replay(settings)


def _repair_remarks(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    if settings.repair.automatic and not any(window.kind == "allow" for window in settings.windows):
        yield ("repair", "automatic"), "applies nothing by itself while no window of the kind `allow` opens"
    for place, course in enumerate(settings.repair.courses):
        yield from _what_follows(course.then, ("repair", "courses", place, "then"), settings)


def _what_follows(then: str, path: KeyPath, settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    if then == "apply" and not settings.repair.automatic:
        yield path, "is no more than `propose` while `repair.automatic` is false"


def _repository_remarks(
    repository: RepositorySettings, path: KeyPath, settings: Settings
) -> Iterator[tuple[KeyPath, str]]:
    scheme = repository.url.partition("://")[0].lower() if "://" in repository.url else ""
    if scheme == "http" and _in_clear(repository.url):
        yield (*path, "url"), "is not https: whoever sits in between can change the code that is planned"
    if repository.token and scheme != "https":
        yield (*path, "token"), "is used only with an https URL, so here it does nothing"
    for place, stack in enumerate(repository.stacks):
        yield from _stack_remarks(stack, (*path, "stacks", place), settings)


def _stack_remarks(stack: StackSettings, path: KeyPath, settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    yield from _what_follows(stack.on_drift, (*path, "on_drift"), settings)
    yield from _what_follows(stack.on_commit, (*path, "on_commit"), settings)


def _without_replay(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    interval = format_duration(settings.continuous.plan_interval)
    for name, repository in settings.repositories.items():
        for place, stack in enumerate(repository.stacks):
            if stack.schedule.continuous:
                path = ("repositories", name, "stacks", place, "schedule")
                yield path, f"`continuous` means a plan every {interval} while `warm` is not enabled"


def _in_clear(url: str) -> bool:
    return url.lower().startswith("http://") and not values.is_loopback_url(url)
