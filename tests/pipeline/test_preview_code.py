"""What a pull request's code must not have run before a person has looked: named, with the line."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwatch.pipeline.preview_code import Code, code_of, known_providers, protected, reasons

if TYPE_CHECKING:
    from pathlib import Path

LOCK = 'provider "registry.terraform.io/hashicorp/aws" {\n  version = "5.100.0"\n}\n'
MAIN = """\
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
  backend "s3" { bucket = "states" }
}
module "net" {
  source = "../modules/net"
}
resource "aws_s3_object" "page" {
  source = "pages/index.html"
}
"""
AWS = frozenset({"registry.terraform.io/hashicorp/aws"})


def code(**files: str) -> Code:
    names = {"main": "net/main.tf", "lock": "net/.terraform.lock.hcl", "json": "net/more.tf.json"}
    return Code(files={names.get(name, f"net/{name}.tf"): text.encode() for name, text in files.items()})


BEFORE = code(main=MAIN, lock=LOCK)


def told(after: Code, before: Code = BEFORE, changed: tuple[str, ...] = ()) -> list[tuple[str, str | None]]:
    return [
        (wait.path or "", wait.line) for wait in reasons(before, after, known=frozenset(), changed=changed)
    ]


def test_an_ordinary_change_waits_for_nobody() -> None:
    more = 'resource "aws_sqs_queue" "jobs" {\n  name = "jobs"\n}\nmodule "b" {\n  source = "./b"\n}\n'
    more += (
        'output "x" {\n  value = templatefile("${path.module}/x.tpl", { a = fileset(path.root, "*") })\n}\n'
    )
    more += 'provider "aws" {\n  alias  = "other"\n  region = "eu-west-1"\n}\n'
    page = MAIN.replace("index.html", "other.html")
    assert told(code(main=page, more=more, lock=LOCK)) == []


@pytest.mark.parametrize(
    ("added", "line"),
    [
        ('data "external" "x" {\n  program = ["sh", "x.sh"]\n}\n', 'data "external" "x" {'),
        ('data /* a */ "external" /* b */ "x" {\n}\n', 'data /* a */ "external" /* b */ "x" {'),
        ("data external x {\n}\n", "data external x {"),
        ('data "\\u0065xternal" "x" {\n}\n', None),
        ('data /*\n*/ "external" "x" {\n}\n', None),
        ('resource "aws_instance" "a" {\n  provisioner /* a */ "local-exec" {\n  }\n}\n', None),
        ('terraform {\n  required_providers /* a */ {\n    x = { source = "evil/x" }\n  }\n}\n', None),
        ('provider "kubernetes" {\n  exec /*\n*/ {\n    command = "sh"\n  }\n}\n', None),
        ('module "m" {\n  source = "git::https://git.example.com/m.git"\n}\n', None),
        ('module "m" {\n  source = "acme/consul/aws"\n}\n', None),
        ('module "m" {\n  source = "${var.where}/m"\n}\n', 'source = "${var.where}/m"'),
        ('terraform {\n  required_providers {\n    x = { source = "evil/x" }\n  }\n}\n', None),
        ('resource "evil_thing" "a" {\n}\n', 'resource "evil_thing" "a" {'),
        ('resource "aws_instance" "a" {\n  provisioner "local-exec" {\n  }\n}\n', None),
        ('provider "kubernetes" {\n  exec {\n    command = "sh"\n  }\n}\n', "exec {"),
        ('provider "aws" {\n  shared_config_files = ["x"]\n}\n', 'shared_config_files = ["x"]'),
        ('locals {\n  x = "credential_process = sh"\n}\n', 'x = "credential_process = sh"'),
        ('output "x" {\n  value = file("/proc/self/environ")\n}\n', 'value = file("/proc/self/environ")'),
        ('output "x" {\n  value = filebase64(local.where)\n}\n', "value = filebase64(local.where)"),
        ('output "x" {\n  value = file(\n    "/etc/passwd"\n  )\n}\n', "value = file("),
        ('output "x" {\n  value = file("${path.cwd}/x")\n}\n', 'value = file("${path.cwd}/x")'),
        ('data "terraform_remote_state" "x" {\n}\n', 'data "terraform_remote_state" "x" {'),
        ('provider "vault" {\n  address = var.where\n}\n', "address = var.where"),
        ('provider "aws" {\n  endpoints {\n    s3 = "http://x.test"\n  }\n}\n', "endpoints {"),
    ],
)
def test_what_would_have_something_run_waits_and_is_named(added: str, line: str | None) -> None:
    found = told(code(main=MAIN, lock=LOCK, more=added))
    assert found
    assert all(path.startswith("net/more.tf") for path, _ in found)
    assert line is None or line in [each for _, each in found]


@pytest.mark.parametrize(
    "added",
    [
        '{"data": {"external": {"x": {"program": ["sh"]}}}}',
        '{"module": {"m": {"source": "git::https://git.example.com/m.git"}}}',
        '{"terraform": {"required_providers": {"x": {"source": "evil/x"}}}}',
        '{"resource": {"aws_instance": {"a": {"provisioner": [{"local-exec": {"command": "sh"}}]}}}}',
        '{"resource": {"evil_thing": {"a": {}}}}',
        '{"data": {"external": {"x": {}}}, "data": {"aws_ami": {"y": {}}}}',
        '{"data": [{"aws_ami": {"y": {}}}, {"\\u0065xternal": {"x": {}}}]}',
        '{"data": {"aws_ami": {"y": {}}}',
    ],
)
def test_json_is_looked_at_too(added: str) -> None:
    assert told(code(main=MAIN, lock=LOCK, json=added))


def test_a_provider_that_is_new_to_the_lock_file_is_named_once() -> None:
    lock = LOCK + 'provider "registry.terraform.io/evil/x" {\n  version = "1.0.0"\n}\n'
    more = 'resource "x_thing" "a" {\n}\n'
    assert told(code(main=MAIN, lock=lock, more=more)) == [
        ("net/.terraform.lock.hcl:4", "registry.terraform.io/evil/x")
    ]


def test_a_newer_version_of_a_provider_that_is_there_waits_for_nobody() -> None:
    assert told(code(main=MAIN, lock=LOCK.replace("5.100.0", "6.0.0"))) == []


def test_a_new_stack_may_use_the_providers_that_the_branch_has() -> None:
    found = reasons(Code(), BEFORE, known=AWS, changed=())
    assert [wait.line for wait in found] == []
    unknown = reasons(Code(), BEFORE, known=frozenset(), changed=())
    assert {wait.path for wait in unknown} == {"net/.terraform.lock.hcl:1", "net/main.tf:3"}


def test_what_was_there_before_is_not_asked_about_again_even_where_it_moved() -> None:
    asking = 'data "external" "x" {\n  program = ["sh", "x.sh"]\n}\n'
    hook = 'resource "aws_instance" "a" {\n  provisioner "local-exec" {\n  }\n}\n'
    before = code(main=MAIN, lock=LOCK, asking=asking, hook=hook)
    assert told(code(main=MAIN + "# a word\n", lock=LOCK, asking=asking, moved=hook), before) == []


def test_a_changed_external_source_waits_and_so_does_a_program_beside_it() -> None:
    asking = 'data "external" "x" {\n  program = ["sh", "x.sh"]\n}\n'
    before = code(main=MAIN, lock=LOCK, asking=asking)
    changed = code(main=MAIN, lock=LOCK, asking=asking.replace("x.sh", "y.sh"))
    assert told(changed, before) == [("net/asking.tf:1", 'data "external" "x" {')]
    assert told(before, before, changed=("net/x.sh", "net/main.tf")) == [("net/x.sh", None)]


def test_another_place_for_the_state_waits() -> None:
    moved = MAIN.replace('backend "s3"', 'backend "http"')
    assert told(code(main=moved, lock=LOCK)) == [("net/main.tf:5", 'backend "http" { bucket = "states" }')]
    other = MAIN.replace('bucket = "states"', 'bucket = "theirs"')
    assert told(code(main=other, lock=LOCK)) == [("net/main.tf:5", 'backend "s3" { bucket = "theirs" }')]
    spaced = MAIN.replace('{ bucket = "states" }', '{\n    bucket = "states"\n  }')
    assert told(code(main=spaced, lock=LOCK)) == []


def test_a_new_stack_says_where_its_state_is_and_waits_only_for_an_address() -> None:
    main = MAIN.replace('bucket = "states"', 'bucket = "new"')
    assert not list(reasons(Code(), code(main=main, lock=LOCK), known=AWS, changed=()))
    evil = main.replace('backend "s3" { bucket = "new" }', 'backend "http" { address = "http://x.test" }')
    found = reasons(Code(), code(main=evil, lock=LOCK), known=AWS, changed=())
    assert [wait.path for wait in found] == ["net/main.tf:5"]


UNIT = 'include "root" {\n  path = find_in_parent_folders("root.hcl")\n}\ninputs = {\n  size = 1\n}\n'
HOOK = 'terraform {\n  before_hook "x" {\n    commands = ["plan"]\n    execute  = ["sh", "x.sh"]\n  }\n}\n'


def unit(text: str, **more: str) -> Code:
    files = {"net/terragrunt.hcl": text, **{f"{name}.hcl": other for name, other in more.items()}}
    return Code(files={name: text.encode() for name, text in files.items()})


def test_an_ordinary_change_of_a_unit_waits_for_nobody() -> None:
    assert told(unit(UNIT.replace("size = 1", "size = 2")), unit(UNIT), ("net/terragrunt.hcl",)) == []


@pytest.mark.parametrize(
    "text",
    [
        UNIT + HOOK,
        UNIT + 'locals {\n  x = run_cmd("sh", "x.sh")\n}\n',
        UNIT + 'terraform {\n  source = "git::https://git.example.com/x"\n}\n',
        UNIT + 'remote_state {\n  backend = "http"\n}\n',
        UNIT + 'generate "provider" {\n  path = "provider.tf"\n}\n',
        UNIT.replace("root.hcl", "other.hcl"),
        UNIT.replace("size = 1", 'size = get_env("AWS_SECRET_ACCESS_KEY")'),
    ],
)
def test_what_a_unit_would_run_or_take_from_elsewhere_waits(text: str) -> None:
    assert told(unit(text), unit(UNIT))


def test_any_change_of_a_file_with_hooks_waits_and_so_does_what_they_may_run() -> None:
    before = unit(UNIT, root=HOOK)
    assert told(unit(UNIT, root=HOOK.replace("x.sh", "y.sh")), before)
    assert told(before, before, ("scripts/x.sh",)) == [("scripts/x.sh", None)]


def test_protected_paths_are_named_with_what_lies_below_them() -> None:
    changed = (".driftwatch.yaml", "envs/prod/net/main.tf", "envs/dev/main.tf")
    found = protected(changed, [".driftwatch.yaml", "envs/prod"])
    assert [wait.path for wait in found] == [".driftwatch.yaml", "envs/prod/net/main.tf"]


def test_nothing_outside_of_a_checkout_is_read_and_what_is_too_large_waits(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "net").mkdir(parents=True)
    (checkout / "net" / "main.tf").write_text(MAIN)
    (checkout / "net" / ".terraform.lock.hcl").write_text(LOCK)
    (checkout / "net" / "notes.txt").write_text("no configuration")
    (tmp_path / "secret.tf").write_text("secret")
    (checkout / "net" / "link.tf").symlink_to(tmp_path / "secret.tf")
    (checkout / "net" / "gone.tf").symlink_to("nowhere.tf")
    (checkout / "net" / "large.tf").write_bytes(b"#" * ((1 << 20) + 1))
    found = code_of(checkout, ["net", "nowhere", ".terraform-version"])
    assert set(found.files) == {"net/main.tf", "net/.terraform.lock.hcl"}
    assert found.unread == {"net/link.tf", "net/gone.tf", "net/large.tf"}
    assert {path for path, _ in told(found)} == found.unread
    assert known_providers(checkout, ["net", "nowhere"]) == AWS


@pytest.mark.parametrize(
    "text",
    [
        'module "a" {\n' * 40_000,
        'provider "a" {\n' * 40_000,
        "required_providers {" * 40_000,
        "/*" * 400_000,
        "exec" + "/**/" * 200_000,
        "exec" + "/**/\n" * 150_000,
        "data" + " " * 400_000 + '"external"',
        "file(" + " " * 400_000,
        "file(\n" * 100_000,
        "host\n" * 200_000,
        ("hosthost" * 400 + "\n") * 300,
        '"' * 900_000,
    ],
    ids=range(12),
)
def test_no_text_takes_for_ever_to_look_at(text: str) -> None:
    began = time.process_time()
    assert len(reasons(Code(), code(main=text, lock=LOCK), known=AWS, changed=())) <= 50
    assert len(reasons(Code(), code(json=text, lock=LOCK), known=AWS, changed=())) <= 50
    assert time.process_time() - began < 20


# ---- what a review walked round --------------------------------------------------------------------------

RUNS = 'data "external" "x" {\n  program = ["sh", "x.sh"]\n}\n'
REQUIRED = 'terraform {\n  required_providers {\n    aws = { source = "evil/aws" }\n  }\n}\n'
ENDPOINTS = 'provider "aws" {\n  endpoints {\n    sts = "https://x.test"\n  }\n}\n'
EVIL_MODULE = 'module "m" {\n  source = "git::https://x.test/m"\n}\n'


@pytest.mark.parametrize(
    "added",
    [
        f"# /*\n{REQUIRED}# */\n",
        f"# /*\n{ENDPOINTS}# */\n",
        f'locals {{\n  a = "x/*"\n}}\n{ENDPOINTS}locals {{\n  b = "*/5 * * * *"\n}}\n',
        'provider "kubernetes" {\n  dynamic "ex\\u0065c" {\n    for_each = [1]\n    content {}\n  }\n}\n',
        'data "terraform_remote_st\\u0061te" "x" {\n  backend = "s3"\n}\n',
        'module "m" { source = local.s }\n',
        'module "m" { source = join("", ["git::https:", "//x.test"]) }\n',
        'provider "vault" { address = join("", [\n  "ht", "tps:/", "/x.test"\n]) }\n',
        'module "m" {\n  source = "../../outside"\n}\n',
        'check "c" {\n  data "http" "x" {\n    url = "http://x.test"\n  }\n}\n',
        'ephemeral "aws_secret" "x" {\n}\n',
        'data "aws_lambda_invocation" "x" {\n}\n',
        'data "local_file" "x" {\n  filename = "/etc/passwd"\n}\n',
        'terraform {\n  encryption {\n    key_provider "external" "x" {\n    }\n  }\n}\n',
        'terraform {\n  provider_meta "aws" {\n  }\n}\n',
        'terraform {\n  required_providers {\n    aws = { source = "${"evil"}/aws" }\n  }\n}\n',
        'resource "aws_x" "a" {\n  provider = evil.other\n}\n',
        'module "m" {\n  source    = "./m"\n  providers = { aws = evil }\n}\n',
        'output "x" {\n  value = provider::aws::read("x")\n}\n',
        'output "x" {\n  value = templatestring(local.text, {})\n}\n',
        'removed {\n  from = aws_x.a\n  provisioner "local-exec" {\n  }\n}\n',
        'action "aws_run" "x" {\n}\n',
        "resource {\n}\n",
        'x = "outermost"\n',
        "locals {\n  x = (1\n}\n",
        "locals {\n  \u00fc = 1\n}\n",
        'locals {\n  x = "\x01"\n}\n',
        "locals {\n  a = 1\r  b = 2\n}\n",
        'locals {\n  x = "a$$${b}"\n}\n',
        "locals {\n  x = <<A\nA\u00a0\n}\n" + RUNS + "locals {\n  y = <<A\nA\n}\n",
        "locals {\n  a = <<A\n${1}A\n}\nlocals {\n  b = <<B\nA\n}\n" + RUNS + "locals {\n  c = <<B\nB\n}\n",
        "locals {\n  x = " + "(" * 1000 + "1" + ")" * 1000 + "\n}\n",
        "locals {\n  x = 1 /* }\n",
    ],
    ids=range(33),
)
def test_nothing_that_is_hidden_in_how_it_is_written_gets_by(added: str) -> None:
    assert told(code(main=MAIN, lock=LOCK, more=added))


@pytest.mark.parametrize(
    "added",
    [
        '{"provider": {"aws": {"endpoints": {"sts": "https://x.test"},\n"region": "x"}}}',
        '{"provider": {"aws": {\n"shared_config_fil\\u0065s": ["./cfg"]}}}',
        '{"terraform": {"required_provid\\u0065rs": {"aws": {"source": "evil/aws"}}}}',
        '{"terraform": [{"required_providers": [{"aws": {"source": "evil/aws"}}]}]}',
        '{"terraform": {"back\\u0065nd": {"http": {"address": "http://x.test"}}}}',
        '{"modul\\u0065": {"m": [{"source": "./m"}, {"source": "git::https://x.test"}]}}',
        '{"output": {"x": {"value": "${\\u0066ile(\\"/etc/passwd\\")}"}}}',
        '{"output": {"x": {"value": "${file /* */ (\\"/etc/passwd\\")}"}}}',
        '{"check": {"c": {"data": {"http": {"x": {"url": "http://x.test"}}}}}}',
        '{"locals": {"x": "${"}}',
        '{"locals": 1}',
        '{"data": {"external": {"x": {}}}, "data": {}}',
    ],
    ids=range(12),
)
def test_neither_does_it_in_json(added: str) -> None:
    assert told(code(main=MAIN, lock=LOCK, json=added))


@pytest.mark.parametrize(
    "lock",
    [
        LOCK + 'provider /**/ "registry.terraform.io/evil/aws" {\n  version = "1.0.0"\n}\n',
        LOCK + 'provider "registry.terraform.io/\\u0065vil/aws" {\n}\n',
        LOCK + "provider\n",
        f"# /*\n{LOCK}provider evil {{\n}}\n# */\n",
    ],
)
def test_a_lock_file_is_read_as_terraform_reads_it(lock: str) -> None:
    assert told(code(main=MAIN, lock=lock))


def test_a_lock_file_that_is_deleted_waits() -> None:
    assert told(code(main=MAIN)) == [("net/.terraform.lock.hcl", None)]


def test_a_file_that_takes_too_long_to_read_waits_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftwatch.hcl.syntax._LONGEST_PARSE", -1.0)
    more = "locals {\n  too_long = [for k, v in {} : k]\n}\n" * 2000
    assert ("net/more.tf", None) in told(code(main=MAIN, lock=LOCK, more=more))


# ---- files of the machine --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        '"../../common.yaml"',
        '"a/../../x"',
        '"/etc/passwd"',
        '"~/.aws/credentials"',
        '"${path.module}/../../x"',
        '"${path.module}/a/../../x"',
        '"${path.module}x"',
        '"${path.cwd}/x"',
        '"../../../pr${"o"}c/self/environ"',
        'path.module == "" ? "" : "/var/lib/x"',
        "local.x",
        '"${local.x}"',
        '"../.git/config"',
        '".terraform/x"',
        "<<A\n/etc/passwd\nA\n",
        '"a\\u002e\\u002e/../../../x"',
        '"\\u002e./\\u002e./x"',
        "",
    ],
)
def test_a_path_that_may_lead_out_of_the_repository_waits(path: str) -> None:
    more = f'output "x" {{\n  value = file({path})\n}}\n'
    assert told(code(main=MAIN, lock=LOCK, more=more))


@pytest.mark.parametrize(
    "call",
    [
        'file("x.yaml")',
        'file("../common.yaml")',
        'yamldecode(file("${path.module}/../common.yaml"))',
        'filemd5("${path.root}/a/b")',
        'fileset(path.module, "policies/*.json")',
        'templatefile("${path.module}/x.tpl", { a = local.a, b = "${var.b}!" })',
        '<<-EOT\n  ${file("x")} $${no} /etc/passwd\nEOT\n',
    ],
)
def test_a_path_that_stays_in_the_repository_waits_for_nobody(call: str) -> None:
    assert told(code(main=MAIN, lock=LOCK, more=f'output "x" {{\n  value = {call}\n}}\n')) == []


@pytest.mark.parametrize("pattern", ['"../**"', "local.x", '"{.,x}./**"', '"/etc/*"[0]'])
def test_a_pattern_that_may_lead_out_waits(pattern: str) -> None:
    more = f'output "x" {{\n  value = fileset(path.module, {pattern})\n}}\n'
    assert told(code(main=MAIN, lock=LOCK, more=more))


def test_from_a_root_module_that_lies_higher_a_path_leads_further_out() -> None:
    text = b'output "x" {\n  value = file("../../x")\n}\n'
    deep = Code(files={"a/b/c/m/x.tf": text}, root="a/b/c")
    high = Code(files={"a/b/c/m/x.tf": text}, root="a")
    assert not reasons(Code(), deep, known=AWS, changed=())
    assert reasons(Code(), high, known=AWS, changed=())


def test_a_template_that_reads_files_waits_and_any_other_does_not(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "net").mkdir(parents=True)
    (checkout / "net" / "main.tf").write_text(
        'output "x" {\n  value = templatefile("${path.module}/x.tpl", {})\n}\n'
    )
    template = checkout / "net" / "x.tpl"
    template.write_text("a file ${name}")
    before = code_of(checkout, ["net"])
    template.write_text("another file ${name} file(x)")
    assert told(code_of(checkout, ["net"]), before, ("net/x.tpl",)) == []
    for text in ('${file("/proc/self/environ")}', '%{ if file /**/ (\n"/x") == 1 }%{ endif }', "${file"):
        template.write_text(text)
        assert told(code_of(checkout, ["net"]), before, ("net/x.tpl",)) == [("net/x.tpl", None)]


def test_a_file_behind_a_link_that_leads_out_waits(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "net").mkdir(parents=True)
    (checkout / "net" / "main.tf").write_text('output "x" {\n  value = file("x")\n}\n')
    (tmp_path / "secret").write_text("secret")
    (checkout / "net" / "x").symlink_to(tmp_path / "secret")
    assert code_of(checkout, ["net"]).unread == {"net/main.tf"}


def test_a_module_that_nobody_named_among_what_is_read_is_looked_at(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for name, text in {"net": 'module "m" {\n  source = "../m"\n}\n', "m": RUNS}.items():
        (checkout / name).mkdir(parents=True)
        (checkout / name / "main.tf").write_text(text)
    assert told(code_of(checkout, ["net"]), Code()) == [("m/main.tf:1", 'data "external" "x" {')]


@pytest.mark.parametrize(
    "path",
    [
        "net/.terraform/modules/modules.json",
        "net/terraform.tfstate",
        ".terraformrc",
        "x/terraform.d/plugins/x",
    ],
)
def test_what_terraform_takes_up_by_itself_waits(path: str) -> None:
    assert told(BEFORE, BEFORE, (path,)) == [(path, None)]


def test_a_file_that_overrides_others_waits() -> None:
    assert told(code(main=MAIN, lock=LOCK, override='resource "aws_s3_object" "page" {\n}\n'))


# ---- what is behind it -----------------------------------------------------------------------------------

VAULT = 'provider "vault" {\n  address = var.where\n}\nvariable "where" {\n  default = local.usual\n}\n'
PROGRAM = 'data "external" "x" {\n  program = ["sh", "-c", local.program]\n}\n'


def moved(before: dict[str, str], after: dict[str, str]) -> list[tuple[str, str | None]]:
    usual = {"s/main.tf": MAIN, "s/.terraform.lock.hcl": LOCK}
    sides = [
        Code(
            files={
                name: text.encode() for name, text in {**usual, **files}.items() if name[:2] in ("s/", "m/")
            }
        )
        for files in (before, {**before, **after})
    ]
    return told(sides[1], sides[0], tuple(after))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"s/a.tf": 'provider "vault" {\n  address = var.a\n}\n',
         "s/b.tf": 'variable "a" {\n  default = "x"\n}\n'},
         {"s/b.tf": 'variable "a" {\n  default = "y"\n}\n'}),
        ({"s/a.tf": 'provider "vault" {\n  address = var.a\n}\n'}, {"s/terraform.tfvars": 'a = "y"\n'}),
        ({"s/a.tf": 'provider "vault" {\n  address = var.a\n}\n'},
         {"s/x.auto.tfvars.json": '{"\\u0061": "y"}'}),
        ({"s/a.tf": 'provider "vault" {\n  address = var.a\n}\n', "s/x.auto.tfvars": 'a = "y"\n'},
         {"s/x.auto.tfvars": "\n"}),
        ({"s/a.tf": PROGRAM, "s/b.tf": 'locals {\n  program = "x"\n}\n'},
         {"s/b.tf": 'locals {\n  program = "y"\n}\n'}),
        ({"s/a.tf": PROGRAM, "s/b.tf": 'locals {\n  program = local /**/ . deep\n  deep = ["x"]\n}\n'},
         {"s/b.tf": 'locals {\n  program = local /**/ . deep\n  deep = ["y"]\n}\n'}),
        ({"s/a.tf": PROGRAM, "s/b.tf": "locals {\n  program = module.m.x\n}\n",
         "m/o.tf": 'output "x" {\n  value = 1\n}\n'},
         {"m/o.tf": 'output "x" {\n  value = 2\n}\n'}),
        ({"m/a.tf": PROGRAM.replace("local", "var"),
         "s/b.tf": 'module "m" {\n  source = "../m"\n  program = "x"\n}\n'},
         {"s/b.tf": 'module "m" {\n  source = "../m"\n  program = "y"\n}\n'}),
        ({"m/a.tf": PROGRAM.replace("local", "var"),
          "s/b.tf": 'module "m" {\n  source = "../m"\n  for_each = ["x"]\n  program = each.key\n}\n'},
         {"s/b.tf": 'module "m" {\n  source = "../m"\n  for_each = ["y"]\n  program = each.key\n}\n'}),
        ({"s/a.tf": 'provider "vault" {\n  address = terraform_data.a.output\n}\n',
          "s/b.tf": 'resource "terraform_data" "a" {\n  input = "x"\n}\n'},
         {"s/b.tf": 'resource "terraform_data" "a" {\n  input = "y"\n}\n'}),
        ({"s/a.tf": 'output "x" {\n  value = file("${path.module}/${local.a}")\n}\n',
         "s/b.tf": 'locals {\n  a = "x"\n}\n'},
         {"s/b.tf": 'locals {\n  a = "../../../x"\n}\n'}),
        ({"s/a.tf": PROGRAM, "s/b.tf": 'locals {\n  program = file("x.txt")\n}\n'}, {"s/x.txt": "y"}),
        ({"s/a.tf": 'provider "aws" {\n  shared_config_files = ["./cfg"]\n}\n'}, {"s/cfg": "y"}),
        ({"s/a.tf": 'provider "aws" {\n  endpoints {\n  }\n}\n'}, {"s/a.tf": 'provider "aws" {\n}\n'}),
        ({"s/a.tf": 'terraform {\n  required_providers {\n    x = { source = "acme/x" }\n  }\n}\n'},
         {"s/a.tf": "\n"}),
        ({"s/a.tf": 'data "terraform_remote_state" "x" {\n  config = {\n    key = "a"\n  }\n}\n'},
         {"s/a.tf": 'data "terraform_remote_state" "x" {\n  config = {\n    key = "b"\n  }\n}\n'}),
        ({"s/a.tf": 'module "m" {\n  source  = "acme/m/aws"\n  version = "1"\n}\n'},
         {"s/a.tf": 'module "m" {\n  source  = "acme/m/aws"\n  version = "2"\n}\n'}),
        ({"s/main.tf": MAIN}, {"s/main.tf": MAIN.replace('backend "s3" { bucket = "states" }', "")}),
        ({"s/a.tf": "locals {\n", "s/b.tf": "\n"}, {"s/b.tf": "locals {\n}\n"}),
    ],
    ids=range(19),
)  # fmt: skip
def test_what_decides_where_something_goes_or_what_runs_waits(
    before: dict[str, str], after: dict[str, str]
) -> None:
    assert moved(before, after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"s/b.tf": 'locals {\n  a = "x"\n}\n'}, {"s/b.tf": 'locals {\n  a = "y"\n}\n'}),
        ({"s/a.tf": PROGRAM, "s/b.tf": 'locals {\n  a = "x"\n}\n'}, {"s/b.tf": 'locals {\n  a = "y"\n}\n'}),
        ({"s/a.tf": VAULT}, {"s/b.tf": 'variable "more" {\n  default = "x"\n}\n'}),
        ({"s/a.tf": VAULT}, {"s/terraform.tfvars": 'more = "x"\n'}),
        ({"s/a.tf": VAULT}, {"s/b.tf": 'resource "aws_x" "a" {\n  tags = { a = "b" }\n}\n'}),
        ({"s/a.tf": VAULT}, {"s/b.tf": 'output "x" {\n  value = aws_x.a.id\n}\n'}),
        ({"s/a.tf": VAULT}, {"s/b.tf": 'data "aws_ami" "x" {\n  owners = ["self"]\n}\n'}),
        ({"s/a.tf": 'provider "aws" {\n  region = "a"\n}\n'},
         {"s/a.tf": 'provider "aws" {\n  region = "b"\n}\n'}),
        ({"s/a.tf": VAULT}, {"s/a.tf": "# a word\n" + VAULT.replace("= ", "=   ")}),
        ({"s/a.tf": VAULT},
         {"s/b.tf": "import {\n  for_each = local.a\n  to = aws_x.a[each.key]\n  id = each.key\n}\n"}),
        ({"s/a.tf": VAULT}, {"s/b.tf": "moved {\n  from = aws_x.a\n  to = aws_x.b\n}\n"}),
        ({"s/a.tf": VAULT}, {"README.md": "x", "app/main.py": "x"}),
        (
            {"s/a.tf": 'resource "aws_x" "a" {\n  size = 1\n  provisioner "local-exec" {\n  }\n}\n'},
            {"s/a.tf": 'resource "aws_x" "a" {\n  size = 2\n  provisioner "local-exec" {\n  }\n}\n'},
        ),
    ],
    ids=range(13),
)  # fmt: skip
def test_an_ordinary_change_beside_it_waits_for_nobody(before: dict[str, str], after: dict[str, str]) -> None:
    assert moved(before, after) == []


# ---- however it is wrapped -------------------------------------------------------------------------------

_GAPS = st.sampled_from([" ", "  ", "\t", "/**/", " /* a */ ", "/*\n*/", ' /* " */ ', "/*#*/"])
_BETWEEN = st.sampled_from(
    [
        "",
        "\n",
        "# /*\n",
        "# */\n",
        "// x\n",
        "/* # */\n",
        'locals {\n  a = "/*"\n}\n',
        'locals {\n  b = "*/ # ${"}"} $${"\n}\n',
        'locals {\n  c = <<A\n}\n"\n/* ${1} $${\nA\n}\n',
        "locals {\n  d = <<-B\n  # A\n  B\n}\n",
        "\r\n",
    ]
)
_DANGERS = (
    (("data", '"external"', '"x"'), 'program = ["sh"]'),
    (("data", '"terraform_remote_state"', '"x"'), 'backend = "s3"'),
    (("data", '"http"', '"x"'), 'url = "http://x.test"'),
    (("module", '"m"'), 'source = "git::https://x.test/m"'),
    (("provider", '"aws"'), 'profile = "other"'),
    (("provider", '"kubernetes"'), 'dynamic "exec" {}'),
    (("resource", '"evil_x"', '"a"'), "a = 1"),
    (("resource", '"aws_x"', '"a"'), 'provisioner "local-exec" {}'),
    (("ephemeral", '"aws_x"', '"a"'), "a = 1"),
    (("terraform",), 'backend "http" {}'),
    (("terraform",), 'required_providers { aws = { source = "evil/aws" } }'),
    (("output", '"x"'), 'value = file("/etc/passwd")'),
    (("output", '"x"'), 'value = file ( "../../x" )'),
)


@st.composite
def _wrapped(draw: st.DrawFn) -> str:
    """One of what does harm, as odd as HCL lets it be written."""
    head, body = draw(st.sampled_from(_DANGERS))

    def escaped(word: str) -> str:
        if not word.startswith('"'):
            return word
        letters = [(f"\\u{ord(each):04x}" if draw(st.booleans()) else each) for each in word[1:-1]]
        return f'"{"".join(letters)}"'

    written = "".join(escaped(word) + draw(_GAPS) for word in head)
    inner = body.replace(" ", draw(_GAPS))
    ends = draw(st.sampled_from(["\n", "\r\n", " # x\n"]))
    return (
        "".join(draw(st.lists(_BETWEEN, max_size=3)))
        + f"{written}{{{ends}{inner}{ends}}}\n"
        + "".join(draw(st.lists(_BETWEEN, max_size=3)))
    )


@given(_wrapped())
@settings(max_examples=150, deadline=None)
def test_however_it_is_written_what_does_harm_waits(text: str) -> None:
    assert told(code(main=MAIN, lock=LOCK, more=text))


_JSON_DANGERS = (
    {"data": {"external": {"x": {"program": ["sh"]}}}},
    {"module": {"m": {"source": "git::https://x.test/m"}}},
    {"provider": {"aws": {"endpoints": {"sts": "http://x.test"}}}},
    {"terraform": {"required_providers": {"aws": {"source": "evil/aws"}}}},
    {"terraform": {"backend": {"http": {}}}},
    {"resource": {"aws_x": {"a": {"provisioner": {"local-exec": {}}}}}},
    {"output": {"x": {"value": '${file("/etc/passwd")}'}}},
)


@given(st.sampled_from(_JSON_DANGERS), st.data())
@settings(max_examples=60, deadline=None)
def test_however_it_is_written_in_json_what_does_harm_waits(
    danger: dict[str, object], data: st.DataObject
) -> None:
    written = "".join(
        f"\\u{ord(each):04x}" if each.isalpha() and data.draw(st.booleans()) else each
        for each in json.dumps(danger)
    )
    written = written.replace(": ", data.draw(st.sampled_from([":", " :\n ", ":\t"])))
    listed = data.draw(st.booleans())
    assert told(code(main=MAIN, lock=LOCK, json=f"[{written}]" if listed else written))


@pytest.mark.parametrize(
    "text",
    [
        UNIT + 'locals {\n  x = "y"\n}\n',
        UNIT + 'dependency "vpc" {\n  config_path = "../vpc"\n}\n',
        UNIT + '# /*\nterraform {\n  "befor\\u0065_hook" "x" {\n  }\n}\n# */\n',
        UNIT.replace("size = 1", 'size = file("/etc/passwd")'),
        UNIT.replace("size = 1", 'size = run_cmd /**/ (\n"sh")'),
        UNIT.replace("size = 1", "size = (1"),
    ],
    ids=range(6),
)
def test_nothing_that_is_hidden_in_a_unit_gets_by(text: str) -> None:
    assert told(unit(text), unit(UNIT))


def test_a_units_inputs_wait_where_they_decide_what_its_code_runs() -> None:
    program = b'data "external" "x" {\n  program = ["sh", var.size]\n}\nvariable "size" {\n}\n'
    sides = [
        Code(files={"net/terragrunt.hcl": UNIT.replace("= 1", size).encode(), "net/main.tf": program})
        for size in ("= 1", "= 2")
    ]
    assert ("net/terragrunt.hcl:5", "size = 2") in told(sides[1], sides[0])
    harmless = [
        replace(side, files={**side.files, "net/main.tf": program.replace(b"var.size", b'"x"')})
        for side in sides
    ]
    assert told(harmless[1], harmless[0]) == []


def test_a_file_of_values_may_have_any_name(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "net").mkdir(parents=True)
    (checkout / "net" / "main.tf").write_text('provider "aws" {\n  profile = var.a\n}\n')
    (checkout / "net" / "prod.vars").write_text('a = "x"\n')
    found = code_of(checkout, ["net", "net/prod.vars"])
    assert told(found, found, ("net/prod.vars",)) == [("net/prod.vars", None)]
    assert told(found, found, ("net/other.md",)) == []


def test_a_template_behind_a_link_is_looked_at(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for name in ("net", "shared"):
        (checkout / name).mkdir(parents=True)
    (checkout / "net" / "main.tf").write_text('output "x" {\n  value = templatefile("in/x.tpl", {})\n}\n')
    (checkout / "shared" / "x.tpl").write_text("${name}")
    (checkout / "net" / "in").symlink_to("../shared")
    (checkout / "net" / "up").symlink_to("..")
    before = code_of(checkout, ["net"])
    (checkout / "shared" / "x.tpl").write_text('${file("/etc/passwd")}')
    assert told(code_of(checkout, ["net"]), before, ("shared/x.tpl",)) == [("net/in/x.tpl", None)]
