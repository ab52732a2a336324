"""`rules list` and `rules test`: what is in force, what it would have done, what does nothing any more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.cli import rules as commands
from driftwatch.errors import Exit
from driftwatch.model import Cause, FindingKind, Verdict
from tests.drift.rule_samples import apply, by_hand, found, noise, rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Estate, Ran

OWN = """
rules:
  ignore:
    - {id: jobs, attribute: /tags/job, reason: The agent numbers them., owner: "@platform"}
    - {id: done, type: aws_instance, attribute: /port, reason: A migration., owner: "@a", expires: 2020-01-01}
    - {id: idle, type: google_*, reason: Nobody knows., owner: "@a"}
  watch:
    - {id: counts, attribute: /desired_count}
  severity:
    - {id: loud, attribute: /port, severity: critical}
"""


@pytest.fixture
def governed(estate: Estate) -> Estate:
    """Own rules, and a history of three stacks, one of which is well again."""
    with estate.config.open("a", encoding="utf-8") as file:
        file.write(OWN)
    estate.record(
        "shop",
        found(by_hand("/tags/job", "1", "2"), address="aws_instance.only"),
        found(by_hand("/tags/job", "1", "2"), by_hand("/port", 80, 22), address="aws_instance.both"),
        verdict=Verdict.DRIFTED,
    )
    estate.record("tasks", found(noise("/desired_count", 1, 4), type_="aws_ecs_service"))
    estate.record(
        "gone",
        found(kind=FindingKind.DELETED, action="create", causes=(Cause.OUT_OF_BAND,)),
        found(by_hand("/desired_capacity", 2, 5), type_="aws_autoscaling_group"),
        verdict=Verdict.DRIFTED,
    )
    return estate


def tried(cli: Callable[..., Ran], estate: Estate, *more: str) -> dict[str, Any]:
    ran = cli("rules", "test", "-c", estate.config, "-f", "json", *more)
    assert (ran.code, ran.err) == (Exit.OK, "")
    document = json.loads(ran.out)
    return {**document, "by_id": {rule["id"]: rule for rule in document["rules"]}}


def test_each_rule_says_what_it_would_have_done(cli: Callable[..., Ran], governed: Estate) -> None:
    document = tried(cli, governed)
    by_id = document["by_id"]
    assert document["findings"] == 5
    assert (by_id["jobs"]["findings"], by_id["jobs"]["untold"]) == (2, 1)
    assert by_id["jobs"]["attributes"] == {"hides": 2, "counts": 0, "grades": 0, "idle": 0}
    assert by_id["counts"]["attributes"]["counts"] == 1
    assert by_id["loud"]["attributes"]["grades"] == 1
    (example,) = by_id["counts"]["examples"]
    assert (
        example.items()
        >= {
            "stack": "platform/tasks",
            "address": "aws_ecs_service.it",
            "path": "/desired_count",
            "effect": "counts",
        }.items()
    )


def test_unused_and_expired_rules_are_named(cli: Callable[..., Ran], governed: Estate) -> None:
    """An expired one is tried all the same: whoever extends it wants to know what for."""
    by_id = tried(cli, governed)["by_id"]
    assert [id_ for id_, rule in by_id.items() if rule["unused"] and rule["origin"] == "configuration"] == [
        "idle"
    ]
    assert [id_ for id_, rule in by_id.items() if rule["expired"]] == ["done"]
    assert by_id["done"]["attributes"]["hides"] == 1
    ran = cli("rules", "test", "-c", governed.config)
    assert "idle  ignore, configuration  unused: fits no finding" in ran.out
    assert "done  ignore, configuration  expired on 2020-01-01" in ran.out


def test_a_shipped_rule_that_is_off_shows_what_it_would_hide(
    cli: Callable[..., Ran], governed: Estate
) -> None:
    rule = tried(cli, governed)["by_id"]["noise:autoscaled-aws"]
    assert (rule["on"], rule["unused"], rule["untold"]) == (False, False, 1)
    assert "noise:autoscaled-aws  noise, shipped  off" in cli("rules", "test", "-c", governed.config).out


def test_a_rule_that_has_acted_says_so_of_what_is_stored_since(
    cli: Callable[..., Ran], governed: Estate
) -> None:
    """Findings are stored as the rules left them."""
    finding = found(by_hand("/tags/job", "1", "2"), address="aws_instance.later")
    under = rules(ignore=[{"id": "jobs", "attribute": "/tags/job", "reason": "r", "owner": "o"}])
    governed.record("later", *apply(under, finding).findings)
    assert tried(cli, governed)["by_id"]["jobs"]["attributes"]["hides"] == 3


def test_one_rule_alone(cli: Callable[..., Ran], governed: Estate) -> None:
    (rule,) = tried(cli, governed, "--rule", "jobs")["rules"]
    assert [example["address"] for example in rule["examples"]] == ["aws_instance.only", "aws_instance.both"]
    ran = cli("rules", "test", "-c", governed.config, "--rule", "severity:ingress")
    assert "unused: fits no finding" in ran.out


def test_a_rule_that_is_not_there(cli: Callable[..., Ran], governed: Estate) -> None:
    ran = cli("rules", "test", "-c", governed.config, "--rule", "nobody")
    assert ran.code == Exit.USAGE
    assert "no rule nobody" in ran.err


def test_the_whole_history_is_read_page_by_page(
    cli: Callable[..., Ran], governed: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tried(cli, governed)
    monkeypatch.setattr(commands, "_PAGE", 1)
    assert tried(cli, governed) == before


def test_with_no_finding_nothing_fits(cli: Callable[..., Ran], estate: Estate) -> None:
    document = tried(cli, estate)
    assert document["findings"] == 0
    assert all(rule["findings"] == 0 for rule in document["rules"])
    assert cli("rules", "test", "-c", estate.config).out == "0 findings in store.\n"


def test_the_list_has_every_rule_with_its_origin(cli: Callable[..., Ran], governed: Estate) -> None:
    document = json.loads(cli("rules", "list", "-c", governed.config, "-f", "json").out)
    by_id = {rule["id"]: rule for rule in document["rules"]}
    assert list(by_id)[:5] == ["jobs", "done", "idle", "counts", "loud"]
    assert by_id["jobs"]["says"] == {
        "attribute": ["/tags/job"],
        "reason": "The agent numbers them.",
        "owner": "@platform",
    }
    assert (by_id["loud"]["sort"], by_id["loud"]["origin"]) == ("severity", "configuration")
    assert (by_id["severity:ingress"]["sort"], by_id["severity:ingress"]["origin"]) == ("severity", "shipped")
    assert (by_id["noise:autoscaled-aws"]["on"], by_id["done"]["expired"]) == (False, True)


def test_the_list_can_be_read(cli: Callable[..., Ran], governed: Estate) -> None:
    out = cli("rules", "list", "-c", governed.config).out
    assert "jobs  ignore, configuration\n    attribute: /tags/job; reason: The agent numbers them." in out
    assert "done  ignore, configuration  expired on 2020-01-01" in out


def test_what_came_from_a_reference_is_not_shown(
    cli: Callable[..., Ran], estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "rule-secret-canary")
    with estate.config.open("a", encoding="utf-8") as file:
        file.write("rules: {watch: [{id: w, type: a, reason: '${env:CANARY}'}]}\n")
    for form in ("table", "json"):
        ran = cli("rules", "list", "-c", estate.config, "-f", form)
        assert ran.code == Exit.OK
        assert "rule-secret-canary" not in ran.out


def test_a_wrong_rule_is_refused_with_its_line(cli: Callable[..., Ran], estate: Estate) -> None:
    with estate.config.open("a", encoding="utf-8") as file:
        file.write("rules:\n  ignore:\n    - {id: a, type: b, owner: c}\n")
    ran = cli("rules", "test", "-c", estate.config)
    assert ran.code == Exit.USAGE
    assert "driftwatch.yaml:7: rules.ignore[0].reason: is required and missing" in ran.err.replace("\n", "")
