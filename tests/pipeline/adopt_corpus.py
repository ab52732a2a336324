"""The corpus of adoptions: snippets of HCL, what somebody did to the cloud, and what becomes of the code.

Each snippet is a file of one root module, and its resources are named for it. `edits` are the only bytes
that may differ after it was adopted; or `refused` is why it was not, and `at` stands on the line that is
named.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from driftwatch.sandbox.cloud import Cloud, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

STACK = "adopt"
BUCKET, DATABASE, RECORD, FIREWALL = Kind.BUCKET, Kind.DATABASE, Kind.DNS_RECORD, Kind.FIREWALL


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """One case. `change` None deletes the object. `files` are more files, from the repository's root."""

    name: str
    code: str
    kind: Kind
    change: Mapping[str, Any] | None
    edits: tuple[tuple[str, str], ...] = ()
    refused: str | None = None
    at: str = ""
    file: str = ""
    edited: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    bom: bool = False

    @property
    def path(self) -> str:
        return self.file or f"{STACK}/{self.name}.tf"

    @property
    def place(self) -> str:
        """The file that is edited."""
        return self.edited or self.path

    @property
    def finding(self) -> str:
        return self.address or f"sandbox_{self.kind.value}.{self.name}"

    @property
    def key(self) -> str:
        return {
            FIREWALL: f"local-1/{self.name}",
            RECORD: f"example.test/{self.name}/A",
        }.get(self.kind, self.name)

    def sources(self) -> dict[str, bytes]:
        """All its files."""
        text = self.code.encode()
        found = {self.path: (b"\xef\xbb\xbf" if self.bom else b"") + text}
        return found | {path: content.encode() for path, content in self.files.items()}

    def drift(self, cloud: Cloud) -> None:
        """Does to the cloud what somebody did."""
        if self.change is None:
            cloud.delete(self.kind, self.key)
        else:
            cloud.update(self.kind, self.key, self.change)


def bucket(name: str, body: str, change: Mapping[str, Any] | None, **more: Any) -> Snippet:
    code = f'resource "sandbox_bucket" "{name}" {{\n  name = "{name}"\n{body}}}\n'
    return Snippet(name=name, code=code, kind=BUCKET, change=change, **more)


def firewall(name: str, body: str, change: Mapping[str, Any] | None, **more: Any) -> Snippet:
    code = f'# {name}\nresource "sandbox_firewall" "{name}" {{\n  name = "{name}"\n{body}}}\n'
    return Snippet(name=name, code=code, kind=FIREWALL, change=change, **more)


def database(name: str, body: str, change: Mapping[str, Any] | None, **more: Any) -> Snippet:
    code = (
        f'resource "sandbox_database" "{name}" {{\n  name     = "{name}"\n  engine   = "postgres"\n'
        f'  version  = "16"\n  password = var.password\n{body}}}\n'
    )
    return Snippet(name=name, code=code, kind=DATABASE, change=change, **more)


def record(name: str, body: str, change: Mapping[str, Any] | None, **more: Any) -> Snippet:
    code = (
        f'resource "sandbox_dns_record" "{name}" {{\n  zone = "example.test"\n  name = "{name}"\n'
        f'  type = "A"\n{body}}}\n'
    )
    return Snippet(name=name, code=code, kind=RECORD, change=change, **more)


def variable(name: str, default: str | None) -> str:
    said = "" if default is None else f"\n  default = {default}\n"
    return f'\nvariable "{name}" {{{said}}}\n'


def ingress(port: int, *cidrs: str, said: str | None = None) -> dict[str, Any]:
    return {"port": port, "protocol": "tcp", "cidrs": sorted(cidrs), "description": said}


