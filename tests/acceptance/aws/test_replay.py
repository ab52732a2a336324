"""Replay for real: the AWS provider, a state in S3 behind an assumed role, and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.aws.watched import Watched

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.aws.conftest import Lab

pytestmark = [pytest.mark.aws, pytest.mark.xdist_group("aws")]

EPHEMERAL = """
ephemeral "aws_secretsmanager_random_password" "once" {
  password_length = 12
}
"""


@pytest.fixture
def watched(lab: Lab, aws_mirror: Path, tmp_path: Path) -> Watched:
    made = Watched(lab, aws_mirror, tmp_path)
    made.keep_state_in_s3()
    return made


def how(check: dict[str, Any]) -> tuple[str, str, str]:
    return check["method"], check["method_reason"], check["verdict"]


@pytest.mark.slow  # two minutes; the few mutations and the sandbox go the same way in CI
@pytest.mark.timeout(900)
def test_a_stack_with_its_state_in_s3_is_replayed_until_something_moves(watched: Watched) -> None:
    """Across processes: each check is a run of its own, and the recording waits on disk, sealed."""
    assert how(watched.check()) == ("plan", "no_recording", "in_sync")
    replayed = watched.check()
    assert how(replayed) == ("replay", "reads_same", "in_sync")
    queue = watched.lab.client("sqs", "us-east-1")
    url = queue.get_queue_url(QueueName="lab-elsewhere")["QueueUrl"]
    queue.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "17"})
    drifted = watched.check()
    assert how(drifted) == ("plan", "reads_differ", "drifted")
    assert [finding["address"] for finding in drifted["findings"] if finding["counted"]] == [
        "aws_sqs_queue.elsewhere"
    ]
    watched.lab.terraform("apply", "-auto-approve", "-input=false")
    assert how(watched.check()) == ("plan", "state_changed", "in_sync")
    watched.commit("once.tf", EPHEMERAL)
    assert how(watched.check())[:2] == ("plan", "files_changed")
    assert how(watched.check())[:2] == ("plan", "ephemeral")
    state = watched.config.parent / "state"
    recordings = list((state / "recordings").iterdir())
    assert recordings
    for path in state.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert b"canary-lab-secret" not in path.read_bytes() or path.suffix == ".tf", path
