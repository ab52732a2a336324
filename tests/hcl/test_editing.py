"""Edits of HCL: what changes, what stays, and what is refused; nothing is run here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwatch.hcl import literals, syntax
from driftwatch.hcl.editing import Edited, Refusal, Target, Through, forget, set_value, shown, steps
from driftwatch.hcl.stack_code import Done, StackCode
from driftwatch.hcl.writing import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from driftwatch.model import JsonValue

HEAD = 'resource "a" "b" {\n'


def edit(body: str, path: str, now: JsonValue, wanted: JsonValue) -> Any:
    """What becomes of a resource's body, or why nothing does."""
    answer = set_value(
        {"main.tf": f"{HEAD}{body}}}\n".encode()},
        Target(labels=("resource", "a", "b"), path=steps(path)),
        now=now,
        wanted=wanted,
    )
    if not isinstance(answer, Edited):
        return answer
    return answer.content.decode().removeprefix(HEAD).removesuffix("}\n")


def refused(body: str, path: str, now: JsonValue, wanted: JsonValue) -> tuple[str, int]:
    answer = edit(body, path, now, wanted)
    assert isinstance(answer, Refusal)
    assert answer.sentence
    assert answer.wanted == wanted
    return answer.reason, answer.line


# ---- edits ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "path", "now", "wanted", "after"),
    [
        ("  x = 1 # c\n", "/x", 1, -2.5, "  x = -2.5 # c\n"),
        ("  x = -1\n", "/x", -1, 1, "  x = 1\n"),
        ("  x = 1.5e3\n", "/x", 1500, 1501, "  x = 1501\n"),
        ('  x = "a" /* c */\n', "/x", "a", "ü\u2028", '  x = "ü\\u2028" /* c */\n'),
        ("  x = true\n", "/x", True, False, "  x = false\n"),
        ("  x = (true)\n", "/x", True, False, "  x = (false)\n"),
        ("  x = []\n", "/x", [], ["a", "b"], '  x = ["a", "b"]\n'),
        ("  x = [1, 2, 3]\n", "/x", [1, 2, 3], [1, 3], "  x = [1, 3]\n"),
        ("  x = [1, 2, 3]\n", "/x", [1, 2, 3], [1, 2], "  x = [1, 2]\n"),
        ("  x = [1, 3]\n", "/x", [1, 3], [1, 2, 3], "  x = [1, 2, 3]\n"),
        ("  x = [1]\n", "/x", [1], [], "  x = []\n"),
        ("  x = {}\n", "/x/a b", None, "1", '  x = { "a b" = "1" }\n'),
        ('  x = { "a" = 1 }\n', "/x/b", None, 2, '  x = { "a" = 1, "b" = 2 }\n'),
        ("  x = { a = { b = 1 } }\n", "/x/a/b", 1, 2, "  x = { a = { b = 2 } }\n"),
        (
            "  x = { a = [1, { b = 1 }] }\n",
            "/x/a",
            [1, {"b": 1}],
            [1, {"b": 2}],
            "  x = { a = [1, { b = 2 }] }\n",
        ),
        ('  x = { "a/b~" = 1 }\n', "/x/a~1b~0", 1, 2, '  x = { "a/b~" = 2 }\n'),
        ("  x = null\n", "/x", None, {"a": 1}, "  x = {\n    a = 1\n  }\n"),
        ("  b {\n    x = 1\n  }\n", "/b/x", 1, 2, "  b {\n    x = 2\n  }\n"),
        ("  b {\n    x = 1\n  }\n", "/b/0/x", 1, 2, "  b {\n    x = 2\n  }\n"),
        (
            "  b {\n    x = 1\n  }\n  b {\n    x = 1\n  }\n",
            "/b/1/x",
            1,
            2,
            "  b {\n    x = 1\n  }\n  b {\n    x = 2\n  }\n",
        ),
        ("  b {}\n", "/b", [{"x": None}], [{"x": 1}], "  b {\n    x = 1\n  }\n"),
        (
            "  b {\n    c {\n      x = 1\n    }\n  }\n",
            "/b",
            [{"c": [{"x": 1}]}],
            [{"c": [{"x": 2}]}],
            "  b {\n    c {\n      x = 2\n    }\n  }\n",
        ),
        ("  a = 1 # one\n\n  # two\n  x = 2\n", "/x", 2, None, "  a = 1 # one\n\n  # two\n"),
        ("\n", "/x", None, 1, "\n  x = 1\n"),
        ("  a = 1\n", "/x", None, {}, "  a = 1\n  x = {}\n"),
        ("  x = <<A\na\nA\n", "/x", "a\n", "A\n", '  x = "A\\n"\n'),
    ],
)
def test_only_the_value_changes(body: str, path: str, now: JsonValue, wanted: JsonValue, after: str) -> None:
    assert edit(body, path, now, wanted) == after


