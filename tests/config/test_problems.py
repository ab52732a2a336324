"""Every problem of a file is told at once, with its line, its key and a sentence that helps."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftwatch.config.document import read_document
from driftwatch.config.loading import LIMITS, examine, load, load_with_warnings
from driftwatch.config.settings import Settings
from driftwatch.config.wording import known_keys
from driftwatch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from driftwatch.config.loading import Loaded
    from driftwatch.config.problems import KeyPath

SHIPPED = Path(__file__).parents[2] / "config" / "driftwatch.yaml"

BASE = "repositories:\n  p:\n    url: /srv/p\n"

EVERYTHING_WRONG = """\
state_dir: ~/x
database: mysql://u@h/db
repositories:
  platform:
    urll: x
    url: ext::sh
    branch: --upload-pack=x
    poll: 15
    signatures: head
    signatures: off
    stacks:
      - path: ../x
        engine: tofuu
        schedule: {every: 5x, cron: "0 0 31 2 *", timezone: Europe/Pariss}
        environment: {1: x, A: 3, TF_DATA_DIR: x}
        identity: {aws_account: 12}
        workspaces: []
  "bad name": {}
terraform: {parallelism: true, plan_timeout: -5m, max_plan_mb: 1.5, init_timeout: 0s}
notify:
  slack:
    channel: #infra-drift
windows:
  - {name: x, kind: maybe, from: "2026-01-02T00:00:00", to: "2026-01-01T00:00:00"}
