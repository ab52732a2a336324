"""Own rules in Rego: what `opa` denies or cannot say is held, and a plan's secrets stay in it."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from driftwatch import log
from driftwatch.config.repair import OpaSettings, RepairSettings
from driftwatch.config.settings import WindowSettings
from driftwatch.drift import Digester
from driftwatch.errors import UsageError
from driftwatch.model import (
    Decision,
    Finding,
    FindingStatus,
    Health,
    Proposal,
    ProposalDraft,
    ProposalState,
    StackId,
    StackStatus,
    StoredFinding,
    Suspension,
    Wish,
)
from driftwatch.pipeline.admissions import Clerk
from driftwatch.pipeline.opa import LARGEST_ANSWER, LONGEST_MESSAGE, MOST_MESSAGES, Opa
from driftwatch.pipeline.propose import Proposer
from driftwatch.pipeline.subjects import subject_of
from driftwatch.policy.admission import Admitted, Held
from driftwatch.policy.rights import People
from driftwatch.policy.windows import Windows
from driftwatch.store import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Worlds

    from driftwatch.pipeline.rehearsal import Rehearsal

MORNING = datetime.fromisoformat("2026-11-23T08:00:00+00:00")
DNS = StackId(repository="platform", path="dns")
DELETED = json.loads((Path(__file__).parents[1] / "drift" / "corpus" / "delete.json").read_text())
STOP = threading.Event()
CANARY = "plan-secret-canary"
PLAN = {"format_version": "1.2", "variables": {"token": {"value": CANARY}}}
QUERY = "data.driftwatch.deny"


# ---- A program that plays `opa` --------------------------------------------------------------------------


@dataclass(frozen=True)
class FakeOpa:
    """A program of that name in a directory of its own; `noted` is what it was started with."""

    directory: Path

    @property
    def policy(self) -> Path:
        return self.directory.parent / "policies"

    @property
    def noted(self) -> dict[str, Any]:
        noted: dict[str, Any] = json.loads((self.directory / "noted.json").read_text())
        return noted

    def plays(self, body: str, *, listens: bool = True) -> None:
        """Has it note what it was given, the input only as a digest, and then do what `body` says."""
        lines = (
            f"#!{sys.executable} -S",
            "import hashlib, json, os, sys, time",
            "from pathlib import Path",
            "given = sys.stdin.buffer.read()" if listens else "given = b'{}'",
            "noted = {'argv': sys.argv[1:], 'pid': os.getpid(), 'input': hashlib.sha256(given).hexdigest(),",
            "    'driftwatch': json.loads(given).get('driftwatch'),",
            "    'cmdline': Path('/proc/self/cmdline').read_bytes().decode().split(chr(0)),",
            "    'environ': Path('/proc/self/environ').read_bytes().decode().split(chr(0))}",
            f"Path({str(self.directory / 'noted.json')!r}).write_text(json.dumps(noted))",
            body,
        )
        program = self.directory / "opa"
        program.write_text("\n".join((*lines, "")))
        program.chmod(0o755)

    def answers(self, document: object, *, status: int = 0) -> None:
        text = document if isinstance(document, str) else json.dumps(document, indent=2)
        self.plays(f"print({text!r}); sys.exit({status})")

    def says(self, value: object) -> None:
        """As `opa eval --format json` prints the one value of a query."""
        self.answers({"result": [{"expressions": [{"value": value, "text": QUERY, "location": {}}]}]})

    def opa(self, *, timeout: timedelta = timedelta(seconds=20), **settings: Any) -> Opa:
        given = OpaSettings(policy=self.policy, timeout=timeout, **settings)
        surroundings = {
            "PATH": f"{self.directory}{os.pathsep}{os.defpath}",
            "HOME": str(self.directory),
            "AWS_SECRET_ACCESS_KEY": "aws-canary",
            "OPA_EVAL_FAIL": "true",
        }
        return Opa.of(given, surroundings)

    def judge(self, **settings: Any) -> Held | None:
        return self.opa(**settings).judge(PLAN, [CANARY])


@pytest.fixture
def fake(tmp_path: Path) -> FakeOpa:
    made = FakeOpa(tmp_path / "bin")
    made.directory.mkdir()
    made.policy.mkdir()
    return made


@pytest.fixture
def registered() -> Iterator[str]:
    """A secret that driftwatch was given, forgotten again after the test."""
    before = set(log._secrets)
    log.register_secret("registered-canary")
    yield "registered-canary"
    log._secrets.clear()
    log._secrets.update(before)


def open_descriptors() -> list[str]:
    return sorted(each.name for each in Path("/proc/self/fd").iterdir())


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


# ---- What the program is given ---------------------------------------------------------------------------


def test_it_is_started_as_its_documentation_says_and_reads_the_plan_from_stdin(fake: FakeOpa) -> None:
    fake.says([])
    assert fake.judge() is None
    assert fake.noted["argv"] == [
        *("eval", "--format", "json", "--strict-builtin-errors", "--stdin-input"),
        *("--data", str(fake.policy), QUERY),
    ]
    assert fake.noted["input"] == sha256(json.dumps(PLAN).encode()).hexdigest()


def test_it_has_a_path_and_a_home_and_nothing_else_of_ours(fake: FakeOpa) -> None:
    fake.says([])
    assert fake.judge() is None
    names = {each.partition("=")[0] for each in fake.noted["environ"] if each}
    assert names == {"PATH", "HOME"}


def test_the_plan_is_in_no_argument_and_no_file(
    fake: FakeOpa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    fake.says(["not today"])
    assert fake.judge() is not None
    assert CANARY not in json.dumps([fake.noted["cmdline"], fake.noted["environ"]])
    files = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert {each.name for each in files} == {"opa", "noted.json"}
    assert not any(CANARY in each.read_text() for each in files)


def test_a_plan_larger_than_any_pipe_is_read_to_its_end(fake: FakeOpa) -> None:
    fake.says(["large"])
    plan = {**PLAN, "filler": "x" * (8 << 20)}
    held = fake.opa().judge(plan, [CANARY])
    assert held is not None
    assert held.reason == "opa_denied"
    assert fake.noted["input"] == sha256(json.dumps(plan).encode()).hexdigest()


def test_a_program_that_does_not_read_to_the_end_is_heard_all_the_same(fake: FakeOpa) -> None:
    """It knows its answer already, or failed before it came to the input."""
    answer = json.dumps({"result": [{"expressions": [{"value": ["no"]}]}]})
    fake.plays(f"print({answer!r})", listens=False)
    held = fake.opa().judge({**PLAN, "filler": "x" * (8 << 20)}, [CANARY])
    assert held is not None
    assert held.reason == "opa_denied"


def test_a_program_is_found_by_its_path_too(fake: FakeOpa) -> None:
    fake.says([])
    (fake.directory / "opa").rename(fake.directory / "opa-1.4")
    assert fake.judge(binary=str(fake.directory / "opa-1.4")) is None


def test_a_policy_may_be_one_file(fake: FakeOpa) -> None:
    fake.says([])
    file = fake.policy / "rules.rego"
    file.write_text("package driftwatch\n")
    settings = OpaSettings(policy=file, binary=str(fake.directory / "opa"))
    assert Opa.of(settings, {}).judge(PLAN, []) is None
    assert fake.noted["argv"][6] == str(file)


def test_a_policy_that_is_not_there_is_said_at_the_start(tmp_path: Path) -> None:
    settings = OpaSettings(policy=tmp_path / "polices")
    with pytest.raises(UsageError, match=r"^repair\.opa\.policy: there is no file or directory") as refusal:
        Opa.of(settings, {})
    assert refusal.value.exit_code == 64
    assert refusal.value.advice


def test_a_daemon_does_not_start_without_them(tmp_path: Path) -> None:
    """Every apply would be held, one after the other, and the reason told each time."""
    config = tmp_path / "driftwatch.yaml"
    config.write_text("repositories: {}\nrepair: {opa: {policy: rules}}\n")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-m", "driftwatch", "run", "--config", str(config)],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 64
    assert f"repair.opa.policy: there is no file or directory {tmp_path / 'rules'}" in ended.stderr


# ---- What it answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [False, [], {}])
def test_a_defined_answer_that_names_nothing_allows(fake: FakeOpa, value: object) -> None:
    fake.says(value)
    assert fake.judge() is None


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (["no databases"], " denies it: no databases"),
        (["a", "b"], " denies it: a; b"),
        (["a", "a"], " denies it: a"),
        ([{"msg": "no databases", "severity": "high"}], " denies it: no databases"),
        ([{"msg": "a"}, "b", {"code": 1}, 7], " denies it: a; b"),
        ({"msg": "a"}, " denies it: a"),
        ("a", " denies it: a"),
        (["two\nlines \x1b[31mred"], " denies it: two lines red"),
        (True, " denies it, without a message."),
        ([False], " denies it, without a message."),
        ([{}], " denies it, without a message."),
        ([""], " denies it, without a message."),
        (["\x07"], " denies it, without a message."),
        ({"databases": True}, " denies it, without a message."),
    ],
)
def test_whatever_it_names_is_denied(fake: FakeOpa, value: object, told: str) -> None:
    fake.says(value)
    assert fake.judge() == Held(reason="opa_denied", sentence=f"`{QUERY}`{told}")


def test_of_several_answers_one_that_denies_is_enough(fake: FakeOpa) -> None:
    """A query with a variable (`deny[msg]`) has one for each way to satisfy it."""
    values: list[object] = [[], False, "b"]
    fake.answers({"result": [{"expressions": [{"value": each}]} for each in values]})
    held = fake.judge(query="data.driftwatch.deny[_]")
    assert held == Held(reason="opa_denied", sentence="`data.driftwatch.deny[_]` denies it: b")


def test_a_few_messages_are_told_and_none_is_long(fake: FakeOpa) -> None:
    fake.says(["x" * 5000, *(f"number {each}" for each in range(MOST_MESSAGES + 7))])
    held = fake.judge()
    assert held is not None
    told = held.sentence.partition(": ")[2].split("; ")
    assert len(told) == MOST_MESSAGES + 1
    assert told[0] == "x" * (LONGEST_MESSAGE - 1) + "…"
    assert told[-1] == "and 8 more"


@pytest.mark.parametrize("answer", [{}, {"result": []}, {"result": None}])
def test_a_query_without_an_answer_holds(fake: FakeOpa, answer: object) -> None:
    """A typo in it must not let everything through."""
    fake.answers(answer)
    held = fake.judge()
    assert held is not None
    assert held.reason == "opa_undefined"
    assert f"`{QUERY}` is undefined" in held.sentence
    assert not held.overridable


@pytest.mark.parametrize("value", [None, 0, 1, 1.5, ""])
def test_an_answer_that_neither_allows_nor_denies_holds(fake: FakeOpa, value: object) -> None:
    fake.says(value)
    held = fake.judge()
    assert held is not None
    assert held.reason == "opa_failed"
    assert held.sentence.endswith(f"`{QUERY}` is neither true or false, nor a list of messages.")


@pytest.mark.parametrize(
    "answer",
    [
        {"result": True},
        {"result": "x"},
        {"result": {"expressions": []}},
        {"result": [[]]},
        {"result": [{}]},
        {"result": [{"expressions": []}]},
        {"result": [{"expressions": None}]},
        {"result": [{"expressions": [{"text": "x"}]}]},
        {"result": [{"expressions": [{"value": []}]}, {}]},
    ],
)
def test_an_answer_of_another_shape_holds(fake: FakeOpa, answer: object) -> None:
    fake.answers(answer)
    held = fake.judge()
    assert held is not None
    assert held.reason == "opa_failed"


# ---- How it fails ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer", ["", "undefined", "[]", "true", "{", '{"result": []} {}', "[" * 100_000, "\x00"]
)
def test_output_that_is_no_answer_holds(fake: FakeOpa, answer: str) -> None:
    fake.answers(answer)
    held = fake.judge()
    assert held is not None
    assert held.reason == "opa_failed"
    assert held.sentence.endswith("what it printed is no answer.")


def test_a_program_that_is_not_there_holds(fake: FakeOpa) -> None:
    held = fake.judge()
    assert held is not None
    assert held.reason == "opa_failed"
    assert "`opa` cannot be started: No such file or directory." in held.sentence


def test_a_program_that_may_not_be_run_holds(fake: FakeOpa) -> None:
    (fake.directory / "opa").write_text("")
    held = fake.judge(binary=str(fake.directory / "opa"))
    assert held is not None
    assert held.reason == "opa_failed"
    assert "Permission denied" in held.sentence


def test_an_error_in_the_rules_is_told(fake: FakeOpa) -> None:
    """`opa` prints it as JSON, and ends with 2."""
    error = {"code": "rego_parse_error", "message": "unexpected eof token", "location": {"row": 3}}
    fake.answers({"errors": [error]}, status=2)
    held = fake.judge()
    assert held is not None
    assert held.reason == "opa_failed"
    assert held.sentence.endswith("it ended with status 2: unexpected eof token")


@pytest.mark.parametrize("errors", [[{"message": "one"}], [{}], ["x"], {"a": 1}, True])
def test_a_result_beside_an_error_is_none(fake: FakeOpa, errors: object) -> None:
    fake.answers({"errors": errors, "result": [{"expressions": [{"value": []}]}]})
    held = fake.judge()
    assert held is not None
    assert held.reason == "opa_failed"


def test_a_bad_status_holds_whatever_was_printed(fake: FakeOpa) -> None:
    fake.answers({"result": [{"expressions": [{"value": []}]}]}, status=1)
    held = fake.judge()
    assert held is not None
    assert held.reason == "opa_failed"
    fake.plays("os.kill(os.getpid(), 9)")
    held = fake.judge()
    assert held is not None
    assert held.sentence.endswith("it ended with status -9: what it printed is no answer.")


def test_what_it_complains_of_is_told_on_one_line_and_bounded(fake: FakeOpa) -> None:
    fake.plays("sys.stderr.write('unknown flag:\\n  --stdin-input\\n' + 'x' * 5000); sys.exit(1)")
    held = fake.judge()
    assert held is not None
    told = held.sentence.partition("status 1: ")[2]
    assert told.startswith("unknown flag: --stdin-input x")
    assert len(told) == LONGEST_MESSAGE


def test_a_program_that_hangs_is_ended_with_all_that_it_has_started(fake: FakeOpa) -> None:
    fake.plays(
        "import signal\n"
        "for each in (signal.SIGINT, signal.SIGTERM): signal.signal(each, signal.SIG_IGN)\n"
        "child = os.fork()\n"
        f"if child: Path({str(fake.directory / 'child')!r}).write_text(str(child))\n"
        "time.sleep(600)"
    )
    started = time.monotonic()
    held = fake.judge(timeout=timedelta(seconds=2))
    assert time.monotonic() - started < 15
    assert held is not None
    assert held.reason == "opa_failed"
    assert held.sentence.endswith("it did not end within 2s.")
    assert is_gone(fake.noted["pid"])
    assert is_gone(int((fake.directory / "child").read_text()))


def test_a_program_that_closes_its_output_and_stays_is_ended_too(fake: FakeOpa) -> None:
    fake.plays("sys.stdout.flush(); os.close(1); os.close(2); time.sleep(600)")
    held = fake.judge(timeout=timedelta(seconds=2))
    assert held is not None
    assert held.sentence.endswith("it did not end within 2s.")
    assert is_gone(fake.noted["pid"])


def test_a_program_that_never_listens_is_ended_too(fake: FakeOpa) -> None:
    """However large the plan: what it does not take is not waited for."""
    fake.plays("time.sleep(600)", listens=False)
    held = fake.opa(timeout=timedelta(seconds=2)).judge({**PLAN, "filler": "x" * (8 << 20)}, [CANARY])
    assert held is not None
    assert held.sentence.endswith("it did not end within 2s.")
    assert is_gone(fake.noted["pid"])


def test_an_answer_without_end_is_not_read(fake: FakeOpa) -> None:
    fake.plays("while True: sys.stdout.write('x' * 65536)")
    held = fake.judge()
    assert held is not None
    assert held.reason == "opa_failed"
    assert "its answer is over 1 MiB" in held.sentence
    assert is_gone(fake.noted["pid"])


def test_an_answer_just_too_large_is_not_taken_for_one(fake: FakeOpa) -> None:
    empty = json.dumps({"result": [{"expressions": [{"value": []}]}]})
    fake.plays(f"sys.stdout.write({empty!r} + ' ' * ({LARGEST_ANSWER} - {len(empty)}))")
    assert fake.judge() is None
    fake.plays(f"sys.stdout.write({empty!r} + ' ' * ({LARGEST_ANSWER} + 1 - {len(empty)}))")
    held = fake.judge()
    assert held is not None
    assert "over 1 MiB" in held.sentence


def test_rules_may_print_as_much_as_they_like(fake: FakeOpa) -> None:
    """`print` writes to stderr, and is no answer."""
    empty = json.dumps({"result": [{"expressions": [{"value": []}]}]})
    fake.plays(f"sys.stderr.write('noise ' * 1_000_000); print({empty!r})")
    assert fake.judge() is None


def test_no_descriptor_stays_open(fake: FakeOpa) -> None:
    fake.says(["no"])
    assert fake.judge() is not None
    before = open_descriptors()
    for _ in range(3):
        assert fake.judge() is not None
    fake.plays("time.sleep(600)")
    assert fake.judge(timeout=timedelta(seconds=1)) is not None
    assert open_descriptors() == before


# ---- Secrets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [CANARY, "registered-canary", "ghp_" + "a" * 30])
def test_a_secret_that_the_rules_give_away_is_not_told(fake: FakeOpa, registered: str, secret: str) -> None:
    """In a message, an error or a complaint: the plan's own, ours, and whatever looks like one."""
    assert registered
    ways: tuple[Callable[[], None], ...] = (
        lambda: fake.says([f"the token is {secret}"]),
        lambda: fake.says([{"msg": f"{'x' * (LONGEST_MESSAGE - 8)}{secret}"}]),
        lambda: fake.answers({"errors": [{"message": f"the token is {secret}"}]}, status=2),
        lambda: fake.plays(f"sys.stderr.write('the token is {secret}'); sys.exit(2)"),
    )
    for way in ways:
        way()
        held = fake.judge()
        assert held is not None
        assert secret not in held.sentence
        assert secret[:8] not in held.sentence