@pytest.mark.parametrize(
    ("body", "path", "now", "wanted", "reason", "line"),
    [
        ("  x = f(1)\n", "/x", 1, 2, "function_call", 2),
        ("  x = provider::a::f(1)\n", "/x", 1, 2, "function_call", 2),
        ('\n  x = "a${1}"\n', "/x", "a1", "b", "template", 3),
        ("  x = <<A\na ${b}\nA\n", "/x", "a\n", "b\n", "template", 2),
        ("  x = local.y\n", "/x", 1, 2, "reference", 2),
        ("  x = data.y.z.id\n", "/x", 1, 2, "reference", 2),
        ("  x = var.y[0]\n", "/x", 1, 2, "reference", 2),
        ("  x = var.y.z\n", "/x", 1, 2, "reference", 2),
        ("  x = 1 + 1\n", "/x", 2, 3, "expression", 2),
        ("  x = [for y in [1] : y]\n", "/x", [1], [2], "expression", 2),
        ("  x = !true\n", "/x", False, True, "expression", 2),
        ("  x = { (local.a) = 1 }\n", "/x/b", None, 1, "expression", 2),
        ("  x = { a = 1\n a = 2 }\n", "/x/a", 2, 3, "set_twice", 3),
        ("  x {}\n  x = 1\n", "/x", 1, 2, "set_twice", 2),
        ("  y = 1\n", "/x", 1, None, "not_in_code", 1),
        ("  x = {}\n", "/x/y", 1, None, "not_in_code", 2),
        ("  x = 1\n", "/x", 2, 1, "nothing_to_edit", 1),
        (
            '  dynamic "x" {\n    for_each = []\n    content {}\n  }\n',
            "/x",
            [],
            [{"y": 1}],
            "dynamic_block",
            2,
        ),
        ("  x {\n    y = 1\n  }\n  x {\n    y = 1\n  }\n", "/x/y", 1, 2, "ambiguous_blocks", 5),
        (
            "  x {\n    y = f(1)\n  }\n  x {\n    y = f(2)\n  }\n",
            "/x",
            [{"y": 1, "z": 1}, {"y": 2, "z": 2}, {"y": 3, "z": 3}],
            [{"y": 1, "z": 1}],
            "ambiguous_blocks",
            2,
        ),
        ("  x = 1\n", "/x", 1, "sensitive:hmac-sha256:0123456789abcdef", "sensitive", 0),
        ("  x = [1]\n", "/x", [1], [{"y": "sensitive:hmac-sha256:0123456789abcdef"}], "sensitive", 0),
        ("  x = [f(1), 2]\n", "/x", [2, 1, 3], [1, 2], "expression", 2),
    ],
)
def test_what_is_not_certain_is_refused_with_its_line(
    body: str, path: str, now: JsonValue, wanted: JsonValue, reason: str, line: int
) -> None:
    assert refused(body, path, now, wanted) == (reason, line)


