"""What is said of an adoption: what was left out of a long text is counted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from driftwatch.hcl.stack_code import Done
from driftwatch.model import AdoptionWish, NotAdopted, StackId
from driftwatch.pipeline import adopt_words as words
from driftwatch.pipeline.adopt import Outcome, Unit

STACK = StackId(repository="platform", path="dns")
WISH = AdoptionWish(stack=STACK, by="anna")
SUBJECT = cast("Any", SimpleNamespace(commit="1" * 40))


def unit(number: int, **more: Any) -> Unit:
    return Unit(address=f"t.r{number}", paths=None, write=lambda _code: [], **more)


def edit(number: int) -> Done:
    return Done(file="dns/main.tf", line=number, sentence=f"x: {number} becomes 0")


def test_what_is_cut_is_counted() -> None:
    """In the commit, and in the pull request: edits, resources and refusals."""
    many = [edit(number) for number in range(150)]
    outcome = Outcome(
        done=[(unit(number), many if number == 0 else [edit(number)]) for number in range(120)],
        refused=[NotAdopted(address=f"t.n{number}", reason="x", sentence="no") for number in range(107)],
    )
    message = list(words.message(STACK, outcome.done))
    body = list(words.body(WISH, SUBJECT, outcome))
    assert f"- and {150 + 119 - 100} more" in message
    assert "- and 50 more" in body
    assert "### And 20 more" in body
    assert "- and 7 more" in body
    assert len(body) < 1000


def test_what_only_an_apply_will_tell_is_named_as_left() -> None:
    outcome = Outcome(done=[(unit(1, left=("/a`b", "/c")), [edit(1)])])
    body = "\n".join(words.body(WISH, SUBJECT, outcome))
    assert "- `/a'b` is not adopted: what the code wants there is known only after an apply." in body
    assert "- `/c` is not adopted" in body


def test_a_line_that_is_cut_says_so() -> None:
    assert words.line_of("x" * 300) == "x" * 300
    assert words.line_of("x" * 301) == "x" * 299 + "…"
    assert words.line_of("a\n b") == "a b"
