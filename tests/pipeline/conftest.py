"""Doubles of the pipeline's ports: small, real code, told by each test what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003  (dataclass fields)
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.config.rule_files import shipped
from driftwatch.config.settings import Settings
from driftwatch.drift import Digester
from driftwatch.drift.rules import Rules
from driftwatch.errors import StoreUnavailableError
from driftwatch.git import Fetched, RootModule
from driftwatch.model import (
    CheckResult,
    Commit,
    Engine,
    ErrorReport,
    Inputs,
    Job,
    StackDeclaration,
    StackId,
)
from driftwatch.pipeline.check import Workshop
from driftwatch.pipeline.inventory import Inventory
from driftwatch.pipeline.method import Examiner
from driftwatch.terraform import Planned

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from driftwatch.terraform import PlanRequest

MORNING = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
FIRST, SECOND = "1" * 40, "2" * 40
DNS = StackId(repository="platform", path="dns")

IN_SYNC_PLAN: dict[str, Any] = {
    "format_version": "1.2",
    "terraform_version": "1.11.4",
    "errored": False,
    "complete": True,
    "applyable": False,
    "planned_values": {"root_module": {}},
    "resource_changes": [],
    "configuration": {"root_module": {}},
}


@dataclass
class FakeSource:
    """A repository: what each commit holds, and which one is the head."""

    trees: dict[str, dict[str, str]] = field(default_factory=dict)
    head_commit: str | None = None
    remote_commit: str | None = FIRST
    failure: Exception | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    borrowed: tuple[str, ...] = ()
    changes: tuple[str, ...] | Exception = ()

    def changed(self, base: str, commit: str) -> tuple[str, ...]:
        assert base != commit
        if isinstance(self.changes, Exception):
            raise self.changes
        return self.changes

    def fetch(self) -> Fetched:
        if self.failure:
            raise self.failure
        assert self.remote_commit
        previous, self.head_commit = self.head_commit, self.remote_commit
        return Fetched(
            commit=self.remote_commit,
            previous=previous,
            changed=previous != self.remote_commit,
            rewritten=False,
        )

    def head(self) -> str | None:
        return self.head_commit

    def discover(self, commit: str, globs: Sequence[str]) -> tuple[RootModule, ...]:
        return tuple(RootModule(path=path, glob=globs[0], reads=(path,)) for path in self.trees[commit])

    def read(self, commit: str, path: str) -> bytes | None:  # noqa: ARG002  (one file for all commits will do)
        return self.files.get(path)

    def tree(self, commit: str, paths: Sequence[str]) -> str:
        return "+".join(self.trees[commit].get(path, "-") for path in paths)

    def submodules(self, commit: str) -> tuple[str, ...]:  # noqa: ARG002  (the same in all commits)
        return self.borrowed

    def history(
        self,
        base: str | None,
        commit: str,
        paths: Sequence[str],  # noqa: ARG002  (every commit touches all)
        *,
        tree: str | None = None,  # noqa: ARG002
    ) -> tuple[Commit, ...]:
        if base is None:
            return ()
        at = datetime(2026, 11, 23, tzinfo=UTC)
        return (Commit(id=commit, author="Ada Example", at=at, subject="Open 8443"),)

    @contextmanager
    def checkout(self, commit: str) -> Iterator[Path]:
        yield Path("/nowhere") / commit


@dataclass
class FakePlanner:
    """Plans what it is told, or raises."""

    outcome: Mapping[str, Any] | Exception = field(default_factory=lambda: IN_SYNC_PLAN)
    requests: list[PlanRequest] = field(default_factory=list)

    def plan(
        self,
        request: PlanRequest,
        stop: threading.Event,  # noqa: ARG002
        progress: object = None,  # noqa: ARG002
        attach: object = None,
    ) -> Planned:
        assert attach is None
        self.requests.append(request)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return Planned(
            document=self.outcome,
            engine=Engine(name="terraform", version="1.11.4"),
            lock_file=None,
            state_lineage="lineage",
            state_serial=1,
        )

    def standing(self, request: PlanRequest) -> None:
        raise AssertionError(f"nobody asks without warm providers: {request}")

    def pull_state(self, *_: object) -> bytes:
        raise AssertionError("nobody asks without warm providers")


@dataclass
class FakeIdentities:
    asked: list[tuple[dict[str, str], str]] = field(default_factory=list)
    failure: Exception | None = None

    def expect(self, environment: Mapping[str, str], account: str) -> None:
        self.asked.append((dict(environment), account))
        if self.failure:
            raise self.failure


@dataclass
class Written:
    check_id: int = 1
    announcements: tuple[Any, ...] = ()
    open_findings: int = 0


@dataclass
class FakeLedger:
    """Register, ledger and spool in one: keeps what it is given."""

    results: list[CheckResult] = field(default_factory=list)
    spooled: list[CheckResult] = field(default_factory=list)
    fetches: list[tuple[str | None, ErrorReport | None]] = field(default_factory=list)
    stacks: list[StackDeclaration] = field(default_factory=list)
    gone: dict[StackId, str] = field(default_factory=dict)
    failure: Exception | None = None
    is_away: bool = False
    last_in_sync: Inputs | None = None

    def baseline(self, stack: StackId) -> Inputs | None:  # noqa: ARG002  (the same for all)
        if self.is_away:
            raise StoreUnavailableError("gone")
        return self.last_in_sync

    def record_check(
        self,
        result: CheckResult,
        *,
        declaration: StackDeclaration,  # noqa: ARG002
        channels: Sequence[str],  # noqa: ARG002
        job: Job | None = None,  # noqa: ARG002
    ) -> Written:
        if self.failure:
            raise self.failure
        self.results.append(result)
        return Written()

    def save(self, result: CheckResult, **_: object) -> None:
        self.spooled.append(result)

    def record_fetch(
        self, repository: str, *, commit: str | None, error: ErrorReport | None, **_: object
    ) -> None:
        assert repository == "platform"
        self.fetches.append((commit, error))

    def sync_stacks(
        self,
        repository: str,
        declared: Sequence[StackDeclaration],
        at: datetime,
        *,
        gone: Mapping[StackId, str] | None = None,
    ) -> None:
        assert (repository, at) == ("platform", MORNING)
        self.stacks, self.gone = list(declared), dict(gone or {})


@dataclass
class Worlds:
    """All doubles around one inventory and one workshop."""

    source: FakeSource
    planner: FakePlanner
    identities: FakeIdentities
    ledger: FakeLedger
    inventory: Inventory
    workshop: Workshop


def worlds(tmp_path: Path, **stack: object) -> Worlds:
    """An estate of two stacks, `dns` and `network`, whose options are `stack`."""
    settings = Settings.model_validate(
        {
            "repositories": {
                "platform": {"url": "https://git.example.com/x.git", "stacks": [{"path": "**", **stack}]}
            }
        }
    )
    source = FakeSource(trees={FIRST: {"dns": "a", "network": "a"}, SECOND: {"dns": "b", "network": "a"}})
    ledger, planner, identities = FakeLedger(), FakePlanner(), FakeIdentities()
    inventory = Inventory(settings, {"platform": source}, ledger, clock=lambda: MORNING)
    workshop = Workshop(
        inventory=inventory,
        checkouts={"platform": source},
        examiner=Examiner(planner, None, settings.warm, digest=Digester(b"k" * 32), clock=lambda: MORNING),
        identities=identities,
        ledger=ledger,
        spool=ledger,
        rules=Rules.compile(settings.rules, shipped()),
        work=tmp_path / "work",
        inherited={"AWS_REGION": "eu-west-1"},
        channels=["slack"],
        clock=lambda: MORNING,
    )
    return Worlds(source, planner, identities, ledger, inventory, workshop)


@pytest.fixture
def estate(tmp_path: Path) -> Worlds:
    return worlds(tmp_path)
