"""The provider under real terraform: what a plan shows of the cloud."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from driftwatch.sandbox.cloud import Fault, Kind

if TYPE_CHECKING:
    from tests.sandbox.conftest import Terminal

REFRESHED_EMPTY = {"sandbox_firewall.web": ["update"], "sandbox_database.orders": ["update"]}
"""Their tags were null and come back as {}: the noise of a clean first apply."""


def test_a_fresh_apply_has_no_changes_and_only_null_against_empty_as_drift(applied: Terminal) -> None:
    plan = applied.plan()
    assert plan.changes() == {}
    assert plan.drift() == REFRESHED_EMPTY
    tags = plan.drifted("sandbox_firewall.web")
    assert (tags["before"]["tags"], tags["after"]["tags"]) == (None, {})


def test_outputs_and_data_sources_carry_what_the_cloud_computed(applied: Terminal) -> None:
    outputs = {name: one["value"] for name, one in json.loads(applied.must("output", "-json")).items()}
    assert outputs["zones"] == ["local-1a", "local-1b", "local-1c"]
    assert outputs["arn"] == "arn:sandbox:bucket:local-1::logs"
    assert re.fullmatch(r"orders-000\d\.db\.local-1\.sandbox\.internal:5432", outputs["endpoint"])


def test_hand_made_changes_show_as_drift_and_as_change_and_nothing_else_does(applied: Terminal) -> None:
    cloud = applied.cloud
    cloud.update(Kind.FIREWALL, "local-1/web", {"ingress": [rule(443, "10.0.0.0/8", "0.0.0.0/0")]})
    cloud.update(Kind.BUCKET, "logs", {"tags": {"team": "platform", "tier": "hot"}})
    cloud.delete(Kind.DNS_RECORD, "example.test/www/A")
    plan = applied.plan()
    assert plan.changes() == {
        "sandbox_bucket.logs": ["update"],
        "sandbox_dns_record.www": ["create"],
        "sandbox_firewall.web": ["update"],
    }
    assert plan.drift() == REFRESHED_EMPTY | {
        "sandbox_bucket.logs": ["update"],
        "sandbox_dns_record.www": ["delete"],
    }
    firewall = plan.change("sandbox_firewall.web")
    assert [sorted(one["cidrs"]) for one in firewall["before"]["ingress"]] == [["0.0.0.0/0", "10.0.0.0/8"]]
    assert sorted(one["port"] for one in firewall["after"]["ingress"]) == [80, 443]
    assert plan.change("sandbox_bucket.logs")["after"]["tags"]["tier"] == "cold"
    applied.apply()
    assert applied.plan().changes() == {}


def rule(port: int, *cidrs: str) -> dict[str, object]:
    return {"port": port, "protocol": "tcp", "cidrs": list(cidrs), "description": None}


def test_the_order_of_a_set_is_no_difference_and_that_of_a_list_is(applied: Terminal) -> None:
    firewall = applied.cloud.get(Kind.FIREWALL, "local-1/web")
    rules = [{**one, "cidrs": one["cidrs"][::-1]} for one in firewall.attributes["ingress"][::-1]]
    applied.cloud.update(Kind.FIREWALL, "local-1/web", {"ingress": rules})
    bucket = applied.cloud.get(Kind.BUCKET, "logs")
    applied.cloud.update(Kind.BUCKET, "logs", {"lifecycle_rule": bucket.attributes["lifecycle_rule"][::-1]})
    assert applied.plan().changes() == {"sandbox_bucket.logs": ["update"]}


def test_a_password_changed_by_hand_is_seen_and_masked(applied: Terminal) -> None:
    applied.cloud.update(Kind.DATABASE, "orders", {"password": "changed-by-hand"})
    change = applied.plan().change("sandbox_database.orders")
    assert change["before_sensitive"]["password"] is True
    assert change["after_sensitive"]["password"] is True
    assert change["before"]["password"] == "changed-by-hand"
    text = applied.must("plan", "-input=false", "-no-color")
    assert "(sensitive value)" in text
    assert "changed-by-hand" not in text
    assert "canary-hunter2" not in text


def test_what_the_cloud_counts_by_itself_is_drift_without_a_change(applied: Terminal) -> None:
    applied.cloud.touch(Kind.DATABASE, "orders")
    plan = applied.plan()
    assert plan.changes() == {}
    moved = plan.drifted("sandbox_database.orders")
    assert (moved["before"]["revision"], moved["after"]["revision"]) == (1, 2)


def test_an_update_makes_only_the_revision_unknown(applied: Terminal) -> None:
    applied.cloud.update(Kind.DATABASE, "orders", {"maintenance": {"day": "monday", "hour": 3}})
    change = applied.plan().change("sandbox_database.orders")
    assert change["actions"] == ["update"]
    assert [name for name, unknown in change["after_unknown"].items() if unknown is True] == ["revision"]
    assert change["after"]["maintenance"] == {"day": "sunday", "hour": 3}


def test_an_attribute_of_creation_time_forces_a_replacement(applied: Terminal) -> None:
    source = (applied.module / "main.tf").read_text()
    (applied.module / "main.tf").write_text(source.replace('"postgres"', '"mysql"'))
    change = applied.plan().change("sandbox_database.orders")
    assert change["actions"] == ["delete", "create"]
    assert change["replace_paths"] == [["engine"]]
    applied.apply()
    assert applied.cloud.get(Kind.DATABASE, "orders").attributes["engine"] == "mysql"
    assert applied.plan().changes() == {}


def test_deleted_and_made_again_by_hand_shows_in_what_is_computed(applied: Terminal) -> None:
    old = applied.cloud.get(Kind.DATABASE, "orders")
    settings = {name: value for name, value in old.attributes.items() if name not in ("id", "endpoint")}
    applied.cloud.delete(Kind.DATABASE, "orders")
    applied.cloud.create(Kind.DATABASE, settings)
    plan = applied.plan()
    assert plan.changes() == {}
    moved = plan.drifted("sandbox_database.orders")
    assert moved["before"]["endpoint"] != moved["after"]["endpoint"]


def test_tags_taken_out_of_the_code_are_taken_out_of_the_cloud(applied: Terminal) -> None:
    source = (applied.module / "main.tf").read_text()
    (applied.module / "main.tf").write_text(re.sub(r"\n  tags = .*", "", source))
    assert applied.plan().changes() == {"sandbox_bucket.logs": ["update"]}
    applied.apply()
    assert applied.cloud.get(Kind.BUCKET, "logs").attributes["tags"] == {}
    assert applied.plan().changes() == {}


def test_tags_put_on_by_hand_where_the_code_has_none_are_a_change(applied: Terminal) -> None:
    applied.cloud.update(Kind.FIREWALL, "local-1/web", {"tags": {"owner": "bob"}})
    change = applied.plan().change("sandbox_firewall.web")
    assert (change["before"]["tags"], change["after"]["tags"]) == ({"owner": "bob"}, None)


def test_an_object_made_by_hand_can_be_imported(terminal: Terminal) -> None:
    terminal.cloud.create(Kind.BUCKET, {"name": "found", "tags": {"team": "x"}})
    terminal.write("""
        import {
          to = sandbox_bucket.found
          id = "found"
        }
        resource "sandbox_bucket" "found" {
          name = "found"
          tags = { team = "x" }
        }
    """)
    terminal.init()
    change = terminal.plan().change("sandbox_bucket.found")
    assert change["actions"] == ["no-op"]
    assert change["importing"] == {"id": "found"}
    terminal.apply()
    assert terminal.plan().changes() == {}


def test_importing_and_looking_up_what_is_not_there_says_so(terminal: Terminal) -> None:
    terminal.write("""
        resource "sandbox_bucket" "it" { name = "it" }
        data "sandbox_bucket" "other" { name = "other" }
    """)
    terminal.init()
    assert "NotFound: no bucket 'it'" in terminal.fail("import", "sandbox_bucket.it", "it")
    assert "NotFound: no bucket 'other'" in terminal.fail("plan")


def test_two_regions_are_two_providers_of_one_cloud(terminal: Terminal) -> None:
    terminal.write("""
        provider "sandbox" {}
        provider "sandbox" {
          alias  = "second"
          region = "local-2"
        }
        resource "sandbox_firewall" "here" { name = "edge" }
        resource "sandbox_firewall" "there" {
          provider = sandbox.second
          name     = "edge"
        }
        data "sandbox_region" "there" { provider = sandbox.second }
        output "zones" { value = data.sandbox_region.there.zones }
    """)
    terminal.init()
    terminal.apply()
    assert {one.key for one in terminal.cloud.objects(Kind.FIREWALL)} == {"local-1/edge", "local-2/edge"}
    assert json.loads(terminal.must("output", "-json", "zones")) == ["local-2a", "local-2b"]
    assert terminal.plan().changes() == {}


def test_many_resources_at_once_all_arrive(terminal: Terminal) -> None:
    terminal.write("""
        resource "sandbox_dns_record" "host" {
          count  = 60
          zone   = "example.test"
          name   = "host-${count.index}"
          type   = "A"
          values = ["192.0.2.${count.index}"]
        }
    """)
    terminal.init()
    terminal.apply("-parallelism=25")
    records = terminal.cloud.objects(Kind.DNS_RECORD)
    assert sorted(one.serial for one in records) == list(range(1, 61))
    assert terminal.plan().changes() == {}


def test_a_name_that_is_taken_or_empty_is_refused_by_name(terminal: Terminal) -> None:
    terminal.cloud.create(Kind.BUCKET, {"name": "taken"})
    terminal.write('resource "sandbox_bucket" "it" { name = "taken" }')
    terminal.init()
    assert "Conflict: bucket 'taken' already exists" in terminal.fail("apply", "-auto-approve")
    assert terminal.run("state", "list").stdout == ""
    terminal.write('resource "sandbox_bucket" "it" { name = "" }')
    assert "name must not be empty" in terminal.fail("plan")


def test_a_damaged_object_is_named_and_never_looks_deleted(applied: Terminal) -> None:
    file = applied.cloud.directory / "bucket" / "logs.json"
    file.write_text("{")
    said = applied.fail("plan", "-input=false")
    assert "read sandbox_bucket (logs): Unreadable" in said
    assert "bucket/logs.json" in said.replace(" ", "")


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"SANDBOX_CLOUD": ""}, "set `cloud` in the provider block"),
        ({"SANDBOX_CLOUD": "/nowhere"}, "/nowhere"),
    ],
)
def test_without_a_cloud_nothing_looks_deleted(
    applied: Terminal, environment: dict[str, str], says: str
) -> None:
    said = applied.fail("plan", "-input=false", **environment)
    assert "NoCredentials" in said
    assert says in said


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault(kind="expired_credentials", operation="configure"), "ExpiredToken"),
        (Fault(kind="access_denied", type="sandbox_bucket"), "read sandbox_bucket (logs): AccessDenied"),
        (Fault(kind="throttled", key="orders"), "ThrottlingException: Rate exceeded"),
        (Fault(kind="unavailable", operation="read_data"), "StatusCode: 503"),
        (Fault(kind="crash", operation="read", times=1), "panic: the sandbox provider was told to crash"),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
def test_a_fault_fails_the_plan_in_words_that_clouds_use(applied: Terminal, fault: Fault, says: str) -> None:
    applied.cloud.inject(fault)
    assert says in applied.fail("plan", "-input=false")


def test_a_crash_after_the_create_leaves_an_orphan_in_the_cloud(terminal: Terminal) -> None:
    terminal.cloud.inject(Fault(kind="crash_after", operation="create"))
    terminal.write('resource "sandbox_bucket" "it" { name = "it" }')
    terminal.init()
    terminal.fail("apply", "-auto-approve")
    assert [one.key for one in terminal.cloud.objects(Kind.BUCKET)] == ["it"]


def test_a_failed_update_or_delete_leaves_the_resource_in_the_state(applied: Terminal) -> None:
    applied.cloud.update(Kind.BUCKET, "logs", {"versioning": True})
    applied.cloud.inject(
        Fault(kind="throttled", operation="update"), Fault(kind="throttled", operation="delete")
    )
    assert "update sandbox_bucket (logs)" in applied.fail("apply", "-auto-approve")
    assert "delete sandbox_bucket (logs)" in applied.fail(
        "destroy", "-auto-approve", "-target=sandbox_bucket.logs"
    )
    assert "sandbox_bucket.logs" in applied.must("state", "list").split()


def test_everything_can_be_destroyed_even_what_is_gone_already(applied: Terminal) -> None:
    applied.cloud.delete(Kind.BUCKET, "logs")
    applied.must("destroy", "-auto-approve", "-refresh=false")
    assert all(applied.cloud.objects(kind) == () for kind in Kind)
