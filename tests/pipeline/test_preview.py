"""Previews: one comment and statuses, nothing run that nobody allowed, and nothing said of what is over."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from driftwatch.config.repair import ApprovalSettings
from driftwatch.config.rule_files import shipped
from driftwatch.config.settings import Settings
from driftwatch.drift import Digester, read_plan
from driftwatch.drift.rules import Rules
from driftwatch.errors import (
    CredentialsExpiredError,
    EngineInterruptedError,
    ForgeUnavailableError,
    MergeConflictError,
    PlanFailedError,
    PullRequestMovedError,
    RemoteUnreachableError,
    RepositoryTooLargeError,
    UnsafeRepositoryError,
)
from driftwatch.git import Fetched, RootModule
from driftwatch.git.pulls import Merged
from driftwatch.model import (
    CheckResult,
    CommitState,
    CommitStatus,
    Engine,
    Inputs,
    Method,
    PullRequest,
    Remark,
    StackDeclaration,
    StackId,
    Trigger,
    Verdict,
)
from driftwatch.pipeline.admissions import Clerk
from driftwatch.pipeline.check import Workshop
from driftwatch.pipeline.inventory import Inventory
from driftwatch.pipeline.preview import Desk, Outcome, Previews
from driftwatch.pipeline.preview_plans import Speculator
from driftwatch.policy.rights import People
from driftwatch.policy.windows import Windows
from driftwatch.store import Store
from driftwatch.terraform import Planned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from driftwatch.terraform import PlanRequest

MORNING = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
BASE, HEAD, SECOND = "b" * 40, "a1" * 20, "c3" * 20
STOP = threading.Event()
CORPUS = Path(__file__).parents[1] / "drift" / "corpus"
LOCK = 'provider "registry.terraform.io/driftwatch/sandbox" {\n  version = "1.0.0"\n}\n'
DNS = 'resource "sandbox_dns_record" "www" {\n  name = "www"\n}\n'
FILES = {
    "dns/main.tf": DNS,
    "dns/.terraform.lock.hcl": LOCK,
    "net/main.tf": 'resource "sandbox_firewall" "admin" {\n}\n',
    "net/.terraform.lock.hcl": LOCK,
}


def plan(name: str) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads((CORPUS / f"{name}.json").read_text()))


@dataclass
class FakeCode:
    """A repository whose commits are what each test says; a merge is the pull request's files."""

    directory: Path
    commits: dict[str, dict[str, str]] = field(default_factory=dict)
    head_commit: str | None = BASE
    fetched: list[str] = field(default_factory=list)
    failure: Exception | None = None
    author: str | None = "Ada Example"

    def fetch(self) -> Fetched:
        return Fetched(commit=str(self.head_commit), previous=None, changed=True, rewritten=False)

    def head(self) -> str | None:
        return self.head_commit

    def discover(self, commit: str, globs: Sequence[str]) -> tuple[RootModule, ...]:
        paths = sorted({name.rpartition("/")[0] for name in self.commits[commit] if name.endswith(".tf")})
        return tuple(RootModule(path=path, glob=globs[0], reads=(path,)) for path in paths)

    def read(self, commit: str, path: str) -> bytes | None:
        text = self.commits[commit].get(path)
        return text.encode() if text is not None else None

    def tree(self, commit: str, paths: Sequence[str]) -> str:
        files = self.commits[commit]
        return json.dumps({name: files[name] for name in sorted(files) if name.rpartition("/")[0] in paths})

    def changed(self, base: str, commit: str) -> tuple[str, ...]:
        before, after = self.commits[base], self.commits[commit]
        return tuple(name for name in sorted({*before, *after}) if before.get(name) != after.get(name))

    def fetch_pull_request(self, number: int, *, kind: str, head: str) -> Merged:
        assert (number, kind) == (7, "github")
        self.fetched.append(head)
        if self.failure:
            raise self.failure
        commit, base = f"m{head[1:]}", str(self.head_commit)
        self.commits[commit] = self.commits[head]
        return Merged(base=base, head=head, commit=commit, changed=self.changed(base, commit))

    def authors(self, base: str, commit: str) -> frozenset[str]:
        assert (base, commit) == (self.head_commit, self.fetched[-1])
        if self.author is None:
            raise RepositoryTooLargeError("too many commits")
        return frozenset({self.author, "Somebody else"})

    def history(self, *_: object, **__: object) -> Any:
        raise AssertionError("this has the latest commits alone")

    @contextmanager
    def checkout(self, commit: str) -> Iterator[Path]:
        place = self.directory / commit
        for name, text in self.commits[commit].items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text)
        yield place

    def open_revert(self, revert: object) -> Any:
        raise AssertionError(revert)

    def submodules(self, commit: str) -> tuple[str, ...]:
        raise AssertionError(commit)

    def is_merged(self, commit: str) -> bool:
        raise AssertionError(commit)


