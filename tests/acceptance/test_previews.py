"""Pull requests as a team lives them: real Git, real terraform, and a forge on loopback.

The forge plays GitHub's API; the pull requests' heads are refs of the repository that it hosts, as they are
there. The daemon's parts are put together as `driftwatch run` does.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.cli.clock import now
from driftwatch.cli.compose import Application, application
from driftwatch.cli.previews import previews_of
from driftwatch.config.rule_files import shipped
from driftwatch.config.settings import Settings
from driftwatch.git.pulls import REFS
from driftwatch.model import Trigger, Verdict
from driftwatch.pipeline.admissions import Clerk, hiding
from driftwatch.pipeline.check import check
from driftwatch.pipeline.preview_daemon import Previewer
from driftwatch.policy.rights import People
from driftwatch.policy.windows import Windows
from driftwatch.sandbox import colleague, estate
from tests.forge.played import TOKEN, PlayedForge, PlayedPull, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from driftwatch.pipeline.preview import Previews
    from driftwatch.terraform import Planned, PlanRequest

PATIENCE = 60.0
NUMBER = 7
CANARY = "canary-value-of-a-variable-5b1f"
STACK = """\
terraform {{
  backend "local" {{
    path = "{state}"
  }}
}}

variable "secret" {{
  type      = string
  sensitive = true
  default   = ""
}}

resource "terraform_data" "kept" {{
  input = "{word}"
}}

resource "terraform_data" "hidden" {{
  input = var.secret
}}
{more}"""
OTHER = """
resource "terraform_data" "other" {
  input = "x"
}
"""


@dataclass
class Watched:
    """The planner, with what is to happen while it plans."""

    planner: Any
    then: Callable[[], None] = lambda: None
    planned: list[str] = field(default_factory=list)

    def plan(self, request: PlanRequest, *arguments: Any, **words: Any) -> Planned:
        self.planned.append(request.module.name)
        self.then()
        done: Planned = self.planner.plan(request, *arguments, **words)
        return done

    def __getattr__(self, name: str) -> Any:
        return getattr(self.planner, name)


@dataclass
class Team:
    """A repository with two stacks, one of them applied, its forge, and driftwatch."""

    directory: Path
    repository: Path
    forge: PlayedForge
    app: Application
    planner: Watched
    previews: Previews
    stop: threading.Event = field(default_factory=threading.Event)

    def stack(self, name: str, word: str, more: str = "") -> str:
        return STACK.format(state=self.directory / "states" / f"{name}.tfstate", word=word, more=more)

    def push(self, files: dict[str, str | None], *, fork: bool = False, author: str = "ada") -> str:
        """Somebody opens the pull request, or pushes to it."""
        git = partial(_git, self.repository)
        if NUMBER not in self.forge.pulls:
            git("checkout", "--quiet", "-b", "change", "main")
        else:
            git("checkout", "--quiet", "change")
        head = estate.commit(self.repository, files, "Change it")
        git("update-ref", REFS[self.forge.kind].format(number=NUMBER), head)
        git("checkout", "--quiet", "main")
        if NUMBER in self.forge.pulls:
            self.forge.push(NUMBER, head)
        else:
            self.forge.pulls[NUMBER] = PlayedPull("Change it", author, head, fork=fork)
        return head

    def look(self) -> str:
        return self.previews.look_at("platform", NUMBER, self.stop).outcome.value

    def say(self, body: str, author: str) -> None:
        self.forge.add_comment(NUMBER, body, author=author)
        self.forge.pulls[NUMBER].updated += 1

    @property
    def comment(self) -> str:
        (own,) = [each for each in self.forge.comments[NUMBER] if each.author == self.forge.login]
        return own.body or ""

    def states(self, commit: str) -> dict[str, str]:
        return {name: each.state for name, each in self.forge.statuses.get(commit, {}).items()}

    def wait_for(self, what: str, looks: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not looks():
            assert time.monotonic() < deadline, f"waited for {what}"
            time.sleep(0.05)


def _git(repository: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(repository), *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def _previews(app: Application, planner: Watched) -> Previews:
    """As the daemon puts them together."""
    clerk = Clerk(
        book=app.store,
        workshop=app.workshop,
        windows=Windows.compile(app.settings.windows),
        people=People.compile(app.settings.users),
        settings=app.settings.repair,
        ignoring=hiding(app.settings.rules, shipped()),
        course=lambda _proposal, _subject: None,
        allowed_age=lambda _stack: timedelta(hours=1),
        clock=now,
    )
    previews = previews_of(app, clerk, planner)
    assert previews is not None
    return previews


@pytest.fixture
def team(
    request: pytest.FixtureRequest, tmp_path: Path, terraform_binary: Path, sandbox_cli_config: Path
) -> Iterator[Team]:
    """On GitHub, where a test names no other forge."""
    forge = PlayedForge(getattr(request, "param", "github"))
    repository = tmp_path / "infrastructure"
    repository.mkdir()
    _git(repository, "init", "--quiet", "--template=", "--initial-branch=main")
    settings = Settings.model_validate(
        {
            "state_dir": str(tmp_path / "state"),
            "repositories": {
                "platform": {
                    "url": str(repository),
                    "stacks": [{"path": "*", "variables": {"secret": CANARY}}],
                    "forge": {
                        "kind": forge.kind,
                        "project": forge.project,
                        "token": TOKEN,
                        "api_url": forge.api_url,
                    },
                }
            },
            "terraform": {"binary": str(terraform_binary)},
            "users": {
                "anna": {"github": ["Anna-E"], "gitlab": ["anna"], "rights": ["check"]},
                "bob": {"github": ["bob"], "rights": ["approve"]},
                "ada": {"github": ["ada-too"], "git": ["Ada Example"], "rights": ["approve"]},
            },
        }
    )
    with ExitStack() as closing:
        closing.callback(forge.close)
        app = closing.enter_context(application(settings, os.environ))
        planner = Watched(app.planner)
        made = Team(tmp_path, repository, forge, app, planner, _previews(app, planner))
        files = {"net/main.tf": made.stack("net", "one", OTHER), "dns/main.tf": made.stack("dns", "one")}
        estate.commit(repository, files, "Lay it out")
        colleague.apply(
            terraform_binary,
            repository / "net",
            cli_config=sandbox_cli_config,
            scratch=tmp_path / "scratch",
            environment={"TF_VAR_secret": CANARY},
        )
        _git(repository, "clean", "-dfxq")
        assert app.inventory.refresh("platform").error is None
        yield made


def test_a_pull_request_has_one_comment_and_statuses_and_the_next_push_updates_them(team: Team) -> None:
    """The whole way through the daemon's part: a hint wakes it, the list finds the next push."""
    (net,) = (each.stack for each in team.app.inventory.subjects() if each.stack.path == "net")
    assert check(net, Trigger.MANUAL, team.app.workshop, team.stop).verdict is Verdict.IN_SYNC
    previewer = Previewer(team.previews, polls={"platform": 0.3}, leads=lambda: True)
    thread = threading.Thread(target=previewer.run, args=(team.stop,))
    head = team.push({"net/main.tf": team.stack("net", "two", OTHER), "README.md": "words"})
    thread.start()
    try:
        previewer.ask("platform", NUMBER)
        team.wait_for("statuses", lambda: team.states(head).get("driftwatch") == "success")
        assert team.states(head) == {"driftwatch": "success", "driftwatch/platform/net": "success"}
        team.wait_for("the comment", lambda: "`terraform_data.kept`" in team.comment)
        assert '`/input`: `"one"` → `"two"`' in team.comment
        assert "The stack's on_commit says notify" in team.comment
        second = team.push({"net/main.tf": team.stack("net", "three", OTHER)})
        team.wait_for("the next", lambda: team.states(second).get("driftwatch") == "success")
        team.wait_for("the comment", lambda: '→ `"three"`' in team.comment)
    finally:
        team.stop.set()
        thread.join()
    assert team.planner.planned == ["net", "net"]
    assert CANARY not in "".join(team.forge.bodies(NUMBER))
    assert not (team.directory / "states" / ".net.tfstate.lock.info").exists()