# ---- Where it is asked -----------------------------------------------------------------------------------


@dataclass
class FakeBook:
    """Findings and suspensions as they come, and no earlier applies."""

    suspended: list[Suspension] = field(default_factory=list)
    found: list[Finding] = field(default_factory=list)

    def findings_of(self, stack: StackId) -> list[StoredFinding]:
        long_ago = MORNING - timedelta(days=1)
        return [
            StoredFinding(
                id=number,
                stack=stack,
                finding=found,
                status=FindingStatus.OPEN,
                first_seen=long_ago,
                last_seen=long_ago,
            )
            for number, found in enumerate(self.found, 1)
        ]

    def latest_proposals(self, _stack: StackId) -> list[Proposal]:
        return []

    def propose(self, draft: ProposalDraft) -> Proposal:
        return Proposal(id=1, state=ProposalState.PROPOSED, draft=draft)

    def tell_repair(self, *_: object, **__: object) -> None:
        """Nobody is there."""

    def suspensions(self, _at: datetime) -> list[Suspension]:
        return self.suspended

    def pins(self) -> dict[StackId, Any]:
        return {}

    def status_of(self, stack: StackId, now: datetime) -> StackStatus:
        return StackStatus(
            id=stack,
            verdict=None,
            health=Health.FRESH,
            health_reason=None,
            method=None,
            commit=None,
            checked_at=now,
            last_good_at=now,
            next_due_at=None,
            suspended=False,
            open_findings=1,
            error=None,
        )

    def mass_deletion_of(self, _stack: StackId) -> None:
        return None

    def recent_applies(self, _since: datetime) -> dict[ProposalState, int]:
        return {}

    def applied_stacks(self, _since: datetime) -> set[StackId]:
        return set()

    def returns(self, *_: object) -> int:
        return 0

    def finding_events(self, _id: int) -> list[object]:
        return []

    def apply_seconds(self, _stack: StackId) -> list[float]:
        return [1.0]

    def proposals(self, **_: object) -> Page[Proposal]:
        return Page(items=[], next=None)

    def applies(self, **_: object) -> Page[Proposal]:
        return Page(items=[], next=None)


