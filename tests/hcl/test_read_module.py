"""What a directory's files say is read without running anything, and reading never fails."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftwatch.hcl import THIS_WORKSPACE, ModuleFacts, RemoteState, is_configuration, read_module

ROOT = b"""
terraform {
  required_version = ">= 1.5, < 2.0"
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
  backend "s3" {
    bucket = "states"
  }
}

provider "aws" { region = "eu-west-1" }
provider aws {
  alias = "us"
}
provider "random" {}

module "network" {
  source = "../../modules/network"
}

module "remote" {
  source  = "terraform-aws-modules/vpc/aws"
  version = "5.0.0"
}

resource "aws_sqs_queue" "jobs" {}
"""


def facts(text: str | bytes, name: str = "main.tf") -> ModuleFacts:
    return read_module({name: text.encode() if isinstance(text, str) else text})


def test_a_root_module_is_read_whole() -> None:
    assert facts(ROOT) == ModuleFacts(
        backend="s3",
        backend_config=(("bucket", "states"),),
        cloud=False,
        providers=frozenset({"aws", "random"}),
        required_versions=(">= 1.5, < 2.0",),
        module_sources=("../../modules/network", "terraform-aws-modules/vpc/aws"),
        resources=True,
    )


@pytest.mark.parametrize("text", [b"\xef\xbb\xbf" + ROOT, ROOT.replace(b"\n", b"\r\n")], ids=["BOM", "CRLF"])
def test_files_of_windows_editors_say_the_same(text: bytes) -> None:
    assert facts(text) == facts(ROOT)


def test_files_of_one_directory_say_it_together() -> None:
    said = read_module(
        {
            "backend.tf": b'terraform { backend "gcs" {} }',
            "versions.tofu": b'terraform { required_version = "~> 1.9" }',
            "providers.tf.json": b'{"provider": {"google": {}}}',
            "README.md": b'provider "nothing" {}',
            "main.tf~": b'provider "backup" {}',
            ".hidden.tf": b'provider "hidden" {}',
            "terraform.tfvars": b'provider = "value"',
        }
    )
    assert said == ModuleFacts(
        backend="gcs", providers=frozenset({"google"}), required_versions=("~> 1.9",), resources=False
    )


def test_a_cloud_block_counts_and_a_required_provider_does_not() -> None:
    said = facts('terraform {\n cloud {\n organization = "acme"\n }\n required_providers { aws = {} }\n}')
    assert said == ModuleFacts(cloud=True)


def test_only_blocks_count_that_terraform_would_see_as_such() -> None:
    said = facts(
        '# provider "comment" {}\n/* terraform { backend "s3" {} } */\n'
        'locals {\n  text = <<EOT\nprovider "heredoc" {\n}\nterraform {\n cloud {\n}\n}\nEOT\n}\n'
        'module "m" {\n source = "./m"\n providers = { aws = aws.us }\n}\n'
        'resource "x" "y" {\n provider = aws.us\n source = "./file"\n backend "z" {}\n}\n'
    )
    assert said == ModuleFacts(module_sources=("./m",), resources=True)


@pytest.mark.parametrize(
    ("expression", "sources"),
    [
        ('"./m"', ("./m",)),
        ('("./m")', ("./m",)),
        (r'"./a\u0062c\"\\"', ('./abc"\\',)),
        ('"./$${literal}"', ("./${literal}",)),
        ('"./${var.name}"', ()),
        ("var.source", ()),
        ('["./m"]', ()),
        ("null", ()),
        ('""', ("",)),
    ],
)
def test_only_a_literal_source_is_said(expression: str, sources: tuple[str, ...]) -> None:
    assert facts(f'module "m" {{\n  source = {expression}\n}}\n').module_sources == sources


@pytest.mark.parametrize("form", ["object", "list", "twice"])
def test_json_says_the_same_as_hcl(form: str) -> None:
    """JSON lets a block be an object, a list of objects, or a key that is written twice."""
    document = {
        "terraform": {"required_version": ">= 1.5, < 2.0", "backend": {"s3": {"bucket": "states"}}},
        "provider": {"aws": [{"region": "eu-west-1"}, {"alias": "us"}], "random": {}},
        "module": {
            "//": "a comment",
            "network": {"source": "../../modules/network"},
            "remote": {"source": "terraform-aws-modules/vpc/aws"},
            "dynamic": {"source": "${var.source}"},
        },
        "resource": {"aws_sqs_queue": {"jobs": {}}},
    }
    text = json.dumps({k: [v] for k, v in document.items()} if form == "list" else document)
    if form == "twice":
        text = text.replace('"provider": {', '"provider": {"aws": {}}, "provider": {', 1)
    assert facts(text, "main.tf.json") == facts(ROOT)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace(b"required_version = ", b"required_version = = ["),
        lambda text: b'resource "x" "y" {\n  list = [\n' + text,
        lambda text: b"<<<<<<< HEAD\n" + text + b">>>>>>> theirs\n",
        lambda text: text + b'\nlocals { a = "unclosed\n',
        lambda text: text.rstrip()[:-1],
    ],
    ids=["doubled", "unclosed list before", "merge conflict", "unclosed string", "cut"],
)
def test_a_broken_file_is_still_the_stack_it_was(damage) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """A typo must not look like a stack that has been removed."""
    said = facts(damage(ROOT))
    assert (said.backend, said.providers >= {"aws", "random"}) == ("s3", True)
    assert "../../modules/network" in said.module_sources
    assert said.resources


def test_broken_json_is_still_the_stack_it_was() -> None:
    said = facts('{"terraform": {"backend": {"s3": {}}}, "provider": [{"aws": {}}],', "main.tf.json")
    assert (said.backend, said.providers) == ("s3", frozenset({"aws"}))


@given(text=st.binary(max_size=300) | st.text("terafomprvid {}[]\"'\n=<$%#\\", max_size=300).map(str.encode))
def test_no_input_makes_it_fail(text: bytes) -> None:
    for name in ("a.tf", "a.tofu", "a.tf.json"):
        read_module({name: text})


@pytest.mark.parametrize(
    "text",
    [
        b"a" + b" " * 200_000 + b"=",
        b'a = "' + b"${" * 100_000,
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"a = " + b"(" * 100_000,
        b'"provider":' + b" " * 200_000,
        b"\0" * 9999,
    ],
)
def test_hostile_depth_is_survived_quickly(text: bytes) -> None:
    started = time.monotonic()
    said = read_module({"a.tf": text + b'\nprovider "aws" {}\n', "a.tf.json": text})
    assert "aws" in said.providers
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("main.tf", True),
        ("main.tofu", True),
        ("main.tf.json", True),
        ("main.tofu.json", True),
        ("x.tftest.hcl", False),
        ("main.tf.bak", False),
        (".main.tf", False),
        ("main.tf~", False),
        ("#main.tf#", False),
        ("terraform.tfvars", False),
    ],
)
def test_the_names_that_count_are_terraforms(name: str, expected: bool) -> None:
    assert is_configuration(name) is expected


REMOTE = """
data "terraform_remote_state" "network" {
  backend   = "s3"
  workspace = terraform.workspace
  config = {
    "bucket" = "states", key = "network/terraform.tfstate"
    region   = var.region
    encrypt  = true
  }
}
data "terraform_remote_state" "dns" {
  backend = "local"
  config  = { path = "${path.module}/../dns/terraform.tfstate" }
}
data "terraform_remote_state" "computed" {
  backend   = var.backend
  workspace = "prod-${var.x}"
  config    = merge(local.config, { key = "x" })
}
data "terraform_remote_state" "keyed" {
  backend = "s3"
  config  = { (var.key) = "x" }
}
data "aws_s3_bucket" "states" {}
"""


def test_whose_state_the_code_reads_is_known_where_it_is_literal() -> None:
    assert facts(REMOTE).remote_states == (
        RemoteState(
            name="network",
            backend="s3",
            config=(
                ("bucket", "states"),
                ("key", "network/terraform.tfstate"),
                ("region", None),
                ("encrypt", "true"),
            ),
            workspace=THIS_WORKSPACE,
        ),
        RemoteState(
            name="dns", backend="local", config=(("path", "${path.module}/../dns/terraform.tfstate"),)
        ),
        RemoteState(name="computed", backend=None, config=None, workspace=None),
        RemoteState(name="keyed", backend="s3", config=None),
    )


def test_whose_state_is_read_is_known_in_json_too() -> None:
    given = {
        "network": {"backend": "gcs", "config": {"bucket": "states", "prefix": "${var.x}"}},
        "dns": [{"backend": "local", "config": {"path": "${path.root}/../dns.tfstate"}, "workspace": "b"}],
        "computed": {"backend": "gcs", "config": "${local.config}", "workspace": "${terraform.workspace}"},
    }
    document = json.dumps({"data": {"terraform_remote_state": given}, "terraform": {"backend": {"pg": {}}}})
    said = facts(document, "main.tf.json")
    assert (said.backend, said.resources) == ("pg", True)
    assert said.remote_states == (
        RemoteState(name="network", backend="gcs", config=(("bucket", "states"), ("prefix", None))),
        RemoteState(name="dns", backend="local", config=(("path", "./../dns.tfstate"),), workspace="b"),
        RemoteState(name="computed", backend="gcs", config=None, workspace=THIS_WORKSPACE),
    )


def test_of_a_broken_file_the_blocks_that_are_whole_count() -> None:
    assert [each.name for each in facts(REMOTE + 'resource "x" "y" {\n  a = \n').remote_states][:2] == [
        "network",
        "dns",
    ]


@pytest.mark.parametrize(
    ("expression", "leads"),
    [
        ('file("../shared/policy.json")', {"../shared/policy.json"}),
        ('templatefile("${path.module}/../../t.tpl", {})', {"./../../t.tpl"}),
        ('jsondecode(file("../${var.env}/x.json"))', {".."}),
        ('file("../shared/part-${var.x}.json")', {"../shared"}),
        ('fileset("${path.root}/../policies", "*.json")', {"./../policies"}),
        ('file("templates/x.tpl")', set()),
        ('file("a/../b")', set()),
        ("file(var.path)", set()),
        ('file("/etc/hosts")', set()),
        ('"file(../x)"', set()),
    ],
)
def test_files_beside_a_module_are_known_up_to_what_only_a_plan_knows(
    expression: str, leads: set[str]
) -> None:
    assert facts(f"locals {{\n  x = {expression}\n}}\n").files == leads
    document = json.dumps({"locals": {"x": f"${{{expression}}}"}})
    assert facts(document, "main.tf.json").files >= leads