BLOCKS = """
  ingress { # the web
    port     = 80
    protocol = "tcp"
    cidrs    = ["10.0.0.0/8", "192.168.0.0/16"] # inside
  }

  # and encrypted
  ingress {
    port        = 443
    protocol    = "tcp"
    cidrs       = ["0.0.0.0/0"]
    description = "everybody"
  }
"""
WEB, TLS = ingress(80, "10.0.0.0/8", "192.168.0.0/16"), ingress(443, "0.0.0.0/0", said="everybody")
RULES = """
  # short
  lifecycle_rule {
    prefix      = "tmp/"
    expire_days = 7
  }

  # long
  lifecycle_rule {
    prefix      = "log/"
    expire_days = 90
  }
"""
TMP = {"prefix": "tmp/", "expire_days": 7, "storage_class": None}
LOG = {"prefix": "log/", "expire_days": 90, "storage_class": None}

EDITED = (
    # ---- scalars
    database("number", "  size     = 30 # GB\n", {"size": 45}, edits=(("size     = 30", "size     = 45"),)),
    database("grown", "  replicas = 1\n", {"replicas": 2}, edits=(("replicas = 1", "replicas = 2"),)),
    database("version", "", {"version": "17"}, edits=(('"16"', '"17"'),)),
    firewall("text", '  description = "one" // why\n', {"description": "two"}, edits=(('"one"', '"two"'),)),
    firewall(
        "escapes",
        '  description = "plain"\n',
        {"description": 'a "b" \\ ${c} %{d}\ttab\nline'},
        edits=(('"plain"', '"a \\"b\\" \\\\ $${c} %%{d}\\ttab\\nline"'),),
    ),
    firewall(
        "unescaped",
        '  description = "say \\"hi\\" $${x}"\n',
        {"description": "grüß dich"},
        edits=(('"say \\"hi\\" $${x}"', '"grüß dich"'),),
    ),
    bucket("switch", "  versioning = false\n", {"versioning": True}, edits=(("= false", "= true"),)),
    firewall("off", "  enabled = true\n", {"enabled": False}, edits=(("= true", "= false"),)),
    firewall("wrapped", '  description = ("in")\n', {"description": "out"}, edits=(('"in"', '"out"'),)),
    firewall("nothing", "  description = null\n", {"description": "now"}, edits=(("null", '"now"'),)),
    firewall(
        "taken_out",
        '  description = "one" # gone\n  enabled     = true\n',
        {"description": None},
        edits=(('  description = "one" # gone\n', ""),),
    ),
    firewall("added", "", {"enabled": False}, edits=(('"added"\n}', '"added"\n\n  enabled = false\n}'),)),
    database("fitted", "", {"size": 33}, edits=(("var.password\n", "var.password\n  size     = 33\n"),)),
    Snippet(
        name="one_line",
        code='resource "sandbox_bucket" "one_line" { name = "one_line" }\n',
        kind=BUCKET,
        change={"versioning": True},
        edits=(('{ name = "one_line" }', '{\n  name       = "one_line"\n  versioning = true\n}'),),
    ),
    firewall(
        "heredoc",
        '  description = <<EOT\nfirst ${"$"}\nEOT\n'.replace('${"$"}', "line"),
        {"description": "second ${x}\nthird\n"},
        edits=(("first line\n", "second $${x}\nthird\n"),),
    ),
    firewall(
        "indented",
        "  description = <<-EOT\n    first\n      deeper\n  EOT\n",
        {"description": "second\n  deeper\n"},
        edits=(("    first\n", "    second\n"),),
    ),
    firewall(
        "heredoc_gone",
        "  description = <<-EOT\n    first\n  EOT\n",
        {"description": "no line break"},
        edits=(("<<-EOT\n    first\n  EOT", '"no line break"'),),
    ),
    # ---- maps
    bucket(
        "tag_changed",
        '  tags = {\n    env  = "prod" # keep\n    team = "a"\n  }\n',
        {"tags": {"env": "prod", "team": "b"}},
        edits=(('team = "a"', 'team = "b"'),),
    ),
    bucket(
        "tag_added",
        '  tags = {\n    team = "a" # us\n  }\n',
        {"tags": {"team": "a", "env": "prod"}},
        edits=(("# us\n", '# us\n    env  = "prod"\n'),),
    ),
    bucket(
        "tag_removed",
        '  tags = {\n    env  = "prod"\n    team = "a" # us\n  }\n',
        {"tags": {"env": "prod"}},
        edits=(('    team = "a" # us\n', ""),),
    ),
    bucket(
        "tag_quoted",
        '  tags = {\n    "a/b" = "1"\n  }\n',
        {"tags": {"a/b": "2", "c d": "3"}},
        edits=(('"a/b" = "1"\n', '"a/b" = "2"\n    "c d" = "3"\n'),),
    ),
    bucket(
        "tag_on_one_line",
        '  tags = { a = "1", b = "2" }\n',
        {"tags": {"b": "2", "c": "3"}},
        edits=(('{ a = "1", b = "2" }', '{ b = "2", c = "3" }'),),
    ),
    bucket(
        "tag_commas",
        '  tags = {\n    a = "1",\n    b = "2"\n  }\n',
        {"tags": {"a": "1", "b": "2", "c": "3"}},
        edits=(('b = "2"\n', 'b = "2",\n    c = "3"\n'),),
    ),
    bucket(
        "tag_colon",
        '  tags = { a : "1" }\n',
        {"tags": {"a": "2"}},
        edits=(('"1"', '"2"'),),
    ),
    bucket(
        "tags_new",
        "",
        {"tags": {"env": "prod"}},
        edits=(('"tags_new"\n}', '"tags_new"\n\n  tags = {\n    env = "prod"\n  }\n}'),),
    ),
    bucket("tags_gone", '  tags = { a = "1" }\n', {"tags": {}}, edits=(('{ a = "1" }', "{}"),)),
    bucket(
        "tag_beside_reference",
        '  tags = {\n    owner = local.owner\n    env   = "prod"\n  }\n',
        {"tags": {"owner": "platform", "env": "dev"}},
        edits=(('"prod"', '"dev"'),),
    ),
    database(
        "object",
        '  maintenance = {\n    day  = "sun"\n    hour = 3 # at night\n  }\n',
        {"maintenance": {"day": "sun", "hour": 4}},
        edits=(("hour = 3", "hour = 4"),),
    ),
    database(
        "parameters",
        '  parameters = { max = "100", work = "4MB" }\n',
        {"parameters": {"max": "200", "work": "4MB"}},
        edits=(('"100"', '"200"'),),
    ),
    # ---- lists and sets
    record(
        "element",
        '  values = ["10.0.0.1", "10.0.0.2"] # both\n',
        {"values": ["10.0.0.1", "10.0.0.9"]},
        edits=(('"10.0.0.2"', '"10.0.0.9"'),),
    ),
    record(
        "element_added",
        '  values = [\n    "10.0.0.9", # last first\n    "10.0.0.1",\n  ]\n',
        {"values": ["10.0.0.1", "10.0.0.5", "10.0.0.9"]},
        edits=(('    "10.0.0.1",\n', '    "10.0.0.1",\n    "10.0.0.5",\n'),),
    ),
    record(
        "element_removed",
        '  values = [\n    "10.0.0.1", # one\n    "10.0.0.2" # two\n  ]\n',
        {"values": ["10.0.0.2"]},
        edits=(('    "10.0.0.1", # one\n', ""),),
    ),
    record(
        "ttl_and_values",
        '  ttl = 60\n  values = ["10.0.0.1"]\n',
        {"ttl": 120, "values": ["10.0.0.1", "10.0.0.2"]},
        edits=(("ttl = 60", "ttl = 120"), ('["10.0.0.1"]', '["10.0.0.1", "10.0.0.2"]')),
    ),
    # ---- blocks
    firewall(
        "block_port",
        BLOCKS,
        {"ingress": [WEB, ingress(8443, "0.0.0.0/0", said="everybody")]},
        edits=(("= 443", "= 8443"),),
    ),
    firewall(
        "block_element",
        BLOCKS,
        {"ingress": [ingress(80, "10.0.0.0/8"), TLS]},
        edits=((', "192.168.0.0/16"', ""),),
    ),
    firewall(
        "block_gone",
        BLOCKS,
        {"ingress": [TLS]},
        edits=((BLOCKS[1 : BLOCKS.index("\n  # and")], ""),),
    ),
    firewall(
        "block_new",
        BLOCKS,
        {"ingress": [WEB, TLS, ingress(22, "10.1.0.0/16")]},
        edits=(
            (
                'description = "everybody"\n  }\n',
                (
                    'description = "everybody"\n  }\n\n  ingress {\n'
                    '    cidrs    = ["10.1.0.0/16"]\n    port     = 22\n    protocol = "tcp"\n  }\n'
                ),
            ),
        ),
    ),
    firewall(
        "first_block",
        "",
        {"ingress": [ingress(22, "10.1.0.0/16")]},
        edits=(
            (
                '"first_block"\n}',
                (
                    '"first_block"\n\n  ingress {\n    cidrs    = ["10.1.0.0/16"]\n    port     = 22\n'
                    '    protocol = "tcp"\n  }\n}'
                ),
            ),
        ),
    ),
    bucket(
        "rule_changed",
        RULES,
        {"lifecycle_rule": [TMP, {**LOG, "expire_days": 30}]},
        edits=(("= 90", "= 30"),),
    ),
    bucket(
        "rule_told_apart",
        RULES,
        {"lifecycle_rule": [{**TMP, "storage_class": "cold"}, LOG]},
        edits=(("expire_days = 7\n", 'expire_days = 7\n\n    storage_class = "cold"\n'),),
    ),
    # ---- files
    Snippet(
        name="crlf",
        code='resource "sandbox_bucket" "crlf" {\r\n  name = "crlf"\r\n'
        '  tags = {\r\n    a = "1"\r\n  }\r\n}\r\n',
        kind=BUCKET,
        change={"versioning": True, "tags": {"a": "1", "b": "2"}},
        edits=(
            ('a = "1"\r\n', 'a = "1"\r\n    b = "2"\r\n'),
            ("  }\r\n}", "  }\r\n\r\n  versioning = true\r\n}"),
        ),
    ),
    Snippet(
        name="bom",
        code='resource "sandbox_bucket" "bom" {\n  name = "bom"\n  versioning = false\n}\n',
        kind=BUCKET,
        change={"versioning": True},
        edits=(("false", "true"),),
        bom=True,
    ),
    # ---- variables and modules
    bucket(
        "by_default",
        f"  versioning = var.by_default\n}}\n{variable('by_default', 'false # so far')}\nlocals {{\n",
        {"versioning": True},
        edits=(("false # so far", "true # so far"),),
    ),
    record(
        "by_file",
        f'  values = ["10.0.0.1"]\n  ttl = var.by_file_ttl\n}}\n{variable("by_file_ttl", "60")}\nlocals {{\n',
        {"ttl": 120},
        files={f"{STACK}/vars/extra.tfvars": "# set here\nby_file_ttl = 90 # seconds\n"},
        edited=f"{STACK}/vars/extra.tfvars",
        edits=(("90", "120"),),
    ),
    bucket(
        "by_automatic_file",
        f"  tags = var.automatic_tags\n}}\n{variable('automatic_tags', None)}\nlocals {{\n",
        {"tags": {"env": "dev", "team": "a"}},
        files={f"{STACK}/z.auto.tfvars": 'automatic_tags = {\n  env  = "prod"\n  team = "a"\n}\n'},
        edited=f"{STACK}/z.auto.tfvars",
        edits=(('"prod"', '"dev"'),),
    ),
    Snippet(
        name="in_module",
        code='module "inner" {\n  source = "../modules/inner"\n  ttl    = 60 # a minute\n}\n',
        kind=RECORD,
        change={"values": ["10.0.0.7"]},
        files={
            "modules/inner/main.tf": "terraform {\n  required_providers {\n    sandbox = {\n      source = "
            '"sandbox.driftwatch.local/driftwatch/sandbox"\n    }\n  }\n}\n\nvariable "ttl" {}\n\n'
            'resource "sandbox_dns_record" "in_module" {\n  zone = "example.test"\n  name = "in_module"\n'
            '  type = "A"\n  values = ["10.0.0.1"]\n}\n\nresource "sandbox_dns_record" "argument" {\n'
            '  zone = "example.test"\n  name = "argument"\n  type = "A"\n  values = ["10.0.0.2"]\n'
            "  ttl = var.ttl\n}\n"
        },
        edited="modules/inner/main.tf",
        edits=(('"10.0.0.1"', '"10.0.0.7"'),),
        address="module.inner.sandbox_dns_record.in_module",
    ),
    Snippet(
        name="argument",
        code="# its code is in in_module.tf\n",
        kind=RECORD,
        change={"ttl": 61},
        edited=f"{STACK}/in_module.tf",
        edits=(("= 60 # a minute", "= 61 # a minute"),),
        address="module.inner.sandbox_dns_record.argument",
    ),
    # ---- gone
    bucket(
        "deleted",
        "  versioning = true\n}\n\n# stays\nlocals {\n  left = 1\n",
        None,
        edits=(
            (
                'resource "sandbox_bucket" "deleted" {\n  name = "deleted"\n  versioning = true\n}\n',
                "removed {\n  from = sandbox_bucket.deleted\n\n  lifecycle {\n    destroy = false\n  }\n}\n",
            ),
        ),
    ),
)