@dataclass
class FakeForge:
    """A forge with one pull request; `script` is raised by the next requests of that name."""

    pull: PullRequest
    comments: list[Remark] = field(default_factory=list)
    statuses: dict[tuple[str, str], CommitStatus] = field(default_factory=dict)
    history: list[tuple[str, CommitState]] = field(default_factory=list)
    writes: int = 0
    script: dict[str, list[Exception]] = field(default_factory=dict)
    ids: int = 100

    def pull_request(self, number: int) -> PullRequest | None:
        self._play("pull_request")
        return self.pull if number == self.pull.number else None

    def open_pull_requests(self) -> list[PullRequest]:
        return [self.pull] if self.pull.is_open else []

    def remarks(self, number: int) -> list[Remark]:
        assert number == self.pull.number
        return list(self.comments)

    def say(self, number: int, mark: str, body: str) -> None:
        assert number == self.pull.number
        assert body.startswith(mark)
        self._play("say")
        self.writes += 1
        for place, each in enumerate(self.comments):
            if each.own and each.body.startswith(mark):
                self.comments[place] = replace(each, body=body)
                return
        self.add(body, "driftwatch[bot]", own=True)

    def set_status(self, commit: str, status: CommitStatus) -> None:
        self._play("set_status")
        self.statuses[commit, status.context] = status
        self.history.append((status.context, status.state))

    def add(self, body: str, author: str = "anna", *, own: bool = False) -> None:
        self.ids += 1
        self.comments.append(Remark(id=self.ids, author=author, body=body, own=own))

    @property
    def own(self) -> list[str]:
        return [each.body for each in self.comments if each.own]

    @property
    def body(self) -> str:
        assert len(self.own) == 1
        return self.own[0]

    def state(self, context: str = "driftwatch", commit: str | None = None) -> str:
        return self.statuses[commit or self.pull.head, context].state.value

    def _play(self, name: str) -> None:
        if self.script.get(name):
            raise self.script[name].pop(0)


@dataclass
class FakePlanner:
    """Plans what it is told for each stack, by its directory; `then` is called at each plan."""

    outcomes: dict[str, Any] = field(default_factory=dict)
    requests: list[PlanRequest] = field(default_factory=list)
    then: Callable[[], None] = lambda: None

    def plan(self, request: PlanRequest, stop: threading.Event, *_: object, **__: object) -> Planned:
        assert stop is STOP
        self.requests.append(request)
        self.then()
        outcome = self.outcomes.get(request.module.name, "update")
        if isinstance(outcome, Exception):
            raise outcome
        return Planned(
            document=plan(outcome),
            engine=Engine(name="terraform", version="1.11.4"),
            lock_file=None,
            state_lineage="lineage",
            state_serial=1,
        )

    def standing(self, request: PlanRequest) -> None:
        raise AssertionError(request)

    def pull_state(self, *_: object) -> bytes:
        raise AssertionError

    @property
    def planned(self) -> list[str]:
        return [request.module.name for request in self.requests]


@dataclass
class House:
    """All doubles around the previews of one repository."""

    settings: Settings
    code: FakeCode
    forge: FakeForge
    planner: FakePlanner
    store: Store
    inventory: Inventory
    work: Path
    terms: ApprovalSettings = field(default_factory=ApprovalSettings)
    previews: Previews = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """As after the daemon's end: nothing is known but what the forge and the store have."""
        people = People.compile(self.settings.users)
        workshop = Workshop(
            inventory=self.inventory,
            checkouts={},
            examiner=cast("Any", None),
            identities=cast("Any", None),
            ledger=self.store,
            spool=cast("Any", None),
            rules=Rules.compile(self.settings.rules, shipped()),
            work=self.work / "elsewhere",
            inherited={},
            channels=(),
            clock=lambda: MORNING,
        )
        clerk = Clerk(
            book=self.store,
            workshop=workshop,
            windows=Windows.compile(self.settings.windows),
            people=people,
            settings=self.settings.repair,
            ignoring=frozenset(),
            course=lambda _proposal, _subject: None,
            allowed_age=lambda _stack: timedelta(hours=1),
            clock=lambda: MORNING,
        )
        repository = self.settings.repositories["platform"]
        self.previews = Previews(
            desks={
                "platform": Desk(
                    name="platform",
                    kind="github",
                    host="github.com",
                    branch="main",
                    settings=repository.previews,
                    protected=repository.protected_paths,
                    forge=self.forge,
                    code=self.code,
                )
            },
            inventory=self.inventory,
            speculator=Speculator(
                workshop=workshop,
                planner=self.planner,
                findings=self.store,
                clerk=clerk,
                digester=Digester(b"k" * 32),
                clock=lambda: MORNING,
            ),
            book=self.store,
            people=people,
            terms=self.terms,
            work=self.work,
        )

    def look(self, *, again: bool = False) -> Outcome:
        return self.previews.look_at("platform", 7, STOP, again=again).outcome

    def push(self, head: str, **files: str | None) -> None:
        """Another commit on the pull request's branch; `dns__main` stands for `dns/main.tf`."""
        names = {f"{name.replace('__', '/')}.tf": text for name, text in files.items()}
        changed = {**self.code.commits[BASE], **names}
        self.code.commits[head] = {name: text for name, text in changed.items() if text is not None}
        self.forge.pull = replace(self.forge.pull, head=head)

    def digest(self) -> str:
        """What the comment asks to be approved."""
        return self.forge.body.partition("/driftwatch approve ")[2].partition("`")[0]

    @property
    def audit(self) -> list[tuple[str, str, str]]:
        entries = [(each.actor, each.action, each.outcome) for each in self.store.audit().items]
        return entries[::-1]


USERS = {
    "anna": {"github": ["Anna"], "rights": ["check"]},
    "bob": {"github": ["bob"], "rights": ["approve"]},
    "ada": {"github": ["ada-x"], "git": ["Ada Example"], "rights": ["approve", "check"]},
    "carol": {"github": ["carol"], "rights": ["check"], "stacks": ["platform/dns"]},
}


