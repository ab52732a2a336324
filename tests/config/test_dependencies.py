"""A circle of dependencies is refused where the configuration alone shows it, with the circle named."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from driftwatch.config.settings import Settings


def configured(**stacks: list[dict[str, Any]]) -> Settings:
    """A configuration with these entries under `stacks`, by repository."""
    repositories = {
        name: {"url": "https://git.example.com/x.git", "stacks": its} for name, its in stacks.items()
    }
    return Settings.model_validate({"repositories": repositories})


def entry(path: str, *depends_on: str, **more: Any) -> dict[str, Any]:
    return {"path": path, "depends_on": list(depends_on), **more}


def test_a_circle_among_ids_is_refused_and_named_at_its_place() -> None:
    with pytest.raises(ValidationError) as refused:
        configured(
            platform=[entry("net", "apps/web"), entry("./dns/", "platform/net")],
            apps=[entry("x"), entry("web", "platform/dns")],
        )
    (problem,) = refused.value.errors()
    assert problem["msg"] == "goes in a circle: apps/web → platform/dns → platform/net → apps/web"
    assert problem["loc"] == ("repositories", "apps", "stacks", 1, "depends_on")


def test_a_circle_among_workspaces_is_one_too() -> None:
    with pytest.raises(ValidationError, match="p/a@blue → p/b → p/a@blue"):
        configured(p=[entry("a", "p/b", workspaces=["blue"]), entry("b", "p/a@blue")])


@pytest.mark.parametrize(
    "stacks",
    [
        [entry("a", "p/a")],
        [entry("a", "p/*"), entry("b", "p/*")],
        [entry("*", "p/a"), entry("a", "p/b")],
        [entry("a", "p/b", workspaces=["blue"]), entry("b", "p/a")],
        [entry("a", "p/b"), entry("b", "p/c"), entry("c", "q/a")],
        [entry("a", "p/b", workspaces=["blue", "green"]), entry("b")],
    ],
)
def test_what_is_no_circle_for_certain_is_left_to_be_seen_in_the_code(stacks: list[dict[str, Any]]) -> None:
    assert configured(p=stacks).repositories["p"].stacks


def test_a_chain_of_a_thousand_is_none() -> None:
    settings = configured(p=[entry("s0"), *(entry(f"s{n}", f"p/s{n - 1}") for n in range(1, 1000))])
    assert len(settings.repositories["p"].stacks) == 1000


@pytest.mark.parametrize("odd", [None, 3, "x", [3], {"p": 3}, {"p": {"stacks": [3, {"path": 3}]}}])
def test_what_is_no_configuration_is_refused_for_that(odd: object) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"repositories": odd})
