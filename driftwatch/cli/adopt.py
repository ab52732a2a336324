"""`driftwatch adopt`: drift that a person wants in the code.

    findings → a wish for each stack → (the daemon edits, proves, offers) → where it is, and what was refused

Nothing is planned or edited here: a daemon has the state directory, as with proposals.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from rich.text import Text

from driftwatch.cli import terminal
from driftwatch.cli.clock import now
from driftwatch.cli.compose import opened_store, read_settings
from driftwatch.cli.formats import Listing, plain
from driftwatch.cli.people import VIA, actor, reason_of, said
from driftwatch.cli.stacks import nobody_works, one_stack, print_json
from driftwatch.errors import Exit, UsageError
from driftwatch.model import AdoptionWish
from driftwatch.pipeline.adopt_words import outcome_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from driftwatch.config.settings import Settings
    from driftwatch.model import Adopted, Adoption, StackId
    from driftwatch.store import Store

ROUND_SECONDS = 0.25
"""Between two looks for an answer; the daemon looks for what we wrote every two seconds."""

MOST_LISTED = 50
"""Adoptions that `--list` shows, the newest."""

MOST_FINDINGS = 200
"""In one pull request. Whoever has more wants to look at some of them."""


def adopt(
    config: Path,
    findings: Sequence[int],
    *,
    imports: Sequence[str],
    stack: str | None,
    reason: str | None,
    name: str | None,
    wait: float,
    form: Listing,
) -> int:
    """Asks the daemon to bring the code to the cloud, one pull request for each stack, and waits for it."""
    by, why, settings = actor(name), reason_of(reason), read_settings(config, os.environ)
    with opened_store(settings) as store:
        wishes = list(_wishes(store, settings, findings, _imports(imports), stack, by=by, why=why))
        at = now()
        numbers = {store.ask_adoption(wish, at): wish for wish in wishes}
        for number, wish in numbers.items():
            store.note(
                at=at,
                actor=by,
                via=VIA,
                action="adopt",
                subject=_subject(wish),
                outcome=f"asked for, adoption {number}",
                reason=why,
            )
        alone = nobody_works(settings)
        answers = _answers(store, list(numbers), 0.0 if alone else wait)
    _print(numbers, answers, form)
    if len(answers) < len(numbers):
        terminal.stderr.print(_unanswered(alone=alone, wait=wait))
        return Exit.OK if wait == 0 else Exit.ERROR
    good = all(each.branch and not each.refused and not each.error for each in answers.values())
    return Exit.OK if good else Exit.ERROR


def list_adoptions(config: Path, *, stack: str | None, form: Listing) -> int:
    """What was wanted lately, by people and by driftwatch itself, with what came of it."""
    settings = read_settings(config, os.environ)
    with opened_store(settings) as store:
        of = one_stack(store, stack, settings).id if stack is not None else None
        found = store.adoptions(stack=of, limit=MOST_LISTED)
    if form is Listing.JSON:
        print_json({"adoptions": [_kept(each) for each in found]})
        return Exit.OK
    if not found:
        terminal.stderr.print("Nothing was adopted yet.")
    for each in found:
        terminal.stdout.print(Text(_line(each)))
    return Exit.OK


def show_adoption(config: Path, number: int, *, form: Listing) -> int:
    """One of them in full. Raises UsageError where there is none of that number."""
    with opened_store(read_settings(config, os.environ)) as store:
        found = store.adoption(number)
    if found is None:
        raise UsageError(f"no adoption {number}", advice="`driftwatch adopt --list` shows their numbers.")
    if form is Listing.JSON:
        print_json(_kept(found))
        return Exit.OK
    terminal.stdout.print(Text(_line(found)))
    if found.wish.reason:
        terminal.stdout.print(Text(f"  {plain(found.wish.reason)}"))
    if found.adopted is not None:
        for line in _lines(found.wish, found.adopted):
            terminal.stdout.print(Text(line))
    return Exit.OK


def _line(adoption: Adoption) -> str:
    """One adoption, on one line."""
    wish, answer = adoption.wish, adoption.adopted
    said = "waits for the daemon" if answer is None else plain(outcome_of(answer))
    at = terminal.minute(adoption.at)
    return f"{adoption.number}  {at}  {wish.stack}  by {plain(wish.by)}: {said}"


def _kept(adoption: Adoption) -> dict[str, object]:
    return {
        **document(adoption.number, adoption.wish, adoption.adopted),
        "by": adoption.wish.by,
        "reason": adoption.wish.reason,
        "at": adoption.at.isoformat(),
        "done_at": adoption.done_at.isoformat() if adoption.done_at else None,
    }


def _wishes(
    store: Store,
    settings: Settings,
    findings: Sequence[int],
    imports: Mapping[str, str],
    stack: str | None,
    *,
    by: str,
    why: str | None,
) -> Iterator[AdoptionWish]:
    """One for each stack. Raises UsageError."""
    if not findings and not imports:
        raise UsageError("adopt what?", advice="Name findings by their ids, or give --import ADDRESS=ID.")
    if len(findings) > MOST_FINDINGS:
        raise UsageError(f"{len(findings)} findings are too many at once", advice=f"At most {MOST_FINDINGS}.")
    if bool(imports) != (stack is not None):
        raise UsageError(
            "--import and --stack belong together",
            advice="--stack says whose code the import is to be in.",
        )
    wanted: dict[StackId, list[str]] = {}
    if stack is not None:
        wanted[one_stack(store, stack, settings).id] = []
    home = next(iter(wanted), None)
    for number in dict.fromkeys(findings):
        found = store.finding(number)
        if found is None:
            raise UsageError(f"no finding {number}", advice="`driftwatch findings list` shows their ids.")
        if not found.status.is_active:
            raise UsageError(
                f"finding {number} is resolved", advice="There is nothing of it left to bring into code."
            )
        wanted.setdefault(found.stack, []).append(found.finding.fingerprint)
    for each, fingerprints in wanted.items():
        yield AdoptionWish(
            stack=each,
            by=by,
            findings=tuple(fingerprints),
            imports=imports if each == home else {},
            reason=why,
        )


def _imports(given: Sequence[str]) -> dict[str, str]:
    """`ADDRESS=ID`, by address. Raises UsageError."""
    found: dict[str, str] = {}
    for each in given:
        address, _, name = (part.strip() for part in each.partition("="))
        if not (address and name):
            raise UsageError(
                f"--import: {each!r} names no resource",
                advice="ADDRESS=ID, for example aws_s3_bucket.logs=acme-logs.",
            )
        address, name = said("--import", address), said("--import", name)
        if address in found:
            raise UsageError(f"--import: {address} is given twice")
        found[address] = name
    return found


def _subject(wish: AdoptionWish) -> str:
    parts = [f"{len(wish.findings)} findings"] if wish.findings else []
    parts += [f"import of {address}" for address in wish.imports]
    return f"{wish.stack} ({', '.join(parts)})"


def _answers(store: Store, numbers: Sequence[int], seconds: float) -> dict[int, Adopted]:
    deadline, found = time.monotonic() + seconds, {}
    while True:
        for number in numbers:
            if number not in found and (answer := store.adopted(number)) is not None:
                found[number] = answer
        if len(found) == len(numbers) or time.monotonic() >= deadline:
            return found
        time.sleep(ROUND_SECONDS)


def _print(wishes: Mapping[int, AdoptionWish], answers: Mapping[int, Adopted], form: Listing) -> None:
    if form is Listing.JSON:
        documents = [document(number, wish, answers.get(number)) for number, wish in sorted(wishes.items())]
        print_json({"adoptions": documents})
        return
    for number, answer in sorted(answers.items()):
        for line in _lines(wishes[number], answer):
            terminal.stdout.print(Text(line))


def document(number: int, wish: AdoptionWish, answer: Adopted | None) -> dict[str, object]:
    """One adoption in JSON; `done` is false while nobody has answered."""
    refused = [
        {
            "address": each.address,
            "path": each.path or None,
            "reason": each.reason,
            "sentence": each.sentence,
            "place": each.place or None,
            "wanted": each.wanted or None,
        }
        for each in (answer.refused if answer else ())
    ]
    return {
        "adoption": number,
        "stack": str(wish.stack),
        "done": answer is not None,
        "branch": answer.branch if answer else None,
        "url": answer.url if answer else None,
        "issue": answer.issue if answer else None,
        "edits": list(answer.edits) if answer else [],
        "refused": refused,
        "error": answer.error if answer else None,
    }


def _lines(wish: AdoptionWish, answer: Adopted) -> Iterator[str]:
    if answer.url:
        yield f"{wish.stack}: {plain(answer.url)}"
    elif answer.branch:
        yield f"{wish.stack}: merge the branch {plain(answer.branch)}."
    else:
        yield f"{wish.stack}: nothing is adopted."
    for edit in answer.edits:
        yield f"  {plain(edit)}"
    for each in answer.refused:
        where = f" ({plain(each.place)})" if each.place else ""
        wanted = f" The cloud has {plain(each.wanted)}." if each.wanted else ""
        yield f"  not edited: {plain(each.address)}{plain(each.path)}{where}: {plain(each.sentence)}.{wanted}"
    if answer.issue:
        yield f"  told in {plain(answer.issue)}"
    if answer.error:
        yield f"  {plain(answer.error)}"


def _unanswered(*, alone: bool, wait: float) -> str:
    if alone:
        return "No daemon is running here: it is adopted when `driftwatch run` is started."
    waited = f"No answer within {wait:g} s. " if wait else ""
    return f"{waited}It is asked for; the daemon opens a branch when a plan of it holds."