@cache
def _empty_store() -> Path:
    """Made once: to make a database takes longer than most of these tests."""
    directory = Path(tempfile.mkdtemp(prefix="driftwatch-store-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    Store.open(state_dir=directory, database=None).close()
    return directory


def furnish(tmp_path: Path, **other: Any) -> House:
    settings = Settings.model_validate(
        {
            "repositories": {
                "platform": {
                    "url": "https://git.example.com/x.git",
                    "stacks": [
                        {"path": "**", "environment": {"KEY": "look"}, "apply_environment": {"KEY": "do"}}
                    ],
                    **other.pop("repository", {}),
                }
            },
            "users": USERS,
            **other,
        }
    )
    code = FakeCode(tmp_path / "code", {BASE: dict(FILES)})
    pull = PullRequest(
        number=7,
        title="Wider",
        author="ada-x",
        head=HEAD,
        base="main",
        from_fork=False,
        is_open=True,
        url="https://git.example.com/7",
    )
    shutil.copytree(_empty_store(), tmp_path, dirs_exist_ok=True)
    store = Store.open(state_dir=tmp_path, database=None)
    inventory = Inventory(settings, {"platform": code}, store, clock=lambda: MORNING)
    assert inventory.refresh("platform").error is None
    house = House(settings, code, FakeForge(pull), FakePlanner(), store, inventory, tmp_path / "previews")
    house.push(HEAD, dns__main=DNS + "# wider\n")
    return house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = furnish(tmp_path)
    yield made
    made.store.close()


def test_a_pull_request_gets_one_comment_and_a_status_for_each_stack_that_it_touches(house: House) -> None:
    assert house.look() is Outcome.PLANNED
    assert house.planner.planned == ["dns"]
    assert house.forge.state("driftwatch/platform/dns") == "success"
    assert house.forge.state() == "success"
    assert ("driftwatch", CommitState.PENDING) in house.forge.history
    assert "1 to change" in house.forge.body
    assert "`platform/dns`" in house.forge.body
    assert "platform/net" not in house.forge.body


def test_it_is_planned_with_what_a_stack_is_looked_at_with_and_in_a_room_of_its_own(house: House) -> None:
    house.look()
    (request,) = house.planner.requests
    assert request.environment == {"KEY": "look"}
    assert request.workdir == house.work / "platform" / "7" / "platform" / "dns"
    assert not request.personal


def test_looking_again_says_and_plans_nothing_also_after_a_restart(house: House) -> None:
    house.look()
    written = house.forge.writes
    assert house.look() is Outcome.SETTLED
    house.restart()
    assert house.look() is Outcome.SETTLED
    assert house.forge.writes == written
    assert house.planner.planned == ["dns"]


def test_the_comment_is_updated_in_place_on_the_next_push(house: House) -> None:
    house.look()
    house.planner.outcomes["dns"] = "delete"
    house.push(SECOND, dns__main=DNS + "# other\n")
    assert house.look() is Outcome.PLANNED
    assert "to add" in house.forge.body
    assert SECOND[:10] in house.forge.body
    assert house.forge.state("driftwatch/platform/dns", SECOND) == "success"


def test_a_branch_that_moves_elsewhere_has_nothing_planned_again(house: House) -> None:
    house.look()
    house.code.commits["d" * 40] = {**FILES, "notes.md": "words"}
    for head in (HEAD, f"m{HEAD[1:]}"):
        house.code.commits[head] |= {"notes.md": "words"}
    house.code.head_commit = "d" * 40
    house.inventory.refresh("platform")
    house.restart()
    assert house.look() is Outcome.SETTLED
    assert house.look() is Outcome.SETTLED
    assert house.planner.planned == ["dns"]
    assert len(house.code.fetched) == 2


def test_what_only_the_branch_has_changed_is_not_planned(house: House) -> None:
    """Its newest commit may be here before stock is taken of it."""
    newer = {**FILES, "net/main.tf": 'resource "sandbox_firewall" "newer" {\n}\n'}
    house.code.commits["d" * 40] = newer
    house.code.commits[HEAD] |= {"net/main.tf": newer["net/main.tf"]}
    house.code.head_commit = "d" * 40
    assert house.look() is Outcome.PLANNED
    assert house.planner.planned == ["dns"]


def test_nothing_of_a_fork_is_fetched_until_somebody_with_the_right_names_its_head(house: House) -> None:
    house.forge.pull = replace(house.forge.pull, from_fork=True, author="stranger")
    assert house.look() is Outcome.WAITING
    assert "comes from a fork" in house.forge.body
    house.forge.add(f"/driftwatch plan {HEAD}", "stranger")
    house.forge.add("/driftwatch plan", "anna")
    house.forge.add(f"> /driftwatch plan {HEAD}", "anna")
    assert house.look() is Outcome.WAITING
    assert (house.code.fetched, house.planner.planned, house.forge.state()) == ([], [], "pending")
    house.restart()
    house.forge.add(f"/driftwatch plan {HEAD}", "Anna")
    assert house.look() is Outcome.PLANNED
    assert house.planner.planned == ["dns"]
    assert house.audit == [
        ("github:stranger", "preview_plan", "unknown_person"),
        ("anna", "preview_plan", "planned"),
        ("anna", "preview_plan", "planned"),
    ]
    last = house.store.audit().items[0]
    assert (last.via, last.subject) == ("github", "platform#7")
    assert last.reason == f"{HEAD}, at the commit {HEAD[:10]}"


def test_the_next_push_of_a_fork_waits_anew(house: House) -> None:
    house.forge.pull = replace(house.forge.pull, from_fork=True)
    house.forge.add(f"/driftwatch plan {HEAD}")
    assert house.look() is Outcome.PLANNED
    house.push(SECOND, dns__main=DNS + "# evil\n")
    assert house.look() is Outcome.WAITING
    assert house.code.fetched == [HEAD]


def test_a_restart_in_the_middle_of_planning_a_fork_goes_on_without_being_asked_again(house: House) -> None:
    house.forge.pull = replace(house.forge.pull, from_fork=True)
    house.forge.add(f"/driftwatch plan {HEAD}")
    house.planner.outcomes["dns"] = EngineInterruptedError("the daemon ends")
    with pytest.raises(EngineInterruptedError):
        house.look()
    assert house.forge.state() == "pending"
    house.restart()
    house.planner.outcomes.clear()
    assert house.look() is Outcome.PLANNED


def test_only_what_somebody_may_have_checked_is_planned_for_them(house: House) -> None:
    house.forge.pull = replace(house.forge.pull, from_fork=True)
    house.push(HEAD, dns__main=DNS + "# a\n", net__main='resource "sandbox_firewall" "b" {\n}\n')
    house.forge.add(f"/driftwatch plan {HEAD}", "carol")
    assert house.look() is Outcome.PLANNED
    assert house.planner.planned == ["dns"]
    assert house.forge.state("driftwatch/platform/net") == "error"
    assert house.forge.state() == "error"
    assert "nobody who let it be planned has the right" in house.forge.body


def test_others_get_no_work_done_and_one_line_says_so(house: House) -> None:
    house.look()
    written = house.forge.writes
    for _ in range(3):
        house.forge.add("/driftwatch plan", "stranger")
        house.restart()
        assert house.look() is Outcome.SETTLED
    assert house.planner.planned == ["dns"]
    assert house.code.fetched == [HEAD]
    assert house.forge.writes == written + 1
    assert house.forge.body.count("nobody who did has the right") == 1
    assert [outcome for *_, outcome in house.audit] == ["unknown_person"] * 3
    assert "1 to change" in house.forge.body


def test_somebody_with_the_right_has_it_planned_anew(house: House) -> None:
    house.look()
    house.forge.add("/driftwatch plan")
    assert house.look() is Outcome.PLANNED
    assert house.planner.planned == ["dns", "dns"]
    house.restart()
    assert house.look() is Outcome.SETTLED


def test_a_comment_that_was_edited_into_a_command_is_none(house: House) -> None:
    house.forge.add("Looks good.")
    house.look()
    house.forge.comments[0] = replace(house.forge.comments[0], body="/driftwatch plan")
    assert house.look() is Outcome.SETTLED
    assert house.planner.planned == ["dns"]


def alter(house: House, before: str, after: str) -> None:
    """Somebody who may edit comments has changed driftwatch's."""
    (place,) = (place for place, each in enumerate(house.forge.comments) if each.own)
    body = house.forge.comments[place].body
    assert before in body
    house.forge.comments[place] = replace(house.forge.comments[place], body=body.replace(before, after))


@pytest.mark.parametrize("restarted", [False, True])
def test_words_that_somebody_has_changed_are_written_anew_and_an_approval_of_them_is_none(
    house: House, *, restarted: bool
) -> None:
    house.planner.outcomes["dns"] = "destroyed"
    house.look()
    before = house.forge.body
    alter(house, "**destroys**", "changes")
    house.forge.add(f"/driftwatch approve {house.digest()}", "bob")
    if restarted:
        house.restart()
    house.look()
    assert (house.forge.state(), "**destroys**" in house.forge.body) == ("failure", True)
    assert "bob approved what somebody had changed here" in house.forge.body
    assert house.planner.planned == ["dns"] * (1 + restarted)
    assert house.audit == [("bob", "preview_approve", "altered_comment")]
    assert house.look() is Outcome.SETTLED
    house.forge.add(f"/driftwatch approve {house.digest()}", "bob")
    house.look()
    assert house.forge.state() == "success"
    assert house.digest() in before


def test_the_same_words_are_written_anew_each_time_without_a_plan(house: House) -> None:
    house.look()
    before = house.forge.body
    for _ in range(3):
        alter(house, "1 to change", "nothing to do")
        house.look()
        assert house.forge.body == before
    assert house.planner.planned == ["dns"]


def test_what_it_waits_for_is_written_anew_too(house: House) -> None:
    house.forge.pull = replace(house.forge.pull, from_fork=True)
    house.look()
    before = house.forge.body
    alter(house, HEAD, SECOND)
    house.restart()
    assert house.look() is Outcome.WAITING
    assert house.forge.body == before
    alter(house, "comes from a fork", "is fine")
    house.restart()
    house.look()
    assert "comes from a fork" in house.forge.body
    assert house.code.fetched == []


def test_a_forge_that_ends_lines_otherwise_has_nothing_written_again(house: House) -> None:
    house.look()
    written = house.forge.writes
    alter(house, "\n", "  \r\n")
    house.restart()
    assert house.look() is Outcome.SETTLED
    assert (house.forge.writes, house.planner.planned) == (written, ["dns"])


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("dns__more", 'data "external" "x" {\n  program = ["sh"]\n}\n', "`dns/more.tf:1`"),
        ("dns__more", 'module "x" {\n  source = "git::https://git.example.com/x"\n}\n', "`dns/more.tf:2`"),
        ("dns__more", 'resource "evil_thing" "x" {\n}\n', "`dns/more.tf:1`"),
    ],
)
def test_what_is_new_to_be_run_waits_and_the_line_is_named(
    house: House, name: str, text: str, words: str
) -> None:
    house.push(HEAD, **{name: text})
    assert house.look() is Outcome.WAITING
    assert words in house.forge.body
    assert (house.planner.planned, house.forge.state()) == ([], "pending")
    house.forge.add(f"/driftwatch plan {HEAD}")
    assert house.look() is Outcome.PLANNED
    assert house.planner.planned == ["dns"]


