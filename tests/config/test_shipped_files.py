"""The configurations that driftwatch ships show every key, load, and fit the schema that it prints."""

from __future__ import annotations

from datetime import timedelta
from importlib.resources import files
from typing import TYPE_CHECKING, Any, get_args

import pytest
from jsonschema import Draft202012Validator

from driftwatch.config.document import read_document
from driftwatch.config.json_schema import schema
from driftwatch.config.loading import LIMITS, load, load_with_warnings
from driftwatch.config.repair import ConditionSettings, OpaSettings
from driftwatch.config.section import BY_REFERENCE, Section
from driftwatch.config.settings import Settings
from driftwatch.config.wording import known_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from driftwatch.config.loading import Loaded
    from driftwatch.config.problems import KeyPath


def value_of(file: Path) -> Any:
    return read_document(file.read_bytes(), LIMITS).value


NEEDS_AN_EXTRA = {"cel"}
"""Keys that the example names in a comment only, so that it loads everywhere."""

SECTION_NEEDS_AN_EXTRA = ConditionSettings
"""All of it is in a comment: it is nothing without its `cel`."""


def all_sections() -> list[type[Section]]:
    """What the configuration is made of; the repository's own file and the shipped rules have others."""
    found: dict[type[Section], None] = {}
    open_ends: list[Any] = [Settings]
    while open_ends:
        kind = open_ends.pop()
        open_ends += get_args(kind)
        if isinstance(kind, type) and issubclass(kind, Section) and kind not in found:
            found[kind] = None
            open_ends += [field.annotation for field in kind.model_fields.values()]
    return list(found)


def test_every_key_is_shown(shipped: Path) -> None:
    """A key that the models know and the example does not show fails this test, at whatever level."""
    shown: dict[tuple[str, ...], set[str]] = {}
    for keys, present in shown_keys(value_of(shipped)):
        shown.setdefault(keys, set()).update(present)
    sections = set(all_sections()) - {SECTION_NEEDS_AN_EXTRA}
    assert set(shown) == {tuple(known_keys(section, ())) for section in sections}
    for keys, present in shown.items():
        assert set(keys) - NEEDS_AN_EXTRA == present


def shown_keys(value: Any, path: KeyPath = ()) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """For every mapping that is a section: the keys that it may have, and those that it has."""
    if isinstance(value, dict):
        known = known_keys(Settings, path)
        if known:
            yield tuple(known), set(value)
        for key, item in value.items():
            yield from shown_keys(item, (*path, key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from shown_keys(item, (*path, place))


def test_what_is_only_in_a_comment_is_right_too(shipped: Path, accepts: Callable[..., Loaded]) -> None:
    """The example of a condition loads as it stands, once its `#` are taken away."""
    pytest.importorskip("cel_expr_python")
    commented = (
        shipped.read_text(encoding="utf-8").split("#   - name: no-databases")[1].split("conditions:")[0]
    )
    lines = [
        "      - name: no-databases",
        *(line.replace("#", " ", 1) for line in commented.splitlines()[1:]),
    ]
    text = "\n".join(["repositories: {p: {url: /srv/p}}", "repair:", "  conditions:", *lines, ""])
    (condition,) = accepts(text).settings.repair.conditions
    assert set(ConditionSettings.model_fields) == {"name", "cel", "says"}
    facts = {"stack": "p/a", "labels": {}, "kind": "revert"}
    database = [{"address": "aws_db_instance.a", "type": "aws_db_instance", "actions": ["update"]}]
    assert not condition.holds({**facts, "automatic": True, "resources": database})
    assert condition.holds({**facts, "automatic": False, "resources": database})
    assert condition.holds({**facts, "automatic": True, "resources": []})


def test_every_key_is_commented(shipped: Path) -> None:
    """Right above it, or above the key before where two belong together."""
    lines = shipped.read_text(encoding="utf-8").splitlines()
    document = read_document(shipped.read_bytes(), LIMITS)
    seen: set[str] = set()
    for path, line in document.lines.items():
        key = path[-1] if path else 0
        if key in seen or key not in known_keys(Settings, path[:-1]):
            continue
        seen.add(str(key))
        above = next(text for text in reversed(lines[: line - 1]) if text.strip())
        together = key in ("to", "kind") or lines[line - 1].lstrip().startswith("- ")
        assert above.lstrip().startswith("#") or together, path


def test_the_example_loads_and_its_defaults_are_the_defaults(
    shipped: Path, shipped_environment: dict[str, str]
) -> None:
    """Where a comment says "Default …", the models agree."""
    loaded = load_with_warnings(shipped, shipped_environment)
    assert loaded.warnings == ()
    settings = loaded.settings
    fresh = Settings(repositories={})
    assert settings.terraform == fresh.terraform
    assert settings.service == fresh.service
    assert settings.rules.noise == fresh.rules.noise
    assert settings.warm == fresh.warm
    assert settings.continuous == fresh.continuous
    assert settings.findings == fresh.findings
    assert settings.repair.model_copy(update={"courses": (), "opa": None}) == fresh.repair
    assert settings.repair.opa == OpaSettings(policy=shipped.parent / OpaSettings().policy)
    assert settings.web == fresh.web
    assert settings.repository_may_set == fresh.repository_may_set
    assert settings.state_dir == shipped.parent / "state"
    platform = settings.repositories["platform"]
    for key in (
        "branch",
        "poll",
        "signatures",
        "username",
        "ssh_key",
        "submodules",
        "max_size_mb",
        "max_files",
        "timeout",
    ):
        assert getattr(platform, key) == type(platform).model_fields[key].default


def test_the_minimal_one_has_five_lines_and_loads(shipped: Path) -> None:
    minimal = shipped.with_name("minimal.yaml")
    assert len(minimal.read_text(encoding="utf-8").splitlines()) == 5
    loaded = load_with_warnings(minimal, {})
    assert loaded.warnings == ()
    (stack,) = loaded.settings.repositories["platform"].stacks
    assert stack.path == "envs/*/*"
    assert stack.schedule.every == timedelta(minutes=15)


@pytest.mark.parametrize("name", ["driftwatch.yaml", "minimal.yaml"])
def test_they_fit_the_schema(shipped: Path, name: str) -> None:
    Draft202012Validator(schema()).validate(value_of(shipped.with_name(name)))


def test_the_starter_fits_too() -> None:
    starter = files("driftwatch.config").joinpath("starter.yaml").read_bytes()
    Draft202012Validator(schema()).validate(read_document(starter, LIMITS).value)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("repositories", "platform", "poll"), "15"),
        (("repositories", "platform", "poll"), 15),
        (("repositories", "platform", "signatures"), "commits"),
        (("repositories", "platform", "token"), "in-clear"),
        (("repositories", "platform", "unknown"), 1),
        (("repositories", "bad name"), {"url": "/x"}),
        (("repositories", "platform", "stacks", 0, "schedule"), "daily"),
        (("repositories", "platform", "stacks", 0, "schedule", "every"), "15 minutes"),
        (("repositories", "platform", "stacks", 0, "engine"), "pulumi"),
        (("terraform", "parallelism"), 0),
        (("repair", "automatic"), "yes"),
        (("repair", "guards", "grace"), 30),
        (("repair", "approvals", "needed"), 0),
        (("repair", "courses", 0, "then"), "destroy"),
        (("repair", "guards", "allow_destory"), True),
        (("notify", "slack", "token"), "xoxb-in-clear"),
        (("windows", 1, "from"), "2026-12-20"),
        (("database",), "mysql://x"),
    ],
)
def test_the_schema_marks_what_loading_refuses(shipped: Path, path: KeyPath, wrong: Any) -> None:
    value = place = value_of(shipped)
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = wrong
    assert not Draft202012Validator(schema()).is_valid(value)


