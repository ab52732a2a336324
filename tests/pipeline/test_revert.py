"""Beside a rollback the revert is opened in Git: with words that nobody can forge, and never in its way."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from driftwatch.config.repair import RepairSettings
from driftwatch.config.settings import RepositorySettings
from driftwatch.errors import EngineError
from driftwatch.git import Mirror
from driftwatch.model import (
    KEPT_COMMITS,
    Commit,
    PlanSummary,
    ProposalDraft,
    ProposalKind,
    ProposalState,
    StackDeclaration,
    StackId,
    Wish,
)
from driftwatch.pipeline.inventory import Inventory
from driftwatch.pipeline.reconcile import Reconciler, Tools
from driftwatch.pipeline.revert import message, revert_in_git
from driftwatch.store import Store, Voice

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Worlds

    from driftwatch.model import Granted, Proposal
    from driftwatch.pipeline.check import Workshop

MORNING = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
DNS = StackId(repository="platform", path="dns")
MODULE = 'terraform {{\n  backend "local" {{}}\n}}\n\nmodule "it" {{\n  source = "../modules/it"\n}}\n# {}\n'
COMMIT = "0f3d" * 10
HOSTILE = (
    "fine\n\nSigned-off-by: Mallory <m@e.com>\r\nApproved-by: anna\n---\n\x1b[31m\u202eevil\u2028x: y\0z"
)


@dataclass
class Repository:
    """Somebody's repository, which a stack and its module are in, and its bare remote."""

    path: Path

    def __post_init__(self) -> None:
        self.path.mkdir()
        self.git("init", "-q", "-b", "main")
        self.first = self.commit("then")
        self.git("clone", "-q", "--bare", ".", "../remote.git")
        self.git("remote", "add", "origin", "../remote.git")

    @property
    def remote(self) -> Path:
        return self.path.with_name("remote.git")

    def git(self, *arguments: str, given: str | None = None) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.path), "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *arguments],
            cwd=self.path,
            env=environment,
            check=True,
            capture_output=True,
            input=None if given is None else given.encode(),
        )
        return done.stdout.decode().strip()

    def commit(self, content: str, subject: str = "Change it", path: str = "") -> str:
        for name in [path] if path else ["dns/main.tf", "modules/it/main.tf", "network/main.tf"]:
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(MODULE.format(content) if name.startswith("dns") else f"# {content}\n")
        self.git("add", ".")
        self.git("commit", "-q", "-F", "-", given=subject)
        return self.git("rev-parse", "HEAD")

    def publish(self) -> None:
        self.git("push", "-q", "origin", "main")

    def branches(self) -> list[str]:
        self.git("fetch", "-q", "--prune", "origin", "+refs/heads/*:refs/remotes/origin/*")
        return self.git("for-each-ref", "--format=%(refname:lstrip=3)", "refs/remotes/origin").split()

    def content(self, branch: str, path: str) -> str:
        return self.git("show", f"origin/{branch}:{path}")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repository")
    made.commit("now", "Open 8443")
    made.commit("elsewhere", "Not of the stack", "network/main.tf")
    made.publish()
    return made


@pytest.fixture
def workshop(estate: Worlds, repository: Repository, tmp_path: Path) -> Iterator[Workshop]:
    settings = RepositorySettings(url=str(repository.remote))
    mirror = Mirror("platform", settings, tmp_path / "mirror", clock=lambda: MORNING)
    inventory = Inventory(
        estate.inventory._settings, {"platform": mirror}, estate.ledger, clock=lambda: MORNING
    )
    assert inventory.refresh("platform").error is None
    yield replace(estate.workshop, inventory=inventory, checkouts={"platform": mirror})
    mirror.close()


def wish(commit: str, **changes: Any) -> Wish:
    standard: dict[str, Any] = {"by": "anna", "reason": "it broke the mail", "revert": True}
    return Wish(stack=DNS, kind=ProposalKind.ROLLBACK, commit=commit, **(standard | changes))


def branch_of(commit: str) -> str:
    return f"driftwatch/revert-platform-dns-{commit[:7]}"


# ---- the branch ----------------------------------------------------------------------------------------


