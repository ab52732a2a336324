"""Units of terragrunt are found where a stack's entry asks for them, with all that each of them reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwatch.config.settings import StackSettings
from driftwatch.hcl.terragrunt import Unit, closure, read_unit, read_unit_file

if TYPE_CHECKING:
    from driftwatch.git import Mirror, RootModule

    from .conftest import MakeMirror, Upstream

INCLUDE = 'include "root" {\n  path = find_in_parent_folders("root.hcl")\n}\n'
ELSEWHERE = 'terraform {\n  source = "git::https://example.com/vpc.git?ref=v1"\n}\n'
REGION = 'locals {\n  account = read_terragrunt_config(find_in_parent_folders("account.hcl"))\n}\n'
ROOT = 'remote_state {\n  backend = "s3"\n}\n'

LIVE = {
    "root.hcl": ROOT,
    "live/prod/env.hcl": "locals {\n  region = 1\n}\n",
    "live/prod/app/terragrunt.hcl": INCLUDE
    + 'terraform {\n  source = "../../../modules//app"\n}\ndependency "vpc" {\n  config_path = "../vpc"\n}\n',
    "live/prod/vpc/terragrunt.hcl": INCLUDE + ELSEWHERE,
    "live/prod/plain/terragrunt.hcl": 'inputs = {\n  a = "b"\n}\n',
    "live/prod/plain/main.tf": 'provider "aws" {}\n',
    "live/prod/not-one/terragrunt.hcl": "locals {}\n",
    "modules/app/main.tf": 'provider "aws" {}\nmodule "x" {\n  source = "../common"\n}\n',
    "modules/common/main.tf": 'resource "terraform_data" "x" {}\n',
}


@pytest.fixture
def units(upstream: Upstream, make_mirror: MakeMirror) -> Mirror:
    """A mirror whose settings say that below `live` there are units."""
    return make_mirror(
        upstream.url, stacks=(StackSettings(path="live/**", engine="terragrunt"), StackSettings(path="**"))
    )


def found(mirror: Mirror, upstream: Upstream) -> dict[str, RootModule]:
    """All but the root module that every upstream has."""
    upstream.commit()
    modules = mirror.discover(mirror.fetch().commit, ["live/**", "**"])
    return {each.path: each for each in modules if each.path != "envs/prod"}


def test_units_are_found_with_what_they_read(upstream: Upstream, units: Mirror) -> None:
    """A directory with a source, an include, or code of its own; not the root, nor a file of locals alone."""
    upstream.write(dict(LIVE))
    modules = found(units, upstream)
    assert set(modules) == {"live/prod/app", "live/prod/vpc", "live/prod/plain"}
    assert set(modules["live/prod/app"].reads) == {
        "live/prod/app",
        "live/prod/vpc",
        "root.hcl",
        "modules",
        "modules/app",
        "modules/common",
    }
    assert modules["live/prod/app"].units == ("live/prod/vpc",)
    assert modules["live/prod/vpc"].reads == ("live/prod/vpc", "root.hcl")


def test_without_an_entry_that_says_so_there_are_no_units(upstream: Upstream, mirror: Mirror) -> None:
    upstream.write(dict(LIVE))
    assert set(found(mirror, upstream)) == {"live/prod/plain", "modules/app"}


def test_a_root_configuration_with_the_name_of_a_unit_is_none(upstream: Upstream, units: Mirror) -> None:
    """As it was usual once: it has code to give, and is included by all below it."""
    upstream.write(
        {
            "live/terragrunt.hcl": 'terraform {\n  source = "../../modules//app"\n}\n',
            "live/app/terragrunt.hcl": "include {\n  path = find_in_parent_folders()\n}\n",
            "modules/app/main.tf": "",
        }
    )
    modules = found(units, upstream)
    assert set(modules) == {"live/app"}
    assert set(modules["live/app"].reads) == {"live/app", "live/terragrunt.hcl", "modules", "modules/app"}


def test_a_stack_of_units_is_told_to_be_passed_over(
    upstream: Upstream, units: Mirror, capsys: pytest.CaptureFixture[str]
) -> None:
    upstream.write({"live/prod/terragrunt.stack.hcl": 'unit "app" {\n  source = "x"\n  path = "app"\n}\n'})
    assert found(units, upstream) == {}
    captured = capsys.readouterr()
    assert "live/prod/terragrunt.stack.hcl is passed over" in captured.out + captured.err


def test_a_change_of_what_a_unit_reads_changes_its_digest_and_no_others(
    upstream: Upstream, units: Mirror
) -> None:
    upstream.write(dict(LIVE))

    def digests() -> dict[str, str]:
        modules = found(units, upstream)
        head = units.head()
        assert head is not None
        return {path: units.tree(head, module.reads) for path, module in modules.items()}

    before = digests()
    upstream.write({"modules/common/main.tf": "# changed\n"})
    after = digests()
    assert {path for path in before if before[path] != after[path]} == {"live/prod/app"}
    upstream.write({"root.hcl": ROOT + "# changed\n"})
    last = digests()
    assert {path for path in before if last[path] != after[path]} == {"live/prod/app", "live/prod/vpc"}


def unit(text: str, directory: str = "live/app", **files: str) -> Unit:
    known = {
        f"{directory}/terragrunt.hcl": text,
        **{name.replace("__", "/"): body for name, body in files.items()},
    }
    read = {name: body.encode() for name, body in known.items()}.get
    one = read_unit(directory, read, beside=("main.tf",))
    assert one is not None
    return one


@pytest.mark.parametrize(
    ("source", "module", "code"),
    [
        ('"../../modules/app"', "modules/app", ("modules/app",)),
        ('"../../modules//app?ref=x"', "modules/app", ("modules",)),
        ('"${get_terragrunt_dir()}/../../modules//app"', "modules/app", ("modules",)),
        ('"${get_repo_root()}//modules/app"', "modules/app", (".",)),
        ('"${get_repo_root()}/modules//app"', "modules/app", ("modules",)),
        ('"${dirname(find_in_parent_folders("root.hcl"))}/modules//app"', "modules/app", ("modules",)),
        ('"${local.base}//app"', "modules/app", ("modules",)),
        ('"github.com/acme/modules//app"', None, ()),
        ('"git@github.com:acme/modules.git//app"', None, ()),
        ('"tfr:///terraform-aws-modules/vpc/aws?version=1.0.0"', None, ()),
        ('"git::ssh://git@example.com/x.git"', None, ()),
    ],
)
def test_where_the_code_of_a_unit_is(source: str, module: str | None, code: tuple[str, ...]) -> None:
    text = f'locals {{\n  base = "${{get_repo_root()}}/modules"\n}}\nterraform {{\n  source = {source}\n}}\n'
    one = unit(text, **{"root.hcl": ""})
    assert (one.module, one.code, one.certain) == (module, code, True)


@pytest.mark.parametrize(
    "text",
    [
        'terraform {\n  source = run_cmd("echo", "x")\n}\n',
        'terraform {\n  source = "${local.nowhere}/x"\n}\n',
        'include "x" {\n  path = "${get_env("X")}/root.hcl"\n}\n',
        'dependency "x" {\n  config_path = "../../../../outside"\n}\n',
        "inputs = {\n  a = file(var.b)\n}\n",
        "terraform {\n  source = \n",
        "locals {\n  a = local.a\n}\nterraform {\n  source = local.a\n}\n",
    ],
)
def test_what_is_not_certain_reads_everything(text: str) -> None:
    """So that no commit that may touch it is missed."""
    one = unit(text)
    assert not one.certain
    assert one.reads == ("live/app", ".")


def test_files_that_are_read_on_the_way_count() -> None:
    """Through includes, and files that these read in turn."""
    text = (
        INCLUDE
        + 'include "env" {\n  path = "${dirname(find_in_parent_folders("root.hcl"))}/_env/app.hcl"\n}\n'
        + 'locals {\n  region = read_terragrunt_config(find_in_parent_folders("region.hcl"))\n'
        + '  names = yamldecode(file("${get_terragrunt_dir()}/../names.yaml"))\n}\n'
    )
    env = 'dependencies {\n  paths = ["../vpc", "${get_terragrunt_dir()}/../dns"]\n}\n'
    more = {"account.hcl": "", "live__account.hcl": ""}
    one = unit(
        text,
        **more,
        **{"root.hcl": "", "live__region.hcl": REGION, "_env__app.hcl": env, "live__names.yaml": "a: 1"},
    )
    assert set(one.files) == {
        "root.hcl",
        "_env/app.hcl",
        "live/region.hcl",
        "live/names.yaml",
        "account.hcl",  # above live/region.hcl, which asks for it, and not beside it
    }
    assert one.dependencies == ("live/vpc", "live/dns")
    assert one.certain


def extra(text: str) -> str:
    return f'terraform {{\n  source = "../../modules//app"\n  extra_arguments "x" {{\n    {text}\n  }}\n}}\n'


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ('required_var_files = ["${get_terragrunt_dir()}/../common.tfvars"]', {"live/common.tfvars"}),
        ('optional_var_files = ["${get_repo_root()}/region.tfvars"]', {"region.tfvars"}),
        (
            """optional_var_files = [
                  "${dirname(find_in_parent_folders("root.hcl"))}/a.tfvars",
                  find_in_parent_folders("b.tfvars", "none.tfvars"),
               ]""",
            {"a.tfvars", "live/b.tfvars"},
        ),
        ('arguments = ["-lock=false", "-var-file=${get_repo_root()}/a.tfvars"]', {"a.tfvars"}),
        ('arguments = ["--var-file", "${local.base}/a.tfvars", "-no-color"]', {"base/a.tfvars"}),
        ('arguments = ["-var-file=../a.tfvars"]', {"live/a.tfvars", "modules/a.tfvars"}),
        ('arguments = ["-lock-timeout=${local.none}", "-var", "a=${get_env("A")}"]', set()),
        ('commands = get_terraform_commands_that_need_vars()\n  arguments = ["-no-color"]', set()),
    ],
)
def test_var_files_that_a_unit_gives_to_its_plan_are_read(text: str, files: set[str]) -> None:
    """Those that are relative lie where terraform runs: the unit's files over a copy of the module."""
    local = 'locals {\n  base = "${get_repo_root()}/base"\n}\n'
    one = unit(local + extra(text), **{"root.hcl": "", "live__b.tfvars": ""})
    assert (set(one.files), one.certain, one.module) == (files, True, "modules/app")