@dataclass
class Desk:
    """A clerk, and a proposal with its plan that it admits."""

    book: FakeBook
    estate: Worlds
    proposer: Proposer
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    answer: Held | None = None

    def opa(self, *given: Any) -> Held | None:
        self.asked.append(given)
        return self.answer

    @property
    def rehearsal(self) -> Rehearsal:
        return self.proposer.rehearse(subject_of(DNS, self.estate.workshop), STOP)

    def clerk(self, opa: Any = None) -> Clerk:
        night = {"name": "always", "kind": "allow", "cron": "0 0 * * *", "duration": "24h", "timezone": "UTC"}
        return Clerk(
            book=cast("Any", self.book),
            workshop=self.estate.workshop,
            windows=Windows.compile([WindowSettings.model_validate(night)]),
            people=People.compile({}),
            settings=self.proposer.settings,
            ignoring=frozenset(),
            course=self.proposer.course,
            allowed_age=lambda _: timedelta(hours=1),
            clock=lambda: MORNING,
            opa=opa,
        )

    def before_apply(self, proposal: Proposal, opa: Any = None) -> Admitted | Held:
        subject = subject_of(DNS, self.estate.workshop)
        return self.clerk(opa or self.opa).before_apply(proposal, subject, self.rehearsal)


@pytest.fixture
def desk(estate: Worlds) -> Desk:
    assert estate.inventory.refresh("platform").error is None
    document = copy.deepcopy(DELETED)
    document.setdefault("variables", {})["token"] = {"value": CANARY}
    declared = document["configuration"]["root_module"].setdefault("variables", {})
    declared["token"] = {"sensitive": True}
    estate.planner.outcome = document
    book = FakeBook()
    settings = RepairSettings.model_validate({"automatic": True, "courses": [{"then": "apply"}]})
    proposer = Proposer(
        workshop=estate.workshop,
        book=cast("Any", book),
        planner=estate.planner,
        settings=settings,
        digester=Digester(b"k" * 32),
        clock=lambda: MORNING,
    )
    made = Desk(book, estate, proposer)
    book.found = [each for each in made.rehearsal.reading.findings if each.counted]
    return made


