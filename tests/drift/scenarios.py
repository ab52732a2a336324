"""What happened before each document of the corpus: code, hands in the cloud, new code.

Each scenario is played with real terraform and the sandbox's provider: `code` is applied to an empty cloud,
`meddle` changes the cloud as a person would, `commit` replaces files of the code, and a plan is made.
Secrets in here are canaries: texts that no result may hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from driftwatch.sandbox.cloud import Cloud, Fault, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CANARY = "canary-hunter2-before"
CANARY_BY_HAND = "canary-hunter2-by-hand"

HEADER = """
terraform {
  required_providers {
    sandbox = { source = "sandbox.driftwatch.local/driftwatch/sandbox" }
  }
}
"""

BUCKET = """
resource "sandbox_bucket" "logs" {
  name = "logs"
  tags = { team = "platform", tier = "cold" }
  lifecycle_rule {
    prefix      = "raw/"
    expire_days = 30
  }
}
"""

FIREWALL = """
resource "sandbox_firewall" "web" {
  name        = "web"
  description = "edge"
  tags        = { team = "platform" }
  ingress {
    port     = 443
    protocol = "tcp"
    cidrs    = ["192.168.0.0/16", "10.0.0.0/8"]
  }
  ingress {
    port        = 80
    protocol    = "tcp"
    cidrs       = ["10.0.0.0/8"]
    description = "redirect"
  }
}
"""

DATABASE = f"""
resource "sandbox_database" "orders" {{
  name       = "orders"
  engine     = "postgres"
  version    = "15.4"
  password   = "{CANARY}"
  parameters = {{ max_connections = "100" }}
  tags       = {{ team = "orders" }}
}}
"""

RECORD = """
resource "sandbox_dns_record" "www" {
  zone   = "example.test"
  name   = "www"
  type   = "A"
  values = ["203.0.113.2", "203.0.113.1"]
}
"""

RECORD_KEY = "example.test/www/A"


def _nothing(_cloud: Cloud) -> None:
    """Nobody touched the cloud."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One document. `before` asks for a second one, made between the first apply and everything else.

    `plan` are more arguments of `terraform plan`; `fails` is set where that plan has to fail. `unfinished`:
    the first apply is one that fails half-way.
    """

    code: Mapping[str, str]
    meddle: Callable[[Cloud], None] = _nothing
    commit: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[Cloud], None] = _nothing
    plan: tuple[str, ...] = ()
    before: bool = False
    fails: bool = False
    break_apply: Callable[[Cloud], None] | None = None


def _root(*parts: str) -> dict[str, str]:
    return {"main.tf": HEADER + "".join(parts)}


def _set(kind: Kind, key: str, **changes: object) -> Callable[[Cloud], None]:
    return lambda cloud: _ignore(cloud.update(kind, key, changes))


def _ignore(_record: object) -> None:
    """Lambdas that change a cloud return nothing."""


def _open_ssh(cloud: Cloud) -> None:
    rule = {"port": 22, "protocol": "tcp", "cidrs": ["0.0.0.0/0"], "description": "temporary"}
    rules = cloud.get(Kind.FIREWALL, "local-1/web").attributes["ingress"]
    cloud.update(Kind.FIREWALL, "local-1/web", {"ingress": [rule, *rules]})


def _shuffle(cloud: Cloud) -> None:
    """The same sets in another order: an API that answers as it likes."""
    rules = cloud.get(Kind.FIREWALL, "local-1/web").attributes["ingress"]
    turned = [{**rule, "cidrs": rule["cidrs"][::-1]} for rule in rules[::-1]]
    cloud.update(Kind.FIREWALL, "local-1/web", {"ingress": turned})
    values = cloud.get(Kind.DNS_RECORD, RECORD_KEY).attributes["values"]
    cloud.update(Kind.DNS_RECORD, RECORD_KEY, {"values": values[::-1]})


def _recreate(cloud: Cloud, **different: object) -> None:
    settable = ("name", "region", "engine", "version", "password", "parameters", "tags")
    known = cloud.get(Kind.DATABASE, "orders").attributes
    cloud.delete(Kind.DATABASE, "orders")
    cloud.create(Kind.DATABASE, {name: known[name] for name in settable} | different)


def _everything_gone(cloud: Cloud) -> None:
    for kind in Kind:
        for record in cloud.objects(kind):
            cloud.delete(kind, record.key)


def _foreign_bucket(cloud: Cloud) -> None:
    cloud.create(Kind.BUCKET, {"name": "shared", "tags": {"owner": "other-team"}})


def _both(*hands: Callable[[Cloud], None]) -> Callable[[Cloud], None]:
    def all_of_them(cloud: Cloud) -> None:
        for hand in hands:
            hand(cloud)

    return all_of_them


COUNTED_BUCKETS = """
variable "shards" {
  type    = number
  default = 2
}
resource "sandbox_bucket" "shard" {
  count = var.shards
  name  = "shard-${count.index}"
  tags  = { shard = tostring(count.index) }
}
"""

KEYED_RECORDS = """
resource "sandbox_dns_record" "host" {
  for_each = { api = "203.0.113.10", "we/ird \\"key\\"" = "203.0.113.11" }
  zone     = "example.test"
  name     = each.key == "api" ? "api" : "weird"
  type     = "A"
  values   = [each.value]
}
"""

MODULES = {
    "main.tf": HEADER
    + """
