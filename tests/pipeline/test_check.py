"""Whatever a check meets becomes a recorded verdict, and never "in sync" by mistake."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from driftwatch.config.settings import RepositorySettings
from driftwatch.errors import (
    EngineInterruptedError,
    IdentityMismatchError,
    PlanFailedError,
    StoreUnavailableError,
    UnknownStackError,
)
from driftwatch.git import Mirror
from driftwatch.model import CheckResult, StackId, Trigger, Verdict
from driftwatch.pipeline.check import check
from driftwatch.pipeline.inventory import Inventory
from tests.pipeline.conftest import DNS, FIRST, MORNING, Worlds, worlds

if TYPE_CHECKING:
    from pathlib import Path


def checked(estate: Worlds) -> CheckResult:
    estate.inventory.refresh("platform")
    return check(DNS, Trigger.SCHEDULE, estate.workshop, threading.Event())


def test_a_clean_plan_is_in_sync_and_recorded_with_its_inputs(estate: Worlds) -> None:
    result = checked(estate)
    assert (result.verdict, result.error) == (Verdict.IN_SYNC, None)
    assert estate.ledger.results == [result]
    assert (result.inputs.commit, result.inputs.tree, result.inputs.state_serial) == (FIRST, "a+-+-+-", 1)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (PlanFailedError("no"), "plan_failed"),
        (OSError(errno.ENOSPC, "No space left on device", "plan"), "disk_full"),
        (PermissionError(errno.EACCES, "Permission denied", "plan"), "machine_failed"),
        (ZeroDivisionError("a fault of ours"), "internal_error"),
    ],
)
def test_a_failure_is_an_error_verdict_of_its_class(estate: Worlds, failure: Exception, code: str) -> None:
    estate.planner.outcome = failure
    result = checked(estate)
    assert result.verdict is Verdict.ERROR
    assert result.error is not None
    assert result.error.code == code
    assert estate.ledger.results == [result], "a failed check is recorded too"


def test_a_document_that_means_nothing_is_an_error(estate: Worlds) -> None:
    estate.planner.outcome = {"format_version": "9.0"}
    result = checked(estate)
    assert result.error is not None
    assert result.error.code == "plan_unreadable"


def test_an_interrupted_check_records_nothing(estate: Worlds) -> None:
    estate.planner.outcome = EngineInterruptedError("stopped")
    with pytest.raises(EngineInterruptedError):
        checked(estate)
    assert estate.ledger.results == []


@pytest.mark.row(46)
def test_a_result_waits_aside_while_the_database_is_away(estate: Worlds) -> None:
    """Row 46: the database goes down mid-run; the result is kept and nothing is lost."""
    estate.ledger.failure = StoreUnavailableError("gone")
    result = checked(estate)
    assert estate.ledger.spooled == [result]


@pytest.mark.row(46)
def test_a_database_that_is_away_before_the_plan_makes_no_verdict(estate: Worlds) -> None:
    """Row 46: what the database cannot say is asked before the plan, and is no error of the stack."""
    estate.ledger.is_away = True
    with pytest.raises(StoreUnavailableError):
        checked(estate)
    assert (estate.planner.requests, estate.ledger.spooled) == ([], [])


def test_the_identity_is_asked_before_the_plan_and_with_what_the_plan_will_get(tmp_path: Path) -> None:
    estate = worlds(
        tmp_path, identity={"aws_account": "123456789012"}, environment={"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE"}
    )
    estate.identities.failure = IdentityMismatchError("another account")
    result = checked(estate)
    assert result.error is not None
    assert result.error.code == "identity_mismatch"
    assert estate.planner.requests == [], "nothing is planned with credentials of another account"
    assert estate.identities.asked == [
        ({"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE"}, "123456789012")
    ]


def test_a_stack_that_is_gone_cannot_be_checked(estate: Worlds) -> None:
    estate.inventory.refresh("platform")
    gone = StackId(repository="platform", path="gone")
    with pytest.raises(UnknownStackError):
        check(gone, Trigger.MANUAL, estate.workshop, threading.Event())


@pytest.mark.row(36)
def test_a_module_in_a_submodule_is_named(tmp_path: Path) -> None:
    """Row 36: submodules are not followed by default, and a stack that needs one says so."""
    estate = worlds(tmp_path)
    estate.source.borrowed = ("dns",)
    result = checked(estate)
    assert result.error is not None
    assert result.error.code == "submodule_missing"
    assert "submodules: true" in str(result.error.advice)
    estate = worlds(tmp_path)
    estate.source.borrowed = ("elsewhere",)
    assert checked(estate).verdict is Verdict.IN_SYNC


@pytest.mark.row(36)
def test_a_module_in_a_real_submodule_is_named(tmp_path: Path) -> None:
    """Row 36: the same with a repository that Git itself says has one."""
    repository = tmp_path / "repository"
    (repository / "dns").mkdir(parents=True)
    (repository / "dns/main.tf").write_text(
        'terraform {\n  backend "local" {}\n}\n\nmodule "it" {\n  source = "../vendor/shared/it"\n}\n'
    )
    (repository / ".gitmodules").write_text(
        '[submodule "vendor/shared"]\n\tpath = vendor/shared\n\turl = https://git.example.com/shared.git\n'
    )
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "."],
        ["update-index", "--add", "--cacheinfo", f"160000,{'a' * 40},vendor/shared"],
        ["-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "Borrow a module"],
    ):
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        subprocess.run(["git", *command], cwd=repository, env=environment, check=True)
    estate = worlds(tmp_path)
    settings = RepositorySettings(url=str(repository))
    mirror = Mirror("platform", settings, tmp_path / "mirror", clock=lambda: MORNING)
    estate.inventory = Inventory(
        estate.inventory._settings, {"platform": mirror}, estate.ledger, clock=lambda: MORNING
    )
    estate.workshop = replace(estate.workshop, inventory=estate.inventory, checkouts={"platform": mirror})
    result = checked(estate)
    mirror.close()
    assert result.error is not None
    assert result.error.code == "submodule_missing"
    assert "vendor/shared" in result.error.message
    assert estate.planner.requests == []