@pytest.mark.parametrize(
    ("body", "now", "wanted"),
    [
        ("  x = [1, /* one */ 2]\n", [1, 2], [1]),
        ("  x = [1, /* one */ 2]\n", [1, 2], "text"),
        ("  x = { a = 1 /* one */ }\n", {"a": 1}, {"b": 1}),
        ("  x = { a = 1 /* one */ }\n", {"a": 1}, {}),
        ("  x = { /* none */ }\n", {}, {"a": 1}),
        ("  x = [ /* none */ ]\n", [], [1]),
        ("  x = {\n    # one\n    a = 1\n  }\n", {"a": 1}, {"b": 1}),
    ],
)
def test_no_comment_is_written_over(body: str, now: JsonValue, wanted: JsonValue) -> None:
    """What only a whole new literal would say is left to people; what can be edited beside it is edited."""
    assert refused(body, "/x", now, wanted)[0] == "comment"
    assert edit("  x = [1, /* one */ 2]\n", "/x", [1, 2], [1, 3]) == "  x = [1, /* one */ 3]\n"


@pytest.mark.parametrize("value", ["-5-3", "5-3", "-5 - 3", "--5", "-1-e", f"-{'9' * 5000}", "9" * 5000])
def test_a_sum_is_no_number_and_one_beyond_all_bounds_is_left_alone(value: str) -> None:
    assert refused(f"  x = {value}\n", "/x", -8, -9) in (("expression", 2), ("unparsable", 1))


def test_a_digest_that_stands_for_a_large_value_is_not_written() -> None:
    digest = "digest:hmac-sha256:0123456789abcdef (20000 bytes)"
    assert refused('  x = "a"\n', "/x", "a", digest)[0] == "sensitive"


def test_a_variable_is_named_with_what_becomes_of_it() -> None:
    through = edit("  x = { a = var.y }\n", "/x/a/b", 1, 2)
    assert through == Through(variable="y", path=("b",), now=1, wanted=2, file="main.tf", line=2)


def test_code_that_cannot_be_parsed_is_refused() -> None:
    assert refused("  x = {\n", "/x", 1, 2)[0] == "unparsable"
    assert refused("  x = " + "[" * 5000 + "\n", "/x", 1, 2)[0] == "unparsable"


def test_byte_order_mark_and_line_breaks_stay() -> None:
    text = b'\xef\xbb\xbf# \xff\r\nresource "a" "b" {\r\n  x = 1\r\n}\r\n'
    answer = set_value(
        {"m.tf": text}, Target(labels=("resource", "a", "b"), path=("y",)), now=None, wanted={"k": [{"z": 1}]}
    )
    assert isinstance(answer, Edited)
    assert answer.content.startswith(text[:-3])
    assert answer.content.count(b"\n") == answer.content.count(b"\r\n")


def test_a_resource_in_two_files_is_refused() -> None:
    files = dict.fromkeys(("a.tf", "b.tf"), b'resource "a" "b" {\n  x = 1\n}\n')
    answer = set_value(files, Target(labels=("resource", "a", "b"), path=("x",)), now=1, wanted=2)
    assert isinstance(answer, Refusal)
    assert (answer.reason, answer.place) == ("set_twice", "b.tf:1")


def test_what_is_removed_leaves_the_state_and_is_not_destroyed() -> None:
    text = b'# first\nresource "a" "b" {\n  x = a.b.y\n}\n# last\nresource "a" "c" {}\n'
    answer = forget({"m.tf": text}, "a", "b")
    assert isinstance(answer, Edited)
    assert answer.content == (
        b"# first\nremoved {\n  from = a.b\n\n  lifecycle {\n    destroy = false\n  }\n}\n# last\n"
        b'resource "a" "c" {}\n'
    )


