"""The provider under real terraform: what a plan shows of the cloud."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from driftwatch.sandbox.cloud import Fault, Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from driftwatch.sandbox.cloud import Cloud
    from tests.sandbox.conftest import Plan, Terminal

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


HAND_MADE = """
resource "sandbox_firewall" "opened" {
  name = "opened"
  ingress {
    port     = 22
    protocol = "tcp"
    cidrs    = ["10.0.0.0/8"]
  }
}
resource "sandbox_firewall" "reordered" {
  name = "reordered"
  dynamic "ingress" {
    for_each = [80, 443]
    content {
      port     = ingress.value
      protocol = "tcp"
      cidrs    = ["10.0.0.0/8", "192.168.0.0/16"]
    }
  }
}
resource "sandbox_firewall" "labelled" { name = "labelled" }
resource "sandbox_bucket" "labelled" {
  name = "labelled"
  tags = { team = "platform", tier = "cold" }
}
resource "sandbox_bucket" "reordered" {
  name = "reordered"
  dynamic "lifecycle_rule" {
    for_each = ["raw/", "daily/"]
    content {
      prefix      = lifecycle_rule.value
      expire_days = 30
    }
  }
}
resource "sandbox_bucket" "versioned" { name = "versioned" }
resource "sandbox_database" "it" {
  for_each    = toset(["counted", "moved", "rekeyed", "replaced"])
  name        = each.key
  engine      = "postgres"
  version     = "15.4"
  password    = "canary-hunter2"
  maintenance = { day = "sunday", hour = 3 }
}
resource "sandbox_dns_record" "it" {
  for_each = toset(["deleted", "kept"])
  zone     = "example.test"
  name     = each.key
  type     = "A"
  values   = ["203.0.113.1"]
}
"""


@pytest.fixture(scope="module")
def hand_made(
    tmp_path_factory: pytest.TempPathFactory, terminal_at: Callable[[Path], Terminal]
) -> tuple[Terminal, Plan]:
    """`HAND_MADE`, applied, then changed by hand in one way for each resource; and the plan of that."""
    terminal = terminal_at(tmp_path_factory.mktemp("hand") / "made")
    terminal.write(HAND_MADE)
    terminal.init()
    terminal.apply()
    change_by_hand(terminal.cloud)
    return terminal, terminal.plan()


def change_by_hand(cloud: Cloud) -> None:
    opened = {"port": 22, "protocol": "tcp", "cidrs": ["0.0.0.0/0", "10.0.0.0/8"]}
    cloud.update(Kind.FIREWALL, "local-1/opened", {"ingress": [{**opened, "description": None}]})
    rules = cloud.get(Kind.FIREWALL, "local-1/reordered").attributes["ingress"]
    turned = [{**rule, "cidrs": rule["cidrs"][::-1]} for rule in rules[::-1]]
    cloud.update(Kind.FIREWALL, "local-1/reordered", {"ingress": turned})
    cloud.update(Kind.FIREWALL, "local-1/labelled", {"tags": {"owner": "bob"}})
    cloud.update(Kind.BUCKET, "labelled", {"tags": {"team": "platform", "tier": "hot"}})
    steps = cloud.get(Kind.BUCKET, "reordered").attributes["lifecycle_rule"]
    cloud.update(Kind.BUCKET, "reordered", {"lifecycle_rule": steps[::-1]})
    cloud.update(Kind.BUCKET, "versioned", {"versioning": True})
    cloud.touch(Kind.DATABASE, "counted")
    cloud.update(Kind.DATABASE, "moved", {"maintenance": {"day": "monday", "hour": 3}})
    cloud.update(Kind.DATABASE, "rekeyed", {"password": "changed-by-hand"})
    old = cloud.get(Kind.DATABASE, "replaced").attributes
    cloud.delete(Kind.DATABASE, "replaced")
    cloud.create(Kind.DATABASE, {name: old[name] for name in old if name not in ("id", "endpoint")})
    cloud.delete(Kind.DNS_RECORD, "example.test/deleted/A")


def test_hand_made_changes_are_changes_and_nothing_else_is(hand_made: tuple[Terminal, Plan]) -> None:
    _, plan = hand_made
    assert plan.changes() == {
        "sandbox_firewall.opened": ["update"],
        "sandbox_firewall.labelled": ["update"],
        "sandbox_bucket.labelled": ["update"],
        "sandbox_bucket.reordered": ["update"],
        "sandbox_bucket.versioned": ["update"],
        'sandbox_database.it["moved"]': ["update"],
        'sandbox_database.it["rekeyed"]': ["update"],
        'sandbox_dns_record.it["deleted"]': ["create"],
    }


def test_drift_tells_the_hand_made_change_from_state_to_cloud(hand_made: tuple[Terminal, Plan]) -> None:
    _, plan = hand_made
    rule = plan.drifted("sandbox_firewall.opened")
    assert rule["before"]["ingress"][0]["cidrs"] == ["10.0.0.0/8"]
    assert sorted(rule["after"]["ingress"][0]["cidrs"]) == ["0.0.0.0/0", "10.0.0.0/8"]
    tags = plan.drifted("sandbox_bucket.labelled")
    assert (tags["before"]["tags"]["tier"], tags["after"]["tags"]["tier"]) == ("cold", "hot")
    assert plan.drifted('sandbox_dns_record.it["deleted"]')["actions"] == ["delete"]
    assert 'sandbox_dns_record.it["kept"]' not in plan.drift()


def test_the_order_of_a_set_is_no_difference_and_that_of_a_list_is(hand_made: tuple[Terminal, Plan]) -> None:
    _, plan = hand_made
    assert "sandbox_firewall.reordered" not in plan.changes()
    steps = plan.change("sandbox_bucket.reordered")
    assert [one["prefix"] for one in steps["before"]["lifecycle_rule"]] == ["daily/", "raw/"]
    assert [one["prefix"] for one in steps["after"]["lifecycle_rule"]] == ["raw/", "daily/"]


def test_what_the_code_leaves_out_goes_back_to_its_default(hand_made: tuple[Terminal, Plan]) -> None:
    _, plan = hand_made
    assert plan.change("sandbox_bucket.versioned")["after"]["versioning"] is False
    tags = plan.change("sandbox_firewall.labelled")
    assert (tags["before"]["tags"], tags["after"]["tags"]) == ({"owner": "bob"}, None)


def test_a_password_changed_by_hand_is_seen_and_masked(hand_made: tuple[Terminal, Plan]) -> None:
    terminal, plan = hand_made
    change = plan.change('sandbox_database.it["rekeyed"]')
    assert change["before_sensitive"]["password"] is True
    assert change["after_sensitive"]["password"] is True
    assert change["before"]["password"] == "changed-by-hand"
    text = terminal.must("show", "-no-color", str(terminal.root / "plan"))
    assert "(sensitive value)" in text
    assert "changed-by-hand" not in text
    assert "canary-hunter2" not in text


def test_what_the_cloud_counts_by_itself_is_drift_without_a_change(hand_made: tuple[Terminal, Plan]) -> None:
    _, plan = hand_made
    moved = plan.drifted('sandbox_database.it["counted"]')
    assert (moved["before"]["revision"], moved["after"]["revision"]) == (1, 2)
    assert plan.change('sandbox_database.it["counted"]')["actions"] == ["no-op"]


def test_an_update_makes_only_the_revision_unknown(hand_made: tuple[Terminal, Plan]) -> None:
    _, plan = hand_made
    change = plan.change('sandbox_database.it["moved"]')
    assert [name for name, unknown in change["after_unknown"].items() if unknown is True] == ["revision"]
    assert change["after"]["maintenance"] == {"day": "sunday", "hour": 3}


def test_deleted_and_made_again_by_hand_shows_in_what_is_computed(hand_made: tuple[Terminal, Plan]) -> None:
    _, plan = hand_made
    moved = plan.drifted('sandbox_database.it["replaced"]')
    assert moved["before"]["endpoint"] != moved["after"]["endpoint"]


def test_an_apply_takes_the_hand_made_changes_back(hand_made: tuple[Terminal, Plan]) -> None:
    terminal, _ = hand_made
    terminal.must("apply", "-input=false", str(terminal.root / "plan"))
    assert terminal.cloud.get(Kind.BUCKET, "versioned").attributes["versioning"] is False
    assert terminal.cloud.get(Kind.FIREWALL, "local-1/labelled").attributes["tags"] == {}
    assert terminal.plan().changes() == {}


def test_an_attribute_of_creation_time_forces_a_replacement(applied: Terminal) -> None:
    source = (applied.module / "main.tf").read_text()
    (applied.module / "main.tf").write_text(source.replace('"postgres"', '"mysql"'))
    change = applied.plan().change("sandbox_database.orders")
    assert change["actions"] == ["delete", "create"]
    assert change["replace_paths"] == [["engine"]]
    applied.apply()
    assert applied.cloud.get(Kind.DATABASE, "orders").attributes["engine"] == "mysql"


def test_tags_taken_out_of_the_code_are_taken_out_of_the_cloud(applied: Terminal) -> None:
    source = (applied.module / "main.tf").read_text()
    (applied.module / "main.tf").write_text(re.sub(r"\n  tags = .*", "", source))
    assert applied.plan().changes() == {"sandbox_bucket.logs": ["update"]}
    applied.apply()
    assert applied.cloud.get(Kind.BUCKET, "logs").attributes["tags"] == {}


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
