"""A recording is replayed only while nothing else has moved, and the reason why not has a name."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from driftwatch.warm.conditions import Facts, Refusal, Remembered, examine, refuse
from driftwatch.warm.recording import Recording
from driftwatch.warm.state import StateIdentity

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)
STATE = StateIdentity(lineage="l", serial=7)
FACTS = Facts(
    files="f",
    variables="v",
    engine="terraform 1.11.4",
    providers={"a/b/c": "h1:x"},
    environment="e",
    state=STATE,
)
KNOWN = Remembered(
    facts=FACTS, recording=Recording(conversations=()), planned_at=NOW - timedelta(hours=1), proved=True
)


def decide(known: Remembered | None = KNOWN, present: Facts = FACTS, now: datetime = NOW) -> Refusal | None:
    return refuse(known, present, now=now, full_plan_every=DAY)


def test_nothing_moved_means_replay() -> None:
    assert decide() is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"files": "g"}, Refusal.FILES_CHANGED),
        ({"variables": "w"}, Refusal.VARIABLES_CHANGED),
        ({"engine": "terraform 1.12.0"}, Refusal.ENGINE_CHANGED),
        ({"providers": {"a/b/c": "h1:y"}}, Refusal.PROVIDERS_CHANGED),
        ({"providers": {}}, Refusal.PROVIDERS_CHANGED),
        ({"environment": "f"}, Refusal.ENVIRONMENT_CHANGED),
        ({"state": StateIdentity(lineage="l", serial=8)}, Refusal.STATE_CHANGED),
        ({"state": StateIdentity(lineage="m", serial=7)}, Refusal.STATE_CHANGED),
        ({"state": None}, Refusal.STATE_UNKNOWN),
        ({"blind": frozenset({Refusal.TIMESTAMP_FUNCTION})}, Refusal.TIMESTAMP_FUNCTION),
        ({"blind": frozenset({Refusal.REMOTE_STATE})}, Refusal.REMOTE_STATE),
    ],
)
def test_each_fact_that_moved_has_its_reason(change: dict[str, object], reason: Refusal) -> None:
    assert decide(present=dataclasses.replace(FACTS, **change)) is reason


@pytest.mark.parametrize("name", ["files", "variables", "engine", "environment", "state"])
def test_what_is_not_known_equals_nothing(name: str) -> None:
    unknown = dataclasses.replace(FACTS, **{name: None})
    assert decide(dataclasses.replace(KNOWN, facts=unknown), unknown) is not None


def test_upstream_states_that_have_not_moved_are_no_reason() -> None:
    facts = dataclasses.replace(FACTS, blind=frozenset({Refusal.REMOTE_STATE}), upstreams={"net": STATE})
    known = dataclasses.replace(KNOWN, facts=facts)
    moved = {"net": StateIdentity(lineage="l", serial=8)}
    assert decide(known, facts) is None
    for upstreams in (moved, {"net": None}, {}, None):
        assert decide(known, dataclasses.replace(facts, upstreams=upstreams)) is Refusal.REMOTE_STATE


def test_what_the_recording_says_of_itself() -> None:
    def with_recording(**changes: object) -> Remembered:
        return dataclasses.replace(KNOWN, recording=dataclasses.replace(KNOWN.recording, **changes))

    assert decide(None) is Refusal.NO_RECORDING
    assert decide(with_recording(version=0)) is Refusal.RECORDING_VERSION
    assert decide(with_recording(unusable=("ephemeral",))) is Refusal.EPHEMERAL
    assert decide(with_recording(unusable=("something new",))) is Refusal.UNUSABLE
    assert decide(dataclasses.replace(KNOWN, proved=False)) is Refusal.NOT_PROVED


def test_a_full_plan_is_due_in_time_and_when_the_clock_went_back() -> None:
    assert decide(now=NOW + timedelta(hours=22, minutes=59)) is None
    assert decide(now=NOW + timedelta(hours=23)) is Refusal.FULL_PLAN_DUE
    assert decide(now=NOW - timedelta(hours=2)) is Refusal.FULL_PLAN_DUE


@pytest.mark.parametrize(
    ("code", "reasons"),
    [
        ('locals { a = upper("x") }', set()),
        ("# timestamp() is not called here\nlocals { a = 1 }", set()),
        ("locals { a = timestamp() }", {Refusal.TIMESTAMP_FUNCTION}),
        ('locals { a = "at ${formatdate("YYYY", plantimestamp())}" }', {Refusal.TIMESTAMP_FUNCTION}),
        ("locals { a = uuid() }", {Refusal.RANDOM_FUNCTION}),
        ('locals { a = uuidv5("dns", "x") }', set()),
        ('locals { a = [for x in ["a"] : bcrypt(x)] }', {Refusal.RANDOM_FUNCTION}),
        ('data "terraform_remote_state" "net" { backend = "s3" }', {Refusal.REMOTE_STATE}),
        ("import {\n  to = a.b\n  id = 1\n}", {Refusal.PENDING_IMPORT}),
        ("moved {\n  from = a.b\n  to = a.c\n}", {Refusal.PENDING_MOVE}),
        ("removed {\n  from = a.b\n}", {Refusal.PENDING_MOVE}),
        ('ephemeral "random_password" "x" {}', {Refusal.EPHEMERAL}),
        ('locals { a = file("policy.json") }', set()),
        ('locals { a = file("${path.module}/policies/a.json") }', set()),
        ('locals { a = file("${path.module}/../shared/a.json") }', {Refusal.OUTSIDE_FILES}),
        ('locals { a = file("../a.json") }', {Refusal.OUTSIDE_FILES}),
        ('locals { a = filemd5("/etc/hosts") }', {Refusal.OUTSIDE_FILES}),
        ('locals { a = file("~/.ssh/id") }', {Refusal.OUTSIDE_FILES}),
        ('locals { a = file(pathexpand("x")) }', {Refusal.OUTSIDE_FILES}),
        ("locals { a = file(var.path) }", {Refusal.OUTSIDE_FILES}),
        ('locals { a = file("${var.path}/x") }', {Refusal.OUTSIDE_FILES}),
        ('locals { a = { for f in fileset(path.module, "p/*.json") : f => 1 } }', set()),
        ('locals { a = fileset(path.module, "../*.json") }', {Refusal.OUTSIDE_FILES}),
        ('locals { a = file("${path.module}/p/${each.key}.json") }', set()),
        (
            'locals {\n  up = "../.."\n  a = file("${path.module}/p/${local.up}/x.json")\n}',
            {Refusal.OUTSIDE_FILES},
        ),
        (
            'module "m" {\n  source = "../m"\n}\nlocals { a = file("${path.module}/p/${each.key}") }',
            set(),
        ),
        ('locals { a = timestamp() \n resource "broken', {Refusal.TIMESTAMP_FUNCTION}),
    ],
)
def test_what_a_replay_cannot_see_in_code(code: str, reasons: set[Refusal]) -> None:
    assert examine({".": {"main.tf": code.encode()}}) == reasons


def test_modules_templates_json_and_variables_count_too() -> None:
    calls = b'resource "x" "y" { a = templatefile("${path.module}/t.tftpl", {}) }'
    assert examine({".": {}, "m": {"main.tf": b"locals { a = uuid() }"}}) == {Refusal.RANDOM_FUNCTION}
    assert examine({".": {"main.tf": calls, "t.tftpl": b"${timestamp()}"}}) == {Refusal.TIMESTAMP_FUNCTION}
    assert examine({".": {"main.tf": calls, "t.tftpl": b"hello"}}) == set()
    assert examine({".": {"a.tf.json": b'{"locals": {"a": "${timestamp()}"}}'}}) == {
        Refusal.TIMESTAMP_FUNCTION
    }
    assert examine({".": {"a.tf.json": b'{"data": {"terraform_remote_state": {"n": {}}}}'}}) == {
        Refusal.REMOTE_STATE
    }
    dynamic = {".": {"main.tf": b'locals { a = file("${path.module}/p/${var.x}") }'}}
    assert examine(dynamic) == set()
    assert examine(dynamic, texts=["../../etc/passwd"]) == {Refusal.OUTSIDE_FILES}