def test_so_are_those_of_what_it_includes_and_without_a_source() -> None:
    """As the unit would say it: a parent's paths are its own only where it says so."""
    root = extra(
        'required_var_files = ["${get_parent_terragrunt_dir()}/a.tfvars", "${get_terragrunt_dir()}/b.tfvars"]'
    ).replace('  source = "../../modules//app"\n', "")
    one = unit(
        INCLUDE + 'terraform {\n  extra_arguments "y" {\n    commands = []\n  }\n}\n', **{"root.hcl": root}
    )
    assert set(one.files) == {"root.hcl", "a.tfvars", "live/app/b.tfvars"}
    assert one.certain


@pytest.mark.parametrize(
    "text",
    [
        'required_var_files = ["${get_env("X")}.tfvars"]',
        "optional_var_files = local.files",
        'optional_var_files = [for each in ["a"] : "${each}.tfvars"]',
        'arguments = ["-var-file=${local.nowhere}/a.tfvars"]',
        'arguments = ["-var-file", local.nowhere]',
        'arguments = concat(["-no-color"], local.more)',
        'arguments = ["${local.nowhere}"]',
        'arguments = ["-no-color", local.nowhere]',
        'arguments = ["-var-file=/etc/a.tfvars"]',
        'required_var_files = ["../../../../a.tfvars"]',
    ],
)
def test_a_var_file_of_which_nobody_knows_where_it_is_may_be_anywhere(text: str) -> None:
    one = unit(extra(text))
    assert not one.certain
    assert one.reads == ("live/app", ".")