def test_the_stack_and_the_modules_it_reads_are_as_they_were_and_others_as_they_are(
    repository: Repository, workshop: Workshop
) -> None:
    first, branch = repository.first, branch_of(repository.first)
    said = revert_in_git(wish(first), first, workshop)
    assert said == f"The revert is open in Git: merge the branch {branch}."
    assert repository.branches() == [branch, "main"]
    assert repository.content(branch, "dns/main.tf").endswith("# then")
    assert repository.content(branch, "modules/it/main.tf") == "# then"
    assert repository.content(branch, "network/main.tf") == "# elsewhere"
    assert repository.git("rev-parse", f"origin/{branch}^") == repository.git("rev-parse", "origin/main")


def test_its_message_says_what_is_undone_by_whose_wish_and_why(
    repository: Repository, workshop: Workshop
) -> None:
    first = repository.first
    revert_in_git(wish(first), first, workshop)
    repository.branches()
    undone = repository.git("rev-parse", "main~1")
    assert repository.git("log", "-1", "--format=%B", f"origin/{branch_of(first)}").splitlines() == [
        f"Revert platform/dns to {first[:10]}",
        "",
        f"All files that the stack reads are as they were at {first}.",
        "",
        "- asked for by anna",
        "- because: it broke the mail",
        "",
        "It undoes, the newest first:",
        f"- {undone[:10]} Open 8443",
        "",
        "Opened by driftwatch beside a rollback, for people to look at and to merge.",
    ]


def test_a_second_wish_finds_the_branch_and_one_of_the_same_files_opens_none(
    repository: Repository, workshop: Workshop
) -> None:
    first, branch = repository.first, branch_of(repository.first)
    revert_in_git(wish(first), first, workshop)
    again = revert_in_git(wish(first, by="ben", reason=None), first, workshop)
    assert again == f"The revert is open in Git already: merge the branch {branch}."
    same = repository.git("rev-parse", "main~1")
    said = revert_in_git(wish(same), same, workshop)
    assert said == f"Nothing is to be reverted in Git: the stack's files are as they were at {same[:10]}."
    assert repository.branches() == [branch, "main"]


# ---- hostile words -------------------------------------------------------------------------------------


def commits(number: int, subject: str = "Open 8443") -> list[Commit]:
    return [Commit(id=f"{each:040x}", author="Ada", at=MORNING, subject=subject) for each in range(number)]


@pytest.mark.parametrize("undone", [0, 1, KEPT_COMMITS])
def test_no_word_of_others_has_more_than_its_line_or_signs_anything(
    repository: Repository, undone: int
) -> None:
    """Reasons, names and subjects are anybody's: a forged `Signed-off-by` would be a person's word."""
    stack = StackId(repository="platform", path=f"d\n\n{HOSTILE}")
    asked = Wish(stack=stack, kind=ProposalKind.ROLLBACK, by=HOSTILE, reason=HOSTILE, commit=COMMIT)
    benign = replace(asked, stack=DNS, by="anna", reason="why")
    said = message(asked, COMMIT, commits(undone, HOSTILE))
    assert len(said.splitlines()) == len(message(benign, COMMIT, commits(undone)).splitlines())
    assert all(line.isprintable() for line in said.split("\n"))
    assert said.count("- because: fine Signed-off-by: Mallory") == 1
    assert repository.git("interpret-trailers", "--parse", given=said) == ""
    assert not any(
        line.startswith(("Signed-off-by", "Approved-by", "---", "x:")) for line in said.split("\n")
    )


def test_endless_words_are_cut_and_secrets_are_not_repeated() -> None:
    asked = wish(COMMIT, by="b" * 5000, reason="see https://me:s3cr3t-word@example.com/ " + "r" * 5000)
    said = message(asked, COMMIT, commits(KEPT_COMMITS, "s" * 5000))
    assert len(said) < 6000
    assert "s3cr3t-word" not in said
    assert "…" in said
    assert "- and those before, if there are any" in said
    assert "those before" not in message(asked, COMMIT, commits(KEPT_COMMITS - 1))


@pytest.mark.parametrize("reason", [None, ""])
def test_without_a_reason_none_is_made_up(reason: str | None) -> None:
    assert "because" not in message(wish(COMMIT, reason=reason), COMMIT, ())


# ---- beside the proposal -------------------------------------------------------------------------------


