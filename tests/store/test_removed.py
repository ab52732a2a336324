"""That a stack is gone is told once, with what is still there; and nothing is done about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from driftwatch.config.notify import NotifySettings
from driftwatch.drift.routing import Routing
from driftwatch.errors import UnknownStackError
from driftwatch.model import ProposalState, StackDeclaration, StackId, Trigger
from driftwatch.store import Store, Voice

from .samples import LEASE, START, after, declared, finding, result, stack_id
from .test_proposals import draft

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from driftwatch.model import Message

SAID = "Its resources are in s3: bucket states, key one."


@pytest.fixture
def voiced(tmp_path: Path) -> Iterator[Store]:
    """A store whose news go to `slack`."""
    store = Store.open(state_dir=tmp_path, database=None, voice=Voice(channels=("slack",)))
    yield store
    store.close()


def news(store: Store, at: float = 60) -> list[Message]:
    """What waits to be sent, all of it handed out."""
    return [each for each in store.due_messages(at=after(at), limit=100) if each.announcement.said]


def test_a_stack_that_is_gone_is_told_once_with_what_is_known_of_its_state(voiced: Store) -> None:
    voiced.sync_stacks("platform", [declared(1), declared(2)], START)
    assert voiced.sync_stacks("platform", [declared(2)], after(1), gone={stack_id(1): SAID}).removed
    voiced.sync_stacks("platform", [declared(2)], after(2), gone={stack_id(1): SAID})
    (message,) = news(voiced)
    told = message.announcement
    assert (told.kind, told.stack, told.said) == ("stack_removed", str(stack_id(1)), SAID)
    assert (told.labels, told.owners) == (declared(1).labels, declared(1).owners)


def test_one_that_comes_back_and_goes_again_is_told_again(voiced: Store) -> None:
    for minute, stacks in enumerate(([declared(1)], [], [declared(1)], [])):
        voiced.sync_stacks("platform", stacks, after(minute))
    assert len(news(voiced)) == 2


def test_without_a_reason_it_is_not_watched_any_more(voiced: Store) -> None:
    voiced.sync_stacks("platform", [declared(1)], START)
    voiced.sync_stacks("platform", [], after(1))
    (message,) = news(voiced)
    assert (message.announcement.said or "").startswith(
        "It is not among the stacks that are watched any more."
    )


def test_many_at_once_are_one_message_that_counts_them(voiced: Store) -> None:
    voiced.sync_stacks("platform", [declared(number) for number in range(30)], START)
    voiced.sync_stacks("platform", [declared(0)], after(1))
    (message,) = news(voiced)
    assert message.announcement.stack == "platform/*"
    said = message.announcement.said or ""
    assert said.startswith(
        "29 stacks are not watched any more. Nothing was destroyed: what they made is still"
    )
    assert f"They are {stack_id(1)}, " in said
    assert said.endswith(" and 9 more.")


def test_it_goes_where_the_stacks_own_news_go(tmp_path: Path) -> None:
    mine = StackId(repository="platform", path="mine")
    slack = {"token": "xoxb-canary", "channel": "#drift"}
    routes = [{"stacks": ["platform/mine"], "channels": ["slack:#mine"]}]
    settings = NotifySettings.model_validate({"slack": slack, "routes": routes})
    voice = Voice(channels=("slack",), routing=Routing.compile(settings))
    store = Store.open(state_dir=tmp_path, database=None, voice=voice)
    store.sync_stacks("platform", [StackDeclaration(id=mine)], START)
    store.sync_stacks("platform", [], after(1))
    assert [message.channel for message in news(store)] == ["slack:#mine"]
    store.close()


def test_nothing_plans_or_applies_what_is_gone(voiced: Store) -> None:
    """Whatever was queued or approved ends with it, and nothing new can be queued or proposed."""
    voiced.sync_stacks("platform", [declared(1)], START)
    voiced.record_check(result(1, finding()), declaration=declared(1), channels=["slack"])
    number = voiced.propose(draft()).id
    voiced.enqueue(stack_id(1), Trigger.COMMIT, requested_by=None, at=START)
    voiced.sync_stacks("platform", [], after(1))
    ended = voiced.proposal(number)
    assert ended is not None
    assert (ended.state, ended.outcome) == (ProposalState.EXPIRED, "stack_removed")
    assert voiced.claim("one", at=after(2), lease=LEASE) is None
    assert voiced.stacks(now=after(2)) == []
    with pytest.raises(UnknownStackError):
        voiced.enqueue(stack_id(1), Trigger.COMMIT, requested_by=None, at=after(3))
    with pytest.raises(UnknownStackError):
        voiced.propose(draft())
