"""That a repository's newest commit is not used is told: once per head, and once when one counts again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from driftwatch.config.notify import NotifySettings
from driftwatch.drift.routing import Routing
from driftwatch.log import register_secret
from driftwatch.model import ErrorReport, TransitionKind
from driftwatch.store import Store, Voice
from tests.store.samples import START, after

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from driftwatch.model import Message
    from tests.store.conftest import Place

GOOD = "a1" * 20
AWAY = ErrorReport(code="remote_unreachable", message="the remote is away")
CHANNELS = ("slack", "webhook:ops")


def unsigned(head: str = "b2b2b2b2b2", why: str = "it is not signed") -> ErrorReport:
    return ErrorReport(
        code="signature_missing",
        message=f"the head of platform, {head} by Ann, is not used: {why}",
        advice="Sign it.",
        passing=False,
    )


@pytest.fixture
def speaking(place: Place) -> Iterator[Store]:
    voice = Voice(channels=CHANNELS)
    store = Store.open(state_dir=place.state_dir, database=place.database, voice=voice)
    yield store
    store.close()


def fetch(
    store: Store,
    error: ErrorReport | None,
    *,
    at: datetime = START,
    commit: str | None = GOOD,
    repository: str = "platform",
) -> None:
    store.record_fetch(repository, url="u", branch="main", commit=commit, error=error, at=at)


def sent(store: Store) -> list[Message]:
    """What goes out now, the messages of each channel in their order."""
    told = []
    while due := store.due_messages(at=after(100), limit=100):
        for message in due:
            whole = store.whole_message(message, at=after(100))
            store.message_sent(whole.id, {"ts": f"1.{whole.id}"}, at=after(100), carried=whole.carried)
            told.append(whole)
    return sorted(told, key=lambda message: message.id)


def kinds(messages: list[Message], channel: str = "slack") -> list[str]:
    return [str(each.announcement.kind) for each in messages if each.channel == channel]


def test_a_refused_head_is_told_once_on_every_channel(speaking: Store) -> None:
    """However often it is fetched; with what is in use meanwhile, and what to do."""
    for minute in range(3):
        fetch(speaking, unsigned(), at=after(minute))
    messages = sent(speaking)
    assert [message.channel for message in messages] == list(CHANNELS)
    for message in messages:
        told = message.announcement
        assert (told.kind, told.stack, told.commit) == (TransitionKind.HEAD_REFUSED, "platform/*", GOOD)
        assert told.said == (
            "The head of platform, b2b2b2b2b2 by Ann, is not used: it is not signed. The last good commit,"
            " a1a1a1a1a1, stays in use. Sign it."
        )
        assert message.incident is None
    (repository,) = speaking.repositories()
    assert repository.error is not None
    assert repository.error.code == "signature_missing"
    assert repository.commit == GOOD


def test_each_refused_head_is_told_and_the_end_once_in_one_thread(speaking: Store) -> None:
    fetch(speaking, unsigned("b2b2b2b2b2"), at=after(1))
    fetch(speaking, unsigned("c3c3c3c3c3"), at=after(2))
    fetch(speaking, unsigned("b2b2b2b2b2"), at=after(3))
    fetch(speaking, None, at=after(4), commit="d4" * 20)
    fetch(speaking, None, at=after(5), commit="e5" * 20)
    messages = [message for message in sent(speaking) if message.channel == "slack"]
    assert kinds(messages) == ["head_refused", "head_refused", "head_accepted"]
    assert len({message.thread for message in messages}) == 1
    assert [message.anchor for message in messages[1:]] == [{"ts": f"1.{messages[0].id}"}] * 2
    assert messages[-1].announcement.said == (
        "The newest commit of platform, d4d4d4d4d4, counts again and is in use."
    )


def test_the_next_time_is_another_story(speaking: Store) -> None:
    """The same head, too, after a good one was in use."""
    for minute, error in enumerate((unsigned(), None, unsigned(), None)):
        fetch(speaking, error, at=after(minute))
    messages = [message for message in sent(speaking) if message.channel == "slack"]
    assert kinds(messages) == ["head_refused", "head_accepted", "head_refused", "head_accepted"]
    assert len({message.thread for message in messages}) == 2


def test_that_the_remote_is_away_neither_begins_nor_ends_it(speaking: Store) -> None:
    fetch(speaking, AWAY, at=after(1))
    fetch(speaking, None, at=after(2))
    assert sent(speaking) == []
    fetch(speaking, unsigned(), at=after(3))
    fetch(speaking, AWAY, at=after(4))
    fetch(speaking, unsigned(), at=after(5))
    fetch(speaking, AWAY, at=after(6))
    fetch(speaking, None, at=after(7))
    assert kinds(sent(speaking)) == ["head_refused", "head_accepted"]


def test_without_any_good_commit_it_says_that_nothing_is_checked(speaking: Store) -> None:
    """A first start: there is no stack yet, nor a commit."""
    fetch(speaking, unsigned(), commit=None)
    assert "Nothing of it is checked." in str(sent(speaking)[0].announcement.said)


def test_that_no_signature_can_be_looked_at_is_told_too(speaking: Store) -> None:
    fetch(speaking, ErrorReport(code="signers_unusable", message="there is no gpg on this machine"))
    assert "There is no gpg on this machine." in str(sent(speaking)[0].announcement.said)


def test_a_circle_of_dependencies_hides_neither_that_a_head_counts_again_nor_when_it_was_read(
    speaking: Store,
) -> None:
    """It is the repository's error, and none of the fetch."""
    circle = ErrorReport(code="dependency_cycle", message="stacks depend on each other in a circle")
    fetch(speaking, unsigned(), at=after(1))
    fetch(speaking, circle, at=after(2), commit="d4" * 20)
    assert kinds(sent(speaking)) == ["head_refused", "head_accepted"]
    (repository,) = speaking.repositories()
    assert (repository.error, repository.last_good_at) == (circle, after(2))
    fetch(speaking, unsigned(), at=after(3), commit="d4" * 20)
    (repository,) = speaking.repositories()
    assert repository.last_good_at == after(2)
    fetch(speaking, circle, at=after(4), commit="e5" * 20)
    assert kinds(sent(speaking)) == ["head_refused", "head_accepted"], "the second story"


