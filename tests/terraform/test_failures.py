"""What terraform says becomes the right error. The corpus holds what real programs printed."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from driftwatch.errors import DriftwatchError, Remedy
from driftwatch.log import register_secret
from driftwatch.terraform.command import Finished
from driftwatch.terraform.failures import (
    Diagnostic,
    InitNeededError,
    failure,
    from_json,
    from_text,
)

CORPUS = sorted(Path(__file__).with_name("corpus").glob("*.txt"))
NOW = datetime(2026, 11, 23, 4, 5, tzinfo=UTC)


def said(path: Path, text: str | None = None) -> DriftwatchError:
    head, _, output = (text or path.read_text(encoding="utf-8")).partition("\n")
    match = re.fullmatch(r"# (?P<command>.+) exit=(?P<code>-?\d+) from=.+", head)
    assert match
    lines = output.encode().splitlines()
    found = [diagnostic for line in lines if (diagnostic := from_json(line))]
    finished = Finished(
        command=match["command"],
        returncode=int(match["code"]),
        stdout="" if match["command"] == "plan" and not found else output,
        stderr=output if match["command"] == "plan" and not found else "",
    )
    return failure(finished, found, now=NOW)


def named(name: str) -> DriftwatchError:
    return said(next(path for path in CORPUS if path.stem == name))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_a_real_message_becomes_the_error_that_it_means(path: Path) -> None:
    error = said(path)
    assert error.code == path.stem.partition("--")[0]
    assert error.advice
    assert error.detail
    assert error.message
    assert "\n" not in error.message


def test_every_place_in_the_code_is_named() -> None:
    assert named("configuration_invalid--unclosed").message.startswith("main.tf:1: Unclosed")
    assert named("configuration_invalid--init").message.startswith("main.tf:1: Unclosed")


def test_all_missing_variables_are_named() -> None:
    assert named("variable_missing--two").message == "no value for var.x, var.y"


@pytest.mark.row(12)
def test_a_lock_is_told_with_its_holder_and_age() -> None:
    """Row 12: holder, operation, age and id, and that it is tried again, never broken."""
    error = named("state_locked--local")
    assert error.message == (
        "the state is locked by alice@laptop"
        " (apply, for 2 h 5 min, lock id 8f0a3b52-1111-2222-3333-444455556666)"
    )
    assert error.remedy is Remedy.RETRY
    assert "breaks no locks" in (error.advice or "")


@pytest.mark.row(13)
def test_a_lock_that_an_apply_of_ours_left_is_told_as_that_with_the_way_out() -> None:
    """Row 13: of which proposal, and how a person who has looked at the state gives it back."""
    path = next(path for path in CORPUS if path.stem == "state_locked--local")
    theirs = path.read_text(encoding="utf-8")
    assert "alice@laptop" in theirs
    error = said(path, theirs.replace("alice@laptop", "root@dw-p12-0a1b2c3d"))
    assert error.message.startswith("the state is locked by the apply of proposal 12 (root@dw-p12-0a1b2c3d)")
    assert error.advice is not None
    assert "`driftwatch proposals show 12`" in error.advice
    assert "`terraform force-unlock 8f0a3b52-1111-2222-3333-444455556666`" in error.advice
    plan = said(path, theirs.replace("alice@laptop", "root@dw-0a1b2c3d4e5f6071"))
    assert "breaks no locks" in (plan.advice or ""), "a plan's, which changes nothing"


def test_the_http_backends_lock_is_not_told_as_held_by_ourselves() -> None:
    """That backend prints the lock that was asked for; only the id in its message is the holder's."""
    assert named("state_locked--http-held").message == "the state is locked (lock id abc)"


@pytest.mark.row(14)
@pytest.mark.parametrize("name", ["format-5-locking", "cut-locking", "format-5", "cut"])
def test_an_unreadable_state_is_not_told_as_locked(name: str) -> None:
    """Row 14: terraform says `Error acquiring the state lock` for a state that it cannot read, too."""
    assert named(f"state_unreadable--{name}").code == "state_unreadable"


def test_what_an_init_would_mend_is_known() -> None:
    needing = [path.stem for path in CORPUS if isinstance(said(path), InitNeededError)]
    assert needing == [
        "init_failed--backend-changed",
        "init_failed--backend-first",
        "init_failed--module-not-installed",
        "init_failed--no-lock-file",
        "init_failed--not-installed",
    ]


@pytest.mark.parametrize("word", ["throttle", "expired_token", "unauthorized", "no space left on device!"])
def test_names_in_the_code_are_not_taken_for_what_a_cloud_says(word: str) -> None:
    diagnostic = Diagnostic(
        summary="Unsupported argument", detail=f'"{word[:13]}" is not expected', file="a.tf", line=3
    )
    finished = Finished(command="plan", returncode=1, stdout="", stderr="")
    assert failure(finished, [diagnostic]).code == "configuration_invalid"


def test_a_crash_with_the_exit_code_of_changes_is_a_crash() -> None:
    finished = Finished(command="plan", returncode=2, stdout="", stderr="SIGQUIT: quit\nPC=0x1\n")
    assert failure(finished, []).code == "engine_crashed"


def test_a_kill_for_lack_of_memory_is_told_as_such() -> None:
    finished = Finished(command="plan", returncode=-9, stdout="", stderr="")
    error = failure(finished, [])
    assert error.code == "engine_crashed"
    assert "out of memory" in error.message


def test_what_nobody_knows_keeps_its_words() -> None:
    finished = Finished(command="plan", returncode=1, stdout="", stderr="something new\n")
    error = failure(finished, [])
    assert (error.code, error.detail) == ("plan_failed", "something new")


def test_secrets_in_messages_are_gone() -> None:
    register_secret("canary-in-a-diagnostic")
    diagnostic = Diagnostic(summary="bad value canary-in-a-diagnostic", detail="canary-in-a-diagnostic again")
    error = failure(Finished(command="plan", returncode=1, stdout="", stderr=""), [diagnostic])
    assert "canary" not in f"{error.message} {error.detail} {error.advice}"


def test_warnings_are_not_errors() -> None:
    text = "Warning: Deprecated\n\nno matter\n\nError: Broken\n\nit is\n\nWarning: Another\n\nx\n"
    assert [diagnostic.summary for diagnostic in from_text(text)] == ["Broken"]
    assert from_json(b'{"type":"diagnostic","diagnostic":{"severity":"warning","summary":"x"}}') is None


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"null", b'{"type":"diagnostic"}', b"[" * 20_000])
def test_lines_that_are_no_message_are_passed_over(line: bytes) -> None:
    assert from_json(line) is None