module "shop" {
  source = "./modules/shop"
  team   = "shop"
}
output "bucket" { value = module.shop.bucket }
""",
    "modules/shop/main.tf": HEADER
    + """
variable "team" { type = string }
module "storage" {
  source   = "../storage"
  for_each = toset(["eu", "us"])
  name     = "${var.team}-${each.key}"
}
output "bucket" { value = module.storage["eu"].arn }
""",
    "modules/storage/main.tf": HEADER
    + """
variable "name" { type = string }
resource "sandbox_bucket" "this" {
  name = var.name
  tags = { name = var.name }
}
output "arn" { value = sandbox_bucket.this.arn }
""",
}

IGNORING = """
resource "sandbox_bucket" "logs" {
  name = "logs"
  tags = { team = "platform" }
  lifecycle { ignore_changes = [tags, versioning] }
}
"""

FOLLOWING = (
    DATABASE
    + """
locals { address = sandbox_database.orders.endpoint }
resource "sandbox_dns_record" "db" {
  zone   = "example.test"
  name   = "db"
  type   = "CNAME"
  values = [local.address]
}
output "endpoint" { value = sandbox_database.orders.endpoint }
"""
)

LABELLED = (
    DATABASE
    + """
resource "sandbox_bucket" "labelled" {
  name = "labelled"
  tags = { address = sandbox_database.orders.endpoint, tier = "cold" }
}
"""
)

CHECKED = f"""
variable "token" {{
  type      = string
  sensitive = true
  default   = "{CANARY}"
}}
{BUCKET}
data "sandbox_bucket" "shared" {{ name = "shared" }}
check "shared" {{
  assert {{
    condition     = data.sandbox_bucket.shared.tags["owner"] == "other-team"
    error_message = "Not ours, token ${{nonsensitive(var.token)}}."
  }}
  assert {{
    condition     = !data.sandbox_bucket.shared.versioning
    error_message = "It is versioned now."
  }}
}}
"""

READING_DATA = """
data "sandbox_bucket" "shared" { name = "shared" }
resource "sandbox_bucket" "logs" {
  name = "logs"
  tags = { owner = data.sandbox_bucket.shared.tags["owner"] }
}
"""

SENSITIVE_MAP = f"""
variable "labels" {{
  type      = map(string)
  sensitive = true
  default   = {{ key = "{CANARY}" }}
}}
resource "sandbox_bucket" "vault" {{
  name = "vault"
  tags = var.labels
}}
output "labels" {{
  value     = sandbox_bucket.vault.tags
  sensitive = true
}}
"""

TEN = """
resource "sandbox_bucket" "many" {
  count = 10
  name  = "many-${count.index}"
}
"""

SCENARIOS: Mapping[str, Scenario] = {
    "first_apply": Scenario(
        # Nothing was touched: tags are null in the state and {} in the cloud.
        code=_root('resource "sandbox_bucket" "plain" { name = "plain" }\n', FIREWALL.replace("tags", "#")),
    ),
    "never_applied": Scenario(code=_root(), commit=_root(BUCKET)),
    "update": Scenario(
        code=_root(BUCKET, RECORD), meddle=_set(Kind.BUCKET, "logs", versioning=True), before=True
    ),
    "delete": Scenario(
        code=_root(BUCKET, RECORD), meddle=lambda cloud: cloud.delete(Kind.DNS_RECORD, RECORD_KEY)
    ),
    "recreate_alike": Scenario(code=_root(DATABASE), meddle=_recreate),
    "recreate_different": Scenario(
        code=_root(DATABASE), meddle=lambda cloud: _recreate(cloud, version="16.1")
    ),
    "tags": Scenario(
        code=_root(BUCKET),
        meddle=_set(Kind.BUCKET, "logs", tags={"team": "skunkworks", "tier": "cold", "by": "hand"}),
    ),
    "tag_without_a_value": Scenario(
        code=_root(BUCKET, 'resource "sandbox_bucket" "plain" { name = "plain" }\n'),
        meddle=_both(
            _set(Kind.BUCKET, "logs", tags={"team": "platform", "tier": "cold", "by": ""}),
            _set(Kind.BUCKET, "plain", tags={"by": ""}),
        ),
    ),
    "nested_list_block": Scenario(
        code=_root(BUCKET),
        meddle=_set(
            Kind.BUCKET, "logs", lifecycle_rule=[{"prefix": "raw/", "expire_days": 1, "storage_class": None}]
        ),
    ),
    "nested_set_block": Scenario(code=_root(FIREWALL), meddle=_open_ssh),
    "set_order": Scenario(code=_root(FIREWALL, RECORD), meddle=_shuffle),
    "map_key": Scenario(
        code=_root(DATABASE),
        meddle=_set(Kind.DATABASE, "orders", parameters={"max_connections": "100", "log/min~level": "9"}),
    ),
    "sensitive_value": Scenario(
        code=_root(DATABASE), meddle=_set(Kind.DATABASE, "orders", password=CANARY_BY_HAND)
    ),
    "sensitive_container": Scenario(
        code=_root(SENSITIVE_MAP), meddle=_set(Kind.BUCKET, "vault", tags={"key": CANARY_BY_HAND})
    ),
    "unknown_value": Scenario(
        code=_root(RECORD),
        commit=_root(DATABASE, RECORD.replace('"203.0.113.1"', "sandbox_database.orders.endpoint")),
    ),
    "replaced_by_commit": Scenario(
        code=_root(DATABASE), commit=_root(DATABASE.replace('"postgres"', '"mysql"'))
    ),
    "replaced_create_first": Scenario(
        code=_root(DATABASE.replace("tags ", "lifecycle { create_before_destroy = true }\n  tags ")),
        commit=_root(
            DATABASE.replace("tags ", "lifecycle { create_before_destroy = true }\n  tags ").replace(
                '"orders"\n  engine', '"orders-2"\n  engine'
            )
        ),
    ),
    "replaced_by_hand": Scenario(
        code=_root(DATABASE), meddle=_set(Kind.DATABASE, "orders", engine="mysql", size=30)
    ),
    "deposed": Scenario(
        code=_root(DATABASE.replace("tags ", "lifecycle { create_before_destroy = true }\n  tags ")),
        commit=_root(
            DATABASE.replace("tags ", "lifecycle { create_before_destroy = true }\n  tags ").replace(
                '"orders"\n  engine', '"orders-2"\n  engine'
            )
        ),
        break_apply=lambda cloud: cloud.inject(Fault(kind="access_denied", operation="delete")),
    ),
    "destroyed": Scenario(
        code=_root(BUCKET, RECORD), meddle=_set(Kind.BUCKET, "logs", versioning=True), commit=_root(RECORD)
    ),
    "destroyed_and_gone": Scenario(
        code=_root(BUCKET, RECORD),
        meddle=lambda cloud: cloud.delete(Kind.BUCKET, "logs"),
        commit=_root(RECORD),
    ),
    "forgotten": Scenario(
        code=_root(BUCKET, RECORD),
        commit=_root(RECORD, "removed {\n  from = sandbox_bucket.logs\n  lifecycle { destroy = false }\n}\n"),
    ),
    "moved": Scenario(
        code=_root(BUCKET),
        commit=_root(
            BUCKET.replace('"logs" {', '"archive" {'),
            "moved {\n  from = sandbox_bucket.logs\n  to   = sandbox_bucket.archive\n}\n",
        ),
    ),
    "moved_and_drifted": Scenario(
        code=_root(BUCKET),
        meddle=_set(Kind.BUCKET, "logs", versioning=True),
        commit=_root(
            BUCKET.replace('"logs" {', '"archive" {'),
            "moved {\n  from = sandbox_bucket.logs\n  to   = sandbox_bucket.archive\n}\n",
        ),
    ),
    "moved_and_deleted": Scenario(
        code=_root(BUCKET),
        meddle=lambda cloud: cloud.delete(Kind.BUCKET, "logs"),
        commit=_root(
            BUCKET.replace('"logs" {', '"archive" {'),
            "moved {\n  from = sandbox_bucket.logs\n  to   = sandbox_bucket.archive\n}\n",
        ),
    ),
    "imported": Scenario(
        code=_root(RECORD),
        meddle=_foreign_bucket,
        commit=_root(
            RECORD,
            'import {\n  to = sandbox_bucket.shared\n  id = "shared"\n}\n',
            'resource "sandbox_bucket" "shared" {\n  name = "shared"\n  tags = { owner = "other-team" }\n}\n',
        ),
    ),
    "imported_and_changed": Scenario(
        code=_root(RECORD),
        meddle=_foreign_bucket,
        commit=_root(
            RECORD,
            'import {\n  to = sandbox_bucket.shared\n  id = "shared"\n}\n',
            'resource "sandbox_bucket" "shared" {\n  name = "shared"\n  tags = { owner = "us" }\n}\n',
        ),
    ),
    "output_only": Scenario(
        code=_root(BUCKET, 'output "name" { value = sandbox_bucket.logs.name }\n'),
        commit=_root(
            BUCKET,
            'output "name" { value = upper(sandbox_bucket.logs.name) }\n',
            'output "arn" { value = sandbox_bucket.logs.arn }\n',
        ),
    ),
    "data_source": Scenario(
        code=_root(READING_DATA),
        prepare=_foreign_bucket,
        meddle=_set(Kind.BUCKET, "shared", tags={"owner": "new-team"}),
        before=True,
    ),
    "check_failed": Scenario(
        code=_root(CHECKED),
        prepare=_foreign_bucket,
        meddle=_set(Kind.BUCKET, "shared", tags={"owner": "nobody"}, versioning=True),
    ),
    "count": Scenario(
        code=_root(COUNTED_BUCKETS),
        meddle=_set(Kind.BUCKET, "shard-0", tags={"shard": "zero"}),
        commit=_root(COUNTED_BUCKETS.replace("default = 2", "default = 1")),
    ),
    "for_each": Scenario(
        code=_root(KEYED_RECORDS), meddle=_set(Kind.DNS_RECORD, "example.test/weird/A", ttl=5)
    ),
    "nested_modules": Scenario(
        code=MODULES, meddle=_set(Kind.BUCKET, "shop-us", tags={"name": "somebody-elses"})
    ),
    "null_against_empty": Scenario(
        code=_root('resource "sandbox_bucket" "plain" { name = "plain" }\n'),
        commit=_root('resource "sandbox_bucket" "plain" {\n  name = "plain"\n  tags = {}\n}\n'),
    ),
    "drift_and_pending": Scenario(
        code=_root(BUCKET),
        meddle=_set(Kind.BUCKET, "logs", versioning=True),
        commit=_root(BUCKET.replace('"cold"', '"hot"')),
        before=True,
    ),
    "drift_and_pending_at_one_attribute": Scenario(
        code=_root(RECORD),
        meddle=_set(Kind.DNS_RECORD, RECORD_KEY, ttl=5),
        commit=_root(RECORD.replace("values", "ttl    = 60\n  values")),
    ),
    "hand_came_first": Scenario(
        # Somebody did by hand what the commit says: nothing is left to do.
        code=_root(BUCKET),
        meddle=_set(Kind.BUCKET, "logs", versioning=True),
        commit=_root(BUCKET.replace("tags ", "versioning = true\n  tags ")),
    ),
    "pending": Scenario(code=_root(BUCKET), commit=_root(BUCKET.replace('"cold"', '"hot"')), before=True),
    "ignored": Scenario(
        code=_root(IGNORING, 'output "tags" { value = sandbox_bucket.logs.tags }\n'),
        meddle=_set(Kind.BUCKET, "logs", tags={"team": "skunkworks"}, versioning=True),
    ),
    "computed": Scenario(
        # The cloud counted a revision up by itself, and nobody set it.
        code=_root(DATABASE),
        meddle=lambda cloud: _ignore(cloud.touch(Kind.DATABASE, "orders")),
    ),
    "follows_deletion": Scenario(
        code=_root(FOLLOWING), meddle=lambda cloud: cloud.delete(Kind.DATABASE, "orders")
    ),
    "follows_recreation": Scenario(code=_root(FOLLOWING), meddle=_recreate),
    "follows_commit": Scenario(
        code=_root(FOLLOWING), commit=_root(FOLLOWING.replace('"postgres"', '"mysql"')), before=True
    ),
    "passed_on_beside_a_commit": Scenario(
        # The new endpoint comes from the cloud, the new tier from the code, at one resource.
        code=_root(LABELLED),
        meddle=_recreate,
        commit=_root(LABELLED.replace('"cold"', '"hot"')),
        before=True,
    ),
    "mass_deletion": Scenario(code=_root(TEN, RECORD), meddle=_everything_gone),
    "refused_errored": Scenario(
        code=_root(BUCKET, RECORD),
        meddle=lambda cloud: cloud.inject(Fault(kind="throttled", type="sandbox_bucket")),
        fails=True,
    ),
    "refused_targeted": Scenario(
        code=_root(BUCKET, RECORD),
        meddle=_set(Kind.BUCKET, "logs", versioning=True),
        plan=("-target=sandbox_dns_record.www",),
    ),
    "refused_refresh_only": Scenario(
        code=_root(BUCKET), meddle=_set(Kind.BUCKET, "logs", versioning=True), plan=("-refresh-only",)
    ),
}