@pytest.fixture
def automatic(desk: Desk) -> Proposal:
    """One that may be applied by itself."""
    made = desk.proposer.follow_up(DNS, STOP)
    assert made is not None
    assert made.draft.automatic
    return made


@pytest.fixture
def approved(desk: Desk) -> Proposal:
    """One that Anna asked for and Berta approved, at the terminal."""
    made = desk.proposer.grant(Wish(stack=DNS, kind=desk_kind(desk), by="anna"), STOP)
    yes = Decision(
        by="berta",
        at=MORNING - timedelta(minutes=1),
        via="terminal",
        approves=True,
        digest=made.draft.digest,
    )
    return replace(made, state=ProposalState.APPROVED, decisions=(yes,))


def desk_kind(desk: Desk) -> Any:
    suggestion = desk.proposer.due(DNS)
    assert suggestion is not None
    return suggestion.kind


def test_without_rules_of_ones_own_nobody_is_asked(desk: Desk, automatic: Proposal) -> None:
    subject = subject_of(DNS, desk.estate.workshop)
    assert isinstance(desk.clerk().before_apply(automatic, subject, desk.rehearsal), Admitted)
    assert desk.asked == []


@pytest.mark.parametrize("whose", ["automatic", "approved"])
def test_the_rules_hold_everybodys_applies(desk: Desk, whose: str, request: pytest.FixtureRequest) -> None:
    """As conditions do: who wants a rule for automatic ones only has `input.driftwatch.automatic`."""
    proposal = request.getfixturevalue(whose)
    assert isinstance(desk.before_apply(proposal), Admitted)
    desk.answer = Held(reason="opa_denied", sentence="No.")
    assert desk.before_apply(proposal) == desk.answer
    assert len(desk.asked) == 2


