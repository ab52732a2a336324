"""What both promise of pull requests: what is asked of a forge, and what each of its answers means."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from driftwatch.config.gitops import ForgeSettings
from driftwatch.errors import ForgeError, ForgeRefusedError, ForgeUnavailableError, Remedy, UsageError
from driftwatch.forge.github_pulls import GithubPulls
from driftwatch.forge.gitlab_pulls import GitlabPulls
from driftwatch.forge.pulls import forge_of
from driftwatch.log import register_secret
from driftwatch.model import CommitState, CommitStatus, PullRequest, Remark
from tests.forge.played import LOGIN, TOKEN, PlayedForge, PlayedIssue, PlayedPull, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Client = Callable[..., GithubPulls | GitlabPulls]

HEAD, NEXT = "a" * 40, "c" * 40
MARK = "<!-- driftwatch:preview:0123 -->"
PENDING = CommitStatus(context="driftwatch/net", state=CommitState.PENDING, description="Planning")

OPERATIONS: list[tuple[str, Callable[[Any], object]]] = [
    ("pull_request", lambda asks: asks.pull_request(7)),
    ("open_pull_requests", lambda asks: asks.open_pull_requests()),
    ("remarks", lambda asks: asks.remarks(7)),
    ("say", lambda asks: asks.say(7, MARK, "Plan")),
    ("set_status", lambda asks: asks.set_status(HEAD, PENDING)),
    ("offer", lambda asks: asks.offer(branch="driftwatch/adopt", base="main", title="T", body="B")),
    ("report", lambda asks: asks.report(mark=MARK, title="T", body="B")),
]
every_operation = pytest.mark.parametrize(
    "operation", [operation for _, operation in OPERATIONS], ids=[name for name, _ in OPERATIONS]
)
WRITES = ("say", "set_status", "offer", "report")
every_write = pytest.mark.parametrize(
    "operation",
    [operation for name, operation in OPERATIONS if name in WRITES],
    ids=list(WRITES),
)


@pytest.fixture
def asks(played: PlayedForge, client: Client) -> GithubPulls | GitlabPulls:
    played.pulls[7] = PlayedPull("Wider network", "ada", HEAD, "main")
    return client(played)


Asks = GithubPulls | GitlabPulls

# ---- pull requests -------------------------------------------------------------------------------------


def test_a_pull_request_is_told_as_it_is_now(played: PlayedForge, asks: Asks) -> None:
    path = "pull" if played.kind == "github" else "-/merge_requests"

    assert asks.pull_request(7) == PullRequest(
        number=7,
        title="Wider network",
        author="ada",
        head=HEAD,
        base="main",
        from_fork=False,
        is_open=True,
        url=f"{played.url}/acme/infra/{path}/7",
    )


def test_a_push_is_seen(played: PlayedForge, asks: Asks) -> None:
    played.push(7, NEXT)

    found = asks.pull_request(7)

    assert found is not None
    assert found.head == NEXT


@pytest.mark.parametrize("other", [{"fork": True}, {"gone": True}, {"fork": True, "gone": True}])
def test_what_comes_from_another_repository_or_from_one_that_is_gone_is_from_a_fork(
    played: PlayedForge, asks: Asks, other: dict[str, bool]
) -> None:
    played.pulls[7] = PlayedPull("From afar", "mallory", HEAD, "main", **other)

    found = asks.pull_request(7)

    assert found is not None
    assert found.from_fork
    assert asks.open_pull_requests()[0].from_fork


@pytest.mark.parametrize("other", [{"open": False}, {"open": False, "merged": True}])
def test_what_is_closed_or_merged_is_not_open(
    played: PlayedForge, asks: Asks, other: dict[str, bool]
) -> None:
    played.pulls[7] = PlayedPull("Done", "ada", HEAD, "main", **other)

    found = asks.pull_request(7)

    assert found is not None
    assert not found.is_open
    assert asks.open_pull_requests() == []


def test_of_a_number_that_is_none_there_is_none(asks: Asks) -> None:
    assert asks.pull_request(8) is None


def test_a_repository_that_may_not_be_seen_is_not_taken_for_a_number_that_is_none(
    played: PlayedForge, asks: Asks
) -> None:
    played.visible = False

    with pytest.raises(ForgeRefusedError) as caught:
        asks.pull_request(7)

    assert caught.value.status == 404
    assert "`repositories.<name>.forge.project`" in str(caught.value.advice)


def test_open_pull_requests_come_with_the_most_recently_updated_first(
    played: PlayedForge, asks: Asks
) -> None:
    played.pulls[8] = PlayedPull("Later", "bob", NEXT, "main")
    played.pulls[9] = PlayedPull("Closed", "bob", NEXT, "main", open=False)
    assert [each.number for each in asks.open_pull_requests()] == [8, 7]

    played.push(7, NEXT)

    assert [each.number for each in asks.open_pull_requests()] == [7, 8]


def test_no_more_than_three_hundred_open_pull_requests_are_listed(played: PlayedForge, asks: Asks) -> None:
    for number in range(1, 351):
        played.pulls[number] = PlayedPull("One of many", "ada", HEAD, "main", updated=number)

    found = [each.number for each in asks.open_pull_requests()]

    assert found == list(range(350, 50, -1))
    assert len(played.calls) == 3


def test_a_title_is_one_line_without_what_nobody_sees(played: PlayedForge, asks: Asks) -> None:
    played.pulls[7].title = "Fix\n\x1b[31mthis\u202e and\tthat\x00" + "!" * 500

    found = asks.pull_request(7)

    assert found is not None
    assert found.title.startswith("Fix [31mthis and that!!!")
    assert len(found.title) == 255


# ---- comments ------------------------------------------------------------------------------------------


def test_comments_are_told_with_who_wrote_them_and_whether_driftwatch_did(
    played: PlayedForge, asks: Asks
) -> None:
    first = played.add_comment(7, "/driftwatch plan", author="ada")
    second = played.add_comment(7, f"{MARK}\nPlan", author=LOGIN)
    third = played.add_comment(7, None, author="bob")

    assert asks.remarks(7) == [
        Remark(id=first.id, author="ada", body="/driftwatch plan", own=False),
        Remark(id=second.id, author=LOGIN, body=f"{MARK}\nPlan", own=True),
        Remark(id=third.id, author="bob", body="", own=False),
    ]


def test_a_comment_that_was_edited_is_told_as_that(played: PlayedForge, asks: Asks) -> None:
    """Whoever may edit comments could have somebody say what they never said."""
    comment = played.add_comment(7, "/driftwatch plan", author="ada")
    comment.edited = True

    assert [each.edited for each in asks.remarks(7)] == [True]


@pytest.mark.parametrize("count", [99, 100, 101, 200, 250, 399, 850])
def test_of_many_comments_the_latest_are_told_with_none_missing_between_them(
    played: PlayedForge, asks: Asks, count: int
) -> None:
    for number in range(count):
        played.add_comment(7, f"Comment {number}")

    told = [remark.body for remark in asks.remarks(7)]

    assert told == [f"Comment {number}" for number in range(max(0, count - 200), count)]
    assert len(played.calls) <= count // 100 + 1 + 1


@pytest.mark.parametrize("count", [199, 250, 850])
@pytest.mark.parametrize("before", [0, 1, 420])
def test_driftwatchs_own_comment_is_told_however_many_came_after_it(
    played: PlayedForge, asks: Asks, before: int, count: int
) -> None:
    """What it remembers is read from it at each look; without it, all would be done anew."""
    for number in range(before):
        played.add_comment(7, f"Earlier {number}")
    played.add_comment(7, f"{MARK}\nFaked", author="mallory")
    asks.say(7, MARK, "Plan")
    played.add_comment(7, "Something else of the same account", author=LOGIN)
    for number in range(count):
        played.add_comment(7, f"Comment {number}")

    told = asks.remarks(7)

    assert [each.body for each in told if each.own and each.body.startswith(MARK)] == [f"{MARK}\nPlan"]
    later = [f"Comment {number}" for number in range(max(0, count - 200), count)]
    assert [each.body for each in told][-len(later) :] == later
    assert len(told) <= 201


def test_whose_token_it_is_is_asked_once(played: PlayedForge, asks: Asks) -> None:
    played.add_comment(7, "Hello")

    asks.remarks(7)
    asks.remarks(7)
    asks.say(7, MARK, "Plan")

    assert [call.path.rpartition("/")[2] for call in played.calls].count("user") == 1


def test_driftwatch_has_one_comment_which_it_keeps_up_to_date(played: PlayedForge, asks: Asks) -> None:
    played.add_comment(7, "First!")
    asks.say(7, MARK, f"{MARK}\nOne to add")
    played.add_comment(7, "Thanks")

    asks.say(7, MARK, f"{MARK}\nNothing to do")

    assert played.bodies(7) == ["First!", f"{MARK}\nNothing to do", "Thanks"]


def test_a_comment_without_its_mark_gets_it(played: PlayedForge, asks: Asks) -> None:
    asks.say(7, MARK, "Plan")
    asks.say(7, MARK, "Other plan")

    assert played.bodies(7) == [f"{MARK}\nOther plan"]


def test_what_stands_there_already_is_not_written_again(played: PlayedForge, asks: Asks) -> None:
    asks.say(7, MARK, "Plan")
    before = len(played.calls)

    asks.say(7, MARK, "Plan")

    assert {call.verb for call in played.calls[before:]} == {"GET"}


def test_a_mark_that_somebody_else_wrote_is_left_alone(played: PlayedForge, asks: Asks) -> None:
    """Whoever could have driftwatch edit a comment of theirs could put words into its mouth, or lose them."""
    played.add_comment(7, f"{MARK}\nAll is well, merge it", author="mallory")

    asks.say(7, MARK, "Destroys everything")

    assert played.bodies(7) == [f"{MARK}\nAll is well, merge it", f"{MARK}\nDestroys everything"]
    assert [remark.own for remark in asks.remarks(7)] == [False, True]


def test_other_comments_of_driftwatchs_are_left_alone(played: PlayedForge, asks: Asks) -> None:
    asks.say(7, "<!-- driftwatch:other -->", "Other")
    played.add_comment(7, f"Look at {MARK}", author=LOGIN)

    asks.say(7, MARK, "Plan")

    assert len(played.bodies(7)) == 3


@pytest.mark.parametrize("before", [0, 420, 150])
def test_driftwatchs_comment_is_found_wherever_it_stands(
    played: PlayedForge, asks: Asks, before: int
) -> None:
    for number in range(before):
        played.add_comment(7, f"Comment {number}")
    asks.say(7, MARK, "Plan")
    for number in range(420 - before):
        played.add_comment(7, f"Comment {number}")

    asks.say(7, MARK, "Other plan")

    assert [body for body in played.bodies(7) if body.startswith(MARK)] == [f"{MARK}\nOther plan"]


def test_a_comment_that_is_longer_than_may_be_is_cut_and_says_so(played: PlayedForge, asks: Asks) -> None:
    limit = {"github": 65_536, "gitlab": 1_000_000}[played.kind]
    line = "  + resource that is to be made\n"

    asks.say(7, MARK, "```\n" + line * (2 * limit // len(line)))
    (body,) = played.bodies(7)

    assert limit - 500 < len(body) <= limit
    assert body.startswith(MARK)
    assert f"takes no more than {limit:,} characters" in body
    assert "are missing here" in body
    # The note stands outside of the block that was cut.
    assert body.count("```") == 2


def test_no_secret_that_is_known_is_written(played: PlayedForge, asks: Asks) -> None:
    register_secret("hunter2-canary")

    asks.say(7, MARK, f"password = hunter2-canary {TOKEN}")
    asks.report(mark=MARK, title="Of hunter2-canary", body="hunter2-canary")
    asks.offer(branch="b", base="main", title="hunter2-canary", body="hunter2-canary")
    asks.set_status(HEAD, CommitStatus(context="c", state=CommitState.ERROR, description="hunter2-canary"))

    written = repr([call.body for call in played.calls])
    assert "[redacted]" in written
    assert "hunter2-canary" not in written
    assert TOKEN not in written


# ---- statuses ------------------------------------------------------------------------------------------

WORDS = {
    "github": {"pending": "pending", "success": "success", "failure": "failure", "error": "error"},
    "gitlab": {"pending": "pending", "success": "success", "failure": "failed", "error": "failed"},
}


@pytest.mark.parametrize("state", list(CommitState))
def test_a_status_is_set_in_the_forges_words(played: PlayedForge, asks: Asks, state: CommitState) -> None:
    status = CommitStatus(
        context="driftwatch/net", state=state, description="As planned", url="http://127.0.0.1:1/x"
    )

    asks.set_status(HEAD, status)

    assert played.statuses == {
        HEAD: {"driftwatch/net": (WORDS[played.kind][state], "As planned", "http://127.0.0.1:1/x")}
    }


def test_a_status_needs_no_address(played: PlayedForge, asks: Asks) -> None:
    asks.set_status(HEAD, PENDING)

    assert played.statuses[HEAD]["driftwatch/net"].url is None


def test_a_status_that_is_set_twice_is_as_it_was(played: PlayedForge, asks: Asks) -> None:
    asks.set_status(HEAD, PENDING)
    asks.set_status(HEAD, PENDING)

    assert played.statuses[HEAD]["driftwatch/net"].state == "pending"


def test_statuses_of_several_contexts_stand_beside_each_other(played: PlayedForge, asks: Asks) -> None:
    asks.set_status(HEAD, PENDING)
    asks.set_status(
        HEAD, CommitStatus(context="driftwatch/app", state=CommitState.SUCCESS, description="Good")
    )

    assert sorted(played.statuses[HEAD]) == ["driftwatch/app", "driftwatch/net"]


def test_a_description_is_one_line_that_fits(played: PlayedForge, asks: Asks) -> None:
    asks.set_status(
        HEAD, CommitStatus(context="c", state=CommitState.FAILURE, description="Line\n" + "x" * 300)
    )

    description = played.statuses[HEAD]["c"].description
    assert description.startswith("Line xxx")
    assert description.endswith("…")
    assert len(description) == {"github": 140, "gitlab": 255}[played.kind]


# ---- offers and reports --------------------------------------------------------------------------------


def test_an_offer_opens_a_pull_request(played: PlayedForge, asks: Asks) -> None:
    url = asks.offer(branch="driftwatch/adopt-1", base="main", title="Adopt\nthis", body="Because")

    pull = played.pulls[8]
    assert url.startswith(f"{played.url}/acme/infra/")
    assert url.endswith("/8")
    assert (pull.branch, pull.base, pull.title, pull.body) == (
        "driftwatch/adopt-1",
        "main",
        "Adopt this",
        "Because",
    )


def test_an_offer_that_is_open_already_is_that_one(played: PlayedForge, asks: Asks) -> None:
    first = asks.offer(branch="driftwatch/adopt-1", base="main", title="Adopt", body="Because")

    assert asks.offer(branch="driftwatch/adopt-1", base="main", title="Adopt", body="Because") == first
    assert sorted(played.pulls) == [7, 8]


def test_an_offer_that_was_closed_is_made_again(played: PlayedForge, asks: Asks) -> None:
    asks.offer(branch="driftwatch/adopt-1", base="main", title="Adopt", body="Because")
    played.pulls[8].open = False

    assert asks.offer(branch="driftwatch/adopt-1", base="main", title="Adopt", body="Because").endswith("/9")


def test_a_forks_branch_of_the_same_name_is_not_taken_for_ours(played: PlayedForge, asks: Asks) -> None:
    played.pulls[8] = PlayedPull("Mine!", "mallory", NEXT, "main", branch="driftwatch/adopt-1", fork=True)
    conflict = {"github": 422, "gitlab": 409}[played.kind]
    played.then(played.no(conflict, "A pull request already exists"))

    with pytest.raises(ForgeError, match=f"answered {conflict}"):
        asks.offer(branch="driftwatch/adopt-1", base="main", title="Adopt", body="Because")


def test_an_offer_of_a_branch_that_is_none_is_refused_in_the_forges_words(
    played: PlayedForge, asks: Asks
) -> None:
    played.branch_head = lambda _: None

    with pytest.raises(ForgeRefusedError, match=r"Validation Failed|does not exist"):
        asks.offer(branch="driftwatch/adopt-1", base="main", title="Adopt", body="Because")


def test_a_report_opens_an_issue_and_is_brought_up_to_date(played: PlayedForge, asks: Asks) -> None:
    first = asks.report(mark=MARK, title="By hand, please", body="Three things")
    second = asks.report(mark=MARK, title="Still by hand", body=f"{MARK}\nTwo things")

    assert first == second
    assert first.endswith("issues/8")
    assert {number: (issue.title, issue.body) for number, issue in played.issues.items()} == {
        8: ("Still by hand", f"{MARK}\nTwo things")
    }


def test_a_report_that_somebody_closed_is_made_again(played: PlayedForge, asks: Asks) -> None:
    asks.report(mark=MARK, title="By hand, please", body="Three things")
    played.issues[8].open = False

    assert asks.report(mark=MARK, title="By hand, please", body="Three things").endswith("issues/9")


def test_an_issue_of_somebody_else_is_no_report(played: PlayedForge, asks: Asks) -> None:
    played.issues[8] = PlayedIssue("Nothing to see", f"{MARK}\nGo on", author="mallory")

    assert asks.report(mark=MARK, title="By hand, please", body="Three things").endswith("issues/9")
    assert played.issues[8].title == "Nothing to see"


def test_a_report_is_found_behind_many_other_issues(played: PlayedForge, asks: Asks) -> None:
    first = asks.report(mark=MARK, title="By hand, please", body="Three things")
    for number in range(9, 350):
        played.issues[number] = PlayedIssue("Another", None, author="ada")

    assert asks.report(mark=MARK, title="By hand, please", body="Two things") == first


# ---- what keeps a forge from answering -----------------------------------------------------------------


@every_operation
@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "`repositories.<name>.forge.token`"),
        (403, "the token of `repositories.<name>.forge` the right"),
        (404, "`repositories.<name>.forge.project`"),
        (410, "Switch issues on"),
        (422, "`repositories.<name>.forge.project`"),
        (400, "`repositories.<name>.forge.project`"),
    ],
)
def test_a_no_is_for_a_person_and_says_what_to_do(
    played: PlayedForge, asks: Asks, operation: Callable[[Any], object], status: int, advice: str
) -> None:
    # Twice, for whoever asks something else before giving up.
    played.then(*[played.no(status, "For a reason") for _ in range(2)])

    with pytest.raises(ForgeRefusedError) as caught:
        operation(asks)

    assert caught.value.status == status
    assert caught.value.remedy is Remedy.PERSON
    assert f"answered {status}" in caught.value.message
    assert "For a reason" in caught.value.message
    assert advice in str(caught.value.advice)
    assert "notify" not in str(caught.value.advice)


@every_operation
def test_a_token_that_is_not_taken_is_for_a_person(
    played: PlayedForge, client: Client, operation: Callable[[Any], object]
) -> None:
    asks = client(played, token="canary-token-of-somebody-else")

    with pytest.raises(ForgeRefusedError) as caught:
        operation(asks)

    assert caught.value.status == 401
    assert "`repositories.<name>.forge.token`" in str(caught.value.advice)


@every_write
def test_a_token_that_may_only_read_is_for_a_person(
    played: PlayedForge, asks: Asks, operation: Callable[[Any], object]
) -> None:
    played.readable_only = True

    with pytest.raises(
        ForgeRefusedError, match=r"answered 403: (Resource not accessible|insufficient_scope)"
    ):
        operation(asks)


@every_write
def test_an_archived_repository_takes_nothing_and_the_advice_says_so(
    played: PlayedForge, asks: Asks, operation: Callable[[Any], object]
) -> None:
    played.archived = True

    with pytest.raises(ForgeRefusedError, match="answered 403") as caught:
        operation(asks)

    assert "archived" in str(caught.value.advice)
    assert asks.pull_request(7) is not None


@every_operation
@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        (429, {"Retry-After": "37"}, 37),
        (403, {"Retry-After": "37"}, 37),
        (403, {"X-RateLimit-Remaining": "0"}, 60),
    ],
)
def test_a_limit_says_how_long_to_wait_and_nobody_sleeps_meanwhile(
    played: PlayedForge,
    asks: Asks,
    operation: Callable[[Any], object],
    status: int,
    headers: dict[str, str],
    wait: int,
) -> None:
    played.then(Reply(status=status, body={"message": "Slow down"}, headers=headers))
    began = time.monotonic()

    with pytest.raises(ForgeUnavailableError, match="slow down") as caught:
        operation(asks)

    assert caught.value.retry_after == wait
    assert caught.value.status == status
    assert len(played.calls) == 1
    assert time.monotonic() - began < 5


@every_operation
@pytest.mark.parametrize("status", [500, 502, 503, 408])
def test_trouble_over_there_passes_and_is_asked_once(
    played: PlayedForge, asks: Asks, operation: Callable[[Any], object], status: int
) -> None:
    played.then(Reply(status=status, body=b"<html>sorry</html>", headers={"Content-Type": "text/html"}))

    with pytest.raises(ForgeUnavailableError, match=f"answered {status}") as caught:
        operation(asks)

    assert caught.value.remedy is Remedy.RETRY
    assert len(played.calls) == 1


@every_operation
@pytest.mark.parametrize("fault", ["reset", "half"])
def test_a_broken_answer_passes_and_is_asked_once(
    played: PlayedForge, asks: Asks, operation: Callable[[Any], object], fault: str
) -> None:
    played.then(Reply(body={}, fault=fault))

    with pytest.raises(ForgeUnavailableError, match="cannot be"):
        operation(asks)

    assert len(played.calls) == 1


@every_operation
@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_renamed_repository_is_for_a_person_wherever_it_leads(
    played: PlayedForge,
    asks: Asks,
    operation: Callable[[Any], object],
    status: int,
    elsewhere: bool,
) -> None:
    """On the same host, too: what stands there by now may be somebody else's."""
    host = played.url.replace("127.0.0.1", "localhost") if elsewhere else played.url
    played.then(Reply(status=status, body={"message": "Moved"}, headers={"Location": f"{host}/elsewhere"}))

    with pytest.raises(ForgeRefusedError, match=f"answered {status}") as caught:
        operation(asks)

    assert len(played.calls) == 1
    assert "to where it is now" in str(caught.value.advice)
    assert "`repositories.<name>.forge.project`" in str(caught.value.advice)