def test_a_protected_path_waits_and_the_own_file_has_no_effect(house: House) -> None:
    house.code.commits[HEAD] |= {".driftwatch.yaml": "stacks: []\n"}
    assert house.look() is Outcome.WAITING
    assert "protected path" in house.forge.body
    assert "has no effect before it is merged" in house.forge.body
    assert house.planner.planned == []


def test_more_stacks_than_most_are_told_and_not_planned(tmp_path: Path) -> None:
    house = furnish(tmp_path, repository={"previews": {"most_stacks": 25}})
    new = {f"s{number:03}__main": 'resource "sandbox_bucket" "b" {\n}\n' for number in range(300)}
    house.push(HEAD, **new)
    assert house.look() is Outcome.WAITING
    assert "touches 300 stacks" in house.forge.body
    assert (house.planner.planned, house.forge.state()) == ([], "pending")
    house.forge.add(f"/driftwatch plan {HEAD}")
    assert house.look() is Outcome.PLANNED
    assert len(house.planner.planned) == 300
    assert len(house.forge.body) < 65_000
    assert "s299" in house.forge.body
    house.store.close()


def test_a_destroy_is_said_and_fails_until_somebody_with_the_right_approves_it(house: House) -> None:
    house.planner.outcomes["dns"] = "replaced_by_commit"
    assert house.look() is Outcome.PLANNED
    assert house.forge.state("driftwatch/platform/dns") == house.forge.state() == "failure"
    assert "only a backup brings them back" in house.forge.body
    digest = house.digest()
    assert len(digest) == 32
    house.forge.add(f"/driftwatch approve {digest}", "anna")
    house.forge.add(f"/driftwatch approve {digest}", "stranger")
    house.forge.add("/driftwatch approve 0123456789abcdef", "bob")
    assert house.look() is Outcome.SETTLED
    assert house.forge.state() == "failure"
    house.forge.add(f"/driftwatch approve {digest}", "bob")
    house.look()
    assert house.forge.state("driftwatch/platform/dns") == house.forge.state() == "success"
    assert "Approved by `bob`" in house.forge.body
    assert house.planner.planned == ["dns"]
    assert [outcome for *_, outcome in house.audit] == [
        "no_right",
        "unknown_person",
        "another_digest",
        "approved",
    ]