def test_what_it_would_destroy_fails_until_it_is_approved_and_a_push_makes_that_void(team: Team) -> None:
    head = team.push({"net/main.tf": team.stack("net", "one")})
    assert team.look() == "planned"
    assert team.states(head) == {"driftwatch": "failure", "driftwatch/platform/net": "failure"}
    assert "**destroys** `terraform_data.other`" in team.comment
    digest = team.comment.partition("/driftwatch approve ")[2].partition("`")[0]
    team.say(f"/driftwatch approve {digest}", "anna-e")
    team.say(f"> /driftwatch approve {digest}", "bob")
    team.say(f"/driftwatch approve {digest}", "ada-too")  # who wrote the commit, whoever opened it
    team.look()
    assert team.states(head)["driftwatch"] == "failure"
    team.say(f"/driftwatch approve {digest}", "BOB")
    team.look()
    assert team.states(head) == {"driftwatch": "success", "driftwatch/platform/net": "success"}
    # A daemon that starts again knows it from the forge alone.
    team.previews.kept.clear()
    assert team.look() == "settled"
    assert team.planner.planned == ["net"]
    second = team.push({"net/main.tf": team.stack("net", "other")})
    team.look()
    assert team.states(second)["driftwatch"] == "failure"
    assert {each.outcome for each in team.app.store.audit().items} == {"no_right", "own_change", "approved"}