def test_what_is_refused_for_a_while_is_taken_again_afterwards(played: PlayedForge, asks: Asks) -> None:
    played.always("POST .*/statuses/", Reply(status=500))
    for _ in range(2):
        with pytest.raises(ForgeUnavailableError):
            asks.set_status(HEAD, PENDING)
    assert asks.pull_request(7) is not None

    played.always("POST .*/statuses/", None)
    asks.set_status(HEAD, PENDING)

    assert played.statuses[HEAD]["driftwatch/net"].state == "pending"


def test_no_answer_in_time_passes(played: PlayedForge, client: Client) -> None:
    played.then(Reply(fault="hang"))
    began = time.monotonic()

    with pytest.raises(ForgeUnavailableError, match="cannot be reached"):
        client(played, timeout=1).pull_request(7)

    assert time.monotonic() - began < 5
    assert len(played.calls) == 1


def test_nobody_there_passes(played: PlayedForge, asks: Asks) -> None:
    played.close()

    with pytest.raises(ForgeUnavailableError, match="cannot be reached"):
        asks.pull_request(7)


GARBAGE = [b"", b"<html>", b"\xff\xfe", b"null", b'"words"', b"7", b"[7]", b"[null]", b'[{"id": "x"}]', b"{"]


@pytest.mark.parametrize("body", GARBAGE)
@pytest.mark.parametrize(
    "operation",
    [operation for name, operation in OPERATIONS if name != "set_status"],
    ids=[name for name, _ in OPERATIONS if name != "set_status"],
)
def test_an_answer_that_is_none_passes(
    played: PlayedForge, asks: Asks, operation: Callable[[Any], object], body: bytes
) -> None:
    played.then(*[Reply(body=body)] * 3)

    with pytest.raises(ForgeUnavailableError, match="cannot be read"):
        operation(asks)