def test_before_a_plan_is_made_they_are_not_asked(desk: Desk, automatic: Proposal) -> None:
    """There is no plan to ask about."""
    desk.answer = Held(reason="opa_denied", sentence="No.")
    subject = subject_of(DNS, desk.estate.workshop)
    assert isinstance(desk.clerk(desk.opa).before_plan(automatic, subject), Admitted)
    assert desk.asked == []


def test_what_is_held_anyway_is_not_asked_about_and_never_admitted(desk: Desk, automatic: Proposal) -> None:
    desk.book.suspended.append(Suspension(scope="*", by="anna", reason="fire", at=MORNING, until=None))
    answer = desk.before_apply(automatic)
    assert isinstance(answer, Held)
    assert answer.reason == "suspended"
    assert desk.asked == []


def test_what_happened_while_the_rules_were_read_counts(desk: Desk, automatic: Proposal) -> None:
    """They may take long, and somebody may say stop meanwhile."""

    def slow(*_: object) -> None:
        desk.book.suspended.append(Suspension(scope="*", by="anna", reason="fire", at=MORNING, until=None))

    answer = desk.before_apply(automatic, slow)
    assert isinstance(answer, Held)
    assert answer.reason == "suspended"


@pytest.mark.parametrize(("whose", "alone"), [("automatic", True), ("approved", False)])
def test_the_rules_see_the_whole_plan_and_what_it_is_for(
    desk: Desk, fake: FakeOpa, whose: str, request: pytest.FixtureRequest, *, alone: bool
) -> None:
    fake.says([f"token {CANARY}"])
    proposal = request.getfixturevalue(whose)
    answer = desk.before_apply(proposal, fake.opa())
    assert answer == Held(reason="opa_denied", sentence=f"`{QUERY}` denies it: token [redacted]")
    about = {
        "stack": "platform/dns",
        "kind": proposal.draft.kind.value,
        "automatic": alone,
        "labels": {},
        "commit": proposal.draft.commit,
    }
    assert fake.noted["driftwatch"] == about
    document = {**desk.rehearsal.planned.document, "driftwatch": about}
    assert fake.noted["input"] == sha256(json.dumps(document).encode()).hexdigest()
    assert desk.before_apply(proposal, replace(fake.opa(), environment={"PATH": "/nowhere"})) != answer