def test_of_a_fork_nothing_is_fetched_or_run_until_somebody_names_its_head(team: Team) -> None:
    head = team.push({"dns/main.tf": team.stack("dns", "evil")}, fork=True, author="stranger")
    assert team.look() == "waiting"
    team.say(f"/driftwatch plan {head}", "stranger")
    team.say("/driftwatch plan", "Anna-E")
    assert team.look() == "waiting"
    assert team.states(head) == {"driftwatch": "pending"}
    assert team.planner.planned == []
    assert not (team.app.rooms.state / "previews").exists()
    mirror = team.app.rooms.mirrors / "platform" / "mirror.git"
    known = subprocess.run(
        ["git", "-C", str(mirror), "cat-file", "-e", head], capture_output=True, check=False
    )
    assert known.returncode != 0
    team.say(f"/driftwatch plan {head}", "Anna-E")
    assert team.look() == "planned"
    assert team.planner.planned == ["dns"]
    assert team.states(head)["driftwatch/platform/dns"] == "success"
    team.push({"dns/main.tf": team.stack("dns", "worse")})
    assert team.look() == "waiting"
    assert team.planner.planned == ["dns"]


def test_what_is_closed_while_it_is_planned_is_not_told(team: Team) -> None:
    head = team.push({"dns/main.tf": team.stack("dns", "two")})

    def close() -> None:
        team.forge.pulls[NUMBER].open = False

    team.planner.then = close
    assert team.look() == "moved"
    assert team.states(head)["driftwatch"] == "pending"
    assert "terraform_data.kept" not in team.comment
    assert team.look() == "closed"
    assert not (team.app.rooms.state / "previews" / "platform" / str(NUMBER)).exists()


def test_a_protected_path_and_a_program_wait_and_their_lines_are_named(team: Team) -> None:
    external = 'data "external" "x" {\n  program = ["touch", "/tmp/driftwatch-marker"]\n}\n'
    head = team.push({".driftwatch.yaml": "stacks: []\n", "dns/more.tf": external})
    assert team.look() == "waiting"
    assert team.states(head) == {"driftwatch": "pending"}
    assert "`.driftwatch.yaml`" in team.comment
    assert "`dns/more.tf:1`" in team.comment
    assert "has no effect before it is merged" in team.comment
    assert team.planner.planned == []


def test_a_conflict_and_a_plan_that_fails_are_said(team: Team) -> None:
    head = team.push({"net/main.tf": team.stack("net", "theirs")})
    estate.commit(team.repository, {"net/main.tf": team.stack("net", "ours")}, "Meanwhile")
    assert team.app.inventory.refresh("platform").error is None
    assert team.look() == "conflict"
    assert team.states(head) == {"driftwatch": "failure"}
    assert "net/main.tf" in team.comment
    _git(team.repository, "checkout", "--quiet", "change")
    _git(team.repository, "reset", "--quiet", "--hard", "main")
    _git(team.repository, "checkout", "--quiet", "main")
    broken = team.stack("dns", "two", 'output "x" {\n  value = nothing.there\n}\n')
    second = team.push({"net/main.tf": team.stack("net", "three", OTHER), "dns/main.tf": broken})
    assert team.look() == "planned"
    assert team.states(second) == {
        "driftwatch": "failure",
        "driftwatch/platform/dns": "failure",
        "driftwatch/platform/net": "success",
    }


def test_a_stack_that_would_be_gone_is_told_with_what_stays(team: Team) -> None:
    head = team.push({"net/main.tf": None})
    assert team.look() == "planned"
    assert team.states(head) == {"driftwatch": "success", "driftwatch/platform/net": "success"}
    assert "`platform/net` would be gone" in team.comment
    assert "`terraform_data.other`" in team.comment
    assert team.planner.planned == []


def test_a_forge_in_trouble_is_asked_again_later_and_nothing_is_lost(team: Team) -> None:
    clock = [0.0]
    previewer = Previewer(team.previews, polls={"platform": 1.0}, leads=lambda: True, now=lambda: clock[0])
    head = team.push({"dns/main.tf": team.stack("dns", "two")})
    for status in (401, 403, 404, 429, 500):
        team.forge.then(Reply(status=status, body={"message": f"no, for {TOKEN}"}))
        previewer.go_round(team.stop)
        clock[0] += 301.0
    assert team.planner.planned == []
    previewer.go_round(team.stop)
    assert team.states(head)["driftwatch"] == "success"
    assert team.planner.planned == ["dns"]


@pytest.mark.parametrize("team", ["gitlab"], indirect=True)
def test_a_merge_request_on_gitlab_is_treated_alike(team: Team) -> None:
    head = team.push({"net/main.tf": team.stack("net", "two", OTHER)}, fork=True, author="stranger")
    assert team.look() == "waiting"
    team.say(f"/driftwatch plan {head}", "Anna")
    assert team.look() == "planned"
    assert "`terraform_data.kept`" in team.comment
    assert team.states(head) == {}  # GitLab keeps those of a fork's commits with the fork
    team.forge.pulls[NUMBER].fork = False
    second = team.push({"net/main.tf": team.stack("net", "three", OTHER)})
    assert team.look() == "planned"
    assert team.states(second) == {"driftwatch": "success", "driftwatch/platform/net": "success"}
    assert team.look() == "settled"
    assert [(each.actor, each.via) for each in team.app.store.audit().items] == [("anna", "gitlab")]
