"""When pull requests are looked at: at once for a hint, when they move, and by the daemon that leads."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from driftwatch.errors import EngineInterruptedError, ForgeRefusedError, ForgeUnavailableError, StoreError
from driftwatch.model import PullRequest
from driftwatch.pipeline.preview import Looked, Outcome
from driftwatch.pipeline.preview_daemon import AGAIN_SECONDS, LONG_REST_SECONDS, MOST_TRIES, Previewer

if TYPE_CHECKING:
    from collections.abc import Callable

STOP = threading.Event()
SETTLED = Looked(outcome=Outcome.SETTLED)


def pull(number: int, head: str = "a" * 40, base: str = "main") -> PullRequest:
    return PullRequest(
        number=number,
        title="Change",
        author="ada",
        head=head,
        base=base,
        from_fork=False,
        is_open=True,
        url="https://git.example.com/1",
    )


@dataclass
class Desk:
    """A repository on a forge, both played."""

    branch: str = "main"
    pulls: list[PullRequest] = field(default_factory=list)
    commit: str = "b" * 40
    failures: list[Exception] = field(default_factory=list)
    listed: int = 0

    @property
    def forge(self) -> Desk:
        return self

    @property
    def code(self) -> Desk:
        return self

    def head(self) -> str:
        return self.commit

    def open_pull_requests(self) -> list[PullRequest]:
        self.listed += 1
        if self.failures:
            raise self.failures.pop(0)
        return self.pulls


@dataclass
class FakePreviews:
    """Notes what is looked at, and answers as each test says."""

    desks: dict[str, Desk]
    looked: list[tuple[str, int, bool]] = field(default_factory=list)
    last: list[tuple[int, bool]] = field(default_factory=list)
    answers: dict[int, list[Looked | Exception]] = field(default_factory=dict)
    on_disk: list[int] = field(default_factory=list)
    then: Callable[[], None] = lambda: None

    def look_at(
        self, repository: str, number: int, stop: threading.Event, *, again: bool = False, last: bool = False
    ) -> Looked:
        assert stop is STOP
        self.last.append((number, last))
        self.looked.append((repository, number, again))
        self.then()
        answers = self.answers.get(number)
        answer = answers.pop(0) if answers else SETTLED
        if isinstance(answer, Exception):
            raise answer
        return answer

    def rooms(self, repository: str) -> list[int]:
        return self.on_disk if repository == "platform" else []

    def taken(self) -> list[int]:
        """The numbers that were looked at since this was asked."""
        found, self.looked = [number for _, number, _ in self.looked], []
        return found


class Round:
    """A previewer whose clock stands still unless it is moved."""

    def __init__(self, *names: str) -> None:
        self.time = 1000.0
        self.leads = True
        self.desks = {name: Desk() for name in names or ("platform",)}
        self.previews = FakePreviews(self.desks)
        self.previewer = Previewer(
            cast("Any", self.previews),
            polls=dict.fromkeys(self.desks, 60.0),
            leads=lambda: self.leads,
            now=lambda: self.time,
        )

    @property
    def desk(self) -> Desk:
        return self.desks["platform"]

    def after(self, seconds: float = 0.0) -> list[int]:
        self.time += seconds
        self.previewer.go_round(STOP)
        return self.previews.taken()


@pytest.fixture
def played() -> Round:
    made = Round()
    made.desk.pulls = [pull(3), pull(2), pull(1)]
    assert sorted(made.after()) == [1, 2, 3]
    return made


def test_what_did_not_move_is_not_looked_at_but_for_the_one_that_was_touched_last(played: Round) -> None:
    assert played.after() == []
    assert played.after(60) == [3]


def test_another_head_and_another_base_are_looked_at(played: Round) -> None:
    played.desk.pulls = [pull(3), pull(2, "c" * 40), pull(1)]
    assert sorted(played.after(60)) == [2, 3]
    played.desk.commit = "d" * 40
    assert sorted(played.after(60)) == [1, 2, 3]


def test_what_something_was_said_in_comes_forward_and_is_looked_at(played: Round) -> None:
    played.desk.pulls = [pull(1), pull(3), pull(2)]
    assert played.after(60) == [1]
    played.desk.pulls = [pull(4), pull(2), pull(1), pull(3)]
    assert sorted(played.after(60)) == [2, 4]


def test_a_hint_is_looked_at_at_once_and_before_what_is_only_listed(played: Round) -> None:
    played.desk.pulls = [pull(3, "c" * 40), pull(2), pull(1)]
    played.previewer.ask("platform", 1)
    assert played.after() == [1]
    played.previewer.ask("platform", 2)
    assert played.after(60)[0] == 2


def test_a_hundred_hints_of_one_are_one_look(played: Round) -> None:
    for _ in range(100):
        played.previewer.ask("platform", 2)
    assert played.after() == [2]


@pytest.mark.parametrize(("repository", "number"), [("other", 1), ("platform", 0), ("platform", -1)])
def test_hints_of_what_is_not_previewed_are_passed_over(played: Round, repository: str, number: int) -> None:
    played.previewer.ask(repository, number)
    assert played.after() == []


def test_what_goes_to_another_branch_is_not_looked_at(played: Round) -> None:
    played.desk.pulls = [pull(3), pull(9, base="develop"), pull(2), pull(1)]
    assert played.after(60) == [3]


def test_what_lies_on_the_disk_of_one_that_is_closed_is_looked_at_once_more(played: Round) -> None:
    played.previews.on_disk = [2, 8]
    assert sorted(played.after(60)) == [3, 8]


def test_what_moved_meanwhile_is_looked_at_again_soon(played: Round) -> None:
    played.previews.answers[2] = [Looked(outcome=Outcome.MOVED)]
    played.previewer.ask("platform", 2)
    assert played.after() == [2]
    assert played.after(1) == []
    assert played.after(2) == [2]


def test_a_forge_that_does_not_answer_is_left_alone_and_loses_nothing(played: Round) -> None:
    played.previews.answers[2] = [ForgeUnavailableError("asks to slow down", retry_after=600)]
    played.previewer.ask("platform", 1)
    played.previewer.ask("platform", 2)
    assert played.after() == [2]
    assert played.after(300) == []
    assert played.desk.listed == 1
    assert sorted(played.after(301)) == [1, 2, 3]


def test_trouble_with_one_repository_does_not_keep_another_waiting() -> None:
    made = Round("platform", "network")
    made.desks["platform"].failures = [ForgeUnavailableError("500")]
    made.desks["network"].pulls = [pull(5)]
    assert made.after() == [5]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_no_to_one_pull_request_does_not_keep_the_others_waiting(played: Round, status: int) -> None:
    played.previews.answers[2] = [ForgeRefusedError("locked", status=status) for _ in range(3)]
    played.previewer.ask("platform", 1)
    played.previewer.ask("platform", 2)
    assert sorted(played.after()) == [1, 2]
    assert sorted(played.after(60)) == [2, 3]


def test_a_token_that_is_no_good_is_not_tried_again_and_again(played: Round) -> None:
    played.previews.answers[2] = [ForgeRefusedError("bad credentials", status=401)]
    played.previewer.ask("platform", 1)
    played.previewer.ask("platform", 2)
    assert played.after() == [2]
    assert played.after(LONG_REST_SECONDS - 1) == []
    assert 1 in played.after(2)


def test_a_list_that_is_refused_is_asked_for_later(played: Round) -> None:
    played.desk.failures = [ForgeRefusedError("not found", status=404)]
    assert played.after(60) == []
    assert played.after(LONG_REST_SECONDS + 1) == [3]


def test_trouble_is_said_once_and_its_end_too(played: Round, capsys: pytest.CaptureFixture[str]) -> None:
    played.desk.failures = [ForgeUnavailableError("away")] * 3
    for _ in range(5):
        played.after(61)
    said = capsys.readouterr().out
    assert said.count("cannot be previewed") == 1
    assert said.count("previewed again") == 1


@pytest.mark.parametrize("problem", [StoreError("away"), ValueError("a fault of ours")])
def test_no_trouble_ends_the_previews(played: Round, problem: Exception) -> None:
    played.previews.answers[2] = [problem]
    played.previewer.ask("platform", 2)
    assert played.after() == [2]
    played.previewer.ask("platform", 1)
    assert 1 in played.after(61)


def test_what_may_pass_by_itself_is_tried_again_a_few_times(played: Round) -> None:
    played.previews.answers[2] = [Looked(outcome=Outcome.PLANNED, passing=True)] * 9
    played.previewer.ask("platform", 2)
    tries = sum(played.after(AGAIN_SECONDS).count(2) for _ in range(8))
    assert tries == MOST_TRIES
    assert [last for number, last in played.previews.last if number == 2][-3:] == [False, False, True]
    played.desk.pulls = [pull(3), pull(2, "e" * 40), pull(1)]
    assert sum(played.after(AGAIN_SECONDS).count(2) for _ in range(8)) == MOST_TRIES


def test_what_is_interrupted_by_the_end_is_left_to_the_next_daemon(played: Round) -> None:
    played.previews.answers[2] = [EngineInterruptedError("the daemon ends")]
    played.previewer.ask("platform", 2)
    assert played.after() == [2]
    assert played.after() == []


def test_only_the_daemon_that_leads_looks() -> None:
    made = Round()
    made.leads = False
    made.desk.pulls = [pull(1)]
    stop = threading.Event()
    thread = threading.Thread(target=made.previewer.run, args=(stop,))
    thread.start()
    made.previewer.ask("platform", 1)
    stop.set()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert made.desk.listed == 0
    assert made.previews.looked == []


def test_it_ends_between_two_looks(played: Round) -> None:
    played.desk.pulls = [replace(each, head="f" * 40) for each in played.desk.pulls]
    played.previews.then = STOP.set
    try:
        assert len(played.after(60)) == 1
    finally:
        STOP.clear()
