"""What is said of an adoption: in a commit, a pull request, an issue, and the record.

What others wrote has a line each, in a code span where markup is read: nothing of it is a mention or a link.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from driftwatch.notify.text import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from driftwatch.hcl.stack_code import Done
    from driftwatch.model import Adopted, AdoptionWish, NotAdopted, StackId, StoredFinding
    from driftwatch.pipeline.adopt import Outcome, Unit
    from driftwatch.pipeline.inventory import Subject

_LONGEST = 300
_MOST_LINES = 100
_LEFT = "what the code wants there is known only after an apply."


def title(wish: AdoptionWish, outcome: Outcome) -> str:
    """The pull request's."""
    count = len(outcome.done)
    what = outcome.done[0][0].address if count == 1 else f"{count} resources"
    return f"Adopt {line_of(what)} of {line_of(str(wish.stack))} as the cloud has it"


def message(stack: StackId, done: Iterable[tuple[Unit, list[Done]]]) -> Iterator[str]:
    """What the commit says; no line of others' text begins or ends it."""
    yield f"Bring the code of {line_of(str(stack))} to the cloud"
    yield ""
    yield "What was changed by hand is what the code says now:"
    yield ""
    lines = [f"- {line_of(unit.address)}: {line_of(each.sentence)}" for unit, edits in done for each in edits]
    yield from _cut(lines)
    yield ""
    yield "Made by driftwatch, after a plan of it has shown that the difference is gone."


def body(wish: AdoptionWish, subject: Subject, outcome: Outcome) -> Iterator[str]:
    """The pull request's, line by line."""
    yield f"The cloud differs from the code of {_code_span(str(wish.stack))}. This brings the code there."
    yield "A plan of this branch shows none of these differences any more, and no new one."
    yield ""
    yield f"Asked for by {_code_span(wish.by)}." + (f" {_code_span(wish.reason)}" if wish.reason else "")
    yield f"Planned on top of {subject.commit[:10]}. Merging it applies nothing that a plan does not show."
    for unit, edits in outcome.done[:_MOST_LINES]:
        yield ""
        yield f"### {_code_span(unit.address)}"
        yield ""
        for line in unit.said:
            yield f"- {line_of(line)}"
        yield from _cut(
            [f"- {_code_span(f'{each.file}:{each.line}')} {_code_span(each.sentence)}" for each in edits]
        )
        yield from _cut([f"- {_code_span(path)} is not adopted: {_LEFT}" for path in unit.left])
    if len(outcome.done) > _MOST_LINES:
        yield ""
        yield f"### And {len(outcome.done) - _MOST_LINES} more"
        yield ""
        yield "Their edits are in the branch, too."
    if outcome.refused:
        yield ""
        yield "### Not edited"
        yield ""
        yield from _refusals(outcome.refused)


def issue(
    wish: AdoptionWish, subject: Subject, refused: Sequence[NotAdopted], url: str | None
) -> Iterator[str]:
    """What is left for people, line by line."""
    yield f"Somebody has to edit the code of {_code_span(str(wish.stack))}, or have the cloud put back:"
    yield f"as of {subject.commit[:10]}, driftwatch cannot safely bring the code to the cloud here."
    yield ""
    yield from _refusals(refused)
    if url:
        yield ""
        yield f"What could be edited is in {line_of(url)}."


def _refusals(refused: Sequence[NotAdopted]) -> Iterator[str]:
    lines = []
    for each in refused:
        where = f" ({_code_span(each.place)})" if each.place else ""
        path = f" {_code_span(each.path)}" if each.path else ""
        wanted = f" The cloud has {_code_span(each.wanted)}." if each.wanted else ""
        lines.append(f"- {_code_span(each.address)}{path}{where}: {line_of(each.sentence)}.{wanted}")
    yield from _cut(lines)


def _cut(lines: Sequence[str]) -> Iterator[str]:
    """As many as anybody reads, and how many more there are."""
    yield from lines[:_MOST_LINES]
    if len(lines) > _MOST_LINES:
        yield f"- and {len(lines) - _MOST_LINES} more"


def edit_line(done: Done) -> str:
    """An edit, with its place."""
    return f"{done.file}:{done.line}: {done.sentence}"


def evidence(stored: StoredFinding) -> Iterator[str]:
    """When it came to be, as far as is known."""
    if stored.opened_at and stored.clean_at:
        yield f"changed between {_moment(stored.clean_at)} and {_moment(stored.opened_at)}"
    else:
        yield f"first seen {_moment(stored.first_seen)}"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def outcome_of(adopted: Adopted) -> str:
    """One line for the record."""
    left = f", {len(adopted.refused)} refused" if adopted.refused else ""
    if adopted.branch:
        return f"{len(adopted.edits)} edits in {adopted.url or adopted.branch}{left}"
    return f"nothing is adopted: {adopted.error}" if adopted.error else f"nothing is adopted{left}"


def _code_span(text: str) -> str:
    """In a code span nothing is a mention, a link or markup."""
    return f"`{line_of(text).replace('`', chr(39))}`"


def line_of(text: str) -> str:
    """What others wrote, as one line that is not endless."""
    said: str = plain(" ".join(text.split()))
    return said if len(said) <= _LONGEST else f"{said[: _LONGEST - 1]}…"