"""

ALL_OF_IT = [
    "1: state_dir: starts with `~`, and the environment has no HOME",
    "2: database: must be a postgresql:// URL",
    "5: repositories.platform.urll: is no known key; did you mean `url`?",
    "6: repositories.platform.url: names a remote helper",
    "7: repositories.platform.branch: must not start with a dash",
    "8: repositories.platform.poll: must be a duration with its unit",
    "9: repositories.platform.signatures: needs `signers`",
    "10: repositories.platform.signatures: is a second time here; the first is in line 9",
    "12: repositories.platform.stacks[0].path: must not leave the repository",
    "13: repositories.platform.stacks[0].engine: must be one of 'auto', 'terraform', 'tofu'",
    "14: repositories.platform.stacks[0].schedule: must hold exactly one of",
    "14: repositories.platform.stacks[0].schedule.cron: never happens",
    "14: repositories.platform.stacks[0].schedule.every: must be a duration",
    "14: repositories.platform.stacks[0].schedule.timezone: is no IANA time zone; did you mean Europe/Paris?",
    "15: repositories.platform.stacks[0].environment: holds a key that is not text",
    "15: repositories.platform.stacks[0].environment.A: must be text; put numbers",
    "15: repositories.platform.stacks[0].environment.TF_DATA_DIR: is set by driftwatch itself",
    "16: repositories.platform.stacks[0].identity.aws_account: must be the 12 digits",
    "17: repositories.platform.stacks[0].workspaces: must have at least one item",
    "18: repositories.bad name: is no repository name",
    "18: repositories.bad name.url: is required and missing",
    "19: terraform.init_timeout: must be longer than zero",
    "19: terraform.max_plan_mb: must be a whole number",
    "19: terraform.parallelism: must be a whole number",
    "19: terraform.plan_timeout: must be a duration with its unit",
    "21: notify.slack.token: is required and missing",
    "22: notify.slack.channel: has no value (a `#` that is not in quotes starts a comment)",
    "24: windows[0].kind: must be one of 'allow', 'deny'",
    "24: windows[0].to: must be later than `from`",
]


def test_all_problems_at_once_sorted_by_line(refuses: Callable[..., list[str]]) -> None:
    problems = refuses(EVERYTHING_WRONG)
    for problem, expected in zip(problems, ALL_OF_IT, strict=True):
        assert problem.startswith(f"driftwatch.yaml:{expected}")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "1: is empty; `driftwatch config init`"),
        ("# only a comment\n", "1: is empty"),
        ("- a\n", "1: must be a mapping"),
        ("just text", "1: must be a mapping"),
        ("state_dir: x\n", "1: repositories: is required and missing"),
        ("repositories:\n", "1: repositories: has no value"),
        ("repositories: []\n", "1: repositories: must be a mapping"),
        ("a: b: c", "1: is not YAML"),
        (BASE + "    stacks: {path: x}\n", "4: repositories.p.stacks: must be a list"),
        (
            BASE + "    stacks: [{path: a, owners: me}]\n",
            "4: repositories.p.stacks[0].owners: must be a list",
        ),
        (
            BASE + "    stacks: [{path: a}, {path: a}]\n",
            "4: repositories.p.stacks[1].path: is the path of an earlier",
        ),
        (
            BASE + "    stacks: [{path: a, schedule: {}}]\n",
            "4: repositories.p.stacks[0].schedule: must hold exactly one",
        ),
        (
            BASE + "    stacks: [{path: a, schedule: daily}]\n",
            "4: repositories.p.stacks[0].schedule: must be a mapping",
        ),
        (BASE + "    stacks: [{path: a, schedule: {every: 200ms}}]\n", "schedule.every: must be at least 1s"),
        (
            BASE + "    stacks: [{path: a, schedule: {continuous: true, every: 5m}}]\n",
            "4: repositories.p.stacks[0].schedule: must hold exactly one of `every` and `cron`",
        ),
        (
            BASE + "    stacks: [{path: a, schedule: {continuous: true, timezone: Europe/Paris}}]\n",
            "schedule.timezone: has a meaning only with `cron`",
        ),
        (
            BASE + "    stacks: [{path: a, schedule: {every: 5m, timezone: Europe/Paris}}]\n",
            "schedule.timezone: has a meaning only with `cron`",
        ),
        (BASE + "    submodules: maybe\n", "4: repositories.p.submodules: must be true or false"),
        (BASE + "    max_files: 0\n", "4: repositories.p.max_files: must be at least 1"),
        (BASE + "  P: {url: /srv/q}\n", "4: repositories.P: differs from another name only in case"),
        (BASE + "terraform: {parallelism: 1000}\n", "4: terraform.parallelism: must be at most 256"),
        (BASE + "terraform: {provider_mirrors: ['http://x/y']}\n", "must be a directory or an https:// URL"),
        (BASE + "terraform: {inherit_environment: [A, A]}\n", "names one of its items twice"),
        (
            BASE + "repository_may_set: [environment]\n",
            "repository_may_set[0]: must be one of 'labels', 'owners'",
        ),
        (
            BASE + "windows: [{name: a, kind: deny}]\n",
            "windows[0]: must have either `cron` and `duration`, or",
        ),
        (
            BASE + "windows: [{name: a, kind: deny, cron: '0 0 30 2 *', duration: 1h, timezone: Mars/X}]\n",
            "windows[0].cron: never happens",
        ),
        (
            BASE + "windows: [{name: a, kind: deny, from: 2026-01-01, to: 5}]\n",
            "from: must be a local date and time",
        ),
        (BASE + "notify: {slack: null}\nweb: {listen: '8080'}\n", "5: web.listen: must be HOST:PORT"),
    ],
)
def test_each_problem_has_its_line_key_and_sentence(
    refuses: Callable[..., list[str]], text: str, says: str
) -> None:
    problems = refuses(text)
    assert any(says in problem for problem in problems), problems


def test_windows_and_webhooks_have_names_of_their_own(refuses: Callable[..., list[str]]) -> None:
    hook = "{name: h, url: 'https://x', secret: '${env:S}'}"
    window = "{name: w, kind: deny, cron: '0 0 * * *', duration: 1h}"
    text = f"{BASE}windows: [{window}, {window}]\nnotify:\n  webhooks: [{hook}, {hook}]\n"
    first, second = refuses(text, {"S": "canary-of-the-hook"})
    assert "4: windows[1].name: is the name of an earlier window too" in first
    assert "6: notify.webhooks[1].name: is the name of an earlier webhook too" in second


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read_is_one_problem(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="1 problem") as refusal:
        load(tmp_path / name, {})
    assert "cannot be read" in refusal.value.problems[0]


def sections(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Every section of a document, by its path: the mappings whose keys are known."""
    if isinstance(value, dict):
        if known_keys(Settings, path):
            yield path
        for key, item in value.items():
            yield from sections(item, (*path, key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from sections(item, (*path, place))


def at(value: Any, path: KeyPath) -> Any:
    for part in path:
        value = value[part]
    return value


def test_an_unknown_key_is_told_at_every_level(
    shipped: Path, shipped_environment: dict[str, str], refuses: Callable[..., list[str]]
) -> None:
    """All levels in one file, and all of them told, with the nearest key that there is."""
    value: Any = copy.deepcopy(read_document(shipped.read_bytes(), LIMITS).value)
    levels = list(sections(value))
    assert len(levels) >= 15
    for path in levels:
        section = at(value, path)
        section[f"{known_keys(Settings, path)[0]}x"] = "?"
        section["zzzzzzzzzzzz"] = "?"
    problems = refuses(yaml.safe_dump(value), shipped_environment)
    assert len(problems) == 2 * len(levels)
    assert sum("did you mean" in problem for problem in problems) == len(levels)
    assert sum("is no known key; there are" in problem for problem in problems) == len(levels)


def with_doubles(value: Any) -> str:
    """JSON (which is YAML) in which every mapping has its first key twice."""
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {with_doubles(item)}" for key, item in value.items()]
        return "{" + ", ".join([*items, *items[:1]]) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(with_doubles, value)) + "]"
    return json.dumps(value)


def mappings(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        if isinstance(value, dict) and value:
            yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from mappings(item)


def test_a_duplicate_key_is_told_at_every_level(
    shipped: Path, shipped_environment: dict[str, str], refuses: Callable[..., list[str]]
) -> None:
    value = read_document(shipped.read_bytes(), LIMITS).value
    problems = refuses(with_doubles(value), shipped_environment)
    # The first key of the top level is a scalar: no duplicate stands inside a duplicate.
    assert len({problem.split(": is a second time")[0] for problem in problems}) == len(list(mappings(value)))
    assert all("is a second time here" in problem for problem in problems)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            BASE + "    stacks: [{path: a, on_commit: apply}]\n",
            "4: repositories.p.stacks[0].on_commit: is no more than `propose` while `repair.automatic` is",
        ),
        (
            BASE + "repair: {courses: [{then: apply}]}\n",
            "4: repair.courses[0].then: is no more than `propose` while",
        ),
        (
            BASE + "repair: {automatic: true}\n",
            "4: repair.automatic: applies nothing by itself while no window of the kind `allow` opens",
        ),
        (
            BASE + "    stacks: [{path: a, schedule: continuous}]\nwarm: {enabled: false}\n",
            "4: repositories.p.stacks[0].schedule: `continuous` means a plan every 15m while `warm` is not",
        ),
        (BASE.replace("/srv/p", "http://git.example.com/x"), "3: repositories.p.url: is not https"),
        (BASE + "    token: ${env:T}\n", "4: repositories.p.token: is used only with an https URL"),
        ("repositories: {}\n", "1: repositories: is empty: nothing is watched"),
        (
            BASE + "notify: {slack: {token: '${env:T}', channel: c, base_url: 'http://gateway/api/'}}\n",
            "4: notify.slack.base_url: is not https",
        ),
        (
            BASE + "notify: {webhooks: [{name: h, url: 'http://hooks/x', secret: '${env:T}'}]}\n",
            "4: notify.webhooks[0].url: is not https",
        ),
    ],
)
def test_what_is_accepted_without_effect_is_said(
    accepts: Callable[..., Loaded], text: str, warning: str
) -> None:
    (said,) = accepts(text, {"T": "token-canary"}).warnings
    assert warning in said