REFUSED = (
    firewall(
        "computed",
        '  description = upper("a")\n',
        {"description": "B"},
        refused="function_call",
        at="upper(",
    ),
    firewall(
        "template",
        '  description = "of ${local.owner}"\n',
        {"description": "of nobody"},
        refused="template",
        at="of ${",
    ),
    firewall(
        "local", "  description = local.owner\n", {"description": "us"}, refused="reference", at="local.owner"
    ),
    firewall(
        "conditional",
        '  description = local.owner == "x" ? "a" : "b"\n',
        {"description": "c"},
        refused="expression",
        at="local.owner ==",
    ),
    firewall(
        "resource_reference",
        "  description = sandbox_bucket.switch.arn\n",
        {"description": "another"},
        refused="reference",
        at="sandbox_bucket.switch.arn",
    ),
    bucket(
        "counted",
        "  count = 1\n  versioning = false\n",
        {"versioning": True},
        refused="repeated",
        address="sandbox_bucket.counted[0]",
    ),
    Snippet(
        name="each",
        code='resource "sandbox_bucket" "each" {\n  for_each = toset(["each"])\n  name = each.key\n}\n',
        kind=BUCKET,
        change={"versioning": True},
        refused="repeated",
        address='sandbox_bucket.each["each"]',
    ),
    firewall(
        "dynamic",
        '  dynamic "ingress" {\n    for_each = [80]\n    content {\n      port = ingress.value\n'
        '      protocol = "tcp"\n      cidrs = ["10.0.0.0/8"]\n    }\n  }\n',
        {"ingress": [ingress(81, "10.0.0.0/8")]},
        refused="dynamic_block",
        at='dynamic "ingress"',
    ),
    bucket(
        "computed_key",
        '  tags = {\n    (local.owner) = "1"\n  }\n',
        {"tags": {"platform": "1", "b": "2"}},
        refused="expression",
        at="(local.owner)",
    ),
    bucket(
        "merged",
        '  tags = merge({}, { a = "1" })\n',
        {"tags": {"a": "2"}},
        refused="function_call",
        at="merge(",
    ),
    bucket(
        "used_twice",
        f"  versioning = var.used_twice\n}}\n{variable('used_twice', 'false')}\n"
        'output "used_twice" {\n  value = var.used_twice\n',
        {"versioning": True},
        refused="variable_shared",
        at="versioning = var.used_twice",
    ),
    bucket(
        "configured",
        f"  versioning = var.configured\n}}\n{variable('configured', 'false')}\nlocals {{\n",
        {"versioning": True},
        refused="variable_given",
        at="versioning = var.configured",
    ),
    bucket(
        "by_environment",
        f"  versioning = var.by_environment\n}}\n{variable('by_environment', 'false')}\nlocals {{\n",
        {"versioning": True},
        refused="variable_given",
        at="versioning = var.by_environment",
    ),
    record(
        "set_twice",
        f'  values = ["10.0.0.1"]\n  ttl = var.twice\n}}\n{variable("twice", None)}\nlocals {{\n',
        {"ttl": 120},
        files={
            f"{STACK}/a.auto.tfvars": "twice = 90\n",
            f"{STACK}/terraform.tfvars": "twice = 80\n",
        },
        refused="variable_set_twice",
    ),
    Snippet(
        name="json",
        file=f"{STACK}/json.tf.json",
        code='{"resource": {"sandbox_bucket": {"json": {"name": "json", "versioning": false}}}}\n',
        kind=BUCKET,
        change={"versioning": True},
        refused="json",
        at="sandbox_bucket",
    ),
    bucket(
        "token",
        '  tags = { token = "none" }\n',
        {"tags": {"token": "ghp_canaryCANARYcanaryCANARYcanaryCANARY12"}},
        refused="sensitive",
    ),
    database("secret", "", {"password": "changed-by-hand-7f3a"}, refused="sensitive"),
    Snippet(
        name="called_twice",
        code='module "one" {\n  source = "../modules/twice"\n  name   = "called_twice"\n}\n\n'
        'module "two" {\n  source = "../modules/twice"\n  name   = "another"\n}\n',
        kind=RECORD,
        change={"ttl": 99},
        files={
            "modules/twice/main.tf": "terraform {\n  required_providers {\n    sandbox = {\n      source = "
            '"sandbox.driftwatch.local/driftwatch/sandbox"\n    }\n  }\n}\n\nvariable "name" {}\n\n'
            'resource "sandbox_dns_record" "it" {\n  zone = "example.test"\n  name = var.name\n'
            '  type = "A"\n  values = ["10.0.0.1"]\n}\n'
        },
        refused="shared_module",
        address="module.one.sandbox_dns_record.it",
    ),
    bucket(
        "referenced",
        '}\n\noutput "referenced" {\n  value = sandbox_bucket.referenced.arn\n',
        None,
        refused="referenced",
        at="sandbox_bucket.referenced.arn",
    ),
    Snippet(
        name="elsewhere",
        code='module "elsewhere" {\n  source = "../modules/common"\n}\n',
        kind=RECORD,
        change={"ttl": 99},
        files={
            "modules/common/main.tf": "terraform {\n  required_providers {\n    sandbox = {\n      source = "
            '"sandbox.driftwatch.local/driftwatch/sandbox"\n    }\n  }\n}\n\n'
            'resource "sandbox_dns_record" "it" {\n  zone = "example.test"\n  name = "elsewhere"\n'
            '  type = "A"\n  values = ["10.0.0.1"]\n}\n',
            "nobody/knows/main.tf": 'module "common" {\n  source = "../../modules/common"\n}\n',
        },
        refused="shared_file",
        address="module.elsewhere.sandbox_dns_record.it",
    ),
)

MAIN = """\
terraform {
  required_providers {
    sandbox = {
      source  = "sandbox.driftwatch.local/driftwatch/sandbox"
      version = "~> 1.0"
    }
  }

  backend "local" {
    path = "@STATE@"
  }
}

provider "sandbox" {
  cloud = "@CLOUD@"
}

locals {
  owner = "platform"
}

variable "password" {
  sensitive = true
  default   = "canary-password-1b7e"
}
"""


def sources(snippets: tuple[Snippet, ...]) -> dict[str, bytes]:
    """All files of these, by path from the repository's root."""
    found: dict[str, bytes] = {}
    for each in snippets:
        found |= each.sources()
    return found


def wanted(snippets: tuple[Snippet, ...], files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Those of the files that differ after the adoption of these, as they are to be."""
    found: dict[str, bytes] = {}
    for each in snippets:
        text = found.get(each.place, files[each.place])
        for old, new in each.edits:
            assert text.count(old.encode()) == 1, (each.name, old)
            text = text.replace(old.encode(), new.encode())
        found[each.place] = text
    return found