def test_an_answer_without_a_commit_or_an_address_is_none(played: PlayedForge, asks: Asks) -> None:
    played.pulls[7].head = "--upload-pack=evil"

    with pytest.raises(ForgeUnavailableError, match="cannot be read"):
        asks.pull_request(7)

    key = "html_url" if played.kind == "github" else "web_url"
    played.then(Reply(status=201, body={key: "javascript:alert(1)"}))
    with pytest.raises(ForgeUnavailableError, match="cannot be read"):
        asks.offer(branch="b", base="main", title="T", body="B")


def test_an_answer_of_many_layers_is_none(played: PlayedForge, asks: Asks) -> None:
    played.then(Reply(body=b"[" * 200_000))

    with pytest.raises(ForgeUnavailableError, match="cannot be read"):
        asks.open_pull_requests()


def test_what_no_file_and_no_database_takes_is_replaced(played: PlayedForge, asks: Asks) -> None:
    played.pulls[7].base = "half\ud800"
    played.add_comment(7, "half\udfff", author="ada")

    found = asks.pull_request(7)

    assert found is not None
    assert found.base == "half?"
    assert [(remark.author, remark.body) for remark in asks.remarks(7)] == [("ada", "half?")]


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 2**70), st.text(max_size=5), st.just([]), st.just({})
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.integers(0, 40), leaf=LEAVES)
def test_whatever_stands_in_an_answer_is_told_or_cannot_be_read(
    played: PlayedForge, asks: Asks, key: int, leaf: object
) -> None:
    """One value anywhere in the answer is another one."""
    answer = played.told(7)
    places = list(_places(answer))
    where, name = places[key % len(places)]
    where[name] = leaf
    played.then(Reply(body=answer), Reply(body=[answer]))

    for operation in (lambda: [asks.pull_request(7)], asks.open_pull_requests):
        try:
            found = operation()
        except ForgeUnavailableError as error:
            assert "cannot be read" in error.message  # noqa: PT017  (either is as promised)
        else:
            assert all(each is None or (len(each.head) == 40 and each.title.isprintable()) for each in found)


