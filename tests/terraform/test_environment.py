"""What terraform gets to see of the machine it runs on."""

from __future__ import annotations

from pathlib import Path

import pytest

from driftwatch.log import redact
from driftwatch.terraform.environment import (
    cli_configuration,
    for_daemon,
    for_person,
    register_inputs,
)

OWN = {
    "PATH": "/usr/bin",
    "HOME": "/root",
    "AWS_CA_BUNDLE": "/etc/ca.pem",
    "SLACK_BOT_TOKEN": "xoxb-daemon",
    "TF_CLI_ARGS_plan": "-destroy",
    "TF_LOG": "trace",
    "TF_VAR_region": "eu-west-1",
    "SSL_CERT_FILE": "/etc/ssl/certs.pem",
}
PLACES = {"home": Path("/scratch/home"), "tmp": Path("/scratch"), "cli": Path("/scratch/terraform.rc")}


def test_a_daemon_hands_on_nothing_of_its_own() -> None:
    assert for_daemon(OWN, (), {}, **PLACES) == {
        "PATH": "/usr/bin",
        "HOME": "/scratch/home",
        "TMPDIR": "/scratch",
        "LANG": "C.UTF-8",
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
        "CHECKPOINT_DISABLE": "1",
        "TF_CLI_CONFIG_FILE": "/scratch/terraform.rc",
    }


def test_what_the_settings_name_is_inherited_and_a_stacks_own_comes_first() -> None:
    found = for_daemon(OWN, ("SSL_CERT_FILE", "TF_VAR_region", "ABSENT"), {"TF_VAR_region": "us-1"}, **PLACES)
    assert found["SSL_CERT_FILE"] == "/etc/ssl/certs.pem"
    assert found["TF_VAR_region"] == "us-1"
    assert "ABSENT" not in found


@pytest.mark.parametrize("name", ["TF_CLI_ARGS", "TF_CLI_ARGS_plan", "TF_REATTACH_PROVIDERS", "TF_DATA_DIR"])
def test_what_would_turn_a_plan_into_another_is_never_handed_on(name: str) -> None:
    assert name not in for_daemon({**OWN, name: "x"}, (name,), {name: "x"}, **PLACES)


def test_a_person_keeps_their_environment() -> None:
    mine = {
        "HOME": "/home/me",
        "AWS_PROFILE": "prod",
        "TF_VAR_x": "1",
        "TF_CLI_CONFIG_FILE": "~/.rc",
        "TF_WORKSPACE": "w",
    }
    found = for_person(mine, {"EXTRA": "1"})
    assert found.items() >= {**mine, "EXTRA": "1"}.items()
    assert found["TF_INPUT"] == "0"


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("TF_CLI_ARGS_plan", "-destroy", None),
        (
            "TF_CLI_ARGS_plan",
            "-var-file=prod.tfvars -destroy -var 'a=b c' -target=x",
            "-var-file=prod.tfvars -var 'a=b c'",
        ),
        ("TF_CLI_ARGS_plan", "--var=a=b -refresh=false", "--var=a=b"),
        ("TF_CLI_ARGS_plan", "-var", "-var"),
        ("TF_CLI_ARGS_plan", "'unclosed", None),
        ("TF_CLI_ARGS_init", "-upgrade -backend-config=prod.hcl", "-backend-config=prod.hcl"),
        ("TF_CLI_ARGS", "-var a=b", None),
        ("TF_LOG", "trace", None),
    ],
)
def test_of_a_persons_arguments_those_stay_that_say_what_is_planned(
    name: str, given: str, kept: str | None
) -> None:
    assert for_person({name: given}, {}).get(name) == kept


def test_a_persons_log_file_is_theirs_to_ask_for() -> None:
    assert for_person({"TF_LOG": "trace", "TF_LOG_PATH": "log"}, {})["TF_LOG"] == "trace"


def test_what_a_stack_is_given_becomes_unprintable_unless_it_is_plainly_no_secret(tmp_path: Path) -> None:
    stack = {"DB": "canary-database-url", "AWS_REGION": "eu-west-77", "SANDBOX_CLOUD": str(tmp_path)}
    for_daemon({}, (), stack, **PLACES)
    register_inputs(
        {"password": "canary-backend", "bucket": "plain-bucket-name"},
        {"db_password": "canary-variable", "size": 3, "name": "plain-variable"},
    )
    for_person({"GITHUB_TOKEN": "canary-of-a-person", "EDITOR": "plain-editor"}, {})
    text = f"canary-database-url eu-west-77 {tmp_path} canary-backend plain-bucket-name"
    assert redact(text) == f"[redacted] eu-west-77 {tmp_path} [redacted] plain-bucket-name"
    assert redact("canary-of-a-person plain-editor") == "[redacted] plain-editor"
    assert redact("canary-variable plain-variable") == "[redacted] plain-variable"


def test_without_mirrors_providers_come_from_their_registries_and_nothing_is_implied() -> None:
    assert cli_configuration(()) == "disable_checkpoint = true\nprovider_installation {\n  direct {}\n}\n"


def test_mirrors_are_all_there_is() -> None:
    text = cli_configuration(("/srv/${x} mirror", "https://mirror.example.com/providers"))
    assert 'path = "/srv/$${x} mirror"' in text
    assert 'url = "https://mirror.example.com/providers/"' in text
    assert "direct" not in text