def test_an_approval_after_a_restart_counts_where_the_plan_is_the_same(house: House) -> None:
    house.planner.outcomes["dns"] = "destroyed"
    house.look()
    house.restart()
    house.forge.add(f"/driftwatch approve {house.digest()}", "bob")
    house.look()
    assert house.forge.state() == "success"
    house.restart()
    assert house.look() is Outcome.SETTLED


def test_an_approval_is_void_once_the_plan_destroys_something_else(house: House) -> None:
    house.planner.outcomes["dns"] = "destroyed"
    house.look()
    house.restart()
    house.forge.add(f"/driftwatch approve {house.digest()}", "bob")
    house.planner.outcomes["dns"] = "replaced_by_commit"
    house.look()
    assert house.forge.state() == "failure"


def test_another_push_makes_an_approval_void(house: House) -> None:
    house.planner.outcomes["dns"] = "destroyed"
    house.look()
    first = house.digest()
    house.forge.add(f"/driftwatch approve {first}", "bob")
    house.look()
    house.push(SECOND, dns__main=DNS + "# more\n")
    house.look()
    assert house.forge.state() == "failure"
    assert house.digest() != first
    house.forge.add(f"/driftwatch approve {first}", "bob")
    house.look()
    assert house.forge.state() == "failure"


def test_the_author_does_not_approve_what_they_destroy_unless_the_settings_let_them(tmp_path: Path) -> None:
    house = furnish(tmp_path)
    house.planner.outcomes["dns"] = "destroyed"
    house.look()
    house.forge.add(f"/driftwatch approve {house.digest()}", "ada-x")
    house.look()
    assert house.forge.state() == "failure"
    assert "ada made this change" in house.forge.body
    house.terms = ApprovalSettings(not_by_author=False)
    house.restart()
    house.forge.add(f"/driftwatch approve {house.digest()}", "ada-x")
    house.look()
    assert house.forge.state() == "success"
    house.store.close()


def test_who_wrote_a_commit_of_it_is_an_author_too_whoever_has_opened_it(house: House) -> None:
    house.forge.pull = replace(house.forge.pull, author="bob")
    house.planner.outcomes["dns"] = "destroyed"
    house.look()
    house.forge.add(f"/driftwatch approve {house.digest()}", "ada-x")
    house.forge.add(f"/driftwatch approve {house.digest()}", "bob")
    house.look()
    assert house.forge.state() == "failure"
    assert [outcome for *_, outcome in house.audit] == ["own_change", "own_change"]