def _places(answer: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    for name, value in answer.items():
        yield answer, name
        if isinstance(value, dict):
            yield from _places(value)


def test_whose_token_it_is_is_asked_again_after_trouble(played: PlayedForge, asks: Asks) -> None:
    played.add_comment(7, "Hello", author=LOGIN)
    asks.pull_request(7)
    shown = asks.remarks
    played.then(Reply(body=[_comment(played)]), Reply(status=500))
    with pytest.raises(ForgeUnavailableError):
        shown(7)

    assert [remark.own for remark in shown(7)] == [True]


def _comment(played: PlayedForge) -> dict[str, Any]:
    author = {"id": 1, "login": "ada", "username": "ada", "type": "User"}
    return {"id": 1, "body": "Hello", "user" if played.kind == "github" else "author": author}


def test_threads_that_ask_at_once_get_each_its_own_answer(played: PlayedForge, asks: Asks) -> None:
    for number in range(100, 140):
        played.pulls[number] = PlayedPull(f"Number {number}", "ada", HEAD, "main")

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(asks.pull_request, range(100, 140)))

    assert [each and each.title for each in found] == [f"Number {number}" for number in range(100, 140)]


# ---- the token -----------------------------------------------------------------------------------------


@every_operation
@pytest.mark.parametrize("status", [200, 302, 401, 403, 404, 422, 429, 500])
def test_the_token_is_in_no_error_no_log_and_no_repr(
    played: PlayedForge,
    asks: Asks,
    caplog: pytest.LogCaptureFixture,
    operation: Callable[[Any], object],
    status: int,
) -> None:
    caplog.set_level(logging.DEBUG)
    said = {"message": f"No such token: {TOKEN}", "errors": [{"message": TOKEN}]}
    played.then(*[Reply(status=status, body=said, headers={"Location": f"/{TOKEN}"})] * 2)
    try:
        operation(asks)
    except ForgeError as error:
        told = "".join(traceback.format_exception(error)) + repr(error) + str(error.report())
        assert TOKEN not in told
    assert played.calls
    assert TOKEN not in caplog.text + repr(asks) + str(asks)


@pytest.mark.parametrize("bad", ["", "two words", "line\nfeed-canary", "übel-canary", "bell\x07-canary"])
def test_a_token_that_no_header_can_carry_is_refused_without_showing_it(
    played: PlayedForge, client: Client, bad: str
) -> None:
    with pytest.raises(UsageError, match=r"repositories.<name>.forge: the token") as caught:
        client(played, token=bad)
    assert not bad or bad not in "".join(traceback.format_exception(caught.value))


# ---- from the configuration ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "project", "of"),
    [("github", "acme/infra", GithubPulls), ("gitlab", "acme/platform/infra", GitlabPulls)],
)
def test_the_configuration_names_the_forge(kind: Any, project: str, of: type) -> None:
    made = forge_of(ForgeSettings(kind=kind, project=project, token=SecretStr("long-enough-token")))

    assert isinstance(made, of)
    made.close()


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_a_missing_package_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    monkeypatch.setitem(sys.modules, kind, None)

    with pytest.raises(UsageError, match=rf"pip install 'driftwatch\[{kind}\]'"):
        forge_of(ForgeSettings(kind=kind, project="acme/infra", token=SecretStr("long-enough-token")))
