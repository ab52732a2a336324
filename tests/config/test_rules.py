"""The section `rules:` and the shipped files: what is refused, with line and key, and what is taken."""

from __future__ import annotations

import sys
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.config import cel, rule_files
from driftwatch.config.json_schema import schema
from driftwatch.config.rule_files import NoiseFile, SeverityFile, read_rule_file, shipped
from driftwatch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from driftwatch.config.loading import Loaded

HEAD = "repositories: {p: {url: /srv/p}}\nrules:\n"
WHY = 'reason: It is known., owner: "@platform"'


@pytest.fixture
def without_cel(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a machine where the extra is not installed."""
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    cel._environment.cache_clear()
    cel.compiled.cache_clear()
    yield
    cel._environment.cache_clear()
    cel.compiled.cache_clear()


def test_a_rule_of_each_sort_is_understood(accepts: Callable[..., Loaded]) -> None:
    rules = accepts(
        HEAD + f"  noise: {{autoscaling: true}}\n"
        f"  ignore: [{{id: a, type: aws_x, attribute: /tags/*, {WHY}, expires: 2027-06-30}}]\n"
        "  watch: [{id: b, address: ['module.a.*', 'module.b[0].*']}]\n"
        "  severity: [{id: c, kinds: [deleted], severity: critical, when: {gains: [22]}}]\n"
    ).settings.rules
    (ignored,), (watched,), (graded,) = rules.ignore, rules.watch, rules.severity
    assert rules.noise.autoscaling
    assert (ignored.type, ignored.attribute, ignored.expires) == (("aws_x",), ("/tags/*",), date(2027, 6, 30))
    assert watched.address == ("module.a.*", "module.b[0].*")
    assert (graded.severity, graded.override) == ("critical", False)
    assert graded.when
    assert graded.when.gains == (22,)


def test_without_the_section_the_shipped_rules_stand_alone(accepts: Callable[..., Loaded]) -> None:
    rules = accepts("repositories: {p: {url: /srv/p}}\n").settings.rules
    assert (rules.noise.autoscaling, rules.ignore, rules.watch, rules.severity) == (False, (), (), ())


@pytest.mark.parametrize(
    ("rule", "key", "sentence"),
    [
        ("type: b, owner: c", "reason", "is required and missing"),
        ("type: b, reason: c", "owner", "is required and missing"),
        ("type: b, reason: '', owner: c", "reason", "must not be empty"),
        (f"type: b, {WHY}, attributes: /x", "attributes", "is no known key; did you mean `attribute`?"),
        (f"type: b, {WHY}, attribute: tags", "attribute", "must be a pointer that starts with `/`"),
        (f"type: b, {WHY}, attribute: [/a, /b~2]", "attribute[1]", "holds a `~` that is neither `~0`"),
        (f"type: b, {WHY}, attribute: /a//b", "attribute", "has an empty step"),
        (f"type: b, {WHY}, attribute: /a/**", "attribute", "holds `**`"),
        (f"type: 'b c', {WHY}", "type", "is no glob of resource types"),
        (f"type: 'aws_[ab]', {WHY}", "type", "is no glob of resource types"),
        (f"address: 'a[0', {WHY}", "address", "holds a bracket that is not closed"),
        (f"address: 'a[\"x]', {WHY}", "address", 'holds a `"` that is not closed'),
        (f"address: 'a b', {WHY}", "address", "is no glob of resource addresses"),
        (f"stacks: ['../x'], {WHY}", "stacks[0]", "is neither a stack id nor a glob"),
        (f"type: b, {WHY}, expires: 30.06.2027", "expires", "must be a date such as 2027-06-30"),
        (f"type: b, {WHY}, expires: 2027-02-30", "expires", "must be a date such as 2027-06-30"),
        (f"type: b, {WHY}, expires: 20270630", "expires", "must be a date such as 2027-06-30"),
        (f"type: b, {WHY}, expires: '2027-06-30T00:00:00'", "expires", "must be a date such as"),
        (f"type: b, {WHY}, when: {{}}", "when", "must hold exactly one of equals, matches"),
        (f"type: b, {WHY}, when: {{equals: 1, empty: true}}", "when", "must hold exactly one of"),
        (f"type: b, {WHY}, when: {{value: to, gains: [1]}}", "when.value", "has no meaning with `gains`"),
        (
            f"type: b, {WHY}, when: {{value: now, equals: 1}}",
            "when.value",
            "must be one of 'before', 'actual'",
        ),
        (f"type: b, {WHY}, when: {{matches: '('}}", "when.matches", "is no regular expression: missing )"),
        (f"type: b, {WHY}, when: {{matches: '(a+)+b'}}", "when.matches", "repeats what can match in several"),
        (f"type: b, {WHY}, when: {{matches: '.*a.*b.*c'}}", "when.matches", "could take very long"),
        (f"type: b, {WHY}, when: {{matches: '(?=a)'}}", "when.matches", "looking around"),
        (f"type: b, {WHY}, when: {{contains: []}}", "when.contains", "must have at least one item"),
        (
            f"type: b, {WHY}, when: {{gains: [[1]]}}",
            "when.gains[0]",
            "must be a text, a number, true or false",
        ),
        (
            f"type: b, {WHY}, when: {{widens: [resource]}}",
            "when.widens[0]",
            "must be one of 'action', 'principal'",
        ),
        (f"id: 'noise:x', type: b, {WHY}", "id", "must consist of letters"),
    ],
)
def test_what_is_wrong_with_a_rule_is_told_with_its_line(
    refuses: Callable[..., list[str]], rule: str, key: str, sentence: str
) -> None:
    name = "" if rule.startswith("id:") else "id: a, "
    (problem,) = refuses(f"{HEAD}  ignore:\n    - {{{name}{rule}}}\n")
    assert problem.startswith(f"driftwatch.yaml:4: rules.ignore[0].{key}: ")
    assert sentence in problem


@pytest.mark.parametrize("sort", ["ignore", "watch", "severity"])
@pytest.mark.parametrize(
    "selectors",
    [
        "",
        "type: '*', ",
        "address: ['*', '**'], ",
        "attribute: /*, ",
        "stacks: ['*'], ",
        "stacks: [], type: [a, '*'], ",
    ],
)
def test_a_rule_that_names_everything_is_refused(
    refuses: Callable[..., list[str]], sort: str, selectors: str
) -> None:
    more = {"ignore": WHY, "watch": "reason: r", "severity": "severity: low"}[sort]
    (problem,) = refuses(f"{HEAD}  {sort}:\n    - {{id: a, {selectors}{more}}}\n")
    assert problem.startswith(
        f"driftwatch.yaml:4: rules.{sort}[0]: names everything: it must say address, type"
    )


def test_a_condition_alone_selects_for_a_severity_and_not_for_an_ignore_rule(
    accepts: Callable[..., Loaded], refuses: Callable[..., list[str]]
) -> None:
    """Hiding every attribute anywhere that has some value is more than anybody oversees."""
    assert accepts(f"{HEAD}  severity: [{{id: a, severity: low, when: {{equals: 1}}}}]\n")
    assert refuses(f"{HEAD}  ignore: [{{id: a, {WHY}, when: {{equals: 1}}}}]\n")


def test_an_id_is_there_once_among_all_sorts(refuses: Callable[..., list[str]]) -> None:
    problems = refuses(
        f"{HEAD}  ignore:\n    - {{id: a, type: x, {WHY}}}\n    - {{id: a, type: y, {WHY}}}\n"
        "  watch:\n    - {id: a, type: x}\n  severity:\n    - {id: b, type: x, severity: low}\n"
    )
    assert problems == [
        "driftwatch.yaml:5: rules.ignore[1].id: is the id of an earlier rule under `ignore` too",
        "driftwatch.yaml:7: rules.watch[0].id: is the id of an earlier rule under `ignore` too",
    ]


def test_all_problems_of_all_rules_are_told_at_once(refuses: Callable[..., list[str]]) -> None:
    problems = refuses(
        f"{HEAD}  noise: {{autoscale: true}}\n"
        f"  ignore:\n    - {{id: a, attribute: x, {WHY}}}\n    - {{id: b}}\n"
        "  severity:\n    - {id: c, type: x, severity: urgent}\n    - 7\n"
    )
    assert [problem.split(": ")[1] for problem in problems] == [
        "rules.noise.autoscale",
        "rules.ignore[0].attribute",
        "rules.ignore[1]",
        "rules.ignore[1].owner",
        "rules.ignore[1].reason",
        "rules.severity[0].severity",
        "rules.severity[1]",
    ]


def test_more_rules_than_people_write_are_refused(refuses: Callable[..., list[str]]) -> None:
    many = "\n".join(f"    - {{id: r{number}, type: x}}" for number in range(1001))
    (problem,) = refuses(f"{HEAD}  watch:\n{many}\n")
    assert problem.endswith("rules.watch: must be at most 1000")


# ---- CEL -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("actual ==", "is no CEL expression: 1:10: Syntax error"),
        ("nobody == 1", "undeclared reference to 'nobody'"),
        ("path + 1 == 'x'", "found no matching overload for '_+_' applied to '(string, int)'"),
        ("1 + 1", "must be true or false, and this is int"),
        ("(" * 200 + "true" + ")" * 200, "recursion limit exceeded"),
        ("true || " * 100 + "true", "is too large: at most 500 characters"),
        ("actual.all(a, a.all(b, b.all(c, c.all(d, d == 1))))", "is too large"),
    ],
)
def test_an_expression_that_is_wrong_is_refused_with_its_line(
    refuses: Callable[..., list[str]], text: str, sentence: str
) -> None:
    pytest.importorskip("cel_expr_python")
    (problem,) = refuses(f'{HEAD}  ignore:\n    - {{id: a, type: x, {WHY}, when: {{cel: "{text}"}}}}\n')
    assert problem.startswith("driftwatch.yaml:4: rules.ignore[0].when.cel: ")
    assert sentence in problem


@pytest.mark.usefixtures("without_cel")
def test_without_the_extra_a_rule_that_needs_it_is_refused_and_no_other(
    refuses: Callable[..., list[str]], accepts: Callable[..., Loaded]
) -> None:
    (problem,) = refuses(f"{HEAD}  ignore:\n    - {{id: a, type: x, {WHY}, when: {{cel: 'true'}}}}\n")
    assert problem == (
        "driftwatch.yaml:4: rules.ignore[0].when.cel: needs the extra `cel`: pip install 'driftwatch[cel]'"
    )
    assert accepts(f"{HEAD}  ignore:\n    - {{id: a, type: x, {WHY}, when: {{equals: 1}}}}\n")
    assert shipped().severity.rules


# ---- The shipped files -----------------------------------------------------------------------------------


def test_the_shipped_files_load_and_need_no_extra() -> None:
    files = shipped()
    assert files.noise.version == files.severity.version == 1
    assert all(rule.when is None or rule.when.cel is None for rule in files.severity.rules)
    for rules in (files.noise.rules, files.severity.rules):
        names = [rule.id for rule in rules]
        assert len(set(names)) == len(names)


def test_the_shipped_kinds_are_all_kinds() -> None:
    from driftwatch.model import FindingKind

    assert set(shipped().severity.kinds) == set(map(str, FindingKind))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("version: 2\nrules: []\n", "noise.yaml:1: version: must be one of 1"),
        ("version: 1\n", "noise.yaml:1: rules: is required and missing"),
        (
            "version: 1\nrules:\n  - {id: a, about: b, compare: magic}\n",
            "noise.yaml:3: rules[0].compare: must be one of 'reading'",
        ),
        (
            "version: 1\nrules:\n  - {id: a, about: b, compare: json, attributes: {x: y}}\n",
            "noise.yaml:3: rules[0].attributes.x: must be a pointer",
        ),
        ("version: 1\nversion: 1\nrules: []\n", "noise.yaml:2: version: is a second time here"),
    ],
)
def test_a_broken_file_of_rules_is_told_with_its_line(content: str, problem: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        read_rule_file("noise.yaml", content.encode(), NoiseFile)
    assert any(told.startswith(problem) for told in refusal.value.problems), refusal.value.problems


def test_a_shipped_rule_cannot_name_everything_either() -> None:
    content = b"version: 1\nkinds: {}\nsensitive: low\nrules: [{id: a, severity: low}]\n"
    with pytest.raises(ConfigError) as refusal:
        read_rule_file("severity.yaml", content, SeverityFile)
    assert "names everything" in refusal.value.problems[0]


def test_an_installed_package_has_the_rules_within_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A wheel carries them beside the configuration's modules; a checkout has them at its top."""
    monkeypatch.setattr(rule_files, "files", lambda package: tmp_path / package)
    assert rule_files._folder().name == "rules"
    inside = tmp_path / "driftwatch.config" / "shipped_rules"
    inside.mkdir(parents=True)
    assert rule_files._folder() == inside


def test_the_schema_describes_a_rule() -> None:
    definitions: Any = schema()["$defs"]
    assert set(definitions["IgnoreRule"]["required"]) == {"id", "reason", "owner"}
    assert {"type": "string"} in definitions["IgnoreRule"]["properties"]["attribute"]["anyOf"]
