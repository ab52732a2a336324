"""`driftwatch token create | list | revoke` at a terminal."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from driftwatch.cli.clock import now
from driftwatch.errors import Exit
from driftwatch.model import Right
from driftwatch.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Estate, Ran

USERS = "users:\n  ci: {rights: [view, check]}\n"


@pytest.fixture
def token(cli: Callable[..., Ran], estate: Estate) -> Callable[..., Ran]:
    estate.config.write_text(estate.config.read_text() + USERS)
    return lambda *words: cli("token", *map(str, words), "-c", estate.config)


def test_a_token_is_printed_once_and_works(token: Callable[..., Ran], estate: Estate) -> None:
    ran = token("create", "ci", "--note", "the pipeline", "--as", "anna")
    assert ran.code == Exit.OK
    secret = ran.out.strip()
    assert secret.startswith("driftwatch_")
    assert len(secret) > 40
    assert "Token 1 speaks for ci until" in ran.err
    with closing(Store.open(state_dir=estate.state, database=None)) as store:
        found = store.use_token(secret, now())
    assert found is not None
    assert (found.user, found.rights, found.stacks, found.created_by) == ("ci", None, None, "anna")
    files = b"".join(path.read_bytes() for path in estate.state.rglob("*") if path.is_file())
    assert secret.encode() not in files
    assert secret not in token("list").out
    assert secret not in token("list", "-f", "json").out


def test_it_may_have_less_than_its_user(token: Callable[..., Ran]) -> None:
    words = ("--right", "view", "--stack", "platform/*", "--for", "2h", "--note", "a look")
    document = json.loads(token("create", "ci", *words, "-f", "json").out)
    assert (document["rights"], document["stacks"]) == ([Right.VIEW.value], ["platform/*"])
    assert document["token"].startswith("driftwatch_")
    assert "only view, platform/*" in token("list").out


def test_one_that_is_revoked_says_by_whom(token: Callable[..., Ran], estate: Estate) -> None:
    secret = token("create", "ci", "--note", "x").out.strip()
    assert token("revoke", 1, "--as", "ben").out == "Token 1 is good for nothing any more.\n"
    with closing(Store.open(state_dir=estate.state, database=None)) as store:
        assert store.use_token(secret, now()) is None
        audited = [(each.actor, each.action, each.outcome) for each in store.audit(limit=9).items]
    assert audited[0] == ("ben", "token_revoke", "done")
    assert audited[1][1:] == ("token_create", "done")
    assert "revoked by ben" in token("list").out
    again = token("revoke", 1)
    assert (again.code, "there is no token 1 that is good" in again.err) == (Exit.USAGE, True)


def test_one_whose_user_is_gone_is_named(token: Callable[..., Ran], estate: Estate) -> None:
    token("create", "ci", "--note", "x")
    estate.config.write_text(estate.config.read_text().replace("  ci:", "  other:"))
    assert "of a user who is known no more" in token("list").out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("create", "eve", "--note", "x"), "eve is no user of"),
        (("create", "ci", "--note", "x", "--for", "400d"), "at most a year"),
        (("create", "ci", "--note", "x", "--for", "soon"), "--for"),
        (("create", "ci", "--note", " "), "--note"),
        (("create", "ci"), "--note"),
        (("create", "ci", "--note", "x", "--right", "everything"), "--right"),
        (("create", "ci", "--note", "x", "--stack", "\x1b[31m"), "--stack"),
        (("revoke", 9), "there is no token 9"),
    ],
)
def test_what_cannot_be_is_refused(token: Callable[..., Ran], words: tuple[Any, ...], says: str) -> None:
    ran = token(*words)
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert says in ran.err
    assert token("list").out == "No tokens.\n"