def test_where_it_cannot_be_told_who_wrote_it_nobodys_approval_counts(house: House) -> None:
    """Not even one that was given while it could be told."""
    house.planner.outcomes["dns"] = "destroyed"
    house.look()
    house.forge.add(f"/driftwatch approve {house.digest()}", "bob")
    house.look()
    assert house.forge.state() == "success"
    house.code.author = None
    house.forge.add("/driftwatch plan")
    house.look()
    assert house.forge.state() == "failure"
    house.forge.add(f"/driftwatch approve {house.digest()}", "bob")
    house.look()
    assert house.forge.state() == "failure"
    assert "it cannot be told who all did" in house.forge.body
    assert house.audit[-1] == ("bob", "preview_approve", "authors_unknown")


def test_as_many_people_approve_as_the_settings_want(tmp_path: Path) -> None:
    house = furnish(tmp_path)
    house.terms = ApprovalSettings(needed=2, not_by_author=False)
    house.restart()
    house.planner.outcomes["dns"] = "destroyed"
    house.look()
    for login, state in (("bob", "failure"), ("bob", "failure"), ("ada-x", "success")):
        house.forge.add(f"/driftwatch approve {house.digest()}", login)
        house.look()
        assert house.forge.state() == state
    house.store.close()


def test_without_the_setting_a_destroy_is_only_said(tmp_path: Path) -> None:
    house = furnish(tmp_path, repository={"previews": {"required_for_destroy": False}})
    house.planner.outcomes["dns"] = "destroyed"
    house.look()
    assert house.forge.state() == "success"
    assert "**destroys**" in house.forge.body
    house.store.close()


def test_what_is_closed_while_it_is_planned_is_thrown_away(house: House) -> None:
    def close() -> None:
        house.forge.pull = replace(house.forge.pull, is_open=False)

    house.planner.then = close
    (house.work / "platform" / "7").mkdir(parents=True)
    assert house.look() is Outcome.MOVED
    assert "1 to change" not in house.forge.body
    assert house.forge.state() == "pending"
    assert house.look() is Outcome.CLOSED
    assert house.previews.rooms("platform") == []


def test_what_is_pushed_to_while_it_is_planned_is_looked_at_again(house: House) -> None:
    house.planner.then = lambda: house.push(SECOND, dns__main=DNS + "# later\n")
    assert house.look() is Outcome.MOVED
    assert (HEAD, "driftwatch/platform/dns") in house.forge.statuses
    assert house.forge.state(commit=HEAD) == "pending"
    house.planner.then = lambda: None
    assert house.look() is Outcome.PLANNED
    assert house.forge.state(commit=SECOND) == "success"


def test_a_stack_that_fails_hides_no_other(house: House) -> None:
    house.push(HEAD, dns__main=DNS + "# a\n", net__main='resource "sandbox_firewall" "b" {\n}\n')
    house.planner.outcomes["dns"] = PlanFailedError("no such thing", advice="Mend it.", detail="Error: x")
    assert house.look() is Outcome.PLANNED
    assert house.forge.state("driftwatch/platform/dns") == "failure"
    assert house.forge.state("driftwatch/platform/net") == "success"
    assert house.forge.state() == "failure"
    assert "`no such thing`" in house.forge.body


@pytest.mark.parametrize(
    "problem", [CredentialsExpiredError("expired"), OSError(5, "broken"), ValueError("ours")]
)
def test_what_could_not_be_looked_at_is_an_error_and_no_failure(house: House, problem: Exception) -> None:
    house.planner.outcomes["dns"] = problem
    house.look()
    assert house.forge.state("driftwatch/platform/dns") == house.forge.state() == "error"


def test_a_conflict_fails_and_its_paths_are_said(house: House) -> None:
    house.code.failure = MergeConflictError("it does not merge with the branch: dns/main.tf conflicts")
    assert house.look() is Outcome.CONFLICT
    assert house.forge.state() == "failure"
    assert "dns/main.tf conflicts" in house.forge.body
    house.restart()
    assert house.look() is Outcome.SETTLED


def test_a_remote_that_is_away_is_an_error_and_what_was_said_stands(house: House) -> None:
    house.look()
    before = house.forge.body
    house.code.failure = RemoteUnreachableError("away")
    house.forge.add("/driftwatch plan")
    assert house.previews.look_at("platform", 7, STOP).passing
    assert house.forge.body == before
    house.code.failure = None
    assert house.look() is Outcome.PLANNED
    house.code.failure = RemoteUnreachableError("away")
    house.push(SECOND, dns__main=DNS + "# x\n")
    assert house.look() is Outcome.FAILED
    assert house.forge.state() == "error"


def move_the_branch(house: House, **files: str) -> None:
    """A commit of the branch that the pull request has not seen."""
    names = {f"{name.replace('__', '/')}.tf": text for name, text in files.items()}
    house.code.commits["d" * 40] = {**FILES, "notes.md": "words", **names}
    house.code.commits[HEAD] |= {"notes.md": "words", **names}
    house.code.head_commit = "d" * 40
    house.inventory.refresh("platform")


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(
    ("problem", "state"),
    [
        (MergeConflictError("dns/main.tf conflicts"), "error"),
        (UnsafeRepositoryError("a symlink leaves it"), "error"),
    ],
)
def test_no_stack_stays_good_of_which_nothing_is_known_any_more(
    house: House, problem: Exception, state: str, *, restarted: bool
) -> None:
    house.look()
    assert house.forge.state("driftwatch/platform/dns") == "success"
    move_the_branch(house)
    house.code.failure = problem
    if restarted:
        house.restart()
    house.look()
    assert house.forge.state("driftwatch/platform/dns") == state
    assert house.forge.state() in ("error", "failure")
    house.code.failure = None
    assert house.look(again=True) is Outcome.PLANNED
    assert house.forge.state("driftwatch/platform/dns") == house.forge.state() == "success"