@pytest.mark.parametrize(
    "text",
    [
        BASE,
        BASE + "    stacks: [{path: a, schedule: continuous}]\n",
        BASE + "warm: {enabled: false}\n",
        BASE.replace("/srv/p", "http://127.0.0.1:3000/x"),
        BASE + "notify: {slack: {token: '${env:T}', channel: c, base_url: 'http://127.0.0.1:9/api/'}}\n",
    ],
)
def test_what_is_fine_is_not_warned_of(accepts: Callable[..., Loaded], text: str) -> None:
    assert accepts(text, {"T": "token-canary"}).warnings == ()


def test_a_flood_of_problems_is_counted_not_logged(refuses: Callable[..., list[str]]) -> None:
    problems = refuses(BASE + "".join(f"x{number}: 1\n" for number in range(1000)))
    assert len(problems) == 201
    assert problems[-1].endswith("and 800 more")


WORDS = [
    "15m",
    "continuous",
    "${env:A}",
    "${file:x}",
    "$${",
    "https://x",
    "0 0 * * *",
    "UTC",
    "a/b",
    "*",
    "url",
]
SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)
PLACES = sorted(read_document(SHIPPED.read_bytes(), LIMITS).lines, key=str)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(PLACES), shape=SHAPES)
def test_any_value_in_any_place_is_refused_or_loads(
    shipped: Path, shipped_environment: dict[str, str], tmp_path: Path, path: KeyPath, shape: Any
) -> None:
    """Whatever stands under whatever key: settings, or problems; never another exception, never a secret."""
    value: Any = {"top": read_document(shipped.read_bytes(), LIMITS).value}
    at(value, ("top", *path)[:-1])[("top", *path)[-1]] = shape
    file = tmp_path / "driftwatch.yaml"
    file.write_text(json.dumps(value["top"]), encoding="utf-8")
    examined = examine(file, {**shipped_environment, "A": "canary-of-shapes"})
    assert (examined.settings is None) == bool(examined.problems)
    secrets = (*shipped_environment.values(), "canary-of-shapes")
    assert not any(secret in problem.render("f") for problem in examined.problems for secret in secrets)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300))
def test_any_bytes_are_refused_as_configuration_errors(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "driftwatch.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError):
        load_with_warnings(file, {})
