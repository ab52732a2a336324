"""Secrets come only by reference, and nothing that is said about a file repeats one."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from driftwatch.config.document import read_document
from driftwatch.config.loading import LIMITS, examine, load, texts_of
from driftwatch.config.references import password_in_clear
from driftwatch.config.settings import Settings
from driftwatch.log import redact

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from driftwatch.config.loading import Loaded

BASE = "repositories:\n  p:\n    url: https://git.example.com/p.git\n"
TOKEN = BASE + "    token: ${%s}\n"


def token_of(loaded: Loaded) -> str:
    token = loaded.settings.repositories["p"].token
    assert isinstance(token, SecretStr)
    return token.get_secret_value()


def test_from_the_environment_that_is_passed_in(
    accepts: Callable[..., Loaded], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process's own environment is not read."""
    monkeypatch.setenv("GIT_TOKEN", "not-this-one")
    assert token_of(accepts(TOKEN % "env:GIT_TOKEN", {"GIT_TOKEN": "from-the-mapping"})) == "from-the-mapping"


def test_from_a_file_beside_the_configuration(accepts: Callable[..., Loaded], tmp_path: Path) -> None:
    secret = tmp_path / "secrets" / "token"
    secret.parent.mkdir()
    secret.write_text("from-a-file\n", encoding="utf-8")
    secret.chmod(0o600)
    loaded = accepts(TOKEN % "file:secrets/token")
    assert token_of(loaded) == "from-a-file"
    assert loaded.warnings == ()


def test_from_a_file_below_home(accepts: Callable[..., Loaded], tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("from-home", encoding="utf-8")
    secret.chmod(0o600)
    assert token_of(accepts(TOKEN % "file:~/token", {"HOME": str(tmp_path)})) == "from-home"


def test_a_file_that_everybody_may_read_is_warned_of(accepts: Callable[..., Loaded], tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("for-all-to-see", encoding="utf-8")
    secret.chmod(0o644)
    (warning,) = accepts(TOKEN % "file:token").warnings
    assert "driftwatch.yaml:4: repositories.p.token: refers to ${file:token}, which every user" in warning
    assert "for-all-to-see" not in warning


def test_in_any_text_and_in_pieces(accepts: Callable[..., Loaded]) -> None:
    text = (
        BASE
        + "    stacks: [{path: a, environment: {X: 'a-${env:A}-${env:B}'},\n"
        + "      variables: {l: [{x: '${env:A}'}], p: '$${x}'}}]\n"
    )
    (stack,) = accepts(text, {"A": "one", "B": "two"}).settings.repositories["p"].stacks
    assert stack.environment["X"].get_secret_value() == "a-one-two"
    assert stack.variables == {"l": [{"x": "one"}], "p": "${x}"}


def test_what_a_reference_gives_is_not_looked_through_again(accepts: Callable[..., Loaded]) -> None:
    """A secret that looks like a reference is not one."""
    assert token_of(accepts(TOKEN % "env:A", {"A": "${env:B}", "B": "x"})) == "${env:B}"


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("env:NOPE", "refers to ${env:NOPE}, which is not set"),
        ("env:EMPTY", "refers to ${env:EMPTY}, which is empty"),
        ("env:a b", "is no variable's name"),
        ("env:", "is no variable's name"),
        ("file:nope", "refers to ${file:nope}, which cannot be read: No such file"),
        ("file:", "cannot be read"),
        ("file:directory", "which cannot be read: Is a directory"),
        ("file:binary", "which is not UTF-8 text"),
        ("file:blank", "which is empty"),
        ("file:nul", "empty or holds a NUL"),
        ("file:large", "which is larger than 64 KiB"),
        ("file:~/x", "and the environment has no HOME"),
        ("file:~root/x", "another user's"),
        ("vault:secret/x", "is no ${env:NAME} or ${file:PATH}"),
        ("ENV:A", "is no ${env:NAME} or ${file:PATH}"),
        ("NAME", "is no ${env:NAME} or ${file:PATH}"),
    ],
)
def test_a_reference_that_gives_nothing_names_key_and_line(
    refuses: Callable[..., list[str]], tmp_path: Path, reference: str, says: str
) -> None:
    (tmp_path / "directory").mkdir()
    for name, content in {
        "binary": b"\xff\xfe",
        "blank": b" \n",
        "nul": b"a\0b",
        "large": b"x" * 70_000,
    }.items():
        (tmp_path / name).write_bytes(content)
    problems = refuses(TOKEN % reference, {"EMPTY": ""})
    assert problems[0].startswith("driftwatch.yaml:4: repositories.p.token: ")
    assert says in problems[0]


def test_all_that_do_not_resolve_are_told_with_the_other_problems(refuses: Callable[..., list[str]]) -> None:
    text = (
        BASE
        + "    token: ${env:A}\n    poll: ${env:B}\n    branch: -x\nnotify: {slack: {token: '${env:C}'}}\n"
    )
    assert [problem.split(": ", 2)[1] for problem in refuses(text)] == [
        "repositories.p.token",
        "repositories.p.poll",
        "repositories.p.branch",
        "notify.slack.channel",
        "notify.slack.token",
    ]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (BASE + "    token: canary-in-clear\n", "repositories.p.token"),
        (BASE + "    token: a-${env:A}\n", "repositories.p.token"),
        (BASE + "    token: $${env:A}\n", "repositories.p.token"),
        (BASE + "notify: {slack: {channel: c, token: canary-in-clear}}\n", "notify.slack.token"),
        (
            BASE + "notify: {webhooks: [{name: a, url: 'https://x', secret: canary-in-clear}]}\n",
            "notify.webhooks[0].secret",
        ),
    ],
)
def test_a_secret_in_clear_is_refused(refuses: Callable[..., list[str]], text: str, key: str) -> None:
    (problem,) = refuses(text, {"A": "canary-in-clear"})
    assert f"{key}: must be ${{env:NAME}} or ${{file:PATH}}" in problem
    assert "canary" not in problem


