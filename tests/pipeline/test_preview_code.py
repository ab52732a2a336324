"""What a pull request's code must not have run before a person has looked: named, with the line."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

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
