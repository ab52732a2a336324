"""The corpus cannot rot: real terraform plays its scenarios again, and every reading must be the same.

Documents differ between engine versions in ways that mean nothing; readings must not.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.drift import Digester, Reading, read_plan
from driftwatch.errors import PlanUnreadableError
from driftwatch.model import Inputs
from tests.acceptance.aws.conftest import aws_endpoint, aws_mirror  # noqa: F401  (fixtures)
from tests.drift import aws_scenario
from tests.drift.recorder import Recorder
from tests.drift.scenarios import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OFTEN = frozenset(
    {
        "first_apply",
        "delete",
        "nested_set_block",
        "sensitive_value",
        "moved_and_drifted",
        "drift_and_pending",
        "check_failed",
        "follows_deletion",
        "refused_errored",
    }
)
"""Played in every run; the rest with the slow tests."""

_SCENARIOS = [
    pytest.param(name, marks=[] if name in OFTEN else pytest.mark.slow, id=name) for name in SCENARIOS
]
_DEPOSED_KEY = re.compile(r"\(deposed [0-9a-f]{8}\)")


def _comparable(result: Reading) -> Reading:
    """Deposed keys are random, and with them the fingerprint."""
    findings = (
        replace(finding, address=_DEPOSED_KEY.sub("(deposed)", finding.address), fingerprint="")
        if "(deposed" in finding.address
        else finding
        for finding in result.findings
    )
    return replace(result, findings=tuple(findings))


def _read(document: dict[str, Any], digest: Digester) -> Reading | str:
    try:
        return _comparable(read_plan(document, digest=digest, inputs=Inputs(), baseline=None))
    except PlanUnreadableError as error:
        return error.message


@pytest.mark.parametrize("name", _SCENARIOS)
def test_a_scenario_played_again_means_the_same(
    name: str,
    document: Callable[[str], dict[str, Any]],
    digest: Digester,
    terraform_binary: Path,
    sandbox_cli_config: Path,
    tmp_path: Path,
) -> None:
    recorder = Recorder(binary=terraform_binary, cli_config=sandbox_cli_config, root=tmp_path / "it")

    played = recorder.play(SCENARIOS[name])

    for suffix, again in played.items():
        assert _read(again, digest) == _read(document(name + suffix), digest)


@pytest.mark.slow
@pytest.mark.aws
def test_the_aws_scenario_played_again_means_the_same(
    document: Callable[[str], dict[str, Any]],
    digest: Digester,
    terraform_binary: Path,
    aws_mirror: Path,  # noqa: F811  (a fixture)
    aws_endpoint: str,  # noqa: F811  (a fixture)
    tmp_path: Path,
) -> None:
    """Computed values hold ids that are new each time: fingerprints must be equal, which leave them out."""
    config = tmp_path / "terraform.rc"
    config.write_text(
        f'provider_installation {{\n  filesystem_mirror {{\n    path = "{aws_mirror}"\n  }}\n}}\n'
    )
    environment = {"AWS_ENDPOINT_URL": aws_endpoint, "NO_PROXY": "127.0.0.1"}
    recorder = Recorder(
        binary=terraform_binary, cli_config=config, root=tmp_path / "it", environment=environment
    )

    played = aws_scenario.play(recorder, aws_endpoint)

    for name, again in played.items():
        assert _read(again, digest) == _read(document(name), digest)