@pytest.mark.parametrize(
    "user",
    [
        'output "x" {\n  value = a.b.id\n}\n',
        'resource "a" "c" {\n  depends_on = [a.b]\n}\n',
        'resource "a" "c" {\n  x = "${a.b[0].id}"\n}\n',
        "moved {\n  from = a.z\n  to = a.b\n}\n",
    ],
)
def test_what_is_used_elsewhere_is_not_removed(user: str) -> None:
    answer = forget({"m.tf": b'resource "a" "b" {}\n', "n.tf": user.encode()}, "a", "b")
    assert isinstance(answer, Refusal)
    assert answer.reason == "referenced"
    assert "a.b is used at n.tf:" in answer.sentence


# ---- anything at all -----------------------------------------------------------------------------------

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text('ab $%"{~/\\\n', max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(before=VALUES, after=VALUES)
def test_whatever_is_written_is_read_back_and_neighbours_stay(before: JsonValue, after: JsonValue) -> None:
    body = f"  a = 1 # one\n  x = {shown_in_full(before)}\n  z = 2\n"
    there = edit(body, "/x", before, after)
    if isinstance(there, Refusal) and there.reason == "not_kept":
        text = f"{shown_in_full(before)}{shown_in_full(after)}"
        assert "%%%{" in text or "$$${" in text  # the grammar cannot read these, so they are not written
        return
    if isinstance(there, Refusal) and there.reason == "unparsable":
        assert "%%%{" in body or "$$${" in body
        return
    if isinstance(there, Refusal):
        assert there.reason == "nothing_to_edit"
        assert without_nulls(before) == without_nulls(after)
        return
    assert there.startswith("  a = 1 # one\n")
    assert there.endswith("  z = 2\n")
    assert without_nulls(read_back(there)) == without_nulls(after)


def read_back(body: str) -> Any:
    root = syntax.parse(f"{HEAD}{body}}}\n".encode())
    assert root is not None
    assert not root.has_error
    (block,) = syntax.blocks_of(root)
    for attribute in literals.attributes_of(block):
        if literals.name_of(attribute) == "x":
            return literals.literal(literals.value_of(attribute))
    return None


def without_nulls(value: JsonValue) -> str:
    """Canonical: a member that is null is as good as none."""
    if isinstance(value, dict):
        value = {key: each for key, each in value.items() if each is not None}
        return "{" + ",".join(f"{key!r}:{without_nulls(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(without_nulls, value)) + "]"
    return json.dumps(int(value) if isinstance(value, float) and value.is_integer() else value)


PORTS = st.fixed_dictionaries(
    {
        "port": st.sampled_from([22, 80, 443]),
        "cidrs": st.lists(st.sampled_from("abc"), unique=True, max_size=3).map(sorted),
        "note": st.sampled_from([None, "x", "y"]),
    }
)


@settings(max_examples=70, deadline=None)
@given(now=st.lists(PORTS, max_size=4), wanted=st.lists(PORTS, max_size=4), order=st.randoms())
def test_blocks_become_what_is_wanted_in_whatever_order_they_stand(
    now: list[Any], wanted: list[Any], order: Any
) -> None:
    """A plan shows a set in an order of its own; a block that cannot be told from another is refused."""
    stand = list(now)
    order.shuffle(stand)
    body = "  first = 1\n\n" + "".join(map(block, stand)) + "  last = 2 # stays\n"
    there = edit(body, "/b", now, wanted)
    if isinstance(there, Refusal):
        assert there.reason in ("nothing_to_edit", "not_in_code")
        assert sorted(map(without_nulls, now)) == sorted(map(without_nulls, wanted)) or not (now and wanted)
        return
    assert "  first = 1\n" in there
    assert "  last = 2 # stays\n" in there
    assert sorted(map(without_nulls, read_blocks(there))) == sorted(map(without_nulls, wanted))


def block(values: Mapping[str, Any]) -> str:
    lines = [f"    {key} = {shown_in_full(value)}\n" for key, value in values.items() if value is not None]
    return f"  b {{ # why\n{''.join(lines)}  }}\n"


def read_blocks(body: str) -> list[Any]:
    root = syntax.parse(f"{HEAD}{body}}}\n".encode())
    assert root is not None
    assert not root.has_error
    (resource,) = syntax.blocks_of(root)
    return [
        {"cidrs": []}
        | {
            literals.name_of(each): sorted(value) if isinstance(value, list) else value
            for each in literals.attributes_of(inner)
            for value in [literals.literal(literals.value_of(each))]
        }
        for inner in literals.blocks_named(resource, "b")
    ]


@settings(max_examples=70, deadline=None)
@given(text=st.binary(max_size=60), wanted=VALUES)
def test_no_file_makes_an_edit_fail_otherwise_than_by_a_refusal(text: bytes, wanted: JsonValue) -> None:
    files = {"m.tf": HEAD.encode() + b"  x = " + text + b"\n}\n"}
    answer = set_value(files, Target(labels=("resource", "a", "b"), path=("x",)), now=1, wanted=wanted)
    assert isinstance(answer, Edited | Through | Refusal)
    assert isinstance(forget(files, "a", "b"), Edited | Refusal)


def shown_in_full(value: JsonValue) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list):
        return f"[{', '.join(map(shown_in_full, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{quoted(key)} = {shown_in_full(each)}' for key, each in value.items())} }}"
    return json.dumps(value)


