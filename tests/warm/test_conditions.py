"""A recording is replayed only while nothing else has moved, and the reason why not has a name."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from driftwatch.warm.conditions import (
    Facts,
    Refusal,
    Remembered,
    examine,
    is_all_read,
    is_provable,
    pending,
    refuse,
    upstreams,
)
from driftwatch.warm.packages import Package
from driftwatch.warm.pool import Directory, Key
from driftwatch.warm.recording import Conversation, Read, Recording
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
    for seen in (moved, {"net": None}, {}, None):
        assert decide(known, dataclasses.replace(facts, upstreams=seen)) is Refusal.REMOTE_STATE


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
        ("import {\n  to = a.b\n  id = 1\n}", set()),
        ("moved {\n  from = a.b\n  to = a.c\n}", set()),
        ("removed {\n  from = a.b\n}", set()),
        ('ephemeral "random_password" "x" {}', {Refusal.EPHEMERAL}),
        ('locals { a = file("policy.json") }', set()),
        ('locals { a = file("${path.module}/policies/a.json") }', set()),
        ('locals { a = file("${path.module}/../shared/a.json") }', {Refusal.FILES_ELSEWHERE}),
        ('locals { a = file("../a.json") }', {Refusal.FILES_ELSEWHERE}),
        ('locals { a = filemd5("/etc/hosts") }', {Refusal.OUTSIDE_FILES}),
        ('locals { a = file("~/.ssh/id") }', {Refusal.OUTSIDE_FILES}),
        ('locals { a = file(pathexpand("x")) }', {Refusal.OUTSIDE_FILES}),
        ("locals { a = file(var.path) }", {Refusal.OUTSIDE_FILES}),
        ('locals { a = file("${var.path}/x") }', {Refusal.OUTSIDE_FILES}),
        ('locals { a = fileset(path.module, "../*.json") }', {Refusal.FILES_ELSEWHERE}),
        ('locals { a = file("${path.module}/p/${each.key}.json") }', {Refusal.FILES_ELSEWHERE}),
        ("locals { a = templatestring(data.a.b.c, {}) }", {Refusal.UNKNOWN_TEMPLATE}),
        ('locals { a = timestamp() \n resource "broken', {Refusal.TIMESTAMP_FUNCTION}),
    ],
)
def test_what_a_replay_cannot_see_in_code(code: str, reasons: set[Refusal]) -> None:
    assert examine({".": {"main.tf": code.encode()}}) == reasons


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        ({"change": {"actions": ["no-op"]}}, set()),
        ({"change": {"actions": ["no-op"], "importing": {"id": "x"}}}, {Refusal.PENDING_IMPORT}),
        ({"change": {"actions": ["no-op"]}, "previous_address": "a.b"}, {Refusal.PENDING_MOVE}),
        ({"change": {"actions": ["forget"]}}, {Refusal.PENDING_MOVE}),
    ],
)
def test_import_moved_and_removed_count_only_while_they_are_to_be_done(
    change: dict[str, object], reasons: set[Refusal]
) -> None:
    """A block that was applied long ago stays in many repositories, and does no harm there."""
    assert pending({"resource_changes": [change]}) == reasons
    assert pending({}) == set()
    assert pending({"deferred_changes": [{}]}) == {Refusal.DEFERRED}


def recording_of(*names: str, bound: bool = False) -> Recording:
    package = Package(address="a/b/c", version="1", binary=Path("p"), digest="h1:x")
    place = Directory(path=Path("x"), device=1, inode=1) if bound else None
    return Recording(
        conversations=(
            Conversation(
                key=Key(package=package, environment="e", directory=place),
                environment={},
                configure_method="/tfplugin6.Provider/ConfigureProvider",
                configure=b"",
                reads=tuple(
                    Read(method=f"/tfplugin6.Provider/{name}", request=b"", response=b"") for name in names
                ),
            ),
        )
    )


def resource(address: str, **more: str) -> dict[str, str]:
    return {"mode": "managed", "address": address, "provider_name": "a/b/c", **more}


def test_what_is_in_the_state_must_have_been_read() -> None:
    """In HCP Terraform a plan reads elsewhere; a recording of nothing would always be the same."""
    document = {
        "prior_state": {
            "values": {
                "root_module": {
                    "resources": [
                        resource("x.a"),
                        resource("data.x.b", mode="data"),
                        resource("terraform_data.c", provider_name="terraform.io/builtin/terraform"),
                    ],
                    "child_modules": [{"resources": [resource("module.m.x.a")]}],
                }
            }
        },
        "resource_drift": [resource("x.gone"), resource("x.a")],
    }
    assert is_all_read(document, recording_of(*["ReadResource"] * 3))
    assert not is_all_read(document, recording_of("ReadResource", "ReadResource", "ReadDataSource"))
    assert not is_all_read(document, Recording(conversations=()))
    assert is_all_read({}, Recording(conversations=()))


def test_the_states_that_a_plan_reads_of_others() -> None:
    def document(**values: object) -> dict[str, object]:
        read = {"mode": "data", "type": "terraform_remote_state", "address": "data.x", "values": values}
        return {"prior_state": {"values": {"root_module": {"resources": [read]}}}}

    (found,) = upstreams(document(backend="s3", config={"bucket": "canary-b"}, workspace=None)) or ()
    assert (found.backend, found.config, found.workspace) == ("s3", {"bucket": "canary-b"}, "default")
    assert "canary" not in repr(found)
    assert upstreams(document(backend=None)) is None
    assert upstreams({}) == ()
    later = {"resource_changes": [{"type": "terraform_remote_state"}]}
    assert upstreams({**document(backend="local"), **later}) is None


def test_what_reads_files_is_only_good_for_its_own_commit() -> None:
    """A provider outside the list may follow a path to anywhere in the repository."""
    facts = dataclasses.replace(FACTS, commit="1")
    for bound, commit, reason in ((True, "1", None), (True, "2", Refusal.FILES_CHANGED), (False, "2", None)):
        known = dataclasses.replace(KNOWN, facts=facts, recording=recording_of(bound=bound))
        assert decide(known, dataclasses.replace(facts, commit=commit)) is reason


def test_only_what_could_ever_be_replayed_is_proved() -> None:
    def provable(**changes: object) -> bool:
        return is_provable(dataclasses.replace(KNOWN, proved=False, **changes))

    assert provable()
    assert not provable(recording=Recording(conversations=(), unusable=("ephemeral",)))
    for change in (
        {"state": None},
        {"blind": frozenset({Refusal.TIMESTAMP_FUNCTION})},
        {"blind": frozenset({Refusal.REMOTE_STATE}), "upstreams": {"x": None}},
    ):
        assert not provable(facts=dataclasses.replace(FACTS, **change))
    followed = {"blind": frozenset({Refusal.REMOTE_STATE}), "upstreams": {"x": STATE}}
    assert provable(facts=dataclasses.replace(FACTS, **followed))


def test_modules_and_json_count_too() -> None:
    assert examine({".": {}, "m": {"main.tf": b"locals { a = uuid() }"}}) == {Refusal.RANDOM_FUNCTION}
    assert examine({".": {"a.tf.json": b'{"locals": {"a": "${timestamp()}"}}'}}) == {
        Refusal.TIMESTAMP_FUNCTION
    }
    assert examine({".": {"a.tf.json": b'{"data": {"terraform_remote_state": {"n": {}}}}'}}) == {
        Refusal.REMOTE_STATE
    }


@pytest.mark.parametrize(
    ("template", "reasons"),
    [
        (b"hello ${name}", set()),
        (b"${timestamp()}", {Refusal.TIMESTAMP_FUNCTION}),
        (b'${file("/etc/motd")}', {Refusal.OUTSIDE_FILES}),
    ],
)
def test_templates_are_looked_into_where_there_is_any(template: bytes, reasons: set[Refusal]) -> None:
    """Whichever file it is that one is made of: its name may be computed."""
    calls = {".": {"main.tf": b'resource "x" "y" { a = templatefile("${path.module}/t.tftpl", {}) }'}}
    assert examine(calls, templates=[b"another", template]) == reasons
    assert examine({".": {"main.tf": b"locals { a = 1 }"}}, templates=[template]) == set()


def test_code_that_reads_files_elsewhere_is_only_good_for_its_own_commit() -> None:
    """A name may come from a data file, or from the cloud."""
    facts = dataclasses.replace(FACTS, commit="1", blind=frozenset({Refusal.FILES_ELSEWHERE}))
    known = dataclasses.replace(KNOWN, facts=facts)
    assert decide(known, facts) is None
    assert decide(known, dataclasses.replace(facts, commit="2")) is Refusal.FILES_CHANGED
    assert is_provable(dataclasses.replace(known, proved=False))
