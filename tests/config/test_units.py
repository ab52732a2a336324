"""What a stack's entry may say of units of terragrunt, which are planned and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from driftwatch.config.settings import StackSettings


def test_units_may_be_asked_for() -> None:
    given: dict[str, Any] = {
        "path": "live/**",
        "engine": "terragrunt",
        "on_drift": "notify",
        "workspaces": ["default"],
    }
    assert StackSettings.model_validate(given).engine == "terragrunt"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"on_drift": "apply"}, "never applied"),
        ({"on_drift": "propose"}, "never applied"),
        ({"on_drift": "adopt"}, "never applied"),
        ({"on_commit": "apply"}, "never applied"),
        ({"workspaces": ["prod"]}, "has none"),
        ({"backend_config": {"bucket": "b"}}, "remote_state"),
    ],
)
def test_what_units_do_not_have_is_refused_when_the_configuration_is_read(
    given: dict[str, Any], why: str
) -> None:
    """And is nothing to be said of other stacks."""
    with pytest.raises(ValidationError, match=why):
        StackSettings.model_validate({"path": "live/**", "engine": "terragrunt", **given})
    assert StackSettings.model_validate({"path": "live/**", "engine": "terraform", **given}).path == "live/**"