def test_a_value_is_shown_on_one_line_and_cut() -> None:
    assert shown({"a": ["x\ny"]}) == '{ a = ["x\\ny"] }'
    assert len(shown("x" * 500)) == 80


# ---- the code of a stack -------------------------------------------------------------------------------


def stack(files: Mapping[str, str], **more: Any) -> StackCode:
    def read(directory: str) -> dict[str, bytes]:
        below = {path: text for path, text in files.items() if path.rpartition("/")[0] == directory}
        return {path: text.encode() for path, text in below.items()}

    return StackCode(root="s", read=read, shared=lambda _file: None, **more)


RESOURCE = 'resource "t" "r" {{\n  x = {}\n}}\n'


def attempt(files: Mapping[str, str], address: str = "t.r", **more: Any) -> tuple[str, dict[str, bytes]]:
    """What came of setting x to 2: the file that was edited, or the reason of a refusal."""
    code = stack(files, **more)
    made = code.set(address, "/x", now=1, wanted=2)
    return (made.file if isinstance(made, Done) else made.reason), code.edited


def test_the_precedence_of_variable_files_is_not_guessed_at() -> None:
    files = {"s/m.tf": RESOURCE.format("var.v") + 'variable "v" {\n  default = 1\n}\n'}
    assert attempt(files)[0] == "s/m.tf"
    one = {**files, "s/terraform.tfvars": "v = 1\n"}
    assert attempt(one)[0] == "s/terraform.tfvars"
    assert attempt({**one, "s/z.auto.tfvars": "v=1"})[0] == "variable_set_twice"
    assert attempt({**one, "e/x.tfvars": "v = 1\n"}, var_files=("e/x.tfvars",))[0] == "variable_set_twice"
    assert attempt({**files, "e/x.tfvars": "v = 1\n"}, var_files=("e/x.tfvars",))[0] == "e/x.tfvars"
    assert attempt({**files, "s/z.auto.tfvars.json": '{"v": 1}'})[0] == "json"
    assert attempt(files, given=frozenset({"v"}))[0] == "variable_given"
    assert attempt({**files, "s/o.tf": 'output "o" {\n  value = var.v\n}\n'})[0] == "variable_shared"
    assert (
        attempt({**files, "s/o.tf.json": '{"output": {"o": {"value": "${var.v}"}}}'})[0] == "variable_shared"
    )
    assert attempt({"s/m.tf": RESOURCE.format("var.v") + 'variable "v" {}\n'})[0] == "variable_given"