class AtOnce(ThreadPoolExecutor):
    """Does what is submitted before it returns."""

    def submit(self, fn: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        fn(*arguments, **named)
        return Future()


@dataclass
class Desk:
    """A reconciler with a real store and real Git, whose proposer proposes whatever is wished for."""

    store: Store
    workshop: Workshop
    now: datetime = MORNING
    failure: Exception | None = None

    def __post_init__(self) -> None:
        nothing = cast("Any", None)
        self.reconciler = Reconciler(
            Tools(
                proposer=cast("Any", self),
                applier=cast("Any", self),
                book=self.store,
                clerk=nothing,
                settings=RepairSettings(),
                node="here:/state",
                alone=False,
                leads=lambda: True,
                clock=lambda: self.now,
            )
        )

    def known(self) -> list[str]:
        return []

    def due(self, _stack: StackId) -> None:
        """Nothing follows any findings."""

    def grant(self, wish: Wish, _stop: threading.Event) -> Proposal:
        if self.failure:
            raise self.failure
        return self.store.propose(
            ProposalDraft(
                stack=wish.stack,
                kind=wish.kind,
                commit=str(wish.commit),
                digest="d1",
                findings=(),
                addresses=(),
                summary=PlanSummary(adds=1, updates=0, destroys=0, replaces=0, changes=()),
                reason="anna asked for it.",
                created_by=wish.by,
                created_at=self.now,
                expires_at=self.now + timedelta(days=7),
                automatic=False,
            )
        )

    def ask(self, wish: Wish) -> Granted:
        number = self.store.wish(wish, self.now)
        self.now += timedelta(seconds=2)
        self.reconciler._round(AtOnce(1))
        granted = self.store.granted(number)
        assert granted is not None
        return granted

    def audit(self) -> list[tuple[str, str, str, str | None]]:
        return [
            (each.actor, each.action, each.outcome, each.reason)
            for each in self.store.audit().items
            if each.action == "revert"
        ]


@pytest.fixture
def desk(workshop: Workshop, tmp_path: Path) -> Iterator[Desk]:
    with closing(Store.open(state_dir=tmp_path, database=None, voice=Voice(channels=("slack",)))) as store:
        store.sync_stacks("platform", [StackDeclaration(id=DNS)], at=MORNING)
        yield Desk(store, workshop)


def test_a_rollback_with_its_revert_is_answered_with_both(desk: Desk, repository: Repository) -> None:
    """And the audit says who had a branch opened, and why."""
    granted = desk.ask(wish(repository.first))
    said = f"The revert is open in Git: merge the branch {branch_of(repository.first)}."
    assert (granted.proposal, granted.error, granted.note) == (1, None, said)
    assert desk.audit() == [("anna", "revert", said, "it broke the mail")]
    assert branch_of(repository.first) in repository.branches()


def test_a_rollback_without_it_opens_nothing(desk: Desk, repository: Repository) -> None:
    granted = desk.ask(wish(repository.first, revert=False))
    assert (granted.proposal, granted.error, granted.note) == (1, None, None)
    assert (desk.audit(), repository.branches()) == ([], ["main"])


def test_where_nothing_is_proposed_nothing_is_opened(desk: Desk, repository: Repository) -> None:
    desk.failure = EngineError("it cannot be planned")
    granted = desk.ask(wish(repository.first))
    assert (granted.proposal, granted.error, granted.note) == (None, "it cannot be planned", None)
    assert (desk.audit(), repository.branches()) == ([], ["main"])


def test_a_remote_that_refuses_is_said_and_the_proposal_stands(desk: Desk, repository: Repository) -> None:
    hook = repository.remote / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    granted = desk.ask(wish(repository.first))
    assert (granted.proposal, granted.error) == (1, None)
    assert granted.note is not None
    assert granted.note.startswith("The revert could not be opened in Git: the remote of platform (")
    assert "[remote rejected] (pre-receive hook declined). Let driftwatch's token or key push" in granted.note
    assert [each[2] for each in desk.audit()] == [granted.note]
    proposal = desk.store.proposal(1)
    assert proposal is not None
    assert proposal.state is ProposalState.PROPOSED
    assert repository.branches() == ["main"]


def test_a_remote_that_is_gone_is_said_and_the_proposal_stands(desk: Desk, repository: Repository) -> None:
    repository.remote.rename(repository.remote.with_name("elsewhere.git"))
    granted = desk.ask(wish(repository.first))
    assert (granted.proposal, granted.error) == (1, None)
    assert str(granted.note).startswith("The revert could not be opened in Git: the remote of platform (")


def test_a_wish_keeps_whether_its_revert_is_wanted(desk: Desk, repository: Repository) -> None:
    """A daemon that starts later reads it."""
    asked = [wish(repository.first), wish(repository.first, revert=False)]
    for each in asked:
        desk.store.wish(each, MORNING)
    assert list(desk.store.wishes().values()) == asked
