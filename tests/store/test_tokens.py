"""Tokens as rows: the secret is nowhere, and what is revoked or over is good for nothing at once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from driftwatch.log import register_secret
from driftwatch.model import Right, Token
from tests.store.samples import START, after

if TYPE_CHECKING:
    from driftwatch.store import Store

SECRET = "driftwatch_canary-5c1b"


def token(**words: Any) -> Token:
    standard: dict[str, Any] = {
        "id": 0,
        "user": "ci",
        "rights": (Right.VIEW, Right.CHECK),
        "stacks": ("platform/*",),
        "note": "the pipeline",
        "created_by": "anna",
        "created_at": START,
        "expires_at": after(60),
    }
    return Token(**(standard | words))


def test_a_token_is_found_by_its_secret_and_by_nothing_else(store: Store) -> None:
    made = store.add_token(token(), secret=SECRET)
    assert (made.id, made.rights, made.stacks) == (1, (Right.VIEW, Right.CHECK), ("platform/*",))
    assert store.use_token(SECRET, after(1)) == made
    for wrong in ("", SECRET[:-1], SECRET.upper(), "\ud800"):
        assert store.use_token(wrong, after(1)) is None


def test_one_without_limits_has_none(store: Store) -> None:
    made = store.add_token(token(rights=None, stacks=None), secret=SECRET)
    assert (made.rights, made.stacks) == (None, None)


def test_it_ends_to_the_second(store: Store) -> None:
    store.add_token(token(), secret=SECRET)
    assert store.use_token(SECRET, after(60) - timedelta(seconds=1)) is not None
    assert store.use_token(SECRET, after(60)) is None


def test_what_is_revoked_is_good_for_nothing_at_once_and_stays_on_record(store: Store) -> None:
    made = store.add_token(token(), secret=SECRET)
    assert store.revoke_token(made.id, by="ben", at=after(2))
    assert store.use_token(SECRET, after(2)) is None
    assert not store.revoke_token(made.id, by="eve", at=after(3)), "it was, by ben"
    assert not store.revoke_token(99, by="eve", at=after(3))
    assert not store.revoke_token(2**70, by="eve", at=after(3))
    (kept,) = store.tokens()
    assert (kept.revoked_by, kept.revoked_at) == ("ben", after(2))


def test_when_it_was_used_is_written_once_a_minute(store: Store) -> None:
    store.add_token(token(), secret=SECRET)
    uses = [0, 0.5, 0.9, 1, 1.5, 2.5]
    seen = []
    for minutes in uses:
        store.use_token(SECRET, after(minutes))
        seen.append(store.tokens()[0].used_at)
    assert seen == [after(0), after(0), after(0), after(1), after(1), after(2.5)]


def test_no_secret_is_in_any_row(store: Store) -> None:
    register_secret("canary-of-a-note")
    store.add_token(token(note="for canary-of-a-note"), secret=SECRET)
    rows = store._database.read(lambda connection: connection.execute(text("SELECT * FROM tokens")).all())
    assert "canary" not in repr(rows)