def test_a_value_is_followed_through_modules_to_where_it_stands() -> None:
    call = 'module "m" {{\n  source = "../m"\n  v = {}\n}}\n'
    module = {"m/m.tf": RESOURCE.format("var.v") + 'variable "v" {\n  default = 1\n}\n'}
    assert attempt({"s/m.tf": call.format("1"), **module}, "module.m.t.r")[0] == "s/m.tf"
    through = {"s/m.tf": call.format("var.w") + 'variable "w" {\n  default = 1\n}\n', **module}
    name, edited = attempt(through, "module.m.t.r")
    assert name == "s/m.tf"
    assert edited["s/m.tf"].endswith(b"default = 2\n}\n")
    plain = {"s/m.tf": 'module "m" {\n  source = "../m"\n}\n', **module}
    assert attempt(plain, "module.m.t.r")[0] == "m/m.tf"
    assert attempt({"s/m.tf": call.format("local.x"), **module}, "module.m.t.r")[0] == "reference"


def test_a_module_may_lie_in_the_root_of_the_repository() -> None:
    """And be called from below; whatever way leads there, it is the same directory."""
    files = {"s/m.tf": 'module "m" {\n  source = "../"\n}\n', "top.tf": RESOURCE.format("1")}
    assert attempt(files, "module.m.t.r") == ("top.tf", {"top.tf": RESOURCE.format("2").encode()})
    twice = {**files, "s/n.tf": 'module "n" {\n  source = "./.."\n}\n'}
    assert attempt(twice, "module.m.t.r")[0] == "shared_module"
    outside = {**files, "s/m.tf": 'module "m" {\n  source = "../../"\n}\n'}
    assert attempt(outside, "module.m.t.r")[0] == "remote_module"


@pytest.mark.parametrize(
    ("call", "address", "reason"),
    [
        ('module "m" {\n  source = "a/b/c"\n}\n', "module.m.t.r", "remote_module"),
        ('module "m" {\n  source = "git::https://example.com/x"\n}\n', "module.m.t.r", "remote_module"),
        ('module "m" {\n  source = "../../outside"\n}\n', "module.m.t.r", "remote_module"),
        ('module "m" {\n  source = "../m"\n  count = 2\n}\n', "module.m[0].t.r", "repeated"),
        ('module "m" {\n  source = "../m"\n  for_each = {}\n}\n', 'module.m["a.b"].t.r', "repeated"),
        (
            'module "m" {\n  source = "../m"\n}\nmodule "n" {\n  source = "../m"\n}\n',
            "module.m.t.r",
            "shared_module",
        ),
        ("", "module.m.t.r", "not_found"),
        ("", "data.t.r", "not_adoptable"),
        ("", "t.r", "not_found"),
        ('resource "t" "r" {\n  for_each = {}\n}\n', 't.r["a"]', "repeated"),
        ('resource "t" "r" {\n  count = 1\n  x = 1\n}\n', "t.r", "repeated"),
    ],
)
def test_what_more_than_one_thing_is_made_of_is_not_edited(call: str, address: str, reason: str) -> None:
    files = {"s/m.tf": call, "m/m.tf": RESOURCE.format("1")}
    assert attempt(files, address) == (reason, {})


def test_a_file_that_somebody_else_reads_is_not_edited() -> None:
    code = stack({"s/m.tf": RESOURCE.format("1")})
    code.shared = lambda file: f"the reader of {file}"
    made = code.set("t.r", "/x", now=1, wanted=2)
    assert isinstance(made, Refusal)
    assert (made.reason, made.place) == ("shared_file", "s/m.tf:2")
    assert code.edited == {}


def test_a_module_that_calls_itself_ends() -> None:
    files = {"s/m.tf": 'module "m" {\n  source = "./"\n}\n' + RESOURCE.format("1")}
    assert attempt(files)[0] == "s/m.tf"
    assert attempt(files, "module.m.t.r")[0] in ("shared_module", "not_found")
