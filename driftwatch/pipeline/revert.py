"""Revert: beside the rollback of a stack, what would bring its code back, opened in Git for people to merge.

    what was done since → words → a branch on the remote → a sentence

A rollback applies an earlier commit, and the stack stays there; until the code says the same, Git is no truth
of it. Nothing here applies, merges or changes a branch that is there. A rollback stands without its revert:
why it could not be opened is only said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from driftwatch import log
from driftwatch.errors import DriftwatchError
from driftwatch.git.reverting import Revert
from driftwatch.model import KEPT_COMMITS
from driftwatch.notify.text import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from driftwatch.model import Commit, Wish
    from driftwatch.pipeline.check import Workshop

_LONGEST_NAME = 100
_LONGEST_REASON = 500
_LONGEST_SUBJECT = 200

logger = log.get("revert")


def revert_in_git(wish: Wish, commit: str, workshop: Workshop) -> str:
    """Opens the revert of a stack's files to `commit`, and says what came of it in a sentence."""
    try:
        return _opened(wish, commit, workshop)
    except DriftwatchError as problem:
        logger.warning(problem.message, action="revert", stack=str(wish.stack), error=problem.code)
        advice = f" {problem.advice}" if problem.advice else ""
        return f"The revert could not be opened in Git: {problem.message.rstrip('.')}.{advice}"


def _opened(wish: Wish, commit: str, workshop: Workshop) -> str:
    repository = workshop.checkouts[wish.stack.repository]
    subject = workshop.inventory.subject(wish.stack)
    undone = repository.history(commit, subject.commit, subject.reads)
    opened = repository.open_revert(
        Revert(
            stack=str(wish.stack),
            commit=commit,
            onto=subject.commit,
            paths=subject.reads,
            message=message(wish, commit, undone),
        )
    )
    if opened.branch is None:
        return f"Nothing is to be reverted in Git: the stack's files are as they were at {commit[:10]}."
    if not opened.is_new:
        return f"The revert is open in Git already: merge the branch {opened.branch}."
    logger.info(
        "A revert is open in Git.",
        action="revert",
        stack=str(wish.stack),
        branch=opened.branch,
        commit=commit,
    )
    return f"The revert is open in Git: merge the branch {opened.branch}."


def message(wish: Wish, commit: str, undone: Sequence[Commit]) -> str:
    """What the commit says. What others wrote has a line each, of which none begins or ends the message.

    Git reads trailers, such as who signed off, from the last paragraph: that one is ours.
    """
    return "\n".join(_lines(wish, commit, undone))


def _lines(wish: Wish, commit: str, undone: Sequence[Commit]) -> Iterator[str]:
    yield f"Revert {_line(str(wish.stack), _LONGEST_NAME)} to {commit[:10]}"
    yield ""
    yield f"All files that the stack reads are as they were at {commit}."
    yield ""
    yield f"- asked for by {_line(wish.by, _LONGEST_NAME)}"
    if wish.reason:
        yield f"- because: {_line(wish.reason, _LONGEST_REASON)}"
    yield ""
    if undone:
        yield "It undoes, the newest first:"
        yield from (f"- {each.id[:10]} {_line(each.subject, _LONGEST_SUBJECT)}" for each in undone)
        if len(undone) >= KEPT_COMMITS:
            yield "- and those before, if there are any"
        yield ""
    yield "Opened by driftwatch beside a rollback, for people to look at and to merge."
    yield ""


def _line(text: str, limit: int) -> str:
    shown = plain(text)
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"
