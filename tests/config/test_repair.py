"""The section `repair:` is careful by itself, and says what is wrong with what is not."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.config import repair
from driftwatch.config.repair import OpaSettings, RepairSettings
from driftwatch.config.settings import StackSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from driftwatch.config.loading import Loaded

HEAD = "repositories: {p: {url: /srv/p}}\nrepair:\n"

FACTS: dict[str, Any] = {
    "resources": [{"address": "aws_db_instance.a", "type": "aws_db_instance", "actions": ["update"]}],
    "stack": "p/prod",
    "labels": {"tier": "prod"},
    "kind": "revert",
    "automatic": True,
}


@pytest.fixture
def without_cel(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a machine where the extra is not installed."""
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    repair._environment.cache_clear()
    repair.compiled_condition.cache_clear()
    yield
    repair._environment.cache_clear()
    repair.compiled_condition.cache_clear()


def test_nothing_is_allowed_unless_somebody_says_so() -> None:
    settings = RepairSettings()
    assert not settings.automatic
    guards = settings.guards
    assert not guards.allow_destroy
    assert guards.only_findings
    assert not guards.touch_ignored
    assert (guards.max_resources, guards.stacks_per_window) == (10, 5)
    assert guards.grace == timedelta(minutes=30)
    assert (guards.returns, guards.returns_within) == (3, timedelta(hours=24))
    assert (guards.breaker_failures, guards.breaker_within) == (3, timedelta(hours=1))
    assert settings.approvals.needed == 1
    assert settings.approvals.not_by_author
    assert settings.courses == settings.conditions == settings.canary == ()
    assert settings.opa is None


def test_all_of_it_is_understood(accepts: Callable[..., Loaded]) -> None:
    text = (
        HEAD + "  automatic: true\n"
        "  guards: {grace: 0s, types: ['aws_*'], max_resources: 3}\n"
        "  approvals: {needed: 2, expire: 8h}\n"
        "  courses: [{causes: [out_of_band], kinds: [deleted], severity: high, then: apply}]\n"
        "  canary: ['p/test/*']\n"
        "windows: [{name: n, kind: allow, cron: '0 22 * * *', duration: 1h}]\n"
    )
    settings = accepts(text).settings.repair
    assert settings.automatic
    assert (settings.guards.grace, settings.guards.types) == (timedelta(0), ("aws_*",))
    assert (settings.approvals.needed, settings.approvals.expire) == (2, timedelta(hours=8))
    (course,) = settings.courses
    assert (course.stacks, course.causes, course.then) == (("*",), ("out_of_band",), "apply")
    assert RepairSettings.model_validate(settings.model_dump()) == settings


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("guards: {max_resources: 0}", "repair.guards.max_resources: must be at least 1"),
        ("guards: {returns: 0}", "repair.guards.returns: must be at least 1"),
        ("guards: {breaker_failures: 0}", "repair.guards.breaker_failures: must be at least 1"),
        ("guards: {stacks_per_window: 0}", "repair.guards.stacks_per_window: must be at least 1"),
        ("guards: {types: []}", "repair.guards.types: must have at least one item"),
        ("guards: {types: ['a b']}", "is no glob of resource types"),
        ("guards: {grace: 30}", "must be a duration with its unit"),
        ("guards: {alow_destroy: true}", "did you mean `allow_destroy`?"),
        ("approvals: {needed: 0}", "repair.approvals.needed: must be at least 1"),
        ("approvals: {needed: 11}", "repair.approvals.needed: must be at most 10"),
        ("approvals: {expire: 0s}", "must be longer than zero"),
        ("courses: [{stacks: ['*']}]", "repair.courses[0].then: is required and missing"),
        ("courses: [{then: deploy}]", "must be one of"),
        ("courses: [{then: apply, causes: [noise]}]", "must be one of"),
        ("canary: ['p/a', 'p/a']", "names one of its items twice"),
        ("opa: {timeout: 0s}", "must be longer than zero"),
        ("opa: {timeout: 30}", "must be a duration with its unit"),
        ("opa: {binary: --version}", "repair.opa.binary: must not start with a dash"),
        ("opa: {binary: ''}", "repair.opa.binary: must not be empty"),
        ("opa: {policy: ''}", "repair.opa.policy: must be a path"),
        ("opa: {policy: '~root/x'}", "but not with another user's `~name`"),
        ("opa: {policy: 1}", "repair.opa.policy: "),
        ("opa: {query: ''}", "repair.opa.query: must not be empty"),
        ("opa: {query: '--bundle=x'}", "repair.opa.query: must not start with a dash"),
        ("opa: {polices: x}", "repair.opa.polices: "),
        ("automatic: often", "repair.automatic: must be true or false"),
    ],
)
def test_what_is_wrong_is_said(refuses: Callable[..., list[str]], line: str, problem: str) -> None:
    assert any(problem in each for each in refuses(f"{HEAD}  {line}\n"))


def test_a_stack_has_other_credentials_for_applies_and_shows_none(accepts: Callable[..., Loaded]) -> None:
    """Looking and changing are two roles; neither is ever printed."""
    text = (
        "repositories: {p: {url: /srv/p, stacks: [{path: a, environment: {KEY: looks}, "
        "apply_environment: {KEY: '${env:WRITER}'}}]}}\n"
    )
    settings = accepts(text, {"WRITER": "writer-canary"}).settings
    (stack,) = settings.repositories["p"].stacks
    assert stack.apply_environment["KEY"].get_secret_value() == "writer-canary"
    assert stack.environment["KEY"].get_secret_value() == "looks"
    assert "writer-canary" not in repr(settings) + settings.model_dump_json()
    assert StackSettings(path="a").apply_environment == {}


