"""The command line in this process, and a state directory with a little in it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from driftwatch.cli.main import main
from driftwatch.model import CheckResult, Finding, Method, StackDeclaration, StackId, Trigger, Verdict
from driftwatch.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """`cli("stacks", "list")` as at a terminal that is none."""
    monkeypatch.delenv("DRIFTWATCH_CONFIG", raising=False)

    def run(*arguments: str | Path) -> Ran:
        monkeypatch.setattr(sys, "argv", ["driftwatch", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Ran(int(ended.value.code or 0), printed.out, printed.err)

    return run


@dataclass(frozen=True, slots=True)
class Estate:
    """A configuration and its database."""

    config: Path
    state: Path

    def record(self, path: str, *findings: Finding, verdict: Verdict = Verdict.IN_SYNC) -> None:
        """One more stack, checked at noon."""
        stack = StackId(repository="platform", path=path)
        store = Store.open(state_dir=self.state, database=None)
        try:
            known = [
                StackDeclaration(id=status.id, owners=status.owners, labels=status.labels)
                for status in store.stacks(now=NOON)
            ]
            declaration = StackDeclaration(id=stack, owners=("@[bold]platform",), labels={"tier": ":smile:"})
            store.sync_stacks("platform", [*known, declaration], NOON)
            result = CheckResult(
                stack=stack,
                commit="0f3d" * 10,
                trigger=Trigger.MANUAL,
                verdict=verdict,
                method=Method.PLAN,
                method_reason="no_recording",
                started_at=NOON,
                duration_seconds=1.0,
                findings=findings,
            )
            store.record_check(result, declaration=declaration, channels=[])
        finally:
            store.close()


@pytest.fixture
def estate(tmp_path: Path) -> Estate:
    config = tmp_path / "driftwatch.yaml"
    config.write_text(
        "state_dir: ./state\n"
        "repositories:\n"
        f"  platform: {{url: {tmp_path / 'gone'}, stacks: [{{path: '**'}}]}}\n"
        "web: {listen: '127.0.0.1:0'}\n",
        encoding="utf-8",
    )
    return Estate(config, tmp_path / "state")
