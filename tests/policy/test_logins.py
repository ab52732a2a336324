"""What is said in a pull request is somebody's by their login there, and by nothing else."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from driftwatch.config.settings import PersonSettings, Settings
from driftwatch.policy.rights import People

REPOSITORIES = {"platform": {"url": "https://git.example.com/x.git"}}


def test_people_are_known_by_their_logins_without_case_and_on_that_forge_alone() -> None:
    people = People.compile(
        {
            "anna": PersonSettings(github=("Anna-Example",), gitlab=("anna.e",)),
            "bob": PersonSettings(gitlab=("anna-example",)),
        }
    )
    anna = people.on_forge("github", "anna-eXample")
    assert anna is not None
    assert anna.name == "anna"
    assert people.on_forge("gitlab", "ANNA.E") == anna
    assert people.on_forge("github", "anna.e") is None
    assert (bob := people.on_forge("gitlab", "Anna-Example"))
    assert bob.name == "bob"
    for other in ("anna", "", "@anna-example", "anna-example "):
        assert people.on_forge("github", other) is None


def test_a_login_stands_for_one_person_whatever_its_case() -> None:
    users = {"anna": {"github": ["octo"]}, "bob": {"github": ["OCTO"]}, "carol": {"gitlab": ["octo"]}}
    with pytest.raises(ValidationError, match="is the login of 'anna' too") as refused:
        Settings.model_validate({"repositories": REPOSITORIES, "users": users})
    assert [each["loc"] for each in refused.value.errors()] == [("users", "bob", "github", 0)]


@pytest.mark.parametrize("login", ["@octo", "", "o cto", "octo\n", "-octo", "o<b>", "octo[bot]x"])
def test_what_is_no_login_is_refused(login: str) -> None:
    with pytest.raises(ValidationError, match="must be a login"):
        PersonSettings.model_validate({"github": [login]})


def test_a_robot_has_a_login_too() -> None:
    assert PersonSettings.model_validate({"github": ["renovate[bot]"]}).github == ("renovate[bot]",)