@pytest.mark.parametrize("restarted", [False, True])
def test_no_stack_stays_good_of_what_waits_now(house: House, *, restarted: bool) -> None:
    house.look()
    house.forge.pull = replace(house.forge.pull, from_fork=True)
    if restarted:
        house.restart()
    assert house.look() is Outcome.WAITING
    assert house.forge.state("driftwatch/platform/dns") == house.forge.state() == "pending"


@pytest.mark.parametrize("restarted", [False, True])
def test_a_stack_that_is_not_touched_any_more_is_held_by_nothing(house: House, *, restarted: bool) -> None:
    """The branch has the same by now."""
    house.push(HEAD, dns__main=DNS + "# a\n", net__main='resource "sandbox_firewall" "b" {\n}\n')
    house.planner.outcomes["net"] = PlanFailedError("no such thing")
    house.look()
    assert house.forge.state("driftwatch/platform/net") == "failure"
    move_the_branch(house, net__main='resource "sandbox_firewall" "b" {\n}\n')
    if restarted:
        house.restart()
    assert house.look() is Outcome.PLANNED
    assert house.forge.state("driftwatch/platform/net") == house.forge.state() == "success"


def test_of_many_stacks_none_stays_good_while_they_are_planned_anew(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftwatch.pipeline.preview.MANY", 0)
    house.look()
    assert ("driftwatch/platform/dns", CommitState.PENDING) not in house.forge.history
    house.restart()
    house.look(again=True)
    assert ("driftwatch/platform/dns", CommitState.PENDING) in house.forge.history


def test_what_was_said_does_not_stand_after_the_last_try(house: House) -> None:
    house.look()
    move_the_branch(house)
    house.code.failure = RemoteUnreachableError("away")
    assert house.previews.look_at("platform", 7, STOP).passing
    assert house.forge.state() == house.forge.state("driftwatch/platform/dns") == "success"
    assert house.previews.look_at("platform", 7, STOP, last=True).passing
    assert house.forge.state() == house.forge.state("driftwatch/platform/dns") == "error"
    house.code.failure = None
    assert house.look() is Outcome.PLANNED
    assert house.forge.state() == "success"


def test_a_head_that_is_another_by_now_is_looked_at_again(house: House) -> None:
    house.code.failure = PullRequestMovedError("another")
    assert house.look() is Outcome.MOVED
    assert house.forge.own == []


def test_what_the_forge_did_not_take_is_said_later_without_another_plan(house: House) -> None:
    house.look()
    house.push(SECOND, dns__main=DNS + "# x\n")

    def fail() -> None:
        house.forge.script["set_status"] = [ForgeUnavailableError("500")]

    house.planner.then = fail
    with pytest.raises(ForgeUnavailableError):
        house.look()
    house.planner.then = lambda: None
    assert house.look() is Outcome.PLANNED
    assert house.planner.planned == ["dns", "dns"]
    assert house.forge.state() == "success"


def unsaid(house: House) -> None:
    """All is planned, and the forge does not take it."""

    def fail() -> None:
        house.forge.script["set_status"] = [ForgeUnavailableError("500")]

    house.planner.then = fail
    with pytest.raises(ForgeUnavailableError):
        house.look()
    house.planner.then = lambda: None


def test_what_is_asked_before_all_is_said_is_on_record_and_answered(house: House) -> None:
    house.planner.outcomes["dns"] = "destroyed"
    unsaid(house)
    house.forge.add(f"/driftwatch plan {SECOND}", "anna")
    house.forge.add("/driftwatch approve 0123456789abcdef", "bob")
    house.forge.add("/driftwatch plan", "stranger")
    assert house.look() is Outcome.PLANNED
    assert house.planner.planned == ["dns"]
    assert [outcome for *_, outcome in house.audit] == ["another_head", "another_digest", "unknown_person"]
    assert "anna named a commit that is not the head" in house.forge.body
    assert "bob approved something else" in house.forge.body
    assert "nobody who did has the right" in house.forge.body
    assert house.forge.state() == "failure"
    house.restart()
    assert house.look() is Outcome.SETTLED
    assert len(house.audit) == 3


def test_what_failed_for_a_while_is_planned_again_also_where_that_is_said_later(house: House) -> None:
    house.planner.outcomes["dns"] = RemoteUnreachableError("away")
    unsaid(house)
    assert house.previews.look_at("platform", 7, STOP).passing
    assert house.planner.planned == ["dns"]


def test_what_is_said_later_is_of_the_same_pull_request_still(house: House) -> None:
    unsaid(house)
    fetch = house.code.fetch_pull_request

    def moved(number: int, *, kind: str, head: str) -> Merged:
        house.forge.pull = replace(house.forge.pull, base="develop")
        return fetch(number, kind=kind, head=head)

    house.code.fetch_pull_request = moved  # type: ignore[method-assign]  # while it is fetched
    assert house.look() is Outcome.MOVED
    assert "1 to change" not in house.forge.body
    assert house.forge.state() == "pending"


def test_a_forge_that_does_not_answer_between_two_plans_loses_none(house: House) -> None:
    house.push(HEAD, dns__main=DNS + "# a\n", net__main='resource "sandbox_firewall" "b" {\n}\n')

    def fail() -> None:
        house.forge.script["pull_request"] = [ForgeUnavailableError("502")]

    house.planner.then = fail
    with pytest.raises(ForgeUnavailableError):
        house.look()
    assert house.planner.planned == ["dns", "net"]
    house.planner.then = lambda: None
    assert house.look() is Outcome.PLANNED
    assert house.planner.planned == ["dns", "net"]
    assert house.forge.state() == "success"


@pytest.mark.parametrize("place", ["known", "merged"])
def test_a_pull_request_that_cannot_be_checked_out_is_an_error_of_its_own(
    house: House, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    checkout = house.code.checkout

    def broken(commit: str) -> Any:
        if (commit == BASE) == (place == "known"):
            raise RepositoryTooLargeError("it does not fit")
        return checkout(commit)

    monkeypatch.setattr(house.code, "checkout", broken)
    assert house.look() is Outcome.FAILED
    assert house.forge.state() == "error"
    assert "it does not fit" in house.forge.body
    assert house.planner.planned == []


def test_a_stack_whose_directory_would_be_gone_is_told_and_what_stays(house: House) -> None:
    house.push(HEAD, dns__main=None)
    house.code.commits[HEAD].pop("dns/.terraform.lock.hcl")
    house.look()
    assert "`platform/dns` would be gone" in house.forge.body
    assert "stays in the cloud" in house.forge.body
    assert "`sandbox_dns_record.www`" in house.forge.body
    assert house.planner.planned == []


def test_what_touches_no_stack_gets_a_status_and_no_comment(house: House) -> None:
    house.code.commits[HEAD] = {**FILES, "notes.md": "words"}
    assert house.look() is Outcome.UNTOUCHED
    assert (house.forge.own, house.forge.state()) == ([], "success")
    assert house.look() is Outcome.SETTLED


def test_where_others_are_the_same_project_all_together_has_a_name_of_its_own(house: House) -> None:
    desk = replace(house.previews.desks["platform"], context="driftwatch/platform")
    house.previews = replace(house.previews, desks={"platform": desk})
    house.look()
    assert {context for context, _ in house.forge.history} == {
        "driftwatch/platform",
        "driftwatch/platform/dns",
    }
    house.code.commits[HEAD] = {**FILES, "notes.md": "words"}
    house.forge.comments.clear()
    house.previews = replace(house.previews, kept={})
    house.look()
    assert "driftwatch" not in {context for context, _ in house.forge.history}


def test_a_pull_request_to_another_branch_is_none_of_ours(house: House) -> None:
    house.forge.pull = replace(house.forge.pull, base="develop")
    assert house.look() is Outcome.OTHER_BRANCH
    assert (house.forge.own, house.forge.statuses) == ([], {})


def test_only_stacks_that_are_to_be_previewed_are(tmp_path: Path) -> None:
    house = furnish(tmp_path, repository={"previews": {"stacks": ["platform/net"]}})
    assert house.look() is Outcome.UNTOUCHED
    assert house.planner.planned == []
    house.store.close()


def test_what_would_hold_a_deploy_is_said(tmp_path: Path) -> None:
    freeze = {
        "name": "freeze",
        "kind": "deny",
        "from": "2026-11-20T00:00:00",
        "to": "2026-12-01T00:00:00",
    }
    house = furnish(tmp_path, windows=[freeze])
    house.planner.outcomes["dns"] = "pending"
    house.look()
    assert "freeze" in house.forge.body
    assert "It is told, and nothing is applied" in house.forge.body
    assert "detector_" not in house.forge.body
    assert house.forge.state() == "success"
    house.store.close()


def test_an_own_rule_that_is_not_met_fails_the_status(tmp_path: Path) -> None:
    pytest.importorskip("cel_expr_python")
    rule = {"name": "small", "cel": "size(resources) == 0", "says": "Never."}
    house = furnish(tmp_path, repair={"conditions": [rule]})
    house.look()
    assert house.forge.state() == "failure"
    assert "condition_not_met" in house.forge.body
    house.store.close()


def test_a_preview_waits_between_plans_while_something_more_important_runs(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftwatch.pipeline.preview.YIELD_SECONDS", 0.01)
    asked: list[int] = []

    def busy() -> bool:
        asked.append(len(house.planner.planned))
        return len(asked) < 3

    house.previews = replace(house.previews, busy=busy)
    house.look()
    assert asked == [0, 0, 0]
    assert house.planner.planned == ["dns"]


def test_open_findings_are_told_beside_the_plan(house: House) -> None:
    stack = StackId(repository="platform", path="dns")
    reading = read_plan(plan("delete"), digest=Digester(b"k" * 32), inputs=Inputs(), baseline=None)
    result = CheckResult(
        stack=stack,
        commit=BASE,
        trigger=Trigger.MANUAL,
        verdict=Verdict.DRIFTED,
        method=Method.PLAN,
        method_reason="forced",
        started_at=MORNING,
        duration_seconds=1.0,
        findings=reading.findings,
    )
    house.store.record_check(result, declaration=StackDeclaration(id=stack), channels=())
    house.look()
    assert "Differs already, without this pull request" in house.forge.body
