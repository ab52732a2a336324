"""What is said in a pull request is somebody's by their login on that host, and by nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from driftwatch.cli.previews import context_of
from driftwatch.config.logins import forge_host
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
    anna = people.on_forge("github", "anna-eXample", "github.com")
    assert anna is not None
    assert anna.name == "anna"
    assert people.on_forge("gitlab", "ANNA.E", "gitlab.com") == anna
    assert people.on_forge("github", "anna.e", "github.com") is None
    assert (bob := people.on_forge("gitlab", "Anna-Example", "gitlab.com"))
    assert bob.name == "bob"
    for other in ("anna", "", "@anna-example", "anna-example "):
        assert people.on_forge("github", other, "github.com") is None


def test_a_login_stands_for_one_person_whatever_its_case() -> None:
    users = {"anna": {"github": ["octo"]}, "bob": {"github": ["OCTO"]}, "carol": {"gitlab": ["octo"]}}
    with pytest.raises(ValidationError, match="is the login of 'anna' too") as refused:
        Settings.model_validate({"repositories": REPOSITORIES, "users": users})
    assert [each["loc"] for each in refused.value.errors()] == [("users", "bob", "github", 0)]


@pytest.mark.parametrize(
    "login",
    [
        "@octo",
        "",
        "o cto",
        "octo\n",
        "-octo",
        "o<b>",
        "octo[bot]x",
        "/octo",
        "a/b/octo",
        "https://github.com/octo",
        "a.example/",
    ],
)
def test_what_is_no_login_is_refused(login: str) -> None:
    with pytest.raises(ValidationError, match="must be a login"):
        PersonSettings.model_validate({"github": [login]})


def test_a_robot_has_a_login_too() -> None:
    assert PersonSettings.model_validate({"github": ["renovate[bot]"]}).github == ("renovate[bot]",)


def on(kind: str = "github", api_url: str | None = None, project: str = "acme/x") -> dict[str, Any]:
    forge = {"kind": kind, "project": project, "token": "long-enough-token", "api_url": api_url}
    return {"url": "https://git.example.com/x.git", "forge": forge}


OURS = "https://ghe.example.com/api/v3"


def test_a_login_with_a_host_stands_for_somebody_there_alone() -> None:
    people = People.compile(
        {
            "anna": PersonSettings(github=("GitHub.com/octo", "plain")),
            "bob": PersonSettings(github=("ghe.example.com:8443/Octo",)),
        }
    )
    found = {
        host: getattr(people.on_forge("github", "OCTO", host), "name", None)
        for host in ("github.com", "ghe.example.com:8443", "ghe.example.com", "evil.example.com", "")
    }
    assert found == {
        "github.com": "anna",
        "ghe.example.com:8443": "bob",
        "ghe.example.com": None,
        "evil.example.com": None,
        "": None,
    }
    assert people.on_forge("gitlab", "octo", "github.com") is None
    assert people.on_forge("github", "github.com/octo", "evil.example.com") is None


def test_a_login_without_a_host_is_refused_where_repositories_are_on_several() -> None:
    """Whoever takes the same name on the other one would have the same rights."""
    users = {"anna": {"github": ["octo"], "gitlab": ["octo"]}}
    repositories = {"a": on(), "b": on(api_url=OURS), "c": on("gitlab"), "d": REPOSITORIES["platform"]}
    with pytest.raises(ValidationError, match=r"on ghe\.example\.com and github\.com") as refused:
        Settings.model_validate({"repositories": repositories, "users": users})
    assert [each["loc"] for each in refused.value.errors()] == [("users", "anna", "github", 0)]
    users = {"anna": {"github": ["github.com/octo", "ghe.example.com/octo"], "gitlab": ["octo"]}}
    assert Settings.model_validate({"repositories": repositories, "users": users}).users["anna"]


def test_on_one_host_a_login_needs_none_whichever_it_is() -> None:
    repositories = {"a": on(api_url=OURS), "b": on(api_url=OURS)}
    settings = Settings.model_validate(
        {"repositories": repositories, "users": {"anna": {"github": ["octo"]}}}
    )
    people = People.compile(settings.users)
    assert people.on_forge("github", "octo", settings.repositories["a"].forge.host) is not None  # type: ignore[union-attr]


def test_a_login_is_one_persons_also_where_only_one_names_the_host() -> None:
    users = {"anna": {"github": ["octo"]}, "bob": {"github": ["GHE.example.com/octo"]}}
    with pytest.raises(ValidationError, match="is the login of 'anna' too"):
        Settings.model_validate({"repositories": {"a": on(api_url=OURS)}, "users": users})
    assert Settings.model_validate({"repositories": {"a": on()}, "users": users}).users


@pytest.mark.parametrize(
    ("kind", "api_url", "host"),
    [
        ("github", None, "github.com"),
        ("github", "https://api.github.com", "github.com"),
        ("github", "https://api.acme.ghe.com", "acme.ghe.com"),
        ("github", "https://GHE.example.com:8443/api/v3", "ghe.example.com:8443"),
        ("github", "https://api.example.com", "api.example.com"),
        ("github", "https://ghe.example.com:443/api/v3", "ghe.example.com"),
        ("gitlab", None, "gitlab.com"),
        ("gitlab", "https://git.example.com/api/v4", "git.example.com"),
    ],
)
def test_the_host_is_where_people_have_their_accounts(kind: str, api_url: str | None, host: str) -> None:
    assert forge_host(kind, api_url) == host


def test_repositories_of_one_project_have_a_status_each() -> None:
    """They share commits: else the one would say that all is well of what the other has not planned."""
    repositories = {
        "alone": on(project="acme/alone"),
        "elsewhere": on(api_url=OURS),
        "main": on(),
        "release": on(project="Acme/X") | {"branch": "release"},
        "nowhere": REPOSITORIES["platform"],
    }
    found = Settings.model_validate({"repositories": repositories}).repositories
    assert {name: context_of(name, found) for name in found} == {
        "alone": "driftwatch",
        "elsewhere": "driftwatch",
        "main": "driftwatch/main",
        "release": "driftwatch/release",
        "nowhere": "driftwatch",
    }