def test_a_change_of_a_var_file_is_a_change_of_the_unit(upstream: Upstream, units: Mirror) -> None:
    """Even one that is not there yet."""
    app = extra('optional_var_files = ["${get_repo_root()}/common.tfvars"]')
    upstream.write({"live/app/terragrunt.hcl": app, "modules/app/main.tf": ""})
    first = found(units, upstream)["live/app"]
    head = units.head()
    assert head is not None
    before = units.tree(head, first.reads)
    upstream.write({"common.tfvars": "a = 1\n"})
    again = found(units, upstream)["live/app"]
    head = units.head()
    assert head is not None
    assert again.reads == first.reads
    assert units.tree(head, again.reads) != before


def test_a_circle_of_dependencies_comes_to_an_end() -> None:
    circle = {"a": "b", "b": "a"}
    files = {
        f"{one}/terragrunt.hcl": f'dependency "x" {{\n  config_path = "../{other}"\n}}\n{ELSEWHERE}'.encode()
        for one, other in circle.items()
    }
    first = read_unit("a", files.get)
    assert first is not None
    assert [each.directory for each in closure(first, files.get)] == ["a", "b"]


@settings(max_examples=100)
@given(st.text(max_size=200) | st.binary(max_size=200))
def test_no_text_breaks_the_reader(text: str | bytes) -> None:
    """It says of itself that it is not certain, or is no unit."""
    content = text.encode(errors="replace") if isinstance(text, str) else text
    read_unit_file(content)
    read_unit("a", {"a/terragrunt.hcl": content}.get, beside=("main.tf",))
    wrapped = b'terraform {\n  source = "' + content + b'"\n}\n'
    one = read_unit("a", {"a/terragrunt.hcl": wrapped}.get, beside=("main.tf",))
    assert one is None or all(not path.startswith(("/", "..")) for path in one.reads)