# ---- The real one ----------------------------------------------------------------------------------------


RULES = """
package driftwatch

import rego.v1

deny contains msg if {
    some change in input.resource_changes
    "delete" in change.change.actions
    input.driftwatch.automatic
    msg := sprintf("%s is not deleted by itself", [change.address])
}
"""


@pytest.mark.skipif(
    shutil.which("opa") is None, reason="NO opa ON PATH: ITS REAL ANSWERS ARE NOT TESTED HERE"
)
def test_the_real_program_answers_as_the_fake_one(tmp_path: Path) -> None:
    (tmp_path / "rules.rego").write_text(RULES)
    change: dict[str, Any] = {"address": "a.b", "change": {"actions": ["delete"]}}
    plan = {"resource_changes": [change], "driftwatch": {"automatic": True}}

    def reason(document: dict[str, Any], query: str = QUERY) -> str | None:
        settings = OpaSettings(policy=tmp_path, query=query)
        held = Opa.of(settings, os.environ).judge(document, [])
        assert held is None or held.reason != "opa_denied" or "a.b is not deleted by itself" in held.sentence
        return held.reason if held else None

    assert reason(plan) == "opa_denied"
    assert reason(plan, "data.driftwatch.deny[_]") == "opa_denied"
    assert reason({**plan, "resource_changes": []}) is None
    assert reason(plan, "data.driftwatch.denny") == "opa_undefined"
    (tmp_path / "rules.rego").write_text("package driftwatch\n\ndeny contains")
    assert reason(plan) == "opa_failed"
