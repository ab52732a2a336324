"""A repair that somebody asked for, and of which nothing comes, is told where the findings were told."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.log import register_secret
from driftwatch.model import (
    Cause,
    Commit,
    Evidence,
    Finding,
    ProposalKind,
    StackDeclaration,
    TransitionKind,
    Wish,
)
from driftwatch.store import Store, Voice
from tests.store.samples import START, after, finding, result, stack_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from driftwatch.model import Announcement
    from tests.store.conftest import Place

COMMIT = Commit(id="ab" * 20, author="Carol", at=START, subject="Encrypt every queue")
WHY = "the module's registry does not answer."


@pytest.fixture
def speaking(place: Place) -> Iterator[Store]:
    """A store that tells at once."""
    voice = Voice(channels=("slack",), gather=timedelta(0))
    store = Store.open(state_dir=place.state_dir, database=place.database, voice=voice)
    yield store
    store.close()


def waiting(address: str = "cloud_queue.jobs") -> Finding:
    """What the code of a commit wants and nobody has applied."""
    return finding(address, causes=(Cause.UNAPPLIED_COMMIT,), evidence=Evidence(commits=(COMMIT,)))


def put(store: Store, *findings: Finding, at: Any = START) -> None:
    check = result(1, *findings, at=at)
    store.record_check(check, declaration=StackDeclaration(id=check.stack), channels=["slack"])


def sent(store: Store) -> list[Announcement]:
    """What goes out now, as it is told."""
    told = []
    while due := store.due_messages(at=after(100), limit=100):
        for message in due:
            whole = store.whole_message(message, at=after(100))
            store.message_sent(whole.id, {"ts": f"1.{whole.id}"}, at=after(100), carried=whole.carried)
            told += whole.all_told
    return told


def ask(store: Store, kind: ProposalKind = ProposalKind.REVERT) -> int:
    return store.wish(Wish(stack=stack_id(), kind=kind, by="anna"), after(1))


def refuse(store: Store, number: int, why: str = WHY) -> None:
    store.grant(number, proposal=None, error=why, at=after(2))


def test_it_is_told_by_name_with_the_reason(speaking: Store) -> None:
    put(speaking, finding())
    sent(speaking)
    number = ask(speaking)
    refuse(speaking, number)
    (told,) = sent(speaking)
    assert told.kind is TransitionKind.REPAIR
    assert told.said == f"anna asked to revert {stack_id()}, but nothing is proposed: {WHY}"
    granted = speaking.granted(number)
    assert granted is not None
    assert granted.error == WHY


def test_it_is_told_once_however_often_it_is_answered(speaking: Store) -> None:
    put(speaking, finding())
    sent(speaking)
    number = ask(speaking)
    refuse(speaking, number)
    refuse(speaking, number, "something else.")
    assert len(sent(speaking)) == 1
    granted = speaking.granted(number)
    assert granted is not None
    assert granted.error == WHY, "the first answer is the answer"


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        (ProposalKind.REVERT, finding().address),
        (ProposalKind.DEPLOY, waiting().address),
        (ProposalKind.ROLLBACK, waiting().address),
    ],
)
def test_it_is_told_where_that_repair_would_have_been_told(
    speaking: Store, kind: ProposalKind, address: str
) -> None:
    put(speaking, waiting(), finding())
    sent(speaking)
    refuse(speaking, ask(speaking, kind))
    (told,) = sent(speaking)
    assert [each.address for each in told.findings] == [address]


def test_it_is_told_in_the_thread_there_is_where_its_own_has_none(speaking: Store) -> None:
    put(speaking, waiting())
    sent(speaking)
    refuse(speaking, ask(speaking))
    (told,) = sent(speaking)
    assert [each.address for each in told.findings] == [waiting().address]


@pytest.mark.parametrize("findings", [(), (finding(counted=False),)], ids=["in sync", "noise"])
def test_nothing_is_told_where_nobody_heard_of_anything(
    speaking: Store, findings: tuple[Finding, ...]
) -> None:
    """Whoever asked at a terminal reads the answer there."""
    put(speaking, *findings)
    sent(speaking)
    number = ask(speaking)
    refuse(speaking, number)
    assert sent(speaking) == []
    granted = speaking.granted(number)
    assert granted is not None
    assert granted.error == WHY


def test_nothing_is_told_of_what_is_over(speaking: Store) -> None:
    put(speaking, finding())
    sent(speaking)
    number = ask(speaking)
    put(speaking, at=after(1))
    sent(speaking)
    refuse(speaking, number)
    assert sent(speaking) == []


def test_no_secret_is_told(speaking: Store) -> None:
    register_secret("canary-of-a-registry")
    put(speaking, finding())
    sent(speaking)
    refuse(speaking, ask(speaking), "canary-of-a-registry was refused.")
    (told,) = sent(speaking)
    assert told.said is not None
    assert "canary" not in told.said