def test_terraforms_own_variables_are_refused_there_too(refuses: Callable[..., list[str]]) -> None:
    head = "repositories: {p: {url: /srv/p, stacks: [{path: a, apply_environment: "
    (problem,) = refuses(head + "{'A=B': x}}]}}\n")
    assert "apply_environment" in problem


# ---- Conditions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("!resources.exists(r, r.type.startsWith('aws_db'))", False),
        ("!automatic || size(resources) == 0", False),
        ("resources.all(r, r.actions == ['update'])", True),
        ("labels.tier == 'prod' && stack == 'p/prod' && kind == 'revert'", True),
        ("labels.absent == 'x'", False),
        ("resources.all(r, r.absent == 'x')", False),
        ("true", True),
    ],
)
def test_a_condition_is_over_the_plan_and_false_where_it_fails(text: str, *, holds: bool) -> None:
    pytest.importorskip("cel_expr_python")
    settings = RepairSettings.model_validate({"conditions": [{"name": "it", "cel": text, "says": "No."}]})
    assert settings.conditions[0].holds(FACTS) is holds


def test_a_condition_without_its_facts_does_not_hold() -> None:
    pytest.importorskip("cel_expr_python")
    assert not repair.compiled_condition("!automatic").holds({})


def test_a_condition_over_too_much_does_not_hold() -> None:
    """The library stops after so many turns; what it could not look at is not true."""
    pytest.importorskip("cel_expr_python")
    nested = repair.compiled_condition("resources.all(r, resources.all(q, r.type == q.type))")
    assert nested.holds({**FACTS, "resources": FACTS["resources"] * 2})
    assert not nested.holds({**FACTS, "resources": FACTS["resources"] * 1000})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1 + 1", "must be true or false, and this is int"),
        ("resource.size()", "is no CEL expression: "),
        ("before == after", "is no CEL expression: "),
        ("true && " * 100 + "true", "is too large"),
        (" && ".join(["resources.all(r, true)"] * 4), "is too large"),
    ],
)
def test_a_wrong_condition_is_refused(refuses: Callable[..., list[str]], text: str, sentence: str) -> None:
    pytest.importorskip("cel_expr_python")
    (problem,) = refuses(f'{HEAD}  conditions: [{{name: a, cel: "{text}", says: b}}]\n')
    assert problem.startswith("driftwatch.yaml:3: repair.conditions[0].cel: ")
    assert sentence in problem


def test_two_conditions_have_two_names(refuses: Callable[..., list[str]]) -> None:
    pytest.importorskip("cel_expr_python")
    one = "{name: a, cel: 'true', says: b}"
    (problem,) = refuses(f"{HEAD}  conditions: [{one}, {one}]\n")
    assert problem.endswith("repair.conditions[1].name: is the name of an earlier condition too")


@pytest.mark.usefixtures("without_cel")
def test_without_the_extra_a_condition_is_refused_and_nothing_else(
    refuses: Callable[..., list[str]], accepts: Callable[..., Loaded]
) -> None:
    (problem,) = refuses(f"{HEAD}  conditions: [{{name: a, cel: 'true', says: b}}]\n")
    assert problem.endswith("needs the extra `cel`: pip install 'driftwatch[cel]'")
    assert accepts(f"{HEAD}  automatic: false\n").warnings == ()


# ---- Rules in Rego ---------------------------------------------------------------------------------------


def test_rules_in_rego_lie_beside_the_file(accepts: Callable[..., Loaded], tmp_path: Path) -> None:
    """Whether they are there is seen when the daemon starts: a file may be checked on another machine."""
    opa = accepts(f"{HEAD}  opa: {{}}\n").settings.repair.opa
    assert opa == OpaSettings(policy=tmp_path / "policies")
    assert opa is not None
    assert (opa.binary, opa.query, opa.timeout) == ("opa", "data.driftwatch.deny", timedelta(seconds=30))
    text = f"{HEAD}  opa: {{binary: bin/opa, policy: ~/rules.rego, query: data.a.b, timeout: 5s}}\n"
    opa = accepts(text, {"HOME": "/home/anna"}).settings.repair.opa
    assert opa is not None
    assert (opa.binary, opa.policy) == (str(tmp_path / "bin" / "opa"), Path("/home/anna/rules.rego"))
    assert (opa.query, opa.timeout) == ("data.a.b", timedelta(seconds=5))
    assert OpaSettings.model_validate(opa.model_dump()) == opa


@pytest.mark.parametrize(
    "query",
    ["data.a.allow", "data.a.allowed", "not data.a.allow", "allow ", 'data.a["allow"]', "data.a[`allow`]"],
)
def test_a_query_for_what_is_allowed_is_refused(refuses: Callable[..., list[str]], query: str) -> None:
    """Its false would let everything through."""
    (problem,) = refuses(f"{HEAD}  opa: {{query: '{query}'}}\n")
    assert problem.startswith("driftwatch.yaml:3: repair.opa.query: must ask what is denied")


@pytest.mark.parametrize("query", ["data.a.deny", "data.a.disallow", "data.allow.deny", "data.a.deny[_]"])
def test_a_query_for_what_is_denied_is_not(accepts: Callable[..., Loaded], query: str) -> None:
    opa = accepts(f"{HEAD}  opa: {{query: '{query}'}}\n").settings.repair.opa
    assert opa is not None
    assert opa.query == query