@pytest.mark.parametrize(
    ("url", "clear"),
    [
        ("postgresql://host/db", False),
        ("postgresql://user@host/db", False),
        ("postgresql://user:${env:PW}@host/db", False),
        ("postgresql://${env:U}:${file:x/y}@host:5432/db?sslmode=require", False),
        ("${env:DATABASE_URL}", False),
        ("postgresql://host:5432/db?password=${env:PW}", False),
        ("postgresql://user:canary@host/db", True),
        ("postgresql://user:x${env:PW}@host/db", True),
        ("postgresql://user:can/ary@host/db", True),
        ("postgresql://host/db?user=x&password=canary", True),
    ],
)
def test_a_database_password_comes_by_reference(url: str, clear: bool) -> None:
    assert password_in_clear(url) is clear


def test_a_database_url_is_put_together_and_its_password_made_unprintable(
    accepts: Callable[..., Loaded],
) -> None:
    loaded = accepts(BASE + "database: postgresql://u:${env:PW}@h/db\n", {"PW": "p%40ss-canary"})
    assert loaded.settings.database
    assert loaded.settings.database.get_secret_value() == "postgresql://u:p%40ss-canary@h/db"
    assert redact("password p@ss-canary, raw p%40ss-canary") == "password [redacted], raw [redacted]"


def test_a_database_password_in_clear_is_refused(refuses: Callable[..., list[str]]) -> None:
    (problem,) = refuses(BASE + "database: postgresql://u:canary@h/db\n")
    assert "database: holds a password" in problem
    assert "canary" not in problem


def test_every_resolved_secret_is_unprintable(accepts: Callable[..., Loaded]) -> None:
    """Also line by line: a private key reaches logs in pieces."""
    key = "-----BEGIN KEY-----\nline-of-the-canary-key\n-----END KEY-----"
    accepts(TOKEN % "env:KEY", {"KEY": key})
    assert redact(f"a {key} b") == "a [redacted] b"
    assert "canary" not in redact("error near line-of-the-canary-key")


def test_settings_do_not_print_secrets(shipped: Path, shipped_environment: dict[str, str]) -> None:
    settings = load(shipped, shipped_environment)
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert not any(secret in text for secret in shipped_environment.values())


NASTY = [
    "canary'\"quoted\\",
    "-canary",
    "canary\nof two lines",
    "15canary",
    "../canary",
    "https://u:canary@h/x",
    "${canary",
    "canary\x07",
]


@pytest.mark.parametrize("canary", NASTY)
def test_no_problem_ever_repeats_a_secret(
    shipped: Path, shipped_environment: dict[str, str], tmp_path: Path, canary: str
) -> None:
    """A reference in each place that takes a text, in turn: it loads, or what is said does not hold it."""
    value: Any = read_document(shipped.read_bytes(), LIMITS).value
    file = tmp_path / "driftwatch.yaml"
    refused = 0
    for path, _ in texts_of(value):
        changed = copy.deepcopy(value)
        place = changed
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = "${env:CANARY}"
        file.write_text(json.dumps(changed), encoding="utf-8")
        examined = examine(file, {**shipped_environment, "CANARY": canary})
        said = [problem.render(str(file)) for problem in (*examined.problems, *examined.warnings)]
        assert "canary" not in "\n".join(said)
        refused += bool(examined.problems)
    assert refused > 15


def test_pydantic_keeps_inputs_out_of_its_texts() -> None:
    """Also where settings are made in Python and an error is printed by somebody else."""
    with pytest.raises(ValueError, match="validation error") as refusal:
        Settings.model_validate({"repositories": {"p": {"url": "/x", "token": ["canary"], "poll": "canary"}}})
    assert "canary" not in str(refusal.value)


def test_paths_are_made_absolute_beside_the_file(accepts: Callable[..., Loaded], tmp_path: Path) -> None:
    text = (
        "repositories: {p: {url: 'git@h:x', ssh_key: ~/.ssh/key, ssh_known_hosts: hosts}}\n"
        "terraform: {cli_config: /etc/x.rc, binary: bin/tofu, provider_mirrors: [mirror, 'https://m.example.com/p/']}\n"
    )
    settings = accepts(text, {"HOME": "/people/dw"}).settings
    assert settings.state_dir == tmp_path / "state"
    assert str(settings.repositories["p"].ssh_key) == "/people/dw/.ssh/key"
    assert settings.repositories["p"].ssh_known_hosts == tmp_path / "hosts"
    assert str(settings.terraform.cli_config) == "/etc/x.rc"
    assert settings.terraform.binary == str(tmp_path / "bin/tofu")
    assert settings.terraform.provider_mirrors == (str(tmp_path / "mirror"), "https://m.example.com/p/")


def test_a_name_on_the_path_is_no_path(accepts: Callable[..., Loaded]) -> None:
    assert accepts(BASE + "terraform: {binary: tofu}\n").settings.terraform.binary == "tofu"