def test_that_a_branch_was_put_back_is_told_too(speaking: Store) -> None:
    fetch(speaking, ErrorReport(code="head_rewound", message="the branch was put back"))
    fetch(speaking, None, at=after(1))
    assert kinds(sent(speaking)) == ["head_refused", "head_accepted"]


def test_repositories_are_told_of_apart(speaking: Store) -> None:
    """Also where one's name begins as the other's, or is a pattern of it."""
    for name in ("platform", "plat", "p%"):
        fetch(speaking, unsigned(), repository=name)
    fetch(speaking, None, repository="plat", at=after(1))
    messages = sent(speaking)
    ended = [each.announcement.stack for each in messages if each.announcement.kind.is_end]
    assert ended == ["plat/*"] * len(CHANNELS)
    assert len(kinds(messages)) == 4


def test_a_restart_does_not_tell_it_again(place: Place) -> None:
    for minute in range(3):
        voice = Voice(channels=("slack",))
        store = Store.open(state_dir=place.state_dir, database=place.database, voice=voice)
        fetch(store, unsigned(), at=after(minute))
        count = store.outbox_depth()["waiting"]
        store.close()
        assert count == 1


def test_a_route_chooses_by_the_repositorys_stacks(place: Place) -> None:
    """A route about its stacks is told; where none is, every channel is."""
    settings = NotifySettings.model_validate(
        {
            "slack": {"channel": "#drift", "token": "x"},
            "routes": [{"stacks": ["platform/*"], "channels": ["slack:#platform"]}],
        }
    )
    voice = Voice(channels=("slack",), routing=Routing.compile(settings))
    store = Store.open(state_dir=place.state_dir, database=place.database, voice=voice)
    fetch(store, unsigned())
    fetch(store, unsigned(), repository="other")
    told = {(each.announcement.stack, each.channel) for each in sent(store)}
    store.close()
    assert told == {("platform/*", "slack:#platform"), ("other/*", "slack")}


def test_no_secret_is_told(speaking: Store) -> None:
    register_secret("canary-of-a-head")
    fetch(speaking, unsigned(why="canary-of-a-head"))
    for message in sent(speaking):
        assert "canary-of-a-head" not in str(message)
