"""What is a command in a comment, who is heard, and what the own comment can be made to remember."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwatch.config.settings import PersonSettings
from driftwatch.drift import Digester
from driftwatch.model import Remark
from driftwatch.notify.render_preview import Step
from driftwatch.pipeline.preview_words import (
    Case,
    Command,
    Memo,
    Verb,
    command_of,
    has_commands,
    hear,
    mark_of,
    remembered,
    written,
)
from driftwatch.policy.rights import People

HEAD, OTHER = "abcdef0123456789abcdef0123456789abcdef01", "f" * 40
SIGN = Digester(b"k" * 32).hex
NET = "platform/net"
PEOPLE = People.compile(
    {
        "anna": PersonSettings(github=("Anna",), rights=("check",)),
        "bob": PersonSettings(github=("bob-x",), rights=("approve",)),
        "carol": PersonSettings(github=("carol",), rights=("admin",), stacks=("other/*",)),
        "dan": PersonSettings(gitlab=("anna",), rights=("admin",)),
    }
)
CASE = Case(kind="github", host="github.com", head=HEAD, digest="d1d1", scope=(NET,), to_approve=(NET,))


def remark(body: str, author: str = "anna", id: int = 7, *, own: bool = False) -> Remark:  # noqa: A002
    return Remark(id=id, author=author, body=body, own=own)


def outcomes(*remarks: Remark, since: int = 0, case: Case = CASE) -> list[str]:
    return [each.outcome for each in hear(remarks, since, PEOPLE, case).rulings]


@pytest.mark.parametrize(
    ("body", "command"),
    [
        ("/driftwatch plan", Command(verb=Verb.PLAN)),
        ("/driftwatch plan  \r\nbecause", Command(verb=Verb.PLAN)),
        ("/driftwatch plan ABCDEF0", Command(verb=Verb.PLAN, what="abcdef0")),
        ("/driftwatch approve d1d1\n\nand thanks", Command(verb=Verb.APPROVE, what="d1d1")),
    ],
)
def test_a_command_is_the_whole_first_line(body: str, command: Command) -> None:
    assert command_of(body) == command


def test_what_was_edited_is_no_command() -> None:
    """It may be somebody else who has edited it."""
    asked = replace(remark("/driftwatch plan"), edited=True)
    assert not has_commands([asked], 0)
    assert outcomes(asked) == []
    assert outcomes(asked, remark("/driftwatch plan", id=8)) == ["planned"]


@pytest.mark.parametrize(
    "body",
    [
        "> /driftwatch plan",
        " /driftwatch plan",
        "    /driftwatch plan",
        "`/driftwatch plan`",
        "please\n/driftwatch plan",
        "/driftwatch plan please",
        "/driftwatch plan abcdef0 and more",
        "/driftwatch approve d1d1 d2d2",
        "/driftwatch  ",
        "/driftwatch apply d1d1",
        "/driftwatch planner",
        "/DRIFTWATCH plan",
        "/driftwatch plan\u2028x",
        "",
    ],
)
def test_what_is_quoted_or_says_more_is_no_command(body: str) -> None:
    assert command_of(body) is None


def test_who_has_the_right_is_heard_whatever_the_case_of_their_login() -> None:
    heard = hear([remark("/driftwatch plan", "ANNA")], 0, PEOPLE, CASE)
    assert heard.again
    assert heard.permits == ()
    assert heard.last == 7
    assert not heard.unheard


def test_only_who_names_the_head_lets_it_be_run() -> None:
    assert hear([remark(f"/driftwatch plan {HEAD}")], 0, PEOPLE, CASE).permits == ("anna",)
    for what in (OTHER, HEAD[1:12], HEAD + "0"):
        heard = hear([remark(f"/driftwatch plan {what}")], 0, PEOPLE, CASE)
        assert (heard.permits, heard.again) == ((), False)
        assert "not the head" in heard.rulings[0].sentence


@pytest.mark.parametrize("digits", [1, 7, 10, 39])
def test_who_names_a_part_of_the_head_lets_nothing_be_run(digits: int) -> None:
    """Two commits that begin alike can be made."""
    heard = hear([remark(f"/driftwatch plan {HEAD[:digits]}")], 0, PEOPLE, CASE)
    assert (heard.permits, heard.again) == ((), False)
    assert "by its whole hash" in heard.rulings[0].sentence


@pytest.mark.parametrize(
    ("author", "body", "outcome"),
    [
        ("stranger", "/driftwatch plan", "unknown_person"),
        ("dan", "/driftwatch plan", "unknown_person"),
        ("bob-x", "/driftwatch plan", "no_right"),
        ("carol", "/driftwatch plan", "no_right"),
        ("anna", "/driftwatch approve d1d1", "no_right"),
        ("carol", "/driftwatch approve d1d1", "no_right"),
        ("bob-x", "/driftwatch approve d2d2", "another_digest"),
        ("bob-x", "/driftwatch approve", "another_digest"),
        ("bob-x", "/driftwatch approve d1d1", "approved"),
    ],
)
def test_rights_are_asked_for_each_command(author: str, body: str, outcome: str) -> None:
    assert outcomes(remark(body, author)) == [outcome]


def test_nobody_who_has_no_right_is_answered_and_it_is_noted_that_nobody_was_heard() -> None:
    heard = hear([remark("/driftwatch plan", "stranger")], 0, PEOPLE, CASE)
    assert heard.unheard
    assert heard.rulings[0].sentence == ""
    both = [remark("/driftwatch plan", "stranger"), remark("/driftwatch plan", "anna", 8)]
    assert not hear(both, 0, PEOPLE, CASE).unheard


def test_nobody_approves_what_they_destroy_themselves() -> None:
    case = replace(CASE, authors=frozenset({"bob"}))
    assert outcomes(remark("/driftwatch approve d1d1", "bob-x"), case=case) == ["own_change"]


def test_without_anything_to_approve_nothing_is_approved() -> None:
    case = replace(CASE, digest="")
    assert outcomes(remark("/driftwatch approve", "bob-x"), case=case) == ["another_digest"]


def test_each_comment_is_heard_once_and_an_earlier_one_that_was_edited_never() -> None:
    remarks = [remark("/driftwatch plan", id=5), remark("/driftwatch plan", id=9)]
    assert outcomes(*remarks, since=5) == ["planned"]
    assert outcomes(*remarks, since=9) == []
    assert hear(remarks, 9, PEOPLE, CASE).last == 9


def test_what_driftwatch_itself_says_is_no_command() -> None:
    heard = hear([remark("/driftwatch plan", own=True, id=9)], 3, PEOPLE, CASE)
    assert (heard.rulings, heard.last) == ((), 3)


MEMO = Memo(
    step=Step.DONE,
    head=HEAD,
    base=OTHER,
    inputs="1a2b",
    digest="d1d1",
    remark=12,
    permits=("anna", "bob"),
    approved=("bob",),
    unheard=True,
    stacks=("platform/net@a b", "platform/ä-->"),
)


def test_more_stacks_than_a_comment_can_remember_are_left_out() -> None:
    many = replace(MEMO, stacks=tuple(hashlib.sha256(b"%d" % each).hexdigest() for each in range(1000)))
    assert recalled(written(many, "platform", 7, SIGN, "")) == replace(MEMO, stacks=())
    some = replace(MEMO, stacks=tuple(f"platform/envs/prod/service-{each}" for each in range(300)))
    line = written(some, "platform", 7, SIGN, "")
    assert len(line) < 5_000
    assert recalled(line) == some


def recalled(body: str, repository: str = "platform", number: int = 7, *, own: bool = True) -> Memo | None:
    return remembered([remark(body, own=own)], repository, number, SIGN).memo


def test_what_is_written_is_remembered_also_where_a_forge_ends_lines_otherwise() -> None:
    line = written(MEMO, "platform", 7, SIGN, "The plan")
    assert line.startswith(mark_of("platform"))
    assert recalled(f"{line}\nThe plan") == MEMO
    assert recalled(f"{line}\r\nThe plan") == MEMO
    empty = Memo(step=Step.WAITING, head=HEAD)
    assert recalled(written(empty, "platform", 7, SIGN, "")) == empty


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("approved=bob", "approved=bob,anna"),
        ("digest=d1d1", "digest=d2d2"),
        ("remark=12", "remark=1"),
        ("step=done", "step=waiting"),
        (f"head={HEAD}", f"head={OTHER}"),
        ("permits=anna,bob", "permits=carol"),
    ],
)
def test_whoever_edits_the_comment_can_only_have_it_looked_at_anew(before: str, after: str) -> None:
    line = written(MEMO, "platform", 7, SIGN, "The plan")
    assert before in line
    assert recalled(line.replace(before, after)) is None


def test_a_mark_of_another_pull_request_another_instance_or_another_author_says_nothing() -> None:
    line = written(MEMO, "platform", 7, SIGN, "The plan")
    assert recalled(line, number=8) is None
    assert recalled(line, own=False) is None
    assert recalled(line, repository="other") is None
    assert recalled(line.replace("preview platform ", "preview other "), repository="other") is None
    assert recalled(written(MEMO, "platform", 7, Digester(b"x" * 32).hex, "")) is None


@pytest.mark.parametrize(
    ("before", "after", "intact"),
    [
        ("The plan\n\n- a\n- b", "The plan\n\n- a\n- b", True),
        ("The plan\n\n- a\n- b\n", "The plan  \r\n\r\n- a\r\n- b", True),
        ("The plan\n\n- a\n- b", "The plan\n\n- a", False),
        ("The plan", "The plan\n/driftwatch approve d2d2", False),
        ("- **destroys** `x`", "- changes `x`", False),
        ("The plan", "", False),
    ],
)
def test_whoever_changes_what_people_read_is_noticed(before: str, after: str, *, intact: bool) -> None:
    """What is remembered is as it was; a forge may end lines otherwise, and leave blanks out."""
    line = written(MEMO, "platform", 7, SIGN, before)
    found = remembered([remark(f"{line}\n{after}", own=True)], "platform", 7, SIGN)
    assert (found.memo, found.intact) == (MEMO, intact)


def test_nobody_approves_what_somebody_else_has_put_there() -> None:
    heard = hear([remark("/driftwatch approve d1d1", "bob-x")], 0, PEOPLE, replace(CASE, altered=True))
    assert (heard.approved, heard.rulings[0].outcome) == ((), "altered_comment")
    assert "written anew" in heard.rulings[0].sentence


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_no_comment_can_make_reading_fail(text: str) -> None:
    line = written(MEMO, "platform", 7, SIGN, "The plan")
    for body in (text, mark_of("platform") + text, line + text, line[:40] + text + line[40:]):
        found: Any = recalled(body)
        assert found is None or found == MEMO
        command_of(body)
