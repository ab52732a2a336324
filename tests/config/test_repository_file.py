"""A repository's own `.driftwatch.yaml` says what it may, and nothing else."""

from __future__ import annotations

import time

import pytest

from driftwatch.config.repository_file import RepositoryFile, apply_repository_file, read_repository_file
from driftwatch.config.settings import StackSettings
from driftwatch.errors import ConfigError

ALL = ("labels", "owners", "schedule")

GOOD = b"""\
stacks:
  - path: "envs/*/network"
    labels: {team: network, tier: test}
    owners: ["@net"]
    schedule: {every: 5m}
  - path: envs/prod/*
    schedule: {cron: "0 6 * * *", timezone: Europe/Paris}
"""


def problems_of(content: bytes, may_set: tuple[str, ...] = ALL) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        read_repository_file(content, may_set)
    return list(refusal.value.problems)


def test_reads_what_a_repository_says() -> None:
    file = read_repository_file(GOOD, ALL)
    assert [entry.path for entry in file.stacks] == ["envs/*/network", "envs/prod/*"]
    assert file.stacks[0].owners == ("@net",)
    assert file.stacks[1].owners is None


@pytest.mark.parametrize("content", [b"", b"# nothing yet\n", b"stacks: []\n"])
def test_one_that_says_nothing_changes_nothing(content: bytes) -> None:
    options = StackSettings(path="**", labels={"a": "b"})
    assert apply_repository_file(options, "x", read_repository_file(content, ALL)) == options
    assert apply_repository_file(options, "x", RepositoryFile()) == options


def test_its_word_is_applied_to_the_stacks_that_match() -> None:
    """Labels are added but never replaced, owners and schedule are replaced, the last entry counts."""
    options = StackSettings(path="envs/**", labels={"tier": "prod"}, owners=("@platform",), engine="tofu")
    merged = apply_repository_file(options, "envs/prod/network", read_repository_file(GOOD, ALL))
    assert merged.labels == {"team": "network", "tier": "prod"}
    assert merged.owners == ("@net",)
    assert merged.schedule.cron == "0 6 * * *"
    assert merged.engine == "tofu"
    assert merged.path == "envs/**"
    assert apply_repository_file(options, "other", read_repository_file(GOOD, ALL)) == options
    assert options.labels == {"tier": "prod"}


@pytest.mark.parametrize("key", ["labels", "owners", "schedule"])
def test_a_key_that_it_may_not_set_is_refused_with_the_setting_that_says_so(key: str) -> None:
    allowed = tuple(name for name in ALL if name != key)
    problems = problems_of(GOOD, allowed)
    assert any(
        f"`{key}` is not for a repository to set; `repository_may_set` allows" in each for each in problems
    )


@pytest.mark.parametrize(
    "key",
    [
        "environment",
        "variables",
        "var_files",
        "backend_config",
        "engine",
        "workspaces",
        "on_drift",
        "identity",
        "depends_on",
    ],
)
def test_what_no_repository_may_set(key: str) -> None:
    """Not even where somebody writes it into `repository_may_set` past the models."""
    content = f"stacks:\n  - path: a\n    {key}: {{}}\n".encode()
    (problem,) = problems_of(content)
    assert problem.startswith(f".driftwatch.yaml:3: stacks[0].{key}: `{key}` is not for a repository to set")
    assert problems_of(content, (*ALL, key))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"stacks: [{path: ../x}]", "must not leave the repository"),
        (b"stacks: [{path: /etc}]", "must be relative"),
        (b"stacks: [{}]", "stacks[0].path: is required and missing"),
        (b"stacks: [{path: a, pathh: b}]", "did you mean `path`"),
        (b"terraform: {binary: /tmp/x}", "terraform: is no known key"),
        (b"stacks: [{path: a, schedule: {every: 1s}}]", "must not be more often than every 1m"),
        (
            b"stacks: [{path: a, labels: {a: '${env:AWS_SECRET_ACCESS_KEY}'}}]",
            "holds a reference to a secret",
        ),
        (b"stacks: [{path: a, owners: ['${file:/etc/shadow}']}]", "holds a reference to a secret"),
        (b"stacks: [{path: a, owners: ['$${env:X}']}]", "holds a reference to a secret"),
        (
            b"stacks: [{path: a, owners: ['\\u202e']}]".replace(b"'\\u202e'", b'"\\u202e"'),
            "invisible characters",
        ),
        (b"stacks: [{path: a, path: b}]", "is a second time here"),
        (b"- a", "must be a mapping"),
        (b"stacks: &a [*a]", "names an anchor"),
        (b"a: !!python/object/apply:os.system ['true']", "tags are refused"),
        (b"#" * 70_000, "larger than 64 KiB"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_bad_ones_are_refused_with_a_line(content: bytes, says: str) -> None:
    problems = problems_of(content)
    assert says in "\n".join(problems)
    assert all(problem.startswith(".driftwatch.yaml:1: ") for problem in problems)


def test_a_reference_is_not_resolved_or_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "canary-value")
    problems = problems_of(b"stacks: [{path: '${env:CANARY}', labels: {'${env:CANARY}': x}}]")
    assert "canary-value" not in "\n".join(problems)


def test_the_worst_that_fits_is_answered_soon() -> None:
    """A repository is read on every commit: thousands of problems must not cost a worker its time."""
    entry = "- {path: a, schedule: {cron: '0 0 31 2 *', timezone: America/X}, zonk: 1}\n"
    content = ("stacks:\n" + entry * 450).encode()
    started = time.perf_counter()
    problems = problems_of(content)
    assert time.perf_counter() - started < 5
    assert len(problems) == 201
    assert problems[-1].startswith(".driftwatch.yaml: and ")
