"""Two readers agree on what a file says, or it cannot be read: what is text for one is never code."""

from __future__ import annotations

import pytest

from driftwatch.hcl.risks import may_read_files, refers_to, stays_here
from driftwatch.hcl.structure import (
    DEEPEST,
    UnreadableError,
    calls,
    literal_of,
    object_of,
    read_json,
    read_native,
    read_template,
    read_values,
    scan_native,
)

TEXT = b"""\
terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 5" } # so
  }
}
data "ex\\u0074ernal" /* not */ e {
  program = ["sh",
    "x.sh"]
}
locals { text = <<-EOT
    a ${local.b} $${no}
    EOT2
  EOT
}
"""


def test_members_are_told_with_their_labels_decoded_and_their_lines() -> None:
    settings, data, local = read_native(TEXT)
    assert (settings.words, data.words, local.words) == (
        ("terraform",),
        ("data", "external", "e"),
        ("locals",),
    )
    assert (settings.line, data.line, local.line) == (1, 6, 10)
    (required,) = settings.members
    (aws,) = required.members
    assert [(each.words, literal_of(each.tokens)) for each in object_of(aws.tokens) or ()] == [
        (("source",), "hashicorp/aws"),
        (("version",), "~> 5"),
    ]
    assert refers_to(local.tokens) == {("local", "b")}


def test_how_it_is_laid_out_makes_no_difference_and_what_it_says_does() -> None:
    (one,) = read_native(b'a "b" {\n  c = [1,\n 2] # d\n}\n')
    (same,) = read_native(b"/* d */ a b { c = [1, 2] }\n")
    (other,) = read_native(b'a "b" {\n  c = [1, "2"]\n}\n')
    assert one.texts == same.texts != other.texts


def test_the_json_form_says_the_same() -> None:
    (data,) = read_json(b'{"data": {"ext\\u0065rnal": {"e": {"program": ["sh", "${local.x}"]}}}}')
    assert data.words == ("data", "external", "e")
    assert refers_to(data.tokens) == {("local", "x")}
    one, two = read_json(b'{"locals": [{"a": 1}], "locals": {"a": 2}}')
    assert (one.words, two.words) == (("locals",), ("locals",))
    (value,) = read_values(b'{"a": "${not.computed}"}')
    assert literal_of(value.tokens) == "${not.computed}"


@pytest.mark.parametrize(
    "text",
    [
        b"a = (1\n",
        b"a = 1 )\n",
        b'a = "\n"\n',
        b'a = "\\q"\n',
        b'a = "\\U00110000"\n',
        b'a = "$$${b}"\n',
        b"a = <<A\n",
        b"a = <<A\nA\xc2\xa0\nA\n",
        b"a = <<A\n${1}A\nA2\n",
        b"a = 1 /* b\n",
        b"a = 1\rb = 2\n",
        b"a = 1\x00\n",
        b"a = \xff\n",
        b"\xc3\xbc = 1\n",
        b"a\n",
        b"a = = 1\n",
        b"a b = 1\n",
        b'"a" { }\n}\n',
        b"a = " + b"(" * (DEEPEST + 2) + b"1" + b")" * (DEEPEST + 2) + b"\n",
        b"a = 1 b = 2 {\n",
        b"a = `x`\n",
    ],
)
def test_what_is_broken_or_may_be_read_in_two_ways_cannot_be_read(text: bytes) -> None:
    with pytest.raises(UnreadableError):
        read_native(text)


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"[1]",
        b'{"a": 1}',
        b'{"locals": 1}',
        b'{"a": {"b": "${"}}',
        b'{"a": {"b": "\\ud800${1}"}}',
        b"\xff",
    ],
)
def test_neither_can_json(text: bytes) -> None:
    with pytest.raises(UnreadableError):
        read_json(text)


@pytest.mark.parametrize(
    "text",
    [
        b'a = "${"}"}"\n',
        b'a = "${ { b = "}" }.b ~}"\n',
        b'a = "%{ if b == "\\"" }${c}%{ else }$%%{%{ endif }"\n',
        b"a = <<A\n  ${<<B\nA\nB\n}\nA\n",
        b'a = <<A\n# /* "\nA\nb = 2\n',
        b'a = [for k, v in b : {\n c = k\n d = v } if v != "]"]\n',
        b'a = b.*.c[0]["d"] ? !e : -1.5e3\n',
        b'\xef\xbb\xbfa = 1 // "\n',
        b"a = 1\r\nb = <<A\r\n c\r\nA\r\n",
        b'a = "\xc3\xbc\xe2\x82\xac" # \xc3\xbc\n',
        b"a = provider::x::y(1)\n",
        b"a = b.0.c.1\n",
        b"",
    ],
)  # fmt: skip
def test_what_people_write_is_read_by_both_alike(text: bytes) -> None:
    assert [each.texts for each in read_native(text)] == [each.texts for each in scan_native(text)]


def test_calls_are_found_wherever_they_stand() -> None:
    (member,) = read_native(b'a = "${f /* */ (1, g(2))}" == <<A\n${core::h()}\nA\n')
    assert [(name, len(given)) for name, _, given in calls(member.tokens)] == [("f", 2), ("g", 1), ("h", 0)]


def test_a_template_is_read_as_one() -> None:
    assert [name for name, _, _ in calls(read_template(b'f(1) "${g(2)}" $${h(3)}'))] == ["g"]
    assert may_read_files(b'${file("x")}')
    assert may_read_files(b"${")
    assert may_read_files(b"${provider::a::b()}")
    assert not may_read_files(b'file("x") ${name} \\"')
    assert not may_read_files(b"\xff${file(1)}")


@pytest.mark.parametrize(
    ("path", "stays"),
    [('"x"', True), ('"../x"', True), ('"../../x"', False), ('"${path.module}/../x"', True), ("x", False)],
)
def test_a_path_stays_in_the_repository_or_does_not(path: str, stays: bool) -> None:
    (member,) = read_native(f"a = file({path})\n".encode())
    ((name, _, given),) = calls(member.tokens)
    assert stays_here(name, given, "net", "net", climbs=True) is stays
    assert not stays_here(name, given, "net", "net", climbs=False) or ".." not in path