def test_the_word_continuous_fits_the_schema_and_names_no_interval(
    accepts: Callable[..., Loaded], shipped: Path
) -> None:
    value = value_of(shipped)
    value["repositories"]["platform"]["stacks"][0]["schedule"] = "continuous"
    assert Draft202012Validator(schema()).is_valid(value)
    text = "repositories: {p: {url: /srv/p, stacks: [{path: a, schedule: continuous}]}}\n"
    (stack,) = accepts(text).settings.repositories["p"].stacks
    assert stack.schedule.continuous
    assert stack.schedule.every is None
    assert type(stack.schedule).model_validate(stack.schedule.model_dump()) == stack.schedule


@pytest.mark.parametrize("section", all_sections(), ids=lambda section: section.__name__)
def test_every_setting_says_what_it_is_and_why_its_default_is(section: type[Section]) -> None:
    """In the models, so that the schema and editors say it; durations and sizes with their unit."""
    for name, field in section.model_fields.items():
        about = field.description or ""
        assert len(about) > 20, name
        assert ("No default" if field.is_required() else "Default") in about, name
        if "timedelta" in str(field.annotation):
            assert "duration" in about, name
        if name.endswith("_mb"):
            assert "MiB" in about, name


def test_the_secret_keys_are_marked() -> None:
    marked = {
        (section.__name__, name)
        for section in all_sections()
        for name, field in section.model_fields.items()
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get(BY_REFERENCE)
    }
    assert marked == {
        ("RepositorySettings", "token"),
        ("ForgeSettings", "token"),
        ("SlackSettings", "token"),
        ("SlackSettings", "app_token"),
        ("SlackSettings", "signing_secret"),
        ("EmailSettings", "password"),
        ("GithubIssuesSettings", "token"),
        ("GitlabIssuesSettings", "token"),
        ("AppriseSettings", "url"),
        ("WebhookSettings", "secret"),
        ("GithubHookSettings", "secret"),
        ("GitlabHookSettings", "token"),
        ("GitlabHookSettings", "signing_token"),
        ("GenericHookSettings", "secret"),
    }


def test_settings_are_frozen(shipped: Path, shipped_environment: dict[str, str]) -> None:
    settings = load(shipped, shipped_environment)
    with pytest.raises(ValueError, match="frozen"):
        settings.web.listen = "0.0.0.0:1"  # type: ignore[misc]


def test_example_windows_are_understood(shipped: Path, shipped_environment: dict[str, str]) -> None:
    nights, freeze = load(shipped, shipped_environment).windows
    assert (nights.cron, nights.duration, nights.timezone) == (
        "0 22 * * 1-5",
        timedelta(hours=4),
        "Europe/Paris",
    )
    assert nights.stacks == ("platform/envs/*",)
    assert nights.labels == {"tier": "prod"}
    assert freeze.from_
    assert freeze.to
    assert freeze.from_ < freeze.to
    assert freeze.from_.tzinfo is None
