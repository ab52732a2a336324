"""Pull requests as Git has them: their head, and what the branch would be with it merged.

    fetch the head → is it the one that was asked for? → merge → list and verify → keep

The merge is a commit of this machine alone. It is made of tree objects, without a checkout, and looked at
like a commit of the branch before anybody may check it out: what a stranger proposes is no safer for being
asked about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from driftwatch.errors import MergeConflictError, RepositoryError, UnsafeRepositoryError
from driftwatch.git.command import Ending, failure
from driftwatch.git.listing import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from driftwatch.git.committing import Committer

REFS: Mapping[str, str] = {
    "github": "refs/pull/{number}/head",
    "gitlab": "refs/merge-requests/{number}/head",
}
"""Where each forge keeps the head of a pull request, also of one from a fork."""

_NAMED_CONFLICTS = 5
_LARGEST_ANSWER = 16 << 20
_UNKNOWN_OPTION = 129
_CONFLICTS = 1
"""What `git merge-tree` exits with where it has merged as far as it could."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A pull request's `head` merged into the branch's head `base`: `commit` is known to this machine alone.

    `changed` are the paths that differ between `base` and `commit`, both names of what was renamed.
    """

    base: str
    head: str
    commit: str
    changed: tuple[str, ...]


def ref_of(number: int, kind: str) -> str:
    """The remote's ref. Raises UnsafeRepositoryError for what is no number or no forge that we know."""
    form = REFS.get(kind)
    if form is None or type(number) is not int or number < 1:
        raise UnsafeRepositoryError(
            f"a pull request {printable(str(number))[:20]} of {printable(kind)[:20]} cannot be fetched:"
            " it needs a number from 1 on, and github or gitlab"
        )
    return form.format(number=number)


def merge(committer: Committer, number: int, *, base: str, head: str) -> str:
    """The commit that merging would make. Raises MergeConflictError with some of the paths that conflict."""
    git = committer.git
    if not git.run("merge-base", base, head, seconds=committer.seconds).succeeded:
        raise MergeConflictError(
            f"pull request {number} shares no history with the branch",
            advice="Base it on the branch anew.",
        )
    output = git.run(
        *("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", base, head),
        seconds=committer.seconds,
        limit=_LARGEST_ANSWER,
    )
    tree, *conflicts = output.stdout.decode(errors="surrogateescape").split("\0")
    if output.ending is Ending.EXITED and output.status == _CONFLICTS:
        raise _conflict(number, [path for path in conflicts if path])
    if output.status == _UNKNOWN_OPTION:
        raise RepositoryError(
            f"pull request {number} cannot be merged: this machine's git does not know how, in a mirror",
            advice="Install git 2.38 or newer.",
        )
    if not output.succeeded:
        raise failure(f"merging pull request {number}", output)
    return committer.commit(tree.strip(), [base, head], f"Merge pull request {number}\n")


def _conflict(number: int, paths: list[str]) -> MergeConflictError:
    named = ", ".join(printable(path) for path in paths[:_NAMED_CONFLICTS])
    more = len(paths) - _NAMED_CONFLICTS
    return MergeConflictError(
        f"pull request {number} does not merge with the branch: {named}"
        f"{f' and {more} more' if more > 0 else ''} {'conflicts' if len(paths) == 1 else 'conflict'}"
    )
